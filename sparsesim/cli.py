"""``sparsesim validate | report | worlds | status | retry | fsck``: the command line."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sparsesim import __version__

if TYPE_CHECKING:
    from sparsesim.generators.base import FeatureModel, FeatureSpec
    from sparsesim.validate.result import Validation

EXAMPLE = """\
examples:
  sparsesim validate my_sae.py:MySAE                  class MySAE(dim, width), or a factory (seed, width, dim)
  sparsesim validate my_sae.py:MySAE --protocol standard --against topk,mp -o report/
  sparsesim validate weights/ --world saved_world/    an SAE that is trained already
  sparsesim report report/                            draw the page again
  sparsesim report before/ after/ -o changes/         what changed from one to the other
  sparsesim worlds                                    the worlds of each protocol
  sparsesim fsck report/store --repair                set aside what a crash left in a store of rows
"""
INTERRUPTED = 130
_TRAINED_ONLY = ("world", "seed", "trust_pickle", "subtract_bias")
_UNTRAINED_ONLY = ("protocol", "against", "seeds", "workers", "fresh", "fit", "store")


class UsageError(ValueError):
    """The command line asks for something that does not go together; one line says what to give instead."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status: 0, 1 if cells failed, 2 for bad input, 130 when interrupted."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    options = _parser().parse_args(given)
    command: Callable[[argparse.Namespace, str], int] | None = options.run
    if command is None:
        _parser().print_help()
        return 2
    try:
        return command(options, shlex.join(["sparsesim", *given]))
    except KeyboardInterrupt:
        _say("interrupted.")
        return INTERRUPTED
    except (ValueError, TypeError, OSError) as error:
        _say(_one_line(error))
        return 2
    except SystemExit as error:
        _say(f"the model's code calls sys.exit({error.code!r}). Raise an exception instead.")
        return 2


def _say(text: str) -> None:
    print(f"sparsesim: {text}", file=sys.stderr)


def _one_line(error: BaseException, said: str = "") -> str:
    """Return what is ``said`` of an error, by default its message, and its notes on one line."""
    return " ".join(" ".join([said or str(error) or type(error).__name__, *getattr(error, "__notes__", ())]).split())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sparsesim",
        description="A ruler for sparse autoencoders and sparse coding, on worlds with known truth.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"sparsesim {__version__}")
    parser.set_defaults(run=None)
    commands = parser.add_subparsers(title="commands", metavar="validate | report | worlds | status | retry | fsck")
    validate = commands.add_parser(
        "validate", allow_abbrev=False, help="score a model between chance, references and the truth"
    )
    _add_validate(validate)
    report = commands.add_parser("report", allow_abbrev=False, help="draw a saved validation again, or compare two")
    report.add_argument("folders", nargs="+", type=Path, metavar="FOLDER", help="one, or the earlier and the later")
    report.add_argument("-o", "--out", type=Path, help="folder of the page (default: FOLDER itself, or 'changes')")
    report.set_defaults(run=_report)
    worlds = commands.add_parser("worlds", help="list the worlds that a model can be validated on")
    worlds.set_defaults(run=_worlds)
    _add_upkeep(commands)
    return parser


def _add_upkeep(commands: Any) -> None:
    told = {
        "status": "count what a store of rows holds",
        "retry": "let cells that failed, or that workers died on, run again",
        "fsck": "find torn, corrupt and contradicting lines of a store; exit status 1 if there are any",
    }
    for name, what in told.items():
        command = commands.add_parser(name, allow_abbrev=False, help=what)
        command.add_argument("store", type=Path, metavar="STORE", help="folder of the rows")
        command.set_defaults(run=_upkeep, repair=False, action=name)
        if name == "fsck":
            command.add_argument(
                "--repair", action="store_true", help="set them aside, in STORE/aside; nothing is lost"
            )


