"""The page in a real browser: it loads without complaint, asks nobody for anything, sorts, filters, fits a phone."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from sparsesim.report.validation import render_validation
from tests.report.sample import EVIL, sample_validation, small_validation

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine")

# What the harness does is written into the page around it: the page stands in a frame of the width of a phone or a
# desk, is clicked like a reader does, and what it then shows is read.
HARNESS = """<!doctype html><meta charset="utf-8"><title>harness</title><body style="margin:0">
<iframe id="page" style="width:%(width)dpx;height:800px;border:0" srcdoc="%(page)s"></iframe><pre id="found"></pre>
<script>
var found = {errors: []};
document.getElementById('page').addEventListener('load', function () {
  var frame = document.getElementById('page').contentWindow, doc = frame.document;
  frame.addEventListener('error', function (event) { found.errors.push(String(event.message)); });
  function all(query) { return Array.prototype.slice.call(doc.querySelectorAll(query)); }
  function shown(query) {
    return all(query).filter(function (e) { return e.getClientRects().length; });
  }
  function column(number) {
    return shown('#comparisons tbody tr').map(function (row) { return row.cells[number].textContent; });
  }
  function choose(name, value) {
    var select = doc.querySelector('select[name=' + name + ']');
    select.value = value;
    select.dispatchEvent(new frame.Event('change'));
  }
  try { %(steps)s } catch (error) { found.errors.push(String(error)); }
  document.getElementById('found').textContent = JSON.stringify(found);
});
</script>"""


def chromium(path: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    # The browser itself calls home; here no name is found, and its calls are told from the page's by their initiator.
    command += [f"--user-data-dir={path.parent / 'profile'}", "--host-resolver-rules=MAP * ~NOTFOUND"]
    return subprocess.run(
        [*command, "--virtual-time-budget=5000", *flags, path.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
    )


def look_at(tmp_path: Path, page: str, steps: str, width: int = 1280) -> dict:
    """Return what the JavaScript ``steps`` put into ``found`` with ``page`` in a frame of ``width`` pixels."""
    path = tmp_path / "harness.html"
    path.write_text(HARNESS % {"page": html.escape(page), "steps": steps, "width": width}, "utf-8")
    done = chromium(path, "--dump-dom")
    text = re.search(r'<pre id="found">(.*?)</pre>', done.stdout, re.DOTALL)
    assert text and text[1], done.stderr[-2000:]
    found = json.loads(html.unescape(text[1]))
    assert found.pop("errors") == []
    return found


@pytest.fixture(scope="module")
def whole():
    return sample_validation()


@pytest.fixture(scope="module")
def page(whole):
    return render_validation(whole)


def loaded(tmp_path: Path, page: str) -> tuple[str, str, set[str]]:
    """Return the document, what the console said, and who asked the network for something."""
    path, log = tmp_path / "report.html", tmp_path / "net.json"
    path.write_text(page, "utf-8")
    done = chromium(path, "--dump-dom", "--enable-logging=stderr", f"--log-net-log={log}")
    asked = set(re.findall(r'"initiator":"(.*?)"', log.read_text("utf-8", "replace"))) - {"not an origin"}
    return done.stdout, "\n".join(re.findall(".*CONSOLE.*", done.stderr)), asked


def test_it_loads_without_complaint_and_asks_the_network_for_nothing(tmp_path, page):
    document, console, asked = loaded(tmp_path, page)
    assert "<output>27 of 27 comparisons shown</output>" in document  # the script has run
    assert (console, asked) == ("", set())


def test_a_page_that_complains_and_asks_would_be_noticed_and_is_kept_from_the_network(tmp_path, page):
    bad = page.replace("<h1>", '<img src="http://127.0.0.1:9/x.png"><script>fails()</script><h1>', 1)
    _, console, asked = loaded(tmp_path, bad)
    assert "fails is not defined" in console and "Content Security Policy" in console
    assert asked == set()
    _, _, asked = loaded(tmp_path, re.sub("<meta http-equiv.*?>", "", bad))
    assert asked != set()


def test_a_click_on_a_header_sorts_and_a_second_turns_it_round(tmp_path, page, whole):
    steps = """
      var heads = all('#comparisons th');
      heads[1].click(); found.up = column(1); found.sorted = heads[1].getAttribute('aria-sort');
      heads[1].click(); found.down = column(1);
      heads[2].click(); found.world = column(2); found.other = heads[1].getAttribute('aria-sort');
      heads[10].dispatchEvent(new frame.KeyboardEvent('keydown', {key: 'Enter'})); found.needed = column(10);
      heads[10].click(); found.neededDown = column(10);
    """
    found = look_at(tmp_path, page, steps)

    def means(texts):
        return [float(text.split(" ")[0].replace("−", "-")) for text in texts]

    expected = sorted(round(one.difference.mean, 3) for one in whole.comparisons)
    assert means(found["up"]) == expected
    assert means(found["down"]) == expected[::-1]
    assert found["world"] == sorted(one.world for one in whole.comparisons)
    assert (found["sorted"], found["other"]) == ("ascending", "none")
    for texts, reverse in ((found["needed"], False), (found["neededDown"], True)):
        numbers = [int(text) for text in texts if text.isdecimal()]
        assert len(numbers) > 2 and numbers == sorted(numbers, reverse=reverse)
        assert texts[len(numbers) :] == ["–"] * (len(texts) - len(numbers))  # what has none stands last, both ways


def test_filters_leave_what_fits_and_can_be_undone(tmp_path, page, whole):
    steps = """
      function state() {
        return [column(2), shown('.world').length, doc.querySelector('output').textContent, column(0)];
      }
      choose('world', 'tree'); found.world = state();
      choose('outcome', 'better'); found.both = state();
      doc.querySelector('.filters button').click(); found.all = state();
      doc.querySelector('a.chip.worse').click(); found.chip = state();
    """
    found = look_at(tmp_path, page, steps)
    comparisons = whole.comparisons
    assert found["world"][:2] == [["tree"] * 9, 1]
    better = [one for one in comparisons if one.world == "tree" and one.outcome.value == "better"]
    assert found["both"][:3] == [["tree"] * len(better), 1, f"{len(better)} of 27 comparisons shown"]
    assert found["all"][:3] == [[one.world for one in comparisons], 3, "27 of 27 comparisons shown"]
    assert set(found["chip"][3]) == {"▼ WORSE"}
    assert len(found["chip"][0]) == sum(one.outcome.value == "worse" for one in comparisons)


def test_a_phone_shows_it_without_scrolling_sideways(tmp_path, page):
    steps = """
      found.inner = frame.innerWidth; found.scroll = doc.documentElement.scrollWidth;
      found.figures = all('figure svg').map(function (e) { return e.getBoundingClientRect().right; });
      found.wide = all('.scroll').filter(function (e) { return e.scrollWidth > e.clientWidth; }).length;
    """
    found = look_at(tmp_path, page, steps, width=390)
    assert found["inner"] == 390
    assert found["scroll"] <= 390
    assert max(found["figures"]) <= 390  # pictures shrink; only tables scroll, each within itself
    assert found["wide"] >= 1


def test_long_names_with_markup_are_text_that_breaks(tmp_path):
    name = EVIL + "a" * 300
    page = render_validation(small_validation(name, portraits=(), causes=(), standings=(), failures=(name,)))
    steps = """
      found.title = doc.querySelector('h1').textContent; found.images = all('img').length;
      found.scroll = doc.documentElement.scrollWidth;
    """
    found = look_at(tmp_path, page, steps, width=390)
    assert found.pop("scroll") <= 390
    assert found == {"title": f"{name}: validation on ground truth", "images": 0}


def test_without_the_script_all_rows_are_there_and_no_control_that_does_nothing(tmp_path, page):
    bare = re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL)
    found = look_at(tmp_path, bare, "found.rows = column(2).length; found.filters = shown('.filters').length;")
    assert found == {"rows": 27, "filters": 0}
