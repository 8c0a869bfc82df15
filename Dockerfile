# The daemon in a small image: it runs as a user without rights and writes nothing but its database.
#
#   docker build --tag helena-sync .
#   docker run --env HELENA_API_TOKEN --env DATABASE_URL helena-sync
#
# For --version to name the commit: docker build --build-arg HELENA_SYNC_COMMIT=$(git rev-parse --short HEAD) ...

FROM rust:1-slim-bookworm AS build
WORKDIR /src
COPY . .
ARG HELENA_SYNC_COMMIT
RUN cargo build --release --locked --bin helena-sync

FROM debian:bookworm-slim
# The certificate authorities by which the API is recognised, and the time zones of the system.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates tzdata \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build /src/target/release/helena-sync /usr/local/bin/helena-sync
# Where helena-sync.toml is looked for.
WORKDIR /etc/helena-sync
USER 10001:10001
# The status page, health and metrics; only with a token (http.listen, http.token).
EXPOSE 9464
HEALTHCHECK --interval=1m --timeout=10s --start-period=1m --retries=3 CMD ["helena-sync", "health"]
ENTRYPOINT ["helena-sync"]
CMD ["run"]
