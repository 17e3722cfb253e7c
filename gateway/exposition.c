#include "gateway/exposition.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/queue.h>

#define NAME_MAX_LEN 96
#define KIND_MAX     16
#define LINE_MAX_LEN 1024

struct family {
    TAILQ_ENTRY(family) link;
    char name[NAME_MAX_LEN + 1], kind[KIND_MAX];
    char *help; /* the line's rest */
    FILE *rows;
    char *text; /* of rows, once they are closed */
    size_t len;
};
struct exposition {
    TAILQ_HEAD(, family) families;
    size_t count, bytes, left_out;
    bool is_out_of_memory;
};

static void family_free(struct family *family)
{
    if (family->rows != NULL)
        (void)fclose(family->rows);
    free(family->text);
    free(family->help);
    free(family);
}

faas_code exposition_new(struct exposition **out_exposition, faas_err *err)
{
    struct exposition *exposition = calloc(1, sizeof *exposition);

    if (exposition == NULL)
        return faas_fail_sys(err, errno, "allocate a page of figures");
    TAILQ_INIT(&exposition->families);
    *out_exposition = exposition;
    return FAAS_OK;
}

void exposition_free(struct exposition *exposition)
{
    struct family *family;

    if (exposition == NULL)
        return;
    while ((family = TAILQ_FIRST(&exposition->families)) != NULL) {
        TAILQ_REMOVE(&exposition->families, family, link);
        family_free(family);
    }
    free(exposition);
}

/* ---- families ---- */

static bool is_name(const char *name, size_t len)
{
    return len > 0 && len <= NAME_MAX_LEN && strchr("0123456789", name[0]) == NULL &&
           strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_:") >= len;
}

static struct family *find(const struct exposition *exposition, const char *name, size_t len)
{
    struct family *family;

    TAILQ_FOREACH (family, &exposition->families, link) {
        if (strlen(family->name) == len && memcmp(family->name, name, len) == 0)
            return family;
    }
    return NULL;
}

static struct family *family_new(struct exposition *exposition, const char *name, size_t len,
                                 const char *help)
{
    struct family *family = calloc(1, sizeof *family);

    if (family == NULL) {
        exposition->is_out_of_memory = true;
        return NULL;
    }
    memcpy(family->name, name, len);
    family->help = strdup(help);
    family->rows = open_memstream(&family->text, &family->len);
    if (family->help == NULL || family->rows == NULL) {
        exposition->is_out_of_memory = true;
        family_free(family);
        return NULL;
    }
    TAILQ_INSERT_TAIL(&exposition->families, family, link);
    exposition->count++;
    return family;
}

/* "NAME TEXT" behind "# HELP ". */
static struct family *take_help(struct exposition *exposition, const char *rest)
{
    size_t len = strcspn(rest, " ");
    struct family *family;

    if (!is_name(rest, len))
        return NULL;
    family = find(exposition, rest, len);
    if (family != NULL || exposition->count >= EXPOSITION_FAMILIES)
        return family;
    return family_new(exposition, rest, len, rest[len] == ' ' ? rest + len + 1 : "");
}

/* "NAME KIND" behind "# TYPE ": of the family above, and the same kind everywhere. */
static struct family *take_type(struct family *family, const char *rest)
{
    static const char *const kinds[] = {"counter", "gauge", "histogram"};
    size_t len = strcspn(rest, " ");
    const char *kind = rest[len] == ' ' ? rest + len + 1 : "";

    if (family == NULL || strlen(family->name) != len || memcmp(family->name, rest, len) != 0)
        return NULL;
    if (family->kind[0] != '\0')
        return strcmp(family->kind, kind) == 0 ? family : NULL;
    for (size_t i = 0; i < FAAS_ARRAY_LEN(kinds); i++)
        if (strcmp(kinds[i], kind) == 0)
            (void)snprintf(family->kind, sizeof family->kind, "%s", kind);
    return family->kind[0] != '\0' ? family : NULL;
}

/* ---- rows ---- */

static bool is_of(const struct family *family, const char *line, size_t len)
{
    static const char *const parts[] = {"", "_bucket", "_sum", "_count"};
    bool is_histogram = strcmp(family->kind, "histogram") == 0;
    size_t stem = strlen(family->name);

    if (len < stem || memcmp(line, family->name, stem) != 0)
        return false;
    for (size_t i = is_histogram ? 1 : 0; i < (is_histogram ? FAAS_ARRAY_LEN(parts) : 1); i++)
        if (len - stem == strlen(parts[i]) && memcmp(line + stem, parts[i], len - stem) == 0)
            return true;
    return false;
}

