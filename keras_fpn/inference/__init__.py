"""Image files -> detections in their own pixels.

    images      image files; `ImageDetections` of one. Without TensorFlow
    detecting   a model on image files
    results     detections of batches -> COCO results
    propose     what a model proposes in a data set, on disk
    timing      what `keras-fpn benchmark` does
"""
