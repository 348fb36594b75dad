"""What the table of coding speeds says, in sentences whose numbers and verdicts are computed from it."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from sparsesim.study.table import Table, Value

Row = dict[str, Value]
# (tasks, start of the method's name, least ratio). Of several methods that start alike the fastest is held to it.
GOALS = (
    (("omp",), "sklearn orthogonal_mp_gram", 100.0),
    (("omp",), "sklearn sparse_encode", 60.0),
    (("omp",), "SPAMS omp", 2.5),
    (("lasso", "nn_lasso"), "sklearn", 20.0),
    (("lasso", "nn_lasso"), "SPAMS LARS", 2.0),
    (("lasso",), "pylops FISTA", 100.0),
    (("lasso",), "sporco FISTA", 100.0),
    (("nn_omp",), "dictlearn", 20.0),
    (("nnls",), "scipy", 10.0),
    (("nnls",), "SPAMS", 1.0),
)
NARROW, NARROW_MARGIN = 512, 30.0  # up to this width the lasso is to be so many times scikit-learn's best
LINEAR = 0.25  # by how much the exponent of a law may differ from the one expected at most
BUSY = 0.03  # share of a race spent waiting beyond which it decides nothing
UNDECIDED = "not decided"


def sentences(table: Table) -> list[str]:
    """Return a line a goal and shape, a line a law, and what was skipped or measured on a busy machine."""
    rows = list(table.rows())
    lines = [_judged(row, goal) for row, goal in _goals(rows)]
    lines += [_bound(row) for row in rows if row["method"] == "ours" and _number(row, "bound_us") > 0]
    lines += [_law(rows, task, kind) for task, kind in _laws(rows)]
    lines += [_memory(rows, task) for task in sorted({task for task, _ in _laws(rows)})]
    lines += [_compiled(row) for row in rows if _number(row, "first_call_s") > 0]
    lines += [_learner(row) for row in rows if row["task"] == "learn" and row["skipped"] == "no"]
    lines += _learned(rows)
    skipped = sorted({(str(row["method"]), str(row["skipped"])) for row in rows if row["skipped"] != "no"})
    return lines + [f"skipped: {method}: {reason}" for method, reason in skipped]


def _number(row: Row, name: str) -> float:
    return float(row[name])


def _word(holds: bool) -> str:
    return "holds" if holds else "DOES NOT HOLD"


def _shape(row: Row) -> str:
    return f"{row['task']} ({row['dim']}, {row['width']}, {row['k']}) {row['dtype']}, threads {row['threads']}"


def _goals(rows: list[Row]) -> Iterator[tuple[Row, float]]:
    """Yield the fastest raced method of each goal, shape, precision and number of threads, with the least ratio."""
    for tasks, start, least in GOALS:
        found: dict[tuple[Value, ...], Row] = {}
        for row in rows:
            if row["task"] in tasks and str(row["method"]).startswith(start) and _number(row, "us") > 0:
                key = tuple(row[name] for name in ("task", "dim", "width", "dtype", "threads"))
                if key not in found or _number(row, "us") < _number(found[key], "us"):
                    found[key] = row
        for row in found.values():
            narrow = start == "sklearn" and int(row["width"]) <= NARROW
            yield row, NARROW_MARGIN if narrow else least


def _judged(row: Row, least: float) -> str:
    """Judge by the lower end of the interval, which is missing, and so proves nothing, below six repetitions.

    Where the peer waited for the machine or for its own threads, the ratio is shown and nothing is concluded.
    """
    times, low, high = (_number(row, f"times_ours{end}") for end in ("", "_low", "_high"))
    waited = _number(row, "waited")
    word, busy = (
        (UNDECIDED, f" (theirs waited {waited:.0%} of its time)") if waited > BUSY else (_word(low >= least), "")
    )
    return (
        f"{word}: {_shape(row)}: {times:.1f} times faster than {row['method']} [{low:.1f}, {high:.1f}] "
        f"(at least {least:g}); theirs {_number(row, 'us'):.3g} us, gap {_number(row, 'gap'):.1e}, same support in "
        f"{_number(row, 'same_support'):.1%}{busy}"
    )


def _bound(row: Row) -> str:
    return (
        f"{_shape(row)}: {_number(row, 'us'):.2f} us, {_number(row, 'over_bound'):.2f} times the bound of "
        f"{_number(row, 'flops'):,.0f} flops at {_number(row, 'peak_gflops'):.1f} GF/s and "
        f"{_number(row, 'bytes'):,.0f} bytes at {_number(row, 'peak_gbytes'):.1f} GB/s"
    )


def _laws(rows: list[Row]) -> list[tuple[str, str]]:
    return sorted({(str(row["task"]), str(row["varied"])) for row in rows if str(row["task"]).startswith("law ")})


def exponent(sizes: np.ndarray, values: np.ndarray) -> float:
    """Return the slope of the least squares line through (log size, log value)."""
    return float(np.polyfit(np.log(sizes), np.log(values), 1)[0])


def _law(rows: list[Row], task: str, kind: str) -> str:
    """Say how the time grows, of all samples with n and of one sample with p and k, and how the work does."""
    own = [row for row in rows if (row["task"], row["varied"]) == (task, kind)]
    sizes = np.array([_number(row, {"n": "n", "p": "width", "k": "k"}[kind]) for row in own])
    seconds = np.array([_number(row, "us") * (_number(row, "n") if kind == "n" else 1.0) for row in own])
    if len(own) < 2 or not np.isfinite(seconds).all():
        return f"{task}: too few points in {kind}"
    work = np.array([_number(row, "flops") * (_number(row, "n") if kind == "n" else 1.0) for row in own])
    slope, most = exponent(sizes, seconds), exponent(sizes, work)
    return (
        f"{_word(slope <= most + LINEAR)}: {task}: time grows as {kind}^{slope:.2f} from {kind}={sizes.min():.0f} to "
        f"{sizes.max():.0f} (its work, the Gram matrix included, as {kind}^{most:.2f}; at most {LINEAR:g} more)"
    )


def _memory(rows: list[Row], task: str) -> str:
    """Compare the growth of memory by a sample with the p numbers that a dense row of correlations would take."""
    own = [row for row in rows if (row["task"], row["varied"]) == (task, "n")]
    n, held = (np.array([_number(row, name) for row in own]) for name in ("n", "scratch_bytes"))
    if len(own) < 2:
        return f"{task}: too few points in n"
    grown = float((held[-1] - held[0]) / (n[-1] - n[0]))
    dense = 8.0 * _number(own[0], "width")
    return (
        f"{_word(grown < dense)}: {task}: a sample more takes {grown:,.0f} bytes at the peak, its codes included; "
        f"a dense row of correlations would be {dense:,.0f} ({held[-1] / 2**20:.1f} MiB at n={n[-1]:.0f})"
    )


def _learner(row: Row) -> str:
    return (
        f"{row['method']} ({row['version']}), threads {row['threads']}: {_number(row, 'seconds_to_95'):.2f} s to MCC "
        f"0.95, {_number(row, 'pass_s'):.2f} s a pass, in the end MCC {_number(row, 'mcc'):.3f} and "
        f"{_number(row, 'recovered_99'):.1%} of the atoms at 0.99"
    )


def _learned(rows: list[Row]) -> list[str]:
    """Judge the fastest learner of ours against the fastest other one that reaches 0.95 at all."""
    found = [row for row in rows if row["task"] == "learn" and _number(row, "seconds_to_95") > 0]
    sides = [[row for row in found if (row["version"] == "sparsesim") is own] for own in (True, False)]
    if not all(sides):
        return []
    ours, theirs = (min(side, key=lambda row: _number(row, "seconds_to_95")) for side in sides)
    ratio = _number(theirs, "seconds_to_95") / _number(ours, "seconds_to_95")
    return [f"{_word(ratio >= 1)}: {ours['method']} reaches MCC 0.95 {ratio:.1f} times sooner than {theirs['method']}"]


def _compiled(row: Row) -> str:
    cached = _number(row, "cached_call_s")
    return (
        f"{row['task']} {row['dtype']}: first call {_number(row, 'first_call_s'):.1f} s in a fresh process with an "
        f"empty cache, {cached:.2f} s with a full one" + ("" if math.isfinite(cached) else " (not measured)")
    )
