/* Two files of one program that both implement the library, configured differently: nobody could
 * tell which of them is used.
 * cc: tests/compile/implementation.c
 * says: multiple definition|duplicate symbol */
#define FRANCIS_DEBUG 1
#define FRANCIS_IMPLEMENTATION
#include "francis.h"

int main(void)
{
    return francis_version_number() == 0;
}
