"""Published files by name: from a server on loopback into the folder of them, and from there into models."""

import os
import pathlib
import re
import subprocess
import sys
import threading
import urllib.parse

import numpy as np
import pytest

import keras_fpn
from keras_fpn.checkpoints import conversion, published_cache
from keras_fpn.checkpoints.published_files import FILES
from keras_fpn.config.loading import load_config
from keras_fpn.console.errors import UserError
from keras_fpn.console.exits import INTERRUPTED
from keras_fpn.data.shapes import write_shapes
from keras_fpn.paper import given
from keras_fpn.training import training
from keras_fpn.training.named_files import with_weights

DETECTOR = "fasterrcnn_resnet50_fpn"
PICTURE = pathlib.Path(__file__).parents[1] / "golden" / "preprocessing.jpg"


# Into the folder ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FILES)
def test_each_name_brings_its_file_once(publish, file_server, tmp_path, capsys, name):
    file = publish(name, name.encode())
    path = published_cache.fetch(file)
    assert path == tmp_path / "home" / "weights" / os.path.basename(file.url) and path.read_bytes() == name.encode()
    size = f" ({file.megabytes:.0f} MB)" if file.source == "torchvision" else ""
    address = file_server.url + urllib.parse.urlsplit(FILES[name].url).path
    assert f"downloading {name}{size} from {address}\n" in capsys.readouterr().out
    assert published_cache.fetch(file) == path
    assert file_server.asked == [(urllib.parse.urlsplit(file.url).path, None)]
    assert capsys.readouterr().out == ""


def test_another_file_from_the_server_is_no_weights(publish, file_server, tmp_path):
    file = publish("resnet18", b"weights")
    file_server.content = b"others"
    with pytest.raises(UserError, match=r"resnet18-f37072fd.pth: what came is not the published file \(SHA-256 "):
        published_cache.fetch(file)
    assert [name for name in os.listdir(tmp_path / "home" / "weights") if not name.startswith(".")] == []


def test_another_file_in_the_folder_is_told_and_left_alone(publish, file_server):
    file = publish("rpn_R_50_FPN_1x", b"weights")
    path = published_cache.place(file)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"others")
    digests = r"MD5 5e2bab\.\.\., not MD5 63f4f1\.\.\."  # by md5sum
    with pytest.raises(UserError, match=rf"02ce48.pkl: is not {file.name} as it is published \({digests}\); remove it"):
        published_cache.fetch(file)
    assert path.read_bytes() == b"others" and file_server.asked == []


def test_two_at_once_download_once(publish, file_server, capsys):
    file = publish("resnet18", b"weights")
    file_server.hold.clear()
    paths, waits = [], threading.Event()
    threads = [threading.Thread(target=lambda: paths.append(published_cache.fetch(file))) for _ in range(2)]
    for thread in threads:
        thread.start()
    printed = ""
    for _ in range(200):
        printed += capsys.readouterr().out
        if "another process downloads it" in printed:
            break
        waits.wait(0.05)
    file_server.hold.set()
    for thread in threads:
        thread.join()
    assert "resnet18: another process downloads it; waiting for that\n" in printed
    assert paths == [published_cache.place(file)] * 2 and paths[0].read_bytes() == b"weights"
    assert len(file_server.asked) == 1


def test_offline_nothing_is_asked_and_a_file_put_there_is_taken(publish, file_server, monkeypatch):
    file = publish("resnet18", b"weights")
    monkeypatch.setenv(published_cache.OFFLINE, "1")
    monkeypatch.delenv(published_cache.MIRROR)
    place = published_cache.place(file)
    with pytest.raises(UserError) as caught:
        published_cache.fetch(file)
    assert str(caught.value) == (
        "resnet18: is not here, and KERAS_FPN_OFFLINE forbids to download"
        f" https://download.pytorch.org/models/resnet18-f37072fd.pth; unset it, or put the file at {place}"
    )
    assert not place.parent.exists()
    place.parent.mkdir(parents=True)
    place.write_bytes(b"weights")
    assert published_cache.fetch(file) == place and file_server.asked == []


