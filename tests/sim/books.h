/* Books: lists of numbers that only grow, so that their history is easy to judge: each entry has a
 * place of its own. They are written by calls and streams, looked at by calls and peeks, poured out
 * by streams, and followed: a kept stream has each entry once it is written. */
#ifndef BOOKS_H
#define BOOKS_H

#include "agents.h"

enum { ERRAND_APPEND = 20, ERRAND_LOOK, ERRAND_POUR, ERRAND_FILL, ERRAND_FOLLOW };
enum { FOLLOWERS = 3, PIECE = 700 };

typedef struct {
    stamp    stamp;
    int64_t  count;
    uint64_t hash;
    int64_t  entry[PAGES_MAX];      /* count of them are stored */
} book_state;

typedef struct {
    francis_stream *kept[FOLLOWERS];
} book_instance;

typedef struct {
    int64_t value, fails, size;
} book_input;

typedef struct {                    /* answers, and what followers get */
    int64_t  count;
    uint64_t value;                 /* hash, or entry */
} book_answer;

typedef struct {                    /* of a turn with a stream */
    book_input    in;
    size_t        at;
    unsigned char part[PIECE];
} book_local;

static uint64_t book_hash(uint64_t hash, int64_t value)
{
    hash = (hash ^ (uint64_t)value) * UINT64_C(0x9E3779B97F4A7C15);
    return hash ^ hash >> 31;
}

static unsigned char book_pattern(int64_t seed, size_t i)
{
    return (unsigned char)((uint64_t)seed * 31 + i * 7 + i / 251);
}

/* ---- the book ---- */

static size_t book_size(const book_state *s)
{
    return offsetof(book_state, entry) + (size_t)s->count * sizeof s->entry[0];
}

/* A copy of what is stored. NULL: no memory, or not a book. */
static book_state *book_get(francis_ctx *ctx)
{
    book_state   *s = (book_state *)francis_alloc(ctx, sizeof *s);
    francis_bytes b = francis_state_get(ctx);
    if (s != NULL && b.data != NULL)
        (void)memcpy(s, b.data, b.size < sizeof *s ? b.size : sizeof *s);
    return s == NULL || (b.data != NULL && b.size != book_size(s)) ? NULL : s;
}

/* What is streamed waits for the commit once the turn has written its state, and not before. */
static void book_tell(francis_ctx *ctx, const book_state *s)
{
    book_instance *b = (book_instance *)ctx->instance;
    book_answer    news = { s->count, (uint64_t)s->entry[s->count - 1] };
    for (int i = 0; i < FOLLOWERS; i++)
        if (b->kept[i] != NULL
            && francis_stream_write(ctx, b->kept[i], &news, sizeof news) != FRANCIS_OK) {
            francis_stream_close(b->kept[i]);
            b->kept[i] = NULL;
        }
}

static francis_result book_append(francis_ctx *ctx, int64_t value, book_answer *out)
{
    book_state    *s = book_get(ctx);
    francis_result r;
    if (s == NULL)
        return FRANCIS_ERR_NOMEM;
    if (s->count == PAGES_MAX)
        return francis_fail(ctx, FRANCIS_ERR_USER, "the book is full");
    s->entry[s->count++] = value;
    s->hash = book_hash(s->hash, value);
    stamp_put(ctx, &s->stamp);
    r = francis_state_set(ctx, s, book_size(s));
    if (r == FRANCIS_OK)
        book_tell(ctx, s);
    out->count = s->count;
    out->value = s->hash;
    return r;
}

static francis_result on_append(francis_ctx *ctx)
{
    book_input     in;
    book_answer    answer = { 0, 0 };
    francis_result r;
    (void)memcpy(&in, ctx->input.data, sizeof in);
    r = book_append(ctx, in.value, &answer);
    if (r == FRANCIS_OK && in.fails)
        r = francis_fail(ctx, FRANCIS_ERR_USER, "refused after it has written");
    return r != FRANCIS_OK ? r : francis_reply(ctx, &answer, sizeof answer);
}

