"""JSON Schemas as others write them: Picoschema of dotprompt, the properties of Prompty."""

from __future__ import annotations

from typing import Any

from core.prompts.formats._fields import Place

SCALARS = ("string", "number", "integer", "boolean", "null", "any")
# Prompty's names of JSON Schema's types.
_KINDS = {
    "string": "string",
    "integer": "integer",
    "number": "float",
    "boolean": "boolean",
    "array": "array",
    "object": "object",
}
_TYPES = {kind: type_ for type_, kind in _KINDS.items()}
_WORDS = {"description": "description", "enum": "enumValues"}  # and of its other words


def type_of(value: Any) -> str:
    """JSON Schema's type of a value; text when there is none."""
    if isinstance(value, bool):
        return "boolean"
    kinds = ((int, "integer"), (float, "number"), (list, "array"), (dict, "object"))
    return next((name for kind, name in kinds if isinstance(value, kind)), "string")


def kind_of(value: Any) -> str:
    return _KINDS[type_of(value)]


def is_json_schema(value: Any) -> bool:
    """Whether dotprompt takes it as JSON Schema and not as Picoschema."""
    return isinstance(value, dict) and (
        value.get("type") in (*SCALARS, "object", "array") or isinstance(value.get("properties"), dict)
    )


def from_pico(place: Place) -> dict[str, Any]:
    """The JSON Schema that a Picoschema stands for."""
    if is_json_schema(place.value):
        return {"type": "object", **place.value} if "type" not in place.value else place.value
    return pico(place)


def pico(place: Place) -> dict[str, Any]:
    """The JSON Schema of what is Picoschema for sure."""
    if isinstance(place.value, str):
        type_, description = _described(place.value)
        if type_ not in SCALARS:
            raise place.wrong(f"names a schema {type_[:40]!r} that is not in the file")
        found: dict[str, Any] = {} if type_ == "any" else {"type": type_}
        return found | ({"description": description} if description else {})
    properties: dict[str, Any] = {}
    required: list[str] = []
    more: Any = False
    for key, inner in place.fields().each():
        if key == "(*)":
            more = pico(inner)
            continue
        name, optional, type_, description = named(key)
        if not optional:
            required.append(name)
        match type_:
            case "":
                schema = pico(inner)
            case "array":
                schema = {"type": "array", "items": pico(inner)}
            case "object":
                schema = pico(inner)
            case "enum":
                schema = {"enum": [item.value for item in inner.items()]}
            case _:
                raise inner.wrong("can only be marked as array, object or enum")
        if optional and isinstance(schema.get("type"), str):
            schema["type"] = [schema["type"], "null"]
        elif optional and type_ == "enum" and None not in schema["enum"]:
            schema["enum"] = [*schema["enum"], None]
        properties[name] = schema | ({"description": description} if description else {})
    whole = {"type": "object", "properties": properties, "additionalProperties": more}
    return whole | ({"required": required} if required else {})


def named(key: str) -> tuple[str, bool, str, str]:
    """Name, whether it is optional, type and description of a key like `tags?(array, what they are)`."""
    name, _, marked = key.partition("(")
    type_, description = _described(marked.removesuffix(")"))
    return name.removesuffix("?"), name.endswith("?"), type_, description


def _described(text: str) -> tuple[str, str]:
    type_, _, description = text.partition(",")
    return type_.strip(), description.strip()


def to_properties(schema: Any) -> list[dict[str, Any]] | None:
    """Prompty's list of properties; None when it cannot say all that the schema does."""
    if not isinstance(schema, dict) or not isinstance(schema.get("properties"), dict):
        return None
    found = [_property(name, inner, name in schema.get("required", [])) for name, inner in schema["properties"].items()]
    whole = [one for one in found if one is not None]
    return whole if len(whole) == len(found) and from_properties(whole) == schema else None


def _property(name: str, schema: Any, required: bool) -> dict[str, Any] | None:
    kind = _KINDS.get(str(schema.get("type"))) if isinstance(schema, dict) else None
    if kind is None:
        return None
    found = {"name": name, "kind": kind} | {_WORDS[key]: schema[key] for key in _WORDS if key in schema}
    if required:
        found["required"] = True
    if kind == "array" and "items" in schema:
        found["items"] = _property("item", schema["items"], False)
        if found["items"] is None:
            return None
        del found["items"]["name"]
    if kind == "object" and "properties" in schema:
        found["properties"] = to_properties(schema)
        if found["properties"] is None:
            found["properties"] = [
                one
                for key, inner in schema["properties"].items()
                if (one := _property(key, inner, key in schema.get("required", [])))
            ]
    return found


def from_properties(properties: list[dict[str, Any]]) -> dict[str, Any]:
    """The JSON Schema of Prompty's properties."""
    found: dict[str, Any] = {"type": "object", "properties": {one["name"]: _schema(one) for one in properties}}
    required = [one["name"] for one in properties if one.get("required")]
    return found | ({"required": required} if required else {})


def _schema(given: dict[str, Any]) -> dict[str, Any]:
    type_ = _TYPES.get(str(given.get("kind", given.get("type", "string"))), "string")
    found: dict[str, Any] = {"type": type_}
    if isinstance(inner := given.get("properties"), list | dict):
        found |= from_properties(as_list(inner))
    if isinstance(items := given.get("items"), dict):
        found["items"] = _schema(items)
    if isinstance(description := given.get("description"), str):
        found["description"] = description
    if isinstance(values := given.get("enumValues"), list):
        found["enum"] = values
    return found


def as_list(properties: list[Any] | dict[str, Any]) -> list[dict[str, Any]]:
    """Prompty's properties as a list, also where they are an object by name; a bare value is a default."""
    if isinstance(properties, list):
        return [one for one in properties if isinstance(one, dict) and isinstance(one.get("name"), str)]
    return [
        {"name": name, **one} if isinstance(one, dict) else {"name": name, "kind": kind_of(one), "default": one}
        for name, one in properties.items()
    ]
