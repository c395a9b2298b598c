"""Outputs and gradients of the pyramids after FPN by their authors' own code: neck_*.npz, a file a case.

Run, each in an environment with what the code needs, and the source or the installed package on PYTHONPATH:

    make_necks.py panet FOLDER      ShuLiu1993/PANet; torch 2.14.1
    make_necks.py pafpn FOLDER      mmdet/models/necks of mmdet 3.3.0; mmcv-lite 2.1.0, mmengine 0.10.7, torch 2.14.1
    make_necks.py bifpn FOLDER      efficientdet of google/automl; TensorFlow 2.21.0, tf_keras 2.21.0
    make_necks.py nas_fpn FOLDER    models/official/detection of tensorflow/tpu; the same

Weights, maps and the weights of the outputs are drawn by name (neck_draws). The sum of all outputs times these is
differentiated. Convolutions before a batch normalisation have a bias in the last two, which is 0 here: ours have none.
"""

import pathlib
import re
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import neck_draws  # noqa: E402
import numpy as np  # noqa: E402
import reference_necks  # noqa: E402


def write(case, outputs, gradients):
    arrays = {f"outputs/{level}": neck_draws.kept(value) for level, value in outputs.items()}
    arrays |= {f"shapes/{level}": np.array(np.shape(value)) for level, value in outputs.items()}
    arrays |= {f"gradients/{name}": neck_draws.kept(value) for name, value in gradients.items()}
    np.savez_compressed(HERE / f"neck_{case}.npz", **arrays)
    print(case, {level: np.shape(value) for level, value in outputs.items()}, len(gradients), "gradients")


# --- torch


def nchw(array):
    import torch

    return torch.from_numpy(np.ascontiguousarray(np.asarray(array).transpose(0, 3, 1, 2))).requires_grad_()


def differentiate(case, module, inputs, outputs, names):
    """Run backward; `names` is `{torch's parameter: (our layer, our variable)}`."""
    import torch

    weights = {
        level: nchw(neck_draws.weight_of_output(level, tuple(value.permute(0, 2, 3, 1).shape))).detach()
        for level, value in outputs.items()
    }
    torch.stack([(outputs[level] * weights[level]).sum() for level in outputs]).sum().backward()
    gradients = {f"C{k}": value.grad.permute(0, 2, 3, 1) for k, value in inputs.items()}
    for parameter, value in module.named_parameters():
        if value.grad is not None:
            gradient = value.grad.permute(2, 3, 1, 0) if value.ndim == 4 else value.grad
            gradients["/".join(names[parameter])] = gradient
    values = {level: value.detach().permute(0, 2, 3, 1).numpy() for level, value in outputs.items()}
    write(case, values, gradients)


def fill(module, names):
    import torch

    with torch.no_grad():
        for parameter, value in module.named_parameters():
            if parameter not in names:
                continue
            shape = tuple(value.permute(2, 3, 1, 0).shape) if value.ndim == 4 else tuple(value.shape)
            drawn = neck_draws.variable(*names[parameter], shape)
            value.copy_(torch.from_numpy(drawn.transpose(3, 2, 0, 1) if value.ndim == 4 else drawn))


TORCH_KINDS = {"weight": "kernel", "bias": "bias"}
NORM_KINDS = {"weight": "gamma", "bias": "beta"}


def mmdet_names(module, first):
    names = {}
    for parameter, _ in module.named_parameters():
        part, index, _, kind = parameter.split(".")
        k = int(index) + first
        layer = {
            "lateral_convs": f"lateral_C{k}",
            "fpn_convs": f"output_P{k}" if k <= 5 else f"downsample_P{k}",
            "downsample_convs": f"path_down_P{k}",
            "pafpn_convs": f"path_output_P{k + 1}",
        }[part]
        names[parameter] = (layer, TORCH_KINDS[kind])
    return names


def make_pafpn(folder):
    for case in ("pafpn", "pafpn_strided"):
        drawn = neck_draws.maps(case)
        upper = {"add_extra_convs": "on_output", "relu_before_extra_convs": True} if case == "pafpn_strided" else {}
        widths = [value.shape[-1] for value in drawn.values()]
        module = reference_necks.pafpn(folder, widths, neck_draws.CASES[case]["channels"], **upper)
        names = mmdet_names(module, min(drawn))
        fill(module, names)
        inputs = {k: nchw(value) for k, value in drawn.items()}
        outputs = dict(zip(neck_draws.levels_of(case), module(tuple(inputs.values())), strict=True))
        differentiate(case, module, inputs, outputs, names)


def panet_names(module, normed):
    counts = {"topdown_lateral_modules": 4, "posthoc_modules": 5}
    names = {}
    for parameter, _ in module.named_parameters():
        part, *rest = parameter.split(".")
        if part == "conv_top":
            layer = "lateral_C5"
        elif part in counts:
            layer = f"{'lateral_C' if 'lateral' in part else 'output_P'}{counts[part] - int(rest[0])}"
        else:
            k = 2 + int(rest[0])
            layer = f"path_down_P{k}" if "conv1" in part else f"path_output_P{k + 1}"
        is_norm = normed and rest[-2] == "1"
        names[parameter] = (f"{layer}_norm", NORM_KINDS[rest[-1]]) if is_norm else (layer, TORCH_KINDS[rest[-1]])
    return names


def make_panet(folder):
    for case in ("panet", "panet_normed"):
        drawn, normed = neck_draws.maps(case), case == "panet_normed"
        widths = [value.shape[-1] for value in drawn.values()]
        module, run = reference_necks.panet(folder, widths, neck_draws.CASES[case]["channels"], normed)
        names = panet_names(module, normed)
        fill(module, names)
        inputs = {k: nchw(value) for k, value in drawn.items()}
        outputs = dict(zip(neck_draws.levels_of(case), run(inputs), strict=True))
        differentiate(case, module, inputs, outputs, names)


