"""Metrics of captions that are written."""

from collections.abc import Sequence


def caption_bleu(written: Sequence[str], references: Sequence[Sequence[str]]
                 ) -> dict[str, float]:
  """Computes corpus BLEU of captions against all captions of their images.

  Papineni et al., *BLEU: a Method for Automatic Evaluation of Machine Translation*,
  2002; computed by sacrebleu, without case and smoothing, with tokenization '13a'.

  Args:
    written: a caption for each image.
    references: the captions of each image, at least one.

  Returns:
    `bleu_1`, of single words, and `bleu_4`, of up to four, 0 to 100; empty without
    images.
  """
  from sacrebleu.metrics import BLEU

  if not len(written):
    return {}
  most = max(map(len, references))
  streams = [[each[k] if k < len(each) else None for each in references]
             for k in range(most)]
  return {f'bleu_{order}': float(BLEU(
    lowercase=True, smooth_method='none', max_ngram_order=order).corpus_score(
      written, streams).score) for order in (1, 4)}
