"""Tests of benchmarks/: the tables of the docs, and what the benchmarks compare."""

import json
import pathlib
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / 'benchmarks'))

import machine  # noqa: E402
import networks  # noqa: E402
import table  # noqa: E402


@pytest.mark.parametrize('page, made', [
  (page, made) for page, tables in table.TABLES.items() for made in tables])
def test_the_table_is_in_the_docs(page, made):
  rows = made()
  assert len(rows) > 3
  assert '\n'.join(rows) in (ROOT / f'docs/{page}.md').read_text(), (
    f'{rows[0]} is out of date: python benchmarks/table.py prints the tables')


@pytest.mark.reference
@pytest.mark.parametrize('name', networks.NETWORKS)
def test_the_networks_that_are_compared_have_as_many_parameters(name):
  for package in ('torch', 'transformers'):
    pytest.importorskip(package)
  import networks_pytorch
  import side_ours

  theirs = networks_pytorch.size(networks_pytorch.NETWORKS[name]())
  assert side_ours.parameters(name) == theirs


def test_results_of_another_machine_are_not_added_to(tmp_path):
  path, here = tmp_path / 'results.json', {'cpu': 'one', 'date': '2026-01-01'}
  assert machine.earlier(path, here) == ({}, here)
  path.write_text(json.dumps({'machine': {**here, 'torch': '2'}, 'results': {'a': 1}}))
  later = {**here, 'date': '2026-01-02'}
  assert machine.earlier(path, later) == ({'a': 1}, {**later, 'torch': '2'})
  with pytest.raises(SystemExit, match='cpu one, here other'):
    machine.earlier(path, {**here, 'cpu': 'other'})
