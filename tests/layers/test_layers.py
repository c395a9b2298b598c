"""One harness for every layer that the package registers, whichever they are.

It runs tiny detectors of all profiles, notes every call of a registered layer with its arguments and result,
and plays each call back on a layer made from the first one's configuration. A new layer is tested as soon as
a detector below uses it; one that none uses fails `test_every_registered_layer_is_seen`.
"""

import importlib
import inspect
import itertools
import json
import pkgutil

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_fpn
from keras_fpn.layers.fixed_arguments import FixedArguments

# What of the package's parts no profile has: named here, so that a layer is played back in each of its ways.
VARIANTS = {
    "detectron2": {},
    "torchvision": {"profile": "torchvision"},
    "paper": {"profile": "paper"},
    "gather": {"profile": "torchvision", "roi_pooling": {"implementation": "gather"}},
    "live": {"backbone": {"name": "resnet18", "width": 8, "norm": "batch_norm"}},
    "convolutions": {
        "box_head": {"conv_layers": 2, "conv_channels": 8, "fc_layers": 1, "norm": "batch_norm", "units": 16}
        | {"background_logits": 3, "background_boxes": 3}
    },
}
C4 = {
    "pyramid": {"name": "single_scale", "levels": ["C4"]},
    "anchors": {"sizes": {"C4": [16.0, 32.0]}},
    "roi_pooling": {"levels": ["C4"], "output_size": 14},
    "box_head": {"name": "conv5"},
}
VARIANTS |= {"conv5": C4, "live conv5": C4 | VARIANTS["live"]}
VARIANTS |= {"depthwise": {"backbone": {"name": "mobilenet_v3_large"}}}
VARIANTS |= {"grouped": {"backbone": {"name": "resnext50_32x4d", "width": 16}}}
VARIANTS |= {name: {"backbone": {"name": name, "drop_path": 0.5}} for name in ("swin_t", "convnext_tiny")}
VARIANTS |= {"plain transformer": {"backbone": {"name": "vit_b"}, "pyramid": {"name": "simple_pyramid", "channels": 8}}}
VARIANTS |= {"adaptive": {"roi_pooling": {"method": "adaptive", "norm": "group_norm"}}}
VARIANTS |= {
    "adaptive vectors": {
        "roi_pooling": {"method": "adaptive_vectors", "norm": "group_norm", "units": 256},
        "box_head": {"units": 256, "name": "normed_fc"},
    }
}
VARIANTS |= {"weighted sums": {"pyramid": {"name": "bifpn", "channels": 8, "repeats": 1, "norm": "group_norm"}}}
VARIANTS |= {name: {"detections": {"suppression": name}} for name in ("class_agnostic", "soft_linear")}
SEGMENTS = {"units": 8, "mask_size": 6, "samples_per_image": 8, "max_detections": 5, "canonical_size": 8.0}
MASKS = {"pooling_size": 3, "conv_layers": 1, "channels": 8, "norm": "batch_norm"}
KEYPOINTS = {"pooling_size": 3, "conv_layers": 1, "channels": 8}
TOWERS = {"channels": 16, "conv_layers": 1}
DENSE = {
    "RetinaNet": {"dense_head": TOWERS, "anchors": {"sizes": {f"P{k}": [2.0 ** (k + 1)] for k in range(3, 8)}}},
    "FCOS": {"dense_head": TOWERS | {"norm_groups": 4}},
}
TARGETS = {"boxes": [[[10.0, 12, 40, 44]], [[20.0, 30, 60, 50]]], "classes": [[0], [1]]}
MOST_CALLS = 4  # of one layer


def registered_layers():
    """Every layer class of the package, `{registered name: class}`, without models, which wire layers."""
    for module in pkgutil.walk_packages(keras_fpn.__path__, "keras_fpn."):
        if not module.name.startswith(("keras_fpn.commands", "keras_fpn.configs", "keras_fpn.export")):
            importlib.import_module(module.name)
    return {
        name: cls
        for name, cls in keras.saving.get_custom_objects().items()
        if name.startswith("keras_fpn>")
        and isinstance(cls, type)  # and no function
        and issubclass(cls, keras.layers.Layer)
        and not issubclass(cls, keras.Model)
    }


