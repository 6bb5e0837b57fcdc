/* Calls of the implementation to the system and to mbedTLS, of which chosen ones fail. For programs
 * that contain the implementation, in place of "francis.h" and before all else:
 *
 *     #define FRANCIS_IMPLEMENTATION
 *     #include "support/fault_calls.h"
 *     ...
 *     fault_calls_fail(FAULT_recv, 3, false, ECONNRESET);   the third recv() from now on, once
 *     if (fault_calls_fired()) ...
 *     fault_calls_heal();
 *
 * Each call is counted, by its function. What a failed one answers is a number of the function's
 * own kind: an errno, an EAI_..., an error of mbedTLS; or FAULT_END, FAULT_PART, FAULT_NULL. All
 * functions here may be called from any thread. */
#ifndef FAULT_CALLS_H
#define FAULT_CALLS_H

#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L
#endif
#ifndef _DEFAULT_SOURCE
#define _DEFAULT_SOURCE 1
#endif

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#if defined(__linux__)
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/timerfd.h>
#include <sys/vfs.h>
#endif

#include <mbedtls/hkdf.h>
#include <mbedtls/md.h>
#include <mbedtls/pem.h>
#include <mbedtls/pk.h>
#include <mbedtls/ssl.h>
#include <mbedtls/version.h>
#include <mbedtls/x509_crt.h>
#if defined(MBEDTLS_USE_PSA_CRYPTO) || defined(MBEDTLS_SSL_PROTO_TLS1_3)
#include <psa/crypto.h>
#endif

#if defined(__GNUC__)
#define FAULT_CALLS_UNUSED __attribute__((unused))
#else
#define FAULT_CALLS_UNUSED
#endif

/* The functions, in groups. poll is that of a platform of the test's: see fault_call. */
#define FAULT_SOCKETS(X) \
    X(socket) X(bind) X(listen) X(accept) X(connect) X(send) X(recv) X(getsockopt) X(setsockopt) \
    X(fcntl) X(poll) X(getaddrinfo) X(getnameinfo)
#define FAULT_SYSTEM(X) \
    X(eventfd) X(epoll_create1) X(epoll_ctl) X(timerfd_create) X(timerfd_settime) X(getrandom) \
    X(open) X(fopen) X(stat) X(fstat) X(statfs) X(mmap) X(madvise) X(pthread_create) \
    X(pthread_attr_init) X(pthread_cond_init) X(pthread_condattr_init) \
    X(pthread_condattr_setclock) X(pthread_key_create)
#define FAULT_MBEDTLS(X) \
    X(mbedtls_hkdf) X(mbedtls_md) X(mbedtls_md_info_from_type) X(mbedtls_mpi_add_int) \
    X(mbedtls_mpi_mod_mpi) X(mbedtls_mpi_read_binary) X(mbedtls_mpi_write_binary) \
    X(mbedtls_pem_write_buffer) X(mbedtls_pk_parse_key) X(mbedtls_pk_sign) X(mbedtls_pk_verify) \
    X(mbedtls_pk_write_pubkey_der) X(mbedtls_ssl_close_notify) \
    X(mbedtls_ssl_conf_alpn_protocols) X(mbedtls_ssl_conf_own_cert) \
    X(mbedtls_ssl_config_defaults) X(mbedtls_ssl_get_alpn_protocol) \
    X(mbedtls_ssl_get_max_out_record_payload) X(mbedtls_ssl_handshake) X(mbedtls_ssl_read) \
    X(mbedtls_ssl_set_hostname) X(mbedtls_ssl_setup) X(mbedtls_ssl_write) \
    X(mbedtls_x509_crt_check_extended_key_usage) X(mbedtls_x509_crt_check_key_usage) \
    X(mbedtls_x509_crt_has_ext_type) X(mbedtls_x509_crt_parse_der) X(psa_crypto_init)

enum {
#define FAULT_X(name) FAULT_##name,
    FAULT_SOCKETS(FAULT_X) FAULT_SYSTEM(FAULT_X) FAULT_MBEDTLS(FAULT_X)
#undef FAULT_X
    FAULT_FUNCTIONS
};

