# Builds with the toolchain the repository is written for, and runs without a shell or a package
# manager: the program, the libraries that it is linked to, and the certificates of authorities.
#
# `make image` builds and checks it, also where no registry of images is within reach.

# An image with this Rust, a C compiler and certificates.
ARG RUST=docker.io/library/rust:1.95-slim-bookworm

FROM ${RUST} AS build
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
# Everything of the image, in its place. Without nsswitch.conf, the C library would not read /etc/hosts.
RUN install -D target/release/linkroom /image/usr/local/bin/linkroom \
 && ldd target/release/linkroom | grep -o '/[^ ]*' | xargs cp --parents --dereference --target-directory=/image \
 && cp --parents --dereference /etc/ssl/certs/ca-certificates.crt /image \
 && echo 'hosts: files dns' > /image/etc/nsswitch.conf

FROM scratch
COPY --from=build /image /
USER 10001
ENV PATH=/usr/local/bin
ENV LISTEN_ADDR=0.0.0.0:8080
EXPOSE 8080
# Ready, not merely alive: a node without Redis should get no traffic.
HEALTHCHECK --interval=5s --timeout=3s --start-period=10s --retries=3 CMD ["linkroom", "health"]
# SIGTERM reaches linkroom, which then drains.
ENTRYPOINT ["linkroom"]
