"""Behind the pyramid of detectron2's Cascade R-CNNs: several box heads, each on the boxes of the one before."""

import contextlib

import detectron2_regions
from detectron2.modeling.roi_heads import CascadeROIHeads

STAGES = 3


class Cascade(detectron2_regions.Regions):
    """`Regions` with further box heads; what the first gives is recorded as that of the only one is there."""

    losses = detectron2_regions.Regions.losses | {
        f"loss_{theirs}_stage{stage}": f"roi{f'_{stage + 1}' if stage else ''}_{ours}_loss"
        for stage in range(STAGES)
        for theirs, ours in (("cls", "class"), ("box_reg", "box"))
    }

    @staticmethod
    def is_in(module):
        return isinstance(getattr(module, "roi_heads", None), CascadeROIHeads)

    @contextlib.contextmanager
    def watched(self, seen):
        heads = self.module.roi_heads
        run, stages = heads._run_stage, seen.setdefault("stages", [])

        def run_and_see(features, proposals, stage):
            predicted = run(features, proposals, stage)
            stages.append(([each.proposal_boxes.tensor for each in proposals], predicted))
            return predicted

        heads._run_stage = run_and_see
        with super().watched(seen):
            yield
        del heads._run_stage

    def keep(self, recording, batch, seen, found):
        (_, seen["predicted"]), *further = seen["stages"]
        super().keep(recording, batch, seen, found)
        for number, (boxes, (logits, deltas)) in enumerate(further, start=2):
            recording.keep_slice(f"{batch}/head {number}/class_logits", logits.numpy())
            recording.keep_slice(f"{batch}/head {number}/box_deltas", deltas.reshape(len(deltas), -1, 4).numpy())
            for image, own in enumerate(boxes):
                recording.keep(f"{batch}/head {number}/{image}/boxes", own.numpy())
