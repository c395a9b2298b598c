"""The tables of the FPN paper (Lin et al., CVPR 2017), run row by row: `keras-fpn paper table1`.

    tables        what the paper prints: rows, columns, figures, and which row it finds best
    rows          what each row is trained from: a configuration, and what it needs from other rows
    embedded      how every row is brought to the embedded data set, all in the same way
    given         data and weights that the command is given
    experiments   the runs of a table: those that are finished are kept, those that were stopped go on
    estimate      how long the runs will take, said before the first one and after each
    findings      what is measured of a finished run beside its metrics: curve, anchors, milliseconds
    curve         average recall against the number of proposals
    summary       mean and spread over the seeds, and which of the paper's orderings hold
    pictures      the same few images in every row
    page          the table as Markdown, as CSV and as a page with pictures
    command       all of it in order
"""
