"""Evaluation: metrics with intervals, risk, leakage, explanation (pages 8 to 11)."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
