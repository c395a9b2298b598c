"""Pictures on which an exported detector must answer as the model does.

Real pictures, or drawn ones where none are at hand, and the cases in which exports go wrong: no object, more than a
hundred, an odd size, a box at every border, black, white, noise, several sizes in one batch, encoded files.
"""

import dataclasses
import io
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from keras_fpn.console.picture_files import opened
from keras_fpn.data import shapes
from keras_fpn.export import preprocessing, regular_proposals
from keras_fpn.inference import images as image_files

if TYPE_CHECKING:
    from keras_fpn.export.artefacts import Artefact

LARGEST_SIDE = 512  # of the hard cases, pixels: they need not be large to be hard
ROWS, COLUMNS = 10, 12  # of the picture with more than a hundred objects
PICTURES = 3
LOOKED_AT = 200  # files among which pictures of several sizes are chosen
_TURNED = 6  # EXIF orientation: a quarter turn


@dataclasses.dataclass(frozen=True)
class Case:
    """One call of an artefact.

    Attributes:
        name: what is in it, for people.
        images: `[B, H, W, 3]` RGB 0..255 of the artefact's input type.
        image_sizes: `[B, 2]` int32, pixels.
        contents: B encoded files that `images` were made of, for an artefact that takes those; else None.
        ratios: `[B, 4]` float32, by which boxes of `images` become boxes of the encoded files' own pixels.
        proposals: `{"proposals", "num_proposals"}` for an artefact that needs them, see `regular_proposals`; else {}.
    """

    name: str
    images: np.ndarray
    image_sizes: np.ndarray
    contents: list[bytes] | None = None
    ratios: np.ndarray | None = None
    proposals: dict = dataclasses.field(default_factory=dict)


def pictures_of(files: Iterable[str | os.PathLike]) -> list[np.ndarray]:
    """`[H, W, 3]` uint8 of a few image files: of their sizes the narrowest, the widest and one between.

    Raises:
        UserError: one of them is damaged, or no image.
    """
    files = list(files)[:LOOKED_AT]
    of_size: dict[tuple[int, int], str | os.PathLike] = {}
    for file in files:
        with opened(file) as picture:
            of_size.setdefault(picture.size, file)
    by_shape = [of_size[size] for size in sorted(of_size, key=lambda size: (size[0] / size[1], size[0]))]
    chosen = [by_shape[place] for place in sorted({0, len(by_shape) // 2, len(by_shape) - 1})]
    chosen += [file for file in files if file not in chosen][: PICTURES - len(chosen)]
    return [image_files.read_image(file)[0] for file in chosen]


def drawn_pictures(rule: Mapping[str, Any]) -> list[np.ndarray]:
    """Three drawn pictures about as large as the resize rule would make them: landscape, portrait and square."""
    long = max(64, min(rule["max_side"], rule["min_side"] * 4 // 3))
    short = long * 3 // 4
    drawn = [shapes.draw_image(0, 1, index, long)[0] for index in range(PICTURES)]
    return [drawn[0][:short], drawn[1][:, :short], drawn[2]]


def cases_for(artefact: "Artefact", rule: Mapping[str, Any], pictures: Sequence[np.ndarray]) -> Iterator[Case]:
    """Yield the `Case`s for an artefact.

    Args:
        artefact: see `open_artefact`; its description says what it takes.
        rule: the model's `settings["resize"]`.
        pictures: `[H, W, 3]` uint8 each, at least one.
    """
    for case in _cases(artefact, rule, pictures):
        proposals = regular_proposals.needed_by(artefact.description, case.image_sizes)
        yield dataclasses.replace(case, proposals=proposals)


def _cases(artefact, rule, pictures):
    description, hard = artefact.description, hard_pictures(rule)
    real = {f"picture {number}": picture for number, picture in enumerate(pictures, start=1)}
    if description.frame is not None:
        for name, picture in (real | hard).items():
            yield Case(name, **preprocessing.prepare([picture], description))
        return
    for name, picture in real.items():
        yield Case(name, **preprocessing.prepare([picture], description))
    for name, picture in hard.items():  # as they are: an odd size is to stay odd
        yield Case(name, **_padded([picture], description.input_type))
    mixed = [hard["odd size"], hard["black"], hard["box at every border"][: len(hard["black"]) // 2]]
    yield Case("batch of mixed sizes", **_padded(mixed, description.input_type))
    if getattr(artefact, "takes_files", False):
        yield _encoded(rule, pictures[0], hard["odd size"])


def hard_pictures(rule: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """`{name: [H, W, 3] uint8}`."""
    side = max(64, min(rule["min_side"], LARGEST_SIDE))
    odd_height, odd_width = side * 5 // 6 // 2 * 2 + 1, side * 2 // 3 // 2 * 2 - 1
    noise = np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)
    return {
        "no object": shapes.draw_scene(1, side),
        f"{ROWS * COLUMNS} objects": shapes.draw_scene(2, side, _crowd(side)),
        "odd size": shapes.draw_image(3, 1, 0, side)[0][:odd_height, :odd_width],
        "box at every border": shapes.draw_scene(4, side, _at_borders(side)),
        "black": np.zeros((side, side, 3), np.uint8),
        "white": np.full((side, side, 3), 255, np.uint8),
        "noise": noise,
    }


def _crowd(side):
    step_y, step_x = side / ROWS, side / COLUMNS
    return [
        ((row + column) % len(shapes.CLASS_NAMES), 0.8 * min(step_y, step_x), column * step_x, row * step_y)
        for row in range(ROWS)
        for column in range(COLUMNS)
    ]


def _at_borders(side):
    """A shape in the middle of each border, two of them cut by it, and one in each corner."""
    size = side / 5
    middle, far = (side - size) / 2, side - size
    return [
        (0, size, 0, middle), (1, size, far, middle), (2, size, middle, -size / 4), (3, size, middle, far + size / 4),
        (1, size, 0, 0), (0, size, far, 0), (3, size, 0, far), (1, size, far, far),
    ]  # fmt: skip


def _padded(pictures, input_type):
    sizes = np.array([picture.shape[:2] for picture in pictures], np.int32)
    images = np.zeros((len(pictures), *sizes.max(0), 3), input_type)
    for image, picture in zip(images, pictures, strict=True):
        image[: picture.shape[0], : picture.shape[1]] = picture
    return {"images": images, "image_sizes": sizes}


def _encoded(rule, picture, other):
    """A PNG that a quarter turn of its EXIF orientation brings upright, and a JPEG, in one batch."""
    orientation = Image.Exif()
    orientation[0x0112] = _TURNED
    contents = [_file(np.rot90(picture), format="PNG", exif=orientation), _file(other, format="JPEG", quality=95)]
    seen = [image_files.read_image(Image.open(io.BytesIO(content)))[0] for content in contents]
    inputs = preprocessing.batch(seen, rule, "float32")
    scales = [np.divide(image.shape[:2], size) for image, size in zip(seen, inputs["image_sizes"], strict=True)]
    ratios = np.array([[x, y, x, y] for y, x in scales], np.float32)
    return Case("encoded files", **inputs, contents=contents, ratios=ratios)


def _file(picture, **options):
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, **options)
    return stream.getvalue()
