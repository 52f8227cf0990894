"""Word and character error rates, by jiwer."""

from collections.abc import Sequence

import numpy as np

from bigmodels.core.errors import UserError


def error_rates(transcripts: Sequence[str], references: Sequence[str]
                ) -> dict[str, float]:
  """Computes the errors of all transcripts, divided by the length of all references.

  Errors are the substitutions, deletions and insertions that turn a reference into its
  transcript. They may exceed the length, so a rate may exceed 1.

  Args:
    transcripts: `n` texts.
    references: their references.

  Returns:
    Name -> number: `wer`, of words that white space separates; its parts
    `substitutions`, `deletions` and `insertions`; `cer`, of characters; and
    `sentence_error`, the fraction of transcripts with an error. A rate is left out if
    references are empty.

  Raises:
    UserError: if jiwer is missing.
  """
  words, length = edits(transcripts, references)
  characters, size = edits(transcripts, references, words=False)
  found = {}
  if length.sum():
    parts = words.sum(0) / length.sum()
    found['wer'] = float(parts.sum())
  if size.sum():
    found['cer'] = float(characters.sum() / size.sum())
  if length.sum():
    found |= dict(zip(('substitutions', 'deletions', 'insertions'), parts.tolist(),
                      strict=True))
  return found | {'sentence_error': float(np.mean(words.any(1)))}


def edits(transcripts: Sequence[str], references: Sequence[str], *, words: bool = True
          ) -> tuple[np.ndarray, np.ndarray]:
  """Counts the errors of each transcript.

  Args:
    transcripts: `n` texts.
    references: their references.
    words: whether to count words, separated by white space; otherwise characters.

  Returns:
    Substitutions, deletions and insertions, int `[n, 3]`; lengths of the references,
    int `[n]`.

  Raises:
    UserError: if jiwer is missing.
  """
  process = (library().process_words if words else library().process_characters)
  counts, lengths = [], []
  for text, reference in zip(transcripts, references, strict=True):
    text, reference = (' '.join(each.split()) for each in (text, reference))
    lengths.append(len(reference.split()) if words else len(reference))
    if reference:
      found = process(reference, text)
      counts.append((found.substitutions, found.deletions, found.insertions))
    else:  # which jiwer refuses
      counts.append((0, 0, len(text.split()) if words else len(text)))
  return np.array(counts, int).reshape(-1, 3), np.array(lengths, int)


def library():
  """Returns the package `jiwer`.

  Raises:
    UserError: if it is missing.
  """
  try:
    import jiwer
  except ImportError as error:
    raise UserError(f'error rates need the package jiwer ({error}): '
                    'pip install -r requirements-audio.txt') from None
  return jiwer
