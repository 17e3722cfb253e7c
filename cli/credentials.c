#include "cli/credentials.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/json.h"
#include "base/secret.h"
#include "cli/file.h"

#define KEY_FILE_MAX 4200 /* bytes; a token would fit as well */

static faas_code credentials_path(char **out_path, faas_err *err)
{
    const char *xdg = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
    FAAS_AUTO(char) *dir = NULL;

    if (xdg != NULL && xdg[0] == '/')
        dir = file_path("%s/faas", xdg);
    else if (home != NULL && home[0] == '/')
        dir = file_path("%s/.config/faas", home);
    else
        return faas_fail(err, FAAS_INVALID, "set HOME or XDG_CONFIG_HOME: the login is kept there");
    if (dir == NULL)
        return faas_fail_sys(err, ENOMEM, "credentials path");
    *out_path = file_path("%s/credentials.json", dir);
    return *out_path != NULL ? FAAS_OK : faas_fail_sys(err, ENOMEM, "credentials path");
}

static faas_code check_private(const char *path, faas_err *err)
{
    struct stat st;

    if (stat(path, &st) != 0)
        return errno == ENOENT ? FAAS_OK : file_fail(err, "read", path, errno);
    if ((st.st_mode & 077) != 0)
        return faas_fail(err, FAAS_INVALID,
                         "%s can be read by others (mode %04o), so its token may be known: "
                         "remove it, or chmod 600 it, and log in again",
                         path, (unsigned)(st.st_mode & 07777));
    return FAAS_OK;
}

/* The document, empty when there is no file or no place for one; a new reference. */
static faas_code load_document(json_t **out_doc, faas_err *err)
{
    FAAS_AUTO(char) *path = NULL;
    json_t *doc = NULL;
    faas_code rc = credentials_path(&path, err);

    if (rc != FAAS_OK && rc != FAAS_INVALID)
        return rc; /* taken for empty, the next login would replace what is there */
    if (rc == FAAS_OK) {
        FAAS_TRY(check_private(path, err));
        FAAS_TRY(file_read_json(path, &doc, err));
    }
    if (doc == NULL)
        doc = json_pack("{s:i,s:{}}", "v", 1, "servers");
    if (doc == NULL)
        return faas_fail_sys(err, ENOMEM, "credentials");
    if (!json_is_object(json_object_get(doc, "servers"))) {
        json_decref(doc);
        return faas_fail(err, FAAS_INVALID, "%s: no \"servers\" in it; remove it and log in again",
                         path);
    }
    *out_doc = doc;
    return FAAS_OK;
}

static faas_code save_document(const json_t *doc, faas_err *err)
{
    FAAS_AUTO(char) *path = NULL;
    FAAS_AUTO(char) *dir = NULL;

    FAAS_TRY(credentials_path(&path, err));
    dir = strndup(path, (size_t)(strrchr(path, '/') - path));
    if (dir == NULL)
        return faas_fail_sys(err, errno, "credentials path");
    FAAS_TRY(file_make_dirs(dir, err));
    return file_write_json(path, doc, 0600, err);
}

/* ---- servers ---- */

static bool is_clean_url(const char *text)
{
    for (const char *p = text; *p != '\0'; p++) {
        if (*p <= ' ' || *p > '~' || strchr("@?#\"<>\\^`{|}", *p) != NULL)
            return false;
    }
    return true;
}

faas_code credential_server_url(const char *text, char **out_url, faas_err *err)
{
    const char *scheme = strstr(text, "://");
    size_t len = strlen(text);
    char *url;

    if (!is_clean_url(text))
        return faas_fail(err, FAAS_INVALID,
                         "the server is a URL like http://HOST:PORT, without user or query");
    while (len > 0 && text[len - 1] == '/')
        len--;
    if (scheme != NULL && strncasecmp(text, "http://", 7) != 0 &&
        strncasecmp(text, "https://", 8) != 0)
        return faas_fail(err, FAAS_INVALID, "the server's URL begins with http:// or https://");
    if (len == 0 || (scheme != NULL && len <= (size_t)(scheme - text) + 3))
        return faas_fail(err, FAAS_INVALID, "the server's URL names no host");
    url = file_path("%s%.*s", scheme == NULL ? "http://" : "", (int)len, text);
    if (url == NULL)
        return faas_fail_sys(err, ENOMEM, "server URL");
    for (char *p = url; *p != ':'; p++)
        *p = (char)(*p >= 'A' && *p <= 'Z' ? *p + 32 : *p);
    *out_url = url;
    return FAAS_OK;
}

static const char *pick_server(const char *asked, const json_t *doc)
{
    const char *const candidates[] = {
        asked,
        getenv("FAAS_URL"),
        getenv("OPENFAAS_URL"),
        json_string_value(json_object_get(doc, "default")),
    };

    for (size_t i = 0; i < FAAS_ARRAY_LEN(candidates); i++) {
        if (candidates[i] != NULL && candidates[i][0] != '\0')
            return candidates[i];
    }
    return CREDENTIALS_DEFAULT_SERVER;
}

/* ---- one login ---- */

