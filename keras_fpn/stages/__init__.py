"""The steps of a detector after its features; a member of the family is a list of them.

    stage           the base of all
    propose         anchors, the RPN's head, its proposals and losses
    given           proposals that come with the images
    classify        RoI pooling, the box head, detections and losses
    pooling         RoI pooling, as heads are built on it
    cascade         the same by a row of heads, each on the boxes of the one before
    cascade_targets
                    towards what the later ones are trained
    dense           every anchor at once; dense_targets: what each is trained towards
    fcos            every point at once; fcos_targets: what each is trained towards
    segment         positions of the pyramid, their scores and masks
    mask            a mask for each detection
    targets         which anchors and RoIs are positive, their sampling, towards what they are trained
    segment_grid, segment_targets
                    the positions of segments; which are positive, and their masks
    keypoint        heat maps of the detections, and the keypoints there
    keypoint_targets
                    where they should be, and the loss
    recall          how many positives a stage gets right
    ..._settings    settings of each; without TensorFlow
"""
