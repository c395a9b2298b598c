"""Bitmaps and polygons of objects: read as pycocotools reads, resized as PyTorch and Pillow do, kept on objects."""

import json
import pathlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from pycocotools import mask as coco_mask

from keras_fpn.console.errors import UserError
from keras_fpn.data import load_coco, nearest, outline_areas, read_coco, transforms
from keras_fpn.data.coco import Record
from keras_fpn.data.fields import OBJECT_FIELDS
from keras_fpn.data.fields.bitmaps import Bitmaps
from keras_fpn.data.objects import Objects

HEIGHT, WIDTH = SIZE = (40, 60)
TRIANGLE, BEYOND = [4, 6, 30, 6, 30, 18], [-20, 10, 90, 12, 20, 70]
CROSSING = [10, 10, 40, 35, 40, 10, 10, 35]
MASK = np.zeros(SIZE, np.uint8)
MASK[5:, 8:30:2] = 1


def compressed(mask):
    return coco_mask.encode(np.asfortranarray(mask))["counts"]


def runs(mask):
    """The uncompressed run lengths of a mask, that of zeros first."""
    flat = mask.ravel("F")
    return np.diff([0, *np.flatnonzero(np.diff(flat, prepend=0)), flat.size]).tolist()


def objects_of(*entries, drop=False):
    """Objects of one image of an annotation file."""
    entries = [{"id": 40 + number, "iscrowd": 0, **entry} for number, entry in enumerate(entries)]
    image = {"id": 8, "file_name": "b.png", "height": HEIGHT, "width": WIDTH}
    crowds = np.array([entry["iscrowd"] for entry in entries])
    return Objects(pathlib.Path("f.json"), entries, [image] * len(entries), (3,), drop, {"is_crowd": crowds})


def rows_of(field, column):
    """Rows that the graph makes of a column of objects of one image."""
    return field.source([Record("b.png", "b.png", 8, HEIGHT, WIDTH, {field.name: column})])(0).numpy()


def test_polygons_and_run_lengths_of_all_kinds_are_read_as_pycocotools_reads_them():
    outlines = [[TRIANGLE], [TRIANGLE, CROSSING], [BEYOND]]
    expected = [coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(each, *SIZE))) for each in outlines]
    counts = [runs(MASK), compressed(MASK), compressed(MASK).decode()]
    segmentations = outlines + [{"size": [HEIGHT, WIDTH], "counts": each} for each in counts]
    objects = objects_of(*({"segmentation": each} for each in segmentations))
    field = OBJECT_FIELDS["bitmaps"]
    column, is_sound = field.read(objects)
    assert is_sound.all()
    np.testing.assert_array_equal(rows_of(field, column), [*expected, MASK, MASK, MASK])
    np.testing.assert_array_equal(rows_of(field, column[[4, 1]]), [MASK, expected[1]])


def test_polygons_are_points_and_parts():
    field = OBJECT_FIELDS["polygons"]
    crowd = {"segmentation": {"size": [HEIGHT, WIDTH], "counts": runs(MASK)}, "iscrowd": 1}
    column, _ = field.read(objects_of({"segmentation": [TRIANGLE, CROSSING]}, crowd, {"segmentation": [BEYOND]}))
    rows = rows_of(field, column)
    np.testing.assert_array_equal(rows[0, :, :2].ravel(), TRIANGLE + CROSSING)
    assert rows[0, :, 2].tolist() == [0] * 3 + [1] * 4
    np.testing.assert_array_equal(rows[2, :3], np.insert(np.reshape(BEYOND, [3, 2]), 2, 0, axis=1))
    assert (rows[1] == -1).all() and (rows[2, 3:] == -1).all()
    flipped = field.flip(rows, SIZE).numpy()
    np.testing.assert_array_equal(flipped[0, :3, :2], [[56, 6], [30, 6], [30, 18]])
    scaled = field.scale(rows, SIZE, (80, 90)).numpy()
    np.testing.assert_array_equal(scaled[0, :3, :2], [[6, 12], [45, 12], [45, 36]])
    cut = field.crop(rows, transforms.Window(-5, 10, 20, 20), None).numpy()
    np.testing.assert_array_equal(cut[0, :3, :2], [[-6, 11], [20, 11], [20, 23]])
    assert all((each[1] == -1).all() and (each[..., 2] == rows[..., 2]).all() for each in (flipped, scaled, cut))


