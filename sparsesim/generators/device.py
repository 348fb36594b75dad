"""Samples made where they are used: codes are drawn on the CPU, ``codes @ atoms`` is formed on a torch device."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, final

import numpy as np
import numpy.typing as npt
import torch
from torch.nn.functional import embedding_bag

from sparsesim._arrays import Codes, FloatArray, Rng, check_int
from sparsesim._identity import fork
from sparsesim.generators.base import FeatureModel

_PRECISIONS = {np.dtype(np.float32): torch.float32, np.dtype(np.float64): torch.float64}


def _precision(dtype: npt.DTypeLike) -> np.dtype[Any]:
    kind = np.dtype(dtype)
    if kind not in _PRECISIONS:
        raise TypeError(f"dtype must be float32 or float64; got {kind}.")
    return kind


def _place(device: str | torch.device) -> torch.device:
    """Return ``device``, raising here, and not deep inside a run, where torch cannot reach it."""
    try:
        place = torch.device(device)
        torch.empty(0, device=place)
    except (RuntimeError, AssertionError, NotImplementedError, TypeError) as error:
        raise ValueError(f"device must be one that torch can use here; got {device!r} ({error}). Pass 'cpu'.") from None
    return place


def _gather(codes: Codes, atoms: torch.Tensor, offset: torch.Tensor | None) -> torch.Tensor:
    """Return ``codes @ atoms + offset`` on the device of ``atoms`` (m, d): a weighted gather, never a dense (n, m)."""
    place = atoms.device

    def there(array: npt.NDArray[Any], dtype: torch.dtype) -> torch.Tensor:
        return torch.tensor(array, dtype=dtype).to(place)  # copied: the codes may be read-only

    x = embedding_bag(
        there(codes.indices, torch.int64),
        atoms,
        there(codes.indptr, torch.int64),
        mode="sum",
        per_sample_weights=there(codes.data, atoms.dtype),
        include_last_offset=True,
    )
    return x if offset is None else x.add_(offset)


def synthesise_on(
    device: str | torch.device, codes: Codes, atoms: FloatArray, offset: FloatArray | None = None
) -> torch.Tensor:
    """Return ``codes (n, m) @ atoms (m, d) + offset (d,)`` as a tensor on ``device``.

    The precision is that of ``codes`` (float64 for integers). It equals `FeatureModel.sample` up to the rounding of
    another order of summation, k terms a number. The atoms travel to the device on every call; `DeviceSamples` keeps
    them there.

    Raises
    ------
    ValueError
        If ``codes`` have another number of columns than there are atoms, ``offset`` another length than d, or torch
        cannot use ``device``.
    """
    if codes.shape[1] != len(atoms):
        raise ValueError(f"codes have {codes.shape[1]} columns, but there are {len(atoms)} atoms.")
    if offset is not None and np.shape(offset) != (atoms.shape[1],):
        raise ValueError(f"offset must have shape (d,)=({atoms.shape[1]},); got {np.shape(offset)}.")
    place = _place(device)
    dtype = torch.float32 if codes.data.dtype == np.float32 else torch.float64
    rows = torch.tensor(atoms, dtype=dtype).to(place)
    return _gather(codes, rows, None if offset is None else torch.tensor(offset, dtype=dtype).to(place))


@final
@dataclass(frozen=True, eq=False)
class DeviceSamples:
    """Endless fresh samples of ``model`` as tensors ``(size, d)`` on ``device``: no sample is ever seen twice.

    Under one random generator the codes and the noise are those of ``model.source(dtype=dtype)``, bit for bit, since
    both are drawn on the CPU; ``x`` is formed on the device, where atoms and bias stay between batches. Only the
    non-zero codes (and noise, if there is any) travel.

    Raises
    ------
    ValueError
        If torch cannot use ``device``, or the samples of ``model`` are not codes @ atoms + bias + noise.
    TypeError
        If ``dtype`` is not float32 or float64.
    """

    model: FeatureModel
    device: str | torch.device
    dtype: npt.DTypeLike = np.float32

    def __post_init__(self) -> None:
        if self.model.observation or self.model.spec.missing is not None:
            raise ValueError(
                "samples are formed on a device only where they are codes @ atoms + bias + noise; the world has "
                f"observation={self.model.spec.observation!r:.200}, missing={self.model.spec.missing!r}. "
                "Use model.source(), or leave these out."
            )
        object.__setattr__(self, "device", _place(self.device))
        object.__setattr__(self, "dtype", _precision(self.dtype))

    @property
    def dim(self) -> int:
        """Return d, the number of columns of a batch."""
        return self.model.dim

    @cached_property
    def _truth(self) -> tuple[torch.Tensor, torch.Tensor]:
        precision = _PRECISIONS[np.dtype(self.dtype)]
        atoms, bias = (torch.tensor(array, dtype=precision) for array in (self.model.atoms, self.model.bias))
        return atoms.to(self.device), bias.to(self.device)

    def batches(self, size: int, rng: Rng) -> Iterator[torch.Tensor]:
        """Yield batches ``(size, d)`` for ever."""
        check_int("size", size, 0)
        while True:
            yield self.sample(size, rng)[0]

    def sample(self, n: int, rng: Rng) -> tuple[torch.Tensor, Codes]:
        """Return ``n`` fresh samples ``(n, d)`` on the device and their codes ``(n, m)``, which stay on the CPU."""
        n, kind = check_int("n", n, 0), np.dtype(self.dtype)
        code_rng, noise_rng = fork(rng, 2)  # as FeatureModel.sample forks
        codes, _ = self.model.draw_codes(n, code_rng, kind)
        atoms, bias = self._truth
        x = _gather(codes, atoms, bias)
        if self.model.noise_std > 0:
            noise = self.model.spec.noise.draw((n, self.dim), noise_rng, kind)
            x.add_(torch.from_numpy(noise).to(x.device), alpha=float(np.asarray(self.model.noise_std, dtype=kind)))
        return x, codes


@final
@dataclass(eq=False)
class TensorStream(Iterator[torch.Tensor]):
    """Endless batches ``(batch, d)`` of fresh samples of ``model``, as trainers of other libraries take them.

    An iterator of tensors is what SAELens calls a data provider and what dictionary_learning's ``trainSAE`` takes as
    ``data``. On the CPU the bits are those of ``model.source(dtype=dtype)`` under the same generator; on another device
    `DeviceSamples` forms them there where it can. Each batch is the reader's own: it may be changed in place.

    Parameters
    ----------
    model : the realised world.
    batch : samples in a batch.
    rng : where every sample is drawn from; it advances.
    device, dtype : of the tensors; float32 or float64.

    Raises
    ------
    ValueError
        If torch cannot use ``device``, or ``batch`` is below one.
    TypeError
        If ``rng`` is no generator, or ``dtype`` no float32 or float64.
    """

    model: FeatureModel
    batch: int
    rng: Rng
    device: str | torch.device = "cpu"
    dtype: npt.DTypeLike = np.float32

    def __post_init__(self) -> None:
        check_int("batch", self.batch, 1)
        if not isinstance(self.rng, np.random.Generator):
            raise TypeError(f"rng must be a numpy Generator, e.g. sparsesim.stream(0, Role.TRAIN); got {self.rng!r}.")
        self.device, self.dtype = _place(self.device), _precision(self.dtype)
        formed_there = not self.model.observation and self.model.spec.missing is None
        there = self.device.type != "cpu" and formed_there
        self._samples = DeviceSamples(self.model, self.device, self.dtype) if there else None

    def __next__(self) -> torch.Tensor:
        if self._samples is not None:
            return self._samples.sample(self.batch, self.rng)[0]
        x = self.model.sample(self.batch, self.rng, dtype=self.dtype).x
        return torch.from_numpy(x).to(self.device)
