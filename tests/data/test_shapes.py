"""The embedded data set: same bytes for the same seed, and annotations that say what the pictures show."""

import hashlib
import json

import numpy as np
import pytest
from PIL import Image, ImageDraw
from pycocotools import mask as masks

from keras_fpn.console.errors import UserError
from keras_fpn.data import find_layout, read_coco, shapes, write_shapes


def _digests(root):
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def _drawn(count, size=256):
    return [shapes.draw_image(0, 0, index, size) for index in range(count)]


def test_same_seed_same_bytes(tmp_path):
    for name, seed, num_train in (("one", 4, 6), ("two", 4, 6), ("longer", 4, 8), ("other", 5, 6)):
        write_shapes(tmp_path / name, num_train=num_train, num_val=2, size=96, seed=seed)
    one, two, longer, other = (_digests(tmp_path / name) for name in ("one", "two", "longer", "other"))
    assert one == two
    assert len(one) == 6 + 2 + 2
    images = {name for name in one if name.endswith(".jpg")}
    assert len({one[name] for name in images}) == 8
    # More training images leave the first ones and the validation set alone; another seed changes all.
    assert all(longer[name] == one[name] for name in images | {"annotations/instances_val.json"})
    assert not any(other[name] == one[name] for name in one)


def test_it_is_a_coco_folder(tmp_path):
    calls = []
    write_shapes(
        tmp_path, num_train=5, num_val=3, size=96, progress=lambda done, total: calls.append((done, total))
    )
    assert calls == [(done, 8) for done in range(1, 9)]
    layout = find_layout(tmp_path)
    train = read_coco(*layout.train)
    val = read_coco(*layout.val)
    assert train.class_names == val.class_names == ("circle", "square", "triangle", "star")
    assert (len(train), len(val)) == (5, 3)
    assert not {record.image_id for record in train.records} & {record.image_id for record in val.records}
    with Image.open(val.records[0].path) as picture:
        assert (picture.format, picture.size, picture.mode) == ("JPEG", (96, 96), "RGB")
    assert not list(tmp_path.rglob("*.part"))


def test_boxes_and_areas_agree_with_the_polygons(tmp_path):
    write_shapes(tmp_path, num_train=40, num_val=0)
    document = json.loads((tmp_path / "annotations" / "instances_train.json").read_text())
    assert len(document["annotations"]) > 150
    for item in document["annotations"]:
        x, y, width, height = item["bbox"]
        points = np.reshape(item["segmentation"][0], (-1, 2))
        np.testing.assert_allclose(points.min(0), (x, y), atol=1e-6)
        np.testing.assert_allclose(points.max(0), (x + width, y + height), atol=0.011)
        assert points.min() >= 0 and points.max() <= 256
        mask = masks.merge(masks.frPyObjects(item["segmentation"], 256, 256))
        # pycocotools rasterises to whole pixels: wrong by up to half a pixel along the outline.
        assert abs(masks.area(mask) - item["area"]) <= 2 + 0.5 * (width + height)
        assert abs(masks.iou([mask], [mask], [0])[0, 0] - 1) < 1e-9


def test_boxes_are_tight_around_what_is_drawn():
    for size, corner in ((8.0, (20.3, 31.7)), (23.4, (90.0, 5.5)), (159.0, (60.2, 40.9))):
        for label in range(4):
            outline = shapes._outline(np.random.default_rng(label), label, size)
            polygon = np.round(outline + corner, 2)
            window, coverage = shapes._rasterise(polygon, 256)
            rows, columns = np.nonzero(coverage > 0.02)
            drawn = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
            drawn += np.array([window[1].start, window[0].start] * 2)
            wanted = np.concatenate([polygon.min(0), polygon.max(0)])
            # Thin tips cover little of their last pixel, hence the one pixel on the inner side.
            assert (np.abs(drawn - wanted) <= 1.0).all(), (label, size)
            area = shapes._polygon_area(polygon)
            assert abs(coverage.sum() - area) <= 0.02 * area + 0.15 * size


def test_objects_span_the_scales():
    objects = [item for _, items in _drawn(150) for item in items]
    extents = np.array([np.ptp(item["polygon"], axis=0) for item in objects])
    areas = np.array([shapes._polygon_area(item["polygon"]) for item in objects])
    assert extents.min() > 5.5 and extents.max(1).min() >= 7.9 and extents.max() <= 160.02
    small, large = (areas < 32**2).mean(), (areas > 96**2).mean()
    assert 0.45 < small < 0.7 and large > 0.05  # COCO's own: 0.41 and 0.24
    assert np.bincount([item["class"] for item in objects]).min() > 0.2 * len(objects)
    counts = [len(items) for _, items in _drawn(150)]
    assert 4.5 < np.mean(counts) < 8 and max(counts) <= 9 and 0 < counts.count(0) <= 12


