"""Suppression and RoIAlign in ONNX's own operators.

They stand in the traced TensorFlow graph as markers: a `PyFunc` that is never run, whose token says which operator and
which attributes are meant. When the graph is converted, the operator takes the marker's place.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

if TYPE_CHECKING:
    from keras_fpn.layers.roi_align import RoIAlign

# The operator takes minus infinity for a score: "above the lowest finite number" leaves it out.
LOWEST = float(np.finfo(np.float32).min)
LARGEST = float(np.finfo(np.float32).max)
DOUBLE = 11  # ONNX's number of float64
# Cells of a map up to which a product with all of them is faster than RoiAlign. Measured in onnxruntime on two cores
# with 256 channels and 150 boxes: 4 against 9 ms at 10 x 20 cells.
CELLS_OF_PRODUCT = 512


def native(
    operator: str, inputs: list[tf.Tensor], dtype: tf.DType, shape: Sequence[int | None], **attributes: Any
) -> tf.Tensor:
    """The one output of an ONNX operator, of `dtype` and `shape` (None where unknown)."""
    token = json.dumps({"operator": operator, "attributes": attributes})
    (output,) = tf.raw_ops.PyFunc(input=inputs, token=token, Tout=[dtype])
    output.set_shape(shape)
    return output


def make_native(context: Any, node: Any, name: str, arguments: Any) -> None:
    """tf2onnx's handler of a marker: the operator that it stands for takes its place."""
    meaning = json.loads(node.get_attr_str("token"))
    inputs, outputs = list(node.input), list(node.output)
    shapes, dtypes = node.output_shapes, node.output_dtypes
    context.remove_node(name)
    context.make_node(
        meaning["operator"],
        inputs,
        attr=meaning["attributes"],
        name=name,
        outputs=outputs,
        shapes=shapes,
        dtypes=dtypes,
    )


def make_where(context: Any, node: Any, name: str, arguments: Any) -> None:
    """tf2onnx's handler of a choice between tensors: Where, instead of its own sum of products, which keeps NaN."""
    node.type = "Where"


def make_sigmoid(context: Any, node: Any, name: str, arguments: Any) -> None:
    """tf2onnx's handler of a logistic function: in float64.

    That of onnxruntime in float32 is off by one bit here and there, so that a larger logit can get a smaller score, and
    scores that are sorted by their logits would not come best first. Only scores go through it, which are few.
    """
    given, outputs, shapes, dtypes = list(node.input), list(node.output), node.output_shapes, node.output_dtypes
    context.remove_node(name)
    wide = context.make_node("Cast", given, attr={"to": DOUBLE}, shapes=shapes, dtypes=[DOUBLE])
    share = context.make_node("Sigmoid", wide.output, shapes=shapes, dtypes=[DOUBLE])
    context.make_node(
        "Cast", share.output, attr={"to": dtypes[0]}, name=name, outputs=outputs, shapes=shapes, dtypes=dtypes
    )


def make_erfc(context: Any, node: Any, name: str, arguments: Any) -> None:
    """tf2onnx's handler of the complementary error function, in TensorFlow's GELU: 1 - Erf."""
    given, outputs, shapes, dtypes = list(node.input), list(node.output), node.output_shapes, node.output_dtypes
    context.remove_node(name)
    one = context.make_const(f"{name}_one", np.ones(1, np.float32))
    erf = context.make_node("Erf", given, shapes=shapes, dtypes=dtypes)
    context.make_node("Sub", [one.output[0], erf.output[0]], name=name, outputs=outputs, shapes=shapes, dtypes=dtypes)


HANDLERS: dict[str, tuple[Callable[..., None], list]] = {
    "PyFunc": (make_native, []),
    "SelectV2": (make_where, []),
    "Sigmoid": (make_sigmoid, []),
    "Erfc": (make_erfc, []),
}


def give_axes(context: Any, nodes: list) -> list:
    """tf2onnx's rewriter: a number that is added gets an axis, without which the pass over transposes fails.

    One that is added to a number, such as the counter of a loop, stays a number.
    """
    for node in nodes:
        is_sum = node.type in ("Add", "AddV2") and context.get_shape(node.output[0]) != []
        for index, given in enumerate(node.inputs if is_sum else ()):
            if given.is_const() and given.get_tensor_value(as_list=False).shape == ():
                value = given.get_tensor_value(as_list=False).reshape(1)
                made = context.make_const(f"{node.name}_{index}_with_axis", value)
                context.replace_input(node, node.input[index], made.output[0], index)
    return nodes


# Suppression ----------------------------------------------------------------------------------------------------


