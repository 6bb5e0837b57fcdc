/* Counters by line. Reads "ID METHOD" from standard input; prints "ID COUNT" or "ID error: ..." for
 * each line, in the order of the input, as soon as it is durable. Many calls are under way at once.
 * Methods: increment, get, reset, fail. Any number may run on one file; a counter lives on one.
 * Usage: quickstart [DATABASE] [--address HOST:PORT] */
#define _POSIX_C_SOURCE 200809L
#define FRANCIS_IMPLEMENTATION
#include "francis.h"
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { WINDOW = 512, INPUT_BYTES = 65536 };

typedef struct { int64_t count; } counter;
typedef struct { francis_call call; const char *problem; char id[FRANCIS_NAME_SIZE]; } entry;

static char     input[INPUT_BYTES + 1];                     /* read, not yet taken: from .. to */
static size_t   input_from, input_to;
static bool     input_ended, input_too_long;
static entry    window[WINDOW];                             /* asked, not printed: tail .. head */
static unsigned head, tail;

static francis_result counter_invoke(francis_ctx *ctx)      /* the actor */
{
    counter *c = (counter *)francis_state(ctx);

    if (c == NULL)
        return FRANCIS_ERR_NOMEM;
    if (strcmp(ctx->method, "increment") == 0)
        c->count++;
    else if (strcmp(ctx->method, "reset") == 0 || strcmp(ctx->method, "fail") == 0)
        c->count = 0;
    else if (strcmp(ctx->method, "get") != 0)
        return francis_fail(ctx, FRANCIS_ERR_UNKNOWN_METHOD, "no method '%s'", ctx->method);
    if (strcmp(ctx->method, "fail") == 0)                   /* a turn that fails leaves no trace */
        return francis_fail(ctx, FRANCIS_ERR_USER, "asked to fail");
    return francis_reply(ctx, &c->count, sizeof c->count);
}

static bool input_line(char **line, size_t *size)           /* false: no whole line is there */
{
    char *from = input + input_from;
    char *end  = (char *)memchr(from, '\n', input_to - input_from);

    if (end == NULL && (!input_ended || input_from == input_to))
        return false;
    if (end == NULL)                                        /* the last line may lack its newline */
        end = input + input_to++;
    *end = '\0';
    *line = from;
    *size = (size_t)(end - from);
    input_from += *size + 1;
    return true;
}

static bool input_read(void)                                /* waits; false: it cannot be read */
{
    memmove(input, input + input_from, input_to - input_from);
    input_to -= input_from;
    input_from = 0;
    if (input_to == INPUT_BYTES) {                          /* drop what came of this line */
        input_too_long = true;
        input_to = 1;
    }
    ssize_t n = read(STDIN_FILENO, input + input_to, INPUT_BYTES - input_to);
    input_ended = n == 0;
    input_to += n > 0 ? (size_t)n : 0;
    return n >= 0 || errno == EINTR;
}

/* Returns NULL, or what is wrong with the line. */
static const char *split(const char *line, size_t size, char *id, char *method)
{
    static const char blank[] = " \t\r\v\f";
    const char *a = line + strspn(line, blank), *a_end = a + strcspn(a, blank);
    const char *b = a_end + strspn(a_end, blank), *b_end = b + strcspn(b, blank);

    if (input_too_long)
        return "the line is too long";
    if (strlen(line) != size)
        return "the line has a NUL byte";
    if (b == b_end || b_end[strspn(b_end, blank)] != '\0')
        return "expected two words: ID METHOD";
    if (a_end - a >= FRANCIS_NAME_SIZE || b_end - b >= FRANCIS_NAME_SIZE)
        return "the id or the method is longer than 255 bytes";
    (void)snprintf(id, FRANCIS_NAME_SIZE, "%.*s", (int)(a_end - a), a);
    (void)snprintf(method, FRANCIS_NAME_SIZE, "%.*s", (int)(b_end - b), b);
    return NULL;
}

static void ask(francis_ctx *ctx, const char *line, size_t size)
{
    entry *e = &window[head++ % WINDOW];
    char   method[FRANCIS_NAME_SIZE];

    e->problem = split(line, size, e->id, method);
    e->call.async = true;
    input_too_long = false;
    if (e->problem == NULL)
        (void)francis_invoke(ctx, "counter", e->id, method, NULL, 0, &e->call);
}

static bool print_oldest(francis_ctx *ctx)                  /* false: nobody can read it */
{
    entry *e = &window[tail++ % WINDOW];

    if (e->problem != NULL)
        (void)printf("error: %s\n", e->problem);
    else if (francis_wait(ctx, &e->call) == FRANCIS_OK)     /* a refusal at once, too */
        (void)printf("%s %lld\n", e->id, (long long)*(const int64_t *)e->call.data);
    else
        (void)printf("%s error: %s\n", e->id, e->call.error);
    francis_call_free(&e->call);
    return fflush(stdout) == 0;
}

static bool options(int argc, char **argv, francis_host_desc *desc)
{
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], "--address") == 0 && i + 1 < argc)
            desc->address = argv[++i];
        else if (argv[i][0] != '-' && desc->database == NULL)
            desc->database = argv[i];
        else
            return false;
    desc->database = desc->database != NULL ? desc->database : "quickstart.db";
    return true;
}

int main(int argc, char **argv)
{
    francis_host      *host  = NULL;
    francis_host_desc  desc  = { 0 };
    francis_actor_desc actor = { .type = "counter", .state_size = sizeof(counter),
                                 .invoke = counter_invoke };
    struct pollfd      std[] = { { STDIN_FILENO, POLLIN, 0 }, { STDOUT_FILENO, 0, 0 } };
    char              *line;
    size_t             size;

    (void)poll(std, 2, 0);
    if (((std[0].revents | std[1].revents) & POLLNVAL) != 0)
        return 1;                                           /* else a file of ours would be them */
    if (!options(argc, argv, &desc)) {
        fprintf(stderr, "usage: quickstart [DATABASE] [--address HOST:PORT]\n");
        return 2;
    }
    (void)signal(SIGPIPE, SIG_IGN);
    francis_open(&host, &desc);
    francis_register(host, &actor);
    bool fine = francis_start(host) == FRANCIS_OK;
    if (!fine)
        fprintf(stderr, "quickstart: %s\n", francis_host_error(host));
    francis_ctx *ctx = francis_host_ctx(host);
    while (fine && (head != tail || !input_ended || input_from != input_to)) {
        if (head - tail < WINDOW && input_line(&line, &size))
            ask(ctx, line, size);
        else if (head - tail == WINDOW || (head != tail && (input_ended || poll(std, 1, 0) == 0)))
            fine = print_oldest(ctx);                       /* nothing to read now: answers first */
        else
            fine = input_read();
    }
    francis_close(host);
    return fine ? 0 : 1;
}
