"""Who asks, and may they: the kubelet's delegated authentication and authorization.

Authentication: a client certificate that TLS has verified (CN is the user, O the groups), else a bearer token by TokenReview. There is no
anonymous user. Authorization: one SubjectAccessReview for each subresource that the kubelet would ask for
(pkg/kubelet/server/auth.go, GetRequestAttributes), with one difference: exec, attach, portForward and run need `create` whatever the
method, because a WebSocket is opened by GET and reading must not be enough to run a command (kubernetes#136550).

Answers are cached for bounded times and in bounded numbers. When the API server cannot be asked, nothing is allowed that is not in the
cache.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar

import anyio

from gateway.errors import GatewayError
from gateway.kubelet.exchange import Request, RequestRefused
from gateway.kubelet.seams import ReviewApi

TOKEN_REVIEWS: Final = "/apis/authentication.k8s.io/v1/tokenreviews"
ACCESS_REVIEWS: Final = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
TOKEN_TTL_S: Final = 120.0
ALLOW_TTL_S: Final = 300.0
DENY_TTL_S: Final = 30.0
"""The kubelet's defaults (webhook cacheTTL, cacheAuthorizedTTL, cacheUnauthorizedTTL)."""
BAD_TOKEN_TTL_S: Final = 10.0
"""A token may become valid (a new ServiceAccount seen late by one API server), so a refusal is kept shortly, only against storms."""
MAX_CACHED: Final = 1024
"""Entries of each cache; a handful of users is usual. Good and bad tokens have separate caches, so guessing never evicts a good one."""
MAX_TOKEN_BYTES: Final = 16384
MAX_REVIEWS_AT_ONCE: Final = 8
"""Strangers with random tokens must not become a flood at the API server."""
REVIEW_DEADLINE_S: Final = 10.0
AUTHENTICATED: Final = "system:authenticated"

