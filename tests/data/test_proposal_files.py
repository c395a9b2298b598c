"""Proposals on disk: written, read back, held to the images, and carried along by the pipeline."""

import errno
import json
import shutil

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_fpn.console.errors import UserError
from keras_fpn.data import load_coco, read_coco
from keras_fpn.data.proposal_files import read_proposals, write_proposals
from keras_fpn.data.tfrecord_files import record_writer

# Three images, height and width; the annotation file lists them in this order, the proposals in another.
SIZES = {11: (40, 60), 12: (33, 50), 13: (30, 20)}
BOXES = {
    12: [[10, 11, 50, 33], [0, 0, 5, 5]],
    11: [[10, 5, 30, 25], [0, 0, 60, 40], [1, 2, 3, 4]],
    13: [[2.5, 3.5, 12.25, 30]],
    99: [[0, 0, 1000, 1000]],  # an image that this data set does not have
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """`instances.json` and three images: black, with a white left half."""
    folder = tmp_path_factory.mktemp("three")
    for image_id, (height, width) in SIZES.items():
        pixels = np.zeros((height, width, 3), np.uint8)
        pixels[:, : width // 2] = 255
        Image.fromarray(pixels).save(folder / f"{image_id}.png")
    images = [
        {"id": image_id, "file_name": f"{image_id}.png", "height": height, "width": width}
        for image_id, (height, width) in SIZES.items()
    ]
    annotations = [{"id": 1, "image_id": 11, "category_id": 1, "bbox": [10, 5, 20, 20]}]
    document = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "a"}]}
    (folder / "instances.json").write_text(json.dumps(document))
    return folder


@pytest.fixture(scope="module")
def data_set(folder):
    return read_coco(folder / "instances.json", folder)


@pytest.fixture(scope="module")
def written(folder, tmp_path_factory):
    """A sound folder of proposals; copy it before changing it."""
    path = tmp_path_factory.mktemp("written") / "proposals"
    rows = ((image_id, boxes, np.linspace(0.9, 0.1, len(boxes))) for image_id, boxes in BOXES.items())
    files = {image_id: folder / f"{image_id}.png" for image_id in SIZES} | {99: folder / "instances.json"}
    image_bytes = {image_id: file.stat().st_size for image_id, file in files.items()}
    assert write_proposals(path, rows, {"model": "made by hand"}, image_bytes) == (4, 7)
    return path


@pytest.fixture
def copy(written, tmp_path):
    return shutil.copytree(written, tmp_path / "proposals")


def test_what_is_written_is_read_and_the_boxes_stay_on_disk(written):
    given = read_proposals(written)
    assert given.about["model"] == "made by hand" and (given.about["images"], given.about["proposals"]) == (4, 7)
    np.testing.assert_array_equal(given.image_ids, list(BOXES))
    np.testing.assert_array_equal(given.ends, [2, 5, 6, 7])
    for row, boxes in enumerate(BOXES.values()):
        np.testing.assert_array_equal(given.boxes_of(row), boxes)
    assert given.boxes_of(0).dtype == given.scores.dtype == np.float32
    assert isinstance(given.words, np.memmap) and isinstance(given.scores, np.memmap)
    np.testing.assert_allclose(given.scores[:5], [0.9, 0.1, 0.9, 0.5, 0.1], rtol=1e-6)


def test_a_broken_off_writing_leaves_nothing(tmp_path):
    def rows():
        yield 1, [[0, 0, 1, 1]], [0.5]
        raise RuntimeError("the power is gone")

    with pytest.raises(RuntimeError):
        write_proposals(tmp_path / "new" / "proposals", rows(), {})
    with pytest.raises(UserError, match=r"image 5 has boxes of shape \(1, 4\) and scores of shape \(2,\)"):
        write_proposals(tmp_path / "new" / "proposals", [(5, [[0, 0, 1, 1]], [0.5, 0.4])], {})
    assert not list(tmp_path.iterdir())
    (tmp_path / "other.txt").touch()
    with pytest.raises(UserError, match="is not empty; choose another --out"):
        write_proposals(tmp_path, [], {})
    assert [path.name for path in tmp_path.iterdir()] == ["other.txt"]


def test_they_are_aligned_with_the_images_and_resized_each_axis_by_its_own_ratio(data_set, written):
    dataset = load_coco(data_set, batch_size=1, min_side=40, proposals=written, max_proposals=2)
    batches = {int(targets["image_ids"][0]): inputs for inputs, targets in dataset.as_numpy_iterator()}
    assert dataset.element_spec[0]["proposals"].shape.as_list()[1:] == [2, 4]
    assert batches[12]["image_sizes"].tolist() == [[40, 61]]  # 50 * 40 / 33 = 60.6
    # x by 61 / 50, y by 40 / 33.
    np.testing.assert_allclose(batches[12]["proposals"][0, 0], [12.2, 40 / 3, 61, 40], rtol=1e-6)
    np.testing.assert_allclose(batches[12]["proposals"][0, 1], [0, 0, 6.1, 200 / 33], rtol=1e-6)
    # Of three the two best; image 11 keeps its size.
    np.testing.assert_array_equal(batches[11]["proposals"][0], BOXES[11][:2])
    # 30 x 20 becomes 60 x 40; the second row is padding.
    np.testing.assert_array_equal(batches[13]["proposals"][0], [[5, 7, 24.5, 60], [0, 0, 0, 0]])
    assert [int(batches[image_id]["num_proposals"][0]) for image_id in (11, 12, 13)] == [2, 2, 1]


