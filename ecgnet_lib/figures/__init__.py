"""The figures of the pages: ECG paper, statistics, networks (all pages).

ECGs on calibrated paper are in `ecg`, scores and their intervals in `scores`, the inside of the
network in `network`, wavelets, graphs and learning curves in `method`. Each function returns a
Figure whose label is its alternative text, written from the numbers that it draws; a shape that
does not fit raises SignalError. `show` puts one on a page and closes it. Importing this room sets
the style of the book for every matplotlib figure.
"""

import lazy_loader as lazy
import matplotlib as mpl

from ecgnet_lib.figures.style import STYLE

mpl.rcParams.update(STYLE)

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    ["ecg", "method", "network", "scores", "style", "viewer"],
    {
        "ecg": ["ecg_heat", "ecg_paper", "ecg_strip", "label_lead"],
        "method": ["lead_graph", "scalogram", "spectrum", "token_attention", "training_curves"],
        "network": ["Stage", "gates", "journey", "patches", "token_attention_arcs"],
        "scores": [
            "MAP_LOOKS",
            "METRICS",
            "bars",
            "calibration_errors",
            "cascade_curves",
            "class_counts",
            "compared",
            "confusion_matrix",
            "deletion_curves",
            "f1_by_protocol",
            "net_benefit",
            "ranking_curves",
            "reliability",
            "selective_f1",
            "whiskers",
        ],
        "style": ["CLASS_COLOURS", "HEAT", "INK", "PALETTE", "WAVES", "show"],
        "viewer": ["Viewer"],
    },
)
