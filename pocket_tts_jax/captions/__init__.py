"""Subtitles of speech: readable lines from word times, as SRT, WebVTT and JSON."""
