"""Tests of bigmodels.data.folders.splitting: the rule, and files that are equal."""

import hashlib

import numpy as np
import pytest

from bigmodels.core.errors import UserError
from bigmodels.data.folders import splitting

NAMED = {'train': 0.8, 'validation': 0.1, 'test': 0.1}


def digests(*contents):
  return np.stack([np.frombuffer(hashlib.sha256(str(c).encode()).digest(), np.uint8)
                   for c in contents])


def by_hand(contents, fractions):
  """The rule as it is stated: sorted by SHA-256, cut at the fractions."""
  ordered = sorted(contents, key=lambda c: hashlib.sha256(str(c).encode()).hexdigest())
  found, start, total = {}, 0, 0.0
  for name, each in fractions.items():
    total += each
    stop = round(total * len(contents))
    found |= dict.fromkeys(ordered[start:stop], name)
    start = stop
  return [found[c] for c in contents]


def test_the_rule_is_what_is_stated_in_each_class():
  groups = np.arange(200) % 3
  found, lines = splitting.assign(digests(*range(200)), groups, None, None, 'folders')
  for group in range(3):
    here = np.flatnonzero(groups == group)
    assert found[here].tolist() == by_hand(here.tolist(), NAMED)
  assert lines == ['splits: the files are divided: in each class, by their SHA-256, '
                   '0.8 train, 0.1 validation, 0.1 test (splits= sets the fractions)']


def test_it_depends_on_contents_alone():
  found, _ = splitting.assign(digests(*range(50)), None, None, NAMED, '')
  order = np.random.default_rng(0).permutation(50)
  again, _ = splitting.assign(digests(*order), None, None, NAMED, '')
  np.testing.assert_array_equal(again, found[order])


def test_equal_files_are_in_one_split_whatever_their_class():
  contents = [*range(60), *range(60), *range(30)]
  groups = np.arange(150) % 7
  found, _ = splitting.assign(digests(*contents), groups, None, None, '')
  for content in range(60):
    assert len({split for split, c in zip(found, contents, strict=True)
                if c == content}) == 1


def test_given_splits_are_kept_and_train_is_divided_if_asked():
  given = ['train'] * 90 + ['test'] * 10
  found, lines = splitting.assign(digests(*range(100)), None, given, None, 'folders')
  assert found.tolist() == given and lines == ['splits are given by folders']
  found, lines = splitting.assign(digests(*range(100)), None, given, NAMED, 'folders')
  parts = by_hand([*range(90)], {'train': 8 / 9, 'validation': 1 / 9})
  assert found.tolist() == parts + given[90:] and parts.count('validation') == 10
  assert lines[1] == (
    'splits: the files of train are divided, as folders give no validation: by their '
    'SHA-256, 0.889 train, 0.111 validation (splits= sets the fractions)')


# --- equal files ----------------------------------------------------------------


def settle(contents, split, labels=None, drop=False, damaged=()):
  readable = np.ones(len(contents), bool)
  readable[list(damaged)] = False
  return splitting.settle_equal(
    np.array(split, object), digests(*contents), readable, labels,
    [f'f{n}' for n in range(len(contents))], drop=drop)


def test_equal_files_in_two_splits_are_refused_with_their_names():
  with pytest.raises(UserError) as error:
    settle('abcab', ['train', 'train', 'train', 'test', 'test'])
  assert str(error.value) == (
    '2 files of train are equal to files of test, which makes scores on test '
    "meaningless: f0 = f3, f1 = f4; duplicates='drop' leaves them out of train")


def test_drop_leaves_them_out_of_training_and_says_so():
  kept, lines = settle('aabacc', ['train', 'validation', 'train', 'test', 'train',
                                  'train'], drop=True)
  assert kept.tolist() == [False, False, True, True, True, True]
  assert lines == ['dropped: 1 file of train is equal to files of test: f0 = f3',
                   'dropped: 1 file of validation is equal to files of test: f1 = f3',
                   'copies: 1 file of a split equal to another one in it: f5 = f4']


def test_one_content_with_two_labels_is_a_warning():
  kept, lines = settle('aab', ['train'] * 3, np.array([0, 1, 1]))
  assert kept.all() and lines[1] == (
    'warning: 1 file with two labels: f0 = f1')


def test_damaged_files_are_not_compared():
  kept, lines = settle('aa', ['train', 'test'], damaged=(0, 1))
  assert kept.all() and lines == []


# --- splits ---------------------------------------------------------------------


def test_sizes_and_classes_are_said():
  split = np.array(['train'] * 3 + ['test'] * 2, object)
  lines = splitting.counts(split, np.array([0, 1, 1, 1, 1]), ('cat', 'dog'), 'image')
  assert lines == ['train: 3 images: cat 1, dog 2',
                   'test: 2 images: cat 0, dog 2; warning: none of cat']
  with pytest.raises(UserError, match='train has no image of dog, of which other'):
    splitting.counts(split, np.array([0, 0, 0, 1, 1]), ('cat', 'dog'), 'image')
  assert splitting.counts(split, np.array([1.5, 2, 3, 4, 5]), None, 'image') == [
    'train: 3 images, labels from 1.5 to 3', 'test: 2 images, labels from 4 to 5']


def test_a_split_that_is_not_there():
  split = np.array(['train', 'test'], object)
  assert splitting.select(split, 'test', 'folders', NAMED).tolist() == [1]
  assert splitting.select(split, None, 'folders', NAMED).tolist() == [0, 1]
  for name, source, said in (
    ('tst', 'folders', "no split 'tst' given by folders; did you mean 'test'?"),
    ('holdout', 'folders', "no split 'holdout' given by folders; choose from test, "
     "train; splits= cuts others out of train, such as splits={'train': 0.9, "
     "'holdout': 0.1}"),
    ('validation', '', f"the split 'validation' of 2 files is empty: {NAMED} (splits= "
     'sets the fractions)'),
    ('valid', '', "no split 'valid'; did you mean 'validation'?")):
    with pytest.raises(UserError) as error:
      splitting.select(split, name, source, NAMED)
    assert str(error.value) == said


def test_classes_are_divided_by_the_rule_for_their_names():
  classes = [f'person {i}' for i in range(50)]
  labels = np.arange(200) % 50
  found, lines = splitting.assign_classes(labels, classes, None, NAMED, 'folders')
  expected = by_hand(classes, NAMED)
  assert found.tolist() == [expected[label] for label in labels]
  assert lines == ['splits: the classes are divided: by the SHA-256 of their names, '
                   '0.8 train, 0.1 validation, 0.1 test (splits= sets the fractions)']


def test_of_given_classes_those_of_train_are_divided():
  classes = [*map(str, range(30))]
  labels = np.arange(90) % 30
  given = np.where(labels < 20, 'train', 'test').tolist()
  found, _ = splitting.assign_classes(labels, classes, given, NAMED, 'folders')
  train = by_hand(classes[:20], {'train': 8 / 9, 'validation': 1 / 9})
  assert found.tolist() == [train[i] if i < 20 else 'test' for i in labels]
  given[5], given[7] = 'test', 'test'
  with pytest.raises(UserError, match="'5' has files in test and in train, as have 1 "):
    splitting.assign_classes(labels, classes, given, NAMED, 'folders')
