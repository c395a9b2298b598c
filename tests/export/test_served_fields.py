"""Further fields that a server answers with: in the pixels of each file, in results and in pictures."""

import json

import numpy as np
import pytest
from PIL import Image

from keras_fpn.export.description import Description
from keras_fpn.export.serving import client as serving_client
from keras_fpn.export.serving import inputs as serving_inputs
from keras_fpn.export.serving.rest import RestClient
from keras_fpn.ops import mask_pasting, masks
from keras_fpn.parts.keypoint_fields import KeypointPlaces
from keras_fpn.parts.mask_fields import InstanceMasks
from keras_fpn.parts.output_fields import STANDARD

BOX, SIZES = [20.0, 10.0, 60.0, 40.0], [(50, 80), (60, 64)]  # height, width of the files
MASK = np.zeros((28, 28), np.float32)
MASK[:, :14] = 0.9
POINTS = [[22.0, 12.0, 0.5], [58.0, 38.0, 0.25]]


def described(is_placed):
    fields = [*STANDARD, InstanceMasks(28), KeypointPlaces(("nose", "tail"), [(0, 1)])]
    outputs = {field.name: field.describe((None, 2)) for field in fields}
    placed = {"masks": fields[3].placed().describe((None, None))} if is_placed else {}
    rule = {"min_side": 64, "max_side": 96, "rounding": "half_up", "interpolation": "pillow", "size_divisor": 32}
    pixels = {"channel_order": "RGB", "mean": [0.0] * 3, "std": [1.0] * 3}
    images = {"images": {"dtype": "uint8", "shape": [None, None, None, 3]}}
    return Description(
        "mask_keypoint_rcnn", "Mask and Keypoint R-CNN", ("cat",), (7,), rule, pixels, 0.05, "float32", "uint8", None,
        images, outputs | {"num_detections": {"dtype": "int32", "shape": [None]}}, {}, encoded_outputs=placed,
    )  # fmt: skip


def pasted(size):
    return masks.decode(mask_pasting.paste(MASK, np.array(BOX), *size, "detectron2"))


@pytest.fixture(params=[False, True], ids=["over the boxes", "in the images"])
def served(request, tmp_path, monkeypatch):
    """Two files, an export's folder, and a server that finds one cat in each picture, as JSON has it."""
    for number, size in enumerate(SIZES):
        Image.fromarray(np.full((*size, 3), 100, np.uint8)).save(tmp_path / f"{number}.png")
    folder = tmp_path / "export" / "1"
    (folder / "assets").mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(b"")
    (folder / "assets" / "keras_fpn.json").write_text(described(request.param).to_json())

    def predict(self, signature, inputs):
        number = len(inputs["image_bytes"])
        found = {
            "boxes": [[BOX, [0.0] * 4]], "scores": [[0.9, 0.0]], "classes": [[0, -1]], "num_detections": [1],
            "keypoints": [[POINTS, np.zeros((2, 3)).tolist()]], "masks": [np.stack([MASK, 0 * MASK]).tolist()],
        }  # fmt: skip
        found = {name: value * number for name, value in found.items()}
        if request.param:
            canvas = np.zeros((number, 1, 60, 80), int)
            size = Image.open(tmp_path / "0.png").size if inputs["image_bytes"][0] == first else (64, 60)
            canvas[0, 0, : size[1], : size[0]] = pasted(size[::-1])
            found["masks"] = canvas.tolist()
        return found

    first = (tmp_path / "0.png").read_bytes()
    monkeypatch.setattr(RestClient, "predict", predict)
    return [tmp_path / "0.png", tmp_path / "1.png"], tmp_path / "export"


def test_masks_and_keypoints_are_in_the_pixels_of_the_file(served):
    files, folder = served
    description = serving_inputs.read_description(folder)
    way = serving_inputs.EncodedImages(serving_inputs.classes_of(description, folder), description)
    for file, size in zip(files, SIZES, strict=True):
        [found] = way.ask(RestClient("127.0.0.1:1", "cats"), [file], 0.5)
        np.testing.assert_array_equal(masks.decode(found.further["masks"][0]), pasted(size))
        np.testing.assert_allclose(found.further["keypoints"], [POINTS])
        assert found.names == ["cat"] and found.image is None


def test_the_client_writes_and_draws_them(served, tmp_path, capsys):
    files, folder = served
    call = ["127.0.0.1:1", *map(str, files), "--export", str(folder), "--json", str(tmp_path / "found.json")]
    assert serving_client.main([*call, "--out", str(tmp_path / "drawn")]) == 0
    results = json.loads((tmp_path / "found.json").read_text())
    assert [result["keypoints"] for result in results] == [[22, 12, 0.5, 58, 38, 0.25]] * 2
    assert [masks.areas([result["segmentation"]])[0] for result in results] == [pasted(size).sum() for size in SIZES]
    assert "wrote 2 pictures to " in capsys.readouterr().out
    drawn = np.asarray(Image.open(tmp_path / "drawn" / "0.png").convert("RGB"))
    times = drawn.shape[0] // 50  # small pictures are enlarged
    assert drawn.shape == (50 * times, 80 * times, 3)
    inside, outside = drawn[20 * times : 30 * times, 24 * times : 34 * times], drawn[:, 70 * times :]
    assert (inside != 100).any(-1).mean() > 0.9 and (outside == 100).all()


def test_without_a_description_there_are_boxes_alone(served, tmp_path):
    files, _ = served
    assert serving_client.main(["127.0.0.1:1", str(files[0]), "--json", str(tmp_path / "found.json")]) == 0
    [result] = json.loads((tmp_path / "found.json").read_text())
    assert "segmentation" not in result and "keypoints" not in result
