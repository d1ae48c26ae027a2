"""From a text to the tokens of its chunks."""
