"""benchmarks/parity/regions.py: what is detected in a proposal that only one side has."""

import numpy as np
import pytest
import tensorflow as tf


@pytest.fixture(scope="module")
def regions(parity_modules):
    return parity_modules("regions").regions


def test_each_detection_is_among_those_of_the_proposals_alone(regions, tiny_model, tiny_batch):
    """Suppression only drops boxes: what a model finds in an image is what some proposal of it gives alone."""
    model, inputs = tiny_model, {name: tf.constant(value) for name, value in tiny_batch[0].items()}
    found = model.inference(inputs)
    for image in range(2):
        count = int(found["detections"]["num_detections"][image])
        assert count
        proposals = found["proposals"]["boxes"][image, : int(found["proposals"]["num_proposals"][image])].numpy()
        alone = regions._detected_in(model, model.features(inputs), inputs, image, proposals)
        for box in found["detections"]["boxes"][image, :count].numpy():
            assert np.abs(alone - box).max(-1).min() < 1e-3
        assert regions._detected_in(model, model.features(inputs), inputs, image, proposals[:0]).shape == (0, 4)
