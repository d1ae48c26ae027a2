"""What the tests of the training share."""

from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True, scope="module")
def compiled_quickly() -> Iterator[None]:
    """A training step of the tiny model compiles for half a minute and runs for a tenth of a
    second. What XLA optimises changes the order of sums, not what a step means."""
    import jax

    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", before)
