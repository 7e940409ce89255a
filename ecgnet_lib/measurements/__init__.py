"""What a cardiologist measures on a recording (pages 1 and "A heart with knobs").

R peaks (`r_peaks`), intervals and voltages of an average beat (`callipers`), features for
classifiers (`features`), and the waves that cardiologists marked in LUDB (`ludb_marks`).
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
