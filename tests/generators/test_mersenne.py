"""PyTorch's numbers without PyTorch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsesim.generators.mersenne import torch_normal, torch_uniform


def generator(seed):
    return torch.Generator().manual_seed(seed)


@given(seed=st.integers(0, 2**40), n=st.one_of(st.integers(0, 70), st.integers(600, 2000)))
@settings(max_examples=80)
def test_numbers_are_those_of_torch(seed, n):
    assert np.array_equal(torch_uniform(seed, n), torch.rand(n, generator=generator(seed)).numpy().astype(np.float64))
    normal = torch.randn(n, generator=generator(seed)).numpy()
    # Single precision: numbers up to 6, rounded a few times at 2^-24, and a cosine of an angle up to 2 pi.
    assert np.abs(torch_normal(seed, n) - normal).max(initial=0.0) < 5e-6


def test_matrices_are_their_rows_one_after_the_other():
    normal = torch.randn(40, 25, generator=generator(46)).numpy()
    assert np.abs(torch_normal(46, 1000).reshape(40, 25) - normal).max() < 5e-6


def test_seeds_and_sizes_that_torch_would_not_take_are_refused():
    with pytest.raises(ValueError, match=r"seed must lie in \[0"):
        torch_normal(-1, 3)
    with pytest.raises(TypeError, match="seed must be an integer"):
        torch_uniform(0.5, 3)
    with pytest.raises(ValueError, match=r"n must lie in \[0"):
        torch_normal(0, -3)
