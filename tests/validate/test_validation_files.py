"""What is saved is read back as it was, and whatever happened to the files since is said."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math

import numpy as np
import pytest

from sparsesim.study.interval import Interval
from sparsesim.validate.files import FACTS, ROWS, read_validation, save_validation
from tests.report.sample import EVIL, sample_validation


@pytest.fixture(scope="module")
def validation():
    return sample_validation(EVIL, failures=("the cell of tree ended in ValueError: née\u2028",))


@pytest.fixture
def saved(validation, tmp_path):
    return save_validation(validation, tmp_path / "out")


def test_all_fields_come_back(validation, saved):
    back = read_validation(saved)
    for field in dataclasses.fields(validation):
        if field.name != "portraits":
            assert getattr(back, field.name) == getattr(validation, field.name), field.name
    for ours, theirs in zip(back.portraits, validation.portraits, strict=True):
        assert (ours.world, ours.seed) == (theirs.world, theirs.seed)
        for name in ("cosines", "error", "rate"):
            np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name))


def test_confidence_and_looks_come_back_and_files_without_them_are_read(validation, tmp_path):
    save_validation(dataclasses.replace(validation, confidence=0.9, looks=(5, 8)), tmp_path)
    back = read_validation(tmp_path)
    assert (back.confidence, back.looks) == (0.9, (5, 8))
    whole = json.loads((tmp_path / FACTS).read_text("utf-8"))
    content = whole["validation"]
    for owner, names in (
        (content, ("confidence", "looks")),
        *((one, ("attempted",)) for one in content["comparisons"]),
    ):
        for name in names:
            del owner[name]
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
    whole["digest"] = hashlib.sha256(canonical.encode()).hexdigest()
    (tmp_path / FACTS).write_text(json.dumps(whole), "utf-8")
    old = read_validation(tmp_path)
    assert (old.confidence, old.looks, old.comparisons[0].attempted) == (0.95, (), 0)


def test_to_save_what_was_read_gives_the_same_bytes(saved, tmp_path):
    again = save_validation(read_validation(saved), tmp_path / "again")
    for name in (FACTS, ROWS):
        assert (saved / name).read_bytes() == (again / name).read_bytes()


def test_nothing_but_the_two_files_is_left(saved):
    assert sorted(path.name for path in saved.iterdir()) == [ROWS, FACTS]


def test_a_number_that_is_not_finite_comes_back(validation, tmp_path):
    odd = dataclasses.replace(
        validation.comparisons[0],
        difference=Interval(0.1, math.nan, math.inf, 1),
        detectable=math.inf,
        p_value=-math.inf,
    )
    save_validation(dataclasses.replace(validation, comparisons=(odd,)), tmp_path)
    back = read_validation(tmp_path).comparisons[0]
    assert math.isnan(back.difference.low) and back.difference.high == back.detectable == math.inf
    assert back.p_value == -math.inf
    json.loads((tmp_path / FACTS).read_text("utf-8"), parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))


def test_half_a_character_in_a_message_comes_back(validation, tmp_path):
    odd = dataclasses.replace(validation, failures=("no file named \udce9t\udce9",))
    assert read_validation(save_validation(odd, tmp_path)).failures == odd.failures


def test_a_fact_that_json_cannot_hold_is_named_and_nothing_is_written(validation, tmp_path):
    odd = dataclasses.replace(validation, provenance={"engine": object()})
    with pytest.raises(TypeError, match=r"validation\.provenance\['engine'\] must be a string"):
        save_validation(odd, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_without_a_validation_says_what_to_give(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"validation\.json is not there; give a folder"):
        read_validation(tmp_path)


@pytest.mark.parametrize("name", [FACTS, ROWS])
@pytest.mark.parametrize("place", [0.3, 0.5, 0.8])
def test_a_flipped_bit_is_noticed_wherever_it_falls(saved, name, place):
    data = bytearray((saved / name).read_bytes())
    data[int(place * len(data))] ^= 1
    (saved / name).write_bytes(bytes(data))
    with pytest.raises(ValueError, match=rf"{name}.*Run sparsesim validate again"):
        read_validation(saved)


@pytest.mark.parametrize("name", [FACTS, ROWS])
def test_a_truncated_file_is_noticed(saved, name):
    data = (saved / name).read_bytes()
    (saved / name).write_bytes(data[: len(data) // 2])
    with pytest.raises(ValueError, match=r"cut off or damaged|is not the one"):
        read_validation(saved)


def test_rows_of_another_validation_are_noticed(saved, tmp_path):
    other = save_validation(sample_validation(shift=0.1), tmp_path / "other")
    (saved / ROWS).write_bytes((other / ROWS).read_bytes())
    with pytest.raises(ValueError, match="is not the one that was written with"):
        read_validation(saved)


def test_a_pickle_and_other_bytes_are_refused(saved):
    (saved / FACTS).write_bytes(b"\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00\x8c\x02os\x94.")
    with pytest.raises(ValueError, match="is not JSON"):
        read_validation(saved)


def test_deeply_nested_json_is_no_crash(saved):
    (saved / FACTS).write_text("[" * 200_000)
    with pytest.raises(ValueError, match="is not JSON"):
        read_validation(saved)


def test_an_oversized_file_is_not_read(saved, monkeypatch):
    monkeypatch.setattr("sparsesim.validate.files.LARGEST", 100)
    with pytest.raises(ValueError, match="rows have at most 100"):
        read_validation(saved)
    monkeypatch.setattr("sparsesim.generators.untrusted.MAX_JSON", 100)
    with pytest.raises(ValueError, match=r"has at most 100\. The file in .* is cut off or damaged"):
        read_validation(saved)


def test_a_key_that_stands_twice_is_noticed(saved):
    text = (saved / FACTS).read_text("utf-8").replace('"subject":', '"subject": 1, "subject":', 1)
    (saved / FACTS).write_text(text, "utf-8")
    with pytest.raises(ValueError, match="the key 'subject' stands in it twice"):
        read_validation(saved)


def test_strings_are_not_touched_by_the_layout(tmp_path):
    odd = "[\n1,\n 2]"
    save_validation(sample_validation(odd), tmp_path)
    assert read_validation(tmp_path).subject == odd
    assert len((tmp_path / FACTS).read_text("utf-8").splitlines()) < 2000


def _edited(saved, change):
    """Change the content as someone would who also knows how to renew the digest."""
    from sparsesim.validate.files import _canonical, _digest

    whole = json.loads((saved / FACTS).read_text("utf-8"))
    change(whole["validation"])
    whole["digest"] = _digest(_canonical(whole["validation"]))
    (saved / FACTS).write_text(json.dumps(whole), "utf-8")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda v: v.pop("command"), r"lacks \['command'\]"),
        (lambda v: v.update(extra=1), r"unknown \['extra'\]"),
        (lambda v: v.update(subject=3), r"validation\.subject must be str; got 3"),
        (
            lambda v: v["comparisons"][0].update(outcome="best"),
            r"comparisons\[0\]\.outcome must be Outcome; got 'best'",
        ),
        (lambda v: v["comparisons"][1].update(inside=1), r"inside must be bool; got 1"),
        (lambda v: v["standings"][0]["score"].update(mean="0.5"), r"score\.mean must be float; got '0\.5'"),
        (lambda v: v["standings"][0].update(score=[1]), "score must be an object with the fields of Interval"),
        (lambda v: v["portraits"][0].update(error=[1.0]), r"must have shapes \(m, p\), \(m,\), \(m,\)"),
        (lambda v: v["portraits"][0]["cosines"].append([0.0]), "rectangular list of numbers"),
        (lambda v: v["portraits"][0]["rate"].__setitem__(0, "x"), "rectangular list of numbers"),
        (lambda v: v.update(card=[["one"]]), r"card\[0\] must be tuple"),
        (lambda v: v.update(table=1), "without its table"),
        (lambda v: v["standings"][0]["score"].update(n=-1), r"standings\[0\]\.score must have n >= 0 .*n=-1"),
        (lambda v: v["comparisons"][0]["difference"].update(confidence=1.0), "confidence between 0 and 1; got"),
        (lambda v: v.update(margin=-0.1), r"validation\.margin must be a number from 0 on; got -0\.1"),
        (lambda v: v.update(margin="NaN"), r"validation\.margin must be a number from 0 on; got nan"),
    ],
)
def test_a_field_of_another_kind_is_named(saved, change, message):
    _edited(saved, change)
    with pytest.raises(ValueError, match=message):
        read_validation(saved)


def test_another_format_is_refused(saved):
    text = (saved / FACTS).read_text("utf-8").replace("sparsesim-validation/1", "sparsesim-validation/9")
    (saved / FACTS).write_text(text, "utf-8")
    with pytest.raises(ValueError, match=r"must be of format 'sparsesim-validation/1'; got 'sparsesim-validation/9'"):
        read_validation(saved)
