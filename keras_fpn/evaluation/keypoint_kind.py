"""Keypoints as pycocotools measures them: by object keypoint similarity (OKS), which goes by a sigma of each."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_fpn.console.errors import UserError
from keras_fpn.data import coco_keypoints
from keras_fpn.data.keypoint_lists import keypoint_list
from keras_fpn.data.objects import is_finite, is_whole
from keras_fpn.evaluation.kind import Dataset, Kind

if TYPE_CHECKING:
    from pycocotools.coco import COCO


class KeypointKind(Kind):
    """Results that go by the places of "keypoints", x, y and a third number that is not read, of each of K.

    An object of which nothing is labelled is ignored, as one whose category has no keypoints is.
    """

    name, limits = "keypoints", (20,)

    def ground_truth(self, dataset: Dataset, entries: Sequence[Mapping[str, Any]], source: str) -> Dataset:
        """With "keypoints" of all objects, and how many of them are labelled where an annotation does not say."""
        number = len(keypoint_list(dataset["categories"], source).names)
        annotations = []
        for item, entry in zip(dataset["annotations"], entries, strict=True):
            keypoints = entry.get("keypoints") or [0] * (3 * number)
            if not _are_numbers(keypoints, number):
                raise UserError(
                    f'{source}: "keypoints" of annotation {item["name"]} are not {3 * number} numbers; write x, y, v of'
                    f" each of the {number} keypoints of its category"
                )
            count = entry.get("num_keypoints")
            count = sum(v > 0 for v in keypoints[2::3]) if not is_whole(count) else count
            annotations.append(item | {"keypoints": keypoints, "num_keypoints": count})
        return dataset | {"annotations": annotations}

    def complete(self, copies: Sequence[dict], results: Sequence[Mapping[str, Any]], truth: "COCO") -> None:
        """With "keypoints"; as detectron2 has it, the area of a result is that of its box."""
        number = len(keypoint_list(truth.dataset["categories"], "the annotations").names)
        for copy, result in zip(copies, results, strict=True):
            if not _are_numbers(result.get("keypoints"), number):
                raise UserError(
                    f'"keypoints" of a result of image id {copy["image_id"]} are not {3 * number} finite numbers; the'
                    f" annotations have {number} keypoints: give x, y and a score of each"
                )
            copy["keypoints"] = result["keypoints"]

    def parameters(self, dataset: Dataset, source: str) -> dict[str, Any]:
        """The sigmas: those of the categories, or pycocotools' own of COCO's 17 keypoints."""
        known = keypoint_list(dataset["categories"], source)
        if known.sigmas is not None:
            return {"kpt_oks_sigmas": np.array(known.sigmas)}
        if known.names == coco_keypoints.NAMES:
            return {}
        number = len(known.names)
        raise UserError(
            f"{source}: nothing says how exactly its {number} keypoints can be placed, which pycocotools knows of"
            " COCO's 17 alone; give --set data.keypoint_sigmas=0.05 (or one for each), or write \"sigmas\" into the"
            " category"
        )


def _are_numbers(values, number) -> bool:
    is_list = isinstance(values, list) and len(values) == 3 * number
    return is_list and all(map(is_finite, values))
