"""The audio samples of the site: each is the output of a command that its page shows.

`python docs/make_samples.py FOLDER` speaks them with the voice in the package.
"""

import shlex
import subprocess
import sys
from pathlib import Path

SAMPLES = {
    "hello": ["Hello! I was made on your own computer, while you waited."],
    "numbers": ["The 3 trains of 10:45 cost $12.50 each, and 20% were late."],
    "pause": ["Wait. [pause:0.8] Did you hear that?", "--pauses"],
    "pace": ["This is said a quarter faster, at the same pitch.", "--speed", "1.25"],
    "una": ["The kettle clicked off before anyone noticed.", "--voice", "una"],
    "mia": ["Could you send me the address again, please?", "--voice", "mia"],
    "otto": ["A thin layer of frost covered every car.", "--voice", "otto"],
}


def make_samples(folder: Path) -> None:
    """Write NAME.mp3 for each sample that is not there, with a fixed seed."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, arguments in SAMPLES.items():
        path = folder / f"{name}.mp3"
        if not path.is_file():
            command = [sys.executable, "-m", "pocket_tts_jax", "generate", *arguments]
            command += ["--seed", "7", "--quiet", "-o", str(path)]
            subprocess.run(command, check=True, cwd=Path(__file__).resolve().parent.parent)


def players() -> str:
    """Markdown: the command of each sample, and a player."""
    return "\n".join(
        f"```bash\npocket-tts-jax generate {shlex.join(arguments)} --seed 7 -o {name}.mp3\n```\n\n"
        f'<audio controls preload="none" src="_static/samples/{name}.mp3"></audio>\n'
        for name, arguments in SAMPLES.items()
    )


if __name__ == "__main__":
    make_samples(Path(sys.argv[1]))
