/* Calls to the system, to mbedTLS and to the disk fail, and allocations: the first, the second,
 * ...; once, and from then on; each with the errors that it may give, short reads and writes among
 * them; while two hosts start, and while they do all that the public API has, lose their
 * connection, renew their certificates, are evicted, stop and come again. After each: no block of
 * memory and no descriptor is left, no acknowledged turn is lost, refused ones are nowhere, the
 * hosts work again or have said why not, and integrity_check passes.
 *
 * With T_LONG=1 each n is tried until none is left, which takes hours; else some, spread over all
 * that there are.
 *
 * The two hosts run in one thread, over real sockets: whoever waits lets the other one move. Time
 * is made up: it passes when both have nothing to do. */
#define FRANCIS_IMPLEMENTATION
#undef FRANCIS_DEBUG
#define FRANCIS_DEBUG 1
#include "support/fault_calls.h"

#include "support/fault_api.h"

#include "support/address.h"
#include "support/fault_alloc.h"
#include "support/fault_tour.h"
#include "support/fault_vfs.h"

#define DISK "francis-fault-calls"

/* ---- what fails ---- */

enum { OF_CALLS, OF_MEMORY, OF_DISK };

typedef struct fault {
    const char *what;
    int         of;
    int         function;           /* OF_CALLS: which; OF_MEMORY: of which host */
    int         error;
    unsigned    calls, files;       /* OF_DISK */
    int         short_bytes;
} fault;

#define CALL(name, number) { #name " " #number, OF_CALLS, FAULT_##name, (number), 0, 0, 0 }
#define DISKS(name, calls, files, code, bytes) { name, OF_DISK, 0, (code), (calls), (files), bytes }
#define LOCKS (FAULT_LOCK | FAULT_CHECK)

