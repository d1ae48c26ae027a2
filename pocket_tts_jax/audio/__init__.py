"""Audio in and out: reading, writing, playing, and changing the pace."""
