"""What `status` counts, what `retry` clears, and that `fsck` sets aside what is wrong and nothing else."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsesim.cli import main
from sparsesim.study import Store, StoreConflictError
from sparsesim.study.store import DamagedSegmentWarning, Failure
from sparsesim.study.upkeep import fsck, retry, status


def filled(path, count=5, prefix="key"):
    with Store(path) as store:
        for index in range(count):
            store.append(f"{prefix}{index}", {"status": "done", "x": index / 3}, {"study": "toy"})
    return store


def segments(store):
    return sorted((store.path / "segments").iterdir())


def aside(store):
    """Return what was set aside, as bytes."""
    lines = [line for path in (store.path / "aside").glob("*.jsonl") for line in path.read_bytes().splitlines()]
    return [base64.b64decode(json.loads(line)["base64"]) for line in lines]


def test_status_counts_rows_by_study_and_status_failures_deaths_and_damage(tmp_path):
    filled(tmp_path)
    with Store(tmp_path) as store:
        store.append("key0", {"status": "done", "x": 0.0}, {"study": "toy"})  # an equal duplicate is no second row
        store.append("odd", {"status": "diverged", "x": float("nan"), "study": "a metric"}, {"study": "other"})
        store.append_failure("bad", Failure("ValueError", "no", "..."))
        for key, count in (("poison", 3), ("unlucky", 1), ("key1", 2)):  # key1 has a row: its deaths are history
            for _ in range(count):
                store.append_death(key, "killed", {"labels": {"seed": key}})
    with open(segments(store)[0], "ab") as file:
        file.write(b"torn")
    found = status(store)
    assert found.rows == {("toy", "done"): 5, ("other", "diverged"): 1}
    assert found.failures == {"ValueError": 1} and found.deaths == {"poison": 3, "unlucky": 1}
    assert found.given_up == ["poison"] and found.damaged == 1 and found.segments == 2
    assert found.size == sum(path.stat().st_size for path in segments(store))
    for words in (
        "6 rows in 2 segment",
        "toy: 5 done",
        "1 in ValueError",
        "2 cell(s), 1 of them",
        "3 death(s): {'seed': 'poison'}",
        "1 torn",
    ):
        assert words in str(found)


@given(
    st.dictionaries(st.text(max_size=8), st.one_of(st.floats(), st.text(max_size=30), st.integers()), max_size=4),
    st.dictionaries(st.text(max_size=8), st.text(max_size=30), max_size=3),
)
def test_a_row_is_told_from_its_provenance_without_decoding(tmp_path_factory, row, labels):
    """Hypothesis draws names and words with quotes and braces; the row's text is that of the full decoding."""
    from sparsesim.study.lines import canonical_text

    beside = {"labels": {**labels, "study": '},"row":{"x":1},"schema":1}'}, "study": "toy", "time": '},"row":{'}
    with Store(tmp_path_factory.mktemp("s")) as store:
        store.append("k", {**row, "status": "done", "row": float("inf")}, beside)
    (record,) = store.tail().new()
    assert record.text == canonical_text(record.payload["row"]) and record.provenance == beside
    assert (record.word("study"), record.word("status"), record.word("nothing")) == ("toy", "done", "")


WORDS = st.text(st.sampled_from('ae{}",:\\\x00\u00e9\ud800'), max_size=6)
NAMES = st.one_of(WORDS, st.sampled_from(["study", '"study', "\\study", "status", '"status', "row", "x"]))


@given(
    st.dictionaries(NAMES, st.one_of(st.floats(), WORDS, st.integers(-(2**70), 2**70)), max_size=5),
    st.dictionaries(NAMES, st.one_of(WORDS, st.floats(), st.dictionaries(NAMES, WORDS, max_size=3)), max_size=5),
)
def test_what_is_read_without_decoding_is_what_decoding_gives(tmp_path_factory, row, beside):
    with Store(tmp_path_factory.mktemp("s")) as store:
        store.append("k", row, beside)
    (record,) = store.tail().new()
    whole = json.loads(record.body)
    for name, place in (("study", whole["provenance"]), ("status", whole["row"])):
        assert record.word(name) == (place.get(name) if isinstance(place.get(name), str) else "")


