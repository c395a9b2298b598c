"""The steps of a detector after its features; a member of the family is a list of them.

    stage           what a stage says of itself
    propose         anchors, the RPN's head, its proposals and losses
    given           proposals that come with the images
    classify        RoI pooling, the box head, detections and losses
    segment         positions of the pyramid, their scores and masks
    ..._settings    what each can be told; without TensorFlow
"""
