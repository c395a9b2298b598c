"""`keras-fpn evaluate`: its options, and its lines on the screen."""

import argparse
import functools
import os
import sys
from pathlib import Path

from keras_fpn.commands.arguments import (
    add_extension,
    add_reading,
    cache,
    check_annotated,
    check_model,
    positive,
    probability,
    reading,
)
from keras_fpn.commands.augmentation import add_tta, augmented, check_tta, measure_both
from keras_fpn.console.errors import UserError
from keras_fpn.console.files import check_output, write_json
from keras_fpn.console.screen import import_quietly
from keras_fpn.export import artefacts
from keras_fpn.metrics.table import metrics_table

HELP = "measure a model on annotated images: COCO AP and AR"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add its options and what runs it to the parser of the command."""
    parser.add_argument("model", metavar="MODEL", help=".keras file, run folder or exported file")
    parser.add_argument(
        "--data", metavar="DIR", nargs="+", help="data set, or several, of which the held-out half is measured on"
    )
    parser.add_argument(
        "--annotations", metavar="F", help="COCO instances JSON, or annotations in another format (default: the run's)"
    )
    parser.add_argument("--images", metavar="DIR", help="folder of the images of --annotations")
    parser.add_argument(
        "--proposals", metavar="DIR", help="of a Fast R-CNN: what keras-fpn propose wrote (default: the run's own)"
    )
    parser.add_argument("--json", metavar="OUT", help="write the detections as COCO results")
    parser.add_argument("--metrics", metavar="OUT", help="write the metrics as JSON")
    parser.add_argument("--batch-size", type=positive, metavar="N", default=1, help="images at a time (1)")
    parser.add_argument(
        "--max-detections", type=positive, metavar="N",
        help="boxes of an image that the model gives, up to 1000 (default: its own setting); above 100 rows of"
        " AP@N and AR@N are added",
    )
    parser.add_argument(
        "--expect", metavar="NAME=FIGURE", action="append", default=[],
        help="exit with 1 unless the metric comes out so, from 0 to 1: AP=0.370; may be repeated; names as in the"
        " --metrics file, and AR1000 for proposals/AR1000 (AR100 alone is that of detections)",
    )  # fmt: skip
    parser.add_argument(
        "--tolerance", type=probability, metavar="T", help="how far off a figure of --expect may be (0.002)"
    )
    add_tta(parser)
    add_reading(parser)
    add_extension(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    annotations, images, how, expected = _checked(arguments)
    import_quietly()
    from keras_fpn.data.class_checks import check_measurable
    from keras_fpn.data.coco import read_coco
    from keras_fpn.data.rewritten_pictures import with_readable_pictures
    from keras_fpn.evaluation import expectations, measuring

    is_exported = artefacts.format_of(arguments.model) is not None
    model = _opened(arguments) if is_exported else _loaded(arguments)
    data_set = read_coco(annotations, images, **how, fields=model.object_fields, categories=model.categories)
    check_measurable(data_set)
    (data_set,) = with_readable_pictures([data_set], _cache(arguments))
    data_set = _with_given_proposals(arguments, model, data_set)
    evaluator = measuring.evaluator_of(data_set)
    most = model.max_detections
    families = measuring.with_more_detections(model.metric_families, most)
    figures = expectations.resolve(expected, evaluator.class_names, families)
    measure = functools.partial(
        measuring.measure,
        model,
        data_set,
        batch_size=arguments.batch_size,
        evaluator=evaluator,
        max_results=None if arguments.json else 0,
        max_detections=most,
    )
    if arguments.tta:
        metrics, results = measure_both(measure, augmented(model, arguments), data_set)
    elif is_exported:
        metrics, results, _ = measure(batches=model.results(data_set, arguments.batch_size))
    else:
        metrics, results, _ = measure()
    print(f"{arguments.model} on {data_set.annotations}, {len(data_set)} images, in percent")
    print(metrics_table(metrics))
    _write(arguments, data_set, results, metrics)
    return _held_against(metrics, figures, arguments.tolerance)


def _checked(arguments):
    """Refuse what cannot be measured, before TensorFlow is imported.

    Returns annotations, images, how they are read, and what is expected.
    """
    from keras_fpn.data.proposal_files import read_proposals
    from keras_fpn.evaluation import expectations
    from keras_fpn.inference.results import MOST

    if arguments.tolerance is not None and not arguments.expect:
        raise UserError("--tolerance says how far off --expect may be; give --expect, for example AP=0.370")
    if arguments.data and (arguments.annotations or arguments.images):
        raise UserError("--data and --annotations both name the images to measure on; give one of them")
    if arguments.images and not arguments.annotations:
        raise UserError("--images goes with --annotations; give both")
    check_tta(arguments)
    _check_model(arguments)
    annotations, images, how = _annotated_images(arguments)
    check_annotated(annotations, images)
    if arguments.proposals:
        read_proposals(arguments.proposals)
    for path in filter(None, (arguments.json, arguments.metrics)):
        check_output(path)
    if arguments.json and arguments.metrics and os.path.realpath(arguments.json) == os.path.realpath(arguments.metrics):
        raise UserError(f"--json and --metrics are both {arguments.json}; give each a file of its own")
    limit = arguments.max_detections
    if limit is not None and limit > MOST:
        raise UserError(f"--max-detections: {limit} is above {MOST}, the most of an image that are kept; give less")
    expected = [expectations.parse(text) for text in arguments.expect]
    return annotations, images, reading(arguments.overrides, how), expected


def _check_model(arguments):
    if artefacts.format_of(arguments.model) is None:
        check_model(arguments.model, "evaluate")
        return
    for option, is_given in (("--tta", arguments.tta), ("--max-detections", arguments.max_detections is not None)):
        if is_given:
            raise UserError(
                f"{option}: {arguments.model}: an exported file answers as it was written; leave the option out, or"
                " evaluate the .keras file or the run"
            )


def _loaded(arguments):
    from keras_fpn.inference.detecting import check_weights
    from keras_fpn.models.files import load_model

    model = load_model(arguments.model)
    check_weights(model, arguments.model)
    return _with_max_detections(model, arguments)


def _opened(arguments):
    """An exported file in the place of a model."""
    from keras_fpn.export.measured_artefact import MeasuredArtefact

    return MeasuredArtefact(artefacts.open_artefact(arguments.model, verify=True))


def _write(arguments, data_set, results, metrics):
    from keras_fpn.evaluation import coco as evaluation

    if arguments.json:
        file_names = {record.image_id: record.file_name for record in data_set.records}
        write_json(arguments.json, [{"file_name": file_names[r["image_id"]]} | r for r in results])
        print(f"wrote {len(results)} detections to {arguments.json}")
    if arguments.metrics:
        write_json(arguments.metrics, evaluation.metrics_to_json(metrics))
        print(f"wrote {arguments.metrics}")


def _with_max_detections(model, arguments):
    """The model, with another limit of its detections where one is asked for."""
    limit = arguments.max_detections
    if limit is None:
        return model
    if "detections" not in model.settings:
        raise UserError(f"--max-detections: {arguments.model}: {model.title} has no such setting; leave it out")
    return model.with_settings(detections={"max_detections": limit})


def _held_against(metrics, figures, tolerance):
    """Tell which metrics came out as expected and which did not; returns the exit code."""
    from keras_fpn.evaluation import expectations

    tolerance = expectations.DEFAULT_TOLERANCE if tolerance is None else tolerance
    inside, outside = expectations.compare(metrics, figures, tolerance)
    for line in inside:
        print(line)
    for line in outside:
        print(line, file=sys.stderr)
    return 1 if outside else 0


def _annotated_images(arguments):
    """The annotations and images asked for, or those that a run kept for its validation; and how they are read."""
    from keras_fpn.config.loading import load_run_config

    run_config = Path(arguments.model) / "config.yaml"
    data = load_run_config(run_config).data if run_config.is_file() else None
    chosen = {} if data is None else {"classes": data.classes, "field_settings": data.field_settings}
    if arguments.data:
        from keras_fpn.data.layout import find_layout

        halves = [find_layout(name).val for name in arguments.data]
        return [half.annotations for half in halves], [half.images for half in halves], chosen
    if arguments.annotations:
        return arguments.annotations, arguments.images, chosen
    if data is None:
        raise UserError("give --data DIR, or --annotations FILE and --images DIR; only a run knows images of its own")
    return data.val.annotations, data.val.images, data.reading


def _cache(arguments):
    """Whether pictures are kept in memory: as asked for, or as the run has it."""
    from keras_fpn.config.loading import load_run_config

    run_config = Path(arguments.model) / "config.yaml"
    return cache(arguments.overrides, run_config.is_file() and load_run_config(run_config).data.cache)


def _with_given_proposals(arguments, model, data_set):
    """The data set with the proposals asked for, or those that a run kept, where the model needs some."""
    if "proposals" not in model.further_inputs:
        if arguments.proposals:
            raise UserError(f"--proposals: {arguments.model} finds boxes itself ({model.title}); leave it out")
        return data_set
    from keras_fpn.config.loading import load_run_config
    from keras_fpn.data.settings import DataSettings
    from keras_fpn.training.datasets import with_proposals

    run_config = Path(arguments.model) / "config.yaml"
    data = load_run_config(run_config).data if run_config.is_file() else DataSettings()
    path = arguments.proposals or (None if arguments.annotations or arguments.data else data.val.proposals)
    if path is None:
        raise UserError(
            f"{arguments.model}: {model.title} needs proposals; give --proposals DIR, a folder that keras-fpn propose"
            " wrote for these images"
        )
    return with_proposals(data_set, path, data.test_proposals)
