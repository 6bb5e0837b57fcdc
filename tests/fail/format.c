/* An argument of francis_fail that does not fit its format.
 * cc: -c -Wall -Werror
 * says: -Werror.*-Wformat|-Werror=format */
#include "francis.h"

francis_result refuse(francis_ctx *ctx);

francis_result refuse(francis_ctx *ctx)
{
    return francis_fail(ctx, FRANCIS_ERR_USER, "%s", 3);
}
