"""A law in another order is the same law."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsesim.generators import ExactlyK, Forest, Relabelled
from tests.generators.strategies import seeds, supports


class FirstOrder:
    """A law without joint rates in closed form."""

    n_features = 3

    def marginals(self):
        return np.full(3, 0.5)


@given(data=st.data(), base=supports(), seed=seeds)
@settings(max_examples=60)
def test_features_keep_their_samples_under_their_new_names(data, base, seed):
    m = base.n_features
    order = np.array(data.draw(st.permutations(range(m))))
    law = Relabelled(base, tuple(order.tolist()))
    ours, theirs = (one.draw(200, np.random.default_rng(seed)) for one in (law, base))
    dense = [one.codes(np.ones(len(one.indices))).toarray() for one in (ours, theirs)]
    assert np.array_equal(dense[0], dense[1][:, order])
    assert ours.indices.dtype == np.int32
    inside = np.delete(np.diff(ours.indices), ours.indptr[1:-1][ours.indptr[1:-1] % max(len(ours.indices), 1) > 0] - 1)
    assert np.all(inside > 0)  # ascending within each sample
    assert np.array_equal(law.marginals(), base.marginals()[order])
    if hasattr(base, "pairwise"):
        assert np.array_equal(law.pairwise(), base.pairwise()[np.ix_(order, order)])
        vectors = np.random.default_rng(seed).standard_normal((m, 3))
        expected = sum(law.pairwise()[i, j] * vectors[i] @ vectors[j] for i in range(m) for j in range(m))
        # Sums of at most 144 terms of about 10, rounded at 2^-53 each, and what the closed forms themselves lose.
        assert law.energy(vectors) == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_a_base_without_joint_rates_says_so():
    law = Relabelled(FirstOrder(), (2, 0, 1))
    for ask in (law.pairwise, lambda: law.energy(np.eye(3))):
        with pytest.raises(TypeError, match="joint rates need those of the base, which FirstOrder does not give"):
            ask()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((ExactlyK(3, 1), (0, 1)), ValueError, "each of the m=3 features of base once; got 2 entries, 2 of them"),
        ((ExactlyK(3, 1), (0, 1, 1)), ValueError, "got 3 entries, 2 of them different"),
        ((ExactlyK(3, 1), (0, 1, 3)), ValueError, r"order\[2\] must lie in \[0, m-1=2\]"),
        ((ExactlyK(3, 1), [0, 1, 2]), TypeError, "order must be a tuple; got list"),
        ((ExactlyK, (0,)), TypeError, "base must be a support law"),
        ((3, (0,)), TypeError, "base must be a support law"),
    ],
)
def test_what_is_no_permutation_is_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        Relabelled(*arguments)


def test_equal_laws_are_equal():
    base = Forest((-1, 0), (0.5, 0.5))
    assert Relabelled(base, (1, 0)) == Relabelled(base, (1, 0)) and hash(Relabelled(base, (1, 0)))
