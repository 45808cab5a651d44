#pragma once

/* What the files of the client's end share: calls, sent and answered. */

#include <dbus/dbus.h>

#include "ipc/client.h"
#include "ipc/writer.h"

#define CLIENT_TIMEOUT_MSEC 120000 /* the first call loads the model */

struct Client {
    DBusConnection *connection;
    char *bus;
};

/* Whether or not the service is there. */
int client_connect(const char *bus, Client **ret_client, ClientError *ret_error);

/* client_properties() that waits no longer. */
int client_properties_within(Client *c, int timeout, Dict *ret_properties, ClientError *ret_error);

int client_fail_memory(ClientError *e);
int client_fail_reply(ClientError *e);

/* A method call with its writer, ready for the arguments; NULL: no memory. */
DBusMessage *client_call_new(const char *path, const char *interface, const char *member,
                             Writer *w);
/* Sends the call, which is taken. */
int client_call_begin(Client *c, DBusMessage *call, Writer *w, int timeout,
                      DBusPendingCall **ret_pending, ClientError *ret_error);
/* Waits for the reply, which must have this signature; the pending call is taken. */
int client_call_end(DBusPendingCall *pending, const char *signature, DBusMessage **ret_reply,
                    ClientError *ret_error);
/* Both at once. */
int client_call_send(Client *c, DBusMessage *call, Writer *w, const char *signature, int timeout,
                     DBusMessage **ret_reply, ClientError *ret_error);
/* A call that is answered by an object's path. */
int client_call_path(Client *c, DBusMessage *call, Writer *w, char ret_path[CLIENT_PATH_MAX],
                     ClientError *ret_error);
