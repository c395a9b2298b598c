"""`keras-fpn convert`: its options, and its lines on the screen."""

import argparse
import functools
import time
from pathlib import Path

from keras_fpn.commands.arguments import add_extension, add_set, check_model
from keras_fpn.console.errors import UserError
from keras_fpn.console.files import check_output
from keras_fpn.console.screen import import_quietly

HELP = "make a model of published weights, or write a model's weights for torchvision"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add its options and what runs it to the parser of the command."""
    parser.add_argument(
        "checkpoint", metavar="CHECKPOINT",
        help="name of a published file, which keras-fpn weights lists, or a .pth, .pt, .pkl, .npz or .safetensors file;"
        " with --to a .keras file",
    )  # fmt: skip
    parser.add_argument("--out", metavar="FILE", required=True, help=".keras file; with --to .safetensors")
    parser.add_argument("--source", choices=("torchvision", "detectron2"), help="where it is from (told by its names)")
    parser.add_argument("--config", metavar="NAME", help="configuration to build (told by the tensors)")
    parser.add_argument("--classes", metavar="LIST", help="of a detector of your own: a,b,c or a file, one a line")
    parser.add_argument("--to", choices=("torchvision",), help="write a model's weights back under these names")
    add_set(parser)
    add_extension(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    suffix = ".safetensors" if arguments.to else ".keras"
    if Path(arguments.out).suffix != suffix:
        raise UserError(f"--out {arguments.out}: convert writes a {suffix} file here; give it that ending")
    if arguments.to:
        return _convert_back(arguments)
    if Path(arguments.checkpoint).suffix == ".keras":
        raise UserError(f"{arguments.checkpoint}: is a Keras model already; --to torchvision writes it for torchvision")
    start = time.perf_counter()
    names, checkpoint = _checked(arguments)
    import_quietly()
    from keras_fpn.checkpoints import conversion

    tell = functools.partial(print, flush=True)
    converted = conversion.convert(
        checkpoint, arguments.source, arguments.config, names, arguments.overrides, tell
    )
    print(conversion.summary(converted), flush=True)
    conversion.save(converted.model, arguments.out)
    print(f"wrote {arguments.out} in {time.perf_counter() - start:.1f} s; next:")
    print(conversion.next_commands(converted, arguments.out))


def _checked(arguments):
    """Refuse what cannot be converted, before TensorFlow is imported.

    Returns:
        The class names that are given, and the path of the checkpoint, which is downloaded last.
    """
    from keras_fpn.checkpoints import published_files
    from keras_fpn.checkpoints.class_names import read_class_names
    from keras_fpn.checkpoints.files import check_begins_right
    from keras_fpn.checkpoints.weights_file import checkpoint_file
    from keras_fpn.config.loading import load_config

    if published_files.find(arguments.checkpoint) is None:
        try:
            check_begins_right(Path(arguments.checkpoint))
        except UserError as error:
            more = "" if Path(arguments.checkpoint).exists() else published_files.hint(arguments.checkpoint)
            raise UserError(f"{arguments.checkpoint}: {error}{more}") from None
    check_output(arguments.out)
    if arguments.config is not None:
        load_config(arguments.config, arguments.overrides)
    names = None if arguments.classes is None else read_class_names(arguments.classes)
    return names, checkpoint_file(arguments.checkpoint)


def _convert_back(arguments):
    for option, name in (("source", "source"), ("config", "config"), ("classes", "classes"), ("overrides", "set")):
        if getattr(arguments, option):
            raise UserError(f"--{name} does not go with --to: the model has its own")
    if Path(arguments.checkpoint).suffix != ".keras" and Path(arguments.checkpoint).is_file():
        raise UserError(f"{arguments.checkpoint}: is no .keras file; convert it to one first, without --to")
    start = time.perf_counter()
    check_model(arguments.checkpoint, "convert")
    check_output(arguments.out)
    import_quietly()
    from keras_fpn.checkpoints import conversion
    from keras_fpn.models.files import load_model

    print(f"reading {arguments.checkpoint}", flush=True)
    model = load_model(arguments.checkpoint)
    try:
        print(conversion.write_torchvision(model, arguments.out))
    except UserError as error:
        raise UserError(f"{arguments.checkpoint}: {error}") from None
    print(f"wrote {arguments.out} in {time.perf_counter() - start:.1f} s")
