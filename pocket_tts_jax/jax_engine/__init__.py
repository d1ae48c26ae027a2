"""The JAX engine: the model compiled for streaming."""
