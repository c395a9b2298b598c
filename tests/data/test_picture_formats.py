"""Each form of picture in each reader: the same pixels everywhere, or an error that says what it is.

A row is a picture of 30 x 47 pixels, or one turned; its wanted pixels are drawn here where the form loses nothing, and
else Pillow's `ImageOps.exif_transpose(picture).convert("RGB")`. The readers are training (`load_coco` from files),
`cache=True`, evaluation, `keras_fpn.detect`, the graph that serves encoded images, and `rewritten`, of which
`data convert` makes files.
"""

import importlib.util
import io
import json
import pathlib
import re
import struct
import types
import zlib

import numpy as np
import pytest
from PIL import AvifImagePlugin, Image, ImageOps

from keras_fpn.console.errors import UserError
from keras_fpn.data import decode_image, load_coco, read_coco, readable_errors, rewriting
from keras_fpn.data.image_heads import FORMATS, READS_WEBP
from keras_fpn.data.rewritten_pictures import with_readable_pictures
from keras_fpn.evaluation.measuring import evaluation_dataset
from keras_fpn.inference import images

tf = pytest.importorskip("tensorflow")

HEIGHT, WIDTH = 30, 47
RULE = {"min_side": HEIGHT, "max_side": 1000, "rounding": "half_up", "interpolation": "pillow", "size_divisor": 1}
HEIC = pathlib.Path(__file__).parent.parent / "golden" / "turned.heic"
HAS_HEIF = importlib.util.find_spec("pi_heif") is not None


# What is drawn -------------------------------------------------------------------------------------------------


def picture(mode="RGB"):
    """Smooth colours with an edge: every pixel differs from its mirror image."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    rgb = np.stack([5 * x, 8 * y, 3 * (x + y)], axis=-1).astype(np.uint8)
    rgb[3:9, 5:20] = [250, 10, 30]
    image = Image.fromarray(rgb)
    if mode in ("RGBA", "LA"):
        image.putalpha(Image.fromarray((x * 5).astype(np.uint8)))
    return image.convert(mode)


RGB = np.asarray(picture())
GREY = np.asarray(picture("L"))
DEEP = np.random.default_rng(3).integers(0, 65536, (HEIGHT, WIDTH, 4)).astype(np.uint16)  # 16 bits, 4 channels
SIXTEEN = picture().quantize(16)
PLACES, PALETTE = np.asarray(SIXTEEN), np.array(SIXTEEN.getpalette()[:48], np.uint8).reshape(16, 3)


def as_rgb(grey):
    return np.repeat(np.asarray(grey)[..., None], 3, axis=-1)


def encoded(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def noted(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def as_pillow(content):
    with Image.open(io.BytesIO(content)) as image:
        return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))


# Files that Pillow does not write --------------------------------------------------------------------------------


def png(values, depth, colour, interlaced=0):
    """A PNG of `[H, W(, C)]` values."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    values = values.astype(">u2") if depth == 16 else values
    passes = [values]
    if interlaced:  # Adam7: first column and row of each pass, and its steps
        steps = (0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)
        passes = [values[y::down, x::along] for x, y, along, down in steps]
    rows = b"".join(b"\0" + row.tobytes() for part in passes for row in part)
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, depth, colour, 0, 0, interlaced)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def bmp(bits, rows, packing=0, colours=b"", masks=b""):
    """A BMP of rows of bytes from the top."""
    data = rows if isinstance(rows, bytes) else b"".join(bytes(row) + bytes(-len(bytes(row)) % 4) for row in rows[::-1])
    header = struct.pack("<IiiHHIIiiII", 40, WIDTH, HEIGHT, 1, bits, packing, len(data), 0, 0, len(colours) // 4, 0)
    offset = 14 + len(header) + len(masks) + len(colours)
    return b"BM" + struct.pack("<IHHI", offset + len(data), 0, 0, offset) + header + masks + colours + data


def bmp_of_os2():
    rows = b"".join(bytes(row[..., ::-1].tobytes()) + bytes(-3 * WIDTH % 4) for row in RGB[::-1])
    header = struct.pack("<IHHHH", 12, WIDTH, HEIGHT, 1, 24)
    return b"BM" + struct.pack("<IHHI", 26 + len(rows), 0, 0, 26) + header + rows


def run_lengths():
    return b"".join(bytes([1, place]) if place is not None else b"\0\0"
                    for row in PLACES[::-1].tolist() for place in [*row, None]) + b"\0\1"  # fmt: skip


BMP_PALETTE = b"".join(bytes([*colour[::-1], 0]) for colour in PALETTE.tolist())
NIBBLES = np.pad(PLACES, ((0, 0), (0, 1)))
FIVES = (RGB[..., 0] >> 3).astype("<u2") << 11 | (RGB[..., 1] >> 2).astype("<u2") << 5 | RGB[..., 2] >> 3
WITH_FOURTH = np.dstack([RGB, np.full((HEIGHT, WIDTH), 200, np.uint8)])


def tiff(values, photometric, tile=None, planar=1, order="<", **further):
    """An uncompressed TIFF of `[H, W(, C)]` values, in one strip or in tiles, by planes where `planar` is 2."""
    values = values[..., None] if values.ndim == 2 else values
    kind = values.dtype.newbyteorder(order)
    planes = np.moveaxis(values, -1, 0)[..., None] if planar == 2 else [values]
    blocks = [block.astype(kind).tobytes() for plane in planes for block in _tiles(plane, tile)]
    channels = values.shape[-1]
    tags = {256: [WIDTH], 257: [HEIGHT], 258: [8 * kind.itemsize] * channels, 259: [1], 262: [photometric],
            277: [channels], 284: [planar]}  # fmt: skip
    places, lengths = (324, 325) if tile else (273, 279)
    tags |= {322: [tile], 323: [tile]} if tile else {278: [HEIGHT]}
    tags |= {places: [0] * len(blocks), lengths: [len(block) for block in blocks]}
    tags |= {int(tag[1:]): value for tag, value in further.items()}
    start = 8 + 2 + 12 * len(tags) + 4 + 4 * sum(len(numbers) for numbers in tags.values())
    tags[places] = [start + sum(tags[lengths][:index]) for index in range(len(blocks))]
    entries, spilt, at = b"", b"", 8 + 2 + 12 * len(tags) + 4
    for tag, numbers in sorted(tags.items()):
        packed = struct.pack(f"{order}{len(numbers)}I", *numbers)
        inside = len(numbers) == 1
        value = packed if inside else struct.pack(order + "I", at + len(spilt))
        entries += struct.pack(order + "HHI", tag, 4, len(numbers)) + value
        spilt += b"" if inside else packed
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8)
    directory = struct.pack(order + "H", len(tags)) + entries + bytes(4)
    return (head + directory + spilt).ljust(start, b"\0") + b"".join(blocks)


