"""Turns a recording into a voice prompt, and reports on its quality.

The model was trained on prompts that end in a pause between two words. It continues a prompt that
stops inside a word, and starts late after a prompt that ends in long silence. So the end is cut and
faded as in the reference.
"""

from dataclasses import dataclass

import numpy as np

from pocket_tts_jax.audio.read import resample
from pocket_tts_jax.errors import AudioError
from pocket_tts_jax.shapes import Float

LONGEST_SECONDS = 30.0
_SHORTEST_SECONDS = 0.08  # one latent frame
_SHORT_SECONDS = 1.0
_FRAME_SECONDS = 0.02
_FLOOR_DB = 35.0
_FADE_SECONDS = 0.02
_PAUSE_SECONDS = 0.08
_LEAD_SECONDS = 0.04
_SILENT_DB = -70.0
_QUIET_DB = -45.0
_NOISY_DB = 15.0
_CLIPPED_SHARE = 1e-3
_FULL_SCALE = 0.999


@dataclass(frozen=True)
class PromptReport:
    """What was found in a recording. Levels are of 20 ms frames, in dB of full scale."""

    seconds: float
    """Length as given."""
    used_seconds: float
    """Length of the prompt, including the pause at its end."""
    level_db: float
    """RMS of the loudest frame."""
    snr_db: float
    """Level of loud frames (90th percentile) over quiet ones (10th): speech over background."""
    clipped: float
    """Share of the samples at full scale."""
    truncated: bool
    warnings: tuple[str, ...]
    """One sentence for each problem; empty for a good recording."""


def prepare_prompt(
    audio: Float[np.ndarray, " n"],
    rate: int,
    *,
    truncate: bool,
    sample_rate: int = 24000,
    trim_start: bool = False,
) -> tuple[Float[np.ndarray, " m"], PromptReport]:
    """The prompt to encode, [m] at `sample_rate` Hz, and a report on the recording.

    `truncate` keeps the first 30 s. Trailing silence is cut, the last 20 ms fade out, and 80 ms of
    silence follow; for a recording at `sample_rate` the result equals the reference's. `trim_start`
    also cuts leading silence, which the reference does not do. Raises AudioError for silence and
    for less than 80 ms.
    """
    seconds = audio.shape[0] / rate
    if seconds < _SHORTEST_SECONDS:
        raise AudioError(
            f"The recording has only {seconds:.3f} s. Give a few seconds of clear speech."
        )
    truncated = truncate and seconds > LONGEST_SECONDS
    if truncated:
        audio = audio[: int(LONGEST_SECONDS * rate)]
    levels = frame_levels(audio, rate)
    if levels.max() < _SILENT_DB:
        raise AudioError(
            f"The recording is silent (its loudest 20 ms have {levels.max():.0f} dB). Check the "
            "microphone or the file, and give a few seconds of clear speech."
        )
    prompt = resample(audio, rate, sample_rate)
    if trim_start:
        prompt = _cut_leading_silence(prompt, sample_rate)
    prompt = end_on_pause(prompt, sample_rate)
    quiet, loud = np.percentile(levels, [10, 90])
    report = PromptReport(
        seconds=seconds,
        used_seconds=prompt.shape[0] / sample_rate,
        level_db=float(levels.max()),
        snr_db=float(loud - quiet),
        clipped=float(np.mean(np.abs(audio) >= _FULL_SCALE)),
        truncated=truncated,
        warnings=(),
    )
    return prompt, _with_warnings(report)


def frame_levels(audio: Float[np.ndarray, " n"], rate: int) -> Float[np.ndarray, " frames"]:
    """RMS of each whole 20 ms, in dB of full scale; digital silence is -240."""
    frame = max(1, int(_FRAME_SECONDS * rate))
    whole = audio.shape[0] // frame
    squares = np.square(audio[: whole * frame].astype(np.float64).reshape(whole, frame))
    return 20 * np.log10(np.sqrt(squares.mean(axis=1)) + 1e-12)


def end_on_pause(audio: Float[np.ndarray, " n"], rate: int) -> Float[np.ndarray, " m"]:
    """Cut the end 35 dB or more below the loudest 20 ms, fade out 20 ms, add 80 ms of zeros."""
    levels = frame_levels(audio, rate)
    if levels.size == 0:
        return audio
    loud = np.flatnonzero(levels > levels.max() - _FLOOR_DB)
    end = (int(loud[-1]) + 1) * int(_FRAME_SECONDS * rate)
    fade = min(int(_FADE_SECONDS * rate), end)
    result = np.zeros(end + int(_PAUSE_SECONDS * rate), np.float32)
    result[:end] = audio[:end]
    result[end - fade : end] *= np.linspace(1, 0, fade).astype(np.float32)
    return result


def _cut_leading_silence(audio: Float[np.ndarray, " n"], rate: int) -> Float[np.ndarray, " m"]:
    """Cut leading silence but 40 ms: the onset of a word may be quiet."""
    levels = frame_levels(audio, rate)
    first = int(np.flatnonzero(levels > levels.max() - _FLOOR_DB)[0])
    start = first * int(_FRAME_SECONDS * rate) - int(_LEAD_SECONDS * rate)
    return audio[max(start, 0) :]


def _with_warnings(report: PromptReport) -> PromptReport:
    speech = report.used_seconds - _PAUSE_SECONDS
    findings = (
        (
            report.truncated,
            f"The recording has {report.seconds:.1f} s; its first {LONGEST_SECONDS:.0f} are used.",
        ),
        (
            not report.truncated and report.seconds > LONGEST_SECONDS,
            f"The recording has {report.seconds:.1f} s; beyond {LONGEST_SECONDS:.0f} a voice "
            "costs memory and time. Truncate it.",
        ),
        (
            speech < _SHORT_SECONDS,
            f"There are only {speech:.2f} s of speech in the recording; the voice will be "
            "unsteady. Give 5 to 30 s.",
        ),
        (
            report.clipped > _CLIPPED_SHARE,
            f"The recording is clipped ({report.clipped:.1%} of its samples are at full scale), "
            "which the voice will copy. Record it at a lower level.",
        ),
        (
            report.level_db < _QUIET_DB,
            f"The recording is very quiet (loudest 20 ms: {report.level_db:.0f} dB). Record it "
            "closer or louder.",
        ),
        (
            report.snr_db < _NOISY_DB,
            f"Speech stands out only {report.snr_db:.0f} dB from what lies between the words; the "
            "voice will copy the noise. Record it in a quieter place, or clean it.",
        ),
    )
    warnings = tuple(text for found, text in findings if found)
    return PromptReport(**{**vars(report), "warnings": warnings})
