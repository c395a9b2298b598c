"""Pictures inside TFRecord files, and `keras-fpn data to-shards`, which puts them there."""

import dataclasses
import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from keras_fpn.commands.main import main
from keras_fpn.console.errors import UserError
from keras_fpn.data import load_coco, read_coco, readable_errors, rewriting
from keras_fpn.data.image_heads import READS_WEBP
from keras_fpn.data.picture_contents import content_of, length_of
from keras_fpn.data.unread_pictures import refuse_unread

# Pictures, width and height: wide ones and tall ones, more than a shard holds.
SIZES = [(48, 32), (32, 40), (64, 40), (36, 50), (40, 40), (50, 30), (30, 44), (44, 28), (60, 33), (33, 60), (52, 38)]

# TensorFlow 2.18 decodes no WebP.
SUFFIXES = (".jpg", ".png", ".webp" if READS_WEBP else ".bmp")

SIZING = {"batch_size": 2, "min_side": [24, 30], "max_side": 40, "fields": ("masks",)}
TRAINING = {
    "shuffle": True, "repeat": True, "horizontal_flip": True, "group_by_aspect_ratio": True, "seed": 5,
}  # fmt: skip


def _write_half(folder, half, sizes, first_id):
    """Noise with two objects on each picture; what else COCO's files hold is there, too."""
    (folder / half).mkdir(parents=True)
    images, objects = [], []
    for number, (width, height) in enumerate(sizes, first_id):
        suffix = SUFFIXES[number % 3]
        noise = np.random.default_rng(number).integers(0, 256, (height, width, 3), np.uint8)
        Image.fromarray(noise).save(folder / half / f"é {number}{suffix}")
        name = {"id": number, "file_name": f"é {number}{suffix}", "license": 3}
        images.append(name | {"width": width, "height": height})
        for part in range(2):
            x, y = 3.3 + part, 2.7 + number % 5
            corners = [x, y, x + 17.1, y, x + 17.1, y + 11.9]
            objects.append({
                "id": 2 * number + part, "image_id": number, "category_id": 7 - 4 * part, "bbox": [x, y, 17.1, 11.9],
                "segmentation": [corners], "iscrowd": int(number == 4 and part), **({"area": 99.5} if part else {}),
            })  # fmt: skip
    categories = [{"id": 7, "name": "zebra", "supercategory": "animal"}, {"id": 3, "name": "cat"}]
    licenses = [{"id": 3, "name": "CC0"}]
    document = {"info": {"year": 2017}, "licenses": licenses, "images": images, "annotations": objects}
    (folder / "annotations").mkdir(exist_ok=True)
    (folder / "annotations" / f"instances_{half}.json").write_text(json.dumps(document | {"categories": categories}))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "folder"
    _write_half(folder, "train", SIZES, 1)
    _write_half(folder, "val", SIZES[:3], 101)
    return folder


@pytest.fixture(scope="module")
def shards(folder, tmp_path_factory):
    """The same data set in three shards a half; copy it before changing it."""
    out = tmp_path_factory.mktemp("data") / "shards"
    assert main(["data", "to-shards", str(folder), str(out), "--shards", "3"]) == 0
    return out


@pytest.fixture
def copy(shards, tmp_path):
    return shutil.copytree(shards, tmp_path / "shards")


def _annotations(folder, half="train"):
    return folder / "annotations" / f"instances_{half}.json"


def _batches(*source, count=None, **options):
    """(inputs, targets) of the first batches, flat dicts of arrays."""
    dataset = load_coco(*source, **(SIZING | options))
    dataset = dataset if count is None else dataset.take(count)
    return [inputs | targets for inputs, targets in dataset.as_numpy_iterator()]


def _assert_equal(found, expected):
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert one.keys() == other.keys()
        for key in one:
            np.testing.assert_array_equal(one[key], other[key])


@pytest.fixture(scope="module")
def expected(folder):
    return _batches(_annotations(folder), folder / "train", count=16, **TRAINING)


@pytest.mark.parametrize(("first", "cache"), [(0, True), (4, False)])
def test_batches_are_those_of_the_folder_from_any_batch_on(shards, expected, first, cache):
    """Batch 4 is amid the first epoch and amid each shard."""
    source = shards / "train.index.json"
    found = _batches(source, count=16 - first, skip_batches=first, cache=cache, **TRAINING)
    _assert_equal(found, expected[first:])