def _tiles(plane, side):
    if side is None:
        return [plane]
    padded = np.pad(plane, ((0, -HEIGHT % side), (0, -WIDTH % side), (0, 0)))
    return [padded[y : y + side, x : x + side]
            for y in range(0, padded.shape[0], side) for x in range(0, padded.shape[1], side)]  # fmt: skip


def with_bytes(content, place, new):
    return content[:place] + new + content[place + len(new) :]


def cmyk_jpeg(transform):
    """A CMYK JPEG of Adobe's transform: 0 CMYK, 2 YCCK; None without Adobe's segment, which inverts the values."""
    content = encoded(picture("CMYK"), "JPEG", quality=95)
    at = content.index(b"Adobe")
    if transform is None:
        return content[: at - 4] + content[at + 12 :]
    return with_bytes(content, at + 11, bytes([transform]))


def partial_gif():
    """Its first picture lies at (4, 3) in a whole that is larger by 10 x 8: here as far as the picture goes."""
    content = encoded(picture().crop((0, 0, WIDTH - 10, HEIGHT - 8)).quantize(9), "GIF", interlace=0)
    content = with_bytes(content, 6, struct.pack("<HH", WIDTH, HEIGHT))
    return with_bytes(content, content.index(b",", 13 + 3 * 16), struct.pack("<cHH", b",", 4, 3))


def animated(kind, **options):
    return encoded(picture(), kind, save_all=True, append_images=[picture().rotate(180)], **options)


# The rows ------------------------------------------------------------------------------------------------------

