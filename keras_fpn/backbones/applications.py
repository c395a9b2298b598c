"""Any convolutional network of `keras.applications`, tapped at strides 4, 8, 16 and 32."""

import math
import warnings

import keras

from keras_fpn.console.errors import UserError

_PROBE_SIDE = 512
# Layers that change the border, not the content; their output is no feature map.
_NOT_TAPPED = (keras.layers.InputLayer, keras.layers.ZeroPadding2D, keras.layers.Cropping2D)


def build_application(
    name: str, norm: str = "frozen_batch_norm", freeze_at: int = 2, weights: str | None = None
) -> keras.Model:
    """Functional model image -> {"C2".."C5"}.

    The tap of a stride is the last layer at that stride through which everything flows (no connection passes it
    by); in networks without such layers, the last one at that stride.

    Args:
        name: name of a function of `keras.applications`, such as "MobileNetV2".
        norm: "frozen_batch_norm" runs all batch normalisation in inference mode; "batch_norm" leaves it live.
        freeze_at: 0 trains everything; k does not train the layers up to the tap Ck (1: up to stride 2).
        weights: None, "imagenet" (downloaded by Keras when it is not in its cache) or the path of a weights file.

    Returns:
        `keras.Model` from `[B, H, W, 3]` normalised pixels to `{"Ck": [B, h, w, C_k]}`, with `strides`, `{"Ck": 2^k}`.

    Raises:
        UserError: for an unknown name or norm, a network without those strides, or weights that cannot be had.
    """
    check_norm(name, norm)
    network = _network(name, weights)
    strides = _layer_strides(network, name)
    taps = {f"C{k}": tap for k in (2, 3, 4, 5) if (tap := _tap(network, strides, 2**k))}
    missing = [level for level in ("C2", "C3", "C4", "C5") if level not in taps]
    if missing:
        raise UserError(f"backbone.name: {name} has no feature map for {', '.join(missing)}; choose another network")
    freeze(network, _tap(network, strides, 2**freeze_at) if freeze_at else None, norm)
    model = keras.Model(network.input, {level: taps[level].output for level in sorted(taps)}, name=network.name)
    model.strides = {level: strides[taps[level].name] for level in sorted(taps)}
    return model


def check_norm(name: str, norm: str) -> None:
    """Refuse a normalisation that a network of Keras' own layers has not.

    Raises:
        UserError: it is neither frozen nor live batch normalisation.
    """
    if norm not in ("frozen_batch_norm", "batch_norm"):
        raise UserError(f"backbone.norm: {name} has the normalisations of Keras; give frozen_batch_norm or batch_norm")


def _network(name, weights):
    try:
        with warnings.catch_warnings():
            # Keras warns that the weights were trained at 224 px; a detector never runs at that size.
            warnings.simplefilter("ignore")
            return getattr(keras.applications, name)(
                include_top=False, weights=weights, input_shape=(None, None, 3)
            )
    except Exception as error:
        if weights is None:
            raise _no_size(name, error) from error
        reason = str(error).strip().splitlines()[0]
        raise UserError(
            f"backbone.weights: {weights!r} for {name} could not be loaded ({reason}); with a network Keras downloads "
            "them once, without one give the path of a weights file, or null to start from random weights"
        ) from error


def _no_size(name, error):
    reason = str(error).strip().splitlines()[0]
    return UserError(f"backbone.name: {name} does not take images of every size ({reason}); choose another network")


def _layer_strides(network, name):
    """`{layer name: stride}` of the layers with a feature map whose size is a power of two below the image's."""
    layers = [layer for layer in network.layers if len(getattr(layer.output, "shape", ())) == 4]
    probe = keras.Model(network.input, [layer.output for layer in layers])
    try:
        shapes = probe.compute_output_shape((1, _PROBE_SIDE, _PROBE_SIDE, 3))
    except ValueError as error:  # NASNet pads for one size, known when it is built
        raise _no_size(name, error) from error
    strides = {}
    for layer, shape in zip(layers, shapes, strict=True):
        octaves = math.log2(_PROBE_SIDE / shape[1])
        # Networks with unpadded convolutions (Inception) lose some border: near a power of two is enough.
        if shape[1] > 1 and abs(octaves - round(octaves)) < 0.3:
            strides[layer.name] = 2 ** round(octaves)
    return strides


def _tap(network, strides, stride):
    """The layer at this stride that stands for it, or None."""
    cuts = _cuts(network)
    at_stride = [
        layer
        for layer in network.layers
        if strides.get(layer.name) == stride and not isinstance(layer, _NOT_TAPPED)
    ]
    candidates = [layer for layer in at_stride if layer.name in cuts] or at_stride
    return candidates[-1] if candidates else None


def _cuts(network):
    """Names of the layers that no connection passes by."""
    order = {layer.name: index for index, layer in enumerate(network.layers)}
    reach, cuts = 0, set()
    for index, layer in enumerate(network.layers):
        if reach <= index:
            cuts.add(layer.name)
        consumers = [order[node.operation.name] for node in layer._outbound_nodes if node.operation.name in order]
        reach = max([reach, *consumers])
    return cuts


def freeze(network: keras.Model, last_frozen: keras.layers.Layer | None, norm: str) -> None:
    """Do not train the layers of a network up to one, and with "frozen_batch_norm" no batch normalisation."""
    is_frozen = last_frozen is not None
    for layer in network.layers:
        if is_frozen or (norm == "frozen_batch_norm" and isinstance(layer, keras.layers.BatchNormalization)):
            layer.trainable = False
        if layer is last_frozen:
            is_frozen = False
