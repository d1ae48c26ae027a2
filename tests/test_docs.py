"""The parts of the site that are made by scripts."""

import importlib.util
from pathlib import Path
from types import ModuleType

from tests.folders import ROOT


def script(name: str) -> ModuleType:
    """A script in docs/, which is no package."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_picture_of_the_rooms_is_drawn_from_the_imports() -> None:
    drawn = script("draw_architecture").draw()
    committed = (ROOT / "docs" / "architecture.svg").read_text(encoding="utf-8")
    assert drawn == committed, "run python docs/draw_architecture.py"


def test_every_room_of_the_picture_has_a_purpose() -> None:
    draw = script("draw_architecture")
    assert set(draw.rooms()) <= set(draw.PURPOSE)


def test_broken_links_are_found(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text(
        '<a href="b.html#here">1</a><a href="b.html#gone">2</a><a href="c.html">3</a>'
        '<a href="https://example.org/gone">4</a><img src="no.png">',
        encoding="utf-8",
    )
    (tmp_path / "b.html").write_text('<p id="here">', encoding="utf-8")
    broken = script("check_links").broken_links(tmp_path)
    assert broken == ["a.html: b.html#gone", "a.html: c.html", "a.html: no.png"]