@pytest.mark.slow
def test_a_hundred_thousand_rows_are_counted_in_two_seconds(tmp_path):
    from sparsesim.study.lines import encoded
    from sparsesim.study.provenance import provenance

    beside = {**provenance(), "study": "toy", "seconds": 0.1, "labels": {"world": "flat", "seed": 0}}
    (tmp_path / "segments").mkdir()
    with open(tmp_path / "segments" / "0.jsonl", "wb") as file:
        for index in range(100_000):
            row = {"status": "done", **{f"metric_{j}": (7 * index + j) / 3 for j in range(20)}}
            file.write(encoded("row", f"{index:064x}", {"row": row, "provenance": beside}))
    began = time.process_time()  # of this process: what others compute meanwhile does not count
    found = status(Store(tmp_path))
    assert time.process_time() - began < 2.0
    assert found.rows == {("toy", "done"): 100_000} and found.size > 1e8


def test_retry_clears_failures_and_deaths_of_what_is_not_done_and_only_those_before_it(tmp_path):
    with Store(tmp_path) as store:
        store.append_failure("bad", Failure("ValueError", "no", "..."), {"time": "2999"})  # a clock that is ahead
        store.append_death("poison", "killed")
        store.append_failure("fixed", Failure("ValueError", "no", "..."))
        store.append("fixed", {"x": 1.0})
    assert retry(store) == ["bad", "poison"]
    assert store.failures() == {} and store.index().dead() == {}
    assert retry(store) == []
    with Store(tmp_path) as store:
        store.append_failure("bad", Failure("KeyError", "again", "..."), {"time": "2001"})
        store.append_death("poison", "killed")
    assert store.failures() == {"bad": Failure("KeyError", "again", "...")} and store.index().dead() == {"poison": 1}


def test_a_sound_store_is_left_as_it_is(tmp_path):
    store = filled(tmp_path)
    before = segments(store)[0].read_bytes()
    health = fsck(store, repair=True)
    assert health.sound and health.records == 5 and not health.flaws and not (tmp_path / "aside").exists()
    assert segments(store)[0].read_bytes() == before


DAMAGES = {
    "torn line": lambda data: data[:-20],
    "zeros": lambda data: data + bytes(4096),
    "corrupt line": lambda data: data[:30] + b"?" + data[31:],
}


@pytest.mark.parametrize("reason", DAMAGES)
def test_damage_is_named_set_aside_once_and_costs_no_intact_row(tmp_path, reason):
    store = filled(tmp_path)
    path = segments(store)[0]
    data = DAMAGES[reason](path.read_bytes())
    path.write_bytes(data)
    health = fsck(store)
    assert [flaw.reason for flaw in health.flaws] == [reason] and not health.sound and path.read_bytes() == data
    with pytest.warns(DamagedSegmentWarning):
        rows = store.load()
    assert fsck(store, repair=True).sound
    assert store.load() == rows
    assert aside(store) == [health.flaws[0].content] and fsck(store).sound
    assert fsck(store, repair=True).flaws == () and len(aside(store)) == 1


@pytest.mark.filterwarnings("error")
def test_after_a_repair_nothing_is_damaged(tmp_path):
    store = filled(tmp_path)
    with open(segments(store)[0], "ab") as file:
        file.write(b"\0\0\0")
    fsck(store, repair=True)
    assert len(store.load()) == 5


def test_every_flipped_bit_costs_one_row_at_most_and_what_is_whole_is_salvaged(tmp_path):
    whole = filled(tmp_path / "whole", 2)
    data = segments(whole)[0].read_bytes()
    first = data.index(b"\n")
    for position in range(0, len(data), 3) if first % 3 == 0 else (*range(0, len(data), 3), first):
        store = filled(tmp_path / str(position), 1, prefix="other")
        path = store.path / "segments" / "0.jsonl"
        path.write_bytes(data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :])
        fsck(store, repair=True)
        rows = store.load()
        # A newline that is lost glues two whole lines, and both are found again; anything else is in one line.
        assert len(rows) == (3 if data[position : position + 1] == b"\n" else 2), position
        assert all(row["x"] == int(key[-1]) / 3 for key, row in rows.items())


