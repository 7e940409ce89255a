"""Two-stage denoising, first Morlet, then Daubechies wavelets (page 2).

The two transforms are in `morlet` and `daubechies`; `noise` adds real noise at a known level and
says how far an estimate is from the truth, `compare` sets methods side by side, `apply` denoises a
data set.
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
