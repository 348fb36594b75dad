"""What a run says of the time that is left comes true when cells cost the same."""

from __future__ import annotations

import io
import re

from sparsesim.study.run import CellsDone, Finished, Started, progress


def test_lines_say_the_time_that_is_left(monkeypatch):
    import sys

    clock, out = [100.0], io.StringIO()
    monkeypatch.setattr(sys.modules["sparsesim.study.run"].time, "monotonic", lambda: clock[0])
    told = progress(out, every=20.0)
    told(Started("toy", 110, 10))
    for done in range(11, 111):
        clock[0] += 3.0
        told(CellsDone(done, 110))
    told(Finished(110, 0, 300.0))
    lines = out.getvalue().splitlines()
    assert lines[1] == "11 of 110 cells done"
    for line in lines[2:-1]:
        done, number, unit = re.fullmatch(r"(\d+) of 110 cells done, about (\d+) (s|min) left", line).groups()
        left = 3 * (110 - int(done))
        said = int(number) * (60 if unit == "min" else 1)
        assert abs(said - left) <= (30 if unit == "min" else 1)  # rounded to its unit
    assert len(lines) > 10


def test_a_second_run_starts_its_estimate_anew(monkeypatch):
    import sys

    clock, out = [0.0], io.StringIO()
    monkeypatch.setattr(sys.modules["sparsesim.study.run"].time, "monotonic", lambda: clock[0])
    told = progress(out, every=1.0)
    for pace in (1.0, 5.0):
        told(Started("toy", 10, 0))
        for done in (1, 2):
            clock[0] += pace
            told(CellsDone(done, 10))
    assert "about 8 s left" in out.getvalue()
    assert "about 40 s left" in out.getvalue()
