from . import config, distillation, distributed, loop, loss, pretraining
from .config import TrainConfig, augment, one_cycle
from .distillation import features_of_all, out_of_bag_soft_labels
from .loop import fit
from .loss import DISTILLATION_WEIGHT, Labels, macro_auc, two_stage_loss
from .pretraining import GROUPS, SPAN_TOKENS, spans
