"""Processes that speak with one model, beside the one that loaded it."""
