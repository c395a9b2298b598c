"""Measured COCO figures against expected ones: what `keras-fpn evaluate --expect` does."""

from collections.abc import Iterable, Mapping, Sequence

from keras_fpn.console.errors import UserError
from keras_fpn.console.naming import nearest
from keras_fpn.metrics import MetricFamily, all_families, family_of

DEFAULT_TOLERANCE = 0.002  # what the references' own figures differ by between two of their releases
_ROUNDING = 1e-9  # 0.372 is within 0.002 of 0.370, though not in binary


def parse(text: str) -> tuple[str, float]:
    """`(name, figure)` of "AP=0.370".

    Raises:
        UserError: no figure, or one that is not from 0 to 1.
    """
    name, sign, figure = text.rpartition("=")
    try:
        value: float | None = float(figure)
    except ValueError:
        value = None
    if not sign or not name or value is None:
        raise UserError(f"--expect {text}: not NAME=FIGURE; write for example AP=0.370")
    if 1 < value <= 100:
        raise UserError(f"--expect {text}: figures go from 0 to 1, not to 100; write {name}={value / 100:.3f}")
    if not 0 <= value <= 1:
        raise UserError(f"--expect {text}: a figure goes from 0 to 1")
    return name, value


def resolve(
    expected: Iterable[tuple[str, float]],
    class_names: Sequence[str],
    metric_families: Mapping[str, tuple[MetricFamily, ...]],
) -> dict[str, float]:
    """The expectations under the names that metrics.json has.

    Args:
        expected: `[(name, figure), ...]`. A name is one of metrics.json; a family's name before it, "proposals/", may
            be left out where no metric has the rest for its name, so AR1000 is proposals/AR1000 and AR100 is that of
            detections.
        class_names: of the annotations, for "AP/<class>".
        metric_families: of the model.

    Returns:
        `{name: figure}`.

    Raises:
        UserError: for a name that is not measured, or one that is expected to be two figures.
    """
    families = all_families(metric_families)
    known = [name for family in families for name in family.names(class_names)]
    figures: dict[str, float] = {}
    for given, figure in expected:
        whole = (given, *(f"{family.name}/{given}" for family in families))
        name = next((name for name in whole if name in known), None)
        if name is None and families[0].model_kind and family_of(given):
            raise UserError(f"--expect {given}: this model {families[0].model_kind}; expect {families[0].main}")
        if name is None:
            raise UserError(f"--expect {given}: no such metric{nearest(given, known)}")
        if figures.setdefault(name, figure) != figure:
            raise UserError(f"--expect {name}: both {figures[name]} and {figure}; give one of them")
    return figures


def compare(
    metrics: Mapping[str, float | None], figures: Mapping[str, float], tolerance: float = DEFAULT_TOLERANCE
) -> tuple[list[str], list[str]]:
    """Hold the metrics against the figures expected.

    Args:
        metrics: `{name: value}`, undefined ones -1 or None.
        figures: `{name: figure}`, of `resolve`.

    Returns:
        `(lines of those inside the tolerance, lines of those outside)`, one for each figure.
    """
    inside, outside = [], []
    for name, figure in figures.items():
        value = metrics[name]
        if value is None or value == -1:
            outside.append(f"{name}: undefined, the annotations have no object to measure it on; expected {figure:.4g}")
            continue
        line = f"{name}: {value:.4f}, expected {figure:.4g} within {tolerance:g}"
        if abs(value - figure) <= tolerance + _ROUNDING:
            inside.append(line)
        else:
            outside.append(f"{line}: {abs(value - figure):.4f} {'above' if value > figure else 'below'}")
    return inside, outside
