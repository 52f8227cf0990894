"""Functions that sources of tokens share: the run's tokenizer, padding, datasets.

The tokenizer is fitted only to the split 'train' and stored with the run, under the
name 'tokenizer'. All splits are encoded with it.
"""

import functools
import json
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from bigmodels.core.errors import UserError
from bigmodels.data import tokenizers
from bigmodels.data.cached.token_cache import TokenCache
from bigmodels.data.origins import Origin
from bigmodels.data.sources import Columns, DataContext, Dataset, in_memory
from bigmodels.data.tokenizers import Tokenizer


def check_length(length: int, name: str = 'length') -> None:
  """Refuses a length below 1.

  Raises:
    ValueError: for one, with the name of the setting.
  """
  if length < 1:
    raise ValueError(f'{name}: must be >= 1, got {length}')


def tokenizer_of(source: Any, context: DataContext,
                 texts: Callable[[], Iterable[str]]) -> Tokenizer:
  """Returns the tokenizer of a run, fitted now if it has none.

  Args:
    source: source of tokens, with `documents` and the config of its `tokenizer`.
    context: stores the tokenizer under the name 'tokenizer'.
    texts: () -> the texts to fit it to.

  Raises:
    UserError: if it cannot be fitted, or the run has another tokenizer.
  """

  def fit():
    found, config = texts(), source.tokenizer
    # The code of a config that is not of this package may change.
    known = config.fitted and type(config).__module__ == tokenizers.__name__
    try:
      state = (_cache(context).fitted(config, found) if known else config.fit(found))
    except UserError as error:
      raise UserError(f'{source.documents.name}: {error}') from None
    context.say(f'tokenizer: {type(source.tokenizer).__name__}, '
                f'{tokenizers.load(state).size:,} tokens')
    return state

  state = context.keep('tokenizer', fit)
  tokenizers.check(source.tokenizer, state)
  return tokenizers.load(state)


def encode(source: Any, tokenizer: Tokenizer, texts: Iterable[str],
           context: DataContext | None = None) -> list[np.ndarray]:
  """Returns the tokens of every text, int32 `[n]` each.

  Args:
    source: source of the texts, for the message.
    tokenizer: tokenizer of the run.
    texts: texts of the selected split.
    context: has the cache, in which tokens of long texts are kept; None for no cache.

  Raises:
    UserError: if a text cannot be encoded.
  """
  try:
    if context is None:
      return tokenizer.encode_all(tuple(texts))
    return _encoded(tokenizer, tuple(texts), _cache(context),
                    json.dumps(context.kept['tokenizer']))
  except UserError as error:
    raise UserError(f'{source.documents.name}, split {source.selected!r}: {error}'
                    ) from None


@functools.lru_cache(maxsize=4)  # a process may open a split several times
def _encoded(tokenizer: Tokenizer, texts: tuple[str, ...], cache: TokenCache,
             state: str) -> list[np.ndarray]:
  return cache.encoded(state, tokenizer.encode_all, texts)


def _cache(context: DataContext) -> TokenCache:
  return TokenCache(context.cache_dir, context.say)


def dtype_of(tokenizer: Tokenizer) -> type:
  """Returns the dtype of tokens: uint16 if all of them fit, else int32."""
  return np.uint16 if tokenizer.size <= 2**16 else np.int32


def padded(name: str, rows: list[np.ndarray], width: int, tokenizer: Tokenizer,
           marks: str = '', marks_dtype: Any = np.uint8) -> Columns:
  """Returns rows of tokens padded to one width, and a mask of the tokens.

  Args:
    name: name of the column of tokens, `[n, width]`.
    rows: `n` arrays, each at most `width` long.
    width: width of the column.
    tokenizer: has the 'pad'; the padding is 0 without one.
    marks: name of a column `[n, width]`, 1 for a token and 0 for padding; '' for none.
    marks_dtype: dtype of that column.
  """
  lengths = np.array([len(row) for row in rows])
  there = np.arange(width) < lengths[:, None]
  array = np.full(there.shape, tokenizer.special.get('pad', 0), dtype_of(tokenizer))
  array[there] = np.concatenate(rows)
  return {name: array} | ({marks: there.astype(marks_dtype)} if marks else {})


def dataset_of(source: Any, columns: Columns, classes: tuple[str, ...] | None,
               tokenizer: Tokenizer, origin: Origin | None) -> Dataset:
  """Returns a dataset of columns of tokens.

  Args:
    source: source of tokens, for the identity.
    columns: `[n, ...]`.
    classes: classes of the labels, or None.
    tokenizer: tokenizer that the dataset provides.
    origin: origin of the texts.
  """
  dataset = in_memory(columns, classes)
  return dataset._replace(
    identity=f'{source.documents.name}, split {source.selected!r}: {dataset.identity}',
    provides=tokenizers.provided(tokenizer), origin=origin)


def many(count: int, what: str) -> str:
  """Returns a count with its noun: '1 pair', '2 pairs'."""
  return f'{count:,} {what}{"s" * (count != 1)}'


def say(source: Any, context: DataContext, *parts: str) -> None:
  """Prints a line about the selected split.

  Args:
    source: source of tokens.
    context: prints the line.
    *parts: parts of the line; empty ones are omitted.
  """
  context.say(f'{source.documents.name}, {source.selected}: '
              f'{"; ".join(filter(None, parts))}')
