"""COCO's own instances file in place of what TFDS kept of it: masks, exact areas, boxes as they were written.

Images are joined by their ids. Whatever does not fit shows that the file is of another data set.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from keras_fpn.console.errors import UserError
from keras_fpn.data.instances import Instances
from keras_fpn.data.objects import shown


def joined(content: Mapping[str, Any], original: Instances) -> dict[str, Any]:
    """The images of TFDS with what an instances file says of them, in the order of that file.

    Args:
        content: of an instances file, as TFDS has it.
        original: may have further images.

    Returns:
        content of an instances file; files and places of the images are those of `content`.

    Raises:
        UserError: an image is not in the file, or has another size or number of objects there.
    """
    entries = {image["id"]: image for image in original.images}
    counts = Counter(item["image_id"] for item in original.annotations)
    kept = Counter(item["image_id"] for item in content["annotations"])
    for image in content["images"]:
        _check(image, entries.get(image["id"]), kept[image["id"]], counts[image["id"]], original.source)
    here = {image["id"]: image for image in content["images"]}
    places = ("file_name", "record")
    return {
        "images": [
            entry | {key: here[entry["id"]][key] for key in places if key in here[entry["id"]]}
            for entry in original.images
            if entry["id"] in here
        ],
        "annotations": [item for item in original.annotations if item["image_id"] in here],
        "categories": original.categories,
    }


def _check(image, entry, kept, count, source):
    name = f"{source}: image {image['id']} ({shown(image['file_name'])})"
    mend = "give the instances file that the TFDS data set was made of"
    if entry is None:
        raise UserError(f"{name} of the TFDS data set is not in it; {mend}")
    sizes = tuple((each.get("width"), each.get("height")) for each in (entry, image))
    if sizes[0] != sizes[1]:
        said, found = (f"{width} x {height}" for width, height in sizes)
        raise UserError(f"{name} has {said} pixels (width x height), and {found} in the TFDS data set; {mend}")
    if kept != count:
        raise UserError(f"{name} has {count} objects, and {kept} in the TFDS data set; {mend}")
