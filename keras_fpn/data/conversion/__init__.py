"""Data sets written anew in another format, with nothing lost.

    convert      the whole road
    sources      a data set read and checked
    division     a half divided into two
    pictures     a picture brought over; target_names: under which name
    coco_files, voc_files, yolo_files
                 writers
    companions   what a format has no place for, kept beside it

Nothing here imports TensorFlow.
"""

from keras_fpn.data.conversion.convert import WRITERS, Converted, convert

__all__ = ["WRITERS", "Converted", "convert"]
