"""The towers of a dense head against torchvision's `RetinaNetHead` (golden/make_dense.py)."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_fpn.heads.dense_head import DenseHead
from keras_fpn.heads.dense_head_names import CHECKPOINT_NAMES
from keras_fpn.heads.fcos_head import FCOSHead
from keras_fpn.parts.checkpoint_names import ClassRows, named

LEVELS = {"P3": (5, 7), "P4": (3, 4)}
TENSORS = {"kernel": "weight", "gamma": "weight", "bias": "bias", "beta": "bias"}


def built(**options):
    head = DenseHead(5, 9, channels=64, name="dense_head", **options)
    head.build({level: (None, None, None, 64) for level in LEVELS})
    return head


def give(head, prefix, draws):
    for layer in head._flatten_layers(include_self=False):
        name = named(CHECKPOINT_NAMES["torchvision"], layer.name).name.replace("head.", prefix, 1)
        for variable in layer.weights:
            shape = tuple(variable.shape)
            shape = (shape[3], shape[2], *shape[:2]) if len(shape) == 4 else shape
            drawn = draws.weight(f"{name}.{TENSORS[variable.name]}", shape)
            variable.assign(drawn.transpose(2, 3, 1, 0) if len(shape) == 4 else drawn)


@pytest.mark.parametrize(("name", "options"), [("plain", {}), ("norm", {"norm": "group_norm", "norm_bias": False})])
def test_both_towers_answer_as_torchvisions(name, options, golden, draws):
    head = built(**options)
    give(head, f"{name}.", draws)
    drawn = [draws.normal(f"dense/{index}", (2, 64, *grid)) for index, grid in enumerate(LEVELS.values())]
    maps = {level: tf.constant(one.transpose(0, 2, 3, 1)) for level, one in zip(LEVELS, drawn, strict=True)}
    found = head(maps)
    for key in ("class_logits", "box_deltas"):
        ours = np.concatenate([found[key][level] for level in LEVELS], axis=1)
        np.testing.assert_allclose(ours, golden("dense")[f"head/{name}/{key}"], atol=2e-3, rtol=1e-4, err_msg=key)


def test_at_first_every_anchor_is_of_each_class_with_the_prior_probability():
    head = built(unused_logits=2)
    found = head({level: tf.zeros((1, *grid, 64)) for level, grid in LEVELS.items()})
    np.testing.assert_allclose(tf.sigmoid(found["class_logits"]["P3"]), 0.01, rtol=1e-5)  # logit -4.59512
    assert found["class_logits"]["P3"].shape == (1, 5 * 7 * 9, 7) and (found["box_deltas"]["P4"].numpy() == 0).all()
    assert head.class_rows == {"class_logits": ClassRows(1, 2, 9)}
    kernel = head.box_tower[1].kernel.numpy()
    assert kernel.std() == pytest.approx(0.01, rel=0.05) and (kernel != head.box_tower[2].kernel.numpy()).any()


def test_at_first_no_side_of_a_point_is_behind_its_relu():
    head = FCOSHead(5, 1, channels=64, name="dense_head")
    head.build({level: (None, None, None, 64) for level in LEVELS})
    found = head({level: tf.zeros((1, *grid, 64)) for level, grid in LEVELS.items()})
    assert (found["distances"]["P4"].numpy() == 1).all() and (found["centerness"]["P4"].numpy() == 0).all()


def test_group_norm_has_torchs_epsilon():
    # [-1.5, -0.5, 0.5, 1.5] has the variance 1.25; of 1e-3 an epsilon of 1e-3 would give 0.7106 of it.
    norm = built(norm="group_norm").class_norms[0]
    values = np.sqrt(1e-3) * np.array([-1.0, 1.0, -1.0, 1.0], np.float32)
    maps = tf.constant(np.broadcast_to(values.reshape(1, 2, 2, 1), (1, 2, 2, 64)))
    np.testing.assert_allclose(np.abs(norm(maps)), 1 / np.sqrt(1 + 1e-2), rtol=1e-4)


def test_it_comes_back_from_its_configuration():
    head = built(norm="group_norm", norm_groups=16, norm_bias=False, unused_logits=3, prior_probability=0.02)
    again = keras.layers.deserialize(keras.layers.serialize(head))
    assert again.get_config() == head.get_config()


@pytest.mark.parametrize(
    "options", [{"norm": "batch"}, {"norm": "group_norm", "norm_groups": 48}, {"unused_logits": -1},
                {"prior_probability": 0.0}]
)  # fmt: skip
def test_impossible_heads_are_refused(options):
    with pytest.raises(ValueError):
        built(**options)
