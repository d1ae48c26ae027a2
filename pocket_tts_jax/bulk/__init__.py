"""Speaks a corpus of texts into a folder, on one machine or many."""
