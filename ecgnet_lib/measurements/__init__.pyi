from . import callipers, features, ludb_marks, r_peaks
from .callipers import CRITERIA, measure_beat
from .r_peaks import find_r_peaks
