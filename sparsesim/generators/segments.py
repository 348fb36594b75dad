"""A label that is seen beside x and changes how strongly the features fire: the data of identifiable VAEs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np

from sparsesim._arrays import FloatArray, IntArray, Rng, check_int, check_real, read_only


@final
@dataclass(frozen=True)
class Segments:
    """Each sample has a label u, uniform over ``count`` segments, on which scale and mean of its coefficients depend.

    A coefficient is scale[u, i] * c + shift[u, i], c drawn by the magnitude law; which features fire does not depend on
    u. The two tables are drawn once a world, uniform on ``scale`` and ``shift``; ``Batch.labels`` holds u. Given u the
    coefficients are as independent as those of the magnitude law; over all u they are not, since u is common to them.

    Parameters
    ----------
    count : number of segments. For independent Gaussian sources whose scale alone changes, m + 1 segments are needed.
    scale : (low, high) of the scales, 0 < low <= high.
    shift : (low, high) of the shifts, low <= high.

    References
    ----------
    Khemakhem et al. (2020), arXiv:1907.04809, where scales are uniform on (0.5, 3); Hyvarinen and Morioka (2016),
    arXiv:1605.06336.
    """

    count: int
    scale: tuple[float, float] = (0.5, 3.0)
    shift: tuple[float, float] = (0.0, 0.0)

    def __post_init__(self) -> None:
        check_int("count", self.count, 1, 2**31 - 1)
        for name in ("scale", "shift"):
            limits = getattr(self, name)
            if not isinstance(limits, tuple) or len(limits) != 2:
                raise TypeError(f"{name} must be a tuple (low, high); got {limits!r}.")
            low, high = (check_real(f"{name}[{place}]", limits[place], -1e150, 1e150) for place in (0, 1))
            if low > high:
                raise ValueError(f"{name} must be (low, high) with low <= high; got {limits}.")
        check_real("scale[0]", self.scale[0], 0.0, open_low=True)
        check_real("scale[0]", self.scale[0], 1e-150)

    def realise(self, m: int, rng: Rng) -> SegmentTable:
        """Return the tables of a world of ``m`` features."""
        scale, shift = (rng.uniform(low, high, (int(self.count), m)) for low, high in (self.scale, self.shift))
        return SegmentTable(read_only(scale), read_only(shift))


@final
@dataclass(frozen=True, eq=False)
class SegmentTable:
    """What each label means in one world.

    Attributes
    ----------
    scale, shift : (segments, m), read-only.
    """

    scale: FloatArray
    shift: FloatArray

    @property
    def count(self) -> int:
        """Return the number of segments."""
        return len(self.scale)

    def draw(self, n: int, rng: Rng) -> IntArray:
        """Return the labels ``(n,)`` of n samples, uniform and independent."""
        return rng.integers(0, self.count, size=n)

    def change(self, data: FloatArray, labels: IntArray, indptr: IntArray, indices: IntArray) -> FloatArray:
        """Return the coefficients ``(nnz,)`` of samples with ``labels (n,)``, in float64."""
        of_entry = np.repeat(labels, np.diff(indptr))
        return np.asarray(self.scale[of_entry, indices] * data + self.shift[of_entry, indices])
