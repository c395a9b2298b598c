"""The photographs of the comparison: JPEG files that both sides read, drawn by name."""

import catalogue
import drawn_checkpoints
from PIL import Image


def write(folder):
    """Write those that are not there; returns `{name: path}`."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = {}
    for name, (height, width) in catalogue.PICTURES.items():
        paths[name] = folder / f"{name}.jpg"
        if not paths[name].is_file():
            Image.fromarray(drawn_checkpoints.picture(name, height, width)).save(paths[name], quality=92)
    return paths
