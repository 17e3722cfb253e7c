SPAWNER := services/spawner
SPAWNER_DOCKER := $(addprefix $(SPAWNER)/,attach.c docker_end.c docker_resolve.c docker_run.c \
	docker_secrets.c docker_spec.c engine.c engine_image.c engine_probe.c known.c outcome.c ref.c registry_auth.c runtime_docker.c \
	stream.c sweep.c docker_turn.c secret_set.c image/volumes.c)
include services/spawner/image/sources.mk
SPAWNER_NATIVE := $(addprefix $(SPAWNER)/native/,call_image.c cgroup.c cgroup_files.c cgroup_find.c cgroup_v2.c filter.c input.c lane.c lane_make.c nursery.c order.c \
	outbound.c resolvers.c run.c runtime_native.c secret_files.c share.c warm.c) \
	$(addprefix $(SPAWNER)/,secret_set.c spec_copy.c zygote/packet.c)
# How a spawner gets images by itself.
SPAWNER_PULLER := $(addprefix $(SPAWNER)/image/,find.c puller.c)

$(eval $(call program,faas-image,$(addprefix $(SPAWNER)/image/,main.c confine.c fetch.c) $(SPAWNER_UNPACK)))

$(eval $(call program,faas-spawner,$(SPAWNER)/main.c $(SPAWNER)/worker.c $(SPAWNER)/job.c $(SPAWNER)/job_begin.c $(SPAWNER)/job_input.c $(SPAWNER)/job_event.c \
	$(SPAWNER)/call_spec.c $(SPAWNER)/ledger.c $(SPAWNER)/beats.c $(SPAWNER)/direct.c $(SPAWNER)/secrets.c $(SPAWNER)/logins.c \
	$(SPAWNER_DOCKER) $(filter-out $(SPAWNER_DOCKER),$(SPAWNER_IMAGE)) $(SPAWNER_PULLER) $(SPAWNER_NATIVE) \
	$(SPAWNER)/native/check.c))

$(eval $(call program,faas-outbound,$(addprefix $(SPAWNER)/outbound/,main.c devices.c rules.c) $(SPAWNER)/zygote/packet.c))

$(eval $(call static_program,faas-enter,$(SPAWNER)/enter.c))

$(eval $(call static_program,faas-zygote,$(addprefix $(SPAWNER)/zygote/,main.c lane.c sandbox.c slot.c empty.c packet.c)))

$(eval $(call bench,docker_overhead,bench/docker_overhead.c tests/support/caller.c \
	$(SPAWNER)/call_spec.c $(SPAWNER)/docker_spec.c $(SPAWNER)/secret_set.c $(SPAWNER)/image/volumes.c))

$(eval $(call test,secret_set,$(SPAWNER)/secret_set.c))
$(eval $(call test,stream,$(SPAWNER)/stream.c))
$(eval $(call test,outcome,$(SPAWNER)/outcome.c))
$(eval $(call test,spawner_memory,$(SPAWNER)/known.c $(SPAWNER)/ledger.c $(SPAWNER)/beats.c))
$(eval $(call test,docker_spec,$(SPAWNER)/docker_spec.c $(SPAWNER)/secret_set.c $(SPAWNER)/call_spec.c $(SPAWNER)/image/volumes.c))
$(eval $(call test,sweep,$(SPAWNER)/sweep.c))
$(eval $(call test,spawner_ref,$(SPAWNER)/ref.c $(SPAWNER)/registry_auth.c))
$(eval $(call test,call_spec,$(SPAWNER)/call_spec.c))
SPAWNER_DEN := $(addprefix tests/support/,caller.c den.c engine.c)
$(eval $(call integration,spawner,$(SPAWNER_DEN)))
$(eval $(call integration,spawner_fate,$(SPAWNER_DEN)))
$(eval $(call integration,spawner_turns,$(SPAWNER_DEN)))
$(eval $(call test,image_config,$(addprefix $(SPAWNER)/image/,config.c user.c volumes.c)))
$(eval $(call test,image_store,$(SPAWNER_IMAGE)))
$(eval $(call test,image_entry,$(SPAWNER)/image/entry_name.c))
$(eval $(call test,cgroup_find,$(SPAWNER)/native/cgroup_find.c))
$(eval $(call test,resolvers,$(SPAWNER)/native/resolvers.c))
$(eval $(call test,order,$(SPAWNER)/native/order.c $(SPAWNER)/zygote/packet.c))
# In a sandbox of this machine, as root: tests/support/sandbox.h.  faas-inside is what runs in it.
SPAWNER_SANDBOX := tests/support/sandbox.c $(SPAWNER_NATIVE) \
	$(addprefix $(SPAWNER)/,call_spec.c outcome.c image/config.c image/user.c image/volumes.c)
