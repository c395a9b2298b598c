"""The data of a run: annotations read and checked, batches to train on."""

import dataclasses
import os
from typing import TYPE_CHECKING, Any

from keras_fpn.config.loading import Config
from keras_fpn.console.errors import UserError
from keras_fpn.console.progress import Count
from keras_fpn.data.augmentations import active, needed_fields
from keras_fpn.data.checks.quick import quick_line
from keras_fpn.data.class_checks import check_halves
from keras_fpn.data.coco import CocoDataset, read_coco
from keras_fpn.data.enough import with_enough_to_learn
from keras_fpn.data.objects import short
from keras_fpn.data.pipeline import load_coco
from keras_fpn.data.proposal_files import read_proposals
from keras_fpn.data.rewritten_pictures import with_readable_pictures
from keras_fpn.evaluation.coco import COCOEvaluator
from keras_fpn.evaluation.measuring import evaluator_of
from keras_fpn.metrics import prepare
from keras_fpn.models.detector import architecture
from keras_fpn.training.schedule import unchecked_schedule

if TYPE_CHECKING:
    import tensorflow as tf


def with_proposals(data_set: CocoDataset, path: str | os.PathLike, max_proposals: int) -> CocoDataset:
    """Return a `CocoDataset` with the proposals of its images, every one of them checked.

    Args:
        path: a folder that `keras-fpn propose` wrote.
        max_proposals: how many of an image are used, the best.

    Raises:
        UserError: see `proposal_files.read_proposals` and `GivenProposals.for_data_set`.
    """
    given = read_proposals(path)
    with Count("check proposals", len(data_set)) as count:
        return dataclasses.replace(data_set, proposals=given.for_data_set(data_set, max_proposals, count))


def training_dataset(
    config: Config, train_set: CocoDataset, skip_batches: int = 0, cache: bool | None = None
) -> "tf.data.Dataset":
    """Return the endless `tf.data.Dataset` of batches of a `CocoDataset`, from batch `skip_batches` on."""
    data, resize = config.data, config.model.resize
    return load_coco(
        train_set,
        batch_size=data.batch_size,
        min_side=data.min_sides,
        max_side=resize.max_side,
        rounding=resize.rounding,
        interpolation=resize.interpolation,
        size_divisor=resize.size_divisor,
        canvas=data.canvas,
        horizontal_flip=data.horizontal_flip,
        scale_jitter=data.scale_jitter,
        augmentations=data.augment,
        num_batches=unchecked_schedule(config, train_set).total_steps,
        fields=_object_fields(config),
        group_by_aspect_ratio=data.group_by_aspect_ratio,
        keep_empty=data.keep_empty,
        shuffle=True,
        repeat=True,
        seed=config.training.seed,
        skip_batches=skip_batches,
        cache=data.cache if cache is None else cache,
    )


def _object_fields(config):
    return architecture(config.model.architecture).fields_to_learn(config.model.groups())


def read_data(config: Config) -> tuple[CocoDataset, CocoDataset, COCOEvaluator]:
    """Return the training and the validation `CocoDataset` and the `COCOEvaluator` of the latter.

    What the quick half of `keras-fpn data check` finds in them is printed, in one line.

    Raises:
        UserError: one of the files is wrong, they do not belong together, or there is nothing to learn from.
    """
    data: Any = config.data  # its files are named, see `named_files.with_data`
    needs_proposals = "proposals" in architecture(config.model.architecture).further_inputs
    if needs_proposals:
        _check_proposals_named(data)
    fields = _object_fields(config)
    needed = needed_fields(active(data.augment))
    train_set = read_coco(data.train.annotations, data.train.images, **data.reading, fields=(*fields, *needed))
    learnt = dict(zip(train_set.class_names, train_set.category_ids, strict=True))
    val_set = read_coco(data.val.annotations, data.val.images, **data.reading, fields=fields, categories=learnt)
    other = next((name for name in val_set.class_names if name not in learnt), None)
    if other is not None:
        raise UserError(
            f"{data.val.annotations}: its categories differ from those of {data.train.annotations}, which has no"
            f" {short(other)}; give both the same list"
        )
    for name in train_set.fields.keys() & val_set.fields.keys():
        train_set.fields[name].check_same_as(val_set.fields[name], train_set.annotations, val_set.annotations)
    number = config.model.num_classes
    if number not in (None, len(train_set.class_names)):
        raise UserError(
            f"model.num_classes: {number}, but {data.train.annotations} has"
            f" {len(train_set.class_names)} categories; leave it null"
        )
    check_halves(train_set, val_set)
    print(quick_line({"train": train_set, "val": val_set}, config.model.resize.model_dump()), flush=True)
    train_set, val_set = with_readable_pictures([with_enough_to_learn(train_set), val_set], data.cache)
    if needs_proposals:
        train_set = with_proposals(train_set, data.train.proposals, data.train_proposals)
        val_set = with_proposals(val_set, data.val.proposals, data.test_proposals)
    evaluator = evaluator_of(val_set)
    prepare(evaluator, architecture(config.model.architecture).metric_families)  # not after the first epoch
    return train_set, val_set, evaluator


def _check_proposals_named(data):
    for name, split in (("train", data.train), ("val", data.val)):
        if split.proposals is None:
            raise UserError(
                f"data.{name}.proposals is not set, and Fast R-CNN needs proposals; give --set"
                f" data.{name}.proposals=DIR, a folder that keras-fpn propose MODEL --annotations {split.annotations}"
                f" --images {split.images} --out DIR wrote"
            )
