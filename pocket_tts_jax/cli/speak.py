"""Speaks a text to a file, pipe or loudspeaker, with progress and a report."""

import json
import time
from collections.abc import Generator, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext, suppress
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.progress import Progress, SpinnerColumn, TextColumn

from pocket_tts_jax.alignment.spoken import SpokenWord
from pocket_tts_jax.audio.play import Player, find_player, playing
from pocket_tts_jax.audio.stretch import TimeStretch
from pocket_tts_jax.audio.tags import Tags
from pocket_tts_jax.audio.write import Writer, open_writer
from pocket_tts_jax.cli import signals
from pocket_tts_jax.cli.captions import Captions, check_place, write_text
from pocket_tts_jax.cli.console import say, stderr
from pocket_tts_jax.errors import AudioError, ConfigError
from pocket_tts_jax.files.hub import is_remote, resolve
from pocket_tts_jax.generation.ending import ChunkReport
from pocket_tts_jax.voice.state import VoiceState

if TYPE_CHECKING:
    from pocket_tts_jax.text.pipeline import TextOptions
    from pocket_tts_jax.tts_model import TTSModel

TAIL_SECONDS = 0.2  # silence at the end, which some players cut off; the reference adds it too


@dataclass(frozen=True)
class Targets:
    """The targets of speech: a path or "-" with its format, a player, or both; its report,
    subtitles and word times."""

    path: str | None
    format: str | None
    player: Player | None
    report: Path | None
    captions: Captions


def targets(
    path: str | None,
    format: str | None,
    play: bool,
    default: str,
    report: Path | None = None,
    captions: Captions | None = None,
) -> Targets:
    """The targets of a command line. Raises ConfigError for a format or file without a path."""
    if path is None and not play:
        path = f"{default.removesuffix('.wav')}.{format}" if format else default
    if path is None and format is not None:
        raise ConfigError("--format describes a file or a pipe: name it with -o.")
    if report is not None:
        report = report.expanduser()
        check_place("report", report)
    captions = captions or Captions()
    captions.check()
    return Targets(path, format, find_player() if play else None, report, captions)


