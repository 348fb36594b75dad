"""``python -m studies.speed.coding``: how fast signals are coded, beside other libraries at equal accuracy.

Each round times everybody once, ourselves on every number of threads; a ratio is one of the same round. With
``--peer-python`` an interpreter that has SPAMS, celer, dictlearn, pylops or sporco runs the peers in a process of its
own; without it only what stands beside us is raced, and the rest is said to be skipped.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numba
import numpy as np
from threadpoolctl import threadpool_limits

from sparsesim._arrays import Codes
from sparsesim.solvers import duality_gap
from sparsesim.study import Table
from sparsesim.study.provenance import provenance
from studies.speed.coding_laws import compiled, scaling
from studies.speed.coding_learners import learning
from studies.speed.coding_peers import LADDER, SLOW, TUNED, waited
from studies.speed.coding_verdicts import sentences
from studies.speed.codings import FITTED, GAP, LASSOS, SAMPLES, SHAPES, Race, draw, encoder, flops, moved, races, worked
from studies.speed.peer import Peer, PeerFailedError
from studies.speed.timing import median_interval, peak_bytes, seconds, stream_bandwidth, threads_set

TABLE = Path(__file__).parent.parent / "tables" / "speed_coding.csv"
REPETITIONS = 7
PATIENCE = 3  # times that a repetition is made again if its threads waited
QUIET = 0.03  # share of a repetition that its threads may wait for a core
LEAST = 4  # samples of a slow peer
NOTHING = float("nan")
Timed = tuple[float, float]  # seconds a sample, share of it waited
Contender = Callable[[], Timed]


def quietly(run: Contender) -> Timed:
    """Return the repetition that waited least of up to `PATIENCE`; the first that waited less than `QUIET` ends it."""
    best = run()
    for _ in range(PATIENCE - 1):
        if best[1] <= QUIET:
            break
        best = min(best, run(), key=lambda timed: timed[1])
    return best


def ours(race: Race, data: dict[str, Any], threads: int) -> Contender:
    """Return what times our encoder on all samples."""
    code = encoder(race, data["penalty"])

    def run() -> Timed:
        with threads_set(threads):
            before = waited()
            took = seconds(lambda: code.encode(data["x"], data["atoms"]))
        return took / len(data["x"]), (waited() - before) / took

    run()
    return run


def asked(peer: Peer, command: str, method: str, n: int) -> dict[str, Any]:
    """Return the peer's reply; an error of the method is raised as `PeerFailedError`."""
    reply = peer.ask(f"{command} {method}", n)
    if "error" in reply:
        raise PeerFailedError(f"{method}: {reply['error']}")
    return reply


def accuracy(race: Race, data: dict[str, Any], codes: np.ndarray) -> dict[str, float]:
    """Return the share of rows whose support is ours, and the worst relative gap or excess of squared error."""
    x, atoms = data["x"][: len(codes)], data["atoms"]
    own = encoder(race, data["penalty"]).encode(x, atoms).toarray()
    same = float(((codes != 0) == (own != 0)).all(axis=1).mean())
    if race.task in LASSOS:
        wide = [np.asarray(part, dtype=np.float64) for part in (x, atoms, codes)]
        gaps = duality_gap(wide[0], wide[1], Codes(wide[2]), data["penalty"], non_negative=race.non_negative)
        return {"same_support": same, "gap": float(gaps.max())}
    left = [np.square(x - z @ atoms).sum(axis=1) for z in (codes, own)]
    return {"same_support": same, "gap": float(((left[0] - left[1]) / np.square(x).sum(axis=1)).max())}


def tuned(race: Race, data: dict[str, Any], peer: Peer, method: str, rows: int) -> tuple[str, dict[str, float]]:
    """Return the method at the loosest tolerance that reaches the gap (else the tightest), and its accuracy."""
    enough = 10 * GAP if race.dtype == "float32" else GAP
    ladder = [f"{method}@{tolerance:g}" for tolerance in LADDER] if method in TUNED else [method]
    for named in ladder:
        found = accuracy(race, data, np.load(asked(peer, "codes", named, rows)["path"]))
        if race.task not in LASSOS or found["gap"] <= enough:
            break
    return named, found


def entered(race: Race, data: dict[str, Any], peer: Peer, method: str, length: float) -> tuple[Contender, dict]:
    """Return what times a peer's method, on as many samples as fill ``length`` seconds, and its accuracy."""
    asked(peer, "time", method, LEAST)  # loads and compiles
    each = asked(peer, "time", method, LEAST)["seconds"] / LEAST
    rows = max(LEAST, min(FITTED, round(0.5 / each), len(data["x"])))
    named, facts = tuned(race, data, peer, method, rows)
    each = asked(peer, "time", named, LEAST)["seconds"] / LEAST
    n = max(LEAST, min(len(data["x"]), round(length / each)))

    def run() -> Timed:
        reply = asked(peer, "time", named, n)
        return reply["seconds"] / n, reply["waited"]

    return run, {**facts, "tolerance": float(named.partition("@")[2] or NOTHING), "n": n}