static francis_result on_look(francis_ctx *ctx)
{
    const book_state *s = book_get(ctx);
    book_answer       answer;
    if (s == NULL)
        return FRANCIS_ERR_NOMEM;
    answer.count = s->count;
    answer.value = s->hash;
    return francis_reply(ctx, &answer, sizeof answer);
}

static francis_result on_book_read(francis_ctx *ctx)
{
    const book_state *s = book_get(ctx);
    return s == NULL ? FRANCIS_ERR_NOMEM : francis_reply(ctx, s, sizeof *s);
}

/* Of this turn, also when it goes on. NULL: no memory. */
static book_local *book_local_of(francis_ctx *ctx)
{
    book_local *l = (book_local *)ctx->local;
    if (l == NULL) {
        l = (book_local *)francis_alloc(ctx, sizeof *l);
        if (l != NULL)
            (void)memcpy(&l->in, ctx->input.data, sizeof l->in);
    }
    return l;
}

static francis_result book_again(francis_ctx *ctx, francis_result r, francis_handler handler,
                                 book_local *l)
{
    return r == FRANCIS_PENDING ? francis_await(ctx, handler, l) : r;
}

/* Pours out so many bytes. */
static francis_result on_pour(francis_ctx *ctx)
{
    book_local    *l = book_local_of(ctx);
    francis_result r = l != NULL ? FRANCIS_OK : FRANCIS_ERR_NOMEM;
    while (r == FRANCIS_OK && l->at < (size_t)l->in.size) {
        size_t n = (size_t)l->in.size - l->at;
        n = n < sizeof l->part ? n : sizeof l->part;
        for (size_t i = 0; i < n; i++)
            l->part[i] = book_pattern(l->in.value, l->at + i);
        r = francis_stream_write(ctx, ctx->stream, l->part, n);
        l->at += r == FRANCIS_OK ? n : 0;
    }
    return book_again(ctx, r, on_pour, l);
}

/* Reads to the end, and appends one entry for all of it. */
static francis_result on_fill(francis_ctx *ctx)
{
    book_local    *l = book_local_of(ctx);
    book_answer    answer = { 0, 0 };
    size_t         n;
    francis_result r;
    if (l == NULL)
        return FRANCIS_ERR_NOMEM;
    while ((r = francis_stream_read(ctx, ctx->stream, l->part, sizeof l->part, &n)) == FRANCIS_OK)
        for (size_t i = 0; i < n; i++, l->at++)
            if (l->part[i] != book_pattern(l->in.value, l->at))
                return francis_fail(ctx, FRANCIS_ERR_USER + 9, "byte %zu is wrong", l->at);
    if (r != FRANCIS_DONE)
        return book_again(ctx, r, on_fill, l);
    if (l->at != (size_t)l->in.size)
        return francis_fail(ctx, FRANCIS_ERR_USER + 9, "%zu bytes of %lld", l->at,
                            (long long)l->in.size);
    r = book_append(ctx, l->in.value, &answer);
    return r != FRANCIS_OK ? r : francis_stream_write(ctx, ctx->stream, &answer, sizeof answer);
}

static francis_result on_follow(francis_ctx *ctx)
{
    book_instance *b = (book_instance *)ctx->instance;
    for (int i = 0; i < FOLLOWERS; i++)
        if (b->kept[i] == NULL) {
            b->kept[i] = ctx->stream;
            francis_stream_keep(ctx->stream);
            return FRANCIS_OK;
        }
    return francis_fail(ctx, FRANCIS_ERR_USER, "it has followers enough");
}

static const francis_method book_methods[] = {
    { "append", on_append, FRANCIS_INVOKE, sizeof(book_input) },
    { "look", on_look, FRANCIS_INVOKE, sizeof(book_input) },
    { "look", on_look, FRANCIS_PEEK, sizeof(book_input) },
    { "read", on_book_read, FRANCIS_INVOKE, 0 },
    { "pour", on_pour, FRANCIS_STREAM, sizeof(book_input) },
    { "pour", on_pour, FRANCIS_PEEK_STREAM, sizeof(book_input) },
    { "fill", on_fill, FRANCIS_STREAM, sizeof(book_input) },
    { "follow", on_follow, FRANCIS_STREAM, sizeof(book_input) },
    FRANCIS_METHODS_END
};

