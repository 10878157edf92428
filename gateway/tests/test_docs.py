"""The documentation tells the truth: links lead somewhere, commands parse, pods and configurations are accepted, tables match the code.

What cannot be known from text alone (what a command prints) is tried by hand when a page changes.
"""

from __future__ import annotations

import argparse
import configparser
import dataclasses
import importlib
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from pydantic import BaseModel
from pydantic.alias_generators import to_camel

from gateway import cli, drivers
from gateway.config import Configuration, parse
from gateway.devices import exits
from gateway.node.facts import HostFacts, NodeFacts
from gateway.node.status import STANDARD_CONDITIONS, labels
from gateway.pods.admission import admit
from gateway.pods.env import References, needed_references
from gateway.pods.fields import CONTAINER_FIELDS, POD_FIELDS, Refused, Support, unknown_fields
from gateway.pods.node import NodeAddresses
from gateway.pods.reservations import Reservations
from gateway.pods.seams import JsonObject
from gateway.pods.shape import check_pod
from gateway.pods.translate import claims_of, translate
from gateway.pods.view import PodView
from transports.simulated.programs import PROGRAMS

ROOT: Final = Path(__file__).resolve().parents[2]
DOCS: Final = ROOT / "docs"
REFERENCE: Final = DOCS / "reference"
PLACES: Final = ("*.md", "docs/**/*.md", "deploy/*.md", "examples/**/*.md", "firmware-protocol/*.md", "hil-tests/*.md", "udev/*.md")
PAGES: Final = sorted({page for place in PLACES for page in ROOT.glob(place)})
MANIFESTS: Final = sorted((ROOT / "examples").rglob("*.yaml"))
NODE: Final = NodeAddresses("192.0.2.7")

_FENCE: Final = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_LINK: Final = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_REDIRECTION: Final = re.compile(r"\d*(?:<>|>>|>|<)&?\s*[^\s;|&)]+")
_ASSIGNMENT: Final = re.compile(r"[A-Za-z_]\w*=.*", re.DOTALL)


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


each_page = pytest.mark.parametrize("page", PAGES, ids=name_of)


def blocks(page: Path, *languages: str) -> list[str]:
    return [text for language, text in _FENCE.findall(page.read_text()) if language in languages]


def documents(text: str) -> list[JsonObject]:
    return [document for document in yaml.safe_load_all(text) if isinstance(document, dict)]


# -- links


