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


class SizeDependent(PlainSAE):
    """As one that goes through large batches by another kernel."""

    def encode(self, x):
        return super().encode(x) * (2.0 if len(x) > 300 else 1.0)


class Nonlinear(PlainSAE):
    def decode(self, z):
        return torch.tanh(super().decode(z))


class Transposed(PlainSAE):
    """The decoder matrix transposed by mistake: with p = d it still runs."""

    def decode(self, z):
        return (z * self.scale) @ self.W.T + self.b


class Tuple(PlainSAE):
    """Two arrays of one shape, and no forward to say which of them decode is meant for."""

    def encode(self, x):
        z = super().encode(x)
        return z, 2.0 * z


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
        (SizeDependent(), ValueError, "depends on how many rows there are: among 1024"),
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


def test_a_transposed_decoder_without_evidence_is_taken_at_its_word_so_that_its_score_shows_it():
    # Random weights rebuild nothing, transposed or not.
    atoms = adapt(Transposed(), PROBE).fitted.atoms
    assert not np.allclose(atoms, adapt(PlainSAE(), PROBE).fitted.atoms, atol=1e-2)


def test_a_tuple_can_be_resolved_by_the_keyword_that_the_error_names():
    fitted = adapt(Tuple(), PROBE, encode=lambda model, x: model.encode(x)[1]).fitted
    assert fitted.width == P


def test_the_card_says_what_was_found():
    card = str(adapt(PlainSAE(), PROBE))
    for word in ("PlainSAE", "width p=6", "non-negative", "affine"):
        assert word in card


class WritesItsInput:
    """A numpy model that centres and scales in place."""

    def encode(self, x):
        x -= 3.0
        return np.maximum((x + 3.0) @ np.eye(D, P), 0)

    def decode(self, z):
        z *= 2.0
        return (z / 2.0) @ np.eye(P, D)


def test_a_model_that_writes_to_its_input_leaves_the_samples_as_they_were():
    probe = PROBE.copy()
    fitted = adapt(WritesItsInput(), probe).fitted
    fitted.encode(probe)
    np.testing.assert_array_equal(probe, PROBE)


class Normalising(PlainSAE):
    """Divides each sample by its norm, and multiplies the reconstruction by the norms that encode has seen last."""

    def encode(self, x):
        self.norm = x.norm(dim=1, keepdim=True)
        return super().encode(x / self.norm)

    def decode(self, z):
        return super().decode(z) * self.norm


def test_a_decoder_that_uses_what_encode_left_behind_is_not_taken_for_a_dictionary():
    with pytest.raises(ValueError, match="normalisation of each sample"):
        adapt(Normalising(), PROBE)


class Compressed(PlainSAE):
    def encode(self, x):
        return super().encode(x).to_sparse_csr()


class Buffered(PlainSAE):
    """Weights in double precision and no parameter, behind an integer buffer."""

    def __init__(self):
        super().__init__()
        weights = {name: value.detach().double() for name, value in self.named_parameters()}
        self.register_buffer("step", torch.tensor(3))
        for name, value in weights.items():
            delattr(self, name)
            self.register_buffer(name, value)


@pytest.mark.filterwarnings("ignore:Sparse CSR:UserWarning")
@pytest.mark.parametrize("model", [Compressed(), Buffered()], ids=["csr codes", "float64 buffers"])
def test_the_layout_of_codes_and_the_kind_of_weights_do_not_matter(model):
    # Weights are those of PlainSAE: float32 impulses are exact to about 1e-6.
    np.testing.assert_allclose(adapt(model, PROBE).fitted.atoms, adapt(PlainSAE(), PROBE).fitted.atoms, atol=1e-5)


@pytest.mark.parametrize("offset", [0.0, 100.0, 1e4])
@pytest.mark.parametrize("unit", [1e-6, 1e6])
def test_neither_a_large_bias_nor_the_unit_of_the_codes_hides_the_atoms(offset, unit):
    class Scaled(PlainSAE):
        def encode(self, x):
            return torch.relu(x @ self.W.T) / unit

        def decode(self, z):
            return z @ (self.W * unit) + offset

    fitted = adapt(Scaled(), PROBE).fitted
    rows = Scaled().W.detach().double().numpy()
    cosines = np.sum(fitted.atoms * rows, axis=1) / np.linalg.norm(rows, axis=1)
    # float32 keeps 6e-8 of the offset, 1e4 * 6e-8 = 6e-4 beside atoms and codes of order one; its square is lost.
    np.testing.assert_allclose(cosines, 1.0, atol=1e-5)


class Complex(PlainSAE):
    def encode(self, x):
        return super().encode(x) + 1j


class Nothing(PlainSAE):
    def encode(self, x):
        return None


class NoLatents(PlainSAE):
    def encode(self, x):
        return x[:, :0]


@pytest.mark.parametrize(
    ("model", "error", "says"),
    [
        (PlainSAE(torch.bfloat16), ValueError, r"bfloat16.*deepcopy\(model\)\.float\(\)"),
        (PlainSAE(torch.float16), ValueError, r"float16.*deepcopy\(model\)\.float\(\)"),
        (PlainSAE().to("meta"), ValueError, "meta device"),
        (Complex(), TypeError, "real numbers"),
        (Nothing(), TypeError, "NoneType"),
        (NoLatents(), ValueError, "no columns"),
    ],
    ids=["bfloat16", "float16", "meta", "complex", "None", "no latents"],
)
def test_a_model_that_cannot_be_probed_is_refused_with_a_remedy(model, error, says):
    with pytest.raises(error, match=says):
        adapt(model, PROBE)


@pytest.mark.parametrize(
    ("model", "says"),
    [
        (torch.nn.ModuleDict({"encode": torch.nn.Linear(D + 1, P)}), f"40 rows of {D} columns as a torch tensor"),
        (type("Wrapper", (), {"encode": lambda self, x: x.relu(), "decode": None}), "the class Wrapper"),
        (type("Wrapper", (), {"encode": lambda self, x: x.relu()})(), "numpy array, since the model is no torch.nn"),
    ],
    ids=["wrong dimension", "a class", "a wrapper around torch"],
)
def test_an_exception_of_the_model_itself_carries_what_it_was_called_with(model, says):
    with pytest.raises(Exception) as caught:
        adapt(model, PROBE, encode=lambda m, x: m["encode"](x) if isinstance(m, torch.nn.Module) else m.encode(x),
              decode=lambda m, z: z)  # fmt: skip
    assert says in " ".join(caught.value.__notes__)


@pytest.mark.parametrize("probe", [PROBE[0], np.full((9, D), np.nan), PROBE[:3]])
def test_a_bad_probe_is_named(probe):
    with pytest.raises(ValueError, match="probe"):
        adapt(PlainSAE(), probe)
