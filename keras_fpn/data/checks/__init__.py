"""Faults of a data set: found, counted, shown, mended. Nothing here imports TensorFlow, but `decoding`.

    finding      a kind of findings, how bad it is, and examples of it
    half_table   a half as columns, whatever is wrong in it; entry_columns: of values that may be none
    pictures     what the first and last bytes of the image files say
    subject      what is checked: a half, its pictures, the rule of its sizes
    table        the checks, family by family: ids, boxes, duplicates, outlines, categories, images, shared_pictures
    checking     all of it put together; quick: the half of it that a training run begins with
    decoding     every pixel, as training reads it
    mending      annotations written anew; mended_images: their images, resized_entries: objects on resized pictures
    distributions
                 histograms
"""
