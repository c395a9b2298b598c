"""Base of every model of this package: a `keras.Model` from images to boxes, with its own losses.

    images -> features -> each stage in order -> detections          `call`, `predict`
    images -> features -> each stage in order -> losses              `train_step`, `test_step`

A member of the family is a list of stages (`stages/`): Faster R-CNN proposes and classifies. B images, D detections, G
objects.
"""

import contextlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import keras
import numpy as np
import tensorflow as tf

from keras_fpn.backbones.build import build_backbone, cut_backbone
from keras_fpn.backbones.given import settings_of
from keras_fpn.console.errors import UserError
from keras_fpn.data.batches import check_arrays, check_targets, with_sizes
from keras_fpn.layers.pixels import PixelNormalization
from keras_fpn.metrics import MetricFamily
from keras_fpn.models import keras_export
from keras_fpn.models import settings as model_settings
from keras_fpn.models.architectures import ARCHITECTURES
from keras_fpn.models.given_weights import TakesWeights
from keras_fpn.models.own_losses import OwnLosses
from keras_fpn.models.trained_layers import set_untrained, untrained
from keras_fpn.necks.build import build_pyramid, pyramid_strides
from keras_fpn.parts.choice import Choice
from keras_fpn.parts.classes import OBJECT
from keras_fpn.parts.output_fields import OutputField
from keras_fpn.parts.read_only import plain, read_only
from keras_fpn.stages.stage import Stage, StageContext, in_order

if TYPE_CHECKING:
    from keras_fpn.data.fields import ObjectField

# Of what a file of a model holds. Who changes that raises the number, and makes the golden file anew.
FORMAT_VERSION = 1


