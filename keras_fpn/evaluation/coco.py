"""COCO metrics of detections and proposals: pycocotools decides what AP and AR are, and nothing else.

This file alone has pycocotools measure (`masks` has it encode). It gives it clean copies (so that annotations without
`info`, `area`, `iscrowd` or sensible ids are fine), refuses what pycocotools would silently score as
zero, and keeps its prints off the screen.

A *result* is one dict of the COCO results format: `image_id`, `category_id`, `bbox` ([x, y, width,
height] in pixels of the original image) and `score`; of other `kinds` also what they go by, such as `segmentation` (see
`masks`). Which metrics there are, and what they are called, the families of `metrics` say.
"""

import contextlib
import io
import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from keras_fpn.console.errors import UserError
from keras_fpn.data.instances import read_instances
from keras_fpn.evaluation.checked_results import copy_result, segment_of, sound_segment
from keras_fpn.evaluation.curves import best_f1, curve_of, mean_defined
from keras_fpn.evaluation.ground_truth import clean_annotations, indexed, shorten
from keras_fpn.evaluation.kinds import KINDS
from keras_fpn.inference.results import best_first, by_image
from keras_fpn.metrics import AREAS, PROPOSAL_LIMITS
from keras_fpn.ops import masks
from keras_fpn.parts.output_fields import plain

_LOWEST_IOU = 0.5  # of COCO's ten thresholds: what overlaps less matches nothing
_IMAGES_AT_ONCE = 500  # of recalls
_TABLES_AT_ONCE = 10_000  # of a class in an image: with 100 detections an image some 100 MB
_MOST_PARTS = 64  # of the classes, each measured by itself


