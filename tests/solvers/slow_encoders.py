"""Slow and obvious numpy forms of the compiled encoders, and small worlds to try them on."""

from __future__ import annotations

import itertools

import numpy as np
from scipy.optimize import nnls


def unit(matrix):
    return matrix / np.linalg.norm(matrix, axis=1, keepdims=True)


def random_problem(rng, n, d, p, k, noise=0.1):
    """Return samples of k-sparse codes with noise, and the unit atoms."""
    atoms = unit(rng.standard_normal((p, d)))
    codes = np.zeros((n, p))
    for row in codes:
        row[rng.choice(p, min(k, p), replace=False)] = rng.standard_normal(min(k, p))
    return codes @ atoms + noise * rng.standard_normal((n, d)), atoms


def slow_omp(x, atoms, k, non_negative=False):
    """Return codes, and the margin by which each choice was decided, for one sample."""
    codes, support, residual, margins = np.zeros(len(atoms)), [], x.copy(), []
    for _ in range(k):
        score = atoms @ residual
        score = score if non_negative else np.abs(score)
        score[support] = -1.0
        order = np.sort(score)
        best = int(np.argmax(score))
        if score[best] <= 1e-12 * np.linalg.norm(x):
            break
        margins.append(order[-1] - max(order[-2], 0.0) if len(order) > 1 else np.inf)
        support.append(best)
        chosen = atoms[support].T
        solution = nnls(chosen, x)[0] if non_negative else np.linalg.lstsq(chosen, x, rcond=None)[0]
        codes[:] = 0
        codes[support] = solution
        residual = x - codes @ atoms
    return codes, min(margins, default=np.inf)


def slow_mp(x, atoms, k, non_negative=False):
    """Return codes, the residual energies after each selection, and the smallest margin, for one sample."""
    codes, residual, energies, margin = np.zeros(len(atoms)), x.copy(), [x @ x], np.inf
    for _ in range(k):
        score = atoms @ residual
        rank = score if non_negative else np.abs(score)
        best = int(np.argmax(rank))
        if rank[best] <= 1e-12 * np.linalg.norm(x):
            break
        order = np.sort(rank)
        margin = min(margin, order[-1] - max(order[-2], 0.0)) if len(order) > 1 else margin
        codes[best] += score[best]
        residual = residual - score[best] * atoms[best]
        energies.append(residual @ residual)
    return codes, energies, margin


def brute_force_l0(x, atoms, k):
    """Return the least squared error over all supports of size at most k."""
    best = x @ x
    for support in itertools.combinations(range(len(atoms)), k):
        sub = atoms[list(support)]
        residual = x - np.linalg.lstsq(sub.T, x, rcond=None)[0] @ sub
        best = min(best, residual @ residual)
    return best


def identity_hadamard(d):
    """Return the 2d unit rows of the identity and the Hadamard basis, of coherence 1/sqrt(d)."""
    hadamard = np.ones((1, 1))
    while len(hadamard) < d:
        hadamard = np.block([[hadamard, hadamard], [hadamard, -hadamard]])
    return np.concatenate([np.eye(d), hadamard / np.sqrt(d)])


def simplex(d):
    """Return d + 1 unit rows in R^d with all cosines -1/d."""
    centred = np.eye(d + 1) - 1 / (d + 1)
    return unit(centred @ np.linalg.svd(centred)[2][:d].T)


def paley(q):
    """Return q + 1 equiangular unit rows in R^((q+1)/2), from the conference matrix of a prime q = 1 mod 4."""
    squares = {(i * i) % q for i in range(1, q)}
    conference = np.ones((q + 1, q + 1)) - np.eye(q + 1)
    for i in range(q):
        for j in range(q):
            conference[i + 1, j + 1] = 0 if i == j else 1 if (i - j) % q in squares else -1
    values, vectors = np.linalg.eigh(conference)
    return unit(vectors[:, values > 0])
