"""What a dictionary makes of features that have parents: absorption, hedging between parent and child, levels.

A child fires only where its parent does. A dictionary absorbs the parent where the child's latent writes the parent's
direction and the parent's own latent keeps silent. Each score is a mean over parent-child pairs of the law that made
the world (`parent_edges`), read through the one-to-one matching of the evaluation: where features are rare or the
matching is poor, `mcc` says how much of it can be believed. All are NaN in a world without such pairs.

References
----------
Chanin et al. (2024), "A is for absorption", arXiv:2409.14507; Chanin, Dulka and Garriga-Alonso (2025), "Feature
hedging", arXiv:2505.11756; Costa et al. (2025), "From flat to hierarchical: extracting sparse representations with
matching pursuit", arXiv:2506.03093, for the errors within and between levels.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import numpy.typing as npt
from scipy.sparse import csc_array, csr_array

from sparsesim._arrays import FloatArray, IntArray, unit_rows
from sparsesim.metrics.evaluation import Evaluation, Truth

_PARALLEL = 1e-8  # a direction of which less than this is outside another's has no part of its own
_CARRIED = 0.5  # of the parent's own magnitude, from which on a child's latent counts as carrying the parent
_BLOCK = 2**22  # entries of a Gram matrix held at once


def _pairs(law: Any) -> Iterator[tuple[int, int]]:
    base, order = getattr(law, "base", None), getattr(law, "order", None)
    if base is not None and order is not None:  # the features of another law in another order
        place = {feature: index for index, feature in enumerate(order)}
        yield from ((place[parent], place[child]) for parent, child in _pairs(base))
        return
    parents = getattr(law, "parents", None)
    if parents is None:
        if hasattr(law, "law"):  # supports of another law, of which a list was drawn
            yield from _pairs(law.law)
        return
    first = law.n_features - len(parents)  # where only features below the roots have an entry, roots come first
    for child, above in enumerate(parents, start=first):
        for parent in above if isinstance(above, tuple) else (above,):
            if parent >= 0:
                yield parent, child


def parent_edges(truth: Truth) -> IntArray:
    """Return the (parent, child) pairs ``(E, 2)`` of the law by which features fire; none where it has no hierarchy.

    Read from ``truth.spec.support``: one parent each (`Forest`, `SynthSAEBenchSupport`, with -1 for a root), several
    (`AcyclicGraph`), or only those below the roots (`ForestOver`), also of a law relabelled or listed. A truth
    without a specification has none. Blocks with trees inside (`BlockSupport`) are not looked into.
    """
    law = getattr(getattr(truth, "spec", None), "support", None)
    pairs = [] if law is None else list(_pairs(law))
    return np.array(pairs, dtype=np.int64).reshape(-1, 2)


def levels(edges: IntArray, m: int) -> IntArray:
    """Return the number of edges on the longest way from a root to each feature, ``(m,)``."""
    level = np.zeros(m, dtype=np.int64)
    for _ in range(m):
        deeper = level.copy()
        np.maximum.at(deeper, edges[:, 1], level[edges[:, 0]] + 1)
        if np.array_equal(deeper, level):
            break
        level = deeper
    return level


def _mean(values: FloatArray) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")


def _share(part: IntArray, whole: IntArray) -> FloatArray:
    share: FloatArray = np.divide(part, whole, out=np.full(len(whole), np.nan), where=whole > 0)
    return share


def _marks(codes: csr_array) -> csc_array:
    """Return 1 where ``codes (n, m)`` are not zero, by columns."""
    return csc_array(csr_array((np.ones(codes.nnz), codes.indices, codes.indptr), shape=codes.shape))


def _total(matrix: Any) -> FloatArray:
    return np.asarray(matrix.sum(axis=0), dtype=np.float64)


@final
@dataclass(frozen=True, eq=False)
class EdgeRecall:
    """How often the latent matched to a parent fires where the parent does, for each parent-child pair.

    Attributes
    ----------
    edges : (E, 2) parent and child.
    child_on, child_on_found : (E,) samples with parent and child, and those of them in which the parent's latent fires.
    child_off, child_off_found : (E,) the same for samples with the parent and none of its children.
    """

    edges: IntArray
    child_on: IntArray
    child_on_found: IntArray
    child_off: IntArray
    child_off_found: IntArray


def edge_recall(evaluation: Evaluation) -> EdgeRecall:
    """Return the counts behind `parent_recall_child_on` and `parent_recall_child_off`, for each parent-child pair.

    "Off" means that no child of the parent fires, and not only the one of the pair: the sibling that fires in its
    stead may have absorbed the parent as well. The latent of an unmatched parent is never found.
    """
    edges, m = parent_edges(evaluation.truth), evaluation.truth.atoms.shape[0]
    true, found = _marks(evaluation.true_codes), _marks(evaluation.aligned)
    parent, child = edges.T
    below = csc_array((np.ones(len(edges)), (child, parent)), shape=(m, m))
    with_children = true.multiply(true @ below > 0)  # (n, m) a feature fires and so does a child of it
    both = true[:, parent].multiply(true[:, child])
    counts = (
        _total(both),
        _total(both.multiply(found[:, parent])),
        (_total(true) - _total(with_children))[parent],
        (_total(true.multiply(found)) - _total(with_children.multiply(found)))[parent],
    )
    return EdgeRecall(edges, *(np.rint(count).astype(np.int64) for count in counts))


def parent_recall_child_on(evaluation: Evaluation) -> float:
    """Return how often a parent's latent fires where parent and child do, a mean over parent-child pairs.

    The truth has 1, absorption 0; a latent that fires at random has its own firing rate. Pairs of which the child does
    not fire with the parent in the batch are left out; NaN if there is no other.
    """
    counts = edge_recall(evaluation)
    return _mean(_share(counts.child_on_found, counts.child_on))


def parent_recall_child_off(evaluation: Evaluation) -> float:
    """Return how often a parent's latent fires where the parent and none of its children does, a mean over pairs.

    The truth has 1, and so has absorption; a latent that fires at random has its own firing rate. Parents that never
    fire without a child in the batch are left out; NaN if there is no other.
    """
    counts = edge_recall(evaluation)
    return _mean(_share(counts.child_off_found, counts.child_off))


def absorption_gap(evaluation: Evaluation) -> float:
    """Return parent recall with all children off less that with the child on, a mean over parent-child pairs.

    The truth and a latent that fires at random have 0, full absorption 1; a latent that needs a child to fire is
    negative. Silence has 0 as well: read it beside `parent_recall_child_off`. Pairs without samples of both kinds are
    left out; NaN if there is no other.
    """
    counts = edge_recall(evaluation)
    off, on = _share(counts.child_off_found, counts.child_off), _share(counts.child_on_found, counts.child_on)
    return _mean(off - on)


def _own_part(atoms: FloatArray, others: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the parts of unit rows ``atoms (E, d)`` outside ``others (E, d)``, as unit rows, and their norms."""
    part, norm = unit_rows(atoms - (atoms * others).sum(axis=1, keepdims=True) * others)
    return part, norm


