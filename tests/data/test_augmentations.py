"""Augmentations: what every one of them keeps to, what each does to pixels, and how a configuration asks for them."""

import colorsys
import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import keras_fpn
from keras_fpn.config.loading import load_config
from keras_fpn.console.errors import UserError
from keras_fpn.data import load_coco, mask_grids, read_coco, segmentations, transforms
from keras_fpn.data.augmentations import AUGMENTATIONS, Augmentation, AugmentationSettings, PixelAugmentation, active
from keras_fpn.data.augmentations.augmentation import fold, uniform, uniform_below
from keras_fpn.data.fields import OBJECT_FIELDS

SIZES = [(90, 120), (120, 80), (100, 100), (70, 130), (120, 90)]  # height, width of the pictures
PER_PICTURE = 4
# A colour for each object of the data set, which its class stands for: all far from each other and from greys.
COLOURS = np.array([(r, g, b) for r in (0, 128, 255) for g in (0, 128, 255) for b in (0, 128, 255)
                    if len({r, g, b}) > 1])[: len(SIZES) * PER_PICTURE]  # fmt: skip
CROWDS = (2, 9)  # objects that are marked as crowds
BACKGROUND = 60


@pytest.fixture(scope="module")
def coloured(tmp_path_factory):
    """A data set of grey pictures with rectangles, no two of which touch or have one colour or class."""
    folder = tmp_path_factory.mktemp("coloured")
    rng = np.random.default_rng(3)
    images, annotations = [], []
    for number, (height, width) in enumerate(SIZES):
        pixels = np.full((height, width, 3), BACKGROUND, np.uint8)
        for place in range(PER_PICTURE):  # one in each quarter
            index = number * PER_PICTURE + place
            w, h = rng.integers(12, width // 2 - 10), rng.integers(12, height // 2 - 10)
            x = (place % 2) * width // 2 + rng.integers(4, width // 2 - w - 4)
            y = (place // 2) * height // 2 + rng.integers(4, height // 2 - h - 4)
            pixels[y : y + h, x : x + w] = COLOURS[index]
            outline = [x, y, x + w, y, x + w, y + h, x, y + h]
            box = {"bbox": [x, y, w, h], "area": w * h, "segmentation": [outline], "iscrowd": int(index in CROWDS)}
            if index in CROWDS:
                runs = np.zeros((height, width), np.uint8)
                runs[y : y + h, x : x + w] = 1
                changes = np.flatnonzero(np.diff(runs.ravel("F"), prepend=0, append=1 - runs.ravel("F")[-1]))
                counts = np.diff(changes, prepend=0).tolist()
                box["segmentation"] = {"size": [height, width], "counts": counts}
            annotations.append({"id": index + 1, "image_id": number, "category_id": index, **box})
        name = f"{number}.png"
        Image.fromarray(pixels).save(folder / name)
        images.append({"id": number, "file_name": name, "height": height, "width": width})
    categories = [{"id": index, "name": f"colour {index}"} for index in range(len(COLOURS))]
    document = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "instances.json").write_text(json.dumps(document, default=int))
    return read_coco(folder / "instances.json", folder, fields=("masks",))


OPTIONS = {"batch_size": 2, "min_side": 128, "max_side": 192, "shuffle": True, "repeat": True, "seed": 4}


def _stream(data_set, augmentations, **more):
    return load_coco(data_set, fields=("masks",), augmentations=augmentations, **OPTIONS | more)


def _batches(dataset, count):
    return [{**inputs, **targets} for inputs, targets in dataset.take(count).as_numpy_iterator()]


def _equal(ones, others, keys=None):
    assert len(ones) == len(others) > 0
    return all(
        one[key].shape == other[key].shape and (one[key] == other[key]).all()
        for one, other in zip(ones, others, strict=True)
        for key in keys or one
    )


@pytest.fixture(scope="module")
def plain(coloured):
    return _batches(_stream(coloured, {}), 8)


def _objects(batches):
    """`(pixels of the valid part, box, class, is_crowd, mask, whether it is there once)` of every object."""
    for batch in batches:
        for row, (height, width) in enumerate(batch["image_sizes"]):
            image = batch["images"][row, :height, :width].astype(int)
            for values in zip(*(batch[key][row] for key in ("boxes", "classes", "is_crowd", "masks")), strict=True):
                if values[1] >= 0:
                    yield image, *values, (batch["classes"][row] == values[1]).sum() == 1


def _check_boxes(batches, may_be_empty=False):
    """Boxes are sound, crowds are crowds still, nothing is in the padding, and a picture of objects shows some."""
    for image, box, label, is_crowd, mask, _ in _objects(batches):
        height, width = image.shape[:2]
        assert (box[2:] - box[:2] >= 1).all() and (box >= 0).all() and (box <= [width, height] * 2).all()
        assert is_crowd == (label in CROWDS) and mask.any() and set(np.unique(mask)) <= {0, 1}
    for batch in batches:
        assert batch["images"].shape[0] == 2
        for row, (height, width) in enumerate(batch["image_sizes"]):
            assert not batch["images"][row, height:].any() and not batch["images"][row, :, width:].any()
            has_objects = ((batch["classes"][row] >= 0) & (batch["is_crowd"][row] == 0)).any()
            assert has_objects or may_be_empty


def _bounds(is_own, box, margin):
    """The box around what is set within another, widened by a margin."""
    height, width = is_own.shape
    x1, y1 = np.maximum(np.floor(box[:2]).astype(int) - margin, 0)
    x2, y2 = np.minimum(np.ceil(box[2:]).astype(int) + margin, [width, height])
    rows, columns = np.nonzero(is_own[y1:y2, x1:x2])
    return np.array([columns.min() + x1, rows.min() + y1, columns.max() + 1 + x1, rows.max() + 1 + y1])


def _check_boxes_on_pixels(batches, joins, whole_only=False):
    """Each box bounds the colour that its class stands for, and each mask covers it.

    Where images are joined, one may be beside or under itself: then a colour may go on beyond a box, now and then.
    Where what was hidden in part is cut, the box is what the cut leaves of it, within which it may be anywhere: then
    `whole_only` leaves it out.
    """
    count, beyond = 0, []
    for image, box, label, is_crowd, mask, is_once in _objects(batches):
        if joins and is_crowd or whole_only and not mask.all():  # boxes of crowds stay under what is pasted
            continue
        is_own = (np.abs(image - COLOURS[label]) <= 45).all(2)
        tolerance = 1.6 + (box[2:] - box[:2]).max() / 56
        np.testing.assert_allclose(_bounds(is_own, box, 0), box, atol=tolerance, err_msg=f"class {label}")
        beyond.append(np.abs(_bounds(is_own, box, 5) - box).max() > tolerance)
        sides = box[2:] - box[:2]
        if is_once and sides.min() >= 12:
            x, y = (box[:2] + sides * (np.arange(56)[:, None] + 0.5) / 56).T
            inner_x, inner_y = ((at > low + 2) & (at < high - 2) for at, low, high in ((x, *box[::2]), (y, *box[1::2])))
            seen = is_own[y.astype(int)[inner_y]][:, x.astype(int)[inner_x]]  # its rim is of two colours
            assert (seen == (mask > 0)[inner_y][:, inner_x]).mean() > 0.9
            count += 1
    assert count > 20 and np.mean(beyond) <= (0.1 if joins else 0)


def _needs_layer(kind):
    if not hasattr(keras.layers, getattr(kind, "layer_name", "Layer")):
        pytest.skip(f"Keras {keras.__version__} has no {kind.layer_name}")


def _graph_operations(dataset):
    graph = tf.compat.v1.GraphDef.FromString(tf.raw_ops.DatasetToGraphV2(
        input_dataset=dataset._variant_tensor, external_state_policy=1).numpy())  # fmt: skip
    return {node.op for function in graph.library.function for node in function.node_def}


@pytest.mark.slow
@pytest.mark.parametrize("name", AUGMENTATIONS.names())
def test_every_augmentation(name, coloured, plain):
    """A new one that is registered is held to this as well."""
    kind, settings = AUGMENTATIONS[name], {name: {"probability": 0.6}}
    _needs_layer(kind)
    stream = _stream(coloured, settings)
    batches = _batches(stream, 8)
    assert batches[0]["images"].dtype == np.uint8
    _check_boxes(batches)
    changed = [
        not np.array_equal(one["images"][row], other["images"][row])
        for one, other in zip(batches, plain, strict=True)
        if one["images"].shape == other["images"].shape
        for row in range(2)
    ]
    assert any(changed)
    if issubclass(kind, PixelAugmentation):
        assert _equal(batches, plain, {"boxes", "classes", "is_crowd", "masks", "image_sizes"})
        assert 0.3 < np.mean(changed) < 0.9
    else:
        _check_boxes_on_pixels(batches, joins="join" in kind.operations)
    assert _equal(batches, _batches(stream, 8))
    assert _equal(batches[5:], _batches(_stream(coloured, settings, skip_batches=5), 3))
    # Nothing of a state, nothing of Python: a worker elsewhere gives the same.
    operations = _graph_operations(stream)
    assert "StatelessRandomUniformV2" in operations
    assert not [each for each in operations if "PyFunc" in each or "VarHandle" in each or "ReadVariable" in each]
    assert not operations & {"RandomUniform", "StatefulUniform", "RngReadAndSkip", "RandomUniformInt", "RandomShuffle"}


GEOMETRY = {name: {"probability": 0.7} for name in ("mosaic", "copy_paste", "crop", "zoom_out")}


@pytest.mark.parametrize(
    "more",
    [
        pytest.param({"horizontal_flip": True}, marks=pytest.mark.slow),
        pytest.param({"horizontal_flip": True, "interpolation": "bilinear"}, marks=pytest.mark.slow),
        pytest.param({"scale_jitter": (0.5, 2.0), "canvas": (128, 160)}, marks=pytest.mark.slow),
        pytest.param({"min_side": (96, 128), "canvas": (128, 160)}, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_all_that_move_objects_together(more, coloured):
    batches = _batches(_stream(coloured, GEOMETRY, **more), 12)
    assert _equal(batches[10:], _batches(_stream(coloured, GEOMETRY, skip_batches=10, **more), 2))
    assert (batches[0]["images"].dtype == np.float32) == ("interpolation" in more)
    _check_boxes(batches, may_be_empty="scale_jitter" in more)  # which crops where it falls
    _check_boxes_on_pixels(batches, joins=True, whole_only=True)


@pytest.mark.slow
def test_one_more_changes_no_draw_of_the_others(coloured):
    settings = {"crop": {"probability": 0.7}}
    alone = _batches(_stream(coloured, settings), 6)
    beside = _batches(_stream(coloured, settings | {"contrast": {"probability": 0.7}}), 6)
    assert _equal(alone, beside, {"boxes", "classes", "masks", "image_sizes"}) and not _equal(alone, beside)


@pytest.mark.slow
def test_it_ends_where_its_part_of_the_run_does(coloured, plain):
    settings = {"zoom_out": {"probability": 1.0, "until": 0.5}}
    batches = _batches(_stream(coloured, settings, num_batches=8), 8)
    assert _equal(batches[4:], plain[4:])
    assert not any(_equal([one], [other], {"boxes"}) for one, other in zip(batches[:4], plain[:4], strict=True))
    with pytest.raises(UserError, match="zoom_out's until is a share of a run; give num_batches, its length"):
        _stream(coloured, settings)


@pytest.mark.slow
def test_a_worker_of_a_tf_data_service_gives_the_same_batches(coloured):
    service = tf.data.experimental.service
    dispatcher = service.DispatchServer()
    address = dispatcher.target.split("://")[1]
    worker = service.WorkerServer(service.WorkerConfig(dispatcher_address=address, heartbeat_interval_ms=100))
    there = service.distribute(processing_mode=service.ShardingPolicy.OFF, service=dispatcher.target)
    everything = {
        each.name: {"probability": 0.5}
        for each in AUGMENTATIONS
        if hasattr(keras.layers, getattr(each, "layer_name", "Layer"))
    }
    stream = _stream(coloured, everything, skip_batches=2)
    assert _equal(_batches(stream, 6), _batches(stream.apply(there), 6))
    del worker


# ------------------------------------------------------------------------------------------- objects and rules


def _scene(shape=(64, 96), others=()):
    """A scene in which an image keeps its size, and the others come in turn."""
    others = list(others)
    return keras_fpn.data.augmentations.Scene(
        frame=lambda size: tuple(tf.unstack(tf.constant(shape))),
        resize=lambda image, rows, size: transforms.resize(image, rows, size),
        other=lambda seed: others.pop(0),
    )


def _rows(boxes, crowds=None, masks=None):
    boxes = tf.constant(boxes, tf.float32)
    crowds = [0] * len(boxes) if crowds is None else crowds
    rows = {OBJECT_FIELDS["boxes"]: boxes, OBJECT_FIELDS["classes"]: tf.range(len(boxes)),
            OBJECT_FIELDS["is_crowd"]: tf.constant(crowds, tf.int32)}  # fmt: skip
    return rows if masks is None else rows | {OBJECT_FIELDS["masks"]: tf.constant(masks, tf.uint8)}


def _named(rows):
    return {field.name: own.numpy() for field, own in rows.items()}


def _seeds(count):
    return [tf.constant([11, number], tf.int64) for number in range(count)]


def _make(name, **settings):
    kind = AUGMENTATIONS[name]
    made = kind(kind.settings(**settings))
    made.build()
    return made


def test_a_crop_keeps_objects_by_their_centres_and_crowds_by_a_pixel():
    boxes = [[10, 10, 40, 40], [50, 30, 90, 60], [4, 50, 20, 62]]
    image, rows = tf.zeros([64, 96, 3], tf.uint8), _rows(boxes, crowds=[0, 0, 1])
    left = set()
    for seed in _seeds(30):
        cut, new = _make("crop", scale=[0.4, 0.9], visible=0.5).apply(image, rows, seed, _scene())
        named, (height, width) = _named(new), cut.shape[:2]
        assert height <= width and 0.4 * 64 - 1 <= height <= 0.9 * 64 + 1
        left.add(tuple(named["classes"]))
        assert set(named["classes"]) & {0, 1}
        for box, label in zip(named["boxes"], named["classes"], strict=True):
            area = np.prod(np.subtract(boxes[label][2:], boxes[label][:2]))
            assert label == 2 or np.prod(box[2:] - box[:2]) >= 0.5 * area - 1e-3
    assert len(left) > 3


def test_an_image_that_no_crop_suits_stays_whole():
    """The object fills nearly all of it, and a crop of a third could show no more than that."""
    image, rows = tf.zeros([64, 96, 3], tf.uint8), _rows([[2, 2, 94, 62]])
    for seed in _seeds(3):
        cut, new = _make("crop", scale=[0.3, 0.5], visible=0.6).apply(image, rows, seed, _scene())
        assert cut.shape == image.shape and _named(new)["boxes"].tolist() == [[2, 2, 94, 62]]


def test_a_change_that_would_leave_no_object_is_not_made():
    """The only object of the image is under the fold of a mosaic of pictures without any."""
    image, rows = tf.zeros([64, 96, 3], tf.uint8), _rows([[0, 0, 2, 2]])
    empty = (tf.zeros([40, 40, 3], tf.uint8), _rows(np.zeros((0, 4))))
    mosaic, made = _make("mosaic", probability=1.0, scale=[1, 1]), []
    for seed in _seeds(2):
        new = mosaic.apply_to_some(image, rows, seed, _scene(others=[empty] * 3), tf.constant(True))
        assert len(_named(new[1])["boxes"]) == 1
        made.append(new[0].numpy().any())
    assert not any(made)  # a mosaic has grey in it


def test_what_is_pasted_hides_and_takes_away():
    """A pasted square covers one object wholly, half of a second, and of a crowd what it may."""
    rows = _rows([[10, 10, 20, 20], [20, 10, 60, 30], [10, 10, 50, 30], [70, 40, 90, 60]], [0, 0, 1, 0],
                 np.ones((4, 56, 56)))  # fmt: skip
    paste = _make("copy_paste", scale=[1, 1], objects=1)
    source = np.zeros((64, 96, 3), np.uint8)
    source[8:32, 8:40] = 200
    other = tf.constant(source), _rows([[8, 8, 40, 32]], masks=np.ones((1, 56, 56)))
    image, new = paste.apply(tf.zeros([64, 96, 3], tf.uint8), rows, _seeds(1)[0], _scene(others=[other]))
    named = _named(new)
    assert named["classes"].tolist() == [1, 2, 3, 0] and named["is_crowd"].tolist() == [0, 1, 0, 0]
    np.testing.assert_allclose(named["boxes"][0], [40, 10, 60, 30], atol=40 / 56)
    assert named["boxes"][1:].tolist() == [[10, 10, 50, 30], [70, 40, 90, 60], [8, 8, 40, 32]]
    assert named["masks"].all()
    np.testing.assert_array_equal(image, source)


@pytest.mark.slow
def test_without_masks_boxes_are_pasted(coloured, tmp_path):
    document = json.loads(open(coloured.annotations).read())
    for annotation in document["annotations"]:
        del annotation["segmentation"]
    (tmp_path / "bare.json").write_text(json.dumps(document))
    files = tmp_path / "bare.json", coloured.images
    settings = {"copy_paste": {"probability": 1.0, "shape": "boxes"}}
    (batch,) = _batches(load_coco(*files, augmentations=settings, **OPTIONS), 1)
    assert (batch["classes"] >= 0).sum() > PER_PICTURE and "masks" not in batch
    with pytest.raises(UserError, match=r'bare.json: annotation 1 .* "segmentation" .*; masks are needed here: add it'):
        load_coco(*files, augmentations={"copy_paste": {"probability": 1.0}})
    with pytest.raises(UserError, match=r'field "masks" needs a data set read with it'):
        load_coco(read_coco(*files), augmentations={"copy_paste": {"probability": 1.0}})


@pytest.mark.slow
def test_masks_that_only_an_augmentation_needs_are_not_given(coloured):
    stream = load_coco(coloured, augmentations={"copy_paste": {"probability": 0.5}}, **OPTIONS)
    assert "masks" not in stream.element_spec[1]


def test_masks_of_cut_objects_are_those_of_the_cut_outlines():
    """Grids that are brought to what a crop leaves against the outlines rasterised over it, which are exact."""
    angles = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    radii = 40 + 12 * np.sin(5 * angles)
    outline = np.stack([60 + radii * np.cos(angles), 60 + radii * np.sin(angles)], 1)
    box = np.float32([[*outline.min(0), *outline.max(0)]])

    def rasterised(box):
        packed = segmentations.rasterise([[outline.ravel().tolist()]], box, np.array([[120, 120]]))
        return segmentations.unpack(packed).astype(bool)

    field, whole = OBJECT_FIELDS["masks"], tf.constant(rasterised(box).astype(np.uint8))
    np.testing.assert_array_equal(field.crop(whole, transforms.Window(0, 0, 120, 120), tf.constant(box)), whole)
    for window in ((30, 40, 60, 50), (55, 20, 65, 100), (0, 70, 120, 30), (-10, -20, 90, 100)):
        top, left, height, width = window
        cut = np.clip(box, [left, top] * 2, [left + width, top + height] * 2)
        found = field.crop(whole, transforms.Window(*window), tf.constant(box)).numpy() > 0
        exact = rasterised(cut.astype(np.float32))
        assert (found & exact).sum() / (found | exact).sum() > 0.95, window
    gone = field.crop(whole, transforms.Window(0, 0, 22, 22), tf.constant(box))
    assert field.is_left(gone).numpy().tolist() == [False]


def test_painted_masks_are_sampled_again():
    masks = np.zeros((2, 56, 56), np.uint8)
    masks[0, :28], masks[1, :, 20:] = 1, 1
    boxes = tf.constant([[3.0, 5, 59, 61], [70, 10, 98, 66]])
    painted = mask_grids.paint(tf.constant(masks), boxes, 80, 120)
    assert abs(int(tf.reduce_sum(tf.cast(painted, tf.int32))) - (56 * 28 + 18 * 56)) <= 56
    again = mask_grids.sample(painted, boxes).numpy()
    assert (again == masks).mean() > 0.98


# ----------------------------------------------------------------------------------------------------- pixels


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 256, (9, 13, 3)).astype(np.float32)


def _by_pixel(pixels, change):
    """Each pixel through a function of hue, saturation and value."""
    hsv = [colorsys.rgb_to_hsv(*pixel) for pixel in pixels.reshape(-1, 3) / 255]
    return np.array([colorsys.hsv_to_rgb(*change(*one)) for one in hsv]).reshape(pixels.shape) * 255


def _blurred(pixels, sigma, size):
    kernel = np.exp(-0.5 * ((np.arange(size) - size // 2) / sigma) ** 2)
    kernel /= kernel.sum()
    wide = np.pad(pixels, [(size // 2,) * 2] * 2 + [(0, 0)], mode="edge")
    rows = sum(kernel[tap] * wide[tap : tap + pixels.shape[0]] for tap in range(size))
    return sum(kernel[tap] * rows[:, tap : tap + pixels.shape[1]] for tap in range(size))


# {name: (settings, range of what is drawn, function of pixels and that)}
FORMULAS = {
    "brightness": ({"factor": 0.4}, (-102, 102), lambda image, delta: np.clip(image + delta, 0, 255)),
    "contrast": (
        {"factor": 0.8},
        (0.2, 1.8),
        lambda image, by: np.clip((image - image.mean((0, 1))) * by + image.mean((0, 1)), 0, 255),
    ),
    "saturation": ({"factor": 1.0}, (0, 2), lambda image, by: _by_pixel(image, lambda h, s, v: (h, min(s * by, 1), v))),
    "hue": ({"factor": 0.5}, (-0.5, 0.5), lambda image, by: _by_pixel(image, lambda h, s, v: ((h + by) % 1, s, v))),
    "grayscale": ({}, (0, 0), lambda image, _: np.repeat(image @ [[0.2989], [0.587], [0.114]], 3, axis=2)),
    "blur": ({"sigma": [0.5, 2], "kernel_size": 7}, (0.5, 2), lambda image, sigma: _blurred(image, sigma, 7)),
}


@pytest.mark.parametrize("name", FORMULAS)
def test_pixels_are_changed_by_the_formula(name, pixels):
    """Written down here in numpy and the standard library's colorsys, with what the seed draws."""
    settings, (low, high), formula = FORMULAS[name]
    _needs_layer(AUGMENTATIONS[name])
    change = _make(name, **settings)
    for seed in _seeds(6):
        drawn = float(uniform(seed, [1], low, high)[0])
        found = change.change(tf.constant(pixels), seed).numpy()
        assert found.dtype == np.float32 and found.shape == pixels.shape
        np.testing.assert_allclose(found, formula(pixels, drawn), atol=0.02)


def test_every_pixel_augmentation_has_a_formula_here():
    names = {each.name for each in AUGMENTATIONS if issubclass(each, PixelAugmentation)}
    assert names == set(FORMULAS)


@pytest.mark.slow
def test_grey_levels_are_rounded_once(coloured, plain):
    """Half up, after the last change: two that undo each other leave every pixel as it was."""

    class Shift(PixelAugmentation):
        name, by = "shift", 0.5

        def change(self, image, seed):
            return image + self.by

    class Back(Shift):
        name, by = "back", -0.5

    kinds = AUGMENTATIONS._parts
    AUGMENTATIONS._parts = dict(kinds)
    try:
        for kind in (Shift, Back):
            keras_fpn.register_augmentation(kind)
        up = _batches(_stream(coloured, {"shift": {"probability": 1.0}}), 1)
        both = _batches(_stream(coloured, {"shift": {"probability": 1.0}, "back": {"probability": 1.0}}), 1)
    finally:
        AUGMENTATIONS._parts = kinds
    assert _equal(both, plain[:1])
    height, width = up[0]["image_sizes"][0]
    was = plain[0]["images"][0, :height, :width].astype(int)
    np.testing.assert_array_equal(up[0]["images"][0, :height, :width], np.minimum(was + 1, 255))


def test_a_keras_without_the_layer_is_told(monkeypatch, coloured):
    monkeypatch.delattr(keras.layers, "RandomGaussianBlur", raising=False)
    with pytest.raises(UserError, match=r"data.augment.blur: Keras .* has no RandomGaussianBlur; install keras>=3.9"):
        _stream(coloured, {"blur": {"probability": 0.1}})


# ------------------------------------------------------------------------------------------------ configuration


def test_a_configuration_says_which_are_on(tmp_path):
    """By `--set`, in a file and in Python the same."""
    config = load_config(overrides=["data.augment.crop.probability=0.7", "data.augment.crop.scale=[0.5, 0.6]"])
    given = {"crop": {"probability": 0.7, "scale": [0.5, 0.6]}}
    (tmp_path / "own.yaml").write_text(json.dumps({"data": {"augment": given}}))
    (tmp_path / "all.yaml").write_text(config.to_yaml())
    for augment in (config.data.augment, given, *(load_config(tmp_path / name).data.augment for name in
                                                 ("own.yaml", "all.yaml"))):  # fmt: skip
        (crop,) = active(augment)
        assert (crop.name, crop.options.probability, crop.options.scale) == ("crop", 0.7, [0.5, 0.6])
    assert active(load_config().data.augment) == []


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("data.augment.mosiac.probability=1", "data.augment.mosiac.probability: unknown key 'mosiac'; did you mean"),
        ("data.augment.mosaic.probability=2", "data.augment.mosaic.probability: input should be less than or"),
        ("data.augment.mosaic.scale=[2, 1]", "data.augment.mosaic.scale: give the lower number first"),
        ("data.augment.crop.scale=[0.5, 2]", "data.augment.crop.scale.1: input should be less than or equal to 1"),
        ("data.augment.blur.kernel_size=4", "data.augment.blur.kernel_size: give an odd number"),
        ("data.augment.hue.until=0", "data.augment.hue.until: input should be greater than 0"),
        ("data.augment.mosaic=0.5", "data.augment.mosaic: a section; set one of probability, until, scale"),
    ],
)
def test_a_wrong_setting_is_one_line(override, told):
    with pytest.raises(UserError) as caught:
        load_config(overrides=[override])
    assert told in str(caught.value) and "--set" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"mosiac": {}}, "augmentations: unknown augmentation 'mosiac'; did you mean 'mosaic'"),
        ({"mosaic": {"probability": 2}}, "augmentations: mosaic.probability: input should be less than"),
        ({"mosaic": {"chance": 1}}, "augmentations: mosaic.chance: extra inputs are not permitted"),
        (["mosaic"], "augmentations: give {name: settings}, such as"),
    ],
)
def test_a_wrong_argument_is_one_line(given, told, coloured):
    with pytest.raises(UserError) as caught:
        load_coco(coloured, augmentations=given)
    assert str(caught.value).startswith(told) and "\n" not in str(caught.value)


def test_evaluation_is_not_augmented(coloured):
    with pytest.raises(UserError, match="group_by_padded_size, of evaluations, does not go with augmentations"):
        load_coco(coloured, group_by_padded_size=True, augmentations={"hue": {"probability": 0.1}})


def test_a_stranger_s_augmentation_is_a_section_of_the_configuration(monkeypatch):
    monkeypatch.setattr(AUGMENTATIONS, "_parts", dict(AUGMENTATIONS._parts))

    class FrameSettings(AugmentationSettings):
        width: int = 3

    @keras_fpn.register_augmentation
    class Frame(PixelAugmentation):
        """A black frame."""

        name, settings = "frame", FrameSettings

        def change(self, image, seed):
            inside = image[self.options.width : -self.options.width, self.options.width : -self.options.width]
            return tf.pad(inside, [[self.options.width] * 2] * 2 + [[0, 0]])

    config = load_config(overrides=["data.augment.frame.probability=1", "data.augment.frame.width=2"])
    (frame,) = active(config.data.augment)
    assert frame.change(tf.ones([9, 9, 3]), None).numpy().sum() == 5 * 5 * 3
    with pytest.raises(UserError, match="is no subclass of Augmentation"):
        keras_fpn.register_augmentation(Frame(FrameSettings()))
    with pytest.raises(UserError, match="augmentation 'odd' uses 'turn'; fields can be told of flip, crop, join"):
        keras_fpn.register_augmentation(type("Odd", (Augmentation,), {"name": "odd", "operations": ("turn",)}))


def test_draws_follow_from_the_seed_alone():
    seed = tf.constant([5, 7], tf.int64)
    numbers, again, others = (uniform(fold(seed, number), [1000], 2.0, 4.0).numpy() for number in (1, 1, 2))
    assert (numbers == again).all() and 2 <= numbers.min() < 2.1 and 3.9 < numbers.max() < 4
    assert not (numbers == others).any()
    drawn = {int(uniform_below(fold(seed, number), 5)) for number in range(60)}
    assert drawn == set(range(5))
