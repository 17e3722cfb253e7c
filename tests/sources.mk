# Unit tests: one program per module, tests/unit/test_<module>.c with libfaas and the sources named.
$(eval $(call test,err,))
$(eval $(call test,text,))
$(eval $(call test,clock,))
$(eval $(call test,id,))
$(eval $(call test,name,))
$(eval $(call test,log,))
$(eval $(call test,option,))
$(eval $(call test,json,))
$(eval $(call test,envelope,))
$(eval $(call test,pool,))
$(eval $(call test,spill,))
$(eval $(call test,loop,))
$(eval $(call test,metric,))
$(eval $(call test,password,))
$(eval $(call test,secret,))
$(eval $(call test,token,tests/support/forge.c))
$(eval $(call test,token_keys,tests/support/forge.c))

# Fuzz targets, tests/fuzz/fuzz_<parser>.c: $(call fuzz,parser,further sources).  `make check` replays
# tests/fuzz/corpus/<parser>/ with our own driver; scripts/fuzz builds the same with libFuzzer.
FUZZERS :=
define fuzz
TESTS   += $(O)/tests/fuzz_$(1)
FUZZERS += $(O)/fuzz/fuzz_$(1)
SOURCES += tests/fuzz/fuzz_$(1).c tests/fuzz/driver.c $(2)
$(O)/tests/fuzz_$(1): $(O)/tests/fuzz/fuzz_$(1).o $(O)/tests/fuzz/driver.o $(patsubst %.c,$(O)/%.o,$(2)) $(O)/libfaas.a
	@mkdir -p $$(@D)
	$$(call say,link,$$@)$$(CC) $(MODE) $$(LDFLAGS) $$^ $$(LDLIBS) -o $$@
$(O)/fuzz/fuzz_$(1): $(O)/tests/fuzz/fuzz_$(1).o $(patsubst %.c,$(O)/%.o,$(2)) $(O)/libfaas.a
	@mkdir -p $$(@D)
	$$(call say,link,$$@)$$(CC) $(MODE) -fsanitize=fuzzer $$(LDFLAGS) $$^ $$(LDLIBS) -o $$@
endef
$(eval $(call fuzz,json,))
$(eval $(call fuzz,envelope,))
$(eval $(call fuzz,option,))
$(eval $(call fuzz,stream,services/spawner/stream.c))
$(eval $(call fuzz,token,tests/support/forge.c))
$(eval $(call fuzz,frames,))
$(eval $(call fuzz,image_ref,services/registry/image_ref.c))
$(eval $(call fuzz,guard,gateway/guard.c))
$(eval $(call fuzz,query,gateway/routes.c gateway/params.c))
$(eval $(call fuzz,function,$(REGISTRY_NOUNS)))

fuzzers: $(FUZZERS)
.PHONY: fuzzers
