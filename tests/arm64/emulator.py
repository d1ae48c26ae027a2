"""An aarch64 Python with this package installed, run by qemu on this machine.

The processor is a Cortex-A76 (NEON, half precision, dot product): its kernels are those of a phone
or a Raspberry Pi 5. Python and its libraries are unpacked from Debian's packages, without
installing anything; the package and its dependencies are wheels for aarch64. Emulated time says
nothing about speed.
"""

import os
import platform
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

QEMU = "qemu-aarch64-static"
PYTHON = "3.11"  # Debian 12's
_DEBIAN = (
    *("libc6", "libgcc-s1", "libstdc++6", "python3.11-minimal", "libpython3.11-minimal"),
    *("libpython3.11-stdlib", "libpython3.11", "libssl3", "libffi8", "zlib1g", "libbz2-1.0"),
    *("liblzma5", "libexpat1", "libncursesw6", "libtinfo6", "libsqlite3-0", "libuuid1"),
    *("libdb5.3", "libcrypt1", "libreadline8"),
)
_PLATFORMS = ("manylinux2014_aarch64", "manylinux_2_27_aarch64", "manylinux_2_28_aarch64")
_FEATURES = (
    "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop "
    "asimddp"
)
# A newer phone's core: 8-bit matrix products and bfloat16. Not the matrix extension SME: with that
# of qemu 7.2 the numbers are others; only a device can say whether that is the emulator's fault.
NEWER_CORE = "max,sme=off"
NEWER_FEATURES = f"{_FEATURES} i8mm bf16"


def reason_to_skip() -> str | None:
    """Why there can be no emulated core on this machine, if so."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return "the emulator runs on x86-64 Linux"
    for command in (QEMU, "apt-get", "dpkg"):
        if shutil.which(command) is None:
            return f"{command} is not installed (Debian: qemu-user-static)"
    return None


@dataclass(frozen=True)
class Emulator:
    """A folder with `root` (Debian's files) and `site` (the package with its dependencies)."""

    folder: Path

    def run(
        self, *arguments: str, core: str = "cortex-a76", features: str = _FEATURES
    ) -> subprocess.CompletedProcess:
        """Run Python on the emulated core."""
        root = self.folder / "root"
        _write_cpuinfo(root, features)
        command = [QEMU, "-cpu", core, "-L", str(root), str(root / f"usr/bin/python{PYTHON}")]
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder / "home"),
            "PYTHONPATH": str(self.folder / "site"),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        return subprocess.run(
            [*command, *arguments], env=environment, capture_output=True, text=True, check=False
        )


def build(folder: Path, wheel: Path) -> Emulator:
    """Unpack Debian's Python for aarch64, and install `wheel` for it. Needs the network."""
    _unpack_debian(folder)
    _install(folder, wheel)
    (folder / "home").mkdir()
    return Emulator(folder)


def _unpack_debian(folder: Path) -> None:
    lists, packages, root = folder / "lists", folder / "debs", folder / "root"
    for path in (lists / "partial", packages, root / "proc"):
        path.mkdir(parents=True)
    foreign = [
        "-oAPT::Architecture=arm64",
        "-oAPT::Architectures=arm64",
        f"-oDir::State::Lists={lists}",
        "-oDir::State::status=/dev/null",
        "-oAPT::Sandbox::User=root",
    ]
    _call(["apt-get", *foreign, "update"], packages)
    _call(["apt-get", *foreign, "download", *_DEBIAN], packages)
    for package in sorted(packages.glob("*.deb")):
        _call(["dpkg", "-x", str(package), str(root)], packages)


def _write_cpuinfo(root: Path, features: str) -> None:
    """qemu shows programs the host's /proc/cpuinfo, which makes XNNPACK's `cpuinfo` crash; files
    under the prefix of `-L` are found first."""
    core = (
        "processor\t: {}\nBogoMIPS\t: 100.00\nFeatures\t: " + features + "\n"
        "CPU implementer\t: 0x41\nCPU architecture: 8\nCPU variant\t: 0x4\nCPU part\t: 0xd0b\n"
        "CPU revision\t: 1\n\n"
    )
    text = "".join(core.format(index) for index in range(2))
    (root / "proc" / "cpuinfo").write_text(text, encoding="ascii")


def _install(folder: Path, wheel: Path) -> None:
    """The base installation. docopt, which num2words needs, has no wheel: it is made here."""
    made = folder / "wheels"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    _call([*pip, "wheel", "--no-deps", "--wheel-dir", str(made), "docopt"], folder)
    target = ["--target", str(folder / "site"), "--python-version", PYTHON]
    target += [f"--platform={name}" for name in _PLATFORMS]
    binary = ["--only-binary", ":all:", "--find-links", str(made), "--implementation", "cp"]
    _call([*pip, "install", *target, *binary, str(wheel)], folder)


def _call(command: list[str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command[:4])} … failed:\n{done.stdout}{done.stderr}")
