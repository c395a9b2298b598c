"""Served: an exported folder behind the real protocol on loopback, asked by the clients that users run."""

import base64
import contextlib
import importlib.util
import json
import pathlib
import struct
import subprocess
import sys
import urllib.request
import zlib
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from keras_fpn.export import parity_command
from keras_fpn.export.serving import client as serving_client
from keras_fpn.export.serving import warmup
from keras_fpn.export.serving.errors import Refused, ServingError, Unknown
from keras_fpn.export.serving.grpc import GrpcClient
from keras_fpn.export.serving.rest import RestClient
from keras_fpn.inference import detecting

SIGNATURES = {"serving_default", "serving_bytes", "raw", "proposals"}
CLIENTS = {"--rest": RestClient, "--grpc": GrpcClient}


@pytest.fixture(scope="module")
def model(tiny_settings):
    """The tiny detector, with small pictures."""
    import keras

    import keras_fpn

    keras.utils.set_random_seed(5)
    rule = {"min_side": 96, "max_side": 160}
    return keras_fpn.FasterRCNN(**tiny_settings() | {"resize": rule})


@pytest.fixture(scope="module")
def folder(model, tmp_path_factory):
    """PATH of an export: version 1, and version 2 that finds nothing since no score is above its threshold."""
    from keras_fpn.export.to_saved_model import write_saved_model

    path = tmp_path_factory.mktemp("served") / "shapes"
    write_saved_model(model, path, version=1, signatures=("raw", "proposals"))
    write_saved_model(model.with_settings(detections={"score_threshold": 1.0}), path, version=2)
    return path


@pytest.fixture(scope="module")
def serving():
    """`serving_server.py`, the loopback server."""
    path = pathlib.Path(__file__).parent / "serving_server.py"
    spec = importlib.util.spec_from_file_location("serving_server", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def versions(serving, folder):
    """`{number: version}` of the folder, each loaded into a session."""
    return {number: serving.Version(folder / str(number)) for number in (1, 2)}


@pytest.fixture(scope="module")
def addresses(serving, versions):
    """`{"--rest": "127.0.0.1:...", "--grpc": ...}` of a server with the folder under the name "shapes"."""
    server = serving.Server({"shapes": versions})
    with contextlib.ExitStack() as stack:
        ports = {"--rest": serving.rest_port(server), "--grpc": serving.grpc_port(server)}
        yield {way: f"127.0.0.1:{stack.enter_context(port)}" for way, port in ports.items()}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Three PNG files (lossless: every decoder gives the same pixels) of different sizes."""
    path = tmp_path_factory.mktemp("pictures")
    files = []
    for height, width in ((90, 120), (150, 100), (64, 64)):
        pixels = np.random.default_rng(height).integers(0, 256, (height // 8, width // 8, 3), np.uint8)
        files.append(path / f"{height}x{width}.png")
        Image.fromarray(pixels).resize((width, height)).save(files[-1])
    return files


@pytest.fixture(scope="module")
def corrupt(tmp_path_factory):
    """A PNG with its end cut off."""
    file = tmp_path_factory.mktemp("corrupt") / "corrupt.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (80, 80, 3), np.uint8)).save(file)
    file.write_bytes(file.read_bytes()[:2000])
    return file


@pytest.fixture(scope="module")
def huge(tmp_path_factory):
    """A PNG of 50,000 x 50,000 pixels by its header, and of a few bytes."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0)
    file = tmp_path_factory.mktemp("huge") / "huge.png"
    data = chunk(b"IDAT", zlib.compress(b"\0" * 100))
    file.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + data + chunk(b"IEND", b""))
    return file


