"""COCO-format folders in, batches out.

    instances    annotation files, as training and evaluation both read them; entry_values: of their entries
    instance_checks
                 checks that every reader rests on; image_files: their pictures
    coco         the same as records of a data set
    formats/     annotations of other programs, read as COCO's; layout: where the halves of a data set are;
                 listing: folders, each listed once
    tfds/        data sets of TensorFlow Datasets
    conversion/  a data set written in another format
    objects      the objects of a file, as fields read them
    box_forms, box_sanity, class_checks, picture_checks
                 boxes in other forms; what is wrong with a whole file, and would cost a day of training
    checks/      everything that is wrong with a data set, counted, shown and mended
    fields/      what each object has: boxes, classes, masks and others by name; how each follows its image
    augmentations/
                 changes of training images: mosaic, copy-paste, crops, colour, blur; visibility: what stays of objects
    mask_grids   masks over boxes in TensorFlow: cut, painted, read again
    keypoint_lists, keypoint_sides, coco_keypoints
                 keypoints of categories: names, skeletons, sigmas; which are left and right; COCO's
    keypoint_entries
                 keypoints of annotations
    columns      a row of each object of a data set, in memory that TensorFlow shares
    segmentations
                 polygons and run lengths -> small masks; outline_areas: of polygons in a window, in TensorFlow
    shapes       the embedded data set; shape_keypoints: its corners and tips
    coco_classes COCO's classes and their ids
    transforms   image and fields changed together; sizes: what an image is resized and padded to
    picture_contents, tfrecord_files
                 encoded pictures, files of their own or in TFRecord files; cached_files: in memory
    shard_folder, shard_examples
                 a data set as TFRecord files with an index
    decode       image files -> pixels; image_heads: their sizes; exif: which way up
    rewriting, rewritten_pictures, unread_pictures, picture_kinds
                 pictures that TensorFlow does not read: as PNG; those of a data set; refused; named in a graph
    order, size_order
                 which image comes when, in training and in evaluation
    enough       images that hold too little to be trained on
    pipeline     records -> tf.data batches; examples: one image of them
    bounding_boxes, bounding_box_checks
                 data sets in Keras' own form; picture_batches: images at hand -> batches; batch_instances: the ground
                 truth of batches
    batches      checks of a batch where a detector takes it
    proposal_files
                 proposals of a data set, on disk
    pillow_resize
                 Pillow's antialiased filter in TensorFlow
    settings, image_settings
                 of the pipeline; of pixels and resizing

Reading annotations and writing shapes work without importing TensorFlow.
"""

import importlib

_PUBLIC = {
    "CocoDataset": "coco",
    "Record": "coco",
    "Half": "formats",
    "Layout": "layout",
    "find_layout": "layout",
    "register_format": "formats",
    "read_coco": "coco",
    "write_shapes": "shapes",
    "load_coco": "pipeline",
    "load_tfds": "tfds.loading",
    "from_boxes": "bounding_boxes",
    "instances_of": "batch_instances",
    "decode_image": "decode",
    "readable_errors": "decode",
}
__all__ = list(_PUBLIC)


def __getattr__(name):
    if name in _PUBLIC:
        return getattr(importlib.import_module(f"keras_fpn.data.{_PUBLIC[name]}"), name)
    raise AttributeError(f"module 'keras_fpn.data' has no attribute {name!r}")


def __dir__():
    return sorted([*globals(), *__all__])
