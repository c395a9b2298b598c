"""Every kind of model and every pyramid, exported and held against the model: what they need and give besides.

Expected numbers are the Keras model's own, on the same pixels.
"""

import concurrent.futures
import functools
import inspect
import json
import multiprocessing
import types

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import keras_fpn
from keras_fpn import export
from keras_fpn.console.errors import UserError
from keras_fpn.export import hard_cases, regular_proposals, undecided, verification
from keras_fpn.export.description import describe
from keras_fpn.export.findings import VerificationError
from keras_fpn.inference.detecting import batch, compiled

FRAME = (64, 96)
MOST = 40  # proposals of a TFLite file here
ALL_SIZES = [8.0, 16.0, 32.0, 64.0, 128.0]
SHARED = {
    "backbone": {"name": "resnet18", "width": 8, "freeze_at": 0},
    "resize": {"min_side": 64, "max_side": 96},
    "seed": 5,
}
PROPOSING = {"rpn": {"channels": 8}, "proposals": {"pre_nms_top_k_test": 40, "post_nms_top_k_test": 20}}
CLASSIFYING = {
    "num_classes": 3,
    "pyramid": {"channels": 8, "levels": ["P3", "P4"]},
    "roi_pooling": {"canonical_size": 56.0, "levels": ["P3", "P4"]},
    "box_head": {"units": 16},
    "detections": {"max_detections": 10},
}
PYRAMIDS = {
    "bottom_up": ["P4", "P5"],
    "top_down": ["P4", "P5", "P6"],
    "finest_level": ["P2"],
    "single_scale C4": ["C4"],
    "single_scale C5": ["C5"],
    "fusion": ["P3"],
    "ssd": ["P4", "P5", "P6", "P7"],
    "panet": ["P3", "P4", "P5"],
    "pafpn": ["P4", "P5", "P6"],
    "bifpn": ["P4", "P5", "P6"],
    "nas_fpn": ["P3", "P4", "P5", "P6", "P7"],
    "simple_pyramid": ["P3", "P4", "P5", "P6"],
}


def out_of(format, folder):
    return folder / {"saved_model": "served", "tflite": "model.tflite", "onnx": "model.onnx"}[format]


def proposing(name):
    """Settings of a detector that proposes, on one of `PYRAMIDS`: 15 anchors in each cell of an only level."""
    levels = PYRAMIDS[name]
    sizes = {levels[0]: ALL_SIZES} if len(levels) == 1 else {level: [16.0] for level in levels}
    pyramid = {"name": name.split()[0], "levels": levels}
    if pyramid["name"] != "single_scale":  # the map itself has the backbone's
        pyramid["channels"] = 8
    return SHARED | PROPOSING | {"pyramid": pyramid, "anchors": {"sizes": sizes}}


def built(kind, **settings):
    keras.utils.set_random_seed(5)
    return kind(**settings)


def assert_same(found, expected):
    """The bounds of float32: 0.05 px, 1e-4, masks 1e-3; whole numbers equal."""
    assert set(found) == set(expected)
    for name, value in expected.items():
        tolerance = {"boxes": 0.05, "scores": 1e-4, "masks": 1e-3}.get(name, 0)
        np.testing.assert_allclose(found[name], value, rtol=0, atol=tolerance, err_msg=name)