READ = {  # in the graph: content, and the pixels where not Pillow's
    "JPEG": (lambda: encoded(picture(), "JPEG", quality=90), None),
    "JPEG, progressive": (lambda: encoded(picture(), "JPEG", progressive=True), None),
    "JPEG, full chroma": (lambda: encoded(picture(), "JPEG", subsampling=0), None),
    "JPEG, grey": (lambda: encoded(picture("L"), "JPEG"), None),
    "JPEG, of RGB": (lambda: encoded(picture(), "JPEG", keep_rgb=True), None),
    "JPEG, CMYK": (lambda: cmyk_jpeg(0), None),
    "JPEG, YCCK": (lambda: cmyk_jpeg(2), None),
    # Pillow takes its inks for Adobe's, which are inverted: so inverted once more, in CMYK.
    "JPEG, CMYK not Adobe's": (lambda: cmyk_jpeg(None), lambda: inverted_inks(cmyk_jpeg(None))),
    "MPO": (lambda: animated("MPO"), None),
    "PNG": (lambda: encoded(picture(), "PNG"), RGB),
    "PNG, interlaced": (lambda: png(RGB, 8, 2, interlaced=1), RGB),
    "PNG, animated": (lambda: animated("PNG"), RGB),
    "PNG, grey": (lambda: encoded(picture("L"), "PNG"), as_rgb(GREY)),
    "PNG, 1 bit": (lambda: encoded(picture("1"), "PNG"), None),
    "PNG, palette": (lambda: encoded(picture().quantize(200), "PNG"), None),
    "PNG, palette of 4 bits": (lambda: encoded(SIXTEEN, "PNG", bits=4), PALETTE[PLACES]),
    "PNG, palette with a transparent colour": (lambda: encoded(SIXTEEN, "PNG", transparency=3), PALETTE[PLACES]),
    "PNG, alpha": (lambda: encoded(picture("RGBA"), "PNG"), RGB),
    "PNG, grey with alpha": (lambda: encoded(picture("LA"), "PNG"), as_rgb(GREY)),
    "PNG, 16 bits, grey": (lambda: png(DEEP[..., 0], 16, 0), as_rgb(DEEP[..., 0] >> 8)),
    "PNG, 16 bits, colour": (lambda: png(DEEP[..., :3], 16, 2), DEEP[..., :3] >> 8),
    "PNG, 16 bits, alpha": (lambda: png(DEEP, 16, 6), DEEP[..., :3] >> 8),
    "BMP": (lambda: encoded(picture(), "BMP"), RGB),
    "BMP, palette": (lambda: encoded(SIXTEEN, "BMP"), PALETTE[PLACES]),
    "BMP, grey": (lambda: encoded(picture("L"), "BMP"), as_rgb(GREY)),
    "BMP, 32 bits": (lambda: encoded(picture("RGBA"), "BMP"), RGB),
    "BMP, 32 bits with masks": (lambda: bmp(32, [row[:, [2, 1, 0, 3]].tobytes() for row in WITH_FOURTH], 3,
                                            masks=struct.pack("<III", 0xFF0000, 0xFF00, 0xFF)), RGB),
    "GIF": (lambda: encoded(SIXTEEN, "GIF"), PALETTE[PLACES]),
    "GIF, interlaced": (lambda: encoded(SIXTEEN, "GIF", interlace=1), PALETTE[PLACES]),
    "GIF, of several": (lambda: animated("GIF"), None),
    "GIF, transparent": (lambda: encoded(SIXTEEN, "GIF", transparency=3),
                         np.where((PLACES == 3)[..., None], 0, PALETTE[PLACES])),
    "WebP, lossless": (lambda: encoded(picture(), "WEBP", lossless=True), RGB),
    "WebP, lossy": (lambda: encoded(picture(), "WEBP", quality=80), None),
    "WebP, alpha": (lambda: encoded(picture("RGBA"), "WEBP", lossless=True, exact=True), RGB),
    "WebP, lossy, alpha": (lambda: encoded(picture("RGBA"), "WEBP", quality=80), None),
}  # fmt: skip

