"""Sizes of images, objects and anchors that a run is told of when it starts."""

import json

import numpy as np
import pytest
from PIL import Image

from keras_fpn.config.loading import load_config
from keras_fpn.console.errors import UserError
from keras_fpn.data import read_coco
from keras_fpn.training import schedule
from keras_fpn.training.scale_notes import object_sides, scale_notes


@pytest.fixture
def data_set(tmp_path):
    """`data_set(sides)`: an image of 256 px with square objects of these sides."""

    def make(sides):
        Image.new("RGB", (256, 256)).save(tmp_path / "a.png")
        objects = [
            {"id": n, "image_id": 1, "category_id": 1, "bbox": [0, 0, side, side]} for n, side in enumerate(sides, 1)
        ]
        document = {
            "images": [{"id": 1, "file_name": "a.png", "width": 256, "height": 256}],
            "annotations": objects,
            "categories": [{"id": 1, "name": "a"}],
        }
        (tmp_path / "a.json").write_text(json.dumps(document))
        return read_coco(tmp_path / "a.json", tmp_path)

    return make


def test_what_fits_is_not_told(data_set):
    assert scale_notes(load_config("shapes"), data_set([20, 40, 80, 120])) == []


def test_objects_that_no_anchor_reaches_are_told_with_their_share(data_set):
    # The smallest anchor has 12 px: at an IoU of 0.5 it reaches objects of 8.5 px.
    (note,) = scale_notes(load_config("shapes"), data_set([8, 8, 9, 40, 40, 40, 40, 40, 40, 40]))
    assert note.startswith("note: 20 % of the objects are smaller than any anchor reaches (of 12 px after resizing)")
    assert "\n" not in note
    (note,) = scale_notes(load_config("shapes"), data_set([40, 240]))  # 160 px reach 226
    assert note.startswith("note: 50 % of the objects are larger than any anchor reaches (of 160 px")


def test_sizes_are_those_after_resizing(data_set):
    config = load_config("shapes", ["size=512"])
    np.testing.assert_allclose(object_sides(config, data_set([8, 40])), [16, 80])
    assert scale_notes(config, data_set([8, 40])) == []


def test_other_scales_in_training_and_evaluation_are_told(data_set):
    config = load_config("tiny", ["data.min_sides=[48, 56]"])
    notes = scale_notes(config, data_set([100, 100]))
    assert notes[0].startswith("note: trained at a shorter side of 48, 56 (data.min_sides) and evaluated at 64")


def test_a_model_without_anchors_has_none_to_tell_of(data_set):
    config = load_config("tiny", ["model.architecture=segment_proposals"])
    assert scale_notes(config, data_set([2, 3])) == []


def test_a_batch_beyond_the_memory_is_refused_at_once(data_set, monkeypatch):
    monkeypatch.setattr(schedule, "machine_memory", lambda: 24_000_000_000)
    config = load_config("faster_rcnn_r50_fpn", ["data.batch_size=20000"])
    with pytest.raises(UserError, match="data.batch_size: to train on 20000 images of 640 x 640 .* takes 1966 GB"):
        schedule.make_schedule(config, data_set([20]))
    schedule.make_schedule(load_config("shapes"), data_set([20]))
