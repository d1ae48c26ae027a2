"""What an app bundles or downloads: `python -m exporters.tflite --ios DIR`.

DIR/int8, DIR/int4     exports for one stream, with fewer signatures than others have
DIR/README.md          sizes, licences, and what to say about privacy
DIR/PrivacyInfo.xcprivacy
DIR/SHA256SUMS         for `sha256sum --check`
"""

from collections.abc import Callable, Mapping
from pathlib import Path

from exporters.build import Options
from exporters.gate.gate import Check
from pocket_tts_jax.errors import ConfigError
from pocket_tts_jax.files.verify import sums_of, write_sums

PRECISIONS = ("int8", "int4")
# Each signature takes about a megabyte of memory, used or not; a phone has one stream.
PREFILL_LENGTHS, DECODER_FRAMES = (16, 64), (1, 2, 4)
Exporter = Callable[[str | None, Path, Options], list[Check]]

# What Apple asks about: the Swift package looks at the sizes and times of its own files, and at the
# free space before it writes packed weights.
_PRIVACY = """\
<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0">
<dict>
  <key>NSPrivacyTracking</key><false/>
  <key>NSPrivacyTrackingDomains</key><array/>
  <key>NSPrivacyCollectedDataTypes</key><array/>
  <key>NSPrivacyAccessedAPITypes</key>
  <array>
    <dict>
      <key>NSPrivacyAccessedAPIType</key><string>NSPrivacyAccessedAPICategoryFileTimestamp</string>
      <key>NSPrivacyAccessedAPITypeReasons</key><array><string>C617.1</string></array>
    </dict>
    <dict>
      <key>NSPrivacyAccessedAPIType</key><string>NSPrivacyAccessedAPICategoryDiskSpace</string>
      <key>NSPrivacyAccessedAPITypeReasons</key><array><string>E174.1</string></array>
    </dict>
  </array>
</dict>
</plist>
"""
_README = """\
# {model} for an app

Add one of these folders to the app's resources as a folder reference, or let the app download it:

{table}

Sizes are in megabytes (10⁶ bytes). At the first launch the packed weights are written to the app's
cache folder; they take about as much as the two `.tflite` files. `SHA256SUMS` has the checksum of
every file (`sha256sum --check SHA256SUMS`). The Swift package checks a folder against its
`manifest.json` when it loads it.{decoder}{refused}

## Privacy

The model runs on the device: no text, recording or speech leaves it, and nothing is collected.
`PrivacyInfo.xcprivacy` declares the system functions that the Swift package calls; merge it into
the app's own. A voice that is made from a recording is personal data: ask the person first, keep it
on the device, and let it be deleted. Say in the app that the speech is made by a machine.

## Licences

- The model and its voices: {licence} (`LICENSE` and `MODEL_CARD.md` in each folder, where the model
  has them). Show them in the app.
- LiteRT: Apache License 2.0.
"""


_DECODER = "\n\nThe wide convolutions of `mimi_decoder.tflite` have 8 bits (`--decoder int8`)."


def make_bundle(model: str | None, target: Path, options: Options, export: Exporter) -> list[Check]:
    """Fill the new folder `target`. Returns the failed checks if no precision passed them all."""
    if target.exists():
        raise ConfigError(f"{target} exists. Choose another folder, or remove it first.")
    target.mkdir(parents=True)
    failed = {name: export(model, target / name, _options(name, options)) for name in PRECISIONS}
    made = [target / name for name in PRECISIONS if not failed[name]]
    if not made:
        target.rmdir()
        return [check for checks in failed.values() for check in checks]
    (target / "README.md").write_text(_readme(made, failed), encoding="utf-8")
    (target / "PrivacyInfo.xcprivacy").write_text(_PRIVACY, encoding="utf-8")
    write_sums(target, sums_of(target))
    return []


def _options(precision: str, options: Options) -> Options:
    return Options(
        precision,
        options.max_frames,
        options.voices,
        options.with_encoder,
        prefill_lengths=PREFILL_LENGTHS,
        decoder_frames=DECODER_FRAMES,
        batches=(),
        decoder=options.decoder,
    )


def _readme(made: list[Path], failed: Mapping[str, list[Check]]) -> str:
    from pocket_tts_jax.litert_engine.folder import open_folder

    folder = open_folder(made[0])
    refused = [name for name in failed if failed[name]]
    return _README.format(
        model=folder.name,
        table=_table(made),
        licence=folder.manifest["licence"],
        decoder=_DECODER if folder.decoder == "int8" else "",
        refused="".join(
            f"\n\nThere is no {name}: at that precision the model differs too much from itself."
            for name in refused
        ),
    )


def _table(folders: list[Path]) -> str:
    """A row for each kind of file, a column for each precision."""
    kinds = {
        "flow_lm.tflite": "flow_lm.tflite",
        "mimi_decoder.tflite": "mimi_decoder.tflite",
        "mimi_encoder.tflite": "mimi_encoder.tflite",
        "tokenizer": "tokenizer.*",
        "voices": "voices/*",
        "all": "**/*",
    }
    rows = ["| | " + " | ".join(folder.name for folder in folders) + " |"]
    rows.append("|---|" + "---|" * len(folders))
    for kind, pattern in kinds.items():
        sizes = [_size(folder, pattern) for folder in folders]
        if any(sizes):
            rows.append(f"| {kind} | " + " | ".join(f"{n / 1e6:.1f}" for n in sizes) + " |")
    return "\n".join(rows)


def _size(folder: Path, pattern: str) -> int:
    return sum(path.stat().st_size for path in folder.glob(pattern) if path.is_file())
