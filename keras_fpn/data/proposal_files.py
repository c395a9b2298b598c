"""Proposals on disk: the boxes that a Fast R-CNN is trained and measured on, written once and read often.

A folder:

proposals.json   format, version, and what they were made with and for
image_ids.npy    [N] int64
ends.npy         [N] int64: the boxes of image i are `ends[i - 1]:ends[i]`
boxes.tfrecord   a record for each image: [n, 4] float32 x1, y1, x2, y2 in pixels of the original image, best first
scores.npy       [n] float32, probabilities 0..1
image_bytes.npy  [N] int64, sizes of the image files: they tell another image under the same id (may be absent)

The boxes stay on disk: 2000 of each of COCO's 118,287 training images fill 4.7 GB. A TFRecord file is what TensorFlow
reads by itself from any place on. It has 16 bytes around each record, 12 before and 4 after it, which is the size of a
box: the record of image i with boxes `first:last` begins at byte `16 * (first + i)`, and its numbers 12 bytes later.
"""

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_fpn.console.errors import UserError
from keras_fpn.console.files import built_aside, check_output, read_json, write_json
from keras_fpn.data.picture_contents import length_of
from keras_fpn.data.tfrecord_files import BEFORE, record_writer

if TYPE_CHECKING:
    from keras_fpn.data.coco import CocoDataset

FORMAT, VERSION = "keras_fpn proposals", 2
_ARRAYS = {"image_ids": "<i8", "ends": "<i8", "scores": "<f4"}
_MAPPED = ("scores",)
_BOX = 16  # bytes of one, and of what is around a record
_IMAGES_AT_ONCE = 256  # while checking: 8 MB of 2000 boxes each
_TOLERANCE = 0.01  # pixels that a box may lie outside: who scaled it had to round
_DAMAGED = "copy the folder again or write it anew with keras-fpn propose"


def check_proposals_output(path: str | os.PathLike) -> None:
    """Refuse a place for proposals before the work begins; a folder with something in it would be lost.

    Raises:
        UserError: `path` is a file, is not empty, or cannot be written.
    """
    check_output(path, folder=True)
    if Path(path).is_dir() and any(Path(path).iterdir()):
        raise UserError(f"{path}: exists already and is not empty; choose another --out or remove it")


def write_proposals(
    path: str | os.PathLike,
    rows: Iterable[tuple[int, np.ndarray, np.ndarray]],
    about: dict[str, Any],
    image_bytes: Mapping[int, int] | None = None,
) -> tuple[int, int]:
    """Write a folder of proposals, whole or not at all; nothing but the box at hand is kept in memory.

    Args:
        path: the folder to write; absent or empty.
        rows: iterable of `(image_id, boxes [n, 4] x1 y1 x2 y2 in pixels of the original image, scores [n])`, best
            first in each image.
        about: dict for proposals.json: "model", "annotations" ...
        image_bytes: `{image_id: bytes of its file}`, to tell later whether they are still the same images.

    Returns:
        `(images, proposals)` that were written.

    Raises:
        UserError: see `check_proposals_output`; or an image has not as many scores as boxes.
    """
    check_proposals_output(path)
    image_ids, ends = [], []
    with built_aside(os.path.abspath(path)) as folder:
        folder.mkdir()
        with record_writer(folder / "boxes.tfrecord") as boxes, _growing(folder / "scores.npy") as scores:
            for image_id, own_boxes, own_scores in rows:
                own_boxes, own_scores = np.asarray(own_boxes), np.asarray(own_scores)
                if own_boxes.shape != (*own_scores.shape, 4):
                    raise UserError(
                        f"{path}: image {image_id} has boxes of shape {own_boxes.shape} and scores of shape"
                        f" {own_scores.shape}; give one score for each box [n, 4]"
                    )
                boxes(np.asarray(own_boxes, "<f4").tobytes())
                ends.append(scores(own_scores))
                image_ids.append(int(image_id))
        np.save(folder / "image_ids.npy", np.array(image_ids, "<i8"))
        np.save(folder / "ends.npy", np.array(ends, "<i8"))
        if image_bytes is not None:
            np.save(folder / "image_bytes.npy", np.array([image_bytes[key] for key in image_ids], "<i8"))
        counts = {"images": len(image_ids), "proposals": ends[-1] if ends else 0}
        write_json(folder / "proposals.json", {"format": FORMAT, "version": VERSION} | about | counts)
    return counts["images"], counts["proposals"]


