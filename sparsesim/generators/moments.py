"""First and second moments of a world's samples: in closed form where there is one, else estimated, with the error."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

import numpy as np

from sparsesim._arrays import FloatArray, read_only
from sparsesim._identity import Role, stream
from sparsesim.generators.laws import SupportLaw, has_second_moments, rate_errors
from sparsesim.generators.observation import AddedSignal, SignalMap, product

if TYPE_CHECKING:
    from sparsesim.generators.base import FeatureModel

PROBE_SAMPLES = 20_000
_BATCHES = 40  # batch means give an honest error also where successive rows depend on one another
_LARGEST_JOINT = 8192  # features whose (m, m) joint rates are formed, 512 MiB


@final
@dataclass(frozen=True)
class Estimate:
    """A number and its standard error, which is 0 where the number is exact up to rounding."""

    value: float
    error: float


@final
@dataclass(frozen=True, eq=False)
class Moments:
    """Mean and covariance of the samples x of a world, before any entry is lost.

    Attributes
    ----------
    mean : (d,)
    covariance : (d, d)
    mean_error, covariance_error : standard errors of their entries; all 0 where the moments are exact up to rounding.
    """

    mean: FloatArray
    covariance: FloatArray
    mean_error: FloatArray
    covariance_error: FloatArray

    @property
    def exact(self) -> bool:
        """Whether the moments are closed forms: then only rounding separates them from the truth."""
        return not (self.mean_error.any() or self.covariance_error.any())


def _coefficients(model: FeatureModel) -> Iterator[tuple[FloatArray, FloatArray, Any]]:
    """Yield mean (m,), second moment (m,) and E[c_i c_j | both fire] (m, m) of the coefficients for each label.

    The last is None for coefficients that are independent given the support.
    """
    law, m = model.spec.magnitude, model.n_features
    mean, second = law.mean(m), law.second_moment(m)
    coupled: Any = law
    cross = None if getattr(law, "independent", True) else coupled.cross(m)
    if model.segments is None:
        yield mean, second, cross
        return
    for a, b in zip(model.segments.scale, model.segments.shift, strict=True):
        both = None
        if cross is not None:
            both = np.outer(a, a) * cross + np.outer(a * mean, b) + np.outer(b, a * mean) + np.outer(b, b)
        yield a * mean + b, a**2 * second + 2.0 * a * b * mean + b**2, both


def _is_known(model: FeatureModel) -> bool:
    """Whether E||codes @ atoms||^2 has a closed form that is affordable."""
    law, magnitude = model.spec.support, model.spec.magnitude
    if not has_second_moments(law):
        return False
    if getattr(magnitude, "independent", True):
        return True
    return hasattr(magnitude, "cross") and model.n_features <= _LARGEST_JOINT


def _linear_energy(model: FeatureModel) -> float:
    law: Any = model.spec.support
    norms, atoms, total, count = np.square(model.atoms).sum(axis=1), model.atoms, 0.0, 0
    for mean, second, cross in _coefficients(model):
        if cross is None:
            spread = law.marginals() * (second - mean**2) * norms
            total += law.energy(mean[:, None] * atoms) + float(spread.sum())
        else:
            total += float((product(law.pairwise() * cross, atoms) * atoms).sum())
        count += 1
    return total / count


def signal_energy(model: FeatureModel, maps: tuple[SignalMap, ...]) -> Estimate:
    """Return E||f(codes @ atoms)||^2 (summed over d), f the changes ``maps`` in their order.

    Exact where the support law has `energy`, the coefficients are independent given the support or say `cross` (with at
    most 8192 features), and all changes are an `AddedSignal`; else the mean over 20,000 samples of a stream of its own,
    with a standard error by 40 batch means.
    """
    added = [change.covariance() for change in maps if isinstance(change, AddedSignal)]
    if len(added) == len(maps) and _is_known(model):
        return Estimate(_linear_energy(model) + sum(float(np.trace(each)) for each in added), 0.0)
    rng = stream(0, Role.MODEL_PROBE)
    codes, _ = model.draw_codes(PROBE_SAMPLES, rng, np.dtype(np.float64))
    squares = np.square(model.change(codes, maps, rng)).sum(axis=1)
    batches = squares.reshape(_BATCHES, -1).mean(axis=1)
    return Estimate(float(squares.mean()), float(batches.std(ddof=1) / np.sqrt(_BATCHES)))


def mean_coefficients(model: FeatureModel) -> FloatArray:
    """Return E[coefficient | fires] ``(m,)`` over all labels; times the firing rate it is E[codes]."""
    mean = model.spec.magnitude.mean(model.n_features)
    if model.segments is None:
        return mean
    return np.asarray(model.segments.scale.mean(axis=0) * mean + model.segments.shift.mean(axis=0))


def scatter(law: SupportLaw, vectors: FloatArray) -> FloatArray | None:
    """Return E[s s^T] ``(d, d)``, s the sum of the firing rows of ``vectors (m, d)``, or None where it is unknown.

    A law may offer ``scatter(vectors)``; else the (m, m) joint rates are formed for up to 8192 features.
    """
    known: Any = law
    if hasattr(law, "scatter"):
        return np.asarray(known.scatter(vectors))
    if has_second_moments(law) and law.n_features <= _LARGEST_JOINT:
        return np.asarray(vectors.T @ (known.pairwise() @ vectors))
    return None


def _linear_second_moment(model: FeatureModel) -> FloatArray | None:
    law: Any = model.spec.support
    atoms, total, count = model.atoms, np.zeros((model.dim, model.dim)), 0
    for mean, second, cross in _coefficients(model):
        if cross is None:
            centre = scatter(law, mean[:, None] * atoms)
            if centre is None:
                return None
            total += centre + atoms.T @ ((law.marginals() * (second - mean**2))[:, None] * atoms)
        else:
            total += atoms.T @ (law.pairwise() * cross @ atoms)
        count += 1
    return total / count


def moments(model: FeatureModel) -> Moments:
    """Return mean and covariance of x (before any entry is lost), exact where the world has closed forms.

    With p the firing rates, P the joint rates, mu and s the moments of the coefficients, independent given the support,

        E[x]   = sum_i p_i mu_i d_i + bias,
        Cov(x) = sum_ij P_ij mu_i mu_j d_i d_j^T + sum_i p_i (s_i - mu_i^2) d_i d_i^T - E E^T + backgrounds + noise,

    averaged over the labels if there are any. That is exact where the law has `pairwise` (for more than 8192 features:
    ``scatter``) and the world is linear up to what is independent of the codes. Otherwise both are estimated from
    20,000 samples of a stream of its own; `Moments.exact` says which.
    """
    changes = [change for change in model.observation if isinstance(change, AddedSignal)]
    linear = len(changes) == len(model.observation) and _is_known(model)
    second = _linear_second_moment(model) if linear else None
    if second is None:
        return _estimated(model)
    signal = (model.spec.support.marginals() * mean_coefficients(model)) @ model.atoms
    noise: Any = model.spec.noise
    covariance = second - np.outer(signal, signal) + sum(change.covariance() for change in changes)
    if model.noise_std > 0:
        covariance += model.noise_std**2 * noise.covariance(model.dim)
    zeros = np.zeros((model.dim, model.dim))
    return _frozen(signal + model.bias, (covariance + covariance.T) / 2.0, zeros[0], zeros)


def _frozen(*arrays: FloatArray) -> Moments:
    return Moments(*(read_only(array) for array in arrays))


def _estimated(model: FeatureModel) -> Moments:
    """Return the moments of 20,000 samples, drawn in pieces that bound the memory, with errors by batch means.

    Where x is linear in the codes, its mean is exact all the same, up to what the errors of numerical rates add up to.
    """
    kind, size = np.dtype(np.float64), PROBE_SAMPLES // _BATCHES
    linear = all(isinstance(change, AddedSignal) for change in model.observation)
    mean_error: FloatArray = np.zeros(model.dim)
    if linear:
        coefficients, law = mean_coefficients(model), model.spec.support
        centre = (law.marginals() * coefficients) @ model.atoms + model.bias
        mean_error = (rate_errors(law) * np.abs(coefficients)) @ np.abs(model.atoms)
    else:  # any centre near the mean will do
        centre = model.complete(size, stream(0, Role.MODEL_PROBE, 2, _BATCHES), kind).x.mean(axis=0)
    means, products = np.zeros((_BATCHES, model.dim)), np.zeros((2, model.dim, model.dim))
    for piece in range(_BATCHES):
        x = model.complete(size, stream(0, Role.MODEL_PROBE, 2, piece), kind).x - centre
        means[piece] = x.mean(axis=0)
        own = x.T @ x / size
        products += np.stack([own, own**2])
    first, second = products / _BATCHES
    error = np.sqrt(np.maximum(second - first**2, 0.0) / (_BATCHES - 1))
    if linear:
        return _frozen(centre, first, mean_error, error)
    mean, factor = means.mean(axis=0), PROBE_SAMPLES / (PROBE_SAMPLES - 1)
    mean_error = means.std(axis=0, ddof=1) / np.sqrt(_BATCHES)
    return _frozen(centre + mean, factor * (first - np.outer(mean, mean)), mean_error, error)
