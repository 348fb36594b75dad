from __future__ import annotations

import enum
import math
import subprocess
import sys
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kstest

from sparsesim import Role, key, stream
from sparsesim._identity import LATER, canonical, fork


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


class Shade(enum.Enum):
    RED = 1


@dataclass(frozen=True)
class Leaf:
    x: object = 1
    y: object = 2


@dataclass(frozen=True)
class Other:
    x: object = 1
    y: object = 2


@dataclass(frozen=True)
class Awkward:
    type: object
    enum: object = None


@dataclass(frozen=True)
class Tree:
    left: object
    right: tuple[object, ...] = ()


ATOMS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(), st.sampled_from(Colour)
)
SPECS = st.recursive(
    ATOMS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(tuple), st.builds(Leaf, inner, inner), st.builds(Tree, inner)
    ),
    max_leaves=8,
)


def strictly(value: object) -> object:
    """Return a value that is equal for equal specifications and tells True from 1, which Python does not."""
    if isinstance(value, tuple | list):
        return ("sequence", *map(strictly, value))
    if isinstance(value, Leaf):
        return ("Leaf", strictly(value.x), strictly(value.y))
    if isinstance(value, Tree):
        return ("Tree", strictly(value.left), strictly(value.right))
    return ("bool", value) if isinstance(value, bool) else ("value", value)


@given(SPECS, SPECS)
def test_specifications_have_equal_keys_exactly_if_they_are_equal(one, other):
    assert (key(one) == key(other)) == (strictly(one) == strictly(other))


@given(st.integers(-3, 3), st.integers(-3, 3), st.booleans(), st.booleans())
def test_small_specifications_collide_only_if_equal(a, b, c, d):
    one, other = Leaf(a, float(b) if c else b), Leaf(float(b) if d else b, a)
    assert (key(one) == key(other)) == (one == other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, 1.0),
        (0.0, -0.0),
        ((1, 2), [1, 2]),
        (np.float64(0.5), 0.5),
        (np.int32(3), 3),
        (np.float32(0.1), float(np.float32(0.1))),
        (np.bool_(True), True),
        (1e300, int(1e300)),
        (Leaf(1, (2, 3)), Leaf(1.0, [2, 3])),
    ],
)
def test_what_means_the_same_has_the_same_key(one, other):
    assert key(one) == key(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, True),
        (0, False),
        (1, "1"),
        (None, "None"),
        (None, ()),
        ((), ((),)),
        (math.inf, "Infinity"),
        (math.inf, -math.inf),
        (math.inf, 1e308),
        (0.1, np.nextafter(0.1, 1)),
        (2**53, 2**53 + 1),
        (Colour.RED, Colour.BLUE),
        (Colour.RED, Shade.RED),
        (Colour.RED, 1),
        (Leaf(), Other()),
        (Leaf(1, 2), Leaf(2, 1)),
        (Leaf(), (1, 2)),
        (Awkward("a"), Awkward("b")),
        (Awkward(None), Leaf(None)),
        (((1,), 2), (1, (2,))),
        ("a\ud800", "a"),
    ],
)
def test_what_differs_has_different_keys(one, other):
    assert key(one) != key(other)
    assert key(Leaf(one)) != key(Leaf(other))


def test_the_number_of_values_in_a_key_counts():
    assert len({key(), key(1), key(1, 2), key((1, 2)), key(1, (2,)), key("1,2")}) == 6


@pytest.mark.parametrize("where", [lambda nan: nan, lambda nan: (1, nan), lambda nan: Leaf(Leaf(nan))])
@pytest.mark.parametrize("nan", [math.nan, np.float32("nan")])
def test_nan_is_refused_wherever_it_hides(where, nan):
    with pytest.raises(ValueError, match="NaN equals nothing"):
        key(where(nan))


