"""Where the time of a step goes, by the operations of its program.

`start` and `stop` have JAX's profiler write a trace; `read` adds it up. What a trace of
each backend contains: on a CPU, an event for each operation on the thread that starts
it, and one for its end, which may be on another thread; on a GPU, kernels on streams;
on a TPU, a line of operations, in which a loop contains those of its body. The last two
are as the sources of XLA describe them, and untested.
"""

import bisect
import math
import pathlib
import re
from collections import Counter, defaultdict
from typing import NamedTuple

import jax

from bigmodels.hardware.hlo import Program
from bigmodels.hardware.operations import KINDS, Operation, Operations

# Names in the trace of what the host does; see `annotated`.
_PREFIX = 'bigmodels: '
READING = 'reading the batch'
PAUSES = ('evaluate', 'checkpoint')  # which are no part of a step
_RUNNING = _PREFIX + 'the program'


class Row(NamedTuple):
  """Operations that are alike but for their number, such as those of equal blocks.

  Attributes:
    kind, layer, direction, primitive, shapes: as of `Operation`; numbers in which the
      layers differ are `*`; the primitive is '' where there are shapes.
    times: executions a step.
    ms: of wall time a step.
    gflops: GFLOP/s; 0.0 if it is not known.
  """

  kind: str
  layer: str
  direction: str
  primitive: str
  shapes: str
  times: float
  ms: float
  gflops: float


class Profile(NamedTuple):
  """The mean of some steps. The milliseconds of all rows and `left` add up to `ms`.

  Attributes:
    steps: how many.
    ms: wall time of a step, without evaluations and checkpoints.
    rows: the most expensive first.
    left: milliseconds in which no operation runs: 'between operations' of a dispatch;
      between dispatches 'reading the batch', or 'dispatch' for anything else that the
      host does.
    device: which, if there are several; else ''.
  """

  steps: int
  ms: float
  rows: tuple[Row, ...]
  left: dict[str, float]
  device: str

  def of_kind(self, kind: str) -> float:
    """Milliseconds a step."""
    return sum(row.ms for row in self.rows if row.kind == kind)

  def gflops(self, kind: str) -> float:
    """GFLOP/s of the products, or of the convolutions."""
    ms = sum(row.ms for row in self.rows if row.kind == kind and row.gflops)
    return sum(row.ms * row.gflops for row in self.rows if row.kind == kind) / (
      ms or 1.0)


def annotated(name: str) -> jax.profiler.TraceAnnotation:
  """A context whose time is in a trace, if there is one; costs next to nothing."""
  return jax.profiler.TraceAnnotation(_PREFIX + name)


def start(folder: pathlib.Path) -> None:
  """Starts to record a trace of this process."""
  options = jax.profiler.ProfileOptions()
  options.python_tracer_level = 0  # it would slow Python down
  jax.profiler.start_trace(folder, create_perfetto_trace=True, profiler_options=options)


def stop(folder: pathlib.Path) -> tuple[pathlib.Path, pathlib.Path]:
  """Ends a trace and writes it.

  Returns:
    What `read` takes; and the same for Perfetto.
  """
  jax.profiler.stop_trace()
  perfetto = max(folder.glob('plugins/profile/*/perfetto_trace.json.gz'))
  return next(perfetto.parent.glob('*.xplane.pb')), perfetto


class _Span(NamedTuple):
  """An event, in ns; `run` identifies the execution of the program."""

  begin: float
  end: float
  name: str
  run: int = 0