def machine(dtype: str, threads: int) -> tuple[float, float]:
    """Return the operations a second of a large matrix product and the bytes a second of a copy, on ``threads``."""
    square = np.ones((1024, 1024), dtype)
    with threadpool_limits(limits=threads, user_api="blas"), threads_set(threads):
        product = min(seconds(lambda: square @ square) for _ in range(5))
        return 2.0 * 1024**3 / product, stream_bandwidth((4096, 4096))


def bound(race: Race, active: float, threads: int) -> dict[str, float]:
    """Return flops and bytes a sample takes at least, and the microseconds of the longer of the two."""
    dim, width, _ = race.shape
    rate, bandwidth = machine(race.dtype, threads)
    work = flops(race.task, dim, width, active)
    traffic = moved(race.task, dim, width, active, np.dtype(race.dtype).itemsize)
    return {
        "flops": work,
        "bytes": traffic,
        "peak_gflops": rate / 1e9,
        "peak_gbytes": bandwidth / 1e9,
        "bound_us": 1e6 * max(work / rate, traffic / bandwidth),
    }


def raced(race: Race, n: int, threads: Sequence[int], python: Path, repetitions: int, length: float) -> list[dict]:
    """Return a row for ourselves on each number of threads, and for each peer and number of threads."""
    data = draw(race, n)
    field: dict[tuple[str, int], tuple[Contender, dict[str, Any]]] = {}
    for count in threads:
        codes = encoder(race, data["penalty"]).encode(data["x"], data["atoms"])
        facts = {"active": codes.nnz / n, **bound(race, codes.nnz / n, count), "n": n}
        facts |= accuracy(race, data, codes[:FITTED].toarray())
        field["ours", count] = (ours(race, data, count), facts)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "data.npz"
        np.savez(path, **data, task=race.task, non_negative=race.non_negative)
        peers = {count: Peer(python, str(path), count, "studies.speed.coding_peers") for count in threads}
        try:
            skipped = []
            for count, peer in peers.items():
                found = peer.ask("describe", 0)
                skipped += [(method, count, reason) for method, reason in found["skipped"].items()]
                for method, version in found["present"].items():
                    if method in SLOW and (count, race.dtype) != (1, "float64"):
                        continue
                    try:
                        run, facts = entered(race, data, peer, method, length)
                        field[method, count] = (run, {**facts, "version": version})
                    except PeerFailedError as error:
                        skipped.append((method, count, str(error)))
            times = rounds({who: run for who, (run, _) in field.items()}, repetitions)
        finally:
            for peer in peers.values():
                peer.__exit__(None, None, None)
    rows = [row_of(race, who, times, facts) for who, (_, facts) in field.items()]
    return rows + [
        row_of(race, (method, count), {}, {"version": "none", "skipped": one_line(why)})
        for method, count, why in skipped
    ]


def rounds(field: dict[tuple[str, int], Contender], repetitions: int) -> dict[tuple[str, int], list[Timed]]:
    """Return the times of all, one of each in every round, in the same order."""
    times: dict[tuple[str, int], list[Timed]] = {who: [] for who in field}
    for _ in range(repetitions):
        for who, run in field.items():
            times[who].append(quietly(run))
    return times


COLUMNS: dict[str, Any] = {
    **{"task": "", "dim": 0, "width": 0, "k": 0, "dtype": "", "method": "", "version": "sparsesim", "threads": 0},
    **dict.fromkeys(("n", "tolerance", "active", "us", "us_low", "us_high", "waited", "same_support", "gap"), NOTHING),
    **dict.fromkeys(("times_ours", "times_ours_low", "times_ours_high"), NOTHING),
    **dict.fromkeys(("flops", "bytes", "peak_gflops", "peak_gbytes", "bound_us", "over_bound"), NOTHING),
    **dict.fromkeys(("seconds_to_95", "pass_s", "mcc", "recovered_99"), NOTHING),
    **dict.fromkeys(("scratch_bytes", "first_call_s", "cached_call_s"), NOTHING),
    "varied": "nothing",
    "skipped": "no",
}


def one_line(text: str) -> str:
    """Return the text with its white space as single blanks."""
    return " ".join(text.split())[:200]


def row_of(race: Race, who: tuple[str, int], times: dict[tuple[str, int], list[Timed]], facts: dict) -> dict[str, Any]:
    """Return the row of ``who``; ``times_ours`` is their time over ours on as many threads, round by round."""
    dim, width, k = race.shape
    row = {**COLUMNS, "task": race.task, "dim": dim, "width": width, "k": k, "dtype": race.dtype}
    row |= {"method": who[0], "threads": who[1], **facts}
    if who in times:
        taken = 1e6 * np.array(times[who])[:, 0]
        whole = median_interval(taken)
        ratio = median_interval(taken / (1e6 * np.array(times["ours", who[1]])[:, 0]))
        row |= {"us": whole.value, "us_low": whole.low, "us_high": whole.high}
        row |= {"times_ours": ratio.value, "times_ours_low": ratio.low, "times_ours_high": ratio.high}
        row["waited"] = float(np.median(np.array(times[who])[:, 1]))
        row["over_bound"] = whole.value / row["bound_us"]
    return row


