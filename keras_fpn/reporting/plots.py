"""Charts as SVG to put inside a page: losses, recalls, learning rate, precision over recall, shares.

matplotlib draws them. It is imported when the first chart is drawn, so that commands start fast, and only
through its objects (no pyplot), so that the process keeps its figures, backend and settings.
"""

import contextlib
import html
import io
import math
import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from keras_fpn.metrics import METRIC_FAMILIES

_MOST_NAMED_CLASSES = 12  # curves with a colour and a name in one chart
_MOST_MARKED_POINTS = 25  # few points show where they are; a single one would be invisible otherwise
_WIDTH, _HEIGHT, _LEGEND_ROW = 5.4, 3.3, 0.2  # inches of 72 SVG units; a page scales the whole
_LEGEND_LETTERS = 60  # across the width, a line and a gap counting as eight
_VALIDATION = ", validation"

# What the losses of the stages, and the recalls of what they sample, are called on a chart; others by their own names.
_LOSSES = {
    "RPN objectness": "rpn_objectness_loss",
    "RPN boxes": "rpn_box_loss",
    "classes": "roi_class_loss",
    "boxes": "roi_box_loss",
    "segment scores": "segment_score_loss",
    "masks": "segment_mask_loss",
}
_RECALLS = {"RPN": "rpn_recall", "head": "roi_recall", "segments": "segment_recall"}

# Hues in the order of those of the boxes (visualize.py), lighter: read on white and on black.
_COLORS = (
    "#3b82c4", "#e07b39", "#2f9e77", "#c2559d", "#8a6fd1", "#d04a4a", "#a38a1a", "#808080", "#17a2b2",
    "#9b6b43", "#6aa32d", "#e0559a",
)  # fmt: skip
# Of text, axes and grid. matplotlib has no word for "the colour of the text around", so `_inline` puts
# CSS's word in the place of this grey, which no curve may have.
_NEUTRAL = "#7b8591"

_STYLE = {
    "axes.edgecolor": _NEUTRAL, "axes.labelcolor": _NEUTRAL, "text.color": _NEUTRAL, "xtick.color": _NEUTRAL,
    "ytick.color": _NEUTRAL, "grid.color": _NEUTRAL, "grid.alpha": 0.3, "grid.linewidth": 0.6,
    "axes.grid": True, "axes.axisbelow": True, "axes.linewidth": 0.8, "axes.spines.top": False,
    "axes.spines.right": False, "xtick.major.size": 0, "ytick.major.size": 0, "xtick.major.pad": 6,
    "ytick.major.pad": 5, "font.size": 9.5, "axes.labelsize": 9.5, "xtick.labelsize": 9.5,
    "ytick.labelsize": 9.5, "legend.fontsize": 9.5,
    "legend.frameon": False, "legend.handlelength": 1.3, "legend.columnspacing": 1.6,
    "legend.borderaxespad": 0, "legend.labelspacing": 0.3, "lines.linewidth": 1.6, "lines.markersize": 3.6,
    "figure.constrained_layout.w_pad": 0.02, "figure.constrained_layout.h_pad": 0.03,
    "font.family": ["DejaVu Sans"],  # comes with matplotlib: the same layout everywhere
    "text.parse_math": False,  # a class may be called "$5"
    "svg.fonttype": "none",  # text stays text: small, searchable, in the page's font
}  # fmt: skip


def training_charts(
    history: Sequence[Mapping[str, Any]] | None, learning_rate: tuple[Sequence[int], Sequence[float]] | None = None
) -> list[tuple[str, str]]:
    """[(title, SVG)] of the curves that there are; titles are plain text.

    history: rows of results.csv, dicts with "epoch" and so on; values are numbers or text, "" is no value.
    learning_rate: (steps, values) of every step; without, the rows have one for each epoch.
    """

    def columns(names):
        return {shown: _column(history or [], name) for shown, name in names.items()}

    parts = _stage_columns(history, "_loss", _LOSSES)
    parts |= {f"{shown}{_VALIDATION}": f"val_{name}" for shown, name in parts.items()}
    recalls = _stage_columns(history, "_recall", _RECALLS)
    rates, x_label = columns({"learning rate": "learning_rate"}), "epoch"
    if learning_rate is not None and len(learning_rate[0]):
        rates, x_label = {"learning rate": list(zip(*learning_rate, strict=True))}, "step"
    share = {"y_limits": (0, 1)}
    return _drawn(
        ("Loss", columns({"training": "loss", "validation": "val_loss"}), "epoch", {}),
        ("Parts of the loss (dashed: validation)", columns(parts), "epoch", {}),
        ("Recall of the sampled positives", columns(recalls), "epoch", share),
        ("COCO metrics on the validation images", _metrics(history), "epoch", share),
        ("Learning rate", rates, x_label, {"legend": False}),
    )


