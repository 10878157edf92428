"""`wirelet completion bash|zsh|fish`: a script that lets the shell complete commands, options, and names of devices and pods.

The script asks `wirelet completion words -- ...` at each press of the key: what it says is what this version understands.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from gateway import cli
from gateway.cli.candidates import candidates, read
from gateway.cli.client import Client, ClientError, socket_path

PATIENCE_S: Final = 2.0
"""For a gateway that does not answer somebody who has pressed a key."""
_BASH: Final = r"""# wirelet completion bash. For this shell: source <(wirelet completion bash)
_wirelet() {
  local program=${COMP_WORDS[0]/#\~/$HOME} reply
  reply=$("$program" completion words -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
  COMPREPLY=()
  case $reply in
    '') ;;
    :files) compopt -o default 2>/dev/null ;;
    :directories) compopt -o dirnames 2>/dev/null ;;
    :command) mapfile -t COMPREPLY < <(compgen -c -- "${COMP_WORDS[COMP_CWORD]}") ;;
    *) mapfile -t COMPREPLY <<<"$reply" ;;
  esac
}
complete -F _wirelet wirelet
"""
_ZSH: Final = r"""#compdef wirelet
# wirelet completion zsh. For this shell: source <(wirelet completion zsh); or as a file _wirelet in a folder of $fpath
_wirelet() {
  local -a reply
  reply=("${(@f)$("${(Q)words[1]/#\~/$HOME}" completion words -- "${(@Q)words[2,CURRENT]}" 2>/dev/null)}")
  case ${reply[1]} in
    '') return 1 ;;
    :files) _files ;;
    :directories) _files -/ ;;
    :command) _command_names -e ;;
    *) compadd -- "${reply[@]}" ;;
  esac
}
if [[ ${funcstack[1]} == _wirelet ]]; then _wirelet "$@"; else compdef _wirelet wirelet; fi
"""
_FISH: Final = r"""# wirelet completion fish. For this shell: wirelet completion fish | source
function __wirelet_complete
  set -l words (commandline -opc)
  set -l current (commandline -ct)
  test -n "$current"; or set current ''
  set -l reply (command $words[1] completion words -- $words[2..-1] $current 2>/dev/null)
  switch "$reply[1]"
    case :files
      __fish_complete_path $current
    case :directories
      __fish_complete_directories $current
    case :command
      complete -C "$current"
    case '*'
      string join \n -- $reply
  end
end
complete -c wirelet -f -a '(__wirelet_complete)'
"""
SCRIPTS: Final = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}
_WORDS: Final = "words"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shell", metavar="|".join(SCRIPTS), choices=[*SCRIPTS, _WORDS], help="print the script for it")
    parser.add_argument(_WORDS, nargs="*", help=argparse.SUPPRESS)


def run(arguments: argparse.Namespace) -> int:
    """Exit code: 0, also when there is nothing to complete."""
    if arguments.shell != _WORDS:
        sys.stdout.write(SCRIPTS[arguments.shell])
    elif arguments.words:
        sys.stdout.write("".join(f"{word}\n" for word in _candidates(arguments.words)))
    return 0


def _candidates(words: Sequence[str]) -> list[str]:
    def rows(kind: str) -> list[dict[str, Any]]:
        flag = read(cli.command_parser(words[0]), words[1:-1]).options.get("socket")
        try:
            return Client(socket_path(Path(flag) if flag else None), timeout_s=PATIENCE_S).items(kind)
        except ClientError:
            return []

    return candidates(words, list(cli.COMMANDS), cli.command_parser, rows)
