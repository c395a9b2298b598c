"""`keras-fpn export`: what it refuses, what it writes, and that it leaves nothing half-written."""

import errno
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import keras_fpn
from keras_fpn import export
from keras_fpn.console import files
from keras_fpn.export import artefacts, exporting, to_saved_model, to_tflite, verification
from keras_fpn.export.findings import Finding, VerificationError

RESIZE = {"min_side": 64, "max_side": 96, "size_divisor": 32, "interpolation": "bilinear"}


@pytest.fixture(scope="module")
def model_file(tiny_settings, tmp_path_factory):
    import keras

    keras.utils.set_random_seed(5)
    path = tmp_path_factory.mktemp("model") / "tiny.keras"
    keras_fpn.FasterRCNN(**tiny_settings() | {"resize": RESIZE}).save(path)
    return path


@pytest.fixture
def writer(monkeypatch):
    """Stands for the writers and the verification: `writer.fails = error` has the writing end in it half-way."""

    class Writer:
        fails = finding = None

        def tflite(self, model, path, **options):
            path.write_text("half")
            if self.fails:
                raise self.fails
            path.write_text("whole")

        def saved_model(self, model, path, *, version, **options):
            (path / str(version)).mkdir(parents=True)
            (path / "batching_parameters.txt").write_text("new")
            self.tflite(model, path / str(version) / "saved_model.pb")

        def verify(self, artefact, model, pictures):
            if isinstance(self.finding, Exception):
                raise self.finding
            return Finding(pictures=10, detections=7, max_box=0.012, max_score=3e-5, unpaired=1)

    writer = Writer()
    monkeypatch.setattr(to_tflite, "write_tflite", writer.tflite)
    monkeypatch.setattr(to_saved_model, "write_saved_model", writer.saved_model)
    monkeypatch.setattr(artefacts, "open_artefact", lambda path: path)
    monkeypatch.setattr(verification, "verify", writer.verify)
    monkeypatch.setattr(exporting, "oldest_runtime", lambda path, format: "a runtime of old")
    return writer


def tree(folder):
    """`{path: content}` of all files in a folder, and its empty folders."""
    found = {}
    for path in folder.rglob("*"):
        if path.is_file():
            found[str(path.relative_to(folder))] = path.read_text()
        elif not any(path.iterdir()):
            found[str(path.relative_to(folder))] = "empty folder"
    return found


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--format tflit --out x.tflite", "unknown format 'tflit'; did you mean 'tflite'?"),
        ("--format coreml --out x", "unknown format 'coreml'; valid are saved_model, tflite, onnx"),
        ("--format tflite", "required: --out"),
        ("--format tflite --out x.tflite --precison int8", "unknown option --precison; did you mean '--precision'?"),
        ("--format tflite --out x.tflite --precision flaot16", "'flaot16'; did you mean 'float16'?"),
        ("--format onnx --out x.onnx --precision int8", "--precision int8 does not go with --format onnx"),
        ("--format tflite --out x.tflite --precision bfloat16", "bfloat16 does not go with --format tflite"),
        ("--format saved_model --out x --signature rwa", "unknown signature 'rwa'; did you mean 'raw'?"),
        ("--format onnx --out x.onnx --input-type uint9", "unknown type 'uint9'; did you mean 'uint8'?"),
        ("--format onnx --out x.onnx --size 64x96", "--size does not go with --format onnx"),
        ("--format saved_model --out x --size 64x96", "--size does not go with --format saved_model"),
        ("--format tflite --out x.tflite --size 640", "'640' is not HEIGHTxWIDTH"),
        ("--format saved_model --out x --input-type uint8", "--input-type does not go with --format saved_model"),
        ("--format tflite --out x.tflite --signature raw", "--signature does not go with --format tflite"),
        ("--format onnx --out x.onnx --model-version 2", "--model-version does not go with --format onnx"),
        ("--format tflite --out x.tflite --max-pixels 100", "--max-pixels does not go with --format tflite"),
        ("--format saved_model --out x --max-pixels 0", "'0' is not a whole number above 0"),
        ("--format saved_model --out x --model-version 0", "'0' is not a whole number above 0"),
        ("--format tflite --out x.tflite --in-image masks", "--in-image does not go with --format tflite"),
        ("--format tflite --out x.tflite --calibration y", "--calibration goes with --precision int8 only"),
        ("--format tflite --out x.tflite --precision int8", "int8 needs --calibration IMAGE_OR_FOLDER"),
        ("--format tflite --out x.onnx", "--out x.onnx: TFLite is a .tflite file"),
        ("--format onnx --out x", "--out x: ONNX is a .onnx file"),
        ("--format saved_model --out x.tflite", "--out x.tflite: a SavedModel is a folder"),
        ("--format tflite --out x.tflite", "nowhere.keras: no such model"),
        ("--format saved_model --out=", "--out: is empty; give the name"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(arguments, message, run, tmp_path):
    code, out, error = run("export", "nowhere.keras", *arguments.split())
    assert (code, error.count("\n")) == (2, 1)
    assert error.startswith("error: ") and message in error
    assert "writing" not in out
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("module", "arguments", "line"),
    [
        ("onnxruntime", "--format onnx --out x.onnx", 'onnxruntime is not installed; pip install "keras-fpn[onnx]"'),
        ("tf2onnx", "--format onnx --out x.onnx", 'tf2onnx is not installed; pip install "keras-fpn[onnx]"'),
        (
            "ai_edge_litert", "--format tflite --out x.tflite",
            'ai-edge-litert is not installed; pip install "keras-fpn[tflite]"',
        ),
        (
            "ai_edge_quantizer", "--format tflite --out x.tflite --precision float16",
            'ai-edge-quantizer is not installed; pip install "keras-fpn[tflite]"',
        ),
    ],
)  # fmt: skip
def test_a_missing_package_is_named_with_its_extra(module, arguments, line, run, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, module, None)  # as if it were not there
    code, out, error = run("export", "nowhere.keras", *arguments.split())
    assert (code, out, error) == (2, "", f"error: {line}\n")
    assert list(tmp_path.iterdir()) == []


