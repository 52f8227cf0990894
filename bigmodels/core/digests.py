"""Short digests, to detect accidental changes. Trust needs a full SHA-256."""

import hashlib
import json
from typing import Any

_DIGITS = 16  # of 64: short enough for names of folders and lines of text


def of_bytes(data: bytes) -> str:
  """16 hexadecimal digits of the SHA-256 of bytes."""
  return of_hash(hashlib.sha256(data))


def of_hash(sha256: Any) -> str:
  """As `of_bytes`, of a `hashlib.sha256` that was updated with the bytes."""
  return sha256.hexdigest()[:_DIGITS]


def is_intact(record: Any) -> bool:
  """Whether a JSON value is a record whose `digest` is `of_json` of its other items."""
  return isinstance(record, dict) and record.get('digest') == of_json(
    {name: value for name, value in record.items() if name != 'digest'})


def of_json(value: Any) -> str:
  """As `of_bytes`, of a JSON value; the order of keys does not matter."""
  read = json.loads(json.dumps(value))  # keys as text, tuples as lists
  return of_bytes(json.dumps(read, sort_keys=True, separators=(',', ':')).encode())
