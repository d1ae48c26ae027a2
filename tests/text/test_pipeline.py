"""The opt-in steps in their order, down to prompts and pauses."""

# pyright: reportAttributeAccessIssue=false
# Prompts and pauses come in one list; the tests know which is which.

from dataclasses import replace

import pytest

from pocket_tts_jax.errors import ConfigError, TextError
from pocket_tts_jax.testing.tiny_model import write_model
from pocket_tts_jax.text.lexicon import Lexicon
from pocket_tts_jax.text.pauses import Pause
from pocket_tts_jax.text.pipeline import TextOptions, iter_prompts, language_of
from pocket_tts_jax.text.prepare import Prompt, TextRules, make_prompt, split_text
from pocket_tts_jax.text.tokenizer import load_tokenizer
from pocket_tts_jax.weights.source import open_source

TEXT = "One sentence here. Then a second one that is longer. Yes. And the last of them."


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return open_source(model=write_model(tmp_path_factory.mktemp("m") / "tiny"))


@pytest.fixture(scope="module")
def tokenizer(source):
    table = source.config.flow_lm.lookup_table
    return load_tokenizer(table.tokenizer, source.tokenizer, table.n_bins)


def prompts(source, tokenizer, text, max_tokens=20, first_chunk=0, **options):
    return list(
        iter_prompts(text, tokenizer, source, TextOptions(**options), max_tokens, first_chunk)
    )


def spoken(source, tokenizer, text, **options):
    return [item.text for item in prompts(source, tokenizer, text, **options)]


def test_without_options_it_is_the_plain_front_end(source, tokenizer):
    rules = TextRules.from_config(source.config)
    chunks = split_text(TEXT, tokenizer, rules, 20)
    assert len(chunks) > 1
    expected = [make_prompt(chunk, tokenizer, rules) for chunk in chunks]
    assert prompts(source, tokenizer, TEXT) == expected
    assert prompts(source, tokenizer, TEXT, first_chunk=1) == expected[1:]


def test_pauses_stand_between_their_chunks(source, tokenizer):
    items = prompts(source, tokenizer, "Hello there. [pause:0.5] Good bye.", pauses=True)
    assert [type(item).__name__ for item in items] == ["Prompt", "Pause", "Prompt"]
    assert items[1] == Pause(0.5)
    literal = prompts(source, tokenizer, "Hello there. [pause:0.5] Good bye.")
    assert not any(isinstance(item, Pause) for item in literal)
    resumed = prompts(
        source, tokenizer, "Hello there. [pause:0.5] Good bye.", pauses=True, first_chunk=1
    )
    assert [type(item).__name__ for item in resumed] == ["Pause", "Prompt"]


def test_the_lexicon_comes_before_the_numbers(source, tokenizer):
    lexicon = Lexicon({"WCAG": "version 2"})
    text = spoken(source, tokenizer, "I like WCAG a lot.", lexicon=lexicon, normalize=True)
    assert text == spoken(source, tokenizer, "I like version two a lot.")


def test_numbers_are_read_when_asked_for_or_when_the_model_says_so(tmp_path, source, tokenizer):
    words = spoken(source, tokenizer, "I have three cats.")
    assert spoken(source, tokenizer, "I have 3 cats.", normalize=True) == words
    assert spoken(source, tokenizer, "I have 3 cats.") != words
    wants = open_source(model=write_model(tmp_path / "wants", normalize=True))
    assert spoken(wants, tokenizer, "I have 3 cats.") == words
    assert spoken(wants, tokenizer, "I have 3 cats.", normalize=False) != words


def test_plain_typography(source, tokenizer):
    plain = prompts(source, tokenizer, "We've seen it.")
    assert prompts(source, tokenizer, "We\u201bve seen it.", plain_typography=True) == plain


def test_short_chunks_are_glued(source, tokenizer):
    text = "The first sentence is long. Then comes a second one. Yes."
    loose, glued = (
        [p.text for p in prompts(source, tokenizer, text, max_tokens=24, glue_short_chunks=glue)]
        for glue in (False, True)
    )
    assert loose == ["The first sentence is long. Then comes a second one.", "Yes."]
    assert glued == ["The first sentence is long.", "Then comes a second one. Yes."]


def test_long_chunks_are_cut_between_words(source, tokenizer):
    text = " ".join(["word"] * 40) + "."
    assert len(prompts(source, tokenizer, text)) == 1
    assert len(prompts(source, tokenizer, text, cut_at_words=True)) > 1


@pytest.mark.parametrize("text", ["", "  \n "])
def test_nothing_to_speak_is_an_error_at_once(source, tokenizer, text):
    with pytest.raises(TextError, match="nothing to speak"):
        iter_prompts(text, tokenizer, source)


def test_a_chunk_that_is_not_there(source, tokenizer):
    with pytest.raises(TextError, match="no chunk 9"):
        prompts(source, tokenizer, TEXT, first_chunk=9)
    with pytest.raises(TextError, match="counts from 0"):
        prompts(source, tokenizer, TEXT, first_chunk=-1)


