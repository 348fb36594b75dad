"""Absorption and levels: against brute force, the closed forms of theory and worlds made to be absorbed."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from sparsesim._identity import Role, stream
from sparsesim.generators import (
    AcyclicGraph,
    Bernoulli,
    Cones,
    EqualRates,
    FeatureSpec,
    Forest,
    ForestOver,
    LogNormal,
    LowRankCorrelation,
    Orthonormal,
    Relabelled,
    Repertoire,
    SynthSAEBenchSupport,
)
from sparsesim.metrics import (
    Evaluation,
    absorption_gap,
    absorption_rate,
    absorption_score,
    edge_recall,
    flat_error,
    hierarchical_error,
    parent_edges,
    parent_hedging,
    parent_recall_child_off,
    parent_recall_child_on,
)
from tests.metrics.hand_made import METRICS, NEED_HIERARCHY, Given, evaluation, fitted, unit, world
from theory.absorption import absorbed_solution, limit_tilt, tilt_matrix
from theory.hedging import hedging_angle

CHAIN = (-1, 0, 0, 1, -1)  # a root with two children, one of which has a child, and a leaf alone
PAIRS = [(0, 1), (0, 2), (1, 3)]


class Said:
    def __init__(self, support):
        self.spec = type("Spec", (), {"support": support})


@pytest.mark.parametrize(
    ("law", "expected"),
    [
        (Forest(CHAIN, (0.5,) * 5, exclusive=False), PAIRS),
        (SynthSAEBenchSupport(EqualRates(5, 0.1), CHAIN, LowRankCorrelation(rank=1, scale=0.1, seed=0)), PAIRS),
        (AcyclicGraph(((), (0,), (0, 1)), (0.5,) * 3), [(0, 1), (0, 2), (1, 2)]),
        (ForestOver(Bernoulli(EqualRates(2, 0.1)), (1, 2), (0.5, 0.5)), [(1, 2), (2, 3)]),
        (Relabelled(Forest((-1, 0, -1), (0.5,) * 3), (2, 1, 0)), [(2, 1)]),
        (Repertoire(Forest((-1, 0), (0.5, 0.5)), 4, 0), [(0, 1)]),
        (Bernoulli(EqualRates(3, 0.1)), []),
    ],
)
def test_every_law_says_who_is_whose_parent(law, expected):
    assert sorted(map(tuple, parent_edges(Said(law)).tolist())) == expected


def test_a_child_of_the_pairs_fires_only_where_its_parent_does():
    for law in (
        Forest(CHAIN, (0.5,) * 5, exclusive=False),
        ForestOver(Bernoulli(EqualRates(2, 0.5)), (1, 2), (0.5, 0.5)),
        Relabelled(Forest((-1, 0, -1), (0.5,) * 3), (2, 1, 0)),
        Repertoire(Forest((-1, 0), (0.5, 0.5)), 20, 0),
    ):
        support = law.draw(200, np.random.default_rng(0))
        on = support.codes(np.ones(len(support.indices))).toarray() > 0
        for parent, child in parent_edges(Said(law)):
            assert on[:, child].any()
            assert not (on[:, child] & ~on[:, parent]).any()


@pytest.mark.parametrize("parents", [None, (-1, -1, -1)])
def test_without_a_hierarchy_the_scores_are_not_defined(parents):
    e = evaluation(np.eye(3), np.eye(3), np.eye(3), parents=parents)
    assert all(np.isnan(METRICS[name](e)) for name in NEED_HIERARCHY)


@pytest.mark.parametrize("geometry", [Orthonormal(), Cones(CHAIN, 0.6)])
def test_the_truth_has_full_recall_and_absorbs_nothing_even_if_children_lie_near_their_parents(geometry):
    spec = FeatureSpec(8, Forest(CHAIN, (0.5, 0.3, 0.4, 0.5, 0.2)), geometry, LogNormal(0.0, 0.3))
    model = spec.build(stream(0, Role.TRUTH))
    batch = model.sample(500, stream(0, Role.TEST))
    e = Evaluation(model, fitted(model.atoms, Given(batch.codes)), batch)
    assert parent_recall_child_on(e) == parent_recall_child_off(e) == 1.0
    assert absorption_gap(e) == absorption_rate(e) == 0.0
    for score in (absorption_score, parent_hedging, flat_error, hierarchical_error):
        assert score(e) == pytest.approx(0.0, abs=1e-12)  # rounding


def absorbed(tilt=1.0):
    """A parent with two exclusive children, both absorbed by ``tilt``: the parent is tilted into their atoms."""
    codes = np.array([[1.0, 0, 0], [1, 0, 0], [1, 1, 0], [1, 0, 1]])
    mixing, other = absorbed_solution(codes, np.array([[0, 0, 0], [tilt, 0, 0], [tilt, 0, 0]]))
    return evaluation(np.eye(3), codes, mixing, other, parents=(-1, 0, 0))


def test_full_absorption_has_the_numbers_of_its_closed_form():
    e = absorbed()
    assert parent_recall_child_on(e) == 0.0
    assert parent_recall_child_off(e) == 1.0  # "off" is all children off: a sibling absorbs as well
    assert absorption_gap(e) == absorption_rate(e) == 1.0
    assert absorption_score(e) == pytest.approx(np.sqrt(0.5), abs=1e-15)
    assert parent_hedging(e) == pytest.approx(0.0, abs=1e-15)
    assert hierarchical_error(e) == pytest.approx(0.5, abs=1e-15)  # both pairs across levels: cosine 0.71 for 0
    assert flat_error(e) == pytest.approx(0.25, abs=1e-15)  # the two children share the parent: cosine 0.5


@pytest.mark.parametrize("tilt", [0.1, 0.6])
def test_partial_absorption_shows_in_the_atoms_and_not_in_the_supports(tilt):
    e = absorbed(tilt)
    assert absorption_score(e) == pytest.approx(tilt / np.hypot(1.0, tilt), abs=1e-15)
    assert absorption_gap(e) == absorption_rate(e) == 0.0  # the parent's latent still fires


def test_counts_are_given_for_each_pair():
    counts = edge_recall(absorbed())
    assert counts.edges.tolist() == [[0, 1], [0, 2]]
    assert counts.child_on.tolist() == [1, 1]
    assert counts.child_on_found.tolist() == [0, 0]
    assert counts.child_off.tolist() == counts.child_off_found.tolist() == [2, 2]


def test_a_child_that_carries_less_than_half_of_the_parent_is_no_absorption():
    codes = np.array([[1.0, 0], [1, 1]])
    for carried, rate in ((0.49, 0.0), (0.51, 1.0)):
        atoms = np.array([[1.0, 0.0], [carried, 1.0]])
        norm = np.linalg.norm(atoms, axis=1, keepdims=True)
        e = evaluation(np.eye(2), codes, atoms / norm, np.array([[1.0, 0], [0, norm[1, 0]]]), parents=(-1, 0))
        assert absorption_rate(e) == rate


LAW = np.array([[1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])  # parent alone, both, child alone


def best_codes(atoms, x, penalty):
    """The non-negative lasso codes of two atoms, by their four supports."""
    best, found = np.inf, np.zeros(2)
    for support in product([False, True], repeat=2):
        on = np.flatnonzero(support)
        f = np.zeros(2)
        if len(on):
            f[on] = np.linalg.solve(atoms[on] @ atoms[on].T, atoms[on] @ x - penalty / 2)
        loss = np.square(x - f @ atoms).sum() + penalty * f.sum()
        if (f >= 0).all() and loss < best:
            best, found = loss, f
    return best, found


def optimum(penalty, weights):
    """The atoms in the plane that minimise the population's l1 loss, and the codes of the three samples."""

    def atoms(angles):
        return np.stack([np.cos(angles), np.sin(angles)], axis=1)

    def loss(angles):
        return sum(w * best_codes(atoms(angles), x, penalty)[0] for w, x in zip(weights, LAW, strict=True))

    start = np.array([0.0, np.pi / 2 - 0.1])
    found = minimize(loss, start, method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-15, "maxiter": 2000})
    return atoms(found.x), np.array([best_codes(atoms(found.x), x, penalty)[1] for x in LAW])


