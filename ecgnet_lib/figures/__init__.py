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

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
