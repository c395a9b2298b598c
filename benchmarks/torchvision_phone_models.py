"""torchvision's RetinaNet and FCOS on its MobileNetV3-Large, as the configurations `*_mobilenet_v3_large_320_fpn` are.

torchvision has the classes, but no such model by name. The widths, levels, anchors and towers are those of the
configurations, so that both sides do the same work; see `torchvision_inference.py`.
"""

import functools

from torch import nn
from torchvision.models import detection, mobilenet_v3_large
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.models.detection.fcos import FCOSHead
from torchvision.models.detection.retinanet import RetinaNetHead
from torchvision.ops import FrozenBatchNorm2d, feature_pyramid_network

CHANNELS, CONVOLUTIONS = 128, 2
TAPS = (4, 7, 13, 16)  # among `features`: C3, C4, C5 and the last convolution
RETINANET_SIZES = ((16, 20, 25), (32, 40, 50), (64, 80, 101), (128, 161, 203), (256, 322, 406))
FCOS_SIZES = ((8,), (16,), (32,), (32,), (64,))  # of a point, its stride


class LastLevelP7(feature_pyramid_network.ExtraFPNBlock):
    """One more level, by a convolution on the backbone's last map."""

    def __init__(self, inputs):
        super().__init__()
        self.p7 = nn.Conv2d(inputs, CHANNELS, 3, 2, 1)

    def forward(self, results, x, names):
        return [*results, self.p7(x[-1])], [*names, "p7"]


def backbone():
    features = mobilenet_v3_large(weights=None, norm_layer=FrozenBatchNorm2d).features
    widths = [features[index].out_channels for index in TAPS]
    levels = {str(index): str(number) for number, index in enumerate(TAPS)}
    return BackboneWithFPN(features, levels, widths, CHANNELS, LastLevelP7(widths[-1]))


def retinanet(num_classes):
    anchors = detection.anchor_utils.AnchorGenerator(RETINANET_SIZES, ((0.5, 1.0, 2.0),) * 5)
    head = RetinaNetHead(CHANNELS, 9, num_classes)
    for part in (head.classification_head, head.regression_head):
        part.conv = part.conv[:CONVOLUTIONS]
    return detection.RetinaNet(backbone(), num_classes, anchor_generator=anchors, head=head, detections_per_img=100)


def fcos(num_classes):
    points = detection.anchor_utils.AnchorGenerator(FCOS_SIZES, ((1.0,),) * 5)
    head = FCOSHead(CHANNELS, 1, num_classes, CONVOLUTIONS)
    return detection.FCOS(backbone(), num_classes, anchor_generator=points, head=head)


MODELS = {
    "retinanet_mobilenet_v3_large_320_fpn": functools.partial(retinanet, 80),
    "fcos_mobilenet_v3_large_320_fpn": functools.partial(fcos, 80),
}
