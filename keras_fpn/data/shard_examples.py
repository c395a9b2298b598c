"""A picture and its objects as a `tf.train.Example`, under the keys of TensorFlow's Object Detection API."""

import hashlib
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_fpn.console.picture_files import kind_of, opened_content
from keras_fpn.data.coco import Record
from keras_fpn.data.fields import ObjectField
from keras_fpn.data.objects import Objects, is_number

if TYPE_CHECKING:
    import tensorflow as tf

PICTURE = "image/encoded"  # key of the encoded picture
_HEAD = 64  # bytes that tell the format of a picture


class Area(ObjectField):
    """The "area" of each object in pixels, NaN where it has none."""

    name = "area"

    def read(self, objects: Objects) -> tuple[np.ndarray, np.ndarray]:
        """See `ObjectField`; nothing is refused, since neither training nor COCO's AP of all sizes needs it."""
        areas = [entry.get("area") for entry in objects.entries]
        column = np.array([area if is_number(area) else np.nan for area in areas], np.float32)
        return column, np.ones(len(areas), bool)


def example_of(record: Record, content: bytes, category_ids: np.ndarray, class_names: Mapping[int, str]) -> bytes:
    """The serialised example of a record that was read with the field `Area`.

    Boxes are shares 0..1 of the image in float32, and labels the data set's own category ids.

    Args:
        content: the encoded picture, which is kept as it is.
        category_ids: `[K]` int, those of classes 0..K-1.
        class_names: by category id.

    Raises:
        UserError: the content is no picture.
    """
    import tensorflow as tf

    with opened_content(content, record.name, max_pixels=sys.maxsize):  # its header
        kind = kind_of(content[:_HEAD])
    labels = category_ids[record.classes]
    names = [class_names[label].encode() for label in labels.tolist()]
    left, top, right, bottom = record.boxes.T
    area = record.fields["area"]
    features = {
        PICTURE: [content],
        "image/format": [kind.lower().encode()],
        "image/filename": [record.file_name.encode(errors="surrogateescape")],
        "image/source_id": [str(record.image_id).encode()],
        "image/key/sha256": [hashlib.sha256(content).hexdigest().encode()],
        "image/height": np.array([record.height]),
        "image/width": np.array([record.width]),
        "image/object/bbox/xmin": left / record.width,
        "image/object/bbox/xmax": right / record.width,
        "image/object/bbox/ymin": top / record.height,
        "image/object/bbox/ymax": bottom / record.height,
        "image/object/class/text": names,
        "image/object/class/label": labels,
        "image/object/is_crowd": record.is_crowd,
        "image/object/area": np.where(np.isnan(area), (right - left) * (bottom - top), area),
    }
    wrapped = {key: _feature(values) for key, values in features.items()}
    return tf.train.Example(features=tf.train.Features(feature=wrapped)).SerializeToString()


def _feature(values: Any) -> "tf.train.Feature":
    import tensorflow as tf

    if not isinstance(values, np.ndarray):
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=values))
    if values.dtype.kind in "iu":
        return tf.train.Feature(int64_list=tf.train.Int64List(value=values))
    return tf.train.Feature(float_list=tf.train.FloatList(value=values))
