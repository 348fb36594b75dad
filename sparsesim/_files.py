"""Files that are whole or as they were, and files that are one process's at a time."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO


def write_whole(path: str | os.PathLike[str], content: str | bytes | Callable[[BinaryIO], None]) -> Path:
    """Write ``content`` to ``path`` in one atomic step, text as UTF-8, line ends kept, and return the path.

    What is too large to be held twice is a function that writes it to a file.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
    try:
        with open(draft, "wb") as file:
            if callable(content):
                content(file)
            else:
                # Half a character (file names in messages have some) is no reason to lose the page that quotes it.
                file.write(content.encode("utf-8", "backslashreplace") if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, target)
    finally:
        draft.unlink(missing_ok=True)
    return target


def lock(file: Any) -> bool:
    """Return whether ``file`` is nobody else's, and make it this process's until it is closed.

    True where there are no locks (Windows, some network file systems), of which nothing is known.
    """
    try:
        import fcntl
    except ImportError:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True
