"""The axes of a world: which features fire, how their directions lie, how strongly they fire."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, final, runtime_checkable

import numpy as np

from sparsesim._arrays import Codes, FloatArray, IntArray, Rng


@final
@dataclass(frozen=True, eq=False)
class Support:
    """Which features fire in each of ``n`` samples: compressed rows with ascending ``indices`` in each.

    Attributes
    ----------
    indptr : (n + 1,) int64
    indices : (nnz,) int32
    n_features : m
    """

    indptr: IntArray
    indices: IntArray
    n_features: int

    @property
    def n_samples(self) -> int:
        """Return n, the number of samples."""
        return len(self.indptr) - 1

    def codes(self, data: FloatArray) -> Codes:
        """Return the codes ``(n, m)`` that have ``data (nnz,)`` on this support."""
        return Codes((data, self.indices, self.indptr), shape=(self.n_samples, self.n_features))


class SupportLaw(Protocol):
    """Which features fire. A frozen dataclass of numbers and tuples, so that it has a key.

    A law whose samples of one draw depend on one another says so by an attribute ``independent_rows = False``; each of
    them alone has the rates and joint rates.
    """

    @property
    def n_features(self) -> int:
        """Return m, the number of true features."""
        ...

    def marginals(self) -> FloatArray:
        """Return the true firing rates ``(m,)``, after every effect of the law."""
        ...

    def draw(self, n: int, rng: Rng) -> Support:
        """Return the supports of ``n`` samples."""
        ...


@runtime_checkable
class SecondOrderLaw(SupportLaw, Protocol):
    """A support law whose second moments are known in closed form."""

    def pairwise(self) -> FloatArray:
        """Return the joint firing rates ``(m, m)``, P(i and j fire), with `marginals` on the diagonal."""
        ...

    def energy(self, vectors: FloatArray) -> float:
        """Return E||sum of the firing rows of ``vectors (m, d)``||^2 without forming an (m, m) matrix."""
        ...


def has_second_moments(law: SupportLaw) -> bool:
    """Return whether ``law`` is a `SecondOrderLaw`; one built on another may deny it by ``second_order = False``."""
    return isinstance(law, SecondOrderLaw) and bool(getattr(law, "second_order", True))


def second_order_base(law: SupportLaw) -> SecondOrderLaw:
    """Return ``law``, the base of another, if it gives joint rates.

    Raises
    ------
    TypeError
        If it does not.
    """
    if not isinstance(law, SecondOrderLaw):
        raise TypeError(
            f"joint rates need those of the base, which {type(law).__name__} does not give. Estimate them from draws, "
            "and give the noise by its standard deviation, Gaussian(sigma)."
        )
    return law


def has_independent_rows(law: SupportLaw) -> bool:
    """Return whether the samples of one draw are independent; a law may deny it by ``independent_rows = False``."""
    return bool(getattr(law, "independent_rows", True))


def rate_errors(law: SupportLaw) -> FloatArray:
    """Return the standard errors ``(m,)`` of the marginals: 0 unless the law is numerical and has `marginal_errors`."""
    known: Any = law
    return np.asarray(known.marginal_errors()) if hasattr(law, "marginal_errors") else np.zeros(law.n_features)


class Geometry(Protocol):
    """How the feature directions lie in space."""

    def atoms(self, m: int, d: int, rng: Rng) -> FloatArray:
        """Return unit rows ``(m, d)``; raises ValueError where (m, d) admits none of this kind."""
        ...


class MagnitudeLaw(Protocol):
    """How strongly the features fire, given which fire; zero has probability zero.

    A law whose coefficients depend on one another given the support says so by an attribute ``independent = False``; it
    may then offer ``cross(m)``, the (m, m) values E[c_i c_j | i and j fire], for second moments in closed form.
    """

    def draw(self, support: Support, rng: Rng) -> FloatArray:
        """Return the coefficients ``(nnz,)`` of the firing features."""
        ...

    def mean(self, m: int) -> FloatArray:
        """Return E[coefficient | fires] for each feature, ``(m,)``."""
        ...

    def second_moment(self, m: int) -> FloatArray:
        """Return E[coefficient^2 | fires] for each feature, ``(m,)``."""
        ...
