"""Keypoints: what categories say of them, what is read, where they go when an image changes, what is refused.

Numbers that stand beside "detectron2" are those of its `transform_keypoint_annotations` by hand: the centre of pixel 7
is 7.5, mirrored in 20 pixels 12.5; what leaves the image is 0, 0, 0.
"""

import json

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import keras_fpn
from keras_fpn.console.errors import UserError
from keras_fpn.data import coco_keypoints, load_coco, read_coco, transforms, write_shapes
from keras_fpn.data.conversion.convert import convert
from keras_fpn.data.fields.keypoints import Keypoints
from keras_fpn.data.formats import find_halves
from keras_fpn.data.keypoint_lists import keypoint_list
from keras_fpn.data.keypoint_sides import swapping_pairs
from keras_fpn.data.shard_folder import write_shards

HEIGHT, WIDTH = 10, 20
NAMES = ["nose", "left_eye", "right_eye"]
PERSON = {"id": 1, "name": "person", "keypoints": NAMES, "skeleton": [[1, 2], [1, 3]]}


@pytest.fixture
def folder(tmp_path):
    """`folder(keypoints of each object, ...)`: arguments of `read_coco`."""

    def write(*objects, categories=(PERSON,), **more):
        Image.new("RGB", (WIDTH, HEIGHT)).save(tmp_path / "a.png")
        annotations = []
        for number, keypoints in enumerate(objects, start=1):
            item = {"id": number, "image_id": 1, "category_id": 1, "bbox": [2, 1, 16, 8], "iscrowd": 0, **more}
            annotations.append(item if keypoints is None else {**item, "keypoints": keypoints})
        images = [{"id": 1, "file_name": "a.png", "height": HEIGHT, "width": WIDTH}]
        document = {"images": images, "annotations": annotations, "categories": list(categories)}
        (tmp_path / "a.json").write_text(json.dumps(document))
        return tmp_path / "a.json", tmp_path

    return write


def _read(arguments, field="keypoints", **options):
    data_set = read_coco(*arguments, fields=(field,), **options)
    return data_set.records[0].fields["keypoints"], data_set.fields["keypoints"]


def test_the_categories_say_names_and_skeleton(folder):
    other = {"id": 7, "name": "pole"}
    rows, field = _read(folder([7, 5, 2, 12, 4, 1, 0, 0, 0], categories=(other, PERSON)))
    assert (field.names, field.skeleton, field.shape) == (tuple(NAMES), ((0, 1), (0, 2)), (3, 3))
    assert field.of_classes == ((0, 1, 2), ())  # classes go by ascending id
    np.testing.assert_array_equal(rows, [[[7, 5, 2], [12, 4, 1], [0, 0, 0]]])
    assert rows.dtype == np.float32


def test_each_category_has_its_own_skeleton(folder):
    dog = {**PERSON, "id": 2, "name": "dog", "skeleton": [[2, 3]]}
    _, field = _read(folder([0] * 9, categories=(PERSON, dog)))
    assert field.skeletons == (((0, 1), (0, 2)), ((1, 2),)) and field.skeleton == ((0, 1), (0, 2), (1, 2))
    assert field.shown_by().skeleton_of(1) == ((1, 2),)
    turned = {**PERSON, "id": 2, "name": "dog", "skeleton": [[1, 3], [1, 2]]}
    for other in (turned, {"id": 2, "name": "pole"}):  # the same in another order, and one without keypoints
        assert _read(folder([0] * 9, categories=(PERSON, other)))[1].skeletons is None


def test_of_some_objects_nothing_is_labelled(folder):
    rows, _ = _read(folder(None, [], [0] * 9, [1, 1, 2] + [0] * 6))
    assert (rows[..., 2] > 0).sum(1).tolist() == [0, 0, 0, 1]


