"""`keras-fpn detect`: its options, and its lines on the screen."""

import argparse
import functools
import time
from pathlib import Path

from keras_fpn.commands.arguments import add_extension, positive, probability
from keras_fpn.console.errors import UserError
from keras_fpn.console.files import check_output, write_json
from keras_fpn.console.screen import import_quietly

HELP = "find objects in image files: pictures with boxes, and COCO results"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add its options and what runs it to the parser of the command."""
    parser.add_argument("model", metavar="MODEL", help=".keras file, run folder, .tflite, .onnx or SavedModel folder")
    parser.add_argument(
        "images", metavar="IMAGE_OR_FOLDER", nargs="+", help="image files, or folders of them"
    )
    parser.add_argument("--out", metavar="DIR", default="detections", help="for the pictures (detections)")
    parser.add_argument("--threshold", type=probability, metavar="T", default=0.5, help="least score (0.5)")
    parser.add_argument("--json", metavar="OUT", help="write the detections as COCO results")
    parser.add_argument("--batch-size", type=positive, metavar="N", default=1, help="images at a time (1)")
    add_extension(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    from keras_fpn.inference import images
    from keras_fpn.reporting import visualize

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
        from keras_fpn.inference import detecting
        from keras_fpn.models.files import load_model

        model = load_model(path)
        floor = model.settings.get("detections", {}).get("score_threshold", 0.0)
        return functools.partial(detecting.iterate, model), floor
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
