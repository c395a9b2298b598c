"""Per-object fields: what every one of them keeps to, a stranger's own, and how little they hold in memory."""

import json
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import keras_fpn
from keras_fpn.console.errors import UserError
from keras_fpn.data import columns, load_coco, read_coco, segmentations, transforms
from keras_fpn.data.fields import OBJECT_FIELDS, ObjectField, choose, register_object_field
from keras_fpn.parts.output_fields import OUTPUT_FIELDS

SIZE = (40, 60)  # height, width


class Colour(ObjectField):
    """The number of an object's colour."""

    name, dtype, padding = "colour", "int32", -1


class Arrow(ObjectField):
    """Where an object points: x, y of unit length."""

    name, shape = "arrow", (2,)

    def flip(self, rows, size):
        return rows * [-1.0, 1.0]


class Foot(ObjectField):
    """Where an object stands: x, y in pixels. It is lost with this point."""

    name, shape, refuses = "foot", (2,), {"flip": "would put left feet for right ones"}

    def scale(self, rows, old_size, new_size):
        return rows * tf.cast(tf.stack([new_size[1] / old_size[1], new_size[0] / old_size[0]]), tf.float32)

    def crop(self, rows, window, boxes):
        return rows - tf.cast([window.left, window.top], tf.float32)

    def is_left(self, rows):
        return tf.reduce_all(rows >= 0, axis=1)


@pytest.fixture
def strangers(monkeypatch):
    """Colour and Arrow, registered for one test."""
    monkeypatch.setattr(OBJECT_FIELDS, "_parts", dict(OBJECT_FIELDS._parts))
    return [keras_fpn.register_object_field(field) for field in (Colour(), Arrow(), Foot())]


CATEGORY = {"id": 3, "name": "thing", "keypoints": ["left_end", "right_end"]}


def _annotation(number, **more):
    box = {"bbox": [4 + number, 6, 20, 12], "category_id": 3, "iscrowd": number % 2}
    outline = [4, 6, 30, 6, 30, 18, 4, 12]
    own = {"colour": 7 - number, "arrow": [0.6, -0.8], "foot": [10.5 + number, 18], "keypoints": [8, 7, 2, 0, 0, 0]}
    return {"id": 40 + number, "image_id": 8, "segmentation": [outline], **box, **own, **more}


@pytest.fixture
def folder(tmp_path):
    """`folder(annotation, ...)`: arguments of `read_coco` for an image with these and one without objects."""

    def write(*annotations):
        for name in ("a.png", "b.png"):
            Image.new("RGB", SIZE[::-1], (90, 90, 90)).save(tmp_path / name)
        images = [{"id": 7, "file_name": "a.png"}, {"id": 8, "file_name": "b.png"}]
        images = [image | {"height": SIZE[0], "width": SIZE[1]} for image in images]
        document = {"images": images, "annotations": annotations, "categories": [CATEGORY]}
        (tmp_path / "instances.json").write_text(json.dumps(document))
        return tmp_path / "instances.json", tmp_path

    return write


NAMES = [*OBJECT_FIELDS.names(), "colour", "arrow", "foot"]
BAD = {
    "boxes": {"bbox": [1, 2, 3]},
    "classes": {"category_id": 4},
    "is_crowd": {"iscrowd": 2},
    "masks": {"segmentation": []},
    "keypoints": {"keypoints": [8, 7, 2]},
    "bitmaps": {"segmentation": {"size": [40, 60], "counts": [100, 2]}},
    "polygons": {"segmentation": [[4, 6, 30, 6]], "iscrowd": 0},
    "colour": {"colour": "red"},
    "arrow": {"arrow": [1]},
    "foot": {"foot": [1, None]},
}


