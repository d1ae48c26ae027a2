"""How well a model speaks, by the judge of `training.judging.judge`.

    python -m training.evaluate --model folder/ --frames frames/ --count 40 --page samples.html
    python -m training.evaluate --what codec ...     # real latents through the decoder
    python -m training.evaluate --what teacher ...   # the teacher's own recordings
    python -m training.evaluate --what forced --codec mel.safetensors ...
                                                     # one-step prediction from the true history
    python -m training.evaluate --what engine --model folder/ --sentences file.txt

`--model` is a folder as `training.export` writes it; with `--what engine` also an export for LiteRT
or a name (english; without `--model` the embedded voice), spoken by the package's own engines. In
its place can stand the parts of an unfinished one: `--config`, `--flow-lm`, `--mimi`, `--codec` and
`--tokenizer`, of which `codec` needs the first and third only. The sentences are the held-out ones
of `--frames`, or the lines of `--sentences`.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np

from pocket_tts_jax.config import Config, load_config
from pocket_tts_jax.weights.checkpoint import load_checkpoint
from pocket_tts_jax.weights.expected import parameter_shapes
from training.codec import DECODER
from training.export import gather_tensors
from training.frames import FrameStream, Utterance, open_streams
from training.judging.judge import Judge, Verdict
from training.judging.naturalness import naturalness
from training.loop.checkpoint import read_ema, read_statistics
from training.losses.features import SAMPLE_RATE

PARTS = {"config", "flow_lm", "mimi", "codec", "tokenizer"}
# By subject and whether there is a --model: the options that it needs, and those it reads besides.
OPTIONS = {
    ("model", True): (set(), {"tokenizer", "temperature", "eos_threshold", "seed"}),
    ("model", False): (PARTS, {"last", "temperature", "eos_threshold", "seed"}),
    ("codec", True): (set(), set()),
    ("codec", False): ({"config", "mimi"}, set()),
    ("teacher", False): (set(), set()),
    ("forced", True): ({"codec"}, {"tokenizer", "history_noise", "seed"}),
    ("forced", False): (PARTS, {"last", "history_noise", "seed"}),
    ("engine", True): (set(), {"voice", "seed", "sentences"}),
    ("engine", False): (set(), {"voice", "seed", "sentences"}),
}


def held_out(folder: Path, count: int) -> list[tuple[FrameStream, Utterance]]:
    """The first `count` held-out utterances, taken from the streams in turn."""
    by_stream = [[(s, u) for u in s.utterances if u.held_out] for s in open_streams(folder)]
    longest = max(map(len, by_stream))
    mixed = [rows[i] for i in range(longest) for rows in by_stream if i < len(rows)]
    if not mixed:
        raise FileNotFoundError(
            f"{folder} holds no sentence out. Make the sentences with python -m "
            "training.data.sentences --held-out N, or judge with --what engine --sentences FILE."
        )
    return mixed[:count]


def load_tensors(args: argparse.Namespace) -> tuple[Config, dict[str, np.ndarray]]:
    if args.model:
        config = load_config(args.model / "config.yaml")
        return config, load_checkpoint(args.model / "model.safetensors", parameter_shapes(config))
    config, mimi = load_config(args.config), read_ema(args.mimi)
    if args.what == "codec":
        return config, {f"mimi.{n}": t for n, t in mimi.items() if n.startswith(DECODER)}
    flow_lm, statistics = read_ema(args.flow_lm, args.last), read_statistics(args.codec)
    return config, gather_tensors(config, flow_lm, mimi, *statistics)


def synthesise(
    args: argparse.Namespace, rows: list[tuple[FrameStream, Utterance]]
) -> tuple[list[np.ndarray], dict[str, float]]:
    """The audio to judge, and what else is known of it."""
    if args.what == "teacher":
        return [s.audio(u.first, u.frames) for s, u in rows], {}
    from training.judging.speak import speak_latents, waveform_decoder

    config, tensors = load_tensors(args)
    decode = waveform_decoder(config, tensors)
    if args.what == "codec":
        return [decode(np.array(s.latents[u.first : u.first + u.frames])) for s, u in rows], {}
    import sentencepiece

    tokenizer = sentencepiece.SentencePieceProcessor(model_file=str(args.tokenizer))
    tokens, seed = [tokenizer.encode(u.text) for _, u in rows], args.seed or 0
    if args.what == "forced":
        from training.judging.diagnosis import forced_latents

        noise, statistics = args.history_noise or 0.0, read_statistics(args.codec)
        latents = forced_latents(config, tensors, rows, tokens, statistics, noise, seed)
        return [decode(x) for x in latents], {}
    temperature = args.temperature or 0.0
    spoken = speak_latents(config, tensors, tokens, temperature, args.eos_threshold, seed=seed)
    ratios = [s.frames / u.speech for s, (_, u) in zip(spoken, rows, strict=True)]
    facts = {
        "eos_failures": sum(not s.ended for s in spoken),
        "length_ratio": float(np.mean(ratios)),
        "length_ratio_min": float(np.min(ratios)),
        "length_ratio_max": float(np.max(ratios)),
    }
    return [decode(s.latents) for s in spoken], facts


def speak(texts: list[str], args: argparse.Namespace) -> tuple[list[np.ndarray], dict[str, float]]:
    """The texts by the package's engines, in the model's default voice."""
    from pocket_tts_jax.generation.ending import ChunkReport
    from pocket_tts_jax.tts_model import TTSModel
    from pocket_tts_jax.weights.source import is_published

    named = args.model is not None and is_published(str(args.model))
    model = TTSModel.load_model(
        language=str(args.model) if named else None,
        model=None if named else args.model,
        on_notice=print,
    )
    voice = model.get_state_for_audio_prompt(args.voice or model.default_voice())
    seed = args.seed or 0
    chunks: list[ChunkReport] = []
    audios = [
        np.concatenate(
            list(model.generate_audio_stream(voice, text, seed=seed, on_chunk=chunks.append))
        )
        for text in texts
    ]
    return audios, {"eos_failures": sum(not chunk.eos for chunk in chunks)}


def report(verdict: Verdict, facts: dict[str, float], seconds: float) -> dict[str, float]:
    words = sum(len(r.split()) for r in verdict.references)
    result = {"wer": verdict.wer, "cer": verdict.cer, "sentences": len(verdict.heard)}
    result |= {"words": words, "skipped": verdict.skipped, "added": verdict.added}
    result |= {"words_per_second": words / seconds} | facts
    return {name: round(value, 4) for name, value in result.items()}


def check_options(args: argparse.Namespace) -> str | None:
    """What is wrong with the options: one is missing, or would do nothing."""
    given = {name for name, value in vars(args).items() if value not in (None, False)}
    subject = f"--what {args.what}" + (" with --model" if args.model else "")
    if (args.what, bool(args.model)) not in OPTIONS:
        return f"{subject} makes no sense: no model has a part in it"
    needed, read = OPTIONS[args.what, bool(args.model)]
    known = set().union(*(a | b for a, b in OPTIONS.values()))
    if idle := given & known - needed - read:
        return f"{subject} does not read {_flags(idle)}"
    if missing := needed - given:
        return f"{subject} needs {_flags(missing)}" + ("" if args.model else ", or --model")
    return None


def _flags(names: set[str]) -> str:
    return ", ".join(f"--{name.replace('_', '-')}" for name in sorted(names))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="word error rate on held-out sentences")
    parser.add_argument("--what", choices=sorted({what for what, _ in OPTIONS}), default="model")
    parser.add_argument("--model", type=Path, help="exported folder")
    parser.add_argument("--voice", help="for --what engine: the voice, if not the model's own")
    parser.add_argument("--seed", type=int, help="0; of what is random in model, forced, engine")
    parser.add_argument("--config", type=Path)
    parser.add_argument("--flow-lm", type=Path)
    parser.add_argument("--mimi", type=Path)
    parser.add_argument("--last", action="store_true", help="FlowLM's last tensors, no averages")
    parser.add_argument("--codec", type=Path)
    parser.add_argument("--tokenizer", type=Path)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--frames", type=Path, help="held-out sentences of this folder")
    source.add_argument("--sentences", type=Path, help="for --what engine: one sentence a line")
    parser.add_argument("--count", type=int, default=40)
    parser.add_argument("--temperature", type=float, help="0")
    parser.add_argument("--eos-threshold", type=float)
    parser.add_argument("--history-noise", type=float, help="0; for --what forced")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--show", type=int, default=5, help="transcripts to print")
    parser.add_argument(
        "--naturalness",
        type=int,
        metavar="N",
        help="also estimate opinion scores of every N-th sentence (training.judging.naturalness)",
    )
    parser.add_argument("--page", type=Path, help="HTML page with players and spectrograms")
    parser.add_argument("--json", type=Path, help="append the figures to this file")
    return parser


def main() -> None:
    parser = _parser()
    args = parser.parse_args()
    if wrong := check_options(args):
        parser.error(wrong)
    if args.model and not args.tokenizer:
        args.tokenizer = args.model / "tokenizer.model"
    if args.sentences:
        texts = args.sentences.read_text(encoding="utf-8").splitlines()[: args.count]
    else:
        rows = held_out(args.frames, args.count)
        texts = [u.text for _, u in rows]
    audios, facts = speak(texts, args) if args.what == "engine" else synthesise(args, rows)
    if args.naturalness:
        facts |= naturalness(audios, every=args.naturalness)._asdict()
    verdict = Judge(args.threads).verdict(audios, texts)
    result = report(verdict, facts, sum(map(len, audios)) / SAMPLE_RATE)
    for reference, heard in list(zip(verdict.references, verdict.heard, strict=True))[: args.show]:
        print(f"  said  {reference}\n  heard {heard}")
    print(json.dumps({"what": args.what} | result))
    if args.json:
        line = {"time": time.strftime("%H:%M:%S"), "what": args.what} | result
        with open(args.json, "a") as file:
            file.write(json.dumps(line) + "\n")
    if args.page:
        from training.judging.page import write_page

        write_page(args.page, audios, texts, verdict, result)


if __name__ == "__main__":
    main()
