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

# The image's files: the program, the libraries that it is linked to, the certificate authorities by which the
# API is recognised, the time zones, by which a mounted /etc/localtime is known, and where host names are
# looked up.
RUN mkdir -p /image/etc/ssl/certs /image/etc/helena-sync /image/usr/local/bin /image/usr/share \
    && cp target/release/helena-sync /image/usr/local/bin/ \
    && ldd target/release/helena-sync | grep --only-matching '/[^ ]*' \
        | xargs cp --dereference --parents --target-directory=/image \
    && cp /etc/ssl/certs/ca-certificates.crt /image/etc/ssl/certs/ \
    && cp --recursive /usr/share/zoneinfo /image/usr/share/ \
    && echo 'hosts: files dns' > /image/etc/nsswitch.conf \
    && mkdir --mode=1777 /image/tmp

# No shell and no other program.
FROM scratch
COPY --from=build /image /
ENV PATH=/usr/local/bin
# Where helena-sync.toml is looked for.
WORKDIR /etc/helena-sync
USER 10001:10001
# The status page, health and metrics; only with a token (http.listen, http.token).
EXPOSE 9464
HEALTHCHECK --interval=1m --timeout=10s --start-period=1m --retries=3 CMD ["helena-sync", "health"]
ENTRYPOINT ["helena-sync"]
CMD ["run"]
