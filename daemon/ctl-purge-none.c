/* Built without SQLite: nothing is indexed, so nothing can be removed. */

#include <errno.h>

#include "daemon/ctl.h"

int ctl_purge(const CtlOptions *o)
{
    if (!o->has_uid || o->n_arguments > 0 || o->n_media > 0)
        return ctl_usage("purge");
    return ctl_error(-EOPNOTSUPP, "this perceptctl was built without an index");
}
