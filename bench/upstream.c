/* A speech provider that is never the bottleneck: reads any body to its end, keeps none of it, answers a fixed document.

       upstream json|sse [CERTIFICATE KEY]      prints its port, serves loopback until it is killed

   json  one JSON answer whose text tells how many bytes the body had
   sse   an event every 20 ms, each with the moment of its sending on the monotonic clock; the last one ends the transcript

   With CERTIFICATE and KEY it speaks TLS (built with -DWITH_TLS). One thread, epoll; bodies by Content-Length or chunked. */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#ifdef WITH_TLS
#include <openssl/err.h>
#include <openssl/ssl.h>
static SSL_CTX *tls;
#endif

enum { BUFFER = 16384, MOST_CONNECTIONS = 65536, MOST_READS = 64, EVENTS = 25, EVENT_MS = 20 };

enum state { HEAD, BODY, CHUNK_SIZE, CHUNK, TRAILER, STREAMING };

struct connection {
    int fd, have, events;
    enum state state;
    long long left, bytes, due_ms;
    char buffer[BUFFER + 1];
#ifdef WITH_TLS
    SSL *ssl;
#endif
};

static struct connection *connections[MOST_CONNECTIONS];
static int highest, streams, poller, streaming_mode;

static long long now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void drop(struct connection *c) {
    if (c->state == STREAMING) streams--;
    connections[c->fd] = NULL;
#ifdef WITH_TLS
    if (c->ssl) SSL_free(c->ssl);
#endif
    close(c->fd);
    free(c);
}

/* Bytes read, 0 at the end, -1 for an error, -2 if there is nothing now. Without `into` the bytes are thrown away. */
static long long receive(struct connection *c, char *into, long long size) {
#ifdef WITH_TLS
    static char scratch[262144];
    if (c->ssl) {
        if (!into) into = scratch, size = size > (long long)sizeof scratch ? (long long)sizeof scratch : size;
        ERR_clear_error(); /* what one connection left behind would be taken for the next one's */
        int n = SSL_read(c->ssl, into, (int)size);
        if (n > 0) return n;
        int why = SSL_get_error(c->ssl, n);
        return why == SSL_ERROR_WANT_READ ? -2 : why == SSL_ERROR_ZERO_RETURN ? 0 : -1;
    }
#endif
    ssize_t n = recv(c->fd, into, size, into ? 0 : MSG_TRUNC);
    return n >= 0 ? n : errno == EAGAIN ? -2 : -1;
}

static int transmit(struct connection *c, const char *text, int size) {
#ifdef WITH_TLS
    ERR_clear_error();
    if (c->ssl) return SSL_write(c->ssl, text, size) == size;
#endif
    return send(c->fd, text, size, MSG_NOSIGNAL) == size;
}

static int answer_json(struct connection *c) {
    char body[512], whole[1024];
    int size = snprintf(body, sizeof body,
                        "{\"text\":\"%lld bytes\",\"usage\":{\"type\":\"tokens\",\"input_tokens\":14,"
                        "\"input_token_details\":{\"text_tokens\":0,\"audio_tokens\":14},"
                        "\"output_tokens\":45,\"total_tokens\":59}}",
                        c->bytes);
    size = snprintf(whole, sizeof whole,
                    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n"
                    "x-request-id: req_upstream\r\n\r\n%s",
                    size, body);
    return transmit(c, whole, size);
}

static int send_chunk(struct connection *c, const char *body) {
    char whole[1024];
    return transmit(c, whole, snprintf(whole, sizeof whole, "%zx\r\n%s\r\n", strlen(body), body));
}

static int send_event(struct connection *c) {
    char event[512];
    if (c->events++ < EVENTS) {
        snprintf(event, sizeof event, "data: {\"type\":\"transcript.text.delta\",\"delta\":\"t=%lld \"}\n\n", now_ns());
        return send_chunk(c, event);
    }
    snprintf(event, sizeof event,
             "data: {\"type\":\"transcript.text.done\",\"text\":\"end=%lld \",\"usage\":{\"type\":\"tokens\","
             "\"input_tokens\":14,\"output_tokens\":45,\"total_tokens\":59}}\n\n",
             now_ns());
    streams--;
    c->state = HEAD;
    return send_chunk(c, event) && transmit(c, "0\r\n\r\n", 5);
}

static int begin_stream(struct connection *c) {
    static const char head[] = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
    if (!transmit(c, head, sizeof head - 1)) return 0;
    c->state = STREAMING;
    c->events = 0;
    c->due_ms = now_ns() / 1000000 + EVENT_MS;
    streams++;
    return send_event(c);
}

/* What a gateway may ask before it sends anything: which models there are. */
static int answer_models(struct connection *c) {
    static const char body[] = "{\"object\":\"list\",\"data\":[{\"id\":\"gpt-4o-transcribe\",\"object\":\"model\"}]}";
    char whole[512];
    return transmit(c, whole,
                    snprintf(whole, sizeof whole,
                             "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
                             sizeof body - 1, body));
}

static int answer(struct connection *c, int has_body) {
    c->state = HEAD;
    if (!has_body) return answer_models(c);
    return streaming_mode ? begin_stream(c) : answer_json(c);
}

static void consume(struct connection *c, long long n) {
    c->have -= (int)n;
    memmove(c->buffer, c->buffer + n, c->have);
}