/* ---- calls ---- */

static void note_over(agent *a, francis_result r)
{
    campaign   *c = a->world;
    book_note  *n = &c->notes[a->subject];
    book_answer answer;
    n->outcome = was_of(r);
    n->end = ++c->moment;
    if (r != FRANCIS_OK)
        return;
    if (a->call.size != sizeof answer) {
        francis_sim_fail(c->sim, "a book answers with %zu bytes", a->call.size);
        return;
    }
    (void)memcpy(&answer, a->call.data, sizeof answer);
    n->count = answer.count;
    n->hash = answer.value;
}

static book_note *note_new(agent *a, bool appends)
{
    campaign  *c = a->world;
    book_note *n = &c->notes[c->notes_count];
    if (c->notes_count >= NOTES_MAX)
        return NULL;
    (void)memset(n, 0, sizeof *n);
    n->book = pick(c, c->books);
    n->appends = appends;
    n->outcome = WAS_MAYBE;
    n->begin = ++c->moment;
    a->subject = c->notes_count++;
    n->value = (int64_t)c->notes_count;     /* nobody else writes this */
    return n;
}

static bool book_call(agent *a, bool appends)
{
    campaign    *c = a->world;
    book_note   *n = note_new(a, appends);
    francis_ctx *ctx = francis_sim_ctx(c->sim, a->host);
    bool         peek = pick(c, 2) == 0;
    book_input   in = { 0, 0, 0 };
    char         id[16];
    if (n == NULL)
        return false;
    in.value = n->value;
    in.fails = appends && pick(c, 12) == 0;
    id_of(n->book, id);
    agent_begin(a, note_over);
    if (!appends && peek)
        (void)francis_peek(ctx, "book", id, "look", &in, sizeof in, &a->call);
    else
        (void)francis_invoke(ctx, "book", id, appends ? "append" : "look", &in, sizeof in,
                             &a->call);
    return true;
}

/* ---- streams ---- */

/* An entry that came to a follower. It has been committed, then. */
static void book_news(agent *a)
{
    campaign   *c = a->world;
    book_answer news;
    int64_t    *seen;
    (void)memcpy(&news, a->answer, sizeof news);
    if (news.count < 1 || news.count > PAGES_MAX || (a->last != 0 && news.count != a->last + 1)) {
        francis_sim_fail(c->sim, "a follower hears of entry %lld after %lld",
                         (long long)news.count, (long long)a->last);
        return;
    }
    a->last = news.count;
    seen = &c->seen[a->subject][news.count];
    if (*seen != 0 && *seen != (int64_t)news.value)
        francis_sim_fail(c->sim, "followers of book %u hear of two entries %lld", a->subject,
                         (long long)news.count);
    *seen = (int64_t)news.value;
}

static void stream_take(agent *a, const unsigned char *data, size_t n)
{
    campaign *c = a->world;
    for (size_t i = 0; i < n; i++, a->got++) {
        if (a->errand == ERRAND_POUR) {
            if (data[i] != book_pattern(a->last, a->got))
                francis_sim_fail(c->sim, "byte %zu of a stream is wrong", a->got);
            continue;
        }
        a->answer[a->got % sizeof a->answer] = data[i];
        if (a->errand == ERRAND_FOLLOW && a->got % sizeof a->answer == sizeof a->answer - 1)
            book_news(a);
    }
}

static void stream_over(agent *a, francis_result r)
{
    campaign   *c = a->world;
    const char *error = francis_stream_error(a->stream);
    result_count(c, r, "stream", error);
    francis_sim_note(c->sim, "agent %d: stream %d, %u: %zu sent, %zu got: %s %.90s", a->number,
                     a->errand, a->subject, a->sent, a->got, francis_result_name(r), error);
    if (r == FRANCIS_DONE && a->got != a->expected)
        francis_sim_fail(c->sim, "a stream ends after %zu bytes of %zu", a->got, a->expected);
    c->streams += r == FRANCIS_DONE;
    francis_stream_close(a->stream);
    agent_end(a, r);
}

