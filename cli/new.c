/* new.c - `faas new`: a folder with a function to begin with, from the templates in the program. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/file.h"
#include "cli/output.h"
#include "cli/stack.h"
#include "cli/templates.h"
#include "cli/verb.h"

#define NEW_NAME_MAX 63

static const char *lang;

const struct cli_option cli_new_options[] = {
    {"lang", CLI_TEXT, &lang, "LANG", "c, python, node, shell or go", 0, 0, NULL},
    CLI_OPTION_END,
};

static bool is_lower(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

/* What is the name of a function, of an image and of a folder alike. */
static bool is_name(const char *name)
{
    size_t len = strlen(name);

    for (size_t i = 0; i < len; i++)
        if (!is_lower(name[i]) && (name[i] != '-' || i == 0 || i + 1 == len || name[i - 1] == '-'))
            return false;
    return len > 0 && len <= NEW_NAME_MAX;
}

static bool has_lang(const char *wanted)
{
    for (const struct template_file *file = template_files; file->lang != NULL; file++)
        if (strcmp(file->lang, wanted) == 0 && strcmp(wanted, "common") != 0)
            return true;
    return false;
}

static faas_code check(const char *name, faas_err *err)
{
    static const char *const langs[] = {"c", "python", "node", "shell", "go", NULL};
    char hint[64];

    if (!is_name(name))
        return faas_fail(err, FAAS_INVALID,
                         "NAME is also the image's: at most %d small letters and digits, with "
                         "single dashes between them",
                         NEW_NAME_MAX);
    if (lang == NULL)
        return faas_fail(err, FAAS_INVALID, "--lang is missing: c, python, node, shell or go");
    if (has_lang(lang))
        return FAAS_OK;
    stack_near(lang, langs, hint);
    return faas_fail(err, FAAS_INVALID, "--lang is c, python, node, shell or go%s", hint);
}

/* The file's text with @NAME@ and @LANG@ filled in; the caller frees.  NULL: no memory. */
static char *filled(const struct template_file *file, const char *name)
{
    char *text = NULL;
    size_t len;
    FILE *to = open_memstream(&text, &len);

    if (to == NULL)
        return NULL;
    for (const char *p = file->begin; p < file->end;) {
        const char *value = strncmp(p, "@NAME@", 6) == 0   ? name
                            : strncmp(p, "@LANG@", 6) == 0 ? lang
                                                           : NULL;

        if (value != NULL)
            fputs(value, to);
        else
            fputc(*p, to);
        p += value != NULL ? 6 : 1;
    }
    if (fclose(to) == 0)
        return text;
    free(text);
    return NULL;
}

static faas_code write_one(const struct template_file *file, const char *name, faas_err *err)
{
    FAAS_AUTO(char) *path = file_path("%s/%s", name, file->name);
    FAAS_AUTO(char) *text = filled(file, name);

    if (path == NULL || text == NULL)
        return faas_fail_sys(err, ENOMEM, "template");
    return file_write(path, text, strlen(text), file->is_program ? 0755 : 0644, err);
}

static faas_code write_all(const char *name, faas_err *err)
{
    if (mkdir(name, 0755) != 0)
        return errno == EEXIST
                   ? faas_fail(err, FAAS_INVALID, "%s is there already: take another name", name)
                   : file_fail(err, "make the directory", name, errno);
    for (const struct template_file *file = template_files; file->lang != NULL; file++)
        if (strcmp(file->lang, "common") == 0 || strcmp(file->lang, lang) == 0)
            FAAS_TRY(write_one(file, name, err));
    return FAAS_OK;
}

int cli_new(const struct cli_args *args)
{
    const char *name = args->rest.items[0];
    faas_err err = {0};

    if (check(name, &err) != FAAS_OK || write_all(name, &err) != FAAS_OK) {
        output_error(&err, args->common.is_json, NULL);
        return err.code == FAAS_INVALID ? CLI_USAGE : CLI_UNAVAILABLE;
    }
    if (args->common.is_json)
        printf("{\"name\":\"%s\",\"lang\":\"%s\",\"folder\":\"%s\"}\n", name, lang, name);
    else
        output_say("made %s/\nnext: cd %s; faas build; faas deploy -f stack.yml; faas invoke %s "
                   "world",
                   name, name, name);
    return CLI_OK;
}
