"""Readable cues, and subtitle files that parsers nobody here wrote can read."""

import io
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pocket_tts_jax.alignment.spoken import SpokenWord
from pocket_tts_jax.captions.cues import LINE, LONGEST, cues, written_words
from pocket_tts_jax.captions.files import srt, subtitles, vtt, words_json
from pocket_tts_jax.errors import ConfigError
from pocket_tts_jax.text.words import word_spans

TEXT = (
    "“It was the best of times,” he said — it was the worst of times; it was the age of wisdom, it "
    "was the age of foolishness. Then: nothing!\n\nA & B <c> cost $5 [pause:0.5] (or more)…"
)


def spoken(text, seconds=0.3, gap=0.02):
    """Words of a text, one behind the other."""
    words, now = [], 0.1
    for start, end in word_spans(text):
        words.append(SpokenWord(text[start:end], now, now + seconds, 0, start, end))
        now += seconds + gap
    return words


def in_cues(text, words, **options):
    return cues(written_words(text, words, **options))


def test_words_keep_the_marks_around_them():
    words = [w for w in spoken(TEXT) if w.text not in ("pause", "pause:0.5", "0.5")]
    written = [w.text for w in written_words(TEXT, words, pauses=True)]
    assert written[:7] == ["“It", "was", "the", "best", "of", "times,”", "he"]
    assert written[7] == "said —" and written[-3:] == ["$5", "(or", "more)…"]


def test_a_word_without_sound_is_still_shown():
    text = "One 中文 two."
    words = [w for w in spoken(text) if w.text != "中文"]
    assert [w.text for w in written_words(text, words)] == ["One 中文", "two."]


def test_cues_break_at_sentences_and_stay_readable():
    found = in_cues(TEXT.replace("[pause:0.5] ", ""), spoken(TEXT.replace("[pause:0.5] ", "")))
    texts = [cue.text.replace("\n", " ") for cue in found]
    assert any(text.endswith("foolishness.") for text in texts)
    for cue in found:
        lines = cue.text.split("\n")
        assert len(lines) <= 2 and max(map(len, lines)) <= LINE


def test_a_long_silence_ends_a_cue():
    words = spoken("One two three four")
    late = [*words[:2], *(w.later(3.0) for w in words[2:])]
    assert [cue.text for cue in in_cues("One two three four", late)] == ["One two", "three four"]


def test_a_short_cue_stays_until_the_next_one():
    (cue,) = in_cues("Yes.", [SpokenWord("Yes", 1.0, 1.2, 0, 0, 3)])
    assert (cue.start, cue.end) == (1.0, 2.0)
    words = [SpokenWord("Yes", 1.0, 1.2, 0, 0, 3), SpokenWord("No", 2.1, 2.4, 0, 5, 7)]
    first, second = in_cues("Yes. No.", words)
    assert first.end <= second.start


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.text(st.sampled_from("abcdefgh.,!"), min_size=1, max_size=60), max_size=60),
    st.floats(0.01, 2.0),
    st.floats(0.0, 1.0),
)
def test_every_word_is_in_one_cue(parts, seconds, gap):
    text = " ".join(parts)
    words = spoken(text, seconds, gap)
    found = in_cues(text, words)
    assert [w.word for cue in found for line in cue.lines for w in line] == words
    for cue, following in zip(found, found[1:], strict=False):
        assert cue.start < cue.end <= following.start
    for cue in found:
        several = sum(map(len, cue.lines)) > 1
        assert len(cue.lines) <= 2
        if several:
            words_of_cue = [w.word for line in cue.lines for w in line]
            assert words_of_cue[-1].end - cue.start <= LONGEST
            assert all(sum(len(w.text) + 1 for w in line) - 1 <= LINE for line in cue.lines)


def test_srt_is_read_by_pysrt():
    pysrt = pytest.importorskip("pysrt", reason="pysrt checks SRT files: pip install pysrt")
    found = in_cues(TEXT, spoken(TEXT))
    parsed = pysrt.from_string(srt(found))
    assert [item.text for item in parsed] == [cue.text for cue in found]
    assert [item.start.ordinal for item in parsed] == [round(cue.start * 1000) for cue in found]
    assert [item.end.ordinal for item in parsed] == [round(cue.end * 1000) for cue in found]


@pytest.mark.parametrize("karaoke", [False, True])
def test_vtt_is_read_by_webvtt(karaoke):
    webvtt = pytest.importorskip(
        "webvtt", reason="webvtt-py checks VTT files: pip install webvtt-py"
    )
    found = in_cues(TEXT, spoken(TEXT))
    parsed = list(webvtt.from_buffer(io.StringIO(vtt(found, karaoke=karaoke))))
    plain = [cue.text for cue in found]
    shown = [c.text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&") for c in parsed]
    assert shown == plain
    if karaoke:
        stamps = parsed[0].raw_text.count("<00:")
        assert stamps == sum(map(len, found[0].lines)) - 1


def test_the_ending_says_which_file_it_is():
    words = spoken("One two.")
    assert subtitles(Path("a.srt"), "One two.", words).startswith("1\n00:00:00,100 --> ")
    assert subtitles(Path("a.VTT"), "One two.", words).startswith("WEBVTT\n")
    (cue,) = json.loads(subtitles(Path("a.json"), "One two.", words))["cues"]
    assert cue["text"] == "One two." and [w["text"] for w in cue["words"]] == ["One", "two."]
    with pytest.raises(ConfigError, match="end in .srt, .vtt, .json"):
        subtitles(Path("a.txt"), "One two.", words)
    with pytest.raises(ConfigError, match="only .vtt"):
        subtitles(Path("a.srt"), "One two.", words, karaoke=True)


def test_words_as_json():
    words = spoken("One two.")
    rows = json.loads(words_json(words))["words"]
    assert rows[1] == {
        "text": "two",
        "start": 0.42,
        "end": 0.72,
        "chunk": 0,
        "first_character": 4,
        "last_character": 7,
    }


def test_hours_in_times():
    words = [SpokenWord("late", 3725.0, 3725.9996, 0, 0, 4)]
    assert "01:02:05,000 --> 01:02:06,000" in subtitles(Path("a.srt"), "late", words)