@contextlib.contextmanager
def _growing(path):
    """Give a function that adds numbers to a float32 .npy file and returns how many it holds by then."""
    count = 0

    def add(rows):
        nonlocal count
        np.asarray(rows, "<f4").tofile(file)
        count += len(rows)
        return count

    def write_header():
        header = {"descr": "<f4", "fortran_order": False, "shape": (count,)}
        np.lib.format.write_array_header_1_0(file, header)  # numpy leaves room in it for the count to grow
        return file.tell()

    with open(path, "wb") as file:
        length = write_header()
        file.flush()
        yield add
        file.seek(0)
        if write_header() != length:
            raise RuntimeError(f"{path}: the header outgrew its room")


def read_proposals(path: str | os.PathLike) -> "GivenProposals":
    """Open a folder of proposals; the boxes stay on disk.

    Raises:
        UserError: it is no such folder, or not a whole one.
    """
    folder = Path(path)
    if not (folder / "proposals.json").is_file():
        found = "is not there" if not folder.exists() else "no proposals.json in it"
        raise UserError(f"{path}: no folder of proposals ({found}); keras-fpn propose writes one")
    about = read_json(folder / "proposals.json", _DAMAGED)
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        raise UserError(f"{folder / 'proposals.json'}: not of a folder of proposals; keras-fpn propose writes one")
    if about.get("version") != VERSION:
        raise UserError(
            f"{folder / 'proposals.json'}: version {about.get('version')!r}, this program reads {VERSION};"
            " write the proposals again with keras-fpn propose"
        )
    arrays = {name: _load(folder / f"{name}.npy", dtype, name in _MAPPED) for name, dtype in _ARRAYS.items()}
    sizes_file = folder / "image_bytes.npy"
    arrays["image_bytes"] = _load(sizes_file, "<i8", False) if sizes_file.exists() else None
    arrays["words"] = _map_records(folder / "boxes.tfrecord")
    _check_counts(path, **arrays)
    return GivenProposals(str(path), about, **arrays)


