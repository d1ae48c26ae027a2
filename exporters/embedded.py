"""Makes the export of the voice in this package, beside its weights:

    python -m exporters.embedded

Test vectors, the report and the documents are left out of the package.
"""

import json
import shutil
import sys
import tempfile
from pathlib import Path

from exporters.build import Options
from exporters.tflite import export
from pocket_tts_jax.files.verify import sums_of, write_sums
from pocket_tts_jax.litert_engine.export_cache import PRECISION
from pocket_tts_jax.litert_engine.folder import MANIFEST
from pocket_tts_jax.weights.source import EMBEDDED

LEFT_OUT = (".md", ".json", "LICENSE", "vectors.safetensors")
KEPT = ("voice.json",)


def main() -> None:
    with tempfile.TemporaryDirectory(dir=EMBEDDED.parent, prefix=".export-") as place:
        made = Path(place) / "export"
        # What 8 bits in the decoder cost has been measured for this voice (docs/engines.md).
        if export(None, made, Options(precision=PRECISION, decoder="int8")):
            sys.exit(1)
        put_beside_weights(made, EMBEDDED)


def put_beside_weights(made: Path, folder: Path) -> None:
    """Copy an export into the folder of its model, the manifest last."""
    manifest = json.loads((made / MANIFEST).read_text(encoding="utf-8"))
    names = [name for name in manifest["files"] if _is_shipped(name)]
    manifest["files"] = {name: manifest["files"][name] for name in names}
    for stale in folder.glob("*.tflite"):
        stale.unlink()
    for name in names:
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copyfile(made / name, folder / name)
    text = json.dumps(manifest, indent=1) + "\n"
    (folder / MANIFEST).write_text(text, encoding="utf-8")
    write_sums(folder, sums_of(folder))


def _is_shipped(name: str) -> bool:
    return Path(name).name in KEPT or not name.endswith(LEFT_OUT)


if __name__ == "__main__":
    main()
