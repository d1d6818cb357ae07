/* The floor of the stream: the least work that puts a tag before every line of many processes and writes it on.
 *
 *   floor NAME COUNT COMMAND   COMMAND is split at blanks and executed COUNT times; SIGTERM ends them and it
 *
 * It has what is worth most: pipes of 1 MiB on both sides, reads of 64 KiB, one copy of a line into a buffer that stays in the
 * second-level cache, one write where nothing more is ready or the buffer is full. It has none of what makes a supervisor: it waits for
 * its reader, forgets what it wrote, and knows no time, no colour and no signal but one.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

enum { INPUT = 65536, OUTPUT = 262144, PIPE = 1048576, WORDS = 32 };

struct child {
    pid_t pid;
    int pipe;
    char tag[80];
    size_t tag_length;
    char *begun; /* a line whose end was not read yet */
    size_t begun_length;
};

static struct child *children;
static uint32_t count;
static char input[INPUT], output[OUTPUT];
static size_t output_length;

static void end(int signal) {
    (void)signal;
    for (uint32_t nth = 0; nth < count; nth++)
        if (children[nth].pid) kill(children[nth].pid, SIGTERM);
    _exit(0);
}

static void check(int good, const char *what) {
    if (good) return;
    perror(what);
    exit(1);
}

static void flush(void) {
    for (size_t done = 0; done < output_length;) {
        ssize_t wrote = write(1, output + done, output_length - done);
        check(wrote > 0, "write");
        done += (size_t)wrote;
    }
    output_length = 0;
}

static void say(const char *text, size_t length) {
    while (length > OUTPUT - output_length) {
        size_t part = OUTPUT - output_length;
        memcpy(output + output_length, text, part);
        output_length = OUTPUT;
        text += part;
        length -= part;
        flush();
    }
    memcpy(output + output_length, text, length);
    output_length += length;
}

static void listen_to(struct child *child) {
    ssize_t got = read(child->pipe, input, sizeof input);
    if (got <= 0) {
        close(child->pipe);
        child->pipe = -1;
        return;
    }
    char *at = input, *newline;
    const char *limit = input + got;
    while ((newline = memchr(at, '\n', (size_t)(limit - at)))) {
        say(child->tag, child->tag_length);
        if (child->begun_length) say(child->begun, child->begun_length);
        child->begun_length = 0;
        say(at, (size_t)(newline + 1 - at));
        at = newline + 1;
    }
    size_t rest = (size_t)(limit - at);
    if (!rest) return;
    check((child->begun = realloc(child->begun, child->begun_length + rest)) != 0, "realloc");
    memcpy(child->begun + child->begun_length, at, rest);
    child->begun_length += rest;
}

int main(int argc, char **argv) {
    if (argc != 4) return 2;
    count = (uint32_t)atoi(argv[2]);
    check((children = calloc(count, sizeof *children)) != 0, "calloc");
    char *words[WORDS + 1] = {0};
    int nth_word = 0;
    for (char *word = strtok(argv[3], " "); word && nth_word < WORDS; word = strtok(0, " ")) words[nth_word++] = word;
    signal(SIGTERM, end);
    fcntl(1, F_SETPIPE_SZ, PIPE);
    int poller = epoll_create1(EPOLL_CLOEXEC);
    for (uint32_t nth = 0; nth < count; nth++) {
        struct child *child = &children[nth];
        int pipe[2];
        check(pipe2(pipe, O_CLOEXEC) == 0, "pipe2");
        /* Beyond what the user may have it stays as it is. */
        fcntl(pipe[0], F_SETPIPE_SZ, PIPE);
        posix_spawn_file_actions_t actions;
        posix_spawn_file_actions_init(&actions);
        posix_spawn_file_actions_adddup2(&actions, pipe[1], 1);
        check(posix_spawn(&child->pid, words[0], &actions, 0, words, environ) == 0, words[0]);
        posix_spawn_file_actions_destroy(&actions);
        close(pipe[1]);
        child->pipe = pipe[0];
        child->tag_length = (size_t)snprintf(child->tag, sizeof child->tag, "%.60s.%-5u | ", argv[1], nth + 1);
        struct epoll_event event = {EPOLLIN, {.u32 = nth}};
        check(epoll_ctl(poller, EPOLL_CTL_ADD, child->pipe, &event) == 0, "epoll_ctl");
    }
    for (;;) {
        struct epoll_event events[64];
        int ready = epoll_wait(poller, events, 64, output_length ? 0 : -1);
        if (ready < 0 && errno == EINTR) continue;
        if (ready <= 0) flush();
        for (int nth = 0; nth < ready; nth++) listen_to(&children[events[nth].data.u32]);
    }
}
