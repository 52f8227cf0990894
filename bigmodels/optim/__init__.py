"""Extensions of optax: penalties, parameter groups, rates that adapt to evaluations.

All are optax transformations, for use in `optax.chain`:

- L2 penalty: `l2` before the optimizer adds `strength * w`, the gradient of
  `strength / 2 * |w|^2`;
- L1 penalty: `l1` before the optimizer;
- decoupled weight decay: `optax.adamw`, or `l2` between the optimizer's scaling and
  the scaling by the learning rate;
- clipping: `optax.clip_by_global_norm` first;
- frozen parameters: `freeze` last; other learning rates by name: `multiply_rate`,
  or by layer: `layerwise_decay`;
- Muon for convolution kernels: `muon`;
- Lookahead around any optimizer: `lookahead`;
- centralized gradients: `optax.centralize()` first; noisy ones: `optax.add_noise`.

Penalties are not part of the logged loss. Learning-rate schedules are in
`optim.schedules`.
"""

from bigmodels.optim.groups import freeze, layerwise_decay, multiply_rate
from bigmodels.optim.lookahead import LookaheadState, lookahead
from bigmodels.optim.muon import muon, muon_filters, with_norms
from bigmodels.optim.penalties import l1, l2, weights
from bigmodels.optim.plateau import PlateauState, needs_monitor, reduce_on_plateau

__all__ = ['LookaheadState', 'PlateauState', 'freeze', 'l1', 'l2', 'layerwise_decay',
           'lookahead', 'multiply_rate', 'muon', 'muon_filters', 'needs_monitor',
           'reduce_on_plateau', 'weights', 'with_norms']
