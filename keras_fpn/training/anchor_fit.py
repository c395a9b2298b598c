"""Objects held against the anchors and the levels of a configuration: which are reached, and what would reach them.

Everything is reckoned at the size that `model.resize` gives, each picture padded by itself. An object is reached where
the best placed anchor has an IoU of 0.5 with it: then some anchor can learn it as it is, not only as the best of bad
ones. Nothing here imports TensorFlow, unless an extension's backbone must be built to know its strides.
"""

import itertools
import shlex
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from keras_fpn.backbones.settings import strides_of
from keras_fpn.config.loading import Config
from keras_fpn.data.checks.boxes import resized_corners, resized_sizes
from keras_fpn.data.checks.finding import WARNING, Finding, register_kind
from keras_fpn.data.checks.half_table import HalfTable
from keras_fpn.data.checks.subject import Subject
from keras_fpn.necks.build import pyramid_strides
from keras_fpn.ops.anchor_cells import boxes_of_cell
from keras_fpn.ops.anchor_reach import AnchorGrid, best_overlaps, overlaps_with
from keras_fpn.ops.octaves import level_number, octave_edges
from keras_fpn.stages.propose_settings import of_levels

REACHED = 0.5  # IoU
_WORTH_A_SEARCH = 0.01  # of the objects that no anchor reaches
_SAMPLE = 4000  # objects that the search looks at
_AN_ANCHOR = 0.002  # of the objects that a further anchor of each cell must reach to be worth it
_STEPS = 6  # sizes that are tried in an octave
_FURTHEST = 4 * _STEPS  # steps from the sizes that there are
# Sizes of a level, in steps above the first: one, two or three in an octave, or two an octave apart.
_SPREADS: tuple[tuple[int, ...], ...] = ((0,), (0, 3), (0, 2, 4), (0, 6))
_FURTHER_RATIOS: tuple[tuple[float, ...], ...] = ((), (1 / 3, 3), (0.25, 4), (1 / 3, 3, 0.2, 5), (0.25, 4, 0.125, 8))
_SIDES, _RATIOS = (0, 8, 16, 32, 64, 128, 256, 512, np.inf), (0, 0.25, 0.5, 1, 2, 4, np.inf)

UNREACHED = register_kind(
    "object_unreached", WARNING, "object", f"that no anchor reaches at an IoU of {REACHED:g}",
    "set other anchors, or train at another size", __name__,
)  # fmt: skip


class Proposal(NamedTuple):
    """Other anchors: their sizes and ratios, and the share of the objects that they do not reach."""

    sizes: dict[str, list[float]]
    ratios: list[float]
    unreached: float

    @property
    def overrides(self) -> list[str]:
        """The settings, for `--set`."""
        sizes = ", ".join(f"{level}: [{_listed(of_level)}]" for level, of_level in self.sizes.items())
        return [f"model.anchors.sizes={{{sizes}}}", f"model.anchors.ratios=[{_listed(self.ratios)}]"]

    @property
    def words(self) -> str:
        """The settings as a command line has them."""
        return f"--set {shlex.join(self.overrides)}"

    def to_json(self) -> dict[str, Any]:
        """The anchors, as JSON takes them."""
        return {**self._asdict(), "set": self.overrides}


def _listed(numbers):
    return ", ".join(f"{number:g}" for number in numbers)


class Group(NamedTuple):
    """Objects of a kind: how it is called, how many there are, and how many of them no anchor reaches."""

    name: str
    objects: int
    unreached: int


class AnchorFit(NamedTuple):
    """Objects of a half and the anchors of a configuration.

    Attributes:
        objects, unreached: how many there are, and how many no anchor reaches.
        by_side, by_ratio: the same by the root of their area after the resize, and by height over width.
        best_levels: `{level: objects whose best anchor is there}`.
        overlaps: `[objects]` the best IoU of each.
    """

    objects: int
    unreached: int
    by_side: tuple[Group, ...]
    by_ratio: tuple[Group, ...]
    best_levels: dict[str, int]
    overlaps: np.ndarray

    @property
    def share(self) -> float:
        """Share of the objects that no anchor reaches, 0 of none."""
        return self.unreached / max(self.objects, 1)

    def to_json(self) -> dict[str, Any]:
        """The fit, as JSON takes it."""
        return {
            "objects": self.objects, "unreached": self.unreached, "best_levels": self.best_levels,
            "by_side": [group._asdict() for group in self.by_side],
            "by_ratio": [group._asdict() for group in self.by_ratio],
        }  # fmt: skip


def has_anchors(config: Config) -> bool:
    """Whether the detector of a configuration has anchors at all."""
    return getattr(config.model, "anchors", None) is not None


