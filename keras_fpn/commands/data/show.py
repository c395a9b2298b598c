"""`keras-fpn data show`: its options, and its lines on the screen."""

import argparse
from pathlib import Path

from keras_fpn.commands.arguments import add_extension, add_set, positive, with_extensions
from keras_fpn.console.errors import UserError

HELP = "draw training batches with their boxes and names, as the network sees them, and the files as they are"

_ENDINGS = (".jpg", ".jpeg", ".png")
_MOST = 320  # pictures of a sheet: a JPEG has at most 65535 rows


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add its options and what runs it to the parser of the command."""
    parser.add_argument(
        "what", metavar="DIR|CONFIG", help="data set, as faster_rcnn_r50_fpn learns from it, or a configuration"
    )
    parser.add_argument("--data", metavar="DIR", nargs="+", help="data set of a CONFIG that names none, or several")
    parser.add_argument(
        "--out", metavar="F",
        help="picture to write, and F_files beside it: the files as they are (show.jpg, or show-2.jpg ...)",
    )  # fmt: skip
    parser.add_argument("--batches", type=positive, metavar="N", default=1, help="how many (1)")
    add_set(parser)
    add_extension(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    from keras_fpn.console.screen import import_quietly

    config, out, files = _checked(arguments)
    import_quietly()
    from keras_fpn.reporting.visualize import save_picture
    from keras_fpn.training.shown_data import shown_data

    batches, whole, data_set = shown_data(config, arguments.batches)
    save_picture(batches, out)
    save_picture(whole, files)
    pictures, classes = len(data_set), len(data_set.class_names)
    print(f"wrote {out}: as the network sees them; and {files}: as they are ({pictures} pictures, {classes} classes)")


def _checked(arguments):
    """The configuration, and the names of the two pictures; what can be told without TensorFlow is told here."""
    from keras_fpn.config.loading import load_config
    from keras_fpn.training.train_half import with_train_half

    out, files = _places(arguments.out)
    overrides = with_extensions(arguments)
    if arguments.data is None and not _is_config(arguments.what):
        config = with_train_half(load_config(overrides=overrides), arguments.what)
    else:
        config = with_train_half(load_config(arguments.what, overrides), arguments.data)
    number = min(config.data.batch_size, 16)
    if arguments.batches * number > _MOST:
        raise UserError(
            f"--batches {arguments.batches}: {arguments.batches * number} pictures, and a sheet has room for {_MOST};"
            f" give at most {_MOST // number}"
        )
    return config, out, files


def _is_config(name: str) -> bool:
    """Whether a name is of a configuration; a folder, and what a format of data knows by name, is a data set."""
    from keras_fpn.config.loading import shipped_configs
    from keras_fpn.console.naming import nearest
    from keras_fpn.data.formats import FORMATS

    if Path(name).is_dir() or any(each.find_named(name) is not None for each in FORMATS):
        return False
    if Path(name).is_file() or Path(name).suffix in (".yaml", ".yml") or name in shipped_configs():
        return True
    near = nearest(name, shipped_configs())
    hint = near if "did you mean" in near else "; give a folder with a data set, or a configuration"
    raise UserError(f"{name}: no such folder or configuration{hint}")


def _places(out: str | None) -> tuple[Path, Path]:
    """Where the two pictures are written: as asked for, or under a name that nothing has yet."""
    from keras_fpn.console.files import check_output

    if out is None:
        numbers = ("", *(f"-{number}" for number in range(2, 10_000)))
        pairs = ((Path(f"show{number}.jpg"), Path(f"show{number}_files.jpg")) for number in numbers)
        pair = next((pair for pair in pairs if not any(place.exists() for place in pair)), None)
        if pair is None:
            raise UserError("show-9999.jpg: is there already; give --out F")
    else:
        place = Path(out)
        if place.suffix.lower() not in _ENDINGS:
            raise UserError(f"--out {out}: no picture that is written here; end its name in {', '.join(_ENDINGS)}")
        pair = (place, place.with_name(f"{place.stem}_files{place.suffix}"))
    for place in pair:
        check_output(place)
    return pair
