"""The embedded voice beside its teacher, to hear and to see.

`python docs/compare_voices.py` writes docs/static/compared: each sentence by both as MP3, and a
picture of their spectrograms. The teacher draws its noise anew each time. It needs
requirements/teacher.txt and the extra `train`, which those who build the site may lack: so the
files are kept in git, and the page is made of them.
"""

import sys
from pathlib import Path

import numpy as np
import soundfile
from jaxtyping import Float

DOCS = Path(__file__).resolve().parent
FOLDER = DOCS / "static" / "compared"
# Of the list `new` (training/judging/lists), which no choice was made by.
SENTENCES = (
    "The kettle clicked off before anyone noticed it was boiling.",
    "Could you send me the address again, please?",
    "A thin layer of frost covered every car on our street.",
)
RATE = 24_000
WINDOW, HOP = 600, 120  # samples: 25 ms, every 5 ms
FLOOR = -70.0  # dB below the loudest of both
TOP = 9  # kHz: there is nothing above


def speak_by_teacher(sentences: tuple[str, ...], tokenizer: Path) -> list[np.ndarray]:
    """As its makers published it."""
    from training.data.teacher import Teacher
    from training.data.tokenizer import open_tokenizer

    teacher, reader = Teacher.plain(), open_tokenizer(tokenizer)
    return [teacher.speak(reader.encode(text, out_type=str))[0] for text in sentences]


def speak_by_model(sentences: tuple[str, ...]) -> tuple[list[np.ndarray], Path]:
    """The embedded voice by its default engine, and its tokenizer."""
    from pocket_tts_jax import TTSModel

    model = TTSModel.load_model()
    voice = model.get_state_for_audio_prompt(model.default_voice())
    audios = [model.generate_audio(voice, text, seed=7) for text in sentences]
    return audios, Path(model.source.tokenizer)


def spectrogram(audio: Float[np.ndarray, " n"]) -> Float[np.ndarray, "f t"]:
    """Power in dB, of overlapping Hann windows."""
    frames = np.lib.stride_tricks.sliding_window_view(audio, WINDOW)[::HOP]
    return 20 * np.log10(np.abs(np.fft.rfft(frames * np.hanning(WINDOW))).T + 1e-6)


def draw(path: Path, spoken: dict[str, np.ndarray]) -> None:
    """One panel for each, over the same seconds and with the same colours."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    pictures = {name: spectrogram(audio) for name, audio in spoken.items()}
    loudest = max(picture.max() for picture in pictures.values())
    figure, panels = pyplot.subplots(len(spoken), 1, figsize=(8, 4), sharex=True)
    for panel, (name, picture) in zip(panels, pictures.items(), strict=True):
        seconds = len(spoken[name]) / RATE
        panel.imshow(
            picture,
            origin="lower",
            aspect="auto",
            extent=(0, seconds, 0, RATE / 2000),
            vmin=loudest + FLOOR,
            vmax=loudest,
            cmap="magma",
        )
        panel.set(title=name, ylabel="kHz", ylim=(0, TOP), facecolor="black")
    panels[-1].set(xlabel="seconds", xlim=(0, max(map(len, spoken.values())) / RATE))
    figure.tight_layout()
    figure.savefig(path, dpi=80, pil_kwargs={"quality": 80})
    pyplot.close(figure)


def main() -> None:
    own, tokenizer = speak_by_model(SENTENCES)
    taught = speak_by_teacher(SENTENCES, tokenizer)
    FOLDER.mkdir(parents=True, exist_ok=True)
    for number, (teacher, voice) in enumerate(zip(taught, own, strict=True), start=1):
        spoken = {"teacher": teacher, "embedded voice": voice}
        for name, audio in zip(("teacher", "embedded"), spoken.values(), strict=True):
            soundfile.write(FOLDER / f"{name}-{number}.mp3", audio, RATE)
        draw(FOLDER / f"spectrograms-{number}.jpg", spoken)


def comparison() -> str:
    """Markdown: the players of each sentence, and its picture."""
    return "\n".join(
        f"**{text}**\n\n| teacher | embedded voice |\n|---|---|\n"
        f"| {_player('teacher', n)} | {_player('embedded', n)} |\n\n"
        f"![Spectrograms of both](static/compared/spectrograms-{n}.jpg)\n"
        for n, text in enumerate(SENTENCES, start=1)
    )


def _player(name: str, number: int) -> str:
    return f'<audio controls preload="none" src="_static/compared/{name}-{number}.mp3"></audio>'


if __name__ == "__main__":
    sys.path.insert(0, str(DOCS.parent))
    main()
