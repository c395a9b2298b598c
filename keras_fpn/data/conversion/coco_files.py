"""A data set as COCO instances files: `annotations/instances_train.json` beside `train/`, and so on."""

import json
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

from keras_fpn.console.files import write_text
from keras_fpn.data.conversion.pictures import Written, arriving, as_told, bring
from keras_fpn.data.conversion.sources import Source
from keras_fpn.data.conversion.target_names import TargetNames


def write_coco(sources: Mapping[str, Source], out: Path, progress: Callable[[], None]) -> Written:
    """Write it; see `voc_files.write_voc`."""
    changed, rewritten = 0, []
    for half, source in sources.items():
        names = TargetNames(by_stem=False)
        # Where nothing divides the images CVAT calls them "default", and they are found so.
        name, folder = ("default", out / "images" / "default") if half == "all" else (half, out / half)
        folder.mkdir(parents=True, exist_ok=True)
        entries = []
        for entry, file in zip(source.entries, source.files, strict=True):
            picture = arriving(source, entry, file)
            file_name = names.take(picture.name, picture.size.format)
            bring(picture, folder / file_name)
            rewritten += as_told(picture)
            entries.append({**{key: value for key, value in entry.items() if key != "record"}, "file_name": file_name})
            progress()
        place = {number: index for index, number in enumerate(source.order)}
        items = sorted((item for items in source.objects for item in items), key=lambda item: place[item["id"]])
        content = {**source.further, "images": entries, "annotations": items, "categories": source.categories}
        path = out / "annotations" / f"instances_{name}.json"
        write_text(path, json.dumps(content, separators=(",", ":")) + "\n")
        changed += names.changed
    return Written(changed, Counter(), rewritten)
