"""Fields of an object's label: its class, and whether it is one object or a crowd of them."""

import numpy as np

from keras_fpn.console.errors import UserError
from keras_fpn.data.fields.field import ObjectField
from keras_fpn.data.objects import Objects, short


class Classes(ObjectField):
    """Class 0..K-1 of each object, in the order of the data set's category ids; padding -1."""

    name, dtype, padding = "classes", "int32", -1

    def read(self, objects: Objects) -> tuple[np.ndarray, np.ndarray]:
        """See `ObjectField`; every category must be one of the data set's."""
        numbers = objects.numbers("category_id", "int64", wanted="a whole number")
        class_of = {number: label for label, number in enumerate(objects.category_ids)}
        classes = np.array([class_of.get(number, -1) for number in numbers.tolist()], np.int32)
        if (classes < 0).any():
            first = int(np.argmax(classes < 0))
            raise UserError(
                f"{objects.path}: annotation {objects.entries[first]['id']} has category_id {numbers[first]}, which is"
                f' not in "categories" {short(objects.category_ids)}; correct it or add the entry'
            )
        return classes, np.ones(len(classes), bool)


class IsCrowd(ObjectField):
    """1 where a box bounds a crowd rather than one object; 0 where the file says nothing."""

    name, dtype = "is_crowd", "int32"

    def read(self, objects: Objects) -> tuple[np.ndarray, np.ndarray]:
        """See `ObjectField`; COCO's key is "iscrowd", and some programs write true and false."""
        values = [entry.get("iscrowd", 0) for entry in objects.entries]
        for index, value in enumerate(values):
            if not isinstance(value, int) or value not in (0, 1):
                name = f"{objects.path}: annotation {objects.entries[index]['id']}"
                raise UserError(f'{name} has "iscrowd" {short(value)}; write 0 or 1')
        return np.array(values, np.int32), np.ones(len(values), bool)
