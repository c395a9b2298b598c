"""What every model of this package is: a `keras.Model` from images to boxes, with its own losses.

    images -> features -> ...                                        `call`, `predict`
    images -> features -> ... -> losses                              `train_step`, `test_step`

What the assemblies make of the features: `proposing` (the region proposal network), `classifying` (the head of Fast
R-CNN); `RPN`, `FastRCNN` and `FasterRCNN` stand on one of them or on both, `SegmentProposals` on a head of its own. B
images, D detections, G objects.
"""

import contextlib
import copy
import importlib
import re
import zipfile
from pathlib import Path
from types import MappingProxyType

import keras
import tensorflow as tf

from keras_fpn import profiles
from keras_fpn.backbones import build_backbone, cut_backbone, default_pixels
from keras_fpn.batches import inputs_and_targets
from keras_fpn.errors import UserError
from keras_fpn.optimizers import SGD
from keras_fpn.pixels import PixelNormalization
from keras_fpn.pyramids import build_pyramid, pyramid_strides

# By name in a configuration: module and class. Imported when asked for, since they stand on this module.
ARCHITECTURES = {
    "faster_rcnn": ("keras_fpn.faster_rcnn", "FasterRCNN"),
    "rpn": ("keras_fpn.proposal_network", "RPN"),
    "fast_rcnn": ("keras_fpn.fast_rcnn", "FastRCNN"),
    "segment_proposals": ("keras_fpn.segment_proposals", "SegmentProposals"),
}
# What of a model has weights; each has some of these.
PARTS = ("backbone", "pyramid", "rpn_head", "box_head", "segment_head")


