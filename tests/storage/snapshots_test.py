"""bigmodels.storage.snapshots: arrays of evaluations, and what is damaged."""

import numpy as np

from bigmodels.storage import snapshots
from bigmodels.storage.workdir import Workdir


def test_what_is_written_is_read_in_order_up_to_a_step(tmp_path):
  workdir, said = Workdir(tmp_path), []
  for step in (20, 5, 100):
    snapshots.write(workdir, step, 'test', {'generated': np.full((2, 3), step)})
  snapshots.write(workdir, 7, 'test_more', {'generated': np.zeros(1)})
  found = snapshots.read(workdir, 'test', 20, said.append)
  assert [*found] == [5, 20] and not said
  np.testing.assert_array_equal(found[20]['generated'], np.full((2, 3), 20))


def test_a_damaged_one_is_named_and_left_out(tmp_path):
  workdir, said = Workdir(tmp_path), []
  for step in (1, 2, 3):
    snapshots.write(workdir, step, 'test', {'a': np.arange(100)})
  path = workdir.snapshots / 'test-2.npz'
  data = bytearray(path.read_bytes())
  data[len(data) // 2] ^= 1
  path.write_bytes(data)
  (workdir.snapshots / 'test-3.npz').write_bytes(b'')
  assert [*snapshots.read(workdir, 'test', 9, said.append)] == [1]
  assert len(said) == 2 and 'test-2.npz cannot be read' in ''.join(said)


def test_none_is_none(tmp_path):
  assert snapshots.read(Workdir(tmp_path), 'test', 9, print) == {}
