"""The commands with a stub for the model: every option arrives, every error is one line."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from pocket_tts_jax.errors import ConfigError, GenerationError
from pocket_tts_jax.testing.tiny_model import write_model
from pocket_tts_jax.voice.state import VoiceState, write_voice
from tests.cli_stub import CHUNK, FRAME, FRAMES_PER_CHUNK, TAIL, StubModel, samples
from tests.cli_stub import run_cli as run


def test_text_from_everywhere(stub: StubModel) -> None:
    Path("text.txt").write_text("from a file", encoding="utf-8")
    for arguments, piped, words in (
        (["an argument"], None, ["an", "argument"]),
        (["--text", "an option"], None, ["an", "option"]),
        (["--file", "text.txt"], None, ["from", "a", "file"]),
        (["-"], "from a pipe", ["from", "a", "pipe"]),
        (["--text", "-"], "from a dash", ["from", "a", "dash"]),
    ):
        result = run("generate", *arguments, input=piped)
        assert result.exit_code == 0, result.stderr
        assert stub.stream["words"] == words


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ([], "Hello!"),
        (["--language", "french_24l"], "Bonjour"),
        (["--language", "dutch"], "Hallo! Deze"),
        (["--config", "hf://a/b/german.yaml"], "Hallo! Diese"),
        (["--config", "hf://a/b/c.yaml"], "Hello!"),
    ],
)
def test_without_a_text_a_sample_in_the_language(
    stub: StubModel, options: list[str], text: str
) -> None:
    result = run("generate", *options, input="what a pipe holds is left there")
    assert result.exit_code == 0 and " ".join(stub.stream["words"]).startswith(text)
    assert "or - to read a pipe" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["one", "--text", "two"], "once"),
        (["--file", "missing.txt"], "missing.txt"),
        ([""], "nothing to say"),
        (["-"], "standard input"),
        (["hello", "-o", "a.doc"], "a.doc"),
        (["hello", "--format", "xyz", "-o", "a.wav"], "xyz"),
        (["hello", "--lexicon", "no.toml"], "no.toml"),
        (["hello", "--speed", "5"], "speed"),
        (["hello", "-o", "no/such/folder/a.wav"], "folder"),
    ],
)
def test_user_errors_are_one_line(stub: StubModel, arguments: list[str], said: str) -> None:
    result = run("generate", *arguments, input="")
    assert result.exit_code == 1, result.stderr
    line = result.stderr.strip().splitlines()[-1]
    assert line.startswith("Error: ") and said in line
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("place", ["no/such/folder/r.json", "."])
def test_a_report_without_a_place_is_refused_first(stub: StubModel, place: str) -> None:
    result = run("generate", "hello", "--report", place)
    assert result.exit_code == 1 and f"Error: The report {place}" in result.stderr
    assert stub.choice is None and not Path("tts_output.wav").exists()


def test_errors_before_speech_keep_the_old_file(stub: StubModel) -> None:
    Path("a.wav").write_bytes(b"old")
    assert run("generate", "", "-o", "a.wav").exit_code == 1
    assert Path("a.wav").read_bytes() == b"old"


def test_wrong_usage_exits_with_2(stub: StubModel) -> None:
    assert run("generate", "hello", "--no-such-option").exit_code == 2
    assert run("generate", "hello", "--engine", "steam").exit_code == 2
    assert run("generate", "hello", "--max-tokens", "0").exit_code == 2


def test_default_output(stub: StubModel) -> None:
    result = run("generate", "two words")
    assert samples(Path("tts_output.wav")) == 2 * CHUNK + TAIL
    assert result.stdout == ""
    assert "tts_output.wav" in result.stderr


def test_output_without_an_ending_is_wav(stub: StubModel) -> None:
    run("generate", "hello", "-o", "speech")
    assert soundfile.info("speech").format == "WAV"
    assert run("generate", "hello", "-o", os.devnull).exit_code == 0
    assert not Path(os.devnull).is_file()


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "opus", "mp3"])
def test_files_say_that_they_are_synthetic(stub: StubModel, suffix: str) -> None:
    run("generate", "hello", "-o", f"a.{suffix}", "--voice", "folder/me.wav", "--model", "m")
    with soundfile.SoundFile(f"a.{suffix}") as file:
        assert file.title == "Synthetic speech"
        assert "AI-generated" in file.comment and "fingerprint=0123456789abcdef" in file.comment
        assert "model=stub; voice=me.wav; engine=jax; precision=fp32" in file.comment


@pytest.mark.parametrize("option", ["-o", "--output-path"])
def test_output_path(stub: StubModel, option: str) -> None:
    run("generate", "hello", option, "x.flac")
    assert soundfile.info("x.flac").format == "FLAC"
    assert not Path("tts_output.wav").exists()


def test_output_to_a_pipe(stub: StubModel) -> None:
    wav = run("generate", "hello", "-o", "-")
    raw = run("generate", "hello", "-o", "-", "--format", "raw")
    flac = run("generate", "hello", "-o", "-", "--format", "flac")
    assert wav.stdout_bytes[:4] == b"RIFF"
    assert wav.stdout_bytes.endswith(raw.stdout_bytes)
    assert len(raw.stdout_bytes) == 2 * (CHUNK + TAIL)
    assert flac.stdout_bytes[:4] == b"fLaC"
    assert wav.stderr == ""


@pytest.mark.parametrize(
    ("arguments", "field", "value"),
    [
        (["--model", "folder"], "model", "folder"),
        (["--language", "german"], "language", "german"),
        (["--config", "hf://a/b/c.yaml"], "config", "hf://a/b/c.yaml"),
        (["--checkpoint", "x.safetensors"], "checkpoint", "x.safetensors"),
        (["--engine", "litert"], "engine", "litert"),
        (["--quantize"], "quantize", True),
        (["--quantize", "--no-quantize", "--quantize"], "quantize", True),
        (["--temperature", "0.5"], "temp", 0.5),
        (["--temp", "0.5"], "temp", 0.5),
        (["--sampler-decode-steps", "3"], "sampler_decode_steps", 3),
        (["--lsd-decode-steps", "3"], "sampler_decode_steps", 3),
        (["--noise-clamp", "1.5"], "noise_clamp", 1.5),
        (["--eos-threshold", "-2"], "eos_threshold", -2.0),
        (["--device", "gpu"], "device", "gpu"),
        (["--threads", "1"], "threads", 1),
        (["--offline"], "offline", True),
        (["--no-compilation-cache"], "compilation_cache", False),
    ],
)
def test_model_options_arrive(
    stub: StubModel, arguments: list[str], field: str, value: object
) -> None:
    run("generate", "hello")
    assert getattr(stub.choice, field) != value
    assert run("generate", "hello", *arguments).exit_code == 0
    assert getattr(stub.choice, field) == value


@pytest.mark.parametrize(
    ("arguments", "field", "value"),
    [
        (["--max-tokens", "9"], "max_tokens", 9),
        (["--frames-after-eos", "4"], "frames_after_eos", 4),
        (["--seed", "7"], "seed", 7),
        (["--first-chunk", "1"], "first_chunk", 1),
    ],
)
def test_stream_options_arrive(
    stub: StubModel, arguments: list[str], field: str, value: object
) -> None:
    run("generate", "hello there")
    assert stub.stream[field] != value
    assert run("generate", "hello there", *arguments).exit_code == 0
    assert stub.stream[field] == value


def test_text_options_arrive(stub: StubModel) -> None:
    Path("words.json").write_text('{"nginx": "engine x"}')
    run("generate", "hello")
    plain = stub.stream["text"]
    assert (plain.normalize, plain.language, plain.lexicon) == (None, None, None)
    assert not (plain.pauses or plain.glue_short_chunks or plain.plain_typography)
    assert not plain.cut_at_words
    flags = "--normalize", "--text-language", "fr", "--lexicon", "words.json", "--pauses"
    flags += "--glue-short-chunks", "--plain-typography", "--cut-at-words"
    run("generate", "hello", *flags)
    chosen = stub.stream["text"]
    assert (chosen.normalize, chosen.language) == (True, "fr")
    assert chosen.lexicon.apply("nginx") == "engine x"
    assert chosen.pauses and chosen.glue_short_chunks and chosen.plain_typography
    assert chosen.cut_at_words
    run("generate", "hello", "--no-normalize")
    assert stub.stream["text"].normalize is False


def test_voice_options_arrive(stub: StubModel) -> None:
    run("generate", "hello")
    assert (stub.voice, stub.truncate) == ("default", True)
    run("generate", "hello", "--voice", "me.wav", "--no-truncate")
    assert (stub.voice, stub.truncate) == ("me.wav", False)


def test_offline_holds_for_a_voice_at_an_address(stub: StubModel) -> None:
    result = run("generate", "hello", "--offline", "--voice", "https://example.invalid/v.wav")
    assert result.exit_code == 1 and "switched off" in result.stderr


def test_speed_changes_the_length(stub: StubModel) -> None:
    run("generate", "hello", "-o", "x.wav", "--speed", "1.25")
    assert samples(Path("x.wav")) == round(CHUNK / 1.25) + TAIL


def test_subtitles_and_word_times(stub: StubModel) -> None:
    files = ("--subtitles", "talk.srt", "--words", "w.json")
    result = run("generate", "Hello there, world", *files, "--speed", "2")
    assert result.exit_code == 0, result.output
    assert Path("talk.srt").read_text() == (
        "1\n00:00:00,000 --> 00:00:01,059\nHello there, world\n"
    )
    words = json.loads(Path("w.json").read_text())["words"]
    assert [(w["text"], w["start"], w["end"]) for w in words] == [
        ("Hello", 0.0, 0.2),
        ("there,", 0.2, 0.4),
        ("world", 0.4, 0.6),
    ]
    run("generate", "Hello you", "--subtitles", "talk.vtt", "--karaoke")
    assert "<c>Hello</c> <00:00:00.400><c>you</c>" in Path("talk.vtt").read_text()


def test_subtitles_that_cannot_be_written_are_refused_first(stub: StubModel) -> None:
    for options, says in (
        (("--subtitles", "a.txt"), "end in .srt"),
        (("--subtitles", "no/a.srt"), "in a folder that exists"),
        (("--words", "."), "in a folder that exists"),
        (("--words", "a.srt"), "with --subtitles"),
        (("--subtitles", "a.srt", "--karaoke"), "only .vtt"),
        (("--karaoke",), "name them with --subtitles"),
    ):
        result = run("generate", "hello", *options)
        assert result.exit_code == 1 and says in " ".join(result.stderr.split()), options
        assert not stub.stream


def test_subtitles_of_what_was_spoken_before_an_interruption(stub: StubModel) -> None:
    stub.error, stub.fail_at = KeyboardInterrupt(), 7
    assert run("generate", "one two", "-o", "x.wav", "--subtitles", "s.srt").exit_code == 130
    assert "one" in Path("s.srt").read_text() and "two" not in Path("s.srt").read_text()


def test_report(stub: StubModel) -> None:
    run("generate", "one two", "--report", "r.json", "--seed", "5", "--speed", "2")
    report = json.loads(Path("r.json").read_text())
    assert report["seed"] == 5 and report["voice"] == "default" and report["engine"] == "jax"
    assert report["model"] == "stub" and report["fingerprint"] == "0123456789abcdef"
    assert [chunk["text"] for chunk in report["chunks"]] == ["one", "two"]
    seconds = CHUNK / 24000 / 2
    assert [(c["start"], c["end"]) for c in report["chunks"]] == [
        (0.0, seconds),
        (seconds, 2 * seconds),
    ]
    assert report["seconds"] == 2 * seconds and all(c["eos"] for c in report["chunks"])


def test_the_seed_that_was_drawn_is_said_at_the_start(stub: StubModel) -> None:
    stub.error, stub.fail_at = GenerationError("killed"), 1
    result = run("generate", "hello", "-o", "x.wav")
    assert f"Seed {stub.stream['seed']}" in result.stderr
    assert "Seed" not in run("generate", "hello", "-o", "x.wav", "--seed", 5).stderr


def test_options_that_do_nothing_at_temperature_0_are_said(stub: StubModel) -> None:
    stub.temp = 0.0
    result = run("generate", "hello", "--seed", "5", "--noise-clamp", "1")
    assert "--seed and --noise-clamp changes nothing at temperature 0" in result.stderr
    assert "temperature 0" not in run("generate", "hello").stderr


@pytest.mark.parametrize(
    ("voice", "language"),
    [
        ("alba", "english"),
        ("me.wav", "english"),
        ("hf://a/b/me.wav", "english"),
        ("other.safetensors", "english"),
        ("own.safetensors", None),
        ("joe", None),
        ("nobody", None),
    ],
)
def test_a_voice_names_the_model_that_has_it(
    stub: StubModel, voice: str, language: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pocket_tts_jax.weights import source

    folder = write_model(Path("embedded"), has_voice_cloning=False)
    monkeypatch.setattr(source, "EMBEDDED", folder)
    (folder / "voices" / "joe.safetensors").touch()
    shutil.copy(folder / "voices" / "tiny.safetensors", "own.safetensors")
    stranger = np.ones((1, 1, 3, 4), np.float32)
    write_voice("other.safetensors", VoiceState(stranger, stranger))
    monkeypatch.setattr("pocket_tts_jax.cli.speak.resolve", lambda source, **_: Path("a.wav"))
    result = run("generate", "hello", "--voice", voice)
    assert result.exit_code == 0 and stub.choice.language == language, result.stderr
    assert ("taking --language english" in result.stderr) == (language is not None)
    run("generate", "hello", "--voice", voice, "--model", "folder")
    assert stub.choice.language is None


@pytest.mark.parametrize("option", ["-q", "--quiet"])
def test_quiet(stub: StubModel, option: str) -> None:
    assert run("generate", "hello").stderr != ""
    assert run("generate", "hello", option).stderr == ""
    assert "Error" in run("generate", "", option).stderr


def test_interruption_keeps_what_was_said(stub: StubModel) -> None:
    stub.error, stub.fail_at = KeyboardInterrupt(), FRAMES_PER_CHUNK + 2
    result = run("generate", "one two", "-o", "x.wav", "--report", "r.json", "--seed", "5")
    assert result.exit_code == 130
    assert "--seed 5 --first-chunk 1" in result.stderr
    assert samples(Path("x.wav")) == CHUNK + 2 * FRAME
    assert len(json.loads(Path("r.json").read_text())["chunks"]) == 1


def test_a_closed_pipe_is_no_error(stub: StubModel) -> None:
    stub.error = BrokenPipeError()
    result = run("generate", "hello", "-o", "-", "--quiet")
    assert (result.exit_code, result.stderr) == (0, "")


def test_an_error_while_speaking(stub: StubModel) -> None:
    stub.error = GenerationError("The weights are damaged.")
    result = run("generate", "hello")
    assert result.exit_code == 1 and "Error: The weights are damaged." in result.stderr


def test_targets_need_a_place_for_a_format() -> None:
    from pocket_tts_jax.cli.speak import targets

    with pytest.raises(ConfigError, match="-o"):
        targets(None, "raw", True, "x.wav")
    assert targets(None, "flac", False, "./x.wav").path == "./x.flac"
