"""Two validations are paired where they saw the same data, and only what both know is compared."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from sparsesim.report.validation import write_versus
from sparsesim.study.table import Table
from sparsesim.validate.files import read_validation
from sparsesim.validate.result import Outcome
from sparsesim.validate.versus import turns, versus
from tests.report.sample import METRICS, WORLDS, sample_validation


def with_column(validation, name, values):
    return dataclasses.replace(validation, table=Table({**validation.table.columns, name: tuple(values)}))


def test_a_constant_shift_is_found_in_every_world_and_metric():
    found = versus(sample_validation("old"), sample_validation("new", shift=0.2)).comparisons
    assert {(one.world, one.metric) for one in found} == {(world, metric) for world in WORLDS for metric in METRICS}
    assert {one.reference for one in found} == {"old (before)"}
    # Noise and seeds are the same on both sides: every difference is the shift, up to the rounding of a sum of five.
    np.testing.assert_allclose([one.difference.mean for one in found], 0.2, rtol=1e-9)
    assert {one.outcome for one in found} == {Outcome.BETTER}


def test_confidence_and_looks_of_the_validations_hold_for_the_comparison_of_the_two():
    before = dataclasses.replace(sample_validation(), confidence=0.8, looks=(5,))
    after = dataclasses.replace(sample_validation(shift=0.2), confidence=0.9, looks=(5, 8))
    both = versus(before, after)
    count = len(both.comparisons)
    assert {one.difference.confidence for one in both.comparisons} == {1 - (1 - 0.9) / (2 * count)}
    assert (both.confidence, both.looks) == (0.9, (5, 8))
    assert "hold together with confidence 90%" in str(both)
    plain = versus(sample_validation(), sample_validation())
    assert plain.comparisons[0].difference.confidence == pytest.approx(1 - 0.05 / count)


def test_a_validation_against_itself_is_the_same():
    found = versus(sample_validation(), sample_validation()).comparisons
    assert {one.outcome for one in found} == {Outcome.SAME}
    assert all(one.difference.mean == 0 and one.inside for one in found)


def test_only_common_seeds_are_paired():
    found = versus(sample_validation(seeds=3), sample_validation(seeds=5)).comparisons
    assert {one.difference.n for one in found} == {3}


def test_rows_of_other_data_are_not_paired():
    one = sample_validation()
    length = len(one.table)
    here = with_column(one, "fingerprint", [1.5] * length)
    seeds = one.table.values("seed")
    there = with_column(one, "fingerprint", [2.5 if seed == 0 else 1.5 for seed in seeds])
    assert {found.difference.n for found in versus(here, there).comparisons} == {4}
    with pytest.raises(ValueError, match="have no two seeds of a world in common"):
        versus(here, with_column(one, "fingerprint", [9.0] * length))


def test_other_protocols_are_refused():
    with pytest.raises(ValueError, match="only validations under one protocol are paired; got quick@1 and standard@1"):
        versus(sample_validation(), dataclasses.replace(sample_validation(), protocol="standard@1"))


def test_the_provenance_says_what_was_another():
    before = dataclasses.replace(sample_validation(), provenance={"numpy": "1.26", "seeds": 5})
    both = versus(before, dataclasses.replace(sample_validation(), provenance={"numpy": "2.4", "seeds": 5}))
    assert both.provenance == {"numpy": "2.4", "seeds": 5, "numpy (before)": "1.26"}


def test_outcomes_that_turned_are_told():
    before, after = sample_validation(), sample_validation(shift=0.2)
    found = turns(before, after)
    changed = sum(a.outcome is not b.outcome for a, b in zip(before.comparisons, after.comparisons, strict=True))
    assert len(found) == changed > 5
    assert {one.before for one in found} > {Outcome.WORSE} and Outcome.WORSE not in {one.after for one in found}
    assert turns(before, before) == ()


def test_the_page_of_two_says_both_and_can_be_read_back(tmp_path):
    one, two = sample_validation("old & first"), sample_validation("new", shift=0.2)
    short = {"standings": (), "causes": (), "portraits": (), "questions": {"tree": "?"}}
    page = write_versus(dataclasses.replace(one, **short), dataclasses.replace(two, **short), tmp_path)
    text = page.read_text("utf-8")
    assert "<h1>new against old &amp; first, before</h1>" in text
    assert '<section id="turned">' in text
    assert "old &amp; first (before)" in text
    assert {found.world for found in read_validation(tmp_path).comparisons} == {"tree"}
