"""What is true of a realised world: coherence, rates, signal-to-noise ratio and which recovery theorems apply."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
from scipy.special import bdtr, bdtrc, ndtr, ndtri

from sparsesim._arrays import FloatArray, IntArray
from sparsesim._identity import Role, stream
from sparsesim.generators.base import FeatureModel
from sparsesim.generators.geometry import inner_products
from sparsesim.generators.laws import Support, SupportLaw, has_independent_rows, rate_errors
from sparsesim.generators.noise import SignalToNoise

PROBE_SAMPLES = 10_000
PROBE_DRAWS = 1_000  # of one row each, which cost far more than rows of one draw
_BATCHES = 40
_SCREENED = 2048  # atoms from which on float32 finds the rows that matter
_BLOCK = 1024  # rows of the Gram matrix that are in memory together
_SLACK = 1e-9  # an equality missed by rounding must not pass for a strict inequality


def describe(model: FeatureModel) -> dict[str, object]:
    """Return the properties of ``model`` that decide how hard it is, as plain numbers.

    All are exact up to rounding but those named under ``estimated``, with their standard errors: ``realised_*`` come
    from 10,000 samples of a random stream of their own, the signal energy from 20,000 where it has no closed form
    (`FeatureModel.energy`), and the rates of a law with `marginal_errors` hold to within these. Coherence, rank and
    guarantees are of the directions, before any change of the signal.

    Returns
    -------
    dict with keys
        n_features, dim : m and d.
        coherence : max |<d_i, d_j>|, i != j.
        welch_bound : sqrt((m-d) / (d (m-1))), which no m directions can be below; 0 for m <= d.
        babel : cumulative coherence mu_1(k) at k = ceil(mean_l0), at most m - 1.
        effective_rank : exp of the entropy (nats) of the singular values of the atoms divided by their sum.
        rate_min, rate_median, rate_max, mean_l0 : of the true firing rates.
        realised_mean_l0 : in the probe.
        realised_rate_max_abs_z : largest deviation of a probe's firing count, the exact binomial tail probability
            of each count read as a normal quantile. About 3.9 is expected of 1,000 features, 4.9 of 100,000. Where
            successive rows depend on one another it is divided by the root of the law's `inflation`; where the law
            does not say that, the probe is 1,000 draws of one row.
        realised_rate_tail : at most the chance that a law of these rates deviates as much in some feature.
        noise_std : in each coordinate.
        snr_db : 10 log10(E||signal||^2 / E||noise||^2), infinite without noise.
        is_linear : whether x is linear in the codes, up to what is independent of them.
        recovery : for k = ceil(mean_l0) active features, noiselessly, which guarantees hold (`recovery`).
        estimated : dict of the values that are estimates to their standard errors.

    References
    ----------
    Welch (1974); Roy and Vetterli (2007), "The effective rank"; Tropp (2004), "Greed is good".
    """
    m, d, rates = model.n_features, model.dim, model.spec.support.marginals()
    mean_l0 = float(rates.sum())
    k = max(1, math.ceil(mean_l0 - _SLACK))
    babel = cumulative_coherence(model.atoms, min(m - 1, max(k, _deciding(model.atoms))))
    mu = float(babel[0]) if m > 1 else 0.0
    realised, errors = _probe(model, rates)
    return {
        "n_features": m,
        "dim": d,
        "coherence": mu,
        "welch_bound": math.sqrt((m - d) / (d * (m - 1))) if m > d else 0.0,
        "babel": float(babel[min(k, m - 1) - 1]) if m > 1 else 0.0,
        "effective_rank": effective_rank(model.atoms),
        "rate_min": float(rates.min()),
        "rate_median": float(np.median(rates)),
        "rate_max": float(rates.max()),
        "mean_l0": mean_l0,
        **realised,
        "noise_std": float(model.noise_std),
        "snr_db": _snr_db(model),
        "is_linear": model.is_linear,
        "recovery": recovery(babel, mu, k, m),
        "estimated": {**_estimated_rates(model), **errors, **_estimated_noise(model)},
    }


def cumulative_coherence(atoms: FloatArray, largest: int) -> FloatArray:
    """Return mu_1(k) = max_i (sum of the k largest |<d_i, d_j>|, j != i) for k = 1 ... ``largest`` <= m - 1.

    Many atoms are first compared in float32. The k largest entries of a row sum to within k e of what they are in
    float32, e the bound on the rounding of one inner product; so only rows within 2 k e of the largest sum can attain
    mu_1(k), and these are computed again in float64. The result is that of float64 throughout.
    """
    if largest < 1:
        return np.empty(0)
    rows = np.asarray(atoms, dtype=np.float64)
    if len(rows) < _SCREENED:
        return _largest_sums(inner_products(rows), largest)
    rivals = _rivals(rows, largest)
    parts = (rivals[low : low + _BLOCK] for low in range(0, len(rivals), _BLOCK))
    return _largest_sums((_products(rows, part) for part in parts), largest)


def _products(rows: FloatArray, chosen: IntArray) -> FloatArray:
    """Return |<d_i, d_j>| for the ``chosen`` i and all j, with 0 for j = i; clipped to 1."""
    block = np.abs(rows[chosen] @ rows.T)
    np.minimum(block, 1.0, out=block)
    block[np.arange(len(chosen)), chosen] = 0.0
    return np.asarray(block)


def _row_sums(block: FloatArray, largest: int) -> FloatArray:
    """Return in each row the running sums of its ``largest`` largest entries, ``(b, largest)``."""
    width = block.shape[1]
    top = np.partition(block, width - largest, axis=1)[:, width - largest :]
    return np.cumsum(np.sort(top, axis=1)[:, ::-1], axis=1, dtype=np.float64)


def _largest_sums(blocks: Iterable[FloatArray], largest: int) -> FloatArray:
    found = np.zeros(largest)
    for block in blocks:
        np.maximum(found, _row_sums(block, largest).max(axis=0), out=found)
    return found


def _rivals(rows: FloatArray, largest: int) -> IntArray:
    """Return the rows that may attain mu_1(k) for some k <= ``largest``, ascending."""
    single = rows.astype(np.float32)
    sums = np.empty((len(rows), largest))
    for low in range(0, len(rows), _BLOCK):
        block = np.abs(single[low : low + _BLOCK] @ single.T)
        own = np.arange(len(block))
        block[own, low + own] = 0.0
        sums[low : low + _BLOCK] = _row_sums(block, largest)
    # An inner product of unit rows is off by at most (d + 2) 2^-24: d products and sums, two conversions. Twice that
    # leaves room for the second order and for the sums themselves.
    slack = np.arange(1, largest + 1) * (2.0 * (rows.shape[1] + 2) * 2.0**-24)
    return np.flatnonzero((sums >= sums.max(axis=0) - 2.0 * slack).any(axis=1))


def _deciding(atoms: FloatArray) -> int:
    """Return a number k from which on mu_1(k-1) + mu_1(k) >= 1 is certain, or min(m - 1, d).

    mu_1(k) is at least the sum over the k nearest of any one atom, here of at most 64 of them; and mu_1(k-1) +
    mu_1(k) < 1 implies 2k < spark <= d + 1.
    """
    m, d = atoms.shape
    most = min(m - 1, d)
    if most < 1:
        return 0
    chosen = np.arange(0, m, max(1, m // 64))[:64]
    sums = _row_sums(_products(np.asarray(atoms, dtype=np.float64), chosen), most).max(axis=0)
    possible = np.count_nonzero(sums + np.append(0.0, sums[:-1]) < 1.0)
    return min(int(most), int(possible) + 1)


def effective_rank(atoms: FloatArray) -> float:
    """Return exp(-sum q_i log q_i), q the singular values of ``atoms (m, d)`` over their sum; in [1, min(m, d)]."""
    rows = np.asarray(atoms, dtype=np.float64)
    gram = rows @ rows.T if len(rows) < rows.shape[1] else rows.T @ rows
    energy = np.linalg.eigvalsh(gram)
    singular = np.sqrt(np.where(energy > max(rows.shape) * np.finfo(np.float64).eps * energy[-1], energy, 0.0))
    share = singular / singular.sum()
    share = share[share > 0]
    return float(np.exp(-(share * np.log(share)).sum()))


def recovery(babel: FloatArray, mu: float, k: int, m: int) -> dict[str, dict[str, Any]]:
    """Return for each classical guarantee whether it ``holds`` at ``k`` active features, and its ``limit``.

    omp_and_bp_by_coherence : k < limit = (1 + 1/mu) / 2; orthogonal matching pursuit and basis pursuit find every code.
    omp_and_bp_by_babel : k <= limit, the largest k with mu_1(k-1) + mu_1(k) < 1; the same, and never weaker.
    uniqueness_by_coherence : k < limit = (1 + 1/mu) / 2, i.e. 2k below the bound 1 + 1/mu on the spark; no other code
        is as sparse.

    ``babel`` holds mu_1(1), mu_1(2), ...; d are enough, since mu_1(k-1) + mu_1(k) < 1 implies 2k < spark <= d+1.

    References
    ----------
    Donoho and Elad (2003); Tropp (2004), Theorem 3.5 and Corollary 3.6.
    """
    limit = (1.0 + 1.0 / mu) / 2.0 if mu > _SLACK else math.inf
    by_coherence = {"holds": k < limit - _SLACK, "limit": limit}
    sums = babel + np.concatenate([[0.0], babel[:-1]])
    reached = int(np.count_nonzero(sums < 1.0 - _SLACK))
    if reached == m - 1 and (m == 1 or 2.0 * babel[-1] < 1.0 - _SLACK):
        reached = m  # mu_1(m) = mu_1(m-1): there are no more atoms to add
    return {
        "omp_and_bp_by_coherence": by_coherence,
        "omp_and_bp_by_babel": {"holds": k <= reached, "limit": float(reached)},
        "uniqueness_by_coherence": dict(by_coherence),
    }


def _estimated_rates(model: FeatureModel) -> dict[str, float]:
    """Return the error of the mean L0 of a law whose rates are numerical, at most the sum of those of the rates."""
    errors = rate_errors(model.spec.support)
    return {"mean_l0": float(errors.sum())} if errors.any() else {}


def _probed(law: SupportLaw) -> Support:
    """Return 10,000 rows; each a draw of its own if rows of one draw depend on one another in a way not said."""
    rng = stream(0, Role.MODEL_PROBE, 1)
    if has_independent_rows(law) or hasattr(law, "inflation"):
        return law.draw(PROBE_SAMPLES, rng)
    rows = [law.draw(1, rng).indices for _ in range(PROBE_DRAWS)]
    return Support(np.cumsum([0, *map(len, rows)]), np.concatenate(rows), law.n_features)


def _probe(model: FeatureModel, rates: FloatArray) -> tuple[dict[str, float], dict[str, float]]:
    """Return what a probe realises, and the standard errors."""
    law: Any = model.spec.support
    support = _probed(law)
    counts = np.bincount(support.indices, minlength=model.n_features).astype(np.float64)
    n = support.n_samples
    at_most = bdtr(counts, n, rates)
    at_least = np.where(counts > 0, bdtrc(counts - 1, n, rates), 1.0)
    z = -ndtri(np.minimum(np.minimum(at_most, at_least), 0.5))
    if hasattr(law, "inflation"):
        inflation = law.inflation()
        z = np.where(np.isinf(inflation), 0.0, z / np.sqrt(inflation))
    # Batch means give an honest error also where successive rows depend on one another.
    active = np.diff(support.indptr).reshape(_BATCHES, -1).mean(axis=1)
    realised = {
        "realised_mean_l0": len(support.indices) / n,
        "realised_rate_max_abs_z": float(z.max()),
        "realised_rate_tail": min(1.0, 2.0 * model.n_features * float(ndtr(-z.max()))),
    }
    return realised, {"realised_mean_l0": float(active.std(ddof=1) / math.sqrt(_BATCHES))}


def _snr_db(model: FeatureModel) -> float:
    if model.noise_std == 0:
        return math.inf
    energy = model.signal_energy()
    # The square of a tiny standard deviation would vanish.
    return 10.0 * (math.log10(energy / model.dim) - 2.0 * math.log10(model.noise_std)) if energy > 0 else -math.inf


def _estimated_noise(model: FeatureModel) -> dict[str, float]:
    if model.noise_std == 0 or model.energy.error == 0:
        return {}
    # One of the two is given, the other follows from the energy of a finite sample.
    relative = model.energy.error / model.energy.value
    if isinstance(model.spec.noise, SignalToNoise):
        return {"noise_std": model.noise_std * relative / 2.0}
    return {"snr_db": 10.0 / math.log(10.0) * relative}
