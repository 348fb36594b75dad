"""Hypothesis strategies that draw whole worlds, always feasible."""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import replace

import numpy as np
from hypothesis import strategies as st

from sparsesim.generators import (
    AcyclicGraph,
    AffineZipfRates,
    AutoregressiveNoise,
    Background,
    Bernoulli,
    BernoulliSign,
    BetaRates,
    Block,
    BlockCorrelation,
    Blocks,
    BlockSupport,
    BuffetRates,
    Bundles,
    Clusters,
    Cones,
    Constant,
    CorrelatedBernoulli,
    CorrelatedLogNormal,
    Crystal,
    DenseCorrelation,
    Discrete,
    EqualRates,
    EquiangularTightFrame,
    ExactlyK,
    ExclusiveGroups,
    Exponential,
    FactorCorrelation,
    FeatureSpec,
    FixedCount,
    Forest,
    ForestOver,
    Gamma,
    Gaussian,
    GivenAtoms,
    GivenCoherence,
    GivenRates,
    HalfNormal,
    IndianBuffet,
    Interactions,
    Laplace,
    LeakyMixing,
    Levels,
    LinearRates,
    LinearScales,
    LogNormal,
    LowCoherence,
    LowOverlap,
    LowRankCorrelation,
    LowRankNoise,
    MandelbrotRates,
    Missing,
    MutuallyUnbiased,
    NegativeBinomialCount,
    Orthonormal,
    Pairs,
    Persistent,
    PoissonCount,
    Polygons,
    PowerLawNoise,
    PowerSpectrum,
    RandomSphere,
    Readout,
    RectifiedNormal,
    Relabelled,
    Repertoire,
    RootLines,
    RowRestricted,
    Scaled,
    Segments,
    SignalToNoise,
    SignedGaussian,
    StudentT,
    Subspaces,
    SuccessiveSampling,
    SuperposedItems,
    SynthSAEBenchSupport,
    ToyModel,
    TruncatedNormal,
    Uniform,
    UniformCount,
    UniformRates,
    WithMeanL0,
    ZipfRates,
)
from sparsesim.generators.frames import least_coherence

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
def correlations(draw, m):
    """Correlations of m latent Gaussians of every kind, up to nearly singular ones."""
    kind, rng = draw(st.sampled_from(["block", "rank", "factor", "dense"])), np.random.default_rng(draw(seeds))
    if kind == "block":
        sizes = draw(st.lists(st.integers(1, m), min_size=1, max_size=m))
        ends = np.minimum(np.cumsum([*sizes, m]), m)
        sizes = tuple(int(size) for size in np.diff(ends, prepend=0) if size > 0)
        lowest = -0.99 / max(max(sizes) - 1, 1)
        return BlockCorrelation(sizes, draw(st.sampled_from([0.0, 0.999, lowest]) | st.floats(lowest, 0.999)))
    if kind == "rank":
        return LowRankCorrelation(draw(st.integers(1, 6)), draw(st.floats(0.0, 3.0)), draw(seeds), shrink=True)
    normal = rng.standard_normal((m, draw(st.integers(1, 2 * m))))
    unit = normal / np.linalg.norm(normal, axis=1, keepdims=True)
    if kind == "factor":
        return FactorCorrelation(tuple(map(tuple, (draw(st.floats(0.0, 0.99)) * unit).tolist())))
    share = draw(st.floats(0.0, 0.999))
    matrix = share * (unit @ unit.T)
    matrix = (matrix + matrix.T) / 2.0
    np.fill_diagonal(matrix, 1.0)
    return DenseCorrelation(tuple(map(tuple, matrix.tolist())))


@st.composite
def correlated(draw, most=12):
    rates = draw(rate_laws(most))
    return CorrelatedBernoulli(rates, draw(correlations(rates.n_features)))


@st.composite
def forests_over(draw, most=12):
    """Trees over correlated roots or exactly k of them, some parents with exclusive children."""
    roots = draw(st.one_of(correlated(4), exactly(4)))
    first, m = roots.n_features, draw(st.integers(roots.n_features, most))
    label = draw(st.permutations(range(first, m)))
    grown = [draw(st.integers(0, node - 1)) for node in range(first, m)]
    parents = [0] * (m - first)
    for node, parent in enumerate(grown):
        parents[label[node] - first] = parent if parent < first else label[parent - first]
    exclusive = tuple(draw(st.booleans()) for _ in range(m))
    rates = np.array([draw(probabilities) for _ in parents])
    for parent in {parent for parent in parents if exclusive[parent]}:
        mine = np.array(parents) == parent
        rates[mine] /= max(1.0, rates[mine].sum())
    return ForestOver(roots, tuple(parents), tuple(rates.tolist()), exclusive)


