"""Plots of an evaluated split: arrays in, matplotlib Figures out.

A function a task: `(outputs, inputs, classes) -> title -> Figure`. Nothing uses pyplot,
so no figure stays alive; matplotlib is imported when the first one is made. Text and
frames are black, which the report recolours.
"""

from bigmodels.plots.classification import calibration, classification
from bigmodels.plots.control import control
from bigmodels.plots.curves import curve
from bigmodels.plots.generation import generation
from bigmodels.plots.language import language
from bigmodels.plots.regression import regression
from bigmodels.plots.style import BLUE, FULL, GREY, HALF, NARROW, ORANGE, WIDE, Inputs

__all__ = ['BLUE', 'FULL', 'GREY', 'HALF', 'NARROW', 'ORANGE', 'WIDE', 'Inputs',
           'calibration', 'classification', 'control', 'curve', 'generation',
           'language', 'regression']
