"""Class names: num_labels, id2label and label2id, made consistent from whichever is given."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from convnext import checks

DEFAULT_NUM_LABELS = 2  # as in transformers

# Each has a name in memory; ImageNet-22k, the most that is published, has 21,841.
MOST_LABELS = 200_000


def resolve(
    num_labels: int | None,
    id2label: Mapping[Any, Any] | None,
    label2id: Mapping[Any, Any] | None,
) -> tuple[int, dict[int, str], dict[str, int]]:
    """All three from any of them; ValueError where two of them contradict each other."""
    if id2label is not None:
        names = _by_index(id2label)
    elif label2id is not None:
        names = _by_index({index: name for name, index in _mapping("label2id", label2id).items()})
    else:
        count = DEFAULT_NUM_LABELS if num_labels is None else num_labels
        names = {
            i: f"LABEL_{i}" for i in range(checks.integer("num_labels", count, 0, MOST_LABELS))
        }
    if num_labels is not None and num_labels != len(names):
        raise ValueError(
            f"num_labels must be the number of class names, {len(names)}, got {num_labels!r}; "
            "give one of the two"
        )
    _agree(names, label2id)
    return len(names), names, {name: index for index, name in names.items()}


def is_permutation(before: Mapping[int, str], after: Mapping[int, str]) -> bool:
    """Whether the same names stand in another order."""
    return before != after and sorted(before.values()) == sorted(after.values())


def _by_index(id2label: Mapping[Any, Any]) -> dict[int, str]:
    names: dict[int, str] = {}
    for key, name in _mapping("id2label", id2label).items():
        try:
            index = checks.integer("id2label's keys", int(key), 0, MOST_LABELS)
        except (TypeError, ValueError, OverflowError):
            raise checks.refuse("id2label's keys", key, "class indices from 0") from None
        if index in names:
            raise ValueError(f"id2label must name each class once, got {index} twice")
        names[index] = str(name)  # files in the wild hold {"0": 0}
    return dict(sorted(names.items()))


def _mapping(field: str, value: Any) -> Mapping[Any, Any]:
    if not isinstance(value, Mapping):
        raise checks.refuse(field, value, "a dict, such as dict(enumerate(names))")
    if len(value) > MOST_LABELS:
        raise ValueError(f"{field} must have at most {MOST_LABELS:,} classes, got {len(value):,}")
    return value


def _agree(names: dict[int, str], label2id: Mapping[Any, Any] | None) -> None:
    for name, index in (label2id or {}).items():
        try:
            agrees = names.get(int(index)) == str(name)
        except (TypeError, ValueError, OverflowError):
            raise checks.refuse(f"label2id[{name!r}]", index, "a class index") from None
        if not agrees:
            raise ValueError(
                f"label2id must be the inverse of id2label, got {name!r}: {index!r} "
                f"where id2label has {index!r}: {names.get(int(index))!r}; give one of the two"
            )


def counted_from_1(id2label: Mapping[int, str]) -> str | None:
    """What to say of names that are given to the classes 1 to N; None for all others."""
    count = len(id2label)
    if not count or set(id2label) != set(range(1, count + 1)):
        return None
    return (
        f"id2label names the classes 1 to {count}, and classes are counted from 0: class 0 has no "
        f"name, and {id2label[count]!r} is never the answer; write dict(enumerate(names))"
    )
