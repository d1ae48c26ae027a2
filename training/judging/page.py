"""A page to listen to: a player, a spectrogram and the judge's transcript for each sentence."""

import base64
import html
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile
from jaxtyping import Float

from training.data.spectra import MEL_HOP, SAMPLE_RATE, log_mel
from training.judging.recognition import Verdict

STYLE = """body{font:15px sans-serif;max-width:60em;margin:2em auto;color:#222}
article{border-top:1px solid #ccc;padding:1em 0}img{width:100%;height:140px;display:block}
audio{width:100%}.wrong{color:#b00}table{border-collapse:collapse}td{padding:0 1em 0 0}"""


def write_page(
    path: Path,
    audios: Sequence[Float[np.ndarray, " n"]],
    texts: Sequence[str],
    verdict: Verdict,
    figures: dict[str, float],
    limit: int = 30,
) -> None:
    """One self-contained HTML file (audio and pictures inside) of the first `limit` sentences."""
    rows = "".join(f"<tr><td>{k}</td><td>{v}</td></tr>" for k, v in figures.items())
    articles = [
        _article(audio, text, heard, wrong)
        for audio, text, heard, wrong in zip(
            audios[:limit], texts, verdict.heard, verdict.errors, strict=False
        )
    ]
    page = f"<!doctype html><meta charset=utf-8><title>Samples</title><style>{STYLE}</style>"
    path.write_text(f"{page}<table>{rows}</table>{''.join(articles)}", encoding="utf-8")


def _article(audio: Float[np.ndarray, " n"], text: str, heard: str, wrong: int) -> str:
    sound, picture = io.BytesIO(), io.BytesIO()
    soundfile.write(sound, audio, SAMPLE_RATE, format="WAV", subtype="PCM_16")
    _spectrogram(audio, picture)
    player = f'<audio controls src="data:audio/wav;base64,{_base64(sound)}"></audio>'
    image = f'<img alt="log-mel spectrogram" src="data:image/png;base64,{_base64(picture)}">'
    label = f'<p class="{"wrong" if wrong else "right"}">heard: {html.escape(heard)}</p>'
    return f"<article><p>{html.escape(text)}</p>{player}{image}{label}</article>"


def _spectrogram(audio: Float[np.ndarray, " n"], out: io.BytesIO) -> None:
    from matplotlib import image

    mel = log_mel(audio[: len(audio) // MEL_HOP * MEL_HOP]).T[::-1]
    image.imsave(out, mel, format="png", cmap="magma", vmin=-9, vmax=0)


def _base64(data: io.BytesIO) -> str:
    return base64.b64encode(data.getvalue()).decode()