def _stage_columns(history, ending, shown):
    """{name on the chart: column} of the losses or recalls of stages, those that are called something here first."""
    found = [name for row in history or [] for name in row if name.endswith(ending)]
    found = [name.removeprefix("val_") for name in found if name != "val_loss"]
    others = {name.removesuffix(ending).replace("_", " "): name for name in found if name not in shown.values()}
    return shown | others


def _metrics(history):
    """{name on the chart: points} of what the metric families draw; a name that two share shows its family."""
    series = {}
    for family in METRIC_FAMILIES:
        for name in family.charted:
            points = [(x, y) for x, y in _column(history or [], f"val_{name}") if y >= 0]  # -1: not in this epoch
            if points:
                series[name if family.label(name) in series else family.label(name)] = points
    return series


def precision_recall_charts(curves: Mapping[str, Any] | None, of_family: str = "") -> list[tuple[str, str]]:
    """[(title, SVG)] of what `COCOEvaluator.precision_recall` returns: the classes, and their mean.

    of_family: begins the titles.
    """
    if not curves or not curves.get("classes"):
        return []

    def points(values):
        return list(zip(curves["recall"], values, strict=True))

    title, named, others = f"{of_family}Each class at IoU 0.5", list(curves["classes"].items()), []
    if len(named) > _MOST_NAMED_CLASSES:
        ranked, half = sorted(named, key=lambda item: -item[1]["AP50"]), _MOST_NAMED_CLASSES // 2
        named, others = ranked[:half] + ranked[-half:], ranked[half:-half]
        title += f" ({half} best and {half} worst named of {len(ranked)})"
    classes = {f"{name}, AP50 {curve['AP50']:.3f}": points(curve["precision50"]) for name, curve in named}
    mean = {
        f"IoU 0.5, AP50 {curves['mean']['AP50']:.3f}": points(curves["mean"]["precision50"]),
        f"mean over IoU 0.50:0.95, AP {curves['mean']['AP']:.3f}": points(curves["mean"]["precision"]),
    }
    options = {"x_limits": (0, 1), "y_limits": (0, 1), "y_label": "precision"}
    pale = [points(curve["precision50"]) for _, curve in others]
    return _drawn(
        (title, classes, "recall", options | {"pale": pale}),
        (f"{of_family}Mean over the classes", mean, "recall", options),
    )


def recall_charts(areas: Mapping[str, Mapping[str, Sequence[tuple[float, float]]]]) -> list[tuple[str, str]]:
    """[(title, SVG)] of average recall over the number of proposals, one for each object size.

    areas: {"small": {row: [(number of proposals, average recall), ...]}, ...}.
    """
    options = {"x_limits": (1, 1000), "x_scale": "log", "y_label": "average recall"}
    label = "proposals an image"
    return _drawn(*((f"Average recall, {name} objects", series, label, options) for name, series in areas.items()))


def line_chart(
    title: str,
    series: Mapping[str, Sequence[tuple[float, float]]],
    x_label: str,
    *,
    x_limits: tuple[float, float] | None = None,
    y_limits: tuple[float, float] | None = None,
    y_label: str = "",
    x_scale: str = "linear",
    legend: bool = True,
    pale: Iterable[Sequence[tuple[float, float]]] = (),
) -> str:
    """A line chart as an <svg> element, the same bytes for the same numbers.

    title: tells the page's charts apart: their ids come from it, and it is what a screen reader says.
    series: {name: [(x, y), ...]}, none of them empty; names that end in ", validation" take the colour of
        their sister, dashed. x is a whole number (epoch, step) unless x_limits are given; y starts at 0.
    x_scale: "linear" or "log".
    pale: further [(x, y), ...] without a name.
    """
    with _figure(title) as figure:
        axes = figure.subplots()
        for points in pale:
            axes.plot(*zip(*points, strict=True), color=_NEUTRAL, alpha=0.3, linewidth=0.8)
        lines = _plot(axes, series)
        axes.set_xscale(x_scale)
        _set_axes(axes, x_label, y_label, x_limits, y_limits)
        if legend:
            _add_legend(figure, lines)
        return _as_svg(figure, title)


@contextlib.contextmanager
def _figure(title):
    """An empty figure of a chart, in the style of all."""
    import matplotlib.style
    from matplotlib.figure import Figure

    # From the defaults, not from the user's matplotlibrc, which may be made for slides; both are back after.
    settings: list[str | dict[str, Any]] = ["default", _STYLE, {"svg.hashsalt": title}]
    with matplotlib.style.context(settings), warnings.catch_warnings():
        # matplotlib's font may lack the letters of a class name; the browser, which draws them, has others.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        yield Figure(figsize=(_WIDTH, _HEIGHT), layout="constrained")


def _as_svg(figure, title):
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    return _inline(buffer.getvalue(), title)


