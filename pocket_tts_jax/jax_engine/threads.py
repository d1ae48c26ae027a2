"""A bound on the processors that this process computes on."""

import os

from pocket_tts_jax.errors import ConfigError


def limit_threads(count: int) -> None:
    """Keep the process on `count` of its processors from now on.

    XLA has no thread limit for its CPU backend, but makes as many threads as the process may use
    processors: call this before JAX starts. Raises ConfigError where the system has no such
    bound (macOS, Windows), or for a count below 1.
    """
    if count < 1:
        raise ConfigError(f"threads must be 1 or more, got {count}")
    if not hasattr(os, "sched_setaffinity"):
        raise ConfigError(
            "JAX's threads cannot be limited on this system. Leave --threads out, or use the "
            "LiteRT engine, which counts its own."
        )
    allowed = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, allowed[:count])
