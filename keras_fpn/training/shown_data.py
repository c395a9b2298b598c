"""Pictures of what a run learns from: training batches as the network sees them, and the same files as they are."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from keras_fpn.config.loading import Config
from keras_fpn.console.progress import Count
from keras_fpn.data.augmentations import active, needed_fields
from keras_fpn.data.coco import CocoDataset, read_coco
from keras_fpn.data.decode import readable_errors
from keras_fpn.data.fields import names_of
from keras_fpn.data.pipeline import load_coco
from keras_fpn.data.rewritten_pictures import with_rewritten_pictures
from keras_fpn.data.settings import DataSettings
from keras_fpn.models.detector import architecture
from keras_fpn.parts.output_fields import STANDARD
from keras_fpn.reporting.data_sheets import CELL, Counts, Group, Tile, sheet
from keras_fpn.reporting.visualize import ground_truth_keys
from keras_fpn.training.datasets import training_dataset

SHOWN = 16  # pictures of a batch
# Settings of the data that vary no picture.
_NOT_VARYING = {
    "train", "val", "batch_size", "evaluation_batch_size", "boxes", "crowds", "invalid_boxes", "classes", "cache",
    "group_by_aspect_ratio", "keep_empty", "train_proposals", "test_proposals", "augment",
}  # fmt: skip


def shown_data(config: Config, batches: int) -> tuple[Image.Image, Image.Image, CocoDataset]:
    """Draw the first training batches of a configuration, and the files that they are made of.

    Args:
        config: its `data.train` names files, see `with_train_half`.
        batches: how many; 16 pictures of each are drawn.

    Returns:
        `(batches, files, data_set)`: a sheet of pictures as the network sees them, one of the same pictures as they
        are, with the numbers of the data set, and the data set.

    Raises:
        UserError: the data or the configuration is wrong, or a picture cannot be read.
    """
    data: Any = config.data
    learnt = architecture(config.model.architecture).fields_to_learn(config.model.groups())
    names = names_of(learnt)
    needed = needed_fields(active(data.augment))
    data_set = read_coco(data.train.annotations, data.train.images, **data.reading, fields=(*learnt, *needed))
    data_set = with_rewritten_pictures(data_set) if data.cache else data_set  # as training reads them
    shown = [field for name in names if (field := data_set.fields[name].shown_by()) is not None]
    fields = (*STANDARD, *{field.name: field for field in shown}.values())
    keys = ground_truth_keys(fields)
    groups: list[Group] = []
    image_ids: list[list[int]] = []
    with Count("draw", 2 * batches * min(data.batch_size, SHOWN), "pictures") as count, readable_errors():
        for inputs, targets in training_dataset(config, data_set, cache=False).take(batches).as_numpy_iterator():
            groups.append(_batch(len(groups) + 1, inputs, targets, data_set, keys))
            image_ids.append(targets["image_ids"][:SHOWN].tolist())
            count(sum(map(len, image_ids)))
        files = _files([image_id for some in image_ids for image_id in some], data_set, names, keys, count)
        whole = [Group(f"batch {n}", [next(files) for _ in some]) for n, some in enumerate(image_ids, start=1)]
    class_names = data_set.class_names
    return (
        sheet(f"as the network sees them: {_variation(config)}", groups, class_names, fields),
        sheet(f"as they are: {data_set.annotations}", whole, class_names, fields, _counts(data_set)),
        data_set,
    )


def _batch(number, inputs, targets, data_set, keys) -> Group:
    names = {record.image_id: record.file_name for record in data_set.records}
    tiles = []
    for index, (height, width) in enumerate(inputs["image_sizes"][:SHOWN].tolist()):
        ground_truth = {key: targets[key][index] for key in keys if key in targets}
        note = f"{width} x {height} pixels, {_objects(ground_truth)}"
        image = inputs["images"][index, :height, :width]
        tiles.append(Tile(image, ground_truth, names[int(targets["image_ids"][index])], note))
    count, height, width, _ = inputs["images"].shape
    few = f", {SHOWN} of them shown" if count > SHOWN else ""
    heading = f"batch {number}: {count} pictures on {width} x {height} pixels (width x height){few}"
    return Group(heading, tiles)


def _files(image_ids, data_set, names, keys, count: Count) -> Iterator[Tile]:
    """Pictures of a data set as they are, but for a longer side of a cell's."""
    record_of = {record.image_id: record for record in data_set.records}
    records = tuple(record_of[image_id] for image_id in image_ids)
    some = dataclasses.replace(data_set, records=records, proposals=None)
    dataset = load_coco(some, batch_size=1, min_side=CELL, max_side=CELL, size_divisor=1, fields=names)
    for number, (record, (inputs, targets)) in enumerate(zip(records, dataset.as_numpy_iterator(), strict=True), 1):
        ground_truth = {key: targets[key][0] for key in keys if key in targets}
        note = f"{record.width} x {record.height} pixels, {_objects(ground_truth)}"
        count(len(records) + number, 2 * len(records))
        yield Tile(inputs["images"][0], ground_truth, record.file_name, note)


def _objects(ground_truth: Mapping[str, np.ndarray]) -> str:
    is_object = ground_truth["classes"] >= 0
    crowds = int(ground_truth["is_crowd"][is_object].sum())
    number = int(is_object.sum())
    more = f", {crowds} of them crowds" if crowds else ""
    return f"{number or 'no'} object{'' if number == 1 else 's'}{more}"


def _variation(config: Config) -> str:
    """The settings by which pictures are varied, those that do nothing left out."""
    data = config.data.model_dump()
    varying = {key: data[key] for key in DataSettings.model_fields if key not in _NOT_VARYING}
    texts = [f"{key} {_text(value)}" for key, value in varying.items() if value not in (None, False, [], {})]
    texts += [f"{each.name} {each.options.probability:g}" for each in active(config.data.augment)]
    return ", ".join([*texts, f"max_side {config.model.resize.max_side}", f"seed {config.training.seed}"])


def _text(value: Any) -> str:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return " ".join(map(_text, value))
    return "on" if value is True else str(value)


def _counts(data_set: CocoDataset) -> Counts:
    """Numbers of the whole data set."""
    records, names = data_set.records, data_set.class_names
    crowd = np.concatenate([record.is_crowd for record in records]) == 1
    classes = np.concatenate([record.classes for record in records])[~crowd]
    boxes = np.concatenate([record.boxes for record in records])[~crowd]
    number = [int((record.is_crowd == 0).sum()) for record in records]
    widths, heights = ([getattr(record, side) for record in records] for side in ("width", "height"))
    crowds = f", and {int(crowd.sum()):,} crowds" if crowd.any() else ""
    lines = [
        f"{len(records):,} pictures, {number.count(0):,} of them without an object",
        f"{_span(widths)} pixels wide, {_span(heights)} high",
        f"{len(boxes):,} objects of {len(names)} classes{crowds}; {max(number)} at most in a picture",
    ]
    if len(boxes):
        lengths = np.sqrt((boxes[:, 2:] - boxes[:, :2]).prod(1))
        low, middle, high = np.quantile(lengths, (0.05, 0.5, 0.95)).tolist()
        half = f"half of them larger than {middle:.0f} x {middle:.0f} pixels"
        lines.append(f"{half}, nine of ten {low:.0f} to {high:.0f}")
    of_classes = np.bincount(classes, minlength=len(names)).tolist()
    return Counts(lines, dict(zip(names, of_classes, strict=True)))


def _span(numbers: Sequence[int]) -> str:
    low, high = min(numbers), max(numbers)
    return f"{low}" if low == high else f"{low} to {high}"
