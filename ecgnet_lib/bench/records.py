"""The reader and the archive against `wfdb.rdsamp`, on PTB-XL's two sizes of recording.

The recordings are written for the occasion: the time depends on their size alone.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from ecgnet_lib.bench import Row, interleaved, ratios, row
from ecgnet_lib.datasets.archive import Archive
from ecgnet_lib.datasets.records import LEADS, find, read

COUNT = 64  # recordings per size, and the size of a batch


def run() -> list[Row]:
    """Ratios of CPU time per recording: how many times faster than `wfdb.rdsamp`."""
    import wfdb

    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for fs_hz, samples in ((100, 1000), (500, 5000)):
            files = _files(fs_hz, samples, Path(folder))
            stems = [str(file)[:-4] for file in files]
            archive = Archive.of(dict(zip(stems, files, strict=True)), fs_hz, folder)
            order = np.random.default_rng(0).permutation(COUNT)
            taken = interleaved(
                {
                    "rdsamp": partial(_each, wfdb.rdsamp, stems),
                    "reader": partial(_each, read, stems),
                    "archive": partial(archive.batch, order),
                }
            )
            size = f"12x{samples}"
            for peer, target in (("reader", 15.0), ("archive", 300.0)):
                # At 5000 samples a batch moves memory and little else: no target there.
                goal = None if peer == "archive" and samples == 5000 else target
                rows.append(row(f"{peer} {size}", ratios(taken, "rdsamp", peer), "times", goal))
            for peer, times in taken.items():
                micro = [1e6 * seconds / COUNT for seconds in times]
                rows.append(row(f"{peer} {size}, CPU time per recording", micro, "us"))
    return rows


def _each(read_one: Callable[[str], object], stems: list[str]) -> None:
    for stem in stems:
        read_one(stem)


def _files(fs_hz: int, samples: int, folder: Path) -> list[Path]:
    import wfdb

    noise, written = np.random.default_rng(fs_hz), folder / f"records{fs_hz}"
    written.mkdir()
    for number in range(COUNT):
        steps = noise.integers(-2000, 2000, (samples, len(LEADS)))
        wfdb.wrsamp(
            f"{number:05d}",
            fs=fs_hz,
            units=["mV"] * len(LEADS),
            sig_name=list(LEADS),
            d_signal=steps,
            fmt=["16"] * len(LEADS),
            adc_gain=[1000.0] * len(LEADS),
            baseline=[0] * len(LEADS),
            write_dir=str(written),
        )
    return find(written)
