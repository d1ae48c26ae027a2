"""Errors for clients, in the form of their protocol."""

from dataclasses import dataclass

from starlette.responses import JSONResponse

from pocket_tts_jax.errors import (
    AudioError,
    ConfigError,
    TextError,
    TTSError,
    VoiceCloningUnavailable,
    VoiceError,
)


@dataclass
class Problem(Exception):
    """An answer other than success. `parameter` is the field that is wrong, `code` a word for
    programs, `retry_after` seconds."""

    status: int
    message: str
    parameter: str | None = None
    code: str | None = None
    retry_after: int | None = None

    def __str__(self) -> str:
        return self.message


def problem_of(error: Exception) -> Problem:
    """The problem for an error of the package."""
    match error:
        case Problem():
            return error
        case TextError():
            return Problem(400, str(error), "input", "invalid_text")
        case VoiceCloningUnavailable():
            return Problem(400, str(error), "voice", "no_voice_cloning")
        case VoiceError() | AudioError():
            return Problem(400, str(error), "voice", "invalid_voice")
        case ConfigError():
            return Problem(400, str(error), None, "invalid_request")
        case TTSError():
            return Problem(500, str(error), None, "generation_failed")
    return Problem(500, "The server failed; its log says more.", None, "internal_error")


def as_openai(problem: Problem) -> dict[str, object]:
    """The body of OpenAI's errors."""
    kind = "invalid_request_error" if problem.status < 500 else "server_error"
    if problem.status == 401:
        kind = "authentication_error"
    if problem.status == 429:
        kind = "rate_limit_error"
    error = {
        "message": problem.message,
        "type": kind,
        "param": problem.parameter,
        "code": problem.code,
    }
    return {"error": error}


def answer(path: str, problem: Problem) -> JSONResponse:
    """The response: in OpenAI's form under /v1, elsewhere in FastAPI's, as in the reference."""
    body = as_openai(problem) if path.startswith("/v1") else {"detail": problem.message}
    headers = {}
    if problem.retry_after is not None:
        headers["Retry-After"] = str(problem.retry_after)
    if problem.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return JSONResponse(body, problem.status, headers)
