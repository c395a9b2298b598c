"""The published files that have a name here: where each is, what tells that it is whole, what it reached.

URLs, sizes and figures are those of torchvision's weight tables and of detectron2's model zoo. Both put the first
digits of a digest into the name of the file, torchvision of its SHA-256 and detectron2 of its MD5; nothing longer is
published.
"""

import dataclasses
import difflib
import hashlib
import os
import re
from collections.abc import Iterable
from pathlib import Path

_CHUNK = 1 << 20


@dataclasses.dataclass(frozen=True)
class Digest:
    """First hexadecimal digits of a file's digest; `algorithm` is "sha256" or "md5"."""

    algorithm: str
    digits: str

    def __str__(self) -> str:
        return f"{'SHA-256' if self.algorithm == 'sha256' else 'MD5'} {self.digits}..."

    def of(self, path: str | os.PathLike) -> "Digest":
        """The same number of digits of another file."""
        computed = hashlib.new(self.algorithm, usedforsecurity=False)
        with open(path, "rb") as stream:
            while chunk := stream.read(_CHUNK):
                computed.update(chunk)
        return dataclasses.replace(self, digits=computed.hexdigest()[: len(self.digits)])


@dataclasses.dataclass(frozen=True)
class PublishedFile:
    """A file that a source publishes.

    Attributes:
        name: the model's at its source, with what tells its versions apart.
        source: "torchvision" or "detectron2".
        url: where it is.
        digest: what its name says of its content.
        kind: what it is, in words.
        reached: what its source says that it reaches, on COCO val2017 or, for a classifier, on ImageNet.
        megabytes: its size in 10^6 bytes, None where the source does not say.
    """

    name: str
    source: str
    url: str
    digest: Digest
    kind: str
    reached: str
    megabytes: float | None = None

    @property
    def file_name(self) -> str:
        """Last part of the URL, by which some of its users tell files with the same tensors apart."""
        return self.url.rpartition("/")[2]


def find(name: str | os.PathLike) -> PublishedFile | None:
    """The file of that name; None for another name, and where a file or folder of that name is there, which wins."""
    file = FILES.get(os.fspath(name))  # type: ignore[arg-type]
    return None if file is not None and Path(name).exists() else file


def hint(name: str | os.PathLike) -> str:
    """`"; did you mean X?"` for what is nearly a name or is the file of one, else where the names are listed."""
    text = os.fspath(name)
    named = {file.file_name: file.name for file in FILES.values()} | {name: name for name in FILES}
    named = {key.lower(): name for key, name in named.items()}  # "fpn" is nearer to "FPN" than to "C4"
    close = difflib.get_close_matches(Path(str(text)).name.lower(), list(named), n=1, cutoff=0.75)
    if close:
        return f"; did you mean the published {named[close[0]]!r}?"
    return "; keras-fpn weights lists the names of published files"


def not_yet_a_model(name: str | os.PathLike) -> str:
    """`"; keras-fpn convert ..."` for a published file's name where a model is wanted, "" for any other name."""
    if os.fspath(name) not in FILES:
        return ""
    return f"; keras-fpn convert {name} --out {name}.keras makes one of the published file"


def _torchvision(name, kind, reached, mebibytes, file):
    (digits,) = re.findall(r"-([0-9a-f]{8})\.pth$", file)
    url = f"https://download.pytorch.org/models/{file}"
    return PublishedFile(name, "torchvision", url, Digest("sha256", digits), kind, reached, mebibytes * 1.048576)


def _detectron2(folder, name, kind, reached, number, digits):
    url = f"https://dl.fbaipublicfiles.com/detectron2/{folder}/{name}/{number}/model_final_{digits}.pkl"
    return PublishedFile(name, "detectron2", url, Digest("md5", digits), kind, reached)


def _by_name(files: Iterable[PublishedFile]) -> dict[str, PublishedFile]:
    return {file.name: file for file in files}