def test_the_help_imports_nothing_heavy():
    code = (
        "import sys; from keras_fpn.commands import main as cli\n"
        "try: cli.main(['export', '--help'])\n"
        "except SystemExit: print({'tensorflow', 'keras', 'numpy', 'PIL'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("set()\n")
    assert "saved_model, tflite or onnx" in done.stdout


class TestPlaces:
    """Where files end up, and what is left where the work ends early."""

    def test_it_says_what_it_does_and_what_is_next(self, run, writer, model_file, tmp_path):
        code, out, error = run("export", model_file, "--format", "tflite", "--out", "new/x.tflite")
        assert (code, error) == (0, "")
        assert out.splitlines()[:2] == [
            f"reading {model_file}",
            "writing new/x.tflite: TFLite of float32, for float32 images of 64x96 pixels",
        ]
        assert "boxes differ by at most 0.012 px, scores by 3e-05; 1 decided by rounding" in out
        assert "wrote new/x.tflite" in out
        assert out.endswith("next:\n  keras-fpn detect new/x.tflite IMAGE\n")
        assert tree(tmp_path) == {"new/x.tflite": "whole"}

    def test_what_is_there_needs_force(self, run, writer, model_file, tmp_path):
        (tmp_path / "x.tflite").write_text("old")
        arguments = ("export", model_file, "--format", "tflite", "--out", "x.tflite")
        code, _, error = run(*arguments)
        assert (code, error) == (2, "error: x.tflite: exists already; --force replaces it\n")
        assert tree(tmp_path) == {"x.tflite": "old"}
        assert run(*arguments, "--force")[0] == 0
        assert tree(tmp_path) == {"x.tflite": "whole"}

    @pytest.mark.parametrize(
        ("fails", "finding", "code", "message"),
        [
            (OSError(errno.ENOSPC, "No space left on device"), None, 1, "deep/x.tflite: No space left on device"),
            (RuntimeError("RESOURCE: No space left on device"), None, 1, "deep/x.tflite: No space left on device"),
            (KeyboardInterrupt(), None, 130, "stopped"),
            (None, VerificationError("black: boxes differ"), 1,
             "error: deep/x.tflite: black: boxes differ; it was not kept (--no-verify keeps it)"),
        ],
        ids=["full disk", "full disk, told by TensorFlow", "Ctrl-C", "verification"],
    )  # fmt: skip
    @pytest.mark.parametrize("old", [None, "old"])
    def test_a_failure_leaves_what_was_there(
        self, run, writer, model_file, tmp_path, old, fails, finding, code, message
    ):
        if old:
            (tmp_path / "deep").mkdir()
            (tmp_path / "deep" / "x.tflite").write_text(old)
        writer.fails, writer.finding = fails, finding
        found, _, error = run("export", model_file, "--format", "tflite", "--out", "deep/x.tflite", "--force")
        assert (found, error.count("\n")) == (code, 1)
        assert message in error
        assert tree(tmp_path) == ({"deep/x.tflite": old} if old else {})

    def test_without_verification_nothing_is_run(self, run, writer, model_file, tmp_path):
        writer.finding = VerificationError("never asked")
        code, out, _ = run("export", model_file, "--format", "tflite", "--out", "x.tflite", "--no-verify")
        assert code == 0 and "not verified" in out
        assert tree(tmp_path) == {"x.tflite": "whole"}

    def test_an_artefact_that_does_not_open_is_not_kept(self, run, writer, model_file, tmp_path, monkeypatch):
        def refuse(path):
            raise keras_fpn.UserError(f"{path}: cut short")

        monkeypatch.setattr(artefacts, "open_artefact", refuse)
        code, _, error = run("export", model_file, "--format", "tflite", "--out", "x.tflite")
        assert code == 1 and "its runtime does not open it: x.tflite: cut short; it was not kept" in error
        assert tree(tmp_path) == {}

    def test_an_exported_model_is_not_exported_again(self, run, writer, model_file):
        assert run("export", model_file, "--format", "saved_model", "--out", "sm", "--no-verify")[0] == 0
        code, _, error = run("export", "sm", "--format", "onnx", "--out", "x.onnx")
        assert (code, error.count("\n")) == (2, 1) and "sm: an exported model, and export takes a .keras file" in error

    def test_versions_of_a_saved_model_live_side_by_side(self, run, writer, model_file, tmp_path):
        arguments = ("export", model_file, "--format", "saved_model", "--out", "sm")
        assert run(*arguments)[0] == 0
        assert tree(tmp_path) == {"sm/1/saved_model.pb": "whole", "sm/batching_parameters.txt": "new"}
        (tmp_path / "sm" / "batching_parameters.txt").write_text("tuned by hand")
        (tmp_path / "sm" / "1" / "mine").write_text("of the old version")
        code, _, error = run(*arguments)
        assert code == 2 and "sm/1: exists already; --force replaces it, --model-version N writes another" in error
        assert run(*arguments, "--model-version", 3)[0] == 0
        kept = {"sm/batching_parameters.txt": "tuned by hand", "sm/3/saved_model.pb": "whole"}
        assert tree(tmp_path) == kept | {"sm/1/mine": "of the old version", "sm/1/saved_model.pb": "whole"}
        writer.fails = KeyboardInterrupt()
        assert run(*arguments, "--force")[0] == 130
        assert tree(tmp_path) == kept | {"sm/1/mine": "of the old version", "sm/1/saved_model.pb": "whole"}
        writer.fails = None
        assert run(*arguments, "--force")[0] == 0
        assert tree(tmp_path) == kept | {"sm/1/saved_model.pb": "whole"}

    def test_version_0_is_not_version_1(self, writer, model_file, tmp_path):
        assert export.export_model(model_file, "saved_model", tmp_path / "sm", version=0).path == tmp_path / "sm" / "0"

    def test_no_version_is_written_into_another_or_over_other_files(self, run, writer, model_file, tmp_path):
        (tmp_path / "runs" / "1").mkdir(parents=True)
        (tmp_path / "runs" / "1" / "model.keras").write_text("trained for days")
        arguments = ("export", model_file, "--format", "saved_model", "--force", "--out")
        code, _, error = run(*arguments, "runs")
        assert code == 2 and "runs/1: is no SavedModel, and --force replaces none but such; move it away" in error
        assert run(*arguments, "sm")[0] == 0
        before = tree(tmp_path)
        code, _, error = run(*arguments, "sm/1")
        assert code == 2 and "--out sm/1: is one version of a SavedModel; give the folder that holds" in error
        assert tree(tmp_path) == before and before["runs/1/model.keras"] == "trained for days"

    def test_a_version_that_cannot_come_leaves_the_old_one(self, tmp_path, monkeypatch):
        (tmp_path / "1").mkdir()
        (tmp_path / "1" / "old").write_text("old")
        with pytest.raises(OSError, match="No such file") as caught, files.built_aside(tmp_path / "1"):
            pass  # nothing was written, so that nothing can be put in place
        assert caught.value.filename == str(tmp_path / "1")
        assert tree(tmp_path) == {"1/old": "old"}

    def test_a_place_that_cannot_be_written(self, run, model_file, tmp_path):
        (tmp_path / "file").touch()
        (tmp_path / "folder.tflite").mkdir()
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / "model.keras").touch()
        for arguments in (
            ("tflite", "--out", "file/x.tflite"), ("tflite", "--out", "folder.tflite"),
            ("saved_model", "--out", "file"), ("saved_model", "--out", "run"),
        ):  # fmt: skip
            code, out, error = run("export", model_file, "--format", *arguments, "--force")
            assert (code, out, error.count("\n")) == (2, "", 1)
        assert sorted(tree(tmp_path)) == ["file", "folder.tflite", "run/model.keras"]


