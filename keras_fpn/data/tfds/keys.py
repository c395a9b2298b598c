"""Features of a TFDS data set that are named by hand: what a command, a function and a name in `tfds:` may say."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

from keras_fpn.console.errors import UserError
from keras_fpn.console.naming import nearest

BOX_FORMS = ("REL_YXYX", "REL_XYXY", "YXYX", "XYXY", "XYWH")  # TFDS's own names; REL: shares 0..1 of the image


@dataclass(frozen=True)
class Keys:
    """Names of features, with slashes between nested ones; None where the data set itself is to tell, "" for none.

    Attributes:
        objects_key: of the sequence of an image's objects.
        box_key, label_key, ignore_key: of an object; where its `ignore_key` is 1 or true, it is neither learnt nor
            measured.
        object_id_key, area_key: of an object.
        image_key, image_id_key, file_name_key: of an image.
        class_name: of the one class, where objects have no label.
        box_form: one of `BOX_FORMS`.
    """

    objects_key: str | None = None
    box_key: str | None = None
    label_key: str | None = None
    ignore_key: str | None = None
    object_id_key: str | None = None
    area_key: str | None = None
    image_key: str | None = None
    image_id_key: str | None = None
    file_name_key: str | None = None
    class_name: str | None = None
    box_form: str | None = None

    def over(self, others: "Keys") -> "Keys":
        """These, and those of the `others` that these leave open."""
        own = {name: value for name, value in vars(self).items() if value is not None}
        return Keys(**{**vars(others), **own})


NAMES = tuple(field.name for field in dataclasses.fields(Keys))


def read_keys(given: Mapping[str, str], source: str) -> Keys:
    """The keys of a mapping from the names of the attributes of `Keys`.

    Args:
        source: for errors.

    Raises:
        UserError: there is no such name, or no such form of boxes.
    """
    unknown = next((name for name in given if name not in NAMES), None)
    if unknown is not None:
        raise UserError(f"{source}: unknown option {unknown!r}{nearest(unknown, NAMES)}")
    form = given.get("box_form")
    if form is not None and form not in BOX_FORMS:
        raise UserError(f"{source}: box_form {form!r} is none; valid are {', '.join(BOX_FORMS)}")
    return Keys(**given)
