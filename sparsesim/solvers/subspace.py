"""Pursuits in which atoms compete for k places and may lose them again: subspace pursuit and CoSaMP."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import final

from sparsesim._arrays import Codes, FloatArray, check_int, check_real
from sparsesim.kernels.support import EXCHANGE
from sparsesim.solvers.supports import searched


@dataclass(frozen=True)
class _Exchange(ABC):
    """The fields of a pursuit in which atoms compete for k places, and its encoding by `searched`."""

    k: int
    non_negative: bool = False
    tolerance: float = 0.0
    max_iter: int = 100

    def __post_init__(self) -> None:
        check_int("k", self.k, 1)
        check_real("tolerance", self.tolerance, 0.0, 1.0)
        check_int("max_iter", self.max_iter, 1)

    @property
    @abstractmethod
    def _rule(self) -> tuple[int, bool]:
        """How many atoms compete with those kept, and whether to go on from least squares on what was kept."""

    def encode(self, x: FloatArray, atoms: FloatArray) -> Codes:
        """Return the codes ``(n, p)`` of centred samples ``x (n, d)``; raises ValueError where k exceeds min(p, d)."""
        return self.encode_from(x, atoms, None)

    def encode_from(self, x: FloatArray, atoms: FloatArray, start: Codes | None) -> Codes:
        """Return codes ``(n, p)`` that fit no worse than least squares on the atoms of ``start (n, p)``.

        Of ``start`` the k largest codes of a row count (the positive ones, if ``non_negative``). Another start may end
        at another support.

        Raises
        ------
        ValueError, TypeError
            As by `encode`, or if ``start`` is not finite codes ``(n, p)``.
        """
        extra, project = self._rule
        options = (float(min(extra, len(atoms))), float(project), self.max_iter)
        return searched(EXCHANGE, x, atoms, self, options, start)


@final
@dataclass(frozen=True)
class SubspacePursuit(_Exchange):
    """Encodes by least squares on at most k atoms that no exchange with the k best others improves.

    From S, with residual r = x - z A, a step solves least squares on S and the k atoms of largest |correlation| with
    r (the lowest index wins ties), keeps the k largest coefficients, solves again, and ends the row where the residual
    does not fall; the codes are least squares on what was kept last. An atom that depends on others of its support
    (squared distance below 1e-10) gets no coefficient. Computed in float64 whatever the precision of ``x``; a row also
    ends when no correlation is told from rounding (64 eps ||x||).

    Parameters
    ----------
    k : atoms a row, in [1, min(p, d)]; recovery is guaranteed only well below d / 2, where 2 k atoms are independent.
    non_negative : compete by positive correlation and solve non-negative least squares.
    tolerance : a row ends when its residual norm is at most this fraction of its norm.
    max_iter : steps at most.

    References
    ----------
    Dai and Milenkovic (2009), "Subspace pursuit for compressive sensing signal reconstruction", arXiv:0803.0811,
    Algorithm 1.
    """

    @property
    def _rule(self) -> tuple[int, bool]:
        return self.k, True


@final
@dataclass(frozen=True)
class CoSaMP(_Exchange):
    """Encodes by least squares on at most k atoms found by compressive sampling matching pursuit.

    A step solves least squares on the atoms kept and the 2k of largest |correlation| with the residual, and cuts to
    the k largest coefficients; the next residual is that of what was cut, not of a new solution (this is what differs
    from `SubspacePursuit`, beside 2k). A row ends where least squares on the kept atoms does not improve, and is coded
    by that: the published algorithm returns the cut coefficients, which are never closer to x. Numbers and early ends
    are those of `SubspacePursuit`.

    Parameters
    ----------
    k : atoms a row, in [1, min(p, d)]; recovery is guaranteed only well below d / 3, where 3 k atoms are independent.
    non_negative : compete by positive correlation and solve non-negative least squares.
    tolerance : a row ends when its residual norm is at most this fraction of its norm.
    max_iter : steps at most.

    References
    ----------
    Needell and Tropp (2009), "CoSaMP: iterative signal recovery from incomplete and inaccurate samples",
    arXiv:0803.2392, Algorithm 2.1.
    """

    @property
    def _rule(self) -> tuple[int, bool]:
        return 2 * self.k, False
