"""Each reader gives the same records and batches for the same pictures."""

import dataclasses
import functools
import json
from pathlib import Path

import numpy as np
import pytest

from keras_fpn.config.loading import load_config
from keras_fpn.console.errors import UserError
from keras_fpn.data import decode_image, from_boxes, load_coco, read_coco
from keras_fpn.data.formats import FORMATS, JsonFormat, find_halves, read_content
from keras_fpn.data.picture_contents import content_of
from keras_fpn.evaluation.coco import COCOEvaluator
from keras_fpn.training.datasets import read_data
from keras_fpn.training.named_files import with_data
from tests.data.data_sets import CONTENT, NAMES, OUTLINES, as_content
from tests.data.readers import OF_ONE_SOURCE, OF_TFDS, READERS

RESIZING = {"batch_size": 1, "min_side": 40, "max_side": 64}
FIRST_OF_FORMAT = list({reader.format: name for name, reader in reversed(READERS.items())}.values())
FAST = [name for name in READERS if name not in OF_TFDS]


def _slow_but(fast, names):
    """Parameters, of which those that are not `fast` are left to the slow part."""
    return [pytest.param(name, marks=() if name in fast else pytest.mark.slow) for name in names]


def test_every_format_has_a_row():
    """Of this package: others may be registered, too."""
    known = {each.name for each in FORMATS if type(each).__module__.startswith("keras_fpn.")}
    assert {reader.format for reader in READERS.values()} == known


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """`written(name)`: what `--data` names of what a reader reads, which is written once."""

    @functools.cache
    def written(name):
        root = tmp_path_factory.mktemp("reader")
        return READERS[name].write(root) or str(root)

    return written


@pytest.fixture(scope="module")
def config_of(written):
    """`config_of(name)`: the configuration of a run on what a reader reads."""
    return functools.cache(lambda name: with_data(load_config("tiny"), written(name)))


def _read(config, **options):
    """The records of both halves."""
    halves = (config.data.train, config.data.val)
    return [read_coco(half.annotations, half.images, **options) for half in halves]


@pytest.fixture(scope="module")
def wanted(config_of):
    """`wanted(reader)`: the records of both halves of the COCO folder, as far as the reader's format has them."""

    def wanted(reader):
        halves = _read(config_of("coco"), crowds="ignore" if reader.has_crowds else "objects")
        if reader.has_empty:
            return halves
        kept = (tuple(record for record in half.records if len(record.boxes)) for half in halves)
        return [dataclasses.replace(half, records=each) for half, each in zip(halves, kept, strict=True)]

    return wanted


@pytest.mark.parametrize("name", _slow_but(FAST, OF_ONE_SOURCE))
def test_no_format_takes_what_another_wrote(name, written):
    data, wanted = written(name), READERS[name].format
    named = {each.name for each in FORMATS if each.find_named(data)}
    assert (named or {each.name for each in FORMATS if each.find(Path(data))}) == {wanted}
    known, halves = find_halves(data)
    for half in halves.values():
        content = json.loads(Path(half.annotations).read_text()) if half.annotations.endswith(".json") else None
        by_content = [each.name for each in FORMATS if isinstance(each, JsonFormat) and each.matches(content)]
        by_name = [each.name for each in FORMATS if each.recognises(half.annotations)]
        taking = by_content + [each for each in by_name if each != "csv" or wanted == "csv"]  # csv takes what is left
        assert taking == ([] if wanted == "coco" else [wanted])  # and so does COCO of JSON files
        assert known.images_of(half.annotations) == half.images
        assert all(file.is_file() for file in known.files(half.annotations))


def _assert_same_records(found, expected, reader):
    assert found.class_names == expected.class_names == NAMES
    for record, other in zip(found.records, expected.records, strict=True):
        name = reader.names.get(other.file_name, other.file_name)
        assert Path(record.file_name).name == name
        assert (record.height, record.width) == (other.height, other.width)
        np.testing.assert_allclose(record.boxes, other.boxes, rtol=0, atol=reader.precision)
        assert record.classes.tolist() == other.classes.tolist()
        assert record.is_crowd.tolist() == other.is_crowd.tolist()
        assert Path(record.path).is_file()


