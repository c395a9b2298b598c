"""The pyramids after FPN under each member: named alone, trained, saved and loaded."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_fpn
from keras_fpn.config.loading import load_config

SUCCESSORS = {"panet": {}, "pafpn": {}, "bifpn": {"repeats": 1}, "nas_fpn": {"repeats": 1}}
SUCCESSORS |= {"simple_pyramid": {}}
PROPOSED = {"rpn": {"channels": 8}, "proposals": {"pre_nms_top_k_test": 60, "post_nms_top_k_test": 20}}
CLASSIFIED = PROPOSED | {"box_head": {"units": 8}, "roi_targets": {"samples_per_image": 16}}
TOWERS = {"channels": 8, "conv_layers": 1}
MEMBERS = {
    "FasterRCNN": CLASSIFIED,
    "MaskRCNN": CLASSIFIED
    | {"mask_head": {"pooling_size": 3, "conv_layers": 1, "channels": 8}, "mask_targets": {"rule": "bitmask"}},
    "CascadeRCNN": CLASSIFIED,
    "RetinaNet": {"dense_head": TOWERS},
    "FCOS": {"dense_head": TOWERS | {"norm_groups": 4}},
    "RPN": PROPOSED,
}
CONFIGS = {
    "FasterRCNN": "faster_rcnn_r50_fpn",
    "MaskRCNN": "mask_rcnn_r50_fpn",
    "CascadeRCNN": "cascade_rcnn_r50_fpn",
    "RetinaNet": "retinanet_r50_fpn",
    "FCOS": "fcos_r50_fpn",
    "RPN": "rpn_r50_fpn",
}


@pytest.mark.parametrize("pyramid", SUCCESSORS)
@pytest.mark.parametrize("member", CONFIGS)
def test_its_name_alone_exchanges_the_pyramid(member, pyramid):
    """Levels and anchors stay those of the member: P3..P7 of dense ones."""
    plain, changed = load_config(CONFIGS[member]), load_config(CONFIGS[member], [f"model.pyramid.name={pyramid}"])
    groups, others = changed.model.groups(), plain.model.groups()
    assert groups["pyramid"]["name"] == pyramid and groups["pyramid"]["levels"] == others["pyramid"]["levels"]
    assert {**groups, "pyramid": None} == {**others, "pyramid": None}


FAST = (("FasterRCNN", "panet"), ("MaskRCNN", "bifpn"), ("CascadeRCNN", "pafpn"), ("RetinaNet", "nas_fpn"))
PAIRS = [(member, pyramid) for member in MEMBERS for pyramid in SUCCESSORS]


@pytest.mark.parametrize(
    ("member", "pyramid"),
    [*FAST, *(pytest.param(*pair, marks=pytest.mark.slow) for pair in PAIRS if pair not in FAST)],
)
def test_it_learns_and_survives_a_file(member, pyramid, tmp_path):
    keras.utils.set_random_seed(3)
    settings = MEMBERS[member] | {
        "backbone": {"name": "resnet18", "width": 8, "freeze_at": 0},
        "pyramid": {"name": pyramid, "channels": 8, **SUCCESSORS[pyramid]},
        "resize": {"min_side": 64, "max_side": 96},
    }
    classes = {} if member == "RPN" else {"num_classes": 3}
    model = getattr(keras_fpn, member)(**classes, **settings)
    images = tf.random.stateless_uniform([2, 64, 96, 3], [1, 2]) * 255
    inputs = {"images": images, "image_sizes": tf.constant([[64, 96], [50, 70]])}
    boxes = tf.constant([[[10.0, 12, 40, 44]], [[20.0, 30, 60, 50]]])
    targets = {"boxes": boxes, "classes": tf.constant([[0], [1]])}
    if member == "MaskRCNN":
        targets["bitmaps"] = tf.ones([2, 1, 64, 96], tf.uint8)
    with tf.GradientTape() as tape:
        losses, _ = model.training_losses(inputs, targets, tf.zeros([2], tf.int64), training=True)
        loss = tf.add_n(list(losses.values()))
    trained = model.pyramid.trainable_variables
    gradients = tape.gradient(loss, trained)
    assert np.isfinite(float(loss)) and all(np.isfinite(each).all() for each in gradients if each is not None)
    # Of the largest levels no head may have had an RoI; all below them learn.
    assert sum(each is not None and np.any(each) for each in gradients) > len(trained) / 2
    found = model(inputs)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")(inputs)
    tf.nest.map_structure(lambda ours, theirs: np.testing.assert_allclose(ours, theirs, atol=1e-4), again, found)
