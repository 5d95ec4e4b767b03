/*
 * Load for a control socket: a number of clients, each a process that connects, sends
 * STATUS, reads to the end of file, closes, and starts anew. Each waits in the kernel, as
 * real clients do; one process that polled for all would leave the server idle while it
 * goes through them.
 *
 *     loadgen PATH CLIENTS SECONDS
 *
 * Prints one line: the commands answered in that time, the seconds it took, the median
 * and the 99th percentile of the time from connect to end of file in microseconds, and
 * which part of the time the clients kept a processor busy.
 */
#define _DEFAULT_SOURCE

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MAX_CLIENTS 256
#define MAX_ANSWERS (1 << 18)
#define STALLED_SECONDS 10

static const char request[] = "STATUS\n";

static struct sockaddr_un address = {.sun_family = AF_UNIX};

/* Shared with the clients: how many answers each had, and how long each took. */
static struct client {
    size_t answered;
    float latencies[MAX_ANSWERS];
} *clients;

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec / 1e9;
}

static double clients_processor_time(void)
{
    struct rusage usage;
    getrusage(RUSAGE_CHILDREN, &usage);
    return usage.ru_utime.tv_sec + usage.ru_stime.tv_sec +
           (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static void fail(const char *what)
{
    fprintf(stderr, "loadgen: %s\n", what);
    _exit(1);
}

static void fail_errno(const char *what)
{
    perror(what);
    _exit(1);
}

static void ask(void)
{
    static const struct timeval stalled = {.tv_sec = STALLED_SECONDS};
    char reply[4096], last = '\0';
    ssize_t size;
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    if (fd < 0)
        fail_errno("socket");
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &stalled, sizeof stalled);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) < 0)
        fail_errno("connect");
    if (send(fd, request, sizeof request - 1, MSG_NOSIGNAL) != sizeof request - 1)
        fail_errno("send");
    while ((size = recv(fd, reply, sizeof reply, 0)) > 0)
        last = reply[size - 1];
    if (size < 0)
        fail_errno("recv");
    if (last != '\n')
        fail("a reply that is empty or does not end in a newline");
    close(fd);
}

static void be_client(struct client *self, double end)
{
    for (;;) {
        double started = now();
        ask();
        double finished = now();
        /* The answer that comes after the end is not counted, unless it is the only one. */
        if (finished >= end && self->answered > 0)
            _exit(0);
        if (self->answered == MAX_ANSWERS)
            fail("too many answers to remember; ask for fewer seconds");
        self->latencies[self->answered++] = finished - started;
    }
}

static int ascending(const void *left, const void *right)
{
    float a = *(const float *)left, b = *(const float *)right;
    return (a > b) - (a < b);
}

int main(int argc, char **argv)
{
    if (argc != 4)
        fail("usage: loadgen PATH CLIENTS SECONDS");
    int count = atoi(argv[2]);
    double seconds = atof(argv[3]);
    if (count < 1 || count > MAX_CLIENTS || seconds <= 0)
        fail("CLIENTS is from 1 to 256, SECONDS more than 0");
    if (strlen(argv[1]) >= sizeof address.sun_path)
        fail("PATH is too long");
    strcpy(address.sun_path, argv[1]);
    clients = mmap(NULL, count * sizeof *clients, PROT_READ | PROT_WRITE,
                   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (clients == MAP_FAILED)
        fail_errno("mmap");

    double begun = now(), end = begun + seconds;
    for (int client = 0; client < count; client++) {
        pid_t pid = fork();
        if (pid < 0)
            fail_errno("fork");
        if (pid == 0)
            be_client(&clients[client], end);
    }
    for (int client = 0; client < count; client++) {
        int status;
        if (wait(&status) < 0)
            fail_errno("wait");
        if (status != 0)
            fail("a client failed");
    }
    double busy = clients_processor_time() / (now() - begun);

    size_t answered = 0;
    for (int client = 0; client < count; client++)
        answered += clients[client].answered;
    float *latencies = malloc(answered * sizeof *latencies);
    if (latencies == NULL)
        fail("out of memory");
    size_t next = 0;
    for (int client = 0; client < count; client++) {
        size_t size = clients[client].answered;
        memcpy(latencies + next, clients[client].latencies, size * sizeof *latencies);
        next += size;
    }
    qsort(latencies, answered, sizeof *latencies, ascending);
    printf("count=%zu elapsed=%.6f p50=%.1f p99=%.1f busy=%.3f\n", answered, seconds,
           latencies[answered / 2] * 1e6, latencies[answered * 99 / 100] * 1e6, busy);
    return 0;
}
