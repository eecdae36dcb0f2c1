# The targets a newcomer guesses. `make demo` and `make test` do their own set-up.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
LOCK := requirements-dev.lock
EXTRAS := requirements-extras.lock
TORCH ?= torch==2.13.0
DATA ?= ../shared/data
CHECKER ?= ../shared/checker

.PHONY: install extras demo test acceptance bench bench-smoke bench-quality lint format docs site lock clean

install: .venv/installed

.venv/installed: $(LOCK) pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if v >= (3, 11) else f"error: Python {v[0]}.{v[1]} found at {sys.executable}, 3.11 or newer is needed; name one: make PYTHON=/path/to/python3.11 install")'
	@test -x $(BIN)/python || { echo "creating .venv"; $(PYTHON) -m venv .venv; }
	@echo "installing the locked packages (once; a few minutes on a slow line)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement $(LOCK)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@$(BIN)/python -m cli.system
	@touch $@

# What the extras of pyproject.toml need: for the tests of text encoders and of the neural recommender. torch has a step
# of its own: its wheel differs by machine, so no hash is right for all (docs/decisions/0002).
extras: .venv/extras

.venv/extras: $(EXTRAS) .venv/installed
	@echo "installing the packages of the extras (once; PyTorch is large)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement $(EXTRAS)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check $(TORCH)
	@touch $@

demo: install
	@$(BIN)/hourfeed demo

# The browser of the operations page's test: Debian's, where it can be installed; else that test is skipped, except in CI.
.PHONY: browser
browser:
	@command -v chromium chromium-browser google-chrome >/dev/null || test "$$(id -u)" != 0 || ! command -v apt-get >/dev/null || { \
	  echo "installing Chromium (once)"; \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium >/dev/null; }

# What checks the files in deploy/: PyPI's with hashes, Debian's where they can be installed. promtool is unpacked, since its
# package would bring a service. Without them these tests are skipped, except in CI.
.PHONY: deploy-tools
deploy-tools: .venv/deploy-tools

.venv/deploy-tools: requirements-deploy.lock .venv/installed
	@echo "installing what checks deploy/ (once)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements-deploy.lock
	@test "$$(id -u)" != 0 || ! command -v apt-get >/dev/null || $(MAKE) --no-print-directory .venv/debian
	@touch $@

.venv/debian:
	@apt-get update -qq
	@DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends cron docker-compose systemd >/dev/null
	@rm -rf $@.new && mkdir -p $@.new && cd $@.new && apt-get download -qq prometheus 2>/dev/null \
	  && dpkg-deb --fsys-tarfile prometheus_*.deb | tar -x ./usr/bin/promtool && rm prometheus_*.deb
	@mv $@.new $@

# What the tests of TLS need of Debian: certificates, and a Redis with TLS. redis-tools holds the server too, under a name that
# nothing takes for one, so all other tests keep to theirs.
.PHONY: tls
tls:
	@{ command -v openssl && test -x /usr/bin/redis-check-rdb; } >/dev/null || test "$$(id -u)" != 0 || ! command -v apt-get >/dev/null || { \
	  echo "installing OpenSSL and redis-tools (once)"; \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends openssl redis-tools >/dev/null; }

# What looks for secrets in the tree, and for known flaws of the locked packages.
.PHONY: audit audit-tools
audit-tools: .venv/audit-tools

.venv/audit-tools: requirements-audit.lock .venv/installed
	@echo "installing what audits the tree (once)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements-audit.lock
	@touch $@

audit: audit-tools
	@$(BIN)/python -m bench.audit secrets
	@$(BIN)/python -m bench.audit packages

# Files of strangers: 10,000 broken ones, each loaded, set aside or refused; ARGS="--files 500" to try.
.PHONY: malformed
malformed: install
	@$(BIN)/python -m bench.malformed $(ARGS)

