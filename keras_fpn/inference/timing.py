"""How long one forward pass takes: the median of runs on random images, whole, stage by stage or against another."""

import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from keras_fpn.config.building import build_model
from keras_fpn.config.loading import Overrides, load_config
from keras_fpn.console.errors import UserError
from keras_fpn.console.files import check_output, write_json
from keras_fpn.data.batches import with_sizes
from keras_fpn.data.sizes import padded_size
from keras_fpn.models.detector import Detector
from keras_fpn.models.files import load_model
from keras_fpn.parts.classes import numbered

COCO_CLASSES = 80
PROPOSALS = 1000  # an image, of a model that takes them as given: the paper's number at test time


def run_benchmark(
    name: str | os.PathLike,
    *,
    overrides: Overrides = (),
    size: tuple[int, int] | None = None,
    batch_size: int = 1,
    runs: int = 7,
    stages: bool = False,
    json_path: str | os.PathLike | None = None,
) -> dict:
    """Time inference of a configuration (random weights, no download) or of a saved model; print a table.

    Args:
        name: configuration, .keras file or run folder.
        overrides: settings to change, for a configuration only.
        size: (height, width) of the images; default: a 3:4 image after the model's own resize rule.
        batch_size, runs: images at a time; timed runs after the ones that warm up.
        stages: time backbone, pyramid, RPN head and the rest apart, too.
        json_path: file for the timings.

    Returns:
        `{"stages": {name: {"median_ms", "fastest_ms"}}, ...}` with the facts that define them.
    """
    if json_path:
        check_output(json_path)
    model = _model(name, overrides)
    height, width = size or _usual_size(model)
    inputs = _random_inputs(model, batch_size, height, width)
    print(f"{name}: {batch_size} x {height} x {width}, median of {runs}", flush=True)
    timings = {}
    for stage, (function, arguments) in _stages(model, inputs, stages):
        timings[stage] = _time(function, arguments, runs)
        median, fastest = timings[stage].values()
        print(f"  {stage:<22}{median:9.1f} ms   fastest {fastest:9.1f} ms", flush=True)
    outcome = {"model": str(name), **_facts((height, width), batch_size, runs), "stages": timings}
    if json_path:
        write_json(json_path, outcome)
    return outcome


def run_comparison(
    name: str | os.PathLike,
    against: str | os.PathLike,
    *,
    overrides: Overrides = (),
    size: tuple[int, int] | None = None,
    batch_size: int = 1,
    runs: int = 7,
    json_path: str | os.PathLike | None = None,
) -> dict:
    """Time inference of two models by turns in one process, A, B, A, B, so that both meet the same machine; print it.

    Args:
        name, against: A and B, each a configuration, a .keras file or a run folder.
        overrides: settings to change, where both are configurations.
        size: (height, width) of the images of both; default: a 3:4 image after A's own resize rule.
        batch_size, runs: images at a time; timed runs of each after the ones that warm up.
        json_path: file for the timings.

    Returns:
        `{"timings": [of A, of B], "ratio": A's median over B's, ...}` with the facts that define them; a timing is
        `{"model", "median_ms", "fastest_ms", "proposals"}`, the last the number that an image's RoIs were, or None of
        a model without a second stage.
    """
    if json_path:
        check_output(json_path)
    names, models = (name, against), [_model(each, overrides) for each in (name, against)]
    height, width = size or _usual_size(models[0])
    inputs = [_random_inputs(model, batch_size, height, width) for model in models]
    print(f"{name} against {against}: {batch_size} x {height} x {width}, median of {runs}", flush=True)
    seconds = _by_turns([_whole(model) for model in models], inputs, runs)
    timings = [
        {"model": str(each), **_summary(taken), "proposals": _count_proposals(model, given)}
        for each, taken, model, given in zip(names, seconds, models, inputs, strict=True)
    ]
    for timing in timings:
        proposals = "" if timing["proposals"] is None else f"   {timing['proposals']:g} proposals"
        median, fastest = timing["median_ms"], timing["fastest_ms"]
        print(f"  {timing['model']:<22}{median:9.1f} ms   fastest {fastest:9.1f} ms{proposals}", flush=True)
    ratio = timings[0]["median_ms"] / timings[1]["median_ms"]
    print(f"  ratio {ratio:.3f}: median of {name} / median of {against}", flush=True)
    outcome = {"model": str(name), "against": str(against), **_facts((height, width), batch_size, runs)}
    outcome |= {"timings": timings, "ratio": ratio}
    if json_path:
        write_json(json_path, outcome)
    return outcome


