#pragma once

/* Where what is kept lies: the folder that systemd gives the unit; without one, perceptd in the
 * user's state folder, or /var/lib/perceptd. Caller frees. -ENOENT: there is no home. */
#include <stdbool.h>

int state_folder(bool user, char **ret_folder);