def test_areas_in_a_window_are_those_that_pycocotools_counts_on_a_finer_grid():
    """16 of its pixels across one of the image; its border moves by half of one."""
    draw, fine, (top, left, height, width) = np.random.default_rng(0), 16, (5, 12, 20, 25)
    polygons = np.full((6, 20, 3), -1, np.float32)
    expected = np.zeros(6)
    for index in range(5):  # the last has no points
        for part in range(2):
            angles, middle = np.sort(draw.uniform(0, 2 * np.pi, 9)), draw.uniform(8, 32, 2) + 8 * part
            points = middle + draw.uniform(3, 12, (9, 1)) * np.stack([np.cos(angles), np.sin(angles)], 1)
            polygons[index, 9 * part : 9 * part + 9] = np.concatenate([points, np.full((9, 1), part)], 1)
            outline = [((points - [left, top]) * fine).ravel().tolist()]
            expected[index] += coco_mask.area(coco_mask.frPyObjects(outline, fine * height, fine * width))[0] / fine**2
    edges = outline_areas.edges_of(tf.constant(polygons))
    assert np.count_nonzero(expected) > 3
    np.testing.assert_allclose(edges.areas(transforms.Window(top, left, height, width)), expected, atol=0.5)
    whole = edges.areas(transforms.Window(-100, -100, 300, 300))
    np.testing.assert_allclose(edges.areas(), whole, rtol=1e-9)
    assert not outline_areas.edges_of(tf.zeros([0, 0, 3])).areas().numpy().size


def test_an_object_whose_outline_leaves_the_window_is_lost_though_its_box_reaches_into_it():
    field = OBJECT_FIELDS["polygons"]
    triangle, line, square = [0, 0, 40, 0, 0, 40], [2, 2, 38, 38, 30, 30], [20, 20, 40, 20, 40, 40, 20, 40]
    crowd = {"segmentation": {"size": [HEIGHT, WIDTH], "counts": runs(MASK)}, "iscrowd": 1}
    given = [{"segmentation": [each]} for each in (triangle, line, square)]
    column, _ = field.read(objects_of(*given, crowd))
    rows = tf.constant(rows_of(field, column))
    for (top, left), expected in (((22, 22), [False, True, True, True]), ((10, 10), [True] * 4)):
        window = transforms.Window(top, left, 15, 15)
        assert field.is_shown(rows, window).numpy().tolist() == expected
    boxes = tf.constant([[0.0, 0, 40, 40], [2, 2, 38, 38], [20, 20, 40, 40], [8, 5, 30, 40]])
    fields = {OBJECT_FIELDS["boxes"]: boxes, field: rows, OBJECT_FIELDS["bitmaps"]: tf.ones([4, *SIZE], tf.uint8)}
    _, left = transforms.crop(tf.zeros([*SIZE, 3]), fields, 22, 22, 15, 15)
    assert [len(own) for own in left.values()] == [3, 3, 3]
    np.testing.assert_array_equal(left[OBJECT_FIELDS["boxes"]][1], [0, 0, 15, 15])


@pytest.mark.parametrize(
    ("name", "segmentation", "told"),
    [
        ("bitmaps", None, r'"segmentation" is missing; masks are needed here: add it'),
        ("bitmaps", [[4, 6, 30, 6]], r'"segmentation" has a polygon \[4, 6, 30, 6\], not three points or more'),
        ("bitmaps", [[70, 6, 90, 6, 90, 18]], r'its "segmentation" covers no pixel of its image; .*invalid_boxes=drop'),
        ("bitmaps", [[0, 0, 1e9, 0, 1e9, 1e9]], r'"segmentation" has a polygon .* far outside the image'),
        ("bitmaps", {"size": [60, 40], "counts": [2400]}, r'"segmentation" is of \[60, 40\] pixels'),
        ("bitmaps", {"size": [40, 60], "counts": [2400]}, r'its "segmentation" covers no pixel of its image'),
        ("bitmaps", {"size": [40, 60], "counts": [100]}, r"has run lengths that do not add up to the image's 2400"),
        ("bitmaps", {"size": [40, 60], "counts": b"ab0"}, r"has run lengths that do not add up to the image's 2400"),
        ("bitmaps", {"size": [40, 60], "counts": "ab0"}, r"has run lengths that do not add up to the image's 2400"),
        ("polygons", None, r'"segmentation" is missing; polygons are needed here: add them'),
        ("polygons", [[4, 6, 30, 6]], r'"segmentation" has a polygon \[4, 6, 30, 6\], not three points or more'),
        ("polygons", [[70, 6, 90, 6, 90, 18]], r'its "segmentation" lies outside its image; .*invalid_boxes=drop'),
        ("polygons", {}, r'"segmentation" is empty; polygons are needed here: add them, or leave such objects out'),
        ("polygons", {"size": [40, 60], "counts": [1200, 1200]}, r"run lengths, .* model.mask_targets.rule=bitmask"),
    ],
)
def test_what_is_no_mask_is_one_line(name, segmentation, told):
    objects = objects_of({"segmentation": [TRIANGLE]}, {"segmentation": segmentation})
    with pytest.raises(UserError, match=rf"^f.json: annotation 41 of image 8 \(b.png\): .*{told}") as caught:
        OBJECT_FIELDS[name].read(objects)
    assert "\n" not in str(caught.value)


