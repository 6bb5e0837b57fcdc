/* The judge of histories (support/linear.h): right ones, made by a simulated object under clients
 * whose calls overlap at random, are accepted, whatever of them is uncertain; each kind of wrong
 * one is found; on small ones it agrees with a search through all orders; and where its memory does
 * not suffice it says so. TEST_SEED=number begins with that one. */
#include "support/t.h"

#include "support/linear.h"
#include "support/raw_sqlite.h"

enum { OPS_MAX = 400, CLIENTS_MAX = 6 };

static uint64_t first_seed(void)
{
    const char *text = getenv("TEST_SEED");
    return text != NULL ? strtoull(text, NULL, 10) : 1;
}

static uint32_t next_random(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*state >> 33);
}

static unsigned pick(uint64_t *state, unsigned below)
{
    return next_random(state) % below;
}

/* ---- a simulated object under several clients ---- */

typedef struct {
    uint64_t  random;
    bool      is_register;
    unsigned  maybe, failing;       /* of a hundred calls */
    int64_t   time, number;
    linear_op ops[OPS_MAX + 16];
    size_t    count;
    struct {
        size_t op;
        bool   busy, applied;
    } clients[CLIENTS_MAX];
    size_t    ghosts[OPS_MAX];      /* calls whose client does not wait any more, not yet applied */
    size_t    ghost_count;
} world;

static void world_init(world *w, uint64_t seed, bool is_register)
{
    (void)memset(w, 0, sizeof *w);
    w->random = seed * 2654435761u + (is_register ? 1 : 0);
    w->is_register = is_register;
}

/* A new call, of a fresh value if it writes one. */
static linear_op *world_begin(world *w, int client)
{
    linear_op *op = &w->ops[w->count];
    (void)memset(op, 0, sizeof *op);
    op->client = client;
    op->begin = ++w->time;
    op->outcome = LINEAR_DONE;
    op->kind = LINEAR_READ;
    if (pick(&w->random, 3) != 0)
        op->kind = !w->is_register            ? LINEAR_INCREMENT
                   : pick(&w->random, 2) != 0 ? LINEAR_WRITE
                                              : LINEAR_SWAP;
    op->arg = 100 + (int64_t)w->count;
    op->expected = pick(&w->random, 4) != 0 ? w->number : 100 + pick(&w->random, 20);
    w->count++;
    return op;
}

static void world_apply(world *w, linear_op *op)
{
    int64_t before = w->number;
    linear_op any = *op;
    any.outcome = LINEAR_MAYBE;
    assert_true(linear_step(&any, &w->number));
    op->value = op->kind == LINEAR_INCREMENT ? w->number : before;
}

/* Begins, applies or ends a call of one client; the uncertain ones are applied later or never. */
static void world_step(world *w)
{
    unsigned   c = pick(&w->random, CLIENTS_MAX);
    linear_op *op = &w->ops[w->clients[c].op];
    if (w->ghost_count > 0 && pick(&w->random, 20) == 0) {
        size_t g = pick(&w->random, (unsigned)w->ghost_count);
        world_apply(w, &w->ops[w->ghosts[g]]);
        w->ghosts[g] = w->ghosts[--w->ghost_count];
    } else if (!w->clients[c].busy) {
        unsigned chance = pick(&w->random, 100);
        w->clients[c].op = w->count;
        w->clients[c].applied = false;
        w->clients[c].busy = true;
        op = world_begin(w, (int)c);
        if (chance < w->maybe)
            op->outcome = LINEAR_MAYBE;
        else if (chance < w->maybe + w->failing)
            op->outcome = LINEAR_NOT;
    } else if (op->outcome == LINEAR_DONE && !w->clients[c].applied) {
        world_apply(w, op);
        w->clients[c].applied = true;
    } else {
        if (op->outcome == LINEAR_MAYBE)
            w->ghosts[w->ghost_count++] = w->clients[c].op;
        op->end = ++w->time;
        w->clients[c].busy = false;
    }
}

/* All calls have ended, and those of which nobody knows have been applied or never will be. */
static void world_run(world *w, size_t count)
{
    while (w->count < count)
        world_step(w);
    for (unsigned c = 0; c < CLIENTS_MAX; c++) {
        linear_op *op = &w->ops[w->clients[c].op];
        if (w->clients[c].busy && op->outcome == LINEAR_DONE && !w->clients[c].applied)
            world_apply(w, op);
        if (w->clients[c].busy)
            op->end = ++w->time;
        w->clients[c].busy = false;
    }
}

