"""Writing files atomically: a reader never finds half a file."""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import shutil
import tempfile
import threading
from pathlib import Path

from ecgnet_lib.errors import EcgnetError


def write_atomic(path: Path, data: bytes) -> None:
    """Write a file, and its folder; EcgnetError with the system's reason where that cannot be.

    Processes and threads may write the same file at once: each has a temporary file of its own, and
    the last to end wins.
    """
    part = path.with_name(f"{path.name}.{os.getpid()}-{threading.get_ident()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(data)
        os.replace(part, path)
    except OSError as error:
        raise EcgnetError("cannot be written", file=path, found=error.strerror) from error
    finally:
        with contextlib.suppress(OSError):
            part.unlink()


def write_if_new(path: Path, data: bytes) -> bool:
    """Write a file unless it holds just that already; return whether it was written."""
    if path.is_file() and path.read_bytes() == data:
        return False
    write_atomic(path, data)
    return True


def write_json(path: Path, value: object) -> None:
    """Write plain values as JSON."""
    write_atomic(path, (json.dumps(value, indent=1) + "\n").encode())


def scratch_folder() -> Path:
    """Return a new empty folder, removed when Python ends."""
    folder = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)
