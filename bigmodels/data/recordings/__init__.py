"""Sources of transcribed recordings: tables of sounds, features, joined digits."""

from bigmodels.data.recordings.digit_strings import DigitStrings
from bigmodels.data.recordings.feature_tables import FeatureTable, an4
from bigmodels.data.recordings.sound_tables import SoundTable

__all__ = ['DigitStrings', 'FeatureTable', 'SoundTable', 'an4']