# Pyramids -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pyramid", "format"),
    [
        ("finest_level", "tflite"),
        ("fusion", "onnx"),
        pytest.param("single_scale C5", "saved_model", marks=pytest.mark.slow),
        pytest.param("bottom_up", "onnx", marks=pytest.mark.slow),
        pytest.param("top_down", "saved_model", marks=pytest.mark.slow),
        pytest.param("ssd", "tflite", marks=pytest.mark.slow),
        ("bifpn", "tflite"),
        ("nas_fpn", "onnx"),
        *(
            pytest.param(pyramid, format, marks=pytest.mark.slow)
            for pyramid in ("panet", "pafpn", "bifpn", "nas_fpn", "simple_pyramid")
            for format in ("saved_model", "tflite", "onnx")
            if (pyramid, format) not in (("bifpn", "tflite"), ("nas_fpn", "onnx"))
        ),
    ],
)
def test_a_region_proposal_network_on_every_pyramid(pyramid, format, tmp_path):
    model = built(keras_fpn.RPN, **proposing(pyramid))
    assert model.anchors.num_anchors[PYRAMIDS[pyramid][0]] == (15 if len(PYRAMIDS[pyramid]) == 1 else 3)
    finding = export.export_model(model, format, out_of(format, tmp_path)).finding
    assert finding.detections > 100


# A network of each family of keras.applications, by the module that it is in.
FAMILIES = {
    "convnext": "ConvNeXtTiny",
    "densenet": "DenseNet121",
    "efficientnet": "EfficientNetB0",
    "efficientnet_v2": "EfficientNetV2B0",
    "inception_resnet_v2": "InceptionResNetV2",
    "inception_v3": "InceptionV3",
    "mobilenet": "MobileNet",
    "mobilenet_v2": "MobileNetV2",
    "mobilenet_v3": "MobileNetV3Small",
    "nasnet": "NASNetMobile",
    "resnet": "ResNet50",
    "resnet_v2": "ResNet50V2",
    "vgg16": "VGG16",
    "vgg19": "VGG19",
    "xception": "Xception",
}


def test_no_family_of_keras_is_left_out():
    modules = {name for name in dir(keras.applications) if inspect.ismodule(getattr(keras.applications, name))}
    assert set(FAMILIES) == modules - {"imagenet_utils", "resnet50"}  # no families: preprocessing; an alias


@pytest.mark.slow
@pytest.mark.parametrize("format", ["saved_model", "tflite", "onnx"])
@pytest.mark.parametrize("backbone", ["swin_t", "convnext_tiny", "vit_b", *FAMILIES.values()])
def test_a_region_proposal_network_on_every_backbone(backbone, format, tmp_path):
    # In a process of its own, which gives back what it took: up to 10 GB for a ViT.
    with concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as processes:
        detections, unpaired = processes.submit(found_on_backbone, backbone, format, tmp_path).result()
    assert detections > 100 and unpaired == 0


def found_on_backbone(backbone, format, folder):
    pyramid = "simple_pyramid" if backbone == "vit_b" else "bottom_up"
    model = built(keras_fpn.RPN, **proposing(pyramid) | {"backbone": {"name": backbone}})
    finding = export.export_model(model, format, out_of(format, folder)).finding
    return finding.detections, finding.unpaired


def c4_detector(**groups):
    """The paper's C4 baseline: RoIs of 14 x 14 bins, conv5 in the head."""
    head = {"roi_pooling": {"levels": ["C4"], "output_size": 14}, "box_head": {"name": "conv5"}}
    own = head | {"num_classes": 3, "detections": {"max_detections": 10}}
    return built(keras_fpn.FasterRCNN, **proposing("single_scale C4") | own | groups)


@pytest.mark.parametrize(
    "format", ["onnx", *(pytest.param(name, marks=pytest.mark.slow) for name in ("tflite", "saved_model"))]
)
@pytest.mark.slow
def test_a_c4_detector_with_conv5_in_the_head(format, tmp_path):
    finding = export.export_model(c4_detector(), format, out_of(format, tmp_path)).finding
    assert finding.detections > 50


def network(name):
    """A detector on a dilated C5, or on the pyramid of a ResNeXt."""
    if name == "dilated":
        own = proposing("single_scale C5") | CLASSIFYING | {"roi_pooling": {"levels": ["C5"]}}
        own["pyramid"] = proposing("single_scale C5")["pyramid"]
        return built(keras_fpn.FasterRCNN, **own | {"backbone": SHARED["backbone"] | {"res5_dilation": 2}})
    anchors = {"sizes": {"P3": [16.0], "P4": [32.0]}}
    backbone = {"name": "resnext50_32x4d", "width": 16, "freeze_at": 0}
    return built(keras_fpn.FasterRCNN, **SHARED | PROPOSING | CLASSIFYING | {"anchors": anchors, "backbone": backbone})


