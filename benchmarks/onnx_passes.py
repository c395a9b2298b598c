"""Hold the passes of export/onnx/passes.py against those of libraries: nodes and time of the same graph.

    python -m pip install onnxslim==0.1.98 onnxscript==0.7.2
    python benchmarks/onnx_passes.py faster_rcnn_mobilenet_v3_large_320_fpn --size 320x640

Exports a shipped configuration with drawn weights, keeps the graph as tf2onnx gave it, has each clean that, and times
the files by turns in onnxruntime, on two threads. Wants an otherwise idle machine.
"""

import argparse
import pathlib
import statistics
import tempfile
import time
import types

import keras
import numpy as np
import onnx
import onnx_ir
import onnxruntime
import onnxscript.optimizer
import onnxslim
from onnx_ir.passes import common

from keras_fpn.config.building import build_model
from keras_fpn.config.loading import load_config
from keras_fpn.export import to_onnx
from keras_fpn.export.adapters import adapted
from keras_fpn.export.description import describe
from keras_fpn.export.onnx import passes
from keras_fpn.export.signature import as_function

CLASSES = types.SimpleNamespace(class_names=tuple(map(str, range(80))), category_ids=tuple(range(80)))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("config", help="name of a shipped configuration")
    parser.add_argument("--size", default="320x640", help="HEIGHTxWIDTH of the image (320x640)")
    parser.add_argument("--runs", type=int, default=40, help="timed runs of each after one that warms up (40)")
    arguments = parser.parse_args()
    keras.utils.set_random_seed(1)
    model = adapted(build_model(load_config(arguments.config), CLASSES), "onnx", "float32")
    raw, ours = raw_and_clean(model)
    graphs = {
        "ours": ours,
        "tf2onnx as it is": raw,
        "onnxslim": onnxslim.slim(copied(raw)),
        "onnxscript": onnxscript.optimizer.optimize(copied(raw)),
        "onnx-ir": by_onnx_ir(raw),
        "onnxslim after ours": onnxslim.slim(copied(ours)),
    }
    times = timed(graphs, tuple(map(int, arguments.size.split("x"))), arguments.runs)
    for name, graph in graphs.items():
        ratio = times[name] / times["ours"]
        print(f"{name:20} {len(graph.graph.node):5} nodes {1000 * times[name]:8.1f} ms  {ratio:.2f}")


def raw_and_clean(model):
    """The graph before and after our passes."""
    kept, clean = [], passes.clean
    passes.clean = lambda module, converted: kept.append(copied(converted)) or clean(module, converted)
    try:
        ours = to_onnx.convert(as_function(model, describe(model)))
    finally:
        passes.clean = clean
    return kept[0], ours


def copied(model):
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    return copy


def by_onnx_ir(model):
    """The common passes that the graph could have use for."""
    chosen = [
        common.IdentityEliminationPass(),
        common.CommonSubexpressionEliminationPass(),
        common.RemoveUnusedNodesPass(),
    ]
    return onnx_ir.to_proto(onnx_ir.passes.PassManager(chosen, steps=3)(onnx_ir.from_proto(copied(model))).model)


def timed(graphs, size, runs):
    """{name: median seconds}, one after the other in each round."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 2
    sessions = {}
    with tempfile.TemporaryDirectory() as folder:
        for number, (name, graph) in enumerate(graphs.items()):
            path = pathlib.Path(folder) / f"{number}.onnx"
            onnx.save(graph, path)
            sessions[name] = onnxruntime.InferenceSession(path, options)
    (dtype,) = {one.type for one in sessions["ours"].get_inputs() if one.name == "images"}
    image = np.random.default_rng(0).uniform(0, 255, (1, *size, 3))
    image = image.astype(np.float32 if "float" in dtype else np.uint8)
    inputs = {"images": image, "image_sizes": np.array([size], np.int32)}
    seconds = {name: [] for name in sessions}
    for _ in range(runs + 1):
        for name, session in sessions.items():
            start = time.perf_counter()
            session.run(None, inputs)
            seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values[1:]) for name, values in seconds.items()}


if __name__ == "__main__":
    main()
