/*
 * Load for a control socket: a number of clients, each of which connects, sends STATUS,
 * reads to the end of file, closes, and starts anew.
 *
 *     loadgen PATH CLIENTS SECONDS
 *
 * Prints one line: the commands answered in that time, the seconds it took, the median
 * and the 99th percentile of the time from connect to end of file in microseconds, and
 * which part of the time this program itself kept a processor busy.
 */
#define _POSIX_C_SOURCE 200809L

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define MAX_CLIENTS 256
#define STALLED_MS 10000

static const char request[] = "STATUS\n";

static struct sockaddr_un address = {.sun_family = AF_UNIX};
static struct pollfd sockets[MAX_CLIENTS];
static struct {
    double started;
    char last;
} clients[MAX_CLIENTS];

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec / 1e9;
}

static double processor_time(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_utime.tv_sec + usage.ru_stime.tv_sec +
           (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static void fail(const char *what)
{
    fprintf(stderr, "loadgen: %s\n", what);
    exit(1);
}

static void fail_errno(const char *what)
{
    perror(what);
    exit(1);
}

static void ask(int client)
{
    clients[client].started = now();
    clients[client].last = '\0';
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    if (fd < 0)
        fail_errno("socket");
    if (connect(fd, (struct sockaddr *)&address, sizeof address) < 0)
        fail_errno("connect");
    if (send(fd, request, sizeof request - 1, 0) != sizeof request - 1)
        fail_errno("send");
    sockets[client].fd = fd;
    sockets[client].events = POLLIN;
}

static int ascending(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;
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
    signal(SIGPIPE, SIG_IGN);

    size_t answered = 0, capacity = 1 << 16;
    double *latencies = malloc(capacity * sizeof *latencies);
    if (latencies == NULL)
        fail("out of memory");

    double busy = processor_time(), begun = now(), end = begun + seconds;
    int open = count;
    for (int client = 0; client < count; client++)
        ask(client);
    while (open > 0) {
        int ready = poll(sockets, count, STALLED_MS);
        if (ready < 0)
            fail_errno("poll");
        if (ready == 0)
            fail("no answer within 10 seconds");
        for (int client = 0; client < count && ready > 0; client++) {
            char reply[4096];
            if (sockets[client].fd < 0 || sockets[client].revents == 0)
                continue;
            ready--;
            ssize_t size = recv(sockets[client].fd, reply, sizeof reply, 0);
            if (size < 0)
                fail_errno("recv");
            if (size > 0) {
                clients[client].last = reply[size - 1];
                continue;
            }
            double finished = now();
            if (clients[client].last != '\n')
                fail("a reply that is empty or does not end in a newline");
            close(sockets[client].fd);
            if (finished >= end) {
                /* Those on their way at the end are answered, but not counted. */
                sockets[client].fd = -1;
                open--;
                continue;
            }
            if (answered == capacity) {
                capacity *= 2;
                latencies = realloc(latencies, capacity * sizeof *latencies);
                if (latencies == NULL)
                    fail("out of memory");
            }
            latencies[answered++] = finished - clients[client].started;
            ask(client);
        }
    }
    busy = (processor_time() - busy) / (now() - begun);
    if (answered == 0)
        fail("no answer in time");
    qsort(latencies, answered, sizeof *latencies, ascending);
    printf("count=%zu elapsed=%.6f p50=%.1f p99=%.1f busy=%.3f\n", answered, seconds,
           latencies[answered / 2] * 1e6, latencies[answered * 99 / 100] * 1e6, busy);
    return 0;
}
