"""The low-overlap dictionary: the Gram form is the pairwise form, the rows are unit, the overlap falls."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from threadpoolctl import threadpool_limits

from sparsesim.generators import LowOverlap
from sparsesim.generators.overlap import push_apart
from tests.generators.strategies import seeds


def sphere(m, d, seed=0):
    rows = np.random.default_rng(seed).standard_normal((m, d))
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def slow_loss(rows):
    """The loss as it is written: all ordered pairs, then the norms."""
    gram = rows @ rows.T
    off = gram - np.diag(np.diag(gram))
    return np.square(off).sum() + len(rows) * np.square(np.diag(gram) - 1.0).sum()


def slow_push_apart(start, steps, lr):
    """Adam as in the paper, on the gradient through the m x m matrix of dots."""
    rows, first, second = start.copy(), np.zeros_like(start), np.zeros_like(start)
    m = len(rows)
    for step in range(1, steps + 1):
        gram = rows @ rows.T
        own = np.diag(gram).copy()
        off = gram - np.diag(own)
        gradient = 4.0 * off @ rows + 4.0 * m * (own - 1.0)[:, None] * rows
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * gradient**2
        rows = rows - lr * (first / (1 - 0.9**step)) / (np.sqrt(second / (1 - 0.999**step)) + 1e-8)
    return rows


def test_the_gram_form_takes_the_steps_of_the_pairwise_form():
    start = sphere(512, 64)
    # Both round at 2^-53 of terms below 4 m; Adam divides by the size of the gradient, so errors stay relative.
    assert np.abs(push_apart(start, 100, 3e-4) - slow_push_apart(start, 100, 3e-4)).max() < 1e-7


def test_the_steps_are_those_of_automatic_differentiation():
    import torch

    start = sphere(200, 24)
    rows = torch.tensor(start, requires_grad=True)
    optimiser = torch.optim.Adam([rows], lr=1e-3)
    for _ in range(40):
        optimiser.zero_grad()
        gram = rows @ rows.T
        own = gram.diagonal()
        (gram.square().sum() - own.square().sum() + len(start) * (own - 1).square().sum()).backward()
        optimiser.step()
    assert np.abs(push_apart(start, 40, 1e-3) - rows.detach().numpy()).max() < 1e-7  # as above


def test_blocks_of_rows_do_not_show(monkeypatch):
    from sparsesim.generators import overlap

    start = sphere(100, 8)
    whole = push_apart(start, 30, 1e-3)
    monkeypatch.setattr(overlap, "_BLOCK", 7)
    assert np.abs(push_apart(start, 30, 1e-3) - whole).max() < 1e-10  # another order of summation


@given(m=st.integers(1, 60), d=st.integers(1, 20), seed=seeds)
@settings(max_examples=25)
def test_rows_are_unit_and_deterministic_whatever_the_threads(m, d, seed):
    law = LowOverlap(steps=5)
    rows = law.atoms(m, d, np.random.default_rng(seed))
    assert rows.shape == (m, d) and np.abs(np.linalg.norm(rows, axis=1) - 1.0).max() < 1e-12
    with threadpool_limits(limits=1):
        assert np.array_equal(rows, law.atoms(m, d, np.random.default_rng(seed)))


@pytest.mark.parametrize(("m", "d", "steps", "lr"), [(64, 32, 200, 1e-2), (256, 16, 200, 3e-3), (30, 40, 400, 1e-2)])
def test_the_overlap_falls(m, d, steps, lr):
    start = sphere(m, d, seed=3)
    pushed = push_apart(start, steps, lr)
    assert slow_loss(pushed) < slow_loss(start)
    rows = LowOverlap(steps, lr).atoms(m, d, np.random.default_rng(3))  # the same normal numbers as `sphere`
    off = np.square(rows @ rows.T).sum() - m
    assert off < np.square(start @ start.T).sum() - m
    if m <= d:
        assert off < 1e-3  # nearly orthogonal, where that is possible


def test_more_steps_continue_fewer():
    few, many = (LowOverlap(steps, 1e-3).atoms(40, 10, np.random.default_rng(0)) for steps in (1, 60))
    assert 0.001 < np.abs(few - many).max() < 0.06 * 2  # 59 steps of about the learning rate in each coordinate


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((0,), ValueError, r"steps must lie in \[1"),
        ((2.5,), TypeError, "steps must be an integer"),
        ((10, 0.0), ValueError, r"lr must be finite and lie in \(0, 1\]"),
        ((10, float("nan")), ValueError, "lr must be finite"),
        ((10, "1"), TypeError, "lr must be a real number"),
    ],
)
def test_impossible_steps_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        LowOverlap(*arguments)


def test_a_row_that_ends_at_zero_is_refused(monkeypatch):
    from sparsesim.generators import overlap

    monkeypatch.setattr(overlap, "push_apart", lambda rows, steps, lr: np.zeros_like(rows))
    with pytest.raises(ValueError, match=r"the steps of LowOverlap diverged at lr=0.5. Lower lr"):
        LowOverlap(3, 0.5).atoms(4, 2, np.random.default_rng(0))
