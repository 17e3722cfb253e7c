PUBLISHER := $(addprefix services/publisher/,main.c endpoints.c events.c drive.c finish.c ask.c unheard.c wire.c \
	resolve.c record.c cache.c call.c place.c room.c usage.c tally.c book.c metrics.c series.c \
	history.c history_send.c history_text.c spool.c spool_file.c jobs.c job.c job_lines.c job_policy.c \
	job_store.c job_take.c job_run.c job_end.c job_scan.c job_ask.c job_send.c \
	job_note.c job_key.c dead.c callback.c callback_guard.c)
$(eval $(call program,faas-publisher,$(PUBLISHER)))
$(eval $(call test,call,services/publisher/call.c))
$(eval $(call test,place,services/publisher/place.c))
$(eval $(call test,fair,))
$(eval $(call test,usage,services/publisher/usage.c))
$(eval $(call test,book,services/publisher/book.c services/publisher/tally.c))
$(eval $(call test,series,services/publisher/series.c))
$(eval $(call test,spool,services/publisher/spool.c services/publisher/spool_file.c))
$(eval $(call test,history_text,services/publisher/history_text.c))
$(eval $(call test,publisher_record,services/publisher/record.c))
$(eval $(call test,publisher_cache,services/publisher/cache.c services/publisher/record.c))
STAGE := $(addprefix tests/support/,stage.c stage_actor.c steps.c)
$(eval $(call integration,publisher,$(STAGE)))
$(eval $(call integration,publisher_trouble,$(STAGE)))
$(eval $(call test,job,services/publisher/job.c))
$(eval $(call test,job_lines,services/publisher/job_lines.c))
$(eval $(call test,job_policy,services/publisher/job_policy.c))
$(eval $(call integration,history,$(STAGE)))
$(eval $(call test,callback_guard,services/publisher/callback_guard.c))
