"""The command `convnext`: its options, and one line for whatever goes wrong."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from convnext.checkpoints.dialects import WRITTEN
from convnext.checkpoints.tensors import FLOATS
from convnext.cli import settings
from convnext.running import FRAMEWORKS
from convnext.verification.compare import TOLERANCE
from convnext.verification.originals import LIBRARIES
from convnext.version import __version__

FAILED = 1  # a check did not pass
REFUSED = 2  # an error, or wrong usage


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    arguments = parser().parse_args(argv)
    command = import_module(f"convnext.cli.{arguments.command}")
    try:
        return command.run(arguments)
    except (OSError, ValueError, TypeError, ImportError) as error:
        print(f"convnext {arguments.command}: {error}", file=sys.stderr)
        return REFUSED
    except KeyboardInterrupt:
        print(f"convnext {arguments.command}: interrupted", file=sys.stderr)
        return 130


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
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _inspect(commands.add_parser("inspect", help="dialect, network, types and problems"))
    _convert(commands.add_parser("convert", help="write it in another dialect"))
    _verify(commands.add_parser("verify", help="run two on images and compare every map"))
    _classify(commands.add_parser("classify", help="label images"))
    return top


def _inspect(command: argparse.ArgumentParser) -> None:
    command.description = "Say what a checkpoint holds. Exit status 1 if it has problems."
    command.add_argument("path", metavar="PATH", help="folder, file or Hugging Face id")
    command.add_argument("--json", action="store_true", help="print JSON")
    settings.add(command)


def _convert(command: argparse.ArgumentParser) -> None:
    command.description = (
        "Write a checkpoint in another dialect. The destination appears whole or not at all."
    )
    command.add_argument("source", metavar="SRC", help="folder, file or Hugging Face id")
    command.add_argument(
        "destination",
        metavar="DST",
        help="one file if it ends in a suffix of the dialect, else a folder with weights, config "
        "and preprocessing",
    )
    command.add_argument(
        "--to", required=True, choices=WRITTEN, metavar="DIALECT", help=_one(WRITTEN)
    )
    command.add_argument(
        "--dtype", choices=FLOATS, metavar="TYPE", help=_one(FLOATS) + "; default as in SRC"
    )
    command.add_argument("--overwrite", action="store_true", help="replace what is at DST")
    command.add_argument("--exact", action="store_true", help="refuse to change the final epsilon")
    command.add_argument(
        "--weights",
        choices=("ema", "raw"),
        help="which of a training file's weights, where it has both; default ema",
    )
    command.add_argument("--drop-head", action="store_true", help="leave the classifier out")
    command.add_argument(
        "--new-head",
        action="store_true",
        help="add a fresh classifier; --set num_labels=N where SRC does not tell how many classes",
    )
    command.add_argument("--verify", action="store_true", help="then compare DST to SRC on images")
    settings.add(command)


def _verify(command: argparse.ArgumentParser) -> None:
    command.description = (
        "Run two checkpoints, each in its dialect's own framework, and show where they differ. "
        "Exit status 1 if a difference is beyond the tolerance."
    )
    command.add_argument("first", metavar="A", help="folder, file or Hugging Face id")
    command.add_argument("second", nargs="?", metavar="B", help="the same; not with --against")
    command.add_argument(
        "--against",
        choices=LIBRARIES,
        metavar="LIBRARY",
        help=f"give A's weights to a library's own network: {_one(tuple(LIBRARIES))}",
    )
    command.add_argument("--images", metavar="DIR", help="images to use; default the bundled two")
    command.add_argument(
        "--tolerance",
        type=float,
        default=TOLERANCE,
        metavar="X",
        help="greatest difference, relative to each map's greatest value; default %(default)g",
    )
    command.add_argument("--plot", metavar="PNG", help="draw the differences, map by map")


def _classify(command: argparse.ArgumentParser) -> None:
    command.description = (
        "Label images with their likeliest classes: on the terminal, or any number of them in a "
        "file. Interrupted, the same command goes on where it was."
    )
    command.add_argument(
        "images",
        nargs="+",
        metavar="IMAGE",
        help="files, folders, patterns such as 'photos/**/*.jpg', or - for paths on standard input",
    )
    command.add_argument("--model", metavar="PATH", help="checkpoint; default the bundled one")
    command.add_argument(
        "--framework", choices=tuple(FRAMEWORKS), help="default: what is installed"
    )
    command.add_argument(
        "--top-k", type=int, default=3, metavar="N", help="classes to show; default 3"
    )
    command.add_argument("--json", action="store_true", help="print JSON")
    _output(command.add_argument_group("into a file"))


def _output(options: argparse._ArgumentGroup) -> None:
    options.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="write here instead: .parquet, .csv or .jsonl; an image that cannot be read is "
        "listed with the reason",
    )
    options.add_argument(
        "--features", action="store_true", help="also write each image's pooled vector"
    )
    options.add_argument(
        "--sheet", type=Path, metavar="FILE", help="also draw a contact sheet, such as sheet.png"
    )
    options.add_argument(
        "--batch-size", type=int, default=32, metavar="N", help="images at once; default 32"
    )
    options.add_argument(
        "--workers", type=int, metavar="N", help="processes that decode; default one a core"
    )
    options.add_argument("--overwrite", action="store_true", help="replace what is at FILE")


def _one(names: Sequence[str]) -> str:
    return f"one of {', '.join(names)}"
