# Every target makes its own .venv on a fresh machine: Python >= 3.11, pip, venv and make are all it takes.
PYTHON ?= python3
BIN := .venv/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo test test-slow test-gpu lint figures speed clean

demo: .venv/run.stamp
	$(BIN)/python -m studies run bakeoff --tier smoke --store build/demo --tables build/demo
	$(BIN)/python -m paper_figures bakeoff --tables build/demo --out build/demo

test: .venv/test.stamp
	$(BIN)/python -m pytest -q -n auto --dist loadfile

test-slow: .venv/test.stamp
	$(BIN)/python -m pytest -q -m slow

# GPU_PYTHON=/path/to/python with a CUDA build of torch; the Triton kernels are also interpreted, and compiled, without a GPU.
GPU_PYTHON ?= $(BIN)/python
test-gpu: .venv/gpu.stamp
	TRITON_INTERPRET=1 $(BIN)/python -m pytest -q tests/solvers/test_neural_device.py tests/solvers/test_neural_whole_step.py
	$(BIN)/python -m pytest -q tests/solvers/test_neural_device.py -k compiles
	$(GPU_PYTHON) -m pytest -q -rs -m gpu tests/solvers/test_gpu.py

lint: .venv/lint.stamp
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

figures: .venv/run.stamp
	for study in $$($(BIN)/python -m studies names); do $(BIN)/python -m studies run $$study --tier laptop || exit 1; done
	$(BIN)/python -m paper_figures --out paper_figures/gallery

# PEER_PYTHON=/path/to/python with sae-lens races it, too; CODING_PEER_PYTHON one with SPAMS, celer, dictlearn, pylops, sporco.
speed: .venv/run.stamp
	$(BIN)/python -m studies.speed.generation $(if $(PEER_PYTHON),--peer-python $(PEER_PYTHON))
	$(BIN)/python -m studies.speed.training $(if $(PEER_PYTHON),--peer-python $(PEER_PYTHON))
	$(BIN)/python -m studies.speed.scale $(if $(PEER_PYTHON),--peer-python $(PEER_PYTHON))
	$(BIN)/python -m studies.speed.coding $(if $(CODING_PEER_PYTHON),--peer-python $(CODING_PEER_PYTHON))
	$(BIN)/python -m studies.speed.gpu

.venv/pyvenv.cfg:
	$(PYTHON) -m venv .venv

.venv/run.stamp: .venv/pyvenv.cfg pyproject.toml constraints.txt
	$(INSTALL) -e '.[sklearn]'
	touch $@

.venv/test.stamp: .venv/run.stamp
	$(INSTALL) -e '.[sklearn,test]'
	touch $@

.venv/gpu.stamp: .venv/test.stamp
	$(INSTALL) -e '.[sklearn,test,gpu]'
	touch $@

.venv/lint.stamp: .venv/test.stamp
	$(INSTALL) -e '.[sklearn,test,lint]'
	touch $@

clean:
	rm -rf build .pytest_cache .mypy_cache .ruff_cache
	find sparsesim studies -name '*.nb[ic]' -delete