def share_chart(title: str, labels: Sequence[str], counts: Mapping[str, Sequence[int]]) -> str:
    """A chart of bars as an <svg> element: what share of all a kind of things is, side by side for several data sets.

    title: tells the page's charts apart, see `line_chart`.
    labels: of the kinds.
    counts: {name: how many of each kind}, of each data set; at least one has something.
    """
    with _figure(title) as figure:
        axes = figure.subplots()
        bars, width = {}, 0.84 / len(counts)
        for number, (name, values) in enumerate(counts.items()):
            places = [place + (number - (len(counts) - 1) / 2) * width for place in range(len(labels))]
            shares = [100 * value / max(sum(values), 1) for value in values]
            label = f"{name} ({sum(values):,})"
            bars[label] = axes.bar(places, shares, width, color=_COLORS[number % len(_COLORS)])
        axes.set_xticks(range(len(labels)), labels, rotation=35, ha="right", rotation_mode="anchor")
        axes.grid(axis="x", visible=False)
        axes.set_ylabel("%")
        axes.locator_params(axis="y", nbins=6)
        _add_legend(figure, bars)
        return _as_svg(figure, title)


def _drawn(*charts):
    """[(title, SVG)] of those (title, series, x label, options) that have a point."""
    drawn = []
    for title, series, x_label, options in charts:
        series = {name: points for name, points in series.items() if points}
        if series:
            drawn.append((title, line_chart(title, series, x_label, **options)))
    return drawn


def _plot(axes, series):
    """{name: line}; lines may leave the frame, else those at 0 and 1 would be cut to half their width."""
    lines = {}
    for name, points in series.items():
        sister = lines.get(name.removesuffix(_VALIDATION))
        lines[name] = axes.plot(
            *zip(*points, strict=True),
            color=sister.get_color() if sister else _COLORS[len(lines) % len(_COLORS)],
            linestyle="--" if name.endswith(_VALIDATION) else "-",
            marker="o" if len(points) <= _MOST_MARKED_POINTS else "",
            clip_on=False,
        )[0]
    return lines


def _set_axes(axes, x_label, y_label, x_limits, y_limits):
    axes.set(xlabel=x_label, ylabel=y_label)
    if x_limits:
        axes.set_xlim(x_limits)
        if axes.get_xscale() == "log":  # its own labels are formulas
            ticks = [10**power for power in range(9) if x_limits[0] <= 10**power <= x_limits[1]]
            axes.set_xticks(ticks, [str(tick) for tick in ticks])
            axes.minorticks_off()
    else:
        axes.locator_params(axis="x", integer=True, min_n_ticks=1)
    axes.locator_params(axis="y", nbins=6)
    axes.set_ylim(y_limits or (min(0.0, axes.dataLim.ymin), None))


def _add_legend(figure, lines):
    """Names below the axes, in as many columns as they leave room for; the figure grows by their rows."""
    # A dashed line goes by its sister's name; it has its own only where there is no sister.
    names = [name for name in lines if not name.endswith(_VALIDATION) or name.removesuffix(_VALIDATION) not in lines]
    handles = [lines[name] for name in names]
    # The end says how good a class is, so a name that is too long loses its middle.
    longest = _LEGEND_LETTERS - 8
    names = [name if len(name) <= longest else f"{name[: longest - 16]}…{name[-15:]}" for name in names]
    columns = max(1, _LEGEND_LETTERS // (max(map(len, names)) + 8))
    figure.set_figheight(_HEIGHT + _LEGEND_ROW * math.ceil(len(names) / columns))
    figure.legend(handles, names, ncols=columns, loc="outside lower left")


def _inline(document, title):
    """The <svg> element of matplotlib's SVG document, for the middle of an HTML page.

    Without its preamble, metadata and style sheet, which would hold for the whole page, and without the
    names of groups, which every chart has; ids that something refers to are hashes and stay.
    """
    view = re.search(r'viewBox="[^"]*"', document).group()
    body = document[document.index(">", document.index("<svg")) + 1 :].strip()
    body = re.sub(r"<(metadata|style)\b.*?</\1>", "", body, flags=re.DOTALL)
    body = re.sub(r'<g id="[^"]*"', "<g", body)
    body = body.replace(_NEUTRAL, "currentColor")
    label = html.escape(title)
    return f'<svg {view} role="img" aria-label="{label}" stroke-linejoin="round">{body}'


def _column(history, name):
    """[(epoch, value)] of the rows that have one."""
    points = [(_value(row, "epoch", index + 1), _value(row, name)) for index, row in enumerate(history)]
    return [(x, y) for x, y in points if y is not None]


def _value(row, name, default=None):
    try:
        value = float(row[name])
    except (KeyError, TypeError, ValueError):
        return default
    return value if math.isfinite(value) else default
