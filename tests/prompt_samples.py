"""Prompts in the formats of other tools, as people write them. Made for these tests."""

from __future__ import annotations

from typing import Any

PROMPTY = """\
---
name: Refund Reply
description: Answers a customer who wants money back
metadata:
  authors:
    - Noor
  tags: [support, mail]
  version: "4"
model:
  id: gpt-6-luna
  provider: openai
  apiType: chat
  connection:
    kind: key
    endpoint: ${env:OPENAI_ENDPOINT}
  options:
    temperature: 0.3
    maxOutputTokens: 400
    topK: 20
inputs:
  - name: customer
    kind: string
    description: How we call them
    required: true
    example: Ms Lind
  - name: days
    kind: integer
    default: 14
outputs:
  - name: reply
    kind: string
    description: The mail
    required: true
template:
  format:
    kind: jinja2
  parser:
    kind: prompty
---
system:
You write for a shop. Orders can be sent back for {{ days }} days.

{% if customer -%}
Begin with {{ customer }}.
{% endif %}

# user:
{{ question }}

assistant:
Thank you.
"""

PROMPTY_1 = """\
---
name: Old one
authors: [Ada]
model:
  api: chat
  configuration:
    type: azure_openai
    azure_deployment: gpt-35-turbo
  parameters:
    max_tokens: 128
    temperature: 0.2
inputs:
  firstName:
    type: string
    sample: Jane
sample:
  question: What can you tell me?
---
system:
Help {{firstName}}.

user:
{{question}}
"""

DOTPROMPT = """\
# Copyright of nobody
---
model: googleai/gemini-3-flash
config:
  temperature: 0.7
  topK: 40
  stopSequences: [STOP]
input:
  schema:
    name: string, who is greeted
    mood?: string
    topics(array, what they like): string
  default:
    mood: sunny
output:
  format: json
  schema:
    greeting: string, the words
    stars?: integer
    kind(enum): [SHORT, LONG]
---
{{role "system"}}
You greet people in a {{mood}} mood.
{{#if topics}}
They like:
{{#each topics}}
- {{this}}
{{/each}}
{{/if}}
{{role "user"}}
Greet {{name}}. Show \\{{braces}} and {"json": {{name}} }.
{{role "model"}}
Hello
"""

RULES = "@@@langfusePrompt:name=movies/rules|version=1@@@"
LANGFUSE: list[dict[str, Any]] = [
    {
        "id": "c1",
        "name": "movies/critic",
        "type": "chat",
        "version": 2,
        "labels": ["production", "latest", "Tenant 1"],
        "tags": ["movies"],
        "config": {"model": "gpt-6-luna", "temperature": 0, "supported_languages": ["en"]},
        "prompt": [
            {
                "role": "system",
                "content": "You are an {{level}} critic. @@@langfusePrompt:name=movies/rules|version=1@@@",
            },
            {"type": "placeholder", "name": "history"},
            {"role": "user", "content": "Is {{movie}} good?"},
        ],
        "commitMessage": "Shorter",
    },
    {"name": "movies/rules", "prompt": "Never tell the end. {{ not | this }}", "version": 1, "labels": [], "tags": []},
]

PROMPTFOO = """\
description: Which translation is better
prompts:
  - 'Translate to {{language}}: {{text}}'
  - id: chatty
    label: chat version
    raw: |
      [
        {"role": "system", "content": "You translate into {{ language | upper }}."},
        {"role": "user", "content": "{% if formal %}\\nFormally: {% endif %}{{ text }} {{ data | dump }}"}
      ]
    config:
      temperature: 0.1
  - file://prompts/other.txt
providers:
  - id: openai:chat:gpt-6-luna
    config:
      max_tokens: 100
  - anthropic:messages:claude-sonnet-5
defaultTest:
  vars:
    language: French
tests:
  - vars:
      text: Hello world
      expected: Bonjour
    assert:
      - type: icontains
        value: '{{expected}}'
"""

LLM = """\
model: gpt-6-luna
system: You speak like $who. It costs $$5.
prompt: |
  Summarise this${suffix}x: $input
defaults:
  who: a pirate
options:
  temperature: 0.4
schema_object:
  type: object
  properties:
    summary: {type: string}
extract: true
"""

OPENAI = {
    "prompt": {"id": "pmpt_68a1", "version": "2", "variables": {"city": "Oslo", "unit-system": "metric"}},
    "model": "gpt-6-luna",
    "instructions": "You tell the weather in {{ unit-system }} units.",
    "input": [
        {"role": "developer", "content": [{"type": "input_text", "text": "Be brief."}]},
        {
            "role": "user",
            "content": [
                {"type": "input_text", "text": "How is it in {{city}}?"},
                {"type": "input_image", "image_url": "x"},
            ],
        },
        {"role": "tool", "content": "sunny"},
    ],
    "temperature": 1,
    "max_output_tokens": 200,
    "reasoning": {"effort": "low", "summary": "auto"},
    "text": {"format": {"type": "json_schema", "name": "weather", "schema": {"type": "object"}, "strict": True}},
    "tools": [],
    "store": True,
}
