"""Encoded images in the graph: where their orientation is noted, how they are resized, errors that name the image.

That their pixels are those of every other reader: tests/data/test_picture_formats.py.
"""

import io
import resource
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from keras_fpn.data.image_heads import FORMATS, READS_WEBP
from keras_fpn.inference import images

HEIGHT, WIDTH = 30, 47
TIFF_TYPES = {"BYTE": (1, "B"), "SHORT": (3, "H"), "LONG": (4, "I")}


@pytest.fixture(scope="module")
def decode():
    """`decode(contents)` -> the batch, by a rule that leaves these images at their size."""
    import tensorflow as tf

    from keras_fpn.export.saved_model.encoded_images import decode_batch

    rule = {"min_side": HEIGHT, "max_side": 1000, "rounding": "half_up", "interpolation": "pillow", "size_divisor": 8}
    graph = tf.function(
        lambda contents: decode_batch(contents, rule), input_signature=[tf.TensorSpec([None], tf.string)]
    )
    return lambda *contents: {
        name: value.numpy() for name, value in graph(tf.constant(contents, tf.string, [len(contents)])).items()
    }


def picture(mode="RGB"):
    """Smooth colours with an edge: every pixel differs from its mirror image."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    rgb = np.stack([5 * x, 8 * y, 3 * (x + y)], axis=-1).astype(np.uint8)
    rgb[3:9, 5:20] = [250, 10, 30]
    image = Image.fromarray(rgb)
    if mode in ("RGBA", "LA"):
        image.putalpha(Image.fromarray((x * 5).astype(np.uint8)))
    return image.convert(mode)


def encoded(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def as_detect_reads(content, path):
    path.write_bytes(content)
    return images.read_image(path)[0]


def read_here(cases):
    return [case for case in cases if READS_WEBP or "WebP" not in case]


@pytest.mark.parametrize(("interpolation", "rounding"), [("pillow", "half_up"), ("bilinear", "floor")])
def test_images_of_a_batch_are_resized_as_detect_does(interpolation, rounding):
    """Expected: `resize_size` and `resize_image`, which `detect` and training use, on each image by itself."""
    import tensorflow as tf

    from keras_fpn.data import transforms
    from keras_fpn.export.saved_model.encoded_images import decode_batch

    rule = {"min_side": 37, "max_side": 50, "rounding": rounding, "interpolation": interpolation, "size_divisor": 16}
    tall = picture().transpose(Image.Transpose.ROTATE_90).resize((21, 80))
    images = [picture(), tall, picture().resize((200, 90))]
    batch = decode_batch(tf.constant([encoded(image, "PNG") for image in images]), rule)
    for index, image in enumerate(images):
        size = transforms.resize_size(image.height, image.width, 37, 50, rounding=rounding)
        expected = transforms.resize_image(np.asarray(image), *size, interpolation)
        height, width = batch["image_sizes"][index].numpy()
        assert (height, width) == tuple(map(int, size))
        assert batch["original_sizes"][index].numpy().tolist() == [image.height, image.width]
        np.testing.assert_array_equal(batch["images"][index, :height, :width], expected)
    assert batch["images"].shape[1:3] == tuple(-(-batch["image_sizes"].numpy().max(axis=0) // 16) * 16)


# Orientation --------------------------------------------------------------------------------------------------


def tiff(value, order="<", kind="SHORT", tag=274, count=1, entries_before=1):
    """A TIFF block with the tag behind `entries_before` others, written by hand."""
    number, letter = TIFF_TYPES.get(kind, (2, "I"))
    other = struct.pack(order + "HHII", 256, 4, 1, 99)
    entry = struct.pack(order + "HHI", tag, number, count) + struct.pack(order + letter, value).ljust(4, b"\0")
    directory = struct.pack(order + "H", entries_before + 1) + other * entries_before + entry + b"\0" * 4
    return (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8) + directory


def with_exif(kind, block):
    return encoded(picture(), kind, exif=b"Exif\0\0" + block)


XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'


def with_segments(*segments):
    """A JPEG with segments APP1 put before all others."""
    content = encoded(picture(), "JPEG")
    written = b"".join(b"\xff\xe1" + struct.pack(">H", len(data) + 2) + data for data in segments)
    return content[:2] + written + content[2:]


TURNED = {
    "LONG": lambda: with_exif("JPEG", tiff(6, ">", kind="LONG")),
    "first entry": lambda: with_exif("JPEG", tiff(6, entries_before=0)),
    "behind 200 entries": lambda: with_exif("PNG", tiff(6, entries_before=200)),
    "behind another APP1": lambda: with_segments(b"other\0" * 50, b"Exif\0\0" + tiff(6)),
    "padding before the marker": lambda: with_exif("JPEG", tiff(6)).replace(b"\xff\xe1", b"\xff\xff\xff\xe1", 1),
    "XMP in a JPEG": lambda: with_segments(b"http://ns.adobe.com/xap/1.0/\0" + XMP),
    "XMP in a PNG": lambda: png_with(chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP)),
    "a chunk eXIf behind the pixels": lambda: png_with(chunk(b"eXIf", tiff(6)), before=b"IEND"),
}


def png_with(written, before=b"IDAT"):
    content = encoded(picture(), "PNG")
    place = content.index(before) - 4
    return content[:place] + written + content[place:]


@pytest.mark.parametrize("form", TURNED)
def test_orientation_is_found_in_every_form(decode, tmp_path, form):
    content = TURNED[form]()
    expected = as_detect_reads(content, tmp_path / "image")
    assert expected.shape == (WIDTH, HEIGHT, 3)
    batch = decode(content)
    assert batch["original_sizes"][0].tolist() == [WIDTH, HEIGHT]
    np.testing.assert_array_equal(batch["images"][0, :WIDTH, :HEIGHT], expected)


BROKEN_EXIF = {
    "empty": b"",
    "cut in the header": tiff(6)[:6],
    "cut before the tag": tiff(6)[:21],
    "cut in the tag": tiff(6)[:-10],
    "no TIFF": b"XX" + tiff(6)[2:],
    "directory past the end": b"II*\0" + struct.pack("<I", 2**32 - 1) + tiff(6)[8:],
    "a directory of 65535 entries": b"II*\0" + struct.pack("<IH", 8, 65535),
    "orientation 0": tiff(0),
    "orientation 9": tiff(9),
    "orientation 2^32 - 1": tiff(2**32 - 1, kind="LONG"),
    "a BYTE for a SHORT": tiff(6, kind="BYTE"),
    "text for a number": tiff(6, kind="ASCII"),
    "two values": tiff(6, count=2),
}


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")  # Pillow's, of the expected side
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("fault", BROKEN_EXIF)
def test_a_broken_exif_block_is_passed_over(decode, kind, fault):
    content = with_exif(kind, BROKEN_EXIF[fault])
    stored = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
    np.testing.assert_array_equal(decode(content)["images"][0, :HEIGHT, :WIDTH], stored)


@pytest.fixture(scope="module")
def orientation():

    from keras_fpn.data import exif

    return exif.orientation


@settings(max_examples=60)
@given(block=st.binary(max_size=60), at=st.integers(0, 60), is_png=st.booleans())
def test_any_bytes_have_an_orientation(orientation, block, at, is_png):
    whole = tiff(6, entries_before=2)
    content = with_exif("PNG" if is_png else "JPEG", whole[:at] + block + whole[at:])[: 150 + at]
    assert 1 <= int(orientation(content)) <= 8


def test_a_file_of_endless_segments_ends(orientation):
    """A million empty chunks: the walk stops at its limit, well within a second."""
    content = encoded(picture(), "PNG")[:33] + chunk(b"teSt", b"") * 1_000_000
    assert int(orientation(content)) == 1


# What is no image ---------------------------------------------------------------------------------------------


def huge_png(width=50_000, height=50_000):
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 1000))


def huge_jpeg(width=50_000, height=50_000):
    """A whole JPEG whose header (SOF0) claims another size."""
    content = encoded(picture(), "JPEG")
    at = content.index(b"\xff\xc0") + 5
    return content[:at] + struct.pack(">HH", height, width) + content[at + 4 :]


def huge_webp(kind, width=16000, height=15000):
    """The head of a WebP of each kind, RFC 9649."""
    sides = {
        b"VP8X": bytes(4) + struct.pack("<I", width - 1)[:3] + struct.pack("<I", height - 1)[:3],
        b"VP8L": b"\x2f" + struct.pack("<I", (height - 1) << 14 | (width - 1)),
        b"VP8 ": bytes(3) + b"\x9d\x01\x2a" + struct.pack("<HH", width, height),
    }[kind]
    return b"RIFF" + struct.pack("<I", 100) + b"WEBP" + kind + struct.pack("<I", 88) + sides + bytes(60)


NO_IMAGES = {  # further ones: tests/data/test_picture_formats.py
    "empty": (lambda: b"", "is empty"),
    "text": (lambda: b"hello, world", f"is no {FORMATS} file"),
    "half a GIF": (lambda: encoded(picture(), "GIF")[:60], "cannot be decoded"),
    "half a BMP": (lambda: encoded(picture(), "BMP")[:2000], "cannot be decoded"),
    "half a WebP": (lambda: encoded(picture(), "WEBP", lossless=True)[:-40], "cannot be decoded"),
    "the start of a WebP": (lambda: encoded(picture(), "WEBP")[:20], "has a damaged header"),
    "a huge BMP": (lambda: b"BM" + bytes(12) + struct.pack("<IiiHHI", 40, 50000, -50000, 1, 24, 0),
                   "has 50000 x 50000 pixels by its"),
    "a huge GIF": (lambda: b"GIF89a" + struct.pack("<HH", 60000, 50000), "has 60000 x 50000 pixels by its header"),
    "a huge WebP": (lambda: huge_webp(b"VP8X"), "has 16000 x 15000 pixels by its header; at most 100000000"),
    "a huge WebP, lossless": (lambda: huge_webp(b"VP8L"), "has 16000 x 15000 pixels by its header"),
    "a huge WebP, lossy": (lambda: huge_webp(b"VP8 "), "has 16000 x 15000 pixels by its header"),
    "the start of a JPEG": (lambda: encoded(picture(), "JPEG")[:40], "has a damaged header"),
    "the start of a PNG": (lambda: encoded(picture(), "PNG")[:20], "has a damaged header"),
    "half a JPEG": (lambda: encoded(picture(), "JPEG")[:-200], "cannot be decoded"),
    "half a PNG": (lambda: encoded(picture(), "PNG")[:-100], "cannot be decoded"),
    "a PNG of no width": (lambda: huge_png(0, 10), "has a damaged header"),
    "a huge PNG": (huge_png, "has 50000 x 50000 pixels by its header; at most 100000000"),
    "a huge JPEG": (huge_jpeg, "has 50000 x 50000 pixels by its header; at most 100000000"),
    "a PNG of 2^31 - 1 squared": (lambda: huge_png(2**31 - 1, 2**31 - 1), "has 2147483647 x 2147483647 pixels"),
    "a PNG just too large": (lambda: huge_png(100_000_001, 1), "has 100000001 x 1 pixels"),
}  # fmt: skip


@pytest.mark.parametrize("what", read_here(NO_IMAGES))
def test_what_is_no_image_is_named_and_the_next_request_works(decode, what):
    import tensorflow as tf

    make, message = NO_IMAGES[what]
    good = encoded(picture(), "PNG")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(tf.errors.InvalidArgumentError) as raised:
        decode(good, make(), good)
    assert f"image_bytes[1] (image 2 of 3): {message}" in str(raised.value)
    assert "image_bytes[0]" not in str(raised.value)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kB; decoded, it would be 7.5 GB
    assert decode(good)["images"].shape == (1, 32, 48, 3)


def test_the_limit_of_pixels_may_be_another():
    import tensorflow as tf

    from keras_fpn.export.saved_model.encoded_images import decode_batch

    rule = {"min_side": HEIGHT, "max_side": 1000, "rounding": "half_up", "interpolation": "pillow", "size_divisor": 8}
    contents = tf.constant([encoded(picture(), "PNG")])
    height, width = decode_batch(contents, rule)["original_sizes"][0].numpy()
    assert decode_batch(contents, rule, int(height * width))["images"].shape[0] == 1
    with pytest.raises(tf.errors.InvalidArgumentError, match=f"at most {height * width - 1} are decoded"):
        decode_batch(contents, rule, int(height * width - 1))


def test_all_bad_images_of_a_request_are_named(decode):
    import tensorflow as tf

    with pytest.raises(tf.errors.InvalidArgumentError) as raised:
        decode(b"", encoded(picture(), "PNG"), b"text")
    assert "image_bytes[0] (image 1 of 3): is empty; image_bytes[2] (image 3 of 3): is no JPEG" in str(raised.value)


def test_a_request_without_images_says_so(decode):
    import tensorflow as tf

    with pytest.raises(tf.errors.InvalidArgumentError, match="image_bytes: no image in the request"):
        decode()
