#include "tests/unit/unit.h"

#include <string.h>

#include "base/clock.h"
#include "services/spawner/sweep.h"

#define NOW_S 1000

static const char *heard;    /* the one spawner that is heard */
static const char *own_call; /* the one call in hand */

static bool is_own_call(void *arg, const char *call_id)
{
    (void)arg;
    return own_call != NULL && strcmp(call_id, own_call) == 0;
}

static bool is_heard(void *arg, const char *spawner)
{
    (void)arg;
    return heard != NULL && strcmp(spawner, heard) == 0;
}

static struct sweep sweep;

static int fresh(void **state)
{
    (void)state;
    sweep = (struct sweep){
        .self = {"mine", "s1", "e1"}, .is_own_call = is_own_call, .is_heard = is_heard};
    heard = own_call = NULL;
    return 0;
}

struct box {
    const char *cluster, *spawner, *epoch, *call, *expires;
};

static const char *judge(struct box box, uint64_t now_ms)
{
    FAAS_AUTO(json_t) *labels = json_pack("{s:s*,s:s*,s:s*,s:s*,s:s*}", LABEL_CLUSTER, box.cluster,
                                          LABEL_SPAWNER, box.spawner, LABEL_EPOCH, box.epoch,
                                          LABEL_CALL, box.call, LABEL_EXPIRES, box.expires);

    return sweep_judge(&sweep, labels, now_ms * FAAS_MS_NS, NOW_S);
}

static void what_is_not_of_this_cluster_is_left_alone(void **state)
{
    (void)state;
    assert_null(judge((struct box){"other", "s2", "e", "c", "1"}, 99999));
    assert_null(judge((struct box){"mine", "", "e", "c", "1"}, 99999));
    assert_null(judge((struct box){"mine", "s2", "e", "", "1"}, 99999));
    assert_null(judge((struct box){.cluster = NULL}, 99999));
}

static void an_earlier_life_of_this_spawner_is_removed_at_once(void **state)
{
    (void)state;
    own_call = "c";
    assert_non_null(judge((struct box){"mine", "s1", "e0", "c", "2000"}, 1));
    assert_null(judge((struct box){"mine", "s1", "e1", "c", "2000"}, 1));
    assert_non_null(judge((struct box){"mine", "s1", "e1", "unknown", "2000"}, 1));
}

static void an_own_call_in_hand_is_kept_even_past_its_time(void **state)
{
    (void)state;
    own_call = "c";
    assert_null(judge((struct box){"mine", "s1", "e1", "c", "1"}, 1));
}

static void past_its_time_it_goes_whoever_made_it(void **state)
{
    (void)state;
    heard = "s2";
    assert_null(judge((struct box){"mine", "s2", "e", "c", "1000"}, 1));
    assert_non_null(judge((struct box){"mine", "s2", "e", "c", "999"}, 1));
    assert_null(judge((struct box){"mine", "s2", "e", "c", "not a number"}, 1));
}

static void a_spawner_must_be_gone_for_ten_seconds(void **state)
{
    const struct box box = {"mine", "s2", "e", "c", "2000"};

    (void)state;
    assert_null(judge(box, 1));
    assert_null(judge(box, SWEEP_GONE_MS));
    assert_non_null(judge(box, SWEEP_GONE_MS + 1));
    heard = "s2"; /* back: the count starts again */
    assert_null(judge(box, SWEEP_GONE_MS + 2));
    heard = NULL;
    assert_null(judge(box, SWEEP_GONE_MS + 3));
    assert_null(judge(box, 2 * SWEEP_GONE_MS));
    assert_non_null(judge(box, 2 * SWEEP_GONE_MS + 3));
}

static void who_hears_nothing_removes_nobodys_work(void **state)
{
    const struct box box = {"mine", "s2", "e", "c", "2000"};

    (void)state;
    assert_null(judge(box, 1));
    sweep_deaf(&sweep);
    assert_null(judge(box, SWEEP_GONE_MS + 1));
    assert_non_null(judge(box, 2 * SWEEP_GONE_MS + 1));
}

#define FRESH(test) cmocka_unit_test_setup(test, fresh)

int main(void)
{
    const struct CMUnitTest tests[] = {
        FRESH(what_is_not_of_this_cluster_is_left_alone),
        FRESH(an_earlier_life_of_this_spawner_is_removed_at_once),
        FRESH(an_own_call_in_hand_is_kept_even_past_its_time),
        FRESH(past_its_time_it_goes_whoever_made_it),
        FRESH(a_spawner_must_be_gone_for_ten_seconds),
        FRESH(who_hears_nothing_removes_nobodys_work),
    };

    return run_unit(tests);
}
