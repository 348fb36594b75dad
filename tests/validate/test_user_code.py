"""A file and a name become a factory by the names of its arguments; what is ambiguous or broken is one line."""

from __future__ import annotations

import inspect
import sys

import pytest

from sparsesim.validate.user_code import UserCodeError, as_factory, load_code, load_module, place_of, split


@pytest.fixture
def write(tmp_path):
    def write(text: str, name: str = "written_here.py"):
        path = tmp_path / name
        path.write_text(text, "utf-8")
        return path

    before = set(sys.modules)
    yield write
    for name in set(sys.modules) - before:
        del sys.modules[name]


def call(target):
    return as_factory(target)(1, 20, 8)


def test_a_factory_is_taken_as_it_is():
    def factory(seed, width, dim, k=2):
        return seed, width, dim, k

    assert as_factory(factory) is factory


@pytest.mark.parametrize(
    "target",
    [
        lambda dim, width: (dim, width),
        lambda d_in, d_sae: (d_in, d_sae),
        lambda activation_dim, dict_size: (activation_dim, dict_size),
        lambda d, p, verbose=False: (d, p),
        lambda *, width, input_dim, **rest: (input_dim, width),
    ],
)
def test_width_and_dimension_are_told_apart_by_name(target):
    assert call(target) == (8, 20)


def test_seed_and_k_are_given_where_they_are_asked_for():
    def target(dim, width, random_state, k):
        return dim, width, random_state, k

    made = as_factory(target)
    assert list(inspect.signature(made).parameters) == ["seed", "width", "dim", "k"]
    assert made(1, 20, 8, k=3) == (8, 20, 1, 3)
    assert list(inspect.signature(as_factory(lambda dim, width: None)).parameters) == ["seed", "width", "dim"]


def test_an_estimator_learns_its_dimension_from_data():
    class Estimator:
        def __init__(self, n_components=2, random_state=None, alpha=1.0):
            self.given = n_components, random_state, alpha

    assert call(Estimator).given == (20, 1, 1.0)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (lambda dim, width, beta: 0, "what is 'beta'"),
        (lambda width: 0, "no argument for dim"),
        (lambda: 0, "no argument for width and dim"),
        (lambda dim, d_in, width: 0, "two arguments for dim: dim and d_in"),
        (lambda dim, width, /: 0, "must have a name"),
        (lambda *all: 0, "no argument for width and dim"),
    ],
)
def test_what_is_ambiguous_is_an_error_that_says_how_to_call(target, message):
    with pytest.raises(UserCodeError, match=message):
        as_factory(target)


def test_the_file_is_run_and_nothing_else_is_changed(write):
    path = write("from dataclasses import dataclass\n@dataclass\nclass Model:\n    dim: int\n    width: int\n")
    before = list(sys.path)
    factory, fit = load_code(f"{path}:Model")
    assert factory(0, 5, 3).width == 5 and fit is None
    assert sys.path == before
    assert sys.modules["written_here"].__file__ == str(path)


def test_the_trainer_is_of_the_same_file(write):
    path = write("def make(seed, width, dim): return 7\ndef train(model, stream, steps, seed): return model\n")
    factory, fit = load_code(f"{path}:make", "train")
    assert fit(factory(0, 1, 1), None, 0, 0) == 7
    with pytest.raises(UserCodeError, match="holds no 'fit'; there is make, train"):
        load_code(f"{path}:make", "fit")


@pytest.mark.parametrize("name", ["json.py", "torch.py", "not a name.py"])
def test_a_name_that_is_taken_is_not_shadowed(write, name):
    before = sys.modules.get(name[:-3])
    module = load_module(write("x = 1\n", name))
    assert module.__name__ == f"model_in_{name[:-3]}"
    assert sys.modules.get(name[:-3]) is before


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = (\n", r"written_here\.py:1: SyntaxError"),
        ("x = 1\n\ny = 1 / 0\n", r"written_here\.py:3: ZeroDivisionError: division by zero"),
        ("import sys\nsys.exit(3)\n", r"written_here\.py:2: SystemExit: 3"),
        ("import no_such_package\n", r"No module named 'no_such_package' \(Install it"),
        (
            "import neighbour\n",
            r"\(It lies beside written_here\.py, which is not searched: put its folder on PYTHONPATH",
        ),
    ],
)
def test_a_file_that_fails_is_named_with_its_line_and_leaves_nothing(write, text, message):
    write("", "neighbour.py")
    with pytest.raises(UserCodeError, match=message):
        load_module(write(text))
    assert "written_here" not in sys.modules


def test_a_missing_file_or_name_says_what_to_give(write):
    path = write("def one(dim, width): ...\nclass Two: ...\ndef _hidden(): ...\nNUMBER = 3\n")
    with pytest.raises(UserCodeError, match=r"there is no file .*\.py; give path/to/my_sae\.py:MySAE"):
        load_code(f"{path.with_name('other.py')}:One")
    with pytest.raises(UserCodeError, match=r"say which model of .* is meant, such as .*:one, Two"):
        load_code(str(path))
    with pytest.raises(UserCodeError, match="holds no 'Three'; there is one, Two"):
        load_code(f"{path}:Three")
    with pytest.raises(UserCodeError, match="holds something that cannot be called as 'NUMBER'"):
        load_code(f"{path}:NUMBER")


def test_a_path_with_a_colon_is_split_at_the_last():
    assert [str(part) for part in split("c:/a/b.py:Name")] == ["c:/a/b.py", "Name"]
    assert [str(part) for part in split("c:/weights")] == ["c:/weights", ""]
    assert [str(part) for part in split("b.py")] == ["b.py", ""]


def test_an_error_from_elsewhere_stands_alone(write):
    path = write("def fails(dim, width):\n    raise RuntimeError('no')\n")
    factory, _ = load_code(f"{path}:fails")
    with pytest.raises(RuntimeError) as caught:
        factory(0, 1, 1)
    assert place_of(caught.value, path) == f"{path}:2: RuntimeError: no"
    assert place_of(ValueError("seeds must be 2"), path) == "seeds must be 2"