def test_the_offset_moves_to_the_centres_of_pixels_and_what_is_outside_is_not_labelled(folder):
    # 19.5 + 0.5 is the border of 20 pixels, which is inside (detectron2); 20 + 0.5 is not.
    rows, _ = _read(folder([7, 5, 2, 19.5, 9, 1, 20, 4, 2], [-0.5, 3, 2, -0.6, 3, 2, 3, 9.6, 2]), Keypoints(offset=0.5))
    np.testing.assert_allclose(rows[0], [[7.5, 5.5, 2], [20, 9.5, 1], [0, 0, 0]])
    np.testing.assert_allclose(rows[1], [[0, 3.5, 2], [0, 0, 0], [0, 0, 0]])


def test_keypoints_outside_of_the_box_stay(folder):
    rows, _ = _read(folder([0, 0, 2, 19, 9, 2, 0, 0, 0]))
    np.testing.assert_array_equal(rows[0], [[0, 0, 2], [19, 9, 2], [0, 0, 0]])


@pytest.mark.parametrize(
    ("keypoints", "more", "told"),
    [
        ([7, 5, 2], {}, r'a.json: annotation 1 of image 1 \(a.png\): "keypoints" .* are not 9 numbers; write x, y, v'),
        ([7, 5, 2, "a", 5, 2, 0, 0, 0], {}, "are not 9 numbers"),
        ([7, 10**400, 2] + [0] * 6, {}, "are not 9 numbers"),
        ([7, 5, 3] + [0] * 6, {}, r"annotation 1 .*: its \"keypoints\" have the visibility 3, .*; correct it"),
        ([7, 5, 0.5] + [0] * 6, {}, "have the visibility 0.5"),
        ([7, float("inf"), 2] + [0] * 6, {}, 'annotation 1 .*: its "keypoints" are not finite; correct it'),
        ([7, 5, 2] + [0] * 6, {"num_keypoints": 2}, 'its "num_keypoints" is 2, and 1 of its "keypoints" are labelled;'),
    ],
)
def test_what_cannot_be_trusted_is_one_line(folder, keypoints, more, told):
    with pytest.raises(UserError, match=told) as caught:
        _read(folder(keypoints, **more))
    assert "\n" not in str(caught.value)


def test_keypoints_of_a_category_that_has_none_are_one_line_or_left_out(folder):
    pole = {"id": 2, "name": "pole"}
    arguments = folder([7, 5, 2] + [0] * 6, [0] * 9, categories=(PERSON, pole), category_id=2)
    with pytest.raises(UserError, match=r'annotation 1 .*: it has "keypoints", and its category says none; correct it'):
        _read(arguments)
    rows, _ = _read(arguments, invalid_boxes="drop")
    np.testing.assert_array_equal(rows, np.zeros((1, 3, 3)))  # zeros say nothing


def test_several_data_sets_have_one_list_of_keypoints(folder, tmp_path):
    def written(name, **category):
        file, images = folder([7, 5, 2] + [0] * 6, categories=({**PERSON, **category},))
        return file.rename(tmp_path / name), images

    files = [written(f"{number}.json", **each) for number, each in enumerate([{}, {"keypoints": None}, {}])]
    names, images = zip(*files, strict=True)
    data_set = read_coco(names[::2], images[::2], fields=("keypoints",))
    assert data_set.fields["keypoints"].names == tuple(NAMES) and len(data_set) == 2
    written("1.json", keypoints=None, skeleton=None)
    for order in (names[:2], names[1::-1]):  # one that says none takes the other's, wherever it stands
        data_set = read_coco(order, images[:2], fields=("keypoints",))
        assert data_set.fields["keypoints"].names == tuple(NAMES)
        assert keypoint_list(data_set.instances().categories, "a.json").names == tuple(NAMES)
    written("1.json", keypoints=NAMES[::-1])
    with pytest.raises(UserError, match=r"1.json: its keypoints \['right_eye.* are not those of .*0.json, \['nose'"):
        read_coco(names[:2], images[:2], fields=("keypoints",))


def test_unsound_objects_are_left_out_where_that_is_asked_for(folder):
    rows, _ = _read(folder([7, 5, 3] + [0] * 6, [1, 2, 2] + [0] * 6), invalid_boxes="drop")
    np.testing.assert_array_equal(rows, [[[1, 2, 2], [0, 0, 0], [0, 0, 0]]])


