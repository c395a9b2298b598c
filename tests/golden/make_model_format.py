"""Make `model_format.keras` and `model_format.npz`: a file of the format version of today, and what its model answers.

    python tests/golden/make_model_format.py

Whoever changes what a file of a model holds raises `keras_fpn.models.detector.FORMAT_VERSION` and runs this again;
tests hold the files against what is written today.
"""

import os
import pathlib

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np

import keras_fpn

FOLDER = pathlib.Path(__file__).parent
IMAGE_SIDE = 64


def small_model():
    """The smallest `FasterRCNN` with every part, its weights drawn from a seed, compiled."""
    keras.utils.set_random_seed(7)
    model = keras_fpn.FasterRCNN(
        2,
        {"name": "resnet18", "width": 2, "freeze_at": 1},
        class_names=["cat", "dog"],
        category_ids=[3, 7],
        resize={"min_side": IMAGE_SIDE, "max_side": IMAGE_SIDE},
        pyramid={"channels": 4},
        rpn={"channels": 4},
        proposals={"post_nms_top_k_test": 20},
        box_head={"units": 4},
        detections={"score_threshold": 0.1, "max_detections": 5},
    )
    model.freeze(["backbone"])
    model.compile(keras_fpn.SGD(0.01, momentum=0.9))
    return model


def image():
    """A picture of noise, `[1, IMAGE_SIDE, IMAGE_SIDE, 3]`."""
    return np.random.default_rng(7).uniform(0, 255, (1, IMAGE_SIDE, IMAGE_SIDE, 3)).astype(np.float32)


if __name__ == "__main__":
    model = small_model()
    model.save(FOLDER / "model_format.keras")
    np.savez(FOLDER / "model_format.npz", **model.predict(image(), verbose=0))
