"""Fine-tune any model in the published format on recordings with transcripts.

    python -m training.finetune adapters --model english --data recordings/ --out tuned/
    python -m training.finetune full     ...
    python -m training.finetune voice    ... --voice VOICE

`recordings/` holds NAME.wav with NAME.txt, sentences of at most 20 seconds. `adapters` trains
low-rank additions to FlowLM's matrices, `full` all of FlowLM, and `voice` nothing but the voice
state, starting from `--voice`. The result in `--out` is a model folder that speaks at once:
`pocket-tts-jax generate "Hello." --model tuned/`. A few recordings are held out, and the model
before and after is judged by them. The run itself lies in `OUT/training.safetensors` and goes on
from there when the command is given again.

A model without a trained encoder, such as the embedded voice, needs `--codec`: the mel codec whose
latents it has learned (`training/joe_mel_codec.safetensors` for the embedded voice).
"""

import argparse
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Array

from pocket_tts_jax import TTSModel
from pocket_tts_jax.config import Config
from pocket_tts_jax.errors import VoiceError
from pocket_tts_jax.model.attention import KVCache
from pocket_tts_jax.text.tokenizer import load_tokenizer
from pocket_tts_jax.voice.state import VoiceState
from pocket_tts_jax.weights.expected import under
from pocket_tts_jax.weights.source import ModelSource
from training.batches.examples import Example
from training.batches.recordings import (
    Codec,
    RecordingBatches,
    encode_recordings,
    hold_out,
    mel_codec,
    own_codec,
)
from training.command_line import command_parser, positive, run_command
from training.errors import TrainingError
from training.judging.subjects import open_named
from training.judging.tuning import (
    USELESS,
    Judgement,
    comparison,
    latent_error,
    recogniser_missing,
    words_misheard,
)
from training.loop.adapters import merge_adapters, new_adapters
from training.loop.checkpoint import read_ema
from training.loop.log import TrainingLog
from training.loop.published import start_voice, write_folder
from training.loop.trainer import Optimisation, Schedule, Trainer, run
from training.losses.flow_lm import LMObjective, lm_loss

# No alignments are known here, and history noise is moderate.
TUNING = LMObjective(map=0.0, align=0.0, history_noise=(0.0, 0.5), history_dropout=0.05)
# What teaches each kind of head a distribution, not its mean: a flow for those that take times, a
# proper score for those that make a latent of the noise in one step.
OBJECTIVES = {
    "lsd": replace(TUNING, flow=0.75, distill=0.25),
    "flow_matching": replace(TUNING, flow=1.0),
    "drifting": replace(TUNING, flow=0.0, energy=1.0),
    "pointwise": replace(TUNING, flow=0.0, energy=1.0),
}
FIXED = ("emb_mean", "emb_std", "freqs", "speaker_proj_weight")
Merge = Callable[[Mapping[str, Any]], tuple[dict[str, Any], KVCache | None]]


def trainable_part(
    what: str, flow_lm: dict[str, np.ndarray], voice: VoiceState | None, rank: int
) -> tuple[dict[str, np.ndarray], Merge]:
    """What is trained, and how FlowLM's tensors and the voice are made of it."""
    state = _cache(voice)
    if what == "adapters":
        return new_adapters(flow_lm, rank), lambda t: (merge_adapters(flow_lm, t), state)
    if what == "full":
        free = {n: t for n, t in flow_lm.items() if not n.endswith(FIXED)}
        return free, lambda t: (flow_lm | dict(t), state)
    if voice is None:
        raise VoiceError("Tuning a voice needs one to start from: give --voice, a name or a file.")
    start = {"voice.k": voice.k, "voice.v": voice.v}
    return start, lambda t: (flow_lm, KVCache(t["voice.k"], t["voice.v"]))


def _cache(voice: VoiceState | None) -> KVCache | None:
    return None if voice is None else KVCache(voice.k, voice.v)  # pyright: ignore


def objective_of(config: Config) -> LMObjective:
    """What the model is tuned by. The embedded voice and others that speak at temperature 0 say
    means: it goes on as `training.flow_lm` taught it, without alignments."""
    head = config.flow_lm.flow
    if config.default_temperature == 0:
        return LMObjective(flow=0.25 if head.time_conditions else 0.0, align=0.0)
    return OBJECTIVES[head.type]


def make_loss(config: Config, merge: Merge) -> Callable:
    objective = objective_of(config)

    def loss(trainable: dict[str, Array], batch: Any, key: Array) -> tuple[Array, Any]:
        params, voice = merge(trainable)
        return lm_loss(params, batch, key, config, objective, voice)

    return loss


def choose_codec(
    source: ModelSource, tensors: Mapping[str, np.ndarray], path: Path | None
) -> Codec:
    """What turns recordings into latents. TrainingError where the model's own encoder is none:
    latents that FlowLM never learned would ruin it."""
    if path is not None:
        return mel_codec(source.config, path)
    if not source.has_voice_cloning:
        raise TrainingError(
            f"The encoder of the model {source.name} is not trained, and tuning by its latents "
            "would ruin the model. Give --codec, the mel codec that made the latents in its "
            "training (the embedded voice's is training/joe_mel_codec.safetensors)."
        )
    return own_codec(source.config, tensors)


