"""Two-stage denoising, first Morlet, then Daubechies wavelets (page 2).

The two transforms are in `morlet` and `daubechies`; `noise` adds real noise at a known level and
says how far an estimate is from the truth, `compare` sets methods side by side, `apply` denoises a
data set.
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    ["apply", "compare", "daubechies", "morlet", "noise"],
    {
        "apply": ["denoised", "denoised_archive", "middle_crops"],
        "compare": ["harm_table", "methods", "quality_table"],
        "daubechies": [
            "PAPER_BAND_HZ",
            "THRESHOLD",
            "WAVELET",
            "daubechies_gated",
            "daubechies_universal",
            "denoise",
            "garrote",
            "gate",
            "noise_mv",
        ],
        "morlet": [
            "BAND_HZ",
            "Bank",
            "OMEGA0",
            "PERIOD",
            "morlet_band",
            "morlet_bank",
            "morlet_cwt",
            "morlet_icwt",
            "morlet_response",
        ],
        "noise": [
            "NOISE_KINDS",
            "REFERENCE_HZ",
            "SNRS_DB",
            "add_noise",
            "choose_noise",
            "draw_noise",
            "prd_percent",
            "reference_ecg",
            "snr_db",
            "wave_errors",
        ],
    },
)
