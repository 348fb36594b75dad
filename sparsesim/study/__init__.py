"""Studies: cells with a key, a store that survives a kill, engines that run cells, and the table that comes out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sparsesim._lazy import lazy

# Not lazy: the functions run and table bear the names of their modules, which would hide them once imported.
# Nothing heavy comes with them: neither torch nor numba.
from sparsesim.study.run import run as run
from sparsesim.study.run import table as table

if TYPE_CHECKING:
    from sparsesim.study.adaptive import Contour as Contour
    from sparsesim.study.adaptive import run_near as run_near
    from sparsesim.study.cell import Cell as Cell
    from sparsesim.study.cell import Consistency as Consistency
    from sparsesim.study.cell import ConsistencyCell as ConsistencyCell
    from sparsesim.study.cell import FitCell as FitCell
    from sparsesim.study.cell import Labels as Labels
    from sparsesim.study.cell import OracleCell as OracleCell
    from sparsesim.study.cell import Scalar as Scalar
    from sparsesim.study.cell import Study as Study
    from sparsesim.study.cell import labels as labels
    from sparsesim.study.engine import Engine as Engine
    from sparsesim.study.engine import Inline as Inline
    from sparsesim.study.engine import Local as Local
    from sparsesim.study.engine import make_engine as make_engine
    from sparsesim.study.grid import Grid as Grid
    from sparsesim.study.grouping import Grouped as Grouped
    from sparsesim.study.grouping import grouped as grouped
    from sparsesim.study.interval import Interval as Interval
    from sparsesim.study.interval import mean_interval as mean_interval
    from sparsesim.study.interval import paired_interval as paired_interval
    from sparsesim.study.interval import seeds_needed as seeds_needed
    from sparsesim.study.policy import Policy as Policy
    from sparsesim.study.power import detectable_difference as detectable_difference
    from sparsesim.study.power import holm as holm
    from sparsesim.study.power import paired_p_value as paired_p_value
    from sparsesim.study.power import paired_power as paired_power
    from sparsesim.study.provenance import code_digest as code_digest
    from sparsesim.study.run import StudyFailedError as StudyFailedError
    from sparsesim.study.run import progress as progress
    from sparsesim.study.run import study_keys as study_keys
    from sparsesim.study.store import Store as Store
    from sparsesim.study.store import StoreConflictError as StoreConflictError
    from sparsesim.study.table import Table as Table
    from sparsesim.study.upkeep import fsck as fsck
    from sparsesim.study.upkeep import retry as retry
    from sparsesim.study.upkeep import status as status

__getattr__, __dir__ = lazy(
    "sparsesim.study",
    {
        "adaptive": ("Contour", "run_near"),
        "cell": (
            "Cell",
            "Consistency",
            "ConsistencyCell",
            "FitCell",
            "Labels",
            "OracleCell",
            "Scalar",
            "Study",
            "labels",
        ),
        "engine": ("Engine", "Inline", "Local", "make_engine"),
        "grid": ("Grid",),
        "grouping": ("Grouped", "grouped"),
        "interval": ("Interval", "mean_interval", "paired_interval", "seeds_needed"),
        "policy": ("Policy",),
        "power": ("detectable_difference", "holm", "paired_p_value", "paired_power"),
        "provenance": ("code_digest",),
        "run": ("StudyFailedError", "progress", "study_keys"),
        "store": ("Store", "StoreConflictError"),
        "table": ("Table",),
        "upkeep": ("fsck", "retry", "status"),
    },
)
