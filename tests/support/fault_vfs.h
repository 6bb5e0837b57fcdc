/* A SQLite VFS that lies between SQLite and the default VFS, counts the calls, and lets chosen ones
 * fail. It is registered under a name of its own and is never the default, so that a raw connection
 * of the same test still sees the disk as it is.
 *
 *     static fault_vfs disk;
 *     fault_vfs_register(&disk, "faulty");
 *     ... francis_platform.sqlite_vfs = "faulty" ...
 *     fault_vfs_fail(&disk, FAULT_SYNC, FAULT_WAL, 3, FAULT_ONCE, SQLITE_IOERR_FSYNC);
 *     ... the third sync of a WAL from now on fails ...
 *     if (fault_vfs_fired(&disk)) ...
 *     fault_vfs_heal(&disk);
 *
 * Reads and writes go through xRead and xWrite, for the files offer no memory mapping. The shared
 * memory of the WAL is the default VFS's own; its calls (map, lock) can fail like the others.
 * All functions may be called from any thread. */
#ifndef FAULT_VFS_H
#define FAULT_VFS_H

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <sqlite3.h>

#if defined(__GNUC__)
#define FAULT_VFS_UNUSED __attribute__((unused))
#else
#define FAULT_VFS_UNUSED
#endif

/* What a call does. Bits, so that one rule can match several. */
enum {
    FAULT_WRITE    = 1,
    FAULT_SYNC     = 2,
    FAULT_READ     = 4,
    FAULT_TRUNCATE = 8,
    FAULT_OPEN     = 16,
    FAULT_LOCK     = 32,            /* xLock */
    FAULT_SHM      = 64,            /* xShmMap; xShmLock for the locks of writer, checkpoint and
                                       recovery, when they are taken */
    FAULT_DELETE   = 128,
    FAULT_SIZE     = 256,           /* xFileSize */
    FAULT_ACCESS   = 512,           /* xAccess */
    FAULT_CHECK    = 1024,          /* xCheckReservedLock */
    FAULT_SHM_READ = 2048,          /* xShmLock for those of readers; when these are BUSY SQLite
                                       itself sleeps and tries again, for ten seconds */
    FAULT_ANY_CALL = 4095,
    FAULT_CALLS    = 12
};

/* On which file. */
enum {
    FAULT_DB       = 1,             /* the main database */
    FAULT_WAL      = 2,
    FAULT_HOST     = 4,             /* a lock file beside the database: its name has "-host-" */
    FAULT_OTHER    = 8,             /* rollback journals, temporary files */
    FAULT_ANY_FILE = 15,
    FAULT_FILES    = 4
};

enum {
    FAULT_ONCE,    /* the n-th matching call fails, later ones work */
    FAULT_FOREVER, /* the n-th and all later matching calls fail */
    FAULT_DIES     /* from the n-th matching call on every call of any kind fails */
};

typedef struct fault_vfs {
    sqlite3_vfs     vfs;
    sqlite3_vfs    *real;
    pthread_mutex_t lock;
    unsigned        calls;          /* the rule: which calls, */
    unsigned        files;          /* of which files, */
    unsigned long   countdown;      /* after how many; 0 = no rule */
    int             how;
    int             code;
    int             short_bytes;    /* a failing write writes so many bytes before; 0 = none */
    unsigned long   times;          /* FAULT_ONCE: so many matching calls in a row fail */
    unsigned long   left;           /* of them; counted once the first has failed */
    bool            dead;
    bool            no_sync;        /* for tests of which none loses its power: syncs take time */
    unsigned long   fired;
    unsigned long   count[FAULT_CALLS][FAULT_FILES];
} fault_vfs;

typedef struct fault_file {
    sqlite3_file  base;
    fault_vfs    *disk;
    unsigned      kind;             /* FAULT_DB, ... */
    sqlite3_file *real;             /* behind this struct */
} fault_file;

FAULT_VFS_UNUSED static int fault_bit(unsigned bits)
{
    int i = 0;
    while ((bits & 1u) == 0 && i < 31) {
        bits >>= 1;
        i++;
    }
    return i;
}

