"""Tests of benchmarks/: the tables of the docs are those of the results."""

import pathlib
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / 'benchmarks'))

import table  # noqa: E402


@pytest.mark.parametrize('page, made', [
  (page, made) for page, tables in table.TABLES.items() for made in tables])
def test_the_table_is_in_the_docs(page, made):
  rows = made()
  assert len(rows) > 3
  assert '\n'.join(rows) in (ROOT / f'docs/{page}.md').read_text(), (
    f'{rows[0]} is out of date: python benchmarks/table.py prints the tables')
