"""Training: two-stage loss, one-cycle schedule, pre-training, distillation (page 7).

`loop` has the training loop, `loss` the labels and the losses, `config` the settings, augmentation
and optimiser; `pretraining` gives first weights, `distillation` soft labels; `distributed` lets
several processes train one network.
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
