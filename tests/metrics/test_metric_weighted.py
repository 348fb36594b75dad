"""Recovery weighted by relevance or energy: brute force over matchings, equal weights, worlds with a task."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from sparsesim._identity import Role, stream
from sparsesim.generators.base import FeatureSpec
from sparsesim.generators.geometry import RandomSphere
from sparsesim.generators.magnitude import HalfNormal
from sparsesim.generators.rates import EqualRates
from sparsesim.generators.support import Bernoulli
from sparsesim.generators.targets import Readout
from sparsesim.metrics.chance import chance_mcc
from sparsesim.metrics.evaluation import Evaluation
from sparsesim.metrics.recovery import mcc
from sparsesim.metrics.weighted import mcc_by_energy, mcc_irrelevant, mcc_relevant, mcc_relevant_chance
from sparsesim.solvers.baselines import RandomDictionary
from sparsesim.solvers.pursuit import OrthogonalMatchingPursuit
from tests.metrics.hand_made import evaluation, unit, world

SPEC = FeatureSpec(6, Bernoulli(EqualRates(8, 0.3)), RandomSphere(), HalfNormal(1.0), targets=Readout((1, 4, 6)))


def best_of_all(evaluated: Evaluation, weights: np.ndarray) -> float:
    """The largest weighted mean of |cos| over every one-to-one matching of features to atoms."""
    cosines = np.abs(evaluated.truth.atoms @ evaluated.fitted.atoms.T)
    m, p = cosines.shape
    places = [*range(p), *[None] * m]
    orders = set(itertools.permutations(places, m)) if p < m else itertools.permutations(range(p), m)
    totals = (
        sum(w * cosines[i, j] for i, (w, j) in enumerate(zip(weights, order, strict=True)) if j is not None)
        for order in orders
    )
    return max(totals) / weights.sum()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("m", "p"), [(4, 5), (4, 4), (3, 2)])
def test_each_score_is_that_of_the_best_of_all_matchings(seed, m, p):
    w = world(seed, m=m, p=p, d=3, error=0.8)
    e = w.evaluation()
    relevant = np.isin(np.arange(m), w.relevant).astype(float)
    assert mcc_relevant(e) == pytest.approx(best_of_all(e, relevant), abs=1e-12)
    assert mcc_irrelevant(e) == pytest.approx(best_of_all(e, 1 - relevant), abs=1e-12)
    assert mcc_by_energy(e) == pytest.approx(best_of_all(e, np.square(w.codes).sum(axis=0)), abs=1e-12)


def test_a_feature_of_almost_all_energy_decides_which_atom_it_gets():
    atoms, learned = np.eye(2), np.array([[0.8, 0.6]])
    loud = evaluation(atoms, [[1.0, 0.0], [0.0, 10.0]], learned, [[1.0], [1.0]])
    assert mcc_by_energy(loud) == pytest.approx(100 * 0.6 / 101)
    assert mcc(loud) == pytest.approx(0.8 / 2), "without weights the atom goes to the nearer feature"


def test_equal_weights_are_the_plain_score():
    plain = world(1).evaluation()
    assert mcc_relevant(replace(plain, truth=replace(plain.truth, targets=None))) == pytest.approx(
        mcc(plain), abs=1e-12
    )
    assert np.isnan(mcc_irrelevant(replace(plain, truth=replace(plain.truth, targets=None))))
    even = evaluation(np.eye(3), np.eye(3), unit(np.random.default_rng(0), 5, 3))
    assert mcc_by_energy(even) == pytest.approx(mcc(even), abs=1e-12)


def test_in_a_world_with_a_task_the_features_it_depends_on_are_told_from_the_others():
    model = SPEC.build(stream(0, Role.TRUTH))
    batch = model.sample(200, stream(0, Role.TEST))
    fitted = RandomDictionary(3, OrthogonalMatchingPursuit(2)).fit(batch.x, rng=np.random.default_rng(1))
    found = Evaluation(model, replace(fitted, atoms=model.atoms[[6, 1, 4]].copy()), batch)
    missed = Evaluation(model, replace(fitted, atoms=model.atoms[[0, 2, 3]].copy()), batch)
    assert mcc_relevant(found) == pytest.approx(1.0, abs=1e-12)
    assert mcc_relevant(missed) < 0.9
    # Three of five others are there exactly, and no more than three atoms can be matched.
    assert mcc_irrelevant(missed) == pytest.approx(3 / 5, abs=1e-12)
    codes = batch.codes.toarray()
    weights = np.square(codes[:, [0, 2, 3]]).sum() / np.square(codes).sum()
    assert mcc_by_energy(missed) >= weights - 1e-12


def test_random_atoms_score_chance_on_the_relevant_features():
    scores = []
    for seed in range(60):
        model = SPEC.build(stream(seed, Role.TRUTH))
        batch = model.sample(4, stream(seed, Role.TEST))
        fitted = RandomDictionary(5, OrthogonalMatchingPursuit(2)).fit(batch.x, rng=np.random.default_rng(seed))
        scores.append(mcc_relevant(Evaluation(model, fitted, batch)))
    level = mcc_relevant_chance(Evaluation(model, fitted, batch))
    assert level == chance_mcc(3, 5, 6).mean
    # Four standard errors of the mean over 60 dictionaries, beside which that of the level is small.
    assert abs(np.mean(scores) - level) < 4 * np.std(scores, ddof=1) / np.sqrt(60)
