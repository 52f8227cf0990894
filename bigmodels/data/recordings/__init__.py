"""Sources of transcribed recordings: tables of sounds, features, digits."""

from bigmodels.data.recordings.digit_strings import DigitStrings
from bigmodels.data.recordings.feature_tables import FeatureTable, an4
from bigmodels.data.recordings.sound_tables import SoundTable
from bigmodels.data.recordings.spoken_digits import SpokenDigits

__all__ = ['DigitStrings', 'FeatureTable', 'SoundTable', 'SpokenDigits', 'an4']
