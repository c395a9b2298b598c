"""How long the runs of a table will take: said before the first of them, corrected by each that ends."""

import time

import tensorflow as tf

from keras_fpn import optimizers, training
from keras_fpn.data.coco import read_coco
from keras_fpn.detector import architecture
from keras_fpn.paper.rows import TRAIN
from keras_fpn.runs import read_results

_BESIDES_EMBEDDED = 30.0  # seconds of a run that are no steps, some: reading, tracing, measuring, drawing
_BESIDES = 0.05  # share of the steps, elsewhere
_TIMED_STEPS = 3


class Estimate:
    """Seconds that are left of some experiments.

    Args:
        experiments: all of a table, in order; those that are finished count nothing.
        is_embedded: whether the runs are short, so that what is not a step counts.
    """

    def __init__(self, experiments, is_embedded):
        self._seconds = {}
        self._expected = self._taken = 0.0
        self.basis = set()
        per_step = {}
        for experiment in experiments:
            if not experiment.is_finished:
                name = experiment.recipe.config
                if name not in per_step:
                    per_step[name] = self._per_step(experiment, experiments)
                self._seconds[experiment.run_dir] = _seconds(experiment, per_step[name], is_embedded)

    def _per_step(self, experiment, experiments):
        twins = [each for each in experiments if each.recipe.config == experiment.recipe.config and each.is_finished]
        if twins and (rows := read_results(twins[0].run_dir / "results.csv")):
            self.basis.add("the runs that are finished")
            return sum(row["seconds"] for row in rows) / rows[-1]["step"]
        self.basis.add(f"{_TIMED_STEPS} steps of each row, timed now")
        return _timed_step(experiment.config)

    @property
    def seconds(self):
        """Seconds left, corrected by how those that ended compare with what was expected of them."""
        pace = self._taken / self._expected if self._expected else 1.0
        return pace * sum(self._seconds.values())

    def ended(self, experiment, seconds):
        """Tell that an experiment took `seconds`."""
        self._expected += self._seconds.pop(experiment.run_dir, 0.0)
        self._taken += seconds


def shown(seconds):
    """Seconds as people say them: "31 min", "5.2 hours"."""
    return f"{seconds / 3600:.1f} hours" if seconds >= 5400 else f"{max(1, round(seconds / 60))} min"


def _seconds(experiment, per_step, is_embedded):
    config = experiment.config
    steps = config.training.steps or 0
    if experiment.recipe.procedure != TRAIN:
        # A step of the joint detector costs about what one of its RPN and one of its Fast R-CNN cost together.
        steps = steps + (config.four_step.rpn_steps or steps)
    return steps * per_step * (1 if is_embedded else 1 + _BESIDES) + (_BESIDES_EMBEDDED if is_embedded else 0)


def _timed_step(config):
    """Seconds of a step of training, on one batch, after one that traces."""
    data = config.data
    needs_masks = architecture(config.model.architecture).needs_masks
    train_set = read_coco(data.train.annotations, data.train.images, invalid_boxes="drop", masks=needs_masks)
    model = training.build_model(config, train_set)
    model.compile(optimizer=optimizers.SGD(0.0))
    inputs, targets = next(iter(training.training_dataset(config, train_set, cache=False)))
    if model.needs_proposals:  # those of another row, which may not be trained yet
        inputs = inputs | _some_proposals(inputs, data.train_proposals)
    step = tf.function(model.train_step, autograph=False)  # as Keras has it
    step((inputs, targets))
    start = time.perf_counter()
    for _ in range(_TIMED_STEPS):
        step((inputs, targets))["loss"].numpy()
    return (time.perf_counter() - start) / _TIMED_STEPS


def _some_proposals(inputs, number):
    batch = tf.shape(inputs["images"])[0]
    corners = tf.random.stateless_uniform([batch, number, 2], [0, 0], 0.0, 128.0)
    sides = tf.random.stateless_uniform([batch, number, 2], [0, 1], 16.0, 128.0)
    return {
        "proposals": tf.concat([corners, corners + sides], axis=-1),
        "num_proposals": tf.fill([batch], number),
    }