static faas_code copy_login(const json_t *login, struct credential *credential, faas_err *err)
{
    const char *username = json_string_value(json_object_get(login, "username"));
    const char *token = json_string_value(json_object_get(login, "token"));

    if (username == NULL || token == NULL)
        return FAAS_OK;
    credential->expires_at_ms = json_integer_value(json_object_get(login, "expires_at"));
    credential->username = strdup(username);
    credential->token = strdup(token);
    if (credential->username == NULL || credential->token == NULL)
        return faas_fail_sys(err, errno, "login");
    return FAAS_OK;
}

/* Which certificates to trust is kept with the login, and holds without it, too. */
static faas_code copy_ca_file(const json_t *login, struct credential *credential, faas_err *err)
{
    const char *ca_file = json_string_value(json_object_get(login, "ca_file"));

    if (ca_file == NULL)
        return FAAS_OK;
    credential->ca_file = strdup(ca_file);
    return credential->ca_file != NULL ? FAAS_OK : faas_fail_sys(err, errno, "login");
}

/* The first line of an open file that holds a secret. */
static faas_code read_key(FILE *file, const char *path, char **out_key, faas_err *err)
{
    char text[KEY_FILE_MAX];
    bool is_key;

    FAAS_TRY(faas_secret_check(fileno(file), path, err));
    if (fgets(text, sizeof text, file) == NULL)
        text[0] = '\0';
    text[strcspn(text, "\r\n")] = '\0';
    is_key = text[0] != '\0' && strpbrk(text, " \t") == NULL;
    *out_key = is_key ? strdup(text) : NULL;
    sodium_memzero(text, sizeof text);
    if (!is_key)
        return faas_fail(err, FAAS_INVALID, "%.200s: its first line is no API key", path);
    return *out_key != NULL ? FAAS_OK : faas_fail_sys(err, errno, "API key");
}

static faas_code load_key(const char *path, char **out_key, faas_err *err)
{
    FILE *file = fopen(path, "rce");
    faas_code rc;

    if (file == NULL)
        return file_fail(err, "read", path, errno);
    setvbuf(file, NULL, _IONBF, 0); /* no copy of the key stays in a buffer */
    rc = read_key(file, path, out_key, err);
    (void)fclose(file);
    return rc;
}

/* For machines that have no home directory, a token or the file of an API key replaces the kept
 * login. */
static faas_code copy_environment(struct credential *credential, bool *out_is_there, faas_err *err)
{
    const char *token = getenv("FAAS_TOKEN"), *key_file = getenv("FAAS_KEY_FILE");
    bool has_token = token != NULL && token[0] != '\0';
    bool has_file = key_file != NULL && key_file[0] != '\0';

    *out_is_there = has_token || has_file;
    if (has_token && has_file)
        return faas_fail(err, FAAS_INVALID,
                         "FAAS_TOKEN and FAAS_KEY_FILE are both set: which one is meant?");
    if (has_file)
        return load_key(key_file, &credential->token, err);
    if (!has_token)
        return FAAS_OK;
    credential->token = strdup(token);
    return credential->token != NULL ? FAAS_OK : faas_fail_sys(err, errno, "token");
}

faas_code credential_load(const char *asked_server, struct credential *out_credential,
                          faas_err *err)
{
    FAAS_AUTO(json_t) *doc = NULL;
    struct credential credential = {0};
    const json_t *login;
    bool has_token = false;
    faas_code code;

    FAAS_TRY(load_document(&doc, err));
    FAAS_TRY(credential_server_url(pick_server(asked_server, doc), &credential.server, err));
    login = json_object_get(json_object_get(doc, "servers"), credential.server);
    code = copy_environment(&credential, &has_token, err);
    if (code == FAAS_OK && !has_token)
        code = copy_login(login, &credential, err);
    if (code == FAAS_OK)
        code = copy_ca_file(login, &credential, err);
    if (code != FAAS_OK) {
        credential_done(&credential);
        return code;
    }
    *out_credential = credential;
    return FAAS_OK;
}

faas_code credential_save(const struct credential *credential, faas_err *err)
{
    FAAS_AUTO(json_t) *doc = NULL;
    json_t *login;

    FAAS_TRY(load_document(&doc, err));
    login = json_pack("{s:s,s:s,s:I,s:s*}", "username", credential->username, "token",
                      credential->token, "expires_at", (json_int_t)credential->expires_at_ms,
                      "ca_file", credential->ca_file);
    if (login == NULL ||
        json_object_set_new(json_object_get(doc, "servers"), credential->server, login) != 0 ||
        json_object_set_new(doc, "default", json_string(credential->server)) != 0)
        return faas_fail(err, FAAS_INTERNAL, "the login cannot be written as JSON");
    return save_document(doc, err);
}

faas_code credential_forget(const char *server, faas_err *err)
{
    FAAS_AUTO(json_t) *doc = NULL;

    FAAS_TRY(load_document(&doc, err));
    if (json_object_del(json_object_get(doc, "servers"), server) != 0)
        return FAAS_OK;
    return save_document(doc, err);
}

void credential_done(struct credential *credential)
{
    if (credential->token != NULL)
        sodium_memzero(credential->token, strlen(credential->token));
    free(credential->token);
    free(credential->username);
    free(credential->server);
    free(credential->ca_file);
    *credential = (struct credential){0};
}
