"""Faster R-CNN in the four steps of its paper (Ren et al. 2015, section 3.2): how table 5 of FPN's shares features.

    1  RPN from the initial weights; its proposals
    2  Fast R-CNN from the initial weights, on the proposals of 1
    3  RPN on the backbone and pyramid of 2, which are frozen; its proposals
    4  Fast R-CNN from 2 on the proposals of 3, its backbone and pyramid frozen

Steps 3 and 4 stand on the same features, so that one network comes of them: backbone, pyramid and box_head of 4,
rpn_head of 3. The first two alone are two networks that share nothing (table 3).

The rpn_head of 3 starts anew. "We use the detector network to initialize RPN training" (Ren et al.), and the detector
network has none: the authors' own release hands random, untrained RPN layers from 2 on to 3. That of 1 was made for
other features.

The folder of such a run holds what every run's does (`run_folder`, without last.keras), and

four_step.json       how many of the steps are asked for; its presence says which kind of run this is
1_rpn/, 2_fast_rcnn/, 3_rpn/, 4_fast_rcnn/
                     a run folder for each step
1_proposals/, 3_proposals/
                     train/ and val/, as `keras-fpn propose` writes them
results.csv          the rows of all steps, epochs and steps counted through

Each of these is there whole or not at all, or, as a run, goes on by itself: whatever stopped the whole, it goes on.
"""

import dataclasses
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from keras_fpn.config import building
from keras_fpn.config.loading import Config, load_whole_run_config
from keras_fpn.console import disk
from keras_fpn.console.errors import UserError
from keras_fpn.console.files import clear_leftovers, read_json, write_json, write_text
from keras_fpn.console.signals import sigterm_as_ctrl_c
from keras_fpn.data.sources import Names
from keras_fpn.inference.propose import propose
from keras_fpn.metrics import DETECTIONS, PROPOSALS
from keras_fpn.models import writing
from keras_fpn.models.files import load_model
from keras_fpn.reporting import report
from keras_fpn.training import (
    datasets,
    lock,
    named_files,
    new_run,
    restart,
    run_folder,
    schedule,
    training,
)
from keras_fpn.training.four_step_rules import SHARED, check, is_four_step

if TYPE_CHECKING:
    import keras

    from keras_fpn.models.detector import Detector

RPN, FAST_RCNN = "region proposal network", "Fast R-CNN on given proposals"


@dataclasses.dataclass(frozen=True)
class Step:
    """One of the four.

    Attributes:
        folder: of its run, inside that of the whole.
        architecture: what it trains; an RPN leaves proposals behind.
        features_from: folder of the step whose weights it starts from and whose features it keeps; None: the initial
            weights, and it trains all it has.
        proposals_from: folder of the proposals that it trains on.
    """

    number: int
    folder: str
    architecture: str
    features_from: str | None = None
    proposals_from: str | None = None

    @property
    def title(self) -> str:
        """Description of what is trained."""
        return RPN if self.architecture == "rpn" else FAST_RCNN

    @property
    def proposals_to(self) -> str | None:
        """Folder of the proposals that it leaves, or None."""
        return f"{self.number}_proposals" if self.architecture == "rpn" else None


STEPS = (
    Step(1, "1_rpn", "rpn"),
    Step(2, "2_fast_rcnn", "fast_rcnn", proposals_from="1_proposals"),
    Step(3, "3_rpn", "rpn", features_from="2_fast_rcnn"),
    Step(4, "4_fast_rcnn", "fast_rcnn", features_from="2_fast_rcnn", proposals_from="3_proposals"),
)


