"""`keras-fpn benchmark MODEL --formats ...`: what the model answers and costs in every runtime, as one table."""

import argparse
from pathlib import Path
from typing import Any

from keras_fpn.commands.arguments import check_annotated, check_model
from keras_fpn.console.errors import UserError
from keras_fpn.console.files import check_output
from keras_fpn.console.screen import import_quietly


def run(arguments: argparse.Namespace) -> None:
    """Measure the exports of a run folder or a `.keras` file.

    Raises:
        UserError: the model is none of these, a format is unknown, or an option does not go with --formats.
    """
    from keras_fpn.export import parity_command

    try:
        formats = [parity_command.variants(text) for text in arguments.formats]
    except argparse.ArgumentTypeError as error:
        raise UserError(f"--formats: {error}") from None
    given = {"--batch-size": arguments.batch_size != 1, "--runs": arguments.runs != 7, "--set": arguments.overrides}
    for option in (option for option, is_given in given.items() if is_given):
        raise UserError(f"{option} does not go with --formats, which measures the model as it is; leave it out")
    check_model(arguments.model, "benchmark --formats")
    if arguments.json:
        check_output(arguments.json)
    found = _of_run(Path(arguments.model))
    import_quietly()
    parity_command.print_table(
        parity_command.Asked(arguments.model, **found, formats=formats, size=arguments.size, json=arguments.json)
    )


def _of_run(folder: Path) -> dict[str, Any]:
    """Images that a run knows: those to measure AP on, and those to calibrate int8 with."""
    from keras_fpn.config.loading import load_run_config

    if not (folder / "config.yaml").is_file():
        print("no AP, and no int8: a .keras file knows no images; give a run folder", flush=True)
        return {}
    data = load_run_config(folder / "config.yaml").data
    try:
        if data.val.annotations is None:
            raise UserError(f"{folder}: its configuration names no validation images")
        check_annotated(data.val.annotations, data.val.images)
    except UserError as error:
        print(f"no AP, and no int8: {error}", flush=True)
        return {}
    train = data.train.images
    calibration = [train] if isinstance(train, str) else list(train or [])
    val = {"annotations": data.val.annotations, "images": data.val.images, "reading": data.reading}
    return val | {"calibration": calibration or None}
