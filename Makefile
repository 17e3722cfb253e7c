# One pass, one output folder per variant and compiler: build/<variant>[-clang]/.  `make help` lists the targets.
VARIANT ?= release
CC      := gcc
O       := build/$(VARIANT)$(if $(findstring clang,$(CC)),-clang)
PKGS    := libmicrohttpd gnutls jansson libjwt libsodium sqlite3 libcurl libarchive libseccomp libnftables yaml-0.1
BASE    := -std=gnu17 -D_GNU_SOURCE -Ilibfaas -I. -MMD -MP -pthread
WARN    := -Wall -Wextra -Werror -Wshadow -Wformat=2 -Wmissing-prototypes -Wcast-qual -Wvla
PKG_CFLAGS := $(shell pkg-config --cflags $(PKGS) 2>/dev/null)
LDFLAGS += -Wl,--as-needed -Wl,-z,relro,-z,now
LDLIBS  := $(shell pkg-config --libs $(PKGS) 2>/dev/null) -lnats -lev -lssl -lcrypto -lcrypt -lm -pthread
debug   := -Og -g3
release := -O2 -g -D_FORTIFY_SOURCE=2 -fstack-protector-strong -fPIE
asan    := -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
tsan    := -O1 -g -fsanitize=thread
future  := $(release)
STATIC  := -O2 -g -D_FORTIFY_SOURCE=2 -fstack-protector-strong
MODE    := $($(VARIANT))
ifeq ($(MODE),)
$(error VARIANT is debug, release, asan, tsan or future)
endif
# future: programs that send and store more than this version knows; tests/e2e/test_mixed.py runs them beside these.
ifeq ($(VARIANT),future)
FUTURE  := $(O)/tests/support/future.o
LDFLAGS += -Wl,--wrap=faas_bus_publish,--wrap=faas_kv_put
endif
# Commands are shown in full with V=1.
say     = $(if $(V),,@printf '%-5s %s\n' $(1) $(2);)
PROGRAMS :=
SOURCES  :=
TESTS    :=
BENCHES  :=
PLANTED  :=
LIBFAAS  := $(wildcard libfaas/*.c libfaas/base/*.c libfaas/crypto/*.c libfaas/net/*.c)

# $(call program,name,sources): a program; used in sources.mk
define program
PROGRAMS += $(O)/bin/$(1)
SOURCES  += $(2)
$(1)_OBJECTS := $(patsubst %.c,$(O)/%.o,$(2)) $(FUTURE) $(O)/libfaas.a
$(O)/bin/$(1): $(patsubst %.c,$(O)/%.o,$(2)) $(FUTURE) $(O)/libfaas.a
	@mkdir -p $$(@D)
	$$(call say,link,$$@)$$(CC) $(MODE) $$(LDFLAGS) $$^ $$(LDLIBS) -o $$@
endef
# $(call planted,name,functions,sources): the program bin/<name> again, in planted/, with faults in place of the functions
define planted
SOURCES += $(3)
$(O)/planted/$(1): $(O)/bin/$(1) $(3:%.c=$(O)/%.o)
	@mkdir -p $$(@D)
	$$(call say,link,$$@)$$(CC) $(MODE) $$(LDFLAGS) $(foreach f,$(2),-Wl,--wrap=$(f)) $$(filter %.o,$$^) $$($(1)_OBJECTS) $$(LDLIBS) -o $$@
PLANTED += $(O)/planted/$(1)
endef
# $(call static_program,name,sources): without libfaas, shared libraries and sanitizers, in every variant: it runs where none of them is
define static_program
PROGRAMS += $(O)/bin/$(1)
SOURCES  += $(2:%.c=static/%.c)
$(O)/bin/$(1): $(2:%.c=$(O)/static/%.o)
	@mkdir -p $$(@D)
	$$(call say,link,$$@)$$(CC) $$(STATIC) -static $$^ -o $$@
endef
# $(call test,name,sources under test): tests/unit/test_<name>.c with cmocka, libfaas and the given sources
define test
TESTS   += $(O)/tests/test_$(1)
SOURCES += tests/unit/test_$(1).c tests/support/promise.c $(2)
$(O)/tests/test_$(1): $(patsubst %.c,$(O)/%.o,tests/unit/test_$(1).c tests/support/promise.c $(2)) $(O)/libfaas.a
	@mkdir -p $$(@D)
	$$(call say,link,$$@)$$(CC) $(MODE) $$(LDFLAGS) $$^ $$(LDLIBS) -lcmocka -o $$@
endef

# $(call integration,name,further sources): tests/integration/test_<name>.c, against real nats-servers
ITESTS :=
define integration
ITESTS  += $(O)/itests/test_$(1)
SOURCES += tests/integration/test_$(1).c tests/support/nats.c tests/support/process.c tests/support/promise.c $(2)
$(O)/itests/test_$(1): $(patsubst %.c,$(O)/%.o,tests/integration/test_$(1).c tests/support/nats.c tests/support/process.c tests/support/promise.c $(2)) $(O)/libfaas.a
	@mkdir -p $$(@D)
	$$(call say,link,$$@)$$(CC) $(MODE) $$(LDFLAGS) $$^ $$(LDLIBS) -lcmocka -o $$@
endef
# $(call bench,name,sources): a program of bench/
define bench
BENCHES += $(O)/bench/$(1)
SOURCES += $(2)
$(O)/bench/$(1): $(patsubst %.c,$(O)/%.o,$(2)) $(O)/libfaas.a
	@mkdir -p $$(@D)
	$$(call say,link,$$@)$$(CC) $(MODE) $$(LDFLAGS) $$^ $$(LDLIBS) -o $$@
endef

all: programs
include $(sort $(wildcard */sources.mk services/*/sources.mk tests/*/sources.mk))

