"""Authentication and authorization as the kubelet delegates them, with a review API that answers and one that is down."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import anyio
import pytest

from gateway.kubelet import auth
from gateway.kubelet.auth import Access, ExpiringCache, Gatekeeper, User, access_of, user_of_certificate
from gateway.kubelet.exchange import Peer, Request, RequestRefused
from gateway.tests.endpoint_fakes import DEADLINE_S, FakeReviews

ALICE = {"username": "alice", "uid": "1", "groups": ["dev", "system:authenticated"], "extra": {"scope": ["a", "b"]}}


def certificate(*parts: tuple[str, str]) -> Mapping[str, Any]:
    """As ssl.getpeercert gives it."""
    return {"subject": tuple(((kind, value),) for kind, value in parts)}


def request(path: str = "/pods", method: str = "GET", token: str | None = None, subject: tuple[tuple[str, str], ...] = ()) -> Request:
    headers = {"authorization": f"Bearer {token}"} if token is not None else {}
    return Request(method, path, {}, headers, Peer("10.0.0.1:1", certificate=certificate(*subject) if subject else None))


async def refusal(gatekeeper: Gatekeeper, asked: Request) -> tuple[int, str]:
    with pytest.raises(RequestRefused) as caught:
        await gatekeeper.admit(asked)
    return caught.value.reply.status, caught.value.reply.body.decode()


# The kubelet's pkg/kubelet/server/auth.go, GetRequestAttributes, with KubeletFineGrainedAuthz on.
@pytest.mark.parametrize(
    ("method", "path", "verb", "subresources"),
    [
        ("GET", "/pods", "get", ("pods", "proxy")),
        ("GET", "/pods/", "get", ("pods", "proxy")),
        ("GET", "/runningpods/", "get", ("pods", "proxy")),
        ("GET", "/healthz", "get", ("healthz", "proxy")),
        ("GET", "/healthz/ping", "get", ("healthz", "proxy")),
        ("GET", "/configz", "get", ("configz", "proxy")),
        ("GET", "/healthzz", "get", ("proxy",)),
        ("GET", "/podsx", "get", ("proxy",)),
        ("GET", "/stats/summary", "get", ("stats",)),
        ("GET", "/metrics", "get", ("metrics",)),
        ("GET", "/metrics/cadvisor", "get", ("metrics",)),
        ("GET", "/logs/", "get", ("log",)),
        ("GET", "/logs/syslog", "get", ("log",)),
        ("POST", "/checkpoint/a/b/c", "create", ("checkpoint",)),
        ("GET", "/statusz", "get", ("statusz",)),
        ("GET", "/flagz", "get", ("flagz",)),
        ("GET", "/containerLogs/default/hello/main", "get", ("proxy",)),
        ("GET", "/", "get", ("proxy",)),
        ("GET", "/debug/pprof/heap", "get", ("proxy",)),
        ("PUT", "/debug/flags/v", "update", ("proxy",)),
        ("PATCH", "/x", "patch", ("proxy",)),
        ("DELETE", "/x", "delete", ("proxy",)),
        ("HEAD", "/pods", "", ("pods", "proxy")),
        # Ours, stricter than the kubelet: reading must not be enough to run a command.
        ("GET", "/exec/default/hello/main", "create", ("proxy",)),
        ("POST", "/exec/default/hello/main", "create", ("proxy",)),
        ("GET", "/attach/default/hello/main", "create", ("proxy",)),
        ("GET", "/portForward/default/hello", "create", ("proxy",)),
        ("POST", "/run/default/hello/main", "create", ("proxy",)),
        ("GET", "/run/default/hello/main", "create", ("proxy",)),
    ],
)
def test_what_a_request_asks_for(method: str, path: str, verb: str, subresources: tuple[str, ...]) -> None:
    assert access_of(method, path) == Access(verb, subresources)


def test_a_certificate_names_its_common_name_and_every_organization() -> None:
    found = user_of_certificate(certificate(("organizationName", "a"), ("organizationName", "b"), ("commonName", "alice")))
    assert found == User("alice", groups=("a", "b"))
    assert user_of_certificate(certificate(("organizationName", "a"))) is None
    assert user_of_certificate({}) is None


async def test_nobody_is_401() -> None:
    reviews = FakeReviews()
    gatekeeper = Gatekeeper(reviews, "node")
    for asked in (
        request(),
        request(token=""),
        request(token="unknown"),
        request(token="x" * 20_000),
        request(subject=(("organizationName", "a"),)),
    ):
        assert await refusal(gatekeeper, asked) == (401, "Unauthorized")
    assert reviews.reviews("TokenReview") == [{"token": "unknown"}]
    assert not reviews.reviews("SubjectAccessReview")


@pytest.mark.parametrize("header", ["Basic YWxpY2U6eA==", "Bearer", "bearer  ", "token"])
async def test_only_bearer_tokens_count(header: str) -> None:
    reviews = FakeReviews()
    asked = Request("GET", "/pods", {}, {"authorization": header}, Peer("x"))
    assert await refusal(Gatekeeper(reviews, "node"), asked) == (401, "Unauthorized")
    assert reviews.asked == []


async def test_a_certificate_is_asked_about_with_its_groups_and_this_node() -> None:
    reviews = FakeReviews(allowed={("kube-apiserver", "get", "pods")})
    asked = request(subject=(("organizationName", "system:masters-of-nodes"), ("commonName", "kube-apiserver")))
    assert (await Gatekeeper(reviews, "pi-lab-3").admit(asked)).name == "kube-apiserver"
    assert reviews.reviews("SubjectAccessReview") == [
        {
            "user": "kube-apiserver",
            "groups": ["system:masters-of-nodes", "system:authenticated"],
            "resourceAttributes": {"verb": "get", "version": "v1", "resource": "nodes", "subresource": "pods", "name": "pi-lab-3"},
        }
    ]


async def test_a_token_is_asked_about_with_everything_its_review_said() -> None:
    reviews = FakeReviews(tokens={"secret": ALICE}, allowed={("alice", "get", "metrics")})
    await Gatekeeper(reviews, "node").admit(request("/metrics/resource", token="secret"))
    (spec,) = reviews.reviews("SubjectAccessReview")
    assert spec["user"] == "alice"
    assert spec["uid"] == "1"
    assert spec["groups"] == ["dev", "system:authenticated"]
    assert spec["extra"] == {"scope": ["a", "b"]}


async def test_pods_fall_back_to_proxy() -> None:
    reviews = FakeReviews(tokens={"secret": ALICE}, allowed={("alice", "get", "proxy")})
    await Gatekeeper(reviews, "node").admit(request("/pods", token="secret"))
    assert [spec["resourceAttributes"]["subresource"] for spec in reviews.reviews("SubjectAccessReview")] == ["pods", "proxy"]


async def test_metrics_never_fall_back_to_proxy() -> None:
    reviews = FakeReviews(tokens={"secret": ALICE}, allowed={("alice", "get", "proxy")})
    status, text = await refusal(Gatekeeper(reviews, "node"), request("/metrics", token="secret"))
    assert status == 403
    assert text == "Forbidden (user=alice, verb=get, resource=nodes, subresource(s)=[metrics])\n"


async def test_reading_is_not_enough_to_run_a_command() -> None:
    reviews = FakeReviews(tokens={"secret": ALICE}, allowed={("alice", "get", "proxy")})
    status, text = await refusal(Gatekeeper(reviews, "node"), request("/exec/default/hello/main", token="secret"))
    assert (status, "verb=create" in text) == (403, True)


async def test_answers_are_kept_for_their_time_and_then_asked_again() -> None:
    now = 1000.0
    reviews = FakeReviews(tokens={"secret": ALICE}, allowed={("alice", "get", "proxy")})
    gatekeeper = Gatekeeper(reviews, "node", clock=lambda: now)

    async def asked_for(path: str, token: str) -> list[str]:
        reviews.asked.clear()
        await admitted(gatekeeper, request(path, token=token))
        return [body["kind"] for body in reviews.asked]

    assert await asked_for("/x", "secret") == ["TokenReview", "SubjectAccessReview"]
    assert await asked_for("/metrics", "secret") == ["SubjectAccessReview"]
    assert await asked_for("/x", "wrong") == ["TokenReview"]
    assert await asked_for("/x", "wrong") == []
    now += auth.BAD_TOKEN_TTL_S
    assert await asked_for("/x", "wrong") == ["TokenReview"]
    now += auth.DENY_TTL_S - auth.BAD_TOKEN_TTL_S
    assert await asked_for("/metrics", "secret") == ["SubjectAccessReview"]
    assert await asked_for("/x", "secret") == []
    now += auth.TOKEN_TTL_S - auth.DENY_TTL_S
    assert await asked_for("/x", "secret") == ["TokenReview"]
    now += auth.ALLOW_TTL_S - auth.TOKEN_TTL_S
    assert "SubjectAccessReview" in await asked_for("/x", "secret")


async def admitted(gatekeeper: Gatekeeper, asked: Request) -> bool:
    try:
        await gatekeeper.admit(asked)
    except RequestRefused:
        return False
    return True


async def test_guessed_tokens_do_not_push_out_a_known_one() -> None:
    reviews = FakeReviews(tokens={"secret": ALICE}, allowed={("alice", "get", "proxy")})
    gatekeeper = Gatekeeper(reviews, "node")
    await gatekeeper.admit(request("/x", token="secret"))
    for number in range(auth.MAX_CACHED + 10):
        assert not await admitted(gatekeeper, request("/x", token=f"guess-{number}"))
    reviews.asked.clear()
    await gatekeeper.admit(request("/x", token="secret"))
    assert not reviews.asked


def test_a_cache_holds_no_more_than_its_size_and_forgets_the_longest_unused() -> None:
    cache = ExpiringCache[int](size=2)
    cache.put("a", 1, 10.0)
    cache.put("b", 2, 10.0)
    assert cache.get("a", 0.0) == 1
    cache.put("c", 3, 10.0)
    assert [cache.get(key, 0.0) for key in "abc"] == [1, None, 3]
    assert cache.get("a", 10.0) is None


async def test_no_secret_is_kept() -> None:
    gatekeeper = Gatekeeper(FakeReviews(tokens={"secret": ALICE}, allowed={("alice", "get", "proxy")}), "node")
    await gatekeeper.admit(request("/x", token="secret"))
    assert "secret" not in repr(gatekeeper._tokens._entries)


async def test_when_the_api_server_is_down_only_known_answers_count() -> None:
    reviews = FakeReviews(tokens={"secret": ALICE}, allowed={("alice", "get", "proxy")})
    gatekeeper = Gatekeeper(reviews, "node")
    await gatekeeper.admit(request("/x", token="secret"))
    reviews.is_down = True
    await gatekeeper.admit(request("/x", token="secret"))
    status, text = await refusal(gatekeeper, request("/x", "POST", token="secret"))
    assert (status, text) == (
        503,
        "Authorization error (user=alice, verb=create, resource=nodes, subresource=proxy): the API server cannot be asked now",
    )
    assert (await refusal(gatekeeper, request("/x", token="another")))[0] == 503
    subject = (("commonName", "bob"),)
    assert (await refusal(gatekeeper, request("/x", subject=subject)))[0] == 503
    reviews.is_down = False
    assert (await refusal(gatekeeper, request("/x", token="another")))[0] == 401


async def test_an_api_server_that_does_not_answer_is_down() -> None:
    class Silent:
        async def create(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
            await anyio.sleep_forever()
            raise AssertionError

    with anyio.fail_after(DEADLINE_S):
        assert (await refusal(Gatekeeper(Silent(), "node", deadline_s=0.02), request(token="x")))[0] == 503


@pytest.mark.parametrize(
    "status",
    [
        {},
        None,
        {"authenticated": "true", "user": ALICE},
        {"authenticated": True},
        {"authenticated": True, "user": {"username": ""}},
        {"authenticated": True, "user": "alice"},
    ],
)
async def test_a_review_that_does_not_say_yes_plainly_says_no(status: Any) -> None:
    class Odd:
        async def create(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
            return {"status": status}

    assert await refusal(Gatekeeper(Odd(), "node"), request(token="x")) == (401, "Unauthorized")


@pytest.mark.parametrize("status", [{}, {"allowed": "yes"}, {"allowed": True, "denied": True}, {"allowed": False}])
async def test_a_decision_that_does_not_allow_plainly_denies(status: Any) -> None:
    class Odd:
        async def create(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
            return {"status": status}

    assert (await refusal(Gatekeeper(Odd(), "node"), request(subject=(("commonName", "bob"),))))[0] == 403


async def test_reviews_at_once_are_bounded() -> None:
    busy, most = 0, 0
    gate = anyio.Event()

    class Slow:
        async def create(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
            nonlocal busy, most
            busy += 1
            most = max(most, busy)
            await gate.wait()
            busy -= 1
            return {"status": {"authenticated": False}}

    gatekeeper = Gatekeeper(Slow(), "node")
    async with anyio.create_task_group() as tasks:
        for number in range(auth.MAX_REVIEWS_AT_ONCE * 3):
            tasks.start_soon(admitted, gatekeeper, request(token=str(number)))
        await anyio.wait_all_tasks_blocked()
        gate.set()
    assert most == auth.MAX_REVIEWS_AT_ONCE
