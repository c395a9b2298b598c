"""Feature pyramids: {"C2".."C5"} -> {"P2".."P6"}, a file for each row of the paper's ablations and each successor.

    settings        which there are, and what each can be told; without TensorFlow
    build           the one that the settings name

    fpn             lateral connections and top-down pathway                rows c
    bottom_up       laterals alone                                          rows d
    top_down        top-down pathway alone                                  rows e
    finest_level    the whole pyramid, of which P2 alone is given           rows f
    single_scale    no pyramid: C4 or C5 as it is                           rows a, b
    fusion          all levels on one map, after HyperNet                   a neighbour
    fpn_strided     from C3 on, with strided convolutions above C5          RetinaNet, FCOS
    ssd             upper levels and further ones, no top-down pathway      a neighbour
    panet           a bottom-up path after it, of its outputs               PANet
    pafpn           a bottom-up path after it, of its sums                  mmdetection
    bifpn           paths down and up with learnt weights, repeated         EfficientDet
    nas_fpn         searched stacks of merging cells                        NAS-FPN

    stretches, upper_levels, convolutions, resampling
                    their common construction
    fpn_names       names of its layers in published files
"""
