"""Deep dictionary learning: a dictionary that is a product of factors, all improved together by majorisation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from typing import final

import numpy as np
from scipy.sparse import vstack

from sparsesim._arrays import Codes, FloatArray, Rng, check_int, check_real, unit_rows
from sparsesim.kernels.synthesis import synthesise
from sparsesim.solvers.base import FittedDictionary, Status, unit_dictionary
from sparsesim.solvers.blocks import row_blocks, scaled_penalty
from sparsesim.solvers.convex import Lasso
from sparsesim.solvers.learn import initial_atoms, prepare, replace_atoms
from sparsesim.solvers.proximal_gradient import largest_eigenvalue

BLOCK_ENTRIES = 2**22  # dense codes held at a time

Factors = list[FloatArray]  # B_1 (h_1, d), ..., B_L (p, h_{L-1}): the first is next to the samples


@final
@dataclass(frozen=True)
class DeepDictionaryLearning:
    """Learns ``A = B_L ... B_2 B_1`` by descent on ``||x - Z A||_F^2 / 2 + penalty ||Z||_1``, all factors together.

    With ``H_l = Z B_L ... B_{l+1}`` and ``a_l`` the largest eigenvalue of ``B_l B_l^T``, the fit at layer l is
    majorised by one at the next: ``t_l = H_l + (t_{l-1} - H_l B_l) B_l^T / a_l``, ``t_0 = x``. An iteration takes
    ``code_steps`` times ``Z = soft(t_L, penalty / (a_1 ... a_L))``, then for l = 1..L the least squares factor of
    ``t_{l-1} = H_l B_l``, the targets computed anew after each. One layer is ISTA in alternation with MOD. No step
    raises the objective, nor does what follows: all factors but the last are made isometries, the product unchanged.
    The objective has no minimum, though: smaller codes of larger atoms always pay less, so ``normalise``
    brings the rows of A back to unit norm after each iteration, and the codes up; that can raise the objective, and
    does not where the penalty is 0. An atom that no sample uses is replaced, as in `MethodOfOptimalDirections`, which
    changes nothing in the objective.

    The layers are linear, so the model is that of one dictionary of rank at most the least width, and the factors are
    identified only up to invertible matrices between them: the fit has the product as its atoms, and the encoder is
    `Lasso`. CONVERGED if the objective changed by less than the fraction ``tolerance``. The trace has ``objective``
    over its value for zero codes, ``fvu`` and ``replaced``, after each iteration.

    Parameters
    ----------
    width : p, the rows of the last factor.
    penalty : of the l1 norm, in the units of ``x``.
    hidden : h_1, ..., h_{L-1}, the widths of the layers between samples and codes; none for one layer.
    iterations : at most.
    code_steps : proximal steps for the codes in one iteration.
    tolerance : relative change of the objective that counts as none.
    normalise : keep the rows of the product at unit norm.
    centre : take the mean of the samples as the bias.

    References
    ----------
    Singhal and Majumdar (2019), "A proximal maximum-minimisation approach to deep dictionary learning"; the targets and
    their order are derived here.
    """

    width: int
    penalty: float
    hidden: tuple[int, ...] = ()
    iterations: int = 100
    code_steps: int = 10
    tolerance: float = 1e-5
    normalise: bool = True
    centre: bool = False

    def __post_init__(self) -> None:
        check_int("width", self.width, 1)
        check_real("penalty", self.penalty, 0.0, open_low=True)
        if not isinstance(self.hidden, tuple):
            raise TypeError(f"hidden must be a tuple of widths, e.g. (16,); got {self.hidden!r}.")
        for size in self.hidden:
            check_int("hidden", size, 1)
        check_int("iterations", self.iterations, 1)
        check_int("code_steps", self.code_steps, 1)
        check_real("tolerance", self.tolerance, 0.0, 1.0)

    def fit(self, x: FloatArray, *, rng: Rng) -> FittedDictionary:
        """Return the product dictionary learned from ``x (n, d)``, started at products that are random samples."""
        samples, scale, bias, variance = prepare(x, centre=self.centre)
        samples /= scale
        penalty = float(scaled_penalty(self.penalty, np.array([[scale]]))[0])
        factors = _start(samples, (*self.hidden, self.width), rng)
        codes, energy = Codes((len(samples), self.width)), float(np.square(samples).sum()) / 2
        trace: dict[str, list[float]] = {"objective": [], "fvu": [], "replaced": []}
        status, before = Status.BUDGET_SPENT, energy
        for _ in range(self.iterations):
            codes = code_step(samples, codes, factors, penalty, self.code_steps)
            for layer in range(len(factors)):
                factors[layer] = factor_step(samples, codes, factors, layer)
            factors = balanced(factors)
            if self.normalise:
                factors, codes = _normalised(factors, codes)
            residual = samples - synthesise(codes, product(factors))
            error = float(np.square(residual).sum())
            now = error / 2 + penalty * float(np.abs(codes.data).sum())
            factors, count = _revived(factors, codes, residual, rng)
            values = (now / energy if energy > 0 else 0.0, error / variance if variance > 0 else np.nan, count)
            for name, value in zip(trace, values, strict=True):
                trace[name].append(float(value))
            if abs(before - now) <= self.tolerance * before:
                status = Status.CONVERGED
                break
            before = now
        series = {name: tuple(values) for name, values in trace.items()}
        return unit_dictionary(product(factors), bias, Lasso(self.penalty), status, series)


def product(factors: Factors) -> FloatArray:
    """Return ``B_L ... B_1``, of shape ``(p, d)``."""
    return reduce(lambda inner, outer: outer @ inner, factors)


def _start(x: FloatArray, widths: tuple[int, ...], rng: Rng) -> Factors:
    """Return factors whose product is random samples: isometries of random orientation, and the last to match."""
    factors: Factors = []
    for width in widths[:-1]:
        columns = factors[-1].shape[0] if factors else x.shape[1]
        factors.append(_isometry(rng.standard_normal((width, columns))))
    atoms = initial_atoms(x, widths[-1], rng)
    return [*factors, atoms @ product(factors).T if factors else atoms]


def _isometry(factor: FloatArray) -> FloatArray:
    """Return the matrix nearest to ``factor (h, g)`` with all singular values 1."""
    left, _, right = np.linalg.svd(factor, full_matrices=False)
    nearest: FloatArray = left @ right
    return nearest


def balanced(factors: Factors) -> Factors:
    """Return factors of the same product, all isometries but the last.

    ``B_l`` goes to its nearest isometry Q, and what is left, ``B_l Q^T``, to the factor behind it. Eigenvalues a_l are
    then 1, where ill-conditioned factors would make the steps of all layers behind them small.
    """
    carried, out = factors[0], []
    for outer in factors[1:]:
        inner = _isometry(carried)
        out.append(inner)
        carried = outer @ (carried @ inner.T)
    return [*out, carried]


def _blocks(x: FloatArray, codes: Codes) -> Iterator[tuple[FloatArray, Codes]]:
    return ((x[rows], codes[rows]) for rows in row_blocks(len(x), BLOCK_ENTRIES, codes.shape[1]))


def _curvatures(factors: Factors) -> list[float]:
    """Return ``a_l``, the largest eigenvalue of ``B_l B_l^T``, 1 for a factor that is zero."""
    return [largest_eigenvalue(factor) or 1.0 for factor in factors]


def _target(x: FloatArray, codes: FloatArray | Codes, factors: Factors, curvatures: list[float]) -> FloatArray:
    """Return what ``H_l`` should be for the samples to be fitted, l the number of ``curvatures``; x for none."""
    images: list[FloatArray | Codes] = [codes]  # H_L, ..., H_1
    for factor in factors[:0:-1]:
        images.append(images[-1] @ factor)
    target = x
    for layer, curvature in enumerate(curvatures):
        image, factor = images[len(factors) - 1 - layer], factors[layer]
        target = image + (target - image @ factor) @ factor.T / curvature
    return target


def code_step(x: FloatArray, codes: Codes, factors: Factors, penalty: float, steps: int) -> Codes:
    """Return the codes ``(n, p)`` after ``steps`` proximal steps through all layers, from the given ones.

    None of them raises the objective: ``Z <- soft(t_L, penalty / (a_1 ... a_L))``.
    """
    curvatures = _curvatures(factors)
    level, parts = penalty / float(np.prod(curvatures)), []
    for rows, block in _blocks(x, codes):
        dense = block.toarray()
        for _ in range(steps):
            target = _target(rows, dense, factors, curvatures)
            dense = np.sign(target) * np.maximum(np.abs(target) - level, 0.0)
        parts.append(Codes(dense))
    return Codes(vstack(parts, format="csr"))


def factor_step(x: FloatArray, codes: Codes, factors: Factors, layer: int) -> FloatArray:
    """Return ``B_layer`` that minimises ``||t - H B||_F`` at that layer; rows that no code reaches stay.

    The objective does not rise, since it is majorised by this fit and equal to it, up to a constant, at the old factor.
    """
    old, curvatures = factors[layer], _curvatures(factors[:layer])
    gram, cross = np.zeros((len(old), len(old))), np.zeros_like(old)
    for rows, block in _blocks(x, codes):
        image = reduce(lambda inner, factor: inner @ factor, factors[:layer:-1], block)
        dense = image.toarray() if layer == len(factors) - 1 else image
        gram += dense.T @ dense
        cross += dense.T @ _target(rows, block, factors, curvatures)
    used = np.flatnonzero(np.diag(gram) > 0)
    new = old.copy()
    weight = np.sqrt(np.diag(gram)[used])
    # From the old factor on: where several fit equally well, the nearest.
    slope = (cross[used] - gram[used] @ old) / weight[:, None]
    system = gram[np.ix_(used, used)] / np.outer(weight, weight)
    new[used] += np.linalg.lstsq(system, slope, rcond=1e-12)[0] / weight[:, None]
    return new


def _normalised(factors: Factors, codes: Codes) -> tuple[Factors, Codes]:
    """Return the last factor with product rows of unit norm and the codes times the norms; zero rows stay."""
    norms = unit_rows(product(factors))[1]
    norms[norms == 0] = 1.0
    scaled = codes.copy()
    scaled.data *= norms[codes.indices]
    return [*factors[:-1], factors[-1] / norms[:, None]], scaled


def _revived(factors: Factors, codes: Codes, residual: FloatArray, rng: Rng) -> tuple[Factors, int]:
    """Return the factors with atoms that no code uses set to residuals, as far as the layers below reach, and how many.

    The norms of the other atoms are the scale of the new ones.
    """
    atoms = product(factors)
    idle = np.flatnonzero(np.bincount(codes.indices[codes.data != 0], minlength=len(atoms)) == 0)
    if not len(idle):
        return factors, 0
    fresh = replace_atoms(atoms, idle, residual, rng)[idle]
    below = product(factors[:-1]) if len(factors) > 1 else np.eye(atoms.shape[1])
    last = factors[-1].copy()
    last[idle] = fresh @ np.linalg.pinv(below)
    return [*factors[:-1], last], len(idle)
