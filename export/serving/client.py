"""Ask a running TF Serving for detections, as a user does:

    python -m keras_fpn.export.serving.client HOST:PORT IMAGE... [--rest | --grpc] [--model NAME]

Exit codes: 0 done; 1 the server is not there or failed; 2 the call is wrong, or an image is.
"""

import argparse
import dataclasses
import os
import sys
import time
from collections import Counter
from collections.abc import Sequence

from keras_fpn.console import extras, files
from keras_fpn.console.errors import UserError
from keras_fpn.console.exits import exit_code, fail
from keras_fpn.console.screen import import_quietly
from keras_fpn.console.text import plain
from keras_fpn.export.arguments import Parser, positive
from keras_fpn.export.serving import inputs as serving_inputs
from keras_fpn.export.serving.errors import Refused, ServingError, Unknown
from keras_fpn.export.serving.grpc import GrpcClient
from keras_fpn.export.serving.rest import RestClient
from keras_fpn.inference import drawn_folder, listing, picture_names
from keras_fpn.inference import images as image_files
from keras_fpn.inference.reading import in_batches
from keras_fpn.reporting import visualize

_SIGNATURES = ("serving_bytes", "serving_default")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    return exit_code(lambda: _asked(_parser().parse_args(argv)))


def _asked(arguments):
    try:
        return _ask(arguments)
    except Unknown as error:
        return fail(error, 2)
    except ServingError as error:
        return fail(error, 1)


def _parser():
    parser = Parser(
        prog="python -m keras_fpn.export.serving.client",
        description="Ask a running TF Serving for the detections in image files.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("address", metavar="HOST:PORT", type=_address, help="of the server: by custom 8501 for REST, 8500 for gRPC")
    add("images", metavar="IMAGE", nargs="+", help="image files, or folders of them")
    way = parser.add_mutually_exclusive_group()
    way.add_argument("--rest", dest="client", action="store_const", const=RestClient, help="JSON over HTTP (default)")
    way.add_argument("--grpc", dest="client", action="store_const", const=_over_grpc, help='needs "keras-fpn[serving]"')
    add("--model", metavar="NAME", default="model", help="name that the server has for it (model)")
    add("--model-version", type=int, metavar="N", help="default: the newest that is served")
    add("--signature", choices=_SIGNATURES, default=_SIGNATURES[0], help=f"what to send ({_SIGNATURES[0]})")
    add("--export", metavar="FOLDER", help="the exported folder: class names; serving_default needs its resize rule")
    add("--labels", metavar="FILE", help="class names, one a line")
    add("--threshold", type=_probability, metavar="T", default=0.5, help="least score (0.5)")
    add("--batch-size", type=positive, metavar="N", default=1, help="images in one request (1)")
    add("--timeout", type=_seconds, metavar="SECONDS", default=60.0, help="to wait for an answer (60)")
    add("--json", metavar="OUT", help="write the detections as COCO results")
    add("--out", metavar="DIR", help="draw the detections into pictures there")
    parser.set_defaults(client=RestClient)
    return parser


def _over_grpc(*arguments):
    extras.check("tensorflow_serving", extra="serving")
    import_quietly()
    return GrpcClient(*arguments)


def _ask(arguments):
    way = _way(arguments)
    listed = listing.find_images(arguments.images, without=arguments.out)
    paths, drawings = listed.files, _Drawings(arguments.out, listed) if arguments.out else None
    if arguments.json:
        files.check_output(arguments.json)
    client = arguments.client(arguments.address, arguments.model, arguments.model_version, arguments.timeout)
    results, refused = [], 0
    # Only images that are padded to one size share a request, so that each is answered as it is alone.
    for requested in in_batches(enumerate(paths, start=1), arguments.batch_size, lambda one: way.size_of(one[1])):
        numbers, some = zip(*requested, strict=True)
        asked = time.perf_counter()
        try:
            found = way.ask(client, some, arguments.threshold)
        except Refused as error:  # the others may be well
            refused = fail(f"{', '.join(map(str, some))}: {error}", 2)
            continue
        milliseconds = 1000 * (time.perf_counter() - asked)
        for number, one in zip(numbers, found, strict=True):
            _tell(one, f"image {number}/{len(paths)}", milliseconds)
            results += one.to_results(image_id=number)
            if drawings is not None:
                drawings.add(one, paths[number - 1], number - 1)
    if drawings is not None:
        print(f"wrote {drawings.count} picture{'s' * (drawings.count != 1)} to {plain(arguments.out)}")
    if arguments.json:
        files.write_json(arguments.json, sorted(results, key=lambda result: -result["score"]))
        print(f"wrote {len(results)} detections to {plain(arguments.json)}")
    return refused


class _Drawings:
    """Pictures of what was found, by the names of the files; those that were drawn there before make room."""

    def __init__(self, out, listed):
        self._folder, self.count = drawn_folder.DrawnFolder(out), 0
        self._names = picture_names.names_for(listed, self._folder.longest_name())
        self._folder.check(self._names, listed.files)

    def add(self, found, file, number):
        if not self.count:
            self._folder.begin()
        image, _ = image_files.read_image(file)
        picture = visualize.draw_image_detections(dataclasses.replace(found, image=image))
        self._folder.save(picture, self._names[number])
        self.count += 1


def _way(arguments):
    description = arguments.export and serving_inputs.read_description(arguments.export)
    if arguments.labels:
        classes = serving_inputs.read_labels(arguments.labels)
    else:
        classes = serving_inputs.classes_of(description, arguments.export)
    if arguments.signature == "serving_bytes":
        return serving_inputs.EncodedImages(classes, description)
    if not description:
        raise UserError("--signature serving_default: takes resized pixels; give --export FOLDER for the resize rule")
    return serving_inputs.ResizedImages(description, classes)


def _tell(one, title, milliseconds):
    counts = ", ".join(f"{count} {plain(name)}" for name, count in Counter(one.names).items()) or "nothing found"
    print(f"{title} {plain(one.file_name)}: {counts}, {milliseconds:.0f} ms")
    for name, score, box in zip(one.names, one.scores, one.boxes, strict=True):
        corners = " ".join(f"{corner:8.1f}" for corner in box)
        print(f"  {plain(name):<16} {score:.3f}  {corners}", flush=True)


def _address(text):
    host, colon, port = text.rpartition(":")
    if not (colon and host and port.isdecimal()) or "/" in text:
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST:PORT, for example localhost:8501")
    return text


def _probability(text):
    value = _number(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to 1")
    return value


def _seconds(text):
    value = _number(text)
    if not 0 < value < 1e6:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0")
    return value


def _number(text):
    try:
        return float(text)
    except ValueError:
        return float("nan")


if __name__ == "__main__":
    sys.exit(main())