class Call:
    """One call of a layer: the layer, its arguments and what came out."""

    def __init__(self, layer, args, kwargs, result):
        self.layer, self.args, self.kwargs, self.result = layer, args, kwargs, result

    def kind(self):
        """Configuration without names, and ranks: calls alike in both test the same."""
        config = {key: value for key, value in self.layer.get_config().items() if key != "name"}
        return json.dumps(
            [config, [len(value.shape) for value in self.tensors()]], sort_keys=True, default=str
        )

    def tensors(self):
        return [value for value in tf.nest.flatten((self.args, self.kwargs)) if tf.is_tensor(value)]

    def on(self, layer, tensors=None):
        """The same call of another layer, with other tensors if given."""
        if tensors is None:
            return layer(*self.args, **self.kwargs)
        left = iter(tensors)
        flat = [next(left) if tf.is_tensor(v) else v for v in tf.nest.flatten((self.args, self.kwargs))]
        args, kwargs = tf.nest.pack_sequence_as((self.args, self.kwargs), flat)
        return layer(*args, **kwargs)


@pytest.fixture(scope="module")
def calls(tiny_settings):
    """Calls of every registered layer, one for each configuration met: `{registered name: [Call]}`."""
    registered = {cls: name for name, cls in registered_layers().items()}
    noted, plain = {}, keras.layers.Layer.__call__

    def noting(layer, *args, **kwargs):
        result = plain(layer, *args, **kwargs)
        name = registered.get(type(layer))
        symbolic = any(isinstance(value, keras.KerasTensor) for value in tf.nest.flatten(result))
        if name and not symbolic:
            call = Call(layer, args, kwargs, result)
            noted.setdefault(name, {}).setdefault(call.kind(), call)
        return result

    images = tf.random.stateless_uniform([2, 64, 96, 3], [1, 2]) * 255
    inputs = {"images": images, "image_sizes": tf.constant([[64, 96], [50, 70]])}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keras.layers.Layer, "__call__", noting)
        for changes in VARIANTS.values():
            keras.utils.set_random_seed(1)
            model = keras_fpn.FasterRCNN(**tiny_settings() | changes)
            model(inputs)
        shared = {key: tiny_settings()[key] for key in ("backbone", "pyramid")}
        keras_fpn.SegmentProposals(segments=SEGMENTS, **shared)(inputs)
        keras_fpn.MaskRCNN(**tiny_settings(), mask_head=MASKS)(inputs)
        keras_fpn.KeypointRCNN(**tiny_settings(), num_keypoints=3, keypoint_head=KEYPOINTS)(inputs)
        alike = {key: tiny_settings()[key] for key in ("num_classes", "backbone", "pyramid")}
        dense = []
        for name, settings in DENSE.items():
            model = getattr(keras_fpn, name)(**alike, **settings)
            model(inputs)
            targets = {key: tf.constant(value) for key, value in TARGETS.items()}
            model.training_losses(inputs, targets, tf.zeros([2], tf.int64), training=False)
            dense.append(model)
        for model, suppression in itertools.product(dense, ("class_agnostic", "soft_linear")):
            model.with_settings(detections={"suppression": suppression})(inputs)
    return {name: list(of_layer.values())[:MOST_CALLS] for name, of_layer in noted.items()}


def rebuilt(layer):
    """A layer from the configuration after a trip through JSON, built and with the same weights."""
    serialized = json.loads(json.dumps(keras.saving.serialize_keras_object(layer)))
    again = keras.saving.deserialize_keras_object(serialized)
    if not again.built:
        again.build_from_config(layer.get_build_config() or {})
    return again


def same(result, expected, **tolerance):
    tf.nest.assert_same_structure(result, expected)
    for ours, theirs in zip(tf.nest.flatten(result), tf.nest.flatten(expected), strict=True):
        assert ours.dtype == theirs.dtype
        np.testing.assert_allclose(ours, theirs, **tolerance)


def with_weights_of(layer, call):
    again = rebuilt(layer)
    call.on(again)  # builds what is built by its first call
    again.set_weights(layer.get_weights())
    return again


LAYERS = sorted(registered_layers())


def test_every_registered_layer_is_seen(calls):
    assert LAYERS
    assert set(LAYERS) == set(calls)


@pytest.mark.parametrize("name", LAYERS)
def test_configuration_survives_the_round_trip(calls, name):
    for call in calls[name]:
        again = rebuilt(call.layer)
        assert type(again) is type(call.layer)
        first, second = call.layer.get_config(), again.get_config()
        assert json.dumps(first, sort_keys=True) == json.dumps(second, sort_keys=True)