static void fill_over(agent *a, francis_result r)
{
    book_note  *n = &a->world->notes[a->subject];
    book_answer answer;
    n->outcome = r == FRANCIS_DONE ? WAS_DONE : was_of(r);
    if (r == FRANCIS_ERR_NOMEM)     /* it could not be read, whatever it says */
        n->outcome = WAS_MAYBE;
    n->end = ++a->world->moment;
    (void)memcpy(&answer, a->answer, sizeof answer);
    n->count = answer.count;
    n->hash = answer.value;
}

/* Writes and reads as far as that goes. */
static void stream_step(agent *a)
{
    francis_ctx   *ctx = francis_sim_ctx(a->world->sim, a->host);
    book_note     *n = &a->world->notes[a->subject];
    unsigned char  piece[PIECE];
    size_t         size;
    francis_result r = FRANCIS_OK, wrote;
    if (ctx == NULL)
        return;                     /* it has died in the midst of that */
    while (r == FRANCIS_OK && a->sent < a->to_send) {
        size = a->to_send - a->sent < sizeof piece ? a->to_send - a->sent : sizeof piece;
        for (size_t i = 0; i < size; i++)
            piece[i] = book_pattern(n->value, a->sent + i);
        r = francis_stream_write(ctx, a->stream, piece, size);
        a->sent += r == FRANCIS_OK ? size : 0;
    }
    if (r == FRANCIS_OK && !a->ended) {
        a->ended = true;
        (void)francis_stream_end(ctx, a->stream);
    }
    wrote = r;
    while ((r = francis_stream_read(ctx, a->stream, piece, sizeof piece, &size)) == FRANCIS_OK)
        stream_take(a, piece, size);
    if (francis_sim_running(a->world->sim, a->host) == NULL)
        return;
    if (r == FRANCIS_PENDING && wrote != FRANCIS_OK && wrote != FRANCIS_PENDING)
        r = FRANCIS_ERR_CANCELLED;  /* it cannot be written: it is broken off */
    if (r != FRANCIS_PENDING)
        stream_over(a, r);
}

static void on_ready(francis_stream *stream, void *user)
{
    agent *a = (agent *)user;
    if (a->busy && a->stream == stream)
        stream_step(a);
}

static void stream_open(agent *a, const char *method, unsigned book, const book_input *in)
{
    campaign           *c = a->world;
    char                id[16];
    francis_stream_desc d = { .type = "book", .id = id, .method = method, .data = in,
                              .size = sizeof *in, .on_ready = on_ready, .user = a };
    francis_result      r;
    d.peek = a->errand == ERRAND_POUR && pick(c, 2) == 0;
    d.timeout_ms = pick(c, 6) == 0 ? 20 + (int64_t)pick(c, 300) : 5000;
    id_of(book, id);
    a->sent = a->got = 0;
    a->ended = false;
    r = francis_stream_open(francis_sim_ctx(c->sim, a->host), &d, &a->stream);
    if (a->stream == NULL)
        agent_end(a, r);
    else if (r != FRANCIS_OK)
        stream_over(a, r);
    else
        stream_step(a);
}

static int64_t stream_size(campaign *c)
{
    unsigned size = pick(c, 4) == 0 ? 300000 : 9000;
    return (int64_t)pick(c, size);
}

static void pour_over(agent *a, francis_result r)
{
    if (a->world->settling && r == FRANCIS_DONE)
        a->world->calm_left--;
}

static bool book_pour(agent *a)
{
    campaign  *c = a->world;
    book_input in = { 0, 0, 0 };
    in.value = a->last = (int64_t)pick(c, 1000);
    in.size = c->settling ? 900000 : stream_size(c);
    a->to_send = 0;
    a->expected = (size_t)in.size;
    a->subject = 0;
    agent_begin(a, pour_over);
    stream_open(a, "pour", pick(c, c->books), &in);
    return true;
}

