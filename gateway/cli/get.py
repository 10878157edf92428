"""`wirelet get pods|devices|events`: what the gateway on this host has, as a table, as JSON or as YAML."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from gateway.cli import ports
from gateway.cli.client import Client, ClientError, add_socket_argument, socket_path
from gateway.cli.colours import painter
from gateway.cli.documents import document
from gateway.cli.table import age, age_since, aligned

LOOK_S: Final = 1.0
"""Between two looks of --watch."""
Row = dict[str, Any]
Column = tuple[str, Callable[[Row, float], str]]
_ALIASES: Final = {"pod": "pods", "po": "pods", "device": "devices", "dev": "devices", "event": "events", "ev": "events"}

_PODS: Final[list[Column]] = [
    ("NAME", lambda row, now: row["name"]),
    ("READY", lambda row, now: f"{row['ready']}/{len(row['containers'])}"),
    ("STATUS", lambda row, now: row["status"]),
    ("RESTARTS", lambda row, now: _restarts(row, now)),
    ("DEVICE", lambda row, now: ",".join(row["devices"]) or "<none>"),
    ("AGE", lambda row, now: age_since(row["createdAt"], now)),
]
_PODS_WIDE: Final[list[Column]] = [
    ("IMAGES", lambda row, now: ",".join(row["images"])),
    ("MESSAGE", lambda row, now: row["message"] or "-"),
]
_DEVICES: Final[list[Column]] = [
    ("NAME", lambda row, now: row["name"]),
    ("CLASS", lambda row, now: row["class"]),
    ("LINK", lambda row, now: row["link"]),
    ("STATE", lambda row, now: row["state"]),
    ("SLOTS", lambda row, now: f"{row['slots']['used']}/{row['slots']['total']}"),
    ("BOOT", lambda row, now: row["boot"] or "-"),
    ("PROGRAMS", lambda row, now: str(len(row["programs"]))),
    ("LAST-SEEN", lambda row, now: "never" if row["lastSeen"] is None else age(now - row["lastSeen"])),
]
_DEVICES_WIDE: Final[list[Column]] = [
    ("DEVICE-ID", lambda row, now: row["deviceId"] or "-"),
    ("PORT", lambda row, now: row["port"] or "-"),
    ("LINKS", lambda row, now: ", ".join(_side_link(side) for side in row["links"]) or "-"),
    ("TYPING", lambda row, now: ", ".join(row["typists"]) or "-"),
    ("HAS", lambda row, now: ",".join(row["programs"]) or "-"),
    ("MESSAGE", lambda row, now: row["message"] or "-"),
]
_EVENTS: Final[list[Column]] = [
    ("LAST-SEEN", lambda row, now: age_since(row.get("lastTimestamp") or row.get("eventTime"), now)),
    ("TYPE", lambda row, now: str(row.get("type", ""))),
    ("REASON", lambda row, now: str(row.get("reason", ""))),
    ("OBJECT", lambda row, now: _object(row.get("involvedObject") or {})),
    ("MESSAGE", lambda row, now: str(row.get("message", ""))),
]
_COUNT: Final[list[Column]] = [("COUNT", lambda row, now: str(row.get("count", 1)))]
_NAMESPACE: Final[list[Column]] = [("NAMESPACE", lambda row, now: _namespace(row))]
_FORMATS: Final = ("table", "wide", "json", "yaml")
_TABLES: Final = {"pods": (_PODS, _PODS_WIDE), "devices": (_DEVICES, _DEVICES_WIDE), "events": (_EVENTS, _COUNT)}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("kind", metavar="pods|devices|events", type=_kind)
    parser.add_argument("name", metavar="NAME", nargs="?", help="only this one")
    parser.add_argument(
        "-o", "--output", choices=_FORMATS, default="table", help="yaml with --all: a configuration of the ports that it finds"
    )
    parser.add_argument("-a", "--all", action="store_true", help="devices: also the ports that no device uses; none of them is opened")
    parser.add_argument("-w", "--watch", action="store_true", help="go on with each row that changes, until Ctrl-C")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("-n", "--namespace", metavar="NAME", default="default", help="namespace of pods and events (default: default)")
    where.add_argument("-A", "--all-namespaces", action="store_true")
    add_socket_argument(parser)


def run(arguments: argparse.Namespace) -> int:
    """Exit code: 0, also for an empty list; 1 when the gateway does not answer or nothing has the name."""
    kind, everywhere = arguments.kind, arguments.all_namespaces or arguments.kind == "devices"
    if wrong := _wrong_use(arguments):
        print(f"wirelet get: {wrong}", file=sys.stderr)
        return 2
    client = Client(socket_path(arguments.socket))
    try:
        found = client.items(kind)
        unused = client.items("ports") if arguments.all else []
    except ClientError as error:
        print(f"wirelet get: {error}", file=sys.stderr)
        return 1
    rows = _chosen(found, arguments, everywhere=everywhere)
    if arguments.name is not None and not rows:
        known = ", ".join(sorted({_name(row) for row in found})) or "none"
        print(f'wirelet get: no {kind.rstrip("s")} "{arguments.name}"{_place(arguments, kind)}; there are: {known}', file=sys.stderr)
        return 1
    if arguments.output == "json":
        sys.stdout.write(document({"items": rows, **({"unusedPorts": unused} if arguments.all else {})}, "json"))
    elif arguments.output == "yaml":
        sys.stdout.write(ports.snippet(unused, found) if arguments.all else document({"items": rows}, "yaml"))
    elif rows:
        sys.stdout.write(_table(kind, rows, wide=arguments.output == "wide", with_namespace=arguments.all_namespaces and kind != "devices"))
    else:
        print(f"No {kind} found{_place(arguments, kind)}.", file=sys.stderr)
    if unused and arguments.output in ("table", "wide"):
        sys.stdout.write("\n" * bool(rows) + aligned(ports.HEADER, [ports.cells(port) for port in unused]))
    sys.stdout.flush()
    return _watch(client, arguments, rows, everywhere=everywhere) if arguments.watch else 0


def _watch(client: Client, arguments: argparse.Namespace, seen: Sequence[Row], *, everywhere: bool) -> int:
    """A row for each change. What has happened in between two looks is not seen, as with any level-triggered client."""
    with_namespace = arguments.all_namespaces and arguments.kind != "devices"
    while True:
        time.sleep(LOOK_S)
        try:
            found = client.items(arguments.kind)
        except ClientError as error:
            print(f"wirelet get: {error}", file=sys.stderr)
            return 1
        rows = _chosen(found, arguments, everywhere=everywhere)
        if news := changed(seen, rows):
            if arguments.output == "json":
                sys.stdout.write("".join(document(row, "json") for row in news))
            elif arguments.output == "yaml":
                sys.stdout.write("".join(f"---\n{document(row, 'yaml')}" for row in news))
            else:
                table = _table(arguments.kind, news, wide=arguments.output == "wide", with_namespace=with_namespace)
                sys.stdout.write(table.partition("\n")[2])
            sys.stdout.flush()
        seen = rows


def _chosen(found: Sequence[Row], arguments: argparse.Namespace, *, everywhere: bool) -> list[Row]:
    here = [row for row in found if everywhere or _namespace(row) == arguments.namespace]
    return [row for row in here if arguments.name in (None, _name(row))]


def changed(before: Sequence[Row], now: Sequence[Row]) -> list[Row]:
    """The rows that are new or not as they were, and those that are gone, with that as their status. lastSeen is no change."""
    known, there = {_key(row): row for row in before}, {_key(row) for row in now}
    news = [row for row in now if _without_time(known.get(_key(row), {})) != _without_time(row)]
    return [*news, *({**row, "status": "Gone"} for key, row in known.items() if key not in there)]


def _key(row: Row) -> tuple[str, str, str]:
    """An event has a name of its own, beside that of what it is about."""
    return _namespace(row), str(row.get("name") or ""), str((row.get("metadata") or {}).get("name") or "")


def _without_time(row: Row) -> Row:
    return {name: value for name, value in row.items() if name != "lastSeen"}


def _wrong_use(arguments: argparse.Namespace) -> str | None:
    if arguments.all and (arguments.kind != "devices" or arguments.name is not None):
        return "--all is for devices, without a name"
    return "--watch is not for --all" if arguments.watch and arguments.all else None


def _table(kind: str, rows: Sequence[Row], *, wide: bool, with_namespace: bool) -> str:
    narrow, more = _TABLES[kind]
    columns = [*(_NAMESPACE if with_namespace else ()), *narrow, *(more if wide else ())]
    now = time.time()
    paint = painter(sys.stdout, os.environ)
    return aligned([title for title, _ in columns], [[cell(row, now) for _, cell in columns] for row in rows], paint)


def _restarts(row: Row, now: float) -> str:
    """As kubectl tells them: `3 (5m ago)`."""
    last = row["lastRestartAt"]
    return f"{row['restarts']} ({age_since(last, now)} ago)" if row["restarts"] and last else str(row["restarts"])


def _kind(word: str) -> str:
    kind = _ALIASES.get(word, word)
    if kind not in _TABLES:
        raise argparse.ArgumentTypeError(f"unknown kind {word!r}; there are: {', '.join(_TABLES)}")
    return kind


def _namespace(row: Row) -> str:
    return str(row.get("namespace") or (row.get("metadata") or {}).get("namespace") or "default")


def _name(row: Row) -> str:
    return str(row.get("name") or (row.get("involvedObject") or {}).get("name") or "")


def _object(reference: Row) -> str:
    return f"{str(reference.get('kind', '')).lower()}/{reference.get('name', '')}"


def _place(arguments: argparse.Namespace, kind: str) -> str:
    return "" if kind == "devices" or arguments.all_namespaces else f" in namespace {arguments.namespace}"


def _side_link(side: Row) -> str:
    told = f"{side['role']}={side['link']}"
    return f"{told} ({side['message']})" if side["message"] else told
