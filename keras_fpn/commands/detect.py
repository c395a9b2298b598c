"""`keras-fpn detect`: its options, and its lines on the screen."""

import argparse
import contextlib
import functools
import os
import sys
import time
import warnings
import zipfile
from pathlib import Path

from keras_fpn.commands.arguments import add_extension, positive, probability
from keras_fpn.commands.augmentation import add_tta, augmented, check_tta
from keras_fpn.console.errors import UserError
from keras_fpn.console.exits import INTERRUPTED
from keras_fpn.console.files import check_output
from keras_fpn.console.screen import import_quietly
from keras_fpn.console.signals import ends_at_once
from keras_fpn.console.text import plain
from keras_fpn.inference.result_forms import PRE_LABELS, RESULT_FORMS

HELP = "find objects in image files: pictures with boxes, and COCO results"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add its options and what runs it to the parser of the command."""
    parser.add_argument("model", metavar="MODEL", help=".keras file, run folder, .tflite, .onnx or SavedModel folder")
    parser.add_argument(
        "images", metavar="IMAGE_OR_FOLDER", nargs="+", help="image files, or folders of them and of folders"
    )
    parser.add_argument("--out", metavar="DIR", default="detections", help="for the pictures (detections)")
    parser.add_argument("--threshold", type=probability, metavar="T", default=0.5, help="least score (0.5)")
    parser.add_argument("--json", metavar="OUT", help="write the detections as COCO results")
    for form in RESULT_FORMS:
        parser.add_argument(f"--{form.name}", dest="forms", action="append_const", const=form.name, help=form.help)
    known = "; ".join(f"{each.name}: {each.help}" for each in PRE_LABELS)
    parser.add_argument("--pre-labels", metavar="FORMAT", help=f"write files for a labelling program ({known})")
    parser.add_argument("--pre-labels-out", metavar="DIR", default="pre-labels", help="for these (pre-labels)")
    parser.add_argument("--batch-size", type=positive, metavar="N", default=1, help="images at a time (1)")
    parser.add_argument(
        "--max-pixels", type=positive, metavar="N", default=100_000_000,
        help="leave out pictures with more, which need more memory (100000000: some 2 GB)",
    )  # fmt: skip
    add_tta(parser)
    add_extension(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    from keras_fpn.inference import drawn_folder, label_folder, listing, picture_names

    check_tta(arguments)
    folder = drawn_folder.DrawnFolder(arguments.out)
    found = listing.find_images(arguments.images, without=arguments.out)
    _check_model(arguments.model)
    names = picture_names.names_for(found, folder.longest_name())
    folder.check(names, found.files)
    if arguments.json:
        _check_json(arguments.json, [*found.files, *(folder.path / name for name in names)])
    elif arguments.forms:
        raise UserError(f"--{arguments.forms[0]}: says how --json is written; give --json OUT, too")
    labels = None
    if arguments.pre_labels:
        labels = label_folder.LabelFolder(arguments.pre_labels, arguments.pre_labels_out, found.files, names)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")  # a picture that is odd, but can be read
        unreadable = _Unreadable(found.files, arguments.max_pixels)
        iterate, floor = _open_detector(arguments.model, arguments)
        if found.skipped():
            print(found.skipped())
        if arguments.threshold < floor:
            print(f"note: the model itself drops what scores {floor:g} or less (its detections.score_threshold)")
        detections = iterate(
            unreadable.others(), arguments.threshold, arguments.batch_size, arguments.max_pixels, unreadable.leave_out
        )
        _draw_all(detections, unreadable, folder, names, labels, arguments)
    unreadable.tell_count()
    return 1 if unreadable else 0


def _draw_all(detections, unreadable, folder, names, labels, arguments):
    """Pictures, results and pre-labels of all that can be read; what there is stays, however it ends."""
    from keras_fpn.inference.results_file import ResultsFile
    from keras_fpn.reporting import visualize

    written, total, note = 0, len(unreadable.files), ""
    forms = [RESULT_FORMS[name].load()() for name in dict.fromkeys(arguments.forms or ())]
    start = time.perf_counter()
    with ResultsFile(os.path.realpath(arguments.json)) if arguments.json else contextlib.nullcontext() as results:
        try:
            for one in detections:
                milliseconds = 1000 * (time.perf_counter() - start)
                number = unreadable.number_of(one)
                unreadable.tell()
                if not written and (removed := folder.begin()):
                    print(f"removed {_count(removed, 'picture')} that an earlier detect drew in {plain(arguments.out)}")
                if results is not None:
                    results.add([_in_forms(result, forms) for result in one.to_results(image_id=number + 1)])
                if labels is not None:
                    labels.add(one, number)
                folder.save(visualize.draw_image_detections(one), names[number])
                written, note = written + 1, "".join(f", {field.note}" for field in one.fields if field.note)
                counts = _count_names(one.names)
                line = f"image {number + 1}/{total} {plain(one.file_name)}: {counts}, {milliseconds:.0f} ms"
                print(line, flush=True)
                start = time.perf_counter()
        finally:
            if written:
                print(f"wrote {_count(written, 'picture')} to {plain(arguments.out)}{note}")
    unreadable.refuse_all(written)
    if results is not None:
        print(f"wrote {_count(len(results), 'detection')} to {plain(arguments.json)}")
    if labels is not None:
        print(f"wrote {_count(labels.count, 'file')} for {arguments.pre_labels} to {plain(arguments.pre_labels_out)}")
    notes = [form.note() for form in forms] + ([] if labels is None else [labels.note()])
    for line in dict.fromkeys(filter(None, notes)):
        print(line)


def _in_forms(result, forms):
    for form in forms:
        result = form.change(result)
    return result


class _Unreadable:
    """The pictures that cannot be read, each told in a line, and the others.

    The heads of all are looked at beforehand.

    Raises:
        UserError: none can be read.
    """

    def __init__(self, files, max_pixels):
        from keras_fpn.inference.images import check_images

        self.files, self._errors = files, {}
        for index, file in enumerate(files):
            try:
                check_images([file], max_pixels)
            except UserError as problem:
                self._errors[index] = problem
        self._others = [index for index in range(len(files)) if index not in self._errors]
        self.refuse_all(len(self._others))
        self._untold = list(self._errors.values())

    def __len__(self):
        return len(self._errors)

    def others(self):
        return [self.files[index] for index in self._others]

    def number_of(self, one):
        """The place of detections among all the files, from 0."""
        return self._others[one.index]

    def leave_out(self, index, error):
        self._errors[self._others[index]] = error
        self._untold.append(error)

    def refuse_all(self, read):
        if not read:
            first = next(iter(self._errors.values()))
            number = len(self.files)
            raise first if number == 1 else UserError(f"none of the {number} pictures can be read; the first: {first}")

    def tell(self):
        """A line for each that was met since; not before one could be read, since of none there is one line."""
        for error in self._untold:
            print(f"error: {plain(error)}", file=sys.stderr, flush=True)
        self._untold = []

    def tell_count(self):
        self.tell()
        if self._errors:
            print(f"error: {len(self)} of {_count(len(self.files), 'picture')} cannot be read", file=sys.stderr)


def _check_model(path):
    """Refuse what is no model before TensorFlow is imported, and before a picture is looked at."""
    from keras_fpn.checkpoints.published_files import not_yet_a_model
    from keras_fpn.export import artefacts

    place = Path(path)
    if not path or not place.exists():
        raise UserError(
            f"{path or repr(path)}: no such model; give a .keras file, the folder of a run or what keras-fpn export"
            f" wrote{not_yet_a_model(path)}"
        )
    if artefacts.format_of(path) is not None:
        return
    if place.is_dir() and not (place / "model.keras").is_file():
        raise UserError(f"{path}: neither a run nor a SavedModel: no model.keras, no saved_model.pb in it")
    file = place / "model.keras" if place.is_dir() else place
    if file.suffix != ".keras":
        raise UserError(
            f"{file}: no .keras file, .tflite or .onnx; keras-fpn convert makes a .keras file of a published checkpoint"
        )
    if not zipfile.is_zipfile(file):
        raise UserError(
            f"{file}: not a whole Keras model; copy or convert it again, or train anew (it is damaged or cut short)"
        )


def _open_detector(path, arguments):
    """`iterate(images, threshold, ...)` of a model or of an exported one, and what score either drops."""
    from keras_fpn.export import artefacts

    kind = artefacts.format_of(path)
    if kind in (None, "saved_model"):
        with ends_at_once("stopped", INTERRUPTED):
            import_quietly()  # the other formats run without TensorFlow
    if kind is None:
        with ends_at_once("stopped", INTERRUPTED):
            from keras_fpn.inference import detecting
            from keras_fpn.models.files import load_model

        model = load_model(path)
        detecting.check_weights(model, path)
        floor = model.settings.get("detections", {}).get("score_threshold", 0.0)
        if arguments.tta:
            return augmented(model, arguments).iterate, floor
        return functools.partial(detecting.iterate, model), floor
    if arguments.tta:
        raise UserError(f"--tta: {path} is exported for pictures of its own size; give the .keras file or the run")
    from keras_fpn.export import artefact_inference

    artefact = artefacts.open_artefact(path, verify=True)
    if kind == "saved_model" and not artefact.description.needs_proposals:  # that is refused
        note = f"note: {path}: a SavedModel is a program and may do anything when run; take it only from whom you trust"
        print(note, file=sys.stderr)
    return functools.partial(artefact_inference.iterate, artefact), artefact.description.score_threshold


def _check_json(path, pictures):
    if os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path):
        raise UserError(f"{path}: no regular file; give --json the name of a file")
    check_output(path)
    if os.path.realpath(path) in {os.path.realpath(picture) for picture in pictures}:
        raise UserError(f"{path}: is a picture, too; choose another --json")


def _count_names(names):
    counts = {name: names.count(name) for name in dict.fromkeys(names)}
    return ", ".join(f"{count} {plain(name)}" for name, count in counts.items()) or "nothing"


def _count(number, noun):
    return f"{number} {noun}{'s' * (number != 1)}"
