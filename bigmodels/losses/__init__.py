"""Losses: pure functions that return a number per example, without a reduction."""

from bigmodels.losses.attention import guided_attention
from bigmodels.losses.boxes import giou
from bigmodels.losses.classification import cross_entropy, hinge, probabilities
from bigmodels.losses.contrastive import sigmoid_contrastive, softmax_contrastive
from bigmodels.losses.ctc import alignable, ctc
from bigmodels.losses.focal import focal, heatmap_focal
from bigmodels.losses.forecasting import pinball
from bigmodels.losses.gan import (
  gradient_penalty,
  hinge_gan,
  non_saturating_gan,
  r1,
  wasserstein_gan,
)
from bigmodels.losses.metric_learning import (
  arc_face,
  supervised_contrastive,
  triplet,
)
from bigmodels.losses.ranking import binary_ranking, in_batch_softmax, softmax_ranking
from bigmodels.losses.regression import absolute_error, squared_error
from bigmodels.losses.segmentation import dice
from bigmodels.losses.style import (
  content_distance,
  gram_matrix,
  style_distance,
  total_variation,
)

__all__ = ['absolute_error', 'alignable', 'arc_face', 'binary_ranking',
           'content_distance', 'cross_entropy', 'ctc', 'dice', 'focal', 'giou',
           'gradient_penalty', 'gram_matrix', 'guided_attention', 'heatmap_focal',
           'hinge', 'hinge_gan', 'in_batch_softmax', 'non_saturating_gan', 'pinball',
           'probabilities', 'r1', 'sigmoid_contrastive', 'softmax_contrastive',
           'softmax_ranking', 'squared_error', 'style_distance',
           'supervised_contrastive', 'total_variation', 'triplet', 'wasserstein_gan']
