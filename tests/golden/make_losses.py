"""The four losses: torchvision's (run), detectron2's and Detectron's (their formulas): losses.npz.

Made with torch 2.14.1, torchvision 0.29.1 on a CPU; numpy seed 23. With every run go the gradients.
Run: python tests/golden/make_losses.py
"""

import pathlib
import types

import numpy as np
import torch
from torchvision.models.detection._utils import BalancedPositiveNegativeSampler
from torchvision.models.detection.roi_heads import fastrcnn_loss
from torchvision.models.detection.rpn import RegionProposalNetwork

SAMPLES, CLASSES = 256, 6


def smooth_l1(error, beta):
    size = np.abs(error)
    if beta == 0:
        return size
    return np.where(size < beta, 0.5 * size**2 / beta, size - 0.5 * beta)


def binary_cross_entropy(logit, label):
    return np.maximum(logit, 0) - logit * label + np.log1p(np.exp(-np.abs(logit)))


def rpn_inputs(rng):
    """Image 0 has all its 256 samples, image 1 only 103 of them: padded at the end."""
    positive = np.zeros((2, SAMPLES), bool)
    valid = np.zeros((2, SAMPLES), bool)
    positive[0, :9], positive[1, :3] = True, True
    valid[0, :], valid[1, :103] = True, True
    return {
        "logits": rng.normal(0, 3, (2, SAMPLES)).astype(np.float32),
        "deltas": rng.normal(0, 0.5, (2, SAMPLES, 4)).astype(np.float32),
        "target_deltas": rng.normal(0, 0.5, (2, SAMPLES, 4)).astype(np.float32),
        "is_positive": positive,
        "is_valid": valid,
    }


def torchvision_rpn(inputs):
    sampler = BalancedPositiveNegativeSampler(
        SAMPLES, 0.5
    )  # nothing to choose: it takes every labelled anchor
    labels = np.where(inputs["is_valid"], inputs["is_positive"].astype(np.float32), -1).astype(np.float32)
    logits = torch.tensor(inputs["logits"].reshape(-1, 1), requires_grad=True)
    deltas = torch.tensor(inputs["deltas"].reshape(-1, 4), requires_grad=True)
    objectness, box = RegionProposalNetwork.compute_loss(
        types.SimpleNamespace(fg_bg_sampler=sampler),
        logits,
        deltas,
        list(torch.tensor(labels)),
        list(torch.tensor(inputs["target_deltas"])),
    )
    (objectness + box).backward()
    return {
        "rpn_objectness_loss": objectness.item(),
        "rpn_box_loss": box.item(),
        "gradient_of_logits": logits.grad.numpy().reshape(2, SAMPLES),
        "gradient_of_deltas": deltas.grad.numpy().reshape(2, SAMPLES, 4),
    }


def formula_rpn(inputs, beta, box_normalizer):
    values = {name: np.asarray(value, np.float64) for name, value in inputs.items()}
    objectness = binary_cross_entropy(values["logits"], values["is_positive"]) * values["is_valid"]
    box = smooth_l1(values["deltas"] - values["target_deltas"], beta).sum(-1) * values["is_positive"]
    if box_normalizer == "sampled_per_image":  # Detectron: each image by the number it sampled, then the mean
        box_loss = (box.sum(1) / values["is_valid"].sum(1)).mean()
    else:
        box_loss = box.sum() / (SAMPLES * len(box))
    return {"rpn_objectness_loss": objectness.sum() / (SAMPLES * len(box)), "rpn_box_loss": box_loss}


def roi_inputs(rng):
    classes = rng.integers(0, CLASSES, (2, 40))
    classes[:, 12:] = CLASSES  # background, last
    return {
        "class_logits": rng.normal(0, 2, (2, 40, CLASSES + 1)).astype(np.float32),
        "deltas": rng.normal(0, 1, (2, 40, CLASSES, 4)).astype(np.float32),
        "target_classes": classes.astype(np.int32),
        "target_deltas": rng.normal(0, 1, (2, 40, 4)).astype(np.float32),
    }


def torchvision_roi(inputs):
    ours = torch.tensor(inputs["class_logits"].reshape(-1, CLASSES + 1), requires_grad=True)
    logits = torch.cat([ours[:, -1:], ours[:, :-1]], 1)  # torchvision has the background first
    deltas = torch.tensor(inputs["deltas"].reshape(-1, CLASSES, 4), requires_grad=True)
    padded = torch.cat([torch.zeros_like(deltas[:, :1]), deltas], 1).flatten(1)
    labels = torch.tensor((inputs["target_classes"].astype(np.int64) + 1) % (CLASSES + 1))
    classification, box = fastrcnn_loss(
        logits, padded, list(labels), list(torch.tensor(inputs["target_deltas"]))
    )
    (classification + box).backward()
    return {
        "roi_class_loss": classification.item(),
        "roi_box_loss": box.item(),
        "gradient_of_logits": ours.grad.numpy().reshape(2, 40, -1),
        "gradient_of_deltas": deltas.grad.numpy().reshape(2, 40, CLASSES, 4),
    }


def formula_roi(inputs, beta, valid):
    logits = inputs["class_logits"].astype(np.float64)
    classes = inputs["target_classes"]
    log_sum = np.log(np.exp(logits).sum(-1))
    entropy = (log_sum - np.take_along_axis(logits, classes[..., None], -1)[..., 0]) * valid
    own = np.take_along_axis(inputs["deltas"], np.minimum(classes, CLASSES - 1)[..., None, None], 2)[:, :, 0]
    error = own.astype(np.float64) - inputs["target_deltas"]
    box = smooth_l1(error, beta).sum(-1) * (classes < CLASSES) * valid
    return {"roi_class_loss": entropy.sum() / valid.sum(), "roi_box_loss": box.sum() / valid.sum()}


def main():
    rng = np.random.default_rng(23)
    kept = {"made_with": f"torch {torch.__version__}"}

    def keep(name, values):
        kept.update({f"{name}/{key}": value for key, value in values.items()})

    rpn, roi = rpn_inputs(rng), roi_inputs(rng)
    valid = np.ones((2, 40), bool)
    valid[1, 30:] = False
    keep("rpn/inputs", rpn)
    keep("rpn/torchvision", torchvision_rpn(rpn))
    keep("rpn/detectron2", formula_rpn(rpn, 0.0, "samples_per_image"))
    keep("rpn/detectron", formula_rpn(rpn, 1 / 9, "sampled_per_image"))
    keep("roi/inputs", roi)
    keep("roi/torchvision", torchvision_roi(roi))
    keep("roi/detectron2", formula_roi(roi, 0.0, np.ones((2, 40), bool)))
    keep("roi/detectron", formula_roi(roi, 1.0, np.ones((2, 40), bool)))
    keep("roi/some_invalid", {"is_valid": valid, **formula_roi(roi, 0.0, valid)})
    # The formulas must agree with the run where both speak of the same thing.
    np.testing.assert_allclose(
        formula_roi(roi, 1 / 9, valid | True)["roi_box_loss"], kept["roi/torchvision/roi_box_loss"], 1e-5
    )
    np.savez_compressed(pathlib.Path(__file__).with_name("losses.npz"), **kept)


if __name__ == "__main__":
    main()
