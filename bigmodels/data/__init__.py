"""Sources, batches and transforms. Importing this reads nothing and loads no reader."""

from bigmodels.data import cleaning, transforms
from bigmodels.data.batches import Batches
from bigmodels.data.scikit import Digits, ScikitTable
from bigmodels.data.sources import Arrays
from bigmodels.data.table import Table
from bigmodels.data.tfds import Tfds

__all__ = ['Arrays', 'Batches', 'Digits', 'ScikitTable', 'Table', 'Tfds', 'cleaning',
           'transforms']