def test_a_folder_that_cannot_be_made_is_told(publish, monkeypatch, tmp_path):
    (tmp_path / "home").write_text("a file")
    with pytest.raises(UserError, match=r"home/weights: cannot be made \(.*\); set KERAS_FPN_HOME to a folder"):
        published_cache.fetch(publish("resnet18", b"weights"))


def test_a_mirror_that_is_none_is_told(publish, monkeypatch):
    monkeypatch.setenv(published_cache.MIRROR, "file:///etc")
    with pytest.raises(UserError, match="KERAS_FPN_MIRROR=file:///etc: is no address of a web server"):
        published_cache.fetch(publish("resnet18", b"weights"))


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have other folders")
def test_the_folder_is_the_platforms(monkeypatch, tmp_path):
    for name in (published_cache.HOME, "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "/home/me")
    assert str(published_cache.folder()) == "/home/me/.cache/keras_fpn/weights"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")  # which its specification tells to ignore
    assert str(published_cache.folder()) == "/home/me/.cache/keras_fpn/weights"
    monkeypatch.setenv("XDG_CACHE_HOME", "/scratch/cache")
    assert str(published_cache.folder()) == "/scratch/cache/keras_fpn/weights"
    monkeypatch.setenv(published_cache.HOME, "~/mine")
    assert str(published_cache.folder()) == "/home/me/mine/weights"


# Into models --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def detector():
    """A tiny detector that torchvision could run."""
    config = load_config("tiny").model
    names = ["circle", "square", "triangle", "star"]
    return keras_fpn.FasterRCNN(4, profile=config.profile, class_names=names, **config.differences())


@pytest.fixture(scope="module")
def content(detector, tmp_path_factory):
    """The bytes of its file with torchvision's names."""
    path = tmp_path_factory.mktemp("published") / "detector.safetensors"
    conversion.write_torchvision(detector, path)
    return path.read_bytes()


def _same(one, other):
    ours, theirs = (conversion.to_torchvision(model) for model in (one, other))
    return ours.keys() == theirs.keys() and all(np.array_equal(ours[name], theirs[name]) for name in ours)


def test_convert_takes_a_name(publish, run, content, detector, tmp_path):
    publish(DETECTOR, content)
    code, out, error = run("convert", DETECTOR, "--out", "made.keras")
    assert (code, error) == (0, "")
    assert f"downloading {DETECTOR} (168 MB) from http://127.0.0.1:" in out
    assert f"reading {tmp_path / 'home' / 'weights' / 'fasterrcnn_resnet50_fpn_coco-258fb6c6.pth'}\n" in out
    assert _same(keras_fpn.load_model("made.keras"), detector)


def test_a_python_program_takes_a_name(publish, content, detector):
    publish(DETECTOR, content)
    config = load_config("tiny", ["model.backbone.norm_epsilon=1e-5"]).model
    model = keras_fpn.FasterRCNN(2, profile=config.profile, **config.differences())
    transfer = keras_fpn.start_from(model, weights=DETECTOR)
    assert transfer.taken["backbone"] == (100, 100) and transfer.taken["box_head"][0] == 4
    np.testing.assert_array_equal(model.rpn_head.weights[0], detector.rpn_head.weights[0])


def test_a_configuration_keeps_the_name(publish, file_server):
    publish("resnet18", b"weights")
    config = with_weights(load_config("tiny", ["training.weights=resnet18"]))
    assert config.training.weights == "resnet18"
    assert with_weights(load_config("tiny"), "resnet18").training.weights == "resnet18"
    assert given.start("resnet18=resnet18") == ("resnet18", "resnet18")
    assert len(file_server.asked) == 1


def test_train_has_the_file_before_it_begins(publish, run, monkeypatch, tmp_path):
    given_configs = []
    monkeypatch.setattr(training, "train", lambda config, run_dir: given_configs.append(config) or _interrupt())
    file = publish("resnet18", b"weights")
    write_shapes(tmp_path / "shapes", num_train=1, num_val=1, size=64)
    code, out, _ = run("train", "tiny", "--data", "shapes", "--out", "run", "--weights", "resnet18")
    assert code == INTERRUPTED and "downloading resnet18 (47 MB) from http://127.0.0.1:" in out
    assert given_configs[0].training.weights == "resnet18" and published_cache.place(file).read_bytes() == b"weights"


def _interrupt():
    raise KeyboardInterrupt


def test_a_model_begins_with_weights_by_name(publish, file_server, content, detector):
    """Without classes it is the file's model; with classes of its own it has the file's conventions and features."""
    publish(DETECTOR, content)
    model = keras_fpn.FasterRCNN(weights=DETECTOR)
    assert (model.profile, model.class_names) == (detector.profile, detector.class_names) and _same(model, detector)
    assert model.settings == keras_fpn.convert_checkpoint(DETECTOR).settings
    own = keras_fpn.FasterRCNN(2, weights=DETECTOR, class_names=["cat", "dog"], detections={"max_detections": 7})
    assert (own.num_classes, own.class_names, own.max_detections) == (2, ("cat", "dog"), 7)
    differing = {group for group in own.settings if own.settings[group] != model.settings[group]}
    assert differing == {"detections", "box_head"}  # the rows of the background, which are of the file's classes
    assert {key for key, value in own.settings["box_head"].items() if value != model.settings["box_head"][key]} == {
        "background_boxes"
    }
    for part in ("backbone", "pyramid", "rpn_head"):
        pairs = zip(own.parts[part].weights, detector.parts[part].weights, strict=True)
        assert all(np.array_equal(ours, theirs) for ours, theirs in pairs)
    assert len(file_server.asked) == 1


def test_a_model_of_another_kind_begins_with_what_both_have(publish, content, detector, caplog):
    publish(DETECTOR, content)
    head = {"conv_layers": 1, "channels": 8}
    model = keras_fpn.MaskRCNN(class_names=["cat"], weights=DETECTOR, mask_head=head)
    assert model.num_classes == 1 and model.mask_head.num_masks >= 1
    np.testing.assert_array_equal(model.rpn_head.weights[0], detector.rpn_head.weights[0])
    rpn = keras_fpn.RPN(weights=DETECTOR)
    np.testing.assert_array_equal(rpn.rpn_head.weights[0], detector.rpn_head.weights[0])
    assert caplog.text == ""


def test_a_model_begins_with_a_file_of_its_own(detector, tmp_path):
    detector.save(tmp_path / "own.keras")
    names = ["star", "circle", "square", "triangle"]
    model = keras_fpn.FasterRCNN(4, weights=tmp_path / "own.keras", class_names=names)
    before, after = (each.box_head.class_logits.kernel.numpy() for each in (detector, model))
    np.testing.assert_array_equal(after[:, :4], before[:, [3, 0, 1, 2]])  # rows go by the names of their classes
    assert keras_fpn.FasterRCNN.from_config(model.get_config()).class_names == model.class_names


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"weights": "fasterrcnn_resnet50_fnp"}, "did you mean the published 'fasterrcnn_resnet50_fpn'?"),
        ({"weights": DETECTOR, "profile": "detectron2"}, "weights are of the profile 'torchvision', not 'detectron2'"),
        ({"weights": DETECTOR, "backbone": "resnet34"}, "its backbone is resnet18, the model's is resnet34"),
        ({"weights": DETECTOR, "box_head": {"unit": 3}}, r"box_head.unit: unknown key.*units"),
        ({"weights": DETECTOR, "wieghts": {}}, "wieghts: unknown group of settings"),
    ],
)
def test_what_does_not_go_with_weights_is_one_line(publish, content, arguments, told):
    publish(DETECTOR, content)
    with pytest.raises(UserError, match=told.replace("?", r"\?")) as caught:
        keras_fpn.FasterRCNN(2, **arguments)
    assert "\n" not in str(caught.value)


