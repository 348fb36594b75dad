"""Hypothesis strategies for dictionaries, codes, hierarchies, worlds and samples: small, always feasible, certified.

Each function says what every example has. A request that nothing can meet raises when the strategy is made, not while
examples are drawn. Examples shrink to the plain ones: orthonormal axes, independent features, rate 1/2, no noise.

>>> from hypothesis import given
>>> from sparsesim.testing import strategies
>>> @given(strategies.dictionaries(m=6, d=4, coherence_at_most=0.5))
... def test_it_works_in_any_such_dictionary(atoms): ...
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

try:
    from hypothesis import strategies as st
except ImportError as error:
    raise ImportError('sparsesim.testing.strategies needs hypothesis: pip install "sparsesim[testing]".') from error

from sparsesim._arrays import Codes, FloatArray, check_int, check_real, read_only
from sparsesim._identity import Role, stream
from sparsesim.generators.base import Batch, FeatureModel, FeatureSpec
from sparsesim.generators.frames import least_coherence, shuffled_lines
from sparsesim.generators.geometry import coherence
from sparsesim.generators.given_coherence import GivenCoherence
from sparsesim.generators.hierarchy import Forest
from sparsesim.testing import axes

MOST_FEATURES, MOST_DIM, MOST_SAMPLES = 12, 8, 16
CERTIFIED = 1e-12  # rounding of the norms and cosines of unit rows in float64

_seeds = st.integers(0, 2**32 - 1)


def dictionaries(
    m: int | None = None, d: int | None = None, *, coherence_at_most: float = 1.0
) -> st.SearchStrategy[FloatArray]:
    """Return a strategy for unit rows ``(m, d)`` no two of which have |cosine| above ``coherence_at_most``.

    Guaranteed, within 1e-12, and checked on every example. Among them are the axes, frames that attain the bound, pairs
    that lie exactly at it and, where it is 1, equal and opposite rows.

    Parameters
    ----------
    m, d : the shape; what is None is drawn, m up to 12 and d up to 8.
    coherence_at_most : in [0, 1].

    Raises
    ------
    ValueError
        If there is no such dictionary: the bound of Welch, Levenshtein or the orthoplex is named; or if none was found.
    """
    bound = check_real("coherence_at_most", coherence_at_most, 0.0, 1.0)
    for name, value in (("m", m), ("d", d)):
        if value is not None:
            check_int(name, value, 1)
    if m is not None:
        _plain(m, max(m, MOST_DIM) if d is None else d, bound)  # raises, naming the bound, where there is none
    most = _widest(MOST_DIM if d is None else d, bound, MOST_FEATURES)
    sizes = st.integers(1, most) if m is None else st.just(m)
    shapes = sizes.flatmap(lambda m: st.tuples(st.just(m), _dims(m, MOST_DIM, bound) if d is None else st.just(d)))
    return shapes.flatmap(lambda shape: _dictionaries(*shape, bound))


@lru_cache(maxsize=256)
def _plain(m: int, d: int, bound: float) -> FloatArray:
    """Return the simplest dictionary under ``bound``: the axes, or what the search finds from a fixed start."""
    rows = np.eye(m, d) if m <= d else GivenCoherence(bound).atoms(m, d, stream(0, Role.LAW))
    return read_only(rows)


def _feasible(m: int, d: int, bound: float) -> bool:
    try:
        _plain(m, d, bound)
    except ValueError:
        return False
    return True


def _dims(m: int, most: int, bound: float) -> st.SearchStrategy[int]:
    """Return a strategy for the d <= ``most`` in which m unit rows under ``bound`` are found, from d = m on.

    For m > ``most`` it may be m itself, if there is no other.
    """
    orthogonal = list(range(m, max(m, most) + 1))
    crowded = [d for d in range(1, min(m, most + 1)) if _feasible(m, d, bound)]
    return st.sampled_from(orthogonal + crowded if m <= most else crowded or orthogonal)


def _widest(d: int, bound: float, most: int) -> int:
    """Return the largest m <= ``most`` for which unit rows ``(m, d)`` of coherence <= ``bound`` are found."""
    m = min(d, most)
    while m < most and least_coherence(m + 1, d) <= bound and _feasible(m + 1, d, bound):
        m += 1
    return m


@st.composite
def _dictionaries(draw: st.DrawFn, m: int, d: int, bound: float) -> FloatArray:
    kind = draw(st.sampled_from(["plain", "turned", "searched", "close"]))
    rows = np.array(_plain(m, d, bound))
    if kind != "plain":
        rng = np.random.default_rng(draw(_seeds))
        if kind == "close" and m > 1:
            rows = _with_closest_pair(rows, bound)
        if kind == "searched":
            rows = _searched(rows, bound, rng)
        rows = shuffled_lines(rows, d, rng)
    _certify(rows, bound)
    return rows


def _with_closest_pair(rows: FloatArray, bound: float) -> FloatArray:
    """Return ``rows`` with the second moved to cosine ``bound`` with the first, where that leaves the others alone."""
    m, d = rows.shape
    if bound == 1.0:
        rows[1] = rows[0]
    elif m <= d:
        rows[1] = bound * rows[0] + np.sqrt(1.0 - bound**2) * rows[1]
    return rows


def _searched(rows: FloatArray, bound: float, rng: np.random.Generator) -> FloatArray:
    try:
        return GivenCoherence(bound).atoms(len(rows), rows.shape[1], rng)
    except ValueError:  # the search stopped short from this start: the plain ones are as good
        return rows


def _certify(rows: FloatArray, bound: float) -> None:
    worst = float(np.abs(np.linalg.norm(rows, axis=1) - 1.0).max())
    if not (worst <= CERTIFIED and coherence(rows) <= bound + CERTIFIED):
        raise ArithmeticError(
            f"a dictionary of shape {rows.shape} has coherence {coherence(rows):.15g} > {bound} or norms off by "
            f"{worst:g}: a defect of sparsesim, please report it."
        )


def codes(
    n: int | None = None, m: int | None = None, *, k: int | None = None, signed: bool = True
) -> st.SearchStrategy[Codes]:
    """Return a strategy for CSR codes ``(n, m)`` in canonical form, with exactly ``k`` active features a row.

    Guaranteed: float64, sorted indices, no stored zeros, magnitudes in [0.1, 10]; all positive unless ``signed``.

    Parameters
    ----------
    n, m : the shape; what is None is drawn, n from 1 to 16 and m up to 12 (and from k).
    k : active features of every row; if None each row has its own number, from 0 to m.

    Raises
    ------
    ValueError
        If k exceeds m.
    """
    if m is not None:
        check_int("m", m, 1)
    if k is not None:
        check_int("k", k, 0, m, high_name="m")
    rows = st.integers(1, MOST_SAMPLES) if n is None else st.just(check_int("n", n, 0))
    least = max(k or 1, 1)
    columns = st.integers(least, max(least, MOST_FEATURES)) if m is None else st.just(m)
    return st.tuples(rows, columns).flatmap(lambda shape: _codes(*shape, k, signed))


@st.composite
def _codes(draw: st.DrawFn, n: int, m: int, k: int | None, signed: bool) -> Codes:
    values = [st.just(1.0), st.floats(0.1, 10.0), *([st.floats(-10.0, -0.1)] if signed else [])]
    rows = []
    for _ in range(n):
        free, row = list(range(m)), []
        for _ in range(draw(st.integers(0, m)) if k is None else k):
            row.append((free.pop(draw(st.integers(0, len(free) - 1))), draw(st.one_of(values))))
        rows.append(sorted(row))
    indptr = np.cumsum([0, *map(len, rows)])
    flat = [entry for row in rows for entry in row]
    indices = np.array([index for index, _ in flat], dtype=np.int32)
    return Codes((np.array([value for _, value in flat], dtype=np.float64), indices, indptr), shape=(n, m))


def hierarchies(
    most_features: int = MOST_FEATURES, *, rate_at_least: float = 0.01, exclusive: bool | None = None
) -> st.SearchStrategy[Forest]:
    """Return a strategy for `Forest` laws of any shape, in which every feature fires often enough to be seen.

    Guaranteed: at most ``most_features`` features, each parent before its children; every true firing rate is at least
    ``rate_at_least`` (up to rounding); exclusive children fit under their parent.

    Raises
    ------
    ValueError
        If most_features * rate_at_least > 1: that many exclusive features would not fit.
    """
    axes.check_rate(most_features, rate_at_least)
    return axes.forests(most_features, float(rate_at_least), exclusive)


def worlds(
    *,
    most_features: int = MOST_FEATURES,
    most_dim: int = MOST_DIM,
    coherence_at_most: float = 1.0,
    rate_at_least: float = 0.01,
    noiseless: bool = False,
) -> st.SearchStrategy[FeatureSpec]:
    """Return a strategy for worlds over all axes: supports, geometries, magnitudes, noises and biases.

    Guaranteed, for every seed: ``spec.build(rng)`` and ``sample`` succeed with finite values; no two directions have
    |cosine| above ``coherence_at_most`` (within 1e-12); every feature has a true firing rate of at least
    ``rate_at_least`` (up to rounding). At coherence 1 some directions come twice, which nothing can tell apart.

    Raises
    ------
    ValueError
        If most_features * rate_at_least > 1.
    """
    axes.check_rate(most_features, rate_at_least)
    bound = check_real("coherence_at_most", coherence_at_most, 0.0, 1.0)
    check_int("most_dim", most_dim, 1)
    laws = axes.supports(_widest(most_dim, bound, most_features), float(rate_at_least))
    noises = axes.noises[0] if noiseless else st.one_of(axes.noises)
    return laws.flatmap(
        lambda law: _dims(law.n_features, most_dim, bound).flatmap(lambda d: _worlds(law, d, bound, noises))
    )


@st.composite
def _worlds(draw: st.DrawFn, support: Any, d: int, bound: float, noises: st.SearchStrategy[Any]) -> FeatureSpec:
    m = support.n_features
    kinds: list[st.SearchStrategy[Any]] = [axes.orthonormal] if m <= d else []
    if bound == 1.0:
        kinds += axes.free_geometries(support, d)
    kinds.append(dictionaries(m, d, coherence_at_most=bound).map(axes.given_atoms))
    return FeatureSpec(d, support, draw(st.one_of(kinds)), draw(axes.magnitudes), draw(noises), draw(axes.biases))


def samples(
    n: int | None = None, *, world: FeatureSpec | st.SearchStrategy[FeatureSpec] | None = None
) -> st.SearchStrategy[tuple[FeatureModel, Batch]]:
    """Return a strategy for a realised world with ``n`` samples of it: `FeatureModel` and `Batch`.

    Guaranteed: what `worlds` says, and ``batch.x = batch.codes @ model.atoms + model.bias`` plus the noise.

    Parameters
    ----------
    n : samples, or None for 1 to 16.
    world : a specification or a strategy for such; `worlds` by default.
    """
    specs = worlds() if world is None else st.just(world) if isinstance(world, FeatureSpec) else world
    counts = st.integers(1, MOST_SAMPLES) if n is None else st.just(check_int("n", n, 0))
    return st.builds(_sampled, specs, counts, _seeds)


def _sampled(spec: FeatureSpec, n: int, seed: int) -> tuple[FeatureModel, Batch]:
    model = spec.build(stream(seed, Role.TRUTH))
    return model, model.sample(n, stream(seed, Role.TEST))
