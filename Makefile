# The whole project in a few words: make book, make test, make verify, make clean.

VENV   := .venv
# PyTorch is installed first and by name, because which build is right depends on the machine.
TORCH  ?= torch==2.13.0
SEARCH := python3.11 python3.12 python3.13 python3 python
NEW_ENOUGH := import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for p in $(SEARCH); do $$p -c "$(NEW_ENOUGH)" 2>/dev/null && { echo $$p; break; }; done)

# The environment is made again when what it is made from changes: the names of the two stamps hold
# a checksum of it, so that a fresh checkout's file times do not matter.
MADE_FROM := $(shell { cat requirements.lock pyproject.toml; echo "$(TORCH)"; } | cksum | tr ' ' '-')
BOOK_ENV  := $(VENV)/.book-$(MADE_FROM)
TEST_ENV  := $(VENV)/.test-$(MADE_FROM)
CONSTRAINTS := $(VENV)/constraints.txt
QUIET     := --quiet --quiet
PIP       := $(VENV)/bin/python -m pip --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: help environment book lite test verify clean distclean
.DELETE_ON_ERROR:

help:
	@echo 'FoundationalECGNet, rebuilt'
	@echo
	@echo '  make book       make the environment (.venv), execute the pages, build the site'
	@echo '  make test       make the environment, run the tests'
	@echo '  make verify     execute every page anew, recompute every stored metric,'
	@echo '                  write build/verify/index.html; fails when a value differs'
	@echo '  make lite       make book, and two pages that run in the browser of the reader'
	@echo '  make clean      remove build/: the next `make book` executes every page'
	@echo '  make distclean  remove .venv/ too (recordings in data/ stay)'
	@echo
	@echo 'Needs Python 3.11 or newer, git, 3 GB of disk. The first time takes about 5 minutes to'
	@echo 'install and 10 to execute; after that only what changed is done again.'
	@echo
	@echo '  ECGNET_DATA=DIR make book     read recordings from a copy of PhysioNet, in place'
	@echo '  ECGNET_OFFLINE=1 make book    make no request for recordings'
	@echo '  make book PYTHON=python3.12   with this Python'
	@echo '  make book TORCH=SPEC          with this PyTorch, as pip takes it ($(TORCH))'
	@echo
	@echo 'Single pages, databases, predictions: .venv/bin/python -m ecgnet_lib --help'

environment: $(TEST_ENV)

book: $(BOOK_ENV)
	@$(VENV)/bin/python -m ecgnet_lib build

test: $(TEST_ENV)
	@$(VENV)/bin/python -m pytest -n 2 --dist loadfile

lite: $(BOOK_ENV)
	@$(PIP) install $(QUIET) --constraint $(CONSTRAINTS) --editable '.[lite]'
	@$(VENV)/bin/python -m ecgnet_lib build --lite

verify: $(BOOK_ENV)
	@$(VENV)/bin/python -m ecgnet_lib verify

clean:
	rm -rf build .pytest_cache .ruff_cache

distclean: clean
	rm -rf $(VENV) ecgnet_lib.egg-info

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo 'No Python 3.11 or newer (with venv) found among: $(SEARCH).' >&2; \
	  echo 'Install one, or name it: make PYTHON=/path/to/python' >&2; exit 1; }
	@$(PYTHON) -c "$(NEW_ENOUGH)" || { echo '$(PYTHON) does not run, is older than Python 3.11,' \
	  'or has no venv. Name another: make PYTHON=python3.12' >&2; exit 1; }
	@echo 'Making $(VENV) with $(PYTHON)'
	@$(PYTHON) -m venv $(VENV)

$(BOOK_ENV): | $(VENV)/bin/python
	@echo 'Installing the packages of the book (about 5 minutes the first time)'
	@$(PIP) install $(QUIET) $(TORCH)
	@grep -v '^torch==' requirements.lock > $(CONSTRAINTS)
	@$(PIP) install $(QUIET) --constraint $(CONSTRAINTS) --editable .
	@rm -f $(VENV)/.book-* $(VENV)/.test-*
	@touch $@

$(TEST_ENV): $(BOOK_ENV)
	@echo 'Installing the packages of the tests'
	@$(PIP) install $(QUIET) --constraint $(CONSTRAINTS) --editable '.[peers,test]'
	@touch $@