class TestCalibration:
    def test_what_is_no_set_of_images_is_told_before_the_conversion(self, run, writer, model_file, tmp_path):
        (tmp_path / "empty").mkdir()
        (tmp_path / "text.jpg").write_text("not an image")
        Image.new("RGB", (400, 400), "red").save(tmp_path / "whole.jpg")
        (tmp_path / "cut.jpg").write_bytes((tmp_path / "whole.jpg").read_bytes()[:-600])
        for given, message in (
            (["empty"], "empty: no images in this folder"),
            (["nowhere"], "nowhere: no such image file or folder"),
            (["whole.jpg", "text.jpg"], "text.jpg: not a readable image"),
            (["whole.jpg", "cut.jpg"], "cut.jpg: not a readable image"),
        ):
            arguments = ("--out", "x.tflite", "--precision", "int8", "--calibration", *given)
            code, out, error = run("export", model_file, "--format", "tflite", *arguments)
            assert (code, error.count("\n")) == (2, 1)
            assert message in error and "writing" not in out
        assert not (tmp_path / "x.tflite").exists()

    def test_none_at_all(self, tiny_model, tmp_path):
        with pytest.raises(keras_fpn.UserError, match="--calibration: no images"):
            export.export_model(tiny_model, "tflite", tmp_path / "x.tflite", precision="int8", calibration=[])

    def test_images_are_letterboxed_each_time(self, model_file, writer, monkeypatch, tmp_path):
        """A picture of 40 x 20 (height x width) in a frame of 64 x 96 becomes 64 x 32."""
        seen = []

        def write(model, path, *, calibration, **options):
            for _ in range(2):
                seen.append([(one["images"].shape, one["images"].dtype, one["image_sizes"].tolist())
                             for one in calibration])  # fmt: skip
            path.touch()

        monkeypatch.setattr(to_tflite, "write_tflite", write)
        Image.new("RGB", (20, 40), "red").save(tmp_path / "one.png")
        export.export_model(
            model_file, "tflite", tmp_path / "x.tflite", precision="int8", input_type="uint8",
            calibration=[tmp_path, np.zeros((40, 20, 3), np.uint8)],
        )  # fmt: skip
        assert seen == [[((1, 64, 96, 3), np.uint8, [[64, 32]])] * 2] * 2


