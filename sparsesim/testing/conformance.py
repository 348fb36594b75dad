"""What every solver promises: each promise is one function that raises `AssertionError` where it is broken."""

from __future__ import annotations

import pickle
import random
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from sparsesim._arrays import FloatArray
from sparsesim._identity import Role, key, stream
from sparsesim.solvers.base import FittedDictionary, Solver
from sparsesim.solvers.pursuit import OrthogonalMatchingPursuit
from sparsesim.testing.outside import as_solver, title
from sparsesim.validate.outside import OutsideSolver

# float32 networks agree with themselves across batch shapes to about 1e-6 of the largest code.
ROW_TOLERANCE = 1e-5


def toy_samples(n: int = 400, dim: int = 8) -> FloatArray:
    """Return zero-mean samples ``(n, dim)`` of 12 random unit atoms, two active with random sign, and little noise."""
    rng = stream(0, Role.MODEL_PROBE, 1)
    atoms = rng.standard_normal((12, dim))
    atoms /= np.linalg.norm(atoms, axis=1, keepdims=True)
    x = 0.05 * rng.standard_normal((n, dim))
    for row in x:
        chosen = rng.choice(12, 2, replace=False)
        row += (rng.choice([-1.0, 1.0], 2) * rng.uniform(0.5, 1.5, 2)) @ atoms[chosen]
    return x


def _fit(solver: Solver, x: FloatArray | None = None) -> FittedDictionary:
    """Return the fit to clean samples, on which a refusal breaks whatever is being checked."""
    __tracebackhide__ = True
    try:
        return solver.fit(toy_samples() if x is None else x, rng=stream(0, Role.SOLVER))
    except (ValueError, TypeError) as error:
        raise AssertionError(f"fit to clean samples raises {type(error).__name__}: {error}") from error


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise AssertionError(message)


def _same(a: FittedDictionary, b: FittedDictionary, x: FloatArray) -> bool:
    left, right = a.encode(x), b.encode(x)
    return (
        np.array_equal(a.atoms, b.atoms)
        and np.array_equal(a.bias, b.bias)
        and np.array_equal(left.toarray(), right.toarray())
    )


def atoms_are_unit_rows_of_the_declared_width(solver: Solver) -> None:
    """Atoms are ``(width, d)`` with norms 1 (or 0 for a dead one), the bias is ``(d,)``, everything finite."""
    x = toy_samples()
    fitted = _fit(solver, x)
    norms = np.linalg.norm(fitted.atoms, axis=1)
    _require(fitted.atoms.shape == (solver.width, x.shape[1]), f"atoms have shape {fitted.atoms.shape}.")
    _require(fitted.bias.shape == (x.shape[1],), f"bias has shape {fitted.bias.shape}.")
    _require(bool(np.isfinite(fitted.atoms).all() and np.isfinite(fitted.bias).all()), "atoms or bias are not finite.")
    _require(bool(np.all((np.abs(norms - 1) < 1e-5) | (norms == 0))), f"norms lie in [{norms.min()}, {norms.max()}].")
    _require(not fitted.atoms.flags.writeable, "atoms must be read-only.")


def codes_are_sparse_rows_that_decode(solver: Solver) -> None:
    """``encode`` gives CSR ``(n, p)`` in the precision of x, ``decode`` gives ``(n, d)``; no rows, no codes."""
    x = toy_samples()
    fitted = _fit(solver, x)
    for dtype in (np.float64, np.float32):
        codes = fitted.encode(x.astype(dtype))
        _require(
            codes.format == "csr" and codes.shape == (len(x), solver.width), f"codes are {codes.format} {codes.shape}."
        )
        _require(codes.dtype == dtype, f"codes of {np.dtype(dtype)} samples are {codes.dtype}.")
        _require(bool(np.isfinite(codes.data).all()), "codes are not finite.")
        _require(fitted.decode(codes).shape == x.shape, "decode changes the shape of the samples.")
    _require(fitted.encode(x[:0]).shape == (0, solver.width), "encode of no samples must have shape (0, p).")


