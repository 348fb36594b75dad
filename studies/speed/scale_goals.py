"""The goals of training at scale: what is asked for, what was measured, and sentences computed from both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sparsesim.study.table import Table, Value
from studies.speed.timing import Median, median_interval

NOTHING = float("nan")
COLUMNS = ("goal", "quantity", "kind", "value", "low", "high", "unit", "least", "most", "measured")
NO_GPU = "no: no CUDA device"
# Goal, quantity, unit, least, most; of one NVIDIA H200 where it is not said.
AWAY: tuple[tuple[str, str, str, float, float], ...] = (
    ("G1", "step at d 768, p 4096, B 1024, k 25 in tf32", "ms", NOTHING, 0.20),
    ("G1", "step at d 768, p 16384, B 4096, k 25 in tf32", "ms", NOTHING, 1.2),
    ("G1", "step at d 128, p 1024, B 1024, k 16 in tf32", "us", NOTHING, 60.0),
    ("G1", "step at d 768, p 16384, B 4096, k 25 in bf16", "ms", NOTHING, 0.95),
    ("G2", "step over an eager one of plain PyTorch at p 4096", "times", 4.0, NOTHING),
    ("G2", "step over an eager one of plain PyTorch at p 16384", "times", 3.0, NOTHING),
    ("G2", "step over an eager one of plain PyTorch at d 128, p 1024", "times", 10.0, NOTHING),
    ("G3", "training and generation over SAELens on the GPU", "times", 10.0, NOTHING),
    ("G4", "64 stacked toy models over one eager step", "times", NOTHING, 1.5),
    ("G4", "joint step of 64 models at d 128, p 1024, B 1024, k 16", "ms", NOTHING, 1.5),
    ("G5", "generation in a step of one model", "of the step", NOTHING, 0.25),
    ("G5", "generation, 16384 features with copula and hierarchy", "samples a second", 1e7, NOTHING),
    ("G5", "generation, 16384 independent features", "samples a second", 3e7, NOTHING),
    ("G5", "generation over SAELens on the GPU", "times", 20.0, NOTHING),
    ("G6", "row selection over one read of the pre-activations", "times", NOTHING, 2.5),
    ("G6", "torch.topk over row selection", "times", 4.0, NOTHING),
    ("G7", "encoding over the encoder's product", "times", NOTHING, 1.5),
    ("G8", "matching pursuit of T steps over T TopK steps", "times", NOTHING, 0.2),
    ("G8", "matching pursuit over SAELens on the GPU", "times", 5.0, NOTHING),
    ("G9", "Matryoshka over TopK", "times", NOTHING, 1.2),
    ("G9", "Gated over TopK", "times", NOTHING, 1.6),
    ("G9", "JumpReLU over TopK", "times", NOTHING, 1.3),
    ("G9", "ReLU + L1 over TopK", "times", NOTHING, 1.3),
    ("G10", "BatchTopK over TopK", "times", NOTHING, 1.25),
    ("G12", "host synchronisations", "a step", NOTHING, 0.0),
    ("G12", "nodes of the graph", "a step", NOTHING, 12.0),
    ("G13", "peak memory over 16 bytes a weight, 1.2 times the pre-activations and the batches", "times", NOTHING, 1.0),
    ("G14", "first step with an empty cache of kernels", "s", NOTHING, 10.0),
    ("G14", "first step with compiled kernels", "s", NOTHING, 2.0),
)
# What no GPU makes measurable here, and why.
UNMEASURED: dict[str, str] = {
    "training and generation over SAELens on the GPU": "no: the peer runs on the CPU",
    "generation over SAELens on the GPU": "no: the peer runs on the CPU",
    "matching pursuit over SAELens on the GPU": "no: the peer runs on the CPU",
    "generation, 16384 independent features": "no: independent supports are drawn on the host",
}


def row(
    goal: str,
    quantity: str,
    kind: str,
    found: Median | float,
    unit: str,
    *,
    least: float = NOTHING,
    most: float = NOTHING,
) -> dict[str, Any]:
    """Return a row of the table; a single number is its own interval, as of counts and of what was waited for."""
    value, low, high = found if isinstance(found, Median) else (found, found, found)
    values = (goal, quantity, kind, value, low, high, unit, least, most, "yes")
    return dict(zip(COLUMNS, values, strict=True))


def away(reasons: Mapping[str, str] | None = None) -> list[dict[str, Any]]:
    """Return the rows of what is measured on a GPU alone, as not measured; why is `NO_GPU` where no reason is given."""
    known = reasons or {}
    return [
        row(goal, what, "any", NOTHING, unit, least=a, most=b) | {"measured": known.get(what, NO_GPU)}
        for goal, what, unit, a, b in AWAY
    ]


def over(above: Sequence[float] | np.ndarray, below: Sequence[float] | np.ndarray) -> Median:
    """Return the median ratio of what was measured in turn."""
    return median_interval(np.asarray(above) / np.asarray(below))


def sentences(table: Table) -> list[str]:
    """Return a line for each row, judged by the end of its interval that speaks against us."""
    return [_sentence(each) for each in table.rows()]


def _sentence(each: dict[str, Value]) -> str:
    what = (
        f"{each['goal']}: {each['kind']}: {each['quantity']}"
        if each["kind"] != "any"
        else f"{each['goal']}: {each['quantity']}"
    )
    least, most, low, high = (float(each[name]) for name in ("least", "most", "low", "high"))
    asked = f"at least {least:g}" if least == least else f"at most {most:g}" if most == most else ""
    if each["measured"] != "yes":
        return f"not measured ({str(each['measured']).removeprefix('no: ')}): {what} ({asked})"
    interval = f" [{low:.3g}, {high:.3g}]" if low != high else ""
    said = f"{what}: {float(each['value']):.3g}{interval} {each['unit']}".rstrip()
    if not asked:
        return f"measured: {said}"
    holds = low >= least if least == least else high <= most
    return f"{'holds' if holds else 'DOES NOT HOLD'}: {said} ({asked})"