def test_files_and_shards_go_together(folder, shards, expected, tmp_path):
    document = json.loads(_annotations(folder).read_text())
    index = json.loads((shards / "train.index.json").read_text())
    for number, entry in enumerate(document["images"]):
        if number % 2:
            record = index["images"][number]["record"]
            entry["record"] = record | {"file": str(shards / record["file"])}
    (tmp_path / "mixed.json").write_text(json.dumps(document))
    _assert_equal(_batches(tmp_path / "mixed.json", folder / "train", count=9, **TRAINING), expected[:9])


def test_nothing_of_the_annotations_is_lost(folder, shards):
    original = json.loads(_annotations(folder).read_text())
    index = json.loads((shards / "train.index.json").read_text())
    for entry in index["images"]:
        assert entry.pop("record").keys() == {"file", "offset", "key"}
    assert {key: index[key] for key in original} == original
    assert index.keys() - original.keys() == {"format", "version", "shards"}
    assert (shards / "label_map.pbtxt").read_text().count("item") == 2


def test_pictures_are_kept_byte_for_byte_and_read_without_tensorflow(folder, shards):
    code = (
        "import sys; from keras_fpn.data import read_coco; from keras_fpn.data.picture_contents import content_of;"
        f"records = read_coco({str(shards / 'train.index.json')!r}).records; import hashlib;"
        "print(*(hashlib.sha256(content_of(each)).hexdigest() for each in records), 'tensorflow' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    records = read_coco(_annotations(folder), folder / "train").records
    assert done.stdout.split() == [hashlib.sha256(content_of(each)).hexdigest() for each in records] + ["False"]
    assert list(map(length_of, records)) == list(map(length_of, read_coco(shards / "train.index.json").records))


def test_other_programs_find_the_keys_of_the_object_detection_api(folder, shards):
    import tensorflow as tf

    floats = tf.io.VarLenFeature(tf.float32)
    known = {f"image/object/bbox/{side}": floats for side in ("xmin", "ymin", "xmax", "ymax")}
    known |= {"image/object/area": floats, "image/object/is_crowd": tf.io.VarLenFeature(tf.int64)}
    known |= {"image/object/class/label": tf.io.VarLenFeature(tf.int64)}
    known |= {"image/object/class/text": tf.io.VarLenFeature(tf.string)}
    known |= {key: tf.io.FixedLenFeature([], tf.int64) for key in ("image/height", "image/width")}
    texts = ("image/encoded", "image/format", "image/filename", "image/source_id", "image/key/sha256")
    known |= {key: tf.io.FixedLenFeature([], tf.string) for key in texts}
    files = sorted(map(str, shards.glob("train-*.tfrecord")))
    assert len(files) == 3
    found = {}
    for text in tf.data.TFRecordDataset(files):
        example = tf.io.parse_single_example(text, known)
        values = {key: (value.values if key.startswith("image/object") else value) for key, value in example.items()}
        found[int(values["image/source_id"].numpy())] = {key: value.numpy() for key, value in values.items()}
    assert list(found) != sorted(found) and sorted(found) == list(range(1, 12))
    fourth = found[4]
    assert fourth["image/encoded"] == (folder / "train" / "é 4.png").read_bytes()
    assert (fourth["image/format"], fourth["image/filename"].decode()) == (b"png", "é 4.png")
    assert (fourth["image/height"], fourth["image/width"]) == (50, 36)
    corners = np.array([[3.3, 6.7, 20.4, 18.6], [4.3, 6.7, 21.4, 18.6]]) / [36, 50, 36, 50]
    for side, values in zip(("xmin", "ymin", "xmax", "ymax"), corners.T, strict=True):
        np.testing.assert_allclose(fourth[f"image/object/bbox/{side}"], values, rtol=1e-6)
    assert fourth["image/object/class/label"].tolist() == [7, 3]
    assert fourth["image/object/class/text"].tolist() == [b"zebra", b"cat"]
    assert fourth["image/object/is_crowd"].tolist() == [0, 1]
    np.testing.assert_allclose(fourth["image/object/area"], [17.1 * 11.9, 99.5], rtol=1e-5)


def test_the_seed_draws_which_picture_is_where(folder, shards, tmp_path):
    for name, options in (("same", ["--shards", 3]), ("other", ["--shards", 3, "--seed", 1]), ("large", [])):
        assert main(["data", "to-shards", str(folder), str(tmp_path / name), *map(str, options)]) == 0
    folders = (shards, tmp_path / "same", tmp_path / "other")
    one, same, other = (place / "train-00000-of-00003.tfrecord" for place in folders)
    assert one.read_bytes() == same.read_bytes() != other.read_bytes()
    assert (tmp_path / "large" / "train-00000-of-00001.tfrecord").is_file()


# ------------------------------------------------------------------------------------------------- mistakes


def _change(**changed):
    def damage(copy):
        index = copy / "train.index.json"
        index.write_text(json.dumps(json.loads(index.read_text()) | changed))

    return damage


def _change_first(size=None, **changed):
    def damage(copy):
        index = copy / "train.index.json"
        document = json.loads(index.read_text())
        document["images"][0] |= size or {}
        document["images"][0]["record"] |= changed
        index.write_text(json.dumps(document))

    return damage


def _cut(copy):
    shard = copy / "train-00001-of-00003.tfrecord"
    shard.write_bytes(shard.read_bytes()[:-1])


def _exchange(copy):
    shutil.copy(copy / "val-00000-of-00003.tfrecord", copy / "train-00001-of-00003.tfrecord")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda copy: (copy / "train-00002-of-00003.tfrecord").unlink(), "train-00002-of-00003.tfrecord: .* not there"),
        (_cut, r"train-00001-of-00003.tfrecord: is cut short, it has \d+ bytes and .*train.index.json says"),
        (_exchange, "train-00001-of-00003.tfrecord: (is cut short|is another file), it has"),
        (_change(format="else"), "train.index.json: no index of shards; keras-fpn data to-shards writes one"),
        (_change(version=9), "train.index.json: version 9, this program reads 1"),
        (_change(shards=None), '"shards" has None, not the "file" and "bytes" of one'),
        (_change_first(offset=10**9), "image 1 lies at byte 1000000000 of train-.*, which is in none of"),
        (_change_first(file="else"), "image 1 lies at byte .* of else, which is in none of"),
        (_change_first(key=3), 'image 1 has "record" .*write "file" .*"offset" .* and "key"'),
        (_change_first(offset=-1), 'image 1 has "record" .*write "file"'),
        (_change_first({"width": 10**5, "height": 10**5}), "image 1 is said to have 100000 x .* has 48 x 32; correct"),
    ],
)
def test_a_shard_that_is_not_what_the_index_says_is_refused_by_name(copy, damage, message):
    damage(copy)
    with pytest.raises(UserError, match=message):
        read_coco(copy / "train.index.json")