@pytest.mark.parametrize(
    ("categories", "told"),
    [
        ([{"id": 1, "name": "a"}], 'a.json: no category has "keypoints", .*; add them'),
        ([PERSON, {"id": 2, "name": "b", "keypoints": ["x"]}], r"1 \('person'\) and category 2 \('b'\) have different"),
        ([PERSON | {"keypoints": ["x", "x"]}], "write a list of unlike names"),
        ([PERSON | {"keypoints": "nose"}], "write a list of unlike names"),
        ([PERSON | {"skeleton": [[0, 1]]}], r'"skeleton" \[\[0, 1\]\]; write pairs of its 3 keypoints, counted from 1'),
        ([PERSON | {"sigmas": [0.1, 0.1]}], r'"sigmas": \[0.1, 0.1\]; give a number above 0, or one for each of the 3'),
        ([PERSON | {"keypoint_flips": [["nose", "tail"]]}], '"keypoint_flips": there is no keypoint .tail.'),
        ([PERSON | {"keypoint_flips": ["nose"]}], '"keypoint_flips" .*; write pairs of names, \\[\\] where none swaps'),
        ([PERSON | {"keypoint_flips": []}, PERSON | {"id": 2, "keypoint_flips": [NAMES[1:]]}], "have different"),
        ([PERSON | {"sigmas": 10**400}], 'has "sigmas": 1000.*; give a number above 0'),
        ([PERSON | {"sigmas": 0.1}, PERSON | {"id": 2, "sigmas": 0.2}], 'have different "sigmas"'),
    ],
)
def test_categories_that_cannot_be_used_are_one_line(categories, told):
    with pytest.raises(UserError, match=told):
        keypoint_list(categories, "a.json")


@pytest.mark.parametrize(
    ("names", "pairs"),
    [
        (NAMES, [("left_eye", "right_eye")]),
        (["eye-right", "eye-left"], [("eye-right", "eye-left")]),
        (["Left Paw", "Right Paw", "tail"], [("Left Paw", "Right Paw")]),
        (["hipLeft", "hipRight"], [("hipLeft", "hipRight")]),
        (["l_eye", "r_eye", "top"], [("l_eye", "r_eye")]),
        (["top", "right", "left"], [("right", "left")]),
        (["cleft", "cright"], None),
        (["left_eye", "right_ear"], None),
        (["left_eye", "right_eye", "left_ear"], None),
        (["l_eye", "r_ear"], None),
        (["1", "2"], None),
        (["middle"], []),
    ],
)
def test_left_and_right_of_names(names, pairs):
    assert swapping_pairs(names) == pairs


def test_coco_s_seventeen_swap_as_detectron2_has_it():
    field = Keypoints().for_categories([{"keypoints": list(coco_keypoints.NAMES)}], "a.json")
    assert field.order == (0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15)  # its keypoint_hflip_indices


def test_a_mirrored_image_swaps_left_and_right():
    field = Keypoints().for_categories([PERSON], "a.json")
    rows = tf.constant([[[7.5, 5.5, 2], [12.5, 4, 1], [0, 0, 0]]])
    flipped = field.flip(rows, (HEIGHT, WIDTH))
    np.testing.assert_allclose(flipped, [[[12.5, 5.5, 2], [0, 0, 0], [7.5, 4, 1]]])  # detectron2: x -> 20 - x


def test_a_resized_image_moves_each_axis_by_its_ratio():
    field = Keypoints().for_categories([PERSON], "a.json")
    rows = tf.constant([[[7.5, 5, 2], [0, 0, 0], [12, 4, 1]]])
    np.testing.assert_allclose(field.scale(rows, (10, 20), (15, 40)), [[[15, 7.5, 2], [0, 0, 0], [24, 6, 1]]])


