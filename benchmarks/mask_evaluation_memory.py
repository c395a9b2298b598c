"""Peak memory of measuring masks on many images against few: made results, 100 masks of each image.

    python benchmarks/mask_evaluation_memory.py [--images 5000]

The results are gathered image by image as `keras-fpn evaluate` gathers them, and measured by the boxes and by the
masks. Images are 640 x 480, classes 80, objects seven an image with a polygon of 24 corners, masks discs of 20 to 400
pixels, each with run lengths of its own.
"""

import argparse
import resource
import subprocess
import sys
import time

import numpy as np

FEW, HEIGHT, WIDTH, CLASSES, OBJECTS, RESULTS = 50, 480, 640, 80, 7, 100
DRAWN = 400  # different masks


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--measure", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        measure(arguments.measure)
        return
    peaks = []
    for number in (FEW, arguments.images):  # the larger last: peaks of children only grow
        start = time.perf_counter()
        subprocess.run([sys.executable, __file__, "--measure", str(number)], check=True)
        peaks.append(1024 * resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
        print(f"{number} images: {peaks[-1] / 1e9:.2f} GB, {time.perf_counter() - start:.0f} s", flush=True)
    print(f"{(peaks[1] - peaks[0]) / 1e9:.2f} GB more")


def measure(images):
    from keras_fpn.evaluation.coco import COCOEvaluator
    from keras_fpn.inference.results import best_of_each
    from keras_fpn.metrics import DETECTIONS, INSTANCE_MASKS, Measurement

    rng = np.random.default_rng(0)
    evaluator = COCOEvaluator(annotations(rng, images))
    measurement, results = Measurement(evaluator, {"detections": (DETECTIONS, INSTANCE_MASKS)}), []
    drawn = masks_and_boxes(rng)
    for image_id in range(1, images + 1):
        found = results_of(rng, image_id, *drawn)
        measurement.add({"detections": found})
        results += best_of_each(found, None)
    print(f"  results: {_peak_now():.2f} GB", flush=True)
    metrics = measurement.metrics()
    print(f"  measured: {_peak_now():.2f} GB, AP {metrics['AP']:.4f}, mask/AP {metrics['mask/AP']:.4f}")


def _peak_now():
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e9


def annotations(rng, images):
    angles = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    circle = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    objects = []
    for image_id in range(1, images + 1):
        for _ in range(OBJECTS):
            radius = np.exp(rng.uniform(np.log(10), np.log(100)))
            centre = rng.uniform(radius, (WIDTH - radius, HEIGHT - radius))
            box = [*(centre - radius).tolist(), 2 * radius, 2 * radius]
            objects.append({
                "id": len(objects) + 1, "image_id": image_id, "category_id": int(rng.integers(1, CLASSES + 1)),
                "bbox": box, "area": float(np.pi * radius**2), "iscrowd": 0,
                "segmentation": [(circle * radius + centre).ravel().tolist()],
            })  # fmt: skip
    return {
        "images": [{"id": number, "height": HEIGHT, "width": WIDTH} for number in range(1, images + 1)],
        "categories": [{"id": number, "name": str(number)} for number in range(1, CLASSES + 1)],
        "annotations": objects,
    }


def masks_and_boxes(rng):
    from keras_fpn.ops.mask_pasting import paste_all

    y, x = (np.mgrid[:28, :28] + 0.5) / 28 - 0.5
    disc = 1 / (1 + np.exp((np.hypot(x, y) - 0.45) * 56))
    sides = np.exp(rng.uniform(np.log(20), np.log(400), (DRAWN, 2)))
    corners = rng.uniform(0, 1, (DRAWN, 2)) * ((WIDTH, HEIGHT) - sides)
    boxes = np.concatenate([corners, corners + sides], axis=1)
    return paste_all(np.repeat(disc[None], DRAWN, axis=0), boxes, HEIGHT, WIDTH, "detectron2"), boxes


def results_of(rng, image_id, segments, boxes):
    """As `inference.results` gives them: nothing is shared between two results but names."""
    found = []
    for number in rng.integers(0, DRAWN, RESULTS).tolist():
        x1, y1, x2, y2 = boxes[number].tolist()
        counts = (segments[number]["counts"] + " ")[:-1]  # a string of its own
        found.append({
            "image_id": image_id, "category_id": int(rng.integers(1, CLASSES + 1)), "category": "name",
            "bbox": [x1, y1, x2 - x1, y2 - y1], "score": float(rng.random()),
            "segmentation": {"size": [HEIGHT, WIDTH], "counts": counts},
        })  # fmt: skip
    return found


if __name__ == "__main__":
    main()
