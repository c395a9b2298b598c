"""`keras-fpn data check`: everything that is wrong with a data set, the worst first."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from keras_fpn.commands.arguments import add_extension, add_set, positive, with_extensions
from keras_fpn.console.errors import UserError

if TYPE_CHECKING:
    from keras_fpn.config.loading import Config
    from keras_fpn.data.checks.checking import Checked
    from keras_fpn.training.anchor_fit import Scales

HELP = "look for whatever is wrong with a data set, and mend it"
_EXAMPLES = 3  # of a finding, on the screen


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add its options and what runs it to the parser of the command."""
    parser.add_argument("data", metavar="DIR_OR_ANNOTATIONS", help="folder in a known layout, or annotations")
    parser.add_argument("--images", metavar="DIR", help="image folder of the annotations")
    parser.add_argument("--fix", metavar="OUT.json", help="write the annotations with what can be mended mended")
    parser.add_argument("--json", metavar="F", help="write everything that was found as JSON")
    parser.add_argument(
        "--out", metavar="PAGE.html", default="data_report.html",
        help="page with histograms and pictures (data_report.html)",
    )  # fmt: skip
    parser.add_argument("--decode", action="store_true", help="also decode every picture, as training does")
    parser.add_argument(
        "--config", metavar="CONFIG", default="faster_rcnn_r50_fpn",
        help="whose sizes, anchors and levels the objects are held against (faster_rcnn_r50_fpn)",
    )  # fmt: skip
    parser.add_argument("--size", type=positive, metavar="N", help="pixels of the shorter side: --set size=N")
    add_set(parser)
    add_extension(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Check, tell, and write what was asked for; 1 where something is wrong."""
    from keras_fpn.config.loading import load_config
    from keras_fpn.console.files import check_output, write_json
    from keras_fpn.data.checks.checking import check_all, halves_of
    from keras_fpn.reporting.check_page import write_check_page

    sized = [] if arguments.size is None else [f"size={arguments.size}"]
    config = load_config(arguments.config, [*with_extensions(arguments), *sized])
    halves = halves_of(arguments.data, arguments.images)
    if arguments.fix is not None:
        _check_fix(arguments, halves)
    for path in (arguments.out, arguments.json, arguments.fix):
        if path is not None:
            check_output(path)
    checked = check_all(
        halves, resize=config.model.resize.model_dump(), boxes=config.data.boxes, crowds=config.data.crowds,
        decode=arguments.decode,
    )  # fmt: skip
    checked, scales = _with_scales(checked, config)
    _tell(checked, scales)
    if arguments.json is not None:
        write_json(arguments.json, {"summary": checked.summary} | checked.to_json() | scales.to_json())
    write_check_page(arguments.out, arguments.data, checked, scales)
    print(f"page: {arguments.out}")
    if arguments.fix is not None:
        _fix(arguments, checked)
    return int(checked.has_errors)


def _check_fix(arguments, halves):
    if len(halves) > 1:
        files = " or ".join(half.annotations for half in halves.values())
        raise UserError(f"--fix writes one annotation file, and {arguments.data} has {len(halves)}; give {files}")
    for half in halves.values():
        if Path(half.annotations).absolute() == Path(arguments.fix).absolute():
            raise UserError(f"--fix {arguments.fix}: would replace what is checked; give another name")


def _with_scales(checked: "Checked", config: "Config") -> tuple["Checked", "Scales"]:
    """Findings with the objects that no anchor reaches, and how all lie on anchors and levels."""
    from keras_fpn.training.anchor_fit import scales_of, unreached_objects

    scales = scales_of(checked.subjects, config)
    tables = {subject.table.name: subject.table for subject in checked.subjects}
    found = [each for name, fit in scales.fits.items() for each in unreached_objects(tables[name], fit)]
    return checked.and_also(found), scales


def _tell(checked, scales):
    print(checked.summary)
    for finding in checked.findings:
        half = f" ({finding.half})" if finding.half else ""
        print(f"{finding.kind.severity}{half}: {finding.words}; {finding.kind.mend}")
        for example in finding.examples[:_EXAMPLES]:
            print(f"    {example.words}")
    if scales.proposal is not None:
        print(f"{scales.proposal_words}:\n    {scales.proposal.words}")


def _fix(arguments, checked):
    from keras_fpn.console.files import write_text
    from keras_fpn.data.checks.decoding import UNDECODABLE
    from keras_fpn.data.checks.mending import mend

    (subject,) = checked.subjects
    rows = [row for each in checked.findings if each.kind is UNDECODABLE for row in each.indices.tolist()]
    mended = mend(subject, undecodable=rows)
    write_text(arguments.fix, mended.text)
    for line in mended.lines:
        print(f"mended: {line}")
    images = subject.table.folder
    print(f"wrote {arguments.fix}; check it: keras-fpn data check {arguments.fix} --images {images}")
