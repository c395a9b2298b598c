"""How long the runs of a table will take: said before the first of them, corrected by each that ends."""

import time

import tensorflow as tf

from keras_fpn.config import building
from keras_fpn.models import optimizers
from keras_fpn.paper.experiments import Experiment
from keras_fpn.paper.rows import TRAIN
from keras_fpn.training import datasets, schedule
from keras_fpn.training.run_folder import read_results

_BESIDES_EMBEDDED = 30.0  # seconds of a training that are no steps, some: reading, tracing, measuring, drawing
_BESIDES = 0.05  # share of the steps, elsewhere
_TIMED_STEPS = 3


class Estimate:
    """Seconds that are left of some experiments.

    Args:
        experiments: all of a table, in order; what is finished of them counts nothing.
        train_set: the `CocoDataset` that they are trained on.
        is_embedded: whether the runs are short, so that what is not a step counts.

    Raises:
        UserError: one of them cannot be trained as it is set, such as with a warm-up longer than the run.
    """

    def __init__(self, experiments, train_set, is_embedded):
        self._seconds = {}
        self._expected = self._taken = 0.0
        self.basis = set()
        unfinished = [experiment for experiment in experiments if not experiment.is_finished]
        left = [_left(experiment, train_set) for experiment in unfinished]  # refuses before anything is timed
        per_step = {}
        for experiment, (trainings, steps) in zip(unfinished, left, strict=True):
            name = experiment.recipe.config
            if name not in per_step:
                per_step[name] = self._per_step(experiment, experiments, train_set)
            seconds = steps * per_step[name]
            seconds += trainings * _BESIDES_EMBEDDED if is_embedded else seconds * _BESIDES
            self._seconds[experiment.run_dir] = seconds

    def _per_step(self, experiment, experiments, train_set):
        twins = [each for each in experiments if each.recipe.config == experiment.recipe.config and each.is_finished]
        if twins and (rows := read_results(twins[0].run_dir / "results.csv")):
            self.basis.add("the runs that are finished")
            return sum(row["seconds"] for row in rows) / rows[-1]["step"]
        self.basis.add(f"{_TIMED_STEPS} steps of each row, timed now")
        seconds = _timed_step(experiment.config, train_set)
        # A step of both stages at once costs about what a step of the one and a step of the other cost together.
        return seconds if experiment.recipe.procedure == TRAIN else seconds / 2

    @property
    def seconds(self) -> float:
        """Seconds left, corrected by how those that ended compare with what was expected of them."""
        pace = self._taken / self._expected if self._expected else 1.0
        return pace * sum(self._seconds.values())

    def ended(self, experiment: Experiment, seconds: float) -> None:
        """Tell that an experiment took `seconds`."""
        self._expected += self._seconds.pop(experiment.run_dir, 0.0)
        self._taken += seconds


def shown(seconds: float) -> str:
    """Seconds as people say them: "31 min", "5.2 hours"."""
    return f"{seconds / 3600:.1f} hours" if seconds >= 5400 else f"{max(1, round(seconds / 60))} min"


def _left(experiment, train_set):
    """How many trainings of an experiment are not finished, and how many steps they have still to take."""
    trainings = steps = 0
    for run_dir, config in experiment.trainings:
        length = schedule.make_schedule(config, train_set).total_steps
        if not (run_dir / "metrics.json").is_file():
            begun = read_results(run_dir / "results.csv")
            trainings += 1
            steps += length - (begun[-1]["step"] if begun else 0)
    return trainings, steps


def _timed_step(config, train_set):
    """Seconds of a step of training, on one batch, after one that traces."""
    model = building.build_model(config, train_set)
    model.compile(optimizer=optimizers.SGD(0.0))
    inputs, targets = next(iter(datasets.training_dataset(config, train_set, cache=False)))
    if "proposals" in model.further_inputs:  # those of another row, which may not be trained yet
        inputs = inputs | _some_proposals(inputs, config.data.train_proposals)
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
