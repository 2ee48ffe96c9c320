"""JSON Schemas and what should fit them; in the child process, because both can take as long as they like.

Regular expressions (`pattern`, `patternProperties`) are looked at like the rest: the process has a time limit.
References to other hosts are never fetched. Importing this takes a tenth of a second.
"""

from __future__ import annotations

import json
import re
from typing import Any

from jsonschema import validators  # type: ignore[import-untyped]
from jsonschema.exceptions import SchemaError, best_match  # type: ignore[import-untyped]
from referencing.exceptions import Unresolvable
from referencing.jsonschema import EMPTY_REGISTRY

from core.errors import BadRequest

_FENCE = re.compile(r"\s*```[a-zA-Z]*\n(.*)\n\s*```\s*", re.DOTALL)


def check(_: bytes, schema: Any) -> None:
    """BadRequest says where it is no JSON Schema."""
    try:
        validators.validator_for(schema).check_schema(schema)
    except (SchemaError, RecursionError) as error:
        message = error.message[:200] if isinstance(error, SchemaError) else "it is nested too deep"
        place = "/".join(map(str, error.absolute_path)) if isinstance(error, SchemaError) else ""
        where = f" at {place}" if place else ""
        raise BadRequest(f"The JSON schema is wrong{where}: {message}.", "Correct it or empty it.") from None


def misfit(answer: bytes, schema: Any) -> str:
    """Why the answer, in UTF-8, does not fit, as a sentence; "" if it does."""
    text = answer.decode("utf-8", "replace")
    fenced = _FENCE.fullmatch(text)
    try:
        value = json.loads(fenced[1] if fenced else text)
    except (ValueError, RecursionError) as error:
        where = f" (line {error.lineno}: {error.msg.lower()})" if isinstance(error, json.JSONDecodeError) else ""
        return f"The answer is not JSON{where}."
    try:
        worst = best_match(validators.validator_for(schema)(schema, registry=EMPTY_REGISTRY).iter_errors(value))
    except Unresolvable:
        return "The answer could not be checked: the JSON schema refers to something outside of itself."
    except RecursionError:
        return "The answer could not be checked: it or the JSON schema is nested too deep, or refers to itself."
    except re.error:
        return "The answer could not be checked: the JSON schema has a regular expression that cannot be read here."
    if worst is None:
        return ""
    place = "/".join(map(str, worst.absolute_path))
    return f"The answer does not fit the JSON schema{f' at {place}' if place else ''}: {worst.message[:200]}."
