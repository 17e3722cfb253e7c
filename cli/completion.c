/* completion.c - `faas completion bash`: the script, and the candidates that it asks for. */
#include <string.h>

#include "base/name.h"
#include "cli/client.h"
#include "cli/complete.h"
#include "cli/file.h"
#include "cli/output.h"

#define NAMES_MOST "200"

static const char script[] =
    "# Completion of faas for bash: source <(faas completion bash)\n"
    "_faas() {\n"
    "    mapfile -t COMPREPLY < <(\"${COMP_WORDS[0]}\" completion words -- \\\n"
    "        \"${COMP_WORDS[@]:1:COMP_CWORD}\" 2>/dev/null)\n"
    "}\n"
    "complete -o bashdefault -o default -F _faas faas\n";

static void print_names(const json_t *items, const char *begin, FILE *to)
{
    const json_t *item;
    size_t i;

    json_array_foreach (items, i, item) {
        const char *name = json_string_value(json_object_get(item, "name"));

        if (name != NULL && faas_function_name_check(name, NULL) == FAAS_OK &&
            strncmp(name, begin, strlen(begin)) == 0)
            fprintf(to, "%s\n", name);
    }
}

/* Whatever goes wrong: there are no candidates then. */
static void names_of_platform(const char *begin, FILE *to)
{
    const struct cli_common common = {0};
    FAAS_AUTO(cli_client) *client = NULL;
    FAAS_AUTO(char) *path = client_path("/v1/functions?limit=" NAMES_MOST "&q=", begin);
    FAAS_AUTO(json_t) *page = NULL;
    struct client_request request = {.method = "GET", .timeout_ms = COMPLETE_MS};
    struct client_answer answer = {0};
    faas_err err = {0};

    if (begin[0] == '\0') {
        free(path);
        path = strdup("/v1/functions?limit=" NAMES_MOST);
    }
    request.path = path;
    if (path != NULL && client_open(&common, &client, &err) == FAAS_OK &&
        client_require_login(client, &err) == FAAS_OK &&
        client_exchange(client, &request, NULL, &answer, &page, &err) == FAAS_OK)
        print_names(json_object_get(page, "items"), begin, to);
    client_answer_done(&answer);
}

int cli_completion(const struct cli_args *args)
{
    struct cli_list words = args->rest;

    if (strcmp(words.items[0], "bash") == 0 && words.count == 1) {
        fputs(script, stdout);
        return CLI_OK;
    }
    if (strcmp(words.items[0], "words") != 0) {
        output_note("error: there is completion for bash: source <(faas completion bash)");
        return CLI_USAGE;
    }
    words.count--;
    memmove(words.items, words.items + 1, words.count * sizeof words.items[0]);
    complete_words(cli_verbs, &words, names_of_platform, stdout);
    return CLI_OK;
}