@pytest.mark.parametrize("name", LAYERS)
def test_every_argument_of_the_constructor_is_in_the_configuration(calls, name):
    of_keras = set(inspect.signature(keras.layers.Layer.__init__).parameters)  # not all of them are in Keras 3.8's
    for call in calls[name]:
        parameters = inspect.signature(type(call.layer).__init__).parameters.values()
        arguments = {p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
        assert arguments - of_keras <= set(call.layer.get_config())


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_from_the_configuration_answers_the_same(calls, name):
    for call in calls[name]:
        again = with_weights_of(call.layer, call)
        assert [w.path.split("/")[-2:] for w in again.weights] == [
            w.path.split("/")[-2:] for w in call.layer.weights
        ]
        same(call.on(again), call.result, atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("name", LAYERS)
def test_in_a_graph_the_answer_is_the_same(calls, name):
    for call in calls[name]:
        graph = tf.function(lambda *tensors, call=call: call.on(call.layer, tensors))
        same(graph(*call.tensors()), call.result, atol=2e-3, rtol=1e-4)


@pytest.mark.parametrize("name", LAYERS)
def test_in_a_graph_of_unknown_sizes_the_answer_is_the_same(calls, name):
    """As in `fit` on images of many sizes: only ranks and last axes are known."""
    for call in calls[name]:
        specs = [
            tf.TensorSpec(
                [None] * (len(t.shape) - 1) + [t.shape[-1]] if len(t.shape) > 1 else t.shape, t.dtype
            )
            for t in call.tensors()
        ]
        graph = tf.function(lambda *tensors, call=call: call.on(call.layer, tensors), input_signature=specs)
        same(graph(*call.tensors()), call.result, atol=2e-3, rtol=1e-4)


@pytest.mark.parametrize("name", LAYERS)
def test_mixed_bfloat16(calls, name):
    """Float32 weights; bfloat16 where a layer follows the policy; finite, and near the float32 answer."""
    for call in calls[name]:
        config = call.layer.get_config() | {"dtype": "mixed_bfloat16"}
        outside = keras.config.dtype_policy()
        keras.config.set_dtype_policy("mixed_bfloat16")
        try:
            layer = type(call.layer).from_config(config)
        finally:
            keras.config.set_dtype_policy(outside)
        call.on(layer)
        layer.set_weights(call.layer.get_weights())
        assert {weight.dtype for weight in layer.weights} <= {"float32", "int32"}  # a count is whole
        models = [part for part in layer._flatten_layers(include_self=False) if isinstance(part, keras.Model)]
        # A model that a layer is given keeps the policy under which it was made.
        given = {id(part) for model in models for part in model._flatten_layers()}
        inner = [part for part in layer._flatten_layers(include_self=False) if id(part) not in given]
        assert all(part.compute_dtype == "bfloat16" for part in inner)
        result = call.on(layer)
        tf.nest.assert_same_structure(result, call.result)
        for ours, theirs in zip(tf.nest.flatten(result), tf.nest.flatten(call.result), strict=True):
            ours = tf.cast(ours, theirs.dtype).numpy()
            assert np.isfinite(ours).all()
            # bfloat16 has 8 bits: a hundredth of the largest value.
            np.testing.assert_allclose(ours, theirs, atol=0.02 * max(1e-3, np.abs(theirs).max()))


@pytest.mark.parametrize("name", LAYERS)
def test_layers_take_bfloat16_features(calls, name):
    """Image-shaped tensors (rank 4 or more) arrive as bfloat16 under a mixed policy; boxes stay float32."""
    for call in calls[name]:
        tensors = [
            tf.cast(t, tf.bfloat16) if len(t.shape) >= 4 and t.dtype == tf.float32 else t
            for t in call.tensors()
        ]
        for value in tf.nest.flatten(call.on(call.layer, tensors)):
            assert np.isfinite(tf.cast(value, tf.float32)).all()


@pytest.mark.parametrize("name", LAYERS)
def test_settings_cannot_change(calls, name):
    """A graph may have been made with them, which would not follow."""
    layer = calls[name][0].layer
    norms = ("FrozenBatchNormalization", "MaskedBatchNormalization", "BatchNormalization", "GroupNormalization")
    of_keras = (*norms, "UpsampleLike", "PatchMerging", "PointwiseGELU", "GroupedConv2D", "NormalizedDepthwiseConv2D")
    if name.rpartition(">")[2] in of_keras:
        pytest.skip("has no settings, or those of Keras' own layer")
    assert isinstance(layer, FixedArguments) and layer.setting_names
    for setting in layer.setting_names:
        own = getattr(layer, setting)
        with pytest.raises(AttributeError, match=rf"{setting}: .* cannot change; .*model.with_settings\(.* gives"):
            setattr(layer, setting, own)
        if isinstance(own, dict):
            with pytest.raises(TypeError, match="cannot change"):
                own["P2"] = 3
        if isinstance(own, list):
            with pytest.raises(TypeError, match="cannot change"):
                own[0] = 3
        assert type(layer.get_config()[setting]) in (int, float, str, bool, list, dict, type(None))
        assert getattr(layer, setting) is own
    layer.trainable = layer.trainable  # Keras' own may change
    object.__setattr__(layer, "call", layer.call)  # so may what a layer does: exporters put in operators of theirs
    object.__delattr__(layer, "call")
