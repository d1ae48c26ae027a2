"""Checks that an export computes the same as the model."""
