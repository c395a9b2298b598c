"""The image pyramid at test time: against detectron2 (golden/make_tta.py), and what must hold of any."""

import importlib
import json
import sys

import keras
import numpy as np
import pytest

import keras_fpn
from keras_fpn.checkpoints import conversion
from keras_fpn.commands import main as cli
from keras_fpn.console.errors import UserError
from keras_fpn.data.coco import read_coco
from keras_fpn.data.shapes import draw_image, write_shapes
from keras_fpn.inference.augmented import AugmentedDetector
from keras_fpn.ops import masks
from tests.conftest import GOLDEN

NARROW = {
    "backbone": {"name": "resnet18", "width": 8},
    "pyramid": {"channels": 8},
    "resize": {"min_side": 64, "max_side": 96},
    "detections": {"score_threshold": 0.0, "max_detections": 20},
}
PROPOSED = {"rpn": {"channels": 8}, "box_head": {"units": 8}}
MASKS = PROPOSED | {"mask_head": {"pooling_size": 3, "conv_layers": 1, "channels": 8}}
TOWERS = {"dense_head": {"channels": 8, "conv_layers": 1}}
POINTS = {"keypoint_head": {"pooling_size": 3, "conv_layers": 1, "channels": 8}, "num_keypoints": 3}
MEMBERS = {"FasterRCNN": PROPOSED, "MaskRCNN": MASKS, "CascadeRCNN": PROPOSED, "RetinaNet": TOWERS}


def built(member, **settings):
    keras.utils.set_random_seed(5)
    return getattr(keras_fpn, member)(num_classes=3, **NARROW | settings)


def picture(height=100, width=140):
    return np.ascontiguousarray(np.resize(draw_image(3, 1, 0, 256)[0], (256, 256, 3))[:height, :width])


@pytest.fixture(scope="module")
def converted(golden, tmp_path_factory):
    """`(what was kept of detectron2, the converted model, the pictures)`."""
    sys.path.insert(0, str(GOLDEN))
    drawn = importlib.import_module("drawn_checkpoints")
    sys.path.remove(str(GOLDEN))
    kept = golden("tta").arrays
    case = json.loads(str(kept["case"]))
    path = tmp_path_factory.mktemp("tta") / "model_final.npz"
    np.savez(path, **drawn.tensors(json.loads(str(kept["recipe"]))))
    model = conversion.convert_checkpoint(path)
    pictures = [drawn.picture(name, *size) for name, size in case["pictures"].items()]
    return kept, AugmentedDetector(model, case["sides"], case["max_side"]), pictures


@pytest.mark.parametrize("image", [0, 1])
def test_the_merged_answers_are_detectron2s(converted, image):
    """Boxes to 0.05 px, scores to 1e-4, mean masks to 1e-3, in the same order but for near ties."""
    kept, detector, pictures = converted
    found = detector.detect(pictures[image])
    boxes, scores, classes = (kept[f"{image}/{name}"] for name in ("boxes", "scores", "classes"))
    assert int(found["num_detections"]) == len(scores)
    np.testing.assert_allclose(found["scores"], scores, atol=1e-4)
    # Each of theirs among ours: the nearest of its class.
    apart = np.abs(found["boxes"][None] - boxes[:, None]).max(-1) + 1e3 * (found["classes"] != classes[:, None])
    pairs = apart.argmin(axis=1)
    assert sorted(pairs) == list(range(len(scores)))
    assert apart.min(axis=1).max() < 0.05
    np.testing.assert_allclose(found["masks"][pairs][:, ::3, ::3], kept[f"{image}/masks"], atol=1e-3)


@pytest.mark.parametrize("member", MEMBERS)
def test_one_size_and_no_mirror_is_plain_detection_to_the_bit(member):
    model = built(member, **MEMBERS[member])
    (plain,) = keras_fpn.detect(model, picture(), 0.0)
    (seen,) = AugmentedDetector(model, [64], 96, flip=False).iterate([picture()], 0.0)
    assert len(plain.scores) > 5
    for name in ("boxes", "scores", "classes"):
        np.testing.assert_array_equal(getattr(seen, name), getattr(plain, name))
    assert seen.further == plain.further