def _add_validate(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=_validate)
    parser.add_argument(
        "model", help="path/to/file.py:Name of a model to train, or a folder or file of trained weights"
    )
    parser.add_argument("-o", "--out", type=Path, default=Path("report"), help="folder of the page (default: report)")
    untrained = parser.add_argument_group("a model to train")
    untrained.add_argument("--protocol", metavar="quick|standard|full", help="what is done (default: quick)")
    untrained.add_argument("--against", metavar="NAME,NAME", help="references, such as topk,matryoshka (default: all)")
    untrained.add_argument("--seeds", type=int, metavar="N", help="seeds in each world, instead of the protocol's")
    untrained.add_argument("--workers", type=int, metavar="N", help="processes (default: as many as cores)")
    untrained.add_argument(
        "--fresh", nargs="?", type=int, const=-1, metavar="N", help="seeds never published; N chooses them again"
    )
    untrained.add_argument("--fit", metavar="NAME", help="your trainer (model, stream, steps, seed) in the same file")
    untrained.add_argument("--store", type=Path, help="folder of the rows computed so far (default: OUT/store)")
    trained = parser.add_argument_group("trained weights")
    trained.add_argument(
        "--trust-pickle", action="store_const", const=True, help="read a .pt file by torch's restricted loader"
    )
    trained.add_argument(
        "--subtract-bias", choices=("yes", "no"), help="whether encode subtracts b_dec, for bare weights"
    )
    trained.add_argument("--world", help="a saved world's folder, or a name out of 'sparsesim worlds'")
    trained.add_argument("--seed", type=int, metavar="N", help="which world of that name (default: 0)")


def _validate(options: argparse.Namespace, command: str) -> int:
    from sparsesim.validate.user_code import split

    return (_train_and_validate if split(options.model)[0].suffix == ".py" else _evaluate)(options, command)


def _given(options: argparse.Namespace, names: Sequence[str]) -> str:
    return ", ".join(f"--{name.replace('_', '-')}" for name in names if getattr(options, name) is not None)


def _train_and_validate(options: argparse.Namespace, command: str) -> int:
    wrong = _given(options, _TRAINED_ONLY)
    if wrong:
        raise UsageError(f"{wrong} goes with trained weights; a model to train sees the worlds of its --protocol.")
    from sparsesim.validate.user_code import load_code, place_of, split
    from sparsesim.validate.validation import validate

    path, name = split(options.model)
    factory, fit = load_code(options.model, options.fit)
    fresh, command = _fresh(options.fresh, command)
    store = options.store or options.out / "store"
    _say_whether_kept(factory, fit)
    try:
        found = validate(
            factory,
            fit,
            options.protocol or "quick",
            name=name,
            references=options.against.split(",") if options.against is not None else None,
            seeds=options.seeds,
            store=store,
            workers=options.workers,
            fresh=fresh,
        )
    except KeyboardInterrupt:
        _say(f"interrupted; {_kept(store)} Go on with: {command}")
        return INTERRUPTED
    except Exception as error:  # out of the model's own code it can be any
        _say(_one_line(error, place_of(error, path)))
        return 2
    return _finish(replace(found, command=command), options.out)


def _fresh(given: int | None, command: str) -> tuple[int | None, str]:
    """Return the number of fresh seeds, drawn where none is given, and the command with it, which makes it again."""
    if given != -1:
        return given, command
    import secrets

    number = secrets.randbelow(2**20)
    words = shlex.split(command)
    words.insert(words.index("--fresh") + 1, str(number))
    return number, shlex.join(words)


def _kept(store: Path) -> str:
    from sparsesim.study.store import Store

    rows = len(Store(store).keys()) if store.exists() else 0
    return f"{rows} rows are kept in {store}." if rows else "no row is kept."


def _say_whether_kept(*code: object) -> None:
    from sparsesim.validate.escapes import UnknownCodeError
    from sparsesim.validate.identity import identity

    try:
        identity(*code)
    except UnknownCodeError as error:
        _say(f"rows are not kept if this is interrupted, since the code has no certain identity: {error}.")


