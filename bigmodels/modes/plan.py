"""--mode=plan: whether a run fits in memory, and its maximum speed.

The real step is compiled from shapes alone, for the devices of this machine or for
other TPUs. No parameters are allocated. `plan.json` has the numbers, `program.txt` the
compiled program.
"""

import dataclasses
import functools
import itertools
import math
import re
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax

from bigmodels.cli.request import Request
from bigmodels.config import Experiment, tree
from bigmodels.core.errors import UserError
from bigmodels.data.sources import DataContext
from bigmodels.hardware import (
  costs,
  device_specs,
  devices,
  flops,
  roofline,
  topologies,
)
from bigmodels.hardware.device_specs import DeviceSpec
from bigmodels.hardware.roofline import Roofline
from bigmodels.parallel.layout import Layout
from bigmodels.parallel.sharding import MeshShape
from bigmodels.storage.workdir import Workdir
from bigmodels.training import build, compile
from bigmodels.training.build import Built


class Setting(NamedTuple):
  """The fields of an experiment that change its memory, but not its result.

  Attributes:
    mesh: the mesh, with every size known.
    accumulate: number of microbatches.
    remat: `remat` of the model, or None if it has no such field.
  """

  mesh: MeshShape
  accumulate: int
  remat: str | None

  def flags(self) -> str:
    """The flags of run.py for this setting."""
    text = f'--mesh={self.mesh} --config.accumulate={self.accumulate}'
    return text + (f' --config.model.remat={self.remat}' if self.remat else '')


class Plan(NamedTuple):
  """The cost of one step, on one device unless noted.

  Attributes:
    parameters: number of parameters of the model, on all devices together.
    parameter_bytes, optimizer_bytes, other_bytes, data_bytes: arrays that persist
      between steps; other: statistics, metrics, keys; data: the resident split.
    temporary_bytes: activations, gradients and other buffers of a step.
    program_bytes: size of the program.
    total_bytes: peak memory of all these.
    memory_bytes: memory of the device; None if unknown.
    flops: FLOPs of matrix products, on all devices, including recomputation.
    model_flops: as `flops`, without recomputation.
    costs: costs of the program.
    roofline: None for an unknown device.
    checkpoint_bytes: size of a checkpoint on disk.
    host_bytes: memory of a process while it saves a checkpoint.
    compile_seconds: time to compile on this machine.
    program: text of the compiled program.
  """

  parameters: int
  parameter_bytes: int
  optimizer_bytes: int
  other_bytes: int
  data_bytes: int
  temporary_bytes: int
  program_bytes: int
  total_bytes: int
  memory_bytes: float | None
  flops: float
  model_flops: float
  costs: costs.Costs
  roofline: Roofline | None
  checkpoint_bytes: int
  host_bytes: int
  compile_seconds: float
  program: str

  @property
  def fits(self) -> bool:
    return self.memory_bytes is None or self.total_bytes <= self.memory_bytes


class TooLarge(Exception):
  """The compiler refused a program that needs too much memory."""


def run(request: Request, *, topology: str | None = None) -> None:
  """Prints the plan of an experiment, and writes `plan.json` and `program.txt`.

  Args:
    request: the flags of every mode.
    topology: TPUs to plan for, such as v5e:4x4; the devices of this machine if omitted.

  Raises:
    UserError: if a step does not fit; it names the nearest setting that does.
  """
  resolved = request.resolve()
  for note in resolved.notes:
    print(note)
  experiment = resolved.experiment
  targets = topologies.devices_of(topology) if topology else None
  name = topology or devices.require_backend(request.require_backend)
  targets = targets or jax.devices()
  spec = device_specs.find(targets[0].device_kind)
  shape = request.layout(experiment, targets).shape
  setting = Setting(shape, experiment.accumulate, _remat(experiment))
  print(f'{resolved.name} on {name}: {len(targets)} x {targets[0].device_kind}, mesh '
        f'{shape} ({request.parallel})', flush=True)
  found: dict[str, Any] = {
    'experiment': resolved.name, 'devices': len(targets),
    'device_kind': targets[0].device_kind, 'mesh': str(shape)}
  plan_of = functools.partial(_plan, request, experiment, targets, spec,
                              request.described())
  show = functools.partial(_print, experiment, spec)
  try:
    plan = plan_of(setting)
    show(plan)
    found |= _as_json(plan)
  except TooLarge as error:
    plan = None
    print(f'does not fit: {error}')
    found |= {'fits': False, 'compiler': str(error)}
  if plan is None or not plan.fits:
    nearest = _nearest(plan_of, setting)
    if nearest:
      setting, plan = nearest
      print(f'the nearest that fits: {setting.flags()}\n')
      show(plan)
    found['nearest'] = nearest and {'flags': setting.flags(), **_as_json(plan)}
  workdir = Workdir(request.workdir) if request.workdir else (
    Workdir.fresh(f'plan-{resolved.name}'))
  with workdir.writing():
    workdir.path.mkdir(parents=True, exist_ok=True)
  path = workdir.path / 'plan.json'
  workdir.write_json(path, found)
  if plan:
    (workdir.path / 'program.txt').write_text(plan.program)
  print(f'plan: {path}')
  if not found['fits']:
    nearest = found['nearest']
    raise UserError('it does not fit; ' + (
      f'the nearest that does: {nearest["flags"]}' if nearest else
      'no similar setting that was tried fits either: use more devices, or a '
      'smaller model or batch'))