def test_a_mirrored_picture_gets_the_mirrored_answers():
    """With each size mirrored, too, both pictures are seen the same way but for the order of the passes."""
    detector = AugmentedDetector(built("MaskRCNN", **MASKS), [48, 64])
    (one,), (other,) = (list(detector.iterate([each], 0.0)) for each in (picture(), picture()[:, ::-1]))
    np.testing.assert_allclose(np.sort(one.scores), np.sort(other.scores), atol=1e-5)
    width = one.image.shape[1]
    mirrored = np.stack([width - other.boxes[:, 2], other.boxes[:, 1], width - other.boxes[:, 0], other.boxes[:, 3]], 1)
    apart = np.abs(one.boxes[:, None] - mirrored[None]).max(-1)
    assert apart.min(axis=1).max() < 0.01
    pairs = apart.argmin(axis=1)
    for row, pair in enumerate(pairs):
        ours, theirs = (masks.decode(each) for each in (one.further["masks"][row], other.further["masks"][pair]))
        union = (ours | theirs[:, ::-1]).sum()
        assert union == 0 or (ours & theirs[:, ::-1]).sum() / union > 0.9


def test_a_box_that_several_passes_found_ends_once():
    model = built("FasterRCNN", **PROPOSED)
    detector = AugmentedDetector(model, [64, 64, 64], 96, flip=False)
    found, once = detector.detect(picture()), AugmentedDetector(model, [64], 96, flip=False).detect(picture())
    assert detector.passes == 3
    np.testing.assert_array_equal(found["scores"], once["scores"][: int(once["num_detections"])])


def test_sides_are_shares_of_the_models_own():
    detector = AugmentedDetector(keras_fpn.RetinaNet(num_classes=3, backbone={"name": "resnet18", "width": 8}))
    assert detector.min_sides == (400, 500, 600, 700, 800, 900, 1000, 1100, 1200)  # detectron2's TEST.AUG.MIN_SIZES
    assert detector.max_side == 3 * 1333 and detector.passes == 18


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (lambda: built("KeypointRCNN", **PROPOSED | POINTS), "keypoints of several sizes have no mean; leave --tta"),
        (lambda: keras_fpn.RPN(backbone={"name": "resnet18", "width": 8}), "its answers have no classes"),
        (lambda: built("FastRCNN", box_head={"units": 8}), "finds objects only among given proposals"),
    ],
)
def test_what_cannot_be_merged_is_refused_in_one_line(model, message):
    with pytest.raises(UserError, match=message):
        AugmentedDetector(model())


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A data set of four pictures and a model file."""
    folder = tmp_path_factory.mktemp("tta")
    write_shapes(folder / "data", num_train=4, num_val=3, size=96)
    keras.utils.set_random_seed(5)
    data_set = read_coco(folder / "data" / "annotations" / "instances_val.json", folder / "data" / "val")
    model = keras_fpn.FasterRCNN.for_data(data_set, **NARROW, **PROPOSED)
    model.save(folder / "model.keras")
    return folder


def test_evaluate_tells_the_gain_and_the_cost(saved, capsys):
    options = ["--data", str(saved / "data"), "--tta", "--tta-sides", "48", "64", "--metrics", str(saved / "m.json")]
    assert cli.main(["evaluate", str(saved / "model.keras"), *options]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "--tta: sides 48, 64, each mirrored, too" in lines
    assert any(line.startswith("AP ") and "->" in line for line in lines)
    assert any(line.endswith("times") and "ms an image by itself" in line for line in lines)
    assert "AP" in json.loads((saved / "m.json").read_text())


def test_detect_draws_what_was_merged(saved, capsys):
    arguments = ["--threshold", "0", "--tta", "--tta-sides", "48", "--tta-no-flip", "--out", str(saved / "drawn")]
    assert cli.main(["detect", str(saved / "model.keras"), str(saved / "data" / "val"), *arguments]) == 0
    assert len(list((saved / "drawn").glob("*.jpg"))) == 3
    assert "image 3/3" in capsys.readouterr().out


@pytest.mark.parametrize("option", [["--tta-sides", "48"], ["--tta-no-flip"]])
def test_options_without_tta_are_refused(option, saved, capsys):
    assert cli.main(["evaluate", str(saved / "model.keras"), "--data", str(saved / "data"), *option]) == 2
    assert f"{option[0]}: says how --tta is done; give --tta, too" in capsys.readouterr().err
