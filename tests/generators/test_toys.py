"""Released toys: sparsity, exclusions, directions and norms as their authors' code has them, and what is corrected."""

from __future__ import annotations

import numpy as np
import pytest

from sparsesim.generators import (
    CorrelatedBernoulli,
    GaussianNorms,
    LowRankCorrelation,
    decaying_toy,
    grouped_toy,
    matryoshka_toy,
    pursuit_tree_toy,
)
from sparsesim.generators.toys import MATRYOSHKA_RELEASED_TARGET
from tests.generators.chance import assert_mean, assert_rates
from tests.generators.test_supports import dense

TOYS = {
    "decaying_as_released": lambda: decaying_toy("as_released"),
    "decaying_corrected": decaying_toy,
    "matryoshka": matryoshka_toy,
    "pursuit_tree": lambda: pursuit_tree_toy(0.529, 0.226),
    "grouped_as_released": lambda: grouped_toy("as_released"),
    "grouped_corrected": grouped_toy,
}
ACTIVE = {
    "decaying_as_released": 5 / 512 * (1 - 0.99**512) / 0.01,
    "decaying_corrected": 5.0,
    "matryoshka": 3 * 0.15 * 1.6 + 8 * 0.05,
    "pursuit_tree": 1 + 3 * 0.2 * 0.6,
    "grouped_as_released": 32.0,
    "grouped_corrected": 32.0,
}


@pytest.mark.parametrize("name", TOYS)
def test_every_toy_has_the_mean_sparsity_and_energy_it_says(name):
    spec = TOYS[name]()
    assert spec.support.marginals().sum() == pytest.approx(ACTIVE[name], rel=1e-12)
    model = spec.build(np.random.default_rng(0))
    codes = model.sample(4_000, np.random.default_rng(1)).codes
    assert_mean(np.diff(codes.indptr).astype(float), ACTIVE[name], tests=2)
    assert_mean(np.square(codes @ model.atoms).sum(axis=1), model.signal_energy(), tests=2)


def test_the_released_decaying_toy_is_five_times_too_sparse():
    released, corrected = decaying_toy("as_released"), decaying_toy()
    assert released.support.marginals().sum() == pytest.approx(0.9709, abs=1e-4)
    ratio = corrected.support.marginals() / released.support.marginals()
    assert ratio == pytest.approx(np.full(512, ratio[0]), rel=1e-12)
    empty = np.diff(released.support.draw(20_000, np.random.default_rng(0)).indptr) == 0
    assert_rates([empty.sum()], 20_000, [np.prod(1 - released.support.marginals())])
    assert 0.37 < empty.mean() < 0.39
    flat = [
        decaying_toy(form, n_features=64, dim=16, mean_active=3.0, decay=1.0) for form in ("as_released", "corrected")
    ]
    assert flat[0] == flat[1]


def test_correlated_decaying_features_keep_the_corrected_rates_and_fire_together():
    shared = LowRankCorrelation(rank=2, scale=0.4, seed=0, shrink=True)
    spec, alone = decaying_toy(n_features=40, decay=0.9, correlation=shared), decaying_toy(n_features=40, decay=0.9)
    assert isinstance(spec.support, CorrelatedBernoulli)
    assert np.array_equal(spec.support.marginals(), alone.support.marginals())
    assert spec.support.marginals().sum() == pytest.approx(5.0, rel=1e-12)
    fires = dense(spec.support.draw(20_000, np.random.default_rng(0)))
    assert_rates(fires.T @ fires, 20_000, spec.support.pairwise())
    assert np.abs(spec.support.pairwise() - alone.support.pairwise()).max() > 0.02  # 0.05 of a rate of 0.5


def test_the_matryoshka_tree_is_sparser_than_the_released_target():
    spec = matryoshka_toy()
    assert spec.support.marginals().sum() == pytest.approx(1.12, abs=1e-15)
    assert MATRYOSHKA_RELEASED_TARGET - spec.support.marginals().sum() > 0.11
    fires = dense(spec.support.draw(5_000, np.random.default_rng(0))) > 0
    for parent in (0, 4, 8):
        children = fires[:, parent + 1 : parent + 4].sum(axis=1)
        assert children.max() == 1 and not np.any(children[~fires[:, parent]])
    batch = spec.build(np.random.default_rng(0)).sample(2_000, np.random.default_rng(1))
    norms = [np.unique(batch.codes[:, [feature]].data) for feature in range(20)]
    assert all(len(values) == 1 for values in norms)  # binary, up to the norm of the direction
    spread = np.concatenate(norms) - 1
    assert 0.02 < spread.std() < 0.09  # 0.05, with a relative standard error of 1/sqrt(40)
    assert matryoshka_toy(1) != spec


