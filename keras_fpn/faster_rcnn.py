"""Faster R-CNN on a feature pyramid: the assembly of the stages (paper, sections 4 and 5.2).

    images -> features -> propose -> classify -> detections          `call`, `predict`
    images -> features -> propose -> sample -> classify -> losses    `train_step`, `test_step`

B images, A anchors, R RoIs, K classes, D detections.
"""

import contextlib
import copy
from pathlib import Path
from types import MappingProxyType

import keras
import tensorflow as tf

from keras_fpn import profiles
from keras_fpn.anchors import AnchorGenerator
from keras_fpn.backbones import build_backbone, default_pixels
from keras_fpn.box_head import BoxHead
from keras_fpn.detections import DetectionLayer
from keras_fpn.errors import UserError
from keras_fpn.levels import level_stride
from keras_fpn.losses import RPN_NORMALIZERS, roi_losses, rpn_losses
from keras_fpn.optimizers import SGD
from keras_fpn.pixels import PixelNormalization
from keras_fpn.proposals import ProposalLayer
from keras_fpn.pyramid import build_pyramid
from keras_fpn.roi_align import RoIAlign
from keras_fpn.roi_pool import RoIPool
from keras_fpn.rpn import RPNHead
from keras_fpn.targets import anchor_targets, roi_targets

LOSSES = ("rpn_objectness_loss", "rpn_box_loss", "roi_class_loss", "roi_box_loss")
RECALLS = ("rpn_recall", "roi_recall")


