"""`load_coco`: what a batch holds, in which order, exact resumes, and what bad images end in."""

import dataclasses
import json
from collections import Counter

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_fpn.console.errors import UserError
from keras_fpn.data import decode_image, load_coco, read_coco, readable_errors
from keras_fpn.data.order import StreamOrder
from keras_fpn.data.proposal_files import write_proposals

# Height, width of the nine images; the fourth has no object, the fifth only a crowd.
SIZES = [(40, 60), (60, 40), (50, 50), (30, 70), (70, 30), (44, 66), (66, 44), (40, 60), (64, 48)]


def _paint(size, boxes, name, folder):
    """A black image with its boxes lit; PNG, so that pixels are exact."""
    pixels = np.zeros((*size, 3), np.uint8)
    for x, y, width, height in boxes:
        pixels[y : y + height, x : x + width] = 255
    Image.fromarray(pixels).save(folder / name)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """`instances.json` and nine PNG files; category ids 3 and 70."""
    folder = tmp_path_factory.mktemp("nine")
    images, annotations = [], []
    for number, (height, width) in enumerate(SIZES):
        name = f"{number}.png"
        images.append({"id": 100 - number, "file_name": name, "height": height, "width": width})
        boxes = [] if number == 3 else [[2 + number, 4, 10, 20]]
        if number == 5:
            boxes.append([40, 20, 16, 12])
        _paint((height, width), boxes, name, folder)
        for box in boxes:
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": 100 - number,
                    "category_id": 70 if number % 2 else 3,
                    "bbox": box,
                    "area": box[2] * box[3],
                    "iscrowd": int(number == 4),
                }
            )
    categories = [{"id": 70, "name": "b"}, {"id": 3, "name": "a"}]
    document = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "instances.json").write_text(json.dumps(document))
    return folder


@pytest.fixture(scope="module")
def nine(folder):
    return read_coco(folder / "instances.json", folder)




def _batches(dataset, count=None):
    """List of flat dicts of arrays."""
    taken = dataset if count is None else dataset.take(count)
    return [{**inputs, **targets} for inputs, targets in taken.as_numpy_iterator()]


def _ids(batches):
    return [batch["image_ids"].tolist() for batch in batches]


def _assert_equal(ones, others):
    assert len(ones) == len(others) > 0
    for one, other in zip(ones, others, strict=True):
        for key in one:
            np.testing.assert_array_equal(one[key], other[key], err_msg=key)


# ------------------------------------------------------------------------- what a batch holds


def test_batch_of_mixed_sizes(nine):
    dataset = load_coco(nine, batch_size=4, min_side=40, max_side=90)
    assert int(dataset.cardinality()) == 3
    batches = _batches(dataset)
    assert _ids(batches) == [
        [100, 99, 98, 97],
        [96, 95, 94, 93],
        [92],
    ]  # the file's order, the last one short
    first, second, last = batches
    assert first["images"].dtype == np.uint8
    assert first["images"].shape == (4, 64, 96, 3)  # largest 60 and 90, up to multiples of 32
    # Shorter side 40, longer side at most 90.
    assert first["image_sizes"].tolist() == [[40, 60], [60, 40], [40, 40], [39, 90]]
    assert first["original_sizes"].tolist() == [[40, 60], [60, 40], [50, 50], [30, 70]]
    for image, (height, width) in zip(first["images"], first["image_sizes"], strict=True):
        assert image[height:].max() == image[:, width:].max() == 0
    np.testing.assert_allclose(first["boxes"][2, 0], [4 * 0.8, 4 * 0.8, 14 * 0.8, 24 * 0.8], rtol=1e-6)
    assert first["classes"].tolist() == [[0], [1], [0], [-1]]
    assert second["classes"].tolist() == [[0, -1], [1, 1], [0, -1], [1, -1]]
    assert second["is_crowd"].tolist() == [[1, 0], [0, 0], [0, 0], [0, 0]]
    assert not first["boxes"][3].any() and not second["boxes"][0, 1].any()
    assert last["images"].shape == (1, 64, 64, 3)


