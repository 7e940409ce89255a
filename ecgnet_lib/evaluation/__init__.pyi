from . import classifiers, explain, leakage, methods, metrics, predict, results, risk
from .explain import (
    FORMS,
    FRACTIONS,
    attention_maps,
    delete,
    deletion_curve,
    integrated_gradients,
    logit,
    per_token,
    rank_correlation,
    territory_share,
    units_of,
)
from .methods import apply_thresholds, evaluate_run
from .metrics import MIN_POSITIVES, best_threshold, patient_resamples, per_class, weighted_metrics
from .predict import assess
from .results import ablation, format_interval, load_predictions, load_result
from .risk import (
    HIGH_AT_LEAST,
    LEVELS,
    LOW_AT_MOST,
    abstention,
    answered_at,
    apply_platt,
    calibrate,
    conformal_sets,
    decision_curve,
    ece,
    noise_floor,
    observed_rates,
    platt,
    triage_cuts,
    triage_level,
)