/* One call more while nobody else calls. */
static linear_op *world_alone(world *w, int client, linear_kind kind, linear_outcome outcome)
{
    linear_op *op = world_begin(w, client);
    op->kind = kind;
    op->outcome = outcome;
    op->expected = w->number;
    if (outcome == LINEAR_DONE)
        world_apply(w, op);
    op->end = ++w->time;
    return op;
}

static linear_verdict judge(const world *w)
{
    return linear_check(w->ops, w->count, 0, LINEAR_MEMORY);
}

static void world_is(const world *w, uint64_t seed, linear_verdict expected, const char *what)
{
    linear_verdict v = judge(w);
    if (v == expected)
        return;
    if (v == LINEAR_NO)
        linear_report(w->ops, w->count, 0, LINEAR_MEMORY);
    fail_msg("TEST_SEED=%llu: %s of %zu calls: verdict %d, not %d", (unsigned long long)seed,
             what, w->count, v, expected);
}

/* ---- right ones ---- */

static void test_right(void **state)
{
    static world w;
    uint64_t     begin = first_seed(), seeds = t_slow() ? 1000 : 6000;
    (void)state;
    for (uint64_t seed = begin; seed < begin + seeds; seed++) {
        world_init(&w, seed, seed % 2 == 0);
        w.maybe = seed % 3 == 0 ? 0 : pick(&w.random, 30);
        w.failing = seed % 5 == 0 ? 0 : pick(&w.random, 30);
        world_run(&w, 1 + pick(&w.random, seed % 50 == 0 ? OPS_MAX : 60));
        world_is(&w, seed, LINEAR_YES, "a right history");
    }
}

/* ---- wrong ones ---- */

/* Each is planted into a right history; nothing that is uncertain could explain it. */
typedef enum {
    LOST_UPDATE,                    /* two increments of the same number */
    STALE_READ,
    TWICE,                          /* a repeated increment is done again */
    FAILED_EFFECT,
    EARLY_READ,                     /* of what is written later */
    ORDER,                          /* one increment after the other, and swapped */
    OLD_WRITE,                      /* of two writes, one after the other, the first one stays */
    MAYBE_TWICE,
    MAYBE_EARLY,                    /* an uncertain write is seen before it began */
    SWAP_FOR_NOTHING,               /* a swap that found something else has changed the number */
    FAULTS
} fault;

static const char *const fault_names[FAULTS] = {
    "a lost update", "a stale read", "a repeated increment", "the effect of a failed call",
    "a read of the future", "increments in the wrong order", "an older write",
    "an uncertain increment that is done twice", "an uncertain write that is seen too early",
    "a swap that should not have happened"
};

static bool fault_is_of_register(fault f)
{
    return f == EARLY_READ || f == OLD_WRITE || f == MAYBE_EARLY || f == SWAP_FOR_NOTHING;
}

static void plant(world *w, fault f)
{
    linear_op *a, *b;
    int64_t    value;
    switch (f) {
    case LOST_UPDATE:
        a = world_alone(w, 0, LINEAR_INCREMENT, LINEAR_DONE);
        w->number--;
        b = world_alone(w, 1, LINEAR_INCREMENT, LINEAR_DONE);
        b->begin = a->begin;        /* side by side */
        break;
    case STALE_READ:
        a = world_alone(w, 0, LINEAR_INCREMENT, LINEAR_DONE);
        world_alone(w, 1, LINEAR_READ, LINEAR_DONE)->value = a->value - 1;
        break;
    case TWICE:
        (void)world_alone(w, 0, LINEAR_INCREMENT, LINEAR_DONE);
        w->number++;
        (void)world_alone(w, 1, LINEAR_READ, LINEAR_DONE);
        break;
    case FAILED_EFFECT:
        (void)world_alone(w, 0, LINEAR_INCREMENT, LINEAR_NOT);
        w->number++;
        (void)world_alone(w, 1, LINEAR_READ, LINEAR_DONE);
        break;
    case EARLY_READ:
        a = world_alone(w, 0, LINEAR_READ, LINEAR_DONE);
        a->value = 100 + (int64_t)w->count;     /* of the next one */
        (void)world_alone(w, 1, LINEAR_WRITE, LINEAR_DONE);
        break;
    case ORDER:
        a = world_alone(w, 0, LINEAR_INCREMENT, LINEAR_DONE);
        b = world_alone(w, 1, LINEAR_INCREMENT, LINEAR_DONE);
        value = a->value;
        a->value = b->value;
        b->value = value;
        break;
    case OLD_WRITE:
        a = world_alone(w, 0, LINEAR_WRITE, LINEAR_DONE);
        (void)world_alone(w, 1, LINEAR_WRITE, LINEAR_DONE);
        w->number = a->arg;
        (void)world_alone(w, 0, LINEAR_READ, LINEAR_DONE);
        break;
    case MAYBE_TWICE:
        (void)world_alone(w, 0, LINEAR_INCREMENT, LINEAR_MAYBE);
        w->number += 2;
        (void)world_alone(w, 1, LINEAR_READ, LINEAR_DONE);
        break;
    case MAYBE_EARLY:
        a = world_alone(w, 0, LINEAR_READ, LINEAR_DONE);
        a->value = 100 + (int64_t)w->count;
        (void)world_alone(w, 1, LINEAR_WRITE, LINEAR_MAYBE);
        break;
    case SWAP_FOR_NOTHING:
        a = world_alone(w, 0, LINEAR_SWAP, LINEAR_DONE);
        a->expected = -1;
        (void)world_alone(w, 1, LINEAR_READ, LINEAR_DONE);
        break;
    case FAULTS: break;
    }
}