static const char *const fault_names[] = {
#define FAULT_X(name) #name,
    FAULT_SOCKETS(FAULT_X) FAULT_SYSTEM(FAULT_X) FAULT_MBEDTLS(FAULT_X)
#undef FAULT_X
};

enum {
    FAULT_END = 1000001,            /* of recv: the other side has ended; of getrandom: there is no
                                       randomness at all */
    FAULT_PART,                     /* of send, recv: one byte and no more */
    FAULT_NULL                      /* of what returns a pointer */
};

static struct {
    pthread_mutex_t lock;
    int             function;       /* the rule; -1 = none */
    unsigned long   countdown;
    bool            from_then_on, failing;
    int             error;
    unsigned long   fired;
    unsigned long   count[FAULT_FUNCTIONS];
    uint64_t        random;         /* not 0: getrandom gives what follows from it */
    bool            no_device;      /* the last one has failed with FAULT_END */
    long            on_the_way;     /* bytes that were sent and not received */
} fault_calls = { .lock = PTHREAD_MUTEX_INITIALIZER, .function = -1 };

/* Counts one call. 0 = it is to be made, else what it answers instead. */
static int fault_call(int function)
{
    int error = 0;
    (void)pthread_mutex_lock(&fault_calls.lock);
    fault_calls.count[function]++;
    if (function == fault_calls.function) {
        bool now = fault_calls.countdown > 0 && --fault_calls.countdown == 0;
        if (now || fault_calls.failing) {
            fault_calls.failing = fault_calls.from_then_on;
            fault_calls.fired++;
            error = fault_calls.error;
        }
    }
    (void)pthread_mutex_unlock(&fault_calls.lock);
    return error;
}

/* The n-th call of a function from now on fails, from 1; and all later ones if asked. */
FAULT_CALLS_UNUSED static void fault_calls_fail(int function, unsigned long n, bool from_then_on,
                                                int error)
{
    (void)pthread_mutex_lock(&fault_calls.lock);
    fault_calls.function = function;
    fault_calls.countdown = n;
    fault_calls.from_then_on = from_then_on;
    fault_calls.failing = false;
    fault_calls.error = error;
    fault_calls.fired = 0;
    (void)pthread_mutex_unlock(&fault_calls.lock);
}

/* From now on nothing fails; what has failed so far stays counted. */
FAULT_CALLS_UNUSED static void fault_calls_heal(void)
{
    (void)pthread_mutex_lock(&fault_calls.lock);
    fault_calls.function = -1;
    fault_calls.failing = fault_calls.no_device = false;
    (void)pthread_mutex_unlock(&fault_calls.lock);
}

FAULT_CALLS_UNUSED static unsigned long fault_calls_fired(void)
{
    unsigned long n;
    (void)pthread_mutex_lock(&fault_calls.lock);
    n = fault_calls.fired;
    (void)pthread_mutex_unlock(&fault_calls.lock);
    return n;
}

FAULT_CALLS_UNUSED static unsigned long fault_calls_count(int function)
{
    unsigned long n;
    (void)pthread_mutex_lock(&fault_calls.lock);
    n = fault_calls.count[function];
    (void)pthread_mutex_unlock(&fault_calls.lock);
    return n;
}

/* All counters to zero, and the same randomness as ever. 0 = that of the system. */
FAULT_CALLS_UNUSED static void fault_calls_begin(uint64_t random)
{
    fault_calls_heal();
    (void)pthread_mutex_lock(&fault_calls.lock);
    (void)memset(fault_calls.count, 0, sizeof fault_calls.count);
    fault_calls.random = random;
    fault_calls.fired = 0;
    fault_calls.on_the_way = 0;
    (void)pthread_mutex_unlock(&fault_calls.lock);
}

FAULT_CALLS_UNUSED static void fault_calls_sent(long bytes)
{
    (void)pthread_mutex_lock(&fault_calls.lock);
    fault_calls.on_the_way += bytes;
    (void)pthread_mutex_unlock(&fault_calls.lock);
}