def anchor_grid(config: Config, sizes: Mapping[str, Sequence[float]], ratios: Sequence[float]) -> AnchorGrid:
    """The anchors of a configuration with other sizes and ratios."""
    anchors, strides = config.model.anchors, _strides(config)
    cells = {
        level: boxes_of_cell(of_level, ratios, strides[level], anchors.rounding).reshape(-1, 4)
        for level, of_level in sizes.items()
    }
    return AnchorGrid(cells, strides, anchors.offset, anchors.stride_source)


def _strides(config: Config) -> dict[str, int]:
    backbone = config.model.groups()["backbone"]
    strides = strides_of(backbone)
    if strides is None:  # of an extension: only the network says
        from keras_fpn.backbones.build import build_backbone

        strides = build_backbone(backbone).strides
    return pyramid_strides(strides, config.model.pyramid.levels)


def fit_anchors(subject: Subject, config: Config) -> AnchorFit:
    """Hold the objects of a half against the anchors of a configuration.

    Raises:
        UserError: the configuration has no sizes for a level.
    """
    boxes, canvases = resized_objects(subject.table, config.model.resize.model_dump())
    settings = _settings(config)
    grid = anchor_grid(config, settings["sizes"], settings["ratios"])
    overlaps, levels = best_overlaps(boxes, canvases, grid)
    is_reached = overlaps >= REACHED
    extents = boxes[:, 2:] - boxes[:, :2]
    counts = np.bincount(levels, minlength=len(grid.cells)).tolist()
    return AnchorFit(
        len(boxes), int((~is_reached).sum()),
        _groups(np.sqrt(extents.prod(1)), is_reached, _SIDES, "{} px"),
        _groups(extents[:, 1] / extents[:, 0], is_reached, _RATIOS, "height/width {}"),
        dict(zip(grid.cells, counts, strict=True)), overlaps,
    )  # fmt: skip


def _settings(config):
    return of_levels(config.model.groups()["anchors"], config.model.pyramid.levels)


def unreached_objects(table: HalfTable, fit: AnchorFit) -> list[Finding]:
    """The finding of the objects that no anchor reaches, if there are some."""
    which, best = np.zeros(len(table.rows), bool), np.zeros(len(table.rows))
    best[table.is_object] = fit.overlaps
    which[table.is_object] = fit.overlaps < REACHED
    detail = f"{100 * fit.share:.1f} % of {fit.objects:,}"
    return table.find_objects(UNREACHED, which, lambda index: f"IoU {best[index]:.3f} at best", detail)


