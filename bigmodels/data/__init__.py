"""Sources, batches and transforms. Importing this reads no data."""

from bigmodels.data import (
  boxes,
  cleaning,
  folds,
  images,
  recordings,
  test_time,
  texts,
  tokenizers,
  transforms,
)
from bigmodels.data.array_files import ArrayFiles
from bigmodels.data.arrays import Arrays
from bigmodels.data.batches import Batches, at_most
from bigmodels.data.captioned_images import CaptionedImages
from bigmodels.data.class_captions import ClassCaptions
from bigmodels.data.detection import Detection
from bigmodels.data.digit_masks import DigitMasks
from bigmodels.data.downscaled import Downscaled
from bigmodels.data.ellipse_masks import EllipseMasks
from bigmodels.data.episodes import Episodes
from bigmodels.data.folders.audio_folder import AudioFolder
from bigmodels.data.folders.image_folder import ImageFolder
from bigmodels.data.folders.mask_folder import MaskFolder
from bigmodels.data.generated import Generated
from bigmodels.data.interactions.features import Features
from bigmodels.data.interactions.histories import Histories
from bigmodels.data.interactions.interactions import Interactions
from bigmodels.data.med_mnist import MedMnist
from bigmodels.data.packed import Packed
from bigmodels.data.pairs import Pairs
from bigmodels.data.per_class import PerClass
from bigmodels.data.piecewise_linear import piecewise_linear
from bigmodels.data.question_windows import QuestionWindows
from bigmodels.data.replies import Candidates, Replies
from bigmodels.data.scikit import Digits, ScikitTable
from bigmodels.data.sentences import Sentences
from bigmodels.data.sequence import Sequence
from bigmodels.data.series.series import Series
from bigmodels.data.speech import Speech
from bigmodels.data.story_questions import StoryQuestions
from bigmodels.data.style_pairs import StylePairs
from bigmodels.data.subset import Subset
from bigmodels.data.tables.table import Table
from bigmodels.data.tfds.tfds import Tfds
from bigmodels.data.translations import Translations
from bigmodels.data.waveforms import Waveforms

__all__ = ['ArrayFiles', 'Arrays', 'AudioFolder', 'Batches', 'Candidates',
           'CaptionedImages', 'ClassCaptions', 'Detection', 'DigitMasks', 'Digits',
           'Downscaled', 'EllipseMasks', 'Episodes', 'Features', 'Generated',
           'Histories', 'ImageFolder', 'Interactions', 'MaskFolder', 'MedMnist',
           'Packed', 'Pairs', 'PerClass', 'QuestionWindows', 'Replies', 'ScikitTable',
           'Sentences', 'Sequence', 'Series', 'Speech', 'StoryQuestions', 'StylePairs',
           'Subset', 'Table', 'Tfds', 'Translations', 'Waveforms', 'at_most', 'boxes',
           'cleaning', 'folds', 'images', 'piecewise_linear', 'recordings', 'test_time',
           'texts', 'tokenizers', 'transforms']
