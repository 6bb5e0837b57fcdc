/* Which functions of the public API a test has called while something could fail.
 *
 *     #include "francis.h"
 *     #include "support/fault_api.h"       before all that calls it
 *     ...
 *     fault_api.armed = true;              from now on calls are noted
 *     assert_null(fault_api_missing());    the first that was never called, or NULL
 *
 * Lint compares the list with the functions that francis.h declares. */
#ifndef FAULT_API_H
#define FAULT_API_H

#include "francis.h"

#include <stdatomic.h>

#define FAULT_API(X) \
    X(alarm_delete) X(alarm_set) X(alloc) X(answer) X(await) X(build_info) X(ca_pem) \
    X(call_free) X(close) X(defer) X(desc_get) X(expect) X(fail) X(fail_text) X(fd) X(flush) \
    X(halt) X(halt_all) X(health_get) X(host_ctx) X(host_error) X(interrupted) X(invoke) \
    X(job_cancel) X(job_dispatch) X(job_retry) X(list_free) X(list_next) X(now) X(open) \
    X(outcome) X(peek) X(poll) X(pollfds) X(purge) X(random) X(register) X(reply) X(replyf) \
    X(result_name) X(retryable) X(run) X(send) X(start) X(state) X(state_delete) X(state_expire) \
    X(state_get) X(state_read) X(state_set) X(state_write) X(stats_get) X(stop) X(stream_close) \
    X(stream_end) X(stream_error) X(stream_keep) X(stream_open) X(stream_read) \
    X(stream_set_type) X(stream_type) X(stream_write) X(strerror) X(timeout) X(version_number) \
    X(wait)

enum {
#define FAULT_X(name) FAULT_API_##name,
    FAULT_API(FAULT_X)
#undef FAULT_X
    FAULT_API_COUNT
};

static const char *const fault_api_names[] = {
#define FAULT_X(name) "francis_" #name,
    FAULT_API(FAULT_X)
#undef FAULT_X
};

static struct {
    atomic_bool armed;
    atomic_bool called[FAULT_API_COUNT];
} fault_api;

static void fault_api_note(int function)
{
    if (atomic_load(&fault_api.armed))
        atomic_store(&fault_api.called[function], true);
}

static const char *fault_api_missing(void)
{
    for (int i = 0; i < FAULT_API_COUNT; i++)
        if (!atomic_load(&fault_api.called[i]))
            return fault_api_names[i];
    return NULL;
}

static void fault_api_begin(void)
{
    for (int i = 0; i < FAULT_API_COUNT; i++)
        atomic_store(&fault_api.called[i], false);
}

#define FAULT_API_NOTED(name, call) (fault_api_note(FAULT_API_##name), call)

