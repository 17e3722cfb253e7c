# Unit tests: one program per module, tests/unit/test_<module>.c with libfaas and the sources named.
$(eval $(call test,err,))
$(eval $(call test,text,))
$(eval $(call test,quantity,))
$(eval $(call test,trace,))
$(eval $(call test,clock,))
$(eval $(call test,done,))
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
$(eval $(call test,sealed,))
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
$(eval $(call fuzz,apikey,gateway/credential.c))
$(eval $(call fuzz,image_ref,services/registry/image_ref.c))
$(eval $(call fuzz,function_ref,))
$(eval $(call fuzz,guard,gateway/guard.c))
$(eval $(call fuzz,query,gateway/routes.c gateway/params.c gateway/openfaas.c))
$(eval $(call fuzz,header,gateway/routes.c gateway/params.c gateway/openfaas.c))
$(eval $(call fuzz,openfaas,gateway/openfaas.c gateway/routes.c gateway/params.c))
$(eval $(call fuzz,function,$(REGISTRY_NOUNS)))
$(eval $(call fuzz,address,$(addprefix cli/,credentials.c nats_conf.c plan.c plan_nats.c programs.c datadir.c \
    image_registry.c ports.c keys.c keys_tls.c keys_nats.c file.c process.c logfile.c output.c args.c runtime.c engine_probe.c)))
$(eval $(call fuzz,backup,cli/backup_file.c cli/file.c))
$(eval $(call fuzz,stack,$(CLI_STACK) cli/args.c))
$(eval $(call fuzz,job,services/publisher/job.c))
$(eval $(call fuzz,call_spec,$(addprefix services/spawner/,call_spec.c docker_spec.c secret_set.c image/volumes.c)))
$(eval $(call fuzz,engine,$(addprefix services/spawner/,engine.c engine_probe.c) \
    tests/support/answer.c))
$(eval $(call fuzz,attach,$(addprefix services/spawner/,engine.c engine_probe.c attach.c) \
    tests/support/answer.c))
$(eval $(call fuzz,image,$(SPAWNER_DOCKER) tests/support/answer.c))
$(eval $(call fuzz,image_config,$(addprefix services/spawner/image/,config.c user.c volumes.c)))
$(eval $(call fuzz,image_layer,$(SPAWNER_UNPACK)))

fuzzers: $(FUZZERS)
.PHONY: fuzzers

# What the chaos harness (tests/chaos) calls as a function.
$(eval $(call static_program,chaos-function,tests/chaos/function.c))
# Preloaded by it: a clock that can be stepped.
PROGRAMS += $(O)/bin/chaos-clock.so
$(O)/bin/chaos-clock.so: tests/chaos/clock.c
	@mkdir -p $(@D)
	$(call say,link,$@)$(CC) $(filter-out -MMD -MP,$(BASE)) $(WARN) -O2 -g -fPIC -shared $< -o $@
$(eval $(call planted,faas-registry,faas_kv_put,tests/chaos/planted_ack.c))
$(eval $(call planted,faas-publisher,ask_fence faas_stream_put,tests/chaos/planted_fence.c tests/chaos/planted_queue.c))
