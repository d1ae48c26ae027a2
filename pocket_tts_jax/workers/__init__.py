"""Processes that speak in place of the one that loaded the model."""
