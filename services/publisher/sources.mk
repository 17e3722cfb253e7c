PUBLISHER := $(addprefix services/publisher/,main.c endpoints.c drive.c finish.c ask.c wire.c \
	resolve.c record.c cache.c call.c place.c fair.c tally.c book.c metrics.c)
$(eval $(call program,faas-publisher,$(PUBLISHER)))
$(eval $(call test,call,services/publisher/call.c))
$(eval $(call test,place,services/publisher/place.c))
$(eval $(call test,fair,services/publisher/fair.c))
$(eval $(call test,book,services/publisher/book.c services/publisher/tally.c))
$(eval $(call test,publisher_record,services/publisher/record.c))
$(eval $(call test,publisher_cache,services/publisher/cache.c services/publisher/record.c))
