"""Data sets of TensorFlow Datasets (TFDS), read as COCO's; the package itself is imported when one is read.

    known        what each known data set is: where it has its boxes and labels, and how they are meant
    keys         the features that are named by hand, for a data set that is not known
    names        `tfds:voc/2012@train`; prepared: the folder that a name means, and its splits
    schema       the features that are read, found in a data set
    package      tensorflow-datasets, without its noise; downloading
    examples     examples in the order of their files; offsets: where each begins
    content      examples -> a COCO instances file; boxes: their boxes in pixels; original: joined with COCO's own file
    folder       a COCO-format folder of them
    loading      batches of them
"""