@pytest.mark.slow
@pytest.mark.parametrize("format", ["onnx", "tflite", "saved_model"])
@pytest.mark.parametrize("name", ["dilated", "resnext"])
def test_dilated_and_grouped_convolutions(name, format, tmp_path):
    finding = export.export_model(network(name), format, out_of(format, tmp_path)).finding
    assert finding.detections > 50 and finding.unpaired == 0


def test_max_pooling_of_its_regions_has_no_operator_outside_tensorflow(tmp_path):
    model = c4_detector(roi_pooling={"levels": ["C4"], "output_size": 14, "method": "max"})
    for format in ("tflite", "onnx"):
        with pytest.raises(UserError, match='roi_pooling.method: "max" '):
            export.export_model(model, format, out_of(format, tmp_path))
    assert list(tmp_path.iterdir()) == []


# Given proposals ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def fast_rcnn():
    return built(keras_fpn.FastRCNN, **SHARED | CLASSIFYING)


@pytest.fixture(scope="module")
def fast_files(fast_rcnn, tmp_path_factory):
    """`{format: path}`, and what was told of each; all of them verified."""
    folder, paths, told = tmp_path_factory.mktemp("fast_rcnn"), {}, {}
    fast_rcnn.save(folder / "model.keras")
    for format in ("saved_model", "tflite", "onnx"):
        lines, most = [], {"max_proposals": MOST} if format == "tflite" else {}
        outcome = export.export_model(fast_rcnn, format, out_of(format, folder), tell=lines.append, **most)
        assert outcome.finding.detections > 50
        paths[format], told[format] = out_of(format, folder), " ".join(lines)
    return types.SimpleNamespace(keras=folder / "model.keras", told=told, **paths)


@pytest.fixture(scope="module")
def fast_artefacts(fast_files):
    return {format: export.open_artefact(getattr(fast_files, format)) for format in ("saved_model", "tflite", "onnx")}


def noise(count=1, dtype=np.uint8):
    return np.random.default_rng(3).integers(0, 256, (count, *FRAME, 3)).astype(dtype)


@pytest.mark.parametrize("format", ["saved_model", "tflite", "onnx"])
def test_it_answers_for_the_proposals_given(format, fast_rcnn, fast_artefacts):
    artefact, sizes = fast_artefacts[format], np.array([[64, 80], [50, 96]], np.int32)
    images = noise(2)
    given = regular_proposals.for_images(sizes, 25)
    given["num_proposals"][1] = 7
    found = artefact.run(images, sizes, **given)
    assert_same(found, fast_rcnn({"images": images.astype(np.float32), "image_sizes": sizes} | given))
    fewer = artefact.run(images[:1], sizes[:1], given["proposals"][:1, :1])  # all that are given count
    assert fewer["num_detections"][0] <= 3 < found["num_detections"][0]
    none = artefact.run(images[:1], sizes[:1], given["proposals"][:1], np.array([0]))
    assert none["num_detections"].tolist() == [0] and (none["classes"] == -1).all()


def test_its_description_names_the_proposals(fast_artefacts):
    for format, artefact in fast_artefacts.items():
        inputs = artefact.description.inputs
        assert list(inputs) == ["images", "image_sizes", "proposals", "num_proposals"]
        rows = [1, MOST, 4] if format == "tflite" else [None, None, 4]
        assert (inputs["proposals"]["dtype"], inputs["proposals"]["shape"]) == ("float32", rows)
        assert inputs["num_proposals"]["dtype"] == "int32"
        assert artefact.description.architecture == "fast_rcnn"


