"""The `keras-fpn` command: arguments in, one of the other modules at work, an exit code out.

0: done. 1: the work failed. 2: the call, the configuration or the data is wrong; one line on stderr says
how to mend it. 130: stopped by Ctrl-C or SIGTERM.
Nothing heavy is imported before a sub-command runs, so `--help` answers at once.
"""

import argparse
import errno
import functools
import json
import os
import re
import sys
import time
from pathlib import Path

from keras_fpn import __version__, extensions
from keras_fpn.errors import UserError
from keras_fpn.files import check_output, write_json
from keras_fpn.metrics.table import metrics_table
from keras_fpn.naming import nearest
from keras_fpn.screen import import_quietly
from keras_fpn.signals import sigterm_as_ctrl_c

INTERRUPTED = 130  # 128 + SIGINT, what a shell expects


class _Parser(argparse.ArgumentParser):
    """One line for a mistake, and the nearest name for a misspelt one."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, allow_abbrev=False, **kwargs)
        self.commands = {}

    def error(self, message):
        raise UserError(f"{message} ({self.prog} --help lists what there is)")

    def add_commands(self, title):
        group = self.add_subparsers(title=title, metavar="COMMAND", parser_class=_Parser, required=True)
        return lambda name, help, **kwargs: self.commands.setdefault(
            name, group.add_parser(name, help=help, description=help, **kwargs)
        )

    def options(self):
        return [option for action in self._actions for option in action.option_strings if len(option) > 2]


def main(argv=None):
    """Run one command; returns its exit code (`keras-fpn` is this function)."""
    argv = sys.argv[1:] if argv is None else list(argv)
    # Set before anything imports Keras. Level 3 keeps TensorFlow's C++ notes off the screen.
    os.environ["KERAS_BACKEND"] = "tensorflow"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    parser = _build_parser()
    try:
        if not argv:
            parser.print_help()
            return 2
        arguments = _parse(parser, argv)
        with sigterm_as_ctrl_c():
            arguments.extensions = extensions.load(getattr(arguments, "extensions", []))
            return arguments.run(arguments) or 0
    except UserError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # whoever read our lines went away, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        if error.filename is None:
            raise
        print(f"error: {error.filename}: {error.strerror}", file=sys.stderr)
        return 1 if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO) else 2


def _parse(parser, argv):
    command, words = parser, list(argv)
    while command.commands and words and not words[0].startswith("-"):
        if words[0] not in command.commands:
            raise UserError(f"unknown command {words[0]!r}{nearest(words[0], command.commands)}")
        command = command.commands[words.pop(0)]
    known = command.options()
    for word in words:
        option = word.split("=")[0]
        if option.startswith("--") and len(option) > 2 and option not in known:
            raise UserError(f"unknown option {option}{nearest(option, known)}")
    return parser.parse_args(argv)


def _build_parser():
    parser = _Parser(prog="keras-fpn", description="Feature Pyramid Networks for object detection.")
    parser.add_argument("--version", action="version", version=f"keras-fpn {__version__}")
    add = parser.add_commands("commands")
    _add_demo(add("demo", "write the embedded data set, train on it, measure, and leave a report"))
    data = add("data", "make data sets").add_commands("data commands")
    _add_shapes(data("shapes", "write the embedded data set: a COCO-format folder"))
    _add_train(add("train", "train a detector on a COCO-format data set"))
    _add_evaluate(add("evaluate", "measure a model on annotated images: COCO AP and AR"))
    _add_propose(add("propose", "write the boxes that a model proposes: Fast R-CNN is trained and measured on them"))
    _add_detect(add("detect", "find objects in image files: pictures with boxes, and COCO results"))
    _add_export(add("export", "write a model for TF Serving, TFLite or ONNX, and hold the file against the model"))
    _add_convert(add("convert", "make a model of published weights, or write a model's weights for torchvision"))
    _add_benchmark(add("benchmark", "time a model on random images"))
    _add_paper(add("paper", "train the rows of a table of the FPN paper, and write it beside the paper's own"))
    return parser


def _add_demo(parser):
    parser.add_argument("--out", metavar="RUN", help="run folder (default: runs/demo, runs/demo-2 ...)")
    parser.add_argument("--images", type=_positive, metavar="N", help="training images")
    parser.add_argument("--val-images", type=_positive, metavar="N", default=200, help="held-out (200)")
    parser.add_argument("--size", type=_positive, metavar="S", default=256, help="side in pixels (256)")
    parser.add_argument("--config", default="shapes", help="configuration (shapes)")
    _add_set(parser)
    _add_extension(parser)
    parser.set_defaults(run=_demo)


def _add_shapes(parser):
    parser.add_argument("out", metavar="OUT", help="folder to write")
    parser.add_argument("--images", type=_positive, metavar="N", default=2000, help="training images (2000)")
    parser.add_argument("--val-images", type=_positive, metavar="N", default=200, help="held-out (200)")
    parser.add_argument("--size", type=_positive, metavar="S", default=256, help="side in pixels (256)")
    parser.add_argument("--seed", type=int, metavar="K", default=0, help="same seed, same bytes (0)")
    parser.set_defaults(run=_data_shapes)


def _add_train(parser):
    parser.add_argument("config", metavar="CONFIG", nargs="?", help="shipped configuration or YAML file")
    parser.add_argument("--data", metavar="DIR", help="COCO-format folder; fills in data.train and data.val")
    parser.add_argument("--out", metavar="RUN", help="run folder (default: runs/CONFIG, runs/CONFIG-2 ...)")
    parser.add_argument("--resume", metavar="RUN", help="go on with a run that was stopped")
    parser.add_argument(
        "--weights", metavar="MODEL", help=".keras file or run folder to start from: what fits is taken"
    )
    parser.add_argument(
        "--four-step", action="store_true",
        help="train RPN, Fast R-CNN on its proposals, and both again on shared features: one Faster R-CNN",
    )  # fmt: skip
    _add_set(parser)
    _add_extension(parser)
    parser.set_defaults(run=_train)


def _add_evaluate(parser):
    parser.add_argument("model", metavar="MODEL", help=".keras file or run folder")
    parser.add_argument("--annotations", metavar="F", help="COCO instances JSON (default: the run's own)")
    parser.add_argument("--images", metavar="DIR", help="folder of the images")
    parser.add_argument(
        "--proposals", metavar="DIR", help="of a Fast R-CNN: what keras-fpn propose wrote (default: the run's own)"
    )
    parser.add_argument("--json", metavar="OUT", help="write the detections as COCO results")
    parser.add_argument("--metrics", metavar="OUT", help="write the metrics as JSON")
    parser.add_argument("--batch-size", type=_positive, metavar="N", default=1, help="images at a time (1)")
    parser.add_argument(
        "--expect", metavar="NAME=FIGURE", action="append", default=[],
        help="exit with 1 unless the metric comes out so, from 0 to 1: AP=0.370; may be repeated; names as in the"
        " --metrics file, and AR1000 for proposals/AR1000 (AR100 alone is that of detections)",
    )  # fmt: skip
    parser.add_argument(
        "--tolerance", type=_probability, metavar="T", help="how far off a figure of --expect may be (0.002)"
    )
    _add_extension(parser)
    parser.set_defaults(run=_evaluate)


def _add_propose(parser):
    parser.add_argument("model", metavar="MODEL", help="an RPN or a Faster R-CNN: .keras file or run folder")
    parser.add_argument("--annotations", metavar="F", required=True, help="COCO instances JSON: names the images")
    parser.add_argument("--images", metavar="DIR", required=True, help="folder of the images")
    parser.add_argument("--out", metavar="DIR", required=True, help="folder to write")
    parser.add_argument("--count", type=_positive, metavar="N", default=2000, help="boxes of an image, at most (2000)")
    parser.add_argument("--batch-size", type=_positive, metavar="N", default=1, help="images at a time (1)")
    _add_extension(parser)
    parser.set_defaults(run=_propose)


def _add_detect(parser):
    parser.add_argument("model", metavar="MODEL", help=".keras file, run folder, .tflite, .onnx or SavedModel folder")
    parser.add_argument(
        "images", metavar="IMAGE_OR_FOLDER", nargs="+", help="image files, or folders of them"
    )
    parser.add_argument("--out", metavar="DIR", default="detections", help="for the pictures (detections)")
    parser.add_argument("--threshold", type=_probability, metavar="T", default=0.5, help="least score (0.5)")
    parser.add_argument("--json", metavar="OUT", help="write the detections as COCO results")
    parser.add_argument("--batch-size", type=_positive, metavar="N", default=1, help="images at a time (1)")
    _add_extension(parser)
    parser.set_defaults(run=_detect)


def _add_export(parser):
    parser.add_argument("model", metavar="MODEL", help=".keras file or run folder")
    parser.add_argument("--format", metavar="F", required=True, help="saved_model, tflite or onnx")
    parser.add_argument(
        "--out", metavar="PATH", required=True, help=".tflite or .onnx file, or the folder of a SavedModel's versions"
    )
    parser.add_argument(
        "--size", type=_size, metavar="HxW",
        help="of tflite, whose input is static: images are fitted into it, top left. Default: the model's shorter by"
        " its longer side, 320x640 for 320 and 640. A portrait picture becomes small in a landscape frame: give 640x320"
        " for portraits alone, 640x640 for both, at twice the time",
    )  # fmt: skip
    parser.add_argument(
        "--precision", metavar="P", default="float32",
        help="float32; bfloat16 (saved_model); float16, dynamic_int8, int8 (tflite)",
    )  # fmt: skip
    parser.add_argument(
        "--input-type", metavar="T",
        help="of tflite and onnx: uint8 or float32 (default: what the model's own way to resize yields)",
    )  # fmt: skip
    text = "of tflite and a Fast R-CNN, which is given proposals: most of them (1000)"
    parser.add_argument("--max-proposals", type=_positive, metavar="N", help=text)
    parser.add_argument(
        "--calibration", metavar="IMAGE_OR_FOLDER", nargs="+", action="extend",
        help="of int8: some 100 images like those it will see",
    )  # fmt: skip
    parser.add_argument(
        "--signature", metavar="NAME", nargs="+", action="extend", default=[], dest="signatures",
        help="of saved_model, besides serving_default and serving_bytes: raw, proposals",
    )  # fmt: skip
    parser.add_argument("--model-version", type=_positive, metavar="N", help="of saved_model: PATH/N is written (1)")
    parser.add_argument(
        "--verify", action=argparse.BooleanOptionalAction, default=True,
        help="run the file on pictures and hard cases, and keep it only if it answers as the model does (default)",
    )  # fmt: skip
    parser.add_argument("--force", action="store_true", help="replace what is there")
    _add_extension(parser)
    parser.set_defaults(run=_export)


def _add_convert(parser):
    parser.add_argument(
        "checkpoint", metavar="CHECKPOINT", help=".pth, .pt, .pkl, .npz or .safetensors; with --to a .keras file"
    )
    parser.add_argument("--out", metavar="FILE", required=True, help=".keras file; with --to .safetensors")
    parser.add_argument("--source", choices=("torchvision", "detectron2"), help="where it is from (told by its names)")
    parser.add_argument("--config", metavar="NAME", help="configuration to build (told by the tensors)")
    parser.add_argument("--classes", metavar="LIST", help="of a detector of your own: a,b,c or a file, one a line")
    parser.add_argument("--to", choices=("torchvision",), help="write a model's weights back under these names")
    _add_set(parser)
    _add_extension(parser)
    parser.set_defaults(run=_convert)


def _add_benchmark(parser):
    parser.add_argument("model", metavar="CONFIG_OR_MODEL", help="configuration, .keras file or run folder")
    parser.add_argument(
        "--size", type=_size, metavar="HxW", help="image size (default: 4:3 by the model's resize rule)"
    )
    parser.add_argument("--batch-size", type=_positive, metavar="N", default=1, help="images at a time (1)")
    parser.add_argument(
        "--runs", type=_positive, metavar="N", default=7, help="timed runs after the warm-up (7)"
    )
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--stages", action="store_true", help="time backbone, pyramid and so on apart")
    text = "time another by turns with it, and tell the ratio of the two medians"
    how.add_argument("--against", metavar="CONFIG_OR_MODEL", help=text)
    parser.add_argument("--json", metavar="OUT", help="write the timings as JSON")
    _add_set(parser)
    _add_extension(parser)
    parser.set_defaults(run=_benchmark)


def _add_paper(parser):
    parser.add_argument("table", metavar="TABLE", help="table1, table2, table3, table5 or table6")
    parser.add_argument(
        "--data", metavar="DIR", help="folder in a COCO layout to train on; without data: the embedded data set"
    )
    parser.add_argument("--annotations", metavar="F", help="COCO instances JSON of the images to measure on")
    parser.add_argument("--images", metavar="DIR", help="folder of those images")
    parser.add_argument("--seeds", type=_positive, metavar="N", default=3, help="runs of each row (3)")
    parser.add_argument(
        "--out", metavar="DIR", default="runs/paper", help="of all runs and tables; what is finished stays (runs/paper)"
    )
    parser.add_argument(
        "--weights", metavar="BACKBONE=FILE", nargs="+", action="extend", default=[],
        help="what rows start from: resnet50=resnet50.keras (random weights)",
    )  # fmt: skip
    _add_set(parser)
    _add_extension(parser)
    parser.set_defaults(run=_paper)


def _add_extension(parser):
    text = "module or .py file that brings parts of its own, see docs/extending.md"
    parser.add_argument(
        "--extension", metavar="MODULE_OR_FILE", nargs="+", action="extend", default=[], dest="extensions", help=text
    )


def _with_extensions(arguments):
    """The overrides of a new run, which names the extensions that it was given."""
    named = [f"extensions={json.dumps(arguments.extensions)}"] if arguments.extensions else []
    return [*named, *arguments.overrides]


def _add_set(parser):
    text = "override settings, for example training.steps=1000"
    parser.add_argument(
        "--set", metavar="KEY=VALUE", nargs="+", action="extend", default=[], dest="overrides", help=text
    )


def _positive(text):
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return value


def _probability(text):
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to 1")
    return value


def _size(text):
    match = re.fullmatch(r"(\d+)[xX](\d+)", text)
    if not match or not int(match[1]) or not int(match[2]):
        raise argparse.ArgumentTypeError(f"{text!r} is not HEIGHTxWIDTH, for example 800x1344")
    return int(match[1]), int(match[2])


def _demo(arguments):
    from keras_fpn.config import load_config

    config = load_config(arguments.config, _with_extensions(arguments))
    import_quietly()
    from keras_fpn.demo import NUM_TRAIN, run_demo

    return _told(
        run_demo(
            arguments.out,
            config=config,
            num_train=arguments.images or NUM_TRAIN,
            num_val=arguments.val_images,
            size=arguments.size,
        )
    )


def _data_shapes(arguments):
    from keras_fpn.data.shapes import write_shapes
    from keras_fpn.progress import Count

    out = Path(arguments.out)
    if out.is_dir() and any(out.iterdir()):
        raise UserError(f"{out}: is not empty, and files in it might be overwritten; choose another OUT or remove it")
    num_train, num_val = arguments.images, arguments.val_images
    with Count("draw", num_train + num_val) as count:
        write_shapes(
            arguments.out,
            num_train=num_train,
            num_val=num_val,
            size=arguments.size,
            seed=arguments.seed,
            progress=count,
        )
    print(f"wrote {arguments.out}; train on it: keras-fpn train shapes --data {arguments.out}")


def _train(arguments):
    if (arguments.config is None) == (arguments.resume is None):
        raise UserError(
            "train needs a CONFIG (for example faster_rcnn_r50_fpn) or --resume RUN, and not both"
        )
    if arguments.resume is not None:
        return _resume(arguments)
    from keras_fpn.config import load_config

    config = load_config(arguments.config, _with_extensions(arguments))
    if arguments.weights and any(item.startswith("training.weights=") for item in arguments.overrides):
        raise UserError("--weights and --set training.weights both name weights; give one of them")
    named = ("data.train.annotations=", "data.train.images=", "data.val.annotations=", "data.val.images=")
    twice = [item for item in arguments.overrides if item.startswith(named)]
    if arguments.data is not None and twice:
        raise UserError(f"--data {arguments.data} and --set {twice[0]} both name the data; give one of them")
    import_quietly()
    from keras_fpn import four_step, runs, training

    if arguments.four_step:
        four_step.check(config, arguments.config)
    config = training.with_weights(training.with_data(config, arguments.data), arguments.weights)
    with runs.new_run_folder(arguments.out, arguments.config) as run_dir:
        outcome = (four_step.carry_out if arguments.four_step else training.train)(config, run_dir)
    return _told(outcome, metrics_table)


def _resume(arguments):
    options = {"data": "data", "out": "out", "weights": "weights", "overrides": "set", "four_step": "four-step"}
    for option, name in options.items():
        if getattr(arguments, option):
            raise UserError(
                f"--{name} does not go with --resume: a run goes on with the settings it began with"
            )
    import_quietly()
    from keras_fpn import four_step, training

    resume = four_step.resume if four_step.is_four_step(arguments.resume) else training.resume
    return _told(resume(arguments.resume), metrics_table)


def _told(outcome, table=None):
    """Tell how a run ended; returns the exit code."""
    if not outcome.interrupted:
        if table:
            print(f"{table(outcome.metrics)}\ndone: {outcome.run_dir}")
        return 0
    print(f"stopped at step {outcome.step} of {outcome.total_steps}; resume with:")
    print(f"  keras-fpn train --resume {outcome.run_dir}")
    return INTERRUPTED


def _evaluate(arguments):
    if arguments.tolerance is not None and not arguments.expect:
        raise UserError("--tolerance says how far off --expect may be; give --expect, for example AP=0.370")
    import_quietly()
    from keras_fpn import evaluation, expectations, training
    from keras_fpn.data.coco import read_coco
    from keras_fpn.model_files import load_model

    expected = [expectations.parse(text) for text in arguments.expect]
    for path in filter(None, (arguments.json, arguments.metrics)):
        check_output(path)
    annotations, images, invalid_boxes = _annotated_images(arguments)
    model = load_model(arguments.model)
    data_set = read_coco(annotations, images, invalid_boxes=invalid_boxes, fields=model.object_fields)
    data_set = _with_given_proposals(arguments, model, data_set)
    evaluator = evaluation.COCOEvaluator(data_set.annotations, leave_out=data_set.dropped)
    figures = expectations.resolve(expected, evaluator.class_names, model.metric_families)
    metrics, results, _ = training.measure(
        model,
        data_set,
        batch_size=arguments.batch_size,
        evaluator=evaluator,
        most_results=None if arguments.json else 0,
    )
    print(f"{arguments.model} on {annotations}, {len(data_set)} images, in percent")
    print(metrics_table(metrics))
    if arguments.json:
        file_names = {record.image_id: record.file_name for record in data_set.records}
        write_json(arguments.json, [{"file_name": file_names[r["image_id"]]} | r for r in results])
        print(f"wrote {len(results)} detections to {arguments.json}")
    if arguments.metrics:
        write_json(arguments.metrics, evaluation.metrics_to_json(metrics))
        print(f"wrote {arguments.metrics}")
    return _held_against(metrics, figures, arguments.tolerance)


def _held_against(metrics, figures, tolerance):
    """Tell which metrics came out as expected and which did not; returns the exit code."""
    from keras_fpn import expectations

    tolerance = expectations.DEFAULT_TOLERANCE if tolerance is None else tolerance
    inside, outside = expectations.compare(metrics, figures, tolerance)
    for line in inside:
        print(line)
    for line in outside:
        print(line, file=sys.stderr)
    return 1 if outside else 0


def _annotated_images(arguments):
    """The annotations and images asked for, or those that a run kept for its validation."""
    from keras_fpn.config import load_run_config

    if arguments.annotations and arguments.images:
        return arguments.annotations, arguments.images, "refuse"
    if arguments.annotations or arguments.images:
        raise UserError("--annotations and --images go together")
    run_config = Path(arguments.model) / "config.yaml"
    if not run_config.is_file():
        raise UserError("give --annotations FILE and --images DIR; only a run folder knows images of its own")
    data = load_run_config(run_config).data
    return data.val.annotations, data.val.images, data.invalid_boxes


def _with_given_proposals(arguments, model, data_set):
    """The data set with the proposals asked for, or those that a run kept, where the model needs some."""
    if "proposals" not in model.further_inputs:
        if arguments.proposals:
            raise UserError(f"--proposals: {arguments.model} finds boxes itself ({model.title}); leave it out")
        return data_set
    from keras_fpn.config import load_run_config
    from keras_fpn.data.settings import DataSettings
    from keras_fpn.training import with_proposals

    run_config = Path(arguments.model) / "config.yaml"
    data = load_run_config(run_config).data if run_config.is_file() else DataSettings()
    path = arguments.proposals or (None if arguments.annotations else data.val.proposals)
    if path is None:
        raise UserError(
            f"{arguments.model}: {model.title} needs proposals; give --proposals DIR, a folder that keras-fpn propose"
            " wrote for these images"
        )
    return with_proposals(data_set, path, data.test_proposals)


def _propose(arguments):
    from keras_fpn.proposal_files import check_proposals_output

    check_proposals_output(arguments.out)
    import_quietly()
    from keras_fpn.data.coco import read_coco
    from keras_fpn.model_files import load_model
    from keras_fpn.propose import check_proposing, propose

    # Of the annotations only the images are used.
    data_set = read_coco(arguments.annotations, arguments.images, invalid_boxes="drop")
    model = load_model(arguments.model)
    check_proposing(model, arguments.model)
    most = model.settings["proposals"]["post_nms_top_k_train"]
    if most < arguments.count:
        print(f"note: the model itself keeps {most} boxes of an image (its proposals.post_nms_top_k_train)")
    images, proposals = propose(
        model,
        data_set,
        arguments.out,
        count=arguments.count,
        batch_size=arguments.batch_size,
        name=arguments.model,
    )
    print(f"wrote {proposals} proposals of {images} images, {proposals / images:.0f} each, to {arguments.out}")
    print("next, with those of the training and of the validation images:")
    print("  keras-fpn train CONFIG --set model.architecture=fast_rcnn data.train.proposals=DIR data.val.proposals=DIR")


def _detect(arguments):
    from keras_fpn import images, visualize

    check_output(arguments.out, folder=True)
    if arguments.json:
        check_output(arguments.json)
    files = images.list_images(arguments.images)
    images.check_images(files)
    pictures = _picture_paths(files, arguments.out)
    iterate, floor = _open_detector(arguments.model)
    if arguments.threshold < floor:
        print(f"note: the model itself drops what scores {floor:g} or less (its detections.score_threshold)")
    results = []
    found = iterate(files, arguments.threshold, arguments.batch_size)
    start = time.perf_counter()
    for number, (one, picture) in enumerate(zip(found, pictures, strict=True), start=1):
        milliseconds = 1000 * (time.perf_counter() - start)
        results += one.to_results(image_id=number)
        values = {"boxes": one.boxes} | one.further
        drawn = visualize.draw_found(
            one.image, values, one.fields, one.captions(), one.scores, classes=one.classes
        )
        picture.parent.mkdir(parents=True, exist_ok=True)
        visualize.save_picture(drawn, picture)
        counts = _count_names(one.names)
        print(f"image {number}/{len(files)} {one.file_name}: {counts}, {milliseconds:.0f} ms", flush=True)
        start = time.perf_counter()
    notes = "".join(f", {field.note}" for field in one.fields if field.note)
    print(f"wrote {len(files)} pictures to {arguments.out}{notes}")
    if arguments.json:
        write_json(arguments.json, sorted(results, key=lambda result: -result["score"]))
        print(f"wrote {len(results)} detections to {arguments.json}")


def _open_detector(path):
    """`iterate(images, threshold, batch_size)` of a model or of an exported one, and what score either drops."""
    from keras_fpn.export import artefacts

    kind = artefacts.format_of(path)
    if kind is None and Path(path).suffix in (".tflite", ".onnx"):
        raise UserError(f"{path}: no such model; keras-fpn export writes such a file")
    if kind is None and Path(path).is_dir() and not (Path(path) / "model.keras").is_file():
        raise UserError(f"{path}: neither a run nor a SavedModel: no model.keras, no saved_model.pb in it")
    if kind in (None, "saved_model"):
        import_quietly()  # the other formats run without TensorFlow
    if kind is None:
        from keras_fpn import inference
        from keras_fpn.model_files import load_model

        model = load_model(path)
        floor = model.settings.get("detections", {}).get("score_threshold", 0.0)
        return functools.partial(inference.iterate, model), floor
    from keras_fpn.export import artefact_inference

    artefact = artefacts.open_artefact(path)
    return functools.partial(artefact_inference.iterate, artefact), artefact.description.score_threshold


def _picture_paths(files, out):
    """Where the picture of each file goes; files of one name in different folders get a number."""
    taken, paths, inputs = set(), [], {file.resolve() for file in files}
    for file in files:
        suffix = file.suffix if file.suffix.lower() in (".jpg", ".jpeg", ".png") else ".jpg"
        name, number = f"{file.stem}{suffix}", 1
        while name in taken:
            number += 1
            name = f"{file.stem}-{number}{suffix}"
        taken.add(name)
        paths.append(Path(out) / name)
        if paths[-1].resolve() in inputs:
            raise UserError(f"{paths[-1]}: is an input image; choose another --out")
    return paths


def _count_names(names):
    counts = {name: names.count(name) for name in dict.fromkeys(names)}
    return ", ".join(f"{count} {name}" for name, count in counts.items()) or "nothing"


def _export(arguments):
    from keras_fpn.export import exporting
    from keras_fpn.export.agreement import VerificationError

    request = exporting.Request(
        format=arguments.format,
        out=Path(arguments.out),
        size=arguments.size,
        precision=arguments.precision,
        input_type=arguments.input_type,
        max_proposals=arguments.max_proposals,
        calibration=arguments.calibration,
        signatures=arguments.signatures,
        version=arguments.model_version,
        verify=arguments.verify,
        force=arguments.force,
    )
    request.check()
    import_quietly()
    try:
        outcome = exporting.carry_out(request, arguments.model, tell=functools.partial(print, flush=True))
    except VerificationError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    print(exporting.summary(outcome))
    return 0


def _convert(arguments):
    suffix = ".safetensors" if arguments.to else ".keras"
    if Path(arguments.out).suffix != suffix:
        raise UserError(f"--out {arguments.out}: convert writes a {suffix} file here; give it that ending")
    if arguments.to:
        return _convert_back(arguments)
    if Path(arguments.checkpoint).suffix == ".keras":
        raise UserError(f"{arguments.checkpoint}: is a Keras model already; --to torchvision writes it for torchvision")
    start = time.perf_counter()
    import_quietly()
    from keras_fpn import conversion
    from keras_fpn.checkpoints.classes import read_class_names

    check_output(arguments.out)
    names = None if arguments.classes is None else read_class_names(arguments.classes)
    tell = functools.partial(print, flush=True)
    converted = conversion.convert(
        arguments.checkpoint, arguments.source, arguments.config, names, arguments.overrides, tell
    )
    print(conversion.summary(converted), flush=True)
    conversion.save(converted.model, arguments.out)
    print(f"wrote {arguments.out} in {time.perf_counter() - start:.1f} s; next:")
    print(conversion.next_commands(converted, arguments.out))


def _convert_back(arguments):
    for option, name in (("source", "source"), ("config", "config"), ("classes", "classes"), ("overrides", "set")):
        if getattr(arguments, option):
            raise UserError(f"--{name} does not go with --to: the model has its own")
    if Path(arguments.checkpoint).suffix != ".keras" and Path(arguments.checkpoint).is_file():
        raise UserError(f"{arguments.checkpoint}: is no .keras file; convert it to one first, without --to")
    start = time.perf_counter()
    import_quietly()
    from keras_fpn import conversion
    from keras_fpn.model_files import load_model

    check_output(arguments.out)
    print(f"reading {arguments.checkpoint}", flush=True)
    model = load_model(arguments.checkpoint)
    try:
        print(conversion.write_torchvision(model, arguments.out))
    except UserError as error:
        raise UserError(f"{arguments.checkpoint}: {error}") from None
    print(f"wrote {arguments.out} in {time.perf_counter() - start:.1f} s")


def _benchmark(arguments):
    import_quietly()
    from keras_fpn.benchmark import run_benchmark, run_comparison

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


def _paper(arguments):
    from keras_fpn.paper import tables

    tables.table(arguments.table)  # before TensorFlow is waited for
    import_quietly()
    from keras_fpn.paper.command import run_table

    finished = run_table(
        arguments.table,
        out=arguments.out,
        data=arguments.data,
        annotations=arguments.annotations,
        images=arguments.images,
        seeds=arguments.seeds,
        overrides=arguments.overrides,
        weights=arguments.weights,
    )
    if finished:
        return 0
    print("stopped; the same command goes on where it was")
    return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
