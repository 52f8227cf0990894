"""The packages of an installation; everything else is in pyproject.toml."""

from setuptools import find_packages, setup

# The experiments of a checkout become a folder of the installed package.
setup(packages=[*find_packages(include=['bigmodels*']), 'bigmodels.experiments'],
      package_dir={'bigmodels.experiments': 'experiments'})