def test_the_language_is_in_the_models_name(source):
    assert language_of(source) == "en"
    french = open_source(model=source.voices.parent)
    object.__setattr__(french, "name", "french_24l")
    assert language_of(french) == "fr"


def test_a_tokenizer_that_writes_phonemes_reports_the_users_words():
    source = open_source()
    table = source.config.flow_lm.lookup_table
    tokenizer = load_tokenizer(table.tokenizer, source.tokenizer, table.n_bins)
    items = prompts(source, tokenizer, "I have 3 cats. They sleep, mostly, all day; I do not.")
    assert " ".join(item.text for item in items) == (
        "I have three cats. They sleep, mostly, all day; I do not."
    )
    assert len(items) > 1
    rules = TextRules.from_config(source.config)
    chunks = split_text(
        "I have three cats. They sleep, mostly, all day; I do not.", tokenizer, rules, 20
    )
    assert [item.ids for item in items] == [
        make_prompt(chunk, tokenizer, rules).ids for chunk in chunks
    ]


@pytest.fixture(scope="module")
def embedded():
    """The voice in this package: it reads numbers by itself, and its tokens are phonemes."""
    source = open_source(on_notice=lambda _: None)
    table = source.config.flow_lm.lookup_table
    return source, load_tokenizer(table.tokenizer, source.tokenizer, table.n_bins)


@pytest.mark.parametrize(
    ("text", "said"),
    [(text, "nothing to speak") for text in ("'", "' '", "()")]
    + [(text, "no sound for any character") for text in ("日本語のテキスト", "😀", "Да!")],
)
def test_what_has_no_sound_is_an_error_at_once(embedded, text, said):
    source, tokenizer = embedded
    with pytest.raises(TextError, match=said):
        iter_prompts(text, tokenizer, source)


def test_a_part_between_pauses_without_sound_does_not_end_the_speech(embedded):
    source, tokenizer = embedded
    found = prompts(source, tokenizer, "One. [pause:0.5] Да! [pause:0.5] Two.", pauses=True)
    assert [item.text for item in found if isinstance(item, Prompt)][::2] == ["One.", "Two."]


def test_pauses_alone_are_spoken(source, tokenizer):
    assert prompts(source, tokenizer, "[pause:0.5]", pauses=True) == [Pause(0.5)]


def test_the_warning_of_a_long_chunk_has_the_users_words(embedded, caplog):
    source, tokenizer = embedded
    prompts(source, tokenizer, "the quick brown fox jumped over it and " * 8)
    assert "--cut-at-words" in caplog.text and "'The quick brown fox jumped" in caplog.text


def test_an_impossible_limit_is_refused_at_once(source, tokenizer):
    with pytest.raises(ConfigError, match="max_tokens must be at least 1, got 0"):
        iter_prompts(TEXT, tokenizer, source, max_tokens=0)


@pytest.mark.parametrize("normalize", [None, False, True])
def test_an_unknown_language_is_refused_whatever_is_done_with_it(source, tokenizer, normalize):
    with pytest.raises(TextError, match="'klingon'.*french"):
        prompts(source, tokenizer, TEXT, language="klingon", normalize=normalize)


def test_a_language_that_nothing_would_use_is_refused(source, tokenizer, embedded):
    with pytest.raises(TextError, match="add --normalize"):
        prompts(source, tokenizer, TEXT, language="fr")
    assert prompts(source, tokenizer, TEXT, language="fr", normalize=True)
    with pytest.raises(TextError, match="embedded reads English letters only.*--text-language"):
        iter_prompts(TEXT, embedded[1], embedded[0], TextOptions(language="fr"))
    assert list(iter_prompts(TEXT, embedded[1], embedded[0], TextOptions(language="en")))


def test_a_prompt_says_how_many_frames_its_model_wants(source, tokenizer):
    assert make_prompt("Yes.", tokenizer, TextRules()).frames_after_eos == 5
    config = replace(source.config, model_recommended_frames_after_eos=7)
    (prompt,) = iter_prompts("Yes.", tokenizer, replace(source, config=config))
    assert isinstance(prompt, Prompt) and prompt.frames_after_eos == 7


@pytest.mark.parametrize("text", ["...", "…", ' "!?" - '])
def test_punctuation_alone_is_nothing_to_speak(source, tokenizer, text):
    with pytest.raises(TextError, match="punctuation only"):
        iter_prompts(text, tokenizer, source)


def test_words_that_are_left_out_are_named_once(embedded, caplog):
    source, tokenizer = embedded
    for _ in range(2):
        iter_prompts("Спасибо, naïve µ and 😀 world", tokenizer, source)
    (record,) = caplog.records
    assert record.getMessage().endswith("English letters only: Спасибо")


def test_marks_that_are_read_aloud_are_hinted_at(source, tokenizer, caplog):
    iter_prompts("One. [pause:0.5] Two.", tokenizer, source)
    assert "TextOptions(pauses=True)" in caplog.text
    caplog.clear()
    iter_prompts("One. <b>Two.", tokenizer, source)
    prompts(source, tokenizer, "One. [pause:0.5] Two.", pauses=True)
    assert caplog.text == ""