#define francis_alarm_delete(...) FAULT_API_NOTED(alarm_delete, francis_alarm_delete(__VA_ARGS__))
#define francis_alarm_set(...) FAULT_API_NOTED(alarm_set, francis_alarm_set(__VA_ARGS__))
#define francis_alloc(...) FAULT_API_NOTED(alloc, francis_alloc(__VA_ARGS__))
#define francis_answer(...) FAULT_API_NOTED(answer, francis_answer(__VA_ARGS__))
#define francis_await(...) FAULT_API_NOTED(await, francis_await(__VA_ARGS__))
#define francis_build_info(...) FAULT_API_NOTED(build_info, francis_build_info(__VA_ARGS__))
#define francis_ca_pem(...) FAULT_API_NOTED(ca_pem, francis_ca_pem(__VA_ARGS__))
#define francis_call_free(...) FAULT_API_NOTED(call_free, francis_call_free(__VA_ARGS__))
#define francis_close(...) FAULT_API_NOTED(close, francis_close(__VA_ARGS__))
#define francis_defer(...) FAULT_API_NOTED(defer, francis_defer(__VA_ARGS__))
#define francis_desc_get(...) FAULT_API_NOTED(desc_get, francis_desc_get(__VA_ARGS__))
#define francis_expect(...) FAULT_API_NOTED(expect, francis_expect(__VA_ARGS__))
#define francis_fail(...) FAULT_API_NOTED(fail, francis_fail(__VA_ARGS__))
#define francis_fail_text(...) FAULT_API_NOTED(fail_text, francis_fail_text(__VA_ARGS__))
#define francis_fd(...) FAULT_API_NOTED(fd, francis_fd(__VA_ARGS__))
#define francis_flush(...) FAULT_API_NOTED(flush, francis_flush(__VA_ARGS__))
#define francis_halt(...) FAULT_API_NOTED(halt, francis_halt(__VA_ARGS__))
#define francis_halt_all(...) FAULT_API_NOTED(halt_all, francis_halt_all(__VA_ARGS__))
#define francis_health_get(...) FAULT_API_NOTED(health_get, francis_health_get(__VA_ARGS__))
#define francis_host_ctx(...) FAULT_API_NOTED(host_ctx, francis_host_ctx(__VA_ARGS__))
#define francis_host_error(...) FAULT_API_NOTED(host_error, francis_host_error(__VA_ARGS__))
#define francis_interrupted(...) FAULT_API_NOTED(interrupted, francis_interrupted(__VA_ARGS__))
#define francis_invoke(...) FAULT_API_NOTED(invoke, francis_invoke(__VA_ARGS__))
#define francis_job_cancel(...) FAULT_API_NOTED(job_cancel, francis_job_cancel(__VA_ARGS__))
#define francis_job_dispatch(...) FAULT_API_NOTED(job_dispatch, francis_job_dispatch(__VA_ARGS__))
#define francis_job_retry(...) FAULT_API_NOTED(job_retry, francis_job_retry(__VA_ARGS__))
#define francis_list_free(...) FAULT_API_NOTED(list_free, francis_list_free(__VA_ARGS__))
#define francis_list_next(...) FAULT_API_NOTED(list_next, francis_list_next(__VA_ARGS__))
#define francis_now(...) FAULT_API_NOTED(now, francis_now(__VA_ARGS__))
#define francis_open(...) FAULT_API_NOTED(open, francis_open(__VA_ARGS__))
#define francis_outcome(...) FAULT_API_NOTED(outcome, francis_outcome(__VA_ARGS__))
#define francis_peek(...) FAULT_API_NOTED(peek, francis_peek(__VA_ARGS__))
#define francis_poll(...) FAULT_API_NOTED(poll, francis_poll(__VA_ARGS__))
#define francis_pollfds(...) FAULT_API_NOTED(pollfds, francis_pollfds(__VA_ARGS__))
#define francis_purge(...) FAULT_API_NOTED(purge, francis_purge(__VA_ARGS__))
#define francis_random(...) FAULT_API_NOTED(random, francis_random(__VA_ARGS__))
#define francis_register(...) FAULT_API_NOTED(register, francis_register(__VA_ARGS__))
#define francis_reply(...) FAULT_API_NOTED(reply, francis_reply(__VA_ARGS__))
#define francis_replyf(...) FAULT_API_NOTED(replyf, francis_replyf(__VA_ARGS__))
#define francis_result_name(...) FAULT_API_NOTED(result_name, francis_result_name(__VA_ARGS__))
#define francis_retryable(...) FAULT_API_NOTED(retryable, francis_retryable(__VA_ARGS__))
#define francis_run(...) FAULT_API_NOTED(run, francis_run(__VA_ARGS__))
#define francis_send(...) FAULT_API_NOTED(send, francis_send(__VA_ARGS__))
#define francis_start(...) FAULT_API_NOTED(start, francis_start(__VA_ARGS__))
#define francis_state(...) FAULT_API_NOTED(state, francis_state(__VA_ARGS__))
#define francis_state_delete(...) FAULT_API_NOTED(state_delete, francis_state_delete(__VA_ARGS__))
#define francis_state_expire(...) FAULT_API_NOTED(state_expire, francis_state_expire(__VA_ARGS__))
#define francis_state_get(...) FAULT_API_NOTED(state_get, francis_state_get(__VA_ARGS__))
#define francis_state_read(...) FAULT_API_NOTED(state_read, francis_state_read(__VA_ARGS__))
#define francis_state_set(...) FAULT_API_NOTED(state_set, francis_state_set(__VA_ARGS__))
#define francis_state_write(...) FAULT_API_NOTED(state_write, francis_state_write(__VA_ARGS__))
#define francis_stats_get(...) FAULT_API_NOTED(stats_get, francis_stats_get(__VA_ARGS__))
#define francis_stop(...) FAULT_API_NOTED(stop, francis_stop(__VA_ARGS__))
#define francis_stream_close(...) FAULT_API_NOTED(stream_close, francis_stream_close(__VA_ARGS__))
#define francis_stream_end(...) FAULT_API_NOTED(stream_end, francis_stream_end(__VA_ARGS__))
#define francis_stream_error(...) FAULT_API_NOTED(stream_error, francis_stream_error(__VA_ARGS__))
#define francis_stream_keep(...) FAULT_API_NOTED(stream_keep, francis_stream_keep(__VA_ARGS__))
#define francis_stream_open(...) FAULT_API_NOTED(stream_open, francis_stream_open(__VA_ARGS__))
#define francis_stream_read(...) FAULT_API_NOTED(stream_read, francis_stream_read(__VA_ARGS__))
#define francis_stream_set_type(...) \
    FAULT_API_NOTED(stream_set_type, francis_stream_set_type(__VA_ARGS__))
#define francis_stream_type(...) FAULT_API_NOTED(stream_type, francis_stream_type(__VA_ARGS__))
#define francis_stream_write(...) FAULT_API_NOTED(stream_write, francis_stream_write(__VA_ARGS__))
#define francis_strerror(...) FAULT_API_NOTED(strerror, francis_strerror(__VA_ARGS__))
#define francis_timeout(...) FAULT_API_NOTED(timeout, francis_timeout(__VA_ARGS__))
#define francis_version_number(...) \
    FAULT_API_NOTED(version_number, francis_version_number(__VA_ARGS__))
#define francis_wait(...) FAULT_API_NOTED(wait, francis_wait(__VA_ARGS__))

#endif
