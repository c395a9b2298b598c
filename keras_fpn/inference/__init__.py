"""Image files -> detections in their own pixels.

    listing     the image files of paths and folders
    images      image files; `ImageDetections` of one. Without TensorFlow
    reading     images some at a time, with or without those that cannot be read
    detecting   a model on image files
    picture_names, drawn_folder  where the pictures that are drawn of others go
    results_file  COCO results on disk while they are being found
    result_forms  what else they may be written as, by name
    polygons      results with polygons in the place of run lengths
    label_folder, labelme_labels, yolo_labels  files for labelling programs
    results     detections of batches -> COCO results
    propose     what a model proposes in a data set, on disk
    timing      what `keras-fpn benchmark` does
"""
