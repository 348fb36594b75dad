"""The engines of other machines: on a loopback cluster where they are installed, else what is said."""

from __future__ import annotations

import sys
import textwrap
from collections import Counter
from dataclasses import dataclass, field, replace
from types import SimpleNamespace

import pytest

from sparsesim.study import Local, Store, StudyFailedError, make_engine, run, status
from sparsesim.study.cluster import Dask, Slurm
from sparsesim.study.engine import Chunk, ChunkDone, ChunkLost
from sparsesim.study.policy import Policy
from tests.study import toy_cells as toy


def test_a_flag_names_them():
    assert make_engine("dask:tcp://10.0.0.1:8786") == Dask("tcp://10.0.0.1:8786")


def test_what_is_not_installed_is_named_with_its_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)  # as if it were not there
    monkeypatch.setitem(sys.modules, "submitit", None)
    for engine, extra in ((Dask("tcp://localhost:1"), "dask"), (Slurm(str(tmp_path)), "slurm")):
        with pytest.raises(ImportError, match=rf"pip install 'sparsesim\[{extra}\]'"):
            run(toy.draws(1), tmp_path / "s", engine=engine)


def test_a_file_says_what_slurm_is_asked_for(tmp_path):
    path = tmp_path / "cluster.toml"
    path.write_text(
        'folder = "logs"\njobs = 50\nminutes = 5\n[parameters]\nslurm_partition = "cpu"\ntimeout_min = 60\n'
    )
    engine = make_engine(f"slurm:{path}")
    assert engine == Slurm("logs", 50, 5, "slurm", (("slurm_partition", "cpu"), ("timeout_min", 60)))
    assert (engine.workers, engine.chunk_seconds) == (50, 300.0)


@pytest.mark.parametrize("text", ["folder = ", "jobs = 5", 'folder = "x"\nqueue = "gpu"'])
def test_a_file_of_another_form_is_refused(tmp_path, text):
    path = tmp_path / "cluster.toml"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"must be TOML with folder"):
        make_engine(f"slurm:{path}")
    with pytest.raises(ValueError, match="cluster must be"):
        Slurm("x", cluster="pbs")


@dataclass(eq=False)
class Job:
    """What the engine asks of a job of submitit."""

    job_id: str
    error: Exception | None
    cancelled: bool = False

    def done(self):
        return True

    def exception(self):
        return self.error

    def cancel(self, check):
        self.cancelled = True


@dataclass(eq=False)
class FakeSubmitit:
    """The narrow part of submitit that is used; `kill` has no result, `late` ran out of time, `bug` raises."""

    arrays: list[int] = field(default_factory=list)
    parameters: dict = field(default_factory=dict)

    class Uncompleted(RuntimeError):
        pass

    class Failed(Uncompleted):
        pass

    def AutoExecutor(self, folder, cluster):
        return self

    @property
    def core(self):
        return SimpleNamespace(utils=SimpleNamespace(FailedJobError=self.Failed, UncompletedJobError=self.Uncompleted))

    def update_parameters(self, **given):
        self.parameters |= given

    def map_array(self, function, chunks):
        self.arrays.append(len(chunks))
        found = []
        for number, chunk in enumerate(chunks):
            told = {
                "kill": self.Uncompleted("has not produced any output (state: OUT_OF_MEMORY)"),
                "late": self.Failed("Job not requeued because: timed-out and not checkpointable."),
                "bug": self.Failed("ZeroDivisionError"),
            }.get(chunk.items[0])
            if told is None:
                function(chunk)
            found.append(Job(str(number), told))
        return found


def test_slurm_is_asked_in_few_arrays_and_tells_the_dead_from_the_wrong(tmp_path, monkeypatch):
    fake = FakeSubmitit()
    monkeypatch.setitem(sys.modules, "submitit", fake)
    engine = Slurm(str(tmp_path), jobs=8, parameters=(("timeout_min", 5),))
    chunks, seen = [Chunk((item,)) for item in (*range(18), "kill", "late")], []
    states = list(engine.run(iter(chunks), lambda chunk: seen.append(chunk.items[0])))
    assert fake.arrays == [8, 8, 4] and fake.parameters == {"timeout_min": 5}
    assert seen == list(range(18)) and [state.chunk for state in states] == chunks
    assert [type(state) for state in states] == [ChunkDone] * 18 + [ChunkLost] * 2
    assert "OUT_OF_MEMORY" in states[18].reason
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        list(engine.run([Chunk(("bug",))], seen.append))


