"""The voice that comes with the package: what it sounds like, and whether it is understood."""

import json
import subprocess
import sys

import numpy as np
import pytest

from pocket_tts_jax import TTSModel
from pocket_tts_jax.audio.pitch import HOP, PitchTracker
from tests.folders import GOLDEN
from tests.golden.make_embedded_voice import SEED, SENTENCES, statistics

CASES = json.loads((GOLDEN / "embedded_voice.json").read_text())
MOST_WRONG = 0.15  # word error rate
PITCHES = {"una": 2.1, "joe": 1.0, "mia": 2.5, "otto": 0.85}  # of joe's
PACES = {"una": 0.95, "joe": 1.0, "mia": 1.06, "otto": 0.9}
LEAST_NATURAL = 2.8  # opinion scores from 1 to 5


@pytest.fixture(scope="module")
def model() -> TTSModel:
    return TTSModel.load_model(engine="jax")


@pytest.fixture(scope="module")
def speech(model: TTSModel) -> list[np.ndarray]:
    voice = model.get_state_for_audio_prompt(model.default_voice())
    return [model.generate_audio(voice, text, seed=SEED) for text in SENTENCES]


@pytest.mark.slow
def test_it_sounds_as_it_did(speech):
    """Frames, loudness and spectrum of each sentence; another processor's rounding moves them a
    little."""
    assert list(CASES) == list(SENTENCES)
    for audio, (text, golden) in zip(speech, CASES.items(), strict=True):
        found = statistics(audio)
        assert abs(found["frames"] - golden["frames"]) <= 2, text
        np.testing.assert_allclose(found["rms"], golden["rms"], rtol=0.1, err_msg=text)
        np.testing.assert_allclose(found["centroid"], golden["centroid"], rtol=0.1, err_msg=text)


@pytest.mark.slow
def test_the_same_seed_gives_the_same_bytes(model, speech):
    voice = model.get_state_for_audio_prompt(model.default_voice())
    again = model.generate_audio(voice, SENTENCES[0], seed=SEED)
    assert again.tobytes() == speech[0].tobytes()


@pytest.mark.slow
def test_it_starts_and_ends_in_silence_and_does_not_clip(speech):
    for audio in speech:
        assert np.abs(audio[:240]).max() < 0.02 and np.abs(audio[-240:]).max() < 0.02
        assert 0.05 < np.abs(audio).max() < 1.0
        assert abs(audio.mean()) < 1e-3


@pytest.mark.parametrize("engine", ["litert", "jax"])
def test_its_voices_have_a_pitch_and_a_pace_of_their_own(engine):
    model, text = TTSModel.load_model(engine=engine), "Would you like some coffee?"
    names = model.voice_names()
    voices = [model.get_state_for_audio_prompt(name) for name in names]
    spoken = model.generate_batch(voices, [text] * len(names), seeds=[SEED] * len(names))
    samples = len(spoken[names.index("joe")])
    assert [len(audio) for audio in spoken] == [round(samples / PACES[name]) for name in names]
    found = dict(zip(names, map(pitch_of, spoken), strict=True))
    wanted = {name: found["joe"] * factor for name, factor in PITCHES.items()}
    assert found == pytest.approx(wanted, rel=0.1)
    alone = model.generate_audio(voices[0], text, seed=SEED)
    np.testing.assert_allclose(alone, spoken[0], atol=0.02)


def pitch_of(audio: np.ndarray) -> float:
    """The median in Hz."""
    tracker = PitchTracker()
    tracker.push(audio)
    tracker.finish(len(audio))
    periods = np.array([tracker.period(sample) for sample in range(0, len(audio), HOP)])
    return 24_000 / float(np.median(periods[periods > 0]))


@pytest.mark.slow
def test_listeners_would_not_mind(speech):
    pytest.importorskip("speechmos", reason="pip install -r requirements/judge.txt")
    from training.judging.naturalness import naturalness

    hiss = 0.1 * np.random.default_rng(0).standard_normal(len(speech[0]))
    heard, noise = naturalness(speech[:4]).p808.mean(), naturalness([hiss]).p808.mean()
    assert heard >= LEAST_NATURAL > noise


@pytest.mark.slow
def test_it_is_understood(speech):
    pytest.importorskip("faster_whisper", reason="pip install -r requirements/judge.txt")
    from training.judging.recognition import Judge

    verdict = Judge(threads=2).verdict(speech, SENTENCES)
    pairs = list(zip(verdict.references, verdict.heard, strict=True))
    assert verdict.wer <= MOST_WRONG, pairs


@pytest.mark.slow
def test_evaluation_takes_any_sentences_and_engine(tmp_path):
    pytest.importorskip("faster_whisper", reason="pip install -r requirements/judge.txt")
    (tmp_path / "sentences.txt").write_text("\n".join(SENTENCES))
    command = [sys.executable, "-m", "training.evaluate", "--what", "engine", "--count", "2"]
    command += ["--sentences", str(tmp_path / "sentences.txt")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("{")]
    result = json.loads(line)
    assert result["sentences"] == 2 and result["eos_failures"] == 0
    assert result["wer"] <= MOST_WRONG
