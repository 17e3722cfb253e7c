$(eval $(call program,faas-auth,services/auth/main.c services/auth/endpoints.c \
    services/auth/account.c services/auth/keys.c services/auth/keyset.c services/auth/store.c services/auth/sessions.c services/auth/throttle.c \
    services/auth/invite.c services/auth/signup.c \
    services/auth/apikey.c services/auth/apikey_store.c services/auth/apikey_endpoints.c services/auth/admin.c services/auth/deletion.c))
$(eval $(call test,signup,services/auth/signup.c))
$(eval $(call test,throttle,services/auth/throttle.c))
$(eval $(call test,keyset,services/auth/keyset.c))
$(eval $(call test,account,services/auth/account.c))
$(eval $(call test,sessions,services/auth/sessions.c gateway/revoked.c))
$(eval $(call test,apikey,services/auth/apikey.c services/auth/account.c))
$(eval $(call integration,auth,tests/support/program.c))
$(eval $(call integration,auth_signup,tests/support/program.c))
$(eval $(call integration,auth_again,tests/support/program.c))
$(eval $(call integration,auth_gateways,tests/support/program.c))
$(eval $(call integration,auth_admin,tests/support/program.c))
