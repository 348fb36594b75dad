"""Which latents of which samples speak, and what can be computed from that: one interface, on the host or elsewhere."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor


class Selection(ABC):
    """Which latents of which samples speak, for E members with batches of B and p latents each.

    The entries have one order, member by member and row by row; ``values`` are a number for each of them. Away from
    the host their number does not depend on the data, so an entry may stand empty: it counts for nothing.
    """

    shape: tuple[int, ...]  # (B, p) of a single model, (E, B, p) of an ensemble

    @property
    def members(self) -> tuple[int, int, int]:
        """Return E (1 for a single model), B and p."""
        return (self.shape[0] if len(self.shape) == 3 else 1), self.shape[-2], self.shape[-1]

    @abstractmethod
    def counts(self) -> Tensor:
        """Return how often each latent speaks, ``(..., p)``, in float32."""

    @abstractmethod
    def smallest(self, values: Tensor) -> Tensor:
        """Return the smallest of ``values`` of each member, ``()`` or ``(E,)``; infinity where there is none."""

    @abstractmethod
    def smallest_of_latents(self, values: Tensor) -> Tensor:
        """Return the smallest of ``values`` of each latent, ``(..., p)``; infinity where there is none."""

    @abstractmethod
    def sums_of_rows(self, values: Tensor) -> Tensor:
        """Return the sum of ``values`` of each sample, ``(..., B)``, with its gradient."""

    @abstractmethod
    def sums_of_members(self, values: Tensor) -> Tensor:
        """Return the sum of ``values`` of each member, ``()`` or ``(E,)``, with its gradient."""

    @abstractmethod
    def restricted(self, low: int, high: int) -> tuple[Selection, Tensor | slice]:
        """Return the part with latents in [low, high) and its places among the values."""

    @abstractmethod
    def values_at(self, x: Tensor, encoder: Tensor, encoder_bias: Tensor, bias: Tensor, u: Tensor) -> Tensor:
        """Return ``u`` where latents speak, with the gradients of u = (x - bias) encoder' + encoder_bias."""

    @abstractmethod
    def decoded(self, values: Tensor, decoder: Tensor) -> Tensor:
        """Return ``z @ decoder (..., p, d)``, of shape ``(..., B, d)``, for codes z of ``values``."""
