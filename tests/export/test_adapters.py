"""Exports of a model that stays as it is, layers that each format knows by type, and what strangers bring."""

import concurrent.futures

import keras
import numpy as np
import onnx
import pytest
import tensorflow as tf

import keras_fpn
from keras_fpn import export
from keras_fpn.console.errors import UserError
from keras_fpn.export import hard_cases, undecided, verification
from keras_fpn.export.findings import VerificationError
from keras_fpn.export.undecided import Possible
from keras_fpn.stages.classify import ClassifyStage
from keras_fpn.stages.propose import ObjectsStage

RESIZE = {"min_side": 64, "max_side": 96}
FILES = {"saved_model": "served", "tflite": "model.tflite", "onnx": "model.onnx"}


def seeded(kind, settings):
    keras.utils.set_random_seed(5)
    return kind(**settings)


@pytest.fixture(scope="module")
def settings(tiny_settings):
    return tiny_settings() | {"resize": RESIZE}


@pytest.fixture(scope="module")
def rpn_settings(settings):
    groups = ("backbone", "pyramid", "anchors", "rpn", "proposals", "resize", "seed")
    return {key: settings[key] for key in groups}


@pytest.fixture(scope="module")
def model(settings):
    return seeded(keras_fpn.FasterRCNN, settings)


@pytest.fixture
def inputs():
    image = hard_cases.hard_pictures(RESIZE)["box at every border"]
    sizes = np.array([image.shape[:2]], np.int32)
    return {"images": tf.constant(image[None], tf.float32), "image_sizes": tf.constant(sizes)}


# The caller's model -------------------------------------------------------------------------------------------


class Attributes:
    """All attributes of a model and of every layer in it, and what stands in those that are containers, by identity."""

    def __init__(self, model):
        self.held = {}
        for layer in model._flatten_layers():
            for name, value in vars(layer).items():
                inside = [*value, *value.values()] if isinstance(value, dict) else []
                inside = list(value) if isinstance(value, list | set) else inside
                self.held[id(layer), name] = [value, *inside]

    def __eq__(self, other):
        ids, theirs = ({key: list(map(id, held)) for key, held in one.held.items()} for one in (self, other))
        return ids == theirs


@pytest.mark.slow
def test_an_export_that_fails_leaves_it_alone_too(settings, inputs, tmp_path, monkeypatch):
    model = seeded(keras_fpn.FasterRCNN, settings | {"roi_pooling": {"method": "max"}})
    model(inputs)  # Keras marks layers that were called
    before = Attributes(model)
    for format in ("tflite", "onnx"):
        with pytest.raises(UserError, match='roi_pooling.method: "max"'):
            export.export_model(model, format, tmp_path / FILES[format])
    monkeypatch.setattr(verification, "verify", lambda *given: (_ for _ in ()).throw(VerificationError("no")))
    with pytest.raises(VerificationError):
        export.export_model(model, "saved_model", tmp_path / "served", precision="bfloat16")
    assert Attributes(model) == before and list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize(("format", "verify"), [("onnx", False), *((name, True) for name in FILES)])
def test_another_thread_traces_and_predicts_meanwhile(format, verify, model, inputs, tmp_path):
    def traced():
        answer = tf.function(lambda given: model(given), input_signature=[model.input_specs()])(inputs)
        return {name: value.numpy() for name, value in answer.items()}

    expected, predicted, rounds = traced(), model.predict_on_batch(inputs), 0
    before, weights = Attributes(model), model.get_weights()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        done = pool.submit(export.export_model, model, format, tmp_path / FILES[format], verify=verify)
        while not done.done():
            for found, wanted in ((traced(), expected), (model.predict_on_batch(inputs), predicted)):
                for name, value in wanted.items():
                    np.testing.assert_array_equal(found[name], value, err_msg=name)
            rounds += 1
        done.result()
    assert rounds > 0 and Attributes(model) == before
    assert all(np.array_equal(one, other) for one, other in zip(model.get_weights(), weights, strict=True))


# Layers by type -----------------------------------------------------------------------------------------------


class SecondStage(ClassifyStage):
    """Classifies what the first has found once more, as a cascade does."""

    name = "second"
    reads, gives = ("detections",), ("detections",)
    outputs = fields = ()
    families = {}

    def infer(self, features, state):
        found = state["detections"]
        proposals = {"boxes": found["boxes"], "num_proposals": found["num_detections"]}
        return super().infer(features, state | {"proposals": proposals})