def test_they_are_mirrored_with_the_image(data_set, written):
    given = read_proposals(written)
    dataset = load_coco(
        data_set, batch_size=1, min_side=80, horizontal_flip=True, repeat=True, proposals=given, max_proposals=3
    )
    seen = set()
    for inputs, targets in dataset.take(24).as_numpy_iterator():
        if targets["image_ids"][0] != 11:
            continue
        flipped = inputs["images"][0, 0, 0, 0] == 0  # the white half has gone to the right
        # 40 x 60 becomes 80 x 120: x1' = 120 - 2 * 30, x2' = 120 - 2 * 10.
        expected = [[60, 10, 100, 50], [0, 0, 120, 80], [114, 4, 118, 8]] if flipped else 2 * np.array(BOXES[11])
        np.testing.assert_array_equal(inputs["proposals"][0], expected)
        np.testing.assert_array_equal(targets["boxes"][0, 0], expected[0])  # the object is the first proposal
        seen.add(bool(flipped))
    assert seen == {True, False}


def test_a_batch_and_its_short_end(data_set, written):
    dataset = load_coco(data_set, batch_size=2, min_side=40, proposals=written, max_proposals=2, cache=True)
    first, last = [inputs for inputs, _ in dataset.as_numpy_iterator()]
    assert first["proposals"].shape == (2, 2, 4) and first["num_proposals"].tolist() == [2, 2]
    assert last["proposals"].shape == (1, 2, 4) and last["num_proposals"].tolist() == [1]


def test_a_stream_that_resumes_gives_the_same_proposals(data_set, written):
    def stream(skip):
        options = {"batch_size": 2, "min_side": [40, 50], "horizontal_flip": True, "shuffle": True, "repeat": True}
        dataset = load_coco(data_set, **options, proposals=written, max_proposals=3, seed=4, skip_batches=skip)
        return [inputs["proposals"] for inputs, _ in dataset.take(6 - skip).as_numpy_iterator()]

    np.testing.assert_array_equal(stream(0)[2:], stream(2))


def test_without_objects_images_and_their_proposals_can_be_left_out(data_set, written):
    dataset = load_coco(data_set, batch_size=1, min_side=40, keep_empty=False, proposals=written)
    ((inputs, targets),) = dataset.as_numpy_iterator()
    assert targets["image_ids"].tolist() == [11] and inputs["num_proposals"].tolist() == [3]


def test_cropping_and_proposals_do_not_go_together(data_set, written):
    with pytest.raises(UserError, match="scale_jitter crops images"):
        load_coco(data_set, canvas=(40, 40), scale_jitter=(0.5, 2.0), proposals=written)
    told = r"mosaic crops images, .*; leave it out \(data.augment.mosaic.probability=0 in a configuration\)"
    with pytest.raises(UserError, match=told):
        load_coco(data_set, augmentations={"mosaic": {"probability": 0.5}}, proposals=written)
    load_coco(data_set, augmentations={"brightness": {"probability": 0.5}}, proposals=written)


def _set(name, place, value):
    def change(folder):
        array = np.load(folder / name)
        array[place] = value
        np.save(folder / name, array)

    return change


def _shorten(name, by=4):
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:-by])


def _without(name):
    return lambda folder: (folder / name).unlink()


def _set_box(image, box, side, value):
    """Change a number of a box in place; `image` and `box` count from the start of the file."""

    def change(folder):
        with open(folder / "boxes.tfrecord", "r+b") as file:
            file.seek(16 * (image + box) + 12 + 4 * side)
            file.write(np.float32(value).tobytes())

    return change


def _move_two_ends(folder):  # a box of image 11 becomes one of image 13
    np.save(folder / "ends.npy", np.array([2, 4, 6, 7]))


def _drop_last_score(folder):
    np.save(folder / "scores.npy", np.load(folder / "scores.npy")[:-1])


