"""`from_boxes`: data sets in Keras' own form give the batches of `load_coco`, and mistakes are told in a line."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import keras_fpn
from keras_fpn.console.errors import UserError
from keras_fpn.data import from_boxes, instances_of, load_coco, read_coco, readable_errors
from keras_fpn.evaluation.coco import COCOEvaluator

FORMATS = (
    "xyxy", "yxyx", "xywh", "center_xywh", "center_yxhw", "rel_xyxy", "rel_yxyx", "rel_xywh", "rel_center_xywh",
)  # fmt: skip
NAMES = ("a", "b", "c")
SIZES = ((40, 60), (64, 48), (50, 50), (36, 70), (44, 66))  # the fourth has no object
RESIZING = {"batch_size": 2, "min_side": 45, "max_side": 80}


@pytest.fixture(scope="module")
def data_set(tmp_path_factory):
    """Five noisy pictures of several sizes, with up to four objects each; ids are places, as those of `from_boxes`."""
    folder, rng = tmp_path_factory.mktemp("five"), np.random.default_rng(7)
    images, annotations = [], []
    for number, (height, width) in enumerate(SIZES):
        pixels = rng.integers(0, 256, (height, width, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
        images.append({"id": number, "file_name": f"{number}.png", "height": height, "width": width})
        for _ in range((2, 4, 3, 0, 1)[number]):
            corner = rng.uniform(0.05, 0.5, 2) * (width, height)
            extent = rng.uniform(0.2, 0.45, 2) * (width, height)
            box = [round(float(value), 2) for value in (*corner, *extent)]
            label = {"category_id": int(rng.integers(1, 4)), "iscrowd": int(number == 4)}
            annotations.append({"id": len(annotations) + 1, "image_id": number, "bbox": box} | label)
    categories = [{"id": number, "name": name} for number, name in enumerate(NAMES, start=1)]
    document = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "instances.json").write_text(json.dumps(document))
    return read_coco(folder / "instances.json", folder)


@pytest.fixture(scope="module")
def wanted(data_set):
    return _batches(load_coco(data_set, **RESIZING))


def _elements(data_set, box_format="xyxy", dtype="float64"):
    """Element of each image in Keras' form, of arrays."""
    for record in data_set.records:
        boxes = keras.utils.bounding_boxes.convert_format(
            record.boxes.astype("float64"), "xyxy", box_format, record.height, record.width, dtype="float64"
        )
        objects = {"boxes": np.asarray(boxes).astype(dtype), "labels": record.classes, "is_crowd": record.is_crowd}
        yield {"images": np.asarray(Image.open(record.path)), "bounding_boxes": objects}


def _dataset(data_set, box_format="xyxy", dtype="float64"):
    objects = {
        "boxes": tf.TensorSpec([None, 4], dtype),
        "labels": tf.TensorSpec([None], tf.int32),
        "is_crowd": tf.TensorSpec([None], tf.int32),
    }
    signature = {"images": tf.TensorSpec([None, None, 3], tf.uint8), "bounding_boxes": objects}
    return tf.data.Dataset.from_generator(
        lambda: _elements(data_set, box_format, dtype), output_signature=signature
    )


def _batches(dataset):
    """List of flat dicts of arrays."""
    return [{**inputs, **targets} for inputs, targets in dataset.as_numpy_iterator()]


def _assert_equal(batches, wanted, tolerance=0.0):
    assert len(batches) == len(wanted) > 0
    for one, other in zip(batches, wanted, strict=True):
        assert set(one) == set(other)
        for key, values in one.items():
            assert values.dtype == other[key].dtype, key
            limit = tolerance if key == "boxes" else 0
            np.testing.assert_allclose(values, other[key], rtol=0, atol=limit, err_msg=key)


# --------------------------------------------------------------------------------------------- what it gives


def _slow_but(names, fast):
    """Parameters, of which those that are not `fast` are left to the slow part: each builds graphs of its own."""
    return [pytest.param(name, marks=() if name in fast else pytest.mark.slow) for name in names]


