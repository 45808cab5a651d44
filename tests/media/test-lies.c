/* The client against a helper that lies: each answer that cannot be believed is a crash, the
 * process is replaced, and the next request is served. Argument: evil-helper. */

#include <sys/wait.h>
#include <time.h>

#include "tests/media/evil.h"
#include "tests/media/make.h"
#include "tests/test.h"

static MediaHelper *helper;

static void honest(void)
{
    Media media = {0};

    ASSERT_EQ(decode(helper, "x", 1, &(MediaRequest){.kind = MEDIA_IMAGE}, &media), 0);
    ASSERT_EQ(media.width * media.height, 4);
    for (size_t i = 0; i < 12; i++)
        ASSERT_EQ(media.rgb[i], 0);
    media_deinit(&media);
}

/* The process was ended, and once it is taken there is none. */
static void gone(void)
{
    const struct timespec moment = {.tv_nsec = 1000000};

    for (int i = 0; i < 2000 && media_helper_reap(helper) > 0; i++)
        nanosleep(&moment, NULL);
    ASSERT_EQ(waitpid(-1, NULL, WNOHANG), -1);
}

int main(int argc, char **argv)
{
    ASSERT_EQ(argc, 2);
    ASSERT_OK(media_helper_new(argv[1], &helper));
    honest();
    for (uint32_t evil = EVIL_NONE + 1; evil <= EVIL_LONG_REPLY; evil++) {
        const MediaRequest request = {.kind = MEDIA_IMAGE, .region = {evil}};

        fprintf(stderr, "lie %u\n", evil);
        decode_refused(helper, "x", 1, &request, MEDIA_ERROR_CRASHED);
        gone();
        honest();
    }
    media_helper_free(helper);
    return 0;
}