def test_every_object_can_be_seen():
    """At least 60 % of each object is on top, and it differs from the ring around it."""
    for pixels, objects in _drawn(25):
        owner = np.full(pixels.shape[:2], -1)
        full = []
        for number, item in enumerate(objects):
            window, coverage = shapes._rasterise(item["polygon"], 256)
            owner[window][coverage > 0.5] = number
            full.append((coverage > 0.5).sum())
        for number, area in enumerate(full):
            visible = owner == number
            assert visible.sum() >= 0.58 * area
            assert pixels[visible].std(0).max() < 60  # one colour and its texture


def test_cut_polygons():
    square = np.array([[-10.0, 20], [10, 20], [10, 40], [-10, 40]])
    cut = shapes._clip_polygon(square, 256)
    assert shapes._polygon_area(cut) == 200
    assert (cut.min(0).tolist(), cut.max(0).tolist()) == ([0, 20], [10, 40])
    corner = np.array(
        [[250.0, 246], [260, 256], [250, 266], [240, 256]]
    )  # a diamond, a quarter of it cut twice
    assert shapes._polygon_area(shapes._clip_polygon(corner, 256)) == pytest.approx(
        200 / 2 - 16 / 2, abs=1e-6
    )


@pytest.mark.parametrize(
    "wrong",
    [{"num_train": -1}, {"size": 10}, {"seed": -3}, {"quality": 0}, {"num_val": 2.5}, {"size": "256"}],
)
def test_wrong_arguments(tmp_path, wrong):
    with pytest.raises(UserError, match=f"{next(iter(wrong))}: .* is no whole number"):
        write_shapes(tmp_path / "x", **wrong)
    assert not (tmp_path / "x").exists()


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="file: is a file; give the name of a folder"):
        write_shapes(tmp_path / "file", num_train=1, num_val=0)


def test_keypoints_are_corners_and_tips(tmp_path):
    write_shapes(tmp_path, num_train=40, num_val=0)
    data_set = read_coco(*find_layout(tmp_path).train, fields=("keypoints",))
    field, names = data_set.fields["keypoints"], data_set.class_names
    assert field.order == (0, 3, 2, 1, 5, 4, 7, 6)  # left and right in the names
    wanted = {"circle": 4, "square": 4, "triangle": 3, "star": 5}
    assert {name: len(points) for name, points in zip(names, field.of_classes, strict=True)} == wanted
    rows, boxes, classes = (
        np.concatenate([record.fields[key] for record in data_set.records]) for key in ("keypoints", "boxes", "classes")
    )
    v = rows[..., 2]
    for label, points in enumerate(field.of_classes):
        assert (v[classes == label].max(0) > 0).nonzero()[0].tolist() == list(points)
    labelled = v > 0
    assert 0.9 < labelled.sum() / sum(len(field.of_classes[label]) for label in classes) < 1  # some lie outside
    assert 0.01 < (v[labelled] == 1).mean() < 0.1
    low, high = boxes[:, None, :2] - 0.011, boxes[:, None, 2:] + 0.011
    assert ((rows[..., :2] >= low) & (rows[..., :2] <= high)).all(-1)[labelled].all()
    # By the names: x of the left ones is smaller, y of the top ones is; turned by at most 13 degrees.
    place = {name: rows[:, number] for number, name in enumerate(field.names)}
    for less, more, axis in (
        ("left", "right", 0), ("top_left", "top_right", 0), ("bottom_left", "bottom_right", 0), ("top", "bottom", 1),
        ("top_left", "bottom_left", 1), ("top", "bottom_left", 1), ("left", "bottom_left", 1),
    ):  # fmt: skip
        one, other = place[less], place[more]
        both = (one[:, 2] > 0) & (other[:, 2] > 0)
        assert both.sum() > 20 and (one[both, axis] < other[both, axis]).all()


def test_hidden_keypoints_lie_under_later_shapes():
    """By masks that Pillow draws eight times as large, which are wrong by half of a pixel of theirs."""
    hidden = 0
    for _, objects in _drawn(30):
        later = Image.new("L", (2048, 2048))
        for item in reversed(objects):
            for x, y, v in item["keypoints"].tolist():
                around = later.crop((int(8 * x) - 2, int(8 * y) - 2, int(8 * x) + 2, int(8 * y) + 2)).getextrema()
                if v and around[0] == around[1]:  # not at the very edge of the other
                    assert (around[0] > 0) == (v == 1)
                    hidden += v == 1
            ImageDraw.Draw(later).polygon([tuple(point) for point in (8 * item["polygon"]).tolist()], fill=255)
    assert hidden > 5


def test_keypoints_took_nothing_from_what_was_drawn_before_there_were_any():
    (_, objects), *_ = _drawn(1)
    # The first corners of the first object of the first picture before.
    assert objects[0]["class"] == 3 and objects[0]["polygon"][:2].tolist() == [[70.38, 105.1], [93.98, 146.72]]
