"""Tests of data.CaptionedImages, texts.CaptionFile and transforms.one_caption."""

import jax
import numpy as np
import pytest

from bigmodels.core.errors import UserError
from bigmodels.data import CaptionedImages, texts, tokenizers, transforms
from tests.data.folders import captioned
from tests.data.folders.written import context, write

ROWS = [('b.png', 'train', 'a red dog'), ('a.png', 'train', 'a blue cat runs away'),
        ('b.png', 'train', 'one dog'), ('c.png', 'dev', 'a red dog'),
        ('b.png', 'train', ' '), ('d.png', 'test', 'a zebra')]


@pytest.fixture
def folder(tmp_path):
  write(tmp_path / 'images', [f'{name}.png' for name in 'abcd'], shape=(8, 8))
  captioned.table(tmp_path / 'captions.csv', ROWS)
  return tmp_path


def opened(folder, split='train', kept=None, size=8, length=4,
           special=('pad', 'unknown'), **settings):
  asked = context(folder, **(kept or {}))
  source = CaptionedImages(
    texts.CaptionFile('captions.csv', 'images', **settings),
    tokenizers.Words(20, special=special), length, size)
  return source.split(split).open(asked), asked


def test_an_image_has_its_captions(folder):
  dataset, asked = opened(folder)
  columns, tokenizer = dataset.load(), dataset.tokenizer
  assert {name: (x.dtype.name, x.shape) for name, x in columns.items()} == {
    'inputs': ('uint8', (2, 8, 8, 3)), 'captions': ('uint16', (2, 2, 4)),
    'caption_segments': ('int32', (2, 2, 4)), 'caption_groups': ('int32', (2, 2))}
  pixels = write(folder / 'other', [f'{name}.png' for name in 'abcd'], shape=(8, 8))
  np.testing.assert_array_equal(columns['inputs'], [pixels['a.png'], pixels['b.png']])
  counts = columns['caption_segments'].sum(-1)
  assert counts.tolist() == [[4, 0], [3, 2]]  # 'a blue cat runs', truncated
  said = [[tokenizer.decode(ids[:count]) for ids, count in zip(*row, strict=True)]
          for row in zip(columns['captions'], counts, strict=True)]
  assert said == [['a blue cat runs', ''], ['a red dog', 'one dog']]
  assert columns['caption_groups'].tolist() == [[0, -1], [1, 2]]
  assert dataset.words(np.array([1])) == [
    {'image': 'b.png', 'caption 1': 'a red dog', 'caption 2': 'one dog'}]
  assert dataset.ids['file'].tolist() == ['a.png', 'b.png']
  assert asked.said[-1] == (
    'captions.csv, train: 2 images, 3 captions; 1 empty caption left out; 1 caption '
    'longer than 4 tokens, so truncated')


def test_captions_have_room_beside_their_special_tokens(folder):
  special = ('pad', 'unknown', 'begin', 'end')
  dataset, _ = opened(folder, length=3, special=special)
  assert dataset.load()['caption_segments'].sum(-1).tolist() == [[3, 0], [3, 3]]
  for length in (1, 2):
    with pytest.raises(UserError, match=f'length: must be >= 3, .* got {length}'):
      opened(folder, length=length, special=special)


def test_other_splits_have_the_tokens_of_training(folder):
  _, asked = opened(folder)
  dataset, _ = opened(folder, 'validation', asked.kept)
  assert dataset.tokenizer.decode(dataset.load()['captions'][0, 0, :3]) == 'a red dog'
  dataset, _ = opened(folder, 'test', asked.kept)
  tokens = dataset.load()['captions'][0, 0]
  assert tokens[1] == dataset.tokenizer.special['unknown']


def test_without_a_column_of_splits_images_are_divided(folder):
  captioned.table(folder / 'captions.csv', [(row[0], row[2] or 'x') for row in ROWS],
                  ('file', 'caption'))
  halves = {'train': 0.5, 'test': 0.5}
  names = [opened(folder, split, splits=halves)[0].ids['file'].tolist()
           for split in halves]
  assert sorted(name for each in names for name in each) == [
    'a.png', 'b.png', 'c.png', 'd.png']
  assert {*map(len, names)} == {2}