def test_the_content_that_all_are_held_to(config_of):
    assert [as_content(half) for half in _read(config_of("coco"))] == list(CONTENT.values())


@pytest.mark.parametrize("name", _slow_but(FAST, READERS))
def test_records(name, config_of, wanted):
    """Those of the COCO folder: pictures in the same order, sizes, boxes, classes and crowds; and outlines."""
    reader, config = READERS[name], config_of(name)
    for found, expected in zip(_read(config), wanted(reader), strict=True):
        _assert_same_records(found, expected, reader)
        items = [item for half in found.sources for item in read_content(*half)["annotations"]]
        outlines = [item["segmentation"] for item in items if item.get("segmentation")]
        drawn = [outline for (picture, _), outline in OUTLINES.items()
                 if reader.has_outlines and picture in {record.file_name for record in expected.records}]  # fmt: skip
        assert len(outlines) == len(drawn)
        for (outline,), other in zip(outlines, drawn, strict=True):
            assert outline == pytest.approx(other)


@pytest.mark.parametrize("name", _slow_but([*set(FIRST_OF_FORMAT) - set(OF_TFDS), "YOLO and VOC"], READERS))
def test_training_and_measuring(name, config_of, wanted, capsys):
    """As `keras-fpn train` reads it: the records again, and the AP of found boxes, which is that of the folder."""
    reader = READERS[name]
    *halves, evaluator = read_data(config_of(name))
    expected = wanted(reader)
    for half, other in zip(halves, expected, strict=True):
        _assert_same_records(half, other, reader)
    of_folder = COCOEvaluator(expected[1].instances())
    for shift in (0, 0.1):
        figures = evaluator.average_precision(_found(halves[1], expected[1], shift))[0]
        original = of_folder.average_precision(_found(expected[1], expected[1], shift))[0]
        np.testing.assert_allclose(figures, original, rtol=0, atol=0 if reader.precision == 0 else 1e-4)
        assert figures[0] == pytest.approx(0.7 if shift else 1)  # IoU 0.9 / 1.1: above seven of ten thresholds


def _found(data_set, expected, shift):
    """Results of a detector that finds the `expected` objects moved by a share of their width."""
    results = []
    for record, other in zip(data_set.records, expected.records, strict=True):
        for box, label, is_crowd in zip(other.boxes.tolist(), other.classes, other.is_crowd, strict=True):
            x1, y1, x2, y2 = box
            place = [x1 + shift * (x2 - x1), y1, x2 - x1, y2 - y1]
            if not is_crowd:
                results.append({"image_id": record.image_id, "category_id": data_set.category_ids[label],
                                "bbox": place, "score": 0.9})  # fmt: skip
    return results


# ------------------------------------------------------------------------------------------------- batches


@pytest.fixture(scope="module")
def batches_of(config_of):
    """`batches_of(name)`: batches of both halves, an image each; those of all go through one pipeline, made once."""
    records, last = [], {}
    for name in FAST:
        try:
            halves = _read(config_of(name))
        except (UserError, AssertionError):  # which the tests of its records tell
            continue
        records += [record for half in halves for record in half.records]
        last[name] = len(records)
    batches = _arrays(load_coco(dataclasses.replace(_read(config_of("coco"))[0], records=tuple(records)), **RESIZING))
    first = dict(zip(last, [0, *last.values()], strict=False))
    return lambda name: batches[first[name] : last[name]]


def _arrays(dataset):
    return [inputs | targets for inputs, targets in dataset.as_numpy_iterator()]


def _assert_same_batches(found, folder, reader):
    """Batches are those of the COCO folder, as far as the reader's format has them."""
    for batch, other in zip(found, folder, strict=True):
        assert batch.keys() == other.keys()
        for key in batch.keys() - {"image_ids"}:
            limit = 2 * reader.precision if key == "boxes" else 0  # of the picture, resized to twice its size at most
            expected = 0 if key == "is_crowd" and not reader.has_crowds else other[key]
            np.testing.assert_allclose(batch[key], expected, rtol=0, atol=limit, err_msg=key)


