"""The network: CBAM, graph attention over the leads, Time Series Transformer (pages 3 to 6).

One module a block (`cbam`, `gat`, `tst`), the whole in `ecgnet`, the rhythm branch in `rhythm`;
`inference` averages over crops, `checkpoint` reads and writes weights, `baselines` are published
networks to compare with.
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    ["baselines", "cbam", "checkpoint", "ecgnet", "gat", "gat_edges", "inference", "rhythm", "tst"],
    {
        "cbam": ["CBAM", "ChannelAttention", "TemporalAttention"],
        "checkpoint": ["RHYTHM", "VIRTUAL", "load_checkpoint", "load_networks"],
        "ecgnet": ["FoundationalECGNet", "ModelConfig", "combine", "count_parameters"],
        "gat": ["GAT", "GATv2", "GraphAttention", "attend", "lead_graph"],
        "inference": ["predict_crops"],
        "rhythm": ["REACH", "RHYTHM_S", "RhythmNet", "predict_with_rhythm"],
        "tst": [
            "TST",
            "EncoderLayer",
            "MAX_TOKENS",
            "MaskedValueHead",
            "SelfAttention",
            "normalise_tokens",
            "positions",
        ],
    },
)
