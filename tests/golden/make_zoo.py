"""Narrow models of detectron2's zoo on two pictures, and the losses and gradients of one training step: zoo_*.npz.

The configurations are the zoo's, with an eighth to a quarter of the channels. Weights are drawn by name and brought
into range by the calibration of `make parity`; a file holds their recipe. Every anchor and proposal that counts is a
sample (as many as there are, all positives), so that no draw decides.
Made with detectron2 0.6 from source (02b5c4e2), torch 2.14.1 on a CPU.
Run, where detectron2 is installed: python tests/golden/make_zoo.py [MODEL ...]
"""

import json
import pathlib
import sys
import unittest.mock

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parents[1] / "benchmarks" / "parity")]

import calibration  # noqa: E402
import detectron2  # noqa: E402
import drawn_checkpoints  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402
from detectron2.config import get_cfg  # noqa: E402
from detectron2.modeling import build_model  # noqa: E402
from detectron2.modeling.proposal_generator import proposal_utils  # noqa: E402
from detectron2.structures import Boxes, Instances  # noqa: E402
from detectron2.utils.events import EventStorage  # noqa: E402

ZOO = pathlib.Path(detectron2.__file__).parent / "model_zoo" / "configs"
MOST, MOST_OF_GRADIENTS = 300, 50
SAMPLES = {"anchors": 10_000, "rois": 1100}  # more than there are
PICTURES = {"small_wide": (149, 203), "small_high": (160, 120)}
TRUTH = (
    ([[20, 15, 120, 140], [110, 40, 202, 130], [5, 60, 60, 110]], [0, 16, 79]),
    ([[30, 20, 110, 150], [10, 100, 70, 155]], [2, 63]),
)
MODELS = {
    "faster_rcnn_X_101_32x8d_FPN_3x": {
        "RESNETS.STEM_OUT_CHANNELS": 16, "RESNETS.RES2_OUT_CHANNELS": 64, "RESNETS.WIDTH_PER_GROUP": 2,
        "FPN.OUT_CHANNELS": 32, "ROI_BOX_HEAD.FC_DIM": 48,
    },
    "faster_rcnn_R_50_DC5_1x": {
        "RESNETS.STEM_OUT_CHANNELS": 8, "RESNETS.RES2_OUT_CHANNELS": 32, "RESNETS.WIDTH_PER_GROUP": 8,
        "ROI_BOX_HEAD.FC_DIM": 48,
    },
    "faster_rcnn_R_50_C4_1x": {
        "RESNETS.STEM_OUT_CHANNELS": 8, "RESNETS.RES2_OUT_CHANNELS": 32, "RESNETS.WIDTH_PER_GROUP": 8,
    },
}  # fmt: skip
EVERY_SAMPLE = {
    "RPN.BATCH_SIZE_PER_IMAGE": SAMPLES["anchors"], "RPN.POSITIVE_FRACTION": 1.0,
    "ROI_HEADS.BATCH_SIZE_PER_IMAGE": SAMPLES["rois"], "ROI_HEADS.POSITIVE_FRACTION": 1.0,
}  # fmt: skip


def build(name):
    config = get_cfg()
    config.merge_from_file(str(ZOO / "COCO-Detection" / f"{name}.yaml"))
    settings = MODELS[name] | EVERY_SAMPLE | {"DEVICE": "cpu", "WEIGHTS": ""}
    config.merge_from_list([each for key, value in settings.items() for each in (f"MODEL.{key}", value)])
    assert config.INPUT.FORMAT == "BGR"
    return build_model(config).eval()


def elements():
    """The batch, with ground truth."""
    for (name, size), (boxes, classes) in zip(PICTURES.items(), TRUTH, strict=True):
        bgr = np.ascontiguousarray(drawn_checkpoints.picture(name, *size)[:, :, ::-1].astype(np.float32))
        truth = Instances(size)
        truth.gt_boxes, truth.gt_classes = Boxes(torch.tensor(boxes, dtype=torch.float32)), torch.tensor(classes)
        yield {"image": torch.from_numpy(bgr.transpose(2, 0, 1)), "height": size[0], "width": size[1]} | {
            "instances": truth
        }


