"""`keras-fpn detect` as a person meets it: every picture that can be read is answered, and the others are named."""

import errno
import json
import os
import signal
import struct
import subprocess
import sys
import time
import zlib

import numpy as np
import pytest
from PIL import Image

import keras_fpn
from keras_fpn.commands import main as cli
from keras_fpn.console import files as console_files
from keras_fpn.inference import detecting


def _model(tiny_settings, **settings):
    return keras_fpn.FasterRCNN(
        **tiny_settings()
        | {"resize": {"min_side": 64, "max_side": 96}, "detections": {"max_detections": 3, "score_threshold": 0.0}}
        | settings
    )


@pytest.fixture(scope="module")
def model_file(tiny_settings, tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "model.keras"
    _model(tiny_settings).save(path)
    return path


@pytest.fixture(autouse=True, scope="module")
def loaded_once(loading_once, model_file):
    """The model of most tests; those that damage or change one have files of their own."""
    with loading_once(model_file):
        yield


def ours(stderr):
    """Without the notes of TensorFlow 2.18 on the cost of operations, which no level of its log keeps away."""
    return "".join(line for line in stderr.splitlines(keepends=True) if not line.startswith("W0000 "))


def noise(seed=0, height=40, width=60):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 255, (height, width, 3), np.uint8))


