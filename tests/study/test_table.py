from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsesim.study import Table
from sparsesim.study.table import check_value


def readable(text: str) -> bool:
    try:
        return check_value("text", text) == text
    except ValueError:
        return False


WORDS = st.text(max_size=8).filter(readable)
VALUES = st.one_of(st.floats(), st.integers(), WORDS)
EXAMPLE = Table({"solver": ("b", "a", "a"), "n": (10, 9, 100), "mcc": (0.1, float("nan"), -0.0)})


def bits(value: object) -> object:
    """Tell -0.0 from 0.0 and 1 from 1.0, and find all NaN equal."""
    return type(value), "nan" if value != value else repr(value)


@given(st.lists(st.tuples(VALUES, VALUES, st.floats()), max_size=6))
def test_a_written_table_reads_back_with_the_same_types_and_bits(tmp_path_factory, rows):
    table = Table.of_rows(["a b", 'comma,"', "x"], rows)
    path = table.write(tmp_path_factory.mktemp("t") / "t.csv")
    again = Table.read(path)
    assert list(again.columns) == list(table.columns)
    assert [[bits(v) for v in row.values()] for row in again.rows()] == [[bits(v) for v in row] for row in rows]
    assert again == table
    assert again.write(path.with_name("second.csv")).read_bytes() == path.read_bytes()


@given(VALUES)
def test_a_table_of_one_column_survives_a_missing_value_in_its_only_field(tmp_path_factory, value):
    table = Table({"only": (value, float("nan"))})
    assert Table.read(table.write(tmp_path_factory.mktemp("t") / "t.csv")) == table


@pytest.mark.parametrize(
    "text", ["", "1", "-2.5", "1e5", "nan", "inf", "Infinity", "1_000", " 7 ", "a\nb", "a\rb", "\0"]
)
def test_strings_that_csv_would_change_are_refused(text):
    with pytest.raises(ValueError, match="label"):
        check_value("label", text)


@pytest.mark.parametrize("value", [True, None, [1], 1j, np.bool_(True)])
def test_values_that_are_neither_words_nor_numbers_are_refused(value):
    with pytest.raises(TypeError, match="string or a number"):
        Table({"a": (value,)})


def test_numpy_scalars_become_plain_numbers():
    assert [type(v) for v in Table({"a": (np.float32(0.5), np.int64(3))}).values("a")] == [float, int]


def test_selecting_rows_compares_values_and_keeps_order():
    assert EXAMPLE.where(solver="a").values("n") == [9, 100]
    assert EXAMPLE.where(solver="a", n=9.0).values("n") == [9]
    assert len(EXAMPLE.where(solver="none")) == 0
    assert list(EXAMPLE.where(solver="none").columns) == ["solver", "n", "mcc"]


def test_numbers_sort_by_size_before_words_and_missing_values_come_after_numbers():
    assert EXAMPLE.sorted(by=["solver", "n"]).values("n") == [9, 100, 10]
    mixed = Table({"a": ("z", 10, 9.5, "b", float("nan"), float("-inf"))})
    assert [str(v) for v in mixed.sorted("a").values("a")] == ["-inf", "9.5", "10", "nan", "b", "z"]


@given(st.permutations(range(6)))
def test_sorting_forgets_the_order_of_distinct_rows(order):
    rows = [("b", 2), ("b", 10), ("a", 1), ("a", -1), ("c", 0.5), ("a", 3)]
    expected = Table.of_rows(["l", "n"], sorted(rows))
    assert Table.of_rows(["l", "n"], [rows[i] for i in order]).sorted(["l", "n"]) == expected


def test_levels_come_in_order_of_first_appearance():
    assert EXAMPLE.levels("solver") == ["b", "a"]


def test_a_numeric_column_is_an_array_and_a_column_of_words_is_refused():
    assert np.array_equal(EXAMPLE.column("mcc"), [0.1, np.nan, 0.0], equal_nan=True)
    with pytest.raises(TypeError, match=r"values\('solver'\)"):
        EXAMPLE.column("solver")


@pytest.mark.parametrize(
    "ask", [Table.values, Table.column, Table.levels, Table.sorted, lambda t, n: t.where(**{n: 1})]
)
def test_a_missing_column_is_named_with_those_that_exist(ask):
    with pytest.raises(ValueError, match=r"no column 'fvu'; it has solver, n, mcc"):
        ask(EXAMPLE, "fvu")


def test_ragged_tables_are_refused(tmp_path):
    with pytest.raises(ValueError, match="equal lengths"):
        Table({"a": (1,), "b": ()})
    path = tmp_path / "t.csv"
    for text, message in [("a,b\n1\n", "row 2"), ("a,a\n", "distinct"), ("", "header")]:
        path.write_text(text)
        with pytest.raises(ValueError, match=message):
            Table.read(path)


def test_an_interrupted_write_leaves_the_old_table_and_no_draft(tmp_path, monkeypatch):
    path = EXAMPLE.write(tmp_path / "t.csv")
    before = path.read_bytes()

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        EXAMPLE.where(solver="a").write(path)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["t.csv"]


def test_reading_a_table_needs_neither_torch_nor_numba():
    code = "from sparsesim.study import Table; import sys; print({'torch', 'numba', 'sklearn'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
