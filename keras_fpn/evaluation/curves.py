"""Precision by recall, and the threshold with the best F1."""


from typing import Any

import numpy as np


def curve_of(precision: np.ndarray) -> dict[str, Any]:
    """precision: [IoU threshold, recall] of one class or a mean."""
    return {
        "precision50": precision[0].tolist(),
        "precision": precision.mean(axis=0).tolist(),
        "AP50": float(precision[0].mean()),
        "AP": float(precision.mean()),
    }


def best_f1(recall: np.ndarray, precision: np.ndarray, scores: np.ndarray) -> dict[str, float]:
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    best = int(f1.argmax())
    return {"best_f1": float(f1[best]), "best_threshold": float(scores[best])}


def mean_defined(values: np.ndarray) -> float:
    """Mean of the values pycocotools defined (it marks the others with -1); -1 where there are none."""
    defined = values[values > -1]
    return float(defined.mean()) if defined.size else -1.0