@pytest.mark.parametrize("box_format", _slow_but(FORMATS, ("rel_yxyx",)))
def test_each_format_gives_the_batches_of_load_coco(box_format, data_set, wanted):
    """To the last bit from 64-bit boxes, and from 32-bit corners, which hold what a batch holds."""
    for dtype in ("float64", "float32"):
        dataset = from_boxes(_dataset(data_set, box_format, dtype), box_format, NAMES, **RESIZING)
        is_exact = dtype == "float64" or box_format in ("xyxy", "yxyx")
        _assert_equal(_batches(dataset), wanted, 0 if is_exact else 1e-4)


def _ragged(dataset):
    return dataset.ragged_batch(3)


def _padded(dataset):
    """Batches of whole pictures and padded rows; the pictures have to be of one size."""
    padding = {"boxes": tf.constant(-1, tf.float64), "labels": -1, "is_crowd": 0}
    values = {"images": tf.constant(0, tf.uint8), "bounding_boxes": padding}
    return dataset.padded_batch(3, padding_values=values)


def _one_size(element):
    """The picture padded to one size: boxes in pixels stay where they are."""
    return element | {"images": tf.image.pad_to_bounding_box(element["images"], 0, 0, 64, 70)}


def _keras_cv(element):
    objects = element["bounding_boxes"]
    objects = objects | {"classes": tf.cast(objects["labels"], tf.float32)}
    return element["images"], {key: objects[key] for key in ("boxes", "classes", "is_crowd")}


FORMS = {
    "tuples": lambda dataset: dataset.map(lambda element: (element["images"], element["bounding_boxes"])),
    "KerasCV": lambda dataset: dataset.map(_keras_cv),
    "ragged": _ragged,
    "ragged tuples": lambda dataset: _ragged(dataset.map(_keras_cv)),
    "float pixels": lambda dataset: dataset.map(
        lambda element: element | {"images": tf.cast(element["images"], tf.float32) + 0.3}
    ),
    "whole pixels": lambda dataset: dataset.map(
        lambda element: element | {"images": tf.cast(element["images"], tf.int64)}
    ),
    "transparency": lambda dataset: dataset.map(
        lambda element: element | {"images": tf.pad(element["images"], [[0, 0], [0, 0], [0, 1]])}
    ),
    "no shape of pictures": lambda dataset: dataset.map(
        lambda element: element
        | {"images": tf.numpy_function(lambda image: image, [element["images"]], tf.uint8, stateful=False)}
    ),
}


@pytest.mark.parametrize("form", _slow_but(FORMS, ("ragged",)))
def test_each_form_of_element_gives_the_batches_of_load_coco(form, data_set, wanted):
    _assert_equal(_batches(from_boxes(FORMS[form](_dataset(data_set)), "xyxy", **RESIZING)), wanted)


@pytest.mark.slow
def test_padded_batches_are_as_their_single_images(data_set):
    single = _dataset(data_set).map(_one_size)
    ones, others = (
        _batches(from_boxes(dataset, "XYXY", NAMES, batch_size=4, canvas=(64, 96), min_side=64))
        for dataset in (single, _padded(single))
    )
    _assert_equal(others, ones)
    assert ones[0]["classes"].shape == (4, 4) and (ones[0]["classes"] == -1).sum() == 7  # 2, 4, 3 and none


def test_grey_pictures_become_rgb(data_set):
    grey = _dataset(data_set).map(lambda element: element | {"images": element["images"][..., :1]})
    images = next(iter(from_boxes(grey, "xyxy", **RESIZING)))[0]["images"].numpy()
    assert images.shape[-1] == 3 and (images[..., :1] == images).all() and images.any()


@pytest.mark.slow
def test_bilinear_batches_are_those_of_load_coco(data_set):
    options = RESIZING | {"interpolation": "bilinear", "rounding": "floor", "drop_remainder": True}
    _assert_equal(_batches(from_boxes(_dataset(data_set), "xyxy", **options)), _batches(load_coco(data_set, **options)))


