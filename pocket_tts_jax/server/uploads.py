"""Decodes a client's recording in a separate process with limits: the bytes may be malicious, and
some inputs decompress to a multiple of their size."""

import subprocess
import sys
from typing import Any

import numpy as np

from pocket_tts_jax.errors import AudioError
from pocket_tts_jax.shapes import Float

SECONDS = 20  # for the process, from start to end
LONGEST = 600  # seconds of audio
_MEMORY = 1 << 30
_HEADER = 8  # the rate, before the samples


def decode_recording(data: bytes) -> tuple[Float[np.ndarray, " samples"], int]:
    """Samples and rate of a recording. Raises AudioError if it cannot be read within the limits."""
    try:
        result = subprocess.run(
            [sys.executable, "-m", "pocket_tts_jax.server.uploads"],
            input=data,
            capture_output=True,
            timeout=SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise AudioError(f"The recording could not be decoded within {SECONDS} seconds.") from None
    if result.returncode != 0 or len(result.stdout) < _HEADER:
        reason = result.stderr.decode(errors="replace").strip().splitlines()
        known = reason[-1] if reason and result.returncode == 2 else ""
        raise AudioError(known or "The recording cannot be decoded: give a WAV, FLAC, MP3 or OGG.")
    rate = int(np.frombuffer(result.stdout[:_HEADER], "<i8")[0])
    return np.frombuffer(result.stdout[_HEADER:], "<f4"), rate


def _limit_itself() -> None:
    """Limit the memory and time of this process."""
    if sys.platform == "win32":
        return
    import resource

    limits: Any = resource
    for what, most in ((limits.RLIMIT_AS, _MEMORY), (limits.RLIMIT_CPU, SECONDS)):
        limits.setrlimit(what, (most, most))
    limits.setrlimit(limits.RLIMIT_FSIZE, (0, 0))


def _main() -> int:
    """Read a recording from standard input; write its rate and samples to standard output."""
    _limit_itself()
    from pocket_tts_jax.audio.read import read_audio

    try:
        samples, rate = read_audio(sys.stdin.buffer.read())
    except AudioError as error:
        print(error, file=sys.stderr)
        return 2
    if samples.shape[0] > LONGEST * rate:
        print(f"The recording is longer than {LONGEST} seconds.", file=sys.stderr)
        return 2
    sys.stdout.buffer.write(np.int64(rate).astype("<i8").tobytes())
    sys.stdout.buffer.write(samples.astype("<f4").tobytes())
    return 0


if __name__ == "__main__":
    sys.exit(_main())
