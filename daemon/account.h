#pragma once

/*
 * What one uid has under way, over all its connections: for its share of memory and readers, and
 * for taking turns. One reference a job or a reader. The loop's thread only, but for the turns that
 * say so.
 */

#include <stdint.h>
#include <sys/queue.h>
#include <sys/types.h>

typedef struct Account {
    LIST_ENTRY(Account) link;
    uid_t uid;
    unsigned n_refs;
    uint64_t media_bytes; /* queued, encoded or decoded */
    unsigned readers;     /* threads that read its descriptors */
    uint64_t intake_turn; /* when the media helper last worked for it */
    uint64_t worker_turn; /* the same of the worker, under its lock */
    uint64_t index_turn;  /* and of the index, under its lock */
    uint64_t told_usec;   /* when a trouble of its was last logged */
} Account;

typedef LIST_HEAD(Accounts, Account) Accounts;

/* Finds or makes, and takes a reference; NULL: no memory. */
Account *accounts_get(Accounts *accounts, uid_t uid);
Account *account_ref(Account *a);
Account *account_unref(Account *a);
