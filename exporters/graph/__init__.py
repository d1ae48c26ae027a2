"""The functions that are exported: the model, rewritten for LiteRT."""
