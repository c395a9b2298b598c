"""Hold detectron2_conventions.py to the real detectron2: the same weights, pictures and RoIs, every stage compared.

    python benchmarks/parity/verify_conventions.py rpn_R_50_FPN_1x faster_rcnn_R_50_FPN_1x

In an environment with detectron2. Prints the largest difference of each stage and of each gradient, see
`drawn_checkpoints.relative_difference`; proposals are compared before the box head is given detectron2's.
"""

import collections
import pathlib
import sys
import tempfile

import reference  # noqa: F401  (finds the drawn checkpoints)

import catalogue  # isort: skip
import detectron2_conventions  # isort: skip
import drawn_checkpoints  # isort: skip
import matching  # isort: skip
import numpy as np  # isort: skip
import pictures  # isort: skip
import recording  # isort: skip
import reference_detectron2  # isort: skip
import torch  # isort: skip

BATCH = ("333x500", "480x640")
# Of the network with a box head: overlap from which boxes are suppressed, and how many are left at most.
SUPPRESSION = {"proposals": (0.7, 1000), "detections": (0.5, 100)}


def record(source, name, files, state=None, given=None):
    """Record of a source: a mixed batch and of a training step, and its weights.

    Args:
        state: weights; drawn without.
        given: recorded arrays whose proposals the box head reads; its own without.
    """
    kept, own = recording.Recording(), []
    detector = source.Detector(name)
    if state is None:
        detector.draw([files[BATCH[0]]])
        state = detector.state_dict()
    detector.module.load_state_dict(state, strict=False)
    if given:
        _give(detector.module, [_proposals(given, f"mixed/proposals/{image}") for image in range(2)], own)
    detector.record("mixed", [files[picture] for picture in BATCH], kept)
    small = source.Detector(name, catalogue.TRAINING_SIDE)
    small.module.load_state_dict(state, strict=False)
    if given:
        boxes = [torch.from_numpy(given[f"training/proposals/{image}"]) for image in range(2)]
        _give(small.module, [(one, torch.zeros(len(one))) for one in boxes], own)
    paths = [files[picture] for picture in catalogue.TRAINING_PICTURES]
    model = catalogue.model_named(name)
    small.train(paths, model.truth(catalogue.TRUTH), list(model.gradients), kept)
    for image, (boxes, scores) in enumerate(own[0] if given else ()):
        kept.keep(f"mixed/proposals/{image}/boxes", boxes.numpy())
        kept.keep(f"mixed/proposals/{image}/scores", scores.numpy())
    for image, (boxes, _) in enumerate(own[1] if given else ()):
        kept.keep(f"training/proposals/{image}", boxes.numpy())
    return kept.arrays, state


def _proposals(arrays, key):
    return [torch.from_numpy(arrays[f"{key}/{part}"]) for part in ("boxes", "scores")]


def _give(module, proposals, own):
    """Have the network go on with these proposals, and append to `own` what it would have proposed."""
    propose = module.propose

    def propose_given(*inputs):
        seen = propose(*inputs)
        own.append(seen["proposals"])
        return seen | {"proposals": proposals}

    module.propose = propose_given


def compare(ours, theirs):
    """`{stage: largest relative difference}` and `{list: matching.Match}`."""
    assert sorted(ours) == sorted(theirs), set(ours) ^ set(theirs)
    differences, matches = collections.defaultdict(float), collections.defaultdict(matching.Match)
    for key, value in theirs.items():
        step, stage = key.split("/")[:2]
        if step == "mixed" and stage in SUPPRESSION:
            if key.endswith("/boxes"):
                matches[stage] |= _match(ours, theirs, stage, key.removesuffix("/boxes"))
        elif stage == "proposals":
            sides = [matching.Ranked(boxes, np.zeros(len(boxes))) for boxes in (ours[key], value)]
            matches[f"{step}/proposals, boxes"] |= matching.match(*sides, *SUPPRESSION["proposals"])
        elif value.dtype == np.uint8:
            bits = np.count_nonzero(np.unpackbits(ours[key] ^ value)) / (8 * len(value))
            differences[f"{step}/{stage}, pixels"] = max(differences[f"{step}/{stage}, pixels"], bits)
        elif value.dtype.kind in "fi" and not key.endswith("/shape"):
            name = key if stage in ("losses", "gradients") else f"{step}/{stage}"
            name += ", logits" if key.endswith("/logits") else ""
            # detectron2 marks the sampled anchors, which leaves them sorted.
            arrays = [side[key] if stage != "anchors" else np.sort(side[key], None) for side in (ours, theirs)]
            one = drawn_checkpoints.relative_difference(*arrays)
            differences[name] = max(differences[name], one)
    return differences, matches


def _match(ours, theirs, stage, key):
    parts = [part for part in ("boxes", "scores", "labels") if f"{key}/{part}" in theirs]
    sides = [matching.Ranked(*(side[f"{key}/{part}"] for part in parts)) for side in (ours, theirs)]
    return matching.match(*sides, *SUPPRESSION[stage])


def main():
    with tempfile.TemporaryDirectory() as folder:
        files = pictures.write(pathlib.Path(folder))
        for name in sys.argv[1:]:
            theirs, state = record(reference_detectron2, name, files)
            ours, _ = record(detectron2_conventions, name, files, state, theirs)
            differences, matches = compare(ours, theirs)
            print(name)
            for stage, difference in differences.items():
                print(f"  {stage:60} {difference:.1e}")
            for stage, found in matches.items():
                print(f"  {stage:60} {found}")


if __name__ == "__main__":
    main()