def sha256(path: str | os.PathLike) -> str:
    """Tell proposals by their images, their numbers and their scores; of COCO's, a fifth of what the boxes are.

    Raises:
        UserError: one of these files is not there.
    """
    digest = hashlib.sha256()
    for name in _ARRAYS:
        try:
            with open(Path(path) / f"{name}.npy", "rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        except FileNotFoundError:
            raise UserError(f"{Path(path) / name}.npy: is missing; {_DAMAGED}") from None
    return digest.hexdigest()


def _map_records(file):
    """A file of records as `[n]` uint32, on disk."""
    try:
        size = os.path.getsize(file)
    except FileNotFoundError:
        raise UserError(f"{file}: is missing; {_DAMAGED}") from None
    if size % _BOX:
        raise UserError(f"{file}: not whole, it ends within a box; {_DAMAGED}")
    return np.memmap(file, "<u4", "r") if size else np.zeros(0, "<u4")  # nothing cannot be mapped


def _load(file, dtype, mapped):
    try:
        with open(file, "rb") as start:
            np.lib.format.read_magic(start)
            shape, _, _ = np.lib.format.read_array_header_1_0(start)
        # An array without elements cannot be mapped.
        array = np.load(file, mmap_mode="r" if mapped and 0 not in shape else None, allow_pickle=False)
    except FileNotFoundError:
        raise UserError(f"{file}: is missing; {_DAMAGED}") from None
    except (ValueError, EOFError, TypeError) as error:
        raise UserError(f"{file}: not a whole .npy file ({error}); {_DAMAGED}") from None
    if array.dtype != np.dtype(dtype) or array.ndim != 1:
        raise UserError(f"{file}: {array.dtype} {list(array.shape)} instead of {np.dtype(dtype)} [n]; {_DAMAGED}")
    return array


def _check_counts(path, image_ids, ends, words, scores, image_bytes):
    num_boxes = words.nbytes // _BOX - len(ends)
    if len(scores) != num_boxes:
        raise UserError(f"{path}: {num_boxes} boxes and {len(scores)} scores, as many are needed; {_DAMAGED}")
    if len(ends) != len(image_ids) or (image_bytes is not None and len(image_bytes) != len(image_ids)):
        raise UserError(f"{path}: image_ids.npy, ends.npy and image_bytes.npy are not of one length; {_DAMAGED}")
    if (np.diff(ends, prepend=0) < 0).any() or num_boxes != (ends[-1] if len(ends) else 0):
        raise UserError(f"{path}: ends.npy does not divide the {num_boxes} boxes among the images; {_DAMAGED}")
    ids, count = np.unique(image_ids, return_counts=True)
    if (count > 1).any():
        raise UserError(f"{path}: image {ids[np.argmax(count > 1)]} is in image_ids.npy twice; {_DAMAGED}")


@dataclass(frozen=True, eq=False)
class GivenProposals:
    """A folder of proposals as it was read; for the arrays see above. `words`: boxes.tfrecord as `[n]` uint32."""

    source: str
    about: dict
    image_ids: np.ndarray
    ends: np.ndarray
    words: np.ndarray
    scores: np.ndarray
    image_bytes: np.ndarray | None = None

    def for_data_set(
        self, data_set: "CocoDataset", max_proposals: int, progress: Callable[[int], None] | None = None
    ) -> "ImageProposals":
        """Check that these are proposals of the images of a `CocoDataset`, every box of them.

        Args:
            data_set: has `records` and names the `annotations` and `images` that they are from.
            max_proposals: proposals of an image that will be used, the best.
            progress: called with the number of images that are checked.

        Raises:
            UserError: an image is not among these, or is another one; none of them has proposals; a box or a score is
                not finite, a box lies outside its image, or scores do not fall.
        """
        rows = self._rows_of(data_set)
        for start in range(0, len(rows), _IMAGES_AT_ONCE):
            stop = min(start + _IMAGES_AT_ONCE, len(rows))
            self._check_boxes(data_set, start, rows[start:stop])
            if progress is not None:
                progress(stop)
        return ImageProposals(self, int(max_proposals))

    def find(self, image_ids: Sequence[int]) -> np.ndarray:
        """`[n]` int64: where each of `image_ids` is among these, or -1."""
        order = np.argsort(self.image_ids)
        wanted = np.asarray(image_ids, np.int64)
        if not len(order):
            return np.full(len(wanted), -1)
        places = order[np.searchsorted(self.image_ids, wanted, sorter=order).clip(max=len(order) - 1)]
        return np.where(self.image_ids[places] == wanted, places, -1)

    def bounds(self, rows: np.ndarray | np.integer) -> tuple[np.ndarray, np.ndarray]:
        """Where the boxes of some images begin and end: two arrays `[n]` int64."""
        return np.where(rows > 0, self.ends[np.maximum(rows - 1, 0)], 0), self.ends[rows]

    def boxes_of(self, row: int) -> np.ndarray:
        """`[n, 4]` float32: the boxes of the image in place `row`."""
        first, last = (int(bound) for bound in self.bounds(np.int64(row)))
        start = self.offsets(np.int64(row)) + BEFORE
        numbers = self.words[start // 4 : (start + _BOX * (last - first)) // 4]
        return np.asarray(numbers).view("<f4").reshape(-1, 4)

    def offsets(self, rows: np.ndarray | np.integer) -> np.ndarray:
        """`[n]` int64: at which byte of boxes.tfrecord the records of some images begin."""
        return _BOX * (self.bounds(rows)[0] + rows)

    def _rows_of(self, data_set):
        records = data_set.records
        rows = self.find([record.image_id for record in records])
        if (rows < 0).all():
            raise UserError(
                f"{self.source}: proposals of other images, none of the {len(rows)} of {data_set.annotations} is among"
                f" them; {_mend(data_set)}"
            )
        self._refuse_first(data_set, rows < 0, "is not among its images")
        if self.image_bytes is not None:
            sizes = np.array([length_of(record) for record in records])
            self._refuse_first(data_set, sizes != self.image_bytes[rows], "is not the file that they were made of")
        first, last = self.bounds(rows)
        if (first == last).all():  # of some images none is an answer
            self._refuse_first(data_set, first == last, "has no proposals")
        return rows

    def _refuse_first(self, data_set, is_wrong, what):
        if is_wrong.any():
            record = data_set.records[int(np.argmax(is_wrong))]
            more = f" (and {is_wrong.sum() - 1} more of {len(is_wrong)} images)" if is_wrong.sum() > 1 else ""
            raise UserError(
                f"{self.source}: image {record.image_id} ({record.file_name}) of {data_set.annotations} {what}{more};"
                f" {_mend(data_set)}"
            )

    def _check_records(self, rows, counts):
        starts = self.offsets(rows) // 4
        if (self.words[starts] != _BOX * counts).any() or self.words[starts + 1].any():
            raise UserError(
                f"{self.source}: ends.npy does not divide the boxes among the images as boxes.tfrecord does; {_DAMAGED}"
            )

    def _check_boxes(self, data_set, start, rows):
        """`rows` are those of the records from `start` on."""
        first, last = self.bounds(rows)
        self._check_records(rows, last - first)
        boxes = np.concatenate([self.boxes_of(row) for row in rows.tolist()])
        scores = np.concatenate([self.scores[slice(*pair)] for pair in zip(first.tolist(), last.tolist(), strict=True)])
        records = data_set.records[start : start + len(rows)]
        image = np.repeat(np.arange(len(rows)), last - first)
        size = np.array([(record.width, record.height) for record in records], np.float32)[image]
        for what, is_wrong in _faults(boxes, scores, size, image):
            if is_wrong.any():
                place = int(np.argmax(is_wrong))
                record, number = records[image[place]], place - int(np.argmax(image == image[place]))
                box = ", ".join(f"{value:g}" for value in boxes[place])
                raise UserError(
                    f"{self.source}: image {record.image_id} ({record.file_name}, {record.width} x {record.height}"
                    f" pixels): proposal {number} [{box}] {what}; {_mend(data_set)}"
                )


def _faults(boxes, scores, size, image):
    """Yield `(what is wrong, [n] bool)` of boxes `[n, 4]`; `size` `[n, 2]` width, height and `image` `[n]` of each."""
    yield "is not finite", ~np.isfinite(boxes).all(1)
    yield "has a score that is not finite", ~np.isfinite(scores)
    yield "has no positive width and height (x1, y1, x2, y2)", (boxes[:, 2:] <= boxes[:, :2]).any(1)
    outside = (boxes[:, :2] < -_TOLERANCE) | (boxes[:, 2:] > size + _TOLERANCE)
    yield "lies outside the image", outside.any(1)
    rises = (np.diff(scores) > 0) & (np.diff(image) == 0)
    yield "scores higher than the one before it, the best must come first", np.append(False, rises)


def _mend(data_set):
    return (
        "write those of these images: keras-fpn propose MODEL --annotations"
        f" {data_set.annotations} --images {data_set.images} --out DIR"
    )


@dataclass(frozen=True, eq=False)
class ImageProposals:
    """Proposals that were found to be those of a data set's images; at most the `most` best of each are used."""

    given: GivenProposals
    max_proposals: int

    @property
    def file(self) -> str:
        """The file of the boxes, a record for each image."""
        return os.path.abspath(os.path.join(self.given.source, "boxes.tfrecord"))

    def offsets(self, image_ids: Sequence[int]) -> np.ndarray:
        """`[n]` int64: at which byte of the `file` the record of each image begins.

        Raises:
            UserError: an image was not in the data set that they were checked for.
        """
        rows = self.given.find(image_ids)
        if (rows < 0).any():
            raise UserError(
                f"{self.given.source}: image {np.asarray(image_ids)[np.argmax(rows < 0)]} is not among its images"
            )
        return self.given.offsets(rows)