REWRITTEN = {  # content, the pixels where not Pillow's, the name of the kind
    "TIFF": (lambda: encoded(picture(), "TIFF"), RGB, "TIFF"),
    "TIFF, strips of LZW": (lambda: encoded(picture(), "TIFF", compression="tiff_lzw", strip_size=1000), RGB, "TIFF"),
    "TIFF, deflated": (lambda: encoded(picture(), "TIFF", compression="tiff_adobe_deflate"), RGB, "TIFF"),
    "TIFF, PackBits": (lambda: encoded(picture(), "TIFF", compression="packbits"), RGB, "TIFF"),
    "TIFF, JPEG": (lambda: encoded(picture(), "TIFF", compression="jpeg"), None, "TIFF"),
    "TIFF, 1 bit of a fax": (lambda: encoded(picture("1"), "TIFF", compression="group4"), None, "TIFF"),
    "TIFF, BigTIFF": (lambda: encoded(picture(), "TIFF", big_tiff=True), RGB, "TIFF"),
    "TIFF, tiles": (lambda: tiff(RGB, 2, tile=16), RGB, "TIFF"),
    "TIFF, tiles of planes": (lambda: tiff(RGB, 2, tile=16, planar=2, order=">"), RGB, "TIFF"),
    "TIFF, grey": (lambda: encoded(picture("L"), "TIFF"), as_rgb(GREY), "TIFF"),
    "TIFF, white is zero": (lambda: tiff(255 - GREY, 0), as_rgb(GREY), "TIFF"),
    "TIFF, grey with alpha": (lambda: encoded(picture("LA"), "TIFF"), as_rgb(GREY), "TIFF"),
    "TIFF, palette": (lambda: encoded(SIXTEEN, "TIFF"), PALETTE[PLACES], "TIFF"),
    "TIFF, alpha": (lambda: encoded(picture("RGBA"), "TIFF"), RGB, "TIFF"),
    "TIFF, CMYK": (lambda: encoded(picture("CMYK"), "TIFF"), None, "TIFF"),
    "TIFF, CIE Lab": (lambda: tiff(RGB, 8), None, "TIFF"),
    "TIFF, 16 bits, grey": (lambda: tiff(DEEP[..., 0], 1, order=">"), as_rgb(DEEP[..., 0] >> 8), "TIFF"),
    "TIFF, 16 bits, white is zero": (lambda: tiff(65535 - DEEP[..., 0], 0), as_rgb(DEEP[..., 0] >> 8), "TIFF"),
    "TIFF, 16 bits, colour": (lambda: tiff(DEEP[..., :3], 2, tile=16), DEEP[..., :3] >> 8, "TIFF"),
    "TIFF, 16 bits, a fourth band": (lambda: tiff(DEEP, 2, _338=[0]), DEEP[..., :3] >> 8, "TIFF"),
    "TIFF, of several": (lambda: animated("TIFF"), RGB, "TIFF"),
    "BMP, 1 bit": (lambda: encoded(picture("1"), "BMP"), None, rewriting.OTHER_BMP),
    "BMP, 4 bits": (lambda: bmp(4, [bytes(row) for row in NIBBLES[:, ::2] << 4 | NIBBLES[:, 1::2]],
                                colours=BMP_PALETTE), PALETTE[PLACES], rewriting.OTHER_BMP),
    "BMP, 16 bits": (lambda: bmp(16, [row.tobytes() for row in FIVES], 3, masks=struct.pack("<III", 0xF800, 0x7E0, 31)),
                     None, rewriting.OTHER_BMP),
    "BMP, run lengths": (lambda: bmp(8, run_lengths(), 1, colours=BMP_PALETTE), PALETTE[PLACES], rewriting.OTHER_BMP),
    "BMP, of OS/2": (bmp_of_os2, RGB, rewriting.OTHER_BMP),
    "BMP, 32 bits of another order": (lambda: bmp(32, [row[:, ::-1].tobytes() for row in WITH_FOURTH], 3,
                                                  masks=struct.pack("<III", 0xFF000000, 0xFF0000, 0xFF00)),
                                      RGB, rewriting.OTHER_BMP),
    "GIF, in part": (partial_gif, None, rewriting.PARTIAL_GIF),
    "WebP, animated": (lambda: animated("WEBP", lossless=True), RGB, rewriting.ANIMATED_WEBP),
    "AVIF": (lambda: encoded(picture(), "AVIF"), None, "AVIF"),
    "HEIC, turned": (lambda: HEIC.read_bytes(), lambda: as_pi_heif(), "HEIF (HEIC)"),
}  # fmt: skip

for kind, options in {"JPEG": {"quality": 95}, "PNG": {}, "WEBP": {"lossless": True}, "TIFF": {}, "AVIF": {}}.items():
    for orientation in range(1, 9):

        def turned(kind=kind, orientation=orientation, options=options):
            note = {"tiffinfo": {274: orientation}} if kind == "TIFF" else {"exif": noted(orientation)}
            return encoded(picture(), kind, **note, **options)

        row = f"{kind.replace('WEBP', 'WebP')}, EXIF {orientation}"
        if kind in ("TIFF", "AVIF"):
            REWRITTEN[row] = (turned, None, kind)
        else:
            READ[row] = (turned, None)

