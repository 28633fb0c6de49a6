# make help says what there is. Everything installs itself into a virtual environment first.

PYTHON ?= python3
ROOMS ?= neutral,pt,tf,parity,project
BIN := .venv/bin
BUNDLE := convnext/bundle
INSTALL := -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
export TF_CPP_MIN_LOG_LEVEL := 3

.PHONY: help demo test test-data test-jax test-citizens fuzz sanitize fit-gelu bench peers check format clean

help:  ## say what there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

demo: .venv/ready  ## convert the bundled network, compare both frameworks, classify images
	$(BIN)/convnext convert $(BUNDLE) demo-output/timm --to timm-conv --overwrite
	$(BIN)/convnext convert demo-output/timm demo-output/keras --to huggingface-tf --overwrite
	$(BIN)/convnext verify demo-output/timm demo-output/keras
	$(BIN)/convnext classify $(BUNDLE)/*.jpg --model demo-output/timm

test: .venv/ready  ## every test but those that need data or JAX
	CONVNEXT_ROOMS=$(ROOMS) $(BIN)/python -m pytest --numprocesses 2 --dist loadfile

test-data: .venv/ready  ## tests on real images and checkpoints, in ../shared/data
	CONVNEXT_ROOMS=data $(BIN)/python -m pytest

test-jax: .venv-jax/ready  ## the Keras network on Keras' JAX backend, without TensorFlow
	KERAS_BACKEND=jax CONVNEXT_ROOMS=jax .venv-jax/bin/python -m pytest

test-citizens: .venv-citizens/ready  ## other people's tools around the PyTorch network
	CONVNEXT_ROOMS=citizens .venv-citizens/bin/python -m pytest

fuzz: .venv/ready  ## damage thousands of files of each format and read them; some minutes
	$(BIN)/python tools/fuzz_files.py

sanitize: .venv/ready  ## the kernels under AddressSanitizer and UBSan; some minutes, needs g++
	$(BIN)/python -m tools.sanitize_kernels

fit-gelu: .venv/ready  ## derive the coefficients of the kernels' GELU
	$(BIN)/python tools/fit_gelu.py

bench: .venv/ready peers  ## speed beside other libraries; ARGS="--help" says what else, some minutes
	$(BIN)/python tools/bench.py $(ARGS)

peers: .venv-peers/ready .venv-peers-tf/ready .venv-peers-zero/ready  ## the other libraries, for bench

check: .venv/ready  ## lint, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: .venv/ready  ## mend what ruff can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:  ## remove what the other targets made
	rm -rf .venv .venv-* build dist *.egg-info demo-output .pytest_cache .ruff_cache .mypy_cache fuzz-found

.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python $(INSTALL) --editable '.[test]'
	@touch $@

.venv-jax/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv-jax
	.venv-jax/bin/python $(INSTALL) --editable '.[pt]' keras jax pytest
	@touch $@

.venv-citizens/ready: pyproject.toml constraints.txt constraints-peers.txt
	$(PYTHON) -m venv .venv-citizens
	.venv-citizens/bin/python $(INSTALL) --constraint constraints-peers.txt \
		--editable '.[pt,hub]' pytest transformers accelerate peft captum torchao \
		onnx onnxruntime onnxscript
	@touch $@

# torchvision without its dependencies: it would ask for another build of torch
.venv-peers/ready: pyproject.toml constraints.txt constraints-peers.txt
	$(PYTHON) -m venv .venv-peers
	.venv-peers/bin/python $(INSTALL) --constraint constraints-peers.txt \
		--editable '.[pt]' onnx onnxruntime openvino pyyaml
	.venv-peers/bin/python $(INSTALL) --constraint constraints-peers.txt --no-deps timm torchvision
	@touch $@

.venv-peers-tf/ready: pyproject.toml constraints-peers-tf.txt
	$(PYTHON) -m venv .venv-peers-tf
	.venv-peers-tf/bin/python -m pip install --quiet --disable-pip-version-check \
		--constraint constraints-peers-tf.txt --editable . tensorflow tf_keras transformers torch
	@touch $@

.venv-peers-zero/ready: pyproject.toml constraints.txt constraints-peers.txt
	$(PYTHON) -m venv .venv-peers-zero
	.venv-peers-zero/bin/python $(INSTALL) --constraint constraints-peers.txt \
		--editable '.[pt,tf]' zeromodels
	@touch $@
