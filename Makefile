# The commands of this project. Each sets itself up: it needs Python 3.11 or newer, make and a package index, no more.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
# The locks are complete, so nothing is left to resolve.
PIP_INSTALL := -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes --requirement

# A terminal of any encoding: what it has no letter for is escaped.
export PYTHONIOENCODING := $(patsubst x%,%,$(firstword $(subst :, ,x$(PYTHONIOENCODING)))):backslashreplace

.DEFAULT_GOAL := help
.PHONY: help demo up test check coverage chaos lint audit iam-proof format docs build deploy package build-check bench bench-delivery bench-polling bench-coldstart bench-scale bench-batch bench-sweep cost screenshots lock clean

help:
	@sed -n 's/^\([a-z-]*\):.*## /\1|/p' Makefile | while IFS='|' read -r name text; do printf '  make %-15s %s\n' "$$name" "$$text"; done

demo: $(VENV)/.local ## a picture in, a video and its notification out, all on this machine
	@$(RUN) -m local demo $(ARGS)

up: $(VENV)/.local ## the cloud on this laptop, until Ctrl-C
	@$(RUN) -m local up $(ARGS)

test: $(VENV)/.dev ## every test
	$(RUN) -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile $(ARGS)

check: $(VENV)/.dev ## before a commit: format, lint, types, and the unit tests of what changed since BASE (the last commit)
	$(RUN) -m ruff format --check --quiet .
	$(RUN) -m ruff check --quiet .
	$(RUN) -m mypy
	@tests="$$($(RUN) -m tools.changed_tests $(BASE))" && if [ -n "$$tests" ]; then \
		$(RUN) -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile $$tests; \
	else echo "No unit test imports what changed."; fi

coverage: $(VENV)/.dev ## how much of functions/ and shared/ the unit and workflow tests run, lines and branches
	$(RUN) -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile --cov=functions --cov=shared --cov-branch \
		--cov-report=term:skip-covered tests/unit tests/workflow $(ARGS)

chaos: $(VENV)/.dev ## never paid twice, never lost: the full fault injection, and its table (CHAOS_SEED=… for another)
	CHAOS_JOBS=$${CHAOS_JOBS:-520} $(RUN) -m pytest tests/chaos $(ARGS)

# A region of each partition: AWS, GovCloud, China, the European Sovereign Cloud.
PARTITIONS := us-east-1 us-gov-west-1 cn-north-1 eusc-de-east-1

lint: $(VENV)/.dev $(VENV)-sam/.sam $(VENV)-checks/.checks ## formatting, types, docs, and others' tools on the template and the state machines
	$(RUN) -m ruff format --check .
	$(RUN) -m ruff check .
	$(RUN) -m mypy
	$(RUN) -m tools.docs --check
	$(VENV)/bin/cfn-lint template.yaml --append-rules cfn_lint_serverless.rules --regions $(PARTITIONS)
	SAM_CLI_TELEMETRY=0 $(VENV)-sam/bin/python -m samcli validate --lint --region us-east-1
	$(RUN) -m tools.translate_template build/plain
	$(VENV)-checks/bin/python -m checkov.main --config-file .checkov.yaml --file build/plain/template.json
	$(RUN) -m tools.asl

# The timing attack on signing with ecdsa, which its authors do not fix (https://nvd.nist.gov/vuln/detail/CVE-2024-23342).
# Only checkov brings it, to verify signatures of rules from elsewhere. This project has no such rules and signs nothing.
ACCEPTED := --ignore-vuln CVE-2024-23342

