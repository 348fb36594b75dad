"""The axes of the worlds that `strategies` draws, each from its plainest value on."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from sparsesim._arrays import FloatArray, check_int, check_real
from sparsesim.generators.copula import CorrelatedBernoulli
from sparsesim.generators.correlation import BlockCorrelation
from sparsesim.generators.geometry import Cones, GivenAtoms, LowCoherence, Orthonormal, RandomSphere
from sparsesim.generators.groups import ExclusiveGroups
from sparsesim.generators.hierarchy import Forest
from sparsesim.generators.magnitude import BernoulliSign, Constant, HalfNormal, LogNormal, SignedGaussian, Uniform
from sparsesim.generators.noise import Gaussian, SignalToNoise, StudentT
from sparsesim.generators.rates import EqualRates, GivenRates, ZipfRates
from sparsesim.generators.support import Bernoulli, ExactlyK

Strategy = st.SearchStrategy[Any]

_shares = st.one_of(st.just(0.5), st.floats(0.0, 1.0))

orthonormal: Strategy = st.just(Orthonormal())
magnitudes: Strategy = st.one_of(
    st.just(Constant(1.0)),
    st.just(Uniform(0.5, 1.5)),
    st.builds(HalfNormal, st.floats(0.5, 2.0)),
    st.builds(LogNormal, st.floats(-0.5, 0.5), st.floats(0.1, 0.7)),
    st.builds(SignedGaussian, st.floats(0.5, 2.0)),
    st.builds(BernoulliSign, st.floats(0.5, 2.0)),
)
noises: tuple[Strategy, ...] = (
    st.just(Gaussian(0.0)),
    st.builds(Gaussian, st.floats(0.0, 0.5)),
    st.builds(SignalToNoise, st.floats(0.0, 40.0)),
    st.builds(lambda db: SignalToNoise(db, StudentT(5.0)), st.floats(0.0, 40.0)),
)
biases: st.SearchStrategy[float] = st.one_of(st.just(0.0), st.floats(0.0, 3.0))


def check_rate(most: int, rate: float) -> None:
    """Raise ValueError unless ``most`` exclusive features of that ``rate`` fit."""
    check_int("most_features", most, 1)
    check_real("rate_at_least", rate, 0.0, 1.0, open_low=True)
    if most * rate > 1.0:
        raise ValueError(
            f"most_features * rate_at_least must be at most 1, so that as many exclusive features fit; got {most} * "
            f"{rate:g} = {most * rate:g}. Lower one of them, e.g. rate_at_least={1.0 / most:.3g}."
        )


def _between(low: float, high: float = 1.0) -> st.SearchStrategy[float]:
    """Return a strategy for a number in [low, high] that shrinks to the middle."""
    return _shares.map(lambda share: min(high, low + share * (high - low)))


@st.composite
def forests(draw: st.DrawFn, most: int, rate: float, exclusive: bool | None) -> Forest:
    """Return a strategy for forests with true rates >= ``rate``: what a subtree needs at least goes to its parent."""
    m = draw(st.integers(1, most))
    # How far back the parent stands, 0 for a root: of a part of the tree the shape stays when the rest is shrunk away.
    back = [draw(st.integers(0, node)) for node in range(m)]
    parents = [node - steps if steps else -1 for node, steps in enumerate(back)]
    apart = draw(st.booleans()) if exclusive is None else exclusive
    children = [[node for node in range(m) if parents[node] == parent] for parent in range(m)]
    need = [rate] * m
    for node in reversed(range(m)):
        below = [need[child] for child in children[node]]
        need[node] = max([rate, sum(below) if apart else max(below, default=0.0)])
    rates = [draw(_between(need[node])) if parents[node] < 0 else 0.0 for node in range(m)]
    for node in range(m):  # parents come first
        shares = np.array([draw(_shares) for _ in children[node]])
        room = max(0.0, rates[node] - sum(need[child] for child in children[node])) if apart else 0.0
        shares /= max(1.0, shares.sum()) if apart else 1.0
        for child, share in zip(children[node], shares.tolist(), strict=True):
            rates[child] = need[child] + share * (room if apart else rates[node] - need[child])
            rates[child] = min(rates[child], rates[node])
    return Forest.from_marginals(tuple(parents), tuple(rates), apart)


@st.composite
def _groups(draw: st.DrawFn, most: int, rate: float) -> ExclusiveGroups:
    sizes = draw(st.lists(st.integers(1, 4), min_size=1, max_size=max(1, most // 4)))
    groups = []
    for size in (min(size, most) for size in sizes):
        shares = np.array([draw(_shares) for _ in range(size)])
        groups.append(tuple((rate + shares / max(1.0, shares.sum()) * (1.0 - size * rate)).tolist()))
    return ExclusiveGroups(tuple(groups))


@st.composite
def _correlated(draw: st.DrawFn, m: int, rate: float) -> CorrelatedBernoulli:
    first = draw(st.integers(1, m))
    sizes = (first, m - first) if first < m else (m,)
    return CorrelatedBernoulli(
        EqualRates(m, draw(_between(rate, max(rate, 0.9)))), BlockCorrelation(sizes, draw(st.floats(0.0, 0.9)))
    )


def _zipf(m: int, rate: float, top: float, share: float) -> Bernoulli:
    """Return rates that fall from ``top`` to ``rate`` or less far."""
    steepest = np.log(top / rate) / np.log(m) if m > 1 else 0.0
    return Bernoulli(ZipfRates(m, share * float(steepest), top))


def supports(most: int, rate: float) -> Strategy:
    """Return a strategy for support laws of at most ``most`` features whose true rates are at least ``rate``."""

    def of(m: int) -> Strategy:
        each = st.tuples(*[_between(rate)] * m)
        return st.one_of(
            _between(rate).map(lambda value: Bernoulli(EqualRates(m, value))),
            each.map(lambda rates: Bernoulli(GivenRates(rates))),
            st.integers(1, m).map(lambda k: ExactlyK(m, k)),
            st.builds(_zipf, st.just(m), st.just(rate), _between(rate), _shares),
            _correlated(m, rate),
        )

    return st.one_of(st.integers(1, most).flatmap(of), forests(most, rate, None), _groups(most, rate))


def given_atoms(rows: FloatArray) -> GivenAtoms:
    """Return the geometry of exactly these unit ``rows (m, d)``."""
    return GivenAtoms(tuple(map(tuple, rows.tolist())))


def free_geometries(support: Any, d: int) -> list[Strategy]:
    """Return strategies for geometries that promise nothing on the coherence."""
    kinds: list[Strategy] = [
        st.just(RandomSphere()),
        st.builds(LowCoherence, st.integers(1, 3), st.sampled_from([2, 4])),
    ]
    if d > 1 and isinstance(support, Forest):
        kinds.append(st.builds(Cones, st.just(support.parents), st.floats(-0.9, 0.9)))
    return kinds
