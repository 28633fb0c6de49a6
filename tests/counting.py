"""How often checkpoints are opened: each of them should be once."""

from collections import Counter

from convnext.checkpoints import reader


def count_openings(monkeypatch) -> Counter:
    """Path of the weights -> how often their names, shapes and types were read."""
    found: Counter = Counter()
    real = reader.read_tensors

    def counting(path, *arguments, **options):
        found[path] += 1
        return real(path, *arguments, **options)

    monkeypatch.setattr(reader, "read_tensors", counting)
    return found
