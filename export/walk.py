"""The stages of a detector one by one, as the exporters go through them; what they ask of one, see `Stage`."""

from keras_fpn.batches import with_sizes


def walk(model, inputs):
    """Run a model stage by stage.

    Args:
        inputs: of a batch, see `Detector`.

    Yields:
        `(stage, features, state)` of each stage, once it has run.
    """
    state = {"inputs": with_sizes(inputs)}
    features = model.features(state["inputs"])
    for stage in model.stages:
        state = state | stage.infer(features, state)
        yield stage, features, state