def finetune(args: argparse.Namespace) -> None:
    base = open_named(args.model, "jax")
    source, tensors = base.source, base.source.load_tensors()
    codec = choose_codec(source, tensors, args.codec)
    bins = source.config.flow_lm.lookup_table.n_bins
    tokenizer = load_tokenizer(source.tokenizer_kind, source.tokenizer, bins)
    examples = list(encode_recordings(args.data, source.config, tokenizer, codec))
    kept, held = hold_out(examples, args.held_out)
    voice = base.get_state_for_audio_prompt(args.voice) if args.voice else None
    flow_lm = under(tensors, "flow_lm.")
    start, merge = trainable_part(args.what, flow_lm, voice, args.rank)
    print(f"{len(kept)} recordings to train on, {len(held)} held out to judge by", flush=True)
    error = report_start(source.config, flow_lm, voice, held)
    train(args, source.config, start, merge, kept)
    tuned, cache = merge(read_ema(args.out / "training.safetensors"))
    merged = tensors | {f"flow_lm.{n}": np.asarray(t) for n, t in tuned.items()}
    about = {"source": f"training.finetune {args.what}"}
    if cache is None:
        state = start_voice(source.config, merged, about)
    else:
        state = VoiceState(np.asarray(cache.k), np.asarray(cache.v), metadata=about)
    write_folder(args.out, source, merged, {args.name: state})
    print(f'{args.out} speaks: pocket-tts-jax generate "Hello." --model {args.out}', flush=True)
    if held:
        after = latent_error(source.config, tuned, cache, held)
        old = voice or base.get_state_for_audio_prompt(base.default_voice())
        print(comparison(*judge(base, old, args, held, (error, after)), len(held)), flush=True)


def report_start(
    config: Config,
    flow_lm: Mapping[str, np.ndarray],
    voice: VoiceState | None,
    held: list[Example],
) -> float:
    """The latent error before tuning, said with a warning where it shows that the latents are not
    those of the model; NaN where nothing is held out."""
    if not held:
        return float("nan")
    error = latent_error(config, flow_lm, _cache(voice), held)
    print(f"latent error before tuning: {error:.3f} (1 is that of knowing nothing)", flush=True)
    if error > USELESS:
        print(
            "warning: the model does not know these latents. Is --codec the one it has learned, "
            "and are the transcripts right?",
            flush=True,
        )
    return error


def train(
    args: argparse.Namespace,
    config: Config,
    start: dict[str, np.ndarray],
    merge: Merge,
    examples: list[Example],
) -> None:
    """Trains to the end, or goes on."""
    schedule = Schedule(args.steps, args.rate, warmup=20, decay=args.steps // 2)
    trainer = Trainer(
        {"tune": make_loss(config, merge)},
        start,
        Optimisation(schedule, weight_decay=0.0, ema=0.99),
        seed=args.seed,
    )
    args.out.mkdir(parents=True, exist_ok=True)
    path = args.out / "training.safetensors"
    if path.exists():
        trainer.resume(path)
    batches = RecordingBatches(examples, args.rows)
    note = {k: str(v) for k, v in vars(args).items()}
    log = TrainingLog(path.with_suffix(".jsonl"), every=10)
    run(trainer, lambda step: ("tune", batches.batch(args.seed, step)), path, log, note)


def judge(
    base: TTSModel,
    voice: VoiceState,
    args: argparse.Namespace,
    held: list[Example],
    errors: tuple[float, float],
) -> tuple[Judgement, Judgement]:
    """Before and after; words too where the recogniser is installed."""
    if recogniser_missing():
        return Judgement(errors[0], None), Judgement(errors[1], None)
    texts = [example.text for example in held]
    before = words_misheard(base, voice, texts)
    tuned = open_named(str(args.out), "jax")
    after = words_misheard(tuned, tuned.get_state_for_audio_prompt(args.name), texts)
    return Judgement(errors[0], before), Judgement(errors[1], after)


def main() -> None:
    parser = command_parser(__doc__)
    add = parser.add_argument
    add("what", choices=["adapters", "full", "voice"], help="what is trained")
    add("--model", help="folder, file or published name (default: the embedded voice)")
    add("--data", type=Path, required=True, help="folder of NAME.wav with NAME.txt")
    add("--codec", type=Path, help="mel codec, for a model without a trained encoder")
    add("--voice", help="voice that leads every utterance: a name, file or recording")
    add("--name", default="tuned", help="of the voice in the new folder")
    add("--out", type=Path, required=True, help="new model folder, with the run in it")
    add("--held-out", type=int, help="recordings to judge by, not trained on (default: a tenth)")
    add("--steps", type=positive, default=300, help="of training in all, earlier runs included")
    add("--rate", type=float, default=2e-4, help="highest learning rate")
    add("--rank", type=positive, default=8, help="of the adapters")
    add("--rows", type=positive, default=8, help="recordings in a step")
    add("--seed", type=int, default=0, help="of everything random")
    finetune(parser.parse_args())


if __name__ == "__main__":
    run_command(main)
