/* A francis_alloc_fn that keeps exact books and lets chosen allocations fail.
 *
 *     fault_alloc memory;
 *     fault_alloc_init(&memory);
 *     ... .on_alloc = fault_alloc_fn, .alloc_user = &memory ...
 *     fault_alloc_fail(&memory, 3, false);     the third allocation from now on fails, once
 *     if (fault_alloc_fired(&memory)) ...
 *     fault_alloc_check(&memory);              after close: nothing outstanding, no rule broken
 *
 * Every block is a malloc of its own with exactly the size asked for, and every reallocation moves:
 * sanitizers then see overruns and stale pointers. Fresh memory is filled with 0xA5, freed memory
 * with 0x5A. Noticed as broken rules: a size_old that is not what was asked for, a pointer that is
 * not ours, a double free, a damaged header, two calls at once. */
#ifndef FAULT_ALLOC_H
#define FAULT_ALLOC_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if defined(__GNUC__)
#define FAULT_ALLOC_UNUSED __attribute__((unused))
#else
#define FAULT_ALLOC_UNUSED
#endif

typedef struct fault_block {
    struct fault_block *next, *previous;
    size_t              size;
    unsigned long       number;     /* it was the so many-th allocation */
    uint64_t            mark;
} fault_block;

#define FAULT_BLOCK_MARK 0x66726e616c6c6f63u
#define FAULT_BLOCK_ROOM ((sizeof(fault_block) + 15) & ~(size_t)15)

typedef struct fault_alloc {
    pthread_mutex_t lock;           /* of the books; two calls at once are an error all the same */
    fault_block     blocks;         /* ring of what is outstanding */
    size_t          bytes, count;   /* outstanding now */
    size_t          bytes_peak;
    unsigned long   number;         /* allocations (size_new > 0) so far */
    unsigned long   countdown;      /* 0 = none fails */
    bool            from_then_on, failing;
    unsigned long   fired;
    unsigned        inside;
    unsigned        broken;         /* rules broken by the caller */
    char            what[160];      /* the first of them */
} fault_alloc;

FAULT_ALLOC_UNUSED static void fault_alloc_init(fault_alloc *a)
{
    (void)memset(a, 0, sizeof *a);
    (void)pthread_mutex_init(&a->lock, NULL);
    a->blocks.next = a->blocks.previous = &a->blocks;
}

FAULT_ALLOC_UNUSED static void fault_alloc_broken(fault_alloc *a, const char *what, size_t got,
                                                  size_t want)
{
    if (a->broken++ == 0)
        (void)snprintf(a->what, sizeof a->what, "%s (%zu, should be %zu)", what, got, want);
}

/* The block of a pointer, or NULL if it is not one of ours. Walks the ring only for one that looks
 * wrong, so that the check costs nothing. */
FAULT_ALLOC_UNUSED static fault_block *fault_alloc_block(fault_alloc *a, void *data)
{
    fault_block *b = (fault_block *)(void *)((char *)data - FAULT_BLOCK_ROOM);
    if (b->mark == FAULT_BLOCK_MARK && b->next->previous == b && b->previous->next == b)
        return b;
    fault_alloc_broken(a, "a block that is not outstanding is freed", 0, 1);
    return NULL;
}

