"""What the API server's refusals are called here, and the one table that turns an answer into an error.

Callers match on the class, never on numbers or texts. `retryable` says whether the same request may succeed later without anyone acting.
The text is the API server's own, shortened: it names the object and the rule.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, ClassVar, Final

from gateway.errors import GatewayError

MAX_RETRY_AFTER_S: Final = 60.0
"""A server may ask for any delay; a gateway that is quiet for longer than its lease would lose its node."""
MAX_MESSAGE_CHARS: Final = 1000
"""An answer's text ends in logs and conditions."""


class KubeApiError(GatewayError):
    """Base of the tree; never raised itself. status is the HTTP status (0: there was no answer), reason the Status object's reason."""

    retryable: ClassVar[bool] = False

    def __init__(self, message: str, *, status: int = 0, reason: str = "", causes: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.causes = causes
        """The fields that a 422 names, for example metadata.uid."""


class NotFound(KubeApiError):
    """404: the object or its namespace is gone."""


class Conflict(KubeApiError):
    """409: a precondition failed or the object changed meanwhile; read again, then decide."""


class AlreadyExists(Conflict):
    """409 on create."""


class Gone(KubeApiError):
    """410: the resource version is too old; list again."""


class Unprocessable(KubeApiError):
    """422: the object would break a rule; `causes` names the fields."""


class Forbidden(KubeApiError):
    """403: our identity may not do this (or not yet: the Node authorizer learns of a new pod a moment after we do)."""

    retryable = True


class Unauthorized(KubeApiError):
    """401: the credentials are not accepted (or no more: they are read again, and the next request may be let in)."""

    retryable = True


class Rejected(KubeApiError):
    """Any other refusal of the request itself."""


class TooManyRequests(KubeApiError):
    """429: wait retry_after_s first."""

    retryable = True

    def __init__(self, message: str, retry_after_s: float, *, status: int = 429, reason: str = "TooManyRequests") -> None:
        super().__init__(message, status=status, reason=reason)
        self.retry_after_s = retry_after_s


class Unavailable(KubeApiError):
    """No answer, a broken one, or 5xx: the request may or may not have been carried out."""

    retryable = True


_BY_STATUS: Final[dict[int, type[KubeApiError]]] = {
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    410: Gone,
    422: Unprocessable,
}


def error_from_answer(status: int, headers: Mapping[str, str], body: bytes) -> KubeApiError:
    """The error for an HTTP answer of 400 and above. body may be a Status object or anything a broken proxy sends."""
    answer = _parse(status, body)
    if status == 404 and "kind" not in answer:
        # A proxy says it while the API server starts or is replaced. A pod that is not found is stopped, and its log deleted.
        return Unavailable(f"404 that is not of the API server: {answer['message']}", status=status)
    return error_from_status(answer, retry_after=headers.get("Retry-After"))


def error_from_status(answer: Mapping[str, Any], retry_after: str | None = None) -> KubeApiError:
    """The error for a Status object, from an answer or from the ERROR event of a watch."""
    code = answer.get("code")
    status = code if isinstance(code, int) else 500
    reason = str(answer.get("reason") or "")
    message = str(answer.get("message") or reason or f"HTTP status {status}")[:MAX_MESSAGE_CHARS]
    if status == 429:
        return TooManyRequests(message, _retry_after_s(retry_after), reason=reason or "TooManyRequests")
    if status >= 500:
        return Unavailable(message, status=status, reason=reason)
    kind = AlreadyExists if reason == "AlreadyExists" else _BY_STATUS.get(status, Rejected)
    return kind(message, status=status, reason=reason, causes=_causes(answer))


def _parse(status: int, body: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):  # a proxy's HTML page, or a connection cut in the body
        answer = None
    if isinstance(answer, dict) and answer.get("kind") == "Status":
        return answer | {"code": status}
    return {"code": status, "message": body[:MAX_MESSAGE_CHARS].decode("utf-8", "replace").strip()}


def _causes(answer: Mapping[str, Any]) -> tuple[str, ...]:
    details = answer.get("details")
    causes = details.get("causes") if isinstance(details, dict) else None
    if not isinstance(causes, list):
        return ()
    return tuple(str(cause.get("field", "")) for cause in causes if isinstance(cause, dict))


def _retry_after_s(value: str | None) -> float:
    """Seconds only: the API server never sends the date form."""
    try:
        seconds = float(value or 1)
    except ValueError:
        return 1.0
    return min(max(seconds, 0.0), MAX_RETRY_AFTER_S)