@keras.saving.register_keras_serializable("tests")
class TwiceRCNN(keras_fpn.FasterRCNN):
    """Two RoIAligns and two detection layers, under names that no exporter knows."""

    stage_types = (*keras_fpn.FasterRCNN.stage_types, SecondStage)


@pytest.mark.slow
def test_every_layer_of_a_type_is_adapted_wherever_it_is(settings, tmp_path):
    model = seeded(TwiceRCNN, settings)
    export.export_model(model, "onnx", tmp_path / "twice.onnx", verify=False)
    kinds = [node.op_type for node in onnx.load(tmp_path / "twice.onnx").graph.node]
    assert kinds.count("NonMaxSuppression") == 7 and kinds.count("RoiAlign") == 8 and "Loop" not in kinds


class Fade(keras.layers.Layer):
    """A layer that no exported graph can hold: its square root is Python's."""

    def call(self, scores):
        return tf.ensure_shape(tf.numpy_function(np.sqrt, [scores], tf.float32), scores.shape)


class FadingStage(keras_fpn.Stage):
    """Scores of the detections through a stranger's layer; half of the boxes may be had in a SavedModel."""

    name, reads, gives = "fade", ("detections",), ("detections",)

    def __init__(self, context, name=None):
        super().__init__(context, name)
        self.fade = Fade(name="fade")

    def layers(self):
        return {"fade": self.fade}

    def infer(self, features, state):
        found = state["detections"]
        return {"detections": found | {"scores": self.fade(found["scores"])}}

    def signatures(self):
        return {"halves": lambda features, state: {"halves": state["detections"]["boxes"] / 2}}


@keras.saving.register_keras_serializable("tests")
class FadingRPN(keras_fpn.RPN):
    stage_types = (ObjectsStage, FadingStage)


@pytest.fixture(scope="module")
def fading(rpn_settings):
    return seeded(FadingRPN, rpn_settings)


def in_tensorflow(layer, model):
    layer.call = tf.sqrt


def cannot(layer, model):
    raise UserError("fade: roots have no operator; take powers")


@pytest.mark.slow
@pytest.mark.parametrize("format", ["tflite", "onnx"])
def test_a_layer_goes_into_a_format_by_the_adapter_that_its_author_registers(format, fading, tmp_path):
    with pytest.raises(Exception, match="(?i)pyfunc|json|token|expecting value"):
        export.export_model(fading, format, tmp_path / FILES[format])
    export.register_adapter(format, Fade, in_tensorflow)
    export.register_adapter(format, Fade, in_tensorflow)  # as when a module is imported anew
    finding = export.export_model(fading, format, tmp_path / FILES[format]).finding
    assert finding.detections > 100
    with pytest.raises(UserError, match=f"{format} adapter for Fade: there is one already; derive a type of your own"):
        export.register_adapter(format, Fade, cannot)


class DarkFade(Fade):
    """Has an adapter of its own, which says why not."""


class DarkStage(FadingStage):
    def __init__(self, context, name=None):
        super().__init__(context, name)
        self.fade = DarkFade(name="fade")


@keras.saving.register_keras_serializable("tests")
class DarkRPN(keras_fpn.RPN):
    stage_types = (ObjectsStage, DarkStage)


def test_an_adapter_says_why_a_format_cannot_carry_its_layer(rpn_settings, tmp_path):
    export.register_adapter("onnx", DarkFade, cannot)
    with pytest.raises(UserError, match="fade: roots have no operator; take powers"):
        export.export_model(seeded(DarkRPN, rpn_settings), "onnx", tmp_path / "x.onnx")
    with pytest.raises(UserError, match="unknown format 'onx'; did you mean 'onnx'"):
        export.register_adapter("onx", DarkFade, cannot)


# What a part refuses ------------------------------------------------------------------------------------------


