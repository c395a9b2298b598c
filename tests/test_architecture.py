"""Imports run one way: down the rooms of the package. And the package imports fast."""

import ast
import pathlib
import re
import subprocess
import sys

import pytest

# A room imports from those above its row. Data and models meet in `inference` at the earliest.
ROOMS = {
    "console": "errors, files, progress: what a person sees of a program",
    "ops": "functions on tensors",
    "parts": "what a part says of itself: settings, output fields, registries",
    "metrics": "families of metrics",
    "data": "files -> batches",
    "layers": "Keras layers",
    "backbones": "image -> C2..C5",
    "necks": "C2..C5 -> P2..P6",
    "heads": "features -> raw predictions",
    "stages": "a head with its targets, losses, inference and settings",
    "models": "the loop; members are lists of stages",
    "config": "YAML -> settings",
    "checkpoints": "published weights",
    "inference": "image files -> detections",
    "evaluation": "COCO results -> figures",
    "reporting": "pictures and pages",
    "training": "a configuration -> a run folder",
    "paper": "the paper's tables",
    "commands": "a file for each sub-command",
}
# What a room must not know although it stands above: {room: rooms}.
APART = {
    "layers": {"data", "metrics"}, "backbones": {"data", "metrics"}, "necks": {"data", "metrics", "backbones"},
    "heads": {"data", "metrics", "necks"}, "stages": {"necks"}, "reporting": {"models", "stages", "training"},
    "evaluation": {"checkpoints", "config"}, "inference": {"checkpoints"},
}  # fmt: skip
ONLY_IN = {
    "pycocotools": {"evaluation", "ops"}, "yaml": {"config", "data"}, "argparse": {"commands"},
    "matplotlib": {"reporting"}, "contourpy": {"ops"},
}  # fmt: skip


def _sources(package):
    return sorted(package.rglob("*.py"))


def _module(path, package):
    return path.relative_to(package).parts[0].removesuffix(".py")


