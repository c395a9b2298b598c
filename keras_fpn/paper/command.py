"""`keras-fpn paper TABLE`: what has to be trained is trained, and the table is written."""

import itertools
import os
import time
from collections.abc import Iterable
from pathlib import Path

import tensorflow as tf

from keras_fpn.console.files import check_output
from keras_fpn.paper import estimate, experiments, findings, given, page, tables


def run_table(
    name: str,
    *,
    out: str | os.PathLike = "runs/paper",
    data: str | os.PathLike | None = None,
    annotations: str | os.PathLike | None = None,
    images: str | os.PathLike | None = None,
    seeds: int = 3,
    overrides: Iterable[str] = (),
    weights: Iterable[str] = (),
) -> bool:
    """Train what a table of the paper needs, measure it and write OUT/<table>.md, .csv and .html.

    Args:
        name: "table1", ..., of `tables.TABLES`.
        out: folder of runs and pages; what is finished in it is not done again.
        data: folder in a COCO layout; without any data the embedded data set is drawn to OUT/data.
        annotations, images: the held-out images, where they are not those of `data`.
        seeds: runs of each row.
        overrides: settings `key=value` for all rows.
        weights: `BACKBONE=FILE`, the weights that rows of this backbone start from.

    Returns:
        Whether it came to its end: False after Ctrl-C.

    Raises:
        UserError: no such table, data that are wrong or too little for it, or runs of other settings in `out`.
    """
    table = tables.table(name)
    tf.get_logger().setLevel("ERROR")  # it takes a new model's graph for one that is traced again
    check_output(out, folder=True)
    setting = make_setting(Path(out), data, annotations, images, seeds, overrides, weights)
    planned = experiments.plan(table, setting)
    todo = experiments.with_needed(planned, setting)
    experiments.check_weights(todo, setting)
    for experiment in todo:
        experiments.check_same(experiment)
    try:
        if setting.is_embedded:
            experiments.draw_data(setting.out)
        is_finished = _run(todo, planned, setting)
        paths = page.write(table, planned, setting) if is_finished else ()
    except KeyboardInterrupt:
        return False
    for path in paths:
        print(f"wrote {path}")
    return is_finished


def make_setting(
    out: Path,
    data: str | os.PathLike | None = None,
    annotations: str | os.PathLike | None = None,
    images: str | os.PathLike | None = None,
    seeds: int = 3,
    overrides: Iterable[str] = (),
    weights: Iterable[str] = (),
) -> experiments.Setting:
    """The `Setting` of a command; the embedded data set where no data are named."""
    starts = tuple(given.start(text) for text in weights)
    found = given.find_data(data, annotations, images)
    layout = found or experiments.embedded_layout(out)
    return experiments.Setting(out, *layout, found is None, seeds, tuple(overrides), starts)


def _run(todo, planned, setting):
    """Run what is not finished, and take the findings of every row; returns whether all are finished."""
    clock = _estimate(todo, setting)
    for number, experiment in enumerate(todo, start=1):
        if not experiment.is_finished:
            left = estimate.shown(clock.seconds)
            print(f"\nrun {number} of {len(todo)}: {experiment.title}, about {left} left", flush=True)
            start = time.monotonic()
            if experiment.run().interrupted:
                return False
            clock.ended(experiment, time.monotonic() - start)
            experiments.forget_graphs()
        for row in itertools.chain(*planned.values()):
            if row.run_dir == experiment.run_dir:  # several rows may stand on one run
                findings.take(row.folders, timed=row.seed == 0)
        experiments.propose(experiment, todo, setting)
    return True


def _estimate(todo, setting):
    """The `Estimate` of what is left, said."""
    left = sum(not experiment.is_finished for experiment in todo)
    if not left:
        print(f"all {len(todo)} runs are finished", flush=True)
    else:
        print(f"{left} of {len(todo)} runs to train; estimating how long they take", flush=True)
    clock = estimate.Estimate(todo, experiments.training_images(todo), setting.is_embedded)
    experiments.forget_graphs()
    if left:
        print(f"about {estimate.shown(clock.seconds)} in all, by {' and '.join(sorted(clock.basis))}", flush=True)
    return clock