static const fault faults[] = {
    CALL(socket, EMFILE), CALL(socket, ENOBUFS), CALL(bind, EADDRINUSE), CALL(bind, EACCES),
    CALL(listen, EADDRINUSE), CALL(accept, EMFILE), CALL(accept, ECONNABORTED),
    CALL(accept, EAGAIN), CALL(connect, ECONNREFUSED), CALL(connect, ENETUNREACH),
    CALL(send, EPIPE), CALL(send, EAGAIN), CALL(send, ENOBUFS), CALL(send, FAULT_PART),
    CALL(recv, ECONNRESET), CALL(recv, EAGAIN), CALL(recv, ENOMEM), CALL(recv, FAULT_END),
    CALL(recv, FAULT_PART), CALL(getsockopt, ETIMEDOUT), CALL(getsockopt, ENOBUFS),
    CALL(setsockopt, ENOPROTOOPT), CALL(fcntl, EINVAL), CALL(poll, EINTR), CALL(poll, ENOMEM),
    CALL(getaddrinfo, EAI_AGAIN), CALL(getaddrinfo, EAI_MEMORY), CALL(getnameinfo, EAI_FAIL),

    CALL(eventfd, EMFILE), CALL(epoll_create1, EMFILE), CALL(epoll_ctl, ENOSPC),
    CALL(timerfd_create, EMFILE), CALL(timerfd_settime, EINVAL), CALL(getrandom, EINTR),
    CALL(getrandom, FAULT_END), CALL(open, EMFILE), CALL(fopen, FAULT_NULL),
    CALL(fstat, EIO), CALL(statfs, EACCES), CALL(mmap, FAULT_NULL), CALL(madvise, EINVAL),
    CALL(pthread_cond_init, ENOMEM), CALL(pthread_condattr_init, ENOMEM),
    CALL(pthread_condattr_setclock, EINVAL), CALL(pthread_key_create, EAGAIN),
    CALL(pthread_create, EAGAIN), CALL(pthread_attr_init, ENOMEM),

    CALL(mbedtls_hkdf, MBEDTLS_ERR_MD_ALLOC_FAILED), CALL(mbedtls_md, MBEDTLS_ERR_MD_ALLOC_FAILED),
    CALL(mbedtls_md_info_from_type, FAULT_NULL),
    CALL(mbedtls_mpi_add_int, MBEDTLS_ERR_MPI_ALLOC_FAILED),
    CALL(mbedtls_mpi_mod_mpi, MBEDTLS_ERR_MPI_ALLOC_FAILED),
    CALL(mbedtls_mpi_read_binary, MBEDTLS_ERR_MPI_ALLOC_FAILED),
    CALL(mbedtls_mpi_write_binary, MBEDTLS_ERR_MPI_BUFFER_TOO_SMALL),
    CALL(mbedtls_pem_write_buffer, MBEDTLS_ERR_PEM_ALLOC_FAILED),
    CALL(mbedtls_pk_parse_key, MBEDTLS_ERR_PK_ALLOC_FAILED),
    CALL(mbedtls_pk_parse_key, MBEDTLS_ERR_PK_KEY_INVALID_FORMAT),
    CALL(mbedtls_pk_sign, MBEDTLS_ERR_ECP_RANDOM_FAILED),
    CALL(mbedtls_pk_verify, MBEDTLS_ERR_ECP_VERIFY_FAILED),
    CALL(mbedtls_pk_write_pubkey_der, MBEDTLS_ERR_ECP_ALLOC_FAILED),
    CALL(mbedtls_ssl_close_notify, MBEDTLS_ERR_SSL_WANT_WRITE),
    CALL(mbedtls_ssl_close_notify, MBEDTLS_ERR_SSL_INTERNAL_ERROR),
    CALL(mbedtls_ssl_conf_alpn_protocols, MBEDTLS_ERR_SSL_BAD_INPUT_DATA),
    CALL(mbedtls_ssl_conf_own_cert, MBEDTLS_ERR_SSL_ALLOC_FAILED),
    CALL(mbedtls_ssl_config_defaults, MBEDTLS_ERR_SSL_ALLOC_FAILED),
    CALL(mbedtls_ssl_get_alpn_protocol, FAULT_NULL),
    CALL(mbedtls_ssl_get_max_out_record_payload, MBEDTLS_ERR_SSL_INTERNAL_ERROR),
    CALL(mbedtls_ssl_handshake, MBEDTLS_ERR_SSL_ALLOC_FAILED),
    CALL(mbedtls_ssl_handshake, MBEDTLS_ERR_SSL_WANT_READ),
    CALL(mbedtls_ssl_handshake, MBEDTLS_ERR_SSL_WANT_WRITE),
    CALL(mbedtls_ssl_handshake, MBEDTLS_ERR_SSL_CONN_EOF),
    CALL(mbedtls_ssl_read, MBEDTLS_ERR_SSL_ALLOC_FAILED),
    CALL(mbedtls_ssl_read, MBEDTLS_ERR_SSL_INVALID_MAC),
    CALL(mbedtls_ssl_read, MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY),
    CALL(mbedtls_ssl_read, MBEDTLS_ERR_SSL_WANT_READ),
    CALL(mbedtls_ssl_set_hostname, MBEDTLS_ERR_SSL_ALLOC_FAILED),
    CALL(mbedtls_ssl_setup, MBEDTLS_ERR_SSL_ALLOC_FAILED),
    CALL(mbedtls_ssl_write, MBEDTLS_ERR_SSL_INTERNAL_ERROR),
    CALL(mbedtls_ssl_write, MBEDTLS_ERR_SSL_WANT_WRITE),
    CALL(mbedtls_x509_crt_check_extended_key_usage, MBEDTLS_ERR_X509_BAD_INPUT_DATA),
    CALL(mbedtls_x509_crt_check_key_usage, MBEDTLS_ERR_X509_BAD_INPUT_DATA),
    CALL(mbedtls_x509_crt_has_ext_type, 1),
    CALL(mbedtls_x509_crt_parse_der, MBEDTLS_ERR_X509_ALLOC_FAILED),
    CALL(psa_crypto_init, -141),

    { "allocation of the first host", OF_MEMORY, 0, 0, 0, 0, 0 },
    { "allocation of the second host", OF_MEMORY, 1, 0, 0, 0, 0 },

    DISKS("write of the log", FAULT_WRITE, FAULT_WAL, SQLITE_IOERR_WRITE, 0),
    DISKS("part of a write of the log", FAULT_WRITE, FAULT_WAL, SQLITE_IOERR_WRITE, 100),
    DISKS("write of the log, disk full", FAULT_WRITE, FAULT_WAL, SQLITE_FULL, 0),
    DISKS("write of the database", FAULT_WRITE, FAULT_DB, SQLITE_IOERR_WRITE, 0),
    DISKS("read", FAULT_READ, FAULT_DB | FAULT_WAL, SQLITE_IOERR_READ, 0),
    DISKS("short read", FAULT_READ, FAULT_DB | FAULT_WAL, SQLITE_IOERR_SHORT_READ, 0),
    DISKS("sync", FAULT_SYNC, FAULT_ANY_FILE, SQLITE_IOERR_FSYNC, 0),
    DISKS("open", FAULT_OPEN, FAULT_ANY_FILE, SQLITE_CANTOPEN, 0),
    DISKS("lock of the database", LOCKS, FAULT_DB, SQLITE_IOERR_LOCK, 0),
    DISKS("lock of a host", LOCKS, FAULT_HOST, SQLITE_IOERR_LOCK, 0),
    DISKS("lock of a host, held", FAULT_LOCK, FAULT_HOST, SQLITE_BUSY, 0),
    DISKS("lock of the queue", LOCKS, FAULT_OTHER, SQLITE_IOERR_LOCK, 0),
    DISKS("shared memory", FAULT_SHM, FAULT_DB, SQLITE_IOERR_SHMLOCK, 0),
    DISKS("size of a file", FAULT_SIZE, FAULT_ANY_FILE, SQLITE_IOERR_FSTAT, 0),
    DISKS("deletion", FAULT_DELETE, FAULT_ANY_FILE, SQLITE_IOERR_DELETE, 0),
    DISKS("access", FAULT_ACCESS, FAULT_ANY_FILE, SQLITE_IOERR_ACCESS, 0),
};

