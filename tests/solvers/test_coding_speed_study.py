"""The speed study of coding races what it names, at equal accuracy, and judges by its numbers alone."""

from __future__ import annotations

import sys

import numba
import numpy as np
import pytest

from sparsesim.solvers import duality_gap
from sparsesim.study import Table
from studies.speed import coding, coding_laws, coding_learners, coding_peers, coding_verdicts, codings
from studies.speed.peer import Peer, PeerFailedError

SMALL = (16, 32, 3)


@pytest.mark.parametrize("task", ["omp", "nn_omp", "lasso", "nn_lasso", "nnls"])
def test_the_samples_have_the_shape_the_precision_and_the_signs_of_their_race(task):
    race = codings.Race(task, SMALL, "float32")
    data = codings.draw(race, 40)
    assert (data["x"].shape, data["atoms"].shape) == ((40, 16), (32, 16))
    assert data["x"].dtype == data["atoms"].dtype == np.float32
    codes = codings.encoder(race, data["penalty"]).encode(data["x"], data["atoms"])
    assert codes.data.min() > 0 if race.non_negative else codes.data.min() < 0
    if task in codings.LASSOS:  # the bisection ends within 5% of k on these very samples
        assert codes.nnz / 40 == pytest.approx(3.0, rel=0.06)
        # Codes rounded to float32 (6e-8) move the objective of order ||x||^2 by a few 1e-7 of it at most.
        gaps = duality_gap(data["x"], data["atoms"], codes, data["penalty"], non_negative=race.non_negative)
        assert gaps.max() < 10 * codings.GAP


def test_the_work_of_a_pursuit_is_that_of_its_loops():
    d, p, k = 7, 11, 5
    products = 2 * d * p
    for j in range(k - 1):  # P_j: j rows taken off, one scaling; the correlations: one multiply-add
        products += 2 * j * p + p + 2 * p
    assert codings.flops("omp", d, p, k) == products
    assert codings.flops("lasso", d, p, k) == 2 * d * p + 2 * k * p + k**3 / 3
    # The sample, four Gram rows and five codes with their places.
    assert codings.worked("omp", d, p, k) == codings.flops("omp", d, p, k)
    active = [8, 16, 24, 32]  # at each sweep after the first, eight atoms being admitted between two
    more = sum(2 * m * p + 2 * m**2 for m in active) - 2 * 32 * p + 6 * 32 * d
    assert codings.worked("lasso", d, p, 32) == pytest.approx(codings.flops("lasso", d, p, 32) + more, rel=1e-12)
    assert codings.moved("omp", d, p, k, 8) == 8 * (d + 4 * p + k) + 4 * k


