/* Shows whether programs of this compiler run with a sanitizer on this machine. */
#include <pthread.h>

static int shared;

static void *set(void *arg)
{
    shared = 0;
    return arg;
}

int main(void)
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, set, NULL) != 0)
        return 1;
    (void)pthread_join(thread, NULL);
    return shared;
}
