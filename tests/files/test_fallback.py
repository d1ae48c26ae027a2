"""When the open weights stand in for gated ones, and when the network is asked."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from pocket_tts_jax.errors import DownloadError
from pocket_tts_jax.files import fallback
from pocket_tts_jax.files.fallback import resolve_with_fallback
from pocket_tts_jax.files.hub import GatedError

GATED, OPEN = "hf://a/b/gated@v1", "hf://a/b/open@v1"


@dataclass
class World:
    """What the Hub answers, what is in the cache, who is logged in, and what was asked."""

    cache: Path
    answers: dict[str, Path | Exception] = field(default_factory=dict)
    here: dict[str, Path] = field(default_factory=dict)
    token: str | None = "token"
    asked: list[str] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)

    def resolve(self, source, **_):
        self.asked.append(source)
        answer = self.answers[source]
        if isinstance(answer, Exception):
            raise answer
        self.here[source] = answer
        return answer

    def load(self) -> tuple[Path, bool]:
        self.asked.clear()
        self.notices.clear()
        return resolve_with_fallback(
            GATED, OPEN, what="it", on_notice=self.notices.append, cache=self.cache
        )


@pytest.fixture
def world(tmp_path, monkeypatch):
    world = World(tmp_path, {GATED: Path("gated"), OPEN: Path("open")})
    monkeypatch.setattr(fallback, "resolve", world.resolve)
    monkeypatch.setattr(fallback, "cached", lambda source: world.here.get(source))
    monkeypatch.setattr(fallback, "_token", lambda: world.token)
    return world


def test_gated_weights_with_access(world):
    assert world.load() == (Path("gated"), True) and not world.notices
    assert world.load() == (Path("gated"), True) and not world.asked


def test_a_refusal_leads_to_the_open_weights_with_a_notice(world):
    world.answers[GATED] = GatedError("Accept the terms.")
    assert world.load() == (Path("open"), False)
    assert world.asked == [GATED, OPEN]
    assert world.notices == [
        "Accept the terms. Then fetch it once: `hf download a/b gated --revision v1`. Until then, "
        f"{OPEN} is used."
    ]


@pytest.mark.parametrize("token", ["token", None])
def test_after_it_the_network_is_left_alone(world, token):
    world.token = token
    world.answers[GATED] = GatedError("Accept the terms.")
    world.load()
    assert world.load() == (Path("open"), False)
    assert not world.asked and "was refused" in world.notices[0]


def test_another_login_is_tried_and_a_fetched_file_is_used(world):
    world.answers[GATED] = GatedError("Accept the terms.")
    world.load()
    world.token = "another"
    world.answers[GATED] = Path("gated")
    assert world.load() == (Path("gated"), True)
    world.token = "token"  # as after `hf download`, whoever is logged in now
    assert world.load() == (Path("gated"), True) and not world.asked


def test_no_other_error_leads_to_the_open_weights(world):
    world.answers[GATED] = DownloadError("disk full")
    with pytest.raises(DownloadError, match="disk full"):
        world.load()
    assert world.asked == [GATED]


def test_without_a_network_what_was_used_before_is_used(world):
    world.here[OPEN] = Path("open")
    world.answers[GATED] = DownloadError("No network.")
    assert world.load() == (Path("open"), False)
    assert "No network. Until then" in world.notices[0]
    world.answers[GATED] = Path("gated")  # it was no refusal: the next start asks again
    assert world.load() == (Path("gated"), True)


def test_a_note_that_cannot_be_written_is_no_error(world, tmp_path):
    world.cache = tmp_path / "file"
    world.cache.write_text("in the way")
    world.answers[GATED] = GatedError("Accept the terms.")
    assert world.load() == (Path("open"), False)
    assert world.load() == (Path("open"), False) and world.asked == [GATED]


def test_notes_do_not_tell_the_token(world):
    world.answers[GATED] = GatedError("Accept the terms.")
    world.load()
    (note,) = world.cache.iterdir()
    assert "token" not in note.name and note.stat().st_size == 0
