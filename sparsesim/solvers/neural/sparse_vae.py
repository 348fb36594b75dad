"""The sparse VAE: each coordinate of a sample is a function of few latents, chosen by a mask of its own."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from scipy.stats import chi2
from torch import Tensor, nn

from sparsesim._arrays import FloatArray, Rng, check_int, check_real
from sparsesim.solvers.base import FittedDictionary
from sparsesim.solvers.neural.gaussians import deviation_of, drawn_from, standard_kl
from sparsesim.solvers.neural.module import Optimiser, Step
from sparsesim.solvers.neural.perceptron import Layers
from sparsesim.solvers.neural.pieces import drawn
from sparsesim.solvers.neural.solver import NeuralEncoder
from sparsesim.solvers.neural.variational import VariationalModule, VariationalSolver

FREEDOM = 3.0  # degrees of freedom of the prior of a noise variance
QUIET = 0.1  # prior probability that a noise variance is above that of the quietest coordinates
LEAST = 1e-10  # of theta, which reaches 0 where a latent is used by no coordinate


@final
class SparseVAEModule(VariationalModule):
    """p(x_j|z) = N(f_j(W_j * z), s_j^2): a shared network of masked latents, with an output for each coordinate.

    ``slab (d, p)`` is the posterior probability that an entry of W comes from the slab, ``share (p,)`` the prior one.
    """

    slab: Tensor
    share: Tensor
    noise_scale: Tensor

    def __init__(self, spec: SparseVAE, dim: int, rng: Rng) -> None:
        super().__init__(spec, dim, rng)
        self.linear = False  # whatever the network: the atoms are the masks
        self.rates, self.samples, self.learned = spec.rates, spec.samples, spec.noise_variance is None
        self.masks = drawn(rng.standard_normal((dim, spec.width)))
        first = self.lift.weights[0] if len(self.lift.weights) else self.decoder
        self.norm = math.sqrt(2 * first.shape[-1] / spec.width)  # about that at the start
        start = self.log_noise.detach().expand(dim).clone()
        del self.log_noise
        if self.learned:
            self.log_noise = nn.Parameter(start)
        else:
            self.register_buffer("log_noise", start)
        self.register_buffer("slab", torch.full((dim, spec.width), 0.5))
        self.register_buffer("share", torch.full((spec.width,), 0.5))
        self.register_buffer("noise_scale", torch.tensor(1.0))

    def prime(self, sample: Tensor, rng: Rng) -> None:
        """Start the noise at the variance of each coordinate of ``sample``, and scale its prior by the quietest."""
        if not self.learned:
            return
        spread = (sample.std(-2) if len(sample) > 1 else torch.zeros_like(sample[0])).clamp_min(1e-3)
        self.log_noise.copy_(2 * spread.log())
        quiet = float(np.quantile(spread.numpy(), 0.05)) ** 2
        self.noise_scale.fill_(quiet * float(chi2.ppf(QUIET, FREEDOM)) / FREEDOM)

    def decode(self, codes: Tensor) -> Tensor:
        masked = codes.unsqueeze(-2) * self.masks.unsqueeze(-3)  # (..., B, d, p)
        lifted: Tensor = self.lift(masked.flatten(-3, -2)).unflatten(-2, masked.shape[-3:-1])
        return (lifted * self.decoder.mT.unsqueeze(-3)).sum(-1) + self.bias.unsqueeze(-2)

    def jacobian(self, codes: Tensor) -> Tensor:
        """Return the derivative of `decode` at each row of codes, ``(..., B, p, d)``, masks included."""
        masked = codes.unsqueeze(-2) * self.masks.unsqueeze(-3)
        inner = self.lift.jacobian(masked.flatten(-3, -2)).reshape(*masked.shape, -1)  # (..., B, d, p, h)
        outer = (inner * self.decoder.mT.unsqueeze(-2).unsqueeze(-4)).sum(-1)
        found: Tensor = (outer * self.masks.unsqueeze(-3)).mT
        return found

    def atoms(self) -> Tensor:
        return self.masks.mT

    def decoder_bias(self) -> Tensor:
        return self.decode(self._origin()).squeeze(-2)

    def surprise(self, x: Tensor, reconstruction: Tensor) -> Tensor:
        """Return -ln N(x; reconstruction, diag s^2) in nats, summed over d, mean over B: ``()`` or ``(E,)``."""
        precision = deviation_of(-self.log_noise).square().unsqueeze(-2)
        distance = ((x - reconstruction).square() * precision).sum((-2, -1)) / x.shape[-2]
        return 0.5 * (distance + (self.log_noise + math.log(2 * math.pi)).sum(-1))

    def penalties(self) -> tuple[Tensor, Tensor]:
        """Return minus the log priors of the masks, given ``slab``, and of the noise, up to constants, over N."""
        spike, slab = self.rates
        slopes = slab * self.slab + spike * (1.0 - self.slab)
        mask = (slopes * self.masks.abs()).sum((-2, -1))
        scale = self.noise_scale.unsqueeze(-1) * deviation_of(-self.log_noise).square()
        noise = 0.5 * ((FREEDOM + 2.0) * self.log_noise + FREEDOM * scale).sum(-1)
        return mask / self.samples, noise / self.samples

    def losses(self, x: Tensor, step: Step) -> dict[str, Tensor]:
        mean, log_variance = self.posterior(x)
        rebuilt = self.decode(drawn_from(mean, log_variance, step))
        mask, noise = self.penalties()
        terms = {
            "reconstruction": self.surprise(x, rebuilt),
            "kl": standard_kl(mean, log_variance),
            "mask": mask,
        }
        return {**terms, "noise": noise} if self.learned else terms

    def after_step(self, optimiser: Optimiser) -> None:
        """Keep the gauge, then renew which entries of the masks are taken for slab, and how many of a latent are."""
        first = self.lift.weights[0] if len(self.lift.weights) else self.decoder
        factor = torch.linalg.vector_norm(first, dim=-1, keepdim=True) / self.norm
        first.div_(factor)
        self.masks.mul_(factor.mT)
        spike, slab = self.rates
        odds = torch.logit(self.share).unsqueeze(-2) + math.log(slab / spike) + (spike - slab) * self.masks.abs()
        self.slab.copy_(torch.sigmoid(odds))
        d = self.masks.shape[-2]
        self.share.copy_((self.slab.sum(-2) / (2 * d - 1)).clamp_min(LEAST))  # the mode under theta ~ Beta(1, d)


@final
@dataclass(frozen=True)
class SparseVAE(VariationalSolver):
    """Learns latents and, for each coordinate of a sample, which few of them it depends on.

    p(z) = N(0, I), p(x_j|z) = N(f_j(W_j * z), s_j^2) with one network f for all coordinates but for its last layer, and
    a spike-and-slab lasso on the masks W ``(d, p)``: an entry is Laplace of rate lambda_1 with probability theta_k,
    else of rate lambda_0. The loss a sample in nats, with s_j^2 under a scaled inverse chi^2 prior of 3 degrees of
    freedom,

        -ln N(x; f(W * z), diag s^2) + KL(q(z|x) || N(0, I))
            + (sum_jk (lambda_1 p_jk + lambda_0 (1 - p_jk)) |W_jk| - sum_j ln p(s_j^2)) / N.

    After each step p_jk, the probability of the slab given W and theta, and theta under a Beta(1, d) prior are renewed.
    The atoms of a fit are the columns of W, as unit rows: not directions that a latent writes, but which coordinates
    it reaches. `mask_support` says so as zeros and ones.

    The released code leaves lambda_1 and lambda_0 out of p_jk as factors; divides the last line by the batch size, not
    by N; and takes means over d and p where the bound has sums, which weighs the penalty against the error by another
    factor of d. ``samples`` near batch size / d is what it does in effect.

    Parameters
    ----------
    hidden, decoder_hidden : as in `VariationalSolver`; two layers of 50 each by default.
    rates : (lambda_0, lambda_1) of spike and slab.
    samples : N, the number of samples that the priors of masks and noise are weighed against.
    noise_variance : of all coordinates; None learns one for each.
    The others are those of `VariationalSolver`.

    References
    ----------
    Moran, Sridhar, Wang, Blei (2022), "Identifiable deep generative models via sparse decoding", arXiv 2110.10804.
    """

    hidden: Layers = (50, 50)
    decoder_hidden: Layers = (50, 50)
    rates: tuple[float, float] = (10.0, 1.0)
    samples: int = 1000

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.rates, tuple) or len(self.rates) != 2:
            raise TypeError(f"rates must be a tuple (lambda_0, lambda_1) such as (10.0, 1.0); got {self.rates!r}.")
        for place, value in enumerate(self.rates):
            check_real(f"rates[{place}]", value, 0.0, open_low=True)
        if self.rates[0] < self.rates[1]:
            raise ValueError(f"the spike must be the narrower: rates[0] >= rates[1]; got {self.rates}.")
        check_int("samples", self.samples, 1)

    def module(self, dim: int, rng: Rng) -> SparseVAEModule:
        return SparseVAEModule(self, dim, rng)


def mask_support(fitted: FittedDictionary) -> FloatArray:
    """Return which latents each coordinate depends on, ``(d, p)`` of zeros and ones: 1 where the slab is likelier.

    Raises
    ------
    TypeError
        If ``fitted`` was not learned by a `SparseVAE`, or its encoder was replaced.
    """
    encoder = fitted.encoder
    if not isinstance(encoder, NeuralEncoder) or not isinstance(encoder.module, SparseVAEModule):
        raise TypeError(f"fitted must be a fit of SparseVAE with its own encoder; got {encoder!r:.200}.")
    return np.asarray((encoder.module.slab > 0.5).numpy(), dtype=np.float64)
