/* Streams. The members of a room get what is said in it as soon as that is stored; the history of
 * the room is streamed out; what comes on standard input is streamed in, however long it is.
 * No thread is created. With workers the handlers would be the same, and wait where they await.
 * Usage: feed [DATABASE] < FILE */
#define FRANCIS_IMPLEMENTATION
#include "francis.h"
#include <stdio.h>
#include <string.h>

enum { MEMBERS = 8 };

typedef struct { francis_stream *member[MEMBERS]; } room;   /* its state is the history, as text */
typedef struct { uint64_t size, sum; } blob;                /* as the command sum has it */
typedef struct { francis_stream *stream; char text[1000]; size_t size; francis_result r; } listener;

static francis_ctx *outside;

static francis_result join(francis_ctx *ctx)
{
    room *r = (room *)ctx->instance;
    for (int i = 0; i < MEMBERS; i++)
        if (r->member[i] == NULL) {
            r->member[i] = ctx->stream;
            francis_stream_keep(ctx->stream);               /* it outlives this turn */
            return FRANCIS_OK;
        }
    return francis_fail(ctx, FRANCIS_ERR_BUSY, "room '%s' is full", ctx->id);
}

static francis_result say(francis_ctx *ctx)
{
    room         *r = (room *)ctx->instance;
    francis_bytes old = francis_state_get(ctx);
    size_t        size = ctx->input.size + 1;
    char         *all = (char *)francis_alloc(ctx, old.size + size);

    if (all == NULL)
        return FRANCIS_ERR_NOMEM;
    if (old.size > 0)
        memcpy(all, old.data, old.size);
    (void)snprintf(all + old.size, size, "%s", (const char *)ctx->input.data);
    all[old.size + size - 1] = '\n';
    (void)francis_state_set(ctx, all, old.size + size);
    for (int i = 0; i < MEMBERS; i++)                       /* leaves with the commit, or never */
        if (r->member[i] != NULL
            && francis_stream_write(ctx, r->member[i], all + old.size, size) != FRANCIS_OK) {
            francis_stream_close(r->member[i]);             /* he is gone, or BUSY: too slow */
            r->member[i] = NULL;
        }
    return FRANCIS_OK;
}

static francis_result history(francis_ctx *ctx)             /* shared: nobody waits for it */
{
    francis_bytes all = francis_state_get(ctx);
    return francis_stream_write(ctx, ctx->stream, all.data, all.size);  /* OK: this is the end */
}

static francis_result put(francis_ctx *ctx)
{
    blob          *b = (blob *)ctx->local;                  /* NULL when the turn begins */
    unsigned char  part[4096];
    size_t         n;
    francis_result r;

    if (b == NULL && (b = (blob *)francis_alloc(ctx, sizeof *b)) == NULL)
        return FRANCIS_ERR_NOMEM;
    while ((r = francis_stream_read(ctx, ctx->stream, part, sizeof part, &n)) == FRANCIS_OK)
        for (size_t i = 0; i < n; i++, b->size++)
            b->sum = (b->sum / 2 + (b->sum & 1) * 32768 + part[i]) & 65535;
    if (r == FRANCIS_PENDING)
        return francis_await(ctx, put, b);                  /* goes on here when there is more */
    if (r != FRANCIS_DONE)
        return r;                                           /* a cut, no end: nothing is stored */
    if (francis_state(ctx) == NULL)
        return FRANCIS_ERR_NOMEM;
    memcpy(francis_state(ctx), b, sizeof *b);
    n = (size_t)snprintf((char *)part, sizeof part, "%llu %llu\n", (unsigned long long)b->sum,
                         (unsigned long long)b->size);
    return francis_stream_write(ctx, ctx->stream, part, n); /* leaves when it is stored */
}

static const francis_method room_methods[] = {
    { "join",    join,    FRANCIS_STREAM,      0 },
    { "say",     say,     FRANCIS_INVOKE,      0 },
    { "history", history, FRANCIS_PEEK_STREAM, 0 },
    FRANCIS_METHODS_END
};
static const francis_method blob_methods[] = {
    { "put", put, FRANCIS_STREAM, 0 },
    FRANCIS_METHODS_END
};

