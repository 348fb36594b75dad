"""The list of results in the README of `theory` is the list of what is there, and of what is tested."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from collections import Counter
from pathlib import Path

import pytest

import theory

README = Path(theory.__file__).with_name("README.md")
MODULES = sorted(module.name for module in pkgutil.iter_modules(theory.__path__) if not module.name.startswith("_"))
TESTED_WITH = {"uniqueness": "certificates"}  # a module whose tests stand in the file of another
STATUS = ("theorem", "exact", "asymptotic", "approximate", "numerical")


def sections() -> dict[str, list[list[str]]]:
    """Return the cells of each row of the table of each module."""
    _, *parts = re.split(r"^### (\w+)$", README.read_text(encoding="utf-8"), flags=re.MULTILINE)
    lines = {name: [line for line in body.splitlines() if line.startswith("| `")] for name, body in _pairs(parts)}
    return {name: [re.split(r" \| ", row.strip("| ")) for row in rows] for name, rows in lines.items()}


def _pairs(parts: list[str]) -> list[tuple[str, str]]:
    names, bodies = parts[::2], parts[1::2]
    assert len(names) == len(set(names)), "a module has two sections"
    return list(zip(names, bodies, strict=True))


def public_functions(name: str) -> set[str]:
    module = importlib.import_module(f"theory.{name}")
    return {
        key
        for key, value in vars(module).items()
        if inspect.isfunction(value) and value.__module__ == module.__name__ and not key.startswith("_")
    }


def test_every_module_has_its_section_and_every_section_its_module():
    assert sorted(sections()) == MODULES


@pytest.mark.parametrize("name", MODULES)
def test_every_public_function_is_in_the_list_once_and_every_name_in_the_list_exists(name):
    listed = Counter(entry for row in sections()[name] for entry in re.findall(r"`([^`]+)`", row[0]))
    for entry in listed:
        owner, *path = entry.split(".")
        assert owner == name, f"{entry} stands in the section of {name}"
        value = importlib.import_module(f"theory.{owner}")
        for attribute in path:
            value = getattr(value, attribute)
    assert max(listed.values()) == 1
    assert {f"{name}.{function}" for function in public_functions(name)} <= set(listed)


@pytest.mark.parametrize("name", MODULES)
def test_every_result_says_its_source_status_and_test_and_its_test_knows_its_name(name):
    tests = Path(__file__).with_name(f"test_theory_{TESTED_WITH.get(name, name)}.py").read_text(encoding="utf-8")
    for row in sections()[name]:
        assert len(row) == 4 and all(cell.strip() for cell in row), row
        assert any(word in row[2] for word in STATUS), row
        for entry in re.findall(r"`([^`]+)`", row[0]):
            assert re.search(rf"\b{entry.rsplit('.', 1)[1]}\b", tests), f"no test of {entry}"
        for test in re.findall(r"`(test_\w+)`", row[3]):
            assert f"def {test}(" in tests, f"{test} does not exist"
