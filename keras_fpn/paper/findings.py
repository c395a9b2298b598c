"""Findings of a run beside its metrics, for a table: kept in the run folder as findings.json."""

import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf

from keras_fpn.config.loading import load_run_config
from keras_fpn.console.files import read_json, write_json
from keras_fpn.data.coco import read_coco
from keras_fpn.evaluation import measuring
from keras_fpn.evaluation.measuring import evaluator_of
from keras_fpn.inference.results import compile_inference
from keras_fpn.metrics import RecallFamily, all_families
from keras_fpn.models.files import load_model
from keras_fpn.paper import curve
from keras_fpn.stages.propose import ProposeStage
from keras_fpn.training import datasets

NOMINAL_SIZE = (800, 1000)  # height, width of the image that the paper counts anchors on
_TIMED_RUNS = 20


def read(run_dir: Path) -> dict[str, Any]:
    """The findings of a run, {} without any."""
    path = run_dir / "findings.json"
    return read_json(path) if path.is_file() else {}


def take(folders: Sequence[Path], *, timed: bool) -> dict[str, Any]:
    """Measure and write findings.json into the last of some run folders, unless it is there.

    It holds "curve" (`curve.measure`; of a model that proposes boxes or segments), "parameters", "anchors" (on the
    paper's nominal image, and on the first held-out one) and, where `timed`, "milliseconds" an image and the "size" it
    was timed at.

    Args:
        folders: run folders of the networks that an image goes through, one after the other.
        timed: whether to measure the milliseconds, too.
    """
    found = read(folders[-1])
    if found and (not timed or "milliseconds" in found):
        return found
    print(f"counting and timing {folders[-1]}", flush=True)
    networks = [_opened(folder) for folder in folders]
    model, val_set = networks[-1]
    found = {"parameters": sum(each.count_params() for each, _ in networks)}
    family = all_families(model.metric_families)[0]
    if isinstance(family, RecallFamily):
        found["curve"] = _curve(family, val_set, folders[-1])
    datasets = [measuring.evaluation_dataset(each, images, 1) for each, images in networks]
    batches = [next(iter(dataset))[0] for dataset in datasets]
    size = batches[-1]["images"].shape[1:3]
    for stage in model.stages:
        if isinstance(stage, ProposeStage):
            found["anchors"] = {_shown(each): stage.count_anchors(*each) for each in (NOMINAL_SIZE, size)}
    if timed:
        graphs = [compile_inference(each, dataset) for (each, _), dataset in zip(networks, datasets, strict=True)]
        found |= {"milliseconds": sum(map(_milliseconds, graphs, batches)), "size": _shown(size)}
    write_json(folders[-1] / "findings.json", found)
    return found


def _curve(family, val_set, folder):
    evaluator = evaluator_of(val_set)
    results, metrics = (read_json(folder / name) for name in ("results.json", "metrics.json"))
    return curve.measure(family, evaluator, results, metrics)


def _opened(folder):
    """The model of a run folder, and its held-out images with what the model needs to be given of them."""
    model, data = load_model(folder), load_run_config(folder / "config.yaml").data
    val = data.val
    val_set = read_coco(val.annotations, val.images, **data.reading, fields=model.object_fields)
    if "proposals" in model.further_inputs:
        val_set = datasets.with_proposals(val_set, val.proposals, data.test_proposals)
    return model, val_set


def _shown(size):
    return f"{size[0]}x{size[1]}"


def _milliseconds(inference, inputs):
    """The median of one image at a time, after a first call that traces."""
    times = []
    for _ in range(_TIMED_RUNS + 1):
        start = time.perf_counter()
        for value in tf.nest.flatten(inference(inputs)):
            value.numpy()
        times.append(time.perf_counter() - start)
    return 1000 * statistics.median(times[1:])
