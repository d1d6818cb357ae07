/* The child of every run: writes numbered lines, as one of many, when all of them are there.
 *
 *   writer BOARD rush LINES SIZE CHUNK   LINES lines of SIZE bytes in writes of CHUNK bytes, or one write a line (0); then it waits
 *   writer BOARD pace LINES HERTZ        LINES lines, so many a second, each with the time when it was written; then it waits
 *   writer BOARD whisper LINES HERTZ     number 0 writes as in `pace`, number 1 as fast as it can for ever, all others wait
 *
 * A line is `@IIIII NNNNNNNNN filling$`: the number of its writer and its own. BOARD is a file, mapped as `struct board` of main.rs.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/futex.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

struct board {
    _Atomic uint32_t expected; /* so many writers; the bench writes it */
    _Atomic uint32_t arrived;
    _Atomic uint32_t open; /* 1 when all are there */
    uint32_t nothing;
    _Atomic uint64_t opened; /* CLOCK_MONOTONIC, nanoseconds */
};

static uint64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static void write_all(const char *text, size_t length) {
    while (length) {
        ssize_t wrote = write(1, text, length);
        if (wrote <= 0) _exit(3);
        text += wrote;
        length -= (size_t)wrote;
    }
}

static void set_number(char *line, uint64_t number) {
    for (int digit = 15; digit >= 7; digit--, number /= 10) line[digit] = (char)('0' + number % 10);
}

static void rush(uint32_t nth, uint64_t lines, size_t size, size_t chunk) {
    size_t block = chunk > size ? chunk / size + 1 : 64;
    char *buffer = malloc(block * size + chunk);
    size_t held = 0; /* what did not fill a chunk */
    for (size_t line = 0; line < block; line++) {
        char *at = buffer + line * size;
        memset(at, 'a' + (int)(nth % 26), size);
        char head[32];
        snprintf(head, sizeof head, "@%05u %09u ", nth % 100000, 0u);
        memcpy(at, head, 17);
        at[size - 2] = '$';
        at[size - 1] = '\n';
    }
    for (uint64_t line = 0; line < lines;) {
        size_t more = lines - line < block ? (size_t)(lines - line) : block;
        if (!chunk) {
            for (size_t at = 0; at < more; at++, line++) {
                set_number(buffer + at * size, line);
                write_all(buffer + at * size, size);
            }
            continue;
        }
        for (size_t at = 0; at < more; at++) set_number(buffer + at * size, line++);
        const char *text = buffer;
        size_t length = more * size;
        /* The cut comes every CHUNK bytes of the whole, wherever that is in a line. */
        while (held + length >= chunk) {
            size_t part = chunk - held;
            write_all(text, part);
            text += part;
            length -= part;
            held = 0;
        }
        if (length) write_all(text, length);
        held += length;
    }
    free(buffer);
}

static void pace(uint32_t nth, uint64_t lines, uint64_t hertz) {
    uint64_t next = now() + 300000000u;
    for (uint64_t line = 0; line < lines; line++, next += 1000000000u / hertz) {
        struct timespec at = {(time_t)(next / 1000000000u), (long)(next % 1000000000u)};
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, 0);
        char text[64];
        int length = snprintf(text, sizeof text, "@%05u %09llu T%020llu$\n", nth, (unsigned long long)line, (unsigned long long)now());
        write_all(text, (size_t)length);
    }
}

int main(int argc, char **argv) {
    if (argc < 5) return 2;
    int file = open(argv[1], O_RDWR | O_CLOEXEC);
    if (file < 0) return 2;
    struct board *board = mmap(0, sizeof *board, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (board == MAP_FAILED) return 2;
    close(file);
    uint32_t nth = atomic_fetch_add(&board->arrived, 1), expected = board->expected;
    /* Somebody started more of us, or again. */
    if (nth >= expected) for (;;) pause();
    if (nth + 1 == expected) {
        board->opened = now();
        board->open = 1;
        syscall(SYS_futex, &board->open, FUTEX_WAKE, 1 << 30, 0, 0, 0);
    }
    while (!board->open) syscall(SYS_futex, &board->open, FUTEX_WAIT, 0, 0, 0, 0);
    uint64_t lines = strtoull(argv[3], 0, 10);
    if (!strcmp(argv[2], "rush") && argc == 6) rush(nth, lines, strtoul(argv[4], 0, 10), strtoul(argv[5], 0, 10));
    else if (!strcmp(argv[2], "pace") || (!strcmp(argv[2], "whisper") && nth == 0)) pace(nth, lines, strtoull(argv[4], 0, 10));
    else if (!strcmp(argv[2], "whisper") && nth == 1) rush(nth, UINT64_MAX, 100, 65536);
    for (;;) pause();
}
