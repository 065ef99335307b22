# The server of Gradwatch: no torch, no compiler, no root.
FROM python:3.11-slim AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY .ci .ci
COPY client_hook client_hook
COPY server server
COPY templates templates
COPY static static
COPY examples examples
RUN python -m venv /opt/gradwatch && /opt/gradwatch/bin/pip install --no-cache-dir ".[server,postgres,oidc]"

FROM python:3.11-slim
RUN useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin gradwatch \
 && install -d -o gradwatch -g gradwatch -m 0700 /data
COPY --from=build /opt/gradwatch /opt/gradwatch
ENV PATH=/opt/gradwatch/bin:$PATH GRADWATCH_HOME=/data PYTHONDONTWRITEBYTECODE=1
USER 10001
VOLUME /data
EXPOSE 8777
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 CMD ["python", "-m", "server.healthy"]
# others can reach it, so it starts only with an admin (gradwatch user add) or with GRADWATCH_SERVER_TOKEN set
CMD ["gradwatch", "serve", "--host", "0.0.0.0", "--port", "8777"]
