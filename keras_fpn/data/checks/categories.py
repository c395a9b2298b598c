"""Classes: named, used, and how many objects each has."""

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from keras_fpn.data.checks.finding import ERROR, NOTE, WARNING, Finding, counted, register_kind
from keras_fpn.data.checks.half_table import HalfTable
from keras_fpn.data.checks.subject import Check, Subject
from keras_fpn.data.class_checks import objects_of_classes
from keras_fpn.data.entry_values import text_of

_RARE = 10  # objects of a class
_NAMED = 5  # classes that a line names
_IMBALANCE = 100  # commonest over rarest


def _kind(name, severity, noun, what, mend):
    return register_kind(name, severity, noun, what, mend, __name__)


NONE = _kind("no_categories", ERROR, "file", "without categories", 'list the classes under "categories"')
NO_IMAGES = _kind("no_images", ERROR, "file", "without images", 'list the pictures under "images"')
NO_OBJECTS = _kind("no_objects", ERROR, "file", "without an object", "annotate some")
ALL_CROWDS = _kind(
    "all_crowds", ERROR, "object", "marked as crowds, all there are, which leaves nothing to learn (CVAT writes masks"
    " so)", "read them as objects: --set data.crowds=objects",
)  # fmt: skip
UNNAMED = _kind("category_unnamed", ERROR, "category", "without a name", "name it")
SAME_NAME = _kind("category_name_twice", WARNING, "category", "with the name of another", "give one name to one class")
UNUSED = _kind("category_unused", WARNING, "class", "without an object", "annotate some, or remove the category")
CROWDS_ALONE = _kind("category_of_crowds", WARNING, "class", "with crowds alone", "annotate single objects")
RARE = _kind("category_rare", WARNING, "class", f"with fewer than {_RARE} objects", "annotate more, or merge classes")
IMBALANCE = _kind("class_imbalance", NOTE, "class", "far rarer than the commonest", "annotate more of the rare ones")
DIFFERENT = _kind("categories_differ", ERROR, "half", "with classes that training has not", "give both one list")
NO_OBJECT_ON = _kind("image_without_objects", NOTE, "image", "without objects", "nothing, if there are none to see")


def check_categories(subject: Subject) -> Iterator[Finding]:
    """Categories that are none, and those that the objects do not use."""
    table = subject.table
    if not len(table.categories):
        yield from table.find_whole(NONE)
    names = [text_of(category.get("name")) for category in table.categories]
    yield from table.find_classes(UNNAMED, np.array([not name for name in names], bool))
    times = Counter(name.casefold() for name in names if name)
    yield from table.find_classes(SAME_NAME, np.array([times[name.casefold()] > 1 for name in names], bool))
    yield from _empty(table)


def _empty(table: HalfTable):
    if not len(table.images):
        yield from table.find_whole(NO_IMAGES)
        return
    if table.is_sound.any() and not table.is_object.any():
        yield from table.find_whole(ALL_CROWDS, count=int(table.is_sound.sum()))
    elif not table.is_sound.any() and table.name != "test":  # which many give without objects
        yield from table.find_whole(NO_OBJECTS)
    has_object = np.bincount(table.rows[table.rows >= 0], minlength=len(table.images)) > 0
    yield from table.find_images(NO_OBJECT_ON, ~has_object)


def class_counts(table: HalfTable) -> np.ndarray:
    """`[k]` sound objects of each category, crowds left out."""
    return objects_of_classes(table.classes[table.is_sound], table.crowd[table.is_sound], len(table.categories))[1]


def check_use(subject: Subject) -> Iterator[Finding]:
    """Classes without objects, or with few."""
    table = subject.table
    sound = table.is_sound
    of_all, of_objects = objects_of_classes(table.classes[sound], table.crowd[sound], len(table.categories))
    if not of_objects.any():  # told already
        return
    yield from table.find_classes(UNUSED, of_all == 0)
    yield from table.find_classes(CROWDS_ALONE, (of_all > 0) & (of_objects == 0))


def check_balance(subject: Subject) -> Iterator[Finding]:
    """Classes with few objects beside those of others."""
    table = subject.table
    counts = class_counts(table)
    is_used = counts > 0
    if is_used.sum() < 2:
        return
    yield from table.find_classes(RARE, is_used & (counts < _RARE), lambda row: counted(int(counts[row]), "object"))
    most, least = int(counts.argmax()), int(np.where(is_used, counts, counts.max() + 1).argmin())
    if counts[most] >= _IMBALANCE * counts[least]:
        names = table.class_names
        detail = (
            f"{counted(int(counts[most]), 'object')} of {names[most]}, {int(counts[least]):,} of {names[least]}"
            f" ({counts[most] / counts[least]:,.0f} to 1)"
        )
        is_far = is_used & (counts * _IMBALANCE <= counts[most])
        yield from table.find_classes(IMBALANCE, is_far, lambda row: counted(int(counts[row]), "object"), detail)


def check_lists(subjects: Sequence[Subject]) -> Iterator[Finding]:
    """Halves with classes that the training half has not; others are joined by name, whatever their ids are."""
    known = set(subjects[0].table.class_names)
    for subject in subjects[1:]:
        others = [name for name in subject.table.class_names if name not in known]
        if others:
            more = f" and {len(others) - _NAMED} more" if len(others) > _NAMED else ""
            yield from subject.table.find_whole(DIFFERENT, f"{', '.join(others[:_NAMED])}{more}")


CHECKS = (
    Check("categories", of_half=check_categories),
    Check("use of categories", of_half=check_use),
    Check("balance of classes", of_half=check_balance, is_quick=True),
    Check("lists of categories", of_all=check_lists),
)
