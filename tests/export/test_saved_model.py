"""The SavedModel, loaded where it will be: TensorFlow in Python, without this package, the command line, C."""

import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from keras_fpn.console.errors import UserError
from keras_fpn.inference import detecting
from keras_fpn.models.architectures import ARCHITECTURES

SOURCE = pathlib.Path(__file__).parent / "c" / "run_saved_model.c"
NAMES = ("boxes", "scores", "classes", "num_detections")


@pytest.fixture(scope="module")
def model(tiny_settings):
    """The tiny detector with a box head whose weights outweigh the graph; finds nothing in a strip of 2 pixels."""
    import keras

    import keras_fpn

    keras.utils.set_random_seed(5)
    groups = {
        "resize": {"min_side": 64, "max_side": 112},
        "box_head": {"units": 1536},
        "detections": {"max_detections": 10, "min_size": 4.0},
    }
    return keras_fpn.FasterRCNN(**tiny_settings() | groups)


@pytest.fixture(scope="module")
def folder(model, tmp_path_factory):
    """The version folder of an export with all four signatures."""
    from keras_fpn.export.to_saved_model import write_saved_model

    path = tmp_path_factory.mktemp("exported") / "shapes"
    return write_saved_model(model, path, version=3, signatures=("raw", "proposals"))


@pytest.fixture(scope="module")
def loaded(folder):
    import tensorflow as tf

    return tf.saved_model.load(str(folder))


@pytest.fixture(scope="module")
def batch():
    """Three images of noise on one canvas of 64 x 96, the third of 2 pixels by 50."""
    sizes = np.array([[64, 96], [50, 61], [2, 50]], np.int32)
    images = np.zeros((3, 64, 96, 3), np.uint8)
    for image, (height, width) in zip(images, sizes, strict=True):
        image[:height, :width] = np.random.default_rng(int(width)).integers(0, 256, (height, width, 3))
    return images, sizes


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Image files of several sizes and kinds, one of them turned by EXIF, one without anything to find."""
    path = tmp_path_factory.mktemp("images")
    draw = np.random.default_rng(1)
    pictures = {
        "wide.jpg": draw.integers(0, 256, (60, 131, 3)),
        "tall.png": draw.integers(0, 256, (170, 83, 3)),
        "grey.jpg": draw.integers(0, 256, (77, 77)),
        "alpha.png": draw.integers(0, 256, (40, 50, 4)),
        "strip.png": draw.integers(0, 256, (3, 300, 3)),
        "turned.jpg": draw.integers(0, 256, (90, 120, 3)),
    }
    exif = Image.Exif()
    exif[274] = 6
    for name, values in pictures.items():
        options = {"exif": exif} if name == "turned.jpg" else {}
        Image.fromarray(values.astype(np.uint8)).save(path / name, **options)
    return [str(path / name) for name in pictures]


def contents(files):
    return [pathlib.Path(file).read_bytes() for file in files]


def signature(loaded, name, **inputs):
    import tensorflow as tf

    found = loaded.signatures[name](**{key: tf.constant(value) for key, value in inputs.items()})
    return {key: value.numpy() for key, value in found.items()}


def assert_same(found, expected):
    """Equal within what all artefacts promise: 0.05 px, 1e-4, classes and counts equal."""
    assert set(found) == set(expected)
    np.testing.assert_array_equal(found["num_detections"], expected["num_detections"])
    np.testing.assert_allclose(found["boxes"], expected["boxes"], atol=0.05)
    np.testing.assert_allclose(found["scores"], expected["scores"], atol=1e-4)
    if "classes" in expected:
        np.testing.assert_array_equal(found["classes"], expected["classes"])


def answer(model, images, sizes=None):
    inputs = {"images": images.astype(np.float32)}
    if sizes is not None:
        inputs["image_sizes"] = sizes
    return {name: np.asarray(value) for name, value in model(inputs).items()}


# Python -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [1, 3])
def test_serving_default_answers_as_the_model(model, loaded, batch, number):
    images, sizes = (part[:number] for part in batch)
    expected = answer(model, images, sizes)
    assert_same(signature(loaded, "serving_default", images=images, image_sizes=sizes), expected)
    assert expected["num_detections"].tolist() == [10, 10, 0][:number]  # many, and none at all


def test_images_without_sizes_are_valid_to_their_edges(model, loaded, batch):
    images, _ = batch
    expected = answer(model, images)
    none = np.zeros((0, 2), np.int32)
    assert_same({name: value.numpy() for name, value in loaded.serve(images).items()}, expected)
    assert_same(signature(loaded, "serving_default", images=images, image_sizes=none), expected)


def test_sizes_for_some_of_the_images_are_refused(loaded, batch):
    import tensorflow as tf

    images, sizes = batch
    with pytest.raises(tf.errors.InvalidArgumentError, match="image_sizes: give one height, width for each"):
        signature(loaded, "serving_default", images=images, image_sizes=sizes[:2])


@pytest.mark.parametrize(
    ("shape", "sizes", "message"),
    [
        ((0, 64, 64, 3), np.zeros((0, 2)), "images: no image in the request"),
        ((1, 0, 64, 3), np.zeros((0, 2)), "images: no image in the request, or none with pixels"),
        ((1, 64, 96, 3), [[64, 97]], "image_sizes: height and width of a valid part are from 1"),
        ((2, 64, 96, 3), [[64, 96], [0, 96]], "image_sizes: height and width of a valid part are from 1"),
    ],
)
def test_images_and_sizes_that_cannot_be_are_refused(loaded, shape, sizes, message):
    import tensorflow as tf

    given = {"images": np.zeros(shape, np.uint8), "image_sizes": np.array(sizes, np.int32)}
    for name in ("serving_default", "raw", "proposals"):
        with pytest.raises(tf.errors.InvalidArgumentError, match=message):
            signature(loaded, name, **given)


def padded(found, most):
    """Detections of `detect` in an image as rows of the signature's outputs."""
    count = len(found.scores)
    boxes, scores = np.zeros((most, 4), np.float32), np.zeros(most, np.float32)
    classes = np.full(most, -1, np.int32)
    boxes[:count], scores[:count], classes[:count] = found.boxes, found.scores, found.classes
    return {"boxes": boxes, "scores": scores, "classes": classes, "num_detections": count}


