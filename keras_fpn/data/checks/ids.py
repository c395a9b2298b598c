"""Ids: of images, annotations and categories, and what refers to them."""

from collections.abc import Iterator

from keras_fpn.data.checks import entry_columns
from keras_fpn.data.checks.finding import ERROR, Finding, register_kind
from keras_fpn.data.checks.half_table import HalfTable
from keras_fpn.data.checks.subject import Check, Subject
from keras_fpn.data.objects import short


def _kind(name, noun, what, mend):
    return register_kind(name, ERROR, noun, what, mend, __name__)


_NUMBERED = "number them 1, 2, 3 ..., also where they are referred to"
NO_ENTRY = _kind("no_entry", "entry", "without keys, not an object of JSON", "remove them")
IMAGE_ID = _kind("image_id_missing", "image", "without a whole number as id", _NUMBERED)
IMAGE_TWICE = _kind(
    "image_id_twice", "image", "with the id of another", "give each picture an id, and say which objects are on it"
)
CATEGORY_ID = _kind("category_id_missing", "category", "without a whole number as id", _NUMBERED)
CATEGORY_TWICE = _kind("category_id_twice", "category", "with the id of another", "give each class an id of its own")
ANNOTATION_ID = _kind("annotation_id_missing", "annotation", "without a whole number as id", "number them 1, 2, 3 ...")
ANNOTATION_TWICE = _kind("annotation_id_twice", "annotation", "with the id of another", "make the ids unique")
NO_IMAGE = _kind("annotation_without_image", "annotation", "on no image of the file", "remove them, or add the images")
NO_CATEGORY = _kind(
    "annotation_without_category", "annotation", "of no category of the file", "remove them, or add the categories"
)


def check_ids(subject: Subject) -> Iterator[Finding]:
    """Ids that are none, or are given twice, and references to nothing."""
    table = subject.table
    for section, count in table.odd.items():
        yield from table.find_whole(NO_ENTRY, f'of "{section}"', count)
    yield from _images(table)
    yield from _categories(table)
    yield from _annotations(table)


def _images(table: HalfTable):
    found = table.image_keys
    yield from table.find_images(IMAGE_ID, ~entry_columns.are_whole(found), _says(table.images, "id"))
    yield from table.find_images(IMAGE_TWICE, entry_columns.later_ones(found), _says(table.images, "id"))


def _categories(table: HalfTable):
    found = table.category_keys
    yield from table.find_classes(CATEGORY_ID, ~entry_columns.are_whole(found), _says(table.categories, "id"))
    yield from table.find_classes(CATEGORY_TWICE, entry_columns.later_ones(found), _says(table.categories, "id"))


def _annotations(table: HalfTable):
    found = entry_columns.keys([entry.get("id") for entry in table.annotations])
    yield from table.find_objects(ANNOTATION_ID, ~entry_columns.are_whole(found), _says(table.annotations, "id"))
    yield from table.find_objects(ANNOTATION_TWICE, entry_columns.later_ones(found), _says(table.annotations, "id"))
    yield from table.find_objects(NO_IMAGE, table.rows < 0, _says(table.annotations, "image_id"))
    has_category = table.classes >= 0
    if len(table.categories) or not len(has_category):  # without any, that is told
        yield from table.find_objects(NO_CATEGORY, ~has_category, _says(table.annotations, "category_id"))


def _says(entries, key):
    return lambda index: f"{key} {short(entries[index].get(key), 30)}" if key in entries[index] else f"no {key}"


CHECKS = (Check("ids", of_half=check_ids),)