@keras.saving.register_keras_serializable("keras_fpn")
class FasterRCNN(keras.Model):
    """Two-stage detector on a feature pyramid.

    Inputs are `{"images": [B, H, W, 3] RGB 0..255, "image_sizes": [B, 2] int32 height and width of the valid part}`
    or images alone; outputs are detections, see `DetectionLayer`. Targets for `fit` and `evaluate` are
    `{"boxes": [B, G, 4] pixels, "classes": [B, G] int32 padded with -1, "is_crowd": [B, G] (optional)}`.

    The losses are the model's own: `compile(optimizer)` is enough. `fit` reports their sum, each of the four, and
    the share of the sampled positives that either stage gets right: `rpn_recall`, of positive anchors the share
    called an object, and `roi_recall`, of object RoIs the share given the right class.

    Args:
        num_classes: K, without background.
        backbone: name, or a dict of `backbone` settings.
        profile: "detectron2", "torchvision" or "paper": the conventions, see `keras_fpn.profiles`.
        class_names: K names; "0".."K-1" without.
        category_ids: K ids of the classes in the data set's own numbering; 1..K without.
        seed: of the sampling of anchors and RoIs.
        pixels, resize, pyramid, anchors, rpn, proposals, anchor_targets, roi_targets, roi_pooling, box_head, losses,
            detections: dicts of differences from the profile, group by group.

    Raises:
        UserError: for an unknown profile, setting or backbone, or names and ids that do not number K.
    """

    def __init__(
        self,
        num_classes,
        backbone="resnet50",
        *,
        profile="detectron2",
        class_names=None,
        category_ids=None,
        seed=0,
        name="faster_rcnn",
        dtype=None,
        trainable=True,
        **groups,
    ):
        # Inputs are pixels and sizes: only the stages inside compute in a lower precision.
        super().__init__(name=name, dtype=dtype, trainable=trainable, autocast=False)
        backbone = {"name": backbone} if isinstance(backbone, str) else backbone
        settings = profiles.resolve(profile, groups | {"backbone": backbone})
        own_pixels = default_pixels(settings["backbone"]["name"]) or settings["pixels"]
        settings["pixels"] = own_pixels | (groups.get("pixels") or {})
        normalizer = settings["losses"]["rpn_normalizer"]
        if normalizer not in RPN_NORMALIZERS:
            nearest = profiles.nearest(normalizer, RPN_NORMALIZERS)
            raise UserError(f"losses.rpn_normalizer: unknown value {normalizer!r}{nearest}")
        self.num_classes = num_classes
        self.profile = profile
        self.settings = MappingProxyType(settings)
        self.class_names = _one_for_each_class("class_names", class_names, map(str, range(num_classes)), num_classes)
        self.category_ids = _one_for_each_class("category_ids", category_ids, range(1, num_classes + 1), num_classes)
        self.seed = seed
        with _dtype_policy(self.dtype_policy):
            self._make_stages(settings)
        for metric in ("loss", *LOSSES, *RECALLS):
            setattr(self, f"{metric}_metric", keras.metrics.Mean(name=metric))
        self.build()

    def _make_stages(self, settings):
        self.pixels = PixelNormalization(name="pixels", **settings["pixels"])
        self.backbone = build_backbone(settings["backbone"])
        channels = {level: feature.shape[-1] for level, feature in self.backbone.output.items()}
        levels, roi_levels = settings["pyramid"]["levels"], settings["roi_pooling"]["levels"]
        self.pyramid = build_pyramid(channels, **settings["pyramid"])
        strides = {level: level_stride(level) for level in levels}
        absent = [level for level in roi_levels if level not in strides]
        if absent:
            raise UserError(f"roi_pooling.levels: {', '.join(absent)} not among pyramid.levels; name levels of both")
        self.anchors = AnchorGenerator(strides=strides, name="anchors", **_anchors(settings["anchors"], levels))
        self.rpn_head = RPNHead(num_anchors=_same_for_all(self.anchors.num_anchors), name="rpn_head", **settings["rpn"])
        self.proposals = ProposalLayer(name="proposals", **settings["proposals"])
        self.roi_pooling = _roi_pooling({level: strides[level] for level in roi_levels}, settings["roi_pooling"])
        self.box_head = BoxHead(self.num_classes, name="box_head", **settings["box_head"])
        self.detections = DetectionLayer(name="detections", **settings["detections"])

    def build(self, input_shape=None):
        """Make all variables; called by the constructor, the argument is not read."""
        channels = self.settings["pyramid"]["channels"]
        size = self.settings["roi_pooling"]["output_size"]
        self.rpn_head.build({level: (None, None, None, channels) for level in self.settings["pyramid"]["levels"]})
        self.box_head.build((None, None, size, size, channels))
        for layer in (self.pixels, self.anchors, self.proposals, self.roi_pooling, self.detections):
            layer.built = True
        self.built = True

    # The stages, in order -------------------------------------------------------------------------------------

    def features(self, inputs, training=False):
        """The pyramid of a batch: `{level: [B, h, w, C]}`."""
        pixels = self.pixels(inputs["images"], inputs["image_sizes"])
        maps = self.backbone(pixels, training=training)
        return self.pyramid({level: maps[level] for level in self.pyramid.input}, training=training)

    def propose(self, features, inputs, training=False):
        """Objectness, deltas and anchors of every level, and the proposals made of them."""
        rpn = self.rpn_head(features)
        shapes = {level: tuple(tf.unstack(tf.shape(feature)[1:3])) for level, feature in features.items()}
        image_shape = tf.unstack(tf.shape(inputs["images"])[1:3])
        anchors = self.anchors(shapes, image_shape)
        proposals = self.proposals(
            rpn["objectness"], rpn["deltas"], anchors, inputs["image_sizes"], training=training
        )
        return rpn | {"anchors": anchors}, proposals

    def classify(self, features, boxes):
        """Class logits `[B, R, K + 1]` and deltas `[B, R, K, 4]` of RoIs `[B, R, 4]`."""
        return self.box_head(self.roi_pooling(features, boxes))

    def inference(self, inputs):
        """Detections and proposals of a batch, of one forward pass.

        Returns:
            `{"detections": see DetectionLayer, "proposals": see ProposalLayer}`.
        """
        inputs = _with_sizes(inputs)
        features = self.features(inputs)
        _, proposals = self.propose(features, inputs)
        logits, deltas = self.classify(features, proposals["boxes"])
        detections = self.detections(
            proposals["boxes"], proposals["num_proposals"], logits, deltas, inputs["image_sizes"]
        )
        return {"detections": detections, "proposals": proposals}

    def call(self, inputs, training=False):
        """Detections of a batch, in pixels of the images given; the same whatever `training` is."""
        return self.inference(inputs)["detections"]

    # Training -------------------------------------------------------------------------------------------------

    def training_losses(self, inputs, targets, seed, training=True):
        """The four losses of a batch and the recalls of its sampled positives, of one forward pass.

        Args:
            inputs, targets: see the class.
            seed: `[2]` int64 that the sampling follows.
            training: whether live batch normalisation learns, and which counts of proposals are used.

        Returns:
            `{name: scalar}` of `LOSSES`, and `{name: (share, how many positives)}` of `RECALLS`.
        """
        inputs = _with_sizes(inputs)
        _check_targets(targets, self.num_classes)
        features = self.features(inputs, training=training)
        rpn, proposals = self.propose(features, inputs, training=training)
        rpn_result, rpn_recall = self._rpn_losses(rpn, targets, tf.random.experimental.stateless_fold_in(seed, 0))
        roi_result, roi_recall = self._roi_losses(
            features, proposals, targets, tf.random.experimental.stateless_fold_in(seed, 1)
        )
        return rpn_result | roi_result, {"rpn_recall": rpn_recall, "roi_recall": roi_recall}

    def _rpn_losses(self, rpn, targets, seed):
        settings = self.settings["anchor_targets"]
        anchors = tf.concat(list(rpn["anchors"].values()), axis=0)
        sampled = anchor_targets(
            anchors, targets, seed, box_weights=self.proposals.box_weights, **settings
        )
        logits = tf.concat([rpn["objectness"][level] for level in rpn["anchors"]], axis=1)
        deltas = tf.concat([rpn["deltas"][level] for level in rpn["anchors"]], axis=1)
        logits = tf.gather(logits, sampled["indices"], batch_dims=1)  # [B, S]
        deltas = tf.gather(deltas, sampled["indices"], batch_dims=1)  # [B, S, 4]
        losses = rpn_losses(
            logits,
            deltas,
            sampled["deltas"],
            sampled["is_positive"],
            sampled["is_valid"],
            samples_per_image=settings["samples_per_image"],
            normalizer=self.settings["losses"]["rpn_normalizer"],
            box_beta=self.settings["losses"]["rpn_box_beta"],
        )
        return losses, _share(logits > 0, sampled["is_positive"])

    def _roi_losses(self, features, proposals, targets, seed):
        sampled = roi_targets(
            proposals,
            targets,
            seed,
            num_classes=self.num_classes,
            box_weights=self.detections.box_weights,
            **self.settings["roi_targets"],
        )
        logits, deltas = self.classify(features, sampled["boxes"])
        losses = roi_losses(
            logits,
            deltas,
            sampled["classes"],
            sampled["deltas"],
            sampled["is_valid"],
            box_beta=self.settings["losses"]["roi_box_beta"],
        )
        is_right = tf.argmax(logits, axis=-1, output_type=tf.int32) == sampled["classes"]
        return losses, _share(is_right, sampled["is_valid"] & (sampled["classes"] < self.num_classes))

    def train_step(self, data):
        """One step of `fit`: one forward and one backward pass."""
        inputs, targets = _inputs_and_targets(data)
        with tf.GradientTape() as tape:
            losses, recalls = self.training_losses(inputs, targets, self._step_seed(self.optimizer.iterations))
            loss = tf.add_n(list(losses.values()))
            # Gradients of replicas are summed, each of them is a mean over its own images.
            scaled = self.optimizer.scale_loss(loss / self.distribute_strategy.num_replicas_in_sync)
        gradients = tape.gradient(scaled, self.trainable_variables)
        self.optimizer.apply_gradients(zip(gradients, self.trainable_variables, strict=True))
        return self._report(loss, losses, recalls)

    def test_step(self, data):
        """One step of `evaluate` and of validation: the losses, sampled with a seed that does not change."""
        inputs, targets = _inputs_and_targets(data)
        losses, recalls = self.training_losses(inputs, targets, self._step_seed(-1), training=False)
        return self._report(tf.add_n(list(losses.values())), losses, recalls)

    def _step_seed(self, step):
        return tf.stack([tf.constant(self.seed, tf.int64), tf.cast(step, tf.int64)])

    def _report(self, loss, losses, recalls):
        self.loss_metric.update_state(loss)
        for name, value in losses.items():
            getattr(self, f"{name}_metric").update_state(value)
        for name, (share, number) in recalls.items():
            getattr(self, f"{name}_metric").update_state(share, sample_weight=number)
        return {metric.name: metric.result() for metric in self.metrics}

    @property
    def metrics(self):
        return [getattr(self, f"{name}_metric") for name in ("loss", *LOSSES, *RECALLS)]

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
                raise ValueError(f"compile: FasterRCNN has losses and metrics of its own; leave out {key!r}")
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

    # Files ----------------------------------------------------------------------------------------------------

    def export(self, filepath, format="tf_saved_model", input_signature=None, **kwargs):
        """`keras.Model.export` with images of any size and their sizes as the signature; gives final detections."""
        if input_signature is None:
            specs = {
                "images": tf.TensorSpec([None, None, None, 3], tf.float32, name="images"),
                "image_sizes": tf.TensorSpec([None, 2], tf.int32, name="image_sizes"),
            }
            input_signature = [specs]
        return super().export(filepath, format=format, input_signature=input_signature, **kwargs)

    def get_config(self):
        settings = copy.deepcopy(dict(self.settings))
        return settings | {
            "num_classes": self.num_classes,
            "profile": self.profile,
            "class_names": list(self.class_names),
            "category_ids": list(self.category_ids),
            "seed": self.seed,
            "name": self.name,
            "trainable": self.trainable,
            "dtype": keras.dtype_policies.serialize(self.dtype_policy),
        }

    @classmethod
    def from_config(cls, config):
        config = dict(config)
        # The variables come from the file: nothing is to be downloaded for them.
        config["backbone"] = config["backbone"] | {"weights": None}
        return super().from_config(config)


