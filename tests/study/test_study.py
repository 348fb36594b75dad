from __future__ import annotations

import ast
import subprocess
import sys
from dataclasses import dataclass, replace
from functools import partial

import pytest

from sparsesim.study import Study, code_digest, labels, study_keys
from sparsesim.study import provenance as module
from sparsesim.study.provenance import provenance, source_digest, types_within
from tests.study import toy_cells as toy

CELLS = {labels(a=1): toy.Draw(0)}


def status(value: object) -> float:
    return 0.0


def a(value: object) -> float:
    return 0.0


@pytest.mark.parametrize("name", ["", "two words", "a/b", "../up", "1st", "a.b"])
def test_names_that_are_no_file_names_are_refused(name):
    with pytest.raises(ValueError, match="name must be"):
        Study(name, "?", CELLS, (toy.total,))


@pytest.mark.parametrize("metrics", [(status,), (a,), (toy.total, toy.total)])
def test_columns_that_clash_are_refused(metrics):
    with pytest.raises(ValueError, match=metrics[0].__name__):
        Study("s", "?", CELLS, metrics)


@pytest.mark.parametrize("metric", [lambda value: 0.0, partial(toy.total), 3])
def test_metrics_without_a_name_are_refused(metric):
    with pytest.raises(TypeError, match="Define it with def"):
        Study("s", "?", CELLS, (metric,))


@pytest.mark.parametrize(
    "cells",
    [
        {labels(a=1): toy.Draw(0), labels(b=1): toy.Draw(1)},
        {labels(a=1, b=1): toy.Draw(0), labels(b=1, a=1): toy.Draw(1)},
        {(("a", 1), ("a", 2)): toy.Draw(0)},
        {labels(status="x"): toy.Draw(0)},
        {labels(a=float("nan")): toy.Draw(0)},
        {labels(a="1"): toy.Draw(0)},
    ],
)
def test_labels_that_make_no_table_are_refused(cells):
    with pytest.raises(ValueError, match="label"):
        Study("s", "?", cells, (toy.total,))


@pytest.mark.parametrize("value", [True, None, (1, 2)])
def test_labels_are_words_and_numbers(value):
    with pytest.raises(TypeError, match="label a must be a string or a number"):
        Study("s", "?", {labels(a=value): toy.Draw(0)}, (toy.total,))


def test_keys_depend_on_cell_metrics_and_code_but_not_on_labels_or_order(monkeypatch):
    study = toy.draws(6)
    keys = study_keys(study)
    assert len(set(keys.values())) == 6
    assert study_keys(toy.draws(6, backwards=True)) == keys
    assert set(study_keys(replace(study, name="other", question="!")).values()) == set(keys.values())
    assert not set(study_keys(replace(study, metrics=(toy.total,))).values()) & set(keys.values())
    monkeypatch.setattr(sys.modules["sparsesim.study.run"], "code_digest", lambda: "other code")
    assert not set(study_keys(study).values()) & set(keys.values())


def test_a_cell_of_another_kind_changes_no_key_of_those_that_were_there():
    before, after = study_keys(toy.draws(3)), study_keys(toy.extended(3, other=toy.Napping(0, 0.0)))
    assert set(before.values()) < set(after.values()) and len(set(after.values())) == 4


def test_the_source_of_a_studys_own_metrics_counts_without_comments_and_docstrings(tmp_path):
    def digest(body: str) -> str:
        path = tmp_path / f"m{abs(hash(body))}.py"
        path.write_text(body)
        space: dict[str, object] = {"__name__": path.stem}
        exec(compile(body, str(path), "exec"), space)
        return source_digest([space["metric"]])

    plain = digest("def metric(x):\n    return 1.0\n")
    assert digest('def metric(x):\n    """Say so."""\n    return 1.0  # why\n') == plain
    assert digest("def metric(x):\n    return 2.0\n") != plain


def test_the_package_itself_is_covered_by_the_digest_of_its_code():
    assert source_digest([code_digest, Study]) == source_digest([])


def test_every_type_in_a_nested_specification_is_found():
    @dataclass(frozen=True)
    class Outer:
        inner: object

    assert set(types_within(Outer((1, [toy.Draw(0)], "x")))) == {Outer, toy.Draw}


def test_the_digest_of_the_code_sees_numbers_and_not_words(tmp_path, monkeypatch):
    def digest(**files: str) -> str:
        for name, text in files.items():
            path = tmp_path / name.replace("__", "/", 1)
            path = path.with_name(f"{path.name}.py")
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        code_digest.cache_clear()
        return code_digest()

    monkeypatch.setattr(module, "_PACKAGE", tmp_path)
    first = digest(solvers__a="def f(x):\n    return x + 1\n", study__store="x = 1\n")
    assert digest(solvers__a='"""Doc."""\n\n\ndef f(x):\n    "doc"\n    return (x + 1)  # why\n') == first
    assert digest(study__store="x = 2\n") == first
    changed = digest(solvers__a="def f(x):\n    return x + 2\n")
    assert changed != first
    assert digest(kernels__b="") != changed
    code_digest.cache_clear()


def test_the_digest_of_the_code_is_that_of_the_files_that_decide_a_number():
    files = {path for pattern in module._DECISIVE for path in module._PACKAGE.glob(pattern)}
    names = {path.relative_to(module._PACKAGE).as_posix() for path in files}
    assert {
        "_identity.py",
        "study/cell.py",
        "solvers/base.py",
        "kernels/synthesis.py",
        "metrics/evaluation.py",
    } <= names
    assert not {"study/run.py", "study/store.py"} & names
    assert all(ast.parse(path.read_text()) for path in files)


def test_provenance_names_versions_and_no_host():
    import platform

    seen = provenance()
    assert isinstance(seen["instructions"], str)
    assert {"sparsesim", "numpy", "torch", "commit", "threads", "device", "platform", "python", "time"} <= seen.keys()
    assert seen["time"].endswith("+00:00")
    assert platform.node() not in " ".join(map(str, seen.values())) or len(platform.node()) < 4


def test_provenance_never_fails_without_git(monkeypatch):
    def missing(*_: object, **__: object) -> None:
        raise FileNotFoundError("git")

    monkeypatch.setattr(subprocess, "run", missing)
    module._software.cache_clear()
    assert provenance()["commit"] is None
    module._software.cache_clear()