def _carried(evaluation: Evaluation, hosts: IntArray, guests: IntArray) -> FloatArray:
    """Return the cosine of each host's latent with what its guest has outside the host's own direction, ``(E,)``.

    Positive where the latent writes the guest with the sign that it has beside the host in the batch. 0 for an
    unmatched host; NaN where the two never fire together, or are parallel.
    """
    atoms, _ = unit_rows(np.asarray(evaluation.truth.atoms, dtype=np.float64))
    part, norm = _own_part(atoms[guests], atoms[hosts])
    signs = evaluation.true_codes.copy()
    signs.data = np.sign(signs.data).astype(np.float64)
    signs = csc_array(signs)
    together = signs[:, hosts].multiply(signs[:, guests])
    cosine = np.sign(_total(together)) * (evaluation.aligned_atoms[hosts] * part).sum(axis=1)
    cosine[(norm <= _PARALLEL) | (_total(abs(together)) == 0)] = np.nan
    return np.asarray(cosine)


def absorption_score(evaluation: Evaluation) -> float:
    """Return the cosine of a child's latent with the parent's direction, less what the child's own has of it.

    ``<a_c, v>``, a mean over parent-child pairs: a_c is the atom matched to the child, with the sign of the child's
    atom, and v the unit vector along the part of the parent's atom that is orthogonal to the child's. The truth and
    random directions have 0; where parent and child are orthonormal it is the plain cosine, ``t / sqrt(1 + t^2)`` for
    an atom tilted by t, 0.71 for full absorption. Where codes have signs, parent and child are taken with those in
    which they occur together. An unmatched child counts 0. Pairs that do not fire together in the batch, or are
    parallel, are left out; NaN if there is no other.
    """
    parent, child = parent_edges(evaluation.truth).T
    return _mean(_carried(evaluation, child, parent))


