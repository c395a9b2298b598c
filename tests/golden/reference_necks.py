"""The pyramids after FPN by their authors' own code: make_necks.py records, benchmarks/reference_neck.py times them.

Each function is given the folder of the source that make_necks.py names, and imports it in an environment that has what
it needs. What the code imports and these functions do not reach is stood for.
"""

import importlib
import importlib.machinery
import os
import pathlib
import sys
import types
import unittest.mock

os.environ["TF_USE_LEGACY_KERAS"] = "1"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


class Absent(types.ModuleType):
    """Stands for a module that the code imports and this script does not reach."""

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        setattr(self, name, unittest.mock.MagicMock(name=f"{self.__name__}.{name}"))
        return getattr(self, name)


def absent(*names):
    for name in names:
        sys.modules[name] = Absent(name)
        sys.modules[name].__path__ = []
        sys.modules[name].__spec__ = importlib.machinery.ModuleSpec(name, None)
        parent, _, own = name.rpartition(".")
        if parent in sys.modules:
            setattr(sys.modules[parent], own, sys.modules[name])


def pafpn(folder, widths, channels, **upper):
    """mmdetection's, a module of a tuple of maps, finest first; `widths` are the channels of these."""
    # The two files alone: the package wants the operators of the whole mmcv.
    absent("cv2", "mmcv.ops", "mmdet", "mmdet.registry", "mmdet.utils", "necks")
    sys.modules["mmdet.registry"].MODELS.register_module = lambda: lambda module: module
    sys.modules["necks"].__path__ = [folder]
    return importlib.import_module("necks.pafpn").PAFPN(widths, channels, 5, **upper)


def panet(folder, widths, channels, normed):
    """`(module, run)` of ShuLiu1993/PANet; `run` gives the maps of `{k: C_k}`, finest first."""
    import torch

    sys.path.insert(0, str(pathlib.Path(folder) / "lib"))
    config = unittest.mock.MagicMock()
    absent(
        "core", "core.config", "utils", "utils.net", "nn", "modeling.ResNet", "modeling.generate_anchors",
        "modeling.generate_proposals", "modeling.collect_and_distribute_fpn_rpn_proposals",
    )  # fmt: skip
    sys.modules["core.config"].cfg = config
    sys.modules["utils.net"].get_group_gn = lambda channels: 32  # NUM_GROUPS of its configuration
    sys.modules.pop("modeling.FPN", None)
    fpn = importlib.import_module("modeling.FPN")
    fpn.mynn.init.XavierFill = lambda tensor: None
    fpn.get_min_max_levels = lambda: (2, 6)
    config.FPN.DIM, config.FPN.USE_GN = channels, normed
    config.FPN.EXTRA_CONV_LEVELS, config.GROUP_NORM.EPSILON = False, 1e-5
    config.FPN.ZERO_INIT_LATERAL = False
    info = types.SimpleNamespace(
        blobs=["res5", "res4", "res3", "res2"],
        dims=list(reversed(widths)),
        spatial_scales=[1 / 32, 1 / 16, 1 / 8, 1 / 4],
    )
    module = fpn.fpn(torch.nn.Identity, info, panet_buttomup=True)
    body = types.SimpleNamespace(convX=5, res1=lambda x: x)
    del module.conv_body
    object.__setattr__(module, "conv_body", body)

    def run(inputs):
        for k, value in inputs.items():
            setattr(body, f"res{k}", lambda _, value=value: value)
        return list(reversed(module(None)))

    return module, run


def bifpn(folder, channels, repeats, method="fastattn"):
    """google/automl's, `run({k: C_k}) -> (maps, finest first, variables)`."""
    if folder not in sys.path:
        sys.path.insert(0, folder)
        absent("dataloader", "backbone", "tf2.postprocess")
    network = importlib.import_module("tf2.efficientdet_keras")
    config = importlib.import_module("hparams_config").get_efficientdet_config("efficientdet-d0")
    config.fpn_num_filters, config.fpn_cell_repeats, config.fpn_weight_method = channels, repeats, method
    config.is_training_bn, config.strategy = False, None
    above = [
        network.ResampleFeatureMap(
            level - 3, channels, True, False, config.conv_after_downsample, name=f"resample_p{level}"
        )
        for level in (6, 7)
    ]
    cells = network.FPNCells(config)

    def run(inputs):
        maps = list(inputs.values())
        for layer in above:
            maps.append(layer(maps[-1], False, None))
        found = cells(maps, False)
        return found, [each for layer in (*above, cells) for each in layer.variables]

    return run


def nas_fpn(folder, channels, repeats):
    """tensorflow/tpu's, a function of `{k: C_k}` in a graph of TensorFlow 1, `{level: P_level}`."""
    import tensorflow.compat.v1 as tf

    tf.disable_eager_execution()
    sys.path.insert(0, folder)
    absent("modeling", "modeling.architecture", "modeling.architecture.nn_blocks", "modeling.architecture.resnet")
    sys.modules["modeling.architecture"].__path__ = [str(pathlib.Path(folder) / "modeling/architecture")]
    importlib.import_module("modeling.architecture.nn_ops")
    code = importlib.import_module("modeling.architecture.nasfpn")
    network = code.Nasfpn(fpn_feat_dims=channels, num_repeats=repeats)
    return lambda inputs: dict(sorted(network(inputs, is_training=False).items()))
