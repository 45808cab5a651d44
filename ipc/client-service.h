#pragma once

/* What a client can find out about the service and the bus beside the Manager. */

#include "ipc/client.h"

/* Properties of the model that the next call runs on; empty: there is none. */
int client_selected_model(Client *c, Dict *ret_model, ClientError *ret_error);
/* The process of the service. */
int client_process(Client *c, uint32_t *ret_pid, ClientError *ret_error);

typedef enum BusFinding {
    BUS_MISSING,         /* there is no such bus, or it does not let us in */
    BUS_WITHOUT_SERVICE, /* it neither has the service nor knows how to start it */
    BUS_FORBIDS,         /* its policy lets nobody talk to the service */
    BUS_CANNOT_START,    /* it knows how, and that fails */
    BUS_SILENT,          /* the service is there and does not answer */
    BUS_GOOD,
} BusFinding;

/* Why there is or is no service on this bus: "session", "system" or an address. *ret_error is set
 * unless it is good; ret_client, too, then, and the caller closes it. */
BusFinding client_examine(const char *bus, Client **ret_client, ClientError *ret_error);
