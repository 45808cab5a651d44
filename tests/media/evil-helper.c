/*
 * What a percept-media that was taken over could do: the first number of a request's region says
 * which lie it answers with. Started by test-lies.c in the helper's place.
 */

#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "encoders/media/wire.h"
#include "tests/media/evil.h"

static int request_receive(WireRequest *ret_request)
{
    union {
        char bytes[CMSG_SPACE(2 * sizeof(int))];
        struct cmsghdr align;
    } control;
    struct iovec iov = {ret_request, sizeof *ret_request};
    struct msghdr message = {
        .msg_iov = &iov,
        .msg_iovlen = 1,
        .msg_control = control.bytes,
        .msg_controllen = sizeof control.bytes,
    };
    int fds[2];

    if (recvmsg(WIRE_FD, &message, 0) != sizeof *ret_request)
        return -1;
    memcpy(fds, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof fds);
    close(fds[0]);
    return fds[1];
}

typedef struct Packet {
    WireReply reply;
    char more[8];
} Packet;

/* Spoils an honest reply; what has to stay open until it is sent stays open. False: say nothing. */
static bool packet_spoil(Evil evil, int result, Packet *p, size_t *size)
{
    WireReply *reply = &p->reply;

    switch (evil) {
    case EVIL_NONE:
        return true;
    case EVIL_GIANT:
        reply->width = reply->height = 0xffffffff;
        return true;
    case EVIL_OVERFLOW: /* times 3 it is small in 32 bits */
        reply->width = 0x55555556;
        reply->height = 1;
        return true;
    case EVIL_SHORT_RESULT:
        reply->height = 3;
        return true;
    case EVIL_NO_RESULT:
        return ftruncate(result, 0) == 0;
    case EVIL_WRITABLE:
        return mmap(NULL, 12, PROT_READ | PROT_WRITE, MAP_SHARED, result, 0) != MAP_FAILED;
    case EVIL_REASON:
        reply->reason = 0x7fffffff;
        return true;
    case EVIL_KIND:
        reply->kind = 77;
        return true;
    case EVIL_OTHER_KIND:
        reply->kind = MEDIA_AUDIO;
        reply->n_samples = 3;
        return true;
    case EVIL_SILENT:
        return false;
    case EVIL_SHORT_REPLY:
        *size = 7;
        return true;
    case EVIL_LONG_REPLY:
        *size = sizeof *p;
        return true;
    }
    return false;
}

int main(void)
{
    WireRequest request;
    int result;

    while ((result = request_receive(&request)) >= 0) {
        Packet packet = {.reply = {.kind = MEDIA_IMAGE, .width = 2, .height = 2}};
        size_t size = sizeof packet.reply;

        if (ftruncate(result, 12) < 0 ||
            !packet_spoil((Evil)request.region[0], result, &packet, &size) ||
            send(WIRE_FD, &packet, size, MSG_NOSIGNAL) < 0)
            return 1;
        close(result);
    }
    return 0;
}
