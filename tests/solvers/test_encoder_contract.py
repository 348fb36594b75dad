"""What every encoder of given atoms promises, whatever its method; the list is compared with the package."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import pkgutil

import numba
import numpy as np
import pytest
from slow_encoders import random_problem, unit

import sparsesim.solvers
from sparsesim.kernels import convex
from sparsesim.solvers.active_set import ElasticNet, NonNegativeLeastSquares, ReweightedLasso
from sparsesim.solvers.base import FittedDictionary, Status
from sparsesim.solvers.baselines import LinearProjection
from sparsesim.solvers.beam import BeamPursuit
from sparsesim.solvers.clustering import NearestCentroid
from sparsesim.solvers.convex import Lasso
from sparsesim.solvers.exhaustive import ExhaustiveSearch
from sparsesim.solvers.gradient_pursuit import GradientPursuit
from sparsesim.solvers.group_lasso import GroupLasso, TreeLasso
from sparsesim.solvers.homotopy import BasisPursuit, Homotopy
from sparsesim.solvers.posterior import PosteriorMean
from sparsesim.solvers.priors import BernoulliGaussian
from sparsesim.solvers.proximal_gradient import FISTA
from sparsesim.solvers.pursuit import MatchingPursuit, OrthogonalMatchingPursuit
from sparsesim.solvers.sparse_bayes import SparseBayesianLearning
from sparsesim.solvers.stagewise import StagewisePursuit
from sparsesim.solvers.subspace import CoSaMP, SubspacePursuit
from sparsesim.solvers.thresholding import (
    CorrelationThreshold,
    CorrelationTopK,
    HardThresholdingPursuit,
    IterativeHardThresholding,
)

P, D, LEVEL = 12, 8, 0.3
PAIRS, TREE = tuple(i // 2 for i in range(P)), (tuple(range(P)), *((i,) for i in range(P)))


def _both(sign):
    return [
        MatchingPursuit(3, sign),
        OrthogonalMatchingPursuit(3, sign),
        SubspacePursuit(3, sign),
        CoSaMP(2, sign),
        StagewisePursuit(3, level=1.0, non_negative=sign),
        BeamPursuit(3, 4, non_negative=sign),
        CorrelationTopK(3, non_negative=sign),
        CorrelationTopK(3, refit=True, non_negative=sign),
        CorrelationThreshold(LEVEL, non_negative=sign),
        IterativeHardThresholding(3, non_negative=sign),
        HardThresholdingPursuit(3, 0.5, sign),
        ExhaustiveSearch(3, non_negative=sign),
        ExhaustiveSearch(3, LEVEL**2, sign),
        GradientPursuit(3, non_negative=sign),
        Lasso(LEVEL, sign),
        FISTA(LEVEL, sign, tolerance=1e-13),
        ElasticNet(LEVEL, 0.1, sign),
        ReweightedLasso(LEVEL, non_negative=sign),
        Homotopy(LEVEL, sign),
        BasisPursuit(sign),
        GroupLasso(LEVEL, PAIRS, sign, tolerance=1e-13),
        TreeLasso(LEVEL, TREE, (), sign, tolerance=1e-13),
    ]


SIGNED = [*_both(False), LinearProjection()]
NON_NEGATIVE = [*_both(True), NonNegativeLeastSquares()]
CENTROIDS = NearestCentroid((1.0,) * P)  # codes norms of centroids, whatever x: equivariant, but not linear in x
BAYESIAN = [SparseBayesianLearning(0.01), PosteriorMean(BernoulliGaussian(0.2), 0.01, 3)]
ENCODERS = [*SIGNED, *NON_NEGATIVE, *BAYESIAN, CENTROIDS]
GREEDY = [e for e in SIGNED + NON_NEGATIVE if hasattr(e, "k")]
PASSING = "iterates to a tolerance, and need not converge in these few atoms: test_message_passing.py"
EXEMPT = {
    "AmortisedEncoder": "belongs to the atoms it was trained for and refuses others: test_amortised.py",
    "ApproximateMessagePassing": PASSING,
    "EnsembleEncoder": "encodes with its members' own atoms, whatever it is given: test_neural_ensemble.py",
    "ExactInverse": "needs as many atoms as dimensions: test_erspud.py",
    "FittedDictionary": "encodes in its own atoms, by one of these",
    "GibbsSampler": "draws: codes of rotated or scaled rows are equal in distribution only: test_gibbs.py",
    "KroneckerSparseBayes": "atoms are a table of rows and columns, so not any order is another: test_sparse_bayes.py",
    "MessagePassingSparseBayes": PASSING,
    "NeuralEncoder": "bound to the atoms and the scale it was trained with: tests/test_conformance.py",
    "OnDevice": "encodes as the encoder it holds does, up to the order of sums: test_on_device.py",
    "SimplexLeastSquares": "weights sum to one, so codes do not follow the scale or the sign of x: test_archetypal.py",
    "SupportLeastSquares": "knows the supports of n given rows, so no row is coded alone: test_least_squares.py",
    "UnfoldedEncoder": "belongs to the atoms its layers were made for and refuses others: test_lista.py",
    "VectorAMP": PASSING,
}
ITERATIVE = (FISTA, GroupLasso, TreeLasso)  # a gap of 1e-13 fixes codes to its root over the least eigenvalue


def name(encoder):
    return f"{type(encoder).__name__}{'+' if encoder in NON_NEGATIVE else ''}"


def world(seed=0, n=8):
    return random_problem(np.random.default_rng(seed), n, D, P, 3, noise=0.05)


def codes_of(encoder, x, atoms):
    return encoder.encode(x, atoms).toarray()


def close(encoder, found, expected, atol=1e-7):
    atol = max(atol, 1e-5) if isinstance(encoder, ITERATIVE) else atol
    np.testing.assert_allclose(found, expected, rtol=0, atol=atol * np.abs(expected).max())


def scaled(encoder, factor):
    """Return the encoder whose numbers in the units of x are ``factor`` times as large."""
    powers = {"penalty": 2 if isinstance(encoder, ExhaustiveSearch) else 1, "noise_variance": 2}
    if isinstance(encoder, CorrelationThreshold):
        powers = {"level": 1}
    change = {
        field: getattr(encoder, field) * factor**power for field, power in powers.items() if hasattr(encoder, field)
    }
    return dataclasses.replace(encoder, **change)


def permuted(encoder, order):
    """Return the encoder for ``atoms[order]``."""
    place = np.argsort(order)
    if isinstance(encoder, GroupLasso):
        return dataclasses.replace(encoder, labels=tuple(encoder.labels[i] for i in order))
    if isinstance(encoder, TreeLasso):
        return dataclasses.replace(encoder, groups=tuple(tuple(int(place[i]) for i in g) for g in encoder.groups))
    return encoder


every = pytest.mark.parametrize("encoder", ENCODERS, ids=name)
signed = pytest.mark.parametrize("encoder", SIGNED + BAYESIAN, ids=name)
coders = pytest.mark.parametrize("encoder", SIGNED + NON_NEGATIVE, ids=name)
scalable = pytest.mark.parametrize("encoder", SIGNED + NON_NEGATIVE + BAYESIAN[:1], ids=name)  # priors have a scale


def test_no_encoder_of_the_package_is_missing_from_the_list():
    listed, found = {type(encoder).__name__ for encoder in ENCODERS}, set()
    for info in pkgutil.walk_packages(sparsesim.solvers.__path__, "sparsesim.solvers."):
        for kind_name, kind in inspect.getmembers(importlib.import_module(info.name), inspect.isclass):
            at_home = kind.__module__ == info.name and dataclasses.is_dataclass(kind)
            if at_home and hasattr(kind, "encode") and not inspect.isabstract(kind):
                found.add(kind_name)
    later = found - listed - set(EXEMPT)
    assert not later, f"add {sorted(later)} to this list, or exempt them with a reason"
    assert listed <= found


@every
def test_codes_follow_the_atoms_and_the_rotation(encoder):
    x, atoms = world()
    rng = np.random.default_rng(1)
    order, turn = rng.permutation(P), np.linalg.qr(rng.standard_normal((D, D)))[0]
    codes = codes_of(encoder, x, atoms)
    close(encoder, codes_of(permuted(encoder, order), x, atoms[order]), codes[:, order])
    close(encoder, codes_of(encoder, x @ turn, atoms @ turn), codes)


@signed
def test_codes_follow_the_signs_of_atoms_and_samples(encoder):
    x, atoms = world()
    signs = np.random.default_rng(2).choice([-1.0, 1.0], P)
    codes = codes_of(encoder, x, atoms)
    close(encoder, codes_of(encoder, x, signs[:, None] * atoms), codes * signs)
    close(encoder, codes_of(encoder, -x, atoms), -codes)


@scalable
def test_codes_follow_the_scale_of_the_samples(encoder):
    x, atoms = world()
    codes = codes_of(encoder, x, atoms)
    for factor in (3.7, 1e150, 1e-150):
        close(encoder, codes_of(scaled(encoder, factor), factor * x, atoms) / factor, codes)


@scalable
def test_float32_samples_of_any_scale_have_nearly_the_codes_of_float64(encoder):
    x, atoms = world()
    single, few = x.astype(np.float32), atoms.astype(np.float32)
    codes = encoder.encode(single, few)
    assert codes.dtype == np.float32
    if not isinstance(encoder, IterativeHardThresholding):  # rounding may send that to another of its fixed points
        # float32 samples move least squares codes by 1e-7 times the condition, below 1e3 for three of twelve atoms
        close(encoder, codes.toarray().astype(np.float64), codes_of(encoder, x, atoms), 1e-3)
    for factor in (2.0**100, 2.0**-100):  # scales all but the penalty without rounding
        found = codes_of(scaled(encoder, factor), np.float32(factor) * single, few).astype(np.float64)
        close(encoder, found / factor, codes.toarray().astype(np.float64), 1e-6)


@pytest.mark.parametrize("encoder", NON_NEGATIVE, ids=name)
def test_non_negative_codes_are(encoder):
    x, atoms = world(3)
    codes = encoder.encode(x, atoms)
    assert codes.nnz and codes.data.min() > 0


@every
def test_a_row_alone_any_layout_and_any_number_of_threads_give_the_same_bits(encoder):
    x, atoms = world()
    codes = codes_of(encoder, x, atoms)
    assert np.array_equal(np.concatenate([codes_of(encoder, row[None], atoms) for row in x]), codes)
    before = numba.get_num_threads()
    try:
        for threads in {1, min(2, numba.config.NUMBA_NUM_THREADS)}:
            numba.set_num_threads(threads)
            assert np.array_equal(codes_of(encoder, x, atoms), codes)
    finally:
        numba.set_num_threads(before)
    fitted = FittedDictionary(atoms, np.zeros(D), encoder, Status.CONVERGED)
    frozen, wide = x.copy(), np.zeros((len(x), 2 * D))
    frozen.flags.writeable, wide[:, ::2] = False, x
    for layout in (frozen, np.asfortranarray(x), wide[:, ::2], x[::-1].copy()[::-1]):
        assert np.array_equal(fitted.encode(layout).toarray(), codes)
    half = x.astype(np.float16)
    assert np.array_equal(fitted.encode(half).toarray(), fitted.encode(half.astype(np.float32)).toarray())
    assert np.array_equal(codes_of(encoder, x, np.asfortranarray(atoms)), codes)


@coders
def test_zero_samples_zero_atoms_and_no_samples_have_no_codes(encoder):
    x, atoms = world()
    assert not codes_of(encoder, np.zeros((3, D)), atoms).any()
    assert not codes_of(encoder, x, np.zeros((P, D))).any()
    for dtype in (np.float32, np.float64):
        none = encoder.encode(x[:0].astype(dtype), atoms.astype(dtype))
        assert none.shape == (0, P) and none.dtype == dtype
    with_dead = atoms.copy()
    with_dead[4] = 0
    codes = codes_of(encoder, x, with_dead)
    assert not codes[:, 4].any() and codes.any()


@coders
def test_codes_are_in_canonical_form_without_stored_zeros(encoder):
    codes = encoder.encode(*world())
    assert codes.has_sorted_indices and codes.has_canonical_format
    assert codes.nnz == np.count_nonzero(codes.toarray())


@pytest.mark.parametrize("encoder", GREEDY, ids=name)
def test_the_lowest_index_wins_exact_ties(encoder):
    codes = codes_of(encoder, np.ones((1, D)), np.eye(D))[0]
    if isinstance(encoder, StagewisePursuit):  # each correlation is one standard deviation: none stands out
        assert not codes.any()
        return
    size = np.count_nonzero(codes)
    assert list(np.flatnonzero(codes)) == list(range(encoder.k)) and size == encoder.k


@pytest.mark.parametrize("encoder", [e for e in GREEDY if not isinstance(e, CorrelationTopK)], ids=name)
def test_of_equal_atoms_the_first_is_used(encoder):
    if isinstance(encoder, IterativeHardThresholding):
        pytest.skip("equal atoms have equal codes along the whole iteration")
    for seed in range(6):
        x, atoms = world(seed)
        atoms[7] = atoms[2]
        assert not codes_of(encoder, x, atoms)[:, 7].any()
        if encoder in SIGNED:
            atoms[7] = -atoms[2]
            assert not codes_of(encoder, x, atoms)[:, 7].any()


@coders
def test_collinear_atoms_do_no_harm(encoder):
    for seed in range(3):
        rng = np.random.default_rng(seed)
        atoms = rng.standard_normal((P, D))
        atoms[6:] = atoms[rng.integers(0, 3, 6)] + 10.0 ** rng.uniform(-12, -6) * rng.standard_normal((6, D))
        atoms = unit(atoms)
        x = rng.standard_normal((5, D))
        for dtype in (np.float64, np.float32):
            assert np.isfinite(codes_of(encoder, x.astype(dtype), atoms.astype(dtype))).all()
        if not isinstance(encoder, CorrelationTopK | CorrelationThreshold) or getattr(encoder, "refit", False):
            left = np.square(x - codes_of(encoder, x, atoms) @ atoms).sum(axis=1)
            # no method but plain correlation is worse than coding nothing; codes of 1e5 cancel to 1e-9
            assert np.all(left <= np.square(x).sum(axis=1) * (1 + 1e-9))


@pytest.mark.parametrize("encoder", GREEDY, ids=name)
def test_k_is_limited_and_one_atom_or_one_dimension_is_enough(encoder):
    for d, p in ((5, 1), (1, 1), (1, 4), (3, 3)):
        small = dataclasses.replace(encoder, k=min(d, p))
        x, atoms = (
            np.random.default_rng(0).standard_normal((6, d)),
            unit(np.random.default_rng(1).standard_normal((p, d))),
        )
        codes = small.encode(x, atoms)
        assert codes.shape == (6, p) and np.isfinite(codes.data).all() and np.diff(codes.indptr).max() <= min(d, p)
    for k in (0, -1, 2.5, True):
        with pytest.raises((ValueError, TypeError), match="k must"):
            dataclasses.replace(encoder, k=k)
    if not isinstance(encoder, MatchingPursuit | GradientPursuit):  # which may select an atom again
        with pytest.raises(ValueError, match="k must"):
            dataclasses.replace(encoder, k=P + 1).encode(*world())


@pytest.mark.parametrize(
    "encoder", [e for e in GREEDY if hasattr(e, "tolerance") and not getattr(e, "penalty", 0)], ids=name
)
def test_each_row_ends_on_its_own_when_it_is_good_enough(encoder):
    atoms = np.eye(D)
    x = np.array([[3.0, 0, 0, 0, 0, 0, 0, 0], [3.0, 2, 0, 0, 0, 0, 0, 0], [3.0, 2, 1, 0, 0, 0, 0, 0]])
    codes = dataclasses.replace(encoder, tolerance=1e-6).encode(x, atoms)
    np.testing.assert_allclose(codes.toarray(), np.where(np.arange(D) < encoder.k, x, 0), atol=1e-12)
    rough = dataclasses.replace(encoder, tolerance=0.9)
    assert np.diff(rough.encode(x, atoms).indptr).max() <= encoder.k


def test_read_only_atoms_as_a_fit_has_them_do_not_compile_kernels_again():
    x, atoms = world()
    encoder = FISTA(LEVEL)
    encoder.encode(x, atoms)
    before = list(convex._lasso.signatures)
    fitted = FittedDictionary(atoms, np.zeros(D), encoder, Status.CONVERGED)
    assert not fitted.atoms.flags.writeable
    fitted.encode(x)
    assert convex._lasso.signatures == before
