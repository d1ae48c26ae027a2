"""Writes an audio book in one file (MP4, AAC) with chapter marks."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np

from pocket_tts_jax.book.contents import Book
from pocket_tts_jax.book.recording import Recording
from pocket_tts_jax.errors import AudioError
from pocket_tts_jax.files.atomic import atomic_file

_BITS = 64_000  # per second: enough for speech at 24 kHz, mono


def write_m4b(path: Path, book: Book, recordings: Sequence[Recording]) -> None:
    """Write all chapters in sequence. Raises AudioError if the file cannot be written."""
    import av

    rate = recordings[0].sample_rate
    with atomic_file(path) as file:
        try:
            with av.open(file, "w", format="ipod") as output:
                output.metadata.update(_about(book))
                output.set_chapters(_marks(book, recordings))
                stream = output.add_stream("aac", rate=rate, layout="mono", bit_rate=_BITS)
                passed = 0
                for recording in recordings:
                    for samples in recording.audio():
                        frame = av.AudioFrame.from_ndarray(
                            np.ascontiguousarray(samples[None]), format="fltp", layout="mono"
                        )
                        frame.rate, frame.pts, frame.time_base = rate, passed, Fraction(1, rate)
                        output.mux(stream.encode(frame))
                        passed += len(samples)
                output.mux(stream.encode(None))
        except av.FFmpegError as error:  # pyright: ignore[reportPrivateImportUsage]
            raise AudioError(f"{path} cannot be written as an audio book: {error}") from error


def _about(book: Book) -> dict[str, str]:
    about = {"title": book.title, "album": book.title, "genre": "Audiobook"}
    return about | ({"artist": book.author} if book.author else {})


def _marks(book: Book, recordings: Sequence[Recording]) -> list:
    marks, passed = [], 0
    for number, (chapter, recording) in enumerate(zip(book.chapters, recordings, strict=True)):
        end = passed + recording.samples
        marks.append(
            {
                "id": number,
                "start": passed,
                "end": end,
                "time_base": Fraction(1, recording.sample_rate),
                "metadata": {"title": chapter.title},
            }
        )
        passed = end
    return marks