@pytest.fixture
def ask(addresses, folder, capsys, tmp_path):
    """`ask("--rest", file, ...)` -> (exit code, COCO results or None, stdout, stderr) of the command."""

    def call(way, *arguments, address=None, threshold=0.0):
        out = tmp_path / "found.json"
        arguments = [address or addresses[way], *arguments, way, "--threshold", threshold, "--json", out]
        if "--model" not in arguments:
            arguments += ["--model", "shapes"]
        if "--model-version" not in arguments:
            arguments += ["--model-version", 1]
        code = serving_client.main([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        results = json.loads(out.read_text()) if out.exists() else None
        if results:
            assert results == sorted(results, key=lambda result: -result["score"])  # best first, as `detect --json`
            results.sort(key=lambda result: result["image_id"])
        return code, results, printed.out, printed.err

    return call


def expected(model, files, batch_size):
    """COCO results of `keras_fpn.detect`."""
    found = detecting.detect(model, files, threshold=0.0, batch_size=batch_size)
    return [result for number, one in enumerate(found, 1) for result in one.to_results(image_id=number)]


def assert_equal(results, references):
    """The same detections: boxes to 0.05 px and scores to 1e-4, the bounds of an export."""
    assert len(results) == len(references) > 0
    for result, reference in zip(results, references, strict=True):
        for key in ("image_id", "category_id", "category"):
            assert result[key] == reference[key]
        assert result["file_name"] == str(reference["file_name"])
        np.testing.assert_allclose(result["bbox"], reference["bbox"], rtol=0, atol=0.05)
        np.testing.assert_allclose(result["score"], reference["score"], rtol=0, atol=1e-4)


# Clients ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", CLIENTS)
@pytest.mark.parametrize("signature", ["serving_bytes", "serving_default"])
def test_a_served_detector_answers_what_detect_answers(way, signature, ask, model, pictures, folder):
    """Pictures of different sizes in one request; batched alike in `detect`, since padding touches the answer."""
    arguments = ("--signature", signature, "--export", folder, "--batch-size", 3)
    code, results, printed, errors = ask(way, *pictures, *arguments)
    assert code == 0, errors
    assert_equal(results, expected(model, pictures, batch_size=3))
    assert f"image 3/3 {pictures[2]}: " in printed
    assert results[0]["category"] in printed.splitlines()[1]


@pytest.mark.parametrize("way", CLIENTS)
def test_one_picture(way, ask, model, pictures, folder):
    code, results, _, _ = ask(way, pictures[0], "--export", folder)
    assert code == 0
    assert_equal(results, expected(model, pictures[:1], batch_size=1))


@pytest.mark.parametrize("way", CLIENTS)
def test_nothing_found(way, ask, pictures, folder):
    """Version 2 keeps what scores more than 1."""
    code, results, printed, _ = ask(way, *pictures, "--model-version", 2, "--batch-size", 3)
    assert (code, results) == (0, [])
    assert printed.count("nothing found") == 3


@pytest.mark.parametrize("way", CLIENTS)
def test_the_newest_version_answers_where_none_is_named(way, addresses, pictures):
    client = CLIENTS[way](addresses[way], "shapes")
    outputs = client.predict("serving_bytes", {"image_bytes": [pictures[0].read_bytes()]})
    assert list(outputs["num_detections"]) == [0]  # as version 2 says


@pytest.mark.parametrize("way", CLIENTS)
def test_a_bad_image_fails_its_own_request_only(way, ask, pictures, corrupt, huge, model, folder):
    code, results, printed, errors = ask(way, corrupt, huge, pictures[0], "--export", folder)
    assert code == 2
    first, second = errors.splitlines()
    assert first.startswith(f"error: {corrupt}: ") and second.startswith(f"error: {huge}: ")
    assert "50000 x 50000" in second and "{{node" not in errors
    found = expected(model, pictures[:1], batch_size=1)
    assert_equal(results, [result | {"image_id": 3} for result in found])


@pytest.mark.parametrize("way", CLIENTS)
def test_a_bad_image_fails_the_batch_it_is_in(way, ask, pictures, corrupt, tmp_path):
    cut = tmp_path / f"cut{pictures[0].suffix}"  # of the size of its neighbour, so that they share a request
    cut.write_bytes(pictures[0].read_bytes()[:-1000])
    code, results, printed, errors = ask(way, pictures[0], cut, pictures[1], corrupt, "--batch-size", 2)
    assert code == 2
    batch, alone = errors.splitlines()
    assert batch.startswith(f"error: {pictures[0]}, {cut}: ") and alone.startswith(f"error: {corrupt}: ")
    assert {result["image_id"] for result in results} == {3}


@pytest.mark.parametrize("way", CLIENTS)
def test_a_server_that_is_not_there(way, ask, pictures):
    code, results, _, errors = ask(way, pictures[0], address="127.0.0.1:9")  # discard: nobody listens
    assert (code, results) == (1, None)
    assert len(errors.splitlines()) == 1 and "127.0.0.1:9: no answer" in errors


def test_the_rest_client_at_the_grpc_port(ask, addresses, pictures):
    code, _, _, errors = ask("--rest", pictures[0], address=addresses["--grpc"])
    assert code == 1
    assert len(errors.splitlines()) == 1 and addresses["--grpc"] in errors


@pytest.mark.parametrize("way", CLIENTS)
@pytest.mark.parametrize("wrong", [("--model", "cats"), ("--model-version", 7)])
def test_a_model_or_version_that_the_server_does_not_have(way, wrong, ask, pictures):
    code, _, _, errors = ask(way, pictures[0], *wrong)
    assert code == 2
    assert "Servable not found for request" in errors and str(wrong[1]) in errors


@pytest.mark.parametrize("way", CLIENTS)
def test_a_signature_that_was_not_exported(way, addresses, pictures):
    client = CLIENTS[way](addresses[way], "shapes", version=2)
    with pytest.raises(Unknown, match='"raw" not found'):
        client.predict("raw", {"images": np.zeros((1, 64, 64, 3), np.uint8), "image_sizes": np.array([[64, 64]])})


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("localhost", "a.png"), "'localhost' is not HOST:PORT"),
        (("localhost:1", "absent.png"), "absent.png: no such image file"),
        (("localhost:1", "a.png", "--rest", "--grpc"), "not allowed with"),
        (("localhost:1", "a.png", "--threshold", "2"), "'2' is not a number from 0 to 1"),
        (("localhost:1", "a.png", "--signature", "serving_default"), "give --export FOLDER"),
        (("localhost:1", "a.png", "--export", "absent"), "absent: no exported folder"),
        (("localhost:1", "a.png", "--labels", "absent.txt"), "absent.txt: cannot be read as class names"),
        (("localhost:1", "a.png", "--json", "absent.txt/found.json"), "absent.txt"),
    ],
)
def test_a_wrong_call_is_one_line(arguments, said, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (8, 8)).save("a.png")
    if "--json" in arguments:
        pathlib.Path("absent.txt").touch()
    assert serving_client.main(list(arguments)) == 2
    errors = capsys.readouterr().err
    assert len(errors.splitlines()) == 1 and said in errors


