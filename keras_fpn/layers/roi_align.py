"""RoIAlign over the levels of a pyramid (Mask R-CNN, section 3; level rule of FPN, eq. 1).

The reference is the C++ operator that detectron2 and torchvision share: a bin is the mean of bilinear reads at
regularly spaced points; a point more than one cell outside the map counts as 0; one up to a cell outside is read at
the border. Three implementations give the same numbers:

"product"
    A sparse matrix of what each bin reads, times the cells of the level (`ops.sparse_pooling`). The fastest on a CPU,
    its gradient above all, which is the same every time.
"crop_and_resize"
    TensorFlow's fused operator on each level padded by one cell of its own border, which makes the operator's rule
    at the border the reference's. For GPUs.
"gather"
    Only gathers and arithmetic, for runtimes without that operator.
"""

from collections.abc import Sequence

import keras
import tensorflow as tf

from keras_fpn.layers.roi_pooling import RoIPooling
from keras_fpn.ops.ordered_gradients import crop_and_resize, has_gpu
from keras_fpn.ops.sparse_pooling import mean_of_points

IMPLEMENTATIONS = ("auto", "product", "crop_and_resize", "gather")
OUTSIDE = -1e6  # cells; no map reaches so far, and what lies outside is read as 0


@keras.saving.register_keras_serializable("keras_fpn")
class RoIAlign(RoIPooling):
    """Crops of fixed size from the level that suits each box.

    Args:
        output_size: height and width of a crop, in bins.
        sampling_ratio: points in a bin along each axis; 0 takes ceil(box side / output size), each box its own.
        aligned: True shifts by half a cell so that pixel centres match (detectron2); False is the first version,
            which also widens boxes to at least one cell (Detectron, torchvision).
        strides: `{level: pixels between cells}` of the levels that are read.
        canonical_size, canonical_level: see `levels.roi_levels`.
        implementation: one of those above, or "auto": "crop_and_resize" where TensorFlow sees a GPU, else "product".
    """

    def __init__(
        self,
        output_size=7,
        sampling_ratio=2,
        aligned=True,
        strides=None,
        canonical_size=224.0,
        canonical_level=4,
        implementation="auto",
        **kwargs,
    ):
        super().__init__(output_size, strides, canonical_size, canonical_level, **kwargs)
        if implementation not in IMPLEMENTATIONS:
            raise ValueError(f"implementation must be one of {IMPLEMENTATIONS}, not {implementation!r}")
        self.sampling_ratio = sampling_ratio
        self.aligned = aligned
        self.implementation = implementation

    def crop(self, maps: Sequence[tf.Tensor], boxes: tf.Tensor, images: tf.Tensor, own_level: tf.Tensor) -> tf.Tensor:
        """Crops `[N, s, s, C]` of N boxes; the exporters put the operator of their runtime in its place.

        Args:
            maps: `[B, h, w, C]` of each level, in the order of `strides`.
            boxes: `[N, 4]` pixels of the network's input.
            images, own_level: `[N]` int32, the index of each box's image and of its level among `maps`.
        """
        crop = {"product": self._by_product, "crop_and_resize": self.crop_by_operator, "gather": self._by_gather}
        fitting = "crop_and_resize" if has_gpu() else "product"
        return crop[fitting if self.implementation == "auto" else self.implementation](maps, boxes, images, own_level)

    def grid(self, boxes: tf.Tensor, stride: float | tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Start and size of boxes in cells, `[N, 2]` (y, x) each, and points in a bin, `[N, 2]` int32."""
        scale = 1.0 / tf.cast(stride, tf.float32)
        start = tf.reverse(boxes[:, :2], [1]) * scale
        size = tf.reverse(boxes[:, 2:], [1]) * scale - start
        if self.aligned:
            start -= 0.5
        else:
            size = tf.maximum(size, 1.0)
        if self.sampling_ratio > 0:
            points = tf.fill(tf.shape(size), self.sampling_ratio)
        else:
            # Ceiling by floor division: in a graph, TensorFlow makes of x / 7 the product x * (1 / 7), and 42 / 7 more
            # than 6.
            points = tf.cast(-(-size // self.output_size), tf.int32)
        return start, size, points

    # product --------------------------------------------------------------------------------------------------

    def _by_product(self, maps, boxes, images, own_level):
        places, crops = [], []
        for index, (feature, stride) in enumerate(zip(maps, self.strides.values(), strict=True)):
            of_level = tf.cast(tf.where(own_level == index)[:, 0], tf.int32)
            start, size, points = self.grid(tf.gather(boxes, of_level), float(stride))
            start, counts = _at_least_one_point(start, points)
            placed = start, size, counts, tf.gather(images, of_level)
            wide = tf.cast(feature, keras.backend.result_type(feature.dtype, "float32"))  # no product has bfloat16
            crops.append(mean_of_points(wide, *placed, self.output_size))
            places.append(of_level)
        return tf.cast(tf.dynamic_stitch(places, crops), maps[0].dtype)

    # crop_and_resize ------------------------------------------------------------------------------------------

    def crop_by_operator(
        self, maps: Sequence[tf.Tensor], boxes: tf.Tensor, images: tf.Tensor, own_level: tf.Tensor
    ) -> tf.Tensor:
        """`crop` by "crop_and_resize"."""
        places, crops = [], []
        for index, (feature, stride) in enumerate(zip(maps, self.strides.values(), strict=True)):
            of_level = tf.cast(tf.where(own_level == index)[:, 0], tf.int32)
            start, size, points = self.grid(tf.gather(boxes, of_level), float(stride))
            # float32: the operator knows no bfloat16.
            level = (_pad_border(tf.cast(feature, tf.float32)), start, size, tf.gather(images, of_level))
            if self.sampling_ratio > 0:
                ratio = self.sampling_ratio
                samples = self._sample(*level, tf.constant([ratio, ratio]))
                crops.append(tf.nn.avg_pool2d(samples, ratio, ratio, "VALID"))
            else:
                crop, order = self._crop_each_count(level, points)
                crops.append(crop)
                of_level = tf.gather(of_level, order)
            places.append(of_level)
        return tf.cast(tf.dynamic_stitch(places, crops), maps[0].dtype)

    def _crop_each_count(self, level, points):
        """Crops of the boxes of one level, group by group, each with its own number of points in a bin; their order."""
        padded, start, size, images = level
        start, counts = _at_least_one_point(start, points)
        groups, group_of_box = tf.unique(counts[:, 0] * 65536 + counts[:, 1])
        number = tf.size(groups)
        shape = [self.output_size, self.output_size, padded.shape[-1]]
        # The first element is empty: a level without boxes still has something to concatenate.
        crops = tf.TensorArray(tf.float32, number + 1, infer_shape=False, element_shape=[None, *shape])
        order = tf.TensorArray(tf.int32, number + 1, infer_shape=False, element_shape=[None])
        crops, order = crops.write(0, tf.zeros([0, *shape])), order.write(0, tf.zeros([0], tf.int32))

        def step(index, crops, order):
            members = tf.cast(tf.where(group_of_box == index)[:, 0], tf.int32)
            count = tf.stack([groups[index] // 65536, groups[index] % 65536])
            samples = self._sample(padded, *(tf.gather(part, members) for part in (start, size, images)), count)
            crop = self._mean_of_bins(samples, count)
            return index + 1, crops.write(index + 1, crop), order.write(index + 1, members)

        _, crops, order = tf.while_loop(lambda index, *_: index < number, step, (0, crops, order))
        return crops.concat(), order.concat()

    def _sample(self, padded, start, size, images, count):
        """`count` (y, x) points in every bin: `[N, output_size * count y, output_size * count x, C]` float32."""
        total = self.output_size * count  # points along each axis
        step = size / tf.cast(total, tf.float32)
        first = start + 0.5 * step + 1.0  # + 1: the padded border
        last = first + step * tf.cast(total - 1, tf.float32)
        limits = tf.cast(tf.shape(padded)[1:3] - 1, tf.float32)
        normalised = tf.concat([first / limits, last / limits], axis=1)
        return crop_and_resize(padded, normalised, images, total)

    def _mean_of_bins(self, samples, count):
        # Axis by axis, always the middle one of three: TensorFlow reduces two axes of six many times slower, and its
        # pooling wants the size of a bin to be known in advance.
        channels, side = samples.shape[-1], self.output_size
        rows = tf.reshape(samples, [tf.shape(samples)[0] * side, count[0], side * count[1] * channels])
        cells = tf.reshape(tf.reduce_mean(rows, axis=1), [tf.shape(samples)[0] * side * side, count[1], channels])
        return tf.reshape(tf.reduce_mean(cells, axis=1), [-1, side, side, channels])

    # gather ---------------------------------------------------------------------------------------------------

    def _by_gather(self, maps, boxes, images, own_level):
        channels = maps[0].shape[-1]
        heights = tf.stack([tf.shape(feature)[1] for feature in maps])
        widths = tf.stack([tf.shape(feature)[2] for feature in maps])
        cells = tf.shape(maps[0])[0] * heights * widths
        rows = tf.concat([tf.reshape(feature, [-1, channels]) for feature in maps], axis=0)
        height, width = tf.gather(heights, own_level), tf.gather(widths, own_level)
        base = tf.gather(tf.cumsum(cells, exclusive=True), own_level) + images * height * width
        strides = tf.constant([float(stride) for stride in self.strides.values()])
        start, size, points = self.grid(boxes, tf.gather(strides, own_level)[:, None])

        def read(index_y, index_x):
            """The `index_y, index_x`-th point of every bin, 0 where a box has fewer: `[N, s, s, C]`."""
            y, weight_y = self._axis(start[:, 0], size[:, 0], points[:, 0], index_y, height)
            x, weight_x = self._axis(start[:, 1], size[:, 1], points[:, 1], index_x, width)
            value = 0.0
            for yi, wy in zip(y, weight_y, strict=True):
                for xi, wx in zip(x, weight_x, strict=True):
                    at = base[:, None, None] + yi[:, :, None] * width[:, None, None] + xi[:, None, :]
                    weight = (wy[:, :, None] * wx[:, None, :])[..., None]
                    value += tf.cast(tf.gather(rows, at), tf.float32) * weight
            return value

        total = self._sum_points(read, points, tf.shape(boxes)[0], channels)
        number = tf.cast(tf.maximum(points[:, 0] * points[:, 1], 1), tf.float32)
        return tf.cast(total / number[:, None, None, None], maps[0].dtype)

    def _axis(self, start, size, points, index, limit):
        """Cells and weights of the two reads along one axis for the `index`-th point of every bin, `[N, s]` each."""
        number = tf.maximum(points, 1)[:, None]
        # As steps from the start: points that lie on whole cells, such as the map's edge, must come out whole.
        step = size[:, None] / tf.cast(self.output_size * number, tf.float32)
        nth = tf.cast(tf.range(self.output_size)[None] * number + index, tf.float32) + 0.5
        position = start[:, None] + nth * step
        last = tf.cast(limit - 1, tf.float32)[:, None]
        counts = (position >= -1.0) & (position <= last + 1.0) & (index < points)[:, None]
        position = tf.minimum(tf.maximum(position, 0.0), last)
        low = tf.floor(position)
        fraction = position - low
        counts = tf.cast(counts, tf.float32)
        cells = tf.cast(low, tf.int32), tf.cast(tf.minimum(low + 1.0, last), tf.int32)
        return cells, ((1.0 - fraction) * counts, fraction * counts)

    def _sum_points(self, read, points, number, channels):
        if self.sampling_ratio > 0:
            indices = range(self.sampling_ratio)
            return sum(read(index_y, index_x) for index_y in indices for index_x in indices)
        most = tf.reduce_max(tf.concat([points, [[1, 1]]], axis=0), axis=0)
        start = tf.zeros([number, self.output_size, self.output_size, channels])

        def step(index, total):
            return index + 1, total + read(index // most[1], index % most[1])

        return tf.while_loop(lambda index, _: index < most[0] * most[1], step, (0, start), parallel_iterations=1)[1]


def _pad_border(feature):
    """Repeat the outermost cells once on every side. `[B, h, w, C] -> [B, h + 2, w + 2, C]`"""
    # SYMMETRIC repeats the border itself, which by one cell is edge padding.
    return tf.pad(feature, [[0, 0], [1, 1], [1, 1], [0, 0]], mode="SYMMETRIC")


def _at_least_one_point(start, points):
    """Boxes of one point at least; one without extent has none to read, is 0 in the reference and goes outside."""
    return tf.where(tf.reduce_all(points > 0, axis=1, keepdims=True), start, OUTSIDE), tf.maximum(points, 1)
