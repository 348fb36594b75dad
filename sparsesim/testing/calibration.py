"""Whether a posterior is calibrated: over draws of truth and data, the truth ranks uniformly among posterior draws.

References
----------
Talts et al. (2018), "Validating Bayesian inference algorithms with simulation-based calibration", arXiv:1804.06788.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias, final

import numpy as np
from scipy.stats import kstest

from sparsesim._arrays import FloatArray, IntArray, Rng, check_int, check_matrix, check_real
from sparsesim._identity import fork

# Each is told how much to draw and from which generator, and draws all at once.
Prior: TypeAlias = Callable[[int, Rng], FloatArray]  # n -> truths (n, q)
Data: TypeAlias = Callable[[FloatArray, Rng], Any]  # truths -> what is observed of each
Sampler: TypeAlias = Callable[[Any, int, Rng], FloatArray]  # data, draws -> posterior draws (n, draws, q)


@final
@dataclass(frozen=True, eq=False)
class Calibration:
    """Ranks of truths among their posterior draws, and whether they could be uniform.

    Attributes
    ----------
    ranks : (n, q) how many of the draws lie below the truth, 0 to ``draws``; among equal values the place is random.
    places : (n, q) in (0, 1), ``(rank + u) / (draws + 1)`` with u uniform: exactly uniform if calibrated.
    draws : posterior draws of each truth.
    p_values : (q,) at most 1 and never too small: twice the smaller of two exact Kolmogorov-Smirnov tests, that the
        places of a quantity are uniform, and that their distances from 1/2 are. The second sees a wrong width, to which
        the first is nearly blind.
    error : the probability with which a calibrated posterior is called wrong.
    """

    ranks: IntArray
    places: FloatArray
    draws: int
    p_values: FloatArray
    error: float

    @property
    def calibrated(self) -> bool:
        """Whether no quantity was found wrong; each is tested at ``error / q``, so that all are right together."""
        return bool(self.p_values.min() >= self.error / len(self.p_values))

    @property
    def bias(self) -> FloatArray:
        """Mean place less 1/2 ``(q,)``: above zero the posterior lies too low; standard error ``1 / sqrt(12 n)``."""
        return np.asarray(self.places.mean(axis=0) - 0.5)

    @property
    def spread(self) -> FloatArray:
        """Mean of ``12 (place - 1/2)^2`` ``(q,)``: 1 if calibrated, above for a posterior too narrow, below too wide.

        Its standard error is ``sqrt(4 / (5 n))``, since the fourth moment of a uniform place is 1/80.
        """
        return np.asarray(12.0 * np.square(self.places - 0.5).mean(axis=0))

    def __str__(self) -> str:
        worst = int(self.p_values.argmin())
        return (
            f"{'calibrated' if self.calibrated else 'NOT calibrated'} at error {self.error:g}: of {len(self.p_values)} "
            f"quantities over {len(self.ranks)} truths the worst is {worst}, p = {self.p_values[worst]:.2g}, "
            f"bias {self.bias[worst]:+.3f}, spread {self.spread[worst]:.2f} (1 is right)."
        )


def rank_truths(
    prior: Prior, data: Data, sampler: Sampler, *, n: int, draws: int, error: float = 1e-3, rng: Rng
) -> Calibration:
    """Return whether ``sampler`` draws from the posterior of the world that ``prior`` and ``data`` make.

    A truth, drawn with its data, is one more draw from the posterior given the data. So its rank among ``draws`` of the
    sampler is uniform on 0, ..., draws, whatever the model, if the sampler is right and its draws are independent. The
    converse does not hold: a sampler that returns the prior is calibrated too, and knows nothing. Quantities of several
    parameters see more than each parameter alone: of a sparse code the energy, or the log likelihood.

    Parameters
    ----------
    prior : ``(n, rng)`` to truths ``(n, q)``: parameters, or any quantities of them.
    data : ``(truths, rng)`` to what is observed of each of them.
    sampler : ``(data, draws, rng)`` to draws ``(n, draws, q)`` given the data of each truth.
    n, draws : truths, and posterior draws of each.
    error : probability at most of calling a right sampler wrong; exact at any n.

    Raises
    ------
    ValueError, TypeError
        If the truths or draws are not finite arrays of these shapes, or ``error`` does not lie in (0, 1).
    """
    check_int("n", n, 2)
    check_int("draws", draws, 1)
    if check_real("error", error, 0.0, 1.0, open_low=True) == 1.0:
        raise ValueError(f"error must lie strictly between 0 and 1; got {error!r}.")
    prior_rng, data_rng, sampler_rng, tie_rng = fork(rng, 4)
    truths = check_matrix(prior(n, prior_rng), "the truths").astype(np.float64)
    if len(truths) != n or not truths.shape[1]:
        raise ValueError(f"prior must return truths (n={n}, q), q >= 1; got shape {truths.shape}.")
    drawn = np.asarray(sampler(data(truths, data_rng), draws, sampler_rng), dtype=np.float64)
    if drawn.shape != (n, draws, truths.shape[1]) or not np.isfinite(drawn).all():
        raise ValueError(
            f"sampler must return finite draws (n, draws, q)={(n, draws, truths.shape[1])}; got shape {drawn.shape}"
            f"{' with NaN or infinity' if not np.isfinite(drawn).all() else ''}."
        )
    below = (drawn < truths[:, None, :]).sum(axis=1)
    ranks = below + tie_rng.integers(0, (drawn == truths[:, None, :]).sum(axis=1) + 1)
    places = (ranks + tie_rng.random(ranks.shape)) / (draws + 1)
    return Calibration(ranks, places, int(draws), _p_values(places), float(error))


def _p_values(places: FloatArray) -> FloatArray:
    both = [
        [kstest(column, "uniform", method="exact").pvalue for column in kind.T]
        for kind in (places, np.abs(2.0 * places - 1.0))
    ]
    return np.asarray(np.minimum(2.0 * np.min(both, axis=0), 1.0))