REFUSED = {  # content, words in training, in detect and where it would be rewritten; in serving
    "JPEG 2000": (lambda: encoded(picture(), "JPEG2000"), "is JPEG 2000, which is not read; replace",
                  "it is JPEG 2000; of JPEG, PNG", "is JPEG 2000, and no JPEG"),
    "JPEG of 12 bits": (lambda: with_bytes(READ["JPEG"][0](), READ["JPEG"][0]().index(b"\xff\xc0") + 4, b"\x0c"),
                        "cannot be read as a JPEG", "not a readable image", "has a damaged header"),
    "PSD": (lambda: b"8BPS\0\1" + bytes(90), "is Photoshop", "it is Photoshop", "is Photoshop (PSD), and no JPEG"),
    "Git LFS": (lambda: b"version https://git-lfs.github.com/spec/v1\noid", "git lfs pull", "git lfs pull", "git lfs"),
    "text": (lambda: b"hello, world", "cannot be read as a JPEG", "it is text", f"is no {FORMATS} file"),
    "TIFF, floating point": (lambda: tiff(GREY.astype(np.float32), 1, _339=[3]), "is TIFF, which is not read as it",
                             "signed, of 32 bits or floating point", "is TIFF, and no JPEG"),
    "TIFF, 32 bits": (lambda: tiff(GREY.astype(np.uint32), 1), "is TIFF, which", "of 32 bits", "is TIFF, and no JPEG"),
    "TIFF, signed": (lambda: tiff(GREY.astype(np.int16), 1, _339=[2]), "is TIFF", "values are signed", "is TIFF"),
    "TIFF, 16 bits in planes": (lambda: tiff(DEEP[..., :3], 2, planar=2), "is TIFF", "in separate, uncompressed planes",
                                "is TIFF"),
}  # fmt: skip


TURNED_BY_A_QUARTER = ("EXIF 5", "EXIF 6", "EXIF 7", "EXIF 8")


def known_here(rows):
    """The rows that this TensorFlow and this Pillow read."""
    missing = {"WebP": READS_WEBP, "AVIF": AvifImagePlugin.SUPPORTED, "HEIC": HAS_HEIF}
    return [row for row in rows if missing.get(row.partition(",")[0], True)]


def inverted_inks(content):
    with Image.open(io.BytesIO(content)) as image:
        return np.asarray(Image.fromarray(255 - np.asarray(image), "CMYK").convert("RGB"))


def as_pi_heif():
    import pi_heif

    pixels = np.asarray(pi_heif.open_heif(HEIC).to_pillow())
    drawn = np.rot90(RGB, -1).astype(int)
    assert np.abs(pixels - drawn).mean() < 6  # lossy, and of half the chroma
    return pixels


def content_and_pixels(row):
    make, wanted, *_ = (READ | REWRITTEN)[row]
    content = make()
    return content, as_pillow(content) if wanted is None else wanted() if callable(wanted) else wanted


# The readers ---------------------------------------------------------------------------------------------------


class Folder:
    """Pictures as a data set, `boxes` upright; and the pixels of it in batches."""

    def __init__(self, folder, contents, sizes):
        self.rows = list(contents)
        entries = []
        for number, row in enumerate(self.rows):
            (folder / f"{number}.image").write_bytes(contents[row])
            height, width = sizes[row]
            entries.append({"id": number, "file_name": f"{number}.image", "height": height, "width": width})
        document = {"images": entries, "annotations": [], "categories": [{"id": 1, "name": "a"}]}
        (folder / "a.json").write_text(json.dumps(document))
        self.data_set = read_coco(folder / "a.json", folder)

    def pixels(self, batches):
        """`{row: [H, W, 3]}` of batches of one image each."""
        return {
            self.rows[int(targets["image_ids"][0])]: inputs["images"][0].numpy() for inputs, targets in batches
        }


def a_folder(path, rows):
    path.mkdir()
    both = {row: content_and_pixels(row) for row in rows}
    sizes = {row: pixels.shape[:2] for row, (_, pixels) in both.items()}
    return Folder(path, {row: content for row, (content, _) in both.items()}, sizes)


@pytest.fixture(scope="module")
def readers(tmp_path_factory):
    """`{reader: {row: pixels}}` of the readers that read a whole data set: each a pipeline for all rows."""
    folder = tmp_path_factory.mktemp("pictures")
    read = a_folder(folder / "read", known_here(READ))
    every = a_folder(folder / "all", known_here(READ | REWRITTEN))
    rule = {**RULE, "batch_size": 1}
    detector = types.SimpleNamespace(object_fields=(), settings={"resize": RULE})
    (in_memory,) = with_readable_pictures([every.data_set], cache=True)
    return {
        "training": read.pixels(load_coco(read.data_set, **rule)),
        "cache": every.pixels(load_coco(every.data_set, cache=True, **rule)),
        "evaluation": every.pixels(evaluation_dataset(detector, in_memory)),
    }