static bool book_fill(agent *a)
{
    campaign  *c = a->world;
    book_note *n = note_new(a, true);
    book_input in = { 0, 0, 0 };
    if (n == NULL)
        return false;
    in.value = n->value;
    in.size = stream_size(c);
    a->to_send = (size_t)in.size;
    a->expected = sizeof a->answer;
    agent_begin(a, fill_over);
    stream_open(a, "fill", n->book, &in);
    return true;
}

static void follow_end(void *user)
{
    agent *a = (agent *)user;
    if (!a->busy || a->stream == NULL || a->errand != ERRAND_FOLLOW ||
        francis_sim_running(a->world->sim, a->host) == NULL)
        return;
    francis_stream_close(a->stream);
    agent_end(a, FRANCIS_ERR_CANCELLED);
}

static bool book_follow(agent *a)
{
    campaign  *c = a->world;
    book_input in = { 0, 0, 0 };
    unsigned   book = pick(c, c->books), ms = 100 + pick(c, 8000);
    a->to_send = 0;
    a->expected = (size_t)-1;       /* it never ends by itself */
    a->last = 0;
    a->subject = book;
    agent_begin(a, NULL);
    stream_open(a, "follow", book, &in);
    if (a->busy && francis_sim_at(c->sim, a->host, (int64_t)ms, follow_end, a) != FRANCIS_OK)
        francis_sim_fail(c->sim, "no memory");
    return true;
}

/* ---- what has become of it ---- */

static void book_wrong(campaign *c, const book_note *n, const char *what)
{
    francis_sim_fail(c->sim, "book %u, %s %lld, count %lld: %s", n->book,
                     n->appends ? "entry" : "look", (long long)n->value, (long long)n->count, what);
}

static void book_judge_note(campaign *c, const book_note *n, const book_state *s,
                            const uint64_t *hash, unsigned places)
{
    if (n->appends && places > 1)
        book_wrong(c, n, "it is there more than once");
    else if (n->appends && n->outcome == WAS_NOT && places > 0)
        book_wrong(c, n, "it was refused, and is there");
    if (n->outcome != WAS_DONE || (!n->appends && n->count == 0))
        return;
    if (n->count < 0 || n->count > s->count || hash[n->count] != n->hash)
        book_wrong(c, n, "what was answered is not what the book has");
    else if (n->appends && s->entry[n->count - 1] != n->value)
        book_wrong(c, n, "its place has another entry");
}

/* Whoever begins after another one has ended sees what that one saw. */
static void book_judge_order(campaign *c, unsigned book)
{
    for (unsigned i = 0; i < c->notes_count; i++)
        for (unsigned k = 0; k < c->notes_count; k++) {
            const book_note *a = &c->notes[i], *b = &c->notes[k];
            if (a->book == book && b->book == book && a->outcome == WAS_DONE
                && b->outcome == WAS_DONE && a->end < b->begin
                && (b->appends ? b->count <= a->count : b->count < a->count))
                book_wrong(c, b, "it does not see what was there before");
        }
}

static void book_judge(campaign *c, unsigned book, const book_state *s)
{
    uint64_t hash[PAGES_MAX + 1] = { 0 };
    for (int64_t i = 0; i < s->count; i++) {
        hash[i + 1] = book_hash(hash[i], s->entry[i]);
        if (s->entry[i] < 1 || s->entry[i] > (int64_t)c->notes_count
            || c->notes[s->entry[i] - 1].book != book)
            francis_sim_fail(c->sim, "book %u has an entry that nobody has written", book);
    }
    for (unsigned i = 0; i < c->notes_count; i++) {
        unsigned places = 0;
        for (int64_t k = 0; k < s->count; k++)
            places += s->entry[k] == c->notes[i].value;
        if (c->notes[i].book == book)
            book_judge_note(c, &c->notes[i], s, hash, places);
    }
    for (int64_t i = 1; i <= PAGES_MAX; i++)
        if (c->seen[book][i] != 0 && (i > s->count || s->entry[i - 1] != c->seen[book][i]))
            francis_sim_fail(c->sim, "a follower of book %u has heard of entry %lld, which is not"
                                     " there", book, (long long)i);
    book_judge_order(c, book);
}

#endif