def _record_of(data_set, number):
    return next(record for record in data_set.records if record.image_id == number)


def test_a_damaged_picture_is_named(copy):
    """One byte of the picture of image 6 is another, as a disk makes it; the checksum of its record tells."""
    data_set = read_coco(copy / "train.index.json")
    record = _record_of(data_set, 6)
    place = Path(record.path).read_bytes().index(content_of(record)) + 100
    with open(record.path, "r+b") as file:
        file.seek(place)
        byte = file.read(1)
        file.seek(place)
        file.write(bytes([byte[0] ^ 1]))
    name = r"train-0000\d-of-00003.tfrecord: image 6 \(é 6.jpg\)"
    with pytest.raises(UserError, match=rf"{name}: cannot be read as a JPEG"), readable_errors():
        _batches(data_set, fields=())
    with pytest.raises(UserError, match=rf"data.cache: .*{name}: cannot be read \(cut short, or its checksum"):
        load_coco(data_set, cache=True)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"offset": 1}, "no record begins at byte 1"),
        ({"offset": 10**9}, "no record can begin at byte 1000000000"),
        ({"key": "image/height"}, 'an example without one text under "image/height"'),
        ({"key": "picture"}, 'an example without one text under "picture"'),
    ],
)
def test_a_place_without_a_picture_is_told(shards, change, why):
    record = read_coco(shards / "train.index.json").records[0]
    wrong = dataclasses.replace(record, place=record.place._replace(**change))
    with pytest.raises(UserError, match=rf"tfrecord: image 1 \(é 1.png\): cannot be read \(.*{why}"):
        content_of(wrong)


def test_pictures_that_training_does_not_read_are_png_in_shards(folder, tmp_path, caplog):
    """Under a name of their own, and counted; so that a picture of that name stays what it is."""
    shutil.copytree(folder, tmp_path / "folder")
    index = tmp_path / "folder" / "annotations" / "instances_val.json"
    names = {f"é 101{SUFFIXES[2]}": "é 102.tif", "é 102.jpg": "é 102.png"}
    for name, other in names.items():
        (tmp_path / "folder" / "val" / name).rename(tmp_path / "folder" / "val" / other)
    content = json.loads(index.read_text())
    for image in content["images"]:
        image["file_name"] = names.get(image["file_name"], image["file_name"])
    index.write_text(json.dumps(content))
    place = tmp_path / "folder" / "val" / "é 102.tif"
    Image.open(place).save(place, "TIFF")
    assert main(["data", "to-shards", str(tmp_path / "folder"), str(tmp_path / "out")]) == 0
    assert "1 pictures were rewritten as PNG (1 TIFF)" in caplog.text
    found = {record.file_name: content_of(record) for record in read_coco(tmp_path / "out" / "val.index.json").records}
    assert found["é 102_2.png"] == rewriting.rewritten(place).content
    assert found["é 102.png"] == place.with_suffix(".png").read_bytes() and len(found) == 3


