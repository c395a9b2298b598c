"""Given proposals: boxes of an image that are no objects, read from their folder when the image's turn comes."""

from collections.abc import Callable, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from keras_fpn.data.fields.boxes import BoxRows
from keras_fpn.data.proposal_files import ImageProposals
from keras_fpn.data.tfrecord_files import record_at

if TYPE_CHECKING:
    import tensorflow as tf

    from keras_fpn.data.coco import Record


class Proposals(BoxRows):
    """The best boxes of a folder of proposals: inputs of a batch, not targets.

    Args:
        proposals: those of the data set's images; at most `proposals.max_proposals` of an image are given.
    """

    name, part = "proposals", "inputs"
    refuses = MappingProxyType(
        {
            "crop": "crops images, and given proposals are of whole ones",
            "join": "joins images, and given proposals are of single ones",
            "cover": "covers objects, and given proposals are of all that are seen",
        }
    )

    def __init__(self, proposals: ImageProposals):
        self.proposals = proposals

    def source(self, records: "Sequence[Record]") -> "Callable[[tf.Tensor], tf.Tensor]":
        """See `ObjectField`; TensorFlow reads the file when an image's turn comes: COCO's would fill the memory."""
        import tensorflow as tf

        file = tf.constant(self.proposals.file)
        offsets = tf.constant(self.proposals.offsets([record.image_id for record in records]), tf.int64)

        def load(index):
            numbers = tf.io.decode_raw(record_at(file, offsets[index]), tf.float32)
            return tf.reshape(numbers, [-1, 4])[: self.proposals.max_proposals]

        return load

    def of_batch(self, rows: "tf.Tensor") -> "dict[str, tf.Tensor]":
        """`{"proposals": [most, 4], "num_proposals": how many of them are proposals}`."""
        import tensorflow as tf

        boxes = tf.ensure_shape(self.pad(rows, self.proposals.max_proposals), [self.proposals.max_proposals, 4])
        return {self.name: boxes, f"num_{self.name}": tf.shape(rows)[0]}

    def batch_padding(self) -> dict[str, Any]:
        """See `ObjectField`."""
        return {self.name: 0.0, f"num_{self.name}": 0}