def test_serving_bytes_answers_as_detect(model, loaded, files):
    for file in files:
        found = signature(loaded, "serving_bytes", image_bytes=contents([file]))
        (expected,) = detecting.detect(model, file, threshold=0)
        assert_same({name: value[0] for name, value in found.items()}, padded(expected, 10))
        assert len(expected.scores) == (0 if "strip" in file else 10)


def test_serving_bytes_takes_images_of_any_sizes_at_once(model, loaded, files):
    found = signature(loaded, "serving_bytes", image_bytes=contents(files))
    for index, expected in enumerate(detecting.detect_together(model, files, threshold=0)):
        assert_same({name: value[index] for name, value in found.items()}, padded(expected, 10))
        height, width = expected.image.shape[:2]
        assert (found["boxes"][index] <= [width, height, width, height]).all()


def test_a_bad_image_fails_its_request_only(loaded, files):
    import tensorflow as tf

    good = contents(files[:1])
    before = signature(loaded, "serving_bytes", image_bytes=good)
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"image_bytes\[1\] \(image 2 of 2\): cannot be decoded"):
        signature(loaded, "serving_bytes", image_bytes=[*good, good[0][:-500]])
    assert_same(signature(loaded, "serving_bytes", image_bytes=good), before)


def test_proposals_are_those_of_the_model(model, loaded, batch):
    images, sizes = batch
    found = signature(loaded, "proposals", images=images, image_sizes=sizes)
    expected = model.inference({"images": images.astype(np.float32), "image_sizes": sizes})["proposals"]
    assert set(found) == {"boxes", "scores", "num_proposals"}
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, atol=1e-3)


def test_raw_is_what_the_detections_are_chosen_from(model, loaded, batch):
    """Expected: a greedy suppression per class, written here in loops, of raw gives the detections."""
    images, sizes = batch
    raw = signature(loaded, "raw", images=images, image_sizes=sizes)
    found = answer(model, images, sizes)
    assert raw["boxes"].shape == (3, 30, 4, 4) and raw["scores"].shape == (3, 30, 4)
    for image in range(3):
        kept = [
            (score, label, box)
            for label in range(4)
            for score, box in greedy(raw["scores"][image, :, label], raw["boxes"][image, :, label])
        ]
        kept = sorted(kept, key=lambda one: -one[0])[:10]
        count = found["num_detections"][image]
        assert [label for _, label, _ in kept] == found["classes"][image, :count].tolist()
        np.testing.assert_allclose([score for score, _, _ in kept], found["scores"][image, :count], atol=1e-4)
        np.testing.assert_allclose(
            np.reshape([box for *_, box in kept], [-1, 4]), found["boxes"][image, :count], atol=0.05
        )