enum { FAULTS = sizeof faults / sizeof faults[0] };

/* ---- the world ---- */

typedef struct {
    int               number;
    bool              paused;
    fault_alloc       memory;
    francis_platform  platform;
    francis_host_desc desc;
    char              address[40];
} seat;                             /* of a host */

static struct {
    const fault  *fault;
    unsigned long n;
    bool          forever, workers;
    seat          seats[2];
    tour          tour;
    errands       errands;
    char          path[512];
    t_log         log;
    int64_t       now_ns, wall_ahead_ms;
    int           descriptors;      /* that were open before */
    bool          inside;           /* a host moves because the other one waits */
} w;

static fault_vfs disk;

static const char *title(void)
{
    static char text[200];
    (void)snprintf(text, sizeof text, "%s, the %luth%s", w.fault->what, w.n,
                   w.forever ? " and all later ones" : "");
    return text;
}

static void fail_begin(void)
{
    const fault *f = w.fault;
    atomic_store(&fault_api.armed, true);
    if (f->of == OF_CALLS)
        fault_calls_fail(f->function, w.n, w.forever, f->error);
    if (f->of == OF_MEMORY)
        fault_alloc_fail(&w.seats[f->function].memory, w.n, w.forever);
    if (f->of == OF_DISK) {
        fault_vfs_fail(&disk, f->calls, f->files, w.n, w.forever ? FAULT_FOREVER : FAULT_ONCE,
                       f->error);
        fault_vfs_short(&disk, f->short_bytes);
    }
}

static unsigned long fired(void)
{
    return w.fault->of == OF_CALLS    ? fault_calls_fired()
           : w.fault->of == OF_MEMORY ? fault_alloc_fired(&w.seats[w.fault->function].memory)
                                      : fault_vfs_fired(&disk);
}

/* What has fired is asked for before. */
static void fail_end(void)
{
    atomic_store(&fault_api.armed, false);
    fault_calls_heal();
    for (int i = 0; i < 2; i++)
        fault_alloc_heal(&w.seats[i].memory);
    fault_vfs_heal(&disk);
}

