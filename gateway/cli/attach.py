"""`wirelet attach POD`: the output of a pod as it comes, and with -i what is typed goes to it. One types, many look on."""

from __future__ import annotations

import argparse

from gateway.cli.conversation import add_conversation_arguments, converse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_conversation_arguments(parser, "type to the pod; its container says stdin: true")


def run(arguments: argparse.Namespace) -> int:
    """Exit code: 0 when the pod's container has ended or the person has left, 1 when there is nothing to attach to."""
    return converse(arguments, "attach", ())
