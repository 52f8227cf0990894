"""Sources of text: documents, pairs of translations, and labelled texts.

Each source is a record with a `name` and `read(split, context)`; most have
`download(context)`. Nothing is read before these are called. If nothing is at a path,
it is looked up under `--data_dir`. The sources of tokens, such as `data.Packed`, read
these.
"""

from bigmodels.data.texts.documents import (
  Documents,
  StandardLibrary,
  TextFiles,
  TfdsText,
)
from bigmodels.data.texts.labelled import Labelled, LabelledTexts, label_first, sst2
from bigmodels.data.texts.parallel import Pairs, ParallelFiles, multi30k
from bigmodels.data.texts.questions import Answer, QuestionFiles, Questions, squad
from bigmodels.data.texts.stories import Stories, StoryFiles, babi

__all__ = ['Answer', 'Documents', 'Labelled', 'LabelledTexts', 'Pairs', 'ParallelFiles',
           'QuestionFiles', 'Questions', 'StandardLibrary', 'Stories', 'StoryFiles',
           'TextFiles', 'TfdsText', 'babi', 'label_first', 'multi30k', 'squad', 'sst2']
