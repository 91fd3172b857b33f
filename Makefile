# Everything that is done with this repository; `make help` lists it. CI runs `make test` and
# `make check`, nothing else.

PY := .venv/bin/python
SOURCES := src tests examples benchmarks builtin_model
.DEFAULT_GOAL := help
.PHONY: help install demo train-demo example studio test check lint format types imports test-slow test-service test-deploy bench clean setup setup-dev setup-check

# Some images set this; then every start would compile torch and diffusers anew.
unexport PYTHONDONTWRITEBYTECODE
# In tests threads that wait must sleep: spinning ones stand still for seconds on shared cores.
test test-slow test-service: export OMP_WAIT_POLICY := PASSIVE

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: setup ## the main job on the built-in model: search, then confirm; writes demo/report.html
	@TESTSTRIP_HOME=demo/data $(PY) -m teststrip study run examples/demo.yaml --out demo
	@TESTSTRIP_HOME=demo/data $(PY) -m teststrip study confirm demo --seeds 4 --out demo

train-demo: setup ## a style and a subject, trained and selected on the built-in model (CPU); demo/train/*.png
	@$(PY) examples/train/draw_style.py demo/train/sketches
	@$(PY) examples/train/draw_subject.py demo/train/monster
	@TESTSTRIP_HOME=demo/train/data $(PY) -m teststrip train run examples/train/style.yaml
	@TESTSTRIP_HOME=demo/train/data $(PY) -m teststrip train select sketch --scales 0.75,1,1.25 --top 2 || test $$? -eq 1
	@$(PY) examples/train/sheet.py demo/train/data/runs/sketch demo/train/sketch.png
	@TESTSTRIP_HOME=demo/train/data $(PY) -m teststrip train run examples/train/subject.yaml
	@TESTSTRIP_HOME=demo/train/data $(PY) -m teststrip train select monster --scales 0.75,1,1.25 --top 2 || test $$? -eq 1
	@$(PY) examples/train/sheet.py demo/train/data/runs/monster demo/train/monster.png

example: demo ## the demo's report as the example page, its sheet as the picture of the README
	@mkdir -p docs/example && cp demo/report.html docs/example/ && cp demo/contact-sheet.png docs/images/

studio: setup ## the web app on the demo, at http://127.0.0.1:8000
	@test -d demo/data/studies/demo || $(MAKE) --no-print-directory demo
	@TESTSTRIP_HOME=demo/data $(PY) -m teststrip studio serve

test: setup-dev ## the tests
	@scripts/browser.sh
	@$(PY) -m pytest -n 2 --dist worksteal

check: lint types imports test-slow test-service test-deploy ## what else CI runs: lint, types, import floors, long tests

install: setup ## .venv with all that using Teststrip needs

format: setup-dev ## format the code and mend what the linter can
	@$(PY) -m ruff format $(wildcard $(SOURCES))
	@$(PY) -m ruff check --fix $(wildcard $(SOURCES))

lint: setup-dev ## linter and format, without changing anything
	@$(PY) -m ruff check --quiet $(wildcard $(SOURCES))
	@$(PY) -m ruff format --quiet --check $(wildcard $(SOURCES))

types: setup-dev ## mypy --strict
	@$(PY) -m mypy --no-error-summary

imports: setup-dev ## no room imports one above or beside it
	@.venv/bin/lint-imports --no-logo >.venv/imports.log 2>&1 || { cat .venv/imports.log >&2; exit 1; }

test-slow: setup-dev ## the long tests alone
	@$(PY) -m pytest -m 'slow and not gpu and not service' -n 2 --dist worksteal

test-service: setup-check ## the service's tests on a real RabbitMQ, Redis, PostgreSQL and S3 server
	@scripts/services.sh run $(PY) -m pytest -m 'service and not gpu'

test-deploy: setup-check ## deploy/ against its validators, and Terraform applied to a local AWS
	@$(PY) -m pytest -m deploy -n 2 --dist worksteal

bench: setup-dev ## the numbers of docs/benchmarks.md (two hours on 2 cores)
	@$(PY) benchmarks/engine/run.py
	@$(PY) benchmarks/evidence/calibration.py
	@$(PY) benchmarks/evidence/importance.py
	@$(PY) benchmarks/evidence/votes.py
	@$(PY) benchmarks/evidence/images_needed.py
	@$(PY) benchmarks/evidence/speed.py
	@$(PY) benchmarks/studio/index.py
	@$(PY) benchmarks/studio/browser.py
	@$(PY) benchmarks/engine/adapters.py
	@$(PY) benchmarks/train/speed.py
	@$(PY) benchmarks/train/selecting.py
	@$(PY) benchmarks/service/engine.py --out docs/service-engine.md
	@scripts/services.sh run $(PY) benchmarks/service/chaos.py --out docs/service-chaos.md
	@scripts/services.sh run $(PY) benchmarks/service/load.py --out docs/service-load.md
	@$(PY) benchmarks/track/recording.py --out docs/tracking-numbers.md
	@$(PY) benchmarks/track/reading.py --out docs/tracking-numbers.md
	@$(PY) benchmarks/track/startup.py --out docs/tracking-numbers.md
	@$(PY) benchmarks/track/shown.py --out docs/deploy/vm-shown.md
	@$(PY) benchmarks/project/shown.py --out docs/project-shown.md

clean: ## remove caches, build output and demo/; .venv stays
	@rm -rf demo build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	@find src tests -name __pycache__ -type d -prune -exec rm -rf {} +

setup:
	@scripts/setup.sh run

setup-dev:
	@scripts/setup.sh dev

setup-check:
	@scripts/setup.sh check
