/* metrics.h - what this publisher counts; names and help texts are the rows of one table. */
#ifndef PUBLISHER_METRICS_H
#define PUBLISHER_METRICS_H

#include "base/metric.h"

#define PUBLISHER_METRICS(X)                                                                       \
    X(CALLS, COUNTER, "calls_total", "calls taken over")                                           \
    X(REPEATED, COUNTER, "calls_repeated_total", "calls that were here already, or fenced")        \
    X(FOREIGN, COUNTER, "calls_foreign_total", "calls meant for an earlier process of this name")  \
    X(MALFORMED, COUNTER, "messages_malformed_total", "messages that could not be read")           \
    X(ENDED, COUNTER, "calls_ended_total", "calls that a spawner ended, well or badly")            \
    X(OK, COUNTER, "calls_ok_total", "calls that ended with exit status 0")                        \
    X(REFUSED, COUNTER, "calls_refused_total", "calls that ended before anything was started")     \
    X(BUSY, COUNTER, "calls_busy_total", "of the refused ones: for lack of capacity")              \
    X(LOST, COUNTER, "calls_lost_total", "calls that may have run without an outcome")             \
    X(CANCELLED, COUNTER, "calls_cancelled_total", "calls whose caller left")                      \
    X(GIVEN_UP, COUNTER, "calls_given_up_total", "calls ended because this process was late")      \
    X(PLACED, COUNTER, "placements_total", "calls sent to a spawner")                              \
    X(REPLACED, COUNTER, "placements_repeated_total", "of them: after a spawner did not answer")   \
    X(UNHEARD, COUNTER, "placements_unheard_total", "placements that NATS delivered to nobody")    \
    X(REDONE, COUNTER, "calls_run_again_total", "idempotent calls placed again, perhaps begun")    \
    X(FENCES, COUNTER, "fences_total", "questions to a spawner that did not answer")               \
    X(IGNORED, COUNTER, "events_ignored_total", "events without meaning in the call's state")      \
    X(STRANGE, COUNTER, "events_unknown_total", "events of calls or placements not known here")    \
    X(HITS, COUNTER, "lookups_cached_total", "functions found in memory")                          \
    X(READS, COUNTER, "lookups_read_total", "functions asked from the store's leader")             \
    X(STALE, COUNTER, "lookups_stale_total",                                                       \
      "functions served from memory or any replica without a leader")                              \
    X(LIVE, GAUGE, "calls_live", "calls here now")                                                 \
    X(WAITING, GAUGE, "calls_waiting", "of them: in the fair queue")                               \
    X(JOBS_ACCEPTED, COUNTER, "jobs_accepted_total", "queued calls stored, and confirmed")         \
    X(JOBS_TAKEN, COUNTER, "jobs_taken_over_total", "queued calls of publishers that are gone")    \
    X(JOBS_DONE, COUNTER, "jobs_done_total", "queued calls that succeeded")                        \
    X(JOBS_FAILED, COUNTER, "jobs_failed_total", "queued calls that can never run")                \
    X(JOBS_DEAD, COUNTER, "jobs_dead_total", "queued calls that became dead letters")              \
    X(JOBS_CANCELLED, COUNTER, "jobs_cancelled_total", "queued calls that were cancelled")         \
    X(JOBS_LEFT, COUNTER, "jobs_given_away_total", "queued calls another publisher owns now")      \
    X(JOBS_RUNS, COUNTER, "jobs_runs_total", "runs of queued calls")                               \
    X(JOBS_RETRIES, COUNTER, "jobs_retries_total", "of them: repeated ones")                       \
    X(CALLBACKS, COUNTER, "callbacks_total", "callbacks that were taken")                          \
    X(CALLBACKS_LOST, COUNTER, "callbacks_given_up_total", "callbacks that nobody took")           \
    X(JOBS_WAITING, GAUGE, "jobs_waiting", "queued calls that wait here")                          \
    X(JOBS_RUNNING, GAUGE, "jobs_running", "queued calls that run here, or whose end is stored")   \
    X(RECORDS, COUNTER, "records_total", "notes about calls that were made")                       \
    X(RECORDS_SENT, COUNTER, "records_sent_total", "of them: confirmed by the stream")             \
    X(RECORDS_DROPPED, COUNTER, "records_dropped_total", "of them: lost, for lack of room")        \
    X(SPOOL_BYTES, GAUGE, "spool_bytes", "records in files that the stream has not confirmed")     \
    X(ACCEPT_TIME, HISTOGRAM, "accept_duration_seconds", "from taken to accepted: the queue")      \
    X(CALL_TIME, HISTOGRAM, "call_duration_seconds", "from taken to the end")                      \
    X(PLACE_TIME, HISTOGRAM, "place_duration_seconds", "finding a spawner, as the spawner says")   \
    X(START_TIME, HISTOGRAM, "start_duration_seconds", "making a sandbox or container, likewise")  \
    X(RUN_TIME, HISTOGRAM, "run_duration_seconds", "the function's own time, likewise")            \
    X(COLD, COUNTER, "starts_total{start=\"cold\"}", "calls that ended at a spawner, by start")    \
    X(PREWARMED, COUNTER, "starts_total{start=\"prewarmed\"}", "")                                 \
    X(WARM, COUNTER, "starts_total{start=\"warm\"}", "")

#define X(name, kind, text, help) M_##name,
enum publisher_metric { PUBLISHER_METRICS(X) M_END };
#undef X

void metrics_add(void); /* once, before threads start */
void metric_count(enum publisher_metric metric);
void metric_add(enum publisher_metric metric, int64_t by);
void metric_level(enum publisher_metric metric, int64_t value);
void metric_time(enum publisher_metric metric, uint64_t ns);

#endif
