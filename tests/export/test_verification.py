"""Verification of an exported detector: what it lets pass and what not, with artefacts that answer as they are told."""

import dataclasses
import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_fpn
from keras_fpn.export import hard_cases, undecided, verification
from keras_fpn.export.agreement import Detections, VerificationError, exactly, roughly
from keras_fpn.export.description import describe
from keras_fpn.inference.detecting import compiled

RESIZE = {"min_side": 96, "max_side": 128, "size_divisor": 32, "interpolation": "bilinear"}


@pytest.fixture(scope="module")
def model(tiny_settings):
    """A tiny detector whose scores lie apart as those of a trained one do: untrained, all of them are nearly equal."""
    keras.utils.set_random_seed(5)
    model = keras_fpn.FasterRCNN(**tiny_settings() | {"detections": {"max_detections": 40}, "resize": RESIZE})
    kernel = next(one for one in model.box_head.variables if one.path.endswith("class_logits/kernel"))
    kernel.assign(kernel * 25.0)
    return model


compiled_once = functools.lru_cache(maxsize=1)(compiled)  # most artefacts here are of one model


@pytest.fixture(scope="module", autouse=True)
def traced_once():
    """The graph of that model is traced once, too, and not by each verification."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(verification, "of_any_size", functools.lru_cache(maxsize=1)(verification.of_any_size))
        yield


class Artefact:
    """Answers as its model does, but for `change`, a function of its outputs."""

    format = "onnx"

    def __init__(self, model, change=lambda outputs: outputs, **description):
        self.description = describe(model, **description)
        self.change, self._infer = change, compiled_once(model)

    def run(self, images, image_sizes):
        assert images.dtype == self.description.input_type
        inputs = {"images": tf.constant(images, tf.float32), "image_sizes": tf.constant(image_sizes)}
        return self.change({name: value.numpy() for name, value in self._infer(inputs).items()})


def changed(name, function):
    """An artefact's outputs with one of them changed where there are detections."""

    def change(outputs):
        there = np.arange(outputs["scores"].shape[1]) < outputs["num_detections"][:, None]
        there = there[..., None] if name == "boxes" else there
        return outputs | {name: np.where(there, function(outputs[name]), outputs[name]).astype(outputs[name].dtype)}

    return change


def without_row(outputs, row=1):
    """The outputs without one detection; those after it move up."""
    padding = {"boxes": 0, "scores": 0, "classes": -1}
    shorter = {}
    for name, value in padding.items():
        rest = np.delete(outputs[name], row, axis=1)
        shorter[name] = np.concatenate([rest, np.full_like(rest[:, :1], value)], axis=1)
    return shorter | {"num_detections": np.maximum(outputs["num_detections"] - 1, 0)}


def invented(outputs):
    """A detection more than the model has, on a place where nothing is."""
    added = without_row(outputs, -1)
    row = int(outputs["num_detections"][0])
    added["boxes"][0, row], added["scores"][0, row], added["classes"][0, row] = [3, 3, 9, 9], 0.051, 0
    return added | {"num_detections": outputs["num_detections"] + 1}


def swapped(outputs):
    """The box of the last detection with the first score, and the other way round."""
    order, last = np.arange(outputs["scores"].shape[1]), int(outputs["num_detections"][0]) - 1
    order[[0, last]] = order[[last, 0]]
    return outputs | {name: outputs[name][:, order] for name in ("boxes", "classes")}


def test_the_model_itself_passes(model, capsys):
    found = verification.verify(Artefact(model), model)
    assert (found.max_box, found.max_score, found.unpaired) == (0.0, 0.0, 0)
    assert found.pictures == 13  # three pictures, seven hard cases, a batch of three
    assert found.detections > 100
    assert "verify: 11 cases" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (changed("boxes", lambda boxes: boxes + 0.1), "picture 1: .* its box differs by 0.1 px"),
        (changed("boxes", lambda boxes: boxes[..., [1, 0, 3, 2]]), "picture 1: the "),
        (changed("scores", lambda scores: scores * (1 - 2e-3)), "its score by 0.00"),
        (changed("classes", lambda classes: (classes + 1) % 4), "its class is "),
        (changed("scores", lambda scores: scores * np.nan), "picture 1: scores hold NaN"),
        (changed("boxes", lambda boxes: boxes + np.inf), "boxes hold NaN or infinite values"),
        (without_row, "that the model finds at .* is missing on the other side|it is there once only"),
        (invented, "the circle that the artefact finds at .3.0, 3.0, 9.0, 9.0. with score 0.0510"),
        (lambda outputs: {name: 0 * value for name, value in outputs.items()}, "classes past the last"),
        (swapped, "its score by "),
        (lambda outputs: outputs | {"scores": outputs["scores"][:, ::-1]}, "scores are not best first"),
        (lambda outputs: outputs | {"num_detections": outputs["num_detections"] + 99}, "num_detections is "),
        (lambda outputs: outputs | {"boxes": outputs["boxes"][:, :7]}, r"boxes have shape \(1, 7, 4\)"),
        (lambda outputs: {"boxes": outputs["boxes"]}, "the artefact gives no 'scores'"),
    ],
    ids=[
        "boxes off by 0.1 px", "x and y swapped", "scores off", "wrong class order", "NaN scores", "infinite boxes",
        "a missing detection", "an invented one", "all zero", "another order", "worst first",
        "more than rows", "too few rows", "a missing output",
    ],
)  # fmt: skip
def test_a_bad_artefact_is_refused(model, change, message):
    with pytest.raises(VerificationError, match=message):
        verification.verify(Artefact(model, change), model)


