# Parley as one container, which is also a Hugging Face Space:
#   docker build -t parley . && docker run -p 7860:7860 -v parley:/data parley

# 3.11-slim of 5 August 2026 (Python 3.11.15), all platforms. The newest digest is in docker-library/repo-info,
# repos/python/remote/3.11-slim.md; both FROM lines have the same one.
FROM python:3.11-slim@sha256:90744cff8f32887f075c47d747a173ff333e9e98801667af93c357fa9f5e28ff AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /app
COPY requirements.lock ./
RUN python -m venv /venv && /venv/bin/python -m pip install --require-hashes -r requirements.lock
COPY app.py ./
COPY core core
COPY data data
RUN PARLEY_DATA_DIR=/tmp/data PARLEY_MODELS_DIR=/models /venv/bin/python app.py models fetch
COPY pages pages
COPY prompts prompts
RUN /venv/bin/python -m compileall -q app.py core pages

FROM python:3.11-slim@sha256:90744cff8f32887f075c47d747a173ff333e9e98801667af93c357fa9f5e28ff
# libgomp1: llama.cpp's threads. ca-certificates: the providers are checked against the system's certificates.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates libgomp1 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 1000 --create-home parley \
    && mkdir /data && chown parley:parley /data
COPY --from=build /venv /venv
COPY --from=build /models /models
COPY --from=build /app /app
WORKDIR /app
USER 1000
# The address is open to the outside, so /v1 and /api/v1 stay off until PARLEY_API_KEYS is set. The registry lies in the
# volume, so that new versions outlive the container; it begins with a copy of /app/prompts.
ENV PATH=/venv/bin:$PATH \
    HOME=/home/parley \
    PYTHONUNBUFFERED=1 \
    PARLEY_HOST=0.0.0.0 \
    PORT=7860 \
    PARLEY_DATA_DIR=/data \
    PARLEY_PROMPTS_DIR=/data/prompts \
    PARLEY_MODELS_DIR=/models
VOLUME /data
EXPOSE 7860
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request; urllib.request.urlopen(f'http://127.0.0.1:{os.environ[\"PORT\"]}/healthz', timeout=4)"]
CMD ["python", "app.py", "serve"]
