"""A ruler for sparse autoencoders and sparse coding: worlds with known truth, solvers, and metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sparsesim._lazy import lazy

if TYPE_CHECKING:
    from sparsesim import generators as generators
    from sparsesim import metrics as metrics
    from sparsesim import report as report
    from sparsesim import solvers as solvers
    from sparsesim import study as study
    from sparsesim import testing as testing
    from sparsesim._identity import Role as Role
    from sparsesim._identity import key as key
    from sparsesim._identity import stream as stream
    from sparsesim.validate import worlds as worlds
    from sparsesim.validate.adapter import adapt as adapt
    from sparsesim.validate.folder import load_model as load_model
    from sparsesim.validate.scorecard import evaluate as evaluate
    from sparsesim.validate.validation import validate as validate  # the package, which is called as this function

__version__ = "0.1.0"

__getattr__, __dir__ = lazy(
    __name__,
    {
        "_identity": ("Role", "key", "stream"),
        "validate": ("adapt", "evaluate", "load_model", "worlds"),
        "generators": (),
        "metrics": (),
        "report": (),
        "solvers": (),
        "study": (),
        "testing": (),
    },
)
