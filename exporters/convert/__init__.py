"""From functions to a flatbuffer, and its precision."""
