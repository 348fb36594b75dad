"""How many true features were found, read from the atoms alone.

The mean over TRUE atoms and the mean over LEARNED atoms answer two questions (is everything found? is everything found
real?), and a score that divides by the smaller of the two widths answers neither: see `sparsesim.metrics.peer`.
"""

from __future__ import annotations

import numpy as np

from sparsesim._arrays import FloatArray, unit_rows
from sparsesim.metrics.chance import chance_mcc
from sparsesim.metrics.evaluation import Judged

_DUPLICATE = 0.95
_BLOCK = 2**24  # entries of the (p, p) Gram matrix held at once


def mcc(evaluation: Judged) -> float:
    """Return the matched |cos| summed over a one-to-one matching and divided by m, in [0, min(1, p/m)].

    ``MCC = (1/m) max_pi sum_i |<d_i, a_pi(i)>|``: a true feature without a partner counts 0, so a dictionary narrower
    than the truth cannot reach 1 and surplus atoms do not help beyond chance. Read it against `mcc_chance`.
    """
    return float(evaluation.match.similarity.sum() / evaluation.truth.atoms.shape[0])


def mcc_learned(evaluation: Judged) -> float:
    """Return the matched |cos| summed over a one-to-one matching and divided by p: surplus atoms count 0.

    0 for a dictionary without atoms.
    """
    return float(evaluation.match.similarity.sum() / max(evaluation.fitted.atoms.shape[0], 1))


def mcc_signed(evaluation: Judged) -> float:
    """Return the matched signed cosine summed over a one-to-one matching and divided by m, in [0, 1].

    For worlds of non-negative codes, where the sign of an atom is no gauge: an atom that points against a feature
    leaves it unmatched, and so counts 0 (never less, or appending a dead atom would raise the score).
    """
    return float(evaluation.match_signed.similarity.sum() / evaluation.truth.atoms.shape[0])


def mmcs(evaluation: Judged) -> float:
    """Return the mean over true atoms of the largest |cos| with any learned atom; several may share one atom.

    Never less than `mcc`. Its chance level is `sparsesim.metrics.chance.chance_mmcs`.

    References
    ----------
    Sharkey, Braun and Millidge (2022), "Taking features out of superposition with sparse autoencoders".
    """
    return float(np.abs(evaluation.cosines).max(axis=1, initial=0.0).mean())


def mmcs_learned(evaluation: Judged) -> float:
    """Return the mean over learned atoms of the largest |cos| with any true atom; 0 for a dictionary without atoms.

    It is 1 for a dictionary that has learned one feature p times over: read it beside `uniqueness`.
    """
    best = np.abs(evaluation.cosines).max(axis=0, initial=0.0)
    return float(best.sum() / max(len(best), 1))


def _recovered(evaluation: Judged, threshold: float) -> float:
    found = np.count_nonzero(evaluation.match.similarity >= threshold)
    return float(found / evaluation.truth.atoms.shape[0])


def recovered_at_90(evaluation: Judged) -> float:
    """Return the fraction of true atoms whose one-to-one partner has |cos| >= 0.90."""
    return _recovered(evaluation, 0.90)


def recovered_at_95(evaluation: Judged) -> float:
    """Return the fraction of true atoms whose one-to-one partner has |cos| >= 0.95."""
    return _recovered(evaluation, 0.95)


def recovered_at_99(evaluation: Judged) -> float:
    """Return the fraction of true atoms whose one-to-one partner has |cos| >= 0.99."""
    return _recovered(evaluation, 0.99)


def mcc_chance(evaluation: Judged) -> float:
    """Return the `mcc` that random directions reach at this (m, p, d), the floor of the score.

    The average over random true directions; for these very ones see `chance_mcc_against`. Atoms that are exactly
    zero are no directions and are not counted. Simulated to a standard error below 0.002.
    """
    truth, learned = evaluation.truth.atoms, evaluation.fitted.atoms
    m, p = int(truth.any(axis=1).sum()), int(learned.any(axis=1).sum())
    if min(m, p) == 0:
        return 0.0
    return chance_mcc(m, p, truth.shape[1]).mean * m / len(truth)


def mcc_corrected(evaluation: Judged) -> float:
    """Return (mcc - chance) / (1 - chance): 0 is chance, 1 is every feature found; it can be negative.

    0 where chance alone reaches 1 (d = 1), since nothing can be shown there. With p < m the largest value is
    (p/m - chance) / (1 - chance).
    """
    chance = mcc_chance(evaluation)
    return 0.0 if chance >= 1.0 else (mcc(evaluation) - chance) / (1.0 - chance)


def _distinct(atoms: FloatArray) -> float:
    """Return sum_i 1/|N_i| over the unit rows, N_i the rows (i among them) with |cos| > 0.95 to row i."""
    total, step = 0.0, max(1, _BLOCK // max(len(atoms), 1))
    for start in range(0, len(atoms), step):
        near = np.abs(atoms[start : start + step] @ atoms.T) > _DUPLICATE
        total += float((1.0 / np.maximum(near.sum(axis=1), 1)).sum())
    return total


def uniqueness(evaluation: Judged) -> float:
    """Return the fraction of learned atoms that are no duplicates, 1 - duplicates / p; 1 for p = 0.

    ``duplicates = sum_i (1 - 1/|N_i|)`` with N_i the atoms of |cos| > 0.95 to atom i, itself included: c copies of one
    atom are c - 1 duplicates. The order of the atoms does not matter, as it would for "has an earlier near copy", and
    at least ``p - duplicates`` atoms exist of which no two are near (Caro and Wei). Atoms that are exactly zero are
    dead, not duplicates. The truth is not read: it may itself hold near copies.

    References
    ----------
    Caro (1979), "New results on the independence number"; Wei (1981).
    """
    unit, norms = unit_rows(np.asarray(evaluation.fitted.atoms, dtype=np.float64))
    live = unit[norms > 0]
    return 1.0 - (len(live) - _distinct(live)) / max(len(unit), 1)
