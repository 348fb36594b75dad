"""Workers and drivers that die at any moment: nothing is lost, nothing is done twice, poison is given up."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field, replace
from types import SimpleNamespace

import pytest

from sparsesim.study import Local, Store, StudyFailedError, fsck, retry, run, status, study_keys, table
from sparsesim.study.engine import Chunk, ChunkDone, ChunkLost
from sparsesim.study.policy import Policy
from sparsesim.study.run import Died, Failed
from sparsesim.study.store import DamagedSegmentWarning
from tests.study import toy_cells as toy
from tests.study.test_run import log as log

PAIR = Local(2)


@dataclass(eq=False)
class Fragile:
    """An engine in this process whose worker dies, before it evaluates it, on each cell of ``poison`` so many times."""

    poison: dict[str, int]
    seen: list[tuple[int, ...]] = field(default_factory=list)
    workers: int = 2
    chunk_seconds: float = 5.0

    def run(self, chunks, work):
        for chunk in chunks:
            self.seen.append(tuple(item.cell.seed for unit in chunk.items for item in unit.items))
            for index, unit in enumerate(chunk.items):
                name = str(unit.items[0].cell.seed)
                if self.poison.get(name, 0):
                    self.poison[name] -= 1
                    work(Chunk(chunk.items[:index]))
                    yield ChunkLost(chunk, "killed")
                    break
            else:
                work(chunk)
                yield ChunkDone(chunk)


def rows_written(store):
    """Return how many rows each key has on disk, equal ones counted too."""
    return Counter(record.key for record in store.tail().new(last=True) if record.kind == "row")


def test_only_the_cell_that_the_worker_was_on_is_blamed_and_runs_alone_at_the_end(tmp_path):
    store, events = Store(tmp_path), []
    engine = Fragile({"3": 2, "5": 1})
    run(toy.draws(12), store, engine=engine, policy=Policy(chunk_size=6), on_event=events.append)
    keys = {label[1][1]: key for label, key in study_keys(toy.draws(12)).items()}
    assert store.index().dead() == {}  # they have rows now
    deaths = Counter(record.key for record in store.tail().new() if record.kind == "death")
    assert deaths == {keys[3]: 2, keys[5]: 1}
    assert [(event.labels[1][1], event.deaths) for event in events if isinstance(event, Died)].count((3, 2)) == 1
    suspects = [cells for cells in engine.seen if 3 in cells or 5 in cells]
    assert [cells for cells in suspects if len(cells) == 1][-1] == engine.seen[-1] and len(engine.seen[-1]) == 1
    assert set(rows_written(store).values()) == {1} and len(rows_written(store)) == 12
    assert table(toy.draws(12), store) == run(toy.draws(12), tmp_path / "t", engine="inline")


def test_deaths_are_counted_over_runs_and_drivers_until_the_cell_is_given_up(tmp_path):
    study, store = toy.draws(4), Store(tmp_path)
    poison = next(key for label, key in study_keys(study).items() if label[1][1] == 2)
    store.append_death(poison, "another driver saw it")
    engine = Fragile({"2": 99})
    for left in (97, 97):  # two more deaths in the first run; the second does not touch it
        with pytest.raises(StudyFailedError, match=r"1 of 4 cells .* failed") as caught:
            run(study, store, engine=engine)
        (failure,) = caught.value.failures.values()
        assert failure.exc_type == "WorkerDiedError" and "sparsesim retry" in str(caught.value)
        assert engine.poison["2"] == left and len(table(study, store)) == 3
    assert status(store).given_up == [poison]
    assert retry(store) == [poison]
    engine.poison["2"] = 2
    assert len(run(study, store, engine=engine)) == 4


def test_a_cell_that_may_die_once_is_given_up_at_once(tmp_path):
    with pytest.raises(StudyFailedError, match="1 times"):
        run(toy.draws(3), tmp_path, engine=Fragile({"1": 9}), policy=Policy(deaths=1))


def test_where_every_worker_dies_the_run_ends_and_blames_no_cell_for_good(tmp_path):
    study = toy.draws(300)
    engine = Fragile(dict.fromkeys(map(str, range(300)), 999))
    with pytest.raises(StudyFailedError, match="20 workers in a row died"):
        run(study, tmp_path, engine=engine)
    assert len(engine.seen) == 20 and status(Store(tmp_path)).given_up == []


def test_what_another_driver_has_done_meanwhile_is_not_sent(tmp_path):
    study, store = toy.draws(20), Store(tmp_path)

    class Meeting(Fragile):
        def run(self, chunks, work):
            for count, state in enumerate(super().run(chunks, work)):
                if not count:  # after the first chunk the rest is done elsewhere
                    run(study, Store(tmp_path), engine="inline")
                yield state

    engine = Meeting({})
    run(study, store, engine=engine)
    assert len(engine.seen) == 1 and set(rows_written(store).values()) == {1}


def test_a_worker_killed_once_is_replaced_and_a_poison_cell_is_tried_three_times(tmp_path, log):
    study = toy.extended(6, killer=toy.KillsWorker(str(tmp_path / "marker")), poison=toy.KillsWorker())
    events = []
    with pytest.raises(StudyFailedError, match=r"1 of 8 cells") as caught:
        run(study, tmp_path / "s", engine=PAIR, on_event=events.append, policy=Policy(chunk_size=4))
    (label,) = caught.value.failures
    assert dict(label)["kind"] == "poison" and "'kind': 'poison'" in str(caught.value)
    assert caught.value.failures[label].exc_type == "WorkerDiedError"
    assert log().count("kills") == 2 + 3  # once dead and once well, and three times
    assert [event.deaths for event in events if isinstance(event, Died) and event.labels == label] == [1, 2]
    assert sum(isinstance(event, Failed) for event in events) == 1
    assert set(rows_written(Store(tmp_path / "s")).values()) == {1}
    found, expected = table(study, tmp_path / "s"), run(toy.draws(6), tmp_path / "t", engine="inline")
    assert found.where(kind="killer").values("total") == [2.0] and found.where(kind="k0") == expected.where(kind="k0")


def test_a_worker_that_dies_while_it_has_nothing_to_do_costs_nothing(log):
    chunks = [Chunk((toy.Napping(index, 0.0),)) for index in range(4)]

    def fed():
        for number, chunk in enumerate(chunks):
            if number:  # the worker waits for it
                os.kill(int(log()[-1].split()[0]), signal.SIGKILL)
                time.sleep(1.0)
            yield chunk

    states = list(Local(1).run(fed(), toy.evaluate_all))
    assert [type(state) for state in states if state] == [ChunkDone] * 4 and len(log()) == 4


def test_rows_that_a_disk_shows_late_are_waited_for_and_those_that_never_come_are_named(tmp_path, monkeypatch):
    study, late = toy.draws(4), []

    class Elsewhere(Fragile):
        """Says at once that all is done; the rows appear a while later, or never."""

        def run(self, chunks, work):
            chunks = list(chunks)
            if not late:
                late.append(threading.Timer(1.0, lambda: [work(chunk) for chunk in chunks]))
                late[0].start()
            yield from map(ChunkDone, chunks)

    assert len(run(study, tmp_path / "s", engine=Elsewhere({}))) == 4
    late[0].join()
    monkeypatch.setattr("sparsesim.study.crew.SETTLE", 0.1)
    with pytest.raises(StudyFailedError, match="not in the store, though the engine reported no failure"):
        run(study, tmp_path / "t", engine=Elsewhere({}))


def test_a_cell_that_hangs_in_c_is_killed_at_its_timeout_and_says_where_it_hung(tmp_path):
    study = toy.extended(6, hang=toy.Hangs())
    with pytest.raises(StudyFailedError, match=r"1 of 7 cells .* failed") as caught:
        run(study, tmp_path, engine=PAIR, policy=Policy(timeout=4.0, chunk_size=4))
    (failure,) = caught.value.failures.values()
    assert failure.exc_type == "CellTimeout" and "longer than 4 s" in failure.message
    assert "toy_cells.py" in failure.traceback and "evaluate" in failure.traceback
    assert len(table(study, tmp_path)) == 6 and list((tmp_path / "traces").iterdir()) == []
    assert status(Store(tmp_path)).deaths == {}  # slow is not deadly: the next run tries it again


def test_a_timeout_needs_a_worker_to_kill(tmp_path):
    with pytest.raises(ValueError, match="engine='local:1'"):
        run(toy.draws(1), tmp_path, engine="inline", policy=Policy(timeout=1.0))
    for wrong in (
        {"timeout": 0.0},
        {"timeout": 1e12},
        {"timeout": float("nan")},
        {"deaths": 0},
        {"chunk_size": 0},
    ):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            Policy(**wrong)


def killed_at_random(tmp_path, log, count, kills, pause):
    """Run naps while a thread kills the worker that began last, ``kills`` times; return the table."""
    over, killed = threading.Event(), []
    draw = random.Random(0)

    def kill():
        while len(killed) < kills and not over.wait(draw.uniform(0, 2 * pause)):
            begun = log()[-1:]
            pid = int(begun[0].split()[0]) if begun else 0
            if pid and pid not in killed:
                try:
                    os.kill(pid, signal.SIGKILL)
                    killed.append(pid)
                except ProcessLookupError:
                    pass

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        # So many deaths are bad luck here, and no cell's fault.
        found = run(toy.naps(count, pause), tmp_path / "s", engine=PAIR, policy=Policy(deaths=kills + 1))
    finally:
        over.set()
        thread.join()
    return found, killed


def check_nothing_lost(tmp_path, log, found, killed):
    store = Store(tmp_path / "s")
    assert set(rows_written(store).values()) == {1}  # exactly one row each
    deaths = sum(record.kind == "death" for record in store.tail().new(last=True))
    assert deaths <= len(killed)
    assert len(log()) <= len(found) + len(killed)  # nothing that was done was done again
    study = toy.naps(len(found), 0.0)
    quiet = run(study, tmp_path / "quiet", engine="inline")
    assert found == quiet  # to the last bit


def test_random_kills_of_workers_lose_nothing_and_repeat_nothing(tmp_path, log):
    found, killed = killed_at_random(tmp_path, log, count=24, kills=2, pause=0.1)
    assert len(killed) == 2
    check_nothing_lost(tmp_path, log, found, killed)


@pytest.mark.slow
def test_fifty_random_kills_of_workers_lose_nothing_and_repeat_nothing(tmp_path, log):
    found, killed = killed_at_random(tmp_path, log, count=400, kills=50, pause=0.25)
    assert len(killed) == 50
    check_nothing_lost(tmp_path, log, found, killed)


@pytest.mark.slow
def test_a_driver_killed_ten_times_ends_with_the_rows_of_one_that_was_not(tmp_path, log):
    count, pause, draw = 120, 0.1, random.Random(1)
    arguments = [str(tmp_path / "s"), str(tmp_path / "s.csv"), "local:2", str(count), str(pause), "forwards"]
    for _ in range(10):
        before = len(log())
        process = subprocess.Popen([sys.executable, "-m", "tests.study.toy_cells", *arguments])
        while len(log()) < min(before + 2, count) and process.poll() is None:
            time.sleep(0.05)
        time.sleep(draw.uniform(0, 0.5))
        process.kill()
        process.wait()
        time.sleep(1.5)  # its workers notice within half a second
    store, begun = Store(tmp_path / "s"), len(log())
    done = len(store.keys())
    assert begun - 2 * 10 <= done  # a kill costs each of two workers the cell that it was on
    found = run(toy.draws(count, pause), store, engine=PAIR)
    assert len(log()) - begun == count - done and set(rows_written(store).values()) == {1}
    quiet = run(toy.draws(count), tmp_path / "quiet", engine="inline")
    assert found == quiet


@pytest.mark.skipif(os.name != "posix", reason="process groups are POSIX")
def test_ctrl_c_in_a_terminal_ends_all_processes_and_only_the_driver_speaks(tmp_path, log):
    code = (
        "import signal, sys; from sparsesim.study import run; from tests.study import toy_cells as toy\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # ignored where tests run in the background
        "try: run(toy.naps(60, 0.3), sys.argv[1], engine='local:2')\n"
        "except KeyboardInterrupt: print('interrupted'); sys.exit(130)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "s")],
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while len({line.split()[0] for line in log()}) < 2:  # both workers are at work
        assert process.poll() is None
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the driver and all its workers
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130 and out == "interrupted\n" and "Traceback" not in err
    begun = log()
    for pid in {int(line.split()[0]) for line in begun}:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    done = len(Store(tmp_path / "s").keys())
    assert len(begun) - 2 <= done < 60
    study = toy.naps(60, 0.3)
    skipped = {label: cell for label, cell in study.cells.items() if cell.seed >= 56}
    run(replace(study, cells=skipped), tmp_path / "s", engine="inline")  # a part is enough to see that it goes on
    again = Counter(int(line.split()[1]) for line in log()[len(begun) :])
    assert max(again.values(), default=0) <= 1
    assert not set(again) & {record.provenance["labels"]["seed"] for record in early(tmp_path, done)}


def early(tmp_path, done):
    """Return the first ``done`` rows of a store by their time."""
    rows = [record for record in Store(tmp_path / "s").tail().new(last=True) if record.kind == "row"]
    return sorted(rows, key=lambda record: record.provenance["time"])[:done]


def test_a_group_dies_and_is_given_up_as_one(tmp_path):
    from sparsesim.study.crew import Crew, Watch
    from sparsesim.study.roster import Roster
    from sparsesim.study.work import Item, Unit

    study, store = toy.draws(3), Store(tmp_path)
    keys = {key: label for label, key in study_keys(study).items()}
    watch = Watch(store.tail(), Roster(list(keys.values()), keys), lambda event: None)
    watch.begin(study, store)
    crew = Crew(study, store, Policy(deaths=1), watch, {})
    unit = Unit(tuple(Item(key, label, study.cells[label]) for key, label in keys.items()))
    crew._lost(ChunkLost(Chunk((unit,)), "killed"), SimpleNamespace(again=list))
    assert set(store.index().dead()) == set(keys) and set(store.failures()) == set(keys)


@pytest.mark.skipif(os.name != "posix", reason="limits on file size are POSIX")
def test_a_full_disk_ends_the_run_with_a_clear_error_and_it_goes_on_when_there_is_room(tmp_path):
    study = toy.extended(4, full=toy.FillsDisk(str(tmp_path / "marker")))
    with pytest.raises(OSError, match=r"cannot write to the store .* Free space or choose another path"):
        run(study, tmp_path / "s", engine=Local(1), policy=Policy(chunk_size=5))
    store = Store(tmp_path / "s")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DamagedSegmentWarning)  # the torn line
        assert len(run(study, store, engine="inline")) == 5
        assert set(rows_written(store).values()) == {1}
    assert fsck(store, repair=True).sound and len(store.load()) == 5


def test_clocks_that_disagree_change_no_row_and_lose_no_record(tmp_path, monkeypatch):
    from sparsesim.study import work

    store, study = Store(tmp_path / "s"), toy.draws(6)
    for year, part in (("2999", 3), ("1970", 6)):  # the second driver's clock is a thousand years behind
        monkeypatch.setattr(work, "provenance", lambda year=year: {"time": f"{year}-01-01T00:00:00+00:00"})
        with suppress(StudyFailedError):
            run(toy.extended(part, bad=toy.Raises()), store, engine="inline")
    assert table(study, store) == run(study, tmp_path / "t", engine="inline")
    assert len(store.failures()) == 1 and len(retry(store)) == 1 and store.failures() == {}


@dataclass(eq=False)
class Stopped(Fragile):
    """An engine whose first worker dies after ``done`` cells of its chunk, having left a stack for the ``at``-th."""

    store: Store | None = None
    done: int = 2
    at: int = 1

    def run(self, chunks, work):
        first = next(chunks)
        work(Chunk(first.items[: self.done]))
        traces = self.store.path / "traces"
        traces.mkdir(exist_ok=True)
        (traces / f"{first.items[self.at].keys[0]}-0.txt").write_text("Thread 0x1 (most recent call first)")
        yield ChunkLost(first, "killed")
        yield from super().run(chunks, work)


def test_a_cell_whose_time_is_up_when_its_row_is_stored_blames_nobody(tmp_path):
    store = Store(tmp_path)
    found = run(toy.draws(6), store, engine=Stopped({}, store=store), policy=Policy(timeout=60.0, chunk_size=6))
    assert len(found) == 6 and list((tmp_path / "traces").iterdir()) == []
    assert {record.kind for record in store.tail().new()} == {"row"}


def test_a_stack_that_an_earlier_run_left_makes_no_timeout_where_there_is_none(tmp_path):
    store, events = Store(tmp_path), []
    engine = Stopped({}, store=store, done=2, at=2)
    found = run(toy.draws(6), store, engine=engine, policy=Policy(chunk_size=6), on_event=events.append)
    assert len(found) == 6 and [event.deaths for event in events if isinstance(event, Died)] == [1]


def test_a_retry_amid_a_run_leaves_that_run_its_reasons_and_the_next_one_the_cells(tmp_path, monkeypatch):
    study, store, events = toy.extended(3, bad=toy.Raises()), Store(tmp_path), []

    def seen(event):
        events.append(event)
        if isinstance(event, Failed):
            assert len(retry(Store(tmp_path))) == 1

    with pytest.raises(StudyFailedError) as caught:
        run(study, store, engine="inline", on_event=seen)
    (failure,) = caught.value.failures.values()
    assert failure.exc_type == "ValueError" and sum(isinstance(event, Failed) for event in events) == 1
    assert store.failures() == {}
    monkeypatch.setenv("TOY_FIXED", "1")
    assert len(run(study, store, engine="inline")) == 4


def test_an_exception_that_cannot_be_told_fails_its_cell_alone(tmp_path):
    study = toy.extended(3, bad=toy.Unspeakable())
    with pytest.raises(StudyFailedError, match=r"1 of 4 cells .* failed") as caught:
        run(study, tmp_path, engine="inline")
    (failure,) = caught.value.failures.values()
    assert (failure.exc_type, failure.message) == ("Mute", "its message cannot be made: RuntimeError")
    assert len(table(study, tmp_path)) == 3
