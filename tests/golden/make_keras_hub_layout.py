"""Where KerasHub's RetinaNets put their variables in a preset: keras_hub_retinanet.json.

Each variable is filled with a number of its own and looked for in the files that `save_to_preset` writes.
Made with keras-hub 0.32.0 on Keras 3.15.1 and TensorFlow 2.21.0, in an environment of its own.
Run: python tests/golden/make_keras_hub_layout.py
"""

import json
import pathlib
import tempfile

import h5py
import keras_hub
import numpy as np

HERE = pathlib.Path(__file__).resolve().parent
FILES = ("model.weights.h5", "task.weights.h5")


def detector(is_v2):
    """The network of the preset retinanet_resnet50_fpn_coco, or of its v2."""
    resnet = keras_hub.models.ResNetBackbone(
        input_conv_filters=[64],
        input_conv_kernel_sizes=[7],
        stackwise_num_filters=[64, 128, 256, 512],
        stackwise_num_blocks=[3, 4, 6, 3],
        stackwise_num_strides=[1, 2, 2, 2],
        block_type="bottleneck_block",
        image_shape=(None, None, 3),
    )
    backbone = keras_hub.models.RetinaNetBackbone(resnet, 3, 7, use_p5=is_v2)
    return keras_hub.models.RetinaNetObjectDetector(backbone, 91, use_prediction_head_norm=is_v2)


def layout(is_v2, folder):
    """`{"config": config.json, "variables": [[file, place, KerasHub's path, shape]]}`."""
    model, paths, rows = detector(is_v2), {}, []
    for number, variable in enumerate(model.weights, start=1):
        variable.assign(np.full(variable.shape, number))
        paths[number] = variable.path
    model.save_to_preset(str(folder))
    for name in FILES:
        with h5py.File(folder / name) as file:
            places = []
            file.visit(places.append)
            variables = [place for place in places if isinstance(file[place], h5py.Dataset) and "layers/" in place]
            rows += [[name, place, paths[int(file[place][:].flat[0])], list(file[place].shape)] for place in variables]
    return {"config": json.loads((folder / "config.json").read_text()), "variables": rows}


def main():
    with tempfile.TemporaryDirectory() as folder:
        layouts = {name: layout(name == "v2", pathlib.Path(folder) / name) for name in ("v1", "v2")}
    (HERE / "keras_hub_retinanet.json").write_text(json.dumps(layouts) + "\n")


if __name__ == "__main__":
    main()