def save(path, seed=0, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    noise(seed).save(path, **options)
    return path


def names_in(folder):
    return sorted(
        path.relative_to(folder).as_posix() for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith(".")
    )  # fmt: skip


def png_that_claims(width, height):
    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")


def is_one_line(error):
    return error.startswith("error: ") and error.count("\n") == 1


class TestUnreadable:
    def test_the_others_are_answered(self, run, model_file, tmp_path):
        for number in range(5):
            save(tmp_path / "in" / f"{number}.jpg", number)
        (tmp_path / "in" / "1.jpg").write_bytes((tmp_path / "in" / "1.jpg").read_bytes()[:-300])
        (tmp_path / "in" / "3.jpg").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n{} loop\n")
        for size in (1, 2):
            options = ("--threshold", 0, "--json", f"{size}.json", "--batch-size", size)
            code, out, error = run("detect", model_file, "in", *options)
            assert code == 1
            assert names_in(tmp_path / "detections") == ["0.jpg", "2.jpg", "4.jpg"]
            lines = error.splitlines()
            assert len(lines) == 3 and lines[-1] == "error: 2 of 5 pictures cannot be read"
            assert "3.jpg: not a readable image (it is PostScript" in lines[0] and "1.jpg: not a readable" in lines[1]
            assert "image 5/5 in/4.jpg" in out and "wrote 3 pictures to detections" in out
            results = json.loads((tmp_path / f"{size}.json").read_text())
            assert {(one["file_name"], one["image_id"]) for one in results} == {
                ("in/0.jpg", 1), ("in/2.jpg", 3), ("in/4.jpg", 5),
            }  # fmt: skip

    @pytest.mark.parametrize("damage", ["head", "pixels"])
    @pytest.mark.parametrize("number", [1, 3])
    def test_none_is_one_line(self, number, damage, run, model_file, tmp_path):
        for index in range(number):
            file = save(tmp_path / f"{index}.jpg")
            file.write_bytes(b"no picture" if damage == "head" else file.read_bytes()[:-300])
        code, out, error = run("detect", model_file, *(f"{index}.jpg" for index in range(number)), "--json", "a.json")
        assert code == 2 and is_one_line(error) and "0.jpg: not a readable image" in error
        assert ("none of the 3 pictures can be read" in error) == (number == 3)
        assert not (tmp_path / "detections").exists() and not (tmp_path / "a.json").exists()

    def test_a_picture_of_too_many_pixels(self, run, model_file, tmp_path):
        (tmp_path / "large.png").write_bytes(png_that_claims(13000, 13000))
        save(tmp_path / "small.png")
        code, _, error = run("detect", model_file, "large.png")
        assert code == 2 and is_one_line(error)
        assert "large.png: 13000 x 13000 pixels, more than the 100 million allowed" in error
        code, _, error = run("detect", model_file, "small.png", "--max-pixels", 2399)
        assert code == 2 and is_one_line(error) and "60 x 40 pixels" in error and "--max-pixels" in error
        assert run("detect", model_file, "small.png", "large.png", "--max-pixels", 2400)[0] == 1

    def test_pillows_warnings_stay_away(self, run, model_file, tmp_path, recwarn):
        (tmp_path / "large.png").write_bytes(png_that_claims(9999, 9999))  # within the limit, cut short, and warned of
        save(tmp_path / "small.png")
        code, _, error = run("detect", model_file, "large.png", "small.png")
        assert code == 1 and "large.png: not a readable" in error and "bomb" not in error
        assert not [one for one in recwarn if "bomb" in str(one.message)]


class TestEnds:
    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_what_there_is_stays_when_stopped(self, number, run, model_file, tmp_path, monkeypatch):
        for index in range(4):
            save(tmp_path / "in" / f"{index}.png", index)
        whole = detecting.batch

        def stopping(images, rule, calls=[]):  # noqa: B006
            calls.append(1)
            if len(calls) == 3:
                os.kill(os.getpid(), number)
                time.sleep(1)
            return whole(images, rule)

        monkeypatch.setattr(detecting, "batch", stopping)
        code, out, error = run("detect", model_file, "in", "--threshold", 0, "--json", "a.json")
        assert (code, error) == (130, "stopped\n")
        assert "wrote 2 pictures" in out and names_in(tmp_path / "detections") == ["0.png", "1.png"]
        results = json.loads((tmp_path / "a.json").read_text())
        assert {one["file_name"] for one in results} == {"in/0.png", "in/1.png"}
        assert not [name for name in os.listdir(tmp_path) if "tmp" in name]

    def test_what_there_is_stays_when_killed(self, run, model_file, tmp_path, monkeypatch):
        save(tmp_path / "a.png")
        save(tmp_path / "b.png", 1)
        seen = []
        whole = detecting.batch

        def looking(images, rule):
            if (tmp_path / "a.json").exists():
                seen.append(json.loads((tmp_path / "a.json").read_text()))
            return whole(images, rule)

        monkeypatch.setattr(detecting, "batch", looking)
        assert run("detect", model_file, "a.png", "b.png", "--threshold", 0, "--json", "a.json")[0] == 0
        assert [{one["file_name"] for one in results} for results in seen] == [{"a.png"}]

    def test_a_full_disk_is_one_line(self, run, model_file, tmp_path, monkeypatch):
        for index in range(3):
            save(tmp_path / "in" / f"{index}.png", index)
        whole = Image.Image.save

        def full(picture, path, *more, **options):
            if len(names_in(tmp_path / "detections")) == 2:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
            return whole(picture, path, *more, **options)

        monkeypatch.setattr(Image.Image, "save", full)
        code, _, error = run("detect", model_file, "in", "--threshold", 0, "--json", "a.json")
        assert code == 2 and is_one_line(error) and "detections/2.png: cannot be written (No space left" in error
        assert {one["file_name"] for one in json.loads((tmp_path / "a.json").read_text())} >= {"in/0.png", "in/1.png"}

    @pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS])
    def test_results_that_cannot_be_written(self, number, run, model_file, tmp_path, monkeypatch):
        save(tmp_path / "a.png")
        problem = OSError(number, os.strerror(number))
        monkeypatch.setattr(console_files.Path, "write_text", lambda *_, **__: (_ for _ in ()).throw(problem))
        code, _, error = run("detect", model_file, "a.png", "--json", "a.json")
        assert code == 2 and is_one_line(error) and f"a.json: cannot be written ({os.strerror(number)})" in error

    @pytest.mark.slow
    def test_a_full_stdout(self, model_file, tmp_path):
        save(tmp_path / "a.png")
        call = [sys.executable, "-m", "keras_fpn", "detect", str(model_file), "a.png"]
        with open("/dev/full", "w") as full:
            done = subprocess.run(call, cwd=tmp_path, stdout=full, stderr=subprocess.PIPE, text=True)
        told = "error: stdout: No space left on device; make room on its disk\n"
        assert (done.returncode, ours(done.stderr)) == (1, told)


