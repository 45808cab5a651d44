#include "daemon/account.h"

#include <assert.h>
#include <stdlib.h>

Account *accounts_get(Accounts *accounts, uid_t uid)
{
    Account *a;

    LIST_FOREACH(a, accounts, link)
        if (a->uid == uid)
            return account_ref(a);
    a = calloc(1, sizeof *a);
    if (!a)
        return NULL;
    a->uid = uid;
    LIST_INSERT_HEAD(accounts, a, link);
    return account_ref(a);
}

Account *account_ref(Account *a)
{
    a->n_refs++;
    return a;
}

Account *account_unref(Account *a)
{
    if (a && --a->n_refs == 0) {
        assert(a->media_bytes == 0 && a->readers == 0);
        LIST_REMOVE(a, link);
        free(a);
    }
    return NULL;
}
