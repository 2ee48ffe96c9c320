"""What turns texts into vectors, chosen by PARLEY_EMBEDDER.

    wordllama          static vectors that come with the install; no network, no cost (the default)
    onnx               all-MiniLM-L6-v2, if it was downloaded for Chroma before; no network, no cost
    ollama/<model>     an embedding model of the Ollama server
    openai/<model>     OpenAI's embeddings, or those of OPENAI_BASE_URL: every message is sent there and is paid for

The last two are used for every finished message and for every search, outside of the ledger: they are only ever
called because the setting names them.
"""

from __future__ import annotations

import importlib.util
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from core.errors import AuthenticationFailed, ModelNotFound, ParleyError, ProviderUnavailable, SettingsError
from core.settings import Settings

Matrix = NDArray[np.float32]
Encode = Callable[[list[str]], Any]  # texts that are not blank -> rows of numbers

LONGEST = 20_000  # characters of a text that are looked at
BATCH = 128  # texts in one call of a server


class Embedder(Protocol):
    """Turns texts into vectors of unit length."""

    name: str  # as in PARLEY_EMBEDDER

    @property
    def dimensions(self) -> int:
        """The length of a vector. The first use loads the model or asks the server; raises core.errors."""
        ...

    @property
    def floor(self) -> float:
        """The cosine similarity below which two texts have nothing to do with each other."""
        ...

    def embed(self, texts: Sequence[str]) -> Matrix:
        """One row a text, float32, unit length; a blank text gives a row of zeros. Thread safe. Raises core.errors."""
        ...


# Nine texts that have nothing to do with each other. What an embedder makes of them shows how alike it finds
# unrelated texts: about 0.0 for wordllama, 0.1 for MiniLM, over 0.4 for some others.
UNRELATED = (
    "The castle was besieged for two years before the garrison gave up.",
    "Fry the onions until they are golden and add the rice.",
    "Create an index on the column that the query filters by.",
    "My knee hurts when I walk down the stairs.",
    "The orchestra opens its season with a symphony by Mahler.",
    "Interest on the loan is due at the end of each quarter.",
    "Penguins huddle together against the Antarctic wind.",
    "Could you move our meeting to Thursday afternoon?",
    "The goalkeeper saved a penalty in the last minute.",
)


class Lazy:
    """An embedder that is loaded at first use. `load` gives the function that encodes, or raises core.errors."""

    def __init__(self, name: str, load: Callable[[], Encode], floor: float | None = None) -> None:
        self.name = name
        self._load = load
        self._floor = floor
        self._encode: Encode | None = None
        self._dimensions = 0
        self._lock = threading.Lock()

    @property
    def dimensions(self) -> int:
        if not self._dimensions:
            self.embed(["dimensions"])
        return self._dimensions

    @property
    def floor(self) -> float:
        """Mean plus four standard deviations of the similarities of UNRELATED, unless a measured value was given."""
        if self._floor is None:
            vectors = self.embed(UNRELATED)
            pairs = (vectors @ vectors.T)[np.triu_indices(len(UNRELATED), 1)]
            self._floor = min(0.9, float(pairs.mean() + 4 * pairs.std()))
        return self._floor

    def embed(self, texts: Sequence[str]) -> Matrix:
        readable = [text[:LONGEST].replace("\x00", " ").encode("utf-8", "replace").decode() for text in texts]
        full = [index for index, text in enumerate(readable) if not text.isspace() and text]
        if not full:
            return np.zeros((len(readable), self.dimensions if readable else self._dimensions), np.float32)
        rows = np.asarray(self._loaded()([readable[index] for index in full]), dtype=np.float32)
        if rows.ndim != 2 or len(rows) != len(full) or (self._dimensions and rows.shape[1] != self._dimensions):
            raise ProviderUnavailable(f"The embedder {self.name} gave vectors of the wrong shape.")
        self._dimensions = rows.shape[1]
        norms = np.linalg.norm(rows, axis=1, keepdims=True)
        usable = np.isfinite(norms) & (norms > 0)
        result = np.zeros((len(readable), rows.shape[1]), np.float32)
        result[full] = np.where(usable, rows / np.where(usable, norms, 1), 0)
        return result

    def _loaded(self) -> Encode:
        with self._lock:
            if self._encode is None:
                self._encode = self._load()
            return self._encode


def embedder(settings: Settings) -> Embedder:
    """The embedder that PARLEY_EMBEDDER names. Nothing is loaded yet. An unknown name is a SettingsError."""
    choice = str(settings["PARLEY_EMBEDDER"]).strip()
    maker, _, model = choice.partition("/")
    if choice == "wordllama":
        # Measured on 26 realistic messages and 40 queries: 0.28 keeps 86 % of the queries that have an answer
        # and 0.3 % of the unrelated pairs (tests/unit/test_search.py repeats it).
        return Lazy(choice, _wordllama, floor=0.28)
    if choice == "onnx":
        return Lazy(choice, _onnx)
    if maker == "ollama" and model:
        return Lazy(choice, lambda: _ollama(settings, model))
    if maker == "openai" and model:
        return Lazy(choice, lambda: _openai(settings, model))
    raise SettingsError(
        f"PARLEY_EMBEDDER={choice} is not an embedder.", "Use wordllama, onnx, ollama/<model> or openai/<model>."
    )