/* How many calls of these are certain. */
static size_t certain(const linear_op *ops, size_t count)
{
    size_t n = 0;
    for (size_t i = 0; i < count; i++)
        n += ops[i].outcome == LINEAR_DONE;
    return n;
}

/* Would catch: a fault that the judge does not see, in the middle of any history; a report that
 * shows something that is possible, or much more than the fault. */
static void test_wrong(void **state)
{
    static world w;
    linear_op    out[OPS_MAX];
    uint64_t     begin = first_seed(), seeds = t_slow() ? 20 : 150;
    (void)state;
    for (int f = 0; f < FAULTS; f++)
        for (uint64_t seed = begin; seed < begin + seeds; seed++) {
            size_t n, after;
            world_init(&w, seed, fault_is_of_register((fault)f));
            w.failing = pick(&w.random, 20);
            world_run(&w, pick(&w.random, 40));
            world_is(&w, seed, LINEAR_YES, "what comes before a fault");
            plant(&w, (fault)f);
            world_is(&w, seed, LINEAR_NO, fault_names[f]);
            after = pick(&w.random, 40);
            world_run(&w, w.count + after);
            world_is(&w, seed, LINEAR_NO, fault_names[f]);
            n = linear_shrink(w.ops, w.count, 0, LINEAR_MEMORY, out);
            assert_int_equal(linear_check(out, n, 0, LINEAR_MEMORY), LINEAR_NO);
            if (certain(out, n) < 1 || certain(out, n) > 3)
                fail_msg("TEST_SEED=%llu: %s is shown by %zu certain calls",
                         (unsigned long long)seed, fault_names[f], certain(out, n));
        }
}

/* What one uncertain increment may explain, and when. */
static void test_maybe(void **state)
{
    linear_op ops[] = {
        { LINEAR_INCREMENT, LINEAR_MAYBE, 0, 10, 11, 0, 0, 0 },
        { LINEAR_READ, LINEAR_DONE, 1, 20, 21, 0, 0, 0 },
        { LINEAR_READ, LINEAR_DONE, 1, 30, 31, 0, 0, 1 },
        { LINEAR_READ, LINEAR_DONE, 1, 40, 41, 0, 0, 1 },
    };
    (void)state;
    assert_int_equal(linear_check(ops, 4, 0, LINEAR_MEMORY), LINEAR_YES);   /* late */
    ops[1].value = 1;
    assert_int_equal(linear_check(ops, 4, 0, LINEAR_MEMORY), LINEAR_YES);   /* at once */
    ops[1].value = ops[2].value = ops[3].value = 0;
    assert_int_equal(linear_check(ops, 4, 0, LINEAR_MEMORY), LINEAR_YES);   /* never */
    ops[2].value = 1;
    assert_int_equal(linear_check(ops, 4, 0, LINEAR_MEMORY), LINEAR_NO);    /* and undone */
    ops[2].value = 0;
    ops[3].value = 2;
    assert_int_equal(linear_check(ops, 4, 0, LINEAR_MEMORY), LINEAR_NO);    /* twice */
    ops[3].value = 1;
    ops[0].begin = 42;
    assert_int_equal(linear_check(ops, 4, 0, LINEAR_MEMORY), LINEAR_NO);    /* too early */
    ops[0].begin = 10;
    ops[0].outcome = LINEAR_NOT;
    assert_int_equal(linear_check(ops, 4, 0, LINEAR_MEMORY), LINEAR_NO);
}

