"""Checks that a solver of yours can be put through: the conformance list that every solver of the package passes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sparsesim._lazy import lazy

if TYPE_CHECKING:
    from sparsesim.testing.conformance import CHECKS as CHECKS
    from sparsesim.testing.conformance import check_solver as check_solver

__getattr__, __dir__ = lazy(__name__, {"conformance": ("CHECKS", "check_solver")})