@pytest.mark.parametrize("command", [serving_client.main, parity_command.main], ids=["client", "parity"])
def test_no_escape_of_a_name_reaches_the_terminal(command, capsys):
    name = "\x1b]0;title\x07"
    assert command(["localhost:1", name] if command is serving_client.main else [name]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1
    assert r"\x1b]0;title\x07" in error and "\x1b" not in error


def test_grpc_without_its_extra(monkeypatch, capsys, pictures):
    monkeypatch.setitem(sys.modules, "tensorflow_serving", None)  # as if it were not installed
    assert serving_client.main(["localhost:8500", str(pictures[0]), "--grpc"]) == 2
    assert 'pip install "keras-fpn[serving]"' in capsys.readouterr().err


def test_class_names_from_a_file(ask, pictures, tmp_path, model):
    labels = tmp_path / "labels.txt"
    labels.write_text("round\nsquare\nthree\nfive\n")
    _, results, _, _ = ask("--rest", pictures[0], "--labels", labels)
    renamed = dict(zip(model.class_names, ("round", "square", "three", "five"), strict=True))
    assert [one["category"] for one in results] == [
        renamed[one["category"]] for one in expected(model, pictures[:1], batch_size=1)
    ]
    labels.write_text("")
    code, _, _, errors = ask("--rest", pictures[0], "--labels", labels)
    assert code == 2 and f"{labels}: 0 names, but the server found class" in errors


def test_class_names_of_nobody(ask, pictures):
    _, results, _, _ = ask("--rest", pictures[0])
    assert all(one["category"] == f"class {one['category_id']}" for one in results)


def test_rest_needs_no_tensorflow(addresses, pictures, folder):
    code = (
        "import sys; sys.modules.update(tensorflow=None, keras=None, grpc=None);"
        "from keras_fpn.export.serving import client as serving_client; sys.exit(serving_client.main(sys.argv[1:]))"
    )
    arguments = [addresses["--rest"], pictures[0], "--export", folder, "--model", "shapes", "--model-version", 1]
    arguments += ["--signature", "serving_default", "--threshold", 0]
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert f"image 1/1 {pictures[0]}" in done.stdout


# Inputs that may be left out ----------------------------------------------------------------------------------


def test_sizes_may_be_left_out_over_grpc(addresses):
    """TF Serving fills in the default of the signature: images that are valid to their edges."""
    images = np.random.default_rng(1).integers(0, 256, (2, 96, 128, 3), np.uint8)
    client = GrpcClient(addresses["--grpc"], "shapes", version=1)
    left_out = client.predict("serving_default", {"images": images})
    given = client.predict("serving_default", {"images": images, "image_sizes": np.array([[96, 128]] * 2, np.int32)})
    assert (left_out["num_detections"] > 0).all()
    for name, value in given.items():
        np.testing.assert_array_equal(left_out[name], value)


def test_sizes_may_not_be_left_out_over_rest(addresses):
    """TF Serving's JSON knows no defaults (util/json_tensor.cc), which docs/serving.md says."""
    client = RestClient(addresses["--rest"], "shapes", version=1)
    with pytest.raises(Refused, match="Missing named input: image_sizes"):
        client.predict("serving_default", {"images": np.zeros((1, 64, 64, 3), np.uint8)})


def test_another_model_on_the_server(serving, pictures, tmp_path, capsys):
    """One with `serving_bytes` and other outputs; a single one comes without its name over REST."""
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "image_bytes")])
    def lengths(image_bytes):
        return {"length": tf.strings.length(image_bytes)}

    tf.saved_model.save(tf.Module(), str(tmp_path / "1"), signatures={"serving_bytes": lengths})
    server = serving.Server({"lengths": {1: serving.Version(tmp_path / "1")}})
    for way, port in (("--rest", serving.rest_port), ("--grpc", serving.grpc_port)):
        with port(server) as number:
            assert serving_client.main([f"127.0.0.1:{number}", str(pictures[0]), "--model", "lengths", way]) == 2
        errors = capsys.readouterr().err
        assert len(errors.splitlines()) == 1 and "gives no boxes, num_detections, scores" in errors