def load_model(path):
    """Load a detector.

    Args:
        path: a `.keras` file, or a run folder with `model.keras` in it.

    Returns:
        `FasterRCNN`, as it was saved.

    Raises:
        UserError: if there is no such file, or it is no model of this package.
    """
    path = Path(path)
    file = path / "model.keras" if path.is_dir() else path
    if not file.is_file():
        raise UserError(f"{file}: no such model; give a .keras file, or the folder of a run with a checkpoint")
    try:
        model = keras.saving.load_model(file)
    except Exception as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(f"{file}: not a whole Keras model; copy it again or train anew ({reason})") from error
    if not isinstance(model, FasterRCNN):
        raise UserError(f"{file}: a {type(model).__name__}, not a FasterRCNN")
    return model


@contextlib.contextmanager
def _dtype_policy(policy):
    """The policy under which the layers inside are made: the model's own."""
    outside = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(outside)


def _one_for_each_class(key, values, defaults, num_classes):
    values = tuple(defaults if values is None else values)
    if len(values) != num_classes:
        raise UserError(f"{key}: {len(values)} given for {num_classes} classes; give one for each class")
    return values


def _anchors(settings, levels):
    missing = [level for level in levels if level not in settings["sizes"]]
    if missing:
        raise UserError(f"anchors.sizes: none for {', '.join(missing)}; give a list of sizes for every pyramid level")
    return settings | {"sizes": {level: settings["sizes"][level] for level in levels}}