@pytest.mark.parametrize(
    "value", [np.zeros(2), np.zeros(()), key, lambda: 0, {"a": 1}, {1}, b"a", object(), Leaf, 1j, stream(0, Role.TRUTH)]
)
def test_what_has_no_value_identity_is_refused_with_advice(value):
    with pytest.raises(TypeError, match=r"made of frozen dataclasses, tuples, numbers.*pass a tuple"):
        canonical(Leaf(value))


def test_a_key_is_the_same_in_every_process_and_depends_on_no_hash_seed():
    code = (
        "from sparsesim import key, Role; import numpy as np\n"
        "print(key(('a', 1.5, None, Role.TEST), float('-inf'), np.float64(1e-300)))"
    )
    here = key(("a", 1.5, None, Role.TEST), float("-inf"), np.float64(1e-300))
    for seed in ("0", "1", "random"):
        done = subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        )
        assert done.stdout.strip() == here


def test_replacing_one_field_changes_the_key_and_back():
    tree = Tree(Leaf(), (1, Leaf(3)))
    assert key(replace(tree, left=Leaf(y=5))) != key(tree) == key(replace(replace(tree, left=0), left=Leaf()))


def test_the_numbers_of_the_roles_are_part_of_published_results():
    assert {role.name: role.value for role in Role} == {
        "TRUTH": 0,
        "TRAIN": 1,
        "TEST": 2,
        "SOLVER": 3,
        "METRIC": 4,
        "MODEL_PROBE": 5,
        "LAW": 6,
        "OBSERVATION": 7,
    }


@given(st.integers(0, 2**70), st.sampled_from(Role), st.lists(st.integers(0, 2**40), max_size=2))
def test_a_stream_is_decided_by_its_arguments_alone(seed, role, index):
    expected = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(int(role), *index))).random(4)
    np.random.seed(0)  # noqa: NPY002 - the global state must not matter
    assert np.array_equal(stream(seed, role, *index).random(4), expected)


@pytest.mark.parametrize("seed", [-1, 1.5, True, "0", None])
def test_seeds_that_are_no_natural_numbers_are_refused(seed):
    with pytest.raises((TypeError, ValueError), match="seed must"):
        stream(seed, Role.TRUTH)


def test_streams_of_neighbouring_seeds_roles_and_indices_are_uncorrelated():
    n, alpha = 4000, 1e-3
    drawn = [stream(seed, role).standard_normal(n) for seed in range(8) for role in Role]
    drawn += [stream(0, Role.SOLVER, index).standard_normal(n) for index in range(8)]
    drawn += [child.standard_normal(n) for child in fork(stream(0, Role.TEST), 8)]
    z = np.corrcoef(drawn)[np.triu_indices(len(drawn), 1)] * np.sqrt(n)
    # Correlations of independent normal samples times sqrt(n) are N(0, 1) to order 1/n; here are 2016.
    assert kstest(z, "norm").pvalue > alpha
    assert np.abs(z).max() < 5.0  # two-sided Bonferroni at alpha = 1e-3 over 2016 pairs is 4.97


def test_forks_are_decided_by_the_state_of_the_parent_which_advances():
    parent, twin = stream(3, Role.SOLVER), stream(3, Role.SOLVER)
    first = [child.random() for child in fork(parent, 3)]
    assert first == [child.random() for child in fork(twin, 3)]
    assert not set(first) & {child.random() for child in fork(parent, 3)}


@pytest.mark.parametrize("rng", [0, None, np.random])
def test_a_seed_where_a_generator_is_meant_is_named(rng):
    with pytest.raises(TypeError, match=r"rng must be a numpy Generator, e\.g\. sparsesim\.stream"):
        fork(rng, 2)


@dataclass(frozen=True)
class Grown:
    x: int = 1
    added: str = field(default="as ever", metadata=LATER)


def test_a_field_that_was_added_later_leaves_keys_alone_until_it_is_set():
    @dataclass(frozen=True)
    class Before:
        x: int = 1

    name = canonical(Grown())["type"]
    assert canonical(Grown(2)) == {**canonical(Before(2)), "type": name}
    assert key(Grown()) == key(Grown(added="as ever")) != key(Grown(added="new"))
