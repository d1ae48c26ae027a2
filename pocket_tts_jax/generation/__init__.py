"""The streaming loop, and what it asks of an engine."""