def read(trace: pathlib.Path, program: Program, *, lead: int, steps: int) -> Profile:
  """Adds up a trace.

  At any moment, time belongs to the innermost operations that run, in equal parts if
  there are several; a moment counts once, on however many threads. A loop or a
  conditional is given what its body leaves; the loop over the steps of a dispatch is
  given none.

  Args:
    trace: written by `stop`.
    program: that was executed.
    lead: steps of the first execution, which fills the pipeline and does not count.
    steps: of all others.
  """
  operations = Operations(program)
  spans, runs, host, device = _events(trace, operations)
  if len(runs) > 1:
    window = runs[0].end, max(run.end for run in runs)
  else:
    window, steps = (runs[0].begin, runs[0].end), lead + steps
  host += [run._replace(name=_RUNNING) for run in runs]
  time, left = _shares([*spans, *host], window, operations)
  times = Counter(span.name for span in spans if window[0] <= span.begin < window[1])
  each = 1e6 * steps
  rows = _rows([(operations[name], times[name] / steps, ns / each)
                for name, ns in time.items()])
  left = {name: ns / each for name, ns in left.items()}
  return Profile(steps, sum(row.ms for row in rows) + sum(left.values()), rows, left,
                 device)


def _events(trace: pathlib.Path, operations: Operations
            ) -> tuple[list[_Span], list[_Span], list[_Span], str]:
  """Operations, executions of the program, and annotations; of the first device."""
  planes = {plane.name: plane for plane in
            jax.profiler.ProfileData.from_file(str(trace)).planes}
  host = [_Span(event.start_ns, event.end_ns, event.name)
          for line in planes['/host:CPU'].lines for event in line.events
          if event.name.startswith(_PREFIX)]
  devices = sorted((name for name in planes if re.match(r'/device:[GT]PU:\d+$', name)),
                   key=lambda name: int(name.rpartition(':')[2]))
  if devices:
    spans, runs = _of_device(planes[devices[0]], operations)
    return spans, runs, host, devices[0] * (len(devices) > 1)
  spans, count = _of_cpu(planes['/host:CPU'], operations)
  found: dict[int, _Span] = {}
  for span in spans:
    run = found.get(span.run, span)
    found[span.run] = _Span(min(run.begin, span.begin), max(run.end, span.end), '')
  return spans, sorted(found.values()), host, 'device 0' * (count > 1)


def _of_cpu(plane: jax.profiler.ProfilePlane, operations: Operations
            ) -> tuple[list[_Span], int]:
  """The operations of the first device, and the number of devices."""
  events, ended, starts = [], {}, defaultdict(list)
  for line in plane.lines:
    for event in line.events:
      if event.name.startswith('end: '):
        ended[event.name[5:], dict(event.stats).get('_c')] = event.start_ns
      elif event.name in operations:
        stats = dict(event.stats)
        if stats.get('hlo_module') == operations.program.name:
          events.append((stats.get('device_ordinal', 0), event, stats))
  devices = {device for device, _, _ in events}
  events = [(event, stats) for device, event, stats in events if device == min(devices)]
  for event, _ in events:
    starts[event.name].append(event.start_ns)
  for times in starts.values():
    times.sort()
  after = {name: [starts[other] for other in operations.after(name) if other in starts]
           for name in starts}

  def end(event, stats):
    """Of what may go on after its event, which is that of the thread that started it.

    The event `end:` may come late: after operations that this thread goes on with.
    """
    noted = ended.get((event.name, stats.get('_p')), math.inf)
    if noted <= event.end_ns:
      return noted
    following = (times[index] for times in after[event.name]
                 if (index := bisect.bisect_right(times, event.start_ns)) < len(times))
    found = min(noted, *following, math.inf)
    return found if math.isfinite(found) else event.end_ns

  return [_Span(event.start_ns, end(event, stats), event.name, stats.get('run_id', 0))
          for event, stats in events], len(devices)


def _of_device(plane: jax.profiler.ProfilePlane, operations: Operations
               ) -> tuple[list[_Span], list[_Span]]:
  """The operations of a GPU or a TPU, and the executions of the program."""
  lines = {line.name: [*line.events] for line in plane.lines}
  runs = [_Span(event.start_ns, event.end_ns, '')
          for event in lines.get('XLA Modules', ())
          if event.name.partition('(')[0] == operations.program.name]
  spans = []
  for name, events in lines.items():
    # The line of operations of a GPU repeats what its streams contain.
    if name != 'XLA Ops' if 'TPU' in plane.name else 'Stream' not in name:
      continue
    for event in events:
      stats = dict(event.stats)
      op = re.match(r'%?([\w.\-]*)', stats.get('hlo_op', event.name))[1]
      module = stats.get('hlo_module', operations.program.name)
      if op in operations and module == operations.program.name:
        spans.append(_Span(event.start_ns, event.end_ns, op))
  return spans, sorted(runs) or [
    _Span(min(s.begin for s in spans), max(s.end for s in spans), '')]


