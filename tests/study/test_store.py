from __future__ import annotations

import json
import math
import os
import pickle
import resource
import subprocess
import sys
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsesim.study import Store, StoreConflictError
from sparsesim.study.store import DamagedSegmentWarning, Failure, StoreSchemaError

ROWS = st.dictionaries(st.text(max_size=6), st.one_of(st.floats(), st.integers(), st.text(max_size=6)), max_size=4)


def filled(path, count=5):
    with Store(path) as store:
        for index in range(count):
            store.append(f"key{index}", {"status": "done", "x": index / 3})
    return store


def segment(store):
    (path,) = (store.path / "segments").iterdir()
    return path


def same(a, b):
    return type(a) is type(b) and ((a == b and str(a) == str(b)) or (a != a and b != b))


@given(ROWS)
def test_rows_read_back_bit_for_bit(tmp_path_factory, row):
    with Store(tmp_path_factory.mktemp("s")) as store:
        store.append("k", row, {"nested": {"inf": math.inf, "list": (1, math.nan)}})
    back = store.load()["k"]
    assert back.keys() == row.keys()
    assert all(same(back[name], row[name]) for name in row)


def test_a_line_is_its_checksum_and_canonical_json(tmp_path):
    store = filled(tmp_path, 1)
    checksum, body = segment(store).read_bytes().rstrip(b"\n").split(b" ", 1)
    assert int(checksum, 16) == zlib.crc32(body)
    text = json.dumps(json.loads(body), sort_keys=True, separators=(",", ":"))
    assert text.encode() == body


def test_an_empty_or_absent_store_has_no_rows(tmp_path):
    store = Store(tmp_path / "absent")
    assert store.load() == {} and store.keys() == set() and store.failures() == {}
    assert not (tmp_path / "absent").exists()


@pytest.mark.parametrize("cut", [1, 2, 9, 30])
def test_a_torn_last_line_costs_that_row_only(tmp_path, cut):
    store = filled(tmp_path)
    data = segment(store).read_bytes()
    segment(store).write_bytes(data[: len(data) - cut])
    if cut == 1:  # only the newline is missing: the checksum proves that the row is whole
        assert len(store.load()) == 5
        return
    with pytest.warns(DamagedSegmentWarning, match=r"^1 torn or corrupt line"):
        assert store.keys() == {f"key{index}" for index in range(4)}


def test_every_single_flipped_bit_is_noticed(tmp_path):
    store = filled(tmp_path, 2)
    data = segment(store).read_bytes()
    for position in range(len(data)):
        flipped = bytearray(data)
        flipped[position] ^= 1
        segment(store).write_bytes(flipped)
        with pytest.warns(DamagedSegmentWarning):
            rows = store.load()
        # A flipped newline joins two lines; everything else damages one. No row is ever read wrongly.
        assert len(rows) <= 1 and all(rows[key]["x"] == int(key[3:]) / 3 for key in rows)


# Spaces are nothing that could be lost: `fsck` leaves them where a line was.
@given(st.binary(min_size=1, max_size=60).filter(lambda data: data.strip(b" \n")))
def test_garbage_and_zeros_after_the_rows_are_skipped_and_counted(tmp_path_factory, garbage):
    store = filled(tmp_path_factory.mktemp("s"))
    with open(segment(store), "ab") as file:
        file.write(garbage)
    with pytest.warns(DamagedSegmentWarning, match=segment(store).name):
        assert len(store.load()) == 5


def test_a_zero_filled_tail_is_skipped(tmp_path):
    store = filled(tmp_path)
    with open(segment(store), "ab") as file:
        file.write(bytes(4096))
    with pytest.warns(DamagedSegmentWarning, match=r"^1 torn"):
        assert len(store.load()) == 5


def test_intact_json_of_another_shape_is_damage_and_not_a_crash(tmp_path):
    store = filled(tmp_path)
    bodies = [b"[]", b"3", b"{}", b'{"schema":"x"}', b'{"schema":1,"kind":"row"}', b'{"schema":1,"kind":"failure"}']
    with open(segment(store), "ab") as file:
        for body in bodies:
            file.write(b"%08x %s\n" % (zlib.crc32(body), body))
    with pytest.warns(DamagedSegmentWarning, match=rf"^{len(bodies)} torn"):
        assert len(store.load()) == 5


def test_equal_duplicates_are_one_row_and_their_provenance_does_not_count(tmp_path):
    for seconds in (1.0, 2.0):
        with Store(tmp_path) as store:
            store.append("k", {"x": math.nan, "y": -0.0}, {"seconds": seconds})
    assert len(list((tmp_path / "segments").iterdir())) == 2
    assert store.keys() == {"k"}


@pytest.mark.parametrize(("one", "other"), [(0.1, 0.1 + 2**-56), (0.0, -0.0), (math.nan, 1.0), (1, 1.0)])
def test_another_row_for_the_same_key_is_an_error_that_shows_both(tmp_path, one, other):
    for value in (one, other):
        with Store(tmp_path) as store:
            store.append("k", {"x": value})
    with pytest.raises(StoreConflictError) as caught:
        store.load()
    names = [path.name for path in (tmp_path / "segments").iterdir()]
    assert all(word in str(caught.value) for word in ["key k", *names])


