"""The convolutions that heads of RoIs begin with."""

import itertools

import numpy as np
import pytest

from keras_fpn.heads.box_head import BoxHead
from keras_fpn.heads.keypoint_head import KeypointHead
from keras_fpn.heads.mask_head import MaskHead


@pytest.mark.parametrize(
    "head",
    [
        BoxHead(3, conv_layers=3, conv_channels=8),
        MaskHead(3, conv_layers=3, channels=8),
        KeypointHead(3, conv_layers=3, channels=8),
    ],
    ids=lambda head: type(head).__name__,
)
def test_no_two_of_them_begin_alike(head):
    head.build((None, None, 6, 6, 8))
    kernels = [layer.kernel.numpy() for layer in head.convolutions]
    for one, other in itertools.combinations(kernels, 2):
        assert np.abs(one - other).max() > 0.1
