"""Answers of detectron2's GeneralizedRCNNWithTTA of a narrow Mask R-CNN: tta.npz.

The zoo's mask_rcnn_R_50_FPN_3x with a fraction of its channels, weights drawn by name and brought into range by the
calibration of `make parity`; two pictures, each given as it is, in three sizes and mirrored, each pass a batch by
itself (detectron2 pads three at a time to one size, which changes their borders).
Made with detectron2 0.6 from source (02b5c4e2), torch 2.14.1 on a CPU.
Run, where detectron2 is installed: python tests/golden/make_tta.py
"""

import json
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1] / "benchmarks" / "parity")]

import calibration  # noqa: E402
import detectron2  # noqa: E402
import drawn_checkpoints  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402
from detectron2.config import get_cfg  # noqa: E402
from detectron2.modeling import GeneralizedRCNNWithTTA, build_model  # noqa: E402

ZOO = pathlib.Path(detectron2.__file__).parent / "model_zoo" / "configs"
NAME = "mask_rcnn_R_50_FPN_3x"
PICTURES = {"small_wide": (149, 203), "small_high": (160, 120)}
SIDES, MAX_SIDE = (112, 160, 208), 400
SETTINGS = {
    "MODEL.DEVICE": "cpu", "MODEL.WEIGHTS": "", "MODEL.RESNETS.STEM_OUT_CHANNELS": 8,
    "MODEL.RESNETS.RES2_OUT_CHANNELS": 32, "MODEL.RESNETS.WIDTH_PER_GROUP": 8, "MODEL.FPN.OUT_CHANNELS": 32,
    "MODEL.ROI_BOX_HEAD.FC_DIM": 48, "MODEL.ROI_MASK_HEAD.CONV_DIM": 16, "TEST.AUG.MIN_SIZES": SIDES,
    "TEST.AUG.MAX_SIZE": MAX_SIDE, "TEST.AUG.FLIP": True, "INPUT.MIN_SIZE_TEST": 160, "INPUT.MAX_SIZE_TEST": 400,
}  # fmt: skip


def element(name, size):
    bgr = np.ascontiguousarray(drawn_checkpoints.picture(name, *size)[:, :, ::-1])
    return {"image": torch.from_numpy(bgr.transpose(2, 0, 1).copy()), "height": size[0], "width": size[1]}


def main():
    config = get_cfg()
    config.merge_from_file(str(ZOO / "COCO-InstanceSegmentation" / f"{NAME}.yaml"))
    config.merge_from_list([each for item in SETTINGS.items() for each in item])
    module = build_model(config).eval()
    elements = [element(*item) for item in PICTURES.items()]
    as_floats = [each | {"image": each["image"].float()} for each in elements]
    kept = {"recipe": json.dumps(calibration.recipe(NAME, module, lambda: module(as_floats)))}
    kept["case"] = json.dumps({"pictures": PICTURES, "sides": SIDES, "max_side": MAX_SIDE})
    augmented = GeneralizedRCNNWithTTA(config, module, batch_size=1)
    means = []
    mean = augmented._reduce_pred_masks

    def seen(outputs, transforms):
        means.append(mean(outputs, transforms))
        return means[-1]

    augmented._reduce_pred_masks = seen
    with torch.inference_mode():
        found = augmented(elements)
    for image, (result, masks) in enumerate(zip(found, means, strict=True)):
        instances = result["instances"]
        kept[f"{image}/boxes"] = instances.pred_boxes.tensor.numpy()
        kept[f"{image}/scores"] = instances.scores.numpy()
        kept[f"{image}/classes"] = instances.pred_classes.numpy().astype(np.int32)
        kept[f"{image}/masks"] = masks[:, 0, ::3, ::3].numpy()
        print(image, len(instances), "detections, scores to", float(instances.scores.max()))
    np.savez_compressed(HERE / "tta.npz", **kept)


if __name__ == "__main__":
    main()
