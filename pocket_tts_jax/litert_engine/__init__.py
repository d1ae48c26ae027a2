"""The LiteRT engine: an export run with NumPy and LiteRT alone."""
