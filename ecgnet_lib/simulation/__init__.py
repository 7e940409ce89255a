"""A heart with knobs: virtual patients whose every wave is known (page "A heart with knobs").

The healthy heart and its dipole are in `heart`, what diseases do to it in `diseases`, its beats in
time in `timing`, what spoils a recording in `electrodes`; `simulator` records the whole.
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