@pytest.mark.parametrize("name", NAMES)
def test_every_field_is_read_kept_turned_padded_and_refused_by_the_same_rules(name, strangers, folder):
    """A field of yours that is registered is held to this as well."""
    data_set = read_coco(*folder(*map(_annotation, range(3))), fields=(name,))
    field = data_set.fields[name]
    kept = [record.fields[name] for record in data_set.records]
    assert [len(rows) for rows in kept] == [0, 3] and kept[0].dtype == kept[1].dtype
    load = field.source(data_set.records)
    for none in (load(0), field.none()):
        assert len(none) == 0 and none.shape.is_compatible_with([0, *field.shape])
    rows = load(1)
    assert rows.dtype == field.none().dtype == field.dtype and rows.shape.is_compatible_with([3, *field.shape])
    boxes = tf.constant(data_set.records[1].boxes)
    twice = field.flip(field.flip(rows, SIZE), SIZE)
    np.testing.assert_allclose(twice, rows, rtol=1e-6)
    np.testing.assert_array_equal(field.scale(rows, SIZE, SIZE), rows)
    np.testing.assert_array_equal(field.crop(rows, transforms.Window(0, 0, *SIZE), boxes), rows)
    np.testing.assert_array_equal(field.cover(rows, tf.ones([3, 56, 56], bool), boxes, boxes), rows)
    np.testing.assert_array_equal(field.join([rows, field.none(), rows]), np.concatenate([rows, rows]))
    some = field.without_lost(rows, tf.constant([True, False, True]))
    np.testing.assert_array_equal(some, rows.numpy()[[0, 2]])
    padded = field.pad(rows, 5).numpy()
    np.testing.assert_array_equal(padded[:3], rows)
    assert padded.shape == (5, *rows.shape[1:]) and (padded[3:] == field.padding).all() and padded.dtype == field.dtype
    np.testing.assert_array_equal(field.pad(rows, 2), rows)
    ((_, targets),) = load_coco(data_set, batch_size=2, min_side=SIZE[0], fields=(name,))
    np.testing.assert_array_equal(targets[name][1], rows)
    assert (targets[name][0].numpy() == field.padding).all()
    with pytest.raises(UserError, match=r"instances.json: annotation 41 .*;") as caught:
        read_coco(*folder(_annotation(0), _annotation(1, **BAD[name])), fields=(name,))
    assert "\n" not in str(caught.value)


def test_a_stranger_s_field_goes_from_the_annotations_to_the_batch(strangers, folder):
    files = folder(_annotation(0), _annotation(1), _annotation(2))
    options = {"batch_size": 2, "min_side": 80, "max_side": 200, "horizontal_flip": True, "repeat": True}
    seen = set()
    for _, targets in load_coco(*files, fields=("colour", "arrow", "masks"), **options).take(8):
        assert targets["colour"].numpy().tolist() == [[-1, -1, -1], [7, 6, 5]]
        flipped = targets["boxes"][1, 0, 0] != 8
        expected = [-0.6 if flipped else 0.6, -0.8]
        np.testing.assert_allclose(targets["arrow"][1], [expected] * 3, rtol=1e-6)
        assert targets["masks"].shape == (2, 3, 56, 56)
        seen.add(bool(flipped))
    assert seen == {True, False}


def test_a_field_has_a_say_in_what_a_crop_leaves(strangers):
    """The foot of the second object is cut off, and of the third its box."""
    boxes = tf.constant([[10.0, 10, 20, 20], [0, 10, 20, 20], [0, 10, 5, 20]])
    feet, colours = tf.constant([[15.0, 20], [3, 20], [7, 20]]), tf.constant([1, 2, 3])
    rows = dict(zip((OBJECT_FIELDS["boxes"], strangers[2], strangers[0]), (boxes, feet, colours), strict=True))
    _, left = transforms.crop(tf.zeros([*SIZE, 3]), rows, 4, 6, 30, 50)
    assert [own.numpy().tolist() for own in left.values()] == [[[4, 6, 14, 16]], [[9, 16]], [1]]


def test_a_field_says_what_it_refuses(strangers, folder):
    data_set = read_coco(*folder(_annotation(0)), fields=("foot",))
    with pytest.raises(UserError, match=r"horizontal_flip would put left feet .*data.horizontal_flip=false in a conf"):
        load_coco(data_set, fields=("foot",), horizontal_flip=True)
    ((_, targets),) = load_coco(data_set, horizontal_flip=True, batch_size=2)  # not asked for
    assert "foot" not in targets


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"colour": None}, r'annotation 41 has "colour" None; write a whole number from -2147483648 to 2147483647'),
        ({"colour": 2.5}, r'annotation 41 has "colour" 2.5; write a whole number'),
        ({"colour": 2**31}, r'annotation 41 has "colour" 2147483648; write a whole number'),
        ({"colour": 10**30}, r'annotation 41 has "colour" 1000.*; write a whole number'),
        ({"arrow": [1, 2, 3]}, r'annotation 41 has "arrow" \[1, 2, 3\]; write 2 numbers'),
        ({"arrow": 1}, r'annotation 41 has "arrow" 1; write 2 numbers'),
        ({"arrow": [1, float("nan")]}, r'annotation 41 of image 8 \(b.png\): its "arrow" is not finite; correct it'),
        ({"arrow": [1, 1e300]}, r'annotation 41 .*: its "arrow" is not finite; .*data.invalid_boxes=drop'),
    ],
)
def test_what_a_field_cannot_read_is_one_line(change, told, strangers, folder):
    files = folder(_annotation(0), {**_annotation(1), **change})
    with pytest.raises(UserError, match=rf"instances.json: {told}"):
        read_coco(*files, fields=("colour", "arrow"))