def test_what_a_stage_or_a_model_refuses_is_told_by_its_title_before_any_work(fading, tmp_path, monkeypatch):
    lines = []
    monkeypatch.setattr(FadingStage, "refuses", {"tflite": "its roots are not written for LiteRT"})
    with pytest.raises(UserError, match="^tflite: fade: its roots are not written for LiteRT$"):
        export.export_model(fading, "tflite", tmp_path / "x.tflite", tell=lines.append)
    monkeypatch.setattr(FadingRPN, "refuses", {"onnx": "nobody asked"}, raising=False)
    with pytest.raises(UserError, match="^onnx: Region proposal network: nobody asked$"):
        export.write_onnx(fading, tmp_path / "x.onnx")
    monkeypatch.setattr(FadingRPN, "further_inputs", {"depths": tf.TensorSpec([None], tf.float32, name="depths")})
    for format in FILES:
        monkeypatch.setattr(FadingRPN, "refuses", {})
        monkeypatch.setattr(FadingStage, "refuses", {})
        with pytest.raises(UserError, match=f"^{format}: Region proposal network: its input 'depths' cannot be export"):
            export.export_model(fading, format, tmp_path / FILES[format], tell=lines.append)
    assert lines == [] and list(tmp_path.iterdir()) == []


# Signatures ---------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_signature_that_a_stage_brings(fading, model, inputs, tmp_path):
    with pytest.raises(UserError, match="--signature: unknown signature 'halves'; valid are raw, proposals"):
        export.export_model(fading, "saved_model", tmp_path / "served", signatures=["halves"])
    export.register_signature("halves", "has no halves")
    export.register_adapter("saved_model", Fade, in_tensorflow)
    export.export_model(fading, "saved_model", tmp_path / "served", signatures=["halves", "proposals"])
    loaded = tf.saved_model.load(str(tmp_path / "served" / "1"))
    given = {"images": tf.cast(inputs["images"], tf.uint8), "image_sizes": inputs["image_sizes"]}
    halves = loaded.signatures["halves"](**given)["halves"]
    np.testing.assert_allclose(2 * halves, fading(inputs)["boxes"], atol=1e-3)
    assert loaded.signatures["proposals"](**given)["num_proposals"] == fading(inputs)["num_detections"]
    with pytest.raises(UserError, match="signature: FasterRCNN has no halves; leave it out"):
        export.export_model(model, "saved_model", tmp_path / "other", signatures=["halves"])


# Decisions of rounding ----------------------------------------------------------------------------------------


def test_what_a_stage_without_a_rule_makes_is_certain(fading, inputs):
    found, answer = fading(inputs), undecided.answer(fading, inputs, room=10.0)  # of any score
    assert answer.is_certain.all()
    np.testing.assert_array_equal(answer.scores, found["scores"][0, : int(found["num_detections"][0])])


class NamingStage(keras_fpn.Stage):
    """Adds a field to the detections and leaves the others."""

    name, reads, gives = "naming", ("detections",), ("detections",)

    def infer(self, features, state):
        found = state["detections"]
        return {"detections": found | {"number": tf.argsort(found["scores"])}}


@keras.saving.register_keras_serializable("tests")
class NamingRPN(keras_fpn.RPN):
    stage_types = (ObjectsStage, NamingStage)


def test_rows_that_get_a_field_stay_as_certain_as_they_were(rpn_settings, inputs):
    plain, named = (undecided.answer(seeded(kind, rpn_settings), inputs, 0.05) for kind in (keras_fpn.RPN, NamingRPN))
    assert not plain.is_certain.all()
    for name in ("boxes", "scores", "is_certain"):
        np.testing.assert_array_equal(getattr(named, name), getattr(plain, name))


class RootStage(FadingStage):
    """Has a rule: rounding decides its scores as those before it."""


@keras.saving.register_keras_serializable("tests")
class RootRPN(keras_fpn.RPN):
    stage_types = (ObjectsStage, RootStage)


def test_a_rule_that_a_stranger_registers_is_asked(rpn_settings, inputs):
    def rule(stage, features, state, possible, room):
        rows = possible["detections"]
        return {"detections": Possible(rows.boxes, np.sqrt(rows.scores), rows.states, rows.classes)}

    export.register_undecided(RootStage, rule)
    answer, plain = (undecided.answer(seeded(kind, rpn_settings), inputs) for kind in (RootRPN, keras_fpn.RPN))
    np.testing.assert_array_equal(answer.scores, np.sqrt(plain.scores))
    np.testing.assert_array_equal(answer.is_certain, plain.is_certain)
