"""Where a checkpoint's files are: in a folder, one file, or a Hugging Face id -> local paths."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

from convnext.errors import NotFoundError, missing

_HUB_ID = re.compile(r"[\w][\w.-]*/[\w][\w.-]*")
_FILES = (".safetensors", ".bin", ".pth", ".pt", ".h5", ".keras", ".json", ".npz")

# Ids that a name without an owner may mean; timm's README of its ConvNeXts, transformers' docs.
PUBLISHED = (
    *(f"facebook/convnext-{size}-224" for size in ("tiny", "small", "base", "large")),
    "facebook/convnext-xlarge-224-22k-1k",
    *(f"timm/convnext_{size}.fb_in1k" for size in ("tiny", "small", "base", "large")),
    "timm/convnext_atto.d2_in1k",
    "timm/convnext_femto.d1_in1k",
    "timm/convnext_pico.d1_in1k",
    "timm/convnext_nano.in12k_ft_in1k",
)


@dataclass(frozen=True)
class Source:
    """A checkpoint's place, with the options that fetching it from the Hub takes.

    Args:
        name: a folder, a single file, or a Hugging Face id such as `facebook/convnext-tiny-224`.
        revision: branch, tag or commit on the Hub.
        cache_dir: where downloads are kept; default, the Hub library's own cache.
        local_files_only: never ask the Hub, use what the cache holds.
        token: access token for private repositories.
        subfolder: folder inside the checkpoint folder or repository.
        force_download: fetch again what the cache already holds.
    """

    name: str | os.PathLike[str]
    revision: str | None = None
    cache_dir: str | Path | None = None
    local_files_only: bool = False
    token: str | bool | None = None
    subfolder: str = ""
    force_download: bool = False
    _asked: dict[str, Path | None] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )  # what the Hub has answered: it is asked for each name once

    @classmethod
    def split(cls, name: Any, options: Mapping[str, Any]) -> tuple[Source, dict[str, Any]]:
        """The source that `options` describe, and the options that are not about fetching."""
        known = {each.name for each in fields(cls) if each.init} - {"name"}
        rest = {key: value for key, value in options.items() if key not in known}
        source = name if isinstance(name, cls) else cls(name)
        return replace(source, **{key: options[key] for key in options.keys() & known}), rest

    @property
    def path(self) -> Path:
        return Path(self.name).expanduser()

    @property
    def is_local(self) -> bool:
        return self.path.exists()

    def find(self, names: Iterable[str]) -> Path | None:
        """Local path of the first of the file `names` that the folder or repository holds."""
        if self.is_local:
            folder = self.path if self.path.is_dir() else self.path.parent
            candidates = (folder / self.subfolder / name for name in names)
            return next((path for path in candidates if path.is_file()), None)
        return next(filter(None, map(self._remote, names)), None)

    def require(self, names: Iterable[str]) -> Path:
        """Like `find`, but raises NotFoundError naming what was looked for."""
        names = list(names)
        path = self.find(names)
        if path is None:
            raise NotFoundError(f"{self.name}: no {' or '.join(names)} there")
        return path

    def _remote(self, name: str) -> Path | None:
        if name not in self._asked:
            self._asked[name] = self._download(name)
        return self._asked[name]

    def _download(self, name: str) -> Path | None:
        self._check_id()
        try:
            from huggingface_hub import hf_hub_download
            from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError
        except ImportError:
            needs = missing("fetching a Hugging Face id", "huggingface_hub")
            raise NotFoundError(f"{self.name}: no such file or folder; {needs}") from None
        try:
            return Path(
                hf_hub_download(
                    str(self.name),
                    name,
                    subfolder=self.subfolder or None,
                    revision=self.revision,
                    cache_dir=self.cache_dir,
                    local_files_only=self.local_files_only or _is_offline(),
                    token=self.token,
                    force_download=self.force_download,
                )
            )
        except LocalEntryNotFoundError as error:
            if self._cached():
                return None  # offline, and the cached snapshot has no such file
            raise NotFoundError(
                f"{self.name}: not in the cache, and the Hub cannot be asked"
            ) from error
        except EntryNotFoundError:
            return None
        except (OSError, ValueError) as error:
            reason = str(error).strip().splitlines()[0]
            raise NotFoundError(f"{self.name}: the Hub does not give {name}: {reason}") from error

    def _check_id(self) -> None:
        name = str(self.name)
        if not _HUB_ID.fullmatch(name) or name.endswith(_FILES):
            raise NotFoundError(
                f"{self.name}: no such file or folder, and not a Hugging Face id "
                f"(those read 'owner/name'){_perhaps(name)}"
            )

    def _cached(self) -> bool:
        """Whether the cache holds any file of this repository at this revision."""
        from huggingface_hub import try_to_load_from_cache

        prefix = f"{self.subfolder}/" if self.subfolder else ""
        found = try_to_load_from_cache(
            str(self.name), f"{prefix}config.json", cache_dir=self.cache_dir, revision=self.revision
        )
        return isinstance(found, str)


def _perhaps(name: str) -> str:
    """Which published ids a name without an owner may mean."""
    if "/" in name or "convnext" not in name.lower():
        return ""
    size = re.split(r"[-_.]", name.lower().partition("convnext")[2].strip("-_."))[0]
    found = [each for each in PUBLISHED if size and size in re.split(r"[-_.]", each)]
    return f"; perhaps {' or '.join(found)} was meant" if found else ""


@cache
def _is_offline() -> bool:
    """Whether the Hub's host has no address here. Its client would retry for half a minute."""
    from urllib.request import getproxies  # loads ssl, which nothing else here needs

    from huggingface_hub import constants

    if getproxies():
        return False  # the proxy knows the address
    try:
        socket.getaddrinfo(urlparse(constants.ENDPOINT).hostname, None)
    except OSError:
        return True
    return False


# What `upload` takes.
_UPLOADS = {
    *("repo_id", "token", "private", "commit_message"),
    *("commit_description", "revision", "create_pr"),
}


def check_upload(options: Mapping[str, Any], *, wanted: bool) -> None:
    """TypeError unless `options` are arguments of `upload`, and an upload is wanted."""
    unknown = sorted(options.keys() - (_UPLOADS if wanted else set()))
    if unknown:
        reason = "with push_to_hub=True" if unknown[0] in _UPLOADS else "here"
        known = f"; known are {', '.join(sorted(_UPLOADS))}" if unknown[0] not in _UPLOADS else ""
        raise TypeError(f"{', '.join(unknown)} can only be given {reason}{known}")


def upload(folder: str | os.PathLike[str], repo_id: str | None = None, **options: Any) -> Any:
    """Upload a folder to a repository of the Hub, which is made where it is missing.

    Args:
        folder: what to upload.
        repo_id: "owner/name", or a name of your own; default, the folder's.
        options: `token`, `private`, `commit_message`, `commit_description`, `revision`,
            `create_pr`.

    Returns:
        huggingface_hub's CommitInfo.
    """
    try:
        from huggingface_hub import HfApi
    except ImportError:
        raise ImportError(missing("push_to_hub", "huggingface_hub")) from None
    given = {"commit_message": "Upload model"} | options
    api = HfApi(token=given.pop("token", None))
    private = given.pop("private", None)
    made = api.create_repo(repo_id or Path(folder).name, private=private, exist_ok=True)
    return api.upload_folder(repo_id=made.repo_id, folder_path=str(folder), **given)