/* What a call on a disk that has died answers. */
FAULT_VFS_UNUSED static int fault_dead_code(unsigned call)
{
    switch (call) {
    case FAULT_WRITE:    return SQLITE_IOERR_WRITE;
    case FAULT_SYNC:     return SQLITE_IOERR_FSYNC;
    case FAULT_READ:     return SQLITE_IOERR_READ;
    case FAULT_TRUNCATE: return SQLITE_IOERR_TRUNCATE;
    case FAULT_OPEN:     return SQLITE_CANTOPEN;
    case FAULT_LOCK:     return SQLITE_IOERR_LOCK;
    case FAULT_SHM:      return SQLITE_IOERR_SHMMAP;
    case FAULT_SHM_READ: return SQLITE_IOERR_SHMLOCK;
    case FAULT_DELETE:   return SQLITE_IOERR_DELETE;
    case FAULT_SIZE:     return SQLITE_IOERR_FSTAT;
    case FAULT_ACCESS:   return SQLITE_IOERR_ACCESS;
    case FAULT_CHECK:    return SQLITE_IOERR_CHECKRESERVEDLOCK;
    default:             return SQLITE_IOERR;
    }
}

/* Counts one call; returns SQLITE_OK or the code that it is to fail with. */
FAULT_VFS_UNUSED static int fault_hit(fault_vfs *disk, unsigned call, unsigned file, int *short_out)
{
    int rc = SQLITE_OK;
    (void)pthread_mutex_lock(&disk->lock);
    disk->count[fault_bit(call)][fault_bit(file)]++;
    if (disk->dead) {
        disk->fired++;
        rc = fault_dead_code(call);
    } else if ((disk->calls & call) != 0 && (disk->files & file) != 0) {
        if (disk->countdown > 0 && --disk->countdown == 0)
            disk->left = disk->how == FAULT_ONCE ? disk->times : (unsigned long)-1;
        if (disk->left > 0) {
            disk->fired++;
            if (disk->how == FAULT_ONCE)
                disk->left--;
            disk->dead = disk->how == FAULT_DIES;
            rc = disk->code != 0 ? disk->code : fault_dead_code(call);
            if (short_out != NULL)
                *short_out = disk->short_bytes;
        }
    }
    (void)pthread_mutex_unlock(&disk->lock);
    return rc;
}

FAULT_VFS_UNUSED static int fault_x_close(sqlite3_file *file)
{
    fault_file *f = (fault_file *)file;
    return f->real->pMethods->xClose(f->real);
}

FAULT_VFS_UNUSED static int fault_x_read(sqlite3_file *file, void *data, int size, sqlite3_int64 at)
{
    fault_file *f = (fault_file *)file;
    int         rc = fault_hit(f->disk, FAULT_READ, f->kind, NULL);
    if (rc == SQLITE_IOERR_SHORT_READ)  /* SQLite wants the rest zeroed then */
        (void)memset(data, 0, (size_t)size);
    return rc != SQLITE_OK ? rc : f->real->pMethods->xRead(f->real, data, size, at);
}

FAULT_VFS_UNUSED static int fault_x_write(sqlite3_file *file, const void *data, int size,
                                          sqlite3_int64 at)
{
    fault_file *f = (fault_file *)file;
    int         part = 0;
    int         rc = fault_hit(f->disk, FAULT_WRITE, f->kind, &part);
    if (rc == SQLITE_OK)
        return f->real->pMethods->xWrite(f->real, data, size, at);
    if (part > 0)
        (void)f->real->pMethods->xWrite(f->real, data, part < size ? part : size, at);
    return rc;
}

FAULT_VFS_UNUSED static int fault_x_truncate(sqlite3_file *file, sqlite3_int64 size)
{
    fault_file *f = (fault_file *)file;
    int         rc = fault_hit(f->disk, FAULT_TRUNCATE, f->kind, NULL);
    return rc != SQLITE_OK ? rc : f->real->pMethods->xTruncate(f->real, size);
}

FAULT_VFS_UNUSED static int fault_x_sync(sqlite3_file *file, int flags)
{
    fault_file *f = (fault_file *)file;
    int         rc = fault_hit(f->disk, FAULT_SYNC, f->kind, NULL);
    return rc != SQLITE_OK || f->disk->no_sync ? rc : f->real->pMethods->xSync(f->real, flags);
}

