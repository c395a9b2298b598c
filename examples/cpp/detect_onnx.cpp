// Detects objects in a picture with an ONNX file that keras-fpn exported, in OpenVINO's runtime, without Python.
//
//     detect_onnx detector.onnx picture.ppm [labels.txt [threshold]]
//
// Prints a line for each object, best first: name or class number, score, x1, y1, x2, y2 in pixels of the picture.
// The picture is looked at in the size that it has: bring it to the model's own size before (README.md says which).

#include <openvino/openvino.hpp>

#include <cstdint>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

struct Picture {
    size_t height, width;
    std::vector<std::uint8_t> pixels;  // RGB, row by row
};

Picture read_ppm(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    std::string mark;
    size_t width = 0, height = 0, most = 0;
    if (!(file >> mark >> width >> height >> most) || mark != "P6" || most != 255 || !width || !height) {
        throw std::runtime_error(path + ": no binary PPM picture of 8 bits (P6); convert it to one");
    }
    file.get();  // the one character between header and pixels
    Picture picture{height, width, std::vector<std::uint8_t>(height * width * 3)};
    if (!file.read(reinterpret_cast<char*>(picture.pixels.data()), picture.pixels.size())) {
        throw std::runtime_error(path + ": is cut short");
    }
    return picture;
}

std::vector<std::string> read_lines(const std::string& path) {
    std::ifstream file(path);
    if (!file) throw std::runtime_error(path + ": cannot be read");
    std::vector<std::string> lines;
    for (std::string line; std::getline(file, line);) lines.push_back(line);
    return lines;
}

// A file takes uint8 or float32 pixels, see --input-type of the export.
ov::Tensor as_images(const Picture& picture, const ov::element::Type& type) {
    ov::Tensor images(type, {1, picture.height, picture.width, 3});
    if (type == ov::element::u8) {
        std::copy(picture.pixels.begin(), picture.pixels.end(), images.data<std::uint8_t>());
    } else {
        std::copy(picture.pixels.begin(), picture.pixels.end(), images.data<float>());
    }
    return images;
}

void detect(const std::string& model, const Picture& picture, const std::vector<std::string>& labels, float threshold) {
    ov::Core core;
    // Without the hint some processors compute in bfloat16, which moves boxes by pixels.
    ov::CompiledModel compiled = core.compile_model(model, "CPU", ov::hint::inference_precision(ov::element::f32));
    ov::InferRequest request = compiled.create_infer_request();
    ov::Tensor sizes(ov::element::i32, {1, 2});
    sizes.data<std::int32_t>()[0] = static_cast<std::int32_t>(picture.height);
    sizes.data<std::int32_t>()[1] = static_cast<std::int32_t>(picture.width);
    // By name: runtimes order inputs and outputs as they like.
    request.set_tensor("images", as_images(picture, compiled.input("images").get_element_type()));
    request.set_tensor("image_sizes", sizes);
    request.infer();
    const auto count = request.get_tensor("num_detections").data<std::int32_t>()[0];
    const auto* scores = request.get_tensor("scores").data<float>();
    const auto* boxes = request.get_tensor("boxes").data<float>();
    const auto* classes = request.get_tensor("classes").data<std::int32_t>();
    for (int row = 0; row < count && scores[row] > threshold; ++row) {
        const auto number = static_cast<size_t>(classes[row]);
        const std::string name = number < labels.size() ? labels[number] : std::to_string(number);
        const float* box = boxes + 4 * row;
        std::printf("%s %.6f %.3f %.3f %.3f %.3f\n", name.c_str(), scores[row], box[0], box[1], box[2], box[3]);
    }
}

}  // namespace

int main(int argc, char** argv) {
    if (argc < 3) {
        std::cerr << "usage: detect_onnx detector.onnx picture.ppm [labels.txt [threshold]]\n";
        return 2;
    }
    try {
        const std::vector<std::string> labels = argc > 3 ? read_lines(argv[3]) : std::vector<std::string>();
        detect(argv[1], read_ppm(argv[2]), labels, argc > 4 ? std::stof(argv[4]) : 0.5f);
    } catch (const std::exception& error) {
        std::cerr << "error: " << error.what() << "\n";
        return 2;
    }
    return 0;
}
