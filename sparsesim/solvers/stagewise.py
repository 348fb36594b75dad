"""Stagewise orthogonal matching pursuit: all atoms that stand out are chosen at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from sparsesim._arrays import Codes, FloatArray, check_int, check_real
from sparsesim.kernels.support import STAGES
from sparsesim.solvers.supports import searched


@final
@dataclass(frozen=True)
class StagewisePursuit:
    """Encodes by least squares on atoms chosen in a few stages, all those above a level at once (StOMP).

    A stage adds the atoms whose |correlation| with the residual r exceeds ``level * ||r|| / sqrt(d)``, the standard
    deviation of the correlation of r with a random direction, and solves least squares on all chosen. Of more than
    there is room for, those of largest |correlation| are added (the lowest index wins ties). A row ends when no atom
    stands out, when it has k atoms, or when no correlation is told from rounding (64 eps ||x||). An atom that depends
    on others of the support (squared distance below 1e-10) gets no coefficient. Computed in float64.

    Parameters
    ----------
    k : atoms a row at most, in [1, min(p, d)].
    level : of a stage, in standard deviations; the paper advises 2 to 3.
    stages : at most; the paper uses 10.
    non_negative : choose by positive correlation and solve non-negative least squares.
    tolerance : a row ends when its residual norm is at most this fraction of its norm.

    References
    ----------
    Donoho, Tsaig, Drori, Starck (2012), "Sparse solution of underdetermined systems of linear equations by stagewise
    orthogonal matching pursuit". The cap k is not in the paper.
    """

    k: int
    level: float = 2.5
    stages: int = 10
    non_negative: bool = False
    tolerance: float = 0.0

    def __post_init__(self) -> None:
        check_int("k", self.k, 1)
        check_real("level", self.level, 0.0)
        check_int("stages", self.stages, 1)
        check_real("tolerance", self.tolerance, 0.0, 1.0)

    def encode(self, x: FloatArray, atoms: FloatArray) -> Codes:
        """Return the codes ``(n, p)`` of centred samples ``x (n, d)``; raises ValueError where k exceeds min(p, d)."""
        return self.encode_from(x, atoms, None)

    def encode_from(self, x: FloatArray, atoms: FloatArray, start: Codes | None) -> Codes:
        """Return codes ``(n, p)`` whose stages add to the k largest of each row of ``start (n, p)``.

        They fit no worse than least squares on these. With ``non_negative`` the positive ones count.

        Raises
        ------
        ValueError, TypeError
            As by `encode`, or if ``start`` is not finite codes ``(n, p)``.
        """
        return searched(STAGES, x, atoms, self, (float(self.level), 0.0, self.stages), start)