@pytest.mark.slow
def test_an_artefact_without_weights_is_refused(model, tiny_settings):
    keras.utils.set_random_seed(6)
    empty = keras_fpn.FasterRCNN(**tiny_settings() | {"detections": {"max_detections": 40}, "resize": RESIZE})
    for variable in empty.variables:
        variable.assign(0 * variable)
    with pytest.raises(VerificationError, match="picture 1: the "):
        verification.verify(Artefact(empty), model)


def test_an_artefact_that_names_its_classes_in_another_order_is_refused(model):
    artefact = Artefact(model)
    names = tuple(reversed(artefact.description.class_names))
    artefact.description = dataclasses.replace(artefact.description, class_names=names)
    with pytest.raises(VerificationError, match="its classes and category ids are .*star"):
        verification.verify(artefact, model)


@pytest.mark.parametrize(("key", "value"), [("score_threshold", 0.5), ("resize", {"min_side": 32})])
def test_an_artefact_that_describes_another_model_is_refused(model, key, value):
    artefact = Artefact(model)
    artefact.description = dataclasses.replace(artefact.description, **{key: value})
    with pytest.raises(VerificationError, match=f"its {key} is .*, of the model "):
        verification.verify(artefact, model)


def test_what_rounding_may_do_passes(model):
    change = changed("boxes", lambda boxes: boxes + 0.04)
    found = verification.verify(Artefact(model, change), model)
    assert found.max_box == pytest.approx(0.04, abs=1e-4)
    found = verification.verify(Artefact(model, changed("scores", lambda scores: scores - 9e-5)), model)
    assert found.max_score == pytest.approx(9e-5, abs=1e-6)


def test_a_static_frame_gets_letterboxed_pictures(model):
    found = verification.verify(Artefact(model, frame=(96, 128), input_type="uint8"), model)
    assert (found.pictures, found.max_box) == (10, 0.0)
    cases = hard_cases.cases_for(Artefact(model, frame=(64, 128)), RESIZE, [np.ones((100, 100, 3), np.uint8)])
    assert {case.images.shape for case in cases} == {(1, 64, 128, 3)}


def test_a_lower_precision_is_held_to_its_own_bounds(model):
    def shifted(scores):
        return changed("scores", lambda given: given * (1 - scores))

    found = verification.verify(Artefact(model, shifted(0.005), precision="float16"), model)
    assert found.max_score == pytest.approx(0.005, abs=1e-3)
    with pytest.raises(VerificationError, match="all cases: .* have no partner .* a score within 0.01"):
        verification.verify(Artefact(model, shifted(0.02), precision="float16"), model)
    with pytest.raises(VerificationError, match="hold NaN"):
        verification.verify(Artefact(model, changed("scores", lambda given: given * np.nan), precision="int8"), model)