class Detector(OwnLosses, metaclass=TakesWeights):
    """A `keras.Model` that finds boxes in images.

    Inputs are `{"images": [B, H, W, 3] RGB 0..255, "image_sizes": [B, 2] int32 height and width of the valid part}`
    or images alone, and what `further_inputs` names; outputs are `{"boxes": [B, D, 4] pixels, "scores": [B, D], ...,
    "num_detections": [B] int32}`, best first, padded. Targets for `fit` and `evaluate` are `{"boxes": [B, G, 4] pixels,
    "classes": [B, G] int32 padded with -1, "is_crowd": [B, G] (optional)}`, and what `object_fields` names.

    The losses are the model's own: `compile(optimizer)` is enough. `fit` reports their sum, each of `loss_names`, and
    each of `recall_names`, the share of the sampled positives that a stage gets right.

    A member of the family names its `stage_types`; one that has two of a kind, or tells them more than the settings,
    also defines `make_stages`. `settings`, `{group: {key: value}}`, can be read; `with_settings` gives a model with
    others.

    Attributes:
        further_inputs: `{name: tf.TensorSpec}` of its inputs besides images and their sizes.
        metric_families: what it is measured by, `{output: (MetricFamily, ...)}`: the main metric of the first family of
            its detections is the higher, the better the model.

    Args:
        backbone: name, or a dict of `backbone` settings; or a Keras model of taps, `{"C3": map, ...}`, which is copied.
        profile: "detectron2", "torchvision" or "paper": the conventions, see `keras_fpn.parts.settings`.
        seed: of the sampling of anchors, RoIs or positions.
        weights: a published file by its name, which is downloaded if it is not here, a `.keras` file or a run folder:
            the model begins with what fits, see `start_from`. What is not given otherwise (profile, backbone, groups,
            classes) is then as in the file.
        **groups: dicts of differences from the profile, one for each group of the architecture's settings.

    Raises:
        UserError: for an unknown profile, setting or backbone; see `start_from`.
    """

    architecture: str = None  # type: ignore[assignment]  # its name in a configuration, see `register_model`
    title = "Detector"
    stage_types: tuple[type[Stage], ...] = ()
    classes = OBJECT
    further_inputs: dict[str, tf.TensorSpec] = {}
    metric_families: dict[str, tuple[MetricFamily, ...]] = {}

    def __init__(
        self,
        backbone="resnet50",
        *,
        profile="detectron2",
        seed=0,
        name=None,
        dtype=None,
        trainable=True,
        **groups,
    ):
        # Inputs are pixels and sizes: only the stages inside compute in a lower precision.
        super().__init__(name=name, dtype=dtype, trainable=trainable, autocast=False)
        self.profile, self.seed = profile, seed
        given = backbone if isinstance(backbone, keras.Model) else None
        groups |= {"backbone": _backbone_settings(backbone)}
        # Past Keras' tracking, which would put dicts of its own in the place of these.
        object.__setattr__(self, "settings", read_only(model_settings.resolve(self.architecture, profile, groups)))
        self.frozen = ()  # names of parts, see `freeze`
        with self._own_policy():
            self._make_features(given)
            object.__setattr__(self, "stages", in_order(self.make_stages(self._context())))
        for stage in self.stages:
            for attribute, layer in stage.layers().items():
                setattr(self, attribute, layer)
        self.make_metrics()
        self.build()
        object.__setattr__(self, "_untrained_as_made", untrained(self))

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        # Of the class: the data are read before there is a model.
        cls.further_inputs = {name: spec for stage in cls.stage_types for name, spec in stage.further_inputs.items()}
        cls.metric_families = {}
        for output in dict.fromkeys(output for stage in cls.stage_types for output in stage.families):
            families = [family for stage in cls.stage_types for family in stage.families.get(output, ())]
            cls.metric_families[output] = tuple(dict.fromkeys(families))

    @classmethod
    def fields_to_learn(cls, settings: Mapping[str, Mapping]) -> "tuple[str | ObjectField, ...]":
        """Names or fields of what it learns from of each object besides boxes, classes and crowds.

        Args:
            settings: `{group: {key: value}}`, complete, see `settings`.
        """
        return tuple(dict.fromkeys(field for stage in cls.stage_types for field in stage.fields_to_learn(settings)))

    @property
    def object_fields(self) -> "tuple[str | ObjectField, ...]":
        """Names or fields of what it learns from of each object besides boxes, classes and crowds."""
        return self.fields_to_learn(self.settings)

    @classmethod
    def for_data(cls, classes: Any, **settings: Any) -> Self:
        """A model for a data set.

        Args:
            classes: has the data set's `class_names` and `category_ids`.
            **settings: arguments of the constructor.
        """
        return cls(**settings)

    def make_stages(self, context: StageContext) -> list[Stage]:
        """The steps after the features, in order.

        Args:
            context: a `StageContext`.
        """
        return [stage_type(context) for stage_type in self.stage_types]

    @contextlib.contextmanager
    def _own_policy(self):
        """The dtype policy under which the layers inside are made: the model's own."""
        outside = keras.config.dtype_policy()
        keras.config.set_dtype_policy(self.dtype_policy)
        try:
            yield
        finally:
            keras.config.set_dtype_policy(outside)

    def _make_features(self, given):
        backbone = build_backbone(self.settings["backbone"])
        if given is not None:
            backbone.set_weights(given.get_weights())
        channels = {level: feature.shape[-1] for level, feature in backbone.output.items()}
        self.pixels = PixelNormalization(name="pixels", **self.settings["pixels"])
        pyramid = build_pyramid(channels, **self.settings["pyramid"])
        # In this order: Keras numbers the two in a file by the order in which they became attributes.
        self.backbone = cut_backbone(backbone, list(pyramid.input))
        self.pyramid = pyramid

    def _context(self):
        strides = pyramid_strides(self.backbone.strides, self.settings["pyramid"]["levels"])
        channels = {level: feature.shape[-1] for level, feature in self.pyramid.output.items()}
        return StageContext(strides, channels, self.classes, self.settings)

    def build(self, input_shape: Any = None) -> None:
        """Make all variables; called by the constructor, the argument is not read."""
        for stage in self.stages:
            stage.build()
        self.pixels.built = True
        self.built = True

    # What the stages say of themselves -----------------------------------------------------------------------

    @property
    def parts(self) -> dict[str, keras.layers.Layer]:
        """`{name: layer or model}` of what has weights: backbone, pyramid, and the heads of the stages."""
        heads = {name: getattr(self, name) for stage in self.stages for name in stage.parts}
        return {"backbone": self.backbone, "pyramid": self.pyramid} | heads

    @property
    def row_names(self) -> dict[str, tuple[str, ...]]:
        """`{part: names of its outputs, in order}` of parts with `named_rows` whose outputs somebody named."""
        return {}

    @property
    def strides(self) -> dict[str, int]:
        """`{level: pixels of the image between cells}` of the pyramid."""
        return dict(self._context().strides)

    @property
    def loss_names(self) -> tuple[str, ...]:
        """Names of the losses, in the order in which they are added up."""
        return tuple(name for stage in self.stages for name in stage.loss_names)

    @property
    def recall_names(self) -> tuple[str, ...]:
        """Names of the recalls that `fit` reports."""
        return tuple(name for stage in self.stages for name in stage.recall_names)

    @property
    def output_fields(self) -> tuple[OutputField, ...]:
        """The `OutputField`s of its detections, in their order."""
        return tuple(field for stage in self.stages for field in stage.fields)

    @property
    def max_detections(self) -> int:
        """Rows of its detections."""
        return next(stage.max_detections for stage in self.stages if stage.max_detections is not None)

    @property
    def score_threshold(self) -> float:
        """Score at or below which it drops detections."""
        return max(stage.score_threshold for stage in self.stages)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes, 0..K-1."""
        return self.classes.class_names

    @property
    def category_ids(self) -> tuple[int, ...]:
        """Ids of the classes in the numbering of the data set."""
        return self.classes.category_ids

    def freeze(self, parts: Sequence[str]) -> None:
        """Keep the variables of some parts, and the statistics in them, as they are from here on.

        Args:
            parts: names of `self.parts`.

        Raises:
            UserError: the model has no such part.
        """
        own = self.parts
        for name in parts:
            if name not in own:
                raise UserError(f"training.freeze: {name!r} is no part of {self.title}; valid are {', '.join(own)}")
            own[name].trainable = False
        self.frozen = tuple(dict.fromkeys([*self.frozen, *parts]))
        object.__setattr__(self, "_untrained_as_made", untrained(self))

    # The loop -------------------------------------------------------------------------------------------------

    def features(self, inputs: dict[str, tf.Tensor], training: bool = False) -> dict[str, tf.Tensor]:
        """The pyramid of a batch: `{level: [B, h, w, C]}`."""
        pixels = self.pixels(inputs["images"], inputs["image_sizes"])
        maps = self.backbone(pixels, training=training)
        return self.pyramid({level: maps[level] for level in self.pyramid.input}, training=training)

    def steps(
        self, inputs: dict[str, tf.Tensor] | tf.Tensor
    ) -> list[tuple[Stage, dict[str, tf.Tensor], dict[str, Any]]]:
        """`[(stage, features, state), ...]` of one forward pass: each stage, and what there is once it has run."""
        state, steps = {"inputs": with_sizes(inputs)}, []
        features = self.features(state["inputs"])
        for stage in self.stages:
            state = state | stage.infer(features, state)
            steps.append((stage, features, state))
        return steps

    def inference(self, inputs: dict[str, tf.Tensor] | tf.Tensor) -> dict[str, dict[str, tf.Tensor]]:
        """`{"detections": the outputs, ...}` of one forward pass: what leaves the stages, see `Stage.outputs`."""
        _, _, state = self.steps(inputs)[-1]
        return {key: state[key] for stage in self.stages for key in stage.outputs}

    def call(self, inputs: dict[str, tf.Tensor] | tf.Tensor, training: bool = False) -> dict[str, tf.Tensor]:
        """Detections of a batch, in pixels of the images given; the same whatever `training` is."""
        return self.inference(inputs)["detections"]

    def predict(self, x: Any, *args: Any, **kwargs: Any) -> dict[str, np.ndarray]:
        """Detections of all images of a dataset or of arrays; see `keras.Model.predict`.

        A batch is computed as it is given. Where it mixes images of several sizes, the smaller are padded to the
        largest, and the padding reaches their features near its edge: their scores differ from what they are alone, as
        torchvision's and detectron2's do (by up to 0.6 for a single box). `keras_fpn.detect` and `keras-fpn evaluate`
        let only images of one padded size share a batch; so does `load_coco(..., group_by_padded_size=True)`.
        """
        check_arrays(x)
        return super().predict(x, *args, **kwargs)

    def training_losses(
        self,
        inputs: dict[str, tf.Tensor] | tf.Tensor,
        targets: dict[str, tf.Tensor],
        seed: tf.Tensor,
        training: bool = True,
    ) -> tuple[dict[str, tf.Tensor], dict[str, tuple[tf.Tensor, tf.Tensor]]]:
        """The losses of a batch and the recalls of its sampled positives, of one forward pass.

        Args:
            inputs, targets: see the class.
            seed: `[2]` int64 that the sampling follows.
            training: whether live batch normalisation learns, and which counts of proposals are used.

        Returns:
            `{name: scalar}` of `loss_names`, and `{name: (share, how many positives)}` of `recall_names`.
        """
        check_targets(targets)
        state = {"inputs": with_sizes(inputs)}
        losses: dict[str, tf.Tensor] = {}
        recalls: dict[str, tuple[tf.Tensor, tf.Tensor]] = {}
        features = self.features(state["inputs"], training=training)
        for stage in self.stages:
            own_seed = tf.random.experimental.stateless_fold_in(seed, stage.seed_number)
            additions, own_losses, own_recalls = stage.train(features, state, targets, own_seed, training)
            state, losses, recalls = state | additions, losses | own_losses, recalls | own_recalls
        return losses, recalls

    # Judgement ------------------------------------------------------------------------------------------------

    @property
    def categories(self) -> dict[str, int] | None:
        """`{name: category id}` of the classes that it tells apart; None where it tells none apart."""
        return None

    def check_classes(self, class_names: Sequence[str], category_ids: Sequence[int], source: str | os.PathLike) -> None:
        """Refuse annotations that the model cannot be measured on; one that names no classes takes all."""

    def check_fields(self, fields: "Mapping[str, ObjectField]", source: str | os.PathLike) -> None:
        """Refuse annotations whose objects have other things than the model tells of; by default none.

        Args:
            fields: of the data set, by name.
            source: the annotations, for errors.

        Raises:
            UserError: they differ.
        """

    # Files and copies -----------------------------------------------------------------------------------------

    def input_specs(self) -> dict[str, tf.TensorSpec]:
        """`{name: tf.TensorSpec}` of the inputs, for images of any number and size: what a graph is traced with."""
        return {
            "images": tf.TensorSpec([None, None, None, 3], tf.float32, name="images"),
            "image_sizes": tf.TensorSpec([None, 2], tf.int32, name="image_sizes"),
        } | self.further_inputs

    def export(
        self, filepath: str | os.PathLike, format: str = "tf_saved_model", verbose: bool | None = None, **options: Any
    ) -> Path:
        """Write the model for a runtime and hold the file against the model, as `keras-fpn export` does.

        Args:
            filepath: the file, or the folder of a SavedModel's versions, of which `filepath/1` is written.
            format: "saved_model", "tflite" or "onnx", or Keras' name of one, "tf_saved_model" or "litert".
            verbose: False: of what it prints only the progress of the verification.
            **options: of `keras_fpn.export.export_model`, such as `size`, `precision` and `force`.

        Returns:
            What was written: the file, or the folder of the SavedModel.

        Raises:
            UserError, VerificationError: see `export_model`.
        """
        return keras_export.export(self, filepath, format, verbose, **options)

    def with_settings(self, **groups: Mapping[str, Any]) -> Self:
        """A model with other settings and the same weights; this one stays as it is.

        Args:
            **groups: `{key: value}` of what changes, group by group: `proposals={"post_nms_top_k_test": 300}`.

        Raises:
            UserError: an unknown setting, or one that the weights do not fit.
        """
        config = self.get_config()
        for group, differences in groups.items():
            if group not in self.settings:
                model_settings.resolve(self.architecture, self.profile, {group: differences})  # says what is wrong
            config[group] = config[group] | differences
        try:
            return self._copy(config)
        except ValueError as error:
            changed = ", ".join(f"{group}.{key}" for group, keys in groups.items() for key in keys)
            raise UserError(f"{changed}: the weights of this model do not fit it; train another") from error

    def twin(self, dtype: str | keras.DTypePolicy | None = None) -> Self:
        """A model with the same settings and weights: what is done to one does not show in the other.

        Args:
            dtype: policy that it computes under, "mixed_bfloat16"; without, this one's.
        """
        return self._copy(self.get_config() | ({} if dtype is None else {"dtype": dtype}))

    def _copy(self, config):
        copy = type(self).from_config(config)
        copy.set_weights(self.get_weights())
        return copy

    @property
    def extensions(self) -> list[str]:
        """Modules outside the package that its parts come from."""
        families = (family for each in self.metric_families.values() for family in each)
        origins = [type(one).__module__ for one in (self, *self.stages, *self.output_fields, *families)]
        origins.append(ARCHITECTURES[self.architecture].origin)
        for group, kind in ARCHITECTURES[self.architecture].groups.items():
            if isinstance(kind, Choice):
                origins.append(kind.parts[self.settings[group][kind.key]].origin)
        return sorted({origin for origin in origins if origin.partition(".")[0] != "keras_fpn"})

    def get_config(self) -> dict[str, Any]:
        by_hand = untrained(self)  # by `layer.trainable = False`
        return plain(self.settings) | ({} if by_hand == self._untrained_as_made else {"untrained_layers": by_hand}) | {
            "format_version": FORMAT_VERSION,
            "extensions": self.extensions,
            "profile": self.profile,
            "seed": self.seed,
            "name": self.name,
            "trainable": self.trainable,
            "frozen": list(self.frozen),
            "dtype": keras.dtype_policies.serialize(self.dtype_policy),
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        config = dict(config)
        for key in ("format_version", "extensions"):  # of the file, see `models.files`
            config.pop(key, None)
        # The variables come from the file: nothing is to be downloaded for them.
        if "weights" in config["backbone"]:
            config["backbone"] = config["backbone"] | {"weights": None}
        frozen, by_hand = config.pop("frozen", ()), config.pop("untrained_layers", None)
        model = super().from_config(config)
        model.freeze(frozen)  # before the optimizer is made, which holds what is trained
        if by_hand is not None:
            set_untrained(model, by_hand)
        return model


def _backbone_settings(backbone):
    if isinstance(backbone, keras.Model):
        return settings_of(backbone)
    return {"name": backbone} if isinstance(backbone, str) else backbone


def architecture(name: str) -> type[Detector]:
    """The class of detector that a configuration calls `name`."""
    return ARCHITECTURES[name].load()