class TestNames:
    def test_each_picture_has_its_own(self, run, model_file, tmp_path):
        long = "x" * 246
        inputs = ["a.bmp", "a.jpg", "a.gif", "b.webp", "A.JPG", "sub/a.jpg", "sub/deep/c.png"]
        inputs += [f"{long}.png", f"{long}.gif"]
        for number, name in enumerate(inputs):
            save(tmp_path / "in" / name, number)
        code, out, error = run("detect", model_file, "in")
        assert (code, error) == (0, "")
        drawn = names_in(tmp_path / "detections")
        assert len(drawn) == len(inputs) == len({name.lower() for name in drawn})
        assert {"a.bmp", "a.gif.png", "b.webp", "sub/a.jpg", "sub/deep/c.png", f"{long}.png"} <= set(drawn)
        formats = {Image.open(tmp_path / "detections" / name).format for name in drawn}
        assert formats == {"BMP", "JPEG", "PNG", "WEBP"}

    def test_folders_of_one_name_and_files(self, run, model_file, tmp_path):
        for number, name in enumerate(("x/val/a.jpg", "y/val/a.jpg", "z/val/a.jpg/a.jpg", "a.jpg", "other/a.jpg")):
            save(tmp_path / name, number)
        code, out, _ = run("detect", model_file, "x/val", "y/val", "a.jpg", "other/a.jpg", "z/val")
        assert code == 0
        assert names_in(tmp_path / "detections") == sorted(
            ["val/a.jpg", "val-2/a.jpg", "a.jpg", "a-2.jpg", "val-3/a.jpg/a.jpg"]
        )

    def test_a_name_of_the_longest(self, run, model_file, tmp_path):
        for name in ("é" * 125 + ".gif", "é" * 125 + "x.gif"):
            save(tmp_path / name)
        code, out, error = run("detect", model_file, tmp_path)
        assert (code, error) == (0, "")
        drawn = names_in(tmp_path / "detections")
        assert len(drawn) == 2 and all(name.startswith("éé") and len(os.fsencode(name)) <= 255 for name in drawn)


class TestFolder:
    def test_sub_folders_are_read_and_what_is_skipped_is_told(self, run, model_file, tmp_path):
        for name in ("in/a.jpg", "in/sub/b.jpg", "in/.hidden/c.jpg", "in/._a.jpg"):
            save(tmp_path / name)
        (tmp_path / "in" / "notes.txt").touch()
        (tmp_path / "in" / "sub" / "more.csv").touch()
        (tmp_path / "in" / "sub" / "loop").symlink_to(tmp_path / "in")
        code, out, _ = run("detect", model_file, "in")
        assert code == 0 and "image 2/2 in/sub/b.jpg" in out
        skipped = [line for line in out.splitlines() if line.startswith("skipped")]
        assert len(skipped) == 1 and "skipped 2 files that are no pictures" in skipped[0]
        assert "2 whose names begin with a dot" in skipped[0]

    def test_what_was_drawn_is_not_read(self, run, model_file, tmp_path):
        save(tmp_path / "a.png")
        for out in ("detections", "detections", "other"):
            code, printed, error = run("detect", model_file, ".", "--out", out)
            assert code == 0 and "image 1/1" in printed, error
        assert "1 folder that detect drew" in printed


