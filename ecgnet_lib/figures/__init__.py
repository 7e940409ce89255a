"""The figures of the pages: ECG paper, statistics, networks (all pages).

ECGs on calibrated paper are in `ecg`, colours and the size of the page in `style`; the other
modules are named after what they draw. Importing this room sets the style of the book.
"""

import lazy_loader as lazy
import matplotlib as mpl

from ecgnet_lib.figures.style import STYLE

mpl.rcParams.update(STYLE)

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    [
        "cover",
        "ecg",
        "explain",
        "leakage",
        "method",
        "network",
        "risk",
        "scores",
        "style",
        "viewer",
    ],
    {
        "ecg": ["ecg_paper", "ecg_strip", "label_lead"],
        "explain": ["cascade_curves", "deletion_curves", "ecg_heat", "intervals"],
        "leakage": ["ladder"],
        "method": ["lead_graph", "scalogram", "spectrum", "token_attention", "training_curves"],
        "network": ["Stage", "gates", "journey", "listening", "patches"],
        "risk": ["calibration_errors", "coverages", "level_rates", "net_benefit", "selective_f1"],
        "scores": [
            "bars",
            "class_counts",
            "compared",
            "confusion_matrix",
            "per_class_metrics",
            "ranking_curves",
            "reliability",
        ],
        "style": ["CLASS_COLOURS", "HEAT", "INK", "PALETTE", "WAVES", "show"],
        "viewer": ["Viewer"],
    },
)
