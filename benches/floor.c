/* The floor: the least work that starts COUNT like children, tags the lines that they write, starts them again and
 * stops them. What a supervisor costs above this is its own doing.
 *
 *   floor [-x] [-r] NAME COUNT COMMAND
 *     -x  COMMAND is split at blanks and executed; without it, /bin/sh -c gets it
 *     -r  a child that has ended is started again at once
 *
 * SIGTERM and SIGINT are passed on to every child; it ends when the last child has.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

enum { LINE = 65536, OUTPUT = 262144, WORDS = 32 };

struct child {
    pid_t pid;
    int pipe;
    char tag[80];
    size_t tag_length;
    char *begun; /* a line whose end was not read yet; at most LINE bytes */
    size_t begun_length;
};

static struct child *children;
static uint32_t count, running;
static int poller, again, stopping;
static char *program, *arguments[WORDS + 1];
static char input[LINE], output[OUTPUT];
static size_t output_length;

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
    if (OUTPUT - output_length < length) flush();
    memcpy(output + output_length, text, length);
    output_length += length;
}

static void say_line(struct child *child, const char *rest, size_t length) {
    say(child->tag, child->tag_length);
    say(child->begun, child->begun_length);
    child->begun_length = 0;
    say(rest, length);
    say("\n", 1);
}

/* Reads a pipe once; returns 0 where there is nothing more for now, or ever. */
static int listen_to(struct child *child) {
    if (child->pipe < 0) return 0;
    ssize_t got = read(child->pipe, input, sizeof input);
    if (got < 0) return 0;
    if (got == 0) {
        if (child->begun_length) say_line(child, "", 0);
        close(child->pipe);
        child->pipe = -1;
        return 0;
    }
    char *at = input, *end = input + got, *newline;
    while ((newline = memchr(at, '\n', (size_t)(end - at)))) {
        say_line(child, at, (size_t)(newline - at));
        at = newline + 1;
    }
    size_t rest = (size_t)(end - at);
    if (child->begun_length + rest > LINE) say_line(child, "", 0);
    if (rest && !child->begun) check((child->begun = malloc(LINE)) != 0, "malloc");
    if (rest) memcpy(child->begun + child->begun_length, at, rest);
    child->begun_length += rest;
    return 1;
}

static void start(uint32_t nth, const posix_spawnattr_t *attributes) {
    struct child *child = &children[nth];
    int pipe[2];
    check(pipe2(pipe, O_CLOEXEC) == 0, "pipe2");
    check(fcntl(pipe[0], F_SETFL, O_NONBLOCK) == 0, "fcntl");
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, pipe[1], 1);
    posix_spawn_file_actions_adddup2(&actions, pipe[1], 2);
    check(posix_spawn(&child->pid, program, &actions, attributes, arguments, environ) == 0, program);
    posix_spawn_file_actions_destroy(&actions);
    close(pipe[1]);
    child->pipe = pipe[0];
    struct epoll_event event = {EPOLLIN, {.u32 = nth}};
    check(epoll_ctl(poller, EPOLL_CTL_ADD, child->pipe, &event) == 0, "epoll_ctl");
}

static void bury(pid_t pid, const posix_spawnattr_t *attributes) {
    for (uint32_t nth = 0; nth < count; nth++) {
        struct child *child = &children[nth];
        if (child->pid != pid) continue;
        while (listen_to(child)) {}
        if (child->pipe >= 0) close(child->pipe);
        child->pipe = -1;
        child->pid = 0;
        if (again && !stopping) start(nth, attributes);
        else running--;
        return;
    }
}

static void hear_signals(int signals, const posix_spawnattr_t *attributes) {
    struct signalfd_siginfo signal;
    while (read(signals, &signal, sizeof signal) == sizeof signal) {
        if (signal.ssi_signo == SIGCHLD) continue;
        stopping = 1;
        for (uint32_t nth = 0; nth < count; nth++)
            if (children[nth].pid) kill(children[nth].pid, SIGTERM);
    }
    pid_t pid;
    while ((pid = waitpid(-1, 0, WNOHANG)) > 0) bury(pid, attributes);
}

int main(int argc, char **argv) {
    int direct = 0, option;
    while ((option = getopt(argc, argv, "+xr")) > 0) {
        if (option == 'x') direct = 1;
        else if (option == 'r') again = 1;
        else return 2;
    }
    if (argc - optind != 3) return 2;
    const char *name = argv[optind];
    count = running = (uint32_t)atoi(argv[optind + 1]);
    char *command = argv[optind + 2];
    if (direct) {
        int nth = 0;
        for (char *word = strtok(command, " "); word && nth < WORDS; word = strtok(0, " ")) arguments[nth++] = word;
        program = arguments[0];
    } else {
        program = "/bin/sh";
        arguments[0] = "sh";
        arguments[1] = "-c";
        arguments[2] = command;
    }

    sigset_t heard, none;
    sigemptyset(&none);
    sigemptyset(&heard);
    sigaddset(&heard, SIGCHLD);
    sigaddset(&heard, SIGTERM);
    sigaddset(&heard, SIGINT);
    sigprocmask(SIG_BLOCK, &heard, 0);
    int signals = signalfd(-1, &heard, SFD_NONBLOCK | SFD_CLOEXEC);
    poller = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {EPOLLIN, {.u32 = UINT32_MAX}};
    check(epoll_ctl(poller, EPOLL_CTL_ADD, signals, &event) == 0, "epoll_ctl");

    posix_spawnattr_t attributes;
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setpgroup(&attributes, 0);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK);

    check((children = calloc(count, sizeof *children)) != 0, "calloc");
    for (uint32_t nth = 0; nth < count; nth++) {
        struct child *child = &children[nth];
        child->tag_length = (size_t)snprintf(child->tag, sizeof child->tag, "%.60s.%-4u | ", name, nth + 1);
        start(nth, &attributes);
    }
    while (running) {
        struct epoll_event events[64];
        int ready = epoll_wait(poller, events, 64, output_length ? 0 : -1);
        if (ready <= 0) flush();
        for (int nth = 0; nth < ready; nth++) {
            if (events[nth].data.u32 == UINT32_MAX) hear_signals(signals, &attributes);
            else listen_to(&children[events[nth].data.u32]);
        }
    }
    flush();
    return 0;
}