def run(
    config: Config,
    run_dir: str | os.PathLike,
    *,
    last: int = 4,
    extra_callbacks: "Sequence[keras.callbacks.Callback]" = (),
) -> training.Outcome:
    """Train a Faster R-CNN step by step, or go on where it was stopped, and leave the run in `run_dir`.

    Args:
        config: of a faster_rcnn, with its data named (`named_files.with_data`). Each step follows `config.training`,
            the RPN's with the differences of `config.four_step`.
        last: 4, or 2 for a proposal and a detection network that share nothing: metrics.json and report.html are then
            those of step 2, and there is no model.keras.
        extra_callbacks: Keras callbacks of every step.

    Returns:
        The `training.Outcome`, its steps those of all the runs together.

    Raises:
        UserError: the data or the configuration is wrong.
    """
    if last not in (2, 4):
        raise ValueError(f"last: {last}; the road ends after step 2 or after step 4")
    run_dir = Path(run_dir)
    if is_four_step(run_dir):
        return resume(run_dir, last=last, extra_callbacks=extra_callbacks)
    check(config, run_dir)
    training.set_determinism(config)
    data = datasets.read_data(config)
    config = building.as_built(named_files.with_weights(config), building.build_model(config, data[0]))
    _lengths(config, data[0], run_dir, last)  # refuses now what the last step would refuse
    with new_run.folder_of_its_own(run_dir):
        write_text(run_dir / "config.yaml", config.to_yaml())
        restart.record(run_dir, config)
        write_json(run_dir / "four_step.json", {"version": 1, "last": last})
        return _go_on(config, run_dir, data, last, extra_callbacks)


def resume(
    run_dir: str | os.PathLike,
    *,
    last: int | None = None,
    extra_callbacks: "Sequence[keras.callbacks.Callback]" = (),
    data_dir: Names | None = None,
    overrides: Sequence[str] = (),
    accept_changes: bool = False,
) -> training.Outcome:
    """Go on with such a run wherever it was stopped; of a finished one, say so and return its outcome.

    Args:
        last: what it was begun with; None: whichever that was.
        data_dir, overrides, accept_changes: see `training.resume`.

    Raises:
        UserError: `run_dir` is no folder of such a run, another process trains there, or what it needs is no longer
            there or is no longer what it was.
    """
    run_dir = Path(run_dir)
    begun_with = _begun_with(run_dir)
    if last not in (None, begun_with):
        raise UserError(f"{run_dir}: was begun to end after step {begun_with}, not {last}; choose another folder")
    if (run_dir / "metrics.json").is_file():
        restart.check_finished(run_dir, data_dir, overrides, accept_changes)
        return _finished(run_dir)
    with lock.held(run_dir):
        config = restart.config_to_go_on_with(
            run_dir,
            data_dir=data_dir,
            overrides=overrides,
            accept_changes=accept_changes,
            is_new=not new_run.has_checkpoint(run_dir),
        )
        training.set_determinism(config)
        print(f"resuming {run_dir}", flush=True)
        return _go_on(config, run_dir, datasets.read_data(config), begun_with, extra_callbacks, accept_changes)


def _begun_with(run_dir):
    """After which step a run was begun to end."""
    file, mend = run_dir / "four_step.json", 'write {"last": 4} into it, or 2 where the run was to end after two steps'
    if not file.is_file():
        raise UserError(f"{run_dir}: no run of four steps to resume, {file.name} is missing")
    content = read_json(file, mend)
    last = content.get("last") if isinstance(content, dict) else None
    if last not in (2, 4):
        raise UserError(f'{file}: "last" is {last!r}; {mend}')
    return last


def step_config(config: Config, step: Step, run_dir: str | os.PathLike) -> Config:
    """The `Config` of one step's run."""
    run_dir = os.path.abspath(run_dir)
    tree = config.model_dump()
    changes, own = tree["training"], tree.pop("four_step")
    tree["model"] = config.model.as_architecture(step.architecture).model_dump()
    if step.architecture == "rpn":
        if own["rpn_steps"] is not None:
            changes |= {"steps": own["rpn_steps"], "epochs": None}
        if own["rpn_milestones"] is not None:
            changes["milestones"] = own["rpn_milestones"]
    if step.features_from:
        changes["weights"] = os.path.join(run_dir, step.features_from, "model.keras")
        changes["freeze"] = list(SHARED)
    if step.proposals_from:
        for name in ("train", "val"):
            tree["data"][name]["proposals"] = os.path.join(run_dir, step.proposals_from, name)
    return Config.model_validate(tree)


