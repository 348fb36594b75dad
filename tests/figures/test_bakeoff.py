"""The claims of the bake-off say what their sentences say."""

from __future__ import annotations

import pytest

from paper_figures import bakeoff
from paper_figures.__main__ import main
from paper_figures.palette import LOOKS
from sparsesim.report.claims import Claim, Verdict
from sparsesim.study.table import Table
from studies.bakeoff import METRICS

NAMES = tuple(metric.__name__ for metric in METRICS)


def invented(**scores: float) -> Table:
    """A table of three seeds in which every score is 0.5 but those given as ``world__solver__metric``."""
    rows = [
        [world, solver, seed, "done", *(scores.get(f"{world}__{solver}__{name}", 0.5) + 1e-4 * seed for name in NAMES)]
        for world in bakeoff.ORDER
        for solver in LOOKS
        for seed in range(3)
    ]
    return Table.of_rows(["world", "solver", "seed", "status", *NAMES], rows)


def claim(table: Table, begins: str) -> Claim:
    (found,) = [one for one in bakeoff.claims(table) if one.sentence.startswith(begins)]
    return found


def test_chance_that_is_missed_upwards_in_one_world_and_downwards_in_another_is_not_reproduced():
    assert claim(invented(), "A random dictionary").verdict is Verdict.REPRODUCED
    off = invented(flat__random__mcc=0.6, tree__random__mcc=0.4)
    assert claim(off, "A random dictionary").verdict is Verdict.FAILED


@pytest.mark.parametrize("world", bakeoff.ORDER)
def test_a_vae_that_finds_the_axes_of_any_world_contradicts_the_claim(world):
    blind = {f"{name}__vae__mcc_corrected": 0.0 for name in bakeoff.ORDER}
    assert claim(invented(**blind), "A Gaussian VAE").verdict is Verdict.REPRODUCED
    assert claim(invented(**{**blind, f"{world}__vae__mcc_corrected": 0.9}), "A Gaussian VAE").verdict is Verdict.FAILED


def test_the_hierarchy_is_compared_with_a_world_of_rates_as_unequal():
    worse = invented(zipf__topk__mcc_corrected=0.9, superposed__topk__mcc_corrected=0.1)
    assert claim(worse, "Hierarchical").measured.mean == pytest.approx(0.4)  # 0.9 - 0.5, seeds cancel


def test_a_missing_table_is_named_with_the_command_that_makes_it(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["--tables", str(tmp_path), "--out", str(tmp_path)])
    assert "studies run bakeoff" in capsys.readouterr().err
