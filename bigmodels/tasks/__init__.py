"""Tasks: what is learned, and how a model's output for a batch is scored."""

from bigmodels.tasks.anomaly import anomaly
from bigmodels.tasks.classification import classification
from bigmodels.tasks.control import Control, control
from bigmodels.tasks.forecasting import forecasting
from bigmodels.tasks.frozen import frozen_statistics, with_frozen_statistics
from bigmodels.tasks.generation import Generation, generation
from bigmodels.tasks.language import masked_token, next_token
from bigmodels.tasks.next_item import next_item
from bigmodels.tasks.recommendation import implicit, ratings
from bigmodels.tasks.regression import regression
from bigmodels.tasks.task import Split, Task
from bigmodels.tasks.translation import translation

__all__ = ['Control', 'Generation', 'Split', 'Task', 'anomaly', 'classification',
           'control', 'forecasting', 'frozen_statistics', 'generation', 'implicit',
           'masked_token',
           'next_item', 'next_token', 'ratings', 'regression', 'translation',
           'with_frozen_statistics']
