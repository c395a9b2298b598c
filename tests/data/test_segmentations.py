"""COCO segmentations as small masks: exactly known shapes, pycocotools as the reference, and what is refused."""

import json

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from keras_fpn.console.errors import UserError
from keras_fpn.data import load_coco, read_coco
from keras_fpn.data.segmentations import PACKED, SIDE, pack, rasterise, unpack

SIZE = (120, 200)  # height, width


def bins_of(*segmentations, boxes, size=SIZE):
    """[n, SIDE, SIDE] of n segmentations over their boxes."""
    return unpack(rasterise(list(segmentations), np.array(boxes, float), [size] * len(segmentations)))


def rectangle(x1, y1, x2, y2):
    return [x1, y1, x2, y1, x2, y2, x1, y2]


def test_a_rectangle_fills_its_box_and_a_part_of_a_larger_one():
    polygon = [rectangle(10, 20, 38, 48)]
    whole, half = bins_of(polygon, polygon, boxes=[[10, 20, 38, 48], [10, 20, 66, 48]])
    assert whole.all()
    assert half[:, : SIDE // 2].all() and not half[:, SIDE // 2 :].any()


def test_a_bin_belongs_to_the_object_from_half_coverage_on():
    # One bin is 1 px: of the first column half is covered, of the last column of the second less than half.
    at_half, below = bins_of([rectangle(0.5, 0, 56, 56)], [rectangle(0, 0, 55.49, 56)], boxes=[[0, 0, 56, 56]] * 2)
    assert at_half[:, 0].all()
    assert not below[:, -1].any() and below[:, -2].all()


def test_a_circle_has_the_area_of_a_circle():
    angles = np.linspace(0, 2 * np.pi, 400, endpoint=False)
    circle = np.stack([60 + 40 * np.cos(angles), 60 + 40 * np.sin(angles)], 1).ravel().tolist()
    (bins,) = bins_of([circle], boxes=[[20, 20, 100, 100]])
    # Thresholding moves area by less than half a bin along the border, and as often in as out.
    assert bins.mean() == pytest.approx(np.pi / 4, abs=0.003)
    np.testing.assert_array_equal(bins, bins[::-1])
    np.testing.assert_array_equal(bins, bins[:, ::-1])


def test_the_parts_of_an_object_add_up_whatever_their_direction():
    left, right = rectangle(0, 0, 14, 56), rectangle(42, 0, 56, 56)
    turned = np.array(right).reshape(-1, 2)[::-1].ravel().tolist()
    overlapping = [left, rectangle(7, 0, 14, 56)]
    both, reverse, twice = bins_of([left, right], [left, turned], overlapping, boxes=[[0, 0, 56, 56]] * 3)
    np.testing.assert_array_equal(both, reverse)
    assert both[:, :14].all() and both[:, 42:].all() and not both[:, 14:42].any()
    assert twice[:, :14].all() and not twice[:, 14:].any()


def test_random_polygons_agree_with_pycocotools_at_a_fifteenth_of_a_bin():
    rng = np.random.default_rng(3)
    fine = 15
    for _ in range(20):
        angles, radii = np.sort(rng.uniform(0, 2 * np.pi, 12)), rng.uniform(0.3, 1, 12)
        points = np.stack([np.cos(angles), np.sin(angles)], 1) * radii[:, None] * rng.uniform(5, 40, 2) + (90, 60)
        low, high = points.min(0), points.max(0)
        (bins,) = bins_of([points.ravel().tolist()], boxes=[[*low, *high]])
        scaled = ((points - low) / (high - low) * SIDE * fine).ravel().tolist()
        reference = coco_mask.decode(coco_mask.frPyObjects([scaled], SIDE * fine, SIDE * fine))[..., 0]
        coverage = reference.reshape(SIDE, fine, SIDE, fine).mean((1, 3))
        undecided = np.abs(coverage - 0.5) < 0.05  # pycocotools draws a border with a width of its own
        np.testing.assert_array_equal(bins[~undecided], (coverage > 0.5)[~undecided])


def test_a_polygon_beyond_its_clipped_box_is_cut():
    half = [-100, -100, 28, -100, 28, 300, -100, 300]
    far = [[1e6, 1e6, 2e6, 1e6, 2e6, 2e6], half]
    cut, still_cut = bins_of([half], far, boxes=[[0, 0, 56, 56]] * 2)
    assert cut[:, :28].all() and not cut[:, 28:].any()
    np.testing.assert_array_equal(cut, still_cut)


def test_run_lengths_compressed_or_not_average_the_pixels():
    mask = np.zeros(SIZE, np.uint8)
    mask[10:38, 20:48] = np.random.default_rng(0).integers(0, 2, (28, 28))
    packed = coco_mask.encode(np.asfortranarray(mask))
    compressed = {"size": list(SIZE), "counts": packed["counts"].decode()}
    flat = np.concatenate([[0], mask.ravel(order="F"), [1 - mask[-1, -1]]])
    edges = np.flatnonzero(np.diff(flat))
    plain = {"size": list(SIZE), "counts": np.diff(edges, prepend=0).tolist()}
    box = [20, 10, 48, 38]
    first, second = bins_of(compressed, plain, boxes=[box, box])
    np.testing.assert_array_equal(first, np.kron(mask[10:38, 20:48], np.ones((2, 2))))  # 28 px: two bins a pixel
    np.testing.assert_array_equal(first, second)


def test_a_thin_object_does_not_vanish():
    (bins,) = bins_of([[0, 0, 56, 55.8, 56, 56, 0, 0.2]], boxes=[[0, 0, 56, 56]])  # a fifth of the bins it runs through
    assert bins.any() and np.array_equal(bins, bins * np.eye(SIDE))


def test_a_mask_takes_392_bytes_so_that_all_objects_of_coco_fit_in_400_mb():
    bins = np.random.default_rng(0).integers(0, 2, (3, SIDE, SIDE))
    assert pack(bins).shape == (3, PACKED) and 860_000 * PACKED < 400e6
    np.testing.assert_array_equal(unpack(pack(bins)), bins)


# ------------------------------------------------------------------------------------------- files and batches


@pytest.fixture
def folder(tmp_path):
    """`folder(segmentation, ...)`: two images of 120 x 200, objects with these segmentations on the first."""
    from PIL import Image

    def write(*segmentations, boxes=None):
        for name in ("a.png", "b.png"):
            Image.new("RGB", SIZE[::-1], (90, 90, 90)).save(tmp_path / name)
        annotations = [
            {"id": 40 + index, "image_id": 7, "category_id": 1, "bbox": [20, 10, 28, 28], "area": 784, "iscrowd": 0}
            | ({} if segmentation == "absent" else {"segmentation": segmentation})
            for index, segmentation in enumerate(segmentations)
        ]
        images = [{"id": 7, "file_name": "a.png"}, {"id": 8, "file_name": "b.png"}]
        images = [image | {"height": SIZE[0], "width": SIZE[1]} for image in images]
        document = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "thing"}]}
        (tmp_path / "instances.json").write_text(json.dumps(document))
        return tmp_path / "instances.json", tmp_path

    return write


