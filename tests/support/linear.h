/* Whether what several clients saw of one object can be explained by an order of one after the
 * other that keeps to the time of their clocks.
 *
 *     linear_op ops[] = {
 *         { .kind = LINEAR_INCREMENT, .outcome = LINEAR_DONE, .begin = 1, .end = 2, .value = 1 },
 *         { .kind = LINEAR_READ, .outcome = LINEAR_DONE, .begin = 3, .end = 4, .value = 0 },
 *     };
 *     linear_check(ops, 2, 0, LINEAR_MEMORY) is LINEAR_NO: the read is stale
 *
 * The object is a number. Search as of Wing and Gong, with the memory of Lowe: a set of operations
 * that have been put in order, and the number that they lead to, are not looked into twice. Exact:
 * it answers yes, no, or that its memory did not suffice. */
#ifndef LINEAR_H
#define LINEAR_H

#include "t.h"

#define LINEAR_MEMORY ((size_t)64 << 20)

enum { LINEAR_PATIENCE_MS = 10000 };    /* with which a history is made smaller */

typedef enum {
    LINEAR_INCREMENT,               /* one more; value: the number after it */
    LINEAR_READ,                    /* value: the number */
    LINEAR_WRITE,                   /* the number becomes arg */
    LINEAR_SWAP                     /* it becomes arg if it is expected; value: what it was */
} linear_kind;

typedef enum {
    LINEAR_DONE,                    /* between begin and end, with this value */
    LINEAR_NOT,                     /* never */
    LINEAR_MAYBE                    /* never, or at any time from begin on */
} linear_outcome;

typedef struct {
    linear_kind    kind;
    linear_outcome outcome;
    int            client;          /* for the reader of a report */
    int64_t        begin, end;      /* end >= begin; of MAYBE it is ignored */
    int64_t        arg, expected, value;
} linear_op;

typedef enum { LINEAR_NO, LINEAR_YES, LINEAR_TOO_HARD } linear_verdict;

/* -- the memory: pairs of set and number ------------------------------------------------------- */

typedef struct {
    uint64_t *keys;                 /* count * words */
    uint32_t *table;                /* number of a key + 1; 0 = empty */
    size_t    words, count, slots, count_max;
} linear_memory;

/* False: no memory. */
T_UNUSED static bool linear_memory_init(linear_memory *m, size_t words, size_t bytes)
{
    (void)memset(m, 0, sizeof *m);
    m->words = words;
    m->count_max = bytes / (words * sizeof m->keys[0] + 4 * sizeof m->table[0]);
    m->slots = 64;
    m->table = (uint32_t *)calloc(m->slots, sizeof m->table[0]);
    m->keys = (uint64_t *)calloc(m->slots / 2, words * sizeof m->keys[0]);
    return m->table != NULL && m->keys != NULL;
}

T_UNUSED static void linear_memory_free(linear_memory *m)
{
    free(m->table);
    free(m->keys);
}

/* Where the key is, or where it belongs. */
T_UNUSED static size_t linear_memory_slot(const linear_memory *m, const uint64_t *key)
{
    uint64_t hash = 0;
    size_t   i;
    for (i = 0; i < m->words; i++) {
        hash = (hash ^ key[i]) * UINT64_C(0x9e3779b97f4a7c15);
        hash ^= hash >> 29;
    }
    i = (size_t)hash & (m->slots - 1);
    while (m->table[i] != 0 && memcmp(m->keys + (m->table[i] - 1) * m->words, key,
                                      m->words * sizeof key[0]) != 0)
        i = (i + 1) & (m->slots - 1);
    return i;
}

T_UNUSED static bool linear_memory_grow(linear_memory *m)
{
    size_t    slots = m->slots * 2;
    uint64_t *keys = (uint64_t *)realloc(m->keys, slots / 2 * m->words * sizeof keys[0]);
    uint32_t *table = (uint32_t *)calloc(slots, sizeof table[0]);
    if (keys != NULL)
        m->keys = keys;
    if (keys == NULL || table == NULL) {
        free(table);
        return false;
    }
    free(m->table);
    m->table = table;
    m->slots = slots;
    for (size_t i = 0; i < m->count; i++)
        table[linear_memory_slot(m, keys + i * m->words)] = (uint32_t)i + 1;
    return true;
}

typedef enum { LINEAR_KNOWN, LINEAR_NEW, LINEAR_FULL } linear_memory_answer;

T_UNUSED static linear_memory_answer linear_memory_add(linear_memory *m, const uint64_t *key)
{
    size_t at = linear_memory_slot(m, key);
    if (m->table[at] != 0)
        return LINEAR_KNOWN;
    if (m->count >= m->count_max)
        return LINEAR_FULL;
    if (m->count == m->slots / 2) {
        if (!linear_memory_grow(m))
            return LINEAR_FULL;
        at = linear_memory_slot(m, key);
    }
    (void)memcpy(m->keys + m->count * m->words, key, m->words * sizeof key[0]);
    m->table[at] = (uint32_t)++m->count;
    return LINEAR_NEW;
}