/* Whether it is about threads: then there are some. */
static bool is_thread(const fault *f)
{
    return f->of == OF_CALLS
        && (f->function == FAULT_pthread_create || f->function == FAULT_pthread_attr_init);
}

static bool explained(francis_result r)
{
    switch (r) {
    case FRANCIS_ERR_TRANSPORT:
    case FRANCIS_ERR_UNKNOWN:
    case FRANCIS_ERR_MOVED:
    case FRANCIS_ERR_DEADLINE:
    case FRANCIS_ERR_EVICTED:
    case FRANCIS_ERR_CANCELLED:
    case FRANCIS_ERR_NOMEM:
        return true;
    case FRANCIS_ERR_STORAGE:
    case FRANCIS_ERR_FULL:
    case FRANCIS_ERR_LOCKED:
    case FRANCIS_ERR_CORRUPT:
        return w.fault->of == OF_DISK;
    case FRANCIS_ERR_INVALID:       /* there is no such zone */
        return w.fault->of == OF_CALLS
            && (w.fault->function == FAULT_open || w.fault->function == FAULT_fstat);
    case FRANCIS_ERR_BUSY:          /* the last worker does not wait, if there is no other */
        return is_thread(w.fault);
    case FRANCIS_ERR_STOPPED:       /* a host that cannot go on */
        return francis_host_error(w.tour.host[0])[0] != '\0'
            || francis_host_error(w.tour.host[1])[0] != '\0';
    case FRANCIS_ERR_INTERNAL:      /* of randomness */
        return w.fault->of == OF_CALLS && w.fault->function >= FAULT_getrandom;
    default:
        return r == FRANCIS_ERR_USER + 9;
    }
}

static bool usual(francis_result r, francis_result expected, const char *what)
{
    if (r == expected)
        return true;
    if (fired() == 0 || !explained(r))
        fail_msg("%s: %s is %s, not %s; the hosts say \"%s\", \"%s\"", title(), what,
                 francis_result_name(r), francis_result_name(expected),
                 francis_host_error(w.tour.host[0]), francis_host_error(w.tour.host[1]));
    return false;
}

/* -- time, and whose turn it is */

enum { FAILURES_MAX = 20000 };      /* of the disk: ten times as many as there are with pauses */

static int64_t world_ns(void *user)
{
    (void)user;
    if (fault_vfs_fired(&disk) > FAILURES_MAX)
        fail_msg("%s: the disk is asked again and again", title());
    return w.now_ns += 1000;
}

static int64_t world_ms(void *user)
{
    (void)user;
    return INT64_C(1900000000000) + w.now_ns / 1000000 + w.wall_ahead_ms;
}

static void move(seat *s)
{
    francis_host *h = w.tour.host[s->number];
    if (h == NULL || s->paused || w.inside)
        return;
    w.inside = true;
    (void)francis_poll(h, 0);
    w.inside = false;
}

/* When the other one has something to do by itself. */
static int64_t next_ns(const seat *s)
{
    francis_host *h = w.tour.host[s->number];
    int64_t       ms = h == NULL || s->paused || w.inside ? 1000 : francis_timeout(h);
    return w.now_ns + (ms < 0 || ms > 1000 ? 1000 : ms) * 1000000 + 100000;
}

/* For a host that waits. */
static int world_poll(struct pollfd *fds, size_t count, int64_t timeout_ns, void *user)
{
    seat   *me = (seat *)user, *other = &w.seats[1 - me->number];
    int64_t until = timeout_ns < 0 ? INT64_MAX : w.now_ns + timeout_ns, at;
    int     n, error = fds != NULL ? fault_call(FAULT_poll) : 0;

    w.now_ns += 500000;             /* who is told of something again and again is late, too */
    if (fds == NULL || error != 0) {
        w.now_ns += fds == NULL ? timeout_ns : 1000000;
        move(other);
        errno = error;
        return error != 0 ? -1 : 0;
    }
    for (;;) {
        n = poll(fds, (nfds_t)count, 0);
        if (n != 0 || timeout_ns == 0 || w.now_ns >= until)
            return n;
        move(other);
        n = poll(fds, (nfds_t)count, fault_calls_on_the_way() ? 5 : 0);
        if (n != 0)
            return n;
        at = next_ns(other);
        w.now_ns = at < until ? at : until;
    }
}