# Where the extras cannot be had (no wheel for this machine), their tests are skipped, except in CI. The tests of batch
# and bench take half of the time, so they run beside the others; what they say comes last.
test: install
	@$(MAKE) --no-print-directory browser || case "$${CI:-}" in 1|true) exit 1;; esac
	@$(MAKE) --no-print-directory deploy-tools || case "$${CI:-}" in 1|true) exit 1;; esac
	@$(MAKE) --no-print-directory tls || case "$${CI:-}" in 1|true) exit 1;; esac
	@$(MAKE) --no-print-directory audit-tools || case "$${CI:-}" in 1|true) exit 1;; esac
	@$(MAKE) --no-print-directory extras || case "$${CI:-}" in 1|true) exit 1;; esac
	@mkdir -p .pytest_cache; $(BIN)/python -m pytest tests/batch tests/bench > .pytest_cache/batch.log 2>&1 & batch=$$!; \
	$(BIN)/python -m pytest --ignore=tests/batch --ignore=tests/bench; rest=$$?; \
	wait $$batch; status=$$?; cat .pytest_cache/batch.log; exit $$((rest | status))

# The main job on real interaction logs; ARGS="--only deskdrop days" for parts of it, ARGS=--both for all databases.
acceptance: install
	@$(BIN)/python -m bench.acceptance --data $(DATA) --checker $(CHECKER) $(ARGS)

# How fast it is, at the reference scale (hours, 6 GB of memory, 40 GB of disk); ARGS="--only scale publish" for parts,
# and DATABASE_URL of a Postgres that holds the reference log saves making one.
bench: install
	@$(BIN)/python -m bench.performance $(ARGS)

# The same with small networks, in two or three minutes: that all works, and that results are exact.
bench-smoke: install
	@$(BIN)/python -m bench.performance --smoke $(ARGS)

# How good the feeds are, on real logs and a simulated network; ARGS="--only articles peers" for parts, ARGS=--quick to try.
bench-quality: install
	@$(BIN)/python -m bench.quality --data $(DATA) $(ARGS)

# Speed of the server beside a bare Flask app and what it replaces; ARGS="--seconds 2 --rounds 2" to try.
bench-serve: install wrk
	@$(BIN)/python -m bench.serve $(ARGS)

# A million look-ups while generations flip, every answer compared; ARGS="--lookups 20000" to try.
bench-lookups: install
	@$(BIN)/python -m bench.serve --lookups 1000000 $(ARGS)

# Hundreds of batches killed, and all that they and the server lean on spoiled, under constant look-ups: a quarter of an
# hour; ARGS="--kills 10 --faults 14" to try. ARGS="--only days" for 24 simulated days of hourly refreshes.
chaos: install
	@$(BIN)/python -m bench.chaos $(ARGS)

.PHONY: bench-serve bench-lookups chaos wrk
wrk:
	@command -v wrk >/dev/null || test "$$(id -u)" != 0 || ! command -v apt-get >/dev/null || { \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends wrk >/dev/null; }

lint: install
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(MAKE) --no-print-directory audit-tools
	@$(BIN)/python -m bench.audit secrets

format: install
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

# The pages as a site, in the folder site/; a dead link or anchor, or a page that is not in the menu, is an error.
site: install
	@$(BIN)/python -m sphinx --builder html --conf-dir docs --fail-on-warning --quiet . site
	@echo "site/index.html"

docs: install
	@$(BIN)/python docs/generate.py

lock:
	uv pip compile --quiet --universal --generate-hashes --python-version 3.11 --custom-compile-command "make lock" --output-file requirements.lock pyproject.toml
	uv pip compile --quiet --universal --generate-hashes --python-version 3.11 --custom-compile-command "make lock" --constraint requirements.lock --output-file requirements-dev.lock --group dev pyproject.toml
	uv pip compile --quiet --universal --generate-hashes --python-version 3.11 --custom-compile-command "make lock" --constraint requirements-dev.lock --output-file $(EXTRAS) requirements-extras.in
	uv pip compile --quiet --universal --generate-hashes --python-version 3.11 --custom-compile-command "make lock" --constraint requirements-dev.lock --output-file requirements-deploy.lock requirements-deploy.in
	uv pip compile --quiet --universal --generate-hashes --python-version 3.11 --custom-compile-command "make lock" --constraint requirements-dev.lock --constraint $(EXTRAS) --constraint requirements-deploy.lock --output-file requirements-audit.lock requirements-audit.in

clean:
	rm -rf .venv .hourfeed site .pytest_cache .mypy_cache .ruff_cache
