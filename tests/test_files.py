"""Files are written whole or not at all, and what cannot be written says so."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from ecgnet_lib import files
from ecgnet_lib.errors import EcgnetError


def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "a" / "b.json"
    files.write_json(path, {"x": 1})
    assert path.read_text() == '{\n "x": 1\n}\n'

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(EcgnetError, match=r"b\.json.*No space left"):
        files.write_json(path, {"x": 2})
    assert path.read_text() == '{\n "x": 1\n}\n'


def test_a_file_that_holds_just_that_is_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "page"
    assert files.write_if_new(path, b"1")
    before = path.stat().st_mtime_ns
    assert not files.write_if_new(path, b"1") and path.stat().st_mtime_ns == before
    assert files.write_if_new(path, b"2") and path.read_bytes() == b"2"


def test_two_writers_of_one_file_do_not_meet(tmp_path: Path, monkeypatch) -> None:
    path, both_wrote, replace = tmp_path / "kernel.json", Barrier(2, timeout=60), os.replace

    def together(*names: Path) -> None:
        both_wrote.wait()  # each has written, neither has renamed
        replace(*names)

    monkeypatch.setattr(os, "replace", together)
    with ThreadPoolExecutor(2) as writers:
        list(writers.map(files.write_atomic, [path, path], [b"1", b"1"]))
    assert path.read_bytes() == b"1" and list(tmp_path.iterdir()) == [path]