_BOX, _MASK, _POINTS, _MISC = "COCO-Detection", "COCO-InstanceSegmentation", "COCO-Keypoints", "Misc"
_VITDET = "ViTDet/COCO"
_FASTER, _MASKED, _KEYPOINT, _CLASSIFIER = "Faster R-CNN", "Mask R-CNN", "Keypoint R-CNN", "ImageNet classifier"
_CASCADE = "Cascade Mask R-CNN"
_RETINANET = "RetinaNet"
FILES = _by_name([
    _torchvision("fasterrcnn_resnet50_fpn", _FASTER, "box AP 37.0", 159.743,
                 "fasterrcnn_resnet50_fpn_coco-258fb6c6.pth"),
    _torchvision("fasterrcnn_resnet50_fpn_v2", _FASTER, "box AP 46.7", 167.104,
                 "fasterrcnn_resnet50_fpn_v2_coco-dd69338a.pth"),
    _torchvision("fasterrcnn_mobilenet_v3_large_fpn", _FASTER, "box AP 32.8", 74.239,
                 "fasterrcnn_mobilenet_v3_large_fpn-fb6a3cc7.pth"),
    _torchvision("fasterrcnn_mobilenet_v3_large_320_fpn", _FASTER, "box AP 22.8", 74.239,
                 "fasterrcnn_mobilenet_v3_large_320_fpn-907ea3f9.pth"),
    _torchvision("maskrcnn_resnet50_fpn", _MASKED, "box AP 37.9, mask AP 34.6", 169.84,
                 "maskrcnn_resnet50_fpn_coco-bf2d0c1e.pth"),
    _torchvision("maskrcnn_resnet50_fpn_v2", _MASKED, "box AP 47.4, mask AP 41.8", 177.219,
                 "maskrcnn_resnet50_fpn_v2_coco-73cbd019.pth"),
    _torchvision("keypointrcnn_resnet50_fpn", _KEYPOINT, "box AP 54.6, keypoint AP 65.0", 226.054,
                 "keypointrcnn_resnet50_fpn_coco-fc266e95.pth"),
    _torchvision("keypointrcnn_resnet50_fpn_legacy", _KEYPOINT, "box AP 50.6, keypoint AP 61.1", 226.054,
                 "keypointrcnn_resnet50_fpn_coco-9f466800.pth"),
    _torchvision("retinanet_resnet50_fpn", _RETINANET, "box AP 36.4", 130.267,
                 "retinanet_resnet50_fpn_coco-eeacb38b.pth"),
    _torchvision("retinanet_resnet50_fpn_v2", _RETINANET, "box AP 41.5", 146.037,
                 "retinanet_resnet50_fpn_v2_coco-5905b1c5.pth"),
    _torchvision("fcos_resnet50_fpn", "FCOS", "box AP 39.2", 123.608, "fcos_resnet50_fpn_coco-99b0c9b7.pth"),
    _torchvision("resnet18", _CLASSIFIER, "top-1 69.758", 44.661, "resnet18-f37072fd.pth"),
    _torchvision("resnet34", _CLASSIFIER, "top-1 73.314", 83.275, "resnet34-b627a593.pth"),
    _torchvision("resnet50", _CLASSIFIER, "top-1 76.130", 97.781, "resnet50-0676ba61.pth"),
    _torchvision("resnet50_v2", _CLASSIFIER, "top-1 80.858", 97.79, "resnet50-11ad3fa6.pth"),
    _torchvision("resnet101", _CLASSIFIER, "top-1 77.374", 170.511, "resnet101-63fe2227.pth"),
    _torchvision("resnet101_v2", _CLASSIFIER, "top-1 81.886", 170.53, "resnet101-cd907fc2.pth"),
    _torchvision("resnet152", _CLASSIFIER, "top-1 78.312", 230.434, "resnet152-394f9c45.pth"),
    _torchvision("resnet152_v2", _CLASSIFIER, "top-1 82.284", 230.474, "resnet152-f82ba261.pth"),
    _torchvision("resnext50_32x4d", _CLASSIFIER, "top-1 77.618", 95.789, "resnext50_32x4d-7cdf4587.pth"),
    _torchvision("resnext50_32x4d_v2", _CLASSIFIER, "top-1 81.198", 95.833, "resnext50_32x4d-1a0047aa.pth"),
    _torchvision("resnext101_32x8d", _CLASSIFIER, "top-1 79.312", 339.586, "resnext101_32x8d-8ba56ff5.pth"),
    _torchvision("resnext101_32x8d_v2", _CLASSIFIER, "top-1 82.834", 339.673, "resnext101_32x8d-110c445d.pth"),
    _torchvision("resnext101_64x4d", _CLASSIFIER, "top-1 83.246", 319.318, "resnext101_64x4d-173b62eb.pth"),
    _torchvision("mobilenet_v3_large", _CLASSIFIER, "top-1 74.042", 21.114, "mobilenet_v3_large-8738ca79.pth"),
    _torchvision("mobilenet_v3_large_v2", _CLASSIFIER, "top-1 75.274", 21.107, "mobilenet_v3_large-5c1a4163.pth"),
    _torchvision("swin_t", _CLASSIFIER, "top-1 81.474", 108.19, "swin_t-704ceda3.pth"),
    _torchvision("swin_s", _CLASSIFIER, "top-1 83.196", 189.786, "swin_s-5e29d889.pth"),
    _torchvision("swin_b", _CLASSIFIER, "top-1 83.582", 335.364, "swin_b-68c6b09e.pth"),
    _torchvision("convnext_tiny", _CLASSIFIER, "top-1 82.520", 109.119, "convnext_tiny-983f1562.pth"),
    _torchvision("convnext_small", _CLASSIFIER, "top-1 83.616", 191.703, "convnext_small-0c510722.pth"),
    _torchvision("convnext_base", _CLASSIFIER, "top-1 84.062", 338.064, "convnext_base-6075fbad.pth"),
    _torchvision("convnext_large", _CLASSIFIER, "top-1 84.414", 754.537, "convnext_large-ea097f82.pth"),
    _detectron2(_BOX, "faster_rcnn_R_50_FPN_1x", _FASTER, "box AP 37.9", 137257794, "b275ba"),
    _detectron2(_BOX, "faster_rcnn_R_50_FPN_3x", _FASTER, "box AP 40.2", 137849458, "280758"),
    _detectron2(_BOX, "faster_rcnn_R_101_FPN_3x", _FASTER, "box AP 42.0", 137851257, "f6e8b1"),
    _detectron2(_BOX, "faster_rcnn_X_101_32x8d_FPN_3x", _FASTER, "box AP 43.0", 139173657, "68b088"),
    _detectron2(_BOX, "faster_rcnn_R_50_C4_1x", _FASTER, "box AP 35.7", 137257644, "721ade"),
    _detectron2(_BOX, "faster_rcnn_R_50_C4_3x", _FASTER, "box AP 38.4", 137849393, "f97cb7"),
    _detectron2(_BOX, "faster_rcnn_R_101_C4_3x", _FASTER, "box AP 41.1", 138204752, "298dad"),
    _detectron2(_BOX, "faster_rcnn_R_50_DC5_1x", _FASTER, "box AP 37.3", 137847829, "51d356"),
    _detectron2(_BOX, "faster_rcnn_R_50_DC5_3x", _FASTER, "box AP 39.0", 137849425, "68d202"),
    _detectron2(_BOX, "faster_rcnn_R_101_DC5_3x", _FASTER, "box AP 40.6", 138204841, "3e0943"),
    _detectron2(_BOX, "rpn_R_50_FPN_1x", "RPN", "AR1000 58.0", 137258492, "02ce48"),
    _detectron2(_BOX, "retinanet_R_50_FPN_1x", _RETINANET, "box AP 37.4", 190397773, "bfca0b"),
    _detectron2(_BOX, "retinanet_R_50_FPN_3x", _RETINANET, "box AP 38.7", 190397829, "5bd44e"),
    _detectron2(_BOX, "retinanet_R_101_FPN_3x", _RETINANET, "box AP 40.4", 190397697, "971ab9"),
    _detectron2(_MASK, "mask_rcnn_R_50_FPN_1x", _MASKED, "box AP 38.6, mask AP 35.2", 137260431, "a54504"),
    _detectron2(_MASK, "mask_rcnn_R_50_FPN_3x", _MASKED, "box AP 41.0, mask AP 37.2", 137849600, "f10217"),
    _detectron2(_MASK, "mask_rcnn_R_101_FPN_3x", _MASKED, "box AP 42.9, mask AP 38.6", 138205316, "a3ec72"),
    _detectron2(_MASK, "mask_rcnn_X_101_32x8d_FPN_3x", _MASKED, "box AP 44.3, mask AP 39.5", 139653917, "2d9806"),
    _detectron2(_VITDET, "mask_rcnn_vitdet_b", _MASKED, "box AP 51.6, mask AP 45.9", "f325346929", "61ccd1"),
    _detectron2(_VITDET, "mask_rcnn_vitdet_l", _MASKED, "box AP 55.5, mask AP 49.2", "f325599698", "6146ed"),
    _detectron2(_VITDET, "mask_rcnn_vitdet_h", _MASKED, "box AP 56.7, mask AP 50.2", "f329145471", "7224f1"),
    _detectron2(_MISC, "cascade_mask_rcnn_R_50_FPN_1x", _CASCADE, "box AP 42.1, mask AP 36.4", 138602847, "e9d89b"),
    _detectron2(_MISC, "cascade_mask_rcnn_R_50_FPN_3x", _CASCADE, "box AP 44.3, mask AP 38.5", 144998488, "480dd8"),
    _detectron2(_POINTS, "keypoint_rcnn_R_50_FPN_1x", _KEYPOINT, "box AP 53.6, keypoint AP 64.0", 137261548, "04e291"),
    _detectron2(_POINTS, "keypoint_rcnn_R_50_FPN_3x", _KEYPOINT, "box AP 55.4, keypoint AP 65.5", 137849621, "a6e10b"),
    _detectron2(
        _POINTS, "keypoint_rcnn_X_101_32x8d_FPN_3x", _KEYPOINT, "box AP 57.3, keypoint AP 66.0", 139686956, "5ad38f"
    ),
])  # fmt: skip
