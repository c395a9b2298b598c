"""A `keras.Model` whose losses are its own: what `fit` and `evaluate` ask of it."""

from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from keras_fpn.data.batches import inputs_and_targets
from keras_fpn.models.optimizers import SGD
from keras_fpn.models.trained_layers import set_untrained, untrained


class OwnLosses(keras.Model):
    """A model that learns from what it says itself: `compile(optimizer)` is enough.

    A subclass has `seed`, `loss_names`, `recall_names` and `training_losses`, and calls `make_metrics` once it has its
    parts. `fit` and `evaluate` report the sum of the losses, each of them, and each recall.
    """

    def training_losses(
        self,
        inputs: dict[str, tf.Tensor] | tf.Tensor,
        targets: dict[str, tf.Tensor],
        seed: tf.Tensor,
        training: bool = True,
    ) -> tuple[dict[str, tf.Tensor], dict[str, tuple[tf.Tensor, tf.Tensor]]]:
        """`({name: scalar}` of `loss_names`, `{name: (share, how many positives)}` of `recall_names`)` of a batch."""
        raise NotImplementedError

    def make_metrics(self) -> None:
        """Make the means that are reported."""
        for metric in ("loss", *self.loss_names, *self.recall_names):
            setattr(self, f"{metric}_metric", keras.metrics.Mean(name=metric))

    def train_step(self, data: tuple) -> dict[str, tf.Tensor]:
        """One step of `fit`: one forward and one backward pass."""
        inputs, targets = inputs_and_targets(data)
        with tf.GradientTape() as tape:
            losses, recalls = self.training_losses(inputs, targets, self._step_seed(self.optimizer.iterations))
            loss = tf.add_n(list(losses.values()))
            # Gradients of replicas are summed, each of them is a mean over its own images.
            scaled = self.optimizer.scale_loss(loss / self.distribute_strategy.num_replicas_in_sync)
        gradients = tape.gradient(scaled, self.trainable_variables)
        with tf.control_dependencies([loss]):  # see `_report`
            self.optimizer.apply_gradients(zip(gradients, self.trainable_variables, strict=True))
        return self._report(loss, losses, recalls)

    def test_step(self, data: tuple) -> dict[str, tf.Tensor]:
        """One step of `evaluate`: the losses, sampled alike for every batch."""
        inputs, targets = inputs_and_targets(data)
        losses, recalls = self.training_losses(inputs, targets, self._step_seed(-1), training=False)
        return self._report(tf.add_n(list(losses.values())), losses, recalls)

    def _step_seed(self, step):
        return tf.stack([tf.constant(self.seed, tf.int64), tf.cast(step, tf.int64)])

    def _report(self, loss, losses, recalls):
        # Where a dataset does not tell its length, Keras begins a step that finds no batch. What depends on none would
        # be run all the same: the counts of the means, and of the optimizer's steps.
        with tf.control_dependencies([loss]):
            self.loss_metric.update_state(loss)
            for name, value in losses.items():
                getattr(self, f"{name}_metric").update_state(value)
            for name, (value, number) in recalls.items():
                getattr(self, f"{name}_metric").update_state(value, sample_weight=number)
        return {metric.name: metric.result() for metric in self.metrics}

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        return [getattr(self, f"{name}_metric") for name in ("loss", *self.loss_names, *self.recall_names)]

    def compile(
        self, optimizer: keras.optimizers.Optimizer | None = None, jit_compile: bool | str = False, **kwargs: Any
    ) -> None:
        """Set the optimizer; the losses are the model's own.

        Args:
            optimizer: a Keras optimizer; without, `keras_fpn.SGD` at the published rate for two images a
                batch, with clipped gradients.
            jit_compile: XLA cannot compile the suppression of boxes, so False.
            **kwargs: see `keras.Model.compile`; `loss` and `metrics` are refused.
        """
        for key in ("loss", "metrics", "weighted_metrics"):
            if kwargs.pop(key, None):
                raise ValueError(
                    f"compile: {type(self).__name__} has losses and metrics of its own; leave out {key!r}"
                )
        if jit_compile is True:
            raise ValueError("compile: XLA cannot compile the suppression of boxes; leave jit_compile out")
        super().compile(optimizer=optimizer or SGD(0.0025, global_clipnorm=10.0), jit_compile=False, **kwargs)
        # Variables made inside the first step would have TensorFlow trace that step twice.
        self.optimizer.build(self.trainable_variables)
        object.__setattr__(self, "_untrained_when_compiled", untrained(self))

    def fit(self, *args: Any, steps_per_epoch: int | None = None, **kwargs: Any) -> keras.callbacks.History:
        """See `keras.Model.fit`.

        Raises:
            ValueError: `steps_per_epoch` is no multiple of the `steps_per_execution` of `compile`: Keras would run the
                last of them whole, 6 steps for 4 with 3 at a time.
        """
        if steps_per_epoch is not None and steps_per_epoch % self.steps_per_execution:
            raise ValueError(
                f"fit: steps_per_epoch={steps_per_epoch} is no multiple of steps_per_execution="
                f"{self.steps_per_execution}, so more steps would be run than told; change one of them"
            )
        return super().fit(*args, steps_per_epoch=steps_per_epoch, **kwargs)

    def get_compile_config(self) -> dict[str, Any] | None:
        if not self.compiled:
            return None
        config = {"optimizer": keras.saving.serialize_keras_object(self.optimizer), "jit_compile": self.jit_compile}
        # The optimizer holds what trained when it was compiled, whatever was frozen since.
        if untrained(self) != self._untrained_when_compiled:
            config["untrained_when_compiled"] = self._untrained_when_compiled
        return config

    def compile_from_config(self, config: Mapping[str, Any]) -> None:
        now = untrained(self)
        set_untrained(self, config.get("untrained_when_compiled", now))
        self.compile(keras.saving.deserialize_keras_object(config["optimizer"]), config["jit_compile"])
        set_untrained(self, now)
