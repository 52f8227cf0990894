"""Metrics: sums that are added over batches, and statistics of a whole split.

Definitions follow scikit-learn, so that numbers are comparable. The most important
metrics come first in a result, and in the report.
"""

from bigmodels.metrics.anomaly import anomaly, flagged
from bigmodels.metrics.answers import answers, best, exact_match, f1
from bigmodels.metrics.calibration import at_temperature, temperature
from bigmodels.metrics.captions import caption_bleu
from bigmodels.metrics.classification import (
  above,
  at_specificity,
  at_threshold,
  classification,
)
from bigmodels.metrics.detection import detection
from bigmodels.metrics.forecasting import (
  RootMean,
  coverage,
  mase,
  mean_of,
  of_errors,
  smape,
)
from bigmodels.metrics.generation import frechet, generation, precision_recall
from bigmodels.metrics.groups import error_by_group
from bigmodels.metrics.images import psnr, ssim
from bigmodels.metrics.language import language
from bigmodels.metrics.metric import Mean, Metric
from bigmodels.metrics.ranking import ranking, recommendation
from bigmodels.metrics.regression import regression
from bigmodels.metrics.retrieval import retrieval, retrieval_ranks
from bigmodels.metrics.segmentation import pixel_confusion, segmentation
from bigmodels.metrics.selection import ranks, selection
from bigmodels.metrics.slots import slots
from bigmodels.metrics.speech import error_rates
from bigmodels.metrics.synthesis import mel_cepstral_distortion
from bigmodels.metrics.translation import bleu
from bigmodels.metrics.verification import (
  best_similarity,
  pairs,
  rank_1,
  verification,
  verified,
)
from bigmodels.metrics.waveforms import linear_prediction_bits, unigram_bits

__all__ = ['Mean', 'Metric', 'RootMean', 'above', 'anomaly', 'answers',
           'at_specificity', 'at_temperature', 'at_threshold', 'best',
           'best_similarity', 'bleu', 'caption_bleu', 'classification', 'coverage',
           'detection', 'error_by_group', 'error_rates', 'exact_match', 'f1',
           'flagged', 'frechet', 'generation', 'language', 'linear_prediction_bits',
           'mase', 'mean_of', 'mel_cepstral_distortion', 'of_errors', 'pairs',
           'pixel_confusion', 'precision_recall', 'psnr', 'rank_1', 'ranking', 'ranks',
           'recommendation', 'regression', 'retrieval', 'retrieval_ranks',
           'segmentation', 'selection', 'slots', 'smape', 'ssim', 'temperature',
           'unigram_bits', 'verification', 'verified']
