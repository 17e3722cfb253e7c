# What libfaas/net and libfaas/service.c claim, against real servers.
$(eval $(call test,nkey,))
$(eval $(call test,contract,))
$(eval $(call integration,rpc))
$(eval $(call integration,kv))
$(eval $(call integration,feed))
$(eval $(call integration,permissions))
$(eval $(call integration,failover))
$(eval $(call integration,members,tests/support/program.c))
$(eval $(call integration,service,tests/support/program.c))
# A service for these tests only: built for them, not shipped with the programs.
$(eval $(call program,faas-echo,tests/support/echo.c))
PROGRAMS := $(filter-out $(O)/bin/faas-echo,$(PROGRAMS))
integration: $(O)/bin/faas-echo
