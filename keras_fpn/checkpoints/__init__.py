"""Published weights: read without running anything of theirs, and named as our layers are.

    files     read_checkpoint, write_safetensors: the file formats
    pickles   pickles read as data
    tensors   tensors that still lie in their file
"""
