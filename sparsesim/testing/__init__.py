"""Checks for solvers of your own: what every solver promises, and claims decided over as many seeds as it takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sparsesim._lazy import lazy

if TYPE_CHECKING:
    from sparsesim.testing import strategies as strategies
    from sparsesim.testing.assertions import assert_no_worse_than as assert_no_worse_than
    from sparsesim.testing.assertions import assert_recovers as assert_recovers
    from sparsesim.testing.calibration import Calibration as Calibration
    from sparsesim.testing.calibration import rank_truths as rank_truths
    from sparsesim.testing.conformance import CHECKS as CHECKS
    from sparsesim.testing.conformance import OUTSIDE_CHECKS as OUTSIDE_CHECKS
    from sparsesim.testing.conformance import check_solver as check_solver
    from sparsesim.testing.finding import Finding as Finding
    from sparsesim.testing.finding import Refuted as Refuted
    from sparsesim.testing.finding import Undecided as Undecided
    from sparsesim.testing.outside import solver_of as solver_of
    from sparsesim.testing.parametrize import parametrize_with_checks as parametrize_with_checks
    from sparsesim.testing.sequential import Decision as Decision
    from sparsesim.testing.sequential import ProportionTest as ProportionTest

__all__ = [
    "CHECKS",
    "OUTSIDE_CHECKS",
    "Calibration",
    "Decision",
    "Finding",
    "ProportionTest",
    "Refuted",
    "Undecided",
    "assert_no_worse_than",
    "assert_recovers",
    "check_solver",
    "parametrize_with_checks",
    "rank_truths",
    "solver_of",
]

__getattr__, __dir__ = lazy(
    __name__,
    {
        "assertions": ("assert_no_worse_than", "assert_recovers"),
        "calibration": ("Calibration", "rank_truths"),
        "conformance": ("CHECKS", "OUTSIDE_CHECKS", "check_solver"),
        "finding": ("Finding", "Refuted", "Undecided"),
        "outside": ("solver_of",),
        "parametrize": ("parametrize_with_checks",),
        "sequential": ("Decision", "ProportionTest"),
        "strategies": (),
    },
)
