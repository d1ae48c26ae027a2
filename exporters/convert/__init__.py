"""Converts functions to a flatbuffer, and quantises it."""