class Detector(keras.Model):
    """A `keras.Model` that finds boxes in images.

    Inputs are `{"images": [B, H, W, 3] RGB 0..255, "image_sizes": [B, 2] int32 height and width of the valid part}`
    or images alone; outputs are `{"boxes": [B, D, 4] pixels, "scores": [B, D], "num_detections": [B] int32, ...}`,
    best first, padded with 0. Targets for `fit` and `evaluate` are
    `{"boxes": [B, G, 4] pixels, "classes": [B, G] int32 padded with -1, "is_crowd": [B, G] (optional)}`. A model with
    `needs_proposals` or `needs_masks` says what more it reads.

    The losses are the model's own: `compile(optimizer)` is enough. `fit` reports their sum, each of `loss_names`, and
    each of `recall_names`, the share of the sampled positives that a stage gets right.

    A class defines `inference`, `training_losses` and `coco_metrics`, and calls `build` last of its constructor.

    Args:
        backbone: name, or a dict of `backbone` settings.
        profile: "detectron2", "torchvision" or "paper": the conventions, see `keras_fpn.profiles`.
        seed: of the sampling of anchors, RoIs or positions.
        **groups: dicts of differences from the profile, one for each of `GROUPS`.

    Raises:
        UserError: for an unknown profile, setting or backbone.
    """

    GROUPS = ("pixels", "resize", "backbone", "pyramid")  # of settings: the stages that the model has
    title = "Detector"
    main_metric = "AP"  # of `coco_metrics`: the higher, the better the model
    loss_names = ()
    recall_names = ()
    class_names, category_ids = ("object",), (0,)  # of detections without "classes"
    needs_proposals = False  # whether the inputs name "proposals" and "num_proposals", too
    needs_masks = False  # whether the targets name "masks", too

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
        self.profile = profile
        self.seed = seed
        self.settings = MappingProxyType(self._resolve(profile, backbone, groups))
        self.frozen = ()  # names of parts, see `freeze`
        with self.own_policy():
            self._make_stages(self.settings)
        for metric in ("loss", *self.loss_names, *self.recall_names):
            setattr(self, f"{metric}_metric", keras.metrics.Mean(name=metric))

    @classmethod
    def _resolve(cls, profile, backbone, groups):
        backbone = {"name": backbone} if isinstance(backbone, str) else backbone
        settings = profiles.resolve(profile, groups | {"backbone": backbone})
        for group, differences in groups.items():
            if differences and group not in cls.GROUPS:
                raise UserError(f"{group}: {cls.__name__} has no such stage; leave it out")
        own_pixels = default_pixels(settings["backbone"]["name"]) or settings["pixels"]
        settings["pixels"] = own_pixels | (groups.get("pixels") or {})
        return {group: settings[group] for group in cls.GROUPS}

    @classmethod
    def for_data(cls, classes, **settings):
        """A model for a data set.

        Args:
            classes: has the data set's `class_names` and `category_ids`.
            **settings: arguments of the constructor; groups of stages that this model lacks are left out.
        """
        foreign = set(profiles.DETECTRON2) - set(cls.GROUPS)
        return cls(**{key: value for key, value in settings.items() if key not in foreign})

    @contextlib.contextmanager
    def own_policy(self):
        """The dtype policy under which the layers inside are made: the model's own."""
        outside = keras.config.dtype_policy()
        keras.config.set_dtype_policy(self.dtype_policy)
        try:
            yield
        finally:
            keras.config.set_dtype_policy(outside)

    def _make_stages(self, settings):
        levels = settings["pyramid"]["levels"]
        backbone = build_backbone(settings["backbone"])
        channels = {level: feature.shape[-1] for level, feature in backbone.output.items()}
        self.pixels = PixelNormalization(name="pixels", **settings["pixels"])
        pyramid = build_pyramid(channels, **settings["pyramid"])
        # In this order: Keras numbers the two in a file by the order in which they became attributes.
        self.backbone = cut_backbone(backbone, list(pyramid.input))
        self.pyramid = pyramid
        self.strides = MappingProxyType(pyramid_strides(backbone.strides, levels))

    @property
    def feature_channels(self):
        """`{level: channels}` of the pyramid."""
        return {level: feature.shape[-1] for level, feature in self.pyramid.output.items()}

    def build(self, input_shape=None):
        """Make all variables; called by the constructor, the argument is not read."""
        self.pixels.built = True
        self.built = True

    def freeze(self, parts):
        """Keep the variables of some parts, and the statistics in them, as they are from here on.

        Args:
            parts: names of "backbone", "pyramid" and the heads that the model has.

        Raises:
            UserError: the model has no such part.
        """
        own = [name for name in PARTS if hasattr(self, name)]
        for name in parts:
            if name not in own:
                raise UserError(f"training.freeze: {name!r} is no part of {self.title}; valid are {', '.join(own)}")
            getattr(self, name).trainable = False
        self.frozen = tuple(dict.fromkeys([*self.frozen, *parts]))

    # The stages, in order -------------------------------------------------------------------------------------

    def features(self, inputs, training=False):
        """The pyramid of a batch: `{level: [B, h, w, C]}`."""
        pixels = self.pixels(inputs["images"], inputs["image_sizes"])
        maps = self.backbone(pixels, training=training)
        return self.pyramid({level: maps[level] for level in self.pyramid.input}, training=training)

    def stages(self, inputs):
        """Yield `(name, (function, argument))` of each stage of `inference`, fed with what the one before gave."""

        def backbone(inputs):
            return self.backbone(self.pixels(inputs["images"], inputs["image_sizes"]), training=False)

        def pyramid(maps):
            return self.pyramid({level: maps[level] for level in self.pyramid.input}, training=False)

        maps = backbone(inputs)
        yield "pixels, backbone", (backbone, inputs)
        yield "pyramid", (pyramid, maps)

    def inference(self, inputs):
        """`{"detections": the model's outputs, "proposals": see ProposalLayer (optional)}` of one forward pass."""
        raise NotImplementedError

    def call(self, inputs, training=False):
        """Detections of a batch, in pixels of the images given; the same whatever `training` is."""
        return self.inference(inputs)["detections"]

    # Training -------------------------------------------------------------------------------------------------

    def training_losses(self, inputs, targets, seed, training=True):
        """The losses of a batch and the recalls of its sampled positives, of one forward pass.

        Args:
            inputs, targets: see the class.
            seed: `[2]` int64 that the sampling follows.
            training: whether live batch normalisation learns, and which counts of proposals are used.

        Returns:
            `{name: scalar}` of `loss_names`, and `{name: (share, how many positives)}` of `recall_names`.
        """
        raise NotImplementedError

    def train_step(self, data):
        """One step of `fit`: one forward and one backward pass."""
        inputs, targets = inputs_and_targets(data)
        with tf.GradientTape() as tape:
            losses, recalls = self.training_losses(inputs, targets, self._step_seed(self.optimizer.iterations))
            loss = tf.add_n(list(losses.values()))
            # Gradients of replicas are summed, each of them is a mean over its own images.
            scaled = self.optimizer.scale_loss(loss / self.distribute_strategy.num_replicas_in_sync)
        gradients = tape.gradient(scaled, self.trainable_variables)
        self.optimizer.apply_gradients(zip(gradients, self.trainable_variables, strict=True))
        return self._report(loss, losses, recalls)

    def test_step(self, data):
        """One step of `evaluate`: the losses, sampled alike for every batch."""
        inputs, targets = inputs_and_targets(data)
        losses, recalls = self.training_losses(inputs, targets, self._step_seed(-1), training=False)
        return self._report(tf.add_n(list(losses.values())), losses, recalls)

    def _step_seed(self, step):
        return tf.stack([tf.constant(self.seed, tf.int64), tf.cast(step, tf.int64)])

    def _report(self, loss, losses, recalls):
        self.loss_metric.update_state(loss)
        for name, value in losses.items():
            getattr(self, f"{name}_metric").update_state(value)
        for name, (value, number) in recalls.items():
            getattr(self, f"{name}_metric").update_state(value, sample_weight=number)
        return {metric.name: metric.result() for metric in self.metrics}

    @property
    def metrics(self):
        return [getattr(self, f"{name}_metric") for name in ("loss", *self.loss_names, *self.recall_names)]

    def compile(self, optimizer=None, jit_compile=False, **kwargs):
        """Set the optimizer; the losses are the model's own.

        Args:
            optimizer: a Keras optimizer; without, `keras_fpn.optimizers.SGD` at the published rate for two images a
                batch, with clipped gradients.
            jit_compile: XLA cannot compile the suppression of boxes, so False.
            **kwargs: see `keras.Model.compile`; `loss` and `metrics` are refused.
        """
        for key in ("loss", "metrics", "weighted_metrics"):
            if kwargs.pop(key, None):
                raise ValueError(
                    f"compile: {type(self).__name__} has losses and metrics of its own; leave out {key!r}"
                )
        if jit_compile is True:
            raise ValueError("compile: XLA cannot compile the suppression of boxes; leave jit_compile out")
        super().compile(optimizer=optimizer or SGD(0.0025, global_clipnorm=10.0), jit_compile=False, **kwargs)
        # Variables made inside the first step would have TensorFlow trace that step twice.
        self.optimizer.build(self.trainable_variables)

    def get_compile_config(self):
        if not self.compiled:
            return None
        return {"optimizer": keras.saving.serialize_keras_object(self.optimizer), "jit_compile": self.jit_compile}

    def compile_from_config(self, config):
        self.compile(keras.saving.deserialize_keras_object(config["optimizer"]), config["jit_compile"])

    # Judgement ------------------------------------------------------------------------------------------------

    def check_classes(self, class_names, category_ids, source):
        """Refuse annotations that the model cannot be measured on; one that names no classes takes all."""

    def coco_metrics(self, evaluator, detections, proposals=None, image_ids=None):
        """What this model is measured by.

        Args:
            evaluator: a `COCOEvaluator`.
            detections, proposals: COCO results of what `inference` gave; proposals None where they do not matter.
            image_ids: the images to measure on; all of the annotations by default.

        Returns:
            `{name: value}` of the evaluator's metrics, with `main_metric` among them.
        """
        raise NotImplementedError

    # Files ----------------------------------------------------------------------------------------------------

    def input_specs(self):
        """`{name: tf.TensorSpec}` of the inputs, for images of any number and size: what a graph is traced with."""
        return {
            "images": tf.TensorSpec([None, None, None, 3], tf.float32, name="images"),
            "image_sizes": tf.TensorSpec([None, 2], tf.int32, name="image_sizes"),
        }

    def export(self, filepath, format="tf_saved_model", input_signature=None, **kwargs):
        """`keras.Model.export` with images of any size and their sizes as the signature; gives final detections."""
        if input_signature is None:
            input_signature = [self.input_specs()]
        return super().export(filepath, format=format, input_signature=input_signature, **kwargs)

    def get_config(self):
        settings = copy.deepcopy(dict(self.settings))
        return settings | {
            "profile": self.profile,
            "seed": self.seed,
            "name": self.name,
            "trainable": self.trainable,
            "frozen": list(self.frozen),
            "dtype": keras.dtype_policies.serialize(self.dtype_policy),
        }

    @classmethod
    def from_config(cls, config):
        config = dict(config)
        # The variables come from the file: nothing is to be downloaded for them.
        config["backbone"] = config["backbone"] | {"weights": None}
        frozen = config.pop("frozen", ())
        model = super().from_config(config)
        model.freeze(frozen)  # before the optimizer is made, which holds what is trained
        return model


