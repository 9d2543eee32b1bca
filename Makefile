# The task file: each recipe with what it is for. Programs come from .venv, which ./test makes.

bin := .venv/bin

.PHONY: check format unit system peers vm test bench

check: ## format, lint, types, floors, unit tests: what runs before a commit
	$(bin)/ruff check . && $(bin)/mypy && PYTHONPATH=src $(bin)/lint-imports && $(bin)/python3 -m pytest -q tests/unit

format: ## put the imports and whitespace in order
	$(bin)/ruff check --fix .

unit: ## tests without root, in seconds
	$(bin)/python3 -m pytest tests/unit

system: ## real containers in private namespaces (root)
	./test system

peers: ## the real docker, containerd, podman … beside our boxes (root)
	./test peers

vm: ## systemd and pure cgroup v2 in a virtual machine (root, qemu)
	./test vm

test: ## everything
	./test

bench: ## side by side with the real boxes, interleaved; about half an hour (root)
	WHERRYD="$(CURDIR)/$(bin)/wherryd --data-root {root} --exec-root {run} -H unix://{sock}" \
	WHERRY="$(CURDIR)/$(bin)/wherry -H unix://{sock}" WHERRY_RUNC=$(CURDIR)/$(bin)/wherry-runc \
	WHERRY_PROXY=$(CURDIR)/$(bin)/wherry-proxy WHERRY_CONTAINERD={run}/containerd.sock $(bin)/python bench/compare -a docker
