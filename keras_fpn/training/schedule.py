"""The length of a run, its epochs, its learning rate."""

import dataclasses
import logging
import math
from typing import NamedTuple

import keras

from keras_fpn.backbones import layer_groups
from keras_fpn.backbones.settings import layer_groups_of
from keras_fpn.config.loading import Config
from keras_fpn.console.errors import UserError
from keras_fpn.console.memory import machine_memory
from keras_fpn.data.coco import CocoDataset
from keras_fpn.models import optimizers

log = logging.getLogger(__name__)

# Bytes a pixel. Of the configuration `tiny`, the smallest there is, 268 were measured, and a ResNet-50 takes far more.
_LEAST = 240


@dataclasses.dataclass(frozen=True)
class Schedule:
    """The length of a run. An epoch is a stretch of `steps_per_epoch` batches; the last may be shorter."""

    total_steps: int
    steps_per_epoch: int

    @property
    def epochs(self) -> int:
        return math.ceil(self.total_steps / self.steps_per_epoch)


class Stretch(NamedTuple):
    first_epoch: int
    end_epoch: int
    steps_per_epoch: int


def make_schedule(config: Config, train_set: CocoDataset) -> Schedule:
    """Return the length of a run on the training images of a `CocoDataset`.

    Raises:
        UserError: the warm-up is longer than the run; a batch takes more than the machine's memory.
    """
    warmup_steps = config.training.warmup_steps
    _check_batch(config, _num_images(config, train_set))
    schedule = unchecked_schedule(config, train_set)
    if warmup_steps >= schedule.total_steps:
        raise UserError(
            f"training.warmup_steps: {warmup_steps} steps do not fit a run of {schedule.total_steps};"
            f" set training.warmup_steps={schedule.total_steps // 10}"
        )
    return schedule


def unchecked_schedule(config: Config, train_set: CocoDataset) -> Schedule:
    """Return the same without a look at whether it can be run."""
    settings = config.training
    steps_per_epoch = settings.steps_per_epoch or math.ceil(_num_images(config, train_set) / config.data.batch_size)
    total_steps = settings.steps or settings.epochs * steps_per_epoch  # type: ignore[operator]
    return Schedule(total_steps, min(steps_per_epoch, total_steps))


def _num_images(config, train_set):
    return sum(config.data.keep_empty or len(record.boxes) > 0 for record in train_set.records)


def _check_batch(config, num_images):
    """Refuse at once what would end after minutes, and tell of a batch that holds images more than once."""
    data, memory = config.data, machine_memory()
    height, width = data.canvas or (min(data.min_sides), min(data.min_sides))
    size = _LEAST * data.batch_size * height * width
    if memory is not None and size > 0.8 * memory:
        raise UserError(
            f"data.batch_size: to train on {data.batch_size} images of {height} x {width} pixels at a time takes"
            f" {size / 1e9:.0f} GB or more, and this machine has {memory / 1e9:.0f} GB of memory; take fewer at a time"
        )
    if data.batch_size > num_images:
        log.warning(
            "data.batch_size: a batch of %d holds each of the %d training images more than once; take fewer at a time",
            data.batch_size, num_images,
        )  # fmt: skip


def make_optimizer(config: Config, schedule: Schedule) -> keras.optimizers.Optimizer:
    """The optimizer that `training.optimizer` names, with the run's learning rates."""
    settings, rates = config.training, _RATES[config.training.schedule](config, schedule)
    options = {
        "weight_decay": settings.weight_decay,
        "no_weight_decay": settings.no_weight_decay,
        "layer_rates": layer_groups.rates(layer_groups_of(config.model.backbone.name), settings.layer_decay),
        "global_clipnorm": settings.clip_norm,
    }
    if settings.optimizer == "adamw":
        return optimizers.AdamW(rates, **options)
    return optimizers.SGD(rates, momentum=settings.momentum, **options)


def _in_steps(config, schedule):
    settings = config.training
    return optimizers.WarmupMultiStep(
        settings.learning_rate,
        warmup_steps=settings.warmup_steps,
        warmup_factor=settings.warmup_factor,
        milestones=[round(share * schedule.total_steps) for share in settings.milestones],
        gamma=settings.gamma,
    )


def _along_a_cosine(config, schedule):
    settings = config.training
    if not settings.warmup_steps:
        return keras.optimizers.schedules.CosineDecay(settings.learning_rate, schedule.total_steps)
    return keras.optimizers.schedules.CosineDecay(
        settings.learning_rate * settings.warmup_factor,
        max(schedule.total_steps - settings.warmup_steps, 1),
        warmup_target=settings.learning_rate,
        warmup_steps=settings.warmup_steps,
    )


_RATES = {"steps": _in_steps, "cosine": _along_a_cosine}


def stretches_from(step: int, schedule: Schedule) -> list[Stretch]:
    """Return the `Stretch`es from `step` to the end: each a call of `fit`.

    An epoch that was interrupted is completed in a call of its own, and so is a short last one.
    """
    stretches, size = [], schedule.steps_per_epoch
    while step < schedule.total_steps:
        epoch, done = divmod(step, size)
        whole = (schedule.total_steps - step) // size if not done else 0
        if whole:
            stretches.append(Stretch(epoch, epoch + whole, size))
            step += whole * size
        else:
            rest = min(size - done, schedule.total_steps - step)
            stretches.append(Stretch(epoch, epoch + 1, rest))
            step += rest
    return stretches
