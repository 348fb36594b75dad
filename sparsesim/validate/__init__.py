"""Score somebody else's model on worlds with known truth."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sparsesim._lazy import lazy

if TYPE_CHECKING:
    from sparsesim.validate import worlds as worlds
    from sparsesim.validate.adapter import Adapted as Adapted
    from sparsesim.validate.adapter import adapt as adapt
    from sparsesim.validate.files import read_validation as read_validation
    from sparsesim.validate.files import save_validation as save_validation
    from sparsesim.validate.scorecard import Score as Score
    from sparsesim.validate.scorecard import Scorecard as Scorecard
    from sparsesim.validate.scorecard import evaluate as evaluate

__getattr__, __dir__ = lazy(
    __name__,
    {
        "adapter": ("Adapted", "adapt"),
        "files": ("read_validation", "save_validation"),
        "scorecard": ("Score", "Scorecard", "evaluate"),
        "worlds": (),
    },
)