OUTSIDE = [[70, 6, 90, 6, 90, 18]]


@pytest.mark.parametrize("name", ["bitmaps", "polygons"])
@pytest.mark.parametrize("segmentation", [OUTSIDE, [], None, [[4, 6, 30, 6]], [TRIANGLE, [1, 2, 3, float("nan")]]])
def test_an_object_without_a_mask_may_be_left_out(name, segmentation):
    entries = ({"segmentation": segmentation}, {"segmentation": [TRIANGLE]}, {"segmentation": segmentation})
    field = OBJECT_FIELDS[name]
    column, is_sound = field.read(objects_of(*entries, drop=True))
    assert is_sound.tolist() == [False, True, False] and len(column) == 3
    alone, _ = field.read(objects_of(entries[1]))
    np.testing.assert_array_equal(rows_of(field, column[is_sound]), rows_of(field, alone))
    told = r"^f.json: annotation 40 .* \(and 1 more of 3 boxes\); .*leave such objects out: --set data.invalid_boxes="
    with pytest.raises(UserError, match=told):
        field.read(objects_of(*entries))


@pytest.mark.parametrize("name", ["bitmaps", "polygons"])
def test_where_no_object_has_a_mask_none_is_left_out(name):
    objects = objects_of({}, {"segmentation": []}, drop=True)
    told = r'annotation 40 .*: "segmentation" is missing \(and 1 more, all there are\); \w+ are needed here: add \w+'
    with pytest.raises(UserError, match=told):
        OBJECT_FIELDS[name].read(objects)


def test_pixels_are_taken_over_as_pytorch_and_pillow_do():
    """PyTorch's places are its own, in the golden; Pillow is asked."""
    golden = np.load(pathlib.Path(__file__).parents[1] / "golden" / "masks.npz")
    asked = [name for name in golden.files if name.startswith("nearest/")]
    assert len(asked) == 10
    for name in asked:
        old, new = map(int, name.split("/")[1:])
        np.testing.assert_array_equal(nearest.torchvision_places(tf.constant(old), tf.constant(new)), golden[name])
        line = Image.fromarray(np.arange(old, dtype=np.int32)[None], mode="I")
        expected = np.asarray(line.resize((new, 1), Image.Resampling.NEAREST))[0]
        np.testing.assert_array_equal(nearest.pillow_places(tf.constant(old), tf.constant(new)), expected)


@pytest.mark.parametrize("count", [0, 1, 8, 11])
def test_many_masks_are_resized_at_once(count):
    masks = (np.random.default_rng(count).random((count, *SIZE)) < 0.4).astype(np.uint8)
    for height, width in ((90, 31), (17, 60)):
        found = Bitmaps("pillow").scale(tf.constant(masks), SIZE, (height, width)).numpy()
        images = [Image.fromarray(each).resize((width, height), Image.Resampling.NEAREST) for each in masks]
        expected = [np.asarray(image) for image in images]
        np.testing.assert_array_equal(found, np.reshape(expected, (count, height, width)))
    with pytest.raises(UserError, match='resizing must be "torchvision" or "pillow", not \'cubic\''):
        Bitmaps("cubic")


def test_a_window_may_reach_beyond_the_image():
    field, rows = OBJECT_FIELDS["bitmaps"], tf.constant(np.stack([MASK, MASK[::-1]]))
    cut = field.crop(rows, transforms.Window(-3, 50, 60, 25), None).numpy()
    expected = np.zeros((2, 60, 25))
    expected[:, 3:43, :10] = rows[:, :, 50:]
    np.testing.assert_array_equal(cut, expected)
    assert field.is_left(field.crop(rows, transforms.Window(0, 0, 5, 60), None)).numpy().tolist() == [False, True]


def test_what_is_hidden_of_a_box_is_hidden_of_its_pixels():
    field, rows = OBJECT_FIELDS["bitmaps"], tf.ones([2, *SIZE], tf.uint8)
    is_seen = np.ones((2, 56, 56), bool)
    is_seen[0, :, 28:], is_seen[1, :14] = False, False
    boxes = tf.constant([[0.0, 0, 40, 40], [10, 8, 38, 36]])
    left = field.cover(rows, tf.constant(is_seen), boxes, boxes).numpy()
    expected = np.ones((2, *SIZE))
    expected[0, :, 20:] = 0  # and what lies beyond the box goes as its border goes
    expected[1, :15] = 0
    np.testing.assert_array_equal(left, expected)


# ------------------------------------------------------------------------------------------- augmented


AUGMENTATIONS = {
    "mosaic": {"probability": 0.5}, "copy_paste": {"probability": 0.6}, "crop": {"probability": 0.5},
    "zoom_out": {"probability": 0.3},
}  # fmt: skip