def scratch(race: Race, n: int) -> int:
    """Return the bytes that coding n samples holds at most at once, beyond the samples."""
    data = draw(race, n)
    code = encoder(race, data["penalty"])
    code.encode(data["x"][:1], data["atoms"])
    return peak_bytes(lambda: code.encode(data["x"], data["atoms"]))


def table(options: argparse.Namespace, chosen: Sequence[Race]) -> Table:
    """Return the rows of all races and of how time and memory grow."""
    rows: list[dict[str, Any]] = []
    threads = range(1, options.threads + 1)
    for race in chosen:
        n = dict(zip(SHAPES, SAMPLES, strict=True)).get(race.shape, SAMPLES[1]) // options.fewer
        rows += raced(race, n, threads, options.peer_python, options.repetitions, options.seconds)
        if race in chosen[:2] and options.cold:
            rows[-1] |= compiled(race)
        print(f"{race.name}: {rows_of_ours(rows, race)}", file=sys.stderr, flush=True)
    if options.only in "learn":
        found = learning(options.peer_python, options.threads, options.fewer, options.longest)
        rows += [COLUMNS | row | {"skipped": one_line(str(row["skipped"]))} for row in found]
    for kind, race, n in scaling(options.fewer):
        data = draw(race, n)
        run = ours(race, data, 1)
        times = {("ours", 1): [quietly(run) for _ in range(options.repetitions)]}
        codes = encoder(race, data["penalty"]).encode(data["x"], data["atoms"])
        facts = {"n": n, "active": codes.nnz / n, "varied": kind, "scratch_bytes": scratch(race, n)}
        dim, width, _ = race.shape
        facts["flops"] = worked(race.task, dim, width, codes.nnz / n) + 2.0 * dim * width**2 / n  # of the Gram matrix
        rows.append(row_of(race, ("ours", 1), times, facts) | {"task": f"law {race.task}"})
    return Table.of_rows(rows[0], (row.values() for row in rows))


def rows_of_ours(rows: Sequence[dict[str, Any]], race: Race) -> str:
    """Return our microseconds a sample of a race, for the log."""
    own = [row for row in rows if row["method"] == "ours" and (row["task"], row["dtype"]) == (race.task, race.dtype)]
    return ", ".join(f"{row['us']:.2f} us on {row['threads']}" for row in own if row["width"] == race.shape[1])


def main(arguments: Sequence[str] | None = None, chosen: Sequence[Race] | None = None) -> None:
    """Measure, print what the numbers say, and write the table and its provenance."""
    parser = argparse.ArgumentParser(prog="python -m studies.speed.coding", description=__doc__)
    parser.add_argument("--out", type=Path, default=TABLE, help="CSV to write (default: the committed table)")
    parser.add_argument("--peer-python", type=Path, default=Path(sys.executable), help="a Python with the peers")
    parser.add_argument("--repetitions", type=int, default=REPETITIONS, help="fewer than 6 have no interval")
    parser.add_argument("--seconds", type=float, default=0.15, help="length of a peer's repetition")
    parser.add_argument("--threads", type=int, default=numba.config.NUMBA_NUM_THREADS, help="largest number of threads")
    parser.add_argument("--fewer", type=int, default=1, help="divides the numbers of samples, for a trial")
    parser.add_argument(
        "--longest", type=float, default=15.0, help="seconds of a fit after which there is no longer one"
    )
    parser.add_argument("--only", default="", help="races whose name has this in it, for a trial")
    parser.add_argument("--cold", action=argparse.BooleanOptionalAction, default=True, help="time fresh processes")
    options = parser.parse_args(arguments)
    if not options.peer_python.is_file():
        parser.error(f"--peer-python must be an interpreter; there is no file {options.peer_python}.")
    if options.repetitions < 1 or options.fewer < 1 or not 1 <= options.threads <= numba.config.NUMBA_NUM_THREADS:
        parser.error(
            f"--repetitions and --fewer must be at least 1 and --threads from 1 to {numba.config.NUMBA_NUM_THREADS}."
        )
    facts = provenance() | {"load before": os.getloadavg()[0]}  # before the table is written, which is a change
    chosen = [race for race in (races() if chosen is None else chosen) if options.only in race.name]
    measured = table(options, chosen)
    measured.write(options.out)
    facts |= {"threads": sorted(set(measured.values("threads"))), "load after": os.getloadavg()[0]}
    text = json.dumps(facts, indent=1, sort_keys=True) + "\n"
    options.out.with_suffix(".provenance.json").write_text(text, encoding="utf-8")
    print("\n".join(sentences(measured)))
    print(f"table: {options.out}")


if __name__ == "__main__":
    main()
