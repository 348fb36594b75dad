"""What a driver holds of a study: some dozens of bytes a cell, whatever its keys, labels and rows are."""

from __future__ import annotations

import hashlib
import tracemalloc
from dataclasses import dataclass

import pytest

from sparsesim.study import Store, Study, labels, run, study_keys, table
from sparsesim.study.grid import Grid
from sparsesim.study.roster import BYTES, Hashes, Left, Roster, Units


def key(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()


def roster(*numbers: int) -> Roster:
    """Return cells whose keys are those of the numbers, which may occur more than once."""
    return Roster([labels(place=place) for place in range(len(numbers))], map(key, numbers))


def test_a_roster_is_the_mapping_of_keys_to_labels_with_the_first_of_equal_cells():
    numbers = [*range(500), 3, 499, 3]
    found = roster(*numbers)
    expected: dict[str, object] = {}
    for place, number in enumerate(numbers):
        expected.setdefault(key(number), labels(place=place))
    assert dict(found) == expected and list(found) == list(expected) and len(found) == 500
    assert [found.place(number) for number in (0, 499, 500, 501, 502)] == [0, 499, 3, 499, 3]
    for foreign in (key(1000), "no key", "", key(3)[:-1], key(3).upper(), key(3) + "0"):
        assert foreign not in found and found.number(foreign) is None


def test_keys_that_begin_alike_are_told_apart():
    one, two, three = ("00" * 31 + end for end in ("01", "02", "03"))
    found = Roster([labels(place=place) for place in range(4)], [two, one, two, three])
    assert [found.number(each) for each in (one, two, three, "00" * BYTES)] == [1, 0, 3, None]
    assert found.first.tolist() == [True, True, False, True]


def test_hashes_are_a_mapping_on_the_keys_of_a_roster_and_keep_no_others():
    whole = roster(*range(6))
    hashes, plain = Hashes(whole), dict[str, int]()
    for number, value in ((2, -7), (4, 2**62), (2, 9), (0, 0)):
        assert hashes.setdefault(key(number), value) == plain.setdefault(key(number), value)
    assert hashes == plain and len(hashes) == 3
    del hashes[key(4)], plain[key(4)]
    assert hashes == plain and key(4) not in hashes and key(5) not in hashes
    hashes[key(77)] = 1
    assert hashes == plain
    with pytest.raises(KeyError):
        del hashes[key(5)]


def test_what_is_left_follows_what_becomes_known():
    whole = roster(5, 6, 7, 6, 8)
    hashes = Hashes(whole)
    left = Left(whole, hashes)
    assert list(left) == [key(5), key(6), key(7), key(8)] and len(left) == 4
    hashes[key(6)] = 1
    assert dict(left) == {key(5): labels(place=0), key(7): labels(place=2), key(8): labels(place=4)}
    assert len(left) == 3 and key(6) not in left and key(99) not in left and left.numbers() == [0, 2, 4]


def test_units_are_single_cells_and_groups():
    from array import array

    units = Units(roster(*range(9)), array("l", [0, 2, 8]), {2: (2, 5, 6)})
    assert list(units) == [(key(0),), (key(2), key(5), key(6)), (key(8),)]
    assert units[-1] == (key(8),) and list(units[1:]) == list(units)[1:] and len(units) == 3


@dataclass(frozen=True)
class Cheap:
    """A cell that costs nothing."""

    width: int
    seed: int

    def evaluate(self) -> int:
        return self.width + self.seed


def score(found: int) -> float:
    return found / 7


def other(found: int) -> float:
    return -float(found)


def grid(seeds: int) -> Study:
    cells = Grid(Cheap, width=(8, 16, 24, 32, 40), seed=range(seeds))
    return Study("cheap", "What does a driver hold?", cells, (score, other))


def test_a_grid_is_the_mapping_that_nested_loops_make():
    cells = Grid(lambda kind, size: (kind, size), kind=("a", "b"), size=(3, 1, 2))
    plain = {labels(kind=kind, size=size): (kind, size) for kind in ("a", "b") for size in (3, 1, 2)}
    assert dict(cells) == plain and list(cells) == list(plain) and len(cells) == 6
    assert list(cells.points[1:4]) == list(plain)[1:4] and cells.points[-1] == labels(kind="b", size=2)
    for wrong in (labels(size=3, kind="a"), labels(kind="c", size=3), labels(kind="a"), ()):
        assert wrong not in cells
    with pytest.raises(IndexError):
        cells.points[6]


def test_a_grid_that_makes_no_sense_is_refused():
    for axes, said in (
        ({}, "at least one axis"),
        ({"seed": ()}, "axis seed must be different ones"),
        ({"seed": (1, 2, 1)}, "axis seed must be different ones"),
    ):
        with pytest.raises(ValueError, match=said):
            Grid(Cheap, **axes)
    with pytest.raises(TypeError, match="must be a string or a number"):
        Grid(Cheap, seed=(None,))


def test_a_study_on_a_grid_gives_the_rows_of_the_same_cells_in_a_dict(tmp_path):
    lazy = grid(3)
    eager = Study("cheap", "?", dict(lazy.cells), (score, other))
    assert study_keys(lazy) == study_keys(eager)
    found = run(lazy, tmp_path, engine="inline")
    assert len(found) == 15 and found == table(eager, Store(tmp_path)) == run(eager, tmp_path, engine="inline")
    assert found.values("seed") == [0, 1, 2] * 5 and found.values("other")[:3] == [-8.0, -9.0, -10.0]


def test_cells_of_one_key_are_computed_once_and_each_has_its_row(tmp_path):
    cells = {labels(name="b"): Cheap(1, 2), labels(name="c"): Cheap(3, 4), labels(name="a"): Cheap(1, 2)}
    found = run(Study("twice", "?", cells, (other,)), tmp_path, engine="inline")
    assert found.values("name") == ["a", "b", "c"] and found.values("other") == [-3.0, -3.0, -7.0]
    assert len([record for record in Store(tmp_path).records() if record.kind == "row"]) == 2


def test_a_driver_takes_little_memory_for_a_cell(tmp_path):
    """Planned, driven, read back: what a run on many cells takes more than one on few, of all that Python allocates.

    While the cells are driven: a key (32 bytes), its place in order and the head by which it is found (12), a hash of
    the row (9), its place in the plan (4). When the table is made: of that a key, order and head (45); two floats
    (48), the columns as they are read (24), the cells in their order (36), and by what they are sorted (80), or the
    table's five columns as lists and tuples (80): 233. What the allocator rounds up is below a quarter.
    """

    def peak(seeds: int) -> int:
        study, folder = grid(seeds), tmp_path / str(seeds)
        tracemalloc.start()
        assert len(run(study, folder, engine="inline")) == 5 * seeds
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    peak(20)  # imports
    small, large = peak(100), peak(1000)
    assert (large - small) / 4500 < 300


def test_a_plan_of_a_hundred_thousand_cells_is_held_in_a_hundred_bytes_each():
    count = 100_000
    names = Grid(Cheap, seed=range(count)).points
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    whole = Roster(names, map(key, range(count)))
    left = Left(whole, Hashes(whole))
    held = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert len(left) == count and held < 100 * count
