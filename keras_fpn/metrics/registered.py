"""The families of metrics that there are, and whose a name of a metric is."""

from collections.abc import Mapping
from typing import TypeVar

from keras_fpn.console.errors import UserError
from keras_fpn.metrics.family import MetricFamily
from keras_fpn.parts.registry import Registry

METRIC_FAMILIES = Registry("metric family", "metric family")
_Family = TypeVar("_Family", bound=MetricFamily)


def register_metric_family(family: _Family) -> _Family:
    """Make a `MetricFamily` known: metrics of its names are then printed, reported and drawn as it says.

    Returns:
        The family.

    Raises:
        UserError: there is another of its name, or another has a metric of one of its names.
    """
    for other in METRIC_FAMILIES:
        shared = _owned(family, other) + _owned(other, family)
        if other.name != family.name and shared:
            raise UserError(f"metric family {family.name!r}: {shared[0]!r} is a metric of {other.name!r}; rename it")
    return METRIC_FAMILIES.add(family.name, family)


def _owned(family, other):
    """Names of metrics of a family, the start of those of classes included, that another would have, too."""
    names = family.metrics if family.class_prefix is None else (*family.metrics, family.class_prefix)
    return [name for name in names if other.owns(name)]


def family_of(name: str) -> MetricFamily | None:
    """The family that a metric is one of, or None."""
    return next((family for family in METRIC_FAMILIES if family.owns(name)), None)


def families_in(metrics: Mapping[str, float]) -> list[MetricFamily]:
    """The families of some metrics, in the order in which they were measured: the first is the main one.

    Args:
        metrics: `{name: value}`, such as the content of metrics.json.
    """
    return list(dict.fromkeys(filter(None, map(family_of, metrics))))


def without_family(metrics: Mapping[str, float]) -> dict[str, float]:
    """The metrics that are of no family, `{name: value}`: those of an extension that is not loaded."""
    return {name: value for name, value in metrics.items() if family_of(name) is None}
