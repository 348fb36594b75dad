"""Amortised encoders of given atoms: a network trained to code, with or without true codes to learn from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import final

import numpy as np
import torch
from scipy.sparse import issparse
from torch import Tensor

from sparsesim._arrays import Codes, FloatArray, Rng, check_int, check_real, check_samples, read_only
from sparsesim._identity import fork
from sparsesim._source import Rows
from sparsesim.kernels.pursuit import correlate
from sparsesim.solvers.base import Status, check_own_atoms
from sparsesim.solvers.neural.mlp_sae import linear_start
from sparsesim.solvers.neural.module import SparseModule, Step
from sparsesim.solvers.neural.pieces import affine, drawn
from sparsesim.solvers.neural.train import Training, train
from sparsesim.solvers.pursuit import checked


@final
@dataclass(frozen=True, eq=False)
class AmortisedEncoder:
    """Encodes by ``z = ReLU(h W' + b)`` of ``h = x``, or of ``h = ReLU(x V' + c)``; belongs to its atoms.

    Attributes
    ----------
    atoms : (p, d) unit rows.
    layers : (matrix, offset) of each layer, the matrix as (outputs, inputs): one or two of them.
    status : BUDGET_SPENT, or DIVERGED where the last finite weights were kept.
    trace : the loss at recorded steps.
    """

    atoms: FloatArray
    layers: tuple[tuple[FloatArray, FloatArray], ...]
    status: Status = Status.BUDGET_SPENT
    trace: dict[str, tuple[float, ...]] = field(default_factory=dict)

    def encode(self, x: FloatArray, atoms: FloatArray) -> Codes:
        """Return the codes ``(n, p)`` of centred samples ``x (n, d)``.

        Raises
        ------
        ValueError
            If ``atoms`` are not those the network was trained for.
        """
        x, atoms = checked(x, atoms)
        remedy = "Train one for these, e.g. by Amortiser(penalty=0.1).train(x, atoms, rng=rng)."
        check_own_atoms(atoms, self.atoms, "an amortised encoder", remedy)
        values = x.astype(np.float64, copy=False)
        for matrix, offset in self.layers:
            values = np.maximum(correlate(values, matrix) + offset, 0.0)
        return Codes(values.astype(x.dtype))


@final
@dataclass(frozen=True)
class Amortiser:
    """Trains the encoder of an autoencoder whose atoms A are given and do not move.

    ``z = ReLU(x W' + b)``, or with a hidden layer ``z = ReLU(ReLU(x V' + c) W' + b)``, for one of two losses:

        mean_B (||x - z A||^2 + penalty ||z||_1)     `train`: the dictionary is known, codes are not
        mean_B ||z - s||^2                           `train_on`: true codes s are known; no encoder of this form has a
                                                     smaller error, up to the optimisation

    It starts as ``ReLU(x A')``, whatever the hidden layer (`linear_start`). A supervised one is a ceiling for
    what amortised inference can reach, not a method. The penalty is for the squared error summed over d.

    Parameters
    ----------
    hidden : units of the hidden layer; 0 for none.
    penalty : of the l1 norm, in the units of ``x``; not read by `train_on`.
    training : its ``normalise`` is not read: samples and codes are scaled to E ||x||^2 = d, and not shifted.

    References
    ----------
    O'Neill, Gumran, Klindt (2025), arXiv 2411.13117, the settings with known dictionary and with known codes.
    """

    hidden: int = 0
    penalty: float = 0.1
    training: Training = field(default_factory=Training)

    def __post_init__(self) -> None:
        check_int("hidden", self.hidden, 0)
        check_real("penalty", self.penalty, 0.0)
        if not isinstance(self.training, Training):
            raise TypeError(f"training must be a Training, e.g. Training(steps=1000); got {self.training!r}.")

    def train(self, x: FloatArray, atoms: FloatArray, *, rng: Rng) -> AmortisedEncoder:
        """Return the encoder trained on centred samples ``x (n, d)`` for unit ``atoms (p, d)``.

        Raises
        ------
        ValueError, TypeError
            If ``x`` is not a finite real matrix with rows, or atoms are not unit rows of its dimension.
        """
        return self._trained(x, None, atoms, rng)

    def train_on(self, x: FloatArray, codes: Codes, atoms: FloatArray, *, rng: Rng) -> AmortisedEncoder:
        """Return the encoder trained to give the true ``codes (n, p)`` of centred samples ``x (n, d)``.

        Raises
        ------
        ValueError, TypeError
            As `train`, or if the codes are not of these samples in these atoms.
        """
        if not issparse(codes):
            raise TypeError(f"codes must be Codes, a sparse matrix; got {type(codes).__name__}. Pass Codes(codes).")
        if not np.isfinite(codes.data).all():
            raise ValueError("codes must be finite; they hold NaN or infinity. Remove such samples.")
        if codes.shape != (len(x), len(atoms)):
            raise ValueError(f"codes must have shape (n, p)={(len(x), len(atoms))}; got {codes.shape}.")
        return self._trained(x, codes.toarray().astype(np.float64), atoms, rng)

    def _trained(self, x: FloatArray, codes: FloatArray | None, atoms: FloatArray, rng: Rng) -> AmortisedEncoder:
        samples, unit = checked(check_samples(x), atoms)
        unit, wide = unit.astype(np.float64), samples.astype(np.float64)
        reach = float(np.abs(wide).max()) or 1.0
        scale = reach * (float(np.sqrt(np.square(wide / reach).mean())) or 1.0)
        rows = wide / scale if codes is None else np.hstack([wide, codes]) / scale
        init_rng, train_rng = fork(rng, 2)
        with torch.device("cpu"), torch.inference_mode(False):
            module = AmortisedModule(unit, self.hidden, self.penalty / scale, init_rng, supervised=codes is not None)
            outcome = train(module, [Rows(rows.astype(np.float32))], [train_rng], self.training)[0]
        layers = tuple((read_only(matrix), read_only(offset * scale)) for matrix, offset in module.layers())
        return AmortisedEncoder(read_only(unit), layers, outcome.status, outcome.trace)


@final
class AmortisedModule(SparseModule):
    """The network as a model for the training loop; rows are samples, followed by their codes where ``supervised``."""

    penalty: Tensor
    dictionary: Tensor

    def __init__(self, atoms: FloatArray, hidden: int, penalty: float, rng: Rng, *, supervised: bool) -> None:
        super().__init__()
        self.hidden, self.supervised = hidden, supervised
        self.register_buffer("dictionary", torch.from_numpy(atoms.astype(np.float32)))
        self.register_buffer("penalty", torch.tensor(min(penalty, 1e30), dtype=torch.float32))
        self.encoder_bias, start = drawn(np.zeros(len(atoms))), atoms
        if hidden:
            first, start = linear_start(atoms, hidden, rng)
            self.first, self.first_bias = drawn(first), drawn(np.zeros(hidden))
        self.encoder = drawn(start)

    def encode(self, x: Tensor) -> Tensor:
        inputs = affine(x, self.first.mT, self.first_bias).relu() if self.hidden else x
        return affine(inputs, self.encoder.mT, self.encoder_bias).relu()

    def decode(self, codes: Tensor) -> Tensor:
        return codes @ self.dictionary

    def losses(self, x: Tensor, step: Step) -> dict[str, Tensor]:
        samples, codes = x[..., : self.dictionary.shape[-1]], x[..., self.dictionary.shape[-1] :]
        found = self.encode(samples)
        if self.supervised:
            return {"code_error": (found - codes).square().sum(-1).mean(-1)}
        error = (samples - self.decode(found)).square().sum(-1).mean(-1)
        return {"squared_error": error, "l1": found.sum(-1).mean(-1) * self.penalty}

    def atoms(self) -> Tensor:
        return self.dictionary

    def decoder_bias(self) -> Tensor:
        return torch.zeros_like(self.dictionary[..., 0, :])

    def layers(self) -> list[tuple[FloatArray, FloatArray]]:
        """Return matrix and offset of each layer, in float64 and in the scale of training."""
        pairs = [(self.first, self.first_bias)] if self.hidden else []
        pairs.append((self.encoder, self.encoder_bias))
        return [(matrix.detach().double().numpy(), offset.detach().double().numpy()) for matrix, offset in pairs]
