/* What runs below an init: writes into FILE what it sees.
 *
 *   child begin FILE      the time at which main() begins (CLOCK_MONOTONIC, 8 bytes); waits
 *   child signals FILE    0 when it is ready, then the number of each signal that reaches it, a byte each; waits
 *   child orphans FILE N  0 when N orphans that live for up to 50 ms have lost their parents; waits
 *   child leave FILE      0 when an orphan in a session of its own is there, TERM's number if that one is asked to end; waits, ends on TERM
 *   child exit N          ends with code N
 */
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int file = -1;

static void note(int number) {
    unsigned char byte = (unsigned char)number;
    if (write(file, &byte, 1) != 1) _exit(2);
}

static void note_and_end(int number) {
    note(number);
    _exit(0);
}

static void end(int number) {
    (void)number;
    _exit(0);
}

int main(int argc, char **argv) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    if (argc < 3) return 2;
    if (!strcmp(argv[1], "exit")) return atoi(argv[2]);
    file = open(argv[2], O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (file < 0) return 2;
    if (!strcmp(argv[1], "begin")) {
        uint64_t nanoseconds = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
        if (write(file, &nanoseconds, sizeof nanoseconds) != sizeof nanoseconds) return 2;
    } else if (!strcmp(argv[1], "signals")) {
        for (int number = 1; number <= 64; number++) signal(number, note);
        note(0);
    } else if (!strcmp(argv[1], "orphans") && argc > 3) {
        for (int n = atoi(argv[3]); n > 0; n--) {
            pid_t middle = fork();
            if (middle == 0) {
                if (fork() == 0) {
                    if (n % 3 == 0) setsid();
                    struct timespec life = {0, 1000000L * (1 + n * 7919 % 50)};
                    nanosleep(&life, 0);
                }
                _exit(0);
            }
            waitpid(middle, 0, 0);
        }
        note(0);
    } else if (!strcmp(argv[1], "leave")) {
        signal(SIGTERM, end);
        pid_t middle = fork();
        if (middle == 0) {
            if (fork() == 0) {
                setsid();
                signal(SIGTERM, note_and_end);
                note(0);
                for (;;) pause();
            }
            _exit(0);
        }
        waitpid(middle, 0, 0);
    } else {
        return 2;
    }
    for (;;) pause();
}
