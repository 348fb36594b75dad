"""Code has one identity as long as it is the same, another as soon as anything it uses differs, and none in doubt."""

from __future__ import annotations

import builtins
import dataclasses
import functools
import importlib
import math
import os
import subprocess
import sys
import types

import numpy as np
import pytest
import torch

from sparsesim.validate.escapes import UnknownCodeError
from sparsesim.validate.identity import identity

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


def flagged(seed, width, dim):
    return width if flagged.good else 0


def wrapped(function):
    """Claim by its names to be ``function`` of an installed package."""

    @functools.wraps(function)
    def other(x):
        return SCALE * x

    return other


class Meta(type):
    rate = 1

    def __call__(cls, *given):
        return cls.rate


class Metered(metaclass=Meta):
    pass


class Reserved:
    """Keeps its rate from pickle."""

    rate = 1

    def __getstate__(self):
        return {}


def uses_a_builtin(seed, width, dim):
    return sorted([seed, width])


RESERVED = Reserved()
alias, read_as = eval, np.load


def builds_torch(seed, width, dim):
    return torch.nn.functional.relu(torch.nn.Linear(dim, width).weight)


def doubled(self):
    return 2 * SCALE


@pytest.mark.parametrize(
    ("thing", "owner", "name", "values"),
    [
        (flagged, flagged, "good", (True, False)),
        (wrapped(torch.nn.functional.softplus), sys.modules[__name__], "SCALE", (1.0, 3.0)),
        (lambda seed, width, dim: Metered(), Meta, "rate", (1, 2)),
        (made(RESERVED), RESERVED, "rate", (1, 2)),
        (uses_a_builtin, builtins, "sorted", (sorted, doubled)),
        (builds_torch, torch.nn.Linear, "reset_parameters", (torch.nn.Linear.reset_parameters, doubled)),
        (builds_torch, torch.nn.Module, "cpu", (torch.nn.Module.cpu, doubled)),
        (builds_torch, torch.nn.functional, "relu", (torch.nn.functional.relu, doubled)),
    ],
    ids=["flag", "wraps", "metaclass", "hidden", "builtin", "method", "inherited", "function"],
)
def test_what_is_changed_beside_the_code_is_seen(thing, owner, name, values, monkeypatch):
    found = []
    for value in (*values, values[0]):
        monkeypatch.setattr(owner, name, value, raising=False)
        found.append(identity(thing))
    assert found[0] == found[2] != found[1]


def test_a_dataclass_of_settings_has_an_identity_with_its_defaults():
    def settings(rate):
        @dataclasses.dataclass
        class Settings:
            steps: int
            names: list = dataclasses.field(default_factory=list)
            lr: float = rate

        return Settings

    first, again, other = (identity(made(settings(rate))) for rate in (1, 1, 2))
    assert first == again != other


def test_a_class_made_by_a_call_is_followed_whatever_module_it_claims():
    def made_class(rate):
        return type("Config", (), {"__module__": "types", "rate": rate})

    first, again, other = (identity(made(made_class(rate))) for rate in (1, 1, 2))
    assert first == again != other


def test_a_file_named_as_a_module_of_python_is_somebodys_own(tmp_path, monkeypatch):
    path = tmp_path / "this.py"  # a module of Python that nobody has loaded
    found = []
    for text in (
        "RATE = 1\ndef f(seed, width, dim): return RATE\n",
        "RATE = 2\ndef f(seed, width, dim): return RATE\n",
    ):
        path.write_text(text)
        module = types.ModuleType("this")
        module.__file__ = str(path)
        exec(compile(text, str(path), "exec"), module.__dict__)
        monkeypatch.setitem(sys.modules, "this", module)
        found.append((identity(module.f), identity(made(module))))
    assert found[0][0] != found[1][0]
    assert found[0][1] != found[1][1]


@pytest.mark.parametrize(
    "factory",
    [
        lambda seed, width, dim: globals()["SCALE"],
        lambda seed, width, dim: getattr(sys.modules[__name__], "SCALE"),  # noqa: B009 - what is tested
        lambda seed, width, dim: getattr(math, "SIN".lower()),
        lambda seed, width, dim: list(map(getattr, [math], ["sin"])),
        lambda seed, width, dim: sys.modules["math"],
        lambda seed, width, dim: getattr(torch, "from_file")("weights"),  # noqa: B009 - what is tested
        lambda seed, width, dim: subprocess.run(["cat", "weights"]),
        lambda seed, width, dim: os.listdir("."),
        lambda seed, width, dim: os.popen("cat weights"),
        lambda seed, width, dim: importlib.import_module("math"),
        lambda seed, width, dim: np.read_parquet("weights"),
        lambda seed, width, dim: np.File("weights"),
        lambda seed, width, dim: eval("SCALE"),
        lambda seed, width, dim: alias("SCALE"),
        lambda seed, width, dim: read_as("weights"),
    ],
)
def test_code_that_looks_up_or_reads_what_it_does_not_hold_has_no_identity(factory):
    with pytest.raises(UnknownCodeError, match=r"names '|uses |sys\.modules"):
        identity(factory)


def test_what_only_sounds_like_reading_keeps_its_identity():
    def trains(model, stream, steps, seed):
        model.load_state_dict(getattr(model, "best", None))
        return [*model.eval().modules(), math.sin(steps), getattr(model, "width")]  # noqa: B009 - a literal name

    assert identity(trains) == identity(trains)


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
