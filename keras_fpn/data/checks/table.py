"""The checks that there are, family by family."""

from keras_fpn.console.errors import UserError
from keras_fpn.data.checks import boxes, categories, duplicates, ids, images, keypoints, outlines, shared_pictures
from keras_fpn.data.checks.subject import Check
from keras_fpn.parts.registry import Registry

CHECKS = Registry("check of data", "check")


def register_check(check: Check) -> Check:
    """Make a check known by its name, and return it.

    Raises:
        UserError: it is no `Check`, or another one has its name.
    """
    if not isinstance(check, Check):
        raise UserError(f"register_check: {check!r} is no Check; give one")
    return CHECKS.add(check.name, check)


for family in (ids, boxes, categories, duplicates, outlines, keypoints, images, shared_pictures):
    for each in family.CHECKS:
        register_check(each)
