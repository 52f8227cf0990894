"""Special tokens that a task cannot do without."""


def special_tokens(tokenizer, *names: str, task: str) -> list[int]:
  """Returns the numbers of special tokens, such as 'begin' and 'end'.

  Args:
    tokenizer: of the training data.
    names: of the tokens.
    task: what needs them, for the message.

  Raises:
    ValueError: if the tokenizer lacks one.
  """
  if missing := [name for name in names if name not in tokenizer.special]:
    raise ValueError(f'{task} needs a tokenizer with the special token {missing[0]!r}; '
                     f'it has {", ".join(tokenizer.special) or "none"}')
  return [tokenizer.special[name] for name in names]
