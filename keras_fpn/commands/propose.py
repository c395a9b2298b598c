"""`keras-fpn propose`: its options, and its lines on the screen."""


import argparse

from keras_fpn.commands.arguments import (
    add_extension,
    add_reading,
    cache,
    check_annotated,
    check_model,
    positive,
    reading,
)
from keras_fpn.console.screen import import_quietly

HELP = "write the boxes that a model proposes: Fast R-CNN is trained and measured on them"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add its options and what runs it to the parser of the command."""
    parser.add_argument("model", metavar="MODEL", help="an RPN or a Faster R-CNN: .keras file or run folder")
    parser.add_argument("--annotations", metavar="F", required=True, help="COCO instances JSON: names the images")
    parser.add_argument("--images", metavar="DIR", required=True, help="folder of the images")
    parser.add_argument("--out", metavar="DIR", required=True, help="folder to write")
    parser.add_argument("--count", type=positive, metavar="N", default=2000, help="boxes of an image, at most (2000)")
    parser.add_argument("--batch-size", type=positive, metavar="N", default=1, help="images at a time (1)")
    add_reading(parser)
    add_extension(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    from keras_fpn.data.proposal_files import check_proposals_output

    check_model(arguments.model, "propose")
    check_annotated(arguments.annotations, arguments.images)
    how = reading(arguments.overrides, {"invalid_boxes": "drop"})  # of the annotations only the images are used
    check_proposals_output(arguments.out)
    import_quietly()
    from keras_fpn.data.coco import read_coco
    from keras_fpn.data.rewritten_pictures import with_readable_pictures
    from keras_fpn.inference.detecting import check_weights
    from keras_fpn.inference.propose import check_proposing, propose
    from keras_fpn.models.files import load_model

    data_set = read_coco(arguments.annotations, arguments.images, **how)
    (data_set,) = with_readable_pictures([data_set], cache(arguments.overrides))
    model = load_model(arguments.model)
    check_proposing(model, arguments.model)
    check_weights(model, arguments.model)
    most = model.settings["proposals"]["post_nms_top_k_train"]
    if most < arguments.count:
        print(f"note: the model itself keeps {most} boxes of an image (its proposals.post_nms_top_k_train)")
    images, proposals = propose(
        model,
        data_set,
        arguments.out,
        count=arguments.count,
        batch_size=arguments.batch_size,
        name=arguments.model,
    )
    print(f"wrote {proposals} proposals of {images} images, {proposals / images:.0f} each, to {arguments.out}")
    print("next, with those of the training and of the validation images:")
    print("  keras-fpn train CONFIG --set model.architecture=fast_rcnn data.train.proposals=DIR data.val.proposals=DIR")
