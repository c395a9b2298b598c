"""Pictures of a data set that training cannot read, told by their first bytes before hours of training end at one.

Looked at are a few spread over the data set, and all that are not called JPEG or PNG.
"""

from collections.abc import Callable, Iterator

from keras_fpn.console.errors import UserError
from keras_fpn.data import rewriting
from keras_fpn.data.coco import CocoDataset, Record
from keras_fpn.data.objects import shown
from keras_fpn.data.picture_contents import content_of

_SPREAD = 8  # looked at whatever they are called
_TRUSTED = (".jpg", ".jpeg", ".jpe", ".jfif", ".png")


def refuse_unread(data_set: CocoDataset) -> None:
    """Refuse pictures that the graph does not read and that can be rewritten, such as TIFF.

    Raises:
        UserError: there are some; names the first, their number and what can be done.
    """
    _refuse(data_set, rewriting.unread, rewriting.MEND)


def refuse_foreign(data_set: CocoDataset) -> None:
    """Refuse files of other known kinds, such as JPEG 2000, PDF or a pointer of Git LFS.

    What is damaged, or of no known kind, is told when it is decoded.

    Raises:
        UserError: there are some; names the first, their number and what can be done.
    """
    _refuse(data_set, rewriting.foreign, rewriting.REPLACE)


def head_of(record: Record) -> bytes:
    """The first bytes of a picture, up to `rewriting.HEAD`; none where it cannot be read."""
    if record.place is None:
        return rewriting.head_of(record.path)
    try:
        return content_of(record)[: rewriting.HEAD]
    except UserError:  # told when it is decoded
        return b""


def _refuse(data_set: CocoDataset, kind_of: Callable[[bytes], str | None], mend: str) -> None:
    heads = ((record, kind_of(head_of(record))) for record in _looked_at(data_set))
    found = [(record, kind) for record, kind in heads if kind is not None]
    if not found:
        return
    record, kind = found[0]
    more = f"; so are {len(found) - 1} more of {len(data_set)} images" if len(found) > 1 else ""
    raise UserError(
        f"{shown(record.name)}: image {record.image_id} of {data_set.annotations} is {kind}, {mend}{more}"
    )


def _looked_at(data_set: CocoDataset) -> Iterator[Record]:
    last = len(data_set) - 1
    spread = {round(place * last / (_SPREAD - 1)) for place in range(_SPREAD)}
    for index, record in enumerate(data_set.records):
        if index in spread or not record.file_name.lower().endswith(_TRUSTED):
            yield record