def greedy(scores, boxes):
    kept = []
    for row in np.argsort(-scores, kind="stable"):
        if scores[row] > 0.05 and all(iou(boxes[row], box) <= 0.5 for _, box in kept):
            kept.append((scores[row], boxes[row]))
    return kept


def iou(one, two):
    sides = np.maximum(np.minimum(one[2:], two[2:]) - np.maximum(one[:2], two[:2]), 0)
    common = sides.prod()
    return common / ((one[2:] - one[:2]).prod() + (two[2:] - two[:2]).prod() - common)


# The folder ---------------------------------------------------------------------------------------------------


def size_of(folder):
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def test_rois_are_cropped_by_an_operator_that_all_devices_have(loaded):
    """The model itself multiplies sparse matrices on a CPU; what serves it may be another machine."""
    graph = loaded.signatures["serving_default"].graph.as_graph_def()
    found = {node.op for nodes in (graph.node, *(f.node_def for f in graph.library.function)) for node in nodes}
    assert "CropAndResize" in found and not any("Sparse" in kind for kind in found)


def test_weights_are_stored_once(model, folder):
    assert folder.name == "3"
    weights = sum(int(np.prod(weight.shape)) * 4 for weight in model.weights)
    assert weights < size_of(folder) <= 1.15 * weights


def test_labels_and_description_are_assets(folder, model):
    assert (folder / "assets" / "labels.txt").read_text() == "circle\nsquare\ntriangle\nstar\n"
    said = json.loads((folder / "assets" / "keras_fpn.json").read_text())
    assert said["precision"] == "float32" and said["input_type"] == "uint8"
    assert said["resize"] == dict(model.settings["resize"])


@pytest.mark.slow
def test_bfloat16_halves_the_file_and_keeps_the_tail_in_float32(model, batch, tmp_path, monkeypatch, capsys):
    """Written where tensorflow-serving-api is not installed, too: without requests to warm up with, which is said."""
    import tensorflow as tf

    from keras_fpn.console import extras
    from keras_fpn.export.to_saved_model import write_saved_model

    def absent(module, extra):
        raise UserError(f"{module} is not installed [{extra}]")

    monkeypatch.setattr(extras, "check", absent)
    folder = write_saved_model(model, tmp_path, precision="bfloat16", signatures=("raw",))
    note = f"no warm-up requests for TF Serving in {folder}: tensorflow_serving is not installed [serving]\n"
    assert capsys.readouterr().out == note and not (folder / "assets.extra").exists()
    weights = sum(int(np.prod(weight.shape)) * 4 for weight in model.weights)
    assert size_of(folder) < 0.62 * weights
    loaded, (images, sizes) = tf.saved_model.load(str(folder)), batch
    found = signature(loaded, "raw", images=images, image_sizes=sizes)
    expected = answer(model, images, sizes)
    # bfloat16 has 8 bits: 1 / 256 of a logit or a delta, not of a coordinate, which would be 1 / 4 of a pixel here.
    np.testing.assert_allclose(found["scores"].max(axis=(1, 2))[:2], expected["scores"][:2, 0], atol=0.02)
    corners = found["boxes"][found["scores"] > 0]
    assert np.mean(corners != corners.astype(tf.bfloat16.as_numpy_dtype)) > 0.5
    assert json.loads((folder / "assets" / "keras_fpn.json").read_text())["precision"] == "bfloat16"


@pytest.fixture(scope="module")
def rpn(tiny_settings):
    """An `RPN` that finds nothing: no objectness is above its threshold."""
    import keras_fpn

    groups = {key: value for key, value in tiny_settings().items() if key in ARCHITECTURES["rpn"].groups}
    resize, proposals = {"min_side": 64, "max_side": 112}, groups["proposals"] | {"score_threshold": 0.999}
    return keras_fpn.RPN(**groups | {"resize": resize, "proposals": proposals})