def test_an_absent_number_names_file_and_annotation_and_another_is_left_out(strangers, folder):
    annotations = [_annotation(number) for number in range(3)]
    annotations[1]["arrow"] = [float("inf"), 0]
    data_set = read_coco(*folder(*annotations), fields=("arrow", "colour"), invalid_boxes="drop")
    assert data_set.dropped == (41,)
    assert data_set.records[1].fields["colour"].tolist() == [7, 5] and len(data_set.records[1].boxes) == 2
    del annotations[2]["colour"]
    with pytest.raises(UserError, match=r"instances.json: annotation 42 has \"colour\" None; write a whole number"):
        read_coco(*folder(*annotations), fields=("colour",), invalid_boxes="drop")


def test_a_field_that_is_not_there_is_told_with_the_nearest(strangers, folder):
    files = folder(_annotation(0))
    with pytest.raises(UserError, match="unknown per-object field 'mask'; did you mean 'masks'"):
        read_coco(*files, fields=("mask",))
    with pytest.raises(UserError, match="unknown per-object field 'colours'; did you mean 'colour'"):
        load_coco(read_coco(*files), fields="colours")
    with pytest.raises(UserError, match=r'field "colour" needs a data set read with it: read_coco\(..., fields='):
        load_coco(read_coco(*files), fields=("colour",))


def test_a_field_need_not_be_registered(folder):
    data_set = read_coco(*folder(_annotation(0)), fields=(Colour(),))
    ((_, targets),) = load_coco(data_set, batch_size=2, fields=("colour",))
    assert targets["colour"].numpy().tolist() == [[-1], [7]] and "colour" not in OBJECT_FIELDS
    assert list(choose(())) == ["classes", "is_crowd", "boxes"]


def test_a_field_that_cannot_be_used_is_refused_where_it_is_registered(strangers, folder):
    class Wrong(Colour):
        dtype = "float32"

        def read(self, objects):
            return np.zeros((len(objects), 3)), np.ones(len(objects), bool)

    with pytest.raises(UserError, match=r"field 'colour': read gives float64 \[1, 3\] .* declares float32 \[1\]"):
        read_coco(*folder(_annotation(0)), fields=(Wrong(),))
    with pytest.raises(UserError, match="there is one of this name already"):
        register_object_field(type("Masks", (ObjectField,), {"name": "masks"})())
    with pytest.raises(UserError, match="'image_ids' cannot be the name of a field"):
        register_object_field(type("Ids", (ObjectField,), {"name": "image_ids"})())
    with pytest.raises(UserError, match="is no ObjectField; give an object of a subclass"):
        register_object_field(Arrow)
    with pytest.raises(UserError, match="refuses 'colour_jitter'; it may refuse flip, crop, join, cover"):
        register_object_field(type("Odd", (ObjectField,), {"name": "odd", "refuses": {"colour_jitter": "is"}})())


def test_masks_are_unpacked_as_numpy_does():
    packed = np.random.default_rng(0).integers(0, 256, (9, segmentations.PACKED), np.uint8)
    np.testing.assert_array_equal(OBJECT_FIELDS["masks"].unpack(tf.constant(packed)), segmentations.unpack(packed))
    assert OBJECT_FIELDS["masks"].unpack(tf.constant(packed[:0])).shape == (0, 56, 56)


