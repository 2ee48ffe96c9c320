"""The prompt registry: versions that nothing can lose, labels that say which one is live."""

from core.prompts.registry.records import ANY, Finding, Gate, Move, Problem, PromptEntry, PromptHit, Saved
from core.prompts.registry.registry import Registry

__all__ = ["ANY", "Finding", "Gate", "Move", "Problem", "PromptEntry", "PromptHit", "Registry", "Saved"]
