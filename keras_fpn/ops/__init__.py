"""Functions on tensors and arrays; they know no layer and no model.

    boxes              corners, areas, overlaps, deltas
    nms                suppression, group by group; soft_nms: by lower scores
    levels             the level of the pyramid that a RoI is cropped from (equation 1 of the paper)
    octaves            the numbers of levels, and the sides at which they change
    anchor_cells       the anchors of one cell
    bin_maxima         maxima over the bins of a map
    losses             of the RPN, of RoIs, of segments
    mask_losses        of the masks of RoIs
    focal, giou        losses of anchors without sampling: of classes, of boxes
    points             boxes by distances from a point, and its centre-ness
    masks              pasted into images, run-length encoded
    keypoints          places of keypoints from heat maps of boxes
    mask_pasting       pasted by the rules of detectron2 and torchvision
    mask_outlines      their borders as polygons
    sparse_pooling     RoIAlign as the product of a sparse matrix
    ordered_gradients  gradients whose sums have an order
"""