def test_grey_and_colour_and_sizes_are_told(folder):
  write(folder / 'images', ['a.png'], shape=(8, 8), channels=1)
  write(folder / 'images', ['b.png'], shape=(9, 12))
  write(folder / 'images', ['e.png'], shape=(8, 8))
  dataset, asked = opened(folder)
  grey = dataset.load()['inputs'][0]
  assert (grey == grey[..., :1]).all() and grey.std() > 10
  assert asked.said[1:3] == [
    'captions.csv, train: 1 image grey, with three equal channels',
    'captions.csv, train: 1 image cut to the aspect at the center and resized to 8 x 8 '
    'pixels']
  assert "1 image of images without a row, so left out, such as 'e.png'" in (
    asked.said[-1])


@pytest.mark.parametrize(('row', 'message'), [
  (('e.png', 'train', 'x'), r"line 8: there is no image 'e.png' in images"),
  (('images/a.png', 'train', 'x'), r"no image 'images/a.png' in images; did you mean"),
  (('a.png', 'test', 'x'), r'a.png is in the splits train \(line 3\) and test \(line 8'
   ),
  (('a.png', '', 'x'), 'line 8 has no split'),
  (('a.png', 'train'), 'line 8 has 2 values, the header has 3')])
def test_rows_that_do_not_fit(folder, row, message):
  captioned.table(folder / 'captions.csv', [*ROWS, row])
  with pytest.raises(UserError, match=message):
    opened(folder)


def test_how_the_file_is_read_is_told_once(folder):
  path = folder / 'captions.csv'
  path.write_bytes(path.read_text().replace(',', ';').replace('zebra', 'z\xe9bre'
                                                              ).encode('cp1252'))
  dataset, asked = opened(folder, 'test')
  opened(folder, 'train', asked.kept)
  assert dataset.words(np.array([0]))[0]['caption 1'] == 'a z\xe9bre'
  found = [line for line in asked.said if line.startswith('captions.csv: ')]
  assert len(found) == 2 and 'Latin-1' in found[0] and "delimiter ';'" in found[1]
  path.unlink()
  path.mkdir()
  with pytest.raises(UserError, match=r'captions\.csv: cannot be read: Is a directory'):
    opened(folder)


def test_an_image_without_captions_is_refused(folder):
  captioned.table(folder / 'captions.csv', [*ROWS[:1], ('a.png', 'train', '')])
  with pytest.raises(UserError, match=r"1 image without a caption, such as 'a.png' "
                                      r'\(line 3\)'):
    opened(folder)


def test_new_images_have_no_captions_to_be_evaluated(folder):
  reader = CaptionedImages(None, None, 4, 8).reader(context(folder))
  chunk, = reader.examples([folder / 'images'], labels=False).chunks(0)
  assert chunk.columns['inputs'].shape == (4, 8, 8, 3)
  with pytest.raises(UserError, match='captions of images are read by'):
    reader.examples([folder / 'images'], labels=True)


def test_what_is_not_there_is_named(folder):
  with pytest.raises(UserError, match="has no split 'tset'; did you mean 'test'"):
    opened(folder, 'tset')
  with pytest.raises(UserError, match="no column is called 'image'; "):
    opened(folder, file_column='image')
  (folder / 'images/a.png').write_bytes(b'no image')
  with pytest.raises(UserError, match=r'a\.png: cannot be read as an image'):
    opened(folder)
  with pytest.raises(ValueError, match='size: must be >= 1'):
    opened(folder, size=0)


def test_one_caption_is_drawn_evenly_of_those_there():
  groups = np.array([[5, 6, 7], [8, -1, 9], [1, -1, -1]] * 400)
  batch = {'inputs': np.zeros((1200, 1)), 'caption_groups': groups,
           'captions': np.repeat(groups[..., None], 2, 2),
           'caption_segments': np.repeat(groups[..., None], 2, 2)}
  found = jax.jit(transforms.one_caption)(batch, jax.random.key(0))
  drawn = np.asarray(found['caption_groups'])
  assert drawn.shape == (1200, 1) and found['captions'].shape == (1200, 1, 2)
  np.testing.assert_array_equal(found['captions'][..., 0], drawn)
  counts = {number: np.count_nonzero(drawn == number) for number in np.unique(drawn)}
  assert sorted(counts) == [1, 5, 6, 7, 8, 9] and counts[1] == 400
  for number, expected in ((5, 400 / 3), (6, 400 / 3), (8, 200), (9, 200)):
    assert abs(counts[number] - expected) < 4 * np.sqrt(expected)
  other = jax.jit(transforms.one_caption)(batch, jax.random.key(1))
  assert (np.asarray(other['caption_groups']) != drawn).any()
  with pytest.raises(ValueError, match='one_caption: needs captions'):
    transforms.one_caption({'inputs': 0}, jax.random.key(0))