# The road ---------------------------------------------------------------------------------------------------------


def _lengths(config, train_set, run_dir, last):
    """How many steps of the optimizer each step's run has."""
    configs = [step_config(config, step, run_dir) for step in STEPS[:last]]
    return [schedule.make_schedule(each, train_set).total_steps for each in configs]


def _go_on(config, run_dir, data, last, extra_callbacks, accept_changes=False):
    """Do what is not done yet."""
    lengths = _lengths(config, data[0], run_dir, last)
    done, total, place = 0, sum(lengths), ""
    try:
        with sigterm_as_ctrl_c(), disk.told(run_dir):  # between two fits, too
            for step, length in zip(STEPS, lengths, strict=False):
                place = f"step {step.number} of {last}: {step.title}"
                outcome = _train(step, config, run_dir, place, extra_callbacks, accept_changes)
                if outcome.interrupted:
                    print(f"stopped in {place}", flush=True)
                    return training.Outcome(run_dir, done + outcome.step, total)
                done += length
                if step.proposals_to:
                    _propose(step, config, run_dir, place, data)
            place = "the report of all steps"
            metrics = (_finish_whole if last == 4 else _finish_apart)(config, run_dir, data)
    except KeyboardInterrupt:
        if not new_run.has_checkpoint(run_dir):
            raise  # nothing to go on with
        print(f"stopped in {place}", flush=True)
        return training.Outcome(run_dir, done, total)
    return training.Outcome(run_dir, total, total, metrics)


def _train(step, config, run_dir, place, extra_callbacks, accept_changes):
    folder = run_dir / step.folder
    if (folder / "metrics.json").is_file():
        print(f"{place}: done before", flush=True)
        return training.Outcome(folder, 0, 0, read_json(folder / "metrics.json"))
    start = f"on the features of {step.features_from}, frozen" if step.features_from else "from the initial weights"
    print(f"{place}, {start}", flush=True)
    try:
        if new_run.has_checkpoint(folder):
            _name_data_anew(step, config, run_dir)
            accepted = {"accept_changes": True} if accept_changes else {}
            return training.resume(folder, extra_callbacks=extra_callbacks, **accepted)
        shutil.rmtree(folder, ignore_errors=True)  # killed before its first checkpoint
        return training.train(step_config(config, step, run_dir), folder, extra_callbacks=extra_callbacks)
    except UserError as error:  # it names the run of the step; the whole is what goes on
        raise UserError(str(error).replace(f"--resume {folder}", f"--resume {run_dir}")) from None


def _name_data_anew(step, config, run_dir):
    """Have a step's own configuration name its proposals where they are now: the whole folder may have been moved."""
    file = run_dir / step.folder / "config.yaml"
    tree = load_whole_run_config(file).model_dump() | {"data": step_config(config, step, run_dir).data.model_dump()}
    write_text(file, Config.model_validate(tree).to_yaml())


def _propose(step, config, run_dir, place, data):
    """Write the proposals of both data sets, those that are not there yet."""
    folder = run_dir / step.proposals_to
    counts = {"train": config.data.train_proposals, "val": config.data.test_proposals}
    missing = [name for name in counts if not (folder / name).exists()]
    if not missing:
        return
    clear_leftovers(folder)
    model = load_model(run_dir / step.folder)
    for name, data_set in zip(counts, data[:2], strict=True):
        if name in missing:
            images = "training" if name == "train" else "validation"
            print(f"{place}, its proposals of the {images} images", flush=True)
            source = os.fspath(run_dir / step.folder)
            batch_size = config.data.evaluation_batch_size
            propose(model, data_set, folder / name, count=counts[name], batch_size=batch_size, name=source)


