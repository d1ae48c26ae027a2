"""What a process and its workers say to each other, as pickles through two pipes.

The first message to a worker is a function that makes its engine; the first answer is `Ready`, or
the error. Then streams begin and end on request. A stream has a number, and asks for its prompts
one after the other, since a text may still be on its way.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import IO, Any

from pocket_tts_jax.alignment.spoken import SpokenWord
from pocket_tts_jax.errors import TTSError
from pocket_tts_jax.generation.ending import ChunkReport
from pocket_tts_jax.generation.engine import Audio, Engine
from pocket_tts_jax.generation.sampling import Sampling
from pocket_tts_jax.text.pauses import Pause
from pocket_tts_jax.text.prepare import Prompt
from pocket_tts_jax.voice.state import VoiceState

AHEAD = 32
"""Frames that a stream may be ahead of its listener."""
TAKEN = 8
"""Frames after which a listener says that they were taken."""
MakeEngine = Callable[[], Engine]


@dataclass(frozen=True)
class Begin:
    """Begin a stream. `voice` is kept under the number `keep`; None is the one that is there."""

    stream: int
    voice: VoiceState | None
    keep: int
    sampling: Sampling
    first_chunk: int
    words: bool


@dataclass(frozen=True)
class Forget:
    """Keep a voice no longer."""

    voice: int


@dataclass(frozen=True)
class Next:
    """The next prompt or pause of a stream; None is the end of its text, `BROKEN` an error there,
    which the sender keeps."""

    stream: int
    item: Prompt | Pause | None | str


BROKEN = "broken"


@dataclass(frozen=True)
class Taken:
    """The listener has taken `TAKEN` more frames."""

    stream: int


@dataclass(frozen=True)
class Stop:
    """End a stream."""

    stream: int


Order = Begin | Forget | Next | Taken | Stop


@dataclass(frozen=True)
class Ready:
    """The engine is loaded."""


@dataclass(frozen=True)
class Asks:
    """A stream needs its next prompt."""


@dataclass(frozen=True)
class Ended:
    """A stream is over."""

    error: TTSError | None = None


Said = Audio | ChunkReport | SpokenWord | Asks | Ended
Pipe = IO[Any]
