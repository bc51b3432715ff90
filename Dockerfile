# Builds with the toolchain the repository is written for; runs on a slim Debian without it.

FROM rust:1.95-slim-bookworm AS build
WORKDIR /linkroom
# The dependencies first and alone: this layer stays until Cargo.lock changes.
COPY Cargo.toml Cargo.lock ./
RUN mkdir src \
 && echo 'fn main() {}' > src/main.rs \
 && touch src/lib.rs \
 && cargo build --locked --release --bin linkroom \
 && rm -r src
COPY build.rs ./
COPY lua lua
COPY static static
COPY src src
# Newer than the empty program above, or cargo would keep that.
RUN touch src/main.rs src/lib.rs && cargo build --locked --release --bin linkroom

FROM debian:bookworm-slim
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --system --no-create-home --uid 10001 linkroom
COPY --from=build /linkroom/target/release/linkroom /usr/local/bin/linkroom
USER 10001
ENV LISTEN_ADDR=0.0.0.0:8080
EXPOSE 8080
# Ready, not merely alive: a node without Redis should get no traffic.
HEALTHCHECK --interval=5s --timeout=3s --start-period=10s --retries=3 \
  CMD ["linkroom", "health"]
# No shell in between: SIGTERM reaches linkroom, which then drains.
ENTRYPOINT ["linkroom"]
