"""Every way of speaking is recognised by what comes back; what is left open is an error that names the keyword."""

from __future__ import annotations

import os
import subprocess
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
import torch

import sparsesim as ss
from sparsesim import Role, stream
from sparsesim.validate import adapt

D, P, K = 6, 10, 3
RNG = np.random.default_rng(1)
PROBE = RNG.standard_normal((40, D))


class Dense(torch.nn.Module):
    """TopK with one matrix for both directions: the model that every dialect below speaks for."""

    def __init__(self, width=P):
        super().__init__()
        rows = np.random.default_rng(2).standard_normal((width, D))
        self.W = torch.nn.Parameter(torch.as_tensor(rows / np.linalg.norm(rows, axis=1)[:, None]))
        self.b = torch.nn.Parameter(torch.linspace(-1, 1, D, dtype=torch.float64))

    def pre(self, x):
        return torch.relu((x - self.b) @ self.W.T)

    def encode(self, x):
        u = self.pre(x)
        top = u.topk(K, dim=-1)
        return torch.zeros_like(u).scatter(-1, top.indices, top.values)

    def decode(self, z):
        return z @ self.W + self.b

    def forward(self, x):
        return self.decode(self.encode(x))


REFERENCE = adapt(Dense(), PROBE)


class Pair(Dense):
    """Pre-codes and codes; calling gives both and the reconstruction."""

    def encode(self, x):
        return self.pre(x), super().encode(x)

    def forward(self, x):
        pre, z = self.encode(x)
        return pre, z, self.decode(z)


class Silent(Pair):
    """The same pair from a model that cannot be called: the codes are the pre-codes with entries set to zero."""

    def forward(self, x):
        raise NotImplementedError


class Shifted(Pair):
    """Neither entry is a part of the other; only calling the model says which is decoded."""

    def encode(self, x):
        z = Dense.encode(self, x)
        return z - 1.0, z


class Named(Pair):
    def encode(self, x):
        return dict(zip(("before", "after"), super().encode(x), strict=True))

    def forward(self, x):
        return Dense.decode(self, Dense.encode(self, x))


Output = namedtuple("Output", "values places pre")


class Places(Dense):
    """Values and their places beside all pre-codes; decode gathers the rows at the places."""

    def encode(self, x):
        u = self.pre(x)
        top = u.topk(K, dim=-1, sorted=False)
        return Output(top.values, top.indices, u)

    def decode(self, values, places):
        return (values[..., None] * self.W[places]).sum(-2) + self.b

    def forward(self, x):
        out = self.encode(x)
        return self.decode(out.values, out.places), out.values


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (Dense(), "one array"),
        (Pair(), "entry [1] of 2"),
        (Silent(), "entry [1] of 2"),
        (Shifted(), "entry [1] of 2"),
        (Named(), "entry ['after'] of 2"),
        (Places(), "values and places, entries [0] and [1], of p=10 latents"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, torch.nn.Module) else "",
)
def test_a_dialect_is_recognised_by_what_comes_back(model, said):
    adapted = adapt(model, PROBE)
    assert dict(adapted.card)["codes"] == said
    # Double precision throughout: the same numbers up to the order of summation.
    np.testing.assert_allclose(adapted.fitted.atoms, REFERENCE.fitted.atoms, atol=1e-12)
    codes, expected = (each.fitted.encode(PROBE).toarray() for each in (adapted, REFERENCE))
    np.testing.assert_allclose(codes, expected, atol=1e-12)


@pytest.mark.parametrize("model", [Pair(D), Places(D)], ids=["pair", "places"])
def test_a_square_model_whose_arrays_are_all_of_one_shape_is_told_apart(model, monkeypatch):
    monkeypatch.setitem(globals(), "K", D)
    codes = adapt(model, PROBE).fitted.encode(PROBE).toarray()
    np.testing.assert_allclose(codes, adapt(Dense(D), PROBE).fitted.encode(PROBE).toarray(), atol=1e-12)


class Gaussian(Dense):
    """A mean and a log-variance of one shape, and a forward that samples."""

    def encode(self, x):
        u = self.pre(x)
        return u, -u

    def forward(self, x):
        mean, log_variance = self.encode(x)
        return self.decode(mean + torch.randn_like(mean) * log_variance.exp())


class PlacesOnly(Places):
    def encode(self, x):
        return super().encode(x)[:2]


@pytest.mark.parametrize(
    ("model", "says"),
    [
        (Gaussian(), r"encode\(x\)\[0\] or encode=lambda model, x: model.encode\(x\)\[1\]"),
        (PlacesOnly(), r"int64 \(40, 3\).*Pass encode=lambda"),
    ],
    ids=["mean and log-variance", "places without width"],
)
def test_what_is_left_open_is_an_error_that_lists_the_keyword(model, says):
    with pytest.raises(TypeError, match=says):
        adapt(model, PROBE)
    chosen = adapt(Gaussian(), PROBE, encode=lambda m, x: m.encode(x)[0])
    assert "differs from decode of encode" in dict(chosen.card)["forward"]  # the forward samples


