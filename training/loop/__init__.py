"""The training loop: steps, checkpoints, logs."""
