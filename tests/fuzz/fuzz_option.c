/* Lines of the input are arguments; the first one is the variable F_THREADS.  Any of them either
 * fill every target within its bounds, or fail as INVALID with a message that never repeats the
 * secret; both leave something that can be freed. */
#include "base/option.h"
#include "tests/fuzz/claim.h"

#define LINES  32
#define SECRET "s3cr3t-value"

static struct {
    char *url, *secret;
    int64_t threads;
    bool is_direct;
} conf;

static const struct faas_option rows[] = {
    FAAS_OPT_GROUP("Bus"),
    FAAS_OPT_STR(conf.url, "F_NATS_URL", "nats://127.0.0.1:4222", "servers"),
    FAAS_OPT_SECRET(conf.secret, "F_PASSWORD", "", "bus password"),
    FAAS_OPT_INT(conf.threads, "F_THREADS", "4", 1, 64, "worker threads"),
    FAAS_OPT_BOOL(conf.is_direct, "F_DIRECT", "no", "serve directly"),
    FAAS_OPT_END,
};
static const struct faas_option *const tables[] = {rows, NULL};

static bool is_question(const char *arg)
{
    return strcmp(arg, "--help") == 0 || strcmp(arg, "-h") == 0 || strcmp(arg, "--version") == 0;
}

static int split(char *text, char **out_lines)
{
    int count = 0;
    char *rest = NULL;

    for (char *line = strtok_r(text, "\n", &rest); line != NULL && count < LINES - 2;
         line = strtok_r(NULL, "\n", &rest))
        if (!is_question(line)) /* they print */
            out_lines[count++] = line;
    return count;
}

static void run(char *text)
{
    bool is_guessed = strstr(text, SECRET) != NULL; /* an argument may be repeated */
    char *argv[LINES] = {(char[]){"fuzz"}};
    int count = split(text, argv + 1);
    bool is_exit = true;
    faas_err err = {0};
    faas_code rc;

    if (count > 0)
        setenv("F_THREADS", argv[1], 1);
    setenv("F_PASSWORD", SECRET, 1);
    argv[count > 0 ? 1 : 0] = (char[]){"fuzz"};
    rc = faas_options_load(tables, count > 0 ? count : 1, argv + (count > 0 ? 1 : 0), &is_exit,
                           &err);
    claim_outcome(rc, FAAS_INVALID, &err);
    CLAIM(!is_exit && (is_guessed || strstr(err.msg, SECRET) == NULL));
    if (rc == FAAS_OK)
        CLAIM(conf.url != NULL && conf.threads >= 1 && conf.threads <= 64 &&
              strcmp(conf.secret, SECRET) == 0 && getenv("F_PASSWORD") == NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);

    CLAIM(text != NULL);
    if (size > 0)
        memcpy(text, data, size);
    text[size] = '\0';
    unsetenv("F_THREADS");
    run(text);
    faas_options_free(tables);
    CLAIM(conf.url == NULL && conf.secret == NULL);
    free(text);
    return 0;
}
