"""Evaluation: metrics with intervals, risk, leakage, explanation (pages 8 to 11).

`metrics` per class with patient-level bootstraps, `methods` the same for all methods of a protocol,
`results` the stored results, `classifiers` peers without a network, `risk` calibration and triage,
`leakage` protocols with leaks, `explain` attributions and their test, `predict` the output for one
recording.
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    ["classifiers", "explain", "leakage", "methods", "metrics", "predict", "results", "risk"],
    {
        "explain": [
            "FORMS",
            "FRACTIONS",
            "attention_maps",
            "delete",
            "deletion_curve",
            "integrated_gradients",
            "logit",
            "per_token",
            "rank_correlation",
            "territory_share",
            "units_of",
        ],
        "methods": ["apply_thresholds", "evaluate_run"],
        "metrics": [
            "MIN_POSITIVES",
            "best_threshold",
            "patient_resamples",
            "per_class",
            "weighted_metrics",
        ],
        "predict": ["assess"],
        "results": ["ablation", "format_interval", "load_predictions", "load_result"],
        "risk": [
            "HIGH_AT_LEAST",
            "LEVELS",
            "LOW_AT_MOST",
            "abstention",
            "answered_at",
            "apply_platt",
            "calibrate",
            "conformal_sets",
            "decision_curve",
            "ece",
            "noise_floor",
            "observed_rates",
            "platt",
            "triage_cuts",
            "triage_level",
        ],
    },
)