def a_row_is_encoded_alone_as_in_a_batch(solver: Solver) -> None:
    """The codes of a sample do not depend on the samples beside it, nor on their order."""
    x = toy_samples()[:64]
    fitted = _fit(solver)
    whole = fitted.encode(x).toarray()
    scale = np.abs(whole).max() or 1.0
    alone = np.concatenate([fitted.encode(x[i : i + 1]).toarray() for i in range(0, 64, 7)])
    _require(
        bool(np.abs(alone - whole[::7]).max() <= ROW_TOLERANCE * scale),
        "a row alone has other codes than in the batch.",
    )
    reverse = fitted.encode(x[::-1]).toarray()[::-1]
    _require(bool(np.abs(reverse - whole).max() <= ROW_TOLERANCE * scale), "codes depend on the order of the rows.")


def the_same_stream_gives_the_same_bits(solver: Solver) -> None:
    """Two fits on equal streams agree bit for bit."""
    x = toy_samples()
    _require(_same(_fit(solver, x), _fit(solver, x), x), "two fits on the same stream differ.")


def global_random_state_is_untouched(solver: Solver) -> None:
    """Neither fit nor encode reads or writes the global generators of Python, numpy or torch."""

    def states() -> list[Any]:
        legacy = np.random.get_state(legacy=False)  # noqa: NPY002 - reading it is the point
        torch = sys.modules.get("torch")
        words = None if torch is None else torch.random.get_rng_state().numpy().tobytes()
        return [random.getstate(), repr(legacy), words]

    reference = _fit(solver)
    reference.encode(toy_samples())  # imports torch, if the solver needs it
    before = states()
    _fit(solver).encode(toy_samples())
    _require(before == states(), "fit or encode changed a global random state.")
    saved = np.random.get_state()  # noqa: NPY002
    np.random.seed(12345)  # noqa: NPY002 - a solver that reads the global state will now differ
    try:
        _require(_same(reference, _fit(solver), toy_samples()), "the fit depends on numpy's global random state.")
    finally:
        np.random.set_state(saved)  # noqa: NPY002


def input_is_not_written(solver: Solver) -> None:
    """Read-only, Fortran-ordered and strided input gives the result of the plain array and stays as it was."""
    x = toy_samples()
    reference = _fit(solver, x.copy())
    frozen = x.copy()
    frozen.flags.writeable = False
    wide = np.zeros((len(x), 2 * x.shape[1]))
    wide[:, ::2] = x
    for variant in (frozen, np.asfortranarray(x), wide[:, ::2]):
        fitted = _fit(solver, variant)
        _require(_same(reference, fitted, x), "the memory layout of the input changes the result.")
        fitted.encode(variant)
        _require(bool(np.array_equal(variant, x)), "the input was written to.")


def solver_and_fit_can_be_pickled(solver: Solver) -> None:
    """Solver and fit survive a round trip, and the fit encodes the same bits afterwards."""
    x = toy_samples()
    fitted = _fit(solver)
    try:
        copies = pickle.loads(pickle.dumps((solver, fitted)))
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise AssertionError(f"it cannot be pickled ({error}); define its classes at module level.") from error
    _require(copies[0] == solver, "the solver is not equal to its pickled copy.")
    _require(_same(copies[1], fitted, x), "the pickled fit encodes otherwise.")


def the_fit_can_be_pickled(solver: Solver) -> None:
    """What was trained survives a round trip and encodes the same bits afterwards; the factory need not survive."""
    x = toy_samples()
    fitted = _fit(solver)
    try:
        copy = pickle.loads(pickle.dumps(fitted))
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise AssertionError(f"the model cannot be pickled ({error}); define its class at module level.") from error
    _require(_same(copy, fitted, x), "the pickled model encodes otherwise.")


def the_solver_is_keyed_and_frozen(solver: Solver) -> None:
    """The solver is a specification: it has a key, which a fit does not change, and its fields cannot be set."""
    before = key(solver)
    _fit(solver)
    _require(key(solver) == before, "the fit changed the key of the solver.")
    try:
        solver.width = 3  # type: ignore[misc]
    except AttributeError:
        return
    raise AssertionError("the solver must be a frozen dataclass.")


def reconstruction_beats_the_mean(solver: Solver) -> None:
    """On held-out zero-mean samples the squared error is below that of predicting the mean."""
    x = toy_samples(800)
    fitted = _fit(solver, x[:400])
    held_out = x[400:]
    error = np.square(fitted.decode(fitted.encode(held_out)) - held_out).sum()
    _require(
        bool(error < np.square(held_out - held_out.mean(axis=0)).sum()), "the reconstruction is worse than the mean."
    )


