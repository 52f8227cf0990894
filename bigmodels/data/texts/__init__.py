"""Where text comes from: documents, pairs of translations, and labelled texts.

Each source is a record with a `name` and `read(split, context)`; most have
`download(context)`. Nothing is read before that. A path is looked up as it is given
and, where there is nothing, under `--data_dir`. The sources of tokens, such as
`data.Packed`, read these.
"""

from bigmodels.data.texts.documents import (
  Documents,
  StandardLibrary,
  TextFiles,
  TfdsText,
)
from bigmodels.data.texts.labelled import Labelled, LabelledCsv, label_first, sst2
from bigmodels.data.texts.parallel import Pairs, ParallelFiles, multi30k

__all__ = ['Documents', 'Labelled', 'LabelledCsv', 'Pairs', 'ParallelFiles',
           'StandardLibrary', 'TextFiles', 'TfdsText', 'label_first', 'multi30k',
           'sst2']
