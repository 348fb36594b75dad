# mypy: disable-error-code="no-untyped-def, no-untyped-call"
"""Triton, or where it is not installed what lets modules of kernels be read all the same, and sizes of launches.

Only this module imports Triton.
"""

from __future__ import annotations

from typing import Any

try:
    import triton
    import triton.language as tl
    from triton import jit
except ModuleNotFoundError:  # `place` serves nobody from kernels then
    triton: Any = None  # type: ignore[no-redef]
    tl: Any = None  # type: ignore[no-redef]

    def jit(kernel):
        return kernel


def power(size: int) -> int:
    """Return the least power of two that is at least ``size``, and 1 at least."""
    return 1 << max(size - 1, 0).bit_length()


def pieces(size: int, piece: int) -> int:
    """Return how many pieces of size ``piece`` cover ``size``."""
    return -(-size // piece)


def warps(block: int, share: int, most: int) -> int:
    """Return one warp for each ``share`` numbers of a block, a power of two between 1 and ``most``."""
    return min(max(block // share, 1), most)


__all__ = ["jit", "pieces", "power", "tl", "triton", "warps"]
