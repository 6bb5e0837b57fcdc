/* A device gateway on a router (Linux). The application owns the epoll loop; no thread is created.
 * A client sends a datagram "DEVICE COMMAND". The actor of that device asks over a serial line, one
 * command at a time, and replies when the line has answered. A fifo as line is an echo.
 * Usage: gateway [DATABASE [SERIAL-LINE [PORT]]]     PORT 0 = any; it is printed */
#define _POSIX_C_SOURCE 200809L
#define FRANCIS_IMPLEMENTATION
#include "francis.h"
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { REQUESTS = 32, LINE_MS = 2000 };

typedef struct { int64_t commands; } device;                                /* durable */
typedef struct { francis_call call; struct sockaddr_in from; } request;     /* of a client */

static francis_host *host;
static request       requests[REQUESTS];
static unsigned      requests_count;
static int           net, serial;
static uint64_t      line_ticket;               /* who waits for the line, */
static int64_t       line_until_ms;             /* at most until then */

static francis_result command_done(francis_ctx *ctx)    /* the same turn goes on */
{
    const francis_call *answer = (const francis_call *)ctx->local;
    device             *d = (device *)francis_state(ctx);

    line_ticket = 0;
    if (answer->result != FRANCIS_OK)
        return francis_fail(ctx, FRANCIS_ERR_USER, "'%s' is silent", ctx->id);
    return francis_replyf(ctx, "%lld: %.*s", (long long)++d->commands, (int)answer->size,
                          (const char *)answer->data);
}

static francis_result command(francis_ctx *ctx)
{
    francis_call *answer = (francis_call *)francis_alloc(ctx, sizeof *answer);

    if (answer == NULL)
        return FRANCIS_ERR_NOMEM;
    if (line_ticket != 0 && francis_now(ctx) < line_until_ms)
        return francis_fail(ctx, FRANCIS_ERR_BUSY, "the line is in use");
    if (write(serial, ctx->input.data, ctx->input.size) != (ssize_t)ctx->input.size)
        return francis_fail(ctx, FRANCIS_ERR_USER, "the line does not take it");
    answer->timeout_ms = LINE_MS;
    line_until_ms = francis_now(ctx) + LINE_MS;
    line_ticket = francis_expect(ctx, answer);          /* a call that serial_ready answers */
    return francis_await(ctx, command_done, answer);
}

/* -- the application's loop -------------------------------------------------------------------- */
static void serial_ready(void)                          /* a late answer is STALE, and dropped */
{
    char    text[256];
    ssize_t n = read(serial, text, sizeof text);

    if (n > 0)
        (void)francis_answer(francis_host_ctx(host), line_ticket, FRANCIS_OK, text, (size_t)n);
}

static void request_done(francis_call *call)            /* runs inside francis_poll */
{
    const request *r = (const request *)call->user;
    const void    *text = call->result == FRANCIS_OK ? call->data : call->error;
    size_t         size = call->result == FRANCIS_OK ? call->size : strlen(call->error);
    (void)sendto(net, text, size, 0, (const struct sockaddr *)&r->from, sizeof r->from);
}

static void net_ready(void)
{
    request  *r = &requests[requests_count++ % REQUESTS];
    char      text[256], id[256] = "";
    int       rest = 0;
    socklen_t size = sizeof r->from;

    francis_call_free(&r->call);                        /* the oldest; cancelled if need be */
    ssize_t n = recvfrom(net, text, sizeof text - 1, 0, (struct sockaddr *)&r->from, &size);
    text[n > 0 ? n : 0] = '\0';
    (void)sscanf(text, "%255s %n", id, &rest);
    r->call.on_done = request_done;                     /* that makes it asynchronous */
    r->call.user    = r;
    if (francis_invoke(francis_host_ctx(host), "device", id, "command", text + rest,
                       strlen(text + rest), &r->call) != FRANCIS_PENDING)
        request_done(&r->call);                         /* refused at once */
}

static void on_signal(int number)
{
    (void)number;
    francis_stop(host);                                 /* allowed in a signal handler */
}

static void watch(int ep, int fd)                       /* /dev/null cannot be: it never answers */
{
    struct epoll_event e = { EPOLLIN, { .fd = fd } };
    (void)epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e);
}

int main(int argc, char **argv)
{
    francis_host_desc  desc  = { .database = argc > 1 ? argv[1] : "gateway.db",
                                 .workers = FRANCIS_NO_WORKERS, .profile = FRANCIS_PROFILE_FLASH };
    francis_actor_desc actor = { .type = "device", .state_size = sizeof(device),
                                 .invoke = command };
    struct sockaddr_in at    = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) },
                                 .sin_port = htons((uint16_t)(argc > 3 ? atoi(argv[3]) : 9000)) };
    struct epoll_event event;
    socklen_t          size  = sizeof at;
    int                n, ep = epoll_create(1);

    net = socket(AF_INET, SOCK_DGRAM, 0);
    serial = open(argc > 2 ? argv[2] : "/dev/ttyS1", O_RDWR | O_NOCTTY | O_NONBLOCK);
    if (serial < 0 || bind(net, (struct sockaddr *)&at, size) != 0 ||
        getsockname(net, (struct sockaddr *)&at, &size) != 0) {
        perror("gateway");
        return 1;
    }
    francis_open(&host, &desc);
    francis_register(host, &actor);
    francis_result r = francis_start(host);
    if (r != FRANCIS_OK)
        fprintf(stderr, "gateway: %s\n", francis_host_error(host));
    else
        printf("port %d\n", ntohs(at.sin_port));
    (void)fflush(stdout);
    (void)signal(SIGTERM, on_signal);
    watch(ep, net);
    watch(ep, serial);
    watch(ep, francis_fd(host));                        /* one descriptor, timers included */
    while (r == FRANCIS_OK) {
        if ((n = epoll_wait(ep, &event, 1, -1)) == 1 && event.data.fd == net)
            net_ready();
        else if (n == 1 && event.data.fd == serial)
            serial_ready();
        r = francis_poll(host, 0);                      /* turns, commits, timers, answers: here */
    }
    francis_close(host);
    return r == FRANCIS_ERR_STOPPED ? 0 : 1;
}
