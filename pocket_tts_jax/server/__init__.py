"""Speech over HTTP, WebSocket and Wyoming: `pocket-tts-jax serve`. Needs the extra `[serve]`."""
