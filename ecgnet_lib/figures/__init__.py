"""The figures of the pages: ECG paper, statistics, networks (all pages).

ECGs on calibrated paper are in `ecg`, colours and the size of the page in `style`; the other
modules are named after what they draw.
"""

import lazy_loader as lazy

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
        "method": ["scalogram", "spectrum", "token_attention", "training_curves"],
        "network": ["Stage", "gates", "journey", "listening", "patches"],
        "scores": ["class_counts", "compared", "per_class_metrics", "reliability"],
        "style": ["CLASS_COLOURS", "HEAT", "INK", "PALETTE", "WAVES", "show"],
        "viewer": ["Viewer"],
    },
)
