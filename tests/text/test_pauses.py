import pytest

from pocket_tts_jax.errors import TextError
from pocket_tts_jax.text.pauses import _MARK, Pause, split_pauses


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("No marks here. ", ["No marks here. "]),
        ("", [""]),
        ("One. [pause:0.5] Two.", ["One.", Pause(0.5), "Two."]),
        ("One.[pause:.25]Two.", ["One.", Pause(0.25), "Two."]),
        ("One. [Pause: 2s] Two.", ["One.", Pause(2.0), "Two."]),
        ("One. [pause:500ms]", ["One.", Pause(0.5)]),
        ('One. <break time="500ms"/> Two.', ["One.", Pause(0.5), "Two."]),
        ("One. <break time='1.5s' /> Two.", ["One.", Pause(1.5), "Two."]),
        ('One. <BREAK TIME="1s"></BREAK> Two.', ["One.", Pause(1.0), "Two."]),
        ("[pause:1][pause:2]", [Pause(1.0), Pause(2.0)]),
        ("[pause:0] Go", [Pause(0.0), "Go"]),
        ("Well [pause:1]. Then [pause:1] ...", ["Well.", Pause(1.0), "Then...", Pause(1.0)]),
        ("[pause:1] ! [pause:1] Hi", [Pause(1.0), Pause(1.0), "Hi"]),
        ("[paused] or [a pause:1] stay", ["[paused] or [a pause:1] stay"]),
        ("a < b, <3 and 1 > 0, <john@x.org>", ["a < b, <3 and 1 > 0, <john@x.org>"]),
    ],
)
def test_marks(text: str, expected: list[str | Pause]) -> None:
    assert split_pauses(text) == expected


def test_longest_pause(caplog: pytest.LogCaptureFixture) -> None:
    assert split_pauses("a [pause:100] b") == ["a", Pause(10.0), "b"]
    assert "'[pause:100]' is cut to the longest pause, 10 seconds" in caplog.text
    caplog.clear()
    assert split_pauses("[pause:10]") == [Pause(10.0)]
    assert not caplog.records


@pytest.mark.parametrize(
    ("seconds", "rate", "samples"),
    [(0.5, 24_000, 12_000), (0.00002, 24_000, 0), (0.00003, 24_000, 1), (1.0, 22_050, 22_050)],
)
def test_samples(seconds: float, rate: int, samples: int) -> None:
    assert Pause(seconds).samples(rate) == samples


@pytest.mark.parametrize(
    "text",
    [
        "[pause:]",
        "[pause]",
        "[pause:abc]",
        "[pause:-1]",
        "[pause:nan]",
        "[pause:1h]",
        "[pause:0.5",
        "[pause [pause [pause",
        "[pause [pause:1]",
        "<break/>",
        '<break time="5"/>',
        '<break time="soon"/>',
        '<break strength="strong"/>',
        '<break time="1s" strength="weak"/>',
    ],
)
def test_marks_that_are_no_pause(text: str) -> None:
    with pytest.raises(TextError, match="is not a pause. Write"):
        split_pauses(f"One. {text} Two.")


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ('<prosody rate="slow">', "prosody"),
        ("</speak>", "speak"),
        ("<emphasis>", "emphasis"),
        ("<mstts:express-as style='sad'>", "mstts:express-as"),
        ("<break time=500ms/>", "break"),
        ("<break time", "break"),
    ],
)
def test_other_ssml(text: str, name: str) -> None:
    with pytest.raises(TextError, match=f"not supported .<{name}>"):
        split_pauses(f"One. {text} Two.")


def test_a_mark_ends_before_the_next_bracket() -> None:
    """Looking for the end of each of many unclosed marks would read the rest of the text each
    time."""
    marks = list(_MARK.finditer("[pause [pause [pause"))
    assert [mark.group() for mark in marks] == ["[pause"] * 3
