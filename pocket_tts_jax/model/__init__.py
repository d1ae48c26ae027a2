"""The network in JAX/Flax: pure functions whose caches are arguments and results."""