@pytest.fixture(scope="module")
def discs(tmp_path_factory):
    """Pictures with three discs each, a crowd among them; read with masks over boxes and on pixels."""
    folder = tmp_path_factory.mktemp("discs")
    rng, images, annotations = np.random.default_rng(2), [], []
    angles = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    for number, (height, width) in enumerate([(90, 120), (120, 80), (70, 130)]):
        Image.new("RGB", (width, height), (60, 60, 60)).save(folder / f"{number}.png")
        images.append({"id": number, "file_name": f"{number}.png", "height": height, "width": width})
        for index in range(3):
            radius, (x, y) = rng.uniform(9, 24), rng.uniform(26, [width - 26, height - 26])
            outline = np.stack([x + radius * np.cos(angles), y + radius * np.sin(angles)], 1).ravel().tolist()
            box = [x - radius, y - radius, 2 * radius, 2 * radius]
            entry = {"id": 3 * number + index + 1, "image_id": number, "category_id": 1, "bbox": box}
            annotations.append({**entry, "segmentation": [outline], "iscrowd": int(3 * number + index == 4)})
    document = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "disc"}]}
    (folder / "instances.json").write_text(json.dumps(document))
    fields = ("masks", Bitmaps("pillow"), "polygons")
    return read_coco(folder / "instances.json", folder, fields=fields)


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"scale_jitter": (0.4, 1.6), "canvas": (128, 160), "cache": True}])
def test_bitmaps_go_where_their_objects_go(discs, options):
    """On the pixels of its box an object covers what its mask over the box covers, and beyond it nothing."""
    options = {"min_side": 128, "max_side": 192, "shuffle": True, "repeat": True, "horizontal_flip": True, **options}
    fields = ("masks", "bitmaps")
    stream = load_coco(discs, batch_size=3, fields=fields, augmentations=AUGMENTATIONS, seed=1, **options)
    differences = []
    for inputs, targets in stream.take(12).as_numpy_iterator():
        bitmaps = targets["bitmaps"]
        assert bitmaps.shape[:2] == targets["classes"].shape and bitmaps.dtype == np.uint8
        assert (bitmaps.shape[2:] == inputs["image_sizes"].max(0)).all()
        for image, (height, width) in enumerate(inputs["image_sizes"]):
            assert not bitmaps[image, :, height:].any() and not bitmaps[image, :, :, width:].any()
        assert not bitmaps[targets["classes"] < 0].any()
        for image, index in np.argwhere(targets["classes"] >= 0):
            box, bitmap = targets["boxes"][image, index], bitmaps[image, index]
            (x1, y1), (x2, y2) = np.floor(box[:2]).astype(int) - 1, np.ceil(box[2:]).astype(int) + 1
            inside = bitmap[max(y1, 0) : y2, max(x1, 0) : x2]
            assert inside.any() and inside.sum() == bitmap.sum()
            sides = box[2:] - box[:2]
            share = targets["masks"][image, index].mean() * sides.prod()
            differences.append(abs(bitmap.sum() - share) / (2 * sides.sum()))  # in pixels of the border
    assert len(differences) > 50 and np.mean(differences) < 0.25 and np.max(differences) < 1.5


@pytest.mark.slow
def test_polygons_go_with_their_objects_and_refuse_what_would_cut_them(discs):
    options = {"batch_size": 3, "shuffle": True, "repeat": True, "horizontal_flip": True, "seed": 2}
    options |= {"scale_jitter": (0.6, 1.4), "canvas": (128, 160), "augmentations": {"mosaic": {"probability": 1.0}}}
    stream, count = load_coco(discs, fields=("polygons", "bitmaps"), **options), 0
    for _, targets in stream.take(4).as_numpy_iterator():
        for image, index in np.argwhere((targets["classes"] >= 0) & (targets["is_crowd"] == 0)):
            points = targets["polygons"][image, index]
            points = points[points[:, 2] >= 0][:, :2].astype(float)
            bitmap = targets["bitmaps"][image, index]
            if bitmap.sum() < 150:  # of which a pixel more or less at the border is a large share
                continue
            drawn = coco_mask.decode(coco_mask.frPyObjects([points.ravel().tolist()], *bitmap.shape))[..., 0]
            box = targets["boxes"][image, index]
            (x1, y1), (x2, y2) = np.round(box).astype(int).reshape(2, 2)  # a quarter of the frame may end in it
            overlap = (drawn & bitmap)[y1:y2, x1:x2].sum() / (drawn | bitmap)[y1:y2, x1:x2].sum()
            assert overlap > 0.75
            count += 1
    assert count > 10
    with pytest.raises(UserError, match=r"copy_paste hides parts .*rule=bitmask can\); leave it out"):
        load_coco(discs, fields=("polygons",), augmentations={"copy_paste": {"probability": 1.0}})
