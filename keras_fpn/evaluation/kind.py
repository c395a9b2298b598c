"""Kinds of results by pycocotools' word, and the ways in which it wants the annotations and results of each."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from keras_fpn.evaluation.checked_results import sound_segment
from keras_fpn.evaluation.ground_truth import encode_ground_truth
from keras_fpn.ops import masks

if TYPE_CHECKING:
    from pycocotools.coco import COCO

Dataset = dict[str, list[dict]]


class Kind:
    """Results that go by the IoU of boxes; the base of the others.

    Attributes:
        name: pycocotools' `iouType`.
        limits: how many of the best of an image and class count, ascending: its `maxDets`.
    """

    name: str = "bbox"
    limits: tuple[int, ...] = (1, 10, 100)

    def ground_truth(self, dataset: Dataset, entries: Sequence[Mapping[str, Any]], source: str) -> Dataset:
        """The data set with what pycocotools reads of each object, which is not changed.

        Args:
            dataset: of `clean_annotations`.
            entries: what its annotations were in the file, in their order.
            source: the annotations, for errors.

        Raises:
            UserError: an annotation, or a category, lacks something or has it wrong.
        """
        return dataset

    def complete(self, copies: Sequence[dict], results: Sequence[Mapping[str, Any]], truth: "COCO") -> None:
        """Give copies of results what pycocotools reads of them besides box, class and score.

        Args:
            copies: to be changed.
            results: what they are copies of.
            truth: of `ground_truth`.

        Raises:
            UserError: a result lacks it, or has it wrong.
        """

    def parameters(self, dataset: Dataset, source: str) -> dict[str, Any]:
        """Attributes of pycocotools' `Params` for a data set of `ground_truth`.

        Raises:
            UserError: the data set does not say them.
        """
        return {}


class SegmentKind(Kind):
    """Results that go by the IoU of masks, "segmentation"."""

    name = "segm"

    def ground_truth(self, dataset: Dataset, entries: Sequence[Mapping[str, Any]], source: str) -> Dataset:
        """With every "segmentation" run-length encoded."""
        return encode_ground_truth(dataset, source)

    def complete(self, copies: Sequence[dict], results: Sequence[Mapping[str, Any]], truth: "COCO") -> None:
        """With sound segments, whose area is that of a result."""
        for copy, result in zip(copies, results, strict=True):
            segment = sound_segment(result, truth.imgs[copy["image_id"]])
            copy |= {"segmentation": segment, "area": float(masks.areas([segment])[0])}
