"""`--tta` of `detect` and `evaluate`: the image pyramid at test time."""

import argparse
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from keras_fpn.commands.arguments import positive
from keras_fpn.console.errors import UserError
from keras_fpn.metrics.table import metrics_table

if TYPE_CHECKING:
    from keras_fpn.inference.augmented import AugmentedDetector
    from keras_fpn.models.detector import Detector


def add_tta(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--tta", action="store_true",
        help="see each picture in several sizes and mirrored, and merge the answers (18 times the work)",
    )  # fmt: skip
    parser.add_argument(
        "--tta-sides", metavar="N", type=positive, nargs="+",
        help="shorter sides of --tta (nine from half to one and a half times the model's own)",
    )  # fmt: skip
    parser.add_argument("--tta-no-flip", action="store_true", help="do not mirror the pictures of --tta")


def check_tta(arguments: argparse.Namespace) -> None:
    """Refuse what says how `--tta` is done without it.

    Raises:
        UserError: names the option.
    """
    for option, given in (("--tta-sides", arguments.tta_sides), ("--tta-no-flip", arguments.tta_no_flip)):
        if given and not arguments.tta:
            raise UserError(f"{option}: says how --tta is done; give --tta, too")


def augmented(model: "Detector", arguments: argparse.Namespace) -> "AugmentedDetector":
    """The model as `--tta` has it see pictures."""
    from keras_fpn.inference.augmented import AugmentedDetector

    return AugmentedDetector(model, arguments.tta_sides, flip=not arguments.tta_no_flip)


def measure_both(
    measure: Callable[..., tuple[dict[str, float], list[dict], Any]], detector: "AugmentedDetector", data_set: Any
) -> tuple[dict[str, float], list[dict]]:
    """Measure a model by itself and augmented; prints what is gained and what it costs.

    Args:
        measure: `measuring.measure` but for its `batches`.

    Returns:
        Metrics and results of the augmented one.
    """
    start = time.perf_counter()
    plain, _, _ = measure()
    alone = time.perf_counter() - start
    start = time.perf_counter()
    metrics, results, _ = measure(batches=detector.results(data_set))
    seconds = time.perf_counter() - start
    sides = ", ".join(map(str, detector.min_sides))
    print(f"one size, in percent\n{metrics_table(plain)}")
    print(f"--tta: sides {sides}{', each mirrored, too' if detector.flip else ''}")
    print("\n".join(_gains(plain, metrics)))
    images = len(data_set)
    print(
        f"{1000 * alone / images:.0f} ms an image by itself, {1000 * seconds / images:.0f} ms augmented:"
        f" {seconds / alone:.1f} times"
    )
    return metrics, results


def _gains(plain: dict[str, float], metrics: dict[str, float]) -> Iterable[str]:
    for name in metrics:
        if name.rpartition("/")[2] in ("AP", "AP75", "APs", "APm", "APl") and name in plain:
            gain = 100 * (metrics[name] - plain[name])
            yield f"{name} {100 * plain[name]:.1f} -> {100 * metrics[name]:.1f} ({gain:+.1f})"
