"""The quick half of the check, which a training run begins with: what the annotations alone say, in one line."""

from collections.abc import Mapping
from typing import Any

from keras_fpn.data.checks.finding import NOTE, counted, worst_first
from keras_fpn.data.checks.half_table import table_of_data_set
from keras_fpn.data.checks.subject import Subject, findings
from keras_fpn.data.checks.table import CHECKS
from keras_fpn.data.coco import CocoDataset

_NAMED = 4  # findings in the line


def quick_line(halves: Mapping[str, CocoDataset], resize: Mapping[str, Any]) -> str:
    """Tell in a line what the quick checks find in data that were read; errors were refused before.

    Args:
        halves: by name.
        resize: the rule by which images are resized, see `data.sizes`.
    """
    subjects = [Subject(table_of_data_set(name, data_set), None, resize) for name, data_set in halves.items()]
    found = [each for each in findings(subjects, [check for check in CHECKS if check.is_quick])
             if each.kind.severity != NOTE]  # fmt: skip
    if not found:
        objects = counted(sum(len(subject.table.rows) for subject in subjects), "object")
        return f"data: nothing to warn of in {objects}; keras-fpn data check looks at the pictures, too"
    found = worst_first(found)
    words = [f"{each.words} ({each.half})" for each in found[:_NAMED]]
    more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    sources = next(data_set for name, data_set in halves.items() if any(each.half == name for each in found)).sources
    place = f"{sources[0].annotations} --images {sources[0].images}" if sources[0].images else sources[0].annotations
    command = f"keras-fpn data check {place} tells more{' of the first data set' if len(sources) > 1 else ''}"
    return f"data: {counted(len(found), 'warning')}: {', '.join(words)}{more}; {command}"
