"""Sources of text: documents, translations, labelled texts, questions, dialogues.

Each source is a record with a `name` and `read(split, context)`; most have
`download(context)`. Nothing is read before these are called. If nothing is at a path,
it is looked up under `--data_dir`. The sources of tokens, such as `data.Packed`, read
these.
"""

from bigmodels.data.texts.captions import CaptionFile, Captions, flickr8k
from bigmodels.data.texts.dialogues import DialogueFile, Dialogues, dailydialog
from bigmodels.data.texts.documents import (
  Documents,
  StandardLibrary,
  TextFiles,
  TfdsText,
)
from bigmodels.data.texts.labelled import Labelled, LabelledTexts, label_first, sst2
from bigmodels.data.texts.parallel import Pairs, ParallelFiles, multi30k
from bigmodels.data.texts.questions import Answer, QuestionFiles, Questions, squad
from bigmodels.data.texts.slot_dialogues import SlotDialogueFile, camrest
from bigmodels.data.texts.stories import Stories, StoryFiles, babi

__all__ = ['Answer', 'CaptionFile', 'Captions', 'DialogueFile', 'Dialogues',
           'Documents', 'Labelled', 'LabelledTexts', 'Pairs', 'ParallelFiles',
           'QuestionFiles', 'Questions', 'SlotDialogueFile', 'StandardLibrary',
           'Stories', 'StoryFiles', 'TextFiles', 'TfdsText', 'babi', 'camrest',
           'dailydialog', 'flickr8k', 'label_first', 'multi30k', 'squad', 'sst2']
