"""Vector quantisation: a sample is one word of a learned codebook, so its code has a single one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import final

import numpy as np
import torch
from torch import Tensor

from sparsesim._arrays import Codes, FloatArray, Rng, check_int, check_real
from sparsesim.solvers.neural.module import SparseModule, Step
from sparsesim.solvers.neural.pieces import affine, drawn, squared_error
from sparsesim.solvers.neural.quantised import straight_through
from sparsesim.solvers.neural.solver import NeuralSolver, check_neural
from sparsesim.solvers.neural.train import Training


@final
class VectorQuantisedModule(SparseModule):
    """h = x W' + c, j = argmin ||h - e_j||, x_hat = e_j V + b; the code is the j-th unit vector, the atoms are E V."""

    commitment: Tensor

    def __init__(self, spec: VectorQuantised, dim: int, rng: Rng) -> None:
        super().__init__()
        latent = dim if spec.latent is None else spec.latent
        bound = np.sqrt(3.0 / latent)
        mixing = _isometry(latent, dim, rng)
        self.encoder = drawn(mixing)
        self.encoder_bias = drawn(np.zeros(latent))
        self.words = drawn(rng.uniform(-bound, bound, (spec.width, latent)))
        self.readout = drawn(mixing)
        self.bias = drawn(np.zeros(dim))
        self.register_buffer("commitment", torch.tensor(spec.commitment, dtype=torch.float32))

    def prime(self, sample: Tensor, rng: Rng) -> None:
        """Begin with the words at samples, so that each is the nearest of some; again the first if there are few."""
        rows = np.resize(rng.permutation(len(sample)), self.words.shape[0])
        self.words.copy_(self.hidden(sample[torch.from_numpy(rows)]))

    def hidden(self, x: Tensor) -> Tensor:
        """Return h ``(..., B, q)``."""
        return affine(x, self.encoder.mT, self.encoder_bias)

    def word_of(self, h: Tensor) -> Tensor:
        """Return the codes of the nearest words, one-hot rows ``(..., B, p)``, the first among equals."""
        scores = self.words.square().sum(-1).unsqueeze(-2) - 2.0 * (h @ self.words.mT)
        index = scores.detach().argmin(-1, keepdim=True)
        return torch.zeros_like(scores).scatter_(-1, index, 1.0)

    def encode(self, x: Tensor) -> Tensor:
        return self.word_of(self.hidden(x))

    def decode(self, codes: Tensor) -> Tensor:
        return affine(codes @ self.words, self.readout, self.bias)

    def losses(self, x: Tensor, step: Step) -> dict[str, Tensor]:
        h = self.hidden(x)
        word = self.word_of(h) @ self.words
        error = squared_error(x, affine(straight_through(h, word), self.readout, self.bias))
        return {
            "squared_error": error,
            "codebook": squared_error(h.detach(), word),
            "commitment": self.commitment * squared_error(word.detach(), h),
        }

    def atoms(self) -> Tensor:
        return self.words @ self.readout

    def decoder_bias(self) -> Tensor:
        return self.bias


def _isometry(rows: int, columns: int, rng: Rng) -> FloatArray:
    """Return orthonormal rows, or orthonormal columns where there are fewer of these."""
    q, _ = np.linalg.qr(rng.standard_normal((max(rows, columns), min(rows, columns))))
    return q if rows >= columns else q.T


@final
@dataclass(frozen=True)
class VectorQuantised(NeuralSolver):
    """Learns ``width`` words of which every sample is reconstructed by the nearest (VQ-VAE with affine networks).

    h = x W' + c,  e = the nearest word to h,  x_hat = e V + b, with the gradient of e passed to h, and the loss

        mean_B [ ||x - x_hat||^2 + ||sg(h) - e||^2 + commitment ||h - sg(e)||^2 ].

    The code of a sample is one at its word, and the atoms are the rows of E V, so that x_hat = code @ atoms + b. The
    paper's networks are deep. Words begin at encoded samples, since of words that are uniform within sqrt(3 / q), as in
    released code, most are never the nearest of any. Moving-average codebooks are left out.

    Parameters
    ----------
    width : p, the number of words.
    latent : q, the dimension of the words; None is that of the samples.
    commitment : beta_c.

    References
    ----------
    van den Oord, Vinyals, Kavukcuoglu (2017), "Neural discrete representation learning", arXiv 1711.00937.
    """

    width: int
    latent: int | None = None
    commitment: float = 0.25
    training: Training = field(default_factory=Training)

    def __post_init__(self) -> None:
        check_neural(self)
        if self.latent is not None:
            check_int("latent", self.latent, 1)
        check_real("commitment", self.commitment, 0.0)

    def module(self, dim: int, rng: Rng) -> VectorQuantisedModule:
        return VectorQuantisedModule(self, dim, rng)


def perplexity(codes: Codes) -> float:
    """Return exp of the entropy of which latents speak: of one-hot ``codes (n, p)``, how many words are in equal use.

    Zero codes are not counted; 1 if there is none at all.
    """
    use = np.bincount(codes.indices[codes.data != 0], minlength=1)
    share = use[use > 0] / max(use.sum(), 1)
    return float(np.exp(-(share * np.log(share)).sum()))
