"""The server on many machines, with Ray Serve: `serve run deploy.ray_serve:app`.

Every replica is the whole server with a model in memory of its own; Ray sends each request to one
of them. Options of the model go to `build`: `serve run deploy.ray_serve:build replicas=4
language=english`. Keys and names are those of `ServerSettings`: set `api_key` where strangers can
reach Ray's port.
"""

from typing import Any

from ray import serve

from pocket_tts_jax.server.app import create_app
from pocket_tts_jax.server.models import ModelShelf
from pocket_tts_jax.server.settings import ServerSettings

_PROCESSORS = 2  # of each replica: LiteRT computes with two threads


def build(arguments: dict[str, Any]) -> serve.Application:
    """The application that `serve run` starts.

    replicas: how many, or "auto" for 1 to `most` of them, by how many requests wait. language,
    model: as with `pocket-tts-jax serve`. api_key: what clients must send. hosts: names that they
    call the server by, with commas between.
    """
    choice = {name: arguments[name] for name in ("language", "model") if name in arguments}
    hosts = tuple(filter(None, str(arguments.get("hosts", "")).split(",")))
    settings = ServerSettings(api_key=arguments.get("api_key"), hosts=hosts)

    def make_shelf() -> ModelShelf:
        from pocket_tts_jax.tts_model import TTSModel

        name = choice.get("language", "embedded")
        return ModelShelf({name: lambda: TTSModel.load_model(**choice)})

    @serve.ingress(lambda: create_app(settings, make_shelf))
    class Speech:
        """One replica."""

    replicas = arguments.get("replicas", 1)
    scale: dict[str, Any] = {"num_replicas": int(replicas) if replicas != "auto" else "auto"}
    if replicas == "auto":
        scale["autoscaling_config"] = {
            "min_replicas": 1,
            "max_replicas": int(arguments.get("most", 8)),
            "target_ongoing_requests": settings.max_streams // 2,
        }
    deployment = serve.deployment(
        Speech,
        name="speech",
        max_ongoing_requests=settings.max_streams + settings.max_waiting,
        graceful_shutdown_timeout_s=settings.drain,
        ray_actor_options={"num_cpus": float(arguments.get("processors", _PROCESSORS))},
        **scale,
    )
    return deployment.bind()


app = build({})