/* -- the search -------------------------------------------------------------------------------- */

typedef struct {
    linear_op     *ops;             /* that matter, by begin */
    size_t         count, done;     /* done: DONE ones that are not in order yet */
    size_t        *next, *prev;     /* list of those that are not in order; [count] is its head */
    size_t        *chosen;          /* the order so far */
    int64_t       *before;          /* the number before each of them, */
    int64_t       *limit;           /* and the first end among those that were looked at there */
    size_t         depth;
    uint64_t      *key;             /* bits of the chosen; the last word is the number */
    linear_memory  memory;
} linear_search;

T_UNUSED static int64_t linear_end(const linear_op *op)
{
    return op->outcome == LINEAR_DONE ? op->end : INT64_MAX;
}

/* Whether the operation can come next; the number becomes what it is afterwards. */
T_UNUSED static bool linear_step(const linear_op *op, int64_t *number)
{
    int64_t old = *number;
    bool    any = op->outcome == LINEAR_MAYBE;
    switch (op->kind) {
    case LINEAR_INCREMENT:
        *number = old + 1;
        return any || op->value == old + 1;
    case LINEAR_READ:
        return any || op->value == old;
    case LINEAR_WRITE:
        *number = op->arg;
        return true;
    case LINEAR_SWAP:
        if (old == op->expected)
            *number = op->arg;
        return any || op->value == old;
    }
    return false;
}

/* Whether anybody can tell that the number was this one. */
T_UNUSED static bool linear_observed(const linear_op *ops, size_t count, int64_t number)
{
    for (size_t i = 0; i < count; i++) {
        const linear_op *op = &ops[i];
        if (op->kind == LINEAR_INCREMENT && op->outcome != LINEAR_NOT)
            return true;
        if (op->kind == LINEAR_SWAP && op->outcome == LINEAR_MAYBE && op->expected == number)
            return true;
        if ((op->kind == LINEAR_SWAP || op->kind == LINEAR_READ) && op->outcome == LINEAR_DONE &&
            op->value == number)
            return true;
    }
    return false;
}

/* An operation that is not certain explains nothing if nobody has seen what it leads to. */
T_UNUSED static bool linear_matters(const linear_op *ops, size_t count, const linear_op *op)
{
    switch (op->outcome) {
    case LINEAR_DONE: return true;
    case LINEAR_NOT: return false;
    case LINEAR_MAYBE: break;
    }
    if (op->kind == LINEAR_READ)
        return false;
    return op->kind == LINEAR_INCREMENT || linear_observed(ops, count, op->arg);
}

T_UNUSED static int linear_by_begin(const void *a, const void *b)
{
    int64_t x = ((const linear_op *)a)->begin, y = ((const linear_op *)b)->begin;
    return x < y ? -1 : x > y;
}

T_UNUSED static bool linear_search_init(linear_search *s, const linear_op *ops, size_t count,
                                        size_t bytes)
{
    size_t words;
    (void)memset(s, 0, sizeof *s);
    s->ops = (linear_op *)calloc(count + 1, sizeof s->ops[0]);
    if (s->ops == NULL)
        return false;
    for (size_t i = 0; i < count; i++) {
        if (!linear_matters(ops, count, &ops[i]))
            continue;
        s->ops[s->count++] = ops[i];
        s->done += ops[i].outcome == LINEAR_DONE;
    }
    qsort(s->ops, s->count, sizeof s->ops[0], linear_by_begin);
    words = (s->count + 63) / 64 + 1;
    s->next = (size_t *)calloc(s->count + 1, sizeof s->next[0]);
    s->prev = (size_t *)calloc(s->count + 1, sizeof s->prev[0]);
    s->chosen = (size_t *)calloc(s->count + 1, sizeof s->chosen[0]);
    s->before = (int64_t *)calloc(s->count + 1, sizeof s->before[0]);
    s->limit = (int64_t *)calloc(s->count + 1, sizeof s->limit[0]);
    s->key = (uint64_t *)calloc(words, sizeof s->key[0]);
    if (!linear_memory_init(&s->memory, words, bytes) || s->next == NULL || s->prev == NULL ||
        s->chosen == NULL || s->before == NULL || s->limit == NULL || s->key == NULL)
        return false;
    for (size_t i = 0; i <= s->count; i++) {
        s->next[i] = i < s->count ? i + 1 : 0;
        s->prev[i] = i > 0 ? i - 1 : s->count;
    }
    return true;
}

