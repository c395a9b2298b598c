"""detectron2's ResNet-FPN detectors written out on torchvision's operators, for machines without detectron2.

The names of the weights are detectron2's, and so is every convention: blue first and the mean taken off, Pillow's
resizing, the stride in a block's first 1x1, frozen batch norm, anchors that are not rounded, RoIAlign with a
half-pixel shift and adaptive sampling, L1 losses, the RPN's divided by 256 anchors an image whatever was sampled.
`make parity` takes the real detectron2 where it can; `verify_conventions.py` holds this module to it.
"""

import math
import typing

import calibration
import catalogue
import detectron2_keypoints
import detectron2_masks
import numpy as np
import torch
import torch.nn.functional as F
import torchvision
from PIL import Image
from torch import nn
from torchvision.ops import FrozenBatchNorm2d, batched_nms, box_iou, clip_boxes_to_image, roi_align

MODELS = r"((faster|mask|keypoint)_rcnn|rpn)_R_(50|101)_FPN_\dx"  # what is written out here
VERSION = f"detectron2's conventions on torchvision {torchvision.__version__}"
LEVELS = ("P2", "P3", "P4", "P5", "P6")
BLOCKS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}
MEAN = (103.53, 116.28, 123.675)
LARGEST_STEP = math.log(1000 / 16)
# By their sign in a model's name.
HEADS = {"mask": detectron2_masks.MaskHead, "keypoint": detectron2_keypoints.KeypointHead}


