"""What the strategies guarantee, on examples of theirs, and what their examples shrink to."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, find, given, settings
from hypothesis import strategies as st

from sparsesim import Role, stream
from sparsesim.generators import (
    Bernoulli,
    BernoulliSign,
    Constant,
    CorrelatedBernoulli,
    EqualRates,
    ExactlyK,
    ExclusiveGroups,
    FeatureSpec,
    Forest,
    Gaussian,
    Orthonormal,
)
from sparsesim.generators.geometry import coherence
from sparsesim.testing import axes, strategies
from theory.frames import coherence_bound

ROOT = Path(__file__).resolve().parents[2]
FEW = settings(max_examples=60)
SEARCH = settings(max_examples=2000, derandomize=True, suppress_health_check=list(HealthCheck))


@FEW
@given(st.data())
def test_dictionaries_are_unit_rows_under_the_bound(data):
    bound = data.draw(st.sampled_from([0.0, 0.2, 0.5, 0.9, 1.0]))
    atoms = data.draw(strategies.dictionaries(coherence_at_most=bound))
    m, d = atoms.shape
    assert 1 <= m <= 12
    assert 1 <= d <= 8
    assert np.abs(np.linalg.norm(atoms, axis=1) - 1.0).max() <= 1e-12
    gram = np.abs(atoms @ atoms.T) - np.eye(m)
    assert gram.max() <= bound + 2e-12  # the diagonal has the rounding of the norms
    assert atoms.flags.writeable


@pytest.mark.parametrize(
    ("m", "d", "bound"), [(3, 3, 0.0), (6, 3, 5**-0.5), (4, 3, 1 / 3), (12, 4, 0.5), (20, 6, 0.55)]
)
def test_dictionaries_attain_what_can_be_attained(m, d, bound):
    """Icosahedron, simplex and 24-cell have the least coherence there is; (20, 6) is under a loose bound."""
    strategy = strategies.dictionaries(m, d, coherence_at_most=bound)

    @settings(max_examples=10)
    @given(strategy)
    def check(atoms):
        assert atoms.shape == (m, d)
        assert coherence_bound(m, d) - 1e-12 <= coherence(atoms) <= bound + 1e-12

    check()


@pytest.mark.parametrize(
    ("m", "d", "bound", "message"),
    [
        (5, 4, 0.2, "coherence at least 0.25 .Welch"),
        (12, 2, 0.85, "was not reached"),  # above the bound, but cos(pi / 12) = 0.966 is the least there is
        (0, 4, 1.0, "m must lie"),
        (4, 0, 1.0, "d must lie"),
        (4, 4, 1.5, "coherence_at_most must"),
    ],
)
def test_an_infeasible_dictionary_is_refused_when_it_is_asked_for(m, d, bound, message):
    with pytest.raises(ValueError, match=message):
        strategies.dictionaries(m, d, coherence_at_most=bound)


@pytest.mark.parametrize("rows", [np.array([[1.0, 0.0], [1.0, 0.0]]), 1.0001 * np.eye(2), np.full((2, 2), np.nan)])
def test_what_breaks_the_bound_is_not_handed_out(rows):
    with pytest.raises(ArithmeticError, match="a defect of sparsesim"):
        strategies._certify(rows, 0.5)


def found(strategy, condition):
    return find(strategy, condition, settings=SEARCH)


def test_dictionaries_hold_the_hard_cases():
    assert found(strategies.dictionaries(4, 4, coherence_at_most=0.3), lambda a: abs(coherence(a) - 0.3) < 1e-12).size
    assert found(strategies.dictionaries(3, 5), lambda a: np.abs(a @ a.T)[0, 1:].max() > 1 - 1e-12).size
    assert found(strategies.dictionaries(6, 3, coherence_at_most=0.7), lambda a: coherence(a) > 0.69).size


@FEW
@given(st.data())
def test_codes_are_canonical_and_as_sparse_as_asked(data):
    k = data.draw(st.none() | st.integers(0, 4))
    signed = data.draw(st.booleans())
    codes = data.draw(strategies.codes(k=k, signed=signed))
    n, m = codes.shape
    assert codes.format == "csr"
    assert codes.dtype == np.float64
    assert 1 <= n <= 16
    assert 1 <= m <= 12
    assert codes.has_canonical_format
    counts = np.diff(codes.indptr)
    assert (counts == k).all() if k is not None else (counts <= m).all()
    if codes.nnz:
        assert 0.1 <= np.abs(codes.data).min() <= np.abs(codes.data).max() <= 10.0
        assert signed or codes.data.min() > 0


def test_codes_of_a_given_shape():
    assert found(strategies.codes(0, 3, k=2), lambda codes: True).shape == (0, 3)
    full = found(strategies.codes(2, 4, k=4, signed=False), lambda codes: True)
    assert np.array_equal(full.toarray(), np.ones((2, 4)))
    with pytest.raises(ValueError, match=r"k must lie in \[0, m=3\]"):
        strategies.codes(4, 3, k=4)


@FEW
@given(st.data())
def test_hierarchies_fire_as_often_as_promised(data):
    least = data.draw(st.sampled_from([1e-6, 0.01, 1 / 12]))
    exclusive = data.draw(st.sampled_from([None, True, False]))
    law = data.draw(strategies.hierarchies(rate_at_least=least, exclusive=exclusive))
    assert law.n_features <= 12
    assert exclusive in (None, law.exclusive)
    assert all(parent < node for node, parent in enumerate(law.parents))
    assert law.marginals().min() >= least * (1 - 1e-12)  # products of at most 12 rounded rates
    assert law.marginals().max() <= 1.0


@FEW
@given(st.data())
def test_worlds_build_sample_and_keep_their_promises(data):
    bound = data.draw(st.sampled_from([0.4, 1.0]))
    least = data.draw(st.sampled_from([0.01, 0.08]))
    spec = data.draw(strategies.worlds(coherence_at_most=bound, rate_at_least=least))
    seed = data.draw(st.integers(0, 2**32 - 1))
    model = spec.build(stream(seed, Role.TRUTH))
    batch = model.sample(20, stream(seed, Role.TEST))
    assert model.n_features <= 12
    assert model.dim <= 8
    assert coherence(model.atoms) <= bound + 1e-12
    assert spec.support.marginals().min() >= least * (1 - 1e-12)
    assert np.isfinite(batch.x).all()
    assert model.is_linear


@settings(max_examples=400)
@given(st.sampled_from([1e-3, 1 / 12]).flatmap(lambda rate: st.tuples(st.just(rate), axes.supports(12, rate))))
def test_every_feature_of_every_support_fires_as_often_as_promised(drawn):
    rate, law = drawn
    assert law.n_features <= 12
    assert law.marginals().min() >= rate * (1 - 1e-12)
    assert law.marginals().max() <= 1.0


def _kinds(spec):
    laws = (spec.support, spec.geometry, spec.magnitude, spec.noise, getattr(spec.support, "rates", None))
    return {type(law).__name__ for law in laws}


@pytest.mark.parametrize(
    "kind",
    [
        *(one.__name__ for one in (Bernoulli, ExactlyK, Forest, ExclusiveGroups, CorrelatedBernoulli, BernoulliSign)),
        *("Orthonormal", "RandomSphere", "LowCoherence", "GivenAtoms", "Cones"),
        *("Constant", "Uniform", "HalfNormal", "LogNormal", "SignedGaussian", "Gaussian", "SignalToNoise"),
        *("EqualRates", "GivenRates", "ZipfRates"),
    ],
)
def test_worlds_reach_every_axis(kind):
    # Which examples come first depends on the modules that are loaded, whose constants hypothesis tries.
    once = settings(SEARCH, phases=(Phase.generate,))  # the first that is found, not the smallest
    assert kind in _kinds(find(strategies.worlds(), lambda spec: kind in _kinds(spec), settings=once))


def test_examples_shrink_to_the_plain_ones():
    plain = FeatureSpec(1, Bernoulli(EqualRates(1, 0.505)), Orthonormal(), Constant(1.0), Gaussian(0.0))
    assert found(strategies.worlds(), lambda spec: True) == plain
    assert np.array_equal(found(strategies.dictionaries(), lambda atoms: len(atoms) > 2), np.eye(3, 3))
    assert found(strategies.codes(k=2), lambda codes: True).toarray().tolist() == [[1.0, 1.0]]
    assert found(strategies.hierarchies(), lambda law: law.n_features > 1).parents == (-1, -1)
    assert found(strategies.hierarchies(), lambda law: max(law.depths()) > 1).parents == (-1, 0, 1)


def test_samples_are_those_of_their_world():
    @settings(max_examples=30)
    @given(strategies.samples(7, world=strategies.worlds(noiseless=True)))
    def check(sample):
        model, batch = sample
        assert batch.x.shape == (7, model.dim)
        # Twelve terms of magnitude up to some tens: rounding of 1e-13.
        np.testing.assert_allclose(batch.x, batch.codes @ model.atoms + model.bias, atol=1e-11)

    check()
    spec = FeatureSpec(2, ExactlyK(2, 1), Orthonormal(), Constant(1.0))
    model, batch = found(strategies.samples(world=spec), lambda sample: len(sample[1].x) > 3)
    assert model.spec == spec
    assert len(batch.x) == 4


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: strategies.worlds(most_features=12, rate_at_least=0.1), "must be at most 1"),
        (lambda: strategies.hierarchies(3, rate_at_least=0.5), "rate_at_least=0.333"),
        (lambda: strategies.hierarchies(0), "most_features must"),
        (lambda: strategies.worlds(most_dim=0), "most_dim must"),
        (lambda: strategies.samples(-1), "n must lie"),
    ],
)
def test_other_infeasible_requests_are_refused_when_they_are_made(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_without_hypothesis_the_error_says_what_to_install():
    code = (
        "import sys; sys.modules['hypothesis'] = None; import sparsesim.testing; sparsesim.testing.check_solver\n"
        "try: sparsesim.testing.strategies\n"
        "except ImportError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert 'pip install "sparsesim[testing]"' in done.stdout
