"""Whether an export computes what the model computes."""
