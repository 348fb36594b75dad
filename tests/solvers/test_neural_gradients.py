"""Every hand-written gradient is held against finite differences in float64, here or where its function is tested."""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import pytest
import torch

import sparsesim.solvers
from sparsesim.solvers.neural.pieces import squared_error
from sparsesim.solvers.neural.separable import row_errors

HERE = Path(__file__).resolve().parent
SOURCE = Path(sparsesim.solvers.__path__[0]) / "neural"
# The file of tests that has the gradcheck of each function. Of the threshold of `_JumpReLU`, whose estimate is not a
# derivative, the finite difference of the loss of a large sample stands there beside it.
CHECKED = {
    "separable.py:_RowErrors": "test_neural_gradients.py",
    "pieces.py:_SquaredError": "test_neural_gradients.py",
    "sparse.py:_Values": "test_neural_sparse.py",
    "sparse.py:_Decoded": "test_neural_sparse.py",
    "sparse.py:_Reconstruction": "test_neural_sparse.py",
    "device/selection.py:_Values": "test_neural_device.py",
    "device/selection.py:_Decoded": "test_neural_device.py",
    "proximal.py:_Sparsemax": "test_neural_proximal.py",
    "proximal.py:_JumpReLU": "test_neural_proximal.py",
    "mp.py:_Residual": "test_neural_mp.py",
}


def custom_functions() -> set[str]:
    """Every class of the neural solvers that derives from ``torch.autograd.Function``, with its file."""
    return {
        f"{path.relative_to(SOURCE).as_posix()}:{node.name}"
        for path in SOURCE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef) and any(ast.unparse(base) == "torch.autograd.Function" for base in node.bases)
    }


def test_every_custom_gradient_is_in_the_list_and_its_tests_check_gradients():
    assert custom_functions() == set(CHECKED)
    for name in set(CHECKED.values()):
        assert "gradcheck(" in (HERE / name).read_text(encoding="utf-8"), name


@pytest.mark.parametrize("error", [squared_error, row_errors])
@pytest.mark.parametrize("lead", [(), (2,)])
def test_gradients_of_squared_errors_are_those_of_finite_differences(error, lead):
    x, y = (torch.from_numpy(np.random.default_rng(seed).standard_normal((*lead, 4, 3))) for seed in (1, 2))
    assert torch.autograd.gradcheck(lambda v: error(x, v), y.requires_grad_())
