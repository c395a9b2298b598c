"""Seconds and memory of `keras-fpn data check` on a data set of the size of COCO's: 100,000 images, 900,000 boxes.

    python benchmarks/data_check.py [--out DIR] [--images N] [--boxes N] [--keep]

The pictures are copies of one small JPEG whose comment holds a number: all have one length and bytes of their own. One
validation image in a hundred is a copy of a training image. Boxes, of 80 classes, lie anywhere; one in a thousand
stands twice. The check runs in a process of its own, whose peak memory is the system's figure. What the quick half of
a training run takes is measured besides.
"""

import argparse
import io
import json
import resource
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

WIDTH, HEIGHT, CLASSES = 64, 48, 80


def write_data_set(folder: Path, images: int, boxes: int) -> None:
    """Write a COCO layout of this many images and boxes, a twentieth of them for validation."""
    buffer = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(buffer, "JPEG", quality=30)
    picture, of_val = buffer.getvalue(), max(images // 20, 1)
    (folder / "annotations").mkdir(parents=True)
    for half, first, number in (("train", 0, images - of_val), ("val", images - of_val, of_val)):
        (folder / half).mkdir()
        for index in range(first, first + number):
            is_copy = half == "val" and index % 100 == 0
            (folder / half / f"{index:06d}.jpg").write_bytes(_numbered(picture, index - first if is_copy else index))
        document = _annotations(first, number, boxes * number // images)
        (folder / "annotations" / f"instances_{half}.json").write_text(json.dumps(document))


def _numbered(picture, number):
    comment = b"%08d" % number
    return picture[:2] + b"\xff\xfe" + struct.pack(">H", len(comment) + 2) + comment + picture[2:]


def _annotations(first, images, boxes):
    draw = np.random.default_rng(first)
    start, share = draw.uniform(0, 0.7, (boxes, 2)), draw.uniform(0.05, 0.3, (boxes, 2))
    sides = np.round(np.concatenate([start, share], 1) * [WIDTH, HEIGHT, WIDTH, HEIGHT], 2)
    sides[::1000] = sides[1::1000][: len(sides[::1000])]
    owners = first + np.arange(boxes) * images // boxes
    items = [
        {"id": index + 1, "image_id": int(owner), "category_id": index // 2 % CLASSES + 1, "bbox": box, "iscrowd": 0,
         "area": box[2] * box[3]}
        for index, (owner, box) in enumerate(zip(owners.tolist(), sides.tolist(), strict=True))
    ]  # fmt: skip
    return {
        "images": [
            {"id": index, "file_name": f"{index:06d}.jpg", "width": WIDTH, "height": HEIGHT}
            for index in range(first, first + images)
        ],
        "annotations": items,
        "categories": [{"id": number, "name": f"class {number}"} for number in range(1, CLASSES + 1)],
    }


def measure(folder: Path) -> tuple[float, float, float]:
    """(seconds, seconds of processors, peak memory in GB) of the command on a data set."""
    command = [sys.executable, "-m", "keras_fpn", "data", "check", str(folder), "--out", str(folder / "page.html"),
               "--json", str(folder / "found.json")]  # fmt: skip
    start = time.monotonic()
    code = subprocess.run(command, check=False).returncode
    seconds = time.monotonic() - start
    if code not in (0, 1):
        raise SystemExit(f"the check failed with exit code {code}")
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return seconds, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024 / 1e9


def measure_quick(folder: Path) -> tuple[float, float]:
    """(seconds, seconds of processors) of the quick half, on data that training has read."""
    from keras_fpn.config.loading import load_config
    from keras_fpn.data import read_coco
    from keras_fpn.data.checks.quick import quick_line

    halves = {
        half: read_coco(folder / "annotations" / f"instances_{half}.json", folder / half) for half in ("train", "val")
    }
    resize = load_config().model.resize.model_dump()
    start, used = time.monotonic(), time.process_time()
    print(quick_line(halves, resize))
    return time.monotonic() - start, time.process_time() - used


def main() -> None:
    """Write the data set, check it, print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="folder for the data set; a temporary one by default")
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--boxes", type=int, default=900_000)
    parser.add_argument("--keep", action="store_true", help="leave the data set there")
    arguments = parser.parse_args()
    folder = arguments.out or Path(tempfile.mkdtemp()) / "data"
    if not folder.is_dir():
        write_data_set(folder, arguments.images, arguments.boxes)
    seconds, used, memory = measure(folder)
    quick, of_quick = measure_quick(folder)
    print(
        f"{arguments.images:,} images, {arguments.boxes:,} boxes: {seconds:.1f} s ({used:.1f} s of processors),"
        f" {memory:.2f} GB at most; quick half {quick:.2f} s ({of_quick:.2f} s)"
    )
    if not arguments.keep:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
