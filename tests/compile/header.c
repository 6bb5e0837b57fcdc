/* The declarations alone; C99 to C17, C++11 to C++20. Included twice, as happens. */
#include "francis.h"
#include "francis.h"

#ifdef __cplusplus
#define NOTHING {}
#else
#define NOTHING { 0 }
#endif

/* One macro of each kind, and all descs from nothing, must pass with all warnings on. */
int64_t header_uses(francis_ctx *ctx, francis_bytes bytes);

int64_t header_uses(francis_ctx *ctx, francis_bytes bytes)
{
    static const francis_method methods[] = {
        { "run", NULL, FRANCIS_PEEK, 0 },
        FRANCIS_METHODS_END
    };
    francis_host_desc  host     = NOTHING;
    francis_actor_desc actor    = NOTHING;
    francis_call       call     = NOTHING;
    francis_list       list     = NOTHING;
    francis_platform   platform = NOTHING;
    int64_t            sum      = FRANCIS_SECONDS(1) + FRANCIS_MINUTES(1) + FRANCIS_HOURS(1);

    host.platform = &platform;
    actor.methods = methods;
    if (francis_invoke(ctx, "type", "id", "run", bytes.data, bytes.size, &call) != FRANCIS_OK)
        return francis_fail(ctx, FRANCIS_ERR_USER + 1, "%s", call.error);
    if (francis_list_next(ctx, &list) == FRANCIS_DONE)
        sum += FRANCIS_DAYS(1);
    francis_list_free(&list);
    return sum + host.timeout_ms + (int64_t)actor.state_size;
}
