#include "registry_auth.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"
#include "base/secret.h"
#include "base/text.h"

#define FILE_MAX      (1024 * 1024)
#define SECRET_MAX    8192
#define HEADER_PREFIX "X-Registry-Auth: "

void registry_auth_free(char *text)
{
    if (text != NULL)
        sodium_memzero(text, strlen(text));
    free(text);
}

/* "https://index.docker.io/v1/" -> "docker.io": is this key's host the wanted one? */
static bool key_is_host(const char *key, const char *host)
{
    const char *scheme = strstr(key, "://");
    const char *at = scheme != NULL ? scheme + 3 : key;
    size_t len = strcspn(at, "/");

    if ((len == 15 && memcmp(at, "index.docker.io", 15) == 0) ||
        (len == 20 && memcmp(at, "registry-1.docker.io", 20) == 0))
        return strcmp(host, "docker.io") == 0;
    return len == strlen(host) && memcmp(at, host, len) == 0;
}

/* For reading; the caller closes it. */
static faas_code open_file(const char *file, FILE **out_in, faas_err *err)
{
    int fd = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    faas_err why = {0};
    faas_code rc;

    if (fd < 0)
        return faas_fail(err, FAAS_INVALID, "REGISTRY_AUTH_FILE: cannot be read: %s",
                         strerrordesc_np(errno));
    rc = faas_secret_check(fd, file, &why);
    if (rc != FAAS_OK) {
        close(fd);
        return rc == FAAS_INVALID ? faas_fail(err, rc, "REGISTRY_AUTH_FILE: %s", why.msg)
                                  : faas_fail_sys(err, ENOMEM, "look at REGISTRY_AUTH_FILE");
    }
    *out_in = fdopen(fd, "r");
    if (*out_in != NULL)
        return FAAS_OK;
    close(fd);
    return faas_fail_sys(err, errno, "read REGISTRY_AUTH_FILE");
}

static faas_code read_file(const char *file, json_t **out_doc, faas_err *err)
{
    FILE *in = NULL;
    char *text;
    size_t len;
    faas_code rc;

    FAAS_TRY(open_file(file, &in, err));
    text = malloc(FILE_MAX + 1);
    if (text == NULL) {
        fclose(in);
        return faas_fail_sys(err, ENOMEM, "read REGISTRY_AUTH_FILE");
    }
    len = fread(text, 1, FILE_MAX + 1, in);
    rc = ferror(in) == 0 && len <= FILE_MAX ? faas_json_parse(text, len, false, out_doc, err)
                                            : FAAS_INVALID;
    fclose(in);
    sodium_memzero(text, len);
    free(text);
    if (rc == FAAS_INVALID) /* its reason may quote the file */
        return faas_fail(err, rc, "REGISTRY_AUTH_FILE: not docker's config.json format");
    return rc;
}

static json_t *find_entry(const json_t *doc, const char *host)
{
    const char *key;
    json_t *entry;

    json_object_foreach (json_object_get(doc, "auths"), key, entry) {
        if (key_is_host(key, host))
            return entry;
    }
    return NULL;
}

/* The next of the files; *files moves on.  NULL without memory. */
static char *next_file(const char **files)
{
    size_t len = strcspn(*files, ":");
    char *file = strndup(*files, len);

    *files += len + ((*files)[len] == ':');
    return file;
}

/* NULL in *out_entry when no file has the host; the entry lives as long as *out_doc. */
static faas_code look_up(const char *files, const char *host, json_t **out_doc,
                         const json_t **out_entry, faas_err *err)
{
    *out_entry = NULL;
    while (files != NULL && *files != '\0' && *out_entry == NULL) {
        FAAS_AUTO(char) *file = next_file(&files);

        if (file == NULL)
            return faas_fail_sys(err, errno, "read REGISTRY_AUTH_FILE");
        json_decref(*out_doc);
        *out_doc = NULL;
        FAAS_TRY(read_file(file, out_doc, err));
        *out_entry = find_entry(*out_doc, host);
    }
    return FAAS_OK;
}

static bool is_usable(const char *text)
{
    return text != NULL && faas_utf8_is(text, strlen(text));
}

/* The JSON that the engine wants, in `out`; "" when the entry holds nothing usable. */
static faas_code write_auth(const json_t *entry, const char *host, char *out, size_t size,
                            faas_err *err)
{
    const char *token = json_string_value(json_object_get(entry, "identitytoken"));
    const char *user = json_string_value(json_object_get(entry, "username"));
    const char *password = json_string_value(json_object_get(entry, "password"));
    const char *packed = json_string_value(json_object_get(entry, "auth"));
    char plain[SECRET_MAX];
    size_t len = 0, used;
    FAAS_AUTO(json_t) *doc = NULL;
    bool has_login, has_token;

    if (packed != NULL && packed[0] != '\0' &&
        sodium_base642bin((unsigned char *)plain, sizeof plain - 1, packed, strlen(packed), "\r\n ",
                          &len, NULL, sodium_base64_VARIANT_ORIGINAL) == 0) {
        char *colon;

        plain[len] = '\0';
        colon = strchr(plain, ':');
        if (colon != NULL) {
            *colon = '\0';
            user = plain;
            password = colon + 1;
        }
    }
    has_login = is_usable(user) && is_usable(password);
    has_token = token != NULL && token[0] != '\0';
    if (has_token)
        doc = json_pack("{s:s,s:s}", "identitytoken", token, "serveraddress", host);
    else if (has_login)
        doc = json_pack("{s:s,s:s,s:s}", "username", user, "password", password, "serveraddress",
                        host);
    sodium_memzero(plain, sizeof plain);
    used = doc != NULL ? json_dumpb(doc, out, size, JSON_COMPACT) : 0;
    out[used < size ? used : 0] = '\0';
    if (used == 0 && (has_login || has_token)) /* a pull without them would fail with a lie */
        return faas_fail_sys(err, ENOMEM, "registry credentials");
    return FAAS_OK;
}

