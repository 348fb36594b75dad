"""The affine encoder without pre-bias and the decoder of any norms that norm-weighted penalties go with."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from sparsesim._arrays import FloatArray
from sparsesim.solvers.neural.module import SparseModule
from sparsesim.solvers.neural.pieces import affine, drawn


class FreeDecoder(SparseModule):
    """u = x W_e' + b_e and x_hat = z D + b_d, rows of D of any norm; a penalty weighs code i with ||d_i||.

    Rescaling d_i by c and z_i by 1 / c then changes neither reconstruction nor penalty. Biases start at zero.
    """

    def __init__(self, encoder: FloatArray, decoder: FloatArray) -> None:
        super().__init__()
        width, dim = decoder.shape
        self.encoder = drawn(encoder)
        self.encoder_bias = drawn(np.zeros(width))
        self.decoder = drawn(decoder)
        self.bias = drawn(np.zeros(dim))

    def pre_activations(self, x: Tensor) -> Tensor:
        """Return u ``(..., B, p)``."""
        return affine(x, self.encoder.mT, self.encoder_bias)

    def norms(self) -> Tensor:
        """Return the norms of the decoder rows, ``(..., p)``."""
        norms: Tensor = torch.linalg.vector_norm(self.decoder, dim=-1)
        return norms

    def decode(self, codes: Tensor) -> Tensor:
        return affine(codes, self.decoder, self.bias)

    def atoms(self) -> Tensor:
        return self.decoder

    def decoder_bias(self) -> Tensor:
        return self.bias
