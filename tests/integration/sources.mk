# What libfaas/net and libfaas/service.c claim, against real servers.
$(eval $(call test,nkey,))
$(eval $(call test,contract,))
$(eval $(call integration,rpc))
$(eval $(call integration,rpc_receipts))
$(eval $(call integration,rpc_once))
$(eval $(call integration,kv))
$(eval $(call integration,stream))
$(eval $(call integration,feed))
$(eval $(call integration,permissions))
$(eval $(call integration,bus,tests/support/cert.c))
$(eval $(call integration,bus_tls,tests/support/cert.c))
$(eval $(call integration,failover))
$(eval $(call integration,island,))
$(eval $(call integration,members,tests/support/program.c))
$(eval $(call integration,service,tests/support/program.c))
# Programs for tests only: built for them, not shipped with the others.
$(eval $(call program,faas-echo,tests/support/echo.c))
$(eval $(call program,scripted-engine,tests/support/scripted_engine.c))
PROGRAMS := $(filter-out $(O)/bin/faas-echo $(O)/bin/scripted-engine,$(PROGRAMS))
integration: $(O)/bin/faas-echo $(O)/bin/scripted-engine
e2e bench-programs: $(O)/bin/scripted-engine
