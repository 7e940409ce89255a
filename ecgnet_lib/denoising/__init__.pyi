from . import apply, compare, daubechies, morlet, noise
from .apply import denoised, denoised_archive, middle_crops
from .compare import harm_table, methods, quality_table
from .daubechies import (
    PAPER_BAND_HZ,
    THRESHOLD,
    WAVELET,
    daubechies_gated,
    daubechies_universal,
    denoise,
    garrote,
    gate,
    noise_mv,
)
from .morlet import (
    BAND_HZ,
    OMEGA0,
    PERIOD,
    Bank,
    morlet_band,
    morlet_bank,
    morlet_cwt,
    morlet_icwt,
    morlet_response,
)
from .noise import (
    NOISE_KINDS,
    REFERENCE_HZ,
    SNRS_DB,
    add_noise,
    choose_noise,
    draw_noise,
    prd_percent,
    reference_ecg,
    snr_db,
    wave_errors,
)
