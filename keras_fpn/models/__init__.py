"""The members of the family, each a list of stages, and the loop that they share.

    detector            the loop: features, then each stage; a `keras.Model` with its own losses
    given_weights       its weights, where it is made with some
    own_losses          what `fit` asks of it
    class_detector      one that tells classes apart
    rpn                 the RPN alone (table 1 of the paper)
    fast_rcnn           on given proposals (table 2)
    faster_rcnn         the whole (tables 3, 5)
    segment_proposals   table 6
    retinanet, fcos     all anchors or points at once, without proposals
    mask_rcnn           the whole, and a mask for each detection
    cascade_rcnn        the whole with a row of box heads; cascade_mask_rcnn: and masks
    keypoint_detector   one that knows its keypoints
    keypoint_rcnn       the whole, and the keypoints of each detection
    mask_keypoint_rcnn  the whole, with both
    architectures       which members a configuration can name
    settings            all settings of one
    files, writing      models from files, and into them
    optimizers          SGD as the sources have it, and its schedule
"""
