"""Several devices on one processor."""

import os


def split_host(devices: int) -> None:
    """Makes JAX see the processor as so many devices; to be called before anything runs on it."""
    if devices > 1:
        flag = f"--xla_force_host_platform_device_count={devices}"
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {flag}".strip()
