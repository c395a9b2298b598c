"""The runs of a table: ordinary run folders under OUT/runs, kept where they are finished, gone on with where not."""

import dataclasses
import gc
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras

from keras_fpn.config.loading import Config, load_config, load_run_config
from keras_fpn.console.errors import UserError
from keras_fpn.console.files import built_aside, clear_leftovers
from keras_fpn.console.progress import Count
from keras_fpn.data.coco import CocoDataset, read_coco
from keras_fpn.data.shapes import write_shapes
from keras_fpn.inference.propose import propose as write_proposals
from keras_fpn.models.detector import architecture
from keras_fpn.models.files import load_model
from keras_fpn.paper import embedded
from keras_fpn.paper.rows import FOUR_STEPS, RECIPES, TRAIN, TWO_STEPS, Recipe
from keras_fpn.paper.tables import Table
from keras_fpn.training import datasets, four_step, training

LAST_STEP = {TWO_STEPS: 2, FOUR_STEPS: 4}  # of the four


@dataclasses.dataclass(frozen=True)
class Setting:
    """Inputs and folder of a table.

    Attributes:
        out: folder of all runs and pages; tables share it.
        train, val: `(annotation file, image folder)` of each half of the data.
        is_embedded: whether these are the embedded data set, to which every configuration is then brought.
        seeds: how many runs each row gets.
        overrides: `--set` of the user, for all rows.
        weights: `(backbone, file)`: what rows of that backbone start from; the others as their configuration says.
    """

    out: Path
    train: tuple[str, str]
    val: tuple[str, str]
    is_embedded: bool
    seeds: int = 3
    overrides: tuple[str, ...] = ()
    weights: tuple[tuple[str, str], ...] = ()


@dataclasses.dataclass(frozen=True)
class Experiment:
    """One run.

    Attributes:
        recipe: of `rows.RECIPES`.
        seed: 0, 1, ...
        run_dir: its run folder.
        config: what it is trained with; of a row that needs proposals, they are named in it.
    """

    recipe: Recipe
    seed: int
    run_dir: Path
    config: Config

    @property
    def title(self) -> str:
        """"table1_c, seed 0"."""
        return f"{Path(self.recipe.config).stem}, seed {self.seed}"

    @property
    def is_finished(self) -> bool:
        """Whether its metrics are there."""
        return (self.run_dir / "metrics.json").is_file()

    @property
    def folders(self) -> list[Path]:
        """The run folders of the networks that an image goes through."""
        return [self.run_dir / name for name in self.recipe.networks]

    @property
    def part_dir(self) -> Path:
        """The run folder whose metrics the row shows: the last of `folders`."""
        return self.folders[-1]

    def run(self) -> training.Outcome:
        """Train, or go on with what was begun; returns the `Outcome`."""
        if self.recipe.procedure != TRAIN:
            return four_step.run(self.config, self.run_dir, last=LAST_STEP[self.recipe.procedure])
        if (self.run_dir / "last.keras").is_file():
            return training.resume(self.run_dir)
        return training.train(self.config, self.run_dir)

    @property
    def trainings(self) -> list[tuple[Path, Config]]:
        """`(run folder, Config)` of each training in it, in order: itself, or its steps of the four."""
        if self.recipe.procedure == TRAIN:
            return [(self.run_dir, self.config)]
        steps = four_step.STEPS[: LAST_STEP[self.recipe.procedure]]
        return [
            (self.run_dir / step.folder, four_step.step_config(self.config, step, self.run_dir)) for step in steps
        ]


def embedded_layout(out: str | os.PathLike) -> tuple[tuple[str, str], tuple[str, str]]:
    """`(train, val)` of the embedded data set, each an annotation file and an image folder, as it will lie in `out`."""
    folder = Path(out) / "data"
    annotations = folder / "annotations"
    train, val = ((str(annotations / f"instances_{half}.json"), str(folder / half)) for half in ("train", "val"))
    return train, val


def draw_data(out: str | os.PathLike) -> None:
    """Write the embedded data set to `out`/data unless it is there."""
    folder = Path(out) / "data"
    if not folder.is_dir():
        clear_leftovers(out)
        total = embedded.NUM_TRAIN + embedded.NUM_VAL
        with Count("draw the embedded data set", total) as count, built_aside(folder) as aside:
            write_shapes(
                aside, num_train=embedded.NUM_TRAIN, num_val=embedded.NUM_VAL, size=embedded.SIZE, progress=count
            )


def plan(table: Table, setting: Setting) -> dict[str, list[Experiment]]:
    """`{row name: its experiments, one a seed}` of a `Table`."""
    return {row.name: experiments(RECIPES[table.name][row.name], setting) for row in table.rows}


def experiments(recipe: Recipe, setting: Setting) -> list[Experiment]:
    """The `Experiment` of each seed."""
    settings = embedded.overrides(recipe.config) if setting.is_embedded else {}
    pairs: list[Any] = [*settings.items(), *data_overrides(recipe, setting), *setting.overrides]
    backbone = load_config(recipe.config, pairs).model.backbone.name
    if backbone in dict(setting.weights):
        pairs.append(("training.weights", dict(setting.weights)[backbone]))
    made = []
    for seed in range(setting.seeds):
        config = load_config(recipe.config, [*pairs, ("training.seed", seed)])
        made.append(Experiment(recipe, seed, run_folder(recipe.config, seed, setting), config))
    return made


