"""Metrics: sums that add up over batches, and numbers of a whole split on the host.

Definitions are those of scikit-learn, so that numbers are comparable. The metrics that
matter most come first in a result, as the report shows them.
"""

from bigmodels.metrics.classification import classification
from bigmodels.metrics.generation import frechet, generation, precision_recall
from bigmodels.metrics.language import language
from bigmodels.metrics.metric import Mean, Metric
from bigmodels.metrics.regression import regression
from bigmodels.metrics.translation import bleu

__all__ = ['Mean', 'Metric', 'bleu', 'classification', 'frechet', 'generation',
           'language', 'precision_recall', 'regression']
