"""Pictures: boxes where they belong, names and scores inside the picture and apart from each other."""

import numpy as np
import pytest
from PIL import Image

from keras_fpn.parts.output_fields import STANDARD, OutputField
from keras_fpn.reporting import visualize
from keras_fpn.reporting.visualize import (
    class_color,
    contact_sheet,
    draw_boxes,
    draw_detections,
    draw_found,
    draw_ground_truth,
    gallery,
    ground_truth_and_detections,
)


def gray(height, width, value=100):
    return np.full((height, width, 3), value, np.uint8)


def pixels(picture):
    return np.asarray(picture).astype(int)


def where(picture, color):
    """(left, top, right, bottom) of the pixels of one colour, right and bottom exclusive."""
    rows, columns = np.nonzero((pixels(picture) == color).all(axis=-1))
    return columns.min(), rows.min(), columns.max() + 1, rows.max() + 1


def test_box_is_drawn_around_the_object_and_leaves_it_visible():
    picture = draw_boxes(gray(600, 800), [[300, 200, 500, 260]], [""], classes=[2])
    line = 2  # px at 800 px
    assert where(picture, class_color(2))[0::2] == (300 - line, 500 + line)
    assert where(picture, class_color(2))[3] == 260 + line
    assert (pixels(picture)[220:240, 320:480] == 100).all()


def test_eight_pixel_object_in_a_small_image_keeps_its_pixels():
    image = gray(256, 256)
    image[100:108, 50:58] = (250, 240, 0)
    picture = draw_boxes(image, [[50, 100, 58, 108]], ["star"], [0.987], classes=[0])
    assert picture.size == (512, 512)
    inside = pixels(picture)[202:214, 102:114]
    assert (inside == (250, 240, 0)).all(axis=-1).mean() > 0.6  # bicubic edges aside


def test_boxes_at_and_beyond_the_border_stay_visible():
    boxes = [[-20, -20, 30, 30], [570, 300, 700, 500], [0, 0, 600, 400]]
    picture = draw_boxes(gray(400, 600), boxes, ["a", "b", "c"], classes=[0, 1, 2])
    assert picture.size == (600, 400)
    assert where(picture, class_color(2)) == (0, 0, 600, 400)
    assert where(picture, class_color(1))[2:] == (600, 400)


def test_labels_stay_inside_and_apart():
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 560, (30, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(8, 90, (30, 2))], axis=1)
    placer = visualize._LabelPlacer((640, 640), boxes, gap=3)
    places = np.array([placer.place(box, (rng.integers(40, 130), 18)) for box in boxes])
    assert (places[:, :2] >= 0).all() and (places[:, 2:] <= 640).all()
    overlap = visualize._overlaps(places, places)
    np.fill_diagonal(overlap, 0)
    assert overlap.max() == 0  # naive placement covers several of 30 labels


@pytest.mark.parametrize(
    "box", [[0, 0, 20, 10], [500, 0, 511, 8], [504, 504, 512, 512], [0, 500, 9, 512], [0, 0, 512, 512]]
)
def test_label_at_every_corner_is_inside(box):
    placer = visualize._LabelPlacer((512, 512), [box], gap=3)
    x1, y1, x2, y2 = placer.place(np.array(box, float), (90, 18))
    assert 0 <= x1 and 0 <= y1 and x2 <= 512 and y2 <= 512 and (x2 - x1, y2 - y1) == (90, 18)


def test_long_name_loses_its_end_but_not_its_score():
    placer = visualize._LabelPlacer((192, 300), [[5, 50, 60, 90]], gap=3)
    box = np.array([5.0, 50, 60, 90])
    name = "a very long name of a class in somebody's own data set"
    _, place, _, text, _ = visualize._place_label(box, (name, " 0.90"), (0, 0, 0), placer)
    assert text.startswith("a very") and text.endswith("... 0.90") and place[2] <= 192


