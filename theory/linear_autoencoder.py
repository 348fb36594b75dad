"""Weight decay on a product of matrices is a penalty on its singular values; the regularised linear autoencoder.

References
----------
Kunin, Bloom, Goeva, Seed (2019), "Loss landscapes of regularized linear autoencoders", arXiv 1901.08168; Srebro,
Rennie, Jaakkola (2004), "Maximum-margin matrix factorization", for two factors; Shang, Liu, Cheng (2016) for more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
import numpy.typing as npt

from theory._premises import Array, count, matrix, positive, spectrum


@final
@dataclass(frozen=True, eq=False)
class RegularisedAutoencoder:
    """The optimum of a linear autoencoder with weight decay, unit by unit from the largest eigenvalue down.

    Attributes
    ----------
    shrinkage : (q,), singular values of encoder times decoder, in [0, 1); 0 for a unit that decay has removed.
    loss : reconstruction error plus penalty.
    """

    shrinkage: Array
    loss: float

    @property
    def rank(self) -> int:
        """The number of directions that survive the decay."""
        return int(np.count_nonzero(self.shrinkage))


def regularised_autoencoder(eigenvalues: npt.ArrayLike, q: int, penalty: float) -> RegularisedAutoencoder:
    """Return the optimum of ``E||x - x E A||^2 + penalty (||E||_F^2 + ||A||_F^2)`` over q units, x of that covariance.

    Encoder and decoder are transposes in the q leading eigenvectors with squared singular values
    ``(1 - penalty / lambda_i)_+``: a direction is lost iff its variance is at most the penalty, and the loss is the sum
    of ``2 penalty - penalty^2 / lambda_i`` over those kept and of lambda_i over all others. Rotations of the latents
    leave the loss unchanged, so that units are not identified, but the singular vectors of the decoder are.

    Raises
    ------
    ValueError
        If an eigenvalue is negative, or q < 1, or the penalty is not positive.

    References
    ----------
    Kunin et al. (2019), arXiv 1901.08168, the loss with a sum of norms.
    """
    values, q = spectrum(eigenvalues), count("q", q)
    positive("penalty", penalty)
    units = np.zeros(q)
    units[: min(q, len(values))] = values[:q]
    kept = units > penalty
    shrinkage = np.where(kept, 1.0 - penalty / np.where(kept, units, 1.0), 0.0)
    paid = np.where(kept, penalty * (1.0 + shrinkage), units)
    return RegularisedAutoencoder(shrinkage, float(paid.sum() + values[q:].sum()))


def factorisation_cost(product: npt.ArrayLike, depth: int) -> float:
    """Return the least ``sum_l ||W_l||_F^2`` over W_1 ... W_L whose product is the given matrix: ``L sum_i s_i^{2/L}``.

    s_i are its singular values; the inner dimensions are at least its rank. Two factors give twice the nuclear norm, so
    that weight decay selects low rank; more factors a Schatten quasi-norm, nearer to the rank the deeper.
    """
    values = np.linalg.svd(matrix("product", product), compute_uv=False)
    return float(count("depth", depth) * (values ** (2.0 / depth)).sum())


def balanced_factors(product: npt.ArrayLike, depth: int) -> tuple[Array, ...]:
    """Return W_1 ... W_L with ``W_1 W_2 ... W_L = product`` that attain `factorisation_cost`.

    ``U S^{1/L}``, then ``S^{1/L}`` in between, then ``S^{1/L} V^T``; all have the same singular values.
    """
    whole = matrix("product", product)
    if count("depth", depth) == 1:
        return (whole,)
    left, values, right = np.linalg.svd(whole, full_matrices=False)
    root = values ** (1.0 / depth)
    return (left * root, *(np.diag(root) for _ in range(depth - 2)), root[:, None] * right)


def singular_shrinkage(target: npt.ArrayLike, penalty: float) -> Array:
    """Return the minimiser M = U V of ``||Y - U V||_F^2 / 2 + penalty (||U||_F^2 + ||V||_F^2) / 2``.

    It softens the singular values of Y: ``s -> (s - penalty)_+``, the proximal map of the nuclear norm.
    """
    left, values, right = np.linalg.svd(matrix("target", target), full_matrices=False)
    return np.asarray(left * np.maximum(values - positive("penalty", penalty), 0.0) @ right)
