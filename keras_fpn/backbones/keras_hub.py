"""Backbones of KerasHub with pyramid outputs, by the name of a preset or its folder."""

import functools
from types import ModuleType
from typing import Any

import keras
import numpy as np

from keras_fpn.backbones.applications import check_norm, freeze
from keras_fpn.backbones.given import strides_of_maps
from keras_fpn.console import extras
from keras_fpn.console.errors import UserError

PREFIX = "keras_hub:"


def build_keras_hub(
    name: str, norm: str = "frozen_batch_norm", freeze_at: int = 2, weights: str | None = None
) -> keras.Model:
    """Functional model image -> {"C2".."C5"}.

    Args:
        name: "keras_hub:" and a preset of KerasHub ("resnet_50_imagenet"), a handle ("hf://...") or a folder that
            `save_to_preset` wrote.
        norm: "frozen_batch_norm" runs all batch normalisation in inference mode; "batch_norm" leaves it live.
        freeze_at: 0 trains everything; k does not train the layers up to the tap Ck (1: up to C2, too).
        weights: None, or "preset" for its own.

    Returns:
        `keras.Model` from `[B, H, W, 3]` normalised pixels to `{"Ck": [B, h, w, C_k]}`, with `strides`: what KerasHub
        calls P2 to P5.

    Raises:
        UserError: KerasHub is not installed, the preset cannot be had, or has no pyramid outputs.
    """
    check_norm(name, norm)
    network = _load(name, load_weights=weights is not None)
    outputs = getattr(network, "pyramid_outputs", None)
    if not outputs:
        type_name = type(network).__name__
        raise UserError(f"backbone.name: {name} is a {type_name}, which has no pyramid outputs; choose another preset")
    taps = {f"C{level[1:]}": output for level, output in sorted(outputs.items()) if "2" <= level[1:] <= "5"}
    model = keras.Model(network.input, taps, name=network.name)
    model.strides = strides_of_maps(model)
    last = taps[max((level for level in taps if level <= f"C{freeze_at}"), default=min(taps))]
    freeze(network, last._keras_history.operation if freeze_at else None, norm)
    return model


@functools.cache  # asked for at each look at the settings, and of files
def preset_pixels(name: str) -> dict[str, Any] | None:
    """Pixel normalisation of a preset's image converter: `channel_order`, `mean`, `std`; None where it has none.

    Raises:
        UserError: as of `build_keras_hub`.
    """
    hub = _hub()
    try:
        converter = hub.layers.ImageConverter.from_preset(name.removeprefix(PREFIX))
    except Exception:  # of the preset, of a file, of the network
        _load(name, load_weights=False)  # tells where there is no such preset at all
        return None
    factor = np.broadcast_to(1.0 if converter.scale is None else converter.scale, 3)
    offset = np.broadcast_to(0.0 if converter.offset is None else converter.offset, 3)
    mean, std = (-offset / factor).tolist(), (1.0 / factor).tolist()
    # As short as the number that was written: 123.675, not 123.67500305.
    shorten = [[float(f"{value:.6g}") for value in values] for values in (mean, std)]
    return {"channel_order": "RGB", "mean": shorten[0], "std": shorten[1]}


def _load(name, load_weights):
    hub = _hub()
    try:
        return hub.models.Backbone.from_preset(name.removeprefix(PREFIX), load_weights=load_weights)
    except Exception as error:  # of the network, of a file, of a name, as KerasHub and its sources have them
        reason = str(error).strip().splitlines()[0]
        raise UserError(
            f"backbone.name: {name} cannot be had ({reason[:200]}); give a preset of KerasHub, which downloads it once,"
            " or the folder of one"
        ) from error


def _hub() -> ModuleType:
    return extras.require("keras_hub", extra="hub")
