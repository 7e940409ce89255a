"""Long experiments as small jobs: each is computed once, and two processes can share the work."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from ecgnet_lib.paths import BUILD

JOBS = BUILD / "experiments"
WAIT_S = 5.0  # between two looks at what another process does


class Jobs:
    """Results of jobs on disk, below `build/experiments/`.

    An experiment that was stopped goes on where it stopped, and the same command started twice
    shares the work: a job that another living process has claimed is left to it.
    """

    def __init__(self, experiment: str) -> None:
        self.folder = JOBS / experiment
        self.folder.mkdir(parents=True, exist_ok=True)

    @staticmethod
    def name(title: str, about: dict) -> str:
        """Return the name of a job: what it is, and a digest of all that its result depends on.

        about: plain values (data manifest, configuration, code version); other values, another job.
        """
        digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()
        return f"{title} {digest[:12]}"

    def file(self, job: str) -> Path:
        """Return where the result of a job lies."""
        return self.folder / f"{job.replace(' ', '_').replace('/', '_')}.npz"

    def load(self, job: str) -> dict[str, np.ndarray]:
        """Return the arrays of a finished job."""
        with np.load(self.file(job)) as arrays:
            return dict(arrays)

    def run(self, job: str, work: Callable[[], dict[str, np.ndarray]]) -> bool:
        """Do a job unless it is done; False when another process is at it."""
        if self.file(job).exists():
            return True
        with self.claim(job) as mine:
            if mine and not self.file(job).exists():
                part = self.file(job).with_suffix(".part.npz")
                np.savez_compressed(part, **work())
                os.replace(part, self.file(job))
        return mine

    def run_all(self, todo: dict[str, Callable[[], dict[str, np.ndarray]]]) -> None:
        """Do all jobs in order, then wait for those that other processes claimed."""
        left = dict(todo)
        while left:
            left = {job: work for job, work in left.items() if not self.run(job, work)}
            if left:
                time.sleep(WAIT_S)

    @contextlib.contextmanager
    def claim(self, job: str) -> Iterator[bool]:
        """Hold a job for this process; gives False when a living process holds it."""
        claim = self.file(job).with_suffix(".claim")
        if claim.exists() and not alive(claim):
            claim.unlink(missing_ok=True)  # its process died
        try:
            handle = os.open(claim, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
        except FileExistsError:
            yield False
            return
        os.write(handle, str(os.getpid()).encode())
        os.close(handle)
        try:
            yield True
        finally:
            claim.unlink(missing_ok=True)


def alive(claim: Path) -> bool:
    """Return whether the process that wrote a claim still runs."""
    try:
        os.kill(int(claim.read_text() or os.getpid()), 0)
    except (OSError, ValueError):
        return False
    return True