class COCOEvaluator:
    """One annotation file, and what pycocotools measures against it; a `MetricFamily` gives the figures their names.

    annotations: the path of an instances JSON, or its content as a dict. The dict is not changed.
    leave_out: ids of annotations to leave out, such as `CocoDataset.dropped`.

    Has the `image_ids`, and the classes in the order of their ids: `category_ids`, `class_names`.
    Raises UserError where the annotations are no instances file, or contradict themselves; its methods for results
    whose image or category ids the annotations lack, and for non-finite numbers.
    Results may come in any order: the order changes nothing. `image_ids` are the images to measure on; all of the
    annotations by default. An image without results counts as one on which nothing was found.
    Figures that the annotations leave undefined (no object of that size, no object of that class) are -1,
    as pycocotools has it; `metrics_to_json` turns them into null.
    """

    def __init__(self, annotations, leave_out=()):
        instances = read_instances(annotations)
        self.source = instances.source
        self._dataset, self._entries = clean_annotations(instances, frozenset(leave_out))
        self.image_ids = [image["id"] for image in instances.images]
        self.category_ids = sorted(instances.class_names)
        self.class_names = [instances.class_names[category_id] for category_id in self.category_ids]
        self._ground_truth = indexed(self._dataset)
        self._accumulated, self._ground_truths = {}, {}

    def prepare(self, kind: str) -> None:
        """Make the ground truth of one of `kinds.KINDS`, which is made otherwise when such results are measured first.

        Raises:
            UserError: the annotations lack something that the kind goes by, or have it wrong.
        """
        KINDS[kind].parameters(self._ground_truth_of_kind(kind).dataset, self.source)

    def average_precision(
        self, results: list[dict], image_ids: Iterable[int] | None = None, kind: str = "bbox"
    ) -> tuple[list[float], dict[str, float]]:
        """Average precision and recall of detections with classes.

        Args:
            results: list of COCO results. None at all gives zeros.
            kind: one of `kinds.KINDS`: "bbox", or "segm" to go by the IoU of masks, each result's "segmentation".

        Returns:
            `([figures in pycocotools' order: 12 of boxes and masks], {class: its AP})`.
        """
        figures, self._accumulated[kind] = self._precision(results, image_ids, KINDS[kind].limits, kind)
        of_classes = zip(self.class_names, map(mean_defined, self._class_precision(kind)), strict=True)
        return [float(figure) for figure in figures], dict(of_classes)

    def proposal_recalls(
        self, results: list[dict], limits: Iterable[int], image_ids: Iterable[int] | None = None
    ) -> dict[int, dict[str, float]]:
        """`{limit: {area: average recall}}` of the `limit` best proposals of each image, at most 1000, by AREAS."""
        image_ids = self._selected(image_ids)
        checked = self._checked(results, image_ids, None)
        for copy, result in zip(checked, results, strict=True):
            copy |= {"place": result["place"]} if "place" in result else {}  # our own, of `matching_proposals`
        useful, recalls = self.matching_proposals(checked), {}
        for limit in limits:
            recalls[limit] = self._recalls([item for item in useful if item["place"] < limit], image_ids)
        return recalls

    def segment_recalls(
        self, results: list[dict], limits: Iterable[int], image_ids: Iterable[int] | None = None
    ) -> dict[int, dict[str, float]]:
        """`{limit: {area: average recall}}` of the `limit` best segments of each image, at most 1000, by AREAS."""
        image_ids = self._selected(image_ids)
        checked = self._checked(results, image_ids, None)
        images = self._ground_truth_of_kind("segm").imgs
        for copy, result in zip(checked, results, strict=True):
            if "place" in result:  # our own, of `matching_segments`
                copy |= {"segmentation": result["segmentation"], "place": result["place"]}
            else:
                copy["segmentation"] = sound_segment(result, images[copy["image_id"]])
        useful, recalls = best_first(self.matching_segments(checked)), {}
        for limit in limits:
            recalls[limit] = self._recalls([item for item in useful if item["place"] < limit], image_ids, "segm")
        return recalls

    def matching_segments(self, results: list[dict]) -> list[dict]:
        """Of the segments of whole images those that recall can depend on, see `matching_proposals`."""
        ground_truth = self._ground_truth_of_kind("segm")

        def overlaps(group, objects):
            segments = [segment_of(result) for result in group]
            return masks.overlaps(segments, [item["segmentation"] for item in objects], _crowds(objects))

        return self._matching(results, ground_truth, overlaps)

    def matching_proposals(self, results: list[dict]) -> list[dict]:
        """Of the proposals of whole images those that recall can depend on, so that a large data set fits in memory.

        A box that meets no object at the lowest IoU matches nothing, and recall does not count false alarms: leaving it
        out changes no digit. The others get their "place" among the boxes of their image, 0 for the best, and those
        beyond the largest limit go, too. Those that have one are what is left already.
        """
        from pycocotools import mask

        def overlaps(group, objects):
            boxes, theirs = (np.array([item["bbox"] for item in each], np.float64) for each in (group, objects))
            return mask.iou(boxes, theirs, _crowds(objects))

        if not all("place" in result for result in results):
            results = [result | {"category_id": self._any_category} for result in results]
        return self._matching(results, self._ground_truth, overlaps)

    def _matching(self, results, ground_truth, overlaps):
        """The results that have a place among those of their image, by `overlaps(results, objects)` [n, m]."""
        if all("place" in result for result in results):
            return results
        self._refuse_unknown_images({result["image_id"] for result in results})
        useful = []
        for image_id, group in by_image(results):
            objects, group = ground_truth.imgToAnns.get(image_id, []), group[: PROPOSAL_LIMITS[-1]]
            if objects:
                places = np.flatnonzero((overlaps(group, objects) >= _LOWEST_IOU).any(axis=1)).tolist()
                useful += [group[place] | {"place": place} for place in places]
        return useful

    def precision_of_more(
        self, results: list[dict], limit: int, image_ids: Iterable[int] | None = None
    ) -> tuple[float, float, float]:
        """AP, AP50 and AR where the `limit` best detections of an image and class count, not the 100 best."""
        _, arrays = self._precision(results, image_ids, (*KINDS["bbox"].limits[:2], limit))
        precision, recall = arrays["precision"][:, :, :, 0, -1], arrays["recall"][:, :, 0, -1]
        return mean_defined(precision), mean_defined(precision[0]), mean_defined(recall)

    def precision_recall(self, kind: str = "bbox") -> dict[str, Any]:
        """Curves of the last call of `average_precision` of this kind, at pycocotools' 101 recall values.

        Returns {"recall": [101], "mean": curve, "classes": {name: curve}} where a curve is
        {"precision50": [101] at IoU 0.5, "precision": [101] mean over IoU 0.5:0.95, "AP50", "AP"};
        curves of classes add "best_f1" and "best_threshold", the score at which F1 at IoU 0.5 is best.
        Classes without ground truth are left out. All plain floats, ready for JSON.
        """
        if kind not in self._accumulated:
            raise ValueError("call COCOEvaluator.average_precision(results) before precision_recall()")
        recall = np.asarray(self._accumulated[kind]["params"].recThrs)
        scores = self._accumulated[kind]["scores"][0, :, :, 0, -1]
        curves, classes = [], {}
        for index, precision in enumerate(self._class_precision(kind)):
            if (precision < 0).all():
                continue
            curves.append(precision)
            curve = curve_of(precision) | best_f1(recall, precision[0], scores[:, index])
            classes[self.class_names[index]] = curve
        mean = curve_of(np.mean(curves, axis=0)) if curves else None
        return {"recall": recall.tolist(), "mean": mean, "classes": classes}

    def ground_truth_of(self, image_id: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Truth of one image: boxes [n, 4] xyxy in original pixels, classes [n] 0..K-1, crowd [n] 0/1."""
        records = self._ground_truth.imgToAnns.get(image_id, [])
        boxes = np.array([record["bbox"] for record in records], dtype=np.float64).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        classes = [self.category_ids.index(record["category_id"]) for record in records]
        crowd = [record["iscrowd"] for record in records]
        return boxes, np.array(classes, dtype=np.int32), np.array(crowd, dtype=np.int32)

    def annotations_of(self, image_id: int) -> list[dict]:
        """The entries of one image as the annotation file has them, in its order; not to be changed."""
        return [self._entries[record["id"] - 1] for record in self._ground_truth.imgToAnns.get(image_id, [])]

    def matches(
        self, results: list[dict], image_ids: Iterable[int] | None = None, kind: str = "bbox"
    ) -> list[tuple[dict, dict]]:
        """Detections and the objects that they find: those that count as right at IoU 0.5.

        Args:
            results: as of `average_precision`; the 100 best of an image and class are looked at.

        Returns:
            `[(result, entry), ...]`: one of the results, and an entry of the annotation file, of the same class. Each
            object is found once, by the best that overlaps it; crowds are not found.
        """
        checked, image_ids = self._checked_detections(results, image_ids, kind)
        evaluation = self._run(best_first(checked), image_ids, KINDS[kind].limits, use_categories=True, kind=kind)
        by_number = {copy["id"]: result for copy, result in zip(checked, results, strict=True)}
        pairs = []
        for group in evaluation.evalImgs:  # of a class, a range of areas and an image; the first range is of all
            if group is not None and group["aRng"] == evaluation.params.areaRng[0]:
                columns = zip(group["dtIds"], group["dtMatches"][0], group["dtIgnore"][0], strict=True)
                pairs += [(by_number[n], self._entries[int(m) - 1]) for n, m, ignored in columns if m and not ignored]
        return pairs

    @property
    def _any_category(self):
        """One that there is: of others pycocotools drops the results, also where it does not tell categories apart."""
        return self.category_ids[0] if self.category_ids else 1

    def _class_precision(self, kind):
        """[IoU threshold, recall] per class: all areas, most detections."""
        return np.moveaxis(self._accumulated[kind]["precision"][:, :, :, 0, -1], 2, 0)

    def _selected(self, image_ids):
        if image_ids is None:
            return self.image_ids
        image_ids = sorted({plain(image_id) for image_id in image_ids})
        self._refuse_unknown_images(set(image_ids))
        return image_ids

    def _refuse_unknown_images(self, image_ids):
        unknown = sorted(image_ids - set(self.image_ids))
        if unknown:
            raise UserError(
                f"{self.source}: the results name image id {unknown[0]!r}, which is not among its"
                f" {len(self.image_ids)} images ({len(unknown)} such ids); evaluate with the annotations of"
                " the images that were detected"
            )

    def _checked_detections(self, results, image_ids, kind):
        """Copies of the results with what pycocotools reads for this kind, and the image ids selected."""
        image_ids = self._selected(image_ids)
        checked = self._checked(results, image_ids, self.category_ids)
        KINDS[kind].complete(checked, results, self._ground_truth_of_kind(kind))
        return checked, image_ids

    def _checked(self, results, image_ids, category_ids):
        """Copies of the results with the keys pycocotools reads; UserError on what it would misread.

        Without category_ids every result gets the same existing category: with `useCats=0` pycocotools
        still drops results whose category the annotations lack.
        """
        copies = [copy_result(number, result, category_ids) for number, result in enumerate(results)]
        self._refuse_others(
            {copy["image_id"] for copy in copies}, {copy["category_id"] for copy in copies}, image_ids, category_ids
        )
        if category_ids is None:
            for copy in copies:
                copy["category_id"] = self._any_category
        return copies

    def _check(self, results, image_ids):
        """Raise what `_checked` raises, and keep no copies."""
        seen, categories = set(), set()
        for number, result in enumerate(results):
            copy = copy_result(number, result, self.category_ids)
            seen.add(copy["image_id"])
            categories.add(copy["category_id"])
        self._refuse_others(seen, categories, image_ids, self.category_ids)

    def _refuse_others(self, seen, categories, image_ids, category_ids):
        """UserError for images and categories of results that are none of these; categories of None may be any."""
        self._refuse_unknown_images(seen)
        if not seen <= set(image_ids):
            left_out = min(seen - set(image_ids))
            raise UserError(f"the results name image id {left_out!r}, which image_ids leaves out")
        unknown = [] if category_ids is None else sorted(categories - set(category_ids))
        if unknown:
            raise UserError(
                f"{self.source}: category id {unknown[0]!r} of the results is not among its categories"
                f" {shorten(category_ids)}; the model was trained on other classes"
            )

    def _ground_truth_of_kind(self, kind):
        """The ground truth as results of a kind are held against it, made when such are measured first."""
        if kind == "bbox":
            return self._ground_truth
        if kind not in self._ground_truths:
            self._ground_truths[kind] = indexed(KINDS[kind].ground_truth(self._dataset, self._entries, self.source))
        return self._ground_truths[kind]

    def _recalls(self, results, image_ids, kind="bbox"):
        """{area: average recall} of results that are not more than 1000 an image.

        Recall is objects found over objects, whole numbers that add up over images: some images at a time give the same
        figures, and pycocotools' tables of all of them would take the most memory of an evaluation.
        """
        found, objects, of_image = np.zeros((1, len(AREAS))), np.zeros(len(AREAS)), {}
        for result in results:
            of_image.setdefault(result["image_id"], []).append(result)
        for start in range(0, len(image_ids), _IMAGES_AT_ONCE):
            some = image_ids[start : start + _IMAGES_AT_ONCE]
            theirs = [result for image_id in some for result in of_image.get(image_id, ())]
            evaluation = self._run(theirs, some, (1, *PROPOSAL_LIMITS), use_categories=False, kind=kind)
            counts = _count_objects(evaluation)
            found = found + np.rint(np.maximum(evaluation.eval["recall"][:, 0, :, -1], 0) * counts)
            objects = objects + counts
        recall = np.where(objects > 0, found / np.maximum(objects, 1), -1.0)  # [IoU threshold, area]
        return {area: mean_defined(recall[:, column]) for column, area in enumerate(AREAS)}

    def _precision(self, results, image_ids, max_detections, kind="bbox"):
        """`(figures in pycocotools' order, its arrays)` of detections with classes.

        Some classes at a time: the arrays of each stand side by side, and pycocotools' tables of all of them at once,
        with copies of all results, are the most of what an evaluation takes.
        """
        image_ids = self._selected(image_ids)
        self._check(results, image_ids)
        parts, of_class = [], {category_id: [] for category_id in self.category_ids}
        for result in results:
            of_class[result["category_id"]].append(result)
        number = max(
            1, math.ceil(len(self.category_ids) / _MOST_PARTS), _TABLES_AT_ONCE // max(1, len(image_ids))
        )
        for start in range(0, max(len(self.category_ids), 1), number):
            some = self.category_ids[start : start + number]
            theirs = [result for category_id in some for result in of_class[category_id]]
            copies = [copy_result(0, result, some) for result in theirs]
            KINDS[kind].complete(copies, theirs, self._ground_truth_of_kind(kind))
            found = self._found(best_first(copies), kind)
            evaluation = self._evaluate(found, image_ids, max_detections, True, kind, some)
            parts.append(evaluation.eval)
        for name, axis in (("precision", 2), ("recall", 1), ("scores", 2)):
            evaluation.eval[name] = np.concatenate([part[name] for part in parts], axis=axis)
        with contextlib.redirect_stdout(io.StringIO()):
            evaluation.summarize()
        return evaluation.stats, evaluation.eval

    def _run(self, results, image_ids, max_detections, use_categories, kind="bbox"):
        """A `COCOeval` of all classes, with its tables."""
        return self._evaluate(self._found(results, kind), image_ids, max_detections, use_categories, kind)

    def _found(self, results, kind):
        for number, result in enumerate(results, start=1):
            result["id"] = number  # 0 would read as "unmatched"
        return indexed({**self._ground_truth_of_kind(kind).dataset, "annotations": results})

    def _evaluate(self, found, image_ids, max_detections, use_categories, kind, category_ids=None):
        from pycocotools.cocoeval import COCOeval

        truth = self._ground_truth_of_kind(kind)
        with contextlib.redirect_stdout(io.StringIO()):
            evaluation = COCOeval(truth, found, iouType=kind)
            for name, value in KINDS[kind].parameters(truth.dataset, self.source).items():
                setattr(evaluation.params, name, value)
            evaluation.params.imgIds = list(image_ids)
            evaluation.params.maxDets = list(max_detections)
            evaluation.params.useCats = int(use_categories)
            if category_ids is not None:
                evaluation.params.catIds = list(category_ids)
            evaluation.evaluate()
            evaluation.accumulate()
        return evaluation


def _crowds(objects):
    return [item["iscrowd"] for item in objects]


def _count_objects(evaluation):
    """`[area]` how many objects count, of an evaluation that does not tell categories apart."""
    of_area = np.array(evaluation.evalImgs, object).reshape(len(evaluation.params.areaRng), -1)
    return np.array([sum(int((one["gtIgnore"] == 0).sum()) for one in row if one is not None) for row in of_area])


def metrics_to_json(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """The metrics with every undefined (-1) or non-finite value as None, for `json.dump`."""
    return {
        name: None if isinstance(value, float) and (value == -1 or not math.isfinite(value)) else value
        for name, value in metrics.items()
    }
