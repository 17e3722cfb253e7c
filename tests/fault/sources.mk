# Fault tests, tests/fault/test_fault_<module>.c: $(call fault,module,further sources).  They run with
# `make check`; tests/support/fault.h says what they claim.  These calls of our own objects go through
# tests/support/fault_calls.c:
FAULT_CALLS := malloc calloc realloc reallocarray strdup strndup open_memstream tsearch vasprintf \
    asprintf __vasprintf_chk __asprintf_chk read __read_chk pread __pread_chk write pwrite fsync \
    ftruncate fstat stat access chmod fchmod mkdir rename unlink flock mkostemp opendir fopen getcwd \
    realpath open close fclose fcntl pipe2 socket setsockopt getsockopt bind listen connect accept4 \
    send recv __recv_chk shutdown epoll_create1 epoll_ctl fork posix_spawn pthread_create \
    jwt_new jwt_add_header jwt_add_grant jwt_add_grant_int jwt_set_alg jwt_encode_str jwt_decode
FAULT_SUPPORT := tests/support/fault.c tests/support/fault_calls.c tests/support/fault_sqlite.c
FAULT_PARTS := $(FAULT_SUPPORT:%.c=$(O)/%.o)
define fault
TESTS   += $(O)/tests/test_fault_$(1)
SOURCES += tests/fault/test_fault_$(1).c $(FAULT_SUPPORT) $(2)
$(O)/tests/test_fault_$(1): $(O)/tests/fault/test_fault_$(1).o $(FAULT_PARTS) $(patsubst %.c,$(O)/%.o,$(2)) $(O)/libfaas.a
	@mkdir -p $$(@D)
	$$(call say,link,$$@)$$(CC) $(MODE) $(FAULT_CALLS:%=-Wl,--wrap=%) $$(LDFLAGS) $$^ $$(LDLIBS) -lcmocka -o $$@
endef
$(eval $(call fault,base,))
$(eval $(call fault,frames,))
$(eval $(call fault,crypto,tests/support/forge.c))
$(eval $(call fault,registry,$(REGISTRY_NOUNS) $(REGISTRY_CATALOG)))
$(eval $(call fault,publisher,$(addprefix services/publisher/,record.c alias.c cache.c book.c place.c \
    tally.c) $(addprefix services/auth/,account.c sessions.c throttle.c)))
$(eval $(call fault,spool,services/publisher/spool.c services/publisher/spool_file.c))
$(eval $(call fault,cli,$(addprefix cli/,credentials.c datadir.c file.c image_registry.c keys.c logfile.c nats_conf.c \
    ports.c programs.c args.c output.c)))
$(eval $(call fault,stack,$(CLI_STACK) cli/args.c))
$(eval $(call fault,spawner,$(addprefix services/spawner/,call_spec.c ledger.c) $(SPAWNER_DOCKER) \
    tests/support/answer.c))
$(eval $(call fault,gateway,$(addprefix gateway/,params.c openfaas.c routes.c rate.c revoked.c exposition.c)))
$(eval $(call fault,apikey,services/auth/apikey.c services/auth/account.c $(addprefix gateway/,permit.c params.c openfaas.c routes.c)))
$(eval $(call fault,image,$(SPAWNER_IMAGE)))

# The networking half of libfaas, against a real nats-server: $(call fault_net,module); an integration test.
# What goes through tests/support/fault_nats.c besides:
FAULT_NET_CALLS := natsMsg_Create natsMsgHeader_Set natsMsgHeader_Get natsOptions_Create \
    $(addprefix natsConnection_,Connect PublishMsg SubscribeSync QueueSubscribeSync) \
    natsSubscription_NextMsg natsSubscription_DrainTimeout faas_loop_post
FAULT_NET_SUPPORT := $(addprefix tests/support/,fault_nats.c fault_net.c fault_bucket.c nats.c process.c promise.c)
define fault_net
ITESTS  += $(O)/itests/test_fault_$(1)
SOURCES += tests/fault/test_fault_$(1).c $(FAULT_SUPPORT) $(FAULT_NET_SUPPORT)
$(O)/itests/test_fault_$(1): $(O)/tests/fault/test_fault_$(1).o $(FAULT_PARTS) $(FAULT_NET_SUPPORT:%.c=$(O)/%.o) $(O)/libfaas.a
	@mkdir -p $$(@D)
	$$(call say,link,$$@)$$(CC) $(MODE) $(FAULT_CALLS:%=-Wl,--wrap=%) $(FAULT_NET_CALLS:%=-Wl,--wrap=%) $$(LDFLAGS) $$^ $$(LDLIBS) -lcmocka -o $$@
endef
$(eval $(call fault_net,rpc))
$(eval $(call fault_net,kv))
$(eval $(call fault_net,feed))
$(eval $(call fault_net,members))