class TestAnEarlierRun:
    def test_its_pictures_go_and_others_stay(self, run, model_file, tmp_path):
        for name in ("one/a.png", "one/sub/b.png", "two/a.png", "two/c.png"):
            save(tmp_path / name)
        assert run("detect", model_file, "one", "--out", "out")[0] == 0
        (tmp_path / "out" / "mine.txt").touch()
        save(tmp_path / "out" / "sub" / "mine.png")
        (tmp_path / "out" / ".drawn.999999999.tmp.png").touch()  # of a run that was killed
        code, out, _ = run("detect", model_file, "two", "--out", "out")
        assert sorted(path.name for path in (tmp_path / "out").glob(".*")) == [".keras-fpn-detect"]
        assert code == 0 and "removed 2 pictures that an earlier detect drew in out" in out
        assert names_in(tmp_path / "out") == ["a.png", "c.png", "mine.txt", "sub/mine.png"]

    def test_a_picture_of_somebody_is_never_overwritten(self, run, model_file, tmp_path):
        save(tmp_path / "in" / "a.png")
        mine = save(tmp_path / "out" / "a.png", 7).read_bytes()
        code, _, error = run("detect", model_file, "in", "--out", "out")
        assert code == 2 and is_one_line(error) and "out/a.png: is there already" in error
        assert (tmp_path / "out" / "a.png").read_bytes() == mine
        (tmp_path / "out" / "a.png").unlink()
        assert run("detect", model_file, "in", "--out", "out")[0] == 0
        (tmp_path / "out" / "a.png").write_bytes(mine)  # in the place of the one that was drawn
        assert run("detect", model_file, "in", "--out", "out")[0] == 2
        save(tmp_path / "in2" / "b.png")
        assert run("detect", model_file, "in2", "--out", "out")[0] == 0
        assert (tmp_path / "out" / "a.png").read_bytes() == mine

    def test_an_index_leads_nowhere_else(self, run, model_file, tmp_path):
        save(tmp_path / "in" / "a.png")
        (tmp_path / "out").mkdir()
        (tmp_path / "victim.png").write_bytes(b"mine")
        (tmp_path / "out" / "link").symlink_to(tmp_path)
        lines = [{"picture": name, "checksum": None} for name in ("../victim.png", "link/victim.png", "x", 3)]
        lines.append({"picture": str(tmp_path / "victim.png"), "checksum": None})
        index = "\n".join(map(json.dumps, lines)) + "\n[]\nnull\n{"
        (tmp_path / "out" / ".keras-fpn-detect").write_text(index)
        assert run("detect", model_file, "in", "--out", "out")[0] == 0
        assert (tmp_path / "victim.png").read_bytes() == b"mine"

    @pytest.mark.parametrize("out", ["in", "in/../in", "."])
    def test_inputs_are_never_overwritten(self, out, run, model_file, tmp_path):
        save(tmp_path / "in" / "a.gif")
        save(tmp_path / "b.png")
        before = {name: (tmp_path / name).read_bytes() for name in ("in/a.gif", "b.png")}
        code, _, error = run("detect", model_file, "in", "b.png", "--out", out)
        assert code == 2 and is_one_line(error) and "choose another --out" in error
        code, _, error = run("detect", model_file, "b.png", "--json", "b.png")
        assert code == 2 and is_one_line(error) and "--json" in error
        assert before == {name: (tmp_path / name).read_bytes() for name in before}


class TestText:
    CLASS = "犬\x1b]0;x\x07\x1b[2J\nnext"

    @pytest.mark.parametrize("encoding", ["ascii", pytest.param("cp1252", marks=pytest.mark.slow)])
    @pytest.mark.slow
    def test_no_escape_reaches_the_terminal_and_no_encoding_fails(self, encoding, tiny_settings, tmp_path):
        _model(tiny_settings, class_names=[self.CLASS, "square", "triangle", "star"]).save(tmp_path / "odd.keras")
        save(tmp_path / "\x1b]0;title\x07犬.png")
        options = ["--threshold", "0", "--json", "a.json"]
        call = [sys.executable, "-m", "keras_fpn", "detect", "odd.keras", ".", *options]
        environment = os.environ | {"PYTHONIOENCODING": encoding}
        done = subprocess.run(call, cwd=tmp_path, capture_output=True, env=environment)
        assert (done.returncode, ours(done.stderr.decode())) == (0, "")
        assert not set(done.stdout) & {0x1B, 0x07, 0x0D}
        assert rb"\x1b]0;title\x07" in done.stdout
        results = json.loads((tmp_path / "a.json").read_text())
        assert {one["file_name"] for one in results} == {"\x1b]0;title\x07犬.png"}

    def test_an_error_about_an_odd_name(self, model_file, tmp_path):
        name = os.fsdecode(b"\x1b[2J\xff\xe7.png")
        (tmp_path / name).write_text("no picture")
        call = [sys.executable, "-m", "keras_fpn", "detect", str(model_file), name]
        done = subprocess.run(call, cwd=tmp_path, capture_output=True, env=os.environ | {"PYTHONIOENCODING": "ascii"})
        assert done.returncode == 2 and done.stderr.startswith(rb"error: \x1b[2J\udcff\udce7.png: not a readable")
        assert done.stderr.count(b"\n") == 1


