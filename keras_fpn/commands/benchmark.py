"""`keras-fpn benchmark`: its options, and its lines on the screen."""


import argparse

from keras_fpn.commands.arguments import add_extension, add_set, check_config_or_model, positive, size
from keras_fpn.console.files import check_output
from keras_fpn.console.screen import import_quietly

HELP = "time a model on random images"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add its options and what runs it to the parser of the command."""
    parser.add_argument("model", metavar="CONFIG_OR_MODEL", help="configuration, .keras file or run folder")
    parser.add_argument(
        "--size", type=size, metavar="HxW", help="image size (default: 4:3 by the model's resize rule)"
    )
    parser.add_argument("--batch-size", type=positive, metavar="N", default=1, help="images at a time (1)")
    parser.add_argument(
        "--runs", type=positive, metavar="N", default=7, help="timed runs after the warm-up (7)"
    )
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--stages", action="store_true", help="time backbone, pyramid and so on apart")
    text = "time another by turns with it, and tell the ratio of the two medians"
    how.add_argument("--against", metavar="CONFIG_OR_MODEL", help=text)
    text = (
        "export it and table what each file answers and costs: all, saved_model, tflite, onnx, or one precision,"
        " tflite:int8; of a run folder AP on its validation images, too"
    )
    how.add_argument("--formats", metavar="F", nargs="+", help=text)
    parser.add_argument("--json", metavar="OUT", help="write the timings as JSON")
    add_set(parser)
    add_extension(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    if arguments.formats:
        from keras_fpn.commands import benchmark_formats

        benchmark_formats.run(arguments)
        return
    for name in filter(None, (arguments.model, arguments.against)):
        check_config_or_model(name, arguments.overrides, "benchmark")
    if arguments.json:
        check_output(arguments.json)
    import_quietly()
    from keras_fpn.inference.timing import run_benchmark, run_comparison

    options = {
        "overrides": arguments.overrides,
        "size": arguments.size,
        "batch_size": arguments.batch_size,
        "runs": arguments.runs,
        "json_path": arguments.json,
    }
    if arguments.against is not None:
        run_comparison(arguments.model, arguments.against, **options)
    else:
        run_benchmark(arguments.model, stages=arguments.stages, **options)
