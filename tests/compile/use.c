/* A user who sees the declarations only; C99 and C++11. Each argument is a word that the build info
 * must have: a switch that does not apply is worse than none. Ends with 0 if all is well. */
#include "francis.h"

#include <stdio.h>
#include <string.h>

typedef struct { int64_t count; } counter;

static francis_result increment(francis_ctx *ctx)
{
    counter *c = (counter *)francis_state(ctx);
    if (c == NULL)
        return FRANCIS_ERR_NOMEM;
    c->count++;
    return francis_reply(ctx, &c->count, sizeof c->count);
}

static const francis_method methods[] = {
    { "increment", increment, FRANCIS_INVOKE, 0 },
    FRANCIS_METHODS_END
};

static int refuse(const char *what, const char *detail)
{
    (void)fprintf(stderr, "%s: %s\n", what, detail);
    return 1;
}

int main(int argc, char **argv)
{
    static francis_host_desc  desc;
    static francis_actor_desc actor;
    static francis_call       call;
    francis_host             *host  = NULL;
    francis_ctx              *ctx;
    int64_t                   count = 0;
    int                       i;

    if (francis_version_number() != FRANCIS_VERSION_NUMBER)
        return refuse("version", "not that of the header");
    for (i = 1; i < argc; i++)
        if (strstr(francis_build_info(), argv[i]) == NULL)
            return refuse(argv[i], francis_build_info());

    desc.database    = ":memory:";
    desc.workers     = FRANCIS_NO_WORKERS;
    actor.type       = "counter";
    actor.methods    = methods;
    actor.state_size = sizeof(counter);
    (void)francis_open(&host, &desc);
    (void)francis_register(host, &actor);
    if (francis_start(host) != FRANCIS_OK)
        return refuse("start", francis_host_error(host));
    ctx = francis_host_ctx(host);
    for (i = 0; i < 3; i++) {
        if (francis_invoke(ctx, "counter", "a", "increment", NULL, 0, &call) != FRANCIS_OK)
            return refuse("invoke", call.error);
        if (call.size != sizeof count)
            return refuse("invoke", "a reply of another size");
        memcpy(&count, call.data, sizeof count);
    }
    francis_call_free(&call);
    francis_close(host);
    return count == 3 ? 0 : refuse("count", "not 3");
}
