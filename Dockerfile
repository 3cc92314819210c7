# Two stages: what builds the package does not travel with it.
FROM python:3.11-slim AS build
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY connectors connectors
COPY worker worker
RUN python -m venv /opt/bounce-worker
RUN PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt /opt/bounce-worker/bin/pip install --no-cache-dir .

FROM python:3.11-slim
RUN useradd --system --uid 10001 --create-home bounce
COPY --from=build /opt/bounce-worker /opt/bounce-worker
ENV PATH=/opt/bounce-worker/bin:$PATH BOUNCE_WORKER_DATA=/var/lib/bounce-worker REMAP_SIGTERM=SIGQUIT
RUN install -d -o bounce /var/lib/bounce-worker
USER bounce
VOLUME /var/lib/bounce-worker
ENTRYPOINT ["bounce-worker"]
CMD ["run"]
