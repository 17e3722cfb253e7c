#include "user.h"

#include <string.h>

#define FIELDS_MAX 4 /* name, password, uid, gid: what is needed of either file */

struct word {
    const char *text;
    size_t len;
};
struct line {
    struct word fields[FIELDS_MAX];
    size_t count;
};

static bool is_same(struct word a, struct word b)
{
    return a.len == b.len && memcmp(a.text, b.text, a.len) == 0;
}

static bool is_number(struct word word, uint32_t *out_value)
{
    uint32_t value = 0;

    if (word.len == 0 || word.len > 5)
        return false;
    for (size_t i = 0; i < word.len; i++) {
        if (word.text[i] < '0' || word.text[i] > '9')
            return false;
        value = value * 10 + (uint32_t)(word.text[i] - '0');
    }
    *out_value = value;
    return value < IMAGE_OWNER_COUNT;
}

static bool is_digits(struct word word)
{
    for (size_t i = 0; i < word.len; i++)
        if (word.text[i] < '0' || word.text[i] > '9')
            return false;
    return word.len > 0;
}

/* The next line of the file from *at on; false at its end. */
static bool next_line(const char *text, size_t len, size_t *at, struct line *out_line)
{
    const char *begin, *end;

    if (*at >= len)
        return false;
    begin = text + *at;
    end = memchr(begin, '\n', len - *at);
    if (end == NULL)
        end = text + len;
    *at = (size_t)(end - text) + 1;
    out_line->count = 0;
    while (out_line->count < FIELDS_MAX) {
        const char *colon = memchr(begin, ':', (size_t)(end - begin));
        const char *stop = colon != NULL ? colon : end;

        out_line->fields[out_line->count++] = (struct word){begin, (size_t)(stop - begin)};
        if (colon == NULL)
            break;
        begin = colon + 1;
    }
    return true;
}

/* The first passwd line of that user, given by name or by number. */
static bool find_user(const struct image_accounts *accounts, struct word user, uint32_t *out_uid,
                      uint32_t *out_gid)
{
    size_t at = 0;
    uint32_t wanted = 0;
    bool is_by_number = is_number(user, &wanted);
    struct line line;

    while (accounts->passwd != NULL &&
           next_line(accounts->passwd, accounts->passwd_len, &at, &line)) {
        uint32_t uid, gid;

        if (line.count < 4 || !is_number(line.fields[2], &uid) || !is_number(line.fields[3], &gid))
            continue;
        if (is_by_number ? uid == wanted : is_same(line.fields[0], user)) {
            *out_uid = uid;
            *out_gid = gid;
            return true;
        }
    }
    return false;
}

static bool find_group(const struct image_accounts *accounts, struct word group, uint32_t *out_gid)
{
    size_t at = 0;
    struct line line;

    while (accounts->group != NULL && next_line(accounts->group, accounts->group_len, &at, &line)) {
        uint32_t gid;

        if (line.count >= 3 && is_number(line.fields[2], &gid) && is_same(line.fields[0], group)) {
            *out_gid = gid;
            return true;
        }
    }
    return false;
}

static faas_code resolve_user(const struct image_accounts *accounts, struct word user,
                              uint32_t *out_uid, uint32_t *out_gid, faas_err *err)
{
    *out_gid = 0;
    if (find_user(accounts, user, out_uid, out_gid) || is_number(user, out_uid))
        return FAAS_OK;
    if (is_digits(user))
        return faas_fail(err, FAAS_INVALID, "image: user: a number must be below %u",
                         IMAGE_OWNER_COUNT);
    return faas_fail(err, FAAS_UNPROCESSABLE, "image: user %.*s is not in its /etc/passwd",
                     (int)user.len, user.text);
}

static faas_code resolve_group(const struct image_accounts *accounts, struct word group,
                               uint32_t *out_gid, faas_err *err)
{
    if (is_number(group, out_gid) || find_group(accounts, group, out_gid))
        return FAAS_OK;
    if (is_digits(group))
        return faas_fail(err, FAAS_INVALID, "image: group: a number must be below %u",
                         IMAGE_OWNER_COUNT);
    return faas_fail(err, FAAS_UNPROCESSABLE, "image: group %.*s is not in its /etc/group",
                     (int)group.len, group.text);
}

faas_code image_user_resolve(const char *user, const struct image_accounts *accounts,
                             uint32_t *out_uid, uint32_t *out_gid, faas_err *err)
{
    size_t user_len = strcspn(user, ":");
    struct word name = {user, user_len};
    struct word group = {user + user_len, 0};
    bool has_group = user[user_len] == ':';
    uint32_t uid = 0, gid = 0;

    if (has_group)
        group = (struct word){user + user_len + 1, strlen(user + user_len + 1)};
    if ((has_group && (name.len == 0 || group.len == 0)) ||
        memchr(group.text, ':', group.len) != NULL)
        return faas_fail(err, FAAS_INVALID, "image: user: expected USER or USER:GROUP");
    if (name.len > 0)
        FAAS_TRY(resolve_user(accounts, name, &uid, &gid, err));
    if (has_group)
        FAAS_TRY(resolve_group(accounts, group, &gid, err));
    *out_uid = uid != 0 ? uid : IMAGE_NOBODY;
    *out_gid = gid != 0 ? gid : IMAGE_NOBODY;
    return FAAS_OK;
}
