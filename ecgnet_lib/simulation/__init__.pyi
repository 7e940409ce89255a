from . import diseases, electrodes, heart, simulator, timing
from .diseases import SIMULATED
from .electrodes import NOISES, electrode_noise, spoil
from .heart import DOWER, Hearts, healthy, twelve_leads
from .simulator import simulate
from .timing import draw_beats
