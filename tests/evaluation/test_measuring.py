"""A model measured on a data set."""

import json

import numpy as np
import pytest
from PIL import Image

from keras_fpn.data.coco import read_coco
from keras_fpn.evaluation import measuring


@pytest.fixture
def mixed(tmp_path):
    """Seven images of four padded sizes, with one object each."""
    random = np.random.default_rng(4)
    images, annotations = [], []
    for number, (height, width) in enumerate(((64, 90), (96, 64), (50, 50), (64, 88), (40, 96), (64, 90), (96, 60)), 1):
        name = f"{number}.png"
        Image.fromarray(random.integers(0, 255, (height, width, 3), np.uint8)).save(tmp_path / name)
        images.append({"id": number, "file_name": name, "height": height, "width": width})
        one = {"id": number, "image_id": number, "category_id": 1 + number % 4}
        annotations.append(one | {"bbox": [5, 6, 20, 20], "area": 400, "iscrowd": 0})
    names = ["circle", "square", "triangle", "star"]
    categories = [{"id": label, "name": name} for label, name in enumerate(names, start=1)]
    document = {"images": images, "annotations": annotations, "categories": categories}
    (tmp_path / "instances.json").write_text(json.dumps(document))
    return read_coco(tmp_path / "instances.json", tmp_path)


def test_what_an_image_scores_does_not_hang_on_its_batch(tiny_model, mixed):
    model = tiny_model.with_settings(resize={"min_side": 64, "max_side": 96})

    def measured(batch_size):
        metrics, results, _ = measuring.measure(model, mixed, batch_size=batch_size)
        return metrics, sorted(results, key=lambda one: (one["image_id"], -one["score"]))

    metrics, alone = measured(1)
    assert len(alone) > 7
    other_metrics, together = measured(7)
    assert other_metrics == pytest.approx(metrics, abs=1e-6)
    assert [one["image_id"] for one in together] == [one["image_id"] for one in alone]
    np.testing.assert_allclose([one["score"] for one in together], [one["score"] for one in alone], atol=1e-4)