def of_law(weights, atoms, codes):
    repeats = np.rint(np.asarray(weights) * 100).astype(int)
    return evaluation(
        np.eye(2), np.repeat(LAW, repeats, axis=0), atoms, np.repeat(codes, repeats, axis=0), parents=(-1, 0)
    )


def test_the_l1_optimum_has_the_absorption_that_theory_predicts():
    weights, penalty = (0.6, 0.3, 0.1), 0.02
    e = of_law(weights, *optimum(penalty, weights))
    tilt = tilt_matrix(LAW, penalty, weights)
    # the prediction is of first order in the penalty: relative error of order penalty * both / child = 0.06
    assert absorption_score(e) == pytest.approx(tilt[1, 0] / np.hypot(1.0, tilt[1, 0]), rel=0.06)
    assert parent_hedging(e) == pytest.approx(tilt[0, 1] / np.hypot(1.0, tilt[0, 1]), rel=0.06)
    assert absorption_score(e) > 2 * parent_hedging(e) > 0.0  # the child is alone less often


def test_where_the_child_is_never_alone_the_l1_optimum_absorbs_fully():
    weights = (0.6, 0.4, 0.0)
    e = of_law(weights, *optimum(0.02, weights))
    assert limit_tilt(0.0) == 1.0
    # the parent's atom serves its feature alone, the child's their sum; 1e-6: the search's 1e-9 in a flat minimum
    assert absorption_score(e) == pytest.approx(np.sqrt(0.5), abs=1e-6)
    assert absorption_gap(e) == absorption_rate(e) == 1.0


