# Two commands matter: `make book` and `make test`. Both set themselves up in .venv.
PYTHON ?= python3
BIN := .venv/bin
HTML := _build/html/index.html
VENDOR := _build/static/vendor/.done
NOTEBOOKS := $(BIN)/python book/tools/notebooks.py
NBVAL := $(BIN)/python -m pytest -q -p no:cacheprovider --nbval --nbval-current-env --nbval-cell-timeout=600 \
	--nbval-sanitize-with=tests/nbval_sanitize.cfg --ignore=book/assignments

.PHONY: help book test lint unit doctest nbval pages browser assignments notebooks colab pdf offline publish \
	release-check colab-check package plain-sphinx examples links release lock clean

help:
	@echo "make book         build the book into _build/html"
	@echo "make test         lint, type check, unit tests, notebooks, book: all that must hold"
	@echo "make assignments  generate the assignments, and try their graders with mutants (HW=hw1 for one)"
	@echo "make colab        generate the notebooks for Colab into _build/colab"
	@echo "make pdf          the whole book as one PDF, in _build/pdf"
	@echo "make offline      the built book as a zip file with its SHA-256, in _build/offline"
	@echo "make publish REPO=owner/name   book, assignments and notebooks for Colab with the repository's address in them"
	@echo "make release-check   what is too slow for make test: package, plain-sphinx, examples, pdf, offline, links, colab-check"
	@echo "make release VERSION=x.y.z   check all, collect wheel, sdist, PDF and zip, tag the commit; uploads nothing"
	@echo "make notebooks    re-execute and normalise the notebooks (NB=path for one)"
	@echo "make lint | unit | doctest | nbval | pages | browser | assignments   one part of make test"
	@echo "make lock         resolve requirements.txt anew from pyproject.toml"

.venv/.installed: requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, this is " + sys.version.split()[0] \
		+ "; name another one: make PYTHON=/path/to/python3.12" if sys.version_info < (3, 11) else 0)'
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "installing the pinned requirements into .venv (a few minutes, about 6 GB)"
	@$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --no-compile -r requirements.txt
	@$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps -e .
	@# By all cores at once, for every process to come: where Python may write no bytecode, torch and lt_core take twice
	@# as long to import. Templates that some packages ship do not compile, and need not.
	@$(BIN)/python -m compileall -qq -j 0 .venv/lib lt_core book/tools || true
	@touch $@

# What the pages load, at the versions of package-lock.json (npm; without one, a Node from PyPI).
$(VENDOR): .venv/.installed package.json package-lock.json book/tools/vendor.py
	@$(BIN)/python book/tools/vendor.py

# All pages each time: Sphinx copies no changed style sheet or script where it finds no changed page.
book: .venv/.installed $(VENDOR)
	@$(BIN)/jupyter-book build . --all -W -n --keep-going -q
	@$(BIN)/python book/tools/check_pages.py
	@echo "the book is at $(CURDIR)/$(HTML)"

# What keeps one processor busy goes two at a time; the rest uses both by itself.
test: .venv/.installed $(VENDOR)
	@$(MAKE) -j 2 lint pages doctest assignments
	@$(MAKE) unit
	@$(MAKE) nbval
	@$(MAKE) browser
	@echo "all checks passed"

lint: .venv/.installed
	$(BIN)/ruff check .
	$(BIN)/mypy

unit: .venv/.installed
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --dist loadscope --no-loadscope-reorder --ignore=tests/browser tests

doctest: .venv/.installed
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q --doctest-modules lt_core

# Outputs must not depend on the number of threads: `make notebooks` made them with two, and here it is one, since two
# kernels of two threads each would wait for one another.
nbval: .venv/.installed
	OMP_NUM_THREADS=1 $(NBVAL) -n 2 --dist loadscope book

pages: book

# Every page in Chromium, from its file and without a network. Needs the built book.
browser: .venv/.installed
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --dist worksteal -p no:cacheprovider tests/browser

notebooks: .venv/.installed
	$(NOTEBOOKS) $(NB)

# Students' editions, graders and solutions; HW=hw1 for one.
assignments: .venv/.installed
	OMP_NUM_THREADS=1 $(BIN)/python book/tools/assignments.py $(HW)

# What Colab opens and the download button gives. Assignments are in it once `make assignments` has made them.
colab: .venv/.installed
	$(BIN)/python book/tools/colab.py $(NB)

# One file of all pages, printed by Chromium; some minutes.
pdf: book
	@$(BIN)/python book/tools/pdf.py

# The same pages give the same file.
offline: book
	@$(BIN)/python book/tools/offline.py

# Stamps the address into badges, set-up cells and links, and this commit into the set-up cells; no file changes.
publish: .venv/.installed
	@$(BIN)/python book/tools/address.py $(REPO)
	LT_REPOSITORY=https://github.com/$(REPO) $(MAKE) assignments book
	LT_REPOSITORY=https://github.com/$(REPO) $(MAKE) colab
	@echo "to publish: _build/html on GitHub Pages, _build/colab as the branch colab (.github/workflows/publish.yml does it)"

# What is too slow for `make test`, or needs a network. Each part is a target of its own.
release-check: package plain-sphinx examples pdf offline links colab-check

# Installs Colab's versions into _build/release (about 6 GB) and runs every chapter there: half an hour.
colab-check: .venv/.installed
	$(BIN)/python book/tools/release_check.py $(NB)

# Wheel and sdist of lt_core, tried in an environment of their own; FULL=1 installs PyTorch there, too.
package: .venv/.installed
	$(BIN)/python book/tools/package_check.py $(if $(FULL),--full)

# The same pages without Jupyter Book, in an environment of its own.
plain-sphinx: book
	$(BIN)/python book/tools/plain_sphinx.py

# The examples that need the extra `examples`, in an environment of their own.
examples: .venv/.installed
	$(BIN)/python book/tools/examples_check.py

# Addresses that the pages link to.
links: book
	$(BIN)/python book/tools/links.py

release: .venv/.installed
	@$(BIN)/python book/tools/release.py $(VERSION)

# uv keeps the versions that are pinned already; UPGRADE=1 takes the newest ones.
lock: .venv/.installed
	$(BIN)/python -m pip install -q uv
	$(BIN)/uv pip compile pyproject.toml --extra dev --extra coursework --universal --python-version 3.11 \
		--no-header --no-annotate $(if $(UPGRADE),--upgrade) -q -o requirements.txt

clean:
	rm -rf _build .venv node_modules
