"""How a long command ends: done, or stopped and to be resumed."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from keras_fpn.console.exits import INTERRUPTED

if TYPE_CHECKING:
    from keras_fpn.training.training import Outcome

def told(outcome: "Outcome", table: Callable[[Any], str] | None = None) -> int:
    """Tell how a run ended; returns the exit code."""
    if not outcome.interrupted:
        if table:
            print(f"{table(outcome.metrics)}\ndone: {outcome.run_dir}")
        return 0
    print(f"stopped at step {outcome.step} of {outcome.total_steps}; resume with:")
    print(f"  keras-fpn train --resume {outcome.run_dir}")
    return INTERRUPTED