def test_what_a_window_does_not_show_is_not_labelled():
    field = Keypoints().for_categories([PERSON], "a.json")
    rows = tf.constant([[[7.5, 5, 2], [4, 5, 2], [12, 4.5, 1]], [[11, 4, 2], [0, 0, 0], [8, 9, 1]]])
    window = transforms.Window(4, 5, 5, 7)  # rows 4 to 9, columns 5 to 12, both borders included
    cropped = field.crop(rows, window, tf.zeros([2, 4]))
    np.testing.assert_allclose(
        cropped, [[[2.5, 1, 2], [0, 0, 0], [7, 0.5, 1]], [[6, 0, 2], [0, 0, 0], [3, 5, 1]]]
    )
    # A window that reaches beyond the image has it lower and further right.
    np.testing.assert_allclose(field.crop(rows[1:, :1], transforms.Window(-2, -3, 20, 30), None), [[[14, 6, 2]]])


def test_what_something_else_hides_is_labelled_still():
    field = Keypoints().for_categories([PERSON], "a.json")
    boxes = tf.constant([[0.0, 0, 56, 28]])
    is_seen = np.ones((1, 56, 56), bool)
    is_seen[0, :, :28] = False  # the left half
    rows = tf.constant([[[10.0, 10, 2], [27.9, 28, 1], [28.1, 1, 2]]])
    covered = field.cover(rows, tf.constant(is_seen), boxes, boxes)
    np.testing.assert_array_equal(covered.numpy()[0, :, 2], [1, 1, 2])
    np.testing.assert_array_equal(covered.numpy()[..., :2], rows.numpy()[..., :2])
    outside = tf.constant([[[10.0, 40, 2], [-3, 10, 2], [0, 0, 0]]])
    np.testing.assert_array_equal(field.cover(outside, tf.constant(is_seen), boxes, boxes), outside)


def test_batches_are_mirrored_with_their_keypoints(folder):
    arguments = folder([7, 5, 2, 12, 4, 1, 14, 3, 2])
    dataset = load_coco(
        *arguments, batch_size=1, min_side=20, max_side=100, horizontal_flip=True, repeat=True, fields=[Keypoints(0.5)]
    )
    plain = np.array([[15, 11, 2], [25, 9, 1], [29, 7, 2]])  # (7 + 0.5) * 2 ...
    mirrored = np.array([[25, 11, 2], [11, 7, 2], [15, 9, 1]])  # 40 - 15, and the eyes change places
    seen = [targets["keypoints"][0, 0].numpy() for _, targets in dataset.take(12)]
    found = [[np.abs(rows - wanted).max() < 1e-4 for wanted in (plain, mirrored)] for rows in seen]
    assert all(map(any, found)) and np.any(found, axis=0).all()


def test_names_without_sides_are_refused_where_images_are_mirrored_until_the_pairs_are_given(folder):
    places = {"id": 1, "name": "frame", "keypoints": ["a", "b", "c"]}
    arguments = folder([7, 5, 2] * 3, categories=(places,))
    options = {"batch_size": 1, "min_side": 10, "fields": ("keypoints",)}
    load_coco(*arguments, **options)
    told = r"horizontal_flip cannot tell which keypoints swap sides: .*data.keypoint_flips .*; leave it out"
    with pytest.raises(UserError, match=told):
        load_coco(*arguments, **options, horizontal_flip=True)
    for value, order in (("[[a, c]]", (2, 1, 0)), ("[]", (0, 1, 2))):
        reading = keras_fpn.load_config("tiny", [f"data.keypoint_flips={value}"]).data.reading
        data_set = read_coco(*arguments, **reading, fields=[Keypoints(0.5)])
        load_coco(data_set, **options, horizontal_flip=True)
        assert (data_set.fields["keypoints"].order, data_set.fields["keypoints"].offset) == (order, 0.5)


@pytest.mark.parametrize(
    ("flips", "told"),
    [
        ([["left_eye", "right_eya"]], "data.keypoint_flips: there is no keypoint 'right_eya'.*right_eye"),
        ([["left_eye", "right_eye"], ["nose", "left_eye"]], "'left_eye' is given twice"),
    ],
)
def test_flips_of_other_names_are_refused(flips, told):
    with pytest.raises(UserError, match=told):
        Keypoints(flips=flips).for_categories([PERSON], "a.json")


