"""Training: two-stage loss, one-cycle schedule, pre-training, distillation (page 7).

`loop` has the training loop, `loss` the labels and the losses, `config` the settings, augmentation
and optimiser; `pretraining` gives first weights, `distillation` soft labels; `distributed` lets
several processes train one network.
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    ["config", "distillation", "distributed", "loop", "loss", "pretraining"],
    {
        "config": ["TrainConfig", "augment", "one_cycle"],
        "distillation": ["features_of_all", "out_of_bag_soft_labels"],
        "loop": ["fit"],
        "loss": ["DISTILLATION_WEIGHT", "Labels", "macro_auc", "two_stage_loss"],
        "pretraining": ["GROUPS", "SPAN_TOKENS", "spans"],
    },
)