@pytest.mark.parametrize("name", FAST)
def test_batches(name, batches_of):
    """Pixels to the last bit, boxes, classes and crowds."""
    reader, folder = READERS[name], batches_of("coco")
    assert len(folder) == 5 and sum(int(batch["is_crowd"].sum()) for batch in folder) == 1
    folder = [batch for batch in folder if reader.has_empty or (batch["classes"] >= 0).any()]
    _assert_same_batches(batches_of(name), folder, reader)


@pytest.mark.slow
@pytest.mark.parametrize("name", [*FIRST_OF_FORMAT, "folder of TFDS", "YOLO and VOC", "from_boxes"])
def test_batches_of_a_pipeline_of_its_own(name, config_of):
    """By the names of the annotations alone, several pictures a batch, in memory; and those of Keras' own form."""
    options = RESIZING | {"batch_size": 2, "canvas": (64, 64)}
    folder = config_of("coco").data.val
    if name == "from_boxes":
        reader, found = READERS["coco"], from_boxes(_in_keras_form(folder), "xyxy", NAMES, **options)
    else:
        reader, half = READERS[name], config_of(name).data.val
        found = load_coco(half.annotations, half.images, **options, cache=True)
    _assert_same_batches(_arrays(found), _arrays(load_coco(folder.annotations, folder.images, **options)), reader)


def _in_keras_form(folder):
    """A `tf.data.Dataset` of the pictures and objects of a half."""
    import tensorflow as tf

    def elements():
        for record in read_coco(folder.annotations, folder.images).records:
            objects = {"boxes": record.boxes, "labels": record.classes, "is_crowd": record.is_crowd}
            yield {"images": decode_image(record.path), "bounding_boxes": objects}

    objects = {"boxes": tf.TensorSpec([None, 4], tf.float32), "labels": tf.TensorSpec([None], tf.int32),
               "is_crowd": tf.TensorSpec([None], tf.int32)}  # fmt: skip
    signature = {"images": tf.TensorSpec([None, None, 3], tf.uint8), "bounding_boxes": objects}
    return tf.data.Dataset.from_generator(elements, output_signature=signature)


# ------------------------------------------------------------------------------------------------- commands


@pytest.mark.slow
@pytest.mark.parametrize("name", OF_ONE_SOURCE)
def test_the_check_finds_nothing_wrong(name, written, run):
    code, printed, _ = run("data", "check", written(name))
    assert code == 0 and "\nerror" not in printed


FORMATS_WRITTEN = ("coco", "voc", "yolo")


def _conversions():
    """Each data set in each format; in the fast tests in one, the next for the next."""
    for number, name in enumerate(OF_ONE_SOURCE):
        for place, to in enumerate(FORMATS_WRITTEN):
            is_fast = name in FAST and place == number % len(FORMATS_WRITTEN)
            yield pytest.param(name, to, marks=() if is_fast else pytest.mark.slow, id=f"{name}-{to}")


@pytest.mark.parametrize(("name", "to"), list(_conversions()))
def test_converted_records_are_the_same(name, to, written, config_of, run, tmp_path):
    """With their ids, and pictures to the last byte."""
    code, _, error = run("data", "convert", written(name), "out", "--to", to)
    assert (code, error) == (0, "")
    assert [each.name for each in tmp_path.iterdir()] == ["out"]
    for before, after in zip(_read(config_of(name)), _read(with_data(load_config("tiny"), "out")), strict=True):
        assert (before.class_names, before.category_ids) == (after.class_names, after.category_ids)
        for record, other in zip(before.records, after.records, strict=True):
            assert Path(other.file_name).name == Path(record.file_name).name
            assert (record.image_id, record.height, record.width) == (other.image_id, other.height, other.width)
            assert all((record.fields[key] == other.fields[key]).all() for key in record.fields)
            assert content_of(record) == content_of(other)
