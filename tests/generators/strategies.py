"""Hypothesis strategies that draw whole worlds, always feasible."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from sparsesim.generators import (
    Bernoulli,
    BernoulliSign,
    Cones,
    Constant,
    EqualRates,
    ExactlyK,
    Exponential,
    FeatureSpec,
    Forest,
    Gaussian,
    GivenAtoms,
    GivenRates,
    HalfNormal,
    LogNormal,
    LowCoherence,
    Orthonormal,
    RandomSphere,
    SignalToNoise,
    SignedGaussian,
    Uniform,
    ZipfRates,
)

seeds = st.integers(0, 2**32 - 1)
probabilities = st.one_of(st.sampled_from([0.0, 1e-9, 0.01, 0.5, 1.0]), st.floats(0.0, 1.0))
positive = st.floats(0.05, 20.0)


@st.composite
def parent_tuples(draw, most=12):
    """Forests of any shape, the nodes in any order: a tree grown upwards, then relabelled."""
    m = draw(st.integers(1, most))
    grown = [draw(st.integers(-1, node - 1)) for node in range(m)]
    label = draw(st.permutations(range(m)))
    parents = [-1] * m
    for node, parent in enumerate(grown):
        parents[label[node]] = -1 if parent < 0 else label[parent]
    return tuple(parents)


@st.composite
def forests(draw, most=12):
    parents, exclusive = draw(parent_tuples(most)), draw(st.booleans())
    rates = np.array([draw(probabilities) for _ in parents])
    if exclusive:
        for parent in set(parents) - {-1}:
            mine = np.array(parents) == parent
            rates[mine] /= max(1.0, rates[mine].sum())
    return Forest(parents, tuple(rates.tolist()), exclusive)


@st.composite
def rate_laws(draw, most=12):
    m = draw(st.integers(1, most))
    return draw(
        st.one_of(
            st.builds(EqualRates, st.just(m), st.floats(1e-6, 1.0)),
            st.builds(ZipfRates, st.just(m), st.floats(0.0, 3.0), st.floats(1e-6, 1.0)),
            st.builds(GivenRates, st.lists(probabilities, min_size=m, max_size=m).map(tuple)),
        )
    )


def exactly(most=12):
    return st.integers(1, most).flatmap(lambda m: st.builds(ExactlyK, st.just(m), st.integers(1, m)))


def supports(most=12):
    return st.one_of(rate_laws(most).map(Bernoulli), exactly(most), forests(most))


magnitudes = st.one_of(
    st.builds(Constant, positive | positive.map(lambda value: -value)),
    st.builds(lambda low, width: Uniform(low, low + width), st.floats(0.0, 5.0), positive),
    st.builds(HalfNormal, positive),
    st.builds(LogNormal, st.floats(-2.0, 2.0), st.floats(0.05, 1.0)),
    st.builds(Exponential, positive),
    st.builds(SignedGaussian, positive),
    st.builds(BernoulliSign, positive),
)
noises = st.one_of(st.builds(Gaussian, st.floats(0.0, 2.0)), st.builds(SignalToNoise, st.floats(-10.0, 60.0)))


@st.composite
def geometries(draw, m, d):
    kinds = [st.just(RandomSphere()), st.builds(LowCoherence, st.integers(1, 3), st.sampled_from([2, 4, 16]))]
    if m <= d:
        kinds.append(st.just(Orthonormal()))
    if d >= 2:
        parents = tuple(draw(st.integers(-1, node - 1)) for node in range(m))
        kinds.append(st.builds(Cones, st.just(parents), st.floats(-1.0, 1.0)))
    rows = np.random.default_rng(draw(seeds)).standard_normal((m, d))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    kinds.append(st.just(GivenAtoms(tuple(map(tuple, rows.tolist())))))
    return draw(st.one_of(kinds))


@st.composite
def specs(draw, most=12):
    dim, support = draw(st.integers(1, 8)), draw(supports(most))
    geometry = draw(geometries(support.n_features, dim))
    return FeatureSpec(dim, support, geometry, draw(magnitudes), draw(noises), draw(st.floats(0.0, 3.0)))
