"""The image pyramid at test time: `AugmentedDetector` against what detectron2 merged."""

import catalogue
import matching
import numpy as np
import regions

from keras_fpn.inference import images
from keras_fpn.inference.augmented import AugmentedDetector


def compare(comparison, model, path):
    """Note the boxes, and of a model with masks the mean of the passes, of those that both sides found."""
    kept = comparison.kept
    detector = AugmentedDetector(model, catalogue.AUGMENTED_SIDES, catalogue.AUGMENTED_MOST)
    found = detector.detect(images.read_image(path)[0])
    number = int(found["num_detections"])
    ours, theirs = (
        matching.Ranked(*(np.asarray(side[f"{prefix}{name}"])[:most] for name in ("boxes", "scores", label)))
        for side, prefix, label, most in ((found, "", "classes", number), (kept, "augmented/", "labels", None))
    )
    comparison.matches["augmented"] |= matching.match(ours, theirs, *regions.suppression_of_detections(model))
    if "augmented/masks" in kept:
        for own, other in matching.pairs(ours, theirs):
            difference = np.abs(np.asarray(found["masks"][own]) - kept["augmented/masks"][other]).max()
            comparison.note("--tta masks", f"augmented/{own}", float(difference))
