"""The pictures by which full int8 quantisation finds the range of every tensor."""

import os

from keras_fpn.console.errors import UserError
from keras_fpn.console.progress import Count
from keras_fpn.export import preprocessing, regular_proposals
from keras_fpn.inference.images import list_images, read_image

MOST_IMAGES = 100  # of a folder with more; two to two hundred gave the demo's detector the same AP to 0.004


class CalibrationImages:
    """Inputs of single images, read anew each time they are gone through; of more than `MOST_IMAGES`, evenly spread.

    Yields `{"images": [1, H, W, 3] of the request's input type, "image_sizes": [1, 2] int32}`, letterboxed, and regular
    proposals for a model that is given some.

    Args:
        images: paths of images or folders, PIL images or arrays.
        request: its `size` is the frame, pixels, its `input_type` the dtype, and `max_proposals` how many, or None.
        rule: the model's `settings["resize"]`.

    Attributes:
        given: how many there were to choose from.

    Raises:
        UserError: there are none, or one of them cannot be read to its end.
    """

    def __init__(self, images, request, rule):
        self._request, self._rule, self._images = request, rule, []
        for image in images:
            self._images += list_images([image]) if isinstance(image, str | os.PathLike) else [image]
        if not self._images:
            raise UserError("--calibration: no images; give files or folders, some 100 images like those it will see")
        self.given = len(self._images)
        step = max(self.given / MOST_IMAGES, 1.0)
        self._images = [self._images[int(index * step)] for index in range(min(self.given, MOST_IMAGES))]
        # To the end, not only the head: a picture that is cut short would stop the conversion half-way.
        with Count("read calibration", len(self._images)) as count:
            for number, image in enumerate(self._images, start=1):
                read_image(image)
                count(number)

    def __len__(self):
        return len(self._images)

    def __iter__(self):
        for image in self._images:
            pixels, _ = read_image(image)
            inputs = preprocessing.letterbox([pixels], self._request.size, self._rule, self._request.input_type)
            if self._request.max_proposals is not None:
                inputs |= regular_proposals.for_images(inputs["image_sizes"], self._request.max_proposals)
            yield inputs