T_UNUSED static void linear_search_free(linear_search *s)
{
    free(s->ops);
    free(s->next);
    free(s->prev);
    free(s->chosen);
    free(s->before);
    free(s->limit);
    free(s->key);
    linear_memory_free(&s->memory);
}

T_UNUSED static void linear_choose(linear_search *s, size_t i, int64_t before, int64_t limit)
{
    s->next[s->prev[i]] = s->next[i];
    s->prev[s->next[i]] = s->prev[i];
    s->chosen[s->depth] = i;
    s->before[s->depth] = before;
    s->limit[s->depth++] = limit;
    s->done -= s->ops[i].outcome == LINEAR_DONE;
}

/* Takes the last one back; returns which it was. */
T_UNUSED static size_t linear_undo(linear_search *s)
{
    size_t i = s->chosen[--s->depth];
    s->next[s->prev[i]] = i;
    s->prev[s->next[i]] = i;
    s->key[i / 64] &= ~(UINT64_C(1) << i % 64);
    s->done += s->ops[i].outcome == LINEAR_DONE;
    return i;
}

/* One that is not certain waits for the earlier ones of its kind: they can do all that it can. */
T_UNUSED static bool linear_waits(const linear_search *s, size_t i)
{
    size_t at = s->next[s->count];
    if (s->ops[i].kind != LINEAR_INCREMENT || s->ops[i].outcome != LINEAR_MAYBE)
        return false;
    while (s->ops[at].kind != LINEAR_INCREMENT || s->ops[at].outcome != LINEAR_MAYBE)
        at = s->next[at];
    return at != i;
}

/* Puts it next in order, if it can be and that is new; the number is the one before and after. */
T_UNUSED static linear_memory_answer linear_try(linear_search *s, size_t i, int64_t *number,
                                                int64_t limit)
{
    linear_memory_answer answer;
    int64_t              before = *number, after = before;
    if (linear_waits(s, i) || !linear_step(&s->ops[i], &after))
        return LINEAR_KNOWN;
    s->key[i / 64] |= UINT64_C(1) << i % 64;
    s->key[s->memory.words - 1] = (uint64_t)after;
    answer = linear_memory_add(&s->memory, s->key);
    if (answer == LINEAR_NEW) {
        linear_choose(s, i, before, limit);
        *number = after;
    } else {
        s->key[i / 64] &= ~(UINT64_C(1) << i % 64);
    }
    return answer;
}

/* One that changes nothing wherever its answer is right (a write does, elsewhere) may as well come
 * at once: if that leads nowhere, nothing does. */
T_UNUSED static bool linear_at_once(const linear_op *op, int64_t number)
{
    int64_t after = number;
    return op->outcome == LINEAR_DONE && op->kind != LINEAR_WRITE && linear_step(op, &after) &&
           after == number;
}

/* Goes on from where nothing is in order. What begins after an end (the limit) comes after it. */
T_UNUSED static linear_verdict linear_go(linear_search *s, int64_t number)
{
    size_t  i = s->next[s->count];
    int64_t limit = INT64_MAX;
    while (s->done > 0) {
        if (i != s->count && s->ops[i].begin <= limit) {
            linear_memory_answer answer = linear_try(s, i, &number, limit);
            if (answer == LINEAR_FULL)
                return LINEAR_TOO_HARD;
            if (answer == LINEAR_NEW) {
                i = s->next[s->count];
                limit = INT64_MAX;
                continue;
            }
        } else {
            if (s->depth == 0)
                return LINEAR_NO;
            i = linear_undo(s);
            number = s->before[s->depth];
            limit = s->limit[s->depth];
        }
        if (linear_end(&s->ops[i]) < limit)
            limit = linear_end(&s->ops[i]);
        i = linear_at_once(&s->ops[i], number) ? s->count : s->next[i];
    }
    return LINEAR_YES;
}

/* The object was initial before all operations. memory_max: bytes for what has been looked into. */
T_UNUSED static linear_verdict linear_check(const linear_op *ops, size_t count, int64_t initial,
                                            size_t memory_max)
{
    linear_search  s;
    linear_verdict v = LINEAR_TOO_HARD;
    if (linear_search_init(&s, ops, count, memory_max))
        v = linear_go(&s, initial);
    linear_search_free(&s);
    return v;
}

/* -- what to show of a history that cannot be explained ---------------------------------------- */

/* Leaves what happened up to a time. What had not ended by then is not certain. */
T_UNUSED static size_t linear_prefix(const linear_op *ops, size_t count, int64_t time,
                                     linear_op *out)
{
    size_t n = 0;
    for (size_t i = 0; i < count; i++) {
        if (ops[i].begin > time || ops[i].outcome == LINEAR_NOT)
            continue;
        out[n] = ops[i];
        if (linear_end(&ops[i]) > time)
            out[n].outcome = LINEAR_MAYBE;
        n++;
    }
    return n;
}