def test_class_colors_are_dark_enough_for_white_text_and_distinct():
    colors = [class_color(index) for index in range(80)]
    assert len(set(colors)) == 80
    for color in colors:
        linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in np.array(color) / 255]
        luminance = np.dot(linear, (0.2126, 0.7152, 0.0722))
        assert 1.05 / (luminance + 0.05) > 4  # WCAG contrast with white; near-white has below 1.2


def test_nothing_to_draw_and_bad_boxes_change_nothing():
    image = gray(600, 600)
    assert (pixels(draw_boxes(image, [], [])) == 100).all()
    assert (pixels(draw_boxes(image, [[np.nan, 0, 5, 5]], ["a"], [0.5])) == 100).all()


def test_arrays_pictures_and_floats_are_the_same():
    image = gray(600, 600, 130)
    expected = pixels(draw_boxes(image, [[9, 90, 99, 199]], ["cup"]))
    for other in (Image.fromarray(image), image.astype(np.float32), image[..., 0], image[..., :1]):
        assert (pixels(draw_boxes(other, [[9, 90, 99, 199]], ["cup"])) == expected).all()


def test_threshold_and_padding_rows_are_respected():
    detections = {
        "boxes": np.array([[10, 10, 50, 50], [60, 60, 90, 90], [0, 0, 0, 0]]),
        "scores": np.array([0.9, 0.3, 0.0]),
        "classes": np.array([0, 1, -1]),
        "num_detections": 2,
    }
    picture = draw_detections(gray(600, 600), detections, ["cup", "plate"], threshold=0.5)
    assert (pixels(picture) == class_color(0)).all(axis=-1).any()
    assert not (pixels(picture) == class_color(1)).all(axis=-1).any()
    ground_truth = {"boxes": np.array([[10, 10, 50, 50], [0, 0, 0, 0]]), "classes": np.array([1, -1])}
    drawn = draw_ground_truth(gray(600, 600), ground_truth, ["cup", "plate"])
    assert (pixels(drawn) == class_color(1)).all(axis=-1).any()


def batch():
    sizes = np.array([[300, 600], [320, 200]])
    inputs = {"images": np.full((2, 320, 640, 3), 90, np.uint8), "image_sizes": sizes}
    targets = {
        "boxes": np.array([[[10, 10, 90, 90], [0, 0, 0, 0]], [[5, 5, 99, 60], [9, 99, 60, 200]]], np.float32),
        "classes": np.array([[0, -1], [1, 0]]),
        "is_crowd": np.array([[0, 0], [1, 0]]),
    }
    detections = {
        "boxes": targets["boxes"],
        "scores": np.array([[0.9, 0.0], [0.8, 0.7]]),
        "classes": targets["classes"],
        "num_detections": np.array([1, 2]),
    }
    return inputs, targets, detections


def test_pairs_of_a_batch_have_the_padding_cut_off():
    pairs = ground_truth_and_detections(*batch(), ["cup", "plate"])
    assert [picture.size for pair in pairs for picture in pair] == [(600, 300)] * 2 + [(400, 640)] * 2
    sheet = contact_sheet(pairs[0], columns=2, titles=("ground truth", "detections"))
    assert sheet.width > 1200 and sheet.height > 300


def test_gallery_takes_the_first_images():
    class Model:
        class_names = ["cup", "plate"]
        output_fields = STANDARD

        def inference(self, inputs):
            return {"detections": batch()[2]}

    assert len(gallery(Model(), [batch()[:2]] * 3, count=3)) == 3


def test_contact_sheet_places_row_by_row():
    tiles = [Image.new("RGB", (40, 30), color) for color in ("red", "green", "blue")]
    sheet = contact_sheet(tiles, columns=2, gap=4)
    assert sheet.size == (2 * 44 + 4, 2 * 34 + 4)
    assert sheet.getpixel((10, 10)) == (255, 0, 0) and sheet.getpixel((10, 44)) == (0, 0, 255)
    with pytest.raises(ValueError, match="at least one"):
        contact_sheet([])


