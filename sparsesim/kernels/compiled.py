"""How the inner functions of the heavy kernels are compiled, and the maximum that their loops take."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

from numba import njit
from numba.extending import intrinsic

Compiled = TypeVar("Compiled", bound=Callable[..., Any])


def borrowing(*fastmath: str) -> Callable[[Compiled], Compiled]:
    """Return `njit` for functions that only view arrays of their caller, which holds the references.

    Counting these again costs as much as a pass over 200 numbers, and code that counts takes longer to compile. Such
    functions neither allocate nor assign slices, are called by compiled functions only, and divide by zero without an
    error. ``_nrt`` is a private option of numba; without it the functions give the same numbers, more slowly.
    """
    options: dict[str, Any] = {"cache": True, "_nrt": False, "error_model": "numpy", "fastmath": set(fastmath)}
    options |= {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
    return cast(Callable[[Compiled], Compiled], njit(**options))


def _build_larger(context: Any, a: Any, b: Any) -> Any:
    """Return the larger of two floats of which none is NaN; unlike one of `max`, a loop of these vectorises."""

    def build(_: Any, builder: Any, signature: Any, values: Any) -> Any:
        flags = ("nnan", "nsz")
        return builder.select(builder.fcmp_ordered(">", *values, flags=flags), *values, flags=flags)

    return a(a, a), build


larger: Any = intrinsic(_build_larger)
