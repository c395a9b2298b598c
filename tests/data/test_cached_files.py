"""`cache=True`: image files in memory as they lie on disk, and never more than there is."""

import json

import numpy as np
import pytest
from PIL import Image

from keras_fpn.console.errors import UserError
from keras_fpn.data import cached_files, load_coco, read_coco


@pytest.fixture
def folder(tmp_path):
    """Two pictures of one colour: of 1.5 million pixels each, and of few bytes."""
    images = [{"id": number, "file_name": f"{number}.png", "width": 1500, "height": 1000} for number in (1, 2)]
    for image in images:
        Image.new("RGB", (1500, 1000), (9, 99, 199)).save(tmp_path / image["file_name"])
    objects = [{"id": n, "image_id": n, "category_id": 1, "bbox": [10, 10, 500, 500]} for n in (1, 2)]
    document = {"images": images, "annotations": objects, "categories": [{"id": 1, "name": "a"}]}
    (tmp_path / "a.json").write_text(json.dumps(document))
    return tmp_path


def test_what_is_kept_is_as_large_as_the_files(folder):
    records = read_coco(folder / "a.json", folder).records
    content = cached_files.cached_contents(records)
    contents = [content(index).numpy() for index in range(2)]
    assert contents == [(folder / f"{n}.png").read_bytes() for n in (1, 2)]
    assert cached_files.cached_bytes(records) == sum(map(len, contents)) < 0.01 * 2 * 1500 * 1000 * 3


def test_more_than_the_machine_has_is_refused_before_it_is_read(folder, monkeypatch):
    monkeypatch.setattr(cached_files, "machine_memory", lambda: 1000)
    monkeypatch.setattr(cached_files.tf.io, "read_file", None)
    with pytest.raises(UserError, match=r"data.cache: the 2 image files take 0.0 GB, and .* of memory; leave it out"):
        load_coco(folder / "a.json", folder, cache=True)


def test_a_claimed_size_takes_no_memory(folder):
    document = json.loads((folder / "a.json").read_text())
    document["images"][0] |= {"width": 2**31 - 1, "height": 2**31 - 1}
    (folder / "a.json").write_text(json.dumps(document))
    with pytest.raises(UserError, match="image 1 .* 2147483647 x 2147483647 pixels"):
        load_coco(folder / "a.json", folder, cache=True, batch_size=1)


def test_files_that_change_afterwards_change_nothing(folder):
    batches = load_coco(folder / "a.json", folder, cache=True, batch_size=2, min_side=100, max_side=200)
    expected = next(iter(batches))[0]["images"].numpy()
    Image.new("RGB", (1500, 1000), (255, 0, 0)).save(folder / "1.png")
    np.testing.assert_array_equal(next(iter(batches))[0]["images"], expected)
