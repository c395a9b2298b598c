"""`keras-fpn weights`: the published files that have a name, and where they are."""

import argparse
from collections.abc import Iterable
from typing import TYPE_CHECKING

from keras_fpn.console.errors import UserError
from keras_fpn.console.naming import nearest

if TYPE_CHECKING:
    from keras_fpn.checkpoints.published_files import PublishedFile

HELP = "list published weights by name, and download them"
_END = """convert NAME --out FILE and train --weights NAME download what is not here; weights NAME tells of one file.
Figures are those of the sources: AP and AR on COCO val2017, top-1 on ImageNet; not yet measured with this package."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add its options and what runs it to the parser of the command."""
    parser.add_argument("names", metavar="NAME", nargs="*", help="files to tell more of (all, a line each)")
    parser.add_argument("--download", action="store_true", help="download the named files if they are not here")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    from keras_fpn.checkpoints import published_cache
    from keras_fpn.checkpoints.published_files import FILES

    for name in arguments.names:
        if name not in FILES:
            raise UserError(f"{name}: no published file has this name{nearest(name, FILES)}")
    files = [FILES[name] for name in arguments.names]
    if arguments.download:
        if not files:
            raise UserError("--download needs names: keras-fpn weights --download NAME ...")
        for file in files:
            print(published_cache.fetch(file), flush=True)
    elif files:
        print("\n\n".join(_details(file, published_cache) for file in files))
    else:
        print(f"{_list(FILES.values(), published_cache)}\n\nfolder: {published_cache.folder()}\n{_END}")


def _list(files: "Iterable[PublishedFile]", cache) -> str:
    rows = [("name", "source", "what", "reached there", "MB", "here")]
    rows += [
        (file.name, file.source, file.kind, file.reached, _megabytes(file), "yes" if cache.is_here(file) else "")
        for file in files
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def _details(file: "PublishedFile", cache) -> str:
    lines = {
        "name": file.name,
        "what": f"{file.kind} of {file.source}",
        "reached": f"{file.reached}, as {file.source} says",
        "size": f"{_megabytes(file)} MB" if file.megabytes else "not published",
        "digest": f"{file.digest}, all of it that is published",
        "from": cache.url_of(file),
        "place": f"{cache.place(file)} ({'here' if cache.is_here(file) else 'not here yet'})",
    }
    return "\n".join(f"{key + ':':<9}{value}" for key, value in lines.items())


def _megabytes(file):
    return f"{file.megabytes:.0f}" if file.megabytes else "?"