def test_rest_in_row_form(addresses, pictures):
    """As curl sends them: rows of pixels with their sizes; and by column, base64 without the name of the only input."""

    def post(**body):
        url = f"http://{addresses['--rest']}/v1/models/shapes/versions/1:predict"
        with urllib.request.urlopen(url, json.dumps(body).encode()) as response:
            return json.load(response)

    images = np.random.default_rng(1).integers(0, 256, (2, 64, 96, 3), np.uint8)
    client = RestClient(addresses["--rest"], "shapes", version=1)
    rows = [{"images": image.tolist(), "image_sizes": [64, 96]} for image in images]
    answer = post(instances=rows)
    columns = client.predict("serving_default", {"images": images, "image_sizes": np.array([[64, 96]] * 2)})
    assert [row["scores"] for row in answer["predictions"]] == columns["scores"]

    contents = [picture.read_bytes() for picture in pictures[:2]]
    encoded = [{"b64": base64.b64encode(content).decode()} for content in contents]
    answer = post(signature_name="serving_bytes", inputs=encoded)
    assert answer["outputs"]["scores"] == client.predict("serving_bytes", {"image_bytes": contents})["scores"]


def test_a_server_that_fails_is_no_mistake_of_the_caller(serving, pictures):
    """Status 500 and INTERNAL: exit code 1, and not the 2 of a refused image."""

    class Broken:
        def predict(self, *request):
            raise serving.Status("INTERNAL", "out of everything")

        version = predict

    ports = {RestClient: serving.rest_port, GrpcClient: serving.grpc_port}
    for client, open_port in ports.items():
        with open_port(Broken()) as port, pytest.raises(ServingError, match="out of everything") as caught:
            client(f"127.0.0.1:{port}", "shapes").predict("serving_bytes", {"image_bytes": [b""]})
        assert caught.type is ServingError


# Files for the server -----------------------------------------------------------------------------------------


def _logs(folder):
    import tensorflow as tf
    from tensorflow_serving.apis import prediction_log_pb2

    path = folder / "assets.extra" / "tf_serving_warmup_requests"
    return [
        prediction_log_pb2.PredictionLog.FromString(record.numpy()) for record in tf.data.TFRecordDataset(str(path))
    ]


def test_every_warm_up_request_runs(folder, versions):
    """As TF Serving does when it loads a version; one that failed would keep it from being served."""
    requests = [log.predict_log.request for log in _logs(folder / "1")]
    assert {request.model_spec.signature_name for request in requests} == SIGNATURES
    for request in requests:
        assert versions[1].predict(request).outputs


