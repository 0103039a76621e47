# Names for the scripts that do the work: see scripts/ and docs/development.md.
.POSIX:
.PHONY: all demo test bench fuzz install clean help

PREFIX ?= /usr/local

all:
	scripts/build release

demo:
	@scripts/demo

test:
	scripts/test

fuzz:
	scripts/fuzz 300

bench:
	scripts/bench

install:
	scripts/build release
	cmake --install build/release --prefix "$(PREFIX)"

clean:
	rm -rf build

help:
	@echo "make            build what ships: build/release/holdfast"
	@echo "make demo       see it work: a throw-away PostgreSQL, backed up, drilled and restored (root, or the packages are there)"
	@echo "make test       everything, with sanitizers, against a real PostgreSQL and a real S3 server"
	@echo "make fuzz       every fuzz target for five minutes"
	@echo "make bench      the numbers of docs/benchmarks.md"
	@echo "make install    to PREFIX ($(PREFIX)); DESTDIR is honoured"
	@echo "make clean      remove build/"