/* Whether something may be on its way that has not come; asked once. */
FAULT_CALLS_UNUSED static bool fault_calls_on_the_way(void)
{
    bool some;
    (void)pthread_mutex_lock(&fault_calls.lock);
    some = fault_calls.on_the_way > 0;
    fault_calls.on_the_way = 0;
    (void)pthread_mutex_unlock(&fault_calls.lock);
    return some;
}

/* ---- the functions that do not just fail ---- */

static ssize_t fault_send(int fd, const void *data, size_t size, int flags)
{
    int     error = fault_call(FAULT_send);
    ssize_t n;
    if (error != 0 && error != FAULT_PART) {
        errno = error;
        return -1;
    }
    n = send(fd, data, error != 0 && size > 1 ? 1 : size, flags);
    if (n > 0)
        fault_calls_sent((long)n);
    return n;
}

static ssize_t fault_recv(int fd, void *data, size_t size, int flags)
{
    int     error = fault_call(FAULT_recv);
    ssize_t n;
    if (error == FAULT_END)
        return 0;
    if (error != 0 && error != FAULT_PART) {
        errno = error;
        return -1;
    }
    n = recv(fd, data, error != 0 && size > 1 ? 1 : size, flags);
    if (n > 0)
        fault_calls_sent(-(long)n);
    return n;
}

/* Fails by what it says of the socket; with ENOBUFS by itself. */
static int fault_getsockopt(int fd, int level, int name, void *value, socklen_t *size)
{
    int error = fault_call(FAULT_getsockopt);
    if (error == 0)
        return getsockopt(fd, level, name, value, size);
    errno = error;
    if (error == ENOBUFS)
        return -1;
    (void)memcpy(value, &error, sizeof error);
    return 0;
}

#if defined(__linux__)
static ssize_t fault_getrandom(void *data, size_t size, unsigned flags)
{
    unsigned char *p = (unsigned char *)data;
    int            error = fault_call(FAULT_getrandom);
    bool           made_up;
    (void)pthread_mutex_lock(&fault_calls.lock);
    fault_calls.no_device = error == FAULT_END;
    made_up = error == 0 && fault_calls.random != 0;
    for (size_t i = 0; i < size && made_up; i++) {
        fault_calls.random = fault_calls.random * 6364136223846793005u + 1442695040888963407u;
        p[i] = (unsigned char)(fault_calls.random >> 56);
    }
    (void)pthread_mutex_unlock(&fault_calls.lock);
    if (error != 0) {
        errno = error == FAULT_END ? ENOSYS : error;
        return -1;
    }
    return made_up ? (ssize_t)size : getrandom(data, size, flags);
}
#endif

static int fault_open(const char *path, int flags)
{
    int  error = fault_call(FAULT_open);
    bool no_device;
    (void)pthread_mutex_lock(&fault_calls.lock);
    no_device = fault_calls.no_device;
    (void)pthread_mutex_unlock(&fault_calls.lock);
    if (error == 0 && no_device && strcmp(path, "/dev/urandom") == 0)
        error = ENOENT;
    errno = error;
    return error != 0 ? -1 : open(path, flags);
}

/* ---- the implementation, with these in place of the real ones ---- */