def test_contradicting_rows_are_shown_both_and_set_aside_both(tmp_path):
    store = filled(tmp_path)
    filled(tmp_path, 2)  # equal duplicates contradict nothing
    with Store(tmp_path) as other:
        other.append("key1", {"status": "done", "x": 0.25})
    with pytest.raises(StoreConflictError, match="fsck --repair"):
        store.load()
    health = fsck(store, repair=True)
    shown = "\n".join(map(str, health.flaws))
    assert len(health.flaws) == 3 and '"x":0.25' in shown and '"x":0.3333333333333333' in shown
    assert store.load().keys() == {"key0", "key2", "key3", "key4"} and len(aside(store)) == 3


def damaged(data, lines, rng):
    """Return ``data`` after a few accidents, and which of its ``lines`` stand in it whole, between newlines."""
    for _ in range(rng.integers(1, 4)):
        at, size = rng.integers(0, len(data) + 1), rng.integers(1, 60)
        start = rng.integers(0, len(data) + 1)
        data = {
            0: data[:at],  # torn
            1: data[:at] + bytes(size) + data[at + size :],  # zeros over it
            2: data[:at] + bytes(size) + data[at:],  # zeros between
            3: data[:at] + rng.bytes(size) + data[at + size :],
            4: data[:at] + data[at + size :],  # a hole
            5: data[:at] + data[start : start + 3 * size] + data[at:],  # a block twice
            6: data[:at] + data[at:].replace(b"\n", rng.bytes(1), 1),  # two lines glued
        }[int(rng.integers(7))]
    return data, {number for number, line in enumerate(lines) if line in data.split(b"\n")}


@pytest.mark.filterwarnings("ignore::sparsesim.study.store.DamagedSegmentWarning")
def test_no_accident_loses_or_alters_a_whole_row_and_one_repair_is_enough(tmp_path):
    lines = segments(filled(tmp_path / "whole", 4))[0].read_bytes().splitlines()
    for seed in range(300):
        store, rng = Store(tmp_path / str(seed)), np.random.default_rng(seed)
        (store.path / "segments").mkdir(parents=True)
        data, whole = damaged(b"\n".join([*lines, b""]), lines, rng)
        (store.path / "segments" / "0.jsonl").write_bytes(data)
        before = store.load()
        assert before.keys() >= {f"key{number}" for number in whole}, seed
        assert fsck(store, repair=True).sound
        after, held = store.load(), {path: path.read_bytes() for path in store.path.rglob("*.jsonl")}
        assert after.keys() >= before.keys() and all(row["x"] == int(key[3]) / 3 for key, row in after.items()), seed
        health = fsck(store, repair=True)
        assert health.sound and not health.flaws and not health.salvaged, seed
        assert held == {path: path.read_bytes() for path in store.path.rglob("*.jsonl")}, seed


def glued(store, *keys_and_values):
    """Add a segment in which rows stand in one line, as when a newline is lost."""
    with Store(store.path / "apart") as other:
        for key, value in keys_and_values:
            other.append(key, {"status": "done", "x": value})
    data = segments(other)[0].read_bytes()
    (store.path / "segments" / "glued.jsonl").write_bytes(data[:-1].replace(b"\n", b"?") + b"\n")


def test_a_row_that_is_whole_within_damage_and_contradicts_another_is_not_brought_back(tmp_path):
    store = filled(tmp_path)
    glued(store, ("key1", 0.25), ("new", 0.5))
    health = fsck(store, repair=True)
    assert health.sound and len(health.salvaged) == 1 and len(health.flaws) == 2
    assert store.load().keys() == {"key0", "key2", "key3", "key4", "new"} and fsck(store).flaws == ()


def test_rows_that_contradict_one_that_is_in_use_wait_with_it(tmp_path):
    store = filled(tmp_path)
    with Store(tmp_path) as writer:
        writer.append("key1", {"status": "done", "x": 0.25})
        health = fsck(store, repair=True)
        assert not health.sound and len(health.waiting) == 2 and "set aside" not in str(health)
        with pytest.raises(StoreConflictError):
            store.load()
    assert fsck(store, repair=True).sound and store.load().keys() == {"key0", "key2", "key3", "key4"}