def _facts(size, batch_size, runs):
    """Circumstances of a timing, besides the model."""
    return {
        "size": list(size),
        "batch_size": batch_size,
        "runs": runs,
        "machine": platform.processor() or platform.machine(),
        "tensorflow": tf.__version__,
        "devices": [device.device_type for device in tf.config.list_physical_devices()],
    }


def _model(name, overrides):
    if Path(name).is_dir() or Path(name).suffix == ".keras":
        if overrides:
            raise UserError("--set changes a configuration; the settings of a saved model are fixed")
        return load_model(name)
    config = load_config(name, overrides)
    number = config.model.num_classes or COCO_CLASSES
    return build_model(config, numbered(number, [f"class {index}" for index in range(number)]))


def _usual_size(model):
    rule = model.settings["resize"]
    return padded_size(3000, 4000, rule)


def _random_inputs(model, batch_size, height, width):
    random = np.random.default_rng(0)
    images = random.uniform(0, 255, (batch_size, height, width, 3)).astype(np.float32)
    sizes = np.tile(np.array([[height, width]], np.int32), (batch_size, 1))
    inputs = {"images": tf.constant(images), "image_sizes": tf.constant(sizes)}
    if "proposals" in model.further_inputs:
        boxes = _random_boxes(random, batch_size, height, width)
        inputs |= {"proposals": boxes, "num_proposals": tf.fill([batch_size], PROPOSALS)}
    return inputs


def _random_boxes(random, batch_size, height, width):
    """Boxes in the image, as many in each octave of sides from 16 pixels to the image's shorter side."""
    limits = np.array([width, height], np.float32)
    sides = np.exp2(random.uniform(4, np.log2(max(min(height, width), 17)), (batch_size, PROPOSALS, 2)))
    sides = np.minimum(sides, limits)
    start = random.uniform(0, 1, sides.shape) * (limits - sides)
    return tf.constant(np.concatenate([start, start + sides], axis=-1), tf.float32)


def _stages(model, inputs, apart):
    """Yield `(stage, (function, argument))`."""
    if apart:
        yield from timed_steps(model, inputs)
    yield "whole", (_whole(model), inputs)


def _whole(model):
    return lambda given: model(given, training=False)


def _time(function, arguments, runs):
    (seconds,) = _by_turns([function], [arguments], runs)
    return _summary(seconds)


def _by_turns(functions, arguments, runs):
    """Seconds of `runs` calls of each function, called one after the other in every round."""
    graphs = [tf.function(function) for function in functions]
    for _ in range(2):  # the first traces, the second fills caches
        for graph, given in zip(graphs, arguments, strict=True):
            _wait(graph(given))
    seconds = [[] for _ in graphs]
    for _ in range(runs):
        for graph, given, taken in zip(graphs, arguments, seconds, strict=True):
            start = time.perf_counter()
            _wait(graph(given))
            taken.append(time.perf_counter() - start)
    return seconds


def _summary(seconds):
    return {"median_ms": 1000 * statistics.median(seconds), "fastest_ms": 1000 * min(seconds)}


def _count_proposals(model, inputs):
    """Proposals an image that the second stage classifies, on average; None without a second stage."""
    if not hasattr(model, "box_head"):
        return None
    proposals = inputs if "proposals" in model.further_inputs else model.inference(inputs)["proposals"]
    counts = proposals["num_proposals"]
    return float(np.mean(counts))


def _wait(outputs):
    for value in tf.nest.flatten(outputs):
        value.numpy()


def timed_steps(model: Detector, inputs: dict[str, tf.Tensor]) -> Iterator[tuple[str, tuple[Callable, Any]]]:
    """Yield `(name, (function, argument))` of each part of a model's inference, fed with what the one before gave."""

    def backbone(inputs):
        return model.backbone(model.pixels(inputs["images"], inputs["image_sizes"]), training=False)

    def pyramid(maps):
        return model.pyramid({level: maps[level] for level in model.pyramid.input}, training=False)

    state = {"inputs": with_sizes(inputs)}
    maps = backbone(state["inputs"])
    yield "pixels, backbone", (backbone, state["inputs"])
    yield "pyramid", (pyramid, maps)
    features = pyramid(maps)
    for stage in model.stages:
        yield from stage.timed_steps(features, state)
        state |= stage.infer(features, state)