TRIANGLE = [20, 10, 48, 10, 20, 38]  # the upper left half of the box


def test_masks_come_with_their_boxes_and_turn_with_the_image(folder):
    files = folder([TRIANGLE], [rectangle(20, 10, 34, 38)])
    options = {"batch_size": 2, "min_side": 60, "max_side": 100, "horizontal_flip": True, "repeat": True}
    stream = load_coco(*files, fields=("masks",), **options)
    seen = set()
    for _, targets in stream.take(6):
        masks, boxes = targets["masks"].numpy(), targets["boxes"].numpy()
        assert masks.shape == (2, 2, SIDE, SIDE) and masks.dtype == np.uint8 and not masks[1].any()
        flipped = boxes[0, 0, 0] == 100 - 24
        seen.add(bool(flipped))
        triangle, left_half = (mask[:, ::-1] if flipped else mask for mask in masks[0])
        assert triangle[0, :-1].all() and triangle[:-1, 0].all() and triangle.mean() == pytest.approx(0.5, abs=0.01)
        assert left_half[:, :28].all() and not left_half[:, 28:].any()
    assert seen == {True, False}


def test_without_masks_the_segmentations_are_not_looked_at(folder):
    data_set = read_coco(*folder("absent"))
    assert "masks" not in data_set.fields
    ((_, targets),) = load_coco(data_set, batch_size=2)
    assert "masks" not in targets
    with pytest.raises(UserError, match=r"field .masks. needs a data set read with it: read_coco\(..., fields=\("):
        load_coco(data_set, fields=("masks",))


