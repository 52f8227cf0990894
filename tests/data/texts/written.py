"""Writes files of text for tests."""

import pathlib


def write(root: pathlib.Path, **files):
  for name, data in files.items():
    path = root / name.replace('__', '/').replace('_', '.')
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
  return str(root)
