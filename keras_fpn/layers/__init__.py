"""Keras layers, in the order in which data meets them.

    pixels            RGB 0..255 -> what the backbone was trained on
    grouped_convolution
                      convolutions in groups of channels
    depthwise_convolution
                      convolutions of each channel by itself, with the normalisation after them
    group_normalization
                      statistics of groups of channels, added up a row at a time
    normalization     batch normalisation that is frozen, or leaves padding out; synchronized_moments: of all devices
    weighted_sum      sums of maps with learnt weights
    patch_merging, map_attention, window_attention, decomposed_attention, position_embedding
                      what Swin and ViT are made of
    pointwise_gelu    a linear layer of each cell with a GELU, as one product
    layer_scale, stochastic_depth
                      factors of branches, and branches left out in training
    anchors           reference boxes of every level
    proposals         objectness and deltas -> the best boxes
    roi_align, roi_pool
                      crops of the pyramid; roi_pooling: what both share; adaptive_roi_align, adaptive_roi_vectors: of
                      all levels, fused
    detections        class scores and deltas -> the 100 best boxes of an image
    class_agnostic_detections, soft_detections
                      the same with other ways of suppression
    dense_detections  scores and deltas of every anchor -> the best boxes of an image
    point_detections  the same of points
    dense_suppressions
                      both with other ways of suppression
    loss_normalizer   what sums over all anchors are divided by
    leading_rows      how many rows of a batch are not padding alone
    fixed_arguments   arguments of a layer that can be read and not changed
"""
