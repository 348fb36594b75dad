"""The command line of the studies writes whole tables only."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from sparsesim.study import Grouped, Policy, Store, Study, labels, run, study_keys
from studies.__main__ import computed_with, main
from tests.study import toy_cells as toy
from tests.study.test_grouping import sweep
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


def toys(monkeypatch, study):
    """Let the command line know one study, which is a toy."""
    monkeypatch.setattr("studies.__main__.load", lambda name, tier: study)


def test_a_run_lists_what_failed_and_retry_and_fsck_know_its_store(tmp_path, monkeypatch, capsys):
    toys(monkeypatch, toy.extended(3, bad=toy.Raises()))
    place = ["--store", str(tmp_path), "--engine", "inline"]
    assert main(["status", "toy", *place]) == 0 and "no store yet" in capsys.readouterr().out
    assert main(["run", "toy", *place]) == 1
    said = capsys.readouterr().err
    assert "1 of 4 cells of study toy failed" in said and "failed: {'kind': 'bad', 'seed': -1}" in said
    assert main(["status", "toy", *place]) == 0
    said = capsys.readouterr().out
    assert "3 of 4 cells are done" in said and "toy: 3 done" in said and "1 in ValueError" in said
    assert main(["retry", "toy", *place]) == 0 and "1 cell(s) will run again" in capsys.readouterr().out
    (segment,) = [path for path in (tmp_path / "segments").iterdir() if b'"row"' in path.read_bytes()]
    segment.write_bytes(segment.read_bytes() + b"torn")
    assert main(["fsck", "toy", *place]) == 1 and "torn line" in capsys.readouterr().out
    assert main(["fsck", "toy", *place, "--repair"]) == 0 and main(["fsck", "toy", *place]) == 0


def test_groups_and_timeouts_are_flags(tmp_path, monkeypatch):
    seen = {}

    def remembered(study, store, **options):
        seen.update(options, cells=list(study.cells.values()))
        raise KeyboardInterrupt

    toys(monkeypatch, sweep())
    monkeypatch.setattr("studies.__main__.run", remembered)
    place = ["--store", str(tmp_path), "--engine", "local:2"]
    assert main(["run", "toy", *place, "--group", "4", "--timeout", "7"]) == 130
    assert seen["policy"] == Policy(timeout=7.0) and seen["engine"] == "local:2"
    assert any(isinstance(cell, Grouped) for cell in seen["cells"])
    assert main(["run", "toy", *place]) == 130
    assert seen["policy"] == Policy() and not any(isinstance(cell, Grouped) for cell in seen["cells"])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("run nothing", "no study 'nothing'; there are bakeoff"),
        ("run bakeoff --engine fast", "engine must be"),
        ("run bakeoff --engine local:0", "workers must lie in"),
        ("run bakeoff --engine slurm:nowhere.toml", "nowhere.toml"),
        ("run bakeoff --group 1", "--group must lie in"),
        ("run bakeoff --timeout -1", "timeout must be"),
        ("run bakeoff --timeout 5 --engine inline", "take local:1"),
        ("fsck bakeoff", "no store in"),
        ("retry bakeoff", "no store in"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_status_2(tmp_path, capsys, words, said):
    store = tmp_path / "store"
    assert main([*words.split(), "--store", str(store)]) == 2
    err = capsys.readouterr().err
    assert said in err and err.count("\n") == 1 and not store.exists()


def test_a_store_that_contradicts_itself_is_one_line_and_status_2(tmp_path, monkeypatch, capsys):
    study = toy.draws(2)
    toys(monkeypatch, study)
    for value in (1.0, 2.0):
        with Store(tmp_path) as store:
            store.append(next(iter(study_keys(study).values())), {"status": "done", "total": value, "largest": value})
    for command in ("run", "table", "status"):
        assert main([command, "toy", "--store", str(tmp_path), "--engine", "inline"]) == 2
        err = capsys.readouterr().err
        assert "two different rows" in err and "fsck --repair" in err and err.count("\n") == 1


def test_the_provenance_of_a_table_says_that_rows_were_trained_together(tmp_path, monkeypatch):
    study = sweep()
    toys(monkeypatch, replace(study, cells=dict(list(study.cells.items())[:9])))  # of one seed
    place = ["--store", str(tmp_path / "s"), "--tables", str(tmp_path), "--engine", "inline"]
    for flags, said in ((["--group", "8"], "0, 2, 6"), ([], None)):  # the floors are trained by themselves
        assert main(["run", "toy", *place, *flags]) == 0
        assert json.loads((tmp_path / "toy.provenance.json").read_text()).get("grouped") == said