# Not in lint: it asks a database on the internet, and its verdict changes from one day to the next.
audit: $(VENV)-checks/.checks ## known weaknesses in what is installed and deployed (asks PyPI)
	for lock in shared/requirements.txt requirements/*.txt; do \
		$(VENV)-checks/bin/python -m pip_audit --strict --disable-pip --require-hashes $(ACCEPTED) --requirement $$lock || exit 1; \
	done

iam-proof: $(VENV)/.dev ## takes away every role's rights one by one, and shows what breaks (twenty minutes)
	$(RUN) -m tools.iam_proof $(ARGS)

format: $(VENV)/.dev ## put the code into shape
	$(RUN) -m ruff format .
	$(RUN) -m ruff check --fix .

docs: $(VENV)/.dev ## write the generated parts of docs/ anew
	$(RUN) -m tools.docs

# SAM's command line is large and wants its own versions, so it lives apart.
screenshots: $(VENV)/.dev ## the README's pictures of the console (ARGS="--all FOLDER" for every view)
	@$(RUN) -m tools.screenshots $(ARGS)

build: $(VENV)-sam/.sam ## what is deployed, cross-built for Lambda without containers
	@$(VENV)-sam/bin/python -m tools.build

deploy: $(VENV)-sam/.sam ## build, deploy, and what to do next (ARGS="--region eu-central-1", or --guided)
	@SAM_CLI_TELEMETRY=0 $(VENV)-sam/bin/python -m tools.deploy deploy $(ARGS)

package: $(VENV)-sam/.sam ## one template with its artefacts in a bucket, for others to launch (BUCKET=…)
	@test -n "$(BUCKET)" || { echo "Say into which bucket: make package BUCKET=…"; exit 1; }
	@SAM_CLI_TELEMETRY=0 $(VENV)-sam/bin/python -m tools.deploy package "$(BUCKET)" $(ARGS)

build-check: $(VENV)-sam/.sam ## build twice, in two places: every artefact must come out the same
	@$(VENV)-sam/bin/python -m tools.build --twice

bench: bench-delivery bench-polling ## the benchmarks of the copy and of the polling

bench-delivery: $(VENV)/.dev ## the copy from the vendor to S3, against the usual ways
	$(RUN) -m benchmarks.delivery $(ARGS)

bench-polling: $(VENV)/.dev ## polls and delays of this project, against the usual ways
	$(RUN) -m benchmarks.polling $(ARGS)

bench-coldstart: $(VENV)/.dev ## from nothing to the first answer, against an empty function and the usual one
	$(RUN) -m benchmarks.coldstart $(ARGS)

bench-scale: $(VENV)/.dev ## a thousand jobs in flight on this machine
	$(RUN) -m benchmarks.scale $(ARGS)

bench-batch: $(VENV)/.dev ## a batch of a thousand rows on this machine, twice
	$(RUN) -m benchmarks.batch $(ARGS)

bench-sweep: $(VENV)/.dev ## one sweep over 20,000 open jobs, its calls counted
	$(RUN) -m benchmarks.sweep $(ARGS)

cost: $(VENV)/.dev ## what a job costs on AWS: requests counted in a real run, times list prices
	$(RUN) -m benchmarks.cost $(ARGS)

lock: ## resolve the dependencies anew (needs uv)
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate pyproject.toml \
		--group lambda --group local --group dev -o requirements/dev.txt
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate pyproject.toml \
		--group lambda --group local -c requirements/dev.txt -o requirements/local.txt
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
		--group pyproject.toml:lambda -c requirements/dev.txt -o requirements/lambda.txt
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate pyproject.toml \
		-c requirements/dev.txt -o shared/requirements.txt
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
		--group pyproject.toml:sam -o requirements/sam.txt
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
		--group pyproject.toml:checks -o requirements/checks.txt
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
		--group pyproject.toml:bench -c requirements/dev.txt -o requirements/bench.txt

clean: ## remove what the other commands made
	rm -rf $(VENV) $(VENV)-sam $(VENV)-checks build .aws-sam demo-out

$(VENV)/bin/python:
	@"$(PYTHON)" -c 'import sys; sys.exit("Python 3.11 or newer is needed, this is " + sys.version.split()[0] + ". Say which: make PYTHON=python3.13 …") if sys.version_info < (3, 11) else None'
	"$(PYTHON)" -m venv $(VENV)

# requirements/dev.txt holds all of requirements/local.txt, in the same versions.
$(VENV)/.local: requirements/local.txt | $(VENV)/bin/python
	@echo "Installing the cloud on a laptop into $(VENV) (once, about a minute)"
	@$(RUN) $(PIP_INSTALL) requirements/local.txt
	@touch $@

$(VENV)/.dev: requirements/dev.txt | $(VENV)/bin/python
	@echo "Installing the test tools into $(VENV) (once, about a minute)"
	@$(RUN) $(PIP_INSTALL) requirements/dev.txt
	@touch $@ $(VENV)/.local

$(VENV)-sam/.sam: requirements/sam.txt
	@echo "Installing SAM's command line into $(VENV)-sam (once, two minutes)"
	"$(PYTHON)" -m venv $(VENV)-sam
	@$(VENV)-sam/bin/python $(PIP_INSTALL) requirements/sam.txt
	@touch $@

$(VENV)-checks/.checks: requirements/checks.txt requirements/asl-validator/package-lock.json
	@echo "Installing the checks into $(VENV)-checks (once, two minutes)"
	"$(PYTHON)" -m venv $(VENV)-checks
	@$(VENV)-checks/bin/python $(PIP_INSTALL) requirements/checks.txt
	@mkdir -p $(VENV)-checks/asl-validator && cp requirements/asl-validator/*.json $(VENV)-checks/asl-validator
	@if command -v npm >/dev/null; then \
		npm ci --loglevel error --ignore-scripts --no-audit --no-fund --prefix $(VENV)-checks/asl-validator; \
	fi
	@touch $@
