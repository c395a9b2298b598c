"""RoIs read from all levels and fused after a fully connected layer of each (Liu et al., PANet, CVPR 2018, 3.2)."""

import keras

from keras_fpn.layers.adaptive_roi_align import AdaptiveRoIAlign


@keras.saving.register_keras_serializable("keras_fpn")
class AdaptiveRoIVectors(AdaptiveRoIAlign):
    """A vector of each box: of its crops of every level, each through a fully connected layer of its own, the maximum.

    That layer is the first of the two of the authors' head (roi_2mlp_head_gn_panet of ShuLiu1993/PANet), so that a head
    after this pooling has one fully connected layer. A vector leaves as a map of one cell, `[B, R, 1, 1, units]`.

    Args:
        units: of the vector.
        norm: None, or a kind of `build_norm` of the vector before the ReLU; the bias stays (as the authors').
        norm_epsilon: of the normalisation.
        **kwargs: see `RoIAlign`.
    """

    def __init__(self, units=1024, norm=None, norm_epsilon=1e-5, **kwargs):
        super().__init__(norm, norm_epsilon, **kwargs)
        self.units = units

    def make_first_layer(self, channels: int, name: str) -> keras.layers.Layer:
        """See `AdaptiveRoIAlign.make_first_layer`."""
        initializer = keras.initializers.VarianceScaling(1.0, "fan_in", "uniform")  # Caffe2's XavierFill
        return keras.layers.Dense(self.units, kernel_initializer=initializer, dtype=self.dtype_policy, name=name)

    def read_shape(self, channels: int) -> tuple[int, int, int]:
        """See `AdaptiveRoIAlign.read_shape`."""
        return 1, 1, self.output_size**2 * channels

    def crop_shape(self, channels: int) -> tuple[int, int, int]:
        """See `RoIPooling.crop_shape`."""
        return 1, 1, self.units
