# Two stages: what builds the package does not travel with it.
FROM python:3.11-slim AS build
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY connectors connectors
COPY worker worker
RUN python -m venv /opt/bounce-worker
RUN /opt/bounce-worker/bin/pip install --no-cache-dir --require-hashes -r constraints.txt
RUN /opt/bounce-worker/bin/pip install --no-cache-dir --no-deps --no-build-isolation .

FROM python:3.11-slim
RUN groupadd --gid 10001 bounce && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/bounce-worker bounce
COPY --from=build /opt/bounce-worker /opt/bounce-worker
# SIGTERM reaches the pool's children as well under some supervisors: they are to ignore it (see worker/cli/run.py).
ENV PATH=/opt/bounce-worker/bin:$PATH BOUNCE_WORKER_DATA=/var/lib/bounce-worker REMAP_SIGTERM=SIGQUIT
RUN install -d -o bounce -g bounce -m 0700 /var/lib/bounce-worker
# By number, so that an orchestrator sees that it isn't root.
USER 10001:10001
VOLUME /var/lib/bounce-worker
HEALTHCHECK --interval=30s --timeout=15s --start-period=60s CMD ["bounce-worker", "alive", "run"]
ENTRYPOINT ["bounce-worker"]
CMD ["run"]
