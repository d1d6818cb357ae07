/* The child of every benchmark: notes on a shared board that its main() has begun, and waits to be ended.
 *
 *   child BOARD [ANYTHING]   the board is a file, mapped as `struct board` of board.rs
 *   child                    ends at once, like true(1)
 */
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { LIVES = 4096 };

struct life {
    _Atomic uint64_t began; /* CLOCK_MONOTONIC, nanoseconds; not 0 when the rest is there */
    _Atomic uint32_t pid;
    uint32_t nothing;
};

struct board {
    _Atomic uint64_t executed; /* when the supervisor was executed; the bench writes it */
    _Atomic uint32_t count;    /* of the lives below */
    uint32_t nothing;
    struct life lives[LIVES];
};

int main(int argc, char **argv) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    if (argc < 2) return 0;
    int file = open(argv[1], O_RDWR | O_CLOEXEC);
    if (file < 0) return 2;
    struct board *board = mmap(0, sizeof *board, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (board == MAP_FAILED) return 2;
    close(file);
    uint32_t nth = atomic_fetch_add(&board->count, 1);
    if (nth >= LIVES) return 2;
    board->lives[nth].pid = (uint32_t)getpid();
    board->lives[nth].began = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
    for (;;) pause();
}