def _finish(found: Validation, out: Path) -> int:
    from sparsesim.report.validation import write_validation

    page = write_validation(found, out)
    print(found)
    print(f"\nreport: {page}")
    return 1 if found.failures else 0


def _evaluate(options: argparse.Namespace, command: str) -> int:
    wrong = _given(options, _UNTRAINED_ONLY)
    if wrong:
        raise UsageError(f"{wrong} goes with a model to train, path/to/file.py:Name; weights are trained.")
    if options.world is None:
        raise UsageError(
            "trained weights are scored in the world that they were trained on; give --world, a saved world's folder "
            "or a name out of: sparsesim worlds."
        )
    if not Path(options.model).exists():
        raise UsageError(f"there is no {options.model}; give path/to/file.py:Name, or a folder or file of weights.")
    from sparsesim.validate.folder import load_model
    from sparsesim.validate.scorecard import evaluate
    from sparsesim.validate.single import scored

    bias = None if options.subtract_bias is None else options.subtract_bias == "yes"
    model = load_model(options.model, trust_pickle=bool(options.trust_pickle), subtract_bias=bias)
    card = evaluate(model, _world(options.world), seed=options.seed or 0)
    print(card)
    found = scored(card, subject=Path(options.model).name, world=options.world, command=command)
    from sparsesim.report.validation import write_validation

    print(f"\nreport: {write_validation(found, options.out)}")
    return 0


def _world(name: str) -> FeatureModel | FeatureSpec:
    """Return the world that is saved in the folder ``name``, or is listed under it."""
    folder = Path(name)
    if folder.is_dir():
        from sparsesim.generators.files import load
        from sparsesim.generators.saelens import load_saelens

        return load_saelens(folder).model if (folder / "synthetic_model_config.json").exists() else load(folder)
    listed = _listed()
    if name not in listed:
        raise UsageError(f"--world must be a saved world's folder or one of {', '.join(listed)}; got {name!r}.")
    world: FeatureSpec = listed[name].world
    return world


def _listed() -> dict[str, Any]:
    """Return the arena of each world by its name, those of other protocols than the first behind the protocol's."""
    from sparsesim.validate.protocol import PROTOCOLS

    first = next(iter(PROTOCOLS.values()))
    return {
        arena.name if protocol is first else f"{protocol.name}/{arena.name}": arena
        for protocol in PROTOCOLS.values()
        for arena in protocol.arenas
    }


def _worlds(options: argparse.Namespace, command: str) -> int:
    lines = [(name, arena.world.dim, arena.world.n_features, arena.question) for name, arena in _listed().items()]
    width = max(len(name) for name, *_ in lines)
    print(f"{'world':<{width}}{'d':>6}{'m':>6}  question")
    for name, d, m, question in lines:
        print(f"{name:<{width}}{d:>6}{m:>6}  {question}")
    return 0


def _upkeep(options: argparse.Namespace, command: str) -> int:
    from sparsesim.study.store import Store
    from sparsesim.study.upkeep import fsck, retry, status

    store = Store(options.store)
    if options.action == "fsck":
        health = fsck(store, repair=options.repair)
        print(health)
        return 0 if health.sound else 1
    if options.action == "retry":
        print(f"{len(retry(store))} cell(s) will run again")
        return 0
    print(status(store))
    return 0


def _report(options: argparse.Namespace, command: str) -> int:
    if len(options.folders) > 2:
        raise UsageError(f"report takes one folder or two, the earlier and the later; got {len(options.folders)}.")
    from sparsesim.report.validation import write_validation, write_versus
    from sparsesim.validate.files import read_validation

    found = [read_validation(folder) for folder in options.folders]
    if len(found) == 1:
        page = write_validation(found[0], options.out or options.folders[0])
    else:
        page = write_versus(found[0], found[1], options.out or Path("changes"))
    print(f"report: {page}")
    return 0
