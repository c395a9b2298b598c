"""Behind the pyramid of detectron2's RetinaNet: one head, on every level."""

import contextlib

import dense_record
import hooks
from detectron2_regions import of_instances


class Dense:
    """See `reference_detectron2.KINDS`, and `detectron2_regions.Regions` for its attributes and methods."""

    losses = {"loss_cls": "class_loss", "loss_box_reg": "box_loss"}
    heads = ()

    def __init__(self, module):
        self.module = module

    @staticmethod
    def is_in(module):
        return hasattr(module, "head")

    @contextlib.contextmanager
    def watched(self, seen):
        """Leave in `seen` what `keep` reads."""

        def see(_, inputs, output):
            # Copied, since scores are made of logits where they are.
            seen["head"] = [[maps.clone() for maps in levels] for levels in output]

        handle = self.module.head.register_forward_hook(see)
        with hooks.watched(seen, (("anchors", self.module.anchor_generator),)):
            yield
        handle.remove()

    def keep(self, recording, batch, seen, found):
        logits, deltas = seen["head"]
        outputs = {
            "class_logits": [_of_anchors(maps, self.module.num_classes) for maps in logits],
            "box_deltas": [_of_anchors(maps, 4) for maps in deltas],
        }
        dense_record.keep(recording, batch, outputs, [anchors.tensor for anchors in seen["anchors"]])

    @contextlib.contextmanager
    def sampled(self, step, recording):
        """Nothing is; the average number of positives begins anew with each step."""
        yield
        del self.module.loss_normalizer

    def found(self, result):
        return of_instances(result["instances"])


def _of_anchors(maps, number):
    """`[B, h w A, number]` of `[B, A number, h, w]`."""
    return maps.permute(0, 2, 3, 1).reshape(len(maps), -1, number)
