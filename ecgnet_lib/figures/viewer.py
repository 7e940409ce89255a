"""An interactive ECG: lead by lead, with zoom and calipers, before and after denoising."""

from __future__ import annotations

import base64
import html
import json
from pathlib import Path

import numpy as np

from ecgnet_lib.datasets.records import LEADS
from ecgnet_lib.errors import SignalError

SCRIPT = "viewer.js"  # drawn by a script of our own: nothing is loaded, no library is shipped
BUTTON = '<button type="button" data-part="{}" aria-label="{}">{}</button>'
BUTTONS = (
    *(("left", "earlier", "&larr;"), ("right", "later", "&rarr;")),
    *(("in", "larger", "+"), ("out", "smaller", "&minus;")),
)


class Viewer:
    """Two signals of one recording over each other, for Jupyter and the site (HTML).

    raw, clean: (12, T) in mV, at fs_hz; they are shown to a microvolt. Raises SignalError for
    other shapes, and for voltages beyond 32 mV.
    """

    def __init__(self, raw: np.ndarray, clean: np.ndarray, fs_hz: float, title: str) -> None:
        both = np.stack([raw, clean]) if raw.shape == clean.shape else np.empty(0)
        if both.shape[1:2] != (len(LEADS),) or not np.abs(both).max() < 32:  # NaN is not
            expected = f"two signals ({len(LEADS)}, T) below 32 mV"
            found = f"{raw.shape} and {clean.shape}"
            raise SignalError("the viewer cannot show this", expected=expected, found=found)
        self.microvolts = np.round(both * 1000).astype("<i2")
        self.fs_hz, self.title = fs_hz, title

    def __repr__(self) -> str:
        seconds = self.microvolts.shape[-1] / self.fs_hz
        return f"{self.title}: {len(LEADS)} leads, {seconds:g} s, as recorded and denoised"

    def _repr_html_(self) -> str:
        data = {
            "leads": LEADS,
            "fs_hz": self.fs_hz,
            "microvolts": base64.b64encode(self.microvolts.tobytes()).decode(),
        }
        script = Path(__file__).with_name(SCRIPT).read_text("utf-8")
        code = script[script.index("(box, data)") :].rstrip()
        options = "".join(f'<option value="{k}">{name}</option>' for k, name in enumerate(LEADS))
        buttons = "".join(BUTTON.format(*button) for button in BUTTONS)
        alt = html.escape(
            f"{self!r}. Arrow keys move, plus and minus zoom, C places "
            "calipers, Shift with arrow keys stretches them, Escape takes them away."
        )
        return (
            '<div class="ecg-viewer"><div style="display:flex;flex-wrap:wrap;gap:0.4em 1em">'
            f'<label>Lead <select data-part="lead"><option value="">all</option>{options}'
            '</select></label> <label><input type="checkbox" data-part="raw" checked> as recorded'
            '</label> <label><input type="checkbox" data-part="clean" checked> denoised</label> '
            f'<span style="display:inline-flex;gap:0.3em">{buttons}</span></div>'
            f'<canvas tabindex="0" role="img" aria-label="{alt}" style="display:block;width:100%;'
            'touch-action:pan-y;cursor:crosshair;border-radius:4px;margin:0.4em 0"></canvas>'
            '<output style="font-size:0.85em"></output></div>'
            f"<script>(({code})(document.currentScript.previousElementSibling, "
            f"{json.dumps(data)}))</script>"
        )