def test_sigmas_of_the_settings_are_those_of_the_categories_that_are_measured(folder):
    reading = keras_fpn.load_config("tiny", ["data.keypoint_sigmas=0.05"]).data.reading
    data_set = read_coco(*folder([7, 5, 2] * 3), **reading, fields=("keypoints",))
    assert data_set.instances().categories[0]["sigmas"] == [0.05] * 3
    assert keypoint_list(data_set.instances().categories, "a.json").sigmas == (0.05,) * 3
    told = r"data.keypoint_sigmas: \[0.1\]; give a number above 0, or one for each of the 3"
    with pytest.raises(UserError, match=told):
        read_coco(*folder([7, 5, 2] * 3), fields=[Keypoints(sigmas=[0.1])]).instances()


def test_a_data_set_with_keypoints_goes_to_a_worker_of_a_tf_data_service(folder):
    dataset = load_coco(*folder([7, 5, 2] * 3), batch_size=1, min_side=10, horizontal_flip=True, fields=("keypoints",))
    graph = dataset._as_serialized_graph(external_state_policy=tf.data.experimental.ExternalStatePolicy.IGNORE).numpy()
    assert b"PyFunc" not in graph


@pytest.mark.parametrize("way", [("coco",), ("yolo", "coco"), ("voc", "coco")])
def test_converters_keep_keypoints(way, tmp_path):
    write_shapes(tmp_path / "0", num_train=2, num_val=1, size=96)
    for number, to in enumerate(way):
        convert(str(tmp_path / f"{number}"), tmp_path / f"{number + 1}", to)
    _assert_the_same(tmp_path / "0", tmp_path / f"{len(way)}")


def test_shards_keep_keypoints(tmp_path):
    write_shapes(tmp_path / "0", num_train=2, num_val=1, size=96)
    write_shards(tmp_path / "1", find_halves(str(tmp_path / "0"))[1])
    _assert_the_same(tmp_path / "0", tmp_path / "1")


def _assert_the_same(before, after):
    rows, fields = [], []
    for folder in (before, after):
        data_set = read_coco(*find_halves(str(folder))[1]["train"], fields=("keypoints",))
        records = sorted(data_set.records, key=lambda record: record.image_id)
        rows.append(np.concatenate([record.fields["keypoints"] for record in records]))
        fields.append(data_set.fields["keypoints"])
    np.testing.assert_array_equal(rows[0], rows[1])
    assert len(rows[0]) and fields[0].known == fields[1].known


@pytest.mark.slow
def test_keypoints_stay_in_the_boxes_of_their_objects_whatever_is_done_to_images(tmp_path):
    write_shapes(tmp_path, num_train=6, num_val=0, size=96)
    always = {"probability": 1.0}
    dataset = load_coco(
        *find_halves(str(tmp_path))[1]["train"], batch_size=2, canvas=(128, 160), scale_jitter=(0.5, 2.0),
        horizontal_flip=True, augmentations={"mosaic": always, "crop": always, "zoom_out": always}, repeat=True,
        fields=("keypoints",),
    )  # fmt: skip
    seen = []
    for _, targets in dataset.take(6):
        rows, boxes = targets["keypoints"].numpy(), targets["boxes"].numpy()[:, :, None]
        is_labelled = rows[..., 2] > 0
        is_inside = ((rows[..., :2] >= boxes[..., :2] - 0.05) & (rows[..., :2] <= boxes[..., 2:] + 0.05)).all(-1)
        assert is_inside[is_labelled].all() and (rows[~is_labelled] == 0).all()
        is_object = targets["classes"].numpy() >= 0
        assert (rows[~is_object] == 0).all()
        seen.append((is_labelled.sum(), is_object.sum()))
    labelled, objects = np.sum(seen, axis=0)
    assert labelled > 1.5 * objects > 0
