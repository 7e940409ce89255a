"""The memory that training takes with 500 and with 20,000 recordings: it must not grow with them.

Virtual patients, in an archive on disk as `Dataset.denoised_archive` makes it; each training is a
process of its own. What counts is the memory of the process itself: pages of the archive that the
system keeps in its cache are given back when anyone else needs them.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import pandas as pd

from ecgnet_lib.bench import Row, row
from ecgnet_lib.datasets.archive import Archive
from ecgnet_lib.training.loop import Labels, TrainConfig, fit

FEW, MANY, AT_ONCE = 500, 20_000, 2_000
FS_HZ = 100
CROPS = 2_560
GROWTH = 1.2  # at most: the larger table of labels, and noise


def run() -> list[Row]:
    """The rows of `bench memory`. Raises nothing of its own; needs Linux and 1 GB of disk."""
    with tempfile.TemporaryDirectory() as folder:
        peaks = {n: training(Path(folder), n) for n in (FEW, MANY)}
    rows = [row(f"memory of training on {n:,} recordings", [mb], "MB") for n, mb in peaks.items()]
    growth = [peaks[MANY] / peaks[FEW]]
    return [*rows, row(f"{MANY:,} over {FEW} (at most)", growth, "times", at_most=GROWTH)]


def training(folder: Path, n: int) -> float:
    """Return the peak in MB of a process that trains on n virtual patients."""
    make(folder / str(n), n)
    code = (
        f"from pathlib import Path; from ecgnet_lib.bench import memory; "
        f"print(memory.peak_mb(Path({str(folder / str(n))!r})))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return float(done.stdout)


def make(folder: Path, n: int) -> None:
    """Write n virtual patients as archive and table."""
    from ecgnet_lib.datasets.simulated import cohort

    named, tables = {}, []
    for seed in range(-(-n // AT_ONCE)):
        size = min(AT_ONCE, n - seed * AT_ONCE)
        signals, table = cohort(size, FS_HZ, 10.0, seed=seed)
        named |= {f"{seed}/{i}": x.astype(np.float16) for i, x in enumerate(signals)}
        tables.append(table)
    folder.mkdir()
    Archive.of_signals(named, FS_HZ, folder / "archive")
    pd.concat(tables).to_pickle(folder / "table.pkl")


def peak_mb(folder: Path) -> float:
    """Train a little on the archive in this process; return its peak of private memory in MB."""
    peak, done = [0.0], threading.Event()

    def watch() -> None:
        while not done.is_set():
            peak[0] = max(peak[0], private_mb())
            time.sleep(0.01)

    labels = Labels.of(pd.read_pickle(folder / "table.pkl"))
    archive = Archive.open(next((folder / "archive").iterdir()))
    rows = np.arange(len(archive))
    watcher = threading.Thread(target=watch)
    watcher.start()
    fit(archive, labels, rows[100:], rows[:100], config=TrainConfig(crops=CROPS))
    done.set()
    watcher.join()
    return peak[0]


def private_mb() -> float:
    """Return the memory that only this process holds, in MB (Linux)."""
    status = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in status if line.startswith("RssAnon")).split()[1]) * 1024 / 1e6
