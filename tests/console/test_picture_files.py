"""Picture files opened: by content, by a list of formats, and not beyond a number of pixels."""

import os
import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import AvifImagePlugin, Image

from keras_fpn.console import picture_files
from keras_fpn.console.errors import UserError


def noise(height=40, width=60):
    return Image.fromarray(np.random.default_rng(0).integers(0, 255, (height, width, 3), np.uint8))


def png_head(width, height):
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk)) + data_chunk()


def data_chunk():
    chunk = b"IDAT" + zlib.compress(b"\0" * 100)
    return struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))


def gif_head(width, height):
    frame = b"," + struct.pack("<HHHH", 0, 0, width, height) + b"\0\2"
    return b"GIF89a" + struct.pack("<HH", width, height) + b"\0\0\0" + frame


def bmp_head(width, height):
    return b"BM" + struct.pack("<IHHIIiiHHIIiiII", 100, 0, 0, 54, 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)


def webp_head(width, height):
    canvas = struct.pack("<I", width - 1)[:3] + struct.pack("<I", height - 1)[:3]
    return b"RIFF\x60\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0" + canvas + b"\0" * 40


def jpeg_head(width, height, path):
    noise(8, 8).save(path, "jpeg")
    content = path.read_bytes()
    at = content.index(b"\xff\xc0")
    return content[: at + 5] + struct.pack(">HH", height, width) + content[at + 9 :]


def contents_of(kind, width, height, path):
    if kind == "jpeg":
        return jpeg_head(width, height, path)
    return {"png": png_head, "gif": gif_head, "bmp": bmp_head, "webp": webp_head}[kind](width, height)


@pytest.mark.parametrize("kind", ["jpeg", "png", "bmp", "gif", "webp", "tiff"])
def test_a_format_of_the_list_is_opened_whatever_the_name(kind, tmp_path):
    noise().save(tmp_path / "picture", kind)
    (tmp_path / "picture").rename(tmp_path / "picture.txt")
    with picture_files.opened(tmp_path / "picture.txt") as picture:
        assert picture.size == (60, 40) and picture.format in picture_files.FORMATS


@pytest.mark.parametrize("kind", ["lossless", "lossy", "transparent"])
def test_sizes_of_webp_are_those_of_its_decoder(kind, tmp_path):
    picture = noise().convert("RGBA" if kind == "transparent" else "RGB")
    if kind == "transparent":
        picture.putalpha(9)
    picture.save(tmp_path / "a.webp", lossless=kind == "lossless")
    with pytest.raises(UserError, match="60 x 40 pixels, more than the 0.002399 million"):
        with picture_files.opened(tmp_path / "a.webp", 2399):
            pass
    with picture_files.opened(tmp_path / "a.webp", 2400) as opened:
        assert opened.size == (60, 40)


def test_several_pictures_of_a_phone(tmp_path):
    noise().save(tmp_path / "a.mpo", save_all=True, append_images=[noise(30, 20)])
    (tmp_path / "a.mpo").rename(tmp_path / "a.jpg")
    with picture_files.opened(tmp_path / "a.jpg") as picture:
        assert picture.size == (60, 40) and picture.format == "MPO"
    with Image.open(tmp_path / "a.jpg", formats=picture_files.FORMATS) as picture:
        assert picture.format == "MPO"


def test_pillow_takes_the_list(tmp_path):
    for kind in picture_files.FORMATS:
        noise().save(tmp_path / "picture", kind)
        Image.open(tmp_path / "picture", formats=picture_files.FORMATS).close()
    (tmp_path / "picture").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    with pytest.raises(OSError, match="cannot identify"):
        Image.open(tmp_path / "picture", formats=picture_files.FORMATS)


