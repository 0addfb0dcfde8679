# `make figures` regenerates every figure, `make test` tests everything; each does its own set-up. `make help` lists the rest.
STUDY ?= demo
JOBS ?= 2
TORCH_BACKEND ?=
PYTHON ?= python3
PY = .venv/bin/python
export PYTHONUNBUFFERED = 1
export TOKENIZERS_PARALLELISM = false
# Where this is set, every notebook's kernel would compile torch and its kin anew: tens of seconds each.
unexport PYTHONDONTWRITEBYTECODE

.DELETE_ON_ERROR:
.SUFFIXES:
.PHONY: figures lessons book report lab check test format lint bench data broad encoders gallery clean help
.SECONDARY:
.DEFAULT_GOAL = help

# Targets are named after the study and the place, so both must be names that make can hold.
STUDIES = $(patsubst notebooks/studies/%.yaml,%,$(wildcard notebooks/studies/*.yaml))
ODD = $(strip $(foreach c,% : ; $$,$(findstring $c,$(value $1)))$(filter-out 0 1,$(words $(value $1))))
ifneq ($(call ODD,STUDY)$(if $(filter $(STUDIES),$(STUDY)),,unknown),)
$(error STUDY='$(value STUDY)' is no file of notebooks/studies that make can name; there are: $(STUDIES))
endif
ifneq ($(call ODD,GAPLIB_ROOT),)
$(error GAPLIB_ROOT='$(value GAPLIB_ROOT)': make cannot work in a folder with a space or one of % : ; $$ in its name)
endif
# What is made lies below $(MADE): here, or where GAPLIB_ROOT says, and there absolute, for kernels start elsewhere.
ifneq ($(strip $(GAPLIB_ROOT)),)
override export GAPLIB_ROOT := $(abspath $(patsubst ~/%,$(HOME)/%,$(GAPLIB_ROOT)))
MADE = $(GAPLIB_ROOT)/
endif
BUILD = $(MADE)build/$(STUDY)
DRAWN = $(MADE)figures/$(STUDY)
# Notebooks that do not need each other run side by side.
ifneq ($(filter figures lessons book gallery,$(MAKECMDGOALS)),)
MAKEFLAGS += -j$(JOBS)
endif

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo "STUDY=demo (default), quick (two minutes), full (an hour), or another file of notebooks/studies; GAPLIB_ROOT=FOLDER"
	@echo "for what is made; JOBS=2 (default) notebooks or tests side by side; TORCH_BACKEND=cpu for a small installation."

# Set-up. The lock constrains versions instead of listing what to install, so that a CPU build of torch does not bring CUDA.
.venv/stamp: pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "gaplib needs Python 3.11 or newer: make PYTHON=...")'
	@test -x $(PY) || $(PYTHON) -m venv .venv
	@echo "setting up .venv (once; about a minute, most of it torch)"
	@$(PY) -m pip install --quiet --disable-pip-version-check uv==$(shell sed -n 's/^uv==//p' requirements.lock)
	@$(PY) -m uv pip install --quiet --python $(PY) $(if $(TORCH_BACKEND),--torch-backend $(TORCH_BACKEND)) \
		--constraints requirements.lock --group dev --editable .[encoders,notebooks,cluster]
	@mkdir -p $(LAB_SETTINGS) && echo '$(NO_NEWS)' > $(LAB_SETTINGS)/overrides.json
	@touch $@

# JupyterLab would ask whether to fetch news, and look for updates, at its first start.
LAB_SETTINGS = .venv/share/jupyter/lab/settings
NO_NEWS = {"@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": false}}

# The rooms of the package that a notebook's numbers come from. Plots are not among them: a palette edit re-runs 06 only.
SOURCES := $(shell find gaplib -name '*.py' -o -name '*.html')
room = $(foreach name,$1,$(filter gaplib/$(name).py gaplib/$(name)/%,$(SOURCES)))
BASE = $(call room,names paths rows lessons)
ENCODED = $(BASE) $(call room,datasets encoders features) requirements.lock $(wildcard data/pairs/*.parquet) \
	$(wildcard data/encoders/*/*.safetensors data/encoders/*/*.json)
MEASURED = $(BASE) $(call room,cone gap modulate)
EXPLORER = $(call room,project explorer)
SWEPT = $(call room,sweep)
PLOTS = $(call room,plots)
FIGURES = umap-by-lambda.gif $(addsuffix .png,cones-umap cones-sphere cosines cones-published gap-by-lambda auc-by-lambda \
	sensitivity learned-lambda transient treatments heads verdicts published)

# The notebooks: each executed notebook is its own stamp, and names what it reads. % is the study.
RUN = @$(PY) -m gaplib.study '$*' $<
ran = $(addprefix $(MADE)build/%/,$(addsuffix .ipynb,$1))

$(call ran,00-start-here): notebooks/00-start-here.ipynb $(MEASURED) $(EXPLORER) $(ENCODED) | .venv/stamp
	$(RUN)
$(call ran,01-cache-features): notebooks/01-cache-features.ipynb notebooks/studies/%.yaml $(ENCODED) | .venv/stamp
	$(RUN)
$(call ran,02-see-the-cone): notebooks/02-see-the-cone.ipynb $(call ran,01-cache-features) $(MEASURED) $(EXPLORER) \
		data/published/published_cone.csv
	$(RUN)
$(call ran,03-measure-the-gap): notebooks/03-measure-the-gap.ipynb $(call ran,01-cache-features) $(MEASURED)
	$(RUN)
$(call ran,04-sweep-lambda): notebooks/04-sweep-lambda.ipynb $(call ran,01-cache-features) $(MEASURED) $(SWEPT)
	$(RUN)
$(call ran,05-ask-when-lambda-matters): notebooks/05-ask-when-lambda-matters.ipynb $(call ran,04-sweep-lambda) \
		$(wildcard data/published/*.csv)
	$(RUN)
$(call ran,06-make-figures) $(addprefix $(MADE)figures/%/,$(FIGURES)): notebooks/06-make-figures.ipynb $(PLOTS) \
		$(call ran,02-see-the-cone 03-measure-the-gap 04-sweep-lambda 05-ask-when-lambda-matters)
	$(RUN)

# The longest way through them first: 01, then 04.
figures: $(BUILD)/04-sweep-lambda.ipynb $(BUILD)/00-start-here.ipynb $(addprefix $(DRAWN)/,$(FIGURES)) ## every figure of the study, into figures/STUDY
	@echo "$(DRAWN) is up to date"

LESSONS = $(patsubst notebooks/%,$(BUILD)/%,$(wildcard notebooks/lessons/*.ipynb))
lessons: $(LESSONS) ## run the lessons, into build/STUDY/lessons
$(LESSONS): $(BUILD)/%: notebooks/% $(MEASURED) $(call room,project plots) $(wildcard data/encoders/*/curve*.csv) | .venv/stamp
	@$(PY) -m gaplib.study $(STUDY) $<

BOOK = $(BUILD)/book
book: $(BOOK)/index.html ## all notebooks and lessons as a site to read offline, into build/STUDY/book
	@echo "$(BOOK)/index.html is up to date"
$(BOOK)/index.html: $(patsubst notebooks/%,$(BUILD)/%,$(wildcard notebooks/[0-9]*.ipynb)) $(LESSONS) \
		$(addprefix $(DRAWN)/,$(FIGURES)) $(wildcard docs/*.* docs/templates/*) figures/README.md $(SOURCES)
	@rm -rf $(BOOK) $(BUILD)/reference
	@$(PY) -m sphinx -q -W -c docs $(BUILD) $(BOOK)

# One dataset of yours, or embeddings of one; by way of the environment, for a path may hold what a shell would read.
report: override export PAIRS := $(value PAIRS)
report: override export EMBEDDINGS := $(value EMBEDDINGS)
report: override export ENCODERS := $(or $(value ENCODERS),mini-clip)
report: .venv/stamp ## one page about your pairs: PAIRS=folder/mine.csv ENCODERS="clip mini-clip", or EMBEDDINGS=mine.npz
	@$(PY) -m gaplib.report --pairs "$$PAIRS" --encoders "$$ENCODERS" --embeddings "$$EMBEDDINGS"

lab: .venv/stamp ## open the notebooks in JupyterLab
	$(PY) -m jupyterlab --config=.jupyter/jupyter_server_config.py notebooks/00-start-here.ipynb

format: .venv/stamp ## format code and notebooks, and clear the notebooks' outputs
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .
	$(PY) -m nbstripout --keep-id notebooks/*.ipynb notebooks/lessons/*.ipynb

lint: .venv/stamp ## ruff over code and notebooks, the arrows of the house; notebooks must hold no outputs
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m nbstripout --keep-id --verify notebooks/*.ipynb notebooks/lessons/*.ipynb
	.venv/bin/lint-imports --no-cache

# By two workers, in the order of tests/conftest.py. A file's tests stay in one of them, which makes once what they share.
WORKERS = -n $(JOBS) --dist loadfile --no-loadscope-reorder
check: lint ## lint and the fast tests: within two minutes
	$(PY) -m pytest -q $(WORKERS) -m "not slow"

test: lint ## everything: lint, unit tests, doctests, all notebooks under the smoke study
	$(PY) -m pytest $(WORKERS)

bench: .venv/stamp ## what measures, sweeps and extraction cost, as ratios; about half an hour
	@for script in benchmarks/*.py; do $(PY) $$script || exit 1; done

data: .venv/stamp ## which of the datasets to download are here, and where to get the others
	@$(PY) -m gaplib.datasets

BROAD = data/downloads/icons/broad.parquet
RESVG = resvg-py==0.5.0
# The committed mini encoders, trained anew, each with a fixed and with a learned scale: some hours of CPU in all;
# `make -j2 encoders` trains two at once.
MINIS = mini-clip mini-siglip mini-biomedclip mini-medsiglip
TRAINED = $(addprefix train-,$(MINIS))
encoders: $(TRAINED) ## train the mini encoders anew (replaces data/encoders)
.PHONY: $(TRAINED)
$(TRAINED): train-%: $(BROAD)
	$(PY) data/encoders/train.py $*
	$(PY) data/encoders/train.py $* --learned

# Their broad training pairs: 26 icon sets, fetched by npm in pinned versions and rendered; too large to commit.
broad: $(BROAD) ## fetch and render the broad training pairs (npm; a few minutes), into data/downloads/icons
$(BROAD): data/pairs/iconify.py data/pairs/build.py data/pairs/clipart.parquet data/pairs/emoji.parquet | .venv/stamp
	@$(PY) -m uv pip install --quiet --python $(PY) --target data/downloads/vendor --no-deps $(RESVG)
	PYTHONPATH=data/downloads/vendor $(PY) data/pairs/iconify.py broad

gallery: figures ## the pictures of README.md and figures/README.md, small copies of the study's figures
	$(PY) -m gaplib.plots $(DRAWN) figures/gallery $(FIGURES)

clean: ## remove everything made: build, figures, features, results (not .venv)
	rm -rf $(addprefix $(MADE),build data/features data/results) $(filter-out %/gallery/,$(wildcard $(MADE)figures/*/))
