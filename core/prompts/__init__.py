"""The prompt registry: versions that nothing can lose, labels that say which one is live."""

from core.prompts.records import ANY, Entry, Finding, Found, Gate, Move, Problem, Saved
from core.prompts.registry import Registry

__all__ = ["ANY", "Entry", "Finding", "Found", "Gate", "Move", "Problem", "Registry", "Saved"]
