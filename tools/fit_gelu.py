"""Derive the coefficients of the GELU in convnext/cpu/gelu.h.

erf(u / sqrt 2) / 2 is fitted on 0 <= u <= END by u P(u^2) / Q(u^2), with P and Q of degree 5 and
Q(0) = 1. The greatest absolute error is made small by Lawson's method: a least-squares fit, linear
once both sides are multiplied by the last Q, is repeated with weights that grow where the error is
great. Run it to print P and Q in float32, and the greatest error over a dense grid beside that of
the coefficients that gelu.h has:

    python tools/fit_gelu.py
"""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np

HEADER = Path(__file__).parents[1] / "convnext" / "cpu" / "gelu.h"
END = 5.656854
DEGREE = 5


def target(u: np.ndarray) -> np.ndarray:
    return np.array([math.erf(x / math.sqrt(2)) / 2 for x in u])


def fitted(p: np.ndarray, q: np.ndarray, u: np.ndarray) -> np.ndarray:
    return u * np.polynomial.polynomial.polyval(u**2, p) / np.polynomial.polynomial.polyval(u**2, q)


def fit(rounds: int = 300, nodes: int = 3000) -> tuple[np.ndarray, np.ndarray]:
    """P and Q, in float64."""
    u = END * np.sin(np.pi / 2 * (np.arange(nodes) + 0.5) / nodes)  # denser towards END
    y, powers = target(u), (u[:, None] / END) ** (2 * np.arange(DEGREE + 1))
    columns = np.hstack([u[:, None] * powers, -y[:, None] * powers[:, 1:]])
    weights, denominator = np.ones(nodes), np.ones(nodes)
    best = math.inf, np.zeros(0), np.zeros(0)
    for _ in range(rounds):
        scale = np.sqrt(weights) / denominator
        norms = np.linalg.norm(columns * scale[:, None], axis=0)
        found = np.linalg.lstsq(columns * scale[:, None] / norms, y * scale, rcond=None)[0] / norms
        p, q = found[: DEGREE + 1], np.concatenate([[1.0], found[DEGREE + 1 :]])
        denominator = powers @ q
        error = np.abs(u * (powers @ p) / denominator - y)
        if error.max() < best[0]:
            best = error.max(), p, q
        weights *= error / error.max() + 1e-3
        weights /= weights.mean()
    unscale = END ** (-2.0 * np.arange(DEGREE + 1))
    return best[1] * unscale, best[2] * unscale


def in_header() -> tuple[np.ndarray, np.ndarray]:
    """P and Q as gelu.h has them."""
    text = HEADER.read_text(encoding="utf-8")
    numbers = {
        name: np.array([float(value) for value in values.replace("f", "").split(",")])
        for name, values in re.findall(r"float (P|Q)\[\] = \{([^}]*)\}", text)
    }
    return numbers["P"], numbers["Q"]


def worst(p: np.ndarray, q: np.ndarray) -> float:
    u = np.linspace(0, END, 200001)
    return float(np.abs(fitted(p, q, u) - target(u)).max())


def main() -> None:
    p, q = (part.astype(np.float32).astype(np.float64) for part in fit())
    for name, values in (("P", p), ("Q", q)):
        print(name, ", ".join(f"{value:.8g}f" for value in values))
    print(f"greatest error: {worst(p, q):.2g}, of gelu.h: {worst(*in_header()):.2g}")
    print(f"1 / 2 - target(END): {0.5 - target(np.array([END]))[0]:.2g}")


if __name__ == "__main__":
    main()
