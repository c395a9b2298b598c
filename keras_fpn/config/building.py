"""A configuration -> an untrained model, and back."""


from typing import Any

from keras_fpn.config.loading import Config
from keras_fpn.models.detector import Detector, architecture
from keras_fpn.parts.read_only import plain


def build_model(config: Config, classes: Any) -> Detector:
    """Return an untrained detector for the `class_names` and `category_ids` of a data set."""
    return architecture(config.model.architecture).for_data(
        classes, profile=config.model.profile, seed=config.training.seed, **config.model.differences()
    )


def as_built(config: Config, model: Detector) -> Config:
    """`config` with every setting as the model has it (a backbone may bring pixel statistics of its own)."""
    tree = config.model_dump()
    tree["model"] |= plain(model.settings)
    return Config.model_validate(tree)
