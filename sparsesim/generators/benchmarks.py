"""Published benchmark worlds by name: as they were released, and with rates that are what they say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np

from sparsesim._arrays import FloatArray
from sparsesim.generators.base import FeatureSpec, SupportLaw
from sparsesim.generators.copula import CorrelatedBernoulli
from sparsesim.generators.correlated_forest import ForestOver
from sparsesim.generators.correlation import LowRankCorrelation
from sparsesim.generators.magnitude_coupled import ParentScaled
from sparsesim.generators.magnitude_shapes import RectifiedNormal
from sparsesim.generators.overlap import LowOverlap
from sparsesim.generators.rates import AffineZipfRates, GivenRates
from sparsesim.generators.relabelled import Relabelled
from sparsesim.generators.released_parts import ReleasedCorrelation, ReleasedScales
from sparsesim.generators.scales import LinearScales
from sparsesim.generators.synthsaebench import SynthSAEBenchSupport

FORMS = ("as_released", "corrected")
FULL = 0.985  # largest share of a parent's firings in which one of its exclusive children fires, in corrected worlds
_BRANCHING, _DEPTH = 4, 3
_RANK, _SCALE = 25, 0.1
_STD_SEED, _CORRELATION_SEED = 42 + 1, 42 + 4  # the released seed, 42, and what SAELens adds for each part


@final
@dataclass(frozen=True)
class _Size:
    """Shape of one SynthSAEBench world; the trees take features in breadth-first order, the rest stand alone."""

    m: int
    d: int
    roots: int


_SIZES = {"synthsaebench-16k": _Size(16_384, 768, 128), "synthsaebench-1k": _Size(1_024, 128, 8)}


def published(name: str, form: str = "as_released") -> FeatureSpec:
    """Return the published world ``name``, as it was released or with true rates.

    ``"synthsaebench-16k"`` has 16,384 features in 768 dimensions: declared rates rank^-0.5 mapped to [0.0005, 0.4]; 128
    trees with 4 mutually exclusive children a node and 3 levels below the roots, dealt breadth-first (10,880 features),
    5,504 features outside; a Gaussian copula with 25 shared factors of scale 0.1; coefficients max(0, normal) of mean 5
    to 4 and a deviation |N(0.5, 0.5)| a feature, times the parent's over its mean; a bias of norm 0.5; directions after
    100 steps against overlap. ``"synthsaebench-1k"`` is the same with 1,024 features, 128 dimensions and 8 trees.

    ``form="as_released"`` is the law of the release (its version 2), with the factors and deviations of its seed, 42;
    only the directions are drawn anew in every build. Children are drawn with "compensated" probabilities and struck
    out below parents that are off or by competing siblings, so that the rates are *not* the declared ones: at 16,384
    features mean L0 is 34.4 where 59.1 is declared. `SupportLaw.marginals` has the true rates.

    ``form="corrected"`` has closed-form rates: roots and features outside trees fire exactly at their declared rates,
    correlated by a Gaussian copula, and a child fires with a conditional rate given its parent. Exclusive children
    cannot fire more often than their parent, which the declared rates ask for in 2,676 of 2,688 families: there the
    siblings' rates are scaled down in proportion until they sum to `FULL` times the parent's true rate, so that mean L0
    is that of the release. `declared_rates` against ``support.marginals()`` says by how much: at 16,384 features the
    5,632 roots and outside features are exact, children keep 30 % to 100 % of what is declared, and mean L0 is 34.4.

    Raises
    ------
    ValueError
        For another name or form.

    References
    ----------
    SynthSAEBench, and SAELens 6 (``sae_lens.synthetic``).
    """
    size = _size(name)
    if form not in FORMS:
        raise ValueError(f"form must be one of {', '.join(FORMS)}; got {form!r}.")
    rates, parents = _declared(size), _parents(size)
    means, stds = LinearScales(5.0, 4.0), ReleasedScales(0.5, 0.5, _STD_SEED)
    base = RectifiedNormal(means, stds)
    support = _as_released(rates, parents, base) if form == "as_released" else _corrected(rates, parents)
    magnitude = ParentScaled(base, parents, means if form == "as_released" else None)
    return FeatureSpec(size.d, support, LowOverlap(steps=100, lr=3e-4), magnitude, bias=0.5)


def declared_rates(name: str) -> FloatArray:
    """Return the rates ``(m,)`` that the world ``name`` declares; the true ones are ``support.marginals()``."""
    return _declared(_size(name)).rates()


def _size(name: str) -> _Size:
    if name not in _SIZES:
        raise ValueError(f"name must be one of {', '.join(_SIZES)}; got {name!r}.")
    return _SIZES[name]


def _declared(size: _Size) -> AffineZipfRates:
    return AffineZipfRates(size.m, 0.5, 0.4, 5e-4)


def _parents(size: _Size) -> tuple[int, ...]:
    """Return the parents ``(m,)`` of trees numbered level by level across all trees, -1 for the features outside."""
    in_trees = size.roots * sum(_BRANCHING**level for level in range(_DEPTH + 1))
    below = (place // _BRANCHING for place in range(in_trees - size.roots))
    return (*(-1,) * size.roots, *below, *(-1,) * (size.m - in_trees))


def _as_released(rates: AffineZipfRates, parents: tuple[int, ...], base: RectifiedNormal) -> SupportLaw:
    correlation = ReleasedCorrelation(_RANK, _SCALE, _CORRELATION_SEED)
    positive = tuple(base.firing_probability(len(parents)).tolist())
    return SynthSAEBenchSupport(rates, parents, correlation, positive=positive)


def _corrected(rates: AffineZipfRates, parents: tuple[int, ...]) -> SupportLaw:
    above = np.array(parents)
    free, child = np.flatnonzero(above < 0), np.flatnonzero(above >= 0)
    true = _feasible(rates.rates(), above)
    place = np.empty(len(parents), dtype=np.int64)  # of each feature, with those without a parent first
    place[free], place[child] = np.arange(len(free)), np.arange(len(free), len(parents))
    alone = CorrelatedBernoulli(GivenRates(tuple(true[free].tolist())), LowRankCorrelation(_RANK, _SCALE))
    conditional = true[child] / true[above[child]]
    forest = ForestOver(alone, tuple(place[above[child]].tolist()), tuple(conditional.tolist()))
    return Relabelled(forest, tuple(place.tolist()))


def _feasible(declared: FloatArray, parents: FloatArray) -> FloatArray:
    """Return the rates with each family of siblings scaled down to at most `FULL` of its parent's, parents first."""
    true = declared.copy()
    for parent in np.unique(parents[parents >= 0]).tolist():  # numbered level by level, so a parent's rate is settled
        family = np.flatnonzero(parents == parent)
        true[family] *= min(1.0, FULL * true[parent] / true[family].sum())
    return true
