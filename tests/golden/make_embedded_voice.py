"""Statistics of the embedded voice: python -m tests.golden.make_embedded_voice"""

import json
from pathlib import Path

import numpy as np

SEED = 7
SENTENCES = (
    "Hello! I was made on your own computer.",
    "The train to Boston leaves at seven fifteen.",
    "Would you like some coffee or a glass of water?",
    "My sister bought a small red car last week.",
    "Please close the window, because it is cold outside.",
    "It will be sunny tomorrow, with a little wind.",
    "The museum is next to the old library.",
    "There are twelve people waiting in the garden.",
    "I think we should call the doctor right now.",
    "Thank you very much, and have a good evening.",
)


def statistics(audio: np.ndarray) -> dict[str, float]:
    """Frames of 80 ms, root mean square, and the mean frequency (Hz) weighted by magnitude."""
    magnitude = np.abs(np.fft.rfft(audio))
    frequency = np.fft.rfftfreq(len(audio), 1 / 24_000)
    return {
        "frames": len(audio) // 1920,
        "rms": round(float(np.sqrt(np.mean(np.square(audio)))), 5),
        "centroid": round(float((frequency * magnitude).sum() / magnitude.sum()), 1),
    }


def main() -> None:
    from pocket_tts_jax import TTSModel

    model = TTSModel.load_model()
    voice = model.get_state_for_audio_prompt(model.default_voice())
    found = {text: statistics(model.generate_audio(voice, text, seed=SEED)) for text in SENTENCES}
    path = Path(__file__).parent / "embedded_voice.json"
    path.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
