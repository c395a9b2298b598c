"""Write published_files.json: where the sources' weights are, and what the sources say that they reach.

Run in an environment with torchvision 0.29, with detectron2's pages of models (of its repository, here of commit
02b5c4e2):

    python tests/golden/make_published_files.py MODEL_ZOO.md projects/ViTDet/README.md

`{source: {url: {"reached": {name: number}, "mebibytes": number or null}}}` of the detectors with a pyramid on ResNets,
ResNeXts or MobileNetV3-Large, Faster R-CNNs without one, cascades, ViTDet, the RPN and the ImageNet classifiers, Swin
and ConvNeXt among them.
"""

import json
import pathlib
import re
import sys

import torchvision

HERE = pathlib.Path(__file__).parent
MODELS = (
    r"(faster|mask|keypoint)rcnn_|retinanet_|fcos_"
    r"|resnet\d+$|resnext\d+_\d+x\d+d$|mobilenet_v3_large$|swin_[tsb]$|convnext_"
)
ROWS = (
    r"(?:(?:faster_rcnn|(?:cascade_)?mask_rcnn|keypoint_rcnn|retinanet|rpn)_(?:R_\d+|X_101_32x8d)_FPN_[13]x"
    r"|faster_rcnn_R_\d+_(?:C4|DC5)_[13]x|mask_rcnn_vitdet_[blh])"
)


def torchvisions():
    for name in torchvision.models.list_models():
        if re.match(MODELS, name):
            for weights in torchvision.models.get_model_weights(name):
                reached = {key: value for each in weights.meta["_metrics"].values() for key, value in each.items()}
                yield weights.url, {"reached": reached, "mebibytes": weights.meta["_file_size"]}


def detectron2s(page):
    for table in page.split("<!-- TABLE HEADER -->")[1:]:
        heads = [re.sub(r"<br/>", " ", head) for head in re.findall(r"<th[^>]*>(.*?)</th>", table)]
        for row in table.split("<!-- ROW:")[1:]:
            urls = re.findall(rf'href="([^"]+/(?:COCO-\w+|Misc|ViTDet/COCO)/{ROWS}/[^"]+)">model<', row)
            cells = [re.sub(r"<[^>]+>", "", cell) for cell in re.findall(r"<td[^>]*>(.*?)</td>", row)]
            if urls:
                pairs = zip(heads, cells, strict=True)
                reached = {head: float(cell) for head, cell in pairs if re.search(r"A[PR]$", head) and cell}
                yield urls[0], {"reached": reached, "mebibytes": None}


pages = [pathlib.Path(name).read_text() for name in sys.argv[1:]]
written = {"torchvision": dict(torchvisions()), "detectron2": {k: v for page in pages for k, v in detectron2s(page)}}
(HERE / "published_files.json").write_text(json.dumps(written, indent=1) + "\n")
