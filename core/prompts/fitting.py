"""Whether an answer fits the JSON Schema that a prompt asks for.

Regular expressions (`pattern`, `patternProperties`) are not looked at: one that never ends would hold the whole
server up. References to other hosts are never fetched.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cache
from typing import Any

from jsonschema import validators  # type: ignore[import-untyped]
from jsonschema.exceptions import SchemaError, best_match  # type: ignore[import-untyped]
from referencing.exceptions import Unresolvable
from referencing.jsonschema import EMPTY_REGISTRY

from core.errors import BadRequest

_FENCE = re.compile(r"\s*```[a-zA-Z]*\n(.*)\n\s*```\s*", re.DOTALL)


def check_schema(schema: Mapping[str, Any]) -> None:
    """BadRequest says where it is no JSON Schema."""
    try:
        validators.validator_for(schema).check_schema(schema)
    except (SchemaError, RecursionError) as error:
        message = error.message[:200] if isinstance(error, SchemaError) else "it is nested too deep"
        place = "/".join(map(str, error.absolute_path)) if isinstance(error, SchemaError) else ""
        where = f" at {place}" if place else ""
        raise BadRequest(f"The JSON schema is wrong{where}: {message}.", "Correct it or empty it.") from None


def misfit(answer: str, schema: Mapping[str, Any]) -> str:
    """Why the answer does not fit, as a sentence; "" if it does. JSON within a Markdown fence counts as JSON."""
    fenced = _FENCE.fullmatch(answer)
    try:
        value = json.loads(fenced[1] if fenced else answer)
    except (ValueError, RecursionError) as error:
        where = f" (line {error.lineno}: {error.msg.lower()})" if isinstance(error, json.JSONDecodeError) else ""
        return f"The answer is not JSON{where}."
    try:
        worst = best_match(
            _without_patterns(validators.validator_for(schema))(schema, registry=EMPTY_REGISTRY).iter_errors(value)
        )
    except (Unresolvable, RecursionError):
        return "The answer could not be checked: the JSON schema refers to something outside of itself."
    if worst is None:
        return ""
    place = "/".join(map(str, worst.absolute_path))
    return f"The answer does not fit the JSON schema{f' at {place}' if place else ''}: {worst.message[:200]}."


@cache
def _without_patterns(validator: Any) -> Any:
    def passed(*_: Any) -> None:
        return None

    return validators.extend(validator, {"pattern": passed, "patternProperties": passed})
