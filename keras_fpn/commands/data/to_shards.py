"""`keras-fpn data to-shards`: its options, and its lines on the screen."""

import argparse
from pathlib import Path

from keras_fpn.commands.arguments import add_extension, add_reading, positive, reading
from keras_fpn.console.screen import import_quietly

HELP = "write a data set as TFRecord files with an index, which training reads as it reads a folder"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add its options and what runs it to the parser of the command."""
    parser.add_argument("data", metavar="DATA", help="folder of a data set in any format, or annotations")
    parser.add_argument("out", metavar="OUT", help="folder to write")
    parser.add_argument("--images", metavar="DIR", help="folder of the images of annotations")
    size = parser.add_mutually_exclusive_group()
    size.add_argument(
        "--shard-mb", type=positive, metavar="MB", default=200, help="megabytes of a shard, about as many (200)"
    )
    size.add_argument("--shards", type=positive, metavar="N", help="shards of each half instead")
    parser.add_argument(
        "--seed", type=int, metavar="K", default=0, help="of the order of pictures in the shards (0)"
    )
    add_reading(parser)
    add_extension(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    from keras_fpn.data.checks.finding import counted
    from keras_fpn.data.shard_folder import check_shards_output, write_shards

    halves = _halves(arguments.data, arguments.images)
    how = reading(arguments.overrides, {})
    check_shards_output(arguments.out)
    import_quietly()
    written = write_shards(
        arguments.out,
        halves,
        shard_bytes=arguments.shard_mb * 1_000_000,
        shards=arguments.shards,
        seed=arguments.seed,
        reading=how,
    )
    for name, half in written.items():
        print(f"{name}: {counted(half.images, 'image')} in {counted(half.shards, 'shard')}, {half.bytes / 1e6:.1f} MB")
    print(f"wrote {arguments.out}; train on it: keras-fpn train CONFIG --data {arguments.out}")


def _halves(data, images):
    """The halves of a folder; annotations by themselves are one, "all"."""
    from keras_fpn.data import sources
    from keras_fpn.data.formats import find_halves

    if images is None and not Path(data).is_file():
        return find_halves(data)[1]
    (half,) = sources.as_halves(data, images)
    sources.check_there(half)
    return {"all": half}
