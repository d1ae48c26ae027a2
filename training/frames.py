"""Speech as a stream of whole latent frames on disk, ready for random access.

    python -m training.frames --shards data/ --out frames/

Takes the teacher's shards (or any folder in their form) and appends what is new: `NAME.pcm`
(int16, 1920 samples a frame) and `NAME.jsonl` (text, source, held_out, first, frames, speech,
ends, pieces, speaker). Each utterance is followed by `TAIL` silent frames, so that a model learns
what to say when nothing is left. Latents, once there is a codec, lie beside in `NAME.latents`, and
the fingerprint of that codec in `latents.codec`.
"""

import json
from pathlib import Path

import numpy as np

from training.command_line import command_parser, run_command
from training.data.spectra import FRAME
from training.data.streams import TAIL, whole_lines
from training.data.teacher import read_shard

SLACK = 240  # samples beyond a whole frame that are cut: the teacher's grid is a little coarse


def append_shard(shard: Path, out: Path) -> int:
    """Appends the utterances of `shard` that `out` lacks; returns how many."""
    out.mkdir(parents=True, exist_ok=True)
    index = out / f"{shard.stem}.jsonl"
    known = whole_lines(index)
    rows = [row for row in read_shard(shard) if row["samples"]][len(known) :]
    if not rows:
        return 0
    pcm = np.memmap(shard.with_suffix(".i16"), np.int16, "r")
    first = sum(json.loads(line)["frames"] for line in known)
    path = out / f"{shard.stem}.pcm"
    path.touch()
    index.touch()
    with open(path, "r+b") as audio_file, open(index, "r+b") as index_file:
        audio_file.truncate(first * FRAME * 2)  # what a kill has left behind the whole lines
        audio_file.seek(0, 2)
        index_file.truncate(sum(len(line) for line in known))
        index_file.seek(0, 2)
        for row in rows:
            audio = pcm[row["offset"] : row["offset"] + row["samples"]]
            speech = max(1, -(-(len(audio) - SLACK) // FRAME))
            frames = speech + TAIL
            audio = audio[: speech * FRAME]
            audio_file.write(np.pad(audio, (0, frames * FRAME - len(audio))).tobytes())
            entry = {k: row[k] for k in ("text", "source", "held_out")}
            # Recordings that were not synthesised have no alignment; one speaker needs no name.
            entry |= {key: row.get(key) for key in ("ends", "pieces", "speaker")}
            entry |= {"first": first, "frames": frames, "speech": speech}
            audio_file.flush()
            index_file.write(json.dumps(entry).encode() + b"\n")
            first += frames
    return len(rows)


def main() -> None:
    parser = command_parser(__doc__)
    parser.add_argument("--shards", type=Path, required=True, help="folder of part*.i16 and .jsonl")
    parser.add_argument("--out", type=Path, required=True, help="folder of frames, added to")
    args = parser.parse_args()
    shards = sorted(args.shards.glob("part*.jsonl"))
    if not shards:
        raise FileNotFoundError(
            f"There is no part*.jsonl in {args.shards}. Run python -m training.data.teacher."
        )
    for index in shards:
        print(index.stem, append_shard(index.with_suffix(""), args.out), "utterances added")


if __name__ == "__main__":
    run_command(main)
