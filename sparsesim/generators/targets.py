"""Downstream tasks with a known answer: targets that depend on chosen features and on no others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np

from sparsesim._arrays import Codes, FloatArray, IntArray, Rng, check_int, check_real, read_only
from sparsesim.generators.observation import random_directions
from sparsesim.kernels.synthesis import synthesise

_LINKS = ("identity", "relu", "tanh")


@final
@dataclass(frozen=True)
class Readout:
    """Targets y = link(sum over relevant i of c_i w_i) + noise, given beside x as ``Batch.targets``.

    The weights w_i are unit vectors ``(outputs,)`` drawn once a world, uniform on the sphere (a sign, for one output).

    Parameters
    ----------
    relevant : how many features matter, drawn once a world; or a tuple of which.
    outputs : dimension of y.
    link : "identity", "relu" or "tanh", entry by entry.
    noise : standard deviation of white Gaussian noise on each entry of y.
    """

    relevant: int | tuple[int, ...]
    outputs: int = 1
    link: str = "identity"
    noise: float = 0.0

    def __post_init__(self) -> None:
        if isinstance(self.relevant, tuple):
            for place, feature in enumerate(self.relevant):
                check_int(f"relevant[{place}]", feature, 0)
            if not self.relevant or len(set(self.relevant)) < len(self.relevant):
                raise ValueError(f"relevant must be at least one feature, each named once; got {self.relevant}.")
        else:
            check_int("relevant", self.relevant, 1)
        check_int("outputs", self.outputs, 1)
        if self.link not in _LINKS:
            raise ValueError(f"link must be one of {', '.join(_LINKS)}; got {self.link!r}.")
        check_real("noise", self.noise, 0.0)

    def realise(self, m: int, rng: Rng) -> TargetMap:
        """Return the map of a world of ``m`` features; raises ValueError if it names more or others."""
        if isinstance(self.relevant, tuple):
            for place, feature in enumerate(self.relevant):
                check_int(f"relevant[{place}]", feature, 0, m - 1, high_name="m-1")
            features = np.sort(np.array(self.relevant, dtype=np.int64))
        else:
            check_int("relevant", self.relevant, 1, m, high_name="m")
            features = np.sort(rng.choice(m, size=int(self.relevant), replace=False))
        weights = random_directions(len(features), int(self.outputs), rng)
        return TargetMap(read_only(features), weights, self.link, float(self.noise))


@final
@dataclass(frozen=True, eq=False)
class TargetMap:
    """The downstream map of one world.

    Attributes
    ----------
    features : (r,) the relevant features, ascending, read-only.
    weights : (r, outputs) unit rows, read-only.
    link, noise : as said by `Readout`.
    """

    features: IntArray
    weights: FloatArray
    link: str
    noise: float

    def clean(self, codes: Codes) -> FloatArray:
        """Return the targets ``(n, outputs)`` of ``codes (n, m)`` without noise, in their precision."""
        all_weights = np.zeros((codes.shape[1], self.weights.shape[1]))
        all_weights[self.features] = self.weights
        values = synthesise(codes, all_weights)
        if self.link == "relu":
            return np.asarray(np.maximum(values, 0.0))
        return np.asarray(np.tanh(values)) if self.link == "tanh" else values

    def draw(self, codes: Codes, rng: Rng) -> FloatArray:
        """Return the targets ``(n, outputs)`` of ``codes (n, m)`` with their noise."""
        values = self.clean(codes)
        if self.noise > 0:
            values += np.asarray(self.noise, dtype=values.dtype) * rng.standard_normal(values.shape, values.dtype.type)
        return values
