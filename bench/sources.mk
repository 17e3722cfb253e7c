$(eval $(call bench,bus_rtt,bench/bus_rtt.c))
$(eval $(call bench,call_overhead,bench/call_overhead.c))
$(eval $(call bench,watchdog,bench/watchdog.c))
$(eval $(call bench,updates,bench/updates.c))
$(eval $(call bench,fairness,bench/fairness.c))
$(eval $(call bench,login_time,bench/login_time.c))
$(eval $(call bench,fill,bench/fill.c services/registry/store.c services/registry/function.c \
    services/registry/function_rules.c services/registry/function_own.c services/registry/image_ref.c))
# Preloaded into the programs by bench/soak.
$(O)/bench/heap-watch.so: bench/heap_watch.c
	@mkdir -p $(@D)
	$(call say,link,$@)$(CC) -std=gnu17 -D_GNU_SOURCE $(WARN) $(MODE) -fPIC -shared -pthread $< -o $@
bench-programs: $(O)/bench/heap-watch.so
