"""The folders of the repository, defined in one place."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT / "data"  # downloads land here
RESULTS = ROOT / "book" / "results"  # stored results, which pages read
WEIGHTS = RESULTS / "weights"
BUILD = ROOT / "build"
CACHE = BUILD / "cache"  # archives of recordings