@pytest.mark.parametrize("task", ["omp", "lasso"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_number_of_threads_changes_no_bit_of_the_codes(task, dtype):
    race = codings.Race(task, SMALL, dtype)
    data = codings.draw(race, 500)
    found = []
    for count in range(1, numba.config.NUMBA_NUM_THREADS + 1):
        with coding.threads_set(count):
            found.append(codings.encoder(race, data["penalty"]).encode(data["x"], data["atoms"]))
    for other in found[1:]:
        for part in ("indptr", "indices", "data"):
            assert np.array_equal(getattr(found[0], part), getattr(other, part))


def test_a_repetition_that_waited_is_made_again_and_the_quietest_is_kept():
    waits = iter([(1.0, 0.5), (2.0, 0.2), (3.0, 0.4), (4.0, 0.0)])
    assert coding.quietly(lambda: next(waits)) == (2.0, 0.2)
    assert coding.quietly(lambda: next(waits)) == (4.0, 0.0)


def test_other_supports_and_gaps_are_seen():
    race = codings.Race("lasso", SMALL, "float64")
    data = codings.draw(race, 20)
    own = codings.encoder(race, data["penalty"]).encode(data["x"], data["atoms"]).toarray()
    assert coding.accuracy(race, data, own)["same_support"] == 1.0
    assert coding.accuracy(race, data, own)["gap"] <= codings.GAP
    wrong = np.where(np.arange(20)[:, None] < 5, 0.0, own)
    found = coding.accuracy(race, data, wrong)
    assert found["same_support"] == 0.75 and found["gap"] > 0.1


def test_the_command_races_what_is_installed_and_says_what_is_not(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(coding_laws, "COUNTS", (40, 80))
    monkeypatch.setattr(coding_laws, "WIDTHS", (32, 64))
    monkeypatch.setattr(coding_laws, "ACTIVE", (2, 4))
    out = tmp_path / "speed.csv"
    wanted = [codings.Race("omp", SMALL, "float64")]
    arguments = ["--out", str(out), "--repetitions", "2", "--seconds", "0.001", "--threads", "1", "--no-cold"]
    coding.main([*arguments, "--fewer", "40", "--only", "omp"], wanted)
    table, said = Table.read(out), capsys.readouterr().out
    raced = table.where(task="omp", skipped="no")
    assert "ours" in raced.levels("method")
    ours = raced.where(method="ours")
    assert ours.column("times_ours")[0] == 1.0 and ours.column("same_support")[0] == 1.0
    assert ours.column("over_bound")[0] * ours.column("bound_us")[0] == pytest.approx(ours.column("us")[0])
    for method in coding_peers.METHODS["omp"]:
        assert method in said  # raced or skipped, never silently left out
    assert set(table.levels("varied")) == {"nothing", "n", "p", "k"}
    assert "threads" in out.with_suffix(".provenance.json").read_text(encoding="utf-8")


def test_a_method_that_fails_is_named_and_the_process_goes_on(tmp_path):
    path = tmp_path / "data.npz"
    np.savez(path, x=np.zeros((4, 3)), atoms=np.eye(3), k=1, penalty=0.0, task="nnls", non_negative=True)
    with Peer(sys.executable, str(path), 1, "studies.speed.coding_peers") as peer:
        with pytest.raises(PeerFailedError, match="nonsense"):
            coding.asked(peer, "time", "nonsense", 2)
        assert coding.asked(peer, "time", "scipy nnls", 2)["seconds"] > 0


def test_a_learner_is_timed_until_its_atoms_are_found():
    rng = np.random.default_rng(0)
    truth = rng.standard_normal((8, 6))
    noise = rng.standard_normal((8, 6))

    def fit(passes: float):
        return truth + (noise if passes < 0.3 else 0.0), passes, 0.0

    found = coding_learners.curve(fit, truth, longest=2.0)
    assert found == {
        "seconds_to_95": 0.32,
        "pass_s": 1.0,
        "mcc": pytest.approx(1.0),
        "recovered_99": 1.0,
        "waited": 0.0,
    }
    assert np.isnan(coding_learners.curve(lambda passes: (noise, passes, 0.0), truth, 2.0)["seconds_to_95"])


def test_the_planted_problem_has_the_signal_to_noise_ratio_it_states():
    x, truth = coding_learners.planted(2_000)
    assert np.linalg.norm(truth, axis=1) == pytest.approx(np.ones(128))
    # Energy of k unit-variance codes on unit atoms: k (1 + 1/SNR); 8,000 squared normals have an error of 1.6%.
    assert np.square(x).sum() / 2_000 == pytest.approx(4 * 1.01, rel=0.1)


def invented(**changes: float) -> Table:
    """A race in which everything holds, but for the ``changes`` in the peer's row, and laws of two sizes."""
    base = {**coding.COLUMNS, "task": "omp", "dim": 8, "width": 16, "k": 2, "dtype": "float64", "threads": 2, "n": 10.0}
    ours = {**base, "method": "ours", "us": 1.0, "bound_us": 0.5, "over_bound": 2.0, "flops": 9.0}
    peer = {**base, "method": "SPAMS omp", "version": "x 1", "us": 3.0, "waited": 0.0, "gap": 0.0, "same_support": 1.0}
    peer |= {"times_ours": 3.0, "times_ours_low": 2.6, "times_ours_high": 3.3, **changes}
    laws = [
        {
            **base,
            "task": "law omp",
            "method": "ours",
            "varied": "n",
            "n": n,
            "us": 1.0,
            "flops": 5.0,
            "scratch_bytes": n,
        }
        for n in (10.0, 20.0)
    ]
    laws[1] |= {name[4:]: value for name, value in changes.items() if name.startswith("law_")}
    rows = [ours, {name: peer[name] for name in base}, *laws]
    return Table.of_rows(coding.COLUMNS, [[row[name] for name in coding.COLUMNS] for row in rows])


def broken(table: Table) -> list[str]:
    return [line for line in coding_verdicts.sentences(table) if line.startswith("DOES NOT HOLD")]


def test_a_sentence_holds_by_its_numbers_and_not_otherwise():
    assert not broken(invented())
    assert "2.5" in broken(invented(times_ours_low=2.4))[0]
    assert len(broken(invented(times_ours_low=float("nan")))) == 1  # too few repetitions for an interval
    assert "time grows as n^2.00" in broken(invented(law_us=2.0))[0]
    assert "a dense row" in broken(invented(law_scratch_bytes=5_000.0))[0]
    for low in (2.4, 100.0):  # a race in which the peer waited decides nothing, either way
        lines = coding_verdicts.sentences(invented(waited=0.5, times_ours_low=low))
        assert any(line.startswith("not decided: omp") and "waited 50%" in line for line in lines)
        assert not any(line.startswith(("holds: omp", "DOES NOT HOLD: omp")) for line in lines)


def test_the_best_of_several_methods_is_what_we_are_held_to():
    rows = list(invented().rows())
    lasso = {**rows[1], "task": "lasso"}
    slow = {**lasso, "method": "sklearn CD", "us": 900.0, "times_ours_low": 800.0}
    fast = {**lasso, "method": "sklearn Gram CD", "us": 20.0, "times_ours": 20.0, "times_ours_low": 19.0}
    table = Table.of_rows(coding.COLUMNS, [list(row.values()) for row in (rows[0], slow, fast)])
    assert len(broken(table)) == 1 and "Gram CD" in broken(table)[0] and "at least 30" in broken(table)[0]
