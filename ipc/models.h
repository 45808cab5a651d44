#pragma once

/*
 * The Model objects and the ObjectManager that lists them: what is installed, as the daemon said
 * last. They are public, and nothing of any caller is in them.
 */

#include "ipc/methods.h"

/* NULL: there is no such model. */
const ServerModel *models_find(const Server *s, const char *path);
/* GetManagedObjects */
void models_get(Server *s, const Target *target, DBusMessage *call);

/* The <node> elements below an object of this kind, as introspection data; returns the end. */
size_t models_nodes_size(const Server *s);
char *models_write_nodes(const Server *s, ObjectKind kind, char *xml);