PEER = """
import sys, numpy as np, torch
sys.path.insert(0, sys.argv[1])
from sparsesim.validate import adapt
x = np.random.default_rng(0).standard_normal((40, 8)).astype(np.float32)
library = sys.argv[2]
if library == "overcomplete":
    from overcomplete.sae import SAE, TopKSAE
    models = [SAE(8, 16), TopKSAE(8, 16, top_k=3)]
    rows = lambda model: model.get_dictionary()
elif library == "sparsify":
    from sparsify import SparseCoder, SparseCoderConfig
    models = [SparseCoder(8, SparseCoderConfig(num_latents=p, k=3)) for p in (8, 16)]
    rows = lambda model: model.W_dec
elif library == "sae_lens":
    from sae_lens.saes import StandardSAE, StandardSAEConfig, TopKSAE, TopKSAEConfig
    models = [StandardSAE(StandardSAEConfig(d_in=8, d_sae=16)), TopKSAE(TopKSAEConfig(d_in=8, d_sae=16, k=3))]
    rows = lambda model: model.W_dec
else:
    from dictionary_learning.dictionary import AutoEncoder
    from dictionary_learning.trainers.top_k import AutoEncoderTopK
    models = [AutoEncoder(8, 16), AutoEncoderTopK(8, 16, 3)]
    rows = lambda model: model.decoder.weight.T
for model in models:
    model.train()
    adapted = adapt(model, x)
    expected = torch.nn.functional.normalize(rows(model).detach(), dim=1).numpy()
    assert np.abs(adapted.fitted.atoms - expected).max() < 1e-5, "atoms"
    assert model.training
    print(dict(adapted.card)["codes"], "|", dict(adapted.card)["forward"])
"""