programs: $(PROGRAMS)
unit: $(TESTS)

$(O)/%.o: %.c
	@mkdir -p $(@D)
	$(call say,cc,$<)$(CC) $(BASE) $(WARN) $(MODE) $(PKG_CFLAGS) $(CPPFLAGS) $(CFLAGS) -c $< -o $@
$(O)/static/%.o: %.c
	@mkdir -p $(@D)
	$(call say,cc,$<)$(CC) $(BASE) $(WARN) $(STATIC) $(CPPFLAGS) -c $< -o $@
$(O)/libfaas.a: $(patsubst %.c,$(O)/%.o,$(LIBFAAS))
	@rm -f $@
	$(call say,ar,$@)ar rcs $@ $^
-include $(patsubst %.c,$(O)/%.d,$(SOURCES) $(LIBFAAS))

check: unit ## unit tests of this variant
	@JOBS=$$(nproc) scripts/run-unit $(TESTS)

integration: $(ITESTS) $(PROGRAMS) ## integration tests of this variant, against real nats-servers
	@JOBS=$$((3 * $$(nproc))) RETRY=1 FAAS_BUILD=$(O) scripts/run-unit $(ITESTS) # they wait more than they work
.PHONY: integration

.DEFAULT_GOAL := all
.PHONY: all programs unit check

help: ## this list
	@awk -F':.*## ' '/^[a-z0-9-]+:.*## /{printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
deps: ## install what is missing
	@scripts/deps
examples: ## example images as build/examples/NAME.tar, and in the engine when one answers
	@scripts/examples
demo: ## everything, from nothing, explained step by step
	@scripts/deps
	@$(MAKE) --no-print-directory -j2 programs
	@scripts/demo $(O)/bin
e2e: programs ## end-to-end tests with this variant's programs
	@$(MAKE) --no-print-directory programs VARIANT=future
	@FAAS_BIN=$(CURDIR)/$(O)/bin scripts/run-e2e $(E2E)
chaos: programs ## calls and writes while processes are killed and stopped, ROUNDS=200, SEED at random
	@FAAS_BIN=$(CURDIR)/$(O)/bin scripts/chaos --timed --rounds $(or $(ROUNDS),200) $(if $(SEED),--seed $(SEED))
	@FAAS_BIN=$(CURDIR)/$(O)/bin scripts/chaos --act quorum
	@FAAS_BIN=$(CURDIR)/$(O)/bin scripts/chaos --act overload
	@FAAS_BIN=$(CURDIR)/$(O)/bin scripts/chaos --act disk
# All programs, two of them with a fault that the harness must find.
chaos-planted: programs $(PLANTED)
	@cd $(O)/planted && ln -f $(patsubst %,../bin/%,$(filter-out $(notdir $(PLANTED)),$(notdir $(PROGRAMS)))) .
bench-programs: programs $(BENCHES)
bench: bench-programs ## every figure beside its floor
	@scripts/deps --bench
	@bench/run
# The longest ones first, for -j.
CHECKS := check-model check-gates check-headers check-layers check-openapi check-powershell check-format check-size
lint: $(CHECKS) shellcheck ## format, layers, headers, sizes, scripts, documents
$(CHECKS):
	@scripts/$@
shellcheck:
	@shellcheck $(shell git grep -lE '^#!/(usr/bin/env bash|bin/sh)' 2>/dev/null)
test-deploy: ## images, Compose, a Swarm and what is killed in it, on an engine of its own (minutes)
	@scripts/deps --deploy
	@$(MAKE) --no-print-directory programs
	@scripts/test-deploy $(O)/bin
test: ## all of it: lint, unit and integration in four variants, end to end in release and under sanitizers
	@scripts/deps
	@scripts/test
clean: ## remove what was built
	rm -rf build/debug* build/release* build/asan* build/tsan* build/future*
.PHONY: bench bench-programs chaos chaos-planted help deps examples demo e2e lint $(CHECKS) shellcheck test test-deploy clean
