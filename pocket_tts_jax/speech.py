"""One text spoken into files, pipes and loudspeakers, with progress and a report."""

import json
import time
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.progress import Progress, SpinnerColumn, TextColumn

from pocket_tts_jax.atomic import atomic_file
from pocket_tts_jax.console import say, stderr
from pocket_tts_jax.errors import AudioError, ConfigError
from pocket_tts_jax.generate import ChunkReport
from pocket_tts_jax.hub import is_remote, resolve
from pocket_tts_jax.player import Player, find_player, playing
from pocket_tts_jax.stretch import TimeStretch
from pocket_tts_jax.voices import VoiceState
from pocket_tts_jax.writer import Writer, open_writer

if TYPE_CHECKING:
    from pocket_tts_jax.speech_model import SpeechModel
    from pocket_tts_jax.text_options import TextOptions

TAIL_SECONDS = 0.2  # of silence: some players swallow the end of a file; the reference adds it too


@dataclass(frozen=True)
class Targets:
    """Where speech goes: a path or "-" with its format, a player, or both."""

    path: str | None
    format: str | None
    player: Player | None


def targets(path: str | None, format: str | None, play: bool, default: str) -> Targets:
    """The targets of a command line. ConfigError where a format has nowhere to go."""
    if path is None and not play:
        path = f"{default.removesuffix('.wav')}.{format}" if format else default
    if path is None and format is not None:
        raise ConfigError("--format and --raw describe a file or a pipe: name it with -o.")
    return Targets(path, format, find_player() if play else None)


@dataclass
class Speech:
    """A text with everything that decides how it sounds. `run` speaks it."""

    speaker: "SpeechModel"
    engine: str
    text: str
    voice: str | None
    seed: int
    options: "TextOptions"
    max_tokens: int | None = None
    frames_after_eos: int | None = None
    first_chunk: int = 0
    speed: float = 1.0
    truncate: bool = True
    offline: bool = False
    chunks: list[dict[str, Any]] = field(default_factory=list, init=False)
    samples: int = field(default=0, init=False)  # at speed 1

    def run(self, where: Targets, *, report: Path | None = None, quiet: bool = False) -> None:
        """Speak into `where`; the report is written also when it was interrupted."""
        stretch = TimeStretch(self.speed, self.speaker.sample_rate)
        name, state = self._voice()
        start = time.perf_counter()
        frames = self._frames(state)  # before an old file is touched: the text may be refused
        try:
            with ExitStack() as stack:
                writers = self._writers(where, stack)
                stack.callback(_close, frames)
                for frame in _progress(frames, self, quiet):
                    self.samples += frame.shape[0]
                    _write(writers, stretch.push(frame))
                _write(writers, stretch.finish())
        except KeyboardInterrupt:
            self._tell_where_to_go_on(where, quiet)
            raise
        finally:
            if report is not None:
                self._write_report(report, name)
        if where.path not in (None, "-"):
            took = time.perf_counter() - start
            seconds = self._seconds(self.samples)
            line = (
                f"{where.path}: {seconds:.1f} s of speech ({name}, {self.engine}) in {took:.1f} s"
            )
            say(line, quiet=quiet)

    def _voice(self) -> tuple[str, VoiceState]:
        name = self.speaker.default_voice() if self.voice is None else self.voice
        source = name
        if is_remote(name):
            source = str(resolve(name, what="the voice", offline=self.offline))
        return name, self.speaker.get_state_for_audio_prompt(source, truncate=self.truncate)

    def _frames(self, voice: VoiceState) -> Iterator[np.ndarray]:
        return self.speaker.generate_audio_stream(
            voice,
            self.text,
            self.max_tokens,
            self.frames_after_eos,
            seed=self.seed,
            text=self.options,
            first_chunk=self.first_chunk,
            on_chunk=self._add_chunk,
        )

    def _writers(self, where: Targets, stack: ExitStack) -> list[Writer]:
        rate, writers = self.speaker.sample_rate, []
        if where.path is not None:
            # In place: a long text can be listened to, and is kept, while it grows.
            writer = open_writer(
                where.path, rate, format=where.format, in_place=True, tail_seconds=TAIL_SECONDS
            )
            writers.append(stack.enter_context(writer))
        if where.player is not None:
            writers.append(stack.enter_context(playing(where.player, rate)))
        return writers

    def _add_chunk(self, report: ChunkReport) -> None:
        # Pauses lie between chunks: a chunk's own frames end where the samples end now.
        begin = self.samples - report.frames * self.speaker_frame
        times = {"start": self._seconds(begin), "end": self._seconds(self.samples)}
        self.chunks.append(asdict(report) | times)

    @property
    def speaker_frame(self) -> int:
        return round(self.speaker.sample_rate * 0.08)

    def _seconds(self, samples: int) -> float:
        return round(samples / self.speed / self.speaker.sample_rate, 4)

    def _tell_where_to_go_on(self, where: Targets, quiet: bool) -> None:
        done = self.first_chunk + len(self.chunks)
        if where.path not in (None, "-") and self.samples:
            say(
                f"Interrupted; {where.path} has what was spoken. --seed {self.seed} "
                f"--first-chunk {done} goes on at the chunk that was cut off.",
                quiet=quiet,
            )

    def _write_report(self, path: Path, voice: str) -> None:
        content = {
            "engine": self.engine,
            "voice": voice,
            "seed": self.seed,
            "speed": self.speed,
            "sample_rate": self.speaker.sample_rate,
            "seconds": self._seconds(self.samples),
            "chunks": self.chunks,
        }
        data = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
        try:
            with atomic_file(path.expanduser()) as file:
                file.write(data.encode())
        except OSError as error:
            raise AudioError(f"The report {path} cannot be written: {error}") from error


def _close(frames: Iterator[np.ndarray]) -> None:
    if isinstance(frames, Generator):
        frames.close()  # ends the model's thread


def _write(writers: list[Writer], samples: np.ndarray) -> None:
    for writer in writers:
        writer.write(samples)


@contextmanager
def _bar(quiet: bool) -> Iterator[Progress | None]:
    console = stderr()
    if quiet or not console.is_terminal:
        yield None
        return
    columns = SpinnerColumn(), TextColumn("{task.description}")
    with Progress(*columns, console=console, transient=True) as progress:
        yield progress


def _progress(frames: Iterator[np.ndarray], speech: Speech, quiet: bool) -> Iterator[np.ndarray]:
    """The frames, with a line about them at a terminal."""
    with _bar(quiet) as progress:
        task = progress.add_task("Speaking") if progress else None
        start = time.perf_counter()
        for frame in frames:
            yield frame
            if progress is not None and task is not None:
                spoken = speech.samples / speech.speaker.sample_rate
                pace = spoken / (time.perf_counter() - start)
                text = f"Chunk {len(speech.chunks) + 1}: {spoken:.1f} s, {pace:.1f} × real time"
                progress.update(task, description=text)
