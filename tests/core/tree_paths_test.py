"""bigmodels.core.tree_paths: patterns of names."""

import pytest

from bigmodels.core import tree_paths


def test_whole_names_are_matched():
  assert tree_paths.matching('stem/.*', ['stem/a', 'a/stem/a', 'stem/b'],
                             'parameter') == [
    'stem/a', 'stem/b']
  with pytest.raises(ValueError, match="'stem' matches the whole name of no parameter, "
                     'such as stem/a'):
    tree_paths.matching('stem', ['stem/a', 'head'], 'parameter')


@pytest.mark.parametrize(('patterns', 'message'), [
  ((), r"must be a tuple such as \('stem/\.\*',\), got \(\)"),
  ('stem', "must be a tuple such as .*, got 'stem'"),
  ((('stem',),), r"must be strings, got \('stem',\)"),
  (('[',), r"must be regular expressions, got '\['"),
])
def test_what_is_no_pattern(patterns, message):
  with pytest.raises(ValueError, match=message):
    tree_paths.check_patterns(patterns)