class TestMistakes:
    @pytest.mark.parametrize("value", [np.nan, np.inf])
    def test_a_model_of_nan(self, value, run, tiny_settings, tmp_path):
        model = _model(tiny_settings)
        model.weights[-1].assign(np.full(model.weights[-1].shape, value))
        model.save(tmp_path / "broken.keras")
        save(tmp_path / "a.png")
        code, _, error = run("detect", "broken.keras", "a.png")
        assert code == 2 and is_one_line(error)
        assert "broken.keras: " in error and "holds NaN or infinity" in error and model.weights[-1].path in error
        with pytest.raises(keras_fpn.UserError, match="holds NaN or infinity"):
            keras_fpn.detect(model, tmp_path / "a.png")
        assert not (tmp_path / "detections").exists()

    def test_a_model_that_breaks_later(self, tiny_settings):
        model, image = _model(tiny_settings), np.zeros((40, 60, 3), np.uint8)
        keras_fpn.detect(model, image)
        model.weights[0].assign(np.full(model.weights[0].shape, np.nan))
        with pytest.raises(keras_fpn.UserError, match=model.weights[0].path):
            keras_fpn.detect(model, image)

    def test_from_python(self, tiny_model, tmp_path):
        image = np.zeros((40, 60, 3), np.float32)
        for value in (np.nan, np.inf, -np.inf):
            with pytest.raises(keras_fpn.UserError, match="an image array holds NaN or infinity"):
                keras_fpn.detect(tiny_model, np.where(np.eye(40, 60)[..., None], value, image))
        for options, message in (
            ({"threshold": float("nan")}, "threshold: nan is no number"),
            ({"threshold": None}, "threshold: None is no number"),
            ({"threshold": "0.5"}, "threshold: '0.5' is no number"),
            ({"batch_size": 0}, "batch_size: 0 is no whole number above 0"),
            ({"max_pixels": 2.5}, "max_pixels: 2.5 is no whole number above 0"),
        ):
            with pytest.raises(keras_fpn.UserError, match=message):
                keras_fpn.detect(tiny_model, image, **options)
        save(tmp_path / "a.png")
        for picture in (tmp_path / "a.png", noise()):
            with pytest.raises(keras_fpn.UserError, match="60 x 40 pixels, more than"):
                keras_fpn.detect(tiny_model, picture, max_pixels=2399)


def test_the_option_says_the_limit_that_reading_has():
    from keras_fpn.console.picture_files import MAX_PIXELS

    assert cli._build_parser().parse_args(["detect", "m", "i"]).max_pixels == MAX_PIXELS


def test_pre_labels_are_written_beside_and_forms_need_results(run, model_file, tmp_path):
    for name in ("a.png", "b.png"):
        save(tmp_path / "in" / name, seed=ord(name[0]))
    asked = ("detect", model_file, tmp_path / "in", "--threshold", 0)
    code, out, error = run(*asked, "--pre-labels", "labelme", "--json", "all.json", "--polygons")
    assert code == 0 and "wrote 2 files for labelme to pre-labels" in out and "hole" not in out
    shapes = json.loads((tmp_path / "pre-labels" / "a.json").read_text())["shapes"]
    results = [each for each in json.loads((tmp_path / "all.json").read_text()) if each["file_name"].endswith("a.png")]
    assert len(shapes) == len(results) == 3 and shapes[0]["shape_type"] == "rectangle"
    assert shapes[0]["points"][0] == results[0]["bbox"][:2]
    code, out, error = run(*asked, "--pre-labels", "labelme")
    assert code == 2 and is_one_line(ours(error)) and "pre-labels: is not empty" in error
    code, out, error = run(*asked, "--polygons")
    assert code == 2 and "--polygons: says how --json is written; give --json OUT, too" in error
