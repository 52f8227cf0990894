"""All programs of the self-check."""

from bigmodels.hardware.self_check import (
  bits,
  control,
  images,
  indexing,
  products,
  reductions,
  sequences,
)

PROGRAMS = tuple(
  program for kind in (images, sequences, products, reductions, control, indexing, bits)
  for program in kind.PROGRAMS)