def _same_for_all(num_anchors):
    counts = set(num_anchors.values())
    if len(counts) != 1:
        raise UserError(f"anchors.sizes: {num_anchors} anchors a cell; give every level as many, the head is shared")
    return counts.pop()


def _roi_pooling(strides, settings):
    shared = {key: settings[key] for key in ("output_size", "canonical_size", "canonical_level")}
    if settings["method"] == "max":
        return RoIPool(strides=strides, name="roi_pooling", **shared)
    if settings["method"] != "align":
        raise UserError(f'roi_pooling.method: {settings["method"]!r}; valid are "align" and "max"')
    align = {key: settings[key] for key in ("sampling_ratio", "aligned", "implementation")}
    return RoIAlign(strides=strides, name="roi_pooling", **shared, **align)


def _with_sizes(inputs):
    """Inputs as a dict; images without sizes are valid to their edges."""
    inputs = inputs if isinstance(inputs, dict) else {"images": inputs}
    images = inputs["images"]
    if isinstance(images, (list, tuple)) or tf.TensorShape(images.shape).rank not in (None, 4):
        raise UserError("images: one array [B, H, W, 3] is needed; give a single image as image[None], a list stacked")
    if "image_sizes" in inputs:
        return inputs
    shape = tf.shape(images)
    return inputs | {"image_sizes": tf.repeat(shape[None, 1:3], shape[0], axis=0)}


def _inputs_and_targets(data):
    """What `fit` and `evaluate` hand to a step: `(inputs, targets)`, with None for sample weights or without."""
    inputs, targets, weights = keras.utils.unpack_x_y_sample_weight(data)
    if weights is not None:
        raise UserError("sample_weight: the losses of a detector are weighted by its sampling; leave it out")
    return inputs, targets


def _check_targets(targets, num_classes):
    if not isinstance(targets, dict) or not {"boxes", "classes"} <= set(targets):
        raise UserError('targets: a dict with "boxes" [B, G, 4] and "classes" [B, G] is needed, see FasterRCNN')
    # A class of K would silently be the background.
    message = f"targets: classes must be 0..{num_classes - 1}, padded with -1"
    tf.debugging.assert_less(tf.cast(targets["classes"], tf.int32), num_classes, message)


def _share(is_right, is_positive):
    """Share of the positives that are right, and how many positives there are."""
    number = tf.reduce_sum(tf.cast(is_positive, tf.float32))
    right = tf.reduce_sum(tf.cast(is_right & is_positive, tf.float32))
    return tf.math.divide_no_nan(right, number), number
