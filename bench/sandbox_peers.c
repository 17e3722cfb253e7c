/* sandbox_peers.c - a cold call in a sandbox beside other ways to run the same program.
 * Peers     lines of standard input: a name, a tab, the command's words; each prints what the call
 *           does.  Words are split at spaces.
 * Rounds    5 cold calls, then one run of each peer, in turn.
 * Output    p50 of each; median over the rounds of the cold call's part of the peer's time.
 * Usage     sandbox_peers STORE_DIR RUN_DIR ZYGOTE IMAGE FIRST_BYTE [rounds]
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/rig.h"

#define BATCH      5
#define MOST       200
#define PEERS_MAX  8
#define WORDS_MAX  32
#define LINE_BYTES 2048
#define PAUSE_S    0.0015

struct peer {
    char line[LINE_BYTES];
    char *argv[WORDS_MAX + 1];
    double took_us[MOST], parts[MOST];
};
static struct peer peers[PEERS_MAX];
static size_t peer_count;
static double cold_us[MOST];
static struct rig rig;

static void read_peers(void)
{
    while (peer_count < PEERS_MAX && fgets(peers[peer_count].line, LINE_BYTES, stdin) != NULL) {
        struct peer *peer = &peers[peer_count++];
        char *save = NULL, *tab = strchr(peer->line, '\t');
        size_t words = 0;

        if (tab == NULL)
            rig_die("peer without a tab", peer->line);
        *tab = '\0';
        for (char *word = strtok_r(tab + 1, " \n", &save); word != NULL && words < WORDS_MAX;
             word = strtok_r(NULL, " \n", &save))
            peer->argv[words++] = word;
        if (words == 0)
            rig_die("peer without a command", peer->line);
    }
}

static double cold(void)
{
    double took[BATCH];

    for (size_t i = 0; i < BATCH; i++) {
        double from;

        rig_rest(PAUSE_S);
        from = rig_now_us();
        rig_call(&rig);
        took[i] = rig_now_us() - from;
    }
    return rig_part(took, BATCH, 0.5);
}

static void measure(size_t rounds)
{
    for (size_t r = 0; r < rounds; r++) {
        cold_us[r] = cold();
        for (size_t p = 0; p < peer_count; p++) {
            double from = rig_now_us();

            rig_spawn(peers[p].argv, rig.expect);
            peers[p].took_us[r] = rig_now_us() - from;
            peers[p].parts[r] = cold_us[r] / peers[p].took_us[r];
        }
    }
    printf("  cold call %.0f us\n", rig_part(cold_us, rounds, 0.5));
    for (size_t p = 0; p < peer_count; p++) {
        double part = rig_part(peers[p].parts, rounds, 0.5);

        printf("  %-24s %9.0f us: the cold call takes %.4f of it, it is %.1f times as fast "
               "(rounds from %.1f to %.1f)\n",
               peers[p].line, rig_part(peers[p].took_us, rounds, 0.5), part, 1 / part,
               1 / rig_part(peers[p].parts, rounds, 0.9),
               1 / rig_part(peers[p].parts, rounds, 0.1));
    }
}

int main(int argc, char **argv)
{
    size_t rounds = argc > 6 ? strtoul(argv[6], NULL, 10) : 20;

    if (argc < 6 || rounds < 3 || rounds > MOST)
        rig_die("usage",
                "sandbox_peers STORE_DIR RUN_DIR ZYGOTE IMAGE FIRST_BYTE [rounds, 3 to 200]");
    read_peers();
    rig_begin(&(struct rig_place){argv[1], argv[2], argv[3]});
    rig_open(&rig, argv[4], argv[5][0], false);
    for (int i = 0; i < BATCH; i++)
        rig_call(&rig);
    printf("%s beside others\n", argv[4]);
    measure(rounds);
    rig_close(&rig);
    rig_end();
    return 0;
}
