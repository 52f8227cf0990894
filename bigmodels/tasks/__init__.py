"""Tasks: what is learned, and how a model's output for a batch is scored."""

from bigmodels.tasks.classification import classification
from bigmodels.tasks.control import Control, control
from bigmodels.tasks.ctc import ctc
from bigmodels.tasks.frozen import frozen_statistics, with_frozen_statistics
from bigmodels.tasks.generation import Generation, generation
from bigmodels.tasks.language import masked_token, next_token
from bigmodels.tasks.regression import regression
from bigmodels.tasks.synthesis import synthesis
from bigmodels.tasks.task import Split, Task
from bigmodels.tasks.transcription import transcription
from bigmodels.tasks.translation import translation
from bigmodels.tasks.waveforms import waveform

__all__ = ['Control', 'Generation', 'Split', 'Task', 'classification', 'control',
           'ctc', 'frozen_statistics', 'generation', 'masked_token', 'next_token',
           'regression', 'synthesis', 'transcription', 'translation', 'waveform',
           'with_frozen_statistics']
