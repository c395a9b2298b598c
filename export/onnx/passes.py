"""The order of the passes that clean an ONNX graph."""

from types import ModuleType
from typing import TYPE_CHECKING

from keras_fpn.export.onnx import folding, glue, layout
from keras_fpn.export.onnx.graph import Graph

if TYPE_CHECKING:
    from onnx import ModelProto

PASSES = (
    glue.drop_identities,
    glue.drop_whole_slices,
    glue.drop_casts,
    folding.explicit_padding,
    folding.fold_padding,
    folding.fold_subsampling,
    folding.name_hard_activations,  # before a sum by 3 could go into a convolution
    folding.fold_scale_and_shift,
    folding.name_global_pooling,
    layout.constant_shapes,
    layout.reshape_once,
    layout.cancel_transposes,
    layout.transpose_earlier,
    layout.flatten_channels_first,
    layout.gather_later,
    glue.merge_equals,
)


def clean(onnx: ModuleType, model: "ModelProto") -> "ModelProto":
    """The same model with fewer nodes.

    Args:
        onnx: the module.
        model: a ModelProto; changed.
    """
    graph = Graph(onnx, model)
    while any([one(graph) for one in PASSES]):
        graph.sweep()
        graph.infer()
    return graph.written()