def share(is_right, is_positive):
    """Share of the positives that are right, and how many positives there are."""
    number = tf.reduce_sum(tf.cast(is_positive, tf.float32))
    right = tf.reduce_sum(tf.cast(is_right & is_positive, tf.float32))
    return tf.math.divide_no_nan(right, number), number


def architecture(name):
    """The class of detector that a configuration calls `name`."""
    module, class_name = ARCHITECTURES[name]
    return getattr(importlib.import_module(module), class_name)


def read_keras_file(file, compile=True):
    """The model in a `.keras` file, whichever it is; `compile`: with its optimizer.

    Raises:
        UserError: it is no `.keras` file, or not a whole one.
    """
    if file.suffix != ".keras":
        raise UserError(f"{file}: no .keras file; keras-fpn convert makes one of a published checkpoint")
    broken = f"{file}: not a whole Keras model; copy or convert it again, or train anew"
    if not zipfile.is_zipfile(file):  # Keras says that it is not found
        raise UserError(f"{broken} (it is damaged or cut short)")
    for name in ARCHITECTURES:
        architecture(name)  # Keras knows a class by name once its module has been imported
    try:
        return keras.saving.load_model(file, compile=compile)
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(f"{broken} ({reason})") from error


def is_backbone(model):
    """Whether a Keras model is what `build_backbone` gives."""
    taps = getattr(model, "output", None)
    return isinstance(taps, dict) and all(re.fullmatch(r"C\d", tap) for tap in taps)


def load_model(path):
    """Load a detector.

    Args:
        path: a `.keras` file, or a run folder with `model.keras` in it.

    Returns:
        The `FasterRCNN`, `RPN`, ... as it was saved.

    Raises:
        UserError: if there is no such file, or it is no detector of this package.
    """
    path = Path(path)
    file = path / "model.keras" if path.is_dir() else path
    if not file.is_file():
        raise UserError(f"{file}: no such model; give a .keras file or the folder of a run")
    model = read_keras_file(file)
    if isinstance(model, Detector):
        return model
    if is_backbone(model):
        raise UserError(
            f"{file}: a backbone, which detects nothing yet; start training from it: keras-fpn train CONFIG"
            f" --weights {file}"
        )
    raise UserError(f"{file}: a {type(model).__name__}, not a detector of this package")
