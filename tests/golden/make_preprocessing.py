"""Preprocessing of torchvision's and detectron2's detectors, from JPEG pixels to the network: preprocessing.npz.

preprocessing.jpg, a drawn landscape of 1333 x 800 pixels, is made by this script too; smaller images are its upper
left corners. Kept are sizes and the values at 16 rows and 16 columns spread from the first to the last.
Made with torch 2.14.1, torchvision 0.29.1, detectron2 0.6 and Pillow 13.0 on a CPU.
Run: python tests/golden/make_preprocessing.py
"""

import pathlib
import types

import numpy as np
import torch
from detectron2.data.transforms import AugInput, ResizeShortestEdge
from detectron2.modeling.meta_arch.rcnn import GeneralizedRCNN
from detectron2.modeling.postprocessing import detector_postprocess
from detectron2.structures import Boxes, Instances
from PIL import Image, ImageDraw
from torchvision.models.detection.transform import GeneralizedRCNNTransform, resize_boxes

HERE = pathlib.Path(__file__).parent
SIZES = ((480, 640), (427, 640), (333, 500), (800, 1333), (797, 601))
LIMITS = ((800, 1333), (320, 640))  # shorter side, longer side at most; the second shrinks all but the third


def draw_landscape(path):
    """Sky, waves of grain, sharp roofs and fine stripes: gradients, noise and edges, as photographs have."""
    random = np.random.default_rng(0)
    rows, columns = np.mgrid[0:800, 0:1333].astype(np.float32)
    waves = 40 * np.sin(columns / 37 + np.sin(rows / 53)) + 30 * np.cos(rows / 29 - columns / 211)
    pixels = np.stack([120 + waves, 90 + rows / 8 + waves / 2, 200 - rows / 6 - waves / 3], axis=-1)
    pixels += random.normal(0, 6, (800, 1333, 1))
    picture = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
    canvas = ImageDraw.Draw(picture)
    for _ in range(60):
        x, y, width, height = random.integers((0, 0, 8, 8), (1300, 780, 120, 120)).tolist()
        colour = tuple(random.integers(0, 256, 3).tolist())
        canvas.polygon([(x, y + height), (x + width // 2, y), (x + width, y + height)], fill=colour)
        canvas.line([(x, y), (x + width, y + height // 3)], fill=(255, 255, 255), width=2)
    picture.save(path, quality=60)


def spread(array):
    """[..., H, W, C] at 16 rows and 16 columns from the first to the last."""
    height, width = array.shape[-3:-1]
    rows, columns = (np.linspace(0, side - 1, 16).round().astype(int) for side in (height, width))
    return array[..., rows[:, None], columns, :]


def torchvision_batch(images, limits):
    """(NHWC of the batch, sizes) of RGB uint8 images."""
    transform = GeneralizedRCNNTransform(*limits, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    tensors = [torch.from_numpy(image).permute(2, 0, 1).float() / 255 for image in images]
    batch, _ = transform(tensors)
    return batch.tensors.permute(0, 2, 3, 1).numpy(), np.array(batch.image_sizes, np.int32)


def detectron2_batch(images, limits):
    """(NHWC of the batch, sizes, resized uint8 BGR images) of RGB uint8 images."""
    resized = []
    for image in images:
        given = AugInput(np.ascontiguousarray(image[:, :, ::-1]))
        ResizeShortestEdge([limits[0], limits[0]], limits[1])(given)
        resized.append(given.image)
    model = types.SimpleNamespace(
        _move_to_current_device=lambda tensor: tensor,
        pixel_mean=torch.tensor([103.530, 116.280, 123.675])[:, None, None],
        pixel_std=torch.ones(3, 1, 1),
        backbone=types.SimpleNamespace(size_divisibility=32, padding_constraints={}),
    )
    inputs = [{"image": torch.as_tensor(image.astype("float32").transpose(2, 0, 1))} for image in resized]
    batch = GeneralizedRCNN.preprocess_image(model, inputs)
    return batch.tensor.permute(0, 2, 3, 1).numpy(), np.array(batch.image_sizes, np.int32), resized


def original_boxes(size, resized_size):
    """Boxes of a resized image brought to the file's pixels by both."""
    height, width = resized_size
    boxes = torch.tensor([[0.0, 0, width, height], [10.3, 20.7, 300.9, 240.1], [500.5, 3.25, width - 1, 77.7]])
    given = Instances((height, width), pred_boxes=Boxes(boxes.clone()))
    detectron2 = detector_postprocess(given, *size).pred_boxes.tensor
    return boxes, resize_boxes(boxes, list(resized_size), list(size)), detectron2


def main():
    draw_landscape(HERE / "preprocessing.jpg")
    picture = np.array(Image.open(HERE / "preprocessing.jpg").convert("RGB"))
    images = [picture[:height, :width].copy() for height, width in SIZES]
    arrays = {"picture": spread(picture), "sizes": np.array(SIZES), "limits": np.array(LIMITS)}
    for limits in LIMITS:
        batches = {f"{height}x{width}": [image] for (height, width), image in zip(SIZES, images, strict=True)}
        for name, batch in (batches | {"mixed": [images[0], images[2], images[4]]}).items():
            key = f"{limits[0]}/{name}"
            values, sizes = torchvision_batch(batch, limits)
            arrays |= {f"torchvision/{key}/shape": values.shape, f"torchvision/{key}/sizes": sizes}
            arrays[f"torchvision/{key}/values"] = spread(values)
            values, sizes, resized = detectron2_batch(batch, limits)
            arrays |= {f"detectron2/{key}/shape": values.shape, f"detectron2/{key}/sizes": sizes}
            arrays[f"detectron2/{key}/values"] = spread(values)
            for number, image in enumerate(resized):
                arrays[f"detectron2/{key}/pixels/{number}"] = spread(image)
    boxes = original_boxes(SIZES[1], arrays["detectron2/800/427x640/sizes"][0])
    for name, values in zip(("resized", "torchvision", "detectron2"), boxes, strict=True):
        arrays[f"boxes/{name}"] = values.numpy()
    np.savez_compressed(HERE / "preprocessing.npz", **arrays)


if __name__ == "__main__":
    main()