def test_what_is_no_detector_is_refused(run, tmp_path, tiny_model):
    import keras

    keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]).save(tmp_path / "dense.keras")
    (tmp_path / "x.tflite").write_bytes(b"\0\0\0\0TFL3")
    for model, message in (("dense.keras", "not a detector of this package"), ("x.tflite", "an exported model, and")):
        code, _, error = run("export", model, "--format", "onnx", "--out", "new/x.onnx")
        assert (code, error.count("\n")) == (2, 1) and message in error
    with pytest.raises(keras_fpn.UserError, match="a Functional is no detector"):
        export.export_model(tiny_model.backbone, "onnx", tmp_path / "x.onnx")
    assert not (tmp_path / "new").exists()


def test_a_model_of_nan_is_not_exported(run, tiny_model, tmp_path):
    broken = tiny_model.twin()
    broken.weights[-1].assign(np.full(broken.weights[-1].shape, np.nan))
    broken.save(tmp_path / "broken.keras")
    code, _, error = run("export", "broken.keras", "--format", "onnx", "--out", "x.onnx", "--no-verify")
    assert code == 2 and error.startswith("error: broken.keras: its weight ") and "holds NaN or infinity" in error
    assert not (tmp_path / "x.onnx").exists()


def test_the_validation_images_of_a_run_are_looked_at(model_file, writer, monkeypatch, shapes_folder, tmp_path):
    seen = []
    monkeypatch.setattr(verification, "verify", lambda artefact, model, pictures: seen.append(pictures))
    os.link(model_file, tmp_path / "model.keras")
    config = tmp_path / "config.yaml"
    for images, count in ((shapes_folder / "val", 3), (tmp_path / "gone", 0)):
        config.write_text(f"data: {{val: {{annotations: x.json, images: {images}}}}}\n")
        export.export_model(tmp_path, "tflite", tmp_path / "x.tflite", force=True)
        assert [picture.shape for picture in seen.pop()] == [(96, 96, 3)] * count


