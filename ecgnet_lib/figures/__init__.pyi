from . import ecg, method, network, scores, style, viewer
from .ecg import ecg_heat, ecg_paper, ecg_strip, label_lead
from .method import lead_graph, scalogram, spectrum, token_attention, training_curves
from .network import Stage, gates, journey, patches, token_attention_arcs
from .scores import (
    MAP_LOOKS,
    METRICS,
    bars,
    calibration_errors,
    cascade_curves,
    class_counts,
    compared,
    confusion_matrix,
    deletion_curves,
    f1_by_protocol,
    net_benefit,
    ranking_curves,
    reliability,
    selective_f1,
    whiskers,
)
from .style import CLASS_COLOURS, HEAT, INK, PALETTE, WAVES, show
from .viewer import Viewer