# Through the commands -----------------------------------------------------------------------------------------


def test_the_list_has_all_names_and_what_is_here(publish, run, tmp_path):
    published_cache.fetch(publish("resnet18", b"weights"))
    code, out, error = run("weights")
    assert (code, error) == (0, "")
    lines = {line.split()[0]: line for line in out.splitlines() if line}
    assert set(FILES) <= set(lines)
    assert [name for name in FILES if lines[name].endswith("yes")] == ["resnet18"]
    assert "torchvision  Mask R-CNN           box AP 47.4, mask AP 41.8      186" in lines["maskrcnn_resnet50_fpn_v2"]
    assert f"folder: {tmp_path / 'home' / 'weights'}\n" in out


def test_a_name_is_told_of_and_downloaded_where_that_is_asked_for(publish, run, file_server):
    file = publish("rpn_R_50_FPN_1x", b"weights")
    code, out, _ = run("weights", file.name)
    assert code == 0 and "digest:  MD5 63f4f1..., all of it that is published\n" in out  # by md5sum
    assert f"place:   {published_cache.place(file)} (not here yet)\n" in out and file_server.asked == []
    code, out, _ = run("weights", "--download", file.name)
    assert code == 0 and out.endswith(f"{published_cache.place(file)}\n")
    assert f"place:   {published_cache.place(file)} (here)\n" in run("weights", file.name)[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["weights", "resnet5O"], "resnet5O: no published file has this name; did you mean 'resnet50'?"),
        (["weights", "--download"], "--download needs names"),
        (["weights", "--download", "resnet50"], "/models/resnet50-0676ba61.pth: the server answers HTTP 404 Not Found"),
        (["convert", "resnet50", "--out", "a.keras"], "/models/resnet50-0676ba61.pth: the server answers HTTP 404 Not"),
        (["convert", "resnet5O", "--out", "a.keras"], "resnet5O: does not exist; check the name; did you mean the "),
        (["evaluate", "resnet50"], "resnet50: no such model; give .* makes one of the published file"),
        (["detect", "resnet50", PICTURE], "keras-fpn convert resnet50 --out resnet50.keras makes one of the published"),
        (["convert", "resnet50", "--out", "nowhere.pth"], "convert writes a .keras file here"),
    ],
)
def test_a_mistake_is_one_line(publish, run, file_server, arguments, message):
    publish("resnet50", b"weights")
    file_server.codes = [404]
    code, _, error = run(*arguments)
    assert (code, error.count("\n")) == (2, 1) and re.search(message.replace("?", r"\?"), error)


def test_a_name_is_looked_up_before_tensorflow_is_imported(tmp_path):
    write_shapes(tmp_path / "coco", num_train=1, num_val=1, size=64)
    code = "import sys; from keras_fpn.commands.main import main\n"
    code += "codes = [main(words.split()) for words in sys.argv[1:]]\n"
    code += "print(codes, 'tensorflow' in sys.modules)"
    calls = ["weights", "convert resnet18 --out a.keras", "train tiny --data coco --weights resnet18"]
    environment = os.environ | {published_cache.HOME: str(tmp_path), published_cache.OFFLINE: "1"}
    done = subprocess.run(
        [sys.executable, "-c", code, *calls], capture_output=True, text=True, check=True, cwd=tmp_path, env=environment
    )
    assert done.stdout.splitlines()[-1] == "[0, 2, 2] False"
    assert done.stderr.count("KERAS_FPN_OFFLINE forbids to download https://download.pytorch.org/models/resnet18-") == 2
