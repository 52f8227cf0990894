"""Tests of bigmodels.data.folders.labels: classes and splits of folders and CSVs."""

import pathlib
import unicodedata

import numpy as np
import pytest

from bigmodels.core.errors import UserError
from bigmodels.data.folders import labels, listing


def folders(root, *names, labelled=True):
  for name in names:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b'x')
  found = listing.find(str(root), ('.png',), what='image')
  return labels.of_folders(found, 'image', labelled=labelled)


def test_classes_are_the_sorted_folders(tmp_path):
  found = folders(tmp_path, 'dog/1.png', 'cat/deep/2.png', 'cat/1.png', '10/a.png',
                  '9/a.png', 'loose.png')
  assert found.classes == ('10', '9', 'cat', 'dog')  # as text, as torchvision does
  assert [found.classes[n] for n in found.labels] == ['10', '9', 'cat', 'cat', 'dog']
  assert found.labels.dtype == np.int32 and found.splits is None
  assert found.lines == ['skipped: 1 image in no folder of a class (such as '
                         'loose.png)']


@pytest.mark.parametrize('validation', ['validation', 'val', 'Valid', 'dev'])
def test_folders_that_are_splits(tmp_path, validation):
  found = folders(tmp_path, 'train/a/1.png', 'train/b/1.png', f'{validation}/a/2.png',
                  'test/b/3.png', 'test/4.png')
  assert found.classes == ('a', 'b')
  assert sorted(zip(found.splits, found.labels.tolist(), strict=True)) == [
    ('test', 1), ('train', 0), ('train', 1), ('validation', 0)]
  assert found.lines[0] == ('skipped: 1 image in no folder of a split and class (such '
                            'as test/4.png)')
  assert found.lines[1:] == [] if validation == 'validation' else [
    f'the folder {validation} is the split validation']


def test_one_name_in_two_forms_of_unicode_is_one_class(tmp_path):
  both = [unicodedata.normalize(form, 'Bär') for form in ('NFC', 'NFD')]
  found = folders(tmp_path, f'train/{both[0]}/1.png', 'train/Wolf/1.png',
                  f'test/{both[1]}/1.png')
  assert found.classes == (both[0], 'Wolf')


def test_the_class_of_a_file_of_a_pattern_is_its_folder(tmp_path):
  folders(tmp_path, 'x/cat/1.png', 'y/dog/1.png')
  found = listing.find(str(tmp_path / '*' / '*' / '*.png'), ('.png',), what='image')
  assert labels.of_folders(found, 'image', labelled=True).classes == ('cat', 'dog')


def test_files_without_labels_lie_anywhere(tmp_path):
  found = folders(tmp_path, 'a/1.png', '2.png', labelled=False)
  assert found.names == ['2.png', 'a/1.png']
  assert found.labels is None and found.classes is None


@pytest.mark.parametrize(('names', 'said'), [
  (['cat/1.png'], "there is one class, 'cat'; classification needs two or more"),
  (['cat/1.png', 'dog/x.txt'],
   r"the folder of the class 'dog' has no image \(skipped: 1 file .such as dog/x.txt"),
  (['1.png', '2.png'],
   'no image lies in a folder of a class, as in CLASS/NAME, only beside them, such as '
   '1.png; labels may also be in a CSV file'),
  (['train/1.png', 'test/2.png'], 'no image lies in a folder of a class'),
  (['train/a/1.png', 'val/a/1.png', 'cats/1.png'],
   'the folders train, val are names of splits, cats is not; use only splits or'),
  (['train/a/1.png', 'val/a/1.png', 'valid/a/1.png'],
   'the folders train, val, valid are one split under two names: validation'),
  (['train/a/1.png', 'train/b/1.txt', 'test/a/1.png'],
   "the folder of the class 'b' has no image")])
def test_folders_that_are_refused(tmp_path, names, said):
  with pytest.raises(UserError, match=said):
    folders(tmp_path, *names)


def test_a_class_may_be_called_train(tmp_path):
  assert folders(tmp_path, 'train/1.png', 'car/1.png').classes == ('car', 'train')


# --- CSV files ------------------------------------------------------------------


def csv(root, text, *, numbers=False, label='label', split=None, file='file',
        files=('1.png', 'sub/2.png', 'ä 3.png')):
  for name in files:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_bytes(b'x')
  path = root / 'labels.csv'
  path.write_text(text)
  return labels.of_csv(path, 'image', folder=root, file=file, label=label, split=split,
                       numbers=numbers)


def test_a_csv_of_classes(tmp_path):
  found = csv(tmp_path, 'label,file\n10,1.png\n9,sub\\2.png\n10,ä 3.png\n,1.png\n')
  assert found.classes == ('9', '10') and found.labels.tolist() == [1, 0, 1]
  assert [pathlib.Path(path).name for path in found.paths] == ['1.png', '2.png',
                                                               'ä 3.png']
  assert found.splits is None
  assert found.lines == [
    'skipped: 1 row without a value of label (the first is line 5)']


def test_a_csv_of_numbers_and_splits(tmp_path):
  found = csv(tmp_path, 'file;y;split\n1.png;1.5;Training\nsub/2.png;-2;val\n',
              numbers=True, label='y')
  assert found.labels.dtype == np.float32 and found.labels.tolist() == [1.5, -2]
  assert found.classes is None and found.splits == ['train', 'validation']
  assert found.lines == [
    "labels.csv: delimiter ';' (delimiter= sets it)",
    "splits are those of the column 'split' (split_column='' ignores it)",
    "in the column 'split', Training is the split train",
    "in the column 'split', val is the split validation"]
  assert csv(tmp_path, 'file,label,split\n1.png,a,x\nsub/2.png,b,y\n', split='',
             ).splits is None


def test_the_form_of_unicode_of_a_name_does_not_matter(tmp_path):
  nfd = unicodedata.normalize('NFD', 'ä 3.png')
  assert csv(tmp_path, f'file,label\n{nfd},a\n1.png,b\n').classes == ('a', 'b')


@pytest.mark.parametrize(('text', 'options', 'said'), [
  ('name,label\n1.png,a\n', {}, "no column is called 'file'; did you mean|choose from"),
  ('file,lable\n1.png,a\n', {},
   r"no column is called 'label' \(label_column= sets it\); did you mean 'lable'"),
  ('file,file,label\n1.png,1.png,a\n', {}, "several columns are called 'file'"),
  ('file,label\n1.png,a\nno.png,b\nnot.png,b\n', {},
   r"2 of 3 images are not in .*, such as 'no.png' \(line 3\); folder= sets"),
  ('file,label\n1.png,a\nsub/2.png,a\n', {}, "the column 'label' has one class, 'a'"),
  ('file,label\n1.png,a\nsub/2.png\n', {}, 'line 3 has 1 values, the header has 2'),
  ('file,label\n1.png,1\nsub/2.png,two\n', {'numbers': True},
   "line 3, column 'label': 'two' is not a number; task='classification' turns"),
  ('file,label\n1.png,nan\n', {'numbers': True}, 'line 2.* not a number that float32'),
  ('file,label,split\n1.png,a,train\nsub/2.png,b,\n', {},
   "line 3: no value in the column 'split' of splits"),
  ('file,label\n1.png,\n', {}, 'no row has a file and a label'),
  ('file,label\n', {}, 'no row has a file and a label')])
def test_csv_files_that_are_refused(tmp_path, text, options, said):
  with pytest.raises(UserError, match=said):
    csv(tmp_path, text, **options)
