# Two commands for a newcomer: `make demo` and `make test`. Both install what is missing, on Debian.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Two files of tests at a time: virtual machines wait more than they work.
SIDE_BY_SIDE := -n 2 --dist loadfile
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)

.PHONY: help setup packages demo modes test check unit lab paper faults react scale evaluate schemas clean

help:  ## what can be made
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

setup: packages $(VENV)/ready  ## install what is missing: Debian packages and .venv

packages:
	@scripts/packages $(SUDO)

$(VENV)/ready: pyproject.toml agents/ramshare_lab/pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]' --editable agents/ramshare_lab
	touch $@

demo: setup  ## the paper's system end to end on this machine, measured (about 10 minutes)
	$(SUDO) $(BIN)/ramshare lab demo

modes: setup  ## the ways to attach, nbd, disk and RAM disk, a minute each pattern (about 40 minutes)
	$(SUDO) $(BIN)/ramshare bench modes

test: setup check  ## every test, the virtual-machine ones included (about 40 minutes)
	$(SUDO) $(BIN)/python -m pytest $(SIDE_BY_SIDE)

check: setup  ## format, lint, types, layers, schemas
	scripts/check

unit: setup  ## the fast tests only
	$(BIN)/python -m pytest -m unit

lab: setup  ## the tests with virtual machines only
	$(SUDO) $(BIN)/python -m pytest -m lab $(SIDE_BY_SIDE)

paper: setup  ## the paper's figures 2 and 3 (about 12 minutes)
	$(SUDO) $(BIN)/ramshare lab paper

react: setup  ## a host that swaps and nobody who types anything (10 minutes)
	$(SUDO) $(BIN)/ramshare lab react

faults: setup  ## the whole fault suite (more than an hour)
	$(SUDO) $(BIN)/ramshare lab faults

scale: setup  ## broker and manager before 100, 1,000 and 10,000 simulated hosts (about 6 minutes)
	$(BIN)/ramshare lab scale --hosts 100 --hosts 1000 --hosts 10000 --guests-interval 60

evaluate: setup  ## a cluster of 1,000 hosts replayed from TRACE=FILE.parquet, against its rivals (1 minute)
	$(BIN)/ramshare lab evaluate $(TRACE)

schemas: setup  ## write schemas/ anew from the messages
	$(BIN)/ramshare schemas schemas

clean:  ## remove what was built and what a crashed lab left
	-[ -x $(BIN)/ramshare ] && $(SUDO) $(BIN)/ramshare lab clean
	rm -rf $(VENV) results build dist
