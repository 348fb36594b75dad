"""A factory of somebody's models as a solver, so that checks and assertions treat it like any other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sparsesim._arrays import check_int
from sparsesim.solvers.base import Solver
from sparsesim.validate.outside import Outside, OutsideSolver, budget_name


def solver_of(
    factory: Callable[..., Any],
    width: int,
    *,
    k: int = 1,
    fit: Callable[..., Any] | None = None,
    steps: int = 1000,
    batch_size: int = 128,
) -> OutsideSolver:
    """Return a solver whose every fit is a fresh ``factory(seed, width, dim)``, trained and probed by `adapt`.

    Parameters
    ----------
    factory : gives a torch module or an object with ``encode`` and ``decode``, or an estimator with ``fit`` and
        ``transform``. The global generators of torch, numpy and Python are seeded around it and restored.
    width : p.
    k : told to a factory that has an argument ``k`` or ``l0``.
    fit : ``fit(model, batches, steps, seed) -> model``, your own trainer. Without it a module with parameters is
        trained by the loop of the package, on its ``losses(x)`` or else on reconstruction plus ``penalty(codes)``.
    steps, batch_size : of the training.

    Raises
    ------
    TypeError
        If ``factory`` cannot be called with (seed, width, dim).
    """
    check_int("k", k, 1)
    name = f"{getattr(factory, '__module__', '')}.{getattr(factory, '__qualname__', repr(factory))}"
    budget = k if budget_name(factory) else 0
    return OutsideSolver(Outside(name, factory, fit), width, budget, steps, batch_size)


def as_solver(candidate: Any, width: int, k: int, steps: int = 1000) -> Solver:
    """Return ``candidate`` if it is a solver, and `solver_of` it if it is a factory.

    Raises
    ------
    TypeError
        If it is neither; a solver class has to be called first.
    """
    if isinstance(candidate, type) and hasattr(candidate, "fit"):
        raise TypeError(
            f"a solver is an object, not a class; got {candidate.__name__}. Pass {candidate.__name__}(...)."
        )
    if isinstance(candidate, Solver):
        return candidate
    if callable(candidate):
        return solver_of(candidate, width, k=k, steps=steps, batch_size=64)
    raise TypeError(
        "a solver has width and fit(x, *, rng), e.g. TopK(width=64, k=3), and a factory is called with "
        f"(seed, width, dim); got {candidate!r:.80}."
    )


def title(solver: Solver) -> str:
    """Return a short name: the class of a solver of ours, the factory of an outside one."""
    if isinstance(solver, OutsideSolver):
        return solver.outside.identity.rpartition(".")[2]
    return type(solver).__name__