def test_fields_are_declared_and_read_without_tensorflow(folder, tmp_path):
    annotations, images = folder(_annotation(0))
    code = (
        "import sys, keras_fpn\n"
        "class Colour(keras_fpn.ObjectField):\n    name, dtype = 'colour', 'int32'\n"
        "keras_fpn.register_object_field(Colour())\n"
        f"keras_fpn.data.read_coco({str(annotations)!r}, {str(images)!r}, fields=('colour', 'masks'))\n"
        "print({'tensorflow', 'keras'} & set(sys.modules) or '')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


# --------------------------------------------------------------------------------------------------- columns


@pytest.mark.parametrize("dtype", ["uint8", "int32", "float32", "int64"])
def test_columns_are_in_memory_once(dtype):
    column, owners = np.arange(21).reshape(7, 3).astype(dtype), np.array([3, 0, 3, 1, 3, 0, 5])
    parts = columns.split(column, owners, 6)
    assert [part[:, 0].tolist() for part in parts] == [[3, 15], [9], [], [0, 6, 12], [], [18]]
    for chosen in ([0, 1, 2, 3, 4, 5], [3, 0], [5, 2, 1], [1, 1], [2, 3]):
        array, limits = columns.join([parts[index] for index in chosen])
        assert np.shares_memory(array, parts[chosen[0]]) or not len(parts[chosen[0]])
        tensor = columns.as_tensor(array)
        for index, (first, last) in zip(chosen, limits.tolist(), strict=True):
            np.testing.assert_array_equal(tensor[first:last], parts[index])
    # Another's memory cannot be told where it begins; no rows have none.
    for others in ([part.copy() for part in parts], [*parts[:3], parts[3][::-1]], [parts[2], parts[4]]):
        array, limits = columns.join(others)
        for part, (first, last) in zip(others, limits.tolist(), strict=True):
            np.testing.assert_array_equal(columns.as_tensor(array)[first:last], part)


def test_rows_of_different_lengths_are_in_memory_once():
    rows = [np.arange(length, dtype="int32") + 10 * length for length in (3, 0, 5, 1, 4)]
    column = columns.Ragged.of(np.concatenate(rows), [len(row) for row in rows])
    assert column.shape == (5, None) and len(column[np.array([True, False, True, False, False])]) == 2
    parts = columns.split(column, np.array([2, 0, 2, 0, 0]), 4)  # of the owners 0..3
    expected = [[rows[1], rows[3], rows[4]], [], [rows[0], rows[2]], []]
    other = columns.Ragged.of(np.array([7, 8], "int32"), [2])
    for chosen in (parts, [*parts, other], [other, *parts[1:3]], [parts[3]]):
        joined, limits = columns.join(chosen)
        assert (joined.values is column.values) == (other not in chosen)
        read = columns.reader(joined)
        for part, (first, last) in zip(chosen, limits.tolist(), strict=True):
            wanted = [other[0]] if part is other else expected[next(n for n in range(4) if parts[n] is part)]
            assert read(first, last).to_list() == [row.tolist() for row in wanted]
    assert np.shares_memory(parts[0][2], column.values) and list(parts[2][1]) == rows[2].tolist()


def test_a_tensor_keeps_the_memory_that_it_shares():
    parts = columns.split(np.arange(100_000), np.arange(100_000) % 7, 7)
    array, limits = columns.join(parts)
    tensor, expected = columns.as_tensor(array), array.copy()
    assert np.shares_memory(np.asarray(memoryview(tensor)), array)
    del parts, array
    np.testing.assert_array_equal(tensor, expected)


class Trail(ObjectField):
    """Where an object was: as many numbers as it has."""

    name, dtype, shape, padding = "trail", "int32", (None,), -1

    def read(self, objects):
        trails = [entry["trail"] for entry in objects.entries]
        column = columns.Ragged.of(np.array(sum(trails, []), "int32"), [len(trail) for trail in trails])
        return column, np.array([len(trail) > 0 for trail in trails])

    def unpack(self, rows):
        return rows.to_tensor(-1)


def test_objects_may_have_rows_of_different_lengths(folder):
    trails = [[5, 6], [], [7], [1, 2, 3]]
    files = folder(*(_annotation(number, trail=trail) for number, trail in enumerate(trails)))
    data_set = read_coco(*files, fields=[Trail()])
    assert data_set.dropped == (41,)
    _, targets = next(iter(load_coco(data_set, batch_size=2, min_side=40, fields=[Trail()])))
    np.testing.assert_array_equal(targets["trail"], [[[-1] * 3] * 3, [[5, 6, -1], [7, -1, -1], [1, 2, 3]]])
    joined = Trail().join([tf.constant([[1, 2]]), Trail().none(), tf.constant([[3]])])
    assert joined.numpy().tolist() == [[1, 2], [3, -1]]


class Tips(ObjectField):
    """x, y of as many tips as the category says."""

    name = "tips"

    def __init__(self, number=None):
        self.shape = (number, 2)

    def for_categories(self, categories, source):
        return Tips(sum(len(category["tips"]) for category in categories))


def test_the_categories_say_how_many_numbers_a_field_has(folder):
    annotations, images = folder(_annotation(0, tips=[[1, 2], [3, 4], [5, 6]]))
    document = json.loads(annotations.read_text())
    document["categories"][0]["tips"] = ["left", "right", "top"]
    annotations.write_text(json.dumps(document))
    data_set = read_coco(annotations, images, fields=[Tips()])
    assert data_set.fields["tips"].shape == (3, 2)
    _, targets = next(iter(load_coco(data_set, batch_size=2, min_side=40, fields=[Tips()])))
    np.testing.assert_array_equal(targets["tips"][1, 0], [[1, 2], [3, 4], [5, 6]])


class FormSettings(keras_fpn.Settings):
    """`foot_height`: of the ground over the lower border of the image, pixels."""

    foot_height: float = 0.5


class Stands(ObjectField):
    """y of where an object stands, as the settings of the data have the ground."""

    name, dtype, settings = "stands", "float32", FormSettings

    def __init__(self, height=0.0):
        self.height = height

    def with_settings(self, foot_height):
        return Stands(foot_height)

    def read(self, objects):
        return np.full(len(objects), SIZE[0] - self.height, np.float32), np.ones(len(objects), bool)


def test_a_field_is_told_what_it_declares_as_a_setting_of_the_data(strangers, folder, tmp_path):
    register_object_field(Stands())
    config = keras_fpn.load_config("tiny")
    assert config.data.foot_height == 0.5
    (tmp_path / "config.yaml").write_text(config.to_yaml().replace("foot_height: 0.5", "foot_height: 2.0"))
    config = keras_fpn.load_config(tmp_path / "config.yaml")
    data_set = read_coco(*folder(_annotation(0)), **config.data.reading, fields=["stands"])
    np.testing.assert_array_equal(data_set.records[1].fields["stands"], [38])
    given = keras_fpn.load_config("tiny", ["data.foot_height=3"]).data.reading
    data_set = read_coco(*folder(_annotation(0)), **given, fields=["stands"])
    np.testing.assert_array_equal(data_set.records[1].fields["stands"], [37])
    mistakes = {"data.foot_heigth=3": "unknown key.*foot_height", "data.foot_height=x": "--set: data.foot_"}
    for mistake, told in mistakes.items():
        with pytest.raises(UserError, match=told):
            keras_fpn.load_config("tiny", [mistake])


def test_a_setting_that_there_is_is_no_field_s_to_declare(strangers, monkeypatch):
    taken = type("Taken", (keras_fpn.Settings,), {"__annotations__": {"cache": bool}, "cache": True})
    register_object_field(type("Other", (Colour,), {"name": "other", "settings": taken})())
    with pytest.raises(UserError, match=r"data.cache: .* rename it"):
        keras_fpn.load_config("tiny")


def test_what_is_read_otherwise_may_be_told_to_a_command(strangers):
    from keras_fpn.commands.arguments import reading

    register_object_field(Stands())
    how = reading(["data.foot_height=3"], {"boxes": "xyxy", "field_settings": {"other": 1}})
    assert how == {"boxes": "xyxy", "field_settings": {"other": 1, "foot_height": 3.0}}


def test_a_field_says_what_evaluation_must_know_of_it(strangers, folder):
    class Weighed(Colour):
        def categories_to_measure(self, categories):
            return [category | {"weight": 2} for category in categories]

    data_set = read_coco(*folder(_annotation(0)), fields=[Weighed()])
    assert [category["weight"] for category in data_set.instances().categories] == [2]
    assert "weight" not in read_coco(*folder(_annotation(0))).instances().categories[0]


def test_a_field_is_shown_by_the_output_field_that_tells_its_truth(strangers, monkeypatch):
    monkeypatch.setattr(OUTPUT_FIELDS, "_parts", dict(OUTPUT_FIELDS._parts))

    @keras_fpn.register_output_field
    class Signs(keras_fpn.OutputField):
        kind, name, truths = "signs", "signs", ("arrow", "masks")

    colour, arrow, foot = strangers
    assert type(arrow.shown_by()) is Signs and colour.shown_by() is foot.shown_by() is None
    assert OBJECT_FIELDS["masks"].shown_by().kind == "masks", "that of its own name first"
