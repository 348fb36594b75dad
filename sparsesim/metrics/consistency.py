"""Whether a method finds the same dictionary again from another initialisation; no truth is needed.

Agreement is not correctness: a method may be wrong in the same way every time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations
from typing import Protocol, TypeAlias, runtime_checkable

import numpy as np

from sparsesim._arrays import FloatArray
from sparsesim.metrics.chance import chance_mcc
from sparsesim.metrics.evaluation import Fitted, cosines, match_rows


@runtime_checkable
class Ensemble(Protocol):
    """Anything that holds several fits, such as what a `ConsistencyCell` evaluates to."""

    @property
    def dictionaries(self) -> Sequence[Fitted]:
        """Return the fits, two or more."""
        ...


Dictionaries: TypeAlias = Sequence[FloatArray | Fitted] | Ensemble


def _atoms(dictionaries: Dictionaries) -> list[FloatArray]:
    members = dictionaries.dictionaries if isinstance(dictionaries, Ensemble) else dictionaries
    atoms = [np.asarray(item if isinstance(item, np.ndarray) else item.atoms) for item in members]
    if len(atoms) < 2:
        raise ValueError(f"agreement needs at least two dictionaries; got {len(atoms)}.")
    shapes = sorted({item.shape for item in atoms})
    if any(len(shape) != 2 or 0 in shape or shape[1] != shapes[0][1] for shape in shapes):
        raise ValueError(f"dictionaries must be non-empty (p, d) arrays of one dimension d; got shapes {shapes}.")
    return atoms


def _mean_over_pairs(atoms: list[FloatArray], score: Callable[[FloatArray, FloatArray], float]) -> float:
    return float(np.mean([score(a, b) for a, b in combinations(atoms, 2)]))


def pairwise_mcc(dictionaries: Dictionaries) -> float:
    """Return the mean over pairs of dictionaries of their matched |cos|; 1 if all agree up to order and sign.

    Parameters
    ----------
    dictionaries : two or more ``(p, d)`` arrays or fits, or an object that has them as ``dictionaries``. Where two
        widths differ, the sum is divided by the larger: an atom without a partner counts 0.

    Raises
    ------
    ValueError
        For fewer than two dictionaries, or for different dimensions.

    References
    ----------
    Song et al. (2025), arXiv:2505.20254, "PW-MCC".
    """

    def agreement(a: FloatArray, b: FloatArray) -> float:
        return float(match_rows(np.abs(cosines(a, b))).similarity.sum()) / max(len(a), len(b))

    return _mean_over_pairs(_atoms(dictionaries), agreement)


def pairwise_mcc_chance(dictionaries: Dictionaries) -> float:
    """Return the `pairwise_mcc` that random dictionaries of these widths reach: its floor.

    Atoms that are exactly zero are no directions and match nothing, here as in `pairwise_mcc`.
    """

    def level(a: FloatArray, b: FloatArray) -> float:
        wide, narrow = sorted((int(a.any(axis=1).sum()), int(b.any(axis=1).sum())), reverse=True)
        share = wide / max(len(a), len(b))
        return chance_mcc(wide, narrow, a.shape[1]).mean * share if narrow else 0.0

    return _mean_over_pairs(_atoms(dictionaries), level)