@dataclass
class Speech:
    """A text with all its options. `run` speaks it."""

    model: "TTSModel"
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
    seed_was_drawn: bool = False
    chunks: list[dict[str, Any]] = field(default_factory=list, init=False)
    words: list[SpokenWord] = field(default_factory=list, init=False)  # at speed 1
    samples: int = field(default=0, init=False)  # at speed 1

    def run(self, where: Targets, *, quiet: bool = False) -> None:
        """Speak to `where`. Report and captions are written after an interruption too."""
        stretch = TimeStretch(self.speed, self.model.sample_rate)
        name, state = self._voice()
        tags = self.model.tags(name)
        self._tell_how_to_resume(where, quiet)
        start = time.perf_counter()
        timed = where.captions.wanted
        # Before an old file is touched: the text may be refused.
        frames = self._frames(state, timed)
        try:
            # Wait for the player, and raise its error, after the file is complete.
            with self._player(where) as player:
                try:
                    pieces = self._pieces(frames, stretch, quiet)
                    self._speak(pieces, where, tags, player, quiet)
                except KeyboardInterrupt:
                    self._tell_where_to_go_on(where, quiet)
                    raise
                self._tell_what_was_written(where, tags, time.perf_counter() - start, quiet)
        except BaseException:
            with suppress(AudioError):  # behind an error that came first
                self._write_report(where.report, tags)
            with suppress(AudioError):
                self._write_captions(where)
            raise
        finally:
            signals.finish = None
        self._write_report(where.report, tags)
        self._write_captions(where)

    def _speak(
        self,
        pieces: Generator[np.ndarray, None, None],
        where: Targets,
        tags: Tags,
        player: Writer | None,
        quiet: bool,
    ) -> None:
        """Write all `pieces`, or stop when every reader has ended."""
        with closing(pieces):
            first = next(pieces)  # what has no beginning leaves an old file as it was
            if signals.stopping.is_set():
                raise KeyboardInterrupt
            with self._file(where, tags) as file:
                if file is not None and where.path != "-":
                    signals.finish = partial(self._finish_at_once, where, file, tags, quiet)
                self._write(chain([first], pieces), where, file, player, quiet)
        if signals.stopping.is_set():
            raise KeyboardInterrupt

    def _finish_at_once(self, where: Targets, file: Writer, tags: Tags, quiet: bool) -> None:
        """What is done at the end of an interrupted command whose model does not answer."""
        with suppress(AudioError, OSError):
            file.finish()
        with suppress(AudioError):
            self._write_report(where.report, tags)
        self._tell_where_to_go_on(where, quiet)

    def _write(
        self,
        pieces: Iterator[np.ndarray],
        where: Targets,
        file: Writer | None,
        player: Writer | None,
        quiet: bool,
    ) -> None:
        for piece in pieces:
            if file is not None:
                file.write(piece)
            if player is None or _played(player, piece):
                continue
            if file is None:
                return
            say(f"The player has ended; {where.path} is still being written.", quiet=quiet)
            player = None

    def _pieces(
        self, frames: Iterator[np.ndarray], stretch: TimeStretch, quiet: bool
    ) -> Generator[np.ndarray, None, None]:
        """Yield the stretched frames; closes `frames` on exit."""
        try:
            for frame in _computing(_progress(frames, self, quiet)):
                self.samples += frame.shape[0]
                yield stretch.push(frame)
            yield stretch.finish()
        finally:
            if isinstance(frames, Generator):
                frames.close()  # ends the model's thread

    def _voice(self) -> tuple[str, VoiceState]:
        name = self.model.default_voice() if self.voice is None else self.voice
        source = name
        if is_remote(name):
            source = str(resolve(name, what="the voice", offline=self.offline))
        return name, self.model.get_state_for_audio_prompt(source, truncate=self.truncate)

    def _frames(self, voice: VoiceState, timed: bool) -> Iterator[np.ndarray]:
        return self.model.generate_audio_stream(
            voice,
            self.text,
            self.max_tokens,
            self.frames_after_eos,
            seed=self.seed,
            text=self.options,
            first_chunk=self.first_chunk,
            stop=signals.stopping,
            on_chunk=partial(self._add_chunk, voice),
            on_word=self.words.append if timed else None,
        )

    def _file(self, where: Targets, tags: Tags) -> AbstractContextManager[Writer | None]:
        if where.path is None:
            return nullcontext()
        # In place, so that a long text can be played while it grows, and is kept after an error.
        return open_writer(
            where.path,
            self.model.sample_rate,
            format=where.format,
            in_place=True,
            tail_seconds=TAIL_SECONDS,
            tags=tags,
        )

    def _player(self, where: Targets) -> AbstractContextManager[Writer | None]:
        if where.player is None:
            return nullcontext()
        return playing(where.player, self.model.sample_rate)

    def _add_chunk(self, voice: VoiceState, report: ChunkReport) -> None:
        # Pauses are between chunks, so the chunk ends at the current sample.
        length = voice.spoken_samples(report.frames * self.model.frame_size)
        begin = self.samples - length
        times = {"start": self._seconds(begin), "end": self._seconds(self.samples)}
        self.chunks.append(asdict(report) | times)

    def _seconds(self, samples: int) -> float:
        return round(samples / self.speed / self.model.sample_rate, 4)

    def _tell_how_to_resume(self, where: Targets, quiet: bool) -> None:
        """Show the seed that was drawn at the start, so that a killed run can be resumed."""
        if self.seed_was_drawn and self.model.temp > 0 and where.path not in (None, "-"):
            say(f"Seed {self.seed}", quiet=quiet)

    def _tell_what_was_written(self, where: Targets, tags: Tags, took: float, quiet: bool) -> None:
        if where.path not in (None, "-"):
            made_by = f"{tags.engine} {tags.precision}, weights {tags.fingerprint[:8]}"
            spoken = f"{self._seconds(self.samples):.1f} s of speech ({tags.voice}, {made_by})"
            say(f"{where.path}: {spoken} in {took:.1f} s", quiet=quiet)

    def _tell_where_to_go_on(self, where: Targets, quiet: bool) -> None:
        done = self.first_chunk + len(self.chunks)
        if where.path not in (None, "-") and self.samples:
            say(
                f"Interrupted; {where.path} has what was spoken. --seed {self.seed} "
                f"--first-chunk {done} goes on at the chunk that was cut off.",
                quiet=quiet,
            )

    def _write_report(self, path: Path | None, tags: Tags) -> None:
        if path is None:
            return
        content = {
            **asdict(tags),
            "seed": self.seed,
            "speed": self.speed,
            "sample_rate": self.model.sample_rate,
            "seconds": self._seconds(self.samples),
            "chunks": self.chunks,
        }
        write_text("report", path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")

    def _write_captions(self, where: Targets) -> None:
        words = [word.at_speed(self.speed) for word in self.words]
        where.captions.write(self.text, words, self.options.pauses)


def _played(player: Writer, samples: np.ndarray) -> bool:
    """Whether the player still takes samples. If not, its exit status is reported at the end."""
    try:
        player.write(samples)
    except BrokenPipeError:
        return False
    return True


def _computing(frames: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    """The frames; `signals.computing` tells when they are waited for."""
    while True:
        signals.computing.set()
        try:
            frame = next(frames, None)
        finally:
            signals.computing.clear()
        if frame is None:
            return
        yield frame


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
    """Yield the frames, with a progress line at a terminal."""
    with _bar(quiet) as progress:
        task = progress.add_task("Speaking") if progress else None
        start = time.perf_counter()
        for frame in frames:
            yield frame
            if progress is not None and task is not None:
                spoken = speech.samples / speech.model.sample_rate
                pace = spoken / (time.perf_counter() - start)
                text = f"Chunk {len(speech.chunks) + 1}: {spoken:.1f} s, {pace:.1f} × real time"
                progress.update(task, description=text)
