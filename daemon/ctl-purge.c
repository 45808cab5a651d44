#include <errno.h>
#include <string.h>

#include "daemon/ctl.h"
#include "fusion/index.h"

#define STATE "/var/lib/perceptd"

int ctl_purge(const CtlOptions *o)
{
    _cleanup_free_ char *folder = NULL;
    int r;

    if (!o->has_uid || o->n_arguments > 0 || o->n_media > 0)
        return ctl_usage("purge");
    if (asprintf(&folder, "%s/u%u", o->state ? o->state : STATE, o->uid) < 0)
        return ctl_error(-ENOMEM, "out of memory");
    r = index_purge(folder);
    if (r == -ENOENT) {
        printf("nothing was indexed for user %u\n", o->uid);
        return 0;
    }
    if (r == -EACCES || r == -EPERM)
        return ctl_error(r, "only root may remove what was indexed for others");
    if (r < 0)
        return ctl_error(r, "%s: %s", folder, strerror(-r));
    printf("removed all that was indexed for user %u\n", o->uid);
    return 0;
}
