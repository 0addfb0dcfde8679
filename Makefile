# `make figures` regenerates every figure, `make test` tests everything; each does its own set-up. `make help` lists the rest.
STUDY ?= demo
TORCH_BACKEND ?=
PYTHON ?= python3
PY = .venv/bin/python
export PYTHONUNBUFFERED = 1
export TOKENIZERS_PARALLELISM = false
# Where this is set, every notebook's kernel would compile torch and its kin anew: tens of seconds each.
unexport PYTHONDONTWRITEBYTECODE

.DELETE_ON_ERROR:
.SUFFIXES:
.PHONY: figures lessons book lab test lint bench data broad encoders gallery clean help
.SECONDARY:
.DEFAULT_GOAL = help

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo "STUDY=demo (default) or another file of notebooks/studies; TORCH_BACKEND=cpu for a small installation."

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

# The notebooks, in order. Each executed notebook is its own stamp; % is the study.
RUN = @$(PY) -m gaplib.study $*
BASE = $(addprefix gaplib/,names.py paths.py rows.py)
ENCODED = $(BASE) $(shell find gaplib/datasets gaplib/encoders gaplib/features -name '*.py') $(wildcard data/pairs/*.parquet) \
	requirements.lock $(wildcard data/encoders/*/*.safetensors data/encoders/*/*.json)
MEASURED = $(BASE) $(wildcard gaplib/cone.py gaplib/isotropy.py gaplib/gap.py gaplib/overlap.py gaplib/modulate.py gaplib/lambdas.py)
SWEPT = $(wildcard gaplib/sweep/*.py)
EXPLORER = gaplib/project.py $(wildcard gaplib/explorer/*)
PLOTS = $(wildcard gaplib/plots/*.py)
FIGURES = umap-by-lambda.gif $(addsuffix .png,cones-umap cones-sphere cosines gap-by-lambda auc-by-lambda sensitivity controls \
	verdicts published learned-lambda)

build/%/01-cache-features.ipynb: notebooks/01-cache-features.ipynb notebooks/studies/%.yaml $(ENCODED) | .venv/stamp \
		build/%/00-start-here.ipynb
	$(RUN) $<
# The part after | only keeps two notebooks from running at once under `make -j`.
build/%/02-see-the-cone.ipynb: notebooks/02-see-the-cone.ipynb build/%/01-cache-features.ipynb $(MEASURED) $(EXPLORER)
	$(RUN) $<
build/%/03-measure-the-gap.ipynb: notebooks/03-measure-the-gap.ipynb build/%/01-cache-features.ipynb $(MEASURED) \
		| build/%/02-see-the-cone.ipynb
	$(RUN) $<
build/%/04-sweep-lambda.ipynb: notebooks/04-sweep-lambda.ipynb build/%/01-cache-features.ipynb $(MEASURED) \
		$(SWEPT) | build/%/03-measure-the-gap.ipynb
	$(RUN) $<
build/%/05-ask-when-lambda-matters.ipynb: notebooks/05-ask-when-lambda-matters.ipynb build/%/04-sweep-lambda.ipynb \
		$(wildcard data/published/*.csv)
	$(RUN) $<
build/%/00-start-here.ipynb: notebooks/00-start-here.ipynb $(MEASURED) $(EXPLORER) $(ENCODED) | .venv/stamp
	$(RUN) $<
build/%/06-make-figures.ipynb $(addprefix figures/%/,$(FIGURES)): notebooks/06-make-figures.ipynb \
		build/%/02-see-the-cone.ipynb build/%/03-measure-the-gap.ipynb build/%/04-sweep-lambda.ipynb \
		build/%/05-ask-when-lambda-matters.ipynb $(PLOTS)
	$(RUN) $<
notebooks/studies/%.yaml: | .venv/stamp # reached only when there is no such study: says so
	$(RUN)

figures: build/$(STUDY)/00-start-here.ipynb $(addprefix figures/$(STUDY)/,$(FIGURES)) ## every figure of the study, into figures/STUDY
	@echo "figures/$(STUDY) is up to date"

LESSONS = $(patsubst notebooks/%,build/$(STUDY)/%,$(wildcard notebooks/lessons/*.ipynb))
lessons: $(LESSONS) ## run the lessons, into build/STUDY/lessons
$(LESSONS): build/$(STUDY)/%: notebooks/% $(MEASURED) gaplib/lessons.py gaplib/project.py $(PLOTS) \
		$(wildcard data/encoders/*/curve.csv) | .venv/stamp
	@$(PY) -m gaplib.study $(STUDY) $<

BOOK = build/$(STUDY)/book
book: $(BOOK)/index.html ## all notebooks and lessons as a site to read offline, into build/STUDY/book
	@echo "$(BOOK)/index.html is up to date"
$(BOOK)/index.html: $(patsubst notebooks/%,build/$(STUDY)/%,$(wildcard notebooks/[0-9]*.ipynb)) $(LESSONS) \
		$(addprefix figures/$(STUDY)/,$(FIGURES)) $(wildcard docs/*.*)
	@rm -rf $(BOOK)
	@$(PY) -m sphinx -q -W -c docs build/$(STUDY) $(BOOK)

lab: export OPENBLAS_NUM_THREADS = 1 # as in gaplib.study: threads that wait by spinning slow small products down
lab: .venv/stamp ## open the notebooks in JupyterLab
	$(PY) -m jupyterlab notebooks/00-start-here.ipynb

lint: .venv/stamp ## ruff over code and notebooks; notebooks must hold no outputs
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m nbstripout --keep-id --verify notebooks/*.ipynb notebooks/lessons/*.ipynb

test: lint ## everything: lint, unit tests, doctests, all notebooks under the smoke study
	$(PY) -m pytest

bench: .venv/stamp ## what measures, sweeps and extraction cost, as ratios; about half an hour
	@for script in benchmarks/*.py; do $(PY) $$script || exit 1; done

data: .venv/stamp ## which of the datasets to download are here, and where to get the others
	@$(PY) -m gaplib.datasets

# The committed mini encoders, trained anew: about an hour of CPU; `make -j2 encoders` trains two at once.
MINIS = mini-clip mini-siglip mini-biomedclip mini-medsiglip
TRAINED = $(addprefix train-,$(MINIS))
encoders: $(TRAINED) ## train the mini encoders anew (replaces data/encoders)
.PHONY: $(TRAINED)
$(TRAINED): train-%: .venv/stamp
	$(PY) data/encoders/train.py $*

# Broad training pairs: 26 icon sets, fetched by npm in pinned versions and rendered; too large to commit.
BROAD = data/downloads/icons/broad.parquet
RESVG = resvg-py==0.5.0
broad: $(BROAD) ## fetch and render the broad training pairs (npm; a few minutes), into data/downloads/icons
$(BROAD): data/pairs/iconify.py data/pairs/build.py data/pairs/clipart.parquet data/pairs/emoji.parquet | .venv/stamp
	@$(PY) -m uv pip install --quiet --python $(PY) --target data/downloads/vendor --no-deps $(RESVG)
	PYTHONPATH=data/downloads/vendor $(PY) data/pairs/iconify.py broad

gallery: figures ## the README's pictures, from the study's figures
	$(PY) -m gaplib.plots.style figures/$(STUDY) docs/images umap-by-lambda.gif auc-by-lambda.png

clean: ## remove everything made: build, figures, features, results (not .venv)
	rm -rf build figures data/features data/results