_VERBS: Final = {"POST": "create", "GET": "get", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_SUBRESOURCES: Final = (
    # Only the first group falls back to proxy (KubeletFineGrainedAuthz).
    ("/pods", ("pods", "proxy")),
    ("/runningpods", ("pods", "proxy")),
    ("/healthz", ("healthz", "proxy")),
    ("/configz", ("configz", "proxy")),
    ("/statusz", ("statusz",)),
    ("/flagz", ("flagz",)),
    ("/stats", ("stats",)),
    ("/metrics", ("metrics",)),
    ("/logs", ("log",)),
    ("/checkpoint", ("checkpoint",)),
)
_RUNS_COMMANDS: Final = ("/exec", "/attach", "/portForward", "/run")


@dataclass(frozen=True, slots=True)
class User:
    name: str
    uid: str = ""
    groups: tuple[str, ...] = ()
    extra: tuple[tuple[str, tuple[str, ...]], ...] = ()


@dataclass(frozen=True, slots=True)
class Access:
    """What is asked: a verb on nodes/<subresource>, any one of the subresources is enough."""

    verb: str
    subresources: tuple[str, ...]


def access_of(method: str, path: str) -> Access:
    """The kubelet's attributes for a request. path is decoded; a method that Kubernetes has no verb for gets the empty verb."""
    verb = "create" if any(_is_below(path, prefix) for prefix in _RUNS_COMMANDS) else _VERBS.get(method, "")
    for prefix, subresources in _SUBRESOURCES:
        if _is_below(path, prefix):
            return Access(verb, subresources)
    return Access(verb, ("proxy",))


def _is_below(path: str, prefix: str) -> bool:
    return path == prefix or path.startswith(f"{prefix}/")


def user_of_certificate(certificate: Mapping[str, Any]) -> User | None:
    """The user of a verified client certificate; None when its subject names nobody."""
    names = [value for part in certificate.get("subject", ()) for key, value in part if key == "commonName"]
    groups = [value for part in certificate.get("subject", ()) for key, value in part if key == "organizationName"]
    if not names or not names[0]:
        return None
    return User(names[0], groups=tuple(groups))


Value = TypeVar("Value")


@dataclass(eq=False)
class ExpiringCache(Generic[Value]):
    """At most size answers, each until its own time; the one used longest ago goes first."""

    size: int = MAX_CACHED
    _entries: OrderedDict[object, tuple[float, Value]] = field(default_factory=OrderedDict, init=False)

    def get(self, key: object, now: float) -> Value | None:
        found = self._entries.get(key)
        if found is None:
            return None
        expires_at, value = found
        if expires_at <= now:
            del self._entries[key]
            return None
        self._entries.move_to_end(key)
        return value

    def put(self, key: object, value: Value, expires_at: float) -> None:
        self._entries[key] = (expires_at, value)
        self._entries.move_to_end(key)
        while len(self._entries) > self.size:
            self._entries.popitem(last=False)


@dataclass(eq=False)
class Gatekeeper:
    """Lets a request in or raises RequestRefused: 401 nobody, 403 not allowed, 503 the API server cannot be asked."""

    api: ReviewApi
    node_name: str
    clock: Callable[[], float] = anyio.current_time
    deadline_s: float = REVIEW_DEADLINE_S
    _tokens: ExpiringCache[User] = field(default_factory=ExpiringCache, init=False)
    _bad_tokens: ExpiringCache[bool] = field(default_factory=ExpiringCache, init=False)
    _decisions: ExpiringCache[bool] = field(default_factory=ExpiringCache, init=False)
    _reviews: anyio.CapacityLimiter = field(default_factory=lambda: anyio.CapacityLimiter(MAX_REVIEWS_AT_ONCE), init=False)

    async def admit(self, request: Request) -> User:
        user = await self._authenticate(request)
        if user is None:
            raise RequestRefused(401, "Unauthorized")
        await self._authorize(user, access_of(request.method, request.path))
        return user

    async def _authenticate(self, request: Request) -> User | None:
        user = user_of_certificate(request.peer.certificate) if request.peer.certificate else None
        if user is None:
            token = _bearer_token(request.headers.get("authorization", ""))
            user = await self._user_of_token(token) if token else None
        if user is None or AUTHENTICATED in user.groups:
            return user
        return User(user.name, user.uid, (*user.groups, AUTHENTICATED), user.extra)

    async def _user_of_token(self, token: str) -> User | None:
        key = hashlib.sha256(token.encode()).digest()  # the cache holds no credentials
        if (user := self._tokens.get(key, self.clock())) is not None:
            return user
        if self._bad_tokens.get(key, self.clock()):
            return None
        review = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token}}
        try:
            status = await self._review(TOKEN_REVIEWS, review)
        except _Unasked as unasked:
            raise RequestRefused(503, "Unauthorized: the API server cannot be asked about this token now", _RETRY) from unasked
        user = _user_of_status(status)
        if user is None:
            self._bad_tokens.put(key, True, self.clock() + BAD_TOKEN_TTL_S)
        else:
            self._tokens.put(key, user, self.clock() + TOKEN_TTL_S)
        return user

    async def _authorize(self, user: User, access: Access) -> None:
        for subresource in access.subresources:
            if await self._may(user, access.verb, subresource):
                return
        about = f"user={user.name}, verb={access.verb}, resource=nodes, subresource(s)=[{' '.join(access.subresources)}]"
        raise RequestRefused(403, f"Forbidden ({about})\n")

    async def _may(self, user: User, verb: str, subresource: str) -> bool:
        key = (user, verb, subresource)
        if (known := self._decisions.get(key, self.clock())) is not None:
            return known
        review = _access_review(user, verb, subresource, self.node_name)
        try:
            status = await self._review(ACCESS_REVIEWS, review)
        except _Unasked as unasked:
            about = f"user={user.name}, verb={verb}, resource=nodes, subresource={subresource}"
            raise RequestRefused(503, f"Authorization error ({about}): the API server cannot be asked now", _RETRY) from unasked
        allowed = status.get("allowed") is True and status.get("denied") is not True
        self._decisions.put(key, allowed, self.clock() + (ALLOW_TTL_S if allowed else DENY_TTL_S))
        return allowed

    async def _review(self, path: str, review: dict[str, Any]) -> dict[str, Any]:
        try:
            with anyio.fail_after(self.deadline_s):
                async with self._reviews:
                    answer = await self.api.create(path, review)
        except (GatewayError, OSError) as error:  # TimeoutError is an OSError
            raise _Unasked(str(error)) from error
        status = answer.get("status")
        return status if isinstance(status, dict) else {}


class _Unasked(Exception):
    """The review has no answer."""


_RETRY: Final = (("retry-after", "1"),)


def _bearer_token(authorization: str) -> str | None:
    scheme, _, token = authorization.strip().partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token or len(token) > MAX_TOKEN_BYTES:
        return None
    return token


def _user_of_status(status: dict[str, Any]) -> User | None:
    user = status.get("user")
    if status.get("authenticated") is not True or not isinstance(user, dict) or not user.get("username"):
        return None
    extra = tuple(sorted((key, tuple(values)) for key, values in (user.get("extra") or {}).items()))
    return User(user["username"], user.get("uid") or "", tuple(user.get("groups") or ()), extra)


def _access_review(user: User, verb: str, subresource: str, node_name: str) -> dict[str, Any]:
    spec: dict[str, Any] = {
        "resourceAttributes": {"verb": verb, "version": "v1", "resource": "nodes", "subresource": subresource, "name": node_name},
        "user": user.name,
        "groups": list(user.groups),
    }
    if user.uid:
        spec["uid"] = user.uid
    if user.extra:
        spec["extra"] = {key: list(values) for key, values in user.extra}
    return {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec}
