"""Heads: features in, raw predictions out.

    rpn            objectness and deltas of every anchor
    convolutions   those that heads of RoIs begin with
    box_head       class scores and deltas of every RoI; box_head_names: in published files,
                   cascade_head_names: of heads in a row; normed_box_head: with normalised fully connected layers
    conv5_head     the same by conv5 of a ResNet (the C4 baselines)
    mask_head      masks of every RoI, one for each class; mask_head_names: in published files
    dense_head     scores and deltas of every anchor, in two towers; dense_head_names: in published files
    fcos_head      the same of points, and their centre-ness
    segment_head   scores and masks of every position
    keypoint_head  heat maps of keypoints of every RoI; keypoint_head_names: in published files
    build          the box heads by name
"""
