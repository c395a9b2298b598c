"""The classes to learn: some of a data set's, renamed or merged, and one list for the parts of a data set."""

import dataclasses
import logging
from collections.abc import Mapping, Sequence

from keras_fpn.console.errors import UserError
from keras_fpn.console.naming import nearest
from keras_fpn.data.instances import Instances
from keras_fpn.data.objects import short

log = logging.getLogger(__name__)

Classes = Sequence[str] | Mapping[str, str | Sequence[str]]

_NAMED = 6  # classes that a line names


def with_one_list(parts: Sequence[Instances]) -> list[Instances]:
    """The parts with one list of categories: those of the first, and behind them what only later ones have.

    Categories of one name are one class, whatever their ids are; those that have an id of their own keep it.
    """
    if all(part.class_names == parts[0].class_names for part in parts):
        return list(parts)
    ids: dict[str, int] = {}
    for part in parts:
        for number, name in part.class_names.items():
            if name not in ids:
                ids[name] = number if number not in ids.values() else max(ids.values()) + 1
    return [_renumbered(part, {number: ids[name] for number, name in part.class_names.items()}, ids) for part in parts]


def choose_classes(
    parts: Sequence[Instances], classes: Classes | None, may_lack_some: bool = False
) -> list[Instances]:
    """The parts, which have one list of categories, with the chosen classes alone.

    Args:
        classes: names to keep, or `{name: names that become it}`: a class may be renamed, and several merged. An id
            stays where a class keeps its name; a new name has the id of the first that became it. Annotations whose
            categories are those names already, as held-out ones may be, stay as they are. None: all.
        may_lack_some: whether names that the parts have not are passed over, as long as they have one: they were chosen
            of other data.

    Raises:
        UserError: a name is not among the categories, or is given twice.
    """
    ids = {name: number for number, name in parts[0].class_names.items()}
    if classes is None or _is_done(_by_name(classes), ids):
        return list(parts)
    if may_lack_some:
        classes = _of_those(classes, ids) or classes
    sources = _sources(classes, ids, _sources_of(parts))
    wanted = {name: ids[name] if name in old else ids[old[0]] for name, old in sources.items()}
    new_id = {ids[each]: wanted[name] for name, old in sources.items() for each in old}
    return [_renumbered(part, new_id, wanted) for part in parts]


def _of_those(classes, ids) -> dict[str, list[str]]:
    """The classes without the names that there are not."""
    there = {name: [each for each in old if each in ids] for name, old in _by_name(classes).items()}
    return {name: old for name, old in there.items() if old}


def _is_done(sources, ids) -> bool:
    return set(sources) == set(ids) and any(each not in ids for old in sources.values() for each in old)


def joined_by_name(parts: Sequence[Instances], categories: Mapping[str, int] | None) -> list[Instances]:
    """The parts, which have one list of categories, with those that a model learnt.

    Args:
        categories: `{name: id}` of the model. Categories of these names have its ids then, and those of the model that
            the parts do not list are there without an object. Parts with another name among theirs stay as they are.
    """
    if categories is None or not _are_others(parts[0], categories):
        return list(parts)
    new_id = {number: categories[name] for number, name in parts[0].class_names.items()}
    return [_renumbered(part, new_id, categories) for part in parts]


def _are_others(part: Instances, categories: Mapping[str, int]) -> bool:
    theirs = {name: number for number, name in part.class_names.items()}
    return theirs != categories and set(theirs) <= set(categories)


def tell_of_joining(parts: Sequence[Instances], categories: Mapping[str, int] | None) -> None:
    """A line where the categories of the parts are going to be joined to a model's."""
    if categories is not None and _are_others(parts[0], categories):
        log.warning(
            "%s: its categories have other ids or are fewer than those that were learnt; they are joined by name, and"
            " results have the ids that were learnt",
            parts[0].source,
        )  # fmt: skip


def tell_of_classes(before: Sequence[Instances], after: Sequence[Instances], classes: Classes | None) -> None:
    """A line about the classes that were chosen of the parts, and one about classes that may be one."""
    if len(before) > 1:
        _tell_of_spellings(before)
    if classes is not None:
        _tell_of_choice(_by_name(classes), before, after)


def _renumbered(part: Instances, new_id: Mapping[int, int], ids: Mapping[str, int]) -> Instances:
    """A part with other ids of its categories; objects of those without a new one are left out.

    ids: `{name: id}` of the categories that there are then. An object of a category that the file does not list stays
    as it is, and is told when it is read.
    """
    annotations = []
    for item in part.annotations:
        number = item.get("category_id")
        if isinstance(number, int) and number in new_id:
            same = new_id[number] == number
            annotations.append(item if same else {**item, "category_id": new_id[number]})
        elif number not in part.class_names:
            annotations.append(item)
    further = {category["id"]: category for category in part.categories}
    old_of: dict[int, int] = {}
    for old, new in new_id.items():
        old_of.setdefault(new, old)
    categories = [
        {**further.get(old_of.get(number, -1), {}), "id": number, "name": name}
        for name, number in sorted(ids.items(), key=lambda pair: pair[1])
    ]
    names = {category["id"]: category["name"] for category in categories}
    return dataclasses.replace(part, annotations=annotations, categories=categories, class_names=names)


def _sources(classes: Classes, ids: Mapping[str, int], source: str) -> dict[str, list[str]]:
    """`{name: the categories that become it}`, checked."""
    sources = _by_name(classes)
    if not sources or not all(sources.values()):
        raise UserError("data.classes: names no class; give names of the annotations, or leave it out")
    given = [each for old in sources.values() for each in old]
    for name in given:
        if name not in ids:
            raise UserError(f"data.classes: {source} has no class {short(name)}{nearest(name, ids)}")
        if given.count(name) > 1:
            raise UserError(f"data.classes: {short(name)} is given twice; a class of the annotations becomes one class")
    return sources


def _sources_of(parts: Sequence[Instances]) -> str:
    return " and ".join(part.source for part in parts)


def _by_name(classes: Classes) -> dict[str, list[str]]:
    if isinstance(classes, Mapping):
        return {name: [old] if isinstance(old, str) else list(old) for name, old in classes.items()}
    return {name: [name] for name in ([classes] if isinstance(classes, str) else classes)}


def _tell_of_choice(sources, parts, chosen):
    of_all = {name for part in parts for name in part.class_names.values()}
    before, after = (sum(len(part.annotations) for part in each) for each in (parts, chosen))
    changed = [f"{name} from {', '.join(old)}" for name, old in sources.items() if old != [name]]
    text = "; ".join(changed[:_NAMED]) + (f" and {len(changed) - _NAMED} more" if len(changed) > _NAMED else "")
    log.warning(
        "%s: %d classes of %d, %d of %d objects%s",
        _sources_of(parts), len(sources), len(of_all), after, before, f" ({text})" if text else "",
    )  # fmt: skip


def _tell_of_spellings(parts: Sequence[Instances]) -> None:
    """A line where two classes differ in capital letters alone, which are two classes nevertheless."""
    seen: dict[str, str] = {}
    for name in (name for part in parts for name in part.class_names.values()):
        other = seen.setdefault(name.casefold(), name)
        if other != name:
            log.warning(
                "%s: %r and %r are two classes; if they are one, give data.classes={%s: [%s, %s]}",
                parts[-1].source, other, name, other, other, name,
            )  # fmt: skip
            return