FAULT_VFS_UNUSED static int fault_x_size(sqlite3_file *file, sqlite3_int64 *size)
{
    fault_file *f = (fault_file *)file;
    int         rc = fault_hit(f->disk, FAULT_SIZE, f->kind, NULL);
    return rc != SQLITE_OK ? rc : f->real->pMethods->xFileSize(f->real, size);
}

FAULT_VFS_UNUSED static int fault_x_lock(sqlite3_file *file, int level)
{
    fault_file *f = (fault_file *)file;
    int         rc = fault_hit(f->disk, FAULT_LOCK, f->kind, NULL);
    return rc != SQLITE_OK ? rc : f->real->pMethods->xLock(f->real, level);
}

FAULT_VFS_UNUSED static int fault_x_unlock(sqlite3_file *file, int level)
{
    fault_file *f = (fault_file *)file;
    return f->real->pMethods->xUnlock(f->real, level);
}

FAULT_VFS_UNUSED static int fault_x_check(sqlite3_file *file, int *held)
{
    fault_file *f = (fault_file *)file;
    int         rc = fault_hit(f->disk, FAULT_CHECK, f->kind, NULL);
    return rc != SQLITE_OK ? rc : f->real->pMethods->xCheckReservedLock(f->real, held);
}

FAULT_VFS_UNUSED static int fault_x_control(sqlite3_file *file, int op, void *arg)
{
    fault_file *f = (fault_file *)file;
    return f->real->pMethods->xFileControl(f->real, op, arg);
}

FAULT_VFS_UNUSED static int fault_x_sector(sqlite3_file *file)
{
    fault_file *f = (fault_file *)file;
    return f->real->pMethods->xSectorSize(f->real);
}

FAULT_VFS_UNUSED static int fault_x_device(sqlite3_file *file)
{
    fault_file *f = (fault_file *)file;
    return f->real->pMethods->xDeviceCharacteristics(f->real);
}

FAULT_VFS_UNUSED static int fault_x_shm_map(sqlite3_file *file, int page, int size, int extend,
                                            void volatile **out)
{
    fault_file *f = (fault_file *)file;
    int         rc = fault_hit(f->disk, FAULT_SHM, f->kind, NULL);
    if (rc != SQLITE_OK)
        *out = NULL;
    return rc != SQLITE_OK ? rc : f->real->pMethods->xShmMap(f->real, page, size, extend, out);
}

FAULT_VFS_UNUSED static int fault_x_shm_lock(sqlite3_file *file, int at, int count, int flags)
{
    fault_file *f = (fault_file *)file;
    int         rc = SQLITE_OK;
    if ((flags & SQLITE_SHM_LOCK) != 0)
        rc = fault_hit(f->disk, at >= 3 ? FAULT_SHM_READ : FAULT_SHM, f->kind, NULL);
    return rc != SQLITE_OK ? rc : f->real->pMethods->xShmLock(f->real, at, count, flags);
}

FAULT_VFS_UNUSED static void fault_x_shm_barrier(sqlite3_file *file)
{
    fault_file *f = (fault_file *)file;
    f->real->pMethods->xShmBarrier(f->real);
}

FAULT_VFS_UNUSED static int fault_x_shm_unmap(sqlite3_file *file, int erase)
{
    fault_file *f = (fault_file *)file;
    bool        dead;
    (void)pthread_mutex_lock(&f->disk->lock);
    dead = f->disk->dead;
    (void)pthread_mutex_unlock(&f->disk->lock);
    return f->real->pMethods->xShmUnmap(f->real, dead ? 0 : erase);
}

FAULT_VFS_UNUSED static const sqlite3_io_methods *fault_methods(void)
{
    static const sqlite3_io_methods methods = {
        2,
        fault_x_close,
        fault_x_read,
        fault_x_write,
        fault_x_truncate,
        fault_x_sync,
        fault_x_size,
        fault_x_lock,
        fault_x_unlock,
        fault_x_check,
        fault_x_control,
        fault_x_sector,
        fault_x_device,
        fault_x_shm_map,
        fault_x_shm_lock,
        fault_x_shm_barrier,
        fault_x_shm_unmap,
        NULL,
        NULL
    };
    return &methods;
}

