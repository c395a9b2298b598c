"""Every member with heads of detections, in each format, held against the model on the same pixels."""

import functools
import io

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import keras_fpn
from keras_fpn import export
from keras_fpn.data import shapes
from keras_fpn.export import artefact_inference
from keras_fpn.export.description import describe
from keras_fpn.inference import detecting
from keras_fpn.ops import masks
from tests.export.small import FILES, MASKS, SHARED

KEYPOINTS = {
    "keypoint_head": {"pooling_size": 6, "conv_layers": 1, "channels": 8},
    "keypoint_names": ["top", "left", "right"],
}
MEMBERS = {
    "masks": (keras_fpn.MaskRCNN, MASKS),
    "keypoints": (keras_fpn.KeypointRCNN, KEYPOINTS),
    "both": (keras_fpn.MaskKeypointRCNN, MASKS | KEYPOINTS),
}
BOUNDS = {"masks": 1e-3, "keypoints": 0.05}


@functools.cache
def member(name, profile="detectron2"):
    """A model whose masks differ from place to place. Shared: do not train it."""
    keras.utils.set_random_seed(5)
    kind, settings = MEMBERS[name]
    model = kind(**SHARED | settings, profile=profile)
    if "mask_head" in settings:
        kernel = model.mask_head.mask_logits.kernel
        kernel.assign(tf.random.stateless_normal(kernel.shape, [1, 2], stddev=0.3))
        model.mask_head.mask_logits.bias.assign(tf.zeros(3))  # the drawn ones leave no pixel above a half
    return model


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "format", "profile"),
    [
        ("masks", "onnx", "torchvision"),
        ("masks", "tflite", "detectron2"),
        ("keypoints", "onnx", "detectron2"),
        ("keypoints", "tflite", "torchvision"),
        ("both", "saved_model", "detectron2"),
    ],
)
def test_each_format_answers_as_the_model(name, format, profile, tmp_path):
    model = member(name, profile)
    finding = export.export_model(model, format, tmp_path / FILES[format]).finding
    further = [field.name for field in model.output_fields if field.name in BOUNDS]
    assert finding.detections > 50 and finding.unpaired == 0
    assert list(finding.further) == further
    assert all(0 <= finding.further[key] < BOUNDS[key] for key in further)
    if "masks" in further:
        assert 0.999 <= finding.overlaps["masks"] <= 1.0
    told, expected = (
        one.outputs for one in (export.open_artefact(tmp_path / FILES[format]).description, describe(model))
    )
    for key in further:
        assert (told[key]["kind"], told[key]["arguments"]) == (expected[key]["kind"], expected[key]["arguments"])
        assert told[key]["shape"][2:] == list(expected[key]["shape"][2:])


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float16", "dynamic_int8", "int8"])
def test_a_phone_file_of_fewer_bits_has_both_heads(precision, tmp_path):
    """Untrained, so that what it finds hangs on every digit: its form, and that nothing of either head collapses."""
    model, pictures = member("both"), [shapes.draw_image(3, 1, index, 96)[0] for index in range(6)]
    options = {"calibration": pictures} if precision == "int8" else {}
    files = [tmp_path / f"{each}.tflite" for each in ("float32", precision)]
    export.export_model(model, "tflite", files[0], verify=False)
    export.export_model(model, "tflite", files[1], precision=precision, verify=False, **options)
    theirs, ours = (artefact_inference.detect(export.open_artefact(file), pictures[0], 0.0)[0] for file in files)
    assert files[1].stat().st_size < files[0].stat().st_size and len(theirs.scores) == len(ours.scores) == 10
    found = [export.open_artefact(file).run(*inputs_of(file, pictures[0])) for file in files]
    for name, value in found[0].items():
        assert (found[1][name].dtype, found[1][name].shape) == (value.dtype, value.shape)
    assert found[1]["masks"].std() > 0.8 * found[0]["masks"].std()
    assert found[1]["keypoints"][..., 0].std() > 0.5 * found[0]["keypoints"][..., 0].std()


def inputs_of(file, picture):
    from keras_fpn.export import preprocessing

    return preprocessing.prepare([picture], export.open_artefact(file).description).values()


# The image itself, in the graph -------------------------------------------------------------------------------------


def encoded(picture):
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "png")
    return file.getvalue()