def _shares(spans: list[_Span], window: tuple[float, float], operations: Operations
            ) -> tuple[dict[str, float], dict[str, float]]:
  """Nanoseconds of each operation, and what no operation takes, by its reason."""
  around = {name: operations.containers(name)
            for name in {span.name for span in spans} if name in operations}
  changes = sorted((at, step, span.name) for span in spans
                   for at, step in ((span.begin, 1), (span.end, -1)))
  active: Counter[str] = Counter()
  time: dict[str, float] = defaultdict(float)
  left: dict[str, float] = defaultdict(float)
  now = window[0]
  for at, step, name in [*changes, (window[1], 0, '')]:
    until = min(max(at, now), window[1])
    if until > now:
      running = [op for op, count in active.items() if count and op in around]
      outer = {op for inner in running for op in around[inner]}
      running = [op for op in running
                 if op not in outer and op != operations.step_loop]
      host = {op.removeprefix(_PREFIX) for op, count in active.items()
              if count and op not in around}
      for op in running:
        time[op] += (until - now) / len(running)
      if not running and not host.intersection(PAUSES):
        left['between operations' if active[_RUNNING] else
             READING if READING in host else 'dispatch'] += until - now
      now = until
    active[name] += step
  return time, left


def _rows(found: list[tuple[Operation, float, float]]) -> tuple[Row, ...]:
  """Rows of operations with their times and milliseconds a step."""
  groups: dict[tuple, list[tuple[Operation, float, float]]] = defaultdict(list)
  for op, times, ms in found:
    groups[op.kind, re.sub(r'\d+', '*', op.layer), op.direction,
           '' if op.shapes else op.primitive, op.shapes].append((op, times, ms))
  rows = []
  for (kind, layer, direction, primitive, shapes), each in groups.items():
    layers = {op.layer for op, _, _ in each}
    ms = sum(ms for _, _, ms in each)
    flops = sum(op.flops * times for op, times, _ in each)
    rows.append(Row(kind, layers.pop() if len(layers) == 1 else layer, direction,
                    primitive, shapes, sum(times for _, times, _ in each), ms,
                    flops / ms / 1e6 if ms else 0.0))
  return tuple(sorted(rows, key=lambda row: -row.ms))


def table(profile: Profile, most: int = 10) -> list[str]:
  """The most expensive rows of a profile, and sums, as lines of text."""
  lines = [f'{"ms":>8} {"share":>6} {"times":>6} {"GFLOP/s":>8}  {"kind":13} '
           f'{"pass":10} layer: operation']
  for row in profile.rows[:most]:
    lines.append(
      f'{row.ms:8.3f} {row.ms / profile.ms:6.1%} {row.times:6.4g} '
      f'{f"{row.gflops:.0f}" if row.gflops else "":>8}  {row.kind:13} '
      f'{row.direction or "-":10} {row.layer or "-"}: '
      f'{row.shapes or row.primitive or "added by XLA"}')
  rest = profile.rows[most:]
  if rest:
    ms = sum(row.ms for row in rest)
    lines.append(f'{ms:8.3f} {ms / profile.ms:6.1%} {sum(r.times for r in rest):6.4g} '
                 f'{"":>8}  {len(rest)} more rows')
  return [*lines, f'by kind: {sums(profile)}']


def sums(profile: Profile) -> str:
  """The milliseconds of each kind, and what is left, in words."""
  found = {kind: profile.of_kind(kind) for kind in KINDS} | profile.left
  return ', '.join(
    f'{name} {ms:.3f} ms ({ms / profile.ms:.1%})' for name, ms in sorted(
      found.items(), key=lambda item: -item[1]) if ms)