static int64_t now_ms(void) { return w.workers ? t_ms() : w.now_ns / 1000000; }

static void pass(int64_t ms)
{
    int64_t end = w.now_ns + ms * 1000000;
    if (w.workers)
        t_yield();
    while (!w.workers && w.now_ns < end) {
        int at = w.tour.host[0] != NULL && !w.seats[0].paused ? 0 : 1;
        if (w.tour.host[at] == NULL || francis_poll(w.tour.host[at], ms) != FRANCIS_OK)
            w.now_ns += 1000000;
        move(&w.seats[1 - at]);
    }
}

/* -- hosts */

static const francis_actor_desc errand_types[] = {
    { .type = "errand", .methods = errand_methods, .state_size = sizeof(counter_state),
      .alarm = errand_run, .job = errand_run, .job_failed = errand_failed, .attempts_max = 100,
      .retry_delay_ms = 1, .requests_kept_max = 1000000 },
    { .type = NULL }
};

static const francis_actor_desc *const types[] = { tour_types, errand_types };

static francis_result seat_open(int at)
{
    seat          *s = &w.seats[at];
    francis_host  *h = NULL;
    francis_result r;

    fault_alloc_init(&s->memory);
    if (w.fault->of == OF_MEMORY && w.fault->function == at && atomic_load(&fault_api.armed))
        fault_alloc_fail(&s->memory, w.n, w.forever);
    s->paused = false;
    (void)francis_open(&h, &s->desc);
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        for (const francis_actor_desc *t = types[i]; t->type != NULL; t++)
            (void)francis_register(h, t);
    r = francis_start(h);
    w.tour.host[at] = h;
    w.tour.ctx[at] = francis_host_ctx(h);
    return r;
}

static void seat_close(int at);

/* Who does not start says why. */
static void seat_try(int at)
{
    francis_result r = seat_open(at);
    const char    *why = francis_host_error(w.tour.host[at]);
    if (r == FRANCIS_OK)
        return;
    if (fired() == 0 || (w.tour.host[at] != NULL && why[0] == '\0'))
        fail_msg("%s: host %d does not start: %s: \"%s\"", title(), at, francis_result_name(r),
                 why);
    seat_close(at);
}

static void seat_close(int at)
{
    const char *wrong;
    francis_close(w.tour.host[at]);
    w.tour.host[at] = NULL;
    w.tour.ctx[at] = NULL;
    wrong = fault_alloc_check(&w.seats[at].memory);
    if (wrong != NULL)
        fail_msg("%s: host %d: %s", title(), at, wrong);
}

static void world_begin(const fault *f, bool forever, bool workers)
{
    (void)memset(&w, 0, sizeof w);
    (void)pthread_mutex_init(&w.log.lock, NULL);
    w.fault = f;
    w.forever = forever;
    w.workers = workers;
}

/* One that nobody takes while its host is down: a port that was just free may be somebody's next
 * moment, so that it is an address of this process alone, where the system has so many. */
static void seat_address(seat *s)
{
#if defined(__linux__)
    unsigned id = (unsigned)getpid();
    (void)snprintf(s->address, sizeof s->address, "127.%u.%u.%u:7571", 64 + (id >> 14 & 127),
                   id >> 6 & 255, (id & 63) * 4 + 1 + (unsigned)s->number);
#else
    free_address(s->address);
#endif
}

