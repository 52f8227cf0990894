"""Tests of data.ClassCaptions."""

import numpy as np
import pytest

from bigmodels.core.errors import UserError
from bigmodels.data import Arrays, ClassCaptions, tokenizers
from tests.data.given import context

IMAGES = np.arange(24, dtype=np.uint8).reshape(6, 2, 2, 1)
NAMES = ('dog', 'polar_bear')
PETS = Arrays(IMAGES, np.array([0, 1, 1, 0, 1, 0]), classes=NAMES)
WORDS = tokenizers.Words(20, special=('pad', 'unknown'))
TEMPLATES = ('a {}', 'one big {}')


def opened(source=PETS, length=5, templates=TEMPLATES, kept=None):
  asked = context(**(kept or {}))
  return ClassCaptions(source, WORDS, length, templates).open(asked), asked


def test_an_image_has_the_captions_of_its_class():
  dataset, _ = opened()
  columns, tokenizer = dataset.load(), dataset.tokenizer
  np.testing.assert_array_equal(columns['inputs'], IMAGES)
  assert columns['captions'].shape == columns['caption_segments'].shape == (6, 2, 5)
  for row, label in enumerate(PETS.labels):
    for place, template in enumerate(TEMPLATES):
      count = columns['caption_segments'][row, place].sum()
      assert tokenizer.decode(columns['captions'][row, place, :count]) == (
        template.format(('dog', 'polar bear')[label]))
  assert columns['caption_groups'].tolist() == [[n, n] for n in PETS.labels]
  rows = np.array([4, 0])
  for name, column in dataset.read(rows).items():
    np.testing.assert_array_equal(column, columns[name][rows])
  assert dataset.nbytes == sum(x.nbytes for x in columns.values())


def test_prompts_are_those_of_all_classes_also_without_the_data():
  dataset, asked = opened()
  columns, prompts = dataset.load(), dataset.provides['prompts']()
  for row, label in enumerate(PETS.labels):
    np.testing.assert_array_equal(prompts.tokens[label], columns['captions'][row])
    np.testing.assert_array_equal(
      prompts.segments[label], columns['caption_segments'][row])
  kept = {**asked.kept, 'train': {'classes': [*NAMES]}}
  again = ClassCaptions(None, WORDS, 5, TEMPLATES).recorded(kept)['prompts']()
  np.testing.assert_array_equal(again.tokens, prompts.tokens)


def test_what_does_not_fit():
  with pytest.raises(UserError, match='needs data with classes'):
    opened(Arrays(IMAGES))
  with pytest.raises(UserError, match='1 caption of classes longer than the length, 3'):
    opened(length=3)
  for templates in ((), ('a photo',), ('{} and {}',), (3,)):
    with pytest.raises(ValueError, match='templates: '):
      opened(templates=templates)

  class Numbered:
    def open(self, context):
      return PETS.open(context)._replace(named=False)

  _, asked = opened(Numbered())
  assert 'classes have no names: their captions have numbers' in asked.said
