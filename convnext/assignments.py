"""Assignable: a JsonFile whose fields are assigned to, each with what follows from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

from convnext.jsonfile import JsonFile


class Assignable(JsonFile):
    """An assignment to a field is a `replace` in place; one to another name is a key of `extra`.

    A network binds the fields that it was built with. Names that begin with an underscore are
    kept, and not written. Copies and pickles are bound to no network.
    """

    def bind(self, names: Sequence[str]) -> None:
        """Refuse, from now on, assignments that change these fields; a network calls this."""
        self._set(_bound=(*self._bound, *names))

    def update(self, values: Mapping[str, Any]) -> None:
        """Change several fields in place, all or none."""
        known = {key: value for key, value in values.items() if key in self.field_names()}
        other = {key: value for key, value in values.items() if key not in known}
        self._become(self.replace(**known, extra={**self.extra, **other}))

    @property
    def _bound(self) -> tuple[str, ...]:
        return self.__dict__.get("_bound", ())

    def _become(self, changed: Self) -> None:
        """Take over every field of another config, if the network allows it."""
        for name in self._bound:
            old, new = getattr(self, name), getattr(changed, name)
            if old != new:
                raise ValueError(
                    f"{name} must stay {old!r}, which a network was built with, got {new!r}; build "
                    f"another from config.replace({name}=...), or load one with "
                    f"from_pretrained(..., {name}=...)"
                )
        self._set(**{name: getattr(changed, name) for name in (*self.field_names(), "extra")})

    def __setattr__(self, name: str, value: Any) -> None:
        """An assignment: a field and what follows from it, or a key of `extra`."""
        if "extra" not in self.__dict__ or name.startswith("_"):  # the constructor's, or private
            self._set(**{name: value})
        elif name in (*self.field_names(), "extra"):
            self._become(self.replace(**{name: value}))
        elif hasattr(type(self), name):
            raise AttributeError(f"{name} follows from other fields; assign those")
        else:
            self._set(extra={**self.extra, name: value})

    def __getattr__(self, name: str) -> Any:
        """Keys of `extra`; only asked for what is no field."""
        try:
            return self.__dict__["extra"][name]
        except KeyError:
            raise AttributeError(f"{type(self).__name__} has no {name}") from None

    def __getstate__(self) -> dict[str, Any]:
        """For copies and pickles, which belong to no network."""
        return {name: value for name, value in self.__dict__.items() if name != "_bound"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._set(**state)

    def _set(self, **values: Any) -> None:
        self.__dict__.update(values)
