"""In which layers of a residual stream latents speak, and which layers go together."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from sparsesim._arrays import Codes, FloatArray, check_int, check_matrix


def layer_distribution(codes: Sequence[Codes]) -> FloatArray:
    """Return the share of each latent's total activity that falls on each layer, ``(p, L)``; NaN for a dead latent.

    Parameters
    ----------
    codes : (n, p) for each of the L layers, of the same tokens or as many; activity is the mean magnitude.

    Raises
    ------
    ValueError
        If there is no layer, or shapes differ.
    """
    if not codes or any(other.shape != codes[0].shape for other in codes):
        raise ValueError(
            "codes must hold one matrix of one shape for each layer, at least one; "
            f"got shapes {[each.shape for each in codes]}."
        )
    activity = np.stack([np.asarray(np.abs(each.astype(np.float64)).sum(axis=0)).ravel() for each in codes], axis=1)
    total = activity.sum(axis=1, keepdims=True)
    share: FloatArray = np.divide(activity, total, out=np.full_like(activity, np.nan), where=total > 0)
    return share


def layer_entropy(codes: Sequence[Codes]) -> FloatArray:
    """Return the entropy in bits of each latent's `layer_distribution`, ``(p,)``: 0 for a latent of one layer.

    A feature that layer b of L writes and all later ones keep has log2(L - b). NaN for a dead latent.

    References
    ----------
    Lawson et al. (2024), "Residual stream analysis with multi-layer SAEs", arXiv 2409.04185.
    """
    share = layer_distribution(codes)
    logs = np.zeros_like(share)
    np.log2(share, out=logs, where=share > 0)
    return np.asarray(-(share * logs).sum(axis=1))


def angular_distances(layers: Sequence[FloatArray]) -> FloatArray:
    """Return the mean over tokens of arccos(cos(x_l, x_l')) / pi for each pair of ``layers (n, d)``, ``(L, L)``.

    A zero vector is at a right angle to all others.
    """
    stack = np.stack([check_matrix(x, "layers").astype(np.float64) for x in layers])
    norms = np.linalg.norm(stack, axis=-1, keepdims=True)
    unit = np.divide(stack, norms, out=np.zeros_like(stack), where=norms > 0)
    cosine = np.einsum("lnd,knd->lkn", unit, unit).clip(-1.0, 1.0)
    distance = np.asarray(np.arccos(cosine).mean(axis=-1) / np.pi)
    np.fill_diagonal(distance, 0.0)
    return distance


def layer_groups(distances: FloatArray, count: int) -> tuple[tuple[int, ...], ...]:
    """Return the ``count`` groups of contiguous layers whose largest distance within a group is smallest.

    The exact optimum, by dynamic programming over where the last group begins; of equal ones that whose later groups
    begin first. The source clusters layers greedily by complete linkage, which aims at the same diameter.

    Parameters
    ----------
    distances : (L, L) symmetric, such as `angular_distances`.
    count : number of groups, at most L.

    References
    ----------
    Ghilardi, Belotti, Molinari et al. (2024), "Group-SAE: efficient training of sparse autoencoders for large language
    models via layer groups", arXiv 2410.21508.
    """
    table = check_matrix(distances, "distances")
    size = len(table)
    if table.shape != (size, size):
        raise ValueError(f"distances must be square, one row a layer; got shape {table.shape}.")
    groups = check_int("count", count, 1, size, high_name="L")
    diameter = np.array([[table[a:b, a:b].max(initial=0.0) for b in range(size + 1)] for a in range(size + 1)])
    best, start = np.full((groups + 1, size + 1), np.inf), np.zeros((groups + 1, size + 1), dtype=int)
    best[0, 0] = 0.0
    for g in range(1, groups + 1):
        for end in range(g, size + 1):
            worst = np.maximum(best[g - 1, :end], diameter[:end, end])
            start[g, end] = int(worst.argmin())
            best[g, end] = worst[start[g, end]]
    bounds = [size]
    for g in range(groups, 0, -1):
        bounds.append(int(start[g, bounds[-1]]))
    edges = bounds[::-1]
    return tuple(tuple(range(a, b)) for a, b in pairwise(edges))