def test_dtypes_and_shapes(nine):
    inputs, targets = load_coco(nine, batch_size=2, repeat=True, canvas=(64, 96), min_side=40).element_spec
    spec = {name: (tuple(tensor.shape), tensor.dtype) for name, tensor in {**inputs, **targets}.items()}
    assert spec == {
        "images": ((2, 64, 96, 3), tf.uint8),
        "image_sizes": ((2, 2), tf.int32),
        "boxes": ((2, None, 4), tf.float32),
        "classes": ((2, None), tf.int32),
        "is_crowd": ((2, None), tf.int32),
        "image_ids": ((2,), tf.int64),
        "original_sizes": ((2, 2), tf.int32),
    }


@pytest.mark.parametrize(
    "augmentation",
    [
        {"min_side": (40, 56), "max_side": 90},
        {"scale_jitter": (0.5, 2.0), "canvas": (64, 64)},
        {"min_side": 40, "canvas": (48, 64), "cache": True},
    ],
)
def test_bilinear_batches_are_float32(nine, augmentation):
    """torchvision does not round after resizing; flips, crops, padding and the short last batch go along."""
    dataset = load_coco(nine, batch_size=4, interpolation="bilinear", horizontal_flip=True, **augmentation)
    assert dataset.element_spec[0]["images"].dtype == tf.float32
    batches = _batches(dataset)
    assert [len(batch["images"]) for batch in batches] == [4, 4, 1]
    for image, (height, width) in _images_of(batches):
        assert not image[height:].any() and not image[:, width:].any()
    values = np.concatenate([image.ravel() for image, _ in _images_of(batches)])
    assert values.min() == 0 and values.max() == 255
    assert (values % 1 != 0).any()


def _images_of(batches):
    for batch in batches:
        yield from zip(batch["images"], batch["image_sizes"], strict=True)


def test_batch_without_objects_has_one_padding_row(nine):
    batch = _batches(load_coco(nine, batch_size=1, min_side=32))[3]
    assert batch["boxes"].tolist() == [[[0, 0, 0, 0]]]
    assert (batch["classes"].tolist(), batch["is_crowd"].tolist()) == ([[-1]], [[0]])


def test_keep_empty(nine):
    kept = _ids(_batches(load_coco(nine, batch_size=9, min_side=32)))
    left = _ids(_batches(load_coco(nine, batch_size=9, min_side=32, keep_empty=False)))
    assert len(kept[0]) == 9
    assert sorted(set(kept[0]) - set(left[0])) == [96, 97]  # nothing on the one, only a crowd on the other


def test_canvas_shrinks_what_would_not_fit(nine):
    (batch,) = _batches(load_coco(nine, batch_size=9, min_side=40, max_side=90, canvas=(48, 64)))
    assert batch["images"].shape == (9, 48, 64, 3)
    assert batch["image_sizes"].tolist()[:3] == [[40, 60], [48, 32], [40, 40]]
    np.testing.assert_allclose(batch["boxes"][1, 0], [3 * 0.8, 4 * 0.8, 13 * 0.8, 24 * 0.8], rtol=1e-6)


def test_one_of_several_sides_is_drawn(nine):
    batches = _batches(load_coco(nine, batch_size=1, min_side=(32, 48), max_side=200, repeat=True), 40)
    counts = Counter(int(batch["image_sizes"].min()) for batch in batches)
    assert set(counts) == {32, 48} and min(counts.values()) > 8


def test_cache_changes_nothing(nine):
    options = dict(batch_size=2, min_side=40, shuffle=True, repeat=True, horizontal_flip=True)
    _assert_equal(
        _batches(load_coco(nine, **options), 9), _batches(load_coco(nine, cache=True, **options), 9)
    )


# --------------------------------------------------------------------------------------- augmentation


