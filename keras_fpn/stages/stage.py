"""Base of the steps of a detector; see `Stage`."""

import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from keras_fpn.parts.classes import Classes

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

    from keras_fpn.data.fields import ObjectField
    from keras_fpn.metrics import MetricFamily
    from keras_fpn.parts.output_fields import OutputField

Tensors = Mapping[str, "tf.Tensor"]
State = Mapping[str, Any]
# Of `Stage.train`: additions to the state, losses, and recalls with how many positives each is over.
Trained = tuple[dict[str, Any], dict[str, "tf.Tensor"], dict[str, tuple["tf.Tensor", "tf.Tensor"]]]


@dataclass(frozen=True)
class StageContext:
    """Surroundings of a stage.

    Attributes:
        strides: `{level: pixels of the image between cells}` of the pyramid.
        channels: `{level: channels}` of the pyramid.
        classes: K of them; `OBJECT` of a model that tells none apart.
        settings: `{group: {key: value}}` of the whole model; a stage reads its own groups.
    """

    strides: Mapping[str, int]
    channels: Mapping[str, int]
    classes: Classes
    settings: Mapping[str, Mapping]


class Stage:
    """A step of a detector after its features: what it needs, what it leaves, what it learns from, what it finds.

    A model holds its stages and asks them in order; a stage knows nothing of the model. What the stages hand to each
    other is the state, `{key: value}`: "inputs" (the batch, see `Detector`), and whatever they add, such as

        proposals    `{"boxes": [B, P, 4] pixels, "num_proposals": [B] int32, ...}`, best first
        samples      in training: the RoIs that the box head was trained on, `{"boxes": [B, S, 4], ...}`
        detections   `{"boxes": [B, D, 4], "scores": [B, D], ..., "num_detections": [B] int32}`

    A class overrides what it needs of the attributes, sets them in its constructor where they depend on settings, and
    defines `infer` and, if it learns, `train`.

    Attributes:
        name: of the stage in its model. A model with two of a kind gives each its own.
        title: of the work that it does in inference, for tables of times.
        reads, gives: keys of the state that it takes from earlier stages and leaves for later ones.
        outputs: those of `gives` that leave the model: "detections", and "proposals" where they are to be measured.
        loss_names, recall_names: what `train` gives; reported by `fit`. A recall is the share of the sampled positives
            that the stage gets right.
        object_fields: names of what it learns from of each object, besides boxes, classes and crowds ("masks"); see
            `fields_to_learn` where that hangs on its settings.
        further_inputs: `{name: tf.TensorSpec}` of what the model is given besides images and their sizes.
        fields: `OutputField`s, the rows of "detections" that it gives.
        max_detections: rows of its detections.
        score_threshold: what scores this or less it drops.
        families: `{output: (MetricFamily, ...)}`, what its outputs are measured by.
        refuses: `{export format: why it cannot carry this stage}`.
        parts: names of those of `layers` that have weights.
    """

    name: str = "stage"
    title: str = ""
    reads: tuple[str, ...] = ()
    gives: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    loss_names: tuple[str, ...] = ()
    recall_names: tuple[str, ...] = ()
    object_fields: tuple[str, ...] = ()
    further_inputs: "Mapping[str, tf.TensorSpec]" = {}
    fields: "tuple[OutputField, ...]" = ()
    max_detections: int | None = None
    score_threshold: float = 0.0
    families: "Mapping[str, tuple[MetricFamily, ...]]" = {}
    refuses: Mapping[str, str] = {}
    parts: tuple[str, ...] = ()

    def __init__(self, context, name=None):
        self.context = context
        self.name = name or type(self).name

    @classmethod
    def fields_to_learn(cls, settings: Mapping[str, Mapping]) -> "tuple[str | ObjectField, ...]":
        """Names of what it learns from of each object, or fields made for its settings; asked before there is a stage.

        Args:
            settings: `{group: {key: value}}` of the whole model.
        """
        return cls.object_fields

    @property
    def seed_number(self) -> int:
        """Number that the step's seed is folded with, so that no two stages of a model draw alike."""
        return zlib.crc32(self.name.encode()) % 2**31

    def layers(self) -> "dict[str, keras.layers.Layer]":
        """`{attribute of the model: Keras layer}`, in the order in which they are used."""
        return {}

    def build(self) -> None:
        """Make all variables."""
        for layer in self.layers().values():
            layer.built = True

    def infer(self, features: Tensors, state: State) -> dict[str, Any]:
        """Return what the stage adds to the state.

        Args:
            features: `{level: [B, h, w, C]}`, the pyramid.
            state: what there is, with the keys that it `reads`.
        """
        raise NotImplementedError

    def train(
        self, features: Tensors, state: State, targets: Tensors, seed: "tf.Tensor", training: bool = True
    ) -> Trained:
        """Return what the stage adds to the state in training, and what it learns from.

        Args:
            features, state: see `infer`.
            targets: see `Detector`.
            seed: `[2]` int64 that sampling follows, of this stage and step alone.
            training: whether live batch normalisation learns, and which counts of proposals are used.

        Returns:
            `(additions, {loss: scalar}, {name: (recall, how many positives)})`; without an override what `infer` adds,
            and nothing to learn.
        """
        return self.infer(features, state), {}, {}

    def signatures(self) -> "dict[str, Callable[..., dict[str, tf.Tensor]]]":
        """`{name: function(features, state) -> {output: tensor}}`: what a SavedModel may give besides the detections.

        The state is as the stage leaves it.
        """
        return {}

    def demands(self, inputs: Tensors) -> "list[tuple[tf.Tensor, str]]":
        """`[(bool tensor, message)]`: what must hold of the stage's `further_inputs` where a SavedModel is run."""
        return []

    def timed_steps(
        self, features: Tensors, state: State
    ) -> Iterator[tuple[str, tuple[Callable, Any]]]:
        """Yield `(name, (function, argument))` of the parts of `infer` whose times are worth telling apart."""
        yield self.title or self.name, (lambda given: self.infer(*given), (features, state))


def in_order(stages: Sequence[Stage]) -> tuple[Stage, ...]:
    """The stages, if each gets what it reads.

    Raises:
        ValueError: one reads what no earlier one gives, or two have one name.
    """
    given, names = {"inputs"}, set()
    for stage in stages:
        absent = [key for key in stage.reads if key not in given]
        if absent:
            raise ValueError(f"stage {stage.name!r} reads {absent[0]!r}, which no stage before it gives")
        if stage.name in names:
            raise ValueError(f"two stages are called {stage.name!r}; give one another name")
        given |= set(stage.gives)
        names.add(stage.name)
    return tuple(stages)
