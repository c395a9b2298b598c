"""Whole published detectors with weights drawn by name, a slice of every stage: checkpoint_*.npz.

Two small pictures in one batch, and one training step on them, smaller still, by the reference side of `make parity`
(benchmarks/parity). The files hold the recipe of the weights, not the weights. Made with torch 2.14.1, torchvision
0.29.1, detectron2 0.6 on a CPU.
Run: python tests/golden/make_checkpoints.py [MODEL ...]
"""

import json
import pathlib
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parents[1] / "benchmarks" / "parity")]

import catalogue  # noqa: E402
import drawn_checkpoints  # noqa: E402
import recording  # noqa: E402
import reference  # noqa: E402
from PIL import Image  # noqa: E402

SIDE, TRAINING_SIDE, MOST = 160, 64, 400
PICTURES = {"small_wide": (150, 210), "small_high": (180, 140)}
# Boxes in pixels of the pictures, and classes.
TRUTH = (
    ([[20, 15, 120, 140], [110, 40, 205, 130], [5, 60, 60, 110]], [0, 16, 79]),
    ([[30, 20, 130, 160], [10, 100, 70, 175]], [2, 63]),
)
NAMES = (
    "fasterrcnn_resnet50_fpn",
    "fasterrcnn_resnet50_fpn_v2",
    "fasterrcnn_mobilenet_v3_large_fpn",
    "fasterrcnn_mobilenet_v3_large_320_fpn",
    "maskrcnn_resnet50_fpn",
    "maskrcnn_resnet50_fpn_v2",
    "keypointrcnn_resnet50_fpn",
    "faster_rcnn_R_50_FPN_1x",
    "faster_rcnn_R_101_FPN_3x",
    "rpn_R_50_FPN_1x",
    "mask_rcnn_R_50_FPN_3x",
    "keypoint_rcnn_R_50_FPN_3x",
    "retinanet_resnet50_fpn",
    "retinanet_resnet50_fpn_v2",
    "fcos_resnet50_fpn",
    "retinanet_R_50_FPN_1x",
    "cascade_mask_rcnn_R_50_FPN_1x",
)


def make(name, folder):
    """Record a model."""
    model = catalogue.model_named(name)
    paths = []
    for picture, (height, width) in PICTURES.items():
        paths.append(folder / f"{picture}.png")
        Image.fromarray(drawn_checkpoints.picture(picture, height, width)).save(paths[-1])
    detector, version = reference.build(model, SIDE)
    kept = recording.Recording(MOST)
    kept.keep("recipe", json.dumps(detector.draw(paths)))
    kept.keep("made_with", version)
    truth = model.truth(TRUTH)
    settings = {"side": SIDE, "training_side": TRAINING_SIDE, "most": MOST, "sizes": PICTURES, "truth": truth}
    kept.keep("pictures", json.dumps(settings))
    detector.record("batch", paths, kept)
    small, _ = reference.build(model, TRAINING_SIDE)
    small.module.load_state_dict(detector.state_dict())
    small.train(paths, truth, list(model.gradients), kept)
    print(name, version, reference.summary(kept, "batch", len(paths)))
    kept.write(HERE / f"checkpoint_{name}.npz")


def main():
    with tempfile.TemporaryDirectory() as folder:
        for name in sys.argv[1:] or NAMES:
            make(name, pathlib.Path(folder))


if __name__ == "__main__":
    main()
