"""Score somebody else's model on worlds with known truth.

The package is also a function: ``sparsesim.validate(factory)`` is ``sparsesim.validate.validate(factory)``.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

from sparsesim._lazy import lazy

if TYPE_CHECKING:
    from sparsesim.validate import worlds as worlds
    from sparsesim.validate.adapter import Adapted as Adapted
    from sparsesim.validate.adapter import adapt as adapt
    from sparsesim.validate.export import export_saelens as export_saelens
    from sparsesim.validate.files import read_validation as read_validation
    from sparsesim.validate.files import save_validation as save_validation
    from sparsesim.validate.folder import load_model as load_model
    from sparsesim.validate.protocol import PROTOCOLS as PROTOCOLS
    from sparsesim.validate.protocol import Arena as Arena
    from sparsesim.validate.protocol import Protocol as Protocol
    from sparsesim.validate.result import Cause as Cause
    from sparsesim.validate.result import Comparison as Comparison
    from sparsesim.validate.result import Outcome as Outcome
    from sparsesim.validate.result import Portrait as Portrait
    from sparsesim.validate.result import Standing as Standing
    from sparsesim.validate.result import Validation as Validation
    from sparsesim.validate.scorecard import Score as Score
    from sparsesim.validate.scorecard import Scorecard as Scorecard
    from sparsesim.validate.scorecard import evaluate as evaluate
    from sparsesim.validate.validation import validate as validate
    from sparsesim.validate.versus import versus as versus

__getattr__, __dir__ = lazy(
    __name__,
    {
        "adapter": ("Adapted", "adapt"),
        "export": ("export_saelens",),
        "files": ("read_validation", "save_validation"),
        "folder": ("load_model",),
        "protocol": ("PROTOCOLS", "Arena", "Protocol"),
        "result": ("Cause", "Comparison", "Outcome", "Portrait", "Standing", "Validation"),
        "scorecard": ("Score", "Scorecard", "evaluate"),
        "validation": ("validate",),
        "versus": ("versus",),
        "worlds": (),
    },
)


class _Function(ModuleType):
    """A package that can be called, since one name has to stand for both."""

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        from sparsesim.validate.validation import validate

        return validate(*arguments, **named)


sys.modules[__name__].__class__ = _Function