def keep(kept, key, tensor, most=MOST):
    """A slice of a tensor whose channels come last."""
    kept[key] = drawn_checkpoints.kept_slice(tensor.detach().numpy(), most)


def inference(module, kept):
    """Record the outputs of every part for the batch."""
    seen = {}

    def see(key):
        return lambda _, inputs, output: seen.setdefault(key, output)

    bottom_up = getattr(module.backbone, "bottom_up", module.backbone)
    parts = {"taps": bottom_up, "rpn": module.proposal_generator.rpn_head, "head": module.roi_heads.box_predictor}
    hooks = [part.register_forward_hook(see(key)) for key, part in parts.items()]
    hooks.append(module.proposal_generator.register_forward_hook(see("proposals")))
    with torch.inference_mode():
        found = module(list(elements()))
    for hook in hooks:
        hook.remove()
    for name, tensor in seen["taps"].items():
        keep(kept, f"taps/C{name[-1]}", tensor.permute(0, 2, 3, 1))
    for index, (logits, deltas) in enumerate(zip(*seen["rpn"], strict=True)):
        count = len(logits)
        keep(kept, f"objectness/{index}", logits.permute(0, 2, 3, 1).reshape(count, -1))
        keep(kept, f"rpn_deltas/{index}", deltas.permute(0, 2, 3, 1).reshape(count, -1, 4))
    for image, each in enumerate(seen["proposals"][0]):
        kept[f"proposals/{image}/boxes"] = each.proposal_boxes.tensor.numpy()
        kept[f"proposals/{image}/logits"] = each.objectness_logits.numpy()
    logits, deltas = seen["head"]
    keep(kept, "class_logits", logits)
    keep(kept, "box_deltas", deltas.reshape(len(deltas), -1, 4))
    for image, each in enumerate(result["instances"] for result in found):
        kept[f"detections/{image}/boxes"] = each.pred_boxes.tensor.numpy()
        kept[f"detections/{image}/scores"] = each.scores.numpy()
        kept[f"detections/{image}/classes"] = each.pred_classes.numpy().astype(np.int32)
        print("image", image, len(kept[f"proposals/{image}/boxes"]), "proposals,", len(each), "detections")


def step(module):
    with EventStorage():
        return module.train()(list(elements()))


def training(module, kept):
    """Losses, and gradients of a step in float64: in float32 rounding decides which ReLUs of a deep network open."""
    for name, loss in step(module).items():
        kept[f"losses/{name}"] = loss.detach().numpy()
        print(name, loss.item())
    # Its boxes stay in float32, and torchvision wants the scores alike.
    batched_nms = proposal_utils.batched_nms
    with unittest.mock.patch.object(
        proposal_utils, "batched_nms", lambda boxes, scores, *rest: batched_nms(boxes, scores.float(), *rest)
    ):
        sum(step(module.double()).values()).backward()
    for name, parameter in module.named_parameters():
        if parameter.grad is not None:
            keep(kept, f"gradients/{name}", parameter.grad, MOST_OF_GRADIENTS)


def make(name):
    module = build(name)
    kept = {"made_with": f"detectron2 {detectron2.__version__}, torch {torch.__version__}"}
    kept["recipe"] = json.dumps(calibration.recipe(name, module, lambda: module(list(elements()))))
    kept["pictures"] = json.dumps({"sizes": PICTURES, "truth": TRUTH, "samples": SAMPLES})
    kept["most"], kept["most_of_gradients"] = MOST, MOST_OF_GRADIENTS
    inference(module, kept)
    training(module, kept)
    np.savez_compressed(HERE / f"zoo_{name}.npz", **kept)


if __name__ == "__main__":
    for name in sys.argv[1:] or MODELS:
        print(name)
        make(name)
