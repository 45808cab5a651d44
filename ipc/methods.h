#pragma once

/*
 * The tables of the interface: methods with their signatures and functions, properties with theirs.
 * Dispatch reads them, and so does the test that holds them against the introspection data.
 */

#include <stdbool.h>
#include <stddef.h>

#include "ipc/work.h"
#include "ipc/writer.h"

typedef enum ObjectKind {
    OBJECT_NONE = 0,
    OBJECT_MANAGER = 1,
    OBJECT_REQUEST = 2,
    OBJECT_SESSION = 8,
    OBJECT_MODEL = 16,
    OBJECT_MODELS = 32, /* the node above the models, there to be introspected */
    OBJECT_LOG = 64,
    OBJECT_COLLECTION = 128,
} ObjectKind;

/* What a call was made on. peer is set if the method needs it or the object is a request; work
 * for requests. */
typedef struct Target {
    ObjectKind kind;
    Peer *peer;
    Work *work;          /* of requests */
    BusSession *session; /* of sessions */
    const ServerModel *model;
    CollectionRef collection;
} Target;

typedef struct Method {
    unsigned objects; /* mask of ObjectKind */
    const char *interface, *member, *in, *out;
    bool needs_peer; /* the caller's uid */
    void (*call)(Server *s, const Target *target, DBusMessage *call);
} Method;

typedef enum PropertyChange {
    PROPERTY_CONSTANT,
    PROPERTY_EMITS,
    PROPERTY_POLL,
} PropertyChange;

typedef struct Property {
    ObjectKind object;
    const char *interface, *name, *signature;
    PropertyChange change;
    /* Appends the value, without its variant. */
    void (*get)(Server *s, const Target *target, Writer *w);
    /* By an administrator, of a string; NULL: read-only. -EBADMSG with the failure set. */
    int (*set)(Server *s, const char *value, Failure *failure);
} Property;

extern const Method methods[];
extern const size_t n_methods;
extern const Property properties[];
extern const size_t n_properties;

/* The interfaces of an object as introspection data; each is the installed file of the same
 * name. */
typedef struct InterfaceXml {
    unsigned objects;
    const char *name, *xml;
} InterfaceXml;
extern const InterfaceXml interfaces[];
extern const size_t n_interfaces;
bool target_has_interface(const Target *target, const char *name);

void properties_get(Server *s, const Target *target, DBusMessage *call);
void properties_get_all(Server *s, const Target *target, DBusMessage *call);
void properties_set(Server *s, const Target *target, DBusMessage *call);
/* PropertiesChanged with every property of the Manager that emits. */
void properties_emit(Server *s);
/* The same of any object. */
void properties_emit_of(Server *s, const Target *target, const char *path, const char *interface);
/* Those of one object and interface, as an a{sv}; "": of every interface. */
void properties_write(Server *s, const Target *target, const char *interface, bool emitting,
                      Writer *w);
void introspect(Server *s, const Target *target, DBusMessage *call);