/* ---- small ones, against all orders ---- */

/* Tries everything, and remembers nothing. */
static bool all_orders(const linear_op *ops, size_t count, unsigned used, int64_t number)
{
    bool done = true;
    for (size_t i = 0; i < count; i++) {
        int64_t after = number;
        bool    first = true;
        if ((used >> i & 1) != 0 || ops[i].outcome == LINEAR_NOT)
            continue;
        done = done && ops[i].outcome != LINEAR_DONE;
        for (size_t k = 0; k < count; k++)
            first = first && ((used >> k & 1) != 0 || ops[k].outcome != LINEAR_DONE ||
                              ops[k].end >= ops[i].begin);
        if (first && linear_step(&ops[i], &after) &&
            all_orders(ops, count, used | 1u << i, after))
            return true;
    }
    return done;
}

static void test_small(void **state)
{
    uint64_t begin = first_seed(), seeds = t_slow() ? 5000 : 60000;
    unsigned yes = 0;
    (void)state;
    for (uint64_t seed = begin; seed < begin + seeds; seed++) {
        linear_op      ops[6], out[6];
        uint64_t       random = seed * 2654435761u;
        size_t         count = 1 + pick(&random, 6), n;
        bool           mixed = pick(&random, 4) == 0;
        linear_verdict v;
        for (size_t i = 0; i < count; i++) {
            linear_op *op = &ops[i];
            op->kind = (linear_kind)pick(&random, 4);
            if (!mixed && op->kind == LINEAR_INCREMENT && seed % 2 == 0)
                op->kind = LINEAR_READ;
            if (!mixed && seed % 2 != 0)
                op->kind = op->kind > LINEAR_READ ? LINEAR_INCREMENT : op->kind;
            op->outcome = (linear_outcome)(pick(&random, 2) != 0 ? 0 : pick(&random, 3));
            op->client = (int)i;
            op->begin = pick(&random, 12);
            op->end = op->begin + pick(&random, 6);
            op->arg = pick(&random, 3);
            op->expected = pick(&random, 3);
            op->value = pick(&random, 3);
        }
        v = linear_check(ops, count, 0, LINEAR_MEMORY);
        yes += v == LINEAR_YES;
        if (v != (all_orders(ops, count, 0, 0) ? LINEAR_YES : LINEAR_NO)) {
            for (size_t i = 0; i < count; i++)
                linear_print_op(&ops[i], 0);
            fail_msg("TEST_SEED=%llu: verdict %d", (unsigned long long)seed, v);
        }
        if (v == LINEAR_YES)
            continue;
        n = linear_shrink(ops, count, 0, LINEAR_MEMORY, out);
        assert_true(n > 0 && n <= count);
        assert_false(all_orders(out, n, 0, 0));
    }
    assert_in_range(yes, seeds / 10, seeds * 9 / 10);       /* both verdicts are tried */
}

/* ---- what is too large ---- */

/* Many writes at once, of which a read then sees what none has written: all their sets are looked
 * into before the answer can be no. With too little memory there is no answer. */
static void test_too_hard(void **state)
{
    linear_op ops[15];
    (void)state;
    (void)memset(ops, 0, sizeof ops);
    for (int i = 0; i < 14; i++) {
        ops[i].kind = LINEAR_WRITE;
        ops[i].end = 100;
        ops[i].arg = i + 1;
    }
    ops[14].kind = LINEAR_READ;
    ops[14].begin = ops[14].end = 200;
    ops[14].value = 99;
    assert_int_equal(linear_check(ops, 15, 0, LINEAR_MEMORY), LINEAR_NO);
    assert_int_equal(linear_check(ops, 15, 0, 100000), LINEAR_TOO_HARD);
    ops[14].value = 14;
    assert_int_equal(linear_check(ops, 15, 0, 0), LINEAR_TOO_HARD);
    assert_int_equal(linear_check(ops, 15, 0, LINEAR_MEMORY), LINEAR_YES);
    assert_int_equal(linear_check(ops, 0, 0, 0), LINEAR_YES);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_right), cmocka_unit_test(test_wrong), cmocka_unit_test(test_maybe),
        cmocka_unit_test(test_small), cmocka_unit_test(test_too_hard),
    };
    int failed;
    if (argc > 1)                   /* only the tests of this name */
        cmocka_set_test_filter(argv[1]);
    failed = cmocka_run_group_tests_name("linear", tests, NULL, NULL);
    t_clean();
    return failed;
}
