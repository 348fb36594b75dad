"""No kernel writes in the one way that numba's parallel loops are known to lose."""

from __future__ import annotations

import ast
from pathlib import Path

import sparsesim.kernels

FOLDER = Path(sparsesim.kernels.__file__).parent


def _parallel(function):
    return any(
        keyword.arg == "parallel" and getattr(keyword.value, "value", False)
        for decorator in function.decorator_list
        if isinstance(decorator, ast.Call)
        for keyword in decorator.keywords
    )


def lost_writes(source):
    """Return ``name[index]`` for writes at a prange index to an array that was unpacked from a tuple.

    After ``a, b = out`` numba 0.68 compiles ``b[row] = value`` in ``for row in prange(n)`` to nothing; after
    ``b = out[1]``, or at an index of an inner loop, it writes.
    """
    found = []
    for function in (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef)):
        if not _parallel(function):
            continue
        nodes = list(ast.walk(function))
        unpacked = {
            name.id
            for node in nodes
            if isinstance(node, ast.Assign) and not isinstance(node.value, ast.Tuple | ast.Call)
            for target in node.targets
            if isinstance(target, ast.Tuple)
            for name in ast.walk(target)
            if isinstance(name, ast.Name)
        }
        indices = {
            loop.target.id
            for loop in nodes
            if isinstance(loop, ast.For) and isinstance(loop.target, ast.Name) and "prange" in ast.unparse(loop.iter)
        }
        for node in nodes:
            if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store) and isinstance(node.value, ast.Name):
                first = node.slice.elts[0] if isinstance(node.slice, ast.Tuple) else node.slice
                if node.value.id in unpacked and isinstance(first, ast.Name) and first.id in indices:
                    found.append(f"{function.name}: {ast.unparse(node)}")
    return found


def test_no_parallel_loop_writes_to_an_unpacked_array_at_its_own_index():
    bad = {path.name: lost_writes(path.read_text(encoding="utf-8")) for path in sorted(FOLDER.glob("*.py"))}
    assert not {name: writes for name, writes in bad.items() if writes}, "write out[1] for the array: b = out[1]"


def test_the_search_sees_the_lost_write_and_only_it():
    template = "@njit(parallel=True)\ndef f(n, out):\n    {}\n    for row in prange(n):\n        b[row] = 1.0\n"
    assert lost_writes(template.format("a, b = out")) == ["f: b[row]"]
    assert lost_writes(template.format("b = out[1]")) == []
    assert lost_writes(template.format("a, b = out[0], out[1]")) == []
