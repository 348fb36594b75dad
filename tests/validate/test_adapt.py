"""Outside models are probed: what they do decides, and each planted bug is named."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sparsesim.solvers.base import FittedDictionary, Status
from sparsesim.solvers.pursuit import OrthogonalMatchingPursuit
from sparsesim.validate import adapt

D, P = 6, 6  # a square decoder: shapes alone cannot tell (p, d) from (d, p)
RNG = np.random.default_rng(0)
PROBE = RNG.standard_normal((40, D))


class PlainSAE(torch.nn.Module):
    """ReLU autoencoder with a decoder bias and rows of unequal norm, the decoder stored (p, d)."""

    def __init__(self, dtype=torch.float32):
        super().__init__()
        generator = torch.Generator().manual_seed(3)
        self.W = torch.nn.Parameter(torch.randn(P, D, generator=generator, dtype=dtype))
        self.scale = torch.nn.Parameter(torch.linspace(0.5, 3.0, P, dtype=dtype))
        self.b = torch.nn.Parameter(torch.randn(D, generator=generator, dtype=dtype))

    def encode(self, x):
        return torch.relu((x - self.b) @ self.W.T)

    def decode(self, z):
        return (z * self.scale) @ self.W + self.b


def test_atoms_are_the_decoder_rows_whatever_they_are_called():
    model = PlainSAE()
    fitted = adapt(model, PROBE).fitted
    rows = (model.scale[:, None] * model.W).detach().double().numpy()
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    # float32 weights: impulses and their difference from decode(0) are exact to about 1e-6.
    np.testing.assert_allclose(fitted.atoms, unit, atol=1e-5)
    np.testing.assert_allclose(fitted.bias, model.b.detach().numpy(), atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_adapted_model_reconstructs_as_the_model_itself(dtype):
    model = PlainSAE(dtype)
    fitted = adapt(model, PROBE).fitted
    with torch.no_grad():
        own = model.decode(model.encode(torch.as_tensor(PROBE, dtype=dtype))).double().numpy()
    # Folding norms into codes commutes with decoding up to float32 rounding of the model's own arithmetic.
    np.testing.assert_allclose(fitted.decode(fitted.encode(PROBE)), own, atol=2e-5)


def test_training_flags_and_gradients_are_left_as_they_were():
    model = torch.nn.Sequential(PlainSAE(), torch.nn.Dropout(0.5))
    model[0].eval()
    adapt(model, PROBE, encode=lambda m, x: m[1](m[0].encode(x)), decode=lambda m, z: m[0].decode(z))
    assert model.training and model[1].training and not model[0].training
    assert all(p.grad is None for p in model.parameters())
    assert torch.is_grad_enabled()


def test_a_numpy_object_and_a_scikit_learn_estimator_are_adapted():
    from sklearn.decomposition import PCA

    pca = PCA(3).fit(PROBE)
    fitted = adapt(pca, PROBE).fitted
    np.testing.assert_allclose(np.abs(np.sum(fitted.atoms * pca.components_, axis=1)), 1, atol=1e-10)
    np.testing.assert_allclose(
        fitted.decode(fitted.encode(PROBE)), pca.inverse_transform(pca.transform(PROBE)), atol=1e-10
    )


def test_our_own_fit_passes_through():
    own = FittedDictionary(np.eye(D), np.zeros(D), OrthogonalMatchingPursuit(1), Status.CONVERGED)
    assert adapt(own, PROBE).fitted is own


class Noisy(PlainSAE):
    def encode(self, x):
        z = super().encode(x)
        return z + 0.1 * torch.as_tensor(np.random.default_rng().standard_normal(z.shape), dtype=z.dtype)


class BatchDependent(PlainSAE):
    def encode(self, x):
        z = super().encode(x)
        return z * (z >= z.flatten().topk(len(x)).values[-1])


class Nonlinear(PlainSAE):
    def decode(self, z):
        return torch.tanh(super().decode(z))


class Transposed(PlainSAE):
    """The decoder matrix transposed by mistake: with p = d it still runs."""

    def decode(self, z):
        return (z * self.scale) @ self.W.T + self.b


class Tuple(PlainSAE):
    def encode(self, x):
        z = super().encode(x)
        return z, z


class NaNWeights(PlainSAE):
    def decode(self, z):
        return super().decode(z) * float("nan")


class WrongShape(PlainSAE):
    def decode(self, z):
        return super().decode(z)[:, :-1]


@pytest.mark.parametrize(
    ("model", "error", "says"),
    [
        (Noisy(), ValueError, "encode is random"),
        (BatchDependent(), ValueError, "depends on the other rows"),
        (Nonlinear(), ValueError, "not affine"),
        (Tuple(), TypeError, "encode=lambda"),
        (NaNWeights(), ValueError, "NaN"),
        (WrongShape(), ValueError, "shape"),
        (object(), TypeError, "no method encode or transform"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, torch.nn.Module) else "",
)
def test_each_planted_bug_is_named(model, error, says):
    with pytest.raises(error, match=says):
        adapt(model, PROBE)


def test_a_transposed_decoder_is_taken_at_its_word_so_that_its_score_shows_it():
    atoms = adapt(Transposed(), PROBE).fitted.atoms
    assert not np.allclose(atoms, adapt(PlainSAE(), PROBE).fitted.atoms, atol=1e-2)


def test_a_tuple_can_be_resolved_by_the_keyword_that_the_error_names():
    fitted = adapt(Tuple(), PROBE, encode=lambda model, x: model.encode(x)[1]).fitted
    assert fitted.width == P


def test_the_card_says_what_was_found():
    card = str(adapt(PlainSAE(), PROBE))
    for word in ("PlainSAE", "width p=6", "non-negative", "affine"):
        assert word in card