def test_ids_lengths_and_passes(data_set):
    known = tf.data.Dataset.from_tensor_slices(
        {
            "images": np.full((5, 32, 32, 3), 200, np.uint8),
            "image_ids": [5, 9, 2, 7, 1],
            "bounding_boxes": {"boxes": np.tile([[[4.0, 5, 12, 30]]], (5, 1, 1)), "labels": np.zeros((5, 1), np.int64)},
        }
    )
    options = {"batch_size": 2, "canvas": (32, 32), "min_side": 32}
    batches = from_boxes(known, "xyxy", ["x"], **options)
    assert int(batches.cardinality()) == 3
    assert [batch["image_ids"].tolist() for batch in _batches(batches)] == [[5, 9], [2, 7], [1]]
    endless = from_boxes(known.repeat(), "xyxy", drop_remainder=True, **options)
    assert int(endless.cardinality()) == tf.data.INFINITE_CARDINALITY
    with pytest.raises(UserError, match="never ends"):
        instances_of(endless, ["x"])


@pytest.mark.slow
def test_each_pass_is_augmented_anew_and_equal_calls_alike():
    objects = {"boxes": np.tile([[[4.0, 5, 12, 30]]], (40, 1, 1)), "labels": np.zeros((40, 1), np.int64)}
    known = tf.data.Dataset.from_tensor_slices((np.full((40, 32, 32, 3), 200, np.uint8), objects))
    options = {"batch_size": 8, "canvas": (32, 32), "min_side": 32}
    flipped = from_boxes(known, "xyxy", horizontal_flip=True, seed=3, **options)
    passes = [np.concatenate([batch["boxes"][:, 0, 0] for batch in _batches(flipped)]) for _ in range(2)]
    assert {4.0, 20.0} == set(passes[0]) and (passes[0] != passes[1]).any()
    again = from_boxes(known, "xyxy", horizontal_flip=True, seed=3, **options)
    np.testing.assert_array_equal(np.concatenate([b["boxes"][:, 0, 0] for b in _batches(again)]), passes[0])


@pytest.mark.slow
def test_augmentations_are_those_of_load_coco(data_set):
    options = RESIZING | {"augmentations": {"grayscale": {"probability": 1.0}}}
    batches = _batches(from_boxes(_dataset(data_set), "xyxy", **options))
    _assert_equal(batches, _batches(load_coco(data_set, **options)))
    assert (batches[0]["images"][..., :1] == batches[0]["images"]).all()


# ------------------------------------------------------------------------------------------------- mistakes


def _with(element, **objects):
    return element | {"bounding_boxes": element["bounding_boxes"] | objects}


def _scaled(scale, shift=0):
    return lambda element: element | {"images": tf.cast(element["images"], tf.float32) * scale + shift}


def _labels(function):
    return lambda element: _with(element, labels=function(element["bounding_boxes"]["labels"]))