@pytest.fixture(scope="module")
def placed(tmp_path_factory):
    """`(model, artefact)` of a SavedModel that pastes by the rule of torchvision."""
    path = tmp_path_factory.mktemp("placed") / "served"
    model = member("both", "torchvision")
    outcome = export.export_model(model, "saved_model", path, placed=["masks"])
    return model, export.open_artefact(path), outcome.finding


@pytest.mark.slow
def test_a_saved_model_gives_the_pixels_of_each_mask(placed):
    """In a batch of two sizes: each image at the left upper corner of the larger, each mask within its box.

    Which pixels they are is what the verification of the export compares.
    """
    _, artefact, finding = placed
    assert finding.overlaps["masks"] > 0.999 and finding.unpaired == 0
    pictures = [shapes.draw_image(3, 1, 0, 150)[0][:100], shapes.draw_image(3, 1, 1, 200)[0][:, :120]]
    found = artefact.run_encoded([encoded(picture) for picture in pictures])
    most = max(found["num_detections"])
    assert (found["masks"].dtype, found["masks"].shape) == (np.uint8, (2, most, 200, 150))
    assert found["boxes"].shape[1] == 10
    for index, (pixels, boxes) in enumerate(zip(found["masks"], found["boxes"], strict=True)):
        height, width = pictures[index].shape[:2]
        assert not pixels[:, height:].any() and not pixels[:, :, width:].any()
        number = found["num_detections"][index]
        for mask, (x1, y1, x2, y2) in zip(pixels[:number], boxes[:number], strict=True):
            rows, columns = np.nonzero(mask)
            assert len(rows)
            # torchvision pads the mask by a bin on each side, an eighth of the box here, and rounds to whole pixels.
            assert columns.min() >= x1 - (x2 - x1) / 8 - 1 and columns.max() <= x2 + (x2 - x1) / 8 + 1
            assert rows.min() >= y1 - (y2 - y1) / 8 - 1 and rows.max() <= y2 + (y2 - y1) / 8 + 1
        assert not pixels[number:].any()


@pytest.mark.slow
def test_detect_takes_masks_that_are_placed_already(placed):
    model, artefact, _ = placed
    picture = shapes.draw_image(3, 1, 0, 150)[0]
    [expected], [found] = detecting.detect(model, picture, 0.0), artefact_inference.detect(artefact, picture, 0.0)
    np.testing.assert_allclose(found.boxes, expected.boxes, atol=0.05)
    overlaps = masks.overlaps(found.further["masks"], expected.further["masks"])
    assert (np.diag(overlaps) >= 0.99).sum() >= 9 and len(found.scores) == 10
    assert found.to_results(1)[0].keys() == expected.to_results(1)[0].keys()


@pytest.mark.slow
def test_the_description_tells_both_forms(placed):
    description = placed[1].description
    assert description.outputs["masks"]["shape"] == [None, 10, 8, 8]
    told = description.encoded_outputs["masks"]
    assert (told["dtype"], told["shape"], told["kind"]) == ("uint8", [None, None, None, None], "pasted_masks")
    assert told["arguments"] == {"side": 8, "rule": "torchvision"} and "largest height" in told["meaning"]
    assert [field.kind for field in description.of_encoded_images.output_fields][-2:] == [
        "pasted_masks", "keypoint_places",
    ]  # fmt: skip


def test_fields_that_no_graph_can_place_are_refused_in_one_line(tmp_path):
    cases = {
        ("masks", "mask"): "--in-image: Mask R-CNN .* gives no 'mask'; did you mean 'masks'?",
        ("masks", "boxes"): "--in-image: 'boxes' cannot be given otherwise than it is; valid are masks",
        ("keypoints", "keypoints"): "'keypoints' cannot be given .*; Keypoint R-CNN .* nothing that can: leave it out",
    }
    for (name, field), message in cases.items():
        with pytest.raises(keras_fpn.UserError, match=message):
            export.export_model(member(name), "saved_model", tmp_path / "served", placed=[field])
    with pytest.raises(keras_fpn.UserError, match="--in-image does not go with --format onnx: it takes resized pixels"):
        export.export_model(member("masks"), "onnx", tmp_path / "x.onnx", placed=["masks"])
    assert list(tmp_path.iterdir()) == []
