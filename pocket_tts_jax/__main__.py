"""`python -m pocket_tts_jax` is the command `pocket-tts-jax`."""

from pocket_tts_jax.cli.app import main

main()