@pytest.mark.parametrize(
    ("start", "words"),
    [
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n{} loop\n", r"it is PostScript; of JPEG, .* it is none"),
        (b"\xc5\xd0\xd3\xc6" + b"\0" * 60, "PostScript"),
        (b"%PDF-1.7\n", "PDF"),
        (b"\0\0\0\x18ftypmp42\0\0\0\0isom", "a video"),
        (b"8BPS\0\1", "Photoshop"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
        (b"<html>not found</html>", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"just words", "text"),
        (b"\x01\x02\x03", "of an unknown format"),
        (b"", "an empty file"),
        (b"P6\n1 1\n255\nabc", "PPM"),
    ],
)
def test_another_format_is_named_and_gets_no_decoder(start, words, tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "open", lambda *_, **__: pytest.fail("opened"))
    (tmp_path / "a.jpg").write_bytes(start)
    with pytest.raises(UserError, match=rf"a\.jpg: not a readable image \(.*{words}.*\); re-encode or remove it"):
        with picture_files.opened(tmp_path / "a.jpg"):
            pass


@pytest.mark.parametrize(
    ("brands", "words"),
    [
        (b"heic\0\0\0\0mif1heic", r'is HEIF \(HEIC\), which pi-heif reads; pip install "keras-fpn\[heif\]", or'),
        (b"mif1\0\0\0\0mif1heic", r"is HEIF \(HEIC\), which pi-heif reads"),
        (b"mif1\0\0\0\0avifmif1", r"is AVIF, which Pillow reads from 11.3 on; pip install --upgrade pillow, or"),
    ],
)
def test_what_this_installation_does_not_read_says_what_to_install(brands, words, tmp_path, monkeypatch):
    monkeypatch.setattr(AvifImagePlugin, "SUPPORTED", False)
    monkeypatch.setattr(picture_files.importlib.util, "find_spec", lambda name: None)
    (tmp_path / "a.jpg").write_bytes(struct.pack(">I", 8 + len(brands)) + b"ftyp" + brands + bytes(40))
    with pytest.raises(UserError, match=rf"a\.jpg: {words}"):
        with picture_files.opened(tmp_path / "a.jpg"):
            pass


@pytest.mark.parametrize("kind", ["jpeg", "png", "gif", "bmp", "webp"])
@pytest.mark.parametrize(("width", "height"), [(13000, 13000), (10001, 10000), (16383, 16383)])
def test_many_pixels_are_refused_by_the_header(kind, width, height, tmp_path):
    path = tmp_path / f"a.{kind}"
    path.write_bytes(contents_of(kind, width, height, path))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UserError, match=rf"a\.{kind}: {width} x {height} pixels, more than the 100 million"):
            with picture_files.opened(path):
                pass


def test_the_limit_can_be_raised_beyond_pillows(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(png_head(20000, 20000))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with picture_files.opened(path, max_pixels=500_000_000) as picture:
            assert picture.size == (20000, 20000)


@pytest.mark.parametrize("kind", ["jpeg", "png", "bmp", "gif", "webp", "tiff"])
def test_a_damaged_file_is_an_error_of_the_user_or_a_picture(kind, tmp_path):
    random = np.random.default_rng(1)
    noise().save(tmp_path / "whole", kind)
    content = (tmp_path / "whole").read_bytes()
    for number in range(150):
        damaged = bytearray(content[: random.integers(1, len(content))] if number % 2 else content)
        for _ in range(number % 7):
            damaged[random.integers(len(damaged))] = random.integers(256)
        (tmp_path / "damaged").write_bytes(damaged)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                with picture_files.opened(tmp_path / "damaged", 10_000_000) as picture:
                    picture.load()
        except UserError as error:
            assert "\n" not in str(error)


def test_no_file_and_no_regular_file(tmp_path):
    os.mkfifo(tmp_path / "fifo.jpg")
    for path, message in (
        (tmp_path / "absent.jpg", "no such image file"),
        (tmp_path, "is a folder; give an image file"),
        (tmp_path / "fifo.jpg", "is no regular file"),
    ):
        with pytest.raises(UserError, match=message):
            with picture_files.opened(path):
                pass
