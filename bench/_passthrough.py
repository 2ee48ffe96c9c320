"""What many would write in place of a gateway: FastAPI in front, the typed AsyncOpenAI behind. Listens on PORT."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from typing import Any

import uvicorn
from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from openai import AsyncOpenAI

app = FastAPI()
client = AsyncOpenAI(api_key="none", base_url=os.environ.get("UPSTREAM", "http://127.0.0.1:1") + "/v1", max_retries=0)


@app.get("/")
async def alive() -> str:
    return "ok"


@app.post("/v1/chat/completions")
async def chat(body: dict[str, Any]) -> StreamingResponse:
    stream = await client.chat.completions.create(**body)

    async def frames() -> AsyncIterator[str]:
        async for chunk in stream:
            yield f"data: {chunk.model_dump_json()}\n\n"
        yield "data: [DONE]\n\n"

    return StreamingResponse(frames(), media_type="text/event-stream")


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(os.environ["PORT"]), log_level="warning", access_log=False)