@pytest.mark.parametrize("moment", [1, 2, 3, 4])
def test_a_repair_that_is_killed_at_any_moment_is_ended_by_the_next(tmp_path, monkeypatch, moment):
    store = filled(tmp_path)
    with Store(tmp_path) as other:
        other.append("key1", {"status": "done", "x": 0.25})
    glued(store, ("new", 0.5), ("more", 0.5))
    calls, sync = [], os.fsync

    def killed(file):
        calls.append(file)
        if len(calls) == moment:
            raise KeyboardInterrupt
        sync(file)

    monkeypatch.setattr("sparsesim.study.upkeep.os.fsync", killed)
    with pytest.raises(KeyboardInterrupt):
        fsck(store, repair=True)
    monkeypatch.undo()
    assert fsck(store, repair=True).sound and fsck(store).flaws == ()
    assert store.load().keys() == {"key0", "key2", "key3", "key4", "new", "more"}


def test_folders_and_broken_links_among_the_segments_are_strays(tmp_path):
    store = filled(tmp_path)
    (tmp_path / "segments" / "old.jsonl").mkdir()
    (tmp_path / "segments" / "gone.jsonl").symlink_to(tmp_path / "nowhere")
    (tmp_path / "segments" / "empty.jsonl").touch()
    assert fsck(store, repair=True).strays == ("segments/gone.jsonl", "segments/old.jsonl")
    assert fsck(store).sound and len(store.load()) == 5 and status(store).segments == 2


def test_a_stack_that_is_gone_when_it_is_looked_at_is_no_error(tmp_path, monkeypatch):
    store = filled(tmp_path)
    traces = tmp_path / "traces"
    traces.mkdir()
    (traces / "k.txt").touch()
    for vanish in (True, False):  # before it is opened, and before it is moved
        monkeypatch.setattr("sparsesim.study.upkeep.lock", lambda file: not (traces / "k.txt").unlink())
        if vanish:
            monkeypatch.setattr("pathlib.Path.glob", lambda self, pattern: iter([traces / "gone.txt"]))
        assert fsck(store, repair=True).records == 5
        monkeypatch.undo()


def test_files_of_killed_processes_are_moved_and_those_in_use_are_not(tmp_path):
    store = filled(tmp_path)
    (tmp_path / "segments" / ".nfs000").write_bytes(b"x")
    (tmp_path / f".toy.csv.{'0' * 32}").write_text("half a table")
    (tmp_path / "toy.csv").write_text("a table")
    health = fsck(store, repair=True)
    assert health.strays == (f".toy.csv.{'0' * 32}", "segments/.nfs000")
    assert (tmp_path / "toy.csv").exists() and fsck(store).sound
    assert sorted(path.read_bytes() for path in (tmp_path / "aside").iterdir()) == [b"half a table", b"x"]


@pytest.mark.skipif(os.name != "posix", reason="only POSIX has these locks")
def test_a_segment_with_a_live_writer_is_left_alone(tmp_path):
    code = (
        "import sys; from sparsesim.study import Store; store = Store(sys.argv[1]); store.append('a', {'x': 1.0})\n"
        "store._file.write(b'half a li'); print('ready', flush=True); input(); store._abandon()\n"
        "store.append('b', {'x': 2.0}); store.close()"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], text=True, **pipes)
    assert process.stdout.readline() == "ready\n"
    store = Store(tmp_path)
    before = segments(store)[0].read_bytes()
    health = fsck(store, repair=True)
    assert health.busy == (segments(store)[0].name,) and not health.sound and "in use" in str(health)
    assert segments(store)[0].read_bytes() == before
    process.communicate("\n")
    assert fsck(store, repair=True).sound and store.load().keys() == {"a", "b"}


def test_the_command_line_tells_sound_from_damaged_and_says_what_it_did(tmp_path, capsys):
    store = filled(tmp_path / "store")
    assert main(["fsck", str(store.path)]) == 0 and "5 intact record(s)" in capsys.readouterr().out
    with open(segments(store)[0], "ab") as file:
        file.write(b"torn")
    assert main(["fsck", str(store.path)]) == 1 and "found: " in capsys.readouterr().out
    assert main(["fsck", str(store.path), "--repair"]) == 0 and "set aside: " in capsys.readouterr().out
    assert main(["status", str(store.path)]) == 0 and "5 rows in 1 segment" in capsys.readouterr().out
    store.append_failure("bad", Failure("ValueError", "no", "..."))
    store.close()
    assert main(["retry", str(store.path)]) == 0 and "1 cell(s) will run again" in capsys.readouterr().out
    assert main(["status", str(tmp_path / "nowhere")]) == 2 and "there is no store" in capsys.readouterr().err
