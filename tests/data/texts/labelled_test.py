"""Tests of bigmodels.data.texts.labelled."""

import csv

import pytest

from bigmodels.core.errors import UserError
from bigmodels.data.sources import DataContext
from bigmodels.data.texts import LabelledCsv, label_first, sst2
from tests.data.texts.written import write

HERE = DataContext(None, None, {})


def test_labelled_texts(tmp_path):
  root = write(tmp_path, train_csv='id,label,text\n1,x,"a, ""b""\nc"\n\n2,y, NA \n')
  found = LabelledCsv(root).read('train', HERE)
  assert found.texts == ['a, "b"\nc', ' NA '] and found.labels == ['x', 'y']
  assert found.location(1).endswith('train.csv, line 5')


@pytest.mark.parametrize('text, message', [
  ('', 'the file is empty'),
  ('txt,label\na,1\n', "no column 'text'; did you mean 'txt'"),
  ('text,label,text\na,1,b\n', "several columns are called 'text'"),
  ('text,label\n', 'the file has a header and no rows'),
  ('text,label\na,1\nb\n', 'line 3 has 1 values, the header has 2'),
  ('text,label\na,1\n ,0\n', "line 3, column 'text': is empty"),
  ('text,label\na,1\nb,\n', "line 3, column 'label': is empty"),
  ('text,label\na,1\n"b,1\n', 'line 3: '),
])
def test_labelled_texts_that_are_none(tmp_path, text, message):
  with pytest.raises(UserError, match=r'train\.csv: ' + message):
    LabelledCsv(write(tmp_path, train_csv=text)).read('train', HERE)


def test_a_folder_is_no_csv_file(tmp_path):
  (tmp_path / 'train.csv').mkdir()
  with pytest.raises(UserError, match=r'train\.csv: cannot be read: Is a directory'):
    LabelledCsv(str(tmp_path)).read('train', HERE)


def test_no_path_is_not_the_folder_one_is_in():
  with pytest.raises(ValueError, match=r"^folder: .* the path .*, got ''"):
    LabelledCsv('')


def test_real_data_is_as_its_readme_says(shared_tfds):
  shared = shared_tfds.parent / 'data'
  if not shared.is_dir():
    pytest.skip('the real data of ../shared/data is not here')
  context = DataContext(str(shared), None, {})
  splits = ('train', 'validation', 'test')
  labelled = sst2()
  assert [len(labelled.read(s, context).texts) for s in splits] == [6920, 872, 1821]
  # What is converted is written as these files are.
  with open(shared / 'sst2' / 'dev.csv', newline='') as file:
    lines = ''.join(f'{row["label"]} {row["text"]}\n' for row in csv.DictReader(file))
  assert label_first(lines) == (shared / 'sst2' / 'dev.csv').read_text()
