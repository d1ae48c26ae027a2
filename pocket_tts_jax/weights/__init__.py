"""Finds weights, and checks them against the configuration."""