static void hear(francis_stream *s, void *user)             /* runs inside francis_poll */
{
    listener *l = (listener *)user;
    size_t    n;
    while ((l->r = francis_stream_read(outside, s, l->text + l->size,
                                       sizeof l->text - 1 - l->size, &n)) == FRANCIS_OK)
        l->size += n;                                       /* PENDING: it will be called again */
}

static francis_result report(francis_result r, const char *text)
{
    if (r != FRANCIS_OK)
        fprintf(stderr, "feed: %s\n", text[0] != '\0' ? text : francis_strerror(r));
    return r;
}

static francis_result tell(const char *line)
{
    francis_call   call = { 0 };
    francis_result r = francis_invoke(outside, "room", "lobby", "say", line, strlen(line), &call);
    (void)report(r, call.error != NULL ? call.error : "");
    francis_call_free(&call);
    return r;
}

static francis_result chat(francis_host *host)
{
    static listener     l;
    francis_stream_desc d = { .type = "room", .id = "lobby", .method = "join", .on_ready = hear,
                              .user = &l };
    francis_result      r = francis_stream_open(outside, &d, &l.stream);

    if (report(r, francis_stream_error(l.stream)) == FRANCIS_OK) {
        hear(l.stream, &l);                                 /* asks to be told */
        r = tell("ann: is anybody here?");
        r = r == FRANCIS_OK ? tell("bob: I am") : r;
        while (r == FRANCIS_OK && l.r == FRANCIS_PENDING && strstr(l.text, "I am") == NULL)
            r = francis_poll(host, FRANCIS_FOREVER);
        if (r == FRANCIS_OK && l.r != FRANCIS_PENDING)
            r = report(l.r, francis_stream_error(l.stream));
        printf("heard\n%s", l.text);
    }
    francis_stream_close(l.stream);                         /* the next "say" finds out */
    return r;
}

static francis_result print_all(francis_stream *s)
{
    char           part[512];
    size_t         n;
    francis_result r;
    while ((r = francis_stream_read(outside, s, part, sizeof part, &n)) == FRANCIS_OK)
        (void)fwrite(part, 1, n, stdout);
    r = report(r == FRANCIS_DONE ? (francis_result)FRANCIS_OK : r, francis_stream_error(s));
    francis_stream_close(s);
    return r;
}

/* However fast the input comes: when stream_buffer_bytes are under way a write waits. */
static francis_result upload(void)
{
    francis_stream_desc d = { .type = "blob", .id = "input", .method = "put",
                              .bytes_max = UINT64_MAX };
    francis_stream     *s;
    char                part[8192];
    size_t              n;
    francis_result      r = francis_stream_open(outside, &d, &s);

    while (r == FRANCIS_OK && (n = fread(part, 1, sizeof part, stdin)) > 0)
        r = francis_stream_write(outside, s, part, n);
    if (ferror(stdin)) {
        francis_stream_close(s);                            /* without an end: nothing is stored */
        return report(FRANCIS_ERR_USER, "the input cannot be read");
    }
    if (r == FRANCIS_OK)
        (void)francis_stream_end(outside, s);
    return print_all(s);                                    /* tells what has failed, too */
}

int main(int argc, char **argv)
{
    francis_host       *host  = NULL;
    francis_host_desc   desc  = { .database = argc > 1 ? argv[1] : "feed.db",
                                  .workers = FRANCIS_NO_WORKERS };
    francis_actor_desc  rooms = { .type = "room", .methods = room_methods,
                                  .instance_size = sizeof(room) };
    francis_actor_desc  blobs = { .type = "blob", .methods = blob_methods,
                                  .state_size = sizeof(blob) };
    francis_stream_desc past  = { .type = "room", .id = "lobby", .method = "history",
                                  .peek = true };
    francis_stream     *s;
    francis_result      r;

    francis_open(&host, &desc);
    francis_register(host, &rooms);
    francis_register(host, &blobs);
    outside = francis_host_ctx(host);
    if ((r = report(francis_start(host), francis_host_error(host))) == FRANCIS_OK)
        r = chat(host);
    if (r == FRANCIS_OK) {
        printf("history\n");
        (void)francis_stream_open(outside, &past, &s);      /* print_all tells what has failed */
        r = print_all(s);
    }
    if (r == FRANCIS_OK)
        r = upload();
    francis_close(host);
    return r == FRANCIS_OK ? 0 : 1;
}