def test_one_latent_for_parent_and_child_hedges_by_the_closed_form():
    weights = (0.6, 0.3, 0.1)
    moment = np.einsum("n,ni,nj->ij", weights, LAW, LAW)
    latent = np.linalg.eigh(moment)[1][:, -1:].T
    e = of_law(weights, latent, LAW @ latent.T)
    assert parent_hedging(e) == pytest.approx(np.sin(hedging_angle(*weights)), abs=1e-12)  # rounding
    assert absorption_score(e) == 0.0  # no latent is the child's


def twin(e, parents):
    """All scores by loops over pairs and samples."""
    m, n = len(parents), len(e.batch.x)
    true, learned, atoms = e.true_codes.toarray(), e.codes.toarray(), np.asarray(e.truth.atoms)
    u, z = np.zeros(atoms.shape), np.zeros((n, m))
    for i, j in zip(e.match.features, e.match.atoms, strict=True):
        sign = np.sign(atoms[i] @ e.fitted.atoms[j])
        u[i], z[:, i] = sign * e.fitted.atoms[j], sign * learned[:, j]
    edges = [(p, c) for c, p in enumerate(parents) if p >= 0]
    out = {name: [] for name in ("on", "off", "gap", "score", "rate", "hedging")}
    for p, c in edges:
        both = [s for s in range(n) if true[s, p] and true[s, c]]
        alone = [s for s in range(n) if true[s, p] and not any(true[s, k] for q, k in edges if q == p)]
        on = np.mean([z[s, p] != 0 for s in both]) if both else np.nan
        off = np.mean([z[s, p] != 0 for s in alone]) if alone else np.nan
        out["on"].append(on), out["off"].append(off), out["gap"].append(off - on)
        sign = np.sign(sum(np.sign(true[s, p] * true[s, c]) for s in both)) if both else np.nan
        away = atoms[p] - (atoms[p] @ atoms[c]) * atoms[c]
        out["score"].append(sign * u[c] @ away / np.linalg.norm(away))
        other = atoms[c] - (atoms[p] @ atoms[c]) * atoms[p]
        out["hedging"].append(sign * u[p] @ other / np.linalg.norm(other))
        carried = [z[s, p] == 0 and z[s, c] * (u[c] @ away) / (true[s, p] * (away @ away)) >= 0.5 for s in both]
        out["rate"].append(np.mean(carried) if both else np.nan)
    return {name: np.nanmean(v) if not np.all(np.isnan(v)) else np.nan for name, v in out.items()}, u


