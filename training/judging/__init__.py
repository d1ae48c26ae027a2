"""How good speech is, measured."""
