from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from sparsesim import Role, stream
from sparsesim.study import (
    Inline,
    Local,
    Store,
    StoreConflictError,
    Study,
    StudyFailedError,
    labels,
    make_engine,
    progress,
    run,
    study_keys,
    table,
)
from sparsesim.study.engine import Chunk, one_thread
from sparsesim.study.policy import Policy
from sparsesim.study.run import CellsDone, Failed, Finished, Started
from sparsesim.study.work import CodeChangedError
from tests.study import toy_cells as toy

PAIR = Local(2)


@pytest.fixture
def log(tmp_path, monkeypatch):
    """Give the lines that cells wrote while they were evaluated, in whatever process."""
    path = tmp_path / "executed.log"
    monkeypatch.setenv("TOY_LOG", str(path))
    return lambda: path.read_text().splitlines() if path.exists() else []


def toy_process(tmp_path, name, *, engine="inline", count=12, pause=0.0, order="forwards", hashseed="0"):
    arguments = [str(tmp_path / name), str(tmp_path / f"{name}.csv"), engine, str(count), str(pause), order]
    return subprocess.Popen(
        [sys.executable, "-m", "tests.study.toy_cells", *arguments], env={**os.environ, "PYTHONHASHSEED": hashseed}
    )


def test_the_table_is_labels_status_and_metrics_computed_by_hand(tmp_path):
    result = run(toy.draws(4), tmp_path, engine="inline")
    assert list(result.columns) == ["kind", "seed", "status", "total", "largest"]
    assert result.values("kind") == ["k0", "k0", "k1", "k1"] and result.values("seed") == [0, 2, 1, 3]
    assert result.levels("status") == ["done"]
    for row in result.rows():
        x = stream(row["seed"], Role.TRUTH).standard_normal((40, 120))
        # Sums of 1600 and spectra of order 300 in double precision agree far better than 1e-9, in whatever order.
        assert row["total"] == pytest.approx((x @ x.T).sum(), rel=1e-9)
        assert row["largest"] == pytest.approx(np.linalg.norm(x, 2) ** 2, rel=1e-9)


def test_fresh_processes_orders_hash_seeds_and_engines_give_the_same_bytes(tmp_path):
    variants = {
        "a": {"hashseed": "1"},
        "b": {"hashseed": "2", "order": "backwards"},
        "c": {"engine": "local:2", "hashseed": "3"},
    }
    for process in [toy_process(tmp_path, name, **options) for name, options in variants.items()]:
        assert process.wait() == 0
    texts = {(tmp_path / f"{name}.csv").read_bytes() for name in variants}
    assert len(texts) == 1 and texts.pop().count(b"\n") == 13


def test_a_driver_killed_midway_leaves_no_workers_and_only_the_missing_cells_run_again(tmp_path, log):
    count = 40
    process = toy_process(tmp_path, "s", engine="local:2", count=count, pause=0.05)
    while len(log()) < 8:
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    settled = -1
    while settled != len(log()):  # workers notice within half a second; a cell takes a twentieth
        settled = len(log())
        time.sleep(1.5)
    assert settled < count
    store = Store(tmp_path / "s")
    done = len(store.keys())
    assert 8 - 2 <= done <= settled <= done + 2  # two workers: at most one cell each begun and not stored
    run(toy.draws(count, pause=0.05), store, engine=PAIR)
    again = Counter(log()[settled:])
    assert sum(again.values()) == count - done and max(again.values()) == 1
    quiet = run(toy.draws(count, pause=0.05), tmp_path / "t", engine="inline")
    assert table(toy.draws(count, pause=0.05), store) == quiet


def test_a_complete_study_runs_nothing(tmp_path, log):
    first = run(toy.draws(5), tmp_path / "s", engine="inline")
    assert run(toy.draws(5, backwards=True), tmp_path / "s", engine="inline") == first
    assert len(log()) == 5


def test_adding_cells_or_renaming_labels_recomputes_nothing(tmp_path, log):
    run(toy.draws(3), tmp_path / "s", engine="inline")
    renamed = Study("toy", "?", {labels(number=seed): toy.Draw(seed) for seed in range(4)}, (toy.total, toy.largest))
    result = run(renamed, tmp_path / "s", engine="inline")
    assert log() == ["draw 0", "draw 1", "draw 2", "draw 3"]
    assert next(iter(result.columns)) == "number" and len(result) == 4


def test_another_set_of_metrics_recomputes(tmp_path, log):
    run(toy.draws(2), tmp_path / "s", engine="inline")
    assert (
        list(run(replace(toy.draws(2), metrics=(toy.total,)), tmp_path / "s", engine="inline").columns)[-1] == "total"
    )
    assert len(log()) == 4


def test_cells_of_equal_specification_are_computed_once_and_fill_both_rows(tmp_path, log):
    twins = Study("toy", "?", {labels(name=name): toy.Draw(7) for name in "ab"}, (toy.total,))
    result = run(twins, tmp_path / "s", engine="inline")
    assert len(log()) == 1 and len(result) == 2 and len(set(result.values("total"))) == 1


