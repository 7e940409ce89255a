"""Training: two-stage loss, one-cycle schedule, pre-training, distillation (page 7).

`loop` has the training loop, `loss` the labels and the two-stage loss, `config` the settings and
the augmentation; `pretraining` and `distillation` are what a training may start from and learn
from.
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    ["config", "distillation", "distributed", "loop", "loss", "pretraining"],
    {
        "config": ["TrainConfig", "augment", "one_cycle"],
        "distillation": ["measurements", "teach"],
        "loop": ["fit"],
        "loss": ["TEACHER", "Labels", "macro_auc", "two_stage_loss"],
        "pretraining": ["GROUPS", "SPAN_TOKENS", "spans"],
    },
)
