"""Published weights: read without running anything of theirs, and named as our layers are.

    conversion
              what `keras-fpn convert` does: file -> model, and back
    files     read_checkpoint, write_safetensors: the file formats
    pickles   pickles read as data
    keras_hub presets of KerasHub's RetinaNet, under torchvision's names
    tensors   tensors that still lie in their file
    torchvision, detectron2
              the sources: names, the order of classes, the backbone of a file
    published/
              what files they publish, a file for each kind
    recognition, foreign
              which source and kind a file is; what is none of ours
    entries, variables
              tensors <-> variables, by the tables that stand beside the parts; every tensor accounted for
    sizes     widths and depths, read off shapes
    classes, class_names
              which classes the rows of a file's predictors are
    torchvision_writing
              a model as a file of torchvision's
    weighted_layers, transfer, weights_file
              the weights of one model as the start of another
    beginning
              a model that is made with weights
    published_files, published_cache, downloading
              published files by name: the table, the folder of them here, what fills it
"""