def parent_hedging(evaluation: Evaluation) -> float:
    """Return the cosine of a parent's latent with the child's direction, less what the parent's own has of it.

    `absorption_score` with parent and child exchanged: what a dictionary does that is too narrow to give the child a
    latent of its own. The truth and random directions have 0; a single latent of parent and child alone has the sine
    of its angle. Negative where the parent's latent takes part of the child away. An unmatched parent counts 0; what is
    left out, and NaN, as there.
    """
    parent, child = parent_edges(evaluation.truth).T
    return _mean(_carried(evaluation, parent, child))


def absorption_rate(evaluation: Evaluation) -> float:
    """Return the share of samples with parent and child in which the child's latent does the parent's work.

    That is: the parent's latent is silent, and the child's writes at least half of the parent's magnitude along the
    part of the parent's atom that is orthogonal to the child's. A mean over parent-child pairs; the truth has 0, full
    absorption 1, a random dictionary next to 0. Pairs that do not fire together in the batch, or are parallel, are left
    out; NaN if there is no other.
    """
    parent, child = parent_edges(evaluation.truth).T
    atoms, _ = unit_rows(np.asarray(evaluation.truth.atoms, dtype=np.float64))
    part, norm = _own_part(atoms[parent], atoms[child])
    true, found = _marks(evaluation.true_codes), _marks(evaluation.aligned)
    inverse = evaluation.true_codes.copy()
    inverse.data = 1.0 / inverse.data.astype(np.float64)
    alone = csc_array(inverse)[:, parent].multiply(true[:, child])
    alone = csc_array(alone - alone.multiply(found[:, parent]))
    written = csc_array(alone.multiply(csc_array(evaluation.aligned)[:, child]))  # child's learned code / parent's true
    per_code = _ratio(np.sum(evaluation.aligned_atoms[child] * part, axis=1), norm)
    pair = np.repeat(np.arange(len(parent)), np.diff(written.indptr))
    carries = np.bincount(pair[written.data * per_code[pair] >= _CARRIED], minlength=len(parent))
    together = np.where(norm > _PARALLEL, _total(true[:, parent].multiply(true[:, child])), 0.0)
    return _mean(_share(carries, together.astype(np.int64)))


def _ratio(above: FloatArray, below: FloatArray) -> FloatArray:
    ratio: FloatArray = np.divide(above, below, out=np.zeros(len(below)), where=below > _PARALLEL)
    return ratio


def _gram_error(evaluation: Evaluation, within: bool) -> float:
    """Return the mean of (cos a_i a_j - cos d_i d_j)^2 over pairs of matched features of one level, or of two."""
    edges, matched = parent_edges(evaluation.truth), evaluation.match.features
    if not len(edges):
        return float("nan")
    true, _ = unit_rows(np.asarray(evaluation.truth.atoms, dtype=np.float64)[matched])
    learned, level = evaluation.aligned_atoms[matched], levels(edges, evaluation.truth.atoms.shape[0])[matched]
    total, count, step = 0.0, 0, max(1, _BLOCK // max(len(matched), 1))
    for start in range(0, len(matched), step):
        rows = slice(start, start + step)
        chosen: npt.NDArray[np.bool_] = (level[rows, None] == level) == within
        chosen[np.arange(len(chosen)), np.arange(start, start + len(chosen))] = False
        error = np.square(learned[rows] @ learned.T - true[rows] @ true.T)
        total, count = total + float(error[chosen].sum()), count + int(chosen.sum())
    return total / count if count else float("nan")


def flat_error(evaluation: Evaluation) -> float:
    """Return the mean squared error of the cosines between matched atoms of one level, against those of the truth.

    Levels are the longest ways from a root. The truth has 0; independent random directions about 1/d plus the mean
    squared cosine of the truth, less where the matching is close. Pairs of which a feature has no partner are left out;
    NaN if there is no other, or no hierarchy.
    """
    return _gram_error(evaluation, True)


def hierarchical_error(evaluation: Evaluation) -> float:
    """Return the mean squared error of the cosines between matched atoms of different levels, against the truth's.

    Absorption shows here, as a child's atom that leans to its parent: one of E pairs each. Chance, truth and NaN as for
    `flat_error`.
    """
    return _gram_error(evaluation, False)
