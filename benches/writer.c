/* A child that writes lines of 100 bytes.
 *
 *   writer RATE   so many lines a second; 0 is as many as it can, 64 KiB at a time
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { LINE = 100, LINES = 655 };

int main(int argc, char **argv) {
    static char block[LINE * LINES];
    long rate = argc > 1 ? atol(argv[1]) : 0;
    memset(block, 'x', sizeof block);
    for (int line = 1; line <= LINES; line++) block[line * LINE - 1] = '\n';
    size_t size = rate > 0 ? LINE : sizeof block;
    struct timespec pause = {0, rate > 1 ? 1000000000 / rate : 999999999};
    for (;;) {
        if (write(1, block, size) < 0) return 1;
        if (rate > 0) nanosleep(&pause, 0);
    }
}
