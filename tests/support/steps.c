#include "tests/support/steps.h"

#include "tests/unit/unit.h"

#include <string.h>

struct stage stage;

void open_with(int servers, const char *const *settings)
{
    stage_open(&stage, servers, settings);
    stage_function(&stage, "plain", 1, "");
}

int close_stage(void **state)
{
    (void)state;
    stage_close(&stage);
    return 0;
}

int clear(void **state)
{
    (void)state;
    for (int i = 0; i < STAGE_SPAWNERS; i++)
        stage_leave(&stage, i);
    return 0;
}

void call_now(const char *function, char id[FAAS_UUID_TEXT])
{
    stage_call(&stage, &(struct stage_call){.function = function}, id);
}

void fails_with(const char *id, const char *code, const char *part)
{
    const json_t *doc = stage_frame(&stage, id, FAAS_FRAME_FAIL, 5000);

    assert_string_equal(json_string_value(json_object_get(doc, "code")), code);
    assert_contains(json_string_value(json_object_get(doc, "detail")), part);
}

struct count {
    int which, more_than;
};

static bool was_placed(void *arg)
{
    const struct count *count = arg;

    return stage_placed(&stage, count->which) > count->more_than;
}

void wait_placed(int which, int times, int64_t ms)
{
    struct count count = {which, times - 1};

    wait_until(was_placed, &count, ms, "the call reaches the spawner");
}

struct fate {
    const char *id, *state;
};

static bool has_state(void *arg)
{
    const struct fate *fate = arg;
    char state[16];

    stage_ask(&stage, "fence", fate->id, 0, state);
    return strcmp(state, fate->state) == 0;
}

void wait_state(const char *id, const char *state)
{
    struct fate fate = {id, state};

    wait_until(has_state, &fate, 5000, state);
}

int which_got_it(void)
{
    for (int i = 0; i < STAGE_SPAWNERS; i++)
        if (stage.spawners[i].is_up && stage_placed(&stage, i) > 0)
            return i;
    return -1;
}

bool anybody_got_it(void *arg)
{
    (void)arg;
    return which_got_it() >= 0;
}