def test_encoded_images_alone_are_not_enough(fast_files, fast_artefacts):
    assert not fast_artefacts["saved_model"].takes_files
    assert "has no serving_bytes" in fast_files.told["saved_model"]
    assert f"up to {MOST} proposals" in fast_files.told["tflite"]


@pytest.mark.parametrize(
    ("proposals", "numbers", "message"),
    [
        (None, None, "finds nothing without proposals; give proposals"),
        (np.zeros((1, 4)), None, r"proposals are float64 \(1, 4\); give float32 \[batch, P, 4\]"),
        (np.zeros((1, 5, 4)), [1, 2], r"num_proposals are int64 \(2,\); give int32 \[batch\]"),
        (np.zeros((1, 5, 4)), [6], "num_proposals must be from 0 to the 5 rows of proposals"),
        (np.full((1, 5, 4), np.nan), [5], "a proposal is no box within the images of 64 x 96"),
        (np.array([[[0, 0, 97, 10]]]), [1], "a proposal is no box within the images of 64 x 96"),
        (np.array([[[9, 0, 8, 10]]]), [1], "a proposal is no box within the images of 64 x 96"),
        (np.zeros((1, MOST + 1, 4)), None, f"{MOST + 1} proposals; this artefact takes {MOST}: leave out the worst"),
    ],
)
def test_proposals_that_it_cannot_take(proposals, numbers, message, fast_artefacts):
    with pytest.raises(UserError, match=rf"model\.tflite: {message}"):
        fast_artefacts["tflite"].run(noise(), None, proposals=proposals, num_proposals=numbers)


def test_a_request_with_wrong_proposals_is_refused_inside_the_graph(fast_artefacts):
    serve = tf.saved_model.load(str(fast_artefacts["saved_model"].path / "1")).serve
    images, boxes = tf.constant(noise()), tf.zeros([1, 3, 4])
    assert serve(images, boxes, tf.constant([2]))["num_detections"].numpy().tolist() == [0]  # empty boxes
    for given, message in (
        ((boxes, [4]), "num_proposals: from 0 to the rows"),
        ((boxes * np.nan, [2]), "proposals: hold NaN"),
        ((boxes[:0], [2]), "give boxes and their number for each of the images"),
    ):
        with pytest.raises(tf.errors.InvalidArgumentError, match=message):
            serve(images, given[0], tf.constant(given[1]))


@pytest.mark.parametrize("name", ["keras", "saved_model", "tflite", "onnx"])
def test_detect_says_that_it_needs_proposals(name, fast_files, run, tmp_path):
    Image.fromarray(noise()[0]).save(tmp_path / "picture.png")
    code, out, error = run("detect", getattr(fast_files, name), "picture.png")
    assert (code, error.count("\n")) == (2, 1) and "proposals" in error
    assert [path.name for path in tmp_path.iterdir()] == ["picture.png"]


def test_options_that_do_not_go_together(fast_files, fast_rcnn, tmp_path, run):
    code, _, error = run("export", fast_files.keras, "--format", "onnx", "--out", "x.onnx", "--max-proposals", 5)
    assert (code, error.count("\n")) == (2, 1) and "--max-proposals does not go with --format onnx" in error
    with pytest.raises(UserError, match="signature: FastRCNN makes no proposals; leave it out"):
        export.export_model(fast_rcnn, "saved_model", tmp_path / "x", signatures=["proposals"])
    with pytest.raises(UserError, match="--max-proposals: RPN is given no proposals; leave it out"):
        export.export_model(
            built(keras_fpn.RPN, **proposing("fusion")), "tflite", tmp_path / "x.tflite", max_proposals=5
        )
    assert list(tmp_path.iterdir()) == []


