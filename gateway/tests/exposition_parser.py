"""A small strict reader of Prometheus' text format, to check what the gateway writes: order, names, types, escapes, duplicates."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

_NAME: Final = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_SAMPLE: Final = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)(?: (-?\d+))?")
_LABEL: Final = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(?:,|$)')
_UNESCAPED: Final = {r"\\": "\\", r"\n": "\n", r"\"": '"'}

Labels = frozenset[tuple[str, str]]


@dataclass
class Scrape:
    """types and helps by name; values by name and labels."""

    types: dict[str, str] = field(default_factory=dict)
    helps: dict[str, str] = field(default_factory=dict)
    values: dict[tuple[str, Labels], float] = field(default_factory=dict)

    def value(self, name: str, **labels: str) -> float:
        return self.values[name, frozenset(labels.items())]

    def total(self, name: str, **labels: str) -> float:
        """The sum over all samples with these labels, whatever others they have."""
        return sum(value for (found, having), value in self.values.items() if found == name and labels.items() <= dict(having).items())


def parse(text: str) -> Scrape:
    """Raises AssertionError for anything that Prometheus would refuse or warn of."""
    scrape = Scrape()
    assert not text or text.endswith("\n"), "the last line has no end"
    current = ""
    for line in text.splitlines():
        if line.startswith("# "):
            _, word, name, rest = line.split(" ", 3)
            assert _NAME.fullmatch(name), line
            if word == "HELP":
                assert name not in scrape.helps, f"{name} comes twice"
                scrape.helps[name], current = rest, name
            else:
                assert (word, name) == ("TYPE", current), line
                assert rest in ("counter", "gauge"), line
                scrape.types[name] = rest
            continue
        match = _SAMPLE.fullmatch(line)
        assert match, line
        assert match[1] == current, f"{match[1]} stands outside its family"
        key = match[1], _labels(match[2] or "")
        assert key not in scrape.values, f"{line} comes twice"
        value = scrape.values[key] = float(match[3])
        assert scrape.types[current] == "gauge" or value >= 0, line
    return scrape


def _labels(text: str) -> Labels:
    found: dict[str, str] = {}
    at = 0
    while at < len(text):
        match = _LABEL.match(text, at)
        assert match, text
        assert match[1] not in found, text
        found[match[1]] = re.sub(r"\\.", lambda escape: _UNESCAPED[escape[0]], match[2])
        at = match.end()
    return frozenset(found.items())
