/* The client against a helper that lies: each answer that cannot be believed is a crash, the
 * process is replaced, and the next request is served. Argument: evil-helper. */

#include <sys/wait.h>

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

int main(int argc, char **argv)
{
    ASSERT_EQ(argc, 2);
    ASSERT_OK(media_helper_new(argv[1], &helper));
    honest();
    for (uint32_t evil = EVIL_NONE + 1; evil <= EVIL_LONG_REPLY; evil++) {
        const MediaRequest request = {.kind = MEDIA_IMAGE, .region = {evil}};

        fprintf(stderr, "lie %u\n", evil);
        decode_refused(helper, "x", 1, &request, MEDIA_ERROR_CRASHED);
        ASSERT_EQ(waitpid(-1, NULL, WNOHANG), -1); /* it is gone */
        honest();
    }
    media_helper_free(helper);
    return 0;
}