/* The head is in the buffer, ended by NUL: find its framing. */
static int begin_body(struct connection *c, char *end) {
    *end = 0;
    char *length = strcasestr(c->buffer, "\r\ncontent-length:");
    int chunked = strcasestr(c->buffer, "\r\ntransfer-encoding: chunked") != NULL;
    int expects = strcasestr(c->buffer, "\r\nexpect: 100") != NULL;
    c->bytes = 0;
    c->left = length ? atoll(length + 17) : 0;
    c->state = chunked ? CHUNK_SIZE : BODY;
    consume(c, end + 4 - c->buffer);
    if (expects && !transmit(c, "HTTP/1.1 100 Continue\r\n\r\n", 25)) return 0;
    return chunked || c->left ? 1 : answer(c, 0);
}

/* Take in what is buffered: 1 to go on reading, 0 to drop the connection. */
static int advance(struct connection *c) {
    while (c->have || c->state == BODY) {
        c->buffer[c->have] = 0;
        if (c->state == BODY || c->state == CHUNK) {
            long long n = c->left < c->have ? c->left : c->have;
            consume(c, n);
            c->left -= n;
            c->bytes += n;
            if (c->left) return 1;
            if (c->state == CHUNK) c->state = CHUNK_SIZE, c->bytes -= 2;
            else if (!answer(c, 1)) return 0;
            continue;
        }
        char *end = strstr(c->buffer, c->state == HEAD ? "\r\n\r\n" : "\r\n");
        if (!end) return c->have < BUFFER;
        if (c->state == HEAD) {
            if (!begin_body(c, end)) return 0;
        } else if (c->state == CHUNK_SIZE) {
            c->left = strtoll(c->buffer, NULL, 16);
            c->state = c->left ? CHUNK : TRAILER;
            c->left += 2;
            consume(c, end + 2 - c->buffer);
        } else if (c->state == TRAILER) {
            int last = end == c->buffer;
            consume(c, end + 2 - c->buffer);
            if (last && !answer(c, 1)) return 0;
        } else {
            return 0;
        }
    }
    return 1;
}

static int readable(struct connection *c) {
    for (int reads = 0; reads < MOST_READS; reads++) {
        int skips = (c->state == BODY || c->state == CHUNK) && !c->have && c->left > 2;
        long long n = skips ? receive(c, NULL, c->left - 2 < 1 << 20 ? c->left - 2 : 1 << 20)
                            : receive(c, c->buffer + c->have, BUFFER - c->have);
        if (n == -2) return 1;
        if (n <= 0) return 0;
        if (skips) {
            c->left -= n;
            c->bytes += n;
        } else {
            c->have += (int)n;
            if (!advance(c)) return 0;
        }
    }
#ifdef WITH_TLS
    if (c->ssl && SSL_has_pending(c->ssl)) return readable(c);
#endif
    return 1;
}

static void accept_all(int listener) {
    int fd, on = 1;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        struct connection *c = fd < MOST_CONNECTIONS ? calloc(1, sizeof *c) : NULL;
        if (!c) {
            close(fd);
            continue;
        }
        c->fd = fd;
        connections[fd] = c;
        highest = fd > highest ? fd : highest;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
#ifdef WITH_TLS
        if (tls) {
            c->ssl = SSL_new(tls);
            SSL_set_fd(c->ssl, fd);
            SSL_set_accept_state(c->ssl);
        }
#endif
        struct epoll_event interest = {.events = EPOLLIN, .data.ptr = c};
        epoll_ctl(poller, EPOLL_CTL_ADD, fd, &interest);
    }
}

static void send_due_events(void) {
    long long now = now_ns() / 1000000;
    for (int fd = 0; fd <= highest; fd++) {
        struct connection *c = connections[fd];
        if (!c || c->state != STREAMING || c->due_ms > now) continue;
        c->due_ms += EVENT_MS;
        if (!send_event(c)) drop(c);
    }
}

static int listen_on_loopback(void) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (bind(fd, (struct sockaddr *)&address, size) || listen(fd, 4096)) exit(2);
    getsockname(fd, (struct sockaddr *)&address, &size);
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    return fd;
}

static void prepare(int argc, char **argv) {
    struct rlimit files;
    signal(SIGPIPE, SIG_IGN);
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    streaming_mode = argc > 1 && !strcmp(argv[1], "sse");
    if (argc < 4) return;
#ifdef WITH_TLS
    tls = SSL_CTX_new(TLS_server_method());
    SSL_CTX_set_read_ahead(tls, 1); /* many records a system call */
    SSL_CTX_set_default_read_buffer_len(tls, 131072);
    if (SSL_CTX_use_certificate_chain_file(tls, argv[2]) == 1 &&
        SSL_CTX_use_PrivateKey_file(tls, argv[3], SSL_FILETYPE_PEM) == 1)
        return;
#endif
    exit(3);
}

int main(int argc, char **argv) {
    struct epoll_event ready[256], interest = {.events = EPOLLIN};
    prepare(argc, argv);
    int listener = listen_on_loopback();
    poller = epoll_create1(0);
    epoll_ctl(poller, EPOLL_CTL_ADD, listener, &interest);
    for (;;) {
        int count = epoll_wait(poller, ready, 256, streams ? 1 : -1);
        for (int i = 0; i < count; i++) {
            struct connection *c = ready[i].data.ptr;
            if (!c) accept_all(listener);
            else if (!readable(c)) drop(c);
        }
        if (streams) send_due_events();
    }
}
