"""What a file of speech says about itself: that it is synthetic, and by what it was made.

WAV carries it in an INFO list, FLAC and OGG in Vorbis comments, Opus in OpusTags, MP3 in ID3.
"""

import struct
from dataclasses import dataclass

from pocket_tts_jax import __version__

# The fields that all of these formats have: soundfile's names, and the ids of a WAV's INFO list.
_INFO_IDS = {"title": b"INAM", "artist": b"IART", "comment": b"ICMT", "software": b"ISFT"}


@dataclass(frozen=True)
class Tags:
    """By what speech was made: `fingerprint` names the weights of the model, `engine` and
    `precision` what computed with them. `TTSModel.tags` makes them."""

    model: str
    voice: str
    engine: str
    precision: str
    fingerprint: str

    def fields(self) -> dict[str, str]:
        """Text by field: title, artist, comment and software."""
        return {
            "title": "Synthetic speech",
            "artist": f"{self.voice} (synthetic voice)",
            "comment": f"AI-generated speech; model={self.model}; voice={self.voice}; "
            f"engine={self.engine}; precision={self.precision}; fingerprint={self.fingerprint}",
            "software": f"pocket-tts-jax {__version__}",
        }


def info_chunk(fields: dict[str, str]) -> bytes:
    """The LIST chunk of a RIFF file that holds `fields`, as UTF-8."""
    entries = b"".join(
        _chunk(_INFO_IDS[name], value.encode() + b"\0") for name, value in fields.items()
    )
    return _chunk(b"LIST", b"INFO" + entries)


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack("<4sI", name, len(data)) + data + b"\0" * (len(data) % 2)
