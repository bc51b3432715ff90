# Two commands do everything, installing what is missing: `make run` and `make test`.

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help run watch test test-fast chaos bench bench-bare bench-scaling bench-inner measure flood audit setup \
	build image cluster engines fmt lint web compose asyncapi examples readme settings-table screenshots

help: ## This list
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 24

# Not optimised: it builds in a third of the time, the tests use the same build, and it is fast enough
# for a few dozen people. For more, `make build` and run target/release/linkroom.
run: ## Start linkroom on http://127.0.0.1:8080
	@scripts/setup.sh run
	@cargo run --locked

# PORT and REDIS_PORT choose other ports than 8080 and 7101 to 7106.
cluster: ## Start a Redis Cluster and three nodes behind the balancer, until Ctrl-C
	@scripts/setup.sh cluster
	@cargo build --locked
	@scripts/cluster.sh

# If a file is new, entr exits with status 2 and is started again with the new list.
watch: ## Build and start linkroom, and restart it on every change
	@scripts/setup.sh watch
	@while :; do \
		find src lua static Cargo.* build.rs -type f | DRAIN_TIMEOUT=1s entr -dnr cargo run --locked; \
		status=$$?; \
		[ $$status -eq 2 ] || exit $$status; \
	done

# For the inner loop. Tests that need several nodes, a browser or a broken Redis run in `make test`.
test-fast: ## Run the tests of parts, of the model and of one node, under a minute once compiled
	@scripts/setup.sh run
	cargo test --locked --lib --bins
	cargo test --locked --test model
	cargo test --locked --test it -- ws_protocol http_rooms http_messages

# The test runner's own summary comes last.
test: setup lint compose asyncapi web examples readme ## Run every check and test
	cargo test --locked --lib --bins
	cargo test --locked --doc
	RUST_TEST_THREADS=4 cargo test --locked --test '*'

# CHAOS_SECONDS says how long, CHAOS_SEED repeats a run, CHAOS_STORM=redis kills Redis in every round.
chaos: ## Inject faults with fresh seeds, for CHAOS_SECONDS
	@scripts/setup.sh test
	CHAOS_SECONDS=$${CHAOS_SECONDS:-600} cargo test --locked --test chaos -- --ignored --nocapture long

# ENGINES=valkey-9 runs one of them: installed (what is on PATH), redis-8, valkey-8, valkey-9.
engines: ## Run the tests of the promises on Redis and Valkey of several versions
	@scripts/setup.sh test
	@scripts/engines.sh $(ENGINES)

bench: ## Measure CPU, memory and latency against a floor server, in 3 minutes once built
bench-bare: ## The same, also against a server with only what linkroom is built on, in 4 minutes
bench-bare: bench_with = --features bare
bench bench-bare:
	@scripts/setup.sh run
	cargo build --locked --release
	cd benches && cargo run --locked --release $(bench_with) -- --linkroom ../target/release/linkroom \
		--out ../target/$@

bench-scaling: ## Measure rooms of 10 to 10,000, herds and memory, for docs/scaling.md, in 10 minutes once built
	@scripts/setup.sh run
	cargo build --locked --release
	cd benches && cargo run --locked --release -- scaling --linkroom ../target/release/linkroom \
		--out ../target/$@

bench-inner: ## Measure the parts of a node: frames, order, fan-out, heartbeats
	cd benches && cargo bench --locked --bench inner

measure: tests/web/node_modules ## Measure the web client: its size, first loads, 5,000 messages
	@scripts/setup.sh test
	cargo build --locked --release
	npm --prefix tests/web run --silent measure

flood: ## Flood a node, and measure the effect on other users
	@scripts/setup.sh test
	cargo test --locked --release --test ops -- --ignored --nocapture figures_of_a_flood

# Asks for the advisory database, so it needs the network.
audit: ## Check the licences, sources and known vulnerabilities of dependencies
	@cargo deny --version >/dev/null 2>&1 || cargo install --locked cargo-deny
	cargo deny --locked check

setup: ## Install what the tests need
	@scripts/setup.sh test

build: ## Build the program for use: target/release/linkroom
	@scripts/setup.sh run
	cargo build --locked --release

# BASE=debootstrap makes the base that it is built in from Debian's packages.
image: ## Build the image with buildah, and check it
	@scripts/image.sh $(BASE)

fmt: ## Format the source
	cargo fmt

# Checking the fuzz targets does not build libFuzzer, which would need a C++ compiler.
lint: ## Check the source: format, clippy, documentation, fuzz targets, benchmarks, scripts, mutations
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	CUSTOM_LIBFUZZER_PATH=./none cargo check --locked --manifest-path fuzz/Cargo.toml \
		--target-dir $${CARGO_TARGET_DIR:-target}
	cargo check --locked --manifest-path benches/Cargo.toml --all-targets --target-dir $${CARGO_TARGET_DIR:-target}
	RUSTDOCFLAGS='-D warnings' cargo doc --locked --no-deps
	for script in scripts/*.sh .ci/run; do sh -n $$script || exit 1; done
	for mutation in tests/chaos/mutations/*; do git apply --check $$mutation || exit 1; done

# Debian 12 has Node.js 18, where the browser's crypto is still behind a flag.
node_options = $$(node -p "parseInt(process.versions.node) < 19 ? '--experimental-global-webcrypto' : ''")

web: tests/web/node_modules ## Check and test the web client's modules
	npm --prefix tests/web run --silent check
	cd tests/web && NODE_OPTIONS="$(node_options)" npm run --silent test

compose: tests/compose/node_modules ## Check docker-compose.yml against its schema, and what is in deploy/
	npm --prefix tests/compose test --silent

asyncapi: tests/asyncapi/node_modules ## Check docs/asyncapi.yaml against the AsyncAPI schema
	npm --prefix tests/asyncapi test --silent

examples: tests/examples/node_modules ## Install what examples/ want; their tests are in tests/ops

tests/%/node_modules: tests/%/package-lock.json
	npm --prefix $(@D) ci --no-audit --no-fund --loglevel=error
	touch $@

readme: ## Run the README's commands; compare its settings with --help
	cargo build --locked
	scripts/settings-table.sh --check
	scripts/readme-tour.sh

settings-table: ## Update the README's table of settings
	cargo build --locked
	scripts/settings-table.sh

screenshots: ## Take pictures of the web client into target/screenshots, the README's among them
	@scripts/setup.sh test
	cargo test --locked --test browser -- --ignored pictures
	cp target/screenshots/room.png target/screenshots/phone.png docs/images/
