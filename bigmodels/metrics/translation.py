"""Metrics of translations."""

from collections.abc import Sequence


def bleu(translations: Sequence[str], references: Sequence[str]) -> dict[str, float]:
  """Computes corpus BLEU, 0 to 100, with one reference for each translation.

  Papineni et al., *BLEU: a Method for Automatic Evaluation of Machine Translation*,
  2002; by sacrebleu, with its tokenization '13a' of detokenized text, cased.
  """
  import sacrebleu

  return {'bleu': float(sacrebleu.corpus_bleu(translations, [references]).score)}
