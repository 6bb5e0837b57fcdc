/* Where a host of a test may listen. */
#ifndef ADDRESS_H
#define ADDRESS_H

#include "t.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

/* A port that was free a moment ago. */
T_UNUSED static void free_address(char address[40])
{
    struct sockaddr_in in;
    socklen_t          size = sizeof in;
    int                fd = socket(AF_INET, SOCK_STREAM, 0);
    (void)memset(&in, 0, sizeof in);
    in.sin_family = AF_INET;
    in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (const struct sockaddr *)&in, sizeof in), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&in, &size), 0);
    (void)close(fd);
    (void)snprintf(address, 40, "127.0.0.1:%u", (unsigned)ntohs(in.sin_port));
}

#endif