def _wordllama() -> Encode:
    """The mean of the static vectors of a text's tokens.

    wordllama's weights are read without its own loader, which looks for the tokenizer in a folder of the wrong
    name and then asks the network for it, and which sets up the root logger when it is imported.
    """
    from safetensors import safe_open
    from tokenizers import Tokenizer

    found = importlib.util.find_spec("wordllama")
    if found is None or found.origin is None:
        raise ModelNotFound("The package wordllama is not installed.", "Install requirements.txt again.")
    folder = Path(found.origin).parent
    try:
        with safe_open(str(folder / "weights" / "l2_supercat_256.safetensors"), framework="np") as weights:
            table: Matrix = weights.get_tensor("embedding.weight").astype(np.float32)
        tokenizer = Tokenizer.from_file(str(folder / "tokenizers" / "l2_supercat_tokenizer_config.json"))
    except Exception as error:  # both libraries raise plain exceptions of their own
        raise ModelNotFound("The weights of wordllama are missing.", "Install requirements.txt again.") from error
    tokenizer.no_padding()
    tokenizer.no_truncation()

    def encode(texts: list[str]) -> Matrix:
        tokens = tokenizer.encode_batch(texts, add_special_tokens=False)
        return np.stack([table[[i for i in t.ids if i < len(table)] or [0]].mean(axis=0) for t in tokens])

    return encode


def _onnx() -> Encode:
    from chromadb.utils.embedding_functions.onnx_mini_lm_l6_v2 import ONNXMiniLM_L6_V2

    folder = ONNXMiniLM_L6_V2.DOWNLOAD_PATH / ONNXMiniLM_L6_V2.EXTRACTED_FOLDER_NAME
    if not all((folder / name).is_file() for name in ("model.onnx", "tokenizer.json")):
        raise ModelNotFound(
            "The onnx embedder's model (all-MiniLM-L6-v2) has not been downloaded.",
            "Unpack Chroma's onnx.tar.gz in ~/.cache/chroma/onnx_models/all-MiniLM-L6-v2, or choose another embedder.",
        )
    model = ONNXMiniLM_L6_V2(preferred_providers=["CPUExecutionProvider"])
    # Not model(texts): that downloads when a file of the folder is missing.
    return lambda texts: model._forward(texts)


def _batches(texts: list[str], call: Callable[[list[str]], Sequence[Sequence[float]]]) -> list[Sequence[float]]:
    rows: list[Sequence[float]] = []
    for start in range(0, len(texts), BATCH):
        rows.extend(call(texts[start : start + BATCH]))
    return rows


def _ollama(settings: Settings, model: str) -> Encode:
    import httpx
    import ollama

    key = settings["OLLAMA_API_KEY"]
    client = ollama.Client(
        host=settings["OLLAMA_HOST"], timeout=60, headers={"Authorization": f"Bearer {key}"} if key else None
    )

    def call(texts: list[str]) -> Sequence[Sequence[float]]:
        try:
            return client.embed(model, input=texts).embeddings
        except ollama.ResponseError as error:
            if error.status_code == 404:
                fix = f"Run: ollama pull {model}"
                raise ModelNotFound(f"Ollama has no embedding model {model}.", fix) from error
            raise ProviderUnavailable(f"Ollama could not embed with {model} ({error.status_code}).") from error
        except (ConnectionError, httpx.HTTPError, ValueError) as error:
            fix = "Start Ollama, or set OLLAMA_HOST."
            raise ProviderUnavailable("The Ollama server for embeddings cannot be reached.", fix) from error

    return lambda texts: _batches(texts, call)


def _openai(settings: Settings, model: str) -> Encode:
    import openai

    key, base_url = settings["OPENAI_API_KEY"], settings["OPENAI_BASE_URL"]
    if not key and not base_url:
        raise AuthenticationFailed("No key for OpenAI's embeddings.", "Add OPENAI_API_KEY, or choose another embedder.")
    client = openai.OpenAI(api_key=key or "none", base_url=base_url or None, timeout=60, max_retries=1)

    def call(texts: list[str]) -> Sequence[Sequence[float]]:
        try:
            return [row.embedding for row in client.embeddings.create(model=model, input=texts).data]
        except openai.OpenAIError as error:
            raise _openai_error(error, model) from error

    return lambda texts: _batches(texts, call)


def _openai_error(error: Exception, model: str) -> ParleyError:
    status = getattr(error, "status_code", None)
    if status == 401:
        return AuthenticationFailed("OpenAI does not accept the key for embeddings.")
    if status == 404:
        return ModelNotFound(f"OpenAI has no embedding model {model}.", "Change PARLEY_EMBEDDER.")
    reason = f" ({status})" if status else ""
    return ProviderUnavailable(f"OpenAI's embeddings cannot be used now{reason}.")
