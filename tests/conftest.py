"""Fixtures that all tests share: recorded reference numbers, a tiny data set on disk and a tiny detector."""

import contextlib
import ctypes
import functools
import gc
import importlib
import importlib.util
import os
import pathlib
import signal
import sys
import types

# Before TensorFlow is imported: none of its notes, which tests of what is printed would see, and full float32 products
# where there is a GPU. One thread a process: the suite runs in as many processes as there are cores, where threads that
# wait take each other's time.
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("NVIDIA_TF32_OVERRIDE", "0")
# The memory of a large graph goes back to the system when it is freed, not into a pool for good.
os.environ.setdefault("TF_ONEDNN_USE_SYSTEM_ALLOCATOR", "1")
# No test downloads a published file; those about that have a server of their own.
os.environ["KERAS_FPN_OFFLINE"] = "1"

import hypothesis
import numpy as np
import pytest

# Tests send themselves signals, which a process that was started in the background (`&`, nohup) would ignore.
for number, handler in (("SIGINT", signal.default_int_handler), ("SIGHUP", signal.SIG_DFL)):
    if hasattr(signal, number) and signal.getsignal(getattr(signal, number)) is signal.SIG_IGN:
        signal.signal(getattr(signal, number), handler)

GOLDEN = pathlib.Path(__file__).parent / "golden"

# Derandomised: a clone passes or fails the same way every time.
# No deadline: TensorFlow's first calls are slow.
hypothesis.settings.register_profile("keras_fpn", deadline=None, max_examples=50, derandomize=True)
hypothesis.settings.load_profile("keras_fpn")


# The longest first, so that no worker waits for another at the end.
LONGEST = (
    "test_extension", "models/test_faster_rcnn", "training/test_training", "export/test_verification",
    "checkpoints/test_transfer", "export/test_adapters", "models/test_rpn", "export/test_saved_model",
    "export/test_models", "export/test_parity", "checkpoints/test_parity", "commands/test_evaluate",
)  # fmt: skip


def pytest_collection_modifyitems(items):
    """Order whole files, for a scheduler that gives them out in this order."""
    rank = {name: number for number, name in enumerate(LONGEST)}
    tests = pathlib.Path(__file__).parent
    items.sort(key=lambda item: rank.get(item.path.relative_to(tests).with_suffix("").as_posix(), len(rank)))


# A traced graph is hundreds of thousands of objects, which the collector would go through again and again.
gc.set_threshold(100_000, 50, 1000)


@pytest.fixture(scope="module", autouse=True)
def graphs_of_one_module():
    """The graphs of a module's models go with it, and their memory back to the system.

    TensorFlow registers every `tf.custom_gradient` that it traces for good, and with each the graph that it is in.
    """
    yield
    if "tensorflow" in sys.modules:
        registered = sys.modules["tensorflow.python.framework.ops"].gradient_registry._registry
        for name in [name for name in registered if name.startswith("CustomGradient-")]:
            del registered[name]
    gc.collect()
    if sys.platform == "linux":
        ctypes.CDLL(None).malloc_trim(0)


@pytest.fixture(scope="session", autouse=True)
def deterministic(request):
    """Sums in a fixed order: several threads may otherwise add up a gradient in any order.

    The fast tests run their graphs as they were traced: to optimise each of them, which then runs once or twice, is a
    sixth of the time. `make test-all`, the commands in processes of their own and the exporters optimise as always.
    """
    import keras  # noqa: F401
    import tensorflow as tf

    gc.collect()
    gc.freeze()  # what these modules hold stays to the end, and would be gone through after each module of tests
    tf.config.experimental.enable_op_determinism()
    is_fast = "not slow" in request.config.option.markexpr
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": is_fast})


class Golden:
    """The arrays of one `golden/*.npz`, whose script says how they were made."""

    def __init__(self, name):
        with np.load(GOLDEN / f"{name}.npz") as arrays:
            self.arrays = dict(arrays)

    def __getitem__(self, key):
        return self.arrays[key]

    def under(self, prefix):
        """`{rest of the key: array}` of the keys that start with `prefix/`."""
        start = prefix + "/"
        return {key[len(start) :]: value for key, value in self.arrays.items() if key.startswith(start)}


@pytest.fixture(scope="session")
def golden():
    """`golden("anchors")["key"]`: arrays recorded from a reference implementation."""
    return functools.cache(Golden)


