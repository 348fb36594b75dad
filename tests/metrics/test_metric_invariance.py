"""What must not matter does not: every metric of the package is tried, a new one as soon as it exists."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import ortho_group

import sparsesim.metrics
from tests.metrics.hand_made import METRICS, World, world

SEEDS = [0, 1, 2]
EVERY = pytest.mark.parametrize("name", sorted(METRICS))
OF_LATENTS = {"saelens_precision", "saelens_recall", "saelens_f1", "saelens_accuracy"}
# An exactly zero atom is a dead latent: these are means over learned atoms, and say so.
WIDTH_NORMALISED = OF_LATENTS | {"mcc_learned", "mmcs_learned", "uniqueness", "dead_fraction", "saelens_uniqueness"}


def score(name: str, evaluated) -> float:
    return METRICS[name](evaluated)


def agree(name: str, first, second, tolerance: float) -> None:
    a, b = score(name, first), score(name, second)
    assert np.isfinite(a), f"{name} = {a} in a regular world"
    assert a == pytest.approx(b, rel=tolerance, abs=tolerance)


def test_every_metric_is_found_and_exported():
    assert len(METRICS) >= 58
    assert set(METRICS) <= set(dir(sparsesim.metrics))
    assert all(getattr(sparsesim.metrics, name) is function for name, function in METRICS.items())


@EVERY
def test_a_metric_returns_a_python_float_and_says_what_it_returns(name):
    assert type(score(name, world().evaluation())) is float
    assert METRICS[name].__doc__.startswith("Return")


@EVERY
def test_half_learned_worlds_do_not_score_at_the_ends_of_the_scale(name):
    # Otherwise the invariances below would hold for a constant.
    worlds = [world(0), world(1, m=5), world(2, p=12), world(3, d=4), world(4, n=2), world(5, error=0.01)]
    copied = replace(worlds[0], learned=np.repeat(worlds[0].learned[:3], 3, axis=0))
    # Two latents that lean to the first feature, and of which each fires with one of the others alone.
    halves = np.array([[1.0, 0.9, 0.0], [1.0, 0.0, 0.9]]) / np.hypot(1.0, 0.9)
    split = World(np.eye(3), np.array([[1.0, 2.0, 0.0], [1.0, 0.0, 2.0]]), np.zeros(3), halves, np.zeros((2, 3)), ())
    assert len({round(score(name, w.evaluation()), 9) for w in [*worlds, copied, split]}) > 1


@EVERY
@pytest.mark.parametrize("seed", SEEDS)
def test_rotating_data_truth_and_solution_changes_nothing(name, seed):
    w = world(seed)
    q = ortho_group.rvs(w.atoms.shape[1], random_state=np.random.default_rng(seed))
    turned = replace(w, atoms=w.atoms @ q, bias=w.bias @ q, learned=w.learned @ q, noise=w.noise @ q)
    agree(name, w.evaluation(), turned.evaluation(), 1e-10)  # rounding of sums of d = 6 products


@EVERY
@pytest.mark.parametrize("seed", SEEDS)
def test_the_order_of_learned_atoms_does_not_matter(name, seed):
    w = world(seed)
    order = np.random.default_rng(seed).permutation(len(w.learned))
    agree(name, w.evaluation(), replace(w, learned=w.learned[order]).evaluation(), 1e-12)  # order of summation


@EVERY
@pytest.mark.parametrize("seed", SEEDS)
def test_the_order_of_true_features_does_not_matter(name, seed):
    w = world(seed)
    order = np.random.default_rng(seed).permutation(len(w.atoms))
    agree(name, w.evaluation(), w.reordered(order).evaluation(), 1e-10)  # x is summed in another order


@EVERY
@pytest.mark.parametrize("seed", SEEDS)
def test_the_order_of_samples_does_not_matter(name, seed):
    w = world(seed)
    order = np.random.default_rng(seed).permutation(len(w.codes))
    other = replace(w, codes=w.codes[order], noise=w.noise[order])
    agree(name, w.evaluation(), other.evaluation(), 1e-12)  # order of summation


@EVERY
def test_seeing_every_sample_twice_changes_nothing(name):
    w = world()
    twice = replace(w, codes=np.tile(w.codes, (2, 1)), noise=np.tile(w.noise, (2, 1)))
    agree(name, w.evaluation(), twice.evaluation(), 1e-12)  # order of summation


@pytest.mark.parametrize("name", sorted(set(METRICS) - {"mcc_signed"}))
@pytest.mark.parametrize("seed", SEEDS)
def test_the_sign_of_a_learned_atom_and_its_codes_is_a_gauge(name, seed):
    w = world(seed)
    sign = np.random.default_rng(seed).choice([-1.0, 1.0], (len(w.learned), 1))
    agree(name, w.evaluation(), replace(w, learned=w.learned * sign).evaluation(), 1e-12)


@pytest.mark.parametrize("name", sorted(set(METRICS) - OF_LATENTS - {"mcc_signed"}))
@pytest.mark.parametrize("seed", SEEDS)
def test_the_sign_of_a_true_feature_and_its_codes_is_a_gauge(name, seed):
    w = world(seed)
    sign = np.random.default_rng(seed).choice([-1.0, 1.0], len(w.atoms))
    agree(name, w.evaluation(), replace(w, atoms=w.atoms * sign[:, None], codes=w.codes * sign).evaluation(), 1e-12)


def test_metrics_that_read_signs_do_change_with_them():
    w = world()
    flipped = replace(w, atoms=-w.atoms, codes=-w.codes).evaluation()
    for name in sorted(OF_LATENTS | {"mcc_signed"}):
        assert abs(score(name, w.evaluation()) - score(name, flipped)) > 0.01


@pytest.mark.parametrize("name", sorted(set(METRICS) - {"saelens_shrinkage"}))
@pytest.mark.parametrize("scale", [1e-12, 1e-3, 1e12])
def test_the_unit_of_the_data_does_not_matter(name, scale):
    # saelens_shrinkage drops samples below an absolute norm of 1e-6.
    w = world()
    scaled = replace(w, codes=w.codes * scale, bias=w.bias * scale, noise=w.noise * scale)
    agree(name, w.evaluation(), scaled.evaluation(), 1e-10)  # rounding of the products


@pytest.mark.parametrize("name", sorted(set(METRICS) - {"saelens_shrinkage"}))
def test_an_offset_known_to_both_does_not_matter(name):
    # saelens_shrinkage compares norms that include the bias.
    w = world()
    agree(name, w.evaluation(), replace(w, bias=w.bias + 100.0).evaluation(), 1e-10)  # 1e2^2 * 2^-52 and a margin


@EVERY
@pytest.mark.parametrize("size", [1, 7, 60])
def test_encoding_in_parts_changes_nothing(name, size):
    # A part may go through another product kernel, so codes agree to rounding and supports exactly.
    agree(name, world().evaluation(), world().evaluation(size=size), 1e-12)


@EVERY
@pytest.mark.parametrize("seed", SEEDS)
def test_single_precision_changes_the_sixth_digit_at_most(name, seed):
    # 2^-24 = 6e-8 a value, grown by cancellation in the residual of the reconstruction (fvu ~ 0.1).
    agree(name, world(seed).evaluation(), world(seed).evaluation(np.float32), 5e-6)


@EVERY
@pytest.mark.parametrize("extra", [1, 5])
def test_appended_dead_atoms_change_only_what_is_normalised_by_width(name, extra):
    w = world()
    wide = replace(w, learned=np.concatenate([w.learned, np.zeros((extra, w.learned.shape[1]))]))
    before, after = score(name, w.evaluation()), score(name, wide.evaluation())
    if name in WIDTH_NORMALISED:
        assert before != pytest.approx(after, rel=1e-3) or (name == "uniqueness" and before == after == 1.0)
    else:
        assert before == pytest.approx(after, rel=1e-12, abs=1e-12)  # the same sums


def test_splitting_an_atom_in_two_lowers_uniqueness_and_finds_nothing_more():
    w = world()
    split = replace(w, learned=np.concatenate([w.learned, w.learned[:1]]))
    before, after = w.evaluation(), split.evaluation()
    assert score("uniqueness", after) == pytest.approx(1 - 1 / 10)  # one of ten atoms is a copy, exactly
    assert score("uniqueness", before) == 1.0
    assert score("mmcs", after) == score("mmcs", before)
    assert score("recovered_at_95", after) == score("recovered_at_95", before)
