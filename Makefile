# make demo    set up, run the built-in shapes data set to masks, metrics and a gallery
# make test    set up, run all tests, in as many processes as CORES
# make test-importers  set up, have other programs read the exports (1.6 GB more, in .venv-importers)
# make cluster-test  have a throw-away Slurm (root, Debian) run the toy graph, and end its jobs before their time
# make cluster-demo  run the built-in shapes data set through such a Slurm
# make fuzz    set up, damage inputs of every reader for SECONDS each, with SEED
# make mutants  set up, change MOST things of each pure module, one at a time, and look whether its tests notice
# make remake  make the toy graph of the tests, and one job of each rule once more: are all bytes the same?
# make docs    write the pages of docs/ as a site: site/index.html (120 MB more, in .venv-docs)
# make test-docs  write the site, and test it
# make check   set up, run what CI runs beside the tests: format, lint, types, import contracts, rules
# make format  set up, format Python and Snakemake files, write what is made of code and constraints
# HASHES=no    install the same versions without looking at the hashes of envs/locked/, where they are not known
PYTHON ?= python3
CORES ?= 2
SECONDS ?= 30
SEED ?= 0
MOST ?= 40
HASHES ?= yes
BIN := .venv/bin
INSTALLED := .venv/installed
IMPORTERS := .venv-importers
PAGES := .venv-docs
SMK_FILES := Snakefile $(wildcard rules/*.smk)

# Containers often set it; each job would then compile the modules that it imports once more.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test fuzz mutants remake test-importers cluster-test cluster-demo docs test-docs check format
.DELETE_ON_ERROR:

demo: $(INSTALLED)
	$(BIN)/snakemake -c$(CORES)

test: $(INSTALLED)
	$(BIN)/python -m pytest -n $(CORES)

test-importers: $(INSTALLED) $(IMPORTERS)/installed
	TAGMASK_IMPORTERS=$(CURDIR)/$(IMPORTERS)/bin/python $(BIN)/python -m pytest tests/exports/test_exports_importers.py

cluster-test: $(INSTALLED)
	envs/install_slurm.sh
	TAGMASK_CLUSTER=1 $(BIN)/python -m pytest tests/cluster

cluster-demo: $(INSTALLED)
	envs/install_slurm.sh
	$(BIN)/python -m tests.cluster.slurm -- $(BIN)/snakemake --profile profiles/slurm

fuzz: $(INSTALLED)
	$(BIN)/python -m tests.fuzz.run --seconds $(SECONDS) --seed $(SEED)

mutants: $(INSTALLED)
	$(BIN)/python -m benchmarks.mutants --most $(MOST) --seed $(SEED)

remake: $(INSTALLED)
	$(BIN)/snakemake -c$(CORES) --notemp --configfile tests/pipeline/toy.yaml
	$(BIN)/python -m benchmarks.remake --configfile tests/pipeline/toy.yaml

docs: $(PAGES)/installed
	rm -rf site
	$(PAGES)/bin/python -m sphinx -b html -q -W --keep-going -c docs/site -d site/.doctrees . site

test-docs: $(INSTALLED) docs
	TAGMASK_SITE=$(CURDIR)/site $(BIN)/python -m pytest tests/docs/test_docs_site.py

check: $(INSTALLED)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/snakefmt --check $(SMK_FILES)
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python envs/lint_rules.py
	$(BIN)/python envs/write_conda.py --check
	$(BIN)/python -m envs.write_locked
	$(BIN)/python -m envs.write_licences --check
	$(BIN)/python -m envs.write_sbom --check

format: $(INSTALLED)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	$(BIN)/snakefmt $(SMK_FILES)
	$(BIN)/python -m stages.project.document_settings
	$(BIN)/python envs/write_conda.py
	$(BIN)/python -m envs.write_licences
	$(BIN)/python -m envs.write_sbom

# Files are checked by their hashes; what comes as source is built with the setuptools that is there already.
PIP := -m pip install --quiet --disable-pip-version-check
HASHED := $(PIP) --no-deps --require-hashes
SOURCE := $(HASHED) --no-build-isolation

$(INSTALLED): constraints.txt requirements.txt $(wildcard envs/locked/tagmask*.txt)
	$(PYTHON) envs/check_machine.py HASHES=$(HASHES)
	$(PYTHON) -m venv .venv
ifeq ($(HASHES),no)
	$(BIN)/python $(PIP) -c constraints.txt -r requirements.txt
else
	$(BIN)/python $(HASHED) -r envs/locked/tagmask.txt
	$(BIN)/python $(SOURCE) -r envs/locked/tagmask_sources.txt
endif
	$(BIN)/python -m pip check
	touch $@

$(IMPORTERS)/installed: envs/importers.txt $(wildcard envs/locked/importers*.txt)
	$(PYTHON) -m venv $(IMPORTERS)
ifeq ($(HASHES),no)
	$(IMPORTERS)/bin/python $(PIP) --no-deps -r envs/importers.txt
else
	$(IMPORTERS)/bin/python $(HASHED) -r envs/locked/importers.txt
	$(IMPORTERS)/bin/python $(SOURCE) -r envs/locked/importers_sources.txt
endif
	touch $@

$(PAGES)/installed: envs/docs.txt envs/locked/docs.txt
	$(PYTHON) -m venv $(PAGES)
ifeq ($(HASHES),no)
	$(PAGES)/bin/python $(PIP) --no-deps -r envs/docs.txt
else
	$(PAGES)/bin/python $(HASHED) -r envs/locked/docs.txt
endif
	touch $@
