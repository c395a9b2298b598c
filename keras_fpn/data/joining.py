"""Several annotation files as one: ids that no two images or objects share, lists one behind the other."""

import dataclasses
import logging
from collections.abc import Sequence

from keras_fpn.data.instances import Instances
from keras_fpn.data.objects import is_whole

log = logging.getLogger(__name__)


def with_own_ids(parts: Sequence[Instances]) -> list[Instances]:
    """The parts with ids that are unique over all of them; the first keeps its own, and so does a part that can."""
    result = [parts[0]]
    for part in parts[1:]:
        result.append(_beyond(part, result))
    return result


def join(parts: Sequence[Instances]) -> Instances:
    """One `Instances` of all images and objects; the parts have one list of categories and ids of their own."""
    if len(parts) == 1:
        return parts[0]
    return dataclasses.replace(
        parts[0],
        source=" and ".join(part.source for part in parts),
        categories=completed_categories(parts)[0],
        images=[image for part in parts for image in part.images],
        annotations=[item for part in parts for item in part.annotations],
    )


def completed_categories(parts: Sequence[Instances]) -> list[list[dict]]:
    """The categories of each part, which have one list, with what only other parts say of them."""
    of_parts = [{category["id"]: category for category in part.categories} for part in parts]
    return [
        [
            {
                key: value
                for each in (*reversed(of_parts), own)
                for key, value in each.get(number, {}).items()
                if value is not None
            }
            for number in own
        ]
        for own in of_parts
    ]


def tell_of_ids(before: Sequence[Instances], after: Sequence[Instances]) -> None:
    """A line for each part whose image ids were those of another, and are not any more."""
    for old, new in zip(before, after, strict=True):
        by = new.images[0]["id"] - old.images[0]["id"] if new.images else 0
        if by:
            others = " and ".join(each.source for each in before if each is not old)
            log.warning("%s: some image ids are those of %s, too; they are higher by %d here", old.source, others, by)


def _beyond(part: Instances, earlier: Sequence[Instances]) -> Instances:
    """A part with its ids moved beyond those of earlier parts where some are the same."""
    images = _shift([each.images for each in earlier], part.images)
    objects = _shift([each.annotations for each in earlier], part.annotations)
    annotations = part.annotations
    if images or objects:
        annotations = [_moved(_moved(item, "id", objects), "image_id", images) for item in annotations]
    return dataclasses.replace(
        part, images=[_moved(image, "id", images) for image in part.images], annotations=annotations
    )


def _shift(earlier, entries) -> int:
    """By how much ids go up so that none is an earlier one; 0 where none is."""
    taken = {entry["id"] for each in earlier for entry in each if is_whole(entry.get("id"))}
    own = [entry["id"] for entry in entries if is_whole(entry.get("id"))]
    if taken.isdisjoint(own):
        return 0
    return max(taken) + 1 - min(min(own), 1)


def _moved(entry: dict, key: str, by: int) -> dict:
    return {**entry, key: entry[key] + by} if by and is_whole(entry.get(key)) else entry
