"""Shared fixtures. Tests that need real recordings ask for `physionet` and skip without a copy."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

os.environ.setdefault("ECGNET_OFFLINE", "1")


@pytest.fixture(scope="session")
def physionet() -> Path:
    """Folder of a copy of PhysioNet, named by ECGNET_DATA."""
    folder = os.environ.get("ECGNET_DATA")
    if not folder or not (Path(folder) / "ptb-xl").is_dir():
        pytest.skip("needs real recordings: set ECGNET_DATA to a copy in PhysioNet's layout")
    return Path(folder)
