/*
 * percept-media: decodes one file after the other for perceptd and percept-run, with nothing left
 * that a hostile file could turn against the machine. Started by encoders/media/media.c with a
 * socket as descriptor 3; ends when the socket does.
 */

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "encoders/media/codecs.h"
#include "encoders/media/sandbox.h"

/* Seconds of processor time after which a new process takes over: well below the limit, which
 * would end this one within a request. */
#define CPU_SECONDS_RETIRE 30
/* Refused files, likewise: the libraries lose a little memory with some of them. */
#define REFUSALS_RETIRE 100

#define N_DESCRIPTORS 2 /* the file and the result */

typedef union Control {
    char bytes[CMSG_SPACE(N_DESCRIPTORS * sizeof(int))];
    struct cmsghdr align;
} Control;

/* 1: a request with both descriptors; 0: the other end is closed, or speaks another language. */
static int request_receive(WireRequest *ret_request, int ret_fds[N_DESCRIPTORS])
{
    Control control;
    struct iovec iov = {ret_request, sizeof *ret_request};
    struct msghdr message = {
        .msg_iov = &iov,
        .msg_iovlen = 1,
        .msg_control = control.bytes,
        .msg_controllen = sizeof control.bytes,
    };
    const struct cmsghdr *c;
    ssize_t n;

    do
        n = recvmsg(WIRE_FD, &message, MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    c = CMSG_FIRSTHDR(&message);
    if (n != sizeof *ret_request || !c || c->cmsg_type != SCM_RIGHTS ||
        c->cmsg_len != CMSG_LEN(N_DESCRIPTORS * sizeof(int)))
        return 0;
    memcpy(ret_fds, CMSG_DATA(c), N_DESCRIPTORS * sizeof(int));
    return 1;
}

static int reply_send(const WireReply *reply)
{
    struct iovec iov = {(void *)reply, sizeof *reply};
    struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};

    return sendmsg(WIRE_FD, &message, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

static bool is_old(unsigned n_refused)
{
    struct rusage usage;

    return n_refused >= REFUSALS_RETIRE || getrusage(RUSAGE_SELF, &usage) < 0 ||
           usage.ru_utime.tv_sec + usage.ru_stime.tv_sec >= CPU_SECONDS_RETIRE;
}

static WireReply request_run(const WireRequest *wire, int file, int result)
{
    MediaRequest request = {
        .kind = (MediaKind)wire->kind,
        .max_patches = wire->max_patches,
        .truncate_audio = wire->truncate_audio,
    };
    Output out = {.fd = result};
    Input in = {0};
    Reason reason;

    memcpy(request.region, wire->region, sizeof request.region);
    reason = input_init(&in, file);
    if (reason == REASON_NONE)
        reason = media_decode_input(&in, &request, &out);
    output_unmap(&out);
    input_deinit(&in);
    out.reply.reason = reason;
    return out.reply;
}

int main(void)
{
    WireRequest request;
    WireReply reply = {0};
    unsigned n_refused = 0;
    int fds[N_DESCRIPTORS], type;
    socklen_t length = sizeof type;

    if (getsockopt(WIRE_FD, SOL_SOCKET, SO_TYPE, &type, &length) < 0) {
        fprintf(stderr, "percept-media is started by perceptd and percept-run, not by hand.\n");
        return 2;
    }
    int r = sandbox_enter();
    if (r < 0) {
        fprintf(stderr, "percept-media: no sandbox: %s\n", strerror(-r));
        return 1;
    }
    while (!reply.retiring && request_receive(&request, fds)) {
        reply = request_run(&request, fds[0], fds[1]);
        close(fds[0]);
        close(fds[1]);
        n_refused += reply.reason != REASON_NONE;
        reply.retiring = is_old(n_refused);
        if (reply_send(&reply) < 0)
            break;
    }
    return 0;
}
