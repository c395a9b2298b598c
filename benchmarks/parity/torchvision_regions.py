"""Behind the pyramid of torchvision's R-CNNs: the RPN, the box head, and the heads of each detection."""

import contextlib
import functools

import hooks
import numpy as np
import torchvision_heads


class Regions:
    """See `reference_torchvision.KINDS`.

    Attributes:
        losses: what torchvision and this package call them.
        levels, taps: what this package calls those of a pyramid and its backbone, by how many there are.
        rows: of a predictor in our order.
    """

    losses = {
        "loss_objectness": "rpn_objectness_loss",
        "loss_rpn_box_reg": "rpn_box_loss",
        "loss_classifier": "roi_class_loss",
        "loss_box_reg": "roi_box_loss",
    } | {head.loss: head.our_loss for head in torchvision_heads.HEADS}
    levels = {5: ("P2", "P3", "P4", "P5", "P6"), 3: ("P5", "P6", "P7")}
    taps = {4: ("C2", "C3", "C4", "C5"), 2: ("C5", "C6")}

    def __init__(self, module):
        self.module = module
        self.heads = torchvision_heads.of(module.roi_heads)
        self.rows = torchvision_heads.rows(module.roi_heads.box_predictor)

    @staticmethod
    def is_in(module):
        return hasattr(module, "roi_heads")

    @contextlib.contextmanager
    def watched(self, seen):
        """Leave in `seen` what `keep` reads."""
        rpn, roi_heads = self.module.rpn, self.module.roi_heads
        of_heads = [hook for head in self.heads for hook in head.watch(roi_heads, seen)]
        filter_proposals = rpn.filter_proposals
        rpn.filter_proposals = lambda *inputs: seen.setdefault("proposals", filter_proposals(*inputs))
        parts = (
            ("rpn", rpn.head), ("anchors", rpn.anchor_generator), ("pooled", roi_heads.box_roi_pool),
            ("predicted", roi_heads.box_predictor),
        )  # fmt: skip
        with hooks.watched(seen, parts):
            yield
        del rpn.filter_proposals
        for hook in of_heads:
            hook.remove()

    def keep(self, recording, batch, levels, seen, found):
        """Record a batch.

        Args:
            levels: names of them.
            found: the network's detections.
        """
        logits, deltas = seen["rpn"]
        anchors = seen["anchors"][0].split([level[0].numel() for level in logits])
        recording.keep_rpn(batch, levels, logits, deltas, anchors)
        boxes, probabilities = seen["proposals"]
        recording.keep_proposals(batch, boxes, [scores.double().logit() for scores in probabilities])
        class_logits, box_deltas = seen["predicted"]
        classes = self.rows[: self.rows.index(0)]
        class_logits, box_deltas = class_logits[:, self.rows], box_deltas.reshape(len(box_deltas), -1, 4)[:, classes]
        recording.keep_heads(batch, seen["pooled"], class_logits, box_deltas)
        unused = class_logits.softmax(-1)[:, len(classes) + 1 :]
        if unused.shape[1]:
            recording.keep(f"{batch}/unused_probability", np.array([unused.sum(-1).mean(), unused.max()]))
        for head in self.heads:
            head.keep(recording, batch, seen, found)

    @contextlib.contextmanager
    def sampled(self, step, recording):
        """Record what a training step samples."""
        parts = (self.module.rpn, self.module.roi_heads)
        samples, proposals, samplers = [], [], [part.fg_bg_sampler for part in parts]
        for part, sampler in zip(parts, samplers, strict=True):
            part.fg_bg_sampler = functools.partial(_sample, sampler, samples)
        hook = self.module.rpn.register_forward_hook(lambda _, inputs, outputs: proposals.extend(outputs[0]))
        yield
        hook.remove()
        for part, sampler in zip(parts, samplers, strict=True):
            part.fg_bg_sampler = sampler
        recording.keep_samples(step, dict(zip(("anchors", "rois"), samples, strict=True)), proposals)

    def pools(self):
        """The modules that pool RoIs of the features."""
        roi_heads = self.module.roi_heads
        return [roi_heads.box_roi_pool, *(getattr(roi_heads, head.pool) for head in self.heads)]

    def truth(self, boxes, height, width):
        """Targets of boxes in a picture besides boxes and labels."""
        return {head.name: head.truth(boxes, height, width) for head in self.heads}


def _sample(sampler, samples, labels):
    positive, negative = sampler(labels)
    chosen = zip(positive, negative, strict=True)
    samples.append([tuple(mask.nonzero()[:, 0].numpy() for mask in masks) for masks in chosen])
    return positive, negative
