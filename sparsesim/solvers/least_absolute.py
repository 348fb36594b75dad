"""Least absolute deviations under one linear equation, many at a time: the linear programmes of ER-SpUD."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from sparsesim._arrays import FloatArray, check_int, check_real, check_samples
from sparsesim.solvers.blocks import row_blocks

BLOCK_ENTRIES = 2**21  # numbers of all normal equations being formed at a time
INSIDE = 0.9995  # of the way to the nearest bound that a step goes
REGULAR = 1e-14  # added to the diagonal of the normal equations, relative to it


def least_absolute(
    x: FloatArray, equations: FloatArray, *, tolerance: float = 1e-9, max_iterations: int = 100
) -> tuple[FloatArray, FloatArray]:
    """Return the minimisers ``w (r, d)`` of ``||x w||_1`` subject to ``<equation, w> = 1``, and their gaps ``(r,)``.

    The dual is ``max t`` over ``x^T s = t * equation, |s_i| <= 1``. Both sides stay feasible along a primal-dual path
    with predictor and corrector, so that the gap ``1 - t / ||x w||_1`` bounds the relative error of the minimum. A
    programme ends at ``tolerance``, or with the smallest gap of ``max_iterations`` steps. Where there are several
    minimisers w is a point inside their face.

    Parameters
    ----------
    x : (n, d) samples of rank d.
    equations : (r, d), none of them zero.

    Raises
    ------
    ValueError
        If ``x`` has dependent columns, or an equation is zero.

    References
    ----------
    Portnoy and Koenker (1997), "The Gaussian hare and the Laplacian tortoise"; Mehrotra (1992) for the corrector.
    """
    samples = check_samples(x).astype(np.float64)
    rows = check_samples(equations, "equations", dim=samples.shape[1]).astype(np.float64)
    check_real("tolerance", tolerance, 0.0, 1.0)
    check_int("max_iterations", max_iterations, 1)
    if not rows.any(axis=1).all():
        raise ValueError(f"equations must not be zero; row {int(np.argmin(rows.any(axis=1)))} is.")
    whitening = whitener(samples)
    white, rows = samples @ whitening, rows @ whitening
    minimisers, gaps = np.empty_like(rows), np.empty(len(rows))
    for block in row_blocks(len(rows), BLOCK_ENTRIES, white.size):
        minimisers[block], gaps[block] = _solve(white, rows[block], tolerance, max_iterations)
    return minimisers @ whitening, gaps


def whitener(x: FloatArray) -> FloatArray:
    """Return the symmetric ``W (d, d)`` with ``W x^T x W = n I``.

    Raises
    ------
    ValueError
        If the columns of ``x (n, d)`` are dependent, to a ratio of singular values below 1e-10.
    """
    singular, right = np.linalg.svd(x, full_matrices=False)[1:]
    if len(singular) < x.shape[1] or singular[-1] <= 1e-10 * singular[0]:
        rank = int(np.count_nonzero(singular > 1e-10 * singular[0]))
        raise ValueError(
            f"x must have rank d={x.shape[1]}; got rank {rank} from {len(x)} samples. "
            "Add samples, or project them on their principal directions first."
        )
    white: FloatArray = (right.T * (np.sqrt(len(x)) / singular)) @ right
    return white


class _Path:
    """Programmes of one block, feasible on both sides: w, and s with the parts p - q = x w and slacks 1 -+ s."""

    def __init__(self, x: FloatArray, rows: FloatArray) -> None:
        self._x = x
        norms = np.linalg.norm(rows, axis=1, keepdims=True)
        self._unit, self._plane = rows / norms, _planes(rows / norms)
        self.w = self._unit / norms  # of least norm, so of least squares: x is white
        self._s = np.zeros((len(rows), len(x)))
        residual = self.w @ x.T
        self._p = np.maximum(residual, 0.0) + 0.1 * np.abs(residual).mean(axis=1, keepdims=True)
        self._q = self._p - residual
        self._norms = norms[:, 0]

    def gap(self) -> FloatArray:
        """Return 1 - dual / primal of each programme."""
        dual = ((self._s @ self._x) * self._unit).sum(axis=1) / self._norms
        primal = np.abs(self._p - self._q).sum(axis=1)
        gap: FloatArray = 1 - dual / np.where(primal > 0, primal, 1.0)
        return gap

    def keep(self, chosen: npt.NDArray[np.bool_]) -> None:
        """Drop the programmes that are not ``chosen``."""
        for name in ("_unit", "_plane", "w", "_s", "_p", "_q", "_norms"):
            setattr(self, name, getattr(self, name)[chosen])

    def step(self) -> None:
        """Predict where complementarity vanishes, then step with its second-order terms towards the centre."""
        above, below = 1 - self._s, 1 + self._s
        self._spread = 1 / (self._p / above + self._q / below)
        hessian = self._plane.transpose(0, 2, 1) @ ((self._spread[:, None] * self._x.T) @ self._x) @ self._plane
        size = hessian.shape[1]
        hessian[:, range(size), range(size)] *= 1 + REGULAR  # at the very end it is singular to rounding
        zero = np.zeros_like(self._s)
        _, ds, dp, dq = self._direction(hessian, above, below, zero, zero)
        mean = (above * self._p + below * self._q).mean(axis=1, keepdims=True) / 2
        primal, dual = self._lengths(ds, dp, dq)
        left = (above - dual * ds) * (self._p + primal * dp) + (below + dual * ds) * (self._q + primal * dq)
        centre = mean * (left.mean(axis=1, keepdims=True) / 2 / mean) ** 3
        dw, ds, dp, dq = self._direction(hessian, above, below, centre + ds * dp, centre - ds * dq)
        primal, dual = self._lengths(ds, dp, dq)
        self.w = self.w + primal * dw
        self._p, self._s = self._p + primal * dp, self._s + dual * ds
        self._q = self._q + primal * dq

    def _direction(
        self, hessian: FloatArray, above: FloatArray, below: FloatArray, up: FloatArray, down: FloatArray
    ) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
        """Return the changes of w, s, p and q that would make the products p (1-s), q (1+s) ``up`` and ``down``."""
        push = self._p - self._q - up / above + down / below
        right = ((push * self._spread) @ self._x)[:, None] @ self._plane
        inner = np.linalg.solve(hessian, -right.transpose(0, 2, 1))
        dw = (self._plane @ inner)[..., 0]
        ds = (dw @ self._x.T + push) * self._spread
        dp = up / above - self._p + self._p * ds / above
        dq = down / below - self._q - self._q * ds / below
        return dw, ds, dp, dq

    def _lengths(self, ds: FloatArray, dp: FloatArray, dq: FloatArray) -> tuple[FloatArray, FloatArray]:
        primal = INSIDE * np.minimum(_reach(self._p, dp), _reach(self._q, dq))
        dual = INSIDE * np.minimum(_reach(1 - self._s, -ds), _reach(1 + self._s, ds))
        return np.minimum(primal, 1.0), np.minimum(dual, 1.0)


def _reach(value: FloatArray, change: FloatArray) -> FloatArray:
    """Return how far along ``change`` each row of ``value`` stays positive, infinity for ever, as ``(r, 1)``."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(change < 0, -value / change, np.inf)
    reach: FloatArray = ratio.min(axis=1, keepdims=True)
    return reach