@st.composite
def gated(draw, most=12):
    """Not among `supports`: joint rates are not known."""
    parents = draw(parent_tuples(most))
    m, numbers = len(parents), st.lists(probabilities, min_size=len(parents), max_size=len(parents)).map(tuple)
    return SynthSAEBenchSupport(
        GivenRates(draw(numbers)),
        parents,
        LowRankCorrelation(draw(st.integers(1, 4)), draw(st.floats(0.0, 1.0)), draw(seeds), shrink=True),
        draw(st.booleans() | st.lists(st.booleans(), min_size=m, max_size=m).map(tuple)),
        draw(st.booleans()),
        draw(st.none() | numbers),
    )


@st.composite
def rate_laws(draw, most=12):
    m = draw(st.integers(1, most))
    return draw(
        st.one_of(
            st.builds(EqualRates, st.just(m), st.floats(1e-6, 1.0)),
            st.builds(ZipfRates, st.just(m), st.floats(0.0, 3.0), st.floats(1e-6, 1.0)),
            st.builds(GivenRates, st.lists(probabilities, min_size=m, max_size=m).map(tuple)),
            st.builds(MandelbrotRates, st.just(m), st.floats(0.0, 3.0), st.floats(-0.9, 9.0), st.floats(1e-6, 1.0)),
            st.builds(AffineZipfRates, st.just(max(m, 2)), st.floats(0.01, 3.0), st.just(0.7), st.floats(0.0, 0.7)),
            st.builds(LinearRates, st.just(max(m, 2)), st.floats(0.0, 1.0), st.floats(0.0, 1.0)),
            st.builds(UniformRates, st.just(m), st.floats(0.0, 0.5), st.floats(0.5, 1.0), seeds),
            st.builds(BetaRates, st.just(m), st.floats(0.05, 5.0), st.floats(0.05, 5.0), seeds),
            st.builds(lambda share: WithMeanL0(ZipfRates(m, 0.0, 0.5), share * m), st.floats(1e-3, 1.0)),
            # Seeds whose buffet has between 1 and 12 features.
            st.sampled_from([0, 1, 3]).map(lambda seed: BuffetRates(IndianBuffet(1.5, 1.0, 0.3), 5, seed)),
        )
    )


@st.composite
def restricted(draw, most=12):
    rates = draw(rate_laws(most))
    low, high = int((rates.rates() == 1).sum()), int((rates.rates() > 0).sum())
    first = draw(st.integers(low, high))
    last = draw(st.integers(first, high))
    count = draw(
        st.one_of(
            st.just(FixedCount(first)),
            st.just(UniformCount(first, last)),
            st.builds(PoissonCount, st.floats(0.1, 9.0), st.just(first), st.just(last)),
            st.builds(NegativeBinomialCount, st.floats(0.1, 9.0), st.floats(0.1, 9.0), st.just(first), st.just(last)),
        )
    )
    return RowRestricted(rates, count)


def exactly(most=12):
    return st.integers(1, most).flatmap(lambda m: st.builds(ExactlyK, st.just(m), st.integers(1, m)))


@st.composite
def graphs(draw, most=10):
    """Acyclic graphs of any shape: grown downwards with up to three parents a node, then relabelled."""
    m = draw(st.integers(1, most))
    label = draw(st.permutations(range(m)))
    parents: list[tuple[int, ...]] = [()] * m
    for node in range(1, m):
        above = draw(st.lists(st.integers(0, node - 1), max_size=3, unique=True))
        parents[label[node]] = tuple(label[parent] for parent in above)
    needs = tuple(draw(st.sampled_from(["any", "all"])) for _ in range(m))
    return AcyclicGraph(tuple(parents), tuple(draw(probabilities) for _ in range(m)), needs)


