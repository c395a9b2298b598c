"""Per-object fields: what each object of an image has, declared once, for reading and for the pipeline.

    field        what a field is: how it is read, flipped, scaled, cropped, padded, kept in memory
    boxes        the box of an object
    labels       its class; whether it is a crowd
    masks        its mask over its box
    bitmaps      its mask on the pixels of its image
    polygons     the points of its outline
    keypoints    its places by name, visible, hidden or not labelled
    proposals    boxes that are given with an image and are no objects

A field of one's own is a subclass of `ObjectField`, made known by `register_object_field` and asked for by its name:
`load_coco(..., fields=("colour",))`.
"""

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from keras_fpn.console.errors import UserError
from keras_fpn.data.fields.bitmaps import Bitmaps
from keras_fpn.data.fields.boxes import Boxes
from keras_fpn.data.fields.field import OPERATIONS, ObjectField, RowField
from keras_fpn.data.fields.keypoints import Keypoints
from keras_fpn.data.fields.labels import Classes, IsCrowd
from keras_fpn.data.fields.masks import Masks
from keras_fpn.data.fields.polygons import Polygons
from keras_fpn.data.fields.proposals import Proposals
from keras_fpn.parts.registry import Registry

__all__ = [
    "OBJECT_FIELDS", "OPERATIONS", "STANDARD", "ObjectField", "Proposals", "RowField", "choose", "names_of",
    "register_object_field",
]  # fmt: skip

OBJECT_FIELDS = Registry("per-object field", "fields")
_NONE: Mapping[str, ObjectField] = MappingProxyType({})
_OF_AN_IMAGE = ("image_ids", "original_sizes")  # what the targets of a batch hold besides fields


def register_object_field(field: ObjectField) -> ObjectField:
    """Make a per-object field known by its name, and return it.

    Raises:
        UserError: it is no `ObjectField`, or its name or what it refuses cannot be used.
    """
    if not isinstance(field, ObjectField):
        raise UserError(f"register_object_field: {field!r} is no ObjectField; give an object of a subclass of it")
    name = getattr(field, "name", None)
    if not isinstance(name, str) or not name.isidentifier() or name in _OF_AN_IMAGE:
        raise UserError(f"register_object_field: {name!r} cannot be the name of a field; choose another word")
    for operation in field.refuses:
        if operation not in OPERATIONS:
            raise UserError(f"field {name!r} refuses {operation!r}; it may refuse {', '.join(OPERATIONS)}")
    return OBJECT_FIELDS.add(name, field)


# Boxes last: like masks, they may find objects unsound that the others have read.
STANDARD = tuple(register_object_field(field) for field in (Classes(), IsCrowd(), Boxes()))
for _field in (Masks(), Bitmaps(), Polygons(), Keypoints()):
    register_object_field(_field)


def names_of(fields: Iterable[str | ObjectField]) -> tuple[str, ...]:
    """Names of fields, of which some are given by their names."""
    return tuple(field if isinstance(field, str) else field.name for field in fields)


def choose(fields: Iterable[str | ObjectField], known: Mapping[str, ObjectField] = _NONE) -> dict[str, ObjectField]:
    """The fields that every object has and those asked for, by name.

    Args:
        fields: names, or fields themselves.
        known: fields that are meant by their names before those that are registered.

    Raises:
        UserError: there is no field of a name; names the nearest.
    """
    fields = (fields,) if isinstance(fields, str | ObjectField) else fields
    asked = (field if isinstance(field, ObjectField) else known.get(field) or OBJECT_FIELDS[field] for field in fields)
    return {field.name: field for field in (*STANDARD, *asked)}
