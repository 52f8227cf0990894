"""Images with their captions as rows of tokens."""

import dataclasses
import functools
from typing import Any

import numpy as np

from bigmodels.core.errors import UserError, one_line
from bigmodels.data.folders import image_files, listing
from bigmodels.data.readers.reader import Reader
from bigmodels.data.sources import Columns, DataContext, Dataset
from bigmodels.data.tokenized import (
  check_length,
  dataset_of,
  encode,
  many,
  padded,
  say,
  tokenizer_of,
)
from bigmodels.data.tokenizers import Tokenizer


@dataclasses.dataclass(frozen=True)
class CaptionedImages:
  """Images of one size, in RGB, and the captions of each.

  Opened, with `C` the most captions of an image and `L = length`: `inputs` uint8 `[n,
  size, size, 3]`; `captions` `[n, C, L]`, uint16 or int32 as in `Packed`;
  `caption_segments` int32 `[n, C, L]`, 1 for a token and 0 for padding;
  `caption_groups` int32 `[n, C]`, the number of the text, which equal captions share,
  or -1 where an image has fewer captions. `transforms.one_caption` draws one.

  Captions begin with the token 'begin' or 'class' and end with 'end' or 'separator',
  if the tokenizer has these; longer ones are truncated before the last token. Images
  are kept in memory.

  Attributes:
    documents: a `texts.CaptionFile`.
    tokenizer: config of the tokenizer; see `tokenizers`.
    length: number of tokens of a caption.
    size: side of the images in pixels; others are cut to the aspect and resized.
    selected: the split that `open` returns.
  """

  documents: Any
  tokenizer: Any
  length: int
  size: int = 64
  selected: str = 'train'

  def __post_init__(self):
    check_length(self.length)
    check_length(self.size, 'size')

  def split(self, name: str) -> 'CaptionedImages':
    return dataclasses.replace(self, selected=name)

  def open(self, context: DataContext) -> Dataset:
    """Reads the images and captions of the split; fits the tokenizer if needed.

    Raises:
      UserError: if an image is damaged, or a caption cannot be encoded.
    """
    read = functools.cache(lambda split: self.documents.read(split, context))
    tokenizer = tokenizer_of(self, context, lambda: [
      text for each in read('train').captions for text in each])
    found = read(self.selected)
    photographs = image_files.read_all(
      found.images, f'{self.documents.name}, {self.selected}')
    images = photographs.rgb((self.size, self.size))
    photographs.say(self._lines(photographs), context)
    columns, cut = caption_columns(self, tokenizer, found.captions)
    say(self, context, f'{many(len(images), "image")}, '
        f'{many(sum(map(len, found.captions)), "caption")}', *found.notes,
        f'{many(cut, "caption")} longer than {self.length} tokens, so truncated'
        * bool(cut))
    names = photographs.names

    def words(rows: np.ndarray) -> list[dict[str, str]]:
      return [{'image': one_line(names[row]), **{
        f'caption {number}': text
        for number, text in enumerate(found.captions[row], 1)}}
        for row in np.asarray(rows).tolist()]

    dataset = dataset_of(self, {'inputs': images, **columns}, None, tokenizer,
                         photographs._replace(arrays=[*images]).origin())
    return dataset._replace(
      words=words, describe=lambda row: found.images[row].path,
      ids={'file': np.array(names, object)})

  def reader(self, context: DataContext) -> Reader:
    """Returns a reader of new images; see `readers`."""
    from bigmodels.data.readers.files import FileReader

    return FileReader(
      image_files.ImageReading(3, (self.size, self.size), 'crop', None,
                               notes_changes=True),
      image_files.SUFFIXES, None, say=context.say,
      unlabelled='the captions of images are read by data.CaptionedImages, as the '
                 'source of an evaluation; files have no labels for them')

  def _lines(self, images: image_files.Images) -> list[str]:
    """Lines about how many images change channels and size."""
    size = (self.size, self.size)
    changed = {
      image_files.GREY: images.grey,
      'cut to the aspect at the center and resized to '
      f'{image_files.pixels(size)}': sum(
        image.shape[:2] != size for image in images.arrays)}
    return [f'{listing.counted(count, "image")} {line}'
            for line, count in changed.items() if count]


def caption_columns(source: Any, tokenizer: Tokenizer, captions: list[list[str]]
                    ) -> tuple[Columns, int]:
  """Returns the columns of captions; see `CaptionedImages`.

  Args:
    source: has the `length`, and what `tokenized.encode` needs.
    tokenizer: of the run.
    captions: of each of `n` images.

  Returns:
    `captions`, `caption_segments` and `caption_groups`; how many were truncated.

  Raises:
    UserError: if the special tokens leave no room.
  """
  distinct = [*dict.fromkeys(text for each in captions for text in each)]
  rows = encode(source, tokenizer, distinct)
  first, last = ([tokenizer.special[name] for name in names
                  if name in tokenizer.special][:1]
                 for names in (('begin', 'class'), ('end', 'separator')))
  room = source.length - len(first) - len(last)
  if room < 1:
    raise UserError(f'length: must be >= {source.length - room + 1}, for captions have '
                    f'{source.length - room} special tokens, got {source.length}')
  long = {text for text, row in zip(distinct, rows, strict=True) if len(row) > room}
  found = padded(
    'captions', [np.concatenate([first, row[:room], last]).astype(np.int32)
                 for row in rows], source.length, tokenizer, marks='caption_segments',
    marks_dtype=np.int32)
  number = {text: index for index, text in enumerate(distinct)}
  groups = np.full((len(captions), max(map(len, captions))), -1, np.int32)
  for row, texts in zip(groups, captions, strict=True):
    row[: len(texts)] = [number[text] for text in texts]
  columns = {name: np.where((groups >= 0)[..., None], column[groups], 0).astype(
    column.dtype) for name, column in found.items()}
  return {**columns, 'caption_groups': groups}, sum(
    text in long for each in captions for text in each)
