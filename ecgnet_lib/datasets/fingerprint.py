"""Fingerprints: SHA-256 of what recordings hold, without reading an unchanged file twice."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from ecgnet_lib.datasets.wfdb_files import read_header, stem_of
from ecgnet_lib.errors import RecordingError
from ecgnet_lib.files import write_atomic

_RACE_NS = 2_000_000_000  # a file that changed this shortly before it was hashed may change unseen


def checksums(files: Mapping[str, str | Path], memory: Path) -> dict[str, str]:
    """SHA-256 of each recording's header and signal files together, by name.

    `memory` is a JSON file in which they are remembered: a recording whose files have the sizes and
    times (of content and of inode, in ns) that stand there is not read again.
    """
    from tqdm import tqdm

    try:
        known = json.loads(memory.read_text())
    except (OSError, ValueError):
        known = {}
    found, changed = {}, False
    for name, path in tqdm(
        files.items(), desc="checksums", unit="recording", delay=1, disable=None
    ):
        key = os.path.abspath(path)
        entry = known.get(key)
        if entry is None or any(_stamp(file) != stamp for file, stamp in entry["files"].items()):
            entry, changed = _hashed(path), True
            newest = max((stamp[2] for stamp in entry["files"].values() if stamp), default=0)
            known[key] = entry
            if newest > time.time_ns() - _RACE_NS:
                del known[key]
        found[name] = entry["sha256"]
    if changed:
        write_atomic(memory, json.dumps(known).encode())
    return found


def _stamp(file: str) -> list[int] | None:
    try:
        status = os.stat(file)
    except OSError:
        return None
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns]


def _hashed(path: str | Path) -> dict:
    """{"sha256", "files": {file: stamp}} of a recording; what is absent counts as such."""
    file = stem_of(path) + ".hea"
    files = [os.path.abspath(file)]
    with suppress(RecordingError):
        names = dict.fromkeys(read_header(file).files)
        files += [os.path.join(os.path.dirname(files[0]), name) for name in names]
    stamps = {name: _stamp(name) for name in files}
    digest = hashlib.sha256()
    for name in files:
        try:
            content = Path(name).read_bytes()
        except OSError:
            content = None
        digest.update(b"absent" if content is None else f"{len(content)}:".encode() + content)
    return {"sha256": digest.hexdigest(), "files": stamps}


def manifest_of(contents: Mapping[str, str]) -> str:
    """SHA-256 over all (name, SHA-256 of the content) rows, in order: the key of a set of data."""
    rows = "".join(f"{name} {sha256}\n" for name, sha256 in contents.items())
    return hashlib.sha256(rows.encode()).hexdigest()