def _imported(tree):
    """Dotted names of all imports in a file, those inside functions included."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide where they lead"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def wrong_imports(package):
    """`["file imports name", ...]` that the tables above do not allow."""
    wrong = []
    for path in _sources(package):
        room = path.relative_to(package).parts[0]
        if room in ("__init__.py", "__main__.py"):  # lazy: see below; the command
            continue
        if room not in ROOMS:
            wrong.append(f"{room} is not in the table of test_architecture.py")
            continue
        names = _imported(ast.parse(path.read_text(), str(path)))
        wrong += [f"{path.relative_to(package)} imports {name}" for name in names if not _allowed(room, name)]
    return wrong


def _allowed(room, name):
    root, *inside = name.split(".")
    if root in ONLY_IN:
        return room in ONLY_IN[root]
    if root in ("configs", "export", "tests"):
        return False
    if root != "keras_fpn" or not inside or inside[0] in (room, "__version__"):
        return True
    if inside[0] == "export":
        return room == "commands"
    order = list(ROOMS)
    is_above = inside[0] in ROOMS and order.index(inside[0]) < order.index(room)
    return is_above and inside[0] not in APART.get(room, ())


@pytest.fixture
def package(request):
    return request.config.rootpath / "keras_fpn"


def test_imports_run_one_way(package):
    assert wrong_imports(package) == []


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("layers/anchors.py", "from keras_fpn.models import detector"),
        ("data/coco.py", "from keras_fpn.models.faster_rcnn import FasterRCNN"),
        ("ops/boxes.py", "import keras_fpn.layers.anchors"),
        ("models/faster_rcnn.py", "from keras_fpn.config.loading import Config"),
        ("heads/rpn.py", "def late():\n    from keras_fpn.evaluation.coco import COCOEvaluator"),
        ("reporting/visualize.py", "import pycocotools.coco"),
        ("reporting/report.py", "from keras_fpn.models import detector"),
        ("console/errors.py", "from keras_fpn.ops import boxes"),
        ("surprise.py", ""),
        ("training/training.py", "import export"),
        ("training/training.py", "from keras_fpn.export import exporting"),
    ],
)
def test_an_upward_or_sideways_import_is_noticed(file, line, tmp_path):
    path = tmp_path / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(line)
    assert len(wrong_imports(tmp_path)) == 1


def test_functions_fit_a_screen(package):
    long = []
    for path in _sources(package):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef):
                body = node.body[1:] if ast.get_docstring(node) else node.body
                lines = body[-1].end_lineno - body[0].lineno + 1 if body else 0
                if lines > 45:
                    long.append(f"{path.name}: {node.name} has {lines} lines")
    assert long == []


def test_the_tests_are_where_what_they_test_is(request):
    """`tests/<room>/` for a room; at the top only what is about the whole."""
    tests = request.config.rootpath / "tests"
    folders = {path.name for path in tests.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert folders - {"golden", "constraints"} <= set(ROOMS) | {"export", "benchmarks"}
    assert {path.name for path in tests.glob("test_*.py")} == {
        "test_architecture.py", "test_docs.py", "test_extension.py", "test_packaging.py",
    }  # fmt: skip


def test_importing_the_package_imports_no_framework():
    code = "import sys, keras_fpn; print({'tensorflow', 'keras', 'numpy'} & set(sys.modules) or '')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_every_public_name_resolves():
    import keras_fpn

    for name in keras_fpn.__all__:
        assert getattr(keras_fpn, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'no_such_name'"):
        _ = keras_fpn.no_such_name


def test_nothing_installs_at_the_top_level(request):
    """The wheel maps configs/ and export/ into the package; as top-level names they would meet others."""
    import configparser

    settings = configparser.ConfigParser()
    settings.read(request.config.rootpath / "setup.cfg")
    packages = settings["options"]["packages"].split()
    assert {name.split(".")[0] for name in packages} == {"keras_fpn"}
    root = request.config.rootpath
    folders = {path.parent for folder in ("keras_fpn", "export") for path in _sources(root / folder)}
    names = {".".join(path.relative_to(root).parts) for path in folders}
    inside = {name if name.startswith("keras_fpn") else f"keras_fpn.{name}" for name in names}
    assert set(packages) == inside | {"keras_fpn.configs"}


def test_no_drawer_for_odds_and_ends(package):
    assert not {"utils", "misc", "common", "helpers"} & {
        path.stem for path in pathlib.Path(package).rglob("*")
    }


LIGHT = (
    "keras_fpn.backbones.settings", "keras_fpn.necks.settings", "keras_fpn.data.image_settings",
    "keras_fpn.config.loading", "keras_fpn.config.training_settings",
    "keras_fpn.stages.propose_settings", "keras_fpn.stages.classify_settings", "keras_fpn.stages.segment_settings",
    "keras_fpn.stages.mask_settings",
    "keras_fpn.stages.cascade_settings",
    "keras_fpn.stages.mask_settings", "keras_fpn.stages.dense_settings",
    "keras_fpn.stages.fcos_settings",
    "keras_fpn.stages.keypoint_settings",
    "keras_fpn.models.architectures", "keras_fpn.models.settings", "keras_fpn.data.settings", "keras_fpn.data.fields",
    "keras_fpn.data.fields.keypoints",
    "keras_fpn.parts.registry", "keras_fpn.parts.extensions", "keras_fpn.parts.choice", "keras_fpn.parts.settings",
    "keras_fpn.parts.output_fields", "keras_fpn.metrics",
    *(f"keras_fpn.data.augmentations.{name}" for name in
      ("augmentation", "mosaic", "copy_paste", "crop", "zoom_out", "colour", "blur")),
)  # fmt: skip


def test_settings_are_read_without_a_framework(package):
    """Every file that defines a `Settings` is among those that import none, so that a typo answers at once."""
    defining = {
        "keras_fpn." + ".".join(path.relative_to(package).with_suffix("").parts)
        for path in _sources(package)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef)
        and any(isinstance(base, ast.Name) and base.id.endswith("Settings") for base in node.bases)
    }
    assert defining <= set(LIGHT)
    code = f"import sys, importlib; [importlib.import_module(name) for name in {LIGHT}]; "
    code += "print({'tensorflow', 'keras'} & set(sys.modules) or '')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def _untyped(tree):
    """Names of the public functions and methods of a file whose arguments or result have no type."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from (f"{node.name}.{name}" for name in _untyped(node))
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            given = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs, node.args.vararg, node.args.kwarg]
            given = [argument for argument in given if argument is not None and argument.arg not in ("self", "cls")]
            if node.returns is None or any(argument.annotation is None for argument in given):
                yield node.name


def test_every_public_function_has_types(package):
    folders = (package, package.parent / "export")
    untyped = [f"{path.name}: {name}" for folder in folders for path in _sources(folder)
               for name in _untyped(ast.parse(path.read_text()))]  # fmt: skip
    assert untyped == []


def test_docstrings_begin_with_a_noun_or_an_imperative(package):
    folders = (package, package.parent / "export", package.parent / "benchmarks", package.parent / "tests")
    begun = [path.name for folder in folders for path in _sources(folder) if '"""What ' in path.read_text()]
    assert begun == [pathlib.Path(__file__).name]  # these lines


# ----------------------------------------------------------------------------- what only its own files speak of


