$(eval $(call bench,bus_rtt,bench/bus_rtt.c))
$(eval $(call bench,call_overhead,bench/call_overhead.c))
$(eval $(call bench,updates,bench/updates.c))
$(eval $(call bench,fairness,bench/fairness.c))
