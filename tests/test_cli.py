"""The command line: what it does, what it keeps, and one line on whatever is wrong."""

from __future__ import annotations

import shlex
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from sparsesim.cli import main
from sparsesim.generators import files
from sparsesim.study.store import Store
from sparsesim.validate import Arena, Protocol, protocol, read_validation, save_validation, worlds
from tests.report.sample import small_validation

ROOT = Path(__file__).resolve().parent.parent
TINY = Protocol("tiny", 1, (Arena("flat", worlds.flat(8, 0.2), "Does it work?"),), ("topk",), 2, 2, 200, 100, 20, 32)
MODEL = """
import torch

class Plain(torch.nn.Module):
    def __init__(self, dim, width):
        super().__init__()
        self.into, self.out = torch.nn.Linear(dim, width), torch.nn.Linear(width, dim)

    def encode(self, x):
        return torch.relu(self.into(x))

    def decode(self, z):
        return self.out(z)

class Broken(Plain):
    def encode(self, x):
        raise RuntimeError("not\\nwritten yet")

class Noisy(Plain):
    def encode(self, x):
        return torch.relu(self.into(x)) + torch.rand(1)

def stop(model, stream, steps, seed):
    raise KeyboardInterrupt

def after_two(model, stream, steps, seed):
    calls.append(seed)
    if len(calls) > 3:  # the trial, which trains twice, and one of two seeds
        raise KeyboardInterrupt
    return model

calls = []

def leaves(seed, width, dim):
    import sys
    sys.exit(0)
"""


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty folder to stand in, with a model in it and a protocol of one small world."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(protocol.PROTOCOLS, "tiny@1", TINY)
    (tmp_path / "plain_sae.py").write_text(MODEL, "utf-8")
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if "plain_sae" in name:
            del sys.modules[name]


def tiny(name="Plain", *more):
    return ["validate", f"plain_sae.py:{name}", "--protocol", "tiny", "--workers", "1", *more]


def one_line(capsys):
    """Return what was said on standard error, after checking that it is one line without a traceback."""
    said = capsys.readouterr().err
    last = said.splitlines()[-1]
    assert last.startswith("sparsesim: ") and "Traceback" not in said
    return last


def test_a_model_is_validated_and_its_page_written(home, capsys):
    assert main(tiny("Plain", "-o", "out")) == 0
    said = capsys.readouterr()
    assert "Plain, by tiny@1: better in" in said.out and said.out.endswith(f"report: {Path('out/report.html')}\n")
    assert "cells done" in said.err and "cells done" not in said.out
    found = read_validation("out")
    assert found.command == shlex.join(["sparsesim", *tiny("Plain", "-o", "out")])
    assert "Plain: validation on ground truth" in (home / "out" / "report.html").read_text("utf-8")


def test_interrupted_it_says_what_is_kept_and_goes_on_from_there(home, capsys):
    command = tiny("Plain", "--fit", "after_two", "-o", "out")
    assert main(command) == 130
    said = capsys.readouterr().err.splitlines()[-1]
    kept = len(Store(home / "out" / "store").keys())
    assert kept > 0
    assert f"interrupted; {kept} rows are kept in {Path('out/store')}. Go on with: sparsesim validate" in said
    assert not (home / "out" / "report.html").exists()
    assert main(shlex.split(said.split("Go on with: ")[1])[1:]) == 0  # the trial, and the seed that was left
    assert f"{kept} of " in capsys.readouterr().err.splitlines()[0]
    assert len(Store(home / "out" / "store").keys()) > kept


def test_interrupted_before_the_first_row_it_says_so(home, capsys):
    assert main(tiny("Plain", "--fit", "stop")) == 130
    assert "interrupted; no row is kept." in one_line(capsys)


def test_code_without_identity_is_told_to_lose_its_rows(home, capsys):
    with open(home / "plain_sae.py", "a", encoding="utf-8") as file:
        file.write("\ndef reads(seed, width, dim):\n    open('x')\n    return Plain(dim, width)\n")
    assert main(tiny("reads", "--fit", "stop")) == 2  # there is no file x
    assert "rows are not kept if this is interrupted" in capsys.readouterr().err


