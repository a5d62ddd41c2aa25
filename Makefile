# make setup   creates .venv with everything pinned        make demo    the main job, end to end
# make demo-ofa, make demo-tinybert   the same with a once-for-all BERT, with a TinyBERT
# make demo-mlm   a masked language model distilled through an assistant
# make test    all tests (what continuous integration runs) make lint    style checks
# make test-slow  kills runs wherever they touch the disk      make notebooks  runs all notebooks in full
SHELL := /bin/bash
PYTHON ?= $(shell for p in python3.11 python3.12 python3.10 python3 python; do \
	$$p -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null && echo $$p && break; done)
VENV := .venv
# What is installed stays, unless another device is named.
DEVICE ?= $(if $(wildcard $(VENV)/.cpu),cpu,$(if $(wildcard $(VENV)/.gpu),gpu,cpu))
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --disable-pip-version-check --quiet
REQUIREMENTS := requirements-build.txt requirements.txt requirements-dev.txt requirements-onnx.txt requirements-teacher.txt requirements-slim.txt constraints.txt pyproject.toml
TASK ?= demo
DATA_DIR ?=
TEACHER ?=
REVIEWS_DIR ?=
CHINESE_DIR ?=
BENCH_LANGUAGE ?=
TASKS_DIR ?=
FRESH ?=

.PHONY: setup demo demo-ofa demo-tinybert demo-mlm test test-slow lint format notebooks test-hf clean

setup: $(VENV)/.$(DEVICE)

$(VENV)/.cpu: $(REQUIREMENTS)
	@test -n "$(PYTHON)" || { echo "error: expected Python 3.10, 3.11 or 3.12 on the path; name one with PYTHON=…"; exit 2; }
	@df -Pk . | awk 'NR == 2 && $$4 < 3000000 { printf "error: expected 3 GB of free disk for $(VENV), there are %.1f\n", $$4 / 1e6; exit 2 }'
	$(PYTHON) -m venv $(VENV)
	@echo "installing the pinned packages: two to five minutes"
	$(PIP) -r requirements-build.txt
	$(PIP) -r requirements.txt -r requirements-dev.txt -r requirements-onnx.txt -c constraints.txt
	$(PIP) --no-deps --require-hashes -r requirements-teacher.txt -r requirements-slim.txt
	$(PIP) --no-deps --no-build-isolation --editable .
	@rm -f $(VENV)/.gpu
	@touch $@
	@echo "installed; try: make demo"

# The 3.x GPU builds are on Paddle's own index (docs/machines.md, section GPU): all but Paddle itself is installed here.
$(VENV)/.gpu: $(REQUIREMENTS)
	$(PYTHON) -m venv $(VENV)
	$(PIP) -r requirements-build.txt
	grep -v '^paddlepaddle==' requirements.txt > $(VENV)/requirements-gpu.txt
	$(PIP) -r $(VENV)/requirements-gpu.txt -r requirements-dev.txt -r requirements-onnx.txt -c <(grep -v '^paddlepaddle==' constraints.txt)
	$(PIP) --no-deps --require-hashes -r requirements-teacher.txt -r requirements-slim.txt
	$(PIP) --no-deps --no-build-isolation --editable .
	@$(BIN)/python -c 'import paddle' 2>/dev/null || echo "now install paddlepaddle-gpu 3.x into $(VENV) as docs/machines.md says under GPU"
	@rm -f $(VENV)/.cpu
	@touch $@

DEMO = $(BIN)/python demo.py --task "$(TASK)" $(if $(DATA_DIR),--data_dir "$(DATA_DIR)") \
	$(if $(TEACHER),--teacher "$(TEACHER)") $(if $(FRESH),--overwrite,--resume)

demo: setup
	$(DEMO)

demo-ofa: setup
	$(DEMO) --recipe ofa

demo-tinybert: setup
	$(DEMO) --recipe tinybert

demo-mlm: setup
	$(DEMO) --recipe mlm

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Two tests at a time, each with one thread: they are small, and two cores are what there is.
test: lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal

# Kills runs before every step that they take on the disk: a quarter of an hour.
test-slow: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/slow_kills.py

# Runs the notebooks with the parameters that stand in them; make test runs them with the smallest.
notebooks: setup
	@for notebook in notebooks/*.ipynb; do \
		echo "== $$notebook"; began=$$SECONDS; $(BIN)/jupyter-execute "$$notebook" || exit 1; \
		echo "$$((SECONDS - began)) s"; done

# Loads an exported BERT in Hugging Face transformers, in an environment of its own with CPU PyTorch.
test-hf: setup
	test -x .venv-hf/bin/python || $(PYTHON) -m venv .venv-hf
	.venv-hf/bin/python -m pip install --disable-pip-version-check --quiet -r requirements-hf.txt
	$(BIN)/python tests/hugging_face/write_folder.py build/hf
	.venv-hf/bin/python tests/hugging_face/compare.py build/hf

# Measurements, on the data in DATA_DIR; hours, and each goes on where it was stopped.
bench-%: setup
	$(BIN)/python -m benchmarks.$(subst -,_,$*) $(if $(DATA_DIR),--data_dir "$(DATA_DIR)") \
		$(if $(filter-out demo,$(TASK)),--task "$(TASK)") $(if $(REVIEWS_DIR),--reviews_dir "$(REVIEWS_DIR)") \
		$(if $(CHINESE_DIR),--chinese_dir "$(CHINESE_DIR)") $(if $(BENCH_LANGUAGE),--language "$(BENCH_LANGUAGE)") \
		$(if $(TASKS_DIR),--tasks_dir "$(TASKS_DIR)")

clean:
	rm -rf build outputs