@pytest.fixture(scope="module")
def decode():
    """`decode(path)`: an image read in one graph for all, with errors as people see them."""
    read = tf.function(lambda path: decode_image(path), input_signature=[tf.TensorSpec([], tf.string)])

    def told(path):
        with readable_errors():
            return read(str(path)).numpy()

    return told


@pytest.fixture(scope="module")
def serve():
    """`serve(content)` -> pixels of the first image, by the graph that an exported model has."""
    from keras_fpn.export.saved_model.encoded_images import decode_batch

    signature = [tf.TensorSpec([None], tf.string)]
    graph = tf.function(lambda contents: decode_batch(contents, RULE), input_signature=signature)
    return lambda content: graph(tf.constant([content]))["images"][0].numpy()


def written(path, content):
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("row", known_here(READ | REWRITTEN))
def test_pixels_are_the_same_in_every_reader(readers, decode, serve, tmp_path, row):
    content, wanted = content_and_pixels(row)
    path = written(tmp_path / "picture", content)
    for pixels in readers.values():
        np.testing.assert_array_equal(pixels.get(row, wanted), wanted)
    pixels, name = images.read_image(path)
    np.testing.assert_array_equal(pixels, wanted)
    assert name == str(path)
    assert images.upright_size(path) == wanted.shape[:2]
    made = rewriting.rewritten(path)
    if row in READ:
        assert made is None and row in readers["training"]
        np.testing.assert_array_equal(serve(content), wanted)
        return
    title = REWRITTEN[row][2]
    assert (made.title, made.suffix) == (title, ".png") and made.others == (row.endswith((" several", " animated")))
    np.testing.assert_array_equal(decode(written(tmp_path / "a.png", made.content)), wanted)
    assert rewriting.rewritten(content) == made
    refuses(decode, path, f"is {re.escape(title)}, which is not read as it is; .* data convert .* data.cache=true")
    # The graph of the server has no words for a GIF in part.
    told = f"damaged, or a {title}" if title == rewriting.PARTIAL_GIF else f"is {re.escape(title)}, and no JPEG"
    refuses(serve, content, told, tf.errors.InvalidArgumentError)


@pytest.mark.parametrize("row", REFUSED)
def test_what_no_reader_reads_is_named(decode, serve, tmp_path, row):
    make, in_training, in_detect, in_serving = REFUSED[row]
    content = make()
    path = written(tmp_path / "a.image", content)
    refuses(decode, path, "a.image: .*" + in_training)
    refuses(images.read_image, path, "a.image: .*" + in_detect)
    refuses(serve, content, in_serving.replace("(PSD)", r"\(PSD\)"), tf.errors.InvalidArgumentError)
    if rewriting.unread(content) is None:
        assert rewriting.rewritten(path) is None
    else:
        refuses(rewriting.rewritten, path, "a.image: .*" + in_detect)


def refuses(read, given, words, error=UserError):
    with pytest.raises(error, match=words) as caught:
        read(given)
    assert error is not UserError or "\n" not in str(caught.value)


@pytest.mark.parametrize("row", [row for row in known_here(READ | REWRITTEN) if row[-6:] in TURNED_BY_A_QUARTER])
def test_annotations_of_the_picture_as_it_is_stored_are_kept_to(decode_sized, tmp_path, row):
    """Their width and height say which way the boxes were drawn; a picture that was rewritten keeps its note."""
    content = (READ | REWRITTEN)[row][0]()
    plain = (READ | REWRITTEN)[row.replace(row[-1], "1")][0]()
    made = rewriting.rewritten(content)
    stored = decode_sized(written(tmp_path / "a", content if made is None else made.content), (HEIGHT, WIDTH))
    np.testing.assert_array_equal(stored, as_pillow(plain))
    upright = decode_sized(tmp_path / "a", (WIDTH, HEIGHT))
    np.testing.assert_array_equal(upright, as_pillow(content))


@pytest.fixture(scope="module")
def decode_sized():
    """`decode_sized(path, (height, width))`, in one graph for all."""
    signature = [tf.TensorSpec([], tf.string), tf.TensorSpec([2], tf.int32)]
    read = tf.function(decode_image, input_signature=signature)
    return lambda path, size: read(str(path), tf.constant(size, tf.int32)).numpy()
