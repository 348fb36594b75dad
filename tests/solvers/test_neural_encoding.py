"""Codes read at a selection are the entries of the dense codes, to the bit."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sparsesim.solvers.neural.abs_topk import AbsTopK
from sparsesim.solvers.neural.batch_topk import BatchTopK
from sparsesim.solvers.neural.kron import KronSAE
from sparsesim.solvers.neural.multi_topk import MultiTopK
from sparsesim.solvers.neural.nested_topk import NestedTopK
from sparsesim.solvers.neural.relu_l1 import ReLUL1
from sparsesim.solvers.neural.selective import SelectiveModule
from sparsesim.solvers.neural.topk import TopK
from sparsesim.solvers.neural.train import Training
from sparsesim.solvers.neural.vae import GaussianVAE

BRIEF = Training(steps=30, batch_size=32)
SOLVERS = [
    TopK(12, 3, training=BRIEF),
    AbsTopK(12, 3, training=BRIEF),
    MultiTopK(12, 3, training=BRIEF),
    NestedTopK(12, 3, training=BRIEF),
    KronSAE(12, 3, left=2, right=3, training=BRIEF),
    BatchTopK(12, 3, training=BRIEF),
    ReLUL1(12, training=BRIEF),
    GaussianVAE(5, training=BRIEF),
]


@pytest.mark.parametrize("solver", SOLVERS, ids=lambda s: type(s).__name__)
@pytest.mark.parametrize("n", [1, 64, 1100])
def test_codes_read_at_a_selection_are_the_dense_ones(solver, n):
    x = np.random.default_rng(n).laplace(size=(n, 6)).astype(np.float32)
    fitted = solver.fit(np.random.default_rng(0).laplace(size=(300, 6)), rng=np.random.default_rng(1))
    module, encoder = fitted.encoder.module, fitted.encoder
    centred = x - fitted.bias.astype(np.float32)
    inside = centred / np.float32(encoder.scale) + encoder.offset.astype(np.float32)
    rows = torch.zeros((1024 * -(-n // 1024), 6))
    rows[:n] = torch.from_numpy(inside)
    with torch.no_grad():
        dense = np.concatenate([module.encode(block).numpy() for block in rows.split(1024)])[:n]
    codes = fitted.encode(x)
    np.testing.assert_array_equal(codes.toarray(), (dense * (encoder.norms * encoder.scale)).astype(np.float32))
    assert codes.nnz == np.count_nonzero(dense) > 0 and codes.has_canonical_format


def test_the_sparse_way_is_taken_where_training_and_inference_select_alike_and_only_there():
    alike = {type(s).__name__ for s in SOLVERS if _sparse(s)}
    assert alike == {"TopK", "AbsTopK", "MultiTopK", "KronSAE"}


def _sparse(solver) -> bool:
    module = solver.module(6, np.random.default_rng(0))
    return isinstance(module, SelectiveModule) and module.encode_at(torch.zeros((4, 6)))[1] is not None