/* Behind "{": where the labels end, which is at a brace that is in no value; NULL: nowhere. */
static const char *labels_end(const char *at)
{
    bool is_in_value = false;

    for (; *at != '\0'; at++) {
        if (is_in_value && *at == '\\' && at[1] != '\0')
            at++;
        else if (*at == '"')
            is_in_value = !is_in_value;
        else if (*at == '}' && !is_in_value)
            return at;
    }
    return NULL;
}

static bool is_number(const char *text)
{
    char *end;

    (void)strtod(text, &end);
    return end != text && *end == '\0' && strchr(" \t", *text) == NULL;
}

static bool has_control(const char *line)
{
    for (; *line != '\0'; line++)
        if ((unsigned char)*line < 0x20 || *line == 0x7f)
            return true;
    return false;
}

struct source {
    const char *service, *id;
};

static bool take_row(struct exposition *exposition, struct family *family,
                     const struct source *source, const char *line)
{
    size_t len = strcspn(line, "{ ");
    const char *labels = line[len] == '{' ? line + len + 1 : NULL;
    const char *end = labels != NULL ? labels_end(labels) : line + len;
    int written, labels_len = labels != NULL && end != NULL ? (int)(end - labels) : 0;

    if (family == NULL || family->kind[0] == '\0' || !is_of(family, line, len) || end == NULL)
        return false;
    end += labels != NULL;
    if (*end != ' ' || !is_number(end + 1) || exposition->bytes >= EXPOSITION_MAX)
        return false;
    written = fprintf(family->rows, "%.*s{service=\"%s\",id=\"%s\"%s%.*s} %s\n", (int)len, line,
                      source->service, source->id, labels_len > 0 ? "," : "", labels_len,
                      labels != NULL ? labels : "", end + 1);
    if (written < 0)
        exposition->is_out_of_memory = true;
    else
        exposition->bytes += (size_t)written;
    return true;
}

void exposition_add(struct exposition *exposition, const char *service, const char *id,
                    const char *page)
{
    const struct source source = {.service = service, .id = id};
    struct family *family = NULL;
    char line[LINE_MAX_LEN];
    size_t len;

    for (; *page != '\0'; page += len + (page[len] != '\0')) {
        bool is_taken = true;

        len = strcspn(page, "\n");
        if (len == 0)
            continue;
        (void)snprintf(line, sizeof line, "%.*s", (int)(len < sizeof line ? len : 0), page);
        if (line[0] == '\0' || has_control(line))
            is_taken = false;
        else if (strncmp(line, "# HELP ", 7) == 0)
            family = take_help(exposition, line + 7);
        else if (strncmp(line, "# TYPE ", 7) == 0)
            family = take_type(family, line + 7);
        else
            is_taken = take_row(exposition, family, &source, line);
        exposition->left_out += !is_taken;
    }
}

size_t exposition_left_out(const struct exposition *exposition)
{
    return exposition->left_out;
}

/* ---- the page ---- */

static bool close_rows(struct exposition *exposition)
{
    struct family *family;
    bool is_whole = !exposition->is_out_of_memory;

    TAILQ_FOREACH (family, &exposition->families, link) {
        if (family->rows == NULL)
            continue;
        is_whole = ferror(family->rows) == 0 && is_whole;
        is_whole = fclose(FAAS_STEAL(family->rows)) == 0 && is_whole;
    }
    return is_whole;
}

/* Once: rows that are added afterwards would be lost. */
char *exposition_text(struct exposition *exposition, size_t *out_len)
{
    const struct family *family;
    char *text = NULL;
    FILE *out = close_rows(exposition) ? open_memstream(&text, out_len) : NULL;
    bool is_whole;

    if (out == NULL)
        return NULL;
    TAILQ_FOREACH (family, &exposition->families, link) {
        if (family->len == 0)
            continue;
        (void)fprintf(out, "# HELP %s %s\n# TYPE %s %s\n", family->name, family->help, family->name,
                      family->kind);
        (void)fwrite(family->text, 1, family->len, out);
    }
    is_whole = ferror(out) == 0;
    if (fclose(out) != 0 || !is_whole) {
        free(text);
        return NULL;
    }
    return text;
}