# --- TensorFlow


def differentiate_keras(case, run, inputs, names):
    """Fill the variables once they are made, run and differentiate.

    `names` is a function of a variable: its layer and kind with us, and its place in ours where that is a vector of
    several of theirs; None where we have none.
    """
    import tensorflow as tf

    variables = {}
    for variable in run(inputs)[1]:
        ours = names(variable)
        if ours is None:
            variable.assign(tf.zeros_like(variable))
        else:
            variables.setdefault("/".join(ours[:2]), []).append(variable)
    for name, parts in variables.items():
        shape = tuple(parts[0].shape) or (len(parts),)
        drawn = neck_draws.variable(*name.split("/"), shape)
        for part, value in zip(parts, [drawn] if parts[0].shape.rank else drawn, strict=True):
            part.assign(value)
    with tf.GradientTape() as tape:
        tape.watch(list(inputs.values()))
        outputs = run(inputs)[0]
        total = tf.add_n(
            [tf.reduce_sum(value * neck_draws.weight_of_output(level, value.shape)) for level, value in outputs.items()]
        )
    watched = {f"C{k}": [value] for k, value in inputs.items()}
    watched |= {name: parts for name, parts in variables.items() if "/moving_" not in name}
    gradients = tape.gradient(total, watched)
    gradients = {name: np.stack(parts) if len(parts) > 1 else parts[0].numpy() for name, parts in gradients.items()}
    write(case, {level: value.numpy() for level, value in outputs.items()}, gradients)


def make_bifpn(folder):
    import tensorflow as tf

    for case in ("bifpn", "bifpn_softmax"):
        options = neck_draws.CASES[case]
        method = "attn" if options.get("fusion") == "softmax" else "fastattn"
        network = reference_necks.bifpn(folder, options["channels"], options["repeats"], method)

        def run(inputs, network=network):
            found, variables = network(inputs)
            return dict(zip(neck_draws.LEVELS_FROM_3, found, strict=True)), variables

        inputs = {k: tf.constant(value) for k, value in neck_draws.maps(case).items()}
        differentiate_keras(case, run, inputs, bifpn_name)


# Our names of the nodes of a cell, in the order of the authors'.
BIFPN_NODES = ("down_P6", "down_P5", "down_P4", "up_P3", "up_P4", "up_P5", "up_P6", "up_P7")


def bifpn_name(variable):
    """See `differentiate_keras`."""
    *path, kind = variable.name.split(":")[0].split("/")
    if path[0].startswith("resample_p"):
        layer = f"lateral_P{path[0][-1]}"
    else:
        cell, node = (int(re.search(r"\d+$", part)[0]) for part in path[1:3])
        layer = f"cell{cell}_{BIFPN_NODES[node]}"
        if kind.startswith("WSM"):
            return f"{layer}_sum", "weights"
        if path[3].startswith("resample"):
            layer += "_own" if path[3].split("_")[1] == "0" else "_coarse"
    if path[-1] == "bn":
        return f"{layer}_norm", kind
    return None if kind == "bias" else (layer, kind)


def nas_fpn_names(variables, repeats):
    """`{their variable: our layer and kind, None where we have none}`: they are made layer by layer."""
    layers = [f"lateral_C{k}" for k in (3, 4, 5)]
    layers += [f"stack{number}_cell{cell}" for number in range(repeats) for cell in range(5, 12)]
    names, layer = {}, None
    for variable in variables:
        kind = variable.op.name.rsplit("/", 1)[-1]
        if kind == "kernel":
            layer = layers.pop(0)
        is_of_norm = kind in ("gamma", "beta", "moving_mean", "moving_variance")
        names[variable.op.name] = None if kind == "bias" else (f"{layer}_norm" if is_of_norm else layer, kind)
    assert not layers, "other layers"
    return names


def make_nas_fpn(folder):
    import tensorflow.compat.v1 as tf

    options, drawn = neck_draws.CASES["nas_fpn"], neck_draws.maps("nas_fpn")
    network = reference_necks.nas_fpn(folder, options["channels"], options["repeats"])
    inputs = {k: tf.placeholder(tf.float32, value.shape) for k, value in drawn.items()}
    found = {f"P{level}": value for level, value in network(inputs).items()}
    variables = tf.global_variables()
    names = nas_fpn_names(variables, options["repeats"])
    weights = {level: neck_draws.weight_of_output(level, value.shape.as_list()) for level, value in found.items()}
    total = tf.add_n([tf.reduce_sum(found[level] * weights[level]) for level in found])
    watched = {f"C{k}": value for k, value in inputs.items()}
    watched |= {"/".join(names[each.op.name]): each for each in tf.trainable_variables() if names[each.op.name]}
    gradients = dict(zip(watched, tf.gradients(total, list(watched.values())), strict=True))
    with tf.Session() as session:
        for variable in variables:
            name, shape = names[variable.op.name], variable.shape.as_list()
            variable.load(neck_draws.variable(*name, shape) if name else np.zeros(shape, np.float32), session)
        write("nas_fpn", *session.run([found, gradients], {inputs[k]: value for k, value in drawn.items()}))


MAKERS = {"panet": make_panet, "pafpn": make_pafpn, "bifpn": make_bifpn, "nas_fpn": make_nas_fpn}

if __name__ == "__main__":
    MAKERS[sys.argv[1]](sys.argv[2])