def _lit_box(image):
    rows, columns = np.nonzero(image[..., 0] > 127)
    return [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


def test_flipped_boxes_lie_on_their_pixels(nine):
    flipped = 0
    for batch in _batches(
        load_coco(nine, batch_size=1, min_side=60, max_side=200, horizontal_flip=True, repeat=True), 36
    ):
        if batch["classes"].shape[1] == 1 and batch["classes"][0, 0] >= 0:
            np.testing.assert_allclose(batch["boxes"][0, 0], _lit_box(batch["images"][0]), atol=1.01)
            start = batch["boxes"][0, 0, 0] / batch["image_sizes"][0, 1] * batch["original_sizes"][0, 1]
            flipped += start > 2 + (100 - batch["image_ids"][0]) + 0.5
    assert 6 < flipped < 24


def test_jittered_boxes_lie_on_their_pixels(nine):
    sizes = []
    options = dict(canvas=(64, 64), scale_jitter=(0.3, 2.0), shuffle=True, repeat=True, horizontal_flip=True)
    for batch in _batches(load_coco(nine, batch_size=1, seed=1, **options), 60):
        assert batch["images"].shape == (1, 64, 64, 3)
        height, width = batch["image_sizes"][0]
        sizes.append(max(height, width))
        assert batch["images"][0, height:].sum() == batch["images"][0, :, width:].sum() == 0
        boxes = batch["boxes"][0][batch["classes"][0] >= 0]
        assert (boxes[:, 2:] - boxes[:, :2] >= 1).all() and boxes.min(initial=0) >= 0
        assert (boxes[:, [0, 2]] <= width).all() and (boxes[:, [1, 3]] <= height).all()
        if len(boxes) == 1 and (batch["images"] > 127).any():
            np.testing.assert_allclose(boxes[0], _lit_box(batch["images"][0]), atol=1.6)
    assert min(sizes) < 30 and max(sizes) == 64


# ---------------------------------------------------------------------------------------------- order

GROUPING = pytest.mark.parametrize(
    "grouped", [pytest.param(False, id="plain", marks=pytest.mark.slow), pytest.param(True, id="grouped")]
)


@GROUPING
def test_resume_is_exact(nine, grouped):
    options = dict(
        batch_size=2,
        min_side=(32, 48),
        shuffle=True,
        repeat=True,
        horizontal_flip=True,
        group_by_aspect_ratio=grouped,
        seed=7,
    )
    whole = _batches(load_coco(nine, **options), 25)
    for skipped in (1, 20):
        _assert_equal(
            whole[skipped:], _batches(load_coco(nine, skip_batches=skipped, **options), 25 - skipped)
        )


@pytest.mark.slow
def test_another_seed_another_order(nine):
    def ids(seed):
        return _ids(
            _batches(load_coco(nine, batch_size=3, min_side=32, shuffle=True, repeat=True, seed=seed), 6)
        )

    assert ids(1) != ids(2)


def _order(nine, count=None, *, batch_size=2, shuffle=False, repeat=False, grouped=False, drop=False, skip=0):
    """Lists of the image ids of each batch, without reading an image."""
    order = StreamOrder(
        nine.records,
        batch_size,
        shuffle=shuffle,
        repeat=repeat,
        group_by_aspect_ratio=grouped,
        drop_remainder=drop,
        seed=0,
    )
    stream = (
        order.slots(skip, fresh_every_pass=False).map(order.record).batch(batch_size, drop_remainder=True)
    )
    batches = (stream if count is None else stream.take(count)).as_numpy_iterator()
    return [[nine.records[index].image_id for index in batch if index >= 0] for batch in batches]


def test_each_image_once_an_epoch(nine):
    stream = sum(_order(nine, 27, shuffle=True, repeat=True), [])
    epochs = [stream[start : start + 9] for start in range(0, 54, 9)]
    assert all(sorted(epoch) == list(range(92, 101)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 6
    assert sum(_order(nine, 9, repeat=True), []) == list(range(100, 91, -1)) * 2


def test_groups_do_not_mix(nine):
    tall = {record.image_id for record in nine.records if record.height > record.width}
    batches = _order(nine, 90, shuffle=True, repeat=True, grouped=True)
    assert {len(tall & set(batch)) for batch in batches if len(set(batch)) == 2} == {0, 2}
    assert set(Counter(sum(batches, [])).values()) == {20}  # 180 rows, nine images, in proportion
    finite = _order(nine, shuffle=True, grouped=True)
    assert sorted(sum(finite, [])) == list(range(92, 101))  # five wide or square, four tall
    assert sorted(map(len, finite)) == [1, 2, 2, 2, 2]
    assert sorted(map(len, _order(nine, grouped=True, drop=True))) == [2, 2, 2, 2]


@pytest.mark.parametrize("batch_size", [1, 2, 9, 20])
@GROUPING
def test_finite_orders_hold_each_image_once(nine, batch_size, grouped):
    batches = _order(nine, batch_size=batch_size, grouped=grouped)
    assert sorted(sum(batches, [])) == list(range(92, 101))
    assert _order(nine, batch_size=batch_size, grouped=grouped, skip=1) == batches[1:]


@pytest.mark.parametrize("batch_size", [2, pytest.param(20, marks=pytest.mark.slow)])
def test_batches_of_one_padded_size(nine, batch_size):
    options = {"batch_size": batch_size, "min_side": 32, "max_side": 48, "size_divisor": 16}
    alone = _batches(load_coco(nine, **options | {"batch_size": 1}))
    padded = {batch["image_ids"][0]: batch["images"].shape[1:] for batch in alone}
    batches = _batches(load_coco(nine, group_by_padded_size=True, **options))
    ids = _ids(batches)
    assert sorted(sum(ids, [])) == list(range(92, 101))
    assert all(batch["images"].shape[1:] == padded[image] for batch in batches for image in batch["image_ids"])
    assert [batch[0] for batch in ids] == sorted((batch[0] for batch in ids), reverse=True)  # the order of the file
    assert len(ids) == sum(-(-list(padded.values()).count(size) // batch_size) for size in set(padded.values()))
    skipped = load_coco(nine, group_by_padded_size=True, skip_batches=1, **options)
    assert _ids(_batches(skipped)) == ids[1:]
    assert int(skipped.cardinality()) == len(ids) - 1


@pytest.mark.parametrize(
    "other",
    [{"shuffle": True}, {"repeat": True}, {"horizontal_flip": True}, {"min_side": (32, 40)},
     {"group_by_aspect_ratio": True}, {"drop_remainder": True}],
)  # fmt: skip
def test_batches_of_one_padded_size_are_of_an_evaluation(nine, other):
    with pytest.raises(UserError, match=f"group_by_padded_size, .*, does not go with {next(iter(other))}"):
        load_coco(nine, group_by_padded_size=True, **other)


@GROUPING
def test_finite_streams(nine, grouped):
    options = dict(batch_size=2, min_side=32, group_by_aspect_ratio=grouped)
    dataset = load_coco(nine, **options)
    ids = _ids(_batches(dataset))
    assert ids == _order(nine, grouped=grouped)
    assert len(ids) == int(dataset.cardinality()) == 5
    skipped = load_coco(nine, skip_batches=3, **options)
    assert _ids(_batches(skipped)) == ids[3:]
    assert int(skipped.cardinality()) == 2


@pytest.mark.slow
def test_a_finite_stream_is_drawn_anew_in_each_pass(nine):
    def passes():
        dataset = load_coco(nine, batch_size=3, min_side=32, shuffle=True, horizontal_flip=True, seed=5)
        return [_batches(dataset) for _ in range(2)]

    ones, others = passes(), passes()
    for one, other in zip(ones, others, strict=True):
        _assert_equal(one, other)
    assert _ids(ones[0]) != _ids(ones[1])
    plain = load_coco(nine, batch_size=3, min_side=32)
    _assert_equal(_batches(plain), _batches(plain))


def test_one_image(nine):
    one = dataclasses.replace(nine, records=nine.records[:1])
    for grouped in (False, True):
        assert _order(one, 2, shuffle=True, repeat=True, grouped=grouped) == [[100, 100]] * 2
        assert _order(one, shuffle=True, grouped=grouped) == [[100]]


@pytest.fixture(scope="module")
def rich(shapes_folder, tmp_path_factory):
    """`load_coco` with everything that a batch may hold: masks in all forms and given proposals, in any order."""
    path = tmp_path_factory.mktemp("rich") / "proposals"
    files = shapes_folder / "annotations" / "instances_train.json", shapes_folder / "train"
    fields = ("masks", "bitmaps", "polygons")
    data_set = read_coco(*files, fields=fields)
    rows = [
        (record.image_id, np.float32([[0, 0, number % 9 + 1, 5]] * (number % 4 + 1)), np.ones(number % 4 + 1))
        for number, record in enumerate(data_set.records)
    ]
    write_proposals(path, rows, {})
    options = {"batch_size": 3, "min_side": (64, 96), "max_side": 128, "horizontal_flip": True, "shuffle": True}

    def load(**more):
        return load_coco(data_set, fields=fields, proposals=path, max_proposals=3, **options, **more)

    return load


def test_only_tensorflow_operations(rich):
    """No Python in the graph, so that it can be sent to a worker."""
    for more in ({}, {"repeat": True, "group_by_aspect_ratio": True}, {"cache": True}):
        graph = tf.compat.v1.GraphDef.FromString(tf.raw_ops.DatasetToGraphV2(
            input_dataset=rich(**more)._variant_tensor, external_state_policy=1).numpy())  # fmt: skip
        nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
        assert len(nodes) > 100 and not [node.op for node in nodes if "PyFunc" in node.op]


def test_a_worker_of_a_tf_data_service_gives_the_same_batches(rich):
    service = tf.data.experimental.service
    dispatcher = service.DispatchServer()
    address = dispatcher.target.split("://")[1]
    worker = service.WorkerServer(service.WorkerConfig(dispatcher_address=address, heartbeat_interval_ms=100))
    options = {"repeat": True, "seed": 3, "skip_batches": 2}
    there = service.distribute(processing_mode=service.ShardingPolicy.OFF, service=dispatcher.target)
    sent = _batches(rich(**options).apply(there), 7)
    assert set(sent[0]) >= {"masks", "proposals", "num_proposals", "boxes", "images"} and sent[0]["masks"].any()
    assert sent[0]["bitmaps"].any() and (sent[0]["polygons"] > 0).any()
    _assert_equal(_batches(rich(**options), 7), sent)
    del worker


def test_iterator_checkpoint_resumes(nine, tmp_path):
    dataset = load_coco(nine, batch_size=2, min_side=32, shuffle=True, repeat=True, horizontal_flip=True)
    iterator = iter(dataset)
    for _ in range(3):
        next(iterator)
    path = tf.train.Checkpoint(iterator=iterator).write(str(tmp_path / "iterator"))
    wanted = next(iterator)[1]["image_ids"].numpy().tolist()
    other = iter(dataset)
    tf.train.Checkpoint(iterator=other).read(path)
    assert next(other)[1]["image_ids"].numpy().tolist() == wanted


# --------------------------------------------------------------------------------------- image files


def _picture():
    rng = np.random.default_rng(0)
    return Image.fromarray(rng.integers(0, 256, (6, 8, 3), np.uint8)).resize(
        (40, 30), Image.Resampling.BICUBIC
    )


@pytest.fixture(scope="module")
def decode():
    """`decode(path)`: an image read in one graph for all, as the pipeline has it, with errors as people see them."""
    read = tf.function(lambda path: decode_image(path), input_signature=[tf.TensorSpec([], tf.string)])

    def told(path):
        with readable_errors():
            return read(str(path))

    return told


def _break(name, data, folder):
    path = folder / name
    _picture().save(path)
    content = path.read_bytes()
    path.write_bytes(data(content))
    return path


@pytest.mark.parametrize(
    "name, data",
    [
        ("truncated.jpg", lambda content: content[: len(content) * 2 // 3]),
        ("header.jpg", lambda content: content[:30]),
        ("empty.jpg", lambda content: b""),
        ("text.jpg", lambda content: b"not an image"),
        ("zeros.jpg", lambda content: bytes(len(content))),
        ("truncated.png", lambda content: content[: len(content) // 2]),
        ("truncated.bmp", lambda content: content[: len(content) // 2]),
        ("truncated.gif", lambda content: content[:40]),
    ],
)
def test_damaged_images_are_named(tmp_path, decode, name, data):
    path = _break(name, data, tmp_path)
    with pytest.raises(UserError, match=f"{path}: cannot be read as a JPEG.*; replace the file") as caught:
        decode(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("cache", [False, True], ids=["stream", "cache"])
def test_a_damaged_image_of_a_data_set_is_named(tmp_path, cache):
    path = _break("truncated.jpg", lambda content: content[: len(content) * 2 // 3], tmp_path)
    with pytest.raises(UserError, match=f"{path}: cannot be read as a JPEG.*; replace the file") as caught:
        _load_one(path, 30, 40, cache=cache)
    assert "\n" not in str(caught.value)


def _load_one(path, height, width, **options):
    annotations = path.parent / "one.json"
    image = {"id": 1, "file_name": path.name, "height": height, "width": width}
    document = {"images": [image], "annotations": [], "categories": [{"id": 1, "name": "thing"}]}
    annotations.write_text(json.dumps(document))
    with readable_errors():
        return _batches(load_coco(annotations, path.parent, batch_size=1, min_side=30, **options))


def test_wrong_size_in_the_annotations(tmp_path):
    path = tmp_path / "a.jpg"
    _picture().save(path)
    _load_one(path, 30, 40)
    with pytest.raises(
        UserError, match=r"a\.jpg: the annotations say 30 x 40 pixels .* the file has 40 x 30; corr"
    ):
        _load_one(path, 40, 30)


@pytest.mark.parametrize("name", ["bild ü.jpg", "it's \"a\".jpg", "back\\\\slash.jpg", "\u7403.jpg"])
def test_an_error_writes_names_as_they_are(tmp_path, decode, name):
    path = tmp_path / name
    path.write_text("no image")
    with pytest.raises(UserError) as caught:
        decode(path)
    assert str(caught.value).startswith(f"{path}: cannot be read")


def test_an_error_of_a_data_set_writes_names_as_they_are(tmp_path):
    path = tmp_path / 'it\'s ü "a\\\\\u7403".jpg'
    path.write_text("no image")
    with pytest.raises(UserError) as caught:
        _load_one(path, 30, 40)
    assert str(caught.value).startswith(f"{path}: cannot be read")


def test_image_that_goes_away(tmp_path):
    path = tmp_path / "a.jpg"
    _picture().save(path)
    image = {"id": 1, "file_name": "a.jpg", "height": 30, "width": 40}
    document = {"images": [image], "annotations": [], "categories": [{"id": 1, "name": "thing"}]}
    (tmp_path / "one.json").write_text(json.dumps(document))
    dataset = load_coco(tmp_path / "one.json", tmp_path)
    path.unlink()
    with pytest.raises(UserError, match=r"a\.jpg: cannot be read"), readable_errors():
        list(dataset)


def test_other_errors_pass_through():
    with pytest.raises(tf.errors.InvalidArgumentError), readable_errors():
        tf.reshape(tf.zeros([3]), [2])


# ----------------------------------------------------------------------------------------- arguments


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"batch_size": 0}, "batch_size must be a whole number of at least 1, not 0"),
        ({"min_side": ()}, "min_side needs at least one number"),
        ({"min_side": (640, -1)}, r"min_side\[1\] must be"),
        ({"max_side": 1333.5}, "max_side must be"),
        ({"size_divisor": 0}, "size_divisor must be"),
        ({"canvas": (64,)}, "canvas two"),
        ({"rounding": "up"}, "rounding must be"),
        ({"interpolation": "area"}, "interpolation must be"),
        ({"scale_jitter": (0.1, 2.0)}, "scale_jitter needs canvas"),
        ({"scale_jitter": (2.0, 0.1), "canvas": (64, 64)}, "scale_jitter must be"),
        ({"skip_batches": -1}, "skip_batches must be"),
        ({"seed": -1}, "seed must be"),
    ],
)
def test_wrong_arguments(nine, wrong, message):
    with pytest.raises(UserError, match=message):
        load_coco(nine, **wrong)


def test_nothing_left(tmp_path, folder):
    document = json.loads((folder / "instances.json").read_text())
    document["annotations"] = []
    (folder / "bare.json").write_text(json.dumps(document))
    with pytest.raises(
        UserError, match=r"bare\.json: no image has a box; annotate some, or pass keep_empty=True"
    ):
        load_coco(folder / "bare.json", folder, keep_empty=False)
    with pytest.raises(UserError, match="give the image folder"):
        load_coco(folder / "bare.json")
