"""COCO results -> what pycocotools measures, by the families of `metrics`.

    coco             `COCOEvaluator`: annotations and pycocotools
    ground_truth     annotations as pycocotools takes them
    checked_results  results from anywhere, checked
    kind, kinds      what pycocotools needs for boxes and masks; keypoint_kind: for keypoints
    curves           precision by recall
    measuring        a model measured on a data set
    expectations     figures that a measurement is held against
"""
