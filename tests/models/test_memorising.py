"""From random weights to four images known by heart: the whole chain of each task learns."""

import json
import os
import subprocess
import sys
import textwrap

import pytest

from keras_fpn.data import write_shapes

# In a process of its own, with a thread a core and sums in one order: how far so many steps at a high rate come hangs
# on both, and the schedule was made for these.
MEMORISE = """
    import json, sys
    import keras, keras_fpn
    import tensorflow as tf
    from keras_fpn.data import load_coco, read_coco
    from keras_fpn.evaluation.measuring import measure
    from keras_fpn.models.optimizers import SGD, WarmupMultiStep

    annotations, images, name, heads, steps = sys.argv[1:]
    steps = int(steps)
    keras.utils.set_random_seed(0)
    tf.config.experimental.enable_op_determinism()
    detector = getattr(keras_fpn, name)
    wanted = detector.fields_to_learn(keras_fpn.models.settings.resolve(detector.architecture, "torchvision"))
    data_set = read_coco(annotations, images, fields=wanted)
    model = detector.for_data(
        data_set,
        backbone={"name": "resnet18", "width": 16, "norm": "batch_norm", "freeze_at": 0},
        profile="torchvision",
        resize={"min_side": 128, "max_side": 128},
        pyramid={"channels": 32},
        anchors={"sizes": {"P2": [10.0], "P3": [20.0], "P4": [40.0], "P5": [80.0], "P6": [110.0]}},
        rpn={"channels": 32},
        proposals={"pre_nms_top_k_train": 200, "post_nms_top_k_train": 100},
        anchor_targets={"samples_per_image": 64},
        roi_targets={"samples_per_image": 64},
        roi_pooling={"aligned": True},
        box_head={"units": 128, "initializer": "xavier"},
        **json.loads(heads),
    )
    rate = WarmupMultiStep(0.04, warmup_steps=20, warmup_factor=0.1, milestones=[steps * 3 // 4, steps * 9 // 10])
    model.compile(SGD(rate, global_clipnorm=10.0))
    batches = load_coco(data_set, batch_size=4, min_side=128, max_side=128, repeat=True, fields=wanted)
    model.fit(batches, steps_per_epoch=steps, verbose=0, shuffle=False)
    print("METRICS", json.dumps(measure(model, data_set, batch_size=4)[0]))
"""
MASKS = {"mask_head": {"conv_layers": 2, "channels": 64}}
KEYPOINTS = {"keypoint_head": {"conv_layers": 4, "channels": 64}}
MEMBERS = {
    "FasterRCNN": ({}, 600, {"AP": 0.95}),
    "MaskRCNN": (MASKS, 1200, {"mask/AP": 0.88, "mask/AP50": 0.99}),
    "KeypointRCNN": (KEYPOINTS, 1200, {"keypoints/AP": 0.95}),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", MEMBERS)
def test_a_random_model_memorises_four_images(tmp_path, name):
    write_shapes(tmp_path, num_train=4, num_val=1, size=128, seed=2)
    heads, steps, least = MEMBERS[name]
    annotations = tmp_path / "annotations" / "instances_train.json"
    arguments = [str(annotations), str(tmp_path / "train"), name, json.dumps(heads), str(steps)]
    threads = ("TF_NUM_INTRAOP_THREADS", "OMP_NUM_THREADS")
    environment = {key: value for key, value in os.environ.items() if key not in threads}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(MEMORISE), *arguments],
        capture_output=True, text=True, env=environment | {"PYTHONPATH": os.getcwd()},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    metrics = json.loads(done.stdout.split("METRICS ")[-1])
    found = {metric: metrics[metric] for metric in least}
    assert all(found[metric] > bound for metric, bound in least.items()), found
