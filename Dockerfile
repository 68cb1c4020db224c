# Two stages: the first installs the packages, the second runs them.
#   docker build --tag audio-gateway .
#   docker build --build-arg LOCK=requirements-otel.lock --tag audio-gateway .    # with the trace exporter

FROM python:3.13-slim AS builder

ARG LOCK=requirements.lock

# No pip in the environment: the pip of the base image installs into it.
RUN ["python", "-m", "venv", "--without-pip", "/opt/venv"]

COPY requirements.lock requirements-otel.lock /build/
RUN python -m pip --python /opt/venv/bin/python install --no-cache-dir --no-compile --disable-pip-version-check \
    --require-hashes --only-binary :all: -r "/build/${LOCK}"

# The application is pure Python, so copying its files and writing the command is enough. Building a wheel would need a
# build backend that no lock file pins.
COPY app /opt/venv/lib/python3.13/site-packages/app
RUN printf '%s\n' '#!/opt/venv/bin/python' 'from app.cli import app' '' 'app()' > /opt/venv/bin/audio-gateway \
    && chmod -R u=rwX,go=rX /opt/venv \
    && chmod 755 /opt/venv/bin/audio-gateway \
    && /opt/venv/bin/python -m compileall -q --invalidation-mode unchecked-hash /opt/venv/lib


FROM python:3.13-slim

LABEL org.opencontainers.image.title="audio-gateway" \
      org.opencontainers.image.description="A self-hosted, OpenAI-compatible gateway for speech-to-text: one provider key, a key for each caller, limits, budgets and durable usage." \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.licenses="MIT"

# The thresholds stop glibc from mapping and unmapping each read buffer (256 KiB) of an upload. Blocks up to 1 MiB come from
# the heap, and glibc returns heap memory to the system only above 16 MiB.
ENV PATH=/opt/venv/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONDONTWRITEBYTECODE=1 \
    MALLOC_MMAP_THRESHOLD_=1048576 \
    MALLOC_TRIM_THRESHOLD_=16777216 \
    AUDIO_GATEWAY_SERVER__HOST=0.0.0.0 \
    AUDIO_GATEWAY_LEDGER__PATH=/data/ledger.db

COPY LICENSE /usr/share/licenses/audio-gateway/LICENSE
COPY --from=builder /opt/venv /opt/venv
RUN ["install", "-d", "-o", "65532", "-g", "65532", "-m", "0700", "/data"]

USER 65532:65532
WORKDIR /data
VOLUME ["/data"]
EXPOSE 8080
STOPSIGNAL SIGTERM

HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 \
    CMD ["/opt/venv/bin/python", "-I", "-m", "app.healthcheck"]

ENTRYPOINT ["audio-gateway"]
CMD ["serve"]
