"""The maximum mean discrepancy of two samples, unbiased, with inverse multiquadric kernels of several scales."""

from __future__ import annotations

from torch import Tensor

SCALES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)


def kernel(a: Tensor, b: Tensor) -> Tensor:
    """Return sum_s C_s / (C_s + ||a_i - b_j||^2) with C_s = 2 p s, ``(..., n, m)`` for a ``(..., n, p)``, b likewise.

    2 p is the mean squared distance of two draws from N(0, I), so that the scales s lie around it.
    """
    centre = b.detach().mean(-2, keepdim=True)  # far from it distances would be differences of large numbers
    a, b = a - centre, b - centre
    squares = a.square().sum(-1).unsqueeze(-1) + b.square().sum(-1).unsqueeze(-2)
    distance = (squares - 2.0 * (a @ b.mT)).clamp_min(0.0)
    total = distance.new_zeros(())
    for scale in SCALES:
        bend = 2.0 * a.shape[-1] * scale
        total = total + bend / (bend + distance)
    return total


def squared_mmd(a: Tensor, b: Tensor) -> Tensor:
    """Return the unbiased estimate of MMD^2 of the laws of the rows of ``a (..., n, p)`` and ``b (..., m, p)``.

    Pairs within a sample leave out a row with itself, pairs across are all of them: the rows of a and b are
    independent. The mean is 0 where the laws are equal; single estimates may be negative.

    References
    ----------
    Gretton et al. (2012), "A kernel two-sample test"; the kernel of Tolstikhin et al. (2018), arXiv
    1711.01558.
    """
    return _within(a) + _within(b) - 2.0 * kernel(a, b).mean((-2, -1))


def _within(a: Tensor) -> Tensor:
    values, n = kernel(a, a), a.shape[-2]
    return (values.sum((-2, -1)) - values.diagonal(dim1=-2, dim2=-1).sum(-1)) / (n * (n - 1))


def check_batches(batch_size: int) -> None:
    """Raise ValueError where batches are too small for the estimate."""
    if batch_size < 2:
        raise ValueError(f"training.batch_size must be at least 2, or there are no pairs to compare; got {batch_size}.")