FAULT_VFS_UNUSED static unsigned fault_kind(const char *name, int flags)
{
    const char *slash = name != NULL ? strrchr(name, '/') : NULL;
    if (name != NULL && strstr(slash != NULL ? slash : name, "-host-") != NULL)
        return FAULT_HOST;
    if ((flags & SQLITE_OPEN_WAL) != 0)
        return FAULT_WAL;
    return (flags & SQLITE_OPEN_MAIN_DB) != 0 ? FAULT_DB : FAULT_OTHER;
}

FAULT_VFS_UNUSED static int fault_x_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file,
                                         int flags, int *flags_out)
{
    fault_vfs  *disk = (fault_vfs *)vfs->pAppData;
    fault_file *f = (fault_file *)file;
    int         rc;
    (void)memset(f, 0, sizeof *f);
    f->disk = disk;
    f->kind = fault_kind(name, flags);
    f->real = (sqlite3_file *)(void *)((char *)file + ((sizeof *f + 15) & ~(size_t)15));
    rc = fault_hit(disk, FAULT_OPEN, f->kind, NULL);
    if (rc == SQLITE_OK)
        rc = disk->real->xOpen(disk->real, name, f->real, flags, flags_out);
    if (rc == SQLITE_OK)
        f->base.pMethods = fault_methods();
    return rc;
}

FAULT_VFS_UNUSED static int fault_x_delete(sqlite3_vfs *vfs, const char *name, int sync)
{
    fault_vfs *disk = (fault_vfs *)vfs->pAppData;
    size_t     length = strlen(name);
    unsigned   kind = fault_kind(name, 0);
    int        rc;
    if (kind == FAULT_OTHER && length > 4 && strcmp(name + length - 4, "-wal") == 0)
        kind = FAULT_WAL;
    rc = fault_hit(disk, FAULT_DELETE, kind, NULL);
    return rc != SQLITE_OK ? rc : disk->real->xDelete(disk->real, name, sync);
}

FAULT_VFS_UNUSED static int fault_x_access(sqlite3_vfs *vfs, const char *name, int flags, int *out)
{
    fault_vfs *disk = (fault_vfs *)vfs->pAppData;
    int        rc = fault_hit(disk, FAULT_ACCESS, fault_kind(name, 0), NULL);
    return rc != SQLITE_OK ? rc : disk->real->xAccess(disk->real, name, flags, out);
}

FAULT_VFS_UNUSED static int fault_x_path(sqlite3_vfs *vfs, const char *name, int size, char *out)
{
    fault_vfs *disk = (fault_vfs *)vfs->pAppData;
    return disk->real->xFullPathname(disk->real, name, size, out);
}

FAULT_VFS_UNUSED static int fault_x_random(sqlite3_vfs *vfs, int size, char *out)
{
    fault_vfs *disk = (fault_vfs *)vfs->pAppData;
    return disk->real->xRandomness(disk->real, size, out);
}

FAULT_VFS_UNUSED static int fault_x_sleep(sqlite3_vfs *vfs, int us)
{
    fault_vfs *disk = (fault_vfs *)vfs->pAppData;
    return disk->real->xSleep(disk->real, us);
}

FAULT_VFS_UNUSED static int fault_x_time(sqlite3_vfs *vfs, double *out)
{
    fault_vfs *disk = (fault_vfs *)vfs->pAppData;
    return disk->real->xCurrentTime(disk->real, out);
}

FAULT_VFS_UNUSED static int fault_x_last_error(sqlite3_vfs *vfs, int size, char *out)
{
    fault_vfs *disk = (fault_vfs *)vfs->pAppData;
    return disk->real->xGetLastError(disk->real, size, out);
}

FAULT_VFS_UNUSED static int fault_x_time_ms(sqlite3_vfs *vfs, sqlite3_int64 *out)
{
    fault_vfs *disk = (fault_vfs *)vfs->pAppData;
    return disk->real->xCurrentTimeInt64(disk->real, out);
}

