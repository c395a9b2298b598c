"""Declarations of a part, and the registries for those who add one. Without TensorFlow.

    settings           `Settings`: names, types, defaults, the profiles' differences
    choice             a group of settings whose keys depend on the part that it names
    registry           parts by name
    extensions         parts from outside the package, by a user's own word
    classes            names and ids of the classes of a data set
    output_fields      rows of the detections: to the original image, into results, into pictures
    mask_fields, keypoint_fields
                       those of further heads
    lazy_registration  classes for Keras, before their modules are imported
    checkpoint_names   what published files call the layers of a part
    read_only          settings that refuse to be changed
"""
