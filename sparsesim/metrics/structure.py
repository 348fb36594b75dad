"""The structure of a dictionary and of its codes, read without the truth: no value is right in itself.

The published metrics of archetypal autoencoders that are not here exist under other names: stability is `pairwise_mcc`,
and plausibility against the true atoms is `mmcs`.

References
----------
Fel et al. (2025), "Archetypal SAE", arXiv:2502.12892, for all but the RV coefficient; Robert and Escoufier (1976), "A
unifying tool for linear multivariate statistical methods: the RV-coefficient".
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.optimize import quadratic_assignment
from scipy.sparse import csc_array
from scipy.sparse.linalg import eigsh

from sparsesim._arrays import FloatArray, IntArray, check_matrix, unit_rows
from sparsesim.metrics.evaluation import Evaluation

_BLOCK = 2**22  # cosines held at once
_PAIRS = 2**16  # pairs of latents of which the atoms are held at once
_DENSE = 256  # up to this size an eigenvalue is taken of the full matrix


def _directions(evaluation: Evaluation) -> FloatArray:
    """Return the unit atoms that are not zero, in float64."""
    rows, norms = unit_rows(np.asarray(evaluation.fitted.atoms, dtype=np.float64))
    return rows[norms > 0]


def _singular_values(evaluation: Evaluation) -> FloatArray:
    rows = _directions(evaluation)
    return np.linalg.svd(rows, compute_uv=False) if len(rows) else np.zeros(0)


def stable_rank(evaluation: Evaluation) -> float:
    """Return ``||A||_F^2 / ||A||_2^2`` of the unit atoms, between 1 and min(p, d); NaN without a non-zero atom.

    Orthonormal atoms and tight frames have min(p, d), p copies of one 1, random directions about
    ``p / (1 + sqrt(p / d))^2``.
    """
    values = _singular_values(evaluation)
    return float(np.square(values).sum() / values[0] ** 2) if len(values) else float("nan")


def effective_rank(evaluation: Evaluation) -> float:
    """Return ``exp(H(s / sum s))`` of the singular values s of the unit atoms; NaN without a non-zero atom.

    Between 1, copies of one atom, and min(p, d), orthonormal atoms and tight frames; near it for random directions.
    """
    values = _singular_values(evaluation)
    share = values[values > 0] / values.sum() if len(values) else values
    return float(np.exp(-(share * np.log(share)).sum())) if len(values) else float("nan")


def coherence(evaluation: Evaluation) -> float:
    """Return the largest |cos| of two learned atoms, 0 for fewer than two; atoms that are zero are not counted.

    Copies make it 1; no p > d atoms have less than the Welch bound ``sqrt((p - d) / (d (p - 1)))``. It is about the
    true atoms' own where all are found.
    """
    rows = _directions(evaluation)
    largest, step = 0.0, max(1, _BLOCK // max(len(rows), 1))
    for start in range(0, len(rows), step):
        cosine = np.abs(rows[start : start + step] @ rows.T)
        cosine[np.arange(len(cosine)), np.arange(start, start + len(cosine))] = 0.0
        largest = max(largest, float(cosine.max()))
    return min(largest, 1.0)


def out_of_distribution(evaluation: Evaluation) -> float:
    """Return 1 less the largest |cos| of an atom with any sample, as a mean over the atoms that are not zero.

    Samples are taken about the bias of the dictionary, and those that equal it are not counted. 0 if every atom points
    to a sample; the true atoms have 0 only where each fires alone in some sample, random directions that much more as d
    is large. It falls as the batch grows: compare it at equal n. The published form takes the signed cosine, which
    agrees where codes are not negative. NaN without atoms or samples.
    """
    rows = _directions(evaluation)
    x = np.asarray(evaluation.batch.x, dtype=np.float64) - np.asarray(evaluation.fitted.bias, dtype=np.float64)
    samples, norms = unit_rows(x)
    samples = samples[norms > 0]
    if not len(rows) or not len(samples):
        return float("nan")
    step = max(1, _BLOCK // len(samples))
    best = [np.abs(rows[start : start + step] @ samples.T).max(axis=1) for start in range(0, len(rows), step)]
    return float(1.0 - np.concatenate(best).mean())


def _live_codes(evaluation: Evaluation) -> tuple[csc_array, IntArray]:
    alive: IntArray = np.unique(evaluation.codes.indices)
    return csc_array(evaluation.codes.astype(np.float64))[:, alive], alive


def connectivity(evaluation: Evaluation) -> float:
    """Return the share of pairs of alive latents that never fire together, ``1 - nnz(|Z|^T |Z|) / alive^2``.

    0 for dense codes and at most ``1 - 1 / alive``, since a latent fires with itself. The name is the published one,
    though it falls as more latents fire together. The truth has the share of its own features that never meet: large
    where they are exclusive, or the batch is small. NaN if nothing fires.
    """
    codes, alive = _live_codes(evaluation)
    codes.data = np.ones(codes.nnz)
    return 1.0 - (codes.T @ codes).nnz / len(alive) ** 2 if len(alive) else float("nan")


def negative_interference(evaluation: Evaluation) -> float:
    """Return the spectral norm of ``ReLU(-(Z^T Z) * (A A^T))`` over ``tr Z^T Z``: latents that cancel one another.

    Z are the codes and A the unit atoms; * is entrywise. The published number is not divided by the energy of the codes
    and grows with n and the unit of the data. 0 for orthogonal atoms, or where atoms that fire together do not oppose
    each other with the signs of their codes; the true atoms have what their own interference gives. NaN if nothing
    fires.
    """
    codes, alive = _live_codes(evaluation)
    if not len(alive):
        return float("nan")
    codes.data = codes.data / np.abs(codes.data).max()
    unit, _ = unit_rows(np.asarray(evaluation.fitted.atoms, dtype=np.float64)[alive])
    moment = (codes.T @ codes).tocoo()
    against = np.concatenate(
        [
            np.maximum(-moment.data[part] * (unit[moment.row[part]] * unit[moment.col[part]]).sum(axis=1), 0.0)
            for part in (slice(start, start + _PAIRS) for start in range(0, moment.nnz, _PAIRS))
        ]
    )
    matrix = csc_array((against, (moment.row, moment.col)), shape=moment.shape)
    return _largest_eigenvalue(matrix) / float(np.square(codes.data).sum())


def _largest_eigenvalue(matrix: csc_array) -> float:
    """Return the spectral norm of a symmetric matrix without negative entries, which is its largest eigenvalue."""
    if matrix.shape[0] <= _DENSE or not matrix.data.any():
        return float(np.linalg.eigvalsh(matrix.toarray())[-1])
    start = np.ones(matrix.shape[0])  # the eigenvector has no negative entry, so that this is not orthogonal to it
    return float(eigsh(matrix, k=1, which="LA", v0=start, return_eigenvectors=False)[0])


def _symmetric_pair(first: npt.ArrayLike, second: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    pair = check_matrix(first, "first"), check_matrix(second, "second")
    for name, matrix in zip(("first", "second"), pair, strict=True):
        if matrix.shape[0] != matrix.shape[1] or not np.allclose(matrix, matrix.T, atol=1e-9 * np.abs(matrix).max()):
            raise ValueError(f"{name} must be a symmetric matrix (m, m); got shape {matrix.shape}.")
    if pair[0].shape != pair[1].shape:
        raise ValueError(f"both matrices must be of one size; got {pair[0].shape} and {pair[1].shape}.")
    return pair


def rv_coefficient(first: npt.ArrayLike, second: npt.ArrayLike) -> float:
    """Return ``tr(S C) / sqrt(tr S^2 tr C^2)`` of two symmetric matrices ``(m, m)``; 1 if they are proportional.

    Between 0 and 1 for positive semidefinite ones, and then never near 0: the diagonals alone agree, which gives two
    identities 1 and random correlation matrices of rank d about ``1 / (1 + m / d)``. NaN for a zero matrix.

    Raises
    ------
    ValueError
        Unless both are symmetric, finite and of one size.
    """
    s, c = _symmetric_pair(first, second)
    norm = float(np.linalg.norm(s)) * float(np.linalg.norm(c))
    return float((s * c).sum()) / norm if norm > 0 else float("nan")


def match_structure(first: npt.ArrayLike, second: npt.ArrayLike) -> IntArray:
    """Return the order ``(m,)`` of ``second`` that makes it most like ``first``: maximises ``tr(S P C P^T)``.

    For features of which only the relations are compared: ``rv_coefficient(S, C[order][:, order])``. By the FAQ method
    from the barycentre, a local maximum; the atoms themselves need not be comparable.

    Raises
    ------
    ValueError
        Unless both are symmetric, finite and of one size.

    References
    ----------
    Vogelstein et al. (2015), "Fast approximate quadratic programming for graph matching", for FAQ.
    """
    s, c = _symmetric_pair(first, second)
    # The generator is never drawn from at the barycentre; given so that no global state could be.
    found = quadratic_assignment(s, c, method="faq", options={"maximize": True, "rng": np.random.default_rng(0)})
    order: IntArray = found.col_ind
    return order
