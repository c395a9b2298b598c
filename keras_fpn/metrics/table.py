"""Metrics as lines of text, in percent."""

from collections.abc import Mapping

from keras_fpn.metrics.registered import families_in, without_family

_TITLE_WIDTH, _COLUMN_WIDTH = 10, 9  # letters, at least
_MOST_NAMED = 100  # classes on the screen


def metrics_table(metrics: Mapping[str, float]) -> str:
    """Return metrics as lines of text, in percent; a dash where the annotations define none.

    Args:
        metrics: `{name: value}`; those of no family that is known come last, under their names.
    """
    families = families_in(metrics)
    lines = [line for family in families for line in _family_lines(family, metrics)]
    named = [
        (of_class, f"{(family.class_prefix or '').rstrip('/')} {_percent(value)}")
        for family in families
        for name, value in metrics.items()
        if (of_class := family.class_of(name)) is not None
    ]
    named += [(name, _percent(value)) for name, value in without_family(metrics).items()]
    left_out = len(named) - _MOST_NAMED
    named = named if left_out <= 0 else named[:_MOST_NAMED]
    width = max([len(name) for name, _ in named] + [_TITLE_WIDTH])
    lines += [f"{name:<{width}} {shown}" for name, shown in named]
    return "\n".join(lines + ([] if left_out <= 0 else [f"and {left_out} more, which a file of metrics has all"]))


def _family_lines(family, metrics):
    if not any(name in metrics for name in family.metrics):
        return  # of its classes alone
    title, width = family.name, max(_TITLE_WIDTH, len(family.name))
    for row in family.lines:
        columns = [(family.label(name), _percent(metrics.get(name))) for name in row]
        widths = [max(_COLUMN_WIDTH, len(label) + 2) for label, _ in columns]
        yield f"{title:<{width}}" + "".join(f"{label:>{w}}" for (label, _), w in zip(columns, widths, strict=True))
        yield " " * width + "".join(f"{shown:>{w}}" for (_, shown), w in zip(columns, widths, strict=True))
        title = ""


def _percent(value):
    return "-" if value is None or value == -1 else f"{100 * value:.1f}"
