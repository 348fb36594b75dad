"""Slow and obvious numpy forms, one sample at a time, of the greedy encoders beyond matching pursuit."""

from __future__ import annotations

import itertools

import numpy as np
from scipy.optimize import nnls

ZERO = 1e-12  # correlations of unit-scale samples below this are rounding


def fit(x, atoms, support, non_negative=False):
    """Return codes (p,) that are (non-negative) least squares on the support."""
    codes, support = np.zeros(len(atoms)), list(support)
    if support:
        sub = atoms[support].T
        codes[support] = nnls(sub, x)[0] if non_negative else np.linalg.lstsq(sub, x, rcond=None)[0]
    return codes


def error(x, atoms, codes):
    return float(np.square(x - codes @ atoms).sum())


def largest(score, k, non_negative=False, floor=ZERO):
    """Return, ascending, the k indices of largest value or magnitude above the floor, the lowest first in ties."""
    rank = score if non_negative else np.abs(score)
    order = np.argsort(-rank, kind="stable")[:k]
    return sorted(int(i) for i in order if rank[i] > floor)


def cut(codes, k, non_negative=False):
    kept = largest(codes, k, non_negative, 0.0)
    out = np.zeros_like(codes)
    out[kept] = codes[kept]
    return out


def exchange(x, atoms, k, extra, project, non_negative=False, passes=100):
    """Subspace pursuit (extra = k, project) and CoSaMP (extra = 2k)."""
    best, residual = np.zeros(len(atoms)), x
    for _ in range(passes):
        pool = set(largest(atoms @ residual, extra, non_negative)) | set(np.flatnonzero(best))
        rough = cut(fit(x, atoms, sorted(pool), non_negative), k)
        codes = fit(x, atoms, np.flatnonzero(rough), non_negative)
        if error(x, atoms, codes) >= error(x, atoms, best) - 1e-14 * (x @ x):
            break
        best = codes
        residual = x - (codes if project else rough) @ atoms
    return best


def hard_pursuit(x, atoms, k, step, non_negative=False, passes=100):
    """Return codes of hard thresholding pursuit and whether its support repeated."""
    now, best, support = np.zeros(len(atoms)), np.zeros(len(atoms)), None
    for _ in range(passes):
        fresh = largest(now + step * (x - now @ atoms) @ atoms.T, k, non_negative)
        if fresh == support:
            return now, True
        support, now = fresh, fit(x, atoms, fresh, non_negative)
        if error(x, atoms, now) < error(x, atoms, best):
            best = now
    return best, False


def hard_thresholding(x, atoms, k, step, non_negative=False, passes=1000):
    """Return codes of iterative hard thresholding with a fixed step, or the normalised one for None."""
    codes = np.zeros(len(atoms))
    support = largest(atoms @ x, k, non_negative)
    for _ in range(passes):
        slope = atoms @ (x - codes @ atoms)
        length = step
        if step is None:
            own = np.where(np.abs(slope[support]) > ZERO, slope[support], 0)
            length = np.square(own).sum() / np.square(own @ atoms[support]).sum() if own.any() else 1.0
        fresh = cut(codes + length * slope, k, non_negative)
        while step is None and list(np.flatnonzero(fresh)) != support:
            change = fresh - codes
            if length * np.square(change @ atoms).sum() <= 0.99 * np.square(change).sum():
                break
            length /= 2
            fresh = cut(codes + length * slope, k, non_negative)
        done = np.linalg.norm(fresh - codes) <= 1e-10 * np.linalg.norm(fresh)
        codes, support = fresh, list(np.flatnonzero(fresh))
        if done:
            break
    return codes


def stagewise(x, atoms, k, level, stages=10, non_negative=False):
    support, codes = [], np.zeros(len(atoms))
    for _ in range(stages):
        residual = x - codes @ atoms
        score = atoms @ residual
        score[support] = 0
        fresh = largest(score, k - len(support), non_negative, level * np.linalg.norm(residual) / np.sqrt(len(x)))
        if not fresh:
            break
        support = sorted(support + fresh)
        codes = fit(x, atoms, support, non_negative)
    return codes


def gradient_pursuit(x, atoms, k, non_negative=False):
    """Return codes and the residual energies after each selection."""
    codes, support, energies = np.zeros(len(atoms)), [], [x @ x]
    for _ in range(k):
        slope = atoms @ (x - codes @ atoms)
        rank = slope if non_negative else np.abs(slope)
        best = int(np.argmax(rank))
        if rank[best] > ZERO:
            support = sorted({*support, best})
        direction = np.zeros(len(atoms))
        direction[support] = slope[support]
        if non_negative:
            direction[(codes == 0) & (direction < 0)] = 0
        if np.abs(direction).max() <= ZERO:
            break
        step = (direction @ direction) / np.square(direction @ atoms).sum()
        falls = np.flatnonzero(direction < 0) if non_negative else []
        first = min(falls, key=lambda i: codes[i] / -direction[i], default=None)
        if first is not None and codes[first] < -step * direction[first]:
            codes = codes + direction * (codes[first] / -direction[first])
            codes[first] = 0
        else:
            codes = codes + direction * step
        energies.append(error(x, atoms, codes))
    return codes, energies


def beam(x, atoms, k, width, branch, non_negative=False):
    paths = [((), np.zeros(len(atoms)))]
    for _ in range(k):
        children = {}
        for support, codes in paths:
            score = atoms @ (x - codes @ atoms)
            score[list(support)] = 0
            for atom in largest(score, branch, non_negative):
                atoms_now = frozenset((*support, atom))
                if atoms_now not in children:
                    children[atoms_now] = ((*support, atom), fit(x, atoms, (*support, atom), non_negative))
        if not children:
            break
        paths = sorted(children.values(), key=lambda path: error(x, atoms, path[1]))[:width]
    return paths[0][1]


def best_of_all(x, atoms, k, penalty=0.0, non_negative=False):
    """Return the least ||x - z A||^2 + penalty ||z||_0 over all supports of at most k atoms."""
    best = float(x @ x)
    for size in range(1, k + 1):
        for support in itertools.combinations(range(len(atoms)), size):
            codes = fit(x, atoms, support, non_negative)
            best = min(best, error(x, atoms, codes) + penalty * np.count_nonzero(codes))
    return best