@pytest.mark.slow
def test_an_rpn_has_no_classes_and_may_find_nothing(rpn, batch, files, tmp_path, capfd):
    import tensorflow as tf

    from keras_fpn.export.to_saved_model import write_saved_model

    folder = write_saved_model(rpn, tmp_path, signatures=("proposals",))
    assert capfd.readouterr() == ("", "")  # nor does TensorFlow print anything
    assert folder == tmp_path / "1"
    assert set(signature_definitions(folder)) == {"serving_default", "serving_bytes", "proposals"}
    loaded, (images, sizes) = tf.saved_model.load(str(folder)), batch
    found = signature(loaded, "serving_bytes", image_bytes=contents(files[:2]))
    assert set(found) == {"boxes", "scores", "num_detections"}
    assert not found["num_detections"].any() and not found["boxes"].any() and not found["scores"].any()
    found = signature(loaded, "serving_default", images=images, image_sizes=sizes)
    assert_same(found, answer(rpn, images, sizes))
    proposed = signature(loaded, "proposals", images=images, image_sizes=sizes)
    assert set(proposed) == {"boxes", "scores", "num_proposals"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"signatures": ("row",)}, "signature: unknown name 'row'; valid are raw, proposals"),
        ({"precision": "float16"}, "precision: 'float16' is none of a SavedModel's; valid are float32, bfloat16"),
        ({"version": "one"}, "version: 'one' is no whole number from 0 up"),
        ({"version": -1}, "version: -1 is no whole number from 0 up"),
        ({"version": 2**63}, "version: 9223372036854775808 is no whole number from 0 up to 9223372036854775807"),
    ],
)
def test_what_cannot_be_written_is_refused(model, tmp_path, options, message):
    from keras_fpn.export.to_saved_model import write_saved_model

    with pytest.raises(UserError) as raised:
        write_saved_model(model, tmp_path / "out", **options)
    assert str(raised.value).startswith(message)
    assert not (tmp_path / "out").exists()


def test_an_rpn_has_no_raw(rpn, tmp_path):
    from keras_fpn.export.to_saved_model import write_saved_model

    with pytest.raises(UserError, match="signature: RPN has no classes to suppress, hence no raw"):
        write_saved_model(rpn, tmp_path / "out", signatures=("raw",))


def test_weights_too_large_for_one_graph_are_refused(model, tmp_path, monkeypatch):
    """The limit is of protobuf, 2 GiB; here it is brought down to the model."""
    from keras_fpn.export.saved_model import freezing
    from keras_fpn.export.to_saved_model import write_saved_model

    monkeypatch.setattr(freezing, "MAX_WEIGHT_BYTES", 1_000_000)
    with pytest.raises(UserError, match="GiB of weights and a SavedModel's graph holds less than 2 GiB"):
        write_saved_model(model, tmp_path / "out")
    assert not (tmp_path / "out").exists()


# Without this package -----------------------------------------------------------------------------------------


def signature_definitions(folder):
    from tensorflow.core.protobuf import saved_model_pb2

    message = saved_model_pb2.SavedModel()
    message.ParseFromString((folder / "saved_model.pb").read_bytes())
    definitions = message.meta_graphs[0].signature_def
    return {name: definitions[name] for name in definitions if not name.startswith("__")}


ALONE = """
import sys
sys.modules["keras_fpn"] = None  # importing it now fails
import numpy, tensorflow
from tensorflow.python.tools import saved_model_cli  # the command of that name
folder = sys.argv[1]
loaded = tensorflow.saved_model.load(folder)
given = {key: tensorflow.constant(value) for key, value in numpy.load("inputs.npz").items()}
found = loaded.signatures["serving_default"](**given)
numpy.savez("outputs.npz", **{key: value.numpy() for key, value in found.items()})
sys.argv = ["saved_model_cli", "run", "--dir", folder, "--tag_set", "serve", "--signature_def", "serving_default"]
sys.argv += ["--inputs", "images=images.npy", "--outdir", "out"]
saved_model_cli.main()
"""


def outputs(folder):
    return {key: np.load(folder / f"{key}.npy") for key in NAMES}


@pytest.mark.slow
def test_tensorflow_alone_loads_it_and_so_does_its_command(model, folder, batch, tmp_path):
    images, sizes = batch
    np.savez(tmp_path / "inputs.npz", images=images, image_sizes=sizes)
    np.save(tmp_path / "images.npy", images)
    subprocess.run([sys.executable, "-c", ALONE, folder], cwd=tmp_path, check=True, capture_output=True)
    assert_same(dict(np.load(tmp_path / "outputs.npz")), answer(model, images, sizes))
    assert_same(outputs(tmp_path / "out"), answer(model, images))  # the command was given no image_sizes


