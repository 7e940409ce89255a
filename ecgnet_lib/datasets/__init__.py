"""Recordings, their labels and their splits (page 1).

`load` gives a `Dataset` by name. Below it: what databases there are and where they lie or come from
(`sources`, `download`), reading (`records`, `wfdb_files`), a fast copy (`archive`), statements and
classes (`tables`, `labels`), patient-disjoint splits (`splits`).
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