def _move_an_end(folder):  # image 12 has none, its two go to image 11
    np.save(folder / "ends.npy", np.array([0, 5, 6, 7]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_set_box(1, 2, 1, np.nan), r"image 11 \(11.png, 60 x 40 .*\): proposal 0 \[10, nan, 30, 25\] is not"),
        (_set_box(0, 1, 2, np.inf), r"image 12 \(12.png, .*: proposal 1 \[0, 0, inf, 5\] is not finite"),
        (_set("scores.npy", 5, np.nan), r"image 13 .*: proposal 0 .* has a score that is not finite"),
        (_set_box(1, 3, 2, 61), r"image 11 .*: proposal 1 \[0, 0, 61, 40\] lies outside the image"),
        (_set_box(2, 5, 1, -1), r"image 13 .*: proposal 0 .* lies outside the image"),
        (_set_box(1, 4, 2, 1), r"image 11 .*: proposal 2 \[1, 2, 1, 4\] has no positive width and height"),
        (_set("scores.npy", 4, 0.8), r"image 11 .*: proposal 2 .* scores higher than the one before it"),
        (_set("image_ids.npy", 0, 77), r"image 12 \(12.png\) of .*instances.json is not among its images; write those"),
        (_set("image_ids.npy", slice(0, 3), [1, 2, 3]), "proposals of other images, none of the 3 of .*instances.json"),
        (_set("image_ids.npy", 0, 13), "image 13 is in image_ids.npy twice"),
        (_set("image_bytes.npy", 1, 7), r"image 11 \(11.png\) of .* is not the file that they were made of"),
        (_move_an_end, "ends.npy does not divide the boxes among the images as boxes.tfrecord does"),
        (_drop_last_score, "7 boxes and 6 scores, as many are needed"),
        (_set("ends.npy", 3, 8), "ends.npy does not divide the 7 boxes"),
        (_set("ends.npy", 1, 1), "ends.npy does not divide the 7 boxes"),
        (_move_two_ends, "ends.npy does not divide the boxes among the images as boxes.tfrecord does"),
        (_shorten("boxes.tfrecord"), "boxes.tfrecord: not whole, it ends within a box"),
        (_shorten("boxes.tfrecord", 16), "6 boxes and 7 scores, as many are needed"),
        (_without("boxes.tfrecord"), "boxes.tfrecord: is missing"),
        (_shorten("scores.npy", 200), "scores.npy: not a whole .npy file"),
        (_shorten("image_ids.npy"), "image_ids.npy: not a whole .npy file"),
        (_shorten("proposals.json", 3), r"proposals.json: not a whole JSON file \(.*; copy the folder again or"),
        (_without("ends.npy"), "ends.npy: is missing"),
        (_without("proposals.json"), r"no folder of proposals \(no proposals.json in it\); keras-fpn propose writes"),
        (lambda folder: (folder / "proposals.json").write_text("[1]"), "proposals.json: not of a folder of proposals"),
        (
            lambda folder: (folder / "proposals.json").write_text('{"format": "keras_fpn proposals", "version": 1}'),
            "version 1, this program reads 2; write the proposals again with keras-fpn propose",
        ),
        (lambda folder: np.save(folder / "scores.npy", np.ones(7)), "scores.npy: float64"),
    ],
)
def test_a_bad_folder_is_told_in_one_line(change, message, copy, data_set):
    change(copy)
    with pytest.raises(UserError, match=message) as told:
        load_coco(data_set, proposals=copy)
    assert str(copy) in str(told.value) and "\n" not in str(told.value)


def test_a_path_that_is_none_is_told(tmp_path):
    with pytest.raises(UserError, match=r"absent: no folder of proposals \(is not there\)"):
        read_proposals(tmp_path / "absent")


def test_a_folder_without_any_box_is_told(data_set, tmp_path):
    write_proposals(tmp_path / "none", [(image_id, np.zeros((0, 4)), np.zeros(0)) for image_id in SIZES], {})
    with pytest.raises(UserError, match=r"image 11 .* has no proposals \(and 2 more of 3 images\)"):
        load_coco(data_set, proposals=tmp_path / "none")


def test_many_images_are_checked_and_counted(tmp_path, data_set):
    """More than are looked at in one go, the last of them bad."""
    record = data_set.records[0]
    records = [type(record)(**vars(record) | {"image_id": number}) for number in range(600)]
    many = type(data_set)(**vars(data_set) | {"records": tuple(records)})
    write_proposals(tmp_path / "many", ((number, BOXES[11], [3, 2, 1]) for number in range(600)), {})
    told = []
    read_proposals(tmp_path / "many").for_data_set(many, 2, progress=told.append)
    assert told[-1] == 600 and len(told) > 1
    _set_box(599, 1799, 3, 41)(tmp_path / "many")
    with pytest.raises(UserError, match=r"image 599 .*: proposal 2 \[1, 2, 3, 41\] lies outside"):
        read_proposals(tmp_path / "many").for_data_set(many, 2)


def test_a_full_disk_is_told_as_such():
    with pytest.raises(OSError) as caught, record_writer("/dev/full") as add:
        add(bytes(32000))
    assert caught.value.errno == errno.ENOSPC


def test_an_image_whose_boxes_were_damaged_later_stops_the_stream(copy, data_set):
    dataset = load_coco(data_set, proposals=copy)
    _set_box(1, 3, 2, 59)(copy)
    with pytest.raises(tf.errors.DataLossError):
        list(dataset)
