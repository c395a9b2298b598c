"""Exported detectors opened and run in their own runtimes, and `detect` on them."""

import concurrent.futures
import contextlib
import io
import json
import pathlib
import re
import shutil
import subprocess
import sys
import types
import zipfile

import keras
import numpy as np
import pytest
from PIL import Image

import keras_fpn
from keras_fpn.commands import main as cli
from keras_fpn.console.errors import UserError
from keras_fpn.export import artefact_inference, artefacts, to_onnx, to_saved_model, to_tflite
from keras_fpn.export.description import FORMAT_VERSION, Description, describe
from keras_fpn.export.tflite import metadata

FRAME = (64, 96)
FORMATS = ("saved_model", "tflite", "onnx")
# Whoever imports TensorFlow or Keras after this line fails.
WITHOUT_TENSORFLOW = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("tensorflow", "keras"):
            raise ImportError(name + " is not here")

sys.meta_path.insert(0, Missing())
"""


@pytest.fixture(scope="module")
def model(tiny_settings):
    """A detector whose resize yields fractions of 8 bits, for images of 2:3 exactly what fills `FRAME`."""
    settings = tiny_settings()
    settings["resize"] = {"min_side": 64, "max_side": 96, "interpolation": "bilinear", "rounding": "floor"}
    settings["detections"] = {"max_detections": 10, "score_threshold": 0.01}
    keras.utils.set_random_seed(5)
    return keras_fpn.FasterRCNN(**settings)


@pytest.fixture(scope="module")
def files(model, tmp_path_factory):
    """The model in every format."""
    folder = tmp_path_factory.mktemp("exported")
    paths = {"keras": folder / "detector.keras", "saved_model": folder / "served"}
    paths |= {"tflite": folder / "detector.tflite", "onnx": folder / "detector.onnx"}
    model.save(paths["keras"])
    to_saved_model.write_saved_model(model, paths["saved_model"])
    to_tflite.write_tflite(model, paths["tflite"], size=FRAME)
    to_onnx.write_onnx(model, paths["onnx"])
    return types.SimpleNamespace(**paths)


@pytest.fixture(scope="module")
def opened(files):
    return {name: artefacts.open_artefact(getattr(files, name)) for name in FORMATS}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Three images of 2:3: a JPEG, a grey PNG, and one to be turned by its EXIF orientation."""
    folder = tmp_path_factory.mktemp("pictures")
    random = np.random.default_rng(4)

    def smooth(height, width):
        coarse = Image.fromarray(random.integers(0, 256, (5, 5, 3), np.uint8))
        return coarse.resize((width, height), Image.Resampling.BICUBIC)

    smooth(40, 60).save(folder / "a.jpg", quality=90)
    smooth(80, 120).convert("L").save(folder / "b.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    smooth(120, 80).save(folder / "c.png", exif=exif)
    return folder


def random_inputs(description, count, seed=0):
    images = np.random.default_rng(seed).integers(0, 256, (count, *FRAME, 3)).astype(description.input_type)
    sizes = np.tile(np.array([[64, 80]], np.int32), (count, 1))
    images[:, :, 80:] = 0
    return {"images": images, "image_sizes": sizes}


def assert_same_detections(ours, theirs):
    """The bounds of parity: the same classes, boxes to 0.05 px, scores to 1e-4."""
    assert len(ours) == len(theirs) > 0
    for one, other in zip(ours, theirs, strict=True):
        assert {key: one[key] for key in ("file_name", "image_id", "category_id", "category")} == {
            key: other[key] for key in ("file_name", "image_id", "category_id", "category")
        }
        np.testing.assert_allclose(one["bbox"], other["bbox"], atol=0.05)
        assert one["score"] == pytest.approx(other["score"], abs=1e-4)


class TestRun:
    @pytest.mark.parametrize("name", FORMATS)
    def test_the_answer_is_the_models(self, name, model, opened):
        inputs = random_inputs(opened[name].description, 2)
        expected = model(inputs, training=False)
        found = opened[name].run(**inputs)
        assert set(found) == set(expected)
        for key, value in expected.items():
            assert found[key].dtype == value.dtype.name, key
            np.testing.assert_allclose(found[key], value, atol=1e-2 if key == "boxes" else 1e-5, err_msg=key)

    @pytest.mark.parametrize("name", FORMATS)
    def test_without_sizes_images_are_whole(self, name, opened):
        inputs = random_inputs(opened[name].description, 1)
        whole = opened[name].run(inputs["images"], np.array([FRAME], np.int64))
        np.testing.assert_array_equal(opened[name].run(inputs["images"])["boxes"], whole["boxes"])

    @pytest.mark.parametrize("name", FORMATS)
    def test_it_says_what_it_is(self, name, model, opened, files):
        description = opened[name].description
        assert opened[name].format == name and opened[name].path == getattr(files, name)
        assert description.class_names == ("circle", "square", "triangle", "star")
        assert description.category_ids == (1, 2, 3, 4)
        assert description.resize == dict(model.settings["resize"])
        assert description.input_type == ("uint8" if name == "saved_model" else "float32")
        assert description.frame == (FRAME if name == "tflite" else None)
        assert description.outputs["boxes"]["shape"] == [1 if name == "tflite" else None, 10, 4]

    def test_threads(self, files, opened):
        inputs = random_inputs(opened["onnx"].description, 1)
        for name in ("tflite", "onnx"):
            alone = artefacts.open_artefact(getattr(files, name), threads=1).run(**inputs)
            np.testing.assert_allclose(alone["boxes"], opened[name].run(**inputs)["boxes"], atol=1e-3)
        with pytest.raises(keras_fpn.UserError, match="served: TensorFlow runs already and keeps its threads"):
            artefacts.open_artefact(files.saved_model, threads=1)

    @pytest.mark.parametrize("count", [4, 16])
    @pytest.mark.parametrize("name", ["saved_model", "onnx"])
    def test_in_a_batch_each_image_has_the_answer_that_it_has_alone(self, name, count, opened):
        """Of one padded size, with valid parts of their own."""
        inputs = random_inputs(opened[name].description, count, seed=count)
        random = np.random.default_rng(count)
        inputs["image_sizes"] = random.integers([40, 50], [65, 97], (count, 2)).astype(np.int32)
        together = opened[name].run(**inputs)
        assert together["num_detections"].sum() > count
        for index in range(count):
            alone = opened[name].run(**{key: value[index : index + 1] for key, value in inputs.items()})
            for key, value in alone.items():
                bound = {"boxes": 0.05, "scores": 1e-4}.get(key, 0)
                np.testing.assert_allclose(together[key][index], value[0], rtol=0, atol=bound, err_msg=key)

    @pytest.mark.parametrize("name", FORMATS)
    def test_many_may_ask_at_once(self, name, opened):
        inputs = random_inputs(opened[name].description, 4)
        each = [[value[index : index + 1] for value in inputs.values()] for index in range(4)]
        alone = [opened[name].run(*given) for given in each]

        def ask(number):
            order = np.random.default_rng(number).permutation(np.arange(200) % 4)
            return [(index, opened[name].run(*each[index])) for index in order]

        with concurrent.futures.ThreadPoolExecutor(8) as threads:
            answers = [answer for some in threads.map(ask, range(8)) for answer in some]
        assert len(answers) == 1600
        for index, found in answers:
            for key, value in alone[index].items():
                np.testing.assert_allclose(found[key], value, atol=1e-5, rtol=1e-5, err_msg=key)

    def test_the_highest_version_is_taken(self, files, tmp_path):
        served = tmp_path / "served"
        shutil.copytree(files.saved_model / "1", served / "9")
        shutil.copytree(files.saved_model / "1", served / "10")
        assert artefacts.highest_version(served) == served / "10"
        assert artefacts.open_artefact(served / "9").description == artefacts.open_artefact(served).description


OPTIONS = ("--threshold", "0", "--json", "found.json", "--batch-size", "2")


@pytest.fixture(scope="module")
def expected(files, pictures, tmp_path_factory):
    """(lines, results) of `detect` on the Keras model."""
    folder, lines = tmp_path_factory.mktemp("expected"), io.StringIO()
    with contextlib.chdir(folder), contextlib.redirect_stdout(lines):
        assert cli.main(["detect", str(files.keras), str(pictures), *OPTIONS]) == 0
    return untimed(lines.getvalue()), json.loads((folder / "found.json").read_text())


def untimed(lines):
    return re.sub(r"\d+ ms", "T ms", lines)


class TestEncoded:
    """A SavedModel resizes better than a caller whose pixels have 8 bits."""

    def test_what_is_no_image_is_told(self, opened):
        with pytest.raises(keras_fpn.UserError, match=r"served: image_bytes\[0\] .* is no JPEG, PNG, .* file$"):
            opened["saved_model"].run_encoded([b"no picture"])

    @pytest.mark.parametrize("most_pixels", [40 * 60 + 1, 1])
    def test_more_pixels_than_it_decodes_at_once_change_little(self, most_pixels, model, opened, monkeypatch):
        images = [np.random.default_rng(seed).integers(0, 256, (40, 60, 3), np.uint8) for seed in (0, 1)]
        theirs = keras_fpn.detect(model, images, threshold=0.0, batch_size=2)
        monkeypatch.setattr(type(opened["saved_model"]), "most_pixels", most_pixels)
        ours = artefact_inference.detect(opened["saved_model"], images, threshold=0.0, batch_size=2)
        for one, other in zip(ours, theirs, strict=True):
            # One by one it is exact; where even one is too large, its pixels are rounded.
            np.testing.assert_allclose(one.scores, other.scores, atol=1e-5 if most_pixels > 1 else 5e-3)


class TestDetect:
    @pytest.mark.parametrize("name", ["tflite", "onnx"])
    def test_a_program_without_tensorflow_finds_the_same(self, name, files, pictures, expected, tmp_path):
        code = f"{WITHOUT_TENSORFLOW}\nfrom keras_fpn.commands import main as cli\nsys.exit(cli.main(sys.argv[1:]))"
        command = [sys.executable, "-c", code, "detect", str(getattr(files, name)), str(pictures), *OPTIONS]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")
        assert untimed(done.stdout) == expected[0]
        assert_same_detections(json.loads((tmp_path / "found.json").read_text()), expected[1])
        with Image.open(tmp_path / "detections" / "c.png") as drawn:
            assert drawn.width > drawn.height  # stored upright, looked at lying down

    def test_a_saved_model_finds_the_same(self, run, files, pictures, expected, tmp_path):
        code, out, error = run("detect", files.saved_model, pictures, *OPTIONS)
        assert code == 0 and error.count("\n") == 1 and "a SavedModel is a program" in error
        assert untimed(out) == expected[0]
        assert_same_detections(json.loads((tmp_path / "found.json").read_text()), expected[1])

    def test_boxes_are_in_pixels_of_any_image(self, opened):
        image = np.random.default_rng(1).integers(0, 256, (150, 333, 3), np.uint8)
        for artefact in opened.values():
            (found,) = artefact_inference.detect(artefact, image, threshold=0.0)
            assert found.boxes[:, 2].max() > 96 and (found.boxes <= [333, 150, 333, 150]).all()

    def test_proposals_in_eight_bits(self):
        """Images of mixed sizes in one batch, rounded by Pillow's filter: bit for bit what the model itself is fed."""
        proposals = {"pre_nms_top_k_test": 30, "post_nms_top_k_test": 20}
        model = keras_fpn.RPN(
            {"name": "resnet18", "width": 8}, pyramid={"channels": 16}, rpn={"channels": 16}, proposals=proposals,
            resize={"min_side": 64, "max_side": 96},
        )  # fmt: skip

        def run(images, image_sizes):
            assert images.dtype == np.uint8
            found = model({"images": images, "image_sizes": image_sizes}, training=False)
            return {name: value.numpy() for name, value in found.items()}

        artefact = types.SimpleNamespace(description=describe(model), run=run)
        random = np.random.default_rng(1)
        images = [random.integers(0, 256, (*size, 3), np.uint8) for size in ((50, 70), (120, 31), (64, 96))]
        ours = artefact_inference.detect(artefact, images, threshold=0.0, batch_size=2)
        theirs = keras_fpn.detect(model, images, threshold=0.0, batch_size=2)
        for one, other in zip(ours, theirs, strict=True):
            assert set(one.names) == {"object"} and len(one.boxes) == len(other.boxes) > 0
            np.testing.assert_allclose(one.scores, other.scores, atol=1e-5)
            np.testing.assert_allclose(one.boxes, other.boxes, atol=1e-2)


class TestWrongInputs:
    @pytest.mark.parametrize(
        ("images", "sizes", "message"),
        [
            (np.zeros((1, 64, 96, 3), np.uint8), None, "images are uint8; this artefact takes float32"),
            (np.zeros((64, 96, 3), np.float32), None, r"images have shape \(64, 96, 3\); give \[batch, "),
            (np.zeros((0, 64, 96, 3), np.float32), None, "at least one image"),
            (np.zeros((1, 96, 64, 3), np.float32), None, "images are 96x64; this artefact takes 64x96"),
            (np.zeros((1, 64, 96, 3), np.float32), [[64, 97]], "image_sizes must be from 1 to the images' 64 x 96"),
            (np.zeros((1, 64, 96, 3), np.float32), [64, 96], r"image_sizes are int64 \(2,\); give int32 \[batch, 2\]"),
        ],
    )
    def test_it_is_told_what_the_artefact_takes(self, images, sizes, message, opened):
        with pytest.raises(keras_fpn.UserError, match=rf"detector\.tflite: .*{message}"):
            opened["tflite"].run(images, sizes)


class TestWrongFiles:
    @pytest.fixture
    def wrong(self, files, tmp_path):
        """`wrong(what)`: a file or folder that is no whole artefact of ours."""
        tflite, onnx = files.tflite.read_bytes(), files.onnx.read_bytes()
        (tmp_path / "short.tflite").write_bytes(tflite[: len(tflite) // 2])
        (tmp_path / "damaged.tflite").write_bytes(tflite[:16] + b"\xff" * 64 + tflite[80:])
        (tmp_path / "empty.onnx").touch()
        (tmp_path / "short.onnx").write_bytes(onnx[: len(onnx) // 2])
        (tmp_path / "foreign.onnx").write_bytes(self.foreign_onnx())
        (tmp_path / "another.onnx").write_bytes(self.foreign_onnx(described_as=onnx))
        shutil.copytree(files.saved_model, tmp_path / "bare")
        shutil.rmtree(tmp_path / "bare" / "1" / "assets")
        shutil.copytree(files.saved_model, tmp_path / "short")
        graph = tmp_path / "short" / "1" / "saved_model.pb"
        graph.write_bytes(graph.read_bytes()[:1000])
        (tmp_path / "folder").mkdir()
        return tmp_path

    @staticmethod
    def foreign_onnx(described_as=None):
        from onnx import ModelProto, TensorProto, helper

        ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("x", "y")]
        graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "other", ends[:1], ends[1:])
        opset = [helper.make_opsetid("", 18)]
        model = helper.make_model(graph, opset_imports=opset, ir_version=8)
        if described_as is not None:
            model.metadata_props.extend(ModelProto.FromString(described_as).metadata_props)
        return model.SerializeToString()

    @pytest.mark.parametrize(
        ("name", "message"),
        [
            ("short.tflite", r"no TFLite file that keras-fpn exported, or cut short .*; export the model again"),
            ("damaged.tflite", r"not a whole TFLite model; export it again \("),
            ("empty.onnx", r"not a whole ONNX model; export it again \("),
            ("short.onnx", r"not a whole ONNX model; export it again \("),
            ("foreign.onnx", r"no detector that keras-fpn exported \(no description inside\); export the model again"),
            ("another.onnx", "its description is of another graph than the one inside; export the model again"),
            ("bare", r"no SavedModel that keras-fpn exported \(no assets/keras_fpn\.json in it\)"),
            ("short", r"not a whole SavedModel; export it again \("),
            ("folder", "neither a run nor a SavedModel: no model.keras, no saved_model.pb in it"),
            ("absent.onnx", "no such model"),
        ],
    )
    def test_detect_says_so_in_one_line(self, name, message, wrong, pictures, run):
        code, out, error = run("detect", wrong / name, pictures, "--out", "out")
        assert code == 2 and error.count("\n") == 1 and out == ""
        assert re.match(rf"error: \S*/{re.escape(name)}\S*: {message}", error), error
        assert not (wrong / "out").exists()

    def test_opening_says_what_a_path_is_instead(self, files, wrong):
        for path, message in ((files.keras, "a Keras model, not exported yet"), (wrong / "x.onnx", "no such file")):
            with pytest.raises(keras_fpn.UserError, match=message):
                artefacts.open_artefact(path)
        with pytest.raises(keras_fpn.UserError, match="no exported detector; give a .tflite or .onnx file"):
            artefacts.open_artefact(wrong / "folder")


class TestDescription:
    def test_json_gives_the_same_back(self, model):
        description = describe(model, precision="int8", input_type="uint8", frame=(320, 640))
        assert Description.from_json(description.to_json()) == description
        assert description.inputs["images"]["shape"] == [1, 320, 640, 3]
        assert description.labels() == "circle\nsquare\ntriangle\nstar\n"

    @pytest.mark.parametrize("text", ["", "[]", '{"format": "other"}', '{"format": "keras_fpn detector"}'])
    def test_anything_else_is_refused(self, text):
        with pytest.raises(keras_fpn.UserError, match=r"a\.onnx: no detector that keras-fpn exported"):
            Description.from_json(text, source="a.onnx")

    def test_a_newer_one_is_refused(self, model):
        text = describe(model).to_json()
        for number, age in ((FORMAT_VERSION + 1, "a newer"), (FORMAT_VERSION - 1, "an older")):
            other = text.replace(f'"format_version": {FORMAT_VERSION}', f'"format_version": {number}')
            with pytest.raises(keras_fpn.UserError, match=f"written by {age} keras_fpn"):
                Description.from_json(other)


    @pytest.mark.parametrize(
        ("change", "named"),
        [
            ({"class_names": []}, "class_names"), ({"class_names": ["cat"]}, "class_names"),
            ({"category_ids": [1]}, "class_names"), ({"frame": [0, 64]}, "frame"), ({"frame": [64]}, "frame"),
            ({"input_type": "int7"}, "input_type"), ({"score_threshold": "half"}, "score_threshold"),
            ({"inputs": []}, "inputs"), ({"inputs": {"images": 3}}, "inputs"), ({"outputs": {}}, "outputs"),
            ({"resize": {"min_side": 800, "max_side": 1333, "size_divisor": 0}}, "size_divisor"),
            ({"resize": {"min_side": "wide"}}, "min_side"), ({"pixels": {"mean": [1]}}, "mean"),
        ],
    )  # fmt: skip
    def test_values_that_cannot_be_are_named(self, model, change, named):
        text = json.dumps(json.loads(describe(model).to_json()) | change)
        with pytest.raises(keras_fpn.UserError, match=rf"a\.onnx: its description has .*{named}") as told:
            Description.from_json(text, source="a.onnx")
        assert "\n" not in str(told.value)


class TestDigest:
    """A bit that flips between export and use."""

    @pytest.mark.parametrize("format", ["tflite", "onnx"])
    def test_a_whole_file_passes_and_a_flipped_bit_is_told(self, format, files, tmp_path):
        whole = pathlib.Path(getattr(files, format)).read_bytes()
        path = tmp_path / f"copy.{format}"
        path.write_bytes(whole)
        assert artefacts.open_artefact(path, verify=True).description.sha256
        places = np.random.default_rng(0).integers(64, int(0.9 * len(whole)), 12)
        for place in places:
            damaged = bytearray(whole)
            damaged[place] ^= 1 << int(place % 8)
            path.write_bytes(damaged)
            with pytest.raises(UserError, match=f"copy.{format}: "):
                artefacts.open_artefact(path, verify=True)

    def test_an_archive_that_unfolds_to_gigabytes_is_bounded(self, files, tmp_path):
        path = tmp_path / "bomb.tflite"
        path.write_bytes(metadata.flatbuffer_of(pathlib.Path(files.tflite).read_bytes()))
        with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("keras_fpn.json", b" " * (2**24 + 1))
        with pytest.raises(UserError, match="bomb.tflite: its keras_fpn.json is larger than 16 MB"):
            artefacts.open_artefact(path)
