"""Labelled images whose captions are the names of their classes, in templates."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from bigmodels.core.errors import UserError
from bigmodels.data import tokenizers
from bigmodels.data.captioned_images import caption_columns
from bigmodels.data.readers.reader import Reader
from bigmodels.data.sources import Columns, DataContext, Dataset
from bigmodels.data.tokenized import check_length, many, tokenizer_of
from bigmodels.data.tokenizers import Tokenizer


class Prompts(NamedTuple):
  """The names of classes in templates, as tokens.

  Attributes:
    tokens: `[classes, templates, length]`, uint16 or int32.
    segments: int32 of that shape, 1 for a token and 0 for padding.
  """

  tokens: np.ndarray
  segments: np.ndarray


@dataclasses.dataclass(frozen=True)
class ClassCaptions:
  """A split with classes, and captions such as 'a photo of a dog.'.

  Opened, it has the columns of the split and those of `data.CaptionedImages`, with a
  caption for each template; those of a class share the `caption_groups`. It provides
  the `prompts` of all classes.

  Attributes:
    source: a split of images with classes.
    tokenizer: config of the tokenizer, which is fitted to the captions.
    length: number of tokens of a caption; longer ones are refused.
    templates: texts with `{}` in place of the name of a class. A `_` in a name becomes
      a blank.
  """

  source: Any
  tokenizer: Any
  length: int
  templates: tuple[str, ...]

  name = 'class names'  # for messages, as those of texts
  selected = 'train'

  def __post_init__(self):
    check_length(self.length)
    if not self.templates or isinstance(self.templates, str):
      raise ValueError(f'templates: must be one text or more, got {self.templates!r}')
    for template in self.templates:
      if not isinstance(template, str) or template.count('{}') != 1:
        raise ValueError(f'templates: each must have one {{}}, got {template!r}')

  @property
  def documents(self) -> 'ClassCaptions':
    return self

  @property
  def reader(self) -> Callable[[DataContext], Reader] | None:
    """Makes the other source's reader of new examples, if it has one."""
    return getattr(self.source, 'reader', None)

  def around(self, source: Any) -> 'ClassCaptions':
    """Returns the captions of the examples of another source."""
    return dataclasses.replace(self, source=source)

  def recorded(self, kept: Mapping[str, Any]) -> dict[str, Callable[[], Any]]:
    """Returns what a split provides, of what a run keeps; see `Source`."""
    tokenizer = tokenizers.load(kept['tokenizer'])
    return {'prompts': lambda: self._prompts(kept['train']['classes'], tokenizer)[0]}

  def open(self, context: DataContext) -> Dataset:
    """Opens the other source; fits the tokenizer if needed.

    Raises:
      UserError: if the data has no classes, or a caption is too long.
    """
    whole = self.source.open(context)
    if whole.classes is None:
      raise UserError('ClassCaptions: needs data with classes')
    if not whole.named:
      context.note('classes have no names: their captions have numbers')
    tokenizer = tokenizer_of(self, context, lambda: [
      text for texts in self._texts(whole.classes) for text in texts])
    prompts, columns = self._prompts(whole.classes, tokenizer)

    def added(found: Columns) -> Columns:
      labels = np.maximum(found['labels'], 0)  # -1 where it cannot be read
      return {**found, **{name: column[labels] for name, column in columns.items()}}

    size = sum(column[0].nbytes for column in columns.values()) * whole.length
    return whole._replace(
      load=lambda: added({**whole.load()}), compact=None,
      read=lambda rows, seeds=None: added(whole.read(rows, seeds)),
      nbytes=None if whole.compact or whole.nbytes is None else whole.nbytes + size,
      identity=f'{whole.identity}, captions {self.templates}',
      provides={**whole.provides, **tokenizers.provided(tokenizer),
                'prompts': lambda: prompts})

  def _texts(self, classes: Sequence[str]) -> list[list[str]]:
    """The captions of each class."""
    return [[template.replace('{}', name.replace('_', ' '))
             for template in self.templates] for name in classes]

  def _prompts(self, classes: Sequence[str], tokenizer: Tokenizer
               ) -> tuple[Prompts, Columns]:
    columns, cut = caption_columns(self, tokenizer, self._texts(classes))
    if cut:
      raise UserError(f'{many(cut, "caption")} of classes longer than the length, '
                      f'{self.length} tokens: set length to more')
    groups = np.repeat(np.arange(len(classes), dtype=np.int32)[:, None],
                       len(self.templates), 1)
    return Prompts(columns['captions'], columns['caption_segments']), {
      **columns, 'caption_groups': groups}
