"""What makes shells complete sedlab: its verbs, options, targets and roles."""

from __future__ import annotations

import os
from typing import Final

import click
from click.shell_completion import (
    CompletionItem,
    ShellComplete,
    add_completion_class,
    get_completion_class,
    split_arg_string,
)

SHELLS: Final = ("bash", "zsh", "fish")


class Bash(ShellComplete):
    """Bash, which takes a colon for the end of a word: `model:native` reaches click in pieces.

    So click gets the line as it was typed, and of what it finds bash gets the part behind the
    last colon, which is all that it replaces.
    """

    name = "bash"
    source_template = """\
%(complete_func)s() {
    local line="${COMP_LINE:0:COMP_POINT}" word cut="" response type value
    word="${line##*[[:space:]]}"
    if [[ $COMP_WORDBREAKS == *:* ]]; then
        cut="${word%%"${word##*:}"}"
    fi
    response=$(env COMP_WORDS="$line" %(complete_var)s=bash_complete "$1")
    COMPREPLY=()
    while IFS=, read -r type value; do
        case $type in
            dir) compopt -o dirnames 2>/dev/null ;;
            file) compopt -o default 2>/dev/null ;;
            plain) COMPREPLY+=("${value#"$cut"}") ;;
        esac
    done <<< "$response"
}

complete -o nosort -F %(complete_func)s %(prog_name)s 2>/dev/null ||
    complete -F %(complete_func)s %(prog_name)s
"""

    def get_completion_args(self) -> tuple[list[str], str]:
        """Return the whole words behind the command, and the one being typed."""
        line = os.environ.get("COMP_WORDS", "")
        words = split_arg_string(line)
        incomplete = words.pop() if words and not line[-1].isspace() else ""
        return words[1:], incomplete

    def format_completion(self, item: CompletionItem) -> str:
        """Return the line that the script above reads."""
        return f"{item.type},{item.value}"


def register() -> None:
    """Have click use our bash."""
    add_completion_class(Bash)


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
def completion(shell: str) -> None:
    """Print what makes a shell complete sedlab.

    \b
    bash  eval "$(sedlab completion bash)"    in ~/.bashrc
    zsh   eval "$(sedlab completion zsh)"     in ~/.zshrc, behind compinit
    fish  sedlab completion fish | source     in ~/.config/fish/config.fish
    """
    from host_driver.__main__ import COMPLETE, cli

    register()
    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(cli, {}, "sedlab", COMPLETE).source())
