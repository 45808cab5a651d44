#include "daemon/state.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *absolute(const char *variable)
{
    const char *path = getenv(variable);

    return path && *path == '/' ? path : NULL;
}

int state_folder(bool user, char **ret_folder)
{
    const char *given = absolute("STATE_DIRECTORY"), *state = absolute("XDG_STATE_HOME");
    const char *home = absolute("HOME");
    char *folder;
    int n;

    if (given) /* the first of a list */
        n = asprintf(&folder, "%.*s", (int)strcspn(given, ":"), given);
    else if (!user)
        n = asprintf(&folder, "/var/lib/perceptd");
    else if (state)
        n = asprintf(&folder, "%s/perceptd", state);
    else if (home)
        n = asprintf(&folder, "%s/.local/state/perceptd", home);
    else
        return -ENOENT;
    if (n < 0)
        return -ENOMEM;
    *ret_folder = folder;
    return 0;
}
