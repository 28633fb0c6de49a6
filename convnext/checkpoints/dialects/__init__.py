"""How each publisher spells and lays out the parameters: tables, rows in the order of SLOTS."""

from convnext.checkpoints.dialects.dialect import Dialect
from convnext.checkpoints.dialects.registry import DIALECTS, WRITTEN

__all__ = ["DIALECTS", "WRITTEN", "Dialect"]