@settings(max_examples=25)
@given(st.integers(0, 2**32 - 1), st.sampled_from([6, 40]))
def test_scores_equal_their_loops(seed, n):
    rng = np.random.default_rng(seed)
    parents = (-1, 0, 0, 1, -1, 4)
    true = (rng.random((n, 6)) < 0.5) * rng.integers(-4, 9, (n, 6)) / 4
    learned = (rng.random((n, 5)) < 0.5) * rng.integers(-4, 9, (n, 5)) / 4
    e = evaluation(unit(rng, 6, 4), true, unit(rng, 5, 4), learned, parents=parents)
    expected, u = twin(e, parents)
    for name, metric in (
        ("on", parent_recall_child_on),
        ("off", parent_recall_child_off),
        ("gap", absorption_gap),
        ("score", absorption_score),
        ("hedging", parent_hedging),
        ("rate", absorption_rate),
    ):
        assert metric(e) == pytest.approx(expected[name], abs=1e-12, nan_ok=True), name  # order of summation
    level, known = (0, 1, 1, 2, 0, 1), e.match.features
    for metric, same in ((flat_error, True), (hierarchical_error, False)):
        errors = [
            (u[i] @ u[j] - e.truth.atoms[i] @ e.truth.atoms[j]) ** 2
            for i in known
            for j in known
            if i != j and (level[i] == level[j]) == same
        ]
        assert metric(e) == pytest.approx(np.mean(errors) if errors else np.nan, abs=1e-12, nan_ok=True)


def test_random_dictionaries_have_the_chance_levels_of_the_docstrings():
    rng, d = np.random.default_rng(0), 20
    law = Forest.regular(3, 3, 1, 0.5, 0.3)
    values = {metric: [] for metric in (absorption_score, parent_hedging, flat_error, hierarchical_error)}
    support = law.draw(400, rng)
    codes = support.codes(np.ones(len(support.indices))).toarray()
    for _ in range(60):
        e = evaluation(np.eye(d)[:12], codes, unit(rng, 12, d), parents=law.parents)
        for metric, found in values.items():
            found.append(metric(e))
    for metric, found in values.items():
        error = np.std(found, ddof=1) / np.sqrt(len(found))
        expected = 1 / d if metric in (flat_error, hierarchical_error) else 0.0
        # 4.9 standard errors, and for the cosines 10 % since matched directions are a little less alike
        assert abs(np.mean(found) - expected) < 4.9 * error + 0.1 * expected, metric.__name__


def test_levels_and_pairs_of_a_world_without_samples_of_a_kind_are_left_out():
    # The root always has a child, so that nothing is known of it without one.
    codes = np.array([[1.0, 1.0], [1.0, 1.0]])
    e = evaluation(np.eye(2), codes, np.eye(2), codes, parents=(-1, 0))
    assert np.isnan(parent_recall_child_off(e)) and np.isnan(absorption_gap(e))
    assert parent_recall_child_on(e) == 1.0
    parallel = evaluation(np.ones((2, 1)), codes, np.eye(1), parents=(-1, 0))
    assert np.isnan(absorption_score(parallel)) and np.isnan(absorption_rate(parallel))


def test_world_of_the_invariance_tests_has_pairs_of_every_kind():
    counts = edge_recall(world().evaluation())
    assert (counts.child_on > 0).sum() >= 3 and (counts.child_off > 0).all()
