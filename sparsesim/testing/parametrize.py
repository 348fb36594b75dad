"""The checks as pytest parameters: one test for each solver and promise."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sparsesim.solvers.base import Solver
from sparsesim.testing.conformance import checks_of, conforming
from sparsesim.testing.outside import title


def parametrize_with_checks(
    candidates: Sequence[Any], *, expected_failures: Callable[[Solver], Mapping[str, str]] | None = None
) -> Any:
    """Return a decorator that runs a test ``(solver, check)`` once for each candidate and promise.

    >>> @parametrize_with_checks([MySolver(12), my_factory])  # doctest: +SKIP
    ... def test_it_keeps_its_promises(solver, check):
    ...     check(solver)

    A test is named by the class (or the factory) and by the promise; the second of a name gets ``#2``.

    Parameters
    ----------
    candidates : solvers, or factories ``(seed, width, dim)`` of models, as in `check_solver`.
    expected_failures : for a solver, promises by name that it is known to break, with the reason. A test of these that
        passes is an error, so that the list cannot outlive its reason.

    Raises
    ------
    ImportError
        If pytest is not installed.
    TypeError, ValueError
        If a candidate is neither a solver nor a factory, or an expected failure is no promise of its.
    """
    try:
        import pytest
    except ImportError as error:
        raise ImportError('parametrize_with_checks needs pytest: pip install "sparsesim[testing]".') from error
    seen: Counter[str] = Counter()
    parameters = []
    for candidate in candidates:
        solver = conforming(candidate)
        name = title(solver)
        seen[name] += 1
        shown = name if seen[name] == 1 else f"{name}#{seen[name]}"
        checks = checks_of(solver)
        reasons = _reasons(expected_failures(solver) if expected_failures else {}, [c.__name__ for c in checks], shown)
        for check in checks:
            reason = reasons.get(check.__name__)
            marks = [pytest.mark.xfail(reason=reason, strict=True)] if reason else []
            parameters.append(pytest.param(solver, check, id=f"{shown}-{check.__name__}", marks=marks))
    return pytest.mark.parametrize(("solver", "check"), parameters)


def _reasons(reasons: Mapping[str, str], names: list[str], solver: str) -> Mapping[str, str]:
    for name, reason in reasons.items():
        if name not in names:
            raise ValueError(f"{name!r} is no promise that {solver} is checked for; there are {', '.join(names)}.")
        if not reason:
            raise ValueError(f"the expected failure {name} of {solver} has no reason; write one.")
    return reasons