/* Registers the disk under name, which must stay where it is. Returns SQLite's answer. */
FAULT_VFS_UNUSED static int fault_vfs_register(fault_vfs *disk, const char *name)
{
    (void)memset(disk, 0, sizeof *disk);
    if (sqlite3_initialize() != SQLITE_OK || (disk->real = sqlite3_vfs_find(NULL)) == NULL)
        return SQLITE_ERROR;
    (void)pthread_mutex_init(&disk->lock, NULL);
    disk->vfs = *disk->real;
    disk->vfs.iVersion = 2;         /* no table of system calls */
    disk->vfs.szOsFile = disk->real->szOsFile + (int)((sizeof(fault_file) + 15) & ~(size_t)15);
    disk->vfs.pNext = NULL;
    disk->vfs.zName = name;
    disk->vfs.pAppData = disk;
    disk->vfs.xOpen = fault_x_open;
    disk->vfs.xDelete = fault_x_delete;
    disk->vfs.xAccess = fault_x_access;
    disk->vfs.xFullPathname = fault_x_path;
    disk->vfs.xRandomness = fault_x_random;
    disk->vfs.xSleep = fault_x_sleep;
    disk->vfs.xCurrentTime = fault_x_time;
    disk->vfs.xGetLastError = fault_x_last_error;
    disk->vfs.xCurrentTimeInt64 = fault_x_time_ms;
    return sqlite3_vfs_register(&disk->vfs, 0);
}

/* Takes all rules away, brings a dead disk back to life, sets all counters to zero. */
FAULT_VFS_UNUSED static void fault_vfs_heal(fault_vfs *disk)
{
    (void)pthread_mutex_lock(&disk->lock);
    disk->calls = disk->files = 0;
    disk->countdown = 0;
    disk->short_bytes = 0;
    disk->code = 0;
    disk->left = 0;
    disk->dead = false;
    disk->fired = 0;
    (void)memset(disk->count, 0, sizeof disk->count);
    (void)pthread_mutex_unlock(&disk->lock);
}

/* The one rule: the n-th (from 1) call from now on that is one of calls on one of files fails with
 * code (0 = what fits the call); how = FAULT_ONCE, FAULT_FOREVER or FAULT_DIES. */
FAULT_VFS_UNUSED static void fault_vfs_fail(fault_vfs *disk, unsigned calls, unsigned files,
                                            unsigned long n, int how, int code)
{
    (void)pthread_mutex_lock(&disk->lock);
    disk->calls = calls;
    disk->files = files;
    disk->countdown = n;
    disk->how = how;
    disk->code = code;
    disk->short_bytes = 0;
    disk->times = 1;
    disk->left = 0;
    disk->dead = false;
    disk->fired = 0;
    (void)pthread_mutex_unlock(&disk->lock);
}

/* The write that fails by the rule writes its first bytes nevertheless. */
FAULT_VFS_UNUSED static void fault_vfs_short(fault_vfs *disk, int bytes)
{
    (void)pthread_mutex_lock(&disk->lock);
    disk->short_bytes = bytes;
    (void)pthread_mutex_unlock(&disk->lock);
}

/* With FAULT_ONCE: not one but so many matching calls in a row fail. */
FAULT_VFS_UNUSED static void fault_vfs_times(fault_vfs *disk, unsigned long times)
{
    (void)pthread_mutex_lock(&disk->lock);
    disk->times = times;
    (void)pthread_mutex_unlock(&disk->lock);
}

/* From now on every call fails: the machine has lost its disk. */
FAULT_VFS_UNUSED static void fault_vfs_die(fault_vfs *disk)
{
    (void)pthread_mutex_lock(&disk->lock);
    disk->dead = true;
    (void)pthread_mutex_unlock(&disk->lock);
}

/* How many calls have failed since the rule was set. */
FAULT_VFS_UNUSED static unsigned long fault_vfs_fired(fault_vfs *disk)
{
    unsigned long n;
    (void)pthread_mutex_lock(&disk->lock);
    n = disk->fired;
    (void)pthread_mutex_unlock(&disk->lock);
    return n;
}

/* How many calls of these kinds there were on these files since the last heal. */
FAULT_VFS_UNUSED static unsigned long fault_vfs_count(fault_vfs *disk, unsigned calls,
                                                      unsigned files)
{
    unsigned long n = 0;
    (void)pthread_mutex_lock(&disk->lock);
    for (int c = 0; c < FAULT_CALLS; c++)
        for (int f = 0; f < FAULT_FILES; f++)
            if ((calls >> c & 1u) != 0 && (files >> f & 1u) != 0)
                n += disk->count[c][f];
    (void)pthread_mutex_unlock(&disk->lock);
    return n;
}

#endif
