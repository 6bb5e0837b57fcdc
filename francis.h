/* francis.h - v0.1.0 - distributed actors with durable state, in one header - MIT licence
 *
 * >> 000 START
 *
 *   An actor is an object with a name, (type, id). Its methods run one at a time, each a turn,
 *   and a turn is a transaction: what it changed is durable when the caller gets the reply, and a
 *   turn that fails leaves no trace. Actors come to life when they are called, and hibernate when
 *   they are not.
 *
 *       #define FRANCIS_IMPLEMENTATION
 *       #include "francis.h"
 *
 *       typedef struct { int64_t count; } counter;
 *
 *       static francis_result increment(francis_ctx *ctx)
 *       {
 *           counter *c = (counter *)francis_state(ctx);             // zeroed the first time
 *           c->count++;                                             // the turn commits it
 *           return francis_reply(ctx, &c->count, sizeof c->count);  // leaves once it is durable
 *       }
 *
 *   In exactly one C file define FRANCIS_IMPLEMENTATION before the include; everywhere else include
 *   it as it is. Link: -lsqlite3 -lmbedtls -lmbedx509 -lmbedcrypto -lpthread. The whole program
 *   is examples/counter.c; docs/ has a quick start (quickstart.md), the rules of actors
 *   (actors.md), of alarms and jobs (alarms.md, jobs.md) and of embedding (embedding.md).
 *
 * >> 010 CONTENTS
 *
 *   Find a section with its number: grep ">> 640".
 *     100 pub.config             configuration, version
 *     110 pub.result             results
 *     120 pub.basic              basic types, francis_call
 *     130 pub.hooks              allocator, log, platform
 *     140 pub.actor              actor types and handlers
 *     145 pub.turn               inside a turn
 *     150 pub.call               calls
 *     152 pub.stream             streams
 *     155 pub.durable            alarms, jobs; state and life of any actor
 *     160 pub.host               hosts
 *     165 pub.watch              statistics and health
 *     200 impl.head              headers, systems
 *     210 base                   assertions, hash
 *     220 mem                    memory
 *     230 coll                   lists, map, timers
 *     250 plat                   clock, random, threads
 *     260 log                    log
 *     270 ref                    names, ids
 *     300 codec                  the encoding of heads on the wire
 *     320 schedule               when alarms and jobs are due again: intervals, cron, zones
 *     330 alarm                  an alarm or job as it is stored, and what is done with one
 *     400 store                  what the runtime wants of a database
 *     410 store.sqlite           SQLite: statements, schema
 *     412 store.sqlite.locks     SQLite: locks that die with a process, proof of life
 *     413 store.sqlite.queue     SQLite: processes that write take turns
 *     414 store.sqlite.open      SQLite: opening
 *     416 store.sqlite.hosts     SQLite: registration, eviction
 *     418 store.sqlite.alarms    SQLite: rows of alarms and jobs
 *     420 store.sqlite.write     SQLite: writes
 *     430 store.sqlite.commit    SQLite: commits
 *     438 store.sqlite.due       SQLite: what is due
 *     440 store.sqlite.read      SQLite: reads
 *     500 security               keys, certificates, TLS
 *     520 wire                   frames
 *     540 net                    connections to other hosts
 *     600 host                   structs of the runtime
 *     610 loop                   wake-ups and timers
 *     620 call                   records of calls
 *     630 seal                   sealing and the output gate
 *     635 stream                 both ends of streams
 *     640 turn                   turns begin
 *     650 life                   life of an activation
 *     660 end                    turns end
 *     665 peers                  other hosts: suspicion, where actors were found, the lease
 *     667 list                   which hosts there are
 *     668 remote                 calls on their way to other hosts
 *     670 route                  routing, deadlines
 *     672 answers                what other hosts say
 *     675 due                    alarms and jobs: found, run, repeated, given up
 *     680 commit                 the committer
 *     690 step                   threads, steps, stopping
 *     700 submit                 calls on their way in
 *     760 serve                  calls of other hosts
 *     765 serve.stream           streams of other hosts, and what they say of ours
 *     800 api.turn               bodies: turns
 *     810 api.call               bodies: calls
 *     815 api.stream             bodies: streams
 *     820 api.durable            bodies: state, halt
 *     825 api.alarm              bodies: alarms, jobs
 *     830 api.list               bodies: lists
 *     840 api.host               bodies: hosts
 *     850 api.watch              bodies: statistics
 *
 * >> 020 DOES NOT
 *
 *   - Hosts that share a file call each other only if they have a cluster_key; without one a call
 *     to an actor that lives on another host is answered MOVED, with its address.
 *   - It never exits, never aborts, has no writable globals but the signal handler of francis_run.
 *   - It does not work over NFS, SMB or other network file systems: SQLite's locks do not, and
 *     francis_open refuses them.
 *   - Handlers are not protected from each other: one that crashes takes the process down. What was
 *     acknowledged is there when the process comes back.
 *
 * >> 030 CONCEPTS
 *
 *   host         one process part that serves actors: a database, threads or your loop, actor types
 *   type         what actors of a kind have in common: methods, size of the state, limits
 *   actor        (type, id). It exists for ever; the first call to it finds it empty
 *   activation   an actor in memory, from its first call until it hibernates
 *   turn         one run of a handler. An invoke has the actor alone; peeks share it, read only
 *   state        what of an actor is stored: a struct that the handler changes in place, or bytes
 *   seal         the end of a turn: what it wrote is fixed and waits to be committed
 *   commit       one database transaction with the sealed turns of many actors
 *   alarm        something that an actor will do at a time, once or again and again: a row in the
 *                file, and a turn when it is due
 *   job          work for an actor that is stored until it is done, or dead after attempts_max
 *   gate         what holds a reply, or a call out of an actor, until what it shows is committed
 *   request id   a name for a piece of work that must be done once, however often it is asked for
 *
 * >> 040 THE RULES OF A TURN
 *
 *   1. In its turn a handler sees the state as the turn before left it, in a private copy. OK
 *      commits the copy if it differs; any error drops it. So an error means that nothing was
 *      written, and a refusal that writes something must be a reply.
 *   2. A reply leaves when the turn is durable, and so is every earlier turn that it could have
 *      seen. The next turn need not wait for that: commits are shared by all turns that are
 *      ready.
 *   3. What another actor does for a turn is not undone when the turn fails. Flush first, or make
 *      it safe to repeat with a request id.
 *   4. Calls made in a turn use the turn's ctx. One that would wait for itself over other calls is
 *      answered DEADLOCK at once. Two chains that cross wait until the deadline.
 *   5. A turn whose deadline has passed commits nothing, even while its handler still runs: the
 *      caller is told DEADLINE. Once it is sealed or has flushed, UNKNOWN is the honest answer.
 *   6. instance_size bytes of memory live as long as the activation. They are not stored and not
 *      undone: for caches, tickets, connections.
 *
 * >> 045 ALARMS AND JOBS
 *
 *   1. Setting an alarm or dispatching a job in a turn is part of the turn: state, alarms and jobs,
 *      also those of other actors, are committed as one, or nothing is. A job is therefore the way
 *      to let another actor do what must be done if, and only if, this turn happens.
 *   2. What is due is run by the host that has its actor, or takes it, as a turn of kind ALARM or
 *      JOB. That turn's commit also says that the occurrence is over, or when the next one is: its
 *      effect on the actor happens once, whatever crashes. What the handler does elsewhere may
 *      happen again: ctx->request_id is the same at each attempt.
 *   3. A handler that fails has done nothing. It is tried attempts_max times in all, with growing
 *      pauses that are stored. After that an alarm is given up, a job is kept among the dead ones;
 *      what repeats goes on with the next time.
 *   4. Repetition counts from the time that was scheduled. What was missed while no host ran is run
 *      once, not at all, or one by one: francis_missed.
 *   5. A handler may take as long as it likes. Nothing has to be renewed: the placement of the
 *      actor is the lease. An alarm or job that ends its host again and again runs alone, and is
 *      given up after crashes_max.
 *
 * >> 050 LIFE OF A HOST
 *
 *       francis_host *host = NULL;
 *       francis_open(&host, &desc);         // the database, the schema
 *       francis_register(host, &actor);     // once per type
 *       if (francis_start(host) != FRANCIS_OK)      // tells what the lines above met, too
 *           fprintf(stderr, "%s\n", francis_host_error(host));
 *       ...
 *       francis_close(host);                // in any case; NULL is fine
 *
 *   francis_run instead of francis_start blocks until francis_stop, SIGINT or SIGTERM. A handler is
 *   called with the turn's ctx; everything outside of turns uses francis_host_ctx(host).
 *
 * >> 055 HOSTS THAT SHARE A FILE
 *
 *   Any number of processes of one machine may open the same database at the same moment, each a
 *   host of its own; nothing has to be set up. An actor lives on one of them, which keeps it until
 *   it hibernates. What a host knows of the others it reads in the file:
 *   1. A host whose process has ended is evicted by whoever wants one of its actors next: at once.
 *   2. One that lives but does not answer a challenge in its row is evicted after
 *      health_deadline_ms. Nothing else evicts: no clock, no heartbeat, no broken connection.
 *   3. Every commit begins with the proof that its host stands, and every other answer needs a look
 *      at its row that is younger than lease_ms. So one that was stopped, and wakes up evicted, can
 *      write nothing and answer nobody. It says EVICTED to those that wait, and joins as a new one.
 *   4. Writers take turns. One that stops inside its write transaction keeps all others from
 *      writing, not from reading: they answer LOCKED, and health names the process.
 *   5. With a cluster_key a call reaches its actor wherever it lives, over mutual TLS. One that
 *      cannot be begun is sent again, elsewhere if need be; one that was under way when its host
 *      was lost is UNKNOWN: ask again with the same request id.
 *   docs/sharing.md has what each failure looks like and what it costs.
 *
 * >> 060 THREADS
 *
 *   With workers (the default: one per core) turns run on worker threads, commits on another one,
 *   and any thread may call in. With .workers = FRANCIS_NO_WORKERS no thread is ever created: all
 *   happens inside francis_poll and inside blocking calls, on one thread of yours; francis_fd is
 *   the descriptor for your loop. Other threads may then make asynchronous calls only. Callbacks
 *   (on_done, on_log, on_alloc) must not wait; on_log and on_alloc must not call francis. In the
 *   comments below:
 *     Threads: any     from any thread           owner   the thread that set the host up
 *              turn    only with a turn's ctx     signal  also from a signal handler
 *     Waits:   how long the function may block. Where waiting is impossible it answers WOULD_BLOCK.
 *
 * >> 070 FIVE RULES OF THE API
 *
 *   1. Zero is the default. What has another "off" has a name for it: FRANCIS_FOREVER, _NO_WORKERS.
 *   2. Strings end with NUL, names have 1 to 255 bytes and no '/'. Data is (pointer, size).
 *   3. What goes in is copied before the call returns; only a francis_call under way is kept.
 *   4. What comes out is aligned for any type and followed by a NUL that size does not count.
 *   5. type = id = NULL is the actor whose turn it is.
 *
 * >> 080 ERRORS
 *
 *   A result is 0 (OK), a code of francis's, or FRANCIS_ERR_USER + n of your own. francis_outcome
 *   says what it means for the work: NOT_RUN, FAILED (nothing was written), or UNKNOWN (it may have
 *   been: ask again with the same request id). call.error says it in words, call.from_handler tells
 *   the refusal of an actor from an accident. docs/actors.md lists every code and when it comes.
 *
 * >> 090 CONFIGURATION AND LIMITS
 *
 *   macro                    default  must be the same in all files
 *   FRANCIS_IMPLEMENTATION   -        no: in one file only
 *   FRANCIS_STATIC           0        no: 1 makes all functions static, a private copy per file
 *   FRANCIS_API              extern   no: decorates every function
 *   FRANCIS_NO_STDIO         0        no: 1 prints nothing where there is no on_log
 *   FRANCIS_DEBUG            0        no: 1 stops the program where an assertion fails
 *
 *   limit                    default  one more gives
 *   names, ids, request ids  255 B    INVALID    and traces
 *   state_bytes_max          1 MiB    TOO_LARGE
 *   message_bytes_max        4 MiB    TOO_LARGE
 *   mailbox_max              1024     BUSY       waiting calls of one actor
 *   calls_max                65536    BUSY       calls in flight of the host
 *   streams_max              4096     BUSY       ends of streams on the host
 *   stream_buffer_bytes      64 KiB   (waits)    written to a stream and not read
 *   francis_stream_desc.bytes_max  16 MiB  TOO_LARGE  of a stream, each way
 *   FRANCIS_TYPE_MAX         255 B    INVALID    content types
 *   FRANCIS_CHAIN_MAX        32       BUSY       calls within calls, the first included
 *   blocked_max              64       BUSY       turns that wait for a call
 *   concurrency_max          none     NO_HOST    active actors of a type
 *   requests_kept_max        64       BUSY       request ids that an actor remembers
 *   alarms and jobs changed  4096     TOO_LARGE  by one turn
 *   attempts_max             3        (given up) of an alarm or job; crashes_max 5
 *   missed_max               1000     (dropped)  occurrences that MISSED_ALL runs late
 *   repeat                   255 B    INVALID    of an alarm or job
 *   memory_bytes_max         none     NOMEM
 *   hosts_max                none     LOCKED     hosts that live on a file
 *   table_prefix             32 B     INVALID
 *   address                  255 B    INVALID
 *   error texts              1023 B   cut
 */
#if defined(FRANCIS_IMPLEMENTATION) && defined(__STRICT_ANSI__) && !defined(_POSIX_C_SOURCE)
#define _POSIX_C_SOURCE 200809L     /* strict modes hide POSIX; only before the first include */
#if !defined(_DEFAULT_SOURCE)
#define _DEFAULT_SOURCE 1           /* and what Linux has beside it */
#endif
#endif
#ifndef FRANCIS_H
#define FRANCIS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// >> 100 pub.config

#define FRANCIS_VERSION_MAJOR 0
#define FRANCIS_VERSION_MINOR 1
#define FRANCIS_VERSION_PATCH 0
#define FRANCIS_VERSION_NUMBER \
    (FRANCIS_VERSION_MAJOR * 1000000 + FRANCIS_VERSION_MINOR * 1000 + FRANCIS_VERSION_PATCH)

#ifndef FRANCIS_STATIC
#define FRANCIS_STATIC 0            /* 1: all functions static, one private copy in this file */
#endif
#ifndef FRANCIS_NO_STDIO
#define FRANCIS_NO_STDIO 0          /* 1: without on_log nothing is printed anywhere */
#endif
#ifndef FRANCIS_DEBUG
#define FRANCIS_DEBUG 0             /* 1: whole structures are checked after each step; slow */
#endif
#if 1 - FRANCIS_STATIC - 1 == 2 || 1 - FRANCIS_NO_STDIO - 1 == 2 || 1 - FRANCIS_DEBUG - 1 == 2
#error "francis: a switch is defined without a value; write -DFRANCIS_STATIC=1"
#endif
#ifndef FRANCIS_API
#if FRANCIS_STATIC
#if defined(__GNUC__) || defined(__clang__)
#define FRANCIS_API static __attribute__((unused))
#else
#define FRANCIS_API static
#endif
#else
#define FRANCIS_API extern
#endif
#endif
#if defined(FRANCIS_PRINTF)
#elif defined(__GNUC__) || defined(__clang__)
#define FRANCIS_PRINTF(format_at, args_at) __attribute__((format(printf, format_at, args_at)))
#else
#define FRANCIS_PRINTF(format_at, args_at)
#endif

#ifdef __cplusplus
extern "C" {
#endif

enum {
    FRANCIS_FOREVER    = -1,        /* for every _ms that may be endless */
    FRANCIS_NO_WORKERS = -1,        /* host_desc.workers: no thread at all, see francis_poll */
    FRANCIS_NAME_SIZE  = 256,       /* room for any name or id and its NUL */
    FRANCIS_TYPE_MAX   = 255,       /* bytes of a content type */
    FRANCIS_CHAIN_MAX  = 32         /* calls within calls within calls */
};

/* Durations are int64_t milliseconds; these keep the arithmetic out of int. */
#define FRANCIS_SECONDS(n) ((int64_t)(n) * 1000)
#define FRANCIS_MINUTES(n) ((int64_t)(n) * 60000)
#define FRANCIS_HOURS(n)   ((int64_t)(n) * 3600000)
#define FRANCIS_DAYS(n)    ((int64_t)(n) * 86400000)

// >> 110 pub.result

/* An int, not an enum: applications have codes of their own, and every language has an int.
 * X(name, number, name in logs and on the wire, outcome, worth a retry, text)
 * Numbers never change their meaning: they end in logs and in callers' code. */
#define FRANCIS_RESULTS(X) \
    X(OK,                   0, "ok",             DONE,    0, "done") \
    X(DONE,                 1, "end",            DONE,    0, "no further item") \
    X(PENDING,              2, "pending",        UNKNOWN, 0, "under way") \
    X(ERR_INVALID,        101, "invalid",        NOT_RUN, 0, "an argument or option is not valid") \
    X(ERR_USAGE,          102, "usage",          NOT_RUN, 0, "not possible at this point") \
    X(ERR_UNKNOWN_METHOD, 103, "unknown_method", FAILED,  0, "the actor has no such method") \
    X(ERR_BAD_INPUT,      104, "bad_input",      FAILED,  0, "the method takes other input") \
    X(ERR_READ_ONLY,      105, "read_only",      FAILED,  0, "a write inside a peek") \
    X(ERR_RESERVED,       106, "reserved",       NOT_RUN, 0, "a built-in type or method") \
    X(ERR_TOO_LARGE,      107, "too_large",      FAILED,  0, "larger than the limit") \
    X(ERR_WOULD_BLOCK,    108, "would_block",    NOT_RUN, 0, "waiting is not possible here") \
    X(ERR_DEADLOCK,       109, "deadlock",       NOT_RUN, 0, "the call would wait for itself") \
    X(ERR_STALE,          110, "stale",          NOT_RUN, 0, "nobody waits for this ticket") \
    X(ERR_NOT_FOUND,      201, "not_found",      NOT_RUN, 0, "no such state, alarm or job") \
    X(ERR_EXISTS,         202, "exists",         NOT_RUN, 0, "the request id has other work") \
    X(ERR_NOT_ACTIVE,     203, "not_active",     NOT_RUN, 0, "the actor is not active") \
    X(ERR_UNKNOWN_TYPE,   204, "unknown_type",   NOT_RUN, 0, "no host has ever served this type") \
    X(ERR_NO_HOST,        301, "no_host",        NOT_RUN, 1, "no host has room for the actor now") \
    X(ERR_BUSY,           302, "busy",           NOT_RUN, 1, "a queue is full") \
    X(ERR_MOVED,          303, "moved",          NOT_RUN, 1, "the actor goes down or elsewhere") \
    X(ERR_DEADLINE,       304, "deadline",       FAILED,  0, "too late; nothing was written") \
    X(ERR_CANCELLED,      305, "cancelled",      FAILED,  0, "cancelled; nothing was written") \
    X(ERR_STOPPED,        306, "stopped",        NOT_RUN, 1, "the host is stopping or stopped") \
    X(ERR_EVICTED,        307, "evicted",        FAILED,  1, "host evicted; nothing was written") \
    X(ERR_UNKNOWN,        308, "unknown",        UNKNOWN, 0, "it may or may not have happened") \
    X(ERR_STORAGE,        501, "storage",        FAILED,  1, "the database failed") \
    X(ERR_FULL,           502, "disk_full",      FAILED,  1, "no space left") \
    X(ERR_CORRUPT,        503, "corrupt",        FAILED,  0, "damaged, or not what was expected") \
    X(ERR_LOCKED,         504, "locked",         FAILED,  1, "the database is locked") \
    X(ERR_SCHEMA,         505, "schema",         NOT_RUN, 0, "written by another version") \
    X(ERR_TRANSPORT,      601, "transport",      NOT_RUN, 1, "its host cannot be reached") \
    X(ERR_PERMANENT,      701, "permanent",      FAILED,  0, "job: it will never succeed") \
    X(ERR_REJECTED,       702, "rejected",       FAILED,  1, "job: another host may do it") \
    X(ERR_NOMEM,          901, "no_memory",      FAILED,  1, "out of memory") \
    X(ERR_INTERNAL,       902, "internal",       UNKNOWN, 0, "a defect in francis") \
    X(ERR_USER,         10000, "application",    FAILED,  0, "the actor refused")

typedef int francis_result;         /* applications' own: FRANCIS_ERR_USER + n, n >= 0 */

enum {
#define FRN_X(name, number, wire, outcome, retry, text) FRANCIS_##name = number,
    FRANCIS_RESULTS(FRN_X)
#undef FRN_X
    FRN_RESULT_END = 65536
};

typedef enum francis_outcome_kind {     /* of this attempt */
    FRANCIS_OUTCOME_DONE,           /* committed */
    FRANCIS_OUTCOME_NOT_RUN,        /* no handler ran */
    FRANCIS_OUTCOME_FAILED,         /* may have run, wrote nothing */
    FRANCIS_OUTCOME_UNKNOWN         /* may have committed: ask again with the same request_id */
} francis_outcome_kind;

/* francis_strerror: the meaning of a result as a sentence part, "too late; nothing was written".
 * francis_result_name: its name in logs, "deadline".
 * Total: numbers that are not in the list are "application" from 10000 up, else "internal".
 * Returns a constant string. Threads: any. Waits: never. */
FRANCIS_API const char *francis_strerror(francis_result r);
FRANCIS_API const char *francis_result_name(francis_result r);

/* francis_outcome: what may have happened when a call ended with r.
 * francis_retryable: whether the same call may help later. Advice: with an outcome of UNKNOWN only
 * a call that carries a request_id may be repeated.
 * Threads: any. Waits: never. */
FRANCIS_API francis_outcome_kind francis_outcome(francis_result r);
FRANCIS_API bool francis_retryable(francis_result r);

// >> 120 pub.basic

typedef struct francis_host   francis_host;
typedef struct francis_ctx    francis_ctx;
typedef struct francis_call   francis_call;
typedef struct francis_stream francis_stream;

typedef struct francis_bytes {
    const void *data;               /* NULL = absent, which is not the same as size 0 */
    size_t      size;
} francis_bytes;

/* One call: what you want of it, and what came of it. {0} is right, and so is NULL where the reply
 * is not wanted. It is yours and may be used again (the next call frees what the last one brought),
 * but while it is under way it must stay where it is. */
struct francis_call {
    int64_t     timeout_ms;         /* 0 = what is left of the turn's time; host_desc.timeout_ms */
    const char *request_id;         /* an actor does the work of one request id once: a repeat gets
                                       the first answer, other work under the same id EXISTS. With
                                       it francis itself asks again until timeout_ms, and says
                                       UNKNOWN only if that settled nothing. Peeks ignore it.
                                       NULL = none */
    bool        active_only;        /* do not activate the actor for this */
    bool        async;              /* return PENDING; then francis_await or francis_wait */
    void      (*on_done)(francis_call *call);   /* set: asynchronous. Called once, in francis_poll
                                       or a worker. Of a call made in a turn: as a part of that
                                       turn, while it awaits; after its end not any more */
    void       *user;
    const char *trace;              /* W3C traceparent; NULL = the turn's */

    francis_result result;          /* also what the function returned; PENDING while under way */
    bool        from_handler;       /* the actor's handler returned it: it ran and refused */
    int64_t     retry_after_ms;     /* advice with a retryable result */
    const char *error;              /* what went wrong, in full; "" if nothing did */
    const void *data;               /* the reply; NULL = none */
    size_t      size;
    uint64_t    internal[6];
};

/* francis_call_free: frees what a call brought: data, error.
 *   call  the caller's; NULL and {0} are allowed. Afterwards its results read as {0}
 * One that is under way is cancelled first and its on_done not called; an on_done that runs in
 * another thread is waited for. A turn that is cancelled commits nothing, unless it is already
 * sealed. Not needed in a turn: its end does that. Not after francis_close.
 * Threads: any. Waits: only for an on_done of this call in another thread. */
FRANCIS_API void francis_call_free(francis_call *call);

// >> 130 pub.hooks

/* The allocator of a host. old NULL allocates, size_new 0 frees; NULL = no memory, which francis
 * survives. size_old is what was asked for before. Memory must be aligned for any type.
 * Called from any thread of the host, but never from two at once; must not call francis. */
typedef void *(*francis_alloc_fn)(void *old, size_t size_old, size_t size_new, void *user);

typedef enum francis_log_level {
    FRANCIS_LOG_DEFAULT, FRANCIS_LOG_ERROR, FRANCIS_LOG_WARNING, FRANCIS_LOG_INFO, FRANCIS_LOG_DEBUG
} francis_log_level;

/* What may be logged. X(number, name, level, area). Numbers never change. */
#define FRANCIS_LOGS(X) \
    X(100, host_opened,        INFO,    "host") \
    X(101, host_started,       INFO,    "host") \
    X(102, host_stopping,      INFO,    "host") \
    X(103, host_stopped,       INFO,    "host") \
    X(104, host_evicted,       ERROR,   "host") \
    X(105, host_took_over,     WARNING, "host") \
    X(106, stop_timed_out,     WARNING, "host") \
    X(107, host_failed,        ERROR,   "host") \
    X(108, host_challenged,    DEBUG,   "host") \
    X(109, challenge_answered, INFO,    "host") \
    X(110, lease_ran_out,      INFO,    "host") \
    X(111, stuck_host_killed,  ERROR,   "host") \
    X(112, identity_failed,    ERROR,   "host") \
    X(113, rejoin_refused,     ERROR,   "host") \
    X(200, schema_created,     INFO,    "store") \
    X(201, schema_migrated,    INFO,    "store") \
    X(202, commit_failed,      ERROR,   "store") \
    X(203, commit_settled,     WARNING, "store") \
    X(204, commit_unknown,     ERROR,   "store") \
    X(205, database_reopened,  WARNING, "store") \
    X(206, database_busy,      WARNING, "store") \
    X(207, write_refused,      ERROR,   "store") \
    X(208, page_size_kept,     WARNING, "store") \
    X(209, wal_over_limit,     WARNING, "store") \
    X(210, sweep_failed,       WARNING, "store") \
    X(211, sweep_done,         DEBUG,   "store") \
    X(212, clock_not_believed, WARNING, "store") \
    X(400, net_listening,      INFO,    "transport") \
    X(401, net_connected,      INFO,    "transport") \
    X(402, net_closed,         INFO,    "transport") \
    X(403, net_lost,           INFO,    "transport") \
    X(404, net_frame_refused,  WARNING, "transport") \
    X(405, net_handshake_failed, WARNING, "transport") \
    X(406, net_unreachable,    INFO,    "transport") \
    X(300, activation_failed,  WARNING, "actor") \
    X(301, activation_dropped, WARNING, "actor") \
    X(302, deactivate_failed,  WARNING, "actor") \
    X(303, release_failed,     WARNING, "actor") \
    X(304, turn_stuck,         ERROR,   "actor") \
    X(305, bad_result,         WARNING, "actor") \
    X(306, bootstrap_failed,   WARNING, "actor") \
    X(307, send_dropped,       DEBUG,   "actor") \
    X(500, alarm_failed,       WARNING, "alarm") \
    X(501, alarm_given_up,     ERROR,   "alarm") \
    X(502, job_failed,         WARNING, "alarm") \
    X(503, job_dead,           ERROR,   "alarm") \
    X(504, alarm_crashed,      ERROR,   "alarm") \
    X(505, alarm_postponed,    DEBUG,   "alarm") \
    X(506, alarm_corrupt,      ERROR,   "alarm") \
    X(507, clock_stepped,      WARNING, "alarm")

typedef struct francis_log {        /* borrowed; sinks run on any thread and call no francis */
    francis_log_level level;
    uint32_t       id;              /* stable number of the event, for filters and tests */
    const char    *name;            /* and its name: "host_evicted" */
    const char    *area;            /* "store", "actor", ... */
    const char    *message;
    const char    *host, *type, *actor; /* "" where there is none, as everywhere below */
    const char    *trace;
    francis_result result;
    int64_t        time_ms;
    const char    *file;
    int            line;
} francis_log;

struct pollfd;

/* The world as francis sees it, files apart: these are SQLite's VFS's. NULL members = the real
 * thing. With all of them, and without workers, what a host does follows from what they answer. */
typedef struct francis_platform {
    uint32_t    version;            /* 1 */
    int64_t   (*monotonic_ns)(void *user);  /* of deadlines and time-outs; never set back */
    int64_t   (*wall_ms)(void *user);
    int       (*random)(void *data, size_t size, void *user);   /* 0 = filled */
    int       (*poll)(struct pollfd *fds, size_t count, int64_t timeout_ns, void *user);
                                    /* as poll(); FOREVER. fds NULL: somebody just sleeps */
    /* Sockets: all six or none, with poll, without workers. They are numbers of the platform's own,
     * from 0 up. None of these waits: they say -EAGAIN, or what else went wrong as -errno. */
    int       (*net_listen)(const char *address, void *user);
    int       (*net_accept)(int listener, void *user);
    int       (*net_connect)(const char *address, void *user);  /* begins it, names included */
    int       (*net_read)(int socket, void *data, size_t size, void *user);     /* 0 = the end */
    int       (*net_write)(int socket, const void *data, size_t size, void *user);
                                    /* of size 0: how the connection is, once it is writable */
    void      (*net_close)(int socket, void *user);
    const char *sqlite_vfs;         /* NULL = SQLite's default */
    int64_t     process;            /* its number. Set, the system is asked nothing about processes
                                       and their locks; 0 = getpid() */
    void       *user;
} francis_platform;

// >> 140 pub.actor

typedef enum francis_turn_kind {
    FRANCIS_INVOKE     = 0,         /* exclusive */
    FRANCIS_PEEK       = 1,         /* shared, read only. francis_invoke finds it too: exclusive */
    FRANCIS_STREAM     = 2,         /* exclusive, with ctx->stream */
    FRANCIS_PEEK_STREAM = 3,        /* shared, read only, with ctx->stream */
    FRANCIS_ALARM      = 4,         /* exclusive; ctx->method = name of the alarm */
    FRANCIS_JOB        = 5,         /* exclusive */
    FRANCIS_JOB_FAILED = 6,         /* exclusive; after the last attempt, delivered like a job */
    FRANCIS_ACTIVATE   = 7,         /* before the first turn; its failure is that of the call */
    FRANCIS_DEACTIVATE = 8,         /* may write; does not come after a crash */
    FRANCIS_BOOTSTRAP  = 9,         /* singletons: at each start of each host */
    FRANCIS_UPGRADE    = 10         /* the stored state_version is another; input = stored bytes */
} francis_turn_kind;

/* A handler. OK commits the turn. Any error undoes it and is what the caller gets, with the text of
 * francis_fail. PENDING only as francis_await returned it. */
typedef francis_result (*francis_handler)(francis_ctx *ctx);

/* What a handler knows. Made by francis only, to be read only; more may follow at the end. Valid
 * until the handler returns; when it awaits, until the turn has ended. Never use it elsewhere. */
struct francis_ctx {
    francis_host     *host;
    const char       *type, *id;    /* of the actor; NULL in the ctx for outside of turns */
    francis_turn_kind kind;
    const char       *method;       /* of the call or job, name of the alarm, else "" */
    francis_bytes     input;
    void             *instance;     /* instance_size bytes, zeroed at activation, not stored */
    void             *user;         /* actor_desc.user */
    void             *local;        /* what francis_await was given */
    francis_stream   *stream;       /* STREAM, PEEK_STREAM; the turn's, see francis_stream_keep */
    const char       *request_id;   /* the same at each attempt at the same work; "" = none */
    const char       *trace;        /* "" = none */
    int64_t           timeout_ms;   /* what the turn has, from its start; FOREVER = no limit */
    uint32_t          state_version;    /* UPGRADE: of the stored bytes */
    uint32_t          attempt, attempts_max;    /* ALARM, JOB, JOB_FAILED: 1 = the first */
    const char       *job_id;       /* JOB, JOB_FAILED; "" = none */
    int64_t           due_ms;       /* ALARM, JOB, JOB_FAILED: when this occurrence was due */
    francis_result    result;       /* JOB_FAILED: of the last attempt, */
    const char       *error;        /*             and its text */
};

/* One row per method, looked up by name and kind; after that the catch-all handlers of the desc. */
typedef struct francis_method {
    const char       *name;
    francis_handler   run;
    francis_turn_kind kind;         /* INVOKE to JOB_FAILED */
    size_t            input_size;   /* another size is refused as BAD_INPUT; 0 = any */
} francis_method;
#define FRANCIS_METHODS_END { NULL, NULL, FRANCIS_INVOKE, 0 }

typedef enum francis_placement {
    FRANCIS_PLACE_LEAST_LOADED,     /* where the fewest actors are active, as far as is known */
    FRANCIS_PLACE_RANDOM,
    FRANCIS_PLACE_LOCAL             /* where it is first called */
} francis_placement;

typedef struct francis_actor_desc {
    const char           *type;     /* required */
    const francis_method *methods;  /* up to FRANCIS_METHODS_END; copied */
    size_t          state_size;     /* of a plain struct, see francis_state; 0 = state_get/_set.
                                       It may grow: old bytes stay, new ones are zero */
    uint32_t        state_version;  /* raise it when the bytes change their meaning: .upgrade */
    size_t          instance_size;
    francis_handler invoke, peek, stream, peek_stream, alarm, job, job_failed;  /* catch-alls */
    francis_handler activate, deactivate, upgrade;
    bool            singleton;      /* the only actor of its type, id "singleton" */
    francis_handler bootstrap;
    const void     *bootstrap_data; /* input of the bootstrap handler; copied */
    size_t          bootstrap_size;
    int64_t         idle_timeout_ms;        /* 5 min; FOREVER */
    int64_t         deactivate_timeout_ms;  /* 5 s */
    int64_t         turn_timeout_ms;        /* how long a turn that has failed (deadline passed,
                                               ...) may still run before the actor goes on without
                                               it, on fresh memory; 0 and FOREVER = no limit. An
                                               alarm's or job's turn fails after it */
    uint32_t        concurrency_max;        /* active actors per host; no limit */
    uint32_t        mailbox_max;            /* waiting calls per actor; 1024 */
    uint32_t        attempts_max;           /* of an alarm or job, the first included; 3 */
    int64_t         retry_delay_ms;         /* before the second attempt, then x 1.5, up to x 10,
                                               each +- a tenth; 2 s */
    uint32_t        crashes_max;            /* so often may a host end while it runs an alarm or
                                               job, before that is given up; 5 */
    const char     *capacity_group;         /* of the jobs of all its types at most capacity_max */
    uint32_t        capacity_max;           /* run at a time on a host */
    francis_placement placement;    /* of an actor that is active nowhere */
    uint32_t        requests_kept_max;      /* request ids remembered per actor; 64 */
    int64_t         requests_kept_ms;       /* 10 min */
    bool            nonblocking;    /* its handlers never wait and return within microseconds:
                                       their turns may run on the thread that calls */
    void           *user;
} francis_actor_desc;

// >> 145 pub.turn

/* francis_state: the actor's state as a struct that the handler reads and changes in place.
 *   ctx  of a turn, of a type with state_size
 * Returns state_size bytes, zeroed the first time; NULL: no turn, no state_size, or no memory (then
 * the turn fails with NOMEM). Compared at the end of the turn: changed = stored, handler failed =
 * as before. In a peek it is a private copy; if it differs afterwards the peek fails as READ_ONLY.
 * The pointer is good until the turn ends, and the same at each call in it.
 * Threads: turn. Waits: never. */
FRANCIS_API void *francis_state(francis_ctx *ctx);

/* francis_state_get: the bytes that are stored, or that this turn has set.
 *   ctx  of a turn
 * Returns data NULL where there is no state. Borrowed until the turn ends, sets or deletes.
 * Threads: turn. Waits: never. */
FRANCIS_API francis_bytes francis_state_get(francis_ctx *ctx);

/* francis_state_set: replaces the state.
 * francis_state_delete: removes it; a struct reads as zeroes.
 * francis_state_expire: lets it vanish by itself; stays until changed or deleted.
 *   ctx       of a turn; set: of a type without state_size
 *   data      copied; NULL with size 0 is an empty state, which is not the same as none
 *   size      bytes, at most host_desc.state_bytes_max
 *   after_ms  from now, > 0; FOREVER = does not expire
 * They become part of the turn. A refused one fails the turn, whatever the handler returns.
 * Returns OK; READ_ONLY in a peek; TOO_LARGE; INVALID for after_ms <= 0; USAGE outside of a turn
 * or, for set, with state_size; NOMEM. Threads: turn. Waits: never. */
FRANCIS_API francis_result francis_state_set(francis_ctx *ctx, const void *data, size_t size);
FRANCIS_API francis_result francis_state_delete(francis_ctx *ctx);
FRANCIS_API francis_result francis_state_expire(francis_ctx *ctx, int64_t after_ms);

/* francis_reply: what the caller gets when the turn has committed. The last one counts.
 * francis_replyf: the same, formatted, without the NUL.
 *   ctx   of a turn
 *   data  copied; NULL with size 0 = an empty reply
 *   size  bytes, at most host_desc.message_bytes_max
 * Returns OK; TOO_LARGE, NOMEM (the turn then fails); USAGE outside of a turn. Made for
 * "return francis_reply(...)". Threads: turn. Waits: never. */
FRANCIS_API francis_result francis_reply(francis_ctx *ctx, const void *data, size_t size);
FRANCIS_API francis_result francis_replyf(francis_ctx *ctx, const char *format, ...)
    FRANCIS_PRINTF(2, 3);

/* francis_fail: sets the error text of the turn and returns code: "return francis_fail(...)".
 * francis_fail_text: the same for languages that cannot call variadics.
 *   ctx   of a turn
 *   code  any error; FRANCIS_ERR_USER + n for the application's own
 *   text  copied; cut at 1023 bytes
 * Returns code. Threads: turn. Waits: never. */
FRANCIS_API francis_result francis_fail(francis_ctx *ctx, francis_result code,
                                        const char *format, ...) FRANCIS_PRINTF(3, 4);
FRANCIS_API francis_result francis_fail_text(francis_ctx *ctx, francis_result code,
                                             const char *text);

/* francis_flush: makes what the turn wrote so far durable, before the handler talks to the outside
 * world. It stays even if the handler fails later, so the handler must be able to run again:
 * store how far it got.
 *   ctx   of an exclusive turn
 *   call  for timeout and error text; NULL is fine; .async is not supported
 * Returns OK; READ_ONLY in a peek; what refused the turn; FULL, STORAGE, LOCKED, EVICTED: nothing
 * was written and the turn is lost; UNKNOWN: it may have been written, the turn is lost; DEADLINE,
 * CANCELLED: the turn is lost. Threads: turn. Waits: for the commit. */
FRANCIS_API francis_result francis_flush(francis_ctx *ctx, francis_call *call);

/* francis_interrupted: whether it makes sense to go on.
 *   ctx  of a turn
 * Returns OK = go on. Else why to return soon, best with this very code: DEADLINE, EVICTED,
 * STORAGE, FULL, UNKNOWN (the activation is lost), CANCELLED, STOPPED or MOVED (host or actor goes
 * down; the turn may still commit). Threads: turn. Waits: never. */
FRANCIS_API francis_result francis_interrupted(const francis_ctx *ctx);

/* francis_alloc: zeroed memory that the end of the turn frees.
 *   ctx   of a turn
 *   size  bytes
 * Returns memory aligned for any type; NULL = no memory, or no turn.
 * Threads: turn. Waits: never. */
FRANCIS_API void *francis_alloc(francis_ctx *ctx, size_t size);

/* francis_now: Unix time in milliseconds, fixed within a turn.
 * francis_random: fills data with size random bytes, seeded on a simulated platform.
 *   ctx  a turn's or francis_host_ctx
 * francis_random returns OK or INTERNAL if the system has no randomness; data is zeroed then.
 * Threads: any. Waits: never. */
FRANCIS_API int64_t francis_now(francis_ctx *ctx);
FRANCIS_API francis_result francis_random(francis_ctx *ctx, void *data, size_t size);

// >> 150 pub.call

/* francis_invoke: runs a method of an actor in a turn of its own, alone.
 * francis_peek: the same in a shared, read-only turn; many overlap.
 *   ctx     the handler's own in a handler, francis_host_ctx elsewhere
 *   type    of the actor, and
 *   id      of it; both NULL = the actor whose turn it is. Copied
 *   method  copied
 *   data    the input; copied. NULL with size 0 = none
 *   size    bytes, at most host_desc.message_bytes_max
 *   call    options, reply, error text; NULL = neither is wanted
 * Returns OK: done, and durable if it wrote. PENDING: only with .async or .on_done; that, and only
 * that, is followed by francis_wait, francis_await or on_done. Else the actor's own code, or:
 *   INVALID      a name is empty, longer than 255 bytes or contains '/'; a bad timeout_ms
 *   RESERVED     the type begins with "francis."
 *   TOO_LARGE    input above message_bytes_max
 *   USAGE        the host is not started, or this is a forked child
 *   WOULD_BLOCK  it would have to wait where that is impossible: use .async
 *   DEADLOCK     the actor waits, over other calls, for this very one; the text shows the chain
 *   BUSY         mailbox_max, calls_max, chain depth, or every worker waits already
 *   NO_HOST      concurrency_max reached; UNKNOWN_TYPE, NOT_ACTIVE, MOVED, STOPPED
 *   UNKNOWN_METHOD, BAD_INPUT, READ_ONLY, EXISTS
 *   DEADLINE     too late, and nothing was written. Too late after that: UNKNOWN
 *   FULL, STORAGE, LOCKED, EVICTED, CORRUPT, SCHEMA, NOMEM, UNKNOWN
 * francis_outcome says what each means. From a turn: waits for the earlier turns of that actor,
 * shows nothing of this one, and is not undone when this one fails.
 * Threads: any (without workers: the one that polls; others only asynchronously).
 * Waits: until answered, at most timeout_ms; never with .async or .on_done. */
FRANCIS_API francis_result francis_invoke(francis_ctx *ctx, const char *type, const char *id,
                                          const char *method, const void *data, size_t size,
                                          francis_call *call);
FRANCIS_API francis_result francis_peek(francis_ctx *ctx, const char *type, const char *id,
                                        const char *method, const void *data, size_t size,
                                        francis_call *call);

/* francis_send: an invoke without answer, at most once. For news, not for money.
 *   as francis_invoke; from a turn it leaves after the commit, if there is one
 * Returns OK: on its way. INVALID, RESERVED, TOO_LARGE, USAGE, BUSY, STOPPED, UNKNOWN_TYPE, NOMEM:
 * it is not. In a turn a refused one does not fail the turn. Threads: any. Waits: never. */
FRANCIS_API francis_result francis_send(francis_ctx *ctx, const char *type, const char *id,
                                        const char *method, const void *data, size_t size);

/* francis_wait: waits for one asynchronous call and brings its answer into *call.
 *   ctx   the one that the call was made with
 *   call  if it is not under way its last result is returned at once
 * Returns call->result; WOULD_BLOCK where waiting is impossible (the call goes on): in a turn
 * without workers, in a callback. Threads: any. Waits: until answered, at most its timeout_ms. */
FRANCIS_API francis_result francis_wait(francis_ctx *ctx, francis_call *call);

/* francis_await: "return francis_await(ctx, next, local);": when all asynchronous calls of the turn
 * have been answered, next goes on with the same turn, ctx->local = local. No thread waits
 * meanwhile, and no other turn of the actor that excludes this one runs.
 *   ctx    of a turn
 *   next   handler that goes on; it may await again
 *   local  handed on; of the turn's own memory (francis_alloc), or NULL
 * Returns PENDING, or an error to be returned: USAGE outside of a turn, INVALID without next.
 * Threads: turn. Waits: never. */
FRANCIS_API francis_result francis_await(francis_ctx *ctx, francis_handler next, void *local);

/* francis_expect: an asynchronous call that the application answers by the ticket: francis_await
 * then waits for a device, a thread, a child process, at most call->timeout_ms.
 *   ctx   of a turn
 *   call  the caller's; gets what francis_answer brings
 * Returns the ticket; 0 = refused, call->result says why (BUSY, NOMEM, USAGE).
 * Threads: turn. Waits: never. */
FRANCIS_API uint64_t francis_expect(francis_ctx *ctx, francis_call *call);

/* francis_defer: the turn ends without a reply; its caller goes on waiting until another turn or a
 * thread answers the ticket, his time is up, or the activation ends (MOVED; UNKNOWN if this turn
 * wrote something). A parked caller keeps its actor from hibernating.
 *   ctx  of a turn that has a caller, whose call has no request_id
 * Returns the ticket; 0 = refused, the turn then fails as USAGE. Threads: turn. Waits: never. */
FRANCIS_API uint64_t francis_defer(francis_ctx *ctx);

/* francis_answer: answers a ticket. With the ctx of a turn it leaves after the commit.
 *   ctx     a turn's or francis_host_ctx
 *   ticket  of francis_expect or francis_defer
 *   result  what the call ends with: OK or any error
 *   data    the reply; copied
 *   size    bytes, at most host_desc.message_bytes_max
 * Returns OK; STALE: nobody waits for it any more, or somebody else has answered; TOO_LARGE,
 * INVALID (result PENDING), NOMEM: not answered. Threads: any. Waits: never. */
FRANCIS_API francis_result francis_answer(francis_ctx *ctx, uint64_t ticket, francis_result result,
                                          const void *data, size_t size);

// >> 152 pub.stream

/* What is wanted of a stream: bytes there and back, while one turn of the actor runs. */
typedef struct francis_stream_desc {
    const char *type, *id, *method; /* as of francis_invoke; a method of kind STREAM */
    const void *data;               /* ctx->input of the handler; more by francis_stream_write */
    size_t      size;
    const char *content_type;       /* of what is written; at most 255 bytes; NULL = none */
    bool        peek;               /* a method of kind PEEK_STREAM */
    bool        active_only;
    int64_t     timeout_ms;         /* until the answer begins; as of francis_call */
    uint64_t    bytes_max;          /* each way; 0 = 16 MiB; UINT64_MAX = no limit */
    void      (*on_ready)(francis_stream *stream, void *user);  /* set: read and write never wait
                                       but answer PENDING; this says when to try again. Called as
                                       on_done of a call is */
    void       *user;
} francis_stream_desc;

/* francis_stream_open: begins a stream to a method of an actor.
 *   ctx         the handler's own in a handler, francis_host_ctx elsewhere
 *   desc        copied, with all that it points to
 *   stream_out  set even on failure, and must be closed, unless memory ran out (NULL then). What a
 *               turn has opened and not closed, the end of the turn does
 * The same functions serve both ends: he who has opened it, and the handler with ctx->stream. A
 * stream has one user at a time.
 * Returns OK: it is under way; what becomes of it the first read tells, if not at once: all that
 * francis_invoke returns, and BUSY for streams_max. One that has been answered is not begun again
 * elsewhere: MOVED, TRANSPORT, UNKNOWN. Threads: any. Waits: never. */
FRANCIS_API francis_result francis_stream_open(francis_ctx *ctx, const francis_stream_desc *desc,
                                               francis_stream **stream_out);

/* francis_stream_read: what the other side has written.
 *   ctx       with which it was opened; of a handler's end the ctx of the turn
 *   data      out  at most size bytes, which are more than 0
 *   size_out  out  how many; 0 unless OK
 * Returns OK: at least one byte; DONE: the other side has ended, and there is no more; a cut is
 * never an end. PENDING: nothing is there yet, see below. Else how it ended: what the handler
 * returned, or CANCELLED: closed by the other side; TOO_LARGE: more than bytes_max; MOVED, STOPPED:
 * the actor that kept it is gone; EVICTED, TRANSPORT, UNKNOWN, DEADLINE, STORAGE, NOMEM ...; USAGE:
 * the stream is not this turn's; INVALID. francis_stream_error says it in words.
 * PENDING comes with .on_ready, and where waiting is impossible: in a turn without workers.
 * "return francis_await(ctx, next, local)" then goes on when it makes sense to try again.
 * WOULD_BLOCK: neither waiting nor that is possible here.
 * Threads: any, one at a time. Waits: for the other side. */
FRANCIS_API francis_result francis_stream_read(francis_ctx *ctx, francis_stream *stream,
                                               void *data, size_t size, size_t *size_out);

/* francis_stream_write: bytes for the other side; all of them or, unless OK, none.
 *   ctx   as of francis_stream_read. A kept stream is written by turns of the actor that keeps it
 *   data  copied
 *   size  bytes, at most host_desc.message_bytes_max
 * What a handler writes waits, as replies do, for the turns that it could have seen. Once its turn
 * has written state it waits for this turn's commit, too, at most stream_buffer_bytes of it: the
 * write that would exceed them is TOO_LARGE; francis_flush first. If the turn fails they are gone.
 * Returns OK; PENDING: stream_buffer_bytes wait already, see francis_stream_read; BUSY: the same of
 * a kept stream, which never waits; STALE: the handler has ended and reads no more; TOO_LARGE: more
 * than bytes_max in all; else as francis_stream_read. Threads: any, one at a time. Waits: until the
 * other side has made room. */
FRANCIS_API francis_result francis_stream_write(francis_ctx *ctx, francis_stream *stream,
                                                const void *data, size_t size);

/* francis_stream_end: no more comes from this side. The other one reads DONE when it has read all.
 * When a handler returns OK its end is ended by itself. Returns OK; USAGE; or how it ended before.
 * Threads: any, one at a time. Waits: never. */
FRANCIS_API francis_result francis_stream_end(francis_ctx *ctx, francis_stream *stream);

/* francis_stream_close: frees this end. He who has opened it and has not read it to its end breaks
 * it off: the handler reads CANCELLED, and its turn commits nothing, unless it is sealed already. A
 * kept end that has not been ended is broken off, too. A turn's own ctx->stream is closed by the
 * end of the turn; to close it before it has been ended breaks it off, and the turn fails. In
 * on_ready it may be called, too. Not after francis_close. NULL is ignored.
 * Threads: any. Waits: only for an on_ready of it in another thread. */
FRANCIS_API void francis_stream_close(francis_stream *stream);

/* francis_stream_keep: lets a handler's end outlive its turn, until it is closed or the activation
 * ends (MOVED for him who reads). Later turns of the activation write to it, each gated by its own
 * commit. If this turn fails the stream is broken off, but is still to be closed. As long as
 * somebody reads it the activation does not hibernate.
 *   stream  ctx->stream of the turn that runs; others are left as they are
 * Threads: turn. Waits: never. */
FRANCIS_API void francis_stream_keep(francis_stream *stream);

/* francis_stream_type: content type of what the other side sends; "" if it has none, or while it is
 * not known: of an answer until the first read. Borrowed until close.
 * francis_stream_set_type: of what a handler sends, before its first byte. Copied, at most 255
 * bytes. Returns OK; USAGE: too late, or the end of him who opened it; INVALID, NOMEM.
 * francis_stream_error: how it ended, in words; "" = it has not failed. Borrowed until close.
 * Threads: any, one at a time. Waits: never. */
FRANCIS_API const char    *francis_stream_type(const francis_stream *stream);
FRANCIS_API francis_result francis_stream_set_type(francis_stream *stream, const char *type);
FRANCIS_API const char    *francis_stream_error(const francis_stream *stream);

// >> 155 pub.durable

typedef enum francis_missed {       /* what of a repetition whose time has passed unused */
    FRANCIS_MISSED_ONCE,            /* runs once for all that were missed */
    FRANCIS_MISSED_SKIP,            /* not at all: the next one is in the future */
    FRANCIS_MISSED_ALL              /* each, one after the other, the last missed_max of them */
} francis_missed;

/* When something is due again: a duration ("90s", "1h30m", "250ms"; ISO 8601: "PT5M", "P1M"), five
 * cron fields ("0 9 * * 1-5"), "@daily" and its like, or "@every 1h"; if wanted behind
 * "TZ=Europe/Rome ", else in UTC. Times are counted from when it was scheduled, not from when it
 * ran; see docs/alarms.md. */
typedef struct francis_alarm {
    const char    *type, *id;       /* NULL, NULL = this actor */
    const char    *name;
    const void    *data;            /* copied; ctx->input of the handler */
    size_t         size;            /* bytes, at most message_bytes_max */
    int64_t        due_ms;          /* Unix time in ms, */
    int64_t        delay_ms;        /* or from now; neither = now, with cron and @every their
                                       first time */
    const char    *repeat;          /* NULL = once */
    int64_t        repeat_ms;       /* or so */
    int64_t        until_ms;        /* no repetition after this instant; 0 = no end */
    francis_missed missed;
    uint32_t       missed_max;      /* of MISSED_ALL; 1000 */
    bool           wait_for_clock;  /* does not run before the clock is past 2025 */
} francis_alarm;

/* francis_alarm_set: makes an alarm, or replaces the actor's one of that name. One that has the
 * same properties already is left as it is, attempts included (a delay_ms never is the same).
 * francis_alarm_delete: forgets it; looks at type, id and name only.
 *   ctx    a turn's: it becomes part of the turn, or does not happen; or francis_host_ctx
 *   alarm  copied
 *   call   options, error text; may be NULL
 * The actor need not be active, and no host need serve its type. An alarm is done, or armed for the
 * next time, in the commit of its own handler's turn. If the handler sets or deletes it, that
 * stands instead.
 * Returns OK; NOT_FOUND: delete, there is none (a turn does not fail by that); INVALID: which
 * option, and why; UNKNOWN_METHOD: the type is served here and has no handler for it; TOO_LARGE;
 * RESERVED, READ_ONLY, NOMEM. Outside of turns also PENDING, DEADLINE, LOCKED, STORAGE, FULL,
 * UNKNOWN, STOPPED, USAGE, WOULD_BLOCK.
 * Threads: any. Waits: outside of turns for the commit, unless .async. */
FRANCIS_API francis_result francis_alarm_set(francis_ctx *ctx, const francis_alarm *alarm,
                                             francis_call *call);
FRANCIS_API francis_result francis_alarm_delete(francis_ctx *ctx, const francis_alarm *alarm,
                                                francis_call *call);

typedef struct francis_job {
    const char *type, *id;          /* NULL, NULL = this actor */
    const char *method;
    const void *data;               /* copied */
    size_t      size;               /* bytes, at most message_bytes_max */
    int64_t     due_ms, delay_ms;   /* as of alarms */
    const char *repeat;
    int64_t     repeat_ms;
    int64_t     until_ms;
    const char *request_id;         /* as of calls: the work is done once, and a second dispatch is
                                       the first one */
} francis_job;

/* francis_job_dispatch: lets an actor do something later, or soon: a row that is stored, and a turn
 * of kind JOB that is repeated until it has succeeded, attempts_max times.
 *   ctx   a turn's: it becomes part of the turn, so that state and job are one; or francis_host_ctx
 *   job   copied
 *   call  call->data is the job's id as text, call->size its length; outside of turns "" if the
 *         work of that request_id is done already (in a turn an id that is never used). May be NULL
 * A handler that returns ERR_PERMANENT is not tried again; one that returns ERR_REJECTED lets
 * another host try, which costs no attempt. After the last attempt the job is kept among the dead
 * ones, and job_failed is told. When a job of a repetition dies the next one is due nevertheless,
 * under a new id.
 * Returns OK; EXISTS: the request_id stands for another method or other data; else as
 * francis_alarm_set. Threads: any. Waits: as francis_alarm_set. */
FRANCIS_API francis_result francis_job_dispatch(francis_ctx *ctx, const francis_job *job,
                                                francis_call *call);

/* francis_job_cancel: forgets a job, dead or alive. One that runs is told by francis_interrupted,
 * and what it writes does not count.
 * francis_job_retry: brings a dead one back as it was, due now; call->data is its new id. If its
 *   next occurrence, or another job with its request_id, lives, it comes back once, without them.
 *   ctx     a turn's: it becomes part of the turn; or francis_host_ctx
 *   job_id  as francis_job_dispatch or a list gave it
 *   call    options, error text; may be NULL
 * Returns OK; NOT_FOUND: there is no such job, or, retry, no dead one; else as francis_alarm_set.
 * Threads: any. Waits: as francis_alarm_set. */
FRANCIS_API francis_result francis_job_cancel(francis_ctx *ctx, const char *job_id,
                                              francis_call *call);
FRANCIS_API francis_result francis_job_retry(francis_ctx *ctx, const char *job_id,
                                             francis_call *call);

/* francis_state_read: the state of any actor as it is committed. Activates nothing.
 *   ctx, type, id  as of francis_invoke
 *   call           call->data is the state
 * Returns OK; NOT_FOUND = none, or expired; INVALID, RESERVED, USAGE, STORAGE, CORRUPT, NOMEM.
 * Threads: any. Waits: for one read of the database. */
FRANCIS_API francis_result francis_state_read(francis_ctx *ctx, const char *type, const char *id,
                                              francis_call *call);

/* francis_state_write: sets or deletes the state of any actor, as a turn of that actor.
 *   ctx, type, id  as of francis_invoke; in a turn NULL, NULL is francis_state_set
 *   data           copied; NULL deletes
 *   size           bytes, at most state_bytes_max; for a type with state_size at most that
 *   expire_ms      from now; 0 and FOREVER = does not expire
 *   call           options, error text; may be NULL
 * A type that this host does not serve is written directly if the actor is active nowhere.
 * Returns OK; NOT_FOUND: nothing to delete; READ_ONLY in a peek; else as francis_invoke.
 * Threads: any. Waits: as francis_invoke. */
FRANCIS_API francis_result francis_state_write(francis_ctx *ctx, const char *type, const char *id,
                                               const void *data, size_t size, int64_t expire_ms,
                                               francis_call *call);

/* francis_purge: forgets an actor: state, alarms, jobs and dead letters at once, as a turn of it.
 * Answers kept for request ids stay until their time is up. In a turn NULL, NULL is the own actor,
 * with the turn. Returns OK, also if there was nothing; else as francis_state_write.
 * Threads: any. Waits: as francis_invoke. */
FRANCIS_API francis_result francis_purge(francis_ctx *ctx, const char *type, const char *id,
                                         francis_call *call);

/* francis_halt: hibernates an actor: running turns finish, deactivate runs, memory is freed.
 * Waiting calls are served by its next activation. In a turn NULL, NULL is the own actor, after the
 * turn.
 * francis_halt_all: all actors that are active on this host now.
 * Returns OK: it is gone. NOT_ACTIVE: halt, it was not active here. READ_ONLY in a peek; DEADLINE:
 * it goes on going down. STORAGE, LOCKED: it is gone, its placement row is not.
 * Threads: any. Waits: as francis_invoke. */
FRANCIS_API francis_result francis_halt(francis_ctx *ctx, const char *type, const char *id,
                                        francis_call *call);
FRANCIS_API francis_result francis_halt_all(francis_ctx *ctx, francis_call *call);

typedef enum francis_list_kind {
    FRANCIS_LIST_STATES = 0,        /* .type, .id, data, expires_ms */
    FRANCIS_LIST_ALARMS = 1,        /* .type, .id, name, data, due_ms, until_ms, created_ms, repeat,
                                       attempts, error, status */
    FRANCIS_LIST_JOBS = 2,          /* the same; name = method, job_id, request_id */
    FRANCIS_LIST_DEAD_JOBS = 3,     /* the same, and failed_ms */
    FRANCIS_LIST_ACTIVE = 4,        /* .type, .id, host, created_ms */
    FRANCIS_LIST_HOSTS  = 5,        /* host, name = address, created_ms = last seen */
    FRANCIS_LIST_TYPES  = 6         /* .type, host */
} francis_list_kind;

typedef enum francis_status {
    FRANCIS_STATUS_WAITING,         /* until it is due, and has its turn */
    FRANCIS_STATUS_RUNNING,         /* on this host; of others that is not known */
    FRANCIS_STATUS_RETRYING,        /* the last attempt has failed */
    FRANCIS_STATUS_DEAD
} francis_status;

typedef struct francis_item {       /* "" and 0 where it does not apply */
    const char *type, *id;
    const char *name;               /* of the alarm; method of the job; address of the host */
    const char *host;
    const void *data;               /* with .with_data */
    size_t      size;
    int64_t     created_ms, expires_ms;
    const char *job_id, *request_id;
    int64_t     due_ms, until_ms, failed_ms;
    const char *repeat;             /* in its plainest form: "90s" is "PT1M30S" */
    francis_status status;
    uint32_t    attempts;           /* that have failed */
    const char *error;              /* of the last of them */
} francis_item;

/* {0} with .what and the filters set is a new list. Filters must stay until it is freed. */
typedef struct francis_list {
    francis_list_kind what;
    const char *type;               /* NULL = of all types */
    const char *id;                 /* of this actor only */
    const char *name;               /* this alarm, or job of this id, only */
    const char *after;              /* go on behind this cursor */
    uint32_t    limit;              /* items in all; 0 = no limit. Pages are fetched as needed */
    bool        with_data;

    francis_item   item;            /* valid until the next one */
    const char    *cursor;          /* of item, for .after of another list */
    francis_result result;
    const char    *error;
    void          *internal;
} francis_list;

/* francis_list_next: the next item of what is committed, in the order of the keys' bytes.
 *   ctx   a turn's or francis_host_ctx
 *   list  the caller's; one thread at a time
 * Returns OK with list->item; DONE after the last; INVALID (unknown kind, bad name or cursor),
 * USAGE, STORAGE, CORRUPT, NOMEM with list->error. Because the cursor is a key, changes beside a
 * list shift nothing. francis_list_free: frees what it holds; before francis_close; NULL allowed.
 * Threads: any. Waits: for a read of the database, once per page. */
FRANCIS_API francis_result francis_list_next(francis_ctx *ctx, francis_list *list);
FRANCIS_API void           francis_list_free(francis_list *list);

// >> 160 pub.host

typedef enum francis_profile {
    FRANCIS_PROFILE_SERVER,         /* 4 KiB pages, commit at once, 16 MiB of log */
    FRANCIS_PROFILE_FLASH           /* 1 KiB pages (new files), commits gathered for 20 ms, 1 MiB */
} francis_profile;

typedef enum francis_durability {
    FRANCIS_SURVIVES_POWER_CUT,     /* each commit is synced */
    FRANCIS_SURVIVES_CRASH,         /* of the process, not of the machine */
    FRANCIS_SURVIVES_NOTHING        /* for tests and caches */
} francis_durability;

struct sqlite3;

typedef struct francis_host_desc {
    /* where the data is: exactly one of database, sqlite */
    const char     *database;       /* a file, or ":memory:" */
    struct sqlite3 *sqlite;         /* yours; with workers used at any time, else inside francis
                                       calls only; not closed */
    const char     *table_prefix;   /* "francis"; a letter or '_', then digits, too */
    francis_result (*on_database)(struct sqlite3 **db_out, const char *database, int flags,
                                  void *user);  /* opens a connection to database (keys, VFS,
                                       pragmas); flags as of sqlite3_open_v2; closed by francis */
    void           *database_user;
    bool            any_filesystem; /* also one that machines may share (NFS, SMB, FUSE), or a file
                                       that is a mount point: you know that one machine uses it */
    /* who else has the file: other processes, each a host of its own */
    const char     *address;        /* "host:port" by which others reach this one; NULL = none */
    const char     *bind_address;   /* to listen on; NULL = address; ":7571" = all that there are */
    const char     *cluster_key;    /* at least 32 bytes, the same on all hosts: they call each
                                       other, over TLS. NULL = an actor elsewhere is MOVED */
    const char     *cluster_keys_old;   /* also trusted, one per line: see docs/security.md */
    uint32_t        hosts_max;      /* the same for all hosts of a file; no limit */
    int64_t         health_deadline_ms; /* a silent host is evicted after it; 20 s */
    int64_t         lease_ms;       /* how long a look at the own row counts; a quarter of that */
    int64_t         lease_margin_ms;    /* others wait longer by this; a twentieth of that */
    bool            kill_stuck_host;    /* SIGKILL for a process of the same user that has kept the
                                       write lock for health_deadline_ms without a commit */
    /* how it runs */
    int             workers;        /* one per core; NO_WORKERS = all inside francis_poll */
    uint32_t        blocked_max;    /* turns that wait for a call, each with its thread; 64 */
    francis_profile profile;
    francis_durability durability;
    bool            no_signal_handlers; /* francis_run leaves SIGINT and SIGTERM alone */
    int64_t         timeout_ms;     /* of a call; 30 s */
    int64_t         stop_timeout_ms;    /* for what still runs at the end; 30 s */
    int64_t         busy_timeout_ms;    /* for a database that others lock; 5 s */
    int64_t         commit_window_ms;   /* gather turns for so long; 0 = by profile */
    int64_t         sweep_interval_ms;  /* expired states and answers are deleted, if the clock
                                       is past 2025 and was not set for an hour; 10 min; FOREVER */
    uint32_t        calls_max;      /* in flight; 65536 */
    uint32_t        state_bytes_max;    /* 1 MiB */
    uint32_t        message_bytes_max;  /* input, reply, or one write to a stream; 4 MiB */
    uint32_t        streams_max;    /* ends of streams on this host; 4096 */
    uint32_t        stream_buffer_bytes;    /* written and not read, each way, and what a turn that
                                       has written state may stream before it ends; 64 KiB */
    uint64_t        wal_bytes_max;  /* of the write-ahead log, before it is restarted; by profile */
    uint64_t        memory_bytes_max;   /* of the whole host, without SQLite's own; no limit */
    /* hooks */
    francis_alloc_fn on_alloc;
    void           *alloc_user;
    void          (*on_log)(const francis_log *record, void *user);  /* NULL = to stderr */
    void           *log_user;
    francis_log_level log_level;    /* WARNING */
    const francis_platform *platform;
    const char     *name;           /* of its threads, and in the log */
} francis_host_desc;

/* francis_open: opens the database and makes a host that does not run yet.
 *   host_out  set even on failure, and must be closed, unless memory ran out
 *   desc      copied
 * francis_register: adds an actor type; before start.
 *   desc      copied, strings and methods included
 * The first failure of either sticks to the host and is what start and run return, so that only
 * these need a check; francis_host_error says it in words.
 * Returns OK; INVALID names the option, or says why the place of the file will not do (see
 * any_filesystem); LOCKED: a live host of another implementation, or an SQLite user, has the
 * database; STORAGE, FULL, CORRUPT (not a database, or damaged), SCHEMA (newer); register: EXISTS
 * (the type is registered already), RESERVED, USAGE (the host has started); NOMEM.
 * Threads: owner. Waits: for the database, at most busy_timeout_ms. */
FRANCIS_API francis_result francis_open(francis_host **host_out, const francis_host_desc *desc);
FRANCIS_API francis_result francis_register(francis_host *host, const francis_actor_desc *desc);

/* francis_start: joins, starts threads, returns when calls are served.
 * francis_run: starts if need be, returns when the host has stopped: by francis_stop, SIGINT or
 * SIGTERM. One host per process may handle signals; the others set no_signal_handlers.
 * Returns OK; what stuck to the host; USAGE: started before, or after stop; EXISTS: a host that
 * lives has this address; LOCKED: hosts_max of them live, or the database is busy; INVALID:
 * hosts_max is not that of the others; STORAGE, FULL, NOMEM; INTERNAL: no thread could be created;
 * run: what ended the host if it was not asked to.
 * NULL, as open leaves it when memory ran out, is answered with NOMEM.
 * Threads: owner. Waits: start for the database, run until stopped. */
FRANCIS_API francis_result francis_start(francis_host *host);
FRANCIS_API francis_result francis_run(francis_host *host);

/* francis_stop: asks the host to stop. What runs may finish (and the calls that it makes) within
 * stop_timeout_ms, what waits gets STOPPED, and so do streams to other hosts that no turn has
 * opened, for they may never end; all actors are deactivated.
 * Threads: any; also from a signal handler. Waits: never. NULL is ignored. */
FRANCIS_API void francis_stop(francis_host *host);

/* francis_close: stops, waits and frees. A handler that never returns keeps it waiting. Frees what
 * calls that are still held have brought; they must not be used afterwards. In a forked child it
 * does nothing at all: everything belongs to the parent. NULL is ignored.
 * Threads: owner. Waits: for running handlers and the database. */
FRANCIS_API void francis_close(francis_host *host);

/* francis_host_error: the first failure of the host in words; "" if there was none. Borrowed until
 * close. francis_host_ctx: the ctx for all that happens outside of turns, shared by all threads;
 * valid until close; NULL for NULL. Threads: any. Waits: never. */
FRANCIS_API const char  *francis_host_error(const francis_host *host);
FRANCIS_API francis_ctx *francis_host_ctx(francis_host *host);

/* francis_poll: does what is due, waiting for it at most timeout_ms (0 = not at all; FOREVER).
 * Without workers turns, commits, timers and callbacks all happen in here; with them it just waits.
 * Returns OK; STOPPED once the host has come to rest; USAGE: not started, forked; WOULD_BLOCK:
 * called from inside itself. Threads: owner. Waits: at most timeout_ms, and for commits. */
FRANCIS_API francis_result francis_poll(francis_host *host, int64_t timeout_ms);

/* francis_fd: one descriptor that is readable when francis_poll has something to do, timers
 * included: for epoll, kqueue, libuv, asyncio. -1 where the system has none, before start, and with
 * workers. francis_pollfds: fills at most max entries to be polled instead; returns how many there
 * are. francis_timeout: ms until francis_poll has something to do by itself; FOREVER = nothing.
 * All are francis's own: poll them, no more. Threads: owner. Waits: never. */
FRANCIS_API int     francis_fd(francis_host *host);
FRANCIS_API int     francis_pollfds(francis_host *host, struct pollfd *fds, int max);
FRANCIS_API int64_t francis_timeout(francis_host *host);

// >> 165 pub.watch

typedef struct francis_stats {
    char     host_id[40];
    uint64_t activations, deactivations, active;
    uint64_t turns, turns_failed, turns_stuck, peeks;
    uint64_t calls_local, calls_out, calls_in, calls_refused, replays;
    uint64_t commits, commits_failed, commits_unknown, commit_turns, commit_rows, bytes_written;
    uint64_t bootstraps_failed;
    uint64_t alarms_fired, alarms_failed;   /* turns that have committed; attempts that failed */
    uint64_t alarms_given_up;       /* after attempts_max; a repetition goes on with the next */
    uint64_t jobs_done, jobs_retried, jobs_dead;
    uint64_t queue_alarms;          /* alarms and jobs of the next seconds, in memory */
    uint64_t queue_turns, queue_commits, calls_in_flight;
    uint64_t threads_blocked;
    uint64_t streams;               /* ends that are here now */
    uint64_t connections, reconnects;
    uint64_t evictions;             /* of others, by this host */
    uint64_t lives;                 /* 1 + how often this host was evicted and has joined again */
    uint64_t wal_bytes;
    uint64_t memory_bytes, memory_bytes_peak;
} francis_stats;

typedef struct francis_health {     /* ages in ms, 0 = nothing waits: if small, feed the watchdog */
    int64_t step_age_ms;            /* since the loop last moved */
    int64_t turn_age_ms;            /* of the oldest turn that runs */
    int64_t commit_age_ms;          /* of the oldest sealed turn that is not committed */
    int64_t lease_age_ms;           /* since the last renewal began; see lease_ms */
    int64_t busy_age_ms;            /* for so long others have kept the write lock from this host */
    int64_t overdue_age_ms;         /* of the oldest alarm or job that could run and does not */
    int64_t busy_process;           /* which process has it, once that is a second; 0 = unknown */
    bool    ready, draining;
} francis_health;

/* francis_stats_get, francis_health_get: counters since start, and ages for a watchdog.
 * francis_desc_get: the desc with all defaults filled in; borrowed until close.
 * Threads: any. Waits: never. */
FRANCIS_API void francis_stats_get(francis_host *host, francis_stats *stats_out);
FRANCIS_API void francis_health_get(francis_host *host, francis_health *health_out);
FRANCIS_API void francis_desc_get(const francis_host *host, francis_host_desc *desc_out);

/* francis_ca_pem: the certificate of the authority that a cluster key stands for, as PEM text, to
 * be pinned by those who do not know the key. The same bytes at each call.
 *   cluster_key  in   at least 32 bytes, without line breaks
 *   pem_out      out  1 KiB is enough; "" on failure
 * Returns OK, INVALID (key missing or too short), TOO_LARGE (more than pem_size), NOMEM, INTERNAL.
 * Threads: any. Waits: never. */
FRANCIS_API francis_result francis_ca_pem(const char *cluster_key, char *pem_out, size_t pem_size);

/* francis_version_number: of the implementation that is linked, as FRANCIS_VERSION_NUMBER.
 * francis_build_info: how it was configured, as "NAME=value" words. Threads: any. Waits: never. */
FRANCIS_API int         francis_version_number(void);
FRANCIS_API const char *francis_build_info(void);

#ifdef __cplusplus
}
#endif

#endif /* FRANCIS_H */

/* ------------------------------------------------------------------------------------------------
 *
 *                                      IMPLEMENTATION
 *
 * ---------------------------------------------------------------------------------------------- */
#if defined(FRANCIS_IMPLEMENTATION) && !defined(FRANCIS_IMPLEMENTED)
#define FRANCIS_IMPLEMENTED

// >> 200 impl.head | needs: nothing
//    System and dependency headers, and what differs between systems.

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

#include <sqlite3.h>

#include <mbedtls/asn1.h>
#include <mbedtls/base64.h>
#include <mbedtls/bignum.h>
#include <mbedtls/ecp.h>
#include <mbedtls/entropy.h>
#include <mbedtls/hkdf.h>
#include <mbedtls/md.h>
#include <mbedtls/oid.h>
#include <mbedtls/pem.h>
#include <mbedtls/pk.h>
#include <mbedtls/platform_util.h>
#include <mbedtls/ssl.h>
#include <mbedtls/version.h>
#include <mbedtls/x509_crt.h>

#if MBEDTLS_VERSION_NUMBER < 0x021c0000 || MBEDTLS_VERSION_NUMBER >= 0x04000000 || \
    (MBEDTLS_VERSION_NUMBER >= 0x03000000 && MBEDTLS_VERSION_NUMBER < 0x03060000)
#error "francis: mbedTLS 2.28 or 3.6 is needed"
#endif
#if !defined(MBEDTLS_SSL_CLI_C) || !defined(MBEDTLS_SSL_SRV_C) || !defined(MBEDTLS_SSL_ALPN) || \
    !defined(MBEDTLS_SSL_PROTO_TLS1_2) || !defined(MBEDTLS_KEY_EXCHANGE_ECDHE_ECDSA_ENABLED) || \
    !defined(MBEDTLS_ECDSA_DETERMINISTIC) || !defined(MBEDTLS_ECP_DP_SECP256R1_ENABLED) || \
    !defined(MBEDTLS_HKDF_C) || !defined(MBEDTLS_PEM_WRITE_C) || !defined(MBEDTLS_PK_WRITE_C)
#error "francis: mbedTLS lacks one of TLS 1.2, ECDHE-ECDSA, ALPN, HKDF, PEM and key writing"
#endif
#define FRN_MBED3 (MBEDTLS_VERSION_NUMBER >= 0x03000000)
#if FRN_MBED3 && defined(MBEDTLS_SSL_PROTO_TLS1_3)
#define FRN_TLS13 1
#else
#define FRN_TLS13 0
#endif
#if FRN_TLS13 || defined(MBEDTLS_USE_PSA_CRYPTO)
#include <psa/crypto.h>
#define FRN_PSA 1
#else
#define FRN_PSA 0
#endif
#if FRN_PSA && !defined(MBEDTLS_THREADING_C)
#error "francis: build mbedTLS with MBEDTLS_THREADING_C; its PSA is not safe for threads without it"
#endif

#if !defined(CLOCK_MONOTONIC) || !defined(SIGTERM) || !defined(_POSIX_VERSION)
#error "francis: POSIX is hidden; include francis.h first, or define _POSIX_C_SOURCE=200809L"
#endif
#if SQLITE_VERSION_NUMBER < 3037000
#error "francis: SQLite 3.37 or newer is needed (STRICT tables)"
#endif

#if defined(__linux__)
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/timerfd.h>
#include <sys/vfs.h>
#define FRN_EPOLL 1
#define FRN_KQUEUE 0
#elif defined(__APPLE__) || defined(__FreeBSD__) || defined(__OpenBSD__) || defined(__NetBSD__)
#include <sys/event.h>
#include <sys/param.h>
#include <sys/mount.h>
#include <sys/time.h>
#define FRN_EPOLL 0
#define FRN_KQUEUE 1
#else
#define FRN_EPOLL 0
#define FRN_KQUEUE 0
#endif

#define FRN_CLOCK CLOCK_MONOTONIC   /* of deadlines and timers */

// >> 210 base | needs: 200
//    Assertions, checked arithmetic, atomics, hashing.

/* Believed to hold always. In debug builds a false one stops the program on the spot. */
#if FRANCIS_DEBUG
#define FRN_ASSERT(c) ((c) ? (void)0 : __builtin_trap())
#else
#define FRN_ASSERT(c) ((void)0)
#endif

#define FRN_STATIC_ASSERT(name, c) typedef char frn_static_assert_##name[(c) ? 1 : -1]
#define FRN_COUNT(array)           (sizeof(array) / sizeof((array)[0]))
#define FRN_OF(type, member, p)    ((type *)((uintptr_t)(p) - offsetof(type, member)))
#define FRN_TAIL(p)                ((void *)((uintptr_t)(p) + sizeof *(p)))  /* behind it */
#define FRN_MS                     INT64_C(1000000)     /* nanoseconds in a millisecond */
#define FRN_NEVER                  INT64_MAX            /* an instant that does not come */

/* Values that two threads touch outside of the host's lock go through these. */
#define FRN_LOAD(p)     __atomic_load_n((p), __ATOMIC_ACQUIRE)
#define FRN_STORE(p, v) __atomic_store_n((p), (v), __ATOMIC_RELEASE)

FRN_STATIC_ASSERT(alignment, sizeof(int64_t) == 8 && sizeof(size_t) >= 4);

static bool frn_add_fits(size_t a, size_t b, size_t *sum)
{
    *sum = a + b;
    return *sum >= a;
}

static int64_t frn_add_time(int64_t at, int64_t by)     /* both >= 0; stops at FRN_NEVER */
{
    return at > FRN_NEVER - by ? FRN_NEVER : at + by;
}

static int64_t frn_ms_to_ns(int64_t ms)
{
    return ms < 0 || ms > FRN_NEVER / FRN_MS ? FRN_NEVER : ms * FRN_MS;
}

static uint64_t frn_load64(const unsigned char *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static uint64_t frn_load_rest(const unsigned char *p, size_t n)     /* 1 to 7 bytes */
{
    uint32_t low, high;

    if (n < 4)
        return (uint64_t)p[0] | (uint64_t)p[n / 2] << 8 | (uint64_t)p[n - 1] << 16;
    memcpy(&low, p, sizeof low);
    memcpy(&high, p + n - 4, sizeof high);
    return (uint64_t)low | (uint64_t)high << 32;
}

/* Not cryptographic; the seed keeps strangers from choosing ids that collide. */
static uint64_t frn_hash(uint64_t seed, const void *data, size_t size)
{
    const unsigned char *p = (const unsigned char *)data;
    const uint64_t       k = UINT64_C(0x9fb21c651e98df25);
    uint64_t             h = seed ^ ((uint64_t)size * k);

    for (; size >= 8; size -= 8, p += 8) {
        h = (h ^ frn_load64(p)) * k;
        h ^= h >> 35;
    }
    if (size > 0) {
        h = (h ^ frn_load_rest(p, size)) * k;
        h ^= h >> 35;
    }
    h *= UINT64_C(0xd6e8feb86659fd93);
    return h ^ (h >> 32);
}

typedef struct frn_result_row {
    francis_result       number;
    const char          *name;
    francis_outcome_kind outcome;
    bool                 retry;
    const char          *text;
} frn_result_row;

static const frn_result_row frn_result_rows[] = {
#define FRN_X(name, number, wire, outcome, retry, text) \
    { number, wire, FRANCIS_OUTCOME_##outcome, (retry) != 0, text },
    FRANCIS_RESULTS(FRN_X)
#undef FRN_X
};

static const frn_result_row *frn_result_find(francis_result r)
{
    const frn_result_row *internal = NULL;
    size_t                i;

    if (r >= FRANCIS_ERR_USER)
        r = FRANCIS_ERR_USER;
    for (i = 0; i < FRN_COUNT(frn_result_rows); i++) {
        if (frn_result_rows[i].number == r)
            return &frn_result_rows[i];
        if (frn_result_rows[i].number == FRANCIS_ERR_INTERNAL)
            internal = &frn_result_rows[i];
    }
    return internal;
}

static bool frn_result_known(francis_result r)
{
    return r >= FRANCIS_ERR_USER || frn_result_find(r)->number == r;
}

// >> 220 mem | needs: 210
//    The only user of the allocator. Everything that is freed says how large it was, so that
//    accounting and caps cost nothing. Buffers count their owners.

typedef struct frn_mem {
    francis_alloc_fn fn;            /* NULL = realloc() and free() */
    void            *user;
    pthread_mutex_t  lock;          /* around fn, which is never called from two threads at once */
    uint64_t         used, peak, max;
} frn_mem;

static void *frn_mem_call(frn_mem *m, void *old, size_t size_old, size_t size_new)
{
    void *p = NULL;

    if (m->fn == NULL) {
        if (size_new != 0)
            return realloc(old, size_new);
        free(old);
        return NULL;
    }
    (void)pthread_mutex_lock(&m->lock);
    p = m->fn(old, size_old, size_new, m->user);
    (void)pthread_mutex_unlock(&m->lock);
    return p;
}

static void *frn_mem_resize(frn_mem *m, void *old, size_t size_old, size_t size_new)
{
    uint64_t used, peak;
    void    *p;

    used = __atomic_add_fetch(&m->used, (uint64_t)size_new, __ATOMIC_RELAXED);
    if (m->max != 0 && used > m->max && size_new > size_old) {
        (void)__atomic_sub_fetch(&m->used, (uint64_t)size_new, __ATOMIC_RELAXED);
        return NULL;
    }
    p = frn_mem_call(m, old, size_old, size_new);
    if (p == NULL && size_new != 0) {
        (void)__atomic_sub_fetch(&m->used, (uint64_t)size_new, __ATOMIC_RELAXED);
        return NULL;
    }
    used = __atomic_sub_fetch(&m->used, (uint64_t)size_old, __ATOMIC_RELAXED);
    peak = __atomic_load_n(&m->peak, __ATOMIC_RELAXED);
    while (used > peak && !__atomic_compare_exchange_n(&m->peak, &peak, used, true,
                                                       __ATOMIC_RELAXED, __ATOMIC_RELAXED))
        continue;
    return p;
}

static void *frn_mem_alloc(frn_mem *m, size_t size)     /* zeroed */
{
    void *p = frn_mem_resize(m, NULL, 0, size);
    if (p != NULL)
        memset(p, 0, size);
    return p;
}

static void frn_mem_free(frn_mem *m, void *p, size_t size)
{
    if (p != NULL)
        (void)frn_mem_resize(m, p, size, 0);
}

static char *frn_mem_strdup(frn_mem *m, const char *text)
{
    size_t size = strlen(text) + 1;
    char  *p = (char *)frn_mem_resize(m, NULL, 0, size);
    if (p != NULL)
        memcpy(p, text, size);
    return p;
}

static void frn_mem_strfree(frn_mem *m, char *text)
{
    if (text != NULL)
        frn_mem_free(m, text, strlen(text) + 1);
}

/* Bytes with counted owners, aligned for any type, followed by a NUL. Shared ones never change. */
typedef struct frn_buf {
    size_t   size;
    uint32_t refs;
    uint32_t spare[sizeof(size_t) == 8 ? 1 : 2];
} frn_buf;

FRN_STATIC_ASSERT(buf_alignment, sizeof(frn_buf) == 16);

#define FRN_BYTES(b) FRN_TAIL(b)

static frn_buf *frn_buf_new(frn_mem *m, size_t size)    /* contents undefined but for the NUL */
{
    size_t   total;
    frn_buf *b = NULL;

    if (frn_add_fits(size, sizeof *b + 1, &total))
        b = (frn_buf *)frn_mem_resize(m, NULL, 0, total);
    if (b != NULL) {
        b->size = size;
        b->refs = 1;
        ((char *)FRN_BYTES(b))[size] = '\0';
    }
    return b;
}

static frn_buf *frn_buf_copy(frn_mem *m, const void *data, size_t size)
{
    frn_buf *b = frn_buf_new(m, size);
    if (b != NULL && size > 0)
        memcpy(FRN_BYTES(b), data, size);
    return b;
}

static frn_buf *frn_buf_text(frn_mem *m, const char *text)
{
    return frn_buf_copy(m, text, strlen(text));
}

static frn_buf *frn_buf_ref(frn_buf *b)
{
    if (b != NULL)
        (void)__atomic_add_fetch(&b->refs, 1u, __ATOMIC_RELAXED);
    return b;
}

static void frn_buf_drop(frn_mem *m, frn_buf *b)
{
    if (b != NULL && __atomic_sub_fetch(&b->refs, 1u, __ATOMIC_ACQ_REL) == 0)
        frn_mem_free(m, b, sizeof *b + 1 + b->size);
}

static frn_buf *frn_buf_format(frn_mem *m, const char *format, va_list args)
    FRANCIS_PRINTF(2, 0);

static frn_buf *frn_buf_format(frn_mem *m, const char *format, va_list args)    /* cut at 1023 */
{
    char text[1024];
    int  n = vsnprintf(text, sizeof text, format, args);
    if (n < 0)
        n = 0;
    return frn_buf_copy(m, text, (size_t)n < sizeof text ? (size_t)n : sizeof text - 1);
}

// >> 230 coll | needs: 210 220
//    Intrusive lists, a hash map of intrusive nodes, a heap of timers, a pool of numbered slots.

typedef struct frn_list {
    struct frn_list *prev, *next;
} frn_list;

static void frn_list_init(frn_list *l) { l->prev = l->next = l; }

static bool frn_list_empty(const frn_list *l) { return l->next == l; }

static void frn_list_push(frn_list *l, frn_list *item)      /* at the end */
{
    item->prev = l->prev;
    item->next = l;
    l->prev->next = item;
    l->prev = item;
}

static void frn_list_remove(frn_list *item)     /* harmless for one that is in no list */
{
    item->prev->next = item->next;
    item->next->prev = item->prev;
    frn_list_init(item);
}

static frn_list *frn_list_pop(frn_list *l)      /* NULL = empty */
{
    frn_list *item = l->next;
    if (item == l)
        return NULL;
    frn_list_remove(item);
    return item;
}

static void frn_list_move(frn_list *to, frn_list *from)     /* appends all, leaves from empty */
{
    if (frn_list_empty(from))
        return;
    from->next->prev = to->prev;
    from->prev->next = to;
    to->prev->next = from->next;
    to->prev = from->prev;
    frn_list_init(from);
}

typedef struct frn_node {
    struct frn_node *next;
    uint64_t         hash;
} frn_node;

typedef struct frn_map {
    frn_node **slots;
    size_t     cap, count;          /* cap is 0 or a power of two */
} frn_map;

static frn_node *frn_map_next(frn_node *n, uint64_t hash)
{
    while (n != NULL && n->hash != hash)
        n = n->next;
    return n;
}

static frn_node *frn_map_first(const frn_map *map, uint64_t hash)   /* then frn_map_next(n->next) */
{
    return map->cap == 0 ? NULL : frn_map_next(map->slots[hash & (map->cap - 1)], hash);
}

static bool frn_map_grow(frn_mem *m, frn_map *map)
{
    size_t     cap = map->cap == 0 ? 64 : map->cap * 2, i;
    frn_node **slots = NULL;

    if (cap <= SIZE_MAX / sizeof *slots)
        slots = (frn_node **)frn_mem_alloc(m, cap * sizeof *slots);
    if (slots == NULL)
        return map->cap != 0;       /* a fuller map is slower, not wrong */
    for (i = 0; i < map->cap; i++) {
        frn_node *n = map->slots[i], *next;
        for (; n != NULL; n = next) {
            next = n->next;
            n->next = slots[n->hash & (cap - 1)];
            slots[n->hash & (cap - 1)] = n;
        }
    }
    frn_mem_free(m, map->slots, map->cap * sizeof *slots);
    map->slots = slots;
    map->cap = cap;
    return true;
}

static bool frn_map_add(frn_mem *m, frn_map *map, frn_node *n, uint64_t hash)
{
    if (map->count >= map->cap && !frn_map_grow(m, map))
        return false;
    n->hash = hash;
    n->next = map->slots[hash & (map->cap - 1)];
    map->slots[hash & (map->cap - 1)] = n;
    map->count++;
    return true;
}

static void frn_map_remove(frn_map *map, frn_node *n)
{
    frn_node **at = &map->slots[n->hash & (map->cap - 1)];
    while (*at != n)
        at = &(*at)->next;
    *at = n->next;
    map->count--;
}

/* A timer lies in the struct that it wakes. */
typedef struct frn_timer {
    int64_t at_ns;
    size_t  index;                  /* in the heap, from 1; 0 = not set */
    void  (*fire)(francis_host *host, struct frn_timer *timer);     /* it is not set any more */
} frn_timer;

typedef struct frn_heap {
    frn_timer **items;              /* items[1] is the earliest */
    size_t      count, cap;
} frn_heap;

static void frn_heap_put(frn_heap *h, size_t i, frn_timer *t)
{
    h->items[i] = t;
    t->index = i;
}

static void frn_heap_up(frn_heap *h, size_t i, frn_timer *t)
{
    for (; i > 1 && h->items[i / 2]->at_ns > t->at_ns; i /= 2)
        frn_heap_put(h, i, h->items[i / 2]);
    frn_heap_put(h, i, t);
}

static void frn_heap_down(frn_heap *h, size_t i, frn_timer *t)
{
    size_t child;
    for (; (child = i * 2) <= h->count; i = child) {
        if (child < h->count && h->items[child + 1]->at_ns < h->items[child]->at_ns)
            child++;
        if (h->items[child]->at_ns >= t->at_ns)
            break;
        frn_heap_put(h, i, h->items[child]);
    }
    frn_heap_put(h, i, t);
}

static bool frn_heap_reserve(frn_mem *m, frn_heap *h, size_t count)
{
    size_t      cap = h->cap == 0 ? 64 : h->cap;
    frn_timer **items;

    if (count < h->cap)
        return true;
    while (cap <= count)
        cap *= 2;
    items = (frn_timer **)frn_mem_resize(m, h->items, h->cap * sizeof *items, cap * sizeof *items);
    if (items == NULL)
        return false;
    h->items = items;
    h->cap = cap;
    return true;
}

static void frn_heap_remove(frn_heap *h, frn_timer *t)
{
    frn_timer *last;
    size_t     i = t->index;

    if (i == 0)
        return;
    t->index = 0;
    last = h->items[h->count--];
    if (last == t)
        return;
    if (i > 1 && h->items[i / 2]->at_ns > last->at_ns)
        frn_heap_up(h, i, last);
    else
        frn_heap_down(h, i, last);
}

static bool frn_heap_set(frn_mem *m, frn_heap *h, frn_timer *t, int64_t at_ns)
{
    frn_heap_remove(h, t);
    if (at_ns == FRN_NEVER)
        return true;
    if (!frn_heap_reserve(m, h, h->count + 1))
        return false;
    t->at_ns = at_ns;
    frn_heap_up(h, ++h->count, t);
    return true;
}

// >> 250 plat | needs: 210
//    The real clock, random bytes, sockets, threads; all else asks here. A francis_platform
//    replaces them.

typedef struct frn_plat {
    francis_platform hooks;         /* members that are NULL mean the real thing */
} frn_plat;

static int64_t frn_plat_clock(clockid_t id)
{
    struct timespec t;
    if (clock_gettime(id, &t) != 0)
        return 0;
    return (int64_t)t.tv_sec * 1000 * FRN_MS + t.tv_nsec;
}

static int64_t frn_plat_now_ns(const frn_plat *p)
{
    return p->hooks.monotonic_ns != NULL ? p->hooks.monotonic_ns(p->hooks.user)
                                         : frn_plat_clock(FRN_CLOCK);
}

/* Of leases. All hosts of a file run on one machine, so this is the clock that the others count on
 * as well: what it leaves out (the machine sleeps) it leaves out for all of them. Asked for each
 * answer, therefore the cheap one; what it lags behind is far below lease_margin_ms. */
static int64_t frn_plat_lease_ns(const frn_plat *p)
{
#if defined(CLOCK_MONOTONIC_COARSE)
    if (p->hooks.monotonic_ns == NULL)
        return frn_plat_clock(CLOCK_MONOTONIC_COARSE);
#endif
    return frn_plat_now_ns(p);
}

static int64_t frn_plat_wall_ms(const frn_plat *p)
{
    return p->hooks.wall_ms != NULL ? p->hooks.wall_ms(p->hooks.user)
                                    : frn_plat_clock(CLOCK_REALTIME) / FRN_MS;
}

static bool frn_plat_read_urandom(void *data, size_t size)
{
    unsigned char *p = (unsigned char *)data;
    int            fd = open("/dev/urandom", O_RDONLY | O_CLOEXEC);

    while (fd >= 0 && size > 0) {
        ssize_t n = read(fd, p, size);
        if (n <= 0 && errno != EINTR)
            break;
        if (n > 0) {
            p += n;
            size -= (size_t)n;
        }
    }
    if (fd >= 0)
        (void)close(fd);
    return size == 0;
}

static bool frn_plat_random(const frn_plat *p, void *data, size_t size)
{
    if (p->hooks.random != NULL)
        return p->hooks.random(data, size, p->hooks.user) == 0;
#if defined(__linux__)
    if (size <= 256 && getrandom(data, size, 0) == (ssize_t)size)
        return true;
#endif
    return frn_plat_read_urandom(data, size);
}

static int64_t frn_plat_process(const frn_plat *p)
{
    return p->hooks.process != 0 ? p->hooks.process : (int64_t)getpid();
}

/* Waits at most so long; FRN_NEVER. */
static int frn_plat_poll(const frn_plat *p, struct pollfd *fds, int count, int64_t for_ns)
{
    const int64_t day_ns = INT64_C(86400000) * FRN_MS;
    int           ms;

    if (p->hooks.poll != NULL)
        return p->hooks.poll(fds, (size_t)count,
                             for_ns == FRN_NEVER ? (int64_t)FRANCIS_FOREVER : for_ns,
                             p->hooks.user);
    ms = for_ns > day_ns ? (for_ns == FRN_NEVER ? -1 : 86400000)
                         : (int)((for_ns + FRN_MS - 1) / FRN_MS);
    return poll(fds, (nfds_t)count, ms);
}

static void frn_plat_sleep(const frn_plat *p, int64_t ns)       /* less than a second */
{
    struct timespec t = { 0, 0 };

    if (p->hooks.poll != NULL) {
        (void)p->hooks.poll(NULL, 0, ns, p->hooks.user);
        return;
    }
    t.tv_nsec = (long)ns;
    (void)nanosleep(&t, NULL);
}

/* Whether sockets are the platform's, and not descriptors. */
static bool frn_plat_has_net(const frn_plat *p) { return p->hooks.net_connect != NULL; }

/* Bytes, or -errno. */
static int frn_plat_net_read(const frn_plat *p, int fd, void *data, size_t size)
{
    ssize_t n;

    if (frn_plat_has_net(p))
        return p->hooks.net_read(fd, data, size, p->hooks.user);
    n = recv(fd, data, size, 0);
    return n >= 0 ? (int)n : -errno;
}

static int frn_plat_net_write(const frn_plat *p, int fd, const void *data, size_t size)
{
    ssize_t n;

    if (frn_plat_has_net(p))
        return p->hooks.net_write(fd, data, size, p->hooks.user);
#if defined(MSG_NOSIGNAL)
    n = send(fd, data, size, MSG_NOSIGNAL);
#else
    n = send(fd, data, size, 0);
#endif
    return n >= 0 ? (int)n : -errno;
}

/* How an attempt to connect has ended: 0, or an errno. */
static int frn_plat_net_error(const frn_plat *p, int fd)
{
    int       error = 0;
    socklen_t size = (socklen_t)sizeof error;

    if (frn_plat_has_net(p))
        return -p->hooks.net_write(fd, NULL, 0, p->hooks.user);
    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0 ? error : errno;
}

static void frn_plat_net_close(const frn_plat *p, int fd)
{
    if (frn_plat_has_net(p))
        p->hooks.net_close(fd, p->hooks.user);
    else
        (void)close(fd);
}

/* Condition variables wait on the clock that nobody sets. */
static bool frn_cond_init(pthread_cond_t *cond)
{
    pthread_condattr_t attr;
    bool               ok = pthread_condattr_init(&attr) == 0;

    if (!ok)
        return false;
#if !defined(__APPLE__)
    ok = pthread_condattr_setclock(&attr, CLOCK_MONOTONIC) == 0;
#endif
    ok = ok && pthread_cond_init(cond, &attr) == 0;
    (void)pthread_condattr_destroy(&attr);
    return ok;
}

static void frn_cond_wait(pthread_cond_t *cond, pthread_mutex_t *lock, int64_t for_ns)
{
    struct timespec until;
    int64_t         at;

    if (for_ns == FRN_NEVER) {
        (void)pthread_cond_wait(cond, lock);
        return;
    }
#if defined(__APPLE__)
    at = frn_add_time(frn_plat_clock(CLOCK_REALTIME), for_ns < 0 ? 0 : for_ns);
#else
    at = frn_add_time(frn_plat_clock(CLOCK_MONOTONIC), for_ns < 0 ? 0 : for_ns);
#endif
    if (at == FRN_NEVER)
        at -= 1000 * FRN_MS;
    until.tv_sec = (time_t)(at / (1000 * FRN_MS));
    until.tv_nsec = (long)(at % (1000 * FRN_MS));
    (void)pthread_cond_timedwait(cond, lock, &until);
}

/* A byte that is 1 in the process that made it and 0 in its forked children: cheaper to ask than
 * the kernel. NULL = this system has no such memory; then getpid() tells. */
#if defined(__linux__) && defined(MADV_NORMAL) && defined(MAP_ANONYMOUS)
enum { FRN_WIPE_ON_FORK = 18, FRN_FORK_MARK_BYTES = 4096 };     /* MADV_WIPEONFORK */

static unsigned char *frn_fork_mark_new(void)
{
    void *p = mmap(NULL, FRN_FORK_MARK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
                   -1, 0);
    if (p == MAP_FAILED)
        return NULL;
    if (madvise(p, FRN_FORK_MARK_BYTES, FRN_WIPE_ON_FORK) != 0) {
        (void)munmap(p, FRN_FORK_MARK_BYTES);
        return NULL;
    }
    *(unsigned char *)p = 1;
    return (unsigned char *)p;
}

static void frn_fork_mark_free(unsigned char *mark)
{
    if (mark != NULL)
        (void)munmap(mark, FRN_FORK_MARK_BYTES);
}
#else
static unsigned char *frn_fork_mark_new(void) { return NULL; }
static void           frn_fork_mark_free(unsigned char *mark) { (void)mark; }
#endif

enum { FRN_STACK_BYTES = 256 * 1024 };      /* of our threads; musl's default is 128 KiB */

static bool frn_thread_start(pthread_t *thread, void *(*run)(void *), void *arg)
{
    pthread_attr_t attr;
    sigset_t       all, old;
    bool           ok = pthread_attr_init(&attr) == 0;

    if (!ok)
        return false;
    (void)pthread_attr_setstacksize(&attr, FRN_STACK_BYTES);
    (void)sigfillset(&all);         /* signals are the application's: they go to its threads */
    (void)pthread_sigmask(SIG_SETMASK, &all, &old);
    ok = pthread_create(thread, &attr, run, arg) == 0;
    (void)pthread_sigmask(SIG_SETMASK, &old, NULL);
    (void)pthread_attr_destroy(&attr);
    return ok;
}

static void frn_thread_name(const char *host, const char *role)
{
#if defined(__linux__)
    char name[16];
    (void)snprintf(name, sizeof name, "%.8s-%s", host, role);
    (void)prctl(PR_SET_NAME, (unsigned long)(uintptr_t)name, 0ul, 0ul, 0ul);
#else
    (void)host;
    (void)role;
#endif
}

/* Whether a process is of our user, where the system shows it; else the right to signal decides. */
static bool frn_same_user(int64_t process)
{
    struct stat st;
    char        path[40];

    (void)snprintf(path, sizeof path, "/proc/%lld", (long long)process);
    return stat(path, &st) != 0 || st.st_uid == geteuid();
}

static int frn_plat_cores(void)
{
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n < 1 ? 1 : n > 256 ? 256 : (int)n;
}

// >> 260 log | needs: 220 250
//    Records are formed anywhere, also under a lock, and handed to the sink by frn_log_flush, which
//    is called where no lock is held. Without memory a record is dropped and counted.

enum {
#define FRN_X(number, name, level, area) FRN_LOG_##name = number,
    FRANCIS_LOGS(FRN_X)
#undef FRN_X
    FRN_LOG_END = 1000
};

typedef struct frn_log_row {
    uint32_t          id;
    francis_log_level level;
    const char       *name, *area;
} frn_log_row;

static const frn_log_row frn_log_rows[] = {
#define FRN_X(number, name, level, area) { number, FRANCIS_LOG_##level, #name, area },
    FRANCIS_LOGS(FRN_X)
#undef FRN_X
};

typedef struct frn_log_entry {
    struct frn_log_entry *next;
    francis_log           record;
    char                  message[400], host[40], type[FRANCIS_NAME_SIZE], actor[FRANCIS_NAME_SIZE];
} frn_log_entry;

typedef struct frn_logger {
    frn_mem          *mem;
    frn_plat         *plat;
    void            (*sink)(const francis_log *record, void *user);
    void             *user;
    francis_log_level level;
    const char       *name;         /* of the host; "" = none */
    char              host[40];     /* its id, once it has one */
    pthread_mutex_t   lock;
    frn_log_entry    *first, **last;
} frn_logger;

static void frn_log_stderr(const francis_log *r, void *user)
{
    (void)user;
#if FRANCIS_NO_STDIO
    (void)r;
#else
    bool named = r->type[0] != '\0';        /* in one piece, so that lines stay whole */
    fprintf(stderr, "francis: %s: %s%s%s%s%s%s\n", r->name, r->message, named ? " [" : "", r->type,
            named ? "/" : "", r->actor, named ? "]" : "");
#endif
}

/* %s of type and id; NULL = none. file and line are those of the caller. */
static void frn_log_at(frn_logger *l, const char *file, int line, uint32_t id,
                       francis_result result, const char *type, const char *actor,
                       const char *format, ...)
    FRANCIS_PRINTF(8, 9);

static void frn_log_at(frn_logger *l, const char *file, int line, uint32_t id,
                       francis_result result, const char *type, const char *actor,
                       const char *format, ...)
{
    const frn_log_row *row = frn_log_rows;
    frn_log_entry     *e;
    va_list            args;

    while (row->id != id)
        row++;
    if (row->level > l->level)
        return;
    e = (frn_log_entry *)frn_mem_alloc(l->mem, sizeof *e);
    if (e == NULL)
        return;
    va_start(args, format);
    (void)vsnprintf(e->message, sizeof e->message, format, args);
    va_end(args);
    (void)snprintf(e->type, sizeof e->type, "%s", type != NULL ? type : "");
    (void)snprintf(e->actor, sizeof e->actor, "%s", actor != NULL ? actor : "");
    e->record.level = row->level;
    e->record.id = id;
    e->record.name = row->name;
    e->record.area = row->area;
    e->record.message = e->message;
    e->record.host = e->host;
    e->record.type = e->type;
    e->record.actor = e->actor;
    e->record.trace = "";
    e->record.result = result;
    e->record.time_ms = frn_plat_wall_ms(l->plat);
    e->record.file = file;
    e->record.line = line;
    (void)pthread_mutex_lock(&l->lock);
    (void)snprintf(e->host, sizeof e->host, "%s", l->name[0] != '\0' ? l->name : l->host);
    *l->last = e;
    FRN_STORE(&l->last, &e->next);
    (void)pthread_mutex_unlock(&l->lock);
}

#define frn_log(logger, ...) frn_log_at((logger), __FILE__, __LINE__, __VA_ARGS__)

static void frn_log_set_host(frn_logger *l, const char *id)
{
    (void)pthread_mutex_lock(&l->lock);
    (void)snprintf(l->host, sizeof l->host, "%s", id);
    (void)pthread_mutex_unlock(&l->lock);
}

static void frn_log_flush_slowly(frn_logger *l)
{
    frn_log_entry *e, *next;

    (void)pthread_mutex_lock(&l->lock);
    e = l->first;
    l->first = NULL;
    FRN_STORE(&l->last, &l->first);
    (void)pthread_mutex_unlock(&l->lock);
    for (; e != NULL; e = next) {
        next = e->next;
        l->sink(&e->record, l->user);
        frn_mem_free(l->mem, e, sizeof *e);
    }
}

static void frn_log_flush(frn_logger *l)        /* no lock may be held: this calls the sink */
{
    if (FRN_LOAD(&l->last) != &l->first)
        frn_log_flush_slowly(l);
}

// >> 270 ref | needs: 250
//    Names and ids.

enum { FRN_NAME_MAX = FRANCIS_NAME_SIZE - 1, FRN_UUID_SIZE = 37 };

#define FRN_SINGLETON "singleton"
#define FRN_RESERVED  "francis."

/* Why a name is refused, as what follows "the id ..."; NULL = it is fine. */
static const char *frn_name_fault(const char *name)
{
    size_t size;

    if (name == NULL || name[0] == '\0')
        return "is empty";
    size = strnlen(name, FRN_NAME_MAX + 1);
    if (size > FRN_NAME_MAX)
        return "is longer than 255 bytes";
    if (memchr(name, '/', size) != NULL)
        return "contains '/'";
    return NULL;
}

static bool frn_name_reserved(const char *type)
{
    return strncmp(type, FRN_RESERVED, sizeof FRN_RESERVED - 1) == 0;
}

/* A UUID of version 7: time first, so that new keys lie together. */
static bool frn_uuid_make(const frn_plat *plat, char text[FRN_UUID_SIZE])
{
    static const char hex[] = "0123456789abcdef";
    unsigned char     b[16];
    uint64_t          ms = (uint64_t)frn_plat_wall_ms(plat);
    size_t            i;
    char             *out = text;

    if (!frn_plat_random(plat, b, sizeof b))
        return false;
    for (i = 0; i < 6; i++)
        b[i] = (unsigned char)(ms >> (40 - 8 * i));
    b[6] = (unsigned char)((b[6] & 0x0f) | 0x70);
    b[8] = (unsigned char)((b[8] & 0x3f) | 0x80);
    for (i = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            *out++ = '-';
        *out++ = hex[b[i] >> 4];
        *out++ = hex[b[i] & 15];
    }
    *out = '\0';
    return true;
}

// >> 300 codec | needs: 210 220
//    The one encoding of heads on the wire: a subset of MessagePack. Arrays of fixed meaning, to
//    which later versions may append; integers in their shortest form, texts as str, bytes as bin.
//    A reader checks everything, and after the first fault it gives zeroes and says so at the end.

typedef struct frn_pack {
    frn_mem       *mem;
    unsigned char *data;            /* NULL = what there is fits into first */
    size_t         size, cap;
    bool           failed;          /* no memory */
    unsigned char  first[256];
} frn_pack;

static void frn_pack_init(frn_pack *p, frn_mem *mem)
{
    p->mem = mem;
    p->data = NULL;
    p->size = p->cap = 0;
    p->failed = false;
}

static bool frn_pack_grow(frn_pack *p, size_t size)
{
    size_t         cap = p->cap == 0 ? 2 * sizeof p->first : p->cap * 2;
    unsigned char *more;

    while (cap - p->size < size)
        cap *= 2;
    more = (unsigned char *)frn_mem_resize(p->mem, p->data, p->cap, cap);
    if (more == NULL)
        return false;
    if (p->data == NULL)
        memcpy(more, p->first, p->size);
    p->data = more;
    p->cap = cap;
    return true;
}

static void frn_pack_bytes(frn_pack *p, const void *data, size_t size)
{
    size_t room = (p->data != NULL ? p->cap : sizeof p->first) - p->size;

    p->failed = p->failed || (size > room && !frn_pack_grow(p, size));
    if (p->failed || size == 0)
        return;
    memcpy((p->data != NULL ? p->data : p->first) + p->size, data, size);
    p->size += size;
}

/* A tag and a big-endian number of so many bytes. */
static void frn_pack_tag(frn_pack *p, unsigned tag, uint64_t value, unsigned bytes)
{
    unsigned char b[9];
    unsigned      i;

    b[0] = (unsigned char)tag;
    for (i = 0; i < bytes; i++)
        b[1 + i] = (unsigned char)(value >> (8 * (bytes - 1 - i)));
    frn_pack_bytes(p, b, 1 + bytes);
}

static void frn_pack_uint(frn_pack *p, uint64_t v)
{
    if (v < 0x80)
        frn_pack_tag(p, (unsigned)v, 0, 0);
    else if (v <= 0xff)
        frn_pack_tag(p, 0xcc, v, 1);
    else if (v <= 0xffff)
        frn_pack_tag(p, 0xcd, v, 2);
    else if (v <= 0xffffffffu)
        frn_pack_tag(p, 0xce, v, 4);
    else
        frn_pack_tag(p, 0xcf, v, 8);
}

static void frn_pack_int(frn_pack *p, int64_t v)
{
    if (v >= 0)
        frn_pack_uint(p, (uint64_t)v);
    else if (v >= -32)
        frn_pack_tag(p, (unsigned)(v & 0xff), 0, 0);
    else
        frn_pack_tag(p, 0xd3, (uint64_t)v, 8);
}

static void frn_pack_array(frn_pack *p, size_t count)
{
    if (count < 16)
        frn_pack_tag(p, 0x90u | (unsigned)count, 0, 0);
    else
        frn_pack_tag(p, 0xdc, count, 2);
}

static void frn_pack_text(frn_pack *p, const char *text)    /* NULL = nil */
{
    size_t size = text != NULL ? strlen(text) : 0;

    if (text == NULL)
        frn_pack_tag(p, 0xc0, 0, 0);
    else if (size < 32)
        frn_pack_tag(p, 0xa0u | (unsigned)size, 0, 0);
    else if (size <= 0xff)
        frn_pack_tag(p, 0xd9, size, 1);
    else
        frn_pack_tag(p, 0xda, size, 2);
    frn_pack_bytes(p, text, size);
}

/* What was packed; NULL = no memory. Nothing is left to free. */
static frn_buf *frn_pack_end(frn_pack *p)
{
    const unsigned char *data = p->data != NULL ? p->data : p->first;
    frn_buf             *b = p->failed ? NULL : frn_buf_copy(p->mem, data, p->size);

    frn_mem_free(p->mem, p->data, p->cap);
    frn_pack_init(p, p->mem);
    return b;
}

typedef struct frn_unpack {
    const unsigned char *at, *end;
    bool                 bad;
} frn_unpack;

static uint64_t frn_unpack_number(frn_unpack *u, unsigned bytes)
{
    uint64_t v = 0;

    if ((size_t)(u->end - u->at) < bytes)
        u->bad = true;
    while (!u->bad && bytes-- > 0)
        v = v << 8 | *u->at++;
    return v;
}

static unsigned frn_unpack_tag(frn_unpack *u) { return (unsigned)frn_unpack_number(u, 1); }

static int64_t frn_unpack_int(frn_unpack *u)
{
    unsigned tag = frn_unpack_tag(u);
    uint64_t v;

    if (tag < 0x80)
        return (int64_t)tag;
    if (tag >= 0xe0)
        return (int64_t)tag - 256;
    if (tag >= 0xcc && tag <= 0xcf) {
        v = frn_unpack_number(u, 1u << (tag - 0xcc));
        u->bad = u->bad || v > INT64_MAX;
        return u->bad ? 0 : (int64_t)v;
    }
    if (tag == 0xd3)
        return (int64_t)frn_unpack_number(u, 8);
    u->bad = true;
    return 0;
}

static uint64_t frn_unpack_uint(frn_unpack *u)
{
    if (!u->bad && u->at < u->end && *u->at == 0xcf) {
        u->at++;
        return frn_unpack_number(u, 8);
    }
    return (uint64_t)frn_unpack_int(u);
}

/* The number of items; more than most is a fault. */
static size_t frn_unpack_array(frn_unpack *u, size_t most)
{
    unsigned tag = frn_unpack_tag(u);
    size_t   count = 0;

    if ((tag & 0xf0) == 0x90)
        count = tag & 0x0f;
    else if (tag == 0xdc)
        count = (size_t)frn_unpack_number(u, 2);
    else
        u->bad = true;
    u->bad = u->bad || count > most;
    return u->bad ? 0 : count;
}

/* A text of less than size bytes, copied with its NUL; nil is "". */
static void frn_unpack_text(frn_unpack *u, char *out, size_t size)
{
    unsigned tag = frn_unpack_tag(u);
    size_t   n = 0;

    out[0] = '\0';
    if ((tag & 0xe0) == 0xa0)
        n = tag & 0x1f;
    else if (tag == 0xd9 || tag == 0xda)
        n = (size_t)frn_unpack_number(u, tag - 0xd8);
    else if (tag != 0xc0)
        u->bad = true;
    u->bad = u->bad || n >= size || (size_t)(u->end - u->at) < n;
    if (u->bad || n == 0)
        return;
    u->bad = memchr(u->at, 0, n) != NULL;
    memcpy(out, u->at, n);
    out[u->bad ? 0 : n] = '\0';
    u->at += n;
}

// >> 320 schedule | needs: 210 220 300
//    When something that repeats is due again: intervals, cron expressions, time zones. Instants
//    are milliseconds since 1970 in UTC, local times are that plus the offset of a zone, dates are
//    Gregorian. What is before year 1 counts as its beginning; what would be after year 9999 does
//    not come. Zone files are read here and not by way of the C library: its functions know one
//    zone at a time and take it from the environment.

enum {
    FRN_REPEAT_MAX = 255,           /* bytes of a text that says how something repeats */
    FRN_SCHEDULE_TEXT_MAX = FRN_REPEAT_MAX + 1,     /* room for what frn_schedule_text makes */
    FRN_ZONE_NAME_MAX = 95,         /* of a name or a POSIX string */
    FRN_ZONE_FILE_MAX = 256 * 1024,
    FRN_ZONES_MAX = 1000,
    FRN_MINUTE = 60 * 1000,
    FRN_HOUR = 60 * FRN_MINUTE,
    FRN_DAY = 24 * FRN_HOUR,
    FRN_OFFSET_MAX = 26 * FRN_HOUR,              /* of a zone from UTC */
    FRN_MONTHS_MAX = 120000,        /* of an interval: 10,000 years, as in the next two */
    FRN_DAYS_MAX = 3652425
};

#define FRN_INTERVAL_MAX ((int64_t)FRN_DAYS_MAX * FRN_DAY)
#define FRN_NUMBER_MAX   INT64_C(1000000000000000000)
#define FRN_NEVER_DUE    FRN_NEVER
#define FRN_TIME_MIN     INT64_C(-62135596800000)   /* the beginning of year 1 */
#define FRN_TIME_MAX     INT64_C(253402300799999)   /* the end of year 9999 */
#define FRN_FAR          (INT64_MAX / 4)            /* an instant after all others */

typedef struct frn_zone frn_zone;

/* The zones that are in use: loaded once, kept until the end, so pointers to them stay good. */
typedef struct frn_zones {
    frn_mem        *mem;
    const char     *directory;      /* NULL = where systems keep them */
    pthread_mutex_t lock;           /* around the list, also while a file is read */
    frn_zone       *first;
    size_t          count;
} frn_zones;

enum {
    FRN_CRON_MINUTE,
    FRN_CRON_HOUR,
    FRN_CRON_DAY,
    FRN_CRON_MONTH,
    FRN_CRON_WEEKDAY,
    FRN_CRON_FIELDS
};

/* Plain data. All zeroes: it does not repeat. With cron[FRN_CRON_MINUTE] it is a cron expression,
 * else an interval of calendar months, calendar days and exact milliseconds. */
typedef struct frn_schedule {
    const frn_zone *zone;           /* NULL = UTC */
    int64_t         ms;
    int32_t         months, days;
    uint64_t        cron[FRN_CRON_FIELDS];          /* a bit for each value */
    uint8_t         star[FRN_CRON_FIELDS];          /* 1 = a star, n = a star with that step */
} frn_schedule;

static void frn_zones_init(frn_zones *zones, frn_mem *mem);
static void frn_zones_free(frn_zones *zones);

/* What .repeat says, or how often in ms (> 0). NULL and "" do not repeat. FRANCIS_ERR_INVALID with
 * words that name what is wrong, or FRANCIS_ERR_NOMEM; *out is all zeroes then. */
static francis_result frn_schedule_parse(frn_zones *zones, const char *repeat, frn_schedule *out,
                                         char *error, size_t error_size);
static francis_result frn_schedule_every(int64_t ms, frn_schedule *out, char *error,
                                         size_t error_size);
static bool frn_schedule_is_none(const frn_schedule *s);
static bool frn_schedule_is_cron(const frn_schedule *s);

/* Occurrences of an interval are anchor + k * interval, k >= 0, and that is the anchor alone if it
 * does not repeat; cron does not ask for the anchor. The first after an instant; FRN_NEVER_DUE =
 * there is none. How many different ones there are in (from, to], at most so many. */
static int64_t  frn_schedule_next(const frn_schedule *s, int64_t anchor_ms, int64_t after_ms);
static uint64_t frn_schedule_count(const frn_schedule *s, int64_t anchor_ms, int64_t from_ms,
                                   int64_t to_ms, uint64_t most);

/* The one way to write it: equal schedules have equal texts, and are read from them again. */
static void frn_schedule_text(const frn_schedule *s, char *out, size_t size);

/* ---- days ---- */

typedef struct frn_date {
    int64_t year, month, day;       /* month and day from 1 */
} frn_date;

static int64_t frn_floor_div(int64_t a, int64_t b)      /* b > 0 */
{
    return a / b - (a % b < 0 ? 1 : 0);
}

static bool frn_leap_year(int64_t year)
{
    return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

static int64_t frn_month_days(int64_t year, int64_t month)
{
    if (month == 2)
        return frn_leap_year(year) ? 29 : 28;
    return month == 4 || month == 6 || month == 9 || month == 11 ? 30 : 31;
}

/* Days since 1970. Years begin in March here, so that a leap day is the last of its year. */
static int64_t frn_date_to_day(int64_t year, int64_t month, int64_t day)
{
    int64_t y = month <= 2 ? year - 1 : year, era = frn_floor_div(y, 400), of_era = y - era * 400;
    int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;

    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

static frn_date frn_day_to_date(int64_t day)
{
    int64_t  era = frn_floor_div(day + 719468, 146097), of_era = day + 719468 - era * 146097;
    int64_t  y = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    int64_t  of_year = of_era - (365 * y + y / 4 - y / 100), m = (5 * of_year + 2) / 153;
    frn_date date;

    date.day = of_year - (153 * m + 2) / 5 + 1;
    date.month = m < 10 ? m + 3 : m - 9;
    date.year = y + era * 400 + (date.month <= 2 ? 1 : 0);
    return date;
}

static int64_t frn_weekday(int64_t day)     /* 0 = Sunday */
{
    return day + 4 - 7 * frn_floor_div(day + 4, 7);
}

/* ---- zones by rule: POSIX strings, as in TZ and at the end of zone files ---- */

typedef struct frn_zone_day {
    char    kind;                   /* M = month, week, weekday; J = 1-365 without 29 February;
                                       D = 0-365 */
    int64_t month, week, day, time_ms;
} frn_zone_day;

typedef struct frn_zone_rule {
    bool         changes;           /* the second offset and the days are used */
    int64_t      offset[2];         /* of standard time, of daylight-saving time */
    frn_zone_day begins[2];
} frn_zone_rule;

/* A time during which the offset from UTC is the same: from start to before end. */
typedef struct frn_span {
    int64_t start, end, offset;
} frn_span;

static bool frn_is_digit(char c) { return c >= '0' && c <= '9'; }

static bool frn_is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

static bool frn_posix_char(const char **at, char c)
{
    if (**at != c)
        return false;
    ++*at;
    return true;
}

static bool frn_posix_number(const char **at, int64_t least, int64_t most, int64_t *out)
{
    const char *first = *at;

    for (*out = 0; frn_is_digit(**at) && *at - first < 3; ++*at)
        *out = *out * 10 + (**at - '0');
    return *at > first && *out >= least && *out <= most;
}

static bool frn_posix_name(const char **at)     /* CET or <+03> */
{
    bool        quoted = frn_posix_char(at, '<');
    const char *first = *at;

    while (frn_is_letter(**at) ||
           (quoted && (frn_is_digit(**at) || **at == '+' || **at == '-')))
        ++*at;
    return *at - first >= 3 && (!quoted || frn_posix_char(at, '>'));
}

static bool frn_posix_time(const char **at, int64_t hours_max, int64_t *ms)
{
    bool    minus = frn_posix_char(at, '-'), ok;
    int64_t h = 0, m = 0, s = 0;

    if (!minus)
        (void)frn_posix_char(at, '+');
    ok = frn_posix_number(at, 0, hours_max, &h);
    if (ok && frn_posix_char(at, ':')) {
        ok = frn_posix_number(at, 0, 59, &m);
        if (ok && frn_posix_char(at, ':'))
            ok = frn_posix_number(at, 0, 59, &s);
    }
    *ms = ((h * 60 + m) * 60 + s) * (minus ? -1000 : 1000);
    return ok;
}

static bool frn_posix_day(const char **at, frn_zone_day *day)
{
    bool ok = frn_posix_char(at, ',');

    day->kind = **at == 'M' || **at == 'J' ? *(*at)++ : 'D';
    day->month = day->week = 0;
    day->time_ms = 2 * (int64_t)FRN_HOUR;
    if (day->kind == 'M')
        ok = ok && frn_posix_number(at, 1, 12, &day->month) && frn_posix_char(at, '.') &&
             frn_posix_number(at, 1, 5, &day->week) && frn_posix_char(at, '.') &&
             frn_posix_number(at, 0, 6, &day->day);
    else
        ok = ok && frn_posix_number(at, day->kind == 'J' ? 1 : 0, 365, &day->day);
    return ok && (!frn_posix_char(at, '/') || frn_posix_time(at, 167, &day->time_ms));
}

/* One that has daylight-saving time must say when: what is meant otherwise depends on the country
 * in which somebody guesses. */
static bool frn_posix_parse(const char *text, frn_zone_rule *rule)
{
    int64_t apart;

    memset(rule, 0, sizeof *rule);
    if (!frn_posix_name(&text) || !frn_posix_time(&text, 24, &rule->offset[0]))
        return false;
    rule->offset[0] = -rule->offset[0];     /* POSIX counts to the west */
    if (*text == '\0')
        return true;
    rule->changes = true;
    rule->offset[1] = rule->offset[0] + FRN_HOUR;
    if (!frn_posix_name(&text))
        return false;
    if (*text != ',') {
        if (!frn_posix_time(&text, 24, &rule->offset[1]))
            return false;
        rule->offset[1] = -rule->offset[1];
    }
    apart = rule->offset[1] - rule->offset[0];
    return frn_posix_day(&text, &rule->begins[1]) && frn_posix_day(&text, &rule->begins[0]) &&
           *text == '\0' && apart < FRN_DAY && apart > -FRN_DAY;
}

static int64_t frn_rule_day(const frn_zone_day *d, int64_t year)
{
    int64_t first = frn_date_to_day(year, d->kind == 'M' ? d->month : 1, 1), day;

    if (d->kind == 'D')
        return first + d->day;
    if (d->kind == 'J')
        return first + d->day - (d->day >= 60 && frn_leap_year(year) ? 0 : 1);
    day = (d->day - frn_weekday(first) + 7) % 7 + (d->week - 1) * 7;
    return first + (day >= frn_month_days(year, d->month) ? day - 7 : day);
}

/* When daylight-saving time begins (1) or ends (0) in a year. */
static int64_t frn_rule_change(const frn_zone_rule *r, int to, int64_t year)
{
    const frn_zone_day *d = &r->begins[to];
    return frn_rule_day(d, year) * FRN_DAY + d->time_ms - r->offset[1 - to];
}

/* A change may lie in a year next to its own, and the one before or after it yet a year away. */
static frn_span frn_rule_span(const frn_zone_rule *r, int64_t ms)
{
    frn_span span = { -FRN_FAR, FRN_FAR, r->offset[0] };
    int64_t  year = frn_day_to_date(frn_floor_div(ms, FRN_DAY)).year, y, at;
    int      to;

    for (y = year - 2; r->changes && y <= year + 2; y++)
        for (to = 0; to < 2; to++) {
            at = frn_rule_change(r, to, y);
            if (at <= ms && at >= span.start) {
                span.start = at;
                span.offset = r->offset[to];
            } else if (at > ms && at < span.end) {
                span.end = at;
            }
        }
    return span;
}

/* ---- zones ---- */

struct frn_zone {
    frn_zone     *next;
    size_t        bytes;            /* of all of it */
    size_t        count;            /* of changes that are listed */
    int64_t      *at;               /* when they are, ascending */
    int64_t      *offsets;          /* one more: before the first, then after each */
    bool          ruled;            /* after the last one the rule holds */
    frn_zone_rule rule;
    char          name[FRN_ZONE_NAME_MAX + 1];
};

static frn_zone *frn_zone_new(frn_mem *mem, const char *name, size_t count)
{
    size_t    bytes = sizeof(frn_zone) + (2 * count + 1) * sizeof(int64_t);
    frn_zone *z = (frn_zone *)frn_mem_alloc(mem, bytes);

    if (z == NULL)
        return NULL;
    z->bytes = bytes;
    z->count = count;
    z->at = (int64_t *)FRN_TAIL(z);
    z->offsets = z->at + count;
    (void)snprintf(z->name, sizeof z->name, "%s", name);
    return z;
}

static size_t frn_zone_changes(const frn_zone *z, int64_t ms)   /* how many were until then */
{
    size_t low = 0, high = z->count, middle;

    while (low < high) {
        middle = low + (high - low) / 2;
        if (z->at[middle] <= ms)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static frn_span frn_zone_span(const frn_zone *z, int64_t ms)
{
    frn_span span = { -FRN_FAR, FRN_FAR, 0 };
    size_t   i;

    if (z == NULL)
        return span;
    i = frn_zone_changes(z, ms);
    if (i == z->count && z->ruled)
        span = frn_rule_span(&z->rule, ms);
    else
        span.offset = z->offsets[i];
    if (i > 0 && z->at[i - 1] > span.start)
        span.start = z->at[i - 1];
    if (i < z->count)
        span.end = z->at[i];
    return span;
}

/* The latest local time that clocks have shown until then, also before they were put back. */
static int64_t frn_zone_seen(const frn_zone *z, int64_t ms)
{
    frn_span span = frn_zone_span(z, ms);
    int64_t  seen = ms + span.offset, before;

    while (span.start > ms - 2 * (int64_t)FRN_OFFSET_MAX) {
        before = span.start - 1;
        span = frn_zone_span(z, before);
        if (before + span.offset > seen)
            seen = before + span.offset;
    }
    return seen;
}

/* The first instant at which clocks show a local time or a later one: the first of two, and the
 * moment after the gap for one that does not exist. */
static int64_t frn_zone_instant(const frn_zone *z, int64_t local)
{
    frn_span span = frn_zone_span(z, local - FRN_OFFSET_MAX);

    while (span.end + span.offset <= local)
        span = frn_zone_span(z, span.end);
    return local - span.offset > span.start ? local - span.offset : span.start;
}

/* ---- zone files: TZif, RFC 8536 and 9636 ---- */

typedef struct frn_tzif {
    frn_unpack in;
    unsigned   version, width;      /* bytes of an instant */
    uint64_t   uts, stds, leaps, times, types, chars;
} frn_tzif;

static bool frn_tzif_head(frn_tzif *t)
{
    t->in.bad = t->in.bad || frn_unpack_number(&t->in, 4) != 0x545a6966u;   /* "TZif" */
    t->version = (unsigned)frn_unpack_number(&t->in, 1);
    (void)frn_unpack_number(&t->in, 8);
    (void)frn_unpack_number(&t->in, 7);
    t->uts = frn_unpack_number(&t->in, 4);
    t->stds = frn_unpack_number(&t->in, 4);
    t->leaps = frn_unpack_number(&t->in, 4);
    t->times = frn_unpack_number(&t->in, 4);
    t->types = frn_unpack_number(&t->in, 4);
    t->chars = frn_unpack_number(&t->in, 4);
    return !t->in.bad && (t->version == 0 || (t->version >= '2' && t->version <= '4'));
}

static uint64_t frn_tzif_size(const frn_tzif *t)    /* of what follows the head */
{
    return t->times * (t->width + 1) + t->types * 6 + t->chars + t->leaps * (t->width + 4) +
           t->stds + t->uts;
}

/* Leap seconds are those of zones that count them, which no clock here does. */
static bool frn_tzif_sound(const frn_tzif *t)
{
    return frn_tzif_size(t) <= (uint64_t)(t->in.end - t->in.at) && t->types >= 1 &&
           t->types <= 256 && t->chars >= 1 && t->leaps == 0 &&
           (t->stds == 0 || t->stds == t->types) && (t->uts == 0 || t->uts == t->types);
}

static bool frn_tzif_open(frn_tzif *t, const unsigned char *data, size_t size)
{
    memset(t, 0, sizeof *t);
    t->in.at = data;
    t->in.end = data + size;
    t->width = 4;
    if (!frn_tzif_head(t))
        return false;
    if (t->version == 0)
        return frn_tzif_sound(t);
    if (frn_tzif_size(t) > (uint64_t)(t->in.end - t->in.at))
        return false;
    t->in.at += frn_tzif_size(t);           /* the same for programs of old, in 32 bits */
    t->width = 8;
    return frn_tzif_head(t) && t->version != 0 && frn_tzif_sound(t);
}

static bool frn_tzif_offset(const frn_tzif *t, const unsigned char *types, uint64_t type,
                            int64_t *ms)
{
    frn_unpack in = { types + type * 6, types + t->types * 6, false };

    if (type >= t->types)
        return false;
    *ms = (int64_t)(int32_t)(uint32_t)frn_unpack_number(&in, 4) * 1000;
    return frn_unpack_number(&in, 1) <= 1 && frn_unpack_number(&in, 1) < t->chars &&
           *ms >= -(int64_t)FRN_OFFSET_MAX && *ms <= FRN_OFFSET_MAX;
}

/* An instant in ms. Some files begin with one before all time. */
static int64_t frn_tzif_instant(frn_tzif *t)
{
    uint64_t raw = frn_unpack_number(&t->in, t->width);
    int64_t  s = t->width == 4 ? (int64_t)(int32_t)(uint32_t)raw : (int64_t)raw;

    return s > FRN_FAR / 1000 ? FRN_FAR : s < -(FRN_FAR / 1000) ? -FRN_FAR : s * 1000;
}

static bool frn_tzif_changes(frn_tzif *t, frn_zone *z)
{
    const unsigned char *kinds = t->in.at + t->times * t->width, *types = kinds + t->times;
    int64_t              jump = 0;
    size_t               i;
    bool                 ok = frn_tzif_offset(t, types, 0, &z->offsets[0]);

    for (i = 0; ok && i < z->count; i++) {
        z->at[i] = frn_tzif_instant(t);
        ok = frn_tzif_offset(t, types, kinds[i], &z->offsets[i + 1]) &&
             (i == 0 || z->at[i] > z->at[i - 1]);
        jump = z->offsets[i + 1] - z->offsets[i];
        ok = ok && jump <= FRN_DAY && jump >= -(int64_t)FRN_DAY;
    }
    t->in.at = kinds + (frn_tzif_size(t) - t->times * t->width);
    return ok;
}

static bool frn_tzif_footer(frn_tzif *t, frn_zone *z)
{
    char   text[128];
    size_t n = 0, left = (size_t)(t->in.end - t->in.at);

    if (left < 2 || t->in.at[0] != '\n')
        return false;
    for (t->in.at++; n < left - 1 && n < sizeof text && t->in.at[n] != '\n'; n++)
        text[n] = (char)t->in.at[n];
    if (n == left - 1 || n == sizeof text)
        return false;
    text[n] = '\0';
    z->ruled = n > 0;
    return n == 0 || (strlen(text) == n && frn_posix_parse(text, &z->rule));
}

/* FRANCIS_ERR_CORRUPT = this is no zone file, or one that is damaged. */
static francis_result frn_tzif_read(frn_mem *mem, const char *name, const unsigned char *data,
                                    size_t size, frn_zone **out)
{
    frn_tzif  t;
    frn_zone *z = NULL;

    *out = NULL;
    if (size > FRN_ZONE_FILE_MAX || !frn_tzif_open(&t, data, size))
        return FRANCIS_ERR_CORRUPT;
    z = frn_zone_new(mem, name, (size_t)t.times);
    if (z == NULL)
        return FRANCIS_ERR_NOMEM;
    if (!frn_tzif_changes(&t, z) || (t.version != 0 && !frn_tzif_footer(&t, z))) {
        frn_mem_free(mem, z, z->bytes);
        return FRANCIS_ERR_CORRUPT;
    }
    *out = z;
    return FRANCIS_OK;
}

static bool frn_read_all(int fd, unsigned char *data, size_t size)
{
    while (size > 0) {
        ssize_t n = read(fd, data, size);
        if (n == 0 || (n < 0 && errno != EINTR))
            return false;
        if (n > 0) {
            data += n;
            size -= (size_t)n;
        }
    }
    return true;
}

static francis_result frn_zone_load_from(frn_mem *mem, const char *name, int fd, frn_zone **out)
{
    struct stat    st;
    unsigned char *data = NULL;
    size_t         size = 0;
    francis_result r = FRANCIS_ERR_CORRUPT;

    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_size <= 0 ||
        st.st_size > FRN_ZONE_FILE_MAX)
        return r;
    size = (size_t)st.st_size;
    data = (unsigned char *)frn_mem_alloc(mem, size);
    if (data == NULL)
        return FRANCIS_ERR_NOMEM;
    if (frn_read_all(fd, data, size))
        r = frn_tzif_read(mem, name, data, size, out);
    frn_mem_free(mem, data, size);
    return r;
}

/* FRANCIS_ERR_NOT_FOUND = no directory has such a file. */
static francis_result frn_zone_load(const frn_zones *zones, const char *name, frn_zone **out)
{
    const char    *directories[] = { "/usr/share/zoneinfo", "/usr/lib/zoneinfo",
                                  "/usr/share/lib/zoneinfo" };
    char           path[512];
    size_t         i, count = zones->directory != NULL ? 1 : FRN_COUNT(directories);
    int            fd = -1, length;
    francis_result r;

    if (zones->directory != NULL)
        directories[0] = zones->directory;
    for (i = 0; i < count && fd < 0; i++) {
        length = snprintf(path, sizeof path, "%s/%s", directories[i], name);
        if (length > 0 && (size_t)length < sizeof path)
            fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    }
    if (fd < 0)
        return FRANCIS_ERR_NOT_FOUND;
    r = frn_zone_load_from(zones->mem, name, fd, out);
    (void)close(fd);
    return r;
}

/* ---- the zones in use ---- */

static void frn_zones_init(frn_zones *zones, frn_mem *mem)
{
    memset(zones, 0, sizeof *zones);
    zones->mem = mem;
    (void)pthread_mutex_init(&zones->lock, NULL);
}

static void frn_zones_free(frn_zones *zones)
{
    frn_zone *z, *next;

    for (z = zones->first; z != NULL; z = next) {
        next = z->next;
        frn_mem_free(zones->mem, z, z->bytes);
    }
    zones->first = NULL;
    (void)pthread_mutex_destroy(&zones->lock);
}

/* It becomes part of a path: Area/Place, of letters, digits, '_', '+' and '-'. */
static bool frn_zone_named(const char *name)
{
    char before = '/';

    for (; *name != '\0'; before = *name++) {
        bool word = frn_is_letter(*name) || frn_is_digit(*name) || *name == '_';
        if (!word && (before == '/' || (*name != '/' && *name != '+' && *name != '-')))
            return false;
    }
    return before != '/';
}

static francis_result frn_zone_make(const frn_zones *zones, const char *name, frn_zone **out)
{
    frn_zone_rule rule;

    if (zones->count >= FRN_ZONES_MAX)
        return FRANCIS_ERR_TOO_LARGE;
    if (!frn_posix_parse(name, &rule))
        return frn_zone_named(name) ? frn_zone_load(zones, name, out) : FRANCIS_ERR_INVALID;
    *out = frn_zone_new(zones->mem, name, 0);
    if (*out == NULL)
        return FRANCIS_ERR_NOMEM;
    (*out)->ruled = true;
    (*out)->rule = rule;
    return FRANCIS_OK;
}

/* NULL = UTC. The name has at most FRN_ZONE_NAME_MAX bytes. */
static francis_result frn_zones_find(frn_zones *zones, const char *name, const frn_zone **out)
{
    frn_zone      *z;
    francis_result r = FRANCIS_OK;

    *out = NULL;
    if (strcmp(name, "UTC") == 0 || strcmp(name, "Z") == 0)
        return FRANCIS_OK;
    (void)pthread_mutex_lock(&zones->lock);
    for (z = zones->first; z != NULL && strcmp(z->name, name) != 0; z = z->next)
        continue;
    if (z == NULL) {
        r = frn_zone_make(zones, name, &z);
        if (r == FRANCIS_OK) {
            z->next = zones->first;
            zones->first = z;
            zones->count++;
        }
    }
    (void)pthread_mutex_unlock(&zones->lock);
    *out = r == FRANCIS_OK ? z : NULL;
    return r;
}

/* ---- intervals, read ---- */

#define FRN_TOO_LONG "is too long: 10,000 years are the most"

typedef struct frn_words {
    const char *repeat;
    char       *error;
    size_t      size;
} frn_words;

static francis_result frn_repeat_fault(const frn_words *w, const char *format, ...)
    FRANCIS_PRINTF(2, 3);

static francis_result frn_repeat_fault(const frn_words *w, const char *format, ...)
{
    char    what[200];
    va_list args;

    va_start(args, format);
    (void)vsnprintf(what, sizeof what, format, args);
    va_end(args);
    (void)snprintf(w->error, w->size, "\"%.100s%s\" %s", w->repeat,
                   strlen(w->repeat) > 100 ? "..." : "", what);
    return FRANCIS_ERR_INVALID;
}

static bool frn_add_times(int64_t *sum, int64_t n, int64_t unit, int64_t most)
{
    if (n > (most - *sum) / unit)
        return false;
    *sum += n * unit;
    return true;
}

/* How many digits there were. What is larger than any number can be is FRN_NUMBER_MAX. */
static size_t frn_digits(const char **at, int64_t *value)
{
    const char *first = *at;

    for (*value = 0; frn_is_digit(**at); ++*at)
        *value = *value >= FRN_NUMBER_MAX / 10 ? FRN_NUMBER_MAX : *value * 10 + (**at - '0');
    return (size_t)(*at - first);
}

/* The digits behind a point as a count of 10^-places; the point is optional. */
static bool frn_fraction(const char **at, size_t places, int64_t *value)
{
    size_t n;

    *value = 0;
    if (**at != '.')
        return true;
    ++*at;
    n = frn_digits(at, value);
    if (n == 0 || n > places)
        return false;
    for (; n < places; n++)
        *value *= 10;
    return true;
}

static int64_t frn_unit_ns(const char *name, size_t size)   /* 0 = there is no such unit */
{
    static const struct {
        const char *name;
        int64_t     ns;
    } units[] = {
        { "ns", 1 },                { "us", 1000 },             { "ms", FRN_MS },
        { "s", 1000 * FRN_MS },     { "m", 60000 * FRN_MS },    { "h", 3600000 * FRN_MS },
        { "d", 86400000 * FRN_MS }, { "w", 604800000 * FRN_MS },
    };
    size_t i;

    for (i = 0; i < FRN_COUNT(units); i++)
        if (strlen(units[i].name) == size && memcmp(units[i].name, name, size) == 0)
            return units[i].ns;
    return 0;
}

/* So many of a unit, with a fraction in 10^-9. What is less than a nanosecond is dropped. */
static bool frn_duration_add(int64_t *ms, int64_t *ns, int64_t n, int64_t fraction, int64_t unit)
{
    int64_t part = FRN_MS / unit;           /* so many are a millisecond; 0 = one is longer */

    if (part > 1) {
        *ns += n % part * unit + fraction * unit / INT64_C(1000000000);
        n /= part;
    } else {
        *ns += fraction * (unit / FRN_MS) / 1000;
    }
    if (!frn_add_times(ms, n, part > 1 ? 1 : unit / FRN_MS, FRN_INTERVAL_MAX) ||
        !frn_add_times(ms, *ns / FRN_MS, 1, FRN_INTERVAL_MAX))
        return false;
    *ns %= FRN_MS;
    return true;
}

static francis_result frn_duration_parse(const frn_words *w, const char *at, int64_t *ms)
{
    const char *unit;
    int64_t     n, fraction, unit_ns, ns = 0;
    size_t      size;

    for (*ms = 0; *at != '\0'; at += size) {
        if (frn_digits(&at, &n) == 0)
            return frn_repeat_fault(w, "has no number at \"%.20s\"", at);
        if (!frn_fraction(&at, 9, &fraction))
            return frn_repeat_fault(w, "has a fraction that is not 1 to 9 digits");
        unit = at;
        for (size = 0; frn_is_letter(unit[size]); size++)
            continue;
        unit_ns = frn_unit_ns(unit, size);
        if (unit_ns == 0)
            return frn_repeat_fault(w, "has \"%.20s\" where a unit is wanted: ms, s, m, h, d or w",
                                    unit);
        if (n == FRN_NUMBER_MAX || !frn_duration_add(ms, &ns, n, fraction, unit_ns))
            return frn_repeat_fault(w, FRN_TOO_LONG);
    }
    return FRANCIS_OK;
}

static francis_result frn_number_parse(const frn_words *w, const char *at, int64_t *ms)
{
    (void)frn_digits(&at, ms);
    if (*ms > FRN_INTERVAL_MAX)
        return frn_repeat_fault(w, FRN_TOO_LONG);
    return FRANCIS_OK;
}

typedef struct frn_iso_part {
    char    name;
    bool    of_time;
    int     sum;                    /* 0 = months, 1 = days, 2 = ms */
    int64_t unit;
} frn_iso_part;

static const frn_iso_part frn_iso_parts[] = {
    { 'Y', false, 0, 12 },          { 'M', false, 0, 1 },           { 'W', false, 1, 7 },
    { 'D', false, 1, 1 },           { 'H', true, 2, FRN_HOUR },  { 'M', true, 2, FRN_MINUTE },
    { 'S', true, 2, 1000 },
};

static size_t frn_iso_find(size_t from, char name, bool of_time)    /* the count = none */
{
    while (from < FRN_COUNT(frn_iso_parts) &&
           (frn_iso_parts[from].name != name || frn_iso_parts[from].of_time != of_time))
        from++;
    return from;
}

/* One part, and where the next may be; false = not understood. */
static bool frn_iso_part_parse(const char **at, bool of_time, size_t *next, int64_t *n,
                               int64_t *fraction)
{
    bool pointed;

    if (frn_digits(at, n) == 0)
        return false;
    pointed = **at == '.';
    if (!frn_fraction(at, 3, fraction))
        return false;
    *next = frn_iso_find(*next, **at, of_time) + 1;
    return *next <= FRN_COUNT(frn_iso_parts) && (*(*at)++ == 'S' || !pointed);
}

/* Each part once and in its order, upper case, a fraction of seconds only. */
static francis_result frn_iso_parse(const frn_words *w, const char *at, frn_schedule *s)
{
    static const int64_t most[] = { FRN_MONTHS_MAX, FRN_DAYS_MAX, FRN_INTERVAL_MAX };
    const frn_iso_part  *part;
    int64_t              sum[] = { 0, 0, 0 }, n, fraction;
    size_t               next = 0;
    bool                 of_time = false, any = false, ok = true;

    for (at++; ok && *at != '\0';) {
        if (*at == 'T' && !of_time) {
            of_time = true;
            any = false;
            at++;
            continue;
        }
        any = ok = frn_iso_part_parse(&at, of_time, &next, &n, &fraction);
        part = &frn_iso_parts[ok ? next - 1 : 0];
        if (ok && (!frn_add_times(&sum[part->sum], n, part->unit, most[part->sum]) ||
                   !frn_add_times(&sum[2], fraction, 1, FRN_INTERVAL_MAX)))
            return frn_repeat_fault(w, FRN_TOO_LONG);
    }
    if (!any)
        return frn_repeat_fault(w, "is not an ISO 8601 duration such as PT5M or P1Y2M10DT2H30M");
    s->months = (int32_t)sum[0];
    s->days = (int32_t)sum[1];
    s->ms = sum[2];
    return FRANCIS_OK;
}

static francis_result frn_interval_parse(const frn_words *w, const char *at, frn_schedule *s)
{
    francis_result r;

    if (*at == 'P')
        r = frn_iso_parse(w, at, s);
    else if (*at == '+' || *at == '-')
        return frn_repeat_fault(w, "has a sign, which a duration has not");
    else if (!frn_is_digit(*at))
        return frn_repeat_fault(w, "is neither a duration (90s, PT5M), nor five fields of cron, "
                                   "nor a descriptor (@daily)");
    else if (at[strspn(at, "0123456789")] == '\0')
        r = frn_number_parse(w, at, &s->ms);
    else
        r = frn_duration_parse(w, at, &s->ms);
    if (r == FRANCIS_OK && s->months == 0 && s->days == 0 && s->ms == 0)
        return frn_repeat_fault(w, "is less than a millisecond");
    return r;
}

/* ---- cron, read ---- */

typedef struct frn_cron_field {
    const char *what;
    int64_t     least, most, highest;       /* highest: may be written, is not part of a star */
    const char *names;                      /* in threes, from least */
} frn_cron_field;

static const frn_cron_field frn_cron_fields[FRN_CRON_FIELDS] = {
    { "minute", 0, 59, 59, "" },
    { "hour", 0, 23, 23, "" },
    { "day of month", 1, 31, 31, "" },
    { "month", 1, 12, 12, "janfebmaraprmayjunjulaugsepoctnovdec" },
    { "day of week", 0, 6, 7, "sunmontuewedthufrisat" },
};

static char frn_lower(char c) { return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c; }

static bool frn_cron_value(const frn_cron_field *f, const char **at, int64_t *value)
{
    const char *name = f->names;
    size_t      i;

    if (frn_digits(at, value) > 0)
        return true;
    for (*value = f->least; *name != '\0'; name += 3, ++*value) {
        for (i = 0; i < 3 && frn_lower((*at)[i]) == name[i]; i++)
            continue;
        if (i == 3) {
            *at += 3;
            return true;
        }
    }
    return false;
}

/* One of a list: *, a or a-b, each also with /step. Returns what is wrong with it, or NULL. */
static const char *frn_cron_term(const frn_cron_field *f, const char *at, uint64_t *bits,
                                 uint8_t *star)
{
    int64_t low = f->least, high = f->most, step = 1;
    bool    all = *at == '*' || *at == '?', range = all;

    if (all)
        at++;
    else if (!frn_cron_value(f, &at, &low))
        return "is not understood";
    else if (*at == '-') {
        at++;
        range = true;
        if (!frn_cron_value(f, &at, &high))
            return "is not understood";
    }
    if (*at == '/') {
        at++;
        if (frn_digits(&at, &step) == 0)
            return "is not understood";
        if (step < 1 || step > f->most - f->least + 1)
            return "has a step that is out of range";
        high = range || high > low ? high : low;
    } else if (!range)
        high = low;
    if (*at != '\0')
        return "is not understood";
    if (low < f->least || low > f->highest || high > f->highest)
        return "is out of range";
    if (low > high)
        return "goes backwards";
    *star = all ? (uint8_t)step : 0;
    for (; low <= high; low += step)
        *bits |= UINT64_C(1) << low;
    return NULL;
}

/* A star in a list makes the list a star. One with a step is told apart only if it is alone. */
static francis_result frn_cron_list(const frn_words *w, int field, char *list, frn_schedule *s)
{
    const frn_cron_field *f = &frn_cron_fields[field];
    const char           *wrong = NULL;
    char                 *comma = NULL;
    uint8_t               star = 0, stars = 0;
    int                   terms = 0;

    do {
        comma = strchr(list, ',');
        if (comma != NULL)
            *comma = '\0';
        wrong = frn_cron_term(f, list, &s->cron[field], &star);
        if (wrong != NULL)
            return frn_repeat_fault(w, "has a %s \"%.40s\" that %s (%d to %d)", f->what, list,
                                    wrong, (int)f->least, (int)f->highest);
        terms++;
        stars = star == 1 || terms == 1 ? star : (uint8_t)(stars == 1);
        list = comma != NULL ? comma + 1 : list;
    } while (comma != NULL);
    s->star[field] = stars;
    return FRANCIS_OK;
}

static francis_result frn_cron_parse(const frn_words *w, char *text, frn_schedule *s)
{
    char          *fields[FRN_CRON_FIELDS];
    francis_result r = FRANCIS_OK;
    int            count = 0, i;

    while (*text != '\0') {
        size_t size = strcspn(text, " \t");
        if (count < FRN_CRON_FIELDS)
            fields[count] = text;
        count++;
        text += size;
        while (*text == ' ' || *text == '\t')
            *text++ = '\0';
    }
    if (count != FRN_CRON_FIELDS)
        return frn_repeat_fault(w, "has %d field%s, where cron has 5 and a duration 1", count,
                                count == 1 ? "" : "s");
    for (i = 0; i < FRN_CRON_FIELDS && r == FRANCIS_OK; i++)
        r = frn_cron_list(w, i, fields[i], s);
    if ((s->cron[FRN_CRON_WEEKDAY] & 0x80) != 0)        /* 7 is Sunday, too */
        s->cron[FRN_CRON_WEEKDAY] = (s->cron[FRN_CRON_WEEKDAY] & 0x7f) | 1;
    return r;
}

static francis_result frn_descriptor_parse(const frn_words *w, const char *text, frn_schedule *s)
{
    static const char *const known[][2] = {
        { "@yearly", "0 0 1 1 *" }, { "@annually", "0 0 1 1 *" }, { "@monthly", "0 0 1 * *" },
        { "@weekly", "0 0 * * 0" }, { "@daily", "0 0 * * *" },    { "@midnight", "0 0 * * *" },
        { "@hourly", "0 * * * *" },
    };
    char   cron[16];
    size_t i;

    if (strncmp(text, "@every", 6) == 0 && (text[6] == ' ' || text[6] == '\t'))
        return frn_interval_parse(w, text + 6 + strspn(text + 6, " \t"), s);
    for (i = 0; i < FRN_COUNT(known); i++)
        if (strcmp(text, known[i][0]) == 0) {
            (void)snprintf(cron, sizeof cron, "%s", known[i][1]);
            return frn_cron_parse(w, cron, s);
        }
    return frn_repeat_fault(w, "is not one of @yearly, @annually, @monthly, @weekly, @daily, "
                               "@midnight, @hourly and @every DURATION");
}

/* ---- cron, computed: local times are counted in minutes ---- */

/* The days of a month that match, as bits 1 to 31. */
static uint64_t frn_cron_days(const frn_schedule *s, int64_t year, int64_t month)
{
    int64_t  first = frn_weekday(frn_date_to_day(year, month, 1));
    uint64_t all = (UINT64_C(2) << frn_month_days(year, month)) - 2;
    uint64_t week = s->cron[FRN_CRON_WEEKDAY], by_week, by_month = s->cron[FRN_CRON_DAY];

    if ((s->cron[FRN_CRON_MONTH] >> month & 1) == 0)
        return 0;
    week = (week >> first | week << (7 - first)) & 0x7f;    /* now bit 0 is the first */
    by_week = (week | week << 7 | week << 14 | week << 21 | week << 28) << 1;
    if (s->star[FRN_CRON_DAY] == 1 || s->star[FRN_CRON_WEEKDAY] == 1)
        return by_week & by_month & all;
    return (by_week | by_month) & all;
}

static int64_t frn_lowest(uint64_t bits) { return __builtin_ctzll(bits); }

/* The first minute of a day from one on, or -1. */
static int64_t frn_cron_time_from(const frn_schedule *s, int64_t minute)
{
    int64_t  hour = minute / 60;
    uint64_t hours = s->cron[FRN_CRON_HOUR] >> hour << hour, minutes = s->cron[FRN_CRON_MINUTE];
    uint64_t rest = minutes >> (minute % 60) << (minute % 60);

    if ((hours >> hour & 1) != 0 && rest != 0)
        return hour * 60 + frn_lowest(rest);
    hours &= ~(UINT64_C(1) << hour);
    return hours != 0 ? frn_lowest(hours) * 60 + frn_lowest(minutes) : -1;
}

static int64_t frn_cron_from(const frn_schedule *s, int64_t minute)     /* FRN_NEVER = none */
{
    int64_t  day = frn_floor_div(minute, 1440), time;
    frn_date date = frn_day_to_date(day);
    uint64_t days = frn_cron_days(s, date.year, date.month);

    if ((days >> date.day & 1) != 0) {
        time = frn_cron_time_from(s, minute - day * 1440);
        if (time >= 0)
            return day * 1440 + time;
    }
    days &= ~((UINT64_C(2) << date.day) - 1);
    while (days == 0) {
        date.year += date.month == 12 ? 1 : 0;
        date.month = date.month % 12 + 1;
        if (date.year > 10000)
            return FRN_NEVER;
        days = frn_cron_days(s, date.year, date.month);
    }
    day = frn_date_to_day(date.year, date.month, frn_lowest(days));
    return day * 1440 + frn_cron_time_from(s, 0);
}

static int64_t frn_bits(uint64_t bits) { return __builtin_popcountll(bits); }

/* How many of a day's are up to a minute of it. */
static int64_t frn_cron_day_count(const frn_schedule *s, int64_t minute)
{
    int64_t  hour = minute / 60;
    uint64_t hours = s->cron[FRN_CRON_HOUR], minutes = s->cron[FRN_CRON_MINUTE];
    int64_t  count = frn_bits(hours & ((UINT64_C(1) << hour) - 1)) * frn_bits(minutes);

    if ((hours >> hour & 1) != 0)
        count += frn_bits(minutes & ((UINT64_C(2) << (minute % 60)) - 1));
    return count;
}

/* How many days of a month up to one of its days match, times all of a day. */
static int64_t frn_cron_month_count(const frn_schedule *s, frn_date date)
{
    uint64_t days = frn_cron_days(s, date.year, date.month);
    return frn_bits(days & ((UINT64_C(2) << date.day) - 1)) * frn_cron_day_count(s, 1439);
}

/* How many are in (from, to], minutes of local time: by months, then what the last two lack. */
static int64_t frn_cron_count_local(const frn_schedule *s, int64_t from, int64_t to)
{
    int64_t  first = frn_floor_div(from, 1440), last = frn_floor_div(to, 1440), count;
    frn_date date = frn_day_to_date(first), end = frn_day_to_date(last);

    if (from >= to)
        return 0;
    count = frn_cron_month_count(s, end) - frn_cron_month_count(s, date);
    if ((frn_cron_days(s, date.year, date.month) >> date.day & 1) != 0)
        count += frn_cron_day_count(s, 1439) - frn_cron_day_count(s, from - first * 1440);
    if ((frn_cron_days(s, end.year, end.month) >> end.day & 1) != 0)
        count -= frn_cron_day_count(s, 1439) - frn_cron_day_count(s, to - last * 1440);
    while (date.year != end.year || date.month != end.month) {
        date.day = 31;
        count += frn_cron_month_count(s, date);
        date.year += date.month == 12 ? 1 : 0;
        date.month = date.month % 12 + 1;
    }
    return count;
}

static int64_t frn_cron_count_ms(const frn_schedule *s, int64_t from, int64_t to)
{
    return frn_cron_count_local(s, frn_floor_div(from, FRN_MINUTE),
                                frn_floor_div(to, FRN_MINUTE));
}

/* With a star for the hour it runs in each hour that passes, and clocks are read as they are at the
 * time. Otherwise it is the local times that count: each once, at the first instant at which clocks
 * show it or what follows it. */
static bool frn_cron_flows(const frn_schedule *s) { return s->star[FRN_CRON_HOUR] != 0; }

static int64_t frn_cron_next(const frn_schedule *s, int64_t after)
{
    frn_span span;
    int64_t  minute, at;

    if (!frn_cron_flows(s)) {
        minute = frn_floor_div(frn_zone_seen(s->zone, after), FRN_MINUTE) + 1;
        minute = frn_cron_from(s, minute);
        return minute == FRN_NEVER ? FRN_NEVER : frn_zone_instant(s->zone, minute * FRN_MINUTE);
    }
    for (;; after = span.end - 1) {
        span = frn_zone_span(s->zone, after + 1);
        minute = frn_floor_div(after + span.offset, FRN_MINUTE) + 1;
        minute = frn_cron_from(s, minute);
        if (minute == FRN_NEVER)
            return FRN_NEVER;
        at = minute * FRN_MINUTE - span.offset;
        if (at < span.end)
            return at;
    }
}

static int64_t frn_cron_count_flowing(const frn_schedule *s, int64_t from, int64_t to)
{
    int64_t count = 0, end;

    for (; from < to; from = end) {
        frn_span span = frn_zone_span(s->zone, from + 1);
        end = span.end - 1 < to ? span.end - 1 : to;
        count += frn_cron_count_ms(s, from + span.offset, end + span.offset);
    }
    return count;
}

/* All local times that pass in between, but of those that a gap brings together only one. */
static int64_t frn_cron_count(const frn_schedule *s, int64_t from, int64_t to)
{
    frn_span span = frn_zone_span(s->zone, from);
    int64_t  count, gap, at;

    if (frn_cron_flows(s))
        return frn_cron_count_flowing(s, from, to);
    count = frn_cron_count_ms(s, frn_zone_seen(s->zone, from), frn_zone_seen(s->zone, to));
    while (span.end <= to) {
        at = span.end;
        span = frn_zone_span(s->zone, at);
        gap = frn_cron_count_ms(s, frn_zone_seen(s->zone, at - 1), at + span.offset);
        count -= gap > 1 ? gap - 1 : 0;
    }
    return count;
}

/* ---- intervals, computed ---- */

/* Occurrence k: months are added to the local date of the anchor, its day is cut to the last of the
 * month; then days; then the exact part to the instant at which clocks show that. */
static int64_t frn_interval_at(const frn_schedule *s, int64_t anchor, int64_t k)
{
    int64_t  local, day, time, months, month, most;
    frn_date date;

    if (k == 0 || (s->months == 0 && s->days == 0))
        return anchor + k * s->ms;
    local = anchor + frn_zone_span(s->zone, anchor).offset;
    day = frn_floor_div(local, FRN_DAY);
    time = local - day * FRN_DAY;
    date = frn_day_to_date(day);
    months = date.year * 12 + date.month - 1 + k * s->months;
    date.year = frn_floor_div(months, 12);
    month = months - date.year * 12 + 1;
    most = frn_month_days(date.year, month);
    day = frn_date_to_day(date.year, month, date.day < most ? date.day : most) + k * s->days;
    return frn_zone_instant(s->zone, day * FRN_DAY + time) + k * s->ms;
}

/* The largest k whose occurrence is not after an instant, which is not before the anchor. */
static int64_t frn_interval_index(const frn_schedule *s, int64_t anchor, int64_t at)
{
    int64_t days = s->days + (int64_t)s->months * 28, slack = 3 * (int64_t)FRN_DAY;
    int64_t low = 0, high, middle;

    if (days == 0)
        return s->ms == 0 ? 0 : (at - anchor) / s->ms;
    high = (at - anchor + slack) / (days * FRN_DAY + s->ms) + 1;
    days += (int64_t)s->months * 3;         /* now no step is longer: from here, too, only a few */
    if (at - anchor > slack)
        low = (at - anchor - slack) / (days * FRN_DAY + s->ms);
    while (high - low > 1) {
        middle = low + (high - low) / 2;
        if (frn_interval_at(s, anchor, middle) <= at)
            low = middle;
        else
            high = middle;
    }
    return low;
}

static int64_t frn_interval_next(const frn_schedule *s, int64_t anchor, int64_t after)
{
    if (after < anchor)
        return anchor;
    if (frn_schedule_is_none(s))
        return FRN_NEVER;
    return frn_interval_at(s, anchor, frn_interval_index(s, anchor, after) + 1);
}

/* Where a zone has left out a whole day, two may be at the same instant: how many are so. */
static int64_t frn_interval_twice(const frn_schedule *s, int64_t anchor, int64_t from, int64_t to)
{
    const frn_zone *z = s->zone;
    size_t          i;
    int64_t         count = 0, n;

    if (z == NULL || s->ms != 0 || (s->months == 0 && s->days == 0))
        return 0;
    for (i = frn_zone_changes(z, from); i < z->count && z->at[i] <= to; i++)
        if (z->offsets[i + 1] - z->offsets[i] == FRN_DAY) {
            n = frn_interval_index(s, anchor, z->at[i]) -
                frn_interval_index(s, anchor, z->at[i] - 1);
            count += n > 1 ? n - 1 : 0;
        }
    return count;
}

static int64_t frn_interval_count(const frn_schedule *s, int64_t anchor, int64_t from, int64_t to)
{
    int64_t count = 0;

    if (to < anchor)
        return 0;
    if (from < anchor) {
        count = 1;
        from = anchor;
    }
    return count + frn_interval_index(s, anchor, to) - frn_interval_index(s, anchor, from) -
           frn_interval_twice(s, anchor, from, to);
}

/* ---- the text of a schedule ---- */

typedef struct frn_line {
    char  *text;
    size_t size, used;
} frn_line;

static void frn_line_add(frn_line *l, const char *format, ...) FRANCIS_PRINTF(2, 3);

static void frn_line_add(frn_line *l, const char *format, ...)
{
    va_list args;
    int     n;

    va_start(args, format);
    n = l->used < l->size ? vsnprintf(l->text + l->used, l->size - l->used, format, args) : 0;
    va_end(args);
    l->used += n > 0 ? (size_t)n : 0;
}

static void frn_line_part(frn_line *l, int64_t n, char unit)
{
    if (n != 0)
        frn_line_add(l, "%lld%c", (long long)n, unit);
}

static void frn_interval_text(const frn_schedule *s, frn_line *l)
{
    int64_t seconds = s->ms / 1000 % 60, ms = s->ms % 1000;

    frn_line_add(l, "P");
    frn_line_part(l, s->months / 12, 'Y');
    frn_line_part(l, s->months % 12, 'M');
    frn_line_part(l, s->days, 'D');
    if (s->ms != 0)
        frn_line_add(l, "T");
    frn_line_part(l, s->ms / FRN_HOUR, 'H');
    frn_line_part(l, s->ms / FRN_MINUTE % 60, 'M');
    if (ms != 0)
        frn_line_add(l, "%d.%03dS", (int)seconds, (int)ms);
    else
        frn_line_part(l, seconds, 'S');
}

static void frn_cron_field_text(uint64_t bits, uint8_t star, frn_line *l)
{
    const char *before = "";
    int64_t     low, high;

    if (star == 1)
        frn_line_add(l, "*");
    else if (star > 1)
        frn_line_add(l, "*/%u", (unsigned)star);
    for (low = 0; star == 0 && bits >> low != 0; low = high + 1) {
        low += frn_lowest(bits >> low);
        for (high = low; (bits >> high & 2) != 0; high++)
            continue;
        if (high == low + 1)                /* 1,2 is what everybody writes */
            high = low;
        frn_line_add(l, "%s%d", before, (int)low);
        if (high > low)
            frn_line_add(l, "-%d", (int)high);
        before = ",";
    }
}

static size_t frn_schedule_line(const frn_schedule *s, char *out, size_t size)  /* its length */
{
    frn_line l = { out, size, 0 };
    int      i;

    if (size > 0)
        out[0] = '\0';
    if (frn_schedule_is_none(s))
        return 0;
    if (s->zone != NULL)
        frn_line_add(&l, "TZ=%s ", s->zone->name);
    if (!frn_schedule_is_cron(s))
        frn_interval_text(s, &l);
    for (i = 0; frn_schedule_is_cron(s) && i < FRN_CRON_FIELDS; i++) {
        frn_line_add(&l, "%s", i > 0 ? " " : "");
        frn_cron_field_text(s->cron[i], s->star[i], &l);
    }
    return l.used;
}

/* ---- schedules ---- */

static bool frn_schedule_is_cron(const frn_schedule *s) { return s->cron[FRN_CRON_MINUTE] != 0; }

static bool frn_schedule_is_none(const frn_schedule *s)
{
    return s->ms == 0 && s->months == 0 && s->days == 0 && !frn_schedule_is_cron(s);
}

static void frn_schedule_text(const frn_schedule *s, char *out, size_t size)
{
    (void)frn_schedule_line(s, out, size);
}

static francis_result frn_zone_fault(const frn_words *w, const char *name, francis_result r)
{
    if (r == FRANCIS_ERR_NOMEM) {
        (void)snprintf(w->error, w->size, "out of memory");
        return r;
    }
    return frn_repeat_fault(w, "names the time zone \"%s\", %s", name,
                            r == FRANCIS_ERR_NOT_FOUND   ? "which this system does not know"
                            : r == FRANCIS_ERR_CORRUPT   ? "whose file is damaged"
                            : r == FRANCIS_ERR_TOO_LARGE ? "but 1000 of them are in use"
                                                         : "which is no name of one");
}

/* TZ=Zone or CRON_TZ=Zone, then blanks: *at goes behind them. */
static francis_result frn_schedule_zone(frn_zones *zones, const frn_words *w, char **at,
                                        frn_schedule *s)
{
    char          *text = *at;
    char           name[FRN_ZONE_NAME_MAX + 1];
    size_t         size;
    francis_result r;

    if (strncmp(text, "CRON_", 5) == 0)
        text += 5;
    if (strncmp(text, "TZ=", 3) != 0)
        return FRANCIS_OK;
    text += 3;
    size = strcspn(text, " \t");
    if (size == 0 || size > FRN_ZONE_NAME_MAX)
        return frn_repeat_fault(w, "names a time zone of %u bytes, not 1 to %d", (unsigned)size,
                                (int)FRN_ZONE_NAME_MAX);
    if (text[size] == '\0')
        return frn_repeat_fault(w, "has a time zone and nothing behind it");
    memcpy(name, text, size);
    name[size] = '\0';
    r = frn_zones_find(zones, name, &s->zone);
    if (r != FRANCIS_OK)
        return frn_zone_fault(w, name, r);
    *at = text + size + strspn(text + size, " \t");
    return FRANCIS_OK;
}

static char *frn_trim(char *text)
{
    size_t size;

    text += strspn(text, " \t");
    for (size = strlen(text); size > 0 && (text[size - 1] == ' ' || text[size - 1] == '\t'); size--)
        text[size - 1] = '\0';
    return text;
}

static francis_result frn_schedule_read(frn_zones *zones, const frn_words *w, char *at,
                                        frn_schedule *s)
{
    francis_result r = frn_schedule_zone(zones, w, &at, s);

    if (r != FRANCIS_OK)
        return r;
    if (*at == '@')
        return frn_descriptor_parse(w, at, s);
    if (*at == '*' || *at == '?' || at[strcspn(at, " \t")] != '\0')
        return frn_cron_parse(w, at, s);
    return frn_interval_parse(w, at, s);
}

static francis_result frn_schedule_parse(frn_zones *zones, const char *repeat, frn_schedule *out,
                                         char *error, size_t error_size)
{
    char           copy[FRN_REPEAT_MAX + 1];
    frn_words      w = { repeat, error, error_size };
    frn_schedule   s;
    francis_result r;

    memset(out, 0, sizeof *out);
    memset(&s, 0, sizeof s);
    if (repeat == NULL || repeat[0] == '\0')
        return FRANCIS_OK;
    if (strnlen(repeat, sizeof copy) == sizeof copy)
        return frn_repeat_fault(&w, "is longer than %d bytes", (int)FRN_REPEAT_MAX);
    (void)snprintf(copy, sizeof copy, "%s", repeat);
    r = frn_schedule_read(zones, &w, frn_trim(copy), &s);
    if (r != FRANCIS_OK)
        return r;
    if (frn_schedule_line(&s, copy, sizeof copy) >= sizeof copy)
        return frn_repeat_fault(&w, "is longer than %d bytes once it is written out",
                                (int)FRN_REPEAT_MAX);
    if (frn_schedule_is_cron(&s) && frn_schedule_next(&s, 0, 0) == FRN_NEVER_DUE)
        return frn_repeat_fault(&w, "never comes");
    *out = s;
    return FRANCIS_OK;
}

static francis_result frn_schedule_every(int64_t ms, frn_schedule *out, char *error,
                                         size_t error_size)
{
    memset(out, 0, sizeof *out);
    if (ms <= 0 || ms > FRN_INTERVAL_MAX) {
        (void)snprintf(error, error_size, "an interval of %lld ms is not 1 ms to 10,000 years",
                       (long long)ms);
        return FRANCIS_ERR_INVALID;
    }
    out->ms = ms;
    return FRANCIS_OK;
}

static int64_t frn_time_within(int64_t ms, int64_t least)
{
    return ms < least ? least : ms > FRN_TIME_MAX ? FRN_TIME_MAX : ms;
}

static int64_t frn_schedule_next(const frn_schedule *s, int64_t anchor_ms, int64_t after_ms)
{
    int64_t after = frn_time_within(after_ms, FRN_TIME_MIN - 1), at;

    if (frn_schedule_is_cron(s))
        at = frn_cron_next(s, after);
    else if (anchor_ms > FRN_TIME_MAX)
        at = FRN_NEVER_DUE;
    else
        at = frn_interval_next(s, frn_time_within(anchor_ms, FRN_TIME_MIN), after);
    return at > FRN_TIME_MAX ? FRN_NEVER_DUE : at;
}

static uint64_t frn_schedule_count(const frn_schedule *s, int64_t anchor_ms, int64_t from_ms,
                                   int64_t to_ms, uint64_t most)
{
    int64_t from = frn_time_within(from_ms, FRN_TIME_MIN - 1);
    int64_t to = frn_time_within(to_ms, FRN_TIME_MIN - 1);
    int64_t count = 0;

    if (from < to && frn_schedule_is_cron(s))
        count = frn_cron_count(s, from, to);
    else if (from < to && anchor_ms <= FRN_TIME_MAX)
        count = frn_interval_count(s, frn_time_within(anchor_ms, FRN_TIME_MIN), from, to);
    return (uint64_t)count < most ? (uint64_t)count : most;
}

// >> 330 alarm | needs: 270 320
//    An alarm or a job as it is stored: what it is called, when it is due, what has become of it;
//    and what is to be done with one, as a part of a transaction.

typedef enum frn_alarm_kind {
    FRN_KIND_ALARM,
    FRN_KIND_JOB,
    FRN_KIND_HOOK                   /* a dead job, that job_failed is still to be told of */
} frn_alarm_kind;

typedef enum frn_alarm_text {
    FRN_TEXT_TYPE, FRN_TEXT_ACTOR,
    FRN_TEXT_NAME,                  /* of a job '/' and its key, which no alarm can be called */
    FRN_TEXT_METHOD,                /* of a job */
    FRN_TEXT_REPEAT,                /* as frn_schedule_text has it */
    FRN_TEXTS
} frn_alarm_text;

typedef struct frn_alarm {
    frn_alarm_kind kind;
    char           id[FRN_UUID_SIZE];
    frn_buf       *texts;           /* one behind the other, each with its NUL */
    uint32_t       at[FRN_TEXTS];
    frn_buf       *data;            /* NULL = none */
    frn_buf       *error;           /* of the last attempt that failed; NULL = none */
    int64_t        due_ms;          /* this occurrence: scheduled, and */
    int64_t        wake_ms;         /* when it is tried next */
    int64_t        anchor_ms;       /* the first one: repetitions are counted from it */
    int64_t        until_ms;        /* 0 = no end */
    uint64_t       hash;            /* of a job's method and data, see frn_work_hash */
    uint32_t       attempts;        /* of this occurrence, that have failed */
    uint32_t       crashes;         /* hosts that ended while it ran, or may have */
    uint32_t       missed_max;
    francis_missed missed;
    bool           wait_for_clock;
    bool           started;         /* marked in the file: it runs, or its host has ended */
    francis_result result;          /* of the last attempt */
} frn_alarm;

static const char *frn_alarm_get(const frn_alarm *a, frn_alarm_text which)
{
    return (const char *)FRN_BYTES(a->texts) + a->at[which];
}

/* Whether this is '/' and a request id: not '//' and the job's own id, nor what somebody else has
 * called a job. */
static bool frn_job_is_keyed(const char *name)
{
    return name[0] == '/' && name[1] != '/' && name[1] != '\0';
}

static bool frn_alarm_set_texts(frn_mem *m, frn_alarm *a, const char *const texts[FRN_TEXTS])
{
    size_t size = 0, n;
    int    i;

    for (i = 0; i < FRN_TEXTS; i++)
        size += strlen(texts[i]) + 1;
    a->texts = frn_buf_new(m, size);
    if (a->texts == NULL)
        return false;
    for (i = 0, size = 0; i < FRN_TEXTS; i++, size += n) {
        n = strlen(texts[i]) + 1;
        memcpy((char *)FRN_BYTES(a->texts) + size, texts[i], n);
        a->at[i] = (uint32_t)size;
    }
    return true;
}

static void frn_alarm_clear(frn_mem *m, frn_alarm *a)
{
    frn_buf_drop(m, a->texts);
    frn_buf_drop(m, a->data);
    frn_buf_drop(m, a->error);
    a->texts = a->data = a->error = NULL;
}

static void frn_alarm_copy(frn_alarm *to, const frn_alarm *from)    /* shares the bytes */
{
    *to = *from;
    (void)frn_buf_ref(to->texts);
    (void)frn_buf_ref(to->data);
    (void)frn_buf_ref(to->error);
}

static bool frn_alarm_same_text(const frn_alarm *a, const frn_alarm *b, frn_alarm_text which)
{
    return strcmp(frn_alarm_get(a, which), frn_alarm_get(b, which)) == 0;
}

static bool frn_alarm_same_key(const frn_alarm *a, const frn_alarm *b)
{
    return frn_alarm_same_text(a, b, FRN_TEXT_NAME) && frn_alarm_same_text(a, b, FRN_TEXT_ACTOR)
        && frn_alarm_same_text(a, b, FRN_TEXT_TYPE);
}

static bool frn_buf_equal(const frn_buf *a, const frn_buf *b)   /* no bytes are like none */
{
    size_t a_size = a != NULL ? a->size : 0, b_size = b != NULL ? b->size : 0;
    return a_size == b_size && (a_size == 0 || memcmp(FRN_BYTES(a), FRN_BYTES(b), a_size) == 0);
}

/* Whether setting b where a is would change nothing. */
static bool frn_alarm_same(const frn_alarm *a, const frn_alarm *b)
{
    return a->anchor_ms == b->anchor_ms && a->until_ms == b->until_ms && a->missed == b->missed
        && a->missed_max == b->missed_max && a->wait_for_clock == b->wait_for_clock
        && frn_alarm_same_text(a, b, FRN_TEXT_REPEAT) && frn_buf_equal(a->data, b->data);
}

/* Of a job; the same as that of a call with this method and input. */
static uint64_t frn_work_hash(const char *method, const void *data, size_t size)
{
    return frn_hash(frn_hash(0, method, strlen(method)), data, size);
}

/* From when on a look at the file finds it. One that comes again often keeps the same moment for a
 * while, so that arming it does not touch the index. */
enum { FRN_LOOK_BUCKET_MS = 65536 };

static int64_t frn_alarm_look_ms(const frn_schedule *s, int64_t wake_ms)
{
    int64_t next = wake_ms > 0 ? frn_schedule_next(s, wake_ms, wake_ms) : FRN_NEVER_DUE;

    return next != FRN_NEVER_DUE && next - wake_ms < FRN_LOOK_BUCKET_MS
        ? wake_ms - wake_ms % FRN_LOOK_BUCKET_MS : wake_ms;
}

static bool frn_repeat_is_cron(const char *repeat)      /* one that frn_schedule_text has written */
{
    const char *blank = strncmp(repeat, "TZ=", 3) == 0 ? strchr(repeat, ' ') : NULL;

    repeat = blank != NULL ? blank + 1 : repeat;
    return repeat[0] != '\0' && repeat[0] != 'P';
}

/* The creation time lies in the id; 0 = it does not. */
static int64_t frn_uuid_time(const char *id)
{
    int64_t ms = 0;
    int     i;

    if (strnlen(id, FRN_UUID_SIZE) != FRN_UUID_SIZE - 1 || id[14] != '7')
        return 0;
    for (i = 0; i < 13; i++) {
        const char *digits = "0123456789abcdef", *at = strchr(digits, id[i]);
        if (i != 8 && at == NULL)
            return 0;
        if (i != 8)
            ms = ms * 16 + (at - digits);
    }
    return ms;
}

typedef enum frn_record_op {
    FRN_RECORD_SET,                 /* an alarm; one that says the same is kept */
    FRN_RECORD_DELETE,
    FRN_RECORD_DISPATCH,            /* a job; the first one of its key is kept */
    FRN_RECORD_CANCEL,              /* a job, dead or alive, by its id */
    FRN_RECORD_RETRY,               /* a dead job lives again, as .next_id */
    FRN_RECORD_CONSUME,             /* this occurrence is over, for good */
    FRN_RECORD_REARM,               /* it is over, and .next_ms is the next one */
    FRN_RECORD_ATTEMPT,             /* it is tried again at .a.wake_ms */
    FRN_RECORD_BURY                 /* the job is dead; .next_ms is the next one, as .next_id */
} frn_record_op;

typedef struct frn_record {         /* what is done with one, in a transaction */
    frn_list       link;
    frn_record_op  op;
    frn_alarm      a;               /* as it shall be; from CONSUME on: as it was */
    int64_t        look_ms;         /* SET, DISPATCH, REARM, BURY */
    int64_t        next_ms;         /* 0 = there is none */
    char           next_id[FRN_UUID_SIZE];
    bool           same_look;       /* REARM: the row is found as before */
    bool           must;            /* if the occurrence is not there, nothing of the write is */
    bool           turn;            /* its turn has committed with it */
    bool           given_up;        /* it was tried often enough */
    bool           hook;            /* BURY: job_failed is to be told */
    uint64_t       call;            /* who waits for it; 0 = nobody */
    /* out: others may look at .a meanwhile */
    francis_result result;
    bool           kept;            /* SET, DISPATCH: what was there stands */
    char           kept_id[FRN_UUID_SIZE];      /* DISPATCH: its id */
    frn_alarm      gone;            /* CANCEL: whose it was; no texts = a dead one's */
} frn_record;

static frn_record *frn_record_new(frn_mem *m, frn_record_op op)
{
    frn_record *r = (frn_record *)frn_mem_alloc(m, sizeof *r);
    if (r == NULL)
        return NULL;
    frn_list_init(&r->link);
    r->op = op;
    return r;
}

static void frn_record_free(frn_mem *m, frn_record *r)
{
    frn_list_remove(&r->link);
    frn_alarm_clear(m, &r->a);
    frn_alarm_clear(m, &r->gone);
    frn_mem_free(m, r, sizeof *r);
}

static void frn_records_free(frn_mem *m, frn_list *records)
{
    while (!frn_list_empty(records))
        frn_record_free(m, FRN_OF(frn_record, link, records->next));
}

// >> 400 store | needs: 210-270 330
//    What the runtime wants of a database, in terms of hosts, actors and turns. A provider fills
//    frn_store_ops; only it knows tables, batch numbers and connections. Every operation may be
//    answered later, from any thread, by calling its done function once: frn_part.done,
//    frn_read.done. A provider answers for each host's part of a transaction:
//      DONE      it is durable (as far as the durability asked for goes), and the host stood, with
//                no challenge unanswered, after commit was called
//      NOT_DONE  it did not happen and never will; unknown ends have been settled
//      UNKNOWN   it may have happened; settling failed too
//    Writes of a part come in the order of their keys, those of one actor as they were sealed.

typedef enum frn_outcome { FRN_DONE, FRN_NOT_DONE, FRN_UNKNOWN } frn_outcome;

/* What one request id brought; the id's bytes lie behind it. */
typedef struct frn_request {
    struct frn_request *next;
    uint32_t            refs, id_size;      /* id_size without its NUL */
    uint64_t            hash;               /* of method and input */
    int64_t             expires_ms;
    frn_buf            *reply;              /* NULL = none */
} frn_request;

#define FRN_REQUEST_ID(r) ((char *)FRN_TAIL(r))

static frn_request *frn_request_new(frn_mem *m, const char *id, size_t id_size)
{
    frn_request *r = (frn_request *)frn_mem_alloc(m, sizeof *r + id_size + 1);
    if (r == NULL)
        return NULL;
    r->refs = 1;
    r->id_size = (uint32_t)id_size;
    memcpy(FRN_REQUEST_ID(r), id, id_size);
    return r;
}

static void frn_request_drop(frn_mem *m, frn_request *r)    /* refs: under the host's lock */
{
    if (r == NULL || --r->refs > 0)
        return;
    frn_buf_drop(m, r->reply);
    frn_mem_free(m, r, sizeof *r + r->id_size + 1);
}

typedef enum frn_write_op {
    FRN_WRITE_CLAIM,                /* place the actor here, bring its state */
    FRN_WRITE_RELEASE,              /* take the placement away */
    FRN_WRITE_TURN,                 /* what turns of one actor wrote */
    FRN_WRITE_ADMIN,                /* the same for an actor that is placed nowhere */
    FRN_WRITE_RECORDS,              /* alarms and jobs alone, whoever has the actor */
    FRN_WRITE_SWEEP,                /* delete what has expired */
    FRN_WRITE_CHALLENGE,            /* ask another host (.id) to show that it stands */
    FRN_WRITE_EVICT                 /* evict it, if it has not */
} frn_write_op;

enum { FRN_REQUESTS_PER_WRITE = 4 };

typedef struct frn_write {
    frn_list      link;
    frn_write_op  op;
    uint64_t      number;           /* order of sealing */
    const char   *type, *id;        /* borrowed of actor, or of owned */
    frn_buf      *owned;            /* ADMIN: type, NUL, id; CHALLENGE, EVICT: NUL, id of a host */
    void         *actor;            /* of the runtime; NULL = none */
    uint32_t      life;             /* of the host, in which the actor was claimed */
    bool          taken;            /* it is in a part: nothing may be added */
    int64_t       sealed_ns;
    /* TURN, ADMIN: */
    bool          purge;            /* first forget everything */
    bool          set_state;        /* then store .state, or delete the row if that is NULL */
    frn_buf      *state;
    int64_t       expires_ms;       /* 0 = does not expire */
    bool          set_version;
    uint32_t      version;
    frn_request **requests;
    uint32_t      requests_count, requests_cap;
    uint32_t      turns;
    frn_list      records;          /* alarms and jobs; also RECORDS */
    size_t        records_bytes;
    /* CLAIM: in, out */
    int64_t       idle_timeout_ms;
    bool          suspects;         /* out: alarms or jobs may have ended the host that had it */
    frn_request  *found_requests;   /* with refs 1, in a list */
    bool          found;            /* there is a state: .state, .expires_ms, .version */
    frn_buf      *owner;            /* refused: who has the actor: id, NUL, address, NUL */
    /* SWEEP: */
    int64_t       interval_ms, before_ms;
    bool          more;             /* out: there is more to delete */
    /* CHALLENGE (out), EVICT (in): */
    int64_t       challenge;        /* the number that is to be answered */
    int64_t       lease_ms;         /* out: of the host that is challenged */
    /* out: */
    francis_result result;          /* OK, or why this one was refused; it then wrote nothing */
    frn_list      gate;             /* of the runtime: what waits for it */
} frn_write;

typedef struct frn_part {           /* what one host wants committed in one transaction */
    struct frn_part *next;          /* parts of further hosts of the same transaction */
    const char      *host_id;
    frn_list         writes;
    size_t           count;
    int64_t          now_ms;
    bool             sync;          /* false: only claims and releases; a power cut may take them */
    frn_outcome      outcome;       /* out */
    francis_result   result;        /* out: why it is not DONE */
    bool             lost;          /* out: the database was opened anew, trust no image */
    size_t           rows;          /* out */
    uint32_t         evicted;       /* out: hosts that were evicted in passing */
    char             error[256];
    void           (*done)(struct frn_part *part);
    void            *user;
} frn_part;

typedef struct frn_join {
    const char  *host_id, *address;
    const char  *former;            /* the id of an earlier life, which is over; "" = none */
    size_t       types_count;
    int64_t      now_ms;            /* out */
    uint32_t     evicted;           /* out: dead hosts */
    bool         leftovers;         /* out: there is something of evicted hosts to be swept */
    const char  *(*type_at)(void *user, size_t i, int64_t *idle_timeout_ms, uint32_t *limit);
    void        *user;
} frn_join;

typedef enum frn_read_kind {
    FRN_READ_STATE, FRN_READ_PAGE,
    FRN_READ_STANDING,              /* of the host .id: OK, or EVICTED */
    FRN_READ_OWNER,                 /* the host that has the actor: .owner, "" = none */
    FRN_READ_HOSTS,                 /* all that stand: .on_host for each type of each */
    FRN_READ_DUE,                   /* alarms and jobs of .type: .on_alarm for each that wakes by
                                       .wake_by_ms, from .from_ms on */
    FRN_READ_HOOKS,                 /* dead jobs of .type that job_failed waits for */
    FRN_READ_ALARM,                 /* one: .name of the actor, or with .id, dead ones too */
    FRN_READ_CHANGED                /* .next_ms is another one when the file was changed */
} frn_read_kind;

typedef struct frn_owner {
    char id[64], address[300];
} frn_owner;

typedef struct frn_sighting {          /* an alarm as it was found */
    frn_alarm a;                    /* whoever gets it clears it */
    int64_t   look_ms;
    char      host[64];             /* that has its actor; "" = none */
} frn_sighting;

enum { FRN_PAGE_ITEMS = 100 };

typedef enum frn_column {           /* texts of an item, and numbers */
    FRN_COLUMN_TYPE, FRN_COLUMN_ID, FRN_COLUMN_NAME, FRN_COLUMN_HOST, FRN_COLUMN_JOB,
    FRN_COLUMN_KEY, FRN_COLUMN_REPEAT, FRN_COLUMN_ERROR,
    FRN_COLUMN_TEXTS,
    FRN_COLUMN_CREATED = FRN_COLUMN_TEXTS, FRN_COLUMN_EXPIRES, FRN_COLUMN_DUE, FRN_COLUMN_UNTIL,
    FRN_COLUMN_FAILED, FRN_COLUMN_ATTEMPTS, FRN_COLUMN_STARTED,
    FRN_COLUMN_DATA,
    FRN_COLUMN_NUMBERS = FRN_COLUMN_DATA - FRN_COLUMN_TEXTS
} frn_column;

typedef struct frn_item {           /* of a page; texts lie in .keys, one behind the other */
    frn_buf *keys, *data;
    uint32_t at[FRN_COLUMN_TEXTS];
    int64_t  numbers[FRN_COLUMN_NUMBERS];
} frn_item;

typedef struct frn_read {
    frn_read_kind     kind;
    const char       *type, *id;
    int64_t           now_ms;
    francis_list_kind what;         /* PAGE */
    const char       *after[3];     /* PAGE: key of the last item; NULL = from the start */
    const char       *name;         /* PAGE: of this name, or job id; ALARM: of this name */
    int64_t           from_ms, wake_by_ms;  /* DUE, HOOKS; in, out: where to go on */
    char              from_id[FRN_UUID_SIZE];
    bool              more;         /* out, DUE: there may be more rows */
    int64_t           next_ms;      /* out, DUE: when to look for the next row behind wake_by_ms */
    bool            (*on_alarm)(struct frn_read *read, frn_sighting *found);    /* false = stop */
    bool              with_data;
    bool              challenged;   /* out, STANDING: there is a challenge to be answered */
    bool              with_proof;   /* OWNER: look whether that host's process lives */
    bool              ended;        /* out: it does not; what follows from that needs a write */
    size_t            limit;
    frn_owner         owner;        /* out */
    void            (*on_host)(struct frn_read *read, const frn_owner *host, const char *type);
    frn_buf          *state;        /* out */
    frn_item         *items;        /* out, room for FRN_PAGE_ITEMS */
    size_t            count;
    francis_result    result;
    char              error[256];
    void            (*done)(struct frn_read *read);     /* NULL: answered on return */
    void             *user;
} frn_read;

typedef struct frn_store frn_store;

typedef struct frn_blocker {        /* who keeps us from writing */
    int64_t process;                /* 0 = nobody, or the system does not tell */
    int64_t version;                /* changes with each commit of anybody */
    char    host_id[64];            /* "" = none of ours */
} frn_blocker;

typedef struct frn_store_ops {
    /* Registers a host with its types, evicting those whose process is proved dead. Waits. */
    francis_result (*join)(frn_store *store, frn_join *join, char *error, size_t error_size);
    /* Removes it with its placements. Waits. */
    void (*leave)(frn_store *store, const char *host_id);
    /* Whether a part may be committed now. If so commit must follow, also with nothing to write,
     * and writes that need a sync only if that was said here. If not ask again, in *retry_ns: a
     * place in the queue of writers may be kept for this host. */
    bool (*ready)(frn_store *store, bool sync, int64_t *retry_ns);
    void (*commit)(frn_store *store, frn_part *parts);      /* one thread at a time */
    void (*blocker)(frn_store *store, frn_blocker *out);    /* when ready says no for long */
    void (*read)(frn_store *store, frn_read *read);         /* any thread */
    void (*tend)(frn_store *store, bool idle);              /* beside commits: checkpoints */
    void (*close)(frn_store *store);                        /* frees it */
} frn_store_ops;

struct frn_store {
    const frn_store_ops *ops;
    frn_mem             *mem;
    frn_plat            *plat;
    frn_logger          *log;
    bool                 shared;    /* other processes can come: leases count */
    int                  broken;    /* atomic; no way back: every commit says so */
    int                  moved;     /* atomic; the file was deleted, moved or replaced */
    uint64_t             bytes_written, wal_bytes;          /* atomic */
};

// >> 410 store.sqlite | needs: 400
//    One file, one writing connection, one reading connection (or one for both: ":memory:" and a
//    handle of the application's). Statements are kept. The schema's tables belong to level 4 of
//    the format that the Go implementation shares; ours beside them are named ext_*.
//    In SQL text '@' stands for the table prefix.

enum {
    FRN_SQLITE_LEVEL     = 4,       /* of the shared tables */
    FRN_SQLITE_EXT_LEVEL = 3,       /* of ours */
    FRN_SQLITE_SQL_MAX   = 2400,
    FRN_PREFIX_MAX       = 32,
    FRN_PATH_MAX         = 4096,
    FRN_RESERVED_BYTE    = 0x40000001,      /* of a file that SQLite's VFS locks as RESERVED */
    FRN_WAL_WRITER_BYTE  = 120,     /* of the shared memory: where the log's writer is locked */
    FRN_LOCKS_READINGS   = 8,       /* of the list of locks, until one shows who has that */
    FRN_CHECKPOINT_PAGES = 1000,    /* an idle committer copies the log back from here on */
    FRN_SWEEP_ROWS       = 1000
};

typedef enum frn_stmt {
    FRN_STMT_BEGIN, FRN_STMT_COMMIT, FRN_STMT_ROLLBACK, FRN_STMT_FENCE, FRN_STMT_ANSWER,
    FRN_STMT_SETTLE, FRN_STMT_CHALLENGE, FRN_STMT_HOST, FRN_STMT_HOSTS, FRN_STMT_CLAIM,
    FRN_STMT_OWNER, FRN_STMT_ACTOR_LOAD, FRN_STMT_REQUESTS_LOAD, FRN_STMT_RELEASE,
    FRN_STMT_FOREIGN, FRN_STMT_STRANGERS, FRN_STMT_VERSION, FRN_STMT_STATE_PUT,
    FRN_STMT_STATE_DELETE,
    FRN_STMT_VERSION_PUT, FRN_STMT_VERSION_DELETE, FRN_STMT_REQUEST_PUT, FRN_STMT_ALARMS_DELETE,
    FRN_STMT_DEAD_DELETE, FRN_STMT_SWEEP_DUE, FRN_STMT_SWEEP_VERSIONS, FRN_STMT_SWEEP_STATES,
    FRN_STMT_SWEEP_REQUESTS, FRN_STMT_SWEEP_PLACEMENTS, FRN_STMT_SWEEP_TYPES,
    FRN_STMT_SWEEP_HOSTS, FRN_STMT_SWEEP_EXT, FRN_STMT_STATE_READ,
    FRN_STMT_ALARM_SET, FRN_STMT_ALARM_DELETE, FRN_STMT_JOB_DISPATCH, FRN_STMT_JOB_FIND,
    FRN_STMT_REQUEST_FIND, FRN_STMT_JOB_CANCEL, FRN_STMT_DEAD_FORGET, FRN_STMT_DEAD_RETRY,
    FRN_STMT_DEAD_RETRY_ONCE, FRN_STMT_ALARM_CONSUME, FRN_STMT_ALARM_REARM,
    FRN_STMT_ALARM_REARM_LOOK, FRN_STMT_ALARM_ATTEMPT, FRN_STMT_JOB_BURY, FRN_STMT_JOB_RENEW,
    FRN_STMT_HOOK_CONSUME, FRN_STMT_HOOK_ATTEMPT, FRN_STMT_PLACED, FRN_STMT_SUSPECTS,
    FRN_STMT_SWEEP_SUSPECTS, FRN_STMT_DUE_LOOK, FRN_STMT_DUE_NEXT, FRN_STMT_DUE_HOOKS,
    FRN_STMT_DUE_ONE, FRN_STMT_DEAD_ONE, FRN_STMT_ALARM_ONE,
    FRN_STMT_END
} frn_stmt;

#define FRN_HOST_COLUMNS \
    "SELECT h.host_id, h.host_address, e.host_id IS NOT NULL, h.host_last_health_check," \
    " e.challenge, e.answer, e.lease_ms, e.process" \
    " FROM @hosts h LEFT JOIN @ext_hosts e ON e.host_id = h.host_id"

/* See frn_sqlite_column_alarm. */
#define FRN_ALARM_COLUMNS \
    "SELECT a.alarm_id, a.actor_type, a.actor_id, a.alarm_name, coalesce(a.job_method, '')," \
    " coalesce(a.alarm_cron, a.alarm_interval, ''), a.alarm_kind = 'job', a.alarm_due_time," \
    " coalesce(a.ext_wake, a.alarm_due_time), coalesce(a.ext_anchor, a.alarm_due_time)," \
    " coalesce(a.alarm_ttl_time, 0), a.ext_policy, a.ext_hash, a.ext_attempts, a.ext_crashes," \
    " a.ext_started, 0, a.alarm_data, a.ext_error, a.ext_look," FRN_PLACED_COLUMN \
    " FROM @alarms a" FRN_PLACED_JOIN("a")
#define FRN_HOOK_COLUMNS \
    "SELECT a.job_id, a.actor_type, a.actor_id, '///' || a.job_id, a.job_method," \
    " coalesce(a.job_cron, a.job_interval, ''), 2, a.original_due, coalesce(a.ext_hook_at, 0), 0," \
    " 0, 0, a.ext_hash, a.ext_hook_attempts, 0, 0, a.ext_result, a.job_data, a.last_error," \
    " coalesce(a.ext_hook_at, 0)," FRN_PLACED_COLUMN " FROM @dead_jobs a" FRN_PLACED_JOIN("a")
/* Of an id that does not fit nobody could say that it is over. */
#define FRN_ID_FITS(id) "length(CAST(" id " AS BLOB)) <= 36"
#define FRN_PLACED_COLUMN " CASE WHEN e.evicted = 0 THEN p.host_id ELSE '' END"
#define FRN_PLACED_JOIN(t) \
    " LEFT JOIN @active_actors p ON p.actor_type = " t ".actor_type" \
    " AND p.actor_id = " t ".actor_id" \
    " LEFT JOIN @ext_hosts e ON e.host_id = p.host_id"
#define FRN_ROW_COLUMNS \
    "INSERT INTO @alarms(alarm_id, actor_type, actor_id, alarm_name, alarm_due_time," \
    " alarm_interval, alarm_ttl_time, alarm_data, alarm_kind, job_method, alarm_cron, ext_look," \
    " ext_wake, ext_anchor, ext_policy, ext_hash, ext_attempts, ext_crashes, ext_started)"
#define FRN_NEW_OCCURRENCE \
    " ext_attempts = 0, ext_crashes = 0, ext_started = 0, ext_error = NULL"
#define FRN_DEAD_ROW(name, interval, cron) \
    FRN_ROW_COLUMNS " SELECT ?2, actor_type, actor_id, " name ", ?3, " interval ", ext_until," \
    " job_data, 'job', job_method, " cron ", ?3, ?3, coalesce(ext_anchor, ?3), ext_policy," \
    " ext_hash, 0, 0, 0 FROM @dead_jobs WHERE job_id = ?1" \
    " ON CONFLICT(actor_type, actor_id, alarm_name) DO NOTHING"

static const char *const frn_sqlite_sql[FRN_STMT_END] = {
    "BEGIN IMMEDIATE",
    "COMMIT",
    "ROLLBACK",
    /* FENCE */
    "SELECT e.evicted, e.challenge <> e.answer FROM @hosts h JOIN @ext_hosts e"
    " ON e.host_id = h.host_id WHERE h.host_id = ?1",
    /* ANSWER */
    "UPDATE @ext_hosts SET answer = challenge WHERE host_id = ?1",
    /* SETTLE: any small write in place of a lost one */
    "UPDATE @ext_hosts SET settled = settled + 1 WHERE host_id = ?1",
    /* CHALLENGE: one that is open already will do */
    "UPDATE @ext_hosts SET challenge = challenge + 1 WHERE host_id = ?1 AND evicted = 0"
    " AND challenge = answer",
    /* HOST: one that stands */
    FRN_HOST_COLUMNS " WHERE h.host_id = ?1 AND coalesce(e.evicted, 0) = 0",
    /* HOSTS: all that stand, with their types */
    "SELECT h.host_id, h.host_address, t.actor_type FROM @hosts h JOIN @ext_hosts e"
    " ON e.host_id = h.host_id JOIN @host_actor_types t ON t.host_id = h.host_id"
    " WHERE e.evicted = 0 ORDER BY h.host_id",
    /* CLAIM: the row of a host that is gone or evicted counts as absent */
    "INSERT INTO @active_actors(actor_type, actor_id, host_id, actor_idle_timeout,"
    " actor_activation) VALUES(?1, ?2, ?3, ?4, ?5) ON CONFLICT(actor_type, actor_id) DO UPDATE"
    " SET host_id = excluded.host_id, actor_idle_timeout = excluded.actor_idle_timeout,"
    " actor_activation = excluded.actor_activation WHERE host_id = excluded.host_id OR NOT EXISTS"
    " (SELECT 1 FROM @hosts h LEFT JOIN @ext_hosts e ON e.host_id = h.host_id"
    " WHERE h.host_id = @active_actors.host_id AND coalesce(e.evicted, 0) = 0)",
    /* OWNER */
    FRN_HOST_COLUMNS " JOIN @active_actors a ON a.host_id = h.host_id"
    " WHERE a.actor_type = ?1 AND a.actor_id = ?2 AND coalesce(e.evicted, 0) = 0",
    /* ACTOR_LOAD */
    "SELECT s.actor_state_data, s.actor_state_expiration_time, coalesce((SELECT v.state_version"
    " FROM @ext_state v WHERE v.actor_type = ?1 AND v.actor_id = ?2), 0) FROM @actor_state s"
    " WHERE s.actor_type = ?1 AND s.actor_id = ?2"
    " AND (s.actor_state_expiration_time IS NULL OR s.actor_state_expiration_time > ?3)",
    /* REQUESTS_LOAD */
    "SELECT request_id, work_hash, reply, expires FROM @ext_requests"
    " WHERE actor_type = ?1 AND actor_id = ?2 AND expires > ?3",
    /* RELEASE */
    "DELETE FROM @active_actors WHERE actor_type = ?1 AND actor_id = ?2 AND host_id = ?3",
    /* FOREIGN: does no placement row name this host? */
    "SELECT 1 WHERE NOT EXISTS (SELECT 1 FROM @active_actors WHERE actor_type = ?1"
    " AND actor_id = ?2 AND host_id = ?3)",
    /* STRANGERS: does any? */
    "SELECT EXISTS (SELECT 1 FROM @active_actors WHERE host_id < ?1)"
    " OR EXISTS (SELECT 1 FROM @active_actors WHERE host_id > ?1)",
    /* VERSION: another one when another connection has changed the file */
    "PRAGMA data_version",
    /* STATE_PUT */
    "INSERT INTO @actor_state(actor_type, actor_id, actor_state_data, actor_state_expiration_time)"
    " VALUES(?1, ?2, ?3, ?4) ON CONFLICT(actor_type, actor_id) DO UPDATE"
    " SET actor_state_data = excluded.actor_state_data,"
    " actor_state_expiration_time = excluded.actor_state_expiration_time",
    /* STATE_DELETE */
    "DELETE FROM @actor_state WHERE actor_type = ?1 AND actor_id = ?2",
    /* VERSION_PUT, VERSION_DELETE */
    "INSERT OR REPLACE INTO @ext_state(actor_type, actor_id, state_version) VALUES(?1, ?2, ?3)",
    "DELETE FROM @ext_state WHERE actor_type = ?1 AND actor_id = ?2",
    /* REQUEST_PUT */
    "INSERT OR REPLACE INTO @ext_requests(actor_type, actor_id, request_id, work_hash, reply,"
    " expires) VALUES(?1, ?2, ?3, ?4, ?5, ?6)",
    /* ALARMS_DELETE, DEAD_DELETE */
    "DELETE FROM @alarms WHERE actor_type = ?1 AND actor_id = ?2",
    "DELETE FROM @dead_jobs WHERE actor_type = ?1 AND actor_id = ?2",
    /* SWEEP_DUE: one host at a time; a time in the future is that of a clock which has gone back */
    "INSERT INTO @metadata(key, value) VALUES('last-cleanup', ?1) ON CONFLICT(key) DO UPDATE"
    " SET value = excluded.value WHERE CAST(value AS INTEGER) < ?1 - ?2"
    " OR CAST(value AS INTEGER) > ?1",
    /* SWEEP_VERSIONS, SWEEP_STATES */
    "DELETE FROM @ext_state WHERE (actor_type, actor_id) IN (SELECT actor_type, actor_id"
    " FROM @actor_state WHERE actor_state_expiration_time <= ?1"
    " ORDER BY actor_state_expiration_time, actor_type, actor_id LIMIT ?2)",
    "DELETE FROM @actor_state WHERE (actor_type, actor_id) IN (SELECT actor_type, actor_id"
    " FROM @actor_state WHERE actor_state_expiration_time <= ?1"
    " ORDER BY actor_state_expiration_time, actor_type, actor_id LIMIT ?2)",
    /* SWEEP_REQUESTS */
    "DELETE FROM @ext_requests WHERE (actor_type, actor_id, request_id) IN (SELECT actor_type,"
    " actor_id, request_id FROM @ext_requests WHERE expires <= ?1 LIMIT ?2)",
    /* SWEEP_PLACEMENTS, _TYPES, _HOSTS, _EXT: of evicted hosts, the row of the host last */
    "DELETE FROM @active_actors WHERE (actor_type, actor_id) IN (SELECT a.actor_type, a.actor_id"
    " FROM @ext_hosts e JOIN @active_actors a ON a.host_id = e.host_id WHERE e.evicted = 1"
    " LIMIT ?1)",
    "DELETE FROM @host_actor_types WHERE host_id IN (SELECT host_id FROM @ext_hosts"
    " WHERE evicted = 1)",
    "DELETE FROM @hosts WHERE host_id IN (SELECT host_id FROM @ext_hosts WHERE evicted = 1)"
    " AND NOT EXISTS (SELECT 1 FROM @active_actors a WHERE a.host_id = @hosts.host_id)",
    "DELETE FROM @ext_hosts WHERE evicted = 1"
    " AND NOT EXISTS (SELECT 1 FROM @hosts h WHERE h.host_id = @ext_hosts.host_id)",
    /* STATE_READ */
    "SELECT actor_state_data FROM @actor_state WHERE actor_type = ?1 AND actor_id = ?2"
    " AND (actor_state_expiration_time IS NULL OR actor_state_expiration_time > ?3)",
    /* ALARM_SET: one that says the same is left alone */
    FRN_ROW_COLUMNS " VALUES(?3, ?1, ?2, ?4, ?5, ?6, ?7, ?8, 'alarm', NULL, ?9, ?10, ?5, ?16, ?11,"
    " ?13, 0, 0, 0) ON CONFLICT(actor_type, actor_id, alarm_name) DO UPDATE SET"
    " alarm_id = excluded.alarm_id, alarm_due_time = excluded.alarm_due_time,"
    " alarm_interval = excluded.alarm_interval, alarm_ttl_time = excluded.alarm_ttl_time,"
    " alarm_data = excluded.alarm_data, alarm_kind = 'alarm', job_method = NULL,"
    " alarm_cron = excluded.alarm_cron, alarm_lease_id = NULL, alarm_lease_expiration_time = NULL,"
    " ext_look = excluded.ext_look, ext_wake = excluded.ext_wake,"
    " ext_anchor = excluded.ext_anchor, ext_policy = excluded.ext_policy," FRN_NEW_OCCURRENCE
    " WHERE coalesce(@alarms.ext_anchor, @alarms.alarm_due_time) <> excluded.ext_anchor"
    " OR @alarms.alarm_interval IS NOT excluded.alarm_interval"
    " OR @alarms.alarm_cron IS NOT excluded.alarm_cron"
    " OR @alarms.alarm_ttl_time IS NOT excluded.alarm_ttl_time"
    " OR @alarms.alarm_data IS NOT excluded.alarm_data"
    " OR @alarms.ext_policy <> excluded.ext_policy OR @alarms.alarm_kind <> 'alarm'",
    /* ALARM_DELETE */
    "DELETE FROM @alarms WHERE actor_type = ?1 AND actor_id = ?2 AND alarm_name = ?3"
    " AND alarm_kind = 'alarm'",
    /* JOB_DISPATCH: unless its request id was answered already */
    FRN_ROW_COLUMNS " SELECT ?3, ?1, ?2, ?4, ?5, ?6, ?7, ?8, 'job', ?12, ?9, ?10, ?5, ?16, ?11,"
    " ?13, 0, 0, 0 WHERE NOT EXISTS (SELECT 1 FROM @ext_requests WHERE actor_type = ?1"
    " AND actor_id = ?2 AND request_id = ?14 AND expires > ?15)"
    " ON CONFLICT(actor_type, actor_id, alarm_name) DO NOTHING",
    /* JOB_FIND, REQUEST_FIND */
    "SELECT ext_hash, alarm_id FROM @alarms WHERE actor_type = ?1 AND actor_id = ?2"
    " AND alarm_name = ?3",
    "SELECT work_hash, '' FROM @ext_requests WHERE actor_type = ?1 AND actor_id = ?2"
    " AND request_id = ?3 AND expires > ?4",
    /* JOB_CANCEL, DEAD_FORGET */
    "DELETE FROM @alarms WHERE alarm_id = ?1 AND alarm_kind = 'job'"
    " RETURNING actor_type, actor_id, alarm_name",
    "DELETE FROM @dead_jobs WHERE job_id = ?1",
    /* DEAD_RETRY, DEAD_RETRY_ONCE */
    FRN_DEAD_ROW("coalesce(ext_name, '//' || ?2)", "job_interval", "job_cron"),
    FRN_DEAD_ROW("'//' || ?2", "NULL", "NULL"),
    /* ALARM_CONSUME */
    "DELETE FROM @alarms WHERE alarm_id = ?1 AND alarm_due_time = ?2",
    /* ALARM_REARM, ALARM_REARM_LOOK */
    "UPDATE @alarms SET alarm_due_time = ?3, ext_wake = ?3," FRN_NEW_OCCURRENCE
    " WHERE alarm_id = ?1 AND alarm_due_time = ?2",
    "UPDATE @alarms SET alarm_due_time = ?3, ext_wake = ?3, ext_look = ?4," FRN_NEW_OCCURRENCE
    " WHERE alarm_id = ?1 AND alarm_due_time = ?2",
    /* ALARM_ATTEMPT */
    "UPDATE @alarms SET ext_wake = ?3, ext_look = ?3, ext_attempts = ?4, ext_crashes = ?5,"
    " ext_started = ?6, ext_error = ?7 WHERE alarm_id = ?1 AND alarm_due_time = ?2",
    /* JOB_BURY, JOB_RENEW */
    "INSERT OR REPLACE INTO @dead_jobs(job_id, actor_type, actor_id, job_method, job_data,"
    " attempts, last_error, failed_at, original_due, job_interval, job_cron, ext_name, ext_until,"
    " ext_anchor, ext_policy, ext_hash, ext_result, ext_hook_at, ext_hook_attempts)"
    " SELECT alarm_id, actor_type, actor_id, coalesce(job_method, ''), alarm_data, ?3, ?4, ?5,"
    " alarm_due_time, alarm_interval, alarm_cron, alarm_name, alarm_ttl_time,"
    " coalesce(ext_anchor, alarm_due_time), ext_policy, ext_hash, ?6, ?7, 0 FROM @alarms"
    " WHERE alarm_id = ?1 AND alarm_due_time = ?2",
    "UPDATE @alarms SET alarm_id = ?5, alarm_due_time = ?3, ext_wake = ?3, ext_look = ?4,"
    FRN_NEW_OCCURRENCE " WHERE alarm_id = ?1 AND alarm_due_time = ?2",
    /* HOOK_CONSUME, HOOK_ATTEMPT */
    "UPDATE @dead_jobs SET ext_hook_at = NULL WHERE job_id = ?1 AND ext_hook_at IS NOT NULL",
    "UPDATE @dead_jobs SET ext_hook_at = ?3, ext_hook_attempts = ?4 WHERE job_id = ?1"
    " AND ext_hook_at IS NOT NULL",
    /* PLACED: does a row name another host? */
    "SELECT 1 FROM @active_actors WHERE actor_type = ?1 AND actor_id = ?2 AND host_id <> ?3",
    /* SUSPECTS, SWEEP_SUSPECTS: what may have ended a host */
    "UPDATE @alarms SET ext_crashes = 1 WHERE actor_type = ?1 AND actor_id = ?2"
    " AND ext_crashes = 0 AND coalesce(ext_wake, alarm_due_time) <= ?3",
    "UPDATE @alarms SET ext_crashes = 1 WHERE ext_crashes = 0"
    " AND coalesce(ext_wake, alarm_due_time) <= ?2 AND (actor_type, actor_id) IN (SELECT"
    " a.actor_type, a.actor_id FROM @ext_hosts e JOIN @active_actors a ON a.host_id = e.host_id"
    " WHERE e.evicted = 1 LIMIT ?1)",
    /* DUE_LOOK, DUE_NEXT, DUE_HOOKS */
    FRN_ALARM_COLUMNS " WHERE a.actor_type = ?1 AND (a.ext_look, a.alarm_id) > (?2, ?3)"
    " AND a.ext_look <= ?4 AND " FRN_ID_FITS("a.alarm_id") " AND a.actor_id IS NOT NULL"
    " AND a.alarm_name IS NOT NULL"
    " ORDER BY a.ext_look, a.alarm_id LIMIT ?5",
    "SELECT ext_look FROM @alarms WHERE actor_type = ?1 AND ext_look > ?2 ORDER BY ext_look"
    " LIMIT 1",
    FRN_HOOK_COLUMNS " WHERE a.actor_type = ?1 AND a.ext_hook_at IS NOT NULL"
    " AND " FRN_ID_FITS("a.job_id") " AND a.actor_id IS NOT NULL"
    " AND a.job_method IS NOT NULL ORDER BY a.ext_hook_at LIMIT ?2",
    /* DUE_ONE, DEAD_ONE, ALARM_ONE */
    FRN_ALARM_COLUMNS " WHERE a.alarm_id = ?1",
    FRN_HOOK_COLUMNS " WHERE a.job_id = ?1",
    FRN_ALARM_COLUMNS " WHERE a.actor_type = ?1 AND a.actor_id = ?2 AND a.alarm_name = ?3"
};

/* Level by level. NULL ends a level. Column defaults that need a newer SQLite are left out: every
 * insert names every column. */
static const char *const frn_sqlite_schema[] = {
    "CREATE TABLE @hosts(host_id TEXT NOT NULL PRIMARY KEY, host_address TEXT NOT NULL,"
    " host_last_health_check INTEGER NOT NULL) WITHOUT ROWID, STRICT",
    "CREATE UNIQUE INDEX @host_address_idx ON @hosts(host_address)",
    "CREATE INDEX @host_last_health_check_idx ON @hosts(host_last_health_check)",
    "CREATE TABLE @host_actor_types(host_id TEXT NOT NULL, actor_type TEXT NOT NULL,"
    " actor_idle_timeout INTEGER NOT NULL, actor_concurrency_limit INTEGER NOT NULL DEFAULT 0,"
    " PRIMARY KEY(host_id, actor_type), FOREIGN KEY(host_id) REFERENCES @hosts(host_id)"
    " ON DELETE CASCADE) WITHOUT ROWID, STRICT",
    "CREATE INDEX @host_actor_types_type_idx ON @host_actor_types(actor_type)",
    "CREATE TABLE @active_actors(actor_type TEXT NOT NULL, actor_id TEXT NOT NULL,"
    " host_id TEXT NOT NULL, actor_idle_timeout INTEGER NOT NULL,"
    " actor_activation INTEGER NOT NULL, PRIMARY KEY(actor_type, actor_id),"
    " FOREIGN KEY(host_id) REFERENCES @hosts(host_id) ON DELETE CASCADE) WITHOUT ROWID, STRICT",
    "CREATE INDEX @active_actors_host_idx ON @active_actors(host_id, actor_type)",
    "CREATE TABLE @actor_state(actor_type TEXT NOT NULL, actor_id TEXT NOT NULL,"
    " actor_state_data BLOB NOT NULL, actor_state_expiration_time INTEGER,"
    " PRIMARY KEY(actor_type, actor_id)) WITHOUT ROWID, STRICT",
    "CREATE INDEX @actor_state_expiration_idx ON @actor_state(actor_state_expiration_time)"
    " WHERE actor_state_expiration_time IS NOT NULL",
    "CREATE TABLE @alarms(alarm_id TEXT NOT NULL PRIMARY KEY, actor_type TEXT NOT NULL,"
    " actor_id TEXT NOT NULL, alarm_name TEXT NOT NULL, alarm_due_time INTEGER NOT NULL,"
    " alarm_interval TEXT, alarm_ttl_time INTEGER, alarm_data BLOB, alarm_lease_id TEXT,"
    " alarm_lease_expiration_time INTEGER) WITHOUT ROWID, STRICT",
    "CREATE UNIQUE INDEX @alarm_ref_idx ON @alarms(actor_type, actor_id, alarm_name)",
    "CREATE INDEX @alarm_due_time_idx ON @alarms(alarm_due_time)",
    "CREATE UNIQUE INDEX @alarm_lease_id_idx ON @alarms(alarm_lease_id)"
    " WHERE alarm_lease_id IS NOT NULL",
    "CREATE VIEW @host_active_actor_count(host_id, actor_type, active_count) AS"
    " SELECT host_id, actor_type, count(*) FROM @active_actors GROUP BY host_id, actor_type",
    "CREATE TRIGGER @active_actors_delete_trigger AFTER DELETE ON @active_actors FOR EACH ROW"
    " BEGIN UPDATE @alarms SET alarm_lease_id = NULL, alarm_lease_expiration_time = NULL"
    " WHERE actor_type = OLD.actor_type AND actor_id = OLD.actor_id"
    " AND alarm_lease_id IS NOT NULL; END",
    NULL,
    "CREATE TABLE @consumed_join_tokens(join_token TEXT NOT NULL PRIMARY KEY,"
    " host_id TEXT NOT NULL, expires_at INTEGER NOT NULL, FOREIGN KEY(host_id)"
    " REFERENCES @hosts(host_id) ON DELETE CASCADE) WITHOUT ROWID, STRICT",
    NULL,
    "ALTER TABLE @alarms ADD COLUMN alarm_kind TEXT NOT NULL DEFAULT 'alarm'",
    "ALTER TABLE @alarms ADD COLUMN job_method TEXT",
    "ALTER TABLE @alarms ADD COLUMN alarm_cron TEXT",
    "CREATE TABLE @dead_jobs(job_id TEXT NOT NULL PRIMARY KEY, actor_type TEXT NOT NULL,"
    " actor_id TEXT NOT NULL, job_method TEXT NOT NULL, job_data BLOB, attempts INTEGER NOT NULL,"
    " last_error TEXT, failed_at INTEGER NOT NULL, original_due INTEGER NOT NULL,"
    " job_interval TEXT, job_cron TEXT) WITHOUT ROWID, STRICT",
    "CREATE INDEX @dead_jobs_actor_idx ON @dead_jobs(actor_type, actor_id)",
    NULL,
    "CREATE TABLE @cluster_config(cluster_config_id INTEGER NOT NULL PRIMARY KEY"
    " CHECK(cluster_config_id = 1), max_hosts INTEGER, exclusive_owner TEXT,"
    " exclusive_expires_at INTEGER) STRICT",
    "INSERT INTO @cluster_config(cluster_config_id, max_hosts, exclusive_owner,"
    " exclusive_expires_at) VALUES(1, NULL, NULL, NULL)",
    NULL
};

static const char *const frn_sqlite_ext_schema[] = {
    "CREATE TABLE @ext_hosts(host_id TEXT NOT NULL PRIMARY KEY, evicted INTEGER NOT NULL,"
    " started INTEGER NOT NULL, process INTEGER NOT NULL, settled INTEGER NOT NULL)"
    " WITHOUT ROWID, STRICT",
    "CREATE TABLE @ext_state(actor_type TEXT NOT NULL, actor_id TEXT NOT NULL,"
    " state_version INTEGER NOT NULL, PRIMARY KEY(actor_type, actor_id)) WITHOUT ROWID, STRICT",
    "CREATE TABLE @ext_requests(actor_type TEXT NOT NULL, actor_id TEXT NOT NULL,"
    " request_id TEXT NOT NULL, work_hash INTEGER NOT NULL, reply BLOB, expires INTEGER NOT NULL,"
    " PRIMARY KEY(actor_type, actor_id, request_id)) WITHOUT ROWID, STRICT",
    "CREATE INDEX @ext_requests_expires_idx ON @ext_requests(expires)",
    NULL,
    "ALTER TABLE @ext_hosts ADD COLUMN challenge INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE @ext_hosts ADD COLUMN answer INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE @ext_hosts ADD COLUMN lease_ms INTEGER NOT NULL DEFAULT 0",
    NULL,
    "ALTER TABLE @alarms ADD COLUMN ext_look INTEGER NOT NULL DEFAULT 0;"
    " ALTER TABLE @alarms ADD COLUMN ext_wake INTEGER;"
    " ALTER TABLE @alarms ADD COLUMN ext_anchor INTEGER;"
    " ALTER TABLE @alarms ADD COLUMN ext_policy INTEGER NOT NULL DEFAULT 0;"
    " ALTER TABLE @alarms ADD COLUMN ext_hash INTEGER NOT NULL DEFAULT 0;"
    " ALTER TABLE @alarms ADD COLUMN ext_attempts INTEGER NOT NULL DEFAULT 0;"
    " ALTER TABLE @alarms ADD COLUMN ext_crashes INTEGER NOT NULL DEFAULT 0;"
    " ALTER TABLE @alarms ADD COLUMN ext_started INTEGER NOT NULL DEFAULT 0;"
    " ALTER TABLE @alarms ADD COLUMN ext_error TEXT",
    "UPDATE @alarms SET ext_look = alarm_due_time",
    /* by the index of leases, which is empty here: else each release reads pages of alarms */
    "DROP TRIGGER @active_actors_delete_trigger",
    "CREATE TRIGGER @active_actors_delete_trigger AFTER DELETE ON @active_actors FOR EACH ROW"
    " BEGIN UPDATE @alarms SET alarm_lease_id = NULL, alarm_lease_expiration_time = NULL"
    " WHERE alarm_lease_id IS NOT NULL AND +actor_type = OLD.actor_type"
    " AND +actor_id = OLD.actor_id; END",
    "DROP INDEX @alarm_due_time_idx",
    "CREATE INDEX @ext_alarms_look_idx ON @alarms(actor_type, ext_look, alarm_id)",
    /* whoever does not know our columns and moves a row: look at it anew */
    "CREATE TRIGGER @ext_alarms_moved AFTER UPDATE OF alarm_due_time ON @alarms FOR EACH ROW"
    " WHEN NEW.ext_wake IS OLD.ext_wake AND NEW.ext_attempts = OLD.ext_attempts"
    " AND NEW.alarm_due_time <> OLD.alarm_due_time"
    " BEGIN UPDATE @alarms SET ext_look = 0, ext_wake = NULL, ext_anchor = NULL,"
    FRN_NEW_OCCURRENCE " WHERE alarm_id = NEW.alarm_id; END",
    "ALTER TABLE @dead_jobs ADD COLUMN ext_name TEXT;"
    " ALTER TABLE @dead_jobs ADD COLUMN ext_until INTEGER;"
    " ALTER TABLE @dead_jobs ADD COLUMN ext_anchor INTEGER;"
    " ALTER TABLE @dead_jobs ADD COLUMN ext_policy INTEGER NOT NULL DEFAULT 0;"
    " ALTER TABLE @dead_jobs ADD COLUMN ext_hash INTEGER NOT NULL DEFAULT 0;"
    " ALTER TABLE @dead_jobs ADD COLUMN ext_result INTEGER NOT NULL DEFAULT 0;"
    " ALTER TABLE @dead_jobs ADD COLUMN ext_hook_at INTEGER;"
    " ALTER TABLE @dead_jobs ADD COLUMN ext_hook_attempts INTEGER NOT NULL DEFAULT 0",
    "CREATE INDEX @ext_dead_hooks_idx ON @dead_jobs(actor_type, ext_hook_at)"
    " WHERE ext_hook_at IS NOT NULL",
    NULL
};

typedef struct frn_conn {
    sqlite3      *db;
    sqlite3_stmt *stmts[FRN_STMT_END];
} frn_conn;

typedef struct frn_lock_file {      /* an empty file beside the database, and our lock on it */
    sqlite3_file *file;             /* NULL = not open */
    const char   *name;             /* of sqlite3_create_filename */
} frn_lock_file;

typedef struct frn_queue {          /* of the processes that want to write */
    frn_lock_file next, writer;
    bool          is_next, is_writer;       /* what of them we hold */
    bool          impatient;        /* who holds them does not move: go without */
    bool          sampled;          /* .holder is somebody's, of a moment ago */
    int64_t       since_ns;         /* we wait since then; 0 = we do not */
    int64_t       holder, sample_ns;        /* who had what we wait for, and when to look again */
    int64_t       looked_ns;        /* whether the files are still there */
} frn_queue;

typedef struct frn_seen {
    char    host_id[64];
    int64_t until_ns;
} frn_seen;

typedef struct frn_sqlite {
    frn_store          base;
    francis_host_desc *desc;        /* of the host, resolved */
    char               prefix[FRN_PREFIX_MAX + 2];
    char              *path;        /* as SQLite resolved it; "" = in memory */
    sqlite3           *handle;      /* the application's, or NULL */
    sqlite3_vfs       *vfs;
    bool               single;      /* one connection for both: conn[0] */
    frn_conn           conn[2];     /* writer, reader */
    pthread_mutex_t    locks[2];    /* around each */
    pid_t              pid;
    bool               begun;       /* ready has begun the transaction that commit goes on with */
    bool               looked, strangers;   /* see frn_sqlite_look_for_strangers */
    unsigned           version;
    int                synced;      /* what PRAGMA synchronous is at now: 1 = full, 0 = not */
    uint64_t           page_bytes, wal_pages, wal_bytes_max, wal_retry_pages, wal_copied_pages;
    frn_lock_file      proof;       /* the lock that dies with this process */
    frn_queue          queue;
    frn_seen           seen[4];     /* hosts whose proof was looked at a moment ago */
    unsigned           seen_next;
    francis_result     opened;      /* what on_database, or a look at the place, answered */
    char               error[256];
} frn_sqlite;

static pthread_mutex_t *frn_sqlite_read_lock(frn_sqlite *s) { return &s->locks[s->single ? 0 : 1]; }
static frn_conn        *frn_sqlite_reader(frn_sqlite *s) { return &s->conn[s->single ? 0 : 1]; }

static francis_result frn_sqlite_result(int rc)
{
    switch (rc & 0xff) {
    case SQLITE_OK:
    case SQLITE_ROW:
    case SQLITE_DONE:    return FRANCIS_OK;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_PROTOCOL: return FRANCIS_ERR_LOCKED;    /* it has not got a lock of the log */
    case SQLITE_FULL:    return FRANCIS_ERR_FULL;
    case SQLITE_NOMEM:   return FRANCIS_ERR_NOMEM;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:  return FRANCIS_ERR_CORRUPT;
    default:
        return rc == (SQLITE_IOERR | (12 << 8)) ? FRANCIS_ERR_NOMEM : FRANCIS_ERR_STORAGE;
    }
}

/* Keeps what went wrong, in words, and returns its result. */
static francis_result frn_sqlite_fail(frn_sqlite *s, sqlite3 *db, int rc, const char *doing)
{
    const char *text = db != NULL && sqlite3_errcode(db) == (rc & 0xff) ? sqlite3_errmsg(db)
                                                                       : sqlite3_errstr(rc);
    (void)snprintf(s->error, sizeof s->error, "%s: %s (%d)", doing, text, rc);
    return frn_sqlite_result(rc);
}

static francis_result frn_sqlite_refuse(frn_sqlite *s, francis_result r, const char *format, ...)
    FRANCIS_PRINTF(3, 4);

static francis_result frn_sqlite_refuse(frn_sqlite *s, francis_result r, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    (void)vsnprintf(s->error, sizeof s->error, format, args);
    va_end(args);
    return r;
}

static const char *frn_sqlite_expand(const frn_sqlite *s, const char *sql, char *out, size_t size)
{
    size_t prefix_size = strlen(s->prefix), n = 0;

    for (; *sql != '\0' && n + prefix_size + 1 < size; sql++) {
        if (*sql == '@') {
            memcpy(out + n, s->prefix, prefix_size);
            n += prefix_size;
        } else {
            out[n++] = *sql;
        }
    }
    FRN_ASSERT(*sql == '\0');
    out[n] = '\0';
    return out;
}

static int frn_sqlite_exec(frn_sqlite *s, sqlite3 *db, const char *sql)
{
    char text[FRN_SQLITE_SQL_MAX];
    return sqlite3_exec(db, frn_sqlite_expand(s, sql, text, sizeof text), NULL, NULL, NULL);
}

/* Values come in behind the prefix, so that an '@' in them stays what it is. */
static int frn_sqlite_execf(frn_sqlite *s, sqlite3 *db, const char *sql, ...)
{
    char    text[FRN_SQLITE_SQL_MAX], *full;
    va_list args;
    int     rc = SQLITE_NOMEM;

    va_start(args, sql);
    full = sqlite3_vmprintf(frn_sqlite_expand(s, sql, text, sizeof text), args);
    va_end(args);
    if (full != NULL)
        rc = sqlite3_exec(db, full, NULL, NULL, NULL);
    sqlite3_free(full);
    return rc;
}

/* Runs a statement with one text bound (or none) and gives its first column, or dflt if no row. */
static int frn_sqlite_int(frn_sqlite *s, sqlite3 *db, const char *sql, const char *arg,
                          int64_t dflt, int64_t *out)
{
    char          text[FRN_SQLITE_SQL_MAX];
    sqlite3_stmt *stmt = NULL;
    int rc = sqlite3_prepare_v2(db, frn_sqlite_expand(s, sql, text, sizeof text), -1, &stmt, NULL);

    *out = dflt;
    if (rc == SQLITE_OK && arg != NULL)
        rc = sqlite3_bind_text(stmt, 1, arg, -1, SQLITE_STATIC);
    if (rc == SQLITE_OK) {
        rc = sqlite3_step(stmt);
        if (rc == SQLITE_ROW)
            *out = sqlite3_column_int64(stmt, 0);
        if (rc == SQLITE_ROW || rc == SQLITE_DONE)
            rc = SQLITE_OK;
    }
    (void)sqlite3_finalize(stmt);
    return rc;
}

/* A kept statement, ready to be bound; NULL = *rc says why not. */
static sqlite3_stmt *frn_sqlite_stmt(frn_sqlite *s, frn_conn *c, frn_stmt which, int *rc)
{
    char text[FRN_SQLITE_SQL_MAX];

    if (c->stmts[which] != NULL)
        return c->stmts[which];
    (void)frn_sqlite_expand(s, frn_sqlite_sql[which], text, sizeof text);
    *rc = sqlite3_prepare_v3(c->db, text, -1, SQLITE_PREPARE_PERSISTENT, &c->stmts[which], NULL);
    return *rc == SQLITE_OK ? c->stmts[which] : NULL;
}

/* Steps and resets a statement that gives no row that anybody wants. SQLITE_DONE becomes OK. */
static int frn_sqlite_once(sqlite3_stmt *stmt)
{
    int rc = sqlite3_step(stmt);
    int rc_reset = sqlite3_reset(stmt);
    if (rc == SQLITE_ROW || rc == SQLITE_DONE)
        rc = rc_reset;
    return rc;
}

static int frn_sqlite_run(frn_sqlite *s, frn_conn *c, frn_stmt which)
{
    int           rc = SQLITE_OK;
    sqlite3_stmt *stmt = frn_sqlite_stmt(s, c, which, &rc);
    return stmt == NULL ? rc : frn_sqlite_once(stmt);
}

static int frn_sqlite_bind_key(sqlite3_stmt *stmt, const char *type, const char *id)
{
    int rc = sqlite3_bind_text(stmt, 1, type, -1, SQLITE_STATIC);
    return rc == SQLITE_OK ? sqlite3_bind_text(stmt, 2, id, -1, SQLITE_STATIC) : rc;
}

/* A kept statement about one host. */
static sqlite3_stmt *frn_sqlite_of_host(frn_sqlite *s, frn_conn *c, frn_stmt which,
                                        const char *host_id, int *rc)
{
    sqlite3_stmt *stmt = frn_sqlite_stmt(s, c, which, rc);
    if (stmt != NULL && (*rc = sqlite3_bind_text(stmt, 1, host_id, -1, SQLITE_STATIC)) == SQLITE_OK)
        return stmt;
    return NULL;
}

/* A kept statement with type and id bound. */
static sqlite3_stmt *frn_sqlite_keyed(frn_sqlite *s, frn_conn *c, frn_stmt which, const char *type,
                                      const char *id, int *rc)
{
    sqlite3_stmt *stmt = frn_sqlite_stmt(s, c, which, rc);
    if (stmt != NULL && (*rc = frn_sqlite_bind_key(stmt, type, id)) == SQLITE_OK)
        return stmt;
    return NULL;
}

static int frn_sqlite_bind_buf(sqlite3_stmt *stmt, int at, const frn_buf *b)
{
    if (b == NULL)
        return sqlite3_bind_null(stmt, at);
    if (b->size == 0)
        return sqlite3_bind_zeroblob(stmt, at, 0);
    return sqlite3_bind_blob64(stmt, at, FRN_BYTES(b), b->size, SQLITE_STATIC);
}

static int frn_sqlite_column_buf(frn_sqlite *s, sqlite3_stmt *stmt, int at, frn_buf **out)
{
    const void *data;
    int         size;

    *out = NULL;
    if (sqlite3_column_type(stmt, at) == SQLITE_NULL)
        return SQLITE_OK;
    data = sqlite3_column_blob(stmt, at);
    size = sqlite3_column_bytes(stmt, at);
    if (data == NULL && size > 0)
        return SQLITE_NOMEM;
    *out = frn_buf_copy(s->base.mem, data, (size_t)size);
    return *out != NULL ? SQLITE_OK : SQLITE_NOMEM;
}

// >> 412 store.sqlite.locks | needs: 410
//    Locks that die with their process: on empty files beside the database, taken through SQLite's
//    own VFS, which is right under fork, for several hosts in one process, and in a simulation.
//    One per host proves that it lives: taken before the host's row is committed, never again, so
//    that "free" is final.

enum { FRN_SEEN_MS = 50 };          /* a host that lived a moment ago is taken to live still */

static void frn_lock_file_close(frn_sqlite *s, frn_lock_file *f)
{
    if (f->file != NULL) {
        if (f->file->pMethods != NULL)
            (void)f->file->pMethods->xClose(f->file);
        frn_mem_free(s->base.mem, f->file, (size_t)s->vfs->szOsFile);
    }
    f->file = NULL;
    if (f->name != NULL)
        sqlite3_free_filename(f->name);
    f->name = NULL;
}

/* A file that is there, and a handle on it. */
static int frn_lock_file_find(frn_sqlite *s, const char *suffix, const char *host_id, int create,
                              frn_lock_file *out)
{
    int    flags = SQLITE_OPEN_MAIN_DB | SQLITE_OPEN_READWRITE | create;
    size_t size = strlen(s->path) + strlen(suffix) + strlen(host_id) + 1;
    char  *text = (char *)frn_mem_alloc(s->base.mem, size);
    int    rc = SQLITE_NOMEM, got = 0;

    memset(out, 0, sizeof *out);
    if (text == NULL)
        return rc;
    (void)snprintf(text, size, "%s%s%s", s->path, suffix, host_id);
    out->name = sqlite3_create_filename(text, "", "", 0, NULL);
    frn_mem_free(s->base.mem, text, size);
    if (out->name != NULL)
        out->file = (sqlite3_file *)frn_mem_alloc(s->base.mem, (size_t)s->vfs->szOsFile);
    if (out->file != NULL)
        rc = s->vfs->xOpen(s->vfs, out->name, out->file, flags, &got);
    if (rc != SQLITE_OK)
        frn_lock_file_close(s, out);
    return rc;
}

/* The same, made if need be. */
static int frn_lock_file_open(frn_sqlite *s, const char *suffix, const char *host_id,
                              frn_lock_file *out)
{
    return frn_lock_file_find(s, suffix, host_id, SQLITE_OPEN_CREATE, out);
}

static int frn_lock_file_take(frn_lock_file *f, int level)
{
    return f->file->pMethods->xLock(f->file, level);
}

static bool frn_lock_file_moved(const frn_lock_file *f)
{
    int moved = 0;
    return f->file != NULL && f->file->pMethods->iVersion >= 1
        && f->file->pMethods->xFileControl(f->file, SQLITE_FCNTL_HAS_MOVED, &moved) == SQLITE_OK
        && moved;
}

static void frn_lock_file_unlink(frn_sqlite *s, const frn_lock_file *f)
{
    if (f->name != NULL)
        (void)s->vfs->xDelete(s->vfs, f->name, 0);
}

/* Whether the host's process holds its lock. When in doubt it does. A file that is not there is
 * made here, and goes when the host is evicted. */
static bool frn_sqlite_proof_held(frn_sqlite *s, const char *host_id)
{
    frn_lock_file f;
    int           held = 1;

    if (frn_lock_file_open(s, "-host-", host_id, &f) != SQLITE_OK)
        return true;
    if (f.file->pMethods->xCheckReservedLock(f.file, &held) != SQLITE_OK)
        held = 1;
    frn_lock_file_close(s, &f);
    return held != 0;
}

/* Whether that is so, for who is outside of a transaction: a hint, and no file is made. */
static bool frn_sqlite_seems_dead(frn_sqlite *s, const char *host_id)
{
    frn_lock_file f;
    int           held = 1, rc;

    if (s->path[0] == '\0')
        return false;
    rc = frn_lock_file_find(s, "-host-", host_id, 0, &f);
    if (rc != SQLITE_OK)
        return (rc & 0xff) == SQLITE_CANTOPEN;
    if (f.file->pMethods->xCheckReservedLock(f.file, &held) != SQLITE_OK)
        held = 1;
    frn_lock_file_close(s, &f);
    return held == 0;
}

/* Of one that is evicted: also if it lives, for it has to take another one. */
static void frn_sqlite_proof_unlink(frn_sqlite *s, const char *host_id)
{
    frn_lock_file f;

    if (s->path[0] == '\0' || frn_lock_file_open(s, "-host-", host_id, &f) != SQLITE_OK)
        return;
    frn_lock_file_unlink(s, &f);
    frn_lock_file_close(s, &f);
}

/* The same, for who asks often. */
static bool frn_sqlite_proof_seen(frn_sqlite *s, const char *host_id)
{
    int64_t   now = frn_plat_now_ns(s->base.plat);
    frn_seen *seen;
    size_t    i;

    for (i = 0; i < FRN_COUNT(s->seen); i++)
        if (s->seen[i].until_ns > now && strcmp(s->seen[i].host_id, host_id) == 0)
            return true;
    if (!frn_sqlite_proof_held(s, host_id))
        return false;
    seen = &s->seen[s->seen_next++ % FRN_COUNT(s->seen)];
    (void)snprintf(seen->host_id, sizeof seen->host_id, "%s", host_id);
    seen->until_ns = now + FRN_SEEN_MS * FRN_MS;
    return true;
}

static int frn_sqlite_proof_take(frn_sqlite *s, const char *host_id)
{
    int rc;

    if (s->path[0] == '\0')
        return SQLITE_OK;           /* in memory: nobody else can come */
    rc = frn_lock_file_open(s, "-host-", host_id, &s->proof);
    if (rc == SQLITE_OK)
        rc = frn_lock_file_take(&s->proof, SQLITE_LOCK_SHARED);
    if (rc == SQLITE_OK)
        rc = frn_lock_file_take(&s->proof, SQLITE_LOCK_RESERVED);
    return rc;
}

static void frn_sqlite_proof_drop(frn_sqlite *s)
{
    if (s->proof.file == NULL)
        return;
    if (!frn_lock_file_moved(&s->proof))
        frn_lock_file_unlink(s, &s->proof);
    (void)s->proof.file->pMethods->xUnlock(s->proof.file, SQLITE_LOCK_NONE);
    frn_lock_file_close(s, &s->proof);
}

// >> 413 store.sqlite.queue | needs: 412
//    Processes that want to write take turns, by two locks: who has DATABASE-writer may begin, who
//    has DATABASE-next comes after him. So a busy host cannot overtake one that waits. The locks
//    are tried, never waited for. They make things fair, no more: what is written is guarded by
//    SQLite's own lock, and when whoever holds ours does not move for a while, we go without.

enum {
    FRN_QUEUE_PATIENCE_MS = 100,
    FRN_QUEUE_LOOK_MS     = 1000,   /* now and then: are the files still those of the others? */
    FRN_HOLDER_UNKNOWN    = -1,     /* of another container, or another host of this process */
    FRN_QUEUE_RETRY_NS    = 200000,
    FRN_BUSY_RETRY_NS     = 1000000
};

static bool frn_queue_open_one(frn_sqlite *s, const char *suffix, frn_lock_file *f)
{
    if (frn_lock_file_open(s, suffix, "", f) != SQLITE_OK)
        return false;
    if (frn_lock_file_take(f, SQLITE_LOCK_SHARED) == SQLITE_OK)
        return true;
    frn_lock_file_close(s, f);
    return false;
}

/* RESERVED is the lock; back to SHARED, which all have all the time, gives it up. */
static bool frn_queue_lock(const frn_lock_file *f, bool *held, bool *broken)
{
    int rc = *held ? SQLITE_OK : f->file->pMethods->xLock(f->file, SQLITE_LOCK_RESERVED);

    *held = rc == SQLITE_OK;
    *broken = *broken || (rc != SQLITE_OK && (rc & 0xff) != SQLITE_BUSY);
    return *held;
}

static void frn_queue_unlock(const frn_lock_file *f, bool *held)
{
    if (*held && f->file != NULL)
        (void)f->file->pMethods->xUnlock(f->file, SQLITE_LOCK_SHARED);
    *held = false;
}

static void frn_queue_leave(frn_sqlite *s)
{
    frn_queue_unlock(&s->queue.next, &s->queue.is_next);
    frn_queue_unlock(&s->queue.writer, &s->queue.is_writer);
    s->queue.since_ns = 0;
}

static void frn_queue_close(frn_sqlite *s)
{
    if (s->queue.next.file != NULL)
        frn_queue_leave(s);
    frn_lock_file_close(s, &s->queue.next);
    frn_lock_file_close(s, &s->queue.writer);
}

/* Opens the files, and again when somebody has deleted them. false = go without. */
static bool frn_queue_open(frn_sqlite *s, int64_t now)
{
    frn_queue *q = &s->queue;

    if (q->looked_ns != 0 && now - q->looked_ns < FRN_QUEUE_LOOK_MS * FRN_MS)
        return q->next.file != NULL;
    q->looked_ns = now;
    if (q->next.file != NULL && !frn_lock_file_moved(&q->next) && !frn_lock_file_moved(&q->writer))
        return true;
    frn_queue_close(s);
    if (s->path[0] == '\0' || !frn_queue_open_one(s, "-next", &q->next))
        return false;
    if (frn_queue_open_one(s, "-writer", &q->writer))
        return true;
    frn_queue_close(s);
    return false;
}

/* Which process has the lock that we wait for. To close this descriptor may drop such a lock of
 * another host of this process, which costs that its place and nothing else. */
static int64_t frn_queue_holder(const frn_sqlite *s)
{
    const frn_queue *q = &s->queue;
    struct flock     l;
    int64_t          pid = FRN_HOLDER_UNKNOWN;
    int              fd;

    if (s->base.plat->hooks.process != 0)
        return pid;
    fd = open(q->is_next ? q->writer.name : q->next.name, O_RDWR | O_CLOEXEC);

    memset(&l, 0, sizeof l);
    l.l_type = F_WRLCK;
    l.l_whence = SEEK_SET;
    l.l_start = FRN_RESERVED_BYTE;
    l.l_len = 1;
    if (fd >= 0 && fcntl(fd, F_GETLK, &l) == 0 && l.l_type != F_UNLCK && l.l_pid > 0)
        pid = l.l_pid;
    if (fd >= 0)
        (void)close(fd);
    return pid;
}

/* Whether the queue does not move: the same process has the lock that we wait for at both ends of
 * a while, in which somebody else must have had his turn. */
static bool frn_queue_stuck(frn_sqlite *s, int64_t now)
{
    frn_queue *q = &s->queue;
    int64_t    while_ns = FRN_QUEUE_PATIENCE_MS * FRN_MS / 2, holder;

    if (q->since_ns == 0)
        q->since_ns = now;
    if (now < q->sample_ns || (!q->impatient && now - q->since_ns < while_ns))
        return q->impatient;
    holder = frn_queue_holder(s);
    q->impatient = q->sampled && holder == q->holder && now - q->sample_ns < while_ns;
    q->sampled = true;
    q->holder = holder;
    q->sample_ns = now + while_ns;
    return q->impatient;
}

/* One step forward. true = it is our turn, or the queue does not move. */
static bool frn_queue_step(frn_sqlite *s)
{
    frn_queue *q = &s->queue;
    int64_t    now = frn_plat_now_ns(s->base.plat);
    bool       broken = false;      /* locks do not work here: go without */

    if (q->is_writer || !frn_queue_open(s, now))
        return true;
    if (frn_queue_lock(&q->next, &q->is_next, &broken)
        && frn_queue_lock(&q->writer, &q->is_writer, &broken)) {
        frn_queue_unlock(&q->next, &q->is_next);
        q->impatient = q->sampled = false;
        return true;
    }
    return broken || frn_queue_stuck(s, now);
}

/* Nobody else is registered: the files go. Who opened them meanwhile finds out by his next look. */
static void frn_queue_remove(frn_sqlite *s)
{
    if (!frn_queue_open(s, frn_plat_now_ns(s->base.plat)))
        return;
    frn_lock_file_unlink(s, &s->queue.next);
    frn_lock_file_unlink(s, &s->queue.writer);
}

// >> 414 store.sqlite.open | needs: 410 413
//    Connections and schema. Opening waits for a locked database up to busy_timeout_ms; after that
//    nothing in this provider sleeps, and BUSY is answered as such.

/* Until busy_timeout_ms is over, for those who wait here. */
static int64_t frn_sqlite_patience(frn_sqlite *s)
{
    return frn_add_time(frn_plat_now_ns(s->base.plat), frn_ms_to_ns(s->desc->busy_timeout_ms));
}

/* Whether to try again: it has slept a little. */
static bool frn_sqlite_again(frn_sqlite *s, int64_t end_ns, int64_t pause_ns)
{
    if (frn_plat_now_ns(s->base.plat) >= end_ns)
        return false;
    frn_plat_sleep(s->base.plat, pause_ns);
    return true;
}

static bool frn_sqlite_is_busy(int rc)
{
    return frn_sqlite_result(rc) == FRANCIS_ERR_LOCKED;
}

/* Begins a transaction, in turn, under a deadline. frn_queue_leave must follow. */
static int frn_sqlite_begin_patiently(frn_sqlite *s, sqlite3 *db)
{
    int64_t end = frn_sqlite_patience(s);
    int     rc;

    do {
        rc = frn_queue_step(s) ? frn_sqlite_exec(s, db, "BEGIN IMMEDIATE") : SQLITE_BUSY;
    } while (frn_sqlite_is_busy(rc)
             && frn_sqlite_again(s, end, s->queue.is_writer ? FRN_BUSY_RETRY_NS
                                                            : FRN_QUEUE_RETRY_NS));
    return rc;
}

static int frn_sqlite_on_wal(void *user, sqlite3 *db, const char *name, int pages)
{
    frn_sqlite *s = (frn_sqlite *)user;
    uint64_t    now = (uint64_t)pages;
    int         written = 0, highest = 0;

    (void)name;
    if (now < s->wal_pages)
        s->wal_retry_pages = s->wal_copied_pages = 0;     /* it has started over */
    s->wal_pages = now;
    if (sqlite3_db_status(db, SQLITE_DBSTATUS_CACHE_WRITE, &written, &highest, 1) == SQLITE_OK)
        (void)__atomic_add_fetch(&s->base.bytes_written,
                                 (uint64_t)written * (s->page_bytes + 24), __ATOMIC_RELAXED);
    FRN_STORE(&s->base.wal_bytes, now * (s->page_bytes + 24));
    return SQLITE_OK;
}

static int frn_sqlite_connect(frn_sqlite *s, sqlite3 **db)
{
    const francis_host_desc *d = s->desc;
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_URI | SQLITE_OPEN_NOMUTEX;

    if (d->on_database != NULL) {
        s->opened = d->on_database(db, d->database, flags, d->database_user);
        if (s->opened == FRANCIS_OK)
            return *db != NULL ? SQLITE_OK : SQLITE_MISUSE;
        (void)frn_sqlite_refuse(s, s->opened, "on_database: %s (%d)", francis_strerror(s->opened),
                                s->opened);
        return SQLITE_CANTOPEN;
    }
    return sqlite3_open_v2(d->database, db, flags, d->platform->sqlite_vfs);
}

/* Asks for WAL and looks at what it got: SQLite answers with the mode that stays. */
static int frn_sqlite_wal_on(sqlite3 *db)
{
    sqlite3_stmt *stmt = NULL;
    int           rc = sqlite3_prepare_v2(db, "PRAGMA journal_mode = WAL", -1, &stmt, NULL);

    if (rc == SQLITE_OK && (rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        const char *mode = (const char *)sqlite3_column_text(stmt, 0);
        rc = mode != NULL && strcmp(mode, "wal") == 0 ? SQLITE_OK : SQLITE_READONLY;
    }
    (void)sqlite3_finalize(stmt);
    return rc;
}

/* WAL where there is a file; page size first, since nothing changes it later. */
static int frn_sqlite_journal(frn_sqlite *s, sqlite3 *db)
{
    int64_t pages = 0, end;
    int     rc = frn_sqlite_int(s, db, "PRAGMA page_count", NULL, 0, &pages);

    if (rc == SQLITE_OK && pages == 0 && s->handle == NULL)
        rc = frn_sqlite_exec(s, db, s->desc->profile == FRANCIS_PROFILE_FLASH
                                        ? "PRAGMA page_size = 1024" : "PRAGMA page_size = 4096");
    if (rc != SQLITE_OK || s->path[0] == '\0')
        return rc;
    end = frn_sqlite_patience(s);
    do {                            /* SQLite does not call its busy handler here */
        rc = frn_sqlite_wal_on(db);
    } while (frn_sqlite_is_busy(rc) && frn_sqlite_again(s, end, FRN_BUSY_RETRY_NS));
    return rc;
}

static int frn_sqlite_tune(frn_sqlite *s, sqlite3 *db)
{
    char    text[80];
    int64_t page = 4096;
    int     rc = SQLITE_OK;

    if (s->handle == NULL)
        rc = frn_sqlite_exec(s, db, "PRAGMA temp_store = MEMORY; PRAGMA foreign_keys = OFF");
    (void)snprintf(text, sizeof text, "PRAGMA journal_size_limit = %llu",
                   (unsigned long long)s->wal_bytes_max);
    if (rc == SQLITE_OK)
        rc = frn_sqlite_exec(s, db, text);
    if (rc == SQLITE_OK)
        rc = frn_sqlite_int(s, db, "PRAGMA page_size", NULL, 4096, &page);
    s->page_bytes = (uint64_t)page;
    return rc;
}

static void frn_sqlite_disconnect(frn_sqlite *s, frn_conn *c)
{
    size_t i;
    for (i = 0; i < FRN_STMT_END; i++) {
        (void)sqlite3_finalize(c->stmts[i]);
        c->stmts[i] = NULL;
    }
    if (c->db != NULL && c->db != s->handle)
        (void)sqlite3_close_v2(c->db);
    c->db = NULL;
}

/* File systems that several machines may share, or that others make up: their locks do not hold, or
 * the shared memory of the log is not shared. */
#if defined(__linux__)
typedef struct frn_filesystem {
    uint32_t    type;
    const char *name;
} frn_filesystem;

static const frn_filesystem frn_filesystems[] = {
    { 0x00006969, "NFS" },   { 0x0000517b, "SMB" },    { 0xff534d42, "CIFS" },
    { 0xfe534d42, "SMB2" },  { 0x01021997, "9p" },     { 0x65735546, "FUSE or virtiofs" },
    { 0x00c36400, "Ceph" },  { 0x01161970, "GFS2" },   { 0x7461636f, "OCFS2" },
    { 0x0bd00bd0, "Lustre" }, { 0x5346414f, "AFS" },   { 0x6b414653, "AFS" },
    { 0x73757245, "Coda" },  { 0x786f4256, "VirtualBox's" }, { 0x47504653, "GPFS" },
    { 0x19830326, "BeeGFS" }, { 0x0000564c, "NCP" },   { 0xbacbacbc, "VMware's" }
};

static const char *frn_filesystem_shared(const char *path)
{
    struct statfs f;
    size_t        i;

    if (statfs(path, &f) != 0)
        return NULL;
    for (i = 0; i < FRN_COUNT(frn_filesystems); i++)
        if ((uint32_t)f.f_type == frn_filesystems[i].type)
            return frn_filesystems[i].name;
    return NULL;
}

static unsigned frn_octal(const char *digits)       /* three of them */
{
    unsigned a = (unsigned)digits[0] & 7u, b = (unsigned)digits[1] & 7u;
    return a * 64 + b * 8 + ((unsigned)digits[2] & 7u);
}

/* Whether a line of mountinfo is about this path: its fifth word, with blanks as \040. */
static bool frn_mount_line_is(const char *line, const char *path)
{
    int word;

    for (word = 1; word < 5 && (line = strchr(line, ' ')) != NULL; word++)
        line++;
    for (; line != NULL && *path != '\0'; path++) {
        unsigned code = (unsigned char)*line;
        if (*line == '\\' && strlen(line) > 3) {
            code = frn_octal(line + 1);
            line += 3;
        }
        if (code != (unsigned char)*path)
            return false;
        line++;
    }
    return line != NULL && *line == ' ';
}

static bool frn_is_mount_point(const char *path)
{
    char  line[4096 + 512];
    FILE *f = fopen("/proc/self/mountinfo", "re");
    bool  is = false;

    while (f != NULL && !is && fgets(line, sizeof line, f) != NULL)
        is = frn_mount_line_is(line, path);
    if (f != NULL)
        (void)fclose(f);
    return is;
}
#elif defined(MNT_LOCAL)
static const char *frn_filesystem_shared(const char *path)
{
    struct statfs f;
    return statfs(path, &f) == 0 && (f.f_flags & (uint32_t)MNT_LOCAL) == 0 ? "network" : NULL;
}

static bool frn_is_mount_point(const char *path)
{
    (void)path;
    return false;
}
#else
static const char *frn_filesystem_shared(const char *path)
{
    (void)path;
    return NULL;
}

static bool frn_is_mount_point(const char *path)
{
    (void)path;
    return false;
}
#endif

/* Whether locks and shared memory can be trusted where the file lies. */
static francis_result frn_sqlite_check_place(frn_sqlite *s)
{
    const char *shared;
    char       *directory;
    size_t      size = strlen(s->path) + 1, length;

    if (s->path[0] != '/' || s->desc->any_filesystem)
        return FRANCIS_OK;
    directory = (char *)frn_mem_alloc(s->base.mem, size);
    if (directory == NULL)
        return frn_sqlite_refuse(s, FRANCIS_ERR_NOMEM, "out of memory");
    length = (size_t)(strrchr(s->path, '/') - s->path);
    memcpy(directory, s->path, length > 0 ? length : 1);
    shared = frn_filesystem_shared(directory);
    frn_mem_free(s->base.mem, directory, size);
    if (shared != NULL)
        return frn_sqlite_refuse(s, FRANCIS_ERR_INVALID, "it lies on a %s file system, which"
                                 " machines may share; see any_filesystem", shared);
    if (frn_is_mount_point(s->path))
        return frn_sqlite_refuse(s, FRANCIS_ERR_INVALID, "the file is a mount point: its log would"
                                 " not be that of others; mount its directory, or see"
                                 " any_filesystem");
    return FRANCIS_OK;
}

static int frn_sqlite_busy_ms(const frn_sqlite *s)
{
    return s->desc->busy_timeout_ms > INT_MAX || s->desc->busy_timeout_ms < 0
        ? INT_MAX : (int)s->desc->busy_timeout_ms;
}

static int frn_sqlite_connect_one(frn_sqlite *s, frn_conn *c, bool writer)
{
    const char *name;
    int         rc = SQLITE_OK;

    if (s->handle != NULL)
        c->db = s->handle;
    else
        rc = frn_sqlite_connect(s, &c->db);
    if (rc == SQLITE_OK)
        rc = sqlite3_extended_result_codes(c->db, 1);
    if (rc == SQLITE_OK)
        rc = sqlite3_busy_timeout(c->db, frn_sqlite_busy_ms(s));
    if (rc == SQLITE_OK && writer && s->path == NULL) {
        name = sqlite3_db_filename(c->db, "main");
        s->path = frn_mem_strdup(s->base.mem, name != NULL ? name : "");
        if (s->path == NULL)
            rc = SQLITE_NOMEM;
        else if ((s->opened = frn_sqlite_check_place(s)) != FRANCIS_OK)
            return SQLITE_CANTOPEN;
    }
    if (rc == SQLITE_OK && s->vfs == NULL)
        (void)sqlite3_file_control(c->db, "main", SQLITE_FCNTL_VFS_POINTER, (void *)&s->vfs);
    if (rc == SQLITE_OK && writer)
        rc = frn_sqlite_journal(s, c->db);
    if (rc == SQLITE_OK)
        rc = frn_sqlite_tune(s, c->db);
    if (rc == SQLITE_OK && writer && s->path[0] != '\0')
        (void)sqlite3_wal_hook(c->db, frn_sqlite_on_wal, s);
    if (rc == SQLITE_OK)
        rc = sqlite3_busy_timeout(c->db, writer ? 0 : 100);     /* from here on nobody sleeps */
    return rc;
}

static francis_result frn_sqlite_connect_all(frn_sqlite *s)
{
    int            rc = frn_sqlite_connect_one(s, &s->conn[0], true);
    francis_result r = s->opened;

    if (r != FRANCIS_OK)
        return r;                   /* s->error has the words */
    if (rc != SQLITE_OK)
        return frn_sqlite_fail(s, s->conn[0].db, rc, "cannot open the database");
    s->single = s->handle != NULL || s->path[0] == '\0';
    s->synced = -1;
    s->looked = false;
    s->wal_pages = s->wal_retry_pages = s->wal_copied_pages = 0;
    if (!s->single) {
        rc = frn_sqlite_connect_one(s, &s->conn[1], false);
        if (rc == SQLITE_OK)
            rc = frn_sqlite_exec(s, s->conn[1].db, "PRAGMA query_only = ON");
        if (rc != SQLITE_OK)
            return frn_sqlite_fail(s, s->conn[1].db, rc, "cannot open the database for reading");
    }
    return FRANCIS_OK;
}

/* What a handle of the application's must be like. */
static francis_result frn_sqlite_check_handle(frn_sqlite *s, bool threads)
{
    sqlite3_stmt *stmt = NULL;
    const char   *fault = NULL;

    while ((stmt = sqlite3_next_stmt(s->handle, stmt)) != NULL)
        if (sqlite3_stmt_busy(stmt))
            fault = "has a statement that is under way";
    if (!sqlite3_get_autocommit(s->handle))
        fault = "is inside a transaction";
    if (threads && sqlite3_db_mutex(s->handle) == NULL)
        fault = "was opened without a mutex, which workers need";
    if (sqlite3_db_readonly(s->handle, "main") == 1)
        fault = "is read only";
    if (fault == NULL)
        return FRANCIS_OK;
    (void)snprintf(s->error, sizeof s->error, "the sqlite3 handle %s", fault);
    return FRANCIS_ERR_LOCKED;
}

static int frn_sqlite_level(frn_sqlite *s, sqlite3 *db, const char *key, int64_t *level)
{
    int64_t there = 0;
    int     rc;

    *level = 0;
    rc = frn_sqlite_int(s, db, "SELECT count(*) FROM sqlite_master WHERE type = 'table'"
                               " AND name = '@metadata'", NULL, 0, &there);
    if (rc == SQLITE_OK && there)
        rc = frn_sqlite_int(s, db, "SELECT CASE WHEN value GLOB '[0-9]*' THEN CAST(value AS"
                                   " INTEGER) ELSE -1 END FROM @metadata WHERE key = ?1",
                            key, 0, level);
    return rc;
}

static int frn_sqlite_set_level(frn_sqlite *s, sqlite3 *db, const char *key, int64_t level)
{
    char text[200];
    (void)snprintf(text, sizeof text, "INSERT OR REPLACE INTO @metadata(key, value)"
                                      " VALUES('%s', '%lld')", key, (long long)level);
    return frn_sqlite_exec(s, db, text);
}

static int frn_sqlite_migrate_level(frn_sqlite *s, sqlite3 *db, const char *const **sql)
{
    int rc = SQLITE_OK;
    for (; rc == SQLITE_OK && **sql != NULL; ++*sql)
        rc = frn_sqlite_exec(s, db, **sql);
    ++*sql;
    return rc;
}

static int frn_sqlite_migrate_from(frn_sqlite *s, sqlite3 *db, const char *const *sql,
                                   int64_t level, int64_t target)
{
    int64_t i;
    int     rc = SQLITE_OK;

    for (i = 1; rc == SQLITE_OK && i <= target; i++) {
        if (i <= level) {
            while (*sql++ != NULL)
                continue;
        } else {
            rc = frn_sqlite_migrate_level(s, db, &sql);
        }
    }
    return rc;
}

static int frn_sqlite_migrate(frn_sqlite *s, sqlite3 *db, int64_t level, int64_t ext_level)
{
    int rc = frn_sqlite_exec(s, db, "CREATE TABLE IF NOT EXISTS @metadata(key TEXT NOT NULL PRIMARY"
                                    " KEY, value TEXT NOT NULL) WITHOUT ROWID, STRICT");

    if (rc == SQLITE_OK)
        rc = frn_sqlite_migrate_from(s, db, frn_sqlite_schema, level, FRN_SQLITE_LEVEL);
    if (rc == SQLITE_OK && level < FRN_SQLITE_LEVEL)
        rc = frn_sqlite_set_level(s, db, "migrations-version", FRN_SQLITE_LEVEL);
    if (rc == SQLITE_OK)
        rc = frn_sqlite_migrate_from(s, db, frn_sqlite_ext_schema, ext_level, FRN_SQLITE_EXT_LEVEL);
    if (rc == SQLITE_OK && ext_level < FRN_SQLITE_EXT_LEVEL)
        rc = frn_sqlite_set_level(s, db, "ext-version", FRN_SQLITE_EXT_LEVEL);
    return rc;
}

static int frn_sqlite_levels(frn_sqlite *s, sqlite3 *db, int64_t *level, int64_t *ext)
{
    int64_t end = frn_sqlite_patience(s);
    int     rc;

    do {
        rc = frn_sqlite_level(s, db, "migrations-version", level);
        if (rc == SQLITE_OK)
            rc = frn_sqlite_level(s, db, "ext-version", ext);
    } while (frn_sqlite_is_busy(rc) && frn_sqlite_again(s, end, FRN_BUSY_RETRY_NS));
    return rc;
}

/* Inside a transaction: refuses beside a host that lives, for it goes by the level that is
 * there. */
static francis_result frn_sqlite_check_alone(frn_sqlite *s, sqlite3 *db, int64_t level, int64_t ext)
{
    char           text[FRN_SQLITE_SQL_MAX];
    sqlite3_stmt  *stmt = NULL;
    francis_result r = FRANCIS_OK;
    int            rc;

    if (ext == 0 || s->path[0] == '\0')
        return FRANCIS_OK;          /* none of ours has been here */
    (void)frn_sqlite_expand(s, "SELECT host_id, process FROM @ext_hosts WHERE evicted = 0", text,
                            sizeof text);
    rc = sqlite3_prepare_v2(db, text, -1, &stmt, NULL);
    while (rc == SQLITE_OK && r == FRANCIS_OK && (rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        const char *id = (const char *)sqlite3_column_text(stmt, 0);
        rc = id != NULL ? SQLITE_OK : SQLITE_NOMEM;
        if (id != NULL && frn_sqlite_proof_held(s, id))
            r = frn_sqlite_refuse(s, FRANCIS_ERR_LOCKED, "the schema is of level %lld.%lld and has"
                                  " to be raised to %d.%d, but host %s (process %lld) lives, which"
                                  " does not know that; stop it first", (long long)level,
                                  (long long)ext, (int)FRN_SQLITE_LEVEL, (int)FRN_SQLITE_EXT_LEVEL,
                                  id, (long long)sqlite3_column_int64(stmt, 1));
    }
    (void)sqlite3_finalize(stmt);
    return rc == SQLITE_OK || rc == SQLITE_DONE ? r : frn_sqlite_fail(s, db, rc,
                                                                      "cannot read the hosts");
}

/* Inside a transaction: makes what is missing. */
static francis_result frn_sqlite_raise_level(frn_sqlite *s, sqlite3 *db)
{
    francis_result r;
    int64_t        level = 0, ext = 0;
    int            rc = frn_sqlite_levels(s, db, &level, &ext);

    if (rc == SQLITE_OK && (level < FRN_SQLITE_LEVEL || ext < FRN_SQLITE_EXT_LEVEL)) {
        r = frn_sqlite_check_alone(s, db, level, ext);
        if (r != FRANCIS_OK)
            return r;
        rc = frn_sqlite_migrate(s, db, level, ext);
        if (rc == SQLITE_OK)
            frn_log(s->base.log, level == 0 ? FRN_LOG_schema_created : FRN_LOG_schema_migrated,
                    FRANCIS_OK, NULL, NULL, "schema level %d.%d, before %lld.%lld",
                    (int)FRN_SQLITE_LEVEL, (int)FRN_SQLITE_EXT_LEVEL, (long long)level,
                    (long long)ext);
    }
    if (rc == SQLITE_OK)
        rc = frn_sqlite_exec(s, db, "COMMIT");
    return rc == SQLITE_OK ? FRANCIS_OK : frn_sqlite_fail(s, db, rc, "cannot create the schema");
}

static francis_result frn_sqlite_prepare_schema(frn_sqlite *s)
{
    sqlite3       *db = s->conn[0].db;
    int64_t        level = 0, ext = 0;
    francis_result r;
    int            rc = frn_sqlite_levels(s, db, &level, &ext);

    if (rc != SQLITE_OK)
        return frn_sqlite_fail(s, db, rc, "cannot read the schema");
    if (level < 0 || level > FRN_SQLITE_LEVEL || ext < 0 || ext > FRN_SQLITE_EXT_LEVEL) {
        (void)snprintf(s->error, sizeof s->error, "the schema is of level %lld.%lld, written by a"
                       " newer version; this one knows %d.%d", (long long)level, (long long)ext,
                       (int)FRN_SQLITE_LEVEL, (int)FRN_SQLITE_EXT_LEVEL);
        return FRANCIS_ERR_SCHEMA;
    }
    if (level == FRN_SQLITE_LEVEL && ext == FRN_SQLITE_EXT_LEVEL)
        return FRANCIS_OK;          /* nothing to write, nobody to wait for */
    rc = frn_sqlite_begin_patiently(s, db);
    r = rc == SQLITE_OK ? frn_sqlite_raise_level(s, db)
                        : frn_sqlite_fail(s, db, rc, "cannot create the schema");
    if (!sqlite3_get_autocommit(db))
        (void)frn_sqlite_exec(s, db, "ROLLBACK");
    frn_queue_leave(s);
    return r;
}

// >> 416 store.sqlite.hosts | needs: 410 412 413 414
//    Registration, and eviction. Proof: a host whose lock is free is dead, and evicted at once.
//    Suspicion: one that has not answered a challenge in time. Eviction marks one row, however many
//    actors the host had; their placements count as absent from then on.

enum { FRN_GO_DEADLINE_MS = 20000 };    /* a host of the Go implementation says it lives so often */

typedef struct frn_incumbent {
    char    id[64], address[300];
    bool    ours;                   /* has an ext_hosts row */
    int64_t seen_ms, challenge, answer, lease_ms, process;
} frn_incumbent;

/* From the columns of FRN_HOST_COLUMNS. */
static void frn_sqlite_read_host(sqlite3_stmt *stmt, frn_incumbent *out)
{
    const char *id = (const char *)sqlite3_column_text(stmt, 0);
    const char *address = (const char *)sqlite3_column_text(stmt, 1);

    memset(out, 0, sizeof *out);
    (void)snprintf(out->id, sizeof out->id, "%s", id != NULL ? id : "");
    (void)snprintf(out->address, sizeof out->address, "%s", address != NULL ? address : "");
    out->ours = sqlite3_column_int(stmt, 2) != 0;
    out->seen_ms = sqlite3_column_int64(stmt, 3);
    out->challenge = sqlite3_column_int64(stmt, 4);
    out->answer = sqlite3_column_int64(stmt, 5);
    out->lease_ms = sqlite3_column_int64(stmt, 6);
    out->process = sqlite3_column_int64(stmt, 7);
}

/* Steps a statement for one host. */
static int frn_sqlite_one_host(sqlite3_stmt *stmt, frn_incumbent *out, bool *found)
{
    int rc = sqlite3_step(stmt);

    *found = rc == SQLITE_ROW;
    if (*found)
        frn_sqlite_read_host(stmt, out);
    (void)sqlite3_reset(stmt);
    return rc == SQLITE_ROW || rc == SQLITE_DONE ? SQLITE_OK : rc;
}

/* The first host behind *after that is not evicted; false = no further one. */
static int frn_sqlite_next_host(frn_sqlite *s, const char *after, frn_incumbent *out, bool *found)
{
    char          text[FRN_SQLITE_SQL_MAX];
    sqlite3_stmt *stmt = NULL;
    int           rc;

    *found = false;
    (void)frn_sqlite_expand(s, FRN_HOST_COLUMNS " WHERE h.host_id > ?1"
                               " AND coalesce(e.evicted, 0) = 0 ORDER BY h.host_id LIMIT 1",
                            text, sizeof text);
    rc = sqlite3_prepare_v2(s->conn[0].db, text, -1, &stmt, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_bind_text(stmt, 1, after, -1, SQLITE_TRANSIENT);
    if (rc == SQLITE_OK)
        rc = frn_sqlite_one_host(stmt, out, found);
    (void)sqlite3_finalize(stmt);
    return rc;
}

/* Whether it may still do something. A host that does not hold our kind of lock goes by its own
 * word: the only wall clock that is ever asked, and only while nobody of ours depends on it. */
static bool frn_sqlite_host_lives(frn_sqlite *s, const frn_incumbent *h, int64_t now_ms)
{
    if (!h->ours)
        return now_ms - h->seen_ms < FRN_GO_DEADLINE_MS && h->seen_ms <= now_ms;
    return s->path[0] != '\0' && frn_sqlite_proof_seen(s, h->id);
}

/* Inside a transaction. Without a reason nobody is told. */
static int frn_sqlite_evict(frn_sqlite *s, const frn_incumbent *h, int64_t now_ms, const char *why)
{
    int rc = frn_sqlite_execf(s, s->conn[0].db,
                              "INSERT INTO @ext_hosts(host_id, evicted, started, process, settled)"
                              " VALUES(%Q, 1, %lld, 0, 0) ON CONFLICT(host_id) DO UPDATE"
                              " SET evicted = 1; UPDATE @hosts SET host_address = 'evicted ' ||"
                              " host_id WHERE host_id = %Q", h->id, (long long)now_ms, h->id);
    if (rc == SQLITE_OK)
        frn_sqlite_proof_unlink(s, h->id);
    if (rc != SQLITE_OK || why == NULL)
        return rc;
    frn_log(s->base.log, FRN_LOG_host_took_over, FRANCIS_OK, NULL, NULL,
            "host %s%s%.200s (process %lld) %s; it is evicted", h->id,
            h->address[0] == '-' ? "" : " at ", h->address[0] == '-' ? "" : h->address,
            (long long)h->process, why);
    return SQLITE_OK;
}

static const char frn_ended[] = "has ended without leaving";

static francis_result frn_sqlite_admit_beside(frn_sqlite *s, const frn_incumbent *h,
                                              const char *address)
{
    if (!h->ours)
        return frn_sqlite_refuse(s, FRANCIS_ERR_LOCKED, "host %s at %.100s is of another"
                                 " implementation and lives; one after the other", h->id,
                                 h->address);
    if (address != NULL && strcmp(address, h->address) == 0)
        return frn_sqlite_refuse(s, FRANCIS_ERR_EXISTS, "address %.100s belongs to host %s (process"
                                 " %lld), which lives", address, h->id, (long long)h->process);
    return FRANCIS_OK;
}

/* Goes through the hosts of the file: the dead are evicted, the living counted. Without join, and
 * outside of a transaction, it only looks for those of another implementation. */
static francis_result frn_sqlite_look_around(frn_sqlite *s, int64_t now_ms, frn_join *join,
                                             uint32_t *lives)
{
    frn_incumbent  h;
    bool           found = true, former;
    francis_result r = FRANCIS_OK;
    int            rc = SQLITE_OK;

    memset(&h, 0, sizeof h);
    *lives = 0;
    while (rc == SQLITE_OK && r == FRANCIS_OK) {
        rc = frn_sqlite_next_host(s, h.id, &h, &found);
        if (rc != SQLITE_OK || !found)
            break;
        if (join == NULL && h.ours)
            continue;               /* locks are looked at inside a transaction only */
        former = join != NULL && strcmp(h.id, join->former) == 0;
        if (!former && frn_sqlite_host_lives(s, &h, now_ms)) {
            ++*lives;
            r = frn_sqlite_admit_beside(s, &h, join != NULL ? join->address : NULL);
        } else if (join != NULL) {
            join->evicted += !former;
            rc = frn_sqlite_evict(s, &h, now_ms, former ? NULL : frn_ended);
        }
    }
    return rc == SQLITE_OK ? r : frn_sqlite_fail(s, s->conn[0].db, rc, "cannot read the hosts");
}

/* Against hosts_max, on which all that live must agree, and the lock of an administrator. */
static francis_result frn_sqlite_admit(frn_sqlite *s, const frn_join *join, uint32_t lives)
{
    sqlite3 *db = s->conn[0].db;
    int64_t  most = s->desc->hosts_max, agreed = -1, locked = 0;
    int      rc = frn_sqlite_int(s, db, "SELECT coalesce(max_hosts, -1) FROM @cluster_config", NULL,
                                 -1, &agreed);

    if (rc == SQLITE_OK)
        rc = frn_sqlite_int(s, db, "SELECT exclusive_expires_at FROM @cluster_config"
                                   " WHERE exclusive_owner IS NOT NULL", NULL, 0, &locked);
    if (rc == SQLITE_OK && locked >= join->now_ms && locked != 0)
        return frn_sqlite_refuse(s, FRANCIS_ERR_LOCKED, "the cluster is locked for maintenance");
    if (rc == SQLITE_OK && lives > 0 && agreed >= 0 && agreed != most)
        return frn_sqlite_refuse(s, FRANCIS_ERR_INVALID, "hosts_max is %lld, that of the hosts that"
                                 " live is %lld", (long long)most, (long long)agreed);
    if (rc == SQLITE_OK && most > 0 && lives >= most)
        return frn_sqlite_refuse(s, FRANCIS_ERR_LOCKED, "%u hosts live already, hosts_max",
                                 (unsigned)lives);
    if (rc == SQLITE_OK && agreed != most)
        rc = frn_sqlite_execf(s, db, "UPDATE @cluster_config SET max_hosts = %lld",
                              (long long)most);
    return rc == SQLITE_OK ? FRANCIS_OK : frn_sqlite_fail(s, db, rc, "cannot read the cluster");
}

static int frn_sqlite_insert_host(frn_sqlite *s, const frn_join *join)
{
    size_t i;
    int    rc = frn_sqlite_execf(s, s->conn[0].db,
                                 "INSERT INTO @hosts(host_id, host_address, host_last_health_check)"
                                 " VALUES(%Q, %Q, %lld); INSERT INTO @ext_hosts(host_id, evicted,"
                                 " started, process, settled, challenge, answer, lease_ms)"
                                 " VALUES(%Q, 0, %lld, %lld, 0, 0, 0, %lld)",
                                 join->host_id, join->address, (long long)join->now_ms,
                                 join->host_id, (long long)join->now_ms,
                                 (long long)frn_plat_process(s->base.plat),
                                 (long long)s->desc->lease_ms);

    for (i = 0; rc == SQLITE_OK && i < join->types_count; i++) {
        int64_t     idle = 0;
        uint32_t    limit = 0;
        const char *type = join->type_at(join->user, i, &idle, &limit);
        rc = frn_sqlite_execf(s, s->conn[0].db,
                              "INSERT INTO @host_actor_types(host_id, actor_type,"
                              " actor_idle_timeout, actor_concurrency_limit)"
                              " VALUES(%Q, %Q, %lld, %u)",
                              join->host_id, type, (long long)idle, (unsigned)limit);
    }
    return rc;
}

/* Inside a transaction: the lock first, then the row. */
static francis_result frn_sqlite_enter(frn_sqlite *s, frn_join *join)
{
    uint32_t       lives = 0;
    int64_t        left = 0;
    francis_result r;
    int            rc;

    join->now_ms = frn_plat_wall_ms(s->base.plat);      /* now that the transaction has begun */
    r = frn_sqlite_look_around(s, join->now_ms, join, &lives);
    if (r == FRANCIS_OK)
        r = frn_sqlite_admit(s, join, lives);
    if (r != FRANCIS_OK)
        return r;
    rc = frn_sqlite_int(s, s->conn[0].db, "SELECT EXISTS (SELECT 1 FROM @ext_hosts"
                                          " WHERE evicted = 1)", NULL, 0, &left);
    join->leftovers = left != 0;
    if (rc == SQLITE_OK)
        rc = frn_sqlite_proof_take(s, join->host_id);
    if (rc == SQLITE_OK)
        rc = frn_sqlite_insert_host(s, join);
    if (rc == SQLITE_OK)
        rc = frn_sqlite_exec(s, s->conn[0].db, "COMMIT");
    return rc == SQLITE_OK ? r : frn_sqlite_fail(s, s->conn[0].db, rc, "cannot register the host");
}

static francis_result frn_sqlite_join_locked(frn_sqlite *s, frn_join *join)
{
    sqlite3       *db = s->conn[0].db;
    francis_result r = FRANCIS_OK;
    int            rc;

    if (!s->begun && s->handle != NULL && (r = frn_sqlite_check_handle(s, false)) != FRANCIS_OK)
        return r;
    frn_sqlite_proof_drop(s);       /* of an earlier life, which ends with it */
    rc = db == NULL ? SQLITE_CANTOPEN : s->begun ? SQLITE_OK : frn_sqlite_begin_patiently(s, db);
    s->begun = false;
    r = rc == SQLITE_OK ? frn_sqlite_enter(s, join)
                        : frn_sqlite_fail(s, db, rc, "cannot register the host");
    if (db != NULL && !sqlite3_get_autocommit(db))
        (void)frn_sqlite_exec(s, db, "ROLLBACK");
    frn_queue_leave(s);
    if (r != FRANCIS_OK)
        frn_sqlite_proof_drop(s);
    return r;
}

static francis_result frn_sqlite_join(frn_store *store, frn_join *join, char *error,
                                      size_t error_size)
{
    frn_sqlite    *s = (frn_sqlite *)store;
    francis_result r;

    (void)pthread_mutex_lock(&s->locks[0]);
    r = frn_sqlite_join_locked(s, join);
    (void)snprintf(error, error_size, "%s", r == FRANCIS_OK ? "" : s->error);
    (void)pthread_mutex_unlock(&s->locks[0]);
    return r;
}

/* Inside a transaction: a thousand placements of evicted hosts, and those hosts of which nothing is
 * left. */
static int frn_sqlite_sweep_evicted(frn_sqlite *s, bool *more, bool *suspects)
{
    static const frn_stmt all[] = { FRN_STMT_SWEEP_SUSPECTS, FRN_STMT_SWEEP_PLACEMENTS,
                                    FRN_STMT_SWEEP_TYPES, FRN_STMT_SWEEP_HOSTS,
                                    FRN_STMT_SWEEP_EXT };
    size_t        i;
    int           rc = SQLITE_OK;
    sqlite3_stmt *stmt;

    for (i = 0; rc == SQLITE_OK && i < FRN_COUNT(all); i++) {
        stmt = frn_sqlite_stmt(s, &s->conn[0], all[i], &rc);
        if (stmt != NULL && i < 2)
            rc = sqlite3_bind_int64(stmt, 1, FRN_SWEEP_ROWS);
        if (stmt != NULL && i == 0)
            (void)sqlite3_bind_int64(stmt, 2, frn_plat_wall_ms(s->base.plat));
        if (stmt != NULL && rc == SQLITE_OK)
            rc = frn_sqlite_once(stmt);
        if (i == 0 && rc == SQLITE_OK)
            *suspects = *suspects || sqlite3_changes(s->conn[0].db) > 0;
        if (i == 1 && rc == SQLITE_OK)
            *more = *more || sqlite3_changes(s->conn[0].db) >= FRN_SWEEP_ROWS;
    }
    return rc;
}

/* It ends as if it had been evicted; what that leaves behind goes at once, if it is not much. */
static int frn_sqlite_withdraw(frn_sqlite *s, const char *host_id)
{
    bool more = false, suspects = false;
    int  rc = frn_sqlite_execf(s, s->conn[0].db,
                               "UPDATE @ext_hosts SET evicted = 1 WHERE host_id = %Q;"
                               " UPDATE @hosts SET host_address = 'evicted ' || host_id"
                               " WHERE host_id = %Q", host_id, host_id);

    if (rc == SQLITE_OK)
        rc = frn_sqlite_sweep_evicted(s, &more, &suspects);
    return rc == SQLITE_OK ? frn_sqlite_exec(s, s->conn[0].db, "COMMIT") : rc;
}

/* The dead that nobody has missed are evicted by whoever leaves, if he stands himself. */
static void frn_sqlite_bury(frn_sqlite *s, const char *host_id)
{
    frn_join dead;
    uint32_t lives;
    int64_t  stands = 0;
    int      rc = frn_sqlite_int(s, s->conn[0].db, "SELECT count(*) FROM @ext_hosts"
                                                   " WHERE host_id = ?1 AND evicted = 0",
                                 host_id, 0, &stands);

    memset(&dead, 0, sizeof dead);
    dead.host_id = dead.former = host_id;
    dead.address = "";
    if (rc == SQLITE_OK && stands)
        (void)frn_sqlite_look_around(s, frn_plat_wall_ms(s->base.plat), &dead, &lives);
}

static void frn_sqlite_leave(frn_store *store, const char *host_id)
{
    frn_sqlite *s = (frn_sqlite *)store;
    sqlite3    *db;
    int64_t     others = 1;

    (void)pthread_mutex_lock(&s->locks[0]);
    db = s->conn[0].db;
    if (db != NULL && (s->handle == NULL || frn_sqlite_check_handle(s, false) == FRANCIS_OK)
        && frn_sqlite_begin_patiently(s, db) == SQLITE_OK) {
        frn_sqlite_bury(s, host_id);
        (void)frn_sqlite_withdraw(s, host_id);
        if (!sqlite3_get_autocommit(db))
            (void)frn_sqlite_exec(s, db, "ROLLBACK");
        (void)frn_sqlite_int(s, db, "SELECT EXISTS (SELECT 1 FROM @hosts WHERE host_id NOT IN"
                                   " (SELECT host_id FROM @ext_hosts WHERE evicted = 1))",
                             NULL, 1, &others);
    }
    if (!others)
        frn_queue_remove(s);
    frn_queue_leave(s);
    frn_sqlite_proof_drop(s);
    (void)pthread_mutex_unlock(&s->locks[0]);
}

// >> 418 store.sqlite.alarms | needs: 330 410
//    Rows of alarms, jobs and dead jobs, and what is done with one inside a transaction. Columns of
//    ours begin with ext_; ext_look is the moment from which on a look at the file finds the row.

enum { FRN_POLICY_CLOCK = 4, FRN_POLICY_MOST = 8 };     /* bits of ext_policy, above missed */

static int64_t frn_alarm_policy(const frn_alarm *a)
{
    int64_t policy = (int64_t)a->missed_max << FRN_POLICY_MOST;

    return policy | (int64_t)a->missed | (a->wait_for_clock ? FRN_POLICY_CLOCK : 0);
}

/* The columns of FRN_ALARM_COLUMNS or FRN_HOOK_COLUMNS, from the first on. */
static int frn_sqlite_column_alarm(frn_sqlite *s, sqlite3_stmt *stmt, frn_alarm *a)
{
    const char *id = (const char *)sqlite3_column_text(stmt, 0), *texts[FRN_TEXTS];
    int64_t     policy;
    int         i, rc;

    memset(a, 0, sizeof *a);
    for (i = 0; i < FRN_TEXTS; i++)
        texts[i] = (const char *)sqlite3_column_text(stmt, 1 + i);
    for (i = 0; i < FRN_TEXTS; i++)
        if (texts[i] == NULL || id == NULL)
            return SQLITE_NOMEM;
    (void)snprintf(a->id, sizeof a->id, "%s", id);
    a->kind = (frn_alarm_kind)sqlite3_column_int(stmt, 6);
    a->due_ms = sqlite3_column_int64(stmt, 7);
    a->wake_ms = sqlite3_column_int64(stmt, 8);
    if (a->wake_ms < 0 || a->wake_ms > FRN_TIME_MAX)
        a->wake_ms = a->wake_ms < 0 ? 0 : FRN_TIME_MAX;
    a->anchor_ms = sqlite3_column_int64(stmt, 9);
    a->until_ms = sqlite3_column_int64(stmt, 10);
    policy = sqlite3_column_int64(stmt, 11);
    a->missed = (francis_missed)(policy & 3);
    a->wait_for_clock = (policy & FRN_POLICY_CLOCK) != 0;
    a->missed_max = (uint32_t)(policy >> FRN_POLICY_MOST);
    a->hash = (uint64_t)sqlite3_column_int64(stmt, 12);
    a->attempts = (uint32_t)sqlite3_column_int64(stmt, 13);
    a->crashes = (uint32_t)sqlite3_column_int64(stmt, 14);
    a->started = sqlite3_column_int(stmt, 15) != 0;
    a->result = sqlite3_column_int(stmt, 16);
    if (!frn_alarm_set_texts(s->base.mem, a, texts))
        return SQLITE_NOMEM;
    rc = frn_sqlite_column_buf(s, stmt, 17, &a->data);
    if (rc == SQLITE_OK && sqlite3_column_type(stmt, 18) != SQLITE_NULL)
        rc = frn_sqlite_column_buf(s, stmt, 18, &a->error);
    if (rc != SQLITE_OK)
        frn_alarm_clear(s->base.mem, a);
    return rc;
}

static int frn_sqlite_bind_text(sqlite3_stmt *stmt, int at, const char *text)   /* "" = NULL */
{
    return text[0] != '\0' ? sqlite3_bind_text(stmt, at, text, -1, SQLITE_STATIC)
                           : sqlite3_bind_null(stmt, at);
}

static int frn_sqlite_bind_error(sqlite3_stmt *stmt, int at, const frn_buf *error)
{
    return frn_sqlite_bind_text(stmt, at, error != NULL ? (const char *)FRN_BYTES(error) : "");
}

/* Runs it, and lets go of what was bound. *changed: how many rows. */
static int frn_sqlite_change(frn_sqlite *s, frn_part *part, sqlite3_stmt *stmt, int *changed)
{
    int rc = frn_sqlite_once(stmt);

    (void)sqlite3_clear_bindings(stmt);
    *changed = rc == SQLITE_OK ? sqlite3_changes(s->conn[0].db) : 0;
    part->rows += (size_t)*changed;
    return rc;
}

/* The row of a SET or a DISPATCH: ?1 to ?13, ?16. */
static int frn_sqlite_bind_row(sqlite3_stmt *stmt, const frn_record *r)
{
    const frn_alarm *a = &r->a;
    const char      *repeat = frn_alarm_get(a, FRN_TEXT_REPEAT);
    bool             cron = frn_repeat_is_cron(repeat);
    int              rc = frn_sqlite_bind_key(stmt, frn_alarm_get(a, FRN_TEXT_TYPE),
                                              frn_alarm_get(a, FRN_TEXT_ACTOR));

    (void)sqlite3_bind_text(stmt, 3, a->id, -1, SQLITE_STATIC);
    if (rc == SQLITE_OK)
        rc = sqlite3_bind_text(stmt, 4, frn_alarm_get(a, FRN_TEXT_NAME), -1, SQLITE_STATIC);
    (void)sqlite3_bind_int64(stmt, 5, a->due_ms);
    (void)frn_sqlite_bind_text(stmt, 6, cron ? "" : repeat);
    if (a->until_ms != 0)
        (void)sqlite3_bind_int64(stmt, 7, a->until_ms);
    if (rc == SQLITE_OK && a->data != NULL)
        rc = frn_sqlite_bind_buf(stmt, 8, a->data);
    (void)frn_sqlite_bind_text(stmt, 9, cron ? repeat : "");
    (void)sqlite3_bind_int64(stmt, 10, r->look_ms);
    (void)sqlite3_bind_int64(stmt, 11, frn_alarm_policy(a));
    (void)sqlite3_bind_text(stmt, 12, frn_alarm_get(a, FRN_TEXT_METHOD), -1, SQLITE_STATIC);
    (void)sqlite3_bind_int64(stmt, 13, (int64_t)a->hash);
    (void)sqlite3_bind_int64(stmt, 16, a->anchor_ms);
    return rc;
}

static int frn_sqlite_record_set(frn_sqlite *s, frn_part *part, frn_record *r)
{
    int           rc = SQLITE_OK, changed = 0;
    sqlite3_stmt *stmt = frn_sqlite_stmt(s, &s->conn[0], FRN_STMT_ALARM_SET, &rc);

    if (stmt == NULL)
        return rc;
    rc = frn_sqlite_bind_row(stmt, r);
    if (rc == SQLITE_OK)
        rc = frn_sqlite_change(s, part, stmt, &changed);
    r->kept = changed == 0;
    return rc;
}

/* The row that has the key of a job already, or the answer that has its request id. */
static int frn_sqlite_find_job(frn_sqlite *s, const frn_part *part, frn_record *r)
{
    const char   *name = frn_alarm_get(&r->a, FRN_TEXT_NAME), *id;
    int           rc = SQLITE_OK, i;
    sqlite3_stmt *stmt;
    bool          found = false;

    for (i = 0; i < 2 && rc == SQLITE_OK && !found; i++) {
        stmt = frn_sqlite_keyed(s, &s->conn[0], i == 0 ? FRN_STMT_JOB_FIND : FRN_STMT_REQUEST_FIND,
                                frn_alarm_get(&r->a, FRN_TEXT_TYPE),
                                frn_alarm_get(&r->a, FRN_TEXT_ACTOR), &rc);
        if (stmt == NULL)
            return rc;
        (void)sqlite3_bind_text(stmt, 3, i == 0 ? name : name + 1, -1, SQLITE_STATIC);
        if (i == 1)
            (void)sqlite3_bind_int64(stmt, 4, part->now_ms);
        rc = sqlite3_step(stmt);
        found = rc == SQLITE_ROW;
        id = found ? (const char *)sqlite3_column_text(stmt, 1) : "";
        if (found && (uint64_t)sqlite3_column_int64(stmt, 0) != r->a.hash)
            r->result = FRANCIS_ERR_EXISTS;
        (void)snprintf(r->kept_id, sizeof r->kept_id, "%s", id != NULL ? id : "");
        (void)sqlite3_reset(stmt);
        rc = rc == SQLITE_ROW || rc == SQLITE_DONE ? SQLITE_OK : rc;
    }
    return rc;
}

static int frn_sqlite_record_dispatch(frn_sqlite *s, frn_part *part, frn_record *r)
{
    const char   *name = frn_alarm_get(&r->a, FRN_TEXT_NAME);
    int           rc = SQLITE_OK, changed = 0;
    sqlite3_stmt *stmt = frn_sqlite_stmt(s, &s->conn[0], FRN_STMT_JOB_DISPATCH, &rc);

    if (stmt == NULL)
        return rc;
    rc = frn_sqlite_bind_row(stmt, r);
    if (rc == SQLITE_OK && frn_job_is_keyed(name))
        rc = sqlite3_bind_text(stmt, 14, name + 1, -1, SQLITE_STATIC);
    (void)sqlite3_bind_int64(stmt, 15, part->now_ms);
    if (rc == SQLITE_OK)
        rc = frn_sqlite_change(s, part, stmt, &changed);
    r->kept = changed == 0;
    return rc == SQLITE_OK && r->kept ? frn_sqlite_find_job(s, part, r) : rc;
}

static int frn_sqlite_record_delete(frn_sqlite *s, frn_part *part, frn_record *r)
{
    int           rc = SQLITE_OK, changed = 0;
    sqlite3_stmt *stmt = frn_sqlite_keyed(s, &s->conn[0], FRN_STMT_ALARM_DELETE,
                                          frn_alarm_get(&r->a, FRN_TEXT_TYPE),
                                          frn_alarm_get(&r->a, FRN_TEXT_ACTOR), &rc);

    if (stmt == NULL)
        return rc;
    rc = sqlite3_bind_text(stmt, 3, frn_alarm_get(&r->a, FRN_TEXT_NAME), -1, SQLITE_STATIC);
    if (rc == SQLITE_OK)
        rc = frn_sqlite_change(s, part, stmt, &changed);
    if (changed == 0)
        r->result = FRANCIS_ERR_NOT_FOUND;
    return rc;
}

/* A statement about one id and one time; where the time does not matter it is not used. */
static sqlite3_stmt *frn_sqlite_of_alarm(frn_sqlite *s, frn_stmt which, const frn_alarm *a, int *rc)
{
    sqlite3_stmt *stmt = frn_sqlite_of_host(s, &s->conn[0], which, a->id, rc);
    if (stmt != NULL)
        (void)sqlite3_bind_int64(stmt, 2, a->due_ms);
    return stmt;
}

/* Takes the row away, and keeps whose it was. */
static int frn_sqlite_record_cancel(frn_sqlite *s, frn_part *part, frn_record *r)
{
    int           rc = SQLITE_OK, changed = 0;
    const char   *texts[FRN_TEXTS] = { NULL, NULL, NULL, "", "" };
    sqlite3_stmt *stmt = frn_sqlite_of_host(s, &s->conn[0], FRN_STMT_JOB_CANCEL, r->a.id, &rc);
    bool          found;

    if (stmt == NULL)
        return rc;
    rc = sqlite3_step(stmt);
    found = rc == SQLITE_ROW;
    if (found) {
        texts[0] = (const char *)sqlite3_column_text(stmt, 0);
        texts[1] = (const char *)sqlite3_column_text(stmt, 1);
        texts[2] = (const char *)sqlite3_column_text(stmt, 2);
        frn_alarm_clear(s->base.mem, &r->gone);
        part->rows++;
        if (texts[0] == NULL || texts[1] == NULL || texts[2] == NULL
            || !frn_alarm_set_texts(s->base.mem, &r->gone, texts))
            rc = SQLITE_NOMEM;
        else
            rc = sqlite3_step(stmt);        /* one row: that is all */
    }
    (void)sqlite3_reset(stmt);
    if (rc != SQLITE_DONE && rc != SQLITE_OK)
        return rc;
    if (found)
        return SQLITE_OK;
    stmt = frn_sqlite_of_host(s, &s->conn[0], FRN_STMT_DEAD_FORGET, r->a.id, &rc);
    if (stmt == NULL)
        return rc;
    rc = frn_sqlite_change(s, part, stmt, &changed);
    if (changed == 0)
        r->result = FRANCIS_ERR_NOT_FOUND;
    return rc;
}

/* As it was; if a later occurrence of the same job lives, without its schedule and its key. */
static int frn_sqlite_record_retry(frn_sqlite *s, frn_part *part, frn_record *r)
{
    static const frn_stmt both[] = { FRN_STMT_DEAD_RETRY, FRN_STMT_DEAD_RETRY_ONCE };
    int           rc = SQLITE_OK, changed = 0, i;
    sqlite3_stmt *stmt;

    for (i = 0; i < 2 && rc == SQLITE_OK && changed == 0; i++) {
        stmt = frn_sqlite_of_host(s, &s->conn[0], both[i], r->a.id, &rc);
        if (stmt == NULL)
            return rc;
        (void)sqlite3_bind_text(stmt, 2, r->next_id, -1, SQLITE_STATIC);
        (void)sqlite3_bind_int64(stmt, 3, part->now_ms);
        rc = frn_sqlite_change(s, part, stmt, &changed);
    }
    if (rc != SQLITE_OK || changed == 0) {
        r->result = FRANCIS_ERR_NOT_FOUND;
        return rc;
    }
    stmt = frn_sqlite_of_host(s, &s->conn[0], FRN_STMT_DEAD_FORGET, r->a.id, &rc);
    return stmt == NULL ? rc : frn_sqlite_change(s, part, stmt, &changed);
}

/* The occurrence is over. */
static int frn_sqlite_record_over(frn_sqlite *s, frn_part *part, frn_record *r)
{
    frn_stmt      which = r->a.kind == FRN_KIND_HOOK ? FRN_STMT_HOOK_CONSUME
                        : r->op == FRN_RECORD_CONSUME ? FRN_STMT_ALARM_CONSUME
                        : r->same_look ? FRN_STMT_ALARM_REARM : FRN_STMT_ALARM_REARM_LOOK;
    int           rc = SQLITE_OK, changed = 0;
    sqlite3_stmt *stmt = frn_sqlite_of_alarm(s, which, &r->a, &rc);

    if (stmt == NULL)
        return rc;
    if (r->op == FRN_RECORD_REARM)
        (void)sqlite3_bind_int64(stmt, 3, r->next_ms);
    if (r->op == FRN_RECORD_REARM && !r->same_look)
        (void)sqlite3_bind_int64(stmt, 4, r->look_ms);
    rc = frn_sqlite_change(s, part, stmt, &changed);
    if (changed == 0)
        r->result = FRANCIS_ERR_NOT_FOUND;
    return rc;
}

static int frn_sqlite_record_attempt(frn_sqlite *s, frn_part *part, frn_record *r)
{
    int           rc = SQLITE_OK, changed = 0;
    bool          hook = r->a.kind == FRN_KIND_HOOK;
    sqlite3_stmt *stmt = frn_sqlite_of_alarm(s, hook ? FRN_STMT_HOOK_ATTEMPT
                                                     : FRN_STMT_ALARM_ATTEMPT, &r->a, &rc);

    if (stmt == NULL)
        return rc;
    (void)sqlite3_bind_int64(stmt, 3, r->a.wake_ms);
    (void)sqlite3_bind_int64(stmt, 4, (int64_t)r->a.attempts);
    if (!hook) {
        (void)sqlite3_bind_int64(stmt, 5, (int64_t)r->a.crashes);
        (void)sqlite3_bind_int(stmt, 6, r->a.started ? 1 : 0);
        rc = frn_sqlite_bind_error(stmt, 7, r->a.error);
    }
    if (rc == SQLITE_OK)
        rc = frn_sqlite_change(s, part, stmt, &changed);
    if (changed == 0)
        r->result = FRANCIS_ERR_NOT_FOUND;
    return rc;
}

static int frn_sqlite_record_bury(frn_sqlite *s, frn_part *part, frn_record *r)
{
    int           rc = SQLITE_OK, changed = 0;
    sqlite3_stmt *stmt = frn_sqlite_of_alarm(s, FRN_STMT_JOB_BURY, &r->a, &rc);

    if (stmt == NULL)
        return rc;
    (void)sqlite3_bind_int64(stmt, 3, (int64_t)r->a.attempts + (int64_t)r->a.crashes);
    rc = frn_sqlite_bind_error(stmt, 4, r->a.error);
    (void)sqlite3_bind_int64(stmt, 5, part->now_ms);
    (void)sqlite3_bind_int(stmt, 6, r->a.result);
    if (r->hook)
        (void)sqlite3_bind_int64(stmt, 7, part->now_ms);
    if (rc == SQLITE_OK)
        rc = frn_sqlite_change(s, part, stmt, &changed);
    if (rc != SQLITE_OK || changed == 0) {
        r->result = FRANCIS_ERR_NOT_FOUND;
        return rc;
    }
    stmt = frn_sqlite_of_alarm(s, r->next_ms != 0 ? FRN_STMT_JOB_RENEW : FRN_STMT_ALARM_CONSUME,
                               &r->a, &rc);
    if (stmt == NULL)
        return rc;
    if (r->next_ms != 0) {
        (void)sqlite3_bind_int64(stmt, 3, r->next_ms);
        (void)sqlite3_bind_int64(stmt, 4, r->look_ms);
        (void)sqlite3_bind_text(stmt, 5, r->next_id, -1, SQLITE_STATIC);
    }
    return frn_sqlite_change(s, part, stmt, &changed);
}

static int frn_sqlite_write_record(frn_sqlite *s, frn_part *part, frn_record *r)
{
    r->result = FRANCIS_OK;
    switch (r->op) {
    case FRN_RECORD_SET:      return frn_sqlite_record_set(s, part, r);
    case FRN_RECORD_DELETE:   return frn_sqlite_record_delete(s, part, r);
    case FRN_RECORD_DISPATCH: return frn_sqlite_record_dispatch(s, part, r);
    case FRN_RECORD_CANCEL:   return frn_sqlite_record_cancel(s, part, r);
    case FRN_RECORD_RETRY:    return frn_sqlite_record_retry(s, part, r);
    case FRN_RECORD_CONSUME:
    case FRN_RECORD_REARM:    return frn_sqlite_record_over(s, part, r);
    case FRN_RECORD_ATTEMPT:  return frn_sqlite_record_attempt(s, part, r);
    case FRN_RECORD_BURY:     return frn_sqlite_record_bury(s, part, r);
    }
    return SQLITE_MISUSE;
}

/* Those that a write stands on (must), or all others. */
static int frn_sqlite_write_records(frn_sqlite *s, frn_part *part, frn_write *w, bool must)
{
    frn_list *l;
    int       rc = SQLITE_OK;

    for (l = w->records.next; rc == SQLITE_OK && l != &w->records; l = l->next) {
        frn_record *r = FRN_OF(frn_record, link, l);
        if (r->must == must)
            rc = frn_sqlite_write_record(s, part, r);
        if (r->must == must && must && r->result != FRANCIS_OK)
            w->result = FRANCIS_ERR_NOT_FOUND;
    }
    return rc;
}

/* The host that had this actor has ended: what was due then may have ended it. */
static int frn_sqlite_suspect_alarms(frn_sqlite *s, const frn_part *part, frn_write *w)
{
    int           rc = SQLITE_OK;
    sqlite3_stmt *stmt = frn_sqlite_keyed(s, &s->conn[0], FRN_STMT_SUSPECTS, w->type, w->id, &rc);

    if (stmt == NULL)
        return rc;
    (void)sqlite3_bind_int64(stmt, 3, part->now_ms);
    rc = frn_sqlite_once(stmt);
    w->suspects = rc == SQLITE_OK && sqlite3_changes(s->conn[0].db) > 0;
    return rc;
}

/* Whether another host has the actor, or had it: its row is there. */
static int frn_sqlite_placed_elsewhere(frn_sqlite *s, const char *host_id, const frn_write *w,
                                       bool *yes)
{
    int           rc = SQLITE_OK;
    sqlite3_stmt *stmt = frn_sqlite_keyed(s, &s->conn[0], FRN_STMT_PLACED, w->type, w->id, &rc);

    *yes = false;
    if (stmt == NULL)
        return rc;
    (void)sqlite3_bind_text(stmt, 3, host_id, -1, SQLITE_STATIC);
    rc = sqlite3_step(stmt);
    *yes = rc == SQLITE_ROW;
    (void)sqlite3_reset(stmt);
    return rc == SQLITE_ROW || rc == SQLITE_DONE ? SQLITE_OK : rc;
}

// >> 420 store.sqlite.write | needs: 410 416 418
//    One function per kind of write, inside the transaction of a part. What refuses one write (its
//    actor is placed elsewhere) sets write->result; what fails the transaction is returned.

/* Whether no placement row names this host: somebody else has the actor, or had it meanwhile. */
static int frn_sqlite_is_foreign(frn_sqlite *s, const frn_write *w, const char *host_id, bool *yes)
{
    int           rc = SQLITE_OK;
    sqlite3_stmt *stmt = frn_sqlite_keyed(s, &s->conn[0], FRN_STMT_FOREIGN, w->type, w->id, &rc);

    *yes = false;
    if (stmt == NULL)
        return rc;
    (void)sqlite3_bind_text(stmt, 3, host_id, -1, SQLITE_STATIC);
    rc = sqlite3_step(stmt);
    *yes = rc == SQLITE_ROW;
    (void)sqlite3_reset(stmt);
    return rc == SQLITE_ROW || rc == SQLITE_DONE ? SQLITE_OK : rc;
}

static int frn_sqlite_load_requests(frn_sqlite *s, frn_write *w, int64_t now_ms)
{
    int           rc = SQLITE_OK;
    sqlite3_stmt *stmt = frn_sqlite_keyed(s, &s->conn[0], FRN_STMT_REQUESTS_LOAD, w->type, w->id,
                                          &rc);
    if (stmt == NULL)
        return rc;
    (void)sqlite3_bind_int64(stmt, 3, now_ms);
    while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        const char  *id = (const char *)sqlite3_column_text(stmt, 0);
        frn_request *r = id == NULL ? NULL : frn_request_new(s->base.mem, id, strlen(id));
        if (r == NULL) {
            rc = SQLITE_NOMEM;
            break;
        }
        r->next = w->found_requests;
        w->found_requests = r;
        r->hash = (uint64_t)sqlite3_column_int64(stmt, 1);
        r->expires_ms = sqlite3_column_int64(stmt, 3);
        rc = frn_sqlite_column_buf(s, stmt, 2, &r->reply);
        if (rc != SQLITE_OK)
            break;
    }
    (void)sqlite3_reset(stmt);
    return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

static int frn_sqlite_load_state(frn_sqlite *s, frn_write *w, int64_t now_ms)
{
    int           rc = SQLITE_OK;
    sqlite3_stmt *stmt = frn_sqlite_keyed(s, &s->conn[0], FRN_STMT_ACTOR_LOAD, w->type, w->id, &rc);

    if (stmt == NULL)
        return rc;
    (void)sqlite3_bind_int64(stmt, 3, now_ms);
    rc = sqlite3_step(stmt);
    if (rc == SQLITE_ROW) {
        rc = frn_sqlite_column_buf(s, stmt, 0, &w->state);
        w->expires_ms = sqlite3_column_int64(stmt, 1);
        w->version = (uint32_t)sqlite3_column_int64(stmt, 2);
        w->found = rc == SQLITE_OK;
    }
    (void)sqlite3_reset(stmt);
    return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

static frn_buf *frn_sqlite_owner_buf(frn_sqlite *s, const frn_incumbent *h)
{
    size_t   id_size = strlen(h->id) + 1, address_size = strlen(h->address) + 1;
    frn_buf *b = frn_buf_new(s->base.mem, id_size + address_size);

    if (b != NULL) {
        memcpy(FRN_BYTES(b), h->id, id_size);
        memcpy((char *)FRN_BYTES(b) + id_size, h->address, address_size);
    }
    return b;
}

/* Somebody else has the actor, perhaps. One that is dead is evicted, one that lives is a reason to
 * refuse the write. */
static int frn_sqlite_meet_owner(frn_sqlite *s, frn_part *part, frn_write *w)
{
    frn_incumbent h;
    bool          found = false;
    int           rc = SQLITE_OK;
    sqlite3_stmt *stmt = frn_sqlite_keyed(s, &s->conn[0], FRN_STMT_OWNER, w->type, w->id, &rc);

    if (stmt != NULL)
        rc = frn_sqlite_one_host(stmt, &h, &found);
    if (rc != SQLITE_OK || !found)
        return rc;
    if (strcmp(h.id, part->host_id) != 0 && !frn_sqlite_host_lives(s, &h, part->now_ms)) {
        part->evicted++;
        return frn_sqlite_evict(s, &h, part->now_ms, frn_ended);
    }
    w->result = FRANCIS_ERR_MOVED;
    w->owner = frn_sqlite_owner_buf(s, &h);
    return w->owner != NULL ? SQLITE_OK : SQLITE_NOMEM;
}

static int frn_sqlite_write_claim(frn_sqlite *s, frn_part *part, frn_write *w)
{
    bool          elsewhere = false;
    int           rc = s->strangers ? frn_sqlite_placed_elsewhere(s, part->host_id, w, &elsewhere)
                                    : SQLITE_OK;
    sqlite3_stmt *stmt = NULL;

    if (rc == SQLITE_OK)
        stmt = frn_sqlite_keyed(s, &s->conn[0], FRN_STMT_CLAIM, w->type, w->id, &rc);
    if (stmt == NULL)
        return rc;
    (void)sqlite3_bind_text(stmt, 3, part->host_id, -1, SQLITE_STATIC);
    (void)sqlite3_bind_int64(stmt, 4, w->idle_timeout_ms);
    (void)sqlite3_bind_int64(stmt, 5, part->now_ms);
    rc = frn_sqlite_once(stmt);
    if (rc == SQLITE_OK && sqlite3_changes(s->conn[0].db) == 0) {
        rc = frn_sqlite_meet_owner(s, part, w);
        if (rc == SQLITE_OK && w->result == FRANCIS_OK)
            rc = frn_sqlite_once(stmt);     /* he was dead */
    }
    if (rc != SQLITE_OK || w->result != FRANCIS_OK)
        return rc;
    part->rows++;
    if (elsewhere)
        rc = frn_sqlite_suspect_alarms(s, part, w);
    if (rc == SQLITE_OK)
        rc = frn_sqlite_load_state(s, w, part->now_ms);
    return rc == SQLITE_OK ? frn_sqlite_load_requests(s, w, part->now_ms) : rc;
}

static int frn_sqlite_write_release(frn_sqlite *s, frn_part *part, frn_write *w)
{
    int           rc = SQLITE_OK;
    sqlite3_stmt *stmt = frn_sqlite_keyed(s, &s->conn[0], FRN_STMT_RELEASE, w->type, w->id, &rc);

    if (stmt == NULL)
        return rc;
    (void)sqlite3_bind_text(stmt, 3, part->host_id, -1, SQLITE_STATIC);
    part->rows++;
    return frn_sqlite_once(stmt);
}

static int frn_sqlite_delete(frn_sqlite *s, frn_part *part, frn_stmt which, const frn_write *w)
{
    int           rc = SQLITE_OK;
    sqlite3_stmt *stmt = frn_sqlite_keyed(s, &s->conn[0], which, w->type, w->id, &rc);

    if (stmt == NULL)
        return rc;
    part->rows++;
    return frn_sqlite_once(stmt);
}

static int frn_sqlite_purge(frn_sqlite *s, frn_part *part, const frn_write *w)
{
    static const frn_stmt all[] = { FRN_STMT_STATE_DELETE, FRN_STMT_VERSION_DELETE,
                                    FRN_STMT_ALARMS_DELETE, FRN_STMT_DEAD_DELETE };
    size_t i;
    int    rc = SQLITE_OK;

    for (i = 0; rc == SQLITE_OK && i < FRN_COUNT(all); i++)
        rc = frn_sqlite_delete(s, part, all[i], w);
    return rc;
}

static int frn_sqlite_put_state(frn_sqlite *s, frn_part *part, frn_write *w)
{
    int           rc = SQLITE_OK;
    sqlite3_stmt *stmt = frn_sqlite_keyed(s, &s->conn[0], FRN_STMT_STATE_PUT, w->type, w->id, &rc);

    if (stmt == NULL)
        return rc;
    rc = frn_sqlite_bind_buf(stmt, 3, w->state);
    if (rc == SQLITE_OK)
        rc = w->expires_ms != 0 ? sqlite3_bind_int64(stmt, 4, w->expires_ms)
                                : sqlite3_bind_null(stmt, 4);
    if (rc == SQLITE_OK)
        rc = frn_sqlite_once(stmt);
    (void)sqlite3_bind_null(stmt, 3);       /* the image may be gone when it is bound again */
    part->rows++;
    return rc;
}

static int frn_sqlite_put_version(frn_sqlite *s, frn_part *part, const frn_write *w)
{
    int           rc = SQLITE_OK;
    sqlite3_stmt *stmt;

    if (w->state == NULL || w->version == 0)
        return frn_sqlite_delete(s, part, FRN_STMT_VERSION_DELETE, w);
    stmt = frn_sqlite_keyed(s, &s->conn[0], FRN_STMT_VERSION_PUT, w->type, w->id, &rc);
    if (stmt == NULL)
        return rc;
    (void)sqlite3_bind_int64(stmt, 3, (int64_t)w->version);
    part->rows++;
    return frn_sqlite_once(stmt);
}

static int frn_sqlite_put_requests(frn_sqlite *s, frn_part *part, const frn_write *w)
{
    uint32_t i;
    int      rc = SQLITE_OK;

    for (i = 0; rc == SQLITE_OK && i < w->requests_count; i++) {
        const frn_request *r = w->requests[i];
        sqlite3_stmt *stmt = frn_sqlite_keyed(s, &s->conn[0], FRN_STMT_REQUEST_PUT, w->type, w->id,
                                              &rc);
        if (stmt == NULL)
            return rc;
        rc = sqlite3_bind_text(stmt, 3, FRN_REQUEST_ID(r), -1, SQLITE_STATIC);
        (void)sqlite3_bind_int64(stmt, 4, (int64_t)r->hash);
        if (rc == SQLITE_OK)
            rc = frn_sqlite_bind_buf(stmt, 5, r->reply);
        (void)sqlite3_bind_int64(stmt, 6, r->expires_ms);
        if (rc == SQLITE_OK)
            rc = frn_sqlite_once(stmt);
        (void)sqlite3_clear_bindings(stmt);
        part->rows++;
    }
    return rc;
}

/* Nobody has the actor, and what is to be deleted is there. */
static int frn_sqlite_admit_admin(frn_sqlite *s, frn_part *part, frn_write *w)
{
    int           rc = frn_sqlite_meet_owner(s, part, w);
    sqlite3_stmt *stmt;

    if (rc != SQLITE_OK || w->result != FRANCIS_OK || w->state != NULL || !w->set_state)
        return rc;
    stmt = frn_sqlite_keyed(s, &s->conn[0], FRN_STMT_STATE_READ, w->type, w->id, &rc);
    if (stmt == NULL)
        return rc;
    (void)sqlite3_bind_int64(stmt, 3, part->now_ms);
    rc = sqlite3_step(stmt);
    if (rc == SQLITE_DONE)
        w->result = FRANCIS_ERR_NOT_FOUND;
    (void)sqlite3_reset(stmt);
    return rc == SQLITE_ROW || rc == SQLITE_DONE ? SQLITE_OK : rc;
}

/* Ownership is proved first: the placement row is that of the claim. */
static int frn_sqlite_write_turn(frn_sqlite *s, frn_part *part, frn_write *w)
{
    bool refused = false;
    int  rc = SQLITE_OK;

    if (w->op == FRN_WRITE_ADMIN)
        rc = frn_sqlite_admit_admin(s, part, w);
    else if (s->strangers)
        rc = frn_sqlite_is_foreign(s, w, part->host_id, &refused);
    if (refused)
        w->result = FRANCIS_ERR_EVICTED;    /* its handler has run: that is not MOVED */
    if (rc == SQLITE_OK && w->result == FRANCIS_OK)
        rc = frn_sqlite_write_records(s, part, w, true);
    if (rc == SQLITE_OK && w->result == FRANCIS_OK && w->purge)
        rc = frn_sqlite_purge(s, part, w);
    if (rc == SQLITE_OK && w->result == FRANCIS_OK && w->set_state)
        rc = w->state != NULL ? frn_sqlite_put_state(s, part, w)
                              : frn_sqlite_delete(s, part, FRN_STMT_STATE_DELETE, w);
    if (rc == SQLITE_OK && w->result == FRANCIS_OK && w->set_version)
        rc = frn_sqlite_put_version(s, part, w);
    if (rc == SQLITE_OK && w->result == FRANCIS_OK)
        rc = frn_sqlite_put_requests(s, part, w);
    if (rc == SQLITE_OK && w->result == FRANCIS_OK)
        rc = frn_sqlite_write_records(s, part, w, false);
    return rc;
}

static int frn_sqlite_sweep_some(frn_sqlite *s, frn_stmt which, frn_write *w)
{
    int           rc = SQLITE_OK;
    sqlite3_stmt *stmt = frn_sqlite_stmt(s, &s->conn[0], which, &rc);

    if (stmt == NULL)
        return rc;
    (void)sqlite3_bind_int64(stmt, 1, w->before_ms);
    (void)sqlite3_bind_int64(stmt, 2, FRN_SWEEP_ROWS);
    rc = frn_sqlite_once(stmt);
    if (rc == SQLITE_OK && sqlite3_changes(s->conn[0].db) >= FRN_SWEEP_ROWS)
        w->more = true;
    return rc;
}

static int frn_sqlite_write_sweep(frn_sqlite *s, frn_part *part, frn_write *w)
{
    int           rc = SQLITE_OK;
    frn_stmt      which;
    sqlite3_stmt *stmt = frn_sqlite_stmt(s, &s->conn[0], FRN_STMT_SWEEP_DUE, &rc);
    char          now[24];

    if (stmt == NULL)
        return rc;
    (void)snprintf(now, sizeof now, "%lld", (long long)part->now_ms);
    (void)sqlite3_bind_text(stmt, 1, now, -1, SQLITE_TRANSIENT);
    (void)sqlite3_bind_int64(stmt, 2, w->interval_ms - w->interval_ms / 20);
    if (w->interval_ms > 0)
        rc = frn_sqlite_once(stmt);
    if (rc != SQLITE_OK || (w->interval_ms > 0 && sqlite3_changes(s->conn[0].db) == 0))
        return rc;                  /* another host did it */
    s->looked = false;
    for (which = FRN_STMT_SWEEP_VERSIONS; rc == SQLITE_OK && which <= FRN_STMT_SWEEP_REQUESTS;
         which = (frn_stmt)(which + 1))
        rc = frn_sqlite_sweep_some(s, which, w);
    return rc == SQLITE_OK ? frn_sqlite_sweep_evicted(s, &w->more, &w->suspects) : rc;
}

/* Challenges another host, or evicts it if it has ended or has not answered. EXISTS: it stands;
 * NOT_FOUND: it does not, already. */
static int frn_sqlite_write_suspicion(frn_sqlite *s, frn_part *part, frn_write *w)
{
    frn_incumbent h;
    bool          found = false, dead;
    int           rc = SQLITE_OK;
    sqlite3_stmt *stmt = frn_sqlite_of_host(s, &s->conn[0], FRN_STMT_HOST, w->id, &rc);

    if (stmt != NULL)
        rc = frn_sqlite_one_host(stmt, &h, &found);
    if (rc != SQLITE_OK || !found) {
        w->result = found ? FRANCIS_OK : FRANCIS_ERR_NOT_FOUND;
        return rc;
    }
    dead = !frn_sqlite_host_lives(s, &h, part->now_ms);
    if (dead || (w->op == FRN_WRITE_EVICT && h.ours && h.challenge == w->challenge
                 && h.answer != h.challenge)) {
        part->evicted++;
        w->result = w->op == FRN_WRITE_EVICT ? FRANCIS_OK : FRANCIS_ERR_NOT_FOUND;
        return frn_sqlite_evict(s, &h, part->now_ms, dead ? frn_ended : "does not answer");
    }
    w->result = w->op == FRN_WRITE_EVICT ? FRANCIS_ERR_EXISTS : FRANCIS_OK;
    w->challenge = h.challenge + (h.challenge == h.answer);
    w->lease_ms = h.lease_ms;
    if (w->op == FRN_WRITE_EVICT || !h.ours)
        return SQLITE_OK;
    stmt = frn_sqlite_of_host(s, &s->conn[0], FRN_STMT_CHALLENGE, w->id, &rc);
    part->rows++;
    return stmt == NULL ? rc : frn_sqlite_once(stmt);
}

static int frn_sqlite_write_one(frn_sqlite *s, frn_part *part, frn_write *w)
{
    switch (w->op) {
    case FRN_WRITE_CLAIM:     return frn_sqlite_write_claim(s, part, w);
    case FRN_WRITE_RELEASE:   return frn_sqlite_write_release(s, part, w);
    case FRN_WRITE_TURN:
    case FRN_WRITE_ADMIN:     return frn_sqlite_write_turn(s, part, w);
    case FRN_WRITE_RECORDS:   return frn_sqlite_write_records(s, part, w, false);
    case FRN_WRITE_SWEEP:     return frn_sqlite_write_sweep(s, part, w);
    case FRN_WRITE_CHALLENGE:
    case FRN_WRITE_EVICT:     return frn_sqlite_write_suspicion(s, part, w);
    }
    return SQLITE_MISUSE;
}

// >> 430 store.sqlite.commit | needs: 420
//    A part is one transaction that begins with the proof that its host stands. A COMMIT that fails
//    may still be in the log, to be adopted by the next recovery. So its place is taken: a small
//    transaction of our own, on the same connection, overwrites its frames. Only when that has
//    succeeded is the batch known not to have happened. Then the file is opened anew.

static francis_result frn_sqlite_part_fail(frn_sqlite *s, frn_part *part, frn_outcome outcome,
                                           int rc, const char *doing)
{
    part->outcome = outcome;
    part->result = frn_sqlite_fail(s, s->conn[0].db, rc, doing);
    (void)snprintf(part->error, sizeof part->error, "%s", s->error);
    return part->result;
}

static int frn_sqlite_set_sync(frn_sqlite *s, bool sync)
{
    int want = sync && s->desc->durability == FRANCIS_SURVIVES_POWER_CUT;
    int rc = SQLITE_OK;

    if (want == s->synced)
        return SQLITE_OK;
    if (s->desc->durability == FRANCIS_SURVIVES_NOTHING)
        rc = frn_sqlite_exec(s, s->conn[0].db, "PRAGMA synchronous = OFF");
    else
        rc = frn_sqlite_exec(s, s->conn[0].db, want ? "PRAGMA synchronous = FULL"
                                                    : "PRAGMA synchronous = NORMAL");
    if (rc == SQLITE_OK)
        s->synced = want;
    return rc;
}

/* Not that of SQLITE_FCNTL_DATA_VERSION, which our own commits change, too. */
static int frn_sqlite_read_version(frn_sqlite *s, unsigned *version)
{
    int           rc = SQLITE_OK;
    sqlite3_stmt *stmt = frn_sqlite_stmt(s, &s->conn[0], FRN_STMT_VERSION, &rc);

    if (stmt == NULL)
        return rc;
    rc = sqlite3_step(stmt);
    *version = (unsigned)sqlite3_column_int(stmt, 0);
    (void)sqlite3_reset(stmt);
    return rc == SQLITE_ROW ? SQLITE_OK : rc;
}

/* Whether placement rows may be others than those of our claims. While no other connection has
 * changed the file, they are as we left them, so that a lone host need not look for each turn. Once
 * one has, a row of ours may be gone as well, and each turn looks for its own. */
static int frn_sqlite_look_for_strangers(frn_sqlite *s, const char *host_id)
{
    sqlite3_stmt *stmt;
    unsigned      version = 0;
    int           rc = frn_sqlite_read_version(s, &version);

    if (rc != SQLITE_OK || (s->looked && version == s->version && s->handle == NULL))
        return rc;
    stmt = frn_sqlite_of_host(s, &s->conn[0], FRN_STMT_STRANGERS, host_id, &rc);
    if (stmt == NULL)
        return rc;
    rc = sqlite3_step(stmt);
    s->strangers = s->looked || rc != SQLITE_ROW || sqlite3_column_int(stmt, 0) != 0;
    s->version = version;
    s->looked = rc == SQLITE_ROW;
    (void)sqlite3_reset(stmt);
    return rc == SQLITE_ROW ? SQLITE_OK : rc;
}

static int frn_sqlite_begin(frn_sqlite *s, bool sync)
{
    int rc = frn_sqlite_set_sync(s, sync);
    return rc == SQLITE_OK ? frn_sqlite_run(s, &s->conn[0], FRN_STMT_BEGIN) : rc;
}

/* Whether the host stands. If it is challenged, that it writes this is the answer. */
static int frn_sqlite_fence(frn_sqlite *s, const char *host_id, bool *stands)
{
    int           rc = SQLITE_OK;
    bool          challenged;
    sqlite3_stmt *stmt = frn_sqlite_of_host(s, &s->conn[0], FRN_STMT_FENCE, host_id, &rc);

    if (stmt == NULL)
        return rc;
    rc = sqlite3_step(stmt);
    *stands = rc == SQLITE_ROW && sqlite3_column_int(stmt, 0) == 0;
    challenged = *stands && sqlite3_column_int(stmt, 1) != 0;
    (void)sqlite3_reset(stmt);
    if (rc != SQLITE_ROW && rc != SQLITE_DONE)
        return rc;
    rc = SQLITE_OK;
    if (challenged
        && (stmt = frn_sqlite_of_host(s, &s->conn[0], FRN_STMT_ANSWER, host_id, &rc)) != NULL) {
        rc = frn_sqlite_once(stmt);
        frn_log(s->base.log, FRN_LOG_challenge_answered, FRANCIS_OK, NULL, NULL,
                "host %s was challenged, and stands", host_id);
    }
    return rc;
}

/* Inside a transaction: proves the host's standing. false = part has the answer. */
static bool frn_sqlite_part_begin(frn_sqlite *s, frn_part *part)
{
    bool stands = false;
    int  rc = s->begun ? SQLITE_OK : frn_sqlite_begin(s, part->sync);

    s->begun = false;

    if (rc != SQLITE_OK) {
        (void)frn_sqlite_part_fail(s, part, FRN_NOT_DONE, rc, "cannot begin a transaction");
        return false;
    }
    rc = frn_sqlite_fence(s, part->host_id, &stands);
    if (rc != SQLITE_OK) {
        (void)frn_sqlite_part_fail(s, part, FRN_NOT_DONE, rc, "cannot read the host's row");
        return false;
    }
    if (!stands) {
        part->outcome = FRN_NOT_DONE;
        part->result = FRANCIS_ERR_EVICTED;
        (void)snprintf(part->error, sizeof part->error, "this host has been evicted");
        return false;
    }
    rc = frn_sqlite_look_for_strangers(s, part->host_id);
    if (rc != SQLITE_OK)
        (void)frn_sqlite_part_fail(s, part, FRN_NOT_DONE, rc, "cannot read the placements");
    return rc == SQLITE_OK;
}

static void frn_sqlite_rollback(frn_sqlite *s)
{
    if (s->conn[0].db != NULL && !sqlite3_get_autocommit(s->conn[0].db)
        && frn_sqlite_run(s, &s->conn[0], FRN_STMT_ROLLBACK) != SQLITE_OK)
        (void)sqlite3_exec(s->conn[0].db, "ROLLBACK", NULL, NULL, NULL);
}

static bool frn_sqlite_settle_once(frn_sqlite *s, const char *host_id)
{
    int           rc = frn_sqlite_run(s, &s->conn[0], FRN_STMT_BEGIN);
    sqlite3_stmt *stmt = NULL;

    if (rc == SQLITE_OK)
        stmt = frn_sqlite_of_host(s, &s->conn[0], FRN_STMT_SETTLE, host_id, &rc);
    if (stmt != NULL)
        rc = frn_sqlite_once(stmt);
    if (rc == SQLITE_OK && sqlite3_changes(s->conn[0].db) != 1)
        rc = SQLITE_ERROR;          /* nothing written, nothing overwritten */
    if (rc == SQLITE_OK)
        rc = frn_sqlite_run(s, &s->conn[0], FRN_STMT_COMMIT);
    frn_sqlite_rollback(s);
    return rc == SQLITE_OK;
}

static bool frn_sqlite_settle(frn_sqlite *s, const char *host_id)
{
    if (frn_sqlite_settle_once(s, host_id))
        return true;
    /* A full disk may have no room for even that: empty the log, and try once more. */
    (void)sqlite3_wal_checkpoint_v2(s->conn[0].db, "main", SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
    return frn_sqlite_settle_once(s, host_id);
}

/* After a failed commit nothing that a connection remembers is to be trusted. */
static void frn_sqlite_reopen(frn_sqlite *s)
{
    francis_result r;

    if (s->handle != NULL || s->path[0] == '\0') {
        if (s->handle == NULL)
            return;
        FRN_STORE(&s->base.broken, 1);      /* the application's handle cannot be opened anew */
        (void)snprintf(s->error, sizeof s->error, "the application's database handle is of no"
                       " use after a failed commit");
        return;
    }
    (void)pthread_mutex_lock(&s->locks[1]);
    frn_sqlite_disconnect(s, &s->conn[1]);
    frn_sqlite_disconnect(s, &s->conn[0]);
    r = frn_sqlite_connect_all(s);
    if (r != FRANCIS_OK) {
        frn_sqlite_disconnect(s, &s->conn[1]);
        frn_sqlite_disconnect(s, &s->conn[0]);
    }
    (void)pthread_mutex_unlock(&s->locks[1]);
    frn_log(s->base.log, FRN_LOG_database_reopened, r, NULL, NULL, "%s",
            r == FRANCIS_OK ? "the database was opened anew" : s->error);
}

/* Whether the failure itself proves that nothing happened: a disk that is full stops the writing of
 * the log before the frame that would commit, unless SQLite pads behind that one. */
static bool frn_sqlite_never_happened(frn_sqlite *s, int rc)
{
    int safe = -1;

    if ((rc & 0xff) != SQLITE_FULL || s->path[0] == '\0')
        return false;
    rc = sqlite3_file_control(s->conn[0].db, "main", SQLITE_FCNTL_POWERSAFE_OVERWRITE, &safe);
    return rc == SQLITE_OK && safe == 1;
}

static void frn_sqlite_commit_failed(frn_sqlite *s, frn_part *part, int rc)
{
    bool settled;

    (void)frn_sqlite_part_fail(s, part, FRN_UNKNOWN, rc, "the commit failed");
    frn_sqlite_rollback(s);
    if (frn_sqlite_never_happened(s, rc)) {
        part->outcome = FRN_NOT_DONE;
        return;
    }
    settled = frn_sqlite_settle(s, part->host_id);
    if (settled)
        part->outcome = FRN_NOT_DONE;
    else
        part->result = FRANCIS_ERR_UNKNOWN;
    part->lost = true;
    frn_log(s->base.log, settled ? FRN_LOG_commit_settled : FRN_LOG_commit_unknown, part->result,
            NULL, NULL, "%s; %s", part->error,
            settled ? "an empty one took its place, so it has not happened"
                    : "whether it happened is not known");
    frn_sqlite_reopen(s);
}

/* A commit into a file that nobody will ever open again is worth nothing. */
static bool frn_sqlite_moved(frn_sqlite *s, sqlite3 *db)
{
    int moved = 0;
    if (s->path[0] == '\0'
        || sqlite3_file_control(db, "main", SQLITE_FCNTL_HAS_MOVED, &moved) != SQLITE_OK)
        moved = 0;
    FRN_STORE(&s->base.moved, moved);
    return moved != 0;
}

/* What forbids to write before anything is tried. */
static bool frn_sqlite_may_commit(frn_sqlite *s, frn_part *part)
{
    if (!s->begun && s->handle != NULL && frn_sqlite_check_handle(s, false) != FRANCIS_OK) {
        part->outcome = FRN_NOT_DONE;       /* a transaction of the application's is left alone */
        part->result = FRANCIS_ERR_LOCKED;
        (void)snprintf(part->error, sizeof part->error, "%s", s->error);
        return false;
    }
    if (!frn_sqlite_moved(s, s->conn[0].db))
        return true;
    (void)frn_sqlite_part_fail(s, part, FRN_NOT_DONE, SQLITE_IOERR, "the database file was deleted,"
                               " moved or replaced while it was in use");
    FRN_STORE(&s->base.broken, 1);
    if (s->begun)
        frn_sqlite_rollback(s);
    s->begun = false;
    return false;
}

/* A turn that stands on one of the same part that was refused: it is refused with it. */
static bool frn_sqlite_is_vain(const frn_part *part, frn_write *w)
{
    const frn_list *l;

    for (l = w->link.prev; w->op == FRN_WRITE_TURN && l != &part->writes; l = l->prev) {
        const frn_write *before = FRN_OF(const frn_write, link, l);
        if (before->actor == NULL && strcmp(before->id, w->id) == 0
            && strcmp(before->type, w->type) == 0)
            continue;               /* of somebody who does not have it */
        if (before->actor == w->actor && before->op == FRN_WRITE_TURN)
            w->result = before->result;
        break;
    }
    return w->result != FRANCIS_OK;
}

static void frn_sqlite_commit_part(frn_sqlite *s, frn_part *part)
{
    frn_list *l;
    int       rc = SQLITE_OK;

    if (!frn_sqlite_may_commit(s, part))
        return;
    if (!frn_sqlite_part_begin(s, part)) {
        frn_sqlite_rollback(s);
        return;
    }
    for (l = part->writes.next; rc == SQLITE_OK && l != &part->writes; l = l->next) {
        if (!frn_sqlite_is_vain(part, FRN_OF(frn_write, link, l)))
            rc = frn_sqlite_write_one(s, part, FRN_OF(frn_write, link, l));
    }
    if (rc != SQLITE_OK) {
        (void)frn_sqlite_part_fail(s, part, FRN_NOT_DONE, rc, "a write failed");
        frn_sqlite_rollback(s);
        return;
    }
    rc = frn_sqlite_run(s, &s->conn[0], FRN_STMT_COMMIT);
    if (rc == SQLITE_OK)
        part->outcome = FRN_DONE;
    else
        frn_sqlite_commit_failed(s, part, rc);
}

/* A connection to write with, opened anew if the last one had to go. */
static bool frn_sqlite_writable(frn_sqlite *s)
{
    bool broken = FRN_LOAD(&s->base.broken) != 0;
    if (s->conn[0].db == NULL && !broken)
        (void)frn_sqlite_connect_all(s);
    return s->conn[0].db != NULL && !broken;
}

/* true also when there is nothing to wait for because it cannot work: commit will say why. */
static bool frn_sqlite_ready(frn_store *store, bool sync, int64_t *retry_ns)
{
    frn_sqlite *s = (frn_sqlite *)store;
    bool        ready = true;

    (void)pthread_mutex_lock(&s->locks[0]);
    if (frn_sqlite_writable(s)
        && (s->handle == NULL || frn_sqlite_check_handle(s, false) == FRANCIS_OK)) {
        ready = frn_queue_step(s);
        *retry_ns = FRN_QUEUE_RETRY_NS;
        if (ready) {
            int rc = frn_sqlite_begin(s, sync);
            s->begun = rc == SQLITE_OK;
            ready = !frn_sqlite_is_busy(rc);
            *retry_ns = FRN_BUSY_RETRY_NS;
        }
    }
    (void)pthread_mutex_unlock(&s->locks[0]);
    return ready;
}

/* Whether the log has to be restarted. */
static bool frn_sqlite_log_due(const frn_sqlite *s)
{
    return s->path[0] != '\0' && s->conn[0].db != NULL && s->wal_pages >= s->wal_retry_pages
        && s->wal_pages * (s->page_bytes + 24) > s->wal_bytes_max;
}

static void frn_sqlite_commit(frn_store *store, frn_part *parts)
{
    frn_sqlite *s = (frn_sqlite *)store;
    frn_part   *part, *next;

    for (part = parts; part != NULL; part = next) {
        next = part->next;
        (void)pthread_mutex_lock(&s->locks[0]);
        if (frn_sqlite_writable(s)) {
            frn_sqlite_commit_part(s, part);
        } else {
            part->outcome = FRN_NOT_DONE;
            part->result = FRANCIS_ERR_STORAGE;
            (void)snprintf(part->error, sizeof part->error, "%s", s->error);
        }
        if (next == NULL && !frn_sqlite_log_due(s))     /* else tend needs the turn, and ends it */
            frn_queue_leave(s);
        (void)pthread_mutex_unlock(&s->locks[0]);
        part->done(part);
    }
}

/* Which process has the lock of the log's writer, as Linux lists them; 0 = none. A line is: number,
 * POSIX, ADVISORY, WRITE, process, device, ":", inode, from, to. */
static int64_t frn_sqlite_writer_listed(ino_t shm)
{
    char      line[200];
    FILE     *f = fopen("/proc/locks", "re");
    long long process = 0, pid, from, inode;

    while (f != NULL && fgets(line, sizeof line, f) != NULL)
        if (sscanf(line, "%*s POSIX %*s WRITE %lld %*[^:]:%*[^:]:%lld %lld", &pid, &inode, &from)
                == 3
            && inode == (long long)shm && from == FRN_WAL_WRITER_BYTE)
            process = pid;
    if (f != NULL)
        (void)fclose(f);
    return process;
}

/* SQLite's VFS takes that lock on a byte of the shared memory file, which must not be opened by us,
 * since to close it would drop SQLite's own locks. The list comes in pieces, and a lock that
 * somebody gives up between two of them makes it skip another one: so it is read again. */
static int64_t frn_sqlite_writer(const frn_sqlite *s)
{
    char        name[FRN_PATH_MAX];
    struct stat st;
    int64_t     process = 0;
    int         i;

    if (s->path[0] == '\0' || strlen(s->path) + sizeof "-shm" > sizeof name
        || s->base.plat->hooks.process != 0)
        return 0;
    (void)snprintf(name, sizeof name, "%s-shm", s->path);
    if (stat(name, &st) != 0)
        return 0;
    for (i = 0; i < FRN_LOCKS_READINGS && process == 0; i++)
        process = frn_sqlite_writer_listed(st.st_ino);
    return process;
}

static void frn_sqlite_blocker(frn_store *store, frn_blocker *out)
{
    frn_sqlite   *s = (frn_sqlite *)store;
    frn_conn     *c;
    sqlite3_stmt *stmt = NULL;
    char          text[FRN_SQLITE_SQL_MAX];

    memset(out, 0, sizeof *out);
    out->process = frn_sqlite_writer(s);
    (void)pthread_mutex_lock(frn_sqlite_read_lock(s));
    c = frn_sqlite_reader(s);
    (void)frn_sqlite_expand(s, "SELECT host_id FROM @ext_hosts WHERE process = ?1"
                               " AND evicted = 0", text, sizeof text);
    if (c->db != NULL) {
        (void)frn_sqlite_int(s, c->db, "PRAGMA data_version", NULL, 0, &out->version);
        if (out->process > 0 && sqlite3_prepare_v2(c->db, text, -1, &stmt, NULL) == SQLITE_OK
            && sqlite3_bind_int64(stmt, 1, out->process) == SQLITE_OK
            && sqlite3_step(stmt) == SQLITE_ROW)
            (void)snprintf(out->host_id, sizeof out->host_id, "%s",
                           (const char *)sqlite3_column_text(stmt, 0));
        (void)sqlite3_finalize(stmt);
    }
    (void)pthread_mutex_unlock(frn_sqlite_read_lock(s));
}

static void frn_sqlite_restart_log(frn_sqlite *s)
{
    int rc, log = 0, copied = 0;

    if (!s->single)
        (void)pthread_mutex_lock(&s->locks[1]);     /* no reader of ours is under way then */
    (void)sqlite3_busy_timeout(s->conn[0].db, 100);
    rc = sqlite3_wal_checkpoint_v2(s->conn[0].db, "main", SQLITE_CHECKPOINT_TRUNCATE, &log,
                                   &copied);
    (void)sqlite3_busy_timeout(s->conn[0].db, 0);
    if (!s->single)
        (void)pthread_mutex_unlock(&s->locks[1]);
    if (rc == SQLITE_OK) {
        s->wal_pages = s->wal_retry_pages = s->wal_copied_pages = 0;
        FRN_STORE(&s->base.wal_bytes, (uint64_t)0);
        return;
    }
    s->wal_retry_pages = s->wal_pages + s->wal_pages / 8 + 1;
    if (s->wal_pages * (s->page_bytes + 24) > 2 * s->wal_bytes_max)     /* else it is just busy */
        frn_log(s->base.log, FRN_LOG_wal_over_limit, frn_sqlite_result(rc), NULL, NULL,
            "the log has %llu pages and cannot be restarted: somebody reads an old state",
            (unsigned long long)s->wal_pages);
}

static void frn_sqlite_tend(frn_store *store, bool idle)
{
    frn_sqlite *s = (frn_sqlite *)store;
    int         log = 0, copied = 0;

    if (s->path[0] == '\0')
        return;
    (void)pthread_mutex_lock(&s->locks[0]);
    if (frn_sqlite_log_due(s)) {
        if (frn_queue_step(s))      /* it keeps all others from writing: in turn */
            frn_sqlite_restart_log(s);
        frn_queue_leave(s);
    } else if (idle && s->conn[0].db != NULL
               && s->wal_pages >= s->wal_copied_pages + FRN_CHECKPOINT_PAGES) {
        if (sqlite3_wal_checkpoint_v2(s->conn[0].db, "main", SQLITE_CHECKPOINT_PASSIVE, &log,
                                      &copied) == SQLITE_OK)
            s->wal_copied_pages = (uint64_t)copied;
    }
    (void)pthread_mutex_unlock(&s->locks[0]);
}

// >> 438 store.sqlite.due | needs: 418 430
//    What is due: a piece of the file at a time, from where the last look ended.

enum { FRN_PROOF_MS = 200 };        /* so late its host should not be with what it has */

/* Whether the process of another host that has the actor of a row is gone; asked once for many rows
 * in a row. */
static bool frn_sqlite_has_ended(frn_sqlite *s, frn_read *read, const char *host)
{
    if (host[0] == '\0' || strcmp(host, read->id) == 0)
        return false;
    if (strcmp(read->owner.id, host) != 0) {
        (void)snprintf(read->owner.id, sizeof read->owner.id, "%s", host);
        read->ended = frn_sqlite_seems_dead(s, host);
    }
    return read->ended;
}

static bool frn_sqlite_give_alarm(frn_sqlite *s, sqlite3_stmt *stmt, frn_read *read, int *rc)
{
    const char *host = (const char *)sqlite3_column_text(stmt, 20);
    int64_t     wake_ms = sqlite3_column_int64(stmt, 8);
    frn_sighting   found;

    memset(&found, 0, sizeof found);
    found.look_ms = sqlite3_column_int64(stmt, 19);
    if (host == NULL) {
        *rc = SQLITE_NOMEM;
        return false;
    }
    (void)snprintf(found.host, sizeof found.host, "%s", host);
    if (read->kind != FRN_READ_ALARM && wake_ms > read->wake_by_ms) {
        read->next_ms = wake_ms < read->next_ms ? wake_ms : read->next_ms;
        return true;
    }
    if (wake_ms < read->now_ms - FRN_PROOF_MS && frn_sqlite_has_ended(s, read, host))
        found.host[0] = '\0';
    *rc = frn_sqlite_column_alarm(s, stmt, &found.a);
    if (*rc != SQLITE_OK)
        return false;
    read->more = !read->on_alarm(read, &found);
    return !read->more;
}

/* Each row once; the last one's place is where the next look goes on. */
static int frn_sqlite_give_alarms(frn_sqlite *s, sqlite3_stmt *stmt, frn_read *read)
{
    int rc, fault = SQLITE_OK;

    while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        const char *id = (const char *)sqlite3_column_text(stmt, 0);
        if (id == NULL)
            fault = SQLITE_NOMEM;
        if (id == NULL || !frn_sqlite_give_alarm(s, stmt, read, &fault))
            break;
        read->from_ms = sqlite3_column_int64(stmt, 19);
        (void)snprintf(read->from_id, sizeof read->from_id, "%s", id);
        read->count++;
    }
    (void)sqlite3_reset(stmt);
    return rc == SQLITE_DONE || rc == SQLITE_ROW ? fault : rc;
}

/* Alarms and jobs of a type that can be found by now: at most .limit rows are looked at. */
static int frn_sqlite_read_due(frn_sqlite *s, frn_conn *c, frn_read *read)
{
    int           rc = SQLITE_OK;
    sqlite3_stmt *stmt = frn_sqlite_of_host(s, c, FRN_STMT_DUE_LOOK, read->type, &rc);

    if (stmt == NULL)
        return rc;
    (void)sqlite3_bind_int64(stmt, 2, read->from_ms);
    (void)sqlite3_bind_text(stmt, 3, read->from_id, -1, SQLITE_TRANSIENT);
    (void)sqlite3_bind_int64(stmt, 4, read->wake_by_ms);
    (void)sqlite3_bind_int64(stmt, 5, (int64_t)read->limit);
    rc = frn_sqlite_give_alarms(s, stmt, read);
    read->more = read->more || read->count >= read->limit;
    if (rc != SQLITE_OK || read->more)
        return rc;
    stmt = frn_sqlite_of_host(s, c, FRN_STMT_DUE_NEXT, read->type, &rc);
    if (stmt == NULL)
        return rc;
    (void)sqlite3_bind_int64(stmt, 2, read->wake_by_ms);
    rc = sqlite3_step(stmt);
    if (rc == SQLITE_ROW && sqlite3_column_int64(stmt, 0) < read->next_ms)
        read->next_ms = sqlite3_column_int64(stmt, 0);
    (void)sqlite3_reset(stmt);
    return rc == SQLITE_ROW || rc == SQLITE_DONE ? SQLITE_OK : rc;
}

static int frn_sqlite_read_hooks(frn_sqlite *s, frn_conn *c, frn_read *read)
{
    int           rc = SQLITE_OK;
    sqlite3_stmt *stmt = frn_sqlite_of_host(s, c, FRN_STMT_DUE_HOOKS, read->type, &rc);

    if (stmt == NULL)
        return rc;
    (void)sqlite3_bind_int64(stmt, 2, (int64_t)read->limit);
    rc = frn_sqlite_give_alarms(s, stmt, read);
    read->more = read->more || (read->count >= read->limit && read->next_ms == INT64_MAX);
    return rc;
}

/* One row, by the id of the alarm, the job or the dead job; or an alarm by its name. */
static int frn_sqlite_read_alarm(frn_sqlite *s, frn_conn *c, frn_read *read)
{
    static const frn_stmt by_id[] = { FRN_STMT_DUE_ONE, FRN_STMT_DEAD_ONE };
    int           rc = SQLITE_OK, i;
    sqlite3_stmt *stmt;

    if (read->name != NULL) {
        stmt = frn_sqlite_keyed(s, c, FRN_STMT_ALARM_ONE, read->type, read->id, &rc);
        if (stmt == NULL)
            return rc;
        (void)sqlite3_bind_text(stmt, 3, read->name, -1, SQLITE_STATIC);
        return frn_sqlite_give_alarms(s, stmt, read);
    }
    for (i = 0; rc == SQLITE_OK && !read->more && i < 2; i++) {
        stmt = frn_sqlite_of_host(s, c, by_id[i], read->id, &rc);
        if (stmt == NULL)
            return rc;
        rc = frn_sqlite_give_alarms(s, stmt, read);
    }
    return rc;
}

/* Whether others, or we ourselves, have changed the file since the last time. */
static int frn_sqlite_read_changed(frn_sqlite *s, frn_conn *c, frn_read *read)
{
    int           rc = SQLITE_OK;
    sqlite3_stmt *stmt = frn_sqlite_stmt(s, c, FRN_STMT_VERSION, &rc);

    if (stmt == NULL)
        return rc;
    rc = sqlite3_step(stmt);
    read->next_ms = sqlite3_column_int64(stmt, 0);
    (void)sqlite3_reset(stmt);
    return rc == SQLITE_ROW ? SQLITE_OK : rc;
}

// >> 440 store.sqlite.read | needs: 410 430 438
//    Reads are one statement each, reset at once, on the reading connection.

static int frn_sqlite_read_state(frn_sqlite *s, frn_conn *c, frn_read *read)
{
    int           rc = SQLITE_OK;
    sqlite3_stmt *stmt = frn_sqlite_keyed(s, c, FRN_STMT_STATE_READ, read->type, read->id, &rc);

    if (stmt == NULL)
        return rc;
    (void)sqlite3_bind_int64(stmt, 3, read->now_ms);
    rc = sqlite3_step(stmt);
    if (rc == SQLITE_ROW)
        rc = frn_sqlite_column_buf(s, stmt, 0, &read->state);
    (void)sqlite3_reset(stmt);
    return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

static int frn_sqlite_read_owner(frn_sqlite *s, frn_conn *c, frn_read *read)
{
    frn_incumbent h;
    bool          found = false;
    int           rc = SQLITE_OK;
    sqlite3_stmt *stmt = frn_sqlite_keyed(s, c, FRN_STMT_OWNER, read->type, read->id, &rc);

    memset(&h, 0, sizeof h);
    if (stmt != NULL)
        rc = frn_sqlite_one_host(stmt, &h, &found);
    if (rc == SQLITE_OK && found) {
        (void)snprintf(read->owner.id, sizeof read->owner.id, "%s", h.id);
        (void)snprintf(read->owner.address, sizeof read->owner.address, "%s", h.address);
        read->ended = read->with_proof && h.ours && frn_sqlite_seems_dead(s, h.id);
    }
    return rc;
}

static int frn_sqlite_read_hosts(frn_sqlite *s, frn_conn *c, frn_read *read)
{
    int           rc = SQLITE_OK;
    sqlite3_stmt *stmt = frn_sqlite_stmt(s, c, FRN_STMT_HOSTS, &rc);
    frn_owner     owner;

    if (stmt == NULL)
        return rc;
    while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        const char *text[3];
        int         i;
        for (i = 0; i < 3; i++)
            text[i] = (const char *)sqlite3_column_text(stmt, i);
        if (text[0] == NULL || text[1] == NULL || text[2] == NULL)
            continue;
        (void)snprintf(owner.id, sizeof owner.id, "%s", text[0]);
        (void)snprintf(owner.address, sizeof owner.address, "%s", text[1]);
        read->on_host(read, &owner, text[2]);
    }
    (void)sqlite3_reset(stmt);
    return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

static int frn_sqlite_read_standing(frn_sqlite *s, frn_conn *c, frn_read *read)
{
    int           rc = SQLITE_OK;
    sqlite3_stmt *stmt = NULL;

    if (s->handle != NULL && !s->begun && frn_sqlite_check_handle(s, false) != FRANCIS_OK)
        return SQLITE_BUSY;         /* the application reads an old state, and so would we */
    (void)frn_sqlite_moved(s, c->db);       /* its health says so, also if nobody writes */
    stmt = frn_sqlite_of_host(s, c, FRN_STMT_FENCE, read->id, &rc);
    if (stmt == NULL)
        return rc;
    rc = sqlite3_step(stmt);
    if (rc == SQLITE_ROW && sqlite3_column_int(stmt, 0) == 0)
        read->challenged = sqlite3_column_int(stmt, 1) != 0;
    else if (rc == SQLITE_ROW || rc == SQLITE_DONE)
        read->result = FRANCIS_ERR_EVICTED;
    (void)sqlite3_reset(stmt);
    if (frn_lock_file_moved(&s->proof))
        read->result = FRANCIS_ERR_EVICTED;     /* without it we look dead to all others */
    return rc == SQLITE_ROW || rc == SQLITE_DONE ? SQLITE_OK : rc;
}

/* The columns of frn_column; "" and 0 where one does not apply. */
typedef struct frn_page_sql {
    francis_list_kind what;
    const char       *select, *data, *from;
    const char       *type, *id, *name;     /* columns that a filter looks at; NULL = none does */
    const char       *key[3], *where;
} frn_page_sql;

#define FRN_NOT_EVICTED "host_id NOT IN (SELECT host_id FROM @ext_hosts WHERE evicted = 1)"
#define FRN_ALARM_ITEM(name, job, key) \
    "actor_type, actor_id, " name ", '', " job ", " key ", coalesce(alarm_cron, alarm_interval," \
    " ''), coalesce(ext_error, ''), 0, 0, alarm_due_time, coalesce(alarm_ttl_time, 0), 0," \
    " ext_attempts, ext_started"

static const frn_page_sql frn_page_sqls[] = {
    { FRANCIS_LIST_STATES,
      "actor_type, actor_id, '', '', '', '', '', '', 0, actor_state_expiration_time, 0, 0, 0, 0, 0",
      "actor_state_data", "@actor_state", "actor_type", "actor_id", NULL,
      { "actor_type", "actor_id", NULL },
      "(actor_state_expiration_time IS NULL OR actor_state_expiration_time > ?4)" },
    { FRANCIS_LIST_ALARMS, FRN_ALARM_ITEM("alarm_name", "alarm_id", "''"), "alarm_data", "@alarms",
      "actor_type", "actor_id", "alarm_name", { "actor_type", "actor_id", "alarm_name" },
      "alarm_kind = 'alarm'" },
    { FRANCIS_LIST_JOBS,
      FRN_ALARM_ITEM("coalesce(job_method, '')", "alarm_id", "alarm_name"), "alarm_data",
      "@alarms", "actor_type", "actor_id", "alarm_id", { "actor_type", "actor_id", "alarm_name" },
      "alarm_kind = 'job'" },
    { FRANCIS_LIST_DEAD_JOBS,
      "actor_type, actor_id, job_method, '', job_id, coalesce(ext_name, ''), coalesce(job_cron,"
      " job_interval, ''), coalesce(last_error, ''), 0, 0, original_due, coalesce(ext_until, 0),"
      " failed_at, attempts, 0",
      "job_data", "@dead_jobs", "actor_type", "actor_id", "job_id",
      { "actor_type", "actor_id", "job_id" }, "1" },
    { FRANCIS_LIST_ACTIVE,
      "actor_type, actor_id, '', host_id, '', '', '', '', actor_activation, 0, 0, 0, 0, 0, 0",
      NULL, "@active_actors", "actor_type", "actor_id", NULL, { "actor_type", "actor_id", NULL },
      FRN_NOT_EVICTED },
    { FRANCIS_LIST_HOSTS,
      "'', '', host_address, host_id, '', '', '', '', host_last_health_check, 0, 0, 0, 0, 0, 0",
      NULL, "@hosts", NULL, NULL, NULL, { "host_id", NULL, NULL }, FRN_NOT_EVICTED },
    { FRANCIS_LIST_TYPES, "actor_type, '', '', host_id, '', '', '', '', 0, 0, 0, 0, 0, 0, 0",
      NULL, "@host_actor_types", "actor_type", NULL, NULL, { "actor_type", "host_id", NULL },
      FRN_NOT_EVICTED }
};

static const frn_page_sql *frn_page_sql_find(francis_list_kind what)
{
    size_t i;
    for (i = 0; i < FRN_COUNT(frn_page_sqls); i++)
        if (frn_page_sqls[i].what == what)
            return &frn_page_sqls[i];
    return NULL;
}

static void frn_page_sql_add(char *sql, size_t size, const char *format, ...) FRANCIS_PRINTF(3, 4);

static void frn_page_sql_add(char *sql, size_t size, const char *format, ...)
{
    size_t  n = strlen(sql);
    va_list args;
    va_start(args, format);
    (void)vsnprintf(sql + n, size - n, format, args);
    va_end(args);
}

/* Its key, as a list of columns. */
static void frn_page_sql_key(const frn_page_sql *p, char *sql, size_t size)
{
    int i;

    for (i = 0; i < 3 && p->key[i] != NULL; i++)
        frn_page_sql_add(sql, size, "%s%s", i > 0 ? ", " : "", p->key[i]);
}

static void frn_page_sql_make(const frn_read *read, const frn_page_sql *p, char *sql, size_t size)
{
    sql[0] = '\0';
    frn_page_sql_add(sql, size, "SELECT %s, %s FROM %s WHERE %s", p->select,
                     read->with_data && p->data != NULL ? p->data : "NULL", p->from, p->where);
    if (read->type != NULL && p->type != NULL)
        frn_page_sql_add(sql, size, " AND %s = ?5", p->type);
    if (read->id != NULL && p->id != NULL)
        frn_page_sql_add(sql, size, " AND %s = ?6", p->id);
    if (read->name != NULL && p->name != NULL)
        frn_page_sql_add(sql, size, " AND %s = ?7", p->name);
    if (read->after[0] != NULL) {
        frn_page_sql_add(sql, size, " AND (");
        frn_page_sql_key(p, sql, size);
        frn_page_sql_add(sql, size, ") > (?1%s%s)", p->key[1] != NULL ? ", ?2" : "",
                         p->key[2] != NULL ? ", ?3" : "");
    }
    frn_page_sql_add(sql, size, " ORDER BY ");
    frn_page_sql_key(p, sql, size);
    frn_page_sql_add(sql, size, " LIMIT ?8");
}

/* The texts of a row, each with its NUL, in one buffer. */
static int frn_sqlite_read_item(frn_sqlite *s, sqlite3_stmt *stmt, frn_item *item)
{
    const char *text[FRN_COLUMN_TEXTS];
    size_t      size = 0;
    int         i;

    for (i = 0; i < FRN_COLUMN_TEXTS; i++) {
        text[i] = (const char *)sqlite3_column_text(stmt, i);
        if (text[i] == NULL)
            return sqlite3_column_type(stmt, i) == SQLITE_NULL ? SQLITE_CORRUPT : SQLITE_NOMEM;
        item->at[i] = (uint32_t)size;
        size += strlen(text[i]) + 1;
    }
    item->keys = frn_buf_new(s->base.mem, size);
    if (item->keys == NULL)
        return SQLITE_NOMEM;
    for (i = 0; i < FRN_COLUMN_TEXTS; i++)
        memcpy((char *)FRN_BYTES(item->keys) + item->at[i], text[i], strlen(text[i]) + 1);
    for (i = 0; i < FRN_COLUMN_NUMBERS; i++)
        item->numbers[i] = sqlite3_column_int64(stmt, FRN_COLUMN_TEXTS + i);
    return frn_sqlite_column_buf(s, stmt, FRN_COLUMN_DATA, &item->data);
}

static int frn_page_bind(sqlite3_stmt *stmt, int at, const frn_read *read)
{
    const char *texts[8];

    texts[1] = read->after[0];
    texts[2] = read->after[1];
    texts[3] = read->after[2];
    texts[5] = read->type;
    texts[6] = read->id;
    texts[7] = read->name;
    if (at == 4)
        return sqlite3_bind_int64(stmt, at, read->now_ms);
    if (at == 8)
        return sqlite3_bind_int64(stmt, at, (int64_t)read->limit);
    return texts[at] == NULL ? SQLITE_OK : sqlite3_bind_text(stmt, at, texts[at], -1,
                                                             SQLITE_STATIC);
}

static int frn_sqlite_read_page(frn_sqlite *s, frn_conn *c, frn_read *read)
{
    const frn_page_sql *p = frn_page_sql_find(read->what);
    char                sql[1200], text[FRN_SQLITE_SQL_MAX];
    sqlite3_stmt       *stmt = NULL;
    int                 rc, i, count;

    frn_page_sql_make(read, p, sql, sizeof sql);
    rc = sqlite3_prepare_v2(c->db, frn_sqlite_expand(s, sql, text, sizeof text), -1, &stmt, NULL);
    count = rc == SQLITE_OK ? sqlite3_bind_parameter_count(stmt) : 0;
    for (i = 1; i <= count && rc == SQLITE_OK; i++)
        rc = frn_page_bind(stmt, i, read);
    while (rc == SQLITE_OK && read->count < read->limit) {
        rc = sqlite3_step(stmt);
        if (rc != SQLITE_ROW)
            break;
        memset(&read->items[read->count], 0, sizeof read->items[0]);
        rc = frn_sqlite_read_item(s, stmt, &read->items[read->count++]);
    }
    (void)sqlite3_finalize(stmt);
    return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

static int frn_sqlite_read_kind(frn_sqlite *s, frn_conn *c, frn_read *read)
{
    switch (read->kind) {
    case FRN_READ_STATE:    return frn_sqlite_read_state(s, c, read);
    case FRN_READ_PAGE:     return frn_sqlite_read_page(s, c, read);
    case FRN_READ_STANDING: return frn_sqlite_read_standing(s, c, read);
    case FRN_READ_OWNER:    return frn_sqlite_read_owner(s, c, read);
    case FRN_READ_HOSTS:    return frn_sqlite_read_hosts(s, c, read);
    case FRN_READ_DUE:      return frn_sqlite_read_due(s, c, read);
    case FRN_READ_HOOKS:    return frn_sqlite_read_hooks(s, c, read);
    case FRN_READ_ALARM:    return frn_sqlite_read_alarm(s, c, read);
    case FRN_READ_CHANGED:  return frn_sqlite_read_changed(s, c, read);
    }
    return SQLITE_MISUSE;
}

static void frn_sqlite_read(frn_store *store, frn_read *read)
{
    frn_sqlite *s = (frn_sqlite *)store;
    frn_conn   *c;
    int         rc;

    (void)pthread_mutex_lock(frn_sqlite_read_lock(s));
    c = frn_sqlite_reader(s);
    if (c->db == NULL) {
        read->result = FRANCIS_ERR_STORAGE;
        (void)snprintf(read->error, sizeof read->error, "the database is closed after a failure");
    } else {
        rc = frn_sqlite_read_kind(s, c, read);
        if (rc != SQLITE_OK)
            read->result = frn_sqlite_result(rc);
        if (rc != SQLITE_OK)
            (void)snprintf(read->error, sizeof read->error, "cannot read: %s (%d)",
                           sqlite3_errmsg(c->db), rc);
    }
    (void)pthread_mutex_unlock(frn_sqlite_read_lock(s));
    if (read->done != NULL)
        read->done(read);
}

static void frn_sqlite_close(frn_store *store)
{
    frn_sqlite *s = (frn_sqlite *)store;

    frn_sqlite_disconnect(s, &s->conn[1]);
    if (s->handle != NULL)
        (void)sqlite3_wal_autocheckpoint(s->handle, 1000);
    frn_sqlite_disconnect(s, &s->conn[0]);
    frn_sqlite_proof_drop(s);
    frn_queue_close(s);
    frn_mem_strfree(s->base.mem, s->path);
    (void)pthread_mutex_destroy(&s->locks[0]);
    (void)pthread_mutex_destroy(&s->locks[1]);
    frn_mem_free(s->base.mem, s, sizeof *s);
}

static const frn_store_ops frn_sqlite_ops = {
    frn_sqlite_join, frn_sqlite_leave, frn_sqlite_ready, frn_sqlite_commit, frn_sqlite_blocker,
    frn_sqlite_read, frn_sqlite_tend,  frn_sqlite_close
};

/* Opens the database of a resolved desc. *out is NULL on failure and error says why. */
static francis_result frn_sqlite_open(frn_mem *mem, frn_plat *plat, frn_logger *log,
                                      francis_host_desc *desc, frn_store **out, char *error,
                                      size_t error_size)
{
    frn_sqlite    *s = (frn_sqlite *)frn_mem_alloc(mem, sizeof *s);
    francis_result r = FRANCIS_OK;
    bool           threads = desc->workers != FRANCIS_NO_WORKERS;
    uint32_t       lives;

    *out = NULL;
    if (s == NULL)
        return FRANCIS_ERR_NOMEM;
    s->base.ops = &frn_sqlite_ops;
    s->base.mem = mem;
    s->base.plat = plat;
    s->base.log = log;
    s->desc = desc;
    s->handle = desc->sqlite;
    s->wal_bytes_max = desc->wal_bytes_max;
    (void)snprintf(s->prefix, sizeof s->prefix, "%s_", desc->table_prefix);
    (void)pthread_mutex_init(&s->locks[0], NULL);
    (void)pthread_mutex_init(&s->locks[1], NULL);
    if (threads && !sqlite3_threadsafe()) {
        (void)snprintf(s->error, sizeof s->error, "this SQLite was built without threads;"
                                                  " use FRANCIS_NO_WORKERS");
        r = FRANCIS_ERR_INVALID;
    }
    if (r == FRANCIS_OK && s->handle != NULL)
        r = frn_sqlite_check_handle(s, threads);
    if (r == FRANCIS_OK)
        r = frn_sqlite_connect_all(s);
    if (r == FRANCIS_OK)
        r = frn_sqlite_prepare_schema(s);
    if (r == FRANCIS_OK)
        r = frn_sqlite_look_around(s, frn_plat_wall_ms(plat), NULL, &lives);
    s->base.shared = s->path != NULL && s->path[0] != '\0';
    if (r == FRANCIS_OK && desc->profile == FRANCIS_PROFILE_FLASH && s->page_bytes != 1024)
        frn_log(log, FRN_LOG_page_size_kept, FRANCIS_OK, NULL, NULL, "the database keeps its pages"
                " of %llu bytes; the flash profile wants 1024", (unsigned long long)s->page_bytes);
    (void)snprintf(error, error_size, "%s%s%s", desc->database != NULL ? desc->database : "sqlite",
                   ": ", s->error);
    if (r == FRANCIS_OK)
        *out = &s->base;
    else
        frn_sqlite_close(&s->base);
    return r;
}

// >> 500 security | needs: 210 220 250
//    A cluster is those who know its key. From the key an authority is derived, the same in every
//    process; each host signs a certificate for itself with it. With several keys the first one
//    signs and all are trusted, so that keys rotate. Nothing of it is written down anywhere: a
//    host that starts anew has a new key and certificate. What differs between mbedTLS 2.28 and
//    3.6 is in this section; what mbedTLS allocates does not come from the host's allocator.

/* Without AES in hardware ChaCha20 is the faster one; mbedTLS knows it only when it is compiled. */
#if defined(MBEDTLS_AESNI_C) && (defined(__x86_64__) || defined(__i386__))
#define FRN_AES_FIRST 1
#elif defined(MBEDTLS_AESCE_C) && defined(__aarch64__)
#define FRN_AES_FIRST 1
#else
#define FRN_AES_FIRST 0
#endif

static const int frn_suites[] = {
#if FRN_TLS13 && FRN_AES_FIRST
    MBEDTLS_TLS1_3_AES_128_GCM_SHA256, MBEDTLS_TLS1_3_CHACHA20_POLY1305_SHA256,
#elif FRN_TLS13
    MBEDTLS_TLS1_3_CHACHA20_POLY1305_SHA256, MBEDTLS_TLS1_3_AES_128_GCM_SHA256,
#endif
#if FRN_AES_FIRST
    MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    MBEDTLS_TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
#else
    MBEDTLS_TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
#endif
    0
};

static int frn_mbed_random(void *plat, unsigned char *out, size_t size)
{
    return frn_plat_random((const frn_plat *)plat, out, size) ? 0
                                                              : MBEDTLS_ERR_ENTROPY_SOURCE_FAILED;
}

static int frn_mbed_sha256(const void *data, size_t size, unsigned char hash[32])
{
    return mbedtls_md(mbedtls_md_info_from_type(MBEDTLS_MD_SHA256), (const unsigned char *)data,
                      size, hash);
}

static int frn_mbed_start(void)     /* once or many times, from any thread */
{
#if FRN_PSA
    return psa_crypto_init() == PSA_SUCCESS ? 0 : MBEDTLS_ERR_SSL_ALLOC_FAILED;
#else
    return 0;
#endif
}

/* Of a valid key. mbedTLS calls it invalid also where it had no memory or no randomness. */
static int frn_mbed_parse_key(mbedtls_pk_context *pk, const unsigned char *der, size_t size,
                              frn_plat *plat)
{
    unsigned char byte;
#if FRN_MBED3
    int rc = mbedtls_pk_parse_key(pk, der, size, NULL, 0, frn_mbed_random, plat);
#else
    int rc = mbedtls_pk_parse_key(pk, der, size, NULL, 0);
#endif

    if (rc == MBEDTLS_ERR_PK_KEY_INVALID_FORMAT) {
        rc = frn_mbed_random(plat, &byte, sizeof byte);
        rc = rc != 0 ? rc : MBEDTLS_ERR_PK_ALLOC_FAILED;
    }
    return rc;
}

enum { FRN_SIGNATURE_BYTES_MAX = MBEDTLS_PK_SIGNATURE_MAX_SIZE };

static int frn_mbed_sign(mbedtls_pk_context *pk, const unsigned char hash[32],
                         unsigned char signature[FRN_SIGNATURE_BYTES_MAX], size_t *size_out,
                         frn_plat *plat)
{
#if FRN_MBED3
    return mbedtls_pk_sign(pk, MBEDTLS_MD_SHA256, hash, 32, signature, FRN_SIGNATURE_BYTES_MAX,
                           size_out, frn_mbed_random, plat);
#else
    return mbedtls_pk_sign(pk, MBEDTLS_MD_SHA256, hash, 32, signature, size_out, frn_mbed_random,
                           plat);
#endif
}

static bool frn_mbed_has_extension(const mbedtls_x509_crt *crt, int extension)
{
#if FRN_MBED3
    return mbedtls_x509_crt_has_ext_type(crt, extension) != 0;
#else
    return (crt->ext_types & extension) != 0;
#endif
}

static bool frn_mbed_open(mbedtls_ssl_context *ssl)     /* the handshake is over */
{
#if FRN_MBED3
    return mbedtls_ssl_is_handshake_over(ssl) != 0;
#else
    return ssl->state == MBEDTLS_SSL_HANDSHAKE_OVER;
#endif
}

/* TLS 1.2 stays allowed in 3.6, since 2.28 knows no other; 1.3 is taken where both have it. */
static void frn_mbed_versions(mbedtls_ssl_config *c)
{
#if FRN_MBED3
    static const uint16_t groups[] = { MBEDTLS_SSL_IANA_TLS_GROUP_SECP256R1,
                                       MBEDTLS_SSL_IANA_TLS_GROUP_NONE };
    static const uint16_t signatures[] = { MBEDTLS_TLS1_3_SIG_ECDSA_SECP256R1_SHA256,
                                           MBEDTLS_TLS1_3_SIG_NONE };

    mbedtls_ssl_conf_min_tls_version(c, MBEDTLS_SSL_VERSION_TLS1_2);
    mbedtls_ssl_conf_groups(c, groups);
    mbedtls_ssl_conf_sig_algs(c, signatures);
#else
    static const mbedtls_ecp_group_id groups[] = { MBEDTLS_ECP_DP_SECP256R1,
                                                   MBEDTLS_ECP_DP_NONE };
    static const int                  hashes[] = { MBEDTLS_MD_SHA256, MBEDTLS_MD_NONE };

    mbedtls_ssl_conf_min_version(c, MBEDTLS_SSL_MAJOR_VERSION_3, MBEDTLS_SSL_MINOR_VERSION_3);
    mbedtls_ssl_conf_curves(c, groups);
    mbedtls_ssl_conf_sig_hashes(c, hashes);
#endif
#if FRN_TLS13
    mbedtls_ssl_conf_tls13_key_exchange_modes(c, MBEDTLS_SSL_TLS1_3_KEY_EXCHANGE_MODE_EPHEMERAL);
#endif
}

/* Each connection proves itself anew, once: no renegotiation, no resumption. */
static void frn_mbed_once(mbedtls_ssl_config *c)
{
#if defined(MBEDTLS_SSL_RENEGOTIATION)
    mbedtls_ssl_conf_renegotiation(c, MBEDTLS_SSL_RENEGOTIATION_DISABLED);
#endif
#if defined(MBEDTLS_SSL_SESSION_TICKETS)
    mbedtls_ssl_conf_session_tickets(c, MBEDTLS_SSL_SESSION_TICKETS_DISABLED);
#if FRN_TLS13
    mbedtls_ssl_conf_new_session_tickets(c, 0);
#endif
#endif
#if !defined(MBEDTLS_SSL_SESSION_TICKETS) && !defined(MBEDTLS_SSL_RENEGOTIATION)
    (void)c;
#endif
}

/* All that mbedTLS is given here is made here, so what goes wrong is memory or randomness. */
static francis_result frn_mbed_result(int rc, char *error, size_t error_size)
{
    static const int memory[] = {
        MBEDTLS_ERR_MPI_ALLOC_FAILED,  MBEDTLS_ERR_ASN1_ALLOC_FAILED, MBEDTLS_ERR_PK_ALLOC_FAILED,
        MBEDTLS_ERR_ECP_ALLOC_FAILED,  MBEDTLS_ERR_MD_ALLOC_FAILED,   MBEDTLS_ERR_PEM_ALLOC_FAILED,
        MBEDTLS_ERR_X509_ALLOC_FAILED, MBEDTLS_ERR_SSL_ALLOC_FAILED,
        -0x001c     /* a lock that is no lock: what 2.28 says when its generator had no memory */
    };
    int    high = -(-rc & 0x7f80), low = -(-rc & 0x7f);     /* one code may carry another */
    size_t i;

    if (low == MBEDTLS_ERR_ENTROPY_SOURCE_FAILED || high == MBEDTLS_ERR_ECP_RANDOM_FAILED) {
        (void)snprintf(error, error_size, "the system has no randomness for keys");
        return FRANCIS_ERR_INTERNAL;
    }
    for (i = 0; i < FRN_COUNT(memory); i++)
        if (memory[i] == high || memory[i] == low) {
            (void)snprintf(error, error_size, "out of memory");
            return FRANCIS_ERR_NOMEM;
        }
    (void)snprintf(error, error_size, "mbedTLS failed with -0x%04x", (unsigned)-rc);
    return FRANCIS_ERR_INTERNAL;
}

// >> 503 security.key | needs: 500
//    P-256 keys from bytes: from the cluster's secret, or from random ones.

enum {
    FRN_SECRET_BYTES_MIN = 32,      /* of a cluster key: a stranger can test guesses offline */
    FRN_SEED_BYTES       = 48,      /* 128 bits over the curve's order: the remainder is even */
    FRN_PUBLIC_BYTES     = 91,      /* SubjectPublicKeyInfo; the point is its last 65 */
    FRN_POINT_BYTES      = 65,
    FRN_KEY_ID_BYTES     = 20
};

typedef struct frn_key {
    mbedtls_pk_context pk;
    unsigned char      info[FRN_PUBLIC_BYTES], id[FRN_KEY_ID_BYTES];
    unsigned char      hash[32];    /* of the point; its beginning is the id */
} frn_key;

static void frn_key_init(frn_key *k)
{
    memset(k, 0, sizeof *k);
    mbedtls_pk_init(&k->pk);
}

static void frn_key_free(frn_key *k)    /* mbedTLS wipes the secret part */
{
    mbedtls_pk_free(&k->pk);
}

/* number = seed mod (order - 1) + 1, which is at least 1 and below the order. */
static int frn_key_number(const unsigned char seed[FRN_SEED_BYTES], unsigned char number[32])
{
    static const unsigned char order_less_1[32] = {
        0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        0xff, 0xbc, 0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63,
        0x25, 0x50
    };
    mbedtls_mpi x, n;
    int         rc;

    mbedtls_mpi_init(&x);
    mbedtls_mpi_init(&n);
    rc = mbedtls_mpi_read_binary(&x, seed, FRN_SEED_BYTES);
    if (rc == 0)
        rc = mbedtls_mpi_read_binary(&n, order_less_1, sizeof order_less_1);
    if (rc == 0)
        rc = mbedtls_mpi_mod_mpi(&x, &x, &n);
    if (rc == 0)
        rc = mbedtls_mpi_add_int(&x, &x, 1);
    if (rc == 0)
        rc = mbedtls_mpi_write_binary(&x, number, 32);
    mbedtls_mpi_free(&x);
    mbedtls_mpi_free(&n);
    return rc;
}

/* What others see of a key. The id is made here, not by mbedTLS, lest a version change it. */
static int frn_key_describe(frn_key *k)
{
    unsigned char buffer[128];
    int           n = mbedtls_pk_write_pubkey_der(&k->pk, buffer, sizeof buffer), rc;

    if (n != FRN_PUBLIC_BYTES)
        return n < 0 ? n : MBEDTLS_ERR_PK_BAD_INPUT_DATA;
    memcpy(k->info, buffer + sizeof buffer - FRN_PUBLIC_BYTES, FRN_PUBLIC_BYTES);
    rc = frn_mbed_sha256(k->info + FRN_PUBLIC_BYTES - FRN_POINT_BYTES, FRN_POINT_BYTES, k->hash);
    memcpy(k->id, k->hash, sizeof k->id);
    return rc;
}

static int frn_key_load(frn_key *k, const unsigned char seed[FRN_SEED_BYTES], frn_plat *plat)
{
    static const unsigned char head[] = { 0x30, 0x31, 0x02, 0x01, 0x01, 0x04, 0x20 };
    static const unsigned char tail[] = { 0xa0, 0x0a, 0x06, 0x08, 0x2a, 0x86,   /* of P-256 */
                                          0x48, 0xce, 0x3d, 0x03, 0x01, 0x07 };
    unsigned char              der[sizeof head + 32 + sizeof tail];
    int                        rc;

    memcpy(der, head, sizeof head);
    memcpy(der + sizeof head + 32, tail, sizeof tail);
    rc = frn_key_number(seed, der + sizeof head);
    if (rc == 0)
        rc = frn_mbed_parse_key(&k->pk, der, sizeof der, plat);
    mbedtls_platform_zeroize(der, sizeof der);
    return rc != 0 ? rc : frn_key_describe(k);
}

static int frn_key_derive(frn_key *k, const char *secret, size_t size, frn_plat *plat)
{
    static const unsigned char salt[] = "francis-ca-salt-v1", info[] = "francis-ca-p256-v1";
    unsigned char              seed[FRN_SEED_BYTES];
    int rc = mbedtls_hkdf(mbedtls_md_info_from_type(MBEDTLS_MD_SHA256), salt, sizeof salt - 1,
                          (const unsigned char *)secret, size, info, sizeof info - 1, seed,
                          sizeof seed);

    if (rc == 0)
        rc = frn_key_load(k, seed, plat);
    mbedtls_platform_zeroize(seed, sizeof seed);
    return rc;
}

static int frn_key_generate(frn_key *k, frn_plat *plat)
{
    unsigned char seed[FRN_SEED_BYTES];
    int           rc = frn_mbed_random(plat, seed, sizeof seed);

    if (rc == 0)
        rc = frn_key_load(k, seed, plat);
    mbedtls_platform_zeroize(seed, sizeof seed);
    return rc;
}

// >> 506 security.cert | needs: 503
//    Certificates, written byte by byte: mbedTLS 2.28 and 3.6 write the same one differently, and
//    the authority's is to be the same everywhere.

#define FRN_URI_CLUSTER "spiffe://francis"
#define FRN_URI_HOST    FRN_URI_CLUSTER "/host/"

enum { FRN_DER_BYTES = 1024, FRN_HOST_ID_SIZE = 64, FRN_SERIAL_BYTES = 16 };

typedef struct frn_der {            /* written from its end to its beginning */
    size_t        at;               /* where it begins so far */
    bool          full;
    unsigned char bytes[FRN_DER_BYTES];
} frn_der;

static void frn_der_init(frn_der *d)
{
    d->at = sizeof d->bytes;
    d->full = false;
}

static void frn_der_put(frn_der *d, const void *data, size_t size)
{
    if (size > d->at) {
        d->full = true;
        return;
    }
    d->at -= size;
    memcpy(d->bytes + d->at, data, size);
}

static void frn_der_byte(frn_der *d, unsigned byte)
{
    unsigned char b = (unsigned char)byte;
    frn_der_put(d, &b, 1);
}

static void frn_der_wrap(frn_der *d, unsigned tag, size_t end)  /* around what begins before end */
{
    unsigned size = (unsigned)(end - d->at);

    frn_der_byte(d, size & 0xff);
    if (size > 0xff)
        frn_der_byte(d, size >> 8);
    if (size > 0x7f)
        frn_der_byte(d, size > 0xff ? 0x82 : 0x81);
    frn_der_byte(d, tag);
}

static void frn_der_extension(frn_der *d, unsigned number, bool critical, size_t end)
{
    static const unsigned char yes[] = { 0x01, 0x01, 0xff }, id[] = { 0x06, 0x03, 0x55, 0x1d };

    frn_der_wrap(d, 0x04, end);
    if (critical)
        frn_der_put(d, yes, sizeof yes);
    frn_der_byte(d, number);
    frn_der_put(d, id, sizeof id);
    frn_der_wrap(d, 0x30, end);
}

static int64_t frn_days(int64_t year, int64_t month, int64_t day)   /* since 1970; year > 0 */
{
    int64_t era, of_year;

    year -= month <= 2;             /* years that begin in March end with the leap day */
    era = year / 400;
    of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
    year -= era * 400;
    return era * 146097 + year * 365 + year / 4 - year / 100 + of_year - 719468;
}

enum { FRN_DAY_MS = 86400000 };

static int64_t frn_x509_ms(const mbedtls_x509_time *t)
{
    return frn_days(t->year, t->mon, t->day) * FRN_DAY_MS +
           (((int64_t)t->hour * 60 + t->min) * 60 + t->sec) * 1000;
}

/* From 1970 to 9999; what is before or after becomes the first or last of it. */
static void frn_der_time(frn_der *d, int64_t ms)
{
    static const int64_t last = INT64_C(253402300799000);
    int64_t              days, s, year, month = 1;
    size_t               end = d->at;
    char                 text[40];

    ms = ms < 0 ? 0 : ms > last ? last : ms;
    days = ms / FRN_DAY_MS;
    s = ms % FRN_DAY_MS / 1000;
    year = 1970 + days / 366;
    while (frn_days(year + 1, 1, 1) <= days)
        year++;
    while (month < 12 && frn_days(year, month + 1, 1) <= days)
        month++;
    (void)snprintf(text, sizeof text, "%04d%02d%02d%02d%02d%02dZ", (int)year, (int)month,
                   (int)(days - frn_days(year, month, 1) + 1), (int)(s / 3600), (int)(s / 60 % 60),
                   (int)(s % 60));
    if (year < 2050) {              /* two digits, as the standard wants it */
        frn_der_put(d, text + 2, strlen(text + 2));
        frn_der_wrap(d, 0x17, end);
    } else {
        frn_der_put(d, text, strlen(text));
        frn_der_wrap(d, 0x18, end);
    }
}

typedef struct frn_cert {           /* what a certificate is to say */
    const frn_key *subject, *issuer;    /* the same = of the authority itself */
    const char    *uri;
    int64_t        from_ms, to_ms;
    unsigned char  serial[FRN_SERIAL_BYTES];
} frn_cert;

static void frn_cert_key_id(frn_der *d, const frn_cert *c)
{
    size_t end = d->at;

    frn_der_put(d, c->issuer->id, FRN_KEY_ID_BYTES);
    if (c->subject == c->issuer) {
        frn_der_wrap(d, 0x04, end);
        frn_der_extension(d, 14, false, end);
    } else {
        frn_der_wrap(d, 0x80, end);
        frn_der_wrap(d, 0x30, end);
        frn_der_extension(d, 35, false, end);
    }
}

static void frn_cert_uri(frn_der *d, const char *uri)
{
    size_t end = d->at;

    frn_der_put(d, uri, strlen(uri));
    frn_der_wrap(d, 0x86, end);
}

static void frn_cert_extensions(frn_der *d, const frn_cert *c)
{
    static const unsigned char signs_certs[] = { 0x03, 0x02, 0x01, 0x06 };
    static const unsigned char signs[] = { 0x03, 0x02, 0x07, 0x80 };
    static const unsigned char is_ca[] = { 0x30, 0x06, 0x01, 0x01, 0xff, 0x02, 0x01, 0x00 };
    static const unsigned char is_not_ca[] = { 0x30, 0x00 };
    static const unsigned char roles[] = {      /* server and client */
        0x30, 0x14, 0x06, 0x08, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x01, 0x06, 0x08, 0x2b,
        0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x02
    };
    bool   ca = c->subject == c->issuer;
    size_t end;

    frn_cert_key_id(d, c);
    end = d->at;
    frn_cert_uri(d, c->uri);
    frn_der_wrap(d, 0x30, end);
    frn_der_extension(d, 17, !ca, end);         /* critical where there is no other name */
    if (!ca) {
        end = d->at;
        frn_der_put(d, roles, sizeof roles);
        frn_der_extension(d, 37, false, end);
    }
    end = d->at;
    frn_der_put(d, ca ? signs_certs : signs, sizeof signs);
    frn_der_extension(d, 15, true, end);
    end = d->at;
    if (ca)
        frn_der_put(d, is_ca, sizeof is_ca);
    else
        frn_der_put(d, is_not_ca, sizeof is_not_ca);
    frn_der_extension(d, 19, true, end);
}

static const unsigned char frn_ecdsa_sha256[] = { 0x30, 0x0a, 0x06, 0x08, 0x2a, 0x86,
                                                  0x48, 0xce, 0x3d, 0x04, 0x03, 0x02 };

/* What is signed, around the extensions that d holds already. */
static void frn_cert_body(frn_der *d, const frn_cert *c)
{
    static const unsigned char name[] = { 0x30, 0x15, 0x31, 0x13, 0x30, 0x11, 0x06, 0x03,
                                          0x55, 0x04, 0x03, 0x0c, 0x0a, 'F',  'r',  'a',
                                          'n',  'c',  'i',  's',  ' ',  'C',  'A' };
    static const unsigned char no_name[] = { 0x30, 0x00 };
    static const unsigned char version_3[] = { 0xa0, 0x03, 0x02, 0x01, 0x02 };
    const size_t               end = sizeof d->bytes;
    size_t                     part;

    frn_der_wrap(d, 0x30, end);
    frn_der_wrap(d, 0xa3, end);
    frn_der_put(d, c->subject->info, FRN_PUBLIC_BYTES);
    if (c->subject == c->issuer)
        frn_der_put(d, name, sizeof name);
    else
        frn_der_put(d, no_name, sizeof no_name);
    part = d->at;
    frn_der_time(d, c->to_ms);
    frn_der_time(d, c->from_ms);
    frn_der_wrap(d, 0x30, part);
    frn_der_put(d, name, sizeof name);
    frn_der_put(d, frn_ecdsa_sha256, sizeof frn_ecdsa_sha256);
    part = d->at;
    frn_der_put(d, c->serial + 1, FRN_SERIAL_BYTES - 1);
    frn_der_byte(d, (c->serial[0] & 0x3fu) | 0x40u);    /* positive, and always of this length */
    frn_der_wrap(d, 0x02, part);
    frn_der_put(d, version_3, sizeof version_3);
    frn_der_wrap(d, 0x30, end);
}

static int frn_cert_sign(frn_der *out, const frn_der *body, frn_key *issuer, frn_plat *plat)
{
    unsigned char hash[32], signature[FRN_SIGNATURE_BYTES_MAX];
    size_t        size = 0;
    int           rc;

    rc = frn_mbed_sha256(body->bytes + body->at, sizeof body->bytes - body->at, hash);
    if (rc == 0)
        rc = frn_mbed_sign(&issuer->pk, hash, signature, &size, plat);
    if (rc != 0)
        return rc;
    frn_der_init(out);
    frn_der_put(out, signature, size);
    frn_der_byte(out, 0);
    frn_der_wrap(out, 0x03, sizeof out->bytes);
    frn_der_put(out, frn_ecdsa_sha256, sizeof frn_ecdsa_sha256);
    frn_der_put(out, body->bytes + body->at, sizeof body->bytes - body->at);
    frn_der_wrap(out, 0x30, sizeof out->bytes);
    return body->full || out->full ? MBEDTLS_ERR_X509_BUFFER_TOO_SMALL : 0;
}

/* The authority's certificate: each field follows from the key, and so does the signature. */
static int frn_cert_of_authority(frn_der *out, frn_key *key, frn_plat *plat)
{
    frn_cert c;
    frn_der  body;

    memset(&c, 0, sizeof c);
    c.subject = c.issuer = key;
    c.uri = FRN_URI_CLUSTER;
    c.from_ms = frn_days(2020, 1, 1) * FRN_DAY_MS;
    c.to_ms = frn_days(2100, 1, 1) * FRN_DAY_MS;
    memcpy(c.serial, key->hash, sizeof c.serial);
    frn_der_init(&body);
    frn_cert_extensions(&body, &c);
    frn_cert_body(&body, &c);
    return frn_cert_sign(out, &body, key, plat);
}

static int frn_cert_of_host(frn_der *out, const frn_key *host, frn_key *authority,
                            const char *host_id, int64_t from_ms, int64_t to_ms, frn_plat *plat)
{
    char     uri[sizeof FRN_URI_HOST + FRN_HOST_ID_SIZE];
    frn_cert c;
    frn_der  body;

    memset(&c, 0, sizeof c);
    (void)snprintf(uri, sizeof uri, FRN_URI_HOST "%s", host_id);
    c.subject = host;
    c.issuer = authority;
    c.uri = uri;
    c.from_ms = from_ms;
    c.to_ms = to_ms;
    if (!frn_plat_random(plat, c.serial, sizeof c.serial))
        return MBEDTLS_ERR_ENTROPY_SOURCE_FAILED;
    frn_der_init(&body);
    frn_cert_extensions(&body, &c);
    frn_cert_body(&body, &c);
    return frn_cert_sign(out, &body, authority, plat);
}

/* Takes a certificate into a list, and lets its key and the secret one work once: mbedTLS 2.28
 * fills tables of a key when it is used first, which two threads must not do at once. */
static int frn_cert_take(mbedtls_x509_crt *list, const frn_der *der, frn_key *key, frn_plat *plat)
{
    unsigned char     hash[32], signature[FRN_SIGNATURE_BYTES_MAX];
    size_t            size = 0;
    mbedtls_x509_crt *crt = list;
    int rc = mbedtls_x509_crt_parse_der(list, der->bytes + der->at, sizeof der->bytes - der->at);

    if (rc == 0)
        rc = frn_mbed_sha256(der->bytes + der->at, sizeof der->bytes - der->at, hash);
    if (rc == 0)
        rc = frn_mbed_sign(&key->pk, hash, signature, &size, plat);
    if (rc != 0)
        return rc;
    while (crt->next != NULL)
        crt = crt->next;
    return mbedtls_pk_verify(&crt->pk, MBEDTLS_MD_SHA256, hash, sizeof hash, signature, size);
}

// >> 509 security.trust | needs: 506
//    Who is trusted, and who this host is.

enum { FRN_KEYS_MAX = 8 };          /* a stranger's certificate is tried with each of them */

typedef struct frn_trust {          /* immutable; identities keep it */
    frn_mem         *mem;
    frn_plat        *plat;
    uint32_t         refs, keys;
    frn_key          signer;        /* of the primary key */
    mbedtls_x509_crt roots;         /* primary first */
} frn_trust;

static void frn_trust_drop(frn_trust *t)
{
    if (__atomic_sub_fetch(&t->refs, 1u, __ATOMIC_ACQ_REL) != 0)
        return;
    mbedtls_x509_crt_free(&t->roots);
    frn_mem_free(t->mem, t, sizeof *t);
}

static void frn_trust_free(frn_trust *t)    /* identities may still live: the secret does not */
{
    if (t == NULL)
        return;
    frn_key_free(&t->signer);
    frn_trust_drop(t);
}

static bool frn_trust_has(const frn_trust *t, const frn_der *der)
{
    size_t                  size = sizeof der->bytes - der->at;
    const mbedtls_x509_crt *crt = t->keys == 0 ? NULL : &t->roots;

    while (crt != NULL && (crt->raw.len != size ||
                           memcmp(crt->raw.p, der->bytes + der->at, size) != 0))
        crt = crt->next;
    return crt != NULL;
}

/* Returns a code of mbedTLS. A key that is there already counts once. */
static int frn_trust_add(frn_trust *t, const char *secret, size_t size)
{
    frn_key  other, *key;
    frn_der  der;
    int      rc;

    memset(&other, 0, sizeof other);
    frn_key_init(&other);
    key = t->keys == 0 ? &t->signer : &other;
    rc = frn_key_derive(key, secret, size, t->plat);
    if (rc == 0)
        rc = frn_cert_of_authority(&der, key, t->plat);
    if (rc == 0 && !frn_trust_has(t, &der)) {
        rc = frn_cert_take(&t->roots, &der, key, t->plat);
        t->keys++;
    }
    frn_key_free(&other);
    return rc;
}

/* Of one key: NULL = it is fine, else why not. */
static const char *frn_secret_fault(const char *secret, size_t size, char text[80])
{
    if (size < FRN_SECRET_BYTES_MIN) {
        (void)snprintf(text, 80, "has %u bytes, %d is the least", (unsigned)size,
                       (int)FRN_SECRET_BYTES_MIN);
        return text;
    }
    if (memchr(secret, '\n', size) != NULL || memchr(secret, '\r', size) != NULL)
        return "has a line break in it, so it could never be listed as an old one";
    return NULL;
}

static francis_result frn_trust_old(frn_trust *t, const char *old, char *error, size_t error_size)
{
    unsigned number = 1;
    int      rc = 0;

    for (; *old != '\0' && rc == 0; number++) {
        char        text[80];
        const char *fault;
        size_t      size = strcspn(old, "\r\n");

        fault = frn_secret_fault(old, size, text);
        if (t->keys == FRN_KEYS_MAX)
            fault = "is one too many: 8 keys in all are the most";
        if (fault != NULL) {
            (void)snprintf(error, error_size, "cluster_keys_old: key %u %s", number, fault);
            return FRANCIS_ERR_INVALID;
        }
        rc = frn_trust_add(t, old, size);
        old += size;
        old += strspn(old, "\r\n");
    }
    return rc == 0 ? FRANCIS_OK : frn_mbed_result(rc, error, error_size);
}

static francis_result frn_trust_new(frn_mem *mem, frn_plat *plat, const char *key, const char *old,
                                    frn_trust **out, char *error, size_t error_size)
{
    char           text[80];
    const char    *fault = key == NULL ? "is missing" : frn_secret_fault(key, strlen(key), text);
    frn_trust     *t;
    francis_result r = FRANCIS_OK;
    int            rc;

    *out = NULL;
    if (fault != NULL) {
        (void)snprintf(error, error_size, "cluster_key %s", fault);
        return FRANCIS_ERR_INVALID;
    }
    t = (frn_trust *)frn_mem_alloc(mem, sizeof *t);
    if (t == NULL)
        return frn_mbed_result(MBEDTLS_ERR_SSL_ALLOC_FAILED, error, error_size);
    t->mem = mem;
    t->plat = plat;
    t->refs = 1;
    frn_key_init(&t->signer);
    mbedtls_x509_crt_init(&t->roots);
    rc = frn_mbed_start();
    if (rc == 0)
        rc = frn_trust_add(t, key, strlen(key));
    if (rc != 0)
        r = frn_mbed_result(rc, error, error_size);
    else if (old != NULL)
        r = frn_trust_old(t, old + strspn(old, "\r\n"), error, error_size);
    if (r == FRANCIS_OK)
        *out = t;
    else
        frn_trust_free(t);
    return r;
}

#define FRN_ALPN_PEER "francis-peer/1"

enum {
    FRN_CLOCK_SLACK_MS = 5 * 60000      /* by which the clocks of two hosts may differ */
};

typedef struct frn_identity {
    frn_trust         *trust;
    uint32_t           refs;
    int64_t            renew_at_ms;
    frn_key            key;
    mbedtls_x509_crt   cert;
    const char        *protocols[2];    /* mbedTLS wants a list that it could change */
    mbedtls_ssl_config client, server;
} frn_identity;

static void frn_identity_keep(frn_identity *i)
{
    (void)__atomic_add_fetch(&i->refs, 1u, __ATOMIC_RELAXED);
}

static void frn_identity_drop(frn_identity *i)
{
    frn_trust *t;

    if (i == NULL || __atomic_sub_fetch(&i->refs, 1u, __ATOMIC_ACQ_REL) != 0)
        return;
    t = i->trust;
    mbedtls_ssl_config_free(&i->client);
    mbedtls_ssl_config_free(&i->server);
    mbedtls_x509_crt_free(&i->cert);
    frn_key_free(&i->key);
    frn_mem_free(t->mem, i, sizeof *i);
    frn_trust_drop(t);
}

/* Wall clock: before half of the lifetime. To be renewed, too, when the clock was set back since
 * the identity was made: for the others it may not be valid yet. */
static int64_t frn_identity_renew_at_ms(const frn_identity *i)
{
    return i->renew_at_ms;
}

static bool frn_host_id_fits(const char *id, size_t size)   /* it becomes the end of a URI */
{
    static const char allowed[] = "0123456789abcdefghijklmnopqrstuvwxyz"
                                  "ABCDEFGHIJKLMNOPQRSTUVWXYZ-._";
    size_t            i;

    for (i = 0; i < size; i++)
        if (id[i] == '\0' || strchr(allowed, id[i]) == NULL)
            return false;
    return size > 0 && size < FRN_HOST_ID_SIZE;
}

static int frn_identity_config(frn_identity *i, mbedtls_ssl_config *c, int role)
{
    int rc = mbedtls_ssl_config_defaults(c, role, MBEDTLS_SSL_TRANSPORT_STREAM,
                                         MBEDTLS_SSL_PRESET_DEFAULT);

    if (rc != 0)
        return rc;
    mbedtls_ssl_conf_rng(c, frn_mbed_random, i->trust->plat);
    mbedtls_ssl_conf_authmode(c, MBEDTLS_SSL_VERIFY_REQUIRED);
    mbedtls_ssl_conf_ca_chain(c, &i->trust->roots, NULL);
    mbedtls_ssl_conf_cert_profile(c, &mbedtls_x509_crt_profile_suiteb);
    mbedtls_ssl_conf_ciphersuites(c, frn_suites);
    frn_mbed_versions(c);
    frn_mbed_once(c);
    if (role == MBEDTLS_SSL_IS_SERVER)      /* all authorities have the same name */
        mbedtls_ssl_conf_cert_req_ca_list(c, MBEDTLS_SSL_CERT_REQ_CA_LIST_DISABLED);
    rc = mbedtls_ssl_conf_alpn_protocols(c, i->protocols);
    return rc != 0 ? rc : mbedtls_ssl_conf_own_cert(c, &i->cert, &i->key.pk);
}

static int frn_identity_make(frn_identity *i, const char *host_id, int64_t now_ms,
                             int64_t lifetime_ms)
{
    frn_trust *t = i->trust;
    frn_der    der;
    int        rc = frn_key_generate(&i->key, t->plat);

    if (rc == 0)
        rc = frn_cert_of_host(&der, &i->key, &t->signer, host_id, now_ms - FRN_CLOCK_SLACK_MS,
                              now_ms + lifetime_ms + FRN_CLOCK_SLACK_MS, t->plat);
    if (rc == 0)
        rc = frn_cert_take(&i->cert, &der, &i->key, t->plat);
    if (rc == 0)
        rc = frn_identity_config(i, &i->client, MBEDTLS_SSL_IS_CLIENT);
    if (rc == 0)
        rc = frn_identity_config(i, &i->server, MBEDTLS_SSL_IS_SERVER);
    return rc;
}

static francis_result frn_identity_new(frn_trust *t, const char *host_id, int64_t lifetime_ms,
                                       frn_identity **out, char *error, size_t error_size)
{
    int64_t       now_ms = frn_plat_wall_ms(t->plat);
    frn_identity *i;
    int           rc;

    *out = NULL;
    if (!frn_host_id_fits(host_id, strlen(host_id))) {
        (void)snprintf(error, error_size, "a host id is 1 to 63 of letters, digits, '-', '.', '_'");
        return FRANCIS_ERR_INVALID;
    }
    if (lifetime_ms <= 0 || lifetime_ms > FRANCIS_DAYS(365)) {
        (void)snprintf(error, error_size, "a certificate lives longer than 0, at most 365 days");
        return FRANCIS_ERR_INVALID;
    }
    i = (frn_identity *)frn_mem_alloc(t->mem, sizeof *i);
    if (i == NULL)
        return frn_mbed_result(MBEDTLS_ERR_SSL_ALLOC_FAILED, error, error_size);
    (void)__atomic_add_fetch(&t->refs, 1u, __ATOMIC_RELAXED);
    i->trust = t;
    i->refs = 1;
    i->renew_at_ms = now_ms + lifetime_ms * 2 / 5;
    i->protocols[0] = FRN_ALPN_PEER;
    frn_key_init(&i->key);
    mbedtls_x509_crt_init(&i->cert);
    mbedtls_ssl_config_init(&i->client);
    mbedtls_ssl_config_init(&i->server);
    rc = frn_identity_make(i, host_id, now_ms, lifetime_ms);
    if (rc == 0) {
        *out = i;
        return FRANCIS_OK;
    }
    frn_identity_drop(i);
    return frn_mbed_result(rc, error, error_size);
}

// >> 512 security.tls | needs: 509
//    One connection: its TLS, and the judgement of who is at the other end.

/* A handshake of ours takes less than 1.5 KiB each way. Without a bound a stranger could send many
 * certificates that all look like each other's issuer, and have each pair of them tried. */
enum { FRN_STRANGER_BYTES_MAX = 4096 };

typedef struct frn_tls {
    mbedtls_ssl_context  context, *ssl;     /* ssl = &context: some questions need it not const */
    frn_identity        *identity;
    void                *io;
    mbedtls_ssl_send_t  *send;
    mbedtls_ssl_recv_t  *recv;
    size_t               received;      /* while the peer was a stranger */
    bool                 server;
    bool                 pinned;
    char                 expected[FRN_HOST_ID_SIZE + 1];     /* cut, it is longer than any id */
    char                 peer[FRN_HOST_ID_SIZE];
    char                 fault[160];
} frn_tls;

static int frn_tls_send(void *user, const unsigned char *data, size_t size)
{
    frn_tls *t = (frn_tls *)user;
    return t->send(t->io, data, size);
}

static int frn_tls_recv(void *user, unsigned char *data, size_t size)
{
    frn_tls *t = (frn_tls *)user;
    int      n = t->recv(t->io, data, size);

    if (n <= 0 || frn_mbed_open(t->ssl))
        return n;
    t->received += (size_t)n;
    if (t->received <= FRN_STRANGER_BYTES_MAX)
        return n;
    (void)snprintf(t->fault, sizeof t->fault, "it sent more than %d bytes before it had shown who "
                   "it is", (int)FRN_STRANGER_BYTES_MAX);
    return MBEDTLS_ERR_SSL_INVALID_RECORD;
}

/* The one URI of a certificate; NULL = none, or several. */
static const mbedtls_x509_buf *frn_cert_only_uri(const mbedtls_x509_crt *crt)
{
    const mbedtls_x509_sequence *s = &crt->subject_alt_names;
    const mbedtls_x509_buf      *uri = NULL;

    for (; s != NULL; s = s->next) {
        if (s->buf.p == NULL || s->buf.tag != (MBEDTLS_ASN1_CONTEXT_SPECIFIC | 6))
            continue;
        if (uri != NULL)
            return NULL;
        uri = &s->buf;
    }
    return uri;
}

/* Puts the peer's id in place, or words what is wrong with its name. */
static bool frn_tls_judge_name(frn_tls *t, const mbedtls_x509_crt *crt)
{
    const size_t            prefix = sizeof FRN_URI_HOST - 1;
    const mbedtls_x509_buf *uri = frn_cert_only_uri(crt);
    const char             *id;

    if (uri == NULL || uri->len <= prefix || memcmp(uri->p, FRN_URI_HOST, prefix) != 0) {
        (void)snprintf(t->fault, sizeof t->fault, "its certificate does not name exactly one host");
        return false;
    }
    id = (const char *)uri->p + prefix;
    if (!frn_host_id_fits(id, uri->len - prefix)) {
        (void)snprintf(t->fault, sizeof t->fault, "its certificate names a host by no valid id");
        return false;
    }
    memcpy(t->peer, id, uri->len - prefix);
    t->peer[uri->len - prefix] = '\0';
    if (!t->pinned || strcmp(t->peer, t->expected) == 0)
        return true;
    (void)snprintf(t->fault, sizeof t->fault, "it is host %s, expected was %s", t->peer,
                   t->expected);
    return false;
}

static bool frn_tls_judge_use(frn_tls *t, const mbedtls_x509_crt *crt)
{
    const char *role = t->server ? MBEDTLS_OID_CLIENT_AUTH : MBEDTLS_OID_SERVER_AUTH;

    if (!frn_mbed_has_extension(crt, MBEDTLS_X509_EXT_KEY_USAGE) ||
        !frn_mbed_has_extension(crt, MBEDTLS_X509_EXT_EXTENDED_KEY_USAGE) ||
        mbedtls_x509_crt_check_key_usage(crt, MBEDTLS_X509_KU_DIGITAL_SIGNATURE) != 0 ||
        mbedtls_x509_crt_check_extended_key_usage(crt, role, strlen(role)) != 0) {
        (void)snprintf(t->fault, sizeof t->fault, "its certificate is not one for a %s",
                       t->server ? "client" : "server");
        return false;
    }
    return true;
}

static bool frn_tls_judge_time(frn_tls *t, const mbedtls_x509_crt *crt)
{
    int64_t now_ms = frn_plat_wall_ms(t->identity->trust->plat);
    int64_t early_ms = frn_x509_ms(&crt->valid_from) - now_ms;
    int64_t late_ms = now_ms - frn_x509_ms(&crt->valid_to);

    if (early_ms > 0)
        (void)snprintf(t->fault, sizeof t->fault, "its certificate begins in %lld s by the clock "
                       "of this host", (long long)(early_ms + 999) / 1000);
    else if (late_ms > 0)
        (void)snprintf(t->fault, sizeof t->fault, "its certificate ran out %lld s ago by the clock "
                       "of this host", (long long)late_ms / 1000);
    return early_ms <= 0 && late_ms <= 0;
}

static void frn_tls_not_trusted(frn_tls *t)
{
    (void)snprintf(t->fault, sizeof t->fault, "its certificate is signed with no key of this "
                   "cluster");
}

static bool frn_tls_judge(frn_tls *t, const mbedtls_x509_crt *crt, uint32_t flags)
{
    const char *protocol = mbedtls_ssl_get_alpn_protocol(t->ssl);

    if ((flags & MBEDTLS_X509_BADCERT_NOT_TRUSTED) != 0)
        frn_tls_not_trusted(t);
    else if (flags != 0)
        (void)snprintf(t->fault, sizeof t->fault, "its certificate is of another kind (0x%x)",
                       (unsigned)flags);
    else if (protocol == NULL || strcmp(protocol, FRN_ALPN_PEER) != 0)
        (void)snprintf(t->fault, sizeof t->fault, "it does not speak " FRN_ALPN_PEER);
    else
        return frn_tls_judge_use(t, crt) && frn_tls_judge_time(t, crt) &&
               frn_tls_judge_name(t, crt);
    return false;
}

/* Called for each certificate of the chain, the authority's first. mbedTLS judges time by a clock
 * that is not the platform's. The authority's own dates are constants that say nothing: it is
 * trusted for as long as its key is configured, also by a device that believes to be in 1970. */
static int frn_tls_verify(void *user, mbedtls_x509_crt *crt, int depth, uint32_t *flags)
{
    frn_tls *t = (frn_tls *)user;

    *flags &= ~(uint32_t)(MBEDTLS_X509_BADCERT_EXPIRED | MBEDTLS_X509_BADCERT_FUTURE);
    if (depth > 1 || (depth == 1 && *flags != 0)) {     /* authorities sign hosts, nobody else */
        frn_tls_not_trusted(t);
        *flags |= MBEDTLS_X509_BADCERT_NOT_TRUSTED;
    } else if (depth == 0 && !frn_tls_judge(t, crt, *flags)) {
        *flags |= MBEDTLS_X509_BADCERT_OTHER;
    }
    return 0;
}

static void frn_tls_free(frn_tls *t)
{
    frn_identity *i;

    if (t == NULL)
        return;
    i = t->identity;
    mbedtls_ssl_free(t->ssl);
    frn_mem_free(i->trust->mem, t, sizeof *t);
    frn_identity_drop(i);
}

/* TLS of one connection over io; it keeps the identity. expected_id: the only host that the peer
 * may be; NULL = any. Returns NULL without memory. */
static frn_tls *frn_tls_new(frn_identity *i, bool server, const char *expected_id, void *io,
                            mbedtls_ssl_send_t *send, mbedtls_ssl_recv_t *recv)
{
    frn_tls *t = (frn_tls *)frn_mem_alloc(i->trust->mem, sizeof *t);

    if (t == NULL)
        return NULL;
    frn_identity_keep(i);
    t->identity = i;
    t->ssl = &t->context;
    t->io = io;
    t->send = send;
    t->recv = recv;
    t->server = server;
    t->pinned = expected_id != NULL;
    (void)snprintf(t->expected, sizeof t->expected, "%s", expected_id != NULL ? expected_id : "");
    mbedtls_ssl_init(t->ssl);
    mbedtls_ssl_set_verify(t->ssl, frn_tls_verify, t);
    mbedtls_ssl_set_bio(t->ssl, t, frn_tls_send, frn_tls_recv, NULL);
    if (mbedtls_ssl_setup(t->ssl, server ? &i->server : &i->client) == 0 &&
        (server || mbedtls_ssl_set_hostname(t->ssl, NULL) == 0))    /* names are judged above */
        return t;
    frn_tls_free(t);
    return NULL;
}

static mbedtls_ssl_context *frn_tls_ssl(frn_tls *t)
{
    return t->ssl;
}

static const char *frn_tls_peer(const frn_tls *t)   /* "" until the handshake is over */
{
    return frn_mbed_open(t->ssl) ? t->peer : "";
}

static const char *frn_tls_fault(const frn_tls *t)  /* why the peer was refused, "it ..."; or "" */
{
    uint32_t flags = mbedtls_ssl_get_verify_result(t->ssl);

    if (t->fault[0] == '\0' && flags != UINT32_MAX && (flags & MBEDTLS_X509_BADCERT_MISSING) != 0)
        return "it has no certificate";
    return t->fault;
}

FRANCIS_API francis_result francis_ca_pem(const char *cluster_key, char *pem_out, size_t pem_size)
{
    char     text[80];
    frn_plat plat;
    frn_key  key;
    frn_der  der;
    size_t   size = 0;
    int      rc;

    if (pem_out == NULL || pem_size == 0)
        return FRANCIS_ERR_INVALID;
    pem_out[0] = '\0';
    if (cluster_key == NULL || frn_secret_fault(cluster_key, strlen(cluster_key), text) != NULL)
        return FRANCIS_ERR_INVALID;
    memset(&plat, 0, sizeof plat);
    frn_key_init(&key);
    rc = frn_mbed_start();
    if (rc == 0)
        rc = frn_key_derive(&key, cluster_key, strlen(cluster_key), &plat);
    if (rc == 0)
        rc = frn_cert_of_authority(&der, &key, &plat);
    frn_key_free(&key);
    if (rc == 0)
        rc = mbedtls_pem_write_buffer("-----BEGIN CERTIFICATE-----\n",
                                      "-----END CERTIFICATE-----\n", der.bytes + der.at,
                                      sizeof der.bytes - der.at, (unsigned char *)pem_out, pem_size,
                                      &size);
    if (rc == 0)
        return FRANCIS_OK;
    pem_out[0] = '\0';
    return rc == MBEDTLS_ERR_BASE64_BUFFER_TOO_SMALL ? FRANCIS_ERR_TOO_LARGE
                                                     : frn_mbed_result(rc, text, sizeof text);
}

// >> 520 wire | needs: 210
//    Frames: what two hosts exchange inside TLS. A frame is a header of 8 bytes and a payload, all
//    integers big-endian: u16 size of the payload, u8 type, u8 flags, u32 lane. With its header it
//    fits into one TLS record. A lane is one call or one stream; those of the dialling side have
//    odd numbers, those of the accepting side even ones, rising and never used again; 0 is the
//    connection itself. The accepting side speaks first; the first frame of each side is HELLO.
//      HELLO   0 magic, version, limits, host id. GOAWAY in its place: not accepted
//      OPEN    l a call or stream begins: u32 size of the body (ffffffff = none), u16 size of the
//                head, u32 ms left (0 = for ever), then bytes of head and body
//      REPLY   l the answer begins: u32 size of the body, u16 size of the head, then bytes
//      DATA    l further bytes of what OPEN or REPLY began, or of the stream
//      RESET   l u8 reason, u32 result, then bytes of the runtime's; nothing follows either way
//      WINDOW  * u32 further bytes that may be sent. Credit counts the bytes of heads, bodies and
//                chunks, for each lane and for the connection
//      PING    0 8 bytes, which PONG brings back
//      GOAWAY  0 u32 last lane of the peer's that was accepted, u32 code; no further ones are
//    Flags: 1 END, the last frame of its direction (OPEN, REPLY, DATA); 2 a stream (OPEN, REPLY);
//    128 whoever does not know the type may ignore the frame. Anything else ends the connection.

enum {
    FRN_WIRE_VERSION  = 1,
    FRN_FRAME_HEADER  = 8,
    FRN_FRAME_MAX     = 16384,      /* with its header */
    FRN_FRAME_MIN     = 4096,       /* the smallest frame_max that a peer may announce */
    FRN_OPEN_FIXED    = 10,
    FRN_REPLY_FIXED   = 6,
    FRN_RESET_FIXED   = 5,
    FRN_RESET_WHY_MAX = 2048,       /* bytes of the runtime's in a RESET */
    FRN_HELLO_FIXED   = 29,
    FRN_HEAD_MAX      = 65535
};

#define FRN_LANE_LAST   UINT32_C(0xfff00000)    /* then another connection is made */
#define FRN_WIRE_MAGIC  UINT32_C(0x46524e31)
#define FRN_BODY_ABSENT UINT32_C(0xffffffff)

enum {
    FRN_FRAME_HELLO = 1, FRN_FRAME_OPEN, FRN_FRAME_REPLY, FRN_FRAME_DATA, FRN_FRAME_RESET,
    FRN_FRAME_WINDOW, FRN_FRAME_PING, FRN_FRAME_PONG, FRN_FRAME_GOAWAY
};

enum { FRN_FLAG_END = 1, FRN_FLAG_STREAM = 2, FRN_FLAG_OPTIONAL = 128 };

/* Reasons of a RESET. */
enum {
    FRN_RESET_CANCELLED = 1,        /* whoever began does not want it any more */
    FRN_RESET_REFUSED,              /* it has not run */
    FRN_RESET_FAILED                /* it may have */
};

/* Codes of a GOAWAY. */
enum {
    FRN_GOAWAY_CLOSE = 0,           /* nothing begins in either direction; then the end */
    FRN_GOAWAY_DRAIN = 1            /* the sender accepts nothing; it may still begin itself */
};

static void frn_wire_put16(unsigned char *p, uint32_t v)
{
    p[0] = (unsigned char)(v >> 8);
    p[1] = (unsigned char)v;
}

static void frn_wire_put32(unsigned char *p, uint32_t v)
{
    frn_wire_put16(p, v >> 16);
    frn_wire_put16(p + 2, v & 0xffff);
}

static void frn_wire_put64(unsigned char *p, uint64_t v)
{
    frn_wire_put32(p, (uint32_t)(v >> 32));
    frn_wire_put32(p + 4, (uint32_t)v);
}

static uint32_t frn_wire_get16(const unsigned char *p) { return (uint32_t)p[0] << 8 | p[1]; }

static uint32_t frn_wire_get32(const unsigned char *p)
{
    return frn_wire_get16(p) << 16 | frn_wire_get16(p + 2);
}

static uint64_t frn_wire_get64(const unsigned char *p)
{
    return (uint64_t)frn_wire_get32(p) << 32 | frn_wire_get32(p + 4);
}

typedef struct frn_frame {
    unsigned             type, flags;
    size_t               size;      /* of data */
    uint32_t             lane;
    const unsigned char *data;
} frn_frame;

static void frn_wire_header(unsigned char *p, unsigned type, unsigned flags, size_t size,
                            uint32_t lane)
{
    frn_wire_put16(p, (uint32_t)size);
    p[2] = (unsigned char)type;
    p[3] = (unsigned char)flags;
    frn_wire_put32(p + 4, lane);
}

static void frn_wire_frame(const unsigned char *p, frn_frame *f)    /* of its header */
{
    f->size = frn_wire_get16(p);
    f->type = p[2];
    f->flags = p[3];
    f->lane = frn_wire_get32(p + 4);
    f->data = p + FRN_FRAME_HEADER;
}

enum { FRN_LANE_NONE, FRN_LANE_SOME, FRN_LANE_ANY };

typedef struct frn_frame_rule {
    const char *name;
    size_t      min, max;           /* of the payload */
    unsigned    flags, lane;
} frn_frame_rule;

enum { FRN_PAYLOAD_MAX = FRN_FRAME_MAX - FRN_FRAME_HEADER };

static const frn_frame_rule frn_frame_rules[] = {
    { "0",      0, 0, 0, FRN_LANE_NONE },
    { "HELLO",  FRN_HELLO_FIXED, 1024, 0, FRN_LANE_NONE },
    { "OPEN",   FRN_OPEN_FIXED, FRN_PAYLOAD_MAX, FRN_FLAG_END | FRN_FLAG_STREAM, FRN_LANE_SOME },
    { "REPLY",  FRN_REPLY_FIXED, FRN_PAYLOAD_MAX, FRN_FLAG_END | FRN_FLAG_STREAM, FRN_LANE_SOME },
    { "DATA",   0, FRN_PAYLOAD_MAX, FRN_FLAG_END, FRN_LANE_SOME },
    { "RESET",  FRN_RESET_FIXED, FRN_RESET_FIXED + FRN_RESET_WHY_MAX, 0, FRN_LANE_SOME },
    { "WINDOW", 4, 4, 0, FRN_LANE_ANY },
    { "PING",   8, 8, 0, FRN_LANE_NONE },
    { "PONG",   8, 8, 0, FRN_LANE_NONE },
    { "GOAWAY", 8, 8, 0, FRN_LANE_NONE }
};

static bool frn_wire_known(unsigned type) { return type > 0 && type < FRN_COUNT(frn_frame_rules); }

/* What is wrong with a frame by its header alone; NULL = nothing. Whatever its type, its payload
 * is no larger than a buffer that is there already. */
static const char *frn_wire_fault(const frn_frame *f)
{
    const frn_frame_rule *rule;

    if (f->size > FRN_PAYLOAD_MAX)
        return "is too large";
    if (!frn_wire_known(f->type))
        return (f->flags & FRN_FLAG_OPTIONAL) != 0 ? NULL : "is of an unknown type";
    rule = &frn_frame_rules[f->type];
    if (f->size > rule->max)
        return "is too large";
    if (f->size < rule->min)
        return "is too short";
    if ((f->flags & ~(rule->flags | (unsigned)FRN_FLAG_OPTIONAL)) != 0)
        return "has unknown flags";
    if ((rule->lane == FRN_LANE_NONE && f->lane != 0)
        || (rule->lane == FRN_LANE_SOME && f->lane == 0))
        return "belongs to the wrong lane";
    return NULL;
}

typedef struct frn_hello {
    uint32_t version, streams_max, message_max, lane_credit, link_credit, frame_max;
    char     id[FRN_HOST_ID_SIZE];
} frn_hello;

static size_t frn_wire_put_hello(unsigned char *p, const frn_hello *h)
{
    size_t size = strlen(h->id);

    frn_wire_put32(p, FRN_WIRE_MAGIC);
    frn_wire_put32(p + 4, h->version);
    frn_wire_put32(p + 8, h->streams_max);
    frn_wire_put32(p + 12, h->message_max);
    frn_wire_put32(p + 16, h->lane_credit);
    frn_wire_put32(p + 20, h->link_credit);
    frn_wire_put32(p + 24, h->frame_max);
    p[28] = (unsigned char)size;
    memcpy(p + FRN_HELLO_FIXED, h->id, size);
    return FRN_HELLO_FIXED + size;
}

/* What follows the id belongs to later versions. */
static const char *frn_wire_get_hello(const frn_frame *f, frn_hello *h)
{
    const unsigned char *p = f->data;
    size_t               size = p[28];

    if (frn_wire_get32(p) != FRN_WIRE_MAGIC)
        return "does not begin as it should";
    h->version = frn_wire_get32(p + 4);
    h->streams_max = frn_wire_get32(p + 8);
    h->message_max = frn_wire_get32(p + 12);
    h->lane_credit = frn_wire_get32(p + 16);
    h->link_credit = frn_wire_get32(p + 20);
    h->frame_max = frn_wire_get32(p + 24);
    if (h->version < FRN_WIRE_VERSION)
        return "is of an unknown version";
    if (size == 0 || size >= sizeof h->id || size > f->size - FRN_HELLO_FIXED
        || memchr(p + FRN_HELLO_FIXED, 0, size) != NULL)
        return "has a damaged id";
    if (h->frame_max < FRN_FRAME_MIN || h->lane_credit > INT32_MAX || h->link_credit > INT32_MAX
        || h->lane_credit < FRN_FRAME_MIN || h->link_credit < FRN_FRAME_MIN)
        return "has impossible limits";
    memcpy(h->id, p + FRN_HELLO_FIXED, size);
    h->id[size] = '\0';
    return NULL;
}

// >> 540 net | needs: 210-270 500 520 | locks: net
//    Connections to other hosts, one for each of them. A call is a message there and one back, a
//    stream has chunks both ways; either is a lane. Everything is done by frn_net_step, which waits
//    for nothing, and by whoever calls in: what he sends goes to the socket at once if that takes
//    it. What comes is told by events, which the owner takes and frees. The lock of the host may
//    be held when calling in; the net calls nobody but wake() and watch().
//    frn_net        one for each host: the listening socket, connections, peers, lanes, events
//    frn_net_peer   another host: its connection, what waits for one, how dialling goes
//    frn_link       a connection. It ends in frn_net_step only, so a descriptor in poll() stays
//    frn_lane       a call or a stream, ours or the peer's; known by its handle (or token)
//    Of two connections that are dialled at once the one of the smaller host id lives: the host
//    with the smaller id answers the other one (HELLO) only if its own comes to nothing; the host
//    with the larger one gives up its own before it answers. So no frame but HELLO is ever sent on
//    one that is given up. What a lost connection means for a call: if its last byte was not given
//    to TLS, or GOAWAY says so, it has not run (sent = false).

enum {
    FRN_LANE_CREDIT   = 512 * 1024, /* of each lane and of a connection, both ways */
    FRN_LINK_CREDIT   = 768 * 1024,
    FRN_LINK_RESERVE  = 64 * 1024,  /* of it, not for chunks: calls pass readers that are slow */
    FRN_HELD_MAX      = 15 * 1024 * 1024,   /* chunks that nobody has read, of a connection */
    FRN_CHUNKS_BYTES  = 64 * 1024,  /* what a stream takes before its peer has credit */
    FRN_NET_PASS      = 64 * 1024,  /* read or written in one go, before others have their turn */
    FRN_NET_WIRE      = 32 * 1024,
    FRN_NET_EVENTS    = 16384,      /* that nobody has taken: nothing more is read */
    FRN_NET_ADDRS     = 4,          /* of one host name */
    FRN_NET_REFUSALS  = 32,
    FRN_NET_ACCEPTS   = 16,         /* in one pass */
    FRN_NET_MANY      = 4,          /* calls that are not answered, from which on others may wait */
    FRN_NET_TEXT      = 160,
    FRN_LANES_MAX     = 100000      /* at a time, whatever the peer takes */
};

typedef enum frn_net_kind {
    FRN_NET_REQUEST,                /* handle: a token for frn_net_answer */
    FRN_NET_REPLY,                  /* of our call */
    FRN_NET_FAILED,                 /* our call or stream came to nothing: sent, result, text */
    FRN_NET_CANCELLED,              /* who asked does not wait any more, or is gone (UNKNOWN) */
    FRN_NET_STREAM,                 /* one was opened: head; handle: a token for all functions */
    FRN_NET_HEAD,                   /* of the answer to our stream */
    FRN_NET_CHUNK,                  /* body; say frn_net_stream_consumed when it is read */
    FRN_NET_END,                    /* no further chunks come. Never without the peer saying so */
    FRN_NET_WRITABLE,               /* after a frn_net_stream_write that did not take all */
    FRN_NET_RESET,                  /* the stream was broken off: head = why, result, text */
    FRN_NET_PEER_UP,                /* answers to frn_net_ping; handle is 0 */
    FRN_NET_PEER_DOWN
} frn_net_kind;

typedef struct frn_net_event {
    struct frn_net_event *next;
    frn_net_kind   kind;
    uint64_t       handle;
    char           peer[FRN_HOST_ID_SIZE];
    frn_buf       *head, *body;     /* the event's own; NULL = absent */
    bool           sent;            /* FAILED: it may have run */
    francis_result result;
    int64_t        deadline_ns;     /* REQUEST: what the caller waits for at most; FRN_NEVER */
    char           text[FRN_NET_TEXT];
} frn_net_event;

typedef struct frn_net_desc {
    frn_mem    *mem;
    frn_plat   *plat;
    frn_logger *log;
    const char *bind_address;       /* host:port; port 0 = any; NULL = does not listen */
    uint32_t    message_bytes_max;  /* a body; 4 MiB */
    uint32_t    streams_max;        /* calls and streams that a peer may have open; 512 */
    uint32_t    connections_max;    /* 1024 */
    uint32_t    handshakes_max;     /* incoming ones that are not authenticated yet; 64 */
    int64_t     handshake_timeout_ms;   /* 10 s */
    int64_t     keepalive_ms;       /* 10 s */
    int64_t     idle_close_ms;      /* 60 s */
    int64_t     connect_timeout_ms; /* 5 s */
    bool        threads;            /* names are resolved by a thread; else whoever asks waits */
    void      (*wake)(void *user);  /* frn_net_step is due; under the net's lock, any thread */
    void      (*watch)(void *user, int fd, bool read, bool write, bool gone);   /* NULL, or told
                                       what is polled; under the net's lock, any thread */
    void       *user;
} frn_net_desc;

typedef struct frn_net_stats {
    uint64_t connections;           /* open now */
    uint64_t connected, reconnects; /* opened so far; of these to a peer seen before */
    uint64_t handshakes_failed;
    uint64_t frames_in, frames_out, frames_refused;
    uint64_t bytes_in, bytes_out;   /* of TLS */
} frn_net_stats;

enum { FRN_TIMER_LINK, FRN_TIMER_LANE, FRN_TIMER_PEER, FRN_TIMER_NET };

typedef struct frn_net_timer {
    frn_timer timer;
    int       kind;                 /* what it lies in */
} frn_net_timer;

typedef struct frn_addr {
    struct sockaddr_storage sa;
    socklen_t               size;
} frn_addr;

typedef struct frn_net      frn_net;
typedef struct frn_net_peer frn_net_peer;
typedef struct frn_link     frn_link;

typedef enum frn_lane_out {
    FRN_OUT_NONE,                   /* nothing to send: a call that is not answered yet */
    FRN_OUT_START,                  /* OPEN or REPLY is next */
    FRN_OUT_BODY,                   /* and what did not fit into it */
    FRN_OUT_CHUNKS,
    FRN_OUT_END                     /* the frame with END has been formed */
} frn_lane_out;

typedef struct frn_lane {
    frn_node       by_id;           /* link->ids, once it has an id */
    frn_node       by_handle;       /* net->lanes, while named */
    frn_list       all;             /* link->all, or peer->waiting while link is NULL */
    frn_list       ready;           /* link->ready or ->parked: something to send, and credit */
    frn_list       control;         /* link->control: owes a RESET or a WINDOW */
    frn_net_timer  timer;           /* the deadline */
    frn_net       *net;
    frn_link      *link;
    uint64_t       handle;
    uint32_t       id;              /* 0 = no frame has been formed yet */
    int64_t        deadline_ns;
    bool           ours, stream, named;
    bool           headed;          /* a stream: it is too late for a head */
    uint64_t       record;          /* with it the peer has what it needs to begin */
    bool           told;            /* the owner has had an event of it: REQUEST, STREAM */
    frn_net_event *end;             /* the event that ends it; there from the start */
    /* out */
    frn_lane_out   out;
    frn_buf       *head, *body;
    size_t         at, size;        /* in both */
    int64_t        credit;          /* bytes that the peer takes */
    unsigned char *chunks;          /* a ring of FRN_CHUNKS_BYTES, once there was something */
    size_t         chunks_at, chunks_size;
    bool           chunks_end;      /* no more come */
    frn_net_event *writable;        /* the writer waits for it */
    /* in */
    bool           in_start, in_end;
    frn_buf       *in_head, *in_body;
    size_t         in_at, in_head_size, in_body_size;
    int64_t        in_credit;       /* bytes that the peer may still send */
    size_t         owed;            /* taken, and not given back as credit yet */
    size_t         unread;          /* chunks that the owner has not consumed */
    /* RESET that has to be sent; the lane is nobody's any more */
    bool           reset, window;
    unsigned       reset_reason;
    francis_result reset_result;
    frn_buf       *reset_why;
} frn_lane;

typedef enum frn_link_state {
    FRN_LINK_CONNECTING,            /* TCP */
    FRN_LINK_SHAKING,               /* TLS */
    FRN_LINK_GREETING,              /* authenticated; the peer's HELLO has not come */
    FRN_LINK_OPEN,
    FRN_LINK_OVER                   /* in net->over, until the next step */
} frn_link_state;

typedef struct frn_refusal {
    uint32_t       id;
    francis_result result;
} frn_refusal;

struct frn_link {
    frn_list       all;             /* net->links, or ->over */
    frn_list       dirty;           /* net->dirty: has something to send, and was told to wait */
    frn_list       of_peer;         /* peer->links */
    frn_net_timer  timer;
    frn_net       *net;
    frn_net_peer  *peer;            /* NULL = an incoming one that is not authenticated */
    frn_tls       *tls;
    int            fd, error;       /* errno of its last failure */
    frn_link_state state, was;      /* was: before it was over */
    francis_result result;          /* of what waited for it */
    bool           dialled;         /* by us */
    bool           busy;            /* a thread is in its handshake, without the lock */
    bool           greeted;         /* our HELLO is on its way */
    bool           held;            /* incoming, gets HELLO only if ours comes to nothing */
    bool           counted;         /* among net->shaking */
    bool           heard;           /* something has come */
    int            poll_index;
    bool           read, write;     /* what it is polled for */
    bool           shake_write;
    char           remote[64];      /* for the log */
    char           reason[FRN_NET_TEXT];
    bool           quiet;           /* it ended as it should */
    /* in */
    unsigned char *part;            /* FRN_FRAME_MAX bytes: the beginning of a frame; or NULL */
    size_t         part_size, pass;
    bool           dry;             /* the socket has no more for now */
    int64_t        in_ns, used_ns;  /* something came; the last lane ended */
    int64_t        in_credit;
    size_t         owed, unread, kept;  /* kept: of unread, not given back */
    uint32_t       last_in;         /* the newest lane of the peer's */
    uint32_t       theirs, ours;    /* open lanes */
    /* out */
    size_t         record;          /* size of the record that TLS has and the kernel has not */
    uint64_t       records;         /* that the kernel has */
    size_t         record_max;
    bool           more;            /* is dirty since others should have their turn */
    size_t         gathered;        /* bytes of messages that wait to share a record */
    int64_t        blocked_ns;      /* since when; 0 = it is not */
    bool           hello_due, ping_due, pong_due, goaway_due, window_due;
    uint64_t       pong;
    int            pings;           /* without an answer */
    int64_t        credit;
    uint32_t       next_id;
    uint32_t       streams_max, message_max, lane_credit;   /* the peer's */
    frn_refusal    refusals[FRN_NET_REFUSALS];
    size_t         refusals_count;
    bool           goaway_sent, goaway_got;
    bool           closing;         /* nothing begins any more, either way */
    uint32_t       goaway_code;
    frn_list       ready, parked, control;
    frn_list       lanes;
    frn_map        ids;
};

struct frn_net_peer {
    frn_node      node;             /* net->peers */
    frn_list      resolve;          /* net->resolve */
    frn_net_timer timer;            /* the next attempt; the end of a ping */
    frn_net      *net;
    char          id[FRN_HOST_ID_SIZE];
    char          address[FRANCIS_NAME_SIZE];
    frn_link     *main;             /* open, and lanes may begin on it */
    frn_link     *dial;             /* ours, on its way */
    frn_link     *greeting;         /* theirs, has our HELLO */
    frn_list      waiting;          /* lanes of ours that no connection has taken */
    frn_list      links;            /* that point here */
    frn_addr      addrs[FRN_NET_ADDRS];
    int           addrs_count, addrs_next;
    bool          resolving, resolved;
    bool          seen;             /* was connected before */
    unsigned      fails;            /* attempts in a row */
    int64_t       retry_ns;         /* not before */
    francis_result why;             /* the last one failed so */
    char          why_text[FRN_NET_TEXT];
    bool          ping;
    int64_t       ping_until_ns;
    frn_net_event *ping_event;
};

struct frn_net {
    frn_net_desc     d;
    frn_mem         *mem;
    frn_plat        *plat;
    frn_logger      *log;
    pthread_mutex_t  lock;
    frn_identity    *identity;
    char             id[FRN_HOST_ID_SIZE];
    uint64_t         hash_seed, jitter;
    int              fd;            /* listens; -1 */
    int              poll_index;
    bool             listening;     /* it is polled */
    bool             draining, stopped;
    bool             woken, stepping;
    int64_t          now_ns;        /* of the last look at the clock */
    unsigned         hold;          /* frames are gathered */
    bool             held;          /* by frn_net_hold */
    int64_t          polled_ns;     /* when whoever polls will come by himself */
    int64_t          accept_ns;     /* not before */
    int64_t          told_ns;       /* the last log record of a kind that could come in floods */
    uint64_t         untold;
    frn_net_timer    timer;
    frn_heap         timers;
    size_t           timers_count;
    frn_list         links, over, dirty;
    size_t           links_count, shaking;
    frn_map          peers, lanes;
    uint64_t         next_token;
    frn_net_event   *first, **last;
    size_t           events;
    frn_net_stats    stats;
    /* the thread that resolves names */
    pthread_t        resolver;
    pthread_cond_t   resolve_cond;
    bool             resolver_runs, resolve_cond_made;
    frn_list         resolve;
    size_t           wire_at, wire_size;
    unsigned char    wire[FRN_NET_WIRE];        /* bytes of TLS of the link that is being read */
    unsigned char    plain[FRN_FRAME_MAX];      /* and its frames */
    unsigned char    form[FRN_FRAME_MAX];       /* frames that go into one record */
};

#define FRN_NET_DRAINS "the other host accepts no more calls"
#define FRN_NET_TOKEN (UINT64_C(1) << 63)       /* tokens have it, handles have not */

static void frn_net_lock(frn_net *n)   { (void)pthread_mutex_lock(&n->lock); }
static void frn_net_unlock(frn_net *n) { (void)pthread_mutex_unlock(&n->lock); }

static int64_t frn_net_now(frn_net *n) { return n->now_ns = frn_plat_now_ns(n->plat); }

static void frn_net_wake(frn_net *n)
{
    if (n->woken || n->stepping || n->d.wake == NULL)
        return;
    n->woken = true;
    n->d.wake(n->d.user);
}

/* Whoever waits in poll() for another instant or other descriptors has to look again; also in the
 * midst of a step, which another thread may do. */
static void frn_net_timer_set(frn_net *n, frn_net_timer *t, int64_t at_ns)
{
    bool ok = frn_heap_set(n->mem, &n->timers, &t->timer, at_ns);

    FRN_ASSERT(ok);                 /* frn_net_timer_add made room */
    (void)ok;
    if (at_ns < n->polled_ns)
        frn_net_wake(n);
}

static bool frn_net_timer_add(frn_net *n, frn_net_timer *t, int kind)
{
    if (!frn_heap_reserve(n->mem, &n->timers, n->timers_count + 1))
        return false;
    n->timers_count++;
    t->kind = kind;
    return true;
}

static void frn_net_timer_drop(frn_net *n, frn_net_timer *t)
{
    frn_heap_remove(&n->timers, &t->timer);
    n->timers_count--;
}

static uint64_t frn_net_mix(uint64_t v)
{
    v *= UINT64_C(0x9fb21c651e98df25);
    return v ^ (v >> 32);
}

static uint64_t frn_net_random(frn_net *n)      /* for jitter only */
{
    n->jitter = n->jitter * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return n->jitter >> 33;
}

static frn_net_event *frn_net_event_new(frn_net *n, frn_net_kind kind, uint64_t handle,
                                        const char *peer)
{
    frn_net_event *e = (frn_net_event *)frn_mem_alloc(n->mem, sizeof *e);

    if (e == NULL)
        return NULL;
    e->kind = kind;
    e->handle = handle;
    memcpy(e->peer, peer, strlen(peer) + 1);
    return e;
}

static void frn_net_event_drop(frn_net *n, frn_net_event *e)
{
    if (e == NULL)
        return;
    frn_buf_drop(n->mem, e->head);
    frn_buf_drop(n->mem, e->body);
    frn_mem_free(n->mem, e, sizeof *e);
}

static void frn_net_event_push(frn_net *n, frn_net_event *e)
{
    e->next = NULL;
    *n->last = e;
    n->last = &e->next;
    n->events++;
    frn_net_wake(n);
}

// >> 541 net.lane | needs: 540
//    What a call or a stream is made of, and how it ends.

static void frn_net_note(char *out, size_t size, const char *format, va_list args)
    FRANCIS_PRINTF(3, 0);

static void frn_net_note(char *out, size_t size, const char *format, va_list args)
{
    (void)vsnprintf(out, size, format, args);
}

static frn_lane *frn_lane_find(frn_net *n, uint64_t handle)
{
    frn_node *at = frn_map_first(&n->lanes, frn_net_mix(handle));

    for (; at != NULL; at = frn_map_next(at->next, frn_net_mix(handle))) {
        frn_lane *l = FRN_OF(frn_lane, by_handle, at);
        if (l->handle == handle)
            return l;
    }
    return NULL;
}

static frn_lane *frn_lane_by_id(const frn_link *c, uint32_t id)
{
    frn_node *at = frn_map_first(&c->ids, id >> 1);

    for (; at != NULL; at = frn_map_next(at->next, id >> 1)) {
        frn_lane *l = FRN_OF(frn_lane, by_id, at);
        if (l->id == id)
            return l;
    }
    return NULL;
}

static void frn_lane_set_id(frn_lane *l, uint32_t id)
{
    l->id = id;
    (void)frn_map_add(l->net->mem, &l->link->ids, &l->by_id, id >> 1);  /* it has slots already */
}

static void frn_lane_unname(frn_lane *l)    /* the owner does not know it any more */
{
    if (l->named)
        frn_map_remove(&l->net->lanes, &l->by_handle);
    l->named = false;
    frn_net_timer_set(l->net, &l->timer, FRN_NEVER);
}

static void frn_lane_drop_bytes(frn_lane *l)
{
    frn_mem *m = l->net->mem;

    frn_buf_drop(m, l->head);
    frn_buf_drop(m, l->body);
    frn_buf_drop(m, l->in_head);
    frn_buf_drop(m, l->in_body);
    frn_mem_free(m, l->chunks, FRN_CHUNKS_BYTES);
    l->head = l->body = l->in_head = l->in_body = NULL;
    l->chunks = NULL;
    l->chunks_size = 0;
}

/* With the event that ends it, so that this cannot fail later. */
static frn_lane *frn_lane_new(frn_net *n, uint64_t handle, const char *peer)
{
    frn_lane *l = (frn_lane *)frn_mem_alloc(n->mem, sizeof *l);

    if (l == NULL)
        return NULL;
    frn_list_init(&l->all);
    frn_list_init(&l->ready);
    frn_list_init(&l->control);
    l->net = n;
    l->handle = handle;
    l->deadline_ns = FRN_NEVER;
    l->end = frn_net_event_new(n, FRN_NET_FAILED, handle, peer);
    if (l->end != NULL && frn_net_timer_add(n, &l->timer, FRN_TIMER_LANE)) {
        if (frn_map_add(n->mem, &n->lanes, &l->by_handle, frn_net_mix(handle))) {
            l->named = true;
            return l;
        }
        frn_net_timer_drop(n, &l->timer);
    }
    frn_net_event_drop(n, l->end);
    frn_mem_free(n->mem, l, sizeof *l);
    return NULL;
}

/* Credit of the connection goes back. Not in small pieces, but never so late that the peer has
 * less than what is on its way to it. */
static void frn_link_owe(frn_link *c, size_t size)
{
    c->owed += size;
    if (c->owed >= FRN_LINK_CREDIT / 4 || (int64_t)c->owed >= c->in_credit)
        c->window_due = true;
}

/* Chunks that are read, or that nobody will read any more. */
static void frn_lane_read(frn_lane *l, size_t size)
{
    frn_link *c = l->link;
    size_t    back = size < c->kept ? size : c->kept;

    l->unread -= size;
    c->unread -= size;
    c->kept -= back;
    if (back > 0)
        frn_link_owe(c, back);
}

static void frn_lane_free(frn_lane *l)
{
    frn_net  *n = l->net;
    frn_link *c = l->link;

    frn_lane_unname(l);
    if (c != NULL) {
        if (l->unread > 0)
            frn_lane_read(l, l->unread);
        if (l->id != 0)
            frn_map_remove(&c->ids, &l->by_id);
        if (l->ours)
            c->ours--;
        else
            c->theirs--;
        c->used_ns = n->now_ns;
    }
    frn_list_remove(&l->all);
    frn_list_remove(&l->ready);
    frn_list_remove(&l->control);
    frn_lane_drop_bytes(l);
    frn_buf_drop(n->mem, l->reset_why);
    frn_net_event_drop(n, l->end);
    frn_net_event_drop(n, l->writable);
    frn_net_timer_drop(n, &l->timer);
    frn_mem_free(n->mem, l, sizeof *l);
}

/* Tells the owner how it ended; he does not know the lane afterwards. format NULL = no words. */
static void frn_lane_tell(frn_lane *l, frn_net_kind kind, francis_result result, bool sent,
                          const char *format, ...) FRANCIS_PRINTF(5, 6);

static void frn_lane_tell(frn_lane *l, frn_net_kind kind, francis_result result, bool sent,
                          const char *format, ...)
{
    frn_net_event *e = l->end;
    va_list        args;

    if (!l->named || e == NULL)
        return;
    l->end = NULL;
    frn_lane_unname(l);
    if (format != NULL) {
        va_start(args, format);
        frn_net_note(e->text, sizeof e->text, format, args);
        va_end(args);
    }
    e->kind = kind;
    e->result = result;
    e->sent = sent;
    frn_net_event_push(l->net, e);
}

/* Whether the peer may have begun with it: a stream begins with its first frame, a call when all
 * of it has come. A record that the kernel has not got in full can be read by nobody. */
static bool frn_lane_sent(const frn_lane *l)
{
    return l->record != 0 && l->record <= l->link->records;
}

/* The end of a lane for a reason that lies outside of it. */
static void frn_lane_lost(frn_lane *l, bool sent, francis_result result, const char *text)
{
    if (l->ours)
        frn_lane_tell(l, FRN_NET_FAILED, result, sent, "%s", text);
    else if (l->told)
        frn_lane_tell(l, l->stream ? FRN_NET_RESET : FRN_NET_CANCELLED, FRANCIS_ERR_UNKNOWN, true,
                      "%s", text);
    frn_lane_free(l);
}

/* A RESET goes out, unless the peer has heard nothing of the lane; nobody hears of it any more. */
static void frn_lane_reset(frn_lane *l, unsigned reason, francis_result result, frn_buf *why)
{
    frn_link *c = l->link;

    frn_lane_unname(l);
    if (c == NULL || l->id == 0 || c->state == FRN_LINK_OVER) {
        frn_lane_free(l);
        return;
    }
    frn_lane_drop_bytes(l);
    if (l->unread > 0)
        frn_lane_read(l, l->unread);
    frn_list_remove(&l->ready);
    frn_list_remove(&l->control);
    l->reset = true;
    l->reset_reason = reason;
    l->reset_result = result;
    l->reset_why = frn_buf_ref(why != NULL && why->size <= FRN_RESET_WHY_MAX ? why : NULL);
    frn_list_push(&c->control, &l->control);
}

/* Something to send, the credit of the connection apart. */
static bool frn_lane_pending(const frn_lane *l)
{
    switch (l->out) {
    case FRN_OUT_START: return l->at == l->size || l->credit > 0;
    case FRN_OUT_BODY: return l->credit > 0;
    case FRN_OUT_CHUNKS: return l->chunks_size > 0 ? l->credit > 0 : l->chunks_end;
    case FRN_OUT_NONE:
    case FRN_OUT_END: break;
    }
    return false;
}

static void frn_lane_ready(frn_lane *l)
{
    if (l->link != NULL && !l->reset && frn_list_empty(&l->ready) && frn_lane_pending(l))
        frn_list_push(&l->link->ready, &l->ready);
}

/* The message that begins a direction. */
static void frn_lane_start(frn_lane *l, frn_buf *head, frn_buf *body)
{
    l->head = frn_buf_ref(head);
    l->body = frn_buf_ref(body);
    l->at = 0;
    l->size = (head != NULL ? head->size : 0) + (body != NULL ? body->size : 0);
    l->out = FRN_OUT_START;
    frn_lane_ready(l);
}

// >> 542 net.link | needs: 541
//    Connections: their bytes (these four functions are all that knows sockets and TLS), frames on
//    their way out, and the mark that one is over. Nothing is freed here: frn_net_step does that.

enum { FRN_LINK_WAIT = 0, FRN_LINK_LOST = -1 };

static int frn_link_got(frn_link *c, int n, int wait)
{
    if (n >= 0)
        return n;
    if (n == -EAGAIN || n == -EWOULDBLOCK || n == -EINTR)
        return wait;
    c->error = -n;
    return MBEDTLS_ERR_SSL_INTERNAL_ERROR;
}

static int frn_link_send(void *io, const unsigned char *data, size_t size)
{
    frn_link *c = (frn_link *)io;
    int       r = frn_link_got(c, frn_plat_net_write(c->net->plat, c->fd, data, size),
                               MBEDTLS_ERR_SSL_WANT_WRITE);

    if (r > 0)
        (void)__atomic_add_fetch(&c->net->stats.bytes_out, (uint64_t)r, __ATOMIC_RELAXED);
    return r;
}

static int frn_link_recv_socket(frn_link *c, unsigned char *data, size_t size)
{
    int r = frn_link_got(c, frn_plat_net_read(c->net->plat, c->fd, data, size),
                         MBEDTLS_ERR_SSL_WANT_READ);

    c->dry = r < 0;
    c->heard = c->heard || r > 0;
    if (r > 0)
        (void)__atomic_add_fetch(&c->net->stats.bytes_in, (uint64_t)r, __ATOMIC_RELAXED);
    return r;
}

/* TLS asks for a record in two parts. Both, and more, come with one call of the kernel. In a
 * handshake the buffer, which the lock guards, is not ours. */
static int frn_link_recv(void *io, unsigned char *data, size_t size)
{
    frn_link *c = (frn_link *)io;
    frn_net  *n = c->net;

    if (c->busy)
        return frn_link_recv_socket(c, data, size);
    if (n->wire_at == n->wire_size) {
        int r;
        if (c->dry || c->pass >= FRN_NET_PASS)
            return MBEDTLS_ERR_SSL_WANT_READ;
        r = frn_link_recv_socket(c, n->wire, sizeof n->wire);
        if (r <= 0)
            return r;
        n->wire_at = 0;
        n->wire_size = (size_t)r;
        c->pass += (size_t)r;
        c->dry = n->wire_size < sizeof n->wire;     /* poll() tells when more comes */
    }
    if (size > n->wire_size - n->wire_at)
        size = n->wire_size - n->wire_at;
    memcpy(data, n->wire + n->wire_at, size);
    n->wire_at += size;
    return (int)size;
}

/* 1 = done. Without the lock, with c->busy. */
static int frn_link_shake(frn_link *c)
{
    int r = mbedtls_ssl_handshake(frn_tls_ssl(c->tls));

    c->shake_write = r == MBEDTLS_ERR_SSL_WANT_WRITE;
    if (r == 0)
        return 1;
    if (r == MBEDTLS_ERR_SSL_WANT_READ || r == MBEDTLS_ERR_SSL_WANT_WRITE)
        return FRN_LINK_WAIT;
    return r < FRN_LINK_LOST ? r : FRN_LINK_LOST;
}

#if defined(MBEDTLS_ERR_SSL_RECEIVED_NEW_SESSION_TICKET)
#define FRN_LINK_AGAIN(r) ((r) == MBEDTLS_ERR_SSL_RECEIVED_NEW_SESSION_TICKET)
#else
#define FRN_LINK_AGAIN(r) false
#endif

static int frn_link_read(frn_link *c, unsigned char *data, size_t size)
{
    int r = 0;

    do {
        r = mbedtls_ssl_read(frn_tls_ssl(c->tls), data, size);
    } while (FRN_LINK_AGAIN(r));
    if (r > 0)
        return r;
    if (r == MBEDTLS_ERR_SSL_WANT_READ || r == MBEDTLS_ERR_SSL_WANT_WRITE)
        return FRN_LINK_WAIT;
    return r < FRN_LINK_LOST ? r : FRN_LINK_LOST;
}

/* All of it or nothing: what TLS has formed waits there, and the same call is made again. */
static int frn_link_write(frn_link *c, const unsigned char *data, size_t size)
{
    int r = mbedtls_ssl_write(frn_tls_ssl(c->tls), data, size);

    if (r > 0)
        return (size_t)r == size ? r : FRN_LINK_LOST;
    if (r == MBEDTLS_ERR_SSL_WANT_READ || r == MBEDTLS_ERR_SSL_WANT_WRITE)
        return FRN_LINK_WAIT;
    return r < FRN_LINK_LOST ? r : FRN_LINK_LOST;
}

/* TLS's own goodbye, for whoever listens in between; the peers go by GOAWAY. */
static void frn_link_bye(frn_link *c) { (void)mbedtls_ssl_close_notify(frn_tls_ssl(c->tls)); }

/* What it is polled for follows from its state. */
static void frn_link_poll(frn_link *c)
{
    bool read = true, write = c->record > 0 || c->more;

    if (c->state == FRN_LINK_CONNECTING) {
        read = false;
        write = true;
    } else if (c->state == FRN_LINK_SHAKING) {
        write = c->shake_write;
        read = !write;
    } else if (c->net->events >= FRN_NET_EVENTS) {
        read = false;
    }
    if (c->state == FRN_LINK_OVER || (c->read == read && c->write == write))
        return;
    c->read = read;
    c->write = write;
    if (c->net->d.watch != NULL)
        c->net->d.watch(c->net->d.user, c->fd, read, write, false);
    else
        frn_net_wake(c->net);
}

/* The link is over; frn_net_step does what follows. quiet: nothing went wrong. */
static void frn_link_over(frn_link *c, bool quiet, const char *format, ...) FRANCIS_PRINTF(3, 4);

static void frn_link_over(frn_link *c, bool quiet, const char *format, ...)
{
    frn_net_peer *p = c->peer;
    va_list       args;

    if (c->state == FRN_LINK_OVER)
        return;
    c->was = c->state;
    c->state = FRN_LINK_OVER;
    c->quiet = quiet;
    va_start(args, format);
    frn_net_note(c->reason, sizeof c->reason, format, args);
    va_end(args);
    if (p != NULL && p->main == c)
        p->main = NULL;
    if (p != NULL && p->greeting == c)
        p->greeting = NULL;
    frn_list_remove(&c->dirty);
    frn_list_remove(&c->all);
    frn_list_push(&c->net->over, &c->all);
    frn_net_wake(c->net);
}

/* Why TLS has ended, in words. */
static const char *frn_link_fault(frn_link *c, int r, char text[FRN_NET_TEXT])
{
    const char *fault = c->tls != NULL ? frn_tls_fault(c->tls) : "";

    if (fault[0] != '\0')
        (void)snprintf(text, FRN_NET_TEXT, "%s", fault);
    else if (c->error != 0)
        (void)snprintf(text, FRN_NET_TEXT, "%s", strerror(c->error));
    else if (r == FRN_LINK_LOST || r == MBEDTLS_ERR_SSL_CONN_EOF
             || r == MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY)
        (void)snprintf(text, FRN_NET_TEXT, "the other side has closed it");
    else
        (void)snprintf(text, FRN_NET_TEXT, "TLS error -0x%04x", (unsigned)-r);
    return text;
}

static size_t frn_link_form_hello(frn_link *c, unsigned char *out)
{
    frn_net  *n = c->net;
    frn_hello h;
    size_t    size;

    memset(&h, 0, sizeof h);
    h.version = FRN_WIRE_VERSION;
    h.streams_max = n->d.streams_max;
    h.message_max = n->d.message_bytes_max;
    h.lane_credit = FRN_LANE_CREDIT;
    h.link_credit = FRN_LINK_CREDIT;
    h.frame_max = FRN_FRAME_MAX;
#if defined(MBEDTLS_SSL_IN_CONTENT_LEN)
    if (MBEDTLS_SSL_IN_CONTENT_LEN < FRN_FRAME_MAX)
        h.frame_max = MBEDTLS_SSL_IN_CONTENT_LEN;
#endif
    (void)snprintf(h.id, sizeof h.id, "%s", n->id);
    size = frn_wire_put_hello(out + FRN_FRAME_HEADER, &h);
    frn_wire_header(out, FRN_FRAME_HELLO, 0, size, 0);
    return FRN_FRAME_HEADER + size;
}

static size_t frn_link_form_word(unsigned char *out, unsigned type, uint64_t word)
{
    frn_wire_header(out, type, 0, 8, 0);
    frn_wire_put64(out + FRN_FRAME_HEADER, word);
    return FRN_FRAME_HEADER + 8;
}

static size_t frn_link_form_window(unsigned char *out, uint32_t lane, size_t *owed)
{
    frn_wire_header(out, FRN_FRAME_WINDOW, 0, 4, lane);
    frn_wire_put32(out + FRN_FRAME_HEADER, (uint32_t)*owed);
    *owed = 0;
    return FRN_FRAME_HEADER + 4;
}

static size_t frn_link_form_goaway(frn_link *c, unsigned char *out)
{
    frn_wire_header(out, FRN_FRAME_GOAWAY, 0, 8, 0);
    frn_wire_put32(out + FRN_FRAME_HEADER, c->last_in);
    frn_wire_put32(out + FRN_FRAME_HEADER + 4, c->goaway_code);
    c->goaway_sent = true;
    return FRN_FRAME_HEADER + 8;
}

static size_t frn_link_form_reset(unsigned char *out, uint32_t lane, unsigned reason,
                                  francis_result result, const frn_buf *why)
{
    size_t size = why != NULL ? why->size : 0;

    frn_wire_header(out, FRN_FRAME_RESET, 0, FRN_RESET_FIXED + size, lane);
    out[FRN_FRAME_HEADER] = (unsigned char)reason;
    frn_wire_put32(out + FRN_FRAME_HEADER + 1, (uint32_t)result);
    if (size > 0)
        memcpy(out + FRN_FRAME_HEADER + FRN_RESET_FIXED, FRN_TAIL(why), size);
    return FRN_FRAME_HEADER + FRN_RESET_FIXED + size;
}

enum { FRN_CONTROL_MAX = FRN_FRAME_HEADER + FRN_RESET_FIXED + FRN_RESET_WHY_MAX };

/* What lanes owe besides bytes. A lane whose RESET is formed is over. */
static size_t frn_link_form_control(frn_link *c, unsigned char *out, size_t room)
{
    size_t    used = 0;
    frn_list *item;

    for (; c->refusals_count > 0 && used + FRN_CONTROL_MAX <= room; c->net->stats.frames_out++) {
        const frn_refusal *r = &c->refusals[--c->refusals_count];
        used += frn_link_form_reset(out + used, r->id, FRN_RESET_REFUSED, r->result, NULL);
    }
    for (; used + FRN_CONTROL_MAX <= room && (item = frn_list_pop(&c->control)) != NULL;
         c->net->stats.frames_out++) {
        frn_lane *l = FRN_OF(frn_lane, control, item);
        if (l->reset) {
            used += frn_link_form_reset(out + used, l->id, l->reset_reason, l->reset_result,
                                        l->reset_why);
            frn_lane_free(l);
        } else {
            l->window = false;
            l->in_credit += (int64_t)l->owed;
            used += frn_link_form_window(out + used, l->id, &l->owed);
        }
    }
    return used;
}

static size_t frn_link_form_first(frn_link *c, unsigned char *out)
{
    size_t used = 0, before = 0;

    if (c->hello_due) {
        c->hello_due = false;
        used += frn_link_form_hello(c, out + used);
        c->net->stats.frames_out++;
    }
    if (c->goaway_due) {
        c->goaway_due = false;
        used += frn_link_form_goaway(c, out + used);
        c->net->stats.frames_out++;
    }
    before = used;
    if (c->pong_due)
        used += frn_link_form_word(out + used, FRN_FRAME_PONG, c->pong);
    if (c->ping_due)
        used += frn_link_form_word(out + used, FRN_FRAME_PING, 0);
    c->net->stats.frames_out += (used - before) / (FRN_FRAME_HEADER + 8);
    c->pong_due = c->ping_due = false;
    if (c->window_due && c->owed > 0) {
        c->in_credit += (int64_t)c->owed;
        used += frn_link_form_window(out + used, 0, &c->owed);
        c->net->stats.frames_out++;
    }
    c->window_due = false;
    return used;
}

/* Copies n bytes of head and body from where the lane is. */
static void frn_lane_copy(frn_lane *l, unsigned char *out, size_t n)
{
    size_t head = l->head != NULL ? l->head->size : 0, part = 0;

    if (n == 0)
        return;
    if (l->at < head) {
        part = n < head - l->at ? n : head - l->at;
        memcpy(out, (const unsigned char *)FRN_BYTES(l->head) + l->at, part);
    }
    if (n > part)
        memcpy(out + part, (const unsigned char *)FRN_BYTES(l->body) + (l->at + part - head),
               n - part);
    l->at += n;
}

static void frn_lane_copy_chunks(frn_lane *l, unsigned char *out, size_t n)
{
    size_t first = FRN_CHUNKS_BYTES - l->chunks_at;

    if (n == 0)
        return;
    if (first > n)
        first = n;
    memcpy(out, l->chunks + l->chunks_at, first);
    memcpy(out + first, l->chunks, n - first);
    l->chunks_at = (l->chunks_at + n) % FRN_CHUNKS_BYTES;
    l->chunks_size -= n;
}

/* The fixed part of OPEN or REPLY; its size. */
static size_t frn_lane_form_fixed(frn_lane *l, unsigned char *p)
{
    int64_t left = 0;

    frn_wire_put32(p, l->body != NULL ? (uint32_t)l->body->size : FRN_BODY_ABSENT);
    frn_wire_put16(p + 4, l->head != NULL ? (uint32_t)l->head->size : 0);
    if (!l->ours)
        return FRN_REPLY_FIXED;
    if (l->deadline_ns != FRN_NEVER) {
        left = (l->deadline_ns - frn_net_now(l->net)) / FRN_MS;
        left = left < 1 ? 1 : left > INT32_MAX ? INT32_MAX : left;
    }
    frn_wire_put32(p + 6, (uint32_t)left);
    return FRN_OPEN_FIXED;
}

/* How many bytes of its next frame a lane may send now. SIZE_MAX = it must wait. */
static size_t frn_lane_share(const frn_lane *l, size_t room)
{
    size_t  want = l->out == FRN_OUT_CHUNKS ? l->chunks_size : l->size - l->at, n = want;
    int64_t credit = l->link->credit - (l->out == FRN_OUT_CHUNKS ? FRN_LINK_RESERVE : 0);

    if (l->credit < credit)
        credit = l->credit;
    if (want > 0 && credit <= 0)
        return SIZE_MAX;
    if (n > room)
        n = room;
    return want > 0 && (int64_t)n > credit ? (size_t)credit : n;
}

/* Where a lane is after a frame with so many bytes; whether this was its last one. */
static bool frn_lane_advance(frn_lane *l)
{
    if (l->out != FRN_OUT_CHUNKS && l->at == l->size) {
        l->out = l->stream ? FRN_OUT_CHUNKS : FRN_OUT_END;
    } else if (l->out == FRN_OUT_START) {
        l->out = FRN_OUT_BODY;
    }
    if (l->out == FRN_OUT_CHUNKS && l->chunks_end && l->chunks_size == 0)
        l->out = FRN_OUT_END;
    return l->out == FRN_OUT_END;
}

/* One frame of a lane; 0 = the credit of the connection does not suffice. */
static size_t frn_lane_form(frn_lane *l, unsigned char *out, size_t room)
{
    bool          start = l->out == FRN_OUT_START;
    size_t        fixed = !start ? 0 : l->ours ? FRN_OPEN_FIXED : FRN_REPLY_FIXED;
    size_t        n = frn_lane_share(l, room - FRN_FRAME_HEADER - fixed);
    unsigned      type = !start ? FRN_FRAME_DATA : l->ours ? FRN_FRAME_OPEN : FRN_FRAME_REPLY;
    unsigned      flags = start && l->stream ? FRN_FLAG_STREAM : 0;
    unsigned char *data = out + FRN_FRAME_HEADER + fixed;

    if (n == SIZE_MAX)
        return 0;
    if (l->id == 0) {
        frn_lane_set_id(l, l->link->next_id);
        l->link->next_id += 2;
    }
    if (start)
        (void)frn_lane_form_fixed(l, out + FRN_FRAME_HEADER);
    if (l->out == FRN_OUT_CHUNKS)
        frn_lane_copy_chunks(l, data, n);
    else
        frn_lane_copy(l, data, n);
    l->credit -= (int64_t)n;
    l->link->credit -= (int64_t)n;
    if (frn_lane_advance(l))
        flags |= FRN_FLAG_END;
    if (l->record == 0 && (l->stream || l->out == FRN_OUT_END))
        l->record = l->link->records + 1;
    frn_wire_header(out, type, flags, fixed + n, l->id);
    l->net->stats.frames_out++;
    return FRN_FRAME_HEADER + fixed + n;
}

/* After a frame: its turn comes again, or it is over; and its writer is told of room. */
static void frn_lane_formed(frn_lane *l)
{
    if (l->writable != NULL && l->chunks_size <= FRN_CHUNKS_BYTES / 2) {
        frn_net_event_push(l->net, l->writable);
        l->writable = NULL;
    }
    if (l->out == FRN_OUT_END && (l->in_end || (!l->ours && !l->stream)))
        frn_lane_free(l);
    else
        frn_lane_ready(l);
}

enum { FRN_ROOM_MIN = 256 };        /* no frames of a few bytes at the end of a record */

/* Frames for one record: control frames, then of each lane one frame in turn. */
static size_t frn_link_form(frn_link *c, unsigned char *out, size_t room)
{
    size_t    used = frn_link_form_first(c, out), n;
    frn_list *item;

    used += frn_link_form_control(c, out + used, room - used);
    while (used + FRN_ROOM_MIN <= room && (item = frn_list_pop(&c->ready)) != NULL) {
        frn_lane *l = FRN_OF(frn_lane, ready, item);
        n = frn_lane_form(l, out + used, room - used);
        if (n == 0)
            frn_list_push(&c->parked, &l->ready);
        else
            frn_lane_formed(l);
        used += n;
    }
    return used;
}

/* Lanes that wait for a connection go to it as far as the peer takes them. */
static void frn_link_feed(frn_link *c)
{
    frn_net_peer *p = c->peer;

    if (c->next_id >= FRN_LANE_LAST && p->main == c) {
        p->main = NULL;             /* the numbers run out */
        c->closing = c->goaway_due = true;
        c->goaway_code = FRN_GOAWAY_CLOSE;
        frn_net_timer_set(c->net, &p->timer, 0);
    }
    while (p->main == c && !c->goaway_got && c->ours < c->streams_max
           && !frn_list_empty(&p->waiting)) {
        frn_lane *l = FRN_OF(frn_lane, all, p->waiting.next);
        if (l->body != NULL && l->body->size > c->message_max) {
            frn_lane_lost(l, false, FRANCIS_ERR_TOO_LARGE, "larger than what the other host takes");
            continue;
        }
        frn_list_remove(&l->all);
        frn_list_push(&c->lanes, &l->all);
        l->link = c;
        l->credit = c->lane_credit;
        c->ours++;
        frn_lane_ready(l);
    }
}

/* Writes until the socket takes no more, or others should have their turn. */
static void frn_link_flush(frn_link *c)
{
    size_t done = 0;

    c->gathered = 0;
    frn_list_remove(&c->dirty);
    while (c->state == FRN_LINK_GREETING || c->state == FRN_LINK_OPEN) {
        int r;
        if (c->record == 0) {
            if (c->state == FRN_LINK_OPEN)
                frn_link_feed(c);
            if (done >= FRN_NET_PASS)
                break;
            c->record = frn_link_form(c, c->net->form, c->record_max);
            if (c->record == 0)
                break;
        }
        r = frn_link_write(c, c->net->form, c->record);
        if (r == FRN_LINK_WAIT) {
            if (c->blocked_ns == 0)
                c->blocked_ns = frn_net_now(c->net);
            break;
        }
        if (r < 0) {
            char text[FRN_NET_TEXT];
            frn_link_over(c, false, "%s", frn_link_fault(c, r, text));
            return;
        }
        done += c->record;
        c->record = 0;
        c->records++;
        c->blocked_ns = 0;
    }
    c->more = done >= FRN_NET_PASS && c->state != FRN_LINK_OVER;
    if (c->more)
        frn_list_push(&c->net->dirty, &c->dirty);
    else if (c->closing && c->goaway_got && c->record == 0 && !c->goaway_due
             && frn_list_empty(&c->lanes))
        frn_link_over(c, true, "closed");
    frn_link_poll(c);
}

/* There is something to send: now, or together with what comes next. */
static void frn_link_kick(frn_link *c)
{
    if (c->state == FRN_LINK_OVER || c->record > 0)
        return;
    if (c->net->hold == 0)
        frn_link_flush(c);
    else if (frn_list_empty(&c->dirty))
        frn_list_push(&c->net->dirty, &c->dirty);
}

/* A message goes at once, unless it may wait for others; then together with them: when a record is
 * full, when somebody waits, or with the next step, which is due from now on. */
static void frn_link_gather(frn_link *c, size_t size, bool later)
{
    c->gathered += FRN_FRAME_HEADER + FRN_OPEN_FIXED + size;
    if (c->gathered >= c->record_max && c->record == 0 && c->state == FRN_LINK_OPEN) {
        frn_link_flush(c);
    } else if (!later || c->record > 0 || c->net->hold > 0) {
        frn_link_kick(c);
    } else {
        if (frn_list_empty(&c->dirty))
            frn_list_push(&c->net->dirty, &c->dirty);
        frn_net_wake(c->net);
    }
}

static void frn_net_flush_dirty(frn_net *n)
{
    frn_list  later;
    frn_list *item;

    frn_list_init(&later);
    frn_list_move(&later, &n->dirty);
    while ((item = frn_list_pop(&later)) != NULL)
        frn_link_flush(FRN_OF(frn_link, dirty, item));
}

// >> 544 net.peer | needs: 542
//    Addresses, dialling, and which connection to a peer is the one.

/* Splits "host:port" and "[v6]:port". */
static bool frn_addr_split(const char *address, char host[FRANCIS_NAME_SIZE], char port[6])
{
    const char *colon = strrchr(address, ':'), *from = address, *to = colon;
    size_t      size = strlen(address), i;

    if (colon == NULL || size >= FRANCIS_NAME_SIZE)
        return false;
    size = strlen(colon + 1);
    if (size == 0 || size > 5)
        return false;
    for (i = 0; i < size; i++)
        if (colon[1 + i] < '0' || colon[1 + i] > '9')
            return false;
    if (strtol(colon + 1, NULL, 10) > 65535)
        return false;
    memcpy(port, colon + 1, size + 1);
    if (address[0] == '[') {
        from++;
        to--;
        if (to < from || *to != ']')
            return false;
    } else if (memchr(address, ':', (size_t)(colon - address)) != NULL) {
        return false;
    }
    memcpy(host, from, (size_t)(to - from));
    host[to - from] = '\0';
    return true;
}

/* The sockets' addresses of an address; how many, or 0 and why. Waits, unless it is numeric. */
static int frn_addr_resolve(const char *address, int flags, frn_addr *out, int max, char *why,
                            size_t why_size)
{
    struct addrinfo  hints, *list = NULL, *a;
    char             host[FRANCIS_NAME_SIZE], port[6];
    int              count = 0, r;

    if (!frn_addr_split(address, host, port)) {
        (void)snprintf(why, why_size, "not host:port");
        return 0;
    }
    memset(&hints, 0, sizeof hints);
    hints.ai_family = AF_UNSPEC;
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = flags | AI_NUMERICSERV;
    r = getaddrinfo(host[0] != '\0' ? host : NULL, port, &hints, &list);
    if (r != 0) {
        (void)snprintf(why, why_size, "%s", gai_strerror(r));
        return 0;
    }
    for (a = list; a != NULL && count < max; a = a->ai_next) {
        if ((size_t)a->ai_addrlen > sizeof out[count].sa)
            continue;
        memcpy(&out[count].sa, a->ai_addr, (size_t)a->ai_addrlen);
        out[count++].size = a->ai_addrlen;
    }
    freeaddrinfo(list);
    return count;
}

static void frn_addr_text(const struct sockaddr_storage *sa, socklen_t size, char *out, size_t max)
{
    char host[48], port[6];

    if (getnameinfo((const struct sockaddr *)(const void *)sa, size, host, sizeof host, port,
                    sizeof port, NI_NUMERICHOST | NI_NUMERICSERV) != 0)
        (void)snprintf(out, max, "?");
    else
        (void)snprintf(out, max, strchr(host, ':') != NULL ? "[%s]:%s" : "%s:%s", host, port);
}

static void frn_socket_set(int fd, int level, int name, int value)
{
    (void)setsockopt(fd, level, name, &value, (socklen_t)sizeof value);
}

/* What a connection of ours asks of its socket. A small frame waits for no more than what the
 * kernel has not sent yet, so that is kept small. */
static bool frn_socket_prepare(frn_net *n, int fd)
{
    if (fcntl(fd, F_SETFD, FD_CLOEXEC) != 0 || fcntl(fd, F_SETFL, O_NONBLOCK) != 0)
        return false;
    frn_socket_set(fd, IPPROTO_TCP, TCP_NODELAY, 1);
#if defined(TCP_NOTSENT_LOWAT)
    frn_socket_set(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, 16384);
#else
    frn_socket_set(fd, SOL_SOCKET, SO_SNDBUF, 32768);
#endif
#if defined(TCP_USER_TIMEOUT)
    if (n->d.keepalive_ms < INT_MAX / 4)
        frn_socket_set(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, (int)(n->d.keepalive_ms * 5 / 2));
#else
    (void)n;
#endif
#if defined(SO_NOSIGPIPE)
    frn_socket_set(fd, SOL_SOCKET, SO_NOSIGPIPE, 1);
#endif
    return true;
}

static frn_net_peer *frn_net_peer_by_id(frn_net *n, const char *id)
{
    uint64_t  hash = frn_hash(n->hash_seed, id, strlen(id));
    frn_node *at = frn_map_first(&n->peers, hash);

    for (; at != NULL; at = frn_map_next(at->next, hash)) {
        frn_net_peer *p = FRN_OF(frn_net_peer, node, at);
        if (strcmp(p->id, id) == 0)
            return p;
    }
    return NULL;
}

/* address may be NULL: the peer came to us. */
static frn_net_peer *frn_net_peer_get(frn_net *n, const char *id, const char *address)
{
    frn_net_peer *p = frn_net_peer_by_id(n, id);

    if (p == NULL) {
        p = (frn_net_peer *)frn_mem_alloc(n->mem, sizeof *p);
        if (p == NULL)
            return NULL;
        p->net = n;
        frn_list_init(&p->waiting);
        frn_list_init(&p->links);
        frn_list_init(&p->resolve);
        (void)snprintf(p->id, sizeof p->id, "%s", id);
        if (!frn_net_timer_add(n, &p->timer, FRN_TIMER_PEER)) {
            frn_mem_free(n->mem, p, sizeof *p);
            return NULL;
        }
        if (!frn_map_add(n->mem, &n->peers, &p->node, frn_hash(n->hash_seed, id, strlen(id)))) {
            frn_net_timer_drop(n, &p->timer);
            frn_mem_free(n->mem, p, sizeof *p);
            return NULL;
        }
    }
    if (address != NULL && strcmp(p->address, address) != 0 && !p->resolving) {
        (void)snprintf(p->address, sizeof p->address, "%s", address);
        p->resolved = false;
        p->retry_ns = 0;
    }
    return p;
}

static void frn_net_peer_free(frn_net_peer *p)
{
    frn_net *n = p->net;

    frn_map_remove(&n->peers, &p->node);
    frn_net_timer_drop(n, &p->timer);
    frn_net_event_drop(n, p->ping_event);
    frn_mem_free(n->mem, p, sizeof *p);
}

static void frn_net_peer_answer_ping(frn_net_peer *p, frn_net_kind kind, const char *text)
{
    frn_net_event *e = p->ping_event;

    if (e == NULL)
        return;
    p->ping_event = NULL;
    e->kind = kind;
    (void)snprintf(e->text, sizeof e->text, "%s", text);
    frn_net_event_push(p->net, e);
}

/* When to look at the peer again: an attempt, the end of a ping, or it may be forgotten. */
static void frn_net_peer_arm(frn_net_peer *p, int64_t at_ns)
{
    if (p->ping_event != NULL && p->ping_until_ns < at_ns)
        at_ns = p->ping_until_ns;
    frn_net_timer_set(p->net, &p->timer, at_ns);
}

/* Nothing happens with it any more: it is forgotten in a while. */
static void frn_net_peer_idle(frn_net_peer *p)
{
    if (p->timer.timer.index == 0)
        frn_net_peer_arm(p, frn_add_time(frn_net_now(p->net), 1000 * FRN_MS));
}

/* 50 ms, doubled up to 6.4 s, half of it chance. */
static int64_t frn_net_peer_pause(frn_net_peer *p)
{
    int64_t ns = 50 * FRN_MS << (p->fails < 7 ? p->fails : 7);
    return ns / 2 + (int64_t)(frn_net_random(p->net) % (uint64_t)(ns / 2));
}

/* Nothing of what waits has run. */
static void frn_net_peer_fail_waiting(frn_net_peer *p, francis_result result, const char *text)
{
    while (!frn_list_empty(&p->waiting))
        frn_lane_lost(FRN_OF(frn_lane, all, p->waiting.next), false, result, text);
}

static void frn_net_peer_failed(frn_net_peer *p, francis_result result, const char *text)
{
    p->why = result;
    if (text != p->why_text)
        (void)snprintf(p->why_text, sizeof p->why_text, "%s", text);
    p->resolved = false;
    p->retry_ns = frn_net_now(p->net) + frn_net_peer_pause(p);
    p->fails++;
    frn_log(p->net->log, FRN_LOG_net_unreachable, result, NULL, NULL, "%s at %s: %s", p->id,
            p->address, text);
    frn_net_peer_fail_waiting(p, result, text);
    frn_net_peer_answer_ping(p, FRN_NET_PEER_DOWN, text);
    frn_net_peer_arm(p, p->retry_ns);
}

static frn_link *frn_link_new(frn_net *n, int fd, bool dialled)
{
    frn_link *c = (frn_link *)frn_mem_alloc(n->mem, sizeof *c);

    if (c == NULL)
        return NULL;
    if (!frn_map_grow(n->mem, &c->ids)) {
        frn_mem_free(n->mem, c, sizeof *c);
        return NULL;
    }
    if (!frn_net_timer_add(n, &c->timer, FRN_TIMER_LINK)) {
        frn_mem_free(n->mem, c->ids.slots, c->ids.cap * sizeof *c->ids.slots);
        frn_mem_free(n->mem, c, sizeof *c);
        return NULL;
    }
    frn_list_init(&c->dirty);
    frn_list_init(&c->of_peer);
    frn_list_init(&c->ready);
    frn_list_init(&c->parked);
    frn_list_init(&c->control);
    frn_list_init(&c->lanes);
    c->net = n;
    c->fd = fd;
    c->dialled = dialled;
    c->next_id = dialled ? 1 : 2;
    c->poll_index = -1;
    c->result = FRANCIS_ERR_MOVED;
    c->in_credit = FRN_LINK_CREDIT;
    c->in_ns = c->used_ns = frn_net_now(n);
    frn_list_push(&n->links, &c->all);
    n->links_count++;
    return c;
}

static void frn_link_set_peer(frn_link *c, frn_net_peer *p)
{
    c->peer = p;
    frn_list_push(&p->links, &c->of_peer);
}

static void frn_link_arm(frn_link *c, int64_t in_ms)
{
    frn_net_timer_set(c->net, &c->timer,
                      frn_add_time(frn_net_now(c->net), frn_ms_to_ns(in_ms)));
}

/* TCP is there: TLS begins. */
static void frn_link_secure(frn_link *c)
{
    frn_net *n = c->net;

    c->state = FRN_LINK_SHAKING;
    c->shake_write = c->dialled;
    c->tls = frn_tls_new(n->identity, !c->dialled, c->dialled ? c->peer->id : NULL, c,
                         frn_link_send, frn_link_recv);
    frn_link_arm(c, n->d.handshake_timeout_ms);
    if (c->tls == NULL) {
        c->result = FRANCIS_ERR_NOMEM;
        frn_link_over(c, false, "out of memory");
    }
    frn_link_poll(c);
}

/* A socket for a connection to the peer, which the platform's has begun already; or -errno. */
static int frn_net_socket(frn_net_peer *p, const frn_addr *a)
{
    const frn_plat *plat = p->net->plat;
    int             fd, error;

    if (frn_plat_has_net(plat))
        return plat->hooks.net_connect(p->address, plat->hooks.user);
    fd = socket(a->sa.ss_family, SOCK_STREAM, 0);
    if (fd < 0)
        return -errno;
    if (frn_socket_prepare(p->net, fd))
        return fd;
    error = errno;
    (void)close(fd);
    return -error;
}

/* 0, or an errno. */
static int frn_net_dial(frn_link *c, const frn_addr *a)
{
    if (frn_plat_has_net(c->net->plat)) {
        (void)snprintf(c->remote, sizeof c->remote, "%.60s", c->peer->address);
        return 0;
    }
    frn_addr_text(&a->sa, a->size, c->remote, sizeof c->remote);
    return connect(c->fd, (const struct sockaddr *)(const void *)&a->sa, a->size) == 0 ? 0 : errno;
}

/* The next address of the peer to which a connection can at least be begun. */
static void frn_net_peer_connect(frn_net_peer *p)
{
    frn_net  *n = p->net;
    frn_link *c = NULL;
    int       fd, r = ECONNREFUSED;

    while (p->addrs_next < p->addrs_count) {
        const frn_addr *a = &p->addrs[p->addrs_next++];
        fd = frn_net_socket(p, a);
        if (fd >= 0 && (c = frn_link_new(n, fd, true)) != NULL) {
            frn_link_set_peer(c, p);
            p->dial = c;
            r = frn_net_dial(c, a);
            if (r != 0 && r != EINPROGRESS && r != EINTR) {
                frn_link_over(c, false, "%s", strerror(r));
                return;             /* the step goes on from there */
            }
            frn_link_arm(c, n->d.connect_timeout_ms);
            frn_link_poll(c);
            return;
        }
        r = fd >= 0 ? ENOMEM : -fd;
        if (fd >= 0)
            frn_plat_net_close(n->plat, fd);
    }
    frn_net_peer_failed(p, r == ENOMEM ? FRANCIS_ERR_NOMEM : FRANCIS_ERR_MOVED, strerror(r));
}

static void *frn_net_resolver(void *arg)
{
    frn_net  *n = (frn_net *)arg;
    frn_list *item;

    frn_thread_name("francis", "names");
    frn_net_lock(n);
    while (!n->stopped) {
        frn_addr addrs[FRN_NET_ADDRS];
        char     address[FRANCIS_NAME_SIZE], why[FRN_NET_TEXT] = "";
        int      count;
        if ((item = frn_list_pop(&n->resolve)) == NULL) {
            frn_cond_wait(&n->resolve_cond, &n->lock, FRN_NEVER);
            continue;
        }
        memcpy(address, FRN_OF(frn_net_peer, resolve, item)->address, sizeof address);
        frn_net_unlock(n);
        count = frn_addr_resolve(address, 0, addrs, FRN_NET_ADDRS, why, sizeof why);
        frn_net_lock(n);
        {
            frn_net_peer *p = FRN_OF(frn_net_peer, resolve, item);  /* it stays while resolving */
            memcpy(p->addrs, addrs, (size_t)count * sizeof *addrs);
            memcpy(p->why_text, why, sizeof why);
            p->addrs_count = count;
            p->resolving = false;
            p->resolved = true;
            frn_net_timer_set(n, &p->timer, 0);
        }
    }
    frn_net_unlock(n);
    return NULL;
}

static bool frn_net_resolver_start(frn_net *n)
{
    if (n->resolver_runs)
        return true;
    if (!n->resolve_cond_made && !frn_cond_init(&n->resolve_cond))
        return false;
    n->resolve_cond_made = true;
    n->resolver_runs = frn_thread_start(&n->resolver, frn_net_resolver, n);
    return n->resolver_runs;
}

/* Numeric addresses at once. Names by a thread, which comes back with the peer's timer. */
static void frn_net_peer_resolve(frn_net_peer *p)
{
    frn_net *n = p->net;

    p->resolved = true;
    p->why_text[0] = '\0';
    p->addrs_count = 1;
    if (frn_plat_has_net(n->plat))
        return;                     /* it takes names as they are */
    p->addrs_count = frn_addr_resolve(p->address, AI_NUMERICHOST, p->addrs, FRN_NET_ADDRS,
                                      p->why_text, sizeof p->why_text);
    if (p->addrs_count > 0)
        return;
    if (n->d.threads && frn_net_resolver_start(n)) {
        p->resolving = true;
        frn_list_push(&n->resolve, &p->resolve);
        (void)pthread_cond_signal(&n->resolve_cond);
        return;
    }
    p->addrs_count = frn_addr_resolve(p->address, 0, p->addrs, FRN_NET_ADDRS, p->why_text,
                                      sizeof p->why_text);
}

/* A connection is wanted: does what is next towards it. */
static void frn_net_peer_kick(frn_net_peer *p)
{
    frn_net *n = p->net;
    int64_t  now;

    if (p->main != NULL) {
        if (!p->main->goaway_got)
            frn_link_kick(p->main);
        else
            frn_net_peer_fail_waiting(p, FRANCIS_ERR_STOPPED, FRN_NET_DRAINS);
        return;
    }
    if ((frn_list_empty(&p->waiting) && p->ping_event == NULL) || p->dial != NULL
        || p->greeting != NULL || p->resolving || n->identity == NULL)
        return;
    now = frn_net_now(n);
    if (now < p->retry_ns) {
        if (p->retry_ns - now > 1000 * FRN_MS) {
            frn_net_peer_fail_waiting(p, p->why, p->why_text);
            frn_net_peer_answer_ping(p, FRN_NET_PEER_DOWN, p->why_text);
        }
        frn_net_peer_arm(p, p->retry_ns);
        return;
    }
    if (!p->resolved)
        frn_net_peer_resolve(p);
    if (p->resolving)
        return;
    p->addrs_next = 0;
    if (p->addrs_count == 0)
        frn_net_peer_failed(p, FRANCIS_ERR_MOVED, p->why_text);
    else if (n->links_count >= n->d.connections_max)
        frn_net_peer_failed(p, FRANCIS_ERR_BUSY, "connections_max of them are open");
    else
        frn_net_peer_connect(p);
}

/* Our HELLO to one who has dialled; our own attempt, if there was one, is given up. */
static void frn_link_answer_hello(frn_link *c)
{
    frn_net_peer *p = c->peer;

    c->held = false;
    c->greeted = true;
    p->greeting = c;
    if (p->dial != NULL)
        frn_link_over(p->dial, true, "the other host was first");
    c->hello_due = true;
    frn_link_kick(c);
}

/* The other side is authenticated. Who was dialled speaks first. */
static void frn_link_greet(frn_link *c)
{
    frn_net      *n = c->net;
    frn_net_peer *p;
    const char   *id = frn_tls_peer(c->tls);
    int           room = mbedtls_ssl_get_max_out_record_payload(frn_tls_ssl(c->tls));

    c->state = FRN_LINK_GREETING;
    c->record_max = FRN_FRAME_MAX;
    if (room > 0 && room < FRN_FRAME_MAX)
        c->record_max = (size_t)room;
    frn_link_poll(c);
    if (c->dialled)
        return;
    p = strcmp(id, n->id) == 0 || id[0] == '\0' ? NULL : frn_net_peer_get(n, id, NULL);
    if (p == NULL) {
        frn_link_over(c, false, "it says that it is %s", id);
        return;
    }
    frn_link_set_peer(c, p);
    if (n->draining) {
        c->goaway_due = c->closing = true;
        c->goaway_code = FRN_GOAWAY_DRAIN;
        frn_link_kick(c);
    } else if (p->dial != NULL && strcmp(n->id, p->id) < 0) {
        c->held = true;
    } else {
        frn_link_answer_hello(c);
    }
}

/* Our own attempt has come to nothing; theirs may be waiting for that. */
static void frn_net_peer_dial_over(frn_net_peer *p, frn_link *c)
{
    frn_list *item;
    char      text[sizeof c->remote + sizeof c->reason + 2];

    p->dial = NULL;
    for (item = p->links.next; item != &p->links; item = item->next) {
        frn_link *other = FRN_OF(frn_link, of_peer, item);
        if (other->held && other->state != FRN_LINK_OVER) {
            frn_link_answer_hello(other);
            return;
        }
    }
    if (p->main != NULL || p->greeting != NULL)
        return;
    if (c->was == FRN_LINK_CONNECTING && p->addrs_next < p->addrs_count && !p->net->stopped) {
        frn_net_peer_connect(p);
        return;
    }
    (void)snprintf(text, sizeof text, "%s: %s", c->remote, c->reason);
    frn_net_peer_failed(p, c->result, text);
}

/* The dialled one lives: those of the peer that were kept for the other case do not. */
static void frn_net_peer_drop_held(frn_net_peer *p)
{
    frn_list *item;

    for (item = p->links.next; item != &p->links; item = item->next) {
        frn_link *other = FRN_OF(frn_link, of_peer, item);
        if (other->held)
            frn_link_over(other, true, "the connection of the other direction is used");
    }
}

/* It is the connection of the two from now on. */
static void frn_link_open(frn_link *c, const frn_hello *h)
{
    frn_net      *n = c->net;
    frn_net_peer *p = c->peer;

    c->state = FRN_LINK_OPEN;
    c->streams_max = h->streams_max < FRN_LANES_MAX ? h->streams_max : (uint32_t)FRN_LANES_MAX;
    c->message_max = h->message_max;
    c->lane_credit = h->lane_credit;
    c->credit = (int64_t)h->link_credit;
    if (h->frame_max < c->record_max)
        c->record_max = h->frame_max;
    if (p->greeting == c)
        p->greeting = NULL;
    if (p->dial == c) {
        p->dial = NULL;
        frn_net_peer_drop_held(p);
    }
    if (p->main != NULL)            /* who dialled knows it to be dead */
        frn_link_over(p->main, true, "the other host has connected anew");
    p->main = c;
    p->fails = 0;
    p->retry_ns = 0;
    n->stats.connections++;
    n->stats.connected++;
    n->stats.reconnects += p->seen ? 1u : 0u;
    p->seen = true;
    c->hello_due = c->dialled;
    if (n->draining) {
        c->goaway_due = true;
        c->goaway_code = FRN_GOAWAY_DRAIN;
    }
    c->in_ns = c->used_ns = frn_net_now(n);
    frn_link_arm(c, n->d.keepalive_ms < n->d.idle_close_ms ? n->d.keepalive_ms
                                                             : n->d.idle_close_ms);
    frn_net_peer_answer_ping(p, FRN_NET_PEER_UP, "");
    frn_log(n->log, FRN_LOG_net_connected, FRANCIS_OK, NULL, NULL, "%s %s %s",
            c->dialled ? "connected to" : "connection from", p->id, c->remote);
    frn_link_kick(c);
}

// >> 546 net.in | needs: 544
//    Frames on their way in. A function that returns a text has met what the other side must not
//    do, and the connection ends.

/* Bytes that count. Their credit goes back at once, unless they are chunks beyond FRN_HELD_MAX. */
static const char *frn_link_take(frn_link *c, size_t size, bool kept)
{
    c->in_credit -= (int64_t)size;
    if (c->in_credit < 0)
        return "exceeds the credit of the connection";
    if (kept)
        c->kept += size;
    else
        frn_link_owe(c, size);
    return NULL;
}

static void frn_lane_owe(frn_lane *l, size_t size)
{
    l->owed += size;
    if (l->window || l->reset || l->in_end || l->owed < FRN_LANE_CREDIT / 4)
        return;
    if (!l->stream && l->in_head_size + l->in_body_size - l->in_at <= (size_t)l->in_credit)
        return;                     /* what is still to come is paid for */
    l->window = true;
    frn_list_push(&l->link->control, &l->control);
}

/* A lane of the peer's is not begun. */
static void frn_link_refuse(frn_link *c, uint32_t id, francis_result result)
{
    frn_refusal *r;

    if (c->refusals_count == FRN_NET_REFUSALS)
        frn_link_flush(c);
    if (c->refusals_count == FRN_NET_REFUSALS) {
        frn_link_over(c, false, "it begins more than is answered");
        return;
    }
    r = &c->refusals[c->refusals_count++];
    r->id = id;
    r->result = result;
}

/* The body grows as it comes: what is only announced costs nothing. */
static bool frn_lane_grow(frn_lane *l, size_t need)
{
    frn_mem *m = l->net->mem;
    size_t   size = l->in_body != NULL ? l->in_body->size : 0, more = size * 2;
    frn_buf *b;

    if (size >= need && l->in_body != NULL)
        return true;
    if (more < FRN_HEAD_MAX)
        more = FRN_HEAD_MAX;
    if (more < need)
        more = need;
    if (more > l->in_body_size)
        more = l->in_body_size;
    if (l->in_body == NULL) {
        l->in_body = frn_buf_new(m, more);
        return l->in_body != NULL;
    }
    b = (frn_buf *)frn_mem_resize(m, l->in_body, sizeof *b + 1 + size, sizeof *b + 1 + more);
    if (b == NULL)
        return false;
    b->size = more;
    ((char *)FRN_BYTES(b))[more] = '\0';
    l->in_body = b;
    return true;
}

/* The sizes of a message that begins. */
static bool frn_lane_begin(frn_lane *l, uint32_t head, uint32_t body)
{
    l->in_start = true;
    l->in_head_size = head;
    l->in_body_size = body == FRN_BODY_ABSENT ? 0 : body;
    l->in_at = 0;
    if (head > 0 && (l->in_head = frn_buf_new(l->net->mem, head)) == NULL)
        return false;
    return body == FRN_BODY_ABSENT || frn_lane_grow(l, 0);
}

/* Bytes of head and body; false = no memory. */
static bool frn_lane_fill(frn_lane *l, const unsigned char *data, size_t size)
{
    size_t part = 0;

    if (l->in_at < l->in_head_size) {
        part = l->in_head_size - l->in_at;
        if (part > size)
            part = size;
        memcpy((unsigned char *)FRN_BYTES(l->in_head) + l->in_at, data, part);
        l->in_at += part;
    }
    if (part == size)
        return true;
    if (!frn_lane_grow(l, l->in_at - l->in_head_size + size - part))
        return false;
    memcpy((unsigned char *)FRN_BYTES(l->in_body) + (l->in_at - l->in_head_size), data + part,
           size - part);
    l->in_at += size - part;
    return true;
}

static void frn_lane_give(frn_lane *l, frn_net_event *e)
{
    e->head = l->in_head;
    e->body = l->in_body;
    l->in_head = l->in_body = NULL;
}

/* An event in the midst of a lane; without memory the lane ends. */
static frn_net_event *frn_lane_event(frn_lane *l, frn_net_kind kind)
{
    frn_net_event *e = frn_net_event_new(l->net, kind, l->handle, l->link->peer->id);

    if (e != NULL) {
        e->deadline_ns = l->deadline_ns;
        return e;
    }
    frn_lane_tell(l, l->ours ? FRN_NET_FAILED : FRN_NET_RESET, FRANCIS_ERR_NOMEM, true,
                  "out of memory");
    frn_lane_reset(l, FRN_RESET_FAILED, FRANCIS_ERR_NOMEM, NULL);
    return NULL;
}

/* No memory for a message. One that we were asked has not run. */
static void frn_lane_no_memory(frn_lane *l)
{
    frn_lane_tell(l, FRN_NET_FAILED, FRANCIS_ERR_NOMEM, true, "out of memory for the answer");
    frn_lane_reset(l, l->ours ? FRN_RESET_CANCELLED : FRN_RESET_REFUSED, FRANCIS_ERR_NOMEM, NULL);
}

/* A whole message of a call. */
static void frn_lane_whole(frn_lane *l)
{
    frn_net_event *e;

    l->in_end = true;
    if (l->ours) {
        frn_lane_give(l, l->end);
        frn_lane_tell(l, FRN_NET_REPLY, FRANCIS_OK, true, NULL);
        frn_lane_free(l);
        return;
    }
    e = frn_net_event_new(l->net, FRN_NET_REQUEST, l->handle, l->link->peer->id);
    if (e == NULL) {
        frn_lane_no_memory(l);
        return;
    }
    e->deadline_ns = l->deadline_ns;
    frn_lane_give(l, e);
    l->told = true;
    frn_net_event_push(l->net, e);
}

/* The head of a stream, or of the answer to one. */
static bool frn_lane_headed(frn_lane *l)
{
    frn_net_event *e = frn_lane_event(l, l->ours ? FRN_NET_HEAD : FRN_NET_STREAM);

    if (e == NULL)
        return false;
    frn_lane_give(l, e);
    l->told = true;
    frn_net_event_push(l->net, e);
    return true;
}

/* The end of the peer's direction of a stream. */
static void frn_lane_ended(frn_lane *l)
{
    frn_net_event *e = frn_lane_event(l, FRN_NET_END);

    if (e == NULL)
        return;
    l->in_end = true;
    frn_net_event_push(l->net, e);
    if (l->out == FRN_OUT_END)
        frn_lane_free(l);
}

static bool frn_lane_chunk(frn_lane *l, const unsigned char *data, size_t size)
{
    frn_net_event *e = frn_lane_event(l, FRN_NET_CHUNK);

    if (e == NULL)
        return false;
    e->body = frn_buf_copy(l->net->mem, data, size);
    if (e->body == NULL) {
        frn_net_event_drop(l->net, e);
        frn_lane_tell(l, l->ours ? FRN_NET_FAILED : FRN_NET_RESET, FRANCIS_ERR_NOMEM, true,
                      "out of memory");
        frn_lane_reset(l, FRN_RESET_FAILED, FRANCIS_ERR_NOMEM, NULL);
        return false;
    }
    l->unread += size;
    l->link->unread += size;
    frn_net_event_push(l->net, e);
    return true;
}

/* Bytes of a stream: what is left of its head, then chunks. */
static const char *frn_lane_in_stream(frn_lane *l, const unsigned char *data, size_t size, bool end)
{
    size_t part = l->in_start ? l->in_head_size - l->in_at : 0;

    if (part > size)
        part = size;
    if (part > 0) {
        (void)frn_lane_fill(l, data, part);
        frn_lane_owe(l, part);
        if (l->in_at == l->in_head_size && !frn_lane_headed(l))
            return NULL;
    }
    if (size > part && !frn_lane_chunk(l, data + part, size - part))
        return NULL;
    if (!end)
        return NULL;
    if (l->in_start && l->in_at < l->in_head_size)
        return "ends too early";
    frn_lane_ended(l);
    return NULL;
}

static const char *frn_lane_in(frn_lane *l, const unsigned char *data, size_t size, bool end)
{
    bool        chunk = l->stream && (!l->in_start || l->in_at == l->in_head_size);
    bool        kept = chunk && l->link->unread + size > FRN_HELD_MAX;
    const char *fault = frn_link_take(l->link, size, kept);

    if (fault != NULL)
        return fault;
    l->in_credit -= (int64_t)size;
    if (l->in_credit < 0)
        return "exceeds the credit of its lane";
    if (l->stream)
        return frn_lane_in_stream(l, data, size, end);
    if (size > l->in_head_size + l->in_body_size - l->in_at)
        return "is longer than it said";
    if (!frn_lane_fill(l, data, size)) {
        frn_lane_no_memory(l);
        return NULL;
    }
    if (end && l->in_at < l->in_head_size + l->in_body_size)
        return "ends too early";
    if (end)
        frn_lane_whole(l);
    else
        frn_lane_owe(l, size);
    return NULL;
}

/* A lane of the peer's begins, unless there is a reason against it. */
static const char *frn_in_open(frn_link *c, const frn_frame *f)
{
    frn_net  *n = c->net;
    uint32_t  body = frn_wire_get32(f->data), head = frn_wire_get16(f->data + 4);
    uint32_t  ms = frn_wire_get32(f->data + 6);
    frn_lane *l = NULL;
    francis_result refuse = FRANCIS_ERR_NOMEM;

    if ((f->lane & 1) != (c->dialled ? 0u : 1u) || f->lane <= c->last_in)
        return "opens a lane that is not its own, or again";
    if (c->goaway_sent)
        return frn_link_take(c, f->size - FRN_OPEN_FIXED, false);   /* it will hear of that */
    c->last_in = f->lane;
    if (body != FRN_BODY_ABSENT && body > n->d.message_bytes_max)
        refuse = FRANCIS_ERR_TOO_LARGE;
    else if (c->theirs >= n->d.streams_max)
        refuse = FRANCIS_ERR_BUSY;
    else
        l = frn_lane_new(n, FRN_NET_TOKEN | ++n->next_token, c->peer->id);
    if (l == NULL) {
        frn_link_refuse(c, f->lane, refuse);
        return frn_link_take(c, f->size - FRN_OPEN_FIXED, false);
    }
    l->link = c;
    l->stream = (f->flags & FRN_FLAG_STREAM) != 0;
    l->out = l->stream ? FRN_OUT_CHUNKS : FRN_OUT_NONE;
    l->credit = c->lane_credit;
    l->in_credit = FRN_LANE_CREDIT;
    if (ms != 0)
        l->deadline_ns = n->now_ns + (int64_t)ms * FRN_MS;
    frn_list_push(&c->lanes, &l->all);
    c->theirs++;
    frn_lane_set_id(l, f->lane);
    if (!frn_lane_begin(l, head, l->stream ? FRN_BODY_ABSENT : body)) {
        frn_lane_no_memory(l);
        return frn_link_take(c, f->size - FRN_OPEN_FIXED, false);
    }
    if (l->stream && head == 0 && !frn_lane_headed(l))
        return frn_link_take(c, f->size - FRN_OPEN_FIXED, false);
    return frn_lane_in(l, f->data + FRN_OPEN_FIXED, f->size - FRN_OPEN_FIXED,
                       (f->flags & FRN_FLAG_END) != 0);
}

/* Frames of a lane that is over here while the peer does not know it yet are counted, no more. */
static const char *frn_in_lane(frn_link *c, const frn_frame *f, frn_lane **lane, size_t fixed)
{
    bool own = (f->lane & 1) == (c->dialled ? 1u : 0u);

    *lane = frn_lane_by_id(c, f->lane);
    if (*lane == NULL && (own ? f->lane >= c->next_id : f->lane > c->last_in) && !c->goaway_sent)
        return "belongs to a lane that was never opened";
    if (*lane == NULL || (*lane)->reset) {
        *lane = NULL;
        return f->type == FRN_FRAME_DATA || f->type == FRN_FRAME_REPLY
                   ? frn_link_take(c, f->size - fixed, false) : NULL;
    }
    return NULL;
}

static const char *frn_in_reply(frn_link *c, const frn_frame *f)
{
    uint32_t    body = frn_wire_get32(f->data), head = frn_wire_get16(f->data + 4);
    frn_lane   *l;
    const char *fault = frn_in_lane(c, f, &l, FRN_REPLY_FIXED);

    if (fault != NULL || l == NULL)
        return fault;
    if (!l->ours || l->in_start || l->in_end || l->stream != ((f->flags & FRN_FLAG_STREAM) != 0))
        return "is not an answer";
    if (!l->stream && l->out != FRN_OUT_END)
        return "answers what was not asked yet";
    if (body != FRN_BODY_ABSENT && body > c->net->d.message_bytes_max)
        return "is larger than the limit of this host";
    if (!frn_lane_begin(l, head, l->stream ? FRN_BODY_ABSENT : body)) {
        frn_lane_no_memory(l);
        return frn_link_take(c, f->size - FRN_REPLY_FIXED, false);
    }
    if (l->stream && head == 0 && !frn_lane_headed(l))
        return frn_link_take(c, f->size - FRN_REPLY_FIXED, false);
    return frn_lane_in(l, f->data + FRN_REPLY_FIXED, f->size - FRN_REPLY_FIXED,
                       (f->flags & FRN_FLAG_END) != 0);
}

static const char *frn_in_data(frn_link *c, const frn_frame *f)
{
    frn_lane   *l;
    const char *fault = frn_in_lane(c, f, &l, 0);

    if (fault != NULL || l == NULL)
        return fault;
    if (l->in_end || (!l->stream && !l->in_start))
        return "comes before its lane has begun, or after its end";
    return frn_lane_in(l, f->data, f->size, (f->flags & FRN_FLAG_END) != 0);
}

static const char *frn_in_reset(frn_link *c, const frn_frame *f)
{
    unsigned       reason = f->data[0];
    uint32_t       number = frn_wire_get32(f->data + 1);
    francis_result result = number < FRN_RESULT_END ? (francis_result)number : FRANCIS_ERR_INTERNAL;
    frn_lane      *l;
    const char    *fault = frn_in_lane(c, f, &l, 0), *text;

    if (fault != NULL || l == NULL)
        return fault;
    if (result <= FRANCIS_PENDING || !frn_result_known(result))
        result = FRANCIS_ERR_INTERNAL;      /* a failure, whatever it is called there */
    text = francis_strerror(result);
    if (f->size > FRN_RESET_FIXED && l->end != NULL)
        l->end->head = frn_buf_copy(c->net->mem, f->data + FRN_RESET_FIXED,
                                    f->size - FRN_RESET_FIXED);
    if (!l->ours && l->told)
        frn_lane_tell(l, l->stream ? FRN_NET_RESET : FRN_NET_CANCELLED, result, true, "%s", text);
    else if (l->ours && reason == FRN_RESET_REFUSED)
        frn_lane_tell(l, FRN_NET_FAILED, result, false, "refused: %s", text);
    else if (l->ours)
        frn_lane_tell(l, l->stream ? FRN_NET_RESET : FRN_NET_FAILED, result, true, "%s", text);
    frn_lane_free(l);
    return NULL;
}

static const char *frn_in_window(frn_link *c, const frn_frame *f)
{
    int64_t     more = (int64_t)frn_wire_get32(f->data);
    frn_lane   *l = NULL;
    const char *fault = f->lane != 0 ? frn_in_lane(c, f, &l, 0) : NULL;

    if (fault != NULL || (f->lane != 0 && l == NULL))
        return fault;
    if (more == 0 || (l != NULL ? l->credit : c->credit) > INT32_MAX - more)
        return "gives impossible credit";
    if (l != NULL) {
        l->credit += more;
        frn_lane_ready(l);
        return NULL;
    }
    c->credit += more;
    frn_list_move(&c->ready, &c->parked);
    return NULL;
}

/* Back to where nothing of it was sent. */
static void frn_lane_rewind(frn_lane *l)
{
    frn_link *c = l->link;

    if (l->id != 0)
        frn_map_remove(&c->ids, &l->by_id);
    l->id = 0;
    l->at = 0;
    l->out = FRN_OUT_START;
    l->record = 0;
    l->link = NULL;
    c->ours--;
    frn_list_remove(&l->ready);
    frn_list_remove(&l->control);
    frn_list_remove(&l->all);
}

/* What the peer has not accepted. Calls wait for another connection, if there can be one. */
static void frn_link_take_back(frn_link *c, uint32_t last, bool again)
{
    frn_list  back, *item, *next;
    frn_lane *l;

    frn_list_init(&back);
    for (item = c->lanes.next; item != &c->lanes; item = next) {
        l = FRN_OF(frn_lane, all, item);
        next = item->next;
        if (!l->ours || l->reset || (l->id != 0 && l->id <= last))
            continue;
        if (!again) {
            frn_lane_lost(l, false, FRANCIS_ERR_STOPPED, FRN_NET_DRAINS);
        } else if (l->stream && l->id != 0) {       /* its chunks are gone */
            frn_lane_lost(l, false, FRANCIS_ERR_MOVED, "the connection was closed meanwhile");
        } else {
            frn_lane_rewind(l);
            frn_list_push(&back, &l->all);
        }
    }
    frn_list_move(&back, &c->peer->waiting);
    frn_list_move(&c->peer->waiting, &back);
}

static const char *frn_in_goaway(frn_link *c, const frn_frame *f)
{
    uint32_t      last = frn_wire_get32(f->data), code = frn_wire_get32(f->data + 4);
    frn_net_peer *p = c->peer;

    if (code > FRN_GOAWAY_DRAIN)
        return "has an unknown code";
    if (c->state == FRN_LINK_GREETING) {
        c->result = FRANCIS_ERR_STOPPED;
        frn_link_over(c, true, "%s", FRN_NET_DRAINS);
        return NULL;
    }
    c->goaway_got = true;
    if (code == FRN_GOAWAY_CLOSE) {
        c->closing = true;
        if (!c->goaway_sent)
            c->goaway_due = true;
        c->goaway_code = FRN_GOAWAY_CLOSE;
        if (p->main == c)
            p->main = NULL;
    }
    frn_link_take_back(c, last, code == FRN_GOAWAY_CLOSE);
    frn_net_peer_kick(p);
    frn_link_kick(c);
    return NULL;
}

static const char *frn_in_hello(frn_link *c, const frn_frame *f)
{
    frn_hello   h;
    const char *fault = frn_wire_get_hello(f, &h);

    if (fault != NULL)
        return fault;
    if (c->state != FRN_LINK_GREETING || (!c->dialled && !c->greeted))
        return "comes at the wrong moment";
    if (strcmp(h.id, c->peer->id) != 0)
        return "names another host than the certificate";
    if (c->dialled && c->peer->main != NULL)
        frn_link_over(c, true, "there is a connection already");
    else
        frn_link_open(c, &h);
    return NULL;
}

static const char *frn_in_ping(frn_link *c, const frn_frame *f)
{
    c->pong_due = true;
    c->pong = frn_wire_get64(f->data);
    frn_link_kick(c);
    return NULL;
}

static const char *frn_link_frame(frn_link *c, const frn_frame *f)
{
    if (c->state == FRN_LINK_GREETING && f->type != FRN_FRAME_HELLO
        && (f->type != FRN_FRAME_GOAWAY || !c->dialled))
        return "comes before HELLO";
    switch (f->type) {
    case FRN_FRAME_HELLO: return frn_in_hello(c, f);
    case FRN_FRAME_OPEN: return frn_in_open(c, f);
    case FRN_FRAME_REPLY: return frn_in_reply(c, f);
    case FRN_FRAME_DATA: return frn_in_data(c, f);
    case FRN_FRAME_RESET: return frn_in_reset(c, f);
    case FRN_FRAME_WINDOW: return frn_in_window(c, f);
    case FRN_FRAME_PING: return frn_in_ping(c, f);
    case FRN_FRAME_PONG: frn_net_peer_answer_ping(c->peer, FRN_NET_PEER_UP, ""); return NULL;
    case FRN_FRAME_GOAWAY: return frn_in_goaway(c, f);
    default: return NULL;           /* optional */
    }
}

static void frn_link_refused(frn_link *c, const frn_frame *f, const char *fault)
{
    const char *name = frn_wire_known(f->type) ? frn_frame_rules[f->type].name : "a frame";

    c->net->stats.frames_refused++;
    frn_log(c->net->log, FRN_LOG_net_frame_refused, FRANCIS_ERR_CORRUPT, NULL, NULL,
            "%s %s: %s (type %u, %u bytes) %s", c->peer->id, c->remote, name, f->type,
            (unsigned)f->size, fault);
    frn_link_over(c, false, "%s %s", name, fault);
}

/* The frames in some bytes; how many of these are done with. */
static size_t frn_link_parse(frn_link *c, const unsigned char *data, size_t size)
{
    size_t at = 0;

    while (size - at >= FRN_FRAME_HEADER && c->state != FRN_LINK_OVER) {
        frn_frame   f;
        const char *fault;
        frn_wire_frame(data + at, &f);
        fault = frn_wire_fault(&f);
        if (fault == NULL && f.size > size - at - FRN_FRAME_HEADER)
            break;
        if (fault == NULL)
            fault = frn_link_frame(c, &f);
        if (fault != NULL) {
            frn_link_refused(c, &f, fault);
            break;
        }
        c->net->stats.frames_in++;
        at += FRN_FRAME_HEADER + f.size;
    }
    return at;
}

/* A frame that has not come whole is kept; what was read beside it, too. */
static void frn_link_keep(frn_link *c, const unsigned char *data, size_t size)
{
    frn_mem *m = c->net->mem;

    if (c->part == NULL && size > 0) {
        c->part = (unsigned char *)frn_mem_resize(m, NULL, 0, FRN_FRAME_MAX);
        if (c->part == NULL) {
            frn_link_over(c, false, "out of memory");
            return;
        }
    }
    if (size > 0)
        memmove(c->part, data, size);
    else
        frn_mem_free(m, c->part, FRN_FRAME_MAX);
    if (size == 0)
        c->part = NULL;
    c->part_size = size;
}

static void frn_link_ended(frn_link *c, int r)
{
    char text[FRN_NET_TEXT];
    bool quiet = c->held || (c->closing && frn_list_empty(&c->lanes));

    (void)frn_link_fault(c, r, text);
    if (c->part_size > 0)
        frn_link_over(c, false, "%.120s, in the midst of a frame", text);
    else
        frn_link_over(c, quiet, "%s", text);
}

/* All that has come, within bounds. */
static void frn_link_input(frn_link *c)
{
    frn_net *n = c->net;
    bool     any = false;

    c->pass = 0;
    c->dry = false;
    (void)frn_net_now(n);
    n->wire_at = n->wire_size = 0;
    while (c->state == FRN_LINK_GREETING || c->state == FRN_LINK_OPEN) {
        unsigned char *data = c->part != NULL ? c->part : n->plain;
        int            r = frn_link_read(c, data + c->part_size, FRN_FRAME_MAX - c->part_size);
        size_t         size, used;
        if (r == FRN_LINK_WAIT)
            break;
        if (r < 0) {
            frn_link_ended(c, r);
            break;
        }
        any = true;
        size = c->part_size + (size_t)r;
        used = frn_link_parse(c, data, size);
        if (used < size || c->part != NULL)
            frn_link_keep(c, data + used, size - used);
    }
    if (any) {
        c->in_ns = n->now_ns;
        c->pings = 0;
        frn_link_kick(c);
    }
}

// >> 548 net.step | needs: 546
//    What is done in each pass: input, output, timers, new connections, one step of one handshake;
//    and the end of connections.

/* What the lanes of a connection that is over have come to. */
static void frn_link_end_lanes(frn_link *c)
{
    while (!frn_list_empty(&c->lanes)) {
        frn_lane *l = FRN_OF(frn_lane, all, c->lanes.next);
        bool      sent = l->ours && frn_lane_sent(l);
        if (l->reset)
            frn_lane_free(l);
        else
            frn_lane_lost(l, sent, sent ? FRANCIS_ERR_UNKNOWN : FRANCIS_ERR_MOVED, c->reason);
    }
}

static void frn_link_tell_end(frn_link *c)
{
    frn_net    *n = c->net;
    const char *peer = c->peer != NULL ? c->peer->id : "?";
    int64_t     now;

    if (c->was == FRN_LINK_OPEN && !c->quiet) {
        frn_log(n->log, FRN_LOG_net_lost, FRANCIS_OK, NULL, NULL,
                "%s %s: %s; %u calls of ours, %u of theirs were open", peer, c->remote, c->reason,
                (unsigned)c->ours, (unsigned)c->theirs);
    } else if (c->was == FRN_LINK_OPEN) {
        frn_log(n->log, FRN_LOG_net_closed, FRANCIS_OK, NULL, NULL, "%s %s: %s", peer, c->remote,
                c->reason);
    } else if (!c->dialled && !c->quiet) {
        n->stats.handshakes_failed++;
        now = frn_net_now(n);
        n->untold++;
        if (n->told_ns != 0 && now - n->told_ns < 1000 * FRN_MS)
            return;                 /* whoever knocks does not fill the log */
        frn_log(n->log, FRN_LOG_net_handshake_failed, FRANCIS_OK, NULL, NULL,
                "from %s: %s (%llu since the last record)", c->remote, c->reason,
                (unsigned long long)n->untold);
        n->told_ns = now;
        n->untold = 0;
    } else if (!c->quiet) {
        n->stats.handshakes_failed++;
    }
}

static void frn_link_uncount(frn_link *c)
{
    if (c->counted)
        c->net->shaking--;
    c->counted = false;
}

/* The only place where a connection ends. */
static void frn_link_free(frn_link *c)
{
    frn_net *n = c->net;

    if (c->tls != NULL && c->quiet && c->record == 0 && !c->busy)
        frn_link_bye(c);
    if (n->d.watch != NULL && (c->read || c->write))
        n->d.watch(n->d.user, c->fd, false, false, true);
    frn_tls_free(c->tls);
    frn_plat_net_close(n->plat, c->fd);
    frn_link_uncount(c);
    frn_list_remove(&c->all);
    frn_list_remove(&c->dirty);
    frn_net_timer_drop(n, &c->timer);
    frn_mem_free(n->mem, c->part, FRN_FRAME_MAX);
    frn_mem_free(n->mem, c->ids.slots, c->ids.cap * sizeof *c->ids.slots);
    frn_mem_free(n->mem, c, sizeof *c);
    n->links_count--;
}

static void frn_link_end(frn_link *c)
{
    frn_net_peer *p = c->peer;

    frn_link_tell_end(c);
    c->net->stats.connections -= c->was == FRN_LINK_OPEN ? 1u : 0u;
    frn_link_end_lanes(c);
    if (p != NULL) {
        if (p->dial == c)
            frn_net_peer_dial_over(p, c);
        frn_list_remove(&c->of_peer);
        frn_net_peer_kick(p);
        frn_net_peer_idle(p);
    }
    frn_link_free(c);
}

static void frn_net_end_links(frn_net *n)
{
    frn_list  busy;
    frn_list *item;

    frn_list_init(&busy);
    while ((item = frn_list_pop(&n->over)) != NULL) {
        frn_link *c = FRN_OF(frn_link, all, item);
        if (c->busy)
            frn_list_push(&busy, item);
        else
            frn_link_end(c);
    }
    frn_list_move(&n->over, &busy);
}

/* Says goodbye: nothing new either way. */
static void frn_link_close(frn_link *c)
{
    if (c->closing || c->state == FRN_LINK_OVER)
        return;
    if (c->state != FRN_LINK_OPEN) {
        frn_link_over(c, true, "closed");
        return;
    }
    c->closing = c->goaway_due = true;
    c->goaway_code = FRN_GOAWAY_CLOSE;
    if (c->peer->main == c)
        c->peer->main = NULL;
    frn_link_kick(c);
}

/* An open connection: what silence asks for. Times are looked at when the timer fires, so that a
 * frame costs no timer. */
static void frn_link_on_timer_open(frn_link *c, int64_t now)
{
    int64_t keep = frn_ms_to_ns(c->net->d.keepalive_ms);
    int64_t idle = frn_ms_to_ns(c->net->d.idle_close_ms);
    int64_t dead = keep / 2 * 5, next;

    if (now - c->in_ns >= dead || (c->blocked_ns != 0 && now - c->blocked_ns >= dead)) {
        frn_link_over(c, false, "it %s for too long",
                      now - c->in_ns < dead ? "takes nothing" : "is silent");
        return;
    }
    if (c->closing && frn_list_empty(&c->lanes) && now - c->used_ns >= keep) {
        frn_link_over(c, true, "closed");
        return;
    }
    if (!c->closing && frn_list_empty(&c->lanes) && now - c->used_ns >= idle) {
        frn_link_close(c);
        if (c->state == FRN_LINK_OVER)
            return;
        c->used_ns = now;
    }
    if (c->pings < 2 && now - c->in_ns >= keep * (c->pings + 1)) {
        c->pings++;
        c->ping_due = true;
        frn_link_kick(c);
    }
    next = c->in_ns + (c->pings < 2 ? keep * (c->pings + 1) : dead);
    if (c->blocked_ns != 0 && c->blocked_ns + dead < next)
        next = c->blocked_ns + dead;
    if (!frn_list_empty(&c->lanes))
        next = now + idle < next ? now + idle : next;
    else if (c->used_ns + (c->closing ? keep : idle) < next)
        next = c->used_ns + (c->closing ? keep : idle);
    if (c->state != FRN_LINK_OVER)
        frn_net_timer_set(c->net, &c->timer, next);
}

static void frn_link_on_timer(frn_link *c, int64_t now)
{
    if (c->state == FRN_LINK_OPEN)
        frn_link_on_timer_open(c, now);
    else if (c->state == FRN_LINK_CONNECTING)
        frn_link_over(c, false, "no connection in time");
    else
        frn_link_over(c, false, "no handshake in time");
}

static void frn_lane_on_timer(frn_lane *l)
{
    frn_link *c = l->link;

    /* what is formed goes out */
    frn_lane_tell(l, FRN_NET_FAILED, FRANCIS_ERR_DEADLINE, l->record != 0, "no answer in time");
    frn_lane_reset(l, FRN_RESET_CANCELLED, FRANCIS_ERR_DEADLINE, NULL);
    if (c != NULL)
        frn_link_kick(c);
}

static void frn_net_peer_on_timer(frn_net_peer *p, int64_t now)
{
    if (p->ping_event != NULL && now >= p->ping_until_ns)
        frn_net_peer_answer_ping(p, FRN_NET_PEER_DOWN, "no answer in time");
    frn_net_peer_kick(p);
    if (!frn_list_empty(&p->links))
        return;
    if (frn_list_empty(&p->waiting) && !p->resolving && p->ping_event == NULL
        && now >= p->retry_ns)
        frn_net_peer_free(p);
    else
        frn_net_peer_idle(p);
}

static void frn_net_timers(frn_net *n)
{
    int64_t now = frn_net_now(n);

    while (n->timers.count > 0 && n->timers.items[1]->at_ns <= now) {
        frn_timer     *at = n->timers.items[1];
        frn_net_timer *t = FRN_OF(frn_net_timer, timer, at);
        frn_heap_remove(&n->timers, at);
        switch (t->kind) {
        case FRN_TIMER_LINK: frn_link_on_timer(FRN_OF(frn_link, timer, t), now); break;
        case FRN_TIMER_LANE: frn_lane_on_timer(FRN_OF(frn_lane, timer, t)); break;
        case FRN_TIMER_PEER: frn_net_peer_on_timer(FRN_OF(frn_net_peer, timer, t), now); break;
        default: n->accept_ns = 0; break;
        }
    }
}

/* One step of a handshake, which may take milliseconds: without the lock. Others leave the link
 * alone as long as it is busy. */
static void frn_link_handshake(frn_link *c)
{
    frn_net *n = c->net;
    int      r;

    c->busy = true;
    n->stepping = false;
    n->hold--;
    frn_net_unlock(n);
    r = frn_link_shake(c);
    frn_net_lock(n);
    n->hold++;
    n->stepping = true;
    c->busy = false;
    if (c->state != FRN_LINK_SHAKING)
        return;                     /* it was given up meanwhile */
    if (r < 0) {
        char text[FRN_NET_TEXT];
        frn_link_over(c, false, "%s", frn_link_fault(c, r, text));
    } else if (r == 1) {
        frn_link_uncount(c);
        frn_link_greet(c);
        if (c->state == FRN_LINK_GREETING)
            frn_link_input(c);
    }
    frn_link_poll(c);
}

/* TCP has said yes or no. */
static void frn_link_connected(frn_link *c)
{
    int error = frn_plat_net_error(c->net->plat, c->fd);

    if (error != 0)
        frn_link_over(c, false, "%s", strerror(error));
    else
        frn_link_secure(c);
}

/* Whether there is something to do, where nobody has asked poll(). */
static bool frn_link_is_due(const frn_link *c)
{
    struct pollfd fd;

    fd.fd = c->fd;
    fd.events = (short)((c->read ? POLLIN : 0) | (c->write ? POLLOUT : 0));
    fd.revents = 0;
    return frn_plat_poll(c->net->plat, &fd, 1, 0) > 0;
}

enum { FRN_NOT_POLLED = -1 };

/* events: what poll() has said, or FRN_NOT_POLLED. */
static void frn_link_step(frn_link *c, int events, frn_link **shake)
{
    if (events == 0 || c->busy)
        return;
    switch (c->state) {
    case FRN_LINK_CONNECTING:
        if (events != FRN_NOT_POLLED || frn_link_is_due(c))
            frn_link_connected(c);
        break;
    case FRN_LINK_SHAKING:
        if (*shake == NULL && (events != FRN_NOT_POLLED || frn_link_is_due(c)))
            *shake = c;
        break;
    case FRN_LINK_GREETING:
    case FRN_LINK_OPEN:
        if (c->record > 0)
            frn_link_flush(c);
        if ((events & ~POLLOUT) != 0 && c->net->events < FRN_NET_EVENTS)
            frn_link_input(c);
        frn_link_poll(c);
        break;
    case FRN_LINK_OVER: break;
    }
}

static void frn_net_listen(frn_net *n)      /* or not, for now */
{
    bool want = n->fd >= 0 && n->identity != NULL && n->accept_ns == 0;

    if (want == n->listening)
        return;
    n->listening = want;
    if (n->d.watch != NULL)
        n->d.watch(n->d.user, n->fd, want, false, false);
    else
        frn_net_wake(n);
}

static void frn_net_accept_later(frn_net *n)
{
    n->accept_ns = frn_net_now(n) + 100 * FRN_MS;
    frn_net_timer_set(n, &n->timer, n->accept_ns);
}

/* Room for one more that is not authenticated. If it must be, the one that has been at it longest
 * goes: whoever has said nothing after a fifth of a second, others after one. */
static bool frn_net_make_room(frn_net *n)
{
    frn_list *item;
    frn_link *worst = NULL;
    int64_t   now, over, most = 0;

    if (n->shaking < n->d.handshakes_max)
        return true;
    now = frn_net_now(n);
    for (item = n->links.next; item != &n->links; item = item->next) {
        frn_link *c = FRN_OF(frn_link, all, item);
        if (!c->counted || c->busy)
            continue;
        over = now - c->in_ns - (c->heard ? 1000 : 200) * FRN_MS;
        if (over > most) {
            most = over;
            worst = c;
        }
    }
    if (worst == NULL)
        return false;
    frn_link_over(worst, false, "no handshake in time, and others wait");
    frn_link_uncount(worst);
    return true;
}

/* A connection that somebody has begun, and who; or -errno. */
static int frn_net_accept_socket(frn_net *n, char *remote, size_t size)
{
    struct sockaddr_storage sa;
    socklen_t               sa_size = (socklen_t)sizeof sa;
    int                     fd;

    if (frn_plat_has_net(n->plat)) {
        fd = n->plat->hooks.net_accept(n->fd, n->plat->hooks.user);
        (void)snprintf(remote, size, "socket %d", fd);
        return fd;
    }
    fd = accept(n->fd, (struct sockaddr *)(void *)&sa, &sa_size);
    if (fd < 0)
        return -errno;
    frn_addr_text(&sa, sa_size, remote, size);
    if (frn_socket_prepare(n, fd))
        return fd;
    (void)close(fd);
    return -ECONNABORTED;           /* it was gone already */
}

static bool frn_net_accept_one(frn_net *n)
{
    frn_link *c = NULL;
    char      remote[sizeof c->remote];
    int       fd = frn_net_accept_socket(n, remote, sizeof remote);

    if (fd < 0) {
        if (fd != -EAGAIN && fd != -EWOULDBLOCK && fd != -ECONNABORTED && fd != -EINTR)
            frn_net_accept_later(n);        /* no descriptors, or no memory */
        return false;
    }
    if (n->links_count < n->d.connections_max)
        c = frn_link_new(n, fd, false);
    if (c == NULL) {
        frn_plat_net_close(n->plat, fd);
        return true;
    }
    memcpy(c->remote, remote, sizeof remote);
    c->counted = true;
    n->shaking++;
    frn_link_secure(c);
    return true;
}

static void frn_net_accept(frn_net *n)
{
    int i;

    for (i = 0; i < FRN_NET_ACCEPTS && n->accept_ns == 0; i++) {
        if (!frn_net_make_room(n))
            frn_net_accept_later(n);
        else if (!frn_net_accept_one(n))
            break;
    }
}

static int frn_net_events_of(const struct pollfd *fds, int count, int index, int fd)
{
    if (fds == NULL)
        return FRN_NOT_POLLED;
    return index >= 0 && index < count && fds[index].fd == fd ? fds[index].revents : 0;
}

static void frn_net_pass(frn_net *n, const struct pollfd *fds, int count)
{
    frn_list  all;
    frn_list *item;
    frn_link *shake = NULL;

    frn_net_end_links(n);
    if (n->listening && frn_net_events_of(fds, count, n->poll_index, n->fd) != 0)
        frn_net_accept(n);
    frn_list_init(&all);
    frn_list_move(&all, &n->links);
    while ((item = frn_list_pop(&all)) != NULL) {
        frn_link *c = FRN_OF(frn_link, all, item);
        frn_list_push(&n->links, item);
        frn_link_step(c, frn_net_events_of(fds, count, c->poll_index, c->fd), &shake);
    }
    frn_net_timers(n);
    if (shake != NULL && shake->state == FRN_LINK_SHAKING) {
        frn_list_remove(&shake->all);
        frn_list_push(&n->links, &shake->all);
        frn_net_flush_dirty(n);
        frn_link_handshake(shake);
    }
    frn_net_end_links(n);
    frn_net_flush_dirty(n);
    frn_net_end_links(n);
    frn_net_listen(n);
}

// >> 549 net.api | needs: 548
//    What the runtime calls.

static int64_t frn_net_time(int64_t ms, int64_t standard)   /* 0 = standard; for ever = 30 days */
{
    const int64_t longest = FRANCIS_DAYS(30);

    if (ms == 0)
        ms = standard;
    return ms < 0 || ms > longest ? longest : ms;
}

static void frn_net_defaults(frn_net_desc *d)
{
    d->message_bytes_max = d->message_bytes_max != 0 ? d->message_bytes_max : 4u << 20;
    d->streams_max = d->streams_max != 0 ? d->streams_max : 512;
    d->connections_max = d->connections_max != 0 ? d->connections_max : 1024;
    d->handshakes_max = d->handshakes_max != 0 ? d->handshakes_max : 64;
    d->handshake_timeout_ms = frn_net_time(d->handshake_timeout_ms, 10000);
    d->keepalive_ms = frn_net_time(d->keepalive_ms, 10000);
    d->idle_close_ms = frn_net_time(d->idle_close_ms, 60000);
    d->connect_timeout_ms = frn_net_time(d->connect_timeout_ms, 5000);
}

static bool frn_net_bind_one(frn_net *n, const frn_addr *a)
{
    n->fd = socket(a->sa.ss_family, SOCK_STREAM, 0);
    if (n->fd < 0)
        return false;
    frn_socket_set(n->fd, SOL_SOCKET, SO_REUSEADDR, 1);
    if (a->sa.ss_family == AF_INET6)        /* "[::]" is both */
        frn_socket_set(n->fd, IPPROTO_IPV6, IPV6_V6ONLY, 0);
    return fcntl(n->fd, F_SETFD, FD_CLOEXEC) == 0 && fcntl(n->fd, F_SETFL, O_NONBLOCK) == 0
        && bind(n->fd, (const struct sockaddr *)(const void *)&a->sa, a->size) == 0
        && listen(n->fd, 128) == 0;
}

static francis_result frn_net_bind(frn_net *n, const char *address, char *error, size_t size)
{
    frn_addr a;
    char     why[FRN_NET_TEXT] = "";

    if (frn_plat_has_net(n->plat)) {
        n->fd = n->plat->hooks.net_listen(address, n->plat->hooks.user);
        errno = n->fd < 0 ? -n->fd : 0;
    } else if (frn_addr_resolve(address, AI_PASSIVE, &a, 1, why, sizeof why) == 0) {
        (void)snprintf(error, size, "cannot listen on \"%s\": %s", address, why);
        return FRANCIS_ERR_INVALID;
    }
    if (frn_plat_has_net(n->plat) ? n->fd < 0 : !frn_net_bind_one(n, &a)) {
        (void)snprintf(error, size, "cannot listen on \"%s\": %s", address, strerror(errno));
        return errno == EADDRINUSE ? FRANCIS_ERR_EXISTS : FRANCIS_ERR_INVALID;
    }
    frn_log(n->log, FRN_LOG_net_listening, FRANCIS_OK, NULL, NULL, "listening on %s", address);
    return FRANCIS_OK;
}

static void frn_net_free(frn_net *n)
{
    frn_mem *m = n->mem;

    if (n->fd >= 0)
        frn_plat_net_close(n->plat, n->fd);
    if (n->identity != NULL)
        frn_identity_drop(n->identity);
    if (n->resolve_cond_made)
        (void)pthread_cond_destroy(&n->resolve_cond);
    (void)pthread_mutex_destroy(&n->lock);
    frn_mem_free(m, n->peers.slots, n->peers.cap * sizeof *n->peers.slots);
    frn_mem_free(m, n->lanes.slots, n->lanes.cap * sizeof *n->lanes.slots);
    frn_mem_free(m, n->timers.items, n->timers.cap * sizeof *n->timers.items);
    frn_mem_free(m, n, sizeof *n);
}

/* Binds and listens. What cannot be is told with its name: INVALID, EXISTS (the port is taken). */
static francis_result frn_net_open(frn_net **out, const frn_net_desc *d, char *error,
                                   size_t error_size)
{
    frn_net       *n = (frn_net *)frn_mem_alloc(d->mem, sizeof *n);
    francis_result r = FRANCIS_ERR_NOMEM;

    *out = NULL;
    (void)snprintf(error, error_size, "out of memory");
    if (n == NULL)
        return r;
    n->d = *d;
    frn_net_defaults(&n->d);
    n->mem = d->mem;
    n->plat = d->plat;
    n->log = d->log;
    n->fd = n->poll_index = -1;
    n->last = &n->first;
    frn_list_init(&n->links);
    frn_list_init(&n->over);
    frn_list_init(&n->dirty);
    frn_list_init(&n->resolve);
    if (pthread_mutex_init(&n->lock, NULL) != 0) {
        frn_mem_free(d->mem, n, sizeof *n);
        return r;
    }
    (void)frn_plat_random(n->plat, &n->hash_seed, sizeof n->hash_seed);
    (void)frn_plat_random(n->plat, &n->jitter, sizeof n->jitter);
    if (frn_net_timer_add(n, &n->timer, FRN_TIMER_NET))
        r = FRANCIS_OK;
    if (r == FRANCIS_OK && d->bind_address != NULL)
        r = frn_net_bind(n, d->bind_address, error, error_size);
    n->d.bind_address = NULL;
    if (r != FRANCIS_OK) {
        frn_net_free(n);
        return r;
    }
    error[0] = '\0';
    *out = n;
    return FRANCIS_OK;
}

/* Of the handshakes from now on. Another id says goodbye to all that know the old one. */
static void frn_net_identity(frn_net *n, frn_identity *i, const char *own_id)
{
    frn_list *item, *next;

    frn_net_lock(n);
    frn_identity_keep(i);
    if (n->identity != NULL)
        frn_identity_drop(n->identity);
    n->identity = i;
    if (n->id[0] != '\0' && strcmp(n->id, own_id) != 0)
        for (item = n->links.next; item != &n->links; item = next) {
            next = item->next;
            frn_link_close(FRN_OF(frn_link, all, item));
        }
    (void)snprintf(n->id, sizeof n->id, "%s", own_id);
    frn_net_listen(n);
    frn_net_unlock(n);
}

/* GOAWAY to all: what is open may end, nothing new is accepted. Own calls go on. */
static void frn_net_drain(frn_net *n)
{
    frn_list *item, *next;

    frn_net_lock(n);
    n->draining = true;
    for (item = n->links.next; item != &n->links; item = next) {
        frn_link *c = FRN_OF(frn_link, all, item);
        next = item->next;
        if (c->state != FRN_LINK_OPEN || c->closing)
            continue;
        c->goaway_due = true;
        c->goaway_code = FRN_GOAWAY_DRAIN;
        frn_link_kick(c);
    }
    frn_net_unlock(n);
}

/* Whatever is formed or can be goes out, if the peers take it within half a second. */
static void frn_net_flush_all(frn_net *n)
{
    int64_t   end = frn_net_now(n) + 500 * FRN_MS;
    frn_list *item, *next;

    for (item = n->links.next; item != &n->links; item = next) {
        frn_link     *c = FRN_OF(frn_link, all, item);
        struct pollfd fd;
        int64_t       left;
        next = item->next;
        fd.fd = c->fd;
        fd.events = POLLOUT;
        frn_link_flush(c);
        while (c->record > 0 && c->state != FRN_LINK_OVER
               && (left = end - frn_net_now(n)) > 0) {
            fd.revents = 0;
            if (frn_plat_poll(n->plat, &fd, 1, left) <= 0)
                break;
            frn_link_flush(c);
        }
    }
}

static void frn_net_close(frn_net *n)
{
    frn_list *item, *next;
    size_t    i;

    if (n == NULL)
        return;
    frn_net_lock(n);
    n->stopped = n->stepping = true;
    if (n->resolver_runs) {
        (void)pthread_cond_signal(&n->resolve_cond);
        frn_net_unlock(n);
        (void)pthread_join(n->resolver, NULL);
        frn_net_lock(n);
    }
    for (item = n->links.next; item != &n->links; item = next) {
        next = item->next;
        frn_link_close(FRN_OF(frn_link, all, item));
    }
    frn_net_flush_all(n);
    while ((item = frn_list_pop(&n->links)) != NULL)
        frn_link_over(FRN_OF(frn_link, all, item), true, "closed");
    while ((item = frn_list_pop(&n->over)) != NULL) {
        frn_link *c = FRN_OF(frn_link, all, item);
        frn_link_end_lanes(c);
        frn_list_remove(&c->of_peer);
        frn_link_free(c);
    }
    for (i = 0; i < n->peers.cap; i++)
        while (n->peers.slots[i] != NULL) {
            frn_net_peer *p = FRN_OF(frn_net_peer, node, n->peers.slots[i]);
            frn_net_peer_fail_waiting(p, FRANCIS_ERR_STOPPED, "closed");
            frn_net_peer_free(p);
        }
    while (n->first != NULL) {
        frn_net_event *e = n->first;
        n->first = e->next;
        frn_net_event_drop(n, e);
    }
    if (n->d.watch != NULL && n->listening)
        n->d.watch(n->d.user, n->fd, false, false, true);
    frn_net_unlock(n);
    frn_net_free(n);
}

/* Fills at most max entries; how many there are. */
static int frn_net_pollfds(frn_net *n, struct pollfd *fds, int max)
{
    frn_list *item;
    int       count = 0;

    frn_net_lock(n);
    n->woken = false;
    n->poll_index = -1;
    if (n->listening) {
        if (count < max) {
            n->poll_index = count;
            fds[count].fd = n->fd;
            fds[count].events = POLLIN;
            fds[count].revents = 0;
        }
        count++;
    }
    for (item = n->links.next; item != &n->links; item = item->next) {
        frn_link *c = FRN_OF(frn_link, all, item);
        c->poll_index = -1;
        if (!c->read && !c->write)
            continue;
        if (count < max) {
            c->poll_index = count;
            fds[count].fd = c->fd;
            fds[count].events = (short)((c->read ? POLLIN : 0) | (c->write ? POLLOUT : 0));
            fds[count].revents = 0;
        }
        count++;
    }
    frn_net_unlock(n);
    return count;
}

/* When frn_net_step is due by itself. */
static int64_t frn_net_next_ns(frn_net *n)
{
    int64_t at;

    frn_net_lock(n);
    at = n->timers.count > 0 ? n->timers.items[1]->at_ns : FRN_NEVER;
    if (!frn_list_empty(&n->over) || (!frn_list_empty(&n->dirty) && n->d.watch == NULL))
        at = 0;
    n->polled_ns = at;
    frn_net_unlock(n);
    return at;
}

/* fds: as filled by frn_net_pollfds and poll(); NULL = look at all. Never waits. */
static void frn_net_step(frn_net *n, const struct pollfd *fds, int count)
{
    frn_net_lock(n);
    n->woken = false;
    n->polled_ns = 0;
    n->stepping = true;
    n->hold++;
    frn_net_pass(n, fds, count);
    n->hold--;
    n->stepping = false;
    frn_net_unlock(n);
}

/* All that have come, oldest first. */
static frn_net_event *frn_net_events(frn_net *n)
{
    frn_net_event *e;
    frn_list      *item;
    bool           full;

    frn_net_lock(n);
    e = n->first;
    full = n->events >= FRN_NET_EVENTS;
    n->first = NULL;
    n->last = &n->first;
    n->events = 0;
    for (item = n->links.next; full && item != &n->links; item = item->next)
        frn_link_poll(FRN_OF(frn_link, all, item));
    frn_net_unlock(n);
    return e;
}

static void frn_net_event_free(frn_net *n, frn_net_event *e) { frn_net_event_drop(n, e); }

/* Until frn_net_flush what is called and answered is gathered, so that it shares records. */
static void frn_net_hold(frn_net *n)
{
    frn_net_lock(n);
    if (!n->held)
        n->hold++;
    n->held = true;
    frn_net_unlock(n);
}

static void frn_net_flush(frn_net *n)
{
    frn_net_lock(n);
    if (n->held)
        n->hold--;
    n->held = false;
    frn_net_flush_dirty(n);
    frn_net_unlock(n);
}

static francis_result frn_net_check(frn_net *n, const char *peer_id, const char *address,
                                    uint64_t handle, const frn_buf *head, const frn_buf *body)
{
    char host[FRANCIS_NAME_SIZE], port[6];

    if (peer_id[0] == '\0' || strnlen(peer_id, FRN_HOST_ID_SIZE) >= FRN_HOST_ID_SIZE
        || strcmp(peer_id, n->id) == 0 || (handle & FRN_NET_TOKEN) != 0
        || !frn_addr_split(address, host, port))
        return FRANCIS_ERR_INVALID;
    if ((head != NULL && head->size > FRN_HEAD_MAX)
        || (body != NULL && body->size > n->d.message_bytes_max))
        return FRANCIS_ERR_TOO_LARGE;
    return FRANCIS_OK;
}

/* A lane of ours, on its way to its peer. */
static francis_result frn_net_begin(frn_net *n, const char *peer_id, const char *address,
                                    uint64_t handle, frn_buf *head, frn_buf *body, bool stream,
                                    bool later, int64_t deadline_ns)
{
    frn_net_peer *p;
    frn_lane     *l = NULL;

    p = frn_net_peer_get(n, peer_id, address);
    if (p != NULL)
        l = frn_lane_new(n, handle, peer_id);
    if (l == NULL) {
        if (p != NULL)
            frn_net_peer_idle(p);
        return FRANCIS_ERR_NOMEM;
    }
    l->ours = true;
    l->stream = stream;
    l->in_credit = FRN_LANE_CREDIT;
    l->deadline_ns = deadline_ns;
    frn_net_timer_set(n, &l->timer, deadline_ns);
    frn_list_push(&p->waiting, &l->all);
    frn_lane_start(l, head, body);
    if (later && p->main != NULL && !p->main->goaway_got)
        frn_link_gather(p->main, l->size, p->main->ours >= FRN_NET_MANY);
    else
        frn_net_peer_kick(p);
    return FRANCIS_OK;
}

/* A call: one message there, one back. later: it may wait for others, to frn_net_flush or a step.
 * OK: just one of REPLY and FAILED follows, unless it is cancelled. Else nothing follows: INVALID
 * (peer_id, address, handle), TOO_LARGE, NOMEM. */
static francis_result frn_net_call(frn_net *n, const char *peer_id, const char *address,
                                   uint64_t handle, frn_buf *head, frn_buf *body, bool later,
                                   int64_t deadline_ns)
{
    francis_result r;

    frn_net_lock(n);
    r = frn_net_check(n, peer_id, address, handle, head, body);
    if (r == FRANCIS_OK)
        r = frn_net_begin(n, peer_id, address, handle, head, body, false, later, deadline_ns);
    frn_net_unlock(n);
    return r;
}

/* Events that nobody has taken yet. */
static void frn_net_forget(frn_net *n, uint64_t handle)
{
    frn_net_event **at = &n->first;

    while (*at != NULL) {
        frn_net_event *e = *at;
        if (e->handle != handle || e->kind == FRN_NET_PEER_UP || e->kind == FRN_NET_PEER_DOWN) {
            at = &e->next;
            continue;
        }
        *at = e->next;
        n->events--;
        frn_net_event_drop(n, e);
    }
    n->last = at;
}

/* Whether the peer may have begun with it. */
static bool frn_net_break(frn_net *n, uint64_t handle, francis_result result, frn_buf *why)
{
    frn_lane *l = frn_lane_find(n, handle);
    frn_link *c;
    bool      formed;

    frn_net_forget(n, handle);
    if (l == NULL)
        return true;
    c = l->link;
    formed = l->record != 0;        /* what is formed goes out */
    frn_lane_reset(l, l->ours ? FRN_RESET_CANCELLED : FRN_RESET_FAILED, result, why);
    if (c != NULL)
        frn_link_kick(c);
    return formed;
}

/* Of a call or a stream: the peer is told; no event of it comes any more from now on. Returns
 * whether the peer may have begun with it. */
static bool frn_net_cancel(frn_net *n, uint64_t handle)
{
    bool begun;

    frn_net_lock(n);
    begun = frn_net_break(n, handle, FRANCIS_ERR_CANCELLED, NULL);
    frn_net_unlock(n);
    return begun;
}

/* Of a token that is not known any more: nothing happens. */
static void frn_net_answer(frn_net *n, uint64_t token, frn_buf *head, frn_buf *body)
{
    frn_lane *l;
    frn_link *c;

    frn_net_lock(n);
    l = frn_lane_find(n, token);
    if (l != NULL && !l->ours && !l->stream && l->told && l->out == FRN_OUT_NONE) {
        c = l->link;
        frn_lane_unname(l);
        if ((head != NULL && head->size > FRN_HEAD_MAX)
            || (body != NULL && body->size > c->message_max)) {
            frn_lane_reset(l, FRN_RESET_FAILED, FRANCIS_ERR_TOO_LARGE, NULL);
            frn_link_kick(c);
        } else {
            frn_lane_start(l, head, body);
            frn_link_gather(c, l->size, false);
        }
    }
    frn_net_unlock(n);
}

/* A stream: as frn_net_call, but it ends with END of both sides, or with one FAILED or RESET. The
 * functions below are for both ends: stream is our handle, or the token of STREAM. Of one that is
 * not known any more nothing happens, and a write is answered STALE. */
static francis_result frn_net_stream_open(frn_net *n, const char *peer_id, const char *address,
                                          uint64_t handle, frn_buf *head)
{
    francis_result r;

    frn_net_lock(n);
    r = frn_net_check(n, peer_id, address, handle, head, NULL);
    if (r == FRANCIS_OK)
        r = frn_net_begin(n, peer_id, address, handle, head, NULL, true, false, FRN_NEVER);
    frn_net_unlock(n);
    return r;
}

static frn_lane *frn_net_stream(frn_net *n, uint64_t stream)
{
    frn_lane *l = frn_lane_find(n, stream);
    return l != NULL && l->stream ? l : NULL;
}

/* The head of the answer: before the first byte, or never. */
static void frn_net_stream_head(frn_net *n, uint64_t stream, frn_buf *head)
{
    frn_lane *l;

    frn_net_lock(n);
    l = frn_net_stream(n, stream);
    if (l != NULL && !l->ours && !l->headed && !l->chunks_end
        && (head == NULL || head->size <= FRN_HEAD_MAX)) {
        l->headed = true;
        frn_lane_start(l, head, NULL);
        frn_link_kick(l->link);
    }
    frn_net_unlock(n);
}

/* Into the ring; how many of them. */
static size_t frn_lane_put(frn_lane *l, const unsigned char *data, size_t size)
{
    size_t at = (l->chunks_at + l->chunks_size) % FRN_CHUNKS_BYTES, first = FRN_CHUNKS_BYTES - at;

    if (size > FRN_CHUNKS_BYTES - l->chunks_size)
        size = FRN_CHUNKS_BYTES - l->chunks_size;
    if (first > size)
        first = size;
    memcpy(l->chunks + at, data, first);
    memcpy(l->chunks, data + first, size - first);
    l->chunks_size += size;
    return size;
}

/* What does not fit: PENDING, and WRITABLE follows when there is room again. */
static francis_result frn_lane_write(frn_lane *l, const unsigned char *data, size_t size,
                                     size_t *taken)
{
    frn_mem *m = l->net->mem;
    size_t   n = 1;

    if (l->chunks == NULL)
        l->chunks = (unsigned char *)frn_mem_resize(m, NULL, 0, FRN_CHUNKS_BYTES);
    if (l->chunks == NULL)
        return FRANCIS_ERR_NOMEM;
    l->headed = true;
    while (size > *taken && n > 0) {
        n = frn_lane_put(l, data + *taken, size - *taken);
        *taken += n;
        frn_lane_ready(l);
        if (l->link != NULL)
            frn_link_kick(l->link);
    }
    if (size == *taken)
        return FRANCIS_OK;
    if (l->writable == NULL)
        l->writable = frn_net_event_new(l->net, FRN_NET_WRITABLE, l->handle, l->end->peer);
    return l->writable != NULL ? FRANCIS_PENDING : FRANCIS_ERR_NOMEM;
}

/* OK: all was taken. PENDING: *taken bytes were. STALE: nobody reads it any more; NOMEM. */
static francis_result frn_net_stream_write(frn_net *n, uint64_t stream, const void *data,
                                           size_t size, size_t *taken)
{
    frn_lane      *l;
    francis_result r = FRANCIS_ERR_STALE;

    *taken = 0;
    frn_net_lock(n);
    l = frn_net_stream(n, stream);
    if (l != NULL && !l->chunks_end)
        r = size == 0 ? FRANCIS_OK : frn_lane_write(l, (const unsigned char *)data, size, taken);
    frn_net_unlock(n);
    return r;
}

/* No more comes from this side. */
static void frn_net_stream_end(frn_net *n, uint64_t stream)
{
    frn_lane *l;

    frn_net_lock(n);
    l = frn_net_stream(n, stream);
    if (l != NULL && !l->chunks_end) {
        frn_link *c = l->link;
        l->chunks_end = true;
        frn_net_event_drop(n, l->writable);
        l->writable = NULL;
        frn_lane_ready(l);
        if (c != NULL)
            frn_link_kick(c);
    }
    frn_net_unlock(n);
}

/* So many bytes of chunks are read: the peer may send as many again. */
static void frn_net_stream_consumed(frn_net *n, uint64_t stream, size_t size)
{
    frn_lane *l;

    frn_net_lock(n);
    l = frn_net_stream(n, stream);
    if (l != NULL && l->link != NULL) {
        if (size > l->unread)
            size = l->unread;
        frn_lane_read(l, size);
        frn_lane_owe(l, size);
        if (l->window || l->link->window_due)
            frn_link_kick(l->link);
    }
    frn_net_unlock(n);
}

/* Both directions end at once; what was written and not sent is lost. why: at most
 * FRN_RESET_WHY_MAX bytes, or it is left out. No event of the stream comes any more. */
static void frn_net_stream_reset(frn_net *n, uint64_t stream, francis_result result, frn_buf *why)
{
    frn_net_lock(n);
    (void)frn_net_break(n, stream, result, why);
    frn_net_unlock(n);
}

/* PEER_UP when it has shown life, PEER_DOWN when not within connect_timeout_ms. */
static void frn_net_ping(frn_net *n, const char *peer_id, const char *address)
{
    frn_net_peer *p = NULL;

    frn_net_lock(n);
    if (frn_net_check(n, peer_id, address, 0, NULL, NULL) == FRANCIS_OK)
        p = frn_net_peer_get(n, peer_id, address);
    if (p != NULL && p->ping_event == NULL)
        p->ping_event = frn_net_event_new(n, FRN_NET_PEER_DOWN, 0, peer_id);
    if (p != NULL && p->ping_event != NULL) {
        p->ping_until_ns = frn_net_now(n) + frn_ms_to_ns(n->d.connect_timeout_ms);
        frn_net_peer_arm(p, FRN_NEVER);
        if (p->main != NULL) {
            p->main->ping_due = true;
            frn_link_kick(p->main);
        } else {
            frn_net_peer_kick(p);
        }
    }
    frn_net_unlock(n);
}

static void frn_net_stats_get(frn_net *n, frn_net_stats *out)
{
    frn_net_lock(n);
    memcpy(out, &n->stats, offsetof(frn_net_stats, bytes_in));
    out->bytes_in = __atomic_load_n(&n->stats.bytes_in, __ATOMIC_RELAXED);
    out->bytes_out = __atomic_load_n(&n->stats.bytes_out, __ATOMIC_RELAXED);
    frn_net_unlock(n);
}

// >> 600 host | needs: 210-270 400
//    The structs of the runtime and the lock that guards them all. One lock per host: it is held
//    for list operations only, never around a handler, a callback, a log sink or the database.

typedef struct frn_type {
    frn_node           node;        /* in host->types */
    frn_list           order;       /* in host->type_order: of registration */
    francis_actor_desc desc;        /* strings and methods are copies */
    size_t             methods_count;
    frn_buf           *bootstrap_input;
    bool               boot_due;    /* of a singleton: bootstrap has to run */
    char               owner[64];   /* the host that had it at the last look; "" = none */
    int64_t            idle_ns;
    frn_list           idle;        /* actors by last use, the longest idle first */
    frn_timer          idle_timer;
    uint32_t           active;      /* activations, those on their way in and out included */
    uint32_t           spread;      /* so many that are idle make room for other hosts */
    bool               wakes;       /* it has handlers of alarms or jobs */
    frn_heap           due;         /* those of the next seconds, by the wall clock in ms */
    uint32_t           firing;
    struct frn_type   *group;       /* the first type of its capacity group, which counts: */
    uint32_t           group_running;
    int64_t            look_from_ms;        /* where the next look at the file goes on, */
    char               look_from_id[FRN_UUID_SIZE];
    bool               look_more;           /* because there was more than could be taken, */
    bool               stalled;             /* or too much was taken already */
    int64_t            look_next_ms;        /* the first row behind those that were looked at */
} frn_type;

typedef enum frn_due_state {
    FRN_DUE_WAITING,                /* in type->due */
    FRN_DUE_MARKING,                /* the file is told that it begins */
    FRN_DUE_FIRING,                 /* a call is under way, or its turn */
    FRN_DUE_CHECKING,               /* the file is asked whether it is still ours */
    FRN_DUE_WRITING                 /* what has become of it is with the committer */
} frn_due_state;

typedef enum frn_settled {          /* by the commit of its turn */
    FRN_SETTLED_NOT, FRN_SETTLED_OVER, FRN_SETTLED_ARMED
} frn_settled;

typedef struct frn_due {            /* an alarm or job that is due soon, or runs */
    frn_node      node;             /* in host->dues, by its key */
    frn_timer     timer;            /* in type->due; at_ns is in ms */
    frn_type     *type;
    frn_alarm     a;
    frn_schedule  schedule;         /* from when it fires */
    uint64_t      call;             /* FIRING */
    int64_t       began_ms;         /* when its turn began, by the wall clock */
    uint32_t      failures;         /* in a row, that were not its own */
    frn_due_state state;
    frn_settled   settled;
    bool          gone;             /* it is no more; whoever has it frees it */
    bool          counted;          /* in firing */
    bool          sure;             /* we have it from our own commit */
    bool          ranked;           /* it has let the hosts before us try */
    bool          doubt;            /* its row may be another one: it is read before it runs */
    frn_list      check;            /* in host->due_checks: it may be no more */
} frn_due;

#define FRN_DUE(timer_) FRN_OF(frn_due, timer, timer_)

typedef enum frn_phase {
    FRN_PHASE_NEW,                  /* wants to be claimed */
    FRN_PHASE_CLAIMING,             /* the claim is with the committer */
    FRN_PHASE_WAKING,               /* upgrade and activate handlers */
    FRN_PHASE_ACTIVE,
    FRN_PHASE_SLEEPING,             /* deactivate handler */
    FRN_PHASE_SETTLING,             /* its last writes are with the committer */
    FRN_PHASE_RELEASING,            /* the release is */
    FRN_PHASE_LOST,                 /* its image is not to be trusted; running handlers leave */
    FRN_PHASE_ORPHAN                /* replaced; exists for a handler that does not return */
} frn_phase;

typedef struct frn_halter {         /* somebody who waits for the end of an activation */
    struct frn_halter *next;
    uint64_t           call;
} frn_halter;

typedef struct frn_actor {          /* one activation; the id's bytes lie behind it */
    frn_node      node;             /* in host->actors */
    frn_type     *type;
    frn_list      idle;             /* in type->idle */
    frn_list      mailbox;          /* calls, in the order of their arrival */
    frn_list      holders;          /* turns that hold the actor */
    frn_buf      *state;            /* sealed image; NULL = none */
    int64_t       expires_ms;       /* of state; 0 = never */
    int64_t       used_ns;          /* 0 = look again */
    frn_write    *last_write;       /* newest that is not durable */
    void         *instance;
    frn_request  *requests;
    frn_halter   *halters;
    frn_list      parked;           /* calls whose turn has deferred */
    frn_list      streams;          /* that it has kept */
    uint32_t      mailbox_count, writes, stored_version;
    uint32_t      life;             /* of the host: that in which it was claimed */
    uint8_t       phase;            /* frn_phase */
    bool          exclusive;        /* the holder is */
    bool          halting;
    bool          counted;          /* in type->active */
    bool          placed;           /* the placement row is ours, or may be */
} frn_actor;

#define FRN_ACTOR_ID(a) ((char *)FRN_TAIL(a))

typedef enum frn_call_state {
    FRN_CALL_FREE, FRN_CALL_NEW,
    FRN_CALL_QUEUED,                /* in a mailbox */
    FRN_CALL_RUNNING,               /* has a turn */
    FRN_CALL_GATED,                 /* has its answer, which waits for a commit */
    FRN_CALL_HELD,                  /* will be sent when a commit is through */
    FRN_CALL_PARKED,                /* deferred by its turn */
    FRN_CALL_EXPECTED,              /* waits for francis_answer */
    FRN_CALL_HALTING,               /* waits for activations to end */
    FRN_CALL_WRITING,               /* waits for a write of its own */
    FRN_CALL_BACKOFF,               /* will be tried again */
    FRN_CALL_FINDING,               /* its actor is looked for */
    FRN_CALL_REMOTE,                /* with another host */
    FRN_CALL_CALLBACK,              /* done, on_done is due */
    FRN_CALL_IN_CALLBACK,
    FRN_CALL_DONE
} frn_call_state;

typedef enum frn_op {               /* also on the wire */
    FRN_OP_METHOD, FRN_OP_PUT, FRN_OP_PURGE, FRN_OP_BOOTSTRAP, FRN_OP_HALT,
    FRN_OP_HELLO,                   /* a host is new: look who is there */
    FRN_OP_HINT,                    /* something is due, or is no more: look at the file */
    FRN_OP_WIRE_END,
    FRN_OP_OCCURRENCE,              /* of an alarm or job; never on the wire */
    FRN_OP_RECORD                   /* a change of one */
} frn_op;

/* Who was in which turn when he called: immutable, shared by all calls of that turn. */
typedef struct frn_chain {
    struct frn_chain *parent;
    uint32_t          refs, depth;
    uint64_t          turn;         /* no other turn of the cluster has this number */
    size_t            type_size, id_size;   /* they lie behind, each with its NUL */
} frn_chain;

#define FRN_CHAIN_TYPE(c) ((char *)FRN_TAIL(c))
#define FRN_CHAIN_ID(c)   ((char *)FRN_TAIL(c) + (c)->type_size)

struct frn_turn;

typedef struct frn_piece {          /* of a frn_bytes: never empty */
    frn_list link;
    frn_buf *buf;
} frn_piece;

/* Bytes in the order in which they came; of the first piece those before .at are gone. */
typedef struct frn_bytes {
    frn_list pieces;
    size_t   size, at;
    size_t   count;                 /* of pieces */
} frn_bytes;

typedef enum frn_packet_state {
    FRN_PACKET_STAGED,              /* its turn has written state, and runs */
    FRN_PACKET_GATED,               /* its call waits at a gate */
    FRN_PACKET_OPEN                 /* it may leave, behind those before it */
} frn_packet_state;

typedef struct frn_packet {         /* what a handler has written, and waits for a commit */
    frn_list         link;          /* in stream->packets */
    francis_stream  *stream;        /* NULL = broken off meanwhile */
    struct frn_call *call;          /* that stands at the gate for it */
    frn_bytes        bytes;
    bool             end;           /* nothing comes after it */
    frn_packet_state state;
} frn_packet;

struct francis_stream {             /* one end */
    frn_node        node;           /* in host->streams, by its lane, if another host opened it */
    frn_list        all;            /* host->all_streams */
    frn_list        link;           /* turn->streams, actor->streams */
    frn_list        staged;         /* in turn->staged: the last packet is */
    francis_host   *host;
    francis_stream *peer;           /* the other end, if it is on this host */
    uint64_t        lane;           /* of the net, to the other end; 0 = none */
    uint64_t        call;           /* the call that opened it; 0 = it is over */
    struct frn_turn *turn;          /* whose it is; NULL = opened outside, or kept */
    frn_actor      *keeper;
    bool            caller;         /* the end of him who opened it, not the handler's */
    bool            mapped;
    bool            owned;          /* somebody has the pointer */
    bool            kept;
    bool            answered;       /* the answer has begun */
    frn_bytes       in, out;
    frn_bytes       sent;           /* caller: has left, and may have to be sent again elsewhere */
    bool            sent_lost;      /* it was too much to keep */
    frn_list        packets;
    size_t          held;           /* in packets that are not staged, with what they cost */
    uint64_t        in_total, out_total, bytes_max;
    bool            in_end;         /* the other side has ended, behind what is in .in */
    bool            out_end, out_over;      /* this side has; the other one knows it */
    frn_buf        *input;          /* caller: for another host, .input_at bytes have left; handler:
                                       once it is whole. Until then it gathers in .in */
    size_t          input_at, input_size;
    frn_buf        *opening;        /* handler: head of the call, until the input is whole */
    frn_buf        *type_in, *type_out, *error;
    francis_result  failure;
    francis_call    wait;           /* of him who waits for it */
    bool            want_read, want_write;
    void          (*on_ready)(francis_stream *stream, void *user);
    void           *user;
};

/* The engine's own record of a call. The caller's francis_call is touched to complete it only. */
typedef struct frn_call {
    frn_list         link;          /* mailbox, gate, parked, callbacks, outbox */
    frn_list         owner_link;    /* in owner->calls, or in host->outside */
    uint64_t         handle;        /* generation << 32 | slot + 1 */
    francis_call    *user;          /* NULL = nobody looks */
    struct frn_turn *owner;         /* the turn that made it; NULL = outside */
    struct frn_turn *turn;          /* RUNNING */
    frn_actor       *actor;         /* QUEUED, RUNNING, PARKED: the target */
    frn_type        *type;
    frn_buf         *target;        /* id of the target, for another attempt */
    frn_op           op;
    francis_handler  run;
    const char      *method;        /* of the type's table, or of method_copy */
    frn_buf         *method_copy, *input, *request_id, *trace;
    frn_chain       *chain;
    uint64_t         hash;          /* of method and input */
    int64_t          timeout_ms, deadline_ns, expire_ms;
    int64_t          queued_ns;     /* QUEUED, for an actor that was being released: since then */
    frn_timer        timer;
    uint64_t         pending;       /* HALTING: activations that have not ended */
    uint32_t         attempts, pins;
    uint8_t          state;         /* frn_call_state */
    bool             peek, active_only, one_way, on_done, held, wrote, was_unknown, waiting, freed;
    bool             unawaited;     /* its caller has made it and gone on */
    bool             streams;       /* it opens a stream */
    bool             foreign;       /* of another host, that waits for .token to be answered */
    bool             grace;         /* its time is up, but the other host may still tell */
    uint8_t          hops;          /* how often it was sent, or could not be */
    uint64_t         token;
    francis_stream  *stream;        /* .streams: the caller's end, if foreign the handler's */
    frn_packet      *packet;        /* for which it stands at a gate */
    frn_buf         *owner_host;    /* MOVED: who has the actor: id, NUL, address, NUL */
    frn_due         *due;           /* OCCURRENCE: which */
    bool             claimed_answer;        /* a turn holds an answer for it until its commit */
    bool             from_handler;
    francis_result   result;
    frn_buf         *reply, *error;
    pthread_cond_t  *cond;          /* of a thread that waits; NULL = none */
    pthread_t        callback_thread;
    void           (*done)(francis_host *host, struct frn_call *call);     /* francis's own calls */
} frn_call;

typedef struct frn_block {          /* francis_alloc */
    struct frn_block *next;
    size_t            size;
    uint64_t          align[2];
} frn_block;

typedef struct frn_answer {         /* an answer that waits for its turn's commit, or a send */
    struct frn_answer *next;
    uint64_t           ticket;      /* 0 = call is to be sent */
    frn_call          *call;
    francis_result     result;
    frn_buf           *reply;
} frn_answer;

typedef struct frn_turn {
    francis_ctx     ctx;            /* first: what the handler sees */
    frn_list        link;           /* in host->ready */
    frn_list        holder_link;    /* in actor->holders */
    frn_list        running_link;   /* in host->running, while a handler runs */
    frn_actor      *actor;
    frn_call       *call;           /* the caller's; NULL = none, or gone */
    frn_type       *type;
    francis_handler run;            /* what runs now, */
    francis_handler next;           /* and after francis_await */
    uint64_t        number;
    int64_t         deadline_ns, started_ns, now_ms;
    frn_chain      *chain_in, *chain;
    frn_buf        *input, *request_id, *trace, *method_copy;
    uint64_t        hash;           /* of method and input, for the request id */
    frn_op          op;
    int64_t         expire_arg;
    frn_buf        *base;           /* the image that it began with, or flushed */
    frn_buf        *work;           /* its private copy, or what it has set */
    int64_t         expires_ms;
    frn_buf        *reply, *error;
    frn_list        calls;          /* that it has made */
    frn_list        streams;        /* ends that end with it */
    frn_list        staged;         /* streams that it has written to after the state */
    uint32_t        outstanding;    /* of those, asynchronous ones without an answer */
    frn_answer     *answers, **answers_last;
    frn_list        records;        /* alarms and jobs that it changes */
    uint32_t        records_count;
    int64_t         granted_ns;     /* of an alarm or job: its actor is free for it since then */
    frn_due        *due;            /* what it runs for, until it is sealed or lost */
    frn_buf        *due_texts, *due_error, *due_id;
    char            job_id[FRN_UUID_SIZE];
    frn_block      *blocks;
    frn_timer       timer;          /* how long it may stay after it was doomed */
    francis_result  doom;           /* atomic; why it commits nothing. OK = it may */
    francis_result  refused;        /* the first write that was refused */
    bool            exclusive, set, deleted, expire_set, purge, halt, deferred, patient;
    bool            in_handler, in_callback, suspended, ready, inline_run, flushed, wrote;
} frn_turn;

typedef enum frn_peer_state {
    FRN_PEER_TRUSTED,
    FRN_PEER_SUSPECT,               /* a challenge is on its way to its row */
    FRN_PEER_CHALLENGED,            /* until .timer it may answer */
    FRN_PEER_JUDGED                 /* the committer looks whether it has */
} frn_peer_state;

typedef struct frn_peer {           /* another host, that has what somebody here wanted */
    frn_list       link;            /* in host->peers */
    frn_timer      timer;
    frn_peer_state state;
    int64_t        challenge;
    int64_t        down_until_ns;   /* it could not be reached a moment ago */
    int64_t        full_until_ns;   /* it had no room */
    uint64_t       load;            /* actors that are active there, as far as is known */
    bool           hint;            /* it is to be told that something is due */
    bool           listed;          /* in the file, at the last look */
    bool           known;           /* at an earlier one, too */
    frn_buf       *types;           /* that it serves: each with its NUL; NULL = not known */
    frn_owner      host;
} frn_peer;

typedef struct frn_place {          /* where an actor was found; only its hash is kept */
    uint64_t  hash;
    frn_peer *peer;
    int64_t   until_ns;
} frn_place;

typedef enum frn_host_phase {
    FRN_HOST_OPEN, FRN_HOST_RUNNING, FRN_HOST_DRAINING, FRN_HOST_STOPPED
} frn_host_phase;

typedef struct frn_worker {
    frn_list      link;
    francis_host *host;
    pthread_t     thread;
    bool          ended;
} frn_worker;

enum { FRN_DUE_CHANGES = 256, FRN_DECLINED = 32 };

typedef struct frn_declined {       /* a job that this host has rejected: others first */
    char    id[FRN_UUID_SIZE];
    int64_t until_ns;
} frn_declined;

enum {
    FRN_CALLS_PER_CHUNK = 64,
    FRN_BATCH_WRITES    = 2048,
    FRN_BATCH_BYTES     = 8 * 1024 * 1024,
    FRN_STEP_TURNS      = 2048,     /* without workers: turns per step, then a commit */
    FRN_DUE_MAX         = 16,       /* signals that wait until the lock is given up */
    FRN_TURNS_SPARE     = 64,       /* turn structs that are kept for the next turns */
    FRN_WORKERS_SPARE   = 8         /* threads beyond those wanted that may stay on */
};

struct francis_host {
    francis_ctx       ctx;          /* for outside of turns */
    francis_host_desc desc;         /* resolved */
    francis_platform  platform;
    frn_mem           mem;
    frn_plat          plat;
    frn_logger        log;
    frn_store        *store;
    pthread_mutex_t   lock;
    pid_t             pid;
    unsigned char    *fork_mark;
    pthread_t         owner;
    pthread_key_t     worker_key;   /* not NULL in threads of ours */
    bool              has_key;
    char             *strings[8];   /* copies of those of the desc */
    char              error[512];
    francis_result    failure;      /* what sticks */
    char              id[FRN_UUID_SIZE];
    uint64_t          seed, turn_number, write_number;
    frn_host_phase    phase;
    uint32_t          orphans;      /* activations that a stuck handler keeps from being freed */
    bool              rejoin_told;  /* why it cannot join again */
    bool              threads, serving, stop_timed_out, leaving, rejoin;
    int               stop_asked;   /* atomic; set by francis_stop */

    frn_map           types, actors;
    frn_list          type_order;
    frn_call        **chunks;
    size_t            chunks_count;
    uint32_t          calls_total, calls_used, turns_total, turns_spare;
    frn_list          calls_free, outside, turns_free;
    frn_heap          timers;
    frn_timer         sweep_timer, stop_timer, commit_timer, spread_timer;
    int64_t           spread_until_ns;
    int64_t           clock_ns;     /* last look at the clock */
    void            (*on_call_timer)(francis_host *host, frn_timer *timer);    /* filled by 670 */
    void            (*on_turn_timer)(francis_host *host, frn_timer *timer);
    void            (*on_stream_close)(francis_host *host, francis_stream *stream);

    frn_list          ready, running, callbacks, outbox;
    frn_list          ready_patient;        /* turns of alarms and jobs: every other one */
    bool              patient_next;
    uint32_t          ready_count;
    frn_list          queue;        /* writes for the committer */
    uint32_t          queue_count;
    frn_part          part;         /* that is being committed */
    frn_write        *batch[FRN_BATCH_WRITES];
    bool              committing;
    bool              in_queue;     /* a place is kept for us among those who want to write */
    int64_t           busy_since_ns, busy_retry_ns, step_ns, commit_since_ns;
    int64_t           busy_told_ns; /* who keeps us from writing was last looked up, */
    int64_t           busy_logged_ns;       /* and told of */
    int64_t           stuck_since_ns;       /* since then he has not moved */
    frn_blocker       blocker;

    uint32_t          life;         /* 1 = the first; one more each time it joins again */
    int64_t           lease_ns;     /* how long it is, */
    int64_t           lease_from_ns;        /* and from when: frn_plat_lease_ns */
    int64_t           part_from_ns; /* when the commit that is under way began */
    frn_timer         lease_timer;
    frn_list          lease_gate;   /* what may leave when the lease is renewed */
    bool              look_due, looking, answer_due;
    frn_list          peers;
    uint32_t          peers_count;

    frn_net          *net;          /* NULL = calls stay on this host */
    frn_trust        *trust;
    frn_timer         identity_timer;
    int64_t           identity_from_ms, identity_until_ms;  /* by the wall clock */
    frn_place        *places;       /* FRN_PLACES of them; NULL = none yet */
    frn_list          finding;      /* calls whose actor is looked for */
    frn_list          all_streams;
    frn_map           streams;      /* handlers' ends, by the lane to another host */
    uint64_t          random;
    bool              identity_due, announce;
    bool              net_stepped;  /* its sockets were looked at, after poll() */
    void            (*on_net)(francis_host *host);      /* filled by 760 */
    int64_t           wall_base_ms, mono_base_ns;   /* since then nobody has set the clock */
    frn_write         sweep;
    bool              sweep_queued, sweep_placements, clock_was_set;

    frn_list          workers;
    uint32_t          workers_live, workers_idle, workers_blocked, workers_wanted;
    pthread_t         loop_thread, commit_thread;
    bool              loop_live, commit_live, commit_idle, commit_end, workers_end;
    pthread_cond_t    work_cond, commit_cond, rest_cond, callback_cond;
    int               conds;
    pthread_cond_t   *due[FRN_DUE_MAX];     /* to be signalled when the lock is given up */
    unsigned          due_count;
    frn_list          waiters_free;
    bool              stepping;     /* without workers: somebody is inside */
    int               wake_fds[2], poll_fd, timer_fd;   /* -1 where there is none */
    int               signalled;    /* atomic; instead of wake_fds, where sockets are no
                                       descriptors */
    bool              woken, polled_by_fd;
    int64_t           armed_ns;     /* of timer_fd */
    int64_t           loop_until_ns;    /* the loop sleeps until then */

    frn_map           dues;
    size_t            dues_bytes;
    uint32_t          firing, firing_most;  /* alarms and jobs under way, and how many may be */
    int64_t           firing_cut_ns;        /* when that was made less */
    uint32_t          wakes;        /* types that have handlers of such */
    bool              due_run_due, due_looking, due_look_due;
    bool              due_alone;    /* a suspicious one runs, */
    bool              due_alone_wanted;     /* or waits until nothing else does, since */
    int64_t           due_alone_ns;
    bool              hints_due;
    frn_list          due_checks;
    frn_timer         due_timer;
    int64_t           due_poll_ns;  /* when to ask whether the file has changed */
    int64_t           due_version;
    int64_t           due_wall_ms, due_mono_ns;     /* a look at both clocks */
    frn_type         *due_turn;     /* whose turn it is to fire */
    uint64_t          due_changes;  /* of alarms and jobs that were committed, and the keys of */
    uint64_t          due_changed[FRN_DUE_CHANGES];     /* the last of them */
    frn_declined      declined[FRN_DECLINED];
    unsigned          declined_next;
    frn_zones         zones;

    frn_list         *boot;         /* in type_order: the singleton that is bootstrapped */
    uint32_t          boot_attempts;
    uint64_t          boot_call;
    frn_timer         boot_timer, boot_look_timer;
    bool              boot_look_due;

    francis_stats     stats;
};

#define FRN_TURN(ctx_) FRN_OF(frn_turn, ctx, ctx_)
#define FRN_IN_TURN(ctx_) ((ctx_)->type != NULL)

static void frn_lock(francis_host *h) { (void)pthread_mutex_lock(&h->lock); }

/* Whoever is woken while the lock is held would wait for it at once, and be woken twice. So he is
 * signalled when it is given up. All these conditions live as long as the host. Lock held. */
static void frn_signal(francis_host *h, pthread_cond_t *cond)
{
    if (h->due_count < FRN_DUE_MAX)
        h->due[h->due_count++] = cond;
    else
        (void)pthread_cond_signal(cond);
}

static void frn_unlock(francis_host *h)     /* what was logged under the lock leaves now */
{
    pthread_cond_t *due[FRN_DUE_MAX];
    unsigned        count = h->due_count, i;

    for (i = 0; i < count; i++)
        due[i] = h->due[i];
    h->due_count = 0;
    (void)pthread_mutex_unlock(&h->lock);
    for (i = 0; i < count; i++)
        (void)pthread_cond_signal(due[i]);
    frn_log_flush(&h->log);
}

/* The only way to wait with the lock held. */
static void frn_wait_for(francis_host *h, pthread_cond_t *cond, int64_t for_ns)
{
    while (h->due_count > 0)
        (void)pthread_cond_signal(h->due[--h->due_count]);
    frn_cond_wait(cond, &h->lock, for_ns);
}

/* What a thread waits on for a call. There are as many as threads have waited at a time. */
typedef struct frn_waiter {
    frn_list       link;            /* host->waiters_free */
    pthread_cond_t cond;
} frn_waiter;

static frn_waiter *frn_waiter_get(francis_host *h)
{
    frn_list   *l = frn_list_pop(&h->waiters_free);
    frn_waiter *w;

    if (l != NULL)
        return FRN_OF(frn_waiter, link, l);
    w = (frn_waiter *)frn_mem_alloc(&h->mem, sizeof *w);
    if (w != NULL && !frn_cond_init(&w->cond)) {
        frn_mem_free(&h->mem, w, sizeof *w);
        w = NULL;
    }
    return w;
}

static void frn_waiters_free(francis_host *h)
{
    frn_list *l;

    while ((l = frn_list_pop(&h->waiters_free)) != NULL) {
        (void)pthread_cond_destroy(&FRN_OF(frn_waiter, link, l)->cond);
        frn_mem_free(&h->mem, FRN_OF(frn_waiter, link, l), sizeof(frn_waiter));
    }
}

static int64_t frn_now_ns(francis_host *h) { return h->clock_ns = frn_plat_now_ns(&h->plat); }

static frn_host_phase frn_host_phase_now(francis_host *h)
{
    frn_host_phase phase;
    frn_lock(h);
    phase = h->phase;
    frn_unlock(h);
    return phase;
}

/* The first failure sticks; later ones are consequences. */
static francis_result frn_host_fail(francis_host *h, francis_result r, const char *format, ...)
    FRANCIS_PRINTF(3, 4);

static francis_result frn_host_fail(francis_host *h, francis_result r, const char *format, ...)
{
    va_list args;

    if (h->failure != FRANCIS_OK)
        return r;
    h->failure = r;
    va_start(args, format);
    (void)vsnprintf(h->error, sizeof h->error, format, args);
    va_end(args);
    return r;
}

static bool frn_forked(const francis_host *h)
{
    return h->fork_mark != NULL ? *h->fork_mark == 0 : getpid() != h->pid;
}

// >> 610 loop | needs: 600
//    Timers, and what wakes the thread that waits for them: a pipe or an eventfd, and for other
//    people's loops one descriptor (epoll and timerfd, kqueue) that says when to call francis_poll.

static bool frn_loop_set_fd(int fd)
{
    return fd >= 0 && fcntl(fd, F_SETFD, FD_CLOEXEC) == 0 && fcntl(fd, F_SETFL, O_NONBLOCK) == 0;
}

static bool frn_loop_open_wake(francis_host *h)
{
    if (frn_plat_has_net(&h->plat))
        return true;
#if FRN_EPOLL
    h->wake_fds[0] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    h->wake_fds[1] = h->wake_fds[0];
    (void)frn_loop_set_fd;
    return h->wake_fds[0] >= 0;
#else
    return pipe(h->wake_fds) == 0 && frn_loop_set_fd(h->wake_fds[0])
        && frn_loop_set_fd(h->wake_fds[1]);
#endif
}

static bool frn_loop_open_poll(francis_host *h)
{
#if FRN_EPOLL
    struct epoll_event e;

    if (frn_plat_has_net(&h->plat))
        return true;
    h->poll_fd = epoll_create1(EPOLL_CLOEXEC);
    h->timer_fd = timerfd_create(FRN_CLOCK, TFD_CLOEXEC | TFD_NONBLOCK);
    memset(&e, 0, sizeof e);
    e.events = EPOLLIN;
    return h->poll_fd >= 0 && h->timer_fd >= 0
        && epoll_ctl(h->poll_fd, EPOLL_CTL_ADD, h->wake_fds[0], &e) == 0
        && epoll_ctl(h->poll_fd, EPOLL_CTL_ADD, h->timer_fd, &e) == 0;
#elif FRN_KQUEUE
    struct kevent e;

    if (frn_plat_has_net(&h->plat))
        return true;
    h->poll_fd = kqueue();
    EV_SET(&e, h->wake_fds[0], EVFILT_READ, EV_ADD, 0, 0, NULL);
    return h->poll_fd >= 0 && fcntl(h->poll_fd, F_SETFD, FD_CLOEXEC) == 0
        && kevent(h->poll_fd, &e, 1, NULL, 0, NULL) == 0;
#else
    (void)h;
    return true;
#endif
}

static void frn_loop_close(francis_host *h)
{
    if (h->timer_fd >= 0)
        (void)close(h->timer_fd);
    if (h->poll_fd >= 0)
        (void)close(h->poll_fd);
    if (h->wake_fds[1] >= 0 && h->wake_fds[1] != h->wake_fds[0])
        (void)close(h->wake_fds[1]);
    if (h->wake_fds[0] >= 0)
        (void)close(h->wake_fds[0]);
    h->timer_fd = h->poll_fd = h->wake_fds[0] = h->wake_fds[1] = -1;
}

static void frn_loop_signal(francis_host *h)    /* also from a signal handler */
{
    static const uint64_t one = 1;
    int                   old = errno;

    FRN_STORE(&h->signalled, 1);
    if (h->wake_fds[1] >= 0 && write(h->wake_fds[1], &one, sizeof one) < 0)
        errno = old;                /* full: it is awake already */
    errno = old;
}

/* Whoever waits in poll() looks again. Cheap when he has been told already. */
static void frn_wake(francis_host *h)
{
    if (h->woken || h->stepping)
        return;
    h->woken = true;
    frn_loop_signal(h);
}

static void frn_loop_drain(francis_host *h, bool woken)     /* else it is known that nobody did */
{
    char drain[64];

    h->woken = h->woken && !woken;
    if (woken)
        FRN_STORE(&h->signalled, 0);
    while (woken && h->wake_fds[0] >= 0 && read(h->wake_fds[0], drain, sizeof drain) > 0
           && h->wake_fds[0] != h->wake_fds[1])
        continue;
    if (h->polled_by_fd && h->timer_fd >= 0 && read(h->timer_fd, drain, 8) == 8)
        h->armed_ns = FRN_NEVER;    /* it has fired */
}

/* Tells the kernel when the poll descriptor has to become readable by itself. */
static void frn_loop_arm(francis_host *h, int64_t at_ns)
{
#if FRN_EPOLL
    struct itimerspec t;
    int64_t           in_ns = at_ns;

    if (!h->polled_by_fd || at_ns == h->armed_ns)
        return;
    h->armed_ns = at_ns;
    memset(&t, 0, sizeof t);
    if (at_ns != FRN_NEVER) {
        in_ns = at_ns - frn_plat_now_ns(&h->plat);
        if (in_ns < 1)
            in_ns = 1;
        t.it_value.tv_sec = (time_t)(in_ns / (1000 * FRN_MS));
        t.it_value.tv_nsec = (long)(in_ns % (1000 * FRN_MS));
    }
    (void)timerfd_settime(h->timer_fd, 0, &t, NULL);
#elif FRN_KQUEUE
    struct kevent e;
    int64_t       in_ns;

    if (!h->polled_by_fd || at_ns == h->armed_ns)
        return;
    h->armed_ns = at_ns;
    in_ns = at_ns == FRN_NEVER ? 0 : at_ns - frn_plat_now_ns(&h->plat);
    EV_SET(&e, 1, EVFILT_TIMER, at_ns == FRN_NEVER ? EV_DELETE : EV_ADD | EV_ONESHOT, 0,
           in_ns < FRN_MS ? 1 : in_ns / FRN_MS, NULL);
    (void)kevent(h->poll_fd, &e, 1, NULL, 0, NULL);
#else
    (void)h;
    (void)at_ns;
#endif
}

static int64_t frn_timers_next(const francis_host *h)
{
    return h->timers.count == 0 ? FRN_NEVER : h->timers.items[1]->at_ns;
}

/* The heap has room for every timer that exists (see frn_timers_reserve), so this cannot fail. */
static void frn_timer_set(francis_host *h, frn_timer *t, int64_t at_ns)
{
    bool ok = frn_heap_set(&h->mem, &h->timers, t, at_ns);

    FRN_ASSERT(ok);
    (void)ok;
    if (at_ns < h->loop_until_ns)
        frn_wake(h);
}

static void frn_timer_stop(francis_host *h, frn_timer *t)
{
    if (t->index != 0)
        frn_heap_remove(&h->timers, t);
}

/* One timer per call slot, turn, type and peer, and a few of the host's. */
static bool frn_timers_reserve(francis_host *h, size_t more)
{
    return frn_heap_reserve(&h->mem, &h->timers,
                            (size_t)h->calls_total + h->turns_total + h->types.count
                                + h->peers_count + 13 + more);
}

static void frn_timers_run(francis_host *h)
{
    int64_t now = frn_now_ns(h);

    while (h->timers.count > 0 && h->timers.items[1]->at_ns <= now) {
        frn_timer *t = h->timers.items[1];
        frn_heap_remove(&h->timers, t);
        t->fire(h, t);
    }
}

// >> 620 call | needs: 600 610
//    Records of calls: made, completed, brought to their callers. Completing runs nothing: what has
//    to go on (a thread, a turn, a callback) is woken or queued.

static bool frn_calls_grow(francis_host *h)
{
    uint32_t   n = FRN_CALLS_PER_CHUNK, i;
    size_t     old = h->chunks_count * sizeof h->chunks[0];
    frn_call **chunks, *chunk;

    if (!frn_timers_reserve(h, n))
        return false;
    chunk = (frn_call *)frn_mem_alloc(&h->mem, FRN_CALLS_PER_CHUNK * sizeof *chunk);
    if (chunk == NULL)
        return false;
    chunks = (frn_call **)frn_mem_resize(&h->mem, h->chunks, old, old + sizeof *chunks);
    if (chunks == NULL) {
        frn_mem_free(&h->mem, chunk, FRN_CALLS_PER_CHUNK * sizeof *chunk);
        return false;
    }
    h->chunks = chunks;
    h->chunks[h->chunks_count] = chunk;
    for (i = 0; i < n; i++) {
        chunk[i].handle = (UINT64_C(1) << 32) | (h->chunks_count * FRN_CALLS_PER_CHUNK + i + 1);
        frn_list_push(&h->calls_free, &chunk[i].link);
    }
    h->chunks_count++;
    h->calls_total += n;
    return true;
}

static frn_call *frn_call_find(francis_host *h, uint64_t handle)
{
    uint64_t  at = (handle & 0xffffffffu) - 1;
    frn_call *c;

    if (at >= h->chunks_count * FRN_CALLS_PER_CHUNK)
        return NULL;
    c = &h->chunks[at / FRN_CALLS_PER_CHUNK][at % FRN_CALLS_PER_CHUNK];
    return c->handle == handle && c->state != FRN_CALL_FREE ? c : NULL;
}

static frn_call *frn_call_new(francis_host *h, frn_turn *owner, francis_call *user)
{
    frn_list *l;
    frn_call *c;
    uint64_t  handle;

    if (frn_list_empty(&h->calls_free) && !frn_calls_grow(h))
        return NULL;
    l = frn_list_pop(&h->calls_free);
    c = FRN_OF(frn_call, link, l);
    handle = c->handle;
    memset(c, 0, sizeof *c);
    c->handle = handle;
    c->state = FRN_CALL_NEW;
    c->user = user;
    c->owner = owner;
    c->result = FRANCIS_PENDING;
    c->deadline_ns = FRN_NEVER;
    c->timer.fire = h->on_call_timer;
    frn_list_init(&c->link);
    frn_list_init(&c->owner_link);
    frn_list_push(owner != NULL ? &owner->calls : &h->outside, &c->owner_link);
    h->calls_used++;
    if (user != NULL) {
        user->internal[0] = handle;
        user->internal[1] = (uint64_t)(uintptr_t)h;
        user->internal[2] = ~handle;
    }
    return c;
}

static void frn_chain_drop(francis_host *h, frn_chain *c)
{
    frn_chain *parent;
    for (; c != NULL && --c->refs == 0; c = parent) {
        parent = c->parent;
        frn_mem_free(&h->mem, c, sizeof *c + c->type_size + c->id_size);
    }
}

static frn_chain *frn_chain_new(francis_host *h, frn_chain *parent, const char *type,
                                const char *id, uint64_t turn)
{
    size_t     type_size = strlen(type) + 1, id_size = strlen(id) + 1;
    frn_chain *c = (frn_chain *)frn_mem_alloc(&h->mem, sizeof *c + type_size + id_size);

    if (c == NULL)
        return NULL;
    c->refs = 1;
    c->depth = parent != NULL ? parent->depth + 1 : 1;
    c->parent = parent;
    if (parent != NULL)
        parent->refs++;
    c->turn = turn;
    c->type_size = type_size;
    c->id_size = id_size;
    memcpy(FRN_CHAIN_TYPE(c), type, type_size);
    memcpy(FRN_CHAIN_ID(c), id, id_size);
    return c;
}

/* Frees what a finished attempt does not need any more, keeping what was answered. */
static void frn_call_strip(francis_host *h, frn_call *c)
{
    frn_buf_drop(&h->mem, c->target);
    frn_buf_drop(&h->mem, c->method_copy);
    frn_buf_drop(&h->mem, c->input);
    frn_buf_drop(&h->mem, c->request_id);
    frn_buf_drop(&h->mem, c->trace);
    frn_buf_drop(&h->mem, c->owner_host);
    c->owner_host = NULL;
    frn_chain_drop(h, c->chain);
    c->target = c->method_copy = c->input = c->request_id = c->trace = NULL;
    c->chain = NULL;
}

static void frn_call_release(francis_host *h, frn_call *c)
{
    if (c->pins > 0) {              /* its on_done runs: that thread will do it */
        c->freed = true;
        c->user = NULL;
        return;
    }
    frn_timer_stop(h, &c->timer);
    frn_list_remove(&c->link);
    frn_list_remove(&c->owner_link);
    frn_call_strip(h, c);
    frn_buf_drop(&h->mem, c->reply);
    frn_buf_drop(&h->mem, c->error);
    c->reply = c->error = NULL;
    c->user = NULL;
    c->state = FRN_CALL_FREE;
    c->handle += UINT64_C(1) << 32;
    if (c->handle >> 32 == 0)
        c->handle += UINT64_C(1) << 32;     /* so that no ticket is ever 0 */
    frn_list_push(&h->calls_free, &c->link);
    h->calls_used--;
}

static const char *frn_call_text(const frn_call *c)
{
    if (c->error != NULL)
        return (const char *)FRN_BYTES(c->error);
    return c->result == FRANCIS_OK || c->result == FRANCIS_PENDING ? ""
                                                                   : francis_strerror(c->result);
}

/* Into the caller's struct. Only by a thread to which it belongs at that moment. */
static void frn_call_publish(const frn_call *c)
{
    francis_call *u = c->user;

    if (u == NULL)
        return;
    u->result = c->result;
    u->from_handler = c->from_handler;
    u->retry_after_ms = francis_retryable(c->result) && !c->from_handler ? 100 : 0;
    u->error = frn_call_text(c);
    u->data = c->reply != NULL ? FRN_BYTES(c->reply) : NULL;
    u->size = c->reply != NULL ? c->reply->size : 0;
}

static void frn_user_clear(francis_call *u)
{
    u->result = FRANCIS_OK;
    u->from_handler = false;
    u->retry_after_ms = 0;
    u->error = "";
    u->data = NULL;
    u->size = 0;
    memset(u->internal, 0, sizeof u->internal);
}

/* The outcome of something that needed no record. */
static francis_result frn_user_set(francis_call *u, francis_result r, const char *text)
{
    if (u != NULL) {
        frn_user_clear(u);
        u->result = r;
        u->error = r == FRANCIS_OK ? "" : text != NULL ? text : francis_strerror(r);
        u->retry_after_ms = francis_retryable(r) ? 100 : 0;
    }
    return r;
}

static frn_call *frn_user_call(francis_host *h, const francis_call *u)
{
    frn_call *c;
    if (u->internal[2] != ~u->internal[0] || u->internal[1] != (uint64_t)(uintptr_t)h)
        return NULL;
    c = frn_call_find(h, u->internal[0]);
    return c != NULL && c->user == u ? c : NULL;
}

static bool frn_call_over(const frn_call *c)
{
    return c->state == FRN_CALL_DONE || c->state == FRN_CALL_CALLBACK
        || c->state == FRN_CALL_IN_CALLBACK;
}

/* Work for a worker, or for the next step. */
static void frn_work_wake(francis_host *h)
{
    if (!h->threads)
        frn_wake(h);
    else if (h->workers_idle > 0)
        frn_signal(h, &h->work_cond);
}

static void frn_turn_make_ready(francis_host *h, frn_turn *t)
{
    if (t->ready)
        return;
    t->ready = true;
    h->ready_count++;
    frn_list_push(t->patient ? &h->ready_patient : &h->ready, &t->link);
    frn_work_wake(h);
}

static void frn_call_deliver_to_turn(francis_host *h, frn_call *c)
{
    frn_turn *t = c->owner;

    c->state = c->on_done ? FRN_CALL_CALLBACK : FRN_CALL_DONE;
    if (c->cond != NULL)
        frn_signal(h, c->cond);
    if (t->suspended && c->on_done)
        frn_turn_make_ready(h, t);
}

/* One asynchronous call of a turn less to wait for. */
static void frn_turn_answered(francis_host *h, frn_call *c)
{
    frn_turn *t = c->owner;

    c->waiting = false;
    if (--t->outstanding == 0 && t->suspended)
        frn_turn_make_ready(h, t);
}

static void frn_call_deliver(francis_host *h, frn_call *c)
{
    h->stats.calls_in_flight--;
    frn_timer_stop(h, &c->timer);
    frn_list_remove(&c->link);
    if (c->one_way && c->result != FRANCIS_OK)
        frn_log(&h->log, FRN_LOG_send_dropped, c->result, c->type->desc.type,
                c->target != NULL ? (const char *)FRN_BYTES(c->target) : "", "a send to '%s': %s",
                c->method, frn_call_text(c));
    c->actor = NULL;
    c->turn = NULL;
    if (c->done != NULL)
        c->done(h, c);
    frn_call_strip(h, c);
    if (c->waiting && c->owner != NULL)
        frn_turn_answered(h, c);
    if (c->owner != NULL && (c->user != NULL || c->held)) {
        frn_call_deliver_to_turn(h, c);
        return;
    }
    c->state = FRN_CALL_DONE;
    if (c->cond != NULL)
        frn_signal(h, c->cond);
    if (c->held)
        return;                     /* a thread waits for it, and takes it */
    if (c->user == NULL) {
        frn_call_release(h, c);
        return;
    }
    if (c->on_done) {
        c->state = FRN_CALL_CALLBACK;
        frn_list_push(&h->callbacks, &c->link);
        frn_work_wake(h);
    } else {
        frn_call_publish(c);
    }
}

enum { FRN_RETRY_FIRST_MS = 10, FRN_RETRY_MAX_MS = 1000 };

/* With a request id francis asks again: what is unknown until it is known, and what may help. */
static bool frn_call_retries(francis_host *h, frn_call *c)
{
    int64_t wait = FRN_RETRY_FIRST_MS, now, at;
    uint32_t i;

    if (c->request_id == NULL || c->peek || c->due != NULL || c->from_handler
        || h->phase != FRN_HOST_RUNNING)
        return false;
    if (c->result != FRANCIS_ERR_UNKNOWN && !francis_retryable(c->result))
        return false;
    for (i = 0; i < c->attempts && wait < FRN_RETRY_MAX_MS; i++)
        wait *= 2;
    now = frn_now_ns(h);
    at = frn_add_time(now, wait * FRN_MS);
    if (at >= c->deadline_ns)
        return false;
    c->attempts++;
    if (c->result == FRANCIS_ERR_UNKNOWN)
        c->was_unknown = true;
    frn_list_remove(&c->link);
    frn_buf_drop(&h->mem, c->reply);
    c->reply = NULL;
    c->actor = NULL;
    c->turn = NULL;
    c->wrote = false;
    c->state = FRN_CALL_BACKOFF;
    frn_timer_set(h, &c->timer, at);
    return true;
}

/* The end of a call. Takes reply and error over. */
static void frn_call_complete(francis_host *h, frn_call *c, francis_result r, frn_buf *reply,
                              frn_buf *error)
{
    frn_buf_drop(&h->mem, c->error);
    c->result = r;
    c->reply = reply;
    c->error = error;
    if (frn_call_retries(h, c))
        return;
    if (c->was_unknown && r != FRANCIS_OK && !c->from_handler)
        c->result = FRANCIS_ERR_UNKNOWN;    /* an earlier attempt may have happened */
    frn_call_deliver(h, c);
}

static void frn_call_fail(francis_host *h, frn_call *c, francis_result r, const char *format, ...)
    FRANCIS_PRINTF(4, 5);

static void frn_call_fail(francis_host *h, frn_call *c, francis_result r, const char *format, ...)
{
    frn_buf *error = NULL;
    va_list  args;

    if (c->user != NULL || c->held || c->done != NULL || c->one_way) {
        va_start(args, format);
        error = frn_buf_format(&h->mem, format, args);
        va_end(args);
    }
    frn_call_complete(h, c, r, NULL, error);
}

/* From now on the deadline counts. Until then it was enough to know how long. */
static void frn_call_arm(francis_host *h, frn_call *c)
{
    if (c->deadline_ns == FRN_NEVER && c->timeout_ms != FRANCIS_FOREVER)
        c->deadline_ns = frn_add_time(frn_now_ns(h), frn_ms_to_ns(c->timeout_ms));
    if (c->timer.index == 0 && c->deadline_ns != FRN_NEVER)
        frn_timer_set(h, &c->timer, c->deadline_ns);
}

static frn_type *frn_type_find(const francis_host *h, const char *type)
{
    size_t    size = strlen(type);
    uint64_t  hash = frn_hash(h->seed, type, size);
    frn_node *n = frn_map_first(&h->types, hash);

    for (; n != NULL; n = frn_map_next(n->next, hash)) {
        frn_type *t = FRN_OF(frn_type, node, n);
        if (strcmp(t->desc.type, type) == 0)
            return t;
    }
    return NULL;
}

static const francis_method *frn_method_find(const frn_type *type, const char *name,
                                             francis_turn_kind kind)
{
    size_t i;
    for (i = 0; i < type->methods_count; i++) {
        const francis_method *m = &type->desc.methods[i];
        if (m->kind == kind && (m->name == name || strcmp(m->name, name) == 0))
            return m;
    }
    return NULL;
}

/* Type, NUL, id. */
static frn_buf *frn_key_new(francis_host *h, const char *type, const char *id)
{
    size_t   type_size = strlen(type) + 1, id_size = strlen(id);
    frn_buf *b = frn_buf_new(&h->mem, type_size + id_size);

    if (b != NULL) {
        memcpy(FRN_BYTES(b), type, type_size);
        memcpy((char *)FRN_BYTES(b) + type_size, id, id_size);
    }
    return b;
}

// >> 625 answer | needs: 620 300
//    The answer of another host to a call, as the head of a message; a reply is its body.
//      [result, flags, error text, owner's id, owner's address, load, content type]

enum { FRN_WIRE_FROM_HANDLER = 1 };

static void frn_owner_read(const frn_buf *b, frn_owner *out)    /* id, NUL, address, NUL */
{
    const char *id = (const char *)FRN_BYTES(b);

    memset(out, 0, sizeof *out);
    (void)snprintf(out->id, sizeof out->id, "%s", id);
    (void)snprintf(out->address, sizeof out->address, "%s", id + strlen(id) + 1);
}

typedef struct frn_answer_head {
    francis_result result;
    uint64_t       flags, load;
    frn_owner      owner;
    char           text[1024];
    char           type[FRANCIS_TYPE_MAX + 1];      /* content type of a stream */
} frn_answer_head;

static bool frn_answer_unpack(const frn_buf *head, frn_answer_head *out)
{
    frn_unpack u;
    size_t     items;

    memset(out, 0, sizeof *out);
    if (head == NULL)
        return false;
    u.at = (const unsigned char *)FRN_BYTES(head);
    u.end = u.at + head->size;
    u.bad = false;
    items = frn_unpack_array(&u, 64);
    u.bad = items < 6;
    out->result = (francis_result)frn_unpack_int(&u);
    out->flags = frn_unpack_uint(&u);
    frn_unpack_text(&u, out->text, sizeof out->text);
    frn_unpack_text(&u, out->owner.id, sizeof out->owner.id);
    frn_unpack_text(&u, out->owner.address, sizeof out->owner.address);
    out->load = frn_unpack_uint(&u);
    if (items > 6)
        frn_unpack_text(&u, out->type, sizeof out->type);
    return !u.bad && frn_result_known(out->result) && out->result != FRANCIS_PENDING;
}

/* NULL = no memory. owner: id, NUL, address, NUL; type: of a stream, else NULL. */
static frn_buf *frn_answer_pack(francis_host *h, francis_result r, bool from_handler,
                                const char *text, const frn_buf *owner, const char *type)
{
    frn_pack  pack;
    frn_owner o;

    memset(&o, 0, sizeof o);
    if (owner != NULL)
        frn_owner_read(owner, &o);
    frn_pack_init(&pack, &h->mem);
    frn_pack_array(&pack, 7);
    frn_pack_int(&pack, r);
    frn_pack_uint(&pack, from_handler ? (uint64_t)FRN_WIRE_FROM_HANDLER : 0u);
    frn_pack_text(&pack, text);
    frn_pack_text(&pack, o.id);
    frn_pack_text(&pack, o.address);
    frn_pack_uint(&pack, (uint64_t)h->actors.count);
    frn_pack_text(&pack, type);
    return frn_pack_end(&pack);
}

// >> 630 seal | needs: 620
//    What turns wrote, on its way to the committer, and what waits for it: the output gate. An
//    actor has at most one write that may still grow and one that is being committed; whatever
//    leaves the actor waits for the newest of them, and for nothing later. If there is none it
//    needs the host's lease: without, it waits for the next look at the host's row.

static bool frn_leased(const francis_host *h)
{
    return !h->store->shared || frn_plat_lease_ns(&h->plat) - h->lease_from_ns < h->lease_ns;
}

/* Somebody looks at the host's row soon: the loop, or the step that is under way. */
static void frn_look_ask(francis_host *h)
{
    h->look_due = true;
    frn_wake(h);
}

static frn_list *frn_lease_gate(francis_host *h)
{
    if (frn_list_empty(&h->lease_gate))
        frn_log(&h->log, FRN_LOG_lease_ran_out, FRANCIS_OK, NULL, NULL,
                "the lease has run out; what leaves waits for a look at the host's row");
    frn_look_ask(h);
    return &h->lease_gate;
}

/* Where that has to wait which wants to leave the actor; NULL = it may go. */
static frn_list *frn_gate_of(francis_host *h, const frn_actor *a)
{
    if (a->last_write != NULL)
        return &a->last_write->gate;
    return frn_leased(h) ? NULL : frn_lease_gate(h);
}

static frn_write *frn_write_new(francis_host *h, frn_write_op op, frn_actor *a)
{
    frn_write *w = (frn_write *)frn_mem_alloc(&h->mem, sizeof *w);
    if (w == NULL)
        return NULL;
    frn_list_init(&w->link);
    frn_list_init(&w->gate);
    frn_list_init(&w->records);
    w->op = op;
    w->actor = a;
    if (a != NULL) {
        w->type = a->type->desc.type;
        w->id = FRN_ACTOR_ID(a);
        w->life = a->life;
    }
    return w;
}

static void frn_write_free(francis_host *h, frn_write *w)
{
    uint32_t     i;
    frn_request *r;

    frn_buf_drop(&h->mem, w->state);
    frn_buf_drop(&h->mem, w->owned);
    frn_buf_drop(&h->mem, w->owner);
    for (i = 0; i < w->requests_count; i++)
        frn_request_drop(&h->mem, w->requests[i]);
    frn_mem_free(&h->mem, w->requests, w->requests_cap * sizeof w->requests[0]);
    frn_records_free(&h->mem, &w->records);
    while ((r = w->found_requests) != NULL) {
        w->found_requests = r->next;
        frn_request_drop(&h->mem, r);
    }
    frn_mem_free(&h->mem, w, sizeof *w);
}

static void frn_commit_wake(francis_host *h)
{
    if (!h->threads)
        frn_wake(h);
    else if (h->commit_idle)
        frn_signal(h, &h->commit_cond);
}

/* Hands a write to the committer. */
static void frn_write_queue(francis_host *h, frn_write *w)
{
    frn_actor *a = (frn_actor *)w->actor;

    w->number = ++h->write_number;
    w->sealed_ns = frn_now_ns(h);
    if (a != NULL) {
        a->writes++;
        a->last_write = w;
    }
    frn_list_push(&h->queue, &w->link);
    h->queue_count++;
    frn_commit_wake(h);
}

static bool frn_write_add_request(francis_host *h, frn_write *w, frn_request *r)
{
    size_t        size = sizeof w->requests[0];
    uint32_t      first = FRN_REQUESTS_PER_WRITE;
    uint32_t      cap = w->requests_cap == 0 ? first : w->requests_cap * 2;
    frn_request **more;

    if (w->requests_count == w->requests_cap) {
        more = (frn_request **)frn_mem_resize(&h->mem, w->requests, w->requests_cap * size,
                                              cap * size);
        if (more == NULL)
            return false;
        w->requests = more;
        w->requests_cap = cap;
    }
    r->refs++;
    w->requests[w->requests_count++] = r;
    return true;
}

/* An answer (GATED) or a call (HELD) that leaves the actor when the gate opens. */
static void frn_gate_wait(frn_list *gate, frn_call *c, frn_call_state state)
{
    c->state = (uint8_t)state;
    frn_list_push(gate, &c->link);
}

/* A gate opens: answers go to their callers, calls into the outbox. What did not write itself needs
 * the lease as well, for the commit may be long over when we hear of it. */
static void frn_gate_open(francis_host *h, frn_list *gate)
{
    bool      leased = frn_list_empty(gate) || frn_leased(h);
    frn_list  open, *l;

    frn_list_init(&open);
    frn_list_move(&open, gate);
    while ((l = frn_list_pop(&open)) != NULL) {
        frn_call *c = FRN_OF(frn_call, link, l);
        if (!leased && !c->wrote) {
            frn_gate_wait(frn_lease_gate(h), c, (frn_call_state)c->state);
        } else if (c->state == FRN_CALL_HELD) {
            frn_list_push(&h->outbox, &c->link);
        } else {
            frn_buf *reply = c->reply, *error = c->error;
            c->reply = c->error = NULL;
            frn_call_complete(h, c, c->result, reply, error);
        }
    }
}

/* It stays shut for ever: who asked for the lost turn hears why, and so does who only saw it. */
static void frn_gate_shut(francis_host *h, frn_list *gate, francis_result r, const char *text)
{
    frn_list *l;

    while ((l = frn_list_pop(gate)) != NULL) {
        frn_call *c = FRN_OF(frn_call, link, l);
        frn_buf_drop(&h->mem, c->reply);
        c->reply = NULL;
        c->from_handler = false;
        if (gate == &h->lease_gate && c->wrote)     /* all of it is durable */
            frn_call_fail(h, c, FRANCIS_ERR_UNKNOWN, "%s; what it had written stays", text);
        else if (r == FRANCIS_ERR_UNKNOWN && !c->wrote)
            frn_call_fail(h, c, FRANCIS_ERR_STORAGE, "%s", text);
        else
            frn_call_fail(h, c, r, "%s", text);
    }
}

static frn_request *frn_request_find(const frn_actor *a, const frn_buf *id)
{
    frn_request *r;
    for (r = a->requests; r != NULL; r = r->next)
        if (r->id_size == id->size && memcmp(FRN_REQUEST_ID(r), FRN_BYTES(id), id->size) == 0)
            return r;
    return NULL;
}

/* Forgets what nobody may ask for any more; returns how many are left. */
static uint32_t frn_requests_prune(francis_host *h, frn_actor *a, int64_t now_ms)
{
    frn_request **at = &a->requests, *r;
    uint32_t      left = 0;

    while ((r = *at) != NULL) {
        if (r->expires_ms <= now_ms) {
            *at = r->next;
            frn_request_drop(&h->mem, r);
        } else {
            left++;
            at = &r->next;
        }
    }
    return left;
}

/* What a turn has done to the state. */
typedef struct frn_change {
    bool     state;                 /* .image replaces it; NULL deletes */
    frn_buf *image;
    int64_t  expires_ms;
} frn_change;

static bool frn_zeroes(const void *data, size_t size)
{
    const unsigned char *p = (const unsigned char *)data;
    return size == 0 || (p[0] == 0 && memcmp(p, p + 1, size - 1) == 0);
}

/* Whether the private copy says something else than the image it was made from, which may be
 * shorter: the struct has grown since. */
static bool frn_work_differs(const frn_turn *t)
{
    const frn_buf *base = t->deleted ? NULL : t->base;
    size_t         shared = base != NULL ? base->size : 0;

    if (t->work == NULL)
        return false;
    if (t->type->desc.state_size == 0)
        return base == NULL || base->size != t->work->size
            || memcmp(FRN_BYTES(base), FRN_BYTES(t->work), shared) != 0;
    if (shared > t->work->size)
        return true;
    if (base != NULL && memcmp(FRN_BYTES(t->work), FRN_BYTES(base), shared) != 0)
        return true;
    return !frn_zeroes((const char *)FRN_BYTES(t->work) + shared, t->work->size - shared);
}

static frn_change frn_turn_change(const frn_turn *t)
{
    frn_change c;
    bool       differs = frn_work_differs(t);
    bool       upgraded = t->ctx.kind == FRANCIS_UPGRADE && t->work != NULL;

    memset(&c, 0, sizeof c);
    c.image = differs || upgraded ? t->work : t->deleted ? NULL : t->base;
    c.state = differs || upgraded || (t->deleted && t->base != NULL);
    c.expires_ms = t->expire_set ? t->expires_ms : t->deleted ? 0 : t->actor->expires_ms;
    if (t->expire_set && c.image != NULL && c.expires_ms != t->actor->expires_ms)
        c.state = true;
    if (c.image == NULL)
        c.expires_ms = 0;
    return c;
}

/* What is done with a row besides: appended to a write. */
static void frn_write_add_records(frn_write *w, frn_list *records)
{
    const frn_list *l;

    for (l = records->next; l != records; l = l->next) {
        const frn_record *r = FRN_OF(const frn_record, link, l);
        w->records_bytes += sizeof *r + (r->a.data != NULL ? r->a.data->size : 0);
    }
    frn_list_move(&w->records, records);
}

/* The write that takes this turn's: the newest one if it may still grow, or a new one. What an
 * occurrence writes stands alone, for it may be refused; and a purge takes nothing that came before
 * it in the same write. */
static frn_write *frn_seal_into(francis_host *h, const frn_turn *t, bool at_end)
{
    frn_actor *a = t->actor;
    frn_write *w = a->last_write;

    if (w != NULL && w->op == FRN_WRITE_TURN && !w->taken && (t->due == NULL || !at_end)
        && (!t->purge || frn_list_empty(&w->records)))
        return w;
    return frn_write_new(h, FRN_WRITE_TURN, a);
}

/* When it is due again after an occurrence that began at that time; 0 = never. */
static int64_t frn_due_next_ms(const frn_due *e, int64_t began_ms)
{
    bool    each = e->a.missed == FRANCIS_MISSED_ALL;
    int64_t after = each || began_ms < e->a.due_ms ? e->a.due_ms : began_ms;
    int64_t next = frn_schedule_next(&e->schedule, e->a.anchor_ms, after);

    if (e->a.kind == FRN_KIND_HOOK || next == FRN_NEVER_DUE)
        return 0;
    return e->a.until_ms != 0 && next > e->a.until_ms ? 0 : next;
}

/* A record about an alarm that is known. */
static frn_record *frn_due_record(francis_host *h, const frn_due *e, frn_record_op op)
{
    frn_record *r = frn_record_new(&h->mem, op);
    if (r != NULL)
        frn_alarm_copy(&r->a, &e->a);
    return r;
}

/* It is over, or over for now: CONSUME or REARM. */
static frn_record *frn_due_over(francis_host *h, const frn_due *e, int64_t next_ms)
{
    frn_record *r = frn_due_record(h, e, next_ms != 0 ? FRN_RECORD_REARM : FRN_RECORD_CONSUME);

    if (r == NULL)
        return NULL;
    r->next_ms = next_ms;
    r->look_ms = next_ms != 0 ? frn_alarm_look_ms(&e->schedule, next_ms) : 0;
    r->same_look = next_ms != 0 && e->a.attempts == 0
                && r->look_ms == frn_alarm_look_ms(&e->schedule, e->a.due_ms);
    return r;
}

/* What the turn has done to the very alarm that it runs for; NULL = nothing. */
static frn_record *frn_turn_own_record(const frn_turn *t)
{
    frn_list *l;

    for (l = t->records.prev; l != &t->records; l = l->prev) {
        frn_record *r = FRN_OF(frn_record, link, l);
        if ((r->op == FRN_RECORD_SET || r->op == FRN_RECORD_DELETE)
            && frn_alarm_same_key(&r->a, &t->due->a))
            return r;
    }
    return NULL;
}

/* The end of the occurrence that the turn runs for, in front of all else. *out NULL = there is
 * none. */
static francis_result frn_seal_due(francis_host *h, frn_turn *t, frn_record **out)
{
    frn_record *own;
    int64_t     next;

    *out = NULL;
    if (t->due == NULL)
        return FRANCIS_OK;
    if (t->due->gone)
        return FRANCIS_ERR_CANCELLED;
    own = frn_turn_own_record(t);
    if (own != NULL && own->op == FRN_RECORD_SET && frn_alarm_same(&own->a, &t->due->a)) {
        frn_record_free(&h->mem, own);      /* that is what it is already */
        own = NULL;
    }
    next = own == NULL && !t->purge ? frn_due_next_ms(t->due, t->due->began_ms) : 0;
    *out = frn_due_over(h, t->due, next);
    if (*out == NULL)
        return FRANCIS_ERR_NOMEM;
    (*out)->turn = true;
    (*out)->must = t->due->a.kind != FRN_KIND_HOOK;     /* who was told that it died was told so */
    return FRANCIS_OK;
}

static frn_request *frn_seal_request(francis_host *h, const frn_turn *t)
{
    frn_request *r = frn_request_new(&h->mem, (const char *)FRN_BYTES(t->request_id),
                                     t->request_id->size);
    if (r == NULL)
        return NULL;
    r->hash = t->hash;
    r->expires_ms = frn_add_time(frn_plat_wall_ms(&h->plat), t->type->desc.requests_kept_ms);
    r->reply = frn_buf_ref(t->reply);
    return r;
}

static void frn_seal_state(francis_host *h, frn_turn *t, frn_write *w, const frn_change *c)
{
    frn_actor *a = t->actor;

    if (t->purge) {
        w->purge = true;
        a->stored_version = 0;
    }
    if (!c->state)
        return;
    w->set_state = true;
    frn_buf_drop(&h->mem, w->state);
    w->state = frn_buf_ref(c->image);
    w->expires_ms = c->expires_ms;
    w->version = t->type->desc.state_version;
    if (a->stored_version != (c->image != NULL ? w->version : 0)) {
        w->set_version = true;
        a->stored_version = c->image != NULL ? w->version : 0;
    }
    frn_buf_drop(&h->mem, a->state);
    a->state = frn_buf_ref(c->image);
    a->expires_ms = c->expires_ms;
}

/* Everything that has to be had before anything is changed. */
typedef struct frn_sealing {
    frn_change   change;
    frn_buf     *copy;              /* of the image, if the handler goes on with its own */
    frn_record  *due;
    frn_request *request;
    frn_write   *write;
} frn_sealing;

static void frn_sealing_drop(francis_host *h, frn_sealing *s)
{
    if (s->write != NULL && s->write->number == 0)
        frn_write_free(h, s->write);
    if (s->due != NULL)
        frn_record_free(&h->mem, s->due);
    frn_buf_drop(&h->mem, s->copy);
}

static francis_result frn_sealing_get(francis_host *h, frn_turn *t, bool at_end, bool keyed,
                                      frn_sealing *s)
{
    francis_result r = at_end ? frn_seal_due(h, t, &s->due) : FRANCIS_OK;

    if (r != FRANCIS_OK)
        return r;
    if (!at_end && s->change.image != NULL && s->change.image == t->work) {
        s->copy = frn_buf_copy(&h->mem, FRN_BYTES(t->work), t->work->size);
        if (s->copy == NULL)
            return FRANCIS_ERR_NOMEM;
        s->change.image = s->copy;
    }
    s->write = frn_seal_into(h, t, at_end);
    if (s->write == NULL)
        return FRANCIS_ERR_NOMEM;
    if (keyed && (s->request = frn_seal_request(h, t)) != NULL
        && !frn_write_add_request(h, s->write, s->request)) {
        frn_request_drop(&h->mem, s->request);
        s->request = NULL;
    }
    return keyed && s->request == NULL ? FRANCIS_ERR_NOMEM : FRANCIS_OK;
}

/* Seals what the turn wrote so far: from now on others see it, and the committer has it. *wrote
 * tells whether there was anything. On failure nothing has changed. */
static francis_result frn_seal(francis_host *h, frn_turn *t, bool at_end, bool *wrote)
{
    bool           keyed = at_end && t->request_id != NULL && t->exclusive;
    frn_sealing    s;
    francis_result r;

    *wrote = false;
    memset(&s, 0, sizeof s);
    s.change = frn_turn_change(t);
    if (!s.change.state && !t->purge && !keyed && frn_list_empty(&t->records)
        && (t->due == NULL || !at_end))
        return FRANCIS_OK;
    r = frn_sealing_get(h, t, at_end, keyed, &s);
    if (r != FRANCIS_OK) {
        frn_sealing_drop(h, &s);
        return r;
    }
    if (s.request != NULL) {
        s.request->next = t->actor->requests;
        t->actor->requests = s.request;
    }
    frn_seal_state(h, t, s.write, &s.change);
    frn_buf_drop(&h->mem, s.copy);
    if (s.due != NULL) {
        frn_list_push(t->records.next, &s.due->link);       /* before the first */
        t->due = NULL;              /* from here on its call speaks for it */
    }
    frn_write_add_records(s.write, &t->records);
    t->records_count = 0;
    s.write->turns++;
    if (s.write->number == 0)
        frn_write_queue(h, s.write);
    *wrote = true;
    return FRANCIS_OK;
}

// >> 635 stream | needs: 549 625 630
//    A stream has two ends, that of him who opened it (the caller) and that of the handler, on one
//    host or on two. What is written waits in .out until the other side has room. What a handler
//    writes may have to wait for commits before that, as packets; gates know calls only, so for
//    each packet there stands a call that nobody waits for. A handler's end that nobody owns any
//    more lives on until all of it is delivered, and is freed by whoever sees that: frn_stream_pump
//    and frn_stream_break may do so. Nothing in here steps an actor.

enum { FRN_STREAM_BYTES_MAX = 16 * 1024 * 1024, FRN_PACKET_COST = 256, FRN_PIECE_COST = 64 };

static void frn_bytes_init(frn_bytes *b)
{
    frn_list_init(&b->pieces);
    b->size = b->at = b->count = 0;
}

/* What it takes of a limit: a byte that came alone costs more than a byte. */
static size_t frn_bytes_load(const frn_bytes *b) { return b->size + b->count * FRN_PIECE_COST; }

static frn_piece *frn_bytes_first(const frn_bytes *b)
{
    return frn_list_empty(&b->pieces) ? NULL : FRN_OF(frn_piece, link, b->pieces.next);
}

/* Takes over buf, which is not empty; false = no memory. */
static bool frn_bytes_add(francis_host *h, frn_bytes *b, frn_buf *buf)
{
    frn_piece *p = buf != NULL ? (frn_piece *)frn_mem_alloc(&h->mem, sizeof *p) : NULL;

    if (p == NULL) {
        frn_buf_drop(&h->mem, buf);
        return false;
    }
    p->buf = buf;
    frn_list_push(&b->pieces, &p->link);
    b->size += buf->size;
    b->count++;
    return true;
}

/* The first n bytes are done with; all of the first piece at most. */
static void frn_bytes_skip(francis_host *h, frn_bytes *b, size_t n)
{
    frn_piece *p = frn_bytes_first(b);

    b->at += n;
    b->size -= n;
    if (b->at < p->buf->size)
        return;
    b->at = 0;
    b->count--;
    frn_list_remove(&p->link);
    frn_buf_drop(&h->mem, p->buf);
    frn_mem_free(&h->mem, p, sizeof *p);
}

static size_t frn_bytes_take(francis_host *h, frn_bytes *b, void *data, size_t size)
{
    size_t done = 0;

    while (done < size && b->size > 0) {
        const frn_piece *p = frn_bytes_first(b);
        size_t           n = p->buf->size - b->at;
        if (n > size - done)
            n = size - done;
        memcpy((char *)data + done, (const char *)FRN_BYTES(p->buf) + b->at, n);
        frn_bytes_skip(h, b, n);
        done += n;
    }
    return done;
}

static void frn_bytes_clear(francis_host *h, frn_bytes *b)
{
    while (b->size > 0)
        frn_bytes_skip(h, b, frn_bytes_first(b)->buf->size - b->at);
}

/* Appends all of from, of which nothing has been skipped. */
static void frn_bytes_move(frn_bytes *to, frn_bytes *from)
{
    FRN_ASSERT(from->at == 0);
    frn_list_move(&to->pieces, &from->pieces);
    to->size += from->size;
    to->count += from->count;
    from->size = from->count = 0;
}

/* The first piece goes over as a whole. */
static void frn_bytes_pass(frn_bytes *to, frn_bytes *from)
{
    frn_piece *p = frn_bytes_first(from);

    FRN_ASSERT(from->at == 0);
    frn_list_remove(&p->link);
    frn_list_push(&to->pieces, &p->link);
    from->size -= p->buf->size;
    from->count--;
    to->size += p->buf->size;
    to->count++;
}

static francis_stream *frn_stream_new(francis_host *h, bool caller)
{
    francis_stream *s = (francis_stream *)frn_mem_alloc(&h->mem, sizeof *s);

    if (s == NULL)
        return NULL;
    frn_list_init(&s->all);
    frn_list_init(&s->link);
    frn_list_init(&s->staged);
    frn_list_init(&s->packets);
    frn_bytes_init(&s->in);
    frn_bytes_init(&s->out);
    frn_bytes_init(&s->sent);
    s->host = h;
    s->caller = s->owned = caller;
    s->bytes_max = FRN_STREAM_BYTES_MAX;
    frn_list_push(&h->all_streams, &s->all);
    h->stats.streams++;
    return s;
}

static uint64_t frn_stream_hash(const francis_host *h, uint64_t lane)
{
    return frn_hash(h->seed, &lane, sizeof lane);
}

/* The handler's end of a stream that another host has opened. */
static francis_stream *frn_stream_find(const francis_host *h, uint64_t lane)
{
    uint64_t  hash = frn_stream_hash(h, lane);
    frn_node *n = frn_map_first(&h->streams, hash);

    for (; n != NULL; n = frn_map_next(n->next, hash))
        if (FRN_OF(francis_stream, node, n)->lane == lane)
            return FRN_OF(francis_stream, node, n);
    return NULL;
}

static void frn_stream_unmap(francis_host *h, francis_stream *s)
{
    if (s->mapped)
        frn_map_remove(&h->streams, &s->node);
    s->mapped = false;
    s->lane = 0;
}

static bool frn_stream_readable(const francis_stream *s)
{
    return s->in.size > 0 || s->in_end || s->failure != FRANCIS_OK;
}

/* Whether a write would be answered with something else than to wait. */
static bool frn_stream_writable(const francis_stream *s)
{
    return frn_bytes_load(&s->out) + s->held < s->host->desc.stream_buffer_bytes
        || s->failure != FRANCIS_OK || s->out_end || (s->caller && s->in_end);
}

static bool frn_stream_wanted(const francis_stream *s)
{
    return (s->want_read && frn_stream_readable(s)) || (s->want_write && frn_stream_writable(s));
}

/* Whoever waits for it looks again, if that makes sense. */
static void frn_stream_tell(francis_host *h, francis_stream *s)
{
    frn_call *c;

    if (!frn_stream_wanted(s))
        return;
    c = frn_user_call(h, &s->wait);
    if (c != NULL && c->state == FRN_CALL_IN_CALLBACK)
        return;                     /* an on_ready runs; when it returns he is told again */
    s->want_read = s->want_write = false;
    if (c != NULL && c->state == FRN_CALL_EXPECTED)
        frn_call_complete(h, c, FRANCIS_OK, NULL, NULL);
}

/* Frees a packet; its call, if that stands at a gate, will find nothing to do. */
static void frn_packet_drop(francis_host *h, frn_packet *p)
{
    frn_list_remove(&p->link);
    frn_bytes_clear(h, &p->bytes);
    p->stream = NULL;
    if (p->state == FRN_PACKET_GATED)
        return;
    if (p->call != NULL) {
        h->stats.calls_in_flight--;
        frn_call_release(h, p->call);
    }
    frn_mem_free(&h->mem, p, sizeof *p);
}

static void frn_stream_clear_out(francis_host *h, francis_stream *s)
{
    while (!frn_list_empty(&s->packets))
        frn_packet_drop(h, FRN_OF(frn_packet, link, s->packets.next));
    frn_list_remove(&s->staged);
    frn_bytes_clear(h, &s->out);
    frn_bytes_clear(h, &s->sent);
    s->held = 0;
}

/* This end is over. What has come can still be read, what was to go is dropped. The first reason
 * counts. */
static void frn_stream_fail(francis_host *h, francis_stream *s, francis_result r, const char *text)
{
    if (s->failure != FRANCIS_OK)
        return;
    s->failure = r;
    s->error = frn_buf_text(&h->mem, text);
    frn_stream_clear_out(h, s);
    frn_stream_tell(h, s);
}

static void frn_stream_free(francis_host *h, francis_stream *s)
{
    frn_call *c = frn_call_find(h, s->call), *wait = frn_user_call(h, &s->wait);

    if (c != NULL && c->stream == s)
        c->stream = NULL;
    if (s->peer != NULL)
        s->peer->peer = NULL;
    if (wait != NULL) {
        wait->user = NULL;
        if (frn_call_over(wait))
            frn_call_release(h, wait);
        else
            frn_call_complete(h, wait, FRANCIS_ERR_CANCELLED, NULL, NULL);
    }
    if (s->turn != NULL && s->turn->ctx.stream == s)
        s->turn->ctx.stream = NULL;
    frn_stream_unmap(h, s);
    frn_stream_clear_out(h, s);
    frn_bytes_clear(h, &s->in);
    frn_list_remove(&s->all);
    frn_list_remove(&s->link);
    frn_buf_drop(&h->mem, s->input);
    frn_buf_drop(&h->mem, s->opening);
    frn_buf_drop(&h->mem, s->type_in);
    frn_buf_drop(&h->mem, s->type_out);
    frn_buf_drop(&h->mem, s->error);
    h->stats.streams--;
    frn_mem_free(&h->mem, s, sizeof *s);
}

/* A handler's end that nobody owns is freed when there is nothing left to deliver, and nothing more
 * can come; until then the other side may write on. */
static void frn_stream_retire(francis_host *h, francis_stream *s)
{
    if (s->caller || s->owned)
        return;
    if (s->failure != FRANCIS_OK
        || (s->call == 0 && s->out_over && (s->lane == 0 || s->in_end))) {
        frn_stream_free(h, s);
    } else if (s->call == 0 && s->opening == NULL) {    /* what came and nobody has read is taken */
        frn_bytes_clear(h, &s->in);
        if (s->lane != 0)
            frn_net_stream_consumed(h->net, s->lane, SIZE_MAX);
    }
}

/* The caller hears that his stream is answered: from now on there is no deadline. */
static void frn_stream_answer(francis_host *h, francis_stream *s)
{
    frn_call *c = frn_call_find(h, s->call);
    frn_buf  *head;

    if (s->answered)
        return;
    s->answered = true;
    if (c != NULL) {
        c->deadline_ns = FRN_NEVER;
        frn_timer_stop(h, &c->timer);
        if (c->turn != NULL)
            c->turn->deadline_ns = FRN_NEVER;
    }
    if (s->peer != NULL) {
        s->peer->answered = true;
        s->peer->type_in = frn_buf_ref(s->type_out);
    } else if (s->lane != 0) {
        head = frn_answer_pack(h, FRANCIS_OK, false, "", NULL,
                               s->type_out != NULL ? (const char *)FRN_BYTES(s->type_out) : NULL);
        frn_net_stream_head(h->net, s->lane, head);
        frn_buf_drop(&h->mem, head);
    }
}

/* What its commit has set free, as far as nothing before it waits. */
static void frn_packets_leave(francis_host *h, francis_stream *s)
{
    while (!frn_list_empty(&s->packets)) {
        frn_packet *p = FRN_OF(frn_packet, link, s->packets.next);
        if (p->state != FRN_PACKET_OPEN)
            return;
        s->held -= p->bytes.size + FRN_PACKET_COST;
        frn_bytes_move(&s->out, &p->bytes);
        s->out_end = s->out_end || p->end;
        frn_packet_drop(h, p);
    }
}

/* Whether nothing is left to deliver but the news that this is the end. */
static bool frn_stream_ends(const francis_stream *s)
{
    return s->out_end && !s->out_over && s->out.size == 0 && frn_list_empty(&s->packets);
}

static void frn_stream_pump_here(francis_host *h, francis_stream *s)
{
    francis_stream *p = s->peer;

    if (!s->caller && (s->out.size > 0 || frn_stream_ends(s)))
        frn_stream_answer(h, s);
    if (!p->owned)
        frn_bytes_clear(h, &s->out);        /* nobody will read it */
    while (s->out.size > 0 && frn_bytes_load(&p->in) < h->desc.stream_buffer_bytes)
        frn_bytes_pass(&p->in, &s->out);
    if (frn_stream_ends(s))
        p->in_end = s->out_over = true;
    frn_stream_tell(h, p);
}

/* Until the caller is answered what has left is kept, unless it becomes too much. */
static void frn_stream_keep_sent(francis_host *h, francis_stream *s, frn_buf *piece)
{
    if (!s->caller || s->answered || s->sent_lost)
        return;
    if (s->sent.size + piece->size <= h->desc.stream_buffer_bytes
        && frn_bytes_add(h, &s->sent, frn_buf_ref(piece)))
        return;
    frn_bytes_clear(h, &s->sent);
    s->sent_lost = true;
}

/* To the net, which may take a part of it: then PENDING, and WRITABLE follows; STALE: what ends the
 * stream follows; or NOMEM. */
static francis_result frn_stream_send(francis_host *h, francis_stream *s)
{
    size_t         size = s->input != NULL && s->caller ? s->input->size : 0, n;
    francis_result r = FRANCIS_OK;

    if (s->input_at < size) {
        r = frn_net_stream_write(h->net, s->lane, (const char *)FRN_BYTES(s->input) + s->input_at,
                                 size - s->input_at, &n);
        s->input_at += n;
    }
    while (r == FRANCIS_OK && s->out.size > 0) {
        const frn_piece *p = frn_bytes_first(&s->out);
        size_t           left = p->buf->size - s->out.at;
        r = frn_net_stream_write(h->net, s->lane, (const char *)FRN_BYTES(p->buf) + s->out.at, left,
                                 &n);
        if (n == left)
            frn_stream_keep_sent(h, s, p->buf);
        frn_bytes_skip(h, &s->out, n);
    }
    return r;
}

/* Back to where nothing was sent, so that it can be begun on another host. false = too late. */
static bool frn_stream_rewind(francis_stream *s)
{
    if (s->answered || s->sent_lost)
        return false;
    s->out.size += s->out.at;
    s->out.at = 0;
    frn_bytes_move(&s->sent, &s->out);
    frn_bytes_move(&s->out, &s->sent);
    s->input_at = 0;
    s->out_over = false;
    s->lane = 0;
    return true;
}

/* The call that opened it at another host, if that is under way: no answer will come. */
static void frn_stream_end_call(francis_host *h, francis_stream *s, francis_result r)
{
    frn_call *c = frn_call_find(h, s->call);

    if (c == NULL || c->stream != s || c->state != FRN_CALL_REMOTE)
        return;
    c->stream = NULL;
    s->call = 0;
    frn_call_complete(h, c, r, NULL, NULL);
}

/* Tells another host that and why the stream is broken off. */
static void frn_stream_break_net(francis_host *h, francis_stream *s, francis_result r,
                                 bool from_handler, const char *text, const frn_buf *owner)
{
    frn_buf *head;

    if (s->caller) {
        (void)frn_net_cancel(h->net, s->lane);
        frn_stream_end_call(h, s, r);
        return;
    }
    head = frn_answer_pack(h, r, from_handler, text, owner, NULL);
    if (s->answered || head == NULL) {
        frn_net_stream_reset(h->net, s->lane, r, head);
    } else {
        frn_net_stream_head(h->net, s->lane, head);
        frn_net_stream_end(h->net, s->lane);
    }
    frn_buf_drop(&h->mem, head);
}

/* Both ends are over. May free a handler's end that nobody owns, if it is the other one. */
static void frn_stream_break_off(francis_host *h, francis_stream *s, francis_result r,
                                 bool from_handler, const char *text, const frn_buf *owner)
{
    francis_stream *p = s->peer;

    if (p != NULL) {
        p->peer = s->peer = NULL;
        frn_stream_fail(h, p, r, text);
        frn_stream_retire(h, p);
    } else if (s->lane != 0) {
        frn_stream_break_net(h, s, r, from_handler, text, owner);
    }
    frn_stream_unmap(h, s);
    frn_stream_fail(h, s, r, text);
}

/* The same; may free this one, too. */
static void frn_stream_break(francis_host *h, francis_stream *s, francis_result r,
                             bool from_handler, const char *text, const frn_buf *owner)
{
    frn_stream_break_off(h, s, r, from_handler, text, owner);
    frn_stream_retire(h, s);
}

static void frn_stream_pump_net(francis_host *h, francis_stream *s)
{
    francis_result r;

    if (!s->caller && (s->out.size > 0 || frn_stream_ends(s)))
        frn_stream_answer(h, s);
    r = frn_stream_send(h, s);
    if (r == FRANCIS_ERR_NOMEM) {
        frn_stream_break_off(h, s, FRANCIS_ERR_NOMEM, false, "out of memory", NULL);
    } else if (r == FRANCIS_OK && frn_stream_ends(s)) {     /* the input has left, too */
        s->out_over = true;
        frn_net_stream_end(h->net, s->lane);
    }
}

/* Delivers what can be. May free a handler's end that nobody owns. */
static void frn_stream_pump(francis_host *h, francis_stream *s)
{
    if (s->failure == FRANCIS_OK) {
        frn_packets_leave(h, s);
        if (s->peer != NULL)
            frn_stream_pump_here(h, s);
        else if (s->lane != 0)
            frn_stream_pump_net(h, s);
    }
    frn_stream_tell(h, s);
    frn_stream_retire(h, s);
}

static const char frn_closed[] = "the other side has closed the stream";

/* The call that opened a stream is over: there is nothing to read of a handler that has failed, and
 * the answer of one that has not ends when all of it is delivered, unless it is kept. */
static void frn_stream_on_done(francis_host *h, frn_call *c)
{
    francis_stream *s = c->stream, *handler;

    c->stream = NULL;
    if (s == NULL)
        return;                     /* closed meanwhile */
    handler = s->caller ? s->peer : s;
    s->call = 0;
    if (handler != NULL)
        handler->call = 0;
    if (c->result != FRANCIS_OK) {
        frn_stream_break(h, s, c->result, c->from_handler, frn_call_text(c), c->owner_host);
    } else if (handler != NULL) {
        if (handler->kept)
            frn_stream_answer(h, handler);
        else
            handler->out_end = true;
        frn_stream_pump(h, handler);
    }
}

static void frn_packet_on_done(francis_host *h, frn_call *c)
{
    frn_packet     *p = c->packet;
    francis_stream *s = p->stream;

    p->call = NULL;
    p->state = FRN_PACKET_OPEN;
    if (s == NULL)
        frn_packet_drop(h, p);
    else if (c->result == FRANCIS_OK)
        frn_stream_pump(h, s);
    else
        frn_stream_break(h, s, c->result, false, frn_call_text(c), NULL);
}

/* Staged, as the last one. NULL = no memory. */
static frn_packet *frn_packet_new(francis_host *h, francis_stream *s)
{
    frn_packet *p = (frn_packet *)frn_mem_alloc(&h->mem, sizeof *p);

    if (p == NULL)
        return NULL;
    p->call = frn_call_new(h, NULL, NULL);
    if (p->call == NULL) {
        frn_mem_free(&h->mem, p, sizeof *p);
        return NULL;
    }
    h->stats.calls_in_flight++;
    p->call->packet = p;
    p->call->done = frn_packet_on_done;
    p->stream = s;
    p->state = FRN_PACKET_STAGED;
    frn_bytes_init(&p->bytes);
    frn_list_push(&s->packets, &p->link);
    return p;
}

static frn_packet *frn_packet_last(const francis_stream *s)
{
    return frn_list_empty(&s->packets) ? NULL : FRN_OF(frn_packet, link, s->packets.prev);
}

/* Whether this side has said that no more comes. */
static bool frn_stream_ended(const francis_stream *s)
{
    return s->out_end || (!frn_list_empty(&s->packets) && frn_packet_last(s)->end);
}

/* From now on it waits for the gate, if there is one. */
static void frn_packet_gate(francis_host *h, frn_packet *p, frn_list *gate, bool wrote)
{
    francis_stream *s = p->stream;
    frn_call       *c = p->call;

    s->held += p->bytes.size + FRN_PACKET_COST;
    c->result = FRANCIS_OK;
    c->wrote = wrote;
    p->state = FRN_PACKET_GATED;
    if (gate != NULL)
        frn_gate_wait(gate, c, FRN_CALL_GATED);
    else
        frn_call_complete(h, c, FRANCIS_OK, NULL, NULL);
}

/* What the turn has written to streams since it has written state: it goes with that, or not. */
static void frn_turn_unstage(francis_host *h, frn_turn *t, bool leaves)
{
    frn_list *l;

    while ((l = frn_list_pop(&t->staged)) != NULL) {
        francis_stream *s = FRN_OF(francis_stream, staged, l);
        frn_packet     *p = frn_packet_last(s);
        if (leaves) {
            frn_packet_gate(h, p, frn_gate_of(h, t->actor), t->wrote);
            continue;
        }
        s->out_total -= p->bytes.size;      /* as if they had never been written */
        frn_packet_drop(h, p);
        if (!s->owned)              /* its end was one of them */
            frn_stream_break(h, s, FRANCIS_ERR_CANCELLED, false, frn_closed, NULL);
    }
}

/* Whether the turn has changed what is stored, so that what it writes must wait for its end. */
static bool frn_turn_dirty(const frn_turn *t)
{
    return t->exclusive && (t->purge || frn_turn_change(t).state);
}

/* Whether what it writes now must wait for the end of the turn: that is dirty, or was when it wrote
 * the bytes before. */
static bool frn_stream_dirty(const francis_stream *s, const frn_turn *t)
{
    return !s->caller && (!frn_list_empty(&s->staged) || frn_turn_dirty(t));
}

static frn_packet *frn_stream_stage(francis_host *h, francis_stream *s, frn_turn *t)
{
    frn_packet *p;

    if (!frn_list_empty(&s->staged))
        return frn_packet_last(s);
    p = frn_packet_new(h, s);
    if (p != NULL)
        frn_list_push(&t->staged, &s->staged);
    return p;
}

/* Whether its bytes go into a packet: the gate of the actor, or the end of the turn, is ahead. */
static bool frn_stream_gated(francis_host *h, const francis_stream *s, const frn_turn *t)
{
    return !s->caller && (!frn_list_empty(&s->packets) || frn_stream_dirty(s, t)
                          || frn_gate_of(h, t->actor) != NULL);
}

/* Ends its activation's streams; with free they are gone as well: no handler knows them now. */
static void frn_streams_cut(francis_host *h, frn_actor *a, francis_result r, bool gone)
{
    frn_list  all, *l;

    frn_list_init(&all);
    frn_list_move(&all, &a->streams);
    while ((l = frn_list_pop(&all)) != NULL) {
        francis_stream *s = FRN_OF(francis_stream, link, l);
        frn_stream_break(h, s, r, false, "the activation that kept the stream has ended", NULL);
        if (gone)
            frn_stream_free(h, s);
        else
            frn_list_push(&a->streams, &s->link);
    }
}

/* Whether somebody reads what an activation has kept. */
static bool frn_streams_live(const frn_actor *a)
{
    const frn_list *l;

    for (l = a->streams.next; l != &a->streams; l = l->next)
        if (FRN_OF(const francis_stream, link, l)->failure == FRANCIS_OK
            && !FRN_OF(const francis_stream, link, l)->out_over)
            return true;
    return false;
}

// >> 640 turn | needs: 635
//    Turns begin: the mailbox in order of arrival, exclusive or shared. They end in 660.

static frn_turn *frn_turn_new(francis_host *h)
{
    frn_turn *t;
    frn_list *l = frn_list_pop(&h->turns_free);

    if (l != NULL) {
        t = FRN_OF(frn_turn, link, l);
        h->turns_spare--;
    } else {
        if (!frn_timers_reserve(h, 1))
            return NULL;
        t = (frn_turn *)frn_mem_alloc(&h->mem, sizeof *t);
        if (t == NULL)
            return NULL;
        h->turns_total++;
    }
    memset(t, 0, sizeof *t);
    frn_list_init(&t->link);
    frn_list_init(&t->holder_link);
    frn_list_init(&t->running_link);
    frn_list_init(&t->calls);
    frn_list_init(&t->streams);
    frn_list_init(&t->staged);
    frn_list_init(&t->records);
    t->answers_last = &t->answers;
    t->deadline_ns = FRN_NEVER;
    t->number = ++h->turn_number;
    t->ctx.host = h;
    t->ctx.method = t->ctx.request_id = t->ctx.trace = t->ctx.job_id = t->ctx.error = "";
    t->ctx.timeout_ms = FRANCIS_FOREVER;
    return t;
}

static void frn_blocks_free(francis_host *h, frn_turn *t)
{
    frn_block *b;
    while ((b = t->blocks) != NULL) {
        t->blocks = b->next;
        frn_mem_free(&h->mem, b, sizeof *b + b->size);
    }
}

static void frn_turn_free(francis_host *h, frn_turn *t)
{
    frn_timer_stop(h, &t->timer);
    frn_list_remove(&t->link);
    frn_list_remove(&t->holder_link);
    frn_list_remove(&t->running_link);
    frn_chain_drop(h, t->chain);
    frn_chain_drop(h, t->chain_in);
    frn_buf_drop(&h->mem, t->input);
    frn_buf_drop(&h->mem, t->request_id);
    frn_buf_drop(&h->mem, t->trace);
    frn_buf_drop(&h->mem, t->method_copy);
    frn_buf_drop(&h->mem, t->base);
    frn_buf_drop(&h->mem, t->work);
    frn_buf_drop(&h->mem, t->reply);
    frn_buf_drop(&h->mem, t->error);
    frn_buf_drop(&h->mem, t->due_texts);
    frn_buf_drop(&h->mem, t->due_error);
    frn_buf_drop(&h->mem, t->due_id);
    frn_records_free(&h->mem, &t->records);
    frn_blocks_free(h, t);
    if (h->turns_spare < FRN_TURNS_SPARE) {
        h->turns_spare++;
        frn_list_push(&h->turns_free, &t->link);
    } else {
        h->turns_total--;
        frn_mem_free(&h->mem, t, sizeof *t);
    }
}

/* Expired state is gone for the next turn at the very instant, also under a live activation. It is
 * not forgotten: the clock may have been wrong. */
static bool frn_actor_expired(const francis_host *h, const frn_actor *a)
{
    return a->expires_ms != 0 && frn_plat_wall_ms(&h->plat) >= a->expires_ms;
}

/* The turn holds the actor from here on. */
static void frn_turn_begin(francis_host *h, frn_turn *t, frn_actor *a, bool exclusive,
                           francis_turn_kind kind, francis_handler run)
{
    frn_list_remove(&a->idle);
    t->actor = a;
    t->type = a->type;
    t->exclusive = exclusive;
    t->run = run;
    t->deleted = frn_actor_expired(h, a);
    t->base = t->deleted ? NULL : frn_buf_ref(a->state);
    t->ctx.type = a->type->desc.type;
    t->ctx.id = FRN_ACTOR_ID(a);
    t->ctx.kind = kind;
    t->ctx.instance = a->instance;
    t->ctx.user = a->type->desc.user;
    a->exclusive = exclusive;
    frn_list_push(&a->holders, &t->holder_link);
}

static void frn_turn_take_call(frn_turn *t, frn_call *c)
{
    t->call = c;
    t->op = c->op;
    t->hash = c->hash;
    t->expire_arg = c->expire_ms;
    t->deadline_ns = c->deadline_ns;
    t->input = frn_buf_ref(c->input);
    t->request_id = frn_buf_ref(c->request_id);
    t->trace = frn_buf_ref(c->trace);
    t->method_copy = frn_buf_ref(c->method_copy);
    if (c->chain != NULL) {
        t->chain_in = c->chain;
        c->chain->refs++;
    }
    t->ctx.method = c->method;
    t->ctx.timeout_ms = c->timeout_ms;
    if (t->input != NULL) {
        t->ctx.input.data = FRN_BYTES(t->input);
        t->ctx.input.size = t->input->size;
    }
    if (t->request_id != NULL)
        t->ctx.request_id = (const char *)FRN_BYTES(t->request_id);
    if (t->trace != NULL)
        t->ctx.trace = (const char *)FRN_BYTES(t->trace);
    c->turn = t;
    c->state = FRN_CALL_RUNNING;
}

enum {
    FRN_FIRING_FIRST = 256, FRN_FIRING_LEAST = 32, FRN_FIRING_MOST = 1024,
    FRN_FIRING_SLOW_MS = 200        /* so long one may wait for a thread */
};

/* As many are under way as can be run: more when they begin at once, less when they have to wait
 * for threads, for then other hosts may have some. */
static void frn_due_pace(francis_host *h, const frn_turn *t)
{
    if (t->started_ns - t->granted_ns < FRN_FIRING_SLOW_MS * FRN_MS) {
        h->firing_most += h->firing_most < FRN_FIRING_MOST;
    } else if (t->granted_ns >= h->firing_cut_ns && h->firing_most > FRN_FIRING_LEAST) {
        h->firing_most -= h->firing_most / 4;       /* once for all that have waited */
        h->firing_cut_ns = t->started_ns;
    }
}

/* An alarm or a job begins. What the handler sees of it outlives the occurrence. */
static bool frn_turn_take_due(francis_host *h, frn_turn *t, frn_call *c)
{
    frn_due *e = c->due;
    char     text[FRN_UUID_SIZE + 32];

    t->due = e;
    t->granted_ns = frn_now_ns(h);
    t->patient = true;
    t->due_texts = frn_buf_ref(e->a.texts);
    t->due_error = frn_buf_ref(e->a.error);
    memcpy(t->job_id, e->a.id, sizeof t->job_id);
    (void)snprintf(text, sizeof text, "%s@%lld%s", e->a.id, (long long)e->a.due_ms,
                   e->a.kind == FRN_KIND_HOOK ? ":failed" : "");
    if (t->request_id == NULL && (t->due_id = frn_buf_text(&h->mem, text)) == NULL)
        return false;
    if (t->request_id == NULL)
        t->ctx.request_id = (const char *)FRN_BYTES(t->due_id);
    t->ctx.attempt = e->a.attempts + 1;
    t->ctx.attempts_max = e->type->desc.attempts_max;
    t->ctx.job_id = e->a.kind == FRN_KIND_ALARM ? "" : t->job_id;
    t->ctx.due_ms = e->a.due_ms;
    if (e->a.kind == FRN_KIND_HOOK)
        t->ctx.result = e->a.result;
    if (e->a.kind == FRN_KIND_HOOK && t->due_error != NULL)
        t->ctx.error = (const char *)FRN_BYTES(t->due_error);
    e->began_ms = frn_plat_wall_ms(&h->plat);
    if (e->type->desc.turn_timeout_ms > 0) {
        c->timeout_ms = t->ctx.timeout_ms = e->type->desc.turn_timeout_ms;
        frn_call_arm(h, c);
        t->deadline_ns = c->deadline_ns;
    }
    return true;
}

static void frn_actor_answer(francis_host *h, frn_actor *a, frn_call *c, francis_result r,
                             frn_buf *reply, frn_buf *error)
{
    frn_list *gate = frn_gate_of(h, a);

    if (gate == NULL) {
        frn_call_complete(h, c, r, reply, error);
        return;
    }
    frn_buf_drop(&h->mem, c->error);
    c->result = r;
    c->reply = reply;
    c->error = error;
    c->turn = NULL;
    frn_gate_wait(gate, c, FRN_CALL_GATED);
}

/* A call with a request id that has had its answer, or cannot get one. true = it is settled. */
static bool frn_call_replays(francis_host *h, frn_actor *a, frn_call *c)
{
    frn_request *r;
    int64_t      now_ms;
    uint32_t     kept;

    if (c->request_id == NULL || c->peek)
        return false;
    now_ms = frn_plat_wall_ms(&h->plat);
    kept = frn_requests_prune(h, a, now_ms);
    r = frn_request_find(a, c->request_id);
    if (r == NULL && kept < a->type->desc.requests_kept_max)
        return false;
    if (r == NULL) {
        h->stats.calls_refused++;
        frn_call_fail(h, c, FRANCIS_ERR_BUSY, "%s/%s remembers %u request ids already,"
                      " requests_kept_max", a->type->desc.type, FRN_ACTOR_ID(a), (unsigned)kept);
    } else if (r->hash != c->hash) {
        frn_call_fail(h, c, FRANCIS_ERR_EXISTS, "request id '%s' stands for other work of %s/%s",
                      (const char *)FRN_BYTES(c->request_id), a->type->desc.type, FRN_ACTOR_ID(a));
    } else {
        h->stats.replays++;
        c->wrote = true;            /* if its commit is unknown, so is this */
        frn_actor_answer(h, a, c, FRANCIS_OK, frn_buf_ref(r->reply), NULL);
    }
    return true;
}

/* The handler's end of a stream: there already if another host has opened it. */
static bool frn_turn_take_stream(francis_host *h, frn_turn *t, const frn_call *c)
{
    francis_stream *caller = c->foreign ? NULL : c->stream;
    francis_stream *s = c->foreign ? c->stream : frn_stream_new(h, false);

    if (s == NULL)
        return false;
    s->owned = true;
    s->turn = t;
    s->call = c->handle;
    t->ctx.stream = s;
    frn_list_push(&t->streams, &s->link);
    if (caller != NULL) {
        s->peer = caller;
        caller->peer = s;
        s->bytes_max = caller->bytes_max;
        s->type_in = frn_buf_ref(caller->type_out);
        frn_stream_pump(h, caller);
    }
    return true;
}

static francis_turn_kind frn_call_kind(const frn_call *c)
{
    if (c->op == FRN_OP_BOOTSTRAP)
        return FRANCIS_BOOTSTRAP;
    if (c->due != NULL)
        return c->due->a.kind == FRN_KIND_ALARM ? FRANCIS_ALARM
             : c->due->a.kind == FRN_KIND_JOB ? FRANCIS_JOB : FRANCIS_JOB_FAILED;
    if (c->streams)
        return c->peek ? FRANCIS_PEEK_STREAM : FRANCIS_STREAM;
    return c->peek ? FRANCIS_PEEK : FRANCIS_INVOKE;
}

/* Starts the turn of a call that may start. NULL = it needs none, or has failed. */
static frn_turn *frn_call_begin(francis_host *h, frn_actor *a, frn_call *c)
{
    frn_turn *t;

    if (c->due != NULL && c->due->gone) {
        frn_call_fail(h, c, FRANCIS_ERR_CANCELLED, "it is no more");
        return NULL;
    }
    if (frn_call_replays(h, a, c))
        return NULL;
    t = frn_turn_new(h);
    if (t == NULL || (c->streams && !frn_turn_take_stream(h, t, c))) {
        if (t != NULL)
            frn_turn_free(h, t);
        frn_call_fail(h, c, FRANCIS_ERR_NOMEM, "no memory for a turn of %s/%s", a->type->desc.type,
                      FRN_ACTOR_ID(a));
        return NULL;
    }
    frn_turn_begin(h, t, a, !c->peek, frn_call_kind(c), c->run);
    frn_turn_take_call(t, c);
    if (c->due != NULL && !frn_turn_take_due(h, t, c))
        t->refused = FRANCIS_ERR_NOMEM;     /* it ends before its handler runs */
    return t;
}

static bool frn_actor_free_for(const frn_actor *a, bool exclusive)
{
    return frn_list_empty(&a->holders) || (!exclusive && !a->exclusive);
}

/* Lets those in who may: the first in the mailbox, or all readers up to the next writer. */
static void frn_actor_admit(francis_host *h, frn_actor *a)
{
    while (!frn_list_empty(&a->mailbox)) {
        frn_call *c = FRN_OF(frn_call, link, a->mailbox.next);
        frn_turn *t;
        if (!frn_actor_free_for(a, !c->peek))
            return;
        frn_list_remove(&c->link);
        a->mailbox_count--;
        h->stats.queue_turns--;
        t = frn_call_begin(h, a, c);
        if (t != NULL)
            frn_turn_make_ready(h, t);
    }
}

// >> 650 life | needs: 640
//    An activation from its claim to its release. frn_actor_step looks at where it stands and does
//    what comes next; it is called whenever something has changed, and once more is harmless.

static uint64_t frn_actor_hash(const francis_host *h, const frn_type *type, const char *id,
                               size_t id_size)
{
    return frn_hash(type->node.hash, id, id_size) ^ h->seed;
}

static frn_actor *frn_actor_find(const francis_host *h, const frn_type *type, const char *id)
{
    size_t    id_size = strlen(id);
    uint64_t  hash = frn_actor_hash(h, type, id, id_size);
    frn_node *n = frn_map_first(&h->actors, hash);

    for (; n != NULL; n = frn_map_next(n->next, hash)) {
        frn_actor *a = FRN_OF(frn_actor, node, n);
        if (a->type == type && memcmp(FRN_ACTOR_ID(a), id, id_size + 1) == 0)
            return a;
    }
    return NULL;
}

/* Against concurrency_max: from its claim until its handlers have ended. */
static void frn_actor_count(frn_actor *a, bool counted)
{
    if (a->counted == counted)
        return;
    a->counted = counted;
    a->type->active += counted ? 1u : (uint32_t)-1;
}

static bool frn_type_full(const frn_type *type)
{
    return type->desc.concurrency_max != 0 && type->active >= type->desc.concurrency_max;
}

static frn_actor *frn_actor_new(francis_host *h, frn_type *type, const char *id)
{
    size_t     id_size = strlen(id);
    frn_actor *a = (frn_actor *)frn_mem_alloc(&h->mem, sizeof *a + id_size + 1);

    if (a == NULL)
        return NULL;
    memcpy(FRN_ACTOR_ID(a), id, id_size + 1);
    a->type = type;
    a->phase = FRN_PHASE_NEW;
    frn_list_init(&a->idle);
    frn_list_init(&a->mailbox);
    frn_list_init(&a->holders);
    frn_list_init(&a->parked);
    frn_list_init(&a->streams);
    if (!frn_map_add(&h->mem, &h->actors, &a->node, frn_actor_hash(h, type, id, id_size))) {
        frn_mem_free(&h->mem, a, sizeof *a + id_size + 1);
        return NULL;
    }
    frn_actor_count(a, true);
    h->stats.active++;
    return a;
}

/* What an activation knows, without the activation itself. */
static void frn_actor_forget(francis_host *h, frn_actor *a)
{
    frn_request *r;

    frn_buf_drop(&h->mem, a->state);
    a->state = NULL;
    a->expires_ms = 0;
    a->stored_version = 0;
    while ((r = a->requests) != NULL) {
        a->requests = r->next;
        frn_request_drop(&h->mem, r);
    }
}

/* With the streams that only the instance knows. No handler runs any more. */
static void frn_actor_forget_instance(francis_host *h, frn_actor *a)
{
    frn_streams_cut(h, a, FRANCIS_ERR_MOVED, true);
    frn_mem_free(&h->mem, a->instance, a->type->desc.instance_size);
    a->instance = NULL;
}

static void frn_halters_tell(francis_host *h, frn_actor *a, francis_result r)
{
    frn_halter *w;

    while ((w = a->halters) != NULL) {
        frn_call *c = frn_call_find(h, w->call);
        a->halters = w->next;
        frn_mem_free(&h->mem, w, sizeof *w);
        if (c == NULL || c->state != FRN_CALL_HALTING)
            continue;
        if (r != FRANCIS_OK)
            c->result = r;
        if (--c->pending == 0)
            frn_call_complete(h, c, c->result == FRANCIS_PENDING ? FRANCIS_OK : c->result, NULL,
                              NULL);
    }
}

static void frn_actor_free(francis_host *h, frn_actor *a)
{
    FRN_ASSERT(frn_list_empty(&a->mailbox) && frn_list_empty(&a->holders) && a->writes == 0);
    FRN_ASSERT(frn_list_empty(&a->parked));
    frn_list_remove(&a->idle);
    if (a->phase == FRN_PHASE_ORPHAN) {
        h->orphans--;
    } else {
        frn_map_remove(&h->actors, &a->node);
        frn_actor_count(a, false);
        h->stats.active--;
    }
    frn_halters_tell(h, a, FRANCIS_OK);
    frn_actor_forget(h, a);
    frn_actor_forget_instance(h, a);
    frn_mem_free(&h->mem, a, sizeof *a + strlen(FRN_ACTOR_ID(a)) + 1);
}

static void frn_mailbox_fail(francis_host *h, frn_actor *a, francis_result r, bool from_handler,
                             const char *text)
{
    frn_list  waiting;
    frn_list *l;

    frn_list_init(&waiting);        /* a call that is completed may bring the next one */
    frn_list_move(&waiting, &a->mailbox);
    h->stats.queue_turns -= a->mailbox_count;
    a->mailbox_count = 0;
    while ((l = frn_list_pop(&waiting)) != NULL) {
        frn_call *c = FRN_OF(frn_call, link, l);
        c->from_handler = from_handler;
        frn_call_fail(h, c, r, "%s", text);
    }
}

/* Those whose turns have deferred get no answer any more. */
static void frn_parked_fail(francis_host *h, frn_actor *a, francis_result r)
{
    frn_list *l;

    while ((l = frn_list_pop(&a->parked)) != NULL) {
        frn_call *c = FRN_OF(frn_call, link, l);
        if (c->claimed_answer)
            continue;               /* it is on its way, with a turn's commit */
        frn_call_fail(h, c, c->wrote ? FRANCIS_ERR_UNKNOWN : r,
                      "%s/%s ended before the deferred answer came%s", a->type->desc.type,
                      FRN_ACTOR_ID(a), c->wrote ? "; the turn that deferred it has written" : "");
    }
}

static void frn_actor_claim(francis_host *h, frn_actor *a)
{
    frn_write *w;

    if (!a->counted && frn_type_full(a->type)) {    /* its place was taken while it went down */
        frn_mailbox_fail(h, a, FRANCIS_ERR_NO_HOST, false, "no room for the actor:"
                         " concurrency_max");
        return;
    }
    w = frn_write_new(h, FRN_WRITE_CLAIM, a);
    if (w == NULL) {
        frn_mailbox_fail(h, a, FRANCIS_ERR_NOMEM, false, "no memory to activate the actor");
        return;
    }
    w->idle_timeout_ms = a->type->desc.idle_timeout_ms < 0 ? 0 : a->type->desc.idle_timeout_ms;
    frn_actor_count(a, true);
    a->phase = FRN_PHASE_CLAIMING;
    a->placed = true;
    frn_write_queue(h, w);
}

/* A turn that no call has asked for: upgrade, activate, deactivate. */
static frn_turn *frn_life_turn(francis_host *h, frn_actor *a, francis_turn_kind kind,
                               francis_handler run)
{
    frn_turn *t = frn_turn_new(h);
    if (t == NULL)
        return NULL;
    frn_turn_begin(h, t, a, true, kind, run);
    frn_turn_make_ready(h, t);
    return t;
}

static void frn_actor_sleep(francis_host *h, frn_actor *a)
{
    frn_turn *t = NULL;

    frn_list_remove(&a->idle);
    a->phase = FRN_PHASE_SLEEPING;
    if (a->type->desc.deactivate != NULL) {
        t = frn_life_turn(h, a, FRANCIS_DEACTIVATE, a->type->desc.deactivate);
        if (t == NULL)
            frn_log(&h->log, FRN_LOG_deactivate_failed, FRANCIS_ERR_NOMEM, a->type->desc.type,
                    FRN_ACTOR_ID(a), "no memory to run deactivate");
    }
    if (t == NULL) {
        a->phase = FRN_PHASE_SETTLING;
        return;
    }
    t->ctx.timeout_ms = a->type->desc.deactivate_timeout_ms;
    t->deadline_ns = frn_add_time(frn_now_ns(h), frn_ms_to_ns(t->ctx.timeout_ms));
    t->timer.fire = h->on_turn_timer;
    frn_timer_set(h, &t->timer, t->deadline_ns);
}

static void frn_actor_settle(francis_host *h, frn_actor *a)
{
    frn_write *w = NULL;

    frn_actor_count(a, false);
    frn_parked_fail(h, a, FRANCIS_ERR_MOVED);
    if (a->writes > 0)
        return;                     /* released only after the last commit */
    h->stats.deactivations++;
    if (a->placed)
        w = frn_write_new(h, FRN_WRITE_RELEASE, a);
    if (w == NULL && a->placed)
        frn_log(&h->log, FRN_LOG_release_failed, FRANCIS_ERR_NOMEM, a->type->desc.type,
                FRN_ACTOR_ID(a), "no memory to release the actor; its placement stays");
    frn_actor_forget(h, a);
    frn_actor_forget_instance(h, a);
    a->phase = FRN_PHASE_RELEASING;
    if (w != NULL)
        frn_write_queue(h, w);
}

/* With nobody in it: it may rest until it is used again, or for good. */
static void frn_actor_rest(francis_host *h, frn_actor *a)
{
    frn_type *type = a->type;

    if (!frn_list_empty(&a->holders) || !frn_list_empty(&a->parked) || frn_streams_live(a)
        || !frn_list_empty(&a->mailbox) || !frn_list_empty(&a->idle))
        return;
    frn_list_push(&type->idle, &a->idle);
    if (type->idle_timer.index == 0 && type->idle_ns != FRN_NEVER)
        frn_timer_set(h, &type->idle_timer, frn_add_time(h->clock_ns, type->idle_ns));
}

/* Released, or never ours. true = it lives again, for those who have come meanwhile. */
static bool frn_actor_over(francis_host *h, frn_actor *a)
{
    a->placed = false;
    a->halting = false;
    frn_halters_tell(h, a, FRANCIS_OK);
    if (frn_list_empty(&a->mailbox)) {
        frn_actor_free(h, a);
        return false;
    }
    a->phase = FRN_PHASE_NEW;
    return true;
}

/* One step of an activation. true = look again, it stands somewhere else now. */
static bool frn_actor_step_once(francis_host *h, frn_actor *a)
{
    frn_phase before = (frn_phase)a->phase;

    switch (before) {
    case FRN_PHASE_NEW:
        if (!frn_list_empty(&a->mailbox))
            frn_actor_claim(h, a);
        if (frn_list_empty(&a->mailbox))    /* it failed */
            a->phase = FRN_PHASE_RELEASING;
        break;
    case FRN_PHASE_ACTIVE:
        if (!a->halting)
            frn_actor_admit(h, a);
        else if (frn_list_empty(&a->holders))
            frn_actor_sleep(h, a);
        if (a->phase == FRN_PHASE_ACTIVE && h->phase == FRN_HOST_DRAINING
            && frn_list_empty(&a->holders) && frn_list_empty(&a->mailbox)) {
            a->halting = true;
            return true;
        }
        if (a->phase == FRN_PHASE_ACTIVE)
            frn_actor_rest(h, a);
        break;
    case FRN_PHASE_SETTLING:
        frn_actor_settle(h, a);
        break;
    case FRN_PHASE_RELEASING:
        if (a->writes > 0)
            return false;
        return frn_actor_over(h, a);
    case FRN_PHASE_LOST:
        if (!frn_list_empty(&a->holders) || a->writes > 0)
            return false;
        frn_parked_fail(h, a, FRANCIS_ERR_MOVED);
        frn_actor_forget_instance(h, a);
        a->halting = false;
        a->phase = frn_list_empty(&a->mailbox) ? FRN_PHASE_SETTLING : FRN_PHASE_NEW;
        break;
    case FRN_PHASE_ORPHAN:
        if (frn_list_empty(&a->holders) && a->writes == 0)
            frn_actor_free(h, a);
        return false;
    case FRN_PHASE_CLAIMING:
    case FRN_PHASE_WAKING:
    case FRN_PHASE_SLEEPING:
        return false;
    }
    return a->phase != before;
}

static void frn_actor_step(francis_host *h, frn_actor *a)   /* may free it */
{
    while (frn_actor_step_once(h, a))
        continue;
}

/* Hibernation has been asked for; calls that wait are served by the next activation. */
static void frn_actor_halt(francis_host *h, frn_actor *a)
{
    if (a->phase == FRN_PHASE_ACTIVE || a->phase == FRN_PHASE_CLAIMING
        || a->phase == FRN_PHASE_WAKING)
        a->halting = true;
    frn_actor_step(h, a);
}

static bool frn_halter_add(francis_host *h, frn_actor *a, frn_call *c)
{
    frn_halter *w = (frn_halter *)frn_mem_alloc(&h->mem, sizeof *w);
    if (w == NULL)
        return false;
    w->call = c->handle;
    w->next = a->halters;
    a->halters = w;
    c->pending++;
    return true;
}

static void frn_idle_on_timer(francis_host *h, frn_timer *timer)
{
    frn_type *type = FRN_OF(frn_type, idle_timer, timer);
    int64_t   now = h->clock_ns, due;

    while (!frn_list_empty(&type->idle)) {
        frn_actor *a = FRN_OF(frn_actor, idle, type->idle.next);
        if (a->used_ns == 0) {      /* used without a look at the clock: count from here */
            a->used_ns = now;
            frn_list_remove(&a->idle);
            frn_list_push(&type->idle, &a->idle);
            continue;
        }
        due = frn_add_time(a->used_ns, type->idle_ns);
        if (due > now) {
            frn_timer_set(h, timer, due);
            return;
        }
        frn_actor_halt(h, a);
    }
}

/* Why an activation cannot begin; its callers hear it. */
static void frn_actor_wake_failed(francis_host *h, frn_actor *a, francis_result r,
                                  bool from_handler, const char *text)
{
    frn_log(&h->log, FRN_LOG_activation_failed, r, a->type->desc.type, FRN_ACTOR_ID(a), "%s", text);
    frn_mailbox_fail(h, a, r, from_handler, text);
    a->phase = FRN_PHASE_SETTLING;
}

static void frn_actor_awake(francis_host *h, frn_actor *a)
{
    a->phase = FRN_PHASE_ACTIVE;
    a->used_ns = h->clock_ns;
    h->stats.activations++;
}

static void frn_actor_activate(francis_host *h, frn_actor *a)
{
    if (a->type->desc.activate == NULL)
        frn_actor_awake(h, a);
    else if (frn_life_turn(h, a, FRANCIS_ACTIVATE, a->type->desc.activate) == NULL)
        frn_actor_wake_failed(h, a, FRANCIS_ERR_NOMEM, false, "no memory to run activate");
}

static void frn_actor_upgrade(francis_host *h, frn_actor *a)
{
    frn_turn *t = frn_life_turn(h, a, FRANCIS_UPGRADE, a->type->desc.upgrade);

    if (t == NULL) {
        frn_actor_wake_failed(h, a, FRANCIS_ERR_NOMEM, false, "no memory to run upgrade");
        return;
    }
    t->deleted = true;              /* the handler starts from nothing; the old bytes are input */
    t->input = frn_buf_ref(a->state);
    t->ctx.input.data = FRN_BYTES(t->input);
    t->ctx.input.size = t->input->size;
    t->ctx.state_version = a->stored_version;
}

/* The state is here. Is it what this program can work with? */
static void frn_actor_wake(francis_host *h, frn_actor *a)
{
    const francis_actor_desc *d = &a->type->desc;
    char                      text[400];

    a->phase = FRN_PHASE_WAKING;
    if (d->instance_size > 0) {
        a->instance = frn_mem_alloc(&h->mem, d->instance_size);
        if (a->instance == NULL) {
            frn_actor_wake_failed(h, a, FRANCIS_ERR_NOMEM, false, "no memory for the instance");
            return;
        }
    }
    if (a->state != NULL && a->stored_version != d->state_version && d->upgrade != NULL) {
        frn_actor_upgrade(h, a);
    } else if (a->state != NULL && a->stored_version != d->state_version) {
        (void)snprintf(text, sizeof text, "the state of %s/%s has version %u; this program has %u"
                       " and no upgrade handler", d->type, FRN_ACTOR_ID(a),
                       (unsigned)a->stored_version, (unsigned)d->state_version);
        frn_actor_wake_failed(h, a, FRANCIS_ERR_SCHEMA, false, text);
    } else if (a->state != NULL && d->state_size > 0 && a->state->size > d->state_size) {
        (void)snprintf(text, sizeof text, "the state of %s/%s has %lu bytes, more than the struct"
                       " with %lu", d->type, FRN_ACTOR_ID(a), (unsigned long)a->state->size,
                       (unsigned long)d->state_size);
        frn_actor_wake_failed(h, a, FRANCIS_ERR_CORRUPT, false, text);
    } else {
        frn_actor_activate(h, a);
    }
}

/* A turn of the activation's own life has ended. */
static void frn_life_done(francis_host *h, frn_actor *a, francis_turn_kind kind, francis_result r,
                          bool from_handler, const char *text)
{
    if (a->phase != FRN_PHASE_WAKING && a->phase != FRN_PHASE_SLEEPING)
        return;                     /* lost meanwhile */
    if (kind == FRANCIS_DEACTIVATE) {
        if (r != FRANCIS_OK)
            frn_log(&h->log, FRN_LOG_deactivate_failed, r, a->type->desc.type, FRN_ACTOR_ID(a),
                    "deactivate: %s", text);
        a->phase = FRN_PHASE_SETTLING;
    } else if (r != FRANCIS_OK) {
        frn_actor_wake_failed(h, a, r, from_handler, text);
    } else if (kind == FRANCIS_UPGRADE) {
        frn_actor_activate(h, a);
    } else {
        frn_actor_awake(h, a);
    }
}

// >> 660 end | needs: 650
//    Turns end: sealed, or doomed, in one step under the lock. Activations are lost.

/* Ends of streams end with their turn: those that it has opened are closed, what it has kept goes
 * to the activation, and what else it has answered is delivered without it. */
static void frn_turn_leave_streams(francis_host *h, frn_turn *t)
{
    frn_list *l;

    while ((l = frn_list_pop(&t->streams)) != NULL) {
        francis_stream *s = FRN_OF(francis_stream, link, l);
        s->turn = NULL;
        if (s->caller) {
            h->on_stream_close(h, s);
        } else if (s->kept) {
            s->keeper = t->actor;
            frn_list_push(&t->actor->streams, &s->link);
        } else {
            s->owned = false;
            frn_bytes_clear(h, &s->in);
            if (s->peer != NULL)
                frn_stream_pump(h, s->peer);
            frn_stream_retire(h, s);
        }
    }
}

static void frn_turn_doom(francis_host *h, frn_turn *t, francis_result why)
{
    frn_list *l;

    if (t->doom != FRANCIS_OK)
        return;
    FRN_STORE(&t->doom, why);
    for (l = t->calls.next; l != &t->calls; l = l->next) {
        frn_call *c = FRN_OF(frn_call, owner_link, l);
        if (c->cond != NULL)        /* the handler waits for a call: no more */
            frn_signal(h, c->cond);
    }
    if (t->suspended) {
        frn_turn_make_ready(h, t);
    } else if (t->in_handler && t->type->desc.turn_timeout_ms > 0) {
        t->timer.fire = h->on_turn_timer;
        frn_timer_set(h, &t->timer, frn_add_time(frn_now_ns(h),
                                                 frn_ms_to_ns(t->type->desc.turn_timeout_ms)));
    }
}

/* Ends a turn from outside: it commits nothing, and its caller is told so now. */
static void frn_turn_kill(francis_host *h, frn_turn *t, francis_result why, const char *text)
{
    frn_call *c = t->call;

    t->call = NULL;
    t->due = NULL;
    frn_turn_doom(h, t, why);
    if (c == NULL)
        return;
    if (t->flushed && c->due == NULL)
        frn_call_fail(h, c, FRANCIS_ERR_UNKNOWN, "%s; what it had flushed stays", text);
    else
        frn_call_fail(h, c, why, "%s", text);
}

/* The image of an activation is not to be trusted any more. What runs on it is told, what waits is
 * served by the next activation. */
static void frn_actor_lose(francis_host *h, frn_actor *a, francis_result why, const char *text)
{
    frn_list *l, *next;

    if (a->phase == FRN_PHASE_NEW || a->phase == FRN_PHASE_ORPHAN)
        return;
    frn_list_remove(&a->idle);
    for (l = a->holders.next; l != &a->holders; l = next) {
        next = l->next;
        frn_turn_kill(h, FRN_OF(frn_turn, holder_link, l), why, text);
    }
    frn_actor_forget(h, a);
    a->phase = FRN_PHASE_LOST;
}

static void frn_answers_free(francis_host *h, frn_turn *t)
{
    frn_answer *n;
    while ((n = t->answers) != NULL) {
        t->answers = n->next;
        frn_buf_drop(&h->mem, n->reply);
        frn_mem_free(&h->mem, n, sizeof *n);
    }
    t->answers_last = &t->answers;
}

/* Sends and answers of a turn that has committed, or will as soon as its write does. */
static void frn_answers_leave(francis_host *h, frn_turn *t)
{
    frn_answer *n;
    frn_call   *c;
    frn_list   *gate;

    for (n = t->answers; n != NULL; n = n->next) {
        if (n->call != NULL) {
            c = n->call;
            n->call = NULL;
            gate = frn_gate_of(h, t->actor);
            if (gate != NULL)
                frn_gate_wait(gate, c, FRN_CALL_HELD);
            else
                frn_list_push(&h->outbox, &c->link);
            continue;
        }
        c = frn_call_find(h, n->ticket);
        if (c == NULL || !c->claimed_answer)
            continue;
        frn_list_remove(&c->link);
        c->from_handler = true;
        c->wrote = true;
        frn_actor_answer(h, t->actor, c, n->result, n->reply, NULL);
        n->reply = NULL;
    }
    frn_answers_free(h, t);
}

static void frn_answers_cancel(francis_host *h, frn_turn *t)
{
    frn_answer *n;
    frn_call   *c;

    for (n = t->answers; n != NULL; n = n->next) {
        if (n->call != NULL) {
            h->stats.calls_in_flight--;
            frn_call_release(h, n->call);
            continue;
        }
        c = frn_call_find(h, n->ticket);
        if (c == NULL)
            continue;
        c->claimed_answer = false;
        if (c->state == FRN_CALL_PARKED && frn_list_empty(&c->link))
            frn_call_fail(h, c, c->wrote ? FRANCIS_ERR_UNKNOWN : FRANCIS_ERR_MOVED,
                          "its actor ended before the deferred answer came");
    }
    frn_answers_free(h, t);
}

/* Calls that it has made and that nobody will look at any more. Those under way go on. */
static void frn_turn_let_go(francis_host *h, frn_turn *t)
{
    while (!frn_list_empty(&t->calls)) {
        frn_call *c = FRN_OF(frn_call, owner_link, t->calls.next);
        if (frn_call_over(c)) {
            frn_call_release(h, c);
        } else if (c->state == FRN_CALL_EXPECTED) {
            h->stats.calls_in_flight--;
            frn_call_release(h, c);
        } else {
            frn_list_remove(&c->owner_link);
            frn_list_push(&h->outside, &c->owner_link);
            c->owner = NULL;
            c->user = NULL;
        }
    }
}

typedef struct frn_end {            /* how a turn has ended */
    francis_result result;
    bool           from_handler;
    const char    *text;            /* NULL = that of the turn, or of the result */
} frn_end;

static frn_end frn_turn_verdict(francis_host *h, frn_turn *t, francis_result r)
{
    frn_end e;

    e.result = r;
    e.from_handler = true;
    e.text = NULL;
    if (t->doom != FRANCIS_OK || t->refused != FRANCIS_OK) {
        e.result = t->doom != FRANCIS_OK ? t->doom : t->refused;
        e.from_handler = false;
    } else if (r == FRANCIS_PENDING || r == FRANCIS_DONE) {
        e.result = FRANCIS_ERR_USAGE;
        e.text = r == FRANCIS_DONE ? "the handler returned FRANCIS_DONE"
                                   : "the handler returned FRANCIS_PENDING without francis_await";
    } else if (!frn_result_known(r)) {
        e.result = FRANCIS_ERR_USER;
        e.text = "the handler returned a number that is not a result";
    } else if (r == FRANCIS_OK && !t->exclusive && frn_work_differs(t)) {
        e.result = FRANCIS_ERR_READ_ONLY;
        e.from_handler = false;
        e.text = "the peek has changed its copy of the state";
    }
    if (e.text != NULL && e.from_handler)
        frn_log(&h->log, FRN_LOG_bad_result, e.result, t->ctx.type, t->ctx.id, "%s (%d)", e.text,
                r);
    return e;
}

static const char *frn_turn_text(const frn_turn *t, const frn_end *e)
{
    if (e->text != NULL)
        return e->text;
    return t->error != NULL ? (const char *)FRN_BYTES(t->error) : francis_strerror(e->result);
}

/* The caller waits on; a later turn has his ticket. */
static void frn_turn_park(francis_host *h, frn_turn *t, frn_call *c)
{
    frn_buf *reply = c->reply;

    c->turn = NULL;
    c->wrote = t->wrote;
    if (c->result != FRANCIS_PENDING) {     /* a thread was faster than the end of the turn */
        c->reply = NULL;
        c->from_handler = true;
        frn_actor_answer(h, t->actor, c, c->result, reply, NULL);
        return;
    }
    c->state = FRN_CALL_PARKED;
    c->actor = t->actor;
    frn_list_push(&t->actor->parked, &c->link);
    if (c->timer.index == 0)
        frn_call_arm(h, c);
}

static void frn_turn_answer(francis_host *h, frn_turn *t, const frn_end *e)
{
    frn_call *c = t->call;
    frn_buf  *error = NULL;

    t->call = NULL;
    if (c == NULL)
        return;
    if (e->result == FRANCIS_OK && t->deferred) {
        frn_turn_park(h, t, c);
        return;
    }
    frn_buf_drop(&h->mem, c->reply);        /* of an early answer to a turn that has failed */
    c->reply = NULL;
    c->from_handler = e->from_handler && e->result != FRANCIS_OK;
    c->wrote = t->wrote;
    if (e->result != FRANCIS_OK) {
        const char *text = frn_turn_text(t, e);
        if (c->user != NULL || c->done != NULL || c->held || c->one_way)
            error = frn_buf_copy(&h->mem, text, strlen(text));
    }
    if (e->result != FRANCIS_OK && !e->from_handler) {
        frn_call_complete(h, c, e->result, NULL, error);
        return;
    }
    /* a refusal, too, tells of what the handler has seen */
    frn_actor_answer(h, t->actor, c, e->result, e->result == FRANCIS_OK ? t->reply : NULL, error);
    if (e->result == FRANCIS_OK)
        t->reply = NULL;
}

static void frn_turn_count(francis_host *h, const frn_turn *t, const frn_end *e)
{
    if (t->exclusive)
        h->stats.turns++;
    else
        h->stats.peeks++;
    if (e->result != FRANCIS_OK)
        h->stats.turns_failed++;
}

/* The handler has returned for good. Frees the turn. */
static void frn_turn_finish(francis_host *h, frn_turn *t, francis_result r)
{
    frn_actor        *a = t->actor;
    francis_turn_kind kind = t->ctx.kind;
    bool              wrote = false;
    frn_end           e;

    if (t->deadline_ns != FRN_NEVER && frn_now_ns(h) >= t->deadline_ns)     /* no timer saw it */
        frn_turn_kill(h, t, FRANCIS_ERR_DEADLINE, "its turn did not end in time");
    e = frn_turn_verdict(h, t, r);

    if (e.result == FRANCIS_OK && t->exclusive) {
        e.result = frn_seal(h, t, true, &wrote);
        e.from_handler = e.result == FRANCIS_OK;
    }
    t->wrote = t->wrote || wrote;
    frn_turn_unstage(h, t, e.result == FRANCIS_OK);
    frn_turn_count(h, t, &e);
    if (e.result == FRANCIS_OK && t->halt && a->phase == FRN_PHASE_ACTIVE)
        a->halting = true;
    frn_turn_answer(h, t, &e);
    if (e.result == FRANCIS_OK)
        frn_answers_leave(h, t);
    else
        frn_answers_cancel(h, t);
    frn_turn_leave_streams(h, t);
    frn_turn_let_go(h, t);
    frn_list_remove(&t->holder_link);
    if (frn_list_empty(&a->holders))
        a->exclusive = false;
    a->used_ns = !t->inline_run ? h->clock_ns : t->type->desc.nonblocking ? 0 : frn_now_ns(h);
    if (kind == FRANCIS_ACTIVATE || kind == FRANCIS_UPGRADE || kind == FRANCIS_DEACTIVATE)
        frn_life_done(h, a, kind, e.result, e.from_handler, frn_turn_text(t, &e));
    frn_turn_free(h, t);
    frn_actor_step(h, a);
}

/* Callbacks of calls that a suspended turn has made: as part of it, one after the other. */
static void frn_turn_callbacks(francis_host *h, frn_turn *t)
{
    frn_list *l;

    for (l = t->calls.next; l != &t->calls; l = l->next) {
        frn_call *c = FRN_OF(frn_call, owner_link, l);
        if (c->state == FRN_CALL_DONE)
            frn_call_publish(c);
        if (c->state != FRN_CALL_CALLBACK || c->user == NULL)
            continue;
        frn_call_publish(c);
        c->state = FRN_CALL_DONE;
        c->on_done = false;
        t->in_callback = true;
        frn_unlock(h);
        c->user->on_done(c->user);
        frn_lock(h);
        t->in_callback = false;
        l = &t->calls;              /* anything may have changed: from the start */
    }
}

static bool frn_turn_has_callback(const frn_turn *t)
{
    const frn_list *l;
    for (l = t->calls.next; l != &t->calls; l = l->next)
        if (FRN_OF(const frn_call, owner_link, l)->state == FRN_CALL_CALLBACK)
            return true;
    return false;
}

/* Runs a turn that is granted or that goes on. Lock held, given up meanwhile. */
static void frn_turn_run(francis_host *h, frn_turn *t)
{
    francis_result r;

    if (t->doom != FRANCIS_OK) {
        frn_turn_finish(h, t, t->doom);
        return;
    }
    t->in_handler = true;
    if (!t->inline_run || !t->type->desc.nonblocking)
        t->started_ns = frn_now_ns(h);
    if (t->due != NULL && !t->suspended)
        frn_due_pace(h, t);
    frn_list_push(&h->running, &t->running_link);
    if (t->suspended) {
        t->suspended = false;
        frn_turn_callbacks(h, t);
        t->suspended = t->outstanding > 0 && t->doom == FRANCIS_OK;
    }
    r = t->doom != FRANCIS_OK ? t->doom : t->refused;
    if (!t->suspended && r == FRANCIS_OK) {
        frn_unlock(h);
        r = t->run(&t->ctx);
        frn_lock(h);
        t->suspended = r == FRANCIS_PENDING && t->next != NULL && t->doom == FRANCIS_OK
                    && t->refused == FRANCIS_OK;
        if (t->suspended)
            t->run = t->next;
        t->next = NULL;
    }
    t->in_handler = false;
    frn_list_remove(&t->running_link);
    if (!t->suspended)
        frn_turn_finish(h, t, r);
    else if (t->outstanding == 0 || frn_turn_has_callback(t))
        frn_turn_make_ready(h, t);
}

static frn_turn *frn_ready_pop(francis_host *h)
{
    frn_list *first = h->patient_next ? &h->ready_patient : &h->ready;
    frn_list *l = frn_list_pop(first);
    frn_turn *t;

    if (l == NULL)
        l = frn_list_pop(first == &h->ready ? &h->ready_patient : &h->ready);
    if (l == NULL)
        return NULL;
    t = FRN_OF(frn_turn, link, l);
    h->patient_next = !t->patient;
    t->ready = false;
    h->ready_count--;
    return t;
}

/* The on_done of a call from outside. Lock held, given up meanwhile. */
static void frn_callback_run(francis_host *h, frn_call *c)
{
    francis_call *u = c->user;

    frn_call_publish(c);
    c->state = FRN_CALL_IN_CALLBACK;
    c->callback_thread = pthread_self();
    c->pins++;
    frn_unlock(h);
    u->on_done(u);
    frn_lock(h);
    c->pins--;
    c->state = FRN_CALL_DONE;
    if (c->freed)
        frn_call_release(h, c);
    (void)pthread_cond_broadcast(&h->callback_cond);
}

static frn_call *frn_callback_pop(francis_host *h)
{
    frn_list *l = frn_list_pop(&h->callbacks);
    return l == NULL ? NULL : FRN_OF(frn_call, link, l);
}

// >> 665 peers | needs: 660
//    Other hosts. One that has an actor which is wanted here, and whose process lives, is asked now
//    and then to show that it stands: a number in its row, which it has to write back. If it has
//    not when the time is up it is evicted. Time counts on our clock, from when the challenge was
//    committed, and is longer than its lease, so that it has stopped to answer before.

enum { FRN_PLACES = 1024, FRN_PLACE_MS = 5000, FRN_DOWN_MS = 500, FRN_FULL_MS = 1000 };

static frn_peer *frn_peer_find(const francis_host *h, const char *id)
{
    frn_list *l;

    for (l = h->peers.next; l != &h->peers; l = l->next)
        if (strcmp(FRN_OF(frn_peer, link, l)->host.id, id) == 0)
            return FRN_OF(frn_peer, link, l);
    return NULL;
}

/* Where an actor was found lately is forgotten with the host, or when it is wrong. Of an actor only
 * the hash is kept: the worst that two of the same can do to each other is a call that goes wrong
 * and is sent on. */
static frn_place *frn_place_of(francis_host *h, uint64_t hash)
{
    return h->places == NULL ? NULL : &h->places[hash % FRN_PLACES];
}

static frn_peer *frn_place_get(francis_host *h, uint64_t hash)
{
    const frn_place *place = frn_place_of(h, hash);

    return place != NULL && place->peer != NULL && place->hash == hash
        && frn_now_ns(h) < place->until_ns ? place->peer : NULL;
}

static void frn_place_set(francis_host *h, uint64_t hash, frn_peer *p)
{
    frn_place *place;

    if (h->places == NULL)
        h->places = (frn_place *)frn_mem_alloc(&h->mem, FRN_PLACES * sizeof *h->places);
    place = frn_place_of(h, hash);
    if (place == NULL)
        return;
    place->hash = hash;
    place->peer = p;
    place->until_ns = frn_add_time(frn_now_ns(h), FRN_PLACE_MS * FRN_MS);
}

static void frn_place_drop(francis_host *h, uint64_t hash)
{
    frn_place *place = frn_place_of(h, hash);

    if (place != NULL && place->hash == hash)
        place->peer = NULL;
}

static void frn_peer_free(francis_host *h, frn_peer *p)
{
    size_t i;

    for (i = 0; h->places != NULL && i < FRN_PLACES; i++)
        if (h->places[i].peer == p)
            h->places[i].peer = NULL;
    frn_buf_drop(&h->mem, p->types);
    frn_timer_stop(h, &p->timer);
    frn_list_remove(&p->link);
    h->peers_count--;
    frn_mem_free(&h->mem, p, sizeof *p);
}

/* Hands the committer a write about it. Without memory it is tried again later. */
static void frn_peer_write(francis_host *h, frn_peer *p, frn_write_op op, frn_peer_state state)
{
    char       key[sizeof p->host.id + 1];
    size_t     size = strlen(p->host.id);
    frn_write *w = frn_write_new(h, op, NULL);

    key[0] = '\0';
    memcpy(key + 1, p->host.id, size + 1);
    if (w != NULL)
        w->owned = frn_buf_copy(&h->mem, key, size + 2);
    if (w == NULL || w->owned == NULL) {
        if (w != NULL)
            frn_write_free(h, w);
        frn_timer_set(h, &p->timer, frn_add_time(h->clock_ns, 1000 * FRN_MS));
        return;
    }
    w->type = (const char *)FRN_BYTES(w->owned);
    w->id = w->type + 1;
    w->challenge = p->challenge;
    p->state = state;
    frn_write_queue(h, w);
}

static void frn_peer_on_timer(francis_host *h, frn_timer *timer)
{
    frn_peer *p = FRN_OF(frn_peer, timer, timer);

    if (p->state == FRN_PEER_CHALLENGED)
        frn_peer_write(h, p, FRN_WRITE_EVICT, FRN_PEER_JUDGED);
    else if (p->state == FRN_PEER_TRUSTED && !p->listed)
        frn_peer_free(h, p);        /* nobody has asked for a long time: forgotten */
}

/* It is suspected again when it is met again. */
static void frn_peer_trust(francis_host *h, frn_peer *p)
{
    p->state = FRN_PEER_TRUSTED;
    frn_timer_set(h, &p->timer, frn_add_time(h->clock_ns, frn_ms_to_ns(FRANCIS_MINUTES(10))));
}

/* A write about it is over. r: why it did not happen. */
static void frn_peer_over(francis_host *h, const frn_write *w, francis_result r)
{
    frn_peer *p = frn_peer_find(h, w->id);
    int64_t   wait_ms = w->lease_ms + h->desc.lease_margin_ms;

    if (p == NULL)
        return;
    if (r != FRANCIS_OK || w->result == FRANCIS_ERR_EXISTS) {
        frn_peer_trust(h, p);
    } else if (w->result != FRANCIS_OK || w->op == FRN_WRITE_EVICT) {
        frn_peer_free(h, p);        /* it is gone */
    } else {
        if (wait_ms < h->desc.health_deadline_ms)
            wait_ms = h->desc.health_deadline_ms;
        p->state = FRN_PEER_CHALLENGED;
        p->challenge = w->challenge;
        frn_timer_set(h, &p->timer, frn_add_time(frn_now_ns(h), frn_ms_to_ns(wait_ms)));
        frn_log(&h->log, FRN_LOG_host_challenged, FRANCIS_OK, NULL, NULL,
                "host %s has to show within %lld ms that it stands", p->host.id,
                (long long)wait_ms);
    }
}

/* The record of a host, made if need be. NULL = no memory. */
static frn_peer *frn_peer_get(francis_host *h, const frn_owner *host)
{
    frn_peer *p = frn_peer_find(h, host->id);

    if (p == NULL) {
        if (!frn_timers_reserve(h, 1))
            return NULL;
        p = (frn_peer *)frn_mem_alloc(&h->mem, sizeof *p);
        if (p == NULL)
            return NULL;
        p->timer.fire = frn_peer_on_timer;
        frn_list_init(&p->link);
        frn_list_push(&h->peers, &p->link);
        h->peers_count++;
    }
    p->host = *host;
    return p;
}

/* It has what is wanted here, and its process lives. Does it serve? */
static void frn_peer_suspect(francis_host *h, const frn_owner *host)
{
    frn_peer *p = frn_peer_get(h, host);

    if (p != NULL && p->state == FRN_PEER_TRUSTED)
        frn_peer_write(h, p, FRN_WRITE_CHALLENGE, FRN_PEER_SUSPECT);
}

/* A call to it was lost, so it was asked for a sign of life. Without one it is suspected; a host
 * that is merely cut off from us answers the challenge, and stays. */
static void frn_peer_pinged(francis_host *h, frn_peer *p, bool alive)
{
    p->down_until_ns = alive ? 0 : frn_add_time(frn_now_ns(h), FRN_DOWN_MS * FRN_MS);
    if (!alive)
        frn_peer_suspect(h, &p->host);
}

static bool frn_peer_serves(const frn_peer *p, const char *type)
{
    const char *at = p->types != NULL ? (const char *)FRN_BYTES(p->types) : "";
    const char *end = p->types != NULL ? at + p->types->size : at;

    for (; at < end; at += strlen(at) + 1)
        if (strcmp(at, type) == 0)
            return true;
    return false;
}

/* One that can be called. */
static bool frn_peer_reachable(francis_host *h, const frn_peer *p)
{
    return p->host.address[0] != '-' && p->host.address[0] != '\0'
        && (p->down_until_ns == 0 || frn_now_ns(h) >= p->down_until_ns);
}

/* Whether any host of the cluster serves a type. */
static bool frn_cluster_serves(const francis_host *h, const char *type)
{
    const frn_list *l;

    for (l = h->peers.next; h->net != NULL && l != &h->peers; l = l->next)
        if (frn_peer_serves(FRN_OF(const frn_peer, link, l), type))
            return true;
    return false;
}

static void frn_peers_free(francis_host *h)
{
    while (!frn_list_empty(&h->peers))
        frn_peer_free(h, FRN_OF(frn_peer, link, h->peers.next));
}

/* The lease runs from the start of a look, or of a commit, that found the host standing and no
 * challenge open. */
static void frn_lease_renew(francis_host *h, int64_t from_ns)
{
    if (from_ns <= h->lease_from_ns && h->lease_from_ns != 0)
        return;
    h->lease_from_ns = from_ns;
    if (frn_leased(h))
        frn_gate_open(h, &h->lease_gate);
}

// >> 667 list | needs: 665
//    Which hosts there are, and what they serve: read from the file together with the lease.

typedef struct frn_listing {        /* one host at a time, as the rows come */
    francis_host *host;
    frn_peer     *peer;
    frn_pack      types;
} frn_listing;

static void frn_listing_end(frn_listing *l)     /* of one host */
{
    frn_buf *types = frn_pack_end(&l->types);

    if (l->peer != NULL && types != NULL) {
        frn_buf_drop(&l->host->mem, l->peer->types);
        l->peer->types = types;
        types = NULL;
    }
    frn_buf_drop(&l->host->mem, types);
    l->types.mem = &l->host->mem;
    l->peer = NULL;
}

/* A row. Called without the host's lock. */
static void frn_listing_add(frn_read *read, const frn_owner *owner, const char *type)
{
    frn_listing *l = (frn_listing *)read->user;

    frn_lock(l->host);
    if (l->peer == NULL || strcmp(l->peer->host.id, owner->id) != 0) {
        frn_listing_end(l);
        if (strcmp(owner->id, l->host->id) != 0)
            l->peer = frn_peer_get(l->host, owner);
        if (l->peer != NULL)
            l->peer->listed = true;
    }
    if (l->peer != NULL)
        frn_pack_bytes(&l->types, type, strlen(type) + 1);
    frn_unlock(l->host);
}

/* A host has come. Of what is idle here a fair part is let go, a few at a time, so that the next
 * call brings it to life over there: after a restart the hosts would stay unequal otherwise. What
 * is in use stays. */
enum { FRN_SPREAD_IDLE_MS = 1000, FRN_SPREAD_STEP_MS = 100, FRN_SPREAD_AT_ONCE = 64,
       FRN_SPREAD_FOR_MS = 60000 };

static uint32_t frn_type_hosts(const francis_host *h, const frn_type *type)     /* who serve it */
{
    const frn_list *l;
    uint32_t        n = 1;

    for (l = h->peers.next; l != &h->peers; l = l->next)
        n += FRN_OF(const frn_peer, link, l)->listed
          && frn_peer_serves(FRN_OF(const frn_peer, link, l), type->desc.type);
    return n;
}

static void frn_spread_begin(francis_host *h, const frn_peer *p)
{
    frn_list *l;

    for (l = h->type_order.next; l != &h->type_order; l = l->next) {
        frn_type *type = FRN_OF(frn_type, order, l);
        if (type->active == 0 || type->desc.singleton
            || type->desc.placement == FRANCIS_PLACE_LOCAL || !frn_peer_serves(p, type->desc.type))
            continue;
        type->spread += type->active / frn_type_hosts(h, type);
        h->spread_until_ns = frn_add_time(frn_now_ns(h), FRN_SPREAD_FOR_MS * FRN_MS);
        frn_timer_set(h, &h->spread_timer,
                      frn_add_time(h->clock_ns, FRN_SPREAD_STEP_MS * FRN_MS));
    }
}

/* Lets go of those that are idle for long enough; the longest idle are first. */
static void frn_spread_type(francis_host *h, frn_type *type)
{
    int64_t   since = h->clock_ns - FRN_SPREAD_IDLE_MS * FRN_MS;
    uint32_t  n = 0;
    frn_list *l = type->idle.next, *next;

    for (; l != &type->idle && type->spread > 0 && n < FRN_SPREAD_AT_ONCE; l = next, n++) {
        frn_actor *a = FRN_OF(frn_actor, idle, l);
        next = l->next;
        if (a->used_ns == 0)
            a->used_ns = h->clock_ns;       /* used without a look at the clock: count from here */
        if (a->used_ns > since)
            continue;
        type->spread--;
        frn_actor_halt(h, a);
    }
}

static void frn_spread_on_timer(francis_host *h, frn_timer *timer)
{
    bool      over = h->clock_ns >= h->spread_until_ns || h->phase != FRN_HOST_RUNNING;
    bool      more = false;
    frn_list *l;

    for (l = h->type_order.next; l != &h->type_order; l = l->next) {
        frn_type *type = FRN_OF(frn_type, order, l);
        if (over)
            type->spread = 0;
        else if (type->spread > 0)
            frn_spread_type(h, type);
        more = more || type->spread > 0;
    }
    if (more)
        frn_timer_set(h, timer, frn_add_time(h->clock_ns, FRN_SPREAD_STEP_MS * FRN_MS));
}

/* Lock held, given up meanwhile. */
static void frn_hosts_look(francis_host *h)
{
    frn_read    read;
    frn_listing listing;
    frn_list   *l, *next;

    for (l = h->peers.next; l != &h->peers; l = l->next)
        FRN_OF(frn_peer, link, l)->listed = false;
    memset(&read, 0, sizeof read);
    memset(&listing, 0, sizeof listing);
    listing.host = h;
    listing.types.mem = &h->mem;
    read.kind = FRN_READ_HOSTS;
    read.on_host = frn_listing_add;
    read.user = &listing;
    frn_unlock(h);
    h->store->ops->read(h->store, &read);
    frn_lock(h);
    frn_listing_end(&listing);
    for (l = h->peers.next; read.result == FRANCIS_OK && l != &h->peers; l = next) {
        frn_peer *p = FRN_OF(frn_peer, link, l);
        next = l->next;
        if (p->listed && !p->known && h->net != NULL)
            frn_spread_begin(h, p);
        p->known = p->known || p->listed;
        if (!p->listed && p->state == FRN_PEER_TRUSTED)
            frn_peer_free(h, p);
    }
}

// >> 668 remote | needs: 667 300
//    A call on its way to another host, as the head of a message; its input is the body.
//      [version, op, flags, host, type, id, method, time left in ms, request id, trace,
//       expire_ms, [[type, id, turn] ...]]
//    and of a stream: size of the input (-1 = none), which is the first that flows; content type,
//    bytes_max. What comes back is in 625.

enum {
    FRN_HEAD_VERSION = 1,
    FRN_WIRE_PEEK = 1, FRN_WIRE_ACTIVE_ONLY = 2, FRN_WIRE_ONE_WAY = 4,  /* flags of a call */
    FRN_HOPS_MAX = 12, FRN_HOP_MS = 10, FRN_HOP_MOST_MS = 250,
    FRN_GRACE_MS = 250              /* for what the other host says of a call that is too late */
};

/* Type and id of a call's target; of one whose type is not served here both are in target. */
static void frn_call_key(const frn_call *c, const char **type, const char **id)
{
    const char *target = (const char *)FRN_BYTES(c->target);

    *type = c->type != NULL ? c->type->desc.type : target;
    *id = c->type != NULL ? target : target + strlen(target) + 1;
}

static uint64_t frn_call_place(const francis_host *h, const frn_call *c)
{
    const char *type, *id;

    frn_call_key(c, &type, &id);
    return frn_hash(frn_hash(h->seed, type, strlen(type) + 1), id, strlen(id));
}

static void frn_pack_chain(frn_pack *p, const frn_chain *chain)
{
    frn_pack_array(p, chain != NULL ? chain->depth : 0);
    for (; chain != NULL; chain = chain->parent) {
        frn_pack_array(p, 3);
        frn_pack_text(p, FRN_CHAIN_TYPE(chain));
        frn_pack_text(p, FRN_CHAIN_ID(chain));
        frn_pack_uint(p, chain->turn);
    }
}

/* By the last look at the clock, which whoever routes a call has just taken. */
static int64_t frn_call_left_ms(const francis_host *h, const frn_call *c)
{
    int64_t left;

    if (c->deadline_ns == FRN_NEVER)
        return c->timeout_ms;
    left = (c->deadline_ns - h->clock_ns + FRN_MS - 1) / FRN_MS;
    return left > 0 ? left : 0;
}

static uint64_t frn_call_flags(const frn_call *c)
{
    uint64_t flags = 0;

    if (c->peek)
        flags |= FRN_WIRE_PEEK;
    if (c->active_only)
        flags |= FRN_WIRE_ACTIVE_ONLY;
    if (c->one_way)
        flags |= FRN_WIRE_ONE_WAY;
    return flags;
}

static frn_buf *frn_call_head(francis_host *h, const frn_call *c, const frn_peer *p)
{
    frn_pack    pack;
    const char *type, *id;

    frn_pack_init(&pack, &h->mem);
    frn_call_key(c, &type, &id);
    frn_pack_array(&pack, c->stream != NULL ? 15 : 12);
    frn_pack_uint(&pack, FRN_HEAD_VERSION);
    frn_pack_uint(&pack, (uint64_t)c->op);
    frn_pack_uint(&pack, frn_call_flags(c));
    frn_pack_text(&pack, p->host.id);
    frn_pack_text(&pack, type);
    frn_pack_text(&pack, id);
    frn_pack_text(&pack, c->method);
    frn_pack_int(&pack, frn_call_left_ms(h, c));
    frn_pack_text(&pack, c->request_id != NULL ? (const char *)FRN_BYTES(c->request_id) : NULL);
    frn_pack_text(&pack, c->trace != NULL ? (const char *)FRN_BYTES(c->trace) : NULL);
    frn_pack_int(&pack, c->expire_ms);
    frn_pack_chain(&pack, c->chain);
    if (c->stream != NULL) {
        frn_pack_int(&pack, c->input != NULL ? (int64_t)c->input->size : -1);
        frn_pack_text(&pack, c->stream->type_out != NULL
                                 ? (const char *)FRN_BYTES(c->stream->type_out) : NULL);
        frn_pack_uint(&pack, c->stream->bytes_max);
    }
    return frn_pack_end(&pack);
}

/* A word to another host that nobody waits for: of a row, or of none. */
static void frn_tell(francis_host *h, const frn_peer *p, frn_op op, const frn_alarm *a)
{
    static const uint64_t nobody = UINT64_C(1) << 62;
    frn_call              word;
    frn_buf              *head = NULL;

    memset(&word, 0, sizeof word);
    word.op = op;
    word.method = a != NULL ? frn_alarm_get(a, FRN_TEXT_NAME) : "";
    word.deadline_ns = FRN_NEVER;
    word.target = a == NULL ? frn_key_new(h, "", "")
                            : frn_key_new(h, frn_alarm_get(a, FRN_TEXT_TYPE),
                                          frn_alarm_get(a, FRN_TEXT_ACTOR));
    if (word.target != NULL && p->host.address[0] != '-')
        head = frn_call_head(h, &word, p);
    if (head != NULL)
        (void)frn_net_call(h->net, p->host.id, p->host.address, nobody, head, NULL, false,
                           FRN_NEVER);
    frn_buf_drop(&h->mem, head);
    frn_buf_drop(&h->mem, word.target);
}

/* A host that has just joined makes itself known, so that the others need not wait for their next
 * look. */
static void frn_announce(francis_host *h)
{
    frn_list *l;

    h->announce = false;
    for (l = h->peers.next; l != &h->peers; l = l->next)
        if (FRN_OF(frn_peer, link, l)->listed)
            frn_tell(h, FRN_OF(frn_peer, link, l), FRN_OP_HELLO, NULL);
}

static francis_result frn_remote_open(francis_host *h, frn_call *c, const frn_peer *p,
                                      frn_buf *head)
{
    francis_result r = frn_net_stream_open(h->net, p->host.id, p->host.address, c->handle, head);

    if (r == FRANCIS_OK) {
        c->stream->lane = c->handle;
        frn_stream_pump(h, c->stream);
    }
    return r;
}

static void frn_remote_send(francis_host *h, frn_call *c, frn_peer *p)
{
    frn_buf       *head = frn_call_head(h, c, p);
    francis_result r = FRANCIS_ERR_NOMEM;

    frn_list_remove(&c->link);
    c->state = FRN_CALL_REMOTE;
    p->load++;                      /* so that the next one does not go there as well */
    if (head != NULL && c->stream != NULL)
        r = frn_remote_open(h, c, p, head);
    else if (head != NULL)
        r = frn_net_call(h->net, p->host.id, p->host.address, c->handle, head, c->input,
                         c->unawaited, FRN_NEVER);
    frn_buf_drop(&h->mem, head);
    if (r == FRANCIS_OK)
        h->stats.calls_out++;
    else
        frn_call_fail(h, c, r, "cannot send the call to host %s", p->host.id);
}

/* Later, from the start: something may have changed until then. */
static void frn_call_later(francis_host *h, frn_call *c, francis_result why)
{
    int64_t wait = (int64_t)FRN_HOP_MS << (c->hops < 6 ? c->hops : 6);
    int64_t at;

    if (wait > FRN_HOP_MOST_MS)
        wait = FRN_HOP_MOST_MS;
    at = frn_add_time(frn_now_ns(h), wait * FRN_MS);

    frn_list_remove(&c->link);
    c->result = why;
    c->state = FRN_CALL_BACKOFF;
    frn_timer_set(h, &c->timer, at < c->deadline_ns ? at : c->deadline_ns);
}

// >> 670 route | needs: 668
//    Where a call goes: to its actor, which is activated for it. And what ends it before its time.

static const frn_chain *frn_chain_find(const frn_chain *chain, const frn_actor *a)
{
    for (; chain != NULL; chain = chain->parent)
        if (strcmp(FRN_CHAIN_ID(chain), FRN_ACTOR_ID(a)) == 0
            && strcmp(FRN_CHAIN_TYPE(chain), a->type->desc.type) == 0)
            return chain;
    return NULL;
}

/* Whether a turn of this chain holds the actor now. */
static bool frn_chain_holds(const frn_chain *chain, const frn_actor *a)
{
    const frn_list *l;

    while ((chain = frn_chain_find(chain, a)) != NULL) {
        for (l = a->holders.next; l != &a->holders; l = l->next)
            if (FRN_OF(const frn_turn, holder_link, l)->number == chain->turn)
                return true;
        chain = chain->parent;
    }
    return false;
}

static void frn_chain_print(const frn_chain *chain, char *text, size_t size)
{
    const frn_chain *path[FRANCIS_CHAIN_MAX];
    size_t           n = 0, used = 0;

    for (; chain != NULL && n < FRN_COUNT(path); chain = chain->parent)
        path[n++] = chain;
    text[0] = '\0';
    while (n > 0 && used < size) {
        int k;
        n--;
        k = snprintf(text + used, size - used, "%s/%s -> ", FRN_CHAIN_TYPE(path[n]),
                     FRN_CHAIN_ID(path[n]));
        used += k > 0 ? (size_t)k : 0;
    }
}

static bool frn_call_deadlocks(francis_host *h, frn_actor *a, frn_call *c)
{
    char text[900];

    if (c->chain == NULL || (c->peek && !a->exclusive) || !frn_chain_holds(c->chain, a))
        return false;
    frn_chain_print(c->chain, text, sizeof text);
    frn_call_fail(h, c, FRANCIS_ERR_DEADLOCK, "the call would wait for itself: %s%s/%s", text,
                  a->type->desc.type, FRN_ACTOR_ID(a));
    return true;
}

static bool frn_actor_is_active(const frn_actor *a)
{
    return a != NULL && (a->phase == FRN_PHASE_ACTIVE || a->phase == FRN_PHASE_WAKING)
        && !a->halting;
}

/* The activation that a call goes to, made if need be; NULL = the call has failed. */
static frn_actor *frn_route_actor(francis_host *h, frn_call *c)
{
    const francis_actor_desc *d = &c->type->desc;
    const char               *id = (const char *)FRN_BYTES(c->target);
    frn_actor                *a = frn_actor_find(h, c->type, id);

    if (c->active_only && !frn_actor_is_active(a)) {
        frn_call_fail(h, c, FRANCIS_ERR_NOT_ACTIVE, "%s/%s is not active", d->type, id);
        return NULL;
    }
    if (a == NULL && frn_type_full(c->type)) {
        h->stats.calls_refused++;
        frn_call_fail(h, c, FRANCIS_ERR_NO_HOST, "no room for %s/%s: %u actors of the type are"
                      " active, concurrency_max", d->type, id, (unsigned)c->type->active);
        return NULL;
    }
    if (a == NULL)
        a = frn_actor_new(h, c->type, id);
    if (a == NULL)
        frn_call_fail(h, c, FRANCIS_ERR_NOMEM, "no memory to activate %s/%s", d->type, id);
    return a;
}

/* A write for an actor whose type this host does not serve: directly, if it is active nowhere. The
 * call's target is type, NUL, id. */
static void frn_admin_send(francis_host *h, frn_call *c)
{
    frn_write *w = frn_write_new(h, FRN_WRITE_ADMIN, NULL);

    if (w == NULL) {
        frn_call_fail(h, c, FRANCIS_ERR_NOMEM, "no memory for the write");
        return;
    }
    w->owned = frn_buf_ref(c->target);
    w->type = (const char *)FRN_BYTES(w->owned);
    w->id = w->type + strlen(w->type) + 1;
    w->purge = c->op == FRN_OP_PURGE;
    w->set_state = c->op == FRN_OP_PUT;
    w->set_version = w->set_state;
    w->state = frn_buf_ref(c->input);
    if (c->expire_ms > 0)
        w->expires_ms = frn_add_time(frn_plat_wall_ms(&h->plat), c->expire_ms);
    c->result = FRANCIS_OK;         /* what it gets when the gate opens */
    c->wrote = true;
    c->state = FRN_CALL_WRITING;
    frn_list_push(&w->gate, &c->link);
    frn_write_queue(h, w);
}

/* Begins to halt what a names, or all; the call is complete when the last of them is gone. */
static void frn_halt_begin(francis_host *h, frn_call *c, frn_actor *a)
{
    size_t    i;
    frn_node *n, *next;

    c->state = FRN_CALL_HALTING;
    c->result = FRANCIS_PENDING;
    c->pending = 1;                 /* ours, so that it does not end before all have begun */
    if (a != NULL) {
        if (frn_halter_add(h, a, c))
            frn_actor_halt(h, a);
    } else {
        for (i = 0; i < h->actors.cap; i++)
            for (n = h->actors.slots[i]; n != NULL; n = next) {
                next = n->next;
                if (frn_halter_add(h, FRN_OF(frn_actor, node, n), c))
                    frn_actor_halt(h, FRN_OF(frn_actor, node, n));
            }
    }
    if (--c->pending == 0)
        frn_call_complete(h, c, c->result == FRANCIS_PENDING ? FRANCIS_OK : c->result, NULL, NULL);
}

static void frn_route_halt(francis_host *h, frn_call *c)
{
    const char *type, *id;
    frn_actor  *a;

    frn_call_key(c, &type, &id);
    a = c->type != NULL ? frn_actor_find(h, c->type, id) : NULL;
    if (a != NULL)
        frn_halt_begin(h, c, a);
    else
        frn_call_fail(h, c, FRANCIS_ERR_NOT_ACTIVE, "%s/%s is not active", type, id);
}

/* Sends a call to its actor on this host. It may have failed, or have got a turn, when this
 * returns. */
static void frn_route_here(francis_host *h, frn_call *c)
{
    frn_actor *a;
    frn_turn  *t;

    if (c->op == FRN_OP_HALT) {
        frn_route_halt(h, c);
        return;
    }
    if (c->type == NULL && c->op == FRN_OP_METHOD) {
        const char *type, *id;
        frn_call_key(c, &type, &id);
        if (c->active_only)
            frn_call_fail(h, c, FRANCIS_ERR_NOT_ACTIVE, "%s/%s is not active", type, id);
        else
            frn_call_fail(h, c, FRANCIS_ERR_NO_HOST, "no host serves %s now", type);
        return;
    }
    if (c->type == NULL) {
        frn_admin_send(h, c);
        return;
    }
    a = frn_route_actor(h, c);
    if (a == NULL || frn_call_deadlocks(h, a, c))
        return;
    if (a->mailbox_count >= a->type->desc.mailbox_max) {
        h->stats.calls_refused++;
        frn_call_fail(h, c, FRANCIS_ERR_BUSY, "%u calls wait for %s/%s already, mailbox_max",
                      (unsigned)a->mailbox_count, a->type->desc.type, FRN_ACTOR_ID(a));
        return;
    }
    h->stats.calls_local++;
    c->actor = a;
    if (c->peek && c->chain != NULL && frn_chain_holds(c->chain, a)) {
        t = frn_call_begin(h, a, c);        /* its own chain reads there: past waiting writers */
        if (t != NULL)
            frn_turn_make_ready(h, t);
        return;
    }
    c->state = FRN_CALL_QUEUED;
    c->queued_ns = a->phase == FRN_PHASE_RELEASING ? frn_now_ns(h) : 0;
    frn_list_push(&a->mailbox, &c->link);
    a->mailbox_count++;
    h->stats.queue_turns++;
    frn_list_remove(&a->idle);
    frn_actor_step(h, a);
}

/* Where a new activation goes: among the hosts that serve the type, this one included. *here is
 * set if it is this one; NULL and not here = there is none. */
static frn_peer *frn_choose(francis_host *h, const frn_call *c, const char *type, bool *here)
{
    francis_placement how = c->type != NULL ? c->type->desc.placement : FRANCIS_PLACE_LEAST_LOADED;
    frn_peer         *best = NULL;
    frn_list         *l;
    uint64_t          load = 0, ties = 0;

    *here = c->type != NULL && h->phase == FRN_HOST_RUNNING && !frn_type_full(c->type);
    if (*here && how == FRANCIS_PLACE_LOCAL)
        return NULL;
    if (*here) {
        load = how == FRANCIS_PLACE_RANDOM ? 0 : h->actors.count;
        ties = 1;
    }
    for (l = h->peers.next; l != &h->peers; l = l->next) {
        frn_peer *p = FRN_OF(frn_peer, link, l);
        uint64_t  its = how == FRANCIS_PLACE_RANDOM ? 0 : p->load;
        if (!frn_peer_serves(p, type) || !frn_peer_reachable(h, p)
            || frn_now_ns(h) < p->full_until_ns || (ties > 0 && its > load))
            continue;
        ties = ties > 0 && its == load ? ties + 1 : 1;
        load = its;
        h->random = frn_hash(h->random, &ties, sizeof ties);
        if (h->random % ties == 0) {
            best = p;
            *here = false;
        }
    }
    return best;
}

/* It cannot be done now, and has not been begun: again in a moment, or never. */
static void frn_call_unreached(francis_host *h, frn_call *c, francis_result r, const char *text)
{
    if (c->hops++ < FRN_HOPS_MAX && h->phase == FRN_HOST_RUNNING)
        frn_call_later(h, c, r);
    else
        frn_call_fail(h, c, r, "%s", text);
}

/* Its actor lives, or will, on another host. */
static void frn_route_to(francis_host *h, frn_call *c, frn_peer *p)
{
    char text[700];

    if (frn_peer_reachable(h, p)) {
        frn_remote_send(h, c, p);
        return;
    }
    (void)snprintf(text, sizeof text, "host %s%s%s cannot be reached", p->host.id,
                   p->host.address[0] == '-' ? "" : " at ",
                   p->host.address[0] == '-' ? "" : p->host.address);
    frn_call_unreached(h, c, FRANCIS_ERR_TRANSPORT, text);
}

/* Who has the actor has been looked up: "" = nobody. */
static void frn_found(francis_host *h, frn_call *c, const frn_owner *owner)
{
    const char *type, *id;
    frn_peer   *p;
    bool        here = true;

    frn_call_key(c, &type, &id);
    if (owner->id[0] != '\0' && strcmp(owner->id, h->id) != 0) {
        p = frn_peer_get(h, owner);
        if (p == NULL) {
            frn_call_fail(h, c, FRANCIS_ERR_NOMEM, "no memory for the call");
        } else if (!frn_peer_reachable(h, p) && c->type != NULL && !c->active_only
                   && c->op != FRN_OP_HALT) {
            frn_route_here(h, c);   /* if it is dead the claim will find out */
        } else {
            frn_place_set(h, frn_call_place(h, c), p);
            frn_route_to(h, c, p);
        }
        return;
    }
    p = owner->id[0] != '\0' || c->active_only || c->op == FRN_OP_HALT
            || (c->type == NULL && c->op != FRN_OP_METHOD) ? NULL
                                                           : frn_choose(h, c, type, &here);
    if (p != NULL)
        frn_route_to(h, c, p);
    else if (here || c->type != NULL)
        frn_route_here(h, c);
    else
        frn_call_fail(h, c, FRANCIS_ERR_NO_HOST, "no host has room for %s/%s now", type, id);
}

/* Looks up who has the actors of the calls that wait for that. Lock held, given up meanwhile. */
static void frn_find_run(francis_host *h)
{
    frn_list *l;

    while ((l = frn_list_pop(&h->finding)) != NULL) {
        frn_call   *c = FRN_OF(frn_call, link, l);
        uint64_t    handle = c->handle;
        frn_buf    *target = frn_buf_ref(c->target);
        frn_read    read;
        memset(&read, 0, sizeof read);
        read.kind = FRN_READ_OWNER;
        frn_call_key(c, &read.type, &read.id);
        frn_unlock(h);
        h->store->ops->read(h->store, &read);
        frn_lock(h);
        frn_buf_drop(&h->mem, target);
        (void)frn_now_ns(h);
        c = frn_call_find(h, handle);
        if (c == NULL || c->state != FRN_CALL_FINDING)
            continue;               /* too late, or cancelled, meanwhile */
        c->state = FRN_CALL_NEW;
        if (read.result == FRANCIS_OK)
            frn_found(h, c, &read.owner);
        else
            frn_call_fail(h, c, read.result, "%s", read.error);
    }
}

/* Sends a call to its actor, wherever that is. */
static void frn_route(francis_host *h, frn_call *c)
{
    const char *type, *id;
    frn_peer   *p;

    frn_call_key(c, &type, &id);
    if (c->foreign || h->net == NULL || frn_list_empty(&h->peers)
        || (c->type != NULL && frn_actor_find(h, c->type, id) != NULL)) {
        frn_route_here(h, c);
        return;
    }
    p = frn_place_get(h, frn_call_place(h, c));
    if (p != NULL && frn_peer_reachable(h, p)) {
        frn_remote_send(h, c, p);
        return;
    }
    c->state = FRN_CALL_FINDING;
    frn_list_push(&h->finding, &c->link);
    frn_wake(h);
}

static void frn_outbox_run(francis_host *h)
{
    frn_list *l;

    do {
        while ((l = frn_list_pop(&h->outbox)) != NULL) {
            frn_call *c = FRN_OF(frn_call, link, l);
            c->state = FRN_CALL_NEW;
            frn_route(h, c);
        }
        frn_find_run(h);
    } while (!frn_list_empty(&h->outbox));
}

static void frn_mailbox_remove(francis_host *h, frn_call *c)
{
    frn_list_remove(&c->link);
    c->actor->mailbox_count--;
    h->stats.queue_turns--;
}

/* Its time is up. What it is told depends on what may have been written. */
static void frn_call_expire(francis_host *h, frn_call *c)
{
    switch ((frn_call_state)c->state) {
    case FRN_CALL_QUEUED: {
        frn_actor *a = c->actor;
        frn_mailbox_remove(h, c);
        frn_call_fail(h, c, FRANCIS_ERR_DEADLINE, "%s/%s did not begin it in time",
                      a->type->desc.type, FRN_ACTOR_ID(a));
        frn_actor_step(h, a);       /* whoever stood behind may go now */
        break;
    }
    case FRN_CALL_RUNNING:
        frn_turn_kill(h, c->turn, FRANCIS_ERR_DEADLINE, "its turn did not end in time");
        break;
    case FRN_CALL_BACKOFF:
        frn_call_fail(h, c, c->was_unknown ? FRANCIS_ERR_UNKNOWN : c->result,
                      "repeated %u times, %s", (unsigned)(c->attempts + c->hops),
                      francis_strerror(c->result));
        break;
    case FRN_CALL_REMOTE:
        if (!c->grace) {            /* the other host's clock says so, too: it knows the outcome */
            c->grace = true;
            frn_timer_set(h, &c->timer, frn_add_time(h->clock_ns, FRN_GRACE_MS * FRN_MS));
            break;
        }
        if (frn_net_cancel(h->net, c->handle))
            frn_call_fail(h, c, c->peek ? FRANCIS_ERR_DEADLINE : FRANCIS_ERR_UNKNOWN,
                          "no answer in time from the host of the actor");
        else
            frn_call_fail(h, c, FRANCIS_ERR_TRANSPORT, "it could not be sent in time");
        break;
    default:
        frn_buf_drop(&h->mem, c->reply);
        c->reply = NULL;
        c->from_handler = false;
        if (c->wrote)
            frn_call_fail(h, c, FRANCIS_ERR_UNKNOWN, "its turn is sealed, the commit not yet over");
        else
            frn_call_fail(h, c, FRANCIS_ERR_DEADLINE, "no answer in time; nothing was written");
        break;
    }
}

static void frn_call_on_timer(francis_host *h, frn_timer *timer)
{
    frn_call *c = FRN_OF(frn_call, timer, timer);

    if (c->state == FRN_CALL_BACKOFF && h->clock_ns < c->deadline_ns) {
        c->result = FRANCIS_PENDING;
        frn_timer_set(h, &c->timer, c->deadline_ns);
        if (h->phase == FRN_HOST_RUNNING)
            frn_route(h, c);
        else
            frn_call_fail(h, c, FRANCIS_ERR_STOPPED, "the host is stopping");
        return;
    }
    frn_call_expire(h, c);
}

/* Nobody waits for it any more. A turn that has not been sealed commits nothing. */
static void frn_call_cancel(francis_host *h, frn_call *c)
{
    c->user = NULL;
    c->held = false;
    switch ((frn_call_state)c->state) {
    case FRN_CALL_QUEUED: {
        frn_actor *a = c->actor;
        frn_mailbox_remove(h, c);
        frn_call_complete(h, c, FRANCIS_ERR_CANCELLED, NULL, NULL);
        frn_actor_step(h, a);
        break;
    }
    case FRN_CALL_RUNNING:
        frn_turn_kill(h, c->turn, FRANCIS_ERR_CANCELLED, "cancelled");
        break;
    case FRN_CALL_GATED:            /* sealed: its turn will commit, unheard */
        break;
    case FRN_CALL_REMOTE:
        (void)frn_net_cancel(h->net, c->handle);
        frn_call_complete(h, c, FRANCIS_ERR_CANCELLED, NULL, NULL);
        break;
    default:
        frn_call_complete(h, c, FRANCIS_ERR_CANCELLED, NULL, NULL);
        break;
    }
}

/* Breaks off what is not over yet, and frees an end that its owner is done with. */
static void frn_stream_cancel(francis_host *h, francis_stream *s)
{
    frn_call *c = frn_call_find(h, s->call);

    if (s->caller && c != NULL && c->stream == s) {
        c->stream = NULL;
        frn_call_cancel(h, c);
    }
    frn_stream_break_off(h, s, FRANCIS_ERR_CANCELLED, false, frn_closed, NULL);
    frn_stream_free(h, s);
}

static void frn_stream_close(francis_host *h, francis_stream *s)
{
    frn_actor *keeper = !s->caller ? s->keeper : s->peer != NULL ? s->peer->keeper : NULL;

    if (s->keeper != NULL && s->failure == FRANCIS_OK && frn_stream_ended(s)) {
        frn_list_remove(&s->link);  /* all that was written is still delivered */
        s->keeper = NULL;
        s->owned = false;
        frn_stream_pump(h, s);
    } else {
        frn_stream_cancel(h, s);
    }
    if (keeper != NULL)
        frn_actor_step(h, keeper);  /* it may rest now */
}

/* The actor goes on without a handler that does not return, on fresh memory. */
static void frn_actor_abandon(francis_host *h, frn_actor *old)
{
    frn_actor *a;
    frn_list  *l;

    if (old->phase == FRN_PHASE_ORPHAN)
        return;
    frn_map_remove(&h->actors, &old->node);     /* its node makes room for the new one's */
    h->stats.active--;
    frn_actor_count(old, false);
    a = frn_actor_new(h, old->type, FRN_ACTOR_ID(old));
    if (a == NULL) {
        (void)frn_map_add(&h->mem, &h->actors, &old->node, old->node.hash);
        frn_actor_count(old, true);
        h->stats.active++;
        return;
    }
    h->stats.turns_stuck++;
    frn_log(&h->log, FRN_LOG_turn_stuck, FRANCIS_OK, old->type->desc.type, FRN_ACTOR_ID(old),
            "a handler has not returned turn_timeout_ms after its turn failed; the actor goes on"
            " without it");
    frn_actor_lose(h, old, FRANCIS_ERR_MOVED, "the actor goes on without this turn");
    frn_parked_fail(h, old, FRANCIS_ERR_MOVED);
    frn_streams_cut(h, old, FRANCIS_ERR_MOVED, false);
    old->phase = FRN_PHASE_ORPHAN;
    h->orphans++;
    frn_list_move(&a->mailbox, &old->mailbox);
    for (l = a->mailbox.next; l != &a->mailbox; l = l->next)
        FRN_OF(frn_call, link, l)->actor = a;
    a->mailbox_count = old->mailbox_count;
    old->mailbox_count = 0;
    a->halters = old->halters;
    old->halters = NULL;
    a->placed = old->placed;
    a->phase = frn_list_empty(&a->mailbox) ? FRN_PHASE_SETTLING : FRN_PHASE_NEW;
    frn_actor_step(h, a);
}

static void frn_turn_on_timer(francis_host *h, frn_timer *timer)
{
    frn_turn *t = FRN_OF(frn_turn, timer, timer);

    if (t->doom == FRANCIS_OK)      /* a deactivate handler has had its time */
        frn_turn_kill(h, t, FRANCIS_ERR_DEADLINE, "it did not return in time");
    else
        frn_actor_abandon(h, t->actor);
}

// >> 672 answers | needs: 670
//    What other hosts say of our calls.

/* Whether it was not begun there, since the actor is elsewhere, or has no room there. */
static bool frn_remote_refused(const frn_call *c, const frn_answer_head *a)
{
    return (a->flags & FRN_WIRE_FROM_HANDLER) == 0
        && (a->result == FRANCIS_ERR_MOVED || a->result == FRANCIS_ERR_STOPPED
            || (a->result == FRANCIS_ERR_NO_HOST && c->op == FRN_OP_METHOD));
}

static void frn_remote_elsewhere(francis_host *h, frn_call *c, frn_peer *p,
                                 const frn_answer_head *a)
{
    frn_place_drop(h, frn_call_place(h, c));
    if (p != NULL && a->result == FRANCIS_ERR_NO_HOST)
        p->full_until_ns = frn_add_time(frn_now_ns(h), FRN_FULL_MS * FRN_MS);
    if (p != NULL && a->result == FRANCIS_ERR_STOPPED)
        p->down_until_ns = frn_add_time(frn_now_ns(h), FRN_DOWN_MS * FRN_MS);
    if (a->owner.id[0] != '\0' && c->hops++ < FRN_HOPS_MAX) {
        c->state = FRN_CALL_NEW;
        frn_found(h, c, &a->owner);
    } else {
        frn_call_unreached(h, c, a->result, a->text);
    }
}

static void frn_remote_reply(francis_host *h, frn_net_event *e)
{
    frn_call       *c = frn_call_find(h, e->handle);
    frn_peer       *p = frn_peer_find(h, e->peer);
    frn_answer_head a;

    if (c == NULL || c->state != FRN_CALL_REMOTE)
        return;
    c->state = FRN_CALL_NEW;
    if (!frn_answer_unpack(e->head, &a)) {
        frn_call_fail(h, c, c->peek ? FRANCIS_ERR_TRANSPORT : FRANCIS_ERR_UNKNOWN,
                      "host %s has answered something that is no answer", e->peer);
        return;
    }
    if (p != NULL)
        p->load = a.load;
    c->from_handler = (a.flags & FRN_WIRE_FROM_HANDLER) != 0;
    if (frn_remote_refused(c, &a)) {
        frn_remote_elsewhere(h, c, p, &a);
        return;
    }
    if (a.result == FRANCIS_OK)
        frn_call_complete(h, c, a.result, frn_buf_ref(e->body), NULL);
    else
        frn_call_complete(h, c, a.result, NULL, frn_buf_copy(&h->mem, a.text, strlen(a.text)));
}

/* No answer will come: the connection is gone, or was never there, or the call does not fit. */
static void frn_remote_failed(francis_host *h, const frn_net_event *e)
{
    frn_call *c = frn_call_find(h, e->handle);
    frn_peer *p = frn_peer_find(h, e->peer);
    bool      own = e->result == FRANCIS_ERR_NOMEM || e->result == FRANCIS_ERR_TOO_LARGE
                 || e->result == FRANCIS_ERR_BUSY;      /* not for want of a connection */
    bool      again;

    if (p != NULL && !own) {
        p->down_until_ns = frn_add_time(frn_now_ns(h), FRN_DOWN_MS * FRN_MS);
        if (e->result != FRANCIS_ERR_STOPPED)       /* it has said that it lives, and takes none */
            frn_net_ping(h->net, p->host.id, p->host.address);
    }
    if (c == NULL || c->state != FRN_CALL_REMOTE)
        return;
    frn_place_drop(h, frn_call_place(h, c));
    c->state = FRN_CALL_NEW;
    again = c->stream == NULL || frn_stream_rewind(c->stream);
    if (e->sent && !c->peek && !c->one_way)
        frn_call_fail(h, c, FRANCIS_ERR_UNKNOWN, "the host of the actor was lost: %s", e->text);
    else if (!again)
        frn_call_fail(h, c, FRANCIS_ERR_TRANSPORT, "the host of the actor was lost: %s", e->text);
    else if (c->one_way || (own && e->result != FRANCIS_ERR_BUSY))
        frn_call_fail(h, c, own ? e->result : (francis_result)FRANCIS_ERR_TRANSPORT, "%s", e->text);
    else
        frn_call_unreached(h, c, own ? e->result : (francis_result)FRANCIS_ERR_TRANSPORT, e->text);
}

// >> 675 due | needs: 672 330
//    Alarms and jobs: those of the next seconds are in memory, found by looks at the file and by
//    our own commits. Only the host that has an actor runs what is due there; of one that nobody
//    has, the hosts try in an order of their own for each actor. What an occurrence wrote, and that
//    it is over, are one write; what has become of one that failed is another.

enum {
    FRN_NEAR_MS        = 2000,      /* so far ahead they are in memory, */
    FRN_NEAR_MOST      = 8192,      /* so many, */
    FRN_NEAR_BYTES     = 16 * 1024 * 1024,      /* and with so much data */
    FRN_LOOK_ROWS      = 512,       /* of a type, in one read */
    FRN_LOOK_POLL_MS   = 1000,      /* whether others have changed the file */
    FRN_RANK_MS        = 200,       /* between two hosts that try */
    FRN_LATE_MS        = 5000,      /* after that the host that has the actor is suspected */
    FRN_ALONE_MS       = 1000,      /* a suspicious one waits for so long to be alone */
    FRN_INFRA_MS       = 100,       /* after a failure that was not its own, */
    FRN_INFRA_MOST_MS  = 10000,     /* up to */
    FRN_REJECT_MS      = 1500,      /* after a rejection, times 1 to 2 */
    FRN_DECLINE_MS     = 10000,     /* so long this host comes last for what it has rejected */
    FRN_CORRUPT_MS     = 3600000,   /* a schedule that nobody understands is looked at again */
    FRN_STEP_MS        = 5000       /* the clock was set, if it is off by more */
};

#define FRN_CLOCK_BELIEVED_MS INT64_C(1735689600000)    /* 2025 begins */

static uint64_t frn_key_hash(const francis_host *h, const char *type, const char *actor,
                             const char *name)
{
    uint64_t hash = frn_hash(h->seed, type, strlen(type) + 1);

    hash = frn_hash(hash, actor, strlen(actor) + 1);
    return frn_hash(hash, name, strlen(name));
}

static uint64_t frn_alarm_hash(const francis_host *h, const frn_alarm *a)
{
    return frn_key_hash(h, frn_alarm_get(a, FRN_TEXT_TYPE), frn_alarm_get(a, FRN_TEXT_ACTOR),
                        frn_alarm_get(a, FRN_TEXT_NAME));
}

static frn_due *frn_due_find(const francis_host *h, const char *type, const char *actor,
                             const char *name)
{
    uint64_t  hash = frn_key_hash(h, type, actor, name);
    frn_node *n = frn_map_first(&h->dues, hash);

    for (; n != NULL; n = frn_map_next(n->next, hash)) {
        frn_due *e = FRN_OF(frn_due, node, n);
        if (strcmp(frn_alarm_get(&e->a, FRN_TEXT_NAME), name) == 0
            && strcmp(frn_alarm_get(&e->a, FRN_TEXT_ACTOR), actor) == 0
            && strcmp(frn_alarm_get(&e->a, FRN_TEXT_TYPE), type) == 0)
            return e;
    }
    return NULL;
}

static frn_due *frn_due_of(const francis_host *h, const frn_alarm *a)
{
    return frn_due_find(h, frn_alarm_get(a, FRN_TEXT_TYPE), frn_alarm_get(a, FRN_TEXT_ACTOR),
                        frn_alarm_get(a, FRN_TEXT_NAME));
}

static size_t frn_due_bytes(const frn_due *e)
{
    return sizeof *e + e->a.texts->size + (e->a.data != NULL ? e->a.data->size : 0);
}

/* The engine looks around, soon. */
static void frn_due_wake(francis_host *h)
{
    h->due_run_due = true;
    frn_wake(h);
}

static void frn_due_look_soon(francis_host *h)
{
    h->due_look_due = true;
    frn_due_wake(h);
}

/* It is not one of those that are known any more. */
static void frn_due_unknow(francis_host *h, frn_due *e)
{
    if (e->gone)
        return;
    e->gone = true;
    h->dues_bytes -= frn_due_bytes(e);
    frn_list_remove(&e->check);
    if (e->a.crashes > 0 || e->a.started)
        h->due_alone_wanted = false;
    frn_heap_remove(&e->type->due, &e->timer);
    frn_map_remove(&h->dues, &e->node);
    h->stats.queue_alarms = h->dues.count;
}

static void frn_due_uncount(francis_host *h, frn_due *e)
{
    if (!e->counted)
        return;
    e->counted = false;
    h->firing--;
    e->type->firing--;
    if (e->type->group != NULL && e->a.kind == FRN_KIND_JOB)
        e->type->group->group_running--;
    if (e->a.crashes > 0)
        h->due_alone = false;
    frn_due_wake(h);                /* there is room for another one */
}

static void frn_due_free(francis_host *h, frn_due *e)
{
    frn_due_unknow(h, e);
    frn_due_uncount(h, e);
    frn_alarm_clear(&h->mem, &e->a);
    frn_mem_free(&h->mem, e, sizeof *e);
}

/* Somebody has changed it, or it does not belong here: freed, or left to him who has it. */
static void frn_due_forget(francis_host *h, frn_due *e)
{
    if (e->state == FRN_DUE_FIRING || e->state == FRN_DUE_CHECKING)
        frn_due_unknow(h, e);
    else
        frn_due_free(h, e);
}

/* A row that nobody here knows of will be due then. */
static void frn_due_expect(francis_host *h, frn_type *type, int64_t at_ms)
{
    if (at_ms < 0)
        at_ms = 0;
    if (at_ms < type->look_next_ms)
        type->look_next_ms = at_ms;
    frn_due_wake(h);
}

/* The file is looked at again in so long. */
static void frn_due_look_in(francis_host *h, frn_type *type, int64_t in_ms)
{
    frn_due_expect(h, type, frn_plat_wall_ms(&h->plat) + in_ms + FRN_NEAR_MS / 2);
}

/* Waits until that time, by the wall clock. Without memory it is found again by a look. */
static void frn_due_push(francis_host *h, frn_due *e, int64_t at_ms)
{
    frn_type *type = e->type;

    e->state = FRN_DUE_WAITING;
    e->call = 0;
    if (!frn_heap_set(&h->mem, &e->type->due, &e->timer, at_ms)) {
        frn_due_free(h, e);
        frn_due_look_in(h, type, FRN_INFRA_MS);
        return;
    }
    frn_due_wake(h);
}

/* Each type has its share, so that none keeps the others out. */
static bool frn_due_room(const francis_host *h, const frn_type *type)
{
    return type->due.count < FRN_NEAR_MOST / h->wakes && h->dues_bytes < FRN_NEAR_BYTES;
}

/* Takes a over. Without memory it is found again. */
static void frn_due_add(francis_host *h, frn_type *type, frn_alarm *a, bool sure)
{
    frn_due *e = (frn_due *)frn_mem_alloc(&h->mem, sizeof *e);

    if (e == NULL || !frn_map_add(&h->mem, &h->dues, &e->node, frn_alarm_hash(h, a))) {
        frn_mem_free(&h->mem, e, sizeof *e);
        frn_alarm_clear(&h->mem, a);
        frn_due_look_in(h, type, FRN_INFRA_MS);
        return;
    }
    frn_list_init(&e->check);
    e->type = type;
    e->a = *a;
    e->sure = sure;
    h->dues_bytes += frn_due_bytes(e);
    h->stats.queue_alarms = h->dues.count;
    frn_due_push(h, e, a->wake_ms);
}

static bool frn_due_others(const francis_host *h, const frn_type *type)     /* who serve it, too */
{
    return h->store->shared && !frn_list_empty(&h->peers) && frn_type_hosts(h, type) > 1;
}

/* A row that our own commit has made, or moved. */
static void frn_due_learn(francis_host *h, frn_type *type, const frn_alarm *from)
{
    frn_alarm    a;
    const char  *actor = frn_alarm_get(from, FRN_TEXT_ACTOR);
    bool         ours = !frn_due_others(h, type) || frn_actor_find(h, type, actor) != NULL;

    if (from->wake_ms > frn_plat_wall_ms(&h->plat) + FRN_NEAR_MS || !frn_due_room(h, type)) {
        frn_due_expect(h, type, from->wake_ms);
    } else if (!ours) {
        frn_due_look_soon(h);       /* who has the actor? */
    } else {
        frn_alarm_copy(&a, from);
        frn_due_add(h, type, &a, true);
    }
}

/* ---- what is done with one, and what has become of it ---- */

static francis_handler frn_due_handler(const frn_type *type, frn_alarm_kind kind, const char *name)
{
    static const francis_turn_kind kinds[] = { FRANCIS_ALARM, FRANCIS_JOB, FRANCIS_JOB_FAILED };
    const francis_method *m = frn_method_find(type, name, kinds[kind]);
    const francis_actor_desc *d = &type->desc;

    return m != NULL ? m->run
        : kind == FRN_KIND_ALARM ? d->alarm : kind == FRN_KIND_JOB ? d->job : d->job_failed;
}

static frn_write *frn_records_write(francis_host *h, frn_record *r)
{
    frn_write  *w = frn_write_new(h, FRN_WRITE_RECORDS, NULL);
    frn_list    one;
    const char *type = r->a.texts != NULL ? frn_alarm_get(&r->a, FRN_TEXT_TYPE) : "";
    const char *actor = r->a.texts != NULL ? frn_alarm_get(&r->a, FRN_TEXT_ACTOR) : "";

    if (w == NULL)
        return NULL;
    w->owned = frn_key_new(h, type, actor);
    if (w->owned == NULL) {
        frn_write_free(h, w);
        return NULL;
    }
    w->type = (const char *)FRN_BYTES(w->owned);
    w->id = w->type + strlen(w->type) + 1;
    frn_list_init(&one);
    frn_list_push(&one, &r->link);
    frn_write_add_records(w, &one);
    return w;
}

/* Something else was in its way. What has become of its row is looked at before it runs. */
static void frn_due_hindered(francis_host *h, frn_due *e, francis_result r, const char *text)
{
    int64_t wait = (int64_t)FRN_INFRA_MS << (e->failures < 7 ? e->failures : 7);

    frn_log(&h->log, FRN_LOG_alarm_postponed, r, e->type->desc.type,
            frn_alarm_get(&e->a, FRN_TEXT_ACTOR), "'%s' has to wait: %s",
            frn_alarm_get(&e->a, FRN_TEXT_NAME), text);
    wait = wait < FRN_INFRA_MOST_MS ? wait : (int64_t)FRN_INFRA_MOST_MS;
    e->failures++;
    e->sure = e->ranked = false;
    e->doubt = true;
    frn_due_uncount(h, e);
    frn_due_push(h, e, frn_plat_wall_ms(&h->plat) + wait);
}

/* Takes r over, which may be NULL. */
static void frn_due_write(francis_host *h, frn_due *e, frn_record *r)
{
    frn_write *w = r != NULL ? frn_records_write(h, r) : NULL;

    if (w == NULL) {
        if (r != NULL)
            frn_record_free(&h->mem, r);
        frn_due_hindered(h, e, FRANCIS_ERR_NOMEM, "no memory to write what has become of it");
        return;
    }
    if (e->state != FRN_DUE_MARKING)
        e->state = FRN_DUE_WRITING;
    frn_write_queue(h, w);
}

static double frn_due_random(francis_host *h, double from, double to)
{
    h->random = frn_hash(h->random, "due", 3);
    return from + (to - from) * (double)(h->random >> 11) / 9007199254740992.0;
}

/* Before the next attempt, after so many that have failed. */
static int64_t frn_due_backoff_ms(francis_host *h, const frn_type *type, uint32_t failed)
{
    double factor = 1.0;

    while (--failed > 0 && factor < 10.0)
        factor *= 1.5;
    factor = factor > 10.0 ? 10.0 : factor;
    return (int64_t)((double)type->desc.retry_delay_ms * factor * frn_due_random(h, 0.9, 1.1)) + 1;
}

static void frn_due_log(francis_host *h, const frn_due *e, uint32_t id, francis_result r,
                        const char *what, const char *text)
{
    const char *name = frn_alarm_get(&e->a, e->a.kind == FRN_KIND_ALARM ? FRN_TEXT_NAME
                                                                        : FRN_TEXT_METHOD);

    frn_log(&h->log, id, r, e->type->desc.type, frn_alarm_get(&e->a, FRN_TEXT_ACTOR),
            "%s '%s' %s, attempt %u of %u: %s",
            e->a.kind == FRN_KIND_ALARM ? "alarm" : e->a.kind == FRN_KIND_JOB ? "job"
                                                                             : "job_failed for",
            name, what, (unsigned)e->a.attempts, (unsigned)e->type->desc.attempts_max, text);
}

/* No further attempt. */
static void frn_due_give_up(francis_host *h, frn_due *e, francis_result r, const char *text)
{
    int64_t     now_ms = frn_plat_wall_ms(&h->plat), next = frn_due_next_ms(e, now_ms);
    frn_record *record;

    if (e->a.kind != FRN_KIND_JOB) {
        frn_due_log(h, e, FRN_LOG_alarm_given_up, r, "is given up", text);
        record = frn_due_over(h, e, next);
        if (record != NULL)
            record->given_up = true;
        frn_due_write(h, e, record);
        return;
    }
    frn_due_log(h, e, FRN_LOG_job_dead, r, "is dead", text);
    record = frn_due_record(h, e, FRN_RECORD_BURY);
    if (record != NULL) {
        frn_buf_drop(&h->mem, record->a.error);
        record->a.error = frn_buf_text(&h->mem, text);
        record->a.result = r;
        record->next_ms = next;
        record->look_ms = next != 0 ? frn_alarm_look_ms(&e->schedule, next) : 0;
        record->hook = frn_due_handler(e->type, FRN_KIND_HOOK,
                                       frn_alarm_get(&e->a, FRN_TEXT_METHOD)) != NULL;
        if (next != 0 && !frn_uuid_make(&h->plat, record->next_id))
            record->next_ms = 0;
    }
    frn_due_write(h, e, record);
}

static void frn_due_try_again(francis_host *h, frn_due *e, int64_t in_ms, const char *error)
{
    frn_record *r = frn_due_record(h, e, FRN_RECORD_ATTEMPT);

    if (r != NULL) {
        r->a.wake_ms = frn_add_time(frn_plat_wall_ms(&h->plat), in_ms);
        r->a.started = false;
        if (error != NULL) {
            frn_buf_drop(&h->mem, r->a.error);
            r->a.error = frn_buf_text(&h->mem, error);
        }
    }
    frn_due_write(h, e, r);
}

/* Its handler has failed. */
static void frn_due_failed(francis_host *h, frn_due *e, francis_result r, const char *text)
{
    bool job = e->a.kind == FRN_KIND_JOB;

    e->a.attempts++;
    h->stats.alarms_failed += e->a.kind == FRN_KIND_ALARM;
    if (e->a.attempts >= e->type->desc.attempts_max || (job && r == FRANCIS_ERR_PERMANENT)) {
        frn_due_give_up(h, e, r, text);
        return;
    }
    frn_due_log(h, e, job ? (uint32_t)FRN_LOG_job_failed : (uint32_t)FRN_LOG_alarm_failed, r,
                "has failed", text);
    h->stats.jobs_retried += job;
    frn_due_try_again(h, e, frn_due_backoff_ms(h, e->type, e->a.attempts), text);
}

/* This host does not want it: others first, and the actor is let go for them. */
static void frn_due_rejected(francis_host *h, frn_due *e)
{
    frn_declined *d = &h->declined[h->declined_next++ % FRN_DECLINED];
    frn_actor    *a = frn_actor_find(h, e->type, frn_alarm_get(&e->a, FRN_TEXT_ACTOR));

    memcpy(d->id, e->a.id, sizeof d->id);
    d->until_ns = frn_add_time(frn_now_ns(h), FRN_DECLINE_MS * FRN_MS);
    frn_due_try_again(h, e, (int64_t)frn_due_random(h, FRN_REJECT_MS, 2 * FRN_REJECT_MS), NULL);
    if (a != NULL)
        frn_actor_halt(h, a);
}

/* Whether an error is the handler's, or that of what it has asked for. */
static bool frn_due_blames(const frn_call *c)
{
    switch (c->result) {
    case FRANCIS_ERR_STOPPED:
    case FRANCIS_ERR_MOVED:
    case FRANCIS_ERR_EVICTED:
    case FRANCIS_ERR_CANCELLED:
    case FRANCIS_ERR_UNKNOWN:
    case FRANCIS_ERR_LOCKED:
    case FRANCIS_ERR_FULL:
    case FRANCIS_ERR_STORAGE:
        return false;               /* also as a handler passes them on */
    case FRANCIS_ERR_NOMEM:
    case FRANCIS_ERR_BUSY:
    case FRANCIS_ERR_NO_HOST:
        return c->from_handler;
    default:
        return true;
    }
}

static void frn_due_done(francis_host *h, frn_call *c)
{
    frn_due *e = c->due;

    c->due = NULL;
    frn_due_uncount(h, e);
    if (e->gone || (c->result == FRANCIS_OK && e->settled == FRN_SETTLED_OVER)) {
        frn_due_free(h, e);
    } else if (c->result == FRANCIS_OK && e->settled == FRN_SETTLED_ARMED) {
        e->failures = 0;
        frn_due_push(h, e, e->a.wake_ms);
    } else if (c->result == FRANCIS_OK) {       /* its work was done before, by a call */
        frn_due_write(h, e, frn_due_over(h, e, frn_due_next_ms(e, frn_plat_wall_ms(&h->plat))));
    } else if (c->result == FRANCIS_ERR_REJECTED && e->a.kind == FRN_KIND_JOB) {
        frn_due_rejected(h, e);
    } else if (frn_due_blames(c)) {
        frn_due_failed(h, e, c->result, frn_call_text(c));
    } else {
        frn_due_hindered(h, e, c->result, frn_call_text(c));
    }
}

/* ---- what a commit has brought ---- */

/* What a look has read before this may be older. */
static void frn_due_note(francis_host *h, const frn_alarm *a)
{
    h->due_changed[h->due_changes++ % FRN_DUE_CHANGES] = frn_alarm_hash(h, a);
}

static bool frn_due_changed_since(const francis_host *h, uint64_t since, const frn_alarm *a)
{
    uint64_t hash = frn_alarm_hash(h, a), i;

    if (h->due_changes - since > FRN_DUE_CHANGES)
        return true;
    for (i = since; i < h->due_changes; i++)
        if (h->due_changed[i % FRN_DUE_CHANGES] == hash)
            return true;
    return false;
}

/* Others hear of what is due sooner than they look. */
static void frn_due_hint(francis_host *h, const frn_alarm *a)
{
    frn_list *l;

    if (h->net == NULL || a->wake_ms > frn_plat_wall_ms(&h->plat) + FRN_LOOK_POLL_MS)
        return;
    for (l = h->peers.next; l != &h->peers; l = l->next) {
        frn_peer *p = FRN_OF(frn_peer, link, l);
        p->hint = p->hint || frn_peer_serves(p, frn_alarm_get(a, FRN_TEXT_TYPE));
        h->hints_due = h->hints_due || p->hint;
    }
    if (h->hints_due)
        frn_wake(h);
}

static frn_type *frn_due_type(francis_host *h, const frn_alarm *a)
{
    frn_type *type = frn_type_find(h, frn_alarm_get(a, FRN_TEXT_TYPE));
    return type != NULL && type->wakes ? type : NULL;
}

/* A row is new, or is another one. */
static void frn_due_made(francis_host *h, const frn_record *r)
{
    frn_due  *e = frn_due_of(h, &r->a);
    frn_type *type = frn_due_type(h, &r->a);

    if (e != NULL)
        frn_due_forget(h, e);
    frn_due_hint(h, &r->a);
    if (type != NULL)
        frn_due_learn(h, type, &r->a);
}

/* Whoever runs it elsewhere is told. */
static void frn_due_tell_gone(francis_host *h, const frn_alarm *a)
{
    frn_list *l;

    for (l = h->peers.next; h->net != NULL && l != &h->peers; l = l->next) {
        frn_peer *p = FRN_OF(frn_peer, link, l);
        if (p->listed && frn_peer_serves(p, frn_alarm_get(a, FRN_TEXT_TYPE)))
            frn_tell(h, p, FRN_OP_HINT, a);
    }
}

/* A row is gone. Whoever runs it is told. */
static void frn_due_unmade(francis_host *h, const frn_alarm *a)
{
    frn_due  *e = frn_due_of(h, a);
    frn_call *c = e != NULL && e->state == FRN_DUE_FIRING ? frn_call_find(h, e->call) : NULL;

    if (e == NULL)
        return;
    frn_due_forget(h, e);
    if (c != NULL && c->state == FRN_CALL_RUNNING)
        frn_turn_kill(h, c->turn, FRANCIS_ERR_CANCELLED, "it was cancelled");
}

/* The row as it is after it was armed again. */
static void frn_due_next_row(francis_host *h, const frn_record *r, frn_alarm *next)
{
    frn_alarm_copy(next, &r->a);
    next->due_ms = next->wake_ms = r->next_ms;
    next->attempts = next->crashes = 0;
    next->started = false;
    frn_buf_drop(&h->mem, next->error);
    next->error = NULL;
}

/* It is armed again. Its turn has not been answered yet if there was one. */
static void frn_due_armed(francis_host *h, frn_due *e, const frn_record *r)
{
    frn_type *type = frn_due_type(h, &r->a);
    bool      near = r->next_ms <= frn_plat_wall_ms(&h->plat) + FRN_NEAR_MS;
    frn_alarm next;

    frn_due_next_row(h, r, &next);
    if (e != NULL && e->state == FRN_DUE_FIRING && near) {
        frn_due_uncount(h, e);      /* before it forgets that it was suspicious */
        frn_alarm_clear(&h->mem, &e->a);
        e->a = next;
        e->sure = true;
        e->settled = FRN_SETTLED_ARMED;
        return;
    }
    if (e != NULL && e->state == FRN_DUE_FIRING)
        e->settled = FRN_SETTLED_OVER;
    else if (e != NULL)
        frn_due_free(h, e);
    if (type != NULL)
        frn_due_learn(h, type, &next);
    frn_alarm_clear(&h->mem, &next);
}

/* An occurrence is over, by its turn or without one. */
static void frn_due_passed(francis_host *h, const frn_record *r)
{
    frn_due *e = frn_due_of(h, &r->a);

    h->stats.alarms_fired += r->turn && r->a.kind == FRN_KIND_ALARM;
    h->stats.jobs_done += r->turn && r->a.kind == FRN_KIND_JOB;
    h->stats.alarms_given_up += r->given_up && r->a.kind == FRN_KIND_ALARM;
    if (e != NULL && strcmp(e->a.id, r->a.id) != 0)
        return;
    if (r->op == FRN_RECORD_REARM && r->result == FRANCIS_OK)
        frn_due_armed(h, e, r);
    else if (e != NULL && e->state == FRN_DUE_FIRING)
        e->settled = FRN_SETTLED_OVER;
    else if (e != NULL)
        frn_due_free(h, e);
}

static void frn_due_call(francis_host *h, frn_due *e);

static void frn_due_noted(francis_host *h, const frn_record *r)     /* ATTEMPT */
{
    frn_due *e = frn_due_of(h, &r->a);

    if (e == NULL || strcmp(e->a.id, r->a.id) != 0 || e->a.due_ms != r->a.due_ms
        || (e->state != FRN_DUE_MARKING && e->state != FRN_DUE_WRITING))
        return;
    if (r->result != FRANCIS_OK) {
        frn_due_free(h, e);
        return;
    }
    e->a.wake_ms = r->a.wake_ms;
    e->a.crashes = r->a.crashes;
    frn_buf_drop(&h->mem, e->a.error);
    e->a.error = frn_buf_ref(r->a.error);
    if (e->state == FRN_DUE_MARKING) {
        frn_due_call(h, e);
    } else {
        e->sure = false;
        e->failures = 0;
        if (e->a.wake_ms > frn_plat_wall_ms(&h->plat) + FRN_NEAR_MS) {
            frn_due_expect(h, e->type, e->a.wake_ms);
            frn_due_free(h, e);
        } else {
            frn_due_push(h, e, e->a.wake_ms);
        }
    }
}

static void frn_due_buried(francis_host *h, const frn_record *r)
{
    frn_due *e = frn_due_of(h, &r->a);

    h->stats.jobs_dead += r->result == FRANCIS_OK;
    if (e != NULL && e->state == FRN_DUE_WRITING && strcmp(e->a.id, r->a.id) == 0)
        frn_due_free(h, e);
    if (r->next_ms != 0 && frn_due_type(h, &r->a) != NULL)
        frn_due_expect(h, frn_due_type(h, &r->a), r->next_ms);
    if (r->hook)
        frn_due_look_soon(h);
}

static void frn_record_done(francis_host *h, frn_record *r)
{
    const frn_alarm *a = r->gone.texts != NULL ? &r->gone : &r->a;

    if (a->texts != NULL)
        frn_due_note(h, a);
    switch (r->op) {
    case FRN_RECORD_SET:
    case FRN_RECORD_DISPATCH:
        if (r->result == FRANCIS_OK && !r->kept)
            frn_due_made(h, r);
        break;
    case FRN_RECORD_DELETE:
    case FRN_RECORD_CANCEL:
        if (r->result == FRANCIS_OK && a->texts != NULL) {
            frn_due_unmade(h, a);
            frn_due_tell_gone(h, a);
        }
        break;
    case FRN_RECORD_RETRY:
        frn_due_look_soon(h);
        break;
    case FRN_RECORD_CONSUME:
    case FRN_RECORD_REARM:
        frn_due_passed(h, r);
        break;
    case FRN_RECORD_ATTEMPT:
        frn_due_noted(h, r);
        break;
    case FRN_RECORD_BURY:
        frn_due_buried(h, r);
        break;
    }
}

/* The answer for him who waits for a record. */
static void frn_record_answer(francis_host *h, const frn_record *r)
{
    frn_call   *c = r->call != 0 ? frn_call_find(h, r->call) : NULL;
    const char *id = r->op == FRN_RECORD_RETRY ? r->next_id : r->kept ? r->kept_id : r->a.id;

    if (c == NULL || c->state != FRN_CALL_WRITING)
        return;
    c->result = r->result;
    if (r->result == FRANCIS_ERR_NOT_FOUND)
        c->error = frn_buf_text(&h->mem, r->op == FRN_RECORD_DELETE ? "there is no such alarm"
                                       : r->op == FRN_RECORD_RETRY  ? "there is no such dead job"
                                                                    : "there is no such job");
    else if (r->result == FRANCIS_ERR_EXISTS)
        c->error = frn_buf_text(&h->mem, "the request id stands for another method or other data");
    else if (r->op == FRN_RECORD_DISPATCH || r->op == FRN_RECORD_RETRY)
        c->reply = frn_buf_text(&h->mem, id);
    if (r->result == FRANCIS_OK && r->op != FRN_RECORD_SET && r->op != FRN_RECORD_DELETE
        && r->op != FRN_RECORD_CANCEL && c->reply == NULL)
        c->result = FRANCIS_ERR_UNKNOWN;    /* it is done, and its id could not be kept */
}

/* All rows of an actor are gone. */
static void frn_due_purged(francis_host *h, const frn_write *w)
{
    size_t    i;
    frn_node *n, *next;

    for (i = 0; i < h->dues.cap; i++)
        for (n = h->dues.slots[i]; n != NULL; n = next) {
            frn_due *e = FRN_OF(frn_due, node, n);
            next = n->next;
            if (strcmp(frn_alarm_get(&e->a, FRN_TEXT_ACTOR), w->id) != 0
                || strcmp(frn_alarm_get(&e->a, FRN_TEXT_TYPE), w->type) != 0)
                continue;
            frn_due_note(h, &e->a);
            if (e->settled == FRN_SETTLED_NOT || e->state != FRN_DUE_FIRING)
                frn_due_forget(h, e);
        }
}

static void frn_records_done(francis_host *h, frn_write *w)
{
    frn_list *l;

    for (l = w->records.next; l != &w->records; l = l->next)
        if (FRN_OF(frn_record, link, l)->must)
            frn_record_done(h, FRN_OF(frn_record, link, l));
    if (w->purge)
        frn_due_purged(h, w);
    for (l = w->records.next; l != &w->records; l = l->next) {
        frn_record *r = FRN_OF(frn_record, link, l);
        if (!r->must)
            frn_record_done(h, r);
        frn_record_answer(h, r);
    }
}

/* They did not happen, or nobody knows. What is true is in the file. */
static void frn_records_failed(francis_host *h, frn_write *w, francis_result why, const char *text)
{
    frn_list *l;

    for (l = w->records.next; l != &w->records; l = l->next) {
        frn_record *r = FRN_OF(frn_record, link, l);
        frn_due    *e = r->a.texts != NULL ? frn_due_of(h, &r->a) : NULL;
        if (e == NULL || (e->state != FRN_DUE_WRITING && e->state != FRN_DUE_MARKING))
            continue;
        frn_due_hindered(h, e, why, text);
    }
}

/* What a list has gathered of calls that wait for their actors: they do not run now. */
static void frn_due_refuse(francis_host *h, frn_list *doubtful)
{
    frn_list *l;

    while ((l = frn_list_pop(doubtful)) != NULL)
        frn_call_fail(h, FRN_OF(frn_call, link, l), FRANCIS_ERR_EVICTED,
                      "the host that had its actor has ended");
}

/* Rows have become suspicious: what has not begun yet is looked at anew. */
static void frn_due_doubt_all(francis_host *h)
{
    size_t    i;
    frn_node *n, *next;
    frn_list  doubtful;

    frn_list_init(&doubtful);
    for (i = 0; i < h->dues.cap; i++)
        for (n = h->dues.slots[i]; n != NULL; n = next) {
            frn_due  *e = FRN_OF(frn_due, node, n);
            frn_call *c = e->state == FRN_DUE_FIRING ? frn_call_find(h, e->call) : NULL;
            next = n->next;
            if (c != NULL && c->state == FRN_CALL_QUEUED) {
                frn_mailbox_remove(h, c);
                frn_list_push(&doubtful, &c->link);
            } else if (e->state == FRN_DUE_WAITING) {
                frn_due_free(h, e);
            }
        }
    frn_due_refuse(h, &doubtful);
    frn_due_look_soon(h);
}

/* ---- looking for what is due ---- */

typedef struct frn_due_look_of {    /* one read */
    francis_host *host;
    frn_type     *type;
    uint64_t      changes;          /* that were known when it began */
    const char   *own;              /* id of this host */
} frn_due_look_of;

/* The host that has its actor does not run it. */
static void frn_due_late(francis_host *h, const frn_sighting *f)
{
    const frn_peer *p = frn_peer_find(h, f->host);
    frn_owner       owner;

    if (p == NULL) {
        memset(&owner, 0, sizeof owner);
        (void)snprintf(owner.id, sizeof owner.id, "%s", f->host);
        owner.address[0] = '-';
    } else {
        owner = p->host;
    }
    frn_peer_suspect(h, &owner);
}

/* A row. Called without the host's lock. */
static bool frn_due_on_alarm(frn_read *read, frn_sighting *f)
{
    frn_due_look_of *look = (frn_due_look_of *)read->user;
    francis_host    *h = look->host;
    bool             ours = strcmp(f->host, look->own) == 0, room;
    frn_due         *e;

    frn_lock(h);
    e = frn_due_of(h, &f->a);
    if (f->host[0] != '\0' && !ours) {
        if (e != NULL && e->state == FRN_DUE_WAITING)
            frn_due_free(h, e);
        if (f->a.wake_ms < frn_plat_wall_ms(&h->plat) - FRN_LATE_MS)
            frn_due_late(h, f);
        frn_due_look_in(h, look->type, FRN_LOOK_POLL_MS);   /* whether it has run by then */
        frn_alarm_clear(&h->mem, &f->a);
    } else if (e != NULL && (e->state != FRN_DUE_WAITING
                             || (strcmp(e->a.id, f->a.id) == 0 && e->a.due_ms == f->a.due_ms))) {
        frn_alarm_clear(&h->mem, &f->a);
    } else if (frn_due_changed_since(h, look->changes, &f->a)) {
        frn_alarm_clear(&h->mem, &f->a);
        frn_due_look_in(h, look->type, FRN_INFRA_MS);
    } else {
        if (e != NULL)
            frn_due_free(h, e);
        frn_due_add(h, look->type, &f->a, false);
    }
    room = frn_due_room(h, look->type);
    frn_unlock(h);
    return room;
}

/* A piece of the file. Lock held, given up meanwhile. */
static void frn_due_look_type(francis_host *h, frn_type *type, frn_read_kind kind)
{
    frn_due_look_of look;
    frn_read        read;
    char            id[FRN_UUID_SIZE];

    memset(&read, 0, sizeof read);
    memcpy(id, h->id, sizeof id);
    look.host = h;
    look.type = type;
    look.changes = h->due_changes;
    look.own = id;
    read.kind = kind;
    read.type = type->desc.type;
    read.id = id;
    read.now_ms = frn_plat_wall_ms(&h->plat);
    read.wake_by_ms = read.now_ms + FRN_NEAR_MS;
    read.from_ms = type->look_from_ms;
    memcpy(read.from_id, type->look_from_id, sizeof read.from_id);
    read.next_ms = INT64_MAX;
    read.limit = FRN_LOOK_ROWS;
    read.on_alarm = frn_due_on_alarm;
    read.user = &look;
    if (kind == FRN_READ_DUE && type->look_from_ms == INT64_MIN)
        type->look_next_ms = INT64_MAX;     /* what is learned of meanwhile counts */
    frn_unlock(h);
    h->store->ops->read(h->store, &read);
    frn_lock(h);
    if (kind != FRN_READ_DUE) {
        if (read.result != FRANCIS_OK || read.more)
            frn_due_look_in(h, type, FRN_INFRA_MS);
        else
            frn_due_expect(h, type, read.next_ms);
        return;
    }
    type->look_more = read.result == FRANCIS_OK && read.more;
    type->look_from_ms = type->look_more ? read.from_ms : INT64_MIN;
    memcpy(type->look_from_id, type->look_more ? read.from_id : "", type->look_more
                                                                        ? FRN_UUID_SIZE : 1);
    if (read.result != FRANCIS_OK)
        frn_due_look_in(h, type, FRN_LOOK_POLL_MS);
    else if (!type->look_more)
        frn_due_expect(h, type, read.next_ms);
}

/* Lock held, given up meanwhile. */
static void frn_due_look(francis_host *h)
{
    frn_list *l;
    bool      all = h->due_look_due;
    int64_t   now_ms = frn_plat_wall_ms(&h->plat);

    h->due_look_due = false;
    for (l = h->type_order.next; l != &h->type_order && !h->rejoin; l = l->next) {
        frn_type *type = FRN_OF(frn_type, order, l);
        bool      near = type->look_next_ms != INT64_MAX
                      && type->look_next_ms - FRN_NEAR_MS / 2 <= now_ms;
        if (!type->wakes || (!all && !type->look_more && !near))
            continue;
        if (all && type->look_more)
            frn_due_expect(h, type, now_ms);        /* from the start, when this one is over */
        else if (all)
            type->look_from_ms = INT64_MIN;
        if (!frn_due_room(h, type)) {
            type->look_more = type->stalled = true;
            continue;
        }
        if (type->stalled && type->due.count > FRN_NEAR_MOST / h->wakes / 2)
            continue;               /* not for each one that has gone */
        type->stalled = false;
        frn_due_look_type(h, type, FRN_READ_DUE);
        if (all || near)
            frn_due_look_type(h, type, FRN_READ_HOOKS);
    }
}

/* What runs for long may be no more: without a hint that is found out here. */
static void frn_due_check_all(francis_host *h)
{
    int64_t   now_ms = frn_plat_wall_ms(&h->plat);
    size_t    i;
    frn_node *n;

    for (i = 0; h->firing > 0 && i < h->dues.cap; i++)
        for (n = h->dues.slots[i]; n != NULL; n = n->next) {
            frn_due *e = FRN_OF(frn_due, node, n);
            if (e->state == FRN_DUE_FIRING && frn_list_empty(&e->check) && e->began_ms != 0
                && now_ms - e->began_ms >= FRN_LOOK_POLL_MS)
                frn_list_push(&h->due_checks, &e->check);
        }
}

/* Whether the file was changed, once a second. Lock held, given up meanwhile. */
static void frn_due_poll(francis_host *h)
{
    frn_read read;

    h->due_poll_ns = frn_add_time(h->clock_ns, FRN_LOOK_POLL_MS * FRN_MS);
    memset(&read, 0, sizeof read);
    read.kind = FRN_READ_CHANGED;
    frn_unlock(h);
    h->store->ops->read(h->store, &read);
    frn_lock(h);
    if (read.result == FRANCIS_OK && read.next_ms == h->due_version)
        return;
    h->due_version = read.next_ms;
    h->due_look_due = true;
    frn_due_check_all(h);
}

/* ---- running it ---- */

static francis_handler frn_due_run_of(const frn_due *e)
{
    return frn_due_handler(e->type, e->a.kind,
                           frn_alarm_get(&e->a, e->a.kind == FRN_KIND_ALARM ? FRN_TEXT_NAME
                                                                            : FRN_TEXT_METHOD));
}

static void frn_due_count(francis_host *h, frn_due *e)
{
    if (e->counted)
        return;
    e->counted = true;
    h->firing++;
    e->type->firing++;
    if (e->type->group != NULL && e->a.kind == FRN_KIND_JOB)
        e->type->group->group_running++;
    if (e->a.crashes > 0)
        h->due_alone = true;
}

/* The call that its turn answers. It may be over when this returns. */
static void frn_due_call(francis_host *h, frn_due *e)
{
    const char *name = frn_alarm_get(&e->a, FRN_TEXT_NAME);
    const char *actor = frn_alarm_get(&e->a, FRN_TEXT_ACTOR);
    frn_call   *c = frn_call_new(h, NULL, NULL);
    bool        ok = c != NULL;

    frn_due_count(h, e);
    e->state = FRN_DUE_FIRING;
    e->settled = FRN_SETTLED_NOT;
    e->began_ms = 0;
    if (ok)
        ok = (c->target = frn_buf_text(&h->mem, actor)) != NULL;
    if (ok && e->a.kind == FRN_KIND_JOB && frn_job_is_keyed(name)   /* else each one is work */
        && frn_alarm_get(&e->a, FRN_TEXT_REPEAT)[0] == '\0')
        ok = (c->request_id = frn_buf_text(&h->mem, name + 1)) != NULL;
    if (!ok) {
        if (c != NULL)
            frn_call_release(h, c);
        frn_due_hindered(h, e, FRANCIS_ERR_NOMEM, "no memory for a call");
        return;
    }
    e->call = c->handle;
    h->stats.calls_in_flight++;
    c->type = e->type;
    c->op = FRN_OP_OCCURRENCE;
    c->run = frn_due_run_of(e);
    c->method_copy = frn_buf_ref(e->a.texts);
    c->method = frn_alarm_get(&e->a, e->a.kind == FRN_KIND_ALARM ? FRN_TEXT_NAME : FRN_TEXT_METHOD);
    c->input = frn_buf_ref(e->a.data);
    c->hash = e->a.hash;
    c->timeout_ms = FRANCIS_FOREVER;
    c->due = e;
    c->done = frn_due_done;
    frn_route_here(h, c);
}

static bool frn_due_alone_long(const francis_host *h)
{
    return h->clock_ns - h->due_alone_ns > FRN_ALONE_MS * FRN_MS;
}

/* Why it does not run now although its time has come: 0 = it does, else when to look again. */
static int64_t frn_due_must_wait(francis_host *h, const frn_due *e, int64_t now_ms)
{
    const frn_type *type = e->type;

    if (e->a.wait_for_clock && now_ms < FRN_CLOCK_BELIEVED_MS)
        return FRN_CLOCK_BELIEVED_MS;
    if (e->a.kind == FRN_KIND_JOB && type->group != NULL
        && type->group->group_running >= type->desc.capacity_max)
        return now_ms + FRN_INFRA_MS;
    if (e->a.crashes == 0 && !e->a.started)     /* not for ever, if that one takes its time */
        return (h->due_alone || h->due_alone_wanted) && !frn_due_alone_long(h) ? now_ms + 10 : 0;
    if (h->firing == 0)
        return 0;
    if (!h->due_alone_wanted && !h->due_alone) {
        h->due_alone_wanted = true;
        h->due_alone_ns = h->clock_ns;
    }
    return !h->due_alone && frn_due_alone_long(h) ? 0 : now_ms + 10;
}

/* Of the hosts that serve the type, how many come before this one for an actor that nobody has. */
static unsigned frn_due_rank(francis_host *h, const frn_due *e)
{
    const char *actor = frn_alarm_get(&e->a, FRN_TEXT_ACTOR);
    uint64_t    own = frn_hash(frn_hash(0, actor, strlen(actor)), h->id, strlen(h->id));
    frn_list   *l;
    unsigned    before = 0, all = 0, i;

    for (l = h->peers.next; l != &h->peers; l = l->next) {
        const frn_peer *p = FRN_OF(const frn_peer, link, l);
        if (!p->listed || !frn_peer_serves(p, e->type->desc.type))
            continue;
        all++;
        before += frn_hash(frn_hash(0, actor, strlen(actor)), p->host.id, strlen(p->host.id)) < own;
    }
    for (i = 0; i < FRN_DECLINED; i++)
        if (h->declined[i].until_ns > h->clock_ns && strcmp(h->declined[i].id, e->a.id) == 0)
            before = all;
    return before;
}

static bool frn_due_on_check(frn_read *read, frn_sighting *f)
{
    *(frn_sighting *)read->user = *f;
    return false;
}

/* The row as it is now; NOT_FOUND: it is not there, or has another time. Whoever calls clears out.
 * Lock held, given up meanwhile. */
static francis_result frn_due_look_at(francis_host *h, const frn_due *e, frn_sighting *out)
{
    frn_read read;
    char     id[FRN_UUID_SIZE];
    int64_t  due = e->a.due_ms;

    memset(&read, 0, sizeof read);
    memset(out, 0, sizeof *out);
    memcpy(id, e->a.id, sizeof id);
    read.kind = FRN_READ_ALARM;
    read.id = id;
    read.now_ms = frn_plat_wall_ms(&h->plat);
    read.on_alarm = frn_due_on_check;
    read.user = out;
    frn_unlock(h);
    h->store->ops->read(h->store, &read);
    frn_lock(h);
    if (read.result != FRANCIS_OK)
        return read.result;
    return out->a.texts != NULL && out->a.due_ms == due ? FRANCIS_OK : FRANCIS_ERR_NOT_FOUND;
}

/* Reads its row. true = it is there, and no other host has its actor. Lock held, given up
 * meanwhile. */
static bool frn_due_read_row(francis_host *h, frn_due *e)
{
    frn_sighting   found;
    francis_result r;
    bool           ours;

    e->state = FRN_DUE_CHECKING;    /* nobody frees it meanwhile */
    r = frn_due_look_at(h, e, &found);
    ours = r == FRANCIS_OK && !e->gone
        && (found.host[0] == '\0' || strcmp(found.host, h->id) == 0);
    if (ours && e->doubt) {         /* what was counted counts if it was stored */
        e->a.attempts = found.a.attempts;
        if (e->a.crashes != found.a.crashes) {      /* else the mark is our own */
            e->a.crashes = found.a.crashes;
            e->a.started = found.a.started;
        }
        frn_buf_drop(&h->mem, e->a.error);
        e->a.error = frn_buf_ref(found.a.error);
    }
    frn_alarm_clear(&h->mem, &found.a);
    if (ours) {
        e->state = FRN_DUE_WAITING;
        e->doubt = false;
    } else if (r != FRANCIS_OK && r != FRANCIS_ERR_NOT_FOUND && !e->gone) {
        frn_due_hindered(h, e, r, "its row cannot be read");
    } else {
        frn_due_expect(h, e->type, frn_plat_wall_ms(&h->plat));
        frn_due_free(h, e);
    }
    return ours;
}

/* Other hosts may have it by now. true = it is ours to run. Lock held, given up meanwhile. */
static bool frn_due_is_ours(francis_host *h, frn_due *e, int64_t now_ms)
{
    const char *actor = frn_alarm_get(&e->a, FRN_TEXT_ACTOR);
    bool        free = frn_due_others(h, e->type) && frn_actor_find(h, e->type, actor) == NULL;
    unsigned    rank = free && !e->ranked ? frn_due_rank(h, e) : 0;

    if (rank > 0) {
        e->ranked = true;
        frn_due_push(h, e, now_ms + (int64_t)rank * FRN_RANK_MS);
        return false;
    }
    return (!free && !e->doubt) || frn_due_read_row(h, e);
}

/* The one after which no more than missed_max are missed; 0 = there are not so many. */
static int64_t frn_due_capped(const frn_due *e, int64_t now_ms)
{
    const frn_schedule *s = &e->schedule;
    bool                ended = e->a.until_ms != 0 && e->a.until_ms < now_ms;
    int64_t             last = ended ? e->a.until_ms : now_ms;
    int64_t             anchor = e->a.anchor_ms, low = e->a.due_ms, high = last, middle;
    uint64_t            most = e->a.missed_max;

    if (e->a.missed != FRANCIS_MISSED_ALL || frn_schedule_is_none(s) || most == 0
        || frn_schedule_count(s, anchor, low, high, most) < most)
        return 0;
    low = low < FRN_TIME_MIN ? FRN_TIME_MIN : low;
    while (low + 1 < high) {        /* in (low, last] there are too many, in (high, last] not */
        middle = low + (high - low) / 2;
        if (frn_schedule_count(s, anchor, middle, last, most) >= most)
            low = middle;
        else
            high = middle;
    }
    return high;
}

/* Missed ones that are not to be run at all: where the row goes instead; 0 = it runs. */
static int64_t frn_due_skips_to(const frn_due *e, int64_t now_ms, bool *over)
{
    int64_t next;

    *over = false;
    if (e->a.attempts > 0 || frn_schedule_is_none(&e->schedule))
        return 0;
    next = frn_due_capped(e, now_ms);
    if (next != 0)
        return next;
    if (e->a.missed != FRANCIS_MISSED_SKIP
        || frn_schedule_next(&e->schedule, e->a.anchor_ms, e->a.due_ms) > now_ms)
        return 0;
    next = frn_due_next_ms(e, now_ms);
    *over = next == 0;
    return next;
}

/* false = it is somewhere else now. */
static bool frn_due_prepare(francis_host *h, frn_due *e, int64_t now_ms)
{
    char           error[300];
    bool           over;
    int64_t        next;
    francis_result r = frn_schedule_parse(&h->zones, frn_alarm_get(&e->a, FRN_TEXT_REPEAT),
                                          &e->schedule, error, sizeof error);

    if (r != FRANCIS_OK && r != FRANCIS_ERR_NOMEM) {
        frn_due_log(h, e, FRN_LOG_alarm_corrupt, r, "has a schedule that is not valid", error);
        frn_due_try_again(h, e, FRN_CORRUPT_MS, error);
        return false;
    }
    if (r != FRANCIS_OK) {
        frn_due_hindered(h, e, r, error);
        return false;
    }
    next = frn_due_skips_to(e, now_ms, &over);
    if (next != 0 || over) {
        frn_due_write(h, e, frn_due_over(h, e, next));
        return false;
    }
    e->a.crashes += e->a.started;   /* it had begun, and nobody has told its end */
    e->a.started = false;
    if (e->a.crashes >= e->type->desc.crashes_max) {
        (void)snprintf(error, sizeof error, "its host has ended %u times while it ran",
                       (unsigned)e->a.crashes);
        frn_due_log(h, e, FRN_LOG_alarm_crashed, FRANCIS_ERR_INTERNAL, "is not tried again", error);
        frn_due_give_up(h, e, FRANCIS_ERR_INTERNAL, error);
        return false;
    }
    if (frn_due_run_of(e) == NULL) {
        frn_due_give_up(h, e, FRANCIS_ERR_UNKNOWN_METHOD, "its type has no handler for it");
        return false;
    }
    return true;
}

/* Its time has come. Lock held, given up meanwhile. */
static void frn_due_fire(francis_host *h, frn_due *e, int64_t now_ms)
{
    frn_record *mark;
    int64_t     wait = frn_due_must_wait(h, e, now_ms);

    frn_heap_remove(&e->type->due, &e->timer);
    if (wait != 0) {
        frn_due_push(h, e, wait);
        return;
    }
    if ((!e->sure && !frn_due_is_ours(h, e, now_ms)) || !frn_due_prepare(h, e, now_ms))
        return;
    if (e->a.crashes == 0) {
        frn_due_call(h, e);
        return;
    }
    h->due_alone_wanted = false;
    h->due_alone_ns = h->clock_ns;
    frn_due_count(h, e);
    e->state = FRN_DUE_MARKING;
    mark = frn_due_record(h, e, FRN_RECORD_ATTEMPT);
    if (mark != NULL)
        mark->a.started = true;
    frn_due_write(h, e, mark);
}

static frn_due *frn_due_first(const frn_type *type, int64_t now_ms)
{
    return type->due.count > 0 && type->due.items[1]->at_ns <= now_ms ? FRN_DUE(type->due.items[1])
                                                                      : NULL;
}

/* One of each type in turn, as long as there is room. Lock held, given up meanwhile. */
static void frn_due_fire_all(francis_host *h)
{
    int64_t   now_ms = frn_plat_wall_ms(&h->plat);
    frn_list *from = h->due_turn != NULL ? &h->due_turn->order : h->type_order.next, *l = from;
    bool      any = false;

    while (h->firing < h->firing_most && h->phase == FRN_HOST_RUNNING && !h->rejoin) {
        frn_due *e = l != &h->type_order ? frn_due_first(FRN_OF(frn_type, order, l), now_ms) : NULL;
        if (e != NULL)
            frn_due_fire(h, e, now_ms);
        any = any || e != NULL;
        l = l->next;
        if (l == from && !any)
            break;
        if (l == from)
            any = false;
    }
    h->due_turn = l != &h->type_order ? FRN_OF(frn_type, order, l) : NULL;
}

/* Whether one is still there. Lock held, given up meanwhile. */
static void frn_due_check_one(francis_host *h, frn_due *e)
{
    frn_alarm      key;
    frn_sighting   found;
    francis_result r;

    frn_alarm_copy(&key, &e->a);
    r = frn_due_look_at(h, e, &found);
    frn_alarm_clear(&h->mem, &found.a);
    e = frn_due_of(h, &key);
    if (r == FRANCIS_ERR_NOT_FOUND && e != NULL && strcmp(e->a.id, key.id) == 0
        && e->a.due_ms == key.due_ms)
        frn_due_unmade(h, &key);
    frn_alarm_clear(&h->mem, &key);
}

static void frn_due_check(francis_host *h)
{
    frn_list *l;

    while ((l = frn_list_pop(&h->due_checks)) != NULL)
        frn_due_check_one(h, FRN_OF(frn_due, check, l));
}

/* Set forward: what is overdue runs at the pace of all others. Set backward: it waits. */
static void frn_due_watch_clock(francis_host *h)
{
    int64_t wall = frn_plat_wall_ms(&h->plat), ran = (h->clock_ns - h->due_mono_ns) / FRN_MS;
    int64_t step = wall - h->due_wall_ms - ran;

    if (h->due_mono_ns != 0 && (step > FRN_STEP_MS || step < -FRN_STEP_MS)) {
        frn_log(&h->log, FRN_LOG_clock_stepped, FRANCIS_OK, NULL, NULL,
                "the clock was set by %lld ms; alarms go by the new time", (long long)step);
        h->due_look_due = true;
    }
    h->due_wall_ms = wall;
    h->due_mono_ns = h->clock_ns;
}

/* When there is something to do again. */
static void frn_due_arm(francis_host *h)
{
    int64_t   wall = frn_plat_wall_ms(&h->plat), at = INT64_MAX, in;
    frn_list *l;

    for (l = h->type_order.next; l != &h->type_order; l = l->next) {
        const frn_type *type = FRN_OF(const frn_type, order, l);
        int64_t         look = type->look_next_ms;
        if (!type->wakes)
            continue;
        if (type->due.count > 0 && type->due.items[1]->at_ns < at && h->firing < h->firing_most)
            at = type->due.items[1]->at_ns;
        if (type->stalled)
            continue;               /* there is room when one of those that are known has gone */
        if (look != INT64_MAX && look - FRN_NEAR_MS / 2 < at)
            at = look - FRN_NEAR_MS / 2;
        if (type->look_more)
            at = wall;
    }
    in = at == INT64_MAX ? FRN_NEVER : at <= wall ? 0 : at - wall;
    if (in != FRN_NEVER || h->store->shared)    /* the clock may be set, the file be changed */
        in = in > FRN_LOOK_POLL_MS ? (int64_t)FRN_LOOK_POLL_MS : in;
    frn_timer_set(h, &h->due_timer,
                  in == FRN_NEVER ? FRN_NEVER : frn_add_time(frn_now_ns(h), frn_ms_to_ns(in)));
}

/* What others should know of soon. */
static void frn_hints_send(francis_host *h)
{
    frn_list *l;

    h->hints_due = false;
    for (l = h->peers.next; l != &h->peers; l = l->next) {
        frn_peer *p = FRN_OF(frn_peer, link, l);
        if (p->hint && p->listed)
            frn_tell(h, p, FRN_OP_HINT, NULL);
        p->hint = false;
    }
}

/* Another host says that something is due, or, with a name, that one is no more. */
static void frn_due_hinted(francis_host *h, const char *type, const char *actor, const char *name)
{
    frn_due *e = name[0] != '\0' ? frn_due_find(h, type, actor, name) : NULL;

    if (e != NULL && frn_list_empty(&e->check))
        frn_list_push(&h->due_checks, &e->check);
    if (name[0] == '\0')
        h->due_look_due = true;
    frn_due_wake(h);
}

static void frn_due_on_timer(francis_host *h, frn_timer *timer)
{
    (void)timer;
    h->due_run_due = true;
}

/* Lock held, given up meanwhile. */
static void frn_due_run(francis_host *h)
{
    h->due_run_due = false;
    if (!h->wakes || h->due_looking || h->phase != FRN_HOST_RUNNING || h->rejoin)
        return;
    h->due_looking = h->looking = true;
    frn_due_watch_clock(h);
    if (h->store->shared && h->clock_ns >= h->due_poll_ns)
        frn_due_poll(h);
    frn_due_check(h);
    frn_due_look(h);
    frn_due_fire_all(h);
    frn_due_look(h);
    h->due_looking = h->looking = false;
    if (h->rejoin)
        frn_commit_wake(h);         /* it waits for us */
    frn_due_arm(h);
}

/* The host is another one from here on: what it knew belongs to the former. */
static void frn_due_lose_all(francis_host *h)
{
    size_t    i;
    frn_node *n, *next;

    for (i = 0; i < h->dues.cap; i++)
        for (n = h->dues.slots[i]; n != NULL; n = next) {
            next = n->next;
            frn_due_forget(h, FRN_OF(frn_due, node, n));
        }
    frn_due_look_soon(h);
}

static void frn_due_free_all(francis_host *h)
{
    size_t i;

    for (i = 0; i < h->dues.cap; i++)
        while (h->dues.slots[i] != NULL)
            frn_due_free(h, FRN_OF(frn_due, node, h->dues.slots[i]));
    frn_mem_free(&h->mem, h->dues.slots, h->dues.cap * sizeof *h->dues.slots);
}

/* Whether it runs here now. */
static bool frn_due_runs(francis_host *h, const char *type, const char *actor, const char *name)
{
    const frn_due  *e;
    const frn_call *c;
    bool            runs;

    frn_lock(h);
    e = frn_due_find(h, type, actor, name);
    c = e != NULL && e->state == FRN_DUE_FIRING ? frn_call_find(h, e->call) : NULL;
    runs = c != NULL && (c->state == FRN_CALL_RUNNING || c->state == FRN_CALL_GATED);
    frn_unlock(h);
    return runs;
}

/* Since when something could run that does not. */
static int64_t frn_due_overdue_ms(const francis_host *h)
{
    const frn_list *l;
    int64_t         now_ms = frn_plat_wall_ms(&h->plat), age = 0;

    for (l = h->type_order.next; l != &h->type_order; l = l->next) {
        const frn_type *type = FRN_OF(const frn_type, order, l);
        if (type->due.count > 0 && now_ms - type->due.items[1]->at_ns > age)
            age = now_ms - type->due.items[1]->at_ns;
    }
    return age;
}

// >> 680 commit | needs: 675
//    The committer: takes what is sealed, in one transaction, and opens the gates. One part is
//    under way at a time. With workers it has a thread of its own; else it is a part of each step.

static int frn_write_compare(const void *a, const void *b)
{
    const frn_write *x = *(const frn_write *const *)a, *y = *(const frn_write *const *)b;
    int              c = x->type == y->type ? 0 : strcmp(x->type, y->type);

    if (c == 0)
        c = strcmp(x->id, y->id);
    return c != 0 ? c : x->number < y->number ? -1 : x->number > y->number;
}

static bool frn_write_needs_sync(const frn_write *w)
{
    return w->op == FRN_WRITE_TURN || w->op == FRN_WRITE_ADMIN || w->op == FRN_WRITE_RECORDS;
}

static bool frn_queue_needs_sync(const francis_host *h)
{
    const frn_list *l;

    for (l = h->queue.next; l != &h->queue; l = l->next)
        if (frn_write_needs_sync(FRN_OF(const frn_write, link, l)))
            return true;
    return false;
}

/* When the committer has something to do; FRN_NEVER = not yet, or it is at it. */
static int64_t frn_commit_due(const francis_host *h)
{
    const frn_write *w;
    int64_t          due = 0;

    if (h->committing || h->leaving || (h->rejoin && h->looking))
        return FRN_NEVER;           /* what a late handler still brings is dropped at close */
    if (frn_list_empty(&h->queue) && !h->rejoin && !h->answer_due && !h->in_queue)
        return FRN_NEVER;
    if (h->phase == FRN_HOST_RUNNING && !h->rejoin && !h->answer_due && !h->in_queue) {
        w = FRN_OF(const frn_write, link, h->queue.next);
        due = frn_add_time(w->sealed_ns, frn_ms_to_ns(h->desc.commit_window_ms));
    }
    return due > h->busy_retry_ns ? due : h->busy_retry_ns;
}

/* Whether a write belongs to an earlier life of the host: it fails, whatever brought it here. */
static bool frn_write_stale(const francis_host *h, const frn_write *w)
{
    return (w->op == FRN_WRITE_TURN || w->op == FRN_WRITE_RELEASE) && w->life != h->life;
}

/* Makes a part of what is queued, up to its bounds. Without sync it ends before the first write
 * that needs one. Only what was sealed by then. */
static void frn_commit_take(francis_host *h, bool sync, int64_t sealed_by, frn_list *stale)
{
    frn_part *p = &h->part;
    size_t    n = 0, bytes = 0, i;

    memset(p, 0, sizeof *p);
    frn_list_init(&p->writes);
    frn_list_init(stale);
    while (n < FRN_BATCH_WRITES && bytes < FRN_BATCH_BYTES && !frn_list_empty(&h->queue)) {
        frn_write *w = FRN_OF(frn_write, link, h->queue.next);
        if (w->sealed_ns > sealed_by || (!sync && frn_write_needs_sync(w)))
            break;
        frn_list_remove(&w->link);
        h->queue_count--;
        if (frn_write_stale(h, w)) {
            frn_list_push(stale, &w->link);
            continue;
        }
        w->taken = true;
        w->result = FRANCIS_OK;
        bytes += w->records_bytes + (w->state != NULL ? w->state->size : 0);
        h->batch[n++] = w;
        if (n == 1)
            h->commit_since_ns = w->sealed_ns;
    }
    qsort(h->batch, n, sizeof h->batch[0], frn_write_compare);
    for (i = 0; i < n; i++)
        frn_list_push(&p->writes, &h->batch[i]->link);
    p->count = n;
    p->sync = sync;
    p->host_id = h->id;
    p->now_ms = frn_plat_wall_ms(&h->plat);
    p->result = FRANCIS_OK;
    p->user = h;
}

static void frn_write_over(francis_host *h, frn_write *w)   /* its actor may be stepped now */
{
    frn_actor *a = (frn_actor *)w->actor;

    if (a != NULL) {
        a->writes--;
        if (a->last_write == w)
            a->last_write = NULL;
    }
    frn_write_free(h, w);
    if (a != NULL)
        frn_actor_step(h, a);
}

/* What was to run now is suspicious since its claim: it is looked at anew. */
static void frn_claim_doubt(francis_host *h, frn_actor *a)
{
    frn_list *l, *next, doubtful;

    frn_list_init(&doubtful);
    for (l = a->mailbox.next; l != &a->mailbox; l = next) {
        frn_call *c = FRN_OF(frn_call, link, l);
        next = l->next;
        if (c->due == NULL)
            continue;
        frn_mailbox_remove(h, c);
        frn_list_push(&doubtful, &c->link);
    }
    frn_due_refuse(h, &doubtful);
}

static void frn_claim_done(francis_host *h, frn_write *w)
{
    frn_actor *a = (frn_actor *)w->actor;

    if (a->phase != FRN_PHASE_CLAIMING)
        return;                     /* lost meanwhile */
    a->last_write = NULL;           /* what the first turns show is durable already */
    a->state = w->state;
    a->expires_ms = w->expires_ms;
    a->stored_version = w->found ? w->version : 0;
    a->life = h->life;
    a->requests = w->found_requests;
    w->state = NULL;
    w->found_requests = NULL;
    if (w->suspects)
        frn_claim_doubt(h, a);
    frn_actor_wake(h, a);
}

/* Who has the actor of a refused write. */
static void frn_owner_print(const frn_write *w, char *text, size_t size)
{
    const char *id = w->owner != NULL ? (const char *)FRN_BYTES(w->owner) : "";
    const char *address = id + strlen(id) + 1;

    if (w->owner == NULL)
        (void)snprintf(text, size, "%s/%s is placed on another host", w->type, w->id);
    else if (address[0] == '-')
        (void)snprintf(text, size, "%s/%s lives on host %s, which has no address", w->type, w->id,
                       id);
    else
        (void)snprintf(text, size, "%s/%s lives on host %s at %s", w->type, w->id, id, address);
}

/* A live host has what was claimed. Those who wait for the actor go there, if they can; one that
 * cannot be reached, or not at all, is asked to show that it stands. */
static void frn_owner_met(francis_host *h, const frn_write *w)
{
    frn_actor *a = (frn_actor *)w->actor;
    frn_owner  owner;
    frn_peer  *p;
    frn_list   waiting, *l;

    frn_owner_read(w->owner, &owner);
    p = frn_peer_get(h, &owner);
    if (h->net == NULL || p == NULL || !frn_peer_reachable(h, p))
        frn_peer_suspect(h, &owner);
    if (a == NULL || w->op != FRN_WRITE_CLAIM || h->net == NULL || p == NULL)
        return;
    frn_list_init(&waiting);
    frn_list_move(&waiting, &a->mailbox);
    h->stats.queue_turns -= a->mailbox_count;
    a->mailbox_count = 0;
    while ((l = frn_list_pop(&waiting)) != NULL) {
        frn_call *c = FRN_OF(frn_call, link, l);
        c->actor = NULL;
        c->state = FRN_CALL_NEW;
        if (c->foreign) {
            frn_buf_drop(&h->mem, c->owner_host);       /* of an attempt before */
            c->owner_host = frn_buf_ref(w->owner);
            frn_call_fail(h, c, FRANCIS_ERR_MOVED, "the actor lives on host %s", owner.id);
        } else if (c->due != NULL) {            /* that one finds it by itself */
            frn_call_fail(h, c, FRANCIS_ERR_MOVED, "the actor lives on host %s", owner.id);
        } else {
            frn_route_to(h, c, p);
        }
    }
}

static void frn_claim_failed(francis_host *h, frn_write *w, francis_result r, const char *text)
{
    frn_actor *a = (frn_actor *)w->actor;

    if (a->phase != FRN_PHASE_CLAIMING)
        return;
    if (r != FRANCIS_ERR_MOVED)
        frn_log(&h->log, FRN_LOG_activation_failed, r, w->type, w->id, "%s", text);
    frn_mailbox_fail(h, a, r, false, text);
    a->phase = FRN_PHASE_RELEASING;         /* with no release under way: it is over */
}

/* One write did not happen. What it took with it depends on what it was. */
static void frn_write_failed(francis_host *h, frn_write *w, francis_result r, const char *text)
{
    frn_actor *a = (frn_actor *)w->actor;

    if (w->op == FRN_WRITE_SWEEP) {         /* it belongs to the host, as part of it */
        h->sweep_queued = false;
        frn_log(&h->log, FRN_LOG_sweep_failed, r, NULL, NULL, "%s", text);
        return;
    }
    frn_records_failed(h, w, r, text);
    frn_gate_shut(h, &w->gate, r, text);
    if (w->op == FRN_WRITE_CHALLENGE || w->op == FRN_WRITE_EVICT) {
        frn_peer_over(h, w, r);
    } else if (a != NULL && w->op == FRN_WRITE_CLAIM) {
        frn_claim_failed(h, w, r, text);
    } else if (a != NULL && w->op == FRN_WRITE_RELEASE) {
        frn_log(&h->log, FRN_LOG_release_failed, r, w->type, w->id, "%s; its placement stays",
                text);
        frn_halters_tell(h, a, r);
    } else if (a != NULL) {
        frn_actor_lose(h, a, r == FRANCIS_ERR_UNKNOWN ? (int)FRANCIS_ERR_STORAGE : r, text);
        frn_log(&h->log, FRN_LOG_activation_dropped, r, w->type, w->id, "%s", text);
    }
    frn_write_over(h, w);
}

/* Later writes of an actor stand on one that has failed: they fail with it. */
static void frn_queue_drop(francis_host *h, const frn_actor *a, francis_result r, const char *text)
{
    frn_list *l, *next, dropped;

    frn_list_init(&dropped);
    for (l = h->queue.next; l != &h->queue; l = next) {
        frn_write *w = FRN_OF(frn_write, link, l);
        next = l->next;
        if (a != NULL ? w->actor != a : w->op != FRN_WRITE_TURN)
            continue;               /* claims and releases stand on no image */
        frn_list_remove(l);
        frn_list_push(&dropped, l);
        h->queue_count--;
    }
    while ((l = frn_list_pop(&dropped)) != NULL)
        frn_write_failed(h, FRN_OF(frn_write, link, l), r, text);
}

/* After a commit whose end is unknown, and after an eviction, no image is to be trusted. */
static void frn_lose_all(francis_host *h, francis_result r, const char *text, bool placed)
{
    size_t    i;
    frn_node *n;

    for (i = 0; i < h->actors.cap; i++)
        for (n = h->actors.slots[i]; n != NULL; n = n->next) {
            frn_actor *a = FRN_OF(frn_actor, node, n);
            if (a->phase == FRN_PHASE_CLAIMING)
                continue;
            a->placed = a->placed && placed;
            frn_actor_lose(h, a, r, text);
        }
    frn_queue_drop(h, NULL, r, text);
}

/* Moves every activation on. Stepping one may free it, but no other one. */
static void frn_step_all(francis_host *h)
{
    size_t    i;
    frn_node *n, *next;

    for (i = 0; i < h->actors.cap; i++)
        for (n = h->actors.slots[i]; n != NULL; n = next) {
            next = n->next;
            frn_actor_step(h, FRN_OF(frn_actor, node, n));
        }
}

/* The host has been evicted, and finds out. It joins again by the hand of the committer. */
static void frn_host_lose(francis_host *h, const char *text)
{
    if (h->rejoin)
        return;
    h->rejoin = true;
    frn_log(&h->log, FRN_LOG_host_evicted, FRANCIS_ERR_EVICTED, NULL, NULL,
            "host %s: %s; all activations are dropped, it joins anew", h->id, text);
    frn_gate_shut(h, &h->lease_gate, FRANCIS_ERR_EVICTED, text);
    frn_lose_all(h, FRANCIS_ERR_EVICTED, text, false);
    frn_step_all(h);
    frn_due_lose_all(h);
    frn_commit_wake(h);
}

static const char frn_was_evicted[] = "this host has been evicted";

/* Looks at the host's own row. Lock held, given up meanwhile. */
static void frn_look(francis_host *h)
{
    frn_read read;
    uint32_t life = h->life;
    int64_t  from = frn_plat_lease_ns(&h->plat);
    char     id[FRN_UUID_SIZE];

    h->look_due = false;
    if (h->looking || h->rejoin || h->leaving)
        return;
    memset(&read, 0, sizeof read);
    memcpy(id, h->id, sizeof id);
    read.kind = FRN_READ_STANDING;
    read.id = id;
    h->looking = true;
    frn_unlock(h);
    h->store->ops->read(h->store, &read);
    frn_lock(h);
    if (h->net != NULL || h->wakes > 0)
        frn_hosts_look(h);
    if (h->announce)
        frn_announce(h);
    h->looking = false;
    if (h->rejoin)
        frn_commit_wake(h);         /* it waits for us */
    if (life != h->life || h->rejoin)
        return;
    if (read.result == FRANCIS_ERR_EVICTED) {
        frn_host_lose(h, frn_was_evicted);
    } else if (read.result == FRANCIS_OK && read.challenged) {
        h->answer_due = true;
        frn_commit_wake(h);
    } else if (read.result == FRANCIS_OK) {
        frn_lease_renew(h, from);
    }
    if (read.result != FRANCIS_OK && !frn_list_empty(&h->lease_gate))
        frn_timer_set(h, &h->lease_timer, frn_add_time(frn_now_ns(h), 10 * FRN_MS));
}

/* A device that has got the time has a certificate of another one. */
static void frn_identity_look(francis_host *h)
{
    int64_t now_ms = frn_plat_wall_ms(&h->plat);

    if (h->net != NULL && (now_ms < h->identity_from_ms || now_ms >= h->identity_until_ms))
        h->identity_due = true;
}

/* Three times per lease, whatever commits have seen: the lock file is looked at, too. */
static void frn_lease_on_timer(francis_host *h, frn_timer *timer)
{
    int64_t third = h->lease_ns / 3;

    h->look_due = true;
    frn_identity_look(h);
    frn_timer_set(h, timer, frn_add_time(h->clock_ns, third));
}

/* The alarm or job that a turn ran for is not there any more: the turn has not happened, nor has
 * what stands on it. */
static void frn_write_vain(francis_host *h, frn_write *w)
{
    static const char text[] = "the alarm or job was replaced or deleted, or has run elsewhere";

    frn_queue_drop(h, (frn_actor *)w->actor, FRANCIS_ERR_EVICTED, text);
    frn_write_failed(h, w, FRANCIS_ERR_EVICTED, text);
}

static void frn_write_refused(francis_host *h, frn_write *w)
{
    char text[1000];

    if (w->op == FRN_WRITE_TURN && w->result == FRANCIS_ERR_NOT_FOUND) {
        frn_write_vain(h, w);
        return;
    }

    if (w->op == FRN_WRITE_CHALLENGE || w->op == FRN_WRITE_EVICT) {
        frn_peer_over(h, w, FRANCIS_OK);
        frn_write_over(h, w);
        return;
    }
    if (w->result == FRANCIS_ERR_NOT_FOUND)
        (void)snprintf(text, sizeof text, "there is no state of %s/%s", w->type, w->id);
    else
        frn_owner_print(w, text, sizeof text);
    if (w->owner != NULL)
        frn_owner_met(h, w);
    if (w->op == FRN_WRITE_TURN)
        frn_log(&h->log, FRN_LOG_write_refused, w->result, w->type, w->id, "%s", text);
    if (w->actor != NULL) {
        ((frn_actor *)w->actor)->placed = false;    /* it never was, or is no more, ours */
        frn_queue_drop(h, (frn_actor *)w->actor, w->result, text);
    }
    frn_write_failed(h, w, w->result, text);
}

static void frn_sweep_done(francis_host *h, frn_write *w)
{
    h->sweep_queued = false;
    if (w->suspects)
        frn_due_doubt_all(h);
    w->suspects = false;
    frn_log(&h->log, FRN_LOG_sweep_done, FRANCIS_OK, NULL, NULL, "expired rows are deleted%s",
            w->more ? ", and more are to come" : "");
    if (w->more)                    /* at once, but behind what has gathered meanwhile */
        frn_timer_set(h, &h->sweep_timer, h->clock_ns);
    h->sweep.interval_ms = w->more ? 0 : h->desc.sweep_interval_ms;
    if (w->more && w->before_ms == 0)
        h->sweep_placements = true;
}

/* What a claim has brought. */
static void frn_claim_forget(francis_host *h, frn_write *w)
{
    frn_request *r;

    frn_buf_drop(&h->mem, w->state);
    w->state = NULL;
    w->found = false;
    while ((r = w->found_requests) != NULL) {
        w->found_requests = r->next;
        frn_request_drop(&h->mem, r);
    }
}

static void frn_write_before(francis_host *h, frn_write *w, frn_list *next)
{
    w->taken = false;
    frn_list_push(next, &w->link);
    h->queue_count++;
}

/* Back into the queue, where it came from: in front. */
static void frn_write_again(francis_host *h, frn_write *w)
{
    frn_write_before(h, w, h->queue.next);
}

static void frn_write_done(francis_host *h, frn_write *w)
{
    if (w->result != FRANCIS_OK) {
        frn_write_refused(h, w);
        return;
    }
    switch (w->op) {
    case FRN_WRITE_CLAIM:
        if (h->rejoin && h->phase == FRN_HOST_RUNNING) {
            frn_claim_forget(h, w);     /* of a life that is over already: once more, in the next */
            frn_write_again(h, w);
            return;
        }
        frn_claim_done(h, w);
        break;
    case FRN_WRITE_TURN:
    case FRN_WRITE_ADMIN:
    case FRN_WRITE_RECORDS:
        h->stats.commit_turns += w->turns;
        frn_records_done(h, w);
        frn_gate_open(h, &w->gate);
        break;
    case FRN_WRITE_RELEASE:
        break;
    case FRN_WRITE_CHALLENGE:
    case FRN_WRITE_EVICT:
        frn_peer_over(h, w, FRANCIS_OK);
        break;
    case FRN_WRITE_SWEEP:
        frn_sweep_done(h, w);
        return;
    }
    frn_write_over(h, w);
}

enum { FRN_RELEASE_RETRY_MS = 10 };

/* The placement has to go, however long it takes. Who has waited for that as long as the release
 * hears why; who came later has its time, too. */
static void frn_release_again(francis_host *h, frn_write *w, const char *text)
{
    frn_actor *a = (frn_actor *)w->actor;
    int64_t    from_ns = frn_now_ns(h);
    frn_list   waiting, *l;

    frn_list_init(&waiting);
    while (!frn_list_empty(&a->mailbox)) {
        frn_call *c = FRN_OF(frn_call, link, a->mailbox.next);
        if (c->queued_ns > w->sealed_ns) {
            from_ns = c->queued_ns;
            break;
        }
        frn_mailbox_remove(h, c);
        frn_list_push(&waiting, &c->link);
    }
    w->sealed_ns = from_ns;
    for (l = h->queue.next; l != &h->queue; l = l->next)    /* it is in the order of sealing */
        if (FRN_OF(frn_write, link, l)->sealed_ns > from_ns)
            break;
    frn_write_before(h, w, l);
    while ((l = frn_list_pop(&waiting)) != NULL) {
        frn_call *c = FRN_OF(frn_call, link, l);
        c->from_handler = false;
        frn_call_fail(h, c, FRANCIS_ERR_LOCKED, "%s", text);
    }
    h->busy_retry_ns = frn_add_time(frn_now_ns(h), FRN_RELEASE_RETRY_MS * FRN_MS);
    frn_timer_set(h, &h->commit_timer, h->busy_retry_ns);   /* not without a pause */
}

static void frn_part_failed(francis_host *h, frn_part *p)
{
    frn_list      *l;
    francis_result r = p->outcome == FRN_UNKNOWN ? FRANCIS_ERR_UNKNOWN : p->result;
    bool           evicted = p->result == FRANCIS_ERR_EVICTED;

    h->stats.commits_failed++;
    if (p->outcome == FRN_UNKNOWN)
        h->stats.commits_unknown++;
    frn_log(&h->log, FRN_LOG_commit_failed, r, NULL, NULL, "%s", p->error);
    for (l = p->writes.next; l != &p->writes && !evicted && !p->lost; l = l->next) {
        frn_write *w = FRN_OF(frn_write, link, l);
        if (w->actor != NULL)
            frn_queue_drop(h, (frn_actor *)w->actor, r, p->error);
    }
    while ((l = frn_list_pop(&p->writes)) != NULL) {
        frn_write *w = FRN_OF(frn_write, link, l);
        if (evicted && h->phase == FRN_HOST_RUNNING && w->op != FRN_WRITE_TURN
            && w->op != FRN_WRITE_RELEASE)
            frn_write_again(h, w);  /* it stands on no image: it will do in the next life as well */
        else if (r == FRANCIS_ERR_LOCKED && h->phase == FRN_HOST_RUNNING
                 && w->op == FRN_WRITE_RELEASE)
            frn_release_again(h, w, p->error);
        else
            frn_write_failed(h, w, r, p->error);
    }
    if (evicted) {
        frn_host_lose(h, p->error);
    } else if (p->lost) {
        frn_lose_all(h, FRANCIS_ERR_STORAGE, p->error, true);
        frn_step_all(h);
    }
}

/* Hosts were evicted: what they leave behind is swept, soon. */
static void frn_sweep_soon(francis_host *h)
{
    h->sweep_placements = true;
    if (!h->sweep_queued && h->phase == FRN_HOST_RUNNING)
        frn_timer_set(h, &h->sweep_timer, frn_add_time(h->clock_ns, 100 * FRN_MS));
}

/* The provider has answered: from its own thread, or before commit() returns. */
static void frn_part_done(frn_part *p)
{
    francis_host *h = (francis_host *)p->user;
    frn_list     *l;

    frn_lock(h);
    (void)frn_now_ns(h);
    h->commit_since_ns = 0;
    if (p->outcome == FRN_DONE) {
        h->stats.commits += p->count > 0;
        h->stats.commit_rows += p->rows;
        frn_lease_renew(h, h->part_from_ns);
        h->stats.evictions += p->evicted;
        if (p->evicted > 0)
            frn_sweep_soon(h);
        while ((l = frn_list_pop(&p->writes)) != NULL)
            frn_write_done(h, FRN_OF(frn_write, link, l));
    } else {
        frn_part_failed(h, p);
    }
    h->committing = false;
    frn_outbox_run(h);
    (void)pthread_cond_broadcast(&h->rest_cond);
    frn_unlock(h);
}

static const char *frn_join_type_at(void *user, size_t i, int64_t *idle_timeout_ms, uint32_t *limit)
{
    francis_host *h = (francis_host *)user;
    frn_list     *l = h->type_order.next;
    frn_type     *type;

    while (i-- > 0)
        l = l->next;
    type = FRN_OF(frn_type, order, l);
    *idle_timeout_ms = type->desc.idle_timeout_ms < 0 ? 0 : type->desc.idle_timeout_ms;
    *limit = type->desc.concurrency_max;
    return type->desc.type;
}

enum { FRN_IDENTITY_MS = 86400000, FRN_IDENTITY_RETRY_MS = 60000 };

/* A key and a certificate for the host's id. Live connections keep theirs. No lock held. */
static francis_result frn_identity_renew(francis_host *h, const char *id, char *error, size_t size)
{
    frn_identity  *identity = NULL;
    francis_result r;
    int64_t        in_ms = FRN_IDENTITY_RETRY_MS, now_ms = frn_plat_wall_ms(&h->plat);

    if (h->net == NULL)
        return FRANCIS_OK;
    r = frn_identity_new(h->trust, id, FRN_IDENTITY_MS, &identity, error, size);
    if (r == FRANCIS_OK && identity != NULL) {
        frn_net_identity(h->net, identity, id);
        in_ms = frn_identity_renew_at_ms(identity) - now_ms;
    }
    frn_lock(h);
    h->identity_from_ms = now_ms;
    h->identity_until_ms = now_ms + FRN_IDENTITY_RETRY_MS;
    if (identity != NULL) {
        h->identity_until_ms = frn_identity_renew_at_ms(identity);
        frn_identity_drop(identity);
    }
    if (in_ms < FRN_IDENTITY_RETRY_MS)
        in_ms = FRN_IDENTITY_RETRY_MS;
    frn_timer_set(h, &h->identity_timer, frn_add_time(frn_now_ns(h), frn_ms_to_ns(in_ms)));
    frn_unlock(h);
    return r;
}

static void frn_identity_on_timer(francis_host *h, frn_timer *timer)
{
    (void)timer;
    h->identity_due = true;
}

/* An id that was never used and never will be again. */
static francis_result frn_host_make_id(francis_host *h, char id[FRN_UUID_SIZE], char *error,
                                       size_t error_size)
{
    if (frn_uuid_make(&h->plat, id))
        return FRANCIS_OK;
    (void)snprintf(error, error_size, "the system has no randomness for a host id");
    return FRANCIS_ERR_INTERNAL;
}

/* Under a new id. No lock held. */
static francis_result frn_host_join(francis_host *h, const char *id, char *error, size_t error_size)
{
    frn_join       join;
    char           nowhere[FRN_UUID_SIZE + 2];
    int64_t        from = frn_plat_lease_ns(&h->plat);
    francis_result r;

    memset(&join, 0, sizeof join);
    (void)snprintf(nowhere, sizeof nowhere, "-%s", id);     /* nobody else reaches it */
    join.host_id = id;
    join.address = h->desc.address != NULL ? h->desc.address : nowhere;
    join.former = h->id;
    join.types_count = h->types.count;
    join.type_at = frn_join_type_at;
    join.user = h;
    r = h->store->ops->join(h->store, &join, error, error_size);
    if (r == FRANCIS_OK)
        r = frn_identity_renew(h, id, error, error_size);
    frn_lock(h);
    if (r == FRANCIS_OK) {
        (void)snprintf(h->id, sizeof h->id, "%s", id);
        frn_log_set_host(&h->log, id);
        (void)snprintf(h->stats.host_id, sizeof h->stats.host_id, "%s", id);
        h->stats.lives = ++h->life;
        frn_gate_shut(h, &h->lease_gate, FRANCIS_ERR_EVICTED, frn_was_evicted);    /* of before */
        h->announce = h->net != NULL;
        h->look_due = h->net != NULL || h->wakes > 0;
        frn_due_look_soon(h);
        frn_lease_renew(h, from);
        h->stats.evictions += join.evicted;
        if (join.leftovers)
            frn_sweep_soon(h);
    }
    frn_unlock(h);
    return r;
}

enum { FRN_BUSY_TELL_MS = 1000, FRN_BUSY_LOOK_MS = 250, FRN_BUSY_RETRY_MOST_MS = 20 };

static void frn_blocker_print(const frn_blocker *b, char *text, size_t size)
{
    if (b->process > 0)
        (void)snprintf(text, size, "the database is busy: process %lld (host %s) has the write"
                       " lock", (long long)b->process, b->host_id[0] != '\0' ? b->host_id
                                                                             : "unknown");
    else
        (void)snprintf(text, size, "the database is busy: somebody has the write lock");
}

static void frn_stuck_kill(francis_host *h, const frn_blocker *b)
{
    if (!frn_same_user(b->process))
        return;
    frn_log(&h->log, FRN_LOG_stuck_host_killed, FRANCIS_OK, NULL, NULL,
            "process %lld (host %s) has kept the write lock for health_deadline_ms without a commit"
            " and is killed", (long long)b->process, b->host_id);
    (void)kill((pid_t)b->process, SIGKILL);
}

/* Looks now and then who keeps us from writing. Lock held, given up meanwhile. */
static void frn_busy_look(francis_host *h, int64_t now)
{
    frn_blocker b;
    char        text[200];
    bool        first = h->busy_told_ns < h->busy_since_ns;
    bool        told = h->busy_logged_ns >= h->busy_since_ns && h->busy_logged_ns != 0;
    int64_t     soon = frn_ms_to_ns(h->desc.busy_timeout_ms) / 2;

    if (soon > FRN_BUSY_TELL_MS * FRN_MS)
        soon = FRN_BUSY_TELL_MS * FRN_MS;

    if (now - h->busy_since_ns < (first ? soon : 0)
        || (!first && now - h->busy_told_ns < FRN_BUSY_LOOK_MS * FRN_MS))
        return;
    h->busy_told_ns = now;
    frn_unlock(h);
    h->store->ops->blocker(h->store, &b);
    frn_lock(h);
    if (first || b.process != h->blocker.process || b.version != h->blocker.version)
        h->stuck_since_ns = now;
    h->blocker = b;
    frn_blocker_print(&b, text, sizeof text);
    if (!told && (b.process > 0 || !first)) {   /* with the name, if a second look brings it */
        h->busy_logged_ns = now;
        frn_log(&h->log, FRN_LOG_database_busy, FRANCIS_ERR_LOCKED, NULL, NULL, "%s", text);
    }
    if (h->desc.kill_stuck_host && b.process > 0 && b.process != frn_plat_process(&h->plat)
        && b.host_id[0] != '\0'
        && now - h->stuck_since_ns >= frn_ms_to_ns(h->desc.health_deadline_ms)) {
        frn_stuck_kill(h, &b);
        h->stuck_since_ns = now;
    }
}

/* Writes that have waited for busy_timeout_ms come to nothing. */
static void frn_queue_expire(francis_host *h, francis_result r, const char *text)
{
    int64_t  limit = frn_ms_to_ns(h->desc.busy_timeout_ms);
    frn_list stale;

    frn_commit_take(h, true, frn_now_ns(h) - limit, &stale);
    frn_list_move(&h->part.writes, &stale);
    h->part.result = r;
    (void)snprintf(h->part.error, sizeof h->part.error, "%s", text);
    if (!frn_list_empty(&h->part.writes))
        frn_part_failed(h, &h->part);
    h->commit_since_ns = 0;
    frn_outbox_run(h);
}

/* It is not our turn to write. What has waited for busy_timeout_ms is told so. */
static void frn_commit_busy(francis_host *h, int64_t retry_ns)
{
    int64_t now = frn_now_ns(h), limit = frn_ms_to_ns(h->desc.busy_timeout_ms);
    char    text[200];

    h->in_queue = true;
    if (h->busy_since_ns == 0)
        h->busy_since_ns = now;
    frn_busy_look(h, now);
    if (now - h->busy_since_ns >= limit)
        retry_ns = FRN_BUSY_RETRY_MOST_MS * FRN_MS;     /* it lasts: we ask rarely */
    h->busy_retry_ns = frn_add_time(now, retry_ns);
    frn_timer_set(h, &h->commit_timer, h->busy_retry_ns);
    if (now - h->busy_since_ns < limit)
        return;
    frn_blocker_print(&h->blocker, text, sizeof text);
    frn_queue_expire(h, FRANCIS_ERR_LOCKED, text);
}

enum { FRN_REJOIN_MS = 100 };

/* An evicted host comes back as a new one, or it stops. Lock held, given up meanwhile. */
static void frn_host_rejoin(francis_host *h)
{
    char           error[300], id[FRN_UUID_SIZE];
    int64_t        retry_ns = FRN_MS;
    bool           ready;
    francis_result r;

    if (h->phase != FRN_HOST_RUNNING) {
        h->rejoin = false;          /* it is leaving anyway */
        return;
    }
    h->committing = true;           /* nothing is committed under the old id */
    frn_unlock(h);
    r = frn_host_make_id(h, id, error, sizeof error);
    ready = r != FRANCIS_OK || h->store->ops->ready(h->store, true, &retry_ns);
    if (ready && r == FRANCIS_OK)
        r = frn_host_join(h, id, error, sizeof error);
    frn_lock(h);
    h->committing = false;
    if (!ready) {
        frn_commit_busy(h, retry_ns);
        return;
    }
    h->rejoin = h->in_queue = false;
    h->busy_since_ns = h->busy_retry_ns = 0;
    h->serving = r == FRANCIS_OK;
    if (r == FRANCIS_OK) {
        h->rejoin_told = false;
        frn_log(&h->log, FRN_LOG_host_started, FRANCIS_OK, NULL, NULL, "host %s serves", h->id);
        return;
    }
    if (francis_retryable(r)) {
        if (!h->rejoin_told)
            frn_log(&h->log, FRN_LOG_rejoin_refused, r, NULL, NULL, "it cannot join again: %s; it"
                    " is tried until it can", error);
        h->rejoin = h->rejoin_told = true;
        h->busy_retry_ns = frn_add_time(frn_now_ns(h), FRN_REJOIN_MS * FRN_MS);
        frn_timer_set(h, &h->commit_timer, h->busy_retry_ns);
        frn_queue_expire(h, r, error);
        return;
    }
    frn_log(&h->log, FRN_LOG_host_failed, r, NULL, NULL, "cannot join again: %s", error);
    (void)frn_host_fail(h, r, "evicted, and cannot join again: %s", error);
    FRN_STORE(&h->stop_asked, 1);
    frn_wake(h);
}

static void frn_commit_part(francis_host *h, bool sync)
{
    frn_list stale, *l;

    h->in_queue = h->answer_due = false;
    h->busy_since_ns = h->busy_retry_ns = 0;
    frn_commit_take(h, sync, FRN_NEVER, &stale);
    while ((l = frn_list_pop(&stale)) != NULL)
        frn_write_failed(h, FRN_OF(frn_write, link, l), FRANCIS_ERR_EVICTED,
                         "it belongs to an earlier life of this host");
    h->part.done = frn_part_done;
    frn_unlock(h);
    h->store->ops->commit(h->store, &h->part);
    frn_lock(h);
}

/* One transaction. Lock held, given up while the provider is at it. */
static void frn_commit_run(francis_host *h)
{
    int64_t retry_ns = FRN_MS;
    bool    ready, idle, sync = frn_queue_needs_sync(h);

    if (h->rejoin) {
        frn_host_rejoin(h);
        return;
    }
    h->committing = true;
    h->part_from_ns = frn_plat_lease_ns(&h->plat);
    frn_unlock(h);
    ready = h->store->ops->ready(h->store, sync, &retry_ns);
    frn_lock(h);
    if (!ready) {
        frn_commit_busy(h, retry_ns);
        h->committing = false;
        return;
    }
    frn_commit_part(h, sync);
    idle = frn_list_empty(&h->queue);
    frn_unlock(h);
    h->store->ops->tend(h->store, idle);
    frn_lock(h);
}

static void frn_commit_on_timer(francis_host *h, frn_timer *timer)
{
    (void)timer;
    frn_commit_wake(h);
}

enum { FRN_CLOCK_STEP_MS = 60000, FRN_CLOCK_PROBATION_MS = 3600000 };

/* What is deleted is gone for ever, so the clock must be believable: past 2025, and not set anew
 * within the last hour. */
static bool frn_clock_believed(francis_host *h, int64_t now_ms)
{
    int64_t ran_ms = (h->clock_ns - h->mono_base_ns) / FRN_MS;
    int64_t step_ms = now_ms - h->wall_base_ms - ran_ms;

    if (step_ms > FRN_CLOCK_STEP_MS || step_ms < -FRN_CLOCK_STEP_MS) {
        h->wall_base_ms = now_ms;
        h->mono_base_ns = h->clock_ns;
        h->clock_was_set = true;
        frn_log(&h->log, FRN_LOG_clock_not_believed, FRANCIS_OK, NULL, NULL,
                "the clock was set by %lld ms; nothing is deleted for an hour", (long long)step_ms);
        return false;
    }
    if (h->clock_was_set && ran_ms < FRN_CLOCK_PROBATION_MS)
        return false;
    return now_ms >= INT64_C(1735689600000);
}

/* What has expired is deleted now and then. */
static void frn_sweep_on_timer(francis_host *h, frn_timer *timer)
{
    int64_t    now_ms = frn_plat_wall_ms(&h->plat);
    frn_write *w = &h->sweep;
    bool       believed;

    frn_timer_set(h, timer, frn_add_time(h->clock_ns, frn_ms_to_ns(h->desc.sweep_interval_ms)));
    believed = frn_clock_believed(h, now_ms);
    if (h->sweep_queued || h->phase != FRN_HOST_RUNNING || (!believed && !h->sweep_placements))
        return;
    if (h->sweep_placements) {      /* those of dead hosts, and nothing that has expired */
        w->interval_ms = 0;
        believed = h->sweep_placements = false;
    }
    w->before_ms = believed ? now_ms : 0;
    w->more = false;
    h->sweep_queued = true;
    frn_write_queue(h, w);
}

// >> 690 step | needs: 680
//    Who does the work. Without workers: frn_step, on the thread that polls or makes a blocking
//    call. With them: a loop thread for timers, a committer, and workers, of which there are always
//    enough that do not wait for a call.

static bool frn_stop_due(const francis_host *h)
{
    return __atomic_load_n(&h->stop_asked, __ATOMIC_ACQUIRE) != 0 && h->phase == FRN_HOST_RUNNING;
}

static bool frn_host_empty(const francis_host *h)
{
    return h->actors.count == 0 && h->orphans == 0 && frn_list_empty(&h->queue) && !h->committing
        && !h->rejoin && !h->looking && frn_list_empty(&h->lease_gate)
        && frn_list_empty(&h->callbacks) && frn_list_empty(&h->outbox);
}

/* Everything that waits and comes from outside hears that the host is stopping. */
static void frn_drain_calls(francis_host *h, bool all)
{
    frn_list *l, *next;

    for (l = h->outside.next; l != &h->outside; l = next) {
        frn_call *c = FRN_OF(frn_call, owner_link, l);
        next = l->next;
        if (c->chain != NULL && !all)
            continue;
        if (c->state == FRN_CALL_QUEUED) {
            frn_mailbox_remove(h, c);
            frn_call_fail(h, c, FRANCIS_ERR_STOPPED, "the host is stopping");
        } else if (c->state == FRN_CALL_BACKOFF || c->state == FRN_CALL_FINDING) {
            frn_list_remove(&c->link);
            frn_call_fail(h, c, FRANCIS_ERR_STOPPED, "the host is stopping");
        } else if (c->state == FRN_CALL_REMOTE && c->stream != NULL && c->stream->turn == NULL) {
            frn_stream_break(h, c->stream, FRANCIS_ERR_STOPPED, false, "the host is stopping",
                             NULL); /* it may be one that never ends */
        } else if (c->state == FRN_CALL_REMOTE && all) {
            (void)frn_net_cancel(h->net, c->handle);
            frn_call_fail(h, c, c->peek ? FRANCIS_ERR_STOPPED : FRANCIS_ERR_UNKNOWN,
                          "the host has stopped before the host of the actor answered");
        }
    }
}

/* Whether calls from here are with other hosts, or on their way to them. */
static bool frn_calls_abroad(const francis_host *h)
{
    const frn_list *l;

    for (l = h->outside.next; l != &h->outside; l = l->next) {
        const frn_call *c = FRN_OF(const frn_call, owner_link, l);
        if (c->state == FRN_CALL_REMOTE || c->state == FRN_CALL_BACKOFF
            || c->state == FRN_CALL_FINDING)
            return true;
    }
    return false;
}

static void frn_drain_begin(francis_host *h)
{
    frn_log(&h->log, FRN_LOG_host_stopping, FRANCIS_OK, NULL, NULL, "the host is stopping");
    frn_timer_stop(h, &h->identity_timer);
    h->phase = FRN_HOST_DRAINING;
    frn_timer_stop(h, &h->sweep_timer);
    frn_timer_stop(h, &h->boot_timer);
    frn_timer_stop(h, &h->boot_look_timer);
    frn_timer_set(h, &h->stop_timer,
                  frn_add_time(frn_now_ns(h), frn_ms_to_ns(h->desc.stop_timeout_ms)));
    if (h->net != NULL)
        frn_net_drain(h->net);
    frn_drain_calls(h, false);
    frn_step_all(h);
    frn_commit_wake(h);
}

/* Time is up: turns that still run commit nothing. */
static void frn_stop_on_timer(francis_host *h, frn_timer *timer)
{
    size_t    i;
    frn_node *n;
    frn_list *l, *next;
    unsigned  left = 0;

    (void)timer;
    h->stop_timed_out = true;
    for (i = 0; i < h->actors.cap; i++)
        for (n = h->actors.slots[i]; n != NULL; n = n->next) {
            frn_actor *a = FRN_OF(frn_actor, node, n);
            for (l = a->holders.next; l != &a->holders; l = next) {
                next = l->next;
                left++;
                frn_turn_kill(h, FRN_OF(frn_turn, holder_link, l), FRANCIS_ERR_CANCELLED,
                              "the host has stopped before its turn ended");
            }
            frn_mailbox_fail(h, a, FRANCIS_ERR_STOPPED, false, "the host is stopping");
        }
    frn_drain_calls(h, true);
    frn_log(&h->log, FRN_LOG_stop_timed_out, FRANCIS_OK, NULL, NULL,
            "%u turns had not ended in stop_timeout_ms", left);
    frn_step_all(h);
}

/* Whether only doomed turns hold it, whose handlers do not return. */
static bool frn_actor_stuck(const frn_actor *a)
{
    const frn_list *l;

    for (l = a->holders.next; l != &a->holders; l = l->next)
        if (FRN_OF(const frn_turn, holder_link, l)->doom == FRANCIS_OK)
            return false;
    return !frn_list_empty(&a->holders);
}

/* Whether nothing is left but handlers that do not return. */
static bool frn_drained(const francis_host *h)
{
    size_t    i;
    frn_node *n;

    if (h->phase != FRN_HOST_DRAINING || h->leaving)
        return false;
    if (frn_host_empty(h))
        return !frn_calls_abroad(h);
    if (!h->stop_timed_out || !frn_list_empty(&h->queue) || h->committing || h->rejoin
        || !frn_list_empty(&h->callbacks) || h->ready_count > 0)
        return false;
    for (i = 0; i < h->actors.cap; i++)
        for (n = h->actors.slots[i]; n != NULL; n = n->next)
            if (!frn_actor_stuck(FRN_OF(const frn_actor, node, n)))
                return false;
    return true;
}

/* The last act. Lock held, given up meanwhile; what is logged leaves before anybody is told. */
static void frn_drain_end(francis_host *h)
{
    h->leaving = true;
    h->serving = false;
    frn_timer_stop(h, &h->stop_timer);
    frn_unlock(h);
    h->store->ops->leave(h->store, h->id);
    frn_log(&h->log, FRN_LOG_host_stopped, FRANCIS_OK, NULL, NULL, "the host has stopped");
    frn_log_flush(&h->log);
    frn_lock(h);
    h->phase = FRN_HOST_STOPPED;
    (void)pthread_cond_broadcast(&h->rest_cond);
}

/* Lock held, given up meanwhile. */
static void frn_identity_again(francis_host *h)
{
    char           id[FRN_UUID_SIZE], error[200];
    francis_result r;

    if (h->rejoin)
        return;                     /* it gets one when it has joined */
    memcpy(id, h->id, sizeof id);
    frn_unlock(h);
    r = frn_identity_renew(h, id, error, sizeof error);
    if (r != FRANCIS_OK)
        frn_log(&h->log, FRN_LOG_identity_failed, r, NULL, NULL, "the certificate cannot be"
                " renewed: %s; it is tried again", error);
    frn_lock(h);
    h->identity_due = h->rejoin || strcmp(id, h->id) != 0;  /* if it has another id by now */
}

/* Singletons are bootstrapped one after the other, each at most five times. */
enum { FRN_BOOT_ATTEMPTS = 5 };

static void frn_boot_next(francis_host *h)
{
    h->boot_attempts = 0;
    FRN_OF(frn_type, order, h->boot)->boot_due = false;
    h->boot = h->boot->next == &h->type_order ? NULL : h->boot->next;
    if (h->boot != NULL)
        frn_timer_set(h, &h->boot_timer, h->clock_ns);
}

static void frn_boot_failed(francis_host *h, const frn_type *type, francis_result r,
                            const char *text)
{
    if (++h->boot_attempts < FRN_BOOT_ATTEMPTS && h->phase == FRN_HOST_RUNNING) {
        frn_timer_set(h, &h->boot_timer,
                      frn_add_time(frn_now_ns(h), (int64_t)h->boot_attempts * 500 * FRN_MS));
        return;
    }
    h->stats.bootstraps_failed++;
    frn_log(&h->log, FRN_LOG_bootstrap_failed, r, type->desc.type, FRN_SINGLETON,
            "bootstrap failed %u times: %s", (unsigned)h->boot_attempts, text);
    frn_boot_next(h);
}

static void frn_boot_done(francis_host *h, frn_call *c)
{
    if (c->result == FRANCIS_OK || (h->net == NULL && c->result == FRANCIS_ERR_MOVED))
        frn_boot_next(h);           /* the host on which it lives has bootstrapped it, too */
    else
        frn_boot_failed(h, c->type, c->result, frn_call_text(c));
}

static void frn_boot_on_timer(francis_host *h, frn_timer *timer)
{
    frn_type *type = FRN_OF(frn_type, order, h->boot);
    frn_call *c;

    (void)timer;
    if (!type->boot_due) {
        frn_boot_next(h);
        return;
    }
    c = frn_call_new(h, NULL, NULL);
    if (c == NULL || (c->target = frn_buf_copy(&h->mem, FRN_SINGLETON, sizeof FRN_SINGLETON - 1))
        == NULL) {
        if (c != NULL)
            frn_call_release(h, c);
        frn_boot_failed(h, type, FRANCIS_ERR_NOMEM, "out of memory");
        return;
    }
    h->stats.calls_in_flight++;
    c->type = type;
    c->op = FRN_OP_BOOTSTRAP;
    c->run = type->desc.bootstrap;
    c->method = "";
    c->input = frn_buf_ref(type->bootstrap_input);
    c->timeout_ms = 15000;
    c->done = frn_boot_done;
    frn_call_arm(h, c);
    frn_route(h, c);
}

static void frn_boot_begin(francis_host *h)
{
    h->boot_attempts = 0;
    h->boot = frn_list_empty(&h->type_order) ? NULL : h->type_order.next;
    if (h->boot != NULL)
        frn_timer_set(h, &h->boot_timer, h->clock_ns);
}

/* When the host that had a singleton is gone, and no other one has it by now, this one bootstraps
 * it. A singleton that hibernates is left alone. */
enum { FRN_BOOT_LOOK_MS = 1000 };

/* Lock held, given up meanwhile. */
static void frn_boot_look_one(francis_host *h, frn_type *type)
{
    frn_read owner, former;
    char     id[FRN_UUID_SIZE];
    bool     gone;

    memset(&owner, 0, sizeof owner);
    memset(&former, 0, sizeof former);
    owner.kind = FRN_READ_OWNER;
    owner.type = type->desc.type;
    owner.id = FRN_SINGLETON;
    owner.with_proof = true;
    former.kind = FRN_READ_STANDING;
    former.id = type->owner;
    memcpy(id, h->id, sizeof id);
    frn_unlock(h);
    h->store->ops->read(h->store, &owner);
    if (type->owner[0] != '\0' && strcmp(owner.owner.id, type->owner) != 0
        && (owner.owner.id[0] == '\0' || strcmp(owner.owner.id, id) == 0))
        h->store->ops->read(h->store, &former);
    frn_lock(h);
    gone = owner.ended || former.result == FRANCIS_ERR_EVICTED;
    if (owner.result != FRANCIS_OK || (former.result != FRANCIS_OK && !gone))
        return;
    type->boot_due = gone;
    (void)snprintf(type->owner, sizeof type->owner, "%s", gone ? "" : owner.owner.id);
}

static void frn_boot_look(francis_host *h)
{
    frn_list *l;
    bool      due = false;

    h->boot_look_due = false;
    if (h->looking || h->rejoin || h->boot != NULL || h->phase != FRN_HOST_RUNNING)
        return;
    h->looking = true;
    for (l = h->type_order.next; l != &h->type_order; l = l->next) {
        frn_type *type = FRN_OF(frn_type, order, l);
        if (type->desc.bootstrap != NULL)
            frn_boot_look_one(h, type);
        due = due || type->boot_due;
    }
    h->looking = false;
    if (h->rejoin)
        frn_commit_wake(h);         /* it waits for us */
    if (due && h->phase == FRN_HOST_RUNNING)
        frn_boot_begin(h);
}

static void frn_boot_look_on_timer(francis_host *h, frn_timer *timer)
{
    h->boot_look_due = true;
    frn_timer_set(h, timer, frn_add_time(h->clock_ns, FRN_BOOT_LOOK_MS * FRN_MS));
}

/* At the start all singletons are due. */
static void frn_boot_all(francis_host *h)
{
    frn_list *l;
    bool      any = false;

    for (l = h->type_order.next; l != &h->type_order; l = l->next) {
        frn_type *type = FRN_OF(frn_type, order, l);
        type->boot_due = type->desc.bootstrap != NULL;
        any = any || type->boot_due;
    }
    if (any)
        frn_boot_begin(h);
    if (any && h->store->shared)
        frn_timer_set(h, &h->boot_look_timer,
                      frn_add_time(h->clock_ns, FRN_BOOT_LOOK_MS * FRN_MS));
}

/* Stop, timers. Lock held. */
static void frn_tick(francis_host *h)
{
    h->step_ns = frn_now_ns(h);
    if (frn_stop_due(h))
        frn_drain_begin(h);
    if (h->net != NULL && !h->leaving)
        h->on_net(h);
    frn_timers_run(h);
    if (h->identity_due)
        frn_identity_again(h);
    if (h->look_due)
        frn_look(h);
    if (h->boot_look_due)
        frn_boot_look(h);
    if (h->due_run_due)
        frn_due_run(h);
    if (h->hints_due)
        frn_hints_send(h);
    frn_outbox_run(h);
    if (frn_drained(h))
        frn_drain_end(h);
}

static bool frn_has_work(const francis_host *h)
{
    return h->ready_count > 0 || !frn_list_empty(&h->callbacks) || frn_stop_due(h)
        || h->due_run_due || h->look_due || frn_commit_due(h) <= h->clock_ns;
}

/* Without workers: what is due now, once. Lock held, given up meanwhile. */
static void frn_step(francis_host *h)
{
    unsigned n;

    frn_tick(h);
    for (n = 0; n < FRN_STEP_TURNS; n++) {
        frn_call *c = frn_callback_pop(h);
        frn_turn *t = c == NULL ? frn_ready_pop(h) : NULL;
        if (c != NULL)
            frn_callback_run(h, c);
        else if (t != NULL)
            frn_turn_run(h, t);
        else
            break;
        frn_outbox_run(h);
    }
    if (frn_commit_due(h) <= frn_now_ns(h))
        frn_commit_run(h);
    if (frn_drained(h))
        frn_drain_end(h);
}

static int64_t frn_loop_next(const francis_host *h)
{
    int64_t next = frn_timers_next(h), net = h->net != NULL ? frn_net_next_ns(h->net) : FRN_NEVER;

    return next < net ? next : net;
}

static int64_t frn_wait_until(const francis_host *h)    /* when a step has something to do */
{
    int64_t next = frn_loop_next(h), due = frn_commit_due(h);

    if (frn_has_work(h))
        return 0;
    return due < next ? due : next;
}

/* The same, for a host whose sockets are no descriptors: nothing else tells that it was woken. */
static int64_t frn_wait_until_woken(const francis_host *h)
{
    return h->wake_fds[0] < 0 && FRN_LOAD(&h->signalled) ? 0 : frn_wait_until(h);
}

enum { FRN_POLL_MAX = 320 };        /* descriptors: the wake-up, listeners, connections */

/* Waits for the wake descriptor, sockets or the clock. Lock held, given up meanwhile. */
static void frn_loop_wait(francis_host *h, int64_t until_ns)
{
    struct pollfd p[FRN_POLL_MAX];
    int64_t       for_ns = until_ns == FRN_NEVER ? FRN_NEVER : until_ns - frn_now_ns(h);
    bool          stepping = h->stepping, woken = h->wake_fds[0] < 0;
    int           n = woken ? 0 : 1, at = n;

    if (for_ns < 0)
        for_ns = 0;
    h->loop_until_ns = until_ns;
    h->stepping = false;            /* whoever comes meanwhile must wake us */
    frn_unlock(h);
    p[0].fd = h->wake_fds[0];
    p[0].events = POLLIN;
    p[0].revents = 0;
    if (h->net != NULL)
        n += frn_net_pollfds(h->net, p + at, FRN_POLL_MAX - at);
    (void)frn_plat_poll(&h->plat, p, n, for_ns);
    woken = woken || p[0].revents != 0;
    if (h->net != NULL)
        frn_net_step(h->net, p + at, n - at);
    frn_lock(h);
    h->net_stepped = h->net != NULL;
    h->stepping = stepping;
    h->loop_until_ns = 0;
    frn_loop_drain(h, woken);
}

/* Without workers, on behalf of a blocking call. */
static void frn_drive(francis_host *h, const frn_call *c)
{
    h->net_stepped = c->state == FRN_CALL_REMOTE;   /* to wait is to look at its socket */
    while (!frn_call_over(c)) {
        frn_step(h);
        if (!frn_call_over(c) && frn_wait_until_woken(h) > frn_now_ns(h))
            frn_loop_wait(h, frn_wait_until(h));
    }
}

static void *frn_loop_main(void *arg)
{
    francis_host *h = (francis_host *)arg;

    frn_thread_name(h->log.name, "loop");
    frn_lock(h);
    while (h->phase != FRN_HOST_STOPPED) {
        frn_tick(h);
        if (h->phase != FRN_HOST_STOPPED && !frn_stop_due(h) && !h->look_due && !h->due_run_due)
            frn_loop_wait(h, frn_loop_next(h));
    }
    frn_unlock(h);
    return NULL;
}

static void *frn_commit_main(void *arg)
{
    francis_host *h = (francis_host *)arg;
    int64_t       due;

    frn_thread_name(h->log.name, "commit");
    frn_lock(h);
    while (!h->commit_end) {
        due = frn_commit_due(h);
        if (due <= frn_now_ns(h)) {
            frn_commit_run(h);
            if (h->phase == FRN_HOST_DRAINING)
                frn_wake(h);
            continue;
        }
        h->commit_idle = true;
        frn_wait_for(h, &h->commit_cond, due == FRN_NEVER ? FRN_NEVER : due - h->clock_ns);
        h->commit_idle = false;
    }
    frn_unlock(h);
    return NULL;
}

static void *frn_worker_main(void *arg)
{
    frn_worker   *w = (frn_worker *)arg;
    francis_host *h = w->host;
    frn_turn     *t;
    frn_call     *c;

    frn_thread_name(h->log.name, "work");
    (void)pthread_setspecific(h->worker_key, w);
    frn_lock(h);
    for (;;) {
        if ((c = frn_callback_pop(h)) != NULL) {
            frn_callback_run(h, c);
        } else if ((t = frn_ready_pop(h)) != NULL) {
            frn_turn_run(h, t);
        } else if (h->workers_end || h->workers_live - h->workers_blocked
                                         > h->workers_wanted + FRN_WORKERS_SPARE) {
            break;
        } else {
            h->workers_idle++;
            frn_wait_for(h, &h->work_cond, FRN_NEVER);
            h->workers_idle--;
            continue;
        }
        frn_outbox_run(h);
        if (h->phase == FRN_HOST_DRAINING)
            frn_wake(h);
    }
    h->workers_live--;
    w->ended = true;
    (void)pthread_cond_broadcast(&h->rest_cond);
    frn_unlock(h);
    return NULL;
}

/* Threads that have ended are joined by whoever makes the next one, or closes. */
static void frn_workers_join(francis_host *h, bool all)
{
    frn_list *l, *next;

    for (l = h->workers.next; l != &h->workers; l = next) {
        frn_worker *w = FRN_OF(frn_worker, link, l);
        next = l->next;
        if (!w->ended && !all)
            continue;
        frn_list_remove(l);
        frn_unlock(h);
        (void)pthread_join(w->thread, NULL);
        frn_mem_free(&h->mem, w, sizeof *w);
        frn_lock(h);
        next = h->workers.next;
    }
}

static francis_result frn_worker_start(francis_host *h)
{
    frn_worker *w;

    frn_workers_join(h, false);
    w = (frn_worker *)frn_mem_alloc(&h->mem, sizeof *w);
    if (w == NULL)
        return FRANCIS_ERR_NOMEM;
    w->host = h;
    if (!frn_thread_start(&w->thread, frn_worker_main, w)) {
        frn_mem_free(&h->mem, w, sizeof *w);
        return FRANCIS_ERR_INTERNAL;
    }
    frn_list_push(&h->workers, &w->link);
    h->workers_live++;
    return FRANCIS_OK;
}

/* A worker is about to wait for a call. There must be another one for what it waits for, so if none
 * can be had it may not. Lock held, given up meanwhile. */
static bool frn_block_begin(francis_host *h)
{
    if (h->workers_blocked >= h->desc.blocked_max)
        return false;
    h->workers_blocked++;
    h->stats.threads_blocked = h->workers_blocked;
    if (h->workers_live - h->workers_blocked < h->workers_wanted
        && frn_worker_start(h) != FRANCIS_OK && h->workers_live <= h->workers_blocked) {
        h->workers_blocked--;
        return false;
    }
    return true;
}

static void frn_block_end(francis_host *h)
{
    h->workers_blocked--;
    h->stats.threads_blocked = h->workers_blocked;
    if (h->workers_idle > 0
        && h->workers_live - h->workers_blocked > h->workers_wanted + FRN_WORKERS_SPARE)
        (void)pthread_cond_signal(&h->work_cond);   /* there is one too many now */
}

// >> 700 submit | needs: 690
//    A call on its way in: checked, copied, sent; and the ways to wait for it.

typedef struct frn_number {         /* an option that is a number, and what it may be */
    const char *name;
    int64_t     value, min, max;
} frn_number;

/* The first number that is out of bounds; NULL = none. */
static const frn_number *frn_numbers_fault(const frn_number *n, size_t count)
{
    size_t i;
    for (i = 0; i < count; i++)
        if (n[i].value < n[i].min || n[i].value > n[i].max)
            return &n[i];
    return NULL;
}

typedef struct frn_spec {           /* what is asked for; borrowed */
    const char     *type, *id, *method;
    const void     *data;
    size_t          size;
    frn_op          op;
    bool            peek, one_way, streams;
    bool            foreign;        /* another host asks: what is not served here is not served */
    frn_buf        *input;          /* holds data, if it is shared */
    int64_t         expire_ms;
    const frn_type *found;          /* filled in by frn_spec_check */
    francis_handler run;
    const char     *known_method;   /* of the type's table; NULL = a catch-all has it */
} frn_spec;

/* An error in words that live as long as the call that brings them. */
static francis_result frn_refuse_call(francis_host *h, frn_turn *owner, francis_call *user,
                                      francis_result r, const char *format, ...)
    FRANCIS_PRINTF(5, 6);

static francis_result frn_refuse_call(francis_host *h, frn_turn *owner, francis_call *user,
                                      francis_result r, const char *format, ...)
{
    va_list   args;
    frn_buf  *text;
    frn_call *c;

    h->stats.calls_refused++;
    if (user == NULL)
        return r;
    (void)frn_user_set(user, r, NULL);
    va_start(args, format);
    text = frn_buf_format(&h->mem, format, args);
    va_end(args);
    c = text != NULL ? frn_call_new(h, owner, user) : NULL;
    if (c == NULL) {
        frn_buf_drop(&h->mem, text);
        return r;
    }
    c->state = FRN_CALL_DONE;
    c->result = r;
    c->error = text;
    frn_call_publish(c);
    return r;
}

/* The actor whose turn it is, if neither type nor id is given. false = only one of them is. */
static bool frn_spec_self(francis_ctx *ctx, const char **type, const char **id)
{
    if (*type == NULL && *id == NULL && FRN_IN_TURN(ctx)) {
        *type = ctx->type;
        *id = ctx->id;
    }
    return *type != NULL && *id != NULL;
}

/* What is wrong with the names of a call, and with which of them; NULL = nothing. */
static const char *frn_names_fault(const char *type, const char *id, const char *method,
                                   const char **what)
{
    const char *fault = frn_name_fault(type);

    *what = "type";
    if (fault == NULL) {
        *what = "id";
        fault = frn_name_fault(id);
    }
    if (fault == NULL && method != NULL) {
        *what = "method";
        fault = frn_name_fault(method);
    }
    return fault;
}

static francis_result frn_spec_method(francis_host *h, frn_turn *owner, francis_call *user,
                                      frn_spec *s)
{
    const francis_actor_desc *d = &s->found->desc;
    const francis_method     *m = NULL;
    francis_handler           any = s->streams ? (s->peek ? d->peek_stream : d->stream)
                                               : s->peek ? d->peek : d->invoke;

    if (!s->peek)
        m = frn_method_find(s->found, s->method, s->streams ? FRANCIS_STREAM : FRANCIS_INVOKE);
    if (m == NULL)
        m = frn_method_find(s->found, s->method, s->streams ? FRANCIS_PEEK_STREAM : FRANCIS_PEEK);
    if (m != NULL && m->input_size != 0 && m->input_size != s->size)
        return frn_refuse_call(h, owner, user, FRANCIS_ERR_BAD_INPUT, "method '%s' of %s takes %lu"
                               " bytes, not %lu", s->method, d->type, (unsigned long)m->input_size,
                               (unsigned long)s->size);
    if (m == NULL && frn_name_fault(s->method) != NULL)
        return frn_refuse_call(h, owner, user, FRANCIS_ERR_INVALID, "the method %s",
                               frn_name_fault(s->method));
    s->run = m != NULL ? m->run : any;
    s->known_method = m != NULL ? m->name : NULL;
    if (s->run == NULL)
        return frn_refuse_call(h, owner, user, FRANCIS_ERR_UNKNOWN_METHOD, "type %s has no %s%s"
                               " method '%s'", d->type, s->peek ? "peek" : "invoke",
                               s->streams ? " stream" : "", s->method);
    return FRANCIS_OK;
}

/* Everything that can be said of a call without looking at its actor. */
static francis_result frn_spec_check(francis_host *h, frn_turn *owner, francis_call *user,
                                     frn_spec *s)
{
    size_t      max = s->op == FRN_OP_PUT ? h->desc.state_bytes_max : h->desc.message_bytes_max;
    const char *what = "id", *fault;

    s->found = frn_type_find(h, s->type);
    fault = s->found != NULL ? frn_name_fault(s->id)        /* a type that is found has a name */
                             : frn_names_fault(s->type, s->id, s->method, &what);
    if (fault != NULL)
        return frn_refuse_call(h, owner, user, FRANCIS_ERR_INVALID, "the %s %s", what, fault);
    if (s->found == NULL && frn_name_reserved(s->type))
        return frn_refuse_call(h, owner, user, FRANCIS_ERR_RESERVED, "type '%s' is francis's own",
                               s->type);
    if (user != NULL && user->timeout_ms < FRANCIS_FOREVER)
        return frn_refuse_call(h, owner, user, FRANCIS_ERR_INVALID, "timeout_ms is %lld",
                               (long long)user->timeout_ms);
    if (user != NULL && user->request_id != NULL
        && (fault = frn_name_fault(user->request_id)) != NULL)
        return frn_refuse_call(h, owner, user, FRANCIS_ERR_INVALID, "the request_id %s", fault);
    if (user != NULL && user->trace != NULL && strlen(user->trace) >= FRANCIS_NAME_SIZE)
        return frn_refuse_call(h, owner, user, FRANCIS_ERR_INVALID, "the trace has %lu bytes, not"
                               " at most 255", (unsigned long)strlen(user->trace));
    if (s->size > 0 && s->data == NULL)
        return frn_refuse_call(h, owner, user, FRANCIS_ERR_INVALID, "data is NULL, its size %lu",
                               (unsigned long)s->size);
    if (s->size > max)
        return frn_refuse_call(h, owner, user, FRANCIS_ERR_TOO_LARGE, "%lu bytes; %s is %lu",
                               (unsigned long)s->size, s->op == FRN_OP_PUT ? "state_bytes_max"
                                                                          : "message_bytes_max",
                               (unsigned long)max);
    if (s->op == FRN_OP_PUT && s->found != NULL && s->found->desc.state_size > 0
        && s->size > s->found->desc.state_size)
        return frn_refuse_call(h, owner, user, FRANCIS_ERR_TOO_LARGE, "%lu bytes; the state_size of"
                               " %s is %lu", (unsigned long)s->size, s->type,
                               (unsigned long)s->found->desc.state_size);
    if (s->found == NULL)
        return s->op == FRN_OP_PUT || s->op == FRN_OP_PURGE
                || (!s->foreign && frn_cluster_serves(h, s->type)) ? FRANCIS_OK
            : frn_refuse_call(h, owner, user, FRANCIS_ERR_UNKNOWN_TYPE, "no host serves the type"
                              " '%s'", s->type);
    if (s->found->desc.singleton && strcmp(s->id, FRN_SINGLETON) != 0)
        return frn_refuse_call(h, owner, user, FRANCIS_ERR_INVALID, "%s is a singleton; its id is"
                               " '" FRN_SINGLETON "', not '%s'", s->type, s->id);
    return s->op == FRN_OP_METHOD ? frn_spec_method(h, owner, user, s) : FRANCIS_OK;
}

/* Whether the host takes calls from here. A turn that runs may call until it ends. */
static francis_result frn_host_takes(francis_host *h, frn_turn *owner, francis_call *user)
{
    if (owner != NULL && owner->doom != FRANCIS_OK)
        return frn_refuse_call(h, owner, user, owner->doom, "the turn that calls has failed");
    if ((h->phase == FRN_HOST_RUNNING && (owner != NULL || FRN_LOAD(&h->stop_asked) == 0))
        || (h->phase == FRN_HOST_DRAINING && owner != NULL))
        return FRANCIS_OK;
    if (h->phase == FRN_HOST_OPEN)
        return frn_refuse_call(h, owner, user, FRANCIS_ERR_USAGE, "the host is not started");
    return frn_refuse_call(h, owner, user, FRANCIS_ERR_STOPPED, "the host %s",
                           h->phase == FRN_HOST_STOPPED ? "has stopped" : "is stopping");
}

/* Frees what the struct brought the last time. */
static francis_result frn_user_reset(francis_host *h, francis_call *user)
{
    frn_call *c;

    if (user == NULL)
        return FRANCIS_OK;
    c = frn_user_call(h, user);
    if (c != NULL && (!frn_call_over(c) || c->state == FRN_CALL_CALLBACK))
        return FRANCIS_ERR_USAGE;       /* under way: it must be left alone */
    if (c != NULL)
        frn_call_release(h, c);
    frn_user_clear(user);
    return FRANCIS_OK;
}

static frn_chain *frn_turn_chain(francis_host *h, frn_turn *t)
{
    if (t->chain == NULL)
        t->chain = frn_chain_new(h, t->chain_in, t->ctx.type, t->ctx.id, t->number);
    return t->chain;
}

/* How long a call may take: its own time, cut at what the turn has left. */
static void frn_call_set_time(francis_host *h, frn_call *c, const francis_call *user, frn_turn *t)
{
    int64_t want = user != NULL ? user->timeout_ms : 0, left;

    if (t != NULL && t->deadline_ns == FRN_NEVER && t->ctx.timeout_ms != FRANCIS_FOREVER)
        t->deadline_ns = frn_add_time(frn_now_ns(h), frn_ms_to_ns(t->ctx.timeout_ms));
    c->timeout_ms = want != 0 ? want : t != NULL ? (int64_t)FRANCIS_FOREVER : h->desc.timeout_ms;
    if (t == NULL || t->deadline_ns == FRN_NEVER)
        return;
    left = (t->deadline_ns - frn_now_ns(h) + FRN_MS - 1) / FRN_MS;
    left = left < 0 ? 0 : left;
    if (c->timeout_ms == FRANCIS_FOREVER || left <= c->timeout_ms) {
        c->timeout_ms = left;
        c->deadline_ns = t->deadline_ns;
    }
}

/* Copies all that the call needs for longer than its caller's stack. */
static bool frn_call_copy(francis_host *h, frn_call *c, const frn_spec *s, const francis_call *user)
{
    const char *trace = user != NULL && user->trace != NULL ? user->trace
                      : c->owner != NULL ? c->owner->ctx.trace : "";
    bool        ok = true;

    if (s->input != NULL)
        c->input = frn_buf_ref(s->input);
    else if (s->data != NULL)
        ok = (c->input = frn_buf_copy(&h->mem, s->data, s->size)) != NULL;
    if (ok && s->known_method == NULL && s->method != NULL)
        ok = (c->method_copy = frn_buf_text(&h->mem, s->method)) != NULL;
    c->method = s->known_method != NULL ? s->known_method
              : c->method_copy != NULL ? (const char *)FRN_BYTES(c->method_copy) : "";
    if (ok && user != NULL && user->request_id != NULL && !s->peek)
        ok = (c->request_id = frn_buf_text(&h->mem, user->request_id)) != NULL;
    if (ok && trace[0] != '\0')
        ok = (c->trace = frn_buf_text(&h->mem, trace)) != NULL;
    if (ok && c->request_id != NULL)
        c->hash = frn_hash(frn_hash((uint64_t)s->op, c->method, strlen(c->method)), s->data,
                           s->size);
    return ok;
}

/* Makes the record. NULL = refused, *r says why. */
static frn_call *frn_call_make(francis_host *h, frn_turn *owner, francis_call *user,
                               const frn_spec *s, francis_result *r)
{
    frn_chain *chain = owner != NULL ? frn_turn_chain(h, owner) : NULL;
    frn_call  *c = NULL;

    *r = FRANCIS_OK;
    if (chain != NULL && chain->depth >= FRANCIS_CHAIN_MAX)
        *r = frn_refuse_call(h, owner, user, FRANCIS_ERR_BUSY, "the chain of calls is %u deep;"
                             " FRANCIS_CHAIN_MAX is %d", (unsigned)chain->depth, FRANCIS_CHAIN_MAX);
    else if (h->stats.calls_in_flight >= h->desc.calls_max)
        *r = frn_refuse_call(h, owner, user, FRANCIS_ERR_BUSY, "%u calls are in flight, calls_max",
                             (unsigned)h->desc.calls_max);
    else if ((owner != NULL && chain == NULL)
             || (c = frn_call_new(h, s->one_way ? NULL : owner, s->one_way ? NULL : user)) == NULL)
        *r = frn_user_set(user, FRANCIS_ERR_NOMEM, NULL);
    if (c == NULL)
        return NULL;
    c->type = (frn_type *)(uintptr_t)s->found;
    c->op = s->op;
    c->peek = s->peek;
    c->one_way = s->one_way;
    c->streams = s->streams;
    c->run = s->run;
    c->expire_ms = s->expire_ms;
    c->active_only = user != NULL && user->active_only;
    c->chain = chain;
    if (chain != NULL)
        chain->refs++;
    frn_call_set_time(h, c, user, owner);
    if (frn_call_copy(h, c, s, user))
        return c;
    frn_call_release(h, c);
    *r = frn_user_set(user, FRANCIS_ERR_NOMEM, NULL);
    return NULL;
}

enum { FRN_INLINE_MS = 10000 };

/* Whether its turn may run right here, on the thread that calls. */
static frn_turn *frn_call_inline(francis_host *h, frn_call *c, const frn_spec *s, bool allowed)
{
    frn_actor *a;
    frn_turn  *t;

    if (!allowed || c->op == FRN_OP_HALT || c->request_id != NULL || c->chain != NULL || c->streams)
        return NULL;
    a = frn_actor_find(h, c->type, s->id);
    if (a == NULL || a->phase != FRN_PHASE_ACTIVE || a->halting || !frn_list_empty(&a->mailbox)
        || !frn_actor_free_for(a, !c->peek))
        return NULL;
    h->stats.calls_local++;
    if (c->timeout_ms < FRN_INLINE_MS && c->timeout_ms != FRANCIS_FOREVER)
        frn_call_arm(h, c);         /* a longer time is not looked at before it has to wait */
    t = frn_call_begin(h, a, c);
    if (t != NULL)
        t->inline_run = true;
    return t;
}

/* Sends the call: at once, or out of a turn behind what that actor has sealed. */
static void frn_call_send(francis_host *h, frn_call *c, const frn_spec *s, frn_turn *t)
{
    frn_list *gate;

    if (!c->one_way)
        frn_call_arm(h, c);
    c->target = s->found != NULL ? frn_buf_text(&h->mem, s->id) : frn_key_new(h, s->type, s->id);
    if (c->target == NULL) {
        frn_buf_drop(&h->mem, c->request_id);
        c->request_id = NULL;       /* it cannot be tried again either */
        frn_call_fail(h, c, FRANCIS_ERR_NOMEM, "no memory for the call");
        return;
    }
    gate = t != NULL && (s->found != NULL || h->net != NULL) ? frn_gate_of(h, t->actor) : NULL;
    if (gate != NULL)
        frn_gate_wait(gate, c, FRN_CALL_HELD);
    else
        frn_route(h, c);
    frn_find_run(h);                /* here and now rather than by a thread that has to be woken */
}

/* Why the calling thread cannot wait here; NULL = it can. */
static const char *frn_cannot_wait(const francis_host *h, const frn_turn *t)
{
    if (!h->threads && t != NULL)
        return "without workers a turn cannot wait for a call; make it .async and use"
               " francis_await";
    if (!h->threads && h->stepping)
        return "nobody may wait inside francis_poll; make the call .async";
    if (!h->threads && !pthread_equal(h->owner, pthread_self()))
        return "without workers only the thread that polls can wait; make the call .async";
    if (t != NULL && t->in_callback)
        return "nobody may wait inside a callback; make the call .async";
    if (t != NULL && t->inline_run)
        return "a turn of a nonblocking type cannot wait; make the call .async and use"
               " francis_await";
    if (h->threads && t == NULL && pthread_getspecific(h->worker_key) != NULL)
        return "a handler waits with its own ctx, and a callback not at all; make the call .async";
    return NULL;
}

/* Waits on a condition variable of its own. Lock held. */
static void frn_wait_over(francis_host *h, frn_turn *t, frn_call *c)
{
    frn_waiter *w = frn_waiter_get(h);

    c->cond = w != NULL ? &w->cond : NULL;      /* without one: look every millisecond */
    while (!frn_call_over(c) && (t == NULL || t->doom == FRANCIS_OK))
        frn_wait_for(h, w != NULL ? &w->cond : &h->rest_cond, w != NULL ? FRN_NEVER : FRN_MS);
    c->cond = NULL;
    if (w != NULL)
        frn_list_push(&h->waiters_free, &w->link);
}

/* Waits as this thread can. Lock held, given up meanwhile. */
static void frn_call_wait(francis_host *h, frn_turn *t, frn_call *c)
{
    if (h->net != NULL)
        frn_net_flush(h->net);      /* what waits for others to share a record */
    if (h->threads) {
        frn_wait_over(h, t, c);
        return;
    }
    h->stepping = true;
    frn_drive(h, c);
    h->stepping = false;
}

/* After a blocking call without workers: francis_poll and its descriptor know what is left. */
static void frn_after_blocking(francis_host *h)
{
    if (h->threads || h->stepping)
        return;
    if (frn_has_work(h))
        frn_wake(h);
    if (h->polled_by_fd)
        frn_loop_arm(h, frn_wait_until(h));
}

/* The answer of a call that somebody has waited for, brought to him. */
static francis_result frn_call_take(francis_host *h, frn_turn *t, frn_call *c)
{
    francis_call  *user = c->user;
    francis_result r;

    if (t != NULL && !frn_call_over(c)) {       /* the turn that waited has failed meanwhile */
        r = t->doom;
        frn_call_cancel(h, c);
        return frn_user_set(user, r, "the turn that waits has failed");
    }
    c->held = false;
    r = c->result;
    frn_call_publish(c);
    if (user == NULL || (c->reply == NULL && c->error == NULL)) {
        frn_call_release(h, c);
        if (user != NULL)
            memset(user->internal, 0, sizeof user->internal);
    }
    return r;
}

static francis_result frn_submit_async(francis_host *h, frn_turn *t, francis_call *user,
                                       frn_call *c, const frn_spec *s)
{
    uint64_t handle = c->handle;

    c->on_done = user->on_done != NULL;
    c->unawaited = true;
    c->waiting = t != NULL;
    if (t != NULL)
        t->outstanding++;
    user->result = FRANCIS_PENDING;
    c->held = true;                 /* until it is known whether it fails at once */
    frn_call_send(h, c, s, t);
    c = frn_call_find(h, handle);
    if (c == NULL)
        return FRANCIS_ERR_INTERNAL;
    c->held = false;
    if (!frn_call_over(c))
        return FRANCIS_PENDING;
    c->on_done = false;
    c->state = FRN_CALL_DONE;
    frn_list_remove(&c->link);
    return frn_call_take(h, t, c);
}

static francis_result frn_submit_sync(francis_host *h, frn_turn *t, francis_call *user,
                                      frn_call *c, const frn_spec *s)
{
    bool      inline_ok = s->found != NULL && (!h->threads || s->found->desc.nonblocking);
    bool      blocks = h->threads && t != NULL, stepped = h->stepping;
    frn_turn *turn;

    c->held = true;
    h->stepping = h->stepping || !h->threads;   /* it needs no wake-up from itself */
    turn = frn_call_inline(h, c, s, inline_ok);
    if (turn != NULL) {
        frn_turn_run(h, turn);
        frn_outbox_run(h);
    } else if (blocks && !frn_block_begin(h)) {
        h->stats.calls_in_flight--;
        frn_call_release(h, c);
        return frn_refuse_call(h, t, user, FRANCIS_ERR_BUSY, "%u turns wait for calls already,"
                               " blocked_max; make the call .async and use francis_await",
                               (unsigned)h->workers_blocked);
    } else if (c->state == FRN_CALL_NEW) {
        frn_call_send(h, c, s, t);
    }
    if (!frn_call_over(c)) {
        frn_call_arm(h, c);
        frn_call_wait(h, t, c);
    }
    if (blocks && turn == NULL)
        frn_block_end(h);
    h->stepping = stepped;
    return frn_call_take(h, t, c);
}

static bool frn_is_async(const francis_call *user)
{
    return user != NULL && (user->async || user->on_done != NULL);
}

/* Refuses what cannot be, before anything is made. Lock held. */
static francis_result frn_submit_check(francis_host *h, frn_turn *t, francis_call *user)
{
    const char    *why;
    francis_result r;

    if (frn_user_reset(h, user) != FRANCIS_OK)
        return FRANCIS_ERR_USAGE;
    r = frn_host_takes(h, t, user);
    if (r != FRANCIS_OK || frn_is_async(user))
        return r;
    why = frn_cannot_wait(h, t);
    return why == NULL ? FRANCIS_OK
                       : frn_refuse_call(h, t, user, FRANCIS_ERR_WOULD_BLOCK, "%s", why);
}

/* The way of every call to an actor. */
static francis_result frn_submit(francis_ctx *ctx, frn_spec *s, francis_call *user)
{
    francis_host  *h = ctx->host;
    frn_turn      *t = FRN_IN_TURN(ctx) ? FRN_TURN(ctx) : NULL;
    frn_call      *c;
    francis_result r;

    if (frn_forked(h))
        return frn_user_set(user, FRANCIS_ERR_USAGE, "the host belongs to the parent process");
    frn_lock(h);
    r = frn_submit_check(h, t, user);
    if (r == FRANCIS_OK && !frn_spec_self(ctx, &s->type, &s->id))
        r = frn_refuse_call(h, t, user, FRANCIS_ERR_INVALID, "type and id are needed");
    if (r == FRANCIS_OK)
        r = frn_spec_check(h, t, user, s);
    c = r == FRANCIS_OK ? frn_call_make(h, t, user, s, &r) : NULL;
    if (c != NULL) {
        h->stats.calls_in_flight++;
        r = frn_is_async(user) ? frn_submit_async(h, t, user, c, s)
                               : frn_submit_sync(h, t, user, c, s);
        frn_after_blocking(h);
    }
    frn_unlock(h);
    return r;
}

// >> 760 serve | needs: 700
//    Calls of other hosts: checked like our own, run here or not at all, and answered with where
//    the actor is if it is not here.

static francis_result frn_state_put_run(francis_ctx *ctx);      /* 820 */
static francis_result frn_purge_run(francis_ctx *ctx);

typedef struct frn_head {           /* of a call; see 668 */
    uint64_t  version, op, flags;
    int64_t   left_ms, expire_ms;
    char      host[64], type[FRANCIS_NAME_SIZE], id[FRANCIS_NAME_SIZE], method[FRANCIS_NAME_SIZE];
    char      request_id[FRANCIS_NAME_SIZE], trace[FRANCIS_NAME_SIZE];
    frn_chain *chain;
    bool      streams;
    int64_t   input_size;           /* of a stream; -1 = no input */
    uint64_t  bytes_max;
    char      content_type[FRANCIS_TYPE_MAX + 1];
} frn_head;

/* The first entry is the caller, the last the turn where it all began: made from behind. */
static bool frn_head_chain(francis_host *h, frn_unpack *u, frn_head *out)
{
    size_t     n = frn_unpack_array(u, FRANCIS_CHAIN_MAX), i;
    frn_unpack starts[FRANCIS_CHAIN_MAX];
    char       type[FRANCIS_NAME_SIZE], id[FRANCIS_NAME_SIZE];
    frn_chain *c;

    for (i = 0; i < n; i++) {
        starts[i] = *u;
        u->bad = u->bad || frn_unpack_array(u, 64) < 3;
        frn_unpack_text(u, type, sizeof type);
        frn_unpack_text(u, id, sizeof id);
        (void)frn_unpack_uint(u);
    }
    while (!u->bad && i > 0) {
        frn_unpack at = starts[--i];
        uint64_t   turn;
        (void)frn_unpack_array(&at, 64);
        frn_unpack_text(&at, type, sizeof type);
        frn_unpack_text(&at, id, sizeof id);
        turn = frn_unpack_uint(&at);
        c = frn_chain_new(h, out->chain, type, id, turn);
        if (c == NULL)
            return false;
        frn_chain_drop(h, out->chain);      /* the new one holds it */
        out->chain = c;
    }
    return true;
}

static francis_result frn_head_unpack(francis_host *h, const frn_buf *head, frn_head *out)
{
    frn_unpack u;
    size_t     items;

    memset(out, 0, sizeof *out);
    if (head == NULL)
        return FRANCIS_ERR_INVALID;
    u.at = (const unsigned char *)FRN_BYTES(head);
    u.end = u.at + head->size;
    u.bad = false;
    items = frn_unpack_array(&u, 64);
    u.bad = items < 12;
    out->version = frn_unpack_uint(&u);
    out->op = frn_unpack_uint(&u);
    out->flags = frn_unpack_uint(&u);
    frn_unpack_text(&u, out->host, sizeof out->host);
    frn_unpack_text(&u, out->type, sizeof out->type);
    frn_unpack_text(&u, out->id, sizeof out->id);
    frn_unpack_text(&u, out->method, sizeof out->method);
    out->left_ms = frn_unpack_int(&u);
    frn_unpack_text(&u, out->request_id, sizeof out->request_id);
    frn_unpack_text(&u, out->trace, sizeof out->trace);
    out->expire_ms = frn_unpack_int(&u);
    if (!frn_head_chain(h, &u, out))
        return FRANCIS_ERR_NOMEM;
    out->streams = !u.bad && items >= 15;
    if (out->streams) {
        out->input_size = frn_unpack_int(&u);
        frn_unpack_text(&u, out->content_type, sizeof out->content_type);
        out->bytes_max = frn_unpack_uint(&u);
    }
    if (u.bad || out->version < FRN_HEAD_VERSION
        || out->op >= FRN_OP_WIRE_END || out->left_ms < FRANCIS_FOREVER || out->expire_ms < 0)
        return FRANCIS_ERR_INVALID;
    return FRANCIS_OK;
}

static void frn_serve_answer(francis_host *h, uint64_t token, francis_result r, bool from_handler,
                             const char *text, const frn_buf *owner, frn_buf *body)
{
    frn_buf *head = frn_answer_pack(h, r, from_handler, text, owner, NULL);

    frn_net_answer(h->net, token, head, body);  /* without a head: refused, for want of memory */
    frn_buf_drop(&h->mem, head);
}

static void frn_serve_done(francis_host *h, frn_call *c)
{
    if (c->token != 0)
        frn_serve_answer(h, c->token, c->result, c->from_handler, frn_call_text(c), c->owner_host,
                         c->reply);
}

/* Refused before it became a call: the words are in user. */
static void frn_serve_refuse(francis_host *h, uint64_t token, francis_result r, francis_call *user)
{
    frn_serve_answer(h, token, r, false, user->error != NULL ? user->error : francis_strerror(r),
                     NULL, NULL);
    (void)frn_user_reset(h, user);
}

static void frn_serve_spec(const frn_head *head, frn_buf *input, frn_spec *s, francis_call *user)
{
    memset(s, 0, sizeof *s);
    s->type = head->type;
    s->id = head->id;
    s->method = head->op == FRN_OP_METHOD ? head->method : NULL;
    s->input = input;
    s->data = input != NULL ? FRN_BYTES(input) : NULL;
    s->size = input != NULL ? input->size : 0;
    s->op = (frn_op)head->op;
    s->peek = (head->flags & FRN_WIRE_PEEK) != 0;
    s->one_way = (head->flags & FRN_WIRE_ONE_WAY) != 0 && !head->streams;
    s->streams = head->streams;
    s->expire_ms = head->expire_ms;
    s->foreign = true;
    s->run = s->op == FRN_OP_PUT ? frn_state_put_run : s->op == FRN_OP_PURGE ? frn_purge_run : NULL;
    user->request_id = head->request_id[0] != '\0' && !head->streams ? head->request_id : NULL;
    user->trace = head->trace;
    user->active_only = (head->flags & FRN_WIRE_ACTIVE_ONLY) != 0;
    user->timeout_ms = head->left_ms != 0 ? head->left_ms : 1;
}

/* The record of what another host asks for. NULL = refused, *r says why, user has the words. */
static frn_call *frn_serve_make(francis_host *h, frn_head *head, frn_spec *s, francis_call *user,
                                francis_result *r)
{
    frn_call *c;

    *r = frn_host_takes(h, NULL, user);
    if (*r == FRANCIS_OK)
        *r = frn_spec_check(h, NULL, user, s);
    if (*r == FRANCIS_OK && s->op == FRN_OP_BOOTSTRAP
        && (s->run = s->found->desc.bootstrap) == NULL)
        *r = frn_refuse_call(h, NULL, user, FRANCIS_ERR_UNKNOWN_METHOD, "%s is not bootstrapped"
                             " here", s->type);
    c = *r == FRANCIS_OK ? frn_call_make(h, NULL, user, s, r) : NULL;
    if (c == NULL)
        return NULL;
    h->stats.calls_in_flight++;
    h->stats.calls_in++;
    c->user = NULL;
    c->foreign = true;
    c->chain = head->chain;
    head->chain = NULL;
    return c;
}

static void frn_serve_call(francis_host *h, const frn_net_event *e, frn_head *head)
{
    francis_call   user;
    frn_spec       s;
    frn_call      *c;
    frn_turn      *t;
    francis_result r;

    memset(&user, 0, sizeof user);
    frn_serve_spec(head, e->body, &s, &user);
    c = frn_serve_make(h, head, &s, &user, &r);
    if (c == NULL) {
        frn_serve_refuse(h, e->handle, r, &user);
        return;
    }
    c->token = s.one_way ? 0 : e->handle;
    c->done = frn_serve_done;
    if (s.one_way)
        frn_serve_answer(h, e->handle, FRANCIS_OK, false, "", NULL, NULL);
    t = frn_call_inline(h, c, &s, s.op == FRN_OP_METHOD && s.found != NULL
                                      && (!h->threads || s.found->desc.nonblocking));
    if (t != NULL)
        frn_turn_run(h, t);
    else if (c->state == FRN_CALL_NEW)
        frn_call_send(h, c, &s, NULL);
}

static void frn_serve_word(francis_host *h, uint64_t token, const frn_head *head)
{
    if (head->op == FRN_OP_HELLO)
        h->look_due = true;
    else
        frn_due_hinted(h, head->type, head->id, head->method);
    frn_serve_answer(h, token, FRANCIS_OK, false, "", NULL, NULL);
}

static void frn_serve(francis_host *h, frn_net_event *e)
{
    frn_head       head;
    francis_result r = frn_head_unpack(h, e->head, &head);

    if (r != FRANCIS_OK)
        frn_serve_answer(h, e->handle, r, false, "the head of the call is malformed", NULL, NULL);
    else if (head.op == FRN_OP_HELLO || head.op == FRN_OP_HINT)
        frn_serve_word(h, e->handle, &head);
    else if (strcmp(head.host, h->id) != 0)
        frn_serve_answer(h, e->handle, FRANCIS_ERR_MOVED, false, "it was meant for another host",
                         NULL, NULL);
    else
        frn_serve_call(h, e, &head);
    frn_chain_drop(h, head.chain);
}

/* The caller does not wait any more. */
static void frn_serve_cancelled(francis_host *h, uint64_t token)
{
    frn_list *l;

    for (l = h->outside.next; l != &h->outside; l = l->next) {
        frn_call *c = FRN_OF(frn_call, owner_link, l);
        if (c->foreign && c->token == token) {
            c->token = 0;
            frn_call_cancel(h, c);
            return;
        }
    }
}

// >> 765 serve.stream | needs: 760
//    Streams that other hosts have opened, and what they say of ours.

/* The turn is asked for. May free the end. */
static void frn_serve_stream_begin(francis_host *h, francis_stream *s)
{
    francis_call   user;
    frn_head       head;
    frn_spec       spec;
    frn_call      *c = NULL;
    francis_result r = frn_head_unpack(h, s->opening, &head);

    memset(&user, 0, sizeof user);
    frn_buf_drop(&h->mem, s->opening);
    s->opening = NULL;
    if (r == FRANCIS_OK) {
        frn_serve_spec(&head, s->input, &spec, &user);
        c = frn_serve_make(h, &head, &spec, &user, &r);
    }
    frn_chain_drop(h, head.chain);
    if (c == NULL) {
        frn_stream_break(h, s, r, false, user.error != NULL ? user.error : francis_strerror(r),
                         NULL);
        (void)frn_user_reset(h, &user);
        return;
    }
    frn_buf_drop(&h->mem, s->input);
    s->input = NULL;
    c->stream = s;
    c->done = frn_stream_on_done;
    s->call = c->handle;
    frn_call_send(h, c, &spec, NULL);
}

/* The input is whole: it leaves .in, and the turn may be asked for. May free the end. */
static void frn_serve_stream_whole(francis_host *h, francis_stream *s)
{
    s->input = frn_buf_new(&h->mem, s->input_size);
    if (s->input == NULL) {
        frn_stream_break(h, s, FRANCIS_ERR_NOMEM, false, "out of memory", NULL);
        return;
    }
    (void)frn_bytes_take(h, &s->in, FRN_BYTES(s->input), s->input_size);
    frn_serve_stream_begin(h, s);
}

/* What is wrong with the head of a stream; NULL = nothing. */
static const char *frn_serve_stream_fault(const francis_host *h, const frn_head *head)
{
    if (!head->streams || head->op != FRN_OP_METHOD || head->input_size < -1)
        return "the head of the stream is malformed";
    return head->input_size > (int64_t)h->desc.message_bytes_max
               ? "its input is larger than message_bytes_max" : NULL;
}

static void frn_serve_stream_open(francis_host *h, const frn_net_event *e, const frn_head *head)
{
    francis_stream *s = frn_stream_new(h, false);

    if (s == NULL) {
        frn_net_stream_reset(h->net, e->handle, FRANCIS_ERR_NOMEM, NULL);
        return;
    }
    s->lane = e->handle;
    s->opening = frn_buf_ref(e->head);
    s->bytes_max = head->bytes_max;
    s->type_in = frn_buf_text(&h->mem, head->content_type);
    s->input_size = head->input_size > 0 ? (size_t)head->input_size : 0;
    s->mapped = frn_map_add(&h->mem, &h->streams, &s->node, frn_stream_hash(h, s->lane));
    if (!s->mapped)
        frn_stream_break(h, s, FRANCIS_ERR_NOMEM, false, "out of memory", NULL);
    else if (h->stats.streams > h->desc.streams_max)
        frn_stream_break(h, s, FRANCIS_ERR_BUSY, false, "the host has streams_max streams", NULL);
    else if (head->input_size == 0)
        frn_serve_stream_whole(h, s);
    else if (head->input_size < 0)
        frn_serve_stream_begin(h, s);
}

static void frn_serve_stream(francis_host *h, const frn_net_event *e)
{
    frn_head       head;
    francis_result r = frn_head_unpack(h, e->head, &head);
    const char    *fault = r != FRANCIS_OK ? "the head of the stream is malformed"
                                           : frn_serve_stream_fault(h, &head);
    frn_buf       *answer;

    frn_chain_drop(h, head.chain);
    if (fault == NULL && strcmp(head.host, h->id) != 0) {
        fault = "it was meant for another host";
        r = FRANCIS_ERR_MOVED;
    }
    if (fault == NULL) {
        frn_serve_stream_open(h, e, &head);
        return;
    }
    answer = frn_answer_pack(h, r != FRANCIS_OK ? r : (francis_result)FRANCIS_ERR_INVALID, false,
                             fault, NULL, NULL);
    frn_net_stream_head(h->net, e->handle, answer);
    frn_net_stream_end(h->net, e->handle);
    frn_buf_drop(&h->mem, answer);
}

/* The first bytes are the input; it takes memory as it comes. How many of them were. May free the
 * end. */
static size_t frn_serve_stream_input(francis_host *h, francis_stream *s, frn_buf *chunk)
{
    size_t   n = s->input_size - s->in.size;
    frn_buf *part;

    if (n > chunk->size)
        n = chunk->size;
    part = n == chunk->size ? frn_buf_ref(chunk) : frn_buf_copy(&h->mem, FRN_BYTES(chunk), n);
    frn_net_stream_consumed(h->net, s->lane, n);
    if (!frn_bytes_add(h, &s->in, part))
        frn_stream_break(h, s, FRANCIS_ERR_NOMEM, false, "out of memory", NULL);
    else if (s->in.size == s->input_size)
        frn_serve_stream_whole(h, s);
    return n;
}

/* Bytes for an end. What nobody will read is taken, so that the other side is not held up. */
static void frn_stream_receive(francis_host *h, francis_stream *s, const frn_buf *chunk,
                               size_t skip)
{
    size_t   size = chunk->size - skip;
    frn_buf *part;

    s->in_total += size;
    if (size == 0)
        return;
    if (s->in_total > s->bytes_max) {
        frn_stream_break(h, s, FRANCIS_ERR_TOO_LARGE, false, "the other side has sent more than"
                         " bytes_max", NULL);
        return;
    }
    if (!s->owned && s->call == 0) {
        frn_net_stream_consumed(h->net, s->lane, size);
        return;
    }
    part = skip == 0 ? frn_buf_ref((frn_buf *)(uintptr_t)chunk)
                     : frn_buf_copy(&h->mem, (const char *)FRN_BYTES(chunk) + skip, size);
    if (frn_bytes_add(h, &s->in, part))
        frn_stream_tell(h, s);
    else
        frn_stream_break(h, s, FRANCIS_ERR_NOMEM, false, "out of memory", NULL);
}

/* It was closed, or its host is gone: there is nobody to be told. */
static void frn_served_stream_reset(francis_host *h, francis_stream *s, const frn_net_event *e)
{
    frn_call *c = frn_call_find(h, s->call);

    frn_stream_unmap(h, s);
    if (c != NULL) {
        c->stream = NULL;
        s->call = 0;
        frn_call_cancel(h, c);
    }
    if (e->result == FRANCIS_ERR_CANCELLED)
        frn_stream_break(h, s, FRANCIS_ERR_CANCELLED, false, frn_closed, NULL);
    else
        frn_stream_break(h, s, FRANCIS_ERR_TRANSPORT, false, "the host that had opened the stream"
                         " was lost", NULL);
}

/* Bytes of the input, or behind it. */
static void frn_served_stream_chunk(francis_host *h, francis_stream *s, const frn_net_event *e)
{
    size_t skip = 0;

    if (s->opening != NULL) {
        skip = frn_serve_stream_input(h, s, e->body);
        s = frn_stream_find(h, e->handle);
    }
    if (s != NULL)
        frn_stream_receive(h, s, e->body, skip);
}

static void frn_served_stream_ended(francis_host *h, francis_stream *s)
{
    s->in_end = true;
    if (s->opening != NULL) {
        frn_stream_break(h, s, FRANCIS_ERR_INVALID, false, "the stream ends within its input",
                         NULL);
        return;
    }
    frn_stream_tell(h, s);
    frn_stream_retire(h, s);
}

/* The end of a stream that another host has opened. */
static void frn_served_stream_event(francis_host *h, francis_stream *s, const frn_net_event *e)
{
    frn_actor *keeper = s->keeper;

    switch (e->kind) {
    case FRN_NET_CHUNK:
        frn_served_stream_chunk(h, s, e);
        break;
    case FRN_NET_END:
        frn_served_stream_ended(h, s);
        break;
    case FRN_NET_WRITABLE:
        frn_stream_pump(h, s);
        break;
    default:
        frn_served_stream_reset(h, s, e);
        break;
    }
    if (keeper != NULL)
        frn_actor_step(h, keeper);  /* it may rest now */
}

/* The answer to a stream of ours begins, or it is refused. */
static void frn_remote_head(francis_host *h, frn_call *c, const frn_net_event *e)
{
    frn_peer       *p = frn_peer_find(h, e->peer);
    francis_stream *s = c->stream;
    frn_answer_head a;

    if (!frn_answer_unpack(e->head, &a)) {
        (void)frn_net_cancel(h->net, e->handle);
        frn_call_fail(h, c, c->peek ? FRANCIS_ERR_TRANSPORT : FRANCIS_ERR_UNKNOWN,
                      "host %s has answered something that is no answer", e->peer);
        return;
    }
    if (p != NULL)
        p->load = a.load;
    if (a.result == FRANCIS_OK) {
        s->answered = true;
        s->type_in = frn_buf_text(&h->mem, a.type);
        frn_bytes_clear(h, &s->sent);
        c->deadline_ns = FRN_NEVER;
        frn_timer_stop(h, &c->timer);
        return;
    }
    (void)frn_net_cancel(h->net, e->handle);
    c->from_handler = (a.flags & FRN_WIRE_FROM_HANDLER) != 0;
    c->state = FRN_CALL_NEW;
    if (!frn_remote_refused(c, &a) || !frn_stream_rewind(s)) {
        frn_call_fail(h, c, a.result, "%s", a.text);
        return;
    }
    a.owner.id[0] = '\0';           /* looked up in a moment: what else has come of this lane, its
                                       end above all, must not be taken for that of the next one */
    frn_remote_elsewhere(h, c, p, &a);
}

/* It was broken off by the other side, which may have said why. */
static void frn_remote_reset(francis_host *h, frn_call *c, const frn_net_event *e)
{
    frn_answer_head a;

    if (!frn_answer_unpack(e->head, &a) || a.result == FRANCIS_OK) {
        a.result = c->peek ? FRANCIS_ERR_TRANSPORT : FRANCIS_ERR_UNKNOWN;
        (void)snprintf(a.text, sizeof a.text, "the stream was broken off: %s", e->text);
    }
    c->from_handler = (a.flags & FRN_WIRE_FROM_HANDLER) != 0;
    frn_call_fail(h, c, a.result, "%s", a.text);
}

static void frn_own_stream_event(francis_host *h, frn_call *c, const frn_net_event *e)
{
    francis_stream *s = c->stream;

    switch (e->kind) {
    case FRN_NET_HEAD:
        frn_remote_head(h, c, e);
        break;
    case FRN_NET_CHUNK:
        frn_stream_receive(h, s, e->body, 0);
        break;
    case FRN_NET_END:
        s->in_end = true;
        frn_stream_clear_out(h, s);
        frn_net_stream_end(h->net, s->lane);
        frn_call_complete(h, c, FRANCIS_OK, NULL, NULL);
        frn_stream_tell(h, s);
        break;
    case FRN_NET_WRITABLE:
        frn_stream_pump(h, s);
        break;
    default:
        frn_remote_reset(h, c, e);
        break;
    }
}

static void frn_net_stream_event(francis_host *h, const frn_net_event *e)
{
    francis_stream *s = (e->handle & FRN_NET_TOKEN) != 0 ? frn_stream_find(h, e->handle) : NULL;
    frn_call       *c = s == NULL ? frn_call_find(h, e->handle) : NULL;

    if (s != NULL)
        frn_served_stream_event(h, s, e);
    else if (c != NULL && c->state == FRN_CALL_REMOTE && c->stream != NULL)
        frn_own_stream_event(h, c, e);
}

static void frn_net_event_run(francis_host *h, frn_net_event *e)
{
    frn_peer *p;

    switch (e->kind) {
    case FRN_NET_REQUEST:
        frn_serve(h, e);
        break;
    case FRN_NET_REPLY:
        frn_remote_reply(h, e);
        break;
    case FRN_NET_FAILED:
        frn_remote_failed(h, e);
        break;
    case FRN_NET_CANCELLED:
        frn_serve_cancelled(h, e->handle);
        break;
    case FRN_NET_PEER_UP:
    case FRN_NET_PEER_DOWN:
        p = frn_peer_find(h, e->peer);
        if (p != NULL)
            frn_peer_pinged(h, p, e->kind == FRN_NET_PEER_UP);
        break;
    case FRN_NET_STREAM:
        frn_serve_stream(h, e);
        break;
    case FRN_NET_HEAD:
    case FRN_NET_CHUNK:
    case FRN_NET_END:
    case FRN_NET_WRITABLE:
    case FRN_NET_RESET:
        frn_net_stream_event(h, e);
        break;
    }
}

/* What the network has brought. Lock held, given up meanwhile. */
static void frn_net_pump(francis_host *h)
{
    frn_net_event *e, *next;

    if (!h->net_stepped) {
        frn_unlock(h);
        frn_net_step(h->net, NULL, 0);
        frn_lock(h);
    }
    h->net_stepped = false;
    e = frn_net_events(h->net);
    if (e == NULL)
        return;
    frn_net_hold(h->net);           /* what is answered now shares records */
    for (; e != NULL; e = next) {
        next = e->next;
        frn_net_event_run(h, e);
        frn_net_event_free(h->net, e);
    }
    frn_net_flush(h->net);
}

// >> 800 api.turn | needs: 760
//    Public bodies for handlers. They run on the turn's thread; what they touch of the turn is the
//    handler's own, so most need no lock.

static francis_result frn_refuse(frn_turn *t, francis_result r, const char *text)
{
    if (t->refused == FRANCIS_OK) {     /* the turn fails, whatever the handler returns */
        t->refused = r;
        frn_buf_drop(&t->ctx.host->mem, t->error);
        t->error = frn_buf_copy(&t->ctx.host->mem, text, strlen(text));
    }
    return r;
}

/* Whether this turn may write. */
static francis_result frn_may_write(frn_turn *t)
{
    return t->exclusive ? FRANCIS_OK
                        : frn_refuse(t, FRANCIS_ERR_READ_ONLY, "a write inside a peek");
}

FRANCIS_API void *francis_state(francis_ctx *ctx)
{
    frn_turn      *t = FRN_IN_TURN(ctx) ? FRN_TURN(ctx) : NULL;
    size_t         size = t != NULL ? t->type->desc.state_size : 0, old = 0;
    const frn_buf *base;

    if (size == 0)
        return NULL;
    if (t->work == NULL) {
        t->work = frn_buf_new(&ctx->host->mem, size);
        if (t->work == NULL) {
            (void)frn_refuse(t, FRANCIS_ERR_NOMEM, "no memory for the state");
            return NULL;
        }
        base = t->deleted ? NULL : t->base;
        if (base != NULL) {
            old = base->size < size ? base->size : size;
            memcpy(FRN_BYTES(t->work), FRN_BYTES(base), old);
        }
        memset((char *)FRN_BYTES(t->work) + old, 0, size - old);
    }
    return FRN_BYTES(t->work);
}

FRANCIS_API francis_bytes francis_state_get(francis_ctx *ctx)
{
    francis_bytes  b = { NULL, 0 };
    const frn_buf *buf;

    if (FRN_IN_TURN(ctx)) {
        const frn_turn *t = FRN_TURN(ctx);
        buf = t->work != NULL ? t->work : t->deleted ? NULL : t->base;
        if (buf != NULL) {
            b.data = FRN_BYTES(buf);
            b.size = buf->size;
        }
    }
    return b;
}

FRANCIS_API francis_result francis_state_set(francis_ctx *ctx, const void *data, size_t size)
{
    frn_turn      *t;
    frn_buf       *b;
    francis_result r;

    if (!FRN_IN_TURN(ctx))
        return FRANCIS_ERR_USAGE;
    t = FRN_TURN(ctx);
    if ((r = frn_may_write(t)) != FRANCIS_OK)
        return r;
    if (t->type->desc.state_size != 0)
        return frn_refuse(t, FRANCIS_ERR_USAGE, "the type has a state_size; use francis_state");
    if (size > 0 && data == NULL)
        return frn_refuse(t, FRANCIS_ERR_INVALID, "the data is NULL, its size is not 0");
    if (size > ctx->host->desc.state_bytes_max)
        return frn_refuse(t, FRANCIS_ERR_TOO_LARGE, "the state is larger than state_bytes_max");
    b = frn_buf_copy(&ctx->host->mem, data, size);
    if (b == NULL)
        return frn_refuse(t, FRANCIS_ERR_NOMEM, "no memory for the state");
    frn_buf_drop(&ctx->host->mem, t->work);
    t->work = b;
    return FRANCIS_OK;
}

static void frn_turn_delete(frn_turn *t)
{
    t->deleted = true;
    t->expire_set = false;
    if (t->work != NULL && t->type->desc.state_size > 0) {
        memset(FRN_BYTES(t->work), 0, t->work->size);
    } else {
        frn_buf_drop(&t->ctx.host->mem, t->work);
        t->work = NULL;
    }
}

FRANCIS_API francis_result francis_state_delete(francis_ctx *ctx)
{
    francis_result r = FRN_IN_TURN(ctx) ? frn_may_write(FRN_TURN(ctx)) : FRANCIS_ERR_USAGE;
    if (r == FRANCIS_OK)
        frn_turn_delete(FRN_TURN(ctx));
    return r;
}

FRANCIS_API francis_result francis_state_expire(francis_ctx *ctx, int64_t after_ms)
{
    francis_result r = FRN_IN_TURN(ctx) ? frn_may_write(FRN_TURN(ctx)) : FRANCIS_ERR_USAGE;

    if (r != FRANCIS_OK)
        return r;
    if (after_ms <= 0 && after_ms != FRANCIS_FOREVER)
        return frn_refuse(FRN_TURN(ctx), FRANCIS_ERR_INVALID, "after_ms is not greater than 0");
    FRN_TURN(ctx)->expire_set = true;
    FRN_TURN(ctx)->expires_ms = after_ms == FRANCIS_FOREVER ? 0
                              : frn_add_time(francis_now(ctx), after_ms);
    return FRANCIS_OK;
}

static francis_result frn_reply_take(frn_turn *t, frn_buf *reply)
{
    if (reply == NULL)
        return frn_refuse(t, FRANCIS_ERR_NOMEM, "no memory for the reply");
    frn_buf_drop(&t->ctx.host->mem, t->reply);
    t->reply = reply;
    return FRANCIS_OK;
}

FRANCIS_API francis_result francis_reply(francis_ctx *ctx, const void *data, size_t size)
{
    if (!FRN_IN_TURN(ctx))
        return FRANCIS_ERR_USAGE;
    if (size > 0 && data == NULL)
        return frn_refuse(FRN_TURN(ctx), FRANCIS_ERR_INVALID,
                          "the reply is NULL, its size is not 0");
    if (size > ctx->host->desc.message_bytes_max)
        return frn_refuse(FRN_TURN(ctx), FRANCIS_ERR_TOO_LARGE,
                          "the reply is larger than message_bytes_max");
    return frn_reply_take(FRN_TURN(ctx), frn_buf_copy(&ctx->host->mem, data, size));
}

FRANCIS_API francis_result francis_replyf(francis_ctx *ctx, const char *format, ...)
{
    frn_buf *b;
    va_list  args;
    int      n;

    if (!FRN_IN_TURN(ctx))
        return FRANCIS_ERR_USAGE;
    va_start(args, format);
    n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (n < 0)
        return frn_refuse(FRN_TURN(ctx), FRANCIS_ERR_INVALID, "the reply cannot be formatted");
    if ((size_t)n > ctx->host->desc.message_bytes_max)
        return frn_refuse(FRN_TURN(ctx), FRANCIS_ERR_TOO_LARGE,
                          "the reply is larger than message_bytes_max");
    b = frn_buf_new(&ctx->host->mem, (size_t)n);
    if (b != NULL) {
        va_start(args, format);
        (void)vsnprintf((char *)FRN_BYTES(b), (size_t)n + 1, format, args);
        va_end(args);
    }
    return frn_reply_take(FRN_TURN(ctx), b);
}

static francis_result frn_fail_take(francis_ctx *ctx, francis_result code, frn_buf *text)
{
    frn_turn *t = FRN_IN_TURN(ctx) ? FRN_TURN(ctx) : NULL;

    if (t != NULL && t->refused == FRANCIS_OK) {
        frn_buf_drop(&ctx->host->mem, t->error);
        t->error = text;
    } else {
        frn_buf_drop(&ctx->host->mem, text);    /* what was refused first is the reason */
    }
    return code;
}

FRANCIS_API francis_result francis_fail(francis_ctx *ctx, francis_result code, const char *format,
                                        ...)
{
    frn_buf *text;
    va_list  args;

    va_start(args, format);
    text = frn_buf_format(&ctx->host->mem, format, args);
    va_end(args);
    return frn_fail_take(ctx, code, text);
}

FRANCIS_API francis_result francis_fail_text(francis_ctx *ctx, francis_result code,
                                             const char *text)
{
    size_t size = text != NULL ? strlen(text) : 0;
    return frn_fail_take(ctx, code,
                         frn_buf_copy(&ctx->host->mem, text, size < 1024 ? size : 1023));
}

/* Waits inside the handler until the gate that c stands at has opened. */
static void frn_flush_wait(francis_host *h, frn_turn *t, frn_call *c)
{
    if (h->threads) {
        frn_wait_over(h, t, c);
        return;
    }
    while (!frn_call_over(c) && t->doom == FRANCIS_OK) {    /* no other turn, no callback runs */
        if (frn_commit_due(h) <= frn_now_ns(h) || h->busy_retry_ns == 0)
            frn_commit_run(h);
        else
            frn_loop_wait(h, h->busy_retry_ns);
    }
}

/* The turn goes on from what is durable now. */
static void frn_flush_rebase(francis_host *h, frn_turn *t)
{
    frn_buf_drop(&h->mem, t->base);
    t->base = frn_buf_ref(t->actor->state);
    t->deleted = t->expire_set = t->purge = false;
    if (t->type->desc.state_size == 0) {
        frn_buf_drop(&h->mem, t->work);
        t->work = NULL;
    }
}

static francis_result frn_flush(francis_host *h, frn_turn *t, francis_call *user)
{
    bool           wrote = false;
    frn_call      *c;
    francis_result r = frn_seal(h, t, false, &wrote);

    if (r != FRANCIS_OK) {
        (void)frn_refuse(t, r, "no memory to flush");
        return frn_user_set(user, r, NULL);
    }
    if (wrote) {
        t->flushed = t->wrote = true;
        frn_flush_rebase(h, t);
    }
    frn_turn_unstage(h, t, true);
    if (t->actor->last_write == NULL)
        return FRANCIS_OK;
    c = frn_call_new(h, t, user);
    if (c == NULL) {
        (void)frn_refuse(t, FRANCIS_ERR_NOMEM, "no memory to flush");
        return frn_user_set(user, FRANCIS_ERR_NOMEM, NULL);
    }
    h->stats.calls_in_flight++;
    c->held = true;
    c->wrote = wrote;
    c->result = FRANCIS_OK;
    frn_call_set_time(h, c, user, t);
    frn_call_arm(h, c);
    frn_gate_wait(&t->actor->last_write->gate, c, FRN_CALL_GATED);
    frn_flush_wait(h, t, c);
    r = frn_call_take(h, t, c);
    if (r != FRANCIS_OK)
        (void)frn_refuse(t, r, "the flush failed");
    return r;
}

FRANCIS_API francis_result francis_flush(francis_ctx *ctx, francis_call *call)
{
    francis_host  *h = ctx->host;
    frn_turn      *t;
    francis_result r;

    if (!FRN_IN_TURN(ctx))
        return frn_user_set(call, FRANCIS_ERR_USAGE, "flush is for turns");
    t = FRN_TURN(ctx);
    if (frn_is_async(call))
        return frn_user_set(call, FRANCIS_ERR_USAGE, "a flush always waits");
    frn_lock(h);
    r = frn_user_reset(h, call);
    if (r == FRANCIS_OK)
        r = t->doom != FRANCIS_OK ? t->doom : t->refused != FRANCIS_OK ? t->refused
                                                                      : frn_may_write(t);
    r = r == FRANCIS_OK ? frn_flush(h, t, call) : frn_user_set(call, r, NULL);
    frn_unlock(h);
    return r;
}

FRANCIS_API francis_result francis_interrupted(const francis_ctx *ctx)
{
    const frn_turn *t;
    francis_host   *h = ctx->host;
    francis_result  r;

    if (!FRN_IN_TURN(ctx))
        return FRANCIS_OK;
    t = FRN_OF(const frn_turn, ctx, ctx);
    r = FRN_LOAD(&t->doom);
    if (r != FRANCIS_OK)
        return r;
    frn_lock(h);
    if (t->deadline_ns != FRN_NEVER && frn_now_ns(h) >= t->deadline_ns)
        r = FRANCIS_ERR_DEADLINE;
    else if (h->phase == FRN_HOST_DRAINING)
        r = FRANCIS_ERR_STOPPED;
    else if (t->actor->halting)
        r = FRANCIS_ERR_MOVED;
    frn_unlock(h);
    return r;
}

FRANCIS_API void *francis_alloc(francis_ctx *ctx, size_t size)
{
    frn_turn  *t;
    frn_block *b;
    size_t     total;

    if (!FRN_IN_TURN(ctx) || !frn_add_fits(sizeof *b, size, &total))
        return NULL;
    t = FRN_TURN(ctx);
    b = (frn_block *)frn_mem_alloc(&ctx->host->mem, total);
    if (b == NULL)
        return NULL;
    b->size = size;
    b->next = t->blocks;
    t->blocks = b;
    return b + 1;
}

FRANCIS_API int64_t francis_now(francis_ctx *ctx)
{
    frn_turn *t;

    if (!FRN_IN_TURN(ctx))
        return frn_plat_wall_ms(&ctx->host->plat);
    t = FRN_TURN(ctx);
    if (t->now_ms == 0)
        t->now_ms = frn_plat_wall_ms(&ctx->host->plat);
    return t->now_ms;
}

FRANCIS_API francis_result francis_random(francis_ctx *ctx, void *data, size_t size)
{
    if (frn_plat_random(&ctx->host->plat, data, size))
        return FRANCIS_OK;
    memset(data, 0, size);
    return FRANCIS_ERR_INTERNAL;
}

FRANCIS_API francis_result francis_await(francis_ctx *ctx, francis_handler next, void *local)
{
    if (!FRN_IN_TURN(ctx))
        return FRANCIS_ERR_USAGE;
    if (next == NULL)
        return francis_fail(ctx, FRANCIS_ERR_INVALID, "francis_await was given no handler");
    FRN_TURN(ctx)->next = next;
    ctx->local = local;
    return FRANCIS_PENDING;
}

FRANCIS_API uint64_t francis_expect(francis_ctx *ctx, francis_call *call)
{
    francis_host *h = ctx->host;
    frn_turn     *t;
    frn_call     *c = NULL;
    uint64_t      ticket = 0;

    if (!FRN_IN_TURN(ctx) || call == NULL) {
        (void)frn_user_set(call, FRANCIS_ERR_USAGE, "expect is for turns, with a call");
        return 0;
    }
    t = FRN_TURN(ctx);
    frn_lock(h);
    if (frn_user_reset(h, call) == FRANCIS_OK) {
        if (h->stats.calls_in_flight >= h->desc.calls_max)
            (void)frn_refuse_call(h, t, call, FRANCIS_ERR_BUSY, "%u calls are in flight, calls_max",
                                  (unsigned)h->desc.calls_max);
        else if ((c = frn_call_new(h, t, call)) == NULL)
            (void)frn_user_set(call, FRANCIS_ERR_NOMEM, NULL);
    }
    if (c != NULL) {
        h->stats.calls_in_flight++;
        t->outstanding++;
        c->waiting = true;
        c->on_done = call->on_done != NULL;
        c->state = FRN_CALL_EXPECTED;
        call->result = FRANCIS_PENDING;
        frn_call_set_time(h, c, call, t);
        frn_call_arm(h, c);
        ticket = c->handle;
    }
    frn_unlock(h);
    return ticket;
}

FRANCIS_API uint64_t francis_defer(francis_ctx *ctx)
{
    francis_host *h = ctx->host;
    frn_turn     *t;
    uint64_t      ticket = 0;

    if (!FRN_IN_TURN(ctx))
        return 0;
    t = FRN_TURN(ctx);
    frn_lock(h);
    if (t->call != NULL && !t->call->one_way && t->call->due == NULL && t->request_id == NULL) {
        t->deferred = true;
        ticket = t->call->handle;
    } else if (t->doom == FRANCIS_OK) {
        (void)frn_refuse(t, FRANCIS_ERR_USAGE, t->request_id != NULL
                         ? "a call with a request id cannot be deferred"
                         : "nobody waits for this turn");
    }
    frn_unlock(h);
    return ticket;
}

/* The call that a ticket stands for, if it can still be answered. */
static frn_call *frn_ticket_find(francis_host *h, uint64_t ticket)
{
    frn_call *c = frn_call_find(h, ticket);

    if (c == NULL || c->claimed_answer || (c->owner != NULL && c->owner->doom != FRANCIS_OK))
        return NULL;
    if (c->state == FRN_CALL_PARKED || c->state == FRN_CALL_EXPECTED)
        return c;
    return c->state == FRN_CALL_RUNNING && c->turn->deferred && c->result == FRANCIS_PENDING ? c
                                                                                            : NULL;
}

static void frn_ticket_answer(francis_host *h, frn_call *c, francis_result r, frn_buf *reply)
{
    frn_actor *a = c->actor;

    c->from_handler = r != FRANCIS_OK;
    if (c->state == FRN_CALL_RUNNING) {     /* its turn has not ended: kept until then */
        c->result = r;
        c->reply = reply;
    } else if (c->state == FRN_CALL_PARKED) {
        frn_list_remove(&c->link);
        frn_actor_answer(h, a, c, r, reply, NULL);
        frn_actor_step(h, a);               /* it may rest now */
    } else {
        frn_call_complete(h, c, r, reply, NULL);
    }
}

static frn_answer *frn_answer_new(francis_host *h, frn_turn *t)
{
    frn_answer *n = (frn_answer *)frn_mem_alloc(&h->mem, sizeof *n);
    if (n != NULL) {
        *t->answers_last = n;
        t->answers_last = &n->next;
    }
    return n;
}

FRANCIS_API francis_result francis_answer(francis_ctx *ctx, uint64_t ticket, francis_result result,
                                          const void *data, size_t size)
{
    francis_host  *h = ctx->host;
    frn_turn      *t = FRN_IN_TURN(ctx) ? FRN_TURN(ctx) : NULL;
    frn_buf       *reply = NULL;
    frn_answer    *n;
    frn_call      *c;
    francis_result r = FRANCIS_OK;

    if (frn_forked(h))
        return FRANCIS_ERR_USAGE;
    if (result == FRANCIS_PENDING || result == FRANCIS_DONE || !frn_result_known(result)
        || (size > 0 && data == NULL))
        return FRANCIS_ERR_INVALID;
    if (size > h->desc.message_bytes_max)
        return FRANCIS_ERR_TOO_LARGE;
    if (data != NULL && (reply = frn_buf_copy(&h->mem, data, size)) == NULL)
        return FRANCIS_ERR_NOMEM;
    frn_lock(h);
    c = frn_ticket_find(h, ticket);
    n = c != NULL && t != NULL ? frn_answer_new(h, t) : NULL;
    if (c == NULL) {
        r = FRANCIS_ERR_STALE;
    } else if (t == NULL) {
        frn_ticket_answer(h, c, result, reply);
        reply = NULL;
    } else if (n == NULL) {
        r = FRANCIS_ERR_NOMEM;
    } else {
        c->claimed_answer = true;
        n->ticket = ticket;
        n->result = result;
        n->reply = reply;
        reply = NULL;
    }
    frn_after_blocking(h);
    frn_unlock(h);
    frn_buf_drop(&h->mem, reply);
    return r;
}

// >> 810 api.call | needs: 700 800
//    Public bodies that call actors.

static void frn_spec_fill(frn_spec *s, const char *type, const char *id, const char *method,
                          const void *data, size_t size)
{
    memset(s, 0, sizeof *s);
    s->type = type;
    s->id = id;
    s->method = method != NULL ? method : "";
    s->data = data;
    s->size = size;
}

FRANCIS_API francis_result francis_invoke(francis_ctx *ctx, const char *type, const char *id,
                                          const char *method, const void *data, size_t size,
                                          francis_call *call)
{
    frn_spec s;

    frn_spec_fill(&s, type, id, method, data, size);
    return frn_submit(ctx, &s, call);
}

FRANCIS_API francis_result francis_peek(francis_ctx *ctx, const char *type, const char *id,
                                        const char *method, const void *data, size_t size,
                                        francis_call *call)
{
    frn_spec s;

    frn_spec_fill(&s, type, id, method, data, size);
    s.peek = true;
    return frn_submit(ctx, &s, call);
}

/* Out of a turn it leaves with the commit, so it waits with the turn. */
static francis_result frn_send(francis_ctx *ctx, frn_turn *t, frn_spec *s)
{
    francis_host  *h = ctx->host;
    francis_result r = frn_host_takes(h, t, NULL);
    frn_answer    *n = NULL;
    frn_call      *c;

    if (r == FRANCIS_OK && !frn_spec_self(ctx, &s->type, &s->id))
        r = FRANCIS_ERR_INVALID;
    if (r == FRANCIS_OK)
        r = frn_spec_check(h, t, NULL, s);
    if (r == FRANCIS_ERR_UNKNOWN_METHOD || r == FRANCIS_ERR_BAD_INPUT) {
        frn_log(&h->log, FRN_LOG_send_dropped, r, s->type, s->id, "a send to '%s': %s", s->method,
                francis_strerror(r));
        return FRANCIS_OK;          /* that is for the actor's host to say, and nobody listens */
    }
    c = r == FRANCIS_OK ? frn_call_make(h, t, NULL, s, &r) : NULL;
    if (c == NULL)
        return r;
    c->timeout_ms = FRANCIS_FOREVER;        /* nobody waits */
    c->unawaited = true;
    h->stats.calls_in_flight++;
    if (t == NULL) {
        c->held = true;             /* until it is known whether it fails at once */
        frn_call_send(h, c, s, NULL);
        if (frn_call_over(c) && c->result != FRANCIS_OK)
            r = c->result;
        c->held = false;
        if (frn_call_over(c))
            frn_call_release(h, c);
        return r;
    }
    c->target = frn_buf_copy(&h->mem, s->id, strlen(s->id));
    n = c->target != NULL ? frn_answer_new(h, t) : NULL;
    if (n == NULL) {
        h->stats.calls_in_flight--;
        frn_call_release(h, c);
        return FRANCIS_ERR_NOMEM;
    }
    frn_chain_drop(h, c->chain);            /* its turn has ended when it arrives */
    c->chain = NULL;
    n->call = c;
    return FRANCIS_OK;
}

FRANCIS_API francis_result francis_send(francis_ctx *ctx, const char *type, const char *id,
                                        const char *method, const void *data, size_t size)
{
    francis_host  *h = ctx->host;
    frn_spec       s;
    francis_result r;

    if (frn_forked(h))
        return FRANCIS_ERR_USAGE;
    frn_spec_fill(&s, type, id, method, data, size);
    s.one_way = true;
    frn_lock(h);
    r = frn_send(ctx, FRN_IN_TURN(ctx) ? FRN_TURN(ctx) : NULL, &s);
    frn_after_blocking(h);
    frn_unlock(h);
    return r;
}

/* What francis_wait finds over. A turn's own callback runs here, as part of the turn. */
static francis_result frn_wait_take(francis_host *h, frn_turn *t, frn_call *c)
{
    francis_call *user = c->user;

    frn_call_publish(c);
    if (t != NULL && c->owner == t && c->state == FRN_CALL_CALLBACK) {
        c->state = FRN_CALL_DONE;
        c->on_done = false;
        t->in_callback = true;
        frn_unlock(h);
        user->on_done(user);
        frn_lock(h);
        t->in_callback = false;
    }
    return user->result;
}

FRANCIS_API francis_result francis_wait(francis_ctx *ctx, francis_call *call)
{
    francis_host  *h = ctx->host;
    frn_turn      *t = FRN_IN_TURN(ctx) ? FRN_TURN(ctx) : NULL;
    frn_call      *c;
    francis_result r;
    bool           blocks = h->threads && t != NULL, waits = true;

    if (frn_forked(h))
        return FRANCIS_ERR_USAGE;
    frn_lock(h);
    c = frn_user_call(h, call);
    if (c != NULL && !frn_call_over(c)) {
        c->pins++;                  /* whoever frees it meanwhile leaves the record to us */
        waits = frn_cannot_wait(h, t) == NULL && (!blocks || frn_block_begin(h));
        if (waits)
            frn_call_wait(h, t, c);
        c->pins--;
        if (waits && blocks)
            frn_block_end(h);
        frn_after_blocking(h);
    }
    if (c == NULL)
        r = call->result;
    else if (c->freed)
        r = (frn_call_release(h, c), FRANCIS_ERR_CANCELLED);
    else if (frn_call_over(c))
        r = frn_wait_take(h, t, c);
    else
        r = waits ? t->doom : (francis_result)FRANCIS_ERR_WOULD_BLOCK;
    frn_unlock(h);
    return r;
}

FRANCIS_API void francis_call_free(francis_call *call)
{
    francis_host *h;
    frn_call     *c;

    if (call == NULL)
        return;
    if (call->internal[0] != 0 && call->internal[2] == ~call->internal[0]) {
        h = (francis_host *)(uintptr_t)call->internal[1];
        if (frn_forked(h)) {        /* it is the parent's; its lock may be held for ever here */
            frn_user_clear(call);
            return;
        }
        frn_lock(h);
        while ((c = frn_user_call(h, call)) != NULL && c->state == FRN_CALL_IN_CALLBACK
               && !pthread_equal(c->callback_thread, pthread_self()))
            frn_wait_for(h, &h->callback_cond, FRN_NEVER);
        if (c != NULL && frn_call_over(c))
            frn_call_release(h, c);
        else if (c != NULL)
            frn_call_cancel(h, c);
        frn_unlock(h);
    }
    frn_user_clear(call);
}

// >> 815 api.stream | needs: 765 810
//    Public bodies for streams.

/* The turn whose ctx this is; NULL = outside. */
static frn_turn *frn_ctx_turn(francis_ctx *ctx) { return FRN_IN_TURN(ctx) ? FRN_TURN(ctx) : NULL; }

/* Whether the end may be used with this ctx. */
static bool frn_stream_is_of(const francis_stream *s, const frn_turn *t)
{
    return s->caller || s->keeper == NULL ? s->turn == t : t != NULL && t->actor == s->keeper;
}

/* The call that opens it. It completes s->failure if that cannot be. */
static francis_result frn_stream_submit(francis_host *h, francis_ctx *ctx, francis_stream *s,
                                        frn_spec *spec)
{
    frn_turn      *t = frn_ctx_turn(ctx);
    francis_call  *user = &s->wait;
    frn_call      *c = NULL;
    francis_result r = frn_host_takes(h, t, user);

    if (r == FRANCIS_OK && !frn_spec_self(ctx, &spec->type, &spec->id))
        r = frn_refuse_call(h, t, user, FRANCIS_ERR_INVALID, "type and id are needed");
    if (r == FRANCIS_OK && h->stats.streams > h->desc.streams_max)
        r = frn_refuse_call(h, t, user, FRANCIS_ERR_BUSY, "the host has %u ends of streams,"
                            " streams_max", (unsigned)h->desc.streams_max);
    if (r == FRANCIS_OK)
        r = frn_spec_check(h, t, user, spec);
    if (r == FRANCIS_OK)
        c = frn_call_make(h, t, user, spec, &r);
    if (c == NULL) {
        frn_stream_fail(h, s, r, user->error != NULL ? user->error : francis_strerror(r));
        (void)frn_user_reset(h, user);
        return r;
    }
    memset(user, 0, sizeof *user);  /* of the opening; from now on for those who wait */
    c->user = NULL;
    c->stream = s;
    c->done = frn_stream_on_done;
    s->call = c->handle;
    s->input = frn_buf_ref(c->input);
    h->stats.calls_in_flight++;
    frn_call_send(h, c, spec, t);
    return s->failure;
}

static francis_stream *frn_stream_make(francis_host *h, frn_turn *t,
                                       const francis_stream_desc *desc)
{
    francis_stream *s = frn_stream_new(h, true);

    if (s == NULL)
        return NULL;
    s->turn = t;
    if (t != NULL)
        frn_list_push(&t->streams, &s->link);
    if (desc == NULL)
        return s;
    s->on_ready = desc->on_ready;
    s->user = desc->user;
    s->bytes_max = desc->bytes_max != 0 ? desc->bytes_max : (uint64_t)FRN_STREAM_BYTES_MAX;
    s->wait.timeout_ms = desc->timeout_ms;
    s->wait.active_only = desc->active_only;
    return s;
}

/* What is wrong with a content type; NULL = nothing. */
static const char *frn_type_text_fault(const char *type)
{
    return strlen(type) > FRANCIS_TYPE_MAX ? "the content type is longer than FRANCIS_TYPE_MAX"
                                           : NULL;
}

static francis_result frn_stream_open(francis_host *h, francis_ctx *ctx, francis_stream *s,
                                      const francis_stream_desc *desc)
{
    frn_spec    spec;
    const char *fault = desc == NULL ? "the desc is NULL"
                      : desc->content_type != NULL ? frn_type_text_fault(desc->content_type) : NULL;

    if (fault != NULL) {
        frn_stream_fail(h, s, FRANCIS_ERR_INVALID, fault);
        return FRANCIS_ERR_INVALID;
    }
    if (desc->content_type != NULL
        && (s->type_out = frn_buf_text(&h->mem, desc->content_type)) == NULL) {
        frn_stream_fail(h, s, FRANCIS_ERR_NOMEM, "out of memory");
        return FRANCIS_ERR_NOMEM;
    }
    frn_spec_fill(&spec, desc->type, desc->id, desc->method, desc->data, desc->size);
    spec.peek = desc->peek;
    spec.streams = true;
    return frn_stream_submit(h, ctx, s, &spec);
}

FRANCIS_API francis_result francis_stream_open(francis_ctx *ctx, const francis_stream_desc *desc,
                                               francis_stream **stream_out)
{
    francis_host   *h = ctx->host;
    francis_stream *s;
    francis_result  r;

    *stream_out = NULL;
    if (frn_forked(h))
        return FRANCIS_ERR_USAGE;
    frn_lock(h);
    *stream_out = s = frn_stream_make(h, frn_ctx_turn(ctx), desc);
    r = s == NULL ? (francis_result)FRANCIS_ERR_NOMEM : frn_stream_open(h, ctx, s, desc);
    frn_after_blocking(h);
    frn_unlock(h);
    return r;
}

static void frn_stream_on_ready(francis_call *call);

static bool frn_stream_arm(francis_host *h, frn_turn *t, francis_stream *s)
{
    frn_call *c = frn_call_new(h, t, &s->wait);

    if (c == NULL)
        return false;
    h->stats.calls_in_flight++;
    c->state = FRN_CALL_EXPECTED;
    c->on_done = s->on_ready != NULL;
    s->wait.on_done = c->on_done ? frn_stream_on_ready : NULL;
    s->wait.result = FRANCIS_PENDING;
    if (t != NULL) {
        c->waiting = true;
        t->outstanding++;
    }
    return true;
}

/* An on_ready has returned. Whether it is due again at once; if it was asked for meanwhile, and
 * not yet, it is from now on. Else its call is over here and now, under this lock: who asks from
 * now on needs another one. c: its call, or what has become of that; then s may be gone. */
static bool frn_stream_ready_again(francis_host *h, francis_stream *s, frn_call *c)
{
    if (c == NULL || c->state != FRN_CALL_IN_CALLBACK || c->user != &s->wait)
        return false;
    if (!frn_stream_wanted(s)) {
        if ((!s->want_read && !s->want_write) || frn_stream_arm(h, NULL, s)) {
            frn_call_release(h, c);
            return false;
        }
        frn_stream_break(h, s, FRANCIS_ERR_NOMEM, false, "out of memory", NULL);
    }
    s->want_read = s->want_write = false;
    return true;
}

/* One after the other, so that who closes the stream waits for all of them. */
static void frn_stream_on_ready(francis_call *call)
{
    francis_stream *s = FRN_OF(francis_stream, wait, call);
    francis_host   *h = s->host;
    uint64_t        handle;
    bool            again;

    frn_lock(h);
    handle = call->internal[0];
    frn_unlock(h);
    do {
        s->on_ready(s, s->user);    /* which may close it */
        frn_lock(h);
        again = frn_stream_ready_again(h, s, frn_call_find(h, handle));
        frn_unlock(h);
    } while (again);
}

/* Asks to be told. The application, or the turn, goes on meanwhile. */
static francis_result frn_stream_wait_later(francis_host *h, frn_turn *t, francis_stream *s)
{
    frn_call *c = frn_user_call(h, &s->wait);

    if (c != NULL && c->state != FRN_CALL_DONE)
        return FRANCIS_PENDING;     /* he has asked already, or is just being told */
    if (c != NULL)
        frn_call_release(h, c);
    return frn_stream_arm(h, t, s) ? FRANCIS_PENDING : FRANCIS_ERR_NOMEM;
}

/* This thread waits. OK = look again. Lock held, given up meanwhile. */
static francis_result frn_stream_wait_here(francis_host *h, frn_turn *t, francis_stream *s)
{
    bool           blocks = h->threads && t != NULL, told;
    frn_call      *c;
    francis_result r = FRANCIS_OK;

    if (frn_cannot_wait(h, t) != NULL || (blocks && !frn_block_begin(h)))
        return FRANCIS_ERR_WOULD_BLOCK;
    told = !s->want_read && !s->want_write;     /* already, while a worker was made */
    c = told ? NULL : frn_call_new(h, t, &s->wait);
    if (c != NULL) {
        h->stats.calls_in_flight++;
        c->state = FRN_CALL_EXPECTED;
        c->held = true;
        frn_call_wait(h, t, c);
        r = frn_call_over(c) ? FRANCIS_OK : t->doom;
        c->held = false;
        if (frn_call_over(c))
            frn_call_release(h, c);
        else
            frn_call_cancel(h, c);
        memset(s->wait.internal, 0, sizeof s->wait.internal);
    }
    if (blocks)
        frn_block_end(h);
    return c == NULL && !told ? (francis_result)FRANCIS_ERR_NOMEM : r;
}

/* PENDING: later. OK: try again now. */
static francis_result frn_stream_wait(francis_host *h, frn_turn *t, francis_stream *s)
{
    if (s->on_ready != NULL || (t != NULL && !h->threads))
        return frn_stream_wait_later(h, t, s);
    return frn_stream_wait_here(h, t, s);
}

/* Why an end cannot be used; OK = it can. Lock held. */
static francis_result frn_stream_check(const francis_stream *s, const frn_turn *t)
{
    if (!frn_stream_is_of(s, t))
        return FRANCIS_ERR_USAGE;
    return t != NULL && t->doom != FRANCIS_OK ? t->doom : (francis_result)FRANCIS_OK;
}

/* What has come, at once. PENDING = nothing has. */
static francis_result frn_stream_take(francis_host *h, francis_stream *s, void *data, size_t size,
                                      size_t *size_out)
{
    frn_actor *keeper = s->peer != NULL ? s->peer->keeper : NULL;

    if (s->in.size > 0) {
        *size_out = frn_bytes_take(h, &s->in, data, size);
        if (s->peer != NULL)
            frn_stream_pump(h, s->peer);
        else if (s->lane != 0)
            frn_net_stream_consumed(h->net, s->lane, *size_out);
        if (keeper != NULL)
            frn_actor_step(h, keeper);      /* if that was all it may rest now */
        return FRANCIS_OK;
    }
    if (s->failure != FRANCIS_OK)
        return s->failure;
    return s->in_end ? FRANCIS_DONE : FRANCIS_PENDING;
}

FRANCIS_API francis_result francis_stream_read(francis_ctx *ctx, francis_stream *stream,
                                               void *data, size_t size, size_t *size_out)
{
    francis_host  *h = ctx->host;
    frn_turn      *t = frn_ctx_turn(ctx);
    francis_result r;

    *size_out = 0;
    if (stream == NULL || frn_forked(h))
        return FRANCIS_ERR_USAGE;
    if (size == 0 || data == NULL)
        return FRANCIS_ERR_INVALID;
    frn_lock(h);
    do {
        r = frn_stream_check(stream, t);
        if (r == FRANCIS_OK)
            r = frn_stream_take(h, stream, data, size, size_out);
        if (r != FRANCIS_PENDING)
            break;
        stream->want_read = true;
        r = frn_stream_wait(h, t, stream);
    } while (r == FRANCIS_OK);
    frn_after_blocking(h);
    frn_unlock(h);
    return r;
}

/* In front of everything else: why nothing can be written; PENDING = there is no room now. */
static francis_result frn_stream_may_put(francis_host *h, const francis_stream *s, size_t size)
{
    if (s->failure != FRANCIS_OK)
        return s->failure;
    if (frn_stream_ended(s))
        return FRANCIS_ERR_USAGE;
    if (s->caller && s->in_end)
        return FRANCIS_ERR_STALE;
    if (size > h->desc.message_bytes_max || size > s->bytes_max - s->out_total)
        return FRANCIS_ERR_TOO_LARGE;
    return FRANCIS_OK;
}

/* Behind the gate of the actor, or of the turn. */
static francis_result frn_stream_put_gated(francis_host *h, francis_stream *s, frn_turn *t,
                                           frn_buf *data)
{
    bool        dirty = frn_stream_dirty(s, t);
    frn_packet *p;

    if (!frn_stream_writable(s)) {  /* what waits for the end of this turn does not count */
        frn_buf_drop(&h->mem, data);
        return FRANCIS_PENDING;
    }
    p = dirty ? frn_stream_stage(h, s, t) : frn_packet_new(h, s);
    if (p != NULL && dirty && p->bytes.size + data->size > h->desc.stream_buffer_bytes) {
        frn_buf_drop(&h->mem, data);
        return FRANCIS_ERR_TOO_LARGE;
    }
    s->out_total += data->size;
    if (p == NULL)
        frn_buf_drop(&h->mem, data);
    if (p == NULL || !frn_bytes_add(h, &p->bytes, data)) {
        frn_stream_break(h, s, FRANCIS_ERR_NOMEM, false, "out of memory", NULL);
        return FRANCIS_ERR_NOMEM;
    }
    if (!dirty)
        frn_packet_gate(h, p, frn_gate_of(h, t->actor), false);
    return FRANCIS_OK;
}

/* Takes data over; OK, or it was not written. PENDING: there is no room now. */
static francis_result frn_stream_put(francis_host *h, francis_stream *s, frn_turn *t, frn_buf *data)
{
    if (frn_stream_gated(h, s, t))
        return frn_stream_put_gated(h, s, t, data);
    if (!frn_stream_writable(s)) {
        frn_buf_drop(&h->mem, data);
        return FRANCIS_PENDING;
    }
    s->out_total += data->size;
    if (!frn_bytes_add(h, &s->out, data)) {
        frn_stream_break(h, s, FRANCIS_ERR_NOMEM, false, "out of memory", NULL);
        return FRANCIS_ERR_NOMEM;
    }
    frn_stream_pump(h, s);
    return FRANCIS_OK;
}

FRANCIS_API francis_result francis_stream_write(francis_ctx *ctx, francis_stream *stream,
                                                const void *data, size_t size)
{
    francis_host  *h = ctx->host;
    frn_turn      *t = frn_ctx_turn(ctx);
    frn_buf       *copy = NULL;
    francis_result r;

    if (stream == NULL || frn_forked(h))
        return FRANCIS_ERR_USAGE;
    if (size > 0 && data == NULL)
        return FRANCIS_ERR_INVALID;
    if (size > 0 && size <= h->desc.message_bytes_max
        && (copy = frn_buf_copy(&h->mem, data, size)) == NULL)
        return FRANCIS_ERR_NOMEM;
    frn_lock(h);
    do {
        r = frn_stream_check(stream, t);
        if (r == FRANCIS_OK)
            r = frn_stream_may_put(h, stream, size);
        if (r != FRANCIS_OK || size == 0)
            break;
        r = frn_stream_put(h, stream, t, frn_buf_ref(copy));
        if (r != FRANCIS_PENDING)
            break;
        if (stream->keeper != NULL) {
            r = FRANCIS_ERR_BUSY;
            break;
        }
        stream->want_write = true;
        r = frn_stream_wait(h, t, stream);
    } while (r == FRANCIS_OK);
    frn_after_blocking(h);
    frn_unlock(h);
    frn_buf_drop(&h->mem, copy);
    return r;
}

static francis_result frn_stream_end(francis_host *h, francis_stream *s, frn_turn *t)
{
    bool        dirty = frn_stream_dirty(s, t);
    frn_packet *p;

    if (!frn_stream_gated(h, s, t)) {
        s->out_end = true;
        frn_stream_pump(h, s);
        return FRANCIS_OK;
    }
    p = dirty ? frn_stream_stage(h, s, t) : frn_packet_new(h, s);
    if (p == NULL)
        return FRANCIS_ERR_NOMEM;
    p->end = true;
    if (!dirty)
        frn_packet_gate(h, p, frn_gate_of(h, t->actor), false);
    return FRANCIS_OK;
}

FRANCIS_API francis_result francis_stream_end(francis_ctx *ctx, francis_stream *stream)
{
    francis_host  *h = ctx->host;
    frn_turn      *t = frn_ctx_turn(ctx);
    francis_result r;

    if (stream == NULL || frn_forked(h))
        return FRANCIS_ERR_USAGE;
    frn_lock(h);
    r = frn_stream_check(stream, t);
    if (r == FRANCIS_OK)
        r = frn_stream_may_put(h, stream, 0);
    if (r == FRANCIS_OK)
        r = frn_stream_end(h, stream, t);
    else if (r == FRANCIS_ERR_STALE)
        r = FRANCIS_OK;             /* the handler has ended: it is the same to him */
    frn_after_blocking(h);
    frn_unlock(h);
    return r;
}

/* A handler closes its own stream. Ended, it is left to the end of the turn; else his caller cannot
 * get what the turn would have answered, so it has failed. */
static bool frn_stream_close_own(francis_stream *s)
{
    bool ended;

    frn_lock(s->host);
    ended = frn_stream_ended(s);
    frn_unlock(s->host);
    if (!ended)
        (void)frn_refuse(s->turn, FRANCIS_ERR_CANCELLED, "the handler has closed its stream");
    return ended;
}

FRANCIS_API void francis_stream_close(francis_stream *stream)
{
    francis_host *h;

    if (stream == NULL || frn_forked(stream->host))
        return;
    if (!stream->caller && stream->turn != NULL && !stream->kept && frn_stream_close_own(stream))
        return;
    h = stream->host;
    francis_call_free(&stream->wait);       /* waits for an on_ready in another thread */
    frn_lock(h);
    frn_stream_close(h, stream);
    frn_outbox_run(h);
    frn_after_blocking(h);
    frn_unlock(h);
}

FRANCIS_API void francis_stream_keep(francis_stream *stream)
{
    if (stream == NULL || frn_forked(stream->host))
        return;
    frn_lock(stream->host);
    if (!stream->caller && stream->turn != NULL)
        stream->kept = true;
    frn_unlock(stream->host);
}

FRANCIS_API const char *francis_stream_type(const francis_stream *stream)
{
    const char *type = "";

    if (stream == NULL || frn_forked(stream->host))
        return "";
    frn_lock(stream->host);
    if (stream->type_in != NULL)
        type = (const char *)FRN_BYTES(stream->type_in);
    frn_unlock(stream->host);
    return type;
}

FRANCIS_API francis_result francis_stream_set_type(francis_stream *stream, const char *type)
{
    francis_host  *h;
    frn_buf       *copy;
    francis_result r = FRANCIS_OK;

    if (stream == NULL || frn_forked(stream->host))
        return FRANCIS_ERR_USAGE;
    if (type == NULL || frn_type_text_fault(type) != NULL)
        return FRANCIS_ERR_INVALID;
    h = stream->host;
    copy = frn_buf_text(&h->mem, type);
    if (copy == NULL)
        return FRANCIS_ERR_NOMEM;
    frn_lock(h);
    if (stream->caller || stream->answered) {
        r = FRANCIS_ERR_USAGE;
    } else {
        frn_buf_drop(&h->mem, stream->type_out);
        stream->type_out = copy;
        copy = NULL;
    }
    frn_unlock(h);
    frn_buf_drop(&h->mem, copy);
    return r;
}

FRANCIS_API const char *francis_stream_error(const francis_stream *stream)
{
    const char *text = "";

    if (stream == NULL || frn_forked(stream->host))
        return "";
    frn_lock(stream->host);
    if (stream->failure != FRANCIS_OK)
        text = stream->error != NULL ? (const char *)FRN_BYTES(stream->error)
                                     : francis_strerror(stream->failure);
    frn_unlock(stream->host);
    return text;
}

// >> 820 api.durable | needs: 700 800
//    Public bodies for the state and the life of any actor.

FRANCIS_API francis_result francis_state_read(francis_ctx *ctx, const char *type, const char *id,
                                              francis_call *call)
{
    francis_host  *h = ctx->host;
    frn_turn      *t = FRN_IN_TURN(ctx) ? FRN_TURN(ctx) : NULL;
    const char    *what = "", *fault = NULL;
    frn_read       read;
    frn_call      *c = NULL;
    francis_result r;

    if (frn_forked(h))
        return frn_user_set(call, FRANCIS_ERR_USAGE, "the host belongs to the parent process");
    frn_lock(h);
    r = frn_user_reset(h, call);
    if (r == FRANCIS_OK && h->phase == FRN_HOST_OPEN)
        r = frn_refuse_call(h, t, call, FRANCIS_ERR_USAGE, "the host is not started");
    if (r == FRANCIS_OK && frn_spec_self(ctx, &type, &id))
        fault = frn_names_fault(type, id, NULL, &what);
    else if (r == FRANCIS_OK)
        r = frn_refuse_call(h, t, call, FRANCIS_ERR_INVALID, "type and id are needed");
    if (fault != NULL) {
        r = frn_refuse_call(h, t, call, FRANCIS_ERR_INVALID, "the %s %s", what, fault);
    } else if (r == FRANCIS_OK && frn_name_reserved(type)) {
        r = frn_refuse_call(h, t, call, FRANCIS_ERR_RESERVED, "type '%s' is francis's own", type);
    }
    frn_unlock(h);
    if (r != FRANCIS_OK)
        return r;
    memset(&read, 0, sizeof read);
    read.kind = FRN_READ_STATE;
    read.type = type;
    read.id = id;
    read.now_ms = frn_plat_wall_ms(&h->plat);
    h->store->ops->read(h->store, &read);
    frn_lock(h);
    if (read.result != FRANCIS_OK)
        r = frn_refuse_call(h, t, call, read.result, "%s", read.error);
    else if (read.state == NULL)
        r = frn_refuse_call(h, t, call, FRANCIS_ERR_NOT_FOUND, "there is no state of %s/%s", type,
                            id);
    else if (call != NULL && (c = frn_call_new(h, t, call)) == NULL)
        r = frn_user_set(call, FRANCIS_ERR_NOMEM, NULL);
    if (c != NULL) {
        c->state = FRN_CALL_DONE;
        c->result = FRANCIS_OK;
        c->reply = read.state;
        read.state = NULL;
        frn_call_publish(c);
    }
    frn_unlock(h);
    frn_buf_drop(&h->mem, read.state);
    return r;
}

/* The turns by which outsiders change an actor. */
static francis_result frn_state_put_run(francis_ctx *ctx)
{
    frn_turn      *t = FRN_TURN(ctx);
    void          *state;
    francis_result r = FRANCIS_OK;

    if (ctx->input.data == NULL) {
        if (t->base == NULL)
            return francis_fail(ctx, FRANCIS_ERR_NOT_FOUND, "there is no state of %s/%s", ctx->type,
                                ctx->id);
        frn_turn_delete(t);
        return FRANCIS_OK;
    }
    if (t->type->desc.state_size > 0) {
        state = francis_state(ctx);
        if (state == NULL)
            return FRANCIS_ERR_NOMEM;
        memset(state, 0, t->type->desc.state_size);
        memcpy(state, ctx->input.data, ctx->input.size);
    } else {
        r = francis_state_set(ctx, ctx->input.data, ctx->input.size);
    }
    return r != FRANCIS_OK ? r
        : francis_state_expire(ctx, t->expire_arg > 0 ? t->expire_arg : (int64_t)FRANCIS_FOREVER);
}

/* What the turn itself has set so far is forgotten as well. */
static francis_result frn_purge_run(francis_ctx *ctx)
{
    frn_turn *t = FRN_TURN(ctx);
    frn_list *l, *next;

    for (l = t->records.next; l != &t->records; l = next) {
        frn_record *r = FRN_OF(frn_record, link, l);
        next = l->next;
        if (r->a.texts != NULL && strcmp(frn_alarm_get(&r->a, FRN_TEXT_ACTOR), ctx->id) == 0
            && strcmp(frn_alarm_get(&r->a, FRN_TEXT_TYPE), ctx->type) == 0) {
            frn_record_free(&ctx->host->mem, r);
            t->records_count--;
        }
    }
    t->purge = true;
    frn_turn_delete(t);
    return FRANCIS_OK;
}

/* From inside a peek nothing is written, in whatever form. */
static francis_result frn_outer_write_check(francis_ctx *ctx, francis_call *call)
{
    if (!FRN_IN_TURN(ctx) || FRN_TURN(ctx)->exclusive)
        return FRANCIS_OK;
    (void)frn_may_write(FRN_TURN(ctx));
    return frn_user_set(call, FRANCIS_ERR_READ_ONLY, "a write inside a peek");
}

static bool frn_is_self(const francis_ctx *ctx, const char *type, const char *id)
{
    if (!FRN_IN_TURN(ctx))
        return false;
    return (type == NULL && id == NULL)
        || (type != NULL && id != NULL && strcmp(type, ctx->type) == 0 && strcmp(id, ctx->id) == 0);
}

FRANCIS_API francis_result francis_state_write(francis_ctx *ctx, const char *type, const char *id,
                                               const void *data, size_t size, int64_t expire_ms,
                                               francis_call *call)
{
    frn_spec       s;
    francis_result r = frn_outer_write_check(ctx, call);

    if (r != FRANCIS_OK)
        return r;
    if (expire_ms < FRANCIS_FOREVER)
        return frn_user_set(call, FRANCIS_ERR_INVALID, "expire_ms is negative");
    if (frn_is_self(ctx, type, id)) {
        if (data == NULL)
            return frn_user_set(call, francis_state_delete(ctx), NULL);
        r = francis_state_set(ctx, data, size);
        if (r == FRANCIS_OK)
            r = francis_state_expire(ctx, expire_ms > 0 ? expire_ms : (int64_t)FRANCIS_FOREVER);
        return frn_user_set(call, r, NULL);
    }
    memset(&s, 0, sizeof s);
    s.type = type;
    s.id = id;
    s.data = data;
    s.size = size;
    s.op = FRN_OP_PUT;
    s.run = frn_state_put_run;
    s.expire_ms = expire_ms;
    return frn_submit(ctx, &s, call);
}

FRANCIS_API francis_result francis_purge(francis_ctx *ctx, const char *type, const char *id,
                                         francis_call *call)
{
    frn_spec       s;
    francis_result r = frn_outer_write_check(ctx, call);

    if (r != FRANCIS_OK)
        return r;
    if (frn_is_self(ctx, type, id))
        return frn_user_set(call, frn_purge_run(ctx), NULL);
    memset(&s, 0, sizeof s);
    s.type = type;
    s.id = id;
    s.op = FRN_OP_PURGE;
    s.run = frn_purge_run;
    return frn_submit(ctx, &s, call);
}

static francis_result frn_halt_all_begin(francis_host *h, francis_ctx *ctx, francis_call *call)
{
    frn_turn      *t = FRN_IN_TURN(ctx) ? FRN_TURN(ctx) : NULL;
    frn_call      *c;
    francis_result r = frn_submit_check(h, t, call);

    if (r == FRANCIS_OK && t != NULL)
        r = frn_refuse_call(h, t, call, FRANCIS_ERR_USAGE, "a turn cannot wait for its own end");
    if (r != FRANCIS_OK)
        return r;
    c = frn_call_new(h, t, call);
    if (c == NULL)
        return frn_user_set(call, FRANCIS_ERR_NOMEM, NULL);
    h->stats.calls_in_flight++;
    c->held = true;
    frn_call_set_time(h, c, call, t);
    frn_call_arm(h, c);
    frn_halt_begin(h, c, NULL);
    if (!frn_call_over(c) && frn_is_async(call)) {
        c->held = false;
        c->on_done = call->on_done != NULL;
        call->result = FRANCIS_PENDING;
        return FRANCIS_PENDING;
    }
    if (!frn_call_over(c))
        frn_call_wait(h, t, c);
    return frn_call_take(h, t, c);
}

FRANCIS_API francis_result francis_halt(francis_ctx *ctx, const char *type, const char *id,
                                        francis_call *call)
{
    frn_spec       s;
    francis_result r = frn_outer_write_check(ctx, call);

    if (r != FRANCIS_OK)
        return r;
    if (!frn_forked(ctx->host) && frn_is_self(ctx, type, id)) {
        FRN_TURN(ctx)->halt = true;
        return frn_user_set(call, FRANCIS_OK, NULL);
    }
    memset(&s, 0, sizeof s);
    s.type = type;
    s.id = id;
    s.op = FRN_OP_HALT;
    return frn_submit(ctx, &s, call);
}

FRANCIS_API francis_result francis_halt_all(francis_ctx *ctx, francis_call *call)
{
    francis_host  *h = ctx->host;
    bool           stepped;
    francis_result r = frn_outer_write_check(ctx, call);

    if (r != FRANCIS_OK)
        return r;
    if (frn_forked(h))
        return frn_user_set(call, FRANCIS_ERR_USAGE, "the host belongs to the parent process");
    frn_lock(h);
    stepped = h->stepping;
    r = frn_halt_all_begin(h, ctx, call);
    h->stepping = stepped;
    frn_after_blocking(h);
    frn_unlock(h);
    return r;
}

// >> 825 api.alarm | needs: 675 820
//    Public bodies for alarms and jobs. In a turn a change is a part of the turn; outside it is a
//    write of its own.

enum { FRN_MISSED_MOST = 1000, FRN_RECORDS_MAX = 4096 };

typedef struct frn_ask {            /* who asks */
    francis_host *host;
    frn_turn     *turn;             /* NULL = outside */
    francis_call *user;
} frn_ask;

/* Refused, in words; in a turn the turn fails by it. Lock held. */
static francis_result frn_ask_refuse(const frn_ask *ask, francis_result r, const char *format, ...)
    FRANCIS_PRINTF(3, 4);

static francis_result frn_ask_refuse(const frn_ask *ask, francis_result r, const char *format, ...)
{
    char    text[700];
    va_list args;

    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (ask->turn != NULL)
        (void)frn_refuse(ask->turn, r, text);
    return frn_refuse_call(ask->host, ask->turn, ask->user, r, "%s", text);
}

/* Whether anything may be asked at all. Lock held. */
static francis_result frn_ask_check(const frn_ask *ask)
{
    francis_result r = frn_user_reset(ask->host, ask->user);

    if (r != FRANCIS_OK)
        return r;
    if (ask->turn == NULL)
        return frn_submit_check(ask->host, NULL, ask->user);
    r = frn_host_takes(ask->host, ask->turn, ask->user);
    if (r != FRANCIS_OK)
        return r;
    if (!ask->turn->exclusive)
        return frn_ask_refuse(ask, FRANCIS_ERR_READ_ONLY, "a write inside a peek");
    if (ask->turn->records_count >= FRN_RECORDS_MAX)
        return frn_ask_refuse(ask, FRANCIS_ERR_TOO_LARGE, "a turn changes at most %d alarms and"
                              " jobs", FRN_RECORDS_MAX);
    return FRANCIS_OK;
}

/* What alarms and jobs have in common. */
typedef struct frn_wish {
    const char *type, *id, *name;   /* of the alarm, or method of the job */
    const void *data;
    size_t      size;
    int64_t     due_ms, delay_ms, repeat_ms, until_ms;
    const char *repeat;
} frn_wish;

/* Filled from a francis_alarm or a francis_job; NULL, NULL is the actor whose turn it is. */
#define FRN_WISH_FILL(w, ctx, from, called)                          \
    do {                                                             \
        memset((w), 0, sizeof *(w));                                 \
        (w)->type = (from)->type;                                    \
        (w)->id = (from)->id;                                        \
        (w)->name = (from)->called;                                  \
        (w)->data = (from)->data;                                    \
        (w)->size = (from)->size;                                    \
        (w)->due_ms = (from)->due_ms;                                \
        (w)->delay_ms = (from)->delay_ms;                            \
        (w)->repeat = (from)->repeat;                                \
        (w)->repeat_ms = (from)->repeat_ms;                          \
        (w)->until_ms = (from)->until_ms;                            \
        (void)frn_spec_self((ctx), &(w)->type, &(w)->id);            \
    } while (0)

static francis_result frn_wish_name(const frn_ask *ask, const char *what, const char *name)
{
    const char *fault = frn_name_fault(name);

    if (fault == NULL)
        return FRANCIS_OK;
    return name == NULL || name[0] == '\0'
        ? frn_ask_refuse(ask, FRANCIS_ERR_INVALID, "the %s %s", what, fault)
        : frn_ask_refuse(ask, FRANCIS_ERR_INVALID, "the %s '%.100s' %s", what, name, fault);
}

static francis_result frn_wish_names(const frn_ask *ask, const frn_wish *w, const char *called)
{
    const frn_type *type;
    francis_result  r = frn_wish_name(ask, "type", w->type);

    if (r == FRANCIS_OK)
        r = frn_wish_name(ask, "id", w->id);
    if (r == FRANCIS_OK)
        r = frn_wish_name(ask, called, w->name);
    if (r != FRANCIS_OK)
        return r;
    if (frn_name_reserved(w->type))
        return frn_ask_refuse(ask, FRANCIS_ERR_RESERVED, "type '%s' is francis's own", w->type);
    type = frn_type_find(ask->host, w->type);
    if (type != NULL && type->desc.singleton && strcmp(w->id, FRN_SINGLETON) != 0)
        return frn_ask_refuse(ask, FRANCIS_ERR_INVALID, "%s is a singleton; its id is"
                              " '" FRN_SINGLETON "', not '%s'", w->type, w->id);
    return FRANCIS_OK;
}

/* Whether this program could run it, if it serves the type. */
static francis_result frn_wish_handler(const frn_ask *ask, const frn_wish *w, frn_alarm_kind kind)
{
    const frn_type       *type = frn_type_find(ask->host, w->type);
    const francis_method *m;

    if (type == NULL)
        return FRANCIS_OK;
    if (frn_due_handler(type, kind, w->name) == NULL)
        return frn_ask_refuse(ask, FRANCIS_ERR_UNKNOWN_METHOD, "type %s has no handler for the %s"
                              " '%s'", w->type, kind == FRN_KIND_JOB ? "job" : "alarm", w->name);
    m = frn_method_find(type, w->name, kind == FRN_KIND_JOB ? FRANCIS_JOB : FRANCIS_ALARM);
    if (m != NULL && m->input_size != 0 && m->input_size != w->size)
        return frn_ask_refuse(ask, FRANCIS_ERR_BAD_INPUT, "'%s' of %s takes %lu bytes, not %lu",
                              w->name, w->type, (unsigned long)m->input_size,
                              (unsigned long)w->size);
    return FRANCIS_OK;
}

static francis_result frn_wish_numbers(const frn_ask *ask, const frn_wish *w)
{
    const frn_number all[] = {
        { "due_ms", w->due_ms, 0, FRN_TIME_MAX },
        { "delay_ms", w->delay_ms, 0, FRN_TIME_MAX },
        { "repeat_ms", w->repeat_ms, 0, FRN_INTERVAL_MAX },
        { "until_ms", w->until_ms, 0, INT64_MAX }
    };
    const frn_number *n = frn_numbers_fault(all, FRN_COUNT(all));
    size_t            most = ask->host->desc.message_bytes_max;

    if (n != NULL)
        return frn_ask_refuse(ask, FRANCIS_ERR_INVALID, "%s is %lld, not from %lld to %lld",
                              n->name, (long long)n->value, (long long)n->min, (long long)n->max);
    if (w->due_ms != 0 && w->delay_ms != 0)
        return frn_ask_refuse(ask, FRANCIS_ERR_INVALID, "due_ms %lld and delay_ms %lld are both"
                              " given", (long long)w->due_ms, (long long)w->delay_ms);
    if (w->repeat != NULL && w->repeat[0] != '\0' && w->repeat_ms != 0)
        return frn_ask_refuse(ask, FRANCIS_ERR_INVALID, "repeat '%.200s' and repeat_ms %lld are"
                              " both given", w->repeat, (long long)w->repeat_ms);
    if (w->size > 0 && w->data == NULL)
        return frn_ask_refuse(ask, FRANCIS_ERR_INVALID, "data is NULL, its size %lu",
                              (unsigned long)w->size);
    if (w->size > most)
        return frn_ask_refuse(ask, FRANCIS_ERR_TOO_LARGE, "%lu bytes; message_bytes_max is %lu",
                              (unsigned long)w->size, (unsigned long)most);
    return FRANCIS_OK;
}

/* When it is due, and when again. */
static francis_result frn_wish_time(const frn_ask *ask, const frn_wish *w, frn_record *r,
                                    frn_schedule *s)
{
    char           error[300];
    int64_t        now_ms = ask->turn != NULL ? francis_now(&ask->turn->ctx)
                                              : frn_plat_wall_ms(&ask->host->plat);
    francis_result result = w->repeat_ms != 0
        ? frn_schedule_every(w->repeat_ms, s, error, sizeof error)
        : frn_schedule_parse(&ask->host->zones, w->repeat, s, error, sizeof error);

    if (result != FRANCIS_OK)
        return frn_ask_refuse(ask, result, "repeat: %s", error);
    r->a.due_ms = w->due_ms != 0 ? w->due_ms : frn_add_time(now_ms, w->delay_ms);
    if (w->due_ms == 0 && w->delay_ms == 0 && w->repeat != NULL && strchr(w->repeat, '@') != NULL)
        r->a.due_ms = frn_schedule_next(s, now_ms, now_ms);     /* "@every 1h": in an hour */
    r->a.anchor_ms = r->a.due_ms;
    if (w->due_ms == 0 && w->delay_ms == 0 && frn_schedule_is_cron(s)) {
        r->a.due_ms = frn_schedule_next(s, now_ms, now_ms);
        r->a.anchor_ms = 0;         /* cron asks for none: the same whenever it is set again */
    }
    if (r->a.due_ms > FRN_TIME_MAX)
        return frn_ask_refuse(ask, FRANCIS_ERR_INVALID, "it would be due after the year 9999");
    r->a.wake_ms = r->a.due_ms;
    r->a.until_ms = w->until_ms;
    r->look_ms = frn_alarm_look_ms(s, r->a.due_ms);
    return FRANCIS_OK;
}

/* The row of a wish; key: of a job, NULL = its id. */
static francis_result frn_wish_row(const frn_ask *ask, const frn_wish *w, const char *key,
                                   frn_record *r)
{
    francis_host  *h = ask->host;
    char           repeat[FRN_SCHEDULE_TEXT_MAX], name[FRANCIS_NAME_SIZE + 2];
    const char    *texts[FRN_TEXTS];
    frn_schedule   s;
    francis_result result = frn_wish_time(ask, w, r, &s);

    if (result != FRANCIS_OK)
        return result;
    if (!frn_uuid_make(&h->plat, r->a.id))
        return frn_ask_refuse(ask, FRANCIS_ERR_INTERNAL, "the system has no randomness for an id");
    frn_schedule_text(&s, repeat, sizeof repeat);
    if (r->a.kind == FRN_KIND_JOB)
        (void)snprintf(name, sizeof name, "%s%s", key != NULL ? "/" : "//",
                       key != NULL ? key : r->a.id);
    texts[FRN_TEXT_TYPE] = w->type;
    texts[FRN_TEXT_ACTOR] = w->id;
    texts[FRN_TEXT_NAME] = r->a.kind == FRN_KIND_JOB ? name : w->name;
    texts[FRN_TEXT_METHOD] = r->a.kind == FRN_KIND_JOB ? w->name : "";
    texts[FRN_TEXT_REPEAT] = repeat;
    if (!frn_alarm_set_texts(&h->mem, &r->a, texts)
        || (w->size > 0 && (r->a.data = frn_buf_copy(&h->mem, w->data, w->size)) == NULL))
        return frn_ask_refuse(ask, FRANCIS_ERR_NOMEM, "no memory for the alarm");
    if (r->a.kind == FRN_KIND_JOB)
        r->a.hash = frn_work_hash(w->name, w->data, w->size);
    return FRANCIS_OK;
}

/* A finished answer of a turn's own change: text is the reply. Lock held. */
static francis_result frn_ask_answer(const frn_ask *ask, const char *text)
{
    frn_call *c;

    if (ask->user == NULL || text == NULL)
        return FRANCIS_OK;
    c = frn_call_new(ask->host, ask->turn, ask->user);
    if (c == NULL || (c->reply = frn_buf_text(&ask->host->mem, text)) == NULL) {
        if (c != NULL)
            frn_call_release(ask->host, c);
        frn_user_clear(ask->user);
        return frn_ask_refuse(ask, FRANCIS_ERR_NOMEM, "no memory for the id");
    }
    c->state = FRN_CALL_DONE;
    c->result = FRANCIS_OK;
    frn_call_publish(c);
    return FRANCIS_OK;
}

/* Outside of turns: a write of its own. Lock held, given up meanwhile. */
static francis_result frn_ask_write(const frn_ask *ask, frn_record *r)
{
    francis_host *h = ask->host;
    frn_call     *c = frn_call_new(h, NULL, ask->user);
    frn_write    *w = c != NULL ? frn_records_write(h, r) : NULL;
    bool          stepped = h->stepping;
    francis_result result;

    if (w == NULL) {
        frn_record_free(&h->mem, r);
        if (c != NULL)
            frn_call_release(h, c);
        return frn_user_set(ask->user, FRANCIS_ERR_NOMEM, NULL);
    }
    h->stats.calls_in_flight++;
    c->held = true;
    c->wrote = true;
    c->method = "";
    c->result = FRANCIS_OK;
    r->call = c->handle;
    frn_call_set_time(h, c, ask->user, NULL);
    frn_call_arm(h, c);
    frn_gate_wait(&w->gate, c, FRN_CALL_WRITING);
    frn_write_queue(h, w);
    if (frn_is_async(ask->user)) {
        c->held = false;
        c->on_done = ask->user->on_done != NULL;
        ask->user->result = FRANCIS_PENDING;
        result = FRANCIS_PENDING;
    } else {
        frn_call_wait(h, NULL, c);
        result = frn_call_take(h, NULL, c);
    }
    h->stepping = stepped;
    frn_after_blocking(h);
    return result;
}

/* Hands it in. reply: what a turn's own change answers. Lock held. */
static francis_result frn_ask_submit(const frn_ask *ask, frn_record *r, const char *reply)
{
    francis_result result;

    if (ask->turn == NULL)
        return frn_ask_write(ask, r);
    result = frn_ask_answer(ask, reply);
    if (result != FRANCIS_OK) {
        frn_record_free(&ask->host->mem, r);
        return result;
    }
    frn_list_push(&ask->turn->records, &r->link);
    ask->turn->records_count++;
    return FRANCIS_OK;
}

/* ---- what a turn can know before its commit ---- */

typedef enum frn_there { FRN_THERE_UNKNOWN, FRN_THERE_YES, FRN_THERE_NO } frn_there;

/* What a record says of the row of a key, or with the id. */
static frn_there frn_record_says(const frn_record *r, const frn_alarm *key)
{
    bool same = key->texts != NULL && r->a.texts != NULL && frn_alarm_same_key(&r->a, key);

    switch (r->op) {
    case FRN_RECORD_SET:
        return same ? FRN_THERE_YES : FRN_THERE_UNKNOWN;
    case FRN_RECORD_DELETE:
        return same ? FRN_THERE_NO : FRN_THERE_UNKNOWN;
    case FRN_RECORD_DISPATCH:
        return strcmp(r->a.id, key->id) == 0 ? FRN_THERE_YES : FRN_THERE_UNKNOWN;
    case FRN_RECORD_RETRY:
        return strcmp(r->next_id, key->id) == 0 ? FRN_THERE_YES
             : strcmp(r->a.id, key->id) == 0    ? FRN_THERE_NO : FRN_THERE_UNKNOWN;
    case FRN_RECORD_CANCEL:
        return strcmp(r->a.id, key->id) == 0 ? FRN_THERE_NO : FRN_THERE_UNKNOWN;
    default:
        return FRN_THERE_UNKNOWN;
    }
}

static frn_there frn_records_say(const frn_list *records, const frn_alarm *key)
{
    const frn_list *l;
    frn_there       there = FRN_THERE_UNKNOWN;

    for (l = records->prev; l != records && there == FRN_THERE_UNKNOWN; l = l->prev)
        there = frn_record_says(FRN_OF(const frn_record, link, l), key);
    return there;
}

static frn_there frn_writes_say(const frn_list *writes, const frn_alarm *key)
{
    const frn_list *l;
    frn_there       there = FRN_THERE_UNKNOWN;

    for (l = writes->prev; l != writes && there == FRN_THERE_UNKNOWN; l = l->prev) {
        const frn_write *w = FRN_OF(const frn_write, link, l);
        there = frn_records_say(&w->records, key);
        if (there == FRN_THERE_UNKNOWN && w->purge && key->texts != NULL
            && strcmp(w->id, frn_alarm_get(key, FRN_TEXT_ACTOR)) == 0
            && strcmp(w->type, frn_alarm_get(key, FRN_TEXT_TYPE)) == 0)
            there = FRN_THERE_NO;
    }
    return there;
}

static bool frn_ask_found(frn_read *read, frn_sighting *found)
{
    *(frn_sighting *)read->user = *found;
    return false;
}

/* Whether the row is there, for all that this turn can see. dead: only a dead job counts; any
 * other one does for an id. Lock held, given up meanwhile. */
static francis_result frn_ask_look(const frn_ask *ask, const frn_alarm *key, bool dead, bool *is)
{
    francis_host *h = ask->host;
    frn_there     there = frn_records_say(&ask->turn->records, key);
    frn_sighting     found;
    frn_read      read;

    if (there == FRN_THERE_UNKNOWN)
        there = frn_writes_say(&h->queue, key);
    if (there == FRN_THERE_UNKNOWN && h->committing)
        there = frn_writes_say(&h->part.writes, key);
    *is = there == FRN_THERE_YES && !dead;
    if (there != FRN_THERE_UNKNOWN)
        return FRANCIS_OK;
    memset(&read, 0, sizeof read);
    memset(&found, 0, sizeof found);
    read.kind = FRN_READ_ALARM;
    read.id = key->id;
    if (key->texts != NULL) {
        read.type = frn_alarm_get(key, FRN_TEXT_TYPE);
        read.id = frn_alarm_get(key, FRN_TEXT_ACTOR);
        read.name = frn_alarm_get(key, FRN_TEXT_NAME);
    }
    read.on_alarm = frn_ask_found;
    read.user = &found;
    frn_unlock(h);
    h->store->ops->read(h->store, &read);
    frn_lock(h);
    *is = found.a.texts != NULL && (!dead || found.a.kind == FRN_KIND_HOOK)
       && (key->texts != NULL || found.a.kind != FRN_KIND_ALARM);
    frn_alarm_clear(&h->mem, &found.a);
    return read.result == FRANCIS_OK ? FRANCIS_OK
                                     : frn_ask_refuse(ask, read.result, "%s", read.error);
}

/* A turn hears at once that there is nothing, and does not fail by that. */
static francis_result frn_ask_find(const frn_ask *ask, const frn_alarm *key, bool dead,
                                   const char *nothing)
{
    bool           is = true;
    francis_result r = ask->turn == NULL ? FRANCIS_OK : frn_ask_look(ask, key, dead, &is);

    if (r == FRANCIS_OK && !is)
        return frn_refuse_call(ask->host, ask->turn, ask->user, FRANCIS_ERR_NOT_FOUND, "%s",
                               nothing);
    return r;
}

/* ---- the functions ---- */

static francis_result frn_alarm_set_locked(const frn_ask *ask, const frn_wish *w,
                                           const francis_alarm *alarm)
{
    frn_record    *r;
    francis_result result = frn_ask_check(ask);

    if (result == FRANCIS_OK)
        result = frn_wish_names(ask, w, "name");
    if (result == FRANCIS_OK)
        result = frn_wish_handler(ask, w, FRN_KIND_ALARM);
    if (result == FRANCIS_OK)
        result = frn_wish_numbers(ask, w);
    if (result == FRANCIS_OK && (alarm->missed < FRANCIS_MISSED_ONCE
                                 || alarm->missed > FRANCIS_MISSED_ALL))
        result = frn_ask_refuse(ask, FRANCIS_ERR_INVALID, "missed is %d", (int)alarm->missed);
    if (result != FRANCIS_OK)
        return result;
    r = frn_record_new(&ask->host->mem, FRN_RECORD_SET);
    if (r == NULL)
        return frn_ask_refuse(ask, FRANCIS_ERR_NOMEM, "no memory for the alarm");
    r->a.kind = FRN_KIND_ALARM;
    r->a.missed = alarm->missed;
    r->a.missed_max = alarm->missed != FRANCIS_MISSED_ALL ? 0
                    : alarm->missed_max != 0 ? alarm->missed_max : (uint32_t)FRN_MISSED_MOST;
    r->a.wait_for_clock = alarm->wait_for_clock;
    result = frn_wish_row(ask, w, NULL, r);
    if (result == FRANCIS_OK)
        return frn_ask_submit(ask, r, NULL);
    frn_record_free(&ask->host->mem, r);
    return result;
}

static bool frn_ask_open(frn_ask *ask, francis_ctx *ctx, francis_call *call, francis_result *r)
{
    ask->host = ctx->host;
    ask->turn = FRN_IN_TURN(ctx) ? FRN_TURN(ctx) : NULL;
    ask->user = call;
    *r = FRANCIS_OK;
    if (frn_forked(ctx->host))
        *r = frn_user_set(call, FRANCIS_ERR_USAGE, "the host belongs to the parent process");
    if (*r == FRANCIS_OK)
        frn_lock(ctx->host);
    return *r == FRANCIS_OK;
}

FRANCIS_API francis_result francis_alarm_set(francis_ctx *ctx, const francis_alarm *alarm,
                                             francis_call *call)
{
    frn_ask        ask;
    frn_wish       w;
    francis_result r;

    if (!frn_ask_open(&ask, ctx, call, &r))
        return r;
    FRN_WISH_FILL(&w, ctx, alarm, name);
    r = frn_alarm_set_locked(&ask, &w, alarm);
    frn_unlock(ctx->host);
    return r;
}

static francis_result frn_alarm_delete_locked(const frn_ask *ask, const frn_wish *w)
{
    frn_record    *r;
    const char    *texts[FRN_TEXTS];
    francis_result result = frn_ask_check(ask);

    if (result == FRANCIS_OK)
        result = frn_wish_names(ask, w, "name");
    if (result != FRANCIS_OK)
        return result;
    texts[FRN_TEXT_TYPE] = w->type;
    texts[FRN_TEXT_ACTOR] = w->id;
    texts[FRN_TEXT_NAME] = w->name;
    texts[FRN_TEXT_METHOD] = texts[FRN_TEXT_REPEAT] = "";
    r = frn_record_new(&ask->host->mem, FRN_RECORD_DELETE);
    if (r == NULL || !frn_alarm_set_texts(&ask->host->mem, &r->a, texts)) {
        if (r != NULL)
            frn_record_free(&ask->host->mem, r);
        return frn_ask_refuse(ask, FRANCIS_ERR_NOMEM, "no memory to delete the alarm");
    }
    result = frn_ask_find(ask, &r->a, false, "there is no such alarm");
    if (result == FRANCIS_OK)
        return frn_ask_submit(ask, r, NULL);
    frn_record_free(&ask->host->mem, r);
    return result;
}

FRANCIS_API francis_result francis_alarm_delete(francis_ctx *ctx, const francis_alarm *alarm,
                                                francis_call *call)
{
    frn_ask        ask;
    frn_wish       w;
    francis_result r;

    if (!frn_ask_open(&ask, ctx, call, &r))
        return r;
    FRN_WISH_FILL(&w, ctx, alarm, name);
    r = frn_alarm_delete_locked(&ask, &w);
    frn_unlock(ctx->host);
    return r;
}

/* The first job of that key that is on its way into the file. */
static const frn_record *frn_records_job(const frn_list *records, const frn_alarm *key)
{
    const frn_list *l;

    for (l = records->next; l != records; l = l->next) {
        const frn_record *r = FRN_OF(const frn_record, link, l);
        if (r->op == FRN_RECORD_DISPATCH && frn_alarm_same_key(&r->a, key))
            return r;
    }
    return NULL;
}

static const frn_record *frn_writes_job(const frn_list *writes, const frn_alarm *key)
{
    const frn_list   *l;
    const frn_record *r = NULL;

    for (l = writes->next; l != writes && r == NULL; l = l->next)
        r = frn_records_job(&FRN_OF(const frn_write, link, l)->records, key);
    return r;
}

/* The same for all that this turn can know of. */
static const frn_record *frn_ask_job(const frn_ask *ask, const frn_alarm *key)
{
    const frn_record *r = NULL;

    if (ask->host->committing)
        r = frn_writes_job(&ask->host->part.writes, key);
    if (r == NULL)
        r = frn_writes_job(&ask->host->queue, key);
    return r != NULL ? r : frn_records_job(&ask->turn->records, key);
}

/* What a turn is told of an earlier job with the same request id. */
static francis_result frn_job_is(const frn_ask *ask, const frn_record *r, const frn_alarm *earlier,
                                 char *id)
{
    (void)snprintf(id, FRN_UUID_SIZE, "%s", earlier->id);
    return earlier->hash == r->a.hash ? FRANCIS_OK
        : frn_ask_refuse(ask, FRANCIS_ERR_EXISTS, "request id '%s' stands for another method or"
                         " other data", frn_alarm_get(&r->a, FRN_TEXT_NAME) + 1);
}

/* The id of the job, which is that of an earlier one if it has the same request id. Lock held,
 * given up meanwhile. */
static francis_result frn_job_earlier(const frn_ask *ask, const frn_record *r, char *id)
{
    francis_host     *h = ask->host;
    const frn_record *other;
    frn_sighting      found;
    frn_read          read;
    francis_result    result;

    (void)snprintf(id, FRN_UUID_SIZE, "%s", r->a.id);
    if (frn_alarm_get(&r->a, FRN_TEXT_NAME)[1] == '/')
        return FRANCIS_OK;
    memset(&read, 0, sizeof read);
    memset(&found, 0, sizeof found);
    read.kind = FRN_READ_ALARM;
    read.type = frn_alarm_get(&r->a, FRN_TEXT_TYPE);
    read.id = frn_alarm_get(&r->a, FRN_TEXT_ACTOR);
    read.name = frn_alarm_get(&r->a, FRN_TEXT_NAME);
    read.on_alarm = frn_ask_found;
    read.user = &found;
    frn_unlock(h);
    h->store->ops->read(h->store, &read);
    frn_lock(h);
    if (read.result != FRANCIS_OK)
        return frn_ask_refuse(ask, read.result, "%s", read.error);
    if (found.a.texts != NULL) {
        result = frn_job_is(ask, r, &found.a, id);
        frn_alarm_clear(&h->mem, &found.a);
        return result;
    }
    other = frn_ask_job(ask, &r->a);
    return other != NULL ? frn_job_is(ask, r, &other->a, id) : FRANCIS_OK;
}

static francis_result frn_job_dispatch_locked(const frn_ask *ask, const frn_wish *w,
                                              const char *key)
{
    frn_record    *r;
    char           id[FRN_UUID_SIZE];
    francis_result result = frn_ask_check(ask);

    if (result == FRANCIS_OK)
        result = frn_wish_names(ask, w, "method");
    if (result == FRANCIS_OK && key != NULL)
        result = frn_wish_name(ask, "request_id", key);
    if (result == FRANCIS_OK)
        result = frn_wish_handler(ask, w, FRN_KIND_JOB);
    if (result == FRANCIS_OK)
        result = frn_wish_numbers(ask, w);
    if (result != FRANCIS_OK)
        return result;
    r = frn_record_new(&ask->host->mem, FRN_RECORD_DISPATCH);
    if (r == NULL)
        return frn_ask_refuse(ask, FRANCIS_ERR_NOMEM, "no memory for the job");
    r->a.kind = FRN_KIND_JOB;
    result = frn_wish_row(ask, w, key, r);
    if (result == FRANCIS_OK && ask->turn != NULL)
        result = frn_job_earlier(ask, r, id);
    if (result == FRANCIS_OK)
        return frn_ask_submit(ask, r, id);
    frn_record_free(&ask->host->mem, r);
    return result;
}

FRANCIS_API francis_result francis_job_dispatch(francis_ctx *ctx, const francis_job *job,
                                                francis_call *call)
{
    frn_ask        ask;
    frn_wish       w;
    francis_result r;

    if (!frn_ask_open(&ask, ctx, call, &r))
        return r;
    FRN_WISH_FILL(&w, ctx, job, method);
    r = frn_job_dispatch_locked(&ask, &w, job->request_id);
    frn_unlock(ctx->host);
    return r;
}

static francis_result frn_job_by_id_locked(const frn_ask *ask, const char *fault, const char *id,
                                           frn_record_op op)
{
    frn_record    *r;
    bool           retry = op == FRN_RECORD_RETRY;
    francis_result result = frn_ask_check(ask);

    if (result != FRANCIS_OK)
        return result;
    if (fault != NULL)
        return frn_ask_refuse(ask, FRANCIS_ERR_INVALID, "the job_id %s", fault);
    r = frn_record_new(&ask->host->mem, op);
    if (r == NULL)
        return frn_ask_refuse(ask, FRANCIS_ERR_NOMEM, "no memory for the change");
    r->a.kind = FRN_KIND_JOB;
    memcpy(r->a.id, id, sizeof r->a.id);
    if (retry && !frn_uuid_make(&ask->host->plat, r->next_id))
        result = frn_ask_refuse(ask, FRANCIS_ERR_INTERNAL, "the system has no randomness");
    if (result == FRANCIS_OK)
        result = frn_ask_find(ask, &r->a, retry, retry ? "there is no such dead job"
                                                       : "there is no such job");
    if (result == FRANCIS_OK)
        return frn_ask_submit(ask, r, retry ? r->next_id : NULL);
    frn_record_free(&ask->host->mem, r);
    return result;
}

/* CANCEL or RETRY of the job with that id, which may be what call has brought. */
static francis_result frn_job_by_id(francis_ctx *ctx, const char *job_id, francis_call *call,
                                    frn_record_op op)
{
    frn_ask        ask;
    const char    *fault = frn_name_fault(job_id);
    char           id[FRN_UUID_SIZE] = "-";     /* no job is called so, nor by a longer name */
    francis_result r;

    if (fault == NULL && strlen(job_id) < sizeof id)
        (void)snprintf(id, sizeof id, "%s", job_id);
    if (!frn_ask_open(&ask, ctx, call, &r))
        return r;
    r = frn_job_by_id_locked(&ask, fault, id, op);
    frn_unlock(ctx->host);
    return r;
}

FRANCIS_API francis_result francis_job_cancel(francis_ctx *ctx, const char *job_id,
                                              francis_call *call)
{
    return frn_job_by_id(ctx, job_id, call, FRN_RECORD_CANCEL);
}

FRANCIS_API francis_result francis_job_retry(francis_ctx *ctx, const char *job_id,
                                             francis_call *call)
{
    return frn_job_by_id(ctx, job_id, call, FRN_RECORD_RETRY);
}

// >> 830 api.list | needs: 700

typedef struct frn_page {
    francis_host *host;
    frn_item      items[FRN_PAGE_ITEMS];
    size_t        count, at;
    bool          last;             /* there is no page behind this one */
    uint64_t      given;
    char          error[256];
    char          cursor[3 * (FRANCIS_NAME_SIZE + 2)];
    char          key[3][FRANCIS_NAME_SIZE + 2];    /* where the next page begins */
    bool          has_key;
} frn_page;

static void frn_page_clear(frn_page *p)
{
    size_t i;
    for (i = 0; i < p->count; i++) {
        frn_buf_drop(&p->host->mem, p->items[i].keys);
        frn_buf_drop(&p->host->mem, p->items[i].data);
    }
    p->count = p->at = 0;
}

static int frn_list_keys(francis_list_kind what)        /* how many a cursor has */
{
    switch (what) {
    case FRANCIS_LIST_HOSTS:     return 1;
    case FRANCIS_LIST_ALARMS:
    case FRANCIS_LIST_JOBS:
    case FRANCIS_LIST_DEAD_JOBS: return 3;
    default:                     return 2;
    }
}

/* A cursor is the key of an item: "type/id", "type/host", "host", "type/id/name"; only the last one
 * may contain '/'. */
static bool frn_cursor_parse(francis_list_kind what, const char *cursor, frn_page *p)
{
    int keys = frn_list_keys(what), i;

    for (i = 0; i < keys; i++) {
        const char *slash = i + 1 < keys ? strchr(cursor, '/') : NULL;
        size_t      size = slash != NULL ? (size_t)(slash - cursor) : strlen(cursor);
        if ((slash == NULL && i + 1 < keys) || size >= sizeof p->key[i])
            return false;
        (void)snprintf(p->key[i], sizeof p->key[i], "%.*s", (int)size, cursor);
        cursor += size + (slash != NULL);
    }
    p->has_key = true;
    if (what == FRANCIS_LIST_JOBS)  /* their keys begin with it, or are those of others */
        return true;
    return strchr(p->key[keys - 1], '/') == NULL;
}

static francis_result frn_list_fail(francis_list *list, francis_result r, const char *error)
{
    list->error = error;
    return list->result = r;
}

static francis_result frn_list_open(francis_host *h, francis_list *list)
{
    frn_page *p;

    if (frn_page_sql_find(list->what) == NULL)
        return frn_list_fail(list, FRANCIS_ERR_INVALID, "there is no such kind of list");
    if ((list->type != NULL && frn_name_fault(list->type) != NULL)
        || (list->id != NULL && frn_name_fault(list->id) != NULL)
        || (list->name != NULL && frn_name_fault(list->name) != NULL))
        return frn_list_fail(list, FRANCIS_ERR_INVALID, "the type, id or name is not a name");
    if (frn_host_phase_now(h) == FRN_HOST_OPEN)
        return frn_list_fail(list, FRANCIS_ERR_USAGE, "the host is not started");
    p = (frn_page *)frn_mem_alloc(&h->mem, sizeof *p);
    if (p == NULL)
        return frn_list_fail(list, FRANCIS_ERR_NOMEM, francis_strerror(FRANCIS_ERR_NOMEM));
    p->host = h;
    if (list->after != NULL && list->after[0] != '\0'
        && !frn_cursor_parse(list->what, list->after, p)) {
        frn_mem_free(&h->mem, p, sizeof *p);
        return frn_list_fail(list, FRANCIS_ERR_INVALID, "'after' is not a cursor of such a list");
    }
    list->internal = p;
    return FRANCIS_OK;
}

static francis_result frn_list_read(francis_host *h, francis_list *list, frn_page *p)
{
    frn_read read;

    frn_page_clear(p);
    memset(&read, 0, sizeof read);
    read.kind = FRN_READ_PAGE;
    read.what = list->what;
    read.type = list->type;
    read.id = list->id;
    read.name = list->name;
    read.now_ms = frn_plat_wall_ms(&h->plat);
    read.with_data = list->with_data;
    read.items = p->items;
    read.limit = FRN_PAGE_ITEMS;
    if (list->limit != 0 && list->limit - p->given < read.limit)
        read.limit = (size_t)(list->limit - p->given);
    if (p->has_key) {
        read.after[0] = p->key[0];
        read.after[1] = p->key[1];
        read.after[2] = p->key[2];
    }
    h->store->ops->read(h->store, &read);
    p->count = read.count;
    p->last = read.count < read.limit;
    if (read.result != FRANCIS_OK) {
        (void)snprintf(p->error, sizeof p->error, "%s", read.error);
        return frn_list_fail(list, read.result, p->error);
    }
    return FRANCIS_OK;
}

/* The key of an item, for the next page and as a cursor. */
static void frn_list_mark(francis_list *list, frn_page *p, const frn_item *it)
{
    static const uint8_t of[][3] = {
        { FRN_COLUMN_TYPE, FRN_COLUMN_ID, 0 },              /* states */
        { FRN_COLUMN_TYPE, FRN_COLUMN_ID, FRN_COLUMN_NAME },
        { FRN_COLUMN_TYPE, FRN_COLUMN_ID, FRN_COLUMN_KEY },
        { FRN_COLUMN_TYPE, FRN_COLUMN_ID, FRN_COLUMN_JOB },
        { FRN_COLUMN_TYPE, FRN_COLUMN_ID, 0 },              /* active */
        { FRN_COLUMN_HOST, 0, 0 },
        { FRN_COLUMN_TYPE, FRN_COLUMN_HOST, 0 }
    };
    const char *texts = (const char *)FRN_BYTES(it->keys);
    int         keys = frn_list_keys(list->what), i;
    size_t      n = 0;

    for (i = 0; i < keys; i++) {
        (void)snprintf(p->key[i], sizeof p->key[i], "%s", texts + it->at[of[list->what][i]]);
        n += (size_t)snprintf(p->cursor + n, sizeof p->cursor - n, "%s%s", i > 0 ? "/" : "",
                              p->key[i]);
    }
    p->has_key = true;
    list->cursor = p->cursor;
}

static int64_t frn_item_number(const frn_item *it, frn_column which)
{
    return it->numbers[which - FRN_COLUMN_TEXTS];
}

/* Keys of jobs begin with '/'; one that nobody has given is "//" and an id. */
static const char *frn_job_key_shown(const char *key)
{
    return key[0] != '/' ? key : key[1] == '/' ? "" : key + 1;
}

static francis_status frn_list_status(francis_host *h, const francis_list *list, const frn_item *it)
{
    const char *texts = (const char *)FRN_BYTES(it->keys), *key = texts + it->at[FRN_COLUMN_KEY];

    if (list->what == FRANCIS_LIST_DEAD_JOBS)
        return FRANCIS_STATUS_DEAD;
    if (list->what != FRANCIS_LIST_ALARMS && list->what != FRANCIS_LIST_JOBS)
        return FRANCIS_STATUS_WAITING;
    if (list->what == FRANCIS_LIST_ALARMS)
        key = texts + it->at[FRN_COLUMN_NAME];
    if (frn_due_runs(h, texts + it->at[FRN_COLUMN_TYPE], texts + it->at[FRN_COLUMN_ID], key))
        return FRANCIS_STATUS_RUNNING;
    return frn_item_number(it, FRN_COLUMN_ATTEMPTS) > 0 ? FRANCIS_STATUS_RETRYING
                                                                  : FRANCIS_STATUS_WAITING;
}

static void frn_list_show(francis_host *h, francis_list *list, frn_page *p)
{
    const frn_item *it = &p->items[p->at++];
    const char     *texts = (const char *)FRN_BYTES(it->keys);
    francis_item   *item = &list->item;

    p->given++;
    item->type = texts + it->at[FRN_COLUMN_TYPE];
    item->id = texts + it->at[FRN_COLUMN_ID];
    item->name = texts + it->at[FRN_COLUMN_NAME];
    item->host = texts + it->at[FRN_COLUMN_HOST];
    item->job_id = list->what == FRANCIS_LIST_ALARMS ? "" : texts + it->at[FRN_COLUMN_JOB];
    item->request_id = frn_job_key_shown(texts + it->at[FRN_COLUMN_KEY]);
    item->repeat = texts + it->at[FRN_COLUMN_REPEAT];
    item->error = texts + it->at[FRN_COLUMN_ERROR];
    item->data = it->data != NULL ? FRN_BYTES(it->data) : NULL;
    item->size = it->data != NULL ? it->data->size : 0;
    item->created_ms = frn_item_number(it, FRN_COLUMN_CREATED);
    if (texts[it->at[FRN_COLUMN_JOB]] != '\0')
        item->created_ms = frn_uuid_time(texts + it->at[FRN_COLUMN_JOB]);
    item->expires_ms = frn_item_number(it, FRN_COLUMN_EXPIRES);
    item->due_ms = frn_item_number(it, FRN_COLUMN_DUE);
    item->until_ms = frn_item_number(it, FRN_COLUMN_UNTIL);
    item->failed_ms = frn_item_number(it, FRN_COLUMN_FAILED);
    item->attempts = (uint32_t)frn_item_number(it, FRN_COLUMN_ATTEMPTS);
    item->status = frn_list_status(h, list, it);
    frn_list_mark(list, p, it);
}

FRANCIS_API francis_result francis_list_next(francis_ctx *ctx, francis_list *list)
{
    francis_host *h = ctx->host;
    frn_page     *p;

    list->error = "";
    if (frn_forked(h))
        return frn_list_fail(list, FRANCIS_ERR_USAGE, "the host belongs to the parent process");
    if (list->internal == NULL && frn_list_open(h, list) != FRANCIS_OK)
        return list->result;
    p = (frn_page *)list->internal;
    if ((list->limit != 0 && p->given >= list->limit) || (p->at == p->count && p->last))
        return list->result = FRANCIS_DONE;
    if (p->at == p->count && frn_list_read(h, list, p) != FRANCIS_OK)
        return list->result;
    if (p->count == 0)
        return list->result = FRANCIS_DONE;
    frn_list_show(h, list, p);
    return list->result = FRANCIS_OK;
}

FRANCIS_API void francis_list_free(francis_list *list)
{
    frn_page *p = list != NULL ? (frn_page *)list->internal : NULL;

    if (p == NULL)
        return;
    frn_page_clear(p);
    frn_mem_free(&p->host->mem, p, sizeof *p);
    memset(&list->item, 0, sizeof list->item);
    list->internal = NULL;
    list->cursor = "";
}

// >> 840 api.host | needs: 700 410
//    Public bodies for the life of a host.

#define FRN_DEFAULT(field, value) ((field) = (field) == 0 ? (value) : (field))

enum {
    FRN_BYTES_MOST        = 1000000000,     /* what SQLite takes as one value */
    FRN_MARGIN_LEAST_MS   = 10,     /* more than the clock of leases lags behind */
    FRN_LEASE_LEAST_MS    = 100,
    FRN_DEADLINE_LEAST_MS = 400,    /* a quarter of it is the least lease, a twentieth the margin */
    FRN_DEADLINE_MOST_MS  = 86400000
};

static francis_result frn_desc_check_numbers(francis_host *h, const francis_host_desc *d)
{
    const frn_number all[] = {
        { "workers", d->workers, FRANCIS_NO_WORKERS, 1024 },
        { "profile", (int64_t)d->profile, FRANCIS_PROFILE_SERVER, FRANCIS_PROFILE_FLASH },
        { "durability", (int64_t)d->durability, 0, FRANCIS_SURVIVES_NOTHING },
        { "timeout_ms", d->timeout_ms, FRANCIS_FOREVER, INT64_MAX },
        { "stop_timeout_ms", d->stop_timeout_ms, FRANCIS_FOREVER, INT64_MAX },
        { "busy_timeout_ms", d->busy_timeout_ms, FRANCIS_FOREVER, INT64_MAX },
        { "health_deadline_ms", h->desc.health_deadline_ms, FRN_DEADLINE_LEAST_MS,
          FRN_DEADLINE_MOST_MS },
        { "lease_ms", h->desc.lease_ms, FRN_LEASE_LEAST_MS, FRN_DEADLINE_MOST_MS },
        { "lease_margin_ms", h->desc.lease_margin_ms, FRN_MARGIN_LEAST_MS, FRN_DEADLINE_MOST_MS },
        { "commit_window_ms", d->commit_window_ms, 0, INT64_MAX },
        { "sweep_interval_ms", d->sweep_interval_ms, FRANCIS_FOREVER, INT64_MAX },
        { "state_bytes_max", (int64_t)d->state_bytes_max, 0, FRN_BYTES_MOST },
        { "message_bytes_max", (int64_t)d->message_bytes_max, 0, FRN_BYTES_MOST },
        { "stream_buffer_bytes", (int64_t)d->stream_buffer_bytes, 0, FRN_BYTES_MOST },
        { "log_level", (int64_t)d->log_level, FRANCIS_LOG_DEFAULT, FRANCIS_LOG_DEBUG }
    };
    const frn_number *n = frn_numbers_fault(all, FRN_COUNT(all));

    if (n != NULL)
        return frn_host_fail(h, FRANCIS_ERR_INVALID, "%s is %lld, not from %lld to %lld", n->name,
                             (long long)n->value, (long long)n->min, (long long)n->max);
    if (h->desc.lease_ms + h->desc.lease_margin_ms > h->desc.health_deadline_ms)
        return frn_host_fail(h, FRANCIS_ERR_INVALID, "lease_ms %lld and lease_margin_ms %lld are"
                             " together longer than health_deadline_ms %lld",
                             (long long)h->desc.lease_ms, (long long)h->desc.lease_margin_ms,
                             (long long)h->desc.health_deadline_ms);
    return FRANCIS_OK;
}

enum { FRN_ADDRESS_MAX = 255 };

/* Why a text is not "host:port"; NULL = it is. */
static const char *frn_address_fault(const char *address)
{
    const char   *colon = strrchr(address, ':'), *end, *p;
    unsigned long port = 0;

    if (strlen(address) > FRN_ADDRESS_MAX)
        return "is longer than 255 bytes";
    if (colon == NULL || colon == address || address[0] == '-')
        return "is not host:port";
    for (p = address; *p != '\0'; p++)
        if ((unsigned char)*p <= ' ' || *p == 0x7f)
            return "has a blank or a control character";
    if (address[0] == '[' ? colon[-1] != ']' || colon - address < 3
                          : memchr(address, ':', (size_t)(colon - address)) != NULL)
        return "is not host:port; an IPv6 address stands in brackets";
    for (end = colon + 1; *end >= '0' && *end <= '9' && end - colon <= 5; end++)
        port = port * 10 + (unsigned long)(*end - '0');
    if (*end != '\0' || end == colon + 1 || port == 0 || port > 65535)
        return "has no port from 1 to 65535";
    return NULL;
}

static bool frn_prefix_valid(const char *prefix)
{
    size_t i;
    for (i = 0; prefix[i] != '\0'; i++) {
        char c = prefix[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'
              || (i > 0 && c >= '0' && c <= '9')))
            return false;
    }
    return i <= FRN_PREFIX_MAX;
}

/* What is missing beside sockets; NULL = nothing. */
static const char *frn_platform_fault(const francis_host_desc *d)
{
    const francis_platform *p = d->platform;
    int has = (p->net_listen != NULL) + (p->net_accept != NULL) + (p->net_connect != NULL)
            + (p->net_read != NULL) + (p->net_write != NULL) + (p->net_close != NULL);

    if (has == 0)
        return NULL;
    if (has != 6 || p->poll == NULL)
        return "but not all of poll, listen, accept, connect, read, write and close";
    return d->workers == FRANCIS_NO_WORKERS ? NULL : "and the host has workers";
}

static francis_result frn_desc_check(francis_host *h, const francis_host_desc *d)
{
    const char *fault = NULL;

    if (d->database == NULL && d->sqlite == NULL)
        fault = "neither database nor sqlite is given";
    else if (d->database != NULL && d->sqlite != NULL)
        fault = "database and sqlite are both given";
    else if (d->database != NULL && d->database[0] == '\0')
        fault = "database is empty";
    else if (d->on_database != NULL && d->database == NULL)
        fault = "on_database is given without a database";
    if (fault != NULL)
        return frn_host_fail(h, FRANCIS_ERR_INVALID, "%s", fault);
    if (d->table_prefix != NULL && !frn_prefix_valid(d->table_prefix))
        return frn_host_fail(h, FRANCIS_ERR_INVALID, "table_prefix is '%.100s', not a letter or '_'"
                             " and then letters, digits and '_', 32 at most", d->table_prefix);
    if (d->cluster_key != NULL && d->address == NULL)
        return frn_host_fail(h, FRANCIS_ERR_INVALID, "cluster_key is given without an address");
    if (d->cluster_key == NULL && (d->cluster_keys_old != NULL || d->bind_address != NULL))
        return frn_host_fail(h, FRANCIS_ERR_INVALID, "%s is given without a cluster_key",
                             d->bind_address != NULL ? "bind_address" : "cluster_keys_old");
    if (d->address != NULL && (fault = frn_address_fault(d->address)) != NULL)
        return frn_host_fail(h, FRANCIS_ERR_INVALID, "address '%.260s' %s", d->address, fault);
    if (d->platform != NULL && d->platform->version != 1)
        return frn_host_fail(h, FRANCIS_ERR_INVALID, "platform->version is %u, not 1",
                             (unsigned)d->platform->version);
    if (d->platform != NULL && (fault = frn_platform_fault(d)) != NULL)
        return frn_host_fail(h, FRANCIS_ERR_INVALID, "platform has sockets %s", fault);
    return frn_desc_check_numbers(h, d);
}

static void frn_desc_defaults(francis_host_desc *d)
{
    bool flash = d->profile == FRANCIS_PROFILE_FLASH;

    if (d->table_prefix == NULL || d->table_prefix[0] == '\0')
        d->table_prefix = "francis";
    FRN_DEFAULT(d->workers, frn_plat_cores());
    FRN_DEFAULT(d->blocked_max, 64);
    FRN_DEFAULT(d->timeout_ms, FRANCIS_SECONDS(30));
    FRN_DEFAULT(d->stop_timeout_ms, FRANCIS_SECONDS(30));
    FRN_DEFAULT(d->busy_timeout_ms, FRANCIS_SECONDS(5));
    FRN_DEFAULT(d->health_deadline_ms, FRANCIS_SECONDS(20));
    FRN_DEFAULT(d->lease_ms, d->health_deadline_ms / 4);
    FRN_DEFAULT(d->lease_margin_ms, d->health_deadline_ms / 20);
    FRN_DEFAULT(d->commit_window_ms, flash ? 20 : 0);
    FRN_DEFAULT(d->sweep_interval_ms, FRANCIS_MINUTES(10));
    FRN_DEFAULT(d->calls_max, 65536);
    FRN_DEFAULT(d->state_bytes_max, 1024u * 1024u);
    FRN_DEFAULT(d->message_bytes_max, 4u * 1024u * 1024u);
    FRN_DEFAULT(d->streams_max, 4096);
    FRN_DEFAULT(d->stream_buffer_bytes, 64u * 1024u);
    FRN_DEFAULT(d->wal_bytes_max, flash ? 1024u * 1024u : 16u * 1024u * 1024u);
    if (d->log_level == FRANCIS_LOG_DEFAULT)
        d->log_level = FRANCIS_LOG_WARNING;
    if (d->name == NULL)
        d->name = "";
}

static bool frn_host_copy_string(francis_host *h, int slot, const char **text)
{
    if (*text == NULL)
        return true;
    h->strings[slot] = frn_mem_strdup(&h->mem, *text);
    *text = h->strings[slot];
    return h->strings[slot] != NULL;
}

static bool frn_host_copy_desc(francis_host *h, const francis_host_desc *desc)
{
    bool ok;

    h->desc = *desc;
    if (desc->platform != NULL)
        h->platform = *desc->platform;
    h->desc.platform = &h->platform;
    frn_desc_defaults(&h->desc);
    ok = frn_host_copy_string(h, 0, &h->desc.database)
      && frn_host_copy_string(h, 1, &h->desc.table_prefix)
      && frn_host_copy_string(h, 2, &h->desc.name)
      && frn_host_copy_string(h, 3, &h->platform.sqlite_vfs)
      && frn_host_copy_string(h, 4, &h->desc.address)
      && frn_host_copy_string(h, 5, &h->desc.bind_address);
    h->desc.cluster_key = h->desc.cluster_keys_old = NULL;  /* secrets are not kept in this form */
    h->lease_ns = frn_ms_to_ns(h->desc.lease_ms);
    h->plat.hooks = h->platform;
    h->log.mem = &h->mem;
    h->log.plat = &h->plat;
    h->log.sink = desc->on_log != NULL ? desc->on_log : frn_log_stderr;
    h->log.user = desc->log_user;
    h->log.level = h->desc.log_level;
    h->log.name = h->desc.name != NULL ? h->desc.name : "";
    h->log.last = &h->log.first;
    return ok;
}

static void frn_host_init_lists(francis_host *h)
{
    frn_list *all[20];
    size_t    i, n = 0;

    all[n++] = &h->type_order;
    all[n++] = &h->calls_free;
    all[n++] = &h->waiters_free;
    all[n++] = &h->outside;
    all[n++] = &h->turns_free;
    all[n++] = &h->ready;
    all[n++] = &h->running;
    all[n++] = &h->callbacks;
    all[n++] = &h->outbox;
    all[n++] = &h->queue;
    all[n++] = &h->workers;
    all[n++] = &h->sweep.link;
    all[n++] = &h->sweep.gate;
    all[n++] = &h->lease_gate;
    all[n++] = &h->peers;
    all[n++] = &h->finding;
    all[n++] = &h->all_streams;
    all[n++] = &h->ready_patient;
    all[n++] = &h->due_checks;
    all[n++] = &h->sweep.records;
    for (i = 0; i < n; i++)
        frn_list_init(all[i]);
    h->sweep.op = FRN_WRITE_SWEEP;
    h->sweep.type = h->sweep.id = "";
    h->sweep_timer.fire = frn_sweep_on_timer;
    h->stop_timer.fire = frn_stop_on_timer;
    h->commit_timer.fire = frn_commit_on_timer;
    h->boot_timer.fire = frn_boot_on_timer;
    h->boot_look_timer.fire = frn_boot_look_on_timer;
    h->lease_timer.fire = frn_lease_on_timer;
    h->identity_timer.fire = frn_identity_on_timer;
    h->spread_timer.fire = frn_spread_on_timer;
    h->due_timer.fire = frn_due_on_timer;
    h->firing_most = FRN_FIRING_FIRST;
    h->on_net = frn_net_pump;
    h->on_call_timer = frn_call_on_timer;
    h->on_turn_timer = frn_turn_on_timer;
    h->on_stream_close = frn_stream_close;
}

static bool frn_host_init_sync(francis_host *h)
{
    pthread_cond_t *all[4];
    size_t          i;

    all[0] = &h->work_cond;
    all[1] = &h->commit_cond;
    all[2] = &h->rest_cond;
    all[3] = &h->callback_cond;
    (void)pthread_mutex_init(&h->lock, NULL);
    (void)pthread_mutex_init(&h->log.lock, NULL);
    for (i = 0; i < FRN_COUNT(all); i++, h->conds++)
        if (!frn_cond_init(all[i]))
            return false;
    h->has_key = pthread_key_create(&h->worker_key, NULL) == 0;
    return h->has_key;
}

static francis_host *frn_host_alloc(const francis_host_desc *desc)
{
    frn_mem       mem;
    francis_host *h;

    memset(&mem, 0, sizeof mem);
    mem.fn = desc != NULL ? desc->on_alloc : NULL;
    mem.user = desc != NULL ? desc->alloc_user : NULL;
    mem.max = desc != NULL ? desc->memory_bytes_max : 0;
    (void)pthread_mutex_init(&mem.lock, NULL);
    h = (francis_host *)frn_mem_alloc(&mem, sizeof *h);
    (void)pthread_mutex_destroy(&mem.lock);
    if (h == NULL)
        return NULL;
    h->mem = mem;
    (void)pthread_mutex_init(&h->mem.lock, NULL);
    frn_zones_init(&h->zones, &h->mem);
    h->ctx.host = h;
    h->ctx.method = h->ctx.request_id = h->ctx.trace = h->ctx.job_id = h->ctx.error = "";
    h->ctx.timeout_ms = FRANCIS_FOREVER;
    h->pid = getpid();
    h->fork_mark = frn_fork_mark_new();
    h->wake_fds[0] = h->wake_fds[1] = h->poll_fd = h->timer_fd = -1;
    h->armed_ns = FRN_NEVER;
    frn_host_init_lists(h);
    return h;
}

FRANCIS_API francis_result francis_open(francis_host **host_out, const francis_host_desc *desc)
{
    francis_host_desc none;
    francis_host  *h;
    char           error[400];
    francis_result r;

    if (host_out == NULL)
        return FRANCIS_ERR_INVALID;
    memset(&none, 0, sizeof none);
    *host_out = h = frn_host_alloc(desc);
    if (h == NULL)
        return FRANCIS_ERR_NOMEM;
    if (!frn_host_init_sync(h) || !frn_host_copy_desc(h, desc != NULL ? desc : &none))
        return frn_host_fail(h, FRANCIS_ERR_NOMEM, "no memory to open the host");
    h->threads = h->desc.workers != FRANCIS_NO_WORKERS;
    r = desc != NULL ? frn_desc_check(h, desc)
                     : frn_host_fail(h, FRANCIS_ERR_INVALID, "the desc is NULL");
    if (r != FRANCIS_OK)
        return r;
    if (!frn_plat_random(&h->plat, &h->seed, sizeof h->seed))
        return frn_host_fail(h, FRANCIS_ERR_INTERNAL, "the system has no randomness");
    h->random = h->seed;
    h->turn_number = h->seed >> 8;  /* no two hosts number alike, see frn_chain */
    if (desc->cluster_key != NULL) {
        r = frn_trust_new(&h->mem, &h->plat, desc->cluster_key, desc->cluster_keys_old, &h->trust,
                          error, sizeof error);
        if (r != FRANCIS_OK)
            return frn_host_fail(h, r, "%s", error);
    }
    r = frn_sqlite_open(&h->mem, &h->plat, &h->log, &h->desc, &h->store, error, sizeof error);
    if (r != FRANCIS_OK)
        (void)frn_host_fail(h, r, "%s", error);
    else
        frn_log(&h->log, FRN_LOG_host_opened, FRANCIS_OK, NULL, NULL, "opened %s",
                h->desc.database != NULL ? h->desc.database : "a handle");
    frn_log_flush(&h->log);
    return r;
}

static francis_result frn_actor_check_numbers(francis_host *h, const francis_actor_desc *d)
{
    const frn_number all[] = {
        { "state_size", (int64_t)d->state_size, 0, (int64_t)h->desc.state_bytes_max },
        { "instance_size", (int64_t)d->instance_size, 0, FRN_BYTES_MOST },
        { "bootstrap_size", (int64_t)d->bootstrap_size, 0, (int64_t)h->desc.message_bytes_max },
        { "idle_timeout_ms", d->idle_timeout_ms, FRANCIS_FOREVER, INT64_MAX },
        { "deactivate_timeout_ms", d->deactivate_timeout_ms, FRANCIS_FOREVER, INT64_MAX },
        { "turn_timeout_ms", d->turn_timeout_ms, FRANCIS_FOREVER, INT64_MAX },
        { "concurrency_max", (int64_t)d->concurrency_max, 0, INT32_MAX },
        { "retry_delay_ms", d->retry_delay_ms, 0, INT64_MAX },
        { "requests_kept_ms", d->requests_kept_ms, 0, INT64_MAX }
    };
    const frn_number *n = frn_numbers_fault(all, FRN_COUNT(all));

    return n == NULL ? FRANCIS_OK
        : frn_host_fail(h, FRANCIS_ERR_INVALID, "actor type '%s': %s is %lld, not from %lld to"
                        " %lld", d->type, n->name, (long long)n->value, (long long)n->min,
                        (long long)n->max);
}

static francis_result frn_method_check(francis_host *h, const francis_actor_desc *d,
                                       const francis_method *m)
{
    const francis_method *other = d->methods;
    const char           *fault = frn_name_fault(m->name);

    while (other != m && (other->kind != m->kind || strcmp(other->name, m->name) != 0))
        other++;
    if (fault == NULL && m->run == NULL)
        fault = "has no handler";
    if (fault == NULL && ((int)m->kind < FRANCIS_INVOKE || m->kind > FRANCIS_JOB_FAILED))
        fault = "is of none of the kinds INVOKE, PEEK, STREAM, PEEK_STREAM, ALARM, JOB and"
                " JOB_FAILED";
    if (fault == NULL && m->input_size > h->desc.message_bytes_max)
        return frn_host_fail(h, FRANCIS_ERR_INVALID, "actor type '%s': input_size of method '%s' is"
                             " %lu, above message_bytes_max", d->type, m->name,
                             (unsigned long)m->input_size);
    if (fault == NULL && other != m)
        fault = "is there twice";
    return fault == NULL ? FRANCIS_OK
        : frn_host_fail(h, FRANCIS_ERR_INVALID, "actor type '%s': method '%.100s' %s", d->type,
                        m->name, fault);
}

/* The first type of a capacity group; NULL = there is none yet. */
static frn_type *frn_group_find(francis_host *h, const char *group)
{
    frn_list *l;

    for (l = h->type_order.next; l != &h->type_order; l = l->next) {
        frn_type *t = FRN_OF(frn_type, order, l);
        if (t->desc.capacity_group != NULL && strcmp(t->desc.capacity_group, group) == 0)
            return t;
    }
    return NULL;
}

static francis_result frn_group_check(francis_host *h, const francis_actor_desc *d)
{
    const frn_type *first = frn_group_find(h, d->capacity_group);

    if (first == NULL || first->desc.capacity_max == d->capacity_max)
        return FRANCIS_OK;
    return frn_host_fail(h, FRANCIS_ERR_INVALID, "actor type '%s': capacity_max of group '%s' is"
                         " %u, but %u for type '%s'", d->type, d->capacity_group,
                         (unsigned)d->capacity_max, (unsigned)first->desc.capacity_max,
                         first->desc.type);
}

static francis_result frn_actor_desc_check(francis_host *h, const francis_actor_desc *d)
{
    const francis_method *m;
    const char           *fault = NULL;
    francis_result        r = FRANCIS_OK;

    if ((d->methods == NULL || d->methods[0].name == NULL) && d->invoke == NULL && d->peek == NULL
        && d->stream == NULL && d->peek_stream == NULL && d->alarm == NULL && d->job == NULL
        && d->job_failed == NULL && d->activate == NULL
        && d->deactivate == NULL && d->upgrade == NULL && d->bootstrap == NULL)
        fault = "it has no method and no callback at all";
    else if (!d->singleton && (d->bootstrap != NULL || d->bootstrap_data != NULL))
        fault = "bootstrap is for a singleton";
    else if (d->bootstrap_size > 0 && d->bootstrap_data == NULL)
        fault = "bootstrap_data is NULL, bootstrap_size is not 0";
    else if (d->bootstrap == NULL && d->bootstrap_data != NULL)
        fault = "bootstrap_data is there, but no bootstrap handler";
    else if ((d->capacity_group != NULL) != (d->capacity_max != 0))
        fault = "capacity_group and capacity_max need each other";
    else if (d->capacity_group != NULL && frn_name_fault(d->capacity_group) != NULL)
        fault = "capacity_group is not a name";
    if (fault != NULL)
        return frn_host_fail(h, FRANCIS_ERR_INVALID, "actor type '%s': %s", d->type, fault);
    for (m = d->methods; r == FRANCIS_OK && m != NULL && m->name != NULL; m++)
        r = frn_method_check(h, d, m);
    if (r == FRANCIS_OK && d->capacity_group != NULL)
        r = frn_group_check(h, d);
    return r == FRANCIS_OK ? frn_actor_check_numbers(h, d) : r;
}

static void frn_actor_desc_defaults(francis_actor_desc *d)
{
    FRN_DEFAULT(d->idle_timeout_ms, FRANCIS_MINUTES(5));
    FRN_DEFAULT(d->deactivate_timeout_ms, FRANCIS_SECONDS(5));
    FRN_DEFAULT(d->mailbox_max, 1024);
    FRN_DEFAULT(d->attempts_max, 3);
    FRN_DEFAULT(d->retry_delay_ms, FRANCIS_SECONDS(2));
    FRN_DEFAULT(d->crashes_max, 5);
    FRN_DEFAULT(d->requests_kept_max, 64);
    FRN_DEFAULT(d->requests_kept_ms, FRANCIS_MINUTES(10));
}

static void frn_type_free(francis_host *h, frn_type *t)
{
    francis_method *m = (francis_method *)(uintptr_t)t->desc.methods;
    size_t          i;

    for (i = 0; m != NULL && i < t->methods_count; i++)
        frn_mem_strfree(&h->mem, (char *)(uintptr_t)m[i].name);
    frn_mem_free(&h->mem, m, t->methods_count * sizeof *m);
    frn_mem_strfree(&h->mem, (char *)(uintptr_t)t->desc.type);
    frn_mem_strfree(&h->mem, (char *)(uintptr_t)t->desc.capacity_group);
    frn_mem_free(&h->mem, t->due.items, t->due.cap * sizeof *t->due.items);
    frn_buf_drop(&h->mem, t->bootstrap_input);
    frn_mem_free(&h->mem, t, sizeof *t);
}

static bool frn_type_copy_methods(francis_host *h, frn_type *t, const francis_method *methods)
{
    francis_method *copy;
    size_t          n = 0, i;

    t->desc.methods = NULL;
    while (methods != NULL && methods[n].name != NULL)
        n++;
    if (n == 0)
        return true;
    copy = (francis_method *)frn_mem_alloc(&h->mem, n * sizeof *copy);
    if (copy == NULL)
        return false;
    t->desc.methods = copy;
    t->methods_count = n;
    for (i = 0; i < n; i++) {
        copy[i] = methods[i];
        copy[i].name = frn_mem_strdup(&h->mem, methods[i].name);
        if (copy[i].name == NULL)
            return false;           /* those behind have no name either */
    }
    return true;
}

/* Whether it has a handler of alarms or jobs. */
static bool frn_type_wakes(const frn_type *t)
{
    size_t i;

    for (i = 0; i < t->methods_count; i++)
        if (t->desc.methods[i].kind >= FRANCIS_ALARM
            && t->desc.methods[i].kind <= FRANCIS_JOB_FAILED)
            return true;
    return t->desc.alarm != NULL || t->desc.job != NULL || t->desc.job_failed != NULL;
}

/* A type with copies of all that the desc points to; NULL = no memory. */
static frn_type *frn_type_new(francis_host *h, const francis_actor_desc *desc)
{
    frn_type *t = (frn_type *)frn_mem_alloc(&h->mem, sizeof *t);

    if (t == NULL)
        return NULL;
    t->desc = *desc;
    frn_actor_desc_defaults(&t->desc);
    t->desc.type = frn_mem_strdup(&h->mem, desc->type);
    t->desc.capacity_group = desc->capacity_group == NULL ? NULL
                           : frn_mem_strdup(&h->mem, desc->capacity_group);
    t->look_from_ms = INT64_MIN;
    t->look_next_ms = INT64_MAX;
    t->desc.bootstrap_data = NULL;
    frn_list_init(&t->order);
    frn_list_init(&t->idle);
    t->idle_timer.fire = frn_idle_on_timer;
    t->idle_ns = frn_ms_to_ns(t->desc.idle_timeout_ms);
    if (desc->bootstrap_data != NULL) {
        t->bootstrap_input = frn_buf_copy(&h->mem, desc->bootstrap_data, desc->bootstrap_size);
        if (t->bootstrap_input != NULL)
            t->desc.bootstrap_data = FRN_BYTES(t->bootstrap_input);
    }
    if (!frn_type_copy_methods(h, t, desc->methods) || t->desc.type == NULL
        || (desc->bootstrap_data != NULL && t->bootstrap_input == NULL)
        || (desc->capacity_group != NULL && t->desc.capacity_group == NULL)
        || !frn_timers_reserve(h, 1)
        || !frn_map_add(&h->mem, &h->types, &t->node,
                        frn_hash(h->seed, desc->type, strlen(desc->type)))) {
        frn_type_free(h, t);
        return NULL;
    }
    if (t->desc.capacity_group != NULL)
        t->group = frn_group_find(h, t->desc.capacity_group);
    if (t->desc.capacity_group != NULL && t->group == NULL)
        t->group = t;
    t->wakes = frn_type_wakes(t);
    h->wakes += t->wakes;
    frn_list_push(&h->type_order, &t->order);
    return t;
}

/* A host that runs is not harmed by it: the words are there, but nothing sticks. */
static francis_result frn_register_late(francis_host *h, const francis_actor_desc *desc)
{
    frn_lock(h);
    (void)snprintf(h->error, sizeof h->error, "actor type '%.300s': types are registered before"
                   " start", desc->type != NULL ? desc->type : "");
    frn_unlock(h);
    return FRANCIS_ERR_USAGE;
}

FRANCIS_API francis_result francis_register(francis_host *host, const francis_actor_desc *desc)
{
    const char    *fault;
    francis_result r;

    if (host == NULL)
        return FRANCIS_ERR_NOMEM;
    if (frn_forked(host))
        return FRANCIS_ERR_USAGE;
    if (host->failure != FRANCIS_OK)
        return host->failure;       /* it has stuck already */
    if (desc == NULL)
        return frn_host_fail(host, FRANCIS_ERR_INVALID, "the actor desc is NULL");
    if (frn_host_phase_now(host) != FRN_HOST_OPEN)
        return frn_register_late(host, desc);
    if ((fault = frn_name_fault(desc->type)) != NULL)
        return frn_host_fail(host, FRANCIS_ERR_INVALID, "actor type '%.300s': the type %s",
                             desc->type != NULL ? desc->type : "", fault);
    if (frn_name_reserved(desc->type))
        return frn_host_fail(host, FRANCIS_ERR_RESERVED, "actor type '%s': names that begin with"
                             " '" FRN_RESERVED "' are francis's own", desc->type);
    if (frn_type_find(host, desc->type) != NULL)
        return frn_host_fail(host, FRANCIS_ERR_EXISTS, "actor type '%s' is registered already",
                             desc->type);
    r = frn_actor_desc_check(host, desc);
    if (r != FRANCIS_OK)
        return r;
    if (frn_type_new(host, desc) == NULL)
        return frn_host_fail(host, FRANCIS_ERR_NOMEM, "no memory for actor type '%s'", desc->type);
    return FRANCIS_OK;
}

/* Threads that could not all be started end again. */
enum { FRN_STREAMS_MAX = 4096, FRN_CONNECTIONS_MAX = 256, FRN_HANDSHAKES_MAX = 32 };

static francis_result frn_threads_start(francis_host *h)
{
    francis_result r = FRANCIS_OK;
    uint32_t       i;

    if (!h->threads)
        return FRANCIS_OK;
    frn_lock(h);
    h->workers_wanted = (uint32_t)h->desc.workers;
    for (i = 0; i < h->workers_wanted && r == FRANCIS_OK; i++)
        r = frn_worker_start(h);
    frn_unlock(h);
    if (r == FRANCIS_OK) {
        h->commit_live = frn_thread_start(&h->commit_thread, frn_commit_main, h);
        h->loop_live = h->commit_live && frn_thread_start(&h->loop_thread, frn_loop_main, h);
        r = h->loop_live ? FRANCIS_OK : FRANCIS_ERR_INTERNAL;
    }
    return r == FRANCIS_OK ? r : frn_host_fail(h, r, "cannot create the host's threads");
}

static void frn_threads_end(francis_host *h)
{
    frn_lock(h);
    h->workers_end = h->commit_end = true;
    (void)pthread_cond_broadcast(&h->work_cond);
    (void)pthread_cond_broadcast(&h->commit_cond);
    frn_workers_join(h, true);
    frn_unlock(h);
    if (h->commit_live)
        (void)pthread_join(h->commit_thread, NULL);
    h->commit_live = false;
    if (h->loop_live)
        (void)pthread_join(h->loop_thread, NULL);
    h->loop_live = false;
}

static void frn_host_begin(francis_host *h)
{
    frn_lock(h);
    h->phase = FRN_HOST_RUNNING;
    h->serving = true;
    h->step_ns = h->mono_base_ns = frn_now_ns(h);
    h->wall_base_ms = frn_plat_wall_ms(&h->plat);
    h->sweep.interval_ms = h->desc.sweep_interval_ms;
    if (h->sweep_placements)
        frn_timer_set(h, &h->sweep_timer, frn_add_time(h->clock_ns, 100 * FRN_MS));
    else if (h->desc.sweep_interval_ms != FRANCIS_FOREVER)
        frn_timer_set(h, &h->sweep_timer,
                      frn_add_time(h->clock_ns, frn_ms_to_ns(h->desc.sweep_interval_ms)));
    if (h->store->shared)
        frn_timer_set(h, &h->lease_timer, frn_add_time(h->clock_ns, h->lease_ns / 3));
    frn_boot_all(h);
    frn_due_look_soon(h);
    frn_log(&h->log, FRN_LOG_host_started, FRANCIS_OK, NULL, NULL, "host %s serves", h->id);
    frn_unlock(h);
}

static void frn_host_on_wake(void *user) { frn_loop_signal((francis_host *)user); }

/* Mirrors what the network polls in the descriptor for other people's loops. */
static void frn_host_on_watch(void *user, int fd, bool read, bool write, bool gone)
{
#if FRN_EPOLL
    const francis_host *h = (const francis_host *)user;
    struct epoll_event  e;

    memset(&e, 0, sizeof e);
    e.events = (read ? (uint32_t)EPOLLIN : 0u) | (write ? (uint32_t)EPOLLOUT : 0u);
    e.data.fd = fd;
    if (h->poll_fd < 0)
        return;
    if (gone)
        (void)epoll_ctl(h->poll_fd, EPOLL_CTL_DEL, fd, &e);
    else if (epoll_ctl(h->poll_fd, EPOLL_CTL_MOD, fd, &e) != 0)
        (void)epoll_ctl(h->poll_fd, EPOLL_CTL_ADD, fd, &e);
#elif FRN_KQUEUE
    const francis_host *h = (const francis_host *)user;
    struct kevent       e;

    if (h->poll_fd < 0 || gone)
        return;
    EV_SET(&e, fd, EVFILT_READ, read ? EV_ADD : EV_DELETE, 0, 0, NULL);
    (void)kevent(h->poll_fd, &e, 1, NULL, 0, NULL);
    EV_SET(&e, fd, EVFILT_WRITE, write ? EV_ADD : EV_DELETE, 0, 0, NULL);
    (void)kevent(h->poll_fd, &e, 1, NULL, 0, NULL);
#else
    (void)user;
    (void)fd;
    (void)read;
    (void)write;
    (void)gone;
#endif
}

static francis_result frn_host_listen(francis_host *h, char *error, size_t error_size)
{
    frn_net_desc d;

    if (h->trust == NULL)
        return FRANCIS_OK;
    memset(&d, 0, sizeof d);
    d.mem = &h->mem;
    d.plat = &h->plat;
    d.log = &h->log;
    d.bind_address = h->desc.bind_address != NULL ? h->desc.bind_address : h->desc.address;
    d.message_bytes_max = h->desc.message_bytes_max;
    d.streams_max = FRN_STREAMS_MAX;
    d.connections_max = FRN_CONNECTIONS_MAX;
    d.handshakes_max = FRN_HANDSHAKES_MAX;
    d.handshake_timeout_ms = FRANCIS_SECONDS(10);
    d.connect_timeout_ms = FRANCIS_SECONDS(5);
    d.keepalive_ms = h->desc.health_deadline_ms / 4;
    d.idle_close_ms = FRANCIS_SECONDS(60);
    d.threads = h->threads;
    d.wake = frn_host_on_wake;
    d.watch = h->threads || frn_plat_has_net(&h->plat) ? NULL : frn_host_on_watch;
    d.user = h;
    return frn_net_open(&h->net, &d, error, error_size);
}

static francis_result frn_host_start(francis_host *h)
{
    char           error[300], id[FRN_UUID_SIZE];
    francis_result r;

    h->owner = pthread_self();
    frn_lock(h);
    r = frn_timers_reserve(h, 1) ? FRANCIS_OK : FRANCIS_ERR_NOMEM;
    frn_unlock(h);
    if (r != FRANCIS_OK)
        return frn_host_fail(h, r, "no memory to start the host");
    if (!frn_loop_open_wake(h) || (!h->threads && !frn_loop_open_poll(h)))
        return frn_host_fail(h, FRANCIS_ERR_INTERNAL, "cannot create a descriptor: %s",
                             strerror(errno));
    r = frn_host_listen(h, error, sizeof error);
    if (r == FRANCIS_OK)
        r = frn_host_make_id(h, id, error, sizeof error);
    if (r == FRANCIS_OK)            /* nobody is told of us before we listen */
        r = frn_host_join(h, id, error, sizeof error);
    if (r != FRANCIS_OK)
        return frn_host_fail(h, r, "%s", error);
    frn_host_begin(h);
    if (h->net != NULL || (h->wakes > 0 && h->store->shared)) {     /* who else is there */
        frn_lock(h);
        frn_look(h);
        frn_unlock(h);
    }
    r = frn_threads_start(h);
    if (r != FRANCIS_OK) {
        frn_threads_end(h);
        h->phase = FRN_HOST_STOPPED;
        h->store->ops->leave(h->store, h->id);
    }
    return r;
}

/* Why it cannot start now. */
static francis_result frn_host_may_start(francis_host *h)
{
    if (h == NULL)
        return FRANCIS_ERR_NOMEM;
    if (h->failure != FRANCIS_OK)
        return h->failure;
    return frn_forked(h) || frn_host_phase_now(h) != FRN_HOST_OPEN
        || FRN_LOAD(&h->stop_asked) != 0 ? FRANCIS_ERR_USAGE : FRANCIS_OK;
}

FRANCIS_API francis_result francis_start(francis_host *host)
{
    francis_result r = frn_host_may_start(host);
    return r == FRANCIS_OK ? frn_host_start(host) : r;
}

/* francis_run's one signal handler: the only writable global there is. */
static francis_host *volatile frn_run_signal_host;

static void frn_run_signal(int sig)
{
    francis_host *h = frn_run_signal_host;
    (void)sig;
    if (h != NULL)
        francis_stop(h);
}

static void frn_run_until_stopped(francis_host *h)
{
    if (!h->threads) {
        while (francis_poll(h, FRANCIS_FOREVER) == FRANCIS_OK)
            continue;
        return;
    }
    frn_lock(h);
    while (h->phase != FRN_HOST_STOPPED)
        frn_wait_for(h, &h->rest_cond, FRN_NEVER);
    frn_unlock(h);
}

FRANCIS_API francis_result francis_run(francis_host *host)
{
    struct sigaction act, old_int, old_term;
    francis_result   r = FRANCIS_OK;
    frn_host_phase   phase;
    bool             signals;

    if (host == NULL || frn_forked(host))
        return host == NULL ? FRANCIS_ERR_NOMEM : FRANCIS_ERR_USAGE;
    phase = frn_host_phase_now(host);
    if (phase == FRN_HOST_STOPPED)
        return host->failure != FRANCIS_OK ? host->failure : (francis_result)FRANCIS_ERR_USAGE;
    if (phase == FRN_HOST_OPEN && (r = frn_host_may_start(host)) != FRANCIS_OK)
        return r;
    signals = !host->desc.no_signal_handlers && frn_run_signal_host == NULL;
    if (signals) {                  /* before start: a signal may come at any time */
        memset(&act, 0, sizeof act);
        act.sa_handler = frn_run_signal;
        (void)sigemptyset(&act.sa_mask);
        frn_run_signal_host = host;
        (void)sigaction(SIGINT, &act, &old_int);
        (void)sigaction(SIGTERM, &act, &old_term);
    }
    if (phase == FRN_HOST_OPEN)
        r = frn_host_start(host);
    if (r == FRANCIS_OK)
        frn_run_until_stopped(host);
    if (signals) {
        (void)sigaction(SIGINT, &old_int, NULL);
        (void)sigaction(SIGTERM, &old_term, NULL);
        frn_run_signal_host = NULL;
    }
    return r != FRANCIS_OK ? r : host->failure;
}

FRANCIS_API void francis_stop(francis_host *host)
{
    if (host == NULL)
        return;
    FRN_STORE(&host->stop_asked, 1);
    frn_loop_signal(host);
}

/* What a host still holds when all its threads have ended. */
static void frn_host_empty_out(francis_host *h)
{
    size_t    i;
    frn_list *l;
    frn_node *n;

    while (!frn_list_empty(&h->all_streams))
        frn_stream_free(h, FRN_OF(francis_stream, all, h->all_streams.next));
    frn_gate_shut(h, &h->lease_gate, FRANCIS_ERR_STOPPED, "the host has stopped");
    while ((l = frn_list_pop(&h->queue)) != NULL) {
        frn_write *w = FRN_OF(frn_write, link, l);
        if (w->op == FRN_WRITE_SWEEP)
            continue;
        frn_records_failed(h, w, FRANCIS_ERR_STOPPED, "the host has stopped");
        frn_gate_shut(h, &w->gate, FRANCIS_ERR_STOPPED, "the host has stopped");
        if (w->actor != NULL)
            ((frn_actor *)w->actor)->writes--;
        frn_write_free(h, w);
    }
    for (i = 0; i < h->actors.cap; i++)
        while ((n = h->actors.slots[i]) != NULL) {
            frn_actor *a = FRN_OF(frn_actor, node, n);
            while (!frn_list_empty(&a->holders)) {
                frn_turn *t = FRN_OF(frn_turn, holder_link, a->holders.next);
                t->call = NULL;
                frn_answers_cancel(h, t);
                frn_turn_let_go(h, t);
                frn_turn_free(h, t);
            }
            frn_mailbox_fail(h, a, FRANCIS_ERR_STOPPED, false, "the host has stopped");
            frn_parked_fail(h, a, FRANCIS_ERR_STOPPED);
            a->phase = FRN_PHASE_RELEASING;
            frn_actor_free(h, a);
        }
}

static void frn_host_free_memory(francis_host *h)
{
    frn_list *l;
    size_t    i;

    frn_peers_free(h);
    frn_mem_free(&h->mem, h->places, FRN_PLACES * sizeof *h->places);
    while (!frn_list_empty(&h->outside)) {
        frn_call *c = FRN_OF(frn_call, owner_link, h->outside.next);
        if (c->due != NULL)
            frn_due_free(h, c->due);
        frn_call_release(h, c);
    }
    frn_due_free_all(h);
    frn_zones_free(&h->zones);
    for (i = 0; i < h->chunks_count; i++)
        frn_mem_free(&h->mem, h->chunks[i], FRN_CALLS_PER_CHUNK * sizeof *h->chunks[i]);
    frn_mem_free(&h->mem, h->chunks, h->chunks_count * sizeof *h->chunks);
    frn_waiters_free(h);
    while ((l = frn_list_pop(&h->turns_free)) != NULL)
        frn_mem_free(&h->mem, FRN_OF(frn_turn, link, l), sizeof(frn_turn));
    while ((l = frn_list_pop(&h->type_order)) != NULL)
        frn_type_free(h, FRN_OF(frn_type, order, l));
    frn_mem_free(&h->mem, h->streams.slots, h->streams.cap * sizeof *h->streams.slots);
    frn_mem_free(&h->mem, h->types.slots, h->types.cap * sizeof *h->types.slots);
    frn_mem_free(&h->mem, h->actors.slots, h->actors.cap * sizeof *h->actors.slots);
    frn_mem_free(&h->mem, h->timers.items, h->timers.cap * sizeof *h->timers.items);
    for (i = 0; i < FRN_COUNT(h->strings); i++)
        frn_mem_strfree(&h->mem, h->strings[i]);
}

static void frn_host_free(francis_host *h)
{
    frn_mem mem;

    if (h->store != NULL)
        h->store->ops->close(h->store);
    if (h->net != NULL)
        frn_net_close(h->net);
    if (h->trust != NULL)
        frn_trust_free(h->trust);
    frn_lock(h);
    h->net = NULL;
    frn_host_empty_out(h);
    frn_host_free_memory(h);
    frn_unlock(h);
    frn_loop_close(h);
    frn_fork_mark_free(h->fork_mark);
    if (h->conds > 0)
        (void)pthread_cond_destroy(&h->work_cond);
    if (h->conds > 1)
        (void)pthread_cond_destroy(&h->commit_cond);
    if (h->conds > 2)
        (void)pthread_cond_destroy(&h->rest_cond);
    if (h->conds > 3)
        (void)pthread_cond_destroy(&h->callback_cond);
    if (h->has_key)
        (void)pthread_key_delete(h->worker_key);
    (void)pthread_mutex_destroy(&h->lock);
    (void)pthread_mutex_destroy(&h->log.lock);
    (void)pthread_mutex_destroy(&h->mem.lock);
    mem = h->mem;
    (void)pthread_mutex_init(&mem.lock, NULL);
    frn_mem_free(&mem, h, sizeof *h);
    (void)pthread_mutex_destroy(&mem.lock);
}

FRANCIS_API void francis_close(francis_host *host)
{
    frn_host_phase phase;

    if (host == NULL || frn_forked(host))
        return;
    phase = frn_host_phase_now(host);
    if (phase == FRN_HOST_RUNNING || phase == FRN_HOST_DRAINING) {
        francis_stop(host);
        frn_run_until_stopped(host);
    }
    frn_threads_end(host);
    frn_host_free(host);
}

FRANCIS_API const char *francis_host_error(const francis_host *host)
{
    return host == NULL ? francis_strerror(FRANCIS_ERR_NOMEM) : host->error;
}

FRANCIS_API francis_ctx *francis_host_ctx(francis_host *host)
{
    return host == NULL ? NULL : &host->ctx;
}

/* With workers there is nothing to do here but to wait for the end. */
static francis_result frn_poll_wait(francis_host *h, int64_t timeout_ms)
{
    int64_t end = frn_add_time(frn_now_ns(h), frn_ms_to_ns(timeout_ms)), now;

    while (h->phase != FRN_HOST_STOPPED && (now = frn_now_ns(h)) < end)
        frn_wait_for(h, &h->rest_cond, end == FRN_NEVER ? FRN_NEVER : end - now);
    return h->phase == FRN_HOST_STOPPED ? FRANCIS_ERR_STOPPED : FRANCIS_OK;
}

static francis_result frn_poll(francis_host *h, int64_t timeout_ms)
{
    int64_t until, end;

    if (h->stepping)
        return FRANCIS_ERR_WOULD_BLOCK;
    h->stepping = true;
    end = frn_add_time(frn_now_ns(h), frn_ms_to_ns(timeout_ms));
    until = frn_wait_until_woken(h);
    if (until > h->clock_ns && timeout_ms != 0)
        frn_loop_wait(h, until < end ? until : end);
    else
        frn_loop_drain(h, true);
    if (h->phase != FRN_HOST_STOPPED)
        frn_step(h);
    h->stepping = false;
    frn_after_blocking(h);
    return h->phase == FRN_HOST_STOPPED ? FRANCIS_ERR_STOPPED : FRANCIS_OK;
}

FRANCIS_API francis_result francis_poll(francis_host *host, int64_t timeout_ms)
{
    francis_result r;

    if (host == NULL || frn_forked(host))
        return FRANCIS_ERR_USAGE;
    if (host->threads && pthread_getspecific(host->worker_key) != NULL)
        return FRANCIS_ERR_WOULD_BLOCK;
    frn_lock(host);
    if (host->phase == FRN_HOST_OPEN)
        r = FRANCIS_ERR_USAGE;
    else if (host->phase == FRN_HOST_STOPPED)
        r = FRANCIS_ERR_STOPPED;
    else
        r = host->threads ? frn_poll_wait(host, timeout_ms) : frn_poll(host, timeout_ms);
    frn_unlock(host);
    return r;
}

FRANCIS_API int francis_fd(francis_host *host)
{
    if (host == NULL || host->threads || host->poll_fd < 0 || frn_forked(host))
        return -1;
    frn_lock(host);
    host->polled_by_fd = true;
    frn_after_blocking(host);
    frn_unlock(host);
    return host->poll_fd;
}

FRANCIS_API int francis_pollfds(francis_host *host, struct pollfd *fds, int max)
{
    if (host == NULL || host->threads || host->wake_fds[0] < 0)
        return 0;
    if (max > 0) {
        fds[0].fd = host->wake_fds[0];
        fds[0].events = POLLIN;
        fds[0].revents = 0;
    }
    return 1 + (host->net != NULL ? frn_net_pollfds(host->net, max > 0 ? fds + 1 : NULL,
                                                    max > 0 ? max - 1 : 0) : 0);
}

FRANCIS_API int64_t francis_timeout(francis_host *host)
{
    int64_t until, left;

    if (host == NULL || host->threads || frn_forked(host))
        return FRANCIS_FOREVER;
    frn_lock(host);
    left = frn_now_ns(host);
    until = host->phase == FRN_HOST_OPEN ? FRN_NEVER
          : host->phase == FRN_HOST_STOPPED ? 0 : frn_wait_until(host);
    left = until - left;
    frn_unlock(host);
    if (until == FRN_NEVER)
        return FRANCIS_FOREVER;
    return left <= 0 ? 0 : (left + FRN_MS - 1) / FRN_MS;
}

// >> 850 api.watch | needs: 600

FRANCIS_API void francis_stats_get(francis_host *host, francis_stats *stats_out)
{
    memset(stats_out, 0, sizeof *stats_out);
    if (host == NULL || frn_forked(host))
        return;
    frn_lock(host);
    *stats_out = host->stats;
    stats_out->queue_commits = host->queue_count;
    stats_out->queue_turns += host->ready_count;
    frn_unlock(host);
    if (host->net != NULL) {
        frn_net_stats n;
        frn_net_stats_get(host->net, &n);
        stats_out->connections = n.connections;
        stats_out->reconnects = n.reconnects;
    }
    stats_out->memory_bytes = __atomic_load_n(&host->mem.used, __ATOMIC_RELAXED);
    stats_out->memory_bytes_peak = __atomic_load_n(&host->mem.peak, __ATOMIC_RELAXED);
    if (host->store != NULL) {
        stats_out->bytes_written = __atomic_load_n(&host->store->bytes_written, __ATOMIC_RELAXED);
        stats_out->wal_bytes = FRN_LOAD(&host->store->wal_bytes);
    }
}

static int64_t frn_age_ms(int64_t now_ns, int64_t since_ns)
{
    return since_ns == 0 || since_ns > now_ns ? 0 : (now_ns - since_ns) / FRN_MS;
}

FRANCIS_API void francis_health_get(francis_host *host, francis_health *health_out)
{
    int64_t now, oldest = 0;

    memset(health_out, 0, sizeof *health_out);
    if (host == NULL || frn_forked(host))
        return;
    frn_lock(host);
    now = frn_now_ns(host);
    health_out->ready = host->serving && host->phase == FRN_HOST_RUNNING && host->store != NULL
        && !FRN_LOAD(&host->store->broken) && !FRN_LOAD(&host->store->moved);
    health_out->draining = host->phase == FRN_HOST_DRAINING;
    if (!host->threads || frn_timers_next(host) < now)
        health_out->step_age_ms = frn_age_ms(now, host->step_ns);
    if (!frn_list_empty(&host->running)) {
        const frn_turn *t = FRN_OF(const frn_turn, running_link, host->running.next);
        health_out->turn_age_ms = frn_age_ms(now, t->started_ns);
    }
    if (!frn_list_empty(&host->queue))
        oldest = FRN_OF(frn_write, link, host->queue.next)->sealed_ns;
    if (host->commit_since_ns != 0 && (oldest == 0 || host->commit_since_ns < oldest))
        oldest = host->commit_since_ns;
    health_out->commit_age_ms = frn_age_ms(now, oldest);
    if (host->store != NULL && host->store->shared && host->phase != FRN_HOST_OPEN)
        health_out->lease_age_ms = frn_age_ms(frn_plat_lease_ns(&host->plat), host->lease_from_ns);
    health_out->busy_age_ms = frn_age_ms(now, host->busy_since_ns);
    if (health_out->busy_age_ms > 0 && host->busy_told_ns >= host->busy_since_ns)
        health_out->busy_process = host->blocker.process;
    health_out->overdue_age_ms = frn_due_overdue_ms(host);
    frn_unlock(host);
}

FRANCIS_API void francis_desc_get(const francis_host *host, francis_host_desc *desc_out)
{
    if (host != NULL)
        *desc_out = host->desc;
    else
        memset(desc_out, 0, sizeof *desc_out);
}

FRANCIS_API int francis_version_number(void) { return FRANCIS_VERSION_NUMBER; }

FRANCIS_API const char *francis_build_info(void)
{
#define FRN_TEXT(x)   #x
#define FRN_VALUE(x)  FRN_TEXT(x)
#define FRN_IS(x) #x "=" FRN_VALUE(x)
    return FRN_IS(FRANCIS_STATIC) " " FRN_IS(FRANCIS_NO_STDIO) " " FRN_IS(FRANCIS_DEBUG);
#undef FRN_IS
#undef FRN_VALUE
#undef FRN_TEXT
}

FRANCIS_API const char *francis_strerror(francis_result r) { return frn_result_find(r)->text; }

FRANCIS_API const char *francis_result_name(francis_result r) { return frn_result_find(r)->name; }

FRANCIS_API francis_outcome_kind francis_outcome(francis_result r)
{
    return frn_result_find(r)->outcome;
}

FRANCIS_API bool francis_retryable(francis_result r) { return frn_result_find(r)->retry; }

#endif /* FRANCIS_IMPLEMENTATION */
