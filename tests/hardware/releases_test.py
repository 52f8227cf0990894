"""Tests of bigmodels.hardware.releases: which are refused, and warnings."""

import os
import pathlib
import re
import subprocess
import sys
import tomllib

import jaxlib
import pytest

from bigmodels.hardware import devices, releases

specifiers = pytest.importorskip('packaging.specifiers')
ROOT = pathlib.Path(__file__).resolve().parents[2]


def _requirements(name):
  """(specifier, marker) of each line for a package in requirements.txt."""
  return [(specifiers.SpecifierSet(bounds.strip()), marker.strip())
          for bounds, marker in re.findall(rf'^{name}([^\w;-][^;\n]*);?(.*)$',
                                           (ROOT / 'requirements.txt').read_text(),
                                           re.MULTILINE)]


def _least(specifier):
  found, = (s.version for s in specifier if s.operator == '>=')
  return tuple(map(int, found.split('.')))


def test_the_oldest_are_those_of_the_requirements():
  for name in ('jax', 'jaxlib'):
    assert min(_least(bounds) for bounds, _ in _requirements(name)) == (
      releases.OLDEST_JAX)
  project = tomllib.loads((ROOT / 'pyproject.toml').read_text())['project']
  assert _least(specifiers.SpecifierSet(project['requires-python'])) == (
    releases.OLDEST_PYTHON)
  assert min(_least(bounds) for bounds, _ in _requirements('flax')
             if _least(bounds) >= releases.FLAX_SINCE) == releases.FLAX_SINCE


@pytest.mark.parametrize('release', [
  release for bug in releases.KNOWN_BUGS for release in bug.releases])
def test_no_requirement_allows_a_release_with_a_bug(release):
  for name in ('jax', 'jaxlib'):
    for bounds, marker in _requirements(name):
      assert not bounds.contains(release), (name, marker)


def test_entries_are_complete():
  for bug in releases.KNOWN_BUGS:
    assert bug.releases and bug.backend in ('cpu', 'gpu', 'tpu')
    assert all('\n' not in text and text for text in bug[1:4])
    assert re.search(r'[\w-]+/[\w-]+#\d+|measured', bug.source)


def test_warnings_are_for_the_release_and_the_backend():
  line, = releases.warnings('0.10.2', 'cpu')
  assert line.startswith('jaxlib 0.10.2 on cpu: ') and '\n' not in line
  assert 'jax-ml/jax#39103' in line and 'install' in line
  assert releases.warnings('0.10.2', 'gpu') == []
  assert releases.warnings('0.12.0.1', 'cpu') == []


@pytest.mark.parametrize(('release', 'lines'), [('0.10.2', 1), ('0.12.0', 0)])
def test_a_run_warns_once_at_its_start(monkeypatch, capsys, release, lines):
  monkeypatch.setattr(jaxlib, '__version__', release)
  assert devices.require_backend('cpu').startswith('cpu, ')
  said = capsys.readouterr().out.splitlines()
  assert len(said) == lines
  assert all(line.startswith(f'warning: jaxlib {release} on cpu: ') for line in said)


@pytest.mark.parametrize(('jax', 'jaxlib', 'flax', 'message'), [
  ('0.8.1', '0.8.1', '0.12.0', 'jax 0.8.1: bigmodels requires 0.8.2 or newer'),
  ('0.8.2', '0.7.2', '0.12.0', 'jaxlib 0.7.2: bigmodels requires 0.8.2 or newer'),
  ('0.12.0', '0.12.0', '0.12.8', 'flax 0.12.8 requires jax < 0.11.1, got 0.12.0'),
  ('0.10.1', '0.10.1', '0.12.9', 'flax 0.12.9 requires jax >= 0.11.1, got 0.10.1'),
  ('0.8.2', '0.8.3', '0.12.0', 'jaxlib 0.8.3 is newer than jax 0.8.2'),
])
def test_incompatible_releases(jax, jaxlib, flax, message):
  found = releases.incompatible(jax, jaxlib, flax)
  assert found.startswith(message) and '\n' not in found
  assert found.endswith('pip install -r requirements.txt')


@pytest.mark.parametrize(('jax', 'jaxlib', 'flax'), [
  ('0.8.2', '0.8.2', '0.12.0'), ('0.12.0', '0.12.0.1', '0.12.12'),
  ('0.11.1.dev20260801', '0.11.1', '0.12.9'), ('0.9.0', '0.8.3', '0.12.8')])
def test_compatible_releases(jax, jaxlib, flax):
  assert releases.incompatible(jax, jaxlib, flax) is None


def test_the_installed_releases_are_supported():
  assert releases.unsupported() is None
  assert {'jax', 'jaxlib', 'flax', 'tqdm'} <= set(releases.required())


def test_a_package_that_is_not_installed(monkeypatch):
  monkeypatch.setattr(releases, 'required', lambda: ['jax', 'no-such-package'])
  assert releases.unsupported() == (
    'no-such-package: not installed; pip install -r requirements.txt')


def test_old_python():
  assert releases.old_python((3, 11)) is None
  assert releases.old_python((3, 9)).startswith(
    'Python 3.9: bigmodels requires Python 3.11 or newer')


def test_run_py_reports_it_before_any_import(tmp_path):
  # -S: without any package that is installed.
  bare = subprocess.run(
    [sys.executable, '-S', str(ROOT / 'run.py'), '--list'], cwd=tmp_path,
    env={k: v for k, v in os.environ.items() if k != 'PYTHONPATH'},
    capture_output=True, text=True, timeout=60)
  assert bare.returncode == 2 and bare.stdout == ''
  assert bare.stderr.startswith('error: absl-py, ') and bare.stderr.count('\n') == 1
  assert bare.stderr.endswith('not installed; pip install -r requirements.txt\n')