FAULT_ALLOC_UNUSED static void *fault_alloc_fn(void *old, size_t size_old, size_t size_new,
                                               void *user)
{
    fault_alloc *a = (fault_alloc *)user;
    fault_block *b = NULL, *n = NULL;
    bool         fail = false, lost = false;

    (void)pthread_mutex_lock(&a->lock);
    if (a->inside++ != 0)
        fault_alloc_broken(a, "two threads allocate at once", a->inside, 1);
    if (old != NULL) {
        b = fault_alloc_block(a, old);
        lost = b == NULL;
        if (b != NULL && b->size != size_old)
            fault_alloc_broken(a, "size_old is wrong", size_old, b->size);
    } else if (size_old != 0) {
        fault_alloc_broken(a, "size_old of nothing", size_old, 0);
    }
    if (size_new > 0) {
        a->number++;
        fail = a->failing || (a->countdown > 0 && --a->countdown == 0);
        if (fail) {
            a->fired++;
            a->failing = a->from_then_on;
        }
    }
    (void)pthread_mutex_unlock(&a->lock);

    if (size_new > 0 && !fail && !lost)
        n = (fault_block *)malloc(FAULT_BLOCK_ROOM + size_new);
    if (n != NULL) {
        char *data = (char *)n + FAULT_BLOCK_ROOM;
        (void)memset(data, 0xA5, size_new);
        if (b != NULL)
            (void)memcpy(data, old, b->size < size_new ? b->size : size_new);
        n->size = size_new;
        n->mark = FAULT_BLOCK_MARK;
    }

    (void)pthread_mutex_lock(&a->lock);
    if (n != NULL) {
        n->number = a->number;
        n->next = a->blocks.next;
        n->previous = &a->blocks;
        n->next->previous = n;
        a->blocks.next = n;
        a->bytes += size_new;
        a->count++;
    }
    if (b != NULL && (n != NULL || size_new == 0)) {
        b->next->previous = b->previous;
        b->previous->next = b->next;
        b->mark = 0;
        a->bytes -= b->size;
        a->count--;
    } else {
        b = NULL;
    }
    if (a->bytes > a->bytes_peak)
        a->bytes_peak = a->bytes;
    a->inside--;
    (void)pthread_mutex_unlock(&a->lock);

    if (b != NULL) {
        (void)memset(old, 0x5A, b->size);
        free(b);
    }
    return n != NULL ? (char *)n + FAULT_BLOCK_ROOM : NULL;
}

/* The n-th allocation from now on fails (n from 1; 0 = none), and all later ones too if asked. */
FAULT_ALLOC_UNUSED static void fault_alloc_fail(fault_alloc *a, unsigned long n, bool from_then_on)
{
    (void)pthread_mutex_lock(&a->lock);
    a->countdown = n;
    a->from_then_on = from_then_on;
    a->failing = false;
    a->fired = 0;
    (void)pthread_mutex_unlock(&a->lock);
}

/* From now on nothing fails; what has failed so far stays counted. */
FAULT_ALLOC_UNUSED static void fault_alloc_heal(fault_alloc *a)
{
    (void)pthread_mutex_lock(&a->lock);
    a->countdown = 0;
    a->failing = false;
    (void)pthread_mutex_unlock(&a->lock);
}

FAULT_ALLOC_UNUSED static unsigned long fault_alloc_fired(fault_alloc *a)
{
    unsigned long n;
    (void)pthread_mutex_lock(&a->lock);
    n = a->fired;
    (void)pthread_mutex_unlock(&a->lock);
    return n;
}

FAULT_ALLOC_UNUSED static size_t fault_alloc_bytes(fault_alloc *a)
{
    size_t n;
    (void)pthread_mutex_lock(&a->lock);
    n = a->bytes;
    (void)pthread_mutex_unlock(&a->lock);
    return n;
}

/* Says what is wrong in the books; NULL if nothing is. The text is static to the object. Frees what
 * was left, so that one leak is not reported a thousand times. */
FAULT_ALLOC_UNUSED static const char *fault_alloc_check(fault_alloc *a)
{
    const char *wrong = NULL;
    (void)pthread_mutex_lock(&a->lock);
    if (a->broken != 0) {
        wrong = a->what;
    } else if (a->count != 0 || a->bytes != 0) {
        fault_block *b = a->blocks.previous;
        (void)snprintf(a->what, sizeof a->what,
                       "%zu blocks with %zu bytes leak; the oldest is allocation %lu, %zu bytes",
                       a->count, a->bytes, b->number, b->size);
        wrong = a->what;
    }
    while (a->blocks.next != &a->blocks) {
        fault_block *b = a->blocks.next;
        a->blocks.next = b->next;
        b->next->previous = &a->blocks;
        free(b);
    }
    a->bytes = a->count = 0;
    (void)pthread_mutex_unlock(&a->lock);
    return wrong;
}

#endif