def test_a_partial_table_holds_the_rows_that_are_there(tmp_path):
    run(toy.draws(3), tmp_path, engine="inline")
    assert table(toy.draws(6), tmp_path).column("seed").tolist() == [0, 2, 1]
    assert len(table(toy.draws(3, pause=0.001), tmp_path)) == 0


def test_the_status_of_a_fit_becomes_a_column(tmp_path):
    study = Study("toy", "?", {labels(a=1): toy.Converged()}, (toy.largest,))
    (row,) = run(study, tmp_path, engine="inline").rows()
    assert row["status"] == "converged" and np.isnan(row["largest"])


@pytest.mark.parametrize("engine", [Inline(), PAIR])
def test_a_failing_cell_lets_the_others_finish_and_is_retried(tmp_path, engine, monkeypatch, log):
    study = toy.extended(6, first=toy.Raises(), second=toy.Raises("exit"))
    events = []
    with pytest.raises(StudyFailedError, match=r"2 of 8 cells of study toy failed") as caught:
        run(study, tmp_path, engine=engine, on_event=events.append)
    assert "no solution for value" in str(caught.value) and "Traceback" in str(caught.value)
    assert "toy_cells.py" in str(caught.value) and "run(study, store) again" in str(caught.value)
    assert {dict(label)["kind"]: failure.exc_type for label, failure in caught.value.failures.items()} == {
        "first": "ValueError",
        "second": "SystemExit",
    }
    assert table(study, tmp_path) == run(toy.draws(6), tmp_path / "other", engine=engine)
    assert sum(isinstance(event, Failed) for event in events) == 2
    assert events[-1].done == 6 and events[-1].failed == 2
    monkeypatch.setenv("TOY_FIXED", "1")
    before = len(log())
    with pytest.raises(StudyFailedError, match=r"1 of 8 cells"):
        run(study, tmp_path, engine=engine)
    assert log()[before:] == ["raises", "raises"]


def test_a_metric_that_raises_fails_its_cell(tmp_path):
    with pytest.raises(StudyFailedError, match="metric of nothing"):
        run(replace(toy.draws(1), metrics=(toy.total, toy.not_a_number)), tmp_path, engine="inline")
    assert Store(tmp_path).keys() == set()


def test_a_cell_that_is_not_reproducible_is_a_hard_error(tmp_path):
    study = Study("toy", "?", {labels(a=1): toy.Irreproducible()}, (toy.total,))
    keys = study_keys(study)
    run(study, tmp_path, engine="inline")
    with Store(tmp_path) as store:
        store.append(*keys.values(), {"status": "done", "total": -1.0})
    with pytest.raises(StoreConflictError, match="not reproducible"):
        run(study, tmp_path, engine="inline")


def test_a_cell_that_cannot_travel_is_refused_before_anything_runs(tmp_path, log):
    study = toy.extended(3, lock=toy.HoldsLock("a"))
    with pytest.raises(TypeError, match=r"'kind': 'lock'.*cannot be sent to another process .*a lock stays"):
        run(study, tmp_path / "s", engine=PAIR)
    assert log() == []
    assert len(run(study, tmp_path / "s", engine="inline")) == 4


def test_a_cell_without_identity_is_refused_by_its_labels(tmp_path):
    study = toy.extended(2, bad=toy.Draw(np.zeros(2)))
    with pytest.raises(TypeError, match=r"'kind': 'bad'.*Arrays do not belong"):
        run(study, tmp_path)


def test_ctrl_c_keeps_what_is_done_leaves_no_workers_and_is_resumable(tmp_path, log):
    def interrupt(event):
        if isinstance(event, CellsDone):
            raise KeyboardInterrupt

    study = toy.draws(30, pause=0.05)
    with pytest.raises(KeyboardInterrupt):
        run(study, tmp_path / "s", engine=PAIR, on_event=interrupt)
    ran, done = len(log()), len(Store(tmp_path / "s").keys())
    time.sleep(0.5)
    assert len(log()) == ran and 0 < done < 30  # nobody goes on
    assert len(run(study, tmp_path / "s", engine=PAIR)) == 30
    assert len(log()) == ran + 30 - done


@pytest.mark.parametrize("engine", [Inline(), PAIR])
def test_cells_are_counted_one_by_one_and_only_upwards(tmp_path, engine):
    events = []
    run(toy.draws(3), tmp_path, engine="inline")
    run(toy.draws(12, pause=0.0), tmp_path, engine=engine, on_event=events.append, policy=Policy(chunk_size=6))
    assert events[0] == Started("toy", 12, 3)
    counts = [event.done for event in events if isinstance(event, CellsDone)]
    assert counts == sorted(set(counts)) and counts[-1] == 12
    assert isinstance(events[-1], Finished) and (events[-1].done, events[-1].failed) == (12, 0)


def test_progress_inside_a_long_chunk_is_seen(tmp_path):
    events = []
    run(toy.draws(8, pause=0.4), tmp_path, engine=Local(1), on_event=events.append, policy=Policy(chunk_size=8))
    counts = [event.done for event in events if isinstance(event, CellsDone)]
    assert len(counts) > 2  # one chunk of 3.2 s, looked at every half second


