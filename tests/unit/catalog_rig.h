/* catalog_rig.h - a catalog in a folder of its own, for the tests of it.
 * Names     a function's bucket key is "f.<tenant>.hash-of-<name>".
 * Errors    what goes wrong here fails the running cmocka test.
 */
#ifndef FAAS_CATALOG_RIG_H
#define FAAS_CATALOG_RIG_H

#include "services/registry/catalog.h"
#include "tests/unit/unit.h"

#define ANN  "0190c8f6-0000-7000-8000-00000000000a"
#define BOB  "0190c8f6-0000-7000-8000-00000000000b"
#define FUNC "0190c8f6-0000-7000-8000-0000000000f1"
#define LAST 1000 /* of the bucket, in these tests */

extern char rig_dir[];

int rig_make_dir(void **state); /* before and after each test */
int rig_remove_dir(void **state);
catalog *rig_open(const char *instance, uint64_t bucket_last);
void rig_apply(catalog *cat, const char *key, const char *value); /* value NULL: a deletion */
void rig_commit(catalog *cat, uint64_t seq);
void rig_record(char *out, size_t size, const char *name, int version, const char *about);
void rig_put(catalog *cat, const char *tenant, const char *name, const char *about);
/* The names of a page, joined by spaces; '+' at its end: there is more. */
void rig_page_is(catalog *cat, const struct catalog_query *query, const char *want);
struct catalog_query rig_all_of(const char *tenant);

#endif
