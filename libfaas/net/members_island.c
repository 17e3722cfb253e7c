/* members_island.c - leaving a NATS server that is cut off from the others.
 * Sign      such a server answers its own clients, so its connections look sound; but of the members
 *           that were heard lately those of the other servers fall silent at once.  Whoever is with
 *           the greater part of the servers stays, since the store goes on there; where those are
 *           equal or unknown, with the greater part of the members; then with the first of all.
 * Lanes     beats are heard on CONTROL.  That DATA is on the same side is told by our own beats,
 *           which are listened to there, too.
 * Looks     are counted, not time: a process that was held up finds what came meanwhile first.
 * Threads   the loop's.
 */
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "net/members_internal.h"

#define SILENT_MS  1000  /* five beats */
#define LATELY_MS  10000 /* who was heard since then counts */
#define LOOKS      3
#define SILENT_MIN 2 /* one process that hangs is no island */
#define LEAVES_MAX 4 /* then the silent are gone, wherever one listens */
#define SERVERS    8 /* more are not told apart */

struct servers {
    const char *names[SERVERS]; /* borrowed from the records */
    size_t count;
};

struct census {
    size_t fresh, silent;          /* others, by their beats */
    struct servers heard, unheard; /* by which they came; none is both */
    bool is_server_unknown;        /* of a silent one */
    bool is_own_fresh;
    bool is_first_silent; /* of all members, in the order of their names */
};

static bool has_server(const struct servers *servers, const char *name)
{
    for (size_t i = 0; i < servers->count; i++)
        if (strcmp(servers->names[i], name) == 0)
            return true;
    return false;
}

static void add_server(struct servers *servers, const char *name)
{
    if (name[0] != '\0' && servers->count < SERVERS && !has_server(servers, name))
        servers->names[servers->count++] = name;
}

static bool is_fresh(const struct faas_member_record *record, uint64_t now)
{
    return now < record->pub.seen_ns + SILENT_MS * FAAS_MS_NS;
}

/* A moment ago, and without a good-bye. */
static bool was_there(const struct faas_member_record *record, uint64_t now)
{
    return !record->pub.has_left && now < record->pub.seen_ns + LATELY_MS * FAAS_MS_NS;
}

static void count_servers(const faas_members *members, struct census *census, uint64_t now)
{
    for (size_t i = 0; i < members->count; i++)
        if (is_fresh(members->list[i], now))
            add_server(&census->heard, members->list[i]->server);
    for (size_t i = 0; i < members->count; i++) {
        const char *server = members->list[i]->server;

        if (!is_fresh(members->list[i], now) && was_there(members->list[i], now)) {
            census->is_server_unknown |= server[0] == '\0';
            if (!has_server(&census->heard, server))
                add_server(&census->unheard, server);
        }
    }
}

static struct census count(const faas_members *members, uint64_t now)
{
    struct census census = {0};
    bool has_first = false;

    for (size_t i = 0; i < members->count; i++) {
        const struct faas_member_record *record = members->list[i];

        if (faas_members_is_own(members, record))
            census.is_own_fresh = is_fresh(record, now);
        else if (is_fresh(record, now) && !record->pub.is_dead)
            census.fresh++;
        else if (was_there(record, now))
            census.silent++;
        else
            continue; /* gone for good */
        if (!has_first)
            census.is_first_silent = census.silent > 0;
        has_first = true;
    }
    if (census.silent > 0)
        count_servers(members, &census, now);
    return census;
}

static bool is_island_with(const struct census *census)
{
    size_t heard = census->fresh + 1;

    if (census->silent < SILENT_MIN)
        return false;
    if (!census->is_server_unknown && census->unheard.count != census->heard.count)
        return census->unheard.count > census->heard.count;
    return census->silent > heard || (census->silent == heard && census->is_first_silent);
}

static void leave(faas_members *members, enum faas_lane lane, const struct census *census)
{
    FAAS_LOG(WARN, "the bus server seems cut off from the others: another one is tried",
             FAAS_LSTR("lane", lane == FAAS_DATA ? "data" : "control"),
             FAAS_LINT("silent", census->silent), FAAS_LINT("heard", census->fresh));
    faas_bus_leave(faas_rpc_bus(members->rpc), lane);
}

static bool is_late(const faas_members *members, uint64_t now)
{
    return now > atomic_load(&members->looked_ns) + SILENT_MS * FAAS_MS_NS;
}

static void note_silence(faas_members *members, const struct census *census, uint64_t now)
{
    if (census->silent > 0 || !census->is_own_fresh || is_late(members, now))
        atomic_store(&members->silent_ns, now);
    atomic_store(&members->looked_ns, now);
}

bool faas_members_all_heard(const faas_members *members, uint64_t since_ns)
{
    return !is_late(members, faas_now_ns()) && atomic_load(&members->silent_ns) < since_ns;
}

void faas_members_look_for_island(faas_members *members)
{
    const faas_bus *bus = faas_rpc_bus(members->rpc);
    uint64_t now = faas_now_ns(), settled_ns = now - SILENT_MS * FAAS_MS_NS;
    struct census census = count(members, now);
    bool is_island, is_apart;

    note_silence(members, &census, now);
    if (!faas_bus_has_choice(bus) || !faas_bus_lane_is_up(bus, FAAS_CONTROL) ||
        members->back_ns > settled_ns)
        return;
    is_island = is_island_with(&census);
    is_apart = !is_island && census.is_own_fresh && faas_bus_lane_is_up(bus, FAAS_DATA) &&
               members->data_back_ns < settled_ns && members->data_heard_ns < settled_ns;
    members->island_looks = is_island ? members->island_looks + 1 : 0;
    members->apart_looks = is_apart ? members->apart_looks + 1 : 0;
    if (!is_island && !is_apart)
        members->leaves = 0;
    if ((members->island_looks < LOOKS && members->apart_looks < LOOKS) ||
        members->leaves == LEAVES_MAX)
        return;
    members->leaves++;
    members->island_looks = members->apart_looks = 0;
    if (is_island)
        leave(members, FAAS_CONTROL, &census);
    if (is_apart || members->data_heard_ns > settled_ns) /* on its own side, or on this one */
        leave(members, FAAS_DATA, &census);
}

static void on_own_beat(void *arg, faas_msg *take_msg)
{
    faas_members *members = arg;

    members->data_heard_ns = faas_now_ns();
    faas_msg_free(take_msg);
}

static void on_data_back(void *arg)
{
    faas_members *members = arg;

    members->data_back_ns = faas_now_ns();
}

faas_code faas_members_island_start(faas_members *members, faas_err *err)
{
    FAAS_TRY(faas_bus_subscribe(faas_rpc_bus(members->rpc), FAAS_DATA, members->subject, NULL,
                                on_own_beat, members, &members->data_sub, err));
    members->data_back_ns = faas_now_ns();
    members->data_watch =
        (struct faas_bus_watch){.lane = FAAS_DATA, .task = on_data_back, .arg = members};
    faas_bus_watch_add(faas_rpc_bus(members->rpc), &members->data_watch);
    return FAAS_OK;
}

void faas_members_island_stop(faas_members *members)
{
    faas_sub_free(members->data_sub);
    faas_bus_watch_remove(&members->data_watch);
}
