"""From a row of a table to what is trained for it: a configuration, a procedure, and what of other rows it needs."""

import dataclasses

TRAIN, TWO_STEPS, FOUR_STEPS = "train", "two steps", "four steps"


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How the figures of a row come about.

    Attributes:
        config: name of a shipped configuration.
        procedure: `TRAIN`, one run; `TWO_STEPS`, an RPN and a Fast R-CNN on its proposals, each with features of its
            own; `FOUR_STEPS`, the same and then features shared.
        proposals_of: the configuration whose RPN proposes the boxes that this row is trained on, or None.
        networks: the folders, inside the run, of the models that an image goes through; the last one's metrics are the
            row's. "" is the run itself.
    """

    config: str
    procedure: str = TRAIN
    proposals_of: str | None = None
    networks: tuple[str, ...] = ("",)


_NOT_SHARED = ("1_rpn", "2_fast_rcnn")

RECIPES = {
    "table1": {name: Recipe(f"paper/table1_{name}") for name in "abcdef"},
    "table2": {name: Recipe(f"paper/table2_{name}", proposals_of="paper/table1_c") for name in "abcdef"},
    "table3": {name: Recipe(f"paper/table3_{name}", TWO_STEPS, networks=_NOT_SHARED) for name in "abc"},
    # One run of four steps gives both lines: its second step is the detector that shares nothing.
    "table5": {
        "r50_no": Recipe("paper/table5_r50", FOUR_STEPS, networks=_NOT_SHARED),
        "r50_yes": Recipe("paper/table5_r50", FOUR_STEPS),
        "r101_no": Recipe("paper/table5_r101", FOUR_STEPS, networks=_NOT_SHARED),
        "r101_yes": Recipe("paper/table5_r101", FOUR_STEPS),
    },
    "table6": {name: Recipe(f"paper/table6_{name}") for name in ("5x5", "7x7", "dual", "dual_28", "dual_28_2x")},
}