/* What a failed call gives: -1 and errno, the error itself, or no pointer. */
#define FAULT_ERRNO(name, call)                                                    \
    __extension__({                                                                \
        int fault_error_ = fault_call(FAULT_##name);                               \
        if (fault_error_ != 0)                                                     \
            errno = fault_error_;                                                  \
        fault_error_ != 0 ? -1 : (call);                                           \
    })
#define FAULT_ITSELF(name, call)                                                   \
    __extension__({                                                                \
        int fault_error_ = fault_call(FAULT_##name);                               \
        fault_error_ != 0 ? fault_error_ : (call);                                 \
    })
#define FAULT_POINTER(name, call, none)                                            \
    (fault_call(FAULT_##name) != 0 ? (errno = ENOMEM, (none)) : (call))

/* Members of structs have some of these names, too: told apart by the number of arguments. */
#define FAULT_FOURTH(a, b, c, d, name, ...) name

#define socket(...)          FAULT_ERRNO(socket, socket(__VA_ARGS__))
#define bind(...)            FAULT_ERRNO(bind, bind(__VA_ARGS__))
#define listen(...)          FAULT_ERRNO(listen, listen(__VA_ARGS__))
#define accept(...)          FAULT_ERRNO(accept, accept(__VA_ARGS__))
#define connect(...)         FAULT_ERRNO(connect, connect(__VA_ARGS__))
#define send(...)            FAULT_FOURTH(__VA_ARGS__, fault_send, send, , )(__VA_ARGS__)
#define recv(...)            FAULT_FOURTH(__VA_ARGS__, fault_recv, recv, , )(__VA_ARGS__)
#define getsockopt(...)      fault_getsockopt(__VA_ARGS__)
#define setsockopt(...)      FAULT_ERRNO(setsockopt, setsockopt(__VA_ARGS__))
#define fcntl(...)           FAULT_ERRNO(fcntl, fcntl(__VA_ARGS__))
#define getaddrinfo(...)     FAULT_ITSELF(getaddrinfo, getaddrinfo(__VA_ARGS__))
#define getnameinfo(...)     FAULT_ITSELF(getnameinfo, getnameinfo(__VA_ARGS__))
#define eventfd(...)         FAULT_ERRNO(eventfd, eventfd(__VA_ARGS__))
#define epoll_create1(...)   FAULT_ERRNO(epoll_create1, epoll_create1(__VA_ARGS__))
#define epoll_ctl(...)       FAULT_ERRNO(epoll_ctl, epoll_ctl(__VA_ARGS__))
#define timerfd_create(...)  FAULT_ERRNO(timerfd_create, timerfd_create(__VA_ARGS__))
#define timerfd_settime(...) FAULT_ERRNO(timerfd_settime, timerfd_settime(__VA_ARGS__))
#define getrandom(...)       fault_getrandom(__VA_ARGS__)
#define open(...)            fault_open(__VA_ARGS__)
#define fopen(...)           FAULT_POINTER(fopen, fopen(__VA_ARGS__), NULL)
#define stat(...)            FAULT_ERRNO(stat, stat(__VA_ARGS__))
#define fstat(...)           FAULT_ERRNO(fstat, fstat(__VA_ARGS__))
#define statfs(...)          FAULT_ERRNO(statfs, statfs(__VA_ARGS__))
#define mmap(...)            FAULT_POINTER(mmap, mmap(__VA_ARGS__), MAP_FAILED)
#define madvise(...)         FAULT_ERRNO(madvise, madvise(__VA_ARGS__))

#define pthread_create(...)         FAULT_ITSELF(pthread_create, pthread_create(__VA_ARGS__))
#define pthread_attr_init(...)      FAULT_ITSELF(pthread_attr_init, pthread_attr_init(__VA_ARGS__))
#define pthread_cond_init(...)      FAULT_ITSELF(pthread_cond_init, pthread_cond_init(__VA_ARGS__))
#define pthread_condattr_init(...) \
    FAULT_ITSELF(pthread_condattr_init, pthread_condattr_init(__VA_ARGS__))
#define pthread_condattr_setclock(...) \
    FAULT_ITSELF(pthread_condattr_setclock, pthread_condattr_setclock(__VA_ARGS__))
#define pthread_key_create(...) \
    FAULT_ITSELF(pthread_key_create, pthread_key_create(__VA_ARGS__))

#define FAULT_TLS(name, ...) FAULT_ITSELF(name, name(__VA_ARGS__))
#define mbedtls_hkdf(...)             FAULT_TLS(mbedtls_hkdf, __VA_ARGS__)
#define mbedtls_md(...)               FAULT_TLS(mbedtls_md, __VA_ARGS__)
#define mbedtls_md_info_from_type(...) \
    FAULT_POINTER(mbedtls_md_info_from_type, mbedtls_md_info_from_type(__VA_ARGS__), NULL)
#define mbedtls_mpi_add_int(...)      FAULT_TLS(mbedtls_mpi_add_int, __VA_ARGS__)
#define mbedtls_mpi_mod_mpi(...)      FAULT_TLS(mbedtls_mpi_mod_mpi, __VA_ARGS__)
#define mbedtls_mpi_read_binary(...)  FAULT_TLS(mbedtls_mpi_read_binary, __VA_ARGS__)
#define mbedtls_mpi_write_binary(...) FAULT_TLS(mbedtls_mpi_write_binary, __VA_ARGS__)
#define mbedtls_pem_write_buffer(...) FAULT_TLS(mbedtls_pem_write_buffer, __VA_ARGS__)
#define mbedtls_pk_parse_key(...)     FAULT_TLS(mbedtls_pk_parse_key, __VA_ARGS__)
#define mbedtls_pk_sign(...)          FAULT_TLS(mbedtls_pk_sign, __VA_ARGS__)
#define mbedtls_pk_verify(...)        FAULT_TLS(mbedtls_pk_verify, __VA_ARGS__)
#define mbedtls_pk_write_pubkey_der(...) FAULT_TLS(mbedtls_pk_write_pubkey_der, __VA_ARGS__)
#define mbedtls_ssl_close_notify(...) FAULT_TLS(mbedtls_ssl_close_notify, __VA_ARGS__)
#define mbedtls_ssl_conf_alpn_protocols(...) FAULT_TLS(mbedtls_ssl_conf_alpn_protocols, __VA_ARGS__)
#define mbedtls_ssl_conf_own_cert(...) FAULT_TLS(mbedtls_ssl_conf_own_cert, __VA_ARGS__)
#define mbedtls_ssl_config_defaults(...) FAULT_TLS(mbedtls_ssl_config_defaults, __VA_ARGS__)
#define mbedtls_ssl_get_alpn_protocol(...) \
    FAULT_POINTER(mbedtls_ssl_get_alpn_protocol, mbedtls_ssl_get_alpn_protocol(__VA_ARGS__), NULL)
#define mbedtls_ssl_get_max_out_record_payload(...) \
    FAULT_TLS(mbedtls_ssl_get_max_out_record_payload, __VA_ARGS__)
#define mbedtls_ssl_handshake(...)    FAULT_TLS(mbedtls_ssl_handshake, __VA_ARGS__)
#define mbedtls_ssl_read(...)         FAULT_TLS(mbedtls_ssl_read, __VA_ARGS__)
#define mbedtls_ssl_set_hostname(...) FAULT_TLS(mbedtls_ssl_set_hostname, __VA_ARGS__)
#define mbedtls_ssl_setup(...)        FAULT_TLS(mbedtls_ssl_setup, __VA_ARGS__)
#define mbedtls_ssl_write(...)        FAULT_TLS(mbedtls_ssl_write, __VA_ARGS__)
#define mbedtls_x509_crt_check_extended_key_usage(...) \
    FAULT_TLS(mbedtls_x509_crt_check_extended_key_usage, __VA_ARGS__)
#define mbedtls_x509_crt_check_key_usage(...) \
    FAULT_TLS(mbedtls_x509_crt_check_key_usage, __VA_ARGS__)
#define mbedtls_x509_crt_has_ext_type(...) \
    (fault_call(FAULT_mbedtls_x509_crt_has_ext_type) == 0 && \
     mbedtls_x509_crt_has_ext_type(__VA_ARGS__))
#define mbedtls_x509_crt_parse_der(...) FAULT_TLS(mbedtls_x509_crt_parse_der, __VA_ARGS__)
#define psa_crypto_init(...)          FAULT_TLS(psa_crypto_init, __VA_ARGS__)

#include "francis.h"

#undef socket
#undef bind
#undef listen
#undef accept
#undef connect
#undef send
#undef recv
#undef getsockopt
#undef setsockopt
#undef fcntl
#undef getaddrinfo
#undef getnameinfo
#undef eventfd
#undef epoll_create1
#undef epoll_ctl
#undef timerfd_create
#undef timerfd_settime
#undef getrandom
#undef open
#undef fopen
#undef stat
#undef fstat
#undef statfs
#undef mmap
#undef madvise
#undef pthread_create
#undef pthread_attr_init
#undef pthread_cond_init
#undef pthread_condattr_init
#undef pthread_condattr_setclock
#undef pthread_key_create

#endif
