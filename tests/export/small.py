"""Settings of small models that are exported, and the names of what becomes of them."""

FILES = {"saved_model": "served", "tflite": "model.tflite", "onnx": "model.onnx"}
SHARED = {
    "num_classes": 3,
    "backbone": {"name": "resnet18", "width": 8, "freeze_at": 0},
    "resize": {"min_side": 64, "max_side": 96},
    "pyramid": {"channels": 8, "levels": ["P3", "P4"]},
    "anchors": {"sizes": {"P3": [16.0], "P4": [32.0]}},
    "rpn": {"channels": 8},
    "proposals": {"pre_nms_top_k_test": 40, "post_nms_top_k_test": 20},
    "roi_pooling": {"canonical_size": 56.0, "levels": ["P3", "P4"]},
    "box_head": {"units": 16},
    "detections": {"max_detections": 10},
    "seed": 5,
}
MASKS = {"mask_head": {"pooling_size": 4, "conv_layers": 1, "channels": 8, "norm": "batch_norm"}}
