"""Write turned.heic: the picture of tests/data/test_picture_formats.py, stored sideways, with the turn that mends it.

Needs pillow-heif, which encodes; written with pillow-heif 1.8.1 (libheif 1.23.6, x265 217) and Pillow 13.0.0:

    python tests/golden/make_heic.py
"""

import pathlib

import numpy as np
import pillow_heif
from PIL import Image

HEIGHT, WIDTH, TURN_CLOCKWISE = 30, 47, 6


def drawn():
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    pixels = np.stack([5 * x, 8 * y, 3 * (x + y)], axis=-1).astype(np.uint8)
    pixels[3:9, 5:20] = [250, 10, 30]
    return Image.fromarray(pixels)


if __name__ == "__main__":
    pillow_heif.register_heif_opener()
    picture, exif = drawn(), Image.Exif()
    exif[0x0112] = TURN_CLOCKWISE
    picture.info["exif"] = exif.tobytes()  # which becomes the property "irot" of the file
    picture.save(pathlib.Path(__file__).with_name("turned.heic"), "HEIF", quality=60)