def the_encoder_can_be_swapped(solver: Solver) -> None:
    """``replace(fitted, encoder=...)`` encodes with the same atoms by another method."""
    x = toy_samples()
    swapped = replace(_fit(solver), encoder=OrthogonalMatchingPursuit(1))
    codes = swapped.encode(x)
    _require(
        codes.shape == (len(x), solver.width) and int(np.diff(codes.indptr).max()) <= 1,
        "the swapped encoder was not used.",
    )


def bad_input_is_refused(solver: Solver) -> None:
    """NaN, infinity, wrong shapes, no samples and non-numbers raise ValueError or TypeError, in fit and in encode."""
    x = toy_samples()
    fitted = _fit(solver, x)
    nan, inf = x.copy(), x.copy()
    nan[3, 2], inf[1, 1] = np.nan, np.inf

    def fit(samples: Any) -> Any:
        return solver.fit(samples, rng=stream(0, Role.SOLVER))

    bad: list[Any] = [nan, inf, x[0], x[None], x.astype(str), x.astype(complex), None]
    for value in bad:
        _refuses(fit, value, f"fit accepts {_show(value)}.")
        _refuses(fitted.encode, value, f"encode accepts {_show(value)}.")
    _refuses(fit, x[:0], "fit accepts no samples.")
    _refuses(fitted.encode, x[:, :-1], "encode accepts samples of another dimension.")


def _show(value: Any) -> str:
    return f"{type(value).__name__} of shape {getattr(value, 'shape', None)} and dtype {getattr(value, 'dtype', None)}"


def _refuses(action: Callable[[Any], Any], value: Any, message: str) -> None:
    try:
        action(value)
    except (ValueError, TypeError) as error:
        _require(len(str(error)) > 10, f"the refusal says nothing: {error!r}")
        return
    raise AssertionError(message)


CHECKS: tuple[Callable[[Solver], None], ...] = (
    atoms_are_unit_rows_of_the_declared_width,
    codes_are_sparse_rows_that_decode,
    a_row_is_encoded_alone_as_in_a_batch,
    the_same_stream_gives_the_same_bits,
    global_random_state_is_untouched,
    input_is_not_written,
    solver_and_fit_can_be_pickled,
    the_solver_is_keyed_and_frozen,
    reconstruction_beats_the_mean,
    the_encoder_can_be_swapped,
    bad_input_is_refused,
)


# What can be asked of somebody's model that was made by a factory: the wrapping keeps the other promises by itself.
OUTSIDE_CHECKS: tuple[Callable[[Solver], None], ...] = (
    atoms_are_unit_rows_of_the_declared_width,
    codes_are_sparse_rows_that_decode,
    a_row_is_encoded_alone_as_in_a_batch,
    the_same_stream_gives_the_same_bits,
    global_random_state_is_untouched,
    input_is_not_written,
    the_fit_can_be_pickled,
    reconstruction_beats_the_mean,
)


def conforming(candidate: Any) -> Solver:
    """Return the solver that is checked: ``candidate``, or for a factory a small one, briefly trained."""
    return as_solver(candidate, width=12, k=2, steps=300)


def checks_of(solver: Solver) -> tuple[Callable[[Solver], None], ...]:
    """Return the promises that apply: all of them, or those of an outside model."""
    return OUTSIDE_CHECKS if isinstance(solver, OutsideSolver) else CHECKS


def check_solver(candidate: Any) -> None:
    """Put a solver, or a factory of models, through every check that applies; it must work on 8-dimensional samples.

    Parameters
    ----------
    candidate : a `Solver`; or ``factory(seed, width, dim)`` of an outside model, which is called with width 12, trained
        for 300 steps and probed by `adapt`. Pass ``solver_of(factory, ...)`` for another training.

    Raises
    ------
    AssertionError
        Naming the first promise that is broken.
    TypeError
        If ``candidate`` is neither.
    """
    solver = conforming(candidate)
    for check in checks_of(solver):
        try:
            check(solver)
        except (AssertionError, ValueError, TypeError) as error:
            raise AssertionError(f"{title(solver)}, {check.__name__}: {error}") from error
