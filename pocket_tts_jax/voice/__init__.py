"""Voices: their files, the recordings that they are made of, and finding them by name."""
