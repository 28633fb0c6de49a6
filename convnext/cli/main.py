"""The commands, and one line for whatever goes wrong."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from convnext.cli import classify, convert, inspect, verify
from convnext.cli.options import REFUSED
from convnext.errors import missing
from convnext.text import printable
from convnext.version import __version__

COMMANDS = {"inspect": inspect, "convert": convert, "verify": verify, "classify": classify}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    arguments = parser().parse_args(argv)
    try:
        return COMMANDS[arguments.command].run(arguments)
    except (OSError, ValueError, TypeError, ImportError) as error:
        print(f"convnext {arguments.command}: {printable(str(error), lines=True)}", file=sys.stderr)
        return REFUSED
    except KeyboardInterrupt:
        print(f"convnext {arguments.command}: interrupted", file=sys.stderr)
        return 130


class _PrintCompletion(argparse.Action):
    """Prints the completion and exits, as --help does."""

    def __call__(self, parser: argparse.ArgumentParser, _: Any, shell: Any, *__: Any) -> None:
        try:
            import shtab
        except ImportError:
            parser.error(missing("--print-completion", "shtab"))
        print(shtab.complete(parser, shell))
        parser.exit(0)


def parser() -> argparse.ArgumentParser:
    """Every command and option."""
    top = argparse.ArgumentParser(
        prog="convnext",
        description="ConvNeXt checkpoints: look at them, convert them between dialects, prove that "
        "two compute the same, and classify images.",
        epilog="A checkpoint is a folder, a file, or a Hugging Face id such as "
        "facebook/convnext-tiny-224.",
    )
    top.add_argument("--version", action="version", version=f"convnext {__version__}")
    top.add_argument(
        "--print-completion",
        action=_PrintCompletion,
        choices=("bash", "zsh", "tcsh"),
        help="print what makes this shell complete commands and options",
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, module in COMMANDS.items():
        command = commands.add_parser(name, help=module.HELP, description=module.DESCRIPTION)
        module.declare(command)
    return top