@pytest.fixture(scope="session")
def draws():
    """`golden/named_draws.py`: the arrays that the golden scripts drew by name and did not store."""
    spec = importlib.util.spec_from_file_location("named_draws", GOLDEN / "named_draws.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def parity_modules(request):
    """`parity_modules("matching", ...)`: modules of benchmarks/parity, by name."""
    root = request.config.rootpath
    folders = [str(root / "benchmarks" / "parity"), str(root / "tests" / "golden")]
    sys.path[:0] = folders
    yield lambda *names: types.SimpleNamespace(**{name: importlib.import_module(name) for name in names})
    for folder in folders:
        sys.path.remove(folder)


def _tiny_settings():
    """A detector of a few thousand weights with every part of a large one."""
    return {
        "num_classes": 4,
        "backbone": {"name": "resnet18", "width": 8, "freeze_at": 0},
        "pyramid": {"channels": 16},
        "anchors": {"sizes": {"P2": [8.0], "P3": [16.0], "P4": [32.0], "P5": [64.0], "P6": [128.0]}},
        "rpn": {"channels": 16},
        "proposals": {
            "pre_nms_top_k_train": 60,
            "pre_nms_top_k_test": 60,
            "post_nms_top_k_train": 40,
            "post_nms_top_k_test": 30,
        },
        "anchor_targets": {"samples_per_image": 32},
        "roi_targets": {"samples_per_image": 24},
        "roi_pooling": {"canonical_size": 56.0},
        "box_head": {"units": 32},
        "detections": {"max_detections": 10},
        "class_names": ["circle", "square", "triangle", "star"],
        "seed": 5,
    }


@pytest.fixture(scope="session")
def tiny_settings():
    """`tiny_settings()`: arguments of a tiny `FasterRCNN`, a new dict each time."""
    return _tiny_settings


@pytest.fixture(scope="session")
def tiny_model():
    """A seeded tiny `FasterRCNN`. Shared: do not train it, build your own from `tiny_settings` for that."""
    import keras

    import keras_fpn

    keras.utils.set_random_seed(5)
    return keras_fpn.FasterRCNN(**_tiny_settings())


@pytest.fixture
def tiny_batch():
    """(inputs, targets) of two images of different sizes on one 96 x 128 canvas, three objects and one."""
    sizes = np.array([[96, 128], [80, 90]], np.int32)
    images = np.zeros((2, 96, 128, 3), np.float32)
    for image, (height, width) in zip(images, sizes, strict=True):
        image[:height, :width] = np.random.default_rng(int(width)).uniform(0, 255, (height, width, 3))
    boxes = np.zeros((2, 3, 4), np.float32)
    boxes[0] = [[10, 12, 40, 44], [60, 20, 120, 90], [5, 70, 17, 80]]
    boxes[1, 0] = [20, 30, 70, 75]
    targets = {
        "boxes": boxes,
        "classes": np.array([[0, 3, 1], [2, -1, -1]], np.int32),
        "is_crowd": np.zeros((2, 3), np.int32),
        "image_ids": np.array([7, 8], np.int64),
        "original_sizes": sizes.copy(),
    }
    return {"images": images, "image_sizes": sizes}, targets


@pytest.fixture(scope="session")
def shapes_folder(tmp_path_factory):
    """The embedded data set, 12 + 6 images of 96 px, written once: `train/`, `val/` and `annotations/`."""
    from keras_fpn.data.shapes import write_shapes

    folder = tmp_path_factory.mktemp("shapes")
    write_shapes(folder, num_train=12, num_val=6, size=96, seed=3)
    return folder


@pytest.fixture(scope="session")
def loading_once():
    """`with loading_once(file, ...)`: these models are loaded once, and the graphs that measure them traced once."""
    from keras_fpn.inference import results
    from keras_fpn.models import files

    @contextlib.contextmanager
    def patched(*paths):
        load, compile_inference = files.load_model, results.compile_inference
        models, graphs = dict.fromkeys(map(os.fspath, paths)), {}

        def load_once(path):
            name = os.fspath(path)
            if name not in models:
                return load(path)
            models[name] = models[name] or load(path)
            return models[name]

        def compile_once(model, dataset):
            if id(model) not in graphs:
                graphs[id(model)] = model, compile_inference(model, dataset)
            return graphs[id(model)][1]

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(files, "load_model", load_once)
            patch.setattr(results, "compile_inference", compile_once)
            yield

    return patched


@pytest.fixture
def run(capsys, monkeypatch, tmp_path):
    """`run("train", ...)` -> (exit code, stdout, stderr) of the command, from an empty folder."""
    from keras_fpn.commands import main as cli

    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        code = cli.main([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return call