def assemble(whole: "Detector", rpn: "Detector", fast_rcnn: "Detector") -> None:
    """Give a `FasterRCNN` the weights of an `RPN` and of a `FastRCNN` that stand on the same features.

    Raises:
        UserError: their backbones or pyramids are not equal to the last bit.
    """
    for part in SHARED:
        pairs = zip(rpn.parts[part].get_weights(), fast_rcnn.parts[part].get_weights(), strict=True)
        if not all(np.array_equal(ours, theirs, equal_nan=True) for ours, theirs in pairs):
            raise UserError(f"{part}: the two networks do not share it, so one cannot be made of them; train anew")
    for name, part in whole.parts.items():
        source = fast_rcnn if name in fast_rcnn.parts else rpn
        part.set_weights(source.parts[name].get_weights())


def _finish_whole(config, run_dir, data):
    """Put the two networks together, measure the whole and tell of it."""
    train_set, val_set, evaluator = data
    print("the whole: one set of features for the rpn_head of step 3 and the box_head of step 4", flush=True)
    whole = building.build_model(config, train_set)
    assemble(whole, load_model(run_dir / "3_rpn"), load_model(run_dir / "4_fast_rcnn"))
    writing.save_model(whole, run_dir / "model.keras")
    run_folder.write_results(run_dir / "results.csv", _rows(run_dir, STEPS))
    return training.finish(config, run_dir, val_set, evaluator, sections=[_section(run_dir, STEPS)])


def _finish_apart(config, run_dir, data):
    """Tell of two networks that share nothing: the metrics are those of the second."""
    steps = STEPS[:2]
    rows, source = _rows(run_dir, steps), run_dir / steps[-1].folder
    run_folder.write_results(run_dir / "results.csv", rows)
    metrics = read_json(source / "metrics.json")
    page = run_dir / "report.html"
    title = f"Two networks, features not shared: {run_dir.name}"
    report.write_report(page, title=title, metrics=metrics, history=rows)
    report.add_section(page, _section(run_dir, steps))
    write_json(run_dir / "metrics.json", metrics)
    return metrics


def _rows(run_dir, steps):
    """The rows of the results.csv of all steps, with "epoch" and "step" counted through."""
    rows, epoch, number = [], 0, 0
    for step in steps:
        own = run_folder.read_results(run_dir / step.folder / "results.csv", run_folder.FACTS)
        rows += [row | {"epoch": epoch + row["epoch"], "step": number + row["step"]} for row in own]
        if rows:
            epoch, number = rows[-1]["epoch"], rows[-1]["step"]
    return rows


def _section(run_dir, steps):
    """The section of the report that names the run of each step."""
    rows, families = [], (PROPOSALS, DETECTIONS)
    for step in steps:
        own = run_folder.read_results(run_dir / step.folder / "results.csv", run_folder.FACTS)
        metrics = read_json(run_dir / step.folder / "metrics.json")
        minutes = sum(row["seconds"] for row in own) / 60
        facts = (f"{own[-1]['step']:.0f}" if own else "-", f"{minutes:.1f}")
        figures = (metrics.get(family.main, "") for family in families)
        page = report.Link(f"{step.folder}/report.html", step.folder)
        rows.append((str(step.number), step.title, page, *facts, *figures))
    text = (
        "Backbone and pyramid are those of step 2 in steps 3 and 4, and in the whole."
        if len(steps) == 4
        else "The two networks share nothing; the metrics are those of step 2."
    )
    head = ("step", "network", "run", "steps", "minutes", *(family.label(family.main) for family in families))
    return report.Section(heading=f"{len(steps)} steps", text=text, head=head, rows=tuple(rows))


def _finished(run_dir):
    rows = run_folder.read_results(run_dir / "results.csv", run_folder.FACTS)
    step = int(rows[-1]["step"]) if rows else 0
    print(f"{run_dir}: already finished, all {step} steps; nothing to do")
    return training.Outcome(run_dir, step, step, read_json(run_dir / "metrics.json"))