def test_slurm_jobs_are_cancelled_when_the_run_is_given_up(tmp_path, monkeypatch):
    fake = FakeSubmitit()
    monkeypatch.setitem(sys.modules, "submitit", fake)
    jobs = [Job(str(index), None) for index in range(3)]
    monkeypatch.setattr(fake, "map_array", lambda function, chunks: jobs, raising=False)
    states = Slurm(str(tmp_path)).run([Chunk((index,)) for index in range(3)], print)
    next(states)
    states.close()
    assert [job.cancelled for job in jobs] == [False, True, True]


@pytest.fixture(scope="module")
def cluster():
    """Give a loopback dask cluster of two workers, every death of which is told."""
    distributed = pytest.importorskip("distributed")
    import dask

    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 0}),
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as found,
    ):
        yield found


COUNT = 200


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    return run(toy.draws(COUNT), tmp_path_factory.mktemp("inline"), engine="inline")


@pytest.mark.slow
def test_two_hundred_cells_give_the_same_table_on_local_workers(tmp_path, expected):
    assert run(toy.draws(COUNT), tmp_path, engine=Local(2)) == expected


def test_two_hundred_cells_give_the_same_table_on_a_dask_cluster(tmp_path, cluster, expected):
    assert run(toy.draws(COUNT), tmp_path / "s", engine=f"dask:{cluster.scheduler_address}") == expected


@pytest.mark.slow
def test_two_hundred_cells_give_the_same_table_through_submitit(tmp_path, expected):
    pytest.importorskip("submitit")
    path = tmp_path / "cluster.toml"
    path.write_text(
        textwrap.dedent(f"""
            folder = '{tmp_path / "logs"}'
            cluster = "local"
            jobs = 2
            [parameters]
            timeout_min = 10
            """)
    )
    engine = replace(Slurm.read(str(path)), minutes=10.0)
    policy = Policy(chunk_size=100)  # each job is a fresh interpreter
    assert run(toy.draws(COUNT), tmp_path / "s", engine=engine, policy=policy) == expected


def test_dask_workers_die_without_loss_and_poison_is_given_up(tmp_path, cluster):
    study = toy.extended(12, killer=toy.KillsWorker(str(tmp_path / "marker")), poison=toy.KillsWorker())
    with pytest.raises(StudyFailedError, match=r"1 of 14 cells") as caught:
        run(study, tmp_path / "s", engine=Dask(cluster.scheduler_address), policy=Policy(chunk_size=4))
    assert next(iter(caught.value.failures.values())).exc_type == "WorkerDiedError"
    store = Store(tmp_path / "s")
    assert len(store.keys()) == 13
    # A chunk that waits behind the one that kills dies with it: its first cell may have a death that is not its own.
    deaths = Counter(record.key for record in store.tail().new() if record.kind == "death")
    (given_up,) = status(store).given_up
    assert deaths[given_up] == 3 and 4 <= sum(deaths.values()) <= 6


def test_dask_workers_with_several_threads_and_silent_addresses_are_refused(tmp_path):
    distributed = pytest.importorskip("distributed")
    options = {"n_workers": 1, "threads_per_worker": 2, "processes": False, "dashboard_address": None}
    with distributed.LocalCluster(**options) as wide, pytest.raises(ValueError, match="--nthreads 1"):
        run(toy.draws(2), tmp_path, engine=Dask(wide.scheduler_address))
    with pytest.raises(OSError, match="no dask scheduler answers"):
        run(toy.draws(2), tmp_path, engine="dask:tcp://127.0.0.1:9")


@pytest.mark.slow
def test_a_job_of_submitit_that_is_killed_is_a_death(tmp_path):
    pytest.importorskip("submitit")
    study = toy.extended(2, killer=toy.KillsWorker(str(tmp_path / "marker")))
    engine = Slurm(str(tmp_path / "logs"), jobs=2, cluster="local", parameters=(("timeout_min", 10),))
    assert len(run(study, tmp_path / "s", engine=engine, policy=Policy(chunk_size=3))) == 3
    assert sum(record.kind == "death" for record in Store(tmp_path / "s").tail().new()) == 1
