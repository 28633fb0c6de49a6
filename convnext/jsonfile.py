"""JsonFile: what ConvNextConfig and ConvNextFeatureExtractor share, being one JSON file each."""

from __future__ import annotations

import json
import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, ClassVar, Self

from convnext import atomic
from convnext.errors import NotFoundError
from convnext.hub import Source


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file, which may begin with a byte order mark.

    Raises:
        ValueError: the file holds anything else, a key twice, or a number that JSON has not (NaN,
            Infinity); it names the file.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        values = json.loads(text, object_pairs_hook=_once, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: not valid JSON ({error})") from None
    if not isinstance(values, dict):
        raise ValueError(f"{path}: expected a JSON object, got {type(values).__name__}")
    return values


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"the key {twice!r} stands twice in one object; keep one")
    return values


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is no number of JSON; give a finite one")


def to_json(values: Mapping[str, Any]) -> str:
    return json.dumps(values, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


class JsonFile(ABC):
    """Base of dataclasses that are kept as one JSON file of a checkpoint folder.

    Keys of a file that the class does not know are kept in `extra` and written back.
    """

    FILE: ClassVar[str]
    extra: Mapping[str, Any]

    @classmethod
    def field_names(cls) -> tuple[str, ...]:
        return tuple(field.name for field in fields(cls) if field.name != "extra")  # type: ignore[arg-type]

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], **overrides: Any) -> Self:
        """Build from the content of a file: null means the default, unknown keys go to `extra`.

        `overrides` are fields instead of the file's; another name is a TypeError.
        """
        known = cls._known(values)
        names = cls.field_names()
        own = {key: value for key, value in known.items() if key in names and value is not None}
        extra = {key: value for key, value in known.items() if key not in names}
        built = cls(**own, extra=extra)  # type: ignore[call-arg]
        return built.replace(**overrides) if overrides else built

    @classmethod
    def from_json_file(cls, path: str | os.PathLike[str]) -> Self:
        """Read one JSON file. Raises ValueError, naming the file, for values not allowed."""
        values = read_json(Path(path))
        try:
            return cls.from_dict(values)
        except (TypeError, ValueError, OverflowError) as error:
            raise ValueError(f"{path}: {error}") from None

    @classmethod
    def from_pretrained(
        cls, source: str | os.PathLike[str], *, return_unused_kwargs: bool = False, **options: Any
    ) -> Any:
        """Read it from a checkpoint folder, a JSON file or a Hugging Face id.

        Args:
            source: folder, file, or Hub id such as `facebook/convnext-tiny-224`.
            return_unused_kwargs: return `(object, unused)`, where `unused` holds the options that
                name no field, as transformers does; otherwise such an option is an error.
            options: `revision`, `cache_dir`, `local_files_only`, `token`, `subfolder`,
                `force_download`, and any field of this class, to override the file's value.

        Raises:
            NotFoundError (an OSError): there is no such folder or file.
            ValueError: the file holds a value that is not allowed.
            TypeError: an option is neither about fetching nor a field.
        """
        place, overrides = Source.split(source, options)
        is_json = place.path.is_file() and place.path.suffix == ".json"
        path = place.path if is_json else place.require([cls.FILE])
        unused = {key: value for key, value in overrides.items() if key not in cls.field_names()}
        if return_unused_kwargs:
            overrides = {key: value for key, value in overrides.items() if key not in unused}
        result = cls.from_json_file(path).replace(**overrides)
        return (result, unused) if return_unused_kwargs else result

    def replace(self, **changes: Any) -> Self:
        """A copy with some fields changed; an unknown name is a TypeError."""
        names = (*self.field_names(), "extra")
        unknown = sorted(changes.keys() - set(names))
        if unknown:
            raise TypeError(f"{type(self).__name__} has no field {', '.join(unknown)}")
        return type(self)(**{name: getattr(self, name) for name in names} | changes)

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """Every field and every extra key, as JSON types."""

    def to_json_string(self) -> str:
        """The text of the file: sorted keys, two spaces, a final newline."""
        return to_json(self.to_dict())

    def to_json_file(self, path: str | os.PathLike[str]) -> None:
        """Write the file whole or not at all."""
        with atomic.new_file(Path(path), overwrite=True) as partial:
            partial.write_text(self.to_json_string(), encoding="utf-8")

    def save_pretrained(self, save_directory: str | os.PathLike[str]) -> list[str]:
        """Write the file into a folder, made where it is missing; returns its path in a list."""
        folder = Path(save_directory)
        if folder.is_file():
            raise NotFoundError(f"{folder} is a file; give a folder to save into")
        folder.mkdir(parents=True, exist_ok=True)
        self.to_json_file(folder / self.FILE)
        return [str(folder / self.FILE)]

    def __repr__(self) -> str:
        return f"{type(self).__name__} {self.to_json_string().rstrip()}"

    @classmethod
    @abstractmethod
    def _known(cls, values: Mapping[str, Any]) -> dict[str, Any]:
        """A file's content with older spellings of keys brought to today's."""