@st.composite
def exclusive_groups(draw, most=12):
    sizes = draw(st.lists(st.integers(1, 4), min_size=1, max_size=max(1, most // 4)))
    groups = []
    for size in sizes:
        rates = np.array([draw(probabilities) for _ in range(size)])
        groups.append(tuple((rates / max(1.0, rates.sum())).tolist()))
    return ExclusiveGroups(tuple(groups))


@st.composite
def block_supports(draw, most=12):
    """Blocks of up to four features under any of the simple laws, alike or each of its own."""
    outer = draw(st.one_of(rate_laws(most // 4).map(Bernoulli), exactly(most // 4), forests(most // 4)))
    inner = st.one_of(rate_laws(4).map(Bernoulli), exactly(4), forests(4), exclusive_groups(4))
    count = outer.n_features
    return BlockSupport(outer, draw(inner | st.lists(inner, min_size=count, max_size=count).map(tuple)))


@st.composite
def successive_samplings(draw, most=12):
    weights = draw(st.lists(st.sampled_from([0.0, 1e-9, 1e9]) | st.floats(0.01, 100.0), min_size=1, max_size=most))
    if not any(weights):
        weights[0] = 1.0
    return SuccessiveSampling(tuple(weights), draw(st.integers(1, sum(weight > 0 for weight in weights))))


@st.composite
def superposed_items(draw, most=12):
    units = draw(st.integers(2, max(2, most // 3)))
    branching = draw(st.lists(st.integers(1, 4), min_size=1, max_size=3).map(tuple))
    overlap = draw(st.floats(1.0 / units, 1.0))
    items = draw(st.integers(1, math.prod(branching)))
    modules = draw(st.integers(1, max(1, most // units)))
    return SuperposedItems(modules, units, branching, overlap, items, draw(st.integers(0, 99)))


@st.composite
def repertoires(draw, most=12):
    law = draw(st.one_of(rate_laws(most).map(Bernoulli), exactly(most)))
    return Repertoire(law, draw(st.integers(1, 9)), draw(st.integers(0, 99)))


def structured(most=12):
    return st.one_of(
        graphs(min(most, 10)),
        exclusive_groups(most),
        block_supports(most),
        successive_samplings(most),
        superposed_items(most),
        repertoires(most),
    )


@st.composite
def persistents(draw, most=12):
    """Not among `supports`: the rows of a draw are dependent."""
    rates = draw(rate_laws(most))
    least = np.maximum(2.0 - 1.0 / np.maximum(rates.rates(), 1e-300), 0.0)
    stay = tuple(draw(st.floats(min(float(low) + 1e-15, 1.0), 1.0)) for low in least)
    return Persistent(rates, stay)


def relabelled(most=12):
    """Forests, whose kernels care about order, in any other."""
    return forests(most).flatmap(
        lambda law: st.permutations(range(law.n_features)).map(lambda order: Relabelled(law, tuple(order)))
    )


def supports(most=12):
    return st.one_of(
        rate_laws(most).map(Bernoulli),
        exactly(most),
        forests(most),
        structured(most),
        restricted(most),
        correlated(most),
        forests_over(most),
        relabelled(most),
    )


magnitudes = st.one_of(
    st.builds(Constant, positive | positive.map(lambda value: -value)),
    st.builds(lambda low, width: Uniform(low, low + width), st.floats(0.0, 5.0), positive),
    st.builds(HalfNormal, positive),
    st.builds(LogNormal, st.floats(-2.0, 2.0), st.floats(0.05, 1.0)),
    st.builds(Exponential, positive),
    st.builds(SignedGaussian, positive),
    st.builds(BernoulliSign, positive),
    st.builds(lambda low, width: TruncatedNormal(0.5, 1.5, low, low + width), st.floats(-9.0, 9.0), positive),
    st.builds(RectifiedNormal, st.floats(-3.0, 5.0), st.floats(0.2, 2.0)),
    st.builds(Gamma, st.floats(0.5, 9.0), positive),
    st.builds(CorrelatedLogNormal, st.floats(-2.0, 2.0), st.floats(0.05, 1.0), st.floats(0.0, 1.0)),
    st.floats(0.0, 1.0).map(lambda share: Discrete((-1.0, 2.5), (share, 1.0 - share))),
    st.builds(Scaled, st.builds(HalfNormal, positive), st.builds(LinearScales, positive, positive)),
)
unit_noises = st.one_of(
    st.builds(StudentT, st.floats(2.5, 50.0)),
    st.builds(AutoregressiveNoise, st.floats(-1.0, 1.0)),
    st.builds(PowerLawNoise, st.floats(0.0, 3.0), st.just(1.0), st.integers(0, 3)),
    st.sampled_from([Gaussian(1.0), Laplace(), LowRankNoise(1)]),
)
noises = st.one_of(
    st.builds(Gaussian, st.floats(0.0, 2.0)),
    st.builds(SignalToNoise, st.floats(-10.0, 60.0)),
    st.builds(SignalToNoise, st.floats(-10.0, 60.0), unit_noises),
    unit_noises.flatmap(lambda law: st.floats(0.0, 2.0).map(lambda sigma: replace(law, sigma=sigma))),
)


def exact_geometries(m, d):
    """The exact frames that there are for (m, d), and the geometries that there are for every (m, d)."""
    kinds = [st.builds(PowerSpectrum, st.floats(0.0, 4.0))]
    kinds.append(st.floats(0.01, 1.0).map(lambda p: ToyModel(p, random_dropped=True, samples=32, starts=1, steps=3)))
    # The bounds are within a tenth of the way to 1 of what can be reached, for m <= 12.
    kinds.append(
        st.floats(0.9, 1.0).map(lambda u: GivenCoherence(1.0 if d == 1 else u + (1 - u) * least_coherence(m, d)))
    )
    for exact in (EquiangularTightFrame(), MutuallyUnbiased(), RootLines()):
        with suppress(ValueError):
            exact.atoms(m, d, np.random.default_rng(0))
            kinds.append(st.just(exact))
    return kinds


@st.composite
def block_geometries(draw, m, d):
    sizes = []
    while sum(sizes) < m:
        sizes.append(draw(st.integers(1, min(d, m - sum(sizes)))))
    cosine = draw(st.floats(-1.0 / max(*sizes, 2) + 1e-6, 0.95))
    fits = m <= d
    kinds = [Clusters(tuple(sizes), cosine), Subspaces(tuple(sizes))]
    kinds.append(
        Blocks(tuple(Block(RandomSphere(), size, draw(st.integers(1, d))) for size in sizes), orthogonal=False)
    )
    if fits:
        kinds.append(Levels(tuple(np.repeat(np.arange(len(sizes)), sizes).tolist()), (cosine,) * len(sizes)))
    if d > 1:
        kinds.append(Bundles(tuple(sizes), cosine))
    if d > 2:
        kinds.append(Crystal((1, m), dims=(1, d - 1)))
    if m % 2 == 0 and d > 1:
        kinds += [Pairs(cosine, orthogonal=fits), Polygons(m, orthogonal=False)]
    return draw(st.sampled_from(kinds))


@st.composite
def geometries(draw, m, d):
    kinds = [st.just(RandomSphere()), st.builds(LowCoherence, st.integers(1, 3), st.sampled_from([2, 4, 16]))]
    kinds.append(st.builds(LowOverlap, st.integers(1, 3), st.floats(1e-4, 1e-2)))
    if m <= d:
        kinds.append(st.just(Orthonormal()))
    if d >= 2:
        parents = tuple(draw(st.integers(-1, node - 1)) for node in range(m))
        kinds.append(st.builds(Cones, st.just(parents), st.floats(-1.0, 1.0)))
    rows = np.random.default_rng(draw(seeds)).standard_normal((m, d))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    kinds.append(st.just(GivenAtoms(tuple(map(tuple, rows.tolist())))))
    return draw(st.one_of(*kinds, block_geometries(m, d), *exact_geometries(m, d)))


@st.composite
def specs(draw, most=12):
    dim, support = draw(st.integers(1, 8)), draw(supports(most))
    geometry = draw(geometries(support.n_features, dim))
    return FeatureSpec(dim, support, geometry, draw(magnitudes), draw(noises), draw(st.floats(0.0, 3.0)))


@st.composite
def observed_specs(draw, most=12):
    """Worlds whose signal is changed, whose entries are lost, and that come with labels and targets."""
    spec = draw(specs(most))
    kinds = [st.builds(Background, st.integers(1, spec.dim), st.floats(0.01, 0.9))]
    if spec.n_features > 2:
        kinds.append(st.builds(Interactions, st.just(1), st.sampled_from([2, 3]), st.floats(0.1, 2.0)))
    if spec.dim > 1:
        kinds.append(st.builds(LeakyMixing, st.integers(2, 3), st.floats(1.0, 5.0), st.floats(0.1, 1.0), positive))
    return replace(
        spec,
        observation=tuple(draw(st.lists(st.one_of(kinds), max_size=3))),
        missing=draw(st.none() | st.builds(Missing, st.floats(0.0, 1.0), st.booleans())),
        segments=draw(st.none() | st.builds(Segments, st.integers(1, 5), st.just((0.5, 3.0)), st.just((0.1, 0.5)))),
        targets=draw(st.none() | st.builds(Readout, st.integers(1, spec.n_features), st.integers(1, 3))),
    )
