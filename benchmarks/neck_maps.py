"""Which pyramids neck_inference.py and reference_neck.py time, on which maps: those of a ResNet-50."""

import argparse

WIDTHS = {2: 256, 3: 512, 4: 1024, 5: 2048}
# The learned ones read C3 to C5 and give P3 to P7, the others C2 to C5 and P2 to P6.
OPTIONS = {
    "panet": {"channels": 256},
    "pafpn": {"channels": 256},
    "bifpn": {"channels": 160, "repeats": 3},
    "nas_fpn": {"channels": 256, "repeats": 3},
}


def parser(description):
    """Of both scripts."""
    found = argparse.ArgumentParser(description=description)
    found.add_argument("name", choices=OPTIONS)
    found.add_argument("--size", default="768x1280", help="HEIGHTxWIDTH of the image, multiples of 128 (768x1280)")
    found.add_argument("--runs", type=int, default=7, help="timed runs after two that warm up (7)")
    return found


def shapes(name, size):
    """`{k: [1, h, w, C]}` of the maps that a pyramid reads."""
    height, width = map(int, size.split("x"))
    finest = 3 if "repeats" in OPTIONS[name] else 2
    return {k: [1, height // 2**k, width // 2**k, WIDTHS[k]] for k in WIDTHS if k >= finest}
