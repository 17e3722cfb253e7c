$(eval $(call program,faas-gateway,gateway/main.c gateway/routes.c gateway/params.c gateway/guard.c gateway/rate.c \
    gateway/http.c gateway/http_body.c gateway/refuse.c gateway/invoke_input.c gateway/http_exchange.c gateway/http_stream.c gateway/sse.c gateway/http_constant.c gateway/http_conn.c gateway/http_linger.c gateway/http_tls.c gateway/problem.c gateway/access.c gateway/access_key.c gateway/apikeys.c gateway/credential.c gateway/permit.c gateway/admit.c gateway/behalf.c gateway/quota.c gateway/revoked.c gateway/status.c gateway/instances.c \
    gateway/forward.c gateway/listing.c gateway/invoke.c gateway/invoke_frames.c gateway/invoke_open.c gateway/invoke_owner.c gateway/invoke_ask.c \
    gateway/invoke_answer.c gateway/invoke_stream.c gateway/queued.c gateway/queued_state.c gateway/result.c gateway/metrics.c gateway/exposition.c gateway/scrape.c gateway/openapi.c gateway/about.c gateway/openfaas.c))
$(O)/gateway/openapi.o: docs/openapi.yaml
$(eval $(call test,exposition,gateway/exposition.c))
$(eval $(call test,frame_codec,))
$(eval $(call test,frames,))
$(eval $(call test,frames_stream,))
$(eval $(call test,sse,gateway/sse.c))
$(eval $(call test,routes,gateway/routes.c gateway/params.c gateway/openfaas.c))
$(eval $(call test,params,gateway/routes.c gateway/params.c gateway/openfaas.c))
$(eval $(call test,permit,gateway/permit.c gateway/credential.c gateway/routes.c gateway/params.c gateway/openfaas.c))
$(eval $(call test,openfaas,gateway/openfaas.c gateway/routes.c gateway/params.c))
$(eval $(call test,guard,gateway/guard.c))
$(eval $(call test,rate,gateway/rate.c))
$(eval $(call integration,gateway,tests/support/gate.c tests/support/gate_http.c \
    tests/support/program.c tests/support/forge.c))
$(eval $(call integration,gateway_stream,tests/support/gate.c tests/support/gate_http.c \
    tests/support/program.c tests/support/forge.c))
$(eval $(call integration,gateway_again,tests/support/gate.c tests/support/gate_http.c \
    tests/support/program.c tests/support/forge.c))
$(eval $(call integration,gateway_owner,tests/support/gate.c tests/support/gate_http.c \
    tests/support/program.c tests/support/forge.c))
$(eval $(call integration,listing,tests/support/gate.c tests/support/gate_http.c \
    tests/support/program.c tests/support/forge.c))
$(eval $(call integration,gateway_door,tests/support/gate.c tests/support/gate_http.c \
    tests/support/program.c tests/support/forge.c))
$(eval $(call integration,gateway_tls,tests/support/cert.c tests/support/gate.c tests/support/gate_http.c \
    tests/support/program.c tests/support/forge.c))
$(eval $(call integration,gateway_limits,tests/support/gate.c tests/support/gate_http.c \
    tests/support/program.c tests/support/forge.c))
$(eval $(call integration,gateway_framing,tests/support/gate.c tests/support/gate_http.c \
    tests/support/program.c tests/support/forge.c))
$(eval $(call integration,gateway_health,tests/support/gate.c tests/support/gate_http.c \
    tests/support/program.c tests/support/forge.c))
$(eval $(call integration,gateway_apikeys,tests/support/gate.c tests/support/gate_http.c \
    tests/support/program.c tests/support/forge.c))
$(eval $(call integration,gateway_metrics,tests/support/gate.c tests/support/gate_http.c \
    tests/support/program.c tests/support/forge.c))