def run_folder(config_name: str, seed: int, setting: Setting) -> Path:
    """Where a run lies, whichever table it is for."""
    return setting.out / "runs" / f"{Path(config_name).stem}-seed{seed}"


def data_overrides(recipe: Recipe, setting: Setting) -> list[tuple[str, str]]:
    """`[(dotted key, path)]` of the data, and of the proposals where the row is trained on those of another."""
    pairs = []
    for split in ("train", "val"):
        annotations, images = getattr(setting, split)
        pairs += [
            (f"data.{split}.annotations", os.path.abspath(annotations)),
            (f"data.{split}.images", os.path.abspath(images)),
        ]
        if recipe.proposals_of:
            pairs.append((f"data.{split}.proposals", str(proposals_dir(recipe, setting) / split)))
    return pairs


def proposals_dir(recipe: Recipe, setting: Setting) -> Path:
    """The folder of the proposals that all seeds of a row are trained on: in the first run of the other row."""
    return run_folder(recipe.proposals_of, 0, setting).absolute() / "proposals"  # type: ignore[arg-type]


def in_order(planned: Mapping[str, Sequence[Experiment]]) -> list[Experiment]:
    """All experiments of a plan, each run once: the first seed of every row, then the second, ..."""
    by_seed = zip(*planned.values(), strict=True)
    return list({experiment.run_dir: experiment for seed in by_seed for experiment in seed}.values())


def check_weights(todo: Sequence[Experiment], setting: Setting) -> None:
    """Refuse weights of a backbone that no row has: they would be left unused without a word.

    Raises:
        UserError: names the backbone, and those that the rows have.
    """
    names = dict.fromkeys(experiment.config.model.backbone.name for experiment in todo)
    for name, path in setting.weights:
        if name not in names:
            raise UserError(f"--weights {name}={path}: no row here is of {name}; they are of {', '.join(names)}")


def check_same(experiment: Experiment) -> None:
    """Refuse to mix runs of different settings in one table.

    Raises:
        UserError: the run folder was made with other settings; names the first that differs.
    """
    if not (experiment.run_dir / "config.yaml").is_file():
        return
    was, now = load_run_config(experiment.run_dir / "config.yaml").model_dump(), experiment.config.model_dump()
    for tree in (was, now):
        tree["model"].pop("num_classes")
        tree["model"].pop("pixels")  # a backbone may bring statistics of its own
    for key, before, after in _differences(was, now, ()):
        raise UserError(
            f"{experiment.run_dir}: was made with {key} {before}, and {after} is asked for now; choose another --out,"
            " or remove that folder"
        )


def _differences(was, now, path):
    for key in now:
        here = (*path, key)
        if isinstance(now[key], dict) and isinstance(was.get(key), dict):
            yield from _differences(was[key], now[key], here)
        elif was.get(key) != now[key]:
            yield ".".join(here), was.get(key), now[key]


def forget_graphs() -> None:
    """Give back what the last run's graphs held."""
    keras.backend.clear_session()
    gc.collect()


def with_needed(planned: Mapping[str, Sequence[Experiment]], setting: Setting) -> list[Experiment]:
    """`in_order`, with the runs before them whose proposals they are trained on."""
    listed = in_order(planned)
    sources = dict.fromkeys(each.recipe.proposals_of for each in listed if each.recipe.proposals_of)
    one_seed = dataclasses.replace(setting, seeds=1)
    needed = [experiment for source in sources for experiment in experiments(Recipe(source), one_seed)]
    return [*needed, *listed]


def propose(experiment: Experiment, todo: Sequence[Experiment], setting: Setting) -> None:
    """Write the proposals of a finished run for those after it that are trained on them."""
    wanting = next((each for each in todo if each.recipe.proposals_of == experiment.recipe.config), None)
    if wanting is None or experiment.seed:
        return
    data, folder = experiment.config.data, proposals_dir(wanting.recipe, setting)
    clear_leftovers(folder)
    for name in ("train", "val"):
        if not (folder / name).is_dir():
            half = getattr(data, name)
            data_set = read_coco(half.annotations, half.images, **data.reading)
            write_proposals(
                load_model(experiment.run_dir),
                data_set,
                folder / name,
                count=data.train_proposals,
                batch_size=data.evaluation_batch_size,
                name=str(experiment.run_dir),
            )


def training_images(todo: Sequence[Experiment]) -> CocoDataset | None:
    """The `CocoDataset` that the rows still to be done are trained on, None where all are done.

    Both halves of the data are read as the rows will read them, before hours of training.

    Raises:
        UserError: they are wrong, do not belong together, or lack the masks that a row needs.
    """
    unfinished = next((each for each in todo if not each.is_finished), None)
    if unfinished is None:
        return None
    data: Any = unfinished.config.data
    needed = architecture(unfinished.config.model.architecture).further_inputs
    if "proposals" in needed:  # the row that made them read the rest
        return read_coco(data.train.annotations, data.train.images, **data.reading)
    return datasets.read_data(unfinished.config)[0]
