#include "tests/support/fault.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/unit.h"

static sqlite3_mem_methods plain;

static void *memory_new(int size)
{
    return fault_is_due(FAULT_LIBRARY, "malloc of SQLite", ENOMEM) ? NULL : plain.xMalloc(size);
}

static void *memory_resize(void *block, int size)
{
    return fault_is_due(FAULT_LIBRARY, "realloc of SQLite", ENOMEM) ? NULL
                                                                    : plain.xRealloc(block, size);
}

/* Our own objects are not asked: these go to the C library at once. */
#define FAILS(call, errnum) fault_is_due(FAULT_SYSTEM, call " of SQLite", errnum)

static int file_open(const char *path, int flags, int mode)
{
    return FAILS("open", EMFILE) ? -1 : openat(AT_FDCWD, path, flags, mode);
}

static ssize_t file_read(int fd, void *data, size_t len, off_t at)
{
    return FAILS("pread", EIO) ? -1 : pread64(fd, data, len, at);
}

static ssize_t file_write(int fd, const void *data, size_t len, off_t at)
{
    return FAILS("pwrite", ENOSPC) ? -1 : pwrite64(fd, data, len, at);
}

static int file_cut(int fd, off_t len)
{
    return FAILS("ftruncate", EIO) ? -1 : ftruncate64(fd, len);
}

static void *file_map(void *at, size_t len, int protection, int flags, int fd, off_t offset)
{
    return FAILS("mmap", ENOMEM) ? MAP_FAILED : mmap(at, len, protection, flags, fd, offset);
}

static void replace(const char *name, sqlite3_syscall_ptr call)
{
    sqlite3_vfs *vfs = sqlite3_vfs_find("unix");

    if (vfs->xGetSystemCall(vfs, name) != NULL)
        assert_int_equal(vfs->xSetSystemCall(vfs, name, call), SQLITE_OK);
}

void fault_sqlite(void)
{
    sqlite3_mem_methods ours;

    assert_int_equal(sqlite3_config(SQLITE_CONFIG_GETMALLOC, &plain), SQLITE_OK);
    ours = plain;
    ours.xMalloc = memory_new;
    ours.xRealloc = memory_resize;
    assert_int_equal(sqlite3_config(SQLITE_CONFIG_MALLOC, &ours), SQLITE_OK);
    replace("open", (sqlite3_syscall_ptr)(void (*)(void))file_open);
    replace("pread", (sqlite3_syscall_ptr)(void (*)(void))file_read);
    replace("pread64", (sqlite3_syscall_ptr)(void (*)(void))file_read);
    replace("pwrite", (sqlite3_syscall_ptr)(void (*)(void))file_write);
    replace("pwrite64", (sqlite3_syscall_ptr)(void (*)(void))file_write);
    replace("ftruncate", (sqlite3_syscall_ptr)(void (*)(void))file_cut);
    replace("mmap", (sqlite3_syscall_ptr)(void (*)(void))file_map);
}
