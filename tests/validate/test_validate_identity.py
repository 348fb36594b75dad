"""Code has one identity as long as it is the same, another as soon as anything it uses differs, and none in doubt."""

from __future__ import annotations

import functools
import importlib
import math
import os
import subprocess
import sys
import types

import numpy as np
import pytest

from sparsesim.validate.identity import UnknownCodeError, identity

SCALE = 1.0


def scaled(x):
    return SCALE * x


def made(constant):
    def factory(seed, width, dim):
        return constant * width

    return factory


class Model:
    rate = 0.1

    def encode(self, x):
        return scaled(x) * self.rate


def test_the_same_code_is_the_same_and_other_constants_are_not():
    assert identity(made(1)) == identity(made(1))
    assert identity(made(1)) != identity(made(2))
    assert identity(made(1)) != identity(made(1.0))
    assert identity(lambda x: x + 1) != identity(lambda x: x + 2)
    assert identity(made(1), None) != identity(None, made(1))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (functools.partial(made, 1), functools.partial(made, 2)),
        (made(np.arange(3)), made(np.arange(3) + 1)),
        (made({"a": (1, 2)}), made({"a": (1, 3)})),
        (made(frozenset("ab")), made(frozenset("ac"))),
        (made(types.SimpleNamespace(a=1)), made(types.SimpleNamespace(a=2))),
        (made(math.sin), made(math.cos)),
        (made(np.float32), made(np.float64)),
        (made(np.add), made(np.subtract)),
        (functools.lru_cache(made(1)), functools.lru_cache(made(2))),
    ],
)
def test_what_a_closure_holds_counts(first, second):
    assert identity(first) == identity(first)
    assert identity(first) != identity(second)


def test_a_global_or_a_class_attribute_that_changes_is_seen_through_calls(monkeypatch):
    def factory(seed, width, dim):
        return Model()

    before = identity(factory)
    monkeypatch.setattr(sys.modules[__name__], "SCALE", 2.0)
    other = identity(factory)
    assert other != before
    monkeypatch.setattr(Model, "rate", 0.2)
    assert identity(factory) not in (before, other)


def test_a_module_of_the_user_counts_with_its_text_and_what_it_imports(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "inner_of_test.py").write_text("def f(x):\n    return x\n")
    (tmp_path / "outer_of_test.py").write_text("import inner_of_test\n\ndef g(x):\n    return inner_of_test.f(x)\n")

    def load():
        for name in ("inner_of_test", "outer_of_test"):
            sys.modules.pop(name, None)
        importlib.invalidate_caches()
        return importlib.import_module("outer_of_test").g

    before = identity(load())
    assert identity(load()) == before
    (tmp_path / "inner_of_test.py").write_text("def f(x):\n    return -x  # another\n")
    assert identity(load()) != before


def test_a_module_that_a_function_imports_when_called_is_seen(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "late_of_test.py").write_text("VALUE = 1\n")

    def factory(seed, width, dim):
        import late_of_test

        return late_of_test.VALUE

    before = identity(factory)
    sys.modules["late_of_test"].VALUE = 2
    assert identity(factory) != before
    del sys.modules["late_of_test"]


def reads_a_file(seed, width, dim):
    return np.load("weights.npy")


def reads_the_environment(seed, width, dim):
    return os.environ["WIDTH"]


def holds_a_lock(seed, width, dim):
    return LOCK


LOCK = sys.stdout


@pytest.mark.parametrize("factory", [reads_a_file, reads_the_environment, holds_a_lock])
def test_code_that_cannot_be_followed_has_no_identity_and_says_why(factory):
    with pytest.raises(UnknownCodeError, match=r"load|environ|cannot be followed"):
        identity(factory)


def test_the_identity_is_the_same_in_another_process():
    code = "from tests.validate.test_validate_identity import Model, identity; print(identity(Model))"
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    environment = {**os.environ, "PYTHONHASHSEED": "7", "PYTHONPATH": root}
    runs = [
        subprocess.run(
            [sys.executable, "-c", code], env=environment, cwd=root, capture_output=True, text=True, check=True
        )
        for environment["PYTHONHASHSEED"] in ("7", "8")
    ]
    assert runs[0].stdout == runs[1].stdout != ""
