"""The version of bigmodels."""

VERSION = '0.1.0'
