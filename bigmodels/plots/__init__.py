"""Plots of an evaluated split: arrays in, matplotlib Figures out.

There is one function per task: `(outputs, inputs, classes) -> title -> Figure`, or a
`Table` of texts and sounds. They do not use pyplot, so that no figure is kept in
memory; matplotlib is imported when the first figure is made. Text and frames are black,
and recoloured by the report.
"""

from bigmodels.plots.anomaly import anomaly
from bigmodels.plots.answers import answers
from bigmodels.plots.classification import calibration, classification
from bigmodels.plots.control import control
from bigmodels.plots.detection import detection, draw_boxes
from bigmodels.plots.forecasting import forecasting
from bigmodels.plots.generation import denoised, generation
from bigmodels.plots.groups import error_by_group
from bigmodels.plots.language import language
from bigmodels.plots.recommendation import ratings, recommendation
from bigmodels.plots.regression import regression
from bigmodels.plots.retrieval import recalls
from bigmodels.plots.segmentation import segmentation
from bigmodels.plots.selection import ranks
from bigmodels.plots.sounds import Sound, spectrograms
from bigmodels.plots.speech import speech
from bigmodels.plots.style import BLUE, FULL, GREY, HALF, NARROW, ORANGE, WIDE
from bigmodels.plots.style_transfer import style_transfer
from bigmodels.plots.super_resolution import super_resolution
from bigmodels.plots.synthesis import synthesis
from bigmodels.plots.table import Inputs, Table, ending, spread
from bigmodels.plots.two_classes import net_benefit
from bigmodels.plots.verification import verification

__all__ = ['BLUE', 'FULL', 'GREY', 'HALF', 'Inputs', 'NARROW', 'ORANGE', 'Sound',
           'Table', 'WIDE', 'anomaly', 'answers', 'calibration', 'classification',
           'control', 'denoised', 'detection', 'draw_boxes', 'ending', 'error_by_group',
           'forecasting', 'generation', 'language', 'net_benefit', 'ranks', 'ratings',
           'recalls', 'recommendation', 'regression', 'segmentation', 'spectrograms',
           'speech', 'spread', 'style_transfer', 'super_resolution', 'synthesis',
           'verification']
