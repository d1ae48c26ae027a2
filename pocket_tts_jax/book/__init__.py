"""Books read aloud: EPUB, Markdown and plain text in; EPUB with read-along, M4B or files out."""
