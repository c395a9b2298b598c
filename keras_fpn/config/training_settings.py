"""Settings of a training run; nothing here imports TensorFlow."""

from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from keras_fpn.parts.settings import Probability, Settings, Share


class TrainingSettings(Settings):
    """The length and the optimizer of a run. Its length is given in `steps` or in `epochs`, not in both.

    `optimizer`: "sgd" is that of the published recipes, with `momentum`, and adds `weight_decay` times the weights to
    their gradient; "adamw" (Loshchilov and Hutter 2019; `keras.optimizers.AdamW`) takes it, times the rate, off the
    weights, and wants about a twentieth of the rate and a hundred times the decay.

    `no_weight_decay`: parts of the paths of variables that no decay touches, such as ["norm"]. `layer_decay`: factor by
    which the learning rate falls from each group of the backbone's layers to the one before it, towards the image; 1:
    all learn alike. Of ViT and ConvNeXt, grouped as by their authors.

    `schedule`: "steps", at whose `milestones`, shares of the run ("60/90": after 60k of 90k steps), the learning
    rate is multiplied by `gamma`; or "cosine", by which it falls to 0 in half a wave
    (`keras.optimizers.schedules.CosineDecay`). In both `warmup_steps` rise linearly from `warmup_factor` times it.
    `steps_per_epoch`: how often progress is written and a checkpoint kept (null: one pass over the data).
    `evaluate_every`: epochs between COCO evaluations, 0 for the end only, and `evaluation_images` bounds their
    size. `clip_norm`: global gradient norm, null for none. `checkpoint_minutes`: how often a checkpoint is kept
    within an epoch, null for at its end alone. `deterministic`: TensorFlow adds up in one order, so that two runs,
    or a run and its resumed twin, agree to the last bit and not just up to rounding; slower. `weights`: a .keras
    file whose weights the run starts from where they fit, or the name of a published file, null for fresh ones.
    `freeze`: parts that stay as they start, statistics included: of backbone, pyramid and the heads.
    """

    steps: PositiveInt | None = 90_000
    epochs: PositiveInt | None = None
    steps_per_epoch: PositiveInt | None = None
    optimizer: Literal["sgd", "adamw"] = "sgd"
    learning_rate: PositiveFloat = 0.02
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    weight_decay: NonNegativeFloat = 1e-4
    no_weight_decay: list[str] = []
    layer_decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    clip_norm: PositiveFloat | None = None
    warmup_steps: NonNegativeInt = 1000
    warmup_factor: Probability = 1e-3
    schedule: Literal["steps", "cosine"] = "steps"
    milestones: list[Share] = [60 / 90, 80 / 90]
    gamma: PositiveFloat = 0.1
    evaluate_every: NonNegativeInt = 1
    evaluation_images: PositiveInt | None = None
    checkpoint_minutes: PositiveFloat | None = 10.0
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    deterministic: bool = False
    weights: str | None = None
    freeze: list[str] = []

    @model_validator(mode="after")
    def _one_length(self):
        if (self.steps is None) == (self.epochs is None):
            raise ValueError("give the length of the run in steps or in epochs, and leave the other null")
        if self.milestones != sorted(self.milestones):
            raise ValueError("milestones must rise")
        return self


class FourStepSettings(Settings):
    """Where the region proposal network's steps of `train --four-step` differ from `training`; null: nowhere."""

    rpn_steps: PositiveInt | None = None
    rpn_milestones: list[Share] | None = None

    @model_validator(mode="after")
    def _in_order(self):
        if self.rpn_milestones and self.rpn_milestones != sorted(self.rpn_milestones):
            raise ValueError("rpn_milestones must rise")
        return self