def nms_mask(
    boxes: tf.Tensor, scores: tf.Tensor, iou_threshold: float, max_kept: int, score_threshold: float = float("-inf")
) -> tf.Tensor:
    """`nms.nms_mask` by one NonMaxSuppression node for all classes of all groups.

    The operator has the same rules: strictly greater IoU, strictly greater score, of equal scores the lower index. NaN
    scores are above nothing.
    """
    # One comparison that NaN and infinity in any of the four fail.
    is_finite = tf.reduce_sum(tf.abs(boxes), axis=-1) <= LARGEST
    scores = tf.where(is_finite[:, None], scores, LOWEST)
    limits = tf.constant([iou_threshold], tf.float32), tf.constant([max(score_threshold, LOWEST)], tf.float32)
    selected = native(
        "NonMaxSuppression",
        [boxes, scores, tf.constant([max_kept], tf.int64), *limits],
        tf.int64,
        [None, 3],
    )
    ones = tf.ones(tf.shape(selected, tf.int64)[:1], tf.int32)
    return tf.cast(tf.scatter_nd(selected, ones, tf.shape(scores, tf.int64)), tf.bool)


# RoIAlign -------------------------------------------------------------------------------------------------------


def crop_for(layer: "RoIAlign", resize: Mapping[str, Any]) -> Callable[..., tf.Tensor]:
    """Whichever of the two functions below is the faster for a `RoIAlign` at a model's own image size.

    Args:
        layer: a `RoIAlign`.
        resize: the model's `settings["resize"]`.
    """
    if len(layer.strides) > 1 or layer.sampling_ratio == 0:
        return crop_by_level
    (stride,) = layer.strides.values()
    cells = -(-resize["min_side"] // stride) * -(-resize["max_side"] // stride)
    return crop_by_product if cells <= CELLS_OF_PRODUCT else crop_by_level


def crop_by_level(
    layer: "RoIAlign", maps: list[tf.Tensor], boxes: tf.Tensor, images: tf.Tensor, own_level: tf.Tensor
) -> tf.Tensor:
    """`RoIAlign.crop` by a RoiAlign node for each level."""
    images = tf.cast(images, tf.int64)
    if len(maps) == 1:
        return tf.transpose(_roi_align(layer, maps[0], boxes, images, *layer.strides.values()), [0, 2, 3, 1])
    places, crops = [], []
    for index, (feature, stride) in enumerate(zip(maps, layer.strides.values(), strict=True)):
        of_level = tf.where(own_level == index)[:, 0]
        crops.append(_roi_align(layer, feature, tf.gather(boxes, of_level), tf.gather(images, of_level), stride))
        places.append(of_level)
    places = tf.concat(places, axis=0)
    number = tf.shape(places, tf.int64)
    order = tf.scatter_nd(places[:, None], tf.range(number[0]), number)
    return tf.transpose(tf.gather(tf.concat(crops, axis=0), order), [0, 2, 3, 1])


def _roi_align(layer, feature, boxes, images, stride):
    """`[n, C, s, s]` of a map `[B, h, w, C]`."""
    side = layer.output_size
    return native(
        "RoiAlign",
        [tf.transpose(feature, [0, 3, 1, 2]), boxes, images],
        tf.float32,
        [None, feature.shape[-1], side, side],
        output_height=side,
        output_width=side,
        sampling_ratio=layer.sampling_ratio,
        spatial_scale=1.0 / stride,
        coordinate_transformation_mode="half_pixel" if layer.aligned else "output_half_pixel",
    )


def crop_by_product(
    layer: "RoIAlign", maps: list[tf.Tensor], boxes: tf.Tensor, images: tf.Tensor, own_level: tf.Tensor
) -> tf.Tensor:
    """`RoIAlign.crop` of one small map: each bin is a weighted sum of all cells, one matrix product for an image.

    The boxes are those of the first image, then those of the next, equally many of each.
    """
    (feature,), (stride,) = maps, layer.strides.values()
    side, channels = layer.output_size, feature.shape[-1]
    batch, height, width = tf.unstack(tf.shape(feature)[:3])
    start, size, _ = layer.grid(boxes, float(stride))
    rows = _bin_weights(layer, start[:, :1], size[:, :1], height)  # [N, s, h]
    columns = _bin_weights(layer, start[:, 1:], size[:, 1:], width)  # [N, s, w]
    weights = rows[:, :, None, :, None] * columns[:, None, :, None, :]
    weights = tf.reshape(weights, [batch, -1, height * width])
    crops = tf.matmul(weights, tf.reshape(feature, [batch, height * width, channels]))
    return tf.reshape(crops, [-1, side, side, channels])


def _bin_weights(layer, start, size, cells):
    """Weight of each cell along an axis in each bin of N boxes, `[N, s, cells]`; start and size are `[N, 1]`."""
    ratio, points = layer.sampling_ratio, layer.output_size * layer.sampling_ratio
    nth = tf.range(points, dtype=tf.float32)[None] + 0.5
    position = start + nth * (size / points)  # [N, points]
    last = tf.cast(cells - 1, tf.float32)
    counts = (position >= -1.0) & (position <= last + 1.0)
    position = tf.minimum(tf.maximum(position, 0.0), last)
    distance = tf.abs(position[..., None] - tf.range(tf.cast(cells, tf.float32)))
    weights = tf.where(counts[..., None], tf.maximum(1.0 - distance, 0.0), 0.0)
    bins = tf.reshape(weights, [-1, layer.output_size, ratio, cells])
    return tf.reduce_mean(bins, axis=2)
