"""Models that score items for users, by the numbers of both."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from bigmodels.layers.dense import Dense
from bigmodels.models.validation import (
  check_not_negative,
  check_positive,
  check_rates,
  check_sizes,
)

_ROWS = 64  # tables have a multiple of these, so that any usual mesh divides them


class Vectors(nn.Module):
  """A vector for each user or item, and zeros for one that is not known.

  Attributes:
    size: number of users or items.
    width: length of the vectors.
    deviation: standard deviation of the initial values.
  """

  size: int
  width: int
  deviation: float = 0.1

  @nn.compact
  def __call__(self, numbers: jax.Array) -> jax.Array:
    """Numbers `[...]`, negative if not known -> vectors `[..., width]`."""
    rows = -(-self.size // _ROWS) * _ROWS
    table = self.param('embedding', nn.initializers.normal(self.deviation),
                       (rows, self.width))
    found = jnp.take(table, jnp.maximum(numbers, 0), axis=0, mode='clip')
    return jnp.where((numbers >= 0)[..., None], found, jnp.zeros_like(found))


class MatrixFactorization(nn.Module):
  """The product of a vector of the user and one of the item, and a bias of each.

  Koren et al., *Matrix factorization techniques for recommender systems*, 2009.

  Attributes:
    num_users: number of users.
    num_items: number of items.
    width: length of the vectors.
    penalty: strength of the L2 penalty of the vectors of each example. So a user with
      many ratings is not shrunk more than one with few, relative to the ratings.
    bias_penalty: the same of the biases.
  """

  num_users: int
  num_items: int
  width: int = 64
  penalty: float = 0.0
  bias_penalty: float = 0.0

  def __post_init__(self):
    check_sizes(self, 'num_users', 'num_items', 'width')
    check_not_negative(self, 'penalty', 'bias_penalty')
    super().__post_init__()

  @nn.compact
  def __call__(self, users: jax.Array, items: jax.Array, *, train: bool) -> jax.Array:
    """Scores of items for users, `[batch, k]`.

    Args:
      users: int `[batch]`.
      items: int `[batch, k]`, or `[k]` if they are the same for all users.
      train: not used.
    """
    del train
    user = Vectors(self.num_users, self.width, name='users')(users)
    item = Vectors(self.num_items, self.width, name='items')(items)
    of_user = Vectors(self.num_users, 1, 0.0, name='user_biases')(users)
    of_item = Vectors(self.num_items, 1, 0.0, name='item_biases')(items)[..., 0]
    penalize(self, self.penalty, user, item)
    penalize(self, self.bias_penalty, of_user, of_item[..., None])
    if items.ndim == 1:
      return user @ item.T + of_user + of_item
    return jnp.einsum('bw,bkw->bk', user, item) + of_user + of_item


def penalize(module: nn.Module, strength: float, user: jax.Array, item: jax.Array
             ) -> None:
  """Adds a penalty of the vectors of each example to the collection 'losses'.

  Args:
    module: the model.
    strength: strength of the penalty.
    user: vectors of users, `[batch, width]`.
    item: vectors of items, `[batch, k, width]` or `[k, width]`; their mean counts.
  """
  if strength and not module.is_initializing():
    squares = jnp.sum(user**2, -1) + jnp.mean(jnp.sum(item**2, -1), -1)
    module.sow('losses', 'penalty', strength * squares)


class NeuMf(nn.Module):
  """Neural matrix factorization: a weighted product, and dense layers.

  He et al., *Neural collaborative filtering*, 2017. Without `hidden` it is GMF; without
  `width`, MLP.

  Attributes:
    num_users: number of users.
    num_items: number of items.
    width: length of the vectors of the product; 0 for no product.
    hidden: widths of the dense layers; the vectors of user and item that they read have
      half the first width each. () for none.
    dropout: rate of dropout, in training, of the vectors and hidden units.
    penalty: see `MatrixFactorization`.
  """

  num_users: int
  num_items: int
  width: int = 32
  hidden: tuple[int, ...] = (64, 32, 16)
  dropout: float = 0.0
  penalty: float = 0.0

  def __post_init__(self):
    check_sizes(self, 'num_users', 'num_items', 'hidden')
    check_rates(self, 'dropout')
    check_not_negative(self, 'penalty')
    if self.width < 0 or not (self.width or self.hidden):
      raise ValueError(f'width: must be >= 0, and >= 1 without hidden, got '
                       f'{self.width}')
    super().__post_init__()

  @nn.compact
  def __call__(self, users: jax.Array, items: jax.Array, *, train: bool) -> jax.Array:
    """Scores of items for users, `[batch, k]`.

    Args:
      users: int `[batch]`.
      items: int `[batch, k]`, or `[k]` if they are the same for all users.
      train: whether to apply dropout.
    """
    drop = nn.Dropout(self.dropout, deterministic=not train)
    parts = []
    if self.width:
      user = Vectors(self.num_users, self.width, name='product_users')(users)
      item = Vectors(self.num_items, self.width, name='product_items')(items)
      penalize(self, self.penalty, user, item)
      parts.append(drop(user[:, None] * item))
    if self.hidden:
      half = max(1, self.hidden[0] // 2)
      user = Vectors(self.num_users, half, name='users')(users)
      item = Vectors(self.num_items, half, name='items')(items)
      penalize(self, self.penalty, user, item)
      # The first layer of the two vectors in a row, without repeating either.
      first = Dense(self.hidden[0], name='user_in')(drop(user))
      x = nn.relu(first[:, None] + Dense(
        self.hidden[0], use_bias=False, name='item_in')(drop(item)))
      for index, width in enumerate(self.hidden[1:]):
        x = nn.relu(Dense(width, name=f'hidden_{index}')(drop(x)))
      parts.append(x)
    x = jnp.concatenate(parts, -1) if len(parts) > 1 else parts[0]
    of_item = Vectors(self.num_items, 1, 0.0, name='item_biases')(items)[..., 0]
    of_user = Vectors(self.num_users, 1, 0.0, name='user_biases')(users)
    return Dense(1, name='out')(x)[..., 0] + of_item + of_user


class TwoTower(nn.Module):
  """A network of the user and one of the item, which meet in a product.

  Yi et al., *Sampling-bias-corrected neural modeling for large corpus item
  recommendations*, 2019: the outputs have unit length, and the product is divided by a
  temperature.

  Attributes:
    num_users: number of users.
    num_items: number of items.
    width: length of the vectors, and of the outputs.
    hidden: widths of the hidden layers of each network.
    temperature: what the product is divided by.
    dropout: rate of dropout, in training, of the vectors.
  """

  num_users: int
  num_items: int
  width: int = 64
  hidden: tuple[int, ...] = (128,)
  temperature: float = 0.1
  dropout: float = 0.0

  def __post_init__(self):
    check_sizes(self, 'num_users', 'num_items', 'width', 'hidden')
    check_positive(self, 'temperature')
    check_rates(self, 'dropout')
    super().__post_init__()

  @nn.compact
  def __call__(self, users: jax.Array, items: jax.Array, *, train: bool) -> jax.Array:
    """Scores of items for users, `[batch, k]`.

    Args:
      users: int `[batch]`.
      items: int `[batch, k]`, or `[k]` if they are the same for all users.
      train: whether to apply dropout.
    """
    def tower(name, size, numbers):
      x = Vectors(size, self.width, name=f'{name}s')(numbers)
      x = nn.Dropout(self.dropout, deterministic=not train)(x)
      for index, width in enumerate(self.hidden):
        x = nn.relu(Dense(width, name=f'{name}_hidden_{index}')(x))
      x = Dense(self.width, name=f'{name}_out')(x)
      return x * jax.lax.rsqrt(jnp.sum(x**2, -1, keepdims=True) + 1e-12)

    user = tower('user', self.num_users, users) / self.temperature
    item = tower('item', self.num_items, items)
    if items.ndim == 1:
      return user @ item.T
    return jnp.einsum('bw,bkw->bk', user, item)


class Dlrm(nn.Module):
  """Products of the vectors of all features, in pairs, and dense layers.

  Naumov et al., *Deep learning recommendation model for personalization and
  recommendation systems*, 2019. User and item are features, too.

  Attributes:
    num_users: number of users.
    num_items: number of items.
    num_categories: categories of all features.
    width: length of the vectors.
    bottom: widths of the hidden layers that read the numbers.
    top: widths of the hidden layers that read the products.
    dropout: rate of dropout, in training, of the vectors.
    penalty: see `MatrixFactorization`.
  """

  num_users: int
  num_items: int
  num_categories: int
  width: int = 16
  bottom: tuple[int, ...] = (64,)
  top: tuple[int, ...] = (64, 32)
  dropout: float = 0.0
  penalty: float = 0.0

  def __post_init__(self):
    check_sizes(self, 'num_users', 'num_items', 'width', 'bottom', 'top')
    check_rates(self, 'dropout')
    check_not_negative(self, 'penalty')
    super().__post_init__()

  @nn.compact
  def __call__(self, users: jax.Array, items: jax.Array, *,
               user_numbers: jax.Array | None = None,
               user_categories: jax.Array | None = None,
               item_numbers: jax.Array | None = None,
               item_categories: jax.Array | None = None, train: bool) -> jax.Array:
    """Scores of items for users, `[batch, k]`.

    Args:
      users: int `[batch]`.
      items: int `[batch, k]`, or `[k]` if they are the same for all users.
      user_numbers, user_categories: features of the users, `[batch, n]`.
      item_numbers, item_categories: features of the items, `[batch, k, n]` or `[k, n]`.
      train: whether to apply dropout.
    """
    shape = len(users), items.shape[-1]
    user = Vectors(self.num_users, self.width, name='users')(users)
    item = Vectors(self.num_items, self.width, name='items')(items)
    penalize(self, self.penalty, user, item)
    vectors = [user[:, None, None], item[..., None, :]]  # [..., features, width]
    if user_categories is not None or item_categories is not None:
      table = Vectors(self.num_categories, self.width, name='categories')
      if user_categories is not None:
        vectors.append(table(user_categories)[:, None])
      if item_categories is not None:
        vectors.append(table(item_categories))
    numbers = [x for x in (None if user_numbers is None else user_numbers[:, None],
                           item_numbers) if x is not None]
    dense = None
    if numbers:
      dense = jnp.concatenate([
        jnp.broadcast_to(x, (*shape, x.shape[-1])) for x in numbers], -1)
      for index, width in enumerate(self.bottom):
        dense = nn.relu(Dense(width, name=f'bottom_{index}')(dense))
      dense = nn.relu(Dense(self.width, name='bottom_out')(dense))
      vectors.append(dense[..., None, :])
    x = jnp.concatenate([
      jnp.broadcast_to(v, (*shape, *v.shape[-2:])) for v in vectors], -2)
    x = nn.Dropout(self.dropout, deterministic=not train)(x)
    rows, columns = jnp.triu_indices(x.shape[-2], 1)
    x = jnp.einsum('bkfw,bkgw->bkfg', x, x)[..., rows, columns]
    if dense is not None:
      x = jnp.concatenate([x, dense], -1)
    for index, width in enumerate(self.top):
      x = nn.relu(Dense(width, name=f'top_{index}')(x))
    of_item = Vectors(self.num_items, 1, 0.0, name='item_biases')(items)[..., 0]
    of_user = Vectors(self.num_users, 1, 0.0, name='user_biases')(users)
    return Dense(1, name='out')(x)[..., 0] + of_item + of_user
