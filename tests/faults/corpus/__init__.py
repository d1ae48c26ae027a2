"""Files that were no clear error once. The name after the number says what reads them."""

from collections.abc import Callable
from pathlib import Path

from pocket_tts_jax.audio.read import read_audio
from pocket_tts_jax.config import load_config
from pocket_tts_jax.litert_engine.folder import open_folder
from pocket_tts_jax.text.lexicon import load_lexicon
from pocket_tts_jax.text.tokenizer import load_tokenizer
from pocket_tts_jax.voice.state import read_voice
from pocket_tts_jax.weights.checkpoint import map_safetensors
from pocket_tts_jax.weights.settings import ModelSettings

CORPUS = Path(__file__).parent
READERS: dict[str, Callable[[Path], object]] = {
    "config.yaml": load_config,
    "voice.json": lambda path: ModelSettings.read(path.parent),
    "lexicon.json": load_lexicon,
    "lexicon.tsv": load_lexicon,
    "manifest.json": lambda path: open_folder(path.parent),
    "tokenizer.json": lambda path: load_tokenizer("tokenizers", path, 600),
    "tokenizer.model": lambda path: load_tokenizer("sentencepiece", path, 600),
    "voice.safetensors": read_voice,
    "model.safetensors": map_safetensors,
    "voice.mp3": read_audio,
    "voice.wav": read_audio,
}
