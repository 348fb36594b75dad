"""Where code escapes from being followed: files, processes, the clock, the network, and names that are computed."""

from __future__ import annotations

import dis
import itertools
import re
import types
from collections.abc import Iterator

from sparsesim.validate.origins import installed

# What code reads by these names is no part of it, and may change behind it; or it reaches what it does not name.
_READS = re.compile(
    r"open\w*|popen\d*|Popen|system|exec\w?|spawn[lv]\w*|check_output|getoutput|stdin|environb?|getenv|argv|parse_args|"
    r"read|readlines?|readinto|read_\w+|im(ag)?e?read|readlink|listdir|scandir|iterdir|walk|i?glob|rglob|"
    r"stat|exists|is_?file|is_?dir|getcwd|cwd|home|expanduser|expandvars|gethostname|getpid|from_?file|"
    r"fromregex|loadtxt|genfromtxt|loadmat|\w*memmap|mmap|load|load_(?!state_dict)\w+|fetch\w*|"
    r"from_pretrained|\w*download\w*|url\w*|hub|connect|File|HDFStore|ZipFile|TarFile|"
    r"time(_ns)?|perf_counter(_ns)?|monotonic(_ns)?|process_time(_ns)?|now|utcnow|today|localtime|gmtime|strftime|ctime|"
    r"urandom|SystemRandom|token_\w+|uuid\d|builtins|attrgetter|methodcaller|import_module|"
    r"__import__|__globals__|__builtins__|__subclasses__|__getattribute__|_getframe|currentframe|get_objects"
)
# And so do these functions of Python; a method of such a name, as model.eval(), does not.
_LOOKS_UP = re.compile("eval|exec|input|globals|locals|vars|dir")
# And so may anything of these.
_OUTWARD = re.compile(
    "subprocess|socket|ssl|http|urllib|ftplib|sqlite3|dbm|shelve|ctypes|fileinput|tempfile|mmap|zipfile|tarfile|glob|"
    "secrets|uuid|importlib|pkgutil|runpy|gc|requests|httpx|aiohttp|h5py|zarr|netCDF4|datasets|huggingface_hub|fsspec|"
    "boto3|psycopg2|sqlalchemy"
)


class UnknownCodeError(ValueError):
    """Some of the code cannot be followed, so that nobody can say whether it is still the same."""


def names_in(code: types.CodeType) -> tuple[str, ...]:
    """Return the names that ``code`` uses itself, those among them that it gives to ``getattr`` as literals.

    Raises
    ------
    UnknownCodeError
        If one of them may read what is no part of the code, or a name is computed.
    """
    names = (*code.co_names, *_got(code))
    called = {one.argval for one in dis.get_instructions(code) if one.opname in ("LOAD_GLOBAL", "LOAD_NAME")}
    for name in names:
        if _READS.fullmatch(name) or (name in called and _LOOKS_UP.fullmatch(name)):
            raise UnknownCodeError(f"{code.co_qualname} names {name!r}, by which it may read what is no part of it")
    return names


def check_inward(code: types.CodeType, thing: object) -> None:
    """Raise UnknownCodeError if ``thing``, which ``code`` names, is of a module that reads what is no part of it."""
    home = thing.__name__ if isinstance(thing, types.ModuleType) else getattr(thing, "__module__", None)
    if not isinstance(home, str) or not installed(home):
        return
    name = getattr(thing, "__name__", "") if isinstance(thing, types.BuiltinFunctionType | types.FunctionType) else ""
    if _OUTWARD.fullmatch(home.partition(".")[0]) or _READS.fullmatch(name) or _LOOKS_UP.fullmatch(name):
        raise UnknownCodeError(f"{code.co_qualname} uses {home}, by which it may read what is no part of it")


def _got(code: types.CodeType) -> Iterator[str]:
    """Yield the names that ``code`` gives to ``getattr`` as literals.

    Raises
    ------
    UnknownCodeError
        If it gives a name that is computed, or hands ``getattr`` on.
    """
    if "getattr" not in code.co_names:
        return
    instructions = [one for one in dis.get_instructions(code) if one.opname not in ("PUSH_NULL", "PRECALL", "CACHE")]
    for place, instruction in enumerate(instructions):
        if instruction.argval != "getattr" or not instruction.opname.startswith(("LOAD_GLOBAL", "LOAD_NAME")):
            continue
        loads = list(itertools.takewhile(lambda one: one.opname.startswith("LOAD_"), instructions[place + 1 :]))
        given = [one for one in loads if one.opname not in ("LOAD_ATTR", "LOAD_METHOD")]
        call = instructions[place + 1 + len(loads)]  # of getattr itself if it takes all that was loaded
        whole = call.opname == "CALL" and call.argval == len(given) > 1
        if not whole or "CONST" not in given[1].opname or not isinstance(given[1].argval, str):
            raise UnknownCodeError(f"{code.co_qualname} uses getattr with a name that is computed")
        yield given[1].argval