class Convolution(nn.Conv2d):
    """Without bias, followed by frozen batch norm."""

    def __init__(self, inputs, outputs, side, stride=1):
        super().__init__(inputs, outputs, side, stride, side // 2, bias=False)
        self.norm = FrozenBatchNorm2d(outputs)

    def forward(self, maps):
        return self.norm(super().forward(maps))


class Bottleneck(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        width = outputs // 4
        self.conv1 = Convolution(inputs, width, 1, stride)
        self.conv2 = Convolution(width, width, 3)
        self.conv3 = Convolution(width, outputs, 1)
        self.shortcut = Convolution(inputs, outputs, 1, stride) if inputs != outputs else nn.Identity()

    def forward(self, maps):
        return F.relu(self.conv3(F.relu(self.conv2(F.relu(self.conv1(maps))))) + self.shortcut(maps))


class ResNet(nn.Module):
    def __init__(self, depth):
        super().__init__()
        self.stem = nn.Module()
        self.stem.conv1 = Convolution(3, 64, 7, 2)
        inputs = 64
        for index, count in enumerate(BLOCKS[depth]):
            outputs = 256 * 2**index
            blocks = [Bottleneck(inputs, outputs, 2 if index else 1)]
            blocks += [Bottleneck(outputs, outputs, 1) for _ in range(count - 1)]
            setattr(self, f"res{index + 2}", nn.Sequential(*blocks))
            inputs = outputs
        # Stem and first stage stay as they are in training.
        for part in (self.stem, self.res2):
            part.requires_grad_(False)

    def forward(self, images):
        maps = F.max_pool2d(F.relu(self.stem.conv1(images)), 3, 2, 1)
        taps = {}
        for index in range(2, 6):
            maps = taps[f"C{index}"] = getattr(self, f"res{index}")(maps)
        return taps


class Pyramid(nn.Module):
    def __init__(self, depth):
        super().__init__()
        self.bottom_up = ResNet(depth)
        for index in range(2, 6):
            setattr(self, f"fpn_lateral{index}", nn.Conv2d(64 * 2**index, 256, 1))
            setattr(self, f"fpn_output{index}", nn.Conv2d(256, 256, 3, padding=1))

    def forward(self, images):
        taps, merged, levels = self.bottom_up(images), None, {}
        for index in range(5, 1, -1):
            lateral = getattr(self, f"fpn_lateral{index}")(taps[f"C{index}"])
            merged = lateral if merged is None else lateral + F.interpolate(merged, scale_factor=2.0, mode="nearest")
            levels[f"P{index}"] = getattr(self, f"fpn_output{index}")(merged)
        levels["P6"] = F.max_pool2d(levels["P5"], 1, 2)
        return taps, {name: levels[name] for name in LEVELS}


class RPNHead(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(256, 256, 3, padding=1)
        self.objectness_logits = nn.Conv2d(256, 3, 1)
        self.anchor_deltas = nn.Conv2d(256, 12, 1)

    def forward(self, levels):
        hidden = [F.relu(self.conv(level)) for level in levels]
        return [self.objectness_logits(level) for level in hidden], [self.anchor_deltas(level) for level in hidden]


def anchors(level, shape):
    """`[h w 3, 4]` of a level, 0 for P2."""
    size, stride = 32.0 * 2**level, 4 * 2**level
    cells = []
    for ratio in (0.5, 1.0, 2.0):
        width = math.sqrt(size**2 / ratio)
        height = ratio * width
        cells.append([-width / 2, -height / 2, width / 2, height / 2])
    y, x = torch.meshgrid(*(torch.arange(side, dtype=torch.float32) * stride for side in shape), indexing="ij")
    shifts = torch.stack([x, y, x, y], -1).reshape(-1, 1, 4)
    return (shifts + torch.tensor(cells)).reshape(-1, 4)


def decode(deltas, boxes, weights):
    """Boxes moved by `[..., N, 4]` deltas."""
    widths, heights = boxes[..., 2] - boxes[..., 0], boxes[..., 3] - boxes[..., 1]
    dx, dy, dw, dh = (deltas[..., index] / weights[index] for index in range(4))
    x, y = dx * widths + boxes[..., 0] + 0.5 * widths, dy * heights + boxes[..., 1] + 0.5 * heights
    widths, heights = dw.clamp(max=LARGEST_STEP).exp() * widths, dh.clamp(max=LARGEST_STEP).exp() * heights
    return torch.stack([x - 0.5 * widths, y - 0.5 * heights, x + 0.5 * widths, y + 0.5 * heights], -1)


def encode(boxes, truth, weights):
    sides, truth_sides = boxes[:, 2:] - boxes[:, :2], truth[:, 2:] - truth[:, :2]
    centres, truth_centres = boxes[:, :2] + 0.5 * sides, truth[:, :2] + 0.5 * truth_sides
    moved = torch.cat([(truth_centres - centres) / sides, (truth_sides / sides).log()], 1)
    return moved * torch.tensor(weights)


def nonempty(boxes):
    return ((boxes[:, 2:] - boxes[:, :2]) > 0).all(1)


def propose(logits, deltas, grid, size, before, after):
    """Best boxes and their logits of one image; lists over levels in."""
    boxes, scores, groups = [], [], []
    for level, (level_logits, level_deltas, level_anchors) in enumerate(zip(logits, deltas, grid, strict=True)):
        best, rows = level_logits.topk(min(before, len(level_logits)))
        boxes.append(decode(level_deltas, level_anchors, (1, 1, 1, 1))[rows])
        scores.append(best)
        groups.append(torch.full_like(rows, level))
    boxes, scores, groups = clip_boxes_to_image(torch.cat(boxes), size), torch.cat(scores), torch.cat(groups)
    kept = nonempty(boxes)
    boxes, scores, groups = boxes[kept], scores[kept], groups[kept]
    kept = batched_nms(boxes, scores, groups, 0.7)[:after]
    return boxes[kept], scores[kept]


def pool(levels, rois, side=7):
    """`[R, 256, side, side]`: each RoI read from the level of its size."""
    owner = torch.cat([torch.full((len(boxes), 1), float(image)) for image, boxes in enumerate(rois)])
    boxes = torch.cat(rois)
    sides = ((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])).sqrt()
    places = (4 + torch.log2(sides / 224 + 1e-8)).floor().clamp(2, 5).long() - 2
    pooled = torch.zeros(len(boxes), 256, side, side)
    for index in range(4):
        rows = (places == index).nonzero()[:, 0]
        regions = torch.cat([owner, boxes], 1)[rows]
        read = roi_align(levels[LEVELS[index]], regions, side, 1 / 4 / 2**index, sampling_ratio=-1, aligned=True)
        pooled = pooled.index_put((rows,), read)
    return pooled


def detect(boxes, logits, deltas, size):
    """Boxes, scores and classes of one image."""
    scores = logits.softmax(-1)[:, :-1]
    moved = decode(deltas.reshape(len(boxes), -1, 4), boxes[:, None], (10, 10, 5, 5))
    moved = clip_boxes_to_image(moved.reshape(-1, 4), size).reshape(moved.shape)
    rows, classes = (scores > 0.05).nonzero(as_tuple=True)
    moved, scores = moved[rows, classes], scores[rows, classes]
    kept = batched_nms(moved, scores, classes, 0.5)[:100]
    return moved[kept], scores[kept], classes[kept]


def match(boxes, truth, low, high, forced):
    """Index of each box's best truth, and its label: 1, 0, or -1 between the thresholds."""
    overlaps = box_iou(truth, boxes)
    best, matched = overlaps.max(0)
    labels = torch.full_like(matched, -1)
    labels[best < low], labels[best >= high] = 0, 1
    if forced:
        labels[(overlaps == overlaps.max(1, keepdim=True).values).any(0)] = 1
    return matched, labels


def smooth_l1(differences, beta):
    """Element by element; the absolute value with a beta of 0."""
    size = differences.abs()
    return size if not beta else torch.where(size < beta, 0.5 * size**2 / beta, size - 0.5 * beta)


def sample(is_positive, is_negative, count, share):
    """Random indices: positives, at most their share, and negatives for the rest."""
    positive, negative = is_positive.nonzero()[:, 0], is_negative.nonzero()[:, 0]
    positive = positive[torch.randperm(len(positive))[: int(count * share)]]
    return positive, negative[torch.randperm(len(negative))[: count - len(positive)]]


class Rois(typing.NamedTuple):
    """Sampled RoIs of an image, positives first.

    Attributes:
        positive, negative: rows among the candidates.
        boxes, deltas: `[S, 4]`, and what leads from each to its object.
        objects: `[S]` row of its object, -1 of none.
        classes: `[S]`, the number of classes for the background.
    """

    positive: torch.Tensor
    negative: torch.Tensor
    boxes: torch.Tensor
    objects: torch.Tensor
    deltas: torch.Tensor
    classes: torch.Tensor


class Network(nn.Module):
    """`forward` gives the stages of a normalised batch, `losses` the losses of one with ground truth.

    Args:
        depth: of the ResNet.
        classes: of the box head; 0 of a network that only proposes.
        head: "mask", "keypoint" or None: what it says of each detection besides.
    """

    def __init__(self, depth, classes, head=None):
        super().__init__()
        # The zoo's network that only proposes says more in inference, the one of keypoints in training.
        self.best, self.best_in_training = (1000 if classes else 2000), (1500 if head == "keypoint" else 1000)
        self.beta = 0.5 if head == "keypoint" else 0.0
        self.classes, self.heads = classes, []
        self.backbone = Pyramid(depth)
        self.proposal_generator = nn.Module()
        self.proposal_generator.rpn_head = RPNHead()
        if classes:
            self.roi_heads = nn.Module()
            self.roi_heads.box_head = nn.Module()
            self.roi_heads.box_head.fc1, self.roi_heads.box_head.fc2 = nn.Linear(256 * 49, 1024), nn.Linear(1024, 1024)
            self.roi_heads.box_predictor = nn.Module()
            self.roi_heads.box_predictor.cls_score = nn.Linear(1024, classes + 1)
            self.roi_heads.box_predictor.bbox_pred = nn.Linear(1024, 4 * classes)
        if head:
            self.heads = [HEADS[head](classes)]
            self.roi_heads.add_module(self.heads[0].part, self.heads[0])

    def propose(self, images, sizes, before, after):
        """Taps, levels, raw outputs and anchors of the RPN, proposals."""
        taps, levels = self.backbone(images)
        logits, deltas = self.proposal_generator.rpn_head(list(levels.values()))
        grid = [anchors(index, level.shape[-2:]) for index, level in enumerate(levels.values())]
        flat = [level.permute(0, 2, 3, 1).reshape(len(images), -1) for level in logits]
        flat_deltas = [level.permute(0, 2, 3, 1).reshape(len(images), -1, 4) for level in deltas]
        found = []
        for image, size in enumerate(sizes):
            outputs = [[part[image].detach() for part in parts] for parts in (flat, flat_deltas)]
            found.append(propose(*outputs, grid, size, before, after))
        return {
            "taps": taps, "levels": levels, "logits": logits, "deltas": deltas, "grid": grid,
            "flat": (torch.cat(flat, 1), torch.cat(flat_deltas, 1)), "proposals": found,
        }  # fmt: skip

    def classify(self, levels, rois):
        pooled, heads = pool(levels, rois), self.roi_heads
        hidden = F.relu(heads.box_head.fc2(F.relu(heads.box_head.fc1(pooled.flatten(1)))))
        return pooled, heads.box_predictor.cls_score(hidden), heads.box_predictor.bbox_pred(hidden)

    def forward(self, images, sizes):
        seen = self.propose(images, sizes, 1000, self.best)
        if not self.classes:
            seen["detections"] = [
                (boxes, logits.sigmoid(), torch.zeros(len(boxes), dtype=torch.int64))
                for boxes, logits in seen["proposals"]
            ]
            return seen
        rois = [boxes for boxes, _ in seen["proposals"]]
        seen["pooled"], seen["class_logits"], seen["box_deltas"] = self.classify(seen["levels"], rois)
        outputs = (seen[key].split([len(boxes) for boxes in rois]) for key in ("class_logits", "box_deltas"))
        seen["detections"] = [detect(*each) for each in zip(rois, *outputs, sizes, strict=True)]
        found = [boxes for boxes, *_ in seen["detections"]]
        for head in self.heads:
            seen[head.name] = head(pool(seen["levels"], found, head.pooled))
        return seen

    def losses(self, images, sizes, truth):
        """All losses (two without a box head), the samples and the proposals.

        Args:
            truth: of each image `{"boxes", "classes"}`, and of each head what its `truth` gave.
        """
        seen = self.propose(images, sizes, 2000, self.best_in_training)
        losses, samples = self._rpn_losses(seen, truth)
        proposals = [boxes for boxes, _ in seen["proposals"]]
        if self.classes:
            rois = [self._sampled(*each) for each in zip(proposals, truth, strict=True)]
            samples["rois"] = [(roi.positive.numpy(), roi.negative.numpy()) for roi in rois]
            losses |= self._roi_losses(seen["levels"], rois)
            for head in self.heads:
                losses[head.loss_name] = self._head_loss(head, seen["levels"], rois, truth)
        return losses, samples, proposals

    def _rpn_losses(self, seen, truth):
        grid, samples, objectness, boxes = torch.cat(seen["grid"]), [], 0.0, 0.0
        for image, truth_boxes in enumerate(one["boxes"] for one in truth):
            matched, labels = match(grid, truth_boxes, 0.3, 0.7, forced=True)
            positive, negative = sample(labels == 1, labels == 0, 256, 0.5)
            samples.append((positive.numpy(), negative.numpy()))
            rows = torch.cat([positive, negative])
            logits = seen["flat"][0][image, rows]
            objectness += F.binary_cross_entropy_with_logits(logits, labels[rows].float(), reduction="sum")
            wanted = encode(grid[positive], truth_boxes[matched[positive]], (1.0, 1.0, 1.0, 1.0))
            boxes += (seen["flat"][1][image, positive] - wanted).abs().sum()
        divisor = 256 * len(truth)
        return {"rpn_objectness_loss": objectness / divisor, "rpn_box_loss": boxes / divisor}, {"anchors": samples}

    def _sampled(self, proposals, truth):
        """`Rois` of an image."""
        candidates = torch.cat([proposals, truth["boxes"]])
        matched, labels = match(candidates, truth["boxes"], 0.5, 0.5, forced=False)
        positive, negative = sample(labels == 1, labels == 0, 512, 0.25)
        rows = torch.cat([positive, negative])
        objects = torch.where(labels[rows] == 1, matched[rows], -1)
        wanted = encode(candidates[rows], truth["boxes"][matched[rows]], (10.0, 10.0, 5.0, 5.0))
        classes = torch.where(objects >= 0, truth["classes"][objects], self.classes)
        return Rois(positive, negative, candidates[rows], objects, wanted, classes)

    def _roi_losses(self, levels, rois):
        _, logits, deltas = self.classify(levels, [one.boxes for one in rois])
        wanted, classes = (torch.cat([getattr(one, key) for one in rois]) for key in ("deltas", "classes"))
        objects = (classes < self.classes).nonzero()[:, 0]
        own = deltas.reshape(len(deltas), -1, 4)[objects, classes[objects]]
        box_loss = smooth_l1(own - wanted[objects], self.beta).sum() / len(classes)
        return {"roi_class_loss": F.cross_entropy(logits, classes), "roi_box_loss": box_loss}

    def _head_loss(self, head, levels, rois, truth):
        """Of the sampled positives that it learns from."""
        boxes, classes, targets = [], [], []
        for one, image in zip(rois, truth, strict=True):
            count = len(one.positive)
            wanted, chosen = head.targets(image[head.name], one.boxes[:count], one.objects[:count])
            targets.append(wanted)
            boxes.append(one.boxes[chosen])
            classes.append(one.classes[chosen])
        return head.loss(head(pool(levels, boxes, head.pooled)), targets, torch.cat(classes))


class Detector:
    """As `reference_detectron2.Detector`."""

    def __init__(self, name, side=None):
        self.name, self.side = name, side or 800
        family = name.partition("_")[0]
        self.module = Network(
            101 if "R_101" in name else 50, catalogue.model_named(name).classes, family if family in HEADS else None
        ).eval()

    def batch(self, paths):
        """Normalised and padded images, their sizes, and the sizes of the files."""
        pictures = [Image.open(path).convert("RGB") for path in paths]
        resized = []
        for picture in pictures:
            width, height = picture.size
            scale = self.side / min(height, width)
            scale *= min(1.0, 1333 / (max(height, width) * scale))
            size = (int(width * scale + 0.5), int(height * scale + 0.5))
            pixels = np.asarray(picture.resize(size, Image.Resampling.BILINEAR)).astype(np.float32)[..., ::-1].copy()
            resized.append((torch.from_numpy(pixels) - torch.tensor(MEAN)).permute(2, 0, 1))
        sizes = [tuple(image.shape[1:]) for image in resized]
        height, width = (-(-max(size[axis] for size in sizes) // 32) * 32 for axis in range(2))
        padded = [F.pad(image, (0, width - image.shape[2], 0, height - image.shape[1])) for image in resized]
        return torch.stack(padded), sizes, [picture.size[::-1] for picture in pictures]

    def draw(self, paths):
        images, sizes, _ = self.batch(paths)
        return calibration.recipe(self.name, self.module, lambda: self.module(images, sizes))

    def state_dict(self):
        return self.module.state_dict()

    def record(self, batch, paths, recording):
        """Detections and every stage of a batch."""
        images, sizes, original = self.batch(paths)
        with torch.inference_mode():
            seen = self.module(images, sizes)
        recording.keep(f"{batch}/image_sizes", np.array(sizes))
        recording.keep_maps(f"{batch}/pixels", {"all": images})
        recording.keep_maps(f"{batch}/taps", seen["taps"])
        recording.keep_maps(f"{batch}/pyramid", seen["levels"])
        recording.keep_rpn(batch, LEVELS, seen["logits"], seen["deltas"], seen["grid"])
        recording.keep_proposals(batch, *zip(*seen["proposals"], strict=True))
        if "pooled" in seen:
            deltas = seen["box_deltas"].reshape(len(seen["pooled"]), -1, 4)
            recording.keep_heads(batch, seen["pooled"], seen["class_logits"], deltas)
        found, values = seen["detections"], {head.name: [] for head in self.module.heads}
        for image, (boxes, scores, classes) in enumerate(found):
            ratio = _ratio(original[image], sizes[image])
            boxes = clip_boxes_to_image(boxes * ratio, original[image])
            recording.keep_detections(batch, image, boxes, scores, classes)
            for head in self.module.heads:
                logits = seen[head.name].split([len(one) for one, *_ in found])[image]
                answers = head.values(logits, found[image][0], classes)
                values[head.name].append(head.in_picture(answers, boxes, original[image], ratio[:2]))
        for name, of_images in values.items():
            recording.keep_instances(batch, name, [boxes for boxes, *_ in found], seen[name], of_images)

    def train(self, paths, truth, gradients, recording):
        """Losses and gradients of one step, and which anchors and RoIs were sampled.

        A step more for each further rule by which a head may learn, without gradients.
        """
        self._step("training", paths, truth, gradients, recording)
        for head in self.module.heads:
            for rule in head.rules[1:]:
                head.rule = rule
                self._step(rule, paths, truth, [], recording)
            head.rule = head.rules[0]

    def _step(self, step, paths, truth, gradients, recording):
        torch.manual_seed(0)
        images, sizes, original = self.batch(paths)
        wanted = [self._truth(*each) for each in zip(truth, original, sizes, strict=True)]
        losses, samples, proposals = self.module.losses(images, sizes, wanted)
        for name, value in losses.items():
            recording.keep(f"{step}/losses/{name}", value.detach().numpy())
        recording.keep_samples(step, samples, proposals)
        if gradients:
            self.module.zero_grad()
            sum(losses.values()).backward()
            recording.keep_gradients(step, dict(self.module.named_parameters()), gradients)

    def _truth(self, truth, old, new):
        boxes, classes = truth
        scaled = torch.tensor(boxes, dtype=torch.float32) * _ratio(new, old)
        wanted = {"boxes": scaled, "classes": torch.tensor(classes)}
        return wanted | {head.name: head.truth(boxes, old, new) for head in self.module.heads}


def _ratio(to, of):
    y, x = to[0] / of[0], to[1] / of[1]
    return torch.tensor([x, y, x, y])