def _plan(request: Request, experiment: Experiment, targets: list,
          spec: DeviceSpec | None, context: DataContext, setting: Setting) -> Plan:
  """Compiles the step of an experiment in a setting.

  Raises:
    TooLarge: if the compiler refuses it.
  """
  layout = request._replace(mesh=setting.mesh).layout(experiment, targets)
  built, traced = _trace(experiment, setting, layout, context)
  unsaved = traced if setting.remat in (None, 'none') else (
    _trace(experiment, setting._replace(remat='none'), layout, context)[1])
  start = time.perf_counter()
  lowered = traced.lower['advance']()
  try:
    compiled, text = costs.compile_with_text(lowered, targets[0].device_kind)
  except jax.errors.JaxRuntimeError as error:
    if 'RESOURCE_EXHAUSTED' not in str(error):
      raise
    raise TooLarge(_summary(str(error))) from error
  seconds = time.perf_counter() - start
  memory = compiled.memory_analysis()
  cost = costs.program_costs(text)
  carry, runs = traced.members.shapes(traced.carry), experiment.seeds
  state = carry.state
  step_flops, model_flops = runs * flops.flops(traced.step), runs * flops.flops(
    unsaved.step, model=True)
  local = sum(d.process_index == targets[0].process_index for d in targets)
  whole = _bytes(carry)
  return Plan(
    parameters=sum(p.size for p in jax.tree.leaves(traced.carry.state.params)),
    parameter_bytes=_device_bytes(state.params),
    optimizer_bytes=_device_bytes(state.opt_state),
    other_bytes=_device_bytes(carry) - _device_bytes(
      (state.params, state.opt_state)),
    data_bytes=_device_bytes(built.train.resident),
    temporary_bytes=memory.temp_size_in_bytes,
    program_bytes=memory.generated_code_size_in_bytes,
    total_bytes=(memory.argument_size_in_bytes + memory.output_size_in_bytes
                 - memory.alias_size_in_bytes + memory.temp_size_in_bytes
                 + memory.generated_code_size_in_bytes),
    memory_bytes=spec and spec.memory,
    flops=step_flops, model_flops=model_flops, costs=cost,
    roofline=spec and roofline.roofline(
      step_flops / len(targets), cost, spec, model_flops=model_flops / len(targets),
      float32=built.precision == 'float32'),
    checkpoint_bytes=whole,
    host_bytes=min(whole, _device_bytes(carry) * local),
    compile_seconds=seconds, program=text)


def _summary(error: str) -> str:
  """The sizes in a compiler's out-of-memory error, or its first line."""
  numbers = re.search(r'\(([\d.]+[KMGT])\) exceeds available \w+ \(([\d.]+[KMGT])\)'
                      r'|Used ([\d.]+[KMGT]) of ([\d.]+[KMGT])', error)
  if numbers is None:
    return error.splitlines()[0]
  needed, available = (number for number in numbers.groups() if number)
  return f'needs {needed}iB of temporaries, a device has {available}iB'


def _trace(experiment: Experiment, setting: Setting, layout: Layout,
           context: DataContext) -> tuple[Built, compile.Traced]:
  experiment = dataclasses.replace(experiment, accumulate=setting.accumulate)
  if setting.remat:
    experiment = tree.override(experiment, 'model.remat', repr(setting.remat))
  built = build.build(experiment, layout, context)
  built.close()
  return built, compile.trace(built.learner, built.train, {}, layout)


def _remat(experiment: Experiment) -> str | None:
  values = dict(tree.describe(experiment.model))
  return values['remat'].strip("'") if 'remat' in values else None


_MOST_TRIES = 12


def _nearest(plan_of: Callable[[Setting], Plan], setting: Setting
             ) -> tuple[Setting, Plan] | None:
  """The first neighbouring setting that fits, fewest changes first."""
  for neighbour in itertools.islice(_neighbours(setting), _MOST_TRIES):
    print(f'trying {neighbour.flags()} ...', flush=True)
    try:
      plan = plan_of(neighbour)
    except TooLarge as error:
      print(f'  does not fit: {error}')
      continue
    except UserError as error:
      print(f'  not possible: {error}')
      continue
    if plan.fits:
      return neighbour, plan
    print(f'  does not fit: {_size(plan.total_bytes)}')
  return None


