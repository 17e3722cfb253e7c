$(eval $(call program,faas-auth,services/auth/main.c services/auth/endpoints.c \
    services/auth/account.c services/auth/keys.c services/auth/store.c))
$(eval $(call test,account,services/auth/account.c))
$(eval $(call integration,auth,tests/support/program.c))