def test_a_model_of_another_dtype_policy_is_written_in_float32(tiny_settings, writer, monkeypatch, tmp_path):
    written, lines = [], []
    monkeypatch.setattr(to_tflite, "write_tflite", lambda model, path, **_: (written.append(model), path.touch()))
    model = keras_fpn.FasterRCNN(**tiny_settings() | {"resize": RESIZE}, dtype="mixed_bfloat16")
    export.export_model(model, "tflite", tmp_path / "x.tflite", tell=lines.append)
    assert (model.compute_dtype, written[0].compute_dtype, written[0].backbone.compute_dtype) == (
        "bfloat16", "float32", "float32",
    )  # fmt: skip
    for own, copied in zip(model.get_weights(), written[0].get_weights(), strict=True):
        np.testing.assert_array_equal(own, copied)
    assert lines[0] == "the model computes in bfloat16; it is exported, and looked at, in float32"


def test_the_default_frame_is_the_resize_rules_own():
    """torchvision's MobileNetV3-Large 320 and detectron2's R50: 320 x 640, and 800 x 1333 to multiples of 32."""
    assert exporting.default_frame({"min_side": 320, "max_side": 640, "size_divisor": 32}) == (320, 640)
    assert exporting.default_frame({"min_side": 800, "max_side": 1333, "size_divisor": 32}) == (800, 1344)


def test_a_tflite_file_is_written_verified_and_detects(run, model_file, shapes_folder, tmp_path):
    code, out, error = run("export", model_file, "--format", "tflite", "--out", "tiny.tflite")
    assert code == 0, error
    assert "verify: 10 cases" in out and "verified: " in out
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.tflite"]
    picture = sorted((shapes_folder / "val").iterdir())[0]
    assert run("detect", "tiny.tflite", picture, "--threshold", 0, "--json", "found.json")[0] == 0
    assert json.loads((tmp_path / "found.json").read_text())


@pytest.mark.slow
@pytest.mark.parametrize(("format", "out"), [("saved_model", "tiny"), ("onnx", "tiny.onnx")])
def test_the_other_formats_are_written_and_verified(format, out, run, model_file, tmp_path):
    code, told, error = run("export", model_file, "--format", format, "--out", out)
    assert code == 0, error
    assert "batch" not in error and "verified: " in told
    assert [path.name for path in tmp_path.iterdir()] == [out]
