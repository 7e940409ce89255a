"""Results of record: what `experiments` wrote, for pages to read."""

from __future__ import annotations

import json
from pathlib import Path

from ecgnet_lib.errors import ConfigError

RESULTS = Path(__file__).resolve().parents[1] / "book" / "results"


def load_result(file: str) -> dict:
    """Return the result in `book/results/<file>`; ConfigError says how to make a missing one.

    A page names the file in full ("denoising.json"): the page is then executed again when the
    result changes.
    """
    try:
        return json.loads((RESULTS / file).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(
            "there is no such result",
            file=f"book/results/{file}",
            found=type(error).__name__,
            remedy=f"python -m ecgnet_lib experiment {Path(file).stem}",
        ) from error
