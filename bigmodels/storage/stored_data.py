"""What `data.json` of a run holds."""

from typing import Any, NamedTuple

from bigmodels.storage import extension
from bigmodels.storage import seal as seals


class StoredData(NamedTuple):
  """The content of `data.json`.

  Attributes:
    data_dir: the folder of TFDS datasets; None for TFDS's own default.
    kept: name -> JSON, which the data of the run keeps for the next start: what was
      fitted to the training split, identities of the splits, notes.
  """

  data_dir: str | None
  kept: dict[str, Any]


def is_whole(found: Any) -> bool:
  """Whether some JSON has the form of `data.json`.

  Args:
    found: the JSON.
  """
  return (isinstance(found, dict) and found.keys() == {'data_dir', 'kept', 'seal'}
          and isinstance(found['data_dir'], str | None)
          and isinstance(found['kept'], dict)
          and extension.is_record(found['kept'].get(extension.NAME, []))
          and seals.is_seal(found['seal']))
