"""What is true of a realised world: coherence, rates, signal-to-noise ratio and which recovery theorems apply."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy.special import bdtr, bdtrc, ndtri

from sparsesim._arrays import FloatArray
from sparsesim._identity import Role, stream
from sparsesim.generators.base import FeatureModel, SecondOrderLaw
from sparsesim.generators.geometry import inner_products
from sparsesim.generators.noise import SignalToNoise

PROBE_SAMPLES = 10_000
_SLACK = 1e-9  # an equality missed by rounding must not pass for a strict inequality


def describe(model: FeatureModel) -> dict[str, object]:
    """Return the properties of ``model`` that decide how hard it is, as plain numbers.

    All are exact up to rounding but those named under ``estimated``: ``realised_*`` come from 10,000 samples of a
    random stream of their own, and so does the signal energy where the support law has no `energy`.

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
            of each count read as a normal quantile. About 3.9 is expected of 1,000 features, 4.9 of 100,000.
        noise_std : in each coordinate.
        snr_db : 10 log10(E||codes @ atoms||^2 / E||noise||^2), infinite without noise.
        recovery : for k = ceil(mean_l0) active features, noiselessly, which guarantees hold (`recovery`).
        estimated : names of the values that are estimates.

    References
    ----------
    Welch (1974); Roy and Vetterli (2007), "The effective rank"; Tropp (2004), "Greed is good".
    """
    m, d, rates = model.n_features, model.dim, model.spec.support.marginals()
    mean_l0 = float(rates.sum())
    k = max(1, math.ceil(mean_l0 - _SLACK))
    babel = cumulative_coherence(model.atoms, min(m - 1, max(d, k)))
    mu = float(babel[0]) if m > 1 else 0.0
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
        **_probe(model, rates),
        "noise_std": float(model.noise_std),
        "snr_db": _snr_db(model),
        "recovery": recovery(babel, mu, k, m),
        "estimated": ("realised_mean_l0", "realised_rate_max_abs_z", *_estimated_noise(model)),
    }


def cumulative_coherence(atoms: FloatArray, largest: int) -> FloatArray:
    """Return mu_1(k) = max_i (sum of the k largest |<d_i, d_j>|, j != i) for k = 1 ... ``largest`` <= m - 1."""
    if largest < 1:
        return np.empty(0)
    found = np.zeros(largest)
    for block in inner_products(atoms):
        top = -np.partition(-block, largest - 1, axis=1)[:, :largest]
        np.maximum(found, np.cumsum(-np.sort(-top, axis=1), axis=1).max(axis=0), out=found)
    return found


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


def _probe(model: FeatureModel, rates: FloatArray) -> dict[str, float]:
    support = model.spec.support.draw(PROBE_SAMPLES, stream(0, Role.MODEL_PROBE, 1))
    counts = np.bincount(support.indices, minlength=model.n_features).astype(np.float64)
    at_most = bdtr(counts, PROBE_SAMPLES, rates)
    at_least = np.where(counts > 0, bdtrc(counts - 1, PROBE_SAMPLES, rates), 1.0)
    z = -ndtri(np.minimum(np.minimum(at_most, at_least), 0.5))
    return {
        "realised_mean_l0": len(support.indices) / PROBE_SAMPLES,
        "realised_rate_max_abs_z": float(z.max()),
    }


def _snr_db(model: FeatureModel) -> float:
    if model.noise_std == 0:
        return math.inf
    energy = model.signal_energy()
    return 10.0 * math.log10(energy / (model.dim * model.noise_std**2)) if energy > 0 else -math.inf


def _estimated_noise(model: FeatureModel) -> tuple[str, ...]:
    if isinstance(model.spec.support, SecondOrderLaw) or model.noise_std == 0:
        return ()
    # One of the two is given, the other follows from the energy of a finite sample.
    return ("noise_std",) if isinstance(model.spec.noise, SignalToNoise) else ("snr_db",)