def test_fields_draw_below_and_above_the_boxes():
    told = []

    class Spots(OutputField):
        name = "spots"

        def under(self, canvas, values):
            told.append((canvas.factor, list(canvas.order), values))
            canvas.picture.paste((1, 2, 3), (0, 0, *canvas.picture.size))

        def over(self, canvas, values):
            for index in canvas.order:
                x, y = (np.array(values[index]) * canvas.factor).tolist()
                canvas.picture.paste((250, 0, index), (x, y, x + 20, y + 20))

    values = {"boxes": [[50, 50, 100, 100], [10, 10, 180, 120]], "spots": [[40, 40], [170, 60]]}
    picture = draw_found(gray(150, 200), values, [*STANDARD, Spots()], ["cup", "plate"], classes=[0, 1])
    assert picture.size == (600, 450) and told == [(3, [1, 0], values["spots"])]  # the small one last
    assert picture.getpixel((450, 420)) == (1, 2, 3), "below the boxes"
    assert where(picture, class_color(1)), "whose outlines are still there"
    assert where(picture, (250, 0, 0)) == (120, 120, 140, 140) and where(picture, (250, 0, 1)) == (510, 180, 530, 200)
    without = draw_found(gray(150, 200), values, STANDARD, ["cup", "plate"], classes=[0, 1])
    assert without.getpixel((450, 420)) == (100, 100, 100) and len(told) == 1


def test_the_truth_of_a_field_may_stand_under_other_keys_and_goes_where_the_image_goes():
    drawn = []

    class Tips(OutputField):
        name, shape, axes, truths = "tips", (2,), "xy", ("tips", "corners")

        def of_truth(self, ground_truth, rows, place):
            found = super().of_truth(ground_truth, rows, place)
            corners = ground_truth.get("corners")
            return found if corners is None else corners[rows] + place.offset

        def over(self, canvas, values):
            drawn.append(np.asarray(values).tolist())

    fields = [*STANDARD, Tips()]
    assert visualize.ground_truth_keys(fields) == ("boxes", "classes", "is_crowd", "tips", "corners")
    truth = {"boxes": [[10, 10, 30, 30], [0, 0, 0, 0], [5, 5, 9, 9]], "classes": [0, -1, 1]}
    tips = {"tips": np.array([[10, 20], [0, 0], [5, 9]])}
    moved = {"ratio": (2, 3), "offset": (100, 50)}
    draw_ground_truth(gray(600, 600), truth | tips, ["cup", "plate"], fields)
    picture = draw_ground_truth(gray(600, 600), truth | tips, ["", ""], fields, **moved)  # without labels
    draw_ground_truth(gray(600, 600), truth | {"corners": np.ones((3, 2))}, ["cup", "plate"], fields, **moved)
    draw_ground_truth(gray(600, 600), truth, ["cup", "plate"], fields)
    assert drawn == [[[10, 20], [5, 9]], [[120, 110], [110, 77]], [[101, 51], [101, 51]]]
    assert where(picture, class_color(0))[2:] == (160 + 3, 140 + 3)  # 30 * 2 + 100, 30 * 3 + 50, and the line


def test_a_batch_brings_what_its_fields_show():
    inputs, targets, detections = batch()
    seen = []

    class Marks(OutputField):
        name, truths = "marks", ("strokes",)

        def of_truth(self, ground_truth, rows, place):
            seen.append((sorted(ground_truth), place.size))
            return ground_truth["strokes"][rows]

    targets = targets | {"strokes": np.zeros((2, len(targets["classes"][0]), 2)), "others": np.zeros(2)}
    detections = detections | {"marks": np.zeros((2, len(detections["scores"][0])))}
    ground_truth_and_detections(inputs, targets, detections, ["cup", "plate"], fields=[*STANDARD, Marks()])
    keys = sorted({"boxes", "classes", "is_crowd", "strokes"} & set(targets))
    assert seen == [(keys, (300, 600)), (keys, (320, 200))]