@pytest.mark.parametrize(
    ("library", "codes"),
    [
        ("overcomplete", "entry [1] of 2"),
        ("sparsify", "values and places"),
        ("sae_lens", "one array"),
        ("dictionary_learning", "one array"),
    ],
)
def test_the_objects_of_the_libraries_themselves_are_understood(library, codes):
    python = os.environ.get("SPARSESIM_PEER_PYTHON")
    if not python:
        pytest.skip("SPARSESIM_PEER_PYTHON names no interpreter with the libraries")
    root = str(Path(__file__).resolve().parents[2])
    environment = {**os.environ, "SPARSIFY_DISABLE_TRITON": "1"}
    done = subprocess.run(
        [python, "-c", PEER, root, library], env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    if "ModuleNotFoundError" in done.stderr:
        pytest.skip(f"{library} is not there: {done.stderr.splitlines()[-1]}")
    assert done.returncode == 0, done.stderr
    said = [line for line in done.stdout.splitlines() if "|" in line]
    assert len(said) == 2 and all(codes in line and "| decode of encode, to" in line for line in said), said


def test_torch_random_state_is_where_it_was_even_after_a_random_encode():
    class Noisy(Dense):
        def encode(self, x):
            return super().encode(x) + 0.1 * torch.randn(len(x), P, dtype=torch.float64)

    torch.manual_seed(5)
    before = torch.get_rng_state()
    with pytest.raises(ValueError, match="encode is random"):
        adapt(Noisy(), PROBE)
    assert torch.equal(torch.get_rng_state(), before)


class Skip(Dense):
    def forward(self, x):
        return super().forward(x) + 0.5 * x


class Cubed(Dense):
    def forward(self, x):
        return super().forward(x) + x**3


@pytest.mark.parametrize(
    ("model", "says"),
    [
        (Dense(), "decode of encode, to 0.0e+00 relative"),
        (Skip(), "an affine map of x, as of a skip connection"),
        (Cubed(), "differs from decode of encode, which is scored"),
        (Silent(), "none: NotImplementedError"),
    ],
    ids=["plain", "skip", "cubed", "not callable"],
)
def test_the_card_compares_the_model_when_called_with_what_is_scored(model, says):
    said = dict(adapt(model, PROBE).card)["forward"]
    assert says in said
    assert ("affine" in said) == isinstance(model, Skip)


def test_scikit_learn_is_scored_with_and_without_an_inverse():
    from sklearn.decomposition import DictionaryLearning

    learned = DictionaryLearning(P, transform_n_nonzero_coefs=2, max_iter=5, random_state=0).fit(PROBE)

    class Older:
        """An estimator of a release that had no inverse."""

        components_ = learned.components_
        transform = learned.transform

    new, old = adapt(learned, PROBE), adapt(Older(), PROBE)
    assert "components_, since there is no inverse_transform" in dict(old.card)["decode"]
    for adapted in (new, old):
        cosines = np.abs(np.sum(adapted.fitted.atoms * learned.components_, axis=1))
        norms = np.linalg.norm(learned.components_, axis=1)
        np.testing.assert_allclose(cosines, norms, atol=1e-12)
        np.testing.assert_allclose(
            adapted.fitted.encode(PROBE).toarray() @ adapted.fitted.atoms,
            learned.transform(PROBE) @ learned.components_,
            atol=1e-10,
        )


WORLD = ss.worlds.flat(D, 0.3).build(stream(0, Role.TRUTH))


class Trained(torch.nn.Module):
    """Knows the atoms of the world, which are square."""

    def __init__(self):
        super().__init__()
        self.D = torch.nn.Parameter(torch.as_tensor(WORLD.atoms.copy()))

    def encode(self, x):
        return torch.relu(x @ self.D.T)

    def decode(self, z):
        return z @ self.D


class TransposedDecoder(Trained):
    def decode(self, z):
        return z @ self.D.T


class CentresTheBatch(Trained):
    def encode(self, x):
        return torch.relu((x - x.mean(0)) @ self.D.T)


class AddsNoise(Trained):
    def encode(self, x):
        return super().encode(x) + 0.01 * torch.randn(x.shape, dtype=x.dtype)


@pytest.mark.parametrize(
    ("model", "says"),
    [
        (TransposedDecoder(), r"transposed: with p = d = 6.*explains -.* 1\.00 with the matrix"),
        (CentresTheBatch(), "depends on the other rows of the batch"),
        (AddsNoise(), "encode is random"),
    ],
    ids=["transposed decoder", "batch-dependent encode", "noise in encode"],
)
def test_each_planted_bug_is_named_by_evaluate(model, says):
    with pytest.raises(ValueError, match=says):
        ss.evaluate(model, WORLD, n=200, draws=2)
    assert ss.evaluate(Trained(), WORLD, n=200, draws=2)["mcc"].score.mean == pytest.approx(1.0, abs=1e-9)


def test_a_decoder_worse_than_the_mean_is_not_called_transposed_without_evidence():
    # Five times too large either way: the scale is wrong, not the layout.
    class Scaled(Trained):
        def decode(self, z):
            return 5.0 * z @ self.D

    adapted = adapt(Scaled(), WORLD.sample(100, stream(0, Role.TEST)).x)
    assert "worse than the mean does" in dict(adapted.card)["variance"]


class Curved(Dense):
    """x_hat = tanh(z W) + b."""

    def decode(self, z):
        return torch.tanh(z @ self.W) + self.b


def test_a_nonlinear_decoder_is_refused_unless_asked_for_and_then_linearised_at_the_mean_code():
    with pytest.raises(ValueError, match="linear_decoder=False"):
        adapt(Curved(), PROBE)
    model = Curved()
    adapted = adapt(model, PROBE, linear_decoder=False)
    fitted = adapted.fitted
    assert not fitted.linear_decoder and "linearisation at the mean code" in dict(adapted.card)["decode"]
    with torch.no_grad():
        x = torch.as_tensor(PROBE)
        own = model(x).numpy()
        mean = model.encode(x).mean(0)
    # The decoder itself is used for reconstruction; codes were scaled there and back.
    np.testing.assert_allclose(fitted.decode(fitted.encode(PROBE)), own, atol=1e-12)
    jacobian = torch.autograd.functional.jacobian(model.decode, mean).T.numpy()
    jacobian /= np.linalg.norm(jacobian, axis=1)[:, None]
    # Central differences of step h = 2^-7 |z|: the error is h^2/6 times a third derivative of tanh, which is at most 2.
    np.testing.assert_allclose(fitted.atoms, jacobian, atol=1e-3)


def test_a_nonlinear_decoder_is_scored_in_a_world():
    class Bent(Trained):
        def decode(self, z):
            return torch.sinh(0.3 * z) @ self.D / 0.3

    with pytest.raises(ValueError, match="not affine"):
        ss.evaluate(Bent(), WORLD, n=200, draws=2)
    card = ss.evaluate(Bent(), WORLD, n=200, draws=2, linear_decoder=False)
    # Its linearisation at any code is diagonal in the true atoms.
    assert card["mcc"].score.mean == pytest.approx(1.0, abs=1e-9)
    assert card["explained_variance"].score.mean > 0.95


def test_a_linear_decoder_stays_linear_when_a_nonlinear_one_is_allowed():
    assert adapt(Dense(), PROBE, linear_decoder=False).fitted.linear_decoder


class ForgetsWhatItNoted(Dense):
    """As a normalisation that decode undoes once and then deletes."""

    def encode(self, x):
        self.size = x.norm(dim=1, keepdim=True)
        return super().encode(x / self.size)

    def decode(self, z):
        size = self.size
        del self.size
        return super().decode(z) * size


def test_a_decoder_that_uses_up_what_encode_noted_is_named():
    with pytest.raises(ValueError, match="no function of the codes alone"):
        adapt(ForgetsWhatItNoted(), PROBE)


def test_a_wide_model_is_probed_in_blocks():
    largest = 0

    class Wide:
        def encode(self, x):
            return np.maximum(x @ rows.T, 0.0)

        def decode(self, z):
            nonlocal largest
            largest = max(largest, z.size)
            return z @ rows

    rows = np.random.default_rng(0).standard_normal((4000, 4))
    fitted = adapt(Wide(), np.random.default_rng(1).standard_normal((8, 4))).fitted
    np.testing.assert_allclose(fitted.atoms, rows / np.linalg.norm(rows, axis=1)[:, None], atol=1e-9)
    assert largest <= 2**21 < 4000 * 4000 / 4  # a block, a fraction of all impulses at once
