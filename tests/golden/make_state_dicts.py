"""Write state_dicts.json: the keys and shapes of the checkpoints that `keras-fpn convert` reads.

Run in an environment with torch, torchvision 0.29 and detectron2 (its public source at any commit of 2021 or later):

    python tests/golden/make_state_dicts.py

Keys are folded by module: `[module, [[tensor, shape], ...]]` with shapes as in torch, and a batch normalisation of C
channels as `[module, C]` (detectron2's: weight, bias, running_mean, running_var) or `[module, [C]]` (the same and
torch's counter num_batches_tracked). detectron2's `cell_anchors` of 2019 and `pixel_mean` are in no file of today.
"""

import json
import pathlib

import detectron2
import torchvision
from detectron2 import model_zoo
from detectron2.config import get_cfg, instantiate
from detectron2.modeling import build_model

DETECTORS = (
    "fasterrcnn_resnet50_fpn",
    "fasterrcnn_resnet50_fpn_v2",
    "fasterrcnn_mobilenet_v3_large_fpn",
    "maskrcnn_resnet50_fpn_v2",
    "maskrcnn_resnet50_fpn",
    "keypointrcnn_resnet50_fpn",
    "retinanet_resnet50_fpn",
    "retinanet_resnet50_fpn_v2",
    "fcos_resnet50_fpn",
)
CLASSIFIERS = (
    "resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "resnext50_32x4d", "mobilenet_v3_large",
    "mobilenet_v2",
)  # fmt: skip


def detectron2_model(depth, meta_architecture, keypoints=False):
    """The model of detectron2's Base-RCNN-FPN configuration, at a depth, or of its Base-Keypoint-RCNN-FPN."""
    config = get_cfg()
    config.MODEL.DEVICE = "cpu"
    config.MODEL.WEIGHTS = ""
    config.MODEL.META_ARCHITECTURE = meta_architecture
    config.MODEL.BACKBONE.NAME = "build_resnet_fpn_backbone"
    config.MODEL.RESNETS.DEPTH = depth
    config.MODEL.RESNETS.OUT_FEATURES = ["res2", "res3", "res4", "res5"]
    config.MODEL.FPN.IN_FEATURES = ["res2", "res3", "res4", "res5"]
    config.MODEL.ANCHOR_GENERATOR.SIZES = [[32], [64], [128], [256], [512]]
    config.MODEL.RPN.IN_FEATURES = ["p2", "p3", "p4", "p5", "p6"]
    config.MODEL.ROI_HEADS.NAME = "StandardROIHeads"
    config.MODEL.ROI_HEADS.IN_FEATURES = ["p2", "p3", "p4", "p5"]
    config.MODEL.ROI_BOX_HEAD.NAME = "FastRCNNConvFCHead"
    config.MODEL.ROI_BOX_HEAD.NUM_FC = 2
    config.MODEL.ROI_BOX_HEAD.POOLER_RESOLUTION = 7
    if keypoints:
        config.MODEL.KEYPOINT_ON = True
        config.MODEL.ROI_HEADS.NUM_CLASSES = 1
    return build_model(config)


def zoo_model(name):
    """A model of detectron2's zoo, by the name of its configuration."""
    config = get_cfg()
    config.merge_from_file(str(pathlib.Path(detectron2.__file__).parent / "model_zoo" / "configs" / f"{name}.yaml"))
    config.MODEL.DEVICE, config.MODEL.WEIGHTS = "cpu", ""
    return build_model(config)


def models():
    for name in DETECTORS:
        yield f"torchvision/{name}", getattr(torchvision.models.detection, name)(weights=None, weights_backbone=None)
    for name in CLASSIFIERS:
        yield f"torchvision/{name}", getattr(torchvision.models, name)()
    yield "detectron2/faster_rcnn_R_50_FPN", detectron2_model(50, "GeneralizedRCNN")
    yield "detectron2/mask_rcnn_R_50_FPN", zoo_model("COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_1x")
    yield "detectron2/cascade_mask_rcnn_R_50_FPN", zoo_model("Misc/cascade_mask_rcnn_R_50_FPN_1x")
    yield "detectron2/faster_rcnn_R_101_FPN", detectron2_model(101, "GeneralizedRCNN")
    yield "detectron2/faster_rcnn_X_101_32x8d_FPN", zoo_model("COCO-Detection/faster_rcnn_X_101_32x8d_FPN_3x")
    yield "detectron2/faster_rcnn_R_50_DC5", zoo_model("COCO-Detection/faster_rcnn_R_50_DC5_1x")
    yield "detectron2/faster_rcnn_R_50_C4", zoo_model("COCO-Detection/faster_rcnn_R_50_C4_1x")
    yield "detectron2/keypoint_rcnn_R_50_FPN", detectron2_model(50, "GeneralizedRCNN", keypoints=True)
    yield "detectron2/retinanet_R_50_FPN", zoo_model("COCO-Detection/retinanet_R_50_FPN_1x")
    yield "detectron2/mask_rcnn_vitdet_b", instantiate(model_zoo.get_config("common/models/mask_rcnn_vitdet.py").model)
    yield "detectron2/rpn_R_50_FPN", detectron2_model(50, "ProposalNetwork")


def folded(state):
    modules = {}
    for key, value in state.items():
        if "cell_anchors" in key or key.startswith("pixel_"):
            continue
        module, _, tensor = key.rpartition(".")
        modules.setdefault(module, {})[tensor] = list(value.shape)
    return [(module, _short(tensors)) for module, tensors in modules.items()]


def _short(tensors):
    channels = tensors.get("running_var", [None])[0]
    if channels is None:
        return list(tensors.items())
    assert set(tensors) - {"num_batches_tracked"} == {"weight", "bias", "running_mean", "running_var"}
    return [channels] if "num_batches_tracked" in tensors else channels


def main():
    tables = {name: folded(model.state_dict()) for name, model in models()}
    lines = []
    for name, table in tables.items():
        lines.append(f'"{name}": {json.dumps(table, separators=(",", ":"))}')
    path = pathlib.Path(__file__).with_name("state_dicts.json")
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    print(f"{len(tables)} tables, {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
