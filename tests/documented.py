"""The blocks of a documentation page."""

import re
from pathlib import Path


def blocks(page: Path, language: str) -> list[str]:
    """The code of each fenced block that is marked with `language`."""
    text = page.read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
