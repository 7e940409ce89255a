"""One call from a name to recordings, labels, and the sentence that says which data they are."""

from __future__ import annotations

import html
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from ecgnet_lib.datasets import sources, tables
from ecgnet_lib.datasets.archive import Archive
from ecgnet_lib.datasets.simulated import cohort
from ecgnet_lib.errors import LabelError, SourceError
from ecgnet_lib.paths import CACHE

SIMULATED_PATIENTS = 600
WINDOW_S = 10.0
LAST_OF_500 = "ptb-xl/00500"  # the subset `ptbxl-500` holds ecg_id 1 to 500


@dataclass(frozen=True, eq=False)
class Dataset:
    """Recordings of 10 s with their table; row i of `table` is recording i of `signals`.

    `signals.batch(rows)` gives (B, 12, T) float32 mV as recorded. `note` says in a sentence which
    data these are, `manifest` is the SHA-256 over all of them, `refused` lists (recording, reason)
    of what was set aside, or kept without a statement that the label map does not hold. `root` is
    the folder of the files that `table.file` names, None for simulated recordings.
    """

    name: str
    note: str
    table: pd.DataFrame
    signals: Archive
    fs_hz: int
    manifest: str
    refused: list[tuple[str, str]]
    root: Path | None = None

    def example(self, label: str) -> tuple[int, str]:
        """Return row and name of the first recording of a class, or one that is "abnormal"."""
        rows = self.table[label].to_numpy(bool, na_value=False).nonzero()[0]
        if not len(rows):
            raise LabelError(f"no recording is labelled {label}", found=self.note)
        return int(rows[0]), str(self.table.index[rows[0]])

    def __repr__(self) -> str:
        return " ".join(self._said())

    def _repr_html_(self) -> str:
        # The theme's own classes: an admonition on the site, plain paragraphs in Jupyter.
        title, *text = self._said()
        kind = "warning" if self.name == "simulated" else "note"
        title = f'<p class="admonition-title">{title[:-1]}</p>'
        text = html.escape(" ".join(text), quote=False)
        return f'<div class="admonition {kind}">{title}<p>{text}</p></div>'

    def _said(self) -> tuple[str, ...]:
        if self.name == "simulated":  # shown as a warning
            return "Simulated data.", self.note, "No ECG of a real person was used."
        return "Data of this page.", self.note


def load(dataset: str = "auto", fs_hz: int = 100) -> Dataset:
    """Choose a source as `sources.choose` does, read its table, and open its archive.

    All recordings go through one resampler, from the best rate at hand: a network could learn the
    difference of two. Raises SourceError, LabelError or RecordingError.
    """
    if dataset in sources.SOURCES.keys() - {"simulated", *tables.READERS}:
        known = ", ".join(["simulated", *tables.READERS])
        raise SourceError(f"{dataset!r} has no table of labels", expected=f"one of {known}")
    place = sources.choose(dataset, fs_hz)
    if place.root is None:
        signals, table = cohort(SIMULATED_PATIENTS, fs_hz, WINDOW_S, seed=0)
        named = dict(zip(table.index, signals, strict=True))
        archive, refused = Archive.of_signals(named, fs_hz, CACHE), []
    else:
        table, refused = tables.READERS[place.name](place.root)
        if place.name == "ptbxl-500":
            table = table[table.index <= LAST_OF_500]
        files = {name: place.root / f"{file}.hea" for name, file in table["file"].items()}
        archive = Archive.of(files, fs_hz, CACHE, seconds=WINDOW_S)
        here = f"{place.root}/"  # a page tells which file, not where on this computer
        refused += [(r.name, r.reason.replace(here, "")) for r in archive.refused]
        table = table.loc[archive.table.index]
    about = {"fs_hz": fs_hz, "manifest": archive.manifest, "refused": refused, "root": place.root}
    return Dataset(place.name, place.note, table, archive, **about)