static francis_host_desc seat_desc(seat *s)
{
    francis_host_desc desc = { .database = w.path,
                               .address = s->address,
                               .cluster_key = tour_key,
                               .workers = w.workers ? 2 : FRANCIS_NO_WORKERS,
                               .durability = FRANCIS_SURVIVES_CRASH,
                               .timeout_ms = 5000,
                               .stop_timeout_ms = 5000,
                               .busy_timeout_ms = 1000,
                               .health_deadline_ms = 10000,
                               .sweep_interval_ms = FRANCIS_HOURS(1),
                               .wal_bytes_max = 65536,
                               .no_signal_handlers = true,
                               .platform = &s->platform,
                               .on_alloc = fault_alloc_fn,
                               .alloc_user = &s->memory,
                               .on_log = t_log_sink,
                               .log_user = &w.log };
    return desc;
}

/* So many are open. */
static int descriptors(void)
{
    int n = 0;
    for (int fd = 0; fd < 512; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

/* A new file, the same randomness and the same time as for the last n. */
static void world_again(void)
{
    (void)snprintf(w.path, sizeof w.path, "%s", t_database());
    w.now_ns = INT64_C(1000000000000);
    w.wall_ahead_ms = 0;
    w.inside = false;
    w.descriptors = descriptors();
    fault_calls_begin(12345);
    fault_vfs_heal(&disk);
    tour_init(&w.tour);
    errands_init(&w.errands);
    w.tour.usual = w.errands.usual = usual;
    w.tour.pass = pass;
    w.tour.now_ms = now_ms;
    w.tour.threads = w.workers;
    for (int i = 0; i < 2; i++) {
        seat *s = &w.seats[i];
        (void)memset(s, 0, sizeof *s);
        s->number = i;
        seat_address(s);
        s->platform = (francis_platform){ .version = 1, .sqlite_vfs = DISK, .user = s };
        if (!w.workers) {
            s->platform.monotonic_ns = world_ns;
            s->platform.wall_ms = world_ms;
            s->platform.poll = world_poll;
        }
        s->desc = seat_desc(s);
    }
}

/* ---- what happens ---- */

/* The second host does not move for so long that it is evicted; it comes again. */
static void evict(void)
{
    w.seats[1].paused = true;
    for (int i = 0; i < TOUR_COUNTERS; i++) {
        counter_model *m = &w.tour.counters[i];
        francis_result r = model_increment(m, w.tour.ctx[0], "tour");
        assert_true(r == FRANCIS_OK || explained(r));
        pass(5000);
    }
    w.seats[1].paused = false;
    pass(3000);
}

static void lose_connection(void)
{
    w.wall_ahead_ms += FRANCIS_HOURS(11);   /* certificates are due to be renewed */
    pass(70000);                    /* and a connection that nobody uses is closed */
}

static void stop_second(void)
{
    francis_host  *h = w.tour.host[1];
    francis_result r;
    francis_call   call = { .async = true };
    counter_model *m = &w.tour.counters[0];

    r = francis_invoke(w.tour.ctx[0], "tour", m->id, "increment", NULL, 0, &call);
    francis_stop(h);
    (void)francis_run(h);
    if (usual(r, FRANCIS_PENDING, "async")) {
        r = francis_wait(w.tour.ctx[0], &call);
        model_answer(m, r, call.data, call.size);
    }
    francis_call_free(&call);
    seat_close(1);
}

static void all_of_it(void)
{
    tour_at(&w.tour, 0);
    tour_at(&w.tour, 1);
    if (!w.workers) {               /* time can be made to pass */
        lose_connection();
        tour_at(&w.tour, 0);
    }
    errands_ask(&w.errands);        /* some of which must not come to be due */
    if (!w.workers) {
        evict();
        tour_calls(&w.tour, 1);
    }
    stop_second();
    tour_calls(&w.tour, 0);
    seat_try(1);
    tour_calls(&w.tour, 0);
}

/* ---- afterwards ---- */

/* Whoever is not there comes again, and at the first try. */
static void come_again(int at)
{
    francis_stats s;
    if (w.tour.host[at] != NULL) {
        francis_stats_get(w.tour.host[at], &s);
        pass(100);
        if (francis_poll(w.tour.host[at], 0) == FRANCIS_OK)
            return;
        if (francis_host_error(w.tour.host[at])[0] == '\0')
            fail_msg("%s: host %d has stopped and does not say why", title(), at);
        seat_close(at);
    }
    if (seat_open(at) != FRANCIS_OK)
        fail_msg("%s: afterwards host %d does not start: %s", title(), at,
                 francis_host_error(w.tour.host[at]));
}

static void works_again(void)
{
    francis_result r;
    for (int at = 0; at < 2; at++)
        come_again(at);
    w.errands.ctx = w.tour.ctx[0];
    for (int i = 0; i < 2 * TOUR_COUNTERS; i++) {
        counter_model *m = &w.tour.counters[i % TOUR_COUNTERS];
        int64_t        end = now_ms() + 120000;
        while ((r = model_increment(m, w.tour.ctx[i & 1], "tour")) != FRANCIS_OK) {
            if (now_ms() > end)
                fail_msg("%s: afterwards host %d answers %s", title(), i & 1,
                         francis_result_name(r));
            pass(500);
        }
    }
}

static void errands_end(void)
{
    int64_t end;
    errands_tidy(&w.errands);
    for (end = now_ms() + 120000; errands_pending(&w.errands) != 0; pass(100))
        if (now_ms() > end)
            fail_msg("%s: %lld alarms and jobs are stranded", title(),
                     (long long)errands_pending(&w.errands));
    errands_stored(&w.errands);
}

static void world_end(void)
{
    sqlite3 *db;
    int      left;
    for (int i = 0; i < 2; i++)
        seat_close(i);
    db = raw_open(w.path);
    tour_stored(&w.tour, db);
    raw_check(db);
    (void)sqlite3_close(db);
    raw_remove(w.path);
    left = descriptors() - w.descriptors;
    if (left != 0)
        fail_msg("%s: %d descriptors are left open", title(), left);
}

/* ---- the sweeps ---- */

/* How many calls there have been that the fault is about. */
static unsigned long counted(const fault *f)
{
    return f->of == OF_CALLS    ? (f->function >= 0 ? fault_calls_count(f->function) : 0)
           : f->of == OF_MEMORY ? w.seats[f->function].memory.number
                                : fault_vfs_count(&disk, f->calls, f->files);
}

static void count_all(unsigned long totals[FAULTS], bool add)
{
    for (size_t i = 0; i < FAULTS; i++)
        totals[i] = add ? counted(&faults[i]) - totals[i] : counted(&faults[i]);
}

/* One n. Whether there was a call that failed. totals: how many calls could have. */
static bool try_running(unsigned long *totals)
{
    unsigned long n;
    world_again();
    for (int i = 0; i < 2; i++)
        t_ok(seat_open(i));
    w.errands.ctx = w.tour.ctx[0];
    w.errands.db = raw_open(w.path);
    errands_prepare(&w.errands);
    tour_until(&w.tour, errand_is_dead(&w.errands));
    if (totals != NULL)
        count_all(totals, false);
    fail_begin();
    all_of_it();
    n = fired();
    if (totals != NULL)
        count_all(totals, true);
    fail_end();
    works_again();
    errands_end();
    (void)sqlite3_close(w.errands.db);
    world_end();
    return n > 0;
}

/* The same while they start. */
static bool try_starting(unsigned long *totals)
{
    unsigned long n;
    world_again();
    if (totals != NULL)
        count_all(totals, false);
    fail_begin();
    for (int at = 0; at < 2; at++)
        seat_try(at);
    for (int at = 0; at < 2; at++)
        if (w.tour.host[at] != NULL)
            for (int i = 0; i < TOUR_COUNTERS; i++)
                (void)tour_add(&w.tour, at, &w.tour.counters[i], "increment");
    n = fired();
    if (totals != NULL)
        count_all(totals, true);
    fail_end();
    works_again();
    world_end();
    return n > 0;
}

static bool is_long(void)
{
    const char *all = getenv("T_LONG");
    return all != NULL && all[0] == '1';
}

/* Tries so many n of a fault, or all of them. Returns how often it made a call fail. */
static unsigned long sweep(bool (*try_one)(unsigned long *), size_t number, bool forever,
                           bool workers, unsigned long total, unsigned some)
{
    unsigned long failed = 0;
    world_begin(&faults[number], forever, workers);
    if (is_long()) {
        for (w.n = 1; try_one(NULL); w.n++)
            failed++;
        return failed;
    }
    for (unsigned i = 0; i < some && total > 0; i++) {
        w.n = 1 + (number * 5 + (forever ? 3 : 0) + i * (total / some + 1)) % total;
        failed += try_one(NULL);
    }
    return failed;
}

/* Each fault either once or from then on; where the program is slow only some of them, from the
 * so many-th on. */
static void sweep_all(bool (*try_one)(unsigned long *), const char *what, size_t from)
{
    static const fault nothing = { "nothing", OF_CALLS, -1, 0, 0, 0, 0 };
    unsigned long      totals[FAULTS] = { 0 }, failed = 0, tried = 0;
    world_begin(&nothing, false, false);
    w.n = 0;
    (void)try_one(totals);
    for (size_t i = t_slow() ? from : 0; i < FAULTS; i += t_slow() ? 9 : 1) {
        for (unsigned forever = 0; forever < 2; forever++) {
            if (is_thread(&faults[i]) || (!is_long() && (i + from) % 2 != forever))
                continue;
            failed += sweep(try_one, i, forever != 0, false, totals[i], 1);
            tried += totals[i] > 0;
        }
    }
    print_message("%s: %lu tried, in %lu of them calls failed\n", what, tried, failed);
    assert_true(failed > 0 && (is_long() || failed >= tried / 2));
}

/* Would catch: a host that is half open, a descriptor or thread that stays behind, a start that
 * says OK and serves nothing, or does not say what was missing. */
static void test_starting(void **state)
{
    (void)state;
    sweep_all(try_starting, "starting", 1);
}

/* Would catch: an answer that is not true, one that never comes, a connection that is neither alive
 * nor given up, a stream cut short that ends like a whole one, a loop without a pause, an alarm or
 * a job that is stranded, a block that leaks. */
static void test_running(void **state)
{
    (void)state;
    fault_api_begin();
    sweep_all(try_running, "running", 2);
    if (fault_api_missing() != NULL)
        fail_msg("%s was never called while something could fail", fault_api_missing());
}

/* A log that begins anew and whose header cannot be synced, while placements have to go: the state
 * that the first syncs lead to. Would catch: a host that tries the same again and again without a
 * pause, for which time stands still. */
static void test_syncs(void **state)
{
    size_t number = 0;
    (void)state;
    while (faults[number].calls != FAULT_SYNC)
        number++;
    world_begin(&faults[number], true, false);
    for (w.n = t_slow() ? 6 : 1; w.n <= 12; w.n += t_slow() ? 6 : 1)
        assert_true(try_running(NULL));
}

/* Threads that cannot be created, with workers, in real time. Would catch: a host that starts with
 * a part of its threads; turns that wait for a thread that will never be there. */
static void test_threads(void **state)
{
    unsigned long failed = 0;
    (void)state;
    for (size_t i = 0; i < FAULTS; i++)
        for (int forever = 0; forever < 2 && is_thread(&faults[i]); forever++) {
            failed += sweep(try_starting, i, forever != 0, true, 8, t_slow() ? 2 : 8);
            failed += sweep(try_running, i, forever != 0, true, 4, t_slow() ? 1 : 2);
        }
    assert_true(failed > 0);
}

/* For one that has failed. */
static int say_last(void **state)
{
    (void)state;
    print_message("the last one: %s\n", title());
    return 0;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_starting, say_last),
        cmocka_unit_test_teardown(test_running, say_last),
        cmocka_unit_test_teardown(test_syncs, say_last),
        cmocka_unit_test_teardown(test_threads, say_last),
    };
    int failed;
    if (fault_vfs_register(&disk, DISK) != SQLITE_OK)
        return 2;
    disk.no_sync = true;
    if (argc > 1)                   /* only the tests of this name */
        cmocka_set_test_filter(argv[1]);
    failed = cmocka_run_group_tests_name("fault_calls", tests, NULL, NULL);
    t_clean();
    return failed;
}
