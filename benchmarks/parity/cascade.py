"""The Keras side of a cascade's further box heads, each on the boxes that the reference's head before it gave."""

import regions
from comparison import of_all, padded


class FurtherHeads(regions.BoxHead):
    """See `stages.KINDS`; differences are noted with those of the first head, which is that of `regions.BoxHead`."""

    def is_in(self, model):
        return hasattr(model, "box_head_2")

    def compare(self, comparison, model, features, inputs, batch):
        (stage,) = (stage for stage in model.stages if hasattr(stage, "heads"))
        for number, head in enumerate(stage.heads[1:], start=2):
            key = f"{batch}/head {number}"
            rois = [comparison.kept[f"{key}/{image}/boxes"] for image in range(len(inputs["image_sizes"]))]
            logits, deltas = head(model.roi_pooling(features, padded(rois)))
            comparison.relative("class logits", f"{key}/class_logits", of_all(rois, logits))
            comparison.relative("box deltas", f"{key}/box_deltas", of_all(rois, deltas))
