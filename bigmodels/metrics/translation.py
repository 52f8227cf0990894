"""Metrics of translations."""

from collections.abc import Sequence


def bleu(translations: Sequence[str], references: Sequence[str]) -> dict[str, float]:
  """Computes corpus BLEU, 0 to 100, with one reference for each translation.

  Papineni et al., *BLEU: a Method for Automatic Evaluation of Machine Translation*,
  2002; computed by sacrebleu on detokenized, cased text, with tokenization '13a'.
  """
  import sacrebleu

  return {'bleu': float(sacrebleu.corpus_bleu(translations, [references]).score)}
