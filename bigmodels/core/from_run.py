"""The default of an argument that the run supplies, and that others may leave out."""


class FromRun:
  """The type of `FROM_RUN`.

  An argument without a default is supplied by the run too, but then a function cannot
  be called without it elsewhere.
  """

  def __repr__(self) -> str:
    return 'FROM_RUN'


FROM_RUN = FromRun()
