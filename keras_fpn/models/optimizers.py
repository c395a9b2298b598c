"""SGD, AdamW and the learning-rate schedule of the detection literature, exact to torch's numbers."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from keras_fpn.backbones.layer_groups import rate_of


@keras.saving.register_keras_serializable("keras_fpn")
class SGD(keras.optimizers.Optimizer):
    """`torch.optim.SGD`: weight decay inside the gradient, momentum over gradients, learning rate outside.

        g = gradient + weight_decay * w
        m = momentum * m + g
        w = w - learning_rate * m

    `keras.optimizers.SGD` differs twice: its `weight_decay` is decoupled, about ten times weaker in the long run,
    and its momentum holds past learning rates, so that a drop of the rate is not felt at once.

    Args:
        learning_rate: float or a schedule.
        momentum: 0.9 in every published recipe.
        weight_decay: 1e-4 in every published recipe; on all trained variables but those named next.
        no_weight_decay: parts of variable paths that are not decayed, such as ["norm"] in detectron2.
        layer_rates: `{pattern of the first part of a variable's path: factor of its learning rate}`.
        global_clipnorm, clipnorm, clipvalue: gradient clipping of the Keras base class.
    """

    def __init__(
        self,
        learning_rate=0.02,
        momentum=0.9,
        weight_decay=1e-4,
        no_weight_decay=(),
        layer_rates=None,
        name="sgd",
        **kwargs,
    ):
        # The base class would apply a weight decay of its own.
        super().__init__(learning_rate=learning_rate, name=name, **kwargs)
        self.momentum = momentum
        self.coupled_weight_decay = weight_decay
        self.no_weight_decay = tuple(no_weight_decay)
        self.layer_rates = dict(layer_rates or {})

    def build(self, variables: Sequence[keras.Variable]) -> None:
        if self.built:
            return
        super().build(variables)
        self._rates = [rate_of(variable.path, self.layer_rates) for variable in variables]
        # One by one: Keras 3.8 has no `add_optimizer_variables`.
        self.momentums = [self.add_variable_from_reference(variable, "momentum") for variable in variables]
        self._decays = _decays(variables, self.coupled_weight_decay, self.no_weight_decay)

    def update_step(self, gradient: tf.Tensor, variable: keras.Variable, learning_rate: tf.Tensor) -> None:
        index = self._get_variable_index(variable)
        learning_rate = keras.ops.cast(learning_rate, variable.dtype) * self._rates[index]
        gradient = keras.ops.cast(gradient, variable.dtype)
        if self._decays[index]:
            gradient = gradient + self._decays[index] * variable
        momentum = self.momentums[index]
        self.assign(momentum, self.momentum * momentum + gradient)
        self.assign_sub(variable, learning_rate * momentum)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {
            "momentum": self.momentum,
            "weight_decay": self.coupled_weight_decay,
            "no_weight_decay": list(self.no_weight_decay),
            **({"layer_rates": self.layer_rates} if self.layer_rates else {}),
        }


@keras.saving.register_keras_serializable("keras_fpn")
class AdamW(keras.optimizers.Adam):
    """`keras.optimizers.Adam` with a decay beside the gradient, as `torch.optim.AdamW` has it.

    `keras.optimizers.AdamW` knows one rate for all variables, and forgets in a file what it does not decay.

    Args:
        learning_rate: float or a schedule.
        weight_decay: times the rate, taken off all trained variables but those named next.
        no_weight_decay: parts of variable paths that are not decayed, such as ["norm"].
        layer_rates: `{pattern of the first part of a variable's path: factor of its learning rate}`.
    """

    def __init__(
        self,
        learning_rate=1e-4,
        weight_decay=0.05,
        no_weight_decay=(),
        layer_rates=None,
        name="adamw",
        **kwargs,
    ):
        # The base class would apply a weight decay of its own.
        super().__init__(learning_rate=learning_rate, name=name, **kwargs)
        self.decoupled_weight_decay = weight_decay
        self.no_weight_decay = tuple(no_weight_decay)
        self.layer_rates = dict(layer_rates or {})

    def build(self, variables: Sequence[keras.Variable]) -> None:
        if self.built:
            return
        super().build(variables)
        self._rates = [rate_of(variable.path, self.layer_rates) for variable in variables]
        self._decays = _decays(variables, self.decoupled_weight_decay, self.no_weight_decay)

    def update_step(self, gradient: tf.Tensor, variable: keras.Variable, learning_rate: tf.Tensor) -> None:
        index = self._get_variable_index(variable)
        learning_rate = keras.ops.cast(learning_rate, variable.dtype) * self._rates[index]
        if self._decays[index]:
            self.assign_sub(variable, variable * (learning_rate * self._decays[index]))
        super().update_step(gradient, variable, learning_rate)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {
            "weight_decay": self.decoupled_weight_decay,
            "no_weight_decay": list(self.no_weight_decay),
            **({"layer_rates": self.layer_rates} if self.layer_rates else {}),
        }


def _decays(variables, decay, left_out):
    """Weight decay of each variable: 0 where a part of its path is left out."""
    return [0.0 if any(part in variable.path for part in left_out) else decay for variable in variables]


@keras.saving.register_keras_serializable("keras_fpn")
class WarmupMultiStep(keras.optimizers.schedules.LearningRateSchedule):
    """Linear warm-up, then a constant rate divided at milestones (Goyal et al. 2017; detectron2).

    Args:
        base: learning rate between the warm-up and the first milestone.
        warmup_steps: steps until `base` is reached; 0 for no warm-up.
        warmup_factor: the rate of the first step is `base * warmup_factor`.
        milestones: steps at which the rate is multiplied by `gamma`.
        gamma: 0.1 in every published recipe.
    """

    def __init__(self, base, warmup_steps=1000, warmup_factor=0.001, milestones=(), gamma=0.1):
        super().__init__()
        self.base = base
        self.warmup_steps = warmup_steps
        self.warmup_factor = warmup_factor
        self.milestones = list(milestones)
        self.gamma = gamma

    def __call__(self, step):
        """Rate at `step`, counted from 0: float32 scalar."""
        step = tf.cast(step, tf.float32)
        passed = sum(tf.cast(step >= float(milestone), tf.float32) for milestone in self.milestones)
        rate = self.base * tf.pow(self.gamma, passed)
        if not self.warmup_steps:
            return rate
        progress = tf.minimum(step / self.warmup_steps, 1.0)
        return rate * (self.warmup_factor * (1.0 - progress) + progress)

    def get_config(self) -> dict[str, Any]:
        return {
            "base": self.base,
            "warmup_steps": self.warmup_steps,
            "warmup_factor": self.warmup_factor,
            "milestones": self.milestones,
            "gamma": self.gamma,
        }