def resized_objects(table: HalfTable, resize: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """The boxes `[o, 4]` of the objects after the resize, and height and width `[o, 2]` of their padded images."""
    boxes = resized_corners(table, resize)[table.is_object]
    divisor = resize["size_divisor"]
    canvases = np.ceil(resized_sizes(table, resize) / divisor) * divisor
    return boxes, canvases[table.rows[table.is_object]]


def _groups(values, is_reached, edges, form) -> tuple[Group, ...]:
    objects = np.histogram(values, np.array(edges))[0].tolist()
    unreached = np.histogram(values[~is_reached], np.array(edges))[0].tolist()
    names = [
        form.format(f"{low:g} and more" if not np.isfinite(high) else f"{low:g} to {high:g}")
        for low, high in itertools.pairwise(edges)
    ]
    return tuple(Group(*each) for each in zip(names, objects, unreached, strict=True) if each[1])


# ---------------------------------------------------------------------------------------------- other anchors


def better_anchors(subject: Subject, config: Config, fit: AnchorFit) -> Proposal | None:
    """Sizes and ratios that reach more objects, with as few anchors a cell as may be; None where none is worth it.

    All sizes are moved by the same share of an octave, or a level has several; long ratios come besides. A further
    anchor of each cell must reach 0.2 % of the objects. Searched on a sample of them, then counted on all.
    """
    if fit.share <= _WORTH_A_SEARCH:
        return None
    boxes, canvases = resized_objects(subject.table, config.model.resize.model_dump())
    settings = _settings(config)
    step = max(len(boxes) // _SAMPLE, 1)
    reach = _Reach(config, settings["sizes"], boxes[::step], canvases[::step])
    chosen = _search(reach, settings)
    if chosen is None:
        return None
    steps, ratios = chosen
    sizes = {level: sorted(_moved(size, each) for size in of_level for each in steps)
             for level, of_level in settings["sizes"].items()}  # fmt: skip
    ratios = [float(f"{ratio:.3g}") for ratio in ratios]
    overlaps, _ = best_overlaps(boxes, canvases, anchor_grid(config, sizes, ratios))
    return Proposal(sizes, ratios, float((overlaps < REACHED).mean()))


def _search(reach: "_Reach", settings) -> tuple[list[int], list[float]] | None:
    """The steps by which sizes are moved, and the ratios, that are better than those there are."""
    ratios = sorted(settings["ratios"])
    own = len(ratios) * max(map(len, settings["sizes"].values()))
    best, chosen = reach.unreached([0], ratios) + _AN_ANCHOR * own, None
    for spread, further in itertools.product(_SPREADS, _FURTHER_RATIOS):
        wanted = sorted({*ratios, *further})
        number = own * len(spread) * len(wanted) / len(ratios)
        for first in sorted(range(-_FURTHEST, _FURTHEST + 1), key=abs):
            steps = [first + each for each in spread]
            cost = reach.unreached(steps, wanted) + _AN_ANCHOR * number
            if cost < best - 1e-9:
                best, chosen = cost, (steps, wanted)
    return chosen


def _moved(size, steps) -> float:
    return float(f"{size * 2 ** (steps / _STEPS):.3g}")


class _Reach:
    """Which of some objects an anchor of a size and ratio reaches, each found out once."""

    def __init__(self, config, sizes, boxes, canvases):
        self._config, self._sizes, self._boxes, self._canvases = config, sizes, boxes, canvases
        self._known: dict[tuple[int, float], np.ndarray] = {}

    def unreached(self, steps: Sequence[int], ratios: Sequence[float]) -> float:
        """The share that no anchor reaches, where the sizes are moved by each of some steps."""
        reached = np.zeros(len(self._boxes), bool)
        for pair in itertools.product(steps, ratios):
            if pair not in self._known:
                self._known[pair] = self._reached(*pair)
            reached |= self._known[pair]
        return float(1 - reached.mean())

    def _reached(self, step, ratio):
        moved = {level: [_moved(size, step) for size in of_level] for level, of_level in self._sizes.items()}
        grid = anchor_grid(self._config, moved, [ratio])
        reached = np.zeros(len(self._boxes), bool)
        for level, cell in grid.cells.items():
            for anchor in cell:
                overlap = overlaps_with(self._boxes, self._canvases, anchor, grid.strides[level], grid)
                reached |= overlap >= REACHED
        return reached


# ----------------------------------------------------------------------------------------------------- levels


def levels_of_objects(subject: Subject, config: Config) -> dict[str, int]:
    """`{level: objects that RoI pooling reads there}` by equation 1 of the paper; empty where nothing is pooled."""
    pooling = getattr(config.model, "roi_pooling", None)
    if pooling is None:
        return {}
    boxes, _ = resized_objects(subject.table, config.model.resize.model_dump())
    sides = np.sqrt((boxes[:, 2:] - boxes[:, :2]).prod(1))
    finest, coarsest = level_number(pooling.levels[0]), level_number(pooling.levels[-1])
    edges = octave_edges(finest, coarsest, pooling.canonical_size, pooling.canonical_level)
    counts = np.bincount(np.searchsorted(edges, sides, side="right"), minlength=len(pooling.levels))
    return dict(zip(pooling.levels, counts.tolist(), strict=True))


# ------------------------------------------------------------------------------------------------------- both


class Scales(NamedTuple):
    """How the objects of a data set lie on the anchors and the levels of a configuration.

    Attributes:
        fits: `{half: AnchorFit}`; none where the detector has no anchors.
        levels: `{half: {level: objects}}`, see `levels_of_objects`.
        proposal: better anchors for the first half, where many of its objects are not reached.
    """

    fits: dict[str, AnchorFit]
    levels: dict[str, dict[str, int]]
    proposal: Proposal | None = None

    @property
    def proposal_words(self) -> str:
        """The shares that no anchor reaches, with the other anchors and without, in words."""
        assert self.proposal is not None
        name, fit = next(iter(self.fits.items()))
        shares = f"{100 * self.proposal.unreached:.1f} % of the objects of {name} instead of {100 * fit.share:.1f} %"
        return f"anchors that leave {shares} without one that reaches them"

    def to_json(self) -> dict[str, Any]:
        """All of it, as JSON takes it."""
        return {
            "anchors": {name: fit.to_json() for name, fit in self.fits.items()}, "levels": self.levels,
            "better_anchors": None if self.proposal is None else self.proposal.to_json(),
        }  # fmt: skip


def scales_of(subjects: Sequence[Subject], config: Config) -> Scales:
    """Hold the objects of the halves that have some against a configuration; the first is the one that is learnt.

    Raises:
        UserError: the configuration has no sizes for a level.
    """
    chosen = [subject for subject in subjects if subject.table.is_object.any()]
    levels = {subject.table.name: levels_of_objects(subject, config) for subject in chosen}
    if not chosen or not has_anchors(config):
        return Scales({}, levels)
    fits = {subject.table.name: fit_anchors(subject, config) for subject in chosen}
    first = chosen[0]
    return Scales(fits, levels, better_anchors(first, config, fits[first.table.name]))