def _planes(units: FloatArray) -> FloatArray:
    """Return orthonormal bases ``(r, d, d-1)`` of the planes normal to unit rows: Householder reflections less one."""
    vectors = units.copy()
    vectors[:, 0] += np.where(units[:, 0] >= 0, 1.0, -1.0)
    scale = 2 / np.square(vectors).sum(axis=1)
    planes: FloatArray = np.eye(units.shape[1]) - scale[:, None, None] * vectors[:, :, None] * vectors[:, None, :]
    return planes[:, :, 1:]


def _solve(x: FloatArray, rows: FloatArray, tolerance: float, max_iterations: int) -> tuple[FloatArray, FloatArray]:
    """Return minimisers and gaps of one block in white samples; each programme keeps the point of least gap."""
    path, place = _Path(x, rows), np.arange(len(rows))
    best, gaps = path.w.copy(), path.gap()
    for _ in range(max_iterations):
        active = gaps[place] > tolerance
        if not active.any():
            break
        path.keep(active)
        place = place[active]
        with np.errstate(all="ignore"):
            path.step()
            gap = path.gap()
        better = gap < gaps[place]  # NaN is not
        best[place[better]], gaps[place[better]] = path.w[better], gap[better]
        finite = np.isfinite(gap)
        path.keep(finite)
        place = place[finite]
    return best, np.maximum(gaps, 0.0)