class TestRounding:
    """Decisions of rounding, by the model's own numbers."""

    def test_a_score_at_the_threshold(self, tiny_settings, model):
        """The least score of the first picture made the threshold: the same picture, and the box may be unpaired."""
        image = hard_cases.drawn_pictures(RESIZE)[2]
        size = np.array(image.shape[:2], np.int32)
        inputs = {"images": tf.constant(image[None], tf.float32), "image_sizes": tf.constant(size[None])}
        everything = model(inputs)
        count = int(everything["num_detections"][0])
        least = float(everything["scores"][0, count - 1])
        for above, is_certain in ((5e-6, False), (1e-3, True)):
            stricter = model.with_settings(detections={"score_threshold": least - above})
            answer = undecided.answer(stricter, inputs, room=1e-5)
            row = np.abs(answer.scores - least).argmin()
            assert answer.scores[row] == pytest.approx(least, abs=1e-6)
            assert answer.is_certain[row] == is_certain

    def test_the_models_answer_lies_within_what_is_possible(self, model):
        image = hard_cases.hard_pictures(RESIZE)["noise"]
        size = np.array(image.shape[:2], np.int32)
        inputs = {"images": tf.constant(image[None], tf.float32), "image_sizes": tf.constant(size[None])}
        found = model(inputs)
        count = int(found["num_detections"][0])
        answer = undecided.answer(model, inputs)
        scores = found["scores"][0, :count].numpy()
        near = np.abs(answer.scores[:, None] - scores) < 1e-5
        assert near.any(0).all()  # all that was found is possible
        assert near.any(1)[answer.is_certain].all()  # and all that is certain was found
        assert 0.8 * count < answer.is_certain.sum() <= count

    @pytest.mark.parametrize(
        ("overlap", "scores", "states"),
        [
            (0.6, [0.9, 0.8], [undecided.IN, undecided.OUT]),
            (0.4, [0.9, 0.8], [undecided.IN, undecided.IN]),
            (0.5005, [0.9, 0.8], [undecided.IN, undecided.UNDECIDED]),
            (0.4995, [0.9, 0.8], [undecided.IN, undecided.UNDECIDED]),
            (0.6, [0.9, 0.89995], [undecided.UNDECIDED, undecided.UNDECIDED]),  # whichever comes first
        ],
    )
    def test_suppression(self, overlap, scores, states):
        """Two boxes of one height, the second as wide as makes their IoU `overlap`; the threshold is 0.5."""
        boxes = np.array([[0, 0, 100, 10], [0, 0, 100 * overlap, 10]])
        found = undecided.nms_states(boxes, np.array(scores), np.full(2, undecided.IN), iou_threshold=0.5)
        assert found.tolist() == states

    def test_what_an_undecided_box_suppresses_is_undecided(self):
        boxes = np.array([[0, 0, 100, 10], [20, 0, 120, 10]])  # IoU 2/3
        before = np.array([undecided.UNDECIDED, undecided.IN])
        assert undecided.nms_states(boxes, np.array([0.9, 0.8]), before, 0.5).tolist() == [undecided.UNDECIDED] * 2

    def test_the_last_places(self):
        scores = np.array([0.9, 0.8, 0.7, 0.69995, 0.5])
        states = undecided.within_the_best(scores, np.full(5, undecided.IN), count=3)
        assert states.tolist() == [undecided.IN] * 2 + [undecided.UNDECIDED] * 2 + [undecided.OUT]
        assert undecided.within_the_best(scores, states, count=9).tolist() == states.tolist()

    def test_only_what_rounding_decides_may_be_unpaired(self):
        one = Detections(np.array([[0.0, 0, 10, 10], [20, 20, 40, 40]]), np.array([0.9, 0.05]), np.zeros(2, int))
        other = Detections(one.boxes[:1], one.scores[:1], one.classes[:1])
        for is_certain in (True, False):
            answer = undecided.Answer(one.boxes, one.scores, one.classes, np.array([True, is_certain]))
            if is_certain:
                with pytest.raises(VerificationError, match="is missing on the other side"):
                    exactly(other, one, ["thing"], lambda room, answer=answer: answer)
            else:
                assert exactly(other, one, ["thing"], lambda room, answer=answer: answer).unpaired == 1
                assert exactly(one, other, ["thing"], lambda room, answer=answer: answer).unpaired == 1


@pytest.mark.parametrize(("most", "counted", "unpaired"), [(9, 6, 2), (3, 5, 1)])
def test_what_the_end_of_a_full_list_cut_off_does_not_count(most, counted, unpaired):
    def at(*places, scores):
        boxes = np.array([[place, 0.0, place + 10, 10] for place in places])
        return Detections(boxes, np.array(scores), np.zeros(len(places), int))

    # Three is all that fits: the box at 120 may be the fourth of ours, whose third has its score. The one at 40 is 0.2
    # above the third of theirs, and should have been there.
    ours, theirs = at(0, 40, 80, scores=(0.9, 0.7, 0.5)), at(0, 80, 120, scores=(0.9, 0.5, 0.5))
    found = roughly(theirs, ours, verification.BOUNDS["int8"], most)
    assert (found.detections, found.unpaired) == (counted, unpaired)


def test_hard_cases_hold_what_they_say(model):
    pictures = hard_cases.hard_pictures(RESIZE)
    assert set(pictures) == {
        "no object", "120 objects", "odd size", "box at every border", "black", "white", "noise",
    }  # fmt: skip
    height, width = pictures["odd size"].shape[:2]
    assert height % 2 == width % 2 == 1
    assert pictures["black"].max() == 0 and pictures["white"].min() == 255
    # Away from its shapes, a scene is its background: smooth, so a jump of colour is the edge of a shape.
    border = pictures["box at every border"].astype(int)
    for side in (border[0], border[-1], border[:, 0], border[:, -1]):
        assert np.abs(np.diff(side, axis=0)).sum(-1).max() > 100


def test_pictures_of_several_sizes_are_chosen(tmp_path):
    from PIL import Image

    for number, size in enumerate([(40, 40), (40, 40), (80, 40), (40, 60)]):
        Image.new("RGB", size).save(tmp_path / f"{number}.png")
    chosen = hard_cases.pictures_of(sorted(tmp_path.iterdir()))
    assert [picture.shape for picture in chosen] == [(60, 40, 3), (40, 40, 3), (40, 80, 3)]