static faas_code check_file(const char *file, faas_err *err)
{
    FAAS_AUTO(json_t) *doc = NULL;

    FAAS_TRY(read_file(file, &doc, err));
    if (!json_is_object(json_object_get(doc, "auths")))
        return faas_fail(err, FAAS_INVALID, "REGISTRY_AUTH_FILE: has no \"auths\"");
    return FAAS_OK;
}

faas_code registry_auth_check(const char *files, faas_err *err)
{
    while (files != NULL && *files != '\0') {
        FAAS_AUTO(char) *file = next_file(&files);

        FAAS_TRY(file != NULL ? check_file(file, err)
                              : faas_fail_sys(err, errno, "read REGISTRY_AUTH_FILE"));
    }
    return FAAS_OK;
}

faas_code registry_auth_header(const char *files, const char *host, char **out_header,
                               faas_err *err)
{
    FAAS_AUTO(json_t) *doc = NULL;
    char json[SECRET_MAX] = "", *header;
    size_t prefix = strlen(HEADER_PREFIX), room;
    const json_t *entry;

    *out_header = NULL;
    FAAS_TRY(look_up(files, host, &doc, &entry, err));
    if (entry != NULL)
        FAAS_TRY(write_auth(entry, host, json, sizeof json, err));
    if (json[0] == '\0')
        return FAAS_OK;
    room = sodium_base64_ENCODED_LEN(strlen(json), sodium_base64_VARIANT_URLSAFE);
    header = malloc(prefix + room);
    if (header != NULL) {
        memcpy(header, HEADER_PREFIX, prefix);
        sodium_bin2base64(header + prefix, room, (const unsigned char *)json, strlen(json),
                          sodium_base64_VARIANT_URLSAFE);
    }
    sodium_memzero(json, sizeof json);
    if (header == NULL)
        return faas_fail_sys(err, ENOMEM, "registry credentials");
    *out_header = header;
    return FAAS_OK;
}

/* As write_auth has it, in the words of docker's config.json: the value, and the name of it. */
static faas_code write_entry(const json_t *doc, char out[2 * SECRET_MAX], const char **out_name,
                             faas_err *err)
{
    const size_t size = 2 * SECRET_MAX;
    const char *token = json_string_value(json_object_get(doc, "identitytoken"));
    const char *user = json_string_value(json_object_get(doc, "username"));
    const char *password = json_string_value(json_object_get(doc, "password"));
    char plain[SECRET_MAX];
    int len;

    *out_name = token != NULL ? "identitytoken" : "auth";
    if (token != NULL) {
        snprintf(out, size, "%s", token);
        return FAAS_OK;
    }
    len = snprintf(plain, sizeof plain, "%s:%s", user != NULL ? user : "",
                   password != NULL ? password : "");
    if (doc == NULL || len < 0 || (size_t)len >= sizeof plain ||
        sodium_base64_ENCODED_LEN((size_t)len, sodium_base64_VARIANT_ORIGINAL) > size) {
        sodium_memzero(plain, sizeof plain);
        return faas_fail_sys(err, ENOMEM, "registry credentials");
    }
    sodium_bin2base64(out, size, (const unsigned char *)plain, (size_t)len,
                      sodium_base64_VARIANT_ORIGINAL);
    sodium_memzero(plain, sizeof plain);
    return FAAS_OK;
}

/* {"auths":{host:{...}}} of the same. */
static faas_code write_config(const json_t *login, const char *host, char **out_text, faas_err *err)
{
    FAAS_AUTO(json_t) *own = NULL;
    char packed[2 * SECRET_MAX];
    const char *name;
    faas_code code = write_entry(login, packed, &name, err);

    if (code == FAAS_OK) {
        own = json_pack("{s:{s:{s:s}}}", "auths", host, name, packed);
        *out_text = faas_json_text(own, NULL);
        if (*out_text == NULL)
            code = faas_fail_sys(err, ENOMEM, "registry credentials");
    }
    sodium_memzero(packed, sizeof packed);
    faas_json_wipe(own);
    return code;
}

faas_code registry_auth_config(const char *files, const char *host, char **out_text, faas_err *err)
{
    FAAS_AUTO(json_t) *doc = NULL, *own = NULL;
    char auth[SECRET_MAX] = "";
    const json_t *entry;
    faas_code code;

    *out_text = NULL;
    FAAS_TRY(look_up(files, host, &doc, &entry, err));
    if (entry != NULL)
        FAAS_TRY(write_auth(entry, host, auth, sizeof auth, err));
    if (auth[0] == '\0')
        return FAAS_OK;
    own = faas_json_load(auth, strlen(auth), 0);
    code = write_config(own, host, out_text, err);
    faas_json_wipe(own);
    sodium_memzero(auth, sizeof auth);
    return code;
}

faas_code registry_auth_user_config(const void *login, size_t len, const char *host,
                                    char **out_text, faas_err *err)
{
    FAAS_AUTO(json_t) *doc = faas_json_load(login, len, 0);
    faas_code code;

    if (is_usable(json_string_value(json_object_get(doc, "username"))) &&
        is_usable(json_string_value(json_object_get(doc, "password"))))
        code = write_config(doc, host, out_text, err);
    else
        code = faas_fail(err, FAAS_INVALID, "the stored login is none");
    faas_json_wipe(doc);
    return code;
}
