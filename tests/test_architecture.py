"""Imports run one way: leaves, stages, assembly, judgement, commands. And the package imports fast."""

import ast
import pathlib
import subprocess
import sys

import pytest

LEAVES = {
    "errors", "naming", "extensions", "registry", "settings", "choice", "read_only", "fixed_settings", "classes",
    "files", "screen", "signals", "progress", "normalization", "boxes", "levels", "masks", "ordered_gradients",
    "metrics", "checkpoint_names",
}  # fmt: skip
STAGES = {
    "anchors", "pixels", "pyramids", "rpn", "nms", "proposals", "targets", "losses", "roi_align", "bin_maxima",
    "roi_pool", "box_head_names", "box_head", "conv5_head", "detections", "segment_grid", "segment_head",
    "segment_targets", "optimizers",
}  # fmt: skip
JUDGEMENT = {"evaluation", "expectations", "visualize", "plots", "report", "callbacks"}
COMMANDS = {"runs", "training", "four_step", "conversion", "demo", "benchmark", "paper", "cli"}

# What a module may import of ours besides the leaves. Packages count as one module, free inside.
MAY_IMPORT = {
    **{leaf: set() for leaf in LEAVES},
    **{stage: set() for stage in STAGES},
    "proposals": {"nms"},
    "roi_pool": {"bin_maxima"},
    "box_head": {"box_head_names"},
    "conv5_head": {"box_head"},
    "detections": {"nms"},
    "segment_targets": {"segment_grid", "targets"},
    "proposal_files": set(),
    "data": {"proposal_files"},
    "backbones": set(),
    "image_settings": set(),
    "training_settings": set(),
    "stages": STAGES | {"backbones", "batches", "fields"},
    "architectures": {"backbones", "pyramids", "stages", "image_settings"},
    "model_settings": {"architectures", "backbones"},
    "checkpoints": {
        "architectures", "backbones", "box_head_names", "detector", "image_settings", "model_files", "model_settings",
    },
    "batches": set(),
    "detector": {
        "architectures", "backbones", "batches", "model_settings", "optimizers", "pixels", "pyramids", "stages",
    },
    "model_files": {"architectures", "detector"},
    **dict.fromkeys(("proposal_network", "fast_rcnn", "faster_rcnn", "segment_proposals"), {"detector", "stages"}),
    "fields": set(),
    "results": {"fields"},
    "evaluation": {"fields", "results"},
    "expectations": set(),
    "visualize": {"fields"},
    "callbacks": {"evaluation", "results", "visualize"},
    "plots": set(),
    "report": {"visualize", "plots"},
    "images": {"fields"},
    "inference": {"data", "images"},
    "propose": {"batches", "data", "proposal_files", "stages"},
    "config": {"architectures", "model_settings", "training_settings", "data"},
    "settings_page": {"architectures", "training_settings", "data"},
    **{command: None for command in COMMANDS},  # everything
    "__init__": set(),  # lazy: see below
}
# Leaves stand on one another in this order only.
LEAF_ORDER = [
    "errors", "naming", "extensions", "registry", "settings", "choice", "read_only", "fixed_settings", "classes",
    "files", "screen", "signals", "progress", "normalization", "boxes", "levels", "masks", "ordered_gradients",
    "metrics", "checkpoint_names",
]  # fmt: skip
ONLY_IN = {
    "pycocotools": {"evaluation", "masks"}, "yaml": {"config"}, "argparse": {"cli"},
    "matplotlib": {"plots"},
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


def _ours(name):
    parts = name.split(".")
    return parts[1] if parts[0] == "keras_fpn" and len(parts) > 1 else None


def wrong_imports(package):
    """`["module imports other", ...]` that the table above does not allow."""
    wrong = []
    for path in _sources(package):
        module = _module(path, package)
        if module not in MAY_IMPORT:
            wrong.append(f"{module} is not in the table of test_architecture.py")
            continue
        for name in _imported(ast.parse(path.read_text(), str(path))):
            if not _allowed(module, _ours(name), name):
                wrong.append(f"{path.relative_to(package)} imports {name}")
    return wrong


def _allowed(module, other, name):
    root = name.split(".")[0]
    if root in ONLY_IN:
        return module in ONLY_IN[root]
    if root in ("configs", "export", "tests"):
        return False
    if other is None or other == module or MAY_IMPORT[module] is None or other == "__version__":
        return True
    if other == "export":
        return module == "cli"
    if other in LEAVES:
        return module not in LEAVES or LEAF_ORDER.index(other) < LEAF_ORDER.index(module)
    return other in MAY_IMPORT[module]


@pytest.fixture
def package(request):
    return request.config.rootpath / "keras_fpn"


def test_imports_run_one_way(package):
    assert wrong_imports(package) == []


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("anchors.py", "from keras_fpn import nms"),
        ("data/coco.py", "from keras_fpn.faster_rcnn import FasterRCNN"),
        ("boxes.py", "import keras_fpn.anchors"),
        ("faster_rcnn.py", "from keras_fpn.config import Config"),
        ("rpn.py", "def late():\n    from keras_fpn.evaluation import COCOEvaluator"),
        ("visualize.py", "import pycocotools.coco"),
        ("errors.py", "from keras_fpn import boxes"),
        ("surprise.py", ""),
        ("training.py", "import export"),
    ],
)
def test_an_upward_or_sideways_import_is_noticed(file, line, tmp_path):
    path = tmp_path / file
    path.parent.mkdir(exist_ok=True)
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
    "keras_fpn.backbones.settings", "keras_fpn.pyramids.settings", "keras_fpn.image_settings", "keras_fpn.config",
    "keras_fpn.stages.propose_settings", "keras_fpn.stages.classify_settings", "keras_fpn.stages.segment_settings",
    "keras_fpn.architectures", "keras_fpn.model_settings", "keras_fpn.data.settings", "keras_fpn.training_settings",
    "keras_fpn.registry", "keras_fpn.extensions", "keras_fpn.choice", "keras_fpn.settings", "keras_fpn.fields",
    "keras_fpn.metrics", "keras_fpn.data.fields",
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