def test_regular_proposals_are_of_all_sizes_and_within_their_images():
    sizes = np.array([[64, 96], [37, 51], [2, 300]])
    given = regular_proposals.for_images(sizes)
    again = regular_proposals.for_images(sizes)
    for (height, width), boxes, number in zip(sizes, given["proposals"], given["num_proposals"], strict=True):
        own = boxes[:number]
        assert (own >= 0).all() and (own <= [width, height, width, height]).all() and not boxes[number:].any()
        assert len(np.unique(own, axis=0)) == number > 50
        assert [0, 0, width, height] in own.tolist() and (own[:, 2:] == own[:, :2]).all(-1).any()
    areas = np.prod(given["proposals"][0, :, 2:] - given["proposals"][0, :, :2], axis=-1)
    assert areas.max() == 64 * 96 and ((areas > 60) & (areas < 70)).any()
    np.testing.assert_array_equal(given["proposals"], again["proposals"])
    few = regular_proposals.for_images(sizes, 30)
    assert few["proposals"].shape == (3, 30, 4) and few["num_proposals"].tolist() == [30, 30, 30]


# Segments -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def segmenter():
    settings = {"units": 16, "max_detections": 100, "mask_size": 6, "canonical_size": 16.0}
    model = built(
        keras_fpn.SegmentProposals, **SHARED, pyramid={"channels": 8, "levels": ["P3", "P4"]}, segments=settings
    )
    for variable in model.segment_head.variables:  # of an untrained model's size they would answer 0 or 1 everywhere
        if "score" in variable.path:
            variable.assign(variable * 0.5)
    return model


@pytest.fixture(scope="module")
def segment_files(segmenter, tmp_path_factory):
    """`segment_files("onnx")`: the path, written and verified when a test first asks for it; "keras" too."""
    folder = tmp_path_factory.mktemp("segments")

    @functools.cache
    def file(format):
        if format == "keras":
            segmenter.save(folder / "model.keras")
            return folder / "model.keras"
        finding = export.export_model(segmenter, format, out_of(format, folder)).finding
        assert finding.detections >= 1000 and finding.further["masks"] < 1e-3
        return out_of(format, folder)

    return file


@pytest.mark.parametrize(
    "format", ["onnx", *(pytest.param(name, marks=pytest.mark.slow) for name in ("tflite", "saved_model"))]
)
def test_segments_have_masks_and_windows_as_the_model_gives_them(format, segmenter, segment_files):
    artefact = export.open_artefact(segment_files(format))
    images, sizes = noise(), np.array([[64, 80]], np.int32)
    found = artefact.run(images, sizes)
    assert_same(found, segmenter({"images": images.astype(np.float32), "image_sizes": sizes}))
    assert (found["boxes"] < 0).any() and np.ptp(found["masks"]) > 0.2
    outputs = artefact.description.outputs
    assert list(outputs) == ["boxes", "scores", "masks", "num_detections"]
    assert outputs["masks"]["shape"] == [1 if format == "tflite" else None, 100, 6, 6]
    assert artefact.description.architecture == "segment_proposals"


@pytest.mark.slow
def test_encoded_images_get_windows_in_their_own_pixels_and_the_same_masks(segmenter, segment_files, tmp_path):
    picture = Image.fromarray(noise()[0]).resize((300, 200), Image.Resampling.BICUBIC)
    picture.save(tmp_path / "picture.png")
    artefact = export.open_artefact(segment_files("saved_model"))
    found = artefact.run_encoded([(tmp_path / "picture.png").read_bytes()])
    inputs = batch([np.asarray(picture)], segmenter.settings["resize"])
    expected = {name: value.numpy() for name, value in segmenter(inputs).items()}
    height, width = inputs["image_sizes"][0].numpy()
    expected["boxes"] = expected["boxes"] * np.array([300 / width, 200 / height] * 2, np.float32)
    assert_same(found, expected)
    assert (found["boxes"] < 0).any()  # not clipped