def anchors(page: Path) -> set[str]:
    """The headings, as GitHub makes names of them."""
    headings = re.findall(r"^#+ (.+)$", _FENCE.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@each_page
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in _LINK.findall(_FENCE.sub("", page.read_text())):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_every_page_of_the_documentation_is_in_its_index() -> None:
    index = DOCS / "README.md"
    linked = {(DOCS / link.partition("#")[0]).resolve() for link in _LINK.findall(index.read_text())}
    assert [name_of(page) for page in PAGES if page.is_relative_to(DOCS) and page != index and page not in linked] == []


# -- pods


def check_object(manifest: JsonObject, beside: list[JsonObject]) -> None:
    """Raises what a gateway would refuse a pod, or the pod of a Deployment, for."""
    assert {"apiVersion", "kind", "metadata"} <= manifest.keys()
    if manifest["kind"] == "Deployment":
        manifest = {"metadata": manifest["metadata"], "spec": manifest["spec"]["template"]["spec"]}
    elif manifest["kind"] != "Pod":
        return
    check_pod(manifest)
    pod = PodView({**manifest, "metadata": {"namespace": "default", "uid": "0", **manifest["metadata"]}})
    needed = needed_references(pod.all_containers)
    config_maps = {each["metadata"]["name"]: each["data"] for each in beside if each["kind"] == "ConfigMap"}
    secrets = {each["metadata"]["name"]: each["stringData"] for each in beside if each["kind"] == "Secret"}
    assert needed.config_maps <= config_maps.keys()
    assert needed.secrets <= secrets.keys()
    references = References(config_maps, {name: {k: v.encode() for k, v in data.items()} for name, data in secrets.items()})
    assert list(unknown_fields(pod)) == []
    admit(pod, None, Reservations())
    claims_of(pod)
    for container in pod.all_containers:
        translate(pod, container, references, NODE)


@each_page
def test_pods_in_the_documentation_are_accepted(page: Path) -> None:
    for text in blocks(page, "yaml"):
        objects = documents(text)
        for manifest in objects:
            if manifest.get("kind") != "GatewayConfiguration":
                check_object(manifest, objects)


@pytest.mark.parametrize("path", MANIFESTS, ids=name_of)
def test_examples_are_accepted(path: Path) -> None:
    objects = documents(path.read_text())
    assert objects
    for manifest in objects:
        if manifest["kind"] == "GatewayConfiguration":
            parse(path.read_text())
        else:
            check_object(manifest, objects)


# -- configurations


@each_page
def test_configurations_in_the_documentation_are_valid(page: Path) -> None:
    for text in blocks(page, "yaml"):
        if "kind: GatewayConfiguration" in text:
            parse(text)


def leaf_keys(model: type[BaseModel]) -> Iterator[str]:
    for name, field in model.model_fields.items():
        inner = list(models(field.annotation))
        if inner:
            for section in inner:
                yield from leaf_keys(section)
        else:
            yield field.alias or name


def models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in getattr(annotation, "__args__", ()):
        yield from models(argument)


def test_every_key_is_in_the_reference() -> None:
    text = (REFERENCE / "configuration.md").read_text()
    assert not [key for key in leaf_keys(Configuration) if key not in text]
    options = [field.name for offer in drivers.links() for field in dataclasses.fields(drivers.link(offer.name).options)]
    assert not [key for key in map(to_camel, options) if f".{key}`" not in text]


# -- commands


def commands(text: str) -> Iterator[list[str]]:
    """The argv, without its first word, of every wirelet command of a shell text."""
    for line in text.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(_REDIRECTION.sub("", line), posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        words: list[str] = []
        for token in [*lexer, ";"]:
            if set(token) <= set("();|&"):
                yield from wirelet_command(words)
                words = []
            else:
                words.append(token)


def wirelet_command(words: list[str]) -> Iterator[list[str]]:
    while words and (words[0] in ("{", "$", "env", "exec") or _ASSIGNMENT.fullmatch(words[0]) or words[0] == "-u"):
        words = words[2:] if words[0] == "-u" else words[1:]
    if words and (words[0] == "wirelet" or words[0].endswith("/wirelet")):
        yield words[1:]


def parses(argv: list[str]) -> bool:
    chosen = next((word for word in argv if not word.startswith("-")), None)
    try:
        cli._parser(chosen).parse_args(argv)
    except SystemExit as end:
        return end.code in (0, None)
    return True


@each_page
def test_commands_parse(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    typed = [line[2:] for text in blocks(page, "console") for line in text.splitlines() if line.startswith("$ ")]
    for argv in commands("\n".join([*blocks(page, "sh"), *typed])):
        assert parses(argv), f"wirelet {shlex.join(argv)}: {capsys.readouterr().err}"


def test_the_shell_is_read_as_a_shell_reads_it() -> None:
    text = "A=1 wirelet get pods | wc\nenv -u B wirelet run --config f 2>log & echo wirelet\n{ /b/wirelet logs -f \\\n x <>f; } # no"
    assert list(commands(text)) == [["get", "pods"], ["run", "--config", "f"], ["logs", "-f", "x"]]


def test_a_command_that_does_not_exist_is_noticed(capsys: pytest.CaptureFixture[str]) -> None:
    assert not parses(["get", "nodes"])
    assert not parses(["frobnicate"])


@each_page
def test_shell_blocks_are_shell(page: Path) -> None:
    for text in blocks(page, "sh"):
        subprocess.run(["sh", "-n"], input=text, text=True, check=True)


def test_the_reference_names_every_command_and_option() -> None:
    text = (REFERENCE / "command-line.md").read_text()
    for command, (module, _) in cli.COMMANDS.items():
        assert f"## {command}\n" in text
        parser = argparse.ArgumentParser(prog=command, add_help=False)
        importlib.import_module(module).add_arguments(parser)
        options = [max(action.option_strings, key=len) for action in parser._actions if action.option_strings]
        shorts = [min(action.option_strings, key=len) for action in parser._actions if action.option_strings]
        assert [long for long, short in zip(options, shorts, strict=True) if f"`{long}" not in text and f"`{short}" not in text] == []


# -- tables


def rows(page: Path, heading: str) -> dict[str, str]:
    """First and last cell of the table below a heading."""
    section = page.read_text().partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    table = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line.startswith("| `")]
    return {cells[0].strip("`"): cells[-1] for cells in table}


def told(support: Support | Refused) -> str:
    return f"refused: {support.reason}" if isinstance(support, Refused) else support.value


@pytest.mark.parametrize(
    ("heading", "fields"),
    [("spec", POD_FIELDS), ("spec.containers[] and spec.initContainers[]", CONTAINER_FIELDS)],
    ids=["pod", "container"],
)
def test_the_tables_of_fields_are_those_of_the_code(heading: str, fields: dict[str, Support | Refused]) -> None:
    assert rows(REFERENCE / "pod-fields.md", heading) == {name: told(support) for name, support in fields.items()}


def test_every_reason_of_an_end_is_in_the_reference() -> None:
    text = (REFERENCE / "pod-fields.md").read_text().partition("## How a container ends")[2]
    reasons = {reason for reason, _, _ in exits._REASONS.values()} | {exits.of_reboot(1).reason, exits.NEVER_STARTED.reason}
    assert sorted(reason for reason in reasons if f"`{reason}`" not in text) == []


def test_the_programs_are_those_of_the_simulated_device() -> None:
    text = (REFERENCE / "programs-of-the-simulated-device.md").read_text()
    assert set(re.findall(r"^\| `(\w+)` ", text, re.MULTILINE)) == set(PROGRAMS)


def test_boards_are_shown_with_as_many_programs_as_they_hold() -> None:
    shown = re.findall(r"^board-a +sim .* (\d+) +\w+$", (DOCS / "tutorial" / "first-pod.md").read_text(), re.MULTILINE)
    assert shown == [str(len(PROGRAMS))] * 2


def test_the_nodes_labels_and_conditions_are_in_the_reference() -> None:
    text = (REFERENCE / "node.md").read_text()
    facts = NodeFacts(name="n", internal_ip="192.0.2.7", hostname="n", port=10250, host=HostFacts())
    assert [key for key in labels(facts) if f"`{key}" not in text] == []
    assert [condition.type for condition in STANDARD_CONDITIONS if f"`{condition.type}`" not in text] == []


# -- deploy


def test_the_unit_runs_a_command_that_exists_and_keeps_the_logs() -> None:
    unit = configparser.RawConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]  # the documented way to keep the case of keys
    unit.read(ROOT / "deploy" / "wirelet.service")
    service = unit["Service"]
    assert [parses(argv) for argv in commands(service["ExecStart"])] == [True]
    assert service["RuntimeDirectoryPreserve"] == "yes"
    assert service["RuntimeDirectory"] == service["StateDirectory"] == "wirelet"


def test_the_script_for_credentials_is_shell() -> None:
    subprocess.run(["sh", "-n", ROOT / "deploy" / "node-credentials"], check=True)
