"""The files of record and their checksums: an edit by hand of what was computed is seen."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from ecgnet_lib.datasets.download import read_sums
from ecgnet_lib.evaluation import results
from ecgnet_lib.files import write_atomic

SEAL = "record.sha256"


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def sealed_files(folder: Path) -> dict[str, Path]:
    """Return the files of record below `book/results/` by their relative names, sorted."""
    found = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != SEAL)
    return {path.relative_to(folder).as_posix(): path for path in found if path.suffix != ".part"}


def seal(folder: Path | None = None, only: Collection[str] | None = None) -> None:
    """Write the SHA-256 of the files of record, as `sha256sum` does.

    only: names of files; the others keep the SHA-256 that they had, right or wrong.
    """
    folder = folder or results.RESULTS
    digests = {name: sha256(path) for name, path in sealed_files(folder).items()}
    if only is not None:
        held = read_sums(folder / SEAL) if (folder / SEAL).is_file() else {}
        digests = {
            n: digests[n] if n in only else held[n] for n in digests if n in only | held.keys()
        }
    lines = [f"{digest}  {name}\n" for name, digest in digests.items()]
    write_atomic(folder / SEAL, "".join(lines).encode())


@contextmanager
def sealing() -> Iterator[None]:
    """Seal the files of record that are written meanwhile, and no other.

    A file that was edited by hand before stays as wrong as it was.
    """
    before = {name: path.stat().st_mtime_ns for name, path in sealed_files(results.RESULTS).items()}
    yield
    after = {name: path.stat().st_mtime_ns for name, path in sealed_files(results.RESULTS).items()}
    seal(only={name for name, when in after.items() if before.get(name) != when})
