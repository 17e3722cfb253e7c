/* The record of a queued call: it waits, its runs (whose live calls make their own notes), its end. */
#include "jobs.h"

#include "base/clock.h"

#include <string.h>

static void fill(struct history_note *note, const struct job *job)
{
    history_note_init(note);
    note->id = job->state.id;
    note->tenant = job->state.tenant;
    note->is_queued = true;
    note->attempt = job->state.runs + 1;
    note->publisher = job->jobs->pub->rt->id;
    note->queued_ms = job->state.queued_ms;
}

void job_note_queued(const struct job *job)
{
    struct history *history = job->jobs->pub->history;
    struct history_note note;

    if (history == NULL)
        return;
    fill(&note, job);
    note.event = HISTORY_QUEUED;
    note.status = HISTORY_IS_QUEUED;
    note.user = job->state.user[0] != '\0' ? job->state.user : NULL;
    note.client_call_id = job->state.label[0] != '\0' ? job->state.label : NULL;
    note.trace = job->state.trace;
    note.function = job->state.name;
    note.function_id = job->state.function;
    note.version = job->state.version;
    note.argument_bytes = (int64_t)job->stored_bytes;
    history_add(history, &note);
}

static enum history_status status_of(const struct job *job)
{
    if (job->is_dead)
        return HISTORY_IS_DEAD;
    if (job->code == FAAS_OK)
        return HISTORY_IS_SUCCEEDED;
    return job->code == FAAS_CLIENT_GONE ? HISTORY_IS_CANCELLED : HISTORY_IS_REFUSED;
}

/* Laid over what its last run said: without a function, and so without repeating all. */
void job_note_end(const struct job *job)
{
    struct history *history = job->jobs->pub->history;
    struct history_note note;

    if (history == NULL)
        return;
    fill(&note, job);
    note.attempt = job->attempt_no;
    note.event = HISTORY_SETTLED;
    note.status = status_of(job);
    note.code = faas_code_slug(job->code);
    note.detail = job_text(job->end, "detail");
    note.may_have_run = job->may_have_run;
    note.ended_ms = faas_wall_ms();
    if (job->code == FAAS_OK)
        note.result_bytes = (int64_t)job->result_len;
    history_add(history, &note);
}