@pytest.mark.parametrize("format", ["onnx", pytest.param("saved_model", marks=pytest.mark.slow)])
def test_detect_draws_the_segments_of_an_exported_model(format, segment_files, run, tmp_path):
    Image.fromarray(noise()[0]).save(tmp_path / "picture.png")  # as large as the frame: all see the same pixels
    results = {}
    for name, model in (("keras", segment_files("keras")), ("exported", segment_files(format))):
        options = ("--threshold", 0, "--json", f"{name}.json", "--out", name)
        code, _, error = run("detect", model, "picture.png", *options)
        assert code == 0, error
        results[name] = json.loads((tmp_path / f"{name}.json").read_text())
        with Image.open(tmp_path / name / "picture.png") as drawn:
            assert drawn.width > 96  # enlarged, so that one can see them
    assert len(results["keras"]) == len(results["exported"]) > 0
    assert {"segmentation", "bbox", "score"} <= set(results["exported"][0])
    ours, theirs = ({one["segmentation"]["counts"] for one in results[name]} for name in ("exported", "keras"))
    assert len(ours & theirs) >= 0.8 * len(theirs)  # a bin at 0.5 may fall on either side


class Artefact:
    """Answers as its model does, but for `change`, a function of its outputs."""

    format = "onnx"

    def __init__(self, model, change):
        self.description, self.change, self._infer = describe(model), change, compiled(model)

    def run(self, images, image_sizes, **proposals):
        inputs = {"images": images.astype(np.float32), "image_sizes": image_sizes} | proposals
        found = self._infer({name: tf.constant(value) for name, value in inputs.items()})
        return self.change({name: value.numpy() for name, value in found.items()})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda found: found | {"masks": found["masks"] * 0.99}, "picture 1: masks of the object at .* differ by"),
        (lambda found: found | {"masks": found["masks"].swapaxes(2, 3)}, "picture 1: masks of the object at"),
        (lambda found: found | {"boxes": found["boxes"].clip(0)}, "picture 1: the object that the model finds"),
        (lambda found: {name: found[name] for name in found if name != "masks"}, "gives no 'masks'"),
        (lambda found: found | {"masks": found["masks"][:, :, 1:]}, "masks have shape"),
    ],
    ids=["masks off", "x and y swapped", "clipped windows", "no masks", "smaller masks"],
)
def test_wrong_segments_are_not_let_pass(change, message, segmenter):
    with pytest.raises(VerificationError, match=message):
        verification.verify(Artefact(segmenter, change), segmenter)


def test_the_classes_of_given_proposals_are_compared(fast_rcnn):
    def other(found):
        return found | {"classes": np.where(found["classes"] >= 0, (found["classes"] + 1) % 3, -1)}

    with pytest.raises(VerificationError, match="picture 1: .*its class is"):
        verification.verify(Artefact(fast_rcnn, other), fast_rcnn)


def test_what_a_model_may_answer_holds_what_it_answers(segmenter, fast_rcnn):
    image = hard_cases.hard_pictures(SHARED["resize"])["box at every border"]
    sizes = np.array([image.shape[:2]], np.int32)
    inputs = {"images": tf.constant(image[None], tf.float32), "image_sizes": tf.constant(sizes)}
    proposals = {name: tf.constant(value) for name, value in regular_proposals.for_images(sizes).items()}
    for model, given in ((segmenter, inputs), (fast_rcnn, inputs | proposals)):
        found, answer = model(given), undecided.answer(model, given)
        count = int(found["num_detections"][0])
        near = np.abs(answer.boxes[:, None] - found["boxes"][0, :count].numpy()).max(-1) < 1e-2
        near &= np.abs(answer.scores[:, None] - found["scores"][0, :count].numpy()) < 1e-5
        assert near.any(0).all()  # all that was found is possible
        assert near.any(1)[answer.is_certain].all()  # and all that is certain was found
        assert answer.is_certain.sum() > 0.5 * count


def test_a_finding_keeps_the_largest_difference_of_masks():
    finding = export.agreement.Finding
    one = finding(further={"masks": 2e-4}) + finding(further={"masks": 1e-4, "colour": 0.0}) + finding()
    assert one.further == {"masks": 2e-4, "colour": 0.0}