def _neighbours(setting: Setting) -> Iterator[Setting]:
  """Other settings: more recomputation, then more shards, then more microbatches."""
  remats = {None: [None], 'none': ['none', 'dots', 'full'], 'dots': ['dots', 'full'],
            'full': ['full']}[setting.remat]
  mesh, meshes = setting.mesh, [setting.mesh]
  while mesh.data % 2 == 0:
    mesh = dataclasses.replace(mesh, data=mesh.data // 2, fsdp=mesh.fsdp * 2)
    meshes.append(mesh)
  # Most shards first: what does not fit there does not fit with fewer.
  meshes = [meshes[0], *reversed(meshes[1:])][:3]
  counts = [setting.accumulate * 2**n for n in range(5)]
  every = itertools.product(range(len(counts)), range(len(meshes)), range(len(remats)))
  for count, mesh, remat in sorted(every, key=lambda t: (sum(map(bool, t)), t)):
    if count or mesh or remat:
      yield Setting(meshes[mesh], counts[count], remats[remat])


def _bytes(tree: Any) -> int:
  return sum(math.prod(x.shape) * x.dtype.itemsize for x in jax.tree.leaves(tree))


def _device_bytes(tree: Any) -> int:
  return sum(math.prod(x.sharding.shard_shape(x.shape)) * x.dtype.itemsize
             for x in jax.tree.leaves(tree))


_KINDS = ('parameter', 'optimizer', 'other', 'data', 'temporary', 'program')


def _print(experiment: Experiment, spec: DeviceSpec | None, plan: Plan) -> None:
  print(f'\nparameters          {plan.parameters:,}')
  print('peak memory of a device')
  for name in _KINDS:
    print(f'  {name:17} {_size(getattr(plan, f"{name}_bytes")):>12}')
  kinds = sum(getattr(plan, f'{name}_bytes') for name in _KINDS)
  print(f'  {"padding":17} {_size(max(0, plan.total_bytes - kinds)):>12}')
  print(f'  {"total":17} {_size(plan.total_bytes):>12}', end='')
  if spec is None:
    print()
  else:
    verdict = 'fits' if plan.fits else 'does not fit'
    print(f' of {_size(spec.memory)}, {plan.total_bytes / spec.memory:.0%}: {verdict}')
  print(f'a step\n  {"products":17} {plan.flops:12.3g} FLOP on all devices'
        + (f', {plan.flops / plan.model_flops - 1:.0%} more than without recomputation'
           if plan.flops > plan.model_flops > 0 else ''))
  print(f'  {"memory traffic":17} {_size(plan.costs.bytes_moved):>12} on a device')
  for kind, each in sorted(plan.costs.collectives.items()):
    print(f'  {kind:17} {_size(each.bytes):>12} in {each.count:,.0f}, '
          f'{_size(each.link_bytes)} over the links of a device')
  if plan.roofline:
    r = plan.roofline
    print(f'  {"time, at least":17} {r.step_s * 1e3:9.3g} ms  bound by {r.bound}: '
          f'compute {r.compute_s * 1e3:.3g}, memory {r.memory_s * 1e3:.3g}, network '
          f'{r.network_s * 1e3:.3g} ms')
    print(f'  {"MFU, at most":17} {r.mfu:12.0%}')
    size = experiment.train.batch_size
    if isinstance(size, int) and r.step_s:
      print(f'  {"examples/s":17} {size / r.step_s:12,.0f} at most')
    print(f'  (peaks of a {spec.name}: {spec.bfloat16 / 1e12:.0f} TFLOP/s in bfloat16, '
          f'{spec.bandwidth / 1e9:,.0f} GB/s memory, {spec.interconnect / 1e9:,.0f} '
          'GB/s links; all three reached at once, without waiting)')
  print(f'a checkpoint\n  {"disk":17} {_size(plan.checkpoint_bytes):>12} each, '
        f'{experiment.keep + 1 + bool(experiment.monitor)} at a time')
  print(f'  {"host memory":17} {_size(plan.host_bytes):>12} in each process')
  print(f'compiled in {plan.compile_seconds:.1f} s on this machine\n', flush=True)


def _as_json(plan: Plan) -> dict[str, Any]:
  found = plan._asdict() | {'fits': plan.fits}
  del found['program']
  found['costs'] = plan.costs._asdict() | {
    'collectives': {k: v._asdict() for k, v in plan.costs.collectives.items()}}
  found['roofline'] = plan.roofline and plan.roofline._asdict()
  return found


def _size(count: float) -> str:
  power = min(4, int(math.log10(max(count, 1)) / 3))
  return f'{count / 1000**power:.4g} {("B", "kB", "MB", "GB", "TB")[power]}'
