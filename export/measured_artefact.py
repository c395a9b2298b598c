"""An exported detector in the place of a model where detections are measured."""

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from keras_fpn.console.errors import UserError
from keras_fpn.data.coco import CocoDataset
from keras_fpn.export import artefact_inference
from keras_fpn.metrics.measurement import MAIN_OUTPUT
from keras_fpn.models.architectures import ARCHITECTURES

if TYPE_CHECKING:
    from keras_fpn.data.fields import ObjectField
    from keras_fpn.export.artefacts import Artefact


class MeasuredArtefact:
    """Artefact with all that `measuring.measure` asks of a model: its description knows it, its runtime gives results.

    Args:
        artefact: what `open_artefact` gives.

    Raises:
        UserError: it needs proposals, or is of an architecture that comes with an extension that is not loaded.
    """

    further_inputs: Mapping[str, Any] = {}

    def __init__(self, artefact: "Artefact"):
        description = artefact.description
        if description.needs_proposals:
            raise UserError(f"{artefact.path}: {description.title} needs proposals; evaluate the model that it is of")
        self._artefact, self._kind = artefact, ARCHITECTURES[description.architecture].load()
        self.title, self.class_names, self.category_ids = (
            description.title, description.class_names, description.category_ids,
        )  # fmt: skip
        self.max_detections = description.outputs["scores"]["shape"][1]
        self.metric_families = {MAIN_OUTPUT: self._kind.metric_families[MAIN_OUTPUT]}

    @property
    def categories(self) -> dict[str, int] | None:
        """See `Detector`."""
        return self._kind.categories.fget(self)

    @property
    def object_fields(self) -> tuple[str, ...]:
        """Fields of the annotations whose names must be those of an output, see `check_fields`."""
        return tuple(truth for field, _ in self._named() for truth in field.truths)

    def check_classes(self, class_names: Sequence[str], category_ids: Sequence[int], source: str | os.PathLike) -> None:
        """See `Detector`."""
        self._kind.check_classes(self, class_names, category_ids, source)

    def check_fields(self, fields: "Mapping[str, ObjectField]", source: str | os.PathLike) -> None:
        """See `Detector`; what the places of an output are called must be as in the annotations."""
        for field, ours in self._named():
            told = (getattr(fields.get(truth), "names", None) for truth in field.truths)
            theirs = next((names for names in told if names is not None), None)
            if theirs is not None and tuple(theirs) != tuple(ours):
                raise UserError(
                    f"{source}: its {field.name} are {', '.join(theirs)}, and those of {self._artefact.path} are"
                    f" {', '.join(ours)}; use annotations with the same"
                )

    def results(
        self, data_set: CocoDataset, batch_size: int = 1
    ) -> Iterator[tuple[list[int], list[dict[str, Any]], list[dict[str, Any]]]]:
        """`(image ids, COCO results, [])` of each image, see `predict_batches`."""
        paths = [record.path for record in data_set.records]
        found = artefact_inference.iterate(self._artefact, paths, threshold=0.0, batch_size=batch_size)
        for record, one in zip(data_set.records, found, strict=True):
            yield [record.image_id], one.to_results(record.image_id), []

    def _named(self):
        """`[(OutputField, names)]` of the outputs that have names for their parts."""
        fields = self._artefact.description.output_fields
        return [(field, field.arguments["names"]) for field in fields if "names" in field.arguments]