$(eval $(call static_program,faas-inside,tests/images/inside.c tests/images/inside_deeds.c))
PROGRAMS := $(filter-out $(O)/bin/faas-inside,$(PROGRAMS))
integration: $(O)/bin/faas-inside
$(eval $(call integration,cgroups,$(addprefix $(SPAWNER)/native/,cgroup.c cgroup_files.c cgroup_find.c cgroup_v2.c)))
$(eval $(call integration,sandbox,$(SPAWNER_SANDBOX)))
$(eval $(call integration,sandbox_lanes,$(SPAWNER_SANDBOX)))
$(eval $(call integration,sandbox_attacks,$(SPAWNER_SANDBOX)))
$(eval $(call integration,sandbox_slots,$(SPAWNER_SANDBOX)))
$(eval $(call integration,sandbox_volumes,$(SPAWNER_SANDBOX)))
$(eval $(call integration,sandbox_outbound,$(SPAWNER_SANDBOX)))
$(eval $(call integration,sandbox_alone,$(SPAWNER_SANDBOX)))
# The same zygote with barriers that can be left out; for test_sandbox_alone.c.
SPAWNER_WEAK := $(addprefix $(SPAWNER)/zygote/,main.c lane.c sandbox.c slot.c empty.c packet.c)
$(O)/itests/faas-zygote-weak: $(SPAWNER_WEAK) $(wildcard $(SPAWNER)/zygote/*.h)
	@mkdir -p $(@D)
	$(call say,link,$@)$(CC) $(filter-out -MMD -MP,$(BASE)) $(WARN) $(STATIC) -DZY_TEST_BARRIERS -static $(SPAWNER_WEAK) -o $@
$(O)/itests/test_sandbox_alone: | $(O)/itests/faas-zygote-weak
$(eval $(call integration,sandbox_barriers,$(filter-out %/native/filter.c,$(SPAWNER_SANDBOX))))
$(eval $(call integration,spawner_native,tests/support/caller.c tests/support/program.c))
SPAWNER_RIG := bench/rig.c $(SPAWNER_NATIVE) $(SPAWNER_PULLER) $(SPAWNER_IMAGE) $(addprefix $(SPAWNER)/,call_spec.c outcome.c)
$(eval $(call bench,sandbox,bench/sandbox.c $(SPAWNER_RIG)))
$(eval $(call bench,sandbox_host,bench/sandbox_host.c $(SPAWNER_RIG)))
$(eval $(call bench,sandbox_peers,bench/sandbox_peers.c $(SPAWNER_RIG)))
$(eval $(call bench,records_cost,bench/records_cost.c $(SPAWNER_RIG)))
$(eval $(call bench,http_path,bench/http_path.c $(SPAWNER_RIG)))
$(O)/bench/tiny_echo: bench/tiny_echo.c
	@mkdir -p $(@D)
	$(call say,link,$@)$(CC) $(BASE) $(WARN) -O2 -static -nostdlib -ffreestanding -fno-stack-protector -fno-tree-loop-distribute-patterns -o $@ $<
bench-programs: $(O)/bench/tiny_echo
