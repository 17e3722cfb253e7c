/* id.h - identifiers.
 * UUIDs     version 7 (sortable by time, RFC 9562), lower-case text of 36 characters; within a
 *           process they grow strictly.
 * Hashes    lower-case hex of SHA-256.
 * Threads   any.
 */
#ifndef FAAS_ID_H
#define FAAS_ID_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FAAS_UUID_TEXT 37 /* with NUL */
#define FAAS_HASH_TEXT 65

void faas_uuid_new(char out_text[FAAS_UUID_TEXT]);
bool faas_uuid_is(const char *text); /* exactly the canonical lower-case form */
void faas_uuid_to_bytes(const char *text,
                        uint8_t out_bytes[16]); /* text must satisfy faas_uuid_is */
void faas_uuid_from_bytes(const uint8_t bytes[16], char out_text[FAAS_UUID_TEXT]);
void faas_random_token(char out_text[33]); /* 128 random bits in lower-case hex */
void faas_hash_text(const void *data, size_t len, char out_text[FAAS_HASH_TEXT]); /* SHA-256, hex */
/* Rendezvous weight of (key, member): the member with the highest weight owns the key.  It is the
 * first 8 bytes, big-endian, of SHA-256 over key, one NUL and member: the same in every release. */
uint64_t faas_rendezvous(const char *key, const char *member);

#endif
