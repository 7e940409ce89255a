from . import baselines, cbam, checkpoint, ecgnet, gat, gat_edges, inference, rhythm, tst
from .cbam import CBAM, ChannelAttention, TemporalAttention
from .checkpoint import RHYTHM, VIRTUAL, load_checkpoint, load_networks
from .ecgnet import FoundationalECGNet, ModelConfig, combine, count_parameters
from .gat import GAT, GATv2, GraphAttention, attend, lead_graph
from .inference import predict_crops
from .rhythm import REACH, RHYTHM_S, RhythmNet, predict_with_rhythm
from .tst import (
    MAX_TOKENS,
    TST,
    EncoderLayer,
    MaskedValueHead,
    SelfAttention,
    normalise_tokens,
    positions,
)
