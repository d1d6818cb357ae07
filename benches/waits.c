// A child that costs as little as a process can: it waits.
#include <unistd.h>

int main(void) {
    for (;;) pause();
}
