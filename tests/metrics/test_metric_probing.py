"""Probes and ablations against scikit-learn, counting over pairs, and codes that are changed and decoded again."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
from scipy.sparse import csr_array
from scipy.stats import ortho_group
from sklearn.linear_model import LogisticRegression

from sparsesim._arrays import unit_rows
from sparsesim.metrics import Concepts, probe_perturbation, sparse_probe_auc, spurious_removal
from sparsesim.metrics.evaluation import Evaluation
from sparsesim.metrics.probing import _RIDGE, CONCEPTS, LEAST, _logistic
from sparsesim.solvers.base import FittedDictionary, Status
from tests.metrics.hand_made import Given, Samples, Truth

SEEDS = [0, 1, 2]
RATES = np.array([0.4, 0.3, 0.3, 0.25, 0.2, 0.1, 0.1, 0.004])  # the last one is no label: 2 of 500 samples have it


def auc(evaluation: Evaluation, k: int) -> float:
    return sparse_probe_auc(evaluation, Concepts(evaluation.batch), k)


def tpp(evaluation: Evaluation, n: int) -> float:
    return probe_perturbation(evaluation, Concepts(evaluation.batch), n)


def scr(evaluation: Evaluation, n: int) -> float:
    return spurious_removal(evaluation, Concepts(evaluation.batch), n)


def marked(evaluation: Evaluation) -> np.ndarray:
    return Concepts(evaluation.batch).on


SHORT = {"auc": auc, "tpp": tpp, "scr": scr}


def world(seed: int, n: int = 500, d: int = 6, p: int = 9, turn=None, order=None, unit: float = 1.0) -> Evaluation:
    """A half-learned dictionary with thresholded correlations as codes."""
    rng = np.random.default_rng(seed)
    atoms = rng.standard_normal((len(RATES), d))
    codes = rng.uniform(0.5, 1.5, (n, len(RATES))) * (rng.random((n, len(RATES))) < RATES)
    learned = np.concatenate([atoms[: p - 3], np.zeros((p - 3 - len(atoms[: p - 3]), d)), rng.standard_normal((3, d))])
    learned, _ = unit_rows(learned + 0.3 * rng.standard_normal(learned.shape))
    found = np.maximum((codes @ atoms) @ learned.T - 0.2, 0.0)
    turn = np.eye(d) if turn is None else turn
    order = np.arange(len(learned)) if order is None else order
    encoder, atoms = Given(csr_array(unit * found[:, order])), atoms @ turn
    fitted = FittedDictionary(learned[order] @ turn, np.zeros(d), encoder, Status.CONVERGED)
    samples = Samples(unit * (codes @ atoms), csr_array(unit * codes))
    return Evaluation(Truth(atoms, np.zeros(d)), fitted, samples)


def exact(codes: np.ndarray, found: np.ndarray) -> Evaluation:
    """Orthonormal true atoms as the dictionary, with ``found`` as their codes."""
    m = codes.shape[1]
    fitted = FittedDictionary(np.eye(m), np.zeros(m), Given(csr_array(found)), Status.CONVERGED)
    return Evaluation(Truth(np.eye(m), np.zeros(m)), fitted, Samples(codes, csr_array(codes)))


@pytest.mark.parametrize("seed", SEEDS)
def test_probes_are_those_of_scikit_learn(seed):
    evaluation = world(seed)
    x, on = evaluation.batch.x, marked(evaluation)[:, 1]
    share = np.where(on, 0.5 / on.sum(), 0.5 / (~on).sum())
    unit = np.sqrt(share @ np.square(x - share @ x).mean(axis=1))
    peer = LogisticRegression(C=1.0 / _RIDGE, tol=1e-10, max_iter=10_000).fit(x / unit, on, sample_weight=share)
    weights, offset = _logistic(x, on, share)
    # The loss is flattest along the weights with curvature _RIDGE: a gradient of 1e-8 leaves 1e-5.
    np.testing.assert_allclose(weights * unit, peer.coef_[0], rtol=1e-4, atol=1e-5)
    assert offset == pytest.approx(peer.intercept_[0], abs=1e-4)


def test_features_that_are_rarely_on_or_off_are_no_labels():
    evaluation = world(0)
    often = (evaluation.true_codes != 0).toarray().sum(axis=0)
    assert marked(evaluation).shape[1] == (often >= LEAST).sum() == len(RATES) - 1
    assert marked(evaluation).sum(axis=0).tolist() == often[often >= LEAST].tolist()


@pytest.mark.parametrize("seed", SEEDS)
def test_the_area_of_one_latent_is_the_share_of_pairs_it_orders(seed):
    evaluation = world(seed)
    codes, areas = evaluation.codes.toarray(), []
    for on in marked(evaluation).T:
        gaps = [codes[on, i].mean() - codes[~on, i].mean() for i in range(codes.shape[1])]
        best = int(np.argmax(np.abs(gaps)))
        above = np.sign(gaps[best]) * (codes[on, best][:, None] - codes[~on, best])
        areas.append((above > 0).mean() + 0.5 * (above == 0).mean())
    # The fitted weight has the sign of the difference of means, whatever its size.
    assert auc(evaluation, 1) == pytest.approx(np.mean(areas), rel=1e-12)


def ablated(evaluation: Evaluation, latents) -> np.ndarray:
    """Samples whose error stays while latents are silenced, by decoding twice."""
    fitted, codes = evaluation.fitted, evaluation.codes.toarray()
    kept = codes.copy()
    kept[:, latents] = 0.0
    return evaluation.batch.x - codes @ fitted.atoms + kept @ fitted.atoms


def accuracy(weights, offset, x, on) -> float:
    right = (x @ weights + offset > 0) == on
    return 0.5 * (right[on].mean() + right[~on].mean())


@pytest.mark.parametrize("n", [1, 3, 9])
@pytest.mark.parametrize("seed", SEEDS)
def test_targeted_perturbation_is_what_decoding_changed_codes_gives(seed, n):
    evaluation = world(seed)
    codes, atoms, on = evaluation.codes.toarray(), evaluation.fitted.atoms, marked(evaluation)
    probes = [
        _logistic(evaluation.batch.x, label, np.where(label, 0.5 / label.sum(), 0.5 / (~label).sum())) for label in on.T
    ]
    whole = [accuracy(*probe, evaluation.batch.x, label) for probe, label in zip(probes, on.T, strict=True)]
    own, others = [], []
    for i, (label, (w, _)) in enumerate(zip(on.T, probes, strict=True)):
        effect = np.maximum(codes[label].mean(axis=0) - codes[~label].mean(axis=0), 0.0) * (atoms @ w)
        chosen = [one for one in sorted(range(len(effect)), key=lambda one: -effect[one])[:n] if effect[one] != 0]
        x = ablated(evaluation, chosen)
        for j, (other, probe) in enumerate(zip(on.T, probes, strict=True)):
            (own if i == j else others).append(whole[j] - accuracy(*probe, x, other))
    # One sample on the other side of a probe by rounding would be worth 1e-4.
    assert tpp(evaluation, n) == pytest.approx(np.mean(own) - np.mean(others), abs=1e-10)


@pytest.mark.parametrize("n", [1, 3, 9])
@pytest.mark.parametrize("seed", SEEDS)
def test_spurious_removal_is_what_decoding_changed_codes_gives(seed, n):
    evaluation = world(seed)
    codes, atoms = evaluation.codes.toarray(), evaluation.fitted.atoms
    often = sorted(marked(evaluation).T, key=lambda on: -on.sum())[:CONCEPTS]
    gained = possible = 0.0
    for label, other in permutations(often, 2):
        cells = [(label == a) & (other == b) for a in (False, True) for b in (False, True)]
        four = sum(0.25 * cell / cell.sum() for cell in cells)
        agree = 0.5 * (label & other) / (label & other).sum() + 0.5 * (~label & ~other) / (~label & ~other).sum()
        biased, clean = _logistic(evaluation.batch.x, label, agree), _logistic(evaluation.batch.x, label, four)
        cause, _ = _logistic(evaluation.batch.x, other, np.where(other, 0.5 / other.sum(), 0.5 / (~other).sum()))
        effect = np.abs((codes[other].mean(axis=0) - codes[~other].mean(axis=0)) * (atoms @ cause))
        x = ablated(evaluation, np.argsort(-effect)[:n])

        def right(probe, rows, label=label, cells=cells):
            hits = (rows @ probe[0] + probe[1] > 0) == label
            return np.mean([hits[cell].mean() for cell in cells])

        gained += right(biased, x) - right(biased, evaluation.batch.x)
        possible += right(clean, evaluation.batch.x) - right(biased, evaluation.batch.x)
    # A sum of accuracies of 500 samples over a bias of about one tenth a pair.
    assert scr(evaluation, n) == pytest.approx(gained / possible, abs=1e-9)


@pytest.mark.parametrize("name", SHORT)
@pytest.mark.parametrize("seed", SEEDS)
def test_rotation_order_and_unit_do_not_matter(name, seed):
    rng = np.random.default_rng(seed)
    turn, order = ortho_group.rvs(6, random_state=rng), rng.permutation(9)
    before = SHORT[name](world(seed), 2)
    assert np.isfinite(before)
    # Scores are counts of samples: equal but for a sample within 1e-8 of the boundary of a probe, and there is none.
    for other in (world(seed, turn=turn), world(seed, order=order), world(seed, unit=1e6), world(seed, unit=1e-6)):
        assert SHORT[name](other, 2) == pytest.approx(before, abs=1e-9)


def codes_of(seed: int, n: int = 4_000, m: int = 8, spread: float = 0.5) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.uniform(1 - spread, 1 + spread, (n, m)) * (rng.random((n, m)) < 0.25)


def test_the_truth_scores_what_the_docstrings_say():
    codes = codes_of(0)
    truth = exact(codes, codes)
    assert auc(truth, 1) == 1.0
    # All samples without a feature look alike, and a probe whose latent is silent says "no": half of the accuracy.
    assert tpp(truth, 1) == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("seed", SEEDS)
def test_removal_of_spurious_correlation_does_not_reward_the_truth_where_coefficients_hardly_vary(seed):
    alike, varied = codes_of(seed, spread=0.02), codes_of(seed, spread=0.9)
    # The accuracy of half of the label's samples is that of a coin: 1000 of them, 12 pairs over a bias of 1/4.
    assert scr(exact(alike, alike), 1) == pytest.approx(0.0, abs=0.1)
    assert scr(exact(varied, varied), 1) > 0.5


def test_silence_scores_nothing():
    codes = codes_of(1)
    silent = exact(codes, 0.0 * codes)
    assert auc(silent, 2) == 0.5
    assert tpp(silent, 3) == 0.0
    assert scr(silent, 3) == 0.0


def test_one_latent_for_two_features_is_perturbed_less():
    codes = codes_of(2)
    joined = codes.copy()
    joined[:, 0] += joined[:, 1]
    joined[:, 1] = 0.0
    assert tpp(exact(codes, joined), 1) < tpp(exact(codes, codes), 1) - 0.02


def test_scores_without_labels_are_undefined():
    codes = np.zeros((30, 3))
    codes[:5] = 1.0
    rare = exact(codes, codes)
    assert all(np.isnan(score(rare, 1)) for score in SHORT.values())


@pytest.mark.parametrize("score", SHORT.values())
@pytest.mark.parametrize("count", [0, 10, -1])
def test_numbers_of_latents_are_checked(score, count):
    with pytest.raises(ValueError, match="width"):
        score(world(0), count)


def test_probes_are_fitted_once_for_all_solvers(monkeypatch):
    evaluation = world(0)
    concepts, other = Concepts(evaluation.batch), replace(evaluation, alignment=None)
    first = probe_perturbation(evaluation, concepts, 1)
    monkeypatch.setattr("sparsesim.metrics.probing._logistic", None)
    assert probe_perturbation(other, concepts, 1) == first


def test_labels_of_other_samples_are_refused():
    with pytest.raises(ValueError, match=r"Concepts\(evaluation.batch\)"):
        probe_perturbation(world(0), Concepts(world(1).batch), 1)
