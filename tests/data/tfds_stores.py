"""Data sets as TensorFlow Datasets keeps them, written by its own builders."""

import contextlib
import json
import logging

import numpy as np


@contextlib.contextmanager
def quiet():
    """Neither bars nor notes of TFDS."""
    import tensorflow_datasets as tfds

    tfds.disable_progress_bar()
    loggers = [logging.getLogger(name) for name in ("absl", "tensorflow")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    yield
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)


def store(root, name, features, splits, config=None, version="1.0.0", file_format="tfrecord"):
    """Write a data set as `root/name[/config]/version`, its examples in the order given."""
    import tensorflow_datasets as tfds

    tfds.dataset_builders.store_as_tfds_dataset(
        name=name, version=version, data_dir=str(root), features=features, split_datasets=splits,
        config=config and tfds.core.BuilderConfig(name=config), disable_shuffling=True, file_format=file_format,
    )  # fmt: skip
    return root / name / (config or "") / version


def builder_of(name, config=None):
    """The builder of the installed TFDS, whose features and whose own code to fill them the tests use."""
    import tensorflow_datasets as tfds

    return tfds.builder_cls(name)(config=config, data_dir="/nowhere")


def coco_copy(root, folder, names, is_reversed=False):
    """A COCO folder of the classes 1, 2, ... in the features of TFDS's coco/2017, written below `root`."""
    import tensorflow_datasets as tfds

    own = builder_of("coco", "2017").info.features
    item = dict(own["objects"].feature.items()) | {"label": tfds.features.ClassLabel(names=list(names))}
    features = dict(own.items()) | {"objects": tfds.features.Sequence(item)}
    halves = {"train": "train", "validation": "val"}
    splits = {name: list(_examples(folder, half, is_reversed)) for name, half in halves.items()}
    return store(root, "coco", tfds.features.FeaturesDict(features), splits, "2017", "1.1.0")


def _examples(folder, half, is_reversed):
    """An instances file as COCO's builder keeps it."""
    import tensorflow_datasets as tfds

    content = json.loads((folder / "annotations" / f"instances_{half}.json").read_text())
    for image in reversed(content["images"]) if is_reversed else content["images"]:
        sides = np.array([image["height"], image["width"]] * 2)
        objects = []
        for each in content["annotations"]:
            if each["image_id"] == image["id"]:
                x, y, width, height = each["bbox"]
                box = tfds.features.BBox(*(np.array([y, x, y + height, x + width]) / sides).tolist())
                objects.append({"id": each["id"], "area": int(each.get("area", width * height)), "bbox": box,
                                "is_crowd": bool(each["iscrowd"]), "label": each["category_id"] - 1})  # fmt: skip
        yield image["file_name"], {"image": str(folder / half / image["file_name"]), "image/id": image["id"],
                                   "image/filename": image["file_name"], "objects": objects}  # fmt: skip