@pytest.mark.slow
def test_saved_model_cli_runs_image_files(model, folder, files, tmp_path):
    np.save(tmp_path / "bytes.npy", np.array(contents(files[:1])))
    command = [pathlib.Path(sys.executable).parent / "saved_model_cli", "run", "--dir", folder, "--tag_set", "serve"]
    command += ["--signature_def", "serving_bytes", "--inputs", "image_bytes=bytes.npy", "--outdir", "out"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    (expected,) = detecting.detect(model, files[0], threshold=0)
    assert_same(outputs(tmp_path / "out"), {key: np.array([value]) for key, value in padded(expected, 10).items()})


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """`run_saved_model.c`, compiled against TensorFlow's own wheel."""
    import tensorflow as tf

    built = tmp_path_factory.mktemp("c") / "run_saved_model"
    library = tf.sysconfig.get_lib()
    flags = [f"-I{tf.sysconfig.get_include()}", f"-L{library}", f"-Wl,-rpath,{library}"]
    flags += ["-l:libtensorflow_cc.so.2", "-l:libtensorflow_framework.so.2"]
    subprocess.run(["gcc", "-Wall", "-Werror", SOURCE, "-o", built, *flags], check=True)
    return built


def fetches(definition):
    return [f"fetch:{key}:{definition.outputs[key].name}" for key in NAMES]


def printed(lines):
    """`{name: array}` of what the program printed of one request."""
    found = {}
    for line in lines:
        head, values = line.split(" :")
        name, *shape = head.split()
        kind = np.float32 if name in ("boxes", "scores") else np.int32
        found[name] = np.array(values.split(), dtype=kind).reshape([int(side) for side in shape])
    return found


@pytest.mark.slow
def test_the_c_api_runs_it_without_python(model, folder, batch, files, program, tmp_path):
    """Requests: images with sizes, without; an image file; a bad one; the file again."""
    images, sizes = batch
    (tmp_path / "images").write_bytes(images.tobytes())
    (tmp_path / "sizes").write_bytes(sizes.tobytes())
    (tmp_path / "bad").write_bytes(contents(files[:1])[0][:-500])
    default, encoded = (signature_definitions(folder)[name] for name in ("serving_default", "serving_bytes"))
    pixels = f"feed:{default.inputs['images'].name}:uint8:3x64x96x3:images"
    valid = f"feed:{default.inputs['image_sizes'].name}:int32:3x2:sizes"
    strings = f"feed:{encoded.inputs['image_bytes'].name}:string:"
    requests = [
        [pixels, valid, *fetches(default)],
        [pixels, *fetches(default)],
        [strings + files[0], *fetches(encoded)],
        [strings + f"{files[0]},bad", *fetches(encoded)],
        [strings + files[0], *fetches(encoded)],
    ]
    arguments = [part for request in requests for part in (*request, "--")][:-1]
    done = subprocess.run([program, folder, *arguments], cwd=tmp_path, check=True, capture_output=True, text=True)
    lines = done.stdout.splitlines()
    error = next(index for index, line in enumerate(lines) if line.startswith("error"))
    assert_same(printed(lines[:4]), answer(model, images, sizes))
    assert_same(printed(lines[4:8]), answer(model, images))
    (expected,) = detecting.detect(model, files[0], threshold=0)
    expected = {key: np.array([value]) for key, value in padded(expected, 10).items()}
    assert_same(printed(lines[8:12]), expected)
    assert lines[error].startswith("error 3: ")  # TF_INVALID_ARGUMENT
    assert "image_bytes[1] (image 2 of 2): cannot be decoded: it is cut short, damaged" in lines[error]
    assert_same(printed(lines[-4:]), expected)


def test_image_sizes_has_a_default_in_the_signature(folder):
    """TF Serving fills in what a request leaves out from `SignatureDef.defaults`."""
    definitions = signature_definitions(folder)
    assert set(definitions) == {"serving_default", "serving_bytes", "raw", "proposals"}
    assert set(definitions["serving_bytes"].inputs) == {"image_bytes"}
    for name in ("serving_default", "raw", "proposals"):
        assert set(definitions[name].inputs) == {"images", "image_sizes"}
        assert [side.size for side in definitions[name].defaults["image_sizes"].tensor_shape.dim] == [0, 2]
