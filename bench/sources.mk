$(eval $(call bench,bus_rtt,bench/bus_rtt.c))
$(eval $(call bench,call_overhead,bench/call_overhead.c))
$(eval $(call bench,updates,bench/updates.c))
$(eval $(call bench,fairness,bench/fairness.c))
$(eval $(call bench,login_time,bench/login_time.c))
$(eval $(call bench,fill,bench/fill.c services/registry/store.c services/registry/function.c \
    services/registry/function_rules.c services/registry/image_ref.c))