T_UNUSED static int linear_by_time(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

/* The earliest time at which it was too late: between two ends that is a matter of halving, since
 * the beginning of what can be explained can be explained. */
T_UNUSED static size_t linear_shortest(const linear_op *ops, size_t count, int64_t initial,
                                       size_t memory_max, linear_op *out)
{
    int64_t *ends = (int64_t *)calloc(count + 1, sizeof ends[0]);
    size_t   n = 0, low = 0, high;
    if (ends == NULL)
        return linear_prefix(ops, count, INT64_MAX, out);
    for (size_t i = 0; i < count; i++)
        if (ops[i].outcome == LINEAR_DONE)
            ends[n++] = ops[i].end;
    qsort(ends, n, sizeof ends[0], linear_by_time);
    high = n;
    while (low + 1 < high) {        /* ends[high - 1] is too late, ends[low - 1] is not */
        size_t middle = low + (high - low) / 2;
        size_t size = linear_prefix(ops, count, ends[middle - 1], out);
        if (linear_check(out, size, initial, memory_max) == LINEAR_NO)
            high = middle;
        else
            low = middle;
    }
    n = linear_prefix(ops, count, high > 0 ? ends[high - 1] : INT64_MAX, out);
    free(ends);
    return n;
}

/* Of a history that is LINEAR_NO: one that is as impossible, and easier to look at. out has room
 * for count. An operation whose answer does not matter for that becomes one that is not certain:
 * this allows more, so what is impossible then was so before. Returns how many are left. */
T_UNUSED static size_t linear_shrink(const linear_op *ops, size_t count, int64_t initial,
                                     size_t memory_max, linear_op *out)
{
    size_t  n = linear_shortest(ops, count, initial, memory_max, out), kept = 0;
    int64_t end = t_ms() + LINEAR_PATIENCE_MS;
    for (size_t step = n; step > 0; step /= 2)      /* many at a time first */
        for (size_t from = 0; from < n && t_ms() < end; from += step) {
            linear_op *copy = (linear_op *)calloc(n, sizeof *copy);
            if (copy == NULL)
                return n;
            (void)memcpy(copy, out, n * sizeof *copy);
            for (size_t i = from; i < n && i < from + step; i++)
                copy[i].outcome = LINEAR_MAYBE;
            if (linear_check(copy, n, initial, memory_max) == LINEAR_NO)
                (void)memcpy(out, copy, n * sizeof *copy);
            free(copy);
        }
    for (size_t i = 0; i < n; i++)  /* all together: they see each other */
        if (!linear_matters(out, n, &out[i]))
            out[i].outcome = LINEAR_NOT;
    for (size_t i = 0; i < n; i++)
        if (out[i].outcome != LINEAR_NOT)
            out[kept++] = out[i];
    qsort(out, kept, sizeof out[0], linear_by_begin);
    return kept;
}

T_UNUSED static void linear_print_op(const linear_op *op, int64_t zero)
{
    static const char *const names[] = { "increment", "read", "write", "swap" };
    char                     what[80], end[24] = "...";
    if (op->kind == LINEAR_WRITE)
        (void)snprintf(what, sizeof what, "write %lld", (long long)op->arg);
    else if (op->kind == LINEAR_SWAP)
        (void)snprintf(what, sizeof what, "swap %lld for %lld", (long long)op->expected,
                       (long long)op->arg);
    else
        (void)snprintf(what, sizeof what, "%s", names[op->kind]);
    if (op->outcome == LINEAR_DONE)
        (void)snprintf(end, sizeof end, "%lld", (long long)(op->end - zero));
    print_error("  client %3d  %12lld to %12s  %-28s", op->client, (long long)(op->begin - zero),
                end, what);
    if (op->outcome != LINEAR_DONE)
        print_error(" (perhaps)\n");
    else if (op->kind == LINEAR_WRITE)
        print_error(" ok\n");
    else
        print_error(" -> %lld\n", (long long)op->value);
}

/* Shrinks it and prints what is left; of increments that may have happened only how many. */
T_UNUSED static void linear_report(const linear_op *ops, size_t count, int64_t initial,
                                   size_t memory_max)
{
    linear_op *out = (linear_op *)calloc(count + 1, sizeof *out);
    size_t     n, perhaps = 0;
    if (out == NULL)
        return;
    n = linear_shrink(ops, count, initial, memory_max, out);
    print_error("cannot be explained (it was %lld at first; times from the first one on):\n",
                (long long)initial);
    for (size_t i = 0; i < n; i++) {
        if (out[i].outcome == LINEAR_MAYBE && out[i].kind == LINEAR_INCREMENT)
            perhaps++;
        else
            linear_print_op(&out[i], out[0].begin);
    }
    if (perhaps > 0)
        print_error("  and %zu increments that may have happened\n", perhaps);
    free(out);
}

#endif
