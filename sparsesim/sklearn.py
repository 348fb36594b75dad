"""Any solver of the package as a scikit-learn transformer: pipelines, grid searches, `clone`."""

from __future__ import annotations

import dataclasses
from typing import Any, Self, final

import numpy as np
from scipy.sparse import issparse

from sparsesim._arrays import Codes, FloatArray, Rng, check_matrix
from sparsesim._identity import Role, stream
from sparsesim.solvers.base import FittedDictionary, Solver
from sparsesim.solvers.learn import MethodOfOptimalDirections
from sparsesim.solvers.pursuit import OrthogonalMatchingPursuit

try:
    from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
    from sklearn.utils.validation import check_is_fitted, validate_data
except ImportError as error:
    raise ImportError('sparsesim.sklearn needs scikit-learn >= 1.6: pip install "sparsesim[sklearn]".') from error


@final
class DictionaryEstimator(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """A scikit-learn transformer whose codes and atoms are those of ``solver``.

    ``fit(X)`` is ``solver.fit(X, rng=stream(random_state, Role.SOLVER))``, bit for bit. Settings of the solver are
    parameters with two underscores, as deep as it goes: ``solver__width``, ``solver__encoder__k``.

    Parameters
    ----------
    solver : a `Solver`; None is the method of optimal directions with as many atoms as features and two active.
    random_state : an integer >= 0, a numpy RandomState or Generator, or None for fresh entropy from the system. No
        global random state is read.
    sparse_output : `transform` returns a scipy CSR array instead of a dense one.

    Attributes
    ----------
    components_ : (p, d) unit atoms, or zero rows.
    bias_ : (d,) subtracted before encoding, added after decoding.
    dictionary_ : the `FittedDictionary`.
    n_features_in_ : d.
    feature_names_in_ : (d,) names of the columns of X, if it has string names.

    Examples
    --------
    >>> from sparsesim.solvers import KSVD, OrthogonalMatchingPursuit
    >>> model = DictionaryEstimator(KSVD(16, OrthogonalMatchingPursuit(3)), random_state=0)
    >>> model.set_params(solver__encoder__k=2).solver.encoder.k
    2
    """

    def __init__(
        self, solver: Solver | None = None, *, random_state: object = None, sparse_output: bool = False
    ) -> None:
        self.solver = solver
        self.random_state = random_state
        self.sparse_output = sparse_output

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters by name; with ``deep`` also the fields of the solver, ``solver__name``."""
        own = {name: getattr(self, name) for name in ("solver", "random_state", "sparse_output")}
        return own | (_fields("solver", self.solver) if deep else {})

    def set_params(self, **params: Any) -> Self:
        """Set parameters by name and return the estimator; fields of the solver make a changed copy of it.

        Raises
        ------
        ValueError
            For a name that `get_params` does not know.
        """
        for name in sorted(params, key=lambda name: name.count("__")):  # a new solver first, then its fields
            if name not in self.get_params():
                known = ", ".join(sorted(self.get_params()))
                raise ValueError(f"Invalid parameter {name!r} for estimator {type(self).__name__}; there are {known}.")
            first, *rest = name.split("__")
            setattr(self, first, _replaced(getattr(self, first), rest, params[name]))
        return self

    def fit(self, X: Any, y: object = None) -> Self:
        """Learn the dictionary from ``X (n, d)``; ``y`` is ignored.

        Raises
        ------
        ValueError, TypeError
            If X is not a finite real matrix, or the solver cannot be fitted to it.
        """
        x = validate_data(self, X, dtype=[np.float64, np.float32])
        solver = _usual(x.shape[1]) if self.solver is None else self.solver
        if isinstance(solver, type) or not isinstance(solver, Solver):
            raise TypeError(f"solver must have width and fit(x, *, rng), e.g. TopK(width=64, k=3); got {solver!r:.80}.")
        self._set(solver.fit(x, rng=_generator(self.random_state)))
        return self

    def _set(self, fitted: FittedDictionary) -> None:
        self.dictionary_ = fitted
        self.components_: FloatArray = fitted.atoms
        self.bias_: FloatArray = fitted.bias

    @property
    def _n_features_out(self) -> int:
        return self.dictionary_.width

    def transform(self, X: Any) -> FloatArray | Codes:
        """Return the codes ``(n, p)`` of ``X (n, d)``, in its precision."""
        check_is_fitted(self)
        x = validate_data(self, X, dtype=[np.float64, np.float32], reset=False)
        codes = self.dictionary_.encode(x)
        return codes if self.sparse_output else np.asarray(codes.toarray())

    def inverse_transform(self, X: Any) -> FloatArray:
        """Return the reconstruction ``(n, d)`` of codes ``X (n, p)``, dense or sparse.

        Raises
        ------
        ValueError, TypeError
            If X is not a finite real matrix with p columns.
        """
        check_is_fitted(self)
        codes = Codes(X) if issparse(X) else Codes(check_matrix(X, "X", dim=self.dictionary_.width))
        return self.dictionary_.decode(codes)

    def score(self, X: Any, y: object = None) -> float:
        """Return the share of the variance of ``X (n, d)`` about its mean that it explains; NaN where there is none."""
        check_is_fitted(self)
        x = np.asarray(validate_data(self, X, dtype=[np.float64, np.float32], reset=False), dtype=np.float64)
        rest = np.square(x - self.dictionary_.decode(self.dictionary_.encode(x))).sum()
        total = np.square(x - x.mean(axis=0)).sum()
        return float(1.0 - rest / total) if total > 0 else float("nan")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def _usual(dim: int) -> Solver:
    return MethodOfOptimalDirections(dim, OrthogonalMatchingPursuit(min(2, dim)), iterations=20)


def _generator(random_state: object) -> Rng:
    """Return the generator of ``random_state``; an integer is that of `stream`, a generator is used and advances."""
    if isinstance(random_state, np.random.Generator):
        return random_state
    if isinstance(random_state, np.random.RandomState):
        return np.random.default_rng([int(word) for word in random_state.randint(0, 2**32, size=4, dtype=np.uint64)])
    if random_state is None:
        return np.random.default_rng()
    if isinstance(random_state, int | np.integer):
        return stream(int(random_state), Role.SOLVER)
    raise TypeError(
        f"random_state must be None, an integer, a numpy RandomState or a Generator; got {random_state!r:.80}."
    )


def _fields(prefix: str, value: object) -> dict[str, Any]:
    """Return the fields of a dataclass and of those within it, by their names joined with two underscores."""
    if not dataclasses.is_dataclass(value) or isinstance(value, type):
        return {}
    found: dict[str, Any] = {}
    for field in dataclasses.fields(value):
        if field.init:
            name, own = f"{prefix}__{field.name}", getattr(value, field.name)
            found |= {name: own} | _fields(name, own)
    return found


def _replaced(value: Any, path: list[str], new: Any) -> Any:
    """Return ``value`` with the field at ``path`` replaced, and everything above it copied."""
    if not path:
        return new
    return dataclasses.replace(value, **{path[0]: _replaced(getattr(value, path[0]), path[1:], new)})