def test_jittered_crops_cut_masks_with_their_boxes(folder):
    """Of the upper left triangle of a box, what is left of a crop: bins before the line that it ends at."""
    options = {"scale_jitter": (2.0, 2.0), "canvas": (SIZE[0], SIZE[0]), "batch_size": 2, "repeat": True}
    bins, cut = (np.arange(SIDE) + 0.5) / SIDE, 0
    for inputs, targets in load_coco(*folder([TRIANGLE]), fields=("masks",), **options).take(12):
        (box, *_), (mask, *_), image = targets["boxes"][0].numpy(), targets["masks"][0].numpy(), inputs["images"][0]
        if not mask.any():  # the whole object is beyond the crop
            assert targets["classes"][0].numpy().tolist() == [-1]
            continue
        scale = SIZE[0] * 2 / SIZE[1]  # an image wider than its canvas
        width, height = (box[2:] - box[:2]) / scale
        cut += height < 27.9 or width < 27.9
        top = 28 - height if box[1] == 0 else 0  # how much of it is cut off there
        left = 28 - width if box[0] == 0 else 0
        x, y = left + bins * width, top + bins * height
        expected = x[None] + y[:, None] < 28
        assert (expected == mask).mean() > 0.9, image.shape
    assert cut > 2


@pytest.mark.parametrize(
    ("segmentation", "told"),
    [
        ("absent", "is missing"),
        ([], "is empty"),
        ([[1, 2, 3, 4]], r"has a polygon \[1, 2, 3, 4\], not three points or more"),
        ([[1, 2, 3, 4, 5, 6, 7]], "not three points or more"),
        ([TRIANGLE, 5], "has a polygon 5, not three points or more"),
        ([[1, 2, 3, "x", 5, 6]], "that is not all finite numbers"),
        ([[1, 2, 3, float("nan"), 5, 6]], "that is not all finite numbers"),
        ([[[20, 10], [48, 10], [20, 38], [18, 30], [16, 20], [18, 12]]], "that is not all finite numbers"),
        ([[20, 10, 48, "10", 20, 38]], "that is not all finite numbers"),
        ("scribble", "is neither a list of polygons nor"),
        ({"size": 120, "counts": [24000]}, r"is of 120 pixels \(height, width\), the image of \[120, 200\]"),
        (
            {"size": [200, 120], "counts": [24000]},
            r"is of \[200, 120\] pixels \(height, width\), the image of \[120, 200\]",
        ),
        ({"size": [120, 200], "counts": [5, 5]}, "has run lengths that do not add up to the image's 24000 pixels"),
        ({"size": [120, 200], "counts": "PPPPP"}, "has run lengths that do not add up"),
    ],
)
def test_an_object_without_a_mask_is_one_line(folder, segmentation, told):
    line = (
        rf"instances.json: annotation 41 of image 7 \(a.png\): \"segmentation\" .*{told}.*masks are needed here"
    )
    with pytest.raises(UserError, match=line) as caught:
        read_coco(*folder([TRIANGLE], segmentation), fields=("masks",))
    assert "\n" not in str(caught.value)


def test_an_object_beside_its_box_is_refused_or_dropped(folder):
    files = folder([rectangle(100, 100, 110, 110)], [TRIANGLE])
    with pytest.raises(UserError, match="annotation 40 of .* covers nothing of its box; correct it, or leave such"):
        read_coco(*files, fields=("masks",))
    data_set = read_coco(*files, fields=("masks",), invalid_boxes="drop")
    assert data_set.dropped == (40,) and data_set.records[0].fields["masks"].shape == (1, PACKED)


def test_an_object_without_a_mask_may_be_left_out(folder):
    expected = read_coco(*folder([TRIANGLE]), fields=("masks",)).records[0].fields["masks"]
    data_set = read_coco(*folder([[1, 2, 3, 4]], [TRIANGLE], "absent"), fields=("masks",), invalid_boxes="drop")
    assert data_set.dropped == (40, 42)
    np.testing.assert_array_equal(data_set.records[0].fields["masks"], expected)


def test_training_on_a_data_set_without_masks_is_one_line_and_leaves_nothing(run, folder, tmp_path):
    annotations, images = folder("absent")
    names = [f"data.{split}.{key}={path}" for split in ("train", "val")
             for key, path in (("annotations", annotations), ("images", images))]  # fmt: skip
    code, _, error = run("train", "tiny", "--out", "gone", "--set", "model.architecture=segment_proposals", *names)
    assert code == 2 and error.count("\n") == 1 and "masks are needed here" in error
    assert str(annotations) in error and "annotation 40" in error and not (tmp_path / "gone").exists()