MISTAKES = {
    "unknown format": (None, {"bounding_box_format": "xyxyy"}, "Keras knows no format 'xyxyy'; did you mean 'xyxy'?"),
    "no format": (None, {"bounding_box_format": None}, "Keras knows no format None"),
    "too few names": (None, {"class_names": ["a"]}, r"image 0: label [12] is beyond the 1 class_names"),
    "no name": (None, {"class_names": ["a", 3, "c"]}, "class_names: 3 is no name"),
    "argument": (None, {"min_side": 0}, r"^from_boxes: min_side\[0\] must be a whole number"),
    "other pictures": (
        None, {"augmentations": {"mosaic": {"probability": 0.5}}}, "^from_boxes: mosaic and copy_paste take other pict",
    ),
    "masks": (None, {"augmentations": {"copy_paste": {"probability": 1}}}, "^from_boxes: an augmentation needs masks"),
    "invalid boxes": (None, {"invalid_boxes": "keep"}, 'invalid_boxes must be "refuse" or "drop"'),
    "corners as extents": (None, {"bounding_box_format": "xywh"}, 'seem to be "xyxy"'),
    "pixels as shares": (None, {"bounding_box_format": "rel_xyxy"}, 'cannot be "rel_xyxy".* seem to be "xyxy"'),
    "images": (lambda e: {"image": e["images"], "bounding_boxes": 0}, {}, 'has no "images", its keys are "image"'),
    "objects": (lambda e: {"images": e["images"]}, {}, 'an element has no "bounding_boxes"'),
    "labels": (lambda e: (e["images"], {"boxes": e["bounding_boxes"]["boxes"]}), {}, 'has no "labels", its keys are'),
    "alone": (lambda e: e["images"], {}, "an element is no dict"),
    "weights": (lambda e: (e["images"], e["bounding_boxes"], 1.0), {}, "a tuple of 3, and two are needed"),
    "shares of 1": (_scaled(1 / 255), {}, "pixels from 0 to 1, and 0..255 is needed; multiply them by 255"),
    "normalised": (_scaled(1 / 127.5, -1), {}, "pixels from -1 to 1, and 0..255 is needed; leave normalisation out"),
    "too bright": (_scaled(2), {}, "image 0: has pixels from .* to 5.*; give 0..255"),
    "not finite": (_scaled(np.nan), {}, "image 0: has pixels from "),
    "channels": (lambda e: e | {"images": e["images"][..., :2]}, {}, "image 0: has 2 channels"),
    "text": (lambda e: e | {"images": tf.io.encode_png(e["images"])}, {}, '"images" are string, no numbers; decode'),
    "label names": (_labels(tf.strings.as_string), {}, '"labels" are string, no numbers'),
    "halves": (_labels(lambda own: own / 2), {}, "label 0.5; labels are whole numbers"),
    "negative": (_labels(lambda own: own - 5), {}, "label -[345]; labels count from 0, and -1 is padding"),
    "one-hot": (_labels(lambda own: tf.one_hot(own, 3)), {}, "of one-hot labels give the argmax"),
    "fewer labels": (_labels(lambda own: own[1:]), {}, "image 0: has 2 boxes and 1 labels"),
    "unlabelled padding": (
        lambda e: _with(e, boxes=tf.concat([[[-1.0] * 4], e["bounding_boxes"]["boxes"][1:]], 0)), {},
        r"image 0: box \[-1, -1, -1, -1\] has no positive width and height \(label -1 marks padding\)",
    ),
    "outside": (
        lambda e: _with(e, boxes=tf.concat([[[90.0, 2, 99, 9]], e["bounding_boxes"]["boxes"][1:]], 0)), {},
        r'image 0: box \[90, 2, 99, 9\] lies outside the image; it is read as "xyxy"',
    ),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_told_in_a_line(mistake, data_set):
    change, arguments, message = MISTAKES[mistake]
    dataset = _dataset(data_set).filter(lambda element: tf.size(element["bounding_boxes"]["labels"]) > 0)
    dataset = dataset if change is None else dataset.map(change)
    with pytest.raises(UserError, match=message) as caught:
        from_boxes(dataset, **{"bounding_box_format": "xyxy", "class_names": NAMES} | arguments)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("given", _slow_but(FORMATS, ("yxyx",)))
def test_a_format_that_cannot_be_is_told_with_the_right_one(given, data_set):
    """Of each pair of formats that differ in these pictures: pixels or shares, corners or extents, x or y first."""
    for said in FORMATS:
        if said == given:
            continue
        try:
            from_boxes(_dataset(data_set, given), said)
        except UserError as error:
            message = str(error)
            assert f'"{given}"' in message.partition("seem to be")[2] or "it is read as" in message, message
        else:
            is_alike = {said.startswith("rel_"), given.startswith("rel_")}
            assert len(is_alike) == 1, f"{given} passes as {said}"


def test_nothing_else_than_a_dataset_of_something(data_set):
    with pytest.raises(UserError, match="a tf.data.Dataset is needed, not list"):
        from_boxes([1], "xyxy")
    with pytest.raises(UserError, match="the dataset is empty"):
        from_boxes(_dataset(data_set).take(0), "xyxy")


def _forty(label_of_last=0, box_of_last=(4.0, 4, 20, 20)):
    boxes = np.tile(np.array([[[4.0, 4, 20, 20]]]), (40, 1, 1))
    labels = np.zeros((40, 1), np.int64)
    boxes[-1, 0], labels[-1] = box_of_last, label_of_last
    objects = {"boxes": boxes, "labels": labels}
    return tf.data.Dataset.from_tensor_slices((np.full((40, 32, 32, 3), 99, np.uint8), objects))


def test_a_later_mistake_is_told_when_its_turn_comes():
    dataset = from_boxes(_forty(label_of_last=3), "xyxy", ["x"], min_side=32, batch_size=8)
    with pytest.raises(UserError, match="^from_boxes: image 39: label 3 is beyond the 1 class"), readable_errors():
        list(dataset)


@pytest.mark.slow
def test_invalid_boxes_are_left_out_where_that_is_asked_for():
    for box in ([9.0, 9, 9, 30], [40.0, 4, 50, 20], [4.0, np.nan, 20, 20]):
        dataset = from_boxes(_forty(box_of_last=box), "xyxy", ["x"], min_side=32, batch_size=40, invalid_boxes="drop")
        (batch,) = _batches(dataset)
        assert batch["classes"][:, 0].tolist() == [0] * 39 + [-1] and not batch["boxes"][-1].any()


# ------------------------------------------------------------------------------------------------------- AP


def _jittered(data_set, seed=0):
    """Results that miss the objects by a little, and some wrong ones: an AP between 0 and 1."""
    rng, results = np.random.default_rng(seed), []
    for record in data_set.records:
        for box, label in zip(record.boxes.tolist(), record.classes.tolist(), strict=True):
            x1, y1, x2, y2 = (np.array(box) + rng.normal(0, 1.5, 4)).tolist()
            label = label if rng.random() < 0.8 else (label + 1) % len(NAMES)
            result = {"image_id": record.image_id, "category_id": label + 1, "bbox": [x1, y1, x2 - x1, y2 - y1]}
            results.append(result | {"score": float(rng.random())})
    return results


def test_ap_is_that_of_the_folder(data_set):
    batches = from_boxes(_dataset(data_set, "rel_yxyx"), "rel_yxyx", NAMES, **RESIZING)
    evaluators = [COCOEvaluator(instances_of(batches, NAMES)), COCOEvaluator(data_set.instances())]
    assert evaluators[0].class_names == list(NAMES) and evaluators[0].image_ids == evaluators[1].image_ids
    (ours, of_classes), (folder, _) = (evaluator.average_precision(_jittered(data_set)) for evaluator in evaluators)
    assert ours == folder and 0 < ours[0] < 1
    assert set(of_classes) == set(NAMES)


@pytest.mark.slow
def test_instances_are_refused_where_they_would_measure_something_else(data_set):
    dataset = _dataset(data_set)
    with pytest.raises(UserError, match="gives other images in a second pass; leave out shuffle"):
        instances_of(from_boxes(dataset.shuffle(5, seed=1), "xyxy", **RESIZING), NAMES)
    same = from_boxes(dataset.map(lambda element: element | {"image_ids": tf.constant(4)}), "xyxy", **RESIZING)
    with pytest.raises(UserError, match="has class 2, beyond the 2 class_names"):
        instances_of(same, ["a", "b"])
    with pytest.raises(UserError, match="gives image id 4 twice"):
        instances_of(same, NAMES)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Your input ran out of data")  # Keras, of a dataset that does not tell its length
def test_a_model_learns_and_is_measured_on_it(data_set, tiny_settings):
    settings = tiny_settings() | {"num_classes": 3, "class_names": NAMES}
    metrics = []
    for annotations, batches in (
        (data_set.instances(), load_coco(data_set, **RESIZING)),
        (None, from_boxes(_dataset(data_set, "xywh"), "xywh", NAMES, **RESIZING)),  # does not tell its length
    ):
        keras.utils.set_random_seed(1)
        model = keras_fpn.FasterRCNN(**settings)
        model.compile(keras_fpn.SGD(0.01))
        annotations = annotations or instances_of(batches, model.class_names, model.category_ids)
        callback = keras_fpn.COCOEvaluation(batches, annotations, proposals=True)
        history = model.fit(batches, epochs=1, shuffle=False, callbacks=[callback], verbose=0).history
        metrics.append(history | model.evaluate(batches, return_dict=True, verbose=0))
        metrics[-1]["steps"] = int(model.optimizer.iterations)
    assert metrics[0] == metrics[1] and metrics[0]["steps"] == 3
    assert {"val_AP", "val_AP50", "val_proposals/AR1000"} <= set(metrics[0]) and np.isfinite(metrics[0]["loss"])