def test_tiff_pictures_in_shards_are_found(folder, tmp_path, monkeypatch):
    """As other programs may have written them."""
    shutil.copytree(folder, tmp_path / "folder")
    place = tmp_path / "folder" / "val" / f"é 101{SUFFIXES[2]}"
    Image.open(place).save(place, "TIFF")
    with monkeypatch.context() as context:
        context.setattr(rewriting, "rewritten", lambda *_: None)
        assert main(["data", "to-shards", str(tmp_path / "folder"), str(tmp_path / "out")]) == 0
    told = rf"val-00000-of-00001.tfrecord: image 101 \(é 101{SUFFIXES[2]}\): image 101 of .* TIFF"
    with pytest.raises(UserError, match=told):
        refuse_unread(read_coco(tmp_path / "out" / "val.index.json"))


def test_what_cannot_be_written_leaves_nothing(folder, shards, run, tmp_path):
    code, _, error = run("data", "to-shards", folder, shards)
    assert code == 2 and f"{shards}: is not empty" in error
    shutil.copytree(folder, "broken")
    (tmp_path / "broken" / "val" / "é 102.jpg").write_text("no picture")
    code, _, error = run("data", "to-shards", "broken", "out")
    assert code == 2 and error.count("\n") == 1
    assert "é 102.jpg: not a readable image (it is text; " in error
    assert [path.name for path in tmp_path.iterdir()] == ["broken"]


def test_annotations_by_themselves_are_one_half(folder, run, tmp_path):
    code, printed, _ = run("data", "to-shards", _annotations(folder), "out", "--images", folder / "train")
    assert code == 0 and "all: 11 images in 1 shard," in printed
    assert len(read_coco(tmp_path / "out" / "all.index.json")) == 11
    alone = shutil.copy(_annotations(folder), tmp_path / "alone.json")
    code, _, error = run("data", "to-shards", alone, "other")
    assert code == 2 and "alone.json is not there (and 10 more of 11 images)" in error
    code, printed, _ = run("data", "to-shards", "out", "again")  # shards of shards
    assert code == 0
    assert (tmp_path / "again" / "all.index.json").read_text() == (tmp_path / "out" / "all.index.json").read_text()


# ------------------------------------------------------------------------------------------ tf.data service

SERVER = """
import sys
import tensorflow as tf
service = tf.data.experimental.service
dispatcher = service.DispatchServer()
address = dispatcher.target.split("://")[1]
workers = [service.WorkerServer(service.WorkerConfig(dispatcher_address=address)) for _ in range(int(sys.argv[1]))]
print(dispatcher.target, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def served():
    """`served(dataset, workers, policy)`: what the workers in another process give of it, flat dicts of arrays."""
    from tensorflow.data.experimental import service

    processes = []

    def serve(dataset, workers, policy):
        process = subprocess.Popen(
            [sys.executable, "-c", SERVER, str(workers)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        processes.append(process)
        mode = getattr(service.ShardingPolicy, policy)
        return dataset.apply(service.distribute(processing_mode=mode, service=process.stdout.readline().strip()))

    yield serve
    for process in processes:
        process.communicate("", timeout=60)


@pytest.mark.slow
def test_one_worker_of_another_process_serves_the_stream(shards, expected, served):
    local = load_coco(shards / "train.index.json", skip_batches=4, **SIZING, **TRAINING)
    found = [inputs | targets for inputs, targets in served(local, 1, "OFF").take(12).as_numpy_iterator()]
    _assert_equal(found, expected[4:])


@pytest.mark.slow
def test_several_workers_share_whole_batches(shards, served):
    """Each batch of an evaluation comes once, from whichever worker has it first."""
    local = load_coco(shards / "train.index.json", batch_size=2, min_side=28, max_side=40, group_by_padded_size=True)
    expected = [inputs | targets for inputs, targets in local.as_numpy_iterator()]
    found = [inputs | targets for inputs, targets in served(local, 2, "DYNAMIC").as_numpy_iterator()]
    order = {tuple(batch["image_ids"]): number for number, batch in enumerate(expected)}
    _assert_equal(sorted(found, key=lambda batch: order[tuple(batch["image_ids"])]), expected)
