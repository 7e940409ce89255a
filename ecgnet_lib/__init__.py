"""The small library behind the reproducibility book of FoundationalECGNet (arXiv 2509.08961).

Its rooms follow the table of contents: a recording goes from `datasets` over `measurements` and
`denoising` to the `network`, its `training`, `evaluation` and `figures`. Each room hands on the
names that pages use, and loads what is behind them when they are asked for.
"""

import lazy_loader as lazy

__version__ = "0.1.0"

ROOMS = [
    *("simulation", "datasets", "measurements", "denoising", "network", "training", "evaluation"),
    *("figures", "experiments", "bench", "press"),
]

__getattr__, __dir__, __all__ = lazy.attach(__name__, ROOMS)
