"""Tests of the catalog: who has what, and negatives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bigmodels.core.errors import UserError
from bigmodels.data.interactions import catalog as catalogs
from bigmodels.data.interactions.catalog import Catalog
from bigmodels.parallel.random import slice_key


def made(users=40, items=25, seed=0, most=24):
  """A catalog in which users have between 0 and `most` items."""
  rng = np.random.default_rng(seed)
  user, item = [], []
  for number in range(users):
    found = rng.choice(items, rng.integers(0, most + 1), replace=False)
    user += [number] * len(found)
    item += found.tolist()
  part = rng.integers(0, 3, len(user)).astype(np.int8)
  return Catalog(tuple(map(str, range(users))), tuple(map(str, range(items))),
                 np.array(user, np.int32), np.array(item, np.int32), part)


def having(catalog, user, last):
  rows = (catalog.user == user) & (catalog.part <= last)
  return set(catalog.item[rows].tolist())


@pytest.mark.parametrize('last', [0, 2])
def test_negatives_are_never_a_positive_and_all_others_equally_often(last):
  catalog = made()
  users = np.arange(-1, 40)
  draw = jax.jit(lambda key: catalogs.sampler(catalog, last).draw(key, users, 4000))
  drawn = np.asarray(draw(jax.random.key(0)))
  assert drawn.min() >= 0 and drawn.max() < 25
  for user, items in zip(users, drawn, strict=True):
    free = set(range(25)) - having(catalog, user, last)
    assert {*items.tolist()} <= free
    counts = np.bincount(items, minlength=25)[[*free]]
    # Binomial: within six deviations of 4000 / n each.
    expected = 4000 / len(free)
    assert np.abs(counts - expected).max() < 6 * np.sqrt(expected) + 1


def test_negatives_are_a_function_of_the_key():
  catalog = made()
  sampler = catalogs.sampler(catalog, 0)
  users = np.arange(40)
  draw = jax.jit(lambda key: sampler.draw(key, users, 8))
  one, again, other = (np.asarray(draw(jax.random.key(seed))) for seed in (0, 0, 1))
  np.testing.assert_array_equal(one, again)
  assert (one != other).mean() > 0.5


def test_a_slice_of_a_batch_gets_the_negatives_of_the_whole():
  catalog = made()
  sampler = catalogs.sampler(catalog, 0)
  users, key = np.arange(40), jax.random.PRNGKey(3)

  @jax.jit
  def drawn():
    parts = [sampler.draw(slice_key(key, part), users[10 * part :][:10], 4)
             for part in range(4)]
    return sampler.draw(slice_key(key, 0), users, 4), parts

  whole, parts = drawn()
  np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_a_user_with_all_items_is_refused():
  catalog = made()
  extra = np.arange(25, dtype=np.int32)
  catalog = catalog._replace(
    user=np.append(catalog.user, np.full(25, 39)).astype(np.int32),
    item=np.append(catalog.item, extra), part=np.append(catalog.part, extra * 0).astype(
      np.int8))
  with pytest.raises(UserError, match="user '39' has all 25 items"):
    catalogs.sampler(catalog)


def test_without_any_interaction_everything_is_a_negative():
  catalog = made(most=0)
  drawn = catalogs.sampler(catalog).draw(jax.random.key(0), np.arange(40), 3)
  assert drawn.shape == (40, 3)
  assert catalogs.items_of(catalog.known(), np.arange(40), 25, 2).shape == (40, 0)
  assert not catalogs.has(catalog.known(), np.arange(40), jnp.arange(25)).any()


def test_the_items_of_users_up_to_a_split():
  catalog = made()
  users, last = np.array([3, -1, 7, 7]), np.array([0, 2, 1, 2])
  found = np.asarray(jax.jit(lambda: catalogs.items_of(
    catalog.known(), users, 25, last))())
  for row, (user, part) in enumerate(zip(users, last, strict=True)):
    assert set(found[row].tolist()) - {25} == having(catalog, user, part)


@pytest.mark.parametrize('last', [0, 2])
def test_who_has_what(last):
  catalog = made()
  users = np.arange(-1, 40)
  found = np.asarray(jax.jit(lambda: catalogs.has(
    catalog.known(last), users, jnp.arange(25)))())
  for user, row in zip(users, found, strict=True):
    assert {*np.flatnonzero(row).tolist()} == having(catalog, user, last)


def test_an_item_that_a_user_has_twice_counts_once_in_its_first_split():
  catalog = Catalog(('a',), ('x', 'y', 'z'), np.int32([0, 0, 0]), np.int32([1, 0, 1]),
                    np.int8([0, 1, 2]))
  known = catalog.known()
  assert known.items.tolist() == [0, 1] and known.parts.tolist() == [1, 0]
  assert known.starts.tolist() == [0, 2] and known.most == 2
  assert catalog.popularity.tolist() == [0, 1, 0]
