"""The command line of the studies writes whole tables only."""

from __future__ import annotations

import numpy as np

from sparsesim.study import Store, Study, labels, run
from studies.__main__ import computed_with, main
from tests.study.toy_cells import Draw


def trace(matrix) -> float:
    return float(np.trace(matrix))


def test_an_unfinished_study_does_not_overwrite_the_table(tmp_path, capsys):
    table = tmp_path / "bakeoff.csv"
    table.write_text("as committed\n")
    assert main(["table", "bakeoff", "--store", str(tmp_path / "store"), "--tables", str(tmp_path)]) == 1
    assert table.read_text() == "as committed\n"
    assert "no table is written" in capsys.readouterr().err


def test_the_provenance_says_what_the_rows_were_computed_with(tmp_path):
    study = Study("toy", "?", {labels(seed=seed): Draw(seed) for seed in range(3)}, (trace,))
    with Store(tmp_path) as store:
        run(study, store, engine="inline")
        facts = computed_with(study, store)
    assert facts["cells"] == 3
    assert facts["numpy"] == np.__version__  # one value, not three
    assert facts["first row"] <= facts["last row"]


def test_an_interrupted_run_says_what_is_kept_and_how_to_go_on(tmp_path, monkeypatch, capsys):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("studies.__main__.run", interrupted)
    assert main(["run", "bakeoff", "--store", str(tmp_path), "--tables", str(tmp_path)]) == 130
    assert "0 of 350 cells are kept; run it again" in capsys.readouterr().err
    assert not (tmp_path / "bakeoff.csv").exists()
