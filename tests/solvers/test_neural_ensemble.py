"""Bagging and boosting: one dictionary that is the weighted sum of its members, and what that implies."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from sparsesim._identity import fork
from sparsesim._source import Rows
from sparsesim.solvers.base import FittedDictionary, Status
from sparsesim.solvers.neural.ensemble import Bagging, Boosting, joined
from sparsesim.solvers.neural.topk import TopK
from sparsesim.solvers.neural.train import Training
from sparsesim.solvers.pursuit import OrthogonalMatchingPursuit

SHORT = Training(steps=120, batch_size=64)
BASE = TopK(10, 2, training=SHORT)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def samples(seed: int = 0, n: int = 500, d: int = 8, m: int = 12) -> np.ndarray:
    r = rng(seed)
    atoms = r.standard_normal((m, d))
    atoms /= np.linalg.norm(atoms, axis=1, keepdims=True)
    return ((r.random((n, m)) < 0.3) * r.uniform(0.5, 1.5, (n, m))) @ atoms + 2.0


@pytest.fixture(scope="module")
def bagged() -> FittedDictionary:
    return Bagging(BASE, 3).fit(samples(), rng=rng())


@pytest.fixture(scope="module")
def boosted() -> FittedDictionary:
    return Boosting(BASE, 4).fit(samples(), rng=rng())


def outputs(fitted: FittedDictionary, x: np.ndarray) -> list[np.ndarray]:
    """Return what each member contributes, from the members alone."""
    left, found = x, []
    for one in fitted.encoder.members:
        found.append(one.decode(one.encode(left)))
        if fitted.encoder.sequential:
            left = left - found[-1]
    return found


@pytest.mark.parametrize("kind", ["bagged", "boosted"])
def test_the_joined_dictionary_is_the_weighted_sum_of_its_members(kind, request):
    fitted, x = request.getfixturevalue(kind), samples(1)
    parts = outputs(fitted, x)
    weight = 1 / len(parts) if kind == "bagged" else 1.0
    codes = fitted.encode(x)
    # Codes come from float32 networks; a sample moved by rounding may then select otherwise in one of 500 rows.
    gap = np.abs(fitted.decode(codes) - weight * sum(parts)).max(axis=1)
    assert (gap > 1e-5).sum() <= 1
    np.testing.assert_allclose(fitted.bias, weight * sum(one.bias for one in fitted.encoder.members), atol=1e-12)
    assert np.abs(fitted.bias).max() > 1, "the biases of this world must matter"
    assert codes.shape == (500, 10 * len(parts)) and np.diff(codes.indptr).max() <= 2 * len(parts)
    np.testing.assert_array_equal(fitted.atoms, np.concatenate([one.atoms for one in fitted.encoder.members]))
    np.testing.assert_allclose(np.linalg.norm(fitted.atoms, axis=1), 1, atol=1e-6)


def test_the_squared_error_of_bagging_is_at_most_the_mean_of_its_members_in_every_sample(bagged):
    x = samples(1)
    error = np.square(fitted_output(bagged, x) - x).sum(axis=1)
    each = [np.square(part - x).sum(axis=1) for part in outputs(bagged, x)]
    assert (error <= np.mean(each, axis=0) + 1e-4).all()  # float32 codes of samples of size six
    assert error.sum() < 0.9 * np.mean(each, axis=0).sum(), "members that differ must gain"


def fitted_output(fitted: FittedDictionary, x: np.ndarray) -> np.ndarray:
    return fitted.decode(fitted.encode(x))


def test_every_round_of_boosting_leaves_less_of_the_training_samples(boosted):
    x = samples()
    errors, left = [np.square(x - x.mean(axis=0)).sum()], x
    for part in outputs(boosted, x):
        left = left - part
        errors.append(np.square(left).sum())
    assert all(np.diff(errors) < 0), errors


def test_later_members_are_trained_on_what_is_left(boosted):
    first = boosted.encoder.members[0]
    x = samples()
    left = x - first.decode(first.encode(x))
    second = boosted.encoder.members[1]
    # The data scale of a member is that of its input.
    assert second.encoder.scale == pytest.approx(np.sqrt(np.square(left - left.mean(axis=0)).mean()), rel=1e-6)
    assert second.encoder.scale < 0.9 * first.encoder.scale


@pytest.mark.parametrize("kind", [Bagging, Boosting])
def test_one_member_is_the_base_bit_for_bit(kind):
    x = samples()
    ours, base = kind(BASE, 1).fit(x, rng=rng(3)), BASE.fit(x, rng=rng(3))
    assert np.array_equal(ours.atoms, base.atoms) and np.array_equal(ours.bias, base.bias)
    assert np.array_equal(ours.encode(x).toarray(), base.encode(x).toarray())
    assert np.array_equal(fitted_output(ours, x), fitted_output(base, x))


def test_members_of_a_bag_are_separate_fits_that_differ(bagged):
    a, b, c = (one.atoms for one in bagged.encoder.members)
    assert np.abs(a - b).max() > 0.1 and np.abs(b - c).max() > 0.1
    last = rng()
    fork(last, 2)  # the streams of the other members
    alone = BASE.fit(samples(), rng=last)
    # 120 steps of Adam on batched products that sum in another order: selections may differ by then
    assert np.abs(alone.atoms - c).max() < 0.05


def test_boosting_learns_from_a_stream():
    x = samples()
    fitted = Boosting(BASE, 2).fit_stream(Rows(x), rng=rng())
    assert fitted.width == 20 and fitted.status is Status.BUDGET_SPENT
    direct = Boosting(BASE, 2).fit(x, rng=rng())
    # The first member sees the same rows; the second the same residuals in another scale, estimated from a probe.
    assert np.array_equal(fitted.atoms[:10], direct.atoms[:10])
    first, both = (np.square(fitted_output(f, x) - x).sum() for f in (fitted.encoder.members[0], fitted))
    assert both < first


class Bent:
    """A decoder with a known nonlinearity."""

    def decode(self, codes):
        return np.sqrt(np.asarray(codes.sum(axis=1))).reshape(-1, 1) * np.ones(8, dtype=codes.dtype)


def test_members_that_decode_nonlinearly_are_added_after_decoding(bagged):
    bent = [dataclasses.replace(one, decoder=Bent()) for one in bagged.encoder.members]
    fitted, x = joined(bent, 1 / 3, sequential=False), samples(1)
    expected = sum(one.decode(one.encode(x)) for one in bent) / 3
    gap = np.abs(fitted_output(fitted, x) - expected).max(axis=1)
    assert (gap > 1e-5).sum() <= 1 and not fitted.linear_decoder  # float32, see above


def test_an_ensemble_refuses_atoms_that_are_not_its_own_and_its_encoder_can_be_replaced(bagged):
    x = samples()
    for atoms in (bagged.atoms[::-1].copy(), bagged.atoms[:20].copy()):
        with pytest.raises(ValueError, match="Replace the encoder"):
            dataclasses.replace(bagged, atoms=atoms).encode(x)
    swapped = dataclasses.replace(bagged, encoder=OrthogonalMatchingPursuit(1))
    assert np.diff(swapped.encode(x).indptr).max() == 1


@pytest.mark.parametrize("kind", [Bagging, Boosting])
def test_configurations_that_make_no_sense_are_refused(kind):
    with pytest.raises(ValueError, match="must"):
        kind(BASE, 0)
    with pytest.raises(TypeError, match="base must be"):
        kind(OrthogonalMatchingPursuit(2), 3)