def test_progress_prints_lines_where_there_is_no_terminal(tmp_path):
    out = io.StringIO()
    run(toy.draws(5), tmp_path, engine="inline", on_event=progress(out, every=1e9))
    lines = out.getvalue().splitlines()
    assert lines[:2] == ["toy: 0 of 5 cells done before", "1 of 5 cells done"]
    assert len(lines) == 3 and lines[2].endswith("5 done, 0 failed")


def test_progress_draws_a_bar_on_a_terminal(tmp_path):
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    out = Terminal()
    with pytest.raises(StudyFailedError):
        run(toy.extended(4, bad=toy.Raises()), tmp_path, engine="inline", on_event=progress(out))
    assert "4/5" in out.getvalue() and "no solution" in out.getvalue()


@pytest.mark.parametrize("engine", [Inline(), PAIR])
def test_every_engine_computes_on_one_thread(tmp_path, engine):
    study = Study("toy", "?", {labels(a=1): toy.ThreadsInUse()}, (toy.first, toy.second))
    (row,) = run(study, tmp_path, engine=engine).rows()
    assert (row["first"], row["second"]) == (1.0, 1.0)


def test_the_settings_of_the_caller_come_back(monkeypatch):
    import numba
    import torch
    from threadpoolctl import threadpool_info

    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    pools = [pool["num_threads"] for pool in threadpool_info()]
    threads = numba.get_num_threads()
    with pytest.raises(ZeroDivisionError), one_thread():
        assert torch.get_num_threads() == numba.get_num_threads() == 1
        raise ZeroDivisionError
    assert torch.get_num_threads() == 2 and numba.get_num_threads() == threads
    assert [pool["num_threads"] for pool in threadpool_info()] == pools
    assert os.environ["OMP_NUM_THREADS"] == "2" and "MKL_NUM_THREADS" not in os.environ
    torch.set_num_threads(before)


def test_torch_imported_inside_a_cell_gets_its_threads_back_afterwards():
    code = (
        "from sparsesim.study.engine import one_thread; import sys\n"
        "with one_thread():\n    import torch; inside = torch.get_num_threads()\n"
        "print(inside, torch.get_num_threads())"
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "2"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1", "2"]


def test_an_engine_runs_each_chunk_and_an_exception_of_the_work_is_raised():
    chunks = [Chunk((index,)) for index in range(5)]
    for engine in (Inline(), PAIR):
        done = [state.chunk for state in engine.run(chunks, print) if state]
        assert sorted(chunk.items for chunk in done) == [(index,) for index in range(5)]
        with pytest.raises(TypeError):
            list(engine.run(chunks, len))  # a Chunk has no length


@pytest.mark.parametrize(
    ("flag", "workers", "engine"),
    [("inline", None, Inline()), ("local", None, Local()), ("local:4", None, Local(4)), ("local", 3, Local(3))],
)
def test_a_flag_names_an_engine(flag, workers, engine):
    assert make_engine(flag, workers) == engine


@pytest.mark.parametrize(
    "flag", ["", "loca", "local:x", "local:", "local:-1", "inline:2", "local:²", "dask", "dask:", "slurm"]
)
def test_an_unknown_flag_lists_the_known_ones(flag):
    with pytest.raises(ValueError, match=r"'inline' .* 'local', 'local:<workers>', 'dask:.*' or 'slurm:"):
        make_engine(flag)


def test_contradicting_or_impossible_numbers_of_workers_are_refused():
    with pytest.raises(ValueError, match="contradict"):
        make_engine("local:4", 2)
    for flag, workers in [("local:0", None), ("local", 0)]:
        with pytest.raises(ValueError, match="workers must lie in"):
            make_engine(flag, workers)


def test_a_chunk_size_below_one_is_refused(tmp_path):
    with pytest.raises(ValueError, match="chunk_size"):
        run(toy.draws(2), tmp_path, engine="inline", policy=Policy(chunk_size=0))


def test_two_drivers_on_one_store_agree(tmp_path):
    processes = [
        toy_process(tmp_path, "s", engine="local:1", count=10, order=order) for order in ("forwards", "backwards")
    ]
    assert [process.wait() for process in processes] == [0, 0]
    assert len(Store(tmp_path / "s").load()) == 10
    assert table(toy.draws(10), tmp_path / "s") == run(toy.draws(10), tmp_path / "t", engine="inline")


def test_code_edited_while_a_study_runs_ends_it_before_a_row_is_misfiled(tmp_path, monkeypatch):
    for module, digest in {"run": "the key's", "crew": "the key's", "work": "another"}.items():
        monkeypatch.setattr(sys.modules[f"sparsesim.study.{module}"], "code_digest", lambda digest=digest: digest)
    with pytest.raises(CodeChangedError, match="edited"):
        run(toy.draws(1), tmp_path, engine="inline")
    assert Store(tmp_path).keys() == set()
