"""Behind the pyramid of detectron2's R-CNNs and RPN: the RPN, the box head, and the heads of each detection."""

import contextlib
import functools

import detectron2_heads
import hooks
import torch


def level(name):
    """Name here of a map: "P2" of "p2", and "C4" of "res4", which a detector without a pyramid reads as it is."""
    return f"C{name[-1]}" if name.startswith("res") else name.upper()


class Regions:
    """See `reference_detectron2.KINDS`.

    Attributes:
        losses: what detectron2 and this package call them.
        heads: of each detection, see `detectron2_heads`.
    """

    losses = {
        "loss_rpn_cls": "rpn_objectness_loss",
        "loss_rpn_loc": "rpn_box_loss",
        "loss_cls": "roi_class_loss",
        "loss_box_reg": "roi_box_loss",
    } | {head.loss: head.our_loss for head in detectron2_heads.HEADS}

    def __init__(self, module):
        self.module, self.heads = module, detectron2_heads.of(module)

    @staticmethod
    def is_in(module):
        return hasattr(module, "proposal_generator")

    @contextlib.contextmanager
    def watched(self, seen):
        """Leave in `seen` what `keep` reads."""
        generator = self.module.proposal_generator
        of_heads = [hook for head in self.heads for hook in head.watch(self.module.roi_heads, seen)]
        predict = generator.predict_proposals

        def predict_and_see(*inputs):
            # Copied, since postprocessing scales boxes where they are.
            proposals = predict(*inputs)
            seen["proposals"] = [(found.proposal_boxes.tensor.clone(), found.objectness_logits) for found in proposals]
            return proposals

        generator.predict_proposals = predict_and_see
        with hooks.watched(seen, self._parts()):
            yield
        del generator.predict_proposals
        for hook in of_heads:
            hook.remove()

    def _parts(self):
        yield "rpn", self.module.proposal_generator.rpn_head
        yield "anchors", self.module.proposal_generator.anchor_generator
        if hasattr(self.module, "roi_heads"):
            heads = self.module.roi_heads
            yield "pooled", heads.box_pooler if hasattr(heads, "box_pooler") else heads.pooler
            yield "predicted", heads.box_predictor

    def keep(self, recording, batch, seen, found):
        """Record a batch; `found` are the network's detections."""
        logits, deltas = seen["rpn"]
        levels = [level(name) for name in self.module.proposal_generator.in_features]
        recording.keep_rpn(batch, levels, logits, deltas, [anchors.tensor for anchors in seen["anchors"]])
        recording.keep_proposals(batch, *zip(*seen["proposals"], strict=True))
        if "predicted" in seen:
            logits, deltas = seen["predicted"]
            recording.keep_heads(batch, seen["pooled"], logits, deltas.reshape(len(deltas), -1, 4))
        for head in self.heads:
            head.keep(recording, batch, seen, found)

    @contextlib.contextmanager
    def sampled(self, step, recording):
        """Record what a training step samples."""
        samples, proposals = {"anchors": [], "rois": []}, []
        generator, heads = self.module.proposal_generator, getattr(self.module, "roi_heads", None)
        generator._subsample_labels = functools.partial(_anchors, generator._subsample_labels, samples["anchors"])
        hook = generator.register_forward_hook(
            lambda _, inputs, outputs: proposals.extend(found.proposal_boxes.tensor.clone() for found in outputs[0])
        )
        if heads is not None:
            sample = functools.partial(_rois, heads._sample_proposals, samples["rois"], heads.num_classes)
            heads._sample_proposals = sample
        yield
        hook.remove()
        del generator._subsample_labels
        if heads is not None:
            del heads._sample_proposals
        recording.keep_samples(step, samples, proposals)

    def found(self, result):
        """Boxes, probabilities and classes of an image; of a network that only proposes, one class."""
        if "instances" in result:
            return of_instances(result["instances"])
        instances = result["proposals"]
        scores = instances.objectness_logits.sigmoid()
        return instances.proposal_boxes.tensor, scores, torch.zeros(len(scores), dtype=torch.int64)


def of_instances(instances):
    """Boxes, probabilities and classes."""
    return instances.pred_boxes.tensor, instances.scores, instances.pred_classes


def _anchors(subsample, samples, labels):
    labels = subsample(labels)
    samples.append([(labels == value).nonzero()[:, 0].numpy() for value in (1, 0)])
    return labels


def _rois(sample, samples, num_classes, *inputs):
    indices, classes = sample(*inputs)
    samples.append([indices[classes != num_classes].numpy(), indices[classes == num_classes].numpy()])
    return indices, classes
