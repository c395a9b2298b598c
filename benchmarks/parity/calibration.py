"""Factors and shifts that keep a network of random weights in range (torch side).

One forward pass: every convolution and linear layer is scaled as its output is seen, so that what a batch norm
receives agrees in size with its statistics and all else has a standard deviation of 1. The predictors' mean output is
taken off their bias, and they get the spread that `spreads` has for them: hundreds of detections of many classes.
"""

import re

import catalogue
import drawn_checkpoints
import spreads
import torch
from torch import nn


def recipe(name, module, run):
    """Draw the weights of `module`, calibrate them during one `run()`, leave them there and return their recipe.

    Returns:
        `{"model", "shapes", "factors", "shifts"}`, see `drawn_checkpoints.tensors`.
    """
    state = module.state_dict()
    shapes = {
        key: list(value.shape)
        for key, value in state.items()
        if value.is_floating_point() and not key.endswith(("pixel_mean", "pixel_std"))
    }
    result = {"model": name, "shapes": shapes, "factors": {}, "shifts": {}}
    load(module, result)
    moments = {}
    hooks = _hooks(module, result, moments)
    with torch.no_grad():
        run()
    for hook in hooks:
        hook.remove()
    for layer, of_levels in moments.items():
        _spread(layer, *of_levels, spreads.of(name, layer), result)
    load(module, result)
    return result


def load(module, result):
    tensors = {name: torch.from_numpy(value) for name, value in drawn_checkpoints.tensors(result).items()}
    missing, unexpected = module.load_state_dict(tensors, strict=False)
    missing = [name for name in missing if not name.endswith("num_batches_tracked")]
    assert not missing and not unexpected, (missing, unexpected)


def _is_norm(module):
    return "running_mean" in dict(module.named_buffers(recurse=False))


def _hooks(module, result, moments):
    modules = dict(module.named_modules())
    hooks, normed = [], set()
    for name, part in modules.items():
        if _is_norm(part):
            convolution = _convolution_before(name)
            normed.add(convolution)
            hooks.append(part.register_forward_pre_hook(_before_norm(name, convolution, part, result)))
    for name, part in modules.items():
        if isinstance(part, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)) and name not in normed:
            hooks.append(part.register_forward_hook(_after_layer(name, part, result, moments)))
    return hooks


def _convolution_before(norm):
    if norm.endswith(".norm"):
        return norm.removesuffix(".norm")
    if re.search(r"(^|\.)bn\d$", norm):
        return re.sub(r"bn(\d)$", r"conv\1", norm)
    return norm.removesuffix(".1") + ".0"


def _rounded(value):
    return float(f"{float(value):.4g}")


def _before_norm(name, convolution, norm, result):
    def hook(_, inputs):
        key = f"{convolution}.weight"
        if key not in result["factors"]:
            result["factors"][key] = _rounded(norm.running_var.mean().sqrt() / inputs[0].std())
        return (inputs[0] * result["factors"][key],)

    return hook


def _after_layer(name, layer, result, moments):
    spread = spreads.of(result["model"], name)

    def hook(_, inputs, output):
        is_new = f"{name}.weight" not in result["factors"]
        if spread is None:
            if is_new:
                _scale(name, output.detach(), layer, result)
        elif is_new or spread.over_levels:
            values = _channels_last(output.detach()) - layer.bias
            means, variances = moments.setdefault(name, ([], [])) if spread.over_levels else ([], [])
            means.append(values.mean(0))
            variances.append(values.std(0).square())
            if is_new:
                _spread(name, means, variances, spread, result)
        return _with_recipe(name, layer, output, result)

    return hook


def _channels_last(values):
    return values.movedim(1, -1).flatten(0, -2)


def _scale(name, output, layer, result):
    bias = 0.0 if layer.bias is None else layer.bias
    result["factors"][f"{name}.weight"] = _rounded(1 / (_channels_last(output) - bias).std())


def _spread(name, means, variances, spread, result):
    """Factors and shifts of a predictor; lists over levels of the moments of each of its outputs."""
    mean = torch.stack(means).mean(0)
    variance = torch.stack([own + (each - mean).square() for own, each in zip(variances, means, strict=True)]).mean(0)
    # One factor for all: what varies little from box to box would only have its rounding magnified.
    factors = (spread.deviation / variance.mean().sqrt()).expand(len(mean))
    result["factors"][f"{name}.weight"] = [_rounded(value) for value in factors]
    shifts = spread.mean - mean * factors
    result["shifts"][f"{name}.bias"] = [_rounded(value) for value in shifts]
    _lower_unused(name, spread, result)


def _lower_unused(name, spread, result):
    factors, shifts = result["factors"][f"{name}.weight"], result["shifts"][f"{name}.bias"]
    if spread.unused is None or len(shifts) % catalogue.ROWS:
        return
    share = spread.unused.deviation / spread.deviation
    for row in range(len(shifts)):
        if row % catalogue.ROWS in spread.unused.ids:
            factors[row] = _rounded(factors[row] * share)
            shifts[row] = _rounded((shifts[row] - spread.mean) * share + spread.unused.mean)


def _with_recipe(name, layer, output, result):
    bias = 0.0 if layer.bias is None else layer.bias
    shape = (-1,) + (1,) * (output.ndim - 2)
    bias = bias.reshape(shape) if layer.bias is not None else bias
    factor = torch.tensor(result["factors"][f"{name}.weight"])
    if factor.ndim:
        factor = factor.reshape(shape)
    shift = result["shifts"].get(f"{name}.bias")
    shift = 0.0 if shift is None else torch.tensor(shift).reshape(shape)
    return (output - bias) * factor + bias + shift