def test_fresh_seeds_are_drawn_and_can_be_chosen_again(home, capsys):
    assert main(tiny("Plain", "--fresh", "-o", "one")) == 0
    first = read_validation("one")
    words = shlex.split(first.command)
    number = words[words.index("--fresh") + 1]
    assert number.isdecimal()
    assert main([*tiny("Plain", "-o", "two"), "--fresh", number]) == 0
    second = read_validation("two")
    np.testing.assert_array_equal(first.table.column("mcc"), second.table.column("mcc"))
    assert min(first.table.column("seed")) >= 2**20


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["validate", "nothing.py:SAE"], "there is no file nothing.py"),
        (["validate", "plain_sae.py"], "say which model of plain_sae.py is meant"),
        (["validate", "plain_sae.py:Missing"], "holds no 'Missing'; there is"),
        (tiny("Broken"), "plain_sae.py:17: RuntimeError: not written yet"),
        (tiny("Noisy"), "encode is random"),
        (tiny("leaves"), "plain_sae.py:36: RuntimeError: the model's code calls sys.exit(0). Raise an exception"),
        (tiny("Plain", "--against", "topk,best"), "references must be a list of names among topk"),
        (tiny("Plain", "--seeds", "1"), "seeds"),
        (["validate", "plain_sae.py:Plain", "--protocol", "huge"], "protocol must be one of quick@1"),
        (tiny("Plain", "--world", "flat"), "--world goes with trained weights"),
        (tiny("Plain", "--seed", "0"), "--seed goes with trained weights"),
        (["validate", "weights"], "give --world"),
        (["validate", "weights", "--world", "flat"], "there is no weights"),
        (["validate", "weights", "--world", "flat", "--seeds", "3"], "--seeds goes with a model to train"),
        (["validate", "plain_sae.py", "--world", "flat"], "--world goes with trained weights"),
        (["report", "."], "validation.json is not there; give a folder"),
        (["report", "a", "b", "c"], "report takes one folder or two"),
    ],
)
def test_bad_input_is_one_line_that_teaches(home, capsys, arguments, message):
    assert main(arguments) == 2
    assert message in one_line(capsys)
    assert not (home / "report" / "report.html").exists()


@pytest.mark.parametrize("arguments", [["validate"], ["frobnicate"], ["validate", "a.py:B", "--prot", "quick"]])
def test_a_line_that_cannot_be_parsed_ends_with_two(capsys, arguments):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert "usage: sparsesim" in capsys.readouterr().err


def saved_weights(path: Path, atoms: np.ndarray) -> Path:
    np.savez(path, W_enc=atoms.T, W_dec=atoms, b_enc=np.full(len(atoms), -0.1), b_dec=np.zeros(atoms.shape[1]))
    return path


def test_trained_weights_are_scored_in_their_world(home, capsys):
    from sparsesim import Role, stream

    world = worlds.flat(8, 0.2).build(stream(3, Role.TRUTH))
    files.save(world, home / "world")
    weights = saved_weights(home / "true.npz", world.atoms)
    assert main(["validate", str(weights), "--world", "world", "--subtract-bias", "no", "-o", "out"]) == 0
    said = capsys.readouterr().out
    assert "recovered_at_90" in said and "report: " in said
    found = read_validation("out")
    scores = {one.metric: one.score.mean for one in found.standings}
    assert scores["mcc"] == pytest.approx(1.0, abs=1e-6)  # the true atoms, as float64 in the file
    assert found.subject == "true.npz" and found.portraits[0].cosines.shape == (8, 8)
    assert "was compared with nothing" in (home / "out" / "report.html").read_text("utf-8")


def test_weights_of_another_dimension_or_world_are_one_line(home, capsys):
    weights = saved_weights(home / "true.npz", np.eye(5))
    assert main(["validate", str(weights), "--world", "flat", "--subtract-bias", "no"]) == 2
    assert "5" in one_line(capsys)
    assert main(["validate", str(weights), "--world", "nowhere"]) == 2
    assert "--world must be a saved world's folder or one of flat, superposed" in one_line(capsys)


def test_the_page_is_drawn_again_in_its_place_or_elsewhere(home, capsys):
    save_validation(small_validation(), home / "saved")
    assert main(["report", "saved", "-o", "elsewhere"]) == 0
    assert main(["report", "saved"]) == 0
    assert (home / "saved" / "report.html").read_bytes() == (home / "elsewhere" / "report.html").read_bytes()


def test_two_validations_are_compared(home, capsys):
    save_validation(small_validation("old"), home / "before")
    save_validation(small_validation("new", shift=0.2), home / "after")
    assert main(["report", "before", "after", "-o", "both"]) == 0
    assert "<h1>new against old, before</h1>" in (home / "both" / "report.html").read_text("utf-8")
    assert capsys.readouterr().out == f"report: {Path('both/report.html')}\n"


def test_the_worlds_are_listed(capsys):
    assert main(["worlds"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 + 27
    assert lines[1].split()[:3] == ["flat", "32", "32"]


def test_without_a_command_it_says_which_there_are(capsys):
    assert main([]) == 2
    assert "sparsesim validate my_sae.py:MySAE" in capsys.readouterr().out


def test_help_is_fast_and_loads_nothing_heavy():
    code = (
        "import sys, sparsesim.cli\n"
        "try: sparsesim.cli.main(['--help'])\nexcept SystemExit: pass\n"
        "print([m for m in ('numpy', 'scipy', 'torch', 'numba', 'matplotlib', 'joblib') if m in sys.modules])"
    )
    began = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert time.monotonic() - began < 5  # 0.1 s; a machine may be busy, and what takes long is what is not loaded


def test_python_dash_m_is_the_same_program():
    done = subprocess.run([sys.executable, "-m", "sparsesim", "--version"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.startswith("sparsesim 0.")
