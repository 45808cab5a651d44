#include <stdlib.h>
#include <string.h>

#include "engine/base/cleanup.h"
#include "ipc/introspection.h"
#include "ipc/methods.h"
#include "ipc/models.h"
#include "ipc/names.h"

#define ANY                                                                                        \
    (OBJECT_MANAGER | OBJECT_REQUEST | OBJECT_SESSION | OBJECT_MODEL | OBJECT_LOG |                \
     OBJECT_COLLECTION)

const InterfaceXml interfaces[] = {
    {OBJECT_MANAGER, PERCEPT_MANAGER, XML_ORG_PERCEPTD_PERCEPT1_MANAGER},
    {OBJECT_REQUEST, PERCEPT_REQUEST, XML_ORG_PERCEPTD_PERCEPT1_REQUEST},
    {OBJECT_SESSION, PERCEPT_SESSION, XML_ORG_PERCEPTD_PERCEPT1_SESSION},
    {OBJECT_MODEL, PERCEPT_MODEL, XML_ORG_PERCEPTD_PERCEPT1_MODEL},
    {OBJECT_COLLECTION, PERCEPT_COLLECTION, XML_ORG_PERCEPTD_PERCEPT1_COLLECTION},
    {OBJECT_LOG, LOG_CONTROL, XML_ORG_FREEDESKTOP_LOGCONTROL1},
    {OBJECT_MANAGER, OBJECT_MANAGER_INTERFACE, XML_ORG_FREEDESKTOP_DBUS_OBJECTMANAGER},
    {ANY, DBUS_INTERFACE_PROPERTIES, XML_ORG_FREEDESKTOP_DBUS_PROPERTIES},
    {ANY | OBJECT_MODELS, DBUS_INTERFACE_INTROSPECTABLE, XML_ORG_FREEDESKTOP_DBUS_INTROSPECTABLE},
    {ANY | OBJECT_MODELS, DBUS_INTERFACE_PEER, XML_ORG_FREEDESKTOP_DBUS_PEER},
};
const size_t n_interfaces = sizeof interfaces / sizeof *interfaces;

/* The file's <interface> element, without what stands around it. */
static size_t xml_body(const char *xml, const char **ret_body)
{
    const char *begin = strstr(xml, "<interface "), *end = strstr(xml, "</node>");

    *ret_body = begin;
    return (size_t)(end - begin);
}

void introspect(Server *s, const Target *target, DBusMessage *call)
{
    size_t size = sizeof DBUS_INTROSPECT_1_0_XML_DOCTYPE_DECL_NODE + sizeof "<node>\n</node>\n";
    _cleanup_free_ char *xml = NULL;
    const char *body;
    char *end;

    for (size_t i = 0; i < n_interfaces; i++)
        size += strlen(interfaces[i].xml);
    size += models_nodes_size(s);
    xml = malloc(size);
    if (!xml) {
        server_reply_error(s, call, ERROR_NO_MEMORY, "Out of memory.");
        return;
    }
    end = stpcpy(xml, DBUS_INTROSPECT_1_0_XML_DOCTYPE_DECL_NODE "<node>\n");
    for (size_t i = 0; i < n_interfaces; i++)
        if (interfaces[i].objects & target->kind) {
            size_t n = xml_body(interfaces[i].xml, &body);
            end = mempcpy(end, body, n);
        }
    end = models_write_nodes(s, target->kind, end);
    stpcpy(end, "</node>\n");
    server_reply_basic(s, call, DBUS_TYPE_STRING, &xml);
}