def test_a_failure_is_remembered_but_never_counts_as_done(tmp_path):
    with Store(tmp_path) as store:
        store.append_failure("k", Failure("ValueError", "old", "..."), {"time": "2020"})
        store.append_failure("k", Failure("ValueError", "new", "..."), {"time": "2021"})
        store.append_failure("fixed", Failure("ValueError", "old", "..."))
        store.append("fixed", {"x": 1.0})
    assert store.keys() == {"fixed"}
    assert store.failures() == {"k": Failure("ValueError", "new", "...")}


def test_a_newer_schema_is_refused(tmp_path):
    store = filled(tmp_path)
    body = b'{"schema":99,"something":"else"}'
    with open(segment(store), "ab") as file:
        file.write(b"%08x %s\n" % (zlib.crc32(body), body))
    with pytest.raises(StoreSchemaError, match="schema 99"):
        store.load()


@pytest.mark.parametrize("value", [1.0, "word", float("nan")])
def test_the_name_that_stands_for_nan_is_refused_alone_and_no_other_name_is(tmp_path, value):
    with Store(tmp_path) as store:
        with pytest.raises(ValueError, match=r"\$float"):
            store.append("k", {"$float": value})
        store.append("k", {"$float": value, "x": 1.0}, {"labels": {"$float": "word", "y": 2}})
    (record,) = store.tail().new()
    assert same(store.load()["k"]["$float"], value) and record.provenance["labels"]["$float"] == "word"


def test_a_folder_that_is_named_like_a_segment_is_none(tmp_path):
    store = filled(tmp_path)
    (tmp_path / "segments" / "old.jsonl").mkdir()
    (tmp_path / "segments" / "gone.jsonl").symlink_to(tmp_path / "nowhere")
    assert len(store.load()) == 5


@pytest.mark.parametrize("value", [None, True, [1.0], {"a": 1}, 1j])
def test_a_row_of_anything_but_words_and_numbers_is_refused(tmp_path, value):
    with pytest.raises(TypeError, match="strings, ints and floats"):
        Store(tmp_path).append("k", {"x": value})


def test_writers_never_share_a_segment(tmp_path):
    first, second = Store(tmp_path), Store(tmp_path)
    for index in range(10):
        (first if index % 2 else second).append(f"k{index}", {"x": 1.0})
    first.close(), second.close()
    assert len(list((tmp_path / "segments").iterdir())) == 2
    assert len(first.load()) == 10
    first.append("later", {"x": 1.0})
    first.close()
    assert len(list((tmp_path / "segments").iterdir())) == 3


def test_copies_that_arrive_in_one_process_share_a_writer(tmp_path):
    data = pickle.dumps(Store(tmp_path))
    assert pickle.loads(data) is pickle.loads(data)


def test_a_forked_child_writes_its_own_segment(tmp_path):
    store = Store(tmp_path)
    store.append("parent", {"x": 1.0})
    pid = os.fork()
    if not pid:
        store.append("child", {"x": 2.0})
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    store.append("parent again", {"x": 1.0})
    store.close()
    assert sorted(len(path.read_bytes().splitlines()) for path in (tmp_path / "segments").iterdir()) == [1, 2]
    assert len(store.load()) == 3


def test_a_path_that_cannot_hold_a_store_is_a_clear_error(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match=r"cannot write to the store .*choose another path"):
        Store(tmp_path / "file" / "store").append("k", {"x": 1.0})


@pytest.mark.skipif(os.name != "posix", reason="limits on file size are POSIX")
def test_a_full_disk_is_a_clear_error_and_what_was_stored_stays_readable(tmp_path):
    code = (
        "import resource, sys; from sparsesim.study import Store\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, (1000, {resource.getrlimit(resource.RLIMIT_FSIZE)[1]}))\n"
        "store = Store(sys.argv[1]); index = 0\n"
        "try:\n"
        "    while True: store.append(f'key{index}', {'x': index / 3}); index += 1\n"
        "except OSError as error: print(index, error)\n"
        "store.append('after', {'x': 1.0})\n"  # room again, as in another file: not glued to the torn line
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    count, _, message = done.stdout.partition(" ")
    assert "cannot write to the store" in message
    with pytest.warns(DamagedSegmentWarning):
        assert Store(tmp_path).keys() == {"after", *(f"key{index}" for index in range(int(count)))}


def test_a_tail_yields_each_complete_record_once(tmp_path):
    store = Store(tmp_path)
    tail = store.tail()
    assert list(tail.new()) == []
    store.append("a", {"x": 1.0})
    assert [record.key for record in tail.new()] == ["a"]
    path = segment(store)
    line = path.read_bytes().replace(b'"a"', b'"b"')
    body = line.split(b" ", 1)[1].rstrip(b"\n")
    line = b"%08x %s\n" % (zlib.crc32(body), body)
    with open(path, "ab") as file:
        file.write(line[:20])
    assert list(tail.new()) == []
    with open(path, "ab") as file:
        file.write(line[20:])
    assert [record.key for record in tail.new()] == ["b"] and not tail.damaged
