"""Tasks: what is learned, and how a model's output for a batch is scored."""

from bigmodels.tasks import detectors
from bigmodels.tasks.adversarial_super_resolution import adversarial_super_resolution
from bigmodels.tasks.adversaries import Adversaries
from bigmodels.tasks.anomaly import anomaly
from bigmodels.tasks.captioning import captioning
from bigmodels.tasks.classification import classification
from bigmodels.tasks.control import Control, control
from bigmodels.tasks.ctc import ctc
from bigmodels.tasks.detection import detection
from bigmodels.tasks.dialogue import slot_responses
from bigmodels.tasks.diffusion import diffusion
from bigmodels.tasks.embedding import embedding
from bigmodels.tasks.forecasting import forecasting
from bigmodels.tasks.frozen import frozen_statistics, with_frozen_statistics
from bigmodels.tasks.generation import generation
from bigmodels.tasks.image_text import image_text
from bigmodels.tasks.language import masked_token, next_token
from bigmodels.tasks.next_item import next_item
from bigmodels.tasks.recommendation import implicit, ratings
from bigmodels.tasks.regression import regression
from bigmodels.tasks.segmentation import segmentation
from bigmodels.tasks.selection import response_selection
from bigmodels.tasks.spans import answer_spans
from bigmodels.tasks.stories import story_questions
from bigmodels.tasks.style_transfer import style_transfer
from bigmodels.tasks.super_resolution import super_resolution
from bigmodels.tasks.synthesis import synthesis
from bigmodels.tasks.task import Split, Task
from bigmodels.tasks.transcription import transcription
from bigmodels.tasks.translation import translation
from bigmodels.tasks.waveforms import waveform
from bigmodels.tasks.zero_shot import zero_shot

__all__ = ['Adversaries', 'Control', 'Split', 'Task', 'adversarial_super_resolution',
           'anomaly', 'answer_spans', 'captioning', 'classification', 'control', 'ctc',
           'detection', 'detectors', 'diffusion', 'embedding', 'forecasting',
           'frozen_statistics', 'generation', 'image_text', 'implicit', 'masked_token',
           'next_item', 'next_token', 'ratings', 'regression', 'response_selection',
           'segmentation', 'slot_responses', 'story_questions', 'style_transfer',
           'super_resolution', 'synthesis', 'transcription', 'translation', 'waveform',
           'with_frozen_statistics', 'zero_shot']
