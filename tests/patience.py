"""How long tests wait for what must happen."""

PATIENCE = 300.0
"""Seconds. Only what hangs takes longer: a shared machine may stand still for half a minute."""