def test_exactly_one_of_the_eleven_of_the_pursuit_tree_fires():
    spec = pursuit_tree_toy()
    fires = dense(spec.support.draw(5_000, np.random.default_rng(0))) > 0
    top = [0, 4, 8, *range(12, 20)]
    assert np.all(fires[:, top].sum(axis=1) == 1)
    for parent in (0, 4, 8):
        children = fires[:, parent + 1 : parent + 4].sum(axis=1)
        assert children.max() == 1 and not np.any(children[~fires[:, parent]])
    rates = np.full(20, 0.05)
    rates[:12] = [0.2, 0.04, 0.04, 0.04] * 3
    assert spec.support.marginals() == pytest.approx(rates, rel=1e-12)


@pytest.mark.parametrize(
    ("mixing", "cosine"),
    [((0.3, 0.0895), 0.1), ((0.529, 0.226), 0.3), ((0.7739, 0.482), 0.8)],
)
def test_directions_of_the_pursuit_tree_have_the_released_cosines(mixing, cosine):
    atoms = pursuit_tree_toy(*mixing).build(np.random.default_rng(0)).atoms
    gram, top = atoms @ atoms.T, [0, 4, 8, *range(12, 20)]
    # By the released loop: every direction is mixed with the mean of the others of its level, then normalised.
    expected = np.eye(20)
    for level, eps in [(top, mixing[0]), *[([p + 1, p + 2, p + 3], mixing[1]) for p in (0, 4, 8)]]:
        for i in level:
            expected[i] = (1 - eps) * np.eye(20)[i] + eps / (len(level) - 1) * np.eye(20)[
                [j for j in level if j != i]
            ].sum(axis=0)
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    assert gram == pytest.approx(expected @ expected.T, abs=1e-12)
    assert gram[0, 4] == pytest.approx(cosine, abs=2e-3)  # the released lists have three to four digits
    assert gram[1, 2] == pytest.approx(cosine, abs=2e-3)


def test_the_released_groups_have_six_hundred_supports_and_the_corrected_their_own_each_sample():
    released, corrected = grouped_toy("as_released"), grouped_toy()
    for spec, most in ((released, 600), (corrected, 20_000)):
        rows = spec.support.draw(20_000, np.random.default_rng(0)).indices.reshape(20_000, 32)
        count = len(np.unique(rows, axis=0))
        assert count <= 600 if most == 600 else count > 19_900  # C(42, 32) is 1.5 * 10^9, unevenly likely
        assert np.all(rows // 42 == rows[:, :1] // 42) and rows.max() < 504
        assert_rates(np.bincount(rows[:, 0] // 42, minlength=12), 20_000, np.full(12, 1 / 12))
    assert (
        len(np.unique(released.support.draw(60_000, np.random.default_rng(1)).indices.reshape(-1, 32), axis=0)) == 600
    )
    assert np.array_equal(corrected.support.marginals()[504:], np.zeros(8))
    assert grouped_toy("as_released", seed=1) != released
    fewer = grouped_toy("as_released", chunks=1).support.draw(2_000, np.random.default_rng(0))
    assert len(np.unique(fewer.indices.reshape(-1, 32), axis=0)) == 12


def test_norms_of_gaussian_directions_are_near_the_root_of_the_dimension():
    norms = GaussianNorms(256, 3).values(4_000)
    assert_mean(norms**2, 256.0, tests=2)
    assert_mean((norms**2 - 256.0) ** 2, 512.0, tests=2)  # the variance of chi-square
    assert np.array_equal(norms, GaussianNorms(256, 3).values(4_000))
    assert not np.array_equal(norms, GaussianNorms(256, 4).values(4_000))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: decaying_toy("fixed"), 'form must be "as_released" or "corrected"; got \'fixed\''),
        (lambda: grouped_toy("fixed"), "form must be"),
        (
            lambda: decaying_toy(mean_active=150.0),
            r"needs a first rate of 1.509 > 1 at decay=0.99. Lower mean_active to",
        ),
        (
            lambda: decaying_toy("as_released", correlation=LowRankCorrelation(2, 0.1, 0)),
            'does not correlate the features of a sample; .* Pass form="corrected"',
        ),
        (lambda: decaying_toy(decay=0.0), r"decay must be finite and lie in \(0, 1\]"),
        (lambda: grouped_toy(active=43), r"k must lie in \[1, number of positive weights=42\]; got 43"),
        (lambda: grouped_toy(chunks=0), r"chunks must lie in \[1"),
        (lambda: grouped_toy(seed=-1), r"seed must lie in \[0"),
        (lambda: GaussianNorms(0, 0), r"dim must lie in \[1"),
        (lambda: pursuit_tree_toy(parent_mixing=1.5), r"mixing\[0\] must be finite"),
    ],
)
def test_infeasible_toys_are_refused_by_value(make, message):
    with pytest.raises(ValueError, match=message):
        make()