FURTHER_HEADS = re.compile(r"mask|keypoint", re.IGNORECASE)
# In these senses every file may say it: which rows count; the paper.
OTHER_SENSES = re.compile(
    r"boolean_mask|sequence_mask|nms_mask|Masked?BatchNormalization|masked_checksum|BMP_MASKS|Mask R-CNN, section",
    re.IGNORECASE,
)
_LIST = "lists what there is, a line each"
_SEGMENTS = "is of segment proposals, which are masks without classes"
_FILES = "reads or writes what annotation files and labelling tools say"
_RUN_LENGTHS = "is of outlines and run lengths, whoever has them"
_MEASURED = "gives pycocotools what each of its kinds of results goes by"
_PIXELS = "means bits, or cells and rows that count"
_EXAMPLE = "names a field as an example"
_CASCADE = "is of a member that there is with masks, too"
# {file of the package or of export/ that is not named for masks or keypoints and speaks of them: why}
SPEAKS_OF_THEM = {
    **dict.fromkeys(
        (
            "__init__.py", "checkpoints/foreign.py", "checkpoints/published_files.py", "commands/demo.py",
            "data/__init__.py", "data/checks/table.py", "data/fields/__init__.py", "evaluation/__init__.py",
            "evaluation/kinds.py", "export/undecided/__init__.py", "export/undecided/answers.py", "heads/__init__.py",
            "metrics/__init__.py", "models/__init__.py", "models/architectures.py", "ops/__init__.py",
            "parts/__init__.py", "parts/lazy_registration.py", "reporting/__init__.py", "stages/__init__.py",
        ),
        _LIST,
    ),
    **dict.fromkeys(
        (
            "data/batches.py", "heads/segment_head.py", "inference/images.py", "metrics/recalls.py",
            "metrics/segments.py", "models/segment_proposals.py", "ops/losses.py", "paper/experiments.py",
            "paper/pictures.py", "paper/tables.py", "parts/output_fields.py", "reporting/plots.py",
            "reporting/visualize.py", "stages/segment.py", "stages/segment_grid.py", "stages/segment_settings.py",
            "stages/segment_targets.py",
        ),
        _SEGMENTS,
    ),
    **dict.fromkeys(
        (
            "data/augmentations/copy_paste.py", "data/checks/categories.py", "data/checks/outlines.py",
            "data/checks/resized_entries.py", "data/class_checks.py", "data/coco.py", "data/formats/__init__.py",
            "data/formats/coco_layouts.py", "data/formats/csv_rows.py", "data/formats/cvat.py",
            "data/formats/datumaro.py", "data/formats/label_studio.py", "data/formats/labelme.py",
            "data/formats/outlines.py", "data/formats/supervisely.py", "data/formats/yolo.py",
            "data/formats/yolo_labels.py", "data/formats/yolo_places.py", "data/shapes.py", "data/tfds/known.py",
            "data/tfds/original.py", "inference/labelme_labels.py", "inference/yolo_labels.py",
        ),
        _FILES,
    ),
    **dict.fromkeys(
        (
            "data/columns.py", "data/fields/bitmaps.py", "data/fields/polygons.py", "data/nearest.py",
            "data/segmentations.py", "inference/polygons.py", "ops/run_lengths.py", "reporting/layers.py",
            "reporting/skeletons.py",
        ),
        _RUN_LENGTHS,
    ),
    **dict.fromkeys(
        ("evaluation/checked_results.py", "evaluation/coco.py", "evaluation/ground_truth.py", "evaluation/kind.py"),
        _MEASURED,
    ),
    **dict.fromkeys(
        (
            "data/image_heads.py", "export/tflite/pixels.py", "layers/normalization.py",
        ),
        _PIXELS,
    ),
    **dict.fromkeys(
        (
            "data/pipeline.py", "metrics/detections.py", "stages/stage.py",
        ),
        _EXAMPLE,
    ),
    "checkpoints/published/cascade_rcnn.py": _CASCADE,
}  # fmt: skip


def _speaking(folder, prefix=""):
    """Files of a folder that are not named for masks or keypoints, nor lie in a folder that is, and speak of them."""
    for path in _sources(folder):
        name = path.relative_to(folder).as_posix()
        if not FURTHER_HEADS.search(name) and FURTHER_HEADS.search(OTHER_SENSES.sub("", path.read_text())):
            yield prefix + name


def test_no_file_of_the_box_detector_speaks_of_further_heads(package):
    """A head more is a file more: the loop, its stages, training, inference and export are those of boxes alone."""
    found = {*_speaking(package), *_speaking(package.parent / "export", "export/")}
    assert found == set(SPEAKS_OF_THEM)


def test_a_file_that_speaks_of_them_is_noticed(tmp_path):
    (tmp_path / "masks").mkdir()
    for name, text in {
        "detector.py": "has_masks = True", "loop.py": "tf.boolean_mask(rows)", "paper.py": "# Mask R-CNN, section 3",
        "points.py": '"""Places of Keypoints."""', "keypoint_places.py": "keypoints", "masks/pasting.py": "mask",
    }.items():  # fmt: skip
        (tmp_path / name).write_text(text)
    assert list(_speaking(tmp_path)) == ["detector.py", "points.py"]
