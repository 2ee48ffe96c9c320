"""Whether an answer fits the JSON Schema that a prompt asks for. Both are read in a child process, within a time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from core.errors import BadRequest, ParleyError
from core.files.child import Child, Unfinished

SECONDS = 2.0
_DEEP = "The JSON schema is nested too deep."


def check_schema(child: Child, schema: Mapping[str, Any]) -> None:
    """BadRequest says where it is no JSON Schema, or why it could not be checked. Blocks for two seconds at most."""
    try:
        child.run("check_schema", seconds=SECONDS, schema=schema)
    except Unfinished as error:
        what = f"The JSON schema could not be checked: it {error.why}."
        raise BadRequest(what, "Make it simpler or empty it.") from None
    except RecursionError:
        raise BadRequest(_DEEP, "Make it simpler or empty it.") from None


def misfit(child: Child, answer: str, schema: Mapping[str, Any]) -> str:
    """Why the answer does not fit, as a sentence; "" if it does. JSON within a Markdown fence counts as JSON.

    That it could not be checked is a sentence of its own. Blocks for two seconds at most.
    """
    try:
        return str(child.run("misfit", answer.encode("utf-8", "replace"), seconds=SECONDS, schema=schema))
    except Unfinished as error:
        return f"The answer could not be checked against the JSON schema: that {error.why}."
    except ParleyError as error:
        return f"The answer could not be checked against the JSON schema. {error}"
    except RecursionError:
        return f"The answer could not be checked. {_DEEP}"
