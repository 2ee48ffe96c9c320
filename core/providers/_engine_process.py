"""The process that a model runs in: llama.cpp with its own HTTP server. Started by `_engine.py`, never imported.

Reads one line of JSON from its input, writes one line of JSON with the address or the error, and ends when its input
ends, which also happens when the parent dies in whatever way.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any


def _start(config: dict[str, Any]) -> Any:
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = config["path"]
    params.model_alias = {config["model"]}
    params.n_parallel = config["slots"]
    params.n_ctx = config["context"] * config["slots"]
    params.n_predict = config["max_tokens"]
    params.cpuparams.n_threads = config["threads"]
    # Requests that wait for a slot hold a thread each; the server's own choice would stop to accept at six.
    params.n_threads_http = 64
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.api_keys = [config["key"]]
    params.cors_origins = ""
    params.ui = False
    params.endpoint_slots = False
    params.verbosity = 0
    params.warmup = False
    params.fit_params = False  # else it would shrink the context without a word
    params.cache_ram_mib = 128  # prompts of conversations that lost their slot; the default is 8 GB
    for name, value in config["sampling"].items():
        setattr(params.sampling, name, value)
    return xllamacpp.Server(params)


def main() -> None:
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # nothing that a library prints may get between the answers
    config = json.loads(sys.stdin.readline())
    server = None
    try:
        server = _start(config)
        answer = {"address": server.listening_address}
    except Exception as error:
        answer = {"error": f"{type(error).__name__}: {error}"}
    answers.write(json.dumps(answer) + "\n")
    answers.flush()
    if server is not None:
        sys.stdin.read()
    # Freeing the server waits for running answers, and ending Python beside it may crash: leave it to the system.
    os._exit(0)


if __name__ == "__main__":
    main()
