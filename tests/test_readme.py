"""The code of the README runs as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

import torch

from sparsesim import worlds
from sparsesim.validate import Arena, Protocol

README = (Path(__file__).resolve().parent.parent / "README.md").read_text(encoding="utf-8")


def test_the_python_blocks_run_in_order_and_the_model_beats_chance(capsys, tmp_path, monkeypatch):
    blocks = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    assert len(blocks) == 7
    monkeypatch.chdir(tmp_path)  # one of them saves a world, one a report
    flat = Arena("flat", worlds.flat(8, 0.2), "Does it work?")
    tiny = Protocol("tiny", 1, (flat,), ("topk",), 2, 2, 200, 100, 30, 32, shares=(1.0,))
    namespace: dict[str, object] = {"tiny": tiny}
    state = torch.random.get_rng_state()
    try:
        torch.manual_seed(0)  # the user's own model draws its weights from the global generator
        for block in blocks:  # the protocol as printed takes a minute or three
            exec(block.replace('protocol="quick@1"', "protocol=tiny"), namespace)
    finally:
        torch.random.set_rng_state(state)
    printed = capsys.readouterr().out
    assert "floor" in printed and "genie" in printed
    ss = namespace["ss"]
    card = ss.evaluate(namespace["model"], ss.worlds.superposed().build(ss.stream(0, ss.Role.TRUTH)))
    assert card["mcc"].score.mean > card["mcc"].floor.mean + 0.05
    assert "Held against" in (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    assert namespace["pursued"].encode(namespace["train"][:5]).shape == (5, 52)


def test_every_make_target_the_readme_names_exists():
    makefile = (Path(__file__).resolve().parent.parent / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"make (\w[\w-]*)", README):
        if target not in ("worlds",):
            assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), f"README names make {target}"
