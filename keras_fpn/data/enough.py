"""Images that hold too little of what is learnt from: left out of training."""

import dataclasses
import logging

import numpy as np

from keras_fpn.console.errors import UserError
from keras_fpn.data.coco import CocoDataset
from keras_fpn.data.fields import ObjectField

log = logging.getLogger(__name__)


def with_enough_to_learn(data_set: CocoDataset) -> CocoDataset:
    """The data set without the images that hold less of a field than its `least`; a line tells how many.

    Raises:
        UserError: no image holds anything of a field that counts it, or none holds enough.
    """
    is_enough = np.ones(len(data_set), bool)
    for field in data_set.fields.values():
        amounts = _amounts(data_set, field)
        if amounts is None:
            continue
        if not amounts.any():
            raise UserError(
                f"{data_set.annotations}: no object has {field.counted}, so nothing can be learnt of them; add some"
            )
        own = amounts >= field.least
        if not own.all():
            log.warning(
                "%s: %d of %d images have fewer than %d %s and are not trained on",
                data_set.annotations, int((~own).sum()), len(own), field.least, field.counted,
            )  # fmt: skip
        is_enough &= own
    if is_enough.all():
        return data_set
    kept = tuple(record for record, enough in zip(data_set.records, is_enough, strict=True) if enough)
    if not kept:
        raise UserError(f"{data_set.annotations}: no image has enough to be trained on; ask for less of each")
    return dataclasses.replace(data_set, records=kept)


def _amounts(data_set: CocoDataset, field: ObjectField) -> np.ndarray | None:
    """`[images]` int64; None of a field that is not counted."""
    amounts = [field.amount(record.fields[field.name]) for record in data_set.records]
    return None if None in amounts else np.array(amounts, np.int64)
