"""Checks the contents of a file against its ending, so that an error page is not kept as a
model."""

import os
import struct
from pathlib import PurePath
from typing import Any, BinaryIO

from pocket_tts_jax.files.read import parse_json

_LARGEST_HEADER = 100 << 20  # the format's own limit
_BEGINNINGS = {
    ".wav": (b"RIFF", b"RIFX", b"RF64"),
    ".flac": (b"fLaC", b"ID3"),
    ".ogg": (b"OggS",),
    ".opus": (b"OggS",),
    ".mp3": (b"ID3", b"\xff"),
    ".json": (b"{", b"["),
}
_PAGE = (b"<!doctype", b"<html", b"<?xml", b"<head", b"<body")


def read_safetensors_header(file: BinaryIO) -> tuple[dict[str, Any], int]:
    """The header of an open safetensors file, without its metadata, and where the data begins.

    The format: https://huggingface.co/docs/safetensors (8 bytes of header length, a JSON header,
    the data). Raises ValueError if the size of the data does not match the header.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    length = file.read(8)
    if len(length) < 8:
        raise ValueError("it is shorter than 8 bytes")
    (header_size,) = struct.unpack("<Q", length)
    if header_size > min(_LARGEST_HEADER, size - 8):
        raise ValueError("it is shorter than its own header says")
    header = parse_json(file.read(header_size).decode())
    try:
        header.pop("__metadata__", None)
        stored = max((entry["data_offsets"][1] for entry in header.values()), default=0)
    except (AttributeError, KeyError, IndexError, TypeError) as error:
        raise ValueError("its header does not describe tensors") from error
    if stored != size - 8 - header_size:
        raise ValueError(
            f"{stored} bytes of tensors were promised, {size - 8 - header_size} are there"
        )
    return header, 8 + header_size


def check_content(file: BinaryIO, name: str) -> None:
    """Raise ValueError for a file that does not match the ending of `name`, or is a web page."""
    file.seek(0)
    beginning = file.read(64).removeprefix(b"\xef\xbb\xbf").lstrip()
    if not beginning:
        raise ValueError("it is empty")
    if beginning.lower().startswith(_PAGE):
        raise ValueError("it is a web page, perhaps one to log in or with an error")
    suffix = PurePath(name).suffix.lower()
    if suffix == ".safetensors":
        read_safetensors_header(file)
    elif suffix in _BEGINNINGS and not beginning.startswith(_BEGINNINGS[suffix]):
        raise ValueError(f"it does not begin like a {suffix} file")


def shows_its_end(name: str) -> bool:
    """Whether `check_content` detects that a file with this ending is incomplete."""
    return PurePath(name).suffix.lower() == ".safetensors"
