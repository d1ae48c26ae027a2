"""The package on an emulated Arm core: Python for aarch64 from Debian, run by qemu."""