def test_warm_up_requests_have_the_size_that_the_resize_rule_gives(folder):
    """640 x 480 by min_side 96: 128 x 96, of which both are multiples of 32."""
    import tensorflow as tf

    for log in _logs(folder / "1"):
        inputs = log.predict_log.request.inputs
        if "images" in inputs:
            assert tf.make_ndarray(inputs["images"]).shape == (1, 96, 128, 3)
            assert tf.make_ndarray(inputs["image_sizes"]).tolist() == [[96, 128]]
        else:
            assert tf.io.decode_image(inputs["image_bytes"].string_val[0]).shape == (480, 640, 3)


def test_warm_up_leaves_out_an_input_whose_default_the_server_can_batch(tmp_path):
    """A default of one row: with and without it; of no row: only with it."""
    import tensorflow as tf

    rule = {"min_side": 96, "max_side": 160, "rounding": "half_up", "size_divisor": 32}
    images = tf.TensorSpec([None, None, None, 3], tf.uint8, "images")
    image_sizes = tf.TensorSpec([None, 2], tf.int32, "image_sizes")
    for rows, requests in ((1, 2), (0, 1)):
        default = tf.zeros([rows, 2], tf.int32)

        @tf.function(input_signature=[images, image_sizes])
        def sizes(images, image_sizes=default):
            return {"sizes": tf.shape(images)[1:3] + image_sizes}

        folder = tmp_path / str(rows)
        tf.saved_model.save(tf.Module(), str(folder), signatures={"serving_default": sizes})
        warmup.write(folder, SimpleNamespace(resize=rule), ["serving_default"])
        given = [set(log.predict_log.request.inputs) for log in _logs(folder)]
        assert given == [{"images", "image_sizes"}, {"images"}][:requests]


def test_batching_parameters_are_a_text_proto(folder):
    """Against the fields of BatchingParameters in TF Serving 2.20 (session_bundle_config.proto): name, number, type."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format, wrappers_pb2

    wrapped = {
        "max_batch_size": (1, "Int64Value"), "batch_timeout_micros": (2, "Int64Value"),
        "max_enqueued_batches": (3, "Int64Value"), "num_batch_threads": (4, "Int64Value"),
        "thread_pool_name": (5, "StringValue"), "enable_large_batch_splitting": (8, "BoolValue"),
        "max_execution_batch_size": (9, "Int64Value"),
    }  # fmt: skip
    file = descriptor_pb2.FileDescriptorProto(name="batching.proto", package="tensorflow.serving", syntax="proto3")
    file.dependency.append(wrappers_pb2.DESCRIPTOR.name)
    message = file.message_type.add(name="BatchingParameters")
    for name, (number, kind) in wrapped.items():
        message.field.add(name=name, number=number, label=1, type=11, type_name=f".google.protobuf.{kind}")
    message.field.add(name="allowed_batch_sizes", number=6, label=3, type=3)
    message.field.add(name="pad_variable_length_inputs", number=7, label=1, type=8)
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(wrappers_pb2.DESCRIPTOR.serialized_pb)
    pool.AddSerializedFile(file.SerializeToString())
    kind = message_factory.GetMessageClass(pool.FindMessageTypeByName("tensorflow.serving.BatchingParameters"))

    parameters = text_format.Parse((folder / warmup.BATCHING_FILE).read_text(), kind())
    assert parameters.max_batch_size.value >= 1 and parameters.num_batch_threads.value >= 1
    assert parameters.pad_variable_length_inputs  # mixed sizes would fail in a batch


def test_a_server_takes_only_the_versions_for_versions(folder):
    """TF Serving loads every child whose name is a whole number."""
    names = {child.name for child in folder.iterdir()}
    assert names == {"1", "2", warmup.BATCHING_FILE} and not warmup.BATCHING_FILE.isdecimal()


def test_two_versions_are_told_apart(addresses):
    """The status that users look at, /v1/models/NAME, and the metadata of one version."""

    def get(path):
        with urllib.request.urlopen(f"http://{addresses['--rest']}/v1/models/shapes{path}") as response:
            return json.load(response)

    assert [one["version"] for one in get("")["model_version_status"]] == ["2", "1"]
    assert get("/versions/1/metadata")["model_spec"]["version"] == "1"
